//! The command on config files: what is found in each format, where, and what is wrong with it.
#![cfg(all(feature = "cli", target_os = "linux"))]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use util::command::{bindaddr, run, run_with, texts};
use util::netns::{in_namespace, set};

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
fn each_format_reports_positions() {
    let files = Files::new("each_format_reports_positions");
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
                "5: server[1].listen: [::1]:0",
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
            format!("error: {other}: its name does not say its format; name it with `--format`\n");
        assert_eq!(files.error(&["check", &other]), unknown);
    }
}

/// Returns each setting of a file with its line, its sockets and what is not checked of it.
fn found(files: &Files, args: &[&str], status: i32) -> Vec<String> {
    let (stdout, stderr, code) = files.run(&[&["check", "--json"], args].concat());
    assert_eq!((&*stderr, code), ("", Some(status)), "{stdout}");
    let value: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let settings = value["settings"].as_array().unwrap().iter();
    let found = settings.map(|setting| {
        let sockets = setting["sockets"].as_array().unwrap().iter();
        let addrs = sockets.map(|socket| socket["addr"].as_str().unwrap());
        let why = ["skipped_because", "unread_because", "problem"];
        let why = why.iter().filter_map(|why| setting[*why].as_str());
        let message: Vec<&str> = addrs.chain(why).collect();
        let (line, text) = (&setting["place"]["line"], setting["text"].as_str().unwrap());
        format!("{line} {text}: {}", message.join(" "))
    });
    found.collect()
}

#[test]
fn socket_units_are_read() {
    in_namespace(|| {
        let files = Files::new("socket_units_are_read");
        files.write(
            "server.socket",
            "\u{feff}[Unit]\nListenStream=1\n[Socket]\nListenStream=127.0.0.1:1\nListenDatagram=\nListenStream=80\n\
             ListenStream=/run/x.sock\nListenStream=[::]:81\nListenDatagram=127.0.0.1:53\nListenStream=127.0.0.1:%i\n\
             ListenStream=\\\n# here\n  127.0.0.1:\\\n82\nExecStartPre=/bin/true \\\n  ListenStream=127.0.0.1:83\nBindIPv6Only=ipv6-only\n\
             BindIPv6Only=nonsense\nFreeBind=t\nListenStream=198.51.100.1:84\n",
        );
        let expected = [
            "6 80: [::]:80",
            "7 /run/x.sock: a Unix socket, which is not checked",
            "8 [::]:81: [::]:81",
            "9 127.0.0.1:53: 127.0.0.1:53",
            "10 127.0.0.1:%i: a specifier of the unit, whose value is not known here",
            "20 198.51.100.1:84: 198.51.100.1:84",
        ];
        // A continued line has a space in it.
        let found_here = found(&files, &["server.socket"], 1);
        let is_expected = |found: &&String| expected.contains(&found.as_str());
        assert_eq!(
            found_here.iter().filter(is_expected).count(),
            expected.len(),
            "{found_here:?}"
        );
        let others: Vec<&String> = found_here
            .iter()
            .filter(|found| !is_expected(found))
            .collect();
        let ignored = "systemd ignores it: it has to be a port, or an address and a port, neither of them a name";
        assert_eq!(others, [&format!("11 127.0.0.1: 82: {ignored}")]);

        // Values that systemd refuses.
        for text in [
            "localhost:80",
            "*:80",
            "lo:80",
            "0",
            "127.0.0.1:0",
            "127.0.0.1:80-81",
            "127.0.0.1:80, 127.0.0.1:81",
        ] {
            files.write("wrong.socket", &format!("[Socket]\nListenStream={text}\n"));
            assert_eq!(
                found(&files, &["wrong.socket"], 1),
                [format!("2 {text}: {ignored}")]
            );
        }
        let (stdout, ..) = files.run(&["check", "server.socket"]);
        assert!(
            stdout.contains("  binds    127.0.0.1:53 (UDP)\n"),
            "{stdout}"
        );

        // By the sysctl, unless the unit says otherwise.
        set("net/ipv6/bindv6only", "1");
        let means = |lines: &str| {
            files.write(
                "only.socket",
                &format!("[Socket]\nListenStream=[::]:80\n{lines}"),
            );
            let (stdout, ..) = files.run(&["check", "only.socket"]);
            stdout.lines().nth(1).unwrap().to_owned()
        };
        let (both, one) = (
            "  means    every IPv4 and IPv6 address of this host",
            "  means    every IPv6 address of this host",
        );
        assert_eq!(
            [
                means(""),
                means("BindIPv6Only=default\n"),
                means("BindIPv6Only=both\n")
            ],
            [one, one, both]
        );

        // The files beside it.
        fs::create_dir_all(files.0.join("only.socket.d")).unwrap();
        files.write("only.socket.d/override.conf", "[Socket]\nListenStream=22\n");
        let drop_in = "1 only.socket.d/override.conf: a drop-in of the unit, which is not read";
        assert_eq!(found(&files, &["only.socket"], 0)[1], drop_in);
        assert_eq!(
            files.run(&["check", "--deny", "warnings", "only.socket"]).2,
            Some(1)
        );
    });
}

