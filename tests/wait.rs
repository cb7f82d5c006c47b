//! Waiting for what is not there yet, in namespaces where it comes later.
#![cfg(target_os = "linux")]

mod util;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bindaddr::plan::Setting;
use bindaddr::{BindError, BindOptions, Cause, Listeners, bind};
use socket2::{Domain, Socket, Type};
use util::netns::{in_namespace, ip, set};

const LONG: Duration = Duration::from_secs(30);

fn cable() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
}

/// Waits for `text` while `change` happens 300 ms later, and returns how long after a plain
/// bind of `addr` would have worked it was bound.
#[track_caller]
fn lag(text: &'static str, addr: &str, change: impl FnOnce()) -> Duration {
    assert!(bind(text).is_err(), "{text} is not there yet");
    let waiter = thread::spawn(move || {
        let bound = BindOptions::new().wait(LONG).bind(text);
        (bound.map(drop), Instant::now())
    });
    thread::sleep(Duration::from_millis(300));
    assert!(!waiter.is_finished(), "it waits");
    change();
    let addr: SocketAddr = addr.parse().expect("an address");
    let usable = loop {
        if TcpListener::bind(addr).is_ok() {
            break Instant::now();
        }
        thread::sleep(Duration::from_millis(1));
    };
    let (bound, at) = waiter.join().expect("it does not panic");
    bound.unwrap_or_else(|err| panic!("{text}: {err}"));
    at.saturating_duration_since(usable)
}

/// Bound by a try of its own and not by the last one: on a machine that is not busy it is 50
/// milliseconds and a try.
#[track_caller]
fn assert_soon(what: &str, lag: Duration) {
    println!("{what}: bound {lag:?} after a plain bind would have worked");
    assert!(lag < LONG / 2, "{what}: {lag:?}");
}

#[test]
fn wait_binds_late_address() {
    in_namespace(|| {
        cable();
        let lag = lag("10.0.0.1:80", "10.0.0.1:0", || {
            ip("addr add 10.0.0.1/24 dev eth0");
        });
        assert_soon("an address", lag);
    });
}

#[test]
fn wait_binds_late_interface() {
    in_namespace(|| {
        let lag = lag("ipv4@eth0:80", "10.0.0.1:0", || {
            cable();
            ip("addr add 10.0.0.1/24 dev eth0");
        });
        assert_soon("an interface", lag);
    });
}

#[test]
fn wait_binds_tentative_address_when_usable() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        set("net/ipv6/conf/default/dad_transmits", "4"); // seconds, for a slow caller
        cable();
        ip("addr add 2001:db8::1/64 dev eth0");
        let lag = lag("[2001:db8::1]:80", "[2001:db8::1]:0", || {});
        assert_soon("a tentative address", lag);
    });
}

#[test]
fn wait_outlasts_lingering_connections() {
    in_namespace(|| {
        // A server that does not set SO_REUSEADDR, and is gone.
        let addr: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let server = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        server.bind(&addr.into()).unwrap();
        server.listen(1).unwrap();
        let client = TcpStream::connect(addr).unwrap();
        let (accepted, _) = server.accept().unwrap();
        drop(server);
        let waiter = thread::spawn(|| BindOptions::new().wait(LONG).bind("127.0.0.1:80").map(drop));
        thread::sleep(Duration::from_millis(200));
        assert!(!waiter.is_finished(), "it waits");
        // The side that closes last has nothing in TIME_WAIT.
        drop(client);
        thread::sleep(Duration::from_millis(50));
        drop(accepted);
        waiter.join().unwrap().unwrap();
    });
}

/// Binds with a long wait what fails, and returns how long that took.
#[track_caller]
fn fails_at_once(text: &str) -> BindError {
    let begun = Instant::now();
    let err = BindOptions::new().wait(LONG).bind(text).expect_err(text);
    assert!(begun.elapsed() < LONG / 2, "{text} was waited for");
    err
}

#[test]
fn wait_fails_at_once_on_permanent_error() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        let held = bind("0.0.0.0:80").unwrap();
        assert!(matches!(
            fails_at_once("127.0.0.1:80").cause(),
            Cause::InUse { .. }
        ));
        // The address may come, but the port is another server's anyway.
        let err = fails_at_once("10.0.0.2:80");
        assert!(matches!(err.cause(), Cause::NotOnThisHost(_)), "{err:?}");
        for text in [
            "224.0.0.1:80",
            "10.0.0.255:80",
            "0.1.2.3:8080",
            "127.0.0.1",
            ":80",
        ] {
            fails_at_once(text);
        }
        let begun = Instant::now();
        let conflict = BindOptions::new()
            .wait(LONG)
            .bind(["0.0.0.0:81", "10.0.0.1:81"]);
        assert!(conflict.is_err() && begun.elapsed() < LONG / 2);
        drop(held);
    });
}

