//! Situations that users of servers have reported, made for real: what is said, and that what is
//! advised helps.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use bindaddr::diagnosis::{Hint, HintKind};
use bindaddr::plan::Setting;
use bindaddr::reach::{Origin, ReachableAddr};
use bindaddr::{BindOptions, Interfaces};
use socket2::{Domain, Socket, Type};
use util::netns::{Host, connects, in_namespace, ip, ip_batch, set};
use util::rerun;

/// A host whose `eth0` has an IPv4 address.
fn host() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
    ip("addr add 10.0.0.1/24 dev eth0");
}

/// The cause and the hints of a setting that cannot be bound.
#[track_caller]
fn failure(setting: &str) -> (String, Vec<Hint>) {
    let error = bindaddr::bind(setting).unwrap_err();
    (error.cause().to_string(), error.hints())
}

fn texts(hints: &[Hint]) -> Vec<&str> {
    hints.iter().map(Hint::text).collect()
}

fn warnings(setting: &str) -> Vec<String> {
    let listeners = bindaddr::bind(setting).unwrap();
    let host = Interfaces::system().unwrap();
    let warnings = listeners.warnings(&host).into_iter();
    warnings.map(|warning| warning.to_string()).collect()
}

/// A process with a socket, and `children` of its own that have it, too.
struct Forked(Child);

