//! The decision on made-up evidence.

// Hints and properties of each cause.
mod causes;
// The evidence that is read for each attempt.
mod reading;

use std::io;

use super::evidence::CgroupDevice;
use super::properties::{attempt, host};
use super::socket_warnings::{AddrFacts, warnings_on};
use super::sockets::{Held, Sockets};
use super::*;
use crate::diagnosis::*;
use crate::interfaces::AddrState;
use crate::map::{Map, Set};
use crate::reach::OpenSocket;
use crate::sys::{Ipv6Switch, Link, Process, SocketRow};
use crate::target::Claim;

const DOCS: &str = include_str!("../../docs/diagnosis.md");

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;
const EAFNOSUPPORT: i32 = 97;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;
const ENOBUFS: i32 = 105;

/// Holds a row of the docs: what is said of a situation that is not made here.
#[track_caller]
fn row(
    situation: &str,
    addr: &str,
    step: Step,
    code: i32,
    evidence: &Evidence,
    says: &str,
) -> Cause {
    let error = io::Error::from_raw_os_error(code);
    let mut causes = causes(&attempt(addr, step, &error), evidence);
    assert_eq!(causes.len(), 1, "{causes:?}");
    let cause = causes.remove(0);
    assert_eq!(cause.to_string(), says);
    let name = format!("{cause:?}");
    let name = name.split(|c: char| !c.is_alphanumeric()).next();
    let row = format!(
        "| {} | {situation} | {error} | `` cannot listen on {addr}: {says} `` |",
        name.unwrap_or_default()
    );
    if cfg!(target_env = "gnu") {
        // Another library has other words for an error.
        assert!(DOCS.contains(&row), "docs/diagnosis.md lacks\n{row}");
    }
    cause
}

/// A socket that listens on port 80, without further details.
fn listener_on(ip: impl Into<IpAddr>) -> SocketRow {
    SocketRow {
        protocol: Protocol::Tcp,
        state: SocketState::Listening,
        ip: ip.into(),
        port: 80,
        only_v6: None,
        device: None,
        uid: None,
        inode: 0,
        cgroup: None,
    }
}

fn socket(addr: &str, protocol: Protocol, device: Option<&str>) -> OpenSocket {
    OpenSocket {
        is_open: false,
        addr: addr.parse().expect("an address"),
        protocol,
        only_v6: false,
        freebind: false,
        device: device.map(str::to_owned),
        namespace: Namespace::This,
    }
}

fn link(index: u32, name: &str, master: u32) -> Link {
    Link {
        index,
        name: name.into(),
        up: true,
        running: true,
        master,
        ..Link::default()
    }
}

#[test]
fn address_in_vrf_names_the_vrf() {
    let vrf = Link {
        kind: LinkKind::Vrf,
        ..link(3, "vrf0", 0)
    };
    let evidence = Evidence {
        interfaces: Some(host()),
        links: [(2, link(2, "eth0", 3)), (3, vrf)].into(),
        ..Evidence::default()
    };
    let cause = row(
        "an IPv4 address of an interface in a VRF",
        "192.168.71.67:80",
        Step::Bind,
        EADDRNOTAVAIL,
        &evidence,
        "192.168.71.67 on eth0 belongs to the VRF `vrf0`, but this socket does not",
    );
    assert!(matches!(cause, Cause::InVrf { vrf, .. } if vrf == "vrf0"));
    row(
        "an IPv6 address of an interface in a VRF",
        "[2001:db8:1::10]:80",
        Step::Bind,
        EADDRNOTAVAIL,
        &evidence,
        "2001:db8:1::10 on eth0 belongs to the VRF `vrf0`, but this socket does not",
    );
    // For a socket that is bound to it, this cannot be the cause.
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let bound = Evidence {
        devices: Map::from([(
            "vrf0".to_owned(),
            evidence.links.get(&3).expect("it is known").clone(),
        )]),
        ..evidence.clone()
    };
    let in_it = Attempt {
        device: Some("vrf0"),
        ..attempt("192.168.71.67:80", Step::Bind, &error)
    };
    assert!(matches!(
        causes(&in_it, &bound)[..],
        [Cause::NotTreatedAsLocal(_)]
    ));
    // A bridge is not a VRF.
    let in_none = attempt("192.168.71.67:80", Step::Bind, &error);
    let bridge = Evidence {
        links: [(2, link(2, "eth0", 3)), (3, link(3, "br0", 0))].into(),
        cgroup_device: CgroupDevice::None,
        without_local_route: [in_none.addr.ip()].into(),
        ..evidence
    };
    assert!(matches!(
        causes(&in_none, &bridge)[..],
        [Cause::LocalRouteMissing(_)]
    ));
    // The route may be there, or unreadable.
    let unknown = Evidence {
        without_local_route: Set::new(),
        ..bridge.clone()
    };
    assert!(matches!(
        causes(&in_none, &unknown)[..],
        [Cause::NotTreatedAsLocal(_)]
    ));
    // A cgroup may bind sockets to the VRF, as long as that is unknown.
    let unknown = Evidence {
        cgroup_device: CgroupDevice::Unknown,
        ..bridge
    };
    assert!(matches!(
        causes(&in_none, &unknown)[..],
        [Cause::NotTreatedAsLocal(_)]
    ));
}

