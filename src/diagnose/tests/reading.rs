//! Reads the evidence for an attempt, with synthetic interfaces and a synthetic kernel.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use super::super::evidence::{AddrProbe, Budget, Evidence, without_overlap};
use super::super::properties::{Nobody, attempt};
use super::super::sockets::Held;
use super::super::{Attempt, HandedOver, causes, is_contradicted};
use super::{EACCES, EADDRINUSE, EADDRNOTAVAIL};
use crate::diagnosis::{Cause, Mismatch, Step};
use crate::interfaces::{Interface, Interfaces};
use crate::map::Set;
use crate::sys::Capability;
use crate::target::Protocol;

/// RFC 5737, section 3: an address for documents, which no host has.
const ON_NO_HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

/// A host with one address.
fn host_with(ip: IpAddr) -> Interfaces {
    [Interface::new("eth0", 7).with_addr(ip, 24)]
        .into_iter()
        .collect()
}

/// A kernel that has every address by now.
struct Willing;

impl AddrProbe for Willing {
    fn probe(&self, _: Protocol, _: SocketAddr) -> Result<(), (Step, io::Error)> {
        Ok(())
    }

    fn device_of_new_sockets(&self) -> io::Result<Option<String>> {
        Ok(None)
    }
}

#[test]
fn given_interfaces_are_not_read_again() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let host = host_with(ON_NO_HOST);
    // Neither host has it, so that nothing contradicts itself.
    let attempt = attempt("198.51.100.8:0", Step::Bind, &error);
    let evidence = Evidence::read(&[attempt], Some(&host), &Set::new());
    let interfaces = evidence.interfaces.expect("they are known");
    assert!(interfaces.has(ON_NO_HOST) && interfaces.iter().count() == 1);
    let evidence = Evidence::read(&[attempt], None, &Set::new());
    let interfaces = evidence.interfaces.expect("they are read");
    assert!(!interfaces.has(ON_NO_HOST) && interfaces.has([127, 0, 0, 1].into()));
    // Without an address in question, nothing is searched.
    let error = io::Error::from_raw_os_error(EADDRINUSE);
    let attempt = Attempt {
        refused: Some((Step::Bind, &error)),
        ..attempt
    };
    let evidence = Evidence::read(&[attempt], None, &Set::new());
    assert!(evidence.interfaces.is_none());
}

#[test]
fn socket_search_stops_when_explained() {
    let held = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let held_too = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let [addr, udp_addr] =
        [held.local_addr(), held_too.local_addr()].map(|addr| addr.expect("it is bound"));
    let [in_use, unavailable] = [EADDRINUSE, EADDRNOTAVAIL].map(io::Error::from_raw_os_error);
    let on = |addr: SocketAddr, error| attempt(&addr.to_string(), Step::Bind, error);
    let has = |evidence: &Evidence, attempt: Attempt<'_>| {
        let sockets = evidence.sockets(attempt.protocol);
        matches!(
            sockets.held(evidence.claim(&attempt), attempt.addr.port()),
            Held::By(_)
        )
    };

    // A listener says it all, and the tables of the other protocol nothing.
    let tcp = on(addr, &in_use);
    let evidence = Evidence::read(&[tcp], None, &Set::new());
    assert!(has(&evidence, tcp) && !evidence.tcp.are_all);
    assert!(!evidence.udp.are_all);
    let udp = Attempt {
        protocol: Protocol::Udp,
        ..on(udp_addr, &in_use)
    };
    let evidence = Evidence::read(&[udp], None, &Set::new());
    assert!(has(&evidence, udp) && evidence.udp.are_all);
    let tcp_there = Attempt {
        protocol: Protocol::Tcp,
        ..udp
    };
    assert!(!has(&evidence, tcp_there) && !evidence.tcp.are_all);

    // Those that do not listen are looked for if the port was refused, and not for what comes next.
    let client = TcpStream::connect(addr).expect("it is listened to");
    let connected = client.local_addr().expect("it is connected");
    let evidence = Evidence::read(&[on(connected, &in_use)], None, &Set::new());
    assert!(has(&evidence, on(connected, &in_use)) && evidence.tcp.are_all);
    let evidence = Evidence::read(&[on(connected, &unavailable)], None, &Set::new());
    assert!(!has(&evidence, on(connected, &in_use)) && !evidence.tcp.are_all);

    // A process that shares a port may share it with the listener; one that was refused may not.
    let sharing = |error| Attempt {
        shares_port: true,
        ..on(addr, error)
    };
    let evidence = Evidence::read(&[sharing(&unavailable)], None, &Set::new());
    assert!(!has(&evidence, tcp));
    let evidence = Evidence::read(&[sharing(&in_use)], None, &Set::new());
    assert!(has(&evidence, tcp));

    // No holder of a full range is searched or named.
    let range = Attempt {
        ports: (addr.port() - 1, addr.port()),
        no_port_left: true,
        ..on(connected, &in_use)
    };
    let evidence = Evidence::read(&[range], None, &Set::new());
    assert!(has(&evidence, tcp) && !evidence.tcp.are_all);
}