impl Forked {
    fn start(socket: OwnedFd, children: usize) -> Self {
        let forks = "sleep 1000 & ".repeat(children);
        let script = format!("exec 3<&0; {forks} echo ready; wait; kill -STOP $$");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .stdin(socket)
            .stdout(Stdio::piped());
        // Its children end with it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Self(child)
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// benoitc/gunicorn 844: a worker was named, and the process to stop is its parent.
#[test]
fn opener_of_a_forked_server_is_named() {
    in_namespace(|| {
        for (children, with) in [
            (0, ""),
            (1, " with 1 child process"),
            (3, " with 3 child processes"),
        ] {
            // Those of the round before may be about to end.
            let port = 8000 + u16::try_from(children).unwrap();
            let socket = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let server = Forked::start(socket.into(), children);
            let pid = server.0.id();
            let (cause, _) = failure(&format!("127.0.0.1:{port}"));
            let uid =
                std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
            assert_eq!(
                cause,
                format!(
                    "port {port} is in use: `sh` (pid {pid}, uid {uid}){with} listens on 127.0.0.1"
                )
            );
        }
    });
}

/// vagrant-landrush/landrush 258: dnsmasq on one bridge.
#[test]
fn interface_of_a_holder_is_named() {
    in_namespace(|| {
        host();
        ip("link add name eth1 type veth peer name far1");
        ip("link set eth1 up");
        let on = |name| BindOptions::new().device(name);
        let _held = on("eth0").bind_udp("0.0.0.0:67").unwrap();
        let error = bindaddr::bind_udp("0.0.0.0:67").unwrap_err();
        assert_eq!(
            error.cause().to_string(),
            "port 67 is in use: a socket of this process is bound to 0.0.0.0 on eth0 only"
        );
        // A socket on another interface is not in its way.
        on("eth1").bind_udp("0.0.0.0:67").unwrap();
    });
}

/// moby/moby 32545: systemd-resolved has 127.0.0.53:53.
#[test]
fn wildcard_beside_a_specific_address_is_advised_an_interface() {
    in_namespace(|| {
        host();
        let _held = TcpListener::bind("127.0.0.53:5353").unwrap();
        for (wildcard, instead) in [
            ("0.0.0.0:5353", "ipv4@eth0:5353"),
            ("*:5353", "eth0:5353"),
            ("-0.0.0.0:5353", "-ipv4@eth0:5353"),
        ] {
            let (_, hints) = failure(wildcard);
            let hint = hints.iter().find(|hint| hint.kind() == HintKind::Replace);
            let hint = hint.unwrap_or_else(|| panic!("{wildcard}: {hints:?}"));
            assert_eq!(
                hint.text(),
                format!(
                    "`{instead}` listens on the addresses of eth0 only, which does not conflict"
                )
            );
            bindaddr::bind(hint.replacement().unwrap()).unwrap();
        }
        // Not where the interface is taken as well.
        let _eth0 = TcpListener::bind("10.0.0.1:5353").unwrap();
        let (_, hints) = failure("0.0.0.0:5353");
        assert!(
            hints.iter().all(|hint| hint.replacement().is_none()),
            "{hints:?}"
        );
    });
}

/// cloudfoundry/routing-release 206: an outgoing connection was given the port.
#[test]
fn port_of_an_outgoing_connection_can_be_reserved() {
    in_namespace(|| {
        let server = TcpListener::bind("127.0.0.1:80").unwrap();
        let outgoing = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let addr: SocketAddr = "127.0.0.1:43110".parse().unwrap();
        outgoing.bind(&addr.into()).unwrap();
        outgoing
            .connect(&server.local_addr().unwrap().into())
            .unwrap();
        set("net/ipv4/ip_local_reserved_ports", "50000");
        let (cause, hints) = failure("0.0.0.0:43110");
        assert_eq!(
            cause,
            "port 43110 is in use: a connection of this process uses 127.0.0.1, which 0.0.0.0 includes"
        );
        let hint = hints.iter().find(|hint| hint.kind() == HintKind::Configure);
        let text = hint.unwrap_or_else(|| panic!("{hints:?}")).text();
        let (_, command) = text.split_once('`').unwrap();
        let (command, _) = command.split_once('`').unwrap();
        assert_eq!(
            command,
            "sysctl net.ipv4.ip_local_reserved_ports=50000,43110"
        );
        // A port that is reserved already needs no such hint.
        for reserved in ["43110", "50,43000-43200"] {
            set("net/ipv4/ip_local_reserved_ports", reserved);
            let (_, hints) = failure("0.0.0.0:43110");
            let is_configure = |hint: &Hint| hint.kind() == HintKind::Configure;
            assert!(!hints.iter().any(is_configure), "{hints:?}");
        }
        // It keeps later ones off the port.
        drop(outgoing);
        let value = command.rsplit_once('=').unwrap().1;
        set("net/ipv4/ip_local_reserved_ports", value);
        set("net/ipv4/ip_local_port_range", "43110 43112");
        for _ in 0..20 {
            let client =
                TcpStream::connect("127.0.0.1:80").map(|one| one.local_addr().unwrap().port());
            assert_ne!(client.ok(), Some(43110));
        }
    });
}

/// tryretool/retool-helm 335: `0.0.0.0` on a host that others reach over IPv6.
#[test]
fn wildcard_of_the_other_family_is_warned_about() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up");
        ip("link set far0 up");
        let warning = |addr: &str, own: &str, other: &str| {
            format!(
                "{addr}:8080: no interface has an {own} address that other networks can reach, and this host has {other} \
                 ones; listen on `*` to let other hosts connect"
            )
        };
        assert_eq!(
            warnings("0.0.0.0:8080"),
            [""; 0],
            "no address can be reached"
        );
        ip("addr add fd00::1/64 dev eth0 nodad");
        assert_eq!(
            warnings("0.0.0.0:8080"),
            [warning("0.0.0.0", "IPv4", "IPv6")]
        );
        assert_eq!(warnings("*:8080"), [""; 0]);
        ip("addr del fd00::1/64 dev eth0");
        ip("addr add 10.0.0.1/24 dev eth0");
        assert_eq!(warnings("0.0.0.0:8080"), [""; 0]);
        assert_eq!(warnings("ipv6@*:8080"), [warning("[::]", "IPv6", "IPv4")]);
    });
}

