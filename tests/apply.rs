//! `Plan::apply`: open sockets become those of another plan.
#![cfg(target_os = "linux")]

mod util;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bindaddr::diagnosis::SettingError;
use bindaddr::plan::{PlannedSocket, Setting};
use bindaddr::update::{Apply, Change, ChangeKind, Diff, StdSocket};
use bindaddr::{BindError, BindOptions, Interfaces, Listener, Listeners, Plan};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::SockRef;
use util::netns::{connects, in_namespace, ip};
use util::sandbox;

/// How many pairs of lists are tried; more by `BINDADDR_APPLY_LISTS`.
const LISTS: u32 = 1000;

const HOSTS: [&str; 20] = [
    "0.0.0.0",
    "0.0.0.0",
    "[::]",
    "*",
    "*",
    "ipv6@*",
    "127.0.0.1",
    "127.0.0.1",
    "127.0.0.2",
    "[::1]",
    "localhost",
    "localhost",
    "10.0.0.1",
    "[fd00::1]",
    "[fe80::77%eth0]",
    "eth0",
    "ipv4@eth0",
    "10.0.0.0/8",
    "-198.51.100.1",
    "-127.0.0.1",
];

const PORTS: [&str; 9] = [
    "7000",
    "7000",
    "7000",
    "7001",
    "7000-7002",
    "7001-7003",
    "7002-7003",
    "0",
    "0",
];

type Entry = (&'static str, &'static str, Option<&'static str>);

fn lists() -> impl Strategy<Value = Vec<Entry>> {
    let host = prop::sample::select(&HOSTS[..]);
    let port = prop::sample::select(&PORTS[..]);
    let device = prop_oneof![8 => Just(None), 1 => Just(Some("eth0")), 1 => Just(Some("lo"))];
    prop::collection::vec((host, port, device), 1..5)
}

#[derive(Clone, Debug)]
struct Case {
    is_tcp: bool,
    old: Vec<Entry>,
    new: Vec<Entry>,
    /// Which of the old entries the new list has as well, in front of its own.
    kept: Vec<usize>,
    /// What another server has.
    held: Option<&'static str>,
    mode: Apply,
    is_device_recreated: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let kept = prop::collection::vec(0..4usize, 0..4);
    let held = prop_oneof![
        3 => Just(None),
        1 => Just(Some("127.0.0.1:7001")),
        1 => Just(Some("[::1]:7002")),
    ];
    let mode = prop_oneof![2 => Just(Apply::AllOrNone), 1 => Just(Apply::BestEffort)];
    let recreated = prop::bool::weighted(0.05);
    (any::<bool>(), lists(), lists(), kept, held, mode, recreated).prop_map(
        |(is_tcp, old, new, kept, held, mode, is_device_recreated)| Case {
            is_tcp,
            old,
            new,
            kept,
            held,
            mode,
            is_device_recreated,
        },
    )
}

fn settings(list: &[Entry]) -> Vec<Setting<'static>> {
    let one = |(host, port, device): &Entry| {
        let setting = Setting::from(format!("{host}:{port}"));
        match device {
            Some(device) => setting.device(*device),
            None => setting,
        }
    };
    list.iter().map(one).collect()
}

fn device() {
    ip("link add name eth0 type veth peer name p-eth0");
    ip("link set eth0 up");
    ip("link set p-eth0 up");
    for addr in ["10.0.0.1/24", "fd00::1/64 nodad", "fe80::77/64 nodad"] {
        ip(&format!("addr add {addr} dev eth0"));
    }
}

/// What a socket is, its port aside where that is not fixed.
fn sockets<S: StdSocket>(plan: &Plan, open: &Listeners<S>) -> BTreeSet<String> {
    let one = |listener: &Listener<S>| {
        let position = listener.position();
        let of_setting = plan.sockets().iter();
        let ports = of_setting
            .filter(|planned| planned.position() == position)
            .map(PlannedSocket::ports)
            .next()
            .expect("it is planned");
        let mut addr = listener.local_addr();
        assert!(
            *ports.start() == 0 || ports.contains(&addr.port()),
            "{addr}"
        );
        if *ports.start() == 0 || ports.start() != ports.end() {
            addr.set_port(0);
        }
        let text = format!("{listener:#}").replace(&listener.local_addr().to_string(), "");
        format!("{}: {addr} {text}", position.index())
    };
    open.iter().map(one).collect()
}

