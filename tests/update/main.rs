//! `Plan::diff`: what became of open sockets when the host has changed, and `Watch`, which reports
//! when to look.

mod addresses;
#[path = "../util/mod.rs"]
mod util;

use std::collections::HashSet;
use std::net::{SocketAddr, SocketAddrV6};

use bindaddr::interfaces::Interface;
use bindaddr::plan::{AddrSelection, Setting, ToSettings};
use bindaddr::update::{Apply, Change, ChangeKind, Diff};
use bindaddr::{BindOptions, Interfaces, Listeners, Plan};
use util::ip as parse_ip;
use util::netns::{connects, in_namespace, ip, set};

fn now() -> Interfaces {
    Interfaces::system().expect("netlink is there")
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A server that follows the addresses of its host.
struct Server {
    plan: Plan,
    listeners: Listeners,
    diff: Diff,
}

impl Server {
    fn start(settings: impl ToSettings) -> Self {
        Self::with(&BindOptions::new(), settings)
    }

    fn with(options: &BindOptions, settings: impl ToSettings) -> Self {
        let plan = options.plan(settings).expect("a plan");
        let plan = plan.replan(&now()).expect("a plan");
        let listeners = plan.bind().expect("free ports");
        let diff = plan.diff(&listeners);
        Self {
            plan,
            listeners,
            diff,
        }
    }

    /// Returns what changed since the last look.
    fn look_at(&mut self, host: &Interfaces) -> Vec<Change> {
        self.plan = self.plan.replan(host).expect("a plan");
        let diff = self.plan.diff(&self.listeners);
        let changes = diff.since(&self.diff).into_iter().cloned().collect();
        self.diff = diff;
        changes
    }

    fn look(&mut self) -> Vec<Change> {
        self.look_at(&now())
    }

    /// Returns what changed since the last look, as text.
    fn news(&mut self) -> Vec<String> {
        let changes = self.look();
        let texts = changes.iter();
        texts
            .map(|change| format!("{}: {change}", change.position().index()))
            .collect()
    }

    /// Does what the difference says.
    fn follow(&mut self) {
        let update = self.plan.apply(&mut self.listeners, Apply::BestEffort);
        let update = update.expect("it goes on");
        assert!(update.errors().is_empty(), "{update}");
        let diff = self.plan.diff(&self.listeners);
        assert!(diff.is_empty(), "{diff:?}");
        self.diff = diff;
    }

    fn addrs(&self) -> Vec<String> {
        let addrs = self
            .listeners
            .iter()
            .map(|one| one.local_addr().to_string());
        addrs.collect()
    }
}

fn kinds(changes: &[Change]) -> Vec<ChangeKind> {
    changes.iter().map(Change::kind).collect()
}

fn link() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
}

/// Each of these would do as well with the port of the other.
#[test]
fn entry_keeps_its_own_port() {
    in_namespace(|| {
        for (before, after, kept) in [
            // By its place and text.
            (
                ["127.0.0.1:6000-6009", "127.0.0.1:6000-6009"],
                &["127.0.0.3:80", "127.0.0.1:6000-6009"][..],
                "127.0.0.1:6001",
            ),
            // By its text.
            (
                ["127.0.0.1:6000-6009", "127.0.0.1:6000-6010"],
                &["127.0.0.1:6000-6010"],
                "127.0.0.1:6001",
            ),
            // By its address.
            (
                ["127.0.0.1:6000-6009", "127.0.0.2:6000-6009"],
                &["127.0.0.2:6000-6011"],
                "127.0.0.2:6000",
            ),
        ] {
            let mut listeners = bindaddr::bind(before).unwrap();
            let plan = BindOptions::new().plan(after).unwrap();
            assert!(!plan.diff(&listeners).is_empty());
            let update = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
            assert_eq!(update.kept(), 1);
            let last = listeners.iter().last().unwrap();
            assert_eq!(last.local_addr(), addr(kept), "{after:?}");
            assert!(plan.diff(&listeners).is_empty());
        }
    });
}

