//! The system calls on the way to a bound socket, and what happens if one fails.
#![cfg(target_os = "linux")]

mod util;

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use bindaddr::addr::Family;
use bindaddr::diagnosis::{Policy, SocketState, Step};
use bindaddr::target::ResolveErrorKind;
use bindaddr::update::Apply;
use bindaddr::{BindOptions, BindTarget, Cause, bind, bind_udp};
use socket2::{Domain, Socket, Type};
use util::features;
use util::rerun;
use util::strace::{calls, marked, under_strace};

/// Runs the part of a test that its role names, or `None` in the first process.
fn part(role: &str, body: impl FnOnce()) -> Option<()> {
    (rerun::role()? == role).then(|| {
        marked(body);
        rerun::done();
    })
}

#[test]
fn literal_bind_has_same_syscalls_as_std() {
    const TEST: &str = "literal_bind_has_same_syscalls_as_std";
    if rerun::role().is_some() {
        part("std", || drop(TcpListener::bind("127.0.0.1:0").unwrap()));
        part("ours", || drop(bind("127.0.0.1:0").unwrap()));
        part("std-fixed-port", || {
            drop(TcpListener::bind("127.0.0.2:61234").unwrap());
        });
        part("ours-fixed-port", || drop(bind("127.0.0.2:61234").unwrap()));
        part("std-any", || drop(TcpListener::bind("0.0.0.0:0").unwrap()));
        part("ours-any", || drop(bind("0.0.0.0:0").unwrap()));
        part("std-ipv6", || {
            drop(TcpListener::bind("[::1]:61235").unwrap());
        });
        part("ours-ipv6", || drop(bind("[::1]:61235").unwrap()));
        part("std-udp", || {
            drop(UdpSocket::bind("127.0.0.1:61236").unwrap());
        });
        part("ours-udp", || drop(bind_udp("127.0.0.1:61236").unwrap()));
        return;
    }
    let roles = [
        "std",
        "ours",
        "std-fixed-port",
        "ours-fixed-port",
        "std-any",
        "ours-any",
        "std-ipv6",
        "ours-ipv6",
        "std-udp",
        "ours-udp",
    ];
    let Some(traces) = calls(TEST, &roles) else {
        return;
    };
    let [
        std,
        ours,
        std_fixed,
        ours_fixed,
        std_any,
        ours_any,
        std_v6,
        ours_v6,
        std_udp,
        ours_udp,
    ] = <[_; 10]>::try_from(traces).expect("a trace for each role");

    // std leaves the port to be asked for, and its backlog is 128.
    let with_name = |mut std: Vec<String>, ip: &str| {
        let name = format!(
            "getsockname(FD, {{sa_family=AF_INET, sin_port=htons(PORT), sin_addr=inet_addr(\"{ip}\")}}, [128 => 16]) = 0"
        );
        std.insert(std.len() - 1, name);
        std
    };
    let with_backlog = |std: Vec<String>| -> Vec<String> {
        std.into_iter()
            .map(|call| call.replace(", 128) = 0", ", 2147483647) = 0"))
            .collect()
    };
    assert_eq!(
        with_backlog(std_fixed.clone()),
        ours_fixed,
        "a fixed port: not one call more",
    );
    assert_eq!(
        ours_fixed,
        [
            "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = N",
            "setsockopt(FD, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0",
            "bind(FD, {sa_family=AF_INET, sin_port=htons(PORT), sin_addr=inet_addr(\"127.0.0.2\")}, 16) = 0",
            "listen(FD, 2147483647) = 0",
            "close(FD) = 0",
        ],
    );
    assert_eq!(with_backlog(with_name(std, "127.0.0.1")), ours);
    assert_eq!(with_backlog(with_name(std_any, "0.0.0.0")), ours_any);
    // On an IPv6 socket V6ONLY is set, and nothing else.
    let only_v6 = "setsockopt(FD, SOL_IPV6, IPV6_V6ONLY, [1], 4) = 0";
    assert_eq!(ours_v6[2], only_v6);
    let rest: Vec<String> = ours_v6.into_iter().filter(|call| call != only_v6).collect();
    assert_eq!(with_backlog(std_v6), rest);
    assert_eq!(std_udp, ours_udp);
}

