//! The kernel as oracle: hosts are made up, built in a namespace, and asked.
//!
//! `bind`'s verdict is held against a plain std bind, and the class against the
//! verdict; where they differ, the kind of the difference must be a known one.
//! `BINDADDR_ORACLE_HOSTS` sets how many hosts are built, 200 if it is not set.
#![cfg(target_os = "linux")]

mod util;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::process::{Command, Stdio};

use bindaddr::addr::Network;
use bindaddr::target::{ForeignReason, GroupAddr};
use bindaddr::{BindTarget, Cause, Interfaces, bind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use util::netns::{in_namespace, wait_until_usable};

/// A host to build.
#[derive(Clone, Debug)]
struct Plan {
    cards: Vec<Card>,
    /// Addresses on `lo`, as a balancer has them.
    on_lo: Vec<(IpAddr, u8)>,
    /// A network that is local by a route only.
    any_ip: Option<Network>,
}

#[derive(Clone, Debug)]
struct Card {
    up: bool,
    addrs: Vec<(IpAddr, u8)>,
    /// Two ends of a point-to-point address.
    peer: Option<(Ipv4Addr, Ipv4Addr)>,
    label: Option<Ipv4Addr>,
}

/// Addresses in a few small blocks, so that hosts, subnets and questions meet.
fn v4() -> impl Strategy<Value = Ipv4Addr> {
    (0..3u8, 1..=254u8).prop_map(|(block, host)| Ipv4Addr::new(10, 0, block, host))
}

fn addr() -> impl Strategy<Value = (IpAddr, u8)> {
    let v4 = (
        v4(),
        prop_oneof![8..=32u8, Just(24), Just(30), Just(31), Just(32)],
    );
    let v6 = (
        0..3u16,
        1..=0xffu16,
        prop_oneof![Just(64u8), Just(126), Just(127), Just(128)],
    );
    prop_oneof![
        v4.prop_map(|(ip, len)| (IpAddr::V4(ip), len)),
        v6.prop_map(|(block, host, len)| {
            (
                IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, block, 0, 0, 0, host)),
                len,
            )
        }),
        (1..=0xffu16).prop_map(|host| (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host).into(), 64)),
    ]
}

fn plans() -> impl Strategy<Value = Plan> {
    let card = (
        prop::bool::weighted(0.8),
        prop::collection::vec(addr(), 0..5),
        prop::option::weighted(0.2, (v4(), v4())),
        prop::option::weighted(0.2, v4()),
    );
    let card = card.prop_map(|(up, addrs, peer, label)| Card {
        up,
        addrs,
        peer,
        label,
    });
    let on_lo = prop_oneof![Just(24u8), Just(32)];
    (
        prop::collection::vec(card, 1..4),
        prop::collection::vec((v4().prop_map(IpAddr::V4), on_lo), 0..2),
        prop::option::weighted(0.2, (v4(), 24..=32u8)),
    )
        .prop_map(|(cards, on_lo, any_ip)| Plan {
            cards,
            on_lo,
            any_ip: any_ip.map(|(ip, len)| Network::containing(ip.into(), len)),
        })
}

