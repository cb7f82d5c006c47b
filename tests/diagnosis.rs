//! The diagnosis against the Linux kernel: a situation for every cause, what std
//! says there and what this crate says.
//!
//! `docs/diagnosis.md` has a row for each, which is the expected text; a test whose rows are not
//! there fails and prints them. `tests/accept-texts` replaces the rows of the page by what the
//! tests have found, to be reviewed.
#![cfg(target_os = "linux")]

mod util;

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bindaddr::addr::Family;
use bindaddr::diagnosis::{
    BindableReason, FamilyUnavailableReason, HintKind, Policy, Privilege, SettingError,
    SocketState, Step, WarningKind,
};
use bindaddr::plan::ToSettings;
use bindaddr::target::{GroupAddr, Overlap};
use bindaddr::{BindError, BindOptions, BindTarget, Cause, Interfaces, ListenAddr, bind, bind_udp};
use socket2::{Domain, Socket, Type};
use util::features;
use util::netns::{Host, in_namespace, in_namespace_of, ip, set};
use util::rerun;
use util::sandbox;

const DOCS: &str = include_str!("../docs/diagnosis.md");

/// An interface `eth0` with a cable, so that its addresses are usable.
fn cable() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
}

/// Binds `setting`, which fails, and compares it with the row of the docs.
#[track_caller]
fn row(situation: &str, setting: impl ToSettings) -> BindError {
    let err = fails(&BindOptions::new(), situation, setting);
    let addr = err.addr().expect("it came to a socket");
    let std = TcpListener::bind(addr).map_or_else(|err| err.to_string(), |_| "binds it".to_owned());
    hold_row(&err, situation, &std);
    err
}

/// As [`row`], with options that std does not have.
#[track_caller]
fn row_with(options: &BindOptions, situation: &str, setting: impl ToSettings) -> BindError {
    let err = fails(options, situation, setting);
    hold_row(&err, situation, "has no such option");
    err
}

#[track_caller]
fn fails(options: &BindOptions, situation: &str, setting: impl ToSettings) -> BindError {
    let err = options.bind(setting).expect_err(situation);
    follow_advice(options, &err);
    err
}

/// Applies each advice to write another setting, on the host where the failure happened: it binds,
/// and opens no more than what was written unless the advice says so.
#[track_caller]
fn follow_advice(options: &BindOptions, err: &BindError) {
    let host = Interfaces::system().unwrap_or_default();
    let exposure = |text: &str| {
        let targets = text
            .parse::<ListenAddr>()
            .expect("it parses")
            .resolve(&host);
        let targets = targets.unwrap_or_default();
        targets.iter().map(|target| target.exposure(&host)).max()
    };
    for hint in err.hints() {
        let Some(replacement) = hint.replacement() else {
            run_command(&hint);
            continue;
        };
        let bound = options.bind(replacement);
        assert!(bound.is_ok(), "{}: {hint}: {bound:?}", err.text());
        match hint.kind() {
            HintKind::Widen => assert!(
                ["reachable from", "opens the port to", "more clients"]
                    .iter()
                    .any(|words| hint.text().contains(words)),
                "{hint}"
            ),
            kind => {
                assert_eq!(kind, HintKind::Replace, "{hint}");
                assert!(exposure(replacement) <= exposure(err.text()), "{hint}");
            }
        }
    }
}

/// Runs the command that a hint shows something by.
#[track_caller]
fn run_command(hint: &bindaddr::diagnosis::Hint) {
    if hint.kind() != HintKind::Inspect {
        return;
    }
    let command = hint.text().split('`').nth(1).expect("a command");
    let output = Command::new("sh").args(["-c", command]).output();
    assert!(output.is_ok_and(|output| output.status.success()), "{hint}");
}

/// The settings that are advised to write instead.
fn replacements(err: &BindError) -> Vec<String> {
    let hints = err.hints().into_iter();
    hints
        .filter_map(|hint| hint.replacement().map(str::to_owned))
        .collect()
}

/// The advice that an operator can follow.
fn texts_of_hints(err: &BindError) -> Vec<String> {
    let hints = err.hints().into_iter();
    let for_operators = hints.filter(|hint| hint.kind() != HintKind::Program);
    for_operators.map(|hint| hint.to_string()).collect()
}

#[track_caller]
fn hold_row(err: &BindError, situation: &str, std: &str) {
    let cause = format!("{:?}", err.cause());
    let cause = cause.split(|c: char| !c.is_alphanumeric()).next();
    let row = format!(
        "| {} | {situation} | {std} | `` {} `` |",
        cause.unwrap_or_default(),
        unnumbered(&err.to_string()),
    );
    if let Ok(file) = std::env::var("BINDADDR_DIAGNOSIS_ROWS") {
        match std::fs::File::options().append(true).open(file) {
            Ok(mut file) => writeln!(file, "{row}").expect("it is written"),
            // In some of the situations it cannot be.
            Err(_) if !DOCS.contains(&row) => rerun::wrong_row(row),
            Err(_) => {}
        }
    // Another library has other words for an error.
    } else if cfg!(target_env = "gnu") && !DOCS.contains(&row) {
        rerun::wrong_row(row);
    }
}

/// Leaves out the numbers of processes and descriptors, which differ from run to run.
fn unnumbered(sentence: &str) -> String {
    let sentence = &match sentence.split_once("this process has ") {
        Some((before, after)) if after.ends_with(" open") => {
            format!("{before}this process has N open")
        }
        _ => sentence.to_owned(),
    };
    let mut parts = sentence.split("(pid ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("(pid N");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// Waits for what takes the kernel a moment.
#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(90), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The flags of an address in `if_inet6`.
fn has_flag(ip: &str, flag: u8) -> bool {
    let IpAddr::V6(ip) = util::ip(ip) else {
        return false;
    };
    let hex = format!("{:032x}", ip.to_bits());
    let table = std::fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    table.lines().any(|line| {
        let flags = line.split_ascii_whitespace().nth(4).unwrap_or_default();
        line.starts_with(&hex) && u8::from_str_radix(flags, 16).is_ok_and(|all| all & flag != 0)
    })
}

/// A socket as servers make it that do not set `SO_REUSEADDR`.
fn without_reuse(addr: &str) -> Socket {
    let addr: SocketAddr = addr.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None);
    let socket = socket.expect("there are sockets");
    socket.bind(&addr.into()).expect("the port is free");
    socket
}

#[test]
fn foreign_address_is_not_on_this_host() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 dev eth0");
        ip("addr add 10.8.0.1 peer 10.8.0.2 dev eth0");
        ip("addr add 2001:db8:1::10/64 dev eth0");
        for (situation, text) in [
            ("an address outside all subnets of the host", "8.8.8.8:80"),
            (
                "an address of another host in the subnet",
                "192.168.158.94:80",
            ),
            ("the network address of the subnet", "192.168.0.0:80"),
            ("the other end of a point-to-point link", "10.8.0.2:80"),
            ("the anycast address of the subnet", "[2001:db8:1::]:80"),
        ] {
            if text == "192.168.0.0:80" && features::lowest_is_broadcast() {
                assert!(matches!(
                    bind(text).unwrap_err().cause(),
                    Cause::Group(GroupAddr::Broadcast)
                ));
                continue;
            }
            let err = row(situation, text);
            assert!(matches!(err.cause(), Cause::NotOnThisHost(_)));
            assert_eq!(err.errors().next().unwrap().causes().len(), 1);
            let hints = err.hints();
            // The closest address first, and that the wildcard opens more is said.
            assert_eq!(hints[0].kind(), HintKind::Replace, "{hints:?}");
            assert_eq!(hints[1].kind(), HintKind::Widen, "{hints:?}");
            let may_come = ["8.8.8.8:80", "192.168.158.94:80"].contains(&text);
            assert_eq!(hints.len(), if may_come { 3 } else { 2 }, "{hints:?}");
        }
        let err = bind("192.168.158.94:80").unwrap_err();
        assert_eq!(replacements(&err), ["192.168.71.67:80", "0.0.0.0:80"]);
        // An address that is in use, or cannot be bound at present, is not advised.
        let held = bind("192.168.71.67:80").unwrap();
        let err = bind("192.168.158.94:80").unwrap_err();
        assert_eq!(replacements(&err), ["10.8.0.1:80"]);
        drop(held);
        ip("route del local 192.168.71.67 dev eth0 table local");
        let err = bind("192.168.158.94:80").unwrap_err();
        assert_eq!(replacements(&err), ["10.8.0.1:80", "0.0.0.0:80"]);
        ip("route add local 192.168.71.67 dev eth0 table local");
        // Also where this host is the router whose anycast address it is.
        set("net/ipv6/conf/all/forwarding", "1");
        let err = bind("[2001:db8:1::]:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::NotOnThisHost(_)));
    });
}

