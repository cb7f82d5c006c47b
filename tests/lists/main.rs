//! Several settings together: `ListenAddrs` and `bind`.

mod selection;
mod text;
#[path = "../util/mod.rs"]
mod util;

use std::net::SocketAddr;

use bindaddr::addr::ParseErrorKind;
use bindaddr::diagnosis::Step;
use bindaddr::plan::AddrSelection;
#[cfg(target_os = "linux")]
use bindaddr::plan::Setting;
use bindaddr::target::ResolveErrorKind;
use bindaddr::{
    BindError, BindOptions, Cause, ListenAddr, ListenAddrs, Listener, Listeners, bind, bind_udp,
    check,
};
use proptest::prelude::*;
use util::netns::alone;
#[cfg(target_os = "linux")]
use util::netns::{in_namespace, ip, set};

proptest! {
    #[test]
    fn list_display_parses_back(ports in prop::collection::vec(any::<u16>(), 1..9)) {
        let texts = ports.iter().map(|port| match port % 4 {
            0 => format!("*:{port}"),
            1 => format!("-[fe80::1%eth{port}]:{port}"),
            2 => format!("ipv4@10.0.0.0/8:{port}"),
            _ => format!("localhost:{port}"),
        });
        let addrs = ListenAddrs::parse_each(texts).expect("each is one");
        prop_assert_eq!(addrs.to_string().parse::<ListenAddrs>(), Ok(addrs.clone()));
        let joined: Vec<String> = addrs.iter().map(ToString::to_string).collect();
        prop_assert_eq!(joined.join(" ").parse::<ListenAddrs>(), Ok(addrs));
    }

    #[test]
    fn errors_mask_url_credentials(
        before in prop_oneof![Just(""), Just("127.0.0.1:80,"), Just("*:80 443 "), Just(", ")],
        around in prop::collection::vec("[a-z,/ #@:?%\\[\\]]{0,6}", 2),
        after in prop_oneof![Just(""), Just(",443"), Just(" /x"), Just(", ipv4@lo:80"), Just(",")],
    ) {
        let text = format!("{before}redis://u:{}s3cret{}@host:6379{after}", around[0], around[1]);
        let list = text.parse::<ListenAddrs>().expect_err("it has a URL");
        let one = text.parse::<bindaddr::ListenAddr>().expect_err("it is a URL");
        for said in [list.to_string(), format!("{list:?}"), one.to_string(), format!("{one:?}")] {
            prop_assert!(!said.contains("s3cret"), "{}", said);
        }
        for hint in list.errors().iter().flat_map(|fault| fault.error().hints()) {
            prop_assert!(!hint.to_string().contains("s3cret"), "{}", hint);
        }
        for fault in list.errors() {
            prop_assert!(text[fault.offset()..].starts_with(fault.error().text()));
        }
    }

    #[test]
    fn list_parse_never_panics(text in any::<String>()) {
        match text.parse::<ListenAddrs>() {
            Ok(addrs) => prop_assert_eq!(addrs.to_string().parse(), Ok(addrs)),
            Err(err) => for fault in err.errors() {
                prop_assert!(text[fault.offset()..].starts_with(fault.error().text()));
            }
        }
    }
}

fn addrs<S>(listeners: &Listeners<S>) -> Vec<SocketAddr> {
    listeners.iter().map(Listener::local_addr).collect()
}

#[track_caller]
fn fails<const N: usize>(settings: [&str; N]) -> BindError {
    bind(settings).expect_err("it fails")
}

#[test]
fn settings_open_in_order() {
    let listeners = bind(["127.0.0.1:0", "localhost:0", "127.0.0.1:0"]).unwrap();
    let entries: Vec<usize> = listeners.iter().map(|one| one.position().index()).collect();
    assert!(
        entries == [0, 1, 1, 2] || entries == [0, 1, 2],
        "{entries:?}"
    );
    assert!(listeners.skipped().is_empty() && listeners.duplicates().is_empty());
    let ports: std::collections::HashSet<u16> =
        addrs(&listeners).iter().map(SocketAddr::port).collect();
    assert_eq!(ports.len(), 3, "each its own");
    assert_eq!(bind_udp(["127.0.0.1:0"]).unwrap().as_slice().len(), 1);

    // Whatever is a setting, and lists of them.
    let text: ListenAddrs = "127.0.0.1:0 127.0.0.1:0".parse().unwrap();
    assert_eq!(bind(&text).unwrap().as_slice().len(), 2);
    let borrowed: Vec<&str> = vec!["127.0.0.1:0"];
    assert_eq!(bind(&borrowed).unwrap().as_slice().len(), 1);
    let either = std::borrow::Cow::Borrowed("127.0.0.1:0");
    assert_eq!(bind(either).unwrap().as_slice().len(), 1);
    assert_eq!(bind(text).unwrap().as_slice().len(), 2);
    let addr: ListenAddr = "127.0.0.1:0".parse().unwrap();
    assert_eq!(bind([addr.clone()]).unwrap().as_slice().len(), 1);
    assert_eq!(bind(vec![&addr, &addr]).unwrap().as_slice().len(), 2);
}

