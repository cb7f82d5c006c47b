//! The sockets that exclude each other, against the Linux kernel: every pair of the
//! kinds of addresses, in both orders, with and without devices.
#![cfg(target_os = "linux")]

mod util;

use std::io;
use std::net::SocketAddr;

use bindaddr::check::{Check, CheckedSetting};
use bindaddr::interfaces::Interface;
use bindaddr::{BindError, BindOptions, Cause, Interfaces, bind, bind_udp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::{Domain, Socket, Type};
use util::netns::{in_namespace, ip};

const PORT: u16 = 4000;

/// Sockets that others may have: the address, and whether it is IPv6-only where that matters.
const HELD: [(&str, bool); 14] = [
    ("0.0.0.0", false),
    ("::", false),
    ("::", true),
    ("127.0.0.1", false),
    ("127.0.0.2", false),
    ("192.0.2.10", false),
    ("::1", false),
    ("::1", true),
    ("::ffff:127.0.0.1", false),
    ("::ffff:0.0.0.0", false),
    ("2001:db8:1::10", false),
    ("2001:db8:1::10", true),
    ("fe80::77%v0", false),
    ("fe80::77%v1", true),
];

const WANTED: [&str; 12] = [
    "0.0.0.0",
    "[::]",
    "ipv6@*",
    "127.0.0.1",
    "127.0.0.2",
    "192.0.2.10",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:0.0.0.0]",
    "[2001:db8:1::10]",
    "[fe80::77%v0]",
    "[fe80::77%v1]",
];

const DEVICES: [Option<&str>; 3] = [None, Some("v0"), Some("v1")];

fn host() {
    for (n, peer) in [(0, "p0"), (1, "p1")] {
        ip(&format!("link add name v{n} type veth peer name {peer}"));
        ip(&format!("link set v{n} up"));
        ip(&format!("link set {peer} up"));
        ip(&format!("addr add fe80::77/64 dev v{n}"));
    }
    ip("addr add 192.0.2.10/24 dev v0");
    ip("addr add 2001:db8:1::10/64 dev v0");
}

fn options(device: Option<&str>) -> BindOptions {
    match device {
        Some(name) => BindOptions::new().device(name),
        None => BindOptions::new(),
    }
}

/// A socket made without this crate.
fn hold(kind: Type, text: &str, only_v6: bool, device: Option<&str>) -> io::Result<Socket> {
    let addr: SocketAddr = match text.split_once('%') {
        Some((ip, zone)) => {
            let host = Interfaces::system().expect("netlink is there");
            let index = host.by_name(zone).and_then(Interface::index);
            let index = index.expect("it is an interface");
            format!("[{ip}%{index}]:{PORT}")
                .parse()
                .expect("an address")
        }
        None => SocketAddr::new(util::ip(text), PORT),
    };
    let socket = Socket::new(Domain::for_address(addr), kind, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind_device(device.map(str::as_bytes))?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&addr.into())?;
    if kind == Type::STREAM {
        socket.listen(1)?;
    }
    Ok(socket)
}

/// Binds what is wanted and closes it again.
fn binds(kind: Type, options: &BindOptions, text: &str) -> Result<(), BindError> {
    if kind == Type::STREAM {
        options.bind(text).map(drop)
    } else {
        options.bind_udp(text).map(drop)
    }
}

fn check(kind: Type, options: &BindOptions, texts: &[String]) -> Check {
    if kind == Type::STREAM {
        options.check(texts)
    } else {
        options.check_udp(texts)
    }
}

fn every_pair(kind: Type) {
    host();
    let (mut pairs, mut refused) = (0, 0);
    for (held, only_v6) in HELD {
        for held_device in DEVICES {
            // It cannot be bound to another device than its own.
            if held == "::1" && held_device.is_some() {
                continue;
            }
            let socket = hold(kind, held, only_v6, held_device).expect(held);
            for wanted in WANTED {
                for device in DEVICES {
                    let (options, text) = (options(device), format!("{wanted}:{PORT}"));
                    let pair = format!(
                        "{held} (IPv6-only: {only_v6}, device: {held_device:?}), then {wanted} (device: {device:?})"
                    );
                    let foreseen = check(kind, &options, std::slice::from_ref(&text));
                    match binds(kind, &options, &text) {
                        Ok(()) => assert!(foreseen.is_ok(), "{pair} binds: {foreseen}"),
                        // It comes to no conflict.
                        Err(err) if matches!(err.cause(), Cause::OnAnotherDevice { .. }) => {
                            let is_elsewhere = match wanted {
                                "[::1]" => device.is_some(),
                                "[fe80::77%v0]" => device == Some("v1"),
                                "[fe80::77%v1]" => device == Some("v0"),
                                _ => false,
                            };
                            assert!(is_elsewhere, "{pair}");
                            let problem = foreseen.settings()[0].causes().next();
                            assert!(
                                matches!(problem, Some(Cause::OnAnotherDevice { .. })),
                                "{pair}"
                            );
                        }
                        Err(err) => {
                            let holders = |cause: &Cause| match cause {
                                Cause::InUse { holders, .. } => holders.clone(),
                                cause => panic!("{pair}: {cause:?}"),
                            };
                            let found = holders(err.cause());
                            assert_eq!(found.len(), 1, "{pair}: {err}");
                            assert!(found[0].is_this_process(), "{pair}: {err}");
                            let problem = foreseen.settings()[0].causes().next();
                            let problem = problem.unwrap_or_else(|| panic!("{pair} does not bind"));
                            assert_eq!(holders(problem), found, "{pair}");
                            refused += 1;
                        }
                    }
                    pairs += 1;
                }
            }
            drop(socket);
        }
    }
    println!("{pairs} pairs, {refused} of them refused");
    assert!(refused > pairs / 10 && refused < pairs * 9 / 10);
}