#[test]
fn selection_is_kept_by_replan() {
    let host = |ips: &[&str]| -> Interfaces {
        let lo = Interface::new("lo", 1).with_addr(parse_ip("127.0.0.1"), 8);
        let lo = ips
            .iter()
            .fold(lo, |lo, text| lo.with_addr(parse_ip(text), 8));
        [lo].into_iter().collect()
    };
    let first = BindOptions::new().select(AddrSelection::First);
    let plan = first.plan_on("_local_:0", &host(&[])).unwrap();
    let listeners = plan.bind().unwrap();
    let later = plan.replan(&host(&["127.0.0.5"])).unwrap();
    assert!(later.diff(&listeners).is_empty(), "the first one is open");

    let plan = BindOptions::new()
        .plan_on("ipv4@_local_:0", &host(&[]))
        .unwrap();
    let every = plan.bind().unwrap();
    let diff = plan.replan(&host(&["127.0.0.5"])).unwrap().diff(&every);
    let opened: Vec<SocketAddr> = diff
        .to_open()
        .map(bindaddr::plan::PlannedSocket::addr)
        .collect();
    let port = every[0].local_addr().port();
    assert_eq!(
        opened,
        [SocketAddr::new(parse_ip("127.0.0.5"), port)],
        "on the port of the others"
    );

    // The first of localhost is 127.0.0.1, whatever else comes.
    let plan = first.plan("localhost:0").unwrap();
    let listeners = plan.bind().unwrap();
    assert_eq!(listeners.len(), 1);
    assert!(
        plan.replan(&host(&["::1"]))
            .unwrap()
            .diff(&listeners)
            .is_empty()
    );

    // A snapshot without its sources does not show what `_default_` selects.
    let settings = ["127.0.0.1:0", "-_default_:0"];
    let err = BindOptions::new()
        .plan_on(settings, &host(&[]))
        .unwrap_err();
    assert_eq!(err.errors().count(), 1, "unknown is not absent: {err}");
    for (source, sockets) in [("127.0.0.1", 2), ("10.0.0.1", 1)] {
        let plan = BindOptions::new()
            .plan_on(settings, &host(&[]).with_default_source(parse_ip(source)))
            .unwrap();
        let listeners = plan.bind().unwrap();
        let again = plan.replan(&host(&["127.0.0.5"])).unwrap();
        assert!(again.diff(&listeners).is_empty());
        assert_eq!(
            (listeners.len(), again.skipped().len()),
            (sockets, 2 - sockets)
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn replan_keeps_default_addresses_while_sources_are_unreadable() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("route add default via 10.0.0.9");
        let mut server = Server::start("ipv4@_default_:5000");
        let sources = |host: Interfaces| host.with_system_default_sources();
        assert!(server.look_at(&sources(now())).is_empty());
        assert_eq!(server.addrs(), ["10.0.0.1:5000"]);
        let host = now();
        util::sandbox::limit_descriptors(64);
        let files: Vec<std::fs::File> =
            std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        let host = sources(host);
        assert!(server.look_at(&host).is_empty(), "no descriptor was left");
        assert_eq!(server.diff.changes()[0].kind(), ChangeKind::Kept);
        drop(files);
        // Without a route there is none, and that is known.
        ip("route del default");
        assert_eq!(
            kinds(&server.look_at(&sources(now()))),
            [ChangeKind::Removed]
        );
        // Other errors of a route that leads nowhere say the same.
        for kind in ["unreachable", "prohibit", "blackhole"] {
            ip(&format!("route replace {kind} default"));
            server.look_at(&sources(now()));
            assert_eq!(server.plan.skipped().len(), 1, "{kind}");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn ipv4_wildcard_is_not_both_families() {
    in_namespace(|| {
        let mut listeners = bindaddr::bind("0.0.0.0:5000").unwrap();
        let plan = BindOptions::new().plan("*:5000").unwrap();
        for plan in [plan.replan(&now()).unwrap(), plan] {
            assert_eq!(plan.diff(&listeners).to_open().count(), 1);
            assert_eq!(plan.diff(&listeners).to_close().count(), 1);
        }
        listeners.retain(|_| false);
        // `*` still lacks both families, whatever `[::]` means.
        let options = BindOptions::new().only_v6(true);
        let plan = options.plan("*:5001").unwrap();
        let mut listeners = Listeners::default();
        let _ = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
        assert!(connects(addr("127.0.0.1:5001")));
        assert!(plan.diff(&listeners).is_empty());
        // Without IPv6, `*` opens IPv4 alone.
        util::sandbox::refuse_family(10, 97);
        let plan = BindOptions::new().plan("*:5002").unwrap();
        let mut listeners = Listeners::default();
        let _ = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
        assert_eq!(listeners[0].local_addr(), addr("0.0.0.0:5002"));
        assert!(plan.diff(&listeners).is_empty());
        let plan = BindOptions::new().plan("*:5000").unwrap();
        let listeners = plan.bind().unwrap();
        assert_eq!(listeners[0].local_addr(), addr("0.0.0.0:5000"));
        assert!(plan.diff(&listeners).is_empty());
        assert!(plan.replan(&now()).unwrap().diff(&listeners).is_empty());
    });
}

#[test]
fn what_bind_left_out_is_pending() {
    in_namespace(|| {
        set("net/ipv6/conf/lo/disable_ipv6", "1");
        let settings = [
            "localhost:5000",
            "-198.51.100.1:5000",
            "-[fe80::1%9999]:5000",
        ];
        let plan = BindOptions::new().plan(settings).unwrap();
        let listeners = plan.bind().unwrap();
        assert_eq!((listeners.len(), listeners.skipped().len()), (1, 2));
        for plan in [plan.replan(&now()).unwrap(), plan] {
            let diff = plan.diff(&listeners);
            assert!(diff.is_empty(), "{diff:?}");
        }
        // Nothing of that is on a device without the address.
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = Setting::from("-localhost:5001").device("eth0");
        let server = Server::start([settings, "127.0.0.1:5002".into()]);
        assert!(server.diff.is_empty(), "{:?}", server.diff);
    });
}

#[test]
fn new_socket_that_the_host_lacks_is_pending() {
    in_namespace(|| {
        set("net/ipv6/conf/lo/disable_ipv6", "1");
        let open = BindOptions::new().bind("127.0.0.1:5000").unwrap();
        let settings = [
            Setting::from("127.0.0.1:5000"),
            Setting::from("localhost:5001"),
            Setting::from("-127.0.0.1:5002").device("nope0"),
        ];
        let plan = BindOptions::new().plan(settings).unwrap();
        let diff = plan.replan(&now()).unwrap().diff(&open);
        let pending = ChangeKind::Pending;
        let expected = [ChangeKind::Kept, ChangeKind::Added, pending, pending];
        assert_eq!(kinds(diff.changes()), expected);
    });
}

/// bind(2) takes an address of another interface than the device, and with `freebind` one that no
/// interface has.
#[test]
fn what_can_be_bound_is_not_pending() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = [
            Setting::from("127.0.0.1:5000"),
            Setting::from("-10.0.0.1:5001").device("far0"),
            Setting::from("-198.51.100.1:5002").freebind(true),
            Setting::from("-[fe80::99%eth0]:5003").freebind(true),
        ];
        let options = BindOptions::new();
        let mut open = options.bind("127.0.0.1:5000").unwrap();
        let plan = options.plan(settings).unwrap().replan(&now()).unwrap();
        let diff = plan.diff(&open);
        let added = ChangeKind::Added;
        let found = kinds(diff.changes());
        assert_eq!(found, [ChangeKind::Kept, added, added, added]);
        let update = plan.apply(&mut open, Apply::BestEffort).unwrap();
        assert_eq!((update.opened().len(), update.errors().len()), (3, 0));
    });
}

#[test]
fn sockets_of_other_settings_are_kept() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let mut server = Server::start(["127.0.0.1:5001", "ipv4@eth0:5000"]);
        ip("addr del 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.0.2/24 dev eth0");
        assert!(
            server
                .look()
                .iter()
                .all(|change| change.position().index() == 1)
        );
        server.follow();
        assert!(connects(addr("10.0.0.2:5000")) && connects(addr("127.0.0.1:5001")));
        ip("addr add 10.0.0.1/24 dev eth0");
        assert_eq!(server.news(), ["1: 10.0.0.1:5000 on eth0 can be bound now"]);
        ip("addr del 10.0.0.2/24 dev eth0");
        let changes = server.look();
        assert_eq!(
            (changes[0].kind(), changes[0].position().index()),
            (ChangeKind::Removed, 1),
            "as it was opened for that one"
        );
    });
}

