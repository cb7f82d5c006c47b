//! `Hold`: what became of running listeners when the host has changed, and `Watch`, which tells when to look.

mod util;

use std::net::SocketAddr;

use bindaddr::{
    Action, BindOptions, ChangeKind, Choice, Hold, Interface, Interfaces, Listeners, Setting,
};
use util::ip as parse_ip;
use util::netns::{connects, in_namespace, ip, set};

fn now() -> Interfaces {
    Interfaces::system().expect("netlink is there")
}

/// What changed, as text, with what to do about it.
fn news(hold: &mut Hold) -> Vec<String> {
    let changes = hold.look(now());
    changes
        .iter()
        .map(|change| format!("{}: {change}; {}", change.entry(), change.action()))
        .collect()
}

fn addrs(listeners: &Listeners) -> Vec<String> {
    listeners
        .iter()
        .map(|listener| listener.local_addr().to_string())
        .collect()
}

fn link() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
}

#[test]
fn an_address_goes_and_comes_back() {
    in_namespace("an_address_goes_and_comes_back", || {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fd00::1/64 dev eth0");
        let settings = [
            "10.0.0.1:5000",
            "[fd00::1]:5000",
            "*:5001",
            "localhost:5002",
        ];
        let listeners = bindaddr::bind_all(settings).unwrap();
        let mut hold = listeners.hold(now());
        assert_eq!(news(&mut hold), [""; 0]);

        ip("addr del 10.0.0.1/24 dev eth0");
        ip("addr del fd00::1/64 dev eth0");
        let to: SocketAddr = "10.0.0.1:5000".parse().unwrap();
        assert!(
            !connects(to),
            "the socket listens on, and nobody can connect"
        );
        assert_eq!(
            news(&mut hold),
            [
                "0: nobody can connect to 10.0.0.1:5000 any more: eth0 lacks the address or is down; \
                 wait until it is back",
                "1: nobody can connect to [fd00::1]:5000 any more: eth0 lacks the address or is down; \
                 wait until it is back",
            ],
        );
        assert_eq!(news(&mut hold), [""; 0], "told once");

        // On another interface it is back as well.
        ip("addr add 10.0.0.1/24 dev far0");
        ip("addr add fd00::1/64 dev eth0");
        assert_eq!(
            news(&mut hold),
            [
                "0: clients can connect to 10.0.0.1:5000: far0 has it; nothing to do",
                "1: clients can connect to [fd00::1]:5000: eth0 has it; nothing to do",
            ],
        );
        assert!(connects(to), "by the same socket");

        ip("link set lo down");
        let gone: Vec<String> = news(&mut hold);
        assert!(
            gone[0].starts_with("3: nobody can connect to 127.0.0.1:5002 any more"),
            "{gone:?}"
        );
    });
}

#[test]
fn an_interface_is_made_anew() {
    in_namespace("an_interface_is_made_anew", || {
        link();
        ip("addr add fe80::77/64 dev eth0");
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = [
            Setting::from("[fe80::77%eth0]:5000"),
            Setting::from("0.0.0.0:5001").device("eth0"),
            Setting::from("10.0.0.1:5002"),
        ];
        let listeners = BindOptions::new().bind_all(settings.clone()).unwrap();
        let mut hold = listeners.hold(now());
        let index = |host: Interfaces| host.by_name("eth0").unwrap().index().unwrap();
        let old = index(now());

        ip("link del eth0");
        let changes = hold.look(now());
        assert_eq!(changes.len(), 3);
        assert!(
            changes
                .iter()
                .all(|change| change.kind() == ChangeKind::Gone)
        );
        assert!(changes.iter().all(|change| change.action() == Action::Wait));

        link();
        ip("addr add fe80::77/64 dev eth0");
        ip("addr add 10.0.0.1/24 dev eth0");
        let new = index(now());
        assert_ne!(new, old);
        let to =
            |zone| std::net::SocketAddrV6::new("fe80::77".parse().unwrap(), 5000, 0, zone).into();
        assert!(
            !connects(to(new)),
            "the socket is bound to an interface that is no more"
        );
        assert!(!connects("10.0.0.1:5001".parse().unwrap()));
        // The kernel says so of the sockets themselves.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        for dead in &listeners.as_slice()[..2] {
            let errno = socket2::SockRef::from(dead.as_std()).device().unwrap_err();
            assert_eq!(errno.raw_os_error(), Some(19), "ENODEV");
        }
        let changes = hold.look(now());
        let kinds: Vec<ChangeKind> = changes.iter().map(bindaddr::Change::kind).collect();
        assert_eq!(kinds.len(), 3);
        assert!(
            matches!(kinds[0], ChangeKind::Recreated { from, to, .. } if (from, to) == (old, new))
        );
        assert!(
            matches!(kinds[1], ChangeKind::Recreated { from, to, .. } if (from, to) == (old, new))
        );
        assert_eq!(kinds[2], ChangeKind::Back);
        assert_eq!(changes[0].action(), Action::Rebind);
        assert_eq!(
            changes[0].to_string(),
            format!(
                "nobody will ever connect to [fe80::77%{old}]:5000: its socket is bound to interface \
                 {old}, and eth0 is interface {new} now"
            ),
        );
        assert!(
            connects("10.0.0.1:5002".parse().unwrap()),
            "it was bound to no interface"
        );
        assert_eq!(news(&mut hold), [""; 0], "told once");

        drop(listeners);
        let listeners = BindOptions::new().bind_all(settings).unwrap();
        assert!(
            connects(to(new)) && connects("10.0.0.1:5001".parse().unwrap()),
            "{listeners}"
        );
        assert_eq!(news(&mut listeners.hold(now())), [""; 0]);
    });
}

