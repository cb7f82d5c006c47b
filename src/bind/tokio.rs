//! Sockets of tokio (feature `tokio`).

use std::io;
use std::net::{TcpListener, UdpSocket};

use ::tokio::net;
use socket2::{SockRef, Socket};

use super::listener::{KeepAccepted, OwnSocket};
use super::{Listener, Listeners};

impl KeepAccepted for net::TcpListener {}

impl OwnSocket for net::TcpListener {
    const SETS_BLOCKING: bool = true;

    fn from_socket(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Self::from_std(socket.into())
    }

    fn sock_ref(&self) -> SockRef<'_> {
        self.into()
    }
}

impl Listener {
    /// Converts into tokio's listener, non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, where the runtime cannot have the socket.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its I/O driver, as
    /// [`from_std`](net::TcpListener::from_std) does.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # runtime.block_on(async {
    /// for listener in bindaddr::bind("localhost:0")? {
    ///     let listener: tokio::net::TcpListener = listener.into_tokio()?;
    ///     tokio::spawn(async move { listener.accept().await });
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_tokio(self) -> io::Result<net::TcpListener> {
        net::TcpListener::from_std(self.into_std_nonblocking()?)
    }
}

impl Listener<UdpSocket> {
    /// Converts into tokio's socket, non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, where the runtime cannot have the socket.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its I/O driver.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # runtime.block_on(async {
    /// for socket in bindaddr::bind_udp("127.0.0.1:0")? {
    ///     let socket: tokio::net::UdpSocket = socket.into_tokio()?;
    ///     assert!(socket.try_recv(&mut [0]).is_err());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_tokio(self) -> io::Result<net::UdpSocket> {
        net::UdpSocket::from_std(self.into_std_nonblocking()?)
    }
}

impl Listeners {
    /// Converts into tokio's listeners, non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, where the runtime cannot have a socket.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its I/O driver.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # runtime.block_on(async {
    /// let listeners: Vec<tokio::net::TcpListener> = bindaddr::bind("127.0.0.1:0")?.into_tokio()?;
    /// assert_eq!(listeners.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_tokio(self) -> io::Result<Vec<net::TcpListener>> {
        self.into_iter()
            .map(Listener::<TcpListener>::into_tokio)
            .collect()
    }
}

impl Listeners<UdpSocket> {
    /// Converts into tokio's sockets, non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, where the runtime cannot have a socket.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its I/O driver.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    /// # runtime.block_on(async {
    /// let sockets: Vec<tokio::net::UdpSocket> = bindaddr::bind_udp("127.0.0.1:0")?.into_tokio()?;
    /// assert_eq!(sockets.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_tokio(self) -> io::Result<Vec<net::UdpSocket>> {
        self.into_iter()
            .map(Listener::<UdpSocket>::into_tokio)
            .collect()
    }
}

impl TryFrom<Listener> for net::TcpListener {
    type Error = io::Error;

    fn try_from(listener: Listener) -> io::Result<Self> {
        listener.into_tokio()
    }
}

impl TryFrom<Listener<UdpSocket>> for net::UdpSocket {
    type Error = io::Error;

    fn try_from(socket: Listener<UdpSocket>) -> io::Result<Self> {
        socket.into_tokio()
    }
}
