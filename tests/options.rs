//! Options that are set on each socket, asked of the sockets and of their connections.
#![cfg(target_os = "linux")]

mod util;

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bindaddr::update::Apply;
use bindaddr::{BindOptions, Cause, ListenAddr, Listeners};
use socket2::{Protocol, SockRef};
use util::netns::{in_namespace, set};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn before_bind_sets_any_option() {
    in_namespace(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let options = BindOptions::new().before_bind(move |socket| {
            counted.fetch_add(1, Ordering::Relaxed);
            assert_eq!(socket.addr().port(), 5000);
            let socket = SockRef::from(socket);
            assert_eq!(
                socket.local_addr()?.as_socket().map(|addr| addr.port()),
                Some(0)
            );
            socket.set_recv_buffer_size(12_345)
        });
        // One literal, a list, UDP.
        for text in ["127.0.0.1:5000", "localhost:5000"] {
            for listener in options.bind(text).unwrap() {
                let socket = SockRef::from(listener.as_std());
                assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 12_345);
            }
        }
        let udp = options.bind_udp("127.0.0.1:5000").unwrap();
        assert_eq!(
            SockRef::from(udp[0].as_std()).recv_buffer_size().unwrap(),
            2 * 12_345
        );
        assert_eq!(calls.load(Ordering::Relaxed), 4);
        assert!(options.check("127.0.0.1:5000").is_ok());
        assert_eq!(calls.load(Ordering::Relaxed), 5);
    });
}

#[test]
fn before_bind_fails_with_its_own_error() {
    in_namespace(|| {
        let options =
            BindOptions::new().before_bind(|_| Err(io::Error::other("no mark for this socket")));
        let err = options.bind("127.0.0.1:5000").unwrap_err();
        assert_eq!(
            err.to_string(),
            "cannot listen on 127.0.0.1:5000: setting the option `before_bind` failed: no mark for this socket"
        );
        let source = std::error::Error::source(&err).expect("that of the callback");
        assert_eq!(source.to_string(), "no mark for this socket");
        let check = options.check("127.0.0.1:5000");
        assert!(matches!(
            check.settings()[0].causes().next(),
            Some(Cause::Other { .. })
        ));
    });
}

#[test]
fn before_bind_cannot_widen() {
    in_namespace(|| {
        let both = BindOptions::new()
            .only_v6(true)
            .before_bind(|socket| SockRef::from(socket).set_only_v6(false));
        let device = |options: BindOptions, name: Option<&'static str>| {
            options.before_bind(move |socket| {
                SockRef::from(socket).bind_device(name.map(str::as_bytes))
            })
        };
        let on_lo = || BindOptions::new().device("lo");
        for (options, text) in [
            (both, "[::]:5000"),
            (device(on_lo(), None), "0.0.0.0:5000"),
            (device(BindOptions::new(), Some("lo")), "0.0.0.0:5000"),
            // By it a socket shares its port with others.
            (
                BindOptions::new().before_bind(|socket| SockRef::from(socket).set_reuse_port(true)),
                "0.0.0.0:5000",
            ),
        ] {
            let err = options.bind(text).unwrap_err();
            let source = std::error::Error::source(&err).expect("what it has changed");
            assert!(
                source.to_string().starts_with("the callback has changed "),
                "{source}"
            );
            assert!(!options.check(text).is_ok());
        }
        assert!(device(on_lo(), Some("lo")).bind("0.0.0.0:5000").is_ok());
    });
}

#[test]
fn connections_inherit_nodelay_and_keepalive() {
    in_namespace(|| {
        let options = BindOptions::new()
            .nodelay(true)
            .keepalive(Duration::from_secs(77));
        for text in ["127.0.0.1:5000", "[::1]:5000, 127.0.0.2:5000"] {
            for listener in options.bind(text).unwrap() {
                let _client = TcpStream::connect(listener.local_addr()).unwrap();
                let (stream, _) = listener.as_std().accept().unwrap();
                let socket = SockRef::from(&stream);
                assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
                let idle = socket.tcp_keepalive_time().unwrap();
                assert_eq!(idle, Duration::from_secs(77));
            }
        }
        options.bind_udp("127.0.0.1:5000").unwrap();
    });
}

