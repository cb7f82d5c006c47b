//! Counts the heap allocations on the way to a bound socket.

use allocation_counter::measure;
use bindaddr::interfaces::Interface;
use bindaddr::target::Class;
use bindaddr::{BindTarget, Interfaces, ListenAddr};

#[test]
fn literal_parses_without_allocation() {
    for text in [
        "127.0.0.1:8080",
        "[2001:db8::1]:8080",
        "0.0.0.0:0",
        "[::]:80",
        "*:80",
        "localhost:80",
        "127.0.0.1:8000-8010",
        "[fe80::1%2]:80",
        "192.0.2.0/24:80",
    ] {
        let mut read = None;
        let counted = measure(|| read = Some(text.parse::<ListenAddr>()));
        assert!(read.is_some_and(|read| read.is_ok()), "{text}");
        assert_eq!(counted.count_total, 0, "{text}");
    }
}

#[test]
fn literal_classifies_without_allocation() {
    let eth0 = Interface::new("eth0", 2).with_addr([192, 0, 2, 7].into(), 24);
    let host: Interfaces = [eth0].into_iter().collect();
    for ip in [[0, 0, 0, 0], [127, 0, 0, 1], [192, 0, 2, 7], [192, 0, 2, 8]] {
        let counted = measure(|| {
            std::hint::black_box(Class::of(ip.into(), &host));
        });
        assert_eq!(counted.count_total, 0, "{ip:?}");
        let counted = measure(|| drop(BindTarget::classify(ip.into(), &host)));
        assert_eq!(counted.count_total, 0, "{ip:?}");
    }
}

// On Windows std starts Winsock, and takes more.
#[cfg(unix)]
#[test]
fn literal_bind_allocates_only_its_vector() {
    use bindaddr::bind;

    let addr: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    let counted = measure(|| drop(bind("127.0.0.1:0").unwrap()));
    assert_eq!(counted.count_total, 1);
    let counted = measure(|| drop(bind(addr).unwrap()));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn parse_error_allocates_only_its_text() {
    for garbage in [
        "x:y:".repeat(25_000),
        "[".repeat(100_000),
        "1.".repeat(50_000),
    ] {
        let mut read = None;
        let counted = measure(|| read = Some(garbage.parse::<ListenAddr>()));
        assert!(read.is_some_and(|read| read.is_err()));
        assert!(counted.bytes_max < 4 * 100_000, "{counted:?}");
        assert!(counted.count_total < 20, "{counted:?}");
    }
}
