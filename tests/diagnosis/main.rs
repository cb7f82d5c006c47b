//! The diagnosis against the Linux kernel: a situation for every cause, what std
//! says there and what this crate says.
//!
//! `docs/diagnosis.md` has a row for each, which is the expected text; a test whose rows are not
//! there fails and prints them. `tests/accept-texts` replaces the rows of the page by what the
//! tests have found, to be reviewed.
#![cfg(target_os = "linux")]

mod address;
mod denied;
mod family;
mod port;
mod unreadable;
#[path = "../util/mod.rs"]
mod util;
mod warnings;

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bindaddr::addr::Family;
use bindaddr::check::RunningServer;
use bindaddr::diagnosis::{
    BindableReason, FamilyUnavailableReason, HintKind, Holder, Policy, Privilege, SettingError,
    SocketState, Step, WarningKind,
};
use bindaddr::plan::ToSettings;
use bindaddr::target::{GroupAddr, Overlap};
use bindaddr::{BindError, BindOptions, BindTarget, Cause, Interfaces, ListenAddr, bind, bind_udp};
use socket2::{Domain, Socket, Type};
use util::features;
use util::netns::{Host, in_namespace, in_namespace_of, ip, set};
use util::rerun;
use util::sandbox;

const DOCS: &str = include_str!("../../docs/diagnosis.md");

/// An interface `eth0` with a cable, so that its addresses are usable.
fn cable() {
    ip("link add name eth0 type veth peer name far0");
    ip("link set eth0 up");
    ip("link set far0 up");
}

/// Binds `setting`, which fails, and compares it with the row of the docs.
#[track_caller]
fn row(situation: &str, setting: impl ToSettings) -> BindError {
    let err = fails(&BindOptions::new(), situation, setting);
    let addr = err.addr().expect("it came to a socket");
    let std = TcpListener::bind(addr).map_or_else(|err| err.to_string(), |_| "binds it".to_owned());
    hold_row(&err, situation, &std);
    err
}

/// As [`row`], with options that std does not have.
#[track_caller]
fn row_with(options: &BindOptions, situation: &str, setting: impl ToSettings) -> BindError {
    let err = fails(options, situation, setting);
    hold_row(&err, situation, "has no such option");
    err
}

#[track_caller]
fn fails(options: &BindOptions, situation: &str, setting: impl ToSettings) -> BindError {
    let err = options.bind(setting).expect_err(situation);
    follow_advice(options, &err);
    err
}

/// Applies each advice to write another setting, on the host where the failure happened: it binds,
/// and opens no more than what was written unless the advice says so.
#[track_caller]
fn follow_advice(options: &BindOptions, err: &BindError) {
    let host = Interfaces::system().unwrap_or_default();
    let exposure = |text: &str| {
        let targets = text
            .parse::<ListenAddr>()
            .expect("it parses")
            .resolve(&host);
        let targets = targets.unwrap_or_default();
        targets.iter().map(|target| target.exposure(&host)).max()
    };
    for hint in err.hints() {
        let Some(replacement) = hint.replacement() else {
            run_command(&hint);
            continue;
        };
        let bound = options.bind(replacement);
        assert!(bound.is_ok(), "{}: {hint}: {bound:?}", err.text());
        match hint.kind() {
            HintKind::Widen => assert!(
                ["reachable from", "opens the port to", "more clients"]
                    .iter()
                    .any(|words| hint.text().contains(words)),
                "{hint}"
            ),
            kind => {
                assert_eq!(kind, HintKind::Replace, "{hint}");
                assert!(exposure(replacement) <= exposure(err.text()), "{hint}");
            }
        }
    }
}

/// Runs the command that a hint shows something by.
#[track_caller]
fn run_command(hint: &bindaddr::diagnosis::Hint) {
    if hint.kind() != HintKind::Inspect {
        return;
    }
    // A hint about a security module names tools that need not be installed.
    let Some(command) = hint.text().strip_prefix('`') else {
        return;
    };
    let command = command.split('`').next().expect("a command");
    let output = Command::new("sh").args(["-c", command]).output();
    assert!(output.is_ok_and(|output| output.status.success()), "{hint}");
}

