//! An echo over UDP: each socket is handed to the runtime as quinn's endpoint is given its own.
//! SIGHUP changes them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use bindaddr::Listeners;
use bindaddr_servers::{Config, Hangups, announce};
use tokio::net;
use tokio::task::AbortHandle;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Arc::new(Config::load()?);
    let mut sockets = config.plan()?.bind_udp()?;
    announce(&sockets, "udp")?;
    let mut hangups = Hangups::new()?;
    let mut echoing = HashMap::new();
    loop {
        echo_on_new(&sockets, &mut echoing, &config)?;
        let update = hangups.update(&mut sockets).await;
        print!("{update}");
        for addr in update.closed() {
            if let Some(task) = echoing.remove(addr) {
                task.abort();
            }
        }
    }
}

/// Starts a task for each socket that has none.
fn echo_on_new(
    sockets: &Listeners<UdpSocket>,
    echoing: &mut HashMap<SocketAddr, AbortHandle>,
    config: &Arc<Config>,
) -> anyhow::Result<()> {
    for socket in sockets {
        if let Entry::Vacant(new) = echoing.entry(socket.local_addr()) {
            let copy = socket.as_std().try_clone()?;
            copy.set_nonblocking(true)?;
            let task = tokio::spawn(echo(net::UdpSocket::from_std(copy)?, config.clone()));
            new.insert(task.abort_handle());
        }
    }
    Ok(())
}

/// Sends back what comes, behind the token if there is one.
async fn echo(socket: net::UdpSocket, config: Arc<Config>) {
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
