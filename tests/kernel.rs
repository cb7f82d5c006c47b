//! `bind` against the Linux kernel, in situations that only a namespace of one's own has.
#![cfg(target_os = "linux")]

mod util;

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use bindaddr::addr::Family;
use bindaddr::diagnosis::Step;
use bindaddr::interfaces::Interface;
use bindaddr::target::GroupAddr;
use bindaddr::update::StdSocket;
use bindaddr::{
    BindError, BindOptions, BindTarget, Cause, Exposure, Interfaces, ListenAddr, Listeners, bind,
    bind_udp,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use socket2::Socket;
use util::netns::{in_namespace, in_namespace_of, ip, ip_batch, set};
use util::{features, rerun, sandbox};

/// An interface `eth0` with a cable, so that its addresses are usable.
fn cable() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
}

#[track_caller]
fn fails(text: &str) -> BindError {
    bind(text).expect_err(text)
}

/// The whole sentence, and the code of the system's error behind it.
#[track_caller]
fn assert_fails(text: &str, code: Option<i32>, cause: &str) {
    let err = fails(text);
    assert_eq!(err.to_string(), format!("cannot listen on {text}: {cause}"));
    assert_eq!(err.raw_os_error(), code, "{text}");
    assert_eq!(err.source().is_some(), code.is_some());
}

const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;

#[test]
fn foreign_reasons_are_distinguished() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 brd + dev eth0");
        ip("addr add 10.8.0.1 peer 10.8.0.2 dev eth0");
        ip("addr add 2001:db8:1::10/64 dev eth0");
        let near = "; closest local address:";
        for (text, cause) in [
            (
                "192.168.158.94:80",
                format!(
                    "no interface of this host has 192.168.158.94; it is in eth0's subnet (192.168.71.67/16) but not assigned to this host{near} 192.168.71.67"
                ),
            ),
            (
                "192.168.0.0:80",
                format!(
                    "no interface of this host has 192.168.0.0; it is the network address of eth0's subnet (192.168.71.67/16){near} 192.168.71.67"
                ),
            ),
            (
                "10.8.0.2:80",
                format!(
                    "no interface of this host has 10.8.0.2; it is the peer address of eth0, whose own address is 10.8.0.1{near} 10.8.0.1"
                ),
            ),
            (
                "8.8.8.8:80",
                format!(
                    "no interface of this host has 8.8.8.8; it is in none of this host's subnets{near} 10.8.0.1"
                ),
            ),
            (
                "0.1.2.3:80",
                format!(
                    "no interface of this host has 0.1.2.3; it is in the reserved network 0.0.0.0/8{near} 10.8.0.1"
                ),
            ),
            (
                "[::ffff:8.8.8.8]:80",
                format!(
                    "8.8.8.8:80: no interface of this host has 8.8.8.8; it is in none of this host's subnets{near} 10.8.0.1"
                ),
            ),
            (
                "[2001:db8:1::]:80",
                format!(
                    "no interface of this host has 2001:db8:1::; it is the subnet-router anycast address of eth0's subnet (2001:db8:1::10/64){near} 2001:db8:1::10"
                ),
            ),
            (
                "[2001:db8:1::11]:80",
                format!(
                    "no interface of this host has 2001:db8:1::11; it is in eth0's subnet (2001:db8:1::10/64) but not assigned to this host{near} 2001:db8:1::10"
                ),
            ),
        ] {
            // `lowest_subnet_address_follows_the_kernel` has the other kernels.
            if text != "192.168.0.0:80" || !features::lowest_is_broadcast() {
                assert_fails(text, Some(EADDRNOTAVAIL), &cause);
            }
        }
        let err = fails("192.168.158.94:80");
        let hints: Vec<String> = err.hints().iter().map(ToString::to_string).collect();
        assert_eq!(
            hints,
            [
                "`192.168.71.67:80` is the closest local address",
                "`0.0.0.0:80` listens on every IPv4 address of this host, reachable from private networks",
                "`BindOptions::freebind` binds an address before the host has it",
            ],
        );
        // The second hint holds.
        BindOptions::new()
            .freebind(true)
            .bind("192.168.158.94:80")
            .unwrap();
        BindOptions::new()
            .freebind(true)
            .bind("[2001:db8:1::11]:80")
            .unwrap();
    });
}