/// The operations of one protocol.
struct Kind<S> {
    bind: fn(&Plan) -> Result<Listeners<S>, BindError>,
    apply: fn(&Plan, &mut Listeners<S>, Apply) -> Result<bindaddr::update::Update, BindError>,
}

fn ends_as_a_new_bind<S: StdSocket + std::os::fd::AsFd + std::fmt::Debug>(
    kind: &Kind<S>,
    case: &Case,
) -> Result<(), TestCaseError> {
    let options = BindOptions::new();
    let plan = |list: &[Entry]| options.plan(settings(list)).ok();
    let kept = case.kept.iter().filter_map(|at| case.old.get(*at));
    let new: Vec<Entry> = kept.chain(&case.new).copied().collect();
    let (Some(old), Some(mut new)) = (plan(&case.old), plan(&new)) else {
        return Ok(());
    };
    let _held: Option<(TcpListener, std::net::UdpSocket)> = case.held.map(|addr| {
        let tcp = TcpListener::bind(addr).expect("a free port");
        (tcp, std::net::UdpSocket::bind(addr).expect("a free port"))
    });
    let Ok(mut open) = (kind.bind)(&old) else {
        return Ok(());
    };
    if case.is_device_recreated {
        ip("link del eth0");
        device();
        let Ok(again) = new.replan(&Interfaces::system().expect("netlink is there")) else {
            return Ok(());
        };
        new = again;
    }
    let before: Vec<String> = open.iter().map(|one| format!("{one:#}")).collect();
    let diff = new.diff(&open);
    let result = (kind.apply)(&new, &mut open, case.mode);
    for listener in &open {
        let shares = SockRef::from(listener.as_std()).reuse_port();
        prop_assert!(!shares.expect("a socket"), "{listener} can be joined");
    }
    match &result {
        Ok(update) if update.failed().is_empty() => {
            let left = new.diff(&open);
            prop_assert!(left.is_empty(), "{}\nafter {}", show(&left), show(&diff));
            prop_assert_eq!(update.kept() + update.opened().len(), open.len());
            prop_assert_eq!(update.kept() + update.closed().len(), before.len());
        }
        Ok(_) => prop_assert_eq!(case.mode, Apply::BestEffort),
        Err(_) => {
            let after: Vec<String> = open.iter().map(|one| format!("{one:#}")).collect();
            prop_assert_eq!(before, after);
        }
    }
    let applied = sockets_of(&new, &open, &result);
    drop(open);
    let fresh = (kind.bind)(&new);
    match (&result, &fresh) {
        (Ok(update), Ok(fresh)) if update.failed().is_empty() => {
            prop_assert_eq!(applied, sockets(&new, fresh));
        }
        // The ports that are kept may suit, where a new bind tries ranges in turn.
        (Ok(_), Err(err)) if err.errors().map(SettingError::text).all(has_several_ports) => {}
        // It goes on, whatever is left, and does not try what is pending.
        (Ok(update), Err(_)) if case.mode == Apply::BestEffort => {
            let is_pending = |change: &Change| change.kind() == ChangeKind::Pending;
            let is_partial = !update.failed().is_empty() || diff.changes().iter().any(is_pending);
            prop_assert!(is_partial || applied.is_empty(), "{}", show(&diff));
        }
        // It gives up no port of a range, or of the kernel's choice, for a new address of the setting, nor for another.
        (Ok(update), Ok(_)) if case.mode == Apply::BestEffort => {
            let mut texts = update.failed().iter().map(SettingError::text);
            prop_assert!(
                texts.all(has_several_ports),
                "{update}after {}",
                show(&diff)
            );
        }
        (Ok(update), _) => prop_assert!(false, "{update}{fresh:?}\nafter {}", show(&diff)),
        // Of UDP nothing overlaps with what is to be closed.
        (Err(err), Ok(_)) if !case.is_tcp => {
            let mut texts = err.errors().map(SettingError::text);
            let is_about_range = texts.any(has_several_ports);
            prop_assert!(
                is_about_range || diff.to_close().next().is_some(),
                "{err:#}"
            );
        }
        (Err(err), Ok(_)) => prop_assert!(false, "{err:#}\nafter {}", show(&diff)),
        (Err(_), Err(_)) if !case.is_tcp && diff.to_close().next().is_some() => {}
        // Which of several ranges finds no port depends on what each has kept.
        (Err(one), Err(two))
            if [one, two].iter().any(|err| {
                let mut texts = err.errors().map(SettingError::text);
                texts.any(has_several_ports)
            }) => {}
        (Err(one), Err(two)) => {
            let wrong = |err: &BindError| -> BTreeSet<_> {
                err.errors().map(SettingError::position).collect()
            };
            prop_assert_eq!(wrong(one), wrong(two), "{:#}\nand\n{:#}", one, two);
        }
    }
    Ok(())
}

