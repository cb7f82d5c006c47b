//! Invariants of the decision on arbitrary evidence, for the property tests and the fuzz targets.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::evidence::{AddrProbe, Evidence};
use super::sockets::Sockets;
use super::{Attempt, Errno, System, causes, diagnose, hints};
use crate::addr::{ListenAddr, is_link_scoped};
use crate::diagnosis::{Cause, Diagnosis, FamilyUnavailableReason, HintKind, Policy, Step};
use crate::interfaces::{AddrState, Interface, Interfaces};
use crate::sys::{Capability, Ipv6Switch, Link, LinkKind, Process, SocketRow, SocketState};
use crate::target::Protocol;

/// A name that a terminal must not get as it is.
const ODD_NAME: &str = "\u{1b}[2J\n\u{202e}";

/// A kernel that answers nothing.
pub(super) struct Nobody;

impl AddrProbe for Nobody {
    fn probe(&self, _: Protocol, _: SocketAddr) -> Result<(), (Step, io::Error)> {
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
        group: None,
        handed_over: None,
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

/// Draws values from bytes: those of a property test, or of a fuzzer. After the last byte it draws
/// zeros.
struct Draw<'a>(&'a [u8]);

impl Draw<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// Draws a number that is less than `end`.
    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| draw(self))
    }

    fn one_of<T: Copy, const N: usize>(&mut self, all: [T; N]) -> T {
        all[usize::from(self.byte()) % N]
    }

    fn many<T>(&mut self, end: u8, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(end)).map(|_| draw(self)).collect()
    }

    /// Draws an address around those of the made-up host, and its port.
    fn addr(&mut self) -> SocketAddr {
        let ip = self.one_of([
            "0.0.0.0",
            "127.0.0.1",
            "192.168.71.67",
            "192.168.71.68",
            "8.8.8.8",
            "::",
            "::1",
            "::ffff:192.168.71.67",
            "2001:db8:1::10",
            "2001:db8:1::11",
            "fe80::77",
            "fe80::78",
        ]);
        let ip: IpAddr = ip.parse().expect("an address");
        let port = self.one_of([0, 80, 8080]);
        let zone = match ip {
            IpAddr::V6(v6) if is_link_scoped(v6) => self.below(4),
            _ => 0,
        };
        crate::target::socket_addr(ip, zone.into(), port)
    }

    fn row(&mut self) -> SocketRow {
        let addr = self.addr();
        let (protocol, state) = self.one_of([
            (Protocol::Tcp, SocketState::Listening),
            (Protocol::Udp, SocketState::Bound),
            (Protocol::Tcp, SocketState::Bound),
            (Protocol::Tcp, SocketState::TimeWait),
            (Protocol::Tcp, SocketState::Connected),
        ]);
        SocketRow {
            protocol,
            state,
            ip: addr.ip(),
            port: addr.port(),
            only_v6: self.maybe(Self::flag),
            device: u32::from(self.below(4)).checked_sub(1),
            uid: self.maybe(Self::number),
            inode: self.below(9).into(),
            cgroup: None,
        }
    }

    fn sockets(&mut self) -> Sockets {
        let mut sockets = Sockets::default();
        sockets.processes = (1..9).map(|inode| (inode, odd_process(inode))).collect();
        sockets.add(self.many(6, Self::row));
        sockets.are_all = self.flag();
        sockets
    }

    fn link(&mut self) -> Link {
        Link {
            mtu: 1500,
            index: 0,
            name: ODD_NAME.into(),
            up: self.flag(),
            running: self.flag(),
            master: self.below(4).into(),
            ends_elsewhere: false,
            kind_name: String::new(),
            kind: self.one_of([LinkKind::Vrf, LinkKind::Other]),
        }
    }

    fn evidence(&mut self) -> Evidence {
        let own: Ipv6Addr = "2001:db8:1::10".parse().expect("an address");
        let dad = [
            AddrState::Preferred,
            AddrState::Tentative,
            AddrState::Duplicate,
        ];
        let switched_off = self.flag();
        Evidence {
            system: self.one_of([System::Linux, System::Darwin, System::Unix, System::Windows]),
            interfaces: self.flag().then(odd_host),
            ipv6_addrs: self.maybe(|draw| [((own, 2), draw.one_of(dad))].into()),
            has_ipv6: self.maybe(Self::flag),
            ipv6_switch: Ipv6Switch {
                of_lo: switched_off.then_some("lo"),
                of_all: switched_off.then_some("all"),
            },
            links: self
                .many(4, |draw| (1 + u32::from(draw.below(3)), draw.link()))
                .into_iter()
                .collect(),
            first_unprivileged_port: self.maybe(|draw| draw.one_of([0, 80, 81, 1024, 8081])),
            capability: self.maybe(|draw| {
                draw.one_of([
                    Capability::Effective,
                    Capability::Uncertain,
                    Capability::Missing,
                    Capability::InAnotherUserNamespace,
                ])
            }),
            has_seccomp_filter: self.maybe(Self::flag),
            open_files: self.maybe(|draw| draw.number().into()),
            tcp: self.sockets(),
            ..Evidence::default()
        }
    }

    /// Draws the step that failed, and the number of its error: of Linux, of the other Unix systems
    /// or of Winsock.
    fn failure(&mut self) -> (Step, i32) {
        let step = self.one_of([
            Step::Socket,
            Step::Option("device"),
            Step::Bind,
            Step::Listen,
            Step::GetSockName,
            Step::Register,
        ]);
        let code = match self.below(6) {
            0 => i32::from(self.below(64)),
            1 => 90 + i32::from(self.below(23)),
            2 => 10_000 + i32::from(self.below(61)),
            // Those of Linux that have causes of their own.
            _ => self.one_of([1, 12, 13, 19, 22, 23, 24, 97, 98, 99]),
        };
        (step, code)
    }
}

