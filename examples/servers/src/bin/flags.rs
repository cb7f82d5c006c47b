//! Settings as flags:
//! `cargo run -p bindaddr-servers --bin flags -- --listen localhost:0 --listen '*:8080'`.

use anyhow::Result;
use bindaddr::{ListenAddr, ListenAddrs};
use clap::Parser;

#[derive(Parser)]
struct Args {
    /// Addresses to listen on; can be repeated.
    #[arg(long, required = true, value_name = "ADDR")]
    listen: Vec<ListenAddr>,
    /// Addresses of the metrics, a list in one flag.
    #[arg(long, default_value = "localhost:0", value_name = "ADDRS")]
    metrics: ListenAddrs,
}

fn main() -> Result<()> {
    let args = Args::parse();
    for listener in bindaddr::bind(&args.listen)? {
        println!("listening on {listener}");
    }
    for listener in bindaddr::bind(&args.metrics)? {
        println!("metrics on {listener}");
    }
    Ok(())
}
