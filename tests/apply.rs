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
use socket2::{Domain, SockRef, Socket, Type};
use util::ip as parse_ip;
use util::netns::{connects, in_namespace, ip};
use util::{features, rerun, sandbox};

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
    /// The old entries that the new list has as well, before its own.
    kept: Vec<usize>,
    /// The sockets of another server.
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

/// Describes a socket, without its port unless that is fixed.
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
    check: fn(&Plan, &Listeners<S>) -> bindaddr::check::Check,
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
    let check = (kind.check)(&new, &open);
    let unchanged: Vec<String> = open.iter().map(|one| format!("{one:#}")).collect();
    prop_assert_eq!(&before, &unchanged);
    let result = (kind.apply)(&new, &mut open, case.mode);
    if case.mode == Apply::AllOrNone {
        let sentence = result.as_ref().err().map(ToString::to_string);
        prop_assert_eq!(
            check.is_ok(),
            result.is_ok(),
            "{}{:?}\nafter {}",
            check,
            sentence,
            show(&diff)
        );
    }
    match &result {
        Ok(update) if update.errors().is_empty() => {
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
        (Ok(update), Ok(fresh)) if update.errors().is_empty() => {
            prop_assert_eq!(applied, sockets(&new, fresh));
        }
        // The ports that are kept may suit, where a new bind tries ranges in turn.
        (Ok(_), Err(err)) if err.errors().map(SettingError::text).all(has_several_ports) => {}
        // It goes on, whatever is left, and does not try what is pending.
        (Ok(update), Err(_)) if case.mode == Apply::BestEffort => {
            let is_pending = |change: &Change| change.kind() == ChangeKind::Pending;
            let is_partial = !update.errors().is_empty() || diff.changes().iter().any(is_pending);
            prop_assert!(is_partial || applied.is_empty(), "{}", show(&diff));
        }
        // It keeps a port of a range, or one chosen by the kernel, even if a new address of the
        // setting lacks it.
        (Ok(update), Ok(_)) if case.mode == Apply::BestEffort => {
            let mut texts = update.errors().iter().map(SettingError::text);
            prop_assert!(
                texts.all(has_several_ports),
                "{update}after {}",
                show(&diff)
            );
        }
        (Ok(update), _) => prop_assert!(false, "{update}{fresh:?}\nafter {}", show(&diff)),
        (Err(err), Ok(_)) => {
            let mut texts = err.errors().map(SettingError::text);
            let is_about_range = texts.any(has_several_ports);
            // No UDP socket is opened beside one that is to be closed.
            let is_udp_overlap = !case.is_tcp && diff.to_close().next().is_some();
            prop_assert!(
                is_about_range || is_udp_overlap,
                "{err:#}\nafter {}",
                show(&diff)
            );
        }
        (Err(_), Err(_)) if diff.to_close().next().is_some() => {}
        // The range that finds no port depends on the ports that the others kept.
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
fn apply_agrees_with_new_bind() {
    in_namespace(|| {
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
            check: Plan::check_beside,
            apply: Plan::apply,
        };
        let udp = Kind {
            bind: Plan::bind_udp,
            check: Plan::check_udp_beside,
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

/// Returns `true` if a socket of this user that sets `SO_REUSEPORT` can be bound to `addr`.
fn can_be_joined(addr: SocketAddr) -> bool {
    let joining = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    joining.set_reuse_port(true).expect("a socket");
    joining.bind(&addr.into()).is_ok()
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
fn apply_opens_a_socket_beside_one_that_overlaps() {
    in_namespace(|| {
        for (old, new) in OVERLAPPING
            .iter()
            .flat_map(|old| OVERLAPPING.map(|new| (*old, new)))
        {
            for mode in [Apply::AllOrNone, Apply::BestEffort] {
                let mut open = listen(old);
                let update = plan(new).apply(&mut open, mode).unwrap();
                let row = format!("{old} → {new}: {update}");
                assert!(update.errors().is_empty(), "{row}");
                assert!(update.interrupted().is_empty(), "{row}");
                assert!(plan(new).diff(&open).is_empty(), "{row}");
                for listener in &open {
                    let mut addr = listener.local_addr();
                    if addr.ip().is_unspecified() {
                        addr = SocketAddr::new(
                            match addr {
                                SocketAddr::V4(_) => [127, 0, 0, 1].into(),
                                SocketAddr::V6(_) => parse_ip("::1"),
                            },
                            5000,
                        );
                    }
                    assert!(is_served(addr, &open), "{row}");
                    // The kernel keeps its mark where both wildcards are open.
                    let is_dual_stack = listener.local_addr().ip().is_unspecified()
                        && listener.local_addr().is_ipv6()
                        && !format!("{listener:#}").contains("IPv6 only");
                    if !is_dual_stack {
                        assert!(!can_be_joined(addr), "{row}");
                    }
                }
                let reuse = open
                    .iter()
                    .map(|one| SockRef::from(one.as_std()).reuse_port().unwrap());
                assert!(reuse.into_iter().all(|reuse| !reuse), "{row}");
            }
        }
    });
}

#[test]
fn failed_apply_ends_the_sharing_of_ports() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000");
        let err = plan("0.0.0.0:5000, 198.51.100.1:80")
            .apply(&mut open, Apply::AllOrNone)
            .unwrap_err();
        assert_eq!(err.errors().count(), 1, "{err}");
        assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
        assert!(!SockRef::from(open[0].as_std()).reuse_port().unwrap());
        assert!(!can_be_joined("127.0.0.1:5000".parse().unwrap()));
    });
}

/// Another server of this user that shares its port is not joined.
#[test]
fn apply_joins_no_other_server() {
    in_namespace(|| {
        let sharing = BindOptions::new().reuse_port(true);
        let _other = sharing.bind("127.0.0.2:5000").unwrap();
        for mode in [Apply::AllOrNone, Apply::BestEffort] {
            let mut open = listen("127.0.0.1:5000");
            let result = plan("0.0.0.0:5000").apply(&mut open, mode);
            let err = match result {
                Err(err) => err.to_string(),
                Ok(update) => update.to_string(),
            };
            let expected = "port 5000 is in use: ";
            let other = "this process listens on 127.0.0.2, which 0.0.0.0 includes";
            assert!(err.contains(expected) && err.contains(other), "{err}");
        }
    });
}

/// Gives an open socket to another user, as if the server had dropped its privileges since. Returns
/// `false` if this user may not.
fn give_away(open: &Listeners) -> bool {
    std::os::unix::fs::fchown(open[0].as_std(), Some(65534), None).is_ok()
}

#[test]
fn apply_stops_a_socket_of_another_owner_first() {
    in_namespace(|| {
        for mode in [Apply::AllOrNone, Apply::BestEffort] {
            let mut open = listen("127.0.0.1:5000");
            if !give_away(&open) {
                let test = "apply_stops_a_socket_of_another_owner_first";
                rerun::skip(test, "not root", "BINDADDR_REQUIRE_USERS");
                return;
            }
            let mut client = TcpStream::connect("127.0.0.1:5000").unwrap();
            let mut update = plan("0.0.0.0:5000").apply(&mut open, mode).unwrap();
            assert_eq!(
                update.to_string(),
                "opened 0.0.0.0:5000\nclosed 127.0.0.1:5000, which stopped listening a moment before\n"
            );
            assert_eq!(update.interrupted(), update.closed());
            let (mut served, _) = update.drained().pop().expect("it was waiting");
            served.write_all(b"!").unwrap();
            client.read_exact(&mut [0]).unwrap();
            assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
        }
    });
}

#[test]
fn failed_apply_resumes_a_stopped_socket() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000");
        if !give_away(&open) {
            let test = "failed_apply_resumes_a_stopped_socket";
            rerun::skip(test, "not root", "BINDADDR_REQUIRE_USERS");
            return;
        }
        // It does not listen, so the table of listening sockets does not have it.
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let addr: SocketAddr = "127.0.0.2:5000".parse().unwrap();
        other.bind(&addr.into()).unwrap();
        let err = plan("0.0.0.0:5000")
            .apply(&mut open, Apply::AllOrNone)
            .unwrap_err();
        // Its own listener has made way, so it is not what is in the way.
        let cause = if features::lists_bound_sockets() {
            "in-use"
        } else {
            "in-use-by-unknown"
        };
        assert_eq!(err.cause().name(), cause);
        assert!(!SockRef::from(open[0].as_std()).nonblocking().unwrap());
        assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
        // Another failure stops nothing.
        let client = TcpStream::connect("127.0.0.1:5000").unwrap();
        let failing = plan("0.0.0.0:5000, 198.51.100.1:80");
        assert!(failing.apply(&mut open, Apply::AllOrNone).is_err());
        let (_, peer) = open[0].as_std().accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        // Without its port it could not listen again.
        let mut open = listen("127.0.0.1:0");
        let port = open[0].local_addr().port();
        assert!(give_away(&open));
        let moving = plan(&format!("0.0.0.0:{port}"));
        assert!(moving.apply(&mut open, Apply::AllOrNone).is_err());
        assert!(is_served(open[0].local_addr(), &open));
    });
}