#[test]
fn invalid_setting_fails_before_binding() {
    let err = fails([
        "127.0.0.1:0",
        "127.0.0.1",
        "no-such-name:80",
        "-no-such-name:80",
    ]);
    assert_eq!(
        err.to_string().split(": no interface").next(),
        Some(
            "cannot listen on 2 of 4 addresses: (1) invalid listen address \"127.0.0.1\": the port is missing; write `127.0.0.1:8080`; (2) no-such-name:80"
        )
    );
    let entries: Vec<usize> = err.errors().map(|error| error.position().index()).collect();
    assert_eq!(entries, [1, 2]);
    assert_eq!((err.step(), err.text()), (Step::Parse, "127.0.0.1"));
    let err = bind(<[&str; 0]>::default()).unwrap_err();
    assert_eq!(err.to_string(), "nothing to listen on: the list is empty");
    assert_eq!((err.step(), err.text()), (Step::Validate, ""));
    assert!(!check(<[&str; 0]>::default()).is_ok());
    let err = BindOptions::new().device("l/o").bind(["127.0.0.1:0"]);
    if cfg!(target_os = "linux") {
        assert!(matches!(
            err.unwrap_err().cause(),
            Cause::InvalidDevice { .. }
        ));
    }
}

#[test]
fn absent_optional_entries_are_skipped() {
    // TEST-NET-2 (RFC 5737), which no host has.
    let listeners = bind(["-198.51.100.1:0", "127.0.0.1:0", "-no-such-name:80"]).unwrap();
    assert_eq!(addrs(&listeners).len(), 1);
    let skipped = listeners.skipped();
    assert_eq!(skipped.len(), 2);
    let of = |text: &str| skipped.iter().find(|one| one.text() == text).expect(text);
    assert!(matches!(
        of("-198.51.100.1:0").cause(),
        Cause::NotOnThisHost(_)
    ));
    assert!(matches!(
        of("-no-such-name:80").cause(),
        Cause::Unresolved(_)
    ));

    let err = fails(["-198.51.100.1:0", "-no-such-name:80"]);
    let message = err.to_string();
    let begin = "cannot listen on any of 2 addresses: (1) -198.51.100.1:0: no interface of this host has 198.51.100.1; ";
    assert!(message.starts_with(begin), "{message}");
    assert!(
        message
            .contains("; (2) -no-such-name:80: no interface named `no-such-name` has an address"),
        "{message}"
    );
    assert!(!check(["-198.51.100.1:0"]).is_ok());

    // In use is another matter.
    let held = bind("127.0.0.1:0").unwrap();
    let taken = held.as_slice()[0].local_addr();
    let err = fails([&*format!("-{taken}"), "127.0.0.1:0"]);
    assert!(matches!(err.cause(), Cause::InUse { .. }), "{err:?}");
    let err = fails(["-198.51.100.1:0", "224.0.0.1:0"]);
    assert_eq!(
        err.errors().count(),
        1,
        "skipped entries are not failures: {err}"
    );
}

