//! `apply` against a new `bind`: for random lists, they open the same sockets.

use super::*;

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

/// The operations of one protocol.
struct Kind<S> {
    bind: fn(&Plan) -> Result<Listeners<S>, BindError>,
    check: fn(&Plan, &Listeners<S>) -> bindaddr::check::Check,
    apply: fn(&Plan, &mut Listeners<S>, Apply) -> Result<bindaddr::update::Update, BindError>,
}

fn lists() -> impl Strategy<Value = Vec<Entry>> {
    let host = prop::sample::select(&HOSTS[..]);
    let port = prop::sample::select(&PORTS[..]);
    let device = prop_oneof![8 => Just(None), 1 => Just(Some("eth0")), 1 => Just(Some("lo"))];
    prop::collection::vec((host, port, device), 1..5)
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
