//! The command, on hosts made in namespaces: what it writes is asserted as it is written.
#![cfg(feature = "cli")]

mod util;

use std::path::Path;
use std::process::Command;
#[cfg(target_os = "linux")]
use std::process::Stdio;

use util::command::{run, run_with, writes};
use util::netns::{in_namespace, ip};

/// A host in an office.
fn office() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
    ip("addr add 192.168.71.67/16 dev eth0");
    ip("addr add fd00::67/64 nodad dev eth0");
    // Those that come by themselves are others each time, and tentative for a while.
    ip("addr flush dev eth0 scope link");
    ip("addr flush dev far0 scope link");
    ip("link add name wan0 type veth peer name wan9");
    ip("addr add 10.1.2.3 peer 10.1.2.4 dev wan0");
}

#[test]
fn explain_prints_meaning_and_problems() {
    in_namespace(|| {
        office();
        writes(
            &[
                "explain",
                "0.0.0.0:8080",
                "localhost:0",
                "eth0:80",
                "192.168.158.94:80",
            ],
            "\
0.0.0.0:8080
  means    every IPv4 address of this host
  binds    0.0.0.0:8080
  open to  private networks
localhost:0
  means    this host only (127.0.0.1 and ::1)
  binds    127.0.0.1:0
  binds    [::1]:0
  open to  this host only
eth0:80
  means    192.168.71.67, an address of eth0
  means    fd00::67, an address of eth0
  binds    192.168.71.67:80
  binds    [fd00::67]:80
  open to  private networks
192.168.158.94:80
  problem  no interface of this host has 192.168.158.94; it is in eth0's subnet
           (192.168.71.67/16) but not assigned to this host; closest local
           address: 192.168.71.67
  hint     `192.168.71.67:80` is the closest local address
  hint     `0.0.0.0:80` listens on every IPv4 address of this host, reachable
           from private networks
",
            1,
        );
    });
}

#[test]
fn parse_error_is_underlined() {
    writes(
        &["explain", "::1:80", "eth0:80a", "--", "-localhost:80a"],
        "\
::1:80
  problem  invalid listen address \"::1:80\": ambiguous: the address `::1:80`
           without a port, or `::1` with port 80; write `[::1:80]:8080` for the
           address or `[::1]:80` for port 80
           ::1:80
           ^^^^^^
eth0:80a
  problem  invalid listen address \"eth0:80a\": `80a` is not a port (a number from
           0 to 65535)
           eth0:80a
                ^^^
-localhost:80a
  problem  invalid listen address \"-localhost:80a\": `80a` is not a port (a
           number from 0 to 65535)
           -localhost:80a
                      ^^^
",
        1,
    );
}

#[test]
fn check_reports_conflicting_entries() {
    in_namespace(|| {
        office();
        let held = bindaddr::bind("0.0.0.0:9000").expect("it is free");
        let pid = std::process::id();
        let comm = std::fs::read_to_string("/proc/self/comm").expect("it has a name");
        let (stdout, _, code) = run(&["check", "*:80", "127.0.0.1:80", "10.1.2.3:9000"]);
        let said = stdout
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let comm = comm.trim_end();
        assert_eq!(
            said,
            format!(
                "*:80 means every IPv4 and IPv6 address of this host binds [::]:80 open to private networks \
                 127.0.0.1:80 means this host only (127.0.0.1) \
                 problem conflicts with `*:80` in the same list, which is dual-stack and already includes 127.0.0.1; remove one of them 10.1.2.3:9000 means 10.1.2.3, an address of wan0 (not running) \
                 problem port 9000 is in use: `{comm}` (pid {pid}, uid 0 (root)) \
                 listens on 0.0.0.0, which includes every IPv4 address"
            ),
        );
        assert_eq!(code, Some(1));
        drop(held);
        // Its meaning takes the other entries into account.
        writes(
            &["check", "0.0.0.0:80", "[::]:80"],
            "\
0.0.0.0:80
  means    every IPv4 address of this host
  binds    0.0.0.0:80
  open to  private networks
[::]:80
  means    every IPv6 address of this host
  binds    [::]:80
  open to  private networks
",
            0,
        );
        writes(
            &["check", "--", "-eth9:80"],
            "\
-eth9:80
  problem  no interface named `eth9` has an address; available: `eth0`, `lo`,
           `wan0`
",
            1,
        );
    });
}