#[test]
fn failed_list_opens_none_and_reports_all() {
    let held = [bind("127.0.0.1:0").unwrap(), bind("127.0.0.1:0").unwrap()];
    let free = bind("127.0.0.1:0").unwrap().as_slice()[0].local_addr();
    let taken = held
        .iter()
        .map(|held| held.as_slice()[0].local_addr().to_string());
    let mut texts: Vec<String> = taken.collect();
    texts.insert(1, free.to_string());
    let err = bind(&texts).unwrap_err();
    let failed: Vec<&str> = err
        .errors()
        .map(bindaddr::diagnosis::SettingError::text)
        .collect();
    assert_eq!(failed, [&*texts[0], &*texts[2]]);
    assert!(err.to_string().starts_with(&format!(
        "cannot listen on 2 of 3 addresses: (1) {}: ",
        texts[0]
    )));
    bind(free).expect("it was closed again");

    let mut many: Vec<String> = (1..=12).map(|n| format!("198.51.100.{n}:0")).collect();
    many.push("127.0.0.1:0".into());
    let message = bind(&many).unwrap_err().to_string();
    assert!(
        message.starts_with("cannot listen on 12 of 13 addresses: "),
        "{message}"
    );
    assert!(message.ends_with("; and 2 more"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn wildcards_of_both_families_share_a_port() {
    in_namespace(|| {
        for settings in [
            ["0.0.0.0:80", "[::]:80"],
            ["[::]:80", "0.0.0.0:80"],
            ["*:80", "0.0.0.0:80"],
        ] {
            let listeners = bind(settings).unwrap();
            assert_eq!(listeners.as_slice().len(), 2);
            assert!(check(settings).settings().iter().all(|one| {
                one.causes()
                    .all(|cause| matches!(cause, Cause::InUse { .. }))
            }));
            for text in ["127.0.0.1:80", "[::1]:80"] {
                std::net::TcpStream::connect(text).unwrap();
            }
            drop(listeners);
            assert!(check(settings).is_ok());
        }
        // Port 0 cannot be shared.
        let listeners = bind(["0.0.0.0:0", "[::]:0"]).unwrap();
        let host = bindaddr::Interfaces::system().unwrap();
        let target = listeners.as_slice()[1].target(&host);
        assert_eq!(
            target,
            bindaddr::BindTarget::Any(bindaddr::target::Wildcard::DualStack)
        );
        drop(listeners);

        // A host without IPv6 has IPv4 already.
        util::sandbox::refuse_family(10, 97);
        assert_eq!(bind(["0.0.0.0:80", "*:80"]).unwrap().as_slice().len(), 1);
        assert_eq!(bind(["0.0.0.0:80", "-[::]:80"]).unwrap().skipped().len(), 1);
        assert_eq!(fails(["0.0.0.0:80", "[::]:80"]).errors().count(), 1);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn conflict_fails_before_binding() {
    in_namespace(|| {
        ip("addr add 10.0.0.1/32 dev lo");
        for (settings, says) in [
            (
                ["0.0.0.0:80", "10.0.0.1:80"],
                "10.0.0.1:80: conflicts with `0.0.0.0:80` in the same list, which already includes 10.0.0.1; remove one of them",
            ),
            (
                ["10.0.0.1:80", "*:80"],
                "*:80: [::]:80: conflicts with `10.0.0.1:80` in the same list: the dual-stack :: already includes 10.0.0.1; remove one of them",
            ),
            (
                ["[::]:80", "ipv4@lo:80"],
                "(1) ipv4@lo:80: 10.0.0.1:80: conflicts with `[::]:80` in the same list, which is dual-stack and already includes 10.0.0.1; remove one of them; (2) ipv4@lo:80: 127.0.0.1:80: conflicts with `[::]:80` in the same list, which is dual-stack and already includes 127.0.0.1; remove one of them",
            ),
        ] {
            let err = fails(settings);
            assert_eq!(
                err.to_string(),
                format!("cannot listen on 1 of 2 addresses: {says}")
            );
            assert_eq!((err.step(), err.raw_os_error()), (Step::Validate, None));
        }
        bind("*:80").expect("nothing is left open");
        // Several are all reported.
        let err = fails(["0.0.0.0:80", "10.0.0.1:80", "127.0.0.1:80"]);
        assert_eq!(err.errors().count(), 2);
        // The kernel's errors about the others are kept. No port is bound ahead of the socket that
        // needs it.
        let held = bind("10.0.0.1:82").unwrap();
        let err = fails([
            "0.0.0.0:80",
            "10.0.0.1:80",
            "198.51.100.1:81",
            "10.0.0.1:82",
        ]);
        let said: Vec<_> = err
            .errors()
            .map(|failure| {
                let code = failure.io_error().and_then(std::io::Error::raw_os_error);
                (failure.position().index(), failure.step(), code)
            })
            .collect();
        assert_eq!(
            said,
            [
                (1, Step::Validate, None),
                (2, Step::Bind, Some(libc::EADDRNOTAVAIL)),
                (3, Step::Bind, Some(libc::EADDRINUSE)),
            ]
        );
        drop(held);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn duplicate_entry_is_opened_once() {
    in_namespace(|| {
        ip("addr add 10.0.0.1/32 dev lo");
        let listeners = bind([
            "ipv4@lo:80",
            "10.0.0.1:80",
            "[::ffff:10.0.0.1]:80",
            "*:443",
            "443",
        ])
        .unwrap();
        let addrs: Vec<String> = addrs(&listeners).iter().map(ToString::to_string).collect();
        assert_eq!(addrs, ["10.0.0.1:80", "127.0.0.1:80", "[::]:443"]);
        let merged: Vec<(usize, usize)> = listeners
            .duplicates()
            .iter()
            .map(|merged| (merged.position().index(), merged.kept_by().index()))
            .collect();
        assert_eq!(merged, [(1, 0), (2, 0), (4, 3)]);
        drop(listeners);
        assert!(check(["10.0.0.1:80", "10.0.0.1:80"]).is_ok());
        // The one that cannot do without has it.
        set("net/ipv6/conf/all/disable_ipv6", "1");
        for settings in [["localhost:80", "[::1]:80"], ["-[::1]:80", "[::1]:80"]] {
            let err = fails(settings);
            assert_eq!(err.text(), "[::1]:80");
            assert!(!check(settings).is_ok());
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn fixed_ports_precede_ranges() {
    in_namespace(|| {
        // The kernel would try two of the three ports.
        set("net/ipv4/ip_local_port_range", "8000 8003");
        let settings = ["127.0.0.1:0", "127.0.0.1:8000-8002", "127.0.0.1:8000"];
        for _ in 0..20 {
            let listeners = bind(settings).unwrap();
            let ports: Vec<u16> = addrs(&listeners).iter().map(SocketAddr::port).collect();
            assert!(matches!(ports[..], [8002 | 8003, 8001, 8000]), "{ports:?}");
        }
        let err = fails(["127.0.0.1:8000-8001", "127.0.0.1:8000", "127.0.0.1:8001"]);
        assert_eq!(
            err.to_string(),
            "cannot listen on 1 of 3 addresses: 127.0.0.1:8000-8001: 127.0.0.1:8000: \
             conflicts with `127.0.0.1:8000` in the same list: both bind 127.0.0.1:8000; remove one of them",
        );
    });
}

#[cfg(target_os = "linux")]
#[test]
fn setting_can_have_own_options() {
    in_namespace(|| {
        for name in ["v0", "v1"] {
            ip(&format!("link add name {name} type veth peer name {name}p"));
            ip(&format!("link set {name} up"));
        }
        let on = |text: &'static str, device: &str| Setting::from(text).device(device);
        // Each device is apart.
        let listeners = bind([on("0.0.0.0:80", "v0"), on("0.0.0.0:80", "v1")]).unwrap();
        assert_eq!(listeners.as_slice().len(), 2);
        assert!(listeners.duplicates().is_empty());
        drop(listeners);
        // Without one it is not.
        let err = bind([on("0.0.0.0:80", "v0"), Setting::from("0.0.0.0:80")]).unwrap_err();
        assert!(matches!(err.cause(), Cause::Conflict { .. }), "{err}");
        // Room is made beside the wildcard of the same device only, or IPv4 would be lost
        // elsewhere.
        let listeners = bind([on("0.0.0.0:80", "v0"), on("[::]:80", "v0")]).unwrap();
        assert_eq!(listeners.as_slice().len(), 2);
        drop(listeners);
        let err = bind([on("0.0.0.0:80", "v0"), Setting::from("[::]:80")]).unwrap_err();
        assert!(matches!(err.cause(), Cause::Conflict { .. }), "{err}");

        let err = bind([on("0.0.0.0:80", "v9"), Setting::from("127.0.0.1:81")]).unwrap_err();
        assert!(matches!(err.cause(), Cause::NoSuchDevice { .. }), "{err}");
        assert_eq!(err.step(), Step::Option("device"));
        bind("0.0.0.0:80").expect("nothing is left open to every interface");
        let err = bind([on("0.0.0.0:80", "v/9"), on("127.0.0.1:81", "v0")]).unwrap_err();
        assert_eq!(err.errors().count(), 1);

        let freely = |text: &'static str| Setting::from(text).freebind(true);
        let listeners = bind([freely("198.51.100.1:80"), Setting::from("127.0.0.1:80")]).unwrap();
        assert_eq!(
            listeners[0]
                .warnings(&bindaddr::Interfaces::system().unwrap())
                .len(),
            1
        );
        let err = bind([freely("198.51.100.1:81"), Setting::from("198.51.100.2:81")]).unwrap_err();
        assert_eq!((err.errors().count(), err.text()), (1, "198.51.100.2:81"));
        // For all but one.
        let options = BindOptions::new().freebind(true);
        let strict = Setting::from("198.51.100.3:81").freebind(false);
        assert!(options.bind(strict.clone()).is_err() && options.bind("198.51.100.3:81").is_ok());
        assert!(!options.check([strict]).is_ok());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn wait_opens_no_partial_list() {
    in_namespace(|| {
        let wait = BindOptions::new().wait(std::time::Duration::from_millis(600));
        let waiter =
            std::thread::spawn(move || wait.bind(["127.0.0.1:80", "10.0.0.1:80"]).map(drop));
        let (mut got_in, mut was_open) = (0, false);
        while !waiter.is_finished() {
            let is_open = std::net::TcpStream::connect("127.0.0.1:80").is_ok();
            got_in += usize::from(is_open && !was_open);
            was_open = is_open;
        }
        assert!(waiter.join().unwrap().is_err());
        // The first try, the last one, and on a slow machine one between them.
        assert!(got_in <= 3, "{got_in} times");
        // A permanent error ends it, whatever else is waited for.
        let held = bind("127.0.0.1:81").unwrap();
        let begun = std::time::Instant::now();
        let long = BindOptions::new().wait(std::time::Duration::from_secs(30));
        let err = long.bind(["eth9:82", "127.0.0.1:81"]).unwrap_err();
        assert!(begun.elapsed() < std::time::Duration::from_secs(15));
        assert_eq!(err.errors().count(), 2, "{err}");
        drop(held);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn required_duplicate_of_optional_stays_required() {
    in_namespace(|| {
        util::sandbox::refuse_family(10, 97);
        // Without IPv6 the one is skipped and the other is IPv4.
        let listeners = bind(["-[::]:80", "*:80", "127.0.0.1:81"]).unwrap();
        let addrs: Vec<String> = addrs(&listeners).iter().map(ToString::to_string).collect();
        assert_eq!(addrs, ["0.0.0.0:80", "127.0.0.1:81"]);
        assert!(listeners.duplicates().is_empty());
        drop(listeners);
        // An entry that can use IPv4 gets it, at any position.
        for list in [["-[::]:80", "-*:80"], ["-*:80", "-[::]:80"]] {
            let listeners = bind(list).unwrap();
            assert_eq!(listeners[0].local_addr().to_string(), "0.0.0.0:80");
        }
        let listeners = bind("localhost:80, localhost:80").unwrap();
        let duplicates: Vec<String> = listeners
            .duplicates()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            duplicates,
            ["127.0.0.1:80 is listed twice and is open once"]
        );
        drop(listeners);
        // Each skipped entry is reported.
        let listeners = bind([
            "localhost:80",
            "-[::1]:80",
            "-198.51.100.1:80",
            "-198.51.100.1:80",
        ])
        .unwrap();
        let skipped: Vec<usize> = listeners
            .skipped()
            .iter()
            .map(|skipped| skipped.position().index())
            .collect();
        assert_eq!(skipped, [1, 2, 3]);
        assert!(
            listeners
                .duplicates()
                .iter()
                .all(|merged| merged.position().index() == 0),
            "{:?}",
            listeners.duplicates()
        );
    });
}

#[cfg(target_os = "linux")]
#[test]
fn unreadable_devices_are_distinct() {
    in_namespace(|| {
        for name in ["v0", "v1"] {
            ip(&format!("link add name {name} type veth peer name {name}p"));
        }
        util::sandbox::refuse_family(16, 97);
        let on = |device: &str| Setting::from("0.0.0.0:80").device(device);
        assert_eq!(bind([on("v0"), on("v1")]).unwrap().as_slice().len(), 2);
        assert!(BindOptions::new().check([on("v0"), on("v1")]).is_ok());
        let err = bind([on("v8"), on("v9")]).unwrap_err();
        assert_eq!(err.errors().count(), 2, "{err}");
    });
}

#[test]
fn check_agrees_with_list_bind() {
    alone(|| {
        let held = bind("127.0.0.1:0").unwrap();
        let port = held.as_slice()[0].local_addr().port();
        drop(held);
        let range = format!("127.0.0.1:{port}-{}", port.saturating_add(20));
        let fixed = format!("127.0.0.1:{port}");
        // An entry that needs its port comes first.
        let found = check([&range, &fixed]);
        assert!(found.is_ok(), "{found}");
        assert_ne!(found.settings()[0].sockets()[0].addr().port(), port);
        bind([&range, &fixed]).unwrap();
        // A conflict is one whether the address is there or not.
        for settings in [
            [format!("0.0.0.0:{port}"), format!("-198.51.100.1:{port}")],
            [format!("-198.51.100.1:{port}"), format!("0.0.0.0:{port}")],
        ] {
            assert!(!check(&settings).is_ok());
            assert!(matches!(
                bind(&settings).unwrap_err().cause(),
                Cause::Conflict { .. }
            ));
        }
        // A range that the list itself leaves no port.
        let both = [fixed.clone(), format!("127.0.0.1:{port}-{port}")];
        assert_eq!(
            bind(&both).unwrap().duplicates().len(),
            1,
            "a range of one is one port"
        );
        if cfg!(unix) {
            let sharing = BindOptions::new().reuse_port(true);
            let settings = [format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}")];
            assert!(sharing.check(&settings).is_ok());
            assert_eq!(sharing.bind(&settings).unwrap().as_slice().len(), 2);
        }
        let host = bindaddr::Interfaces::default();
        let target = bindaddr::BindTarget::parse_with("localhost", &host).unwrap();
        let only = BindOptions::new()
            .select(AddrSelection::Single)
            .bind((&target, 0));
        assert!(matches!(
            only.unwrap_err().cause(),
            Cause::Unresolved(ResolveErrorKind::SeveralAddresses { .. })
        ));
        let first = BindOptions::new()
            .select(AddrSelection::First)
            .bind((&target, 0))
            .unwrap();
        assert_eq!(first.as_slice().len(), 1);
    });
}

#[test]
fn listeners_have_short_and_full_display() {
    let held = bindaddr::bind("[::1]:0").unwrap();
    let free = |listeners: &bindaddr::Listeners| listeners.as_slice()[0].local_addr().port();
    let port = free(&held);
    drop(held);
    let texts = [
        format!("127.0.0.1:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        "-198.51.100.1:80".to_owned(),
    ];
    let listeners = bindaddr::bind(texts).unwrap();
    assert_eq!(
        listeners.to_string(),
        format!("127.0.0.1:{port}, [::1]:{port}"),
    );
    let long = format!("{listeners:#}");
    let lines: Vec<&str> = long.lines().collect();
    assert_eq!(lines[0], format!("127.0.0.1:{port} (TCP)"));
    assert_eq!(lines[1], format!("[::1]:{port} (TCP)"));
    assert!(
        lines[2]
            .starts_with("skipped -198.51.100.1:80: no interface of this host has 198.51.100.1"),
        "{long}"
    );
    assert_eq!(
        lines[3],
        format!("127.0.0.1:{port} is listed twice and is open once")
    );
    let v6 = bindaddr::bind_udp("ipv6@*:0").unwrap();
    let addr = v6.as_slice()[0].local_addr();
    assert_eq!(
        format!("{:#}", v6.as_slice()[0]),
        format!("{addr} (UDP, IPv6 only)")
    );
    // The option is of no meaning to IPv4.
    let only_v6 = bindaddr::BindOptions::new().only_v6(true);
    let v4 = only_v6.bind("0.0.0.0:0").unwrap();
    let addr = v4.as_slice()[0].local_addr();
    assert_eq!(format!("{:#}", v4.as_slice()[0]), format!("{addr} (TCP)"));
    #[cfg(target_os = "linux")]
    {
        let on_lo = bindaddr::BindOptions::new()
            .device("lo")
            .bind("127.0.0.1:0")
            .unwrap();
        let addr = on_lo.as_slice()[0].local_addr();
        assert_eq!(
            format!("{:#}", on_lo.as_slice()[0]),
            format!("{addr} (TCP, on lo only)")
        );
    }
}