fn odd_process(inode: u64) -> Process {
    Process {
        is_this: inode == 1,
        pid: 4711,
        uid: Some(33),
        command: Some(ODD_NAME.into()),
        children: 0,
        is_of_unit: false,
    }
}

/// The cause of the system's own error comes first, and no cause twice.
fn the_decision(addr: SocketAddr, (step, code): (Step, i32), evidence: &Evidence) {
    let error = io::Error::from_raw_os_error(code);
    let attempt = attempt(&addr.to_string(), step, &error);
    let Diagnosis { causes, hints } = diagnose(&attempt, evidence);
    assert!(!causes.is_empty());
    let hints: Vec<String> = hints.iter().map(ToString::to_string).collect();
    let mut kinds: Vec<_> = causes.iter().map(std::mem::discriminant).collect();
    kinds.dedup();
    assert_eq!(kinds.len(), causes.len(), "{:?}", &causes);
    for cause in &causes {
        let sentence = cause.to_string();
        assert!(!sentence.is_empty() && !sentence.contains("os error"));
        assert!(!sentence.ends_with('.'));
        // Nothing that was read draws on a terminal, or begins a line of its own.
        for told in hints.iter().chain([&sentence]) {
            let is_odd = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!told.contains(is_odd), "{told:?}");
        }
    }
    // A cause of an address is not named for another error, and the other way about.
    let first = &causes[0];
    match (Errno::of(&error), step) {
        (Errno::InUse, Step::Bind | Step::Listen) => assert!(
            matches!(
                first,
                Cause::InUse { .. }
                    | Cause::TimeWait { .. }
                    | Cause::InUseByUnknown { .. }
                    | Cause::EphemeralPortsExhausted { .. }
            ),
            "{first:?}"
        ),
        (Errno::AccessDenied | Errno::NotPermitted, _) => assert!(
            matches!(
                first,
                Cause::PrivilegedPort { .. }
                    | Cause::RefusedByPolicy(_)
                    | Cause::Denied { .. }
                    | Cause::FamilyUnavailable {
                        why: FamilyUnavailableReason::Refused(_),
                        ..
                    }
            ),
            "{first:?}"
        ),
        (Errno::Unknown, _) => assert!(matches!(first, Cause::Other { .. }), "{first:?}"),
        _ => assert!(
            !matches!(
                first,
                Cause::InUse { .. } | Cause::PrivilegedPort { .. } | Cause::TimeWait { .. }
            ),
            "{first:?}"
        ),
    }
}

/// A setting to write instead is read, and opens no more than what was written unless that is said.
fn the_advice(
    addr: SocketAddr,
    (step, code): (Step, i32),
    only_v6_option: bool,
    evidence: &Evidence,
) {
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
        let mut bindable = hints::candidates(&attempt, None, host);
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
        assert!(
            hint.text().contains(&format!("`{replacement}`")),
            "{hint:?}"
        );
        let setting = replacement.parse::<ListenAddr>();
        assert!(setting.is_ok(), "{hint:?}");
        let setting = setting.expect("it is read");
        assert_eq!(setting.ports(), written.ports());
        assert!(setting != written, "{hint:?}");
        match hint.kind() {
            HintKind::Replace => {
                assert!(exposure(&setting) <= exposure(&written), "{hint:?}");
            }
            kind => {
                assert_eq!(kind, HintKind::Widen);
                assert!(
                    ["reachable from", "opens the port to", "more clients"]
                        .iter()
                        .any(|words| hint.text().contains(words)),
                    "{hint:?}"
                );
            }
        }
    }
}