#[test]
fn kernel_without_ipv6_differs_from_sandbox() {
    let without = Evidence {
        has_ipv6: Some(false),
        ..Evidence::default()
    };
    let cause = row(
        "a kernel that was built or started without IPv6",
        "[::1]:8080",
        Step::Socket,
        EAFNOSUPPORT,
        &without,
        "the kernel does not support IPv6",
    );
    assert!(matches!(
        cause,
        Cause::FamilyUnavailable {
            why: FamilyUnavailableReason::NoKernelSupport,
            ..
        }
    ));
    let error = io::Error::from_raw_os_error(EAFNOSUPPORT);
    for (evidence, sentence) in [
        (Evidence::default(), "this system has no IPv6"),
        (
            Evidence {
                has_seccomp_filter: Some(true),
                ..Evidence::default()
            },
            "a sandbox denies IPv6 sockets to this process",
        ),
    ] {
        let causes = causes(&attempt("[::]:80", Step::Socket, &error), &evidence);
        assert_eq!(causes[0].to_string(), sentence);
    }
}

#[test]
fn denial_without_seccomp_suggests_cgroup_bpf() {
    let evidence = Evidence {
        has_seccomp_filter: Some(false),
        ..Evidence::default()
    };
    let cause = row(
        "a cgroup BPF program (`SocketBindDeny=`), IPv4",
        "127.0.0.1:8080",
        Step::Bind,
        EPERM,
        &evidence,
        "denied by a BPF program (cgroup or LSM); running as root does not help",
    );
    assert!(matches!(cause, Cause::RefusedByPolicy(Policy::Bpf)));
}

#[test]
fn port_without_visible_holder_is_in_use_by_unknown() {
    let mut evidence = Evidence::default();
    evidence.tcp.are_all = true;
    let cause = row(
        "a port whose socket was closed meanwhile, or is hidden by an older kernel",
        "127.0.0.1:80",
        Step::Bind,
        EADDRINUSE,
        &evidence,
        "the kernel reports port 80 in use, but its socket is not listed (bound without listening, or closed since)",
    );
    assert!(matches!(cause, Cause::InUseByUnknown { port: 80, .. }));
    assert!(cause.is_transient());
}

#[test]
fn system_limits_differ_from_process_limits() {
    let none = Evidence::default();
    row(
        "a system at its limit on open files",
        "127.0.0.1:8080",
        Step::Socket,
        ENFILE,
        &none,
        "the system-wide limit on open files is reached",
    );
    row(
        "a system without memory for sockets",
        "127.0.0.1:80",
        Step::Socket,
        ENOBUFS,
        &none,
        "the kernel has no memory for the socket",
    );
}