#[test]
fn broadcast_address_is_rejected() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 dev eth0");
        ip("addr add 10.9.9.1/30 dev eth0");
        ip("addr add 172.20.0.1/24 brd 172.20.0.201 dev eth0");
        let refused =
            "no TCP client can connect to a broadcast address; use an address of this host";
        for text in [
            "192.168.255.255:0",
            "10.9.9.3:0",
            "172.20.0.255:0",
            "127.255.255.255:0",
        ] {
            TcpListener::bind(text).expect("the kernel binds it");
            assert_fails(text, None, refused);
            bind_udp(text).unwrap_or_else(|err| panic!("UDP receives on it: {err}"));
        }
        // An odd one is known where there is a snapshot, and the one of a host
        // route, which looks like the other end of a link.
        ip("addr add 10.6.0.5/32 brd 10.6.0.255 dev eth0");
        for text in ["172.20.0.201", "10.6.0.255"] {
            let err = bind((BindTarget::parse(text).unwrap(), 0)).unwrap_err();
            assert_eq!(
                err.to_string(),
                format!("cannot listen on {text}:0: {refused}")
            );
        }
        // Without one the system binds it, and that is reported.
        assert_eq!(
            bind("172.20.0.201:0").unwrap()[0].warnings(&Interfaces::system().unwrap())[0]
                .kind()
                .to_string(),
            "no interface of this host has 172.20.0.201; it is a broadcast address, to which no TCP client can connect"
        );
        // A snapshot may be of another time or host: it makes no broadcast bindable.
        let elsewhere = BindTarget::parse_with("192.168.255.255", &Interfaces::default()).unwrap();
        let err = bind((elsewhere, 0)).unwrap_err();
        assert!(
            matches!(err.cause(), Cause::Group(GroupAddr::Broadcast)),
            "{err}"
        );
        // The other end of a link is none, whatever the length of its prefix.
        ip("addr add 10.8.0.1 peer 10.8.0.2/24 dev eth0");
        let peer = BindTarget::parse("10.8.0.2").unwrap();
        let err = bind((peer, 0)).unwrap_err();
        assert_eq!(err.raw_os_error(), Some(EADDRNOTAVAIL), "{err}");

        // A name that only looks like one.
        ip("addr add 192.168.71.3/16 dev eth0");
        for text in ["192.168.71.67:0", "192.168.71.3:0", "127.0.0.3:0"] {
            bind(text).unwrap();
        }
        // A route that prohibits an address gives the same error as a broadcast.
        ip("rule add pref 100 lookup local");
        ip("rule del pref 0");
        ip("rule add pref 50 to 192.168.71.67 prohibit");
        let asked = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(
            asked.connect("192.168.71.67:9").unwrap_err().raw_os_error(),
            Some(EACCES)
        );
        bind("192.168.71.67:0").unwrap();
    });
}

