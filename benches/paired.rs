//! Ratios of what is as fast as its peer: ours and the peer by turns, in short rounds, and the
//! median of the ratios of each round, so that a machine which changes its speed does not decide.

use std::collections::HashSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bindaddr::interfaces::Interface;
use bindaddr::target::Class;
use bindaddr::{BindTarget, Interfaces, ListenAddr};
use socket2::{Domain, SockAddr, Socket, Type};

const ROUNDS: usize = 2001;

fn main() {
    // `cargo test --benches` runs this with such an argument, and criterion's are of no use here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    println!("| by turns | ours | peer | ratio |\n|---|---|---|---|");
    pair(
        "parse 127.0.0.1:8080, SocketAddr::from_str",
        500,
        || drop(black_box("127.0.0.1:8080").parse::<ListenAddr>()),
        || drop(black_box("127.0.0.1:8080").parse::<SocketAddr>()),
    );
    pair(
        "parse [2001:db8::1]:8080, SocketAddr::from_str",
        500,
        || drop(black_box("[2001:db8::1]:8080").parse::<ListenAddr>()),
        || drop(black_box("[2001:db8::1]:8080").parse::<SocketAddr>()),
    );
    for addresses in [2, 100, 10_000, 100_000] {
        let ips = ips(addresses);
        let host: Interfaces = [eth0(&ips)].into_iter().collect();
        let set: HashSet<IpAddr, foldhash::fast::FixedState> = ips.iter().copied().collect();
        let own = ips[ips.len() / 2];
        pair(
            &format!("classify among {addresses}, a probe with foldhash"),
            500,
            || drop(BindTarget::classify(*black_box(&own), &host)),
            || {
                black_box(set.contains(black_box(&own)));
            },
        );
        pair(
            &format!("`Interfaces::contains` among {addresses}, a probe with foldhash"),
            500,
            || {
                black_box(black_box(&host).contains(*black_box(&own)));
            },
            || {
                black_box(set.contains(black_box(&own)));
            },
        );
        pair(
            &format!("`Class::of` among {addresses}, a probe with foldhash"),
            500,
            || {
                black_box(Class::of(*black_box(&own), black_box(&host)));
            },
            || {
                black_box(set.contains(black_box(&own)));
            },
        );
    }
    pair_threads("`Class::of`", |ip, host| {
        black_box(Class::of(ip, host));
    });
    pair_threads("classify", |ip, host| drop(BindTarget::classify(ip, host)));
    pair_accept();
    pair_index(100, ROUNDS);
    pair_index(10_000, 301);
    pair_index(100_000, 51);
    let host: Interfaces = [eth0(&ips(2))].into_iter().collect();
    pair(
        "share a snapshot and let go, copy an address",
        500,
        || drop(black_box(&host).clone()),
        || {
            black_box(*black_box(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        },
    );
    pair(
        "bind 127.0.0.2:4712, std by SocketAddr",
        1,
        || drop(bindaddr::bind(black_box("127.0.0.2:4712"))),
        || {
            let addr = SocketAddr::from(([127, 0, 0, 2], 4712));
            drop(TcpListener::bind(black_box(addr)));
        },
    );
    pair(
        "bind 127.0.0.2:4712, socket2 by hand from the text",
        1,
        || drop(bindaddr::bind(black_box("127.0.0.2:4712"))),
        || drop(by_hand(black_box("127.0.0.2:4712"))),
    );
    pair(
        "bind 127.0.0.1:0, std and local_addr",
        1,
        || drop(bindaddr::bind(black_box("127.0.0.1:0"))),
        || {
            let listener = TcpListener::bind(black_box(SocketAddr::from(([127, 0, 0, 1], 0))));
            drop(listener.map(|listener| (listener.local_addr(), listener)));
        },
    );
    pair(
        "bind [::1]:4712, socket2 with V6ONLY",
        1,
        || drop(bindaddr::bind(black_box("[::1]:4712"))),
        || drop(by_hand(black_box("[::1]:4712"))),
    );
}

/// Looks up an address in each of two threads at once, and in one.
fn pair_threads(name: &str, look_up: fn(IpAddr, &Interfaces)) {
    const TIMES: u32 = 100_000;
    let ips = ips(100);
    let host: Interfaces = [eth0(&ips)].into_iter().collect();
    let time = |threads: u32| {
        let run = || (0..TIMES).for_each(|_| look_up(black_box(ips[50]), black_box(&host)));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(run);
            }
        });
        nanoseconds(begun.elapsed()) / f64::from(TIMES)
    };
    let rounds: Vec<(f64, f64)> = (0..201).map(|_| (time(2), time(1))).collect();
    report(&format!("{name} in each of two threads, in one"), &rounds);
}

