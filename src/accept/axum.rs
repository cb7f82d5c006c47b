//! [`Acceptor`] as what `axum::serve` takes (feature `axum`).

use std::fmt;
use std::io;
use std::net::SocketAddr;

use ::axum::extract::connect_info::Connected;
use ::axum::serve::{IncomingStream, Listener};
use tokio::net::TcpStream;

use super::Acceptor;

impl Listener for Acceptor {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        Self::accept(self).await
    }

    /// Returns the address of the first socket.
    fn local_addr(&self) -> io::Result<SocketAddr> {
        let first = self.local_addrs().into_iter().next();
        first.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

/// The address of the client of a connection, for axum's `ConnectInfo`.
///
/// axum implements its trait for `SocketAddr` only with its own listeners.
/// [`tap_io`](::axum::serve::ListenerExt::tap_io) makes one of any, so that handlers which take a
/// `ConnectInfo<SocketAddr>` can stay as they are.
///
/// # Examples
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::extract::ConnectInfo;
/// use axum::routing::get;
/// use bindaddr::accept::{Acceptor, Peer};
///
/// let app = axum::Router::new()
///     .route("/", get(|ConnectInfo(peer): ConnectInfo<Peer>| async move { peer.to_string() }));
/// let acceptor = Acceptor::new(bindaddr::bind("localhost:8080")?)?;
/// axum::serve(acceptor, app.into_make_service_with_connect_info::<Peer>()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Acceptor>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Acceptor>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