/// Before Linux 5.14 the lowest address of a subnet is a broadcast address, and 127.0.0.0 is one.
#[test]
fn lowest_subnet_address_follows_the_kernel() {
    let test = "lowest_subnet_address_follows_the_kernel";
    in_namespace_of(test, || {
        cable();
        ip("addr add 192.168.71.64/16 dev eth0");
        ip("addr add 10.9.9.1/30 dev eth0");
        let host = Interfaces::system().unwrap();
        for text in ["192.168.0.0:80", "10.9.9.0:80"] {
            let is_broadcast = features::lowest_is_broadcast();
            assert_eq!(TcpListener::bind(text).is_ok(), is_broadcast);
            let errors = [
                fails(text),
                bind((BindTarget::parse(text.trim_end_matches(":80")).unwrap(), 80)).unwrap_err(),
            ];
            for err in errors {
                match err.cause() {
                    Cause::Group(GroupAddr::Broadcast) => assert!(is_broadcast, "{err}"),
                    Cause::NotOnThisHost(_) => assert!(!is_broadcast, "{err}"),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(bind_udp(text).is_ok(), is_broadcast);
        }
        // A subnet of loopback addresses has one, too.
        let connects = {
            let _listener = TcpListener::bind("127.0.0.0:80").expect("the kernel binds it");
            util::netns::connects("127.0.0.0:80".parse().unwrap())
        };
        assert_eq!(bind("127.0.0.0:80").is_ok(), connects);
        assert_eq!(bindaddr::check(["127.0.0.0:80"]).is_ok(), connects);
        let reach = BindTarget::parse("127.0.0.0").unwrap().reach(80, &host);
        assert_eq!(!reach.addrs().is_empty(), connects);
        // An address of the host is none, although its last bits are like those of one.
        bind("192.168.71.64:80").unwrap();
    });
}

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
    const TEST: &str = "cgroup_bound_device_is_reported";
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

#[test]
fn link_local_address_needs_zone() {
    in_namespace(|| {
        cable();
        ip("addr add fe80::77/64 dev eth0");
        ip("addr add fe80::77/64 dev far0");
        ip("addr add fe80::78/64 dev far0");
        let host = Interfaces::system().unwrap();
        let index = |name| host.by_name(name).and_then(Interface::index).unwrap();

        bind("[fe80::77%eth0]:80").unwrap();
        bind(format!("[fe80::77%{}]:80", index("far0"))).unwrap();
        assert_fails(
            "[fe80::78]:80",
            Some(EINVAL),
            "a link-local address needs a zone; fe80::78 is on far0",
        );
        let err = fails("[fe80::77]:80");
        let Cause::ZoneRequired { candidates, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(candidates.as_ref().map(Vec::len), Some(2));
        assert!(err.to_string().contains("; fe80::77 is on "), "{err}");
        assert_fails(
            "[fe80::79]:80",
            Some(EINVAL),
            "a link-local address needs a zone, and no interface of this host has fe80::79",
        );
        assert_fails(
            "[fe80::78%eth0]:80",
            Some(EADDRNOTAVAIL),
            &format!(
                "[fe80::78%{}]:80: fe80::78 is on far0, but its zone names another interface",
                index("eth0")
            ),
        );
        assert_fails(
            "[fe80::79%eth0]:80",
            Some(EADDRNOTAVAIL),
            &format!(
                "[fe80::79%{}]:80: no interface of this host has fe80::79; it is in eth0's subnet \
                 (fe80::77/64) but not assigned to this host; closest local address: fe80::77",
                index("eth0")
            ),
        );
        let err = bind_udp("[ff02::1]:0").unwrap_err();
        let sentence = "cannot listen on UDP [ff02::1]:0: a link-local address needs a zone";
        assert!(err.to_string().starts_with(sentence), "{err}");
        bind_udp("[ff02::1%eth0]:0").unwrap();
        assert_fails(
            "[fe80::78%9999]:80",
            Some(ENODEV),
            "no interface has index 9999; fe80::78 is on far0",
        );
        assert_fails(
            "[fe80::79%9999]:80",
            Some(ENODEV),
            "no interface has index 9999",
        );
        let err = fails("[fe80::77%eth1]:80");
        assert_eq!(err.step(), Step::Resolve);
        let sentence = "cannot listen on [fe80::77%eth1]:80: no interface named `eth1` has an address; available: `eth0`, ";
        assert!(err.to_string().starts_with(sentence), "{err}");
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
    });
}

#[test]
fn mapped_address_binds_as_ipv4() {
    in_namespace(|| {
        let listeners = bind("[::ffff:127.0.0.1]:0").unwrap();
        assert_eq!(
            listeners.as_slice()[0].local_addr().ip(),
            IpAddr::from([127, 0, 0, 1])
        );
    });
}

#[test]
fn only_v6_refuses_mapped_addresses() {
    in_namespace(|| {
        let only_v6 = BindOptions::new().only_v6(true);
        let accepts = |addr: &str| util::netns::connects(addr.parse().unwrap());
        // The kernel refuses a mapped address on such a socket, and opens the mapped wildcard to
        // IPv4.
        for text in [
            "[::ffff:127.0.0.1]:80",
            "[::ffff:0.0.0.0]:80",
            "-[::ffff:0.0.0.0]:80",
        ] {
            let errors = [
                only_v6.bind(text).unwrap_err(),
                only_v6.bind_udp(text).unwrap_err(),
                only_v6.bind(["127.0.0.1:81", text]).unwrap_err(),
                only_v6.bind_udp([text]).unwrap_err(),
            ];
            for err in errors {
                assert!(matches!(err.cause(), Cause::MappedOnV6Only { .. }), "{err}");
                assert_eq!((err.step(), err.raw_os_error()), (Step::Validate, None));
            }
            assert!(!only_v6.check([text]).is_ok());
            assert!(!only_v6.check_udp([text]).is_ok());
            assert!(!accepts("127.0.0.1:80") && !accepts("127.0.0.1:81"));
        }
        // The option is about `[::]`.
        only_v6.bind("127.0.0.1:80").unwrap();
        for (text, ipv4, ipv6) in [
            ("[::]:443", false, true),
            ("ipv6@*:443", false, true),
            ("0.0.0.0:443", true, false),
            ("*:443", true, true),
            ("443", true, true),
        ] {
            let listeners = only_v6.bind([text]).unwrap();
            assert_eq!(accepts("127.0.0.1:443"), ipv4, "{text}");
            assert_eq!(accepts("[::1]:443"), ipv6, "{text}");
            drop(listeners);
        }
        only_v6.bind(["0.0.0.0:443", "[::]:443"]).unwrap();
    });
}

#[test]
fn only_v6_keeps_wildcard_fallback() {
    in_namespace(|| {
        sandbox::refuse_family(10, 97);
        let only_v6 = BindOptions::new().only_v6(true);
        let listeners = only_v6.bind("*:443").unwrap();
        assert!(listeners.as_slice()[0].local_addr().is_ipv4());
        assert!(only_v6.check(["*:80"]).is_ok());
        assert!(only_v6.bind("[::]:80").is_err());
    });
}

#[test]
fn v6only_ignores_sysctl_default() {
    in_namespace(|| {
        for default in ["0", "1"] {
            set("net/ipv6/bindv6only", default);
            let v4 = || bind("0.0.0.0:80");
            for text in ["*:80", "[::]:80"] {
                let dual = bind(text).unwrap();
                assert!(
                    matches!(v4().unwrap_err().cause(), Cause::InUse { .. }),
                    "{text}"
                );
                drop(dual);
            }
            for text in ["ipv6@*:80", "ipv6@[::]:80", "[::1]:80"] {
                let v6 = bind(text).unwrap();
                drop(v4().unwrap_or_else(|err| panic!("beside {text}: {err}")));
                drop(v6);
            }
        }
    });
}

#[test]
fn tentative_address_is_pending() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        set("net/ipv6/conf/default/dad_transmits", "600");
        cable();
        ip("addr add 2001:db8:1::10/64 dev eth0");
        let text = "[2001:db8:1::10]:80";
        assert_fails(
            text,
            Some(EADDRNOTAVAIL),
            "2001:db8:1::10 on eth0 is tentative (duplicate address detection is in progress); retry in a moment",
        );
        assert!(fails(text).is_transient());
        assert!(BindTarget::parse("2001:db8:1::10").unwrap().is_local());
    });
}