/// The settings that are advised to write instead.
fn replacements(err: &BindError) -> Vec<String> {
    let hints = err.hints().into_iter();
    hints
        .filter_map(|hint| hint.replacement().map(str::to_owned))
        .collect()
}

/// The advice that an operator can follow.
fn texts_of_hints(err: &BindError) -> Vec<String> {
    let hints = err.hints().into_iter();
    let for_operators = hints.filter(|hint| hint.kind() != HintKind::Program);
    for_operators.map(|hint| hint.to_string()).collect()
}

#[track_caller]
fn hold_row(err: &BindError, situation: &str, std: &str) {
    let cause = format!("{:?}", err.cause());
    let cause = cause.split(|c: char| !c.is_alphanumeric()).next();
    let row = format!(
        "| {} | {situation} | {std} | `` {} `` |",
        cause.unwrap_or_default(),
        unnumbered(&err.to_string()),
    );
    if let Ok(file) = std::env::var("BINDADDR_DIAGNOSIS_ROWS") {
        match std::fs::File::options().append(true).open(file) {
            Ok(mut file) => writeln!(file, "{row}").expect("it is written"),
            // In some of the situations it cannot be.
            Err(_) if !DOCS.contains(&row) => rerun::wrong_row(row),
            Err(_) => {}
        }
    // Another library has other words for an error.
    } else if cfg!(target_env = "gnu") && !DOCS.contains(&row) {
        rerun::wrong_row(row);
    }
}