#[test]
fn removed_address_is_reported() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 dev eth0");
        let target = BindTarget::parse("192.168.71.67").unwrap();
        assert!(target.is_local());
        ip("link del eth0");
        let err = row(
            "an address whose interface was deleted since it was looked up",
            (&target, 80),
        );
        let Cause::Gone(local) = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(local.interfaces().next().unwrap().name(), "eth0");
        assert!(err.is_transient());
    });
}

#[test]
fn routed_address_is_not_assigned() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("-6 route add local 2001:db8:7::/64 dev lo");
        let err = row(
            "an IPv6 address that a local route covers",
            "[2001:db8:7::1]:80",
        );
        assert!(matches!(err.cause(), Cause::RoutedNotAssigned(_)));
        // The fix.
        let freebind = BindOptions::new().freebind(true);
        let bound = freebind.bind("[2001:db8:7::1]:80").unwrap();
        assert!(TcpStream::connect("[2001:db8:7::1]:80").is_ok());
        drop(bound);

        ip("route add local 198.51.100.7 dev lo table 100");
        ip("rule add to 198.51.100.7 lookup 100");
        row(
            "an IPv4 address that is local in another table only",
            "198.51.100.7:80",
        );
        // With freebind no client would get in.
        let bound = freebind.bind("198.51.100.7:80").unwrap();
        assert!(TcpStream::connect("198.51.100.7:80").is_err());
        drop(bound);
        ip("route add local 198.51.100.7 dev lo");
        let bound = bind("198.51.100.7:80").unwrap();
        assert!(TcpStream::connect("198.51.100.7:80").is_ok());
        drop(bound);
    });
}

#[test]
fn zone_errors_are_distinguished() {
    in_namespace(|| {
        cable();
        ip("addr add fe80::78/64 dev far0");
        let index = |name: &str| {
            let host = Interfaces::system().unwrap();
            host.by_name(name).unwrap().index().unwrap()
        };
        // A number that does not depend on how many there were before.
        let other = index("lo");
        let err = row("a link-local address without its zone", "[fe80::78]:80");
        let Cause::ZoneRequired { candidates, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(candidates.as_deref(), Some(&["far0".to_owned()][..]));
        let err = row(
            "a zone that is the index of no interface",
            "[fe80::78%9999]:80",
        );
        assert!(matches!(err.cause(), Cause::NoSuchZone { index: 9999, .. }));
        let err = row(
            "the zone of another interface",
            &*format!("[fe80::78%{other}]:80"),
        );
        assert!(matches!(err.cause(), Cause::OtherZone { .. }));
        bind("[fe80::78%far0]:80").expect("as the sentences say");
    });
}

#[test]
fn tentative() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        set("net/ipv6/conf/default/dad_transmits", "600");
        cable();
        ip("addr add 2001:db8:1::10/64 dev eth0");
        let text = "[2001:db8:1::10]:80";
        let err = row("an IPv6 address during duplicate address detection", text);
        assert!(matches!(err.cause(), Cause::Tentative(_)));
        assert!(err.is_transient());
        // The number is read when the look begins.
        set("net/ipv6/conf/eth0/dad_transmits", "1");
        ip("addr del 2001:db8:1::10/64 dev eth0");
        ip("addr add 2001:db8:1::10/64 dev eth0");
        eventually("it can be bound", || bind(text).is_ok());
        // An optimistic one is bound at once (RFC 4429).
        if has_optimistic() {
            set("net/ipv6/conf/eth0/optimistic_dad", "1");
            ip("addr add 2001:db8:1::11/64 optimistic dev eth0");
            bind("[2001:db8:1::11]:80").unwrap();
        }
    });
}

fn has_optimistic() -> bool {
    std::fs::exists("/proc/sys/net/ipv6/conf/eth0/optimistic_dad").unwrap_or(false)
}

#[test]
fn duplicate() {
    const TEST: &str = "duplicate";
    in_namespace(|| {
        let mut other = Host::start(TEST);
        other.cable("eth0", "eth0");
        other.ip("addr add 2001:db8:1::10/64 nodad dev eth0");
        set("net/ipv6/conf/eth0/accept_dad", "1");
        eventually("the other host answers", || {
            ip("addr add 2001:db8:1::10/64 dev eth0");
            eventually("it is looked for", || {
                !has_flag("2001:db8:1::10", 0x40) || has_flag("2001:db8:1::10", 0x08)
            });
            let failed = has_flag("2001:db8:1::10", 0x08);
            if !failed {
                ip("addr del 2001:db8:1::10/64 dev eth0");
            }
            failed
        });
        let err = row(
            "an IPv6 address that another host on the link also uses",
            "[2001:db8:1::10]:80",
        );
        assert!(matches!(err.cause(), Cause::Duplicate(_)));
        assert!(!err.is_transient());
    });
}

#[test]
fn down_interface_and_missing_carrier_are_reported() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        ip("link add name eth0 type veth peer name far0");
        ip("addr add 2001:db8:1::10/64 dev eth0");
        let err = row(
            "an IPv6 address of an interface that is down",
            "[2001:db8:1::10]:80",
        );
        assert!(matches!(err.cause(), Cause::InterfaceDown(_)));
        assert_eq!(
            texts_of_hints(&err)[0],
            "`ip link set dev eth0 up` brings it up"
        );
        // Not a command that the name of an interface has written.
        ip("link set eth0 name a;reboot");
        let err = bind("[2001:db8:1::10]:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::InterfaceDown(_)));
        assert!(
            texts_of_hints(&err)
                .iter()
                .all(|text| !text.contains("reboot"))
        );
        ip("link set a;reboot name eth0");
        ip("link set dev eth0 up");
        let err = row(
            "an IPv6 address of an interface without a carrier",
            "[2001:db8:1::10]:80",
        );
        assert!(matches!(err.cause(), Cause::NoCarrier(_)));
        assert!(err.is_transient());
        ip("link set far0 up");
        eventually("it can be bound", || bind("[2001:db8:1::10]:80").is_ok());
    });
}

