//! `Acceptor` and its `Handle`: one acceptor over all sockets, which change while it is being
//! served.
#![cfg(target_os = "linux")]

mod util;

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use bindaddr::accept::{Acceptor, Handle, HandleError};
use bindaddr::update::Apply;
use bindaddr::{BindOptions, Listeners, Plan};
use futures_core::Stream;
use socket2::{Domain, Socket, Type};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use util::netns::{connects, in_namespace};
use util::sandbox;

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn listen(text: &str) -> Listeners {
    bindaddr::bind(text).expect("free ports")
}

fn plan(text: &str) -> Plan {
    BindOptions::new().plan(text).expect("a plan")
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn client(of: &str) -> TcpStream {
    TcpStream::connect(of).expect("a socket listens")
}

/// Returns `true` if a future is ready when it is polled once.
fn is_ready(future: impl Future) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    pin!(future).poll(&mut cx).is_ready()
}

/// Waits for a connection, a minute at most.
async fn accept(acceptor: &mut Acceptor) -> SocketAddr {
    let accepted = timeout(Duration::from_secs(60), acceptor.accept()).await;
    accepted.expect("a client has connected").1
}

#[test]
fn acceptor_takes_turns() {
    in_namespace(|| {
        runtime().block_on(async {
            let texts = ["127.0.0.1:5000", "127.0.0.2:5000", "[::1]:5000"];
            let mut acceptor = Acceptor::new(listen(&texts.join(", "))).unwrap();
            assert_eq!(acceptor.local_addrs(), texts.map(addr));
            let clients: Vec<TcpStream> = texts
                .iter()
                .flat_map(|text| (0..20).map(|_| client(text)))
                .collect();
            let mut counts = std::collections::BTreeMap::new();
            for n in 1..=clients.len() {
                let (stream, _) = acceptor.accept().await;
                *counts.entry(stream.local_addr().unwrap()).or_insert(0) += 1;
                let (least, most) = (counts.values().min(), counts.values().max());
                // The first poll of a socket may find that it is not known to be ready yet.
                let lead = most.unwrap()
                    - if counts.len() == 3 {
                        *least.unwrap()
                    } else {
                        0
                    };
                assert!(lead <= 2, "after {n}: {counts:?}");
            }
            assert!(counts.values().all(|count| *count == 20), "{counts:?}");
        });
    });
}

#[test]
fn dropped_accept_loses_no_connection() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut acceptor = Acceptor::new(listen("localhost:5000")).unwrap();
            let clients = thread::spawn(|| {
                let texts = ["127.0.0.1:5000", "[::1]:5000"].into_iter().cycle();
                let clients = texts.take(1000).map(client);
                clients.collect::<Vec<TcpStream>>()
            });
            let mut peers = HashSet::new();
            let mut dropped = 0;
            while peers.len() < 1000 {
                // It is dropped as often as it is not ready.
                let mut accept = Box::pin(acceptor.accept());
                let polled = poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx))).await;
                drop(accept);
                match polled {
                    Poll::Ready((_, peer)) => assert!(peers.insert(peer)),
                    Poll::Pending => {
                        dropped += 1;
                        tokio::time::sleep(Duration::from_micros(50)).await;
                    }
                }
            }
            let own = clients.join().unwrap();
            let own: HashSet<SocketAddr> =
                own.iter().map(|one| one.local_addr().unwrap()).collect();
            assert_eq!(peers, own);
            assert!(dropped > 0);
        });
    });
}

#[test]
fn accept_returns_canonical_peers() {
    in_namespace(|| {
        runtime().block_on(async {
            for is_canonical in [true, false] {
                let acceptor = Acceptor::new(listen("*:5000")).unwrap();
                let mut acceptor = acceptor.canonical_peers(is_canonical);
                let _client = client("127.0.0.1:5000");
                assert_eq!(accept(&mut acceptor).await.is_ipv4(), is_canonical);
                let _client = client("[::1]:5000");
                assert!(accept(&mut acceptor).await.is_ipv6());
                // The same for one that was accepted when its socket was closed.
                let _client = client("127.0.0.1:5000");
                let other = plan("127.0.0.1:5001");
                let _ = acceptor
                    .handle()
                    .apply(&other, Apply::AllOrNone)
                    .await
                    .unwrap();
                assert_eq!(accept(&mut acceptor).await.is_ipv4(), is_canonical);
            }
        });
    });
}