#[test]
fn broadcast_like_literal_costs_one_query() {
    const TEST: &str = "broadcast_like_literal_costs_one_query";
    if rerun::role().is_some() {
        part("ours", || drop(bind("127.0.0.3:61237").unwrap()));
        part("udp", || drop(bind_udp("127.0.0.3:61238").unwrap()));
        return;
    }
    let Some(traces) = calls(TEST, &["ours", "udp"]) else {
        return;
    };
    let asked = [
        "socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = N",
        "connect(FD, {sa_family=AF_INET, sin_port=htons(PORT), sin_addr=inet_addr(\"127.0.0.3\")}, 16) = 0",
        "close(FD) = 0",
    ];
    assert_eq!(traces[0][..3], asked);
    assert_eq!(traces[0].len(), 3 + 5);
    assert_eq!(traces[1].len(), 3, "UDP may have it: {:?}", traces[1]);
}

#[test]
fn interfaces_are_read_only_for_selectors() {
    const TEST: &str = "interfaces_are_read_only_for_selectors";
    if rerun::role().is_some() {
        part("not", || {
            for text in [
                "*",
                "0.0.0.0",
                "::",
                "ipv6@*",
                "127.0.0.1",
                "::1",
                "localhost",
                "::ffff:127.0.0.1",
            ] {
                BindTarget::parse(text).unwrap();
            }
        });
        part("read", || drop(BindTarget::parse("198.51.100.1")));
        part("selected", || drop(bind("ipv4@lo:0").unwrap()));
        part("localhost", || drop(bind("localhost:61239").unwrap()));
        return;
    }
    let roles = ["not", "read", "selected", "localhost"];
    let Some(traces) = calls(TEST, &roles) else {
        return;
    };
    let netlink = |calls: &[String]| {
        calls
            .iter()
            .filter(|call| call.starts_with("socket(AF_NETLINK"))
            .count()
    };
    assert_eq!(traces[0], [""; 0], "no system call at all");
    assert_eq!(netlink(&traces[1]), 1);
    assert_eq!(netlink(&traces[2]), 1);
    assert_eq!(netlink(&traces[3]), 0);
}

#[test]
fn check_binds_each_socket_once_and_listens_on_none() {
    const TEST: &str = "check_binds_each_socket_once_and_listens_on_none";
    if rerun::role().is_some() {
        part("check", || {
            let texts = [
                "127.0.0.1:61245",
                "[::1]:61245",
                "0.0.0.0:61246",
                "198.51.100.1:80",
            ];
            assert!(!bindaddr::check(texts).is_ok());
            assert!(bindaddr::check_udp(["127.0.0.1:61247"]).is_ok());
        });
        return;
    }
    let Some(traces) = calls(TEST, &["check"]) else {
        return;
    };
    let of = |name: &str| {
        let calls = traces[0].iter().filter(move |call| call.starts_with(name));
        calls.cloned().collect::<Vec<String>>()
    };
    assert_eq!(of("listen("), [""; 0]);
    let binds: Vec<String> = of("bind(")
        .into_iter()
        .filter(|call| !call.contains("AF_NETLINK"))
        .collect();
    // Each is bound once, and the refused one and what could be advised instead are probed on port
    // 0.
    let (probes, checked): (Vec<String>, Vec<String>) = binds
        .into_iter()
        .partition(|call| call.contains("_port=htons(0)"));
    assert_eq!(checked.len(), 5, "{checked:?}");
    assert!((1..=5).contains(&probes.len()), "{probes:?}");
}

#[test]
fn socket_among_many_is_found_in_few_steps() {
    const TEST: &str = "socket_among_many_is_found_in_few_steps";
    const MANY: usize = 400;
    let is_own = |held: &TcpListener| {
        let error = bind(held.local_addr().unwrap().to_string()).unwrap_err();
        let Cause::InUse { holders, .. } = error.cause() else {
            panic!("{error}");
        };
        assert!(holders[0].is_this_process(), "{error}");
    };
    if rerun::role().is_some() {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = |socket: &TcpListener| {
            let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
            let link = link
                .to_str()
                .unwrap()
                .trim_matches(|c: char| !c.is_ascii_digit());
            link.parse::<u64>().unwrap()
        };
        // Each processor has its own inodes, and the scheduler may move this thread. Copies in the
        // order of the inodes have ascending descriptors, once the lowest ones are free.
        let mut held: Vec<TcpListener> = (0..MANY).map(|_| listen()).collect();
        held.sort_by_key(inode);
        for _ in 0..2 {
            held = held.iter().map(|one| one.try_clone().unwrap()).collect();
        }
        part("first", || is_own(&held[0]));
        part("middle", || is_own(&held[MANY / 2]));
        part("last", || is_own(&held[MANY - 1]));
        // The newest socket has one of the lowest descriptors.
        drop(held.remove(0));
        let newest = listen();
        part("newest", || is_own(&newest));
        return;
    }
    let Some(traces) = calls(TEST, &["first", "middle", "last", "newest"]) else {
        return;
    };
    // Linux counts the descriptors of a process since 6.2.
    let most = match std::fs::metadata("/proc/self/fd").unwrap().len() {
        0 => MANY + 100,
        _ => 40,
    };
    for trace in traces {
        let links = trace.iter().filter(|call| call.contains("/fd/")).count();
        assert!((1..most).contains(&links), "{links}");
    }
}

