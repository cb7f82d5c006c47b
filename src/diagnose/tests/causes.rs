//! Hints and properties of each cause.

use std::slice;

use super::*;
use crate::map::Set;
use crate::sys::Searched;
use crate::target::Overlap;
use crate::target::ResolveErrorKind;

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
    may_resolve_itself: bool,
    is_absence: bool,
}

const STAYS: Told = Told {
    is_transient: false,
    may_resolve_itself: false,
    is_absence: false,
};
const PASSES: Told = Told {
    is_transient: true,
    may_resolve_itself: true,
    is_absence: false,
};
/// Nothing indicates when it passes, so it is not waited for.
const MAY_PASS: Told = Told {
    is_transient: true,
    ..STAYS
};
const IS_MISSING: Told = Told {
    may_resolve_itself: true,
    is_absence: true,
    ..STAYS
};
const MAY_COME: Told = Told {
    may_resolve_itself: true,
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
        ("invalid-text", Cause::InvalidText(text()), STAYS),
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
        (
            "became-available",
            Cause::BecameAvailable { ip: ip("8.8.8.8") },
            PASSES,
        ),
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
                is_by_cgroup: false,
                is_by_zone: false,
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
        (
            "not-treated-as-local",
            Cause::NotTreatedAsLocal(own()),
            STAYS,
        ),
        (
            "loopback-missing",
            Cause::LoopbackMissing {
                ip: ip("::1"),
                has: Vec::new(),
            },
            IS_MISSING,
        ),
        (
            "address-unavailable",
            Cause::AddressUnavailable {
                may_be_tentative: false,
            },
            IS_MISSING,
        ),
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
        ("multicast", Cause::Group(GroupAddr::Multicast), STAYS),
        ("broadcast", Cause::Group(GroupAddr::Broadcast), STAYS),
        (
            "in-use",
            Cause::InUse {
                ip: ip("::1"),
                port: 80,
                holders: Vec::new(),
                more: 0,
            },
            STAYS,
        ),
        (
            "handed-over",
            Cause::HandedOver {
                ip: ip("0.0.0.0"),
                handed: "[::]:80".parse().expect("an address"),
                mismatch: Mismatch::Addr(Overlap::CoversAsDualStack),
            },
            STAYS,
        ),
        (
            "in-use-by-unknown",
            Cause::InUseByUnknown { port: 80 },
            PASSES,
        ),
        ("time-wait", Cause::TimeWait { port: 80 }, PASSES),
        (
            "range-in-use",
            Cause::RangeInUse {
                first: 80,
                last: 81,
                holders: RangeHolders::default(),
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
                limit: Some(1024),
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
                why: FamilyUnavailableReason::Unknown,
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
                why: FamilyUnavailableReason::LoopbackDown,
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
fn each_cause_has_name_and_persistence() {
    let mut kinds = Set::new();
    for (name, cause, told) in each() {
        assert_eq!(cause.name(), name);
        let is_told = Told {
            is_transient: cause.is_transient(),
            may_resolve_itself: cause.may_resolve_itself(),
            is_absence: cause.is_absence(),
        };
        assert_eq!(is_told, told, "{name}");
        let sentence = cause.to_string();
        assert!(
            sentence.chars().count() <= 200,
            "too long to read once: {sentence}"
        );
        kinds.insert(std::mem::discriminant(&cause));
    }
    assert_eq!(kinds.len(), 41, "one of each");
    // An address that no host can have does not appear.
    for dead in ["224.0.0.1", "255.255.255.255", "192.168.255.255", "0.1.2.3"] {
        let cause = Cause::NotOnThisHost(foreign(dead));
        assert!(!cause.may_resolve_itself(), "{dead}");
    }
}

#[test]
fn each_step_has_a_phrase() {
    let steps = [
        (Step::Parse, "reading the text"),
        (Step::Resolve, "resolving the text"),
        (Step::Validate, "checking the address"),
        (Step::Socket, "socket(2)"),
        (Step::Option("freebind"), "setting the option `freebind`"),
        (Step::Bind, "bind(2)"),
        (Step::Listen, "listen(2)"),
        (Step::GetSockName, "getsockname(2)"),
        (Step::Register, "registering the socket with the runtime"),
    ];
    for (step, words) in steps {
        assert_eq!(step.to_string(), words);
        assert_eq!(Cause::Other { step }.to_string(), format!("{words} failed"));
    }
}

#[test]
#[allow(clippy::too_many_lines)] // one cause after another
fn rare_causes_have_sentences() {
    let conflict = |overlap| Cause::Conflict {
        ip: ip("127.0.0.1"),
        other: ([0, 0, 0, 0], 80).into(),
        text: "0.0.0.0:80".into(),
        overlap,
    };
    let holders = |count| Cause::RangeInUse {
        first: 80,
        last: 84,
        holders: RangeHolders::count((0..count).map(|n| Holder::synthetic(1000 + n, 80, None))),
    };
    let anonymous = |is_of_kernel| Holder {
        uid: None,
        is_of_kernel,
        ..Holder::synthetic(0, 80, None)
    };
    for (cause, sentence) in [
        (
            Cause::RangeInUse {
                first: 80,
                last: 82,
                holders: RangeHolders::count([true, false, false].map(anonymous).into_iter()),
            },
            "all ports 80-82 are in use: unknown processes hold 2, the kernel holds 1",
        ),
        (
            Cause::OnAnotherDevice {
                ip: ip("fe80::9"),
                device: "eth0".into(),
                is_by_cgroup: false,
                is_by_zone: true,
                interfaces: Vec::new(),
            },
            "the server binds this socket to the interface eth0, but fe80::9 has another zone",
        ),
        (
            Cause::ZoneRequired {
                ip: ip("fe80::9"),
                candidates: Some(Vec::new()),
            },
            "a link-local address needs a zone, and no interface of this host has fe80::9",
        ),
        (
            Cause::ZoneRequired {
                ip: ip("fe80::9"),
                candidates: None,
            },
            "a link-local address needs a zone, as in `[fe80::1%eth0]`",
        ),
        (
            conflict(Overlap::SameAddress),
            "conflicts with `0.0.0.0:80` in the same list: both bind 0.0.0.0:80; remove one of them",
        ),
        (
            conflict(Overlap::Covers),
            "conflicts with `0.0.0.0:80` in the same list, which already includes 127.0.0.1; remove one of them",
        ),
        (
            Cause::UnsupportedOption { option: "freebind" },
            "the server sets the socket option `freebind`, which this operating system does not support",
        ),
        (
            Cause::TooManyOpenFiles { open: None },
            "the limit on open files is reached",
        ),
        (
            Cause::RefusedByPolicy(Policy::SecurityModuleOrFilter),
            "denied by a security module (Landlock, SELinux or AppArmor) or a seccomp filter; running as root does not help",
        ),
        (
            Cause::FamilyUnavailable {
                family: Family::Ipv4,
                why: FamilyUnavailableReason::Unknown,
            },
            "this system has no IPv4",
        ),
        (
            Cause::NoSuchZone {
                ip: ip("fe80::9"),
                index: 9,
                zones: vec!["eth0".into()],
            },
            "no interface has index 9; fe80::9 is on eth0",
        ),
        (
            Cause::NoSuchZone {
                ip: ip("fe80::9"),
                index: 9,
                zones: Vec::new(),
            },
            "no interface has index 9",
        ),
        (holders(0), "all ports 80-84 are in use"),
        (
            holders(3),
            "all ports 80-84 are in use: sockets created by uid 1000 hold 1, sockets created by uid 1001 hold 1, sockets created by uid 1002 hold 1",
        ),
        (
            holders(5),
            "all ports 80-84 are in use: sockets created by uid 1000 hold 1, sockets created by uid 1001 hold 1, sockets created by uid 1002 hold 1, and 2 more hold others",
        ),
    ] {
        assert_eq!(cause.to_string(), sentence);
    }
}

/// The hints of causes, with evidence of Linux.
fn hints_of(causes: &[Cause], evidence: &Evidence) -> Vec<Hint> {
    let error = io::Error::from_raw_os_error(EADDRINUSE);
    let attempt = attempt("127.0.0.1:80", Step::Bind, &error);
    hints::hints(causes, &attempt, evidence)
}

fn texts_of(cause: Cause) -> Vec<String> {
    let hints = hints_of(&[cause], &Evidence::default());
    hints.iter().map(ToString::to_string).collect()
}

#[test]
fn known_holder_needs_no_lookup_command() {
    let nginx = Process {
        is_this: false,
        pid: 4711,
        uid: Some(33),
        command: Some("nginx".into()),
        children: 0,
        is_of_unit: false,
    };
    let known = || Holder::synthetic(0, 80, Some(nginx.clone()));
    let unknown = |port| Holder::synthetic(0, port, None);
    let range = |holders: Vec<Holder>| Cause::RangeInUse {
        first: 80,
        last: 81,
        holders: RangeHolders::count(holders.into_iter()),
    };
    let one = |holders| Cause::InUse {
        ip: ip("127.0.0.1"),
        port: 80,
        holders,
        more: 0,
    };
    assert_eq!(texts_of(range(vec![known(), known()])), [""; 0]);
    assert_eq!(texts_of(range(vec![known(), unknown(81)])).len(), 1);
    assert_eq!(texts_of(one(vec![known()])), [""; 0]);
    assert_eq!(texts_of(one(vec![unknown(80)])).len(), 1);
    // `ss` shows root no more than was seen where every process could be looked at.
    let mut searched = Evidence::default();
    for (how, hint) in [
        (Searched::Host, None),
        (
            Searched::Namespace,
            Some(
                "no process that can be seen here has the socket; if this is a container, `ss -antup 'sport = :80'` on \
                 its host shows which has",
            ),
        ),
    ] {
        searched.tcp.searched = how;
        assert_eq!(hints_of(&[range(vec![unknown(81)])], &searched), []);
        let hints = hints_of(&[one(vec![unknown(80)])], &searched);
        assert_eq!(hints.first().map(Hint::text), hint);
    }
}

fn process() -> Process {
    Process {
        is_this: false,
        pid: 4711,
        uid: Some(0),
        command: None,
        children: 0,
        is_of_unit: false,
    }
}

/// A socket that no process has open, although all were searched: in-kernel servers have no
/// descriptor.
#[test]
fn kernel_socket_is_reported_as_kernel_socket() {
    let mut held = Holder::synthetic(0, 51820, None);
    held.state = SocketState::Bound;
    held.is_of_kernel = true;
    assert_eq!(
        held.to_string(),
        "a socket that no process has open (probably the kernel's own, as for WireGuard, VXLAN or NFS) is bound to 127.0.0.1"
    );
    let cause = Cause::InUse {
        ip: ip("127.0.0.1"),
        port: 51820,
        holders: vec![held],
        more: 0,
    };
    assert_eq!(texts_of(cause), [""; 0]);

    let message = |searched, inode| {
        let error = io::Error::from_raw_os_error(EADDRINUSE);
        let mut evidence = Evidence::default();
        evidence.tcp.searched = searched;
        evidence.tcp.processes = Map::from([(7, process())]);
        evidence.tcp.add([SocketRow {
            inode,
            ..listener_on([127, 0, 0, 1])
        }]);
        causes(&attempt("127.0.0.1:80", Step::Bind, &error), &evidence)[0].to_string()
    };
    let is_of_kernel = |searched, inode| message(searched, inode).contains("the kernel's own");
    assert!(is_of_kernel(Searched::Host, 8));
    // It has a process, or none any more, or one in another PID namespace.
    assert!(!is_of_kernel(Searched::Host, 7));
    assert!(!is_of_kernel(Searched::Host, 0));
    assert!(!is_of_kernel(Searched::Namespace, 8));
}

#[test]
fn delegated_port_hint_names_systemd_or_container() {
    let held = |command: &str, pid, is_of_unit| {
        let process = Process {
            is_this: false,
            pid,
            uid: Some(0),
            command: Some(command.to_owned()),
            children: 0,
            is_of_unit,
        };
        texts_of(Cause::InUse {
            ip: ip("0.0.0.0"),
            port: 80,
            holders: vec![Holder::synthetic(0, 80, Some(process))],
            more: 0,
        })
    };
    for (command, pid, is_of_unit, hint) in [
        (
            "systemd",
            1,
            true,
            "`systemctl list-sockets` shows the socket unit that holds the port",
        ),
        (
            "systemd",
            900,
            true,
            "`systemctl --user list-sockets` shows the socket unit that holds the port",
        ),
        (
            "sshd",
            700,
            true,
            "`systemctl list-sockets` shows the socket unit by which systemd has opened the port",
        ),
        (
            "docker-proxy",
            701,
            false,
            "`docker ps --filter publish=80` shows the container that publishes the port",
        ),
        (
            "rootlessport",
            702,
            false,
            "`podman ps --filter publish=80` shows the container that publishes the port",
        ),
    ] {
        assert_eq!(held(command, pid, is_of_unit), [hint], "{command}");
    }
    assert_eq!(held("nginx", 703, false), [""; 0]);
}

/// As WSL2 does it for ports that Windows has.
#[test]
fn filter_denial_of_port_has_a_hint() {
    let cause = || Cause::InUseByUnknown { port: 9900 };
    assert_eq!(texts_of(cause()), [""; 0]);
    let filtered = Evidence {
        has_seccomp_filter: Some(true),
        ..Evidence::default()
    };
    let hints = hints_of(&[cause()], &filtered);
    assert_eq!(
        hints[0].text(),
        "a seccomp filter of this process may deny the port; on WSL2, one denies the ports that Windows uses"
    );
}

#[test]
fn each_security_module_has_its_own_hint() {
    for (module, told) in [
        (
            "selinux",
            "SELinux is active: `ausearch -m avc -ts recent` shows what it has denied, and `semanage port -l` its ports",
        ),
        (
            "apparmor",
            "AppArmor is active: `journalctl -k -g apparmor` shows what it has denied, and `aa-status` its profiles",
        ),
        (
            "landlock",
            "Landlock is active: a program restricts itself and its children by it",
        ),
        (
            "smack",
            "Smack is active: `journalctl -k -g smack` shows what it has denied",
        ),
        (
            "tomoyo",
            "TOMOYO is active: `/var/log/tomoyo` has what it has denied",
        ),
    ] {
        let evidence = Evidence {
            security_modules: vec!["capability".to_owned(), module.to_owned()],
            ..Evidence::default()
        };
        let of_family = Cause::FamilyUnavailable {
            family: Family::Ipv6,
            why: FamilyUnavailableReason::Refused(Policy::SecurityModule),
        };
        for cause in [Cause::RefusedByPolicy(Policy::SecurityModule), of_family] {
            let hints = hints_of(&[cause], &evidence);
            let texts: Vec<String> = hints.iter().map(ToString::to_string).collect();
            assert_eq!(texts, [told]);
        }
    }
}

#[test]
fn ephemeral_port_hint_reserves_the_port() {
    let held = |port, reserved: &str| {
        let mut connection = Holder::synthetic(0, port, None);
        connection.state = SocketState::Connected;
        let evidence = Evidence {
            ephemeral_ports: Some(32768..=60999),
            reserved_ports: Some(reserved.to_owned()),
            ..Evidence::default()
        };
        let cause = Cause::InUse {
            ip: ip("0.0.0.0"),
            port,
            holders: vec![connection],
            more: 0,
        };
        let hints = hints_of(&[cause], &evidence);
        let texts = hints.iter().map(ToString::to_string);
        let texts = texts.filter(|text| text.contains("reserved"));
        texts.collect::<Vec<_>>()
    };
    let hint = |all: &str| {
        format!(
            "`sysctl net.ipv4.ip_local_reserved_ports={all}` excludes the port from the ephemeral range \
             (32768-60999) for new outgoing connections"
        )
    };
    assert_eq!(held(43110, ""), [hint("43110")]);
    // Reserved ports stay reserved.
    assert_eq!(
        held(43110, "8080,9000-9100"),
        [hint("8080,9000-9100,43110")]
    );
    assert_eq!(held(8080, ""), [""; 0]);
}

#[test]
fn holder_distinguishes_process_uid_from_socket_uid() {
    let process = |uid, command: Option<&str>| Process {
        is_this: false,
        pid: 4711,
        uid,
        command: command.map(str::to_owned),
        children: 0,
        is_of_unit: false,
    };
    let known = Holder::synthetic(0, 80, Some(process(Some(33), Some("nginx"))));
    assert_eq!((known.uid(), known.process_uid()), (Some(0), Some(33)));
    assert_eq!((known.pid(), known.command()), (Some(4711), Some("nginx")));
    assert!(!known.is_this_process());
    for (process, sentence) in [
        (
            Some(process(Some(33), Some("nginx"))),
            "`nginx` (pid 4711, uid 33) listens on 127.0.0.1",
        ),
        (
            Some(process(None, Some("nginx"))),
            "`nginx` (pid 4711) listens on 127.0.0.1",
        ),
        (
            Some(process(Some(33), None)),
            "a process (pid 4711, uid 33) listens on 127.0.0.1",
        ),
        (None, "a socket created by uid 0 listens on 127.0.0.1"),
    ] {
        assert_eq!(Holder::synthetic(0, 80, process).to_string(), sentence);
    }
}

#[test]
fn holder_is_possible_when_v6only_is_unknown() {
    let error = io::Error::from_raw_os_error(EADDRINUSE);
    let said = |rows: &[SocketRow], are_all| {
        let mut evidence = Evidence::default();
        evidence.tcp.are_all = are_all;
        evidence.tcp.add(rows.iter().cloned());
        causes(&attempt("127.0.0.1:80", Step::Bind, &error), &evidence)[0].to_string()
    };
    // The tables of /proc have neither V6ONLY nor the device.
    let every = SocketRow {
        uid: Some(33),
        inode: 7,
        ..listener_on(std::net::Ipv6Addr::UNSPECIFIED)
    };
    assert_eq!(
        said(slice::from_ref(&every), false),
        "port 80 is in use, possibly because a socket created by uid 33 listens on [::]"
    );
    // One that surely has it is named alone.
    let same = SocketRow {
        uid: Some(34),
        ..listener_on([127, 0, 0, 1])
    };
    assert_eq!(
        said(&[every.clone(), same], false),
        "port 80 is in use: a socket created by uid 34 listens on 127.0.0.1"
    );
    let dual = SocketRow {
        only_v6: Some(false),
        ..every
    };
    assert_eq!(
        said(&[dual], true),
        "port 80 is in use: a socket created by uid 33 listens on [::], which is dual-stack and includes IPv4"
    );
}

#[test]
fn port_of_many_connections_is_not_free_by_itself_if_one_is_bound() {
    let error = io::Error::from_raw_os_error(EADDRINUSE);
    let socket = |n, state| SocketRow {
        state,
        device: Some(0),
        ..listener_on([127, 0, 0, n])
    };
    let connections = (1..=20).map(|n| socket(n, SocketState::Connected));
    let connections: Vec<SocketRow> = connections.collect();
    let cause = |rows: &[SocketRow]| {
        let mut evidence = Evidence::default();
        evidence.tcp.are_all = true;
        evidence.tcp.add(rows.iter().cloned());
        causes(&attempt("0.0.0.0:80", Step::Bind, &error), &evidence).remove(0)
    };
    assert!(cause(&connections).may_resolve_itself());
    for n in [0, 10, 100] {
        let bound = socket(n, SocketState::Bound);
        let cause = cause(&[&connections[..], slice::from_ref(&bound)].concat());
        assert!(!cause.may_resolve_itself(), "{cause}");
        let text = cause.to_string();
        assert!(
            text.contains(" is bound to ") && text.ends_with("; and 18 more"),
            "{text}"
        );
    }
}

#[test]
fn known_process_is_among_the_first_holders() {
    let error = io::Error::from_raw_os_error(EADDRINUSE);
    let mut evidence = Evidence::default();
    evidence.tcp.processes = Map::from([(20, process())]);
    evidence.tcp.add((1..=20).map(|n| SocketRow {
        inode: n.into(),
        device: Some(0),
        ..listener_on([127, 0, 0, n])
    }));
    let causes = causes(&attempt("0.0.0.0:80", Step::Bind, &error), &evidence);
    let [Cause::InUse { holders, more, .. }] = &causes[..] else {
        panic!("{causes:?}");
    };
    assert_eq!(
        (holders[0].pid(), holders.len(), *more),
        (Some(4711), 8, 12)
    );
}

#[test]
fn in_use_keeps_eight_holders() {
    let error = io::Error::from_raw_os_error(EADDRINUSE);
    let mut evidence = Evidence::default();
    evidence.tcp.add((1..=100u8).map(|n| SocketRow {
        uid: Some(33),
        device: Some(0),
        ..listener_on([127, 0, 0, n])
    }));
    let causes = causes(&attempt("0.0.0.0:80", Step::Bind, &error), &evidence);
    let Cause::InUse { holders, more, .. } = &causes[0] else {
        panic!("{causes:?}");
    };
    assert_eq!((holders.len(), *more), (8, 92));
    assert!(causes[0].to_string().ends_with("; and 97 more"));
}

#[test]
fn error_without_errno_has_a_kind() {
    for (name, cause, _) in each() {
        let kind = match name {
            "unresolved" => io::ErrorKind::AddrNotAvailable,
            "unsupported-option" => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::InvalidInput,
        };
        assert_eq!(cause.error_kind(), kind, "{name}");
    }
}

#[allow(clippy::too_many_lines)] // a table
#[test]
fn each_hint_fits_its_causes() {
    use HintKind::{Configure, Inspect, Program};

    let sysctl = "`sysctl net.ipv4.ip_unprivileged_port_start=80` lets every process bind the ports from 80 up";
    let later = "`BindOptions::freebind` binds an address before the host has it";
    for (name, cause, _) in each() {
        let expected: &[(HintKind, &str)] = match name {
            "not-on-this-host" | "gone" | "no-carrier" | "routed-not-assigned" => {
                &[(Program, later)]
            }
            "interface-down" => &[
                (Configure, "`ip link set dev eth0 up` brings it up"),
                (Program, later),
            ],
            "duplicate" | "not-ready" => &[(
                Inspect,
                "`ip addr` shows whether the address is `tentative` or `dadfailed`",
            )],
            "local-route-missing" | "not-treated-as-local" => &[(
                Inspect,
                "`ip route show table local` shows what the kernel treats as local",
            )],
            "in-vrf" => &[
                (
                    Configure,
                    "`ip vrf exec vrf0 COMMAND` runs the program in the VRF",
                ),
                (Program, "`BindOptions::device` binds the socket to `vrf0`"),
            ],
            "in-use" => &[(
                Inspect,
                "`ss -antup 'sport = :80'`, run as root, shows which process holds the port",
            )],
            "handed-over" => &[
                (
                    Configure,
                    "`ListenStream=127.0.0.1:80` in the socket unit opens what the setting names",
                ),
                (
                    Program,
                    "`Activation::allow_dual_stack` takes it for `0.0.0.0`, and serves IPv6 clients as well",
                ),
            ],
            "privileged-port" => &[
                (
                    Configure,
                    "`AmbientCapabilities=CAP_NET_BIND_SERVICE` in a systemd unit grants the capability",
                ),
                (Configure, sysctl),
            ],
            "denied" => &[(
                Configure,
                "a port below `net.ipv4.ip_unprivileged_port_start` needs CAP_NET_BIND_SERVICE; grant it, or use a higher port",
            )],
            "refused-by-policy" => &[(Configure, "check `SocketBindDeny=` in the systemd unit")],
            "too-many-open-files" => &[(
                Configure,
                "raise the limit with `LimitNOFILE=` in a systemd unit, or with `ulimit -n`",
            )],
            "family-unavailable" if cause.may_resolve_itself() => {
                &[(Configure, "`ip link set lo up` brings it up")]
            }
            _ => &[],
        };
        let hints = hints_of(&[cause], &Evidence::default());
        let found: Vec<(HintKind, &str)> = hints
            .iter()
            .map(|hint| (hint.kind(), hint.text()))
            .collect();
        assert_eq!(found, expected, "{name}");
    }
    for system in [System::Darwin, System::Unix, System::Windows] {
        let evidence = Evidence {
            system,
            ..Evidence::default()
        };
        for (name, cause, _) in each() {
            for hint in hints_of(&[cause], &evidence) {
                let text = hint.text();
                let mut of_others = vec![
                    "`ip ", "`ss ", "sysctl", "net.ipv4", "freebind", "VRF", "CAP_",
                ];
                // A socket is handed over as by systemd.
                if name != "handed-over" && name != "refused-by-policy" {
                    of_others.push("systemd");
                }
                of_others.extend(match system {
                    System::Windows => &["ulimit", "lsof"][..],
                    _ => &["netsh", "netstat"],
                });
                let found = of_others.iter().find(|word| text.contains(**word));
                assert_eq!(found, None, "{name} on {system:?}: {text}");
            }
        }
    }
    // No host is given these.
    for never in [
        "224.0.0.1",
        "255.255.255.255",
        "192.168.255.255",
        "192.168.0.0",
        "0.1.2.3",
    ] {
        assert_eq!(
            texts_of(Cause::NotOnThisHost(foreign(never))),
            [""; 0],
            "{never}"
        );
    }
    for (interface, expected) in [
        ("default", None),
        (
            "all",
            Some("`sysctl net.ipv6.conf.all.disable_ipv6=0` enables IPv6 on every interface"),
        ),
        (
            "lo",
            Some("`sysctl net.ipv6.conf.lo.disable_ipv6=0` enables IPv6 on lo"),
        ),
    ] {
        let family = Family::Ipv6;
        let why = FamilyUnavailableReason::Sysctl { interface };
        let texts = texts_of(Cause::FamilyUnavailable { family, why });
        assert!(texts.iter().eq(&expected), "{texts:?}");
    }
    // The interface has it, and the kernel has no route for it.
    let missing = |has: &[&str]| Cause::LoopbackMissing {
        ip: ip("127.0.0.1"),
        has: has
            .iter()
            .map(|one| InterfaceAddr::new(ip(one), 8))
            .collect(),
    };
    assert_eq!(
        texts_of(missing(&["127.0.0.1"])),
        ["`ip route show table local` shows what the kernel treats as local"]
    );
    assert!(
        texts_of(missing(&["127.0.0.2"]))
            .iter()
            .all(|text| !text.contains("table local"))
    );
    let elsewhere = Cause::PrivilegedPort {
        port: 80,
        limit: Some(1024),
        privilege: Privilege::InAnotherUserNamespace,
    };
    assert_eq!(
        texts_of(elsewhere),
        [
            "`sysctl net.ipv4.ip_unprivileged_port_start=80` in this process's network namespace lets every process bind the ports from 80 up"
        ]
    );
    assert_eq!(texts_of(Cause::RefusedByPolicy(Policy::Filter)).len(), 1);
    for why in [
        FamilyUnavailableReason::Sandbox,
        FamilyUnavailableReason::Refused(Policy::Filter),
    ] {
        let family = Family::Ipv6;
        assert_eq!(
            texts_of(Cause::FamilyUnavailable { family, why }),
            [
                "check `RestrictAddressFamilies=` and `SystemCallFilter=` in the systemd unit, or the container's seccomp profile"
            ]
        );
    }
    assert!(texts_of(Cause::RefusedByPolicy(Policy::SecurityModule)).is_empty());
    let twice = [
        Cause::TooManyOpenFiles { open: None },
        Cause::EmptyList,
        Cause::TooManyOpenFiles { open: Some(64) },
    ];
    assert_eq!(hints_of(&twice, &Evidence::default()).len(), 1);
}

#[test]
fn hint_commands_contain_no_shell_syntax() {
    let in_vrf = |vrf: &str| Cause::InVrf {
        addr: local("192.168.71.67"),
        vrf: vrf.into(),
    };
    for (vrf, hints) in [
        ("vrf-1.2", 2),
        ("a;reboot", 1),
        ("$(id)", 1),
        ("-n", 1),
        ("a`b", 1),
    ] {
        assert_eq!(texts_of(in_vrf(vrf)).len(), hints, "no command has `{vrf}`");
    }
}

#[test]
fn hint_requires_its_condition() {
    let privileged = || Cause::PrivilegedPort {
        port: 80,
        limit: Some(1024),
        privilege: Privilege::Missing,
    };
    let setcap = "`setcap cap_net_bind_service=+ep` on the program's file grants the capability";
    // execve(2) ignores the capabilities of a file then.
    for (no_new_privs, is_told) in [(Some(false), true), (Some(true), false), (None, false)] {
        let evidence = Evidence {
            no_new_privs,
            ..Evidence::default()
        };
        let hints = hints_of(&[privileged()], &evidence);
        assert_eq!(hints.iter().any(|hint| hint.text() == setcap), is_told);
    }
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let is_set = Attempt {
        freebind: true,
        ..attempt("8.8.8.8:80", Step::Bind, &error)
    };
    let gone = [Cause::Gone(local("192.168.71.67"))];
    assert_eq!(hints::hints(&gone, &is_set, &Evidence::default()), []);
}

#[test]
fn closest_address_precedes_wildcard() {
    let [error, without_zone] = [EADDRNOTAVAIL, EINVAL].map(io::Error::from_raw_os_error);
    let error_of = |text: &str| {
        if text.contains("[fe80::77]") {
            &without_zone
        } else {
            &error
        }
    };
    let hints_beside =
        |text: &str, bindable: &[&str], rows: Vec<SocketRow>| -> Vec<(HintKind, String)> {
            let written: ListenAddr = text.parse().expect("an address");
            let mut tcp = Sockets::default();
            tcp.add(rows);
            let evidence = Evidence {
                tcp,
                interfaces: Some(host()),
                bindable: bindable
                    .iter()
                    .map(|addr| addr.parse().expect("an address"))
                    .collect(),
                ..Evidence::default()
            };
            let attempt = Attempt {
                written: Some(&written),
                ..attempt(text, Step::Bind, error_of(text))
            };
            let all = diagnose(&attempt, &evidence).hints.into_iter();
            let others = all.filter(|hint| hint.kind() != HintKind::Program);
            others.map(|hint| (hint.kind(), hint.to_string())).collect()
        };
    let hints = |text: &str, bindable: &[&str]| hints_beside(text, bindable, Vec::new());
    let own = "192.168.71.67:0";
    assert_eq!(
        hints("192.168.158.94:5000", &[own, "0.0.0.0:0"]),
        [
            (
                HintKind::Replace,
                "`192.168.71.67:5000` is the closest local address".to_owned()
            ),
            (
                HintKind::Widen,
                "`0.0.0.0:5000` listens on every IPv4 address of this host, reachable from private networks"
                    .to_owned()
            ),
        ]
    );
    // A port that may need a privilege is not advised on another address.
    assert_eq!(hints("192.168.158.94:80", &[own, "0.0.0.0:0"]), []);
    // Nor one on which another socket may have the port: whether it is dual-stack is unknown.
    let held = SocketRow {
        port: 5000,
        ..listener_on([0u16; 8])
    };
    assert_eq!(
        hints_beside("192.168.158.94:5000", &[own, "0.0.0.0:0"], vec![held]),
        []
    );
    // An address that the kernel does not bind is not advised.
    assert_eq!(hints("192.168.158.94:5000", &["0.0.0.0:0"]).len(), 1);
    assert_eq!(hints("192.168.158.94:5000", &[]), []);
    let zone = |text: &str| hints(text, &["[fe80::77%2]:0"])[0].1.clone();
    assert_eq!(
        zone("[fe80::77]:5000"),
        "`[fe80::77%eth0]:5000` adds the zone"
    );
    assert_eq!(
        zone("[fe80::77%3]:5000"),
        "`[fe80::77%eth0]:5000` has the zone of the interface that has the address"
    );
    // The host's only address of the family is more exposed than what was written.
    assert_eq!(
        hints("[fd00::1]:8080", &["[2001:db8:1::10]:0"]),
        [(
            HintKind::Widen,
            "`[2001:db8:1::10]:8080` is the closest local address, reachable from the internet"
                .to_owned()
        )]
    );
}

#[test]
fn unusable_address_is_not_a_candidate() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let addr = |text: &str, state| InterfaceAddr::new(ip(text), 64).with_state(state);
    let eth0 = ["2001:db8::1", "2001:db8::2", "2001:db8::3"]
        .into_iter()
        .fold(Interface::new("eth0", 2), |eth0, text| {
            eth0.with_interface_addr(addr(text, AddrState::Tentative))
        })
        .with_interface_addr(addr("2001:db8::4", AddrState::Preferred));
    let host: Interfaces = [eth0].into_iter().collect();
    let attempt = attempt("[2001:db8::9]:80", Step::Bind, &error);
    let candidates = hints::candidates(&attempt, None, &host);
    let candidates: Vec<String> = candidates.iter().map(ToString::to_string).collect();
    assert_eq!(candidates, ["[2001:db8::4]:80", "[::]:80"]);
    // A wildcard has no candidates.
    let wildcard = Attempt {
        addr: "[::]:80".parse().expect("an address"),
        ..attempt
    };
    assert_eq!(hints::candidates(&wildcard, None, &host), []);
}

/// On a host without IPv6, the IPv4 candidate is never more exposed than the IPv6 address.
#[test]
fn ipv4_is_a_candidate_for_the_same_clients_only() {
    let candidates = |text: &str, only_v6, (step, code)| -> Vec<String> {
        let error = io::Error::from_raw_os_error(code);
        let attempt = Attempt {
            only_v6,
            ..attempt(text, step, &error)
        };
        let candidates = hints::candidates(&attempt, None, &host());
        candidates.iter().map(ToString::to_string).collect()
    };
    let without_ipv6 = (Step::Socket, EAFNOSUPPORT);
    for (text, only_v6, expected) in [
        ("[::1]:80", true, Some("127.0.0.1:80")),
        ("[::]:80", false, Some("0.0.0.0:80")),
        ("[::]:80", true, None),
        ("[2001:db8:1::10]:80", false, None),
        ("[2001:db8:1::10]:80", true, None),
    ] {
        let found = candidates(text, only_v6, without_ipv6);
        assert_eq!(found, Vec::from_iter(expected), "{text} {only_v6}");
        // Another error of socket(2), and this one of another call, say nothing about IPv6.
        for failed in [(Step::Socket, EMFILE), (Step::Bind, EAFNOSUPPORT)] {
            assert_eq!(candidates(text, only_v6, failed), [""; 0], "{text}");
        }
    }
}

/// The snapshot may lack the loopback interface, as in a sandbox.
#[test]
fn ipv4_loopback_is_advised_without_a_loopback_interface() {
    let error = io::Error::from_raw_os_error(EAFNOSUPPORT);
    let written: ListenAddr = "[::1]:8080".parse().expect("an address");
    let attempt = Attempt {
        written: Some(&written),
        ..attempt("[::1]:8080", Step::Socket, &error)
    };
    let lo = Interface::new("lo", 1).with_addr(ip("127.0.0.1"), 8);
    let down = lo.clone().with_running(false);
    let advised = |interfaces: Vec<Interface>| -> Vec<String> {
        let evidence = Evidence {
            interfaces: Some(interfaces.into_iter().collect()),
            bindable: ["127.0.0.1:0".parse().expect("an address")].into(),
            ..Evidence::default()
        };
        let hints = diagnose(&attempt, &evidence).hints.into_iter();
        let hints = hints.filter(|hint| hint.replacement().is_some());
        hints.map(|hint| hint.to_string()).collect()
    };
    let hint = "`127.0.0.1:8080` listens on loopback, for this host only";
    assert_eq!(advised(vec![]), [hint]);
    assert_eq!(advised(vec![lo]), [hint]);
    assert_eq!(advised(vec![down]), [""; 0]);
}

/// A socket on an interface accepts connections to the addresses of that one.
#[test]
fn address_of_the_device_is_advised() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let written: ListenAddr = "10.0.0.9:8080".parse().expect("an address");
    let advised = |device| -> Vec<String> {
        let eth0 = Interface::new("eth0", 2).with_addr(ip("10.0.0.1"), 24);
        let eth1 = Interface::new("eth1", 3).with_addr(ip("10.0.1.1"), 24);
        let bindable = ["10.0.0.1:0", "10.0.1.1:0"].map(|addr| addr.parse().expect("an address"));
        let evidence = Evidence {
            interfaces: Some([eth0, eth1].into_iter().collect()),
            bindable: bindable.into(),
            ..Evidence::default()
        };
        let attempt = Attempt {
            written: Some(&written),
            device: Some(device),
            ..attempt("10.0.0.9:8080", Step::Bind, &error)
        };
        let hints = diagnose(&attempt, &evidence).hints.into_iter();
        let replacements = hints.filter_map(|hint| Some(hint.replacement()?.to_owned()));
        replacements.collect()
    };
    assert_eq!(advised("eth0"), ["10.0.0.1:8080"]);
    assert_eq!(advised("eth1"), ["10.0.1.1:8080"]);
    assert_eq!(advised("eth2"), [""; 0]);
}

#[test]
fn exposure_of_ipv6_wildcard_is_without_ipv4() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let eth0 = Interface::new("eth0", 2)
        .with_addr(ip("9.9.9.9"), 24)
        .with_addr(ip("fd00::1"), 64);
    let hints = |only_v6| {
        let written: ListenAddr = "[fd00::9]:5000".parse().expect("an address");
        let evidence = Evidence {
            interfaces: Some([eth0.clone()].into_iter().collect()),
            bindable: ["[::]:0".parse().expect("an address")].into(),
            ..Evidence::default()
        };
        let attempt = Attempt {
            written: Some(&written),
            only_v6,
            only_v6_option: only_v6,
            ..attempt("[fd00::9]:5000", Step::Bind, &error)
        };
        let hints = diagnose(&attempt, &evidence).hints;
        hints[0].to_string()
    };
    assert_eq!(
        hints(true),
        "`[::]:5000` listens on every IPv6 address of this host, reachable from private networks"
    );
    assert_eq!(
        hints(false),
        "`[::]:5000` listens on every address of this host, reachable from the internet"
    );
}

