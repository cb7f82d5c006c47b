//! What is told of each cause besides its sentence.

use std::collections::HashSet;

use super::*;
use crate::resolve::ResolveErrorKind;
use crate::target::Overlap;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn foreign(text: &str) -> crate::target::ForeignAddr {
    match BindTarget::classify(ip(text), &host()) {
        BindTarget::Foreign(foreign) => foreign,
        other => panic!("{other:?}"),
    }
}

fn local(text: &str) -> LocalAddr {
    match BindTarget::classify(ip(text), &host()) {
        BindTarget::Local(local) => local,
        other => panic!("{other:?}"),
    }
}

/// Whether trying again may help, waiting may, and an optional setting does without it.
#[derive(Debug, PartialEq)]
struct Told {
    is_transient: bool,
    comes_with_time: bool,
    is_absence: bool,
}

const STAYS: Told = Told {
    is_transient: false,
    comes_with_time: false,
    is_absence: false,
};
const PASSES: Told = Told {
    is_transient: true,
    comes_with_time: true,
    is_absence: false,
};
/// Nobody knows when it passes, and nobody should be waited for.
const MAY_PASS: Told = Told {
    is_transient: true,
    ..STAYS
};
const IS_MISSING: Told = Told {
    comes_with_time: true,
    is_absence: true,
    ..STAYS
};
const MAY_COME: Told = Told {
    comes_with_time: true,
    ..STAYS
};

/// One of each, with its name.
#[allow(clippy::too_many_lines)] // one of each
fn each() -> Vec<(&'static str, Cause, Told)> {
    let own = || local("192.168.71.67");
    let text = || {
        "nowhere"
            .parse::<crate::ListenAddr>()
            .expect_err("it has no port")
    };
    let no_interface = ResolveErrorKind::NoSuchInterface {
        name: "eth9".into(),
        known: Vec::new(),
    };
    vec![
        ("text", Cause::Text(text()), STAYS),
        ("unresolved", Cause::Unresolved(no_interface), IS_MISSING),
        (
            "unresolved",
            Cause::Unresolved(ResolveErrorKind::SeveralAddresses { count: 2 }),
            STAYS,
        ),
        (
            "not-on-this-host",
            Cause::NotOnThisHost(foreign("8.8.8.8")),
            IS_MISSING,
        ),
        ("appeared", Cause::Appeared { ip: ip("8.8.8.8") }, PASSES),
        (
            "gone",
            Cause::Gone(own()),
            Told {
                is_absence: true,
                ..PASSES
            },
        ),
        (
            "routed-not-assigned",
            Cause::RoutedNotAssigned(foreign("8.8.8.8")),
            IS_MISSING,
        ),
        (
            "other-zone",
            Cause::OtherZone {
                ip: ip("fe80::77"),
                zones: Vec::new(),
            },
            IS_MISSING,
        ),
        (
            "on-another-device",
            Cause::OnAnotherDevice {
                ip: ip("::1"),
                device: "eth0".into(),
                interfaces: vec!["lo".into()],
            },
            STAYS,
        ),
        ("tentative", Cause::Tentative(own()), PASSES),
        ("duplicate", Cause::Duplicate(own()), STAYS),
        ("interface-down", Cause::InterfaceDown(own()), PASSES),
        ("no-carrier", Cause::NoCarrier(own()), PASSES),
        ("not-ready", Cause::NotReady(own()), PASSES),
        (
            "in-vrf",
            Cause::InVrf {
                addr: own(),
                vrf: "vrf0".into(),
            },
            STAYS,
        ),
        (
            "local-route-missing",
            Cause::LocalRouteMissing(own()),
            STAYS,
        ),
        ("listed-only", Cause::ListedOnly(own()), STAYS),
        (
            "no-loopback",
            Cause::NoLoopback {
                ip: ip("::1"),
                has: Vec::new(),
            },
            IS_MISSING,
        ),
        ("address-unavailable", Cause::AddressUnavailable, IS_MISSING),
        (
            "zone-required",
            Cause::ZoneRequired {
                ip: ip("fe80::1"),
                candidates: None,
            },
            STAYS,
        ),
        (
            "no-such-zone",
            Cause::NoSuchZone {
                ip: ip("fe80::1"),
                index: 9,
                zones: Vec::new(),
            },
            IS_MISSING,
        ),
        (
            "mapped-on-v6-only",
            Cause::MappedOnV6Only {
                ip: std::net::Ipv4Addr::LOCALHOST,
            },
            STAYS,
        ),
        ("multicast", Cause::Multicast, STAYS),
        ("broadcast", Cause::Broadcast, STAYS),
        (
            "in-use",
            Cause::InUse {
                ip: ip("::1"),
                port: 80,
                holders: Vec::new(),
            },
            STAYS,
        ),
        ("held-invisibly", Cause::HeldInvisibly { port: 80 }, PASSES),
        ("time-wait", Cause::TimeWait { port: 80 }, PASSES),
        (
            "range-in-use",
            Cause::RangeInUse {
                first: 80,
                last: 81,
                holders: Vec::new(),
            },
            STAYS,
        ),
        ("empty-list", Cause::EmptyList, STAYS),
        (
            "conflict",
            Cause::Conflict {
                ip: ip("127.0.0.1"),
                other: ([0, 0, 0, 0], 80).into(),
                text: "0.0.0.0:80".into(),
                overlap: Overlap::Covers,
            },
            STAYS,
        ),
        (
            "ephemeral-ports-exhausted",
            Cause::EphemeralPortsExhausted { range: None },
            MAY_PASS,
        ),
        (
            "privileged-port",
            Cause::PrivilegedPort {
                port: 80,
                limit: 1024,
                privilege: Privilege::Missing,
            },
            STAYS,
        ),
        (
            "refused-by-policy",
            Cause::RefusedByPolicy(Policy::Bpf),
            STAYS,
        ),
        ("denied", Cause::Denied { step: Step::Bind }, STAYS),
        (
            "family-unavailable",
            Cause::FamilyUnavailable {
                family: Family::Ipv6,
                why: Unavailable::Unknown,
            },
            Told {
                is_absence: true,
                ..STAYS
            },
        ),
        (
            "family-unavailable",
            Cause::FamilyUnavailable {
                family: Family::Ipv6,
                why: Unavailable::LoopbackDown,
            },
            IS_MISSING,
        ),
        (
            "too-many-open-files",
            Cause::TooManyOpenFiles { open: None },
            MAY_PASS,
        ),
        (
            "too-many-open-files-in-system",
            Cause::TooManyOpenFilesInSystem,
            MAY_PASS,
        ),
        ("out-of-memory", Cause::OutOfMemory, MAY_PASS),
        (
            "no-such-device",
            Cause::NoSuchDevice {
                name: "eth9".into(),
                known: None,
            },
            MAY_COME,
        ),
        (
            "invalid-device",
            Cause::InvalidDevice { name: "a b".into() },
            STAYS,
        ),
        (
            "unsupported-option",
            Cause::UnsupportedOption { option: "freebind" },
            STAYS,
        ),
        ("other", Cause::Other { step: Step::Listen }, STAYS),
    ]
}

