//! Parses its argument, and prints what is wrong.

use bindaddr::ListenAddr;

fn main() {
    let text = std::env::args().nth(1).unwrap_or_default();
    match text.parse::<ListenAddr>() {
        Ok(addr) => println!("{addr}"),
        Err(err) => println!("{err}"),
    }
}