#[test]
fn localhost_works_without_ipv6_loopback() {
    in_namespace(|| {
        set("net/ipv6/conf/all/disable_ipv6", "1");
        for text in ["localhost:0", "localhost:8080"] {
            let listeners = bind(text).unwrap();
            let ips: Vec<IpAddr> = listeners.iter().map(|one| one.local_addr().ip()).collect();
            assert_eq!(ips, [IpAddr::from([127, 0, 0, 1])], "{text}");
        }
        assert_eq!(bind_udp("localhost:0").unwrap().as_slice().len(), 1);
        for text in ["[::1]:80", "ipv6@localhost:80"] {
            let err = fails(text);
            assert!(
                matches!(err.cause(), Cause::FamilyUnavailable { .. }),
                "{err:?}"
            );
        }
        assert_fails(
            "[::1]:80",
            Some(EADDRNOTAVAIL),
            "IPv6 is disabled (`net.ipv6.conf.all.disable_ipv6` is 1)",
        );
        // The dual-stack wildcard serves IPv4 there.
        let any = bind("*:80").unwrap();
        std::net::TcpStream::connect("127.0.0.1:80").unwrap();
        drop(any);
        // 127.0.0.1 is not optional.
        ip("addr del 127.0.0.1/8 dev lo");
        assert_fails(
            "127.0.0.1:80",
            Some(EADDRNOTAVAIL),
            "no interface of this host has 127.0.0.1",
        );
        assert_eq!(
            fails("localhost:80").to_string(),
            "cannot listen on localhost:80: 127.0.0.1:80: no interface of this host has 127.0.0.1",
        );
    });
}

