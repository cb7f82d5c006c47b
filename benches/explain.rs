//! Measures a failing bind, including building its error, against std's, on an ordinary
//! host and on a large one.
//!
//! The hosts are made in a network namespace: the benchmark runs itself again in one.

use std::hint::black_box;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use criterion::Criterion;
use socket2::{Domain, Socket, Type};

/// Says in the environment that this process is in the namespace.
const INSIDE: &str = "BINDADDR_BENCH_NAMESPACE";
/// Says that it is to hold an address until its input ends, and do nothing else.
const HOLD: &str = "BINDADDR_BENCH_HOLD";
const MANY: u32 = 10_000;

fn main() {
    if let Ok(addr) = std::env::var(HOLD) {
        let held = TcpListener::bind(addr).expect("it is free");
        std::io::stdin().lines().for_each(drop);
        return drop(held);
    }
    if std::env::var_os(INSIDE).is_none() {
        let exe = std::env::current_exe().expect("a benchmark has a file");
        let mut inside = Command::new("unshare");
        inside
            .args(["--net", "--"])
            .arg(exe)
            .args(std::env::args_os().skip(1));
        panic!("no namespace: {}", inside.env(INSIDE, "1").exec());
    }
    let mut criterion = Criterion::default().configure_from_args();
    ip(
        "link set lo up\nlink add name eth0 type veth peer name far0\nlink set far0 up\nlink set eth0 up\n",
    );
    ip("addr add 192.168.71.67/16 dev eth0\naddr add 2001:db8::1/64 nodad dev eth0\n");
    explain(&mut criterion, "explain/ordinary");
    enumerate(&mut criterion, "enumerate/ordinary");

    let orders: String = (0..MANY)
        .map(|n| {
            // Half of them IPv6.
            let [a, b] = [n / 2 / 250, n / 2 % 250 + 1];
            if n % 2 == 0 {
                format!("addr add 10.9.{a}.{b}/16 dev eth0\n")
            } else {
                format!("addr add fd00::{a}:{b}/64 nodad dev eth0\n")
            }
        })
        .collect();
    ip(&orders);
    enumerate(&mut criterion, "enumerate/10000-addresses");
    let listeners: Vec<TcpListener> = (0..MANY)
        .map(|n| {
            let ip = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + n % 200);
            let port = u16::try_from(2000 + n).expect("it is one");
            TcpListener::bind((ip, port)).expect("it is free")
        })
        .collect();
    explain(&mut criterion, "explain/large");
    drop(listeners);

    // Interfaces, and no more addresses than they.
    ip("link del eth0\n");
    let orders = (0..MANY / 20).map(|n| {
        let [a, b] = [n / 250, n % 250];
        format!(
            "link add name d{n} type veth peer name p{n}\nlink set d{n} up\nlink set p{n} up\n\
             addr add 10.{a}.{b}.1/24 dev d{n}\naddr add 10.{a}.{b}.2/24 dev p{n}\n"
        )
    });
    let orders: Vec<String> = orders.collect();
    ip(&orders.concat());
    enumerate(&mut criterion, "enumerate/1000-interfaces");
    criterion.final_summary();
}

/// Runs a batch of orders for `ip`.
fn ip(orders: &str) {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("iproute2 is installed");
    let mut stdin = ip.stdin.take().expect("it is piped");
    stdin.write_all(orders.as_bytes()).expect("ip reads");
    drop(stdin);
    assert!(ip.wait().expect("ip ends").success());
}

/// Reads the addresses, beside if-addrs and beside the kernel's own answer, which is only counted.
fn enumerate(c: &mut Criterion, name: &str) {
    let mut group = c.benchmark_group(name);
    group.sample_size(20);
    group.bench_function("ours", |b| {
        b.iter(|| bindaddr::Interfaces::system().expect("they can be read"));
    });
    group.bench_function("if-addrs", |b| {
        b.iter(|| if_addrs::get_if_addrs().expect("they can be read"));
    });
    group.bench_function("raw-dump", |b| {
        b.iter(|| raw_dump().expect("they can be read"));
    });
    group.finish();
}

