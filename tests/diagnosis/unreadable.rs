//! Evidence that cannot be read.

use super::*;

#[test]
#[allow(clippy::too_many_lines)] // one sandbox after another
fn unreadable_evidence_is_left_out() {
    const TEST: &str = "unreadable::unreadable_evidence_is_left_out";
    let holder_of = |err: &BindError| match err.cause() {
        Cause::InUse { holders, .. } => holders.first().cloned(),
        cause => panic!("{cause:?}"),
    };
    match rerun::role().as_deref() {
        Some("without-netlink") => {
            sandbox::refuse_family(16, 97);
            let err = row(
                "a foreign address in a sandbox without netlink",
                "198.51.100.1:80",
            );
            assert!(matches!(err.cause(), Cause::AddressUnavailable { .. }));
            // The tables of /proc have it, and not whether it is dual-stack.
            let held = bind("[::]:80").unwrap();
            let err = row(
                "an IPv4 address beside `[::]`, in a sandbox without netlink",
                "127.0.0.1:80",
            );
            let holder = holder_of(&err).expect("it is in the table");
            assert!(holder.is_this_process() && !holder.is_certain());
            assert_eq!(holder.overlap(), Overlap::CoversAsDualStack);
            assert_eq!(holder.addr(), held.as_slice()[0].local_addr());
            drop(held);
            // One that surely has it is named, and one that is innocent is not.
            let innocent = BindOptions::new().only_v6(true).bind("[::]:80").unwrap();
            let held = bind("127.0.0.1:80").unwrap();
            let err = bind("127.0.0.1:80").unwrap_err();
            let Cause::InUse { holders, .. } = err.cause() else {
                panic!("{err:?}")
            };
            assert_eq!(holders.len(), 1);
            assert_eq!(holders[0].addr(), held.as_slice()[0].local_addr());
            assert!(holders[0].is_certain());
            drop((innocent, held));
            // Neither is the device.
            let on_eth0 = BindOptions::new()
                .device("eth0")
                .bind("0.0.0.0:80")
                .unwrap();
            let on_far0 = BindOptions::new().device("far0");
            let held = without_reuse_on("far0", "0.0.0.0:80");
            let err = on_far0.bind("0.0.0.0:80").unwrap_err();
            let holder = holder_of(&err).expect("it is in the table");
            assert!(!holder.is_certain(), "{err}");
            drop((on_eth0, held));
            // Without netlink, too, a zone does not replace the device.
            assert_zone_conflicts_with_device();
            rerun::done();
        }
        Some("without-proc") => {
            assert!(!std::fs::exists("/proc/self/status").unwrap());
            let held = bind("127.0.0.1:80").unwrap();
            let holder = holder_of(&bind("127.0.0.1:80").unwrap_err()).expect("netlink reports it");
            assert_eq!((holder.uid(), holder.pid()), (Some(0), None));
            drop(held);
            assert!(matches!(
                bind("198.51.100.1:80").unwrap_err().cause(),
                Cause::NotOnThisHost(_)
            ));
            // Whether it is tentative is in /proc only.
            ip("addr add 2001:db8:1::10/64 dev eth0");
            let err = bind("[2001:db8:1::10]:80").unwrap_err();
            assert!(matches!(err.cause(), Cause::NotReady(_)), "{err:?}");
            rerun::done();
        }
        Some("without-both") => {
            sandbox::refuse_family(16, 97);
            let _held = bind("127.0.0.1:80").unwrap();
            let err = bind("127.0.0.1:80").unwrap_err();
            assert_eq!(
                err.to_string(),
                "cannot listen on 127.0.0.1:80: port 80 is in use by another socket"
            );
            assert!(holder_of(&err).is_none());
            assert!(bindaddr::check(["127.0.0.1:8080", "[::1]:8080"]).is_ok());
            rerun::done();
        }
        Some("with-a-part-of-proc") => {
            assert!(!std::fs::exists("/proc/sys").unwrap());
            let held = bind("127.0.0.1:80").unwrap();
            let err = bind("127.0.0.1:80").unwrap_err();
            assert!(holder_of(&err).expect("it is reported").is_this_process());
            drop(held);
            rerun::done();
        }
        Some("with-a-part-of-proc-and-no-capability") => {
            let err = row(
                "a port below 1024 where the limit cannot be read",
                "127.0.0.1:80",
            );
            assert!(matches!(
                err.cause(),
                Cause::PrivilegedPort {
                    limit: None,
                    privilege: Privilege::Missing,
                    ..
                }
            ));
            rerun::done();
        }
        _ => in_namespace(|| {
            set("net/ipv6/conf/default/accept_dad", "1");
            set("net/ipv6/conf/default/dad_transmits", "100");
            cable();
            ip("addr add fe80::78/64 dev far0 nodad");
            rerun::run(TEST, "without-netlink", &[]);
            let hide = |how: &'static str| {
                let then = "&& exec \"$0\" \"$@\"";
                [
                    "unshare".into(),
                    "--mount".into(),
                    "sh".into(),
                    "-c".into(),
                    format!("{how} {then}"),
                ]
            };
            for (role, how) in [
                ("without-proc", "mount -t tmpfs none /proc"),
                ("without-both", "mount -t tmpfs none /proc"),
                (
                    "with-a-part-of-proc",
                    "mount -t proc -o subset=pid proc /proc",
                ),
            ] {
                let words = hide(how);
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                if role == "with-a-part-of-proc" && !can_mount_proc() {
                    rerun::skip(
                        TEST,
                        "/proc cannot be mounted here",
                        "BINDADDR_REQUIRE_USERS",
                    );
                    continue;
                }
                rerun::run(TEST, role, &words);
                if role == "with-a-part-of-proc" {
                    let words = [&words[..], &WITHOUT_CAPABILITIES].concat();
                    rerun::run(TEST, "with-a-part-of-proc-and-no-capability", &words);
                }
            }
        }),
    }
}

