//! `Acceptor::follow`: sockets that are opened and closed as the addresses of the host change.
#![cfg(target_os = "linux")]

mod util;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bindaddr::accept::Acceptor;
use bindaddr::update::{Apply, Event};
use bindaddr::{BindOptions, Listeners, Plan};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use util::netns::{connects, in_namespace, ip, ip_batch};
use util::sandbox;

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn plan(text: &str) -> Plan {
    BindOptions::new().plan(text).expect("a plan")
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn link() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
}

/// A server that follows its host, and the lines of its log.
struct Server {
    acceptor: Acceptor,
    log: Arc<Mutex<String>>,
}

impl Server {
    fn start(text: &str) -> Self {
        let plan = plan(text);
        let log = Arc::new(Mutex::new(String::new()));
        let lines = log.clone();
        let acceptor = Acceptor::new(plan.bind().expect("free ports")).expect("a runtime");
        let on_event = move |event: &Event| {
            lines
                .lock()
                .expect("no thread panics")
                .push_str(&event.to_string());
        };
        let acceptor = acceptor.follow(plan, on_event).expect("netlink is there");
        Self { acceptor, log }
    }

    fn addrs(&self) -> BTreeSet<SocketAddr> {
        self.acceptor.local_addrs().into_iter().collect()
    }

    /// Waits until exactly these sockets are open, and returns how long that took.
    #[track_caller]
    fn opens(&self, expected: &[&str]) -> impl Future<Output = Duration> {
        let expected: BTreeSet<SocketAddr> = expected.iter().copied().map(addr).collect();
        let at = std::panic::Location::caller();
        async move {
            let begun = Instant::now();
            while self.addrs() != expected {
                assert!(
                    begun.elapsed() < Duration::from_secs(60),
                    "{at}: {:?} is open, and the log is\n{}",
                    self.addrs(),
                    self.log.lock().expect("no thread panics")
                );
                sleep(Duration::from_millis(1)).await;
            }
            begun.elapsed()
        }
    }