fn show(diff: &Diff) -> String {
    let changes = diff.changes().iter();
    let lines: Vec<String> = changes
        .map(|change| {
            format!(
                "{}: {change} ({:?})",
                change.position().index(),
                change.kind()
            )
        })
        .collect();
    lines.join("\n")
}

fn has_several_ports(text: &str) -> bool {
    text.trim_start_matches('-').contains('-') || text.ends_with(":0")
}

fn sockets_of<S: StdSocket>(
    plan: &Plan,
    open: &Listeners<S>,
    result: &Result<bindaddr::update::Update, BindError>,
) -> BTreeSet<String> {
    match result {
        Ok(_) => sockets(plan, open),
        Err(_) => BTreeSet::new(),
    }
}

#[test]
fn update_ends_as_a_new_bind() {
    in_namespace("update_ends_as_a_new_bind", || {
        device();
        let lists = std::env::var("BINDADDR_APPLY_LISTS");
        let lists = lists.map_or(LISTS, |lists| lists.parse().expect("a number"));
        let config = Config {
            cases: lists,
            failure_persistence: None,
            max_shrink_iters: 2000,
            ..Config::default()
        };
        let tcp = Kind {
            bind: Plan::bind,
            apply: Plan::apply,
        };
        let udp = Kind {
            bind: Plan::bind_udp,
            apply: Plan::apply_udp,
        };
        let result = TestRunner::new(config).run(&cases(), |case| {
            if case.is_tcp {
                ends_as_a_new_bind(&tcp, &case)
            } else {
                ends_as_a_new_bind(&udp, &case)
            }
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    });
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

/// Sends a byte to whoever listens and has it answered by `serve`.
fn is_served(addr: SocketAddr, open: &Listeners) -> bool {
    let mut client = TcpStream::connect(addr).expect("somebody listens");
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
fn socket_of_both_plans_keeps_its_queue() {
    in_namespace("socket_of_both_plans_keeps_its_queue", || {
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
fn connection_that_nobody_accepted_is_handed_out() {
    in_namespace("connection_that_nobody_accepted_is_handed_out", || {
        let mut open = listen("127.0.0.1:5000");
        let mut clients: Vec<TcpStream> = (0..3)
            .map(|_| TcpStream::connect("127.0.0.1:5000").unwrap())
            .collect();
        let plan = plan("0.0.0.0:5000");
        let mut update = plan.apply(&mut open, Apply::AllOrNone).unwrap();
        let drained = update.drained();
        assert_eq!(drained.len(), 3);
        assert_eq!(update.drained().len(), 0);
        for (mut served, peer) in drained {
            let client = clients
                .iter_mut()
                .find(|one| one.local_addr().unwrap() == peer);
            served.write_all(b"!").unwrap();
            client.unwrap().read_exact(&mut [0]).unwrap();
        }
        assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
    });
}

#[test]
fn move_between_overlapping_addresses_refuses_nobody() {
    in_namespace("move_between_overlapping_addresses_refuses_nobody", || {
        let texts = ["127.0.0.1:5000", "0.0.0.0:5000", "*:5000", "localhost:5000"];
        let mut open = listen(texts[0]);
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let clients = std::thread::spawn(move || {
            let mut connected = 0u32;
            while stopped.try_recv().is_err() {
                match TcpStream::connect("127.0.0.1:5000") {
                    Ok(_) => connected += 1,
                    // Of a listener that is closed.
                    Err(err) if err.kind() == std::io::ErrorKind::ConnectionReset => {}
                    Err(err) => panic!("after {connected} connections: {err}"),
                }
            }
            connected
        });
        for text in texts.iter().cycle().take(200) {
            let update = plan(text).apply(&mut open, Apply::AllOrNone);
            let _ = update.unwrap().drained();
            for listener in &open {
                listener.as_std().set_nonblocking(true).unwrap();
                while listener.as_std().accept().is_ok() {}
            }
        }
        stop.send(()).unwrap();
        assert!(clients.join().unwrap() > 0);
    });
}

#[test]
fn failed_update_leaves_what_was_open() {
    in_namespace("failed_update_leaves_what_was_open", || {
        let mut open = listen("127.0.0.1:5000, 127.0.0.1:5001");
        let before = addrs(&open);
        let _other = TcpListener::bind("127.0.0.1:6000").unwrap();
        for text in [
            // A port that another socket has.
            "0.0.0.0:5000, 127.0.0.1:6000",
            "0.0.0.0:6000",
            // An address that nobody has, after one in place of what is open.
            "0.0.0.0:5000, 198.51.100.1:80",
        ] {
            let err = plan(text).apply(&mut open, Apply::AllOrNone).unwrap_err();
            assert_eq!(err.errors().count(), 1, "{err}");
            assert_eq!(addrs(&open), before);
            for listener in &open {
                assert!(
                    !SockRef::from(listener.as_std()).reuse_port().unwrap(),
                    "{err}"
                );
                assert!(is_served(listener.local_addr(), &open));
            }
        }
        sandbox::limit_descriptors(40);
        let files: Vec<std::fs::File> =
            std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        let err = plan("0.0.0.0:5000")
            .apply(&mut open, Apply::AllOrNone)
            .unwrap_err();
        assert_eq!(err.cause().name(), "too-many-open-files");
        assert_eq!(addrs(&open), before);
        drop(files);
        assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
    });
}

#[test]
fn best_effort_opens_the_others() {
    in_namespace("best_effort_opens_the_others", || {
        let mut open = listen("127.0.0.1:5000");
        let other = TcpListener::bind("127.0.0.1:6000").unwrap();
        let plan = plan("127.0.0.1:6000, 127.0.0.1:5001");
        let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
        assert_eq!(addrs(&open), ["127.0.0.1:5001"]);
        let text = update.to_string();
        let expected = "opened 127.0.0.1:5001\nclosed 127.0.0.1:5000\ncannot listen on 127.0.0.1:6000: port 6000 is in \
                        use by this process on 127.0.0.1\n";
        assert_eq!(text, expected);
        // It is tried again with each update.
        drop(other);
        let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
        assert_eq!((update.kept(), update.failed().len()), (1, 0));
        assert_eq!(addrs(&open), ["127.0.0.1:6000", "127.0.0.1:5001"]);
    });
}

#[test]
fn update_to_nothing_is_refused() {
    in_namespace("update_to_nothing_is_refused", || {
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
fn sockets_of_a_setting_stay_on_one_port() {
    in_namespace("sockets_of_a_setting_stay_on_one_port", || {
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
fn range_gives_way_to_what_needs_its_port() {
    in_namespace("range_gives_way_to_what_needs_its_port", || {
        let other = TcpListener::bind("127.0.0.1:7000").unwrap();
        let mut open = listen("127.0.0.1:7000-7002");
        drop(other);
        assert_eq!(addrs(&open), ["127.0.0.1:7001"]);
        let update = plan("127.0.0.1:7000-7002, 0.0.0.0:7001").apply(&mut open, Apply::AllOrNone);
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

#[test]
fn socket_has_the_index_that_its_interface_had_when_it_was_opened() {
    in_namespace(
        "socket_has_the_index_that_its_interface_had_when_it_was_opened",
        || {
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
        },
    );
}

#[test]
fn many_updates_leak_nothing() {
    in_namespace("many_updates_leak_nothing", || {
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
