//! Loads a setting that keeps host and port apart, and says what is wrong with it.
//!
//! `cargo run --example config` reads a made-up file; give it the path of a file
//! with the lines `host = …` and `port = …` to read that.

use std::error::Error;
use std::process::ExitCode;

use bindaddr::BindTarget;
use bindaddr::target::ForeignReason;

const SAMPLE: &str = "\
host = 127.0.0.1
port = 0
";

/// The settings that the server needs.
struct Config {
    target: BindTarget,
    port: u16,
}

impl Config {
    fn read(text: &str) -> Result<Self, Box<dyn Error>> {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim())
                .ok_or_else(|| format!("`{key}` is missing"))
        };
        let target = BindTarget::parse(value("host")?)?;
        // Refuse at load time what could only fail later.
        if let BindTarget::Foreign(addr) = &target {
            if let ForeignReason::Multicast = addr.reason() {
                return Err(format!("host: {target}").into());
            }
            eprintln!("warning: host = {target}");
        }
        Ok(Self {
            target,
            port: value("port")?.parse()?,
        })
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let text = match std::env::args().nth(1) {
        Some(path) => std::fs::read_to_string(path)?,
        None => SAMPLE.to_owned(),
    };
    let config = Config::read(&text)?;
    println!("host means {}", config.target);
    for listener in bindaddr::bind((&config.target, config.port))? {
        println!("listening on {}", listener.local_addr());
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("error: {err}");
            ExitCode::FAILURE
        }
    }
}
