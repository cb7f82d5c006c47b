//! `bindaddr run`: servers in several languages that are given their sockets.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use util::command::{bindaddr, run, texts};
use util::netns::{Host, connects, in_namespace, ip};
use util::rerun;

/// The command, which is the server by now.
struct Running(Child);

impl Running {
    fn start(args: &[&str], directory: &PathBuf) -> Self {
        let mut command = bindaddr(&[&["run"], args].concat());
        command
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Returns what the server answers, once it does.
    #[track_caller]
    fn answer(&mut self, addr: &str) -> String {
        let addr: SocketAddr = addr.parse().unwrap();
        let begun = Instant::now();
        loop {
            let ended = self.0.try_wait().unwrap();
            assert!(ended.is_none(), "it has ended: {ended:?}");
            // The kernel accepts clients before the server does.
            if let Some(answer) = get(addr) {
                return answer;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "no answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Requests `/` and returns the last line of the answer.
fn get(addr: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(addr).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    let request = format!("GET / HTTP/1.0\r\nHost: {addr}\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.trim().to_owned())
}

/// A directory with the servers.
fn servers(test: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("bindaddr-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let files = [
        (
            "app.py",
            "from flask import Flask\napp = Flask(__name__)\n@app.route('/')\ndef hello(): return 'Hello from Flask'\n",
        ),
        (
            "wsgi.py",
            "def app(environ, start):\n    start('200 OK', [('Content-Type', 'text/plain')])\n    return [b'Hello from gunicorn']\n",
        ),
        (
            "asgi.py",
            "async def app(scope, receive, send):\n    if scope['type'] != 'http': return\n    await send({'type': \
             'http.response.start', 'status': 200, 'headers': []})\n    await send({'type': 'http.response.body', 'body': b'Hello \
             from uvicorn'})\n",
        ),
        (
            "server.js",
            "require('http').createServer((request, response) => response.end('Hello from Node')).listen({fd: 3});\n",
        ),
    ];
    for (name, content) in files {
        std::fs::write(directory.join(name), content).unwrap();
    }
    directory
}

/// Returns the words that start Python with a module, where there is one.
fn python(module: &str) -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| {
        let mut import = Command::new(python);
        import
            .args(["-c", &format!("import {module}")])
            .stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    })
}

/// The two hosts, with Flask's own server.
#[test]
fn four_binds_with_flask() {
    const TEST: &str = "four_binds_with_flask";
    in_namespace(|| {
        let Some(python) = python("flask") else {
            return rerun::skip(TEST, "no Flask", "BINDADDR_REQUIRE_FLASK");
        };
        let mut laptop = Host::start(TEST);
        laptop.cable("eth0", "eth0");
        ip("addr add 192.168.71.67/16 dev eth0");
        laptop.ip("addr add 192.168.158.94/16 dev eth0");
        let directory = servers(TEST);
        let flask = |text: &str| -> Vec<String> {
            let words = [
                text,
                "--fd-env",
                "WERKZEUG_SERVER_FD",
                "--",
                "env",
                "WERKZEUG_RUN_MAIN=true",
                python,
                "-m",
                "flask",
                "--app",
                "app",
                "run",
            ];
            words.map(str::to_owned).to_vec()
        };
        // Reports whether clients connect over loopback, and over the network address from here and
        // from the laptop.
        for (host, expected) in [
            ("127.0.0.1", [true, false, false]),
            ("192.168.71.67", [false, true, true]),
            ("0.0.0.0", [true, true, true]),
        ] {
            let words = flask(&format!("{host}:5000"));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut server = Running::start(&words, &directory);
            let own = if host == "192.168.71.67" {
                host
            } else {
                "127.0.0.1"
            };
            assert_eq!(server.answer(&format!("{own}:5000")), "Hello from Flask");
            let address = "192.168.71.67:5000".parse().unwrap();
            let found = [
                connects("127.0.0.1:5000".parse().unwrap()),
                connects(address),
                laptop.connects(address),
            ];
            assert_eq!(found, expected, "{host}");
        }
        let words = flask("192.168.158.94:5000");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (stdout, stderr, code) = run(&[&["run"], &words[..]].concat());
        assert_eq!((&*stdout, code), ("", Some(1)));
        assert_eq!(
            stderr,
            "error: cannot listen on 192.168.158.94:5000\n  no interface of this host has 192.168.158.94; it is in eth0's \
             subnet (192.168.71.67/16) but not assigned to this host; closest local address: 192.168.71.67\n    hint: \
             `192.168.71.67:5000` is the closest local address\n    hint: `0.0.0.0:5000` listens on every IPv4 address of this \
             host, reachable from private networks\n"
        );
        std::fs::remove_dir_all(directory).unwrap();
    });
}

#[test]
fn servers_of_other_languages_serve() {
    const TEST: &str = "servers_of_other_languages_serve";
    in_namespace(|| {
        let directory = servers(TEST);
        let has = |program: &str| {
            let mut version = Command::new(program);
            version
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            version.status().is_ok_and(|status| status.success())
        };
        let uvicorn = python("uvicorn").unwrap_or("python3");
        for (is_here, required, command, answer) in [
            (
                has("gunicorn"),
                "BINDADDR_REQUIRE_GUNICORN",
                &["gunicorn", "wsgi:app"][..],
                "Hello from gunicorn",
            ),
            (
                has("node"),
                "BINDADDR_REQUIRE_NODE",
                &["node", "server.js"],
                "Hello from Node",
            ),
            (
                python("uvicorn").is_some(),
                "BINDADDR_REQUIRE_UVICORN",
                &[uvicorn, "-m", "uvicorn", "--fd", "3", "asgi:app"],
                "Hello from uvicorn",
            ),
        ] {
            if !is_here {
                rerun::skip(TEST, command[0], required);
                continue;
            }
            let args = [&["127.0.0.1:8000", "--at-most", "this-host", "--"], command].concat();
            let mut server = Running::start(&args, &directory);
            assert_eq!(server.answer("127.0.0.1:8000"), answer);
        }
        std::fs::remove_dir_all(directory).unwrap();
    });
}

#[test]
fn command_has_the_sockets_of_the_protocol() {
    in_namespace(|| {
        let script = "echo $LISTEN_FDS $LISTEN_FDNAMES $NUMBER; [ $LISTEN_PID = $$ ] && echo own; readlink /proc/self/fd/3 \
                      /proc/self/fd/4 /proc/self/fd/5 | cut -c 1-7";
        let args = [
            "run",
            "localhost:80",
            "127.0.0.1:81",
            "--fd-env",
            "NUMBER",
            "--",
            "sh",
            "-c",
            script,
        ];
        let mut command = bindaddr(&args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let pid = child.id();
        let (stdout, stderr, code) = texts(child.wait_with_output().unwrap());
        assert_eq!(
            stdout, "3 listen-0:listen-1:listen-2 3\nown\nsocket:\nsocket:\nsocket:\n",
            "{pid}"
        );
        assert_eq!(
            stderr,
            "listening on 127.0.0.1:80 (descriptor 3)\nlistening on [::1]:80 (descriptor 4)\nlistening on 127.0.0.1:81 \
             (descriptor 5)\nopen to this host only\nwarning: the variable of `--fd-env` has the first descriptor only\n"
        );
        assert_eq!(code, Some(0));
        let named = [
            "run",
            "--name",
            "http",
            "127.0.0.1:82, 127.0.0.1:83",
            "--",
            "sh",
            "-c",
            "echo $LISTEN_FDNAMES",
        ];
        assert_eq!(run(&named).0, "http:http\n");
        assert_eq!(
            run(&["run", "--name", "a:b", "127.0.0.1:82", "--", "true"]).2,
            Some(2)
        );
        for variable in ["", "A=B", "LISTEN_FDS"] {
            let (_, stderr, code) =
                run(&["run", "--fd-env", variable, "127.0.0.1:82", "--", "true"]);
            assert!(stderr.contains("'--fd-env <NAME>'"), "{stderr}");
            assert_eq!(code, Some(2));
        }
        let (_, stderr, _) = run(&["run", "127.0.0.1:82", "true"]);
        assert!(
            stderr.ends_with("<COMMAND>...; put `--` before it\n"),
            "{stderr}"
        );
        // The status is that of the command.
        assert_eq!(
            run(&["run", "--udp", "127.0.0.1:53", "--", "sh", "-c", "exit 42"]).2,
            Some(42)
        );
    });
}

#[test]
fn command_does_not_run_without_its_sockets() {
    in_namespace(|| {
        ip("link add name eth0 type veth peer name far0");
        ip("link set eth0 up");
        ip("link set far0 up");
        ip("addr add 192.168.71.67/16 dev eth0");
        let message = |args: &[&str]| {
            let (stdout, stderr, code) =
                run(&[&["run"], args, &["--", "echo", "it runs"]].concat());
            (stdout, stderr.lines().next().unwrap().to_owned(), code)
        };
        let refused = |line: &str| (String::new(), line.to_owned(), Some(1));
        assert_eq!(
            message(&["eth0:80", "--at-most", "link"]),
            refused("error: it would be open to private networks, and `--at-most` allows the link")
        );
        assert_eq!(
            message(&["10.0.0.1:80"]),
            refused("error: cannot listen on 10.0.0.1:80")
        );
        let (stdout, first, code) = message(&["10.0.0.1:80", "--wait", "0.1"]);
        assert!(
            first.starts_with("waiting up to 0.1 s: cannot listen on 10.0.0.1:80: "),
            "{first}"
        );
        assert_eq!((&*stdout, code), ("", Some(1)));
        // It comes in time.
        let comes = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            ip("addr add 10.0.0.1/24 dev eth0");
        });
        let (stdout, _, code) = message(&["10.0.0.1:80", "--wait", "60"]);
        assert_eq!((&*stdout, code), ("it runs\n", Some(0)));
        comes.join().unwrap();
        let (_, stderr, code) = run(&["run", "127.0.0.1:80", "--", "no-such-command"]);
        assert!(
            stderr.ends_with(
                "error: cannot run `no-such-command`: No such file or directory (os error 2)\n"
            ),
            "{stderr}"
        );
        assert_eq!(code, Some(127));
        let (_, _, code) = run(&["run", "127.0.0.1:80", "--", "/etc/passwd"]);
        assert_eq!(code, Some(126));
        assert_eq!(run(&["run", "127.0.0.1:80"]).2, Some(2));
    });
}

/// `AF_NETLINK`, and `EAFNOSUPPORT`.
#[cfg(target_arch = "x86_64")]
#[test]
fn exposure_is_unknown_without_interfaces() {
    let args = ["run", "0.0.0.0:0", "--", "true"];
    let at_most = [&args[..2], &["--at-most", "shared"], &args[2..]].concat();
    let outputs = std::thread::spawn(move || {
        util::sandbox::refuse_family(16, 97);
        [run(&args), run(&at_most)]
    });
    let [(_, stderr, code), (_, refused, refused_code)] = outputs.join().unwrap();
    let (listening, open_to) = stderr.split_once('\n').unwrap();
    assert!(listening.starts_with("listening on 0.0.0.0:"), "{stderr}");
    assert_eq!(
        open_to,
        "warning: it is unknown who can connect: cannot read the interfaces of this host\n"
    );
    assert_eq!(code, Some(0));
    assert_eq!(refused, "error: cannot read the interfaces of this host\n");
    assert_eq!(refused_code, Some(1));
}