#[test]
fn mptcp_is_the_protocol_or_an_error() {
    in_namespace(|| {
        let options = BindOptions::new().mptcp(true);
        let is_supported = std::fs::exists("/proc/sys/net/mptcp/enabled").unwrap();
        if is_supported {
            let open = options.bind("127.0.0.1:5000").unwrap();
            let protocol = SockRef::from(open[0].as_std()).protocol().unwrap();
            assert_eq!(protocol, Some(Protocol::MPTCP));
            TcpStream::connect("127.0.0.1:5000").expect("by TCP");
            set("net/mptcp/enabled", "0");
        } else {
            eprintln!("this kernel has no MPTCP");
        }
        let err = options.bind("127.0.0.1:5001").unwrap_err();
        assert_eq!(err.cause().name(), "unsupported-option", "{err}");
        options.bind_udp("127.0.0.1:5001").unwrap();
    });
}

#[test]
fn split_families_report_ipv4_peers_as_ipv4() {
    in_namespace(|| {
        let options = BindOptions::new().split_families(true);
        for text in ["*:5000", "5000", "[::]:5000"] {
            let open = options.bind(text).unwrap();
            let addrs: Vec<SocketAddr> = open.iter().map(bindaddr::Listener::local_addr).collect();
            assert_eq!(addrs, ["0.0.0.0:5000", "[::]:5000"].map(addr), "{text}");
            let _client = TcpStream::connect("127.0.0.1:5000").unwrap();
            assert!(open[0].as_std().accept().unwrap().1.is_ipv4());
            let _client = TcpStream::connect("[::1]:5000").unwrap();
            assert!(open[1].as_std().accept().unwrap().1.is_ipv6());
            assert!(options.plan(text).unwrap().diff(&open).is_empty());
        }
        for text in ["0.0.0.0:5000", "ipv6@*:5000", "ipv4@*:5000"] {
            assert_eq!(options.bind(text).unwrap().len(), 1, "{text}");
        }
        assert_eq!(options.only_v6(true).bind("[::]:5000").unwrap().len(), 1);
        // One port for both.
        let options = BindOptions::new().split_families(true);
        let open = options.bind("*:0").unwrap();
        assert_eq!((open.len(), open.port().is_some()), (2, true));
    });
}

#[test]
fn bind_waits_for_port_on_request() {
    in_namespace(|| {
        let old = TcpListener::bind("127.0.0.1:5000").unwrap();
        let waiting = BindOptions::new().wait(Duration::from_secs(60));
        let begun = Instant::now();
        let err = waiting.bind("127.0.0.1:5000").unwrap_err();
        assert_eq!(err.cause().name(), "in-use");
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it does not wait"
        );
        let attempts = Arc::new(AtomicUsize::new(0));
        let (seen, held) = (attempts.clone(), std::sync::Mutex::new(Some(old)));
        let waiting = waiting.wait_for_port(true).on_wait(move |progress| {
            assert_eq!(progress.error().cause().name(), "in-use");
            // The old server ends after the third attempt.
            if seen.fetch_add(1, Ordering::Relaxed) == 2 {
                held.lock().unwrap().take();
            }
            std::ops::ControlFlow::Continue(())
        });
        waiting.bind("127.0.0.1:5000, 127.0.0.1:5001").unwrap();
        assert_eq!(attempts.load(Ordering::Relaxed), 3);
        // Another cause ends the waiting.
        let begun = Instant::now();
        let _old = TcpListener::bind("127.0.0.1:5000").unwrap();
        let err = waiting.bind("127.0.0.1:5000, 224.0.0.1:5001").unwrap_err();
        assert_eq!(err.errors().count(), 2);
        assert!(begun.elapsed() < Duration::from_secs(30));
    });
}

fn ports(listeners: &Listeners) -> Vec<u16> {
    let ports = listeners.iter().map(|one| one.local_addr().port());
    ports.collect()
}

