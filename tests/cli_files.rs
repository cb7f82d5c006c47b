//! The command on config files: what is found in each format, where, and what is wrong with it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use util::command::{bindaddr, run, run_with, texts};

/// A directory of a test.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.0.join(name), content).unwrap();
    }

    /// Runs the command in the directory.
    fn run(&self, args: &[&str]) -> (String, String, Option<i32>) {
        texts(bindaddr(args).current_dir(&self.0).output().unwrap())
    }

    /// Returns the headings, which have the places of settings.
    #[track_caller]
    fn headings(&self, args: &[&str], status: i32) -> Vec<String> {
        let (stdout, stderr, code) = self.run(args);
        assert_eq!((&*stderr, code), ("", Some(status)), "{stdout}");
        let headings = stdout.lines().filter(|line| !line.starts_with(' '));
        headings.map(str::to_owned).collect()
    }

    /// Returns the error of a file that is of no use.
    #[track_caller]
    fn error(&self, args: &[&str]) -> String {
        let (stdout, stderr, code) = self.run(args);
        assert_eq!((&*stdout, code), ("", Some(2)), "{stderr}");
        stderr
    }
}

#[test]
fn each_format_has_places() {
    let files = Files::new("each_format_has_places");
    files.write(
        "server.toml",
        "title = 'x'\n[[server]]\nlisten = ['127.0.0.1:0',\n  0x0]\n[http]\nlisten = \"localhost:0, [::1]:0\"\n",
    );
    files.write(
        "server.json",
        "{\"title\": \"\\u0000\",\n \"server\": [{\"listen\": [\"127.0.0.1:0\",\n 0]}]}\n",
    );
    files.write(
        "server.yaml",
        "defaults: &own\n  listen: '[::1]:0'\nserver:\n  - *own\n  - <<: *own\n  - listen:\n      - 127.0.0.1:0\n      - 0\n",
    );
    files.write(
        "server.ini",
        "; the office\n[server]\nlisten = 127.0.0.1:0 ; here\n[other]\nlisten=\"[::1]:0\"\n",
    );
    files.write(
        "listen.list",
        "# the office\n127.0.0.1:0 # here\n\n[::1]:0\n",
    );
    for (name, expected) in [
        (
            "server.toml",
            &[
                "3: server[0].listen[0]: 127.0.0.1:0",
                "4: server[0].listen[1]: 0",
                "6: http.listen: localhost:0",
                "6: http.listen: [::1]:0",
            ][..],
        ),
        (
            "server.json",
            &[
                "2: server[0].listen[0]: 127.0.0.1:0",
                "3: server[0].listen[1]: 0",
            ],
        ),
        (
            "server.yaml",
            &[
                "2: defaults.listen: [::1]:0",
                "4: server[0].listen: [::1]:0",
                "5: server[1].<<.listen: [::1]:0",
                "7: server[2].listen[0]: 127.0.0.1:0",
                "8: server[2].listen[1]: 0",
            ],
        ),
        (
            "server.ini",
            &["3: server.listen: 127.0.0.1:0", "5: other.listen: [::1]:0"],
        ),
        ("listen.list", &["2: 127.0.0.1:0", "4: [::1]:0"]),
    ] {
        let expected: Vec<String> = expected
            .iter()
            .map(|found| format!("{name}:{found}"))
            .collect();
        assert_eq!(files.headings(&["check", name], 0), expected);
        // Whatever its name, with the format.
        let other = name.replace('.', "-");
        fs::copy(files.0.join(name), files.0.join(&other)).unwrap();
        let (_, extension) = name.rsplit_once('.').unwrap();
        let expected: Vec<String> = expected
            .iter()
            .map(|found| found.replace(name, &other))
            .collect();
        let args = ["check", "--format", extension, &other];
        assert_eq!(files.headings(&args, 0), expected);
        let unknown =
            format!("error: {other}: its name does not tell its format; name it with `--format`\n");
        assert_eq!(files.error(&["check", &other]), unknown);
    }
}

