//! Privileged and ephemeral ports.

use super::*;

#[test]
fn privileged_port_limit_is_read() {
    const TEST: &str = "ports::privileged_port_limit_is_read";
    if rerun::role().as_deref() == Some("unprivileged") {
        for (text, limit) in [
            ("127.0.0.1:4999", 5000),
            ("[::1]:1024", 5000),
            ("*:80", 5000),
        ] {
            let port = text.rsplit_once(':').unwrap().1;
            let err = fails(text);
            assert_eq!(
                err.to_string(),
                format!(
                    "cannot listen on {text}: {}port {port} is privileged (below {limit}) and this process lacks \
                     CAP_NET_BIND_SERVICE; use port {limit} or higher",
                    if text.starts_with('*') {
                        "[::]:80: "
                    } else {
                        ""
                    },
                ),
            );
            assert_eq!((err.raw_os_error(), err.step()), (Some(EACCES), Step::Bind));
            let hints = err.hints();
            assert_eq!(
                hints.last().map(bindaddr::diagnosis::Hint::text),
                Some(&*format!(
                    "`sysctl net.ipv4.ip_unprivileged_port_start={port}` lets every process bind the ports from {port} up"
                )),
            );
            assert_eq!(io::Error::from(err).kind(), io::ErrorKind::PermissionDenied);
        }
        bind("127.0.0.1:5000").unwrap();
        return rerun::done();
    }
    in_namespace(|| {
        set("net/ipv4/ip_unprivileged_port_start", "5000");
        bind("127.0.0.1:4999").expect("root may");
        rerun::run(
            TEST,
            "unprivileged",
            &["setpriv", "--bounding-set=-net_bind_service", "--"],
        );
    });
}

#[test]
fn hidden_privileged_port_limit_defaults_to_1024() {
    const TEST: &str = "ports::hidden_privileged_port_limit_defaults_to_1024";
    if rerun::role().as_deref() == Some("unprivileged") {
        assert_fails(
            "127.0.0.1:80",
            Some(EACCES),
            "port 80 is probably privileged (below 1024 by default) and this process lacks CAP_NET_BIND_SERVICE; use port 1024 or higher",
        );
        return rerun::done();
    }
    in_namespace(|| {
        // /proc/sys may be hidden, as by systemd's ProcSubset=pid.
        let hidden = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
        let unprivileged = ["setpriv", "--bounding-set=-net_bind_service", "--"];
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", hidden];
        let inject = ["-e", "inject=?open,openat:error=ENOENT", "--"];
        if util::strace::is_there_for(TEST) {
            rerun::run(
                TEST,
                "unprivileged",
                &[&unprivileged[..], &strace, &inject].concat(),
            );
        }
    });
}

#[test]
fn exhausted_ephemeral_ports_are_reported() {
    in_namespace(|| {
        set("net/ipv4/ip_local_port_range", "40000 40003");
        let held: Vec<_> = (0..4).map(|_| bind("127.0.0.1:0").unwrap()).collect();
        assert_fails(
            "127.0.0.1:0",
            Some(EADDRINUSE),
            "no ephemeral port is free (range 40000-40003); set a port outside the range",
        );
        assert!(fails("127.0.0.1:0").is_transient());
        // On another address they are free.
        bind("127.0.0.2:0").unwrap();
        assert_eq!(
            fails("localhost:0").to_string(),
            "cannot listen on localhost:0: 127.0.0.1:0: no ephemeral port is free (range 40000-40003); set a port outside the range",
        );
        drop(held);
        bind("localhost:0").unwrap();
        // None of them is taken here.
        set("net/ipv4/ip_local_reserved_ports", "40000-40003");
        assert_fails(
            "127.0.0.1:0",
            Some(EADDRINUSE),
            "no ephemeral port is free (range 40000-40003); set a port outside the range",
        );
        set("net/ipv4/ip_local_reserved_ports", "1");
        // A port taken on another address is free on these.
        let held: Vec<_> = (0..4).map(|_| bind("127.0.0.2:0").unwrap()).collect();
        bind("localhost:0").unwrap();
        bind_udp("localhost:0").unwrap();
        drop(held);
    });
}

#[test]
fn localhost_finds_common_free_port() {
    in_namespace(|| {
        set("net/ipv4/ip_local_port_range", "40000 40999");
        // Every port but one is held, on one of the two by turns.
        let held: Vec<TcpListener> = (40000..=40999)
            .filter(|port| *port != 40507)
            .map(|port| {
                let ip: IpAddr = if port % 2 == 0 {
                    [127, 0, 0, 1].into()
                } else {
                    "::1".parse().unwrap()
                };
                TcpListener::bind(SocketAddr::new(ip, port)).unwrap()
            })
            .collect();
        for _ in 0..100 {
            let listeners = bind("localhost:0").unwrap();
            let addrs: Vec<String> = listeners
                .iter()
                .map(|one| one.local_addr().to_string())
                .collect();
            assert_eq!(addrs, ["127.0.0.1:40507", "[::1]:40507"]);
        }
        drop(held);
    });
}
