//! The command beside what runs on a host: a running server, the listening sockets, another user,
//! changes.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use bindaddr::BindOptions;
use serde_json::Value;
use util::command::{bindaddr, run, texts, writes};
use util::netns::{Host, in_namespace, ip, wait_until};
use util::rerun;

/// A process that has listeners on addresses, each of them opened by a child of it if it is behind
/// a `+`.
struct Server(Child);

impl Server {
    fn start(wrapper: &[&str], addrs: &[&str]) -> Self {
        // Every Debian has perl-base.
        let script = "use IO::Socket::INET; $| = 1; my @s; \
            for my $addr (@ARGV) { \
                my $is_of_child = $addr =~ s/^\\+//; \
                next if $is_of_child && fork; \
                push @s, IO::Socket::INET->new(LocalAddr => $addr, Listen => 1, ReuseAddr => 1) || die; \
                print \"ready\\n\"; \
                if ($is_of_child) { sleep 1000; exit } \
            } \
            sleep 1000;";
        let words: Vec<&str> = [wrapper, &["perl", "-e", script], addrs].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        // Its child processes end with it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        for _ in addrs {
            assert_eq!(lines.next().unwrap().unwrap(), "ready");
        }
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

/// The subcommand `watch`, which does not end.
struct Watching(Child);

impl Watching {
    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let out = self.0.stdout.take().unwrap();
        BufReader::new(out).lines().map(Result::unwrap)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn json(args: &[&str]) -> Value {
    let (stdout, stderr, _) = run(args);
    serde_json::from_str(&stdout).unwrap_or_else(|err| panic!("{err}: {stdout}{stderr}"))
}

#[test]
fn running_server_does_not_conflict() {
    in_namespace(|| {
        ip("addr add 10.0.0.1/32 dev lo");
        let server = Server::start(&[], &["127.0.0.1:80", "+127.0.0.1:81", "0.0.0.0:82"]);
        let pid = server.pid();
        let texts = ["127.0.0.1:80", "127.0.0.1:81", "127.0.0.1:82", "0.0.0.0:80"];
        for text in texts {
            let alone = |args: &[&str]| run(&[&["check", text], args].concat()).2;
            assert_eq!(alone(&[]), Some(1), "{text}");
            assert_eq!(alone(&["--running", &pid]), Some(0), "{text}");
            assert_eq!(alone(&["--running", "perl"]), Some(0), "{text}");
        }
        // A list of its own, with a conflict and with what it does not have.
        let args = ["check", "--running", &pid, "0.0.0.0:80", "127.0.0.1:80"];
        let (stdout, ..) = run(&args);
        assert!(
            stdout.contains("problem  conflicts with `0.0.0.0:80`"),
            "{stdout}"
        );
        let args = ["check", "--running", &pid, "198.51.100.1:80"];
        assert_eq!(run(&args).2, Some(1));
        // Another process is, on the same port as well.
        let _other = TcpListener::bind("10.0.0.1:80").unwrap();
        let args = ["check", "--running", &pid, "0.0.0.0:80"];
        let (stdout, _, code) = run(&args);
        assert_eq!(code, Some(1));
        let message = "listens on 10.0.0.1, which 0.0.0.0 includes";
        let words: Vec<&str> = stdout.split_ascii_whitespace().collect();
        assert!(words.join(" ").contains(message), "{stdout}");
        assert!(!stdout.contains("perl"), "{stdout}");
        let args = ["check", "--running", &pid, "127.0.0.1:80"];
        assert_eq!(run(&args).2, Some(0));
        // A range takes the port that the server has.
        let args = ["check", "--json", "--running", &pid, "127.0.0.1:80-90"];
        assert_eq!(
            json(&args)["settings"][0]["sockets"][0]["addr"],
            "127.0.0.1:80"
        );
        // So do connections of other processes.
        drop(server);
    });
}

#[test]
fn foreign_connections_conflict_with_restart() {
    in_namespace(|| {
        let server = Server::start(&[], &["127.0.0.1:80"]);
        let to = TcpListener::bind("127.0.0.1:5000").unwrap();
        // A client on the port of the server, on another address.
        let client =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        client.set_reuse_address(true).unwrap();
        client
            .bind(&std::net::SocketAddr::from(([127, 0, 0, 2], 80)).into())
            .unwrap();
        client.connect(&to.local_addr().unwrap().into()).unwrap();
        let (stdout, _, code) = run(&["check", "--running", &server.pid(), "0.0.0.0:80"]);
        assert_eq!(code, Some(1), "{stdout}");
        let words: Vec<&str> = stdout.split_ascii_whitespace().collect();
        assert!(words.join(" ").contains("a connection of"), "{stdout}");
        let (stdout, _, code) = run(&["check", "--running", &server.pid(), "127.0.0.1:80"]);
        assert_eq!(code, Some(0), "{stdout}");
    });
}

/// A process that is not a child of the server any more has its socket as well, and keeps it.
#[test]
fn socket_shared_with_another_process_conflicts() {
    in_namespace(|| {
        let held = TcpListener::bind("127.0.0.1:80").unwrap();
        let alone = TcpListener::bind("127.0.0.1:81").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:80").unwrap();
        // The second `sleep` has the sockets of the first, and its parent ends.
        let script = "exec 3<&0 4<&1; sleep 1000 & exec sleep 1000";
        let spawn = |words: &[&str], stdin: TcpListener, stdout: UdpSocket| {
            let mut command = Command::new(words[0]);
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
            command.args(&words[1..]);
            command
                .stdin(OwnedFd::from(stdin))
                .stdout(OwnedFd::from(stdout));
            // The command has copies of the sockets.
            Server(command.spawn().unwrap())
        };
        let both = spawn(&["sh", "-c", script], held, udp);
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let one = spawn(&["sleep", "1000"], alone, other);
        let status = |args: &[&str]| {
            let (stdout, _, code) = run(&[&["check"], args].concat());
            assert!(code == Some(0) || stdout.contains("is in use"), "{stdout}");
            code
        };
        let pid = both.pid();
        // A child that starts during the check may have the sockets as well.
        let name = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        wait_until("both run", || name() == "sleep\n");
        // With its children it has all there is.
        assert_eq!(status(&["--running", &pid, "127.0.0.1:80"]), Some(0));
        assert_eq!(
            status(&["--udp", "--running", &pid, "127.0.0.1:80"]),
            Some(0)
        );
        assert_eq!(status(&["--running", &one.pid(), "127.0.0.1:81"]), Some(0));
        assert_eq!(status(&["--running", &one.pid(), "127.0.0.1:80"]), Some(1));
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let child = children.trim();
        assert_eq!(status(&["--running", child, "127.0.0.1:80"]), Some(1));
        assert_eq!(
            status(&["--udp", "--running", child, "127.0.0.1:80"]),
            Some(1)
        );
        let list = json(&["listeners", "--json", "80"]);
        let pids = |socket: &Value| socket["pids"].as_array().unwrap().len();
        assert_eq!(
            list.as_array()
                .unwrap()
                .iter()
                .map(pids)
                .collect::<Vec<_>>(),
            [2, 2]
        );
        let (stdout, ..) = run(&["listeners", ":80"]);
        assert!(stdout.contains(&format!("sleep ({pid} +1)")), "{stdout}");
    });
}

#[test]
fn running_server_udp_sockets_do_not_conflict() {
    in_namespace(|| {
        let _held = UdpSocket::bind("127.0.0.1:53").unwrap();
        let pid = std::process::id().to_string();
        // The command is a child of this process.
        assert_eq!(run(&["check", "--udp", "127.0.0.1:53"]).2, Some(1));
        let args = ["check", "--udp", "--running", &pid, "0.0.0.0:53"];
        let (stdout, stderr, code) = run(&args);
        assert_eq!(code, Some(0), "{stdout}{stderr}");
    });
}

#[test]
fn unknown_server_is_an_error() {
    let message = |name: &str| {
        let (stdout, stderr, code) = run(&["check", "--running", name, "127.0.0.1:0"]);
        assert_eq!((&*stdout, code), ("", Some(2)));
        stderr
    };
    let of_unit = "error: no process of `no-such.service` is running\n";
    assert_eq!(message("no-such.service"), of_unit);
    let of_name = "error: no process is named `no-such-process`\n";
    assert_eq!(message("no-such-process"), of_name);
    assert_eq!(message("4194305"), "error: no process has the id 4194305\n");
}

/// Only root sees what another user's process has open.
#[test]
fn unreadable_server_is_an_error() {
    const TEST: &str = "unreadable_server_is_an_error";
    in_namespace(|| {
        let mut can = Command::new("setpriv");
        let can = can
            .args(["--reuid=65534", "--clear-groups", "true"])
            .stderr(Stdio::null());
        if !can.status().is_ok_and(|status| status.success()) {
            let reason = "this machine has no second user";
            return rerun::skip(TEST, reason, "BINDADDR_REQUIRE_USERS");
        }
        let server = Server::start(&[], &["127.0.0.1:80"]);
        // The other user may not look into the directory of the command.
        let exe = std::env::temp_dir().join(format!("bindaddr-{}", std::process::id()));
        std::fs::copy(env!("CARGO_BIN_EXE_bindaddr"), &exe).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups"]).arg(&exe);
        let args = ["check", "--running", &server.pid(), "127.0.0.1:80"];
        let (_, stderr, code) = texts(command.args(args).output().unwrap());
        std::fs::remove_file(exe).unwrap();
        let message = format!(
            "error: only root can see which sockets `{}` has open\n",
            server.pid()
        );
        assert_eq!((stderr, code), (message, Some(2)));
    });
}

#[test]
fn listeners_are_listed_with_exposure() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        for link in ["eth0", "far0"] {
            ip(&format!("link set {link} addrgenmode none"));
            ip(&format!("link set {link} up"));
        }
        ip("addr add 192.168.71.67/16 dev eth0");
        ip("addr add 203.0.113.7/24 dev eth0");
        ip("addr add fe80::1/64 dev eth0 nodad");
        let sockets = [
            bindaddr::bind("127.0.0.1:80").unwrap(),
            bindaddr::bind("192.168.71.67:80").unwrap(),
            bindaddr::bind("*:81").unwrap(),
            bindaddr::bind("ipv6@*:82").unwrap(),
            bindaddr::bind("[fe80::1%eth0]:83").unwrap(),
            BindOptions::new()
                .device("eth0")
                .bind("0.0.0.0:84")
                .unwrap(),
            BindOptions::new().device("lo").bind("0.0.0.0:85").unwrap(),
        ];
        let _udp = bindaddr::bind_udp("127.0.0.1:53").unwrap();
        // A client is not a listener.
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect("127.0.0.1:53").unwrap();
        let list = json(&["listeners", "--json"]);
        let index = bindaddr::Interfaces::system()
            .unwrap()
            .by_name("eth0")
            .unwrap()
            .index()
            .unwrap();
        let of = |socket: &Value| {
            let device = socket["device"].as_str().unwrap_or_default();
            let text = |key: &str| socket[key].as_str().unwrap().to_owned();
            format!(
                "{} {} {} {device}",
                text("exposure"),
                text("protocol"),
                text("addr")
            )
        };
        let found: Vec<String> = list.as_array().unwrap().iter().map(of).collect();
        assert_eq!(
            found,
            [
                "global tcp [::]:81 ".to_owned(),
                "global tcp 0.0.0.0:84 eth0".to_owned(),
                "private tcp 192.168.71.67:80 ".to_owned(),
                "link tcp [::]:82 ".to_owned(),
                format!("link tcp [fe80::1%{index}]:83 eth0"),
                "this-host udp 127.0.0.1:53 ".to_owned(),
                "this-host tcp 127.0.0.1:80 ".to_owned(),
                "this-host tcp 0.0.0.0:85 lo".to_owned(),
            ]
        );
        let pid = std::process::id();
        for socket in list.as_array().unwrap() {
            assert_eq!(socket["pid"], pid, "{socket}");
        }
        assert_eq!(
            (&list[0]["only_v6"], &list[3]["only_v6"]),
            (&false.into(), &true.into())
        );
        let beyond = |most: &str| {
            let (stdout, stderr, code) = run(&["listeners", "--exposed-beyond", most]);
            assert_eq!(stderr, "");
            (stdout.lines().count(), code)
        };
        assert_eq!(beyond("this-host"), (6, Some(1)));
        assert_eq!(beyond("link"), (4, Some(1)));
        assert_eq!(beyond("private"), (3, Some(1)));
        assert_eq!(run(&["listeners", "--exposed-beyond", "global"]).2, Some(2));
        drop(sockets);
        assert_eq!(beyond("this-host"), (0, Some(0)));
    });
}