#[test]
fn missing_local_route_is_reported() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("route del local 10.0.0.1 dev eth0 table local");
        let err = row(
            "an IPv4 address whose local route was deleted",
            "10.0.0.1:80",
        );
        assert!(matches!(err.cause(), Cause::LocalRouteMissing(_)));
        assert_eq!(
            texts_of_hints(&err),
            ["`ip route show table local` shows what the kernel treats as local"]
        );
        ip("route add blackhole 10.0.0.1 table local");
        row(
            "an IPv4 address with a blackhole route in the table local",
            "10.0.0.1:80",
        );
        // The address alone brings its route back, but does not push aside one that is in the way:
        // so the sentence says neither, and the hint shows which of the two it is.
        let again = || {
            ip("addr del 10.0.0.1/24 dev eth0");
            ip("addr add 10.0.0.1/24 dev eth0");
            bind("10.0.0.1:80").is_ok()
        };
        assert!(!again());
        ip("route del blackhole 10.0.0.1 table local");
        ip("route del local 10.0.0.1 dev eth0 table local");
        assert!(again());
    });
}

#[test]
fn disabled_ipv6_is_reported() {
    in_namespace(|| {
        set("net/ipv6/conf/lo/disable_ipv6", "1");
        let err = row("::1 where IPv6 is switched off on `lo`", "[::1]:80");
        let is = |err: &BindError, wanted| match err.cause() {
            Cause::FamilyUnavailable { why, .. } => *why == wanted,
            _ => false,
        };
        let by = |err: &BindError| match err.cause() {
            Cause::FamilyUnavailable {
                why: FamilyUnavailableReason::Sysctl { interface, .. },
                ..
            } => Some(*interface),
            _ => None,
        };
        assert_eq!(by(&err), Some("lo"));
        let texts = texts_of_hints(&err);
        assert_eq!(
            texts[texts.len() - 1],
            "`sysctl net.ipv6.conf.lo.disable_ipv6=0` enables IPv6 on lo"
        );
        set("net/ipv6/conf/lo/disable_ipv6", "0");
        bind("[::1]:80").expect("as the hint says");
        set("net/ipv6/conf/lo/disable_ipv6", "1");
        // Another interface may have one.
        cable();
        let err = bind("[2001:db8::1]:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::NotOnThisHost(_)), "{err:?}");
        set("net/ipv6/conf/all/disable_ipv6", "1");
        for (situation, text) in [
            ("::1 where IPv6 is switched off", "[::1]:80"),
            (
                "an IPv6 address where IPv6 is switched off",
                "[2001:db8::1]:80",
            ),
        ] {
            let err = row(situation, text);
            assert_eq!(by(&err), Some("all"));
        }
        // A server that was open to this host only stays that.
        for text in [
            "[::1]:5000",
            "ipv6@localhost:5000",
            "-[::1]:5000",
            "[fe80::1%lo]:5000",
        ] {
            let err = bind(text).unwrap_err();
            follow_advice(&BindOptions::new(), &err);
            let optional = if text.starts_with('-') { "-" } else { "" };
            assert_eq!(
                replacements(&err),
                [format!("{optional}127.0.0.1:5000")],
                "{text}"
            );
            assert_eq!(err.hints()[0].kind(), HintKind::Replace);
        }
        bind("*:80").expect("IPv4 is there");
        let err = bind("[::1]:80").unwrap_err();
        let texts = texts_of_hints(&err);
        assert_eq!(
            texts[texts.len() - 1],
            "`sysctl net.ipv6.conf.all.disable_ipv6=0` enables IPv6 on every interface"
        );
        set("net/ipv6/conf/all/disable_ipv6", "0");
        bind("[::1]:80").unwrap();
        ip("link set lo down");
        let err = row("::1 while the loopback interface is down", "[::1]:80");
        assert!(is(&err, FamilyUnavailableReason::LoopbackDown));
        assert_eq!(texts_of_hints(&err), ["`ip link set lo up` brings it up"]);
        ip("link set lo up");
        bind("[::1]:80").expect("as the hint says");
    });
}

#[test]
fn sandbox_without_ipv6_is_reported() {
    in_namespace(|| {
        sandbox::refuse_family(10, 97);
        let err = row("an IPv6 socket in a sandbox without IPv6", "[::1]:80");
        assert_eq!(err.step(), Step::Socket);
        assert_eq!(replacements(&err), ["127.0.0.1:80"]);
        bind("*:80").expect("IPv4 is there");
    });
}

#[test]
fn policy_denied_ipv6_counts_as_missing_family() {
    const TEST: &str = "policy_denied_ipv6_counts_as_missing_family";
    // EPERM and EACCES of socket(2), as a filter, a BPF program or a security module gives them.
    let errno = match rerun::role().as_deref() {
        Some("not-permitted") => 1,
        Some("denied") => 13,
        _ => {
            return in_namespace(|| {
                rerun::run(TEST, "not-permitted", &[]);
                rerun::run(TEST, "denied", &[]);
            });
        }
    };
    sandbox::refuse_family(10, errno);
    let situation = match errno {
        1 => "an IPv6 socket denied by a seccomp filter",
        _ => "an IPv6 socket that a policy denies",
    };
    let err = row(situation, "[::1]:80");
    assert_eq!(err.step(), Step::Socket);
    assert_eq!(replacements(&err), ["127.0.0.1:80"]);
    for text in ["*:80", "localhost:80"] {
        let listeners = bind(text).expect("IPv4 is there");
        assert!(listeners.iter().all(|one| one.local_addr().is_ipv4()));
    }
    let listeners = bindaddr::bind(["127.0.0.1:80", "-[::1]:80"]).expect("it may be absent");
    assert_eq!(listeners.skipped().len(), 1);
    drop(listeners);
    assert!(bindaddr::check(["127.0.0.1:80", "-[::1]:80", "*:81"]).is_ok());
    assert!(bind("[::]:80").is_err());
    rerun::done();
}

#[test]
fn missing_loopback_is_reported() {
    in_namespace(|| {
        ip("addr del 127.0.0.1/8 dev lo");
        row(
            "127.0.0.1 where the loopback interface has lost it",
            "127.0.0.1:80",
        );
        ip("addr add 127.0.0.1/32 dev lo");
        let err = row(
            "127.0.0.2 where the loopback interface has 127.0.0.1/32 only",
            "127.0.0.2:80",
        );
        let Cause::LoopbackMissing { has, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(has.len(), 1);
        ip("route del local 127.0.0.1 dev lo table local");
        row("127.0.0.1 whose local route was deleted", "127.0.0.1:80");
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("link set lo down");
        row(
            "127.0.0.1 while the loopback interface is down",
            "127.0.0.1:80",
        );
        ip("link set lo up");
        bind("127.0.0.1:80").expect("as the sentence says");
    });
}

#[test]
fn own_socket_is_named() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fe80::77/64 dev eth0");
        for (situation, held, text, overlap) in [
            (
                "a port that this process has on the same address",
                "127.0.0.1:80",
                "127.0.0.1:80",
                Overlap::SameAddress,
            ),
            (
                "an address while the wildcard is in use",
                "0.0.0.0:80",
                "127.0.0.1:80",
                Overlap::Covers,
            ),
            (
                "an IPv4 address beside the dual-stack wildcard",
                "[::]:80",
                "127.0.0.1:80",
                Overlap::CoversAsDualStack,
            ),
            (
                "the wildcard while an address is in use",
                "10.0.0.1:80",
                "0.0.0.0:80",
                Overlap::IsCovered,
            ),
            (
                "the dual-stack wildcard beside the IPv4 wildcard",
                "0.0.0.0:80",
                "[::]:80",
                Overlap::IsCoveredByDualStack,
            ),
        ] {
            let held = bind(held).unwrap();
            let err = row(situation, text);
            let Cause::InUse { holders, port, .. } = err.cause() else {
                panic!("{err:?}")
            };
            assert_eq!((holders.len(), *port), (1, 80));
            let holder = &holders[0];
            assert_eq!(holder.addr(), held.as_slice()[0].local_addr());
            assert_eq!(holder.overlap(), overlap);
            assert_eq!(holder.state(), SocketState::Listening);
            assert!(holder.is_this_process());
            assert_eq!(holder.pid(), Some(std::process::id()));
            assert_eq!(holder.uid(), Some(0));
            assert!(holder.command().is_some_and(|name| !name.is_empty()));
            assert!(!err.is_transient());
        }
        // A zone is shown, and an IPv4-mapped address is not.
        let held = bind("[fe80::77%eth0]:80").unwrap();
        let err = bind("[fe80::77%eth0]:80").unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].addr(), held.as_slice()[0].local_addr());
        drop(held);
        let held = TcpListener::bind("[::ffff:127.0.0.1]:80").unwrap();
        row(
            "an address that is held in its IPv4-mapped form",
            "127.0.0.1:80",
        );
        drop(held);
        // Several.
        let held = [
            "127.0.0.1:80",
            "127.0.0.2:80",
            "127.0.0.3:80",
            "127.0.0.4:80",
        ];
        let held: Vec<_> = held.map(|text| bind(text).unwrap()).into_iter().collect();
        let err = bind("0.0.0.0:80").unwrap_err();
        assert!(
            err.to_string().ends_with("; and 1 more"),
            "three are named: {err}"
        );
        drop(held);
        // Another device is not in the way, and not named.
        let on = |name: &str| BindOptions::new().device(name);
        let held =
            [on("eth0").bind("0.0.0.0:80"), on("far0").bind("0.0.0.0:80")].map(Result::unwrap);
        let err = on("far0").bind("127.0.0.1:80").unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders.len(), 1);
        drop(held);
    });
}

