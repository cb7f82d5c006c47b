//! `Plan::apply`: open sockets become those of another plan.
#![cfg(target_os = "linux")]

mod agreement;
mod overlap;
#[path = "../util/mod.rs"]
mod util;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bindaddr::diagnosis::{SettingError, Warning};
use bindaddr::plan::{PlannedSocket, Setting};
use bindaddr::update::{Apply, Change, ChangeKind, Diff, StdSocket};
use bindaddr::{BindError, BindOptions, Interfaces, Listener, Listeners, Plan};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::{Domain, SockRef, Socket, Type};
use util::ip as parse_ip;
use util::netns::{connects, in_namespace, ip};
use util::{features, rerun, sandbox};

fn device() {
    ip("link add name eth0 type veth peer name p-eth0");
    ip("link set eth0 up");
    ip("link set p-eth0 up");
    for addr in ["10.0.0.1/24", "fd00::1/64 nodad", "fe80::77/64 nodad"] {
        ip(&format!("addr add {addr} dev eth0"));
    }
}

fn listen(text: &str) -> Listeners {
    BindOptions::new().bind(text).expect("free ports")
}

fn plan(text: &str) -> Plan {
    BindOptions::new().plan(text).expect("a plan")
}

fn addrs(open: &Listeners) -> Vec<String> {
    let addrs = open.iter().map(Listener::local_addr);
    addrs.map(|addr| addr.to_string()).collect()
}

/// Sends a byte to the listener and has it answered by `serve`.
fn is_served(addr: SocketAddr, open: &Listeners) -> bool {
    let mut client = TcpStream::connect(addr).expect("a server listens");
    client.write_all(b"?").expect("it is connected");
    for listener in open {
        let listener = listener.as_std();
        listener.set_nonblocking(true).expect("a socket");
        if let Ok((mut served, _)) = listener.accept() {
            served.set_nonblocking(false).expect("a socket");
            let mut byte = [0];
            served.read_exact(&mut byte).expect("the client is there");
            served.write_all(b"!").expect("the client is there");
            client.read_exact(&mut byte).expect("it is served");
            return byte == *b"!";
        }
    }
    false
}

#[test]
fn apply_keeps_the_queue_of_a_kept_socket() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000, 127.0.0.1:5001");
        let mut client = TcpStream::connect("127.0.0.1:5001").unwrap();
        let update = plan("127.0.0.2:5002, 127.0.0.1:5001").apply(&mut open, Apply::AllOrNone);
        let update = update.unwrap();
        assert_eq!(update.kept(), 1);
        assert_eq!(
            update.to_string(),
            "opened 127.0.0.2:5002\nclosed 127.0.0.1:5000\n"
        );
        assert_eq!(addrs(&open), ["127.0.0.2:5002", "127.0.0.1:5001"]);
        let positions: Vec<usize> = open.iter().map(|one| one.position().entry()).collect();
        assert_eq!(positions, [0, 1], "of the new list");
        let (mut served, _) = open[1].as_std().accept().unwrap();
        served.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
        assert!(!connects("127.0.0.1:5000".parse().unwrap()));
    });
}

#[test]
fn apply_returns_unaccepted_connections() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000");
        let mut clients: Vec<TcpStream> = (0..3)
            .map(|_| TcpStream::connect("127.0.0.1:5000").unwrap())
            .collect();
        let mut update = plan("0.0.0.0:5000")
            .apply(&mut open, Apply::BestEffort)
            .unwrap();
        let drained = update.drained();
        assert_eq!((drained.len(), update.drained().len()), (3, 0));
        for (mut served, peer) in drained {
            let is_peer = |one: &&mut TcpStream| one.local_addr().unwrap() == peer;
            served.write_all(b"!").unwrap();
            let client = clients.iter_mut().find(is_peer).unwrap();
            client.read_exact(&mut [0]).unwrap();
        }
        assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
    });
}

