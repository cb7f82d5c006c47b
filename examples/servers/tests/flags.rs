//! Settings as flags of clap, which needs no feature.

use std::process::Command;

use bindaddr::ListenAddr;

/// Returns the example's output, and whether it succeeds.
fn flags(args: &[&str]) -> (String, String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_flags"))
        .args(args)
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.success(),
    )
}

#[test]
fn flags_accept_repetition_and_lists() {
    let (stdout, stderr, is_ok) = flags(&[
        "--listen",
        "127.0.0.1:0",
        "--listen=127.0.0.2:0",
        "--metrics",
        "127.0.0.1:0, 127.0.0.2:0",
    ]);
    let of = |what: &str| stdout.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!(
        (
            of("listening on 127.0.0."),
            of("metrics on 127.0.0."),
            is_ok
        ),
        (2, 2, true),
        "{stderr}"
    );
}

#[test]
fn parse_error_is_shown_by_the_flag_parser() {
    let (_, message, is_ok) = flags(&["--listen", "::1:80"]);
    let ours = "::1:80".parse::<ListenAddr>().expect_err("it is ambiguous");
    let expected = format!("error: invalid value '::1:80' for '--listen <ADDR>': {ours}\n");
    assert!(message.starts_with(&expected) && !is_ok, "{message}");
    let (_, message, is_ok) = flags(&["--listen", "127.0.0.1:0", "--metrics", "*:80, 127.1:80"]);
    assert!(
        message.contains("for '--metrics <ADDRS>': entry 2 of 2: invalid listen address") && !is_ok,
        "{message}"
    );
}

/// An address that may be absent begins as a flag does, so it is joined to its own by `=`.
#[test]
fn optional_address_requires_equals_sign() {
    let (stdout, stderr, is_ok) = flags(&["--listen=-198.51.100.1:0", "--listen=127.0.0.1:0"]);
    assert!(
        is_ok && stdout.starts_with("listening on 127.0.0.1:"),
        "{stderr}"
    );
    assert!(!flags(&["--listen", "-[::1]:0"]).2);
}