#[test]
fn holder_in_another_pid_namespace_is_reported() {
    const TEST: &str = "holder_in_another_pid_namespace_is_reported";
    if rerun::role().as_deref() == Some("inside") {
        // This process has a number of its own, and /proc has those of the outer namespace.
        let err = bind("127.0.0.1:80").unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!((holders[0].uid(), holders[0].pid()), (Some(0), None));
        assert!(!holders[0].is_this_process());
        return rerun::done();
    }
    in_namespace(|| {
        let held = bind("127.0.0.1:80").unwrap();
        rerun::run(TEST, "inside", &["unshare", "--pid", "--fork", "--"]);
        drop(held);
    });
}

#[test]
fn udp_holder_is_named() {
    in_namespace(|| {
        let held = bind_udp("0.0.0.0:53").unwrap();
        assert_eq!(
            bind_udp("127.0.0.1:53").unwrap_err().to_string(),
            "cannot listen on UDP 127.0.0.1:53: port 53 is in use: a socket of this process is bound to 0.0.0.0, which includes every IPv4 address",
        );
        bind("127.0.0.1:53").expect("TCP is something else");
        drop(held);
    });
}

/// A server of another user, which listens on 127.0.0.1:80.
fn server_of_another_user(user: &str) -> Option<Child> {
    // Every Debian has perl-base.
    let script = "use IO::Socket::INET; \
        my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 80, Listen => 1, ReuseAddr => 1) or die; \
        $| = 1; print \"ready\\n\"; sleep 60;";
    let reuid = format!("--reuid={user}");
    let mut command = Command::new("setpriv");
    command.args([&*reuid, "--clear-groups", "--inh-caps=+net_bind_service"]);
    command.args(["--ambient-caps=+net_bind_service", "perl", "-e", script]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = command.spawn().ok()?;
    let mut ready = [0; 6];
    let stdout = server.stdout.as_mut()?;
    match std::io::Read::read_exact(stdout, &mut ready) {
        Ok(()) => Some(server),
        Err(_) => None,
    }
}

/// The words that start a program of the same user without any capability.
const WITHOUT_CAPABILITIES: [&str; 4] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"];

#[test]
fn holder_of_another_user_is_reported() {
    const TEST: &str = "holder_of_another_user_is_reported";
    if rerun::role().as_deref() == Some("unprivileged") {
        // Every user can read the user, and only root and that user the process.
        let err = row(
            "a port of another user's process, which cannot be inspected",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!((holders[0].uid(), holders[0].pid()), (Some(65534), None));
        assert_eq!(
            texts_of_hints(&err),
            ["`ss -antup 'sport = :80'`, run as root, shows which process holds the port"]
        );
        return rerun::done();
    }
    in_namespace(|| {
        let Some(mut server) = server_of_another_user("65534") else {
            rerun::skip(
                TEST,
                "this machine has no second user",
                "BINDADDR_REQUIRE_USERS",
            );
            return;
        };
        let err = row(
            "a port of another user's process, seen by root",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].pid(), Some(server.id()));
        assert!(!holders[0].is_this_process());
        assert_eq!(texts_of_hints(&err), [""; 0]);
        set("net/ipv4/ip_unprivileged_port_start", "80");
        rerun::run(TEST, "unprivileged", &WITHOUT_CAPABILITIES);
        let _ = server.kill();
        let _ = server.wait();
    });
}

#[test]
fn holder_with_dropped_privileges_is_named() {
    const TEST: &str = "holder_with_dropped_privileges_is_named";
    in_namespace(|| {
        let script = "use IO::Socket::INET; use POSIX; \
            my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 80, Listen => 1, ReuseAddr => 1) or die; \
            POSIX::setuid(65534) or die; $| = 1; print \"ready\\n\"; sleep 60;";
        let mut perl = Command::new("perl");
        perl.args(["-e", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut daemon = perl.spawn().expect("there is perl");
        let mut ready = [0; 6];
        let stdout = daemon.stdout.as_mut().expect("it is piped");
        if std::io::Read::read_exact(stdout, &mut ready).is_err() {
            drop(daemon.wait());
            rerun::skip(
                TEST,
                "this machine has no second user",
                "BINDADDR_REQUIRE_USERS",
            );
            return;
        }
        let err = row(
            "a port of a daemon that root started and that then changed its user",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(
            (holders[0].uid(), holders[0].process_uid()),
            (Some(0), Some(65534))
        );
        drop(daemon.kill());
        drop(daemon.wait());
    });
}

#[test]
fn kernel_socket_has_no_ss_hint() {
    const TEST: &str = "kernel_socket_has_no_ss_hint";
    in_namespace(|| {
        let mut vxlan = Command::new("ip");
        vxlan.args([
            "link", "add", "vx", "type", "vxlan", "id", "7", "dstport", "4789", "dev", "lo",
        ]);
        if !vxlan
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
        {
            rerun::skip(TEST, "this kernel has no VXLAN", "BINDADDR_REQUIRE_VXLAN");
            return;
        }
        ip("link set vx up");
        let err = bind_udp("127.0.0.1:4789").unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].pid(), None);
        // Root has looked at every process, and `ss` shows it nothing more. In a container, the
        // first process may have a capability that root lacks, which denies reading its
        // descriptors.
        let sees_all = std::fs::read_dir("/proc/1/fd").is_ok_and(|descriptors| {
            let mut links = descriptors.map(|one| std::fs::read_link(one?.path()));
            links.all(|link| link.is_ok())
        });
        assert_eq!(
            texts_of_hints(&err).is_empty(),
            sees_all,
            "{:?}",
            err.hints()
        );
    });
}

#[test]
fn bound_socket_without_listen_is_in_use() {
    in_namespace(|| {
        let held = without_reuse("127.0.0.1:80");
        if features::lists_bound_sockets() {
            let err = row(
                "a port that is bound by a socket that never listened",
                "127.0.0.1:80",
            );
            let Cause::InUse { holders, .. } = err.cause() else {
                panic!("{err:?}")
            };
            assert_eq!(holders[0].state(), SocketState::Bound);
        } else {
            let err = row(
                "a port whose socket was closed meanwhile, or is hidden by an older kernel",
                "127.0.0.1:80",
            );
            assert!(matches!(
                err.cause(),
                Cause::InUseByUnknown { port: 80, .. }
            ));
        }
        // One that lets others have the port does not conflict.
        drop(held);
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        held.set_reuse_address(true).unwrap();
        let addr: SocketAddr = "127.0.0.1:80".parse().unwrap();
        held.bind(&addr.into()).unwrap();
        bind("127.0.0.1:80").unwrap();
    });
}

#[test]
fn holder_missing_from_proc_is_unknown() {
    in_namespace(|| {
        let held = without_reuse("127.0.0.1:80");
        // A socket that is bound but not listening is missing from /proc, so nothing is reported.
        sandbox::refuse_family(16, 97);
        let err = row(
            "a port that is bound by a socket that never listened, in a sandbox without netlink",
            "127.0.0.1:80",
        );
        assert!(matches!(err.cause(), Cause::InUse { port: 80, .. }));
        drop(held);
    });
}

#[test]
fn connections_and_time_wait_are_distinguished() {
    in_namespace(|| {
        let server = without_reuse("127.0.0.1:80");
        server.listen(1).unwrap();
        let client = TcpStream::connect("127.0.0.1:80").unwrap();
        let (accepted, _) = server.accept().unwrap();
        drop(server);
        let err = row(
            "a port of a live connection whose server did not set SO_REUSEADDR",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].state(), SocketState::Connected);
        assert!(err.is_transient());
        // The side that closes first has the port in TIME_WAIT once the other side closes too;
        // until then the connection is orphaned.
        drop(accepted);
        // While the other side confirms it, the kernel replaces the socket by one without a
        // process, and may list neither.
        eventually("the close is confirmed", || {
            let err = bind("127.0.0.1:80").unwrap_err();
            matches!(err.cause(), Cause::InUse { .. })
        });
        let err = row(
            "a port of a connection that was closed on this side only",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!((holders[0].uid(), holders[0].pid()), (None, None));
        // No command shows the process of a connection that has none.
        assert_eq!(texts_of_hints(&err), [""; 0]);
        assert!(err.is_transient());
        drop(client);
        eventually("the connection is over", || {
            matches!(
                bind("127.0.0.1:80").unwrap_err().cause(),
                Cause::TimeWait { .. }
            )
        });
        let err = row(
            "a port in TIME_WAIT of a server that did not set SO_REUSEADDR",
            "127.0.0.1:80",
        );
        assert!(err.is_transient());
        bind("127.0.0.2:80").expect("on another address it is free");

        // The port of a connection that goes out.
        let server = bind("127.0.0.3:0").unwrap();
        let client = TcpStream::connect(server.as_slice()[0].local_addr()).unwrap();
        let taken = client.local_addr().unwrap();
        let err = bind(taken).unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].addr(), taken);
        assert_eq!(holders[0].state(), SocketState::Connected);
    });
}