#[test]
fn without_ipv6_loopback_stays_loopback() {
    let error = io::Error::from_raw_os_error(EAFNOSUPPORT);
    let eth0 = Interface::new("eth0", 2).with_addr(ip("192.168.71.67"), 16);
    let lo = Interface::new("lo", 1).with_addr(ip("127.0.0.1"), 8);
    let host: Interfaces = [lo, eth0].into_iter().collect();
    let replacements = |text: &str, addr: &str, only_v6_option| -> Vec<(HintKind, String)> {
        let written: ListenAddr = text.parse().expect("an address");
        let evidence = Evidence {
            interfaces: Some(host.clone()),
            bindable: ["127.0.0.1:0", "0.0.0.0:0", "192.168.71.67:0"]
                .map(|addr| addr.parse().expect("an address"))
                .into(),
            ..Evidence::default()
        };
        let attempt = Attempt {
            written: Some(&written),
            only_v6_option,
            only_v6: only_v6_option,
            ..attempt(addr, Step::Socket, &error)
        };
        let hints = diagnose(&attempt, &evidence).hints.into_iter();
        hints
            .filter_map(|hint| Some((hint.kind(), hint.replacement()?.to_owned())))
            .collect()
    };
    let here = |text: &str| vec![(HintKind::Replace, text.to_owned())];
    assert_eq!(
        replacements("[::1]:5000", "[::1]:5000", false),
        here("127.0.0.1:5000")
    );
    assert_eq!(
        replacements("-ipv6@localhost:5000-5010", "[::1]:5000", false),
        here("-127.0.0.1:5000-5010")
    );
    assert_eq!(
        replacements("[::]:5000", "[::]:5000", false),
        here("0.0.0.0:5000")
    );
    // It named IPv6 alone then, and has no IPv4 address in its place.
    assert_eq!(replacements("[::]:5000", "[::]:5000", true), []);
    assert_eq!(
        replacements("[2001:db8::5]:80", "[2001:db8::5]:80", false),
        []
    );
    assert_eq!(replacements("ipv6@*:80", "[::]:80", false), []);
}
