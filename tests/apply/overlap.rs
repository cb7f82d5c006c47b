//! New sockets that overlap with old ones.

use super::*;

/// Returns `true` if a socket of this user that sets `SO_REUSEPORT` can be bound to `addr`.
fn can_be_joined(addr: SocketAddr) -> bool {
    let joining = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    joining.set_reuse_port(true).expect("a socket");
    joining.bind(&addr.into()).is_ok()
}

#[test]
fn apply_opens_a_socket_beside_one_that_overlaps() {
    in_namespace(|| {
        for (old, new) in OVERLAPPING
            .iter()
            .flat_map(|old| OVERLAPPING.map(|new| (*old, new)))
        {
            for mode in [Apply::AllOrNone, Apply::BestEffort] {
                let mut open = listen(old);
                let update = plan(new).apply(&mut open, mode).unwrap();
                let row = format!("{old} → {new}: {update}");
                assert!(update.errors().is_empty(), "{row}");
                assert!(update.interrupted().is_empty(), "{row}");
                assert!(plan(new).diff(&open).is_empty(), "{row}");
                for listener in &open {
                    let mut addr = listener.local_addr();
                    if addr.ip().is_unspecified() {
                        addr = SocketAddr::new(
                            match addr {
                                SocketAddr::V4(_) => [127, 0, 0, 1].into(),
                                SocketAddr::V6(_) => parse_ip("::1"),
                            },
                            5000,
                        );
                    }
                    assert!(is_served(addr, &open), "{row}");
                    // The kernel keeps its mark where both wildcards are open.
                    let is_dual_stack = listener.local_addr().ip().is_unspecified()
                        && listener.local_addr().is_ipv6()
                        && !format!("{listener:#}").contains("IPv6 only");
                    if !is_dual_stack {
                        assert!(!can_be_joined(addr), "{row}");
                    }
                }
                let reuse = open
                    .iter()
                    .map(|one| SockRef::from(one.as_std()).reuse_port().unwrap());
                assert!(reuse.into_iter().all(|reuse| !reuse), "{row}");
            }
        }
    });
}

#[test]
fn failed_apply_ends_the_sharing_of_ports() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000");
        let err = plan("0.0.0.0:5000, 198.51.100.1:80")
            .apply(&mut open, Apply::AllOrNone)
            .unwrap_err();
        assert_eq!(err.errors().count(), 1, "{err}");
        assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
        assert!(!SockRef::from(open[0].as_std()).reuse_port().unwrap());
        assert!(!can_be_joined("127.0.0.1:5000".parse().unwrap()));
    });
}

/// Another server of this user that shares its port is not joined.
#[test]
fn apply_joins_no_other_server() {
    in_namespace(|| {
        let sharing = BindOptions::new().reuse_port(true);
        let _other = sharing.bind("127.0.0.2:5000").unwrap();
        for mode in [Apply::AllOrNone, Apply::BestEffort] {
            let mut open = listen("127.0.0.1:5000");
            let result = plan("0.0.0.0:5000").apply(&mut open, mode);
            let err = match result {
                Err(err) => err.to_string(),
                Ok(update) => update.to_string(),
            };
            let expected = "port 5000 is in use: ";
            let other = "this process listens on 127.0.0.2, which 0.0.0.0 includes";
            assert!(err.contains(expected) && err.contains(other), "{err}");
        }
    });
}

/// Gives an open socket to another user, as if the server had dropped its privileges since. Returns
/// `false` if this user may not.
fn give_away(open: &Listeners) -> bool {
    std::os::unix::fs::fchown(open[0].as_std(), Some(65534), None).is_ok()
}

#[test]
fn apply_stops_a_socket_of_another_owner_first() {
    in_namespace(|| {
        for mode in [Apply::AllOrNone, Apply::BestEffort] {
            let mut open = listen("127.0.0.1:5000");
            if !give_away(&open) {
                let test = "overlap::apply_stops_a_socket_of_another_owner_first";
                rerun::skip(test, "not root", "BINDADDR_REQUIRE_USERS");
                return;
            }
            // For a check it does not stop, so whether bind(2) would succeed is unknown.
            let check = plan("0.0.0.0:5000").check_beside(&open);
            let warnings = check.settings()[0].sockets()[0].warnings();
            let names: Vec<&str> = warnings.iter().map(Warning::name).collect();
            assert_eq!(names, ["sharing-unknown"], "{check}");
            let mut client = TcpStream::connect("127.0.0.1:5000").unwrap();
            let mut update = plan("0.0.0.0:5000").apply(&mut open, mode).unwrap();
            assert_eq!(
                update.to_string(),
                "opened 0.0.0.0:5000\nclosed 127.0.0.1:5000, which stopped listening a moment before\n"
            );
            assert_eq!(update.interrupted(), update.closed());
            let (mut served, _) = update.drained().pop().expect("it was waiting");
            served.write_all(b"!").unwrap();
            client.read_exact(&mut [0]).unwrap();
            assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
        }
    });
}