#[test]
fn address_that_appeared_is_temporary() {
    let addr: SocketAddr = "192.168.71.67:80".parse().expect("an address");
    let evidence = Evidence {
        interfaces: Some(host()),
        links: [(2, link(2, "eth0", 0))].into(),
        available_now: [addr].into(),
        ..Evidence::default()
    };
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let causes = causes(&attempt("192.168.71.67:80", Step::Bind, &error), &evidence);
    assert_eq!(
        causes[0].to_string(),
        "192.168.71.67 was assigned to this host while binding; retry"
    );
    assert!(causes[0].is_transient());
}

#[test]
fn vrf_device_lacks_addresses_outside_the_vrf() {
    let vrf = Link {
        kind: LinkKind::Vrf,
        ..link(3, "vrf0", 0)
    };
    let evidence = Evidence {
        interfaces: Some(host()),
        links: [(2, link(2, "eth0", 0))].into(),
        devices: Map::from([("vrf0".to_owned(), vrf)]),
        ..Evidence::default()
    };
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let said = |addr: &str, evidence: &Evidence| {
        let attempt = Attempt {
            device: Some("vrf0"),
            ..attempt(addr, Step::Bind, &error)
        };
        causes(&attempt, evidence)[0].to_string()
    };
    assert_eq!(
        said("192.168.71.67:80", &evidence),
        "the server binds this socket to the interface vrf0, which does not have 192.168.71.67; 192.168.71.67 is on eth0"
    );
    assert_eq!(
        said("127.0.0.2:80", &evidence),
        "the server binds this socket to the interface vrf0, which does not have 127.0.0.2; 127.0.0.2 is on lo"
    );
    let inside = Evidence {
        links: [(2, link(2, "eth0", 3))].into(),
        ..evidence
    };
    assert!(said("192.168.71.67:80", &inside).ends_with("but bind(2) does not accept it"));
}

#[test]
fn device_is_no_cause_for_zones_and_foreign_addresses() {
    let device = link(3, "vrf0", 0);
    let vrf = Link {
        kind: LinkKind::Vrf,
        ..device.clone()
    };
    let said = |addr: &str, device: &Link| {
        let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
        let evidence = Evidence {
            interfaces: Some(host()),
            devices: Map::from([("vrf0".to_owned(), device.clone())]),
            ..Evidence::default()
        };
        let attempt = Attempt {
            device: Some("vrf0"),
            ..attempt(addr, Step::Bind, &error)
        };
        causes(&attempt, &evidence)[0].name()
    };
    // The zone says where it is looked for.
    assert_eq!(said("[fe80::77%2]:80", &device), "not-ready");
    assert_eq!(said("198.51.100.1:80", &vrf), "not-on-this-host");
    assert_eq!(said("192.168.71.67:80", &vrf), "on-another-device");
    assert_eq!(said("192.168.71.67:80", &device), "not-treated-as-local");
}

#[test]
fn address_on_vrf_device_names_the_vrf() {
    let vrf = Link {
        kind: LinkKind::Vrf,
        ..link(2, "eth0", 0)
    };
    let evidence = Evidence {
        interfaces: Some(host()),
        links: [(2, vrf)].into(),
        ..Evidence::default()
    };
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let causes = causes(&attempt("192.168.71.67:80", Step::Bind, &error), &evidence);
    assert!(matches!(&causes[0], Cause::InVrf { vrf, .. } if vrf == "eth0"));
}

#[test]
fn ipv6_loopback_is_down_with_its_interface() {
    let name = |running: &[bool], link: Option<Link>| {
        let lo = running.iter().zip(1..).map(|(running, n)| {
            let lo = Interface::new(format!("lo{n}"), n).with_running(*running);
            lo.with_addr([127, 0, 0, 1].into(), 8)
        });
        let evidence = Evidence {
            interfaces: Some(lo.collect()),
            links: link
                .map(|link| (LOOPBACK_INDEX, link))
                .into_iter()
                .collect(),
            ..Evidence::default()
        };
        let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
        causes(&attempt("[::1]:80", Step::Bind, &error), &evidence)[0].name()
    };
    let down = Link {
        up: false,
        ..link(1, "lo", 0)
    };
    // It is more specific than the addresses of interfaces, one of which may be down.
    assert_eq!(name(&[true], Some(down.clone())), "family-unavailable");
    assert_eq!(name(&[], Some(down)), "family-unavailable");
    assert_eq!(name(&[false], Some(link(1, "lo", 0))), "loopback-missing");
    assert_eq!(name(&[true, false], None), "loopback-missing");
    assert_eq!(name(&[false, false], None), "family-unavailable");
    assert_eq!(name(&[], None), "loopback-missing");
}