#[test]
fn exhausted_ephemeral_range_is_reported() {
    in_namespace(|| {
        set("net/ipv4/ip_local_port_range", "40000 40003");
        let held: Vec<_> = (0..4).map(|_| bind("127.0.0.1:0").unwrap()).collect();
        let err = row("port 0 where every ephemeral port is taken", "127.0.0.1:0");
        let Cause::EphemeralPortsExhausted { range, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(range.clone(), Some(40000..=40003));
        bind("127.0.0.1:40004").expect("as the sentence says");
        drop(held);
    });
}

#[test]
fn privileged_port_names_capability() {
    const TEST: &str = "privileged_port_names_capability";
    if rerun::role().as_deref() == Some("unprivileged") {
        let err = row("a port below 1024 without the capability", "127.0.0.1:80");
        assert!(matches!(
            err.cause(),
            Cause::PrivilegedPort {
                port: 80,
                limit: Some(1024),
                privilege: Privilege::Missing,
                ..
            }
        ));
        // All that is wrong, the system's own error first: IPv4 looks at the
        // address first, IPv6 at the privilege.
        let err = row(
            "a foreign IPv4 address and a port below 1024, both at once",
            "198.51.100.1:80",
        );
        let causes: Vec<&Cause> = err.errors().flat_map(SettingError::causes).collect();
        assert!(matches!(
            causes[..],
            [Cause::NotOnThisHost(_), Cause::PrivilegedPort { .. }]
        ));
        let err = row(
            "a foreign IPv6 address and a port below 1024, both at once",
            "[2001:db8::1]:80",
        );
        assert_eq!(err.errors().flat_map(SettingError::causes).count(), 2);
        return rerun::done();
    }
    if rerun::role().as_deref() == Some("beside-a-server") {
        let err = row(
            "a foreign address, a port below 1024 and a port in use, all at once",
            "198.51.100.1:80",
        );
        assert_eq!(err.errors().flat_map(SettingError::causes).count(), 3);
        return rerun::done();
    }
    in_namespace(|| {
        rerun::run(TEST, "unprivileged", &WITHOUT_CAPABILITIES);
        let held = bind("0.0.0.0:80").expect("root may");
        rerun::run(TEST, "beside-a-server", &WITHOUT_CAPABILITIES);
        drop(held);
    });
}

#[test]
fn privilege_in_user_namespace_is_explained() {
    const TEST: &str = "privilege_in_user_namespace_is_explained";
    if rerun::role().as_deref() == Some("rootless") {
        let err = row(
            "a port below 1024 with the capability only in its own user namespace, as in a rootless container",
            "127.0.0.1:80",
        );
        assert!(matches!(
            err.cause(),
            Cause::PrivilegedPort {
                privilege: Privilege::InAnotherUserNamespace,
                ..
            }
        ));
        assert_eq!(
            texts_of_hints(&err),
            [
                "`sysctl net.ipv4.ip_unprivileged_port_start=80` in this process's network namespace lets every process bind the ports from 80 up"
            ]
        );
        assert!(!bindaddr::check(["127.0.0.1:80"]).is_ok());
        return rerun::done();
    }
    if rerun::role().as_deref() == Some("rootless-of-root") {
        // Here both namespaces have the same root, so that they cannot be distinguished
        // from a policy.
        let err = bind("127.0.0.1:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::Denied { .. }), "{err:?}");
        return rerun::done();
    }
    in_namespace(|| {
        let rootless = ["unshare", "--user", "--map-root-user", "--"];
        rerun::run(TEST, "rootless-of-root", &rootless);
        // The test is to be run by another user, who may not look into this folder.
        let dir = std::env::temp_dir().join(format!("bindaddr-rootless-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        let exe = dir.join("diagnosis");
        std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
        let as_other = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
        ];
        let can = Command::new(as_other[0])
            .args(&as_other[1..])
            .arg("true")
            .status();
        if can.is_ok_and(|status| status.success()) {
            let rootless = [&as_other[..], &rootless].concat();
            rerun::run_exe(&exe, TEST, "rootless", &rootless);
            // The capability would have no effect there.
            let without = [&rootless[..], &WITHOUT_CAPABILITIES].concat();
            rerun::run_exe(&exe, TEST, "rootless", &without);
        } else {
            rerun::skip(
                TEST,
                "this machine has no second user",
                "BINDADDR_REQUIRE_USERS",
            );
        }
        std::fs::remove_dir_all(dir).unwrap();
    });
}

#[test]
fn policy_denial_is_reported() {
    const TEST: &str = "policy_denial_is_reported";
    if rerun::role().as_deref() == Some("landlock") {
        if !sandbox::refuse_tcp_ports() {
            rerun::skip(
                TEST,
                "this kernel has no Landlock for ports",
                "BINDADDR_REQUIRE_LANDLOCK",
            );
            return rerun::done();
        }
        let err = row("a TCP port that Landlock does not allow", "127.0.0.1:8080");
        assert!(matches!(
            err.cause(),
            Cause::RefusedByPolicy(Policy::SecurityModule)
        ));
        let namespace = std::fs::read_link("/proc/self/ns/user").unwrap();
        if namespace.as_os_str() == "user:[4026531837]" {
            row(
                "a port below 1024 that Landlock does not allow, of a process with the capability",
                "127.0.0.1:80",
            );
        } else {
            // The capability may count here or not.
            let err = bind("127.0.0.1:80").unwrap_err();
            assert!(matches!(err.cause(), Cause::Denied { .. }), "{err:?}");
        }
        // It is refused before the address is checked, and the address is reported too.
        row(
            "a foreign address and Landlock, both at once",
            "198.51.100.1:8080",
        );
        return rerun::done();
    }
    in_namespace(|| {
        rerun::run(TEST, "landlock", &[]);
        sandbox::refuse_bind(1);
        let err = row("a seccomp filter on bind(2)", "127.0.0.1:8080");
        assert!(matches!(
            err.cause(),
            Cause::RefusedByPolicy(Policy::Filter)
        ));
    });
}

#[test]
fn missing_descriptors_are_reported() {
    const TEST: &str = "missing_descriptors_are_reported";
    if rerun::role().as_deref() == Some("limited") {
        let mut files = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            files.push(file);
        }
        let situation = "a process with 64 descriptors, all of them open";
        let err = if features::counts_descriptors() {
            row(situation, "127.0.0.1:80")
        } else {
            fails(&BindOptions::new(), situation, "127.0.0.1:80")
        };
        let Cause::TooManyOpenFiles { open, .. } = err.cause() else {
            panic!("{err:?}")
        };
        // 64, and those above the limit that were inherited.
        assert_eq!(open.is_some(), features::counts_descriptors());
        assert!(open.is_none_or(|open| (64..=70).contains(&open)));
        assert!(err.is_transient());
        return rerun::done();
    }
    in_namespace(|| {
        rerun::run(TEST, "limited", &["prlimit", "--nofile=64:64", "--"]);
    });
}

#[test]
fn unreachable_addresses_are_rejected() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 dev eth0");
        for (situation, text) in [
            ("a multicast group", "224.0.0.1:80"),
            ("the broadcast address of a subnet", "192.168.255.255:80"),
        ] {
            assert_eq!(row(situation, text).step(), Step::Validate);
        }
        let v6_only = BindOptions::new().only_v6(true);
        row_with(
            &v6_only,
            "an IPv4-mapped address for an IPv6-only socket",
            "[::ffff:127.0.0.1]:80",
        );
        let err = row_with(
            &v6_only,
            "the IPv4-mapped wildcard for an IPv6-only socket",
            "[::ffff:0.0.0.0]:80",
        );
        assert_eq!((err.step(), err.raw_os_error()), (Step::Validate, None));
        assert_eq!(replacements(&err), ["0.0.0.0:80"]);
    });
}