/// Accepts connections of a client on loopback, by the acceptor and by tokio's listener.
fn pair_accept() {
    const TIMES: u32 = 20;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let bound = || bindaddr::bind("127.0.0.1:0").expect("a free port");
    let (acceptor, listener) = runtime.block_on(async {
        let acceptor = bindaddr::accept::Acceptor::new(bound()).expect("sockets");
        (acceptor, bound().into_tokio().expect("sockets"))
    });
    let ours = acceptor.local_addrs()[0];
    let peers = listener[0].local_addr().expect("it is bound");
    let acceptor = std::cell::RefCell::new(acceptor);
    // The client ends the connection, so that its port is not used up here.
    let connect = |addr| drop(TcpStream::connect(addr).expect("it listens"));
    pair(
        "accept a connection, tokio's listener",
        TIMES,
        || {
            connect(ours);
            drop(runtime.block_on(acceptor.borrow_mut().accept()));
        },
        || {
            connect(peers);
            drop(runtime.block_on(listener[0].accept()));
        },
    );
}

fn by_hand(text: &str) -> std::io::Result<Socket> {
    let addr: SocketAddr = text.parse().expect("it is one");
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(i32::MAX)?;
    Ok(socket)
}

fn pair(name: &str, times: u32, ours: impl Fn(), peer: impl Fn()) {
    let time = |run: &dyn Fn()| -> f64 {
        let begun = Instant::now();
        (0..times).for_each(|_| run());
        nanoseconds(begun.elapsed()) / f64::from(times)
    };
    let rounds = (0..ROUNDS).map(|_| (time(&ours), time(&peer)));
    report(name, &rounds.collect::<Vec<_>>());
}

/// The index of a snapshot beside a set, each made from what is already at hand.
fn pair_index(addresses: u32, rounds: usize) {
    let ips = ips(addresses);
    let eth0 = eth0(&ips);
    let ours = || {
        let entries = vec![eth0.clone()];
        let begun = Instant::now();
        let host: Interfaces = black_box(entries).into_iter().collect();
        (nanoseconds(begun.elapsed()), host).0
    };
    let peer = || {
        let ips = ips.clone();
        let begun = Instant::now();
        let set: HashSet<IpAddr> = black_box(ips).into_iter().collect();
        (nanoseconds(begun.elapsed()), set).0
    };
    let rounds = (0..rounds).map(|_| (ours(), peer()));
    let name = format!("index of {addresses}, a std `HashSet`");
    report(&name, &rounds.collect::<Vec<_>>());
}

fn ips(count: u32) -> Vec<IpAddr> {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 1));
    let ips = (0..count).map(|n| Ipv4Addr::from_bits(first + n).into());
    ips.collect()
}

fn eth0(ips: &[IpAddr]) -> Interface {
    let eth0 = Interface::new("eth0", 2);
    ips.iter().fold(eth0, |eth0, ip| eth0.with_addr(*ip, 8))
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Prints the medians of rounds, each with our time and the peer's, in nanoseconds.
fn report(name: &str, rounds: &[(f64, f64)]) {
    let median = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!(
        "| {name} | {:.1} ns | {:.1} ns | {:.3} |",
        median(&|(ours, _)| *ours),
        median(&|(_, peer)| *peer),
        median(&|(ours, peer)| ours / peer),
    );
}