/// Texts on one port, each of which overlaps with each other.
const OVERLAPPING: [&str; 7] = [
    "127.0.0.1:5000",
    "0.0.0.0:5000",
    "[::]:5000",
    "*:5000",
    "ipv6@*:5000",
    "[::1]:5000",
    "localhost:5000",
];

#[test]
fn apply_sets_a_changed_backlog() {
    in_namespace(|| {
        let backlog = |of: u32| {
            BindOptions::new()
                .backlog(of)
                .plan("127.0.0.1:5000")
                .unwrap()
        };
        let mut open = backlog(7).bind().unwrap();
        let waiting = || {
            // The column Send-Q of a listening socket is its backlog, ss(8).
            let output = std::process::Command::new("ss").args(["-Hltn"]).output();
            let text = String::from_utf8(output.unwrap().stdout).unwrap();
            text.split_whitespace().nth(2).unwrap().to_owned()
        };
        assert_eq!(waiting(), "7");
        let update = backlog(9).apply(&mut open, Apply::AllOrNone).unwrap();
        assert_eq!((update.kept(), waiting()), (1, "9".to_owned()));
    });
}

#[test]
fn failing_apply_resets_no_client() {
    in_namespace(|| {
        let mut open = listen("0.0.0.0:5000");
        let _other = TcpListener::bind("127.0.0.1:6000").unwrap();
        let addr: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let plan = plan("127.0.0.1:5001, 0.0.0.0:5000, 127.0.0.1:5002, 127.0.0.1:6000");
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let (started, first) = std::sync::mpsc::channel::<()>();
        let clients = std::thread::spawn(move || {
            let mut listened = 0;
            while stopped.try_recv().is_err() {
                TcpStream::connect(addr).expect("it is open all the time");
                for port in [5001, 5002] {
                    listened += u32::from(TcpStream::connect(("127.0.0.1", port)).is_ok());
                }
                let _ = started.send(());
            }
            listened
        });
        first.recv().unwrap();
        for _ in 0..300 {
            assert!(plan.apply(&mut open, Apply::AllOrNone).is_err());
            while {
                open[0].as_std().set_nonblocking(true).unwrap();
                open[0].as_std().accept().is_ok()
            } {}
        }
        stop.send(()).unwrap();
        assert_eq!(clients.join().unwrap(), 0, "nothing new has listened");
    });
}

#[test]
fn failed_apply_leaves_open_sockets_unchanged() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000, 127.0.0.1:5001");
        let before = addrs(&open);
        let _other = TcpListener::bind("127.0.0.1:6000").unwrap();
        for text in [
            // A port that another socket has.
            "127.0.0.1:5002, 127.0.0.1:6000",
            "0.0.0.0:6000",
            // An address that no interface has, after one that is free.
            "127.0.0.1:5002, 198.51.100.1:80",
        ] {
            let err = plan(text).apply(&mut open, Apply::AllOrNone).unwrap_err();
            assert_eq!(err.errors().count(), 1, "{err}");
            assert_eq!(addrs(&open), before);
            for listener in &open {
                assert!(is_served(listener.local_addr(), &open));
            }
        }
        sandbox::limit_descriptors(40);
        let files: Vec<std::fs::File> =
            std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        let err = plan("127.0.0.1:5002")
            .apply(&mut open, Apply::AllOrNone)
            .unwrap_err();
        assert_eq!(err.cause().name(), "too-many-open-files");
        assert_eq!(addrs(&open), before);
        drop(files);
        assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
    });
}

#[test]
fn best_effort_opens_what_it_can() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000");
        let other = TcpListener::bind("127.0.0.1:6000").unwrap();
        let plan = plan("127.0.0.1:6000, 127.0.0.1:5001");
        let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
        assert_eq!(addrs(&open), ["127.0.0.1:5001"]);
        let text = update.to_string();
        let expected = "opened 127.0.0.1:5001\nclosed 127.0.0.1:5000\ncannot listen on 127.0.0.1:6000: port 6000 is in use: this process listens on 127.0.0.1\n";
        assert_eq!(text, expected);
        // It is tried again with each update.
        drop(other);
        let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
        assert_eq!((update.kept(), update.errors().len()), (1, 0));
        assert_eq!(addrs(&open), ["127.0.0.1:6000", "127.0.0.1:5001"]);
    });
}

