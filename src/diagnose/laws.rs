//! What must hold of the decision, whatever the host says: for the property tests, and for the fuzz targets.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::evidence::{Evidence, Kernel};
use super::sockets::Sockets;
use super::{
    Attempt, Cause, Diagnosis, Errno, HintKind, Policy, Step, System, Unavailable, causes,
    diagnose, hint,
};
use crate::interfaces::{AddrState, Interface, Interfaces};
use crate::listen::{ListenAddr, has_zone};
use crate::sys::{Capability, Ipv6Switch, Link, LinkKind, Process, SocketRow, SocketState};
use crate::target::Protocol;

/// What Linux takes for the name of an interface, or of a process, all the same.
const ODD_NAME: &str = "\u{1b}[2J\n\u{202e}";

/// A kernel that tells nothing.
pub(super) struct Nobody;

impl Kernel for Nobody {
    fn try_address(&self, _: SocketAddr) -> Result<(), (Step, io::Error)> {
        Err((Step::Bind, io::ErrorKind::Unsupported.into()))
    }

    fn device_of_new_sockets(&self) -> io::Result<Option<String>> {
        Ok(None)
    }
}

pub(super) fn attempt<'a>(addr: &str, step: Step, error: &'a io::Error) -> Attempt<'a> {
    let addr: SocketAddr = addr.parse().expect("an address");
    Attempt {
        protocol: Protocol::Tcp,
        addr,
        only_v6: false,
        device: None,
        kernel: &Nobody,
        shares_port: false,
        freebind: false,
        only_v6_option: false,
        written: None,
        ports: (addr.port(), addr.port()),
        no_port_left: false,
        before: None,
        beside: None,
        dead: None,
        refused: Some((step, error)),
    }
}

pub(super) fn host() -> Interfaces {
    let ip = |text: &str| text.parse().expect("an address");
    [
        Interface::new("lo", 1).with_addr(ip("127.0.0.1"), 8),
        Interface::new("eth0", 2)
            .with_addr(ip("192.168.71.67"), 16)
            .with_addr(ip("2001:db8:1::10"), 64)
            .with_addr(ip("fe80::77"), 64),
        Interface::new("vrf0", 3),
    ]
    .into_iter()
    .collect()
}

/// The made-up host, with an interface that has addresses of the others' subnets and an odd name.
fn odd_host() -> Interfaces {
    let odd = Interface::new(ODD_NAME, 4)
        .with_addr(IpAddr::from([192, 168, 71, 69]), 16)
        .with_addr("fe80::78".parse().expect("an address"), 64);
    host().iter().cloned().chain([odd]).collect()
}

/// Addresses around those of the made-up host, and their ports.
fn addrs() -> impl Strategy<Value = SocketAddr> {
    let ips = prop_oneof![
        Just("0.0.0.0"),
        Just("127.0.0.1"),
        Just("192.168.71.67"),
        Just("192.168.71.68"),
        Just("8.8.8.8"),
        Just("::"),
        Just("::1"),
        Just("::ffff:192.168.71.67"),
        Just("2001:db8:1::10"),
        Just("2001:db8:1::11"),
        Just("fe80::77"),
        Just("fe80::78"),
    ];
    (ips, prop_oneof![Just(0u16), Just(80), Just(8080)], 0..4u32).prop_map(|(ip, port, zone)| {
        let ip: IpAddr = ip.parse().expect("an address");
        let zone = match ip {
            IpAddr::V6(v6) if has_zone(v6) => zone,
            _ => 0,
        };
        crate::target::socket_addr(ip, zone, port)
    })
}

fn rows() -> impl Strategy<Value = Vec<SocketRow>> {
    let state = prop_oneof![
        Just((Protocol::Tcp, SocketState::Listening)),
        Just((Protocol::Udp, SocketState::Bound)),
        Just((Protocol::Tcp, SocketState::Bound)),
        Just((Protocol::Tcp, SocketState::TimeWait)),
        Just((Protocol::Tcp, SocketState::Connected)),
    ];
    let row = (
        addrs(),
        state,
        any::<Option<bool>>(),
        0..4u32,
        any::<Option<u32>>(),
        0..9u64,
    )
        .prop_map(
            |(addr, (protocol, state), only_v6, device, uid, inode)| SocketRow {
                protocol,
                state,
                ip: addr.ip(),
                port: addr.port(),
                only_v6,
                device: device.checked_sub(1),
                uid,
                inode,
            },
        );
    prop::collection::vec(row, 0..6)
}