#[test]
fn nginx_listen_directives_are_read() {
    in_namespace(|| {
        let files = Files::new("nginx_listen_directives_are_read");
        files.write(
            "nginx.conf",
            "http {\n  include mime.types; include conf.d/*.conf; include sites/default; # others\n  server { listen 80 \
             default_server; listen [0:0::0]:80 ssl; server_name \"a;\nlisten 1;\"; }\n  server { listen 127.0.0.1:80; listen \
             unix:/x; listen localhost:80; listen [::1]; listen ${PORT}; }\n  server { listen 443 ssl; listen 443 quic; }\n  \
             server { listen 127.0.0.1:8080-8082; listen example.com:81; }\n}\nstream { server { listen 53 udp; } server { \
             proxy_pass x; } }\n",
        );
        let unread = "included files are not checked; pass them as arguments, too";
        let served = "served by the wildcard on the same port";
        assert_eq!(
            found(&files, &["nginx.conf"], 0),
            [
                format!("2 conf.d/*.conf: {unread}"),
                format!("2 sites/default: {unread}"),
                "3 80: 0.0.0.0:80".to_owned(),
                "3 [0:0::0]:80: [::]:80".to_owned(),
                format!("5 127.0.0.1:80: {served}"),
                "5 unix:/x: a Unix socket, which is not checked".to_owned(),
                format!("5 localhost:80: {served}"),
                format!("5 [::1]: {served}"),
                "5 ${PORT}: a variable, whose value is not known here".to_owned(),
                "6 443: 0.0.0.0:443".to_owned(),
                "6 443: 0.0.0.0:443".to_owned(),
                "7 127.0.0.1:8080: 127.0.0.1:8080".to_owned(),
                "7 127.0.0.1:8081: 127.0.0.1:8081".to_owned(),
                "7 127.0.0.1:8082: 127.0.0.1:8082".to_owned(),
                "7 example.com:81: a name, which nginx looks up when it starts".to_owned(),
                "9 53: 0.0.0.0:53".to_owned(),
            ]
        );
        let one = |listen: &str, status: i32| {
            files.write("one.conf", &format!("server {{ {listen} }}\n"));
            found(&files, &["one.conf"], status)
        };
        // A server without the directive has port 80.
        assert_eq!(one("root /y;", 0), ["1 without `listen`: 0.0.0.0:80"]);
        // One socket of IPv6 that includes IPv4.
        assert_eq!(
            one("listen [::]:80 ipv6only=off;", 0),
            ["1 [::]:80: [::]:80"]
        );
        let twice = "1 [::]:80: it includes IPv4, which another `listen` has on the same port";
        assert_eq!(
            one("listen [::]:80 ipv6only=off; listen 80;", 1),
            [twice, "1 80: 0.0.0.0:80"]
        );
        // nginx opens it beside the wildcard, which the kernel refuses.
        let (stdout, _, code) = {
            files.write(
                "bind.conf",
                "server { listen *:80; listen 127.0.0.1:80 bind; }\n",
            );
            files.run(&["check", "bind.conf"])
        };
        assert!(stdout.contains("problem  conflicts with"), "{stdout}");
        assert_eq!(code, Some(1));
        // Each port of a range is wanted.
        let held = TcpListener::bind("127.0.0.1:8081").unwrap();
        assert_eq!(one("listen 127.0.0.1:8080-8082;", 1).len(), 3);
        drop(held);
        for wrong in ["80,81", "0", "127.0.0.1:x"] {
            let message =
                format!("1 {wrong}: nginx takes one address, with a port from 1 to 65535");
            assert_eq!(one(&format!("listen {wrong};"), 1), [message]);
        }
        files.write("broken.conf", "server {\n listen \"80;\n}\n");
        assert_eq!(
            files.error(&["check", "broken.conf"]),
            "error: broken.conf:2: a quotation mark is missing\n"
        );
    });
}