#[test]
fn limits_are_read_for_matching_errors() {
    let [in_use, denied] = [EADDRINUSE, EACCES].map(io::Error::from_raw_os_error);
    let ports = |addr: &str, error| {
        let attempt = attempt(addr, Step::Bind, error);
        Evidence::read(&[attempt], None, &Set::new()).ephemeral_ports
    };
    assert!(ports("127.0.0.1:0", &in_use).is_some());
    assert!(ports("127.0.0.1:8080", &in_use).is_some());
    assert_eq!(ports("127.0.0.1:0", &denied), None);
}

#[test]
fn interfaces_are_read_for_zones_and_handed_over_sockets() {
    let zone = io::Error::from(io::ErrorKind::InvalidInput);
    let denied = io::Error::from_raw_os_error(EACCES);
    let reads = |attempt| {
        Evidence::read(&[attempt], None, &Set::new())
            .interfaces
            .is_some()
    };
    assert!(reads(attempt("[fe80::1%1]:0", Step::Validate, &zone)));
    let by_step = attempt("127.0.0.1:0", Step::Bind, &denied);
    assert!(!reads(by_step));
    let handed_over = HandedOver {
        addr: by_step.addr,
        only_v6: false,
        mismatch: Mismatch::Device(None),
        is_allowed: false,
    };
    assert!(reads(Attempt {
        handed_over: Some(&handed_over),
        ..by_step
    }));
}

#[test]
fn default_limit_needs_a_certain_privilege() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let attempt = attempt("127.0.0.1:80", Step::Bind, &error);
    let is_unprivileged = |capability, limit| {
        let evidence = Evidence {
            capability,
            first_unprivileged_port: limit,
            ..Evidence::default()
        };
        evidence.is_port_unprivileged(&attempt)
    };
    for limit in [Some(1024), None] {
        assert!(is_unprivileged(Some(Capability::Effective), limit));
        assert!(!is_unprivileged(Some(Capability::Missing), limit));
        assert!(!is_unprivileged(None, limit));
        // In a user namespace that has a sysctl, it most likely owns it.
        let is_uncertain = is_unprivileged(Some(Capability::Uncertain), limit);
        assert_eq!(is_uncertain, limit.is_some());
    }
    assert!(is_unprivileged(Some(Capability::Missing), Some(80)));
    assert!(!is_unprivileged(Some(Capability::Missing), Some(81)));
}

/// It may have been added between the two readings.
#[test]
fn loopback_address_without_a_route_is_a_contradiction() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let attempt = attempt("127.0.0.1:80", Step::Bind, &error);
    let is_contradicted_with = |lo: Interface| {
        let evidence = Evidence {
            interfaces: Some([lo].into_iter().collect()),
            without_local_route: [attempt.addr.ip()].into(),
            ..Evidence::default()
        };
        let causes = causes(&attempt, &evidence);
        assert!(matches!(causes[..], [Cause::LoopbackMissing { .. }]));
        is_contradicted(&attempt, &evidence)
    };
    let lo = Interface::new("lo", 1).with_loopback(true);
    let listed = lo.clone().with_addr(attempt.addr.ip(), 8);
    assert!(is_contradicted_with(listed));
    assert!(!is_contradicted_with(lo));
}

#[test]
fn contradiction_is_read_again() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let again = |addr: &str, mut evidence: Evidence, kernel: &dyn AddrProbe| {
        let attempt = attempt(addr, Step::Bind, &error);
        evidence.look_again(vec![&Attempt { kernel, ..attempt }], &mut Budget::default());
        evidence
    };
    let listed = Evidence {
        interfaces: Some(host_with(ON_NO_HOST)),
        ..Evidence::default()
    };
    let routed = |ip: IpAddr| Evidence {
        interfaces: Some(host_with([198, 51, 100, 8].into())),
        local_by_route: [ip].into(),
        ..Evidence::default()
    };
    let appeared = |evidence: &Evidence| !evidence.available_now.is_empty();
    let lists = |evidence: &Evidence, ip| {
        evidence
            .interfaces
            .as_ref()
            .is_some_and(|host| host.has(ip))
    };

    // It was removed since the interfaces were read.
    let gone = again("198.51.100.7:0", listed.clone(), &Nobody);
    assert!(!lists(&gone, ON_NO_HOST) && !appeared(&gone));
    // The kernel has it by now.
    let bound = again("198.51.100.7:0", listed, &Willing);
    assert!(appeared(&bound));
    // It was added since.
    let added = again("127.0.0.1:0", routed([127, 0, 0, 1].into()), &Nobody);
    assert!(appeared(&added));
    // Its route was removed since.
    let unrouted = again("198.51.100.7:0", routed(ON_NO_HOST), &Nobody);
    assert!(unrouted.local_by_route.is_empty() && !appeared(&unrouted));

    // A persistent contradiction counts: 127.0.0.2 is local only by its route.
    let ip = IpAddr::from([127, 0, 0, 2]);
    let as_it_is = again("127.0.0.2:0", routed(ip), &Nobody);
    assert!(as_it_is.local_by_route.contains(&ip) && !appeared(&as_it_is));
    let ip = IpAddr::from([127, 0, 0, 1]);
    let known = Evidence {
        interfaces: Some(host_with(ip)),
        ..Evidence::default()
    };
    let as_it_is = again("127.0.0.1:0", known, &Nobody);
    let host = as_it_is.interfaces.as_ref().expect("they are known");
    assert!(host.by_index(7).is_some() && !appeared(&as_it_is));
}