#[test]
fn every_cause_has_its_name_and_what_time_does_to_it() {
    let mut kinds = HashSet::new();
    for (name, cause, told) in each() {
        assert_eq!(cause.name(), name);
        let is_told = Told {
            is_transient: cause.is_transient(),
            comes_with_time: cause.comes_with_time(),
            is_absence: cause.is_absence(),
        };
        assert_eq!(is_told, told, "{name}");
        kinds.insert(std::mem::discriminant(&cause));
    }
    assert_eq!(kinds.len(), 41, "one of each");
    // What no host has does not come.
    for dead in ["224.0.0.1", "255.255.255.255", "192.168.255.255", "0.1.2.3"] {
        let cause = Cause::NotOnThisHost(foreign(dead));
        assert!(!cause.comes_with_time(), "{dead}");
    }
}

#[test]
fn every_step_has_its_words() {
    let steps = [
        (Step::Parse, "reading the text"),
        (Step::Resolve, "resolving the text"),
        (Step::Check, "looking the address over"),
        (Step::Socket, "making the socket"),
        (Step::Option("freebind"), "setting the option `freebind`"),
        (Step::Bind, "binding the socket"),
        (Step::Listen, "listening"),
        (Step::Name, "asking for the port"),
    ];
    for (step, words) in steps {
        assert_eq!(step.to_string(), words);
        assert_eq!(Cause::Other { step }.to_string(), format!("{words} failed"));
    }
}

