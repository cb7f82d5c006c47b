//! Plans of synthetic hosts.

use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::bind::BindOptions;
use crate::interfaces::Interface;
use crate::target::{BindTarget, GroupAddr, GroupCheck};

fn host(addrs: &[&str]) -> Interfaces {
    let eth0 = addrs.iter().fold(Interface::new("eth0", 2), |eth0, text| {
        eth0.with_addr(text.parse().expect("an address"), 24)
    });
    [
        Interface::new("lo", 1).with_addr([127, 0, 0, 1].into(), 8),
        eth0,
    ]
    .into_iter()
    .collect()
}

fn plan(options: &BindOptions, texts: &[&str], host: &Interfaces) -> Plan {
    options
        .plan_on(texts, host)
        .unwrap_or_else(|err| panic!("{err}"))
}

fn sockets(plan: &Plan) -> Vec<(String, bool, IfAbsent)> {
    let sockets = plan.sockets().iter();
    sockets
        .map(|socket| (socket.to_string(), socket.is_only_v6(), socket.if_absent))
        .collect()
}

#[test]
fn broadcast_is_rejected_only_if_known() {
    let odd = Interface::new("eth1", 3).with_broadcast(
        [172, 20, 0, 1].into(),
        24,
        [172, 20, 0, 200].into(),
    );
    let tunnel = Interface::new("tun0", 4)
        .with_peer(
            "fd00::1".parse().expect("an address"),
            "fd00::2".parse().expect("an address"),
        )
        .with_peer([10, 9, 0, 1].into(), [10, 9, 0, 2].into());
    let others = [odd, tunnel];
    let host: Interfaces = host(&["10.0.0.1"]).iter().cloned().chain(others).collect();
    let of_literal =
        |text: &str| plan(&BindOptions::new(), &[&format!("{text}:80")], &host).sockets()[0].group;
    let of_target = |text: &str| {
        let target = BindTarget::parse_with(text, &host).expect("a host");
        let plan = BindOptions::new()
            .plan_on((target, 80), &host)
            .expect("a plan");
        plan.sockets()[0].group
    };
    let broadcast = GroupCheck::Group(GroupAddr::Broadcast);
    assert_eq!(of_literal("255.255.255.255"), broadcast);
    assert_eq!(
        of_literal("224.0.0.1"),
        GroupCheck::Group(GroupAddr::Multicast)
    );
    for last in [7, 255] {
        assert_eq!(
            of_literal(&format!("10.0.0.{last}")),
            GroupCheck::MayBeBroadcast,
            "{last}"
        );
    }
    for last in [0, 4, 252] {
        assert_eq!(
            of_literal(&format!("10.0.0.{last}")),
            GroupCheck::MayBeOldBroadcast,
            "{last}"
        );
    }
    for last in [1, 2, 5, 6, 254] {
        assert_eq!(
            of_literal(&format!("10.0.0.{last}")),
            GroupCheck::Host,
            "{last}"
        );
    }
    // A snapshot knows more, and may have the other end of a tunnel for a broadcast address.
    assert_eq!(of_target("10.0.0.255"), broadcast);
    assert_eq!(of_target("172.20.0.200"), GroupCheck::MayBeBroadcast);
    assert_eq!(of_target("10.9.0.2"), GroupCheck::MayBeBroadcast);
    assert_eq!(of_target("10.0.0.1"), GroupCheck::Host);
    // IPv6 has no broadcast addresses, so none is probed.
    assert_eq!(of_target("fd00::2"), GroupCheck::Host);
}

#[test]
fn duplicate_wildcards_match_family_and_optionality() {
    for (text, only_v6, addr, is_only_v6, if_absent) in [
        ("*:80", false, "[::]:80", false, IfAbsent::UseIpv4),
        ("*:80", true, "[::]:80", false, IfAbsent::UseIpv4),
        ("[::]:80", false, "[::]:80", false, IfAbsent::Fail),
        ("[::]:80", true, "[::]:80", true, IfAbsent::Fail),
        ("ipv6@*:80", false, "[::]:80", true, IfAbsent::Fail),
        ("0.0.0.0:80", true, "0.0.0.0:80", false, IfAbsent::Fail),
    ] {
        let options = BindOptions::new().only_v6(only_v6);
        let planned = sockets(&plan(&options, &[text], &host(&[])));
        assert_eq!(
            planned,
            [(addr.to_owned(), is_only_v6, if_absent)],
            "{text} {only_v6}"
        );
    }
}