/// Keys that anchors, aliases and merges bring.
#[test]
fn yaml_is_read_as_servers_do() {
    let files = Files::new("yaml_is_read_as_servers_do");
    files.write(
        "server.yaml",
        "names: &k listen\n? &z 127.0.0.1:0\n: x\nhttp:\n  *k : '[::1]:0'\n  x: 1\nbase: &b\n  listen: localhost:0\n  port: 0x1F\n\
         own: {<<: *b, listen: 127.0.0.2:0}\nmerged:\n  <<: [*b, {other: 1}]\nlist:\n  listen: [*z]\nempty: {listen: []}\nfloat: {listen: 8080.0}\n",
    );
    let texts = found(&files, &["server.yaml"], 1);
    let other = "it must be a text, a port number, or an array of these";
    assert_eq!(
        texts,
        [
            "5 [::1]:0: [::1]:0".to_owned(),
            "8 localhost:0: 127.0.0.1:0 [::1]:0".to_owned(),
            "10 127.0.0.2:0: 127.0.0.2:0".to_owned(),
            "12 localhost:0: 127.0.0.1:0 [::1]:0".to_owned(),
            "14 127.0.0.1:0: 127.0.0.1:0".to_owned(),
            format!("15 : {other}"),
            format!("16 : {other}"),
        ]
    );
    assert_eq!(
        found(&files, &["--key", "merged.listen", "server.yaml"], 0).len(),
        1
    );
    files.write("alias.yaml", "a: *nothing\n");
    assert!(
        files
            .error(&["check", "alias.yaml"])
            .starts_with("error: alias.yaml:1: ")
    );
    // JSON writes characters as two units.
    files.write(
        "server.json",
        "\u{feff}{\"\\ud83d\\ude00\": \"\\\\ud83d\", \"listen\": \"127.0.0.1:0\", \"a\": {\"listen\": {\"host\": \"x\", \"port\": 1}}}",
    );
    assert_eq!(
        found(&files, &["server.json"], 1),
        [
            "1 127.0.0.1:0: 127.0.0.1:0",
            "1 : `listen` is a table here; `--key` names a value, such as `a.listen.host`",
        ]
    );
}

#[test]
fn ini_lines_are_read_as_programs_do() {
    let files = Files::new("ini_lines_are_read_as_programs_do");
    files.write(
        "server.ini",
        "\u{feff}listen=127.0.0.1:0\r\n[admin] ; comment\r\nlisten: 127.0.0.2:0 # mode=public\r\n    127.0.0.3:0\r\nlisten[] = \
         127.0.0.4:0\r\n[git]\r\n\tlisten = 127.0.0.5:0\r\n\tother\r\nlisten:127.0.0.6:0\r\n",
    );
    let (stdout, _, _) = files.run(&["check", "server.ini"]);
    let headings: Vec<&str> = stdout
        .lines()
        .filter(|line| !line.starts_with(' '))
        .collect();
    assert_eq!(
        headings,
        [
            "server.ini:1: listen: 127.0.0.1:0",
            "server.ini:3: admin.listen: 127.0.0.2:0",
            "server.ini:4: admin.listen: 127.0.0.3:0",
            "server.ini:5: admin.listen: 127.0.0.4:0",
            "server.ini:7: git.listen: 127.0.0.5:0",
            "server.ini:9: git.listen: 127.0.0.6:0",
        ]
    );
    files.write("mac.ini", "listen = 127.0.0.1:0\rlisten = 127.0.0.2:0\r");
    assert_eq!(files.headings(&["check", "mac.ini"], 0).len(), 2);
    // The config of redis, which is in none of these formats.
    files.write("redis.conf", "bind 127.0.0.1 -::1\nport 6379\n");
    assert!(
        files
            .error(&["check", "redis.conf"])
            .contains("name it with `--format`")
    );
}

