//! The warnings on synthetic hosts, and what a device changes.

use super::warnings::container;
use super::*;
use crate::addr::Network;
use crate::diagnosis::{Container, Warning, WarningKind};
use crate::interfaces::InterfaceAddr;
use crate::map::Map;
use crate::sys::{Link, LinkKind};
use crate::target::Wildcard;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn host() -> Interfaces {
    let temporary = InterfaceAddr::new(ip("2600:1f00::1"), 64).with_temporary(true);
    [
        Interface::new("lo", 1)
            .with_loopback(true)
            .with_addr(ip("127.0.0.1"), 8)
            .with_addr(ip("10.9.9.9"), 32)
            .with_addr(ip("fe80::9"), 64),
        Interface::new("eth0", 2)
            .with_addr(ip("10.0.0.1"), 24)
            .with_addr(ip("8.8.4.4"), 24)
            .with_interface_addr(temporary),
        // Only of the link, like the host's ends of containers' links.
        Interface::new("veth0", 3).with_addr(ip("fe80::1"), 64),
    ]
    .into_iter()
    .collect()
}

fn links(of_eth0: Link) -> Map<u32, Link> {
    let of_veth0 = Link {
        index: 3,
        ends_elsewhere: true,
        ..Link::default()
    };
    [(2, of_eth0), (3, of_veth0), (1, Link::default())].into()
}

fn socket(text: &str, device: Option<&str>) -> OpenSocket {
    OpenSocket {
        is_open: false,
        addr: (ip(text), 80).into(),
        protocol: Protocol::Tcp,
        only_v6: false,
        freebind: false,
        device: device.map(str::to_owned),
        namespace: Namespace::This,
    }
}

/// Returns the warnings where loopback is routed, in a container or not.
fn found_in(sockets: &[OpenSocket], host: &Interfaces, in_container: bool) -> Vec<Warning> {
    let container = Container {
        ends_elsewhere: true,
        marker: None,
        pod: false,
        system: false,
    };
    let around = Environment {
        container: in_container.then_some(container),
        routed_loopback: Some("all".to_owned()),
        is_wsl: false,
        own_name: None,
    };
    let sockets: Vec<&OpenSocket> = sockets.iter().collect();
    warnings_of_exposure(&sockets, host, &around)
}

#[test]
fn container_is_detected_by_links_and_marker() {
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
            Some("its interfaces are tun devices, and `/run/.containerenv` is set"),
        ),
        (
            elsewhere.clone(),
            None,
            Some("its interfaces lead to another network namespace"),
        ),
        (
            elsewhere.clone(),
            marker,
            Some(
                "its interfaces lead to another network namespace, and `/run/.containerenv` is set",
            ),
        ),
    ] {
        let found = container(&host(), &links(link), marker, false);
        assert_eq!(found.map(|found| found.to_string()).as_deref(), said);
    }
    let lo = Interface::new("lo", 1).with_addr(ip("127.0.0.1"), 8);
    let alone: Interfaces = [lo].into_iter().collect();
    assert_eq!(container(&alone, &links(elsewhere), marker, false), None);
    assert_eq!(container(&host(), &Map::new(), marker, false), None);
}

#[test]
fn warnings_match_their_conditions() {
    let host = host();
    for (texts, names) in [
        (&["10.0.0.1"][..], &[][..]),
        (&["10.9.9.9"], &["loopback-interface"]),
        (&["8.8.4.4"], &["global-address"]),
        (&["2600:1f00::1"], &["global-address", "temporary-address"]),
        (&["0.0.0.0"], &["global-address"]),
        (&["10.66.0.1"], &[]),
        (&["127.0.0.1"], &["container-loopback", "routed-loopback"]),
        (&["::1"], &["container-loopback"]),
        // Once for all sockets.
        (
            &["::1", "127.0.0.1"],
            &["container-loopback", "routed-loopback"],
        ),
        // Listening on more than loopback is intended.
        (
            &["127.0.0.1", "10.0.0.1"],
            &["routed-loopback", "published-port"],
        ),
    ] {
        let sockets: Vec<OpenSocket> = texts.iter().map(|text| socket(text, None)).collect();
        // A container only where the case is about it.
        let about = |name: &&&str| ["container-loopback", "published-port"].contains(*name);
        let in_container = names.iter().find(about).is_some();
        let found = found_in(&sockets, &host, in_container);
        let found: Vec<&str> = found.iter().map(Warning::name).collect();
        assert_eq!(found, names, "{texts:?}");
    }
    // A link-local address of lo is reachable from this host only.
    let on_lo = OpenSocket {
        addr: "[fe80::9%1]:80".parse().expect("an address"),
        ..socket("::", None)
    };
    assert_eq!(found_in(&[on_lo], &host, false), []);
    let on_device =
        |device: Option<&str>, in_container| found_in(&[socket("::", device)], &host, in_container);
    let findings = on_device(None, false);
    assert_eq!(
        findings[0].to_string(),
        "[::]:80: 8.8.4.4 on eth0 is a global address, as is 1 other, so clients on the internet can connect unless a firewall blocks them",
    );
    // A device that does not let it in.
    assert!(on_device(Some("lo"), false).is_empty());
    // It is open to this host only, so no port of it is published.
    let tied = on_device(Some("lo"), true);
    let names: Vec<&str> = tied.iter().map(Warning::name).collect();
    assert_eq!(names, ["container-loopback"]);
}

