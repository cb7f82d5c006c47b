//! Running a test again in a process of its own: in a namespace, under strace.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

/// Says in the environment of the new process what it is to the test.
const ROLE: &str = "BINDADDR_TEST_ROLE";
/// The words that start a program, where the tests are another machine's and emulated.
const RUNNER: &str = "BINDADDR_TEST_RUNNER";
/// The last word of a process that ran the test to its end. Without it a test
/// that was not found would pass.
pub(crate) const DONE: &str = "the test ran to its end";

/// Returns what this process is to the test; `None` if it is the first one.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// The rows of tables that were found wrong in this process, which are reported together.
static WRONG: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Reports a row of a table that is wrong, at the [end](done) of the test.
pub(crate) fn wrong_row(row: String) {
    WRONG.lock().expect("no thread panics in it").push(row);
}

/// Ends a test in its new process.
#[track_caller]
pub(crate) fn done() {
    let wrong = WRONG.lock().expect("no thread panics in it").join("\n");
    assert!(wrong.is_empty(), "these rows are not as expected:\n{wrong}");
    println!("{DONE}");
}

/// The command that runs `test` of this file again as `role`, behind the words of `wrapper`.
pub(crate) fn command(test: &str, role: &str, wrapper: &[&str]) -> Command {
    let exe = env::current_exe().expect("a test has a file");
    command_of(&exe, test, role, wrapper)
}

fn command_of(exe: &Path, test: &str, role: &str, wrapper: &[&str]) -> Command {
    let runner = env::var(RUNNER).unwrap_or_default();
    let before = wrapper.iter().copied().chain(runner.split_whitespace());
    let mut words = before.map(OsStr::new).chain([exe.as_os_str()]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).stdin(Stdio::null());
    command
}

/// Runs `test` again and fails if it does.
#[track_caller]
pub(crate) fn run(test: &str, role: &str, wrapper: &[&str]) -> Output {
    let exe = env::current_exe().expect("a test has a file");
    run_exe(&exe, test, role, wrapper)
}

/// As [`run`], from a copy of this file.
#[track_caller]
pub(crate) fn run_exe(exe: &Path, test: &str, role: &str, wrapper: &[&str]) -> Output {
    let output = command_of(exe, test, role, wrapper)
        .output()
        .expect("the wrapper runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && stdout.contains(DONE),
        "{test} failed as {role}, {}:\n{stdout}\n{stderr}",
        output.status,
    );
    output
}

/// Says that a test was skipped, past libtest's capture; fails where `required` is set to 1.
#[track_caller]
pub(crate) fn skip(test: &str, reason: &str, required: &str) {
    assert!(
        env::var(required).as_deref() != Ok("1"),
        "{test} cannot run, and {required}=1: {reason}",
    );
    // The macros write to where libtest looks; this writes to the terminal.
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {reason}");
}