#[test]
fn name_in_dns_is_not_looked_up_again() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 10.0.1.1/24 dev far0");
        let options = BindOptions::new().lookup_with(|_| Ok(vec![parse_ip("10.0.0.1")]));
        let mut server = Server::with(&options, ["www.example.org:5000", "ipv4@far0:5001"]);
        assert_eq!(server.news(), [""; 0]);
        ip("addr del 10.0.1.1/24 dev far0");
        ip("addr flush dev far0"); // so that no interface with an address has this name
        assert_eq!(kinds(&server.look()), [ChangeKind::Removed]);
        ip("addr add 10.0.1.2/24 dev far0");
        server.look();
        server.follow();
        assert_eq!(server.addrs(), ["10.0.0.1:5000", "10.0.1.2:5001"]);
    });
}

#[test]
fn address_of_two_settings_is_one_socket() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = ["-10.0.0.5:5000", "10.0.0.1:5000", "10.0.0.0/8:5000"];
        let mut server = Server::start(settings);
        // Two settings name it, and it is opened once.
        ip("addr add 10.0.0.5/24 dev eth0");
        assert_eq!(server.news(), ["2: 10.0.0.5:5000 on eth0 can be bound now"]);
        server.follow();
        ip("addr add 10.0.0.9/24 dev eth0");
        assert_eq!(server.news(), ["2: 10.0.0.9:5000 on eth0 can be bound now"]);
        assert!(
            bindaddr::bind(settings[2]).is_err(),
            "the others are in its way"
        );
        server.follow();
        assert_eq!(server.addrs().len(), 3);

        let mut server = Server::start(["ipv4@eth0:5001", "10.0.0.1:5001"]);
        assert_eq!(
            (server.addrs().len(), server.listeners.duplicates().len()),
            (3, 1)
        );
        ip("addr flush dev eth0");
        ip("addr add 10.0.0.1/24 dev far0");
        server.look();
        server.follow();
        assert_eq!(
            server.addrs(),
            ["10.0.0.1:5001"],
            "the other setting names it"
        );
        assert!(connects(addr("10.0.0.1:5001")));
    });
}