#[test]
fn dual_stack_wildcard_leaves_ipv4_to_the_ipv4_wildcard() {
    let planned = sockets(&plan(
        &BindOptions::new(),
        &["0.0.0.0:80", "*:80"],
        &host(&[]),
    ));
    assert_eq!(
        planned,
        [
            ("0.0.0.0:80".to_owned(), false, IfAbsent::Fail),
            ("[::]:80".to_owned(), true, IfAbsent::Skip),
        ]
    );
    // Not on another port.
    let planned = sockets(&plan(
        &BindOptions::new(),
        &["0.0.0.0:80", "*:81"],
        &host(&[]),
    ));
    assert_eq!(planned[1], ("[::]:81".to_owned(), false, IfAbsent::UseIpv4));
}

#[test]
fn replan_keeps_addresses_missing_from_snapshot() {
    let before = host(&["10.0.0.1", "fe80::1"]);
    let settings = ["eth0:80", "[fe80::1%eth0]:81", "10.0.0.9:82", "*:83"];
    let first = plan(&BindOptions::new(), &settings, &before);
    // The interface has no address, so that it is not in the snapshot.
    let lo = Interface::new("lo", 1).with_addr([127, 0, 0, 1].into(), 8);
    let without: Interfaces = [lo].into_iter().collect();
    let second = first.replan(&without).expect("a plan");
    let addrs: Vec<SocketAddr> = second.sockets().iter().map(PlannedSocket::addr).collect();
    let expected = ["[fe80::1%2]:81", "10.0.0.9:82", "[::]:83"];
    assert_eq!(
        addrs,
        expected.map(|text| text.parse().expect("an address"))
    );
    assert_eq!(second.skipped()[0].text(), "eth0:80");
    // With its addresses it is the first plan again.
    let third = second.replan(&before).expect("a plan");
    assert_eq!(sockets(&third), sockets(&first));
    assert!(third.skipped().is_empty());
}

#[test]
fn plan_on_reads_no_index_of_another_host() {
    let options = BindOptions::new().device("eth0");
    let planned = plan(&options, &["0.0.0.0:80"], &host(&["10.0.0.1"]));
    assert_eq!(
        planned.sockets()[0].entry.device_index,
        DeviceIndex::Known(2)
    );
    let planned = plan(&options, &["0.0.0.0:80"], &Interfaces::default());
    assert_eq!(
        planned.sockets()[0].entry.device_index,
        DeviceIndex::Unknown(0)
    );
}

fn settings() -> impl Strategy<Value = Vec<String>> {
    let hosts = prop::sample::select(vec![
        "*",
        "0.0.0.0",
        "[::]",
        "ipv6@*",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "eth0",
        "ipv4@eth0",
        "10.0.0.1",
        "10.0.0.0/8",
        "_private_",
        "10.0.0.9",
    ]);
    let ports = prop::sample::select(vec!["80", "81", "0", "80-82"]);
    let entry = (any::<bool>(), hosts, ports).prop_map(|(is_optional, host, port)| {
        format!("{}{host}:{port}", if is_optional { "-" } else { "" })
    });
    prop::collection::vec(entry, 1..6)
}

proptest! {
    /// No two sockets of a plan conflict, and no address is dropped.
    #[test]
    fn plan_is_complete_without_conflicts(settings in settings()) {
        let host = host(&["10.0.0.1", "10.0.0.2", "fd00::1"]);
        let Ok(plan) = BindOptions::new().plan_on(&settings, &host) else {
            return Ok(());
        };
        let fixed: Vec<&PlannedSocket> =
            plan.sockets().iter().filter(|socket| socket.fixed_port().is_some()).collect();
        for (n, one) in fixed.iter().enumerate() {
            for other in &fixed[..n] {
                let claims = one.exclusive_claim().zip(other.exclusive_claim());
                let overlap = claims.and_then(|(one, other)| one.overlap(other));
                prop_assert!(overlap.is_none() || one.addr.port() != other.addr.port());
            }
        }
        for (index, setting) in settings.iter().enumerate() {
            let alone = BindOptions::new().plan_on(setting, &host).expect("it is in the plan");
            for socket in alone.sockets() {
                let ip: IpAddr = socket.addr.ip();
                let is_planned = plan.sockets().iter().any(|planned| {
                    planned.addr == socket.addr && planned.position().index == index
                });
                let is_duplicate = plan.duplicates().iter().any(|duplicate| {
                    duplicate.addr() == socket.addr && duplicate.position().index == index
                });
                prop_assert!(is_planned || is_duplicate, "{setting} {ip}");
            }
        }
    }

    /// The same host gives the same plan.
    #[test]
    fn replan_on_unchanged_host_is_equal(settings in settings()) {
        let host = host(&["10.0.0.1", "10.0.0.2", "fd00::1"]);
        let Ok(plan) = BindOptions::new().plan_on(&settings, &host) else {
            return Ok(());
        };
        let again = plan.replan(&host).expect("a plan");
        prop_assert_eq!(sockets(&again), sockets(&plan));
        prop_assert_eq!(again.duplicates(), plan.duplicates());
    }
}

