//! VRFs (Documentation/networking/vrf.rst of Linux): which sockets exclude each other, and who can
//! connect.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use bindaddr::plan::Setting;
use bindaddr::update::Apply;
use bindaddr::{BindOptions, Cause, Interfaces};
use socket2::{Domain, Socket, Type};
use util::netns::{Host, in_namespace, ip, set};
use util::rerun;

/// The devices of a socket: none, the VRF, its port, an interface outside.
const DEVICES: [Option<&str>; 5] = [None, Some("vrf0"), Some("eth0"), Some("eth1"), Some("lo")];

/// Makes a host of which eth0 is in a VRF and eth1 is not. Returns `false` where the kernel has no
/// VRFs.
fn has_vrf(test: &str) -> bool {
    let mut vrf = Command::new("ip");
    vrf.args(["link", "add", "vrf0", "type", "vrf", "table", "10"]);
    if !vrf
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
    {
        rerun::skip(test, "this kernel has no VRFs", "BINDADDR_REQUIRE_VRF");
        return false;
    }
    true
}

fn settle() {
    ip("link set vrf0 up");
    ip("link set eth0 master vrf0");
    ip("addr add 10.0.0.1/24 dev eth0");
    ip("addr add fd00::1/64 dev eth0 nodad");
    ip("addr add fe80::1/64 dev eth0 nodad");
    ip("addr add 10.1.0.1/24 dev eth1");
    ip("addr add fd01::1/64 dev eth1 nodad");
}

fn cables() {
    for n in 0..2 {
        ip(&format!("link add name eth{n} type veth peer name far{n}"));
        ip(&format!("link set eth{n} up"));
        ip(&format!("link set far{n} up"));
    }
    settle();
}

/// Opens a socket as a server without this crate does.
fn open(addr: SocketAddr, kind: Type, device: Option<&str>) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, None)?;
    socket.bind_device(device.map(str::as_bytes))?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&addr.into())?;
    if kind == Type::STREAM {
        socket.listen(8)?;
    }
    Ok(socket)
}

fn setting(addr: &str, device: Option<&str>) -> Setting<'static> {
    let setting = Setting::from(addr.to_owned());
    match device {
        Some(device) => setting.device(device),
        None => setting,
    }
}

#[test]
fn sockets_in_and_outside_a_vrf_share_a_port() {
    const TEST: &str = "sockets_in_and_outside_a_vrf_share_a_port";
    in_namespace(|| {
        if !has_vrf(TEST) {
            return;
        }
        cables();
        let host = Interfaces::system().unwrap();
        let zone = host.by_name("eth0").unwrap().index().unwrap();
        let zone = format!("[fe80::1%{zone}]");
        let mut port = 5000;
        let mut apart = 0;
        for accepts in ["0", "1"] {
            set("net/ipv4/tcp_l3mdev_accept", accepts);
            set("net/ipv4/udp_l3mdev_accept", accepts);
            for kind in [Type::STREAM, Type::DGRAM] {
                for hosts in [
                    ["0.0.0.0", "0.0.0.0"],
                    ["[::]", "[::]"],
                    ["[::]", &zone],
                    ["10.1.0.1", "0.0.0.0"],
                ] {
                    for one in DEVICES {
                        for two in DEVICES {
                            // A device that bind(2) would replace by that of the zone is refused.
                            if hosts[1] == zone && ![None, Some("eth0")].contains(&two) {
                                continue;
                            }
                            port += 1;
                            let [first, second] = hosts.map(|host| format!("{host}:{port}"));
                            let what = format!(
                                "{kind:?} {first} on {one:?} and {second} on {two:?}, accept {accepts}"
                            );
                            let host = Interfaces::system().unwrap();
                            let Ok(open_first) = open(raw(&first), kind, one) else {
                                continue;
                            };
                            if open(with_port(raw(&second), 0), kind, two).is_err() {
                                continue;
                            }
                            let is_free = open(raw(&second), kind, two).is_ok();
                            drop(open_first);
                            let settings = [setting(&first, one), setting(&second, two)];
                            let options = BindOptions::new();
                            let bound = match kind {
                                Type::STREAM => options.bind(settings.clone()).map(|_| ()),
                                _ => options.bind_udp(settings.clone()).map(|_| ()),
                            };
                            let is_same = first == second && one == two;
                            assert_eq!(bound.is_ok(), is_free || is_same, "{what}: {bound:?}");
                            // As the snapshot says it.
                            let planned = options.plan_on(settings, &host).is_ok();
                            assert!(planned || !is_free, "{what}");
                            apart += usize::from(is_free && (one.is_none() != two.is_none()));
                        }
                    }
                }
            }
        }
        assert!(apart > 0);
    });
}

