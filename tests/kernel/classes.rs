//! Classes of addresses, against the verdict of bind(2).

use super::*;

#[test]
fn foreign_reasons_are_distinguished() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 brd + dev eth0");
        ip("addr add 10.8.0.1 peer 10.8.0.2 dev eth0");
        ip("addr add 2001:db8:1::10/64 dev eth0");
        let near = "; closest local address:";
        for (text, cause) in [
            (
                "192.168.158.94:80",
                format!(
                    "no interface of this host has 192.168.158.94; it is in eth0's subnet (192.168.71.67/16) but not assigned to this host{near} 192.168.71.67"
                ),
            ),
            (
                "192.168.0.0:80",
                format!(
                    "no interface of this host has 192.168.0.0; it is the network address of eth0's subnet (192.168.71.67/16){near} 192.168.71.67"
                ),
            ),
            (
                "10.8.0.2:80",
                format!(
                    "no interface of this host has 10.8.0.2; it is the peer address of eth0, whose own address is 10.8.0.1{near} 10.8.0.1"
                ),
            ),
            (
                "8.8.8.8:80",
                format!(
                    "no interface of this host has 8.8.8.8; it is in none of this host's subnets{near} 10.8.0.1"
                ),
            ),
            (
                "0.1.2.3:80",
                format!(
                    "no interface of this host has 0.1.2.3; it is in the reserved network 0.0.0.0/8{near} 10.8.0.1"
                ),
            ),
            (
                "[::ffff:8.8.8.8]:80",
                format!(
                    "8.8.8.8:80: no interface of this host has 8.8.8.8; it is in none of this host's subnets{near} 10.8.0.1"
                ),
            ),
            (
                "[2001:db8:1::]:80",
                format!(
                    "no interface of this host has 2001:db8:1::; it is the subnet-router anycast address of eth0's subnet (2001:db8:1::10/64){near} 2001:db8:1::10"
                ),
            ),
            (
                "[2001:db8:1::11]:80",
                format!(
                    "no interface of this host has 2001:db8:1::11; it is in eth0's subnet (2001:db8:1::10/64) but not assigned to this host{near} 2001:db8:1::10"
                ),
            ),
        ] {
            // `lowest_subnet_address_follows_the_kernel` has the other kernels.
            if text != "192.168.0.0:80" || !features::lowest_is_broadcast() {
                assert_fails(text, Some(EADDRNOTAVAIL), &cause);
            }
        }
        let err = fails("192.168.158.94:80");
        let hints: Vec<String> = err.hints().iter().map(ToString::to_string).collect();
        assert_eq!(
            hints,
            [
                "`192.168.71.67:80` is the closest local address",
                "`0.0.0.0:80` listens on every IPv4 address of this host, reachable from private networks",
                "`BindOptions::freebind` binds an address before the host has it",
            ],
        );
        // The second hint holds.
        BindOptions::new()
            .freebind(true)
            .bind("192.168.158.94:80")
            .unwrap();
        BindOptions::new()
            .freebind(true)
            .bind("[2001:db8:1::11]:80")
            .unwrap();
    });
}

#[test]
fn broadcast_address_is_rejected() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 dev eth0");
        ip("addr add 10.9.9.1/30 dev eth0");
        ip("addr add 172.20.0.1/24 brd 172.20.0.201 dev eth0");
        let refused =
            "no TCP client can connect to a broadcast address; use an address of this host";
        for text in [
            "192.168.255.255:0",
            "10.9.9.3:0",
            "172.20.0.255:0",
            "127.255.255.255:0",
        ] {
            TcpListener::bind(text).expect("the kernel binds it");
            assert_fails(text, None, refused);
            bind_udp(text).unwrap_or_else(|err| panic!("UDP receives on it: {err}"));
        }
        // An odd one is known where there is a snapshot, and the one of a host
        // route, which looks like the other end of a link.
        ip("addr add 10.6.0.5/32 brd 10.6.0.255 dev eth0");
        for text in ["172.20.0.201", "10.6.0.255"] {
            let err = bind((BindTarget::parse(text).unwrap(), 0)).unwrap_err();
            assert_eq!(
                err.to_string(),
                format!("cannot listen on {text}:0: {refused}")
            );
        }
        // Without one the system binds it, and that is reported.
        assert_eq!(
            bind("172.20.0.201:0").unwrap()[0].warnings(&Interfaces::system().unwrap())[0]
                .kind()
                .to_string(),
            "no interface of this host has 172.20.0.201; it is a broadcast address, to which no TCP client can connect"
        );
        // A snapshot may be of another time or host: it makes no broadcast bindable.
        let elsewhere = BindTarget::parse_with("192.168.255.255", &Interfaces::default()).unwrap();
        let err = bind((elsewhere, 0)).unwrap_err();
        assert!(
            matches!(err.cause(), Cause::Group(GroupAddr::Broadcast)),
            "{err}"
        );
        // The other end of a link is none, whatever the length of its prefix.
        ip("addr add 10.8.0.1 peer 10.8.0.2/24 dev eth0");
        let peer = BindTarget::parse("10.8.0.2").unwrap();
        let err = bind((peer, 0)).unwrap_err();
        assert_eq!(err.raw_os_error(), Some(EADDRNOTAVAIL), "{err}");

        // A name that only looks like one.
        ip("addr add 192.168.71.3/16 dev eth0");
        for text in ["192.168.71.67:0", "192.168.71.3:0", "127.0.0.3:0"] {
            bind(text).unwrap();
        }
        // A route that prohibits an address gives the same error as a broadcast.
        ip("rule add pref 100 lookup local");
        ip("rule del pref 0");
        ip("rule add pref 50 to 192.168.71.67 prohibit");
        let asked = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert_eq!(
            asked.connect("192.168.71.67:9").unwrap_err().raw_os_error(),
            Some(EACCES)
        );
        bind("192.168.71.67:0").unwrap();
    });
}