impl Plan {
    /// Builds the host in this namespace, in place of the one before.
    fn build(&self) {
        let mut orders: Vec<String> = (0..3).map(|n| format!("link del eth{n}")).collect();
        orders.push("addr flush dev lo".into());
        orders.push("addr add 127.0.0.1/8 dev lo".into());
        orders.push("addr add ::1/128 dev lo".into());
        orders.push("route flush table local root 10.0.0.0/8".into());
        for (n, card) in self.cards.iter().enumerate() {
            orders.push(format!("link add name eth{n} type veth peer name far{n}"));
            orders.push(format!("link set far{n} up"));
            if card.up {
                orders.push(format!("link set eth{n} up"));
            }
            for (ip, len) in &card.addrs {
                orders.push(format!("addr add {ip}/{len} brd + dev eth{n}"));
                orders.push(format!("addr add {ip}/{len} dev eth{n}"));
            }
            if let Some((here, there)) = card.peer {
                orders.push(format!("addr add {here} peer {there} dev eth{n}"));
            }
            if let Some(ip) = card.label {
                orders.push(format!("addr add {ip}/24 label eth{n}:web dev eth{n}"));
            }
        }
        for (ip, len) in &self.on_lo {
            orders.push(format!("addr add {ip}/{len} dev lo"));
        }
        if let Some(network) = self.any_ip {
            orders.push(format!("route add local {network} dev lo"));
        }
        // Impossible hosts, such as one with an address twice, are left out.
        let mut ip = Command::new("ip")
            .args(["-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("iproute2 is installed");
        let mut stdin = ip.stdin.take().expect("it is piped");
        stdin
            .write_all((orders.join("\n") + "\n").as_bytes())
            .expect("ip reads");
        drop(stdin);
        ip.wait().expect("ip ends");
        wait_until_usable();
    }
}

/// The addresses to ask about: each of the host's and those around it, and some of each kind.
fn questions(host: &Interfaces) -> Vec<(IpAddr, u32)> {
    let mut asked: Vec<(IpAddr, u32)> = [
        "0.0.0.0",
        "::",
        "127.0.0.1",
        "127.0.0.2",
        "127.255.255.255",
        "::1",
        "::2",
        "8.8.8.8",
        "255.255.255.255",
        "224.0.0.1",
        "240.0.0.1",
        "0.0.0.1",
        "169.254.7.7",
        "2001:db8::1",
        "ff02::1",
        "fe80::1",
        "fec0::1",
        "10.0.1.77",
        "10.0.2.200",
    ]
    .into_iter()
    .map(|ip| (util::ip(ip), 0))
    .collect();
    for interface in host {
        let index = interface.index().unwrap_or(0);
        for addr in interface.addrs() {
            match addr.ip() {
                IpAddr::V4(ip) => {
                    let bits = ip.to_bits();
                    let host_bits = u32::MAX.checked_shr(addr.prefix_len().into()).unwrap_or(0);
                    let around = [
                        bits,
                        bits ^ 1,
                        bits.wrapping_add(1),
                        bits & !host_bits,
                        bits | host_bits,
                    ];
                    asked.extend(around.map(|bits| (Ipv4Addr::from_bits(bits).into(), 0)));
                }
                IpAddr::V6(ip) => {
                    let bits = ip.to_bits();
                    let first = addr.subnet().first();
                    asked.extend([
                        (ip.into(), 0),
                        (ip.into(), index),
                        (ip.into(), 9999),
                        (first, index),
                    ]);
                    asked.push((Ipv6Addr::from_bits(bits ^ 1).into(), index));
                }
            }
        }
    }
    let mapped: Vec<_> = asked
        .iter()
        .filter_map(|(ip, _)| match ip {
            IpAddr::V4(ip) => Some((IpAddr::V6(ip.to_ipv6_mapped()), 0)),
            IpAddr::V6(_) => None,
        })
        .collect();
    asked.extend(mapped);
    asked
}

/// Names why a class that promises a verdict did not have it.
fn known_difference(plan: &Plan, target: &BindTarget, bound: bool) -> Option<&'static str> {
    match target {
        BindTarget::Foreign(foreign) if bound => match foreign.reason() {
            ForeignReason::Multicast => {
                Some("a multicast address binds, but no TCP client can connect")
            }
            ForeignReason::LimitedBroadcast | ForeignReason::DirectedBroadcast { .. } => {
                Some("a broadcast address binds, but no TCP client can connect")
            }
            _ if plan
                .any_ip
                .is_some_and(|network| network.contains(foreign.ip())) =>
            {
                Some("a local route covers the address")
            }
            _ if plan
                .on_lo
                .iter()
                .any(|(ip, len)| Network::containing(*ip, *len).contains(foreign.ip())) =>
            {
                Some("a prefix on lo is entirely local")
            }
            _ => None,
        },
        BindTarget::Local(local) if !bound => match local.ip() {
            IpAddr::V6(ip) if ip.is_unicast_link_local() && local.scope_id().is_none() => {
                Some("a link-local address needs its zone")
            }
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn verdicts_and_classes_agree_with_the_kernel() {
    in_namespace(|| {
        let hosts = std::env::var("BINDADDR_ORACLE_HOSTS");
        let hosts = hosts.ok().and_then(|n| n.parse().ok()).unwrap_or(200);
        let mut runner = TestRunner::new(Config {
            cases: hosts,
            // A host is seldom worth making smaller.
            max_shrink_iters: 100,
            failure_persistence: None,
            ..Config::default()
        });
        let mut asked_in_all = 0;
        let mut differences: BTreeMap<&str, usize> = BTreeMap::new();
        let counts = std::cell::RefCell::new((&mut asked_in_all, &mut differences));
        let agreed = runner.run(&plans(), |plan| {
            plan.build();
            let host = Interfaces::system().expect("netlink is there");
            for (ip, scope_id) in questions(&host) {
                let addr = match ip {
                    IpAddr::V4(_) => SocketAddr::new(ip, 0),
                    IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, scope_id).into(),
                };
                let target = BindTarget::classify_in_zone(ip, scope_id, &host);
                let std = TcpListener::bind(addr).map_err(|err| err.raw_os_error());
                for ours in [bind(addr), bind((&target, 0))] {
                    match (ours, &std) {
                        (Ok(_), Ok(_)) => {}
                        (Err(err), _)
                            if matches!(
                                err.cause(),
                                Cause::Group(GroupAddr::Multicast | GroupAddr::Broadcast)
                            ) =>
                        {
                            prop_assert!(err.raw_os_error().is_none());
                        }
                        (Err(err), Err(code)) => {
                            prop_assert_eq!(&err.raw_os_error(), code, "{}", addr);
                            prop_assert!(!matches!(err.cause(), Cause::Other { .. }), "{:?}", err);
                        }
                        (ours, _) => {
                            prop_assert!(false, "{}: ours {:?}, std {:?}", addr, ours, std);
                        }
                    }
                }
                let bound = std.is_ok();
                if bound == target.is_foreign() {
                    let known = known_difference(&plan, &target, bound);
                    prop_assert!(
                        known.is_some(),
                        "{} is {}, and bound: {}",
                        addr,
                        target,
                        bound
                    );
                    let mut counts = counts.borrow_mut();
                    *counts.1.entry(known.unwrap_or_default()).or_default() += 1;
                }
                *counts.borrow_mut().0 += 1;
            }
            Ok(())
        });
        agreed.unwrap_or_else(|err| panic!("{err}"));
        println!("{hosts} hosts, {asked_in_all} addresses; the class is not the verdict where");
        let docs = include_str!("../docs/diagnosis.md");
        for (known, count) in &differences {
            assert!(docs.contains(&format!("\n- {known}\n")), "{known}");
            println!("{count:6}  {known}");
        }
        assert!(asked_in_all >= 50 * hosts as usize, "{asked_in_all}");
    });
}