#[test]
fn address_that_the_kernel_does_not_list_is_not_tentative() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let may_be_tentative = |addr: &str, listed: Option<&str>| {
        let listed = listed.map(|ip| ((ip.parse().expect("an address"), 2), AddrState::Preferred));
        let evidence = Evidence {
            ipv6_addrs: listed.map(|one| [one].into()),
            ..Evidence::default()
        };
        match causes(&attempt(addr, Step::Bind, &error), &evidence)[..] {
            [Cause::AddressUnavailable { may_be_tentative }] => may_be_tentative,
            ref causes => panic!("{causes:?}"),
        }
    };
    assert!(may_be_tentative("[fd00::1]:80", Some("fd00::1")));
    assert!(!may_be_tentative("[fd00::1]:80", Some("fd00::2")));
    assert!(may_be_tentative("[fd00::1]:80", None), "it is not known");
    assert!(!may_be_tentative("10.0.0.1:80", None));
}

#[test]
fn ipv6_causes_do_not_apply_to_ipv4() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let evidence = Evidence {
        interfaces: Some(host()),
        ipv6_switch: Ipv6Switch {
            of_lo: None,
            of_all: Some("all"),
        },
        ..Evidence::default()
    };
    let name = |addr: &str| causes(&attempt(addr, Step::Bind, &error), &evidence)[0].name();
    assert_eq!(name("198.51.100.1:80"), "not-on-this-host");
    assert_eq!(name("[2001:db8:9::1]:80"), "family-unavailable");
}

#[test]
fn unexplained_error_has_no_cause() {
    let name = |addr: &str, step, code| {
        let error = io::Error::from_raw_os_error(code);
        let evidence = Evidence {
            interfaces: Some(host()),
            ..Evidence::default()
        };
        causes(&attempt(addr, step, &error), &evidence)[0].name()
    };
    // An ordinary address needs no zone.
    assert_eq!(name("[2001:db8:1::10]:80", Step::Bind, EINVAL), "other");
    assert_eq!(name("[fe80::77]:80", Step::Bind, EINVAL), "zone-required");
    assert_eq!(
        name("127.0.0.1:80", Step::Option("device"), EPERM),
        "denied"
    );
    assert_eq!(
        name("127.0.0.1:80", Step::Socket, EACCES),
        "family-unavailable"
    );
    let lacking = io::Error::from(io::ErrorKind::Unsupported);
    let attempt = attempt("127.0.0.1:80", Step::Option("freebind"), &lacking);
    assert!(matches!(
        causes(&attempt, &Evidence::default())[..],
        [Cause::UnsupportedOption { option: "freebind" }]
    ));
}

#[test]
fn shared_port_is_not_a_conflict() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let mut evidence = Evidence {
        interfaces: Some(host()),
        ..Evidence::default()
    };
    evidence.tcp.add([SocketRow {
        device: Some(0),
        ..listener_on([198, 51, 100, 1])
    }]);
    let names = |shares_port| -> Vec<&str> {
        let attempt = Attempt {
            shares_port,
            ..attempt("198.51.100.1:80", Step::Bind, &error)
        };
        let causes = causes(&attempt, &evidence);
        causes.iter().map(Cause::name).collect()
    };
    assert_eq!(names(false), ["not-on-this-host", "in-use"]);
    assert_eq!(names(true), ["not-on-this-host"]);
}