#[test]
fn handle_changes_sockets_while_accept_waits() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut acceptor = Acceptor::new(listen("127.0.0.1:5000")).unwrap();
            let handle = acceptor.handle();
            let server = tokio::spawn(async move { accept(&mut acceptor).await });
            tokio::task::yield_now().await;
            let plan = plan("127.0.0.2:5001");
            let update = handle.apply(&plan, Apply::AllOrNone).await.unwrap();
            assert_eq!((update.opened().len(), update.closed().len()), (1, 1));
            assert_eq!(handle.local_addrs(), [addr("127.0.0.2:5001")]);
            let client = client("127.0.0.2:5001");
            assert_eq!(server.await.unwrap(), client.local_addr().unwrap());
        });
    });
}

#[test]
fn handle_changes_sockets_while_nothing_polls() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut acceptor = Acceptor::new(listen("127.0.0.1:5000")).unwrap();
            let handle = acceptor.handle();
            let clients: Vec<TcpStream> = (0..5).map(|_| client("127.0.0.1:5000")).collect();
            let wider = plan("0.0.0.0:5000");
            let _ = handle.apply(&wider, Apply::AllOrNone).await.unwrap();
            // The port that is not planned is free at once.
            let _ = handle
                .apply(&plan("127.0.0.1:5001"), Apply::AllOrNone)
                .await
                .unwrap();
            assert!(!connects(addr("127.0.0.1:5000")));
            let mut peers = HashSet::new();
            for _ in &clients {
                let (stream, peer) = acceptor.accept().await;
                assert_eq!(stream.local_addr().unwrap(), addr("127.0.0.1:5000"));
                assert!(peers.insert(peer));
            }
            assert!(!is_ready(acceptor.accept()));
            // A failure changes nothing.
            let err = handle
                .apply(&plan("198.51.100.1:80"), Apply::AllOrNone)
                .await;
            assert!(matches!(err, Err(HandleError::Bind(_))), "{err:?}");
            assert_eq!(acceptor.local_addrs(), [addr("127.0.0.1:5001")]);
        });
    });
}

/// Gives a listener to another user, as if the server had dropped its privileges since, so that it
/// has to stop for a new one. Returns `false`, and says that the test was skipped, if this user may
/// not.
fn give_away(listeners: &Listeners, test: &str) -> bool {
    let given = std::os::unix::fs::fchown(listeners[0].as_std(), Some(65534), None);
    if given.is_err() {
        util::rerun::skip(test, "not root", "BINDADDR_REQUIRE_USERS");
    }
    given.is_ok()
}

/// A listener that had to stop for an update which failed then goes on, and so do the clients that
/// waited at it.
#[test]
fn failed_update_keeps_waiting_clients() {
    in_namespace(|| {
        let listeners = listen("127.0.0.1:5000");
        if !give_away(&listeners, "failed_update_keeps_waiting_clients") {
            return;
        }
        // It does not listen, so only bind(2) finds it.
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        other.bind(&addr("127.0.0.2:5000").into()).unwrap();
        runtime().block_on(async {
            let mut acceptor = Acceptor::new(listeners).unwrap();
            let waiting = client("127.0.0.1:5000");
            let handle = acceptor.handle();
            let failing = handle.apply(&plan("0.0.0.0:5000"), Apply::AllOrNone).await;
            assert!(matches!(failing.unwrap_err(), HandleError::Bind(_)));
            assert_eq!(accept(&mut acceptor).await, waiting.local_addr().unwrap());
            let late = client("127.0.0.1:5000");
            assert_eq!(accept(&mut acceptor).await, late.local_addr().unwrap());
        });
    });
}

/// The new socket is open, and the runtime does not register it.
#[test]
fn listener_listens_again_if_the_runtime_refuses_the_new_one() {
    in_namespace(|| {
        let listeners = listen("127.0.0.1:5000");
        let test = "listener_listens_again_if_the_runtime_refuses_the_new_one";
        if !give_away(&listeners, test) {
            return;
        }
        runtime().block_on(async {
            let acceptor = Acceptor::new(listeners).unwrap();
            sandbox::refuse_epoll();
            let new = plan("0.0.0.0:5000");
            let failing = acceptor.handle().apply(&new, Apply::AllOrNone).await;
            let err = failing.unwrap_err();
            assert_eq!(
                err.to_string(),
                "cannot listen on 0.0.0.0:5000: registering the socket with the runtime failed: \
                 No space left on device (os error 28)"
            );
            assert_eq!(acceptor.local_addrs(), [addr("127.0.0.1:5000")]);
            assert!(connects(addr("127.0.0.1:5000")));
        });
    });
}