#[test]
fn apply_rejects_a_plan_without_sockets() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000");
        let nothing = plan("-198.51.100.1:80");
        let err = nothing.apply(&mut open, Apply::AllOrNone).unwrap_err();
        assert_eq!(err.cause().name(), "not-on-this-host");
        assert_eq!(addrs(&open), ["127.0.0.1:5000"]);
        // A host may lose all of its addresses for a while.
        let update = nothing.apply(&mut open, Apply::BestEffort).unwrap();
        assert_eq!((update.kept(), update.closed().len()), (0, 1));
        assert_eq!((open.len(), open.skipped().len()), (0, 1));
    });
}

#[test]
fn apply_keeps_one_port_per_setting() {
    in_namespace(|| {
        // One of two that are alike is closed.
        let two = plan("localhost:0, localhost:0");
        let mut open = two.bind().unwrap();
        let before = addrs(&open);
        let mut place = 0..;
        open.retain(|_| place.next() != Some(1));
        let update = two.apply(&mut open, Apply::AllOrNone).unwrap();
        assert_eq!((update.kept(), update.opened().len()), (3, 1));
        assert_eq!(addrs(&open), before);

        // None of them is open.
        let mut open = Listeners::default();
        let _ = two.apply(&mut open, Apply::BestEffort).unwrap();
        assert_eq!(open[0].local_addr().port(), open[1].local_addr().port());
        assert_eq!(open[2].local_addr().port(), open[3].local_addr().port());

        // One setting on two ports.
        let other = listen("localhost:0");
        open.extend(other);
        let one = plan("localhost:0");
        let update = one.apply(&mut open, Apply::AllOrNone).unwrap();
        assert_eq!((update.kept(), update.closed().len()), (2, 4));
        assert!(open.port().is_some());
    });
}

#[test]
fn apply_moves_a_range_off_a_required_port() {
    in_namespace(|| {
        let other = TcpListener::bind("127.0.0.1:7000").unwrap();
        let mut open = listen("127.0.0.1:7000-7002");
        drop(other);
        assert_eq!(addrs(&open), ["127.0.0.1:7001"]);
        let update = plan("127.0.0.1:7000-7002, 0.0.0.0:7001").apply(&mut open, Apply::BestEffort);
        assert_eq!(update.unwrap().kept(), 0);
        assert_eq!(addrs(&open), ["127.0.0.1:7000", "0.0.0.0:7001"]);

        // In another order each keeps its port.
        let mut open = listen("127.0.0.2:8001-8002, 127.0.0.2:8002-8003");
        assert_eq!(addrs(&open), ["127.0.0.2:8001", "127.0.0.2:8002"]);
        let update =
            plan("127.0.0.2:8002-8003, 127.0.0.2:8001-8002").apply(&mut open, Apply::AllOrNone);
        assert_eq!(update.unwrap().kept(), 2);
        // Without their texts as well.
        let texts = [
            "127.0.0.3:9001-9003, 127.0.0.3:9001-9002",
            "127.0.0.3:9001-9002, 127.0.0.3:9002-9003",
        ];
        let mut open = listen("127.0.0.3:9001, 127.0.0.3:9002");
        for text in texts {
            let update = plan(text).apply(&mut open, Apply::AllOrNone);
            assert_eq!(update.unwrap().kept(), 2, "{text}");
        }
    });
}

