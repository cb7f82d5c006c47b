//! Addresses that this host does not have, or cannot use now.

use super::*;

#[test]
fn foreign_address_is_not_on_this_host() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 dev eth0");
        ip("addr add 10.8.0.1 peer 10.8.0.2 dev eth0");
        ip("addr add 2001:db8:1::10/64 dev eth0");
        for (situation, text) in [
            ("an address outside all subnets of the host", "8.8.8.8:80"),
            (
                "an address of another host in the subnet",
                "192.168.158.94:80",
            ),
            ("the network address of the subnet", "192.168.0.0:80"),
            ("the other end of a point-to-point link", "10.8.0.2:80"),
            ("the anycast address of the subnet", "[2001:db8:1::]:80"),
        ] {
            if text == "192.168.0.0:80" && features::lowest_is_broadcast() {
                assert!(matches!(
                    bind(text).unwrap_err().cause(),
                    Cause::Group(GroupAddr::Broadcast)
                ));
                continue;
            }
            let err = row(situation, text);
            assert!(matches!(err.cause(), Cause::NotOnThisHost(_)));
            assert_eq!(err.errors().next().unwrap().causes().len(), 1);
            let hints = err.hints();
            // The closest address first, and that the wildcard opens more is said.
            assert_eq!(hints[0].kind(), HintKind::Replace, "{hints:?}");
            assert_eq!(hints[1].kind(), HintKind::Widen, "{hints:?}");
            let may_come = ["8.8.8.8:80", "192.168.158.94:80"].contains(&text);
            assert_eq!(hints.len(), if may_come { 3 } else { 2 }, "{hints:?}");
        }
        let err = bind("192.168.158.94:80").unwrap_err();
        assert_eq!(replacements(&err), ["192.168.71.67:80", "0.0.0.0:80"]);
        // An address that is in use, or cannot be bound at present, is not advised.
        let held = bind("192.168.71.67:80").unwrap();
        let err = bind("192.168.158.94:80").unwrap_err();
        assert_eq!(replacements(&err), ["10.8.0.1:80"]);
        drop(held);
        ip("route del local 192.168.71.67 dev eth0 table local");
        let err = bind("192.168.158.94:80").unwrap_err();
        assert_eq!(replacements(&err), ["10.8.0.1:80", "0.0.0.0:80"]);
        ip("route add local 192.168.71.67 dev eth0 table local");
        // Also where this host is the router whose anycast address it is.
        set("net/ipv6/conf/all/forwarding", "1");
        let err = bind("[2001:db8:1::]:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::NotOnThisHost(_)));
    });
}

#[test]
fn removed_address_is_reported() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 dev eth0");
        let target = BindTarget::parse("192.168.71.67").unwrap();
        assert!(target.is_local());
        ip("link del eth0");
        let err = row(
            "an address whose interface was deleted since it was looked up",
            (&target, 80),
        );
        let Cause::Gone(local) = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(local.interfaces().next().unwrap().name(), "eth0");
        assert!(err.is_transient());
    });
}

#[test]
fn routed_address_is_not_assigned() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("-6 route add local 2001:db8:7::/64 dev lo");
        let err = row(
            "an IPv6 address that a local route covers",
            "[2001:db8:7::1]:80",
        );
        assert!(matches!(err.cause(), Cause::RoutedNotAssigned(_)));
        // The fix.
        let freebind = BindOptions::new().freebind(true);
        let bound = freebind.bind("[2001:db8:7::1]:80").unwrap();
        assert!(TcpStream::connect("[2001:db8:7::1]:80").is_ok());
        drop(bound);

        ip("route add local 198.51.100.7 dev lo table 100");
        ip("rule add to 198.51.100.7 lookup 100");
        row(
            "an IPv4 address that is local in another table only",
            "198.51.100.7:80",
        );
        // With freebind no client would get in.
        let bound = freebind.bind("198.51.100.7:80").unwrap();
        assert!(TcpStream::connect("198.51.100.7:80").is_err());
        drop(bound);
        ip("route add local 198.51.100.7 dev lo");
        let bound = bind("198.51.100.7:80").unwrap();
        assert!(TcpStream::connect("198.51.100.7:80").is_ok());
        drop(bound);
    });
}

