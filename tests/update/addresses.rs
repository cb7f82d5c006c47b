//! Addresses and interfaces that come and go.

use super::*;

#[test]
fn literal_stays_open_while_its_address_is_gone() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fd00::1/64 dev eth0");
        let settings = [
            "10.0.0.1:5000",
            "[fd00::1]:5000",
            "*:5001",
            "localhost:5002",
        ];
        let mut server = Server::start(settings);
        assert_eq!(server.news(), [""; 0]);

        ip("addr del 10.0.0.1/24 dev eth0");
        ip("addr del fd00::1/64 dev eth0");
        assert!(
            !connects(addr("10.0.0.1:5000")),
            "it still listens, and no client can connect"
        );
        assert_eq!(
            server.news(),
            [
                "0: no client can connect to 10.0.0.1:5000: no interface has the address",
                "1: no client can connect to [fd00::1]:5000: no interface has the address",
            ],
        );
        assert!(server.diff.is_empty(), "there is nothing to do but wait");
        assert_eq!(server.news(), [""; 0], "each change is reported once");

        // On another interface it is back as well.
        ip("addr add 10.0.0.1/24 dev far0");
        ip("addr add fd00::1/64 dev eth0");
        assert_eq!(
            server.news(),
            [
                "0: clients can connect to 10.0.0.1:5000 on far0",
                "1: clients can connect to [fd00::1]:5000 on eth0",
            ],
        );
        assert!(connects(addr("10.0.0.1:5000")), "through the same socket");

        ip("link set lo down");
        let news = server.news();
        assert_eq!(
            news[0],
            "3: no client can connect to 127.0.0.1:5002: lo is down, or the address is not usable"
        );
    });
}

#[test]
fn recreated_interface_is_replaced() {
    in_namespace(|| {
        link();
        ip("addr add fe80::77/64 dev eth0");
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = [
            Setting::from("[fe80::77%eth0]:5000"),
            Setting::from("0.0.0.0:5001").device("eth0"),
            Setting::from("10.0.0.1:5002"),
        ];
        let mut server = Server::start(settings);
        let index = |host: Interfaces| host.by_name("eth0").unwrap().index().unwrap();
        let old = index(now());

        ip("link del eth0");
        assert_eq!(kinds(&server.look()), [ChangeKind::Unreachable; 3]);
        assert!(server.diff.is_empty());

        link();
        ip("addr add fe80::77/64 dev eth0");
        ip("addr add 10.0.0.1/24 dev eth0");
        let new = index(now());
        assert_ne!(new, old);
        let to = |zone| SocketAddrV6::new("fe80::77".parse().unwrap(), 5000, 0, zone).into();
        assert!(
            !connects(to(new)),
            "the socket is bound to an interface that is gone"
        );
        assert!(!connects(addr("10.0.0.1:5001")));
        // The kernel says so of the sockets themselves.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        for dead in &server.listeners[..2] {
            let errno = socket2::SockRef::from(dead.as_std()).device().unwrap_err();
            assert_eq!(errno.raw_os_error(), Some(19), "ENODEV");
        }
        let changes = server.look();
        for change in &changes[..2] {
            assert!(
                matches!(change.kind(), ChangeKind::InterfaceReplaced { from, to, .. } if (from, to) == (old, new)),
                "{changes:?}"
            );
        }
        assert_eq!((changes.len(), changes[2].kind()), (3, ChangeKind::Kept));
        assert_eq!(
            changes[0].to_string(),
            format!(
                "eth0 was recreated with index {new}, but the socket on [fe80::77%{old}]:5000 is still bound \
                 to index {old}"
            ),
        );
        assert!(
            connects(addr("10.0.0.1:5002")),
            "it is bound to no interface"
        );
        assert_eq!(server.news(), [""; 0], "each change is reported once");

        server.follow();
        assert!(connects(to(new)) && connects(addr("10.0.0.1:5001")));
        assert_eq!(server.news(), [""; 0]);
    });
}

#[test]
fn overlapping_sockets_of_a_recreated_device_are_replaced_together() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        // The dual-stack wildcard leaves IPv4 to the other one, which it would not do alone.
        let options = BindOptions::new().device("eth0");
        let mut server = Server::with(&options, ["0.0.0.0:5000", "*:5000"]);
        assert_eq!(server.addrs(), ["0.0.0.0:5000", "[::]:5000"]);
        ip("link del eth0");
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        assert_eq!(server.look().len(), 2);
        server.follow();
        assert!(connects(addr("10.0.0.1:5000")));
    });
}

