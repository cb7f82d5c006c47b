//! `BindTarget::dial`: the addresses by which clients can connect.

mod util;

use bindaddr::{BindTarget, DialFrom, Interfaces};
use util::netns::{connects, in_namespace, ip as run_ip};
use util::{ip, office};

fn urls(text: &str, host: &Interfaces) -> Vec<String> {
    let target = BindTarget::parse_with(text, host).expect(text);
    let dials = target.dial(5000, host);
    dials
        .iter()
        .map(|dial| {
            format!(
                "{} {} {}",
                dial.url("http"),
                dial.from(),
                dial.interface().unwrap_or("-")
            )
        })
        .collect()
}

#[test]
fn a_wildcard_is_dialled_by_each_address() {
    let host = office();
    let v4 = [
        "http://127.0.0.1:5000/ this host lo",
        "http://203.0.113.80:5000/ the network lo",
        "http://192.168.71.67:5000/ the network eth0",
        "http://172.20.0.1:5000/ the network eth0.100",
        "http://10.9.9.1:5000/ the network wg0",
        "http://10.8.0.1:5000/ the network tun0",
        "http://100.100.1.2:5000/ the network tailscale0",
    ];
    let v6 = [
        "http://[::1]:5000/ this host lo",
        "http://[2001:db8:1::10]:5000/ the network eth0",
        "http://[fd00:9::1]:5000/ the network wg0",
        "http://[fe80::77%25eth0]:5000/ the link eth0",
        "http://[fe80::77%25eth0.100]:5000/ the link eth0.100",
    ];
    assert_eq!(urls("0.0.0.0", &host), v4);
    assert_eq!(urls("ipv6@*", &host), v6);
    assert_eq!(
        urls("*", &host),
        [&v4[..1], &v6[..1], &v4[1..], &v6[1..]].concat(),
        "loopback first, link-local last, IPv4 before IPv6",
    );
    assert_eq!(urls("*", &host), urls("[::]", &host));
}

#[test]
fn one_address_is_dialled_by_itself() {
    let host = office();
    assert_eq!(
        urls("192.168.71.67", &host),
        ["http://192.168.71.67:5000/ the network eth0"],
    );
    assert_eq!(
        urls("fe80::77%eth0.100", &host),
        ["http://[fe80::77%25eth0.100]:5000/ the link eth0.100"],
    );
    assert_eq!(
        urls("localhost", &host),
        [
            "http://127.0.0.1:5000/ this host lo",
            "http://[::1]:5000/ this host lo"
        ],
    );
    assert_eq!(
        urls("127.0.0.2", &host),
        ["http://127.0.0.2:5000/ this host -"]
    );
    assert_eq!(
        urls("192.168.158.94", &host),
        [""; 0],
        "nobody gets in there"
    );
}

#[test]
fn an_address_of_two_interfaces_is_dialled_once() {
    let host: Interfaces = [
        bindaddr::Interface::new("eth0", 2)
            .with_addr(ip("10.0.0.1"), 24)
            .with_addr(ip("10.0.0.9"), 24),
        bindaddr::Interface::new("eth1", 3).with_addr(ip("10.0.0.1"), 24),
    ]
    .into_iter()
    .collect();
    assert_eq!(
        urls("0.0.0.0", &host),
        [
            "http://10.0.0.1:5000/ the network eth0",
            "http://10.0.0.9:5000/ the network eth0"
        ],
    );
}

#[test]
fn a_zone_is_encoded_in_a_url() {
    let host: Interfaces = [bindaddr::Interface::new("a b%\n", 2).with_addr(ip("fe80::1"), 64)]
        .into_iter()
        .collect();
    let target = BindTarget::classify_in_zone(ip("fe80::1"), 2, &host);
    assert_eq!(
        target.dial(80, &host)[0].url("http"),
        "http://[fe80::1%25a%20b%25%0A]:80/"
    );
    assert_eq!(target.to_string(), "fe80::1%a b%\\n, an address of a b%\\n");
}

#[test]
fn an_ipv4_link_local_address_is_dialled_from_the_link() {
    let host: Interfaces = [bindaddr::Interface::new("eth0", 2).with_addr(ip("169.254.7.7"), 16)]
        .into_iter()
        .collect();
    let dials = BindTarget::parse_with("eth0", &host)
        .unwrap()
        .dial(80, &host);
    assert_eq!(dials[0].from(), DialFrom::Link);
    assert_eq!(dials[0].url("http"), "http://169.254.7.7:80/");
}

#[test]
fn every_address_to_dial_connects_from_this_host() {
    in_namespace("every_address_to_dial_connects_from_this_host", || {
        run_ip("link add name eth0 type veth peer name far0");
        run_ip("link set eth0 up");
        run_ip("link set far0 up");
        run_ip("addr add 10.0.0.1/24 dev eth0");
        run_ip("addr add fd00::1/64 dev eth0");
        run_ip("addr add fe80::77/64 dev eth0");
        run_ip("addr add 10.9.9.9/32 dev lo");
        let host = Interfaces::system().unwrap();
        for (text, at_least) in [
            ("*:0", 6),
            ("0.0.0.0:0", 3),
            ("[fe80::77%eth0]:0", 1),
            ("lo:0", 3),
            ("eth0:0", 3),
        ] {
            let mut dialled = 0;
            for listener in &bindaddr::bind(text).unwrap() {
                let addr = listener.local_addr();
                for dial in listener.target(&host).dial(addr.port(), &host) {
                    assert!(connects(dial.addr()), "{text}: {dial:?}");
                    dialled += 1;
                }
            }
            assert!(dialled >= at_least, "{text}: {dialled}");
        }
    });
}
