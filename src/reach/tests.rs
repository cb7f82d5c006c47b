//! The lints on made-up surroundings, and what a device changes.

use std::collections::HashMap;

use super::lint::container;
use super::*;
use crate::interfaces::InterfaceAddr;
use crate::sys::{Link, LinkKind};
use crate::target::Wildcard;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn host() -> Interfaces {
    let temporary = InterfaceAddr::new(ip("2001:db8::1"), 64).with_temporary(true);
    [
        Interface::new("lo", 1)
            .with_addr(ip("127.0.0.1"), 8)
            .with_addr(ip("10.9.9.9"), 32),
        Interface::new("eth0", 2)
            .with_addr(ip("10.0.0.1"), 24)
            .with_addr(ip("203.0.113.7"), 24)
            .with_interface_addr(temporary),
        // Of the link alone, as the host's ends of containers' links are.
        Interface::new("veth0", 3).with_addr(ip("fe80::1"), 64),
    ]
    .into_iter()
    .collect()
}

fn links(of_eth0: Link) -> HashMap<u32, Link> {
    let of_veth0 = Link {
        index: 3,
        ends_elsewhere: true,
        ..Link::default()
    };
    [(2, of_eth0), (3, of_veth0), (1, Link::default())].into()
}

/// Looks for the lints where loopback is routed, in a container or not.
fn found_in(
    lints: &Lints,
    sockets: &[OpenSocket],
    host: &Interfaces,
    in_container: bool,
) -> Vec<Finding> {
    let container = Container {
        ends_elsewhere: true,
        marker: None,
        pod: false,
    };
    let around = Surroundings {
        container: in_container.then_some(container),
        routed_loopback: Some("all".to_owned()),
    };
    find(lints, sockets, host, &around)
}

#[test]
fn a_container_is_told_by_its_links_and_its_marker() {
    let elsewhere = Link {
        ends_elsewhere: true,
        ..Link::default()
    };
    let tun = Link {
        kind: LinkKind::Tun,
        ..Link::default()
    };
    let marker = Some("/run/.containerenv");
    for (link, marker, said) in [
        (Link::default(), None, None),
        // The host's own network.
        (Link::default(), marker, None),
        // A VPN on a host of its own.
        (tun.clone(), None, None),
        (
            tun,
            marker,
            Some("a process is behind its interfaces, and there is `/run/.containerenv`"),
        ),
        (
            elsewhere.clone(),
            None,
            Some("the other ends of its interfaces are elsewhere"),
        ),
        (
            elsewhere.clone(),
            marker,
            Some(
                "the other ends of its interfaces are elsewhere, and there is `/run/.containerenv`",
            ),
        ),
    ] {
        let found = container(&host(), &links(link), marker, false);
        assert_eq!(found.map(|found| found.to_string()).as_deref(), said);
    }
    let lo = Interface::new("lo", 1).with_addr(ip("127.0.0.1"), 8);
    let alone: Interfaces = [lo].into_iter().collect();
    assert_eq!(container(&alone, &links(elsewhere), marker, false), None);
    assert_eq!(container(&host(), &HashMap::new(), marker, false), None);
}

#[test]
fn each_lint_is_found_where_it_applies() {
    let host = host();
    for (texts, lints) in [
        (&["10.0.0.1"][..], &[][..]),
        (&["10.9.9.9"], &[Lint::LoopbackInterface]),
        (&["203.0.113.7"], &[Lint::GlobalAddress]),
        (
            &["2001:db8::1"],
            &[Lint::GlobalAddress, Lint::TemporaryAddress],
        ),
        (&["0.0.0.0"], &[Lint::GlobalAddress]),
        (&["10.66.0.1"], &[]),
        (
            &["127.0.0.1"],
            &[Lint::ContainerLoopback, Lint::RoutedLoopback],
        ),
        (&["::1"], &[Lint::ContainerLoopback]),
        // Once for all sockets.
        (
            &["::1", "127.0.0.1"],
            &[Lint::ContainerLoopback, Lint::RoutedLoopback],
        ),
        // That loopback is not all that it listens on is no accident.
        (
            &["127.0.0.1", "10.0.0.1"],
            &[Lint::RoutedLoopback, Lint::PublishedPort],
        ),
    ] {
        let sockets: Vec<OpenSocket> = texts
            .iter()
            .map(|text| OpenSocket {
                addr: (ip(text), 80).into(),
                target: BindTarget::classify(ip(text), &host),
                device: None,
            })
            .collect();
        let found = |all: &Lints| -> Vec<Lint> {
            // A container only where the case is about it.
            let about = lints
                .iter()
                .any(|lint| matches!(lint, Lint::ContainerLoopback | Lint::PublishedPort));
            let findings = found_in(all, &sockets, &host, about);
            findings.iter().map(Finding::lint).collect()
        };
        assert_eq!(found(&Lints::new()), lints, "{texts:?}");
        // Each can be turned off.
        for off in lints {
            assert!(!found(&Lints::new().without(*off)).contains(off), "{off}");
        }
    }
    let wildcard = BindTarget::classify(ip("::"), &host);
    let on_device = |device: Option<&str>, in_container| {
        let socket = OpenSocket {
            addr: (ip("::"), 80).into(),
            target: wildcard.clone(),
            device: device.map(str::to_owned),
        };
        found_in(&Lints::new(), &[socket], &host, in_container)
    };
    let findings = on_device(None, false);
    assert_eq!(
        findings[0].to_string(),
        "[::]:80: 203.0.113.7 of eth0 is exposed to the internet, and so is 1 more",
    );
    // A device that does not let it in.
    assert!(on_device(Some("lo"), false).is_empty());
    // It is open to this host only, so no port of it is published.
    let tied = on_device(Some("lo"), true);
    let lints: Vec<Lint> = tied.iter().map(Finding::lint).collect();
    assert_eq!(lints, [Lint::ContainerLoopback]);
}

