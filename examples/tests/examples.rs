//! The examples, run as a user runs them.
//!
//! `cargo test` builds them first; `cargo test --test examples` does not, and
//! runs what was built before.

// Namespaces are made as in the library's own tests, of which this uses a part.
#[allow(dead_code)]
#[path = "../../tests/util/netns.rs"]
mod netns;
#[allow(dead_code)]
#[path = "../../tests/util/rerun.rs"]
mod rerun;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

/// An example that cargo has built beside this test.
fn example(name: &str) -> Command {
    let test = env::current_exe().expect("a test has a file");
    let profile = test.ancestors().nth(2).expect("target/debug/deps/test");
    let mut command = Command::new(profile.join("examples").join(name));
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn output(command: &mut Command) -> (Output, String, String) {
    let output = command.output().expect("the example runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it writes text");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

/// Adds an interface with an address, which runs when its other end `far0` is up.
fn add_eth0() {
    netns::ip("link add name eth0 type veth peer name far0");
    netns::ip("link set eth0 up");
    netns::ip("addr add 192.168.71.67/16 dev eth0");
}

/// A server that is stopped when the test is over.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn serve_prints_and_serves_each_url() {
    for (written, meaning, urls) in [
        (
            None,
            "localhost:0 means this host only (127.0.0.1 and ::1)",
            2,
        ),
        (
            Some("127.0.0.1:0"),
            "127.0.0.1:0 means this host only (127.0.0.1)",
            1,
        ),
        (
            Some("*:0"),
            "*:0 means every IPv4 and IPv6 address of this host",
            1,
        ),
    ] {
        let mut command = example("serve");
        command.args(written).stdout(Stdio::piped());
        let mut server = Server(command.spawn().expect("the example runs"));
        let mut lines = BufReader::new(server.0.stdout.take().expect("it is piped")).lines();
        let mut line = || lines.next().expect("it goes on").expect("it writes text");

        assert_eq!(line(), meaning);
        let mut opened = 0;
        while opened < urls {
            let line = line();
            let Some((label, url)) = line.split_once("http://") else {
                assert!(line.starts_with("listening on "), "{line}");
                continue;
            };
            assert_eq!(label, "  Local:    ");
            let (authority, _) = url.split_once('/').expect("a URL");
            let mut client = TcpStream::connect(authority).expect("the server is there");
            write!(client, "GET / HTTP/1.1\r\nHost: {authority}\r\n\r\n").expect("it reads");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("it answers");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(
                answer.ends_with(&format!(", you reached {authority}.\n")),
                "{answer}"
            );
            opened += 1;
        }
    }
}

#[test]
fn serve_reports_error_and_exits_with_1() {
    let (run, stdout, stderr) = output(example("serve").arg("127.0.0.1"));
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(stdout, "");
    assert_eq!(
        stderr,
        "error: invalid listen address \"127.0.0.1\": the port is missing; write `127.0.0.1:8080`\n",
    );

    let held = bindaddr::bind("127.0.0.1:0").expect("loopback is there");
    let addr = held.as_slice()[0].local_addr();
    let (run, stdout, stderr) = output(example("serve").arg(addr.to_string()));
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(stdout, format!("{addr} means this host only (127.0.0.1)\n"));
    let mut said = stderr.lines();
    let error = said.next().expect("it says what is wrong");
    if !cfg!(target_os = "linux") {
        // The holder is named on Linux only.
        let sentence = format!(
            "cannot listen on {addr}: port {} is in use by another socket",
            addr.port()
        );
        assert_eq!(error, format!("error: {sentence}"));
        return;
    }
    let sentence = format!(
        "error: cannot listen on {addr}: port {} is in use: `",
        addr.port()
    );
    assert!(error.starts_with(&sentence), "{error}");
    // This is another process than the example.
    let holder = format!("` (pid {}, uid ", std::process::id());
    assert!(error.contains(&holder), "{error}");
    assert!(error.ends_with(") listens on 127.0.0.1"), "{error}");
    // No hint helps against a port of a process that is named.
    assert_eq!(said.last(), None);
}

#[test]
fn serve_takes_a_list_with_an_interface() {
    netns::in_namespace(|| {
        add_eth0();
        let mut command = example("serve");
        command.args(["ipv4@eth0:5000, -ipv4@eth1:5000", "127.0.0.1:5000"]);
        let mut server = Server(
            command
                .stdout(Stdio::piped())
                .spawn()
                .expect("the example runs"),
        );
        let lines = BufReader::new(server.0.stdout.take().expect("it is piped")).lines();
        let printed: Vec<String> = lines
            .take(7)
            .map(|line| line.expect("invalid-text"))
            .collect();
        assert_eq!(
            printed,
            [
                "ipv4@eth0:5000 means 192.168.71.67, an address of eth0 (not running)",
                "127.0.0.1:5000 means this host only (127.0.0.1)",
                "not listening on -ipv4@eth1:5000: no interface named `eth1` has an address; available: `eth0`, `lo`",
                "listening on 192.168.71.67:5000",
                "listening on 127.0.0.1:5000",
                "  Local:    http://127.0.0.1:5000/",
                "  Network:  http://192.168.71.67:5000/  (eth0; its interface is not running)",
            ]
        );
    });
}

#[test]
fn guard_refuses_exposure_without_token() {
    netns::in_namespace(|| {
        add_eth0();
        netns::ip("link set far0 up");
        let run = |setting: &str, token: &str| {
            let (run, stdout, stderr) = output(example("guard").arg(setting).env("TOKEN", token));
            (run.status.code(), stdout, stderr)
        };
        let local = "  Local:    http://127.0.0.1:5000/\n";
        assert_eq!(
            run("127.0.0.1:5000", ""),
            (Some(0), local.to_owned(), String::new())
        );
        assert_eq!(
            run("0.0.0.0:5000", ""),
            (
                Some(1),
                String::new(),
                "error: 0.0.0.0:5000 is open to private networks; set TOKEN, or listen on localhost\n"
                    .to_owned(),
            ),
        );
        let network = format!("{local}  Network:  http://192.168.71.67:5000/  (eth0)\n");
        assert_eq!(
            run("0.0.0.0:5000", "secret"),
            (Some(0), network, String::new())
        );
    });
}

#[test]
fn config_reads_separate_host_and_port() {
    let (run, stdout, stderr) = output(&mut example("config"));
    assert!(run.status.success(), "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], "host means this host only (127.0.0.1)");
    assert!(lines[1].starts_with("listening on 127.0.0.1:"), "{stdout}");

    let file = env::temp_dir().join(format!("bindaddr-config-{}", std::process::id()));
    for (text, said) in [
        ("port = 80\n", "error: `host` is missing\n"),
        (
            "host = 127.0.0.1:80\nport = 80\n",
            "error: invalid listen address \"127.0.0.1:80\": expected a host without the port `80`; write `127.0.0.1`\n",
        ),
        (
            "host = 224.0.0.1\nport = 80\n",
            "error: host: 224.0.0.1, which no interface of this host has; it is a multicast address\n",
        ),
    ] {
        std::fs::write(&file, text).expect("a temporary file");
        let (run, _, stderr) = output(example("config").arg(&file));
        assert_eq!((run.status.code(), &*stderr), (Some(1), said));
    }
    let _ = std::fs::remove_file(file);
}

#[test]
fn serve_output_matches_readme() {
    netns::in_namespace(|| {
        add_eth0();
        netns::ip("link set far0 up");
        let mut command = example("serve");
        command.arg("0.0.0.0:5000").stdout(Stdio::piped());
        let mut server = Server(command.spawn().expect("the example runs"));
        let lines = BufReader::new(server.0.stdout.take().expect("it is piped")).lines();
        let printed: Vec<String> = lines
            .take(4)
            .map(|line| line.expect("invalid-text"))
            .collect();
        let block = format!("```text\n{}\n```\n", printed.join("\n"));
        assert!(include_str!("../../README.md").contains(&block), "{block}");
    });
}