#[test]
fn each_kind_of_setting_is_planned() {
    use std::borrow::Cow;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

    fn planned(settings: impl ToSettings) -> Vec<String> {
        let plan = BindOptions::new().plan_on(settings, &host(&[]));
        let plan = plan.unwrap_or_else(|err| panic!("{err}"));
        plan.sockets().iter().map(ToString::to_string).collect()
    }
    let v4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
    let v6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 0);
    let addr: ListenAddr = "127.0.0.1:80".parse().expect("it is valid");
    let list: crate::ListenAddrs = "127.0.0.1:80".parse().expect("it is valid");
    let target = BindTarget::classify(Ipv4Addr::LOCALHOST.into(), &host(&[]));
    for found in [
        planned("127.0.0.1:80"),
        planned("127.0.0.1:80".to_owned()),
        planned(Cow::Borrowed("127.0.0.1:80")),
        planned(Setting::from("127.0.0.1:80")),
        planned(&addr),
        planned(&list),
        planned(v4),
        planned(SocketAddr::V4(v4)),
        planned([v4]),
        planned(vec![v4]),
        planned(&[v4][..]),
        planned(("127.0.0.1", 80)),
        planned(("127.0.0.1".to_owned(), 80)),
        planned((Ipv4Addr::LOCALHOST, 80)),
        planned((IpAddr::V4(Ipv4Addr::LOCALHOST), 80)),
        planned((&target, 80)),
        planned(([Ipv4Addr::LOCALHOST], 80)),
        planned((vec![Ipv4Addr::LOCALHOST], 80)),
        planned((&[Ipv4Addr::LOCALHOST][..], 80)),
    ] {
        assert_eq!(found, ["127.0.0.1:80"]);
    }
    for found in [planned(v6), planned((Ipv6Addr::LOCALHOST, 80))] {
        assert_eq!(found, ["[::1]:80"]);
    }
}

#[test]
fn split_wildcard_may_lack_ipv6() {
    let split = BindOptions::new().split_families(true);
    let ipv4 = ("0.0.0.0:80".to_owned(), false, IfAbsent::Fail);
    for (text, if_absent) in [("*:80", IfAbsent::Skip), ("[::]:80", IfAbsent::Fail)] {
        let ipv6 = ("[::]:80".to_owned(), true, if_absent);
        assert_eq!(
            sockets(&plan(&split, &[text], &host(&[]))),
            [ipv4.clone(), ipv6]
        );
    }
}

#[test]
fn socket_does_not_conflict_with_its_own_claims() {
    let claim =
        |ip: &str| Claim::of_socket(SocketAddr::new(ip.parse().expect("it is valid"), 0), false);
    let mut claims = Claims::default();
    claims.add(0, claim("10.0.0.1"), 80);
    claims.add(0, claim("10.0.0.2"), 80);
    assert!(!claims.has_conflict_beside(0, claim("0.0.0.0"), 80));
    assert!(claims.has_conflict_beside(1, claim("0.0.0.0"), 80));
    claims.add(1, claim("10.0.0.3"), 80);
    assert!(claims.has_conflict_beside(0, claim("0.0.0.0"), 80));
    assert!(!claims.has_conflict_beside(0, claim("10.0.0.1"), 80));
}

#[test]
fn debug_form_names_callbacks() {
    let options = BindOptions::new()
        .before_bind(|_| Ok(()))
        .on_wait(|_| ControlFlow::Continue(()))
        .lookup();
    let text = format!("{options:?}");
    for name in ["BeforeBind", "OnWait", "Resolver"] {
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn device_that_is_apart_meets_its_own_sockets() {
    let any: SocketAddr = "0.0.0.0:0".parse().expect("it is valid");
    let claim = Claim::of_socket(any, false);
    let vrf = claim.on_device(DeviceIndex::Known(5));
    let eth0 = claim.on_device(DeviceIndex::Known(2));
    let mut claims = Claims::default();
    claims.set_apart([DeviceIndex::Known(5)]);
    claims.add(0, claim, 80);
    assert_eq!(claims.conflict(vrf, 80), None);
    assert_eq!(claims.conflict(eth0, 80), Some((0, Overlap::SameAddress)));
    claims.add(1, vrf, 80);
    assert_eq!(claims.conflict(vrf, 80), Some((1, Overlap::SameAddress)));
    // The one without a device is not in the way of those apart, and they are not in its way.
    assert_eq!(claims.conflict(claim, 80), Some((0, Overlap::SameAddress)));
}
