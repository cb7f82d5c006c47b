//! Faults around a bind, and many at once: descriptors that run out, signals, interfaces that
//! come and go, and many threads. Nothing is lost, nothing hangs, and no cause is a wrong one.
#![cfg(target_os = "linux")]

mod util;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bindaddr::check::CheckedSetting;
use bindaddr::target::ResolveErrorKind;
use bindaddr::update::Apply;
use bindaddr::{BindOptions, BindTarget, Cause, Interfaces, Listeners, bind, check};
use util::netns::{in_namespace, ip};
use util::{rerun, strace};

const EMFILE: i32 = 24;

/// An interface `eth0` with a cable and addresses.
fn cable() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
    ip("addr add 192.168.71.67/16 dev eth0");
    ip("addr add 2001:db8:1::10/64 dev eth0");
}

/// The open descriptors of this process.
fn open_files() -> Vec<PathBuf> {
    let dir = fs::read_dir("/proc/self/fd").expect("a descriptor is free");
    let files = dir.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files
}

/// Asserts that what is open besides `before` goes: threads that have ended may be on their way.
#[track_caller]
fn assert_none_leaks(before: &[PathBuf]) {
    let begun = Instant::now();
    while open_files() != before && begun.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(open_files(), before);
}

/// Takes all descriptors but `free`.
fn all_files_but(free: usize) -> Vec<File> {
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files.truncate(files.len().saturating_sub(free));
    files
}

/// A process that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn missing_descriptors_at_each_step_are_errors() {
    const TEST: &str = "missing_descriptors_at_each_step_are_errors";
    if rerun::role().as_deref() != Some("limited") {
        return in_namespace(|| {
            cable();
            rerun::run(TEST, "limited", &["prlimit", "--nofile=64:64", "--"]);
        });
    }
    let held = TcpListener::bind("127.0.0.1:81").unwrap();
    let before = open_files();
    // The names of the causes that are right where a descriptor is left for the socket.
    let settings: [(&[&str], &[&str]); 7] = [
        (&["127.0.0.1:0"], &[]),
        (&["localhost:0"], &[]),
        (&["*:8000-8010"], &[]),
        (&["eth0:0"], &[]),
        (&["127.0.0.1:81"], &["in-use"]),
        (
            &["198.51.100.1:0"],
            &["not-on-this-host", "address-unavailable"],
        ),
        (&["-198.51.100.1:0", "192.168.71.67:0", "[::1]:0"], &[]),
    ];
    for (texts, refused) in settings {
        let mut outcomes = Vec::new();
        for free in 0..16 {
            let files = all_files_but(free);
            let bound = bind(texts);
            let checked = check(texts);
            drop(files);
            match &bound {
                Ok(listeners) => assert!(!listeners.as_slice().is_empty(), "{texts:?}"),
                Err(err) => match err.cause() {
                    Cause::TooManyOpenFiles { .. } => {
                        assert_eq!(err.raw_os_error(), Some(EMFILE), "{err:?}");
                        assert!(err.is_transient(), "{err:?}");
                    }
                    // The interfaces are read for what is named by them.
                    Cause::Unresolved(ResolveErrorKind::InterfacesUnreadable(_)) => {
                        assert_eq!(err.raw_os_error(), Some(EMFILE), "{err:?}");
                    }
                    cause => assert!(refused.contains(&cause.name()), "{texts:?}: {err:?}"),
                },
            }
            let problems = checked.settings().iter().flat_map(CheckedSetting::causes);
            for problem in problems {
                match problem {
                    Cause::TooManyOpenFiles { .. }
                    | Cause::Unresolved(ResolveErrorKind::InterfacesUnreadable(_)) => {}
                    cause => assert!(refused.contains(&cause.name()), "{texts:?}: {checked}"),
                }
            }
            outcomes.push(bound.map(drop).map_err(|err| err.cause().name()));
            assert_eq!(open_files(), before, "{texts:?} with {free} left");
        }
        let files = all_files_but(0);
        let err = BindTarget::parse("eth0").unwrap_err();
        // Settings that are the same on every host do not need its interfaces.
        for text in ["*", "0.0.0.0", "127.0.0.2", "localhost"] {
            BindTarget::parse(text).unwrap();
        }
        drop(files);
        assert!(BindTarget::parse("192.168.71.67").unwrap().is_local());
        let source = err.source().and_then(|err| err.downcast_ref::<io::Error>());
        assert_eq!(source.and_then(io::Error::raw_os_error), Some(EMFILE));
        // With none left it cannot be done, and with enough it is as ever.
        assert!(outcomes[0].is_err(), "{texts:?}");
        let last = outcomes.pop();
        assert_eq!(
            last,
            Some(refused.first().map_or(Ok(()), |cause| Err(*cause)))
        );
    }
    drop(held);
    rerun::done();
}