/// A kernel that has an address from the second time it is asked.
#[derive(Default)]
struct Late(RefCell<Set<SocketAddr>>);

impl AddrProbe for Late {
    fn probe(&self, _: Protocol, addr: SocketAddr) -> Result<(), (Step, io::Error)> {
        if self.0.borrow_mut().insert(addr) {
            return Nobody.probe_addr(addr);
        }
        Ok(())
    }

    fn device_of_new_sockets(&self) -> io::Result<Option<String>> {
        Ok(None)
    }
}

/// The interfaces are read again because one address is no longer listed; another one is by then.
#[test]
fn newer_interfaces_contradict_no_other_address() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let gone = attempt("198.51.100.7:0", Step::Bind, &error);
    let host = host_with(ON_NO_HOST);
    for comes_first in [false, true] {
        let kernel = Late::default();
        let came = Attempt {
            kernel: &kernel,
            ..attempt("127.0.0.1:0", Step::Bind, &error)
        };
        let attempts = if comes_first {
            [came, gone]
        } else {
            [gone, came]
        };
        let evidence = Evidence::read(&attempts, Some(&host), &Set::new());
        let [gone, came] = [gone, came].map(|attempt| causes(&attempt, &evidence));
        assert!(matches!(gone[..], [Cause::NotOnThisHost(_)]), "{gone:?}");
        assert!(
            matches!(came[..], [Cause::BecameAvailable { .. }]),
            "{came:?}"
        );
    }
}

/// A kernel that refuses and counts.
#[derive(Default)]
struct Counting(Cell<usize>);

impl AddrProbe for Counting {
    fn probe(&self, _: Protocol, addr: SocketAddr) -> Result<(), (Step, io::Error)> {
        self.0.set(self.0.get() + 1);
        Nobody.probe_addr(addr)
    }

    fn device_of_new_sockets(&self) -> io::Result<Option<String>> {
        Ok(None)
    }
}

#[test]
fn repeated_reading_has_one_budget() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let Budget { looks, addrs: all } = Budget::default();
    for (count, least, most) in [(1, 1, looks), (500, 500, all), (10_000, all, all)] {
        // Addresses by their route alone, which none of the looks changes.
        let addrs: Vec<SocketAddr> = (2..count + 2)
            .map(|n: u32| SocketAddr::new(Ipv4Addr::from_bits((127 << 24) | n).into(), 0))
            .collect();
        let mut evidence = Evidence {
            interfaces: Some(host_with(ON_NO_HOST)),
            local_by_route: addrs.iter().map(SocketAddr::ip).collect(),
            ..Evidence::default()
        };
        let kernel = Counting::default();
        let attempts: Vec<Attempt<'_>> = addrs
            .iter()
            .map(|addr| Attempt {
                addr: *addr,
                kernel: &kernel,
                ..attempt("127.0.0.2:0", Step::Bind, &error)
            })
            .collect();
        evidence.look_again(attempts.iter().collect(), &mut Budget::default());
        let asked = kernel.0.get();
        assert!((least..=most).contains(&asked), "{count}: {asked}");
        assert_eq!(evidence.local_by_route.len(), addrs.len());
    }
}

#[test]
fn resolved_contradiction_is_no_cause() {
    let error = io::Error::from_raw_os_error(EADDRNOTAVAIL);
    let attempt = attempt("198.51.100.7:0", Step::Bind, &error);
    let host = host_with(ON_NO_HOST);
    let evidence = Evidence::read(&[attempt], Some(&host), &Set::new());
    let causes = causes(&attempt, &evidence);
    assert!(
        matches!(causes[..], [Cause::NotOnThisHost(_)]),
        "{causes:?}"
    );
}

#[test]
fn overlapping_ranges_are_joined() {
    let ranges = vec![
        (80, 90),
        (8080, 8080),
        (82, 84),
        (90, 95),
        (97, 97),
        (96, 96),
    ];
    assert_eq!(
        without_overlap(ranges),
        [(80, 95), (96, 96), (97, 97), (8080, 8080)]
    );
}