#[test]
fn listeners_of_another_namespace_are_listed() {
    const TEST: &str = "listeners_of_another_namespace_are_listed";
    in_namespace(|| {
        let other = Host::start(TEST);
        let _here = TcpListener::bind("127.0.0.1:81").unwrap();
        let pid = other.pid().to_string();
        let perl = Server::start(&["nsenter", "--net", "--target", &pid], &["127.0.0.1:80"]);
        let list = json(&["listeners", "--json", "--netns", &pid]);
        assert_eq!(list.as_array().unwrap().len(), 1);
        assert_eq!(
            (&list[0]["addr"], &list[0]["command"]),
            (&"127.0.0.1:80".into(), &"perl".into())
        );
        assert_eq!(list[0]["pid"].to_string(), perl.pid());
        let message = |name: &str| {
            let (_, stderr, code) = run(&["listeners", "--netns", name]);
            assert_eq!(code, Some(2));
            stderr
        };
        assert_eq!(
            message("no-such-name"),
            "error: cannot enter the network namespace `no-such-name`: No such file or directory (os error 2)\n"
        );
        assert_eq!(
            message("../net"),
            "error: `../net` is neither a process id nor a name of `ip netns`\n"
        );
    });
}

#[test]
fn check_binds_as_another_user() {
    const TEST: &str = "check_binds_as_another_user";
    in_namespace(|| {
        let (_, stderr, code) = run(&["explain", "--user", "nobody", "0.0.0.0:80"]);
        if code == Some(2) {
            assert!(stderr.starts_with("error: "), "{stderr}");
            return rerun::skip(TEST, stderr.trim(), "BINDADDR_REQUIRE_USERS");
        }
        let code = |args: &[&str]| run(&[args, &["0.0.0.0:80"]].concat()).2;
        for task in ["explain", "check"] {
            assert_eq!(code(&[task]), Some(0));
            assert_eq!(code(&[task, "--user", "nobody"]), Some(1));
            assert_eq!(
                code(&[task, "--user", "nobody", "--cap-net-bind-service"]),
                Some(0)
            );
            assert_eq!(code(&[task, "--user", "root"]), Some(0));
            assert_eq!(code(&[task, "--user", "65534"]), Some(1));
        }
        let (stdout, _, _) = run(&["explain", "--user", "nobody", "0.0.0.0:80"]);
        assert!(stdout.contains("port 80 is privileged"), "{stdout}");
        assert_eq!(code(&["explain", "--cap-net-bind-service"]), Some(2));
        // The file is read before.
        let file = std::env::temp_dir().join(format!("bindaddr-{}.toml", std::process::id()));
        std::fs::write(&file, "listen = '127.0.0.1:8080'").unwrap();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, permissions).unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(run(&["check", "--user", "nobody", path]).2, Some(0));
        std::fs::remove_file(file).unwrap();
    });
}