fn odd_process(inode: u64) -> Process {
    Process {
        is_this: inode == 1,
        pid: 4711,
        uid: Some(33),
        command: Some(ODD_NAME.into()),
    }
}

fn evidence() -> impl Strategy<Value = Evidence> {
    let link = (any::<bool>(), any::<bool>(), 0..4u32, any::<bool>()).prop_map(
        |(up, running, master, is_vrf)| Link {
            index: 0,
            name: ODD_NAME.into(),
            up,
            running,
            master,
            ends_elsewhere: false,
            kind: if is_vrf {
                LinkKind::Vrf
            } else {
                LinkKind::Other
            },
        },
    );
    let links = prop::collection::vec((1..4u32, link), 0..4);
    let links = links.prop_map(|links| links.into_iter().collect());
    let state = prop_oneof![
        Just(AddrState::Preferred),
        Just(AddrState::Tentative),
        Just(AddrState::Duplicate)
    ];
    let capability = prop_oneof![
        Just(Capability::Effective),
        Just(Capability::Uncertain),
        Just(Capability::Missing),
        Just(Capability::InAnotherUserNamespace),
    ];
    let system = prop_oneof![
        Just(System::Linux),
        Just(System::Darwin),
        Just(System::Unix),
        Just(System::Windows),
    ];
    let sockets = (rows(), any::<bool>()).prop_map(|(rows, are_all)| {
        let mut sockets = Sockets::default();
        sockets.processes = (1..9).map(|inode| (inode, odd_process(inode))).collect();
        sockets.add(rows);
        sockets.are_all = are_all;
        sockets
    });
    (
        (
            any::<bool>(),
            prop::option::of(state),
            links,
            any::<Option<bool>>(),
        ),
        (
            sockets,
            prop::option::of(capability),
            prop::option::of(0..9000u16),
        ),
        (
            any::<Option<bool>>(),
            any::<Option<u64>>(),
            any::<bool>(),
            system,
        ),
    )
        .prop_map(|(addresses, ports, rest)| {
            let (has_host, state, links, has_ipv6) = addresses;
            let (tcp, capability, first_unprivileged_port) = ports;
            let (has_seccomp_filter, open_files, switched_off, system) = rest;
            let own: Ipv6Addr = "2001:db8:1::10".parse().expect("an address");
            Evidence {
                system,
                interfaces: has_host.then(odd_host),
                ipv6_addrs: state.map(|state| [((own, 2), state)].into()),
                has_ipv6,
                ipv6_switch: Ipv6Switch {
                    of_lo: switched_off.then_some("lo"),
                    of_all: switched_off.then_some("all"),
                },
                links,
                tcp,
                first_unprivileged_port,
                capability,
                has_seccomp_filter,
                open_files,
                ..Evidence::default()
            }
        })
}

fn failures() -> impl Strategy<Value = (Step, i32)> {
    let step = prop_oneof![
        Just(Step::Socket),
        Just(Step::Option("device")),
        Just(Step::Bind),
        Just(Step::Listen),
        Just(Step::Name),
    ];
    (step, prop_oneof![0..=63i32, 90..=112i32, 10000..=10060i32])
}