#[test]
fn selector_follows_the_addresses_of_the_host() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = ["ipv4@eth0:5000", "10.66.0.0/16:5001", "-10.0.0.9:5002"];
        let err = bindaddr::bind(settings).unwrap_err();
        assert!(err.to_string().contains("10.66.0.0/16"), "{err}");
        let settings = ["ipv4@eth0:5000", "-10.66.0.0/16:5001", "-10.0.0.9:5002"];
        let mut server = Server::start(settings);
        assert_eq!(server.addrs(), ["10.0.0.1:5000"]);

        // DHCP hands out another address, and what was skipped has come.
        ip("addr del 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.0.2/24 dev eth0");
        ip("addr add 10.0.0.9/24 dev lo");
        ip("addr add 10.66.0.1/24 dev far0");
        assert_eq!(
            server.news(),
            [
                "0: 10.0.0.2:5000 on eth0 can be bound now",
                "1: 10.66.0.1:5001 on far0 can be bound now",
                "2: 10.0.0.9:5002 on lo can be bound now",
                "0: the setting no longer includes 10.0.0.1:5000, but its socket is still open",
            ],
        );
        assert_eq!(server.news(), [""; 0], "each change is reported once");
        server.follow();
        assert_eq!(
            server.addrs(),
            ["10.0.0.2:5000", "10.66.0.1:5001", "10.0.0.9:5002"]
        );
        assert!(connects(addr("10.0.0.2:5000")));

        // It moves to another interface, and the interface of the setting has none.
        ip("addr del 10.0.0.2/24 dev eth0");
        ip("addr add 10.0.0.2/24 dev far0");
        assert_eq!(
            server.news(),
            ["0: the setting no longer includes 10.0.0.2:5000, but its socket is still open"],
        );
        assert!(
            connects(addr("10.0.0.2:5000")),
            "through the interface that was not meant"
        );
        assert_eq!(server.plan.skipped()[0].cause().name(), "unresolved");
        server.follow();
        assert!(!connects(addr("10.0.0.2:5000")));
        // With an address again it is followed on.
        ip("addr add 10.0.0.7/24 dev eth0");
        assert_eq!(server.news(), ["0: 10.0.0.7:5000 on eth0 can be bound now"]);
        server.follow();
        assert!(connects(addr("10.0.0.7:5000")));
    });
}