#[test]
fn sockets_of_a_unit_are_read() {
    let files = Files::new("sockets_of_a_unit_are_read");
    files.write(
        "server.socket",
        "[Unit]\nListenStream=1\n[Socket]\nListenStream=127.0.0.1:1\nListenStream=\nListenStream=0\nListenStream=/run/x.sock\n\
         ListenStream=[::]:0\nListenDatagram=127.0.0.1:0\nListenStream=127.0.0.1:%i\nBindIPv6Only=ipv6-only\n",
    );
    let (stdout, stderr, code) = files.run(&["check", "server.socket"]);
    assert_eq!((&*stderr, code), ("", Some(0)), "{stdout}");
    let found: Vec<&str> = stdout
        .lines()
        .filter(|line| !line.contains("open to"))
        .collect();
    assert_eq!(
        found,
        [
            "server.socket:6: ListenStream: 0",
            "  means    every IPv6 address of this host",
            "  binds    [::]:0",
            "server.socket:7: ListenStream: /run/x.sock",
            "  skipped  a Unix socket, which is not checked",
            "server.socket:8: ListenStream: [::]:0",
            "  means    every IPv6 address of this host",
            "  binds    [::]:0",
            "server.socket:9: ListenDatagram: 127.0.0.1:0",
            "  means    this host only, by 127.0.0.1",
            "  binds    127.0.0.1:0",
            "server.socket:10: ListenStream: 127.0.0.1:%i",
            "  warning  a specifier of the unit, whose value is not known here (unread)",
        ]
    );
}

#[test]
fn listen_directives_of_nginx_are_read() {
    let files = Files::new("listen_directives_of_nginx_are_read");
    let config = "http {\n  include mime.types; include conf.d/*.conf; # others\n  server { listen 0 default_server; \
                  listen [::]:0 ssl; server_name \"a;\nlisten 1;\"; }\n  server { listen 127.0.0.1:0; listen unix:/x; \
                  listen localhost:0; listen [::1]; listen $addr; }\n  server { listen 127.0.0.1:80; listen 80; }\n}\n";
    files.write("nginx.conf", config);
    let (stdout, stderr, code) = files.run(&["check", "--json", "nginx.conf"]);
    assert_eq!((&*stderr, code), ("", Some(0)), "{stdout}");
    let value: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let settings = value["settings"].as_array().unwrap().iter();
    let found: Vec<String> = settings
        .map(|setting| {
            let sockets = setting["sockets"].as_array().unwrap().iter();
            let addrs: Vec<&str> = sockets
                .map(|socket| socket["addr"].as_str().unwrap())
                .collect();
            let why = [&setting["skipped_because"], &setting["unread_because"]];
            let why: Vec<&str> = why.iter().filter_map(|why| why.as_str()).collect();
            let (line, text) = (&setting["place"]["line"], setting["text"].as_str().unwrap());
            format!("{line} {text}: {}{}", addrs.join(" "), why.join(" "))
        })
        .collect();
    assert_eq!(
        found,
        [
            "2 conf.d/*.conf: it is not read; name it as well",
            "3 0: 0.0.0.0:0",
            "3 [::]:0: [::]:0",
            "5 127.0.0.1:0: served by the wildcard on the same port",
            "5 unix:/x: a Unix socket, which is not checked",
            "5 localhost:0: served by the wildcard on the same port",
            "5 [::1]: [::1]:80",
            "5 $addr: a variable, whose value is not known here",
            "6 127.0.0.1:80: served by the wildcard on the same port",
            "6 80: 0.0.0.0:80",
        ]
    );
    files.write("one.conf", "server { listen 0; listen localhost:0; }\n");
    let (stdout, _, _) = files.run(&["check", "one.conf"]);
    assert!(!stdout.contains("skipped"), "{stdout}");
    files.write("broken.conf", "server {\n listen \"80;\n}\n");
    assert_eq!(
        files.error(&["check", "broken.conf"]),
        "error: broken.conf:2: a quotation mark is missing\n"
    );
}

