//! Valid settings that are probably unintended.

use super::*;

#[allow(clippy::needless_pass_by_value)] // they are closed behind it
fn notes<S: bindaddr::update::StdSocket>(bound: bindaddr::Listeners<S>) -> Vec<String> {
    let host = Interfaces::system().expect("netlink is there");
    let warnings = bound.iter().flat_map(|one| one.warnings(&host));
    warnings.map(|warning| warning.kind().to_string()).collect()
}

#[test]
fn host_without_ipv4_has_a_warning() {
    const TEST: &str = "warnings::host_without_ipv4_has_a_warning";
    if rerun::role().as_deref() == Some("never-up") {
        let none = "no interface of this network namespace has an IPv4 address, so no client can connect over IPv4";
        let family = Some(Family::Ipv4);
        for text in ["0.0.0.0:80", "8.8.8.8:80", "127.0.0.1:80"] {
            assert_eq!(notes(bind(text).unwrap()), [none], "{text}");
            let check = bindaddr::check([text]);
            let [warning] = check.settings()[0].sockets()[0].warnings() else {
                panic!("{check}")
            };
            assert!(
                matches!(warning.kind(), WarningKind::NoAddress { family: of, .. } if *of == family),
                "{warning:?}"
            );
        }
        // Without an address of either family no client can connect to a dual-stack wildcard.
        let neither =
            "no interface of this network namespace has an address, so no client can connect";
        for text in ["*:80", "[::]:80"] {
            assert_eq!(notes(bind(text).unwrap()), [neither], "{text}");
        }
        let no_ipv6 = "no interface of this network namespace has an IPv6 address, so no client can connect over IPv6";
        assert_eq!(notes(bind("ipv6@*:80").unwrap()), [no_ipv6]);
        assert_eq!(
            bind("[::1]:80").unwrap_err().to_string(),
            "cannot listen on [::1]:80: the loopback interface is down"
        );
        // IPv6 can do without.
        set("net/ipv6/conf/default/accept_dad", "0");
        let mut peer = Host::start(TEST);
        peer.cable("eth0", "far0");
        ip("addr add 2001:db8::1/64 dev eth0");
        peer.ip("addr add 2001:db8::2/64 dev far0");
        for text in ["[::]:80", "[2001:db8::1]:80"] {
            let bound = bind(text).unwrap();
            let came = peer.connects("[2001:db8::1]:80".parse().unwrap());
            assert!(came, "{text}");
            assert_eq!(notes(bound), [""; 0], "{text}");
        }
        assert_eq!(notes(bind("8.8.8.8:80").unwrap()), [none]);
        // An address is enough, although its interface is down.
        ip("link set eth0 down");
        ip("addr add 10.0.0.1/24 dev eth0");
        assert!(bind("8.8.8.8:80").is_err());
        ip("addr del 10.0.0.1/24 dev eth0");
        assert_eq!(notes(bind("0.0.0.0:80").unwrap()), [none]);
        // Broadcasts are received, as by a DHCP client.
        for text in ["0.0.0.0:68", "255.255.255.255:68", "224.0.0.251:5353"] {
            let bound = bind_udp(text);
            let warnings = bound.map(notes);
            assert_eq!(warnings.unwrap_or_default(), [""; 0], "{text}");
        }
        return rerun::done();
    }
    in_namespace(|| {
        rerun::run(TEST, "never-up", &["unshare", "--net", "--"]);
    });
}

/// The note on an address that `what` makes bindable.
fn later(addr: &str, what: &str) -> String {
    format!(
        "no interface of this host has {addr}; {what}, and no client can connect until an interface has it or a local route covers it"
    )
}