/// A replacement that would not bind, or to which no client could connect, is not offered.
#[test]
fn replacement_needs_a_free_port_and_a_usable_interface() {
    let test = "replacement_needs_a_free_port_and_a_usable_interface";
    in_namespace_of(test, || {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 2001:db8::1/64 nodad dev eth0");
        let plain = BindOptions::new();
        let offered = |options: &BindOptions, text: &str| {
            let check = options.check([text]);
            let hints = check.settings()[0].hints();
            let of_check: Vec<_> = hints
                .iter()
                .filter_map(|hint| hint.replacement().map(str::to_owned))
                .collect();
            let err = options.bind(text).unwrap_err();
            assert_eq!(replacements(&err), of_check, "{text}");
            follow_advice(options, &err);
            of_check
        };
        let nothing = [""; 0];
        assert_eq!(
            offered(&plain, "10.0.0.2:80"),
            ["10.0.0.1:80", "0.0.0.0:80"]
        );
        // Other entries of the list have the port.
        for list in [
            ["10.0.0.1:80", "10.0.0.2:80"],
            ["10.0.0.2:80", "0.0.0.0:80"],
        ] {
            let err = bindaddr::bind(list).unwrap_err();
            assert_eq!(replacements(&err), nothing, "{list:?}");
            let check = bindaddr::check(list);
            let hints = check
                .settings()
                .iter()
                .flat_map(bindaddr::check::CheckedSetting::hints);
            let offered: Vec<_> = hints.filter(|hint| hint.replacement().is_some()).collect();
            assert!(offered.is_empty(), "{list:?}: {offered:?}");
        }
        let beside = bindaddr::bind(["10.0.0.2:80", "127.0.0.1:80"]).unwrap_err();
        assert_eq!(replacements(&beside), ["10.0.0.1:80"]);
        // Whether the holder of a port shares it is unknown.
        let sharing = BindOptions::new().reuse_port(true);
        assert_eq!(offered(&sharing, "10.0.0.2:80"), nothing);
        assert_eq!(offered(&sharing, "10.0.0.2:0"), ["10.0.0.1:0", "0.0.0.0:0"]);
        // The wildcard is dual-stack, so an IPv4 listener has its port.
        let held = bind("10.0.0.1:80").unwrap();
        assert_eq!(offered(&plain, "[2001:db8::2]:80"), ["[2001:db8::1]:80"]);
        drop(held);
        // An IPv4-mapped address that is of another host.
        let v6_only = BindOptions::new().only_v6(true);
        for text in [
            "[::ffff:10.0.0.2]:80",
            "[::ffff:224.0.0.1]:80",
            "[::ffff:10.0.0.255]:80",
        ] {
            assert_eq!(offered(&v6_only, text), nothing, "{text}");
        }
        assert_eq!(offered(&v6_only, "[::ffff:10.0.0.1]:80"), ["10.0.0.1:80"]);
        // An alternative name of an interface that lacks the address.
        ip("link property add dev far0 altname uplink0");
        let err = bind("[fe80::9%uplink0]:80").unwrap_err();
        assert_eq!(err.cause().name(), "unresolved", "{err}");
        assert_eq!(replacements(&err), nothing);
        // Through the device no client reaches another interface's address.
        let on_lo = BindOptions::new().device("lo");
        assert_eq!(offered(&on_lo, "10.0.0.2:80"), ["0.0.0.0:80"]);
        let texts = texts_of_hints(&on_lo.bind("10.0.0.2:80").unwrap_err());
        assert_eq!(
            texts[0],
            "`0.0.0.0:80` listens on every IPv4 address of this host"
        );
        // Both interfaces have the address, and the zone is what does not fit.
        ip("addr add fe80::7/64 nodad dev lo");
        ip("addr add fe80::7/64 nodad dev eth0");
        assert_eq!(
            on_lo
                .bind("[fe80::7%eth0]:80")
                .unwrap_err()
                .cause()
                .to_string(),
            "the server binds this socket to the interface lo, but the zone of fe80::7 is eth0"
        );
        // No interface has ::1 then.
        set("net/ipv6/conf/all/disable_ipv6", "1");
        let on_eth0 = BindOptions::new().device("eth0");
        let err = on_eth0.bind("[::1]:5000").unwrap_err();
        assert!(err.to_string().contains("IPv6 is disabled"), "{err}");
        assert_eq!(replacements(&err), nothing);
        set("net/ipv6/conf/all/disable_ipv6", "0");
        // Nothing comes in through a loopback interface that is down.
        ip("link set lo down");
        assert_eq!(offered(&plain, "[fe80::1%lo]:5000"), nothing);
    });
}

