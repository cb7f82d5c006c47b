//! Addresses that a local route makes local.

use super::*;

/// GoogleCloudPlatform/guest-agent 555: the address of a load balancer is a local route.
#[test]
fn address_of_a_local_route_is_reached() {
    in_namespace(|| {
        host();
        ip("route add local 203.0.113.9 dev eth0 proto 66");
        let host = Interfaces::system().unwrap();
        let listeners = bindaddr::bind("203.0.113.9:8080").unwrap();
        assert!(connects(listeners[0].local_addr()));
        let reach = listeners.reach(&host);
        assert_eq!(
            reach.to_string(),
            "203.0.113.9:8080 from the network, by a local route\nexposed to the internet\n"
        );
        assert_eq!(
            reach.banner("http").to_string(),
            "  Network:  http://203.0.113.9:8080/\n"
        );
        // A wildcard takes it as well, and so does what a guard asks.
        let wildcard = bindaddr::bind("0.0.0.0:8081").unwrap();
        assert_eq!(wildcard.exposure(&host), bindaddr::Exposure::Global);
        let reach = wildcard.reach(&host).to_string();
        assert!(
            reach.contains("203.0.113.9:8081 from the network, by a local route"),
            "{reach}"
        );
        // Without the route no client can connect.
        ip("route del local 203.0.113.9 dev eth0");
        let host = Interfaces::system().unwrap();
        assert_eq!(wildcard.exposure(&host), bindaddr::Exposure::Private);
        let reach = listeners.reach(&host);
        assert!(reach.addrs().is_empty() && !connects(listeners[0].local_addr()));
        // A plan describes the host of its snapshot.
        let plan = BindOptions::new().plan("203.0.113.9:8080").unwrap();
        assert!(plan.reach(&host).addrs().is_empty());
        // The kernel is queried about a newer route of an open socket.
        ip("route add local 203.0.113.9 dev eth0");
        assert_eq!(listeners.reach(&host).addrs().len(), 1);
        assert!(plan.reach(&host).addrs().is_empty());
        let routed = host.with_local_route("203.0.113.9".parse().unwrap());
        assert_eq!(plan.reach(&routed).addrs().len(), 1);
    });
}

/// `AnyIP` by another table than `local`.
#[test]
fn routes_of_other_tables_raise_exposure() {
    in_namespace(|| {
        host();
        let wildcard = bindaddr::bind("*:8080").unwrap();
        let exposure = || wildcard.exposure(&Interfaces::system().unwrap());
        assert_eq!(exposure(), bindaddr::Exposure::Private);
        ip("-6 route add local 2a01:1::/48 dev lo table 100");
        ip("-6 rule add table 100");
        assert!(connects("[2a01:1::5]:8080".parse().unwrap()));
        assert_eq!(exposure(), bindaddr::Exposure::Global);
        ip("-6 route del local 2a01:1::/48 dev lo table 100");
        assert_eq!(exposure(), bindaddr::Exposure::Private);
        ip("route add local 203.0.113.9 dev lo table main");
        let is_reached = connects("203.0.113.9:8080".parse().unwrap());
        let reach = wildcard.reach(&Interfaces::system().unwrap());
        let addr: SocketAddr = "203.0.113.9:8080".parse().unwrap();
        assert_eq!(
            reach.addrs().iter().any(|dial| dial.addr() == addr),
            is_reached
        );
        assert_eq!(exposure(), bindaddr::Exposure::Global);
    });
}

/// A hint for a wildcard says how far it opens the server, with what local routes bring.
#[test]
fn hint_for_a_wildcard_counts_local_routes() {
    in_namespace(|| {
        host();
        let exposures = || {
            let error = bindaddr::bind("eth0:8080, ipv4@eth1:80, 10.9.9.9:80").unwrap_err();
            let hints: Vec<Hint> = error
                .errors()
                .flat_map(|one| one.hints().to_vec())
                .collect();
            let wildcards = hints.iter().map(|hint| hint.text().to_owned());
            wildcards
                .filter(|text| text.contains("0.0.0.0:80"))
                .collect::<Vec<_>>()
        };
        for text in exposures() {
            assert!(!text.contains("internet"), "{text}");
        }
        ip("route add local 203.0.113.9 dev lo");
        let found = exposures();
        assert!(!found.is_empty());
        for text in found {
            assert!(text.contains("internet"), "{text}");
        }
    });
}

/// A router has more routes than are read, so what they bring is not known.
#[test]
fn unread_routes_count_as_global() {
    in_namespace(|| {
        host();
        let wildcard = bindaddr::bind("0.0.0.0:8080").unwrap();
        assert_eq!(
            wildcard.exposure(&Interfaces::system().unwrap()),
            bindaddr::Exposure::Private
        );
        let routes = (0..16_500).map(|n| {
            format!(
                "route add 10.{}.{}.{}/32 via 10.0.0.9\n",
                64 + n / 62500,
                n / 250 % 250,
                n % 250
            )
        });
        ip_batch(&routes.collect::<String>());
        let host = Interfaces::system().unwrap();
        assert_eq!(wildcard.exposure(&host), bindaddr::Exposure::Global);
        // A literal needs no table.
        let literal = bindaddr::bind("10.0.0.1:8081").unwrap();
        assert_eq!(literal.exposure(&host), bindaddr::Exposure::Private);
    });
}