#[test]
fn tcp_conflicts_agree_with_the_kernel() {
    in_namespace(|| {
        every_pair(Type::STREAM);
    });
}

#[test]
fn udp_conflicts_agree_with_the_kernel() {
    in_namespace(|| {
        every_pair(Type::DGRAM);
    });
}

#[test]
fn list_conflicts_agree_with_the_kernel() {
    in_namespace(|| {
        host();
        for kind in [Type::STREAM, Type::DGRAM] {
            for first in WANTED {
                for second in WANTED {
                    let texts = [first, second].map(|host| format!("{host}:{PORT}"));
                    // Beside the IPv4 wildcard in one list the dual-stack one leaves out IPv4.
                    let is_v4 = |host| matches!(host, "0.0.0.0" | "[::ffff:0.0.0.0]");
                    let both = [first, second].contains(&"[::]") && (is_v4(first) || is_v4(second));
                    let options = BindOptions::new().only_v6(both && first == "[::]");
                    let (tcp, udp) = if kind == Type::STREAM {
                        (options.bind(&texts[0]).ok(), None)
                    } else {
                        (None, options.bind_udp(&texts[0]).ok())
                    };
                    assert!(tcp.is_some() || udp.is_some(), "{first}");
                    let options = BindOptions::new().only_v6(both && second == "[::]");
                    let is_fit = binds(kind, &options, &texts[1]).is_ok();
                    drop((tcp, udp));

                    let check = check(kind, &BindOptions::new(), &texts);
                    let opened = if kind == Type::STREAM {
                        bind(&texts).map(|list| (list.as_slice().len(), list.duplicates().len()))
                    } else {
                        bind_udp(&texts)
                            .map(|list| (list.as_slice().len(), list.duplicates().len()))
                    };
                    let problem = check.settings()[1].causes().next();
                    match (opened, problem) {
                        (Ok((2, 0)), None) => assert!(is_fit, "{texts:?}"),
                        // The kernel refuses the same twice.
                        (Ok((1, 1)), None) => assert!(!is_fit, "{texts:?}"),
                        (Err(err), Some(Cause::Conflict { text, .. })) => {
                            assert!(!is_fit, "{texts:?}");
                            assert_eq!(*text, texts[0]);
                            assert!(matches!(err.cause(), Cause::Conflict { .. }), "{err}");
                            assert_eq!(err.errors().count(), 1);
                        }
                        other => panic!("{texts:?}: {other:?}"),
                    }
                }
            }
        }
    });
}

#[test]
fn plan_opens_what_the_kernel_opens() {
    in_namespace(|| {
        host();
        let entry = (0..WANTED.len(), 0..3u16, any::<bool>());
        let lists = prop::collection::vec(entry, 1..8);
        let mut runner = TestRunner::new(Config {
            cases: 2000,
            failure_persistence: None,
            ..Config::default()
        });
        let holds = runner.run(&lists, |list| {
            let texts: Vec<String> = list
                .iter()
                .map(|(host, port, optional)| {
                    let optional = if *optional { "-" } else { "" };
                    format!("{optional}{}:{}", WANTED[*host], PORT + port)
                })
                .collect();
            let check = BindOptions::new().check(&texts);
            match bind(&texts) {
                Ok(listeners) => {
                    // Every one of these has one socket.
                    prop_assert_eq!(
                        listeners.as_slice().len() + listeners.duplicates().len(),
                        texts.len()
                    );
                    prop_assert!(listeners.skipped().is_empty());
                    drop(listeners);
                    prop_assert!(check.is_ok(), "{}", check);
                }
                Err(err) => {
                    // Whatever the plan lets through, the kernel opens.
                    for failure in err.errors() {
                        prop_assert!(matches!(failure.cause(), Cause::Conflict { .. }), "{}", err);
                    }
                    prop_assert!(!check.is_ok());
                    let message = check.settings().iter().flat_map(CheckedSetting::causes);
                    prop_assert_eq!(message.count(), err.errors().count(), "{}\n{}", err, check);
                }
            }
            Ok(())
        });
        holds.unwrap_or_else(|err| panic!("{err}"));
    });
}
