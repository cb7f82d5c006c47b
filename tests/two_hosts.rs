//! The experiment this crate exists for: a server and a laptop on one network,
//! real sockets in real namespaces, and who reaches what.

mod util;

use std::collections::BTreeSet;
use std::error::Error;
use std::net::{IpAddr, SocketAddr, TcpListener};

use bindaddr::diagnosis::Warning;
use bindaddr::target::ForeignReason;
use bindaddr::{BindOptions, BindTarget, Cause, Interfaces, Listener};
use util::ip as parse_ip;
use util::netns::{Host, connects, in_namespace, ip, set};

const PORT: u16 = 5000;

/// Gives the server, which is this namespace, `192.168.71.67` and `fd00::71:67`, and the laptop
/// `192.168.158.94` and `fd00::158:94`.
fn network(test: &str) -> Host {
    let mut laptop = Host::start(test);
    laptop.cable("eth0", "eth0");
    ip("addr add 192.168.71.67/16 dev eth0");
    ip("addr add fd00::71:67/64 dev eth0 nodad");
    laptop.ip("addr add 192.168.158.94/16 dev eth0");
    laptop.ip("addr add fd00::158:94/64 dev eth0 nodad");
    laptop
}

/// Every address of the network, to which connections are tried.
const ADDRESSES: [&str; 6] = [
    "127.0.0.1",
    "::1",
    "192.168.71.67",
    "fd00::71:67",
    "192.168.158.94",
    "fd00::158:94",
];

/// The connections that come about, of all that are tried: "server>127.0.0.1".
fn reachable(laptop: &mut Host) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    for address in ADDRESSES {
        let to = SocketAddr::new(parse_ip(address), PORT);
        if connects(to) {
            reached.insert(format!("server>{address}"));
        }
        if laptop.connects(to) {
            reached.insert(format!("laptop>{address}"));
        }
    }
    reached
}

#[test]
fn four_targets_differ_in_exposure() {
    in_namespace(|| {
        let mut laptop = network("four_targets_differ_in_exposure");
        let host = Interfaces::system().unwrap();

        let everywhere_v4 = [
            "server>127.0.0.1",
            "server>192.168.71.67",
            "laptop>192.168.71.67",
        ];
        let everywhere_v6 = ["server>::1", "server>fd00::71:67", "laptop>fd00::71:67"];
        let both = [everywhere_v4, everywhere_v6].concat();
        for (written, meaning, reached) in [
            (
                "0.0.0.0",
                "every IPv4 address of this host",
                &everywhere_v4[..],
            ),
            ("[::]", "every IPv4 and IPv6 address of this host", &both),
            ("*", "every IPv4 and IPv6 address of this host", &both),
            ("ipv6@*", "every IPv6 address of this host", &everywhere_v6),
            (
                "[::ffff:0.0.0.0]",
                "every IPv4 address of this host",
                &everywhere_v4,
            ),
            (
                "127.0.0.1",
                "this host only (127.0.0.1)",
                &["server>127.0.0.1"],
            ),
            ("[::1]", "this host only (::1)", &["server>::1"]),
            (
                "localhost",
                "this host only (127.0.0.1 and ::1)",
                &["server>127.0.0.1", "server>::1"],
            ),
            (
                "192.168.71.67",
                "192.168.71.67, an address of eth0",
                &["server>192.168.71.67", "laptop>192.168.71.67"],
            ),
            (
                "[::ffff:192.168.71.67]",
                "192.168.71.67, an address of eth0",
                &["server>192.168.71.67", "laptop>192.168.71.67"],
            ),
            (
                "[fd00::71:67]",
                "fd00::71:67, an address of eth0",
                &["server>fd00::71:67", "laptop>fd00::71:67"],
            ),
            (
                "ipv4@eth0",
                "192.168.71.67, an address of eth0",
                &["server>192.168.71.67", "laptop>192.168.71.67"],
            ),
        ] {
            assert_eq!(
                BindTarget::parse_with(written, &host).unwrap().to_string(),
                meaning,
            );
            let listeners = bindaddr::bind(format!("{written}:{PORT}")).unwrap();
            let expected: BTreeSet<String> = reached.iter().map(ToString::to_string).collect();
            assert_eq!(reachable(&mut laptop), expected, "{written}");
            drop(listeners);
            assert_eq!(
                reachable(&mut laptop),
                BTreeSet::new(),
                "{written} is closed"
            );
        }
    });
}

#[test]
fn foreign_bind_names_subnet() {
    in_namespace(|| {
        let mut laptop = network("foreign_bind_names_subnet");
        for (text, sentence) in [
            (
                "192.168.158.94:5000",
                "cannot listen on 192.168.158.94:5000: no interface of this host has 192.168.158.94; \
                 it is in eth0's subnet (192.168.71.67/16) but not assigned to this host; closest local address: 192.168.71.67",
            ),
            (
                "[fd00::158:94]:5000",
                "cannot listen on [fd00::158:94]:5000: no interface of this host has fd00::158:94; \
                 it is in eth0's subnet (fd00::71:67/64) but not assigned to this host; closest local address: fd00::71:67",
            ),
        ] {
            let err = bindaddr::bind(text).unwrap_err();
            assert_eq!(err.to_string(), sentence);
            if text.starts_with("192") {
                let readme = include_str!("../README.md");
                assert!(readme.contains(&format!("| bindaddr | `{sentence}` |")));
                // The crate page has what a `main` that returns the error prints, in several lines.
                let page = include_str!("../src/lib.rs").replace("//!", " ");
                let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
                let printed = format!("Error: {err:?}");
                let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(page.contains(&printed), "{printed}");
            }
            let Cause::NotOnThisHost(foreign) = err.cause() else {
                panic!("{err:?}")
            };
            let ForeignReason::SameSubnet { interface, .. } = foreign.reason() else {
                panic!("{foreign:?}")
            };
            assert_eq!(interface.name(), "eth0");
            // EADDRNOTAVAIL: std's whole message.
            assert_eq!(err.raw_os_error(), Some(99));
            let source = err.source().unwrap().to_string();
            let std = std::io::Error::from_raw_os_error(99).to_string();
            assert_eq!(source, std);
            assert_eq!(
                std::io::Error::from(err).kind(),
                std::io::ErrorKind::AddrNotAvailable
            );
            assert_eq!(reachable(&mut laptop), BTreeSet::new());
        }
    });
}