/// Dreamacro/clash 1342: reserved ranges are used for tunnels.
#[test]
fn reserved_address_is_not_public() {
    in_namespace(|| {
        host();
        for reserved in [
            "198.18.0.1/16",
            "192.0.2.7/24",
            "2001:db8:7::1/64",
            "240.0.0.1/8",
        ] {
            ip(&format!("addr add {reserved} dev eth0"));
            for setting in ["0.0.0.0:8080", "*:8080"] {
                assert_eq!(warnings(setting), [""; 0], "{reserved}");
            }
            ip(&format!("addr del {reserved} dev eth0"));
        }
        ip("addr add 8.8.4.4/24 dev eth0");
        assert_eq!(
            warnings("0.0.0.0:8080"),
            [
                "0.0.0.0:8080: 8.8.4.4 on eth0 is a global address, so clients on the internet can connect unless a \
                 firewall blocks them"
            ]
        );
    });
}

/// bacalhau-project/bacalhau 3558: the public address of a cloud machine.
#[test]
fn public_address_may_be_translated() {
    in_namespace(|| {
        host();
        let (_, hints) = failure("34.71.149.24:1234");
        assert_eq!(
            texts(&hints)[0],
            "`10.0.0.1:1234` is the address to listen on if a provider or a router translates the one that was written"
        );
        let listeners = bindaddr::bind(hints[0].replacement().unwrap()).unwrap();
        assert!(connects(listeners[0].local_addr()));
        drop(listeners);
        // An address outside the private networks is not translated.
        let (_, hints) = failure("10.0.0.77:1234");
        assert_eq!(
            texts(&hints)[0],
            "`10.0.0.1:1234` is the closest local address"
        );
        // Nor where this host has a public one itself.
        ip("addr add 8.8.4.4/24 dev eth0");
        let (_, hints) = failure("34.71.149.24:1234");
        assert!(
            !texts(&hints).iter().any(|text| text.contains("translates")),
            "{hints:?}"
        );
    });
}

/// cetic/6lbr 193: an interface that was given to a bridge keeps its link-local address.
#[test]
fn port_of_a_bridge_is_named_with_its_bridge() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up");
        ip("link set far0 up");
        ip("link add br0 type bridge");
        ip("link set br0 up");
        ip("link set eth0 master br0");
        ip("addr add 192.168.1.20/24 dev br0");
        let (cause, hints) = failure("ipv4@eth0:8080");
        assert!(
            cause.starts_with("the interface `eth0` has no IPv4 address"),
            "{cause}"
        );
        assert_eq!(
            texts(&hints),
            ["eth0 is a port of br0, which has the addresses; write `ipv4@br0:8080`"]
        );
        bindaddr::bind(hints[0].replacement().unwrap()).unwrap();
        let warning = "eth0 is a port of br0, which receives its packets, so no client can connect through eth0; listen \
                       on br0";
        let of_zone = warnings("eth0:8080");
        assert!(
            of_zone.len() == 1 && of_zone[0].ends_with(warning),
            "{of_zone:?}"
        );
        let on_device = BindOptions::new()
            .device("eth0")
            .bind("0.0.0.0:8081")
            .unwrap();
        let found = on_device.warnings(&Interfaces::system().unwrap());
        assert_eq!(found[0].to_string(), format!("0.0.0.0:8081: {warning}"));
        assert_eq!(warnings("ipv4@br0:8080"), [""; 0]);
        ip("addr add 192.168.2.20/24 dev eth0");
        assert_eq!(
            warnings("192.168.2.20:8080"),
            [format!("192.168.2.20:8080: {warning}")]
        );
    });
}