#[test]
fn privileged_port_limit_is_read() {
    const TEST: &str = "privileged_port_limit_is_read";
    if rerun::role().as_deref() == Some("unprivileged") {
        for (text, limit) in [
            ("127.0.0.1:4999", 5000),
            ("[::1]:1024", 5000),
            ("*:80", 5000),
        ] {
            let port = text.rsplit_once(':').unwrap().1;
            let err = fails(text);
            assert_eq!(
                err.to_string(),
                format!(
                    "cannot listen on {text}: {}port {port} is privileged (below {limit}) and this process lacks \
                     CAP_NET_BIND_SERVICE; use port {limit} or higher",
                    if text.starts_with('*') {
                        "[::]:80: "
                    } else {
                        ""
                    },
                ),
            );
            assert_eq!((err.raw_os_error(), err.step()), (Some(EACCES), Step::Bind));
            let hints = err.hints();
            assert_eq!(
                hints.last().map(bindaddr::diagnosis::Hint::text),
                Some(&*format!(
                    "`sysctl net.ipv4.ip_unprivileged_port_start={port}` lets every process bind the ports from {port} up"
                )),
            );
            assert_eq!(io::Error::from(err).kind(), io::ErrorKind::PermissionDenied);
        }
        bind("127.0.0.1:5000").unwrap();
        return rerun::done();
    }
    in_namespace(|| {
        set("net/ipv4/ip_unprivileged_port_start", "5000");
        bind("127.0.0.1:4999").expect("root may");
        rerun::run(
            TEST,
            "unprivileged",
            &["setpriv", "--bounding-set=-net_bind_service", "--"],
        );
    });
}

#[test]
fn hidden_privileged_port_limit_defaults_to_1024() {
    const TEST: &str = "hidden_privileged_port_limit_defaults_to_1024";
    if rerun::role().as_deref() == Some("unprivileged") {
        assert_fails(
            "127.0.0.1:80",
            Some(EACCES),
            "port 80 is probably privileged (below 1024 by default) and this process lacks CAP_NET_BIND_SERVICE; use port 1024 or higher",
        );
        return rerun::done();
    }
    in_namespace(|| {
        // /proc/sys may be hidden, as by systemd's ProcSubset=pid.
        let hidden = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
        let unprivileged = ["setpriv", "--bounding-set=-net_bind_service", "--"];
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", hidden];
        let inject = ["-e", "inject=?open,openat:error=ENOENT", "--"];
        if util::strace::is_there_for(TEST) {
            rerun::run(
                TEST,
                "unprivileged",
                &[&unprivileged[..], &strace, &inject].concat(),
            );
        }
    });
}

#[test]
fn exhausted_ephemeral_ports_are_reported() {
    in_namespace(|| {
        set("net/ipv4/ip_local_port_range", "40000 40003");
        let held: Vec<_> = (0..4).map(|_| bind("127.0.0.1:0").unwrap()).collect();
        assert_fails(
            "127.0.0.1:0",
            Some(EADDRINUSE),
            "no ephemeral port is free (range 40000-40003); set a port outside the range",
        );
        assert!(fails("127.0.0.1:0").is_transient());
        // On another address they are free.
        bind("127.0.0.2:0").unwrap();
        assert_eq!(
            fails("localhost:0").to_string(),
            "cannot listen on localhost:0: 127.0.0.1:0: no ephemeral port is free (range 40000-40003); set a port outside the range",
        );
        drop(held);
        bind("localhost:0").unwrap();
        // None of them is taken here.
        set("net/ipv4/ip_local_reserved_ports", "40000-40003");
        assert_fails(
            "127.0.0.1:0",
            Some(EADDRINUSE),
            "no ephemeral port is free (range 40000-40003); set a port outside the range",
        );
        set("net/ipv4/ip_local_reserved_ports", "1");
        // A port taken on another address is free on these.
        let held: Vec<_> = (0..4).map(|_| bind("127.0.0.2:0").unwrap()).collect();
        bind("localhost:0").unwrap();
        bind_udp("localhost:0").unwrap();
        drop(held);
    });
}

