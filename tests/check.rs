//! `check`: what binding would run into, without binding.

mod util;

#[cfg(target_os = "linux")]
use std::net::TcpStream;
use std::net::{SocketAddr, TcpListener};

use bindaddr::addr::ParseErrorKind;
#[cfg(target_os = "linux")]
use bindaddr::bind_udp;
use bindaddr::check::{Check, CheckedSetting, CheckedSocket};
use bindaddr::diagnosis::Warning;
use bindaddr::target::{GroupAddr, Overlap};
use bindaddr::{BindOptions, BindTarget, Cause, Listener, bind, check, check_udp};
use util::netns::alone;
#[cfg(target_os = "linux")]
use util::netns::{in_namespace, ip, set};

/// A port of loopback that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there on every host");
    listener.local_addr().expect("it has one").port()
}

fn problems(check: &Check, n: usize) -> Vec<String> {
    let problems = check.settings()[n].causes();
    problems.map(ToString::to_string).collect()
}

#[test]
fn check_accepts_what_binds() {
    alone(|| {
        let port = free_port();
        for text in [
            format!("127.0.0.1:{port}"),
            "127.0.0.1:0".to_owned(),
            "localhost:0".to_owned(),
            "0.0.0.0:0".to_owned(),
            "*:0".to_owned(),
        ] {
            let check = check([&text]);
            assert!(check.is_ok(), "{check}");
            let setting = &check.settings()[0];
            assert_eq!(setting.text(), text);
            let bound = bind(&text).unwrap();
            assert_eq!(setting.sockets().len(), bound.as_slice().len(), "{text}");
            for (socket, bound) in setting.sockets().iter().zip(&bound) {
                assert_eq!(socket.addr().ip(), bound.local_addr().ip());
                assert!(socket.warnings().is_empty());
            }
        }
        let host = bindaddr::Interfaces::system().unwrap();
        let check = check([(BindTarget::parse_with("127.0.0.1", &host).unwrap(), port)]);
        assert!(check.is_ok());
    });
}

