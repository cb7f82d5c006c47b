//! A thread for each listener and each client, on std. SIGHUP and the addresses of the host change
//! the listeners.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;

use bindaddr::threads::{Follower, Step};
#[cfg(unix)]
use bindaddr_servers::reload_on_thread;
use bindaddr_servers::{Config, announce};

fn main() -> anyhow::Result<()> {
    let config = Config::load()?;
    let plan = config.plan()?;
    let listeners = plan.bind()?;
    announce(&listeners, "http")?;
    let follower = Follower::new(plan, listeners)?;
    #[cfg(unix)]
    reload_on_thread(follower.handle())?;
    let config = &config;
    thread::scope(|scope| {
        for step in follower {
            match step {
                Step::Opened(connections) => {
                    scope.spawn(move || {
                        for (client, _) in connections {
                            scope.spawn(move || answer(client, config));
                        }
                    });
                }
                Step::Event(event) => print!("{event}"),
                _ => {}
            }
        }
    });
    Ok(())
}

fn answer(mut client: TcpStream, config: &Config) -> io::Result<()> {
    let mut authorization = None;
    for line in BufReader::new(client.try_clone()?.take(8192)).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let header = line.split_once(": ");
        let header = header.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        authorization = header.map(|(_, value)| value.to_owned()).or(authorization);
    }
    client.write_all(
        if config.admits(authorization.as_deref().map(str::as_bytes)) {
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nHello\n"
        } else {
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        },
    )
}