#[test]
fn successful_bind_reads_nothing() {
    const TEST: &str = "successful_bind_reads_nothing";
    if rerun::role().is_some() {
        part("bind", || {
            for text in [
                "127.0.0.1:61248",
                "0.0.0.0:61249",
                "[::]:61250",
                "localhost:0",
            ] {
                drop(bind(text).unwrap());
            }
        });
        return;
    }
    let Some(traces) = calls(TEST, &["bind"]) else {
        return;
    };
    let reads = |call: &&String| call.contains("AF_NETLINK") || call.starts_with("open");
    assert_eq!(traces[0].iter().find(reads), None);
}

#[test]
fn wildcard_and_localhost_work_without_ipv6() {
    // Every socket(AF_INET6) fails as on a kernel without IPv6: the first call here.
    under_strace(
        "wildcard_and_localhost_work_without_ipv6",
        &["-e", "inject=socket:error=EAFNOSUPPORT:when=1"],
        || {
            let listeners = bind("*:0").unwrap();
            assert!(listeners.as_slice()[0].local_addr().is_ipv4());
        },
    );
}

#[test]
fn localhost_without_ipv6_is_ipv4() {
    // The second socket is that of ::1.
    under_strace(
        "localhost_without_ipv6_is_ipv4",
        &["-e", "inject=socket:error=EAFNOSUPPORT:when=2"],
        || {
            let listeners = bind("localhost:61240").unwrap();
            assert_eq!(listeners.as_slice().len(), 1);
            assert!(listeners.as_slice()[0].local_addr().is_ipv4());
        },
    );
}

#[test]
fn family_that_exists_is_not_left_out() {
    // The wildcard of IPv6 clients cannot be opened for another reason.
    under_strace(
        "family_that_exists_is_not_left_out",
        &["-e", "inject=socket:error=EMFILE:when=1"],
        || {
            let err = bind("*:0").unwrap_err();
            assert!(
                matches!(err.cause(), Cause::TooManyOpenFiles { .. }),
                "{err:?}"
            );
        },
    );
}

#[test]
fn aborted_connection_hides_no_other() {
    // accept(2): an error of a connection that was still waiting.
    under_strace(
        "aborted_connection_hides_no_other",
        &["-e", "inject=accept4:error=ECONNABORTED:when=1"],
        || {
            let mut listeners = bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listeners[0].local_addr()).unwrap();
            let plan = BindOptions::new().plan("127.0.0.2:0").unwrap();
            let mut update = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
            let peers: Vec<SocketAddr> = update.drained().iter().map(|(_, peer)| *peer).collect();
            assert_eq!(peers, [client.local_addr().unwrap()]);
        },
    );
}

#[test]
fn missing_family_is_reported() {
    under_strace(
        "missing_family_is_reported",
        &["-e", "inject=socket:error=EAFNOSUPPORT"],
        || {
            let err = bind("[::]:80").unwrap_err();
            assert_eq!(
                err.to_string(),
                "cannot listen on [::]:80: a sandbox denies IPv6 sockets to this process",
            );
            assert!(matches!(
                err.cause(),
                Cause::FamilyUnavailable {
                    family: Family::Ipv6,
                    ..
                }
            ));
            assert_eq!((err.step(), err.raw_os_error()), (Step::Socket, Some(97)));
        },
    );
}

#[test]
fn missing_descriptors_are_reported_at_step() {
    under_strace(
        "missing_descriptors_are_reported_at_step",
        &["-e", "inject=socket:error=EMFILE"],
        || {
            for text in ["127.0.0.1:80", "localhost:0"] {
                let err = bind(text).unwrap_err();
                assert!(
                    matches!(err.cause(), Cause::TooManyOpenFiles { .. }),
                    "{err:?}"
                );
                assert!(err.is_transient());
            }
            let mut says =
                "cannot listen on 127.0.0.1:80: the limit on open files is reached".to_owned();
            if features::counts_descriptors() {
                let open = std::fs::metadata("/proc/self/fd").unwrap().len();
                says = format!("{says}; this process has {open} open");
            }
            assert_eq!(bind("127.0.0.1:80").unwrap_err().to_string(), says);
        },
    );
}

