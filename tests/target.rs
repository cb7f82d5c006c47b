//! `BindTarget`: the four classes on made-up hosts, and the laws of the classification.

mod util;

use std::net::{IpAddr, Ipv6Addr};

use bindaddr::addr::Family;
use bindaddr::interfaces::{AddrState, Interface, InterfaceAddr};
use bindaddr::target::{Class, ForeignReason, Wildcard};
use bindaddr::{BindTarget, Interfaces};
use proptest::prelude::*;
use util::{interfaces, ip, near_ips, office};

#[test]
#[allow(clippy::too_many_lines)] // a row an address
fn each_class_has_a_description() {
    let host = office();
    for (written, scope_id, meaning) in [
        ("0.0.0.0", 0, "every IPv4 address of this host"),
        ("::ffff:0.0.0.0", 0, "every IPv4 address of this host"),
        ("::", 0, "every IPv4 and IPv6 address of this host"),
        ("127.0.0.1", 0, "this host only (127.0.0.1)"),
        ("127.8.8.8", 0, "this host only (127.8.8.8)"),
        ("::ffff:127.0.0.1", 0, "this host only (127.0.0.1)"),
        ("::1", 9, "this host only (::1)"),
        // On the loopback interface and yet not loopback: other hosts reach it.
        ("203.0.113.80", 0, "203.0.113.80, an address of lo"),
        ("192.168.71.67", 0, "192.168.71.67, an address of eth0"),
        (
            "::ffff:192.168.71.67",
            0,
            "192.168.71.67, an address of eth0",
        ),
        ("2001:db8:1::10", 9, "2001:db8:1::10, an address of eth0"),
        (
            "172.20.0.1",
            0,
            "172.20.0.1, an address of eth0.100 (not running)",
        ),
        ("fe80::77", 2, "fe80::77%eth0, an address of eth0"),
        (
            "fe80::77",
            0,
            "fe80::77, an address of eth0 and eth0.100 (not running)",
        ),
        (
            "192.168.158.94",
            0,
            "192.168.158.94, which no interface of this host has; it is in eth0's subnet (192.168.71.67/16) but not assigned to this host",
        ),
        (
            "192.168.0.0",
            0,
            "192.168.0.0, which no interface of this host has; it is the network address of eth0's subnet (192.168.71.67/16)",
        ),
        (
            "192.168.255.255",
            0,
            "192.168.255.255, which no interface of this host has; it is the broadcast address of eth0's subnet (192.168.71.67/16)",
        ),
        (
            "172.20.0.200",
            0,
            "172.20.0.200, which no interface of this host has; it is the broadcast address of eth0.100's subnet (172.20.0.1/24)",
        ),
        (
            "172.20.0.255",
            0,
            "172.20.0.255, which no interface of this host has; it is the broadcast address of eth0.100's subnet (172.20.0.1/24)",
        ),
        (
            "10.9.9.0",
            0,
            "10.9.9.0, which no interface of this host has; it is in wg0's subnet (10.9.9.1/31) but not assigned to this host",
        ),
        (
            "10.8.0.2",
            0,
            "10.8.0.2, which no interface of this host has; it is the peer address of tun0, whose own address is 10.8.0.1",
        ),
        (
            "2001:db8:1::",
            0,
            "2001:db8:1::, which no interface of this host has; it is the subnet-router anycast address of eth0's subnet (2001:db8:1::10/64)",
        ),
        (
            "fd00:9::",
            0,
            "fd00:9::, which no interface of this host has; it is in wg0's subnet (fd00:9::1/127) but not assigned to this host",
        ),
        (
            "fe80::77",
            9,
            "fe80::77%9, which no interface of this host has; it is on eth0, but its zone names another interface",
        ),
        (
            "fe80::78",
            2,
            "fe80::78%eth0, which no interface of this host has; it is in eth0's subnet (fe80::77/64) but not assigned to this host",
        ),
        (
            "fe80::78",
            0,
            "fe80::78, which no interface of this host has; it is in none of this host's subnets",
        ),
        (
            "255.255.255.255",
            0,
            "255.255.255.255, which no interface of this host has; it is the limited broadcast address",
        ),
        (
            "224.0.0.1",
            0,
            "224.0.0.1, which no interface of this host has; it is a multicast address",
        ),
        (
            "ff02::1",
            2,
            "ff02::1%eth0, which no interface of this host has; it is a multicast address",
        ),
        (
            "0.1.2.3",
            0,
            "0.1.2.3, which no interface of this host has; it is in the reserved network 0.0.0.0/8",
        ),
        (
            "8.8.8.8",
            0,
            "8.8.8.8, which no interface of this host has; it is in none of this host's subnets",
        ),
    ] {
        let target = BindTarget::classify_in_zone(ip(written), scope_id, &host);
        assert_eq!(target.to_string(), meaning, "{written}%{scope_id}");
    }
}