#[test]
fn mismatched_device_is_reported() {
    in_namespace(|| {
        cable();
        // They get addresses by themselves a moment later.
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.1.1/24 dev far0");
        let err = row_with(
            &BindOptions::new().device("eth0"),
            "::1 and a `device` that does not have it",
            "[::1]:80",
        );
        assert!(matches!(err.cause(), Cause::OnAnotherDevice { .. }));
        BindOptions::new().device("lo").bind("[::1]:80").unwrap();
        // With a zone the kernel would forget the device, and let in who is kept out.
        ip("addr add fe80::78/64 dev far0");
        let on_lo = BindOptions::new().device("lo");
        let err = row_with(
            &on_lo,
            "a zone that is another interface than the `device`",
            "[fe80::78%2]:80",
        );
        assert_eq!((err.step(), err.raw_os_error()), (Step::Validate, None));
        assert!(!on_lo.check(["[fe80::78%far0]:80"]).is_ok());
        for text in ["[fe80::78%far0]:80", "[ff02::fb%far0]:80", "ipv6@far0:80"] {
            let err = on_lo.bind_udp(text).unwrap_err();
            assert!(
                matches!(err.cause(), Cause::OnAnotherDevice { .. }),
                "{err}"
            );
        }
        let on_far0 = BindOptions::new().device("far0");
        for text in ["[fe80::78%far0]:80", "[fe80::78]:81", "ipv6@far0:82"] {
            let listeners = on_far0.bind(text).unwrap();
            assert_eq!(listeners.as_slice()[0].device().as_deref(), Some("far0"));
        }
        // By another name it is the same one.
        ip("link property add dev far0 altname uplink0");
        let by_altname = BindOptions::new().device("uplink0");
        let listeners = by_altname.bind("[fe80::78%far0]:80").unwrap();
        assert_eq!(listeners.as_slice()[0].device().as_deref(), Some("far0"));
        row_with(
            &BindOptions::new().device("eth1"),
            "a `device` that is not there",
            "0.0.0.0:80",
        );
    });
}

#[test]
#[allow(clippy::too_many_lines)] // one sandbox after another
fn unreadable_evidence_is_left_out() {
    const TEST: &str = "unreadable_evidence_is_left_out";
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
            assert!(holder_of(&err).expect("it is message").is_this_process());
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

#[allow(clippy::needless_pass_by_value)] // they are closed behind it
fn notes<S: bindaddr::update::StdSocket>(bound: bindaddr::Listeners<S>) -> Vec<String> {
    let host = Interfaces::system().expect("netlink is there");
    let warnings = bound.iter().flat_map(|one| one.warnings(&host));
    warnings.map(|warning| warning.kind().to_string()).collect()
}

#[test]
fn host_without_ipv4_has_a_warning() {
    const TEST: &str = "host_without_ipv4_has_a_warning";
    if rerun::role().as_deref() == Some("never-up") {
        let none = "no interface of this network namespace has an IPv4 address, so no client can connect over IPv4";
        let family = Some(Family::Ipv4);
        for text in ["0.0.0.0:80", "8.8.8.8:80", "127.0.0.1:80"] {
            assert_eq!(notes(bind(text).unwrap()), [none], "{text}");
            let check = bindaddr::check([text]);
            let [warning] = check.settings()[0].sockets()[0].warnings() else {
                panic!("{check}")
            };
            assert!(
                matches!(warning.kind(), WarningKind::NoAddress { family: of, .. } if *of == family),
                "{warning:?}"
            );
        }
        // Without an address of either family no client can connect to a dual-stack wildcard.
        let neither =
            "no interface of this network namespace has an address, so no client can connect";
        for text in ["*:80", "[::]:80"] {
            assert_eq!(notes(bind(text).unwrap()), [neither], "{text}");
        }
        let no_ipv6 = "no interface of this network namespace has an IPv6 address, so no client can connect over IPv6";
        assert_eq!(notes(bind("ipv6@*:80").unwrap()), [no_ipv6]);
        assert_eq!(
            bind("[::1]:80").unwrap_err().to_string(),
            "cannot listen on [::1]:80: the loopback interface is down"
        );
        // IPv6 can do without.
        set("net/ipv6/conf/default/accept_dad", "0");
        let mut peer = Host::start(TEST);
        peer.cable("eth0", "far0");
        ip("addr add 2001:db8::1/64 dev eth0");
        peer.ip("addr add 2001:db8::2/64 dev far0");
        for text in ["[::]:80", "[2001:db8::1]:80"] {
            let bound = bind(text).unwrap();
            let came = peer.connects("[2001:db8::1]:80".parse().unwrap());
            assert!(came, "{text}");
            assert_eq!(notes(bound), [""; 0], "{text}");
        }
        assert_eq!(notes(bind("8.8.8.8:80").unwrap()), [none]);
        // An address is enough, although its interface is down.
        ip("link set eth0 down");
        ip("addr add 10.0.0.1/24 dev eth0");
        assert!(bind("8.8.8.8:80").is_err());
        ip("addr del 10.0.0.1/24 dev eth0");
        assert_eq!(notes(bind("0.0.0.0:80").unwrap()), [none]);
        // Broadcasts are received, as by a DHCP client.
        for text in ["0.0.0.0:68", "255.255.255.255:68", "224.0.0.251:5353"] {
            let bound = bind_udp(text);
            let warnings = bound.map(notes);
            assert_eq!(warnings.unwrap_or_default(), [""; 0], "{text}");
        }
        return rerun::done();
    }
    in_namespace(|| {
        rerun::run(TEST, "never-up", &["unshare", "--net", "--"]);
    });
}

/// The note on an address that `what` makes bindable.
fn later(addr: &str, what: &str) -> String {
    format!(
        "no interface of this host has {addr}; {what}, and no client can connect until an interface has it or a local route covers it"
    )
}

#[test]
fn valid_but_unlikely_settings_have_warnings() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        for text in [
            "127.0.0.1:80",
            "127.0.0.2:80",
            "10.0.0.1:80",
            "0.0.0.0:80",
            "[::]:80",
        ] {
            assert_eq!(notes(bind(text).unwrap()), [""; 0], "{text}");
        }
        ip("route add local 198.51.100.0/24 dev lo");
        assert_eq!(
            notes(bind("198.51.100.7:80").unwrap()),
            [
                "no interface of this host has 198.51.100.7; a local route makes it bindable and reachable"
            ]
        );
        let bound = bind("198.51.100.7:80").unwrap();
        TcpStream::connect("198.51.100.7:80").expect("as the note says");
        drop(bound);
        let freebind = BindOptions::new().freebind(true);
        for (text, addr) in [
            ("203.0.113.1:80", "203.0.113.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ] {
            assert_eq!(
                notes(freebind.bind(text).unwrap()),
                [later(addr, "it was bound with IP_FREEBIND")]
            );
            // A target as well as a text.
            let target = bindaddr::BindTarget::parse(addr).unwrap();
            assert_eq!(
                notes(freebind.bind((target, 81)).unwrap()),
                [later(addr, "it was bound with IP_FREEBIND")]
            );
        }
        set("net/ipv4/ip_nonlocal_bind", "1");
        set("net/ipv6/ip_nonlocal_bind", "1");
        let bound = bind("203.0.113.1:80").unwrap();
        let warnings = bound[0].warnings(&Interfaces::system().unwrap());
        assert!(matches!(
            warnings[0].kind(),
            WarningKind::NotListed {
                why: BindableReason::NonLocalBind,
                ..
            }
        ));
        assert_eq!(
            notes(bound),
            [later(
                "203.0.113.1",
                "`net.ipv4.ip_nonlocal_bind` makes it bindable"
            )]
        );
        assert_eq!(
            notes(bind("[2001:db8::1]:80").unwrap()),
            [later(
                "2001:db8::1",
                "`net.ipv6.ip_nonlocal_bind` makes it bindable"
            )]
        );
        // A group address is normal for a UDP socket.
        let group = bind_udp("224.0.0.1:0").unwrap();
        assert_eq!(group[0].warnings(&Interfaces::system().unwrap()), []);

        set("net/ipv6/conf/all/disable_ipv6", "1");
        assert_eq!(
            notes(bind("ipv6@*:81").unwrap()),
            [
                "no interface of this network namespace has an IPv6 address, so no client can connect over IPv6"
            ]
        );
        assert_eq!(notes(bind("*:81").unwrap()), [""; 0]);
        // A local route brings clients without any address.
        set("net/ipv6/conf/lo/disable_ipv6", "0");
        ip("-6 addr flush dev lo");
        ip("-6 route add local 2001:db8::/64 dev lo");
        assert_eq!(notes(bind("ipv6@*:81").unwrap()), [""; 0]);
        ip("link set lo down");
        assert_eq!(
            notes(bind("127.0.0.1:80").unwrap()),
            ["the loopback interface is down, so no client can connect to 127.0.0.1"]
        );
    });
}

