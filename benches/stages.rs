//! One group a stage, each row beside what a server does without this crate.

use std::collections::HashSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use bindaddr::addr::Network;
use bindaddr::interfaces::Interface;
use bindaddr::{BindTarget, Interfaces, ListenAddr, ListenAddrs};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use socket2::{Domain, SockAddr, Socket, Type};

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for written in ["127.0.0.1:8080", "[2001:db8::1]:8080"] {
        group.bench_with_input(BenchmarkId::new("ours", written), written, |b, w| {
            b.iter(|| black_box(w).parse::<ListenAddr>().expect("it is one"));
        });
        group.bench_with_input(BenchmarkId::new("std", written), written, |b, w| {
            b.iter(|| black_box(w).parse::<SocketAddr>().expect("it is one"));
        });
    }
    for written in [
        "*:8080",
        "localhost:8080",
        "eth0:8080",
        "[fe80::1%eth0]:8080",
        "::1:80",
    ] {
        group.bench_with_input(BenchmarkId::new("ours", written), written, |b, w| {
            b.iter(|| black_box(w).parse::<ListenAddr>().is_ok());
        });
    }
    for size in [1_000, 10_000, 100_000] {
        let garbage = "fe80::".repeat(size / 6);
        group.throughput(Throughput::Bytes(garbage.len() as u64));
        group.bench_with_input(BenchmarkId::new("ours/garbage", size), &*garbage, |b, w| {
            b.iter(|| black_box(w).parse::<ListenAddr>().is_err());
        });
    }
    group.finish();
}

fn host_of(addresses: u32) -> Interfaces {
    let first = u32::from(Ipv4Addr::new(10, 0, 0, 1));
    let eth0 = (0..addresses).fold(Interface::new("eth0", 2), |eth0, n| {
        eth0.with_addr(Ipv4Addr::from_bits(first + n).into(), 8)
    });
    std::iter::once(eth0).collect()
}

fn classify(c: &mut Criterion) {
    let mut group = c.benchmark_group("classify");
    for addresses in [2, 100, 10_000, 100_000] {
        let host = host_of(addresses);
        let listed: Vec<IpAddr> = host
            .iter()
            .flat_map(Interface::addrs)
            .map(bindaddr::interfaces::InterfaceAddr::ip)
            .collect();
        let set: HashSet<IpAddr> = listed.iter().copied().collect();
        let fast: HashSet<IpAddr, foldhash::fast::FixedState> = listed.iter().copied().collect();
        let own = *listed.last().expect("there is one");
        let other = IpAddr::from([10, 255, 0, 1]);
        for (name, ip) in [("own", own), ("other", other)] {
            group.bench_with_input(
                BenchmarkId::new(format!("ours/{name}"), addresses),
                &ip,
                |b, ip| {
                    b.iter(|| BindTarget::classify(black_box(*ip), &host));
                },
            );
            group.bench_with_input(
                BenchmarkId::new(format!("hash-set/{name}"), addresses),
                &ip,
                |b, ip| {
                    b.iter(|| set.contains(black_box(ip)));
                },
            );
            group.bench_with_input(
                BenchmarkId::new(format!("foldhash/{name}"), addresses),
                &ip,
                |b, ip| {
                    b.iter(|| fast.contains(black_box(ip)));
                },
            );
            group.bench_with_input(
                BenchmarkId::new(format!("scan/{name}"), addresses),
                &ip,
                |b, ip| {
                    b.iter(|| listed.contains(black_box(ip)));
                },
            );
        }
    }
    group.finish();
}

/// Texts against addresses: each of the two doubled.
fn resolve(c: &mut Criterion) {
    let mut group = c.benchmark_group("resolve");
    for (texts, addresses) in [(1_000, 10_000), (2_000, 10_000), (1_000, 20_000)] {
        let host = host_of(addresses);
        let first = u32::from(Ipv4Addr::new(10, 0, 0, 1));
        for kind in ["literals", "networks"] {
            let addrs: Vec<ListenAddr> = (0..texts)
                .map(|n| Ipv4Addr::from_bits(first + 4 * n))
                .map(|ip| match kind {
                    "literals" => format!("{ip}:80"),
                    _ => format!("{}:80", Network::containing(ip.into(), 30)),
                })
                .map(|text| text.parse().expect("it is one"))
                .collect();
            let id = BenchmarkId::new(kind, format!("{texts}x{addresses}"));
            group.bench_with_input(id, &addrs, |b, addrs| {
                b.iter(|| {
                    let targets = addrs.iter().flat_map(|addr| addr.resolve(&host));
                    targets.map(|targets| targets.len()).sum::<usize>()
                });
            });
        }
    }
    group.finish();
}

