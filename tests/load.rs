//! Updates while clients of another host connect: how many are refused or reset, and how long the slowest waits.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bindaddr::accept::Acceptor;
use bindaddr::update::Apply;
use bindaddr::{BindOptions, Plan};
use tokio::runtime::Builder;
use util::netns::{Host, in_namespace, ip};
use util::rerun;

/// How long clients connect; longer by `BINDADDR_LOAD_SECONDS`.
const SECONDS: u64 = 2;
/// How many of them at once, each up to 500 times a second.
const CLIENTS: usize = 4;

/// What became of the connections of all clients.
#[derive(Debug, Default)]
struct Count {
    served: u64,
    refused: u64,
    reset: u64,
    worst: Duration,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.served += other.served;
        self.refused += other.refused;
        self.reset += other.reset;
        self.worst = self.worst.max(other.worst);
    }
}

/// Connects, sends a byte and reads the same one, until the time is over.
fn ask(addr: SocketAddr, until: Instant) -> Count {
    let mut count = Count::default();
    let one = || -> io::Result<()> {
        let mut client = TcpStream::connect(addr)?;
        client.set_read_timeout(Some(Duration::from_secs(30)))?;
        client.write_all(b"?")?;
        client.read_exact(&mut [0])
    };
    while Instant::now() < until {
        let begun = Instant::now();
        match one() {
            Ok(()) => count.served += 1,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => count.refused += 1,
            Err(_) => count.reset += 1,
        }
        let took = begun.elapsed();
        count.worst = count.worst.max(took);
        thread::sleep(Duration::from_millis(2).saturating_sub(took));
    }
    count
}

/// The clients' side: prints what became of the connections.
fn run_clients(addr: &str) {
    let addr: SocketAddr = addr.parse().unwrap();
    let until = Instant::now() + seconds();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| thread::spawn(move || ask(addr, until)))
        .collect();
    let mut all = Count::default();
    for client in clients {
        all.add(&client.join().unwrap());
    }
    let worst = all.worst.as_micros();
    println!(
        "count: {} {} {} {worst}",
        all.served, all.refused, all.reset
    );
}

fn seconds() -> Duration {
    let seconds = std::env::var("BINDADDR_LOAD_SECONDS");
    Duration::from_secs(seconds.map_or(SECONDS, |seconds| seconds.parse().unwrap()))
}

/// Starts clients on another host.
fn clients(test: &str, host: &Host, addr: &str) -> Child {
    let pid = host.pid().to_string();
    let mut command = rerun::command(test, addr, &["nsenter", "--net", "--target", &pid, "--"]);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn result(clients: Child) -> Count {
    let output = clients.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, numbers) = text
        .split_once("count: ")
        .expect("the clients have counted");
    let numbers: Vec<u64> = numbers
        .split_whitespace()
        .take(4)
        .map(|number| number.parse().unwrap())
        .collect();
    Count {
        served: numbers[0],
        refused: numbers[1],
        reset: numbers[2],
        worst: Duration::from_micros(numbers[3]),
    }
}

fn plan(text: &str) -> Plan {
    BindOptions::new().plan(text).unwrap()
}

/// Serves while one plan after the other is applied, until the clients are done.
fn serve(first: &str, plans: &[&str], mut clients: impl FnMut() -> Child) -> (Count, u32) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut acceptor = Acceptor::new(plan(first).bind().unwrap()).unwrap();
        let handle = acceptor.handle();
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = acceptor.accept().await;
                tokio::spawn(async move {
                    let mut byte = [0];
                    while stream.readable().await.is_ok() {
                        match stream.try_read(&mut byte) {
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                            Ok(1) => return drop(stream.try_write(&byte)),
                            _ => return,
                        }
                    }
                });
            }
        });
        let mut clients = clients();
        let mut updates = 0;
        for text in plans.iter().cycle() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if clients.try_wait().unwrap().is_some() {
                break;
            }
            let update = handle.apply(&plan(text), Apply::AllOrNone).await.unwrap();
            assert!(update.interrupted().is_empty());
            updates += 1;
        }
        server.abort();
        (result(clients), updates)
    })
}

fn updates_refuse_no_client(test: &'static str, first: &str, plans: &[&str]) -> Count {
    let mut host = Host::start(test);
    host.cable("eth0", "far0");
    ip("addr add 10.0.0.1/24 dev eth0");
    host.ip("addr add 10.0.0.2/24 dev far0");
    let (count, updates) = serve(first, plans, || clients(test, &host, "10.0.0.1:5000"));
    println!("{updates} updates: {count:?}");
    assert!(updates > 0 && count.served > 0);
    assert_eq!(count.refused, 0, "{count:?}");
    count
}

#[test]
fn reload_refuses_and_resets_no_client_of_a_kept_socket() {
    let test = "reload_refuses_and_resets_no_client_of_a_kept_socket";
    if let Some(addr) = rerun::role().filter(|role| role.contains(':')) {
        return run_clients(&addr);
    }
    in_namespace(test, || {
        let plans = [
            "10.0.0.1:5000, 10.0.0.1:5001",
            "10.0.0.1:5002, 10.0.0.1:5000, localhost:5001",
            "10.0.0.1:5000",
        ];
        let test = "reload_refuses_and_resets_no_client_of_a_kept_socket";
        let count = updates_refuse_no_client(test, "10.0.0.1:5000", &plans);
        assert_eq!(count.reset, 0, "{count:?}");
    });
}

#[test]
fn move_to_an_overlapping_address_refuses_no_client() {
    let test = "move_to_an_overlapping_address_refuses_no_client";
    if let Some(addr) = rerun::role().filter(|role| role.contains(':')) {
        return run_clients(&addr);
    }
    in_namespace(test, || {
        let plans = [
            "0.0.0.0:5000",
            "10.0.0.1:5000",
            "*:5000",
            "ipv4@eth0:5000",
            "[::]:5000",
        ];
        let test = "move_to_an_overlapping_address_refuses_no_client";
        updates_refuse_no_client(test, "10.0.0.1:5000", &plans);
    });
}