/// The addresses that the connections waiting at a listener came to.
fn accepted(listener: &Listener) -> Vec<IpAddr> {
    let listener: &TcpListener = listener.as_std();
    listener.set_nonblocking(true).expect("a listener can be");
    let waiting = std::iter::from_fn(|| listener.accept().ok());
    waiting
        .map(|(client, _)| client.local_addr().expect("it has one").ip().to_canonical())
        .collect()
}

#[test]
fn selectors_and_wildcard_cover_interfaces() {
    in_namespace(|| {
        const TEST: &str = "selectors_and_wildcard_cover_interfaces";
        let mut clients: Vec<Host> = (1..=3)
            .map(|n| {
                let mut client = Host::start(TEST);
                client.cable(&format!("eth{n}"), "eth0");
                ip(&format!("addr add 10.0.{n}.1/24 dev eth{n}"));
                ip(&format!("addr add fd00:0:0:{n}::1/64 dev eth{n} nodad"));
                client.ip(&format!("addr add 10.0.{n}.2/24 dev eth0"));
                client.ip(&format!("addr add fd00:0:0:{n}::2/64 dev eth0 nodad"));
                client
            })
            .collect();
        let own = |n: usize| {
            [
                parse_ip(&format!("10.0.{n}.1")),
                parse_ip(&format!("fd00:0:0:{n}::1")),
            ]
        };
        let connect_all = |clients: &mut [Host]| {
            for (n, client) in (1..).zip(clients) {
                for ip in own(n) {
                    assert!(client.connects((ip, PORT).into()), "client {n} to {ip}");
                }
            }
        };

        let wildcard = bindaddr::bind("*:5000").unwrap();
        connect_all(&mut clients);
        let everybody: Vec<IpAddr> = (1..=3).flat_map(own).collect();
        assert_eq!(
            accepted(&wildcard.as_slice()[0]),
            everybody,
            "one socket takes them all"
        );
        drop(wildcard);

        let through: Vec<_> = (1..=3)
            .map(|n| bindaddr::bind(format!("10.0.{n}.0/24:5000")).unwrap())
            .zip((1..=3).map(|n| bindaddr::bind(format!("[fd00:0:0:{n}::/64]:5000")).unwrap()))
            .collect();
        connect_all(&mut clients);
        for (n, (v4, v6)) in (1..).zip(&through) {
            let [own_v4, own_v6] = own(n);
            assert_eq!(accepted(&v4.as_slice()[0]), [own_v4]);
            assert_eq!(accepted(&v6.as_slice()[0]), [own_v6]);
        }
        drop(through);

        // Clients cannot connect through an interface without a listener of its own.
        let second = bindaddr::bind("eth2:5000").unwrap();
        assert_eq!(second.as_slice().len(), 3, "IPv4, IPv6 and link-local IPv6");
        for (n, client) in (1..).zip(&mut clients) {
            for ip in own(n) {
                assert_eq!(
                    client.connects((ip, PORT).into()),
                    n == 2,
                    "client {n} to {ip}"
                );
            }
        }
    });
}

#[test]
fn address_unreachable_through_device_has_a_warning() {
    const TEST: &str = "address_unreachable_through_device_has_a_warning";
    in_namespace(|| {
        let mut laptop = network(TEST);
        ip("addr add 10.5.5.5/32 dev lo");
        laptop.ip("route add 10.5.5.5 via 192.168.71.67");
        let here = "no client can connect to";
        for (device, addr, is_noted) in [
            ("eth0", "127.0.0.1", true),
            ("lo", "127.0.0.1", false),
            ("eth0", "192.168.71.67", false),
            ("lo", "192.168.71.67", true),
            ("eth0", "10.5.5.5", false),
            ("lo", "10.5.5.5", false),
            ("lo", "0.0.0.0", false),
        ] {
            let options = BindOptions::new().device(device);
            let text = format!("{addr}:5000");
            let found: Vec<Warning> = options.check([&text]).settings()[0].sockets()[0]
                .warnings()
                .to_vec();
            let listeners = options.bind(&text).unwrap();
            let warnings = listeners.warnings(&Interfaces::system().unwrap());
            assert_eq!(warnings, found);
            let expected =
                format!("the socket is bound to `{device}`, through which {here} {addr}");
            let said: Vec<String> = warnings.iter().map(|one| one.kind().to_string()).collect();
            assert_eq!(said.contains(&expected), is_noted, "{said:?}");
            if addr != "0.0.0.0" {
                let to: SocketAddr = text.parse().unwrap();
                let is_reached = connects(to) || laptop.connects(to);
                assert_eq!(is_reached, !is_noted, "{addr} on {device}");
            }
        }
        // Others may get in where loopback addresses are routed.
        set("net/ipv4/conf/eth0/route_localnet", "1");
        let listeners = BindOptions::new()
            .device("eth0")
            .bind("127.0.0.1:5000")
            .unwrap();
        assert_eq!(listeners[0].warnings(&Interfaces::system().unwrap()), []);
    });
}