#[test]
fn interrupted_read_is_retried() {
    under_strace(
        "interrupted_read_is_retried",
        // Every other one, but for those of the dynamic loader.
        &["-e", "inject=read:error=EINTR:when=9+2"],
        || {
            for _ in 0..9 {
                std::fs::read("/dev/null").unwrap();
            }
            // Only sock_diag lists a bound socket. Where it does not, reading all of its response
            // still shows that no listed socket has the port; after a failed read the holder is
            // unknown.
            let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let any_port: SocketAddr = ([127, 0, 0, 1], 0).into();
            held.bind(&any_port.into()).unwrap();
            let addr = held.local_addr().unwrap().as_socket().unwrap();
            let is_listed = features::lists_bound_sockets();
            for _ in 0..4 {
                let err = bind(addr).unwrap_err();
                match err.cause() {
                    Cause::InUse { holders, .. } if is_listed => {
                        assert_eq!(holders[0].state(), SocketState::Bound, "{err}");
                    }
                    Cause::InUseByUnknown { .. } if !is_listed => {}
                    _ => panic!("{err:?}"),
                }
            }
        },
    );
}

#[test]
fn failed_listen_is_reported() {
    under_strace(
        "failed_listen_is_reported",
        &["-e", "inject=listen:error=EADDRINUSE"],
        || {
            let err = bind("127.0.0.1:61241").unwrap_err();
            assert_eq!(err.step(), Step::Listen);
            // The holder that strace makes up is not there.
            assert!(matches!(
                err.cause(),
                Cause::InUseByUnknown { port: 61241, .. }
            ));
        },
    );
}

#[test]
fn unexplained_error_keeps_step_and_source() {
    under_strace(
        "unexplained_error_keeps_step_and_source",
        &["-e", "inject=setsockopt:error=EDOM"],
        || {
            let err = bind("127.0.0.1:61242").unwrap_err();
            // The C libraries have different words for it.
            let edom = std::io::Error::from_raw_os_error(33);
            let failed =
                "cannot listen on 127.0.0.1:61242: setting the option `SO_REUSEADDR` failed";
            assert_eq!(err.to_string(), format!("{failed}: {edom}"));
            assert_eq!(err.raw_os_error(), Some(33));
            assert!(matches!(err.cause(), Cause::Other { .. }));
        },
    );
}

#[test]
fn denied_bind_is_reported() {
    under_strace(
        "denied_bind_is_reported",
        &["-e", "inject=bind:error=EPERM"],
        || {
            let err = bind("127.0.0.1:80").unwrap_err();
            assert_eq!(
                err.to_string(),
                "cannot listen on 127.0.0.1:80: denied by a BPF program (cgroup or LSM); running as root does not help"
            );
            assert_eq!(io::Error::from(err).kind(), io::ErrorKind::PermissionDenied);
        },
    );
}

#[test]
fn unreadable_interfaces_make_nothing_foreign() {
    // The sockets are of netlink: first the kernel is asked, then if-addrs.
    under_strace(
        "unreadable_interfaces_make_nothing_foreign",
        &["-e", "inject=socket:error=EAFNOSUPPORT:when=1+"],
        || {
            let err = BindTarget::parse("198.51.100.1").unwrap_err();
            assert_eq!(
                err.to_string(),
                "cannot resolve 198.51.100.1: the interfaces of this host cannot be read",
            );
            assert!(matches!(
                err.kind(),
                ResolveErrorKind::InterfacesUnreadable(_)
            ));
            let source = err.source().unwrap().downcast_ref::<io::Error>().unwrap();
            assert_eq!(source.raw_os_error(), Some(97));
            assert!(err.kind().source().is_some());
        },
    );
}

#[test]
fn bind_works_with_unreadable_interfaces() {
    // 1: the listener, 2: the one that fails, and from 3 on what is read after it.
    under_strace(
        "bind_works_with_unreadable_interfaces",
        &["-e", "inject=socket:error=EAFNOSUPPORT:when=3+"],
        || {
            bind("127.0.0.1:0").unwrap();
            let err = bind("198.51.100.1:80").unwrap_err();
            assert_eq!(
                err.to_string(),
                "cannot listen on 198.51.100.1:80: this address cannot be bound; the reason is unknown, because this host's interfaces cannot be read",
            );
            assert!(matches!(err.cause(), Cause::AddressUnavailable { .. }));
            assert_eq!(err.raw_os_error(), Some(99));
        },
    );
}