#[test]
fn watch_prints_changes() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        for link in ["eth0", "far0"] {
            ip(&format!("link set {link} addrgenmode none"));
            ip(&format!("link set {link} up"));
        }
        let start = |args: &[&str]| {
            let mut command = bindaddr(args);
            command
                .args(["eth0:80", "0.0.0.0:81"])
                .stdout(Stdio::piped());
            Watching(command.spawn().unwrap())
        };
        let (mut lines, mut objects) = (start(&["watch"]), start(&["watch", "--json"]));
        let (mut out, mut json) = (lines.lines(), objects.lines());
        let mut next = |expected: &str, event: &str| {
            assert_eq!(out.next().unwrap(), expected);
            let value: Value = serde_json::from_str(&json.next().unwrap()).unwrap();
            assert_eq!(value["event"], event, "{value}");
            let text = expected.split_once(": ").unwrap().0;
            assert_eq!(value["text"], text);
        };
        next(
            "eth0:80: problem: no interface named `eth0` has an address; available: `lo`",
            "problem",
        );
        next(
            "0.0.0.0:81: 0.0.0.0:81 added: every IPv4 address of this host",
            "added",
        );
        next("0.0.0.0:81: open to the link", "open-to");
        ip("addr add 10.0.0.1/24 dev eth0");
        next(
            "eth0:80: 10.0.0.1:80 added: 10.0.0.1, an address of eth0",
            "added",
        );
        next("eth0:80: open to private networks", "open-to");
        next("0.0.0.0:81: open to private networks", "open-to");
        ip("addr del 10.0.0.1/24 dev eth0");
        next("eth0:80: 10.0.0.1:80 removed", "removed");
        next(
            "eth0:80: problem: no interface named `eth0` has an address; available: `lo`",
            "problem",
        );
        next("0.0.0.0:81: open to the link", "open-to");
    });
}

