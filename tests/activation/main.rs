//! Sockets handed over by a service manager: real descriptors, from 3 on, in a process of their
//! own.
#![cfg(all(feature = "socket-activation", unix))]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod dual_stack;
mod mismatch;
mod taking;
#[path = "../util/mod.rs"]
mod util;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use bindaddr::diagnosis::HintKind;
use bindaddr::update::Apply;
use bindaddr::{Activation, BindOptions, Cause, Interfaces, Listener, Listeners};
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
        // The process that opened it still has it, and is not a second server.
        let host = Interfaces::system().unwrap();
        assert!(listeners.warnings(&host).is_empty());
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

/// As `PrivateNetwork=yes` of systemd with a `.socket` unit, whose sockets are of the host's
/// namespace.
#[cfg(target_os = "linux")]
#[test]
fn socket_of_another_namespace_is_exposed_globally() {
    use bindaddr::Exposure;
    use bindaddr::diagnosis::WarningKind;
    use util::netns::{connects, in_namespace, ip};
    use util::sandbox;

    const TEST: &str = "socket_of_another_namespace_is_exposed_globally";
    let role = rerun::role().unwrap_or_default();
    let Some((kind, addr)) = role.split_once(' ') else {
        return in_namespace(|| {
            ip("link add name eth0 type veth peer name far0");
            ip("link set eth0 up");
            ip("link set far0 up");
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
    let options = BindOptions::new().activation(activation);
    let listeners = options.bind(addr).unwrap();
    if kind == "elsewhere" && addr.is_ipv4() && addr.ip().is_unspecified() {
        socket_elsewhere_is_not_the_holder(&options, addr.port());
    }
    let again = activation_of(vec![listeners[0].as_std().try_clone().unwrap().into()]);
    let taken = again.listeners().unwrap();
    assert_eq!(taken.exposure(&host), listeners.exposure(&host));
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
        has_no_other_server(&listeners, &host);
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

/// A socket of another namespace is not named as the holder of a port.
#[cfg(target_os = "linux")]
fn socket_elsewhere_is_not_the_holder(options: &BindOptions, port: u16) {
    util::netns::ip("link set lo up");
    let held = SocketAddr::new([127, 0, 0, 1].into(), port);
    let _held = TcpListener::bind(held).unwrap();
    assert_eq!(options.bind(held).unwrap_err().cause().name(), "in-use");
}

/// The process that handed a socket over is not named as another server, even if it is found first:
/// this process is not the first to be searched if it has more than 1,000 descriptors.
#[cfg(target_os = "linux")]
fn has_no_other_server(listeners: &Listeners, host: &Interfaces) {
    util::sandbox::limit_descriptors(2000);
    let null = || std::fs::File::open("/dev/null").unwrap();
    let _files: Vec<_> = (0..1200).map(|_| null()).collect();
    assert_eq!(listeners.warnings(host), []);
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

fn addrs(listeners: &Listeners) -> Vec<String> {
    listeners
        .iter()
        .map(|one| one.local_addr().to_string())
        .collect()
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
