//! Bridges, unusual names of interfaces, and interfaces without IPv6.

use super::*;

/// cetic/6lbr 193: an interface that was given to a bridge keeps its link-local address.
#[test]
fn port_of_a_bridge_is_named_with_its_bridge() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up");
        ip("link set far0 up");
        ip("link add br0 type bridge");
        ip("link set br0 up");
        ip("link set eth0 master br0");
        ip("addr add 192.168.1.20/24 dev br0");
        let (cause, hints) = failure("ipv4@eth0:8080");
        assert!(
            cause.starts_with("the interface `eth0` has no IPv4 address"),
            "{cause}"
        );
        assert_eq!(
            texts(&hints),
            ["eth0 is a port of br0, which has the addresses; write `ipv4@br0:8080`"]
        );
        bindaddr::bind(hints[0].replacement().unwrap()).unwrap();
        let warning = "eth0 is a port of br0, which receives its packets, so no client can connect through eth0; listen \
                       on br0";
        let of_zone = warnings("eth0:8080");
        assert!(
            of_zone.len() == 1 && of_zone[0].ends_with(warning),
            "{of_zone:?}"
        );
        let on_device = BindOptions::new()
            .device("eth0")
            .bind("0.0.0.0:8081")
            .unwrap();
        let found = on_device.warnings(&Interfaces::system().unwrap());
        assert_eq!(found[0].to_string(), format!("0.0.0.0:8081: {warning}"));
        assert_eq!(warnings("ipv4@br0:8080"), [""; 0]);
        ip("addr add 192.168.2.20/24 dev eth0");
        assert_eq!(
            warnings("192.168.2.20:8080"),
            [format!("192.168.2.20:8080: {warning}")]
        );
    });
}

/// Clients can connect to exactly the addresses that are listed for their origin.
#[test]
fn addresses_on_ports_are_listed_where_they_connect() {
    const TEST: &str = "interfaces::addresses_on_ports_are_listed_where_they_connect";
    in_namespace(|| {
        // A team delivers nothing without its daemon.
        for kind in ["bridge", "bond"] {
            let master = format!("link add name br0 type {kind}");
            let mut add = Command::new("ip");
            let added = add.args(master.split(' ')).stderr(Stdio::null()).status();
            if !added.is_ok_and(|status| status.success()) {
                let reason = format!("this kernel has no {kind}");
                rerun::skip(TEST, &reason, "BINDADDR_REQUIRE_BOND");
                continue;
            }
            let mut neighbour = Host::start(TEST);
            neighbour.cable("eth0", "eth0");
            if kind != "bridge" {
                ip("link set eth0 down");
            }
            ip("link set eth0 master br0");
            ip("link set eth0 up");
            ip("link set br0 up");
            ip_batch(
                "addr add 10.0.0.1/24 dev br0\naddr add fd00::1/64 dev br0 nodad\naddr add fe80::b/64 dev br0 nodad\n\
                 addr add 10.1.0.1/24 dev eth0\naddr add fd01::1/64 dev eth0 nodad\naddr add fe80::e/64 dev eth0 nodad\n",
            );
            for addr in [
                "10.0.0.2/24",
                "10.1.0.2/24",
                "fd00::2/64 nodad",
                "fd01::2/64 nodad",
                "fe80::2/64 nodad",
            ] {
                neighbour.ip(&format!("addr add dev eth0 {addr}"));
            }
            let zone = neighbour.zone("eth0");
            for (n, device) in [None, Some("eth0"), Some("br0")].into_iter().enumerate() {
                let port = 6000 + n;
                let setting = Setting::from(format!("*:{port}"));
                let setting = device.into_iter().fold(setting, Setting::device);
                let listeners = BindOptions::new().bind([setting]).unwrap();
                let host = Interfaces::system().unwrap();
                let reach = listeners.reach(&host);
                let ips = ["10.0.0.1", "10.1.0.1", "[fd00::1]", "[fd01::1]"];
                let links = ["fe80::b", "fe80::e"].map(|ip| format!("[{ip}%{zone}]"));
                let ips = ips.into_iter().map(str::to_owned).chain(links);
                let to: Vec<SocketAddr> = ips
                    .map(|ip| format!("{ip}:{port}").parse().unwrap())
                    .collect();
                neighbour.connect_each(&to);
                let came = neighbour.connected();
                for (to, came) in to.iter().zip(came) {
                    let listed = reach.addrs().iter().find(|own| own.addr().ip() == to.ip());
                    let origin = listed.map(ReachableAddr::origin);
                    // Through another interface than its own, an IPv6 address needs a route.
                    if origin != Some(Origin::Device) || to.is_ipv4() {
                        let is_listed = origin.is_some_and(|origin| origin != Origin::ThisHost);
                        assert_eq!(is_listed, came, "{to} on {device:?} with a {kind}");
                    }
                    if let Some(own) = listed.filter(|own| own.origin() != Origin::Device) {
                        assert!(connects(own.addr()), "{own} on {device:?}");
                    }
                }
            }
            ip("link del eth0");
            ip("link del br0");
        }
    });
}