#[test]
fn a_selector_names_other_addresses() {
    in_namespace("a_selector_names_other_addresses", || {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = ["ipv4@eth0:5000", "10.66.0.0/16:5001", "-10.0.0.9:5002"];
        let err = bindaddr::bind_all(settings).unwrap_err();
        assert!(err.to_string().contains("10.66.0.0/16"), "{err}");
        let settings = ["ipv4@eth0:5000", "-10.66.0.0/16:5001", "-10.0.0.9:5002"];
        let listeners = bindaddr::bind_all(settings).unwrap();
        assert_eq!(addrs(&listeners), ["10.0.0.1:5000"]);
        let mut hold = listeners.hold(now());

        // DHCP hands out another address, and what was skipped has come.
        ip("addr del 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.0.2/24 dev eth0");
        ip("addr add 10.0.0.9/24 dev lo");
        ip("addr add 10.66.0.1/24 dev far0");
        assert_eq!(
            news(&mut hold),
            [
                "0: nobody can connect to 10.0.0.1:5000 any more: eth0 lacks the address or is down; \
                 bind the setting anew",
                "0: the setting stands for 10.0.0.2:5000 of eth0, too, now; bind the setting anew",
                "1: the setting stands for 10.66.0.1:5001 of far0, too, now; bind the setting anew",
                "2: the setting stands for 10.0.0.9:5002 of lo, too, now; bind the setting anew",
            ],
        );
        assert_eq!(news(&mut hold), [""; 0], "told once");
        drop(listeners);
        let listeners = bindaddr::bind_all(settings).unwrap();
        assert_eq!(
            addrs(&listeners),
            ["10.0.0.2:5000", "10.66.0.1:5001", "10.0.0.9:5002"]
        );
        let mut hold = listeners.hold(now());
        assert_eq!(news(&mut hold), [""; 0], "which mends it");

        // It moves to another interface.
        ip("addr del 10.0.0.2/24 dev eth0");
        ip("addr add 10.0.0.2/24 dev far0");
        assert_eq!(
            news(&mut hold),
            [
                "0: the setting stands for 10.0.0.2:5000 no longer, which clients can connect to; close \
              the socket"
            ],
        );
        assert!(
            connects("10.0.0.2:5000".parse().unwrap()),
            "through the interface that was not meant"
        );
    });
}