/// Values that were once left out without a warning.
#[test]
fn skipped_values_are_reported() {
    let files = Files::new("skipped_values_are_reported");
    let of = |name: &str, content: &str, key: &str, status: i32| {
        files.write(name, content);
        found(&files, &["--key", key, name], status)
    };
    // Merges of merges, in their order, and by document.
    let nested = "base: &base\n  listen: 127.0.0.1:0\nmid: &mid\n  <<: *base\n  x: 1\nhttp:\n  - listen: 127.0.0.2:0\n  - <<: *mid\n    name: b\n";
    assert_eq!(
        of("a.yaml", nested, "http.listen", 0),
        ["7 127.0.0.2:0: 127.0.0.2:0", "8 127.0.0.1:0: 127.0.0.1:0"]
    );
    let documents =
        "srv: {listen: '127.0.0.1:0'}\n---\nbase: &b {listen: '127.0.0.2:0'}\nsrv:\n  <<: *b\n";
    assert_eq!(of("a.yaml", documents, "srv.listen", 0).len(), 2);
    let list = "a:\n  <<: [{listen: '127.0.0.1:0'}, {listen: '127.0.0.2:0', x: 1}]\n";
    assert_eq!(
        of("a.yaml", list, "a.listen", 0),
        ["2 127.0.0.1:0: 127.0.0.1:0"]
    );
    // In JSON it is a key.
    let json = "{\"a\": {\"listen\": \"127.0.0.1:0\", \"<<\": {\"listen\": \"127.0.0.2:0\"}}}";
    assert_eq!(of("a.json", json, "listen", 0).len(), 2);

    let many = "[s]\nlisten =\n  127.0.0.1:0\n  localhost:0\n  [::1]:0\n  [::]\nother = 1\n";
    let message = of("a.ini", many, "listen", 1);
    assert_eq!(
        message[..3],
        [
            "3 127.0.0.1:0: 127.0.0.1:0",
            "4 localhost:0: 127.0.0.1:0 [::1]:0",
            "5 [::1]:0: [::1]:0"
        ]
    );
    assert_eq!(message[3], "6 [::]: ");
    let forms = "a.listen=127.0.0.1:0\nb.listen[0]=127.0.0.2:0\n\"listen\" = 127.0.0.3:0\n[b] listen = 127.0.0.4:0\nlisten 127.0.0.5:0\n[c]\nlisten =\n";
    let not_understood = "the line is not understood";
    assert_eq!(
        of("a.ini", forms, "listen", 1),
        [
            "1 127.0.0.1:0: 127.0.0.1:0".to_owned(),
            "2 127.0.0.2:0: 127.0.0.2:0".to_owned(),
            "3 127.0.0.3:0: 127.0.0.3:0".to_owned(),
            "4 127.0.0.4:0: 127.0.0.4:0".to_owned(),
            format!("5 listen 127.0.0.5:0: {not_understood}"),
            "7 : ".to_owned(),
        ]
    );
    files.write("comment.conf", "; a comment;\nlisten = 127.0.0.1:0\n");
    assert_eq!(found(&files, &["comment.conf"], 0).len(), 1);

    let sibling = "listen:\n  host: 0.0.0.0\n  listen: 127.0.0.1:0\n";
    assert_eq!(
        of("a.yaml", sibling, "listen", 0),
        [
            "2 : a table with the name of the key, whose other values are not read",
            "3 127.0.0.1:0: 127.0.0.1:0"
        ]
    );
    files.write(
        "a.toml",
        "[a]\nhost = ['127.0.0.1']\nport = [0, 1]\n[b]\nport = 2\n",
    );
    let alone = "no host is beside this port, so its address is not known";
    assert_eq!(
        found(
            &files,
            &["--key", "host", "--port-key", "port", "a.toml"],
            0
        ),
        [
            "2 127.0.0.1: 127.0.0.1:0".to_owned(),
            format!("3 1: {alone}"),
            format!("5 2: {alone}")
        ]
    );
}

/// The same for the files of systemd and nginx.
#[test]
fn skipped_directives_are_reported() {
    let files = Files::new("skipped_directives_are_reported");
    let of = |name: &str, content: &str, status: i32| {
        files.write(name, content);
        found(&files, &[name], status)
    };
    let unit = "[Socket]\nListenStream=127.0.0.1:81\nListenStream=0x52 \\";
    assert_eq!(
        of("a.socket", unit, 0),
        ["2 127.0.0.1:81: 127.0.0.1:81", "3 0x52: [::]:82"]
    );

    for (config, message) in [
        ("server { listen 8080 }", "a `;` is missing"),
        ("server { listen 8080;", "a `}` is missing"),
        ("server { listen 80", "a `;` is missing"),
    ] {
        files.write("a.conf", config);
        let args = ["check", "--format", "nginx", "a.conf"];
        assert_eq!(files.error(&args), format!("error: a.conf:1: {message}\n"));
    }
    let quoted = "http { server { listen 127.0.0.1:8080; location ~ \\{ { return 404; } } server { server_name x; } }";
    assert_eq!(
        of("a.conf", quoted, 0),
        [
            "1 127.0.0.1:8080: 127.0.0.1:8080",
            "1 without `listen`: 0.0.0.0:80"
        ]
    );
    let lua = "server { listen 127.0.0.1:8080; content_by_lua_block { ngx.say('}') return { n = #ngx.arg } -- 'tis\n [[ } ]] --[=[ } ]]\n ]=] \
               } }\nserver { server_name x; log_by_lua_block { -- the users' names\n } }";
    assert_eq!(
        of("a.conf", lua, 0),
        [
            "1 127.0.0.1:8080: 127.0.0.1:8080",
            "4 without `listen`: 0.0.0.0:80"
        ]
    );
    let included = "server { include my_listen_params; server_name x; }";
    assert_eq!(of("a.conf", included, 0).len(), 1);
    let range = "server { listen 8004-8005; } server { listen 127.0.0.1:8005; }";
    assert_eq!(of("a.conf", range, 0).len(), 3);
    let dual = "server { listen [::]:80 ipv6only=off; } server { listen [::]:80; }";
    assert_eq!(of("a.conf", dual, 0)[0], "1 [::]:80: [::]:80");
    assert_eq!(of("a.conf", "server { listen 90-80; }", 1).len(), 1);
}

