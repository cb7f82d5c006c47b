//! `bind` against the real loopback; nothing here leaves this host.

mod util;

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use bindaddr::diagnosis::{Hint, Step};
use bindaddr::{
    BindOptions, BindTarget, Cause, Interfaces, ListenAddr, Listener, Listeners, bind, bind_udp,
};

#[track_caller]
fn one<S>(listeners: Listeners<S>) -> Listener<S> {
    let mut listeners: Vec<Listener<S>> = listeners.into_iter().collect();
    assert_eq!(listeners.len(), 1);
    listeners.remove(0)
}

/// Port 0, so that tests can run side by side.
fn bound() -> Listener {
    one(bind("127.0.0.1:0").expect("loopback is there on every host"))
}

/// The cause for a port that this process holds.
fn in_use(addr: SocketAddr) -> String {
    in_use_by(addr, "this process listens on")
}

fn in_use_by(addr: SocketAddr, who: &str) -> String {
    let port = addr.port();
    let ip = match addr {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    if cfg!(target_os = "linux") {
        format!("port {port} is in use: {who} {ip}")
    } else {
        format!("port {port} is in use by another socket")
    }
}

#[test]
fn taken_port_is_in_use() {
    let first = bound();
    let addr = first.local_addr();
    let err = bind(addr).unwrap_err();

    assert_eq!(
        err.to_string(),
        format!("cannot listen on {addr}: {}", in_use(addr)),
    );
    assert!(matches!(err.cause(), Cause::InUse { port, .. } if *port == addr.port()));
    assert_eq!((err.addr(), err.step()), (Some(addr), Step::Bind));
    // The sentence names the holder.
    #[cfg(target_os = "linux")]
    assert_eq!(err.hints(), []);
    assert!(!err.is_transient());
    let source = err.source().expect("the system's words stay reachable");
    assert_eq!(
        source.downcast_ref::<io::Error>().unwrap().kind(),
        io::ErrorKind::AddrInUse
    );
    assert_eq!(
        err.raw_os_error(),
        source.downcast_ref::<io::Error>().unwrap().raw_os_error()
    );
    let io = io::Error::from(err);
    assert_eq!(io.kind(), io::ErrorKind::AddrInUse);
    assert!(io.get_ref().unwrap().is::<bindaddr::BindError>());
}

#[test]
fn taken_udp_port_is_in_use() {
    let first = one(bind_udp("127.0.0.1:0").unwrap());
    let addr = first.local_addr();
    assert_eq!(
        bind_udp(addr).unwrap_err().to_string(),
        format!(
            "cannot listen on UDP {addr}: {}",
            in_use_by(addr, "a socket of this process is bound to")
        ),
    );
    // TCP and UDP do not meet.
    one(bind(addr).unwrap());
}

#[test]
fn bind_accepts_each_kind_of_setting() {
    let addr: ListenAddr = "127.0.0.1:0".parse().unwrap();
    let socket_addr: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let target = BindTarget::parse("127.0.0.1").unwrap();
    let text = "127.0.0.1:0".to_owned();
    for listeners in [
        bind("127.0.0.1:0"),
        bind(&text),
        bind(text.clone()),
        bind(&addr),
        bind(addr.clone()),
        bind(socket_addr),
        bind((&target, 0)),
        bind((target.clone(), 0)),
    ] {
        let listener = one(listeners.unwrap());
        assert_eq!(listener.local_addr().ip(), Ipv4Addr::LOCALHOST);
        assert_eq!(
            listener.as_std().local_addr().unwrap(),
            listener.local_addr()
        );
    }
}

#[test]
fn bind_target_keeps_text() {
    if !util::is_like_linux("bind_target_keeps_text") {
        return;
    }
    let host: Interfaces =
        [bindaddr::interfaces::Interface::new("eth0", 77)
            .with_addr("fe80::1".parse().unwrap(), 64)]
        .into_iter()
        .collect();
    let taken = bound().local_addr().port();
    let held: Vec<_> = ["0.0.0.0", "[::]"]
        .map(|any| {
            BindOptions::new()
                .only_v6(true)
                .bind(format!("{any}:{taken}"))
                .unwrap()
        })
        .into_iter()
        .collect();
    for (written, text) in [
        ("*", format!("*:{taken}")),
        ("[::]", format!("[::]:{taken}")),
        ("0.0.0.0", format!("0.0.0.0:{taken}")),
        ("ipv6@*", format!("ipv6@*:{taken}")),
        ("localhost", format!("localhost:{taken}")),
        ("127.0.0.1", format!("127.0.0.1:{taken}")),
        ("fe80::1%eth0", format!("[fe80::1%77]:{taken}")),
    ] {
        let target = BindTarget::parse_with(written, &host).unwrap();
        let err = bind((&target, taken)).unwrap_err();
        assert_eq!(err.text(), text, "{written}");
    }
    drop(held);
}

#[test]
fn localhost_binds_both_loopbacks_on_one_port() {
    fn check<S>(listeners: &Listeners<S>) {
        let addrs: Vec<SocketAddr> = listeners.iter().map(Listener::local_addr).collect();
        let port = addrs[0].port();
        assert_ne!(port, 0);
        assert_eq!(
            addrs,
            [
                (Ipv4Addr::LOCALHOST, port).into(),
                (Ipv6Addr::LOCALHOST, port).into()
            ],
        );
    }
    let listeners = bind("localhost:0").unwrap();
    check(&listeners);
    for listener in &listeners {
        TcpStream::connect(listener.local_addr()).unwrap();
    }
    check(&bind_udp("localhost:0").unwrap());
}

#[test]
fn bind_opens_all_or_none() {
    let port = {
        let both = bind("localhost:0").unwrap();
        both.as_slice()[0].local_addr().port()
    };
    let held = bind(format!("[::1]:{port}")).unwrap();
    let err = bind(format!("localhost:{port}")).unwrap_err();
    assert_eq!(
        err.to_string(),
        format!(
            "cannot listen on localhost:{port}: [::1]:{port}: {}",
            in_use((Ipv6Addr::LOCALHOST, port).into())
        ),
    );
    assert_eq!(err.errors().count(), 1);
    // 127.0.0.1 was opened, and is not any more.
    let first = bind(format!("127.0.0.1:{port}")).unwrap();

    let err = bind(format!("localhost:{port}")).unwrap_err();
    assert_eq!(err.errors().count(), 2, "every failure is reported");
    assert_eq!(
        err.to_string(),
        format!(
            "cannot listen on localhost:{port}: (1) 127.0.0.1:{port}: {}; (2) [::1]:{port}: {}",
            in_use((Ipv4Addr::LOCALHOST, port).into()),
            in_use((Ipv6Addr::LOCALHOST, port).into()),
        ),
    );
    let hints = err.hints();
    let each: HashSet<&Hint> = hints.iter().collect();
    assert_eq!(each.len(), hints.len(), "none twice");
    drop((held, first));
}

#[test]
fn range_binds_first_free_port() {
    // Three ports in a row that were free a moment ago.
    let (first, held) = loop {
        let held = bound();
        let first = held.local_addr().port();
        if first < u16::MAX - 2 && (1..=2).all(|n| bind(format!("127.0.0.1:{}", first + n)).is_ok())
        {
            break (first, held);
        }
    };
    let range = format!("127.0.0.1:{first}-{}", first + 1);
    let second = one(bind(&range).unwrap());
    assert_eq!(second.local_addr().port(), first + 1);
    let err = bind(&range).unwrap_err();
    assert_eq!(
        err.to_string(),
        format!(
            "cannot listen on {range}: 127.0.0.1:{last}: all ports {first}-{last} are in use{}",
            if cfg!(target_os = "linux") {
                ": this process holds 2"
            } else {
                ""
            },
            last = first + 1,
        ),
    );
    assert_eq!(io::Error::from(err).kind(), io::ErrorKind::AddrInUse);
    drop(held);
    assert_eq!(one(bind(&range).unwrap()).local_addr().port(), first);
}

#[test]
fn tcp_bind_rejects_unreachable_addresses() {
    for (text, sentence) in [
        (
            "224.0.0.1:0",
            "no TCP client can connect to a multicast address; use an address of this host",
        ),
        (
            "[ff02::1%1]:0",
            "no TCP client can connect to a multicast address; use an address of this host",
        ),
        (
            "[ff05::2]:0",
            "no TCP client can connect to a multicast address; use an address of this host",
        ),
        (
            "255.255.255.255:0",
            "no TCP client can connect to a broadcast address; use an address of this host",
        ),
    ] {
        let err = bind(text).unwrap_err();
        assert_eq!(
            err.to_string(),
            format!("cannot listen on {text}: {sentence}")
        );
        assert_eq!(err.step(), Step::Validate);
        assert_eq!(err.raw_os_error(), None, "the kernel was not asked");
        assert!(err.source().is_none());
        assert_eq!(io::Error::from(err).kind(), io::ErrorKind::InvalidInput);
    }
    if cfg!(target_os = "linux") {
        // UDP receives on them.
        one(bind_udp("224.0.0.1:0").unwrap());
        one(bind_udp("255.255.255.255:0").unwrap());
    }
}

#[test]
fn invalid_text_is_a_parse_error() {
    let err = bind("127.0.0.1").unwrap_err();
    assert_eq!(
        err.to_string(),
        "invalid listen address \"127.0.0.1\": the port is missing; write `127.0.0.1:8080`",
    );
    assert_eq!(
        (err.step(), err.addr(), err.text()),
        (Step::Parse, None, "127.0.0.1")
    );
    assert!(matches!(err.cause(), Cause::InvalidText(_)));
    assert_eq!(io::Error::from(err).kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn unknown_interface_is_a_resolve_error() {
    let err = bind("no-such-name:80").unwrap_err();
    let sentence = "cannot listen on no-such-name:80: no interface named `no-such-name` has an address; available: ";
    assert!(err.to_string().starts_with(sentence), "{err}");
    assert_eq!((err.step(), err.addr()), (Step::Resolve, None));
    assert!(matches!(err.cause(), Cause::Unresolved(_)));
    assert_eq!(io::Error::from(err).kind(), io::ErrorKind::AddrNotAvailable);
}

// Elsewhere there is no such option at all.
#[cfg(target_os = "linux")]
#[test]
fn invalid_device_name_is_rejected() {
    // The kernel would take `lo`, or the first fifteen bytes.
    for (name, shown) in [
        ("", ""),
        ("lo\0junk", "lo\\0junk"),
        ("abcdefghijklmnop", "abcdefghijklmnop"),
        ("l/o", "l/o"),
        ("l o", "l o"),
        ("lo\n", "lo\\n"),
    ] {
        let err = BindOptions::new()
            .device(name)
            .bind("127.0.0.1:0")
            .unwrap_err();
        assert_eq!(
            err.to_string(),
            format!(
                "cannot listen on 127.0.0.1:0: `{shown}` is not a valid interface name (1 to 15 bytes, without `/`, NUL or white space)"
            ),
        );
    }
}

#[test]
fn options_are_set_or_rejected() {
    let options: [(&str, BindOptions); 3] = [
        ("reuse_port", BindOptions::new().reuse_port(true)),
        ("freebind", BindOptions::new().freebind(true)),
        ("device", BindOptions::new().device("lo")),
    ];
    for (name, options) in options {
        let opened = options.bind("127.0.0.1:0");
        if cfg!(target_os = "linux") {
            opened.unwrap_or_else(|err| panic!("Linux has it: {err}"));
        } else if let Err(err) = opened {
            assert_eq!(
                err.to_string(),
                format!(
                    "cannot listen on 127.0.0.1:0: the server sets the socket option `{name}`, which this operating system does not support"
                ),
            );
            assert_eq!(err.step(), Step::Option(name));
            assert_eq!(io::Error::from(err).kind(), io::ErrorKind::Unsupported);
        }
    }
}

#[cfg(unix)]
#[test]
fn reuse_port_shares_port_on_request() {
    let sharing = BindOptions::new().reuse_port(true);
    let first = one(sharing.bind("127.0.0.1:0").unwrap());
    one(sharing.bind(first.local_addr()).unwrap());
    assert!(matches!(
        bind(first.local_addr()).unwrap_err().cause(),
        Cause::InUse { .. }
    ));
}

#[test]
fn listener_becomes_non_blocking() {
    let idle = |listener: TcpListener| listener.accept().unwrap_err().kind();
    assert_eq!(
        idle(bound().into_std_nonblocking().unwrap()),
        io::ErrorKind::WouldBlock
    );
    let options = BindOptions::new().nonblocking(true);
    assert_eq!(
        idle(one(options.bind("127.0.0.1:0").unwrap()).into()),
        io::ErrorKind::WouldBlock
    );

    let socket: UdpSocket = one(bind_udp("127.0.0.1:0").unwrap())
        .into_std_nonblocking()
        .unwrap();
    assert_eq!(
        socket.recv(&mut [0; 8]).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    let socket: UdpSocket = one(options.bind_udp("127.0.0.1:0").unwrap()).into();
    assert_eq!(
        socket.recv(&mut [0; 8]).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[cfg(unix)]
#[test]
fn listener_implements_as_fd() {
    use std::os::fd::{AsFd, AsRawFd};

    let listener = bound();
    assert_eq!(listener.as_fd().as_raw_fd(), listener.as_std().as_raw_fd());
    // It yields a second std socket of the same listener.
    let second = TcpListener::from(listener.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(second.local_addr().unwrap(), listener.local_addr());
}

#[test]
fn bind_error_converts_to_io_error() {
    fn check<E: Error + Send + Sync + 'static>() {}
    fn shared<T: Send + Sync + std::fmt::Debug>() {}

    check::<bindaddr::addr::ParseError>();
    check::<bindaddr::interfaces::InterfacesError>();
    check::<bindaddr::target::ResolveError>();
    check::<bindaddr::BindError>();

    shared::<ListenAddr>();
    shared::<Interfaces>();
    shared::<BindTarget>();
    shared::<BindOptions>();
    shared::<bindaddr::reach::ReachableAddr>();
    shared::<Listeners>();
    shared::<Listeners<UdpSocket>>();
    assert!(
        size_of::<Result<Listeners, bindaddr::BindError>>() <= 32,
        "the error is boxed"
    );
}
