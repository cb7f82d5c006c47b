//! Tests under strace: which system calls are made, and what if one fails.

use std::fs;
use std::process::{Command, Stdio};

use super::rerun;

const REQUIRED: &str = "BINDADDR_REQUIRE_STRACE";

/// Returns `true` if strace can trace here; prints that `test` is skipped if not.
#[track_caller]
pub(crate) fn is_there_for(test: &str) -> bool {
    let there = is_there();
    if !there {
        rerun::skip(test, "strace cannot trace here", REQUIRED);
    }
    there && super::is_like_linux(test)
}

fn is_there() -> bool {
    let mut probe = Command::new("strace");
    probe.args(["-f", "-o", "/dev/null", "true"]);
    let status = probe.stdin(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Runs `body` under strace with the given options; `test` is the name of the test function.
///
/// Without strace the test prints that it is skipped, and fails under
/// `BINDADDR_REQUIRE_STRACE=1`.
#[track_caller]
pub(crate) fn under_strace(test: &str, options: &[&str], body: fn()) {
    if rerun::role().is_some() {
        body();
        rerun::done();
    } else if is_there_for(test) {
        let wrapper = [
            &["strace", "-f", "-qq", "-o", "/dev/null"],
            options,
            &["--"],
        ]
        .concat();
        rerun::run(test, "traced", &wrapper);
    }
}

/// Returns the system calls on files and sockets that `test` makes in each of
/// `roles`, with the numbers of descriptors and ports left out; `None` where
/// strace is not installed.
#[track_caller]
pub(crate) fn calls(test: &str, roles: &[&str]) -> Option<Vec<Vec<String>>> {
    if !is_there_for(test) {
        return None;
    }
    let trace = |role: &&str| {
        let file = std::env::temp_dir().join(format!(
            "bindaddr-{test}-{role}-{}.strace",
            std::process::id()
        ));
        let path = file.to_str().expect("a path in text");
        let wrapper = [
            "strace",
            "-f",
            "-qq",
            "-o",
            path,
            "-e",
            "trace=%network,close,?open,openat,?readlink,readlinkat",
            "--",
        ];
        rerun::run(test, role, &wrapper);
        let text = fs::read_to_string(&file).expect("strace wrote it");
        let _ = fs::remove_file(&file);
        let lines = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(_, call)| call);
        // The calls between the marks are the test's, not libtest's.
        let mut marked = lines.skip_while(|call| !call.contains(BEGIN)).skip(1);
        marked
            .by_ref()
            .take_while(|call| !call.contains(END))
            .map(normal)
            .collect()
    };
    Some(roles.iter().map(trace).collect())
}

const BEGIN: &str = "/bindaddr-begins-here";
const END: &str = "/bindaddr-ends-here";

/// Runs `body` between marks in the trace.
pub(crate) fn marked<T>(body: impl FnOnce() -> T) -> T {
    let _ = fs::File::open(BEGIN);
    let result = body();
    let _ = fs::File::open(END);
    result
}

/// Leaves out of a call what differs from run to run.
fn normal(call: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    // A descriptor is the first argument, a number behind the parenthesis or
    // what the call returns; a port is in htons().
    for c in call.trim().chars().chain(['\n']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if !digits.is_empty() {
            let is_descriptor = out.ends_with('(') && !out.ends_with("htons(");
            let is_port = out.ends_with("htons(") && digits != "0";
            let is_result = out.ends_with("= ");
            out.push_str(match (is_descriptor, is_port, is_result && digits != "0") {
                (true, ..) => "FD",
                (_, true, _) => "PORT",
                (.., true) => "N",
                _ => &digits,
            });
            digits.clear();
        }
        out.push(c);
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}
