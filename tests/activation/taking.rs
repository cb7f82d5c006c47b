//! Sockets that the program takes by itself.

use super::*;

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
    let test = "taking::take_rest_returns_unclaimed_sockets";
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
    const TEST: &str = "taking::activation_leaves_descriptors_of_the_program";
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

#[test]
fn empty_name_keeps_its_place() {
    let test = "taking::empty_name_keeps_its_place";
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
    const TEST: &str = "taking::activation_takes_fifos_and_files_in_order";
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
    const TEST: &str = "taking::reopened_file_keeps_append_mode";
    if rerun::role().is_some() {
        let activation = Activation::from_env().unwrap();
        let file = activation.take_rest().unwrap().remove(0);
        std::fs::File::from(file).write_all(b" and new").unwrap();
        return rerun::done();
    }
    let path = std::env::temp_dir().join(format!("bindaddr-append-{}", std::process::id()));
    for (append, content) in [(true, "old and new"), (false, " and new")] {
        std::fs::write(&path, "old").unwrap();
        let mut options = std::fs::File::options();
        let file = options.write(true).append(append).open(&path).unwrap();
        hand_over(TEST, vec![file.into()], "child");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    std::fs::remove_file(path).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn socket_of_another_family_is_returned() {
    use socket2::{Domain, Socket, Type};

    const TEST: &str = "taking::socket_of_another_family_is_returned";
    // AF_NETLINK of linux/socket.h.
    let family = Domain::from(16);
    if rerun::role().is_some() {
        let activation = Activation::from_env().unwrap();
        let rest = activation.take_rest().unwrap();
        let domains = rest.into_iter().map(|fd| Socket::from(fd).domain().ok());
        assert_eq!(domains.collect::<Vec<_>>(), [Some(family)]);
        return rerun::done();
    }
    let netlink = Socket::new(family, Type::RAW, None).unwrap();
    hand_over(TEST, vec![netlink.into()], "child");
}

/// As after `User=` of systemd.
#[cfg(target_os = "linux")]
#[test]
fn unopenable_file_is_reported_once() {
    const TEST: &str = "taking::unopenable_file_is_reported_once";
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
    let (socket, _) = listener("127.0.0.1:0");
    let all = activation_of(vec![socket]).listeners().unwrap();
    assert!(is_blocking(first(all).into()));
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