#[test]
fn localhost_finds_common_free_port() {
    in_namespace(|| {
        set("net/ipv4/ip_local_port_range", "40000 40999");
        // Every port but one is held, on one of the two by turns.
        let held: Vec<TcpListener> = (40000..=40999)
            .filter(|port| *port != 40507)
            .map(|port| {
                let ip: IpAddr = if port % 2 == 0 {
                    [127, 0, 0, 1].into()
                } else {
                    "::1".parse().unwrap()
                };
                TcpListener::bind(SocketAddr::new(ip, port)).unwrap()
            })
            .collect();
        for _ in 0..100 {
            let listeners = bind("localhost:0").unwrap();
            let addrs: Vec<String> = listeners
                .iter()
                .map(|one| one.local_addr().to_string())
                .collect();
            assert_eq!(addrs, ["127.0.0.1:40507", "[::1]:40507"]);
        }
        drop(held);
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
fn bind_trusts_kernel_over_snapshot() {
    in_namespace(|| {
        cable();
        // Bound although no interface has it: a whole prefix is local.
        ip("route add local 198.51.100.0/24 dev lo");
        let target = BindTarget::parse("198.51.100.7").unwrap();
        assert!(target.is_foreign());
        let bound = bind((&target, 80)).unwrap();
        let host = Interfaces::system().unwrap();
        assert!(bound.as_slice()[0].target(&host).is_foreign());
        drop(bound);
        let bound = bind("198.51.100.7:80").unwrap();
        assert!(bound.as_slice()[0].target(&host).is_foreign());
        drop(bound);

        // Bound although its interface is down.
        ip("link set eth0 down");
        ip("addr add 10.0.0.1/24 dev eth0");
        let target = BindTarget::parse("10.0.0.1").unwrap();
        assert_eq!(
            target.to_string(),
            "10.0.0.1, an address of eth0 (not running)"
        );
        bind((&target, 80)).unwrap();

        // Not bound although an interface has it.
        ip("route del local 10.0.0.1 dev eth0 table local");
        assert_fails(
            "10.0.0.1:80",
            Some(EADDRNOTAVAIL),
            "10.0.0.1 is on eth0, but the routing table `local` has no usable route to it",
        );
        assert!(!fails("10.0.0.1:80").is_transient());
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

#[test]
fn default_source_address_follows_route() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.0.2/24 dev eth0");
        ip("addr add 2001:db8::1/64 dev eth0");
        assert_eq!(
            fails("_default_:80").to_string(),
            "cannot listen on _default_:80: this host has no source address for a default route",
        );
        ip("route add default via 10.0.0.254 src 10.0.0.2");
        ip("-6 route add default via 2001:db8::fe dev eth0");
        let addrs: Vec<String> = bind("_default_:80")
            .unwrap()
            .iter()
            .map(|listener| listener.local_addr().to_string())
            .collect();
        assert_eq!(addrs, ["10.0.0.2:80", "[2001:db8::1]:80"]);
    });
}

/// Addresses from everywhere, with a liking for those that the host has.
fn asked_ips() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        util::near_ips(),
        (0..4u8).prop_map(|host| IpAddr::from([10, 0, 0, host])),
        (0..4u16).prop_map(|host| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host])),
        (0..4u16).prop_map(|host| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, host])),
    ]
}

