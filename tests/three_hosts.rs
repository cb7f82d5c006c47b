//! Tests who can connect, with real connections: from this host, from a neighbour on its link, and
//! from a host behind the neighbour, which forwards.

mod util;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use bindaddr::reach::Origin;
use bindaddr::{BindOptions, Exposure, Interfaces, Listeners};
use util::ip as parse_ip;
use util::netns::{Host, connects_each, in_namespace, ip, set, wait_until_connects};

const PORT: u16 = 5000;

struct Network {
    neighbour: Host,
    remote: Host,
    /// The neighbour's zone of the server's link, and the remote's of its own.
    zones: (u32, u32),
}

/// Gives the server, which is this namespace, one address of every kind, and the others routes to
/// it.
fn network(test: &str) -> Network {
    let mut neighbour = Host::start(test);
    let mut remote = Host::start(test);
    neighbour.cable("eth0", "eth0");
    neighbour.cable_to("eth1", &mut remote, "eth0");
    neighbour.set("net/ipv4/ip_forward", "1");
    neighbour.set("net/ipv6/conf/all/forwarding", "1");
    neighbour.ip("addr add 192.168.158.94/16 dev eth0");
    neighbour.ip("addr add fd00::158:94/64 dev eth0 nodad");
    neighbour.ip("addr add 10.2.0.1/24 dev eth1");
    neighbour.ip("addr add fd02::1/64 dev eth1 nodad");
    remote.ip("addr add 10.2.0.2/24 dev eth0");
    remote.ip("addr add fd02::2/64 dev eth0 nodad");
    remote.ip("route add default via 10.2.0.1");
    remote.ip("route add default via fd02::1");

    ip("addr add 192.168.71.67/16 dev eth0");
    ip("addr add fd00::71:67/64 dev eth0 nodad");
    ip("addr add fe80::71:67/64 dev eth0 nodad");
    ip("route add default via 192.168.158.94");
    ip("route add default via fd00::158:94");
    // Virtual addresses that a balancer forwards to.
    ip("addr add 10.9.9.9/32 dev lo");
    ip("addr add fd00:9::9/128 dev lo");
    // An interface that is down, and one without a carrier, where duplicate address detection never
    // ends.
    ip("link add name down0 type veth peer name down1");
    ip("addr add 10.66.0.1/24 dev down0");
    // IPv6 has a route to an address that was added while the interface was down.
    ip("addr add fd66::1/64 dev down0 nodad");
    set("net/ipv6/conf/default/accept_dad", "1");
    ip("link add name dark0 type veth peer name dark1");
    ip("link set dark0 up");
    ip("addr add 10.77.0.1/24 dev dark0");
    ip("addr add fd77::1/64 dev dark0");
    set("net/ipv6/conf/default/accept_dad", "0");
    for to in ["10.9.9.9", "10.66.0.1", "10.77.0.1"] {
        neighbour.ip(&format!("route add {to} via 192.168.71.67"));
    }
    for to in ["fd00:9::9", "fd66::1", "fd77::1"] {
        neighbour.ip(&format!("route add {to} via fd00::71:67"));
    }
    let zones = (neighbour.zone("eth0"), remote.zone("eth0"));
    Network {
        neighbour,
        remote,
        zones,
    }
}

/// Every address to try: the server's, those that it could be taken to have, and another host's.
const ADDRESSES: [&str; 16] = [
    "127.0.0.1",
    "127.0.0.2",
    "::1",
    "192.168.71.67",
    "fd00::71:67",
    "fe80::71:67",
    "10.9.9.9",
    "fd00:9::9",
    "10.66.0.1",
    "10.77.0.1",
    "fd66::1",
    "fd77::1",
    "192.168.158.94",
    "fd00::158:94",
    "192.168.0.0",
    "192.168.255.255",
];