/// Asks for all addresses over netlink and counts the answers.
fn raw_dump() -> std::io::Result<usize> {
    use std::io::Read;

    let mut socket = Socket::new(Domain::from(16), Type::RAW, None)?;
    let mut question = [0; 24];
    question[0] = 24;
    question[4] = 22; // RTM_GETADDR
    question[6..8].copy_from_slice(&0x301u16.to_ne_bytes());
    socket.write_all(&question)?;
    let mut datagram = vec![0; 1 << 15];
    let mut count = 0;
    loop {
        let len = socket.read(&mut datagram)?;
        let mut rest = &datagram[..len];
        while let [a, b, c, d, kind, ..] = *rest {
            if kind == 3 {
                return Ok(count); // NLMSG_DONE
            }
            count += 1;
            let len = u32::from_ne_bytes([a, b, c, d]).next_multiple_of(4);
            rest = &rest[(len as usize).min(rest.len())..];
        }
    }
}

fn explain(c: &mut Criterion, name: &str) {
    let mut group = c.benchmark_group(name);
    // A failure on a large host takes a tenth of a second.
    group.sample_size(20);
    let held = TcpListener::bind("127.0.0.1:1111").expect("it is free");
    for (situation, text) in [
        ("foreign", "198.51.100.1:80"),
        ("foreign-ipv6", "[2001:db8::2]:80"),
        ("in-use", "127.0.0.1:1111"),
    ] {
        group.bench_function(format!("ours/{situation}"), |b| {
            b.iter(|| bindaddr::bind(black_box(text)).expect_err("it fails"));
        });
        let addr: SocketAddr = text.parse().expect("it is one");
        group.bench_function(format!("std/{situation}"), |b| {
            b.iter(|| TcpListener::bind(black_box(addr)).expect_err("it fails"));
        });
    }
    // The holder of the port according to the crate for it, which filters by port only.
    group.bench_function("listeners/in-use", |b| {
        let tcp = listeners::Protocol::TCP;
        b.iter(|| {
            listeners::get_process_by_port(black_box(1111), tcp).expect("it is this process")
        });
    });
    drop(held);
    // Held by another process, which has few descriptors however many this one has. Its parent may
    // share the socket, so it is searched as well: this process, or the one that takes in orphans.
    for (situation, starter) in [
        ("in-use-by-a-child", &["env"][..]),
        ("in-use-by-another-process", &["setsid", "--fork"]),
    ] {
        let mut holder = Command::new(starter[0])
            .args(&starter[1..])
            .arg(std::env::current_exe().expect("a benchmark has a file"))
            .env(HOLD, "127.0.0.1:1113")
            .stdin(Stdio::piped())
            .spawn()
            .expect("it runs");
        while std::net::TcpStream::connect("127.0.0.1:1113").is_err() {}
        group.bench_function(format!("ours/{situation}"), |b| {
            b.iter(|| bindaddr::bind(black_box("127.0.0.1:1113")).expect_err("it fails"));
        });
        drop(holder.stdin.take());
        holder.wait().expect("it ends");
        while std::net::TcpStream::connect("127.0.0.1:1113").is_ok() {}
    }
    // The owner of the port is found among all states of sockets.
    let server = TcpListener::bind("127.0.0.1:1112").expect("it is free");
    let client = std::net::TcpStream::connect("127.0.0.1:1112").expect("it listens");
    let taken = client.local_addr().expect("it has one");
    group.bench_function("ours/in-use-by-a-connection", |b| {
        b.iter(|| bindaddr::bind(black_box(taken)).expect_err("it fails"));
    });
    drop(server);
    group.bench_function("ours/check", |b| {
        b.iter(|| bindaddr::check(black_box(["0.0.0.0:1111", "[::1]:1111", "198.51.100.1:80"])));
    });
    group.finish();
}