#[test]
fn one_port_is_shared_by_all_entries() {
    in_namespace(|| {
        let options = BindOptions::new().one_port(true);
        let list = "127.0.0.1:0, 127.0.0.3:5000-5001, localhost:0, 127.0.0.2:0";
        for _ in 0..50 {
            let open = options.bind(list).unwrap();
            let found = ports(&open);
            assert_eq!(found.len(), 4, "127.0.0.1 is listed twice");
            assert_eq!(found[1], 5000);
            assert!(
                found
                    .iter()
                    .enumerate()
                    .all(|(n, port)| n == 1 || *port == found[0])
            );
        }
        // Without it each entry has its own.
        let open = bindaddr::bind("127.0.0.1:0, 127.0.0.2:0").unwrap();
        assert_eq!(open.port(), None);
        // Options that exclude each other on one port are refused.
        let err = options.bind("0.0.0.0:0, 127.0.0.1:0").unwrap_err();
        assert_eq!(err.cause().name(), "conflict");
        assert_eq!(options.bind("0.0.0.0:0, [::]:0").unwrap().len(), 2);
        // An update keeps it, also for an entry that is new.
        for mode in [Apply::AllOrNone, Apply::BestEffort] {
            let mut open = options.bind("127.0.0.1:0, 127.0.0.2:0").unwrap();
            let before = ports(&open)[0];
            let plan = options
                .plan("127.0.0.4:0, 127.0.0.2:0, 127.0.0.1:0")
                .unwrap();
            let update = plan.apply(&mut open, mode).unwrap();
            assert_eq!((update.kept(), ports(&open)), (2, vec![before; 3]));
            assert!(plan.diff(&open).is_empty());
            // All move where another socket has it.
            let _other = TcpListener::bind(("127.0.0.5", before)).unwrap();
            let plan = options.plan("127.0.0.5:0, 127.0.0.1:0").unwrap();
            let result = plan.apply(&mut open, mode);
            if mode == Apply::AllOrNone {
                assert_eq!(result.unwrap().kept(), 0);
                assert!(open.port().is_some_and(|port| port != before));
            }
            // With nothing open, too.
            let mut open = Listeners::default();
            let _ = plan.apply(&mut open, mode).unwrap();
            assert_eq!((open.len(), open.port().is_some()), (2, true));
        }
    });
}

#[test]
fn random_ports_of_a_range_differ() {
    in_namespace(|| {
        let options = BindOptions::new().random_ports(true);
        let found: HashSet<u16> = (0..20)
            .map(|_| ports(&options.bind("127.0.0.1:20000-40000").unwrap())[0])
            .collect();
        assert!(found.len() > 15, "{found:?}");
        // Each is tried.
        let _held = bindaddr::bind("127.0.0.1:5000, 127.0.0.1:5002").unwrap();
        for _ in 0..20 {
            assert_eq!(ports(&options.bind("127.0.0.1:5000-5002").unwrap()), [5001]);
        }
        // The same for a range that is parsed already.
        let range: ListenAddr = "127.0.0.1:5000-5002".parse().unwrap();
        assert_eq!(ports(&bindaddr::bind(&range).unwrap()), [5001]);
        let _all = bindaddr::bind("127.0.0.1:5001").unwrap();
        let err = options.bind("127.0.0.1:5000-5002").unwrap_err();
        assert_eq!(err.cause().name(), "range-in-use");
    });
}