#[test]
fn pod_is_reachable_from_its_other_containers() {
    let host = host();
    let found = |text: &str, pod| -> Vec<String> {
        let container = Container {
            ends_elsewhere: true,
            marker: None,
            pod,
            system: false,
        };
        let around = Environment {
            container: Some(container),
            routed_loopback: None,
            is_wsl: false,
            own_name: None,
        };
        let findings = warnings_of_exposure(&[&socket(text, None)], &host, &around);
        findings.iter().map(ToString::to_string).collect()
    };
    let because = "its interfaces lead to another network namespace";
    assert_eq!(
        found("127.0.0.1", true),
        [format!(
            "127.0.0.1:80: only containers of this pod can connect ({because}); listen on `*` to let probes and Services connect, which opens the port to the pod network"
        )]
    );
    assert_eq!(found("10.0.0.1", true), [""; 0]);
    assert_eq!(
        found("127.0.0.1", false),
        [format!(
            "127.0.0.1:80: only this container can connect, not its host ({because}); listen on `*` and publish the \
             port to 127.0.0.1 on the host"
        )]
    );
    assert_eq!(found("10.0.0.1", false).len(), 1);
}

/// LXC and systemd-nspawn do not publish ports.
#[test]
fn system_container_has_no_published_ports_warning() {
    let host = host();
    let found = |text: &str| -> Vec<String> {
        let container = Container {
            ends_elsewhere: true,
            marker: Some("container"),
            pod: false,
            system: true,
        };
        let around = Environment {
            container: Some(container),
            ..Environment::default()
        };
        let findings = warnings_of_exposure(&[&socket(text, None)], &host, &around);
        findings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        found("127.0.0.1"),
        [
            "127.0.0.1:80: only this container can connect, not its host (its interfaces lead to another network namespace, \
             and `container` is set); listen on `*`, or on one of its addresses, to let others connect"
        ]
    );
    assert_eq!(found("10.0.0.1"), [""; 0]);
}

