//! Serves a small page on listen addresses: `cargo run --example serve -- 0.0.0.0:5000`.
//!
//! It takes any number of them, each of which may be a list, says what each means on this host,
//! opens the sockets, prints the URLs by which the page can be opened and what an operator may not
//! expect, and serves until stopped. Without any it takes a free port of this host only. With
//! `--wait` in front it waits up to ten seconds for what is not there yet.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use bindaddr::{BindError, BindOptions, Interfaces, ListenAddrs};

fn main() -> ExitCode {
    let mut options = BindOptions::new();
    let mut texts: Vec<String> = std::env::args().skip(1).collect();
    if texts.first().is_some_and(|first| first == "--wait") {
        texts.remove(0);
        options = options.wait(Duration::from_secs(10)).on_wait(|waiting| {
            eprint!("\rwaiting, {:.0?} left", waiting.left());
            ControlFlow::Continue(())
        });
    }
    if texts.is_empty() {
        texts.push("localhost:0".to_owned());
    }
    let addrs = match ListenAddrs::parse_each(texts) {
        Ok(addrs) => addrs,
        Err(err) => {
            eprintln!("error: {err}");
            return ExitCode::FAILURE;
        }
    };
    match serve(&addrs, &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            // The sentence, and a line for each hint.
            eprintln!("error: {err:?}");
            ExitCode::FAILURE
        }
    }
}

fn serve(addrs: &ListenAddrs, options: &BindOptions) -> Result<(), BindError> {
    // Without the interfaces the report is shorter; binding works anyway.
    let host = match Interfaces::system() {
        Ok(host) => Some(host.with_system_default_sources()),
        Err(err) => {
            eprintln!("warning: {err}");
            None
        }
    };
    if let Some(host) = &host {
        for addr in addrs {
            // `bind` reports what is wrong with it.
            for target in addr.resolve(host).unwrap_or_default() {
                println!("{addr} means {target}");
            }
        }
    }

    let listeners = options.bind(addrs)?;
    for skipped in listeners.skipped() {
        println!("not listening on {}: {}", skipped.text(), skipped.cause());
    }
    for listener in &listeners {
        println!("listening on {listener}");
    }
    if let Some(host) = &host {
        print!("{}", listeners.reach(host).banner("http"));
        for warning in listeners.warnings(host) {
            eprintln!("warning: {warning} [{}]", warning.name());
        }
    }

    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| thread::spawn(move || accept(&listener.into_std())))
        .collect();
    for thread in accepting {
        thread.join().expect("the accept loop does not panic");
    }
    Ok(())
}

fn accept(listener: &TcpListener) {
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                thread::spawn(move || answer(client));
            }
            Err(err) => {
                eprintln!("note: accept: {err}");
                // If descriptors run out, other connections need time to close.
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut request = BufReader::new(io::Read::take(client.try_clone()?, 8192));
    let mut line = String::new();
    // The request ends with an empty line; what it says does not matter here.
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    // A dual-stack socket sees IPv4 clients under IPv4-mapped addresses.
    let plain = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
    let page = format!(
        "Hello {}, you reached {}.\n",
        plain(client.peer_addr()?),
        plain(client.local_addr()?)
    );
    write!(
        client,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}