#[test]
fn list_entries_keep_their_exposure() {
    let message = "problem invalid listen address \"443\": ambiguous: a port alone means every \
                address, or belongs to the entry before it; write `127.0.0.1:443` for that address \
                or `*:443` for every address";
    let words = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    for task in ["explain", "check", "reach", "wait"] {
        let (stdout, stderr, code) = run(&[task, "127.0.0.1:80,443"]);
        assert!(words(&stdout).contains(message), "{stdout}");
        assert!(!stdout.contains("[::]"), "{stdout}");
        assert_eq!((&*stderr, code), ("", Some(1)));
    }
    let (stdout, _, code) = run_with("127.0.0.1:80 443\n", &["check", "-"]);
    assert!(words(&stdout).contains(message), "{stdout}");
    assert_eq!(code, Some(1));
}

/// Characters that a terminal acts on, or that reorder the text (Unicode Standard Annex 9).
#[cfg(unix)] // elsewhere no file can be called so
#[test]
fn output_escapes_control_and_bidi_characters() {
    let marks = [
        '\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}', '\x1b', '\u{9b}',
    ];
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for mark in marks {
        let name = dir.join(format!("a{mark}b.toml"));
        let name = name.to_str().expect("it is text");
        std::fs::write(name, format!("listen = \"127{mark}.0.0.1:80\"\n")).expect("it is written");
        let text = format!("127{mark}.0.0.1:80");
        let missing = format!("./missing{mark}.toml");
        let key = format!("a{mark}key");
        for args in [
            &["explain", &text][..],
            &["check", &text],
            &["check", name],
            &["check", &missing],
            &["check", "--key", &key, name],
            &["wait", &text],
            &["reach", "127.0.0.1:80", "--scheme", &format!("http{mark}")],
        ] {
            let (stdout, stderr, code) = run(args);
            assert_ne!(code, Some(0), "{args:?}");
            let said = format!("{stdout}{stderr}");
            assert!(!said.contains(mark), "{args:?}: {said:?}");
        }
    }
}

#[test]
fn errors_mask_url_credentials() {
    for text in [
        "redis://:s3cret@host",
        "postgres://user:s3cret@10.0.0.1/db",
        "//user:s3cret@10.0.0.1:80",
        "user:s3cret@10.0.0.1:80",
        "127.0.0.1:80,redis://:s3cret@host:6379",
        "redis://:s3cret@host:6379,443",
        "127.0.0.1:80 443 redis://:s3cret@host:6379",
        "redis://user:pa,s3cret@host:80",
        "redis://:pa s3cret@h:1",
        "postgres://admin:1234/s3cret@db:5432",
        "admin:1234//s3cret@db:5432",
        "u:s3cret@h/?next=//a@b",
        "ipv4@user:s3cret@host",
        "https://user:s3cret@example.com/app.conf",
    ] {
        // The TOML of an unquoted text is not shown either.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for (name, content) in [
            ("password.conf", format!("{text}\n")),
            ("password.toml", format!("listen = \"{text}\"\n")),
            ("password-unquoted.toml", format!("listen = {text}\n")),
        ] {
            let name = dir.join(name);
            std::fs::write(&name, content).expect("it is written");
            let name = name.to_str().expect("it is text");
            for args in [&["check", name][..], &["check", "--json", name]] {
                let (stdout, stderr, code) = run(args);
                let said = format!("{stdout}{stderr}");
                assert!(!said.contains("s3cret"), "{text}: {said}");
                assert_ne!(code, Some(0), "{text}");
            }
        }
        for task in ["explain", "check", "reach", "wait"] {
            for args in [&[task, text][..], &[task, "--json", text]] {
                let (stdout, stderr, code) = run(args);
                let said = format!("{stdout}{stderr}");
                assert!(
                    said.contains("***@") && !said.contains("s3cret"),
                    "{args:?}: {said}"
                );
                assert_ne!(code, Some(0), "{args:?}");
            }
        }
    }
}

