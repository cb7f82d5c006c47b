//! Properties of any text on any host.

use super::*;

/// A socket, and what is reported of it.
struct Opened {
    socket: Socket,
    addr: SocketAddr,
    device: Option<String>,
    target: BindTarget,
    exposure: Exposure,
}

/// Addresses from everywhere, with a liking for those that the host has.
fn asked_ips() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        util::near_ips(),
        (0..4u8).prop_map(|host| IpAddr::from([10, 0, 0, host])),
        (0..4u16).prop_map(|host| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host])),
        (0..4u16).prop_map(|host| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, host])),
    ]
}

#[test]
fn each_failure_keeps_text_and_source() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fd00::1/64 dev eth0");
        ip("addr add fe80::1/64 dev eth0");
        let host = Interfaces::system().unwrap();
        let mut runner = TestRunner::new(Config {
            cases: 2000,
            failure_persistence: None,
            ..Config::default()
        });
        // Laws 6 and 7: the verdict is the kernel's except on dead addresses; an
        // error has the text, the step and the system's error, and keeps its kind.
        let holds = runner.run(
            &(asked_ips(), 0..5u32, any::<bool>()),
            |(ip, scope_id, classified)| {
                let addr = match ip {
                    IpAddr::V4(_) => SocketAddr::new(ip, 0),
                    IpAddr::V6(ip) => std::net::SocketAddrV6::new(ip, 0, 0, scope_id).into(),
                };
                let ours = if classified {
                    let target = BindTarget::classify_in_zone(ip, scope_id, &host);
                    bind((target, 0))
                } else {
                    bind(addr)
                };
                let std = TcpListener::bind(addr);
                match (ours, std) {
                    (Ok(_), Ok(_)) => {}
                    (Err(err), _) if err.raw_os_error().is_none() => {
                        prop_assert!(
                            matches!(
                                err.cause(),
                                Cause::Group(GroupAddr::Multicast | GroupAddr::Broadcast)
                            ),
                            "{:?}",
                            err
                        );
                        prop_assert_eq!(err.step(), Step::Validate);
                    }
                    (Err(err), Err(std)) => {
                        prop_assert_eq!(err.raw_os_error(), std.raw_os_error());
                        prop_assert_eq!(err.step(), Step::Bind);
                        prop_assert!(err.text().ends_with(":0"));
                        prop_assert!(err.to_string().contains(err.text()));
                        prop_assert!(!matches!(err.cause(), Cause::Other { .. }), "{:?}", err);
                        prop_assert!(
                            !err.to_string().contains("os error"),
                            "the source is not repeated"
                        );
                        prop_assert_eq!(io::Error::from(err).kind(), std.kind());
                    }
                    (ours, std) => prop_assert!(false, "{}: ours {:?}, std {:?}", addr, ours, std),
                }
                Ok(())
            },
        );
        holds.unwrap_or_else(|err| panic!("{err}"));
    });
}

/// A setting, and the options of the program.
fn said() -> impl Strategy<Value = (&'static str, bool, Option<&'static str>, bool)> {
    let texts = [
        "*:0",
        "0",
        "0.0.0.0:0",
        "[::]:0",
        "ipv6@*:0",
        "ipv4@*:0",
        "ipv6@[::]:0",
        "localhost:0",
        "127.0.0.1:0",
        "127.0.0.2:0",
        "[::1]:0",
        "10.0.0.1:0",
        "[fd00::1]:0",
        "[fe80::1%eth0]:0",
        "[::ffff:10.0.0.1]:0",
        "[::ffff:0.0.0.0]:0",
        "eth0:0",
        "ipv4@eth0:0",
        "ipv6@eth0:0",
        "10.0.0.0/8:0",
        "_local_:0",
        "_private_:0",
        "8.8.8.8:0",
    ];
    let device = prop::sample::select(vec![
        None,
        Some("lo"),
        Some("eth0"),
        Some("far0"),
        Some("uplink0"),
    ]);
    (
        prop::sample::select(texts.to_vec()),
        any::<bool>(),
        device,
        any::<bool>(),
    )
}

fn opened<S: StdSocket + Into<Socket>>(
    bound: Result<Listeners<S>, BindError>,
    host: &Interfaces,
) -> Vec<Opened> {
    let listeners = bound.into_iter().flatten();
    listeners
        .map(|one| Opened {
            addr: one.local_addr(),
            device: one.device(),
            target: one.target(host),
            exposure: one.exposure(host),
            socket: one.into_std().into(),
        })
        .collect()
}