#[test]
fn holder_in_unknown_vrf_is_uncertain() {
    let error = io::Error::from_raw_os_error(EADDRINUSE);
    let says = |is_apart: Option<bool>| {
        let mut evidence = Evidence::default();
        evidence.tcp.are_all = true;
        evidence.tcp.apart = [(7, is_apart)].into();
        evidence.tcp.add([SocketRow {
            device: Some(7),
            ..listener_on([127, 0, 0, 1])
        }]);
        causes(&attempt("127.0.0.1:80", Step::Bind, &error), &evidence)[0].to_string()
    };
    let holder = "a socket listens on 127.0.0.1 on 7 only";
    assert_eq!(says(Some(false)), format!("port 80 is in use: {holder}"));
    assert_eq!(
        says(None),
        format!("port 80 is in use, possibly because {holder}")
    );
    assert_eq!(
        says(Some(true)),
        "the kernel reports port 80 in use, but its socket is not listed (bound without listening, or closed since)"
    );
}

#[test]
fn port_held_by_connections_is_temporary() {
    let error = io::Error::from_raw_os_error(EADDRINUSE);
    let in_use = |states: &[SocketState]| {
        let mut evidence = Evidence::default();
        evidence.tcp.are_all = true;
        evidence.tcp.add(states.iter().map(|state| SocketRow {
            state: *state,
            device: Some(0),
            ..listener_on([127, 0, 0, 1])
        }));
        let causes = causes(&attempt("127.0.0.1:80", Step::Bind, &error), &evidence);
        (causes[0].may_resolve_itself(), causes[0].is_transient())
    };
    assert_eq!(in_use(&[SocketState::Connected]), (true, true));
    assert_eq!(in_use(&[SocketState::Listening]), (false, false));
    assert_eq!(
        in_use(&[SocketState::Connected, SocketState::Listening]),
        (false, false)
    );
}

#[test]
fn next_conflict_of_a_range_needs_all_its_ports() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let next = |ports: &[u16]| {
        let mut evidence = Evidence {
            interfaces: Some(host()),
            ..Evidence::default()
        };
        evidence.tcp.add(ports.iter().map(|port| SocketRow {
            port: *port,
            device: Some(0),
            ..listener_on([0, 0, 0, 0])
        }));
        let range = Attempt {
            ports: (80, 81),
            ..attempt("198.51.100.1:80", Step::Bind, &error)
        };
        let causes = causes(&range, &evidence).into_iter();
        causes.map(|cause| cause.name()).collect::<Vec<_>>()
    };
    assert_eq!(next(&[80]), ["not-on-this-host"]);
    assert_eq!(next(&[80, 81]), ["not-on-this-host", "range-in-use"]);
}

#[test]
fn forecast_contains_only_certain_conflicts() {
    let row = |ip: [u8; 4], state, device| SocketRow {
        state,
        device,
        ..listener_on(ip)
    };
    let foreseen = |row: SocketRow, device| {
        let mut sockets = Sockets::default();
        sockets.add([row]);
        let claim = Claim::new(
            [127, 0, 0, 1].into(),
            true,
            crate::target::DeviceIndex::of(device),
        );
        sockets.foreseen(claim, 80).first.len()
    };
    assert_eq!(
        foreseen(row([127, 0, 0, 1], SocketState::Listening, Some(0)), 0),
        1
    );
    let udp = SocketRow {
        protocol: Protocol::Udp,
        ..row([127, 0, 0, 1], SocketState::Bound, Some(0))
    };
    assert_eq!(foreseen(udp, 0), 1);
    assert_eq!(
        foreseen(row([127, 0, 0, 1], SocketState::Bound, Some(0)), 0),
        0
    );
    assert_eq!(
        foreseen(row([127, 0, 0, 1], SocketState::Connected, Some(0)), 0),
        0
    );
    assert_eq!(
        foreseen(row([127, 0, 0, 1], SocketState::TimeWait, Some(0)), 0),
        0
    );
    // The device of a socket in a row of /proc is unknown.
    assert_eq!(
        foreseen(row([127, 0, 0, 1], SocketState::Listening, None), 0),
        1
    );
    assert_eq!(
        foreseen(row([127, 0, 0, 1], SocketState::Listening, None), 2),
        0
    );
    assert_eq!(
        foreseen(row([127, 0, 0, 1], SocketState::Listening, Some(3)), 2),
        0
    );
}