impl Network {
    /// The connections that come about, of all that are tried: "server>127.0.0.1". What is dropped
    /// on the way, which takes its time, is tried by a `thorough` look only.
    fn reached(&mut self, thorough: bool) -> BTreeSet<String> {
        let host = Interfaces::system().expect("netlink is there");
        let own = host
            .by_name("eth0")
            .and_then(bindaddr::interfaces::Interface::index)
            .expect("it has an index");
        let to = |zone: u32, left_out: &[&str]| -> Vec<SocketAddr> {
            let tried = ADDRESSES.iter();
            let tried = tried.filter(|address| thorough || !left_out.contains(address));
            let to = tried.map(|address| match parse_ip(address) {
                IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                    SocketAddrV6::new(ip, PORT, 0, zone).into()
                }
                ip => SocketAddr::new(ip, PORT),
            });
            to.collect()
        };
        let from_here = to(own, &["fd77::1", "192.168.0.0"]);
        let from_near = to(self.zones.0, &["fd77::1", "192.168.0.0"]);
        let dropped = ["fd77::1", "192.168.0.0", "192.168.255.255", "fe80::71:67"];
        let from_far = to(self.zones.1, &dropped);
        self.neighbour.connect_each(&from_near);
        self.remote.connect_each(&from_far);
        let came = [
            ("server", connects_each(&from_here), from_here),
            ("neighbour", self.neighbour.connected(), from_near),
            ("remote", self.remote.connected(), from_far),
        ];
        let mut reached = BTreeSet::new();
        for (from, came, to) in came {
            let came = to.iter().zip(came).filter(|(_, came)| *came);
            reached.extend(came.map(|(to, _)| format!("{from}>{}", to.ip())));
        }
        reached
    }
}

/// The connections that should come about, by what is printed.
fn promised(listeners: &Listeners, host: &Interfaces) -> BTreeSet<String> {
    let reach = listeners.reach(host);
    let mut promised = BTreeSet::new();
    for dial in reach.addrs() {
        assert_eq!(dial.addr().port(), PORT);
        let places: &[&str] = match dial.origin() {
            Origin::ThisHost => &["server"],
            Origin::Network => &["server", "neighbour", "remote"],
            Origin::Device => &["neighbour", "remote"],
            Origin::Link => &["server", "neighbour"],
            other => panic!("{other:?}"),
        };
        let ip = dial.addr().ip();
        promised.extend(places.iter().map(|place| format!("{place}>{ip}")));
        // 127.0.0.1 represents its network.
        let mut sockets = listeners.iter().map(bindaddr::Listener::local_addr);
        if ip == parse_ip("127.0.0.1")
            && sockets.all(|addr| addr.ip().to_canonical().is_unspecified())
        {
            promised.insert("server>127.0.0.2".to_owned());
        }
    }
    promised
}