#[test]
fn hosts_and_ports_may_have_keys_of_their_own() {
    let files = Files::new("hosts_and_ports_may_have_keys_of_their_own");
    files.write(
        "server.toml",
        "[http]\nhost = '::1'\nport = 0\n[[admin]]\nhost = ['127.0.0.1', '::1']\nport = '0'\n[[admin]]\nhost = '10.0.0.1:80'\n\
         port = 99999\n",
    );
    let (stdout, stderr, code) = files.run(&[
        "check",
        "--key",
        "host",
        "--port-key",
        "port",
        "server.toml",
    ]);
    assert_eq!((&*stderr, code), ("", Some(1)), "{stdout}");
    let lines: Vec<&str> = stdout
        .lines()
        .filter(|line| line.contains("binds") || line.contains("problem") || !line.starts_with(' '))
        .collect();
    assert_eq!(
        lines,
        [
            "server.toml:2: http.host: ::1",
            "  binds    [::1]:0",
            "server.toml:5: admin[0].host[0]: 127.0.0.1",
            "  binds    127.0.0.1:0",
            "server.toml:5: admin[0].host[1]: ::1",
            "  binds    [::1]:0",
            "server.toml:8: admin[1].host: 10.0.0.1:80",
            "  problem  `admin[1].port` on line 9 is not a port (a number from 0 to 65535)",
        ]
    );
    let with = |args: &[&str]| {
        let args = [
            &["check", "--json", "--key", "http.host"],
            args,
            &["server.toml"],
        ]
        .concat();
        let (stdout, stderr, _) = files.run(&args);
        let value: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_default();
        let addr = value["settings"][0]["sockets"][0]["addr"].as_str();
        addr.map_or(stderr, str::to_owned)
    };
    assert_eq!(with(&["--port", "0"]), "[::1]:0");
    assert_eq!(with(&["--default-port", "0"]), "[::1]:0");
    assert_eq!(
        with(&["--port", "0", "--default-port", "1"]),
        "error: the argument '--port <PORT>' cannot be used with '--default-port <PORT>'\n"
    );
    assert_eq!(
        files.error(&["check", "--key", "host", "--port-key", "p", "server.toml"]),
        "error: server.toml: the key `p` of `--port-key` is not in the file\n"
    );
}

#[test]
fn bad_file_does_not_hide_the_others() {
    let files = Files::new("bad_file_does_not_hide_the_others");
    files.write("good.toml", "listen = '127.0.0.1:0'\n");
    files.write("bad.toml", "[a]\nlisten = 127.0.0.1:0\n");
    files.write("other.toml", "[a]\nbind = 1\n[b]\nbind = 2\naddr = 3\n");
    files.write("bad.json", "{\"listen\":\n [1,]}");
    files.write("bad.yaml", "a: [1\nlisten: 2\n");
    files.write("empty.list", "# nothing\n");
    files.write("escape.toml", "listen = \"\x1b]0;x\x07\"\n");
    fs::write(files.0.join("latin.toml"), b"listen = '\xe9'\n").unwrap();
    let bad = [
        ("bad.toml:2", ""),
        (
            "other.toml",
            "the key `listen` is not in the file; `--key` names another: `a.bind`, `b.bind`, `b.addr`",
        ),
        ("bad.json:2", "trailing comma"),
        ("missing.toml", "no such file"),
        ("empty.list", "it contains no listen address"),
        ("latin.toml", "stream did not contain valid UTF-8"),
    ];
    let names = bad.map(|(place, _)| place.split(':').next().unwrap());
    let args = [&["check", "good.toml"][..], &names].concat();
    let (stdout, stderr, code) = files.run(&args);
    assert!(
        stdout.starts_with("good.toml:1: listen: 127.0.0.1:0\n  means "),
        "{stdout}"
    );
    let told: Vec<&str> = stderr.lines().collect();
    assert_eq!(told.len(), bad.len(), "{stderr}");
    for (told, (place, what)) in told.iter().zip(bad) {
        assert!(
            told.starts_with(&format!("error: {place}: {what}")),
            "{told}"
        );
    }
    assert_eq!(code, Some(2));
    // Of these the library has its own words.
    for name in ["bad.yaml:2", "escape.toml:1"] {
        let (file, _) = name.split_once(':').unwrap();
        let told = files.error(&["check", file]);
        assert!(told.starts_with(&format!("error: {name}: ")), "{told}");
        assert!(!told.contains(['\x1b', '\x07']), "{told:?}");
    }
    let (stdout, _, _) = files.run(&["check", "--json", "good.toml", "bad.json"]);
    let value: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(value["ok"], false);
    assert_eq!(
        value["failed_files"],
        serde_json::json!([{"file": "bad.json", "line": 2, "error": "trailing comma"}])
    );
    assert_eq!(
        value["settings"][0]["place"],
        serde_json::json!({"file": "good.toml", "line": 1, "key": "listen"})
    );
}

