//! Interfaces: their names, and sockets that are bound to one.

use super::*;

#[test]
fn interface_with_300_altnames_is_listed() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 8.8.8.8/24 dev far0");
        // A message of more than 32 KiB.
        let name = |n| {
            format!(
                "link property add dev far0 altname {}{n:06}\n",
                "x".repeat(120)
            )
        };
        ip_batch(&(0..300).map(name).collect::<String>());
        let host = Interfaces::system().unwrap();
        assert_eq!(host.by_ip([8, 8, 8, 8].into()).count(), 1);
        let exposure = BindTarget::parse("0.0.0.0").unwrap().exposure(&host);
        assert_eq!(exposure, bindaddr::Exposure::Global);
        // Requests of one message.
        let device = BindOptions::new().device("far0");
        assert!(device.check(["0.0.0.0:80"]).is_ok());
        assert!(
            device
                .bind("[fe80::1]:80")
                .is_err_and(|err| err.cause().name() == "not-on-this-host")
        );
    });
}

/// As `ip vrf exec` does it: a BPF program of the cgroup binds each new socket to an interface.
#[test]
fn cgroup_bound_device_is_reported() {
    const TEST: &str = "interfaces::cgroup_bound_device_is_reported";
    if rerun::role().as_deref() == Some("bound") {
        let host = Interfaces::system().unwrap();
        let listeners = bind("0.0.0.0:80").unwrap();
        let listener = &listeners.as_slice()[0];
        assert_eq!(listener.device().as_deref(), Some("lo"));
        // Both this socket and those bound later accept connections on `lo` only.
        assert_eq!(listeners.exposure(&host), bindaddr::Exposure::ThisHost);
        let of_text = BindTarget::parse("0.0.0.0").unwrap();
        assert_eq!(of_text.exposure(&host), bindaddr::Exposure::ThisHost);
        assert_eq!(of_text.reach(80, &host), listeners.reach(&host));
        // A zone replaces the device of the cgroup, so that clients of the link connect.
        let text = "[fe80::1%eth0]:83";
        let zoned = bind(text).unwrap();
        assert_eq!(zoned.as_slice()[0].device(), None);
        assert_eq!(zoned.exposure(&host), Exposure::Link);
        let target = &text.parse::<ListenAddr>().unwrap().resolve(&host).unwrap()[0];
        assert_eq!(target.exposure(&host), Exposure::Link);
        assert_eq!(target.reach(83, &host), zoned.reach(&host));
        drop(zoned);
        let check = bindaddr::check([text]);
        assert_eq!(check.settings()[0].sockets()[0].warnings(), []);
        let bound = bind("10.0.0.1:81").unwrap();
        let warnings = bound[0].warnings(&Interfaces::system().unwrap());
        assert_eq!(
            warnings[0].kind().to_string(),
            "the socket is bound to `lo`, through which no client can connect to 10.0.0.1"
        );
        assert_eq!(
            bindaddr::check(["10.0.0.1:82"]).settings()[0].sockets()[0].warnings()[0].kind(),
            warnings[0].kind()
        );
        return rerun::done();
    }
    if rerun::role().as_deref() == Some("bound-to-eth0") {
        assert_eq!(
            fails("[::1]:80").to_string(),
            "cannot listen on [::1]:80: the cgroup of this process binds its sockets to eth0, which does not have ::1; ::1 is on lo"
        );
        // An option of the program's own comes last.
        let on_lo = BindOptions::new().device("lo").bind("0.0.0.0:80");
        match on_lo {
            Ok(bound) => assert_eq!(bound.as_slice()[0].device().as_deref(), Some("lo")),
            Err(err) => assert_eq!(err.step(), Step::Option("device"), "{err}"),
        }
        return rerun::done();
    }
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fe80::1/64 nodad dev eth0");
        let index = |name| {
            let host = Interfaces::system().unwrap();
            host.by_name(name)
                .and_then(Interface::index)
                .unwrap()
                .to_string()
        };
        for (role, device) in [("bound", "lo"), ("bound-to-eth0", "eth0")] {
            let cgroup = format!("bindaddr-{}-{role}", std::process::id());
            let script = "d=$(mktemp -d); trap \"rmdir $d\" EXIT; mount -t cgroup2 none $d; mkdir -p $d/$1; perl -e \"$2\" $d/$1 $3; echo $$ >$d/$1/cgroup.procs; umount $d; rmdir $d; trap - EXIT; shift 3; [ -z \"$BINDADDR_PROBE\" ] || exit 0; exec \"$@\"";
            let words = [
                "sh",
                "-ec",
                script,
                "sh",
                &cgroup,
                BIND_BY_CGROUP,
                &index(device),
            ];
            let probe = std::process::Command::new("unshare")
                .arg("--mount")
                .args(words)
                .env("BINDADDR_PROBE", "1")
                .output();
            if !probe.is_ok_and(|probe| probe.status.success()) {
                rerun::skip(
                    TEST,
                    "no program can be attached to a cgroup here",
                    "BINDADDR_REQUIRE_USERS",
                );
                return;
            }
            rerun::run(TEST, role, &[&["unshare", "--mount"][..], &words].concat());
            let remove =
                "d=$(mktemp -d); mount -t cgroup2 none $d && rmdir $d/$1; umount $d; rmdir $d";
            let mut command = std::process::Command::new("unshare");
            command.args(["--mount", "sh", "-c", remove, "sh", &cgroup]);
            // The last process may be about to leave it.
            let _ = command.status();
        }
    });
}

