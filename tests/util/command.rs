//! The command `bindaddr`, and what it writes.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// Returns the command, whose lines are 80 columns wide.
pub(crate) fn bindaddr(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bindaddr"));
    command.args(args).env("COLUMNS", "80").stdin(Stdio::null());
    command
}

/// Runs the command and returns what it wrote and its exit status.
pub(crate) fn run(args: &[&str]) -> (String, String, Option<i32>) {
    run_with("", args)
}

/// The same with `input` on its standard input.
pub(crate) fn run_with(input: &str, args: &[&str]) -> (String, String, Option<i32>) {
    let mut command = bindaddr(args);
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // ERROR_INTERNAL_ERROR: Wine fails to start a process now and then.
    let is_of_wine = |err: &std::io::Error| cfg!(windows) && err.raw_os_error() == Some(1359);
    let spawned = command.spawn().or_else(|err| {
        if is_of_wine(&err) {
            command.spawn()
        } else {
            Err(err)
        }
    });
    let mut process = spawned.expect("it runs");
    let mut stdin = process.stdin.take().expect("it is piped");
    // It may have ended without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    texts(process.wait_with_output().expect("it ends"))
}

pub(crate) fn texts(output: Output) -> (String, String, Option<i32>) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

/// Asserts what the command writes, and nothing on the standard error.
#[track_caller]
pub(crate) fn writes(args: &[&str], expected: &str, status: i32) {
    let (stdout, stderr, code) = run(args);
    assert_eq!(stdout, expected, "{stderr}");
    assert_eq!((stderr.as_str(), code), ("", Some(status)));
    let widest = stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?}");
}
