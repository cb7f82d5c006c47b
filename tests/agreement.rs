//! `check` and `bind` agree, whatever the host, the list and the options, with and without netlink
//! and procfs.
#![cfg(target_os = "linux")]

mod util;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bindaddr::plan::Setting;
use bindaddr::update::{ChangeKind, StdSocket};
use bindaddr::{BindError, BindOptions, Listeners};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use socket2::{Domain, Socket, Type};
use util::netns::{in_namespace, ip, set};
use util::{rerun, sandbox};

/// How many lists are tried; more by `BINDADDR_AGREEMENT_LISTS`.
const LISTS: u32 = 2400;

const EAFNOSUPPORT: u32 = 97;

/// `check` cannot know the following, and the test leaves it out:
///
/// - A UDP socket with `reuse_port` is not bound beside another socket on its port, because it
///   would get the datagrams of that one, so whether the other one shares its port is not known.
/// - A TCP socket with `reuse_port` leaves a mark on its port, by which the kernel lets the next
///   one of the same user in beside a socket that does not share (`sk_reuseport_match` of
///   `net/ipv4/inet_connection_sock.c`). So a list may be bound where its second socket alone is
///   refused.
/// - A filter on listen(2) alone, and a limit of open files or an ephemeral range that all sockets
///   of a list exceed together, are met by `bind` only. No case has them.
/// - Where the interfaces cannot be read, two names of one interface (a zone by its number and a
///   device) are not known to be one. No case has them.
fn is_exception(case: &Case) -> bool {
    let may_have_a_mark = !case.is_tcp || case.list.len() > 1;
    case.options.reuse_port && !case.holders.is_empty() && may_have_a_mark
}

#[derive(Clone, Debug)]
struct Case {
    is_tcp: bool,
    options: Options,
    list: Vec<Entry>,
    holders: Vec<Holder>,
}

#[derive(Clone, Debug)]
struct Options {
    only_v6: bool,
    reuse_port: bool,
    freebind: bool,
    device: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Entry {
    text: String,
    device: Option<&'static str>,
    freebind: bool,
}

/// A socket of another server.
#[derive(Clone, Debug)]
struct Holder {
    kind: Kind,
    addr: SocketAddr,
    only_v6: bool,
    reuse_addr: bool,
    reuse_port: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Listener,
    BoundTcp,
    Udp,
    /// A connection whose own port is the one.
    Outgoing,
}

const HOSTS: [&str; 31] = [
    "0.0.0.0",
    "0.0.0.0",
    "[::]",
    "[::]",
    "*",
    "*",
    "ipv6@*",
    "ipv4@*",
    "127.0.0.1",
    "127.0.0.1",
    "127.0.0.2",
    "[::1]",
    "[::1]",
    "localhost",
    "localhost",
    "10.0.0.1",
    "10.0.0.1",
    "10.77.0.1",
    "[fd00::1]",
    "[fe80::77%eth0]",
    "[fe80::77]",
    "[fe80::77%9999]",
    "eth0",
    "ipv4@eth0",
    "v0",
    "ipv4@v0",
    "_private_",
    "10.0.0.0/8",
    "198.51.100.1",
    "10.0.0.255",
    "224.0.0.1",
];

const PORTS: [&str; 10] = [
    "7000",
    "7000",
    "7000",
    "7001",
    "7002",
    "7000-7002",
    "7000-7001",
    "7001-7002",
    "0",
    "80",
];

const HELD: [&str; 9] = [
    "0.0.0.0",
    "[::]",
    "127.0.0.1",
    "127.0.0.2",
    "[::1]",
    "10.0.0.1",
    "10.77.0.1",
    "[fd00::1]",
    "127.0.0.9",
];

fn devices() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![
        16 => Just(None),
        2 => Just(Some("eth0")),
        2 => Just(Some("lo")),
        1 => Just(Some("no-such-device")),
        1 => Just(Some("a-name-that-is-too-long")),
    ]
}

fn entries() -> impl Strategy<Value = Entry> {
    let host = prop::sample::select(&HOSTS[..]);
    let port = prop::sample::select(&PORTS[..]);
    let often = prop::bool::weighted(0.25);
    (often, host, port, devices(), prop::bool::weighted(0.1)).prop_map(
        |(is_optional, host, port, device, freebind)| Entry {
            text: format!("{}{host}:{port}", if is_optional { "-" } else { "" }),
            device,
            freebind,
        },
    )
}

