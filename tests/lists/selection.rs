//! The addresses that an entry selects.

use super::*;

#[cfg(target_os = "linux")]
#[test]
fn optional_interface_can_lack_addresses() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        set("net/ipv6/conf/default/dad_transmits", "100");
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up");
        ip("link set far0 up");
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 2001:db8::1/64 dev eth0");
        // It is on this host but not ready, which is not absence.
        let err = fails(["-[2001:db8::1]:80", "127.0.0.1:80"]);
        assert!(matches!(err.cause(), Cause::Tentative(_)), "{err:?}");
        let listeners = bind([
            "-ipv4@eth0:80",
            "-ipv4@eth1:80",
            "-ipv6@10.0.0.0/8:80",
            "127.0.0.1:80",
        ]);
        // The last but one is a mistake, and no absence.
        let err = listeners.unwrap_err();
        assert!(matches!(err.cause(), Cause::InvalidText(_)), "{err}");
        let listeners = bind([
            "-ipv4@eth0:80",
            "-ipv4@eth1:80",
            "-10.1.0.0/16:80",
            "127.0.0.1:80",
        ])
        .unwrap();
        assert_eq!(
            (listeners.as_slice().len(), listeners.skipped().len()),
            (2, 2)
        );
    });
}

#[test]
fn single_socket_selection_is_explicit() {
    let only = BindOptions::new().select(AddrSelection::Single);
    let first = BindOptions::new().select(AddrSelection::First);
    for text in ["127.0.0.1:0", "*:0", "0.0.0.0:0", "ipv4@localhost:0"] {
        assert_eq!(addrs(&only.bind(text).unwrap()).len(), 1, "{text}");
        assert_eq!(addrs(&first.bind(text).unwrap()).len(), 1, "{text}");
    }
    assert_eq!(
        only.bind("localhost:0").unwrap_err().to_string(),
        "cannot listen on localhost:0: it selects 2 addresses, but one is expected; use one of them",
    );
    let ip = |listeners: &Listeners| addrs(listeners)[0].ip().to_string();
    assert_eq!(ip(&first.bind("localhost:0").unwrap()), "127.0.0.1");
    assert!(!only.check(["localhost:0"]).is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn first_selection_prefers_ipv4() {
    in_namespace(|| {
        ip("link add name any type veth peer name far0");
        ip("link set any up");
        ip("link set far0 up");
        ip("addr add 2001:db8::1/64 dev any");
        let first = BindOptions::new().select(AddrSelection::First);
        let bound = |text: &str| addrs(&first.bind(text).unwrap())[0].ip().to_string();
        // An interface may have that name; it is not a wildcard.
        assert_eq!(bound("any:80"), "2001:db8::1");
        ip("addr add 10.0.0.2/24 dev any");
        ip("addr add 10.0.0.1/24 dev any");
        assert_eq!(bound("any:80"), "10.0.0.1");
        assert_eq!(bound("ipv6@any:80"), "2001:db8::1");
        let all = bind("any:80").unwrap();
        assert_eq!(
            all.as_slice().len(),
            4,
            "a link-local one as well: {:?}",
            addrs(&all)
        );
        let err = BindOptions::new()
            .select(AddrSelection::Single)
            .bind("ipv4@any:81")
            .unwrap_err();
        assert!(matches!(
            err.cause(),
            Cause::Unresolved(ResolveErrorKind::SeveralAddresses { count: 2, .. })
        ));
    });
}

#[test]
fn name_lookup_is_opt_in() {
    if !util::is_like_linux("selection::name_lookup_is_opt_in") {
        return;
    }
    let resolver = |name: &str| match name {
        "db.internal" => Ok(vec![
            "::1".parse().expect("an address"),
            "127.0.0.1".parse().expect("an address"),
            "::ffff:127.0.0.1".parse().expect("an address"),
        ]),
        // A name of one label may be longer than that of an interface.
        "web-7d4b9c6f5d-abcde" => Ok(vec![[127, 0, 0, 1].into()]),
        "far.example" => Ok(vec![[198, 51, 100, 1].into()]),
        "all.example" => Ok(vec![[0, 0, 0, 0].into()]),
        _ => Err(std::io::Error::other("no such name")),
    };
    let options = BindOptions::new().lookup_with(resolver);
    let ips = |listeners: &Listeners| -> Vec<String> {
        addrs(listeners)
            .iter()
            .map(|addr| addr.ip().to_string())
            .collect()
    };
    assert_eq!(
        ips(&options.bind("ipv4@db.internal:0").unwrap()),
        ["127.0.0.1"]
    );
    assert_eq!(
        ips(&options.bind("web-7d4b9c6f5d-abcde:0").unwrap()),
        ["127.0.0.1"]
    );
    match options.bind("db.internal:0") {
        Ok(listeners) => assert_eq!(ips(&listeners), ["127.0.0.1", "::1"]),
        // On a host without IPv6.
        Err(err) => assert!(
            matches!(err.cause(), Cause::FamilyUnavailable { .. }),
            "{err}"
        ),
    }
    let err = options.bind("far.example:0").unwrap_err();
    let sentence = "cannot listen on far.example:0: 198.51.100.1:0: no interface of this host has 198.51.100.1; ";
    assert!(err.to_string().starts_with(sentence), "{err}");
    for (text, sentence) in [
        (
            "ipv6@far.example:0",
            "the name `far.example` resolves to no IPv6 address",
        ),
        // A name widens nothing.
        (
            "all.example:0",
            "the name `all.example` resolves to no address",
        ),
    ] {
        let err = options.bind(text).unwrap_err();
        assert_eq!(
            err.to_string(),
            format!("cannot listen on {text}: {sentence}")
        );
        assert_eq!(err.step(), Step::Resolve);
    }
    let err = options.bind("nowhere.example:0").unwrap_err();
    let sentence = "cannot listen on nowhere.example:0: no interface is named `nowhere.example`, and the DNS lookup failed; available: ";
    assert!(err.to_string().starts_with(sentence), "{err}");
    let source = std::error::Error::source(&err).expect("the resolver's words stay reachable");
    assert_eq!(source.to_string(), "no such name");
    // Texts that look like addresses, and special names, are never looked up.
    let never = BindOptions::new().lookup_with(|name| panic!("{name} was looked up"));
    for text in [
        "host.1:0",
        "eth9.100:0",
        "a.0x7f:0",
        "localhost.:0",
        "www.localhost:0",
    ] {
        let err = never.bind(text).unwrap_err();
        assert!(
            matches!(
                err.cause(),
                Cause::Unresolved(ResolveErrorKind::NoSuchInterface { .. })
            ),
            "{err}"
        );
    }
    never.bind("localhost:0").unwrap();
    assert!(matches!(
        bind("db.internal:0").unwrap_err().cause(),
        Cause::Unresolved(ResolveErrorKind::NoSuchInterface { .. })
    ));
    assert_eq!(
        options
            .bind(["127.0.0.1:0", "-nowhere.example:0"])
            .unwrap()
            .skipped()
            .len(),
        1
    );
}

#[cfg(target_os = "linux")]
#[test]
fn interface_without_address_is_not_looked_up() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        let never = BindOptions::new().lookup_with(|name| panic!("{name} was looked up"));
        assert_eq!(
            never.bind("eth0:80").unwrap_err().to_string(),
            "cannot listen on eth0:80: the interface `eth0` (not running) has no address",
        );
        let listeners = never.bind(["-eth0:80", "127.0.0.1:80"]).unwrap();
        assert_eq!(listeners.skipped().len(), 1);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn selectors_name_each_kind_of_interface() {
    in_namespace(|| {
        for (n, name) in ["br-lan", "eth0.100", "any", "v-0.a_b"]
            .into_iter()
            .enumerate()
        {
            ip(&format!("link add name {name} type veth peer name p{n}"));
            ip(&format!("link set {name} up"));
            ip(&format!("link set p{n} up"));
            ip(&format!("addr add 10.0.{n}.1/24 dev {name}"));
            ip(&format!("addr add 10.0.{n}.2/24 label {name}:x dev {name}"));
            // The same on each.
            ip(&format!("addr add fe80::77/64 dev {name}"));
            let text = format!("ipv4@{name}:80");
            let bound = bind(&text).unwrap_or_else(|err| panic!("{err}"));
            let expected =
                [1, 2].map(|host| SocketAddr::from(([10, 0, u8::try_from(n).unwrap(), host], 80)));
            assert_eq!(addrs(&bound), expected);
        }
        let zones = ["br-lan", "eth0.100", "any"].map(|name| format!("[fe80::77%{name}]:81"));
        let bound = bind(&zones).unwrap();
        assert_eq!(bound.as_slice().len(), 3, "each zone is apart");
        drop(bound);
        let private = bind("10.0.2.0/23:80").unwrap();
        assert_eq!(private.as_slice().len(), 4);
        drop(private);
        assert_eq!(bind("ipv4@_private_:80").unwrap().as_slice().len(), 8);
        assert_eq!(bind("ipv4@_local_:80").unwrap().as_slice().len(), 1);
    });
}