#[test]
fn error_of_the_host_comes_before_a_conflict() {
    if !util::is_like_linux("error_of_the_host_comes_before_a_conflict") {
        return;
    }
    alone(|| {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let check = check([format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}")]);
        let causes = check.settings()[1].sockets()[0].causes();
        let causes: Vec<&str> = causes.map(Cause::name).collect();
        assert_eq!(causes, ["in-use", "conflict"], "{check}");
    });
}

#[test]
fn check_reports_problems_per_setting() {
    let check = check([
        "127.0.0.1",
        "127.0.0.1:0",
        "no-such-name:80",
        "224.0.0.1:0",
        "198.51.100.1:0",
    ]);
    assert!(!check.is_ok());
    let first = |n: usize| check.settings()[n].causes().next();
    assert!(
        matches!(first(0), Some(Cause::InvalidText(err)) if err.kind() == ParseErrorKind::MissingPort)
    );
    assert!(first(1).is_none());
    assert!(matches!(first(2), Some(Cause::Unresolved(_))));
    assert!(matches!(first(3), Some(Cause::Group(GroupAddr::Multicast))));
    assert!(matches!(first(4), Some(Cause::NotOnThisHost(_))));
    assert!(check.settings()[0].sockets().is_empty());
    let foreign = &check.settings()[4].sockets()[0];
    assert!(foreign.target().is_some_and(BindTarget::is_foreign));
    assert!(check_udp(["224.0.0.1:0"]).is_ok(), "UDP receives on it");
}

#[test]
fn check_reports_conflict_at_both_settings() {
    alone(|| {
        let port = free_port();
        let texts = [
            format!("0.0.0.0:{port}"),
            format!("127.0.0.1:{port}"),
            format!("[::]:{port}"),
            format!("[::1]:{port}"),
            format!("127.0.0.1:{port}"),
            "127.0.0.1:0".to_owned(),
            "127.0.0.1:0".to_owned(),
        ];
        let list = check(&texts);
        assert_eq!(problems(&list, 0), [""; 0]);
        assert_eq!(
            problems(&list, 1),
            [format!(
                "conflicts with `0.0.0.0:{port}` in the same list, which already includes 127.0.0.1; remove one of them"
            )]
        );
        let conflict = list.settings()[1].causes().next();
        let Some(Cause::Conflict {
            other,
            text,
            overlap,
            ..
        }) = conflict
        else {
            panic!("{conflict:?}")
        };
        assert_eq!(
            (*other, text),
            (SocketAddr::from(([0, 0, 0, 0], port)), &texts[0])
        );
        assert_eq!(*overlap, Overlap::Covers);
        // Beside the IPv4 wildcard this one leaves out IPv4.
        assert_eq!(problems(&list, 2), [""; 0]);
        let target = list.settings()[2].sockets()[0].target();
        assert_eq!(
            target.unwrap().to_string(),
            "every IPv6 address of this host"
        );
        assert_eq!(
            problems(&list, 3),
            [format!(
                "conflicts with `[::]:{port}` in the same list, which already includes ::1; remove one of them"
            )]
        );
        // It is there already.
        assert_eq!(problems(&list, 4), [""; 0]);
        assert!(list.settings()[4].sockets().is_empty());
        let duplicates = list.settings().iter().map(|one| one.duplicates().len());
        assert_eq!(duplicates.collect::<Vec<_>>(), [0, 0, 0, 0, 1, 0, 0]);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(list.settings()[4].duplicates(), [addr]);
        // Each takes a port of its own.
        assert_eq!((problems(&list, 5), problems(&list, 6)), (vec![], vec![]));

        let alone = check([&texts[2], &texts[1]]);
        assert_eq!(
            problems(&alone, 1),
            [format!(
                "conflicts with `[::]:{port}` in the same list, which is dual-stack and already includes 127.0.0.1; remove one of them"
            )]
        );
        if cfg!(unix) {
            let shared = BindOptions::new().reuse_port(true);
            assert!(
                shared.check([&texts[0], &texts[1]]).is_ok(),
                "they share it"
            );
        }
    });
}

#[test]
fn plan_is_checked_for_udp() {
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = held.local_addr().unwrap();
    let plan = BindOptions::new().plan(addr).unwrap();
    let cause = |check: &Check| check.settings()[0].causes().next().map(Cause::name);
    assert!(plan.check().is_ok(), "TCP has the port");
    let udp = plan.check_udp();
    assert!(!udp.is_ok());
    if cfg!(target_os = "linux") {
        assert_eq!(cause(&udp), Some("in-use"));
    }
    drop(held);
    assert!(plan.check_udp().is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn check_names_and_keeps_running_server() {
    if !util::is_like_linux("check_names_and_keeps_running_server") {
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap();
    let port = addr.port();
    for _ in 0..3 {
        let check = check([format!("{addr}"), format!("0.0.0.0:{port}")]);
        assert_eq!(
            problems(&check, 0),
            [format!(
                "port {port} is in use: this process listens on 127.0.0.1"
            )]
        );
        let Some(Cause::InUse { holders, .. }) = check.settings()[1].causes().next() else {
            panic!("{check}")
        };
        assert_eq!(holders[0].addr(), addr);
        let client = TcpStream::connect(addr).expect("it still listens");
        assert_eq!(server.accept().unwrap().1, client.local_addr().unwrap());
    }
    assert!(check_udp([addr]).is_ok(), "UDP is something else");
    drop(server);
    assert!(check([addr]).is_ok());

    let server = bind_udp("127.0.0.1:0").unwrap();
    let addr = server.as_slice()[0].local_addr();
    assert_eq!(
        problems(&check_udp([addr]), 0),
        [format!(
            "port {} is in use: a socket of this process is bound to 127.0.0.1",
            addr.port()
        )]
    );
}

#[cfg(target_os = "linux")]
#[test]
fn check_reports_port_of_range() {
    in_namespace(|| {
        let held: Vec<_> = (4000..4003)
            .map(|port| bind(format!("127.0.0.1:{port}")).unwrap())
            .collect();
        let found = check([
            "127.0.0.1:4000-4010",
            "127.0.0.2:4000-4010",
            "127.0.0.1:4000-4002",
        ]);
        let addr = |n: usize| found.settings()[n].sockets()[0].addr().to_string();
        assert_eq!(
            (addr(0), addr(1)),
            ("127.0.0.1:4003".into(), "127.0.0.2:4000".into())
        );
        assert_eq!((problems(&found, 0), problems(&found, 1)), (vec![], vec![]));
        assert_eq!(
            problems(&found, 2),
            ["all ports 4000-4002 are in use: this process holds 3"]
        );
        for text in ["127.0.0.1:4000-4010", "127.0.0.2:4000-4010"] {
            let bound = bind(text).unwrap();
            let check = check([text]);
            assert_ne!(
                check.settings()[0].sockets()[0].addr(),
                bound.as_slice()[0].local_addr(),
                "that one is taken now"
            );
        }
        // One port for all sockets of a setting.
        let found = check(["localhost:4001-4003"]);
        let addrs: Vec<SocketAddr> = found.settings()[0]
            .sockets()
            .iter()
            .map(bindaddr::check::CheckedSocket::addr)
            .collect();
        let bound = bind("localhost:4001-4003").unwrap();
        assert_eq!(
            addrs,
            bound
                .iter()
                .map(bindaddr::Listener::local_addr)
                .collect::<Vec<_>>()
        );
        drop(bound);
        let other = bind("[::1]:4003").unwrap();
        let found = check(["localhost:4002-4003"]);
        assert_eq!(
            problems(&found, 0),
            ["all ports 4002-4003 are in use: this process holds 1"]
        );
        assert!(bind("localhost:4002-4003").is_err());
        drop(other);
        // Ports of other entries are taken.
        let found = check([
            "127.0.0.1:4003",
            "127.0.0.1:4003-4004",
            "127.0.0.1:4003-4004",
        ]);
        let addr = |n: usize| found.settings()[n].sockets()[0].addr().port();
        assert_eq!((addr(0), addr(1)), (4003, 4004));
        assert_eq!(
            problems(&found, 2),
            [
                "conflicts with `127.0.0.1:4003` in the same list: both bind 127.0.0.1:4003; remove one of them"
            ]
        );
        // A range skips its first port if a server uses it, whatever else is wrong.
        let err = bind("198.51.100.1:4000-4010").unwrap_err();
        let causes = err
            .errors()
            .flat_map(bindaddr::diagnosis::SettingError::causes)
            .count();
        assert_eq!(causes, 1, "{err}");
        drop(held);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn check_reports_accidental_port_sharing() {
    in_namespace(|| {
        set("net/ipv4/ip_local_port_range", "40000 40001");
        let sharing = BindOptions::new().reuse_port(true);
        let held =
            [40000, 40001].map(|port| sharing.bind_udp(format!("127.0.0.1:{port}")).unwrap());
        // While it is checked, no other process is on the ports of the server.
        let watched = std::thread::spawn(|| {
            let table = || std::fs::read_to_string("/proc/thread-self/net/udp").unwrap();
            (0..200).map(|_| table().lines().count() - 1).max()
        });
        for _ in 0..200 {
            assert!(sharing.check(["127.0.0.1:8000"]).is_ok());
        }
        assert_eq!(watched.join().unwrap(), Some(2));
        drop(held);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn check_formats_a_whole_configuration() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up");
        ip("link set far0 up");
        ip("addr add 192.168.71.67/16 dev eth0");
        ip("route add local 198.51.100.0/24 dev lo");
        let server = bind("192.168.71.67:443").unwrap();
        let check = check([
            "ipv4@eth0:80",
            "192.168.158.94:80",
            "0.0.0.0:443",
            "198.51.100.7:80",
            ":8080",
        ]);
        assert_eq!(
            check.to_string(),
            "ipv4@eth0:80\n\
             \x20 192.168.71.67:80: 192.168.71.67, an address of eth0\n\
             192.168.158.94:80\n\
             \x20 192.168.158.94:80\n\
             \x20   error: no interface of this host has 192.168.158.94; it is in eth0's subnet (192.168.71.67/16) but not assigned to this host; closest local address: 192.168.71.67\n\
             0.0.0.0:443\n\
             \x20 0.0.0.0:443: every IPv4 address of this host\n\
             \x20   error: port 443 is in use: this process listens on 192.168.71.67, which 0.0.0.0 includes\n\
             198.51.100.7:80\n\
             \x20 198.51.100.7:80\n\
             \x20   warning: no interface of this host has 198.51.100.7; a local route makes it bindable and reachable\n\
             :8080\n\
             \x20 error: invalid listen address \":8080\": the host is empty (an unset environment variable?); write `localhost:8080` for this host only or `*:8080` for every address\n",
        );
        drop(server);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn check_skips_absent_optional_entries() {
    in_namespace(|| {
        set("net/ipv6/conf/all/disable_ipv6", "1");
        let found = check(["localhost:80", "[::1]:80", "*:8080"]);
        assert_eq!(found.settings()[0].sockets().len(), 1);
        assert_eq!(problems(&found, 0), [""; 0]);
        assert!(matches!(
            found.settings()[1].causes().next(),
            Some(Cause::FamilyUnavailable { .. })
        ));
        assert_eq!(problems(&found, 2), [""; 0]);
        // No socket of IPv6 at all.
        util::sandbox::refuse_family(10, 97);
        let found = check(["*:8080", "[::]:8081", "localhost:80"]);
        assert_eq!(
            found.settings()[0].sockets()[0].addr().to_string(),
            "0.0.0.0:8080"
        );
        assert_eq!(problems(&found, 0), [""; 0]);
        assert_eq!(problems(&found, 1).len(), 1);
        assert_eq!(problems(&found, 2), [""; 0]);
    });
}

#[test]
fn check_reports_empty_plan() {
    let found = check(["-198.51.100.1:80", "-[2001:db8::1]:80"]);
    assert!(!found.is_ok());
    for n in [0, 1] {
        assert_eq!(problems(&found, n).len(), 1);
        assert!(found.settings()[n].skipped().is_empty());
    }
    let nothing = check([""; 0]);
    assert!(!nothing.is_ok());
    assert_eq!(
        nothing.to_string(),
        "nothing to listen on: the list is empty\n"
    );
}

#[test]
fn absent_entry_reserves_no_range_port() {
    alone(|| {
        let settings = [
            "-198.51.100.1:5000-5001",
            "127.0.0.1:5001",
            "0.0.0.0:5000-5001",
        ];
        let found = check(settings);
        assert!(found.is_ok(), "{found}");
        let bound = bind(settings).unwrap();
        let addrs: Vec<_> = bound.iter().map(Listener::local_addr).collect();
        let sockets = found.settings().iter().flat_map(CheckedSetting::sockets);
        assert!(sockets.map(CheckedSocket::addr).eq(addrs));
        // An option that is written for each of its ports conflicts anyway.
        let settings = [
            "-198.51.100.1:8000",
            "-198.51.100.1:8001",
            "0.0.0.0:8000-8001",
        ];
        let message = bind(settings)
            .unwrap_err()
            .errors()
            .next()
            .unwrap()
            .cause()
            .to_string();
        assert_eq!(problems(&check(settings), 2), [message]);
    });
}

#[test]
fn check_reports_invalid_options() {
    if !util::is_like_linux("check_reports_invalid_options") {
        return;
    }
    if cfg!(target_os = "linux") {
        let check = BindOptions::new()
            .device("l/o")
            .check(["127.0.0.1:0", "127.0.0.1"]);
        let causes: Vec<&Cause> = check.settings()[0].causes().collect();
        assert!(matches!(causes[..], [Cause::InvalidDevice { .. }]));
        let causes: Vec<&Cause> = check.settings()[1].causes().collect();
        assert!(matches!(
            causes[..],
            [Cause::InvalidText(_), Cause::InvalidDevice { .. }]
        ));
        let freebind = BindOptions::new().freebind(true).check(["198.51.100.1:0"]);
        assert!(freebind.is_ok());
        assert_eq!(freebind.settings()[0].sockets()[0].warnings().len(), 1);
    }
}

#[test]
fn warning_is_at_each_socket_with_the_address() {
    if !util::is_like_linux("warning_is_at_each_socket_with_the_address") {
        return;
    }
    if cfg!(target_os = "linux") {
        let check = BindOptions::new().freebind(true).check([
            "198.51.100.1:0",
            "127.0.0.1:0",
            "198.51.100.1:0",
        ]);
        let names = |setting: &CheckedSetting| {
            let warnings = setting.sockets()[0].warnings().iter();
            warnings.map(Warning::name).collect::<Vec<_>>()
        };
        let names: Vec<_> = check.settings().iter().map(names).collect();
        assert_eq!(names, [vec!["not-listed"], vec![], vec!["not-listed"]]);
    }
}