/// An address that duplicates are looked for of cannot be bound yet.
#[test]
fn check_reports_tentative_address() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        util::netns::set("net/ipv6/conf/eth0/accept_dad", "1");
        // It takes longer than a machine is busy.
        util::netns::set("net/ipv6/conf/eth0/dad_transmits", "3");
        ip("link set eth0 addrgenmode none");
        ip("link set eth0 up");
        ip("link set far0 up");
        let mut watch = bindaddr(&["watch", "[fd00::9]:80"]);
        let mut watch = Watching(watch.stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = watch.lines();
        let absent = "[fd00::9]:80: problem: no interface of this host has fd00::9; it is in none of this host's subnets";
        assert_eq!(lines.next().unwrap(), absent);
        ip("addr add fd00::9/64 dev eth0");
        assert_eq!(
            lines.next().unwrap(),
            "[fd00::9]:80: problem: fd00::9 is tentative"
        );
        assert_eq!(
            lines.next().unwrap(),
            "[fd00::9]:80: [fd00::9]:80 added: fd00::9, an address of eth0"
        );
    });
}

#[test]
fn wait_ends_when_port_is_free() {
    in_namespace(|| {
        let held = TcpListener::bind("127.0.0.1:80").unwrap();
        let args = ["wait", "127.0.0.1:80", "--timeout", "0.2"];
        assert_eq!(run(&args).2, Some(1));
        let ends = std::thread::spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            drop(held);
        });
        let (stdout, _, code) = run(&["wait", "127.0.0.1:80", "--timeout", "60"]);
        assert!(stdout.ends_with("  binds    127.0.0.1:80\n"), "{stdout}");
        assert_eq!(code, Some(0));
        ends.join().unwrap();
    });
}

