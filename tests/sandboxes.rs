//! Compares what `bind` and `check` report in sandboxes with the table of docs/platforms.md.
//!
//! In each, std's bind(2) is the truth about whether a socket opens and with which error, and the
//! test process is the only holder of the port in use.

#![cfg(target_os = "linux")]

mod util;

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use bindaddr::diagnosis::HintKind;
use bindaddr::{Cause, bind, bind_udp, check, check_udp};
use util::netns::{in_namespace_of, ip, wait_until};
use util::{rerun, sandbox};

const TEST: &str = "sandboxes_report_no_false_cause";
const PAGE: &str = include_str!("../docs/platforms.md");

/// The process that holds the port in use, for the sandboxed one.
const HOLDER: &str = "BINDADDR_TEST_HOLDER";

/// The settings that bind outside of a sandbox; `eth0` has 192.168.71.67.
const VALID: [&str; 5] = ["127.0.0.1:0", "[::1]:0", "*:0", "192.168.71.67:0", "eth0:0"];

/// Those that do not, and one that needs a privilege, in the order of the page's columns.
const INVALID: [&str; 6] = [
    "198.51.100.1:8080",
    "[2001:db8:9::1]:8080",
    "127.0.0.1:8080",
    "nope0:8080",
    "224.0.0.1:8080",
    "192.168.71.67:80",
];

/// A sandbox: its row, how a process gets into it, and what that process does to itself then.
struct Sandbox {
    name: &'static str,
    /// Mounts something in a mount namespace of its own.
    mount: &'static str,
    /// The words that start a process in it, after the mount.
    wrapper: &'static [&'static str],
    /// Returns `false` if the kernel cannot.
    enter: fn() -> bool,
}

const UNPRIVILEGED: [&str; 6] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
];

const NOTHING: Sandbox = Sandbox {
    name: "none",
    mount: "",
    wrapper: &[],
    enter: || true,
};

const fn mounted(name: &'static str, mount: &'static str) -> Sandbox {
    Sandbox {
        name,
        mount,
        ..NOTHING
    }
}

const fn entered(name: &'static str, enter: fn() -> bool) -> Sandbox {
    Sandbox {
        name,
        enter,
        ..NOTHING
    }
}

