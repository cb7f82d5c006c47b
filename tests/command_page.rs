//! The page about the command: its session is run, line by line, on a host like the one that it
//! describes.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use util::netns::{Host, in_namespace, ip};
use util::rerun;

const PAGE: &str = include_str!("../docs/command.md");

/// A server of another program that listens on `addr` as `user`.
fn server(user: &str, addr: &str) -> Option<Child> {
    // Every Debian has perl-base.
    let script = "use IO::Socket::INET; \
        my $s = IO::Socket::INET->new(LocalAddr => $ARGV[0], Listen => 1, ReuseAddr => 1) or die; \
        $| = 1; print \"ready\\n\"; sleep 1000;";
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={user}"),
        "--clear-groups",
        "perl",
        "-e",
        script,
        addr,
    ]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut ready = [0; 6];
    let read = std::io::Read::read_exact(child.stdout.as_mut()?, &mut ready);
    read.ok().map(|()| child)
}

/// Ends a process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the lines of the session, block by block.
fn blocks() -> Vec<&'static str> {
    let (_, session) = PAGE.split_once("## A session").unwrap();
    let (session, _) = session.split_once("\n## ").unwrap();
    let blocks = session.split("```text\n").skip(1);
    blocks
        .map(|block| block.split_once("```").unwrap().0)
        .collect()
}

/// Runs the commands of a block, and returns what a terminal would show.
fn run(block: &str, directory: &Path) -> String {
    let exe = Path::new(env!("CARGO_BIN_EXE_bindaddr"));
    let path = format!(
        "{}:{}",
        exe.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut shown = String::new();
    for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec 2>&1; {line}")])
            .current_dir(directory);
        shell.env("PATH", &path).stdin(Stdio::null());
        // In a pipe lines are not wrapped.
        if line.contains('|') {
            shell.env_remove("COLUMNS");
        } else {
            shell.env("COLUMNS", "80");
        }
        let output = shell.output().unwrap().stdout;
        let output = String::from_utf8(output).unwrap();
        shown.extend(["$ ", line, "\n", &*output]);
    }
    shown
}

/// Puts the number of the page in place of that of a process, and leaves out what depends on the
/// machine of the test: the file by which a container may be known, and a process that not even
/// root may look into.
fn as_on_page(text: &str) -> String {
    let text = text.replace(", and `/.dockerenv` is set", "");
    let unseen = "  warning  not every process could be looked into, so another one may have a\n           socket of the server as well \
                  (unseen-processes)\n";
    let text = text.replace(unseen, "");
    let mut out = String::new();
    let mut rest = &*text;
    while let Some(at) = ["(pid ", "perl ("]
        .iter()
        .filter_map(|start| Some(rest.find(start)? + start.len()))
        .min()
    {
        out += &rest[..at];
        rest = rest[at..].trim_start_matches(|c: char| c.is_ascii_digit());
        out += "4711";
    }
    out + rest
}

/// Returns the words of a text. Where its lines end, and how wide its columns are, depends on the
/// number of a process.
fn words(text: &str) -> Vec<&str> {
    text.split_ascii_whitespace().collect()
}

#[test]
fn sessions_match_the_page() {
    const TEST: &str = "sessions_match_the_page";
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 addrgenmode none");
        ip("link set far0 addrgenmode none");
        ip("link set eth0 up");
        ip("link set far0 up");
        ip("addr add 192.168.71.67/16 dev eth0");
        let Some(other) = server("65534", "127.0.0.1:9090") else {
            let reason = "this machine has no second user";
            return rerun::skip(TEST, reason, "BINDADDR_REQUIRE_USERS");
        };
        let directory = std::env::temp_dir().join(format!("bindaddr-page-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let config = |listen: &str| {
            let text = format!("[http]\nlisten = {listen}\n");
            fs::write(directory.join("server.toml"), text).unwrap();
        };
        let mut shown = Vec::new();
        let blocks = blocks();
        let mut show = |number: usize| shown.push(run(blocks[number], &directory));

        config("[\"eth0:8080\", \"localhost:9090\"]");
        let other = Running(other);
        show(0);
        drop(other);

        let own = Running(server("0", "192.168.71.67:8080").unwrap());
        config("[\"eth0:8080\", \"eht0:8443\"]");
        show(1);
        drop(own);

        ip("addr del 192.168.71.67/16 dev eth0");
        ip("addr add 192.168.71.70/16 dev eth0");
        show(2);
        show(3);

        // The other end of the cable of a container is elsewhere.
        ip("link del eth0");
        let mut outside = Host::start(TEST);
        outside.cable("eth0", "veth0");
        ip("addr flush dev eth0");
        ip("addr add 172.17.0.2/16 dev eth0");
        show(4);

        ip("addr add 203.0.113.7/24 dev eth0");
        let _web = Running(server("0", "0.0.0.0:80").unwrap());
        let _ssh = Running(server("0", "172.17.0.2:22").unwrap());
        show(5);
        fs::remove_dir_all(&directory).unwrap();

        for (shown, block) in shown.iter().zip(blocks) {
            assert_eq!(words(&as_on_page(shown)), words(block));
        }
    });
}