#[test]
fn selector_fails_with_unreadable_interfaces() {
    under_strace(
        "selector_fails_with_unreadable_interfaces",
        &["-e", "inject=socket:error=EAFNOSUPPORT"],
        || {
            let err = bind("eth0:80").unwrap_err();
            assert_eq!(
                err.to_string(),
                "cannot listen on eth0:80: the interfaces of this host cannot be read",
            );
            assert_eq!((err.step(), err.raw_os_error()), (Step::Resolve, Some(97)));
        },
    );
}

#[test]
fn unreadable_devices_are_not_reported() {
    // 1: the query for the index of the device. 2: the socket that is to be bound to it.
    under_strace(
        "unreadable_devices_are_not_reported",
        &["-e", "inject=socket:error=EAFNOSUPPORT:when=3+"],
        || {
            let device = BindOptions::new().device("v9");
            assert_eq!(
                device.bind("127.0.0.1:0").unwrap_err().to_string(),
                "cannot listen on 127.0.0.1:0: the server is configured to use the interface `v9`, which does not exist",
            );
        },
    );
}

#[test]
fn unreadable_zones_are_not_reported() {
    under_strace(
        "unreadable_zones_are_not_reported",
        &["-e", "inject=socket:error=EAFNOSUPPORT:when=2+"],
        || {
            assert_eq!(
                bind("[fe80::77]:80").unwrap_err().to_string(),
                "cannot listen on [fe80::77]:80: a link-local address needs a zone, as in `[fe80::1%eth0]`",
            );
        },
    );
}

#[test]
fn denied_unprivileged_port_is_a_policy() {
    under_strace(
        "denied_unprivileged_port_is_a_policy",
        &["-e", "inject=bind:error=EACCES"],
        || {
            let err = bind("127.0.0.1:61243").unwrap_err();
            assert!(
                matches!(err.cause(), Cause::RefusedByPolicy(Policy::SecurityModule)),
                "{err:?}"
            );
        },
    );
}

#[test]
fn denied_option_is_reported() {
    under_strace(
        "denied_option_is_reported",
        &["-e", "inject=setsockopt:error=EPERM"],
        || {
            assert_eq!(
                bind("127.0.0.1:61244").unwrap_err().to_string(),
                "cannot listen on 127.0.0.1:61244: permission denied: a missing privilege or a security policy",
            );
        },
    );
}

/// A server that fails must not have taken connections in the meantime.
#[test]
fn bind_listens_after_all_sockets_are_bound() {
    const TEST: &str = "bind_listens_after_all_sockets_are_bound";
    const FOREIGN: &str = "198.51.100.1:61254"; // TEST-NET-2 (RFC 5737), which no host has
    if rerun::role().is_some() {
        part("list", || {
            let texts = [
                "127.0.0.2:61251",
                FOREIGN,
                "127.0.0.3:61252",
                "localhost:61253",
            ];
            bindaddr::bind(texts).unwrap_err();
        });
        part("first", || {
            bindaddr::bind([FOREIGN, "*:61255", "127.0.0.3:0"]).unwrap_err();
        });
        part("one", || {
            // One setting of two addresses; the one that listens is std's.
            let _held = TcpListener::bind("127.0.0.1:61256").unwrap();
            bind("localhost:61256").unwrap_err();
        });
        return;
    }
    let Some(traces) = calls(TEST, &["list", "first", "one"]) else {
        return;
    };
    for (trace, listening) in traces.iter().zip([0, 0, 1]) {
        let listens = trace.iter().filter(|call| call.starts_with("listen("));
        assert_eq!(listens.count(), listening, "{trace:#?}");
    }
    // The others are still bound, so that each failure is reported.
    for addr in ["127.0.0.3", "127.0.0.1", "::1"] {
        let is_bound = |call: &String| {
            call.starts_with("bind(")
                && call.contains(&format!("\"{addr}\""))
                && call.contains("PORT")
        };
        assert!(traces[0].iter().any(is_bound), "{addr}: {:#?}", traces[0]);
    }
}

#[test]
fn one_port_is_requested_once() {
    const TEST: &str = "one_port_is_requested_once";
    if rerun::role().is_some() {
        part("both", || drop(bind("localhost:0").unwrap()));
        return;
    }
    let Some(traces) = calls(TEST, &["both"]) else {
        return;
    };
    let binds = traces[0].iter().filter(|call| call.starts_with("bind("));
    // For the port, and for each of the two sockets.
    assert_eq!(binds.count(), 3, "{:#?}", traces[0]);
}
