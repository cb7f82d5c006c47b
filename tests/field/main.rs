//! Situations that users of servers have reported, made for real: what is said, and that what is
//! advised helps.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod holders;
mod interfaces;
mod routes;
#[path = "../util/mod.rs"]
mod util;

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use bindaddr::check::RunningServer;
use bindaddr::diagnosis::{Hint, HintKind, Warning};
use bindaddr::plan::Setting;
use bindaddr::reach::{Origin, ReachableAddr};
use bindaddr::{BindOptions, Cause, Interfaces, Listeners};
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
        // A private address is not translated, nor is one of a reserved network.
        for setting in ["10.0.0.77:1234", "203.0.113.9:1234", "198.18.0.9:1234"] {
            let (_, hints) = failure(setting);
            let closest = "`10.0.0.1:1234` is the closest local address";
            assert_eq!(texts(&hints)[0], closest, "{setting}");
        }
        // Nor where this host has a public one itself.
        ip("addr add 8.8.4.4/24 dev eth0");
        let (_, hints) = failure("34.71.149.24:1234");
        assert!(
            !texts(&hints).iter().any(|text| text.contains("translates")),
            "{hints:?}"
        );
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
