//! Updates while clients of another host connect: how many are refused or reset, and how long the
//! slowest waits.
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
use util::netns::{Host, in_namespace_of, ip};
use util::rerun;

/// How long clients connect; longer by `BINDADDR_LOAD_SECONDS`.
const SECONDS: u64 = 2;
/// How many of them at once, each up to 500 times a second.
const CLIENTS: usize = 4;

/// The results of the connections of all clients.
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

/// Sends back what a client sends.
async fn answer(stream: tokio::net::TcpStream) {
    let mut byte = [0];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(1) => return drop(stream.try_write(&byte)),
            _ => return,
        }
    }
}

async fn answer_all(mut acceptor: Acceptor) {
    loop {
        let (stream, _) = acceptor.accept().await;
        tokio::spawn(answer(stream));
    }
}

/// How sockets are replaced.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Update,
    /// As most servers do: the old ones are closed, and then the new ones are bound.
    ClosingFirst,
}

/// Serves while one plan after the other is applied, until the clients are done.
fn serve(
    way: Way,
    first: &str,
    plans: &[&str],
    mut clients: impl FnMut() -> Child,
) -> (Count, u32) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let acceptor = Acceptor::new(plan(first).bind().unwrap()).unwrap();
        let mut handle = acceptor.handle();
        let mut server = tokio::spawn(answer_all(acceptor));
        let mut clients = clients();
        let mut updates = 0;
        for text in plans.iter().cycle() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if clients.try_wait().unwrap().is_some() {
                break;
            }
            updates += 1;
            if way == Way::ClosingFirst {
                drop(handle.stop().unwrap());
                let acceptor = Acceptor::new(plan(text).bind().unwrap()).unwrap();
                handle = acceptor.handle();
                server.abort();
                server = tokio::spawn(answer_all(acceptor));
                continue;
            }
            let update = handle.apply(&plan(text), Apply::AllOrNone).await.unwrap();
            assert!(update.interrupted().is_empty());
        }
        server.abort();
        (result(clients), updates)
    })
}

/// Another host with a cable to this one, which has 10.0.0.1.
fn neighbour(test: &'static str) -> Host {
    let mut host = Host::start(test);
    host.cable("eth0", "far0");
    ip("addr add 10.0.0.1/24 dev eth0");
    host.ip("addr add 10.0.0.2/24 dev far0");
    host
}

fn updates_refuse_no_client(test: &'static str, host: &Host, first: &str, plans: &[&str]) -> Count {
    let clients = || clients(test, host, "10.0.0.1:5000");
    let (count, updates) = serve(Way::Update, first, plans, clients);
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
    in_namespace_of(test, || {
        let plans = [
            "10.0.0.1:5000, 10.0.0.1:5001",
            "10.0.0.1:5002, 10.0.0.1:5000, localhost:5001",
            "10.0.0.1:5000",
        ];
        let test = "reload_refuses_and_resets_no_client_of_a_kept_socket";
        let host = neighbour(test);
        let count = updates_refuse_no_client(test, &host, "10.0.0.1:5000", &plans);
        assert_eq!(count.reset, 0, "{count:?}");
    });
}

#[test]
fn move_to_an_overlapping_address_refuses_no_client() {
    let test = "move_to_an_overlapping_address_refuses_no_client";
    if let Some(addr) = rerun::role().filter(|role| role.contains(':')) {
        return run_clients(&addr);
    }
    in_namespace_of(test, || {
        let plans = [
            "0.0.0.0:5000",
            "10.0.0.1:5000",
            "*:5000",
            "ipv4@eth0:5000",
            "[::]:5000",
        ];
        let test = "move_to_an_overlapping_address_refuses_no_client";
        let host = neighbour(test);
        updates_refuse_no_client(test, &host, "10.0.0.1:5000", &plans);
        // Beside it, what most servers do; only printed.
        let clients = || clients(test, &host, "10.0.0.1:5000");
        let (count, updates) = serve(Way::ClosingFirst, "10.0.0.1:5000", &plans, clients);
        println!("{updates} updates, closing first: {count:?}");
        assert!(updates > 0 && count.served > 0);
    });
}

/// A process that has the sockets from the one before, and hands them to the next, until `control`
/// is closed.
#[cfg(feature = "restart")]
fn generation(test: &str) {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bindaddr::Activation;
    use bindaddr::restart::Handover;

    let activation = Activation::from_env().unwrap();
    let control = activation.take("control").unwrap().remove(0);
    let control = UnixStream::from(control);
    control.set_nonblocking(false).unwrap();
    let options = BindOptions::new().activation(activation.clone());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listeners = options.bind("10.0.0.1:5000").unwrap();
        assert_eq!(activation.unused().count(), 0);
        let mut acceptor = Acceptor::new(listeners).unwrap();
        let handle = acceptor.handle();
        let unanswered = Arc::new(AtomicUsize::new(0));
        let count = unanswered.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = acceptor.accept().await;
                count.fetch_add(1, Ordering::Relaxed);
                let count = count.clone();
                tokio::spawn(async move {
                    answer(stream).await;
                    count.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        (&control).write_all(b".").unwrap();
        activation.notify_ready().unwrap();
        let waiting = control.try_clone().unwrap();
        waiting
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let is_over =
            tokio::task::spawn_blocking(move || matches!((&waiting).read(&mut [0]), Ok(0)));
        if is_over.await.unwrap() {
            return;
        }
        let mut handover = Handover::new();
        handle.hand_over(&mut handover).unwrap();
        handover.add_socket("control", &control).unwrap();
        let mut successor = handover
            .spawn(rerun::command(test, "generation", &[]))
            .unwrap();
        let waited = tokio::task::spawn_blocking(move || {
            successor.wait_until_ready(Duration::from_secs(60)).unwrap();
        });
        waited.await.unwrap();
        drop(handle.stop().unwrap());
        tokio::task::yield_now().await;
        while unanswered.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    std::process::exit(0);
}

#[cfg(feature = "restart")]
#[test]
fn restart_refuses_and_resets_no_client() {
    use std::os::unix::net::UnixStream;

    use bindaddr::restart::Handover;

    let test = "restart_refuses_and_resets_no_client";
    match rerun::role().as_deref() {
        Some("generation") => return generation(test),
        Some(addr) if addr.contains(':') => return run_clients(addr),
        _ => {}
    }
    in_namespace_of(test, || {
        let test = "restart_refuses_and_resets_no_client";
        let host = neighbour(test);
        let (mut control, other) = UnixStream::pair().unwrap();
        let listeners = plan("10.0.0.1:5000").bind().unwrap();
        let mut handover = Handover::new();
        handover.add(&listeners).unwrap();
        handover.add_socket("control", &other).unwrap();
        let mut first = handover
            .spawn(rerun::command(test, "generation", &[]))
            .unwrap();
        first.wait_until_ready(Duration::from_secs(60)).unwrap();
        drop((listeners, other));
        let count = result(clients(test, &host, "10.0.0.1:5000"));
        // The last one ends then.
        control.shutdown(std::net::Shutdown::Write).unwrap();
        let mut ready = Vec::new();
        control.read_to_end(&mut ready).unwrap();
        first.child().wait().unwrap();
        println!("{} restarts: {count:?}", ready.len() - 1);
        assert!(ready.len() > 1 && count.served > 0);
        assert_eq!((count.refused, count.reset), (0, 0), "{count:?}");
    });
}