/// The cause of the system's own error comes first, and no cause twice.
fn the_decision(
    addr: SocketAddr,
    (step, code): (Step, i32),
    evidence: &Evidence,
) -> TestCaseResult {
    let error = io::Error::from_raw_os_error(code);
    let attempt = attempt(&addr.to_string(), step, &error);
    let Diagnosis { causes, hints } = diagnose(&attempt, evidence);
    prop_assert!(!causes.is_empty());
    let hints: Vec<String> = hints.iter().map(ToString::to_string).collect();
    let mut kinds: Vec<_> = causes.iter().map(std::mem::discriminant).collect();
    kinds.dedup();
    prop_assert_eq!(kinds.len(), causes.len(), "{:?}", &causes);
    for cause in &causes {
        let sentence = cause.to_string();
        prop_assert!(!sentence.is_empty() && !sentence.contains("os error"));
        prop_assert!(!sentence.ends_with('.'));
        // Nothing that was read draws on a terminal, or begins a line of its own.
        for told in hints.iter().chain([&sentence]) {
            let is_odd = |c: char| c.is_control() || c == '\u{202e}';
            prop_assert!(!told.contains(is_odd), "{:?}", told);
        }
    }
    // A cause of an address is not named for another error, and the other way about.
    let first = &causes[0];
    match (Errno::of(&error), step) {
        (Errno::InUse, Step::Bind | Step::Listen) => prop_assert!(
            matches!(
                first,
                Cause::InUse { .. }
                    | Cause::TimeWait { .. }
                    | Cause::HeldInvisibly { .. }
                    | Cause::EphemeralPortsExhausted { .. }
            ),
            "{:?}",
            first
        ),
        (Errno::AccessDenied | Errno::NotPermitted, _) => prop_assert!(
            matches!(
                first,
                Cause::PrivilegedPort { .. }
                    | Cause::RefusedByPolicy(_)
                    | Cause::Denied { .. }
                    | Cause::FamilyUnavailable {
                        why: Unavailable::Refused(_),
                        ..
                    }
            ),
            "{:?}",
            first
        ),
        (Errno::Unknown, _) => prop_assert!(matches!(first, Cause::Other { .. }), "{:?}", first),
        _ => prop_assert!(
            !matches!(
                first,
                Cause::InUse { .. } | Cause::PrivilegedPort { .. } | Cause::TimeWait { .. }
            ),
            "{:?}",
            first
        ),
    }
    Ok(())
}

/// A setting to write instead is read, and opens no more than what was written unless that is said.
fn the_advice(
    addr: SocketAddr,
    (step, code): (Step, i32),
    evidence: &Evidence,
    only_v6_option: bool,
) -> TestCaseResult {
    let error = io::Error::from_raw_os_error(code);
    let written = ListenAddr::from(addr);
    let attempt = Attempt {
        written: Some(&written),
        only_v6_option,
        ..attempt(&addr.to_string(), step, &error)
    };
    let mut evidence = evidence.clone();
    if let Some(host) = &evidence.interfaces {
        // A kernel that binds them all.
        let mut bindable = hint::candidates(&attempt, None, host);
        for addr in &mut bindable {
            addr.set_port(0);
        }
        evidence.bindable.extend(bindable);
    }
    let host = evidence.interfaces.clone().unwrap_or_default();
    let exposure = |text: &ListenAddr| {
        let targets = text.resolve(&host).unwrap_or_default();
        targets.iter().map(|target| target.exposure(&host)).max()
    };
    for hint in diagnose(&attempt, &evidence).hints {
        let Some(replacement) = hint.replacement() else {
            continue;
        };
        prop_assert!(
            hint.text().contains(&format!("`{replacement}`")),
            "{:?}",
            hint
        );
        let setting = replacement.parse::<ListenAddr>();
        prop_assert!(setting.is_ok(), "{:?}", hint);
        let setting = setting.expect("it is read");
        prop_assert_eq!(setting.ports(), written.ports());
        prop_assert!(setting != written, "{:?}", hint);
        match hint.kind() {
            HintKind::Replace => {
                prop_assert!(exposure(&setting) <= exposure(&written), "{:?}", hint);
            }
            kind => {
                prop_assert_eq!(kind, HintKind::Widen);
                prop_assert!(hint.text().contains("open"), "{:?}", hint);
            }
        }
    }
    Ok(())
}

/// A holder that is named conflicts with the attempt.
fn the_holders(addr: SocketAddr, (step, code): (Step, i32), evidence: &Evidence) -> TestCaseResult {
    let error = io::Error::from_raw_os_error(code);
    let attempt = attempt(&addr.to_string(), step, &error);
    for cause in causes(&attempt, evidence) {
        let Cause::InUse { holders, port, .. } = cause else {
            continue;
        };
        prop_assert_eq!(port, addr.port());
        for holder in holders {
            let claim = evidence.claim(&attempt);
            let mut rows = evidence.tcp.in_the_way(claim, port);
            let is_it = |(row, _): (&SocketRow, crate::Overlap)| {
                row.ip.to_canonical() == holder.addr().ip()
            };
            prop_assert!(rows.any(is_it), "{:?} is none of the sockets", holder);
            let wildcards = [addr.ip(), holder.addr().ip()]
                .iter()
                .any(IpAddr::is_unspecified);
            prop_assert!(wildcards || addr.ip().to_canonical() == holder.addr().ip());
        }
    }
    Ok(())
}