#[test]
fn pod_is_reachable_from_its_other_containers() {
    let host = host();
    let found = |text: &str, pod| -> Vec<String> {
        let socket = OpenSocket {
            addr: (ip(text), 80).into(),
            target: BindTarget::classify(ip(text), &host),
            device: None,
        };
        let container = Container {
            ends_elsewhere: true,
            marker: None,
            pod,
        };
        let around = Surroundings {
            container: Some(container),
            routed_loopback: None,
        };
        let findings = find(&Lints::new(), &[socket], &host, &around);
        findings.iter().map(ToString::to_string).collect()
    };
    let because = "the other ends of its interfaces are elsewhere";
    assert_eq!(
        found("127.0.0.1", true),
        [format!(
            "127.0.0.1:80: only the containers of this pod can connect ({because}); probes and Services connect to \
             an address of the pod; `*` accepts them, and opens the port to the pod network"
        )]
    );
    assert_eq!(found("10.0.0.1", true), [""; 0]);
    assert_eq!(
        found("127.0.0.1", false),
        [format!(
            "127.0.0.1:80: only processes in this container's network namespace can connect, its host cannot \
             ({because}); listen on `*` and publish the port to 127.0.0.1 of the host"
        )]
    );
    assert_eq!(found("10.0.0.1", false).len(), 1);
}

#[test]
fn a_finding_has_what_it_is_about() {
    let host = host();
    let findings = |text: &str, in_container| {
        let target = BindTarget::classify(ip(text), &host);
        let socket = OpenSocket {
            addr: (ip(text), 80).into(),
            target,
            device: None,
        };
        found_in(&Lints::new(), &[socket], &host, in_container)
    };
    for (text, lint, about, interface) in [
        (
            "10.9.9.9",
            "loopback-interface",
            Some("10.9.9.9"),
            Some("lo"),
        ),
        (
            "203.0.113.7",
            "global-address",
            Some("203.0.113.7"),
            Some("eth0"),
        ),
        (
            "0.0.0.0",
            "global-address",
            Some("203.0.113.7"),
            Some("eth0"),
        ),
        ("127.0.0.1", "routed-loopback", None, Some("all")),
    ] {
        let found = findings(text, false).remove(0);
        assert_eq!(found.lint().to_string(), lint);
        assert_eq!(found.addr(), (ip(text), 80).into());
        assert_eq!(found.ip(), about.map(ip));
        assert_eq!(found.interface(), interface);
        assert_eq!(found.container(), None);
    }
    let temporary = findings("2001:db8::1", false).remove(1);
    assert_eq!(temporary.lint().to_string(), "temporary-address");
    let found = findings("::1", true).remove(0);
    assert_eq!(found.lint().to_string(), "container-loopback");
    let container = found.container().expect("it is about one");
    assert!(container.ends_elsewhere());
    assert_eq!(container.marker(), None);
    let marked = Container {
        ends_elsewhere: false,
        marker: Some("/.dockerenv"),
        pod: false,
    };
    assert!(!marked.ends_elsewhere());
    assert_eq!(marked.marker(), Some("/.dockerenv"));
    assert_eq!(Lint::PublishedPort.to_string(), "published-port");
    assert_eq!(Lint::InterfaceDown.to_string(), "interface-down");
}

#[test]
fn a_wildcard_takes_no_later_address_through_the_loopback_interface() {
    let eth0 = Interface::new("eth0", 2).with_addr([10, 0, 0, 1].into(), 8);
    let lo = Interface::new("lo", 1).with_addr([127, 0, 0, 1].into(), 8);
    let host: Interfaces = [lo, eth0].into_iter().collect();
    let end = |device| {
        let reach = BindTarget::Any(Wildcard::All).reach_on_device(80, device, &host);
        let text = reach.to_string();
        text.lines().next_back().map(str::to_owned)
    };
    assert_eq!(
        end(Some("lo")).as_deref(),
        Some("exposed to this host only")
    );
    let later =
        "exposed to private networks now, and by every address that this host is given later";
    assert_eq!(end(Some("eth0")).as_deref(), Some(later));
    assert_eq!(end(None).as_deref(), Some(later));
}