fn enumerate(c: &mut Criterion) {
    let mut group = c.benchmark_group("enumerate");
    group.bench_function("ours", |b| {
        b.iter(|| Interfaces::system().expect("they can be read"));
    });
    group.bench_function("if-addrs", |b| {
        b.iter(|| if_addrs::get_if_addrs().expect("they can be read"));
    });
    group.finish();
}

/// The same system calls by hand, on an IPv6 socket.
fn socket2_v6(text: &str) -> (Option<SocketAddr>, Socket) {
    let addr: SocketAddr = text.parse().expect("it is one");
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).expect("IPv6 is there");
    socket.set_reuse_address(true).expect("it is an option");
    socket.set_only_v6(true).expect("it is an option");
    socket.bind(&SockAddr::from(addr)).expect("it is there");
    socket.listen(i32::MAX).expect("it is bound");
    (socket.local_addr().expect("it has one").as_socket(), socket)
}

fn std_named(text: &str) -> (SocketAddr, TcpListener) {
    let addr: SocketAddr = text.parse().expect("it is one");
    let listener = TcpListener::bind(addr).expect("loopback is there");
    (listener.local_addr().expect("it has one"), listener)
}

fn bind_rows(c: &mut Criterion, name: &str) {
    let mut group = c.benchmark_group(name);
    group.sample_size(200);
    group.bench_function("fixed-v4/std", |b| {
        let addr: SocketAddr = "127.0.0.2:4712".parse().expect("it is one");
        b.iter(|| TcpListener::bind(black_box(addr)).expect("the port is free"));
    });
    group.bench_function("fixed-v4/ours", |b| {
        b.iter(|| bindaddr::bind(black_box("127.0.0.2:4712")).expect("the port is free"));
    });
    group.bench_function("port0-v4/std", |b| {
        b.iter(|| std_named(black_box("127.0.0.1:0")));
    });
    group.bench_function("port0-v4/ours", |b| {
        b.iter(|| bindaddr::bind(black_box("127.0.0.1:0")).expect("loopback is there"));
    });
    group.bench_function("port0-v6/socket2", |b| {
        b.iter(|| socket2_v6(black_box("[::1]:0")));
    });
    group.bench_function("port0-v6/ours", |b| {
        b.iter(|| bindaddr::bind(black_box("[::1]:0")).expect("loopback is there"));
    });
    group.finish();
}

fn bind(c: &mut Criterion) {
    bind_rows(c, "bind");
    let mut group = c.benchmark_group("bind");
    group.bench_function("localhost/ours", |b| {
        b.iter(|| bindaddr::bind(black_box("localhost:0")).expect("loopback is there"));
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    group.bench_function("tokio/tokio", |b| {
        b.iter(|| {
            let bind = tokio::net::TcpListener::bind(black_box("127.0.0.2:4713"));
            runtime.block_on(bind).expect("the port is free")
        });
    });
    group.bench_function("tokio/ours", |b| {
        b.iter(|| {
            let bound = bindaddr::BindOptions::new()
                .nonblocking(true)
                .bind(black_box("127.0.0.2:4713"));
            let mut listeners = bound.expect("the port is free").into_iter();
            let listener = listeners.next().expect("there is one").into_std();
            tokio::net::TcpListener::from_std(listener).expect("it is non-blocking")
        });
    });
    group.finish();
}

/// The same with many listeners open.
fn bind_crowded(c: &mut Criterion) {
    let mut crowd = Vec::new();
    for many in [1_000, 10_000] {
        while crowd.len() < many {
            crowd.push(TcpListener::bind("127.0.0.1:0").expect("there are ports"));
        }
        bind_rows(c, &format!("bind-beside-{many}"));
    }
}

fn plan(c: &mut Criterion) {
    let mut group = c.benchmark_group("plan");
    group.sample_size(10);
    for sockets in [5_000, 10_000] {
        let texts = (0..sockets).map(|n| format!("127.{}.{}.1:{}", n / 200, n % 200, 5000 + n % 7));
        let addrs = ListenAddrs::parse_each(texts).expect("they are some");
        group.bench_with_input(BenchmarkId::new("check", sockets), &addrs, |b, addrs| {
            b.iter(|| assert!(bindaddr::check(addrs).is_ok()));
        });
    }
    group.finish();
}

criterion_group!(
    stages,
    parse,
    classify,
    resolve,
    enumerate,
    bind,
    bind_crowded,
    plan
);
criterion_main!(stages);