/// A socket that stopped for one that is open now is not resumed because of another.
#[test]
fn best_effort_resumes_only_what_is_not_replaced() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000, 127.0.0.1:5001");
        if !give_away(&open) {
            let test = "best_effort_resumes_only_what_is_not_replaced";
            rerun::skip(test, "not root", "BINDADDR_REQUIRE_USERS");
            return;
        }
        std::os::unix::fs::fchown(open[1].as_std(), Some(65534), None).unwrap();
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let addr: SocketAddr = "127.0.0.2:5001".parse().unwrap();
        other.bind(&addr.into()).unwrap();
        let _waiting = TcpStream::connect("127.0.0.1:5000").unwrap();
        let plan = plan("0.0.0.0:5000, 0.0.0.0:5001");
        let mut update = plan.apply(&mut open, Apply::BestEffort).unwrap();
        let stopped: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        assert_eq!(
            (update.interrupted(), update.closed().len()),
            (&[stopped][..], 2)
        );
        assert_eq!(update.errors().len(), 1, "{update}");
        assert!(update.drain_error().is_none(), "{update:?}");
        assert_eq!(
            (update.drained().len(), addrs(&open)),
            (1, vec!["0.0.0.0:5000".to_owned()])
        );
    });
}

/// The sockets are closed in a process that is spawned, so it keeps no port.
#[test]
fn spawned_process_keeps_no_port() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000, 127.0.0.2:5000");
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let update = plan("127.0.0.2:5000")
            .apply(&mut open, Apply::AllOrNone)
            .unwrap();
        assert!(update.open_elsewhere().is_empty());
        assert!(bindaddr::bind("127.0.0.1:5000").is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn apply_refuses_udp_overlap_with_a_socket_to_close() {
    in_namespace(|| {
        let mut open = bindaddr::bind_udp("127.0.0.1:5000").unwrap();
        let plan = plan("0.0.0.0:5000");
        let err = plan.apply_udp(&mut open, Apply::AllOrNone).unwrap_err();
        assert_eq!(err.cause().name(), "in-use");
        assert_eq!(open.len(), 1);
        let update = plan.apply_udp(&mut open, Apply::BestEffort).unwrap();
        assert_eq!((update.opened().len(), update.closed().len()), (1, 1));
    });
}

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
