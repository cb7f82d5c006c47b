//! Serves a small page on a listen address: `cargo run --example serve -- 0.0.0.0:5000`.
//!
//! It says what the text means on this host, opens the sockets, prints every URL
//! by which the page can be opened and from where, and serves until stopped.
//! Without a text it takes any free port of this host only.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use bindaddr::{BindError, Interfaces, ListenAddr};

fn main() -> ExitCode {
    let text = std::env::args().nth(1);
    match serve(text.as_deref().unwrap_or("localhost:0")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("error: {err}");
            for hint in err.hints() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(text: &str) -> Result<(), BindError> {
    // Without the interfaces less can be said, and binding works all the same.
    let host = match Interfaces::system() {
        Ok(host) => Some(host.with_system_default_sources()),
        Err(err) => {
            eprintln!("note: {err}");
            None
        }
    };
    // What is wrong with the text is for bind to say.
    if let (Some(host), Ok(addr)) = (&host, text.parse::<ListenAddr>()) {
        for target in addr.resolve(host).unwrap_or_default() {
            println!("{text} means {target}");
        }
    }

    let listeners = bindaddr::bind(text)?;
    for listener in &listeners {
        let addr = listener.local_addr();
        println!("listening on {addr}");
        for note in listener.notes() {
            println!("  note: {note}");
        }
        let Some(host) = &host else { continue };
        for dial in listener.target(host).dial(addr.port(), host) {
            let through = match dial.interface() {
                Some(interface) => format!(", through {interface}"),
                None => String::new(),
            };
            println!("  {}  from {}{through}", dial.url("http"), dial.from());
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
                // Where descriptors are short, others need time to close theirs.
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