#[test]
fn altname_is_reported_with_interface_name() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("addr add 10.8.0.1/24 dev eth0");
        ip("link property add dev eth0 altname enp7s0");
        // It can be longer than the primary name of an interface.
        ip("link property add dev eth0 altname enx00005e0053af-uplink");
        let message = "`enp7s0` is an alternative name of the interface `eth0`; write `eth0`";
        for name in ["enp7s0", "enx00005e0053af-uplink"] {
            let message = message.replace("enp7s0", name);
            assert_fails(&format!("{name}:80"), None, &message);
            assert_fails(&format!("-{name}:80"), None, &message);
            assert_fails(&format!("[fe80::77%{name}]:80"), None, &message);
        }
        let none = "the interface `far0` (not running) has no address";
        assert_fails("far0:80", None, none);
        let err = BindTarget::parse("[fe80::77%enp7s0]").unwrap_err();
        assert_eq!(
            err.to_string(),
            format!("cannot resolve [fe80::77%enp7s0]: {message}")
        );
        // It is up, and has no carrier.
        ip("link set eth0 down");
        ip("link set far0 up");
        assert_fails("far0:80", None, none);
    });
}

#[test]
fn device_option_binds_to_device() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.1.1/24 dev far0");
        let on = |name: &str| BindOptions::new().device(name);
        let held = [
            on("eth0").bind("0.0.0.0:80").unwrap(),
            on("far0").bind("0.0.0.0:80").unwrap(),
        ];
        assert!(matches!(fails("0.0.0.0:80").cause(), Cause::InUse { .. }));
        drop(held);
        let err = on("eth1").bind("0.0.0.0:80").unwrap_err();
        assert_eq!(
            err.to_string(),
            "cannot listen on 0.0.0.0:80: the server is configured to use the interface `eth1`, which does not exist; available: `eth0`, `lo`, `far0`",
        );
        assert_eq!(
            (err.step(), err.raw_os_error()),
            (Step::Option("device"), Some(ENODEV))
        );
        bind("0.0.0.0:80").expect("nothing is left open on every interface");
    });
}

#[test]
fn labelled_address_belongs_to_its_interface() {
    in_namespace(|| {
        ip("link add name eth0.100 type veth peer name far0");
        ip("addr add 10.0.0.1/24 label eth0.100:web dev eth0.100");
        ip("addr add 10.0.0.2/24 dev eth0.100");
        ip("addr add 10.0.0.3/24 brd + dev eth0.100");
        ip("addr add fe80::77/64 dev eth0.100");
        ip("link set eth0.100 up");
        ip("link set far0 up");
        let host = Interfaces::system().unwrap();
        let interface = host.by_name("eth0.100").unwrap();
        let addrs: Vec<String> = interface.addrs().iter().map(ToString::to_string).collect();
        assert_eq!(addrs[..3], ["10.0.0.1/24", "10.0.0.2/24", "10.0.0.3/24"]);
        assert!(
            addrs.contains(&"fe80::77/64".to_owned()),
            "link-local addresses are there: {addrs:?}"
        );
        assert!(host.iter().all(|interface| !interface.name().contains(':')));

        let addrs: Vec<String> = bind("ipv4@eth0.100:80")
            .unwrap()
            .iter()
            .map(|listener| listener.local_addr().to_string())
            .collect();
        assert_eq!(addrs, ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]);
        let zoned = bind("[fe80::77%eth0.100]:80").unwrap();
        let SocketAddr::V6(addr) = zoned.as_slice()[0].local_addr() else {
            panic!("IPv6")
        };
        assert_eq!(Some(addr.scope_id()), interface.index());
        assert!(zoned.as_slice()[0].target(&host).is_local());
    });
}

/// Attaches to the cgroup that is its first argument a program that sets `bound_dev_if`, the first
/// field of `struct bpf_sock`, to its second (bpf(2), linux/bpf.h).
const BIND_BY_CGROUP: &str = r#"
    use POSIX;
    my ($cgroup, $index) = @ARGV;
    my %calls = ("x86_64", 321, "aarch64", 280, "riscv64", 280, "s390x", 351, "i686", 357);
    my $bpf = $calls{(POSIX::uname())[4]} or die "no such machine";
    # r2 = index; *(u32 *)(r1 + 0) = r2; r0 = 1; exit
    my $code = pack("CCsl" x 4, 0xb4, 0x02, 0, $index, 0x63, 0x21, 0, 0, 0xb7, 0, 0, 1, 0x95, 0, 0, 0);
    my $licence = "GPL\0";
    my $address = sub { unpack("Q", pack("P", $_[0])) };
    # BPF_PROG_LOAD of a BPF_PROG_TYPE_CGROUP_SOCK.
    my $load = pack("LLQQ", 9, 4, $address->($code), $address->($licence)) . "\0" x 96;
    my $program = syscall($bpf, 5, $load, length $load);
    die "load: $!" if $program < 0;
    sysopen(my $directory, $cgroup, 0) or die "$cgroup: $!";
    # BPF_PROG_ATTACH as BPF_CGROUP_INET_SOCK_CREATE.
    my $attach = pack("LLLL", fileno($directory), $program, 2, 0) . "\0" x 40;
    die "attach: $!" if syscall($bpf, 8, $attach, length $attach) < 0;
"#;