/// Clients can connect to exactly the addresses that are listed for their origin.
#[test]
fn addresses_on_ports_are_listed_where_they_connect() {
    const TEST: &str = "addresses_on_ports_are_listed_where_they_connect";
    in_namespace(|| {
        // A team delivers nothing without its daemon.
        for kind in ["bridge", "bond"] {
            let master = format!("link add name br0 type {kind}");
            let mut add = Command::new("ip");
            let added = add.args(master.split(' ')).stderr(Stdio::null()).status();
            if !added.is_ok_and(|status| status.success()) {
                let reason = format!("this kernel has no {kind}");
                rerun::skip(TEST, &reason, "BINDADDR_REQUIRE_BOND");
                continue;
            }
            let mut neighbour = Host::start(TEST);
            neighbour.cable("eth0", "eth0");
            if kind != "bridge" {
                ip("link set eth0 down");
            }
            ip("link set eth0 master br0");
            ip("link set eth0 up");
            ip("link set br0 up");
            ip_batch(
                "addr add 10.0.0.1/24 dev br0\naddr add fd00::1/64 dev br0 nodad\naddr add fe80::b/64 dev br0 nodad\n\
                 addr add 10.1.0.1/24 dev eth0\naddr add fd01::1/64 dev eth0 nodad\naddr add fe80::e/64 dev eth0 nodad\n",
            );
            for addr in [
                "10.0.0.2/24",
                "10.1.0.2/24",
                "fd00::2/64 nodad",
                "fd01::2/64 nodad",
                "fe80::2/64 nodad",
            ] {
                neighbour.ip(&format!("addr add dev eth0 {addr}"));
            }
            let zone = neighbour.zone("eth0");
            for (n, device) in [None, Some("eth0"), Some("br0")].into_iter().enumerate() {
                let port = 6000 + n;
                let setting = Setting::from(format!("*:{port}"));
                let setting = device.into_iter().fold(setting, Setting::device);
                let listeners = BindOptions::new().bind([setting]).unwrap();
                let host = Interfaces::system().unwrap();
                let reach = listeners.reach(&host);
                let ips = ["10.0.0.1", "10.1.0.1", "[fd00::1]", "[fd01::1]"];
                let links = ["fe80::b", "fe80::e"].map(|ip| format!("[{ip}%{zone}]"));
                let ips = ips.into_iter().map(str::to_owned).chain(links);
                let to: Vec<SocketAddr> = ips
                    .map(|ip| format!("{ip}:{port}").parse().unwrap())
                    .collect();
                neighbour.connect_each(&to);
                let came = neighbour.connected();
                for (to, came) in to.iter().zip(came) {
                    let listed = reach.addrs().iter().find(|own| own.addr().ip() == to.ip());
                    let origin = listed.map(ReachableAddr::origin);
                    // Through another interface than its own, an IPv6 address needs a route.
                    if origin != Some(Origin::Device) || to.is_ipv4() {
                        let is_listed = origin.is_some_and(|origin| origin != Origin::ThisHost);
                        assert_eq!(is_listed, came, "{to} on {device:?} with a {kind}");
                    }
                    if let Some(own) = listed.filter(|own| own.origin() != Origin::Device) {
                        assert!(connects(own.addr()), "{own} on {device:?}");
                    }
                }
            }
            ip("link del eth0");
            ip("link del br0");
        }
    });
}

/// An interface may have a name that a setting reads as something else.
#[test]
fn interface_named_as_something_else_is_not_advised() {
    in_namespace(|| {
        for name in ["*", "localhost", "0.0.0.0"] {
            ip("link add name eth0 type veth peer name far0");
            ip(&format!("link add name {name} type bridge"));
            ip(&format!("link set eth0 master {name}"));
            for each in ["eth0", "far0", name] {
                ip(&format!("link set {each} up"));
            }
            ip(&format!("addr add 10.0.0.1/24 dev {name}"));
            let (_, hints) = failure("ipv4@eth0:8080");
            let _held = TcpListener::bind("127.0.0.1:8080").unwrap();
            let (_, beside) = failure("0.0.0.0:8080");
            for hint in hints.iter().chain(&beside) {
                assert_eq!(hint.replacement(), None, "{name}: {hint:?}");
            }
            ip(&format!("link del {name}"));
            ip("link del eth0");
        }
    });
}

/// `systemd` is a name that an interface can have.
#[test]
fn interface_named_systemd_is_read() {
    in_namespace(|| {
        ip("link add name systemd type veth peer name far0");
        ip("link set far0 up");
        ip("link set systemd up");
        ip("addr add 10.0.0.1/24 dev systemd");
        for setting in ["systemd:8000", "ipv4@systemd:8000-8010"] {
            bindaddr::bind(setting).unwrap();
        }
        let error = bindaddr::bind("systemd:web").unwrap_err();
        assert!(error.to_string().contains("service manager"), "{error}");
    });
}