/// An interface may have a name that a setting reads as something else.
#[test]
fn interface_named_as_something_else_is_not_advised() {
    in_namespace(|| {
        for name in ["*", "localhost", "0.0.0.0"] {
            ip("link add name eth0 type veth peer name far0");
            ip(&format!("link add name {name} type bridge"));
            ip(&format!("link set eth0 master {name}"));
            for each in ["eth0", "far0", name] {
                ip(&format!("link set {each} up"));
            }
            ip(&format!("addr add 10.0.0.1/24 dev {name}"));
            let (_, hints) = failure("ipv4@eth0:8080");
            let _held = TcpListener::bind("127.0.0.1:8080").unwrap();
            let (_, beside) = failure("0.0.0.0:8080");
            for hint in hints.iter().chain(&beside) {
                assert_eq!(hint.replacement(), None, "{name}: {hint:?}");
            }
            ip(&format!("link del {name}"));
            ip("link del eth0");
        }
    });
}

/// `systemd` is a name that an interface can have.
#[test]
fn interface_named_systemd_is_read() {
    in_namespace(|| {
        ip("link add name systemd type veth peer name far0");
        ip("link set far0 up");
        ip("link set systemd up");
        ip("addr add 10.0.0.1/24 dev systemd");
        for setting in ["systemd:8000", "ipv4@systemd:8000-8010"] {
            bindaddr::bind(setting).unwrap();
        }
        let error = bindaddr::bind("systemd:web").unwrap_err();
        assert!(error.to_string().contains("service manager"), "{error}");
    });
}

/// jumpserver/koko 37: IPv6 off on one interface; and below the MTU that it needs.
#[test]
fn interface_without_ipv6_is_named() {
    in_namespace(|| {
        host();
        set("net/ipv6/conf/eth0/disable_ipv6", "1");
        let (_, hints) = failure("[2001:db8:5::10]:80");
        let message = "`net.ipv6.conf.eth0.disable_ipv6` is set, so eth0 has no IPv6 address";
        assert!(texts(&hints).contains(&message), "{hints:?}");
        // sysctl(8) separates by slashes where a name has a dot.
        ip("link add name eth0.100 type veth peer name far1");
        ip("link set eth0.100 up");
        set("net/ipv6/conf/eth0.100/disable_ipv6", "1");
        let (_, hints) = failure("[2001:db8:5::10]:80");
        let message =
            "`net.ipv6.conf.eth0/100.disable_ipv6` is set, so eth0.100 has no IPv6 address";
        assert!(texts(&hints).contains(&message), "{hints:?}");
        let variable = message.split('`').nth(1).unwrap();
        match Command::new("sysctl").args(["-n", variable]).output() {
            Ok(output) => assert_eq!(output.stdout, b"1\n", "{output:?}"),
            Err(error) => eprintln!("skipped a part: no sysctl: {error}"),
        }
        ip("link del eth0.100");
        // The MTU of lo does not affect other interfaces.
        ip("link set lo mtu 1000");
        let (_, hints) = failure("[2001:db8:5::10]:80");
        assert!(
            texts(&hints).iter().all(|text| !text.contains("lo has")),
            "{hints:?}"
        );
        ip("link set lo mtu 65536");
        set("net/ipv6/conf/eth0/disable_ipv6", "0");
        ip("link set eth0 mtu 1000");
        let (_, hints) = failure("[2001:db8:5::10]:80");
        let message = "eth0 has an MTU of 1000, and no IPv6 address, which needs 1280";
        assert!(texts(&hints).contains(&message), "{hints:?}");
        // Both can be repaired as the hints say.
        ip("link set eth0 mtu 1500");
        ip("addr add 2001:db8:5::10/64 dev eth0 nodad");
        bindaddr::bind("[2001:db8:5::10]:80").unwrap();
        let (_, hints) = failure("[2001:db8:5::11]:80");
        assert!(
            texts(&hints).iter().all(|text| !text.contains("eth0 has")),
            "{hints:?}"
        );
    });
}

/// A socket on one interface, and a bridge that virtual machines are on.
#[test]
fn banner_of_a_device_leaves_out_other_interfaces() {
    in_namespace(|| {
        host();
        ip("link add virbr0 type bridge");
        ip("link set virbr0 up");
        ip("addr add 192.168.122.1/24 dev virbr0");
        let banner = |device: &str| {
            let listeners = BindOptions::new()
                .device(device)
                .bind("0.0.0.0:8067")
                .unwrap();
            let reach = listeners.reach(&Interfaces::system().unwrap());
            assert!(
                reach
                    .urls("http")
                    .all(|url| reach.banner("http").to_string().contains(&url))
            );
            reach.banner("http").to_string()
        };
        assert_eq!(
            banner("eth0"),
            "  Network:  http://10.0.0.1:8067/  (eth0)\n"
        );
        // Others' addresses are all that there is.
        assert!(banner("far0").contains("http://10.0.0.1:8067/"));
    });
}