/// Before Linux 5.14 the lowest address of a subnet is a broadcast address, and 127.0.0.0 is one.
#[test]
fn lowest_subnet_address_follows_the_kernel() {
    let test = "classes::lowest_subnet_address_follows_the_kernel";
    in_namespace_of(test, || {
        cable();
        ip("addr add 192.168.71.64/16 dev eth0");
        ip("addr add 10.9.9.1/30 dev eth0");
        let host = Interfaces::system().unwrap();
        for text in ["192.168.0.0:80", "10.9.9.0:80"] {
            let is_broadcast = features::lowest_is_broadcast();
            assert_eq!(TcpListener::bind(text).is_ok(), is_broadcast);
            let errors = [
                fails(text),
                bind((BindTarget::parse(text.trim_end_matches(":80")).unwrap(), 80)).unwrap_err(),
            ];
            for err in errors {
                match err.cause() {
                    Cause::Group(GroupAddr::Broadcast) => assert!(is_broadcast, "{err}"),
                    Cause::NotOnThisHost(_) => assert!(!is_broadcast, "{err}"),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(bind_udp(text).is_ok(), is_broadcast);
        }
        // A subnet of loopback addresses has one, too.
        let connects = {
            let _listener = TcpListener::bind("127.0.0.0:80").expect("the kernel binds it");
            util::netns::connects("127.0.0.0:80".parse().unwrap())
        };
        assert_eq!(bind("127.0.0.0:80").is_ok(), connects);
        assert_eq!(bindaddr::check(["127.0.0.0:80"]).is_ok(), connects);
        let reach = BindTarget::parse("127.0.0.0").unwrap().reach(80, &host);
        assert_eq!(!reach.addrs().is_empty(), connects);
        // An address of the host is none, although its last bits are like those of one.
        bind("192.168.71.64:80").unwrap();
    });
}

#[test]
fn link_local_address_needs_zone() {
    in_namespace(|| {
        cable();
        ip("addr add fe80::77/64 dev eth0");
        ip("addr add fe80::77/64 dev far0");
        ip("addr add fe80::78/64 dev far0");
        let host = Interfaces::system().unwrap();
        let index = |name| host.by_name(name).and_then(Interface::index).unwrap();

        bind("[fe80::77%eth0]:80").unwrap();
        bind(format!("[fe80::77%{}]:80", index("far0"))).unwrap();
        assert_fails(
            "[fe80::78]:80",
            Some(EINVAL),
            "a link-local address needs a zone; fe80::78 is on far0",
        );
        let err = fails("[fe80::77]:80");
        let Cause::ZoneRequired { candidates, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(candidates.as_ref().map(Vec::len), Some(2));
        assert!(err.to_string().contains("; fe80::77 is on "), "{err}");
        assert_fails(
            "[fe80::79]:80",
            Some(EINVAL),
            "a link-local address needs a zone, and no interface of this host has fe80::79",
        );
        assert_fails(
            "[fe80::78%eth0]:80",
            Some(EADDRNOTAVAIL),
            &format!(
                "[fe80::78%{}]:80: fe80::78 is on far0, but its zone names another interface",
                index("eth0")
            ),
        );
        assert_fails(
            "[fe80::79%eth0]:80",
            Some(EADDRNOTAVAIL),
            &format!(
                "[fe80::79%{}]:80: no interface of this host has fe80::79; it is in eth0's subnet \
                 (fe80::77/64) but not assigned to this host; closest local address: fe80::77",
                index("eth0")
            ),
        );
        let err = bind_udp("[ff02::1]:0").unwrap_err();
        let sentence = "cannot listen on UDP [ff02::1]:0: a link-local address needs a zone";
        assert!(err.to_string().starts_with(sentence), "{err}");
        bind_udp("[ff02::1%eth0]:0").unwrap();
        assert_fails(
            "[fe80::78%9999]:80",
            Some(ENODEV),
            "no interface has index 9999; fe80::78 is on far0",
        );
        assert_fails(
            "[fe80::79%9999]:80",
            Some(ENODEV),
            "no interface has index 9999",
        );
        let err = fails("[fe80::77%eth1]:80");
        assert_eq!(err.step(), Step::Resolve);
        let sentence = "cannot listen on [fe80::77%eth1]:80: no interface named `eth1` has an address; available: `eth0`, ";
        assert!(err.to_string().starts_with(sentence), "{err}");
    });
}

#[test]
fn mapped_address_binds_as_ipv4() {
    in_namespace(|| {
        let listeners = bind("[::ffff:127.0.0.1]:0").unwrap();
        assert_eq!(
            listeners.as_slice()[0].local_addr().ip(),
            IpAddr::from([127, 0, 0, 1])
        );
    });
}

#[test]
fn tentative_address_is_pending() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        set("net/ipv6/conf/default/dad_transmits", "600");
        cable();
        ip("addr add 2001:db8:1::10/64 dev eth0");
        let text = "[2001:db8:1::10]:80";
        assert_fails(
            text,
            Some(EADDRNOTAVAIL),
            "2001:db8:1::10 on eth0 is tentative (duplicate address detection is in progress); retry in a moment",
        );
        assert!(fails(text).is_transient());
        assert!(BindTarget::parse("2001:db8:1::10").unwrap().is_local());
    });
}

