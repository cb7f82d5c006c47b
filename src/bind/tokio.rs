//! Sockets of tokio, and waiting without a thread (feature `tokio`).

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::slice;

use ::tokio::net;
use ::tokio::time::sleep;

use super::wait::{Tries, comes_with_time};
use super::{BindError, BindOptions, Listener, Listeners, Setting};
use crate::target::Protocol;

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

impl BindOptions {
    /// Opens the TCP listeners that a setting stands for, as [`bind`](Self::bind) does, and
    /// [waits](Self::wait) without blocking the thread.
    ///
    /// The tries themselves are system calls that do not wait. What does is a
    /// [`lookup`](Self::lookup) of DNS.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer, when it comes to waiting.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let options = BindOptions::new().wait(Duration::from_secs(30));
    /// let listeners = options.bind_async("127.0.0.1:0").await?.into_tokio()?;
    /// # assert_eq!(listeners.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn bind_async<'a>(
        &self,
        setting: impl Into<Setting<'a>>,
    ) -> Result<Listeners, BindError> {
        let setting = setting.into();
        let settings = slice::from_ref(&setting);
        self.keep_trying_async(settings, || self.open(Protocol::Tcp, &setting))
            .await
    }

    /// Binds the UDP sockets that a setting stands for, as [`bind_udp`](Self::bind_udp) does, and
    /// waits as [`bind_async`](Self::bind_async) does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let sockets = bindaddr::BindOptions::new().bind_udp_async("127.0.0.1:0").await?.into_tokio()?;
    /// # assert_eq!(sockets.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn bind_udp_async<'a>(
        &self,
        setting: impl Into<Setting<'a>>,
    ) -> Result<Listeners<UdpSocket>, BindError> {
        let setting = setting.into();
        let settings = slice::from_ref(&setting);
        self.keep_trying_async(settings, || self.open(Protocol::Udp, &setting))
            .await
    }

    /// Opens the TCP listeners of several settings, as [`bind_all`](Self::bind_all) does, and
    /// waits as [`bind_async`](Self::bind_async) does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let settings = ["127.0.0.1:0", "localhost:0"];
    /// let listeners = bindaddr::BindOptions::new().bind_all_async(settings).await?.into_tokio()?;
    /// # assert!(listeners.len() >= 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn bind_all_async<'a, S: Into<Setting<'a>>>(
        &self,
        settings: impl IntoIterator<Item = S>,
    ) -> Result<Listeners, BindError> {
        let settings: Vec<Setting<'a>> = settings.into_iter().map(Into::into).collect();
        self.keep_trying_async(&settings, || self.open_list(Protocol::Tcp, &settings))
            .await
    }

    /// Binds the UDP sockets of several settings, as [`bind_udp_all`](Self::bind_udp_all) does, and
    /// waits as [`bind_async`](Self::bind_async) does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// let settings = ["127.0.0.1:0"];
    /// let sockets = bindaddr::BindOptions::new().bind_udp_all_async(settings).await?.into_tokio()?;
    /// # assert_eq!(sockets.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn bind_udp_all_async<'a, S: Into<Setting<'a>>>(
        &self,
        settings: impl IntoIterator<Item = S>,
    ) -> Result<Listeners<UdpSocket>, BindError> {
        let settings: Vec<Setting<'a>> = settings.into_iter().map(Into::into).collect();
        self.keep_trying_async(&settings, || self.open_list(Protocol::Udp, &settings))
            .await
    }

    /// What [`keep_trying`](Self::keep_trying) does, asleep on the runtime's timer.
    async fn keep_trying_async<T>(
        &self,
        settings: &[Setting<'_>],
        mut attempt: impl FnMut() -> Result<T, BindError>,
    ) -> Result<T, BindError> {
        let mut tries = Tries::new(self, settings);
        loop {
            let error = match tries.run(&mut attempt) {
                Err(error) if comes_with_time(&error) => error,
                result => return result,
            };
            while !tries.is_due(&error) {
                match tries.rest(&error) {
                    Some(rest) => sleep(rest).await,
                    None => return Err(error),
                }
            }
        }
    }
}