/// The size of a report grows with the settings, and not with the sockets in the way of each.
#[cfg(target_os = "linux")]
#[test]
fn json_names_eight_holders_of_a_port() {
    in_namespace(|| {
        let sharing = bindaddr::BindOptions::new().reuse_port(true);
        let bind = |_| sharing.bind("0.0.0.0:80").expect("they share it");
        let _held: Vec<bindaddr::Listeners> = (0..128).map(bind).collect();
        let texts: Vec<String> = (1..=200).map(|n| format!("127.0.0.{n}:80")).collect();
        let mut args = vec!["check", "--json"];
        args.extend(texts.iter().map(String::as_str));
        let (stdout, _, code) = run(&args);
        assert_eq!(code, Some(1));
        // A problem is one of the setting and of its socket.
        assert_eq!(stdout.matches("\"process_uid\":").count(), 2 * 200 * 8);
        assert_eq!(stdout.matches("\"more_holders\": 120").count(), 2 * 200);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn full_output_device_exits_with_error() {
    let full = || std::fs::File::create("/dev/full").expect("Linux has it");
    for args in [
        ["check", "x"],
        ["check", "127.0.0.1:0"],
        ["check", "--no-such"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bindaddr"));
        let status = command.args(args).stdout(full()).stderr(full()).status();
        let code = status.expect("it runs").code();
        assert!(matches!(code, Some(1 | 2)), "{args:?}: {code:?}");
    }
}

#[test]
fn interfaces_prints_state_and_addresses() {
    in_namespace(|| {
        office();
        ip("link add br0 type bridge");
        ip("link set br0 addrgenmode none");
        ip("link set br0 up");
        ip("link set far0 master br0");
        let (stdout, _, code) = run(&["interfaces"]);
        assert_eq!(
            stdout,
            "\
NAME  INDEX  STATE  KIND      MASTER  ADDRESS
lo    1      up     loopback          127.0.0.1/8
                                      ::1/128
far0  2      up     veth      br0
eth0  3      up     veth              192.168.71.67/16
                                      fd00::67/64
wan9  4      down   veth
wan0  5      down   veth              10.1.2.3/32       peer 10.1.2.4
br0   6      up     bridge
",
        );
        assert_eq!(code, Some(0));
    });
}

#[test]
fn reach_prints_urls() {
    in_namespace(|| {
        office();
        writes(
            &["reach", "*:80", "localhost:80", "192.168.158.94:80"],
            "\
*:80
  127.0.0.1:80 from this host, through lo
  [::1]:80 from this host, through lo
  192.168.71.67:80 from the network, through eth0
  [fd00::67]:80 from the network, through eth0
  10.1.2.3:80 from the network, through wan0; its interface is not running
  open to  private networks
localhost:80
  127.0.0.1:80 from this host, through lo
  [::1]:80 from this host, through lo
  open to  this host only
192.168.158.94:80
  problem  192.168.158.94, which no interface of this host has; it is in eth0's
           subnet (192.168.71.67/16) but not assigned to this host
",
            1,
        );
        writes(
            &["reach", "eth0:80", "--scheme", "http", "--at-most", "link"],
            "\
eth0:80
  http://192.168.71.67:80/  (eth0)
  http://[fd00::67]:80/  (eth0)
  open to  private networks
  problem  192.168.71.67:80 is open to private networks, and `--at-most` allows
           the link
",
            1,
        );
        writes(
            &["reach", "localhost:8000-8010 127.0.0.1:0"],
            "\
localhost:8000-8010
  127.0.0.1:8000 from this host, through lo
  [::1]:8000 from this host, through lo
  open to  this host only
  note     the port will be the first free one in 8000-8010
127.0.0.1:0
  127.0.0.1:0 from this host, through lo
  open to  this host only
  note     port 0: the kernel chooses the port when the server starts
",
            0,
        );
        writes(
            &["reach", "--", "-192.168.1.1:80"],
            "-192.168.1.1:80\n  absent   it is left out here\n",
            0,
        );
        let _held = std::net::TcpListener::bind("192.168.71.67:80").unwrap();
        let at_most = |most: &str, text: &str| {
            let (stdout, _, code) = run(&["reach", "--at-most", most, text]);
            (code, stdout)
        };
        assert_eq!(at_most("private", "eth0:80").0, Some(0));
        let absent = "127.0.0.1:80, -192.168.1.1:80, -eth9:80";
        assert_eq!(at_most("this-host", absent).0, Some(0));
        // A local route makes the kernel accept it, on whichever host it is.
        ip("route add local 192.168.1.0/24 dev lo");
        let (code, stdout) = at_most("this-host", absent);
        assert_eq!(code, Some(1), "{stdout}");
        let message = "-192.168.1.1:80\n  192.168.1.1:80 from the network, by a local route\n  open to  private networks\n  \
                    problem  192.168.1.1:80 is open to private networks, and `--at-most` allows\n           this host only\n";
        assert!(stdout.contains(message), "{stdout}");
    });
}

#[test]
fn wait_prints_progress() {
    in_namespace(|| {
        office();
        let args = ["wait", "192.168.1.1:80, localhost:0", "--timeout", "0.1"];
        let (stdout, stderr, code) = run(&args);
        // In a log it is reported once; on a slow machine the time is over before that.
        let message = "waiting up to 0.1 s: cannot listen on 1 of 2 addresses: ";
        let is_once = stderr.starts_with(message) && stderr.lines().count() == 1;
        assert!(is_once || stderr.is_empty(), "{stderr}");
        // Each try is shown so, with the time that it was on this machine.
        let problem = " s\n  problem  192.168.1.1:80: no interface of this host has 192.168.1.1;";
        let (after, _) = stdout.split_once(problem).expect(&stdout);
        let after: f64 = after["after ".len()..].parse().expect(after);
        assert!((0.1..20.0).contains(&after), "{stdout}");
        assert_eq!(code, Some(1));
        let comes = std::thread::spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(200));
            ip("addr add 192.168.1.1/16 dev eth0");
        });
        let args = ["wait", "192.168.1.1:80", "--timeout", "20"];
        let (stdout, stderr, code) = run(&args);
        assert!(
            stdout.ends_with(" s\n  binds    192.168.1.1:80\n"),
            "{stdout}"
        );
        let message = "waiting up to 20.0 s: cannot listen on 192.168.1.1:80: ";
        assert!(stderr.starts_with(message), "{stderr}");
        assert_eq!(code, Some(0));
        comes.join().expect("it comes");
    });
}

#[test]
fn colours_are_off_without_terminal() {
    // Output that is not a terminal has no colours unless they are forced.
    let coloured = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bindaddr"));
        for name in ["NO_COLOR", "CLICOLOR_FORCE", "CLICOLOR"] {
            command.env_remove(name);
        }
        let output = command
            .env(name, value)
            .args(["explain", "::1:80"])
            .output();
        output.expect("it runs").stdout.contains(&0x1b)
    };
    assert!(!coloured("CLICOLOR", "1"));
    assert!(coloured("CLICOLOR_FORCE", "1"));
}