    /// Waits until the log has a text.
    async fn logs(&self, text: &str) {
        let begun = Instant::now();
        loop {
            let log = self.log.lock().expect("no thread panics").clone();
            if log.contains(text) {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{text:?} in\n{log}"
            );
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns `true` if a client of `to` is accepted.
    async fn serves(&mut self, to: &str) -> bool {
        let Ok(client) = TcpStream::connect(to) else {
            return false;
        };
        let accepted = timeout(Duration::from_secs(60), self.acceptor.accept()).await;
        accepted.is_ok_and(|(_, peer)| Some(peer) == client.local_addr().ok())
    }
}

#[test]
fn selector_follows_addresses() {
    in_namespace(|| {
        runtime().block_on(async {
            link();
            ip("addr add 10.0.0.1/24 dev eth0");
            let mut server = Server::start("ipv4@eth0:5000, 127.0.0.1:5001");
            let (first, lo) = ("10.0.0.1:5000", "127.0.0.1:5001");
            server.opens(&[first, lo]).await;
            let mut times = Vec::new();
            for _ in 0..20 {
                ip("addr add 10.0.0.2/24 dev eth0");
                times.push(server.opens(&[first, "10.0.0.2:5000", lo]).await);
                assert!(server.serves("10.0.0.2:5000").await);
                ip("addr del 10.0.0.2/24 dev eth0");
                server.opens(&[first, lo]).await;
            }
            times.sort();
            println!("opened after {:?}, {:?} at most", times[10], times[19]);
            server.logs("opened 10.0.0.2:5000\n").await;
            server.logs("closed 10.0.0.2:5000\n").await;
            // All of them, and none.
            ip("addr flush dev eth0");
            server.opens(&[lo]).await;
            ip("addr add 10.0.0.9/24 dev eth0");
            server.opens(&["10.0.0.9:5000", lo]).await;
            assert!(server.serves("10.0.0.9:5000").await && server.serves(lo).await);
        });
    });
}

#[test]
fn literal_stays_open_and_works_again() {
    in_namespace(|| {
        runtime().block_on(async {
            link();
            ip("addr add 10.0.0.1/24 dev eth0");
            let mut server = Server::start("10.0.0.1:5000, -10.0.0.2:5000");
            server.opens(&["10.0.0.1:5000"]).await;
            ip("addr del 10.0.0.1/24 dev eth0");
            server
                .logs("no client can connect to 10.0.0.1:5000: no interface has the address\n")
                .await;
            assert_eq!(server.addrs().len(), 1);
            ip("addr add 10.0.0.1/24 dev eth0");
            server
                .logs("clients can connect to 10.0.0.1:5000 on eth0\n")
                .await;
            assert!(server.serves("10.0.0.1:5000").await);
            // One that may be absent comes.
            ip("addr add 10.0.0.2/24 dev eth0");
            server.opens(&["10.0.0.1:5000", "10.0.0.2:5000"]).await;
            assert!(server.serves("10.0.0.2:5000").await);
        });
    });
}

#[test]
fn recreated_interface_is_bound_again() {
    in_namespace(|| {
        runtime().block_on(async {
            let device = || {
                link();
                ip("addr add fe80::77/64 dev eth0 nodad");
                ip("addr add 10.0.0.1/24 dev eth0");
            };
            device();
            let mut server = Server::start("[fe80::77%eth0]:5000, ipv4@eth0:5000");
            ip("link del eth0");
            device();
            server.logs("opened [fe80::77%").await;
            let linked = server.addrs().into_iter().find(SocketAddr::is_ipv6);
            let linked = linked.expect("it is open").to_string();
            assert!(server.serves(&linked).await, "{linked}");
            // This one is not bound to the interface, and was never closed.
            assert!(server.serves("10.0.0.1:5000").await);
            assert_eq!(server.addrs().len(), 2);
        });
    });
}

#[test]
fn failed_socket_is_retried() {
    in_namespace(|| {
        runtime().block_on(async {
            link();
            ip("addr add 10.0.0.1/24 dev eth0");
            let mut server = Server::start("ipv4@eth0:5000");
            let other = TcpListener::bind("127.0.0.1:6000").unwrap();
            let handle = server.acceptor.handle();
            // The followed plan is that of the last update.
            let changed = plan("ipv4@eth0:6000, ipv4@eth0:5000, 127.0.0.1:7000");
            let _ = handle.apply(&changed, Apply::AllOrNone).await.unwrap();
            drop(other);
            ip("addr add 10.0.0.2/24 dev eth0");
            let all = [
                "10.0.0.1:5000",
                "10.0.0.1:6000",
                "10.0.0.2:5000",
                "10.0.0.2:6000",
                "127.0.0.1:7000",
            ];
            server.opens(&all).await;
            // Another server has the port of an address that comes.
            let other = {
                ip("addr add 10.0.0.3/32 dev lo");
                let other = TcpListener::bind("10.0.0.3:6000").unwrap();
                ip("addr add 10.0.0.3/24 dev eth0");
                other
            };
            server
                .logs("cannot listen on ipv4@eth0:6000: port 6000 is in use")
                .await;
            assert!(server.addrs().contains(&addr("10.0.0.3:5000")));
            assert!(server.serves("127.0.0.1:7000").await);
            // Nothing of the host changes now.
            drop(other);
            server.logs("opened 10.0.0.3:6000\n").await;
            let count = server
                .log
                .lock()
                .unwrap()
                .matches("port 6000 is in use")
                .count();
            assert_eq!(count, 1, "a failure is reported once");
        });
    });
}

#[test]
fn partial_update_is_retried() {
    in_namespace(|| {
        runtime().block_on(async {
            let mut server = Server::start("127.0.0.1:5000");
            let other = TcpListener::bind("127.0.0.1:6000").unwrap();
            let changed = plan("127.0.0.1:5000, 127.0.0.1:6000");
            let handle = server.acceptor.handle();
            let update = handle.apply(&changed, Apply::BestEffort).await.unwrap();
            assert_eq!((update.kept(), update.errors().len()), (1, 1));
            server.logs("port 6000 is in use").await;
            // Nothing of the host changes.
            drop(other);
            server.opens(&["127.0.0.1:5000", "127.0.0.1:6000"]).await;
            assert!(server.serves("127.0.0.1:6000").await);
        });
    });
}

#[test]
fn burst_of_changes_ends_in_the_right_state() {
    in_namespace(|| {
        runtime().block_on(async {
            link();
            let mut server = Server::start("127.0.0.1:5000, -ipv4@eth0:5000");
            let burst = std::thread::spawn(|| {
                let one = |n: u32| {
                    let addr = format!("10.0.{}.{}/16 dev eth0", n / 200 % 5, 1 + n % 200);
                    let is_last = n >= 5000;
                    let del = (!is_last).then(|| format!("addr del {addr}\n"));
                    format!("addr add {addr}\n{}", del.unwrap_or_default())
                };
                let lines: String = (0..5003).map(one).collect();
                ip_batch(&lines);
            });
            while !burst.is_finished() {
                assert!(server.serves("127.0.0.1:5000").await);
                sleep(Duration::from_millis(1)).await;
            }
            burst.join().unwrap();
            let left = [
                "10.0.0.1:5000",
                "10.0.0.2:5000",
                "10.0.0.3:5000",
                "127.0.0.1:5000",
            ];
            server.opens(&left).await;
            assert!(server.serves("10.0.0.3:5000").await);
        });
    });
}

#[test]
fn unreadable_host_changes_nothing() {
    in_namespace(|| {
        runtime().block_on(async {
            link();
            ip("addr add 10.0.0.1/24 dev eth0");
            let mut server = Server::start("ipv4@eth0:5000");
            server.opens(&["10.0.0.1:5000"]).await;
            // AF_NETLINK; the socket that watches is open already.
            sandbox::refuse_family(16, 97);
            // `ip` would need netlink as well.
            std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
            server
                .logs("the sockets stay as they are: cannot read the interfaces of this host\n")
                .await;
            assert!(server.serves("10.0.0.1:5000").await);
        });
    });
}

#[test]
fn follower_ends_with_the_acceptor() {
    in_namespace(|| {
        let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        runtime().block_on(async {
            link();
            ip("addr add 10.0.0.1/24 dev eth0");
            let before = files();
            let server = Server::start("ipv4@eth0:5000");
            sleep(Duration::from_millis(20)).await;
            drop(server.acceptor);
            let begun = Instant::now();
            while files() > before {
                assert!(begun.elapsed() < Duration::from_secs(60));
                sleep(Duration::from_millis(1)).await;
            }
            ip("addr add 10.0.0.2/24 dev eth0");
            sleep(Duration::from_millis(50)).await;
            assert!(!connects(addr("10.0.0.2:5000")));
            // After a stop the caller has the listeners.
            let server = Server::start("ipv4@eth0:5000");
            let listeners: Listeners = server.acceptor.handle().stop().unwrap();
            ip("addr del 10.0.0.2/24 dev eth0");
            sleep(Duration::from_millis(50)).await;
            assert_eq!(listeners.len(), 2);
        });
    });
}