#[test]
fn bind_target_keeps_all_details() {
    let host = office();
    let BindTarget::Local(local) = BindTarget::classify_in_zone(ip("fe80::77"), 3, &host) else {
        panic!("eth0.100 has it")
    };
    assert_eq!((local.ip(), local.scope_id()), (ip("fe80::77"), Some(3)));
    assert_eq!(
        local.interfaces().map(Interface::index).collect::<Vec<_>>(),
        [Some(3)]
    );

    let BindTarget::Foreign(foreign) = BindTarget::classify(ip("192.168.158.94"), &host) else {
        panic!("no interface has it")
    };
    let ForeignReason::SameSubnet {
        interface, addr, ..
    } = foreign.reason()
    else {
        panic!("{:?}", foreign.reason())
    };
    assert_eq!((interface.name(), addr.ip()), ("eth0", ip("192.168.71.67")));
    assert_eq!(
        foreign.nearest(),
        [ip("192.168.71.67"), ip("203.0.113.80"), ip("172.20.0.1")]
    );

    // It has the same family, and is neither loopback nor link-local.
    let BindTarget::Foreign(foreign) = BindTarget::classify(ip("2001:db8::9"), &host) else {
        panic!("no interface has it")
    };
    assert_eq!(foreign.nearest(), [ip("2001:db8:1::10"), ip("fd00:9::1")]);
}

#[test]
fn bind_targets_compare_by_value() {
    let host = office();
    let with_more: Interfaces = host
        .iter()
        .cloned()
        .chain([Interface::new("eth9", 9)])
        .collect();
    let class = |host: &Interfaces| BindTarget::classify(ip("192.168.158.94"), host);
    assert_eq!(class(&host), class(&with_more));
    assert_ne!(
        class(&host),
        class(&Interfaces::default()),
        "the reason is another"
    );
    assert_ne!(
        BindTarget::classify_in_zone(ip("fe80::77"), 2, &host),
        BindTarget::classify_in_zone(ip("fe80::77"), 3, &host),
    );
}

#[test]
fn wildcard_display_names_families() {
    let parse = |text| BindTarget::parse_with(text, &Interfaces::default()).unwrap();
    assert_eq!(parse("*"), BindTarget::Any(Wildcard::All));
    assert_eq!(parse("::"), BindTarget::Any(Wildcard::DualStack));
    assert_eq!(parse("[::]"), BindTarget::Any(Wildcard::DualStack));
    assert_eq!(parse("0.0.0.0"), BindTarget::Any(Wildcard::Ipv4));
    assert_eq!(parse("ipv4@*"), BindTarget::Any(Wildcard::Ipv4));
    assert_eq!(parse("ipv6@*"), BindTarget::Any(Wildcard::Ipv6));
    assert_eq!(parse("ipv6@[::]"), BindTarget::Any(Wildcard::Ipv6));
    assert_eq!(parse("::ffff:0.0.0.0"), BindTarget::Any(Wildcard::Ipv4));
    assert_eq!(
        parse("ipv6@*").to_string(),
        "every IPv6 address of this host"
    );
    for (wildcard, ipv4, ipv6) in [
        (Wildcard::All, true, true),
        (Wildcard::DualStack, true, true),
        (Wildcard::Ipv4, true, false),
        (Wildcard::Ipv6, false, true),
    ] {
        assert_eq!(wildcard.takes(Family::Ipv4), ipv4, "{wildcard:?}");
        assert_eq!(wildcard.takes(Family::Ipv6), ipv6, "{wildcard:?}");
    }
}

#[test]
fn debug_contains_display() {
    let host = office();
    let BindTarget::Local(local) = BindTarget::classify_in_zone(ip("fe80::77"), 2, &host) else {
        panic!("eth0 has it");
    };
    let debug = format!("{local:?}");
    assert!(
        debug.starts_with(
            "LocalAddr { ip: fe80::77, scope_id: Some(2), interfaces: [Interface { name: \"eth0\""
        ),
        "{debug}"
    );
    let BindTarget::Foreign(foreign) = BindTarget::classify_in_zone(ip("fe80::77"), 4, &host)
    else {
        panic!("wg0 does not have it");
    };
    assert_eq!(foreign.scope_id(), Some(4));
    let debug = format!("{foreign:?}");
    assert!(
        debug.starts_with("ForeignAddr { ip: fe80::77, scope_id: Some(4), reason: OtherZone"),
        "{debug}"
    );
    let BindTarget::Foreign(foreign) = BindTarget::classify(ip("8.8.8.8"), &host) else {
        panic!("no interface here has it");
    };
    assert_eq!(foreign.scope_id(), None);
}

/// The classification in the words of the specification, by scanning.
fn expected(asked: IpAddr, scope_id: u32, interfaces: &[Interface]) -> &'static str {
    let canonical = asked.to_canonical();
    let zoned = matches!(canonical, IpAddr::V6(ip) if is_link_local(ip)) && scope_id != 0;
    let owned = interfaces.iter().any(|interface| {
        interface.addrs().iter().any(|addr| addr.ip() == canonical)
            && (!zoned || interface.index() == Some(scope_id))
    });
    match canonical {
        ip if ip.is_unspecified() => "any",
        ip if ip.is_loopback() => "loopback",
        _ if owned => "local",
        _ => "foreign",
    }
}