#[test]
fn listed_addresses_connect_from_their_origin() {
    const TEST: &str = "listed_addresses_connect_from_their_origin";
    in_namespace(|| {
        let mut network = network(TEST);
        let host = Interfaces::system().unwrap();
        let plain = BindOptions::new();
        let (on_eth0, on_lo) = (plain.clone().device("eth0"), plain.clone().device("lo"));
        for (options, text, exposure, count) in [
            (&plain, "0.0.0.0", Exposure::Private, 5),
            (&plain, "[::]", Exposure::Private, 10),
            (&plain, "*", Exposure::Private, 10),
            (&plain, "ipv6@*", Exposure::Private, 5),
            (&plain, "[::ffff:0.0.0.0]", Exposure::Private, 5),
            (&plain, "localhost", Exposure::ThisHost, 2),
            (&plain, "127.0.0.1", Exposure::ThisHost, 1),
            (&plain, "127.0.0.2", Exposure::ThisHost, 1),
            (&plain, "[::1]", Exposure::ThisHost, 1),
            (&plain, "192.168.71.67", Exposure::Private, 1),
            (&plain, "[::ffff:192.168.71.67]", Exposure::Private, 1),
            (&plain, "[fd00::71:67]", Exposure::Private, 1),
            (&plain, "[fe80::71:67%eth0]", Exposure::Link, 1),
            (&plain, "10.9.9.9", Exposure::Private, 1),
            (&plain, "[fd00:9::9]", Exposure::Private, 1),
            (&plain, "10.66.0.1", Exposure::Private, 1),
            (&plain, "10.77.0.1", Exposure::Private, 1),
            (&plain, "[fd66::1]", Exposure::Private, 1),
            (&plain, "eth0", Exposure::Private, 3),
            (&plain, "_private_", Exposure::Private, 7),
            (&on_eth0, "0.0.0.0", Exposure::Private, 4),
            (&on_eth0, "*", Exposure::Private, 8),
            (&on_eth0, "192.168.71.67", Exposure::Private, 1),
            (&on_eth0, "10.9.9.9", Exposure::Private, 1),
            (&on_eth0, "127.0.0.1", Exposure::ThisHost, 0),
            (&on_lo, "0.0.0.0", Exposure::ThisHost, 2),
            (&on_lo, "*", Exposure::ThisHost, 4),
            (&on_lo, "10.9.9.9", Exposure::ThisHost, 1),
            (&on_lo, "192.168.71.67", Exposure::ThisHost, 0),
        ] {
            let setting = format!("{text}:{PORT}");
            let listeners = match options.bind(&setting) {
                Ok(listeners) => listeners,
                // The address without a carrier is among those that are selected.
                Err(err) if text == "_private_" => {
                    assert!(err.to_string().contains("fd77::1"), "{err}");
                    ip("addr del fd77::1/64 dev dark0");
                    options.bind(&setting).unwrap()
                }
                Err(err) => panic!("{err}"),
            };
            // The kernel gives link-local addresses of its own, which are dialled, too.
            let promised = promised(&listeners, &host);
            let known = |connection: &&String| {
                ADDRESSES
                    .iter()
                    .any(|address| connection.ends_with(&format!(">{address}")))
            };
            let known: BTreeSet<String> = promised.iter().filter(known).cloned().collect();
            let reach = listeners.reach(&host);
            let is_known = |ip: IpAddr| ADDRESSES.iter().any(|address| parse_ip(address) == ip);
            let dialled = reach
                .addrs()
                .iter()
                .filter(|dial| is_known(dial.addr().ip()));
            assert_eq!(dialled.count(), count, "{text}: {reach}");
            assert_eq!(listeners.exposure(&host), exposure, "{text}");
            assert_eq!(
                network.reached(matches!(text, "0.0.0.0" | "[::]")),
                known,
                "{text} {options:?}"
            );
            drop(listeners);
        }
    });
}

#[test]
fn ipv6_address_of_down_interface_is_unreachable() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        set("net/ipv6/conf/eth0/keep_addr_on_down", "1");
        ip("link set eth0 up");
        let listeners = bindaddr::bind("[::]:0").unwrap();
        let to = SocketAddr::new(
            parse_ip("fd00::1"),
            listeners.as_slice()[0].local_addr().port(),
        );
        let is_dialled = || {
            let reach = listeners.reach(&Interfaces::system().unwrap());
            reach.addrs().iter().any(|dial| dial.addr() == to)
        };
        ip("addr add fd00::1/64 dev eth0 nodad");
        // Without a carrier, because the other end is down.
        assert_eq!((is_dialled(), connects_each(&[to])), (true, vec![true]));
        ip("link set far0 up");
        assert_eq!((is_dialled(), connects_each(&[to])), (true, vec![true]));
        ip("link set eth0 down");
        let host = Interfaces::system().unwrap();
        assert_eq!(host.by_ip(to.ip()).count(), 1, "it is kept");
        assert_eq!((is_dialled(), connects_each(&[to])), (false, vec![false]));
        let alone = bindaddr::bind("[fd00::1]:0").unwrap();
        let warnings = alone[0].warnings(&host);
        assert_eq!(
            warnings[0].kind().to_string(),
            "fd00::1 has no local route, so no client can connect; remove the address and add it again"
        );
        // As it says.
        ip("addr del fd00::1/64 dev eth0");
        ip("addr add fd00::1/64 dev eth0 nodad");
        wait_until_connects(alone[0].local_addr());
        assert_eq!(alone[0].warnings(&Interfaces::system().unwrap()), []);
        // One that was added since has its route.
        ip("addr add fd99::1/64 dev eth0 nodad");
        let alone = bindaddr::bind("[fd99::1]:0").unwrap();
        wait_until_connects(alone[0].local_addr());
        let host = Interfaces::system().unwrap();
        assert_eq!(alone.reach(&host).addrs().len(), 1);
        assert_eq!(alone[0].warnings(&host), []);
    });
}