#[test]
fn what_seldom_happens_has_its_sentence_too() {
    let conflict = |overlap| Cause::Conflict {
        ip: ip("127.0.0.1"),
        other: ([0, 0, 0, 0], 80).into(),
        text: "0.0.0.0:80".into(),
        overlap,
    };
    let holders = |count| Cause::RangeInUse {
        first: 80,
        last: 84,
        holders: (0..count).map(|n| holder(1000 + n, 80)).collect(),
    };
    for (cause, sentence) in [
        (
            Cause::ZoneRequired {
                ip: ip("fe80::9"),
                candidates: Some(Vec::new()),
            },
            "a link-local address needs its zone, and no interface of this host has fe80::9",
        ),
        (
            Cause::ZoneRequired {
                ip: ip("fe80::9"),
                candidates: None,
            },
            "a link-local address needs its zone; name its interface, as in `[fe80::1%eth0]`",
        ),
        (
            conflict(Overlap::SameAddress),
            "it cannot stand beside `0.0.0.0:80` of the same list, which has 0.0.0.0:80",
        ),
        (
            conflict(Overlap::Covers),
            "it cannot stand beside `0.0.0.0:80` of the same list, which covers every IPv4 address",
        ),
        (
            Cause::UnsupportedOption { option: "freebind" },
            "this platform does not have the option `freebind`",
        ),
        (
            Cause::TooManyOpenFiles { open: None },
            "no file descriptor is left for the socket",
        ),
        (
            Cause::RefusedByPolicy(Policy::SecurityModuleOrFilter),
            "a security policy refuses it (Landlock, SELinux, AppArmor or a seccomp filter); root would not help",
        ),
        (
            Cause::FamilyUnavailable {
                family: Family::Ipv4,
                why: Unavailable::Unknown,
            },
            "this system has no IPv4",
        ),
        (
            Cause::NoSuchZone {
                ip: ip("fe80::9"),
                index: 9,
                zones: vec!["eth0".into()],
            },
            "no interface has the index 9; write `[fe80::9%eth0]`",
        ),
        (
            Cause::NoSuchZone {
                ip: ip("fe80::9"),
                index: 9,
                zones: Vec::new(),
            },
            "no interface has the index 9",
        ),
        (holders(0), "other sockets have every port from 80 to 84"),
        (
            holders(3),
            "other sockets have every port from 80 to 84: user 1000 has 1, user 1001 has 1, user 1002 has 1",
        ),
        (
            holders(5),
            "other sockets have every port from 80 to 84: user 1000 has 1, user 1001 has 1, user 1002 has 1, and 2 more have others",
        ),
    ] {
        assert_eq!(cause.to_string(), sentence);
    }
}

/// Somebody who has a port of 127.0.0.1, and is no process that is known.
fn holder(uid: u32, port: u16) -> Holder {
    held_by(uid, port, None)
}

fn held_by(uid: u32, port: u16, process: Option<Process>) -> Holder {
    let row = Row {
        port,
        device: Some(0),
        uid: Some(uid),
        inode: 7,
        ..listener_on([127, 0, 0, 1])
    };
    let mut sockets = Sockets::default();
    sockets.add([row]);
    sockets.processes = process.into_iter().map(|process| (7, process)).collect();
    let claim = Claim::new(ip("127.0.0.1"), true, 0);
    sockets.foreseen(claim, port).remove(0)
}

#[test]
fn what_is_told_needs_no_command() {
    let nginx = Process {
        is_this: false,
        pid: 4711,
        command: Some("nginx".into()),
    };
    let known = || held_by(33, 80, Some(nginx.clone()));
    let range = |holders| Cause::RangeInUse {
        first: 80,
        last: 81,
        holders,
    };
    let one = |holders| Cause::InUse {
        ip: ip("127.0.0.1"),
        port: 80,
        holders,
    };
    let of = |cause: Cause| cause.hints_on(System::Linux);
    assert_eq!(of(range(vec![known(), holder(33, 81)])), [""; 0]);
    assert_eq!(of(range(vec![holder(33, 81)])).len(), 1);
    assert_eq!(of(one(vec![known()])), ["port 0 takes any free port"]);
    assert_eq!(of(one(vec![holder(33, 80)])).len(), 2);
    let known = known();
    assert_eq!((known.uid(), known.pid()), (Some(33), Some(4711)));
    assert_eq!(known.command(), Some("nginx"));
    assert!(!known.is_this_process());
    assert_eq!(
        known.to_string(),
        "`nginx` (process 4711 of user 33) on 127.0.0.1"
    );
}

