//! Processes that hold a port, or answer on another address.

use super::*;

/// benoitc/gunicorn 844: a worker was named, and the process to stop is its parent.
#[test]
fn opener_of_a_forked_server_is_named() {
    in_namespace(|| {
        for (children, with) in [
            (0, ""),
            (1, " with 1 child process"),
            (3, " with 3 child processes"),
        ] {
            // Those of the round before may be about to end.
            let port = 8000 + u16::try_from(children).unwrap();
            let socket = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let server = Forked::start(socket.into(), children);
            let pid = server.0.id();
            let (cause, _) = failure(&format!("127.0.0.1:{port}"));
            let uid =
                std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
            assert_eq!(
                cause,
                format!(
                    "port {port} is in use: `sh` (pid {pid}, uid {uid}){with} listens on 127.0.0.1"
                )
            );
        }
    });
}

/// vagrant-landrush/landrush 258: dnsmasq on one bridge.
#[test]
fn interface_of_a_holder_is_named() {
    in_namespace(|| {
        host();
        ip("link add name eth1 type veth peer name far1");
        ip("link set eth1 up");
        let on = |name| BindOptions::new().device(name);
        let _held = on("eth0").bind_udp("0.0.0.0:67").unwrap();
        let error = bindaddr::bind_udp("0.0.0.0:67").unwrap_err();
        assert_eq!(
            error.cause().to_string(),
            "port 67 is in use: a socket of this process is bound to 0.0.0.0 on eth0 only"
        );
        let Cause::InUse { holders, .. } = error.cause() else {
            panic!("{error:?}")
        };
        assert_eq!(holders[0].device(), Some("eth0"));
        // A socket on another interface is not in its way.
        on("eth1").bind_udp("0.0.0.0:67").unwrap();
    });
}

/// moby/moby 32545: systemd-resolved has 127.0.0.53:53.
#[test]
fn wildcard_beside_a_specific_address_is_advised_an_interface() {
    in_namespace(|| {
        host();
        let _held = TcpListener::bind("127.0.0.53:5353").unwrap();
        for (wildcard, instead) in [
            ("0.0.0.0:5353", "ipv4@eth0:5353"),
            ("*:5353", "eth0:5353"),
            ("-0.0.0.0:5353", "-ipv4@eth0:5353"),
        ] {
            let (_, hints) = failure(wildcard);
            let hint = hints.iter().find(|hint| hint.kind() == HintKind::Replace);
            let hint = hint.unwrap_or_else(|| panic!("{wildcard}: {hints:?}"));
            assert_eq!(
                hint.text(),
                format!("`{instead}` listens only on the addresses of eth0, without a conflict")
            );
            bindaddr::bind(hint.replacement().unwrap()).unwrap();
        }
        // Not where the interface is taken as well.
        let _eth0 = TcpListener::bind("10.0.0.1:5353").unwrap();
        let (_, hints) = failure("0.0.0.0:5353");
        assert!(
            hints.iter().all(|hint| hint.replacement().is_none()),
            "{hints:?}"
        );
    });
}

/// cloudfoundry/routing-release 206: an outgoing connection was given the port.
#[test]
fn port_of_an_outgoing_connection_can_be_reserved() {
    in_namespace(|| {
        let server = TcpListener::bind("127.0.0.1:80").unwrap();
        let outgoing = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let addr: SocketAddr = "127.0.0.1:43110".parse().unwrap();
        outgoing.bind(&addr.into()).unwrap();
        outgoing
            .connect(&server.local_addr().unwrap().into())
            .unwrap();
        set("net/ipv4/ip_local_reserved_ports", "50000");
        let (cause, hints) = failure("0.0.0.0:43110");
        assert_eq!(
            cause,
            "port 43110 is in use: a connection of this process uses 127.0.0.1, which 0.0.0.0 includes"
        );
        let hint = hints.iter().find(|hint| hint.kind() == HintKind::Configure);
        let text = hint.unwrap_or_else(|| panic!("{hints:?}")).text();
        let (_, command) = text.split_once('`').unwrap();
        let (command, _) = command.split_once('`').unwrap();
        assert_eq!(
            command,
            "sysctl net.ipv4.ip_local_reserved_ports=50000,43110"
        );
        // A port that is reserved already needs no such hint.
        for reserved in ["43110", "50,43000-43200"] {
            set("net/ipv4/ip_local_reserved_ports", reserved);
            let (_, hints) = failure("0.0.0.0:43110");
            let is_configure = |hint: &Hint| hint.kind() == HintKind::Configure;
            assert!(!hints.iter().any(is_configure), "{hints:?}");
        }
        // It keeps later ones off the port.
        drop(outgoing);
        let value = command.rsplit_once('=').unwrap().1;
        set("net/ipv4/ip_local_reserved_ports", value);
        set("net/ipv4/ip_local_port_range", "43110 43112");
        for _ in 0..20 {
            let client =
                TcpStream::connect("127.0.0.1:80").map(|one| one.local_addr().unwrap().port());
            assert_ne!(client.ok(), Some(43110));
        }
    });
}

/// tryretool/retool-helm 335: `0.0.0.0` on a host that others reach over IPv6.
#[test]
fn wildcard_of_the_other_family_is_warned_about() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up");
        ip("link set far0 up");
        let warning = |addr: &str, own: &str, other: &str| {
            format!(
                "{addr}:8080: no interface has an {own} address that other networks can reach, and this host has {other} \
                 ones; listen on `*` to let other hosts connect"
            )
        };
        assert_eq!(
            warnings("0.0.0.0:8080"),
            [""; 0],
            "no address can be reached"
        );
        ip("addr add fd00::1/64 dev eth0 nodad");
        assert_eq!(
            warnings("0.0.0.0:8080"),
            [warning("0.0.0.0", "IPv4", "IPv6")]
        );
        assert_eq!(warnings("*:8080"), [""; 0]);
        ip("addr del fd00::1/64 dev eth0");
        ip("addr add 10.0.0.1/24 dev eth0");
        assert_eq!(warnings("0.0.0.0:8080"), [""; 0]);
        assert_eq!(warnings("ipv6@*:8080"), [warning("[::]", "IPv6", "IPv4")]);
    });
}