/// Nothing is made up.
fn the_silence(addr: SocketAddr, (step, code): (Step, i32)) -> TestCaseResult {
    let error = io::Error::from_raw_os_error(code);
    let causes = causes(
        &attempt(&addr.to_string(), step, &error),
        &Evidence::default(),
    );
    prop_assert_eq!(causes.len(), 1, "{:?}", &causes);
    let says_too_much = match &causes[0] {
        Cause::InUse { holders, .. } => !holders.is_empty(),
        Cause::ZoneRequired { candidates, .. } => candidates.is_some(),
        Cause::NoSuchZone { zones, .. } => !zones.is_empty(),
        Cause::NoSuchDevice { known, .. } => known.is_some(),
        Cause::TooManyOpenFiles { open, .. } => open.is_some(),
        Cause::EphemeralPortsExhausted { range, .. } => range.is_some(),
        // An internet socket needs no privilege, so the number of the error says that much.
        Cause::FamilyUnavailable { why, .. } => !matches!(
            why,
            Unavailable::Unknown
                | Unavailable::Refused(Policy::SecurityModuleOrFilter | Policy::Filter)
        ),
        Cause::RefusedByPolicy(policy) => {
            let port_0 = addr.port() == 0 && *policy == Policy::SecurityModuleOrFilter;
            *policy != Policy::Filter && !port_0
        }
        Cause::AddressUnavailable
        | Cause::MappedOnV6Only { .. }
        | Cause::Denied { .. }
        | Cause::TooManyOpenFilesInSystem
        | Cause::OutOfMemory
        | Cause::Other { .. } => false,
        _ => true,
    };
    prop_assert!(!says_too_much, "{:?}", &causes[0]);
    Ok(())
}

#[cfg(test)]
proptest! {
    #[test]
    fn the_system_s_own_error_comes_first_and_no_cause_twice(
        addr in addrs(),
        failure in failures(),
        evidence in evidence(),
    ) {
        the_decision(addr, failure, &evidence)?;
    }

    #[test]
    fn replacement_parses_and_widens_only_when_stated(
        addr in addrs(),
        failure in failures(),
        evidence in evidence(),
        only_v6 in any::<bool>(),
    ) {
        the_advice(addr, failure, &evidence, only_v6)?;
    }

    #[test]
    fn a_holder_is_in_the_way(addr in addrs(), failure in failures(), evidence in evidence()) {
        the_holders(addr, failure, &evidence)?;
    }

    #[test]
    fn without_evidence_nothing_is_made_up(addr in addrs(), failure in failures()) {
        the_silence(addr, failure)?;
    }
}

/// The same for a fuzzer, whose bytes decide what is made up.
#[cfg(fuzzing)]
#[allow(missing_docs)]
pub mod fuzzing {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::{addrs, evidence, failures, the_advice, the_decision, the_holders, the_silence};

    pub fn readers(bytes: &[u8]) {
        crate::sys::parsers_accept_any_bytes(bytes);
    }

    pub fn causes(bytes: &[u8]) {
        // As a seed; taken for the random numbers themselves they have no end of some.
        let mut seed = [0; 32];
        for (n, byte) in bytes.iter().enumerate() {
            seed[n % 32] ^= byte;
        }
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let Ok(tree) = (addrs(), failures(), evidence()).new_tree(&mut runner) else {
            return;
        };
        let (addr, failure, evidence) = tree.current();
        let laws = the_decision(addr, failure, &evidence)
            .and_then(|()| the_advice(addr, failure, &evidence, bytes.len() % 2 == 0))
            .and_then(|()| the_holders(addr, failure, &evidence))
            .and_then(|()| the_silence(addr, failure));
        assert!(laws.is_ok(), "{addr} {failure:?} {evidence:?}: {laws:?}");
    }
}
