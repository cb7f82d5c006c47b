//! Each server run from a config file, with curl or a UDP client as its client.

#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A server that is stopped when the test is over.
struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command of a server whose config file says `config`.
fn command(exe: &str, name: &str, config: &str) -> Command {
    let file = format!("{}-{name}.toml", exe.rsplit('/').next().unwrap_or_default());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(exe);
    command.arg(path).stdin(Stdio::null());
    command
}

/// Starts a server and returns it with the authorities of the URLs that it prints.
fn start(exe: &str, name: &str, config: &str, urls: usize) -> (Server, Vec<String>) {
    let mut process = command(exe, name, config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(process.stdout.take().unwrap());
    let mut server = Server { process, stdout };
    let mut found = Vec::new();
    while found.len() < urls {
        let mut line = String::new();
        assert_ne!(
            server.stdout.read_line(&mut line).unwrap(),
            0,
            "it printed {found:?}"
        );
        let url = line
            .split_ascii_whitespace()
            .find_map(|word| word.split_once("://"));
        found.extend(url.map(|(_, rest)| rest.trim_end_matches('/').to_owned()));
    }
    (server, found)
}

/// Returns the page and the status that curl gets from a server.
fn curl(authority: &str, token: Option<&str>) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--retry-connrefused",
        "--retry",
        "5",
    ]);
    if let Some(token) = token {
        curl.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let output = curl
        .args([
            "--write-out",
            "%{http_code}",
            &format!("http://{authority}/"),
        ])
        .output()
        .expect("curl is installed");
    let out = String::from_utf8(output.stdout).unwrap();
    let (page, status) = out.split_at(out.len() - 3);
    (page.to_owned(), status.to_owned())
}

fn serves_on_each_address_and_keeps_strangers_out(exe: &str) {
    // Both loopback addresses, on a port of each.
    let config = "listen = [\"localhost:0\", \"127.0.0.1:0\"]\n";
    let (server, urls) = start(exe, "open", config, 2);
    for url in &urls {
        assert_eq!(
            curl(url, None),
            ("Hello\n".to_owned(), "200".to_owned()),
            "{url}"
        );
    }
    drop(server);

    let config = "listen = 0\ntoken = \"secret\"\n";
    let (server, urls) = start(exe, "token", config, 1);
    let url = &urls[0];
    assert_eq!(curl(url, None), (String::new(), "401".to_owned()));
    assert_eq!(curl(url, Some("guess")).1, "401");
    assert_eq!(
        curl(url, Some("secret")),
        ("Hello\n".to_owned(), "200".to_owned())
    );
    drop(server);

    refuses_what_is_wrong(exe);
}

fn refuses_what_is_wrong(exe: &str) {
    for (name, config, message) in [
        (
            "exposed",
            "listen = \"*:0\"\n",
            "set a token: *:0 is open to ",
        ),
        (
            "mistake",
            "listen = \"::1:80\"\n",
            "write `[::1:80]:8080` for the address or `[::1]:80` for port 80",
        ),
        (
            "missing",
            "listen = \"198.51.100.1:0\"\ntoken = \"secret\"\n",
            "no interface of this host has 198.51.100.1",
        ),
    ] {
        let output = command(exe, name, config).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{stderr}"
        );
        assert!(
            stderr.starts_with("Error: ") && stderr.contains(message),
            "{message}: {stderr}"
        );
    }
}

/// Reads a line of the server that begins with `start`, and returns the rest.
fn line(server: &mut Server, start: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(server.stdout.read_line(&mut line).unwrap(), 0, "{start}");
        if let Some(rest) = line.trim_end().strip_prefix(start) {
            return rest.to_owned();
        }
    }
}

/// A SIGHUP opens and closes sockets, and a mistake in the config changes nothing.
#[cfg(unix)]
fn reloads(exe: &str) {
    let ok = ("Hello\n".to_owned(), "200".to_owned());
    let (mut server, urls) = start(exe, "reload", "listen = \"127.0.0.1:0\"\n", 1);
    assert_eq!(curl(&urls[0], None), ok);
    hang_up(
        exe,
        &server,
        "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n",
    );
    let opened = line(&mut server, "opened ");
    assert_eq!(
        (curl(&urls[0], None), curl(&opened, None)),
        (ok.clone(), ok.clone())
    );
    hang_up(exe, &server, "listen = [\"127.0.0.1:0\", \"::1:80\"]\n");
    hang_up(exe, &server, "listen = \"127.0.0.1:0\"\n");
    assert_eq!(line(&mut server, "closed "), opened);
    assert_eq!(curl(&urls[0], None), ok);
}

#[test]
fn threads_server_answers_and_reloads() {
    serves_on_each_address_and_keeps_strangers_out(env!("CARGO_BIN_EXE_threads"));
    #[cfg(unix)]
    reloads(env!("CARGO_BIN_EXE_threads"));
}

#[test]
fn axum_server_answers_and_reloads() {
    serves_on_each_address_and_keeps_strangers_out(env!("CARGO_BIN_EXE_axum"));
    #[cfg(unix)]
    reloads(env!("CARGO_BIN_EXE_axum"));
}

#[test]
fn hyper_server_answers_and_reloads() {
    serves_on_each_address_and_keeps_strangers_out(env!("CARGO_BIN_EXE_hyper"));
    #[cfg(unix)]
    reloads(env!("CARGO_BIN_EXE_hyper"));
}

#[test]
fn actix_server_answers() {
    serves_on_each_address_and_keeps_strangers_out(env!("CARGO_BIN_EXE_actix"));
}

#[test]
fn udp_echo_server_answers_and_reloads() {
    let exe = env!("CARGO_BIN_EXE_udp_echo");
    let (_server, addrs) = start(exe, "open", "listen = \"127.0.0.1:0\"\n", 1);
    assert_eq!(first_echo(&addrs[0], &[b"hello"]), b"hello");
    let config = "listen = \"*:0\"\ntoken = \"secret\"\n";
    let (_server, addrs) = start(exe, "token", config, 1);
    assert_eq!(first_echo(&addrs[0], &[b"lost", b"secrethello"]), b"hello");
    refuses_what_is_wrong(exe);
    #[cfg(unix)]
    {
        let (mut server, addrs) = start(exe, "reload", "listen = \"127.0.0.1:0\"\n", 1);
        assert_eq!(first_echo(&addrs[0], &[b"hello"]), b"hello");
        hang_up(
            exe,
            &server,
            "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n",
        );
        let opened = line(&mut server, "opened ");
        for addr in [&addrs[0], &opened] {
            assert_eq!(first_echo(addr, &[b"hello"]), b"hello");
        }
        hang_up(exe, &server, "listen = \"127.0.0.1:0\"\n");
        assert_eq!(line(&mut server, "closed "), opened);
        assert_eq!(first_echo(&addrs[0], &[b"hello"]), b"hello");
    }
}

/// Has the server read another config.
#[cfg(unix)]
fn hang_up(exe: &str, server: &Server, config: &str) {
    // It writes the file that the server reads.
    let _ = command(exe, "reload", config);
    let pid = server.process.id().to_string();
    let status = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(status.expect("kill is there").success());
}

/// The first that comes back of what is sent, one after another.
fn first_echo(addr: &str, datagrams: &[&[u8]]) -> Vec<u8> {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let timeout = Some(Duration::from_secs(20));
    client.set_read_timeout(timeout).unwrap();
    for datagram in datagrams {
        client.send_to(datagram, addr).unwrap();
    }
    let mut echo = [0; 64];
    let len = client.recv(&mut echo).unwrap();
    echo[..len].to_vec()
}