#[test]
fn settings_with_ports_of_their_own_share_nothing() {
    in_namespace(|| {
        link();
        ip("addr add 10.0.0.1/24 dev eth0");
        let settings = [
            "ipv4@eth0:5000",
            "ipv4@eth0:5001",
            "-10.7.0.1:6000-6001",
            "-10.7.0.1:7000-7001",
        ];
        let mut server = Server::start(settings);
        ip("addr add 10.0.0.9/24 dev eth0");
        assert_eq!(
            server.news(),
            [
                "0: 10.0.0.9:5000 on eth0 can be bound now",
                "1: 10.0.0.9:5001 on eth0 can be bound now",
            ],
        );
        ip("addr add 10.7.0.1/24 dev far0");
        let changes = server.look();
        let indexes: Vec<usize> = changes
            .iter()
            .map(|change| change.position().index())
            .collect();
        assert_eq!(indexes, [2, 3]);
        server.follow();
    });
}

#[cfg(feature = "watch")]
mod watch {
    use std::time::{Duration, Instant};

    use bindaddr::Interfaces;
    use bindaddr::update::Watch;

    use crate::util::netns::{in_namespace, ip, ip_batch};

    const NONE: Option<Duration> = Some(Duration::ZERO);

    /// A watch that has seen what follows from new interfaces: the kernel reports a carrier up to a
    /// second late (`net/core/link_watch.c`), and a second later that no other host has an address.
    fn quiet_watch() -> Watch {
        let mut watch = Watch::new().expect("netlink is there");
        let mut is_changed = || watch.wait(Some(Duration::from_secs(2)));
        while is_changed().expect("netlink is there") {}
        watch
    }