fn raw(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn with_port(mut addr: SocketAddr, port: u16) -> SocketAddr {
    addr.set_port(port);
    addr
}

#[test]
fn socket_of_a_vrf_is_not_in_the_way() {
    const TEST: &str = "socket_of_a_vrf_is_not_in_the_way";
    in_namespace(|| {
        if !has_vrf(TEST) {
            return;
        }
        cables();
        let any = raw("0.0.0.0:5000");
        let in_vrf = open(any, Type::STREAM, Some("vrf0")).unwrap();
        let check = bindaddr::check("0.0.0.0:5000");
        assert!(check.is_ok(), "{check}");
        let outside = open(any, Type::STREAM, None).unwrap();
        let message = |device: Option<&str>| {
            let error = BindOptions::new()
                .bind([setting("0.0.0.0:5000", device)])
                .unwrap_err();
            error.cause().to_string()
        };
        let port = "port 5000 is in use: this process listens on 0.0.0.0";
        assert_eq!(message(None), port);
        assert_eq!(message(Some("vrf0")), format!("{port} on vrf0 only"));
        assert_eq!(message(Some("eth1")), port);
        let other = BindOptions::new()
            .bind([setting("0.0.0.0:5000", Some("eth0"))])
            .unwrap();
        // A reload may add the VRF, and take it away.
        drop((in_vrf, outside, other));
        let options = BindOptions::new();
        let both = [
            setting("0.0.0.0:5000", None),
            setting("0.0.0.0:5000", Some("vrf0")),
        ];
        let mut listeners = options.bind("0.0.0.0:5000").unwrap();
        let plan = options.plan(both).unwrap();
        assert!(plan.check_beside(&listeners).is_ok());
        let update = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
        assert_eq!((update.opened().len(), update.closed().len()), (1, 0));
        let plan = options.plan("0.0.0.0:5000").unwrap();
        let update = plan.apply(&mut listeners, Apply::AllOrNone).unwrap();
        assert_eq!((update.opened().len(), update.closed().len()), (0, 1));
        drop(listeners);
        // Beside that of the VRF, a conflict outside is still found.
        let list = [
            setting("0.0.0.0:5000", Some("vrf0")),
            setting("10.1.0.1:5000", None),
            setting("0.0.0.0:5000", None),
        ];
        let error = options.plan(list).unwrap_err();
        assert_eq!(error.cause().name(), "conflict", "{error}");
        // A range takes the port that is taken outside, where it may.
        let range = [
            setting("0.0.0.0:5002", None),
            setting("0.0.0.0:5002-5003", Some("vrf0")),
        ];
        let ports = |range: &[Setting<'static>]| -> Vec<u16> {
            let listeners = options.bind(range.to_vec()).unwrap();
            listeners
                .iter()
                .map(|one| one.local_addr().port())
                .collect()
        };
        assert_eq!(ports(&range), [5002, 5002]);
        let mut listeners = options.bind("0.0.0.0:5002").unwrap();
        let plan = options.plan(range.to_vec()).unwrap();
        drop(plan.apply(&mut listeners, Apply::AllOrNone).unwrap());
        assert!(listeners.iter().all(|one| one.local_addr().port() == 5002));
        drop(listeners);
        set("net/ipv4/tcp_l3mdev_accept", "1");
        assert_eq!(ports(&range), [5002, 5003]);
        set("net/ipv4/tcp_l3mdev_accept", "0");
        // What UDP has is in the way, whatever it is on.
        let _in_vrf = open(any, Type::DGRAM, Some("vrf0")).unwrap();
        let error = bindaddr::bind_udp("0.0.0.0:5000").unwrap_err();
        assert_eq!(
            error.cause().to_string(),
            "port 5000 is in use: a socket of this process is bound to 0.0.0.0 on vrf0 only"
        );
        // With the sysctl it excludes those outside.
        set("net/ipv4/tcp_l3mdev_accept", "1");
        let _in_vrf = open(raw("0.0.0.0:5001"), Type::STREAM, Some("vrf0")).unwrap();
        let error = bindaddr::bind("0.0.0.0:5001").unwrap_err();
        assert!(error.to_string().contains(" on vrf0 only"), "{error}");
    });
}

#[test]
fn clients_of_a_vrf_are_listed_where_they_connect() {
    const TEST: &str = "clients_of_a_vrf_are_listed_where_they_connect";
    in_namespace(|| {
        if !has_vrf(TEST) {
            return;
        }
        let mut neighbours = [Host::start(TEST), Host::start(TEST)];
        for (n, neighbour) in neighbours.iter_mut().enumerate() {
            neighbour.cable(&format!("eth{n}"), "eth0");
            neighbour.ip(&format!("addr add 10.{n}.0.2/24 dev eth0"));
            neighbour.ip(&format!("addr add fd0{n}::2/64 dev eth0 nodad"));
            // To what the other interface has, through this host.
            let other = 1 - n;
            neighbour.ip(&format!("route add 10.{other}.0.0/24 via 10.{n}.0.1"));
            neighbour.ip(&format!("route add fd0{other}::/64 via fd0{n}::1"));
        }
        settle();
        let mut port = 6000;
        for accepts in ["0", "1"] {
            set("net/ipv4/tcp_l3mdev_accept", accepts);
            for device in DEVICES {
                port += 1;
                let listeners = BindOptions::new()
                    .bind([setting(&format!("*:{port}"), device)])
                    .unwrap();
                let host = Interfaces::system().unwrap();
                let reach = listeners.reach(&host);
                let listed: BTreeSet<SocketAddr> = reach
                    .addrs()
                    .iter()
                    .map(bindaddr::reach::ReachableAddr::addr)
                    .filter(|addr| !addr.ip().is_loopback() && !is_link_local(addr))
                    .collect();
                let to = ["10.0.0.1", "10.1.0.1", "[fd00::1]", "[fd01::1]"];
                let to = to.map(|ip| raw(&format!("{ip}:{port}")));
                let mut reached = BTreeSet::new();
                for neighbour in &mut neighbours {
                    neighbour.connect_each(&to);
                    let came = to.into_iter().zip(neighbour.connected());
                    reached.extend(came.filter_map(|(to, came)| came.then_some(to)));
                }
                assert_eq!(listed, reached, "on {device:?}, accept {accepts}");
                // Those of the VRF are the ones to give to others.
                if device == Some("vrf0") {
                    let urls: Vec<String> = reach.urls("http").collect();
                    let own = [
                        format!("http://10.0.0.1:{port}/"),
                        format!("http://[fd00::1]:{port}/"),
                    ];
                    assert_eq!(urls, own);
                }
            }
        }
    });
}

fn is_link_local(addr: &SocketAddr) -> bool {
    matches!(addr, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local())
}

#[test]
fn address_of_a_vrf_is_diagnosed() {
    const TEST: &str = "address_of_a_vrf_is_diagnosed";
    in_namespace(|| {
        if !has_vrf(TEST) {
            return;
        }
        cables();
        for ip in ["10.0.0.1", "[fd00::1]"] {
            let text = format!("{ip}:80");
            let error = bindaddr::bind(&*text).unwrap_err();
            let is_told = matches!(error.cause(), Cause::InVrf { vrf, .. } if vrf == "vrf0");
            assert!(is_told, "{error}");
            // The hint works.
            assert!(
                error.hints().iter().any(|hint| {
                    hint.text() == "`BindOptions::device` binds the socket to `vrf0`"
                })
            );
            BindOptions::new()
                .bind([setting(&text, Some("vrf0"))])
                .unwrap();
            BindOptions::new()
                .bind([setting(&text, Some("eth0"))])
                .unwrap();
            let error = BindOptions::new()
                .bind([setting(&text, Some("eth1"))])
                .unwrap_err();
            let bare = ip.trim_matches(['[', ']']);
            assert_eq!(
                error.cause().to_string(),
                format!("{bare} on eth0 belongs to the VRF `vrf0`, but this socket does not")
            );
        }
        for ip in ["10.1.0.1", "[fd01::1]"] {
            for device in ["vrf0", "eth0"] {
                let text = format!("{ip}:80");
                let error = BindOptions::new()
                    .bind([setting(&text, Some(device))])
                    .unwrap_err();
                let bare = ip.trim_matches(['[', ']']);
                assert_eq!(
                    error.cause().to_string(),
                    format!(
                        "the server binds this socket to the interface {device}, which does not have {bare}; {bare} is on eth1"
                    )
                );
            }
        }
    });
}