/// jumpserver/koko 37: IPv6 off on one interface; and below the MTU that it needs.
#[test]
fn interface_without_ipv6_is_named() {
    in_namespace(|| {
        host();
        set("net/ipv6/conf/eth0/disable_ipv6", "1");
        let (_, hints) = failure("[2001:db8:5::10]:80");
        let message = "`net.ipv6.conf.eth0.disable_ipv6` is set, so eth0 has no IPv6 address";
        assert!(texts(&hints).contains(&message), "{hints:?}");
        // sysctl(8) separates by slashes where a name has a dot.
        ip("link add name eth0.100 type veth peer name far1");
        ip("link set eth0.100 up");
        set("net/ipv6/conf/eth0.100/disable_ipv6", "1");
        let (_, hints) = failure("[2001:db8:5::10]:80");
        let message = "`net.ipv6.conf.eth0/100.disable_ipv6` is set, so eth0.100 has no IPv6 address";
        assert!(texts(&hints).contains(&message), "{hints:?}");
        let variable = message.split('`').nth(1).unwrap();
        match Command::new("sysctl").args(["-n", variable]).output() {
            Ok(output) => assert_eq!(output.stdout, b"1\n", "{output:?}"),
            Err(error) => eprintln!("skipped a part: no sysctl: {error}"),
        }
        ip("link del eth0.100");
        // The MTU of lo does not affect other interfaces.
        ip("link set lo mtu 1000");
        let (_, hints) = failure("[2001:db8:5::10]:80");
        assert!(
            texts(&hints).iter().all(|text| !text.contains("lo has")),
            "{hints:?}"
        );
        ip("link set lo mtu 65536");
        set("net/ipv6/conf/eth0/disable_ipv6", "0");
        ip("link set eth0 mtu 1000");
        let (_, hints) = failure("[2001:db8:5::10]:80");
        let message = "eth0 has an MTU of 1000, and no IPv6 address, which needs 1280";
        assert!(texts(&hints).contains(&message), "{hints:?}");
        // Both can be repaired as the hints say.
        ip("link set eth0 mtu 1500");
        ip("addr add 2001:db8:5::10/64 dev eth0 nodad");
        bindaddr::bind("[2001:db8:5::10]:80").unwrap();
        let (_, hints) = failure("[2001:db8:5::11]:80");
        assert!(
            texts(&hints).iter().all(|text| !text.contains("eth0 has")),
            "{hints:?}"
        );
    });
}

/// A socket on one interface, and a bridge that virtual machines are on.
#[test]
fn banner_of_a_device_leaves_out_other_interfaces() {
    in_namespace(|| {
        host();
        ip("link add virbr0 type bridge");
        ip("link set virbr0 up");
        ip("addr add 192.168.122.1/24 dev virbr0");
        let banner = |device: &str| {
            let listeners = BindOptions::new()
                .device(device)
                .bind("0.0.0.0:8067")
                .unwrap();
            let reach = listeners.reach(&Interfaces::system().unwrap());
            assert!(
                reach
                    .urls("http")
                    .all(|url| reach.banner("http").to_string().contains(&url))
            );
            reach.banner("http").to_string()
        };
        assert_eq!(
            banner("eth0"),
            "  Network:  http://10.0.0.1:8067/  (eth0)\n"
        );
        // Others' addresses are all that there is.
        assert!(banner("far0").contains("http://10.0.0.1:8067/"));
    });
}