#[test]
fn failed_apply_resumes_a_stopped_socket() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000");
        if !give_away(&open) {
            let test = "overlap::failed_apply_resumes_a_stopped_socket";
            rerun::skip(test, "not root", "BINDADDR_REQUIRE_USERS");
            return;
        }
        // It does not listen, so the table of listening sockets does not have it.
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let addr: SocketAddr = "127.0.0.2:5000".parse().unwrap();
        other.bind(&addr.into()).unwrap();
        let err = plan("0.0.0.0:5000")
            .apply(&mut open, Apply::AllOrNone)
            .unwrap_err();
        // Its own listener has made way, so it is not what is in the way.
        let cause = if features::lists_bound_sockets() {
            "in-use"
        } else {
            "in-use-by-unknown"
        };
        assert_eq!(err.cause().name(), cause);
        assert!(!SockRef::from(open[0].as_std()).nonblocking().unwrap());
        assert!(is_served("127.0.0.1:5000".parse().unwrap(), &open));
        open[0].as_std().set_nonblocking(true).unwrap();
        let failing = plan("0.0.0.0:5000");
        assert!(failing.apply(&mut open, Apply::AllOrNone).is_err());
        assert!(SockRef::from(open[0].as_std()).nonblocking().unwrap());
        open[0].as_std().set_nonblocking(false).unwrap();
        // Another failure stops nothing.
        let client = TcpStream::connect("127.0.0.1:5000").unwrap();
        let failing = plan("0.0.0.0:5000, 198.51.100.1:80");
        assert!(failing.apply(&mut open, Apply::AllOrNone).is_err());
        let (_, peer) = open[0].as_std().accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        // Without its port it could not listen again.
        let mut open = listen("127.0.0.1:0");
        let port = open[0].local_addr().port();
        assert!(give_away(&open));
        let moving = plan(&format!("0.0.0.0:{port}"));
        assert!(moving.apply(&mut open, Apply::AllOrNone).is_err());
        assert!(is_served(open[0].local_addr(), &open));
    });
}

/// A socket that stopped for one that is open now is not resumed because of another.
#[test]
fn best_effort_resumes_only_what_is_not_replaced() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000, 127.0.0.1:5001");
        if !give_away(&open) {
            let test = "overlap::best_effort_resumes_only_what_is_not_replaced";
            rerun::skip(test, "not root", "BINDADDR_REQUIRE_USERS");
            return;
        }
        std::os::unix::fs::fchown(open[1].as_std(), Some(65534), None).unwrap();
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let addr: SocketAddr = "127.0.0.2:5001".parse().unwrap();
        other.bind(&addr.into()).unwrap();
        let _waiting = TcpStream::connect("127.0.0.1:5000").unwrap();
        let plan = plan("0.0.0.0:5000, 0.0.0.0:5001");
        let mut update = plan.apply(&mut open, Apply::BestEffort).unwrap();
        let stopped: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        assert_eq!(
            (update.interrupted(), update.closed().len()),
            (&[stopped][..], 2)
        );
        assert_eq!(update.errors().len(), 1, "{update}");
        assert!(update.drain_error().is_none(), "{update:?}");
        assert_eq!(
            (update.drained().len(), addrs(&open)),
            (1, vec!["0.0.0.0:5000".to_owned()])
        );
    });
}

/// The sockets are closed in a process that is spawned, so it keeps no port.
#[test]
fn spawned_process_keeps_no_port() {
    in_namespace(|| {
        let mut open = listen("127.0.0.1:5000, 127.0.0.2:5000");
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let update = plan("127.0.0.2:5000")
            .apply(&mut open, Apply::AllOrNone)
            .unwrap();
        assert!(update.open_elsewhere().is_empty());
        assert!(bindaddr::bind("127.0.0.1:5000").is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn apply_refuses_udp_overlap_with_a_socket_to_close() {
    in_namespace(|| {
        let mut open = bindaddr::bind_udp("127.0.0.1:5000").unwrap();
        let plan = plan("0.0.0.0:5000");
        let err = plan.apply_udp(&mut open, Apply::AllOrNone).unwrap_err();
        assert_eq!(err.cause().name(), "in-use");
        assert_eq!(open.len(), 1);
        let update = plan.apply_udp(&mut open, Apply::BestEffort).unwrap();
        assert_eq!((update.opened().len(), update.closed().len()), (1, 1));
    });
}
