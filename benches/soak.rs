//! A server for a long time: it follows addresses that come and go, is updated every second, and
//! serves clients all the while. Prints what it used, and fails if memory or descriptors grow, if a
//! client of a kept socket is refused, or if it works while nothing changes.
//!
//! As root: `cargo run --release -p bindaddr-benches --bin soak -- SECONDS`.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bindaddr::accept::Acceptor;
use bindaddr::update::Apply;
use bindaddr::{BindOptions, Plan};

const INSIDE: &str = "BINDADDR_SOAK_INSIDE";
/// The settings of the server by turns; the first socket of both is kept.
const SETTINGS: [&str; 2] = [
    "127.0.0.1:5000, ipv4@eth0:5000, 10.0.0.0/8:5001",
    "127.0.0.1:5000, 127.0.0.2:5000, 0.0.0.0:5002",
];
/// How long the server is watched while nothing changes.
const IDLE: Duration = Duration::from_secs(20);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (role, seconds) = match words[..] {
        [seconds] => ("server", seconds),
        [role, seconds] => (role, seconds),
        _ => panic!("soak SECONDS"),
    };
    let until = Instant::now() + Duration::from_secs(seconds.parse().expect("a number of seconds"));
    match role {
        "clients" => clients(until),
        "churn" => churn(until),
        _ if std::env::var_os(INSIDE).is_some() => serve(seconds, until),
        _ => {
            let exe = std::env::current_exe().expect("a program has a file");
            let mut inside = Command::new("unshare");
            inside.args(["--net", "--"]).arg(exe).arg(seconds);
            panic!("no namespace: {}", inside.env(INSIDE, "1").exec());
        }
    }
}

/// Starts this program as another process, which reports on its standard output.
fn start(role: &str, seconds: &str) -> Child {
    let exe = std::env::current_exe().expect("a program has a file");
    let mut command = Command::new(exe);
    command.args([role, seconds]).stdout(Stdio::piped());
    command.spawn().expect("it starts")
}

fn output_of(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("it is text")
}

fn ip(batch: &str) {
    let mut ip = Command::new("ip");
    let ip = ip.args(["-batch", "-"]).stdin(Stdio::piped()).spawn();
    let mut ip = ip.expect("iproute2 is installed");
    let mut stdin = ip.stdin.take().expect("it is piped");
    stdin.write_all(batch.as_bytes()).expect("ip reads");
    drop(stdin);
    assert!(ip.wait().expect("it ends").success(), "{batch}");
}

fn serve(seconds: &str, until: Instant) {
    ip(
        "link set lo up\nlink add name eth0 type veth peer name far0\nlink set far0 up\nlink set eth0 up\n",
    );
    ip("addr add 192.168.71.67/16 dev eth0\naddr add 10.0.0.1/8 dev eth0\n");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("threads start");
    runtime.block_on(async {
        let plan = plan(SETTINGS[0]);
        let listeners = plan.bind().expect("the namespace is new");
        let acceptor = Acceptor::new(listeners).and_then(|acceptor| acceptor.follow(plan, |_| ()));
        let mut acceptor = acceptor.expect("netlink is not denied");
        let handle = acceptor.handle();
        tokio::spawn(async move {
            loop {
                let (stream, _) = acceptor.accept().await;
                tokio::spawn(echo(stream));
            }
        });
        let (clients, churn) = (start("clients", seconds), start("churn", seconds));
        let mut updates = 0_u32;
        let mut failed = 0_u32;
        let mut samples = Vec::new();
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_secs(1)).await;
            updates += 1;
            let next = SETTINGS[updates as usize % SETTINGS.len()];
            let mode = [Apply::AllOrNone, Apply::BestEffort][updates as usize / 2 % 2];
            // An address may go while it is bound.
            let applied = match BindOptions::new().plan(next) {
                Ok(plan) => handle.apply(&plan, mode).await.is_ok(),
                Err(_) => false,
            };
            failed += u32::from(!applied);
            samples.push((resident_kib(), descriptors()));
        }
        print!("{}", output_of(clients));
        print!("{}", output_of(churn));
        println!("updates: {updates}, of which {failed} failed");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = cpu_ticks();
        tokio::time::sleep(IDLE).await;
        report(&samples, cpu_ticks() - before);
    });
}

fn plan(text: &str) -> Plan {
    BindOptions::new().plan(text).expect("the host has it")
}

async fn echo(stream: tokio::net::TcpStream) {
    let mut byte = [0];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(1) => return drop(stream.try_write(&byte)),
            _ => return,
        }
    }
}

/// Compares the second half with the first one, in which caches and tables have grown.
fn report(samples: &[(u64, usize)], idle_ticks: u64) {
    let (first, second) = samples.split_at(samples.len() / 2);
    let memory = |part: &[(u64, usize)]| part.iter().map(|sample| sample.0).max().unwrap_or(0);
    let open = |part: &[(u64, usize)]| part.iter().map(|sample| sample.1).max().unwrap_or(0);
    let (before, after) = (memory(first), memory(second));
    println!("resident memory: {before} KiB at most in the first half, {after} KiB in the second");
    println!(
        "descriptors: {} at most, then {}",
        open(first),
        open(second)
    );
    println!(
        "idle for {} s: {idle_ticks} ticks of the CPU",
        IDLE.as_secs()
    );
    assert!(after <= before + before / 10, "memory grows");
    assert!(open(second) <= open(first) + 16, "descriptors leak");
    assert!(idle_ticks <= 2, "it works while nothing changes");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse().ok())
        .expect("a number of kB")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd")
        .expect("/proc is mounted")
        .count()
}

/// The time that this process has spent, in ticks of 10 ms (utime and stime of `proc_pid_stat(5)`).
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in parentheses");
    let fields = fields.split_whitespace().skip(11).take(2);
    fields
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum()
}

/// Adds and removes addresses, and switches the interface off now and then.
fn churn(until: Instant) {
    let mut changes = 0_u64;
    while Instant::now() < until {
        for n in 2..10 {
            ip(&format!("addr add 10.0.0.{n}/8 dev eth0\n"));
            thread::sleep(Duration::from_millis(50));
            ip(&format!("addr del 10.0.0.{n}/8 dev eth0\n"));
            changes += 2;
        }
        ip("link set eth0 down\nlink set eth0 up\n");
        changes += 2;
    }
    println!("changes of the host: {changes}");
}

/// Connects to the socket that is always kept, from four threads.
fn clients(until: Instant) {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let mut counts = [0_u64; 2];
                let mut worst = Duration::ZERO;
                while Instant::now() < until {
                    let begun = Instant::now();
                    counts[usize::from(ask(addr).is_err())] += 1;
                    worst = worst.max(begun.elapsed());
                    thread::sleep(Duration::from_millis(5));
                }
                (counts, worst)
            })
        })
        .collect();
    let (mut all, mut slowest) = ([0; 2], Duration::ZERO);
    for thread in threads {
        let (counts, worst) = thread.join().expect("no client panics");
        all = [all[0] + counts[0], all[1] + counts[1]];
        slowest = slowest.max(worst);
    }
    println!(
        "clients: {} served, {} not, {slowest:?} at most",
        all[0], all[1]
    );
    assert_eq!(all[1], 0, "a client of a kept socket was not served");
}

fn ask(addr: SocketAddr) -> io::Result<()> {
    let mut client = TcpStream::connect(addr)?;
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    client.write_all(b"?")?;
    client.read_exact(&mut [0])
}
