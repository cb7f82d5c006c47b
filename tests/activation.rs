//! Sockets handed over by a service manager: real descriptors, from 3 on, in a process of their
//! own.
#![cfg(all(feature = "socket-activation", unix))]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use bindaddr::diagnosis::HintKind;
use bindaddr::update::Apply;
use bindaddr::{Activation, BindOptions, Cause, Listener, Listeners};
use util::rerun;

/// Runs `inside` in a process that was handed over `sockets`, one or two. It gets the address of
/// the first.
#[track_caller]
fn handed_over(test: &str, sockets: Vec<OwnedFd>, first: SocketAddr, inside: fn(SocketAddr)) {
    if let Some(addr) = rerun::role() {
        inside(addr.parse().unwrap());
        return rerun::done();
    }
    hand_over(test, sockets, &first.to_string());
}

/// Runs `test` again as `role`, in a process with `sockets`.
fn hand_over(test: &str, sockets: Vec<OwnedFd>, role: &str) {
    hand_over_as(test, sockets, role, "LISTEN_PID=$$", &[]);
}

/// As [`hand_over`], with the variables of a manager beside `LISTEN_FDS`, behind the words of
/// `wrapper`.
fn hand_over_as(test: &str, sockets: Vec<OwnedFd>, role: &str, variables: &str, wrapper: &[&str]) {
    let count = sockets.len();
    let script = format!(
        "exec 3<&0 4<&2 </dev/null 2>&1; LISTEN_FDS={count} {variables} exec \"$0\" \"$@\""
    );
    let words = [&["sh", "-c", &script], wrapper].concat();
    let mut command = rerun::command(test, role, &words);
    let mut sockets = sockets.into_iter();
    command.stdin(sockets.next().unwrap());
    command.stderr(sockets.next().map_or_else(Stdio::null, Stdio::from));
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let is_done = stdout.contains(rerun::DONE);
    assert!(output.status.success() && is_done, "{role}: {stdout}");
}

fn listener(addr: &str) -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind(addr).unwrap();
    // systemd's sockets do not block.
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener.into(), addr)
}

#[test]
fn activation_takes_matching_listener() {
    let (socket, addr) = listener("127.0.0.1:0");
    let test = "activation_takes_matching_listener";
    handed_over(test, vec![socket], addr, |addr| {
        let activation = Activation::from_env().unwrap();
        assert_eq!(activation.unused().collect::<Vec<_>>(), [addr]);
        assert_eq!(format!("{activation:?}"), format!("[{addr}]"));
        let options = BindOptions::new().activation(activation.clone());
        // Nothing of another one is handed over.
        let other = options.bind("127.0.0.2:0").unwrap();
        assert_ne!(other.as_slice()[0].local_addr(), addr);
        assert_eq!(activation.unused().count(), 1);

        let listeners = options.bind(addr).unwrap();
        assert_eq!(activation.unused().count(), 0);
        let listener = listeners.into_iter().next().unwrap();
        assert_eq!(listener.local_addr(), addr);
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        // It waits, because it is as the options say.
        let (mut peer, _) = listener.as_std().accept().unwrap();
        let mut heard = String::new();
        peer.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
        // They are taken once.
        assert_eq!(Activation::from_env().unwrap().unused().count(), 0);
    });
}