#[test]
fn tentative_address_is_pending_until_it_can_be_bound() {
    in_namespace(|| {
        link();
        let mut server = Server::start(["127.0.0.1:0", "-[fd00::1]:5000"]);
        assert_eq!(server.news(), [""; 0]);
        set("net/ipv6/conf/eth0/accept_dad", "1");
        set("net/ipv6/conf/eth0/dad_transmits", "600");
        ip("addr add fd00::1/64 dev eth0");
        assert_eq!(server.news(), [""; 0]);
        assert!(server.diff.is_empty(), "it is tentative");
        assert_eq!(server.diff.changes()[1].kind(), ChangeKind::Pending);
        // The number is read when detection begins.
        set("net/ipv6/conf/eth0/dad_transmits", "1");
        ip("addr del fd00::1/64 dev eth0");
        ip("addr add fd00::1/64 dev eth0");
        let begun = std::time::Instant::now();
        let changes = loop {
            let changes = server.look();
            if !changes.is_empty() {
                break changes;
            }
            assert!(begun.elapsed().as_secs() < 60);
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        assert_eq!(
            (changes[0].kind(), changes[0].position().index()),
            (ChangeKind::Added, 1)
        );
        assert_eq!(changes[0].interface(), Some("eth0"));
        server.follow();
        assert!(connects(addr("[fd00::1]:5000")));
    });
}

#[test]
fn missing_loopback_address_is_added_when_it_comes() {
    in_namespace(|| {
        set("net/ipv6/conf/lo/disable_ipv6", "1");
        let mut server = Server::start(["localhost:5000", "-[::1]:5001"]);
        assert_eq!(server.addrs(), ["127.0.0.1:5000"]);
        set("net/ipv6/conf/lo/disable_ipv6", "0");
        ip("link set lo up"); // which waits until the address is usable
        assert_eq!(
            server.news(),
            [
                "0: [::1]:5000 on lo can be bound now",
                "1: [::1]:5001 on lo can be bound now",
            ],
        );
        server.follow();
        assert!(connects(addr("[::1]:5000")) && connects(addr("[::1]:5001")));

        let mut server = Server::start("-localhost:5002");
        ip("link set lo down");
        assert_eq!(kinds(&server.look()), [ChangeKind::Unreachable; 2]);
        ip("link set lo up");
        assert_eq!(kinds(&server.look()), [ChangeKind::Kept; 2]);
    });
}

#[test]
fn address_on_another_interface_is_not_a_recreated_one() {
    in_namespace(|| {
        link();
        ip("addr add fe80::1/64 dev eth0 nodad");
        let mut server = Server::start(["-[fe80::1/128]:5000", "127.0.0.1:5001"]);
        assert_eq!(server.addrs().len(), 2);
        ip("addr del fe80::1/64 dev eth0");
        ip("addr add fe80::1/64 dev far0 nodad");
        let kinds: HashSet<ChangeKind> = kinds(&server.look()).into_iter().collect();
        assert_eq!(kinds, [ChangeKind::Added, ChangeKind::Removed].into());
        server.follow();
    });
}

#[test]
fn device_without_an_address_is_followed() {
    in_namespace(|| {
        set("net/ipv6/conf/default/disable_ipv6", "1");
        link();
        let mut server = Server::with(&BindOptions::new().device("eth0"), "0.0.0.0:5000");
        ip("addr add 10.0.0.1/24 dev eth0");
        assert_eq!(
            server.news(),
            ["0: clients can connect to 0.0.0.0:5000 on eth0"]
        );
        ip("link del eth0");
        assert_eq!(
            server.news(),
            [
                "0: no client can connect to 0.0.0.0:5000: eth0 is down, or the address is not usable"
            ],
        );
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let changes = server.look();
        assert!(
            matches!(changes[0].kind(), ChangeKind::InterfaceReplaced { .. }),
            "{changes:?}"
        );
        server.follow();
        assert!(connects(addr("10.0.0.1:5000")));
    });
}

#[test]
fn renamed_device_is_found_by_its_index() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let mut server = Server::with(&BindOptions::new().device("eth0"), "0.0.0.0:5000");
        // The socket is bound to the interface and not to its name.
        ip("link set eth0 down");
        ip("link set eth0 name wan0");
        ip("link set wan0 up");
        assert_eq!(server.news(), [""; 0]);
        assert!(connects(addr("10.0.0.1:5000")));
        // Another interface has the name now, which is the one that the setting names.
        ip("link set far0 down");
        ip("link set far0 name eth0");
        ip("link set eth0 up");
        ip("addr add 10.0.0.2/24 dev eth0");
        let changes = server.look();
        assert!(
            matches!(changes[0].kind(), ChangeKind::InterfaceReplaced { .. }),
            "{changes:?}"
        );
        server.follow();
        assert!(connects(addr("10.0.0.2:5000")));
    });
}

#[test]
fn usable_address_does_not_wait_for_a_tentative_one() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        set("net/ipv6/conf/default/addr_gen_mode", "1");
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up"); // without a carrier, so that DAD never ends
        ip("addr add 10.0.0.1/24 dev eth0");
        let mut server = Server::start("eth0:5000");
        ip("addr add fd00::1/64 dev eth0");
        ip("addr add 10.0.0.9/24 dev eth0");
        assert!(bindaddr::bind("eth0:5001").is_err(), "it is tentative");
        assert_eq!(
            server.news(),
            [
                "0: 10.0.0.9:5000 on eth0 can be bound now",
                "0: [fd00::1]:5000 cannot be bound yet",
            ],
        );
        server.follow();
        assert!(connects(addr("10.0.0.9:5000")));
    });
}