/// The system calls of an update, each with an error that it may have.
const CALLS_OF_UPDATES: [(&str, &str); 12] = [
    ("socket", "EMFILE"),
    ("setsockopt", "ENOMEM"),
    ("getsockopt", "ENOMEM"),
    ("bind", "EADDRINUSE"),
    ("listen", "EADDRINUSE"),
    ("getsockname", "ENOBUFS"),
    ("shutdown", "ENOBUFS"),
    ("accept4", "EMFILE"),
    ("fcntl", "EMFILE"),
    ("ioctl", "ENOMEM"),
    ("statx", "EIO"),
    ("recvfrom,recvmsg,sendto", "ENOBUFS"),
];

/// Whichever system call of an update fails: what was open before and is not replaced accepts
/// clients, and what it says is open is.
#[test]
fn failing_syscalls_of_update_keep_sockets() {
    const TEST: &str = "failing_syscalls_of_update_keep_sockets";
    if let Some(role) = rerun::role().filter(|role| role.starts_with("update")) {
        update_under_faults(&role);
        return rerun::done();
    }
    if rerun::role().is_none() && !strace::is_there_for(TEST) {
        return;
    }
    in_namespace(|| {
        let trace = std::env::temp_dir().join(format!("bindaddr-calls-{}", std::process::id()));
        let mut runs = 0;
        for role in ["update", "update-best-effort", "update-other-owner"] {
            let path = trace.to_str().unwrap();
            rerun::run(TEST, role, &["strace", "-f", "-qq", "-o", path, "--"]);
            let text = fs::read_to_string(&trace).unwrap();
            for (names, error) in CALLS_OF_UPDATES {
                for name in names.split(',') {
                    let call = format!(" {name}(");
                    let count = text.lines().filter(|line| line.contains(&call)).count();
                    // The last ones are those of the test itself.
                    for n in 1..=count {
                        let inject = format!("inject={name}:error={error}:when={n}");
                        let wrapper = [
                            "strace",
                            "-f",
                            "-qq",
                            "-o",
                            "/dev/null",
                            "-e",
                            &inject,
                            "--",
                        ];
                        rerun::run(TEST, role, &wrapper);
                        runs += 1;
                    }
                }
            }
        }
        fs::remove_file(trace).unwrap();
        println!("{runs} runs");
        assert!(runs > 100, "{runs}");
    });
}