#[test]
fn failed_list_leaves_inherited_sockets() {
    let (socket, addr) = listener("127.0.0.1:0");
    let test = "failed_list_leaves_inherited_sockets";
    handed_over(test, vec![socket], addr, |addr| {
        let options = BindOptions::new().activation(Activation::from_env().unwrap());
        // TEST-NET-2, which no host has.
        let missing: SocketAddr = "198.51.100.1:80".parse().unwrap();
        let err = options.bind([addr, missing]).unwrap_err();
        assert_eq!(err.errors().count(), 1, "{err}");
        // Nor is it said to be in use where the rest cannot be resolved.
        let err = options
            .bind([addr.to_string(), "eth9:81".to_owned()])
            .unwrap_err();
        assert_eq!(err.errors().count(), 1, "{err}");
        let listeners = options.bind([addr]).unwrap();
        // A server that uses it while a list is tried again does not block in a call.
        let serving = listeners.into_iter().next().unwrap();
        let serving = serving.into_std_nonblocking().unwrap();
        assert!(options.bind([addr, missing]).is_err());
        options.bind([addr]).unwrap();
        let accepted = serving.accept().map(|(client, _)| client);
        assert_eq!(accepted.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn activation_rejects_other_socket_types() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let addr = client.local_addr().unwrap();
    let udp = UdpSocket::bind(addr).unwrap();
    let test = "activation_rejects_other_socket_types";
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

#[test]
fn dual_stack_wildcard_requires_dual_stack_socket() {
    let both = BindOptions::new().bind("[::]:0").unwrap();
    let only = BindOptions::new().only_v6(true).bind("[::]:0").unwrap();
    let [both, only] = [both, only].map(|one| one.into_iter().next().unwrap());
    let addr = only.local_addr();
    let sockets = [both, only].map(|one| OwnedFd::from(one.into_std()));
    let test = "dual_stack_wildcard_requires_dual_stack_socket";
    handed_over(test, sockets.into(), addr, |only| {
        let activation = Activation::from_env().unwrap();
        let both = activation.unused().next().unwrap();
        let options = BindOptions::new().activation(activation.clone());
        options.bind(format!("*:{}", both.port())).unwrap();
        assert!(options.bind(format!("[::]:{}", only.port())).is_err());
        options.bind(format!("ipv6@*:{}", only.port())).unwrap();
        assert_eq!(activation.unused().count(), 0);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn link_local_socket_matches_its_zone() {
    use util::netns::{in_namespace, ip, set};

    const TEST: &str = "link_local_socket_matches_its_zone";
    let role = rerun::role().unwrap_or_default();
    let Some((setting, addr)) = role.split_once(' ') else {
        return in_namespace(|| {
            set("net/ipv6/conf/default/addr_gen_mode", "1");
            ip("link add name eth0 type veth peer name far0");
            ip("link set eth0 up");
            ip("link set far0 up");
            ip("addr add fe80::5/64 dev eth0");
            let host = bindaddr::Interfaces::system().unwrap();
            let zone = host.by_name("eth0").unwrap().index().unwrap();
            for setting in ["[fe80::5%eth0]", "ipv6@eth0", "[fe80::5]-on-eth0"] {
                let (socket, addr) = listener(&format!("[fe80::5%{zone}]:0"));
                hand_over(TEST, vec![socket], &format!("{setting} {addr}"));
            }
        });
    };
    let addr: SocketAddr = addr.parse().unwrap();
    let activation = Activation::from_env().unwrap();
    let options = BindOptions::new().activation(activation.clone());
    let (host, options) = match setting.split_once("-on-") {
        Some((host, device)) => (host, options.device(device)),
        None => (setting, options),
    };
    let listeners = options.bind(format!("{host}:{}", addr.port())).unwrap();
    assert_eq!(listeners.as_slice()[0].local_addr(), addr, "{setting}");
    assert_eq!(activation.unused().count(), 0, "{setting}");
    rerun::done();
}

#[cfg(target_os = "linux")]
#[test]
fn activation_matches_socket_protocol() {
    use socket2::{Domain, Protocol, Socket, Type};
    use util::netns::{in_namespace, set};

    const TEST: &str = "activation_matches_socket_protocol";
    let role = rerun::role().unwrap_or_default();
    let Some((kind, addr)) = role.split_once(' ') else {
        return in_namespace(|| {
            // Every user may send pings.
            set("net/ipv4/ping_group_range", "0 65534");
            let addr: SocketAddr = "127.0.0.1:7070".parse().unwrap();
            let bound = |kind, protocol| {
                let socket = Socket::new(Domain::IPV4, kind, Some(protocol)).unwrap();
                socket.bind(&addr.into()).unwrap();
                socket
            };
            let listening = |protocol| {
                let socket = bound(Type::STREAM, protocol);
                socket.listen(1).unwrap();
                socket
            };
            let connected = bound(Type::DGRAM, Protocol::UDP);
            connected
                .connect(&"127.0.0.1:9".parse::<SocketAddr>().unwrap().into())
                .unwrap();
            for (kind, socket) in [
                ("ping", bound(Type::DGRAM, Protocol::ICMPV4)),
                ("connected", connected),
            ] {
                hand_over(TEST, vec![socket.into()], &format!("{kind} {addr}"));
            }
            // IPPROTO_UDPLITE and IPPROTO_MPTCP of linux/in.h, which kernels may come without.
            let [udp_lite, mptcp] = [136, 262].map(Protocol::from);
            if Socket::new(Domain::IPV4, Type::DGRAM, Some(udp_lite)).is_ok() {
                let socket = bound(Type::DGRAM, udp_lite);
                hand_over(TEST, vec![socket.into()], &format!("udp-lite {addr}"));
            }
            if Socket::new(Domain::IPV4, Type::STREAM, Some(mptcp)).is_ok() {
                let socket = listening(mptcp);
                hand_over(TEST, vec![socket.into()], &format!("mptcp {addr}"));
            }
            let socket = listening(Protocol::TCP);
            hand_over(TEST, vec![socket.into()], &format!("tcp {addr}"));
            let socket = bound(Type::DGRAM, Protocol::UDP);
            hand_over(TEST, vec![socket.into()], &format!("udp {addr}"));
        });
    };
    let addr: SocketAddr = addr.parse().unwrap();
    let activation = Activation::from_env().unwrap();
    let options = BindOptions::new().activation(activation.clone());
    let is_taken = |udp: bool| {
        let before = activation.unused().count();
        // If it does not fit, another socket is bound beside it, or the port is in use.
        let _ = if udp {
            options.bind_udp(addr).map(drop)
        } else {
            options.bind(addr).map(drop)
        };
        activation.unused().count() < before
    };
    assert_eq!(is_taken(false), ["tcp", "mptcp"].contains(&kind), "{kind}");
    assert_eq!(is_taken(true), kind == "udp", "{kind}");
    // None is lost.
    let rest = activation.take_rest().unwrap();
    let is_claimed = ["tcp", "mptcp", "udp"].contains(&kind);
    assert_eq!(rest.len(), usize::from(!is_claimed), "{kind}");
    assert!(activation.take_rest().unwrap().is_empty());
    rerun::done();
}

#[test]
fn take_rest_returns_unclaimed_sockets() {
    let dir = std::env::temp_dir().join(format!("bindaddr-rest-{}", std::process::id()));
    let path = dir.join("socket");
    let (tcp, addr) = listener("127.0.0.1:0");
    let mut sockets = Vec::new();
    if rerun::role().is_none() {
        std::fs::create_dir(&dir).unwrap();
        sockets = vec![OwnedFd::from(UnixListener::bind(&path).unwrap()), tcp];
    }
    let test = "take_rest_returns_unclaimed_sockets";
    handed_over(test, sockets, addr, |addr| {
        let activation = Activation::from_env().unwrap();
        assert_eq!(activation.unused().collect::<Vec<_>>(), [addr]);
        let rest = activation.take_rest().unwrap();
        assert_eq!(rest.len(), 2);
        assert_eq!(activation.unused().count(), 0);
        let names = rest
            .into_iter()
            .map(|socket| UnixListener::from(socket).local_addr());
        let paths =
            names.filter_map(|name| name.ok()?.as_pathname().map(std::path::Path::to_path_buf));
        assert!(paths.into_iter().any(|path| path.ends_with("socket")));
    });
    let _ = std::fs::remove_dir_all(dir);
}

#[test]
fn activation_leaves_descriptors_of_the_program() {
    const TEST: &str = "activation_leaves_descriptors_of_the_program";
    match rerun::role().as_deref() {
        Some("inherited") => {
            assert_eq!(Activation::from_env().unwrap().unused().count(), 1);
            return rerun::done();
        }
        Some("for-another") => {
            assert_eq!(Activation::from_env().unwrap().unused().count(), 0);
            assert!(
                std::env::var_os("LISTEN_FDS").is_some(),
                "it is of that process"
            );
            return rerun::done();
        }
        Some(what) => {
            // 3 was inherited, and 4 is the program's own, or is not open.
            let err = Activation::from_env().unwrap_err();
            assert_eq!(err.kind(), std::io::ErrorKind::InvalidInput);
            assert!(err.to_string().contains(what), "{err}");
            // Nothing is taken.
            assert!(std::env::var_os("LISTEN_FDS").is_some());
            return rerun::done();
        }
        None => {}
    }
    let hand_over = |role: &str, variables: &str| {
        let (socket, _) = listener("127.0.0.1:0");
        hand_over_as(TEST, vec![socket], role, variables, &[]);
    };
    // As `systemfd --no-pid` leaves it.
    hand_over("inherited", "LISTEN_PID=");
    hand_over("for-another", "LISTEN_PID=1");
    // More than there are, without and with the process that is meant.
    hand_over("of LISTEN_FDS is", "LISTEN_FDS=200");
    hand_over("of LISTEN_FDS is", "LISTEN_FDS=2000000000 LISTEN_PID=$$");
    hand_over("not a number", "LISTEN_FDS=many LISTEN_PID=$$");
    hand_over("not a descriptor", "LISTEN_FDS_FIRST_FD=0 LISTEN_PID=$$");
    // listenfd falls back to 3 if it cannot parse the number.
    for first in ["4294967295", "2147483647", "4294967296"] {
        let variables = format!("LISTEN_FDS_FIRST_FD={first} LISTEN_FDS=2000000000 LISTEN_PID=$$");
        hand_over("LISTEN_FDS", &variables);
        let variables = format!("LISTEN_FDS_FIRST_FD={first} LISTEN_PID=");
        hand_over("LISTEN_FDS", &variables);
    }
}

/// As `PrivateNetwork=yes` of systemd with a `.socket` unit, whose sockets are of the host's
/// namespace.
#[cfg(target_os = "linux")]
#[test]
fn socket_of_another_namespace_is_exposed_globally() {
    use bindaddr::diagnosis::WarningKind;
    use bindaddr::{Exposure, Interfaces};
    use util::netns::{connects, in_namespace, ip};
    use util::sandbox;

    const TEST: &str = "socket_of_another_namespace_is_exposed_globally";
    let role = rerun::role().unwrap_or_default();
    let Some((kind, addr)) = role.split_once(' ') else {
        return in_namespace(|| {
            ip("link add name eth0 type veth peer name far0");
            ip("link set eth0 up");
            ip("addr add 10.0.0.1/24 dev eth0");
            let alone = ["unshare", "--net", "--"];
            let blind = [
                "unshare",
                "--net",
                "--mount",
                "sh",
                "-c",
                "mount -t tmpfs none /proc && exec \"$0\" \"$@\"",
            ];
            for (kind, wrapper) in [
                ("here", &[][..]),
                ("here-without-netlink", &[]),
                ("elsewhere", &alone),
                ("elsewhere-without-netlink", &alone),
                ("unknown", &blind),
            ] {
                for addr in [
                    "10.0.0.1:0",
                    "127.0.0.1:0",
                    "0.0.0.0:0",
                    "[::1]:0",
                    "[::]:0",
                ] {
                    let (socket, addr) = listener(addr);
                    let kept = socket.try_clone().unwrap();
                    let role = format!("{kind} {addr}");
                    hand_over_as(TEST, vec![socket], &role, "LISTEN_PID=$$", wrapper);
                    // Clients of this namespace connect, whatever the other one has.
                    let mut to = addr;
                    if addr.ip().is_unspecified() {
                        to.set_ip([10, 0, 0, 1].into());
                    }
                    assert!(connects(to), "{to}");
                    drop(kept);
                }
            }
        });
    };
    let addr: SocketAddr = addr.parse().unwrap();
    let host = Interfaces::system().unwrap();
    let activation = Activation::from_env().unwrap();
    if kind.ends_with("without-netlink") || kind == "unknown" {
        sandbox::refuse_family(16, 97);
    }
    let listeners = BindOptions::new()
        .activation(activation)
        .bind(addr)
        .unwrap();
    let listener = &listeners.as_slice()[0];
    let (exposure, reach) = (listeners.exposure(&host), listeners.reach(&host));
    assert_eq!(reach.exposure(), exposure);
    let remark = if kind == "unknown" {
        "a socket may belong to another network namespace, so none of its addresses is listed"
    } else {
        "a socket belongs to another network namespace, whose addresses are not known here"
    };
    let says_elsewhere = reach.to_string().contains(remark);
    if kind.starts_with("here") {
        assert!(exposure < Exposure::Global, "{addr}");
        assert!(!reach.addrs().is_empty() && !says_elsewhere);
        assert_eq!(listener.warnings(&host), []);
    } else {
        assert_eq!(exposure, Exposure::Global, "{kind} {addr}");
        assert!(reach.addrs().is_empty() && says_elsewhere);
        assert!(
            reach
                .banner("http")
                .to_string()
                .contains("another network namespace")
        );
        let is_known = kind != "unknown";
        let warnings = listeners.warnings(&host);
        let [warning] = &warnings[..] else {
            panic!("{warnings:?}")
        };
        assert!(
            matches!(warning.kind(), WarningKind::OtherNamespace { is_certain, .. } if *is_certain == is_known),
            "{warning:?}"
        );
    }
    rerun::done();
}

#[test]
fn empty_name_keeps_its_place() {
    let test = "empty_name_keeps_its_place";
    if rerun::role().is_some() {
        let activation = Activation::from_env().unwrap();
        let addrs: Vec<SocketAddr> = activation.unused().collect();
        let named = activation.take("control").unwrap();
        assert_eq!(named.len(), 1);
        let socket = TcpListener::from(named.into_iter().next().unwrap());
        assert_eq!(socket.local_addr().unwrap(), addrs[1]);
        assert_eq!(activation.take("unknown").unwrap().len(), 1);
        return rerun::done();
    }
    let sockets = vec![listener("127.0.0.1:0").0, listener("127.0.0.1:0").0];
    let variables = "LISTEN_PID=$$ LISTEN_FDNAMES=:control";
    hand_over_as(test, sockets, "child", variables, &[]);
}

/// Hands `sockets` over within this process.
fn activation_of(sockets: Vec<OwnedFd>) -> Activation {
    let named = sockets.into_iter().enumerate();
    Activation::from_sockets(named.map(|(n, socket)| (format!("socket-{n}"), socket)))
}

/// Opens a dual-stack listener as `ListenStream=7070` does, on a free port.
fn dual_stack() -> (OwnedFd, u16) {
    let listeners = BindOptions::new().bind("[::]:0").unwrap();
    let listener = listeners.into_iter().next().unwrap();
    let port = listener.local_addr().port();
    (listener.into_std().into(), port)
}

#[test]
fn dual_stack_socket_serves_both_wildcards() {
    for setting in [
        "*:PORT",
        "[::]:PORT",
        "0.0.0.0:PORT, [::]:PORT",
        "[::]:PORT, 0.0.0.0:PORT",
        "ipv4@*:PORT, ipv6@*:PORT",
        "*:0",
    ] {
        for split in [false, true] {
            let (socket, port) = dual_stack();
            let setting = setting.replace("PORT", &port.to_string());
            let activation = activation_of(vec![socket]);
            let options = BindOptions::new()
                .split_families(split)
                .activation(activation.clone());
            let plan = options.plan(&*setting).unwrap();
            assert!(plan.check().is_ok(), "{setting}: {}", plan.check());
            assert_eq!(activation.unused().count(), 1, "a check takes none");
            let mut listeners = plan.bind().unwrap();
            assert_eq!(listeners.len(), 1, "{setting}: {listeners}");
            // One entry is not a duplicate of itself.
            let is_pair = setting.contains(',') && !split;
            let duplicates = listeners.duplicates().len();
            assert!(split || duplicates == usize::from(is_pair), "{setting}");
            assert_eq!(activation.unused().count(), 0, "{setting}");
            for ip in ["127.0.0.1", "[::1]"] {
                let client = TcpStream::connect(format!("{ip}:{port}")).unwrap();
                let (_, peer) = listeners[0].as_std().accept().unwrap();
                assert_eq!(peer.port(), client.local_addr().unwrap().port());
            }
            // A reload with the same settings changes nothing.
            let update = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
            assert_eq!((update.kept(), update.opened().len()), (1, 0), "{setting}");
            assert_eq!(listeners.duplicates().len(), duplicates);
            assert!(plan.diff(&listeners).is_empty());
        }
    }
}

#[test]
fn ipv4_wildcard_takes_dual_stack_socket_if_allowed() {
    let (socket, port) = dual_stack();
    let activation = activation_of(vec![socket]);
    let setting = format!("0.0.0.0:{port}");
    let options = BindOptions::new().activation(activation.clone());
    let check = options.check(&*setting);
    let causes: Vec<_> = check.settings()[0].causes().map(Cause::name).collect();
    assert_eq!(causes, ["handed-over"]);
    let error = options.bind(&*setting).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {setting}: port {port} was handed over to the server as [::]:{port}, \
             which is dual-stack and includes IPv4"
        )
    );
    assert_eq!(activation.unused().count(), 1);
    let hints: Vec<String> = error.hints().iter().map(ToString::to_string).collect();
    let [replace, unit, program] = &hints[..] else {
        panic!("{hints:#?}")
    };
    assert!(
        replace.starts_with(&format!(
            "`[::]:{port}` is the address that was handed over, which "
        )),
        "{replace}"
    );
    assert_eq!(error.hints()[0].kind(), HintKind::Widen);
    assert_eq!(
        unit,
        &format!("`ListenStream={setting}` in the socket unit opens what the setting names")
    );
    assert_eq!(
        program,
        "`Activation::allow_dual_stack` takes it for `0.0.0.0`, and serves IPv6 clients as well"
    );
    // The hint for the program works.
    let options = BindOptions::new().activation(activation.clone().allow_dual_stack(true));
    let plan = options.plan(&*setting).unwrap();
    let mut listeners = plan.bind().unwrap();
    assert_eq!(
        listeners[0].local_addr().to_string(),
        format!("[::]:{port}")
    );
    let update = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
    assert_eq!((update.kept(), listeners.len()), (1, 1));
    assert_eq!(activation.unused().count(), 0);
    drop((listeners, options, plan));
    // The replacement can be bound.
    let options = BindOptions::new().activation(activation);
    let hints = error.hints();
    let setting = hints[0].replacement().unwrap();
    let listeners = options.bind(setting).unwrap();
    assert_eq!(
        listeners[0].local_addr().to_string(),
        format!("[::]:{port}")
    );
}

/// The socket passed on a port and the setting for it, with the text of the cause and the line of
/// the unit.
#[test]
fn handed_over_socket_that_does_not_fit_is_named() {
    let only_v6 = |addr: &str| {
        let listeners = BindOptions::new().only_v6(true).bind(addr).unwrap();
        listeners.into_iter().next().unwrap().into_std()
    };
    let std = |addr: &str| TcpListener::bind(addr).unwrap();
    for (handed, wanted, cause, line) in [
        (
            std("0.0.0.0:0"),
            "127.0.0.1",
            "0.0.0.0:PORT, which includes every IPv4 address",
            "ListenStream=127.0.0.1:PORT",
        ),
        (
            std("127.0.0.1:0"),
            "0.0.0.0",
            "127.0.0.1:PORT, which 0.0.0.0 includes",
            "ListenStream=0.0.0.0:PORT",
        ),
        (
            std("127.0.0.1:0"),
            "[::]",
            "127.0.0.1:PORT, which the dual-stack [::] includes",
            "ListenStream=[::]:PORT",
        ),
        (
            only_v6("[::]:0"),
            "[::]",
            "[::]:PORT, which is IPv6-only",
            "BindIPv6Only=both",
        ),
        (
            only_v6("[::]:0"),
            "[::1]",
            "[::]:PORT, which includes every IPv6 address",
            "ListenStream=[::1]:PORT",
        ),
        (
            std("[::]:0"),
            "ipv6@*",
            "[::]:PORT, which also accepts IPv4 clients",
            "BindIPv6Only=ipv6-only",
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
        for other in hints.iter().filter_map(|hint| hint.replacement()) {
            options.bind(other).unwrap();
            assert_eq!(activation.unused().count(), 0, "{setting} -> {other}");
        }
    }
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
        // The hint works.
        let activation = activation_of(vec![on(Some("eth0")).into()]);
        let options = BindOptions::new()
            .device("eth0")
            .activation(activation.clone());
        options.bind(addr).unwrap();
        assert_eq!(activation.unused().count(), 0);
    });
}

#[test]
fn flexible_port_uses_inherited_port() {
    let (socket, addr) = listener("127.0.0.1:0");
    let port = addr.port();
    for setting in [
        "127.0.0.1:0".to_owned(),
        format!("127.0.0.1:{}-{}", port.max(2) - 1, port),
    ] {
        let activation = activation_of(vec![socket.try_clone().unwrap()]);
        let options = BindOptions::new().activation(activation.clone());
        let listeners = options.bind(&*setting).unwrap();
        assert_eq!(listeners[0].local_addr(), addr, "{setting}");
        // It is served, so another service gets a port of its own.
        let other = options.bind("127.0.0.1:0").unwrap();
        assert_ne!(other[0].local_addr(), addr);
        // But the setting that names it has it again.
        assert_eq!(options.bind(addr).unwrap()[0].local_addr(), addr);
    }
}

/// A range gives the port up that only some of its addresses can have.
#[test]
fn flexible_port_needs_all_addresses() {
    let (socket, addr) = listener("127.0.0.1:0");
    let port = addr.port();
    let _taken = TcpListener::bind(("127.0.0.2", port)).unwrap();
    let activation = activation_of(vec![socket]);
    let options = BindOptions::new().activation(activation.clone());
    let listeners = options.bind("localhost:0").unwrap();
    assert_eq!(listeners.port(), Some(port));
    assert_eq!(activation.unused().count(), 0);
}

#[test]
fn failed_list_leaves_sockets_unused() {
    let (socket, addr) = listener("127.0.0.1:0");
    let activation = activation_of(vec![socket]);
    let options = BindOptions::new().activation(activation.clone());
    // TEST-NET-2, which no host has.
    assert!(
        options
            .bind(format!("127.0.0.1:0, {addr}, 198.51.100.1:80"))
            .is_err()
    );
    assert_eq!(activation.unused().collect::<Vec<_>>(), [addr]);
    let bound = options
        .plan(addr)
        .unwrap()
        .bind_without_listening()
        .unwrap();
    assert_eq!(bound.local_addrs(), [addr]);
    assert_eq!(bound.listen().unwrap()[0].local_addr(), addr);
    assert_eq!(activation.unused().count(), 0);
}

/// A socket on one address accepts the same clients whatever `IPV6_V6ONLY` is; systemd leaves it
/// off.
#[test]
fn specific_ipv6_socket_ignores_v6only() {
    for only_v6 in [false, true] {
        let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_only_v6(only_v6).unwrap();
        let addr: SocketAddr = "[::1]:0".parse().unwrap();
        socket.bind(&addr.into()).unwrap();
        socket.listen(8).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        let activation = activation_of(vec![socket.into()]);
        let listeners = BindOptions::new().activation(activation.clone()).bind(addr);
        assert_eq!(listeners.unwrap()[0].local_addr(), addr);
        assert_eq!(activation.unused().count(), 0);
    }
}

#[test]
fn update_takes_handed_over_sockets() {
    for mode in [Apply::AllOrNone, Apply::BestEffort] {
        let (socket, addr) = listener("127.0.0.1:0");
        let activation = activation_of(vec![socket]);
        let options = BindOptions::new().activation(activation.clone());
        let mut listeners = options.bind("127.0.0.2:0").unwrap();
        let plan = options.plan(format!("127.0.0.2:0, {addr}")).unwrap();
        assert!(plan.check_beside(&listeners).is_ok());
        let update = plan.apply(&mut listeners, mode).unwrap();
        assert_eq!((update.kept(), update.opened()), (1, &[addr][..]));
        assert_eq!(activation.unused().count(), 0);
        // Its port is not free once it is closed here.
        let plan = options.plan("127.0.0.2:0").unwrap();
        let update = plan.apply(&mut listeners, mode).unwrap();
        assert_eq!(update.open_elsewhere(), [addr]);
        assert!(TcpListener::bind(addr).is_err());
    }
}

#[test]
fn inherited_sockets_can_replace_settings() {
    let (tcp, addr) = listener("127.0.0.1:0");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_addr = udp.local_addr().unwrap();
    let (wildcard, port) = dual_stack();
    let activation = activation_of(vec![wildcard, udp.into(), tcp]);
    let mut listeners = activation.listeners().unwrap();
    let addrs: Vec<SocketAddr> = listeners.iter().map(Listener::local_addr).collect();
    assert_eq!(addrs, [format!("[::]:{port}").parse().unwrap(), addr]);
    let client = TcpStream::connect(addr).unwrap();
    let (_, peer) = listeners[1].as_std().accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert!(activation.listeners().unwrap().is_empty());
    assert_eq!(activation.udp_sockets().unwrap()[0].local_addr(), udp_addr);
    assert_eq!(activation.unused().count(), 0);
    // They are open sockets as any others.
    let plan = BindOptions::new()
        .plan(format!("*:{port}, {addr}"))
        .unwrap();
    let update = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
    assert_eq!(update.kept(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn activation_takes_fifos_and_files_in_order() {
    const TEST: &str = "activation_takes_fifos_and_files_in_order";
    if rerun::role().is_some() {
        let activation = Activation::from_env().unwrap();
        let taken = activation.take_rest().unwrap();
        assert_eq!(taken.len(), 2);
        assert!(activation.take_rest().unwrap().is_empty());
        let mut files = taken.into_iter().map(std::fs::File::from);
        let (mut fifo, mut file) = (files.next().unwrap(), files.next().unwrap());
        let mut text = [0; 16];
        let length = fifo.read(&mut text).unwrap();
        assert_eq!(&text[..length], b"in the fifo");
        // Nobody waits for what is not there.
        let error = fifo.read(&mut text).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        let length = file.read(&mut text).unwrap();
        assert_eq!(&text[..length], b"in the file");
        return rerun::done();
    }
    let dir = std::env::temp_dir().join(format!("bindaddr-fifo-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(dir.join("fifo"))
        .status();
    assert!(made.unwrap().success());
    // As systemd opens it, so that it waits for no writer.
    let open = || {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open(dir.join("fifo"))
    };
    let mut fifo = open().unwrap();
    fifo.write_all(b"in the fifo").unwrap();
    std::fs::write(dir.join("file"), "in the file").unwrap();
    let file = std::fs::File::open(dir.join("file")).unwrap();
    hand_over(TEST, vec![fifo.into(), file.into()], "child");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn unused_sockets_keep_their_order() {
    let dir = std::env::temp_dir().join(format!("bindaddr-order-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let unix = OwnedFd::from(UnixListener::bind(dir.join("socket")).unwrap());
    let (tcp, addr) = listener("127.0.0.1:0");
    let activation = activation_of(vec![unix, tcp]);
    let rest = activation.take_rest().unwrap();
    let addrs = rest
        .into_iter()
        .map(|fd| TcpListener::from(fd).local_addr().ok());
    assert_eq!(addrs.collect::<Vec<_>>(), [None, Some(addr)]);
    std::fs::remove_dir_all(dir).unwrap();
}

fn addrs(listeners: &Listeners) -> Vec<String> {
    listeners
        .iter()
        .map(|one| one.local_addr().to_string())
        .collect()
}

/// Without IPv6, systemd opens `ListenStream=7070` on `0.0.0.0`.
#[cfg(target_os = "linux")]
#[test]
fn wildcard_takes_ipv4_socket_on_a_host_without_ipv6() {
    for setting in ["*:PORT", "*:0"] {
        let (socket, addr) = listener("0.0.0.0:0");
        let activation = activation_of(vec![socket]);
        let setting = setting.replace("PORT", &addr.port().to_string());
        // For one thread only.
        let bound = std::thread::spawn(move || {
            util::sandbox::refuse_family(10, 97);
            let plan = BindOptions::new()
                .activation(activation)
                .plan(&*setting)
                .unwrap();
            let mut listeners = plan.bind().unwrap();
            let update = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
            assert_eq!((update.kept(), update.opened().len()), (1, 0), "{update}");
            addrs(&listeners)
        });
        assert_eq!(bound.join().unwrap(), [addr.to_string()]);
    }
    // With IPv6, the setting names more than that.
    let (socket, addr) = listener("0.0.0.0:0");
    let options = BindOptions::new().activation(activation_of(vec![socket]));
    let error = options.bind(format!("*:{}", addr.port())).unwrap_err();
    assert_eq!(error.cause().name(), "handed-over");
}

#[test]
fn matching_ignores_list_order() {
    for (setting, allowed) in [
        ("*:PORT, *:0", false),
        ("*:0, *:PORT", false),
        ("0.0.0.0:0, *:PORT", true),
        ("*:PORT, 0.0.0.0:0", true),
        ("0.0.0.0:PORT, [::]:0", true),
        ("*:0, 0.0.0.0:PORT", true),
        ("ipv6@*:0, 0.0.0.0:PORT", true),
        ("[::]:1024-65535, 0.0.0.0:PORT", true),
    ] {
        for split in [false, true] {
            let (socket, port) = dual_stack();
            let activation = activation_of(vec![socket]).allow_dual_stack(allowed);
            let options = BindOptions::new()
                .split_families(split)
                .activation(activation.clone());
            let plan = options
                .plan(setting.replace("PORT", &port.to_string()))
                .unwrap();
            let mut listeners = plan
                .bind()
                .unwrap_or_else(|error| panic!("{setting}: {error}"));
            assert_eq!(activation.unused().count(), 0, "{setting}");
            let before = addrs(&listeners);
            assert!(
                before.contains(&format!("[::]:{port}")),
                "{setting}: {before:?}"
            );
            // A reload changes nothing, whatever shares a socket.
            for mode in [Apply::AllOrNone, Apply::BestEffort] {
                let update = plan.apply(&mut listeners, mode).unwrap();
                assert_eq!(update.kept(), before.len(), "{setting}: {update}");
                assert_eq!(addrs(&listeners), before, "{setting}");
            }
            assert!(plan.diff(&listeners).is_empty() && plan.check_beside(&listeners).is_ok());
        }
    }
}

#[test]
fn allowed_dual_stack_socket_serves_flexible_ports() {
    for (setting, one_port, allowed) in [
        ("0.0.0.0:0", false, true),
        ("0.0.0.0:PORT-END", false, true),
        ("0.0.0.0:0, [::]:0", true, false),
        ("*:0", true, false),
    ] {
        let (socket, port) = dual_stack();
        let activation = activation_of(vec![socket]).allow_dual_stack(allowed);
        let options = BindOptions::new()
            .one_port(one_port)
            .activation(activation.clone());
        let end = port.saturating_add(3).to_string();
        let setting = setting
            .replace("PORT", &port.to_string())
            .replace("END", &end);
        let listeners = options.bind(&*setting).unwrap();
        assert_eq!(addrs(&listeners), [format!("[::]:{port}")], "{setting}");
        assert_eq!(activation.unused().count(), 0, "{setting}");
    }
}

#[test]
fn served_socket_matches_only_its_setting() {
    let (socket, addr) = listener("127.0.0.1:0");
    let port = addr.port();
    let options = BindOptions::new().activation(activation_of(vec![socket]));
    let first = options.bind(addr).unwrap();
    for setting in [
        format!("127.0.0.1:0, 127.0.0.2:{port}"),
        format!("127.0.0.2:{port}, 127.0.0.1:0"),
    ] {
        let second = options.bind(&*setting).unwrap();
        assert!(
            second.iter().all(|one| one.local_addr() != addr),
            "{setting}"
        );
    }
    drop(first);
    // Nor is it taken twice by one list.
    let (socket, addr) = listener("127.0.0.1:0");
    let options = BindOptions::new()
        .reuse_port(true)
        .activation(activation_of(vec![socket]));
    let mut listeners = options.bind(addr).unwrap();
    let plan = options.plan(format!("{addr}, 127.0.0.1:0")).unwrap();
    let _ = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
    assert_ne!(listeners[0].local_addr(), listeners[1].local_addr());
}

#[test]
fn duplicates_of_a_served_address_are_kept() {
    let (socket, port) = dual_stack();
    let options = BindOptions::new().activation(activation_of(vec![socket]));
    let list = format!("0.0.0.0:{port}, [::]:{port}, 0.0.0.0:{port}, [::]:{port}");
    let listeners = options.bind(&*list).unwrap();
    let positions = listeners
        .duplicates()
        .iter()
        .map(|one| one.position().entry());
    let mut positions: Vec<usize> = positions.collect();
    positions.sort_unstable();
    assert_eq!(positions, [0, 2, 3]);
    let (socket, port) = dual_stack();
    let activation = activation_of(vec![socket]).allow_dual_stack(true);
    let options = BindOptions::new().activation(activation);
    let listeners = options
        .bind(format!("0.0.0.0:{port}, 0.0.0.0:{port}"))
        .unwrap();
    assert_eq!(listeners.duplicates().len(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn exact_socket_precedes_wider_one() {
    use socket2::{Domain, Socket, Type};

    let sharing = |addr: SocketAddr| {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&addr.into()).unwrap();
        socket.listen(8).unwrap();
        socket
    };
    let exact = sharing("0.0.0.0:0".parse().unwrap());
    let port = exact.local_addr().unwrap().as_socket().unwrap().port();
    let wide = sharing(format!("[::]:{port}").parse().unwrap());
    let activation = activation_of(vec![wide.into(), exact.into()]).allow_dual_stack(true);
    let options = BindOptions::new().activation(activation.clone());
    let listeners = options.bind(format!("0.0.0.0:{port}")).unwrap();
    assert_eq!(addrs(&listeners), [format!("0.0.0.0:{port}")]);
    assert_eq!(activation.unused().count(), 1);
}

/// `O_NONBLOCK` is that of every process that has the socket, as of one that goes on until this one
/// is ready.
#[test]
fn take_keeps_shared_socket_non_blocking() {
    let (socket, addr) = listener("127.0.0.1:0");
    let other = TcpListener::from(socket.try_clone().unwrap());
    let blocks = || match other.accept() {
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        Ok(_) => true,
    };
    let activation = activation_of(vec![socket]);
    let options = BindOptions::new().activation(activation);
    assert!(options.bind(format!("{addr}, 198.51.100.1:80")).is_err());
    assert!(!blocks());
    let listeners = options.bind(addr).unwrap();
    assert!(!blocks());
    // As a std socket it blocks, unless that is switched off.
    let taken = listeners.into_iter().next().unwrap();
    let _client = TcpStream::connect(addr).unwrap();
    assert!(taken.as_std().accept().is_ok());
    let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", {
        use std::os::fd::AsRawFd;
        taken.as_std().as_raw_fd()
    }));
    if let Ok(flags) = flags {
        let flags = flags
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap();
        assert_eq!(u32::from_str_radix(flags.trim(), 8).unwrap() & 0o4000, 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn reopened_file_keeps_append_mode() {
    const TEST: &str = "reopened_file_keeps_append_mode";
    if rerun::role().is_some() {
        let activation = Activation::from_env().unwrap();
        let file = activation.take_rest().unwrap().remove(0);
        std::fs::File::from(file).write_all(b" and new").unwrap();
        return rerun::done();
    }
    let path = std::env::temp_dir().join(format!("bindaddr-append-{}", std::process::id()));
    std::fs::write(&path, "old").unwrap();
    let file = std::fs::File::options().append(true).open(&path).unwrap();
    hand_over(TEST, vec![file.into()], "child");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old and new");
    std::fs::remove_file(path).unwrap();
}

/// As after `User=` of systemd.
#[cfg(target_os = "linux")]
#[test]
fn unopenable_file_is_reported_once() {
    const TEST: &str = "unopenable_file_is_reported_once";
    if rerun::role().is_some() {
        let activation = Activation::from_env().unwrap();
        let error = activation.take_rest().unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("descriptor 3, which was handed over, cannot be opened again: "),
            "{text}"
        );
        assert_eq!(activation.take_rest().unwrap().len(), 1);
        return rerun::done();
    }
    let fifo = std::env::temp_dir().join(format!("bindaddr-lost-{}", std::process::id()));
    let made = std::process::Command::new("mkfifo")
        .args(["-m", "600"])
        .arg(&fifo)
        .status();
    assert!(made.unwrap().success());
    let opened = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&fifo)
        .unwrap();
    let wrapper = ["setpriv", "--reuid=65534", "--clear-groups"];
    let probe = std::process::Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .status();
    if probe.is_ok_and(|status| status.success()) {
        // Somebody else may not read this file, whatever its directory is.
        let exe = std::env::temp_dir().join(format!("bindaddr-lost-exe-{}", std::process::id()));
        std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
        let (socket, _) = listener("127.0.0.1:0");
        let words = [
            &wrapper[..],
            &[
                "sh",
                "-c",
                "shift; exec \"$0\" \"$@\"",
                exe.to_str().unwrap(),
            ],
        ]
        .concat();
        hand_over_as(
            TEST,
            vec![opened.into(), socket],
            "child",
            "LISTEN_PID=$$",
            &words,
        );
        std::fs::remove_file(exe).unwrap();
    } else {
        rerun::skip(TEST, "not root", "BINDADDR_REQUIRE_USERS");
    }
    std::fs::remove_file(fifo).unwrap();
}

#[test]
fn handed_over_std_socket_is_blocking() {
    let is_blocking = |socket: OwnedFd| !socket2::Socket::from(socket).nonblocking().unwrap();
    let (socket, addr) = listener("127.0.0.1:0");
    let options = BindOptions::new().activation(activation_of(vec![socket]));
    let first = |listeners: Listeners| listeners.into_iter().next().unwrap();
    // A taking that came to nothing settles nothing.
    drop(options.bind(addr).unwrap());
    assert!(is_blocking(first(options.bind(addr).unwrap()).into()));
    let (socket, addr) = listener("127.0.0.1:0");
    let options = BindOptions::new().activation(activation_of(vec![socket]));
    drop(options.bind(addr).unwrap());
    let taken: TcpListener = first(options.bind(addr).unwrap()).into();
    assert!(is_blocking(taken.into()));
}

/// `O_NONBLOCK` is one for both, and a runtime may rely on it by then.
#[test]
fn second_take_keeps_blocking_mode() {
    let (socket, addr) = listener("127.0.0.1:0");
    let options = BindOptions::new().activation(activation_of(vec![socket]));
    let first = |listeners: Listeners| listeners.into_iter().next().unwrap();
    let (one, two) = (options.bind(addr).unwrap(), options.bind(addr).unwrap());
    let one = first(one).into_std_nonblocking().unwrap();
    let _two: TcpListener = first(two).into();
    assert!(socket2::SockRef::from(&one).nonblocking().unwrap());
    let (socket, addr) = listener("127.0.0.1:0");
    let options = BindOptions::new().activation(activation_of(vec![socket]));
    let one = options.bind(addr).unwrap();
    let two = options.clone().nonblocking(true).bind(addr).unwrap();
    let _ = one[0].as_std();
    assert!(socket2::SockRef::from(&two[0]).nonblocking().unwrap());
}

#[test]
fn dual_stack_socket_serves_a_pair_on_one_port_only() {
    // The socket is on the port of one setting, and the other setting's may be any.
    for split in [false, true] {
        for setting in ["0.0.0.0:PORT, ipv6@*:0", "0.0.0.0:PORT, *:0"] {
            let (socket, port) = dual_stack();
            let options = BindOptions::new()
                .one_port(true)
                .split_families(split)
                .activation(activation_of(vec![socket]));
            let setting = setting.replace("PORT", &port.to_string());
            match options.bind(&*setting) {
                // It would serve IPv6 clients on a port that no setting has for IPv6.
                Err(error) => {
                    let cause = error.cause();
                    assert!(
                        matches!(cause, Cause::HandedOver { .. }),
                        "{setting}: {error}"
                    );
                }
                Ok(listeners) => assert!(
                    addrs(&listeners)
                        .iter()
                        .all(|addr| *addr != format!("[::]:{port}")),
                    "{setting}: {:?}",
                    addrs(&listeners)
                ),
            }
        }
    }
    // A socket that is served already is taken for a setting with its very port only.
    let (socket, port) = dual_stack();
    let options = BindOptions::new()
        .one_port(true)
        .activation(activation_of(vec![socket]));
    let _first = options.bind(format!("*:{port}")).unwrap();
    let second = options.bind("0.0.0.0:0, [::]:0").unwrap();
    assert!(second.iter().all(|one| one.local_addr().port() != port));
}