#[test]
fn warnings_agree_with_kernel() {
    const TEST: &str = "warnings_agree_with_kernel";
    in_namespace(|| {
        let mut network = network(TEST);
        ip("addr add 2600:1f00::1/64 dev eth0 nodad");
        let found = |text: &str| -> Vec<String> {
            let host = Interfaces::system().unwrap();
            let listeners = bindaddr::bind(text).unwrap();
            let warnings = listeners.warnings(&host);
            let planned = BindOptions::new().plan(text).unwrap().warnings(&host);
            assert_eq!(warnings, planned, "before a socket is open as well");
            let texts = warnings.iter();
            texts
                .map(|warning| format!("{} {warning}", warning.name()))
                .collect()
        };
        // down0 and dark0 have both ends here, so this is not a container.
        assert_eq!(found("127.0.0.1:5000"), [""; 0]);
        assert_eq!(found("192.168.71.67:5000"), [""; 0]);
        assert_eq!(
            found("10.9.9.9:5000"),
            [
                "loopback-interface 10.9.9.9:5000: other hosts can connect to 10.9.9.9, although it is on the loopback interface lo; only 127.0.0.0/8 and ::1 are limited to this host"
            ],
        );
        assert_eq!(
            found("10.66.0.1:5000"),
            [
                "interface-down 10.66.0.1:5000: down0 is down or has no carrier, so only clients that reach this host through another interface can connect"
            ],
        );
        assert_eq!(
            found("*:5000"),
            [
                "global-address [::]:5000: 2600:1f00::1 on eth0 is a global address, so clients on the internet can connect unless a firewall blocks them"
            ],
        );
        set("net/ipv4/conf/lo/route_localnet", "1");
        assert_eq!(found("localhost:5000"), [""; 0]);
        // As which the kernel takes any number but 0.
        set("net/ipv4/conf/eth0/route_localnet", "2");
        assert_eq!(
            found("localhost:5000"),
            [
                "routed-loopback 127.0.0.1:5000: `net.ipv4.conf.eth0.route_localnet` is set, so other hosts may reach loopback addresses; set it to 0, or block 127.0.0.0/8 from outside"
            ],
        );
        // Through the device lo they do not.
        for text in ["127.0.0.1:5000", "10.9.9.9:5000", "[2600:1f00::1]:5000"] {
            let listeners = BindOptions::new().device("lo").bind(text).unwrap();
            let warnings = listeners.warnings(&Interfaces::system().unwrap());
            assert!(
                warnings
                    .iter()
                    .all(|warning| warning.name() == "not-through-device"),
                "{text}"
            );
        }
        for (options, gets_in) in [
            (BindOptions::new(), true),
            (BindOptions::new().device("lo"), false),
        ] {
            let _listeners = options.bind("10.9.9.9:5000").unwrap();
            let to = "10.9.9.9:5000".parse().unwrap();
            assert_eq!(network.neighbour.connects(to), gets_in);
        }
        set("net/ipv4/conf/eth0/route_localnet", "0");

        // All that leads out of it ends elsewhere now, as in a container.
        ip("link del down0");
        ip("link del dark0");
        let [in_container] = <[String; 1]>::try_from(found("localhost:5000")).unwrap();
        // In a container of Docker, say, its marker follows.
        let evidence = "(its interfaces lead to another network namespace";
        let begun = "container-loopback 127.0.0.1:5000: only this container can connect, not its \
                     host ";
        assert!(
            in_container.starts_with(&format!("{begun}{evidence}")),
            "{in_container}"
        );
        let mend = "); listen on `*` and publish the port to 127.0.0.1 on the host";
        assert!(in_container.ends_with(mend), "{in_container}");
        let [published] = <[String; 1]>::try_from(found("192.168.71.67:5000")).unwrap();
        let begun = "published-port 192.168.71.67:5000: running in a container ";
        assert!(
            published.starts_with(&format!("{begun}{evidence}")),
            "{published}"
        );
        let rest = "); if this port is published, it may be open on every address of the host and bypass \
                    its firewall; publish it to 127.0.0.1 to keep it local";
        assert!(published.ends_with(rest), "{published}");
    });
}