/// A socket on a device as servers make it that do not set `SO_REUSEADDR`.
fn without_reuse_on(device: &str, addr: &str) -> Socket {
    let addr: SocketAddr = addr.parse().expect("an address");
    let socket =
        Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("there are sockets");
    socket
        .bind_device(Some(device.as_bytes()))
        .expect("it is there");
    socket.bind(&addr.into()).expect("the port is free");
    socket
}

/// `fe80::78` is an address of `far0`: bound to `lo`, no client of the link may get in.
#[track_caller]
fn assert_zone_conflicts_with_device() {
    let index = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let line = index
        .lines()
        .find(|line| line.starts_with("fe800000000000000000000000000078"));
    let line = line.expect("far0 has it");
    let index = line.split_ascii_whitespace().nth(1).expect("an index");
    let index = u32::from_str_radix(index, 16).expect("in hexadecimal");
    let text = format!("[fe80::78%{index}]:80");
    let on_lo = BindOptions::new().device("lo");
    for err in [
        on_lo.bind(&*text).expect_err("refused"),
        on_lo.bind_udp(&*text).expect_err("refused"),
        on_lo
            .bind_udp(format!("[ff02::fb%{index}]:80"))
            .expect_err("refused"),
        on_lo.bind([&*text]).expect_err("refused"),
    ] {
        assert_eq!(err.step(), Step::Validate, "{err}");
        assert!(
            matches!(err.cause(), Cause::OnAnotherDevice { .. }),
            "{err}"
        );
    }
    assert!(!on_lo.check([&text]).is_ok());
    let on_far0 = BindOptions::new()
        .device("far0")
        .bind(&*text)
        .expect("far0 has it");
    assert_eq!(on_far0.as_slice()[0].device().as_deref(), Some("far0"));
}

/// A user namespace may mount /proc only where it has a pid namespace as well.
fn can_mount_proc() -> bool {
    let mount = "mount -t proc -o subset=pid proc /proc";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", mount])
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