#[test]
fn zone_errors_are_distinguished() {
    in_namespace(|| {
        cable();
        ip("addr add fe80::78/64 dev far0");
        let index = |name: &str| {
            let host = Interfaces::system().unwrap();
            host.by_name(name).unwrap().index().unwrap()
        };
        // A number that does not depend on how many there were before.
        let other = index("lo");
        let err = row("a link-local address without its zone", "[fe80::78]:80");
        let Cause::ZoneRequired { candidates, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(candidates.as_deref(), Some(&["far0".to_owned()][..]));
        let err = row("a zone index that no interface has", "[fe80::78%9999]:80");
        assert!(matches!(err.cause(), Cause::NoSuchZone { index: 9999, .. }));
        let err = row(
            "the zone of another interface",
            &*format!("[fe80::78%{other}]:80"),
        );
        assert!(matches!(err.cause(), Cause::OtherZone { .. }));
        bind("[fe80::78%far0]:80").expect("as the sentences say");
    });
}

#[test]
fn tentative_address_is_reported() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        set("net/ipv6/conf/default/dad_transmits", "600");
        cable();
        ip("addr add 2001:db8:1::10/64 dev eth0");
        let text = "[2001:db8:1::10]:80";
        let err = row("an IPv6 address during duplicate address detection", text);
        assert!(matches!(err.cause(), Cause::Tentative(_)));
        assert!(err.is_transient());
        // The number is read when the look begins.
        set("net/ipv6/conf/eth0/dad_transmits", "1");
        ip("addr del 2001:db8:1::10/64 dev eth0");
        ip("addr add 2001:db8:1::10/64 dev eth0");
        eventually("it can be bound", || bind(text).is_ok());
        // An optimistic one is bound at once (RFC 4429).
        if has_optimistic() {
            set("net/ipv6/conf/eth0/optimistic_dad", "1");
            ip("addr add 2001:db8:1::11/64 optimistic dev eth0");
            bind("[2001:db8:1::11]:80").unwrap();
        }
    });
}

fn has_optimistic() -> bool {
    std::fs::exists("/proc/sys/net/ipv6/conf/eth0/optimistic_dad").unwrap_or(false)
}

#[test]
fn duplicate_address_is_reported() {
    const TEST: &str = "address::duplicate_address_is_reported";
    in_namespace(|| {
        let mut other = Host::start(TEST);
        other.cable("eth0", "eth0");
        other.ip("addr add 2001:db8:1::10/64 nodad dev eth0");
        set("net/ipv6/conf/eth0/accept_dad", "1");
        eventually("the other host answers", || {
            ip("addr add 2001:db8:1::10/64 dev eth0");
            eventually("it is looked for", || {
                !has_flag("2001:db8:1::10", 0x40) || has_flag("2001:db8:1::10", 0x08)
            });
            let failed = has_flag("2001:db8:1::10", 0x08);
            if !failed {
                ip("addr del 2001:db8:1::10/64 dev eth0");
            }
            failed
        });
        let err = row(
            "an IPv6 address that another host on the link also uses",
            "[2001:db8:1::10]:80",
        );
        assert!(matches!(err.cause(), Cause::Duplicate(_)));
        assert!(!err.is_transient());
    });
}

#[test]
fn down_interface_and_missing_carrier_are_reported() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        ip("link add name eth0 type veth peer name far0");
        ip("addr add 2001:db8:1::10/64 dev eth0");
        let err = row(
            "an IPv6 address of an interface that is down",
            "[2001:db8:1::10]:80",
        );
        assert!(matches!(err.cause(), Cause::InterfaceDown(_)));
        assert_eq!(
            texts_of_hints(&err)[0],
            "`ip link set dev eth0 up` brings it up"
        );
        // Not a command that the name of an interface has written.
        ip("link set eth0 name a;reboot");
        let err = bind("[2001:db8:1::10]:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::InterfaceDown(_)));
        assert!(
            texts_of_hints(&err)
                .iter()
                .all(|text| !text.contains("reboot"))
        );
        ip("link set a;reboot name eth0");
        ip("link set dev eth0 up");
        let err = row(
            "an IPv6 address of an interface without a carrier",
            "[2001:db8:1::10]:80",
        );
        assert!(matches!(err.cause(), Cause::NoCarrier(_)));
        assert!(err.is_transient());
        ip("link set far0 up");
        eventually("it can be bound", || bind("[2001:db8:1::10]:80").is_ok());
    });
}