/// The text names the address, or the families of a wildcard.
fn assert_named(
    text: &str,
    only_v6: bool,
    named: &[BindTarget],
    opened: &Opened,
) -> TestCaseResult {
    let ip = opened.addr.ip();
    if !ip.is_unspecified() {
        let mut ips = named.iter().flat_map(|named| match named {
            BindTarget::Loopback(loopback) => loopback.ips().collect(),
            BindTarget::Local(local) => vec![local.ip()],
            _ => Vec::new(),
        });
        prop_assert!(ips.any(|named| named == ip), "{} opened {}", text, ip);
        return Ok(());
    }
    let (BindTarget::Any(wildcard), BindTarget::Any(reported)) = (&named[0], &opened.target) else {
        return Err(TestCaseError::fail(format!("{text} opened {ip}")));
    };
    // Only a literal `[::]` is narrowed by the option.
    let is_narrowed = text == "[::]:0" && only_v6;
    let takes_ipv4 = ip.is_ipv4() || !opened.socket.only_v6().expect("it is asked");
    let says_ipv4 = wildcard.takes(Family::Ipv4) && !is_narrowed;
    prop_assert_eq!(takes_ipv4, says_ipv4, "{}", text);
    prop_assert_eq!(ip.is_ipv6(), wildcard.takes(Family::Ipv6), "{}", text);
    prop_assert_eq!(takes_ipv4, reported.takes(Family::Ipv4), "{}", text);
    Ok(())
}

/// The device is the one that was set, whatever zone the address has.
fn assert_device(text: &str, device: Option<&str>, opened: &Opened) -> TestCaseResult {
    let bound_to = opened.socket.device().expect("it is asked");
    let bound_to = bound_to.map(|name| String::from_utf8(name).expect("it is text"));
    let wanted = device.map(|name| name.replace("uplink0", "eth0"));
    if wanted.is_some() {
        prop_assert_eq!(&bound_to, &wanted, "{} opened {}", text, opened.addr);
    } else {
        let is_link_scoped = matches!(opened.addr, SocketAddr::V6(v6) if v6.scope_id() != 0);
        prop_assert_eq!(bound_to.is_some(), is_link_scoped, "{}", text);
    }
    prop_assert_eq!(&opened.device, &wanted, "{}", text);
    let is_host_only = opened.addr.ip().is_loopback() || device == Some("lo");
    prop_assert_eq!(
        opened.exposure == Exposure::ThisHost,
        is_host_only,
        "{}",
        text
    );
    Ok(())
}

/// The sockets accept what the text names, and what is reported of them.
#[test]
fn opened_sockets_match_the_text() {
    in_namespace(|| {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add fd00::1/64 dev eth0");
        ip("addr add fe80::1/64 dev eth0");
        ip("link property add dev eth0 altname uplink0");
        let host = Interfaces::system().unwrap();
        let mut runner = TestRunner::new(Config {
            cases: 1000,
            failure_persistence: None,
            ..Config::default()
        });
        let holds = runner.run(&said(), |(text, only_v6, device, udp)| {
            let mut options = BindOptions::new().only_v6(only_v6);
            if let Some(device) = device {
                options = options.device(device);
            }
            let addr: ListenAddr = text.parse().unwrap();
            let named = addr.resolve(&host).unwrap();
            let all = if udp {
                opened(options.bind_udp(text), &host)
            } else {
                opened(options.bind(text), &host)
            };
            // An IPv4-mapped address is refused under `only_v6`.
            prop_assert!(
                all.is_empty() || !(only_v6 && text.contains("ffff")),
                "{}",
                text
            );
            // Without a device all that is named is opened.
            let is_refused = only_v6 && text.contains("ffff") || text.contains("8.8.8.8");
            if device.is_none() && !is_refused {
                let opened: BTreeSet<IpAddr> = all.iter().map(|one| one.addr.ip()).collect();
                let ips = named.iter().flat_map(|named| match named {
                    BindTarget::Loopback(loopback) => loopback.ips().collect(),
                    BindTarget::Local(local) => vec![local.ip()],
                    _ => opened.iter().copied().collect(),
                });
                prop_assert!(!opened.is_empty(), "{}", text);
                prop_assert_eq!(&opened, &ips.collect(), "{}", text);
            }
            for one in &all {
                let local_addr = one.socket.local_addr().unwrap().as_socket();
                prop_assert_eq!(local_addr, Some(one.addr), "{}", text);
                assert_named(text, only_v6, &named, one)?;
                assert_device(text, device, one)?;
            }
            Ok(())
        });
        holds.unwrap_or_else(|err| panic!("{err}"));
    });
}
