//! What Windows does, as far as it can be seen under Wine, which is Windows' API over the sockets
//! of Linux: what it answers about sharing an address, and to a broadcast, is not asked here.
#![cfg(windows)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use bindaddr::diagnosis::Step;
use bindaddr::{BindOptions, BindTarget, Cause, Interfaces, bind, bind_udp};

/// The address that this host has besides loopback, where the tests are run on one that was made
/// for them: `192.168.71.67/16` of an interface that has `2001:db8:71::67/64` as well.
const HOST: &str = "BINDADDR_TEST_HOST";

/// WSAEADDRINUSE and WSAEADDRNOTAVAIL of "Windows Sockets Error Codes".
const IN_USE: i32 = 10048;
const NOT_AVAILABLE: i32 = 10049;

#[test]
fn winsock_error_is_kept() {
    let held = bind("127.0.0.1:0").unwrap();
    let addr = held.as_slice()[0].local_addr();
    let err = bind(addr).unwrap_err();
    assert_eq!(err.raw_os_error(), Some(IN_USE));
    assert_eq!(err.step(), Step::Bind);
    assert_eq!(
        err.to_string(),
        format!(
            "cannot listen on {addr}: port {} is in use by another socket",
            addr.port()
        ),
    );
    let hints: Vec<_> = err.hints().iter().map(ToString::to_string).collect();
    assert_eq!(hints, ["`netstat -ano` shows which process holds the port"]);

    // TEST-NET-2 (RFC 5737), which no host has.
    let err = bind("198.51.100.1:0").unwrap_err();
    assert_eq!(err.raw_os_error(), Some(NOT_AVAILABLE),);
    assert!(matches!(err.cause(), Cause::NotOnThisHost(_)), "{err}");
}

#[test]
fn windows_port_is_exclusive() {
    for text in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let listeners = bind(text).unwrap();
        for listener in &listeners {
            let socket = socket2::SockRef::from(listener);
            assert!(!socket.reuse_address().unwrap(), "{text}");
        }
    }
    let listeners = bind_udp("127.0.0.1:0").unwrap();
    let socket = socket2::SockRef::from(&listeners.as_slice()[0]);
    assert!(!socket.reuse_address().unwrap());
}

#[test]
fn ipv6_wildcard_is_dual_stack() {
    let both = bind("[::]:0").unwrap();
    let port = both.as_slice()[0].local_addr().port();
    for ip in ["127.0.0.1", "::1"] {
        let ip: IpAddr = ip.parse().unwrap();
        TcpStream::connect((ip, port)).unwrap_or_else(|err| panic!("{ip}: {err}"));
    }
    drop(both);
    let only = bind("ipv6@*:0").unwrap();
    let port = only.as_slice()[0].local_addr().port();
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    // IPV6_V6ONLY is 1 by default, so both are there.
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
}

#[test]
fn missing_option_is_named() {
    for (options, name) in [
        (BindOptions::new().reuse_port(true), "reuse_port"),
        (BindOptions::new().freebind(true), "freebind"),
        (BindOptions::new().device("Ethernet"), "device"),
    ] {
        let err = options.bind("127.0.0.1:0").unwrap_err();
        assert!(
            matches!(err.cause(), Cause::UnsupportedOption { option, .. } if *option == name),
            "{err}"
        );
    }
}

#[test]
fn system_snapshot_matches_wine() {
    if std::env::var_os(HOST).is_none() {
        eprintln!("SKIPPED system_snapshot_matches_wine: {HOST} was not created for the test");
        return;
    }
    let host = Interfaces::system().unwrap();
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    for (own, prefix_len) in [("192.168.71.67", 16), ("2001:db8:71::67", 64)] {
        let interface = host.by_ip(ip(own)).next().expect("it is there");
        let addr = interface.addrs().iter().find(|addr| addr.ip() == ip(own));
        assert_eq!(
            addr.map(bindaddr::interfaces::InterfaceAddr::prefix_len),
            Some(prefix_len)
        );
        assert!(matches!(
            BindTarget::classify(ip(own), &host),
            BindTarget::Local(_)
        ));
        bind(SocketAddr::new(ip(own), 0)).unwrap();
    }
    for own in ["127.0.0.1", "127.0.0.2", "::1"] {
        assert!(BindTarget::classify(ip(own), &host).is_loopback());
    }
    // In the same network, and on no host.
    for other in ["192.168.158.94", "2001:db8:71::1"] {
        let BindTarget::Foreign(foreign) = BindTarget::classify(ip(other), &host) else {
            panic!("{other} is not of this host");
        };
        let own = if ip(other).is_ipv4() {
            "192.168.71.67"
        } else {
            "2001:db8:71::67"
        };
        assert_eq!(foreign.nearest().first(), Some(&ip(own)));
        let err = bind(SocketAddr::new(ip(other), 0)).unwrap_err();
        assert!(matches!(err.cause(), Cause::NotOnThisHost(_)), "{err}");
    }
}
