//! One group a stage, each row beside what a server does without this crate.

use std::collections::HashSet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use bindaddr::{BindTarget, Interface, Interfaces, ListenAddr, Network};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

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
    for addresses in [2, 100, 10_000] {
        let host = host_of(addresses);
        let listed: Vec<IpAddr> = host
            .iter()
            .flat_map(Interface::addrs)
            .map(bindaddr::InterfaceAddr::ip)
            .collect();
        let set: HashSet<IpAddr> = listed.iter().copied().collect();
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
    for addresses in [2, 100, 10_000] {
        let made_up: Vec<Interface> = host_of(addresses).iter().cloned().collect();
        group.bench_with_input(
            BenchmarkId::new("index", addresses),
            &made_up,
            |b, made_up| {
                b.iter(|| made_up.iter().cloned().collect::<Interfaces>());
            },
        );
    }
    group.finish();
}

fn bind(c: &mut Criterion) {
    let mut group = c.benchmark_group("bind");
    for written in ["127.0.0.1:0", "[::1]:0"] {
        group.bench_with_input(BenchmarkId::new("ours", written), written, |b, w| {
            b.iter(|| bindaddr::bind(black_box(w)).expect("loopback is there"));
        });
        group.bench_with_input(BenchmarkId::new("std", written), written, |b, w| {
            b.iter(|| {
                let addr: SocketAddr = black_box(w).parse().expect("it is one");
                let listener = TcpListener::bind(addr).expect("loopback is there");
                (listener.local_addr().expect("it has one"), listener)
            });
        });
    }
    group.bench_function("ours/127.0.0.2:4712", |b| {
        b.iter(|| bindaddr::bind(black_box("127.0.0.2:4712")).expect("the port is free"));
    });
    group.bench_function("std/127.0.0.2:4712", |b| {
        b.iter(|| TcpListener::bind(black_box("127.0.0.2:4712")).expect("the port is free"));
    });
    group.bench_function("ours/localhost:0", |b| {
        b.iter(|| bindaddr::bind(black_box("localhost:0")).expect("loopback is there"));
    });
    group.bench_function("ours/foreign", |b| {
        b.iter(|| bindaddr::bind(black_box("198.51.100.1:0")).expect_err("it is nobody's"));
    });
    group.bench_function("std/foreign", |b| {
        b.iter(|| TcpListener::bind(black_box("198.51.100.1:0")).expect_err("it is nobody's"));
    });
    group.finish();
}

criterion_group!(stages, parse, classify, resolve, enumerate, bind);
criterion_main!(stages);