#[test]
fn tcp_and_udp_are_bound_on_the_same_ports() {
    in_namespace(|| {
        let bind = |text: &str| BindOptions::new().plan(text)?.bind_tcp_and_udp();
        for text in [
            "127.0.0.1:5000",
            "localhost:0, 127.0.0.2:0, 127.0.0.3:5000-5003",
            "*:0",
        ] {
            let (tcp, udp) = bind(text).unwrap();
            let addrs: Vec<SocketAddr> = udp.iter().map(bindaddr::Listener::local_addr).collect();
            assert!(
                tcp.iter().map(bindaddr::Listener::local_addr).eq(addrs),
                "{text}"
            );
        }
        // A range goes on where one of the protocols cannot have a port.
        let _tcp = TcpListener::bind("127.0.0.1:5000").unwrap();
        let _udp = std::net::UdpSocket::bind("127.0.0.1:5001").unwrap();
        let (tcp, udp) = bind("127.0.0.1:5000-5002").unwrap();
        assert_eq!((tcp.port(), udp.port()), (Some(5002), Some(5002)));
        // Only that one.
        drop((tcp, udp));
        let (tcp, udp) = bind("127.0.0.1:5000-5002, 127.0.0.4:6000-6002").unwrap();
        assert_eq!(tcp[1].local_addr().port(), 6000);
        drop((tcp, udp));
        // If none is free for both, that is an error, beside another setting as well.
        let _tcp_last = TcpListener::bind("127.0.0.5:5001").unwrap();
        let _udp_first = std::net::UdpSocket::bind("127.0.0.5:5000").unwrap();
        for text in [
            "127.0.0.1:5000-5001",
            "127.0.0.1:5000-5001, 127.0.0.2:80",
            "127.0.0.5:5000-5001",
            "127.0.0.5:5000-5001, 127.0.0.2:80",
        ] {
            let err = bind(text).unwrap_err();
            assert!(err.to_string().contains("5000-5001"), "{err}");
        }
        assert_eq!(bind("127.0.0.1:5000").unwrap_err().cause().name(), "in-use");
        let err = bind("127.0.0.1:5001").unwrap_err();
        assert!(
            err.to_string().contains("UDP") || err.cause().name() == "in-use",
            "{err}"
        );
        // Port 0 finds one that is free for both, where UDP alone would find few.
        set("net/ipv4/ip_local_port_range", "40000 40003");
        let _busy: Vec<TcpListener> = [40000, 40001, 40002]
            .map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap())
            .into();
        // The kernel draws one of four for UDP, and again where TCP cannot have it: up to 16 times,
        // so that a call fails once in a hundred. The other entry has one port only.
        let port = |_| {
            let (tcp, _udp) = bind("127.0.0.2:80, 127.0.0.1:0").ok()?;
            Some(tcp[1].local_addr().port())
        };
        let found: Vec<u16> = (0..40).filter_map(port).collect();
        assert!(found.len() >= 25, "{found:?}");
        assert!(found.iter().all(|port| *port == 40003), "{found:?}");
        // If no port is free for both, that is an error, and nothing stays open.
        let _last = TcpListener::bind(("127.0.0.1", 40003)).unwrap();
        assert_eq!(bind("127.0.0.1:0").unwrap_err().cause().name(), "in-use");
        let err = bind("127.0.0.2:80, 127.0.0.1:40000-40003").unwrap_err();
        assert!(
            err.errors()
                .all(|error| error.text() == "127.0.0.1:40000-40003"),
            "{err}"
        );
        bind("127.0.0.2:80").unwrap();
    });
}

#[test]
fn bound_sockets_listen_later() {
    in_namespace(|| {
        let bound = |text: &str| BindOptions::new().plan(text)?.bind_without_listening();
        let sockets = bound("127.0.0.1:80, [::1]:80, -198.51.100.1:80").unwrap();
        assert_eq!(
            sockets.local_addrs(),
            ["127.0.0.1:80", "[::1]:80"].map(addr)
        );
        assert_eq!(format!("{sockets:?}"), "Bound([127.0.0.1:80, [::1]:80])");
        assert!(TcpStream::connect("127.0.0.1:80").is_err());
        let open = sockets.listen().unwrap();
        assert_eq!((open.len(), open.skipped().len()), (2, 1));
        TcpStream::connect("[::1]:80").unwrap();
        // Another server was faster, and none of them listens.
        let sockets = bound("127.0.0.1:81, 127.0.0.1:82").unwrap();
        let _other = TcpListener::bind("127.0.0.1:82").unwrap();
        let err = sockets.listen().unwrap_err();
        assert_eq!(
            err.to_string(),
            "cannot listen on 1 of 2 addresses: 127.0.0.1:82: port 82 is in use: this process \
             listens on 127.0.0.1"
        );
        assert!(TcpStream::connect("127.0.0.1:81").is_err());
        assert_eq!(bound("127.0.0.1:82").unwrap_err().cause().name(), "in-use");
        assert_eq!(
            bound("198.51.100.1:80").unwrap_err().cause().name(),
            "not-on-this-host"
        );
    });
}