const fn wrapped(name: &'static str, wrapper: &'static [&'static str]) -> Sandbox {
    Sandbox {
        name,
        wrapper,
        ..NOTHING
    }
}

/// A network namespace whose only way out is slirp4netns, as of a rootless container. The test
/// starts slirp4netns, which names its interface eth0.
const SLIRP: Sandbox = Sandbox {
    name: "slirp4netns",
    mount: "",
    wrapper: &["unshare", "--net"],
    enter: || {
        // Not in /sys, which shows the namespace that it was mounted in.
        wait_until("slirp4netns adds its route", || {
            let routes = std::fs::read_to_string("/proc/thread-self/net/route");
            routes.is_ok_and(|routes| routes.lines().any(|line| line.starts_with("eth0\t")))
        });
        ip("link set lo up");
        ip("addr add 192.168.71.67/16 dev eth0");
        // It would be tentative for a second.
        ip("addr flush dev eth0 scope link");
        std::mem::forget(bind("127.0.0.1:8080").expect("the namespace is new"));
        true
    },
};

const SANDBOXES: [Sandbox; 19] = [
    NOTHING,
    wrapped("a user without privileges", &UNPRIVILEGED),
    Sandbox {
        name: "`hidepid=2`, unprivileged",
        mount: "mount -t proc -o hidepid=2 proc /proc",
        wrapper: &UNPRIVILEGED,
        enter: || true,
    },
    mounted("`ProcSubset=pid`", "mount -t proc -o subset=pid proc /proc"),
    mounted("`/proc/sys` masked", "mount -t tmpfs none /proc/sys"),
    mounted("no `/proc`", "mount -t tmpfs none /proc"),
    entered("`RestrictAddressFamilies=` without netlink", || {
        without_family(16)
    }),
    Sandbox {
        name: "no `/proc` and no netlink",
        mount: "mount -t tmpfs none /proc",
        wrapper: &[],
        enter: || without_family(16),
    },
    entered("`RestrictAddressFamilies=` without IPv6", || {
        without_family(10)
    }),
    wrapped(
        "rootless user namespace",
        &["unshare", "--user", "--map-root-user"],
    ),
    wrapped(
        "`NoNewPrivileges=`, unprivileged",
        &[
            "setpriv",
            "--no-new-privs",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--bounding-set=-all",
            "--inh-caps=-all",
        ],
    ),
    entered("Landlock", sandbox::refuse_tcp_ports),
    entered("seccomp: bind(2) fails with EPERM", || bind_fails(EPERM)),
    entered("seccomp: EACCES", || bind_fails(EACCES)),
    entered("seccomp: ENOSYS", || bind_fails(ENOSYS)),
    entered("seccomp: EINVAL", || bind_fails(EINVAL)),
    entered("seccomp: EADDRINUSE", || bind_fails(EADDRINUSE)),
    entered("seccomp: EADDRNOTAVAIL", || bind_fails(EADDRNOTAVAIL)),
    SLIRP,
];

fn without_family(family: u64) -> bool {
    sandbox::refuse_family(family, EAFNOSUPPORT);
    true
}

fn bind_fails(errno: u32) -> bool {
    sandbox::refuse_bind(errno);
    true
}

impl Sandbox {
    /// The words that start a process in it.
    fn words(&self) -> Vec<String> {
        let script = format!("{} && exec \"$0\" \"$@\"", self.mount);
        let mount = ["unshare", "--mount", "sh", "-c", &script];
        let mount = if self.mount.is_empty() {
            &[]
        } else {
            &mount[..]
        };
        [mount, self.wrapper]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }
}

// From asm-generic/errno.h.
const EPERM: u32 = 1;
const EACCES: u32 = 13;
const EINVAL: u32 = 22;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: u32 = 97;
const EADDRINUSE: u32 = 98;
const EADDRNOTAVAIL: u32 = 99;

#[test]
fn sandboxes_report_no_false_cause() {
    let role = rerun::role();
    let entered = SANDBOXES
        .iter()
        .find(|sandbox| role.as_deref() == Some(sandbox.name));
    if let Some(sandbox) = entered {
        if (sandbox.enter)() {
            println!("row {}", outcomes(sandbox.name));
        }
        return rerun::done();
    }
    in_namespace_of(TEST, || {
        ip("link add name eth0 type veth peer name far0");
        ip("link set far0 up");
        ip("link set eth0 up");
        ip("addr add 192.168.71.67/16 dev eth0");
        let _held = bind("127.0.0.1:8080").expect("the namespace is new");
        let mut wrong = Vec::new();
        for sandbox in &SANDBOXES {
            let words = sandbox.words();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let is_slirp = sandbox.name == SLIRP.name;
            if !can_enter(&words) || is_slirp && !has_slirp() {
                let reason = format!("the sandbox {} cannot be made here", sandbox.name);
                let required = if is_slirp {
                    "BINDADDR_REQUIRE_SLIRP4NETNS"
                } else {
                    "BINDADDR_REQUIRE_USERS"
                };
                rerun::skip(TEST, &reason, required);
                continue;
            }
            let mut command = rerun::command(TEST, sandbox.name, &words);
            command.env(HOLDER, std::process::id().to_string());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = command.spawn().expect("the wrapper starts");
            let slirp = is_slirp.then(|| start_slirp(child.id()));
            let output = child.wait_with_output().expect("it ends");
            if let Some(mut slirp) = slirp {
                slirp.kill().and_then(|()| slirp.wait()).expect("it runs");
            }
            let stdout = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && stdout.contains(rerun::DONE),
                "{}: {stdout}\n{stderr}",
                sandbox.name
            );
            let row = stdout
                .lines()
                .find_map(|line| line.split_once("row ").map(|(_, row)| row));
            match row {
                Some(row) if PAGE.contains(row) => {}
                Some(row) => wrong.push(row.to_owned()),
                None => {
                    let reason = format!("the kernel lacks the sandbox {}", sandbox.name);
                    rerun::skip(TEST, &reason, "BINDADDR_REQUIRE_LANDLOCK");
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "docs/platforms.md lacks:\n{}",
            wrong.join("\n")
        );
    });
}

/// Returns `true` if slirp4netns is installed, and the kernel has the device that it opens.
fn has_slirp() -> bool {
    let tun = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun");
    let mut version = Command::new("slirp4netns");
    let version = version.arg("--version").stdout(Stdio::null()).status();
    tun.is_ok() && version.is_ok_and(|status| status.success())
}

/// Starts slirp4netns for the network namespace that a process makes.
fn start_slirp(pid: u32) -> Child {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
    let pid = pid.to_string();
    wait_until("the process has a namespace", || {
        let (its, ours) = (namespace(&pid), namespace("self"));
        its.is_ok_and(|its| ours.is_ok_and(|ours| its != ours))
    });
    let mut slirp = Command::new("slirp4netns");
    slirp.args(["--configure", "--disable-host-loopback", &pid, "eth0"]);
    slirp
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    slirp.spawn().expect("slirp4netns starts")
}

/// Whether this machine permits the mounts and users of a sandbox.
fn can_enter(wrapper: &[&str]) -> bool {
    let Some((program, words)) = wrapper.split_first() else {
        return true;
    };
    let mut probe = Command::new(program);
    let probe = probe.args(words).arg("true");
    let status = probe.stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Returns the row of the page for the sandbox that this process is in: what happens to the valid
/// settings, and the cause for each other one.
fn outcomes(name: &str) -> String {
    let valid = VALID.map(|text| (text, outcome(text)));
    let failed: Vec<String> = valid
        .iter()
        .filter(|(_, outcome)| outcome != "binds")
        .map(|(text, outcome)| format!("`{text}` {outcome}"))
        .collect();
    let all = &valid[0].1;
    let of_valid = match failed.len() {
        0 => "all bind".to_owned(),
        n if n == valid.len() && valid.iter().all(|(_, one)| one == all) => format!("all {all}"),
        _ => failed.join(", "),
    };
    let of_invalid = INVALID.map(outcome).join(" | ");
    format!("| {name} | {of_valid} | {of_invalid} |")
}

/// Binds a setting and checks it, and returns the name of the cause, or `binds`.
fn outcome(text: &str) -> String {
    udp_agrees(text);
    let checked = check(text);
    // Closed again before the next bind(2).
    let std = std_of(text).map(|std| std.map(drop));
    let bound = bind(text);
    let Err(err) = bound else {
        assert!(checked.is_ok(), "{text}: {:?}", checked.settings());
        assert!(std.is_none_or(|std| std.is_ok()), "{text}");
        return "binds".to_owned();
    };
    let causes: Vec<&str> = checked.settings()[0].causes().map(Cause::name).collect();
    assert_eq!(causes.first(), Some(&err.cause().name()), "{text}: {err}");
    if let Some(std) = std
        && text != "224.0.0.1:8080"
    {
        let std = std.expect_err(text);
        assert_eq!(err.raw_os_error(), std.raw_os_error(), "{text}: {err}");
    }
    assert_true(text, &err);
    err.cause().name().to_owned()
}

/// Asserts that a check over UDP reports what a bind does, and no port that is in use where none is.
fn udp_agrees(text: &str) {
    let checked = check_udp(text);
    match bind_udp(text) {
        Ok(_) => assert!(checked.is_ok(), "{text}: {:?}", checked.settings()),
        Err(err) => {
            let causes: Vec<&str> = checked.settings()[0].causes().map(Cause::name).collect();
            assert_eq!(causes.first(), Some(&err.cause().name()), "{text}: {err}");
            let full = "ephemeral-ports-exhausted";
            assert_ne!(err.cause().name(), full, "{text}: {err}");
        }
    }
}

/// Binds by std, where it reads the text.
fn std_of(text: &str) -> Option<std::io::Result<TcpListener>> {
    let addr: SocketAddr = text.parse().ok()?;
    Some(TcpListener::bind(addr))
}

/// Asserts what the error claims against what the test knows: who has which port, and that no
/// address is advised that does not bind.
fn assert_true(text: &str, err: &bindaddr::BindError) {
    let holder: u32 = std::env::var(HOLDER)
        .expect("it is set")
        .parse()
        .expect("a number");
    if let Cause::InUse { holders, port, .. } = err.cause() {
        assert_eq!(*port, 8080, "{err}");
        for one in holders {
            let is_holder = |pid| pid == holder || one.is_this_process();
            assert!(one.pid().is_none_or(is_holder), "{err}");
            assert!(
                one.uid().is_none_or(|uid| uid == 0 || uid == 65534),
                "{err}"
            );
        }
    }
    for hint in err.hints() {
        let applies = matches!(hint.kind(), HintKind::Replace | HintKind::Widen);
        if let (true, Some(replacement)) = (applies, hint.replacement()) {
            assert!(bind(replacement).is_ok(), "{text}: {hint}");
        }
    }
}
