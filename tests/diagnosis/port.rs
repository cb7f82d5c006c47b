//! Ports that are in use, and their holders.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

#[test]
fn own_socket_is_named() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fe80::77/64 dev eth0");
        for (situation, held, text, overlap) in [
            (
                "a port that this process has on the same address",
                "127.0.0.1:80",
                "127.0.0.1:80",
                Overlap::SameAddress,
            ),
            (
                "an address while the wildcard is in use",
                "0.0.0.0:80",
                "127.0.0.1:80",
                Overlap::Covers,
            ),
            (
                "an IPv4 address beside the dual-stack wildcard",
                "[::]:80",
                "127.0.0.1:80",
                Overlap::CoversAsDualStack,
            ),
            (
                "the wildcard while an address is in use",
                "10.0.0.1:80",
                "0.0.0.0:80",
                Overlap::IsCovered,
            ),
            (
                "the dual-stack wildcard beside the IPv4 wildcard",
                "0.0.0.0:80",
                "[::]:80",
                Overlap::IsCoveredByDualStack,
            ),
        ] {
            let held = bind(held).unwrap();
            let err = row(situation, text);
            let Cause::InUse { holders, port, .. } = err.cause() else {
                panic!("{err:?}")
            };
            assert_eq!((holders.len(), *port), (1, 80));
            let holder = &holders[0];
            assert_eq!(holder.addr(), held.as_slice()[0].local_addr());
            assert_eq!(holder.overlap(), overlap);
            assert_eq!(holder.state(), SocketState::Listening);
            assert!(holder.is_this_process());
            assert_eq!(holder.pid(), Some(std::process::id()));
            assert_eq!(holder.uid(), Some(0));
            assert!(holder.command().is_some_and(|name| !name.is_empty()));
            assert!(!err.is_transient());
        }
        // A zone is shown, and an IPv4-mapped address is not.
        let held = bind("[fe80::77%eth0]:80").unwrap();
        let err = bind("[fe80::77%eth0]:80").unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].addr(), held.as_slice()[0].local_addr());
        drop(held);
        let held = TcpListener::bind("[::ffff:127.0.0.1]:80").unwrap();
        row(
            "an address that is held in its IPv4-mapped form",
            "127.0.0.1:80",
        );
        drop(held);
        // Several.
        let held = [
            "127.0.0.1:80",
            "127.0.0.2:80",
            "127.0.0.3:80",
            "127.0.0.4:80",
        ];
        let held: Vec<_> = held.map(|text| bind(text).unwrap()).into_iter().collect();
        let err = bind("0.0.0.0:80").unwrap_err();
        assert!(
            err.to_string().ends_with("; and 1 more"),
            "three are named: {err}"
        );
        drop(held);
        // Another device is not in the way, and not named.
        let on = |name: &str| BindOptions::new().device(name);
        let held =
            [on("eth0").bind("0.0.0.0:80"), on("far0").bind("0.0.0.0:80")].map(Result::unwrap);
        let err = on("far0").bind("127.0.0.1:80").unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders.len(), 1);
        drop(held);
    });
}

#[test]
fn holder_in_another_pid_namespace_is_reported() {
    const TEST: &str = "port::holder_in_another_pid_namespace_is_reported";
    if rerun::role().as_deref() == Some("inside") {
        // This process has a number of its own, and /proc has those of the outer namespace.
        let err = bind("127.0.0.1:80").unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!((holders[0].uid(), holders[0].pid()), (Some(0), None));
        assert!(!holders[0].is_this_process());
        return rerun::done();
    }
    in_namespace(|| {
        let held = bind("127.0.0.1:80").unwrap();
        rerun::run(TEST, "inside", &["unshare", "--pid", "--fork", "--"]);
        drop(held);
    });
}

#[test]
fn udp_holder_is_named() {
    in_namespace(|| {
        let held = bind_udp("0.0.0.0:53").unwrap();
        assert_eq!(
            bind_udp("127.0.0.1:53").unwrap_err().to_string(),
            "cannot listen on UDP 127.0.0.1:53: port 53 is in use: a socket of this process is bound to 0.0.0.0, which includes every IPv4 address",
        );
        bind("127.0.0.1:53").expect("TCP is something else");
        drop(held);
    });
}

/// Another process may have a socket of a server as well, unless all can be looked into.
#[test]
fn unseen_processes_may_share_sockets() {
    const TEST: &str = "port::unseen_processes_may_share_sockets";
    let role = rerun::role();
    if let Some(role @ ("seen" | "unseen")) = role.as_deref() {
        let server = RunningServer::of_processes([std::process::id()]).unwrap();
        assert_eq!(server.may_share_sockets(), role == "unseen");
        return rerun::done();
    }
    in_namespace(|| {
        let inside = ["unshare", "--pid", "--fork", "--mount-proc", "--"];
        rerun::run(TEST, "seen", &inside);
        // The shell keeps its capabilities, so a process without them cannot look into it.
        let shell = ["sh", "-c", "\"$@\"; exit $?", "--"];
        let inside = [&inside[..], &shell, &WITHOUT_CAPABILITIES].concat();
        rerun::run(TEST, "unseen", &inside);
    });
}

