//! Sockets that do not match a setting.

use super::*;

#[test]
fn activation_rejects_other_socket_types() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let addr = client.local_addr().unwrap();
    let udp = UdpSocket::bind(addr).unwrap();
    let test = "mismatch::activation_rejects_other_socket_types";
    handed_over(test, vec![client.into(), udp.into()], addr, |addr| {
        let activation = Activation::from_env().unwrap();
        assert_eq!(activation.unused().collect::<Vec<_>>(), [addr, addr]);
        let options = BindOptions::new().activation(activation.clone());
        // The one is a connection.
        let err = options.bind(addr).unwrap_err();
        if cfg!(target_os = "linux") {
            assert!(matches!(err.cause(), Cause::InUse { .. }), "{err}");
        }
        assert_eq!(activation.unused().count(), 2);
        // And the other is one of UDP.
        options.bind_udp(addr).unwrap();
        assert_eq!(activation.unused().count(), 1);
    });
}

/// The socket passed on a port and the setting for it, with the text of the cause, the line of the
/// unit and the advised setting.
#[test]
fn handed_over_socket_that_does_not_fit_is_named() {
    if !util::is_like_linux("mismatch::handed_over_socket_that_does_not_fit_is_named") {
        return;
    }
    let only_v6 = |addr: &str| {
        let listeners = BindOptions::new().only_v6(true).bind(addr).unwrap();
        listeners.into_iter().next().unwrap().into_std()
    };
    let std = |addr: &str| TcpListener::bind(addr).unwrap();
    for (handed, wanted, cause, line, advised) in [
        (
            std("0.0.0.0:0"),
            "127.0.0.1",
            "0.0.0.0:PORT, which includes every IPv4 address",
            "ListenStream=127.0.0.1:PORT",
            Some("0.0.0.0:PORT"),
        ),
        (
            std("127.0.0.1:0"),
            "0.0.0.0",
            "127.0.0.1:PORT, which 0.0.0.0 includes",
            "ListenStream=0.0.0.0:PORT",
            Some("127.0.0.1:PORT"),
        ),
        (
            std("127.0.0.1:0"),
            "[::]",
            "127.0.0.1:PORT, which the dual-stack [::] includes",
            "ListenStream=[::]:PORT",
            Some("127.0.0.1:PORT"),
        ),
        (
            only_v6("[::]:0"),
            "[::]",
            "[::]:PORT, which is IPv6-only",
            "BindIPv6Only=both",
            None,
        ),
        (
            only_v6("[::]:0"),
            "[::1]",
            "[::]:PORT, which includes every IPv6 address",
            "ListenStream=[::1]:PORT",
            None,
        ),
        (
            std("[::]:0"),
            "ipv6@*",
            "[::]:PORT, which also accepts IPv4 clients",
            "BindIPv6Only=ipv6-only",
            None,
        ),
        (
            std("[::1]:0"),
            "[::]",
            "[::1]:PORT, which [::] includes",
            "ListenStream=[::]:PORT",
            Some("[::1]:PORT"),
        ),
    ] {
        let port = handed.local_addr().unwrap().port().to_string();
        let activation = activation_of(vec![handed.into()]);
        let options = BindOptions::new().activation(activation.clone());
        let setting = format!("{wanted}:{port}");
        let error = options.bind(&*setting).unwrap_err();
        let cause = cause.replace("PORT", &port);
        assert_eq!(
            error.cause().to_string(),
            format!("port {port} was handed over to the server as {cause}"),
            "{setting}"
        );
        let hints = error.hints();
        let lines = hints.iter().map(ToString::to_string);
        let lines: Vec<String> = lines.filter(|hint| hint.contains("socket unit")).collect();
        let line = line.replace("PORT", &port);
        let line = format!("`{line}` in the socket unit opens what the setting names");
        assert_eq!(lines, [line], "{setting}");
        // A setting that replaces it takes what was handed over.
        let replacing = hints.iter();
        let replacing = replacing.filter_map(|hint| Some((hint, hint.replacement()?)));
        let replacing: Vec<_> = replacing.collect();
        let others: Vec<&str> = replacing.iter().map(|(_, other)| *other).collect();
        let advised = advised.map(|advised| advised.replace("PORT", &port));
        assert_eq!(others, Vec::from_iter(advised.as_deref()), "{setting}");
        for (hint, other) in replacing {
            options.bind(other).unwrap();
            assert_eq!(activation.unused().count(), 0, "{setting} -> {other}");
            let kind = if other.starts_with("0.0.0.0") {
                HintKind::Widen
            } else {
                HintKind::Replace
            };
            assert_eq!(hint.kind(), kind, "{setting} -> {other}");
        }
    }
}