#[test]
fn handle_stop_returns_the_listeners() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut acceptor = Acceptor::new(listen("127.0.0.1:5000")).unwrap();
            let handle = acceptor.handle();
            let waiting = client("127.0.0.1:5000");
            let listeners = handle.stop().unwrap();
            assert!(!is_ready(acceptor.accept()), "it is left in the queue");
            let mut cx = Context::from_waker(Waker::noop());
            assert!(matches!(
                Pin::new(&mut acceptor).poll_next(&mut cx),
                Poll::Ready(None)
            ));
            let (_, peer) = listeners[0].as_std().accept().unwrap();
            assert_eq!(peer, waiting.local_addr().unwrap());
            assert!(matches!(handle.stop(), Err(HandleError::Stopped)));
            let plan = plan("127.0.0.1:5001");
            let err = handle.apply(&plan, Apply::AllOrNone).await.unwrap_err();
            assert_eq!(err.to_string(), "the server has stopped");
            assert!(!connects(addr("127.0.0.1:5001")));
        });
    });
}

#[test]
fn handle_outlives_the_acceptor() {
    in_namespace(|| {
        runtime().block_on(async {
            let acceptor = Acceptor::new(listen("127.0.0.1:5000")).unwrap();
            let handle = acceptor.handle();
            drop(acceptor);
            assert!(!connects(addr("127.0.0.1:5000")));
            assert!(handle.local_addrs().is_empty());
            for mode in [Apply::AllOrNone, Apply::BestEffort] {
                let result = handle.apply(&plan("127.0.0.1:5000"), mode).await;
                assert!(matches!(result, Err(HandleError::Stopped)), "{result:?}");
            }
        });
    });
}

/// Polls the stream of an acceptor.
async fn next(acceptor: &mut Acceptor) -> Option<io::Result<tokio::net::TcpStream>> {
    poll_fn(|cx| Pin::new(&mut *acceptor).poll_next(cx)).await
}

#[test]
fn acceptor_is_a_stream_that_ends_when_it_is_stopped() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut acceptor = Acceptor::new(listen("127.0.0.1:5000")).unwrap();
            let handle = acceptor.handle();
            let _client = client("127.0.0.1:5000");
            assert!(next(&mut acceptor).await.unwrap().is_ok());
            let server = tokio::spawn(async move { next(&mut acceptor).await.is_none() });
            tokio::task::yield_now().await;
            handle.stop().unwrap();
            assert!(server.await.unwrap());
        });
    });
}

#[test]
fn acceptor_recovers_from_missing_descriptors() {
    in_namespace(|| {
        runtime().block_on(async {
            let errors = Arc::new(Mutex::new(Vec::new()));
            let seen = errors.clone();
            let acceptor = Acceptor::new(listen("127.0.0.1:5000, 127.0.0.1:5001")).unwrap();
            let mut acceptor = acceptor.on_error(move |error: &io::Error| {
                seen.lock().unwrap().push(error.raw_os_error());
            });
            let handle = acceptor.handle();
            let waiting = client("127.0.0.1:5000");
            sandbox::limit_descriptors(60);
            let mut files: Vec<std::fs::File> =
                std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
            let pause = Duration::from_millis(300);
            assert!(timeout(pause, acceptor.accept()).await.is_err());
            let count = errors.lock().unwrap().len();
            assert!((1..100).contains(&count), "it pauses: {count}");
            assert_eq!(errors.lock().unwrap()[0], Some(24));
            // Tasks that need no descriptor are done meanwhile.
            let plan = plan("127.0.0.1:5000");
            let update = handle.apply(&plan, Apply::AllOrNone);
            assert_eq!(update.await.unwrap().closed(), [addr("127.0.0.1:5001")]);
            files.clear();
            assert_eq!(accept(&mut acceptor).await, waiting.local_addr().unwrap());
        });
    });
}

/// Connects, and waits until the connection was accepted and closed. Returns `false` if it was reset
/// instead, because the handshake was with a socket that was being closed.
fn is_served(to: &SocketAddr) -> bool {
    let mut stream = match TcpStream::connect(to) {
        Ok(stream) => stream,
        Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return false,
        // It was accepted and closed before connect(2) returned.
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => return true,
        Err(err) => panic!("{err}"),
    };
    let read = |mut stream: &TcpStream, seconds| {
        let timeout = Duration::from_secs(seconds);
        stream.set_read_timeout(Some(timeout)).expect("not zero");
        stream.read(&mut [0])
    };
    let mut end = read(&stream, 1);
    if matches!(&end, Err(err) if err.kind() == io::ErrorKind::WouldBlock) {
        // Linux may drop it with the socket, and resets it when the client sends something.
        let _ = stream.write(b"?");
        end = read(&stream, 60);
    }
    match end {
        Ok(length) => length == 0,
        Err(err) if err.kind() == io::ErrorKind::ConnectionReset => false,
        Err(err) => panic!("it was neither accepted nor reset: {err}"),
    }
}