#[test]
fn interface_that_came_while_binding_waited_is_followed() {
    in_namespace(|| {
        set("net/ipv6/conf/default/addr_gen_mode", "1");
        let options = BindOptions::new().wait(std::time::Duration::from_secs(60));
        let waiting = std::thread::spawn(move || {
            let settings = ["ipv4@eth0:5000", "[fe80::77%eth0]:5001"];
            let plan = options.plan(settings).unwrap();
            let listeners = plan.bind().unwrap();
            (plan, listeners)
        });
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fe80::77/64 dev eth0");
        let (plan, listeners) = waiting.join().unwrap();
        let diff = plan.replan(&now()).unwrap().diff(&listeners);
        let mut server = Server {
            plan,
            listeners,
            diff,
        };
        assert_eq!(server.news(), [""; 0]);
        ip("addr add 10.0.0.9/24 dev eth0");
        assert_eq!(server.news(), ["0: 10.0.0.9:5000 on eth0 can be bound now"]);
        ip("link del eth0");
        link();
        ip("addr add fe80::77/64 dev eth0");
        let changes = server.look();
        let of_zone = changes
            .iter()
            .find(|change| change.position().index() == 1)
            .unwrap();
        assert!(
            matches!(of_zone.kind(), ChangeKind::InterfaceReplaced { .. }),
            "{changes:?}"
        );
    });
}

#[test]
fn device_that_is_down_is_unreachable() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.1.0.1/24 dev far0");
        let settings =
            ["0.0.0.0:5000", "10.0.0.1:5001"].map(|text| Setting::from(text).device("eth0"));
        let mut server = Server::start(settings);
        let free = bindaddr::bind("10.0.0.1:5002").unwrap();
        assert!(connects(addr("10.0.0.1:5001")));
        ip("link set eth0 down");
        for to in ["10.0.0.1:5000", "10.1.0.1:5000", "10.0.0.1:5001"] {
            assert!(!connects(addr(to)), "{to}");
        }
        assert_eq!(server.listeners.reach(&now()).addrs().len(), 0);
        assert_eq!(kinds(&server.look()), [ChangeKind::Unreachable; 2]);
        // Without a device it is the host's address, and this host reaches it.
        assert!(connects(addr("10.0.0.1:5002")));
        assert_eq!(free.reach(&now()).addrs().len(), 1);
        ip("link set eth0 up");
        assert_eq!(kinds(&server.look()), [ChangeKind::Kept; 2]);
        assert!(connects(addr("10.0.0.1:5001")));
    });
}

#[test]
fn link_local_address_on_a_device_has_its_zone() {
    in_namespace(|| {
        link();
        for name in ["eth0", "far0"] {
            ip(&format!("addr add fe80::1/64 nodad dev {name}"));
        }
        let index = now().by_name("eth0").unwrap().index().unwrap();
        let mut server = Server::with(&BindOptions::new().device("eth0"), "[fe80::1]:5000");
        assert_eq!(server.addrs(), [format!("[fe80::1%{index}]:5000")]);
        assert_eq!(server.news(), [""; 0]);
        ip("addr del fe80::1/64 dev eth0");
        assert_eq!(kinds(&server.look()), [ChangeKind::Unreachable]);
        assert!(server.diff.is_empty());
    });
}

#[test]
fn zone_by_its_number_is_not_found_again() {
    in_namespace(|| {
        link();
        ip("addr add fe80::77/64 nodad dev eth0");
        let index = now().by_name("eth0").unwrap().index().unwrap();
        let setting = format!("[fe80::77%{index}]:5000");
        let mut server = Server::start(&setting);
        ip("link del eth0");
        link();
        ip("addr add fe80::77/64 nodad dev eth0");
        assert_eq!(kinds(&server.look()), [ChangeKind::Unreachable]);
        assert!(
            server.diff.is_empty(),
            "the setting names an interface that is gone"
        );
        assert!(bindaddr::bind(&setting).is_err());
    });
}

#[test]
fn optional_zone_by_its_number_is_added() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let index = now().by_name("eth0").unwrap().index().unwrap();
        let settings = [
            "127.0.0.1:5000".to_owned(),
            format!("-[fe80::77%{index}]:5000"),
        ];
        let mut server = Server::start(settings);
        ip("addr add fe80::77/64 nodad dev eth0");
        let message = format!("1: [fe80::77%{index}]:5000 on eth0 can be bound now");
        assert_eq!(server.news(), [message]);
        server.follow();
    });
}