#[test]
fn wsl_is_warned_about_once() {
    let host = host();
    let around = Environment {
        is_wsl: true,
        ..Environment::default()
    };
    let found = |texts: &[&str]| -> Vec<String> {
        let sockets: Vec<OpenSocket> = texts.iter().map(|text| socket(text, None)).collect();
        let sockets: Vec<&OpenSocket> = sockets.iter().collect();
        let findings = warnings_of_exposure(&sockets, &host, &around);
        findings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(found(&["127.0.0.1", "::1"]), [""; 0]);
    assert_eq!(
        found(&["127.0.0.1", "10.0.0.1", "10.0.0.1"]),
        [
            "10.0.0.1:80: this is WSL2, where other hosts reach Windows and not this address, unless \
             `networkingMode=mirrored` is set"
        ]
    );
}

#[test]
fn urls_skip_unsafe_ports_and_zones() {
    let eth0 = Interface::new("eth0", 2)
        .with_addr([10, 0, 0, 1].into(), 8)
        .with_addr(ip("fe80::77"), 64);
    let host: Interfaces = [eth0].into_iter().collect();
    let reach = |port| BindTarget::Any(Wildcard::All).reach(port, &host);
    let urls = |port, scheme: &str| reach(port).urls(scheme).collect::<Vec<_>>();
    assert_eq!(urls(8080, "http"), ["http://10.0.0.1:8080/"]);
    assert_eq!(
        urls(8080, "redis"),
        ["redis://10.0.0.1:8080/", "redis://[fe80::77%25eth0]:8080/"]
    );
    let banner = |port, scheme: &str| reach(port).banner(scheme).to_string();
    for port in [22, 6000, 6666, 10080] {
        let first =
            format!("  Network:  http://10.0.0.1:{port}/  (eth0; browsers refuse this port)\n");
        assert!(
            banner(port, "http").starts_with(&first),
            "{}",
            banner(port, "http")
        );
        assert!(!banner(port, "redis").contains("browsers refuse"));
        assert!(!reach(port).addrs()[0].is_for_browsers());
    }
    assert!(!banner(8080, "https").contains("browsers refuse"));
    assert!(reach(8080).addrs()[0].is_for_browsers());
}

#[test]
fn warning_carries_its_subject() {
    let host = host();
    let findings = |text: &str, in_container| found_in(&[socket(text, None)], &host, in_container);
    let of_lo = findings("10.9.9.9", false).remove(0);
    assert!(
        matches!(of_lo.kind(), WarningKind::LoopbackInterface { ip: of, interface } if *of == ip("10.9.9.9") && interface == "lo")
    );
    for text in ["8.8.4.4", "0.0.0.0"] {
        let found = findings(text, false).remove(0);
        assert_eq!(found.addr(), (ip(text), 80).into());
        assert!(
            matches!(found.kind(), WarningKind::GlobalAddress { ip: of, interface, .. } if *of == ip("8.8.4.4") && interface == "eth0")
        );
    }
    let routed = findings("127.0.0.1", false).remove(0);
    assert!(
        matches!(routed.kind(), WarningKind::RoutedLoopback { interface } if interface == "all")
    );
    let temporary = findings("2600:1f00::1", false).remove(1);
    assert_eq!(temporary.name(), "temporary-address");
    let found = findings("::1", true).remove(0);
    let WarningKind::ContainerLoopback(container) = found.kind() else {
        panic!("{found:?}")
    };
    assert!(container.ends_elsewhere());
    assert_eq!(container.marker(), None);
}

#[test]
fn loopback_device_wildcard_accepts_no_new_addresses() {
    let eth0 = Interface::new("eth0", 2).with_addr([10, 0, 0, 1].into(), 8);
    let lo = Interface::new("lo", 1).with_addr([127, 0, 0, 1].into(), 8);
    let host: Interfaces = [lo, eth0].into_iter().collect();
    let end = |device| {
        let reach =
            BindTarget::Any(Wildcard::All).reach_on_device(80, Protocol::Tcp, device, &host);
        let text = reach.to_string();
        text.lines().next_back().map(str::to_owned)
    };
    assert_eq!(
        end(Some("lo")).as_deref(),
        Some("exposed to this host only")
    );
    let later = "exposed to private networks now, and on every address that this host gets later";
    assert_eq!(end(Some("eth0")).as_deref(), Some(later));
    assert_eq!(end(None).as_deref(), Some(later));
}

#[test]
fn large_network_reaches_everywhere() {
    for (first, prefix_len, exposure) in [
        ("0.0.0.0", 0, Exposure::Global),
        ("::", 0, Exposure::Global),
        ("fc00::", 6, Exposure::Global),
        ("fc00::", 7, Exposure::Private),
        ("10.0.0.0", 8, Exposure::Private),
        ("9.0.0.0", 8, Exposure::Global),
    ] {
        let network = Network::containing(ip(first), prefix_len);
        assert_eq!(super::exposure::of_network(network), exposure, "{network}");
    }
    // Larger than any block of private addresses.
    for prefix_len in 0..7_u8 {
        for n in 0..1_u32 << prefix_len {
            let shift = |bits: u32| n.checked_shl(bits - u32::from(prefix_len)).unwrap_or(0);
            let v4 = std::net::Ipv4Addr::from_bits(shift(32));
            let v6 = std::net::Ipv6Addr::from_bits(u128::from(shift(32)) << 96);
            for ip in [IpAddr::from(v4), v6.into()] {
                let network = Network::containing(ip, prefix_len);
                let exposure = super::exposure::of_network(network);
                assert_eq!(exposure, Exposure::Global, "{network}");
            }
        }
    }
}