/// On a terminal there are colours, unless `NO_COLOR` says otherwise.
#[test]
#[cfg(target_os = "linux")]
fn colours_follow_no_color_on_terminal() {
    let coloured = |no_color: Option<&str>| {
        let mut command = Command::new("script");
        let exe = env!("CARGO_BIN_EXE_bindaddr");
        command.args([
            "--quiet",
            "--command",
            &format!("{exe} explain ::1:80"),
            "/dev/null",
        ]);
        command
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .stdin(Stdio::null());
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        let output = command.output().ok()?;
        assert!(
            output.stdout.starts_with(b"\x1b") || output.stdout.starts_with(b"::1"),
            "{output:?}"
        );
        Some(output.stdout.contains(&0x1b))
    };
    let Some(plain) = coloured(None) else {
        return util::rerun::skip(
            "colours",
            "no `script` of util-linux",
            "BINDADDR_REQUIRE_STRACE",
        );
    };
    assert!(plain);
    assert_eq!(coloured(Some("1")), Some(false));
}

#[test]
fn usage_error_is_one_sentence() {
    let message = |args: &[&str]| {
        let (stdout, stderr, code) = run(args);
        assert_eq!((stdout.as_str(), code), ("", Some(2)));
        let with_json = [args, &["--json"]].concat();
        let (stdout, same, code) = run(&with_json);
        if !args.is_empty() {
            let value: serde_json::Value = serde_json::from_str(&stdout).expect(&stdout);
            let sentence = value["error"].as_str().expect("a sentence");
            assert_eq!((format!("error: {sentence}\n"), code), (same, Some(2)));
        }
        stderr
    };
    let missing = "the following required arguments were not provided: <TEXT>...";
    assert_eq!(message(&["explain"]), format!("error: {missing}\n"));
    assert_eq!(
        message(&["wait", "*:0", "--timeout", "soon"]),
        "error: invalid value 'soon' for '--timeout <SECONDS>': expected a number of seconds from 0, such as 30 or 0.5\n"
    );
    let no_user = if cfg!(target_os = "linux") {
        "error: there is no user `no such user`\n"
    } else {
        "error: `--user` is for Linux\n"
    };
    let user = ["explain", "--user", "no such user", "*:0"];
    assert_eq!(message(&user), no_user);
    // It is not an address.
    for task in ["explain", "check", "reach", "wait", "watch", "run"] {
        for flag in ["--no-such", "--eth0:80", "-x"] {
            let (stdout, stderr, code) = run(&[task, flag]);
            assert!(
                stderr.starts_with("error: unexpected argument '-"),
                "{stderr}"
            );
            assert_eq!((stdout.as_str(), code), ("", Some(2)));
        }
    }
    assert!(message(&["nonsense"]).starts_with("error: unrecognized subcommand 'nonsense'"));
}