#[test]
fn each_failure_keeps_text_and_source() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fd00::1/64 dev eth0");
        ip("addr add fe80::1/64 dev eth0");
        let host = Interfaces::system().unwrap();
        let mut runner = TestRunner::new(Config {
            cases: 2000,
            failure_persistence: None,
            ..Config::default()
        });
        // Laws 6 and 7: the verdict is the kernel's except on dead addresses; an
        // error has the text, the step and the system's error, and keeps its kind.
        let holds = runner.run(
            &(asked_ips(), 0..5u32, any::<bool>()),
            |(ip, scope_id, classified)| {
                let addr = match ip {
                    IpAddr::V4(_) => SocketAddr::new(ip, 0),
                    IpAddr::V6(ip) => std::net::SocketAddrV6::new(ip, 0, 0, scope_id).into(),
                };
                let ours = if classified {
                    let target = BindTarget::classify_in_zone(ip, scope_id, &host);
                    bind((target, 0))
                } else {
                    bind(addr)
                };
                let std = TcpListener::bind(addr);
                match (ours, std) {
                    (Ok(_), Ok(_)) => {}
                    (Err(err), _) if err.raw_os_error().is_none() => {
                        prop_assert!(
                            matches!(
                                err.cause(),
                                Cause::Group(GroupAddr::Multicast | GroupAddr::Broadcast)
                            ),
                            "{:?}",
                            err
                        );
                        prop_assert_eq!(err.step(), Step::Validate);
                    }
                    (Err(err), Err(std)) => {
                        prop_assert_eq!(err.raw_os_error(), std.raw_os_error());
                        prop_assert_eq!(err.step(), Step::Bind);
                        prop_assert!(err.text().ends_with(":0"));
                        prop_assert!(err.to_string().contains(err.text()));
                        prop_assert!(!matches!(err.cause(), Cause::Other { .. }), "{:?}", err);
                        prop_assert!(
                            !err.to_string().contains("os error"),
                            "the source is not repeated"
                        );
                        prop_assert_eq!(io::Error::from(err).kind(), std.kind());
                    }
                    (ours, std) => prop_assert!(false, "{}: ours {:?}, std {:?}", addr, ours, std),
                }
                Ok(())
            },
        );
        holds.unwrap_or_else(|err| panic!("{err}"));
    });
}

/// A setting, and the options of the program.
fn said() -> impl Strategy<Value = (&'static str, bool, Option<&'static str>, bool)> {
    let texts = [
        "*:0",
        "0",
        "0.0.0.0:0",
        "[::]:0",
        "ipv6@*:0",
        "ipv4@*:0",
        "ipv6@[::]:0",
        "localhost:0",
        "127.0.0.1:0",
        "127.0.0.2:0",
        "[::1]:0",
        "10.0.0.1:0",
        "[fd00::1]:0",
        "[fe80::1%eth0]:0",
        "[::ffff:10.0.0.1]:0",
        "[::ffff:0.0.0.0]:0",
        "eth0:0",
        "ipv4@eth0:0",
        "ipv6@eth0:0",
        "10.0.0.0/8:0",
        "_local_:0",
        "_private_:0",
        "8.8.8.8:0",
    ];
    let device = prop::sample::select(vec![
        None,
        Some("lo"),
        Some("eth0"),
        Some("far0"),
        Some("uplink0"),
    ]);
    (
        prop::sample::select(texts.to_vec()),
        any::<bool>(),
        device,
        any::<bool>(),
    )
}

/// A socket, and what is reported of it.
struct Opened {
    socket: Socket,
    addr: SocketAddr,
    device: Option<String>,
    target: BindTarget,
    exposure: Exposure,
}

fn opened<S: StdSocket + Into<Socket>>(
    bound: Result<Listeners<S>, BindError>,
    host: &Interfaces,
) -> Vec<Opened> {
    let listeners = bound.into_iter().flatten();
    listeners
        .map(|one| Opened {
            addr: one.local_addr(),
            device: one.device(),
            target: one.target(host),
            exposure: one.exposure(host),
            socket: one.into_std().into(),
        })
        .collect()
}