/// The port of a host is in its table, or in one around it.
#[test]
fn port_key_belongs_to_same_table() {
    let files = Files::new("port_key_belongs_to_same_table");
    let of = |content: &str, status: i32| {
        files.write("server.yaml", content);
        let args = ["--key", "host", "--port-key", "port", "server.yaml"];
        let mut found = found(&files, &args, status);
        // A port without a host is a warning.
        found.retain(|found| {
            !found.ends_with(": no host is beside this port, so its address is not known")
        });
        found
    };
    assert_eq!(
        of("host: 127.0.0.1\nport: 0\nmetrics:\n  port: 9000\n", 0),
        ["1 127.0.0.1: 127.0.0.1:0"]
    );
    assert_eq!(
        of(
            "http:\n  host: 127.0.0.1\n  metrics: {port: 9000}\n  port: 0\nport: 9001\n",
            0
        ),
        ["2 127.0.0.1: 127.0.0.1:0"]
    );
    assert_eq!(
        of("port: 0\nhttp:\n  host: 127.0.0.1\n", 0),
        ["3 127.0.0.1: 127.0.0.1:0"]
    );
    assert_eq!(
        of("host: [127.0.0.1, '::1']\nport: [0, 99999]\n", 1),
        [
            "1 127.0.0.1: 127.0.0.1:0",
            "1 ::1: `port[1]` on line 2 is not a port (a number from 0 to 65535)"
        ]
    );
    assert_eq!(
        of("a: {host: 127.0.0.1}\nb: {port: 1}\n", 1),
        ["1 127.0.0.1: no `port` is beside it"]
    );
    assert_eq!(
        of("host: 127.0.0.1\nport: [1, 2]\n", 1),
        ["1 127.0.0.1: `port` has 2 values for one host"]
    );
    assert_eq!(
        of("host: [127.0.0.1, 127.0.0.2, 127.0.0.3]\nport: [0, 0]\n", 1)[2],
        "1 127.0.0.3: `port` has another number of values"
    );
}

#[test]
fn hosts_and_ports_can_have_separate_keys() {
    let files = Files::new("hosts_and_ports_can_have_separate_keys");
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
    let message: Vec<&str> = stderr.lines().collect();
    assert_eq!(message.len(), bad.len(), "{stderr}");
    for (message, (place, what)) in message.iter().zip(bad) {
        assert!(
            message.starts_with(&format!("error: {place}: {what}")),
            "{message}"
        );
    }
    assert_eq!(code, Some(2));
    // The library has its own messages for these.
    for name in ["bad.yaml:2", "escape.toml:1"] {
        let (file, _) = name.split_once(':').unwrap();
        let message = files.error(&["check", file]);
        assert!(
            message.starts_with(&format!("error: {name}: ")),
            "{message}"
        );
        assert!(!message.contains(['\x1b', '\x07']), "{message:?}");
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
    let message = "odd.json:2: listen[1]\n  problem  it must be a text, a port number, or an array of these\n";
    assert!(stdout.ends_with(message), "{stdout}");
    assert_eq!(code, Some(1));
}

/// Aliases of aliases expand to more than memory has.
#[test]
fn aliases_of_yaml_are_limited() {
    let files = Files::new("aliases_of_yaml_are_limited");
    let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
    for n in 1..12 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        bomb.extend([format!("a{n}: &a{n} [{before}]\n")]);
    }
    files.write("bomb.yaml", &bomb);
    let message = files.error(&["check", "bomb.yaml"]);
    assert!(
        message.ends_with(": its aliases add up to too much\n"),
        "{message}"
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
    if !util::is_like_linux("check_refuses_fifos_and_devices") {
        return;
    }
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