#[test]
fn wait_opens_no_socket_repeatedly() {
    in_namespace(|| {
        cable();
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = stopped.clone();
        let client = thread::spawn(move || {
            let to: SocketAddr = "127.0.0.1:80".parse().unwrap();
            let mut got_in = 0;
            let mut was_open = false;
            while !seen.load(Ordering::Relaxed) {
                let is_open = TcpStream::connect(to).is_ok();
                got_in += usize::from(is_open && !was_open);
                was_open = is_open;
            }
            got_in
        });
        // Each has options of its own.
        let settings =
            ["127.0.0.1:80", "10.0.0.1:80"].map(|text| Setting::from(text).freebind(false));
        let device = Setting::from("0.0.0.0:81").device("eth9");
        let options = BindOptions::new().wait(Duration::from_millis(600));
        options
            .bind([settings[0].clone(), settings[1].clone(), device])
            .unwrap_err();
        stopped.store(true, Ordering::Relaxed);
        let got_in = client.join().unwrap();
        // The first try, the last one, and on a slow machine one between them.
        assert!(got_in <= 3, "{got_in} times");
    });
}

#[test]
fn wait_looks_up_name_once_a_second() {
    let asked = Arc::new(AtomicUsize::new(0));
    let seen = asked.clone();
    let options = BindOptions::new().lookup_with(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Err(std::io::Error::other("no such name"))
    });
    let options = options.wait(Duration::from_millis(1300));
    options.bind("db.internal:80").unwrap_err();
    let asked = asked.load(Ordering::Relaxed);
    assert!((2..=4).contains(&asked), "{asked}");
}

#[test]
fn wait_limits_lookups_of_resolved_name() {
    in_namespace(|| {
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = asked.clone();
        let options = BindOptions::new().lookup_with(move |name| {
            seen.fetch_add(usize::from(name == "db.internal"), Ordering::Relaxed);
            match name {
                "db.internal" => Ok(vec![[127, 0, 0, 1].into()]),
                _ => Err(std::io::Error::other("no such name")),
            }
        });
        let options = options.wait(Duration::from_millis(1300));
        for missing in ["ipv4@eth0:81", "eth9.internal:81"] {
            options.bind(["db.internal:80", missing]).unwrap_err();
        }
        let asked = asked.load(Ordering::Relaxed);
        assert!((4..=8).contains(&asked), "{asked}");
    });
}

#[test]
fn wait_reports_progress_and_ends() {
    in_namespace(|| {
        type Told = Arc<Mutex<Vec<(String, Duration, Duration)>>>;
        let message: Told = Arc::default();
        let seen = message.clone();
        // A slow machine, too, makes several attempts in this time.
        let timeout = Duration::from_secs(3);
        let options = BindOptions::new().wait(timeout).on_wait(move |waiting| {
            let entry = (
                waiting.error().to_string(),
                waiting.waited(),
                waiting.left(),
            );
            seen.lock().unwrap().push(entry);
            ControlFlow::Continue(())
        });
        let begun = Instant::now();
        let err = options.bind("10.0.0.1:80").unwrap_err();
        assert!(begun.elapsed() >= timeout);
        let message = message.lock().unwrap();
        assert!((3..=100).contains(&message.len()), "{}", message.len());
        for (sentence, waited, left) in message.iter() {
            assert_eq!(*sentence, err.to_string());
            assert!(*waited + *left >= timeout);
        }
        assert!(message.windows(2).all(|pair| pair[0].1 < pair[1].1));

        let begun = Instant::now();
        let cancelled = BindOptions::new()
            .wait(LONG)
            .on_wait(|_| ControlFlow::Break(()));
        let results: [Result<Listeners, BindError>; 2] = [
            cancelled.bind("10.0.0.1:80"),
            cancelled.bind(["10.0.0.1:80", "127.0.0.1:80"]),
        ];
        assert!(results.iter().all(Result::is_err));
        assert!(cancelled.bind_udp("10.0.0.1:80").is_err());
        assert!(cancelled.bind_udp(["eth9:80"]).is_err());
        assert!(begun.elapsed() < LONG / 2, "it was cancelled");
        bind("127.0.0.1:80").expect("nothing is left open");
    });
}
