//! Sockets handed over by a service manager: real descriptors, from 3 on, in a process of their own.
#![cfg(all(feature = "socket-activation", unix))]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use bindaddr::{Activation, BindOptions, Cause};
use util::rerun;

/// Runs `inside` in a process that was handed over `sockets`, one or two. It is told the address of the first.
#[track_caller]
fn handed_over(test: &str, sockets: Vec<OwnedFd>, first: SocketAddr, inside: fn(SocketAddr)) {
    if let Some(addr) = rerun::role() {
        inside(addr.parse().unwrap());
        return rerun::done();
    }
    hand_over(test, sockets, &first.to_string());
}

/// Runs `test` anew as `role`, in a process with `sockets`.
fn hand_over(test: &str, sockets: Vec<OwnedFd>, role: &str) {
    let count = sockets.len();
    let script = format!(
        "exec 3<&0 4<&2 </dev/null 2>&1; LISTEN_PID=$$ LISTEN_FDS={count} exec \"$0\" \"$@\""
    );
    let mut command = rerun::command(test, role, &["sh", "-c", &script]);
    let mut sockets = sockets.into_iter();
    command.stdin(sockets.next().unwrap());
    command.stderr(sockets.next().map_or_else(Stdio::null, Stdio::from));
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}");
}

fn listener(addr: &str) -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind(addr).unwrap();
    // systemd's sockets do not block.
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener.into(), addr)
}

#[test]
fn a_listener_that_fits_is_taken() {
    let (socket, addr) = listener("127.0.0.1:0");
    let test = "a_listener_that_fits_is_taken";
    handed_over(test, vec![socket], addr, |addr| {
        let activation = Activation::from_env();
        assert_eq!(activation.unused().collect::<Vec<_>>(), [addr]);
        assert_eq!(format!("{activation:?}"), format!("[{addr}]"));
        let options = BindOptions::new().activation(activation.clone());
        // Of another one nothing is handed over.
        let other = options.bind("127.0.0.1:0").unwrap();
        assert_ne!(other.as_slice()[0].local_addr(), addr);
        assert_eq!(activation.unused().count(), 1);

        let listeners = options.bind(addr).unwrap();
        assert_eq!(activation.unused().count(), 0);
        let listener = listeners.into_iter().next().unwrap();
        assert_eq!(listener.local_addr(), addr);
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        // It waits, for it is as the options say.
        let (mut peer, _) = listener.as_std().accept().unwrap();
        let mut heard = String::new();
        peer.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello");
        // They are taken once.
        assert_eq!(Activation::from_env().unused().count(), 0);
    });
}

#[test]
fn one_is_left_where_a_list_fails() {
    let (socket, addr) = listener("127.0.0.1:0");
    let test = "one_is_left_where_a_list_fails";
    handed_over(test, vec![socket], addr, |addr| {
        let options = BindOptions::new().activation(Activation::from_env());
        // TEST-NET-2, which no host has.
        let missing: SocketAddr = "198.51.100.1:80".parse().unwrap();
        let err = options.bind_all([addr, missing]).unwrap_err();
        assert_eq!(err.failures().count(), 1, "{err}");
        // Nor is it said to be in use where the rest cannot be resolved.
        let err = options
            .bind_all([addr.to_string(), "eth9:81".to_owned()])
            .unwrap_err();
        assert_eq!(err.failures().count(), 1, "{err}");
        let listeners = options.bind_all([addr]).unwrap();
        // Whoever serves on it while a list is tried again waits in no call.
        let serving = listeners.into_iter().next().unwrap();
        let serving = serving.into_std_nonblocking().unwrap();
        assert!(options.bind_all([addr, missing]).is_err());
        options.bind_all([addr]).unwrap();
        let accepted = serving.accept().map(|(client, _)| client);
        assert_eq!(accepted.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn a_socket_of_another_kind_is_not_taken() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    let addr = client.local_addr().unwrap();
    let udp = UdpSocket::bind(addr).unwrap();
    let test = "a_socket_of_another_kind_is_not_taken";
    handed_over(test, vec![client.into(), udp.into()], addr, |addr| {
        let activation = Activation::from_env();
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
fn a_wildcard_that_takes_ipv4_fits_none_that_does_not() {
    let both = BindOptions::new().bind("[::]:0").unwrap();
    let only = BindOptions::new().only_v6(true).bind("[::]:0").unwrap();
    let [both, only] = [both, only].map(|one| one.into_iter().next().unwrap());
    let addr = only.local_addr();
    let sockets = [both, only].map(|one| OwnedFd::from(one.into_std()));
    let test = "a_wildcard_that_takes_ipv4_fits_none_that_does_not";
    handed_over(test, sockets.into(), addr, |only| {
        let activation = Activation::from_env();
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
fn a_link_local_address_fits_in_its_zone() {
    use util::netns::{in_namespace, ip, set};

    const TEST: &str = "a_link_local_address_fits_in_its_zone";
    let role = rerun::role().unwrap_or_default();
    let Some((setting, addr)) = role.split_once(' ') else {
        return in_namespace(TEST, || {
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
    let activation = Activation::from_env();
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