#[test]
fn where_the_system_was_not_asked_an_error_has_a_kind() {
    for (name, cause, _) in each() {
        let kind = match name {
            "unresolved" => io::ErrorKind::AddrNotAvailable,
            "unsupported-option" => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::InvalidInput,
        };
        assert_eq!(cause.error_kind(), kind, "{name}");
    }
}

#[test]
fn every_hint_is_for_the_causes_that_it_helps() {
    let sysctl = "`sysctl net.ipv4.ip_unprivileged_port_start=80` lets every process have it";
    let later = "the option `freebind` binds an address that comes to this host later";
    for (name, cause, _) in each() {
        let hints: &[&str] = match name {
            "not-on-this-host" => &[
                "`0.0.0.0` listens on every IPv4 address of this host",
                later,
            ],
            "gone" | "interface-down" | "no-carrier" => &[later],
            "duplicate" | "not-ready" => {
                &["`ip addr` shows whether the address is tentative or a duplicate"]
            }
            "local-route-missing" | "listed-only" => {
                &["`ip route show table local` shows what the system takes for its own"]
            }
            "range-in-use" => &["`ss -antup` shows root who has them"],
            "in-use" => &[
                "`ss -antup 'sport = :80'` shows root who has it",
                "port 0 takes any free port",
            ],
            "privileged-port" => &[
                "`AmbientCapabilities=CAP_NET_BIND_SERVICE` in a systemd unit grants it",
                "`setcap cap_net_bind_service=+ep` on the program's file grants it",
                sysctl,
            ],
            "denied" => {
                &["ports below `net.ipv4.ip_unprivileged_port_start` need CAP_NET_BIND_SERVICE"]
            }
            "refused-by-policy" => &[
                "`SocketBindDeny=`, `SystemCallFilter=` and a container's seccomp profile are such filters",
            ],
            "too-many-open-files" => {
                &["`ulimit -n` and `LimitNOFILE=` set how many a process may have"]
            }
            "family-unavailable" if cause.is_absence() && !cause.comes_with_time() => {
                &["`*` takes IPv6 where there is IPv6, and IPv4 alone elsewhere"]
            }
            _ => &[],
        };
        assert_eq!(cause.hints_on(System::Linux), hints, "{name}");
    }
    let of = |cause: Cause| cause.hints_on(System::Linux);
    assert_eq!(
        of(Cause::NotOnThisHost(foreign("2001:db8::1")))[0],
        "`[::]` listens on every address of this host"
    );
    // Nothing comes later of what no client reaches.
    assert_eq!(of(Cause::NotOnThisHost(foreign("224.0.0.1"))).len(), 1);
    for system in [System::Darwin, System::Unix, System::Windows] {
        for (name, cause, _) in each() {
            let of_linux_alone = [
                "gone",
                "interface-down",
                "no-carrier",
                "duplicate",
                "not-ready",
                "local-route-missing",
                "listed-only",
            ];
            let is_of_windows = name == "denied" && system == System::Windows;
            let is_of_unix = name == "too-many-open-files" && system != System::Windows;
            let hints = cause.hints_on(system);
            if of_linux_alone.contains(&name) {
                assert!(hints.is_empty(), "{system:?}: {hints:?}");
            } else if name == "denied" || name == "too-many-open-files" {
                assert_eq!(
                    !hints.is_empty(),
                    is_of_windows || is_of_unix,
                    "{system:?} {name}"
                );
            }
        }
    }
    let elsewhere = Cause::PrivilegedPort {
        port: 80,
        limit: 1024,
        privilege: Privilege::InAnotherUserNamespace,
    };
    assert_eq!(
        of(elsewhere),
        [
            "`sysctl net.ipv4.ip_unprivileged_port_start=80` in this process's network namespace lets every process have it"
        ]
    );
    let filter = Cause::RefusedByPolicy(Policy::Filter);
    assert_eq!(of(filter).len(), 1);
    assert!(of(Cause::RefusedByPolicy(Policy::SecurityModule)).is_empty());
    let twice = [
        Cause::TooManyOpenFiles { open: None },
        Cause::EmptyList,
        Cause::TooManyOpenFiles { open: Some(64) },
    ];
    assert_eq!(hints_of(twice.iter()).len(), 1);
}