/// Leaves out the numbers of processes and descriptors, which differ from run to run.
fn unnumbered(sentence: &str) -> String {
    let sentence = &match sentence.split_once("this process has ") {
        Some((before, after)) if after.ends_with(" open") => {
            format!("{before}this process has N open")
        }
        _ => sentence.to_owned(),
    };
    let mut parts = sentence.split("(pid ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("(pid N");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    out
}

/// Waits for what takes the kernel a moment.
#[track_caller]
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(90), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The flags of an address in `if_inet6`.
fn has_flag(ip: &str, flag: u8) -> bool {
    let IpAddr::V6(ip) = util::ip(ip) else {
        return false;
    };
    let hex = format!("{:032x}", ip.to_bits());
    let table = std::fs::read_to_string("/proc/self/net/if_inet6").unwrap_or_default();
    table.lines().any(|line| {
        let flags = line.split_ascii_whitespace().nth(4).unwrap_or_default();
        line.starts_with(&hex) && u8::from_str_radix(flags, 16).is_ok_and(|all| all & flag != 0)
    })
}

/// A socket as servers make it that do not set `SO_REUSEADDR`.
fn without_reuse(addr: &str) -> Socket {
    let addr: SocketAddr = addr.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None);
    let socket = socket.expect("there are sockets");
    socket.bind(&addr.into()).expect("the port is free");
    socket
}

/// The words that start a program of the same user without any capability.
const WITHOUT_CAPABILITIES: [&str; 4] = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"];

/// A replacement that would not bind, or to which no client could connect, is not offered.
#[test]
fn replacement_needs_a_free_port_and_a_usable_interface() {
    let test = "replacement_needs_a_free_port_and_a_usable_interface";
    in_namespace_of(test, || {
        cable();
        ip("addr add 10.0.0.1/24 dev eth0");
        ip("addr add 2001:db8::1/64 nodad dev eth0");
        let plain = BindOptions::new();
        let offered = |options: &BindOptions, text: &str| {
            let check = options.check([text]);
            let hints = check.settings()[0].hints();
            let of_check: Vec<_> = hints
                .iter()
                .filter_map(|hint| hint.replacement().map(str::to_owned))
                .collect();
            let err = options.bind(text).unwrap_err();
            assert_eq!(replacements(&err), of_check, "{text}");
            follow_advice(options, &err);
            of_check
        };
        let nothing = [""; 0];
        assert_eq!(
            offered(&plain, "10.0.0.2:80"),
            ["10.0.0.1:80", "0.0.0.0:80"]
        );
        // Other entries of the list have the port.
        for list in [
            ["10.0.0.1:80", "10.0.0.2:80"],
            ["10.0.0.2:80", "0.0.0.0:80"],
        ] {
            let err = bindaddr::bind(list).unwrap_err();
            assert_eq!(replacements(&err), nothing, "{list:?}");
            let check = bindaddr::check(list);
            let hints = check
                .settings()
                .iter()
                .flat_map(bindaddr::check::CheckedSetting::hints);
            let offered: Vec<_> = hints.filter(|hint| hint.replacement().is_some()).collect();
            assert!(offered.is_empty(), "{list:?}: {offered:?}");
        }
        let beside = bindaddr::bind(["10.0.0.2:80", "127.0.0.1:80"]).unwrap_err();
        assert_eq!(replacements(&beside), ["10.0.0.1:80"]);
        // Whether the holder of a port shares it is unknown.
        let sharing = BindOptions::new().reuse_port(true);
        assert_eq!(offered(&sharing, "10.0.0.2:80"), nothing);
        assert_eq!(offered(&sharing, "10.0.0.2:0"), ["10.0.0.1:0", "0.0.0.0:0"]);
        // The wildcard is dual-stack, so an IPv4 listener has its port.
        let held = bind("10.0.0.1:80").unwrap();
        assert_eq!(offered(&plain, "[2001:db8::2]:80"), ["[2001:db8::1]:80"]);
        drop(held);
        // An IPv4-mapped address that is of another host.
        let v6_only = BindOptions::new().only_v6(true);
        for text in [
            "[::ffff:10.0.0.2]:80",
            "[::ffff:224.0.0.1]:80",
            "[::ffff:10.0.0.255]:80",
        ] {
            assert_eq!(offered(&v6_only, text), nothing, "{text}");
        }
        assert_eq!(offered(&v6_only, "[::ffff:10.0.0.1]:80"), ["10.0.0.1:80"]);
        // An alternative name of an interface that lacks the address.
        ip("link property add dev far0 altname uplink0");
        let err = bind("[fe80::9%uplink0]:80").unwrap_err();
        assert_eq!(err.cause().name(), "unresolved", "{err}");
        assert_eq!(replacements(&err), nothing);
        // Through the device no client reaches another interface's address.
        let on_lo = BindOptions::new().device("lo");
        assert_eq!(offered(&on_lo, "10.0.0.2:80"), ["0.0.0.0:80"]);
        let texts = texts_of_hints(&on_lo.bind("10.0.0.2:80").unwrap_err());
        assert_eq!(
            texts[0],
            "`0.0.0.0:80` listens on every IPv4 address of this host"
        );
        // Both interfaces have the address, and the zone is what does not fit.
        ip("addr add fe80::7/64 nodad dev lo");
        ip("addr add fe80::7/64 nodad dev eth0");
        assert_eq!(
            on_lo
                .bind("[fe80::7%eth0]:80")
                .unwrap_err()
                .cause()
                .to_string(),
            "the server binds this socket to the interface lo, but the zone of fe80::7 is eth0"
        );
        // No interface has ::1 then.
        set("net/ipv6/conf/all/disable_ipv6", "1");
        let on_eth0 = BindOptions::new().device("eth0");
        let err = on_eth0.bind("[::1]:5000").unwrap_err();
        assert!(err.to_string().contains("IPv6 is disabled"), "{err}");
        assert_eq!(replacements(&err), nothing);
        set("net/ipv6/conf/all/disable_ipv6", "0");
        // Nothing comes in through a loopback interface that is down.
        ip("link set lo down");
        assert_eq!(offered(&plain, "[fe80::1%lo]:5000"), nothing);
    });
}

#[test]
fn each_row_of_the_page_is_tested() {
    let tests = [
        include_str!("address.rs"),
        include_str!("family.rs"),
        include_str!("port.rs"),
        include_str!("denied.rs"),
        include_str!("unreadable.rs"),
        include_str!("../own_kernel.rs"),
        include_str!("../../src/diagnose/tests.rs"),
    ]
    .concat();
    let rows: Vec<&str> = DOCS
        .lines()
        .filter(|line| line.contains("| `` cannot listen"))
        .collect();
    assert!(rows.len() > 30, "{}", rows.len());
    for row in rows {
        let situation = row.split(" | ").nth(1).expect("a row has columns");
        assert!(tests.contains(&format!("\"{situation}\"")), "{situation}");
    }
}