#[test]
fn a_choice_is_kept() {
    let eth0 = |ips: &[&str]| -> Interfaces {
        let lo = Interface::new("lo", 1).with_addr(parse_ip("127.0.0.1"), 8);
        let lo = ips
            .iter()
            .fold(lo, |lo, text| lo.with_addr(parse_ip(text), 8));
        [lo].into_iter().collect()
    };
    let first = BindOptions::new().choose(Choice::First);
    let listeners = first.bind("_local_:0").unwrap();
    let mut hold = listeners.hold(eth0(&[]));
    assert!(
        hold.look(eth0(&["127.0.0.5"])).is_empty(),
        "the first one is bound"
    );
    let every = bindaddr::bind("ipv4@_local_:0").unwrap();
    let mut hold = every.hold(eth0(&[]));
    let changes = hold.look(eth0(&["127.0.0.5"]));
    assert_eq!(changes[0].kind(), ChangeKind::New);
    assert_eq!(
        changes[0].addr(),
        SocketAddr::new(
            parse_ip("127.0.0.5"),
            every.as_slice()[0].local_addr().port()
        )
    );
    // The first of localhost is 127.0.0.1, whatever else comes.
    let listeners = first.bind("localhost:0").unwrap();
    assert_eq!(listeners.as_slice().len(), 1);
    let mut hold = listeners.hold(eth0(&[]));
    assert!(hold.look(eth0(&["::1"])).is_empty());
    // Without its sources a snapshot says nothing of `_default_`.
    let listeners = bindaddr::bind_all(["127.0.0.1:0", "-_default_:0"]).unwrap();
    assert!(
        listeners
            .hold(eth0(&[]))
            .look(eth0(&["10.0.0.1"]))
            .is_empty()
    );
}