#[test]
fn missing_local_route_is_reported() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("route del local 10.0.0.1 dev eth0 table local");
        let err = row(
            "an IPv4 address whose local route was deleted",
            "10.0.0.1:80",
        );
        assert!(matches!(err.cause(), Cause::LocalRouteMissing(_)));
        assert_eq!(
            texts_of_hints(&err),
            ["`ip route show table local` shows what the kernel treats as local"]
        );
        ip("route add blackhole 10.0.0.1 table local");
        row(
            "an IPv4 address with a blackhole route in the table local",
            "10.0.0.1:80",
        );
        // The address alone brings its route back, but does not push aside one that is in the way:
        // so the sentence says neither, and the hint shows which of the two it is.
        let again = || {
            ip("addr del 10.0.0.1/24 dev eth0");
            ip("addr add 10.0.0.1/24 dev eth0");
            bind("10.0.0.1:80").is_ok()
        };
        assert!(!again());
        ip("route del blackhole 10.0.0.1 table local");
        ip("route del local 10.0.0.1 dev eth0 table local");
        assert!(again());
    });
}

#[test]
fn missing_loopback_is_reported() {
    in_namespace(|| {
        ip("addr del 127.0.0.1/8 dev lo");
        row(
            "127.0.0.1 where the loopback interface has lost it",
            "127.0.0.1:80",
        );
        ip("addr add 127.0.0.1/32 dev lo");
        let err = row(
            "127.0.0.2 where the loopback interface has 127.0.0.1/32 only",
            "127.0.0.2:80",
        );
        let Cause::LoopbackMissing { has, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(has.len(), 1);
        ip("route del local 127.0.0.1 dev lo table local");
        row("127.0.0.1 whose local route was deleted", "127.0.0.1:80");
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("link set lo down");
        row(
            "127.0.0.1 while the loopback interface is down",
            "127.0.0.1:80",
        );
        ip("link set lo up");
        bind("127.0.0.1:80").expect("as the sentence says");
    });
}

#[test]
fn unreachable_addresses_are_rejected() {
    in_namespace(|| {
        cable();
        ip("addr add 192.168.71.67/16 dev eth0");
        for (situation, text) in [
            ("a multicast group", "224.0.0.1:80"),
            ("the broadcast address of a subnet", "192.168.255.255:80"),
        ] {
            assert_eq!(row(situation, text).step(), Step::Validate);
        }
        let v6_only = BindOptions::new().only_v6(true);
        row_with(
            &v6_only,
            "an IPv4-mapped address for an IPv6-only socket",
            "[::ffff:127.0.0.1]:80",
        );
        let err = row_with(
            &v6_only,
            "the IPv4-mapped wildcard for an IPv6-only socket",
            "[::ffff:0.0.0.0]:80",
        );
        assert_eq!((err.step(), err.raw_os_error()), (Step::Validate, None));
        assert_eq!(replacements(&err), ["0.0.0.0:80"]);
    });
}

#[test]
fn mismatched_device_is_reported() {
    in_namespace(|| {
        cable();
        // They get addresses by themselves a moment later.
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.1.1/24 dev far0");
        let err = row_with(
            &BindOptions::new().device("eth0"),
            "::1 and a `device` that does not have it",
            "[::1]:80",
        );
        assert!(matches!(err.cause(), Cause::OnAnotherDevice { .. }));
        BindOptions::new().device("lo").bind("[::1]:80").unwrap();
        // With a zone the kernel would forget the device, and let in who is kept out.
        ip("addr add fe80::78/64 dev far0");
        let on_lo = BindOptions::new().device("lo");
        let err = row_with(
            &on_lo,
            "a zone that differs from the `device`",
            "[fe80::78%2]:80",
        );
        assert_eq!((err.step(), err.raw_os_error()), (Step::Validate, None));
        assert!(!on_lo.check(["[fe80::78%far0]:80"]).is_ok());
        for text in ["[fe80::78%far0]:80", "[ff02::fb%far0]:80", "ipv6@far0:80"] {
            let err = on_lo.bind_udp(text).unwrap_err();
            assert!(
                matches!(err.cause(), Cause::OnAnotherDevice { .. }),
                "{err}"
            );
        }
        let on_far0 = BindOptions::new().device("far0");
        for text in ["[fe80::78%far0]:80", "[fe80::78]:81", "ipv6@far0:82"] {
            let listeners = on_far0.bind(text).unwrap();
            assert_eq!(listeners.as_slice()[0].device().as_deref(), Some("far0"));
        }
        // By another name it is the same one.
        ip("link property add dev far0 altname uplink0");
        let by_altname = BindOptions::new().device("uplink0");
        let listeners = by_altname.bind("[fe80::78%far0]:80").unwrap();
        assert_eq!(listeners.as_slice()[0].device().as_deref(), Some("far0"));
        row_with(
            &BindOptions::new().device("eth1"),
            "a `device` that is not there",
            "0.0.0.0:80",
        );
    });
}

#[test]
fn interface_name_can_be_any_bytes() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        let name = OsStr::from_bytes(b"e\xff\x1b[2J");
        let make = |args: &[&OsStr]| {
            let status = Command::new("ip")
                .args(args)
                .status()
                .expect("iproute2 is installed");
            assert!(status.success(), "{args:?}");
        };
        let word = OsStr::new;
        let [link, addr] = ["link", "addr"].map(word);
        make(&[
            link,
            word("add"),
            word("name"),
            name,
            word("type"),
            word("veth"),
            word("peer"),
            word("name"),
            word("far0"),
        ]);
        make(&[addr, word("add"), word("10.0.0.1/24"), word("dev"), name]);
        make(&[
            addr,
            word("add"),
            word("2001:db8:1::10/64"),
            word("dev"),
            name,
        ]);
        make(&[link, word("set"), name, word("up")]);
        // Until the kernel has processed the missing carrier, the interface counts as running.
        ip("link show");
        for text in ["10.0.0.2:80", "[2001:db8:1::10]:80", "[fe80::1]:80"] {
            let sentence = bind(text).unwrap_err().to_string();
            assert!(!sentence.contains(char::is_control), "{sentence:?}");
        }
        let err = bind("[2001:db8:1::10]:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::NoCarrier(_)), "{err:?}");
        let err = BindOptions::new()
            .device("no-such")
            .bind("10.0.0.1:80")
            .unwrap_err();
        assert!(!err.to_string().contains(char::is_control), "{err}");
    });
}

#[test]
fn wildcard_advice_names_the_families() {
    in_namespace(|| {
        cable();
        ip("addr add 2001:db8:1::10/64 dev eth0 nodad");
        ip("addr add 10.0.0.1/24 dev eth0");
        let last = |only_v6, setting: &str| {
            let options = BindOptions::new().only_v6(only_v6);
            let err = options.bind(setting).unwrap_err();
            texts_of_hints(&err).pop().expect("it has advice")
        };
        for (only_v6, setting, told) in [
            (
                false,
                "[2001:db8:9::1]:8080",
                "`[::]:8080` listens on every address of this host, reachable from the internet",
            ),
            (
                true,
                "[2001:db8:9::1]:8080",
                "`[::]:8080` listens on every IPv6 address of this host, reachable from the internet",
            ),
            (
                false,
                "10.0.0.77:8080",
                "`0.0.0.0:8080` listens on every IPv4 address of this host, reachable from private networks",
            ),
        ] {
            assert_eq!(last(only_v6, setting), told);
        }
    });
}
