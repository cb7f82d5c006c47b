//! Settings as flags of clap, which needs no feature.

use bindaddr::{ListenAddr, ListenAddrs};
use clap::Parser;

#[derive(Debug, Parser)]
struct Args {
    /// Where to listen; may be repeated.
    #[arg(long)]
    listen: Vec<ListenAddr>,
    /// Where the metrics are.
    #[arg(long, default_value = "localhost:9090")]
    metrics: ListenAddrs,
}

fn parse(args: &[&str]) -> Result<Args, String> {
    Args::try_parse_from([&["server"], args].concat()).map_err(|err| err.to_string())
}

#[test]
fn flags_may_be_repeated() {
    let args = parse(&[
        "--listen",
        "*:80",
        "--listen=[::1]:80",
        "--metrics",
        "8081, eth0:8082",
    ]);
    let args = args.unwrap();
    let listen: Vec<String> = args.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["*:80", "[::1]:80"]);
    assert_eq!(args.metrics.to_string(), "*:8081, eth0:8082");
    assert_eq!(parse(&[]).unwrap().metrics.to_string(), "localhost:9090");
}

#[test]
fn the_error_is_ours() {
    let told = parse(&["--listen", "::1:80"]).unwrap_err();
    let ours = "::1:80".parse::<ListenAddr>().unwrap_err();
    let expected = format!("error: invalid value '::1:80' for '--listen <LISTEN>': {ours}\n");
    assert!(told.starts_with(&expected), "{told}");
}

/// An address that may be absent begins as a flag does, so it is joined to its own by `=`.
#[test]
fn an_optional_address_is_joined_to_its_flag() {
    let args = parse(&["--listen=-[::1]:80"]).unwrap();
    assert!(args.listen[0].is_optional());
}