/// A handed-over address is not advised if another setting of the list conflicts with it.
#[test]
fn handed_over_address_that_another_setting_has_is_not_advised() {
    if !util::is_like_linux("mismatch::handed_over_address_that_another_setting_has_is_not_advised")
    {
        return;
    }
    for (handed, own, other) in [
        ("0.0.0.0", "127.0.0.1", "127.0.0.2"),
        ("[::]", "[::1]", "127.0.0.1"),
    ] {
        let socket = TcpListener::bind(format!("{handed}:0")).unwrap();
        let port = socket.local_addr().unwrap().port();
        let options = BindOptions::new().activation(activation_of(vec![socket.into()]));
        let advised = |list: String| -> Vec<String> {
            let error = options.bind(list).unwrap_err();
            let hints = error.errors().next().unwrap().hints().iter();
            let advised = hints.filter_map(|hint| hint.replacement());
            advised.map(str::to_owned).collect()
        };
        let alone = advised(format!("{own}:{port}, {other}:0"));
        assert_eq!(alone, [format!("{handed}:{port}")]);
        let both = advised(format!("{own}:{port}, {other}:{port}"));
        assert_eq!(both, [""; 0]);
    }
}

/// One does not listen, so no setting can take it; others are of UDP and on another port.
#[cfg(target_os = "linux")]
#[test]
fn handed_over_socket_that_is_not_in_the_way_is_not_named() {
    use socket2::{Domain, Socket, Type};

    util::netns::in_namespace(|| {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let addr: SocketAddr = "0.0.0.0:5000".parse().unwrap();
        bound.bind(&addr.into()).unwrap();
        let udp = UdpSocket::bind("0.0.0.0:5001").unwrap();
        let tcp = TcpListener::bind("0.0.0.0:5002").unwrap();
        let sockets = vec![bound.into(), udp.into(), tcp.into()];
        let options = BindOptions::new().activation(activation_of(sockets));
        let _held = TcpListener::bind("127.0.0.1:5001").unwrap();
        for setting in ["127.0.0.1:5000", "127.0.0.1:5001"] {
            let error = options.bind(setting).unwrap_err();
            // Linux before 6.8 does not report a socket that does not listen.
            let cause = error.cause().name();
            assert!(cause.starts_with("in-use"), "{setting}: {cause}");
        }
    });
}

#[cfg(target_os = "linux")]
#[test]
fn handed_over_socket_of_another_device_is_named() {
    use util::netns::{in_namespace, ip};

    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up");
        ip("link set far0 up");
        let addr = "0.0.0.0:7070";
        let on = |device: Option<&str>| {
            let options = BindOptions::new();
            let options = match device {
                Some(name) => options.device(name),
                None => options,
            };
            options.bind(addr).unwrap().into_std().remove(0)
        };
        let error = |handed: Option<&str>, wanted: Option<&str>| {
            let options = BindOptions::new().activation(activation_of(vec![on(handed).into()]));
            let options = match wanted {
                Some(name) => options.device(name),
                None => options,
            };
            let error = options.bind(addr).unwrap_err();
            let hints = error.hints().into_iter().map(|hint| hint.to_string());
            (error.cause().to_string(), hints.collect::<Vec<_>>())
        };
        let (cause, hints) = error(Some("eth0"), None);
        assert_eq!(
            cause,
            "port 7070 was handed over to the server as 0.0.0.0:7070 on the interface eth0 only"
        );
        assert_eq!(hints, [""; 0]);
        let (cause, hints) = error(None, Some("eth0"));
        assert_eq!(
            cause,
            "port 7070 was handed over to the server as 0.0.0.0:7070 on every interface"
        );
        assert_eq!(
            hints,
            ["`BindToDevice=eth0` in the socket unit opens what the setting names"]
        );
        // The hint works, also with another name of the interface.
        ip("link property add dev eth0 altname uplink0");
        for name in ["eth0", "uplink0"] {
            let activation = activation_of(vec![on(Some("eth0")).into()]);
            let options = BindOptions::new()
                .device(name)
                .activation(activation.clone());
            let error = options.bind("127.0.0.1:7070").unwrap_err();
            assert_eq!(
                error.cause().to_string(),
                "port 7070 was handed over to the server as 0.0.0.0:7070, which includes every IPv4 address",
                "{name}"
            );
            options.bind(addr).unwrap();
            assert_eq!(activation.unused().count(), 0);
        }
    });
}