fn holders() -> impl Strategy<Value = Holder> {
    let kind = prop_oneof![
        4 => Just(Kind::Listener),
        2 => Just(Kind::BoundTcp),
        4 => Just(Kind::Udp),
        1 => Just(Kind::Outgoing),
    ];
    let ip = prop::sample::select(&HELD[..]);
    let port = prop::sample::select(&["7000", "7000", "7001", "7002", "80"][..]);
    (kind, ip, port, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(kind, ip, port, only_v6, reuse_addr, reuse_port)| Holder {
            kind,
            addr: format!("{ip}:{port}").parse().expect("an address"),
            only_v6,
            reuse_addr,
            reuse_port,
        },
    )
}

fn cases() -> impl Strategy<Value = Case> {
    let rarely = || prop::bool::weighted(0.15);
    let options = (rarely(), rarely(), rarely(), devices());
    let options = options.prop_map(|(only_v6, reuse_port, freebind, device)| Options {
        only_v6,
        reuse_port,
        freebind,
        device,
    });
    let list = prop::collection::vec(entries(), 1..6);
    let holders = prop::collection::vec(holders(), 0..3);
    (any::<bool>(), options, list, holders).prop_map(|(is_tcp, options, list, holders)| Case {
        is_tcp,
        options,
        list,
        holders,
    })
}

impl Holder {
    /// Opens the socket, if nothing else has its port.
    fn open(&self) -> Option<Vec<Socket>> {
        let kind = if self.kind == Kind::Udp {
            Type::DGRAM
        } else {
            Type::STREAM
        };
        let socket = Socket::new(Domain::for_address(self.addr), kind, None).ok()?;
        if self.addr.is_ipv6() {
            socket.set_only_v6(self.only_v6).ok()?;
        }
        socket.set_reuse_address(self.reuse_addr).ok()?;
        socket.set_reuse_port(self.reuse_port).ok()?;
        socket.bind(&self.addr.into()).ok()?;
        match self.kind {
            Kind::Listener => socket.listen(1).ok()?,
            Kind::BoundTcp | Kind::Udp => {}
            Kind::Outgoing => {
                // It leaves no TIME_WAIT to the next case.
                socket.set_linger(Some(Duration::ZERO)).ok()?;
                let own = if self.addr.is_ipv4() {
                    "127.0.0.1:0"
                } else {
                    "[::1]:0"
                };
                let server = TcpListener::bind(own).ok()?;
                let to = server.local_addr().ok()?;
                socket
                    .connect_timeout(&to.into(), Duration::from_millis(200))
                    .ok()?;
                let (served, _) = server.accept().ok()?;
                let served = Socket::from(served);
                served.set_linger(Some(Duration::ZERO)).ok()?;
                return Some(vec![socket, served]);
            }
        }
        Some(vec![socket])
    }
}

/// The entries that fail, each by its position.
fn failing(err: &BindError) -> BTreeSet<usize> {
    err.errors().map(|error| error.position().index()).collect()
}

fn agrees(case: &Case) -> Result<(), TestCaseError> {
    if is_exception(case) {
        return Ok(());
    }
    let _held: Vec<_> = case.holders.iter().filter_map(Holder::open).collect();
    let mut options = BindOptions::new()
        .only_v6(case.options.only_v6)
        .reuse_port(case.options.reuse_port)
        .freebind(case.options.freebind);
    if let Some(device) = case.options.device {
        options = options.device(device);
    }
    let list: Vec<Setting<'_>> = case
        .list
        .iter()
        .map(|entry| {
            let setting = Setting::from(&*entry.text);
            let setting = if entry.freebind {
                setting.freebind(true)
            } else {
                setting
            };
            match entry.device {
                Some(device) => setting.device(device),
                None => setting,
            }
        })
        .collect();
    let (check, bound) = if case.is_tcp {
        let bound = options.bind(&list);
        let bound = bound.map(|bound| (bound.len(), difference(&options, &list, &bound)));
        (options.check(&list), bound)
    } else {
        let bound = options.bind_udp(&list);
        let bound = bound.map(|bound| (bound.len(), difference(&options, &list, &bound)));
        (options.check_udp(&list), bound)
    };
    match bound {
        Ok((sockets, difference)) => {
            prop_assert!(check.is_ok(), "bind succeeds, and check says:\n{check}");
            prop_assert!(sockets > 0, "nothing is open, and check says:\n{check}");
            prop_assert!(difference.is_empty(), "{difference:?}");
        }
        Err(err) => {
            prop_assert!(!check.is_ok(), "{err}\nand check says:\n{check}");
            let settings = check.settings().iter();
            let wrong = settings.filter(|setting| setting.causes().next().is_some());
            let wrong: BTreeSet<usize> = wrong.map(|one| one.position().index()).collect();
            prop_assert_eq!(
                wrong,
                failing(&err),
                "{:#}\nand check says:\n{}",
                err,
                check
            );
        }
    }
    Ok(())
}

