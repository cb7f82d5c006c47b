//! A listener that a thread serves and another one closes: [`Served`] (feature `watch`).

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::{SockRef, Socket};

use super::listener::{Accepted, KeepAccepted, OwnSocket};
use crate::addr::canonical;

pub(crate) struct Served {
    socket: TcpListener,
    is_closed: AtomicBool,
    /// Connections that were accepted of it before it was closed.
    left: Mutex<VecDeque<(TcpStream, SocketAddr)>>,
}

impl Served {
    pub(crate) fn of(socket: TcpListener) -> Arc<Self> {
        Arc::new(Self {
            socket,
            is_closed: AtomicBool::new(false),
            left: Mutex::default(),
        })
    }

    pub(crate) fn socket(&self) -> &TcpListener {
        &self.socket
    }

    pub(crate) fn left(&self) -> MutexGuard<'_, VecDeque<(TcpStream, SocketAddr)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Ends the connections, and wakes the thread that waits for one.
    pub(crate) fn close(&self, is_shared: bool) {
        self.is_closed.store(true, Ordering::Release);
        // It would stop the socket in the other process as well.
        if !is_shared {
            let _ = SockRef::from(&self.socket).shutdown(Shutdown::Read);
        }
    }
}

impl KeepAccepted for Arc<Served> {
    fn keep(&self, accepted: Accepted) -> Accepted {
        let accepted = accepted.into_iter();
        self.left()
            .extend(accepted.map(|(client, peer)| (client, canonical(peer))));
        Vec::new()
    }
}

impl OwnSocket for Arc<Served> {
    fn from_socket(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        Ok(Served::of(socket.into()))
    }

    fn sock_ref(&self) -> SockRef<'_> {
        (&self.socket).into()
    }
}
