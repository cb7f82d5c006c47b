//! Programs that a new user writes without reading the documentation.

// References to what could be passed by value are what people try.
#![allow(clippy::needless_borrows_for_generic_args)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener};

use bindaddr::addr::{Host, ParseListError};
use bindaddr::diagnosis::HintKind;
use bindaddr::interfaces::Interface;
use bindaddr::plan::Setting;
use bindaddr::{BindOptions, BindTarget, Exposure, Interfaces, ListenAddr, ListenAddrs, bind};

/// Shows that the expressions compile and bind.
fn binds(listeners: Result<bindaddr::Listeners, bindaddr::BindError>, sockets: usize) {
    assert_eq!(
        listeners
            .map(|listeners| listeners.len())
            .map_err(|err| err.to_string()),
        Ok(sockets)
    );
}

#[test]
fn bind_accepts_common_types() {
    let ip = IpAddr::from([127, 0, 0, 1]);
    let addr = SocketAddr::new(ip, 0);
    let text = String::from("127.0.0.1:0");
    let parsed: ListenAddr = text.parse().unwrap();
    let list: ListenAddrs = "127.0.0.1:0, 127.0.0.1:0".parse().unwrap();
    let target = BindTarget::parse("127.0.0.1").unwrap();

    binds(bind("127.0.0.1:0"), 1);
    binds(bind(&text), 1);
    binds(bind(text.clone()), 1);
    binds(bind(addr), 1);
    binds(bind(&addr), 1);
    binds(bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)), 1);
    binds(bind(&parsed), 1);
    binds(bind(parsed.clone()), 1);
    // Hosts and a port.
    binds(bind(("127.0.0.1", 0)), 1);
    binds(bind((String::from("127.0.0.1"), 0)), 1);
    binds(bind((ip, 0)), 1);
    binds(bind((Ipv4Addr::LOCALHOST, 0)), 1);
    binds(bind((&target, 0)), 1);
    binds(bind((target, 0)), 1);
    binds(bind((&[ip, ip], 0)), 2);
    binds(bind((vec![ip, ip], 0)), 2);
    binds(bind((&["127.0.0.1", "127.0.0.1"][..], 0)), 2);
    binds(bind(("127.0.0.1, 127.0.0.1", 0)), 2);
    // Lists.
    binds(bind("127.0.0.1:0, 127.0.0.1:0"), 2);
    binds(bind(["127.0.0.1:0", "127.0.0.1:0"]), 2);
    binds(bind(&["127.0.0.1:0", "127.0.0.1:0"]), 2);
    binds(bind(&[addr, addr]), 2);
    binds(bind(vec![addr, addr]), 2);
    binds(bind(&list), 2);
    binds(bind(list), 2);
    binds(bind(vec![parsed.clone(), parsed.clone()]), 2);
    binds(bind([&parsed, &parsed]), 2);
    binds(bind([("127.0.0.1", 0), ("127.0.0.1", 0)]), 2);
    binds(bind([Setting::from("127.0.0.1:0"), Setting::from(addr)]), 2);
    // IPv6 addresses may be missing on this host.
    let v6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
    for listeners in [bind(v6), bind(("::1", 0)), bind((Ipv6Addr::LOCALHOST, 0))] {
        let _ = listeners.map(|listeners| assert_eq!(listeners.len(), 1));
    }
}

#[test]
fn listeners_behave_like_a_vec() {
    let listeners = bind("127.0.0.1:0").unwrap();
    let port = listeners[0].local_addr().port();
    assert_eq!(listeners.len(), 1);
    assert!(!listeners.is_empty());
    assert_eq!(
        listeners.first().map(|first| first.local_addr().port()),
        Some(port)
    );
    assert_eq!(listeners.port(), Some(port));
    assert_eq!(listeners.iter().count(), 1);
    for listener in &listeners {
        assert_eq!(listener.local_addr().port(), port);
    }
    let mut all = bindaddr::Listeners::default();
    assert_eq!((all.len(), all.port()), (0, None));
    all.extend(listeners);
    all.extend(bind("127.0.0.1:0").unwrap());
    assert_eq!((all.len(), all.port()), (2, None));
    let all = all.into_single().unwrap_err();
    let std: Vec<TcpListener> = all.into_std();
    assert_eq!(std.len(), 2);
    let only: TcpListener = bind("127.0.0.1:0").unwrap().into_single().unwrap().into();
    drop(only);
    let collected: bindaddr::Listeners = bind("127.0.0.1:0").unwrap().into_iter().collect();
    assert_eq!(collected.len(), 1);
}

#[cfg(unix)]
#[test]
fn listener_is_a_descriptor() {
    use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

    let listener = bind("127.0.0.1:0").unwrap().into_single().unwrap();
    assert_eq!(listener.as_fd().as_raw_fd(), listener.as_raw_fd());
    let _owned: OwnedFd = listener.into();
}

