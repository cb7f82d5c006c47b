//! Sockets on a runtime, and waiting without blocking it.

// Namespaces are made as in the library's own tests, of which this uses a part.
#[allow(dead_code)]
#[path = "../../../tests/util/netns.rs"]
mod netns;
#[allow(dead_code)]
#[path = "../../../tests/util/rerun.rs"]
mod rerun;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bindaddr::{BindOptions, Cause};
use netns::{in_namespace, ip};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

#[test]
fn listeners_accept_and_sockets_receive() {
    block_on(async {
        let listeners = bindaddr::bind("localhost:0").unwrap();
        for listener in listeners.into_tokio().unwrap() {
            let addr = listener.local_addr().unwrap();
            let (accepted, client) = tokio::join!(listener.accept(), TcpStream::connect(addr));
            client.unwrap().write_all(b"hello").await.unwrap();
            let mut heard = String::new();
            accepted
                .unwrap()
                .0
                .read_to_string(&mut heard)
                .await
                .unwrap();
            assert_eq!(heard, "hello");
        }
        let sockets = BindOptions::new()
            .bind_udp_async("127.0.0.1:0")
            .await
            .unwrap();
        for socket in sockets.into_tokio().unwrap() {
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client
                .send_to(b"hello", socket.local_addr().unwrap())
                .await
                .unwrap();
            let mut heard = [0; 8];
            assert_eq!(socket.recv(&mut heard).await.unwrap(), 5);
        }
    });
}

/// The waiting futures can be spawned on a multi-threaded runtime.
#[test]
fn wait_futures_are_send() {
    fn assert_send(_: impl Future + Send) {}
    let options = BindOptions::new();
    assert_send(options.bind_async("localhost:0"));
    assert_send(options.bind_udp_async("localhost:0"));
    assert_send(options.bind_async(["localhost:0"]));
    assert_send(options.bind_udp_async(["localhost:0"]));
}

#[test]
fn wait_blocks_no_other_task() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        block_on(async {
            let options = BindOptions::new().wait(Duration::from_secs(20));
            let bound = options.bind_async(["10.0.0.1:5000", "localhost:0"]);
            let others = async {
                // On the only thread there is, while the other waits.
                let begun = Instant::now();
                for _ in 0..20 {
                    sleep(Duration::from_millis(10)).await;
                }
                ip("addr add 10.0.0.1/24 dev eth0");
                begun.elapsed()
            };
            let (bound, elapsed) = tokio::join!(bound, others);
            assert_eq!(bound.unwrap().as_slice().len(), 3);
            assert!(elapsed >= Duration::from_millis(200));
        });
    });
}

#[test]
fn wait_ends_on_timeout_cancellation_or_drop() {
    block_on(async {
        // TEST-NET-2, which no host has.
        let options = BindOptions::new().wait(Duration::from_millis(100));
        let begun = Instant::now();
        let err = options.bind_async("198.51.100.1:0").await.unwrap_err();
        assert!(matches!(err.cause(), Cause::NotOnThisHost(_)), "{err}");
        assert!(begun.elapsed() >= Duration::from_millis(100));

        let long = BindOptions::new().wait(Duration::MAX);
        let message = long.clone().on_wait(|_| ControlFlow::Break(()));
        assert!(message.bind_async("198.51.100.1:0").await.is_err());

        let dropped = timeout(Duration::from_millis(50), long.bind_async("198.51.100.1:0"));
        assert!(dropped.await.is_err());
    });
}

#[test]
fn wait_fails_at_once_on_permanent_errors() {
    block_on(async {
        let options = BindOptions::new().wait(Duration::MAX);
        let held = bindaddr::bind("127.0.0.1:0").unwrap();
        let addr = held.as_slice()[0].local_addr();
        let failing = timeout(Duration::from_secs(20), options.bind_async(addr));
        assert!(failing.await.expect("it does not wait").is_err());
    });
}