#[test]
fn a_tentative_address_is_new_once_it_can_be_bound() {
    in_namespace("a_tentative_address_is_new_once_it_can_be_bound", || {
        link();
        let listeners = bindaddr::bind_all(["127.0.0.1:0", "-[fd00::1]:5000"]).unwrap();
        let mut hold = listeners.hold(now());
        set("net/ipv6/conf/eth0/accept_dad", "1");
        set("net/ipv6/conf/eth0/dad_transmits", "600");
        ip("addr add fd00::1/64 dev eth0");
        assert_eq!(news(&mut hold), [""; 0], "it is tentative");
        // The number is read when the look begins.
        set("net/ipv6/conf/eth0/dad_transmits", "1");
        ip("addr del fd00::1/64 dev eth0");
        ip("addr add fd00::1/64 dev eth0");
        let begun = std::time::Instant::now();
        let changes = loop {
            let changes = hold.look(now());
            if !changes.is_empty() {
                break changes;
            }
            assert!(begun.elapsed().as_secs() < 60);
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        assert_eq!(
            (changes[0].kind(), changes[0].entry()),
            (ChangeKind::New, 1)
        );
        assert!(bindaddr::bind("[fd00::1]:5000").is_ok());
    });
}

#[test]
fn what_was_opened_in_part_is_followed() {
    in_namespace("what_was_opened_in_part_is_followed", || {
        set("net/ipv6/conf/lo/disable_ipv6", "1");
        let listeners = bindaddr::bind_all(["localhost:5000", "-[::1]:5001"]).unwrap();
        assert_eq!(addrs(&listeners), ["127.0.0.1:5000"]);
        let mut hold = listeners.hold(now());
        set("net/ipv6/conf/lo/disable_ipv6", "0");
        ip("link set lo up"); // which waits until the address is usable
        assert_eq!(
            news(&mut hold),
            [
                "0: the setting stands for [::1]:5000 of lo, too, now; bind the setting anew",
                "1: the setting stands for [::1]:5001 of lo, too, now; bind the setting anew",
            ],
        );
        drop(listeners);

        let listeners = bindaddr::bind("-localhost:5000").unwrap();
        let mut hold = listeners.hold(now());
        ip("link set lo down");
        let gone = hold.look(now());
        assert_eq!(
            gone.iter().map(bindaddr::Change::kind).collect::<Vec<_>>(),
            [ChangeKind::Gone; 2]
        );
        ip("link set lo up");
        let back = hold.look(now());
        assert_eq!(
            back.iter().map(bindaddr::Change::kind).collect::<Vec<_>>(),
            [ChangeKind::Back; 2]
        );
    });
}

#[test]
fn a_setting_that_is_bound_anew_is_held_on() {
    in_namespace("a_setting_that_is_bound_anew_is_held_on", || {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = ["127.0.0.1:5001", "ipv4@eth0:5000"];
        let listeners = bindaddr::bind_all(settings).unwrap();
        let mut hold = listeners.hold(now());
        ip("addr del 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.0.2/24 dev eth0");
        let changes = hold.look(now());
        assert!(
            changes
                .iter()
                .all(|change| (change.entry(), change.action()) == (1, Action::Rebind))
        );

        let kept = listeners
            .into_iter()
            .filter(|listener| listener.entry() == 0);
        let kept: Vec<bindaddr::Listener> = kept.collect();
        let anew = bindaddr::bind(settings[1]).unwrap();
        hold.rebound(1, &anew);
        assert_eq!(news(&mut hold), [""; 0]);
        assert!(connects("10.0.0.2:5000".parse().unwrap()) && connects(kept[0].local_addr()));
        ip("addr add 10.0.0.1/24 dev eth0");
        assert_eq!(
            news(&mut hold),
            ["1: the setting stands for 10.0.0.1:5000 of eth0, too, now; bind the setting anew"],
        );
        ip("addr del 10.0.0.2/24 dev eth0");
        let changes = hold.look(now());
        assert_eq!(
            (changes[0].kind(), changes[0].entry()),
            (ChangeKind::Gone, 1)
        );
    });
}

#[test]
fn a_name_of_dns_is_not_taken_for_an_interfaces() {
    in_namespace("a_name_of_dns_is_not_taken_for_an_interfaces", || {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.1.1/24 dev far0");
        let options = BindOptions::new().lookup_with(|_| Ok(vec![parse_ip("10.0.0.1")]));
        let settings = ["www.example.org:5000", "ipv4@far0:5001"];
        let listeners = options.bind_all(settings).unwrap();
        let mut hold = listeners.hold(now());
        assert_eq!(news(&mut hold), [""; 0]);
        ip("addr del 10.0.1.1/24 dev far0");
        ip("addr flush dev far0"); // so that no interface with an address is called so
        assert_eq!(hold.look(now()).len(), 1);
        // An interface that is gone while something else is bound anew is followed on.
        hold.rebound(0, &options.bind("10.0.0.1:0").unwrap());
        ip("addr add 10.0.1.2/24 dev far0");
        assert_eq!(
            news(&mut hold),
            ["1: the setting stands for 10.0.1.2:5001 of far0, too, now; bind the setting anew"],
        );
    });
}

#[test]
fn a_device_is_followed_that_had_no_address() {
    in_namespace("a_device_is_followed_that_had_no_address", || {
        set("net/ipv6/conf/default/disable_ipv6", "1");
        link();
        let listeners = BindOptions::new()
            .device("eth0")
            .bind("0.0.0.0:5000")
            .unwrap();
        let mut hold = listeners.hold(now());
        ip("addr add 10.0.0.1/24 dev eth0");
        assert_eq!(
            news(&mut hold),
            ["0: clients can connect to 0.0.0.0:5000: eth0 has it; nothing to do"],
        );
        ip("link del eth0");
        assert_eq!(
            news(&mut hold),
            [
                "0: nobody can connect to 0.0.0.0:5000 any more: eth0 lacks the address or is down; \
              wait until it is back"
            ],
        );
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let changes = hold.look(now());
        assert!(
            matches!(changes[0].kind(), ChangeKind::Recreated { .. }),
            "{changes:?}"
        );
    });
}

#[test]
fn an_interface_that_only_went_by_another_name_is_back() {
    in_namespace(
        "an_interface_that_only_went_by_another_name_is_back",
        || {
            link();
            ip("addr add 10.0.0.1/24 dev eth0");
            let listeners = BindOptions::new()
                .device("eth0")
                .bind("0.0.0.0:5000")
                .unwrap();
            let mut hold = listeners.hold(now());
            // The two change names, and the one that the socket is bound to has no address for a while.
            ip("addr flush dev eth0");
            ip("link set eth0 down");
            ip("link set eth0 name wan0");
            ip("link set far0 down");
            ip("link set far0 name eth0");
            ip("link set eth0 up");
            ip("addr add 10.0.0.2/24 dev eth0");
            let changes = hold.look(now());
            assert!(
                matches!(changes[0].kind(), ChangeKind::Recreated { .. }),
                "{changes:?}"
            );
            ip("link set wan0 up");
            ip("addr add 10.0.0.1/24 dev wan0");
            assert_eq!(hold.look(now())[0].kind(), ChangeKind::Back);
            assert!(connects("10.0.0.1:5000".parse().unwrap()));
        },
    );
}

#[test]
fn a_setting_whose_sockets_were_closed_is_followed_on() {
    in_namespace("a_setting_whose_sockets_were_closed_is_followed_on", || {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let setting = "ipv4@eth0:5000";
        let listeners = bindaddr::bind(setting).unwrap();
        let mut hold = listeners.hold(now());
        ip("addr del 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.0.1/24 dev far0");
        assert_eq!(
            news(&mut hold),
            [
                "0: the setting stands for 10.0.0.1:5000 no longer, which clients can connect to; close the socket"
            ],
        );
        drop(listeners);
        ip("addr del 10.0.0.1/24 dev far0");
        assert_eq!(news(&mut hold), [""; 0], "there is no socket");
        ip("addr add 10.0.0.1/24 dev eth0");
        assert_eq!(
            news(&mut hold),
            ["0: the setting stands for 10.0.0.1:5000 of eth0, too, now; bind the setting anew"],
        );
        hold.rebound(0, &bindaddr::bind(setting).unwrap());
        assert_eq!(news(&mut hold), [""; 0]);
    });
}

#[test]
fn settings_that_share_an_address_are_bound_anew_together() {
    in_namespace(
        "settings_that_share_an_address_are_bound_anew_together",
        || {
            link();
            ip("addr add 10.0.0.1/24 dev eth0");
            let settings = ["-10.0.0.5:5000", "10.0.0.1:5000", "10.0.0.0/8:5000"];
            let listeners = bindaddr::bind_all(settings).unwrap();
            let mut hold = listeners.hold(now());
            // Two settings stand for it, and it is bound once.
            ip("addr add 10.0.0.5/24 dev eth0");
            assert_eq!(
                news(&mut hold),
                [
                    "0: the setting stands for 10.0.0.5:5000 of eth0, too, now; bind the setting anew"
                ],
            );
            let anew = bindaddr::bind(settings[0]).unwrap();
            hold.rebound(0, &anew);
            ip("addr add 10.0.0.9/24 dev eth0");
            assert_eq!(
                news(&mut hold),
                [
                    "2: the setting stands for 10.0.0.9:5000 of eth0, too, now; bind all settings anew, which share an address"
                ],
            );
            assert!(bindaddr::bind(settings[2]).is_err(), "which is why");
            drop((listeners, anew));
            let listeners = bindaddr::bind_all(settings).unwrap();
            assert_eq!(addrs(&listeners).len(), 3);
            assert_eq!(news(&mut listeners.hold(now())), [""; 0]);
        },
    );
}

#[test]
fn a_setting_is_not_bound_anew_while_that_would_fail() {
    in_namespace("a_setting_is_not_bound_anew_while_that_would_fail", || {
        set("net/ipv6/conf/default/accept_dad", "1");
        set("net/ipv6/conf/default/addr_gen_mode", "1");
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up"); // without a carrier, so that DAD never ends
        ip("addr add 10.0.0.1/24 dev eth0");
        let listeners = bindaddr::bind("eth0:5000").unwrap();
        let mut hold = listeners.hold(now());
        ip("addr add fd00::1/64 dev eth0");
        ip("addr add 10.0.0.9/24 dev eth0");
        assert!(bindaddr::bind("eth0:5001").is_err(), "it is tentative");
        assert_eq!(news(&mut hold), [""; 0]);
        ip("addr del fd00::1/64 dev eth0");
        assert_eq!(
            news(&mut hold),
            ["0: the setting stands for 10.0.0.9:5000 of eth0, too, now; bind the setting anew"],
        );
    });
}

#[test]
fn an_interface_that_came_while_binding_waited_is_followed() {
    in_namespace(
        "an_interface_that_came_while_binding_waited_is_followed",
        || {
            set("net/ipv6/conf/default/addr_gen_mode", "1");
            let before = now();
            link();
            ip("addr add 10.0.0.1/24 dev eth0");
            ip("addr add fe80::77/64 dev eth0");
            // As after `wait`: the snapshot knows no interface of that name.
            let settings = ["ipv4@eth0:5000", "[fe80::77%eth0]:5001"];
            let listeners = bindaddr::bind_all(settings).unwrap();
            let mut hold = listeners.hold(before);
            assert!(
                hold.look(now())
                    .iter()
                    .all(|change| change.kind() == ChangeKind::Back)
            );
            ip("addr add 10.0.0.9/24 dev eth0");
            assert_eq!(
                news(&mut hold),
                [
                    "0: the setting stands for 10.0.0.9:5000 of eth0, too, now; bind the setting anew"
                ],
            );
            ip("link del eth0");
            link();
            ip("addr add fe80::77/64 dev eth0");
            let changes = hold.look(now());
            let of_zone = changes.iter().find(|change| change.entry() == 1).unwrap();
            assert!(
                matches!(of_zone.kind(), ChangeKind::Recreated { .. }),
                "{changes:?}"
            );
        },
    );
}

#[test]
fn nobody_connects_through_a_device_that_is_down() {
    in_namespace("nobody_connects_through_a_device_that_is_down", || {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.1.0.1/24 dev far0");
        let settings =
            ["0.0.0.0:5000", "10.0.0.1:5001"].map(|text| Setting::from(text).device("eth0"));
        let listeners = BindOptions::new().bind_all(settings).unwrap();
        let free = bindaddr::bind("10.0.0.1:5002").unwrap();
        let mut hold = listeners.hold(now());
        assert!(connects("10.0.0.1:5001".parse().unwrap()));
        ip("link set eth0 down");
        for to in ["10.0.0.1:5000", "10.1.0.1:5000", "10.0.0.1:5001"] {
            assert!(!connects(to.parse().unwrap()), "{to}");
        }
        assert_eq!(listeners.reach(&now()).dials().len(), 0);
        let changes = hold.look(now());
        assert!(
            changes
                .iter()
                .all(|change| change.kind() == ChangeKind::Gone)
        );
        assert_eq!(changes.len(), 2);
        // Without a device it is the host's address, and this host reaches it.
        assert!(connects("10.0.0.1:5002".parse().unwrap()));
        assert_eq!(free.reach(&now()).dials().len(), 1);
        ip("link set eth0 up");
        assert_eq!(hold.look(now())[0].kind(), ChangeKind::Back);
        assert!(connects("10.0.0.1:5001".parse().unwrap()));
    });
}

#[test]
fn a_link_local_address_on_a_device_has_its_zone() {
    in_namespace("a_link_local_address_on_a_device_has_its_zone", || {
        link();
        for name in ["eth0", "far0"] {
            ip(&format!("addr add fe80::1/64 nodad dev {name}"));
        }
        let index = now().by_name("eth0").unwrap().index().unwrap();
        let listeners = BindOptions::new()
            .device("eth0")
            .bind("[fe80::1]:5000")
            .unwrap();
        assert_eq!(addrs(&listeners), [format!("[fe80::1%{index}]:5000")]);
        let mut hold = listeners.hold(now());
        ip("addr del fe80::1/64 dev eth0");
        assert_eq!(hold.look(now())[0].kind(), ChangeKind::Gone);
    });
}

#[test]
fn a_zone_by_its_number_is_not_found_again() {
    in_namespace("a_zone_by_its_number_is_not_found_again", || {
        link();
        ip("addr add fe80::77/64 nodad dev eth0");
        let index = now().by_name("eth0").unwrap().index().unwrap();
        let setting = format!("[fe80::77%{index}]:5000");
        let listeners = bindaddr::bind(&setting).unwrap();
        let mut hold = listeners.hold(now());
        ip("link del eth0");
        link();
        ip("addr add fe80::77/64 nodad dev eth0");
        let changes = hold.look(now());
        assert!(
            matches!(changes[0].kind(), ChangeKind::Recreated { .. }),
            "{changes:?}"
        );
        assert_eq!((changes.len(), changes[0].action()), (1, Action::Close));
        assert!(bindaddr::bind(&setting).is_err());
    });
}

#[test]
fn an_optional_zone_by_its_number_comes() {
    in_namespace("an_optional_zone_by_its_number_comes", || {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let index = now().by_name("eth0").unwrap().index().unwrap();
        let settings = [
            "127.0.0.1:5000".to_owned(),
            format!("-[fe80::77%{index}]:5000"),
        ];
        let listeners = bindaddr::bind_all(&settings).unwrap();
        let mut hold = listeners.hold(now());
        ip("addr add fe80::77/64 nodad dev eth0");
        let told = format!(
            "1: the setting stands for [fe80::77%{index}]:5000 of eth0, too, now; bind the setting anew"
        );
        assert_eq!(news(&mut hold), [told]);
    });
}

#[test]
fn a_better_address_that_cannot_be_bound_yet_is_no_news() {
    in_namespace(
        "a_better_address_that_cannot_be_bound_yet_is_no_news",
        || {
            set("net/ipv6/conf/default/addr_gen_mode", "1");
            ip("link add name eth0 type veth peer name far0");
            ip("link set eth0 up"); // without a carrier, so that DAD never ends
            ip("addr add fd00::5/64 nodad dev eth0");
            let options = BindOptions::new().choose(bindaddr::Choice::First);
            let listeners = options.bind("eth0:5000").unwrap();
            let mut hold = listeners.hold(now());
            set("net/ipv6/conf/eth0/accept_dad", "1");
            ip("addr add fd00::1/64 dev eth0");
            assert_eq!(news(&mut hold), [""; 0]);
            assert!(connects("[fd00::5]:5000".parse().unwrap()));
            ip("link set far0 up");
            let is_first = |changes: &[String]| {
                changes
                    .iter()
                    .any(|said| said.contains("[fd00::1]:5000 of eth0, too"))
            };
            let soon = std::time::Instant::now();
            while !is_first(&news(&mut hold)) {
                assert!(soon.elapsed().as_secs() < 60, "it is usable now");
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        },
    );
}

#[test]
fn a_socket_that_does_for_two_settings_is_kept_for_the_other() {
    in_namespace(
        "a_socket_that_does_for_two_settings_is_kept_for_the_other",
        || {
            link();
            ip("addr add 10.0.0.1/24 dev eth0");
            let settings = ["ipv4@eth0:5000", "10.0.0.1:5000"];
            let listeners = bindaddr::bind_all(settings).unwrap();
            let mut hold = listeners.hold(now());
            assert_eq!((addrs(&listeners).len(), listeners.merged().len()), (1, 1));
            ip("addr add 10.0.0.2/24 dev eth0");
            assert_eq!(
                news(&mut hold),
                [
                    "0: the setting stands for 10.0.0.2:5000 of eth0, too, now; bind all settings anew, which share an address"
                ],
            );
            ip("addr del 10.0.0.2/24 dev eth0");
            ip("addr flush dev eth0");
            ip("addr add 10.0.0.1/24 dev far0");
            assert_eq!(news(&mut hold), [""; 0], "the other stands for it");
            assert!(connects("10.0.0.1:5000".parse().unwrap()));
        },
    );
}

#[test]
fn settings_with_ports_of_their_own_share_nothing() {
    in_namespace("settings_with_ports_of_their_own_share_nothing", || {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = [
            "ipv4@eth0:5000",
            "ipv4@eth0:5001",
            "-10.7.0.1:6000-6001",
            "-10.7.0.1:7000-7001",
        ];
        let listeners = bindaddr::bind_all(settings).unwrap();
        let mut hold = listeners.hold(now());
        ip("addr add 10.0.0.9/24 dev eth0");
        assert_eq!(
            news(&mut hold),
            [
                "0: the setting stands for 10.0.0.9:5000 of eth0, too, now; bind the setting anew",
                "1: the setting stands for 10.0.0.9:5001 of eth0, too, now; bind the setting anew",
            ],
        );
        ip("addr add 10.7.0.1/24 dev far0");
        let entries: Vec<usize> = hold
            .look(now())
            .iter()
            .map(bindaddr::Change::entry)
            .collect();
        assert_eq!(entries, [2, 3]);
    });
}

#[cfg(feature = "watch")]
mod watch {
    use std::time::{Duration, Instant};

    use bindaddr::{Interfaces, Watch};

    use crate::util::netns::{in_namespace, ip, ip_batch};

    const NONE: Option<Duration> = Some(Duration::ZERO);

    /// A watch that has seen what follows from new interfaces: the kernel tells of a carrier up to a
    /// second late (`net/core/link_watch.c`), and a second after it that nobody else has an address.
    fn quiet_watch() -> Watch {
        let mut watch = Watch::new().expect("netlink is there");
        let mut is_changed = || watch.wait(Some(Duration::from_secs(2)));
        while is_changed().expect("netlink is there") {}
        watch
    }

    #[test]
    fn it_wakes_at_each_kind_of_change() {
        in_namespace("watch::it_wakes_at_each_kind_of_change", || {
            super::link();
            let mut watch = quiet_watch();
            assert!(!watch.wait(NONE).unwrap(), "nothing has happened");
            let begun = Instant::now();
            assert!(!watch.wait(Some(Duration::from_millis(50))).unwrap());
            assert!(begun.elapsed() >= Duration::from_millis(50));
            for change in [
                "addr add 10.0.0.1/24 dev eth0",
                "addr del 10.0.0.1/24 dev eth0",
                "addr add fd00::1/64 dev eth0",
                "link set eth0 down",
                "link set eth0 up",
                "link del eth0",
            ] {
                ip(change);
                assert!(watch.wait(None).unwrap(), "{change}");
                // What the kernel does of itself after it may take a moment.
                while watch.wait(Some(Duration::from_millis(200))).unwrap() {}
            }
        });
    }

    #[test]
    fn it_wakes_at_another_default_route() {
        in_namespace("watch::it_wakes_at_another_default_route", || {
            super::link();
            ip("addr add 10.0.0.1/24 dev eth0");
            ip("addr add 10.0.1.1/24 dev far0");
            ip("route add default via 10.0.0.9");
            let mut watch = Watch::new().unwrap();
            let now = || Interfaces::system().unwrap().with_system_default_sources();
            let listeners = bindaddr::bind("ipv4@_default_:5000").unwrap();
            let mut hold = listeners.hold(now());
            assert!(hold.look(now()).is_empty());
            ip("route replace default via 10.0.1.9");
            assert!(watch.wait(Some(Duration::from_secs(90))).unwrap());
            let said: Vec<String> = hold.look(now()).iter().map(ToString::to_string).collect();
            assert_eq!(
                said,
                [
                    "the setting stands for 10.0.0.1:5000 no longer, which clients can connect to",
                    "the setting stands for 10.0.1.1:5000 of far0, too, now",
                ],
            );
            ip("route del default");
            assert!(watch.wait(Some(Duration::from_secs(90))).unwrap());
            assert!(hold.look(now()).is_empty(), "there is nothing to bind");
            // A rule decides which table has it.
            ip("route add default via 10.0.1.9 table 99");
            while watch.wait(Some(Duration::from_millis(200))).unwrap() {}
            for family in ["-4", "-6"] {
                ip(&format!("{family} rule add pref 100 lookup 99"));
                assert!(
                    watch.wait(Some(Duration::from_secs(90))).unwrap(),
                    "{family}"
                );
            }
            let target = &"ipv4@_default_:0"
                .parse::<bindaddr::ListenAddr>()
                .unwrap()
                .resolve(&now())
                .unwrap()[0];
            assert!(target.to_string().starts_with("10.0.1.1,"), "{target}");
        });
    }

    #[test]
    fn it_wakes_who_waits() {
        in_namespace("watch::it_wakes_who_waits", || {
            super::link();
            let mut watch = Watch::new().unwrap();
            let waiting = std::thread::spawn(move || watch.wait(Some(Duration::from_secs(90))));
            std::thread::sleep(Duration::from_millis(100));
            ip("addr add 10.0.0.1/24 dev eth0");
            assert!(waiting.join().unwrap().unwrap());
        });
    }

    #[test]
    fn a_burst_ends_in_the_right_state() {
        in_namespace("watch::a_burst_ends_in_the_right_state", || {
            super::link();
            let mut watch = quiet_watch();
            let listeners = bindaddr::bind_all(["127.0.0.1:0", "-10.1.39.15:5000"]).unwrap();
            let mut hold = listeners.hold(Interfaces::system().unwrap());
            // More than the socket's buffer holds, while nobody reads.
            let addrs = (0..10_000).map(|n| format!("10.1.{}.{}/32", n / 256, n % 256));
            let lines: Vec<String> = addrs
                .map(|addr| format!("addr add {addr} dev eth0"))
                .collect();
            let batch = lines.join("\n") + "\n";
            ip_batch(&batch);
            assert!(watch.wait(NONE).unwrap());
            let host = Interfaces::system().unwrap();
            assert_eq!(host.by_name("eth0").unwrap().addrs().len(), 10_000 + 1);
            let changes = hold.look(host);
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert!(!watch.wait(NONE).unwrap(), "all of it was one change");
            ip_batch(&batch.replace("addr add", "addr del"));
            assert!(watch.wait(NONE).unwrap());
            let host = Interfaces::system().unwrap();
            assert_eq!(host.by_name("eth0").unwrap().addrs().len(), 1);
        });
    }
}