fn is_link_local(ip: Ipv6Addr) -> bool {
    let first = ip.segments()[0];
    first & 0xffc0 == 0xfe80 || first & 0xff0f == 0xff01 || first & 0xff0f == 0xff02
}

fn class(target: &BindTarget) -> &'static str {
    let classes = [
        (target.is_any(), "any"),
        (target.is_loopback(), "loopback"),
        (target.is_local(), "local"),
        (target.is_foreign(), "foreign"),
    ];
    let classes: Vec<&str> = classes
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, name)| *name)
        .collect();
    assert_eq!(classes.len(), 1, "a target is of one class: {target:?}");
    classes[0]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    // Law 4: total and exclusive, the same for an address and its mapped form,
    // and independent of the order of the interfaces.
    #[test]
    fn classification_depends_on_address_and_host_only(
        (interfaces, shuffled) in interfaces().prop_flat_map(|interfaces| {
            (Just(interfaces.clone()), Just(interfaces).prop_shuffle())
        }),
        asked in near_ips(),
        scope_id in 0..6u32,
    ) {
        let host: Interfaces = interfaces.iter().cloned().collect();
        let listed = host.iter().flat_map(Interface::addrs).map(bindaddr::interfaces::InterfaceAddr::ip);
        for asked in listed.chain([asked]) {
            let target = BindTarget::classify_in_zone(asked, scope_id, &host);
            prop_assert_eq!(class(&target), expected(asked, scope_id, &interfaces));
            let anywhere = match BindTarget::classify(asked, &host) {
                BindTarget::Any(_) => Class::Any,
                BindTarget::Loopback(_) => Class::Loopback,
                BindTarget::Local(_) => Class::Local,
                BindTarget::Foreign(_) => Class::Foreign,
            };
            prop_assert_eq!(Class::of(asked, &host), anywhere);
            prop_assert_eq!(host.contains(asked), host.by_ip(asked).next().is_some());

            let shuffled: Interfaces = shuffled.iter().cloned().collect();
            prop_assert_eq!(&BindTarget::classify_in_zone(asked, scope_id, &shuffled), &target);

            if let IpAddr::V4(v4) = asked {
                let mapped = v4.to_ipv6_mapped().into();
                prop_assert_eq!(Class::of(mapped, &host), anywhere);
                prop_assert_eq!(host.contains(mapped), host.contains(asked));
                prop_assert_eq!(&BindTarget::classify_in_zone(mapped, scope_id, &host), &target);
            }
            prop_assert!(!target.to_string().is_empty());
            if let BindTarget::Foreign(foreign) = &target {
                for ip in foreign.nearest() {
                    prop_assert!(host.by_ip(ip).next().is_some());
                    prop_assert_eq!(ip.is_ipv4(), foreign.ip().is_ipv4());
                }
            }
        }
    }
}

#[test]
fn alternate_display_is_complete() {
    let shared = InterfaceAddr::new(ip("10.0.0.1"), 24);
    let eth = |n: u32| Interface::new(format!("eth{n}"), n + 1).with_interface_addr(shared.clone());
    let temporary = InterfaceAddr::new(ip("2001:db8::1"), 64)
        .with_state(AddrState::Deprecated)
        .with_temporary(true);
    let host: Interfaces = (1..=5)
        .map(eth)
        .chain([eth(6).with_running(false).with_interface_addr(temporary)])
        .collect();
    let said = |text: &str| {
        let target = BindTarget::classify(ip(text), &host);
        (target.to_string(), format!("{target:#}"))
    };
    assert_eq!(
        said("10.0.0.1"),
        (
            "10.0.0.1, an address of eth1 and eth2 and eth3 and 3 more".to_owned(),
            "10.0.0.1, an address of eth1 (10.0.0.0/24) and eth2 (10.0.0.0/24) and eth3 \
             (10.0.0.0/24) and eth4 (10.0.0.0/24) and eth5 (10.0.0.0/24) and eth6 (not running) \
             (10.0.0.0/24)"
                .to_owned(),
        ),
    );
    assert_eq!(
        said("2001:db8::1").1,
        "2001:db8::1, an address of eth6 (not running) (2001:db8::/64, deprecated, temporary)",
    );
    assert_eq!(
        said("10.0.0.7"),
        (
            "10.0.0.7, which no interface of this host has; it is in eth1's subnet \
             (10.0.0.1/24) but not assigned to this host"
                .to_owned(),
            "10.0.0.7, which no interface of this host has; it is in eth1's subnet \
             (10.0.0.1/24) but not assigned to this host; closest local addresses: 10.0.0.1"
                .to_owned(),
        ),
    );
    let lo = Interface::new("lo", 1).with_addr(ip("127.0.0.1"), 8);
    let host: Interfaces = [lo.with_addr(ip("192.0.2.1"), 24)].into_iter().collect();
    assert_eq!(
        BindTarget::classify(ip("192.0.2.77"), &host).to_string(),
        "192.0.2.77, which no interface of this host has; it is in lo's subnet (192.0.2.1/24) but not assigned to this host",
    );
    assert_eq!(said("0.0.0.0").0, said("0.0.0.0").1);
}