/// Returns what the plan of a list still wants changed once the list is open.
fn difference<S: StdSocket>(
    options: &BindOptions,
    list: &[Setting<'_>],
    open: &Listeners<S>,
) -> Vec<String> {
    let plan = options.plan(list).expect("it was bound");
    let diff = plan.diff(open);
    let changes = diff.changes().iter();
    let changes = changes.filter(|change| {
        !matches!(
            change.kind(),
            ChangeKind::Kept | ChangeKind::Pending | ChangeKind::Unreachable
        )
    });
    changes.map(ToString::to_string).collect()
}

/// Tries as many lists.
fn try_lists(count: u32) {
    let config = Config {
        cases: count,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&cases(), |case| agrees(&case));
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn check_agrees_with_bind() {
    const TEST: &str = "check_agrees_with_bind";
    let lists = std::env::var("BINDADDR_AGREEMENT_LISTS");
    let lists = lists.map_or(LISTS, |lists| lists.parse().expect("a number"));
    let role = rerun::role().unwrap_or_default();
    match &*role {
        "" | "namespace" | "host" => {}
        mode => {
            if mode.contains("without-netlink") {
                sandbox::refuse_family(16, EAFNOSUPPORT);
            }
            if mode.contains("landlock") && !sandbox::refuse_tcp_ports() {
                return rerun::done();
            }
            try_lists(lists / 8);
            return rerun::done();
        }
    }
    in_namespace(|| {
        for (name, addrs) in [
            ("eth0", &["10.0.0.1/24", "fd00::1/64", "fe80::77/64"][..]),
            ("v0", &["10.77.0.1/24"]),
        ] {
            ip(&format!(
                "link add name {name} type veth peer name p-{name}"
            ));
            ip(&format!("link set {name} up"));
            // The other one has no carrier from the start, because its loss is noticed only some
            // time later.
            if name == "eth0" {
                ip("link set p-eth0 up");
            }
            for addr in addrs {
                ip(&format!("addr add {addr} dev {name}"));
            }
        }
        // An address that stays tentative.
        set("net/ipv6/conf/v0/accept_dad", "1");
        ip("addr add fd01::1/64 dev v0");
        let hide_procfs = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
        let without_procfs = ["unshare", "--mount", "sh", "-c", hide_procfs];
        let without_privilege = ["setpriv", "--bounding-set=-net_bind_service", "--"];
        rerun::run(TEST, "plain", &[]);
        rerun::run(TEST, "without-netlink", &[]);
        rerun::run(TEST, "without-procfs", &without_procfs);
        rerun::run(TEST, "without-netlink and procfs", &without_procfs);
        rerun::run(TEST, "without-privilege", &without_privilege);
        rerun::run(TEST, "landlock", &[]);
        set("net/ipv6/conf/lo/disable_ipv6", "1");
        rerun::run(TEST, "without ::1", &[]);
        ip("link set lo down");
        rerun::run(TEST, "without lo", &[]);
    });
}

#[test]
fn check_leaves_running_server_undisturbed() {
    in_namespace(|| {
        let sharing = BindOptions::new().reuse_port(true);
        let server = sharing.bind_udp("127.0.0.1:7000").unwrap();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for n in 0..200u8 {
            // The checked socket would get some of the datagrams if it were in the group.
            let check = sharing.check_udp("127.0.0.1:7000");
            assert_eq!(
                check.settings()[0].sockets()[0].warnings()[0].name(),
                "sharing-unknown"
            );
            client.send_to(&[n], "127.0.0.1:7000").unwrap();
            let mut datagram = [0; 1];
            server[0].as_std().recv(&mut datagram).unwrap();
            assert_eq!(datagram, [n]);
        }
        let server = bindaddr::bind("127.0.0.1:7001").unwrap();
        for _ in 0..200 {
            assert!(!bindaddr::check("127.0.0.1:7001").is_ok());
            let client = TcpStream::connect("127.0.0.1:7001").unwrap();
            assert_eq!(
                server[0].as_std().accept().unwrap().1,
                client.local_addr().unwrap()
            );
        }
    });
}