#[test]
fn warnings_can_be_allowed_and_denied() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 addrgenmode none");
        ip("link set eth0 up");
        ip("link set far0 up");
        ip("addr add 198.51.101.7/24 dev eth0");
        let message = "  warning  198.51.101.7 on eth0 is a public address: whoever can reach it can connect\n           (global-address)\n";
        for task in ["explain", "check"] {
            let (stdout, stderr, code) = run(&[task, "198.51.101.7:80"]);
            assert!(stdout.contains("(global-address)"), "{stdout} {message}");
            assert_eq!((&*stderr, code), ("", Some(0)));
            let deny = [task, "--deny", "warnings", "198.51.101.7:80"];
            assert_eq!(run(&deny).2, Some(1));
            let allow = [&deny[..], &["--allow", "global-address"]].concat();
            let (stdout, _, code) = run(&allow);
            assert_eq!(code, Some(0), "{stdout}");
            assert!(!stdout.contains("warning"), "{stdout}");
            let value = json(&[task, "--json", "198.51.101.7:80"]);
            assert_eq!(
                value["settings"][0]["warnings"][0]["name"],
                "global-address"
            );
        }
        // The command's own warnings.
        let browser = [
            "reach",
            "--scheme",
            "http",
            "--deny",
            "warnings",
            "127.0.0.1:6000",
        ];
        writes(
            &browser,
            "127.0.0.1:6000\n  http://127.0.0.1:6000/  (lo)\n  open to  this host only\n  warning  browsers refuse port 6000 \
             (browser-port)\n",
            1,
        );
        assert_eq!(
            run(&[&browser[..], &["--allow", "browser-port"]].concat()).2,
            Some(0)
        );
        let (_, stderr, code) = run(&["explain", "--allow", "no-such-warning", "127.0.0.1:0"]);
        assert!(
            stderr.starts_with("error: invalid value 'no-such-warning' for '--allow <NAME>'"),
            "{stderr}"
        );
        assert_eq!(code, Some(2));
        let (stdout, _, code) = run(&["reach", "--deny", "warnings", "198.51.101.7:80"]);
        assert!(stdout.contains("(global-address)"), "{stdout}");
        assert_eq!(code, Some(1));
        writes(
            &["reach", "--allow", "global-address", "198.51.101.7:80"],
            "198.51.101.7:80\n  198.51.101.7:80 from the network, through eth0\n  open to  the internet\n",
            0,
        );
    });
}