#[test]
fn denied_port_is_explained_by_known_limits() {
    let error = io::Error::from_raw_os_error(EACCES);
    let because = |limit, capability| {
        let evidence = Evidence {
            first_unprivileged_port: limit,
            capability,
            has_seccomp_filter: Some(false),
            ..Evidence::default()
        };
        let mut causes = causes(&attempt("127.0.0.1:80", Step::Bind, &error), &evidence);
        assert_eq!(causes.len(), 1);
        causes.remove(0)
    };
    let lacking = Capability::Missing;
    assert!(matches!(
        because(Some(1024), Some(lacking)),
        Cause::PrivilegedPort {
            limit: Some(1024),
            privilege: Privilege::Missing,
            ..
        }
    ));
    let is_policy = |cause| matches!(cause, Cause::RefusedByPolicy(Policy::SecurityModule));
    assert!(is_policy(because(Some(1024), Some(Capability::Effective))));
    assert!(is_policy(because(Some(80), Some(lacking))));
    assert!(matches!(
        because(Some(1024), Some(Capability::Uncertain)),
        Cause::Denied { .. }
    ));
    // A limit that cannot be read is likely what Linux begins with.
    let unread = because(None, Some(lacking));
    assert!(matches!(unread, Cause::PrivilegedPort { limit: None, .. }));
    assert_eq!(
        unread.to_string(),
        "port 80 is probably privileged (below 1024 by default) and this process lacks CAP_NET_BIND_SERVICE; use port 1024 or higher"
    );
    assert!(matches!(because(None, None), Cause::Denied { .. }));
    let above = Evidence {
        capability: Some(lacking),
        ..Evidence::default()
    };
    let above = causes(&attempt("127.0.0.1:1024", Step::Bind, &error), &above);
    assert!(matches!(above[..], [Cause::Denied { .. }]));
    assert!(is_policy(because(None, Some(Capability::Effective))));
    let filtered = Evidence {
        has_seccomp_filter: Some(true),
        first_unprivileged_port: Some(80),
        ..Evidence::default()
    };
    let causes = causes(&attempt("127.0.0.1:80", Step::Bind, &error), &filtered);
    assert!(matches!(
        causes[..],
        [Cause::RefusedByPolicy(Policy::SecurityModuleOrFilter)]
    ));
}

#[test]
fn process_name_is_escaped() {
    let process = Process {
        is_this: false,
        pid: 4711,
        uid: Some(34),
        command: Some("\u{1b}[2Jx\n\u{202e}".into()),
        children: 0,
        is_of_unit: false,
    };
    let row = SocketRow {
        uid: Some(33),
        inode: 7,
        ..listener_on([0, 0, 0, 0])
    };
    let mut evidence = Evidence::default();
    evidence.tcp.add([row]);
    evidence.tcp.processes = Map::from([(7, process)]);
    let error = io::Error::from_raw_os_error(EADDRINUSE);
    let causes = causes(&attempt("0.0.0.0:80", Step::Bind, &error), &evidence);
    assert_eq!(
        causes[0].to_string(),
        "port 80 is in use: `\\u{1b}[2Jx\\n\\u{202e}` (pid 4711, uid 34) listens on 0.0.0.0"
    );
}

