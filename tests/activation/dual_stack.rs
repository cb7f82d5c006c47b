//! Dual-stack sockets, which serve the addresses of two settings.

use super::*;

#[test]
fn dual_stack_wildcard_requires_dual_stack_socket() {
    let both = BindOptions::new().bind("[::]:0").unwrap();
    let only = BindOptions::new().only_v6(true).bind("[::]:0").unwrap();
    let [both, only] = [both, only].map(|one| one.into_iter().next().unwrap());
    let addr = only.local_addr();
    let sockets = [both, only].map(|one| OwnedFd::from(one.into_std()));
    let test = "dual_stack::dual_stack_wildcard_requires_dual_stack_socket";
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
            let check = plan.check();
            assert!(check.is_ok(), "{setting}: {check}");
            assert_eq!(activation.unused().count(), 1, "a check takes none");
            let mut listeners = plan.bind().unwrap();
            assert_eq!(listeners.len(), 1, "{setting}: {listeners}");
            // One entry is not a duplicate of itself.
            let is_pair = setting.contains(',') && !split;
            let duplicates = listeners.duplicates().len();
            assert!(split || duplicates == usize::from(is_pair), "{setting}");
            let checked = check.settings().iter();
            let checked: usize = checked.map(|one| one.duplicates().len()).sum();
            assert!(split || checked == usize::from(is_pair), "{setting}");
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

/// Port 0 never takes a port on which another setting serves one of its addresses.
#[test]
fn flexible_port_takes_no_served_socket() {
    util::netns::alone(|| {
        let (ipv4, addr) = listener("127.0.0.1:0");
        let port = addr.port();
        let ipv6 = TcpListener::bind(("::1", port)).unwrap();
        let activation = activation_of(vec![ipv4, ipv6.into()]);
        let options = BindOptions::new().activation(activation);
        let served = options.bind(format!("[::1]:{port}")).unwrap();
        let flexible = options.bind("localhost:0").unwrap();
        assert_ne!(flexible.port(), Some(port), "{served} {flexible}");
    });
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
    // One that was handed over for the same address on another port changes nothing.
    let (socket, port) = dual_stack();
    let (other, _) = listener("0.0.0.0:0");
    let options = BindOptions::new().activation(activation_of(vec![socket, other]));
    let listeners = options
        .bind(format!("0.0.0.0:{port}, [::]:{port}"))
        .unwrap();
    assert_eq!(addrs(&listeners), [format!("[::]:{port}")]);
    // A socket that is served already is taken for a setting with its very port only.
    let (socket, port) = dual_stack();
    let options = BindOptions::new()
        .one_port(true)
        .activation(activation_of(vec![socket]));
    let _first = options.bind(format!("*:{port}")).unwrap();
    let second = options.bind("0.0.0.0:0, [::]:0").unwrap();
    assert!(second.iter().all(|one| one.local_addr().port() != port));
}