/// kamp-us/phoenix 8593: two servers, each on one of the addresses that `localhost` is.
#[test]
fn server_on_the_other_loopback_address_is_named() {
    in_namespace(|| {
        for (own, other) in [
            ("127.0.0.1", "[::1]"),
            ("[::1]", "127.0.0.1"),
            ("127.0.0.1", "[::]"),
        ] {
            let only_v6 = BindOptions::new().only_v6(true);
            let socket = only_v6
                .bind(format!("{other}:5173"))
                .unwrap()
                .into_std()
                .remove(0);
            let server = Forked::start(socket.into(), 0);
            let pid = server.0.id();
            let found = warnings(&format!("{own}:5173"));
            let message = format!("(pid {pid}, uid ");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].starts_with(&format!("{own}:5173: `sh` {message}")),
                "{found:?}"
            );
            let end = format!(
                " listens on {other}, so clients that connect to `localhost` may reach it instead of this server"
            );
            assert!(found[0].ends_with(&end), "{found:?}");
            // A socket of this process on another port does not matter.
            assert_eq!(
                warnings(&format!("{own}:5173, localhost:5174")),
                found,
                "{own}"
            );
            // Neither a UDP socket nor one on a device is warned about.
            let host = Interfaces::system().unwrap();
            let udp = bindaddr::bind_udp(format!("{own}:5173")).unwrap();
            assert_eq!(udp.warnings(&host), []);
            let on_device = BindOptions::new().device("lo");
            let on_device = on_device.bind(format!("{own}:5173")).unwrap();
            assert_eq!(on_device.warnings(&host), []);
            drop(server);
            // Not of the server itself.
            assert_eq!(warnings("localhost:5174"), [""; 0]);
        }
    });
}

/// Snapchat/KeyDB 88: a second instance that shares the port.
#[test]
fn process_that_shares_the_port_is_named() {
    in_namespace(|| {
        let sharing = BindOptions::new().reuse_port(true);
        let listen = |addr: &str| sharing.bind(addr).unwrap().into_iter();
        let addrs = ["127.0.0.2:5000", "127.0.0.3:5000", "127.0.0.4:5000"];
        let mut own: Listeners = addrs.into_iter().flat_map(listen).collect();
        let other = listen(addrs[0]).next().unwrap();
        let host = Interfaces::system().unwrap();
        assert_eq!(own.warnings(&host), [], "it is of this process");
        let server = Forked::start(other.into_std().into(), 0);
        let message = format!("`sh` (pid {}, uid ", server.0.id());
        let warning = |own: &Listeners| -> String {
            let found = own.warnings(&host);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].name(), "shared-port");
            found[0].to_string()
        };
        let text = warning(&own);
        assert!(
            text.starts_with(&format!("127.0.0.2:5000: {message}"))
                && text.ends_with(
                    " listens on 127.0.0.2 as well, by SO_REUSEPORT, and gets some of the clients"
                ),
            "{text}"
        );
        // The sockets that a server has for each of its threads hide the other process neither on
        // their port nor on others.
        let threads = |addr| (0..70).flat_map(move |_| listen(addr));
        own = threads(addrs[0]).chain(own).collect();
        assert_eq!(warning(&own), text);
        own = threads("127.0.0.2:4999").chain(own).collect();
        assert_eq!(warning(&own), text);
    });
}

/// A check beside a running server warns about the interface of the setting only.
#[test]
fn check_beside_warns_about_its_device_only() {
    in_namespace(|| {
        host();
        ip("addr add 8.8.4.4/24 dev eth0");
        for (device, warnings) in [("lo", &[][..]), ("eth0", &["global-address"])] {
            let options = BindOptions::new().device(device);
            let socket = options.bind("0.0.0.0:8080").unwrap().into_std().remove(0);
            let server = Forked::start(socket.into(), 0);
            let running = RunningServer::of_processes([server.0.id()]).unwrap();
            let check = options.check_beside("0.0.0.0:8080", &running);
            assert!(check.is_ok(), "{check}");
            let found = check.settings()[0].sockets()[0].warnings();
            let found: Vec<&str> = found.iter().map(Warning::name).collect();
            assert_eq!(found, warnings, "{device}");
        }
    });
}

/// A child of a fork has the socket as well, and no other server.
#[test]
fn own_socket_in_a_child_is_not_another_server() {
    in_namespace(|| {
        let listeners = bindaddr::bind("127.0.0.1:5000").unwrap();
        let copy = listeners[0].as_std().try_clone().unwrap();
        let _child = Forked::start(copy.into(), 1);
        let host = Interfaces::system().unwrap();
        assert_eq!(listeners.warnings(&host), []);
        // This process is not the first to be searched if it has more than 1,000 descriptors.
        util::sandbox::limit_descriptors(2000);
        let _files: Vec<_> = (0..1200)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        assert_eq!(listeners.warnings(&host), []);
    });
}

/// A UDP socket is bound, and does not listen.
#[test]
fn own_udp_socket_is_named() {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = bindaddr::bind_udp(held.local_addr().unwrap()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a socket of this process is bound to 127.0.0.1")
    );
}