/// The entry that keeps the port may come after others, and a range has its own ports.
#[test]
fn apply_keeps_the_port_that_entries_share() {
    in_namespace(|| {
        let options = BindOptions::new().one_port(true);
        let mut open = options.bind("127.0.0.1:0").unwrap();
        let port = open[0].local_addr().port();
        let plan = options.plan("127.0.0.2:0, 127.0.0.3:7000-7001, 127.0.0.1:0");
        let update = plan.unwrap().apply(&mut open, Apply::AllOrNone).unwrap();
        assert_eq!(update.kept(), 1);
        let expected = [
            format!("127.0.0.2:{port}"),
            "127.0.0.3:7000".to_owned(),
            format!("127.0.0.1:{port}"),
        ];
        assert_eq!(addrs(&open), expected);
    });
}

/// A range keeps its port beside an address that the snapshot lacks, and moves if that can be bound
/// after all.
#[test]
fn apply_moves_a_range_off_an_address_that_has_come() {
    in_namespace(|| {
        let mut open = listen("0.0.0.0:7000-7002");
        assert_eq!(addrs(&open), ["0.0.0.0:7000"]);
        let without = Interfaces::system().unwrap();
        let plan = plan("0.0.0.0:7000-7002, -10.0.0.1:7000");
        let plan = plan.replan(&without).unwrap();
        device();
        let update = plan.apply(&mut open, Apply::AllOrNone).unwrap();
        assert_eq!(addrs(&open), ["0.0.0.0:7001", "10.0.0.1:7000"], "{update}");
    });
}

#[test]
fn diff_uses_the_device_index_at_opening() {
    in_namespace(|| {
        device();
        let options = BindOptions::new().device("eth0");
        let early = options.plan("0.0.0.0:5000").unwrap();
        ip("link del eth0");
        device();
        let mut open = early.bind().unwrap();
        let now = options.plan("0.0.0.0:5000").unwrap();
        let diff = now.diff(&open);
        assert_eq!(diff.changes()[0].kind(), ChangeKind::Kept);
        ip("link del eth0");
        device();
        let now = options.plan("0.0.0.0:5000").unwrap();
        let kind = now.diff(&open).changes()[0].kind();
        assert!(
            matches!(kind, ChangeKind::InterfaceReplaced { .. }),
            "{kind:?}"
        );
        let _ = now.apply(&mut open, Apply::AllOrNone).unwrap();
        assert!(now.diff(&open).is_empty());
        assert!(connects("10.0.0.1:5000".parse().unwrap()));
    });
}

#[test]
fn apply_leaks_no_descriptor() {
    in_namespace(|| {
        let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let mut open = listen("127.0.0.1:5000, localhost:0");
        let before = files();
        let port = open[1].local_addr().port();
        for n in 0..2000u16 {
            let text = format!("127.0.0.1:{}, localhost:0", 5000 + n % 2);
            let _ = plan(&text).apply(&mut open, Apply::AllOrNone).unwrap();
        }
        assert_eq!((files(), open[1].local_addr().port()), (before, port));
    });
}

#[test]
fn best_effort_converges() {
    in_namespace(|| {
        device();
        let _other = TcpListener::bind("127.0.0.1:8000").unwrap();
        for (text, opened) in [
            // A socket that cannot be opened moves a range once.
            ("10.0.0.2:7000, 0.0.0.0:7000-7001", 1),
            ("0.0.0.0:8000, 127.0.0.2:8000-8001", 1),
            // One address of a setting is missing.
            ("10.0.0.1:9000, -10.0.0.2:0", 1),
        ] {
            let mut open = Listeners::default();
            let plan = plan(text);
            let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
            assert_eq!(update.opened().len(), opened, "{text}");
            let before = addrs(&open);
            for _ in 0..3 {
                let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
                assert_eq!(
                    (update.opened().len(), update.closed().len()),
                    (0, 0),
                    "{text}"
                );
            }
            assert_eq!(addrs(&open), before, "{text}");
        }
    });
}