/// A holder that is named conflicts with the attempt.
fn the_holders(addr: SocketAddr, (step, code): (Step, i32), evidence: &Evidence) {
    let error = io::Error::from_raw_os_error(code);
    let attempt = attempt(&addr.to_string(), step, &error);
    for cause in causes(&attempt, evidence) {
        let Cause::InUse { holders, port, .. } = cause else {
            continue;
        };
        assert_eq!(port, addr.port());
        for holder in holders {
            let claim = evidence.claim(&attempt);
            let rows = evidence.tcp.in_the_way(claim, port);
            let is_it = |(row, _): &(&SocketRow, crate::target::Overlap)| {
                row.ip.to_canonical() == holder.addr().ip()
            };
            assert!(
                rows.iter().any(is_it),
                "{holder:?} is not one of the sockets"
            );
            let wildcards = [addr.ip(), holder.addr().ip()]
                .iter()
                .any(IpAddr::is_unspecified);
            assert!(wildcards || addr.ip().to_canonical() == holder.addr().ip());
        }
    }
}

/// Nothing is made up.
fn the_silence(addr: SocketAddr, (step, code): (Step, i32)) {
    let error = io::Error::from_raw_os_error(code);
    let causes = causes(
        &attempt(&addr.to_string(), step, &error),
        &Evidence::default(),
    );
    assert_eq!(causes.len(), 1, "{:?}", &causes);
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
            FamilyUnavailableReason::Unknown
                | FamilyUnavailableReason::Refused(Policy::SecurityModuleOrFilter | Policy::Filter)
        ),
        Cause::RefusedByPolicy(policy) => {
            let port_0 = addr.port() == 0 && *policy == Policy::SecurityModuleOrFilter;
            *policy != Policy::Filter && !port_0
        }
        Cause::AddressUnavailable { .. }
        | Cause::MappedOnV6Only { .. }
        | Cause::Denied { .. }
        | Cause::TooManyOpenFilesInSystem
        | Cause::OutOfMemory
        | Cause::Other { .. } => false,
        _ => true,
    };
    assert!(!says_too_much, "{:?}", &causes[0]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Draw, the_advice, the_decision, the_holders, the_silence};

    /// As many bytes as the largest evidence takes, mostly.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..800)
    }

    proptest! {
        #[test]
        fn diagnosis_lists_system_error_first_and_each_cause_once(bytes in bytes()) {
            let mut draw = Draw(&bytes);
            the_decision(draw.addr(), draw.failure(), &draw.evidence());
        }

        #[test]
        fn replacement_parses_and_widens_only_when_stated(bytes in bytes()) {
            let mut draw = Draw(&bytes);
            the_advice(draw.addr(), draw.failure(), draw.flag(), &draw.evidence());
        }

        #[test]
        fn named_holder_conflicts_with_attempt(bytes in bytes()) {
            let mut draw = Draw(&bytes);
            the_holders(draw.addr(), draw.failure(), &draw.evidence());
        }

        #[test]
        fn diagnosis_without_evidence_claims_nothing(bytes in bytes()) {
            let mut draw = Draw(&bytes);
            the_silence(draw.addr(), draw.failure());
        }
    }
}

/// The same for a fuzzer, whose bytes decide what is made up.
#[cfg(fuzzing)]
#[allow(missing_docs)]
pub mod fuzzing {
    use super::{Draw, the_advice, the_decision, the_holders, the_silence};

    pub fn readers(bytes: &[u8]) {
        crate::sys::parsers_accept_any_bytes(bytes);
    }

    pub fn causes(bytes: &[u8]) {
        let mut draw = Draw(bytes);
        let (addr, failure, only_v6) = (draw.addr(), draw.failure(), draw.flag());
        let evidence = draw.evidence();
        the_decision(addr, failure, &evidence);
        the_advice(addr, failure, only_v6, &evidence);
        the_holders(addr, failure, &evidence);
        the_silence(addr, failure);
    }
}