#[test]
fn value_of_another_type_is_a_problem_at_its_place() {
    let files = Files::new("value_of_another_type_is_a_problem_at_its_place");
    files.write("odd.json", "{\"listen\": [\"127.0.0.1:0\",\n true]}");
    let (stdout, _, code) = files.run(&["check", "odd.json"]);
    let told = "odd.json:2: listen[1]\n  problem  it must be a text, a port number, or an array of these\n";
    assert!(stdout.ends_with(told), "{stdout}");
    assert_eq!(code, Some(1));
}

/// Aliases of aliases stand for more than memory has.
#[test]
fn aliases_of_yaml_are_limited() {
    let files = Files::new("aliases_of_yaml_are_limited");
    let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
    for n in 1..12 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        bomb.extend([format!("a{n}: &a{n} [{before}]\n")]);
    }
    files.write("bomb.yaml", &bomb);
    let told = files.error(&["check", "bomb.yaml"]);
    assert!(
        told.ends_with(": its aliases stand for too much\n"),
        "{told}"
    );
}

/// A file that is called like a text must not decide on what the text means.
#[cfg(unix)] // elsewhere no file can be called so
#[test]
fn check_reads_listen_text_before_file() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("called-like-a-text");
    fs::create_dir_all(dir.join("10.0.0.0")).expect("it is made");
    for name in ["*:80", "0.0.0.0:80", "10.0.0.0/8:80", "80"] {
        fs::write(dir.join(name), "127.0.0.1:0\n").expect("it is written");
    }
    for text in ["*:80", "0.0.0.0:80", "10.0.0.0/8:80", "80"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bindaddr"));
        let output = command
            .args(["reach", text])
            .current_dir(&dir)
            .output()
            .expect("it runs");
        let stdout = String::from_utf8(output.stdout).expect("it is text");
        assert!(stdout.starts_with(&format!("{text}\n")), "{stdout}");
        // With the folder it can be read.
        let mut command = Command::new(env!("CARGO_BIN_EXE_bindaddr"));
        let output = command
            .args(["check", "--format", "list", &format!("./{text}")])
            .current_dir(&dir)
            .output()
            .expect("it runs");
        let stdout = String::from_utf8(output.stdout).expect("it is text");
        assert!(
            stdout.starts_with(&format!("./{text}:1: 127.0.0.1:0\n")),
            "{stdout}"
        );
    }
}

/// A FIFO might never begin, and a device never end.
#[cfg(target_os = "linux")]
#[test]
fn check_refuses_fifos_and_devices() {
    let fifo = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fifo.toml");
    drop(fs::remove_file(&fifo));
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo runs").success());
    let through_fd = "/proc/self/fd/../../../dev/zero";
    let fifo = fifo.to_str().expect("it is text");
    // Without content on the disk.
    let huge = Path::new(env!("CARGO_TARGET_TMPDIR")).join("huge.toml");
    let file = fs::File::create(&huge).expect("it is made");
    file.set_len(5 << 30).expect("it is sparse");
    let huge = huge.to_str().expect("it is text");
    for name in [fifo, "/dev/zero", "/", "/dev/tty0", through_fd, huge] {
        let (stdout, stderr, code) = run(&["check", name]);
        assert_eq!((stdout.as_str(), code), ("", Some(2)));
        assert!(stderr.starts_with(&format!("error: {name}: ")), "{stderr}");
    }
    fs::remove_file(huge).expect("it is there");
    // Opened by a shell.
    let (stdout, _, code) = run_with("127.0.0.1:0\n", &["check", "/proc/self/fd/0"]);
    assert!(
        stdout.starts_with("/proc/self/fd/0:1: 127.0.0.1:0\n"),
        "{stdout}"
    );
    assert_eq!(code, Some(0));
}
