//! A listener that a thread serves and another one closes: [`Served`] (feature `watch`).

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use socket2::{SockRef, Socket};

use super::listener::{Accepted, KeepAccepted, OwnSocket};
use crate::addr::canonical;

pub(crate) struct Served {
    socket: TcpListener,
    is_closed: AtomicBool,
    left: Mutex<Left>,
    /// Notified when the thread is back from accept(2).
    is_back: Condvar,
}

#[derive(Default)]
struct Left {
    /// Connections that were accepted of it before it was closed.
    connections: VecDeque<(TcpStream, SocketAddr)>,
    /// Whether the thread has seen that there are none, and has not been back from accept(2) since.
    is_accepting: bool,
}

impl Served {
    pub(crate) fn of(socket: TcpListener) -> Arc<Self> {
        Arc::new(Self {
            socket,
            is_closed: AtomicBool::new(false),
            left: Mutex::default(),
            is_back: Condvar::new(),
        })
    }

    pub(crate) fn socket(&self) -> &TcpListener {
        &self.socket
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps connections for the thread, though the socket is closed.
    pub(crate) fn leave(&self, accepted: impl IntoIterator<Item = (TcpStream, SocketAddr)>) {
        self.left().connections.extend(accepted);
    }

    /// Accepts a connection, one that was left first; `None` once the socket is closed.
    pub(crate) fn accept(&self) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        // In this order: a connection is left before the socket is closed.
        let is_closed = self.is_closed();
        let mut left = self.left();
        let first = left.connections.pop_front();
        if first.is_some() || is_closed {
            return first.map(Ok);
        }
        left.is_accepting = true;
        drop(left);
        let accepted = self.socket.accept();
        self.left().is_accepting = false;
        self.is_back.notify_all();
        Some(accepted.map(|(client, peer)| (client, canonical(peer))))
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
        if accepted.is_empty() {
            return accepted;
        }
        let accepted = accepted.into_iter();
        let mut left = self.left();
        left.connections
            .extend(accepted.map(|(client, peer)| (client, canonical(peer))));
        // A thread that has found none would wait for the next client. The socket does not listen,
        // so accept(2) fails.
        while left.is_accepting {
            left = self
                .is_back
                .wait(left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Vec::new()
    }
}

impl OwnSocket for Arc<Served> {
    const SETS_BLOCKING: bool = true;

    fn from_socket(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        Ok(Served::of(socket.into()))
    }

    fn sock_ref(&self) -> SockRef<'_> {
        (&self.socket).into()
    }
}