/// A search finds a whole sentence, unless a width is wanted.
#[test]
fn lines_wrap_at_known_width() {
    let lines = |columns: Option<&str>| {
        let mut command = util::command::bindaddr(&["explain", "::1:80"]);
        match columns {
            Some(columns) => command.env("COLUMNS", columns),
            None => command.env_remove("COLUMNS"),
        };
        let (stdout, ..) = util::command::texts(command.output().expect("it runs"));
        stdout.lines().map(str::len).max().unwrap_or(0)
    };
    assert!(lines(None) > 150);
    assert!((40..=80).contains(&lines(Some("80"))));
    assert!((20..=50).contains(&lines(Some("50"))));
    assert!(lines(Some("nonsense")) > 150);
}

#[test]
fn completions_and_man_pages_are_generated() {
    in_namespace(|| {
        ip("link add name eth7 type veth peer name far0");
        ip("link set eth7 up");
        ip("addr add 192.168.71.67/16 dev eth7");
        for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
            let (stdout, _, code) = run(&["completions", shell]);
            assert!(stdout.contains("interfaces") && code == Some(0), "{shell}");
        }
        // The keywords, and the interfaces of this host.
        let (stdout, ..) = run(&["completions", "bash"]);
        assert!(
            stdout.contains(" localhost _default_ lo eth7\""),
            "{stdout}"
        );
    });
    let (stdout, _, code) = run(&["man"]);
    assert!(
        stdout.contains(".TH bindaddr 1") && code == Some(0),
        "{stdout}"
    );
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("man1");
    let (stdout, stderr, code) = run(&["man", "--dir", directory.to_str().expect("it is text")]);
    assert_eq!((&*stdout, &*stderr, code), ("", "", Some(0)));
    for task in [
        "explain",
        "check",
        "listeners",
        "reach",
        "run",
        "watch",
        "wait",
        "interfaces",
    ] {
        let page = directory.join(format!("bindaddr-{task}.1"));
        let page = std::fs::read_to_string(page).expect(task);
        assert!(page.contains(".SH EXAMPLES\n.nf\n"), "{page}");
        // So has the help.
        let (help, _, code) = run(&[task, "--help"]);
        let (_, examples) = help.split_once("\nExamples:\n").expect(&help);
        assert!(
            examples.contains(&format!(" bindaddr {task}")),
            "{examples}"
        );
        assert_eq!(code, Some(0));
    }
}