/// Updates listeners, which may fail, and asserts that what should be open is.
fn update_under_faults(role: &str) {
    let options = BindOptions::new();
    // A call that fails before the update does not affect it.
    let Ok(mut open) = options.bind("127.0.0.1:5000, 127.0.0.2:6000, 127.0.0.4:5000") else {
        return;
    };
    let Ok(plan) = options.plan("0.0.0.0:5000, 127.0.0.1:7000, 127.0.0.2:6000, 127.0.0.3:0") else {
        return;
    };
    if role == "update-other-owner" {
        let given = std::os::unix::fs::fchown(open[0].as_std(), Some(65534), None);
        if given.is_err() {
            return rerun::skip(role, "not root", "BINDADDR_REQUIRE_USERS");
        }
    }
    let before: Vec<_> = open.iter().map(bindaddr::Listener::local_addr).collect();
    let mode = match role {
        "update-best-effort" => Apply::BestEffort,
        _ => Apply::AllOrNone,
    };
    let result = plan.apply(&mut open, mode);
    let after: Vec<_> = open.iter().map(bindaddr::Listener::local_addr).collect();
    match result {
        Ok(update) => {
            assert!(after.contains(&before[1]), "it is kept: {update}");
            assert_eq!(after.len(), update.kept() + update.opened().len());
            if mode == Apply::AllOrNone {
                assert_eq!(after.len(), 4);
            }
        }
        Err(error) => {
            assert_eq!(mode, Apply::AllOrNone, "{error}");
            assert_eq!(after, before, "{error}");
        }
    }
    for listener in &open {
        let mut addr = listener.local_addr();
        if addr.ip().is_unspecified() {
            addr.set_ip([127, 0, 0, 1].into());
        }
        // A call of the test itself may be the one that fails.
        let is_served = || -> io::Result<bool> {
            let client = std::net::TcpStream::connect(addr)?;
            listener.as_std().set_nonblocking(true)?;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(20) {
                match listener.as_std().accept() {
                    Ok((_, peer)) if peer == client.local_addr()? => return Ok(true),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        thread::sleep(Duration::from_millis(1));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(false)
        };
        let served = is_served().or_else(|_| is_served());
        assert!(served.expect("one of two"), "{addr}, of {open}");
    }
}

#[test]
fn signals_do_not_interrupt_bind() {
    in_namespace(|| {
        cable();
        let held = bind("127.0.0.1:80").unwrap();
        let came = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(libc::SIGUSR1, Arc::clone(&came)).unwrap();
        // PID/task/TID: kill(2) prefers the thread whose number it is given.
        let thread = fs::read_link("/proc/thread-self").unwrap();
        let thread = thread.file_name().unwrap().to_owned();
        let mut perl = Command::new("perl");
        perl.args(["-e", "while (1) { kill 'USR1', $ARGV[0]; }"])
            .arg(thread);
        let sender = Running(perl.spawn().expect("perl is installed"));
        let mut interrupted = 0;
        while interrupted < 200 {
            came.store(false, Ordering::Relaxed);
            let host = Interfaces::system().unwrap();
            assert_eq!(host.iter().count(), 3);
            assert_eq!(bind("eth0:0").unwrap().as_slice().len(), 3);
            let err = bind("127.0.0.1:80").unwrap_err();
            let Cause::InUse { holders, .. } = err.cause() else {
                panic!("{err:?}");
            };
            assert!(holders[0].is_this_process(), "{err}");
            let err = bind("192.168.158.94:0").unwrap_err();
            assert!(matches!(err.cause(), Cause::NotOnThisHost(_)), "{err:?}");
            interrupted += usize::from(came.load(Ordering::Relaxed));
        }
        drop((sender, held));
    });
}

#[test]
fn flapping_interfaces_yield_clear_errors() {
    in_namespace(|| {
        cable();
        // Each address goes and comes back, and now and then the interface goes down.
        let mut flaps = String::new();
        for n in 0..16 {
            let which = ["192.168.71.67/16", "2001:db8:1::10/64"][n % 2];
            for change in ["addr del", "addr add"] {
                flaps.extend([change, " ", which, " dev eth0\n"]);
            }
            if n % 8 == 0 {
                flaps.push_str("link set eth0 down\nlink set eth0 up\n");
            }
        }
        let mut command = Command::new("ip");
        command
            .args(["-force", "-batch", "-"])
            .stdin(Stdio::piped());
        command.stderr(Stdio::null());
        let mut flapping = Running(command.spawn().expect("iproute2 is installed"));
        let mut orders = flapping.0.stdin.take().expect("it is piped");
        thread::spawn(move || while orders.write_all(flaps.as_bytes()).is_ok() {});

        // The causes that an address can have that is not there at the moment, or not yet ready.
        let right = [
            "not-on-this-host",
            "became-available",
            "gone",
            "unresolved",
            "interface-down",
            "no-carrier",
            "tentative",
            // An IPv6 address has such moments between being added and being usable.
            "not-ready",
        ];
        let mut outcomes = BTreeMap::new();
        for n in 0..1000 {
            let text = ["192.168.71.67:0", "[2001:db8:1::10]:0", "eth0:0", "*:0"][n % 4];
            let bound = bind(text);
            let outcome = match &bound {
                Ok(listeners) => {
                    for listener in listeners {
                        assert!(listener.local_addr().port() != 0);
                    }
                    "bound"
                }
                Err(err) => {
                    assert!(n % 4 != 3, "the wildcard is always there: {err}");
                    err.cause().name()
                }
            };
            *outcomes.entry(outcome).or_insert(0) += 1;
            assert!(
                outcome == "bound" || right.contains(&outcome),
                "{text}: {:?}",
                bound.map(drop)
            );
        }
        assert!(
            flapping.0.try_wait().unwrap().is_none(),
            "it flapped all the time"
        );
        assert!(outcomes.len() > 2, "{outcomes:?}");
    });
}

#[test]
fn ten_thousand_listeners_leak_nothing() {
    const TEST: &str = "ten_thousand_listeners_leak_nothing";
    if rerun::role().as_deref() != Some("unlimited") {
        return in_namespace(|| {
            rerun::run(
                TEST,
                "unlimited",
                &["prlimit", "--nofile=12000:12000", "--"],
            );
        });
    }
    let before = open_files();
    let held: Vec<Listeners> = (0..10_000).map(|_| bind("127.0.0.1:0").unwrap()).collect();
    assert_eq!(open_files().len(), before.len() + 10_000);
    let taken = held[5_000].as_slice()[0].local_addr();
    let err = bind(["127.0.0.1:0".to_owned(), taken.to_string()]).unwrap_err();
    assert!(matches!(err.cause(), Cause::InUse { .. }), "{err:?}");
    assert_eq!(open_files().len(), before.len() + 10_000);
    drop(held);
    assert_eq!(open_files(), before);
    rerun::done();
}

#[test]
fn concurrent_binds_and_snapshots_succeed() {
    in_namespace(|| {
        cable();
        let host = Interfaces::system().unwrap();
        let own: IpAddr = [192, 168, 71, 67].into();
        let before = open_files();
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        // One snapshot for all, and one of its own.
                        let target = BindTarget::classify(own, &host);
                        assert!(target.is_local());
                        let listeners = bind((&target, 0)).unwrap();
                        let addr = listeners.as_slice()[0].local_addr();
                        assert_eq!(
                            Interfaces::system().unwrap().iter().count(),
                            host.iter().count()
                        );
                        let err = bind(addr).unwrap_err();
                        let Cause::InUse { holders, .. } = err.cause() else {
                            panic!("{err:?}");
                        };
                        assert!(holders[0].is_this_process(), "{err}");
                        let foreign = BindOptions::new().bind("192.168.158.94:0").unwrap_err();
                        assert!(matches!(foreign.cause(), Cause::NotOnThisHost(_)));
                        let wildcard = bind("*:0").unwrap();
                        let dials = wildcard.reach(&host);
                        assert!(dials.addrs().iter().any(|dial| dial.addr().ip() == own));
                    }
                });
            }
        });
        assert_none_leaks(&before);
    });
}