#[test]
fn best_effort_opens_the_rest_of_a_setting() {
    in_namespace(|| {
        device();
        ip("addr add 10.0.0.2/24 dev eth0");
        let plans = ["ipv4@eth0:0", "ipv4@eth0:7000-7001"].map(plan);
        ip("addr del 10.0.0.2/24 dev eth0");
        for plan in plans {
            let mut open = Listeners::default();
            let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
            assert_eq!(
                (update.opened().len(), update.errors().len()),
                (1, 1),
                "{update}"
            );
        }
        // The port of a setting that failed is free for the next one.
        ip("addr add 10.0.0.2/24 dev eth0");
        let plan = plan("10.0.0.2:8000-8001, 10.0.0.1:8000-8001, 10.0.0.1:8000-8001");
        ip("addr del 10.0.0.2/24 dev eth0");
        let mut open = Listeners::default();
        let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
        assert_eq!(
            (update.opened().len(), update.errors().len()),
            (2, 1),
            "{update}"
        );
    });
}

#[test]
fn apply_reports_what_is_skipped_and_opens_it_later() {
    in_namespace(|| {
        device();
        for plan in [
            plan("127.0.0.1:5000, -10.0.0.9:80"),
            plan("127.0.0.1:5000, -10.0.0.9:80")
                .replan(&Interfaces::system().unwrap())
                .unwrap(),
        ] {
            let mut open = Listeners::default();
            let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
            assert_eq!((update.errors().len(), open.skipped().len()), (0, 1));
            ip("addr add 10.0.0.9/24 dev eth0");
            let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
            assert_eq!((update.opened().len(), open.skipped().len()), (1, 0));
            ip("addr del 10.0.0.9/24 dev eth0");
        }
        // A range that was kept gives way to the address that has come.
        let list = plan("-10.0.0.9:7000, 0.0.0.0:7000-7001");
        let mut open = list.bind().unwrap();
        assert_eq!(addrs(&open), ["0.0.0.0:7000"]);
        ip("addr add 10.0.0.9/24 dev eth0");
        let list = list.replan(&Interfaces::system().unwrap()).unwrap();
        let _ = list.apply(&mut open, Apply::BestEffort).unwrap();
        assert_eq!(addrs(&open), ["10.0.0.9:7000", "0.0.0.0:7001"]);
    });
}

#[test]
fn apply_finds_no_device_that_is_gone() {
    in_namespace(|| {
        device();
        let options = BindOptions::new().device("eth0");
        let bound = || options.plan("0.0.0.0:5000").unwrap();
        for change in [
            "link set eth0 down\nlink set eth0 name lan0\n",
            "link del lan0\n",
        ] {
            let mut open = if change.contains("name") {
                bound().bind().unwrap()
            } else {
                BindOptions::new()
                    .device("lan0")
                    .bind("0.0.0.0:5000")
                    .unwrap()
            };
            change.lines().for_each(ip);
            let err = bound().apply(&mut open, Apply::AllOrNone).unwrap_err();
            assert_eq!(err.cause().name(), "no-such-device");
            assert_eq!(open.len(), 1);
        }
    });
}

#[test]
fn apply_keeps_the_order_of_the_settings() {
    in_namespace(|| {
        let mut open = listen("[::1]:5000");
        let _ = plan("localhost:5000")
            .apply(&mut open, Apply::AllOrNone)
            .unwrap();
        assert_eq!(addrs(&open), ["127.0.0.1:5000", "[::1]:5000"]);
    });
}

#[test]
fn apply_reports_connections_that_it_cannot_accept() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000");
        let clients: Vec<TcpStream> = (0..30)
            .map(|_| TcpStream::connect("127.0.0.1:5000").unwrap())
            .collect();
        sandbox::limit_descriptors(45);
        let plan = plan("127.0.0.1:5001");
        let mut update = plan.apply(&mut open, Apply::AllOrNone).unwrap();
        let drained = update.drained();
        assert!(drained.len() < clients.len(), "{}", drained.len());
        assert_eq!(
            update.drain_error().and_then(std::io::Error::raw_os_error),
            Some(24)
        );
    });
}