#[test]
fn localhost_works_without_ipv6_loopback() {
    in_namespace(|| {
        set("net/ipv6/conf/all/disable_ipv6", "1");
        for text in ["localhost:0", "localhost:8080"] {
            let listeners = bind(text).unwrap();
            let ips: Vec<IpAddr> = listeners.iter().map(|one| one.local_addr().ip()).collect();
            assert_eq!(ips, [IpAddr::from([127, 0, 0, 1])], "{text}");
        }
        assert_eq!(bind_udp("localhost:0").unwrap().as_slice().len(), 1);
        for text in ["[::1]:80", "ipv6@localhost:80"] {
            let err = fails(text);
            assert!(
                matches!(err.cause(), Cause::FamilyUnavailable { .. }),
                "{err:?}"
            );
        }
        assert_fails(
            "[::1]:80",
            Some(EADDRNOTAVAIL),
            "IPv6 is disabled (`net.ipv6.conf.all.disable_ipv6` is set)",
        );
        // The dual-stack wildcard serves IPv4 there.
        let any = bind("*:80").unwrap();
        std::net::TcpStream::connect("127.0.0.1:80").unwrap();
        drop(any);
        // 127.0.0.1 is not optional.
        ip("addr del 127.0.0.1/8 dev lo");
        assert_fails(
            "127.0.0.1:80",
            Some(EADDRNOTAVAIL),
            "no interface of this host has 127.0.0.1",
        );
        assert_eq!(
            fails("localhost:80").to_string(),
            "cannot listen on localhost:80: 127.0.0.1:80: no interface of this host has 127.0.0.1",
        );
    });
}

#[test]
fn bind_trusts_kernel_over_snapshot() {
    in_namespace(|| {
        cable();
        // Bound although no interface has it: a whole prefix is local.
        ip("route add local 198.51.100.0/24 dev lo");
        let target = BindTarget::parse("198.51.100.7").unwrap();
        assert!(target.is_foreign());
        let bound = bind((&target, 80)).unwrap();
        let host = Interfaces::system().unwrap();
        assert!(bound.as_slice()[0].target(&host).is_foreign());
        drop(bound);
        let bound = bind("198.51.100.7:80").unwrap();
        assert!(bound.as_slice()[0].target(&host).is_foreign());
        drop(bound);

        // Bound although its interface is down.
        ip("link set eth0 down");
        ip("addr add 10.0.0.1/24 dev eth0");
        let target = BindTarget::parse("10.0.0.1").unwrap();
        assert_eq!(
            target.to_string(),
            "10.0.0.1, an address of eth0 (not running)"
        );
        bind((&target, 80)).unwrap();

        // Not bound although an interface has it.
        ip("route del local 10.0.0.1 dev eth0 table local");
        assert_fails(
            "10.0.0.1:80",
            Some(EADDRNOTAVAIL),
            "10.0.0.1 is on eth0, but the routing table `local` has no usable route to it",
        );
        assert!(!fails("10.0.0.1:80").is_transient());
    });
}

#[test]
fn default_source_address_follows_route() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.0.2/24 dev eth0");
        ip("addr add 2001:db8::1/64 dev eth0");
        assert_eq!(
            fails("_default_:80").to_string(),
            "cannot listen on _default_:80: this host has no source address for a default route",
        );
        ip("route add default via 10.0.0.254 src 10.0.0.2");
        ip("-6 route add default via 2001:db8::fe dev eth0");
        let addrs: Vec<String> = bind("_default_:80")
            .unwrap()
            .iter()
            .map(|listener| listener.local_addr().to_string())
            .collect();
        assert_eq!(addrs, ["10.0.0.2:80", "[2001:db8::1]:80"]);
    });
}