#[test]
fn valid_but_unlikely_settings_have_warnings() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        for text in [
            "127.0.0.1:80",
            "127.0.0.2:80",
            "10.0.0.1:80",
            "0.0.0.0:80",
            "[::]:80",
        ] {
            assert_eq!(notes(bind(text).unwrap()), [""; 0], "{text}");
        }
        ip("route add local 198.51.100.0/24 dev lo");
        assert_eq!(
            notes(bind("198.51.100.7:80").unwrap()),
            [
                "no interface of this host has 198.51.100.7; a local route makes it bindable and reachable"
            ]
        );
        let bound = bind("198.51.100.7:80").unwrap();
        TcpStream::connect("198.51.100.7:80").expect("as the note says");
        drop(bound);
        let freebind = BindOptions::new().freebind(true);
        for (text, addr) in [
            ("203.0.113.1:80", "203.0.113.1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
        ] {
            assert_eq!(
                notes(freebind.bind(text).unwrap()),
                [later(addr, "it was bound with IP_FREEBIND")]
            );
            // A target as well as a text.
            let target = bindaddr::BindTarget::parse(addr).unwrap();
            assert_eq!(
                notes(freebind.bind((target, 81)).unwrap()),
                [later(addr, "it was bound with IP_FREEBIND")]
            );
        }
        set("net/ipv4/ip_nonlocal_bind", "1");
        set("net/ipv6/ip_nonlocal_bind", "1");
        let bound = bind("203.0.113.1:80").unwrap();
        let warnings = bound[0].warnings(&Interfaces::system().unwrap());
        assert!(matches!(
            warnings[0].kind(),
            WarningKind::NotListed {
                why: BindableReason::NonLocalBind,
                ..
            }
        ));
        assert_eq!(
            notes(bound),
            [later(
                "203.0.113.1",
                "`net.ipv4.ip_nonlocal_bind` makes it bindable"
            )]
        );
        assert_eq!(
            notes(bind("[2001:db8::1]:80").unwrap()),
            [later(
                "2001:db8::1",
                "`net.ipv6.ip_nonlocal_bind` makes it bindable"
            )]
        );
        // A group address is normal for a UDP socket.
        let group = bind_udp("224.0.0.1:0").unwrap();
        assert_eq!(group[0].warnings(&Interfaces::system().unwrap()), []);

        set("net/ipv6/conf/all/disable_ipv6", "1");
        assert_eq!(
            notes(bind("ipv6@*:81").unwrap()),
            [
                "no interface of this network namespace has an IPv6 address, so no client can connect over IPv6"
            ]
        );
        assert_eq!(notes(bind("*:81").unwrap()), [""; 0]);
        // A local route brings clients without any address.
        set("net/ipv6/conf/lo/disable_ipv6", "0");
        ip("-6 addr flush dev lo");
        ip("-6 route add local 2001:db8::/64 dev lo");
        assert_eq!(notes(bind("ipv6@*:81").unwrap()), [""; 0]);
        ip("link set lo down");
        assert_eq!(
            notes(bind("127.0.0.1:80").unwrap()),
            ["the loopback interface is down, so no client can connect to 127.0.0.1"]
        );
    });
}

#[test]
fn unbindable_routes_have_warnings() {
    in_namespace(|| {
        cable();
        set("net/ipv4/ip_nonlocal_bind", "2"); // as good as 1
        set("net/ipv6/ip_nonlocal_bind", "1");
        // IPv6 binds what interfaces have, and takes in what a route brings.
        let routed = "[2001:db8:5::7]:80";
        assert_eq!(
            notes(bind(routed).unwrap()),
            [later(
                "2001:db8:5::7",
                "`net.ipv6.ip_nonlocal_bind` makes it bindable"
            )]
        );
        ip("-6 route add local 2001:db8:5::/64 dev lo");
        let bound = bind(routed).unwrap();
        TcpStream::connect(routed).expect("as the note says");
        assert_eq!(
            notes(bound),
            [
                "no interface of this host has 2001:db8:5::7; `net.ipv6.ip_nonlocal_bind` makes it bindable, and a local route makes it reachable"
            ]
        );
        // IPv4 binds by no other table.
        ip("rule add to 203.0.113.0/24 lookup 100");
        ip("route add local 203.0.113.0/24 dev lo table 100");
        let bound = bind("203.0.113.1:80").unwrap();
        assert!(TcpStream::connect("203.0.113.1:80").is_err());
        assert_eq!(
            notes(bound),
            [later(
                "203.0.113.1",
                "`net.ipv4.ip_nonlocal_bind` makes it bindable"
            )]
        );
        ip("route add local 198.18.0.0/24 dev lo table main");
        assert_eq!(
            notes(bind("198.18.0.1:80").unwrap()),
            [later(
                "198.18.0.1",
                "`net.ipv4.ip_nonlocal_bind` makes it bindable"
            )]
        );
        // An address of another interface.
        ip("addr add fe80::77/64 dev eth0");
        assert_eq!(
            notes(bind("[fe80::77%far0]:80").unwrap()),
            [
                "the interface of its zone does not have fe80::77; `net.ipv6.ip_nonlocal_bind` makes it bindable, and no client can connect until an interface has it or a local route covers it"
            ]
        );
    });
}