#[test]
fn hosts_without_a_port_are_parsed() {
    for (host, canonical) in [
        (
            "fe80::f4e5:98ff:fe22:7461",
            "[fe80::f4e5:98ff:fe22:7461]:80",
        ),
        ("2001:db8::10:53", "[2001:db8::10:53]:80"),
        ("fd00::1:2", "[fd00::1:2]:80"),
        ("eth0", "eth0:80"),
    ] {
        assert_eq!(
            ListenAddr::from_host(host, 80).unwrap().to_string(),
            canonical
        );
        assert!(host.parse::<Host>().is_ok());
    }
    assert!(ListenAddr::from_host("127.0.0.1:0", 80).is_err());
    let addrs = ListenAddrs::from(vec!["127.0.0.1:80".parse::<ListenAddr>().unwrap()]);
    assert_eq!(addrs.len(), 1);
}

#[test]
fn exposure_is_known_before_a_socket_is_open() {
    let eth0 = Interface::new("eth0", 2).with_addr([8, 8, 4, 4].into(), 24);
    let host: Interfaces = [eth0].into_iter().collect();
    let addrs: ListenAddrs = "eth0:80, localhost:80".parse().unwrap();
    let plan = BindOptions::new().plan_on(&addrs, &host).unwrap();
    assert_eq!(plan.exposure(&host), Exposure::Global);
    assert_eq!(plan.reach(&host).addrs()[0].interface(), Some("eth0"));
    let names: Vec<&str> = plan
        .warnings(&host)
        .iter()
        .map(bindaddr::diagnosis::Warning::name)
        .collect();
    assert!(names.contains(&"global-address"), "{names:?}");
    assert_eq!(plan.sockets().len(), 3);
}

#[test]
fn errors_convert_to_io_error() {
    fn listen(text: &str) -> std::io::Result<bindaddr::Listeners> {
        let addr: ListenAddr = text.parse()?;
        let _addrs: ListenAddrs = text.parse()?;
        BindTarget::parse("127.0.0.1")?;
        let _host = Interfaces::system()?;
        let plan = BindOptions::new().plan(addr)?;
        Ok(plan.bind()?)
    }
    assert_eq!(
        listen("localhost").unwrap_err().kind(),
        std::io::ErrorKind::InvalidInput
    );
    assert!(listen("127.0.0.1:0").is_ok());
    // The kind distinguishes a mistake in the text from a missing interface; the sentence stays.
    let err = io::Error::from("127.0.0.1:80, x".parse::<ListenAddrs>().unwrap_err());
    assert_eq!(err.kind(), io::ErrorKind::InvalidInput);
    assert!(err.get_ref().unwrap().is::<ParseListError>());
    for (text, kind) in [
        ("127.0.0.1:80", io::ErrorKind::InvalidInput),
        ("ipv4@no-such-if0", io::ErrorKind::AddrNotAvailable),
    ] {
        let err = BindTarget::parse(text).unwrap_err();
        let said = err.to_string();
        let err = io::Error::from(err);
        assert_eq!((err.kind(), err.to_string()), (kind, said));
    }
    let err = bind("198.51.100.1:0").unwrap_err();
    assert_eq!(err.kind(), std::io::ErrorKind::AddrNotAvailable);
    let code = err.raw_os_error();
    assert!(code.is_some());
    let err = bind("198.51.100.1:0").unwrap_err();
    assert_eq!(err.into_os_error().and_then(|err| err.raw_os_error()), code);
    // The output of `fn main() -> Result<_, BindError>`.
    let err = bind("198.51.100.1:0").unwrap_err();
    let printed = format!("{err:?}");
    assert!(printed.starts_with(&format!("{err}\nhint: ")), "{printed}");
}

#[test]
fn alternate_form_has_one_failure_per_line() {
    let err = bind(["224.0.0.1:80", "224.0.0.2:80", "localhost", "127.0.0.1:0"]).unwrap_err();
    assert_eq!(
        format!("{err:#}"),
        "cannot listen on 3 of 4 addresses\
         \n  224.0.0.1:80, 224.0.0.2:80: no TCP client can connect to a multicast address; use an address of this host\
         \n  invalid listen address \"localhost\": the port is missing; write `localhost:8080`\
         \n    hint: write `localhost:8080`"
    );
    // Equal causes keep each hint, and an entry without a name leaves no comma.
    let err = bind("127.0.0.1:80,,localhost,localhost").unwrap_err();
    let lines = format!("{err:#}");
    assert!(!lines.contains(" , ") && !lines.contains("  ,"), "{lines}");
    let err = bind(["198.51.100.1:5000", "198.51.100.1:5001"]).unwrap_err();
    let lines = format!("{err:#}");
    for hint in err.hints() {
        let is_shown = lines.contains(&format!("\n    hint: {hint}"));
        assert_eq!(is_shown, hint.kind() != HintKind::Program, "{lines}");
        // As an operator reads it who sees what `main` returns.
        assert_eq!(format!("{err:?}").contains(hint.text()), is_shown);
    }
}