#[test]
fn unreadable_evidence_yields_no_warning() {
    let tcp = socket("198.51.100.1:80", Protocol::Tcp, None);
    let nothing = AddrFacts::default();
    assert_eq!(warnings_on(&tcp, &nothing), []);
    let somewhere = AddrFacts {
        interfaces: Some(host()),
        ..AddrFacts::default()
    };
    let notes = warnings_on(&tcp, &somewhere);
    assert!(matches!(
        notes[..],
        [WarningKind::NotListed {
            why: BindableReason::Unknown,
            ..
        }]
    ));
    // The lack of IPv6 addresses is a warning about wildcards only.
    let without_ipv6 = AddrFacts {
        has_no_ipv6: true,
        ..somewhere.clone()
    };
    let names = |addr: &str| {
        let only_v6 = OpenSocket {
            only_v6: true,
            ..socket(addr, Protocol::Tcp, None)
        };
        let warnings = warnings_on(&only_v6, &without_ipv6).into_iter();
        warnings.map(|kind| kind.name()).collect::<Vec<_>>()
    };
    assert_eq!(names("[::]:80"), ["no-address"]);
    assert_eq!(names("[2001:db8:9::1]:80"), ["not-listed"]);
    // To receive over UDP is what only an address of many is for.
    let udp = socket("198.51.100.1:80", Protocol::Udp, None);
    assert_eq!(warnings_on(&udp, &somewhere).len(), 1);
}

#[test]
fn wildcard_success_reads_no_reason() {
    // An address by its route alone.
    let addr = "127.0.0.2:80".parse().expect("an address");
    let around = AddrFacts::read(addr, None, Some(&host()));
    assert!(around.is_routed.is_none() && around.interfaces.is_some());
}

#[test]
fn only_link_local_addresses_get_a_zone_hint() {
    let holder = |ip: &str, device| {
        let row = SocketRow {
            device: Some(device),
            ..listener_on(ip.parse::<IpAddr>().expect("an address"))
        };
        let mut sockets = Sockets::default();
        sockets.add([row.clone()]);
        match sockets.held(
            Claim::new(row.ip, false, crate::target::DeviceIndex::of(device)),
            80,
        ) {
            Held::By(holders) => holders.first[0].addr().to_string(),
            held => panic!("{held:?}"),
        }
    };
    assert_eq!(holder("fe80::77", 2), "[fe80::77%2]:80");
    assert_eq!(holder("2001:db8:1::10", 2), "[2001:db8:1::10]:80");
}

#[test]
fn sentence_stays_short_with_10000_interfaces() {
    let ip = "fe80::77".parse().expect("an address");
    let many = (1..=10_000).map(|n| Interface::new(format!("eth{n}"), n).with_addr(ip, 64));
    let evidence = Evidence {
        interfaces: Some(many.collect()),
        ..Evidence::default()
    };
    for (step, code, addr) in [
        (Step::Bind, EINVAL, "[fe80::77]:80"),
        (Step::Bind, ENODEV, "[fe80::77%77777]:80"),
        (Step::Bind, EADDRNOTAVAIL, "[fe80::77%77777]:80"),
        (Step::Bind, EADDRNOTAVAIL, "[fe80::77]:80"),
        (Step::Option("device"), ENODEV, "[fe80::77]:80"),
    ] {
        let error = io::Error::from_raw_os_error(code);
        let attempt = Attempt {
            device: Some("eth77777"),
            ..attempt(addr, step, &error)
        };
        let sentence = causes(&attempt, &evidence)[0].to_string();
        assert!(sentence.len() < 400, "{sentence}");
    }
}

#[test]
fn device_can_have_loopback_addresses() {
    let localhost = IpAddr::from([127, 0, 0, 1]);
    let lo = Interface::new("lo", 1).with_addr(localhost, 8);
    let eth0 = Interface::new("eth0", 2).with_addr([10, 0, 0, 1].into(), 8);
    let vrf0 = Interface::new("vrf0", 3).with_addr(localhost, 8);
    let around = AddrFacts {
        interfaces: Some([lo, eth0, vrf0.with_loopback(false)].into_iter().collect()),
        ..AddrFacts::default()
    };
    let on = |device| socket("127.0.0.1:80", Protocol::Tcp, Some(device));
    let count = |device| warnings_on(&on(device), &around).len();
    // The last one is another name of one of them, maybe.
    assert_eq!(["lo", "eth0", "vrf0", "lan0"].map(count), [0, 1, 0, 0]);
}