/// A server of another user, which listens on 127.0.0.1:80.
fn server_of_another_user(user: &str) -> Option<Child> {
    // Every Debian has perl-base.
    let script = "use IO::Socket::INET; \
        my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 80, Listen => 1, ReuseAddr => 1) or die; \
        $| = 1; print \"ready\\n\"; sleep 60;";
    let reuid = format!("--reuid={user}");
    let mut command = Command::new("setpriv");
    command.args([&*reuid, "--clear-groups", "--inh-caps=+net_bind_service"]);
    command.args(["--ambient-caps=+net_bind_service", "perl", "-e", script]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut server = command.spawn().ok()?;
    let mut ready = [0; 6];
    let stdout = server.stdout.as_mut()?;
    match std::io::Read::read_exact(stdout, &mut ready) {
        Ok(()) => Some(server),
        Err(_) => None,
    }
}

#[test]
fn holder_of_another_user_is_reported() {
    const TEST: &str = "port::holder_of_another_user_is_reported";
    if rerun::role().as_deref() == Some("unprivileged") {
        // Every user can read the user, and only root and that user the process.
        let err = row(
            "a port of another user's process, which cannot be inspected",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!((holders[0].uid(), holders[0].pid()), (Some(65534), None));
        assert_eq!(
            texts_of_hints(&err),
            ["`ss -antup 'sport = :80'`, run as root, shows which process holds the port"]
        );
        return rerun::done();
    }
    in_namespace(|| {
        let Some(mut server) = server_of_another_user("65534") else {
            rerun::skip(
                TEST,
                "this machine has no second user",
                "BINDADDR_REQUIRE_USERS",
            );
            return;
        };
        let err = row(
            "a port of another user's process, seen by root",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].pid(), Some(server.id()));
        assert!(!holders[0].is_this_process());
        assert_eq!(texts_of_hints(&err), [""; 0]);
        set("net/ipv4/ip_unprivileged_port_start", "80");
        rerun::run(TEST, "unprivileged", &WITHOUT_CAPABILITIES);
        let _ = server.kill();
        let _ = server.wait();
    });
}

#[test]
fn holder_with_dropped_privileges_is_named() {
    const TEST: &str = "port::holder_with_dropped_privileges_is_named";
    in_namespace(|| {
        let script = "use IO::Socket::INET; use POSIX; \
            my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 80, Listen => 1, ReuseAddr => 1) or die; \
            POSIX::setuid(65534) or die; $| = 1; print \"ready\\n\"; sleep 60;";
        let mut perl = Command::new("perl");
        perl.args(["-e", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut daemon = perl.spawn().expect("there is perl");
        let mut ready = [0; 6];
        let stdout = daemon.stdout.as_mut().expect("it is piped");
        if std::io::Read::read_exact(stdout, &mut ready).is_err() {
            drop(daemon.wait());
            rerun::skip(
                TEST,
                "this machine has no second user",
                "BINDADDR_REQUIRE_USERS",
            );
            return;
        }
        let err = row(
            "a port of a daemon that root started and that then changed its user",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(
            (holders[0].uid(), holders[0].process_uid()),
            (Some(0), Some(65534))
        );
        drop(daemon.kill());
        drop(daemon.wait());
    });
}

#[test]
fn kernel_socket_has_no_ss_hint() {
    const TEST: &str = "port::kernel_socket_has_no_ss_hint";
    in_namespace(|| {
        let mut vxlan = Command::new("ip");
        vxlan.args([
            "link", "add", "vx", "type", "vxlan", "id", "7", "dstport", "4789", "dev", "lo",
        ]);
        if !vxlan
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
        {
            rerun::skip(TEST, "this kernel has no VXLAN", "BINDADDR_REQUIRE_VXLAN");
            return;
        }
        ip("link set vx up");
        let err = bind_udp("127.0.0.1:4789").unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].pid(), None);
        // Root has looked at every process, and `ss` shows it nothing more. In a container, the
        // first process may have a capability that root lacks, which denies reading its
        // descriptors.
        let sees_all = std::fs::read_dir("/proc/1/fd").is_ok_and(|descriptors| {
            let mut links = descriptors.map(|one| std::fs::read_link(one?.path()));
            links.all(|link| link.is_ok())
        });
        // A process that ends meanwhile, as of another test, leaves it open who has the port.
        eventually("the hint depends on what can be seen", || {
            let err = bind_udp("127.0.0.1:4789").unwrap_err();
            texts_of_hints(&err).is_empty() == sees_all
        });
    });
}

#[test]
fn bound_socket_without_listen_is_in_use() {
    in_namespace(|| {
        let held = without_reuse("127.0.0.1:80");
        if features::lists_bound_sockets() {
            let err = row(
                "a port that is bound by a socket that never listened",
                "127.0.0.1:80",
            );
            let Cause::InUse { holders, .. } = err.cause() else {
                panic!("{err:?}")
            };
            assert_eq!(holders[0].state(), SocketState::Bound);
        } else {
            let err = row(
                "a port whose socket was closed meanwhile, or is hidden by an older kernel",
                "127.0.0.1:80",
            );
            assert!(matches!(
                err.cause(),
                Cause::InUseByUnknown { port: 80, .. }
            ));
        }
        // One that lets others have the port does not conflict.
        drop(held);
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        held.set_reuse_address(true).unwrap();
        let addr: SocketAddr = "127.0.0.1:80".parse().unwrap();
        held.bind(&addr.into()).unwrap();
        bind("127.0.0.1:80").unwrap();
    });
}

#[test]
fn holder_missing_from_proc_is_unknown() {
    in_namespace(|| {
        let held = without_reuse("127.0.0.1:80");
        // A socket that is bound but not listening is missing from /proc, so nothing is reported.
        sandbox::refuse_family(16, 97);
        let err = row(
            "a port that is bound by a socket that never listened, in a sandbox without netlink",
            "127.0.0.1:80",
        );
        assert!(matches!(err.cause(), Cause::InUse { port: 80, .. }));
        drop(held);
    });
}

#[test]
fn connections_and_time_wait_are_distinguished() {
    in_namespace(|| {
        let server = without_reuse("127.0.0.1:80");
        server.listen(1).unwrap();
        let client = TcpStream::connect("127.0.0.1:80").unwrap();
        let (accepted, _) = server.accept().unwrap();
        drop(server);
        let err = row(
            "a port of a live connection whose server did not set SO_REUSEADDR",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].state(), SocketState::Connected);
        assert!(err.is_transient());
        // The side that closes first has the port in TIME_WAIT once the other side closes too;
        // until then the connection is orphaned.
        drop(accepted);
        // Once the other side confirms it, the state is FIN_WAIT2 (5 of net/tcp_states.h), and the
        // kernel replaces the socket by one without a process. For a moment it lists neither.
        let is_confirmed = || {
            let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
            table.lines().any(|line| {
                let fields: Vec<&str> = line.split_whitespace().take(4).collect();
                fields.get(1) == Some(&"0100007F:0050") && fields.get(3) == Some(&"05")
            })
        };
        eventually("the close is confirmed", || {
            let err = is_confirmed().then(|| bind("127.0.0.1:80").unwrap_err());
            err.is_some_and(|err| matches!(err.cause(), Cause::InUse { .. })) && is_confirmed()
        });
        let err = row(
            "a port of a connection that was closed on this side only",
            "127.0.0.1:80",
        );
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!((holders[0].uid(), holders[0].pid()), (None, None));
        // No command shows the process of a connection that has none.
        assert_eq!(texts_of_hints(&err), [""; 0]);
        assert!(err.is_transient());
        drop(client);
        eventually("the connection is over", || {
            matches!(
                bind("127.0.0.1:80").unwrap_err().cause(),
                Cause::TimeWait { .. }
            )
        });
        let err = row(
            "a port in TIME_WAIT of a server that did not set SO_REUSEADDR",
            "127.0.0.1:80",
        );
        assert!(err.is_transient());
        bind("127.0.0.2:80").expect("on another address it is free");

        // The port of a connection that goes out.
        let server = bind("127.0.0.3:0").unwrap();
        let client = TcpStream::connect(server.as_slice()[0].local_addr()).unwrap();
        let taken = client.local_addr().unwrap();
        let err = bind(taken).unwrap_err();
        let Cause::InUse { holders, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(holders[0].addr(), taken);
        assert_eq!(holders[0].state(), SocketState::Connected);
    });
}

#[test]
fn exhausted_ephemeral_range_is_reported() {
    in_namespace(|| {
        set("net/ipv4/ip_local_port_range", "40000 40003");
        let held: Vec<_> = (0..4).map(|_| bind("127.0.0.1:0").unwrap()).collect();
        let err = row("port 0 where every ephemeral port is taken", "127.0.0.1:0");
        let Cause::EphemeralPortsExhausted { range, .. } = err.cause() else {
            panic!("{err:?}")
        };
        assert_eq!(range.clone(), Some(40000..=40003));
        bind("127.0.0.1:40004").expect("as the sentence says");
        drop(held);
    });
}

/// A socket that is closed during the search for its owner is neither the kernel's nor that of a
/// hidden process.
#[test]
fn closing_socket_has_no_other_holder() {
    in_namespace(|| {
        let over = &AtomicBool::new(false);
        thread::scope(|scope| {
            for open in [
                || drop(TcpListener::bind("127.0.0.1:80")),
                || drop(UdpSocket::bind("127.0.0.1:80")),
            ] {
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        open();
                    }
                });
            }
            let mut failed = Vec::new();
            while failed.len() < 400 {
                failed.extend(bind("127.0.0.1:80").err());
                failed.extend(bind_udp("127.0.0.1:80").err());
            }
            over.store(true, Ordering::Relaxed);
            for err in failed {
                let is_right = match err.cause() {
                    Cause::InUse { holders, .. } => holders.iter().all(Holder::is_this_process),
                    cause => matches!(cause, Cause::InUseByUnknown { .. }),
                };
                assert!(is_right, "{err:?}");
            }
        });
    });
}