/// kamp-us/phoenix 8593: two servers, each on one of the addresses that `localhost` is.
#[test]
fn server_on_the_other_loopback_address_is_named() {
    in_namespace(|| {
        for (own, other) in [
            ("127.0.0.1", "[::1]"),
            ("[::1]", "127.0.0.1"),
            ("127.0.0.1", "[::]"),
        ] {
            let only_v6 = BindOptions::new().only_v6(true);
            let socket = only_v6
                .bind(format!("{other}:5173"))
                .unwrap()
                .into_std()
                .remove(0);
            let server = Forked::start(socket.into(), 0);
            let pid = server.0.id();
            let found = warnings(&format!("{own}:5173"));
            let message = format!("(pid {pid}, uid ");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].starts_with(&format!("{own}:5173: `sh` {message}")),
                "{found:?}"
            );
            let end = format!(
                " listens on {other}, so clients that connect to `localhost` may reach it instead of this server"
            );
            assert!(found[0].ends_with(&end), "{found:?}");
            drop(server);
            // Not of the server itself.
            assert_eq!(warnings("localhost:5174"), [""; 0]);
        }
    });
}

/// Snapchat/KeyDB 88: a second instance that shares the port.
#[test]
fn process_that_shares_the_port_is_named() {
    in_namespace(|| {
        let sharing = BindOptions::new().reuse_port(true);
        let both = sharing.bind("127.0.0.2:5000").unwrap();
        let again = sharing.bind("127.0.0.2:5000").unwrap();
        let host = Interfaces::system().unwrap();
        assert_eq!(both.warnings(&host), [], "they are of this process");
        let server = Forked::start(again.into_std().remove(0).into(), 0);
        let found = both.warnings(&host);
        assert_eq!(found.len(), 1, "{found:?}");
        let text = found[0].to_string();
        assert_eq!(found[0].name(), "shared-port");
        assert!(
            text.starts_with(&format!(
                "127.0.0.2:5000: `sh` (pid {}, uid ",
                server.0.id()
            )) && text.ends_with(
                " listens on 127.0.0.2 as well, by SO_REUSEPORT, and gets some of the clients"
            ),
            "{text}"
        );
    });
}

/// A child of a fork has the socket as well, and no other server.
#[test]
fn own_socket_in_a_child_is_not_another_server() {
    in_namespace(|| {
        let listeners = bindaddr::bind("127.0.0.1:5000").unwrap();
        let copy = listeners[0].as_std().try_clone().unwrap();
        let _child = Forked::start(copy.into(), 1);
        let host = Interfaces::system().unwrap();
        assert_eq!(listeners.warnings(&host), []);
        // Those with the fewest descriptors are looked at first.
        let _files: Vec<_> = (0..500)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        assert_eq!(listeners.warnings(&host), []);
    });
}

/// GoogleCloudPlatform/guest-agent 555: the address of a load balancer is a local route.
#[test]
fn address_of_a_local_route_is_reached() {
    in_namespace(|| {
        host();
        ip("route add local 203.0.113.9 dev eth0 proto 66");
        let host = Interfaces::system().unwrap();
        let listeners = bindaddr::bind("203.0.113.9:8080").unwrap();
        assert!(connects(listeners[0].local_addr()));
        let reach = listeners.reach(&host);
        assert_eq!(
            reach.to_string(),
            "203.0.113.9:8080 from the network, by a local route\nexposed to the internet\n"
        );
        assert_eq!(
            reach.banner("http").to_string(),
            "  Network:  http://203.0.113.9:8080/\n"
        );
        // A wildcard takes it as well, and so does what a guard asks.
        let wildcard = bindaddr::bind("0.0.0.0:8081").unwrap();
        assert_eq!(wildcard.exposure(&host), bindaddr::Exposure::Global);
        let reach = wildcard.reach(&host).to_string();
        assert!(
            reach.contains("203.0.113.9:8081 from the network, by a local route"),
            "{reach}"
        );
        // Without the route no client can connect.
        ip("route del local 203.0.113.9 dev eth0");
        let host = Interfaces::system().unwrap();
        assert_eq!(wildcard.exposure(&host), bindaddr::Exposure::Private);
        let reach = listeners.reach(&host);
        assert!(reach.addrs().is_empty() && !connects(listeners[0].local_addr()));
        // A plan describes the host of its snapshot.
        let plan = BindOptions::new().plan("203.0.113.9:8080").unwrap();
        assert!(plan.reach(&host).addrs().is_empty());
        let routed = host.with_local_route("203.0.113.9".parse().unwrap());
        assert_eq!(plan.reach(&routed).addrs().len(), 1);
    });
}