/// Handles on threads of their own change the sockets, while clients connect to the one that stays.
#[test]
fn updates_from_many_threads_lose_no_connection() {
    in_namespace(|| {
        const THREADS: usize = 4;
        let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        runtime().block_on(async {
            let mut acceptor = Acceptor::new(listen("127.0.0.1:5000")).unwrap();
            let before = files();
            let is_over = Arc::new(AtomicBool::new(false));
            let connected = Arc::new(AtomicUsize::new(0));
            let updating: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let handle: Handle = acceptor.handle();
                    thread::spawn(move || {
                        runtime().block_on(async {
                            for n in 0..2500 {
                                // Among others, moves to an overlapping address and back.
                                let text = match n % 3 {
                                    0 => "0.0.0.0:5000".to_owned(),
                                    1 => format!("127.0.0.1:5000, 127.0.0.2:{}", 6000 + thread),
                                    _ => "127.0.0.1:5000".to_owned(),
                                };
                                let plan = plan(&text);
                                let _ = handle.apply(&plan, Apply::AllOrNone).await.unwrap();
                            }
                        });
                    })
                })
                .collect();
            let connecting: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (over, count) = (is_over.clone(), connected.clone());
                    thread::spawn(move || {
                        while !over.load(Ordering::Relaxed) {
                            let served = is_served(&addr("127.0.0.1:5000"));
                            count.fetch_add(usize::from(served), Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let pause = Duration::from_millis(20);
            while !updating.iter().all(thread::JoinHandle::is_finished) {
                let _ = timeout(pause, acceptor.accept()).await;
            }
            for one in updating {
                one.join().unwrap();
            }
            is_over.store(true, Ordering::Relaxed);
            while !connecting.iter().all(thread::JoinHandle::is_finished) {
                let _ = timeout(pause, acceptor.accept()).await;
            }
            for one in connecting {
                one.join().expect("no client was refused or lost");
            }
            assert!(connected.load(Ordering::Relaxed) > 100);
            let last = plan("127.0.0.1:5000");
            let _ = acceptor
                .handle()
                .apply(&last, Apply::AllOrNone)
                .await
                .unwrap();
            assert_eq!(files(), before, "nothing is left open");
        });
    });
}

#[cfg(feature = "axum")]
#[test]
fn axum_serves_an_acceptor() {
    use std::io::{Read as _, Write as _};

    use axum::Router;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use axum::serve::ListenerExt as _;
    use bindaddr::accept::Peer;

    in_namespace(|| {
        fn ask(text: &str) -> (String, SocketAddr) {
            let mut client = client(text);
            let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            client.write_all(request.as_bytes()).unwrap();
            let peer = client.local_addr().unwrap();
            let mut response = String::new();
            client.read_to_string(&mut response).unwrap();
            (response.lines().last().unwrap().to_owned(), peer)
        }
        runtime().block_on(async {
            let own = get(|ConnectInfo(peer): ConnectInfo<Peer>| async move { peer.to_string() });
            let std =
                get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() });
            let acceptor = Acceptor::new(listen("*:5000, localhost:5001")).unwrap();
            let addrs = acceptor.local_addrs();
            let first = axum::serve::Listener::local_addr(&acceptor).unwrap();
            assert_eq!(first, addrs[0]);
            assert_eq!(format!("{acceptor:?}"), format!("Acceptor({addrs:?})"));
            let handle = acceptor.handle();
            let app = Router::new().route("/", own);
            let app = app.into_make_service_with_connect_info::<Peer>();
            tokio::spawn(axum::serve(acceptor, app).into_future());
            let tapped = Acceptor::new(listen("localhost:5003"))
                .unwrap()
                .tap_io(|_| {});
            let app = Router::new().route("/", std);
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            tokio::spawn(axum::serve(tapped, app).into_future());
            let ask = |text: &'static str| tokio::task::spawn_blocking(move || ask(text));
            for text in [
                "127.0.0.1:5000",
                "[::1]:5000",
                "127.0.0.1:5001",
                "[::1]:5003",
            ] {
                let (body, peer) = ask(text).await.unwrap();
                assert_eq!(body, peer.to_string(), "{text}");
            }
            let plan = plan("*:5000, localhost:5002");
            let _ = handle.apply(&plan, Apply::AllOrNone).await.unwrap();
            let (body, peer) = ask("[::1]:5002").await.unwrap();
            assert_eq!(body, peer.to_string());
        });
    });
}
