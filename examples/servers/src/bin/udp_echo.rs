//! An echo over UDP: each socket is handed to the runtime as quinn's endpoint is given its own.

use std::sync::Arc;

use bindaddr_servers::{Config, announce};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Arc::new(Config::load()?);
    let sockets = config.plan()?.bind_udp()?;
    announce(&sockets, "udp")?;
    let echoing: JoinSet<()> = sockets
        .into_tokio()?
        .into_iter()
        .map(|socket| echo(socket, config.clone()))
        .collect();
    echoing.join_all().await;
    Ok(())
}

/// Sends back what comes, behind the token if there is one.
async fn echo(socket: UdpSocket, config: Arc<Config>) {
    let token = config.token.as_deref().unwrap_or_default().as_bytes();
    let mut datagram = vec![0; 65_536];
    loop {
        // An error is about a client that has gone; the next may be well.
        let Ok((len, client)) = socket.recv_from(&mut datagram).await else {
            continue;
        };
        if let Some(message) = datagram[..len].strip_prefix(token) {
            let _ = socket.send_to(message, client).await;
        }
    }
}