#[test]
fn unbindable_routes_have_warnings() {
    in_namespace(|| {
        cable();
        set("net/ipv4/ip_nonlocal_bind", "2"); // as good as 1
        set("net/ipv6/ip_nonlocal_bind", "1");
        // IPv6 binds what interfaces have, and takes in what a route brings.
        let routed = "[2001:db8:5::7]:80";
        assert_eq!(
            notes(bind(routed).unwrap()),
            [later(
                "2001:db8:5::7",
                "`net.ipv6.ip_nonlocal_bind` makes it bindable"
            )]
        );
        ip("-6 route add local 2001:db8:5::/64 dev lo");
        let bound = bind(routed).unwrap();
        TcpStream::connect(routed).expect("as the note says");
        assert_eq!(
            notes(bound),
            [
                "no interface of this host has 2001:db8:5::7; `net.ipv6.ip_nonlocal_bind` makes it bindable, and a local route makes it reachable"
            ]
        );
        // IPv4 binds by no other table.
        ip("rule add to 203.0.113.0/24 lookup 100");
        ip("route add local 203.0.113.0/24 dev lo table 100");
        let bound = bind("203.0.113.1:80").unwrap();
        assert!(TcpStream::connect("203.0.113.1:80").is_err());
        assert_eq!(
            notes(bound),
            [later(
                "203.0.113.1",
                "`net.ipv4.ip_nonlocal_bind` makes it bindable"
            )]
        );
        ip("route add local 198.18.0.0/24 dev lo table main");
        assert_eq!(
            notes(bind("198.18.0.1:80").unwrap()),
            [later(
                "198.18.0.1",
                "`net.ipv4.ip_nonlocal_bind` makes it bindable"
            )]
        );
        // An address of another interface.
        ip("addr add fe80::77/64 dev eth0");
        assert_eq!(
            notes(bind("[fe80::77%far0]:80").unwrap()),
            [
                "the interface of its zone does not have fe80::77; `net.ipv6.ip_nonlocal_bind` makes it bindable, and no client can connect until an interface has it or a local route covers it"
            ]
        );
    });
}

#[test]
fn each_row_of_the_page_is_tested() {
    let tests = [
        include_str!("diagnosis.rs"),
        include_str!("own_kernel.rs"),
        include_str!("../src/diagnose/tests.rs"),
    ]
    .concat();
    let rows: Vec<&str> = DOCS
        .lines()
        .filter(|line| line.contains("| `` cannot listen"))
        .collect();
    assert!(rows.len() > 30, "{}", rows.len());
    for row in rows {
        let situation = row.split(" | ").nth(1).expect("a row has columns");
        assert!(tests.contains(&format!("\"{situation}\"")), "{situation}");
    }
}

#[test]
fn interface_name_can_be_any_bytes() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        let name = OsStr::from_bytes(b"e\xff\x1b[2J");
        let make = |args: &[&OsStr]| {
            let status = Command::new("ip")
                .args(args)
                .status()
                .expect("iproute2 is installed");
            assert!(status.success(), "{args:?}");
        };
        let word = OsStr::new;
        let [link, addr] = ["link", "addr"].map(word);
        make(&[
            link,
            word("add"),
            word("name"),
            name,
            word("type"),
            word("veth"),
            word("peer"),
            word("name"),
            word("far0"),
        ]);
        make(&[addr, word("add"), word("10.0.0.1/24"), word("dev"), name]);
        make(&[
            addr,
            word("add"),
            word("2001:db8:1::10/64"),
            word("dev"),
            name,
        ]);
        make(&[link, word("set"), name, word("up")]);
        // Until the kernel has processed the missing carrier, the interface counts as running.
        ip("link show");
        for text in ["10.0.0.2:80", "[2001:db8:1::10]:80", "[fe80::1]:80"] {
            let sentence = bind(text).unwrap_err().to_string();
            assert!(!sentence.contains(char::is_control), "{sentence:?}");
        }
        let err = bind("[2001:db8:1::10]:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::NoCarrier(_)), "{err:?}");
        let err = BindOptions::new()
            .device("no-such")
            .bind("10.0.0.1:80")
            .unwrap_err();
        assert!(!err.to_string().contains(char::is_control), "{err}");
    });
}