    #[test]
    fn watch_wakes_at_each_kind_of_change() {
        in_namespace(|| {
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
                // Changes that the kernel makes by itself may follow a moment later.
                while watch.wait(Some(Duration::from_millis(200))).unwrap() {}
            }
        });
    }

    #[test]
    fn watch_wakes_at_default_route_change() {
        in_namespace(|| {
            super::link();
            ip("addr add 10.0.0.1/24 dev eth0");
            ip("addr add 10.0.1.1/24 dev far0");
            ip("route add default via 10.0.0.9");
            let mut watch = Watch::new().unwrap();
            let now = || Interfaces::system().unwrap().with_system_default_sources();
            let mut server = super::Server::start("ipv4@_default_:5000");
            assert!(server.look_at(&now()).is_empty());
            ip("route replace default via 10.0.1.9");
            assert!(watch.wait(Some(Duration::from_secs(90))).unwrap());
            let said: Vec<String> = server
                .look_at(&now())
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(
                said,
                [
                    "10.0.1.1:5000 on far0 can be bound now",
                    "the setting no longer includes 10.0.0.1:5000, but its socket is still open",
                ],
            );
            ip("route del default");
            assert!(watch.wait(Some(Duration::from_secs(90))).unwrap());
            assert!(
                server.look_at(&now()).is_empty(),
                "there is nothing to open"
            );
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
    fn watch_handle_wakes_waiter() {
        in_namespace(|| {
            super::link();
            let mut watch = Watch::new().unwrap();
            let waiting = std::thread::spawn(move || watch.wait(Some(Duration::from_secs(90))));
            std::thread::sleep(Duration::from_millis(100));
            ip("addr add 10.0.0.1/24 dev eth0");
            assert!(waiting.join().unwrap().unwrap());
        });
    }

    #[test]
    fn watch_settles_after_burst() {
        in_namespace(|| {
            super::link();
            let mut watch = quiet_watch();
            let mut server = super::Server::start(["127.0.0.1:0", "-10.1.39.15:5000"]);
            // More than the socket's buffer holds, while no thread reads.
            let addrs = (0..10_000).map(|n| format!("10.1.{}.{}/32", n / 256, n % 256));
            let lines: Vec<String> = addrs
                .map(|addr| format!("addr add {addr} dev eth0"))
                .collect();
            let batch = lines.join("\n") + "\n";
            ip_batch(&batch);
            assert!(watch.wait(NONE).unwrap());
            let host = Interfaces::system().unwrap();
            assert_eq!(host.by_name("eth0").unwrap().addrs().len(), 10_000 + 1);
            let changes = server.look_at(&host);
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert!(!watch.wait(NONE).unwrap(), "all of it was one change");
            ip_batch(&batch.replace("addr add", "addr del"));
            assert!(watch.wait(NONE).unwrap());
            let host = Interfaces::system().unwrap();
            assert_eq!(host.by_name("eth0").unwrap().addrs().len(), 1);
        });
    }
}