/// The text names the address, or the families of a wildcard.
fn assert_named(
    text: &str,
    only_v6: bool,
    named: &[BindTarget],
    opened: &Opened,
) -> TestCaseResult {
    let ip = opened.addr.ip();
    if !ip.is_unspecified() {
        let mut ips = named.iter().flat_map(|named| match named {
            BindTarget::Loopback(loopback) => loopback.ips().collect(),
            BindTarget::Local(local) => vec![local.ip()],
            _ => Vec::new(),
        });
        prop_assert!(ips.any(|named| named == ip), "{} opened {}", text, ip);
        return Ok(());
    }
    let (BindTarget::Any(wildcard), BindTarget::Any(reported)) = (&named[0], &opened.target) else {
        return Err(TestCaseError::fail(format!("{text} opened {ip}")));
    };
    // Only a literal `[::]` is narrowed by the option.
    let is_narrowed = text == "[::]:0" && only_v6;
    let takes_ipv4 = ip.is_ipv4() || !opened.socket.only_v6().expect("it is asked");
    let says_ipv4 = wildcard.takes(Family::Ipv4) && !is_narrowed;
    prop_assert_eq!(takes_ipv4, says_ipv4, "{}", text);
    prop_assert_eq!(ip.is_ipv6(), wildcard.takes(Family::Ipv6), "{}", text);
    prop_assert_eq!(takes_ipv4, reported.takes(Family::Ipv4), "{}", text);
    Ok(())
}

/// The device is the one that was set, whatever zone the address has.
fn assert_device(text: &str, device: Option<&str>, opened: &Opened) -> TestCaseResult {
    let bound_to = opened.socket.device().expect("it is asked");
    let bound_to = bound_to.map(|name| String::from_utf8(name).expect("it is text"));
    let wanted = device.map(|name| name.replace("uplink0", "eth0"));
    if wanted.is_some() {
        prop_assert_eq!(&bound_to, &wanted, "{} opened {}", text, opened.addr);
    } else {
        let is_link_scoped = matches!(opened.addr, SocketAddr::V6(v6) if v6.scope_id() != 0);
        prop_assert_eq!(bound_to.is_some(), is_link_scoped, "{}", text);
    }
    prop_assert_eq!(&opened.device, &wanted, "{}", text);
    let is_host_only = opened.addr.ip().is_loopback() || device == Some("lo");
    prop_assert_eq!(
        opened.exposure == Exposure::ThisHost,
        is_host_only,
        "{}",
        text
    );
    Ok(())
}

/// The sockets accept what the text names, and what is reported of them.
#[test]
fn opened_sockets_match_the_text() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fd00::1/64 dev eth0");
        ip("addr add fe80::1/64 dev eth0");
        ip("link property add dev eth0 altname uplink0");
        let host = Interfaces::system().unwrap();
        let mut runner = TestRunner::new(Config {
            cases: 1000,
            failure_persistence: None,
            ..Config::default()
        });
        let holds = runner.run(&said(), |(text, only_v6, device, udp)| {
            let mut options = BindOptions::new().only_v6(only_v6);
            if let Some(device) = device {
                options = options.device(device);
            }
            let addr: ListenAddr = text.parse().unwrap();
            let named = addr.resolve(&host).unwrap();
            let all = if udp {
                opened(options.bind_udp(text), &host)
            } else {
                opened(options.bind(text), &host)
            };
            // An IPv4-mapped address is refused under `only_v6`.
            prop_assert!(
                all.is_empty() || !(only_v6 && text.contains("ffff")),
                "{}",
                text
            );
            // Without a device all that is named is opened.
            let is_refused = only_v6 && text.contains("ffff") || text.contains("8.8.8.8");
            if device.is_none() && !is_refused {
                let opened: BTreeSet<IpAddr> = all.iter().map(|one| one.addr.ip()).collect();
                let ips = named.iter().flat_map(|named| match named {
                    BindTarget::Loopback(loopback) => loopback.ips().collect(),
                    BindTarget::Local(local) => vec![local.ip()],
                    _ => opened.iter().copied().collect(),
                });
                prop_assert!(!opened.is_empty(), "{}", text);
                prop_assert_eq!(&opened, &ips.collect(), "{}", text);
            }
            for one in &all {
                let local_addr = one.socket.local_addr().unwrap().as_socket();
                prop_assert_eq!(local_addr, Some(one.addr), "{}", text);
                assert_named(text, only_v6, &named, one)?;
                assert_device(text, device, one)?;
            }
            Ok(())
        });
        holds.unwrap_or_else(|err| panic!("{err}"));
    });
}