/// `AnyIP` by another table than `local`.
#[test]
fn routes_of_other_tables_raise_exposure() {
    in_namespace(|| {
        host();
        let wildcard = bindaddr::bind("*:8080").unwrap();
        let exposure = || wildcard.exposure(&Interfaces::system().unwrap());
        assert_eq!(exposure(), bindaddr::Exposure::Private);
        ip("-6 route add local 2a01:1::/48 dev lo table 100");
        ip("-6 rule add table 100");
        assert!(connects("[2a01:1::5]:8080".parse().unwrap()));
        assert_eq!(exposure(), bindaddr::Exposure::Global);
        ip("-6 route del local 2a01:1::/48 dev lo table 100");
        assert_eq!(exposure(), bindaddr::Exposure::Private);
        ip("route add local 203.0.113.9 dev lo table main");
        let is_reached = connects("203.0.113.9:8080".parse().unwrap());
        let reach = wildcard.reach(&Interfaces::system().unwrap());
        let addr: SocketAddr = "203.0.113.9:8080".parse().unwrap();
        assert_eq!(
            reach.addrs().iter().any(|dial| dial.addr() == addr),
            is_reached
        );
        assert_eq!(exposure(), bindaddr::Exposure::Global);
    });
}

/// A hint for a wildcard says how far it opens the server, with what local routes bring.
#[test]
fn hint_for_a_wildcard_counts_local_routes() {
    in_namespace(|| {
        host();
        let exposures = || {
            let error = bindaddr::bind("eth0:8080, ipv4@eth1:80, 10.9.9.9:80").unwrap_err();
            let hints: Vec<Hint> = error
                .errors()
                .flat_map(|one| one.hints().to_vec())
                .collect();
            let wildcards = hints.iter().map(|hint| hint.text().to_owned());
            wildcards
                .filter(|text| text.contains("0.0.0.0:80"))
                .collect::<Vec<_>>()
        };
        for text in exposures() {
            assert!(!text.contains("internet"), "{text}");
        }
        ip("route add local 203.0.113.9 dev lo");
        let found = exposures();
        assert!(!found.is_empty());
        for text in found {
            assert!(text.contains("internet"), "{text}");
        }
    });
}

/// A router has more routes than are read, so what they bring is not known.
#[test]
fn unread_routes_count_as_global() {
    in_namespace(|| {
        host();
        let wildcard = bindaddr::bind("0.0.0.0:8080").unwrap();
        assert_eq!(
            wildcard.exposure(&Interfaces::system().unwrap()),
            bindaddr::Exposure::Private
        );
        let routes = (0..16_500).map(|n| {
            format!(
                "route add 10.{}.{}.{}/32 via 10.0.0.9\n",
                64 + n / 62500,
                n / 250 % 250,
                n % 250
            )
        });
        ip_batch(&routes.collect::<String>());
        let host = Interfaces::system().unwrap();
        assert_eq!(wildcard.exposure(&host), bindaddr::Exposure::Global);
        // A literal needs no table.
        let literal = bindaddr::bind("10.0.0.1:8081").unwrap();
        assert_eq!(literal.exposure(&host), bindaddr::Exposure::Private);
    });
}

/// A replacement for a name keeps the family that was written.
#[test]
fn replacement_of_a_name_keeps_the_family() {
    in_namespace(|| {
        host();
        ip("addr add 2001:db8::1/64 dev eth0 nodad");
        ip("link property add dev eth0 altname enp3s0");
        for family in ["", "ipv4@", "ipv6@", "-ipv4@"] {
            let (_, hints) = match bindaddr::bind([&*format!("{family}enp3s0:8080"), "+"]) {
                Ok(_) => unreachable!("`+` is not a setting"),
                Err(error) => {
                    let first = error.errors().next().unwrap();
                    (first.cause().to_string(), first.hints().to_vec())
                }
            };
            assert_eq!(
                hints[0].replacement(),
                Some(&*format!("{family}eth0:8080")),
                "{family}"
            );
        }
    });
}

