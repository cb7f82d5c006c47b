//! `ListenAddr::resolve` and `BindTarget::parse_with`: what a text names on a host.

mod util;

use std::error::Error;

use bindaddr::addr::{Family, Host};
use bindaddr::interfaces::{Interface, InterfaceAddr};
use bindaddr::target::ResolveErrorKind;
use bindaddr::{BindTarget, Interfaces, ListenAddr};
use proptest::prelude::*;
use util::{interfaces, ip, near_ips, office};

#[track_caller]
fn resolve(text: &str, host: &Interfaces) -> Vec<String> {
    let addr: ListenAddr = text.parse().expect(text);
    let targets = addr.resolve(host).unwrap_or_else(|err| panic!("{err}"));
    targets.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn resolve_err(text: &str, host: &Interfaces) -> String {
    let addr: ListenAddr = text.parse().expect(text);
    let err = addr.resolve(host).expect_err(text);
    assert!(err.source().is_none());
    // A `main` that returns the error prints its debug form.
    assert_eq!(format!("{err:?}"), err.to_string());
    err.to_string()
}

#[test]
fn resolve_returns_addresses_of_each_text() {
    let host = office().with_default_source(ip("192.168.71.67"));
    let all = |text: &str| resolve(text, &host);

    assert_eq!(all("*:80"), ["every IPv4 and IPv6 address of this host"]);
    assert_eq!(all("localhost:80"), ["this host only (127.0.0.1 and ::1)"]);
    assert_eq!(all("ipv4@localhost:80"), ["this host only (127.0.0.1)"]);
    assert_eq!(all("ipv6@localhost:80"), ["this host only (::1)"]);
    assert_eq!(
        all("[::ffff:192.168.71.67]:80"),
        ["192.168.71.67, an address of eth0"]
    );
    assert_eq!(
        all("[fe80::77%eth0]:80"),
        ["fe80::77%eth0, an address of eth0"]
    );
    assert_eq!(
        all("[fe80::77%2]:80"),
        ["fe80::77%eth0, an address of eth0"]
    );
    assert_eq!(
        all("[fe80::77%eth0.100]:80"),
        ["fe80::77%eth0.100, an address of eth0.100 (not running)"],
    );
    assert_eq!(
        all("eth0:80"),
        [
            "192.168.71.67, an address of eth0",
            "2001:db8:1::10, an address of eth0",
            "fe80::77%eth0, an address of eth0",
        ],
    );
    assert_eq!(all("ipv4@eth0:80"), ["192.168.71.67, an address of eth0"]);
    assert_eq!(
        all("lo:80"),
        [
            "this host only (127.0.0.1)",
            "203.0.113.80, an address of lo",
            "this host only (::1)",
        ],
    );
    assert_eq!(
        all("10.0.0.0/8:80"),
        [
            "10.9.9.1, an address of wg0",
            "10.8.0.1, an address of tun0"
        ],
        "by the order of the interfaces",
    );
    assert_eq!(
        all("[fe80::/10]:80"),
        [
            "fe80::77%eth0, an address of eth0",
            "fe80::77%eth0.100, an address of eth0.100 (not running)",
        ],
        "one address in two zones is two",
    );
    assert_eq!(
        all("_local_:80"),
        ["this host only (127.0.0.1)", "this host only (::1)"]
    );
    assert_eq!(
        all("ipv4@_private_:80"),
        [
            "192.168.71.67, an address of eth0",
            "172.20.0.1, an address of eth0.100 (not running)",
            "10.9.9.1, an address of wg0",
            "10.8.0.1, an address of tun0",
            "100.100.1.2, an address of tailscale0",
        ],
    );
    assert_eq!(all("ipv6@_private_:80"), ["fd00:9::1, an address of wg0"]);
    assert_eq!(all("_default_:80"), ["192.168.71.67, an address of eth0"]);

    let server: Interfaces = [
        Interface::new("eth0", 2)
            .with_addr(ip("198.51.100.7"), 24)
            .with_addr(ip("9.9.9.9"), 24),
        Interface::new("eth1", 3)
            .with_addr(ip("9.9.9.9"), 24)
            .with_addr(ip("2620:fe::fe"), 48),
    ]
    .into_iter()
    .collect();
    assert_eq!(
        resolve("_public_:80", &server),
        [
            "9.9.9.9, an address of eth0 and eth1",
            "2620:fe::fe, an address of eth1"
        ],
        "what two interfaces have is one address, and documentation is not public",
    );
}

#[test]
fn selectors_skip_groups() {
    // As `ip addr add 239.1.1.1/32 dev eth0 autojoin` does.
    let group = Interface::new("eth0", 2).with_addr(ip("239.1.1.1"), 32);
    let host: Interfaces = [group.clone().with_addr(ip("10.0.0.1"), 24)]
        .into_iter()
        .collect();
    for text in ["eth0:80", "10.0.0.1:80", "_private_:80"] {
        assert_eq!(resolve(text, &host), ["10.0.0.1, an address of eth0"]);
    }
    let alone: Interfaces = [group].into_iter().collect();
    assert_eq!(
        resolve_err("eth0:80", &alone),
        "cannot resolve eth0:80: the interface `eth0` has no address to listen on; it has `239.1.1.1`"
    );
}

#[test]
fn each_resolve_error_has_a_sentence() {
    let host: Interfaces = office()
        .iter()
        .cloned()
        .chain([Interface::new("bare0", 7)])
        .collect();
    let rows = [
        (
            "etho:80",
            "cannot resolve etho:80: no interface named `etho` has an address; available: `eth0`, `lo`, `wg0`, `tun0`, `eth0.100`, `bare0`, `tailscale0`",
        ),
        (
            "example.org:80",
            "cannot resolve example.org:80: no interface named `example.org` has an address, and host names are not looked up; available: `lo`, `eth0.100`, `bare0`, `eth0`, `tailscale0`, `wg0`, `tun0`",
        ),
        (
            "[fe80::77%eth1]:80",
            "cannot resolve [fe80::77%eth1]:80: no interface named `eth1` has an address; available: `eth0`, `lo`, `eth0.100`, `wg0`, `tun0`, `bare0`, `tailscale0`",
        ),
        (
            "ipv6@tun0:80",
            "cannot resolve ipv6@tun0:80: the interface `tun0` has no IPv6 address; it has `10.8.0.1`",
        ),
        (
            "bare0:80",
            "cannot resolve bare0:80: the interface `bare0` has no address",
        ),
        (
            "198.18.0.0/15:80",
            "cannot resolve 198.18.0.0/15:80: no address of this host is in `198.18.0.0/15`; available: `192.168.71.67`, `203.0.113.80`, `172.20.0.1`, `100.100.1.2`, `10.9.9.1`, `10.8.0.1`, `127.0.0.1`",
        ),
        (
            "_public_:80",
            "cannot resolve _public_:80: no address of this host is in `_public_`; available: `10.9.9.1`, `fd00:9::1`",
        ),
        (
            "_default_:80",
            "cannot resolve _default_:80: the source addresses of this host's default routes are unknown",
        ),
    ];
    let private: Interfaces = host.iter().filter(|i| i.name() == "wg0").cloned().collect();
    util::assert_rows(rows.into_iter().map(|(written, sentence)| {
        let host = if written == "_public_:80" {
            &private
        } else {
            &host
        };
        (
            written.to_owned(),
            resolve_err(written, host),
            sentence.to_owned(),
        )
    }));
    let dns: Interfaces = [Interface::new("eth0", 2).with_addr(ip("2620:fe::fe"), 48)]
        .into_iter()
        .collect();
    assert_eq!(
        resolve_err("ipv4@_public_:80", &dns),
        "cannot resolve ipv4@_public_:80: no IPv4 address of this host is in `_public_`; none is available",
    );
    let dns = dns.with_default_source(ip("2620:fe::fe"));
    assert_eq!(
        resolve("_default_:80", &dns),
        ["2620:fe::fe, an address of eth0"],
    );
    assert_eq!(
        resolve_err("ipv4@_default_:80", &dns),
        "cannot resolve ipv4@_default_:80: this host has no IPv4 source address for a default route",
    );
    assert_eq!(
        resolve_err("eth0:80", &Interfaces::default()),
        "cannot resolve eth0:80: no interface named `eth0` has an address; none is available",
    );
    // A VLAN's name has a dot.
    assert_eq!(
        resolve_err("eth0.100:80", &Interfaces::default()),
        "cannot resolve eth0.100:80: no interface named `eth0.100` has an address; none is available",
    );
    let many: Interfaces = (1..=20)
        .map(|n| Interface::new(format!("veth{n:02}"), n))
        .collect();
    assert_eq!(
        resolve_err("veth07x:80", &many),
        "cannot resolve veth07x:80: no interface named `veth07x` has an address; available: `veth07`, `veth01`, `veth02`, `veth03`, `veth04`, `veth05`, `veth06`, `veth08` and 12 more",
    );
    let down: Interfaces = [Interface::new("eth0", 2)
        .with_addr(ip("10.0.0.1"), 8)
        .with_running(false)]
    .into_iter()
    .collect();
    assert_eq!(
        resolve_err("ipv6@eth0:80", &down),
        "cannot resolve ipv6@eth0:80: the interface `eth0` (not running) has no IPv6 address; it has `10.0.0.1`",
    );
    let unnumbered: Interfaces = [Interface::new("eth0", 0).with_addr(ip("fe80::1"), 64)]
        .into_iter()
        .collect();
    assert_eq!(
        resolve_err("[fe80::1%eth0]:80", &unnumbered),
        "cannot resolve [fe80::1%eth0]:80: the system does not report the index of the interface `eth0`",
    );
}

#[test]
fn resolve_error_lists_some_addresses() {
    let eth0 = (1..=20u8).fold(Interface::new("eth0", 2), |eth0, n| {
        eth0.with_addr([10, 0, 0, n].into(), 8)
    });
    let host: Interfaces = [eth0].into_iter().collect();
    let message = resolve_err("192.0.2.0/24:80", &host);
    assert!(message.starts_with("cannot resolve 192.0.2.0/24:80: no address of this host is in `192.0.2.0/24`; available: `10.0.0.20`, "), "{message}");
    assert!(message.ends_with(" and 12 more"), "{message}");
}

#[test]
fn host_resolves_to_one_target() {
    let host = office();
    let parse = |text| BindTarget::parse_with(text, &host);
    for (written, meaning) in [
        ("192.168.71.67", "192.168.71.67, an address of eth0"),
        ("::1", "this host only (::1)"),
        ("[::1]", "this host only (::1)"),
        (
            "::1:80",
            "::1:80, which no interface of this host has; it is in none of this host's subnets",
        ),
        ("fe80::77%eth0", "fe80::77%eth0, an address of eth0"),
        ("localhost", "this host only (127.0.0.1 and ::1)"),
        ("tun0", "10.8.0.1, an address of tun0"),
        ("ipv6@wg0", "fd00:9::1, an address of wg0"),
        ("192.168.0.0/16", "192.168.71.67, an address of eth0"),
    ] {
        assert_eq!(parse(written).unwrap().to_string(), meaning, "{written}");
    }
    for (written, sentence) in [
        (
            "",
            "invalid listen address \"\": it is empty; write `127.0.0.1` for this host only or `*` for every address",
        ),
        (
            "127.0.0.1:80",
            "invalid listen address \"127.0.0.1:80\": expected a host without the port `80`; write `127.0.0.1`",
        ),
        (
            "8080",
            "invalid listen address \"8080\": expected a host without the port `8080`",
        ),
        (
            "8000-8010",
            "invalid listen address \"8000-8010\": expected a host without the port `8000-8010`",
        ),
        (
            "-::1",
            "invalid listen address \"-::1\": unexpected leading `-`; a host cannot be optional here; write `::1`",
        ),
        (
            ":::80",
            "invalid listen address \":::80\": expected a host without the port `80`; write `::`",
        ),
        (
            "127.0.0.1:",
            "invalid listen address \"127.0.0.1:\": expected a host without a port; write `127.0.0.1`",
        ),
        (
            ":8080",
            "invalid listen address \":8080\": the host is empty (an unset environment variable?); write `localhost` for this host only or `*` for every address",
        ),
        (
            "ipv4@",
            "invalid listen address \"ipv4@\": the host is empty (an unset environment variable?); write `ipv4@localhost` for this host only or `ipv4@*` for every address",
        ),
        (
            "2130706433",
            "invalid listen address \"2130706433\": `2130706433` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`",
        ),
        (
            "eth0",
            "cannot resolve eth0: it selects 3 addresses, but one is expected; use one of them",
        ),
        (
            "eth7",
            "cannot resolve eth7: no interface named `eth7` has an address; available: `eth0`, `lo`, `wg0`, `tun0`, `eth0.100`, `tailscale0`",
        ),
    ] {
        let err = parse(written).unwrap_err();
        assert_eq!(err.to_string(), sentence);
        assert_eq!(err.text(), written);
    }
    let err = parse("eth0").unwrap_err();
    assert!(matches!(
        err.kind(),
        ResolveErrorKind::SeveralAddresses { count: 3, .. }
    ));
}

/// Whether an address of the host is one that the text names.
fn is_named(addr: &ListenAddr, interface: &Interface, entry: &InterfaceAddr) -> bool {
    if addr
        .family()
        .is_some_and(|family| family != Family::of(entry.ip()))
    {
        return false;
    }
    match addr.host() {
        Host::Name(name) => interface.name() == name,
        Host::Network(network) => network.contains(entry.ip()),
        Host::Keyword(word) => match format!("{word:?}").as_str() {
            "Local" => entry.ip().is_loopback(),
            "Default" => false,
            _ => !entry.ip().is_loopback(),
        },
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    // Law 3: nothing widens. `Any` comes from a wildcard spelling only, and a
    // selector gives addresses that the host has and the text names, or an error.
    #[test]
    fn resolve_never_widens(
        interfaces in interfaces(),
        host_text in prop_oneof![
            Just("*".to_owned()),
            Just("localhost".to_owned()),
            "eth[0-6]",
            "_(local|private|public|default)_",
            near_ips().prop_map(|ip| if ip.is_ipv4() { ip.to_string() } else { format!("[{ip}]") }),
            (near_ips(), any::<u8>()).prop_map(|(ip, len)| {
                let network = bindaddr::addr::Network::containing(ip, len % 129);
                if network.first().is_ipv4() { network.to_string() } else { format!("[{network}]") }
            }),
        ],
        family in prop_oneof![Just(""), Just("ipv4@"), Just("ipv6@")],
    ) {
        let host: Interfaces = interfaces.into_iter().collect();
        let Ok(addr) = format!("{family}{host_text}:80").parse::<ListenAddr>() else {
            return Ok(());
        };
        let is_wildcard = match addr.host() {
            Host::Any => true,
            Host::Ip { ip, .. } => ip.to_canonical().is_unspecified(),
            _ => false,
        };
        let Ok(targets) = addr.resolve(&host) else { return Ok(()) };
        prop_assert!(!targets.is_empty());
        for target in targets {
            prop_assert_eq!(target.is_any(), is_wildcard, "{}", addr);
            let ips: Vec<_> = match &target {
                BindTarget::Any(_) => continue,
                BindTarget::Loopback(addrs) => addrs.ips().collect(),
                BindTarget::Local(local) => vec![local.ip()],
                BindTarget::Foreign(foreign) => vec![foreign.ip()],
            };
            for ip in ips {
                let named = match addr.host() {
                    Host::Localhost => ip.is_loopback(),
                    Host::Ip { ip: written, .. } => ip == written.to_canonical(),
                    _ => host.iter().any(|interface| {
                        interface.addrs().iter().any(|entry| {
                            entry.ip() == ip && is_named(&addr, interface, entry)
                        })
                    }),
                };
                prop_assert!(named, "{} does not name {}", addr, ip);
            }
        }
    }
}