#[test]
fn route_localnet_exposes_loopback() {
    const TEST: &str = "route_localnet_exposes_loopback";
    in_namespace(|| {
        let mut network = network(TEST);
        let _listeners = bindaddr::bind("127.0.0.5:5000").unwrap();
        let to: SocketAddr = "127.0.0.5:5000".parse().unwrap();
        network
            .neighbour
            .set("net/ipv4/conf/all/route_localnet", "1");
        network
            .neighbour
            .ip("route add 127.0.0.5 via 192.168.71.67 src 192.168.158.94");
        network
            .neighbour
            .ip("route del local 127.0.0.0/8 dev lo table local");
        set("net/ipv4/conf/lo/route_localnet", "1");
        assert!(!network.neighbour.connects(to));
        set("net/ipv4/conf/eth0/route_localnet", "2");
        assert!(
            network.neighbour.connects(to),
            "which is what the lint is for"
        );
    });
}

#[test]
fn router_forwards_ipv4_link_local() {
    const TEST: &str = "router_forwards_ipv4_link_local";
    in_namespace(|| {
        let mut network = network(TEST);
        ip("addr add 169.254.7.7/16 dev eth0");
        let listeners = bindaddr::bind("169.254.7.7:5000").unwrap();
        assert_eq!(
            listeners.exposure(&Interfaces::system().unwrap()),
            Exposure::Link
        );
        let to: SocketAddr = "169.254.7.7:5000".parse().unwrap();
        network.neighbour.ip("route add 169.254.7.7 dev eth0");
        assert!(network.neighbour.connects(to));
        assert!(network.remote.connects(to), "its router has a route");
    });
}

/// The limits that docs/exposure.md documents.
#[test]
fn wildcard_accepts_local_route_addresses() {
    const TEST: &str = "wildcard_accepts_local_route_addresses";
    in_namespace(|| {
        let mut network = network(TEST);
        ip("route add local 203.0.113.0/24 dev lo");
        ip("addr add 172.16.0.1/12 dev lo");
        let listeners = bindaddr::bind("0.0.0.0:5000").unwrap();
        for to in ["203.0.113.77", "172.20.5.5"] {
            network
                .neighbour
                .ip(&format!("route add {to} via 192.168.71.67"));
            let to = SocketAddr::new(parse_ip(to), 5000);
            assert!(network.neighbour.connects(to), "{to}");
            // The addresses of a network are not listed one by one.
            let reach = listeners.reach(&Interfaces::system().unwrap());
            assert!(reach.addrs().iter().all(|dial| dial.addr() != to));
            assert_eq!(reach.exposure(), Exposure::Global);
        }
        ip("route del local 203.0.113.0/24 dev lo");
        let host = Interfaces::system().unwrap();
        assert_eq!(listeners.exposure(&host), Exposure::Private);
        ip("route add local 203.0.113.77 dev lo");
        let reach = listeners.reach(&Interfaces::system().unwrap());
        let found = reach
            .addrs()
            .iter()
            .find(|dial| dial.addr().ip() == parse_ip("203.0.113.77"));
        let found = found.expect("it is listed").to_string();
        assert_eq!(
            found,
            "203.0.113.77:5000 from the network, by a local route"
        );
    });
}