/// A name of this host itself, as DNS and /etc/hosts have it.
#[test]
fn own_host_name_is_recognised() {
    in_namespace(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let name = name.trim();
        let setting = format!("{name}:8080");
        let Ok(_) = setting.parse::<bindaddr::ListenAddr>() else {
            return; // A setting cannot have such a name.
        };
        let (_, hints) = failure(&setting);
        assert_eq!(
            texts(&hints),
            [format!(
                "`{name}` is this host's own name; `*:8080` listens on every address"
            )]
        );
        assert_eq!(hints[0].kind(), HintKind::Widen);
        bindaddr::bind(hints[0].replacement().unwrap()).unwrap();
    });
}

/// livebook-dev/livebook 628: Debian maps the name of the host to 127.0.1.1.
#[test]
fn loopback_address_of_the_own_name_has_a_warning() {
    const TEST: &str = "loopback_address_of_the_own_name_has_a_warning";
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = name.trim();
    if rerun::role().is_some() {
        let message = format!(
            "127.0.1.1:5000: /etc/hosts maps `{name}`, the name of this host, to the loopback address 127.0.1.1"
        );
        assert_eq!(warnings("127.0.1.1:5000"), [message]);
        assert_eq!(warnings("127.0.1.2:5001, localhost:5002"), [""; 0]);
        return rerun::done();
    }
    let hosts = std::env::temp_dir().join(format!("bindaddr-hosts-{}", std::process::id()));
    std::fs::write(
        &hosts,
        format!("127.0.0.1 localhost {name}\n127.0.1.1 {name}\n"),
    )
    .unwrap();
    let script = format!(
        "mount --bind {} /etc/hosts && ip link set lo up && exec \"$0\" \"$@\"",
        hosts.display()
    );
    let ways: [&[&str]; 2] = [
        &["unshare", "--net", "--mount"],
        &["unshare", "--user", "--map-root-user", "--net", "--mount"],
    ];
    let is_possible = |way: &&&[&str]| {
        let mut probe = Command::new(way[0]);
        probe.args(&way[1..]).args(["sh", "-c", &script, "true"]);
        probe.output().is_ok_and(|output| output.status.success())
    };
    match ways.iter().find(is_possible) {
        Some(way) => {
            rerun::run(TEST, "named", &[way, &["sh", "-c", &script][..]].concat());
        }
        None => rerun::skip(
            TEST,
            "no file can be mounted here",
            "BINDADDR_REQUIRE_NETNS",
        ),
    }
    std::fs::remove_file(hosts).unwrap();
}

/// Donkie/Spoolman 961, Pylons/waitress 356: texts of templates. Each is refused wherever a setting
/// is read.
#[test]
fn text_of_a_template_is_named() {
    for (text, message) in [
        ("0.0.0.0:$PORT", "the variable `$PORT` was not expanded"),
        ("${HOST}:8080", "the variable `${HOST}` was not expanded"),
        (
            "$(POD_IP):8080",
            "the variable `$(POD_IP)` was not expanded",
        ),
        ("{{host}}:8080", "the variable `{{host}}` was not expanded"),
        (
            "0.0.0.0:tcp://10.43.0.1:8000",
            "Kubernetes sets a variable to such a text for each Service",
        ),
        ("fd://3", "a socket of the service manager has no name here"),
        (
            "eth0@if5:8080",
            "the interface is `eth0`; write `eth0:8080`",
        ),
        ("db.example.org:80", "and host names are not looked up"),
        ("undefined:80", "(an unset variable?)"),
    ] {
        let error = bindaddr::bind(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

/// A UDP socket is bound, and does not listen.
#[test]
fn own_udp_socket_is_named() {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = bindaddr::bind_udp(held.local_addr().unwrap()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a socket of this process is bound to 127.0.0.1")
    );
}
