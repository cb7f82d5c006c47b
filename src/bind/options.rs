//! [`BindOptions`], the options for opening sockets.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::{Listeners, Unopened, bind_settings, wait};
use crate::diagnosis::BindError;
use crate::interfaces::Interfaces;
use crate::plan::{
    AddrSelection, BeforeBind, Draft, OnWait, Options, Plan, Resolver, Settings, ToSettings,
    UnboundSocket, WaitProgress,
};
#[cfg(feature = "socket-activation")]
use crate::sys::Activation;
use crate::target::Protocol;
use crate::target::SnapshotCache;

/// Options that configure how sockets are opened.
///
/// An option that the platform lacks is an error when it is used, never a silent no-op.
///
/// # Examples
///
/// ```
/// use bindaddr::BindOptions;
///
/// let listeners = BindOptions::new().backlog(64).nonblocking(true).bind("127.0.0.1:0")?;
/// let idle = listeners.as_slice()[0].as_std().accept().unwrap_err();
/// assert_eq!(idle.kind(), std::io::ErrorKind::WouldBlock);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct BindOptions(pub(crate) Options);

impl BindOptions {
    /// Returns the default options: what [`bind()`](crate::bind()) uses.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::BindOptions::new().bind("127.0.0.1:0")?;
    /// assert_eq!(listeners.as_slice().len(), 1);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many connections may wait to be accepted.
    ///
    /// The default is the kernel's maximum (`net.core.somaxconn` on Linux), because std's 128 is
    /// too small for bursts on a busy server. Ignored for UDP.
    ///
    /// # Platform notes
    ///
    /// All systems silently cap the value at their limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bindaddr::BindOptions;
    /// BindOptions::new().backlog(1024).bind("127.0.0.1:0")?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.0.backlog = Some(connections);
        self
    }

    /// Sets whether `[::]` accepts only IPv6 clients.
    ///
    /// Use it for a server where `[::]` means IPv6 only and IPv4 is a separate `0.0.0.0`. It also
    /// rejects IPv4-mapped addresses, including the wildcard `[::ffff:0.0.0.0]`. IPv4 addresses and
    /// `*` are not affected: `*` still accepts both families. `IPV6_V6ONLY` (ipv6(7)) is always set
    /// explicitly, so the system default (`net.ipv6.bindv6only`) does not apply.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bindaddr::BindOptions;
    /// let v6 = BindOptions::new().only_v6(true).bind("[::]:0")?;
    /// let port = v6.as_slice()[0].local_addr().port();
    /// // Both can listen on one port.
    /// let v4 = bindaddr::bind(format!("0.0.0.0:{port}"))?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn only_v6(mut self, only: bool) -> Self {
        self.0.only_v6 = only;
        self
    }

    /// Sets `SO_REUSEPORT` (socket(7)), which lets several sockets of one user listen on one port
    /// and share its connections.
    ///
    /// # Platform notes
    ///
    /// Unix except Solaris and illumos. The BSDs and macOS do not balance the load.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use bindaddr::BindOptions;
    /// let sharing = BindOptions::new().reuse_port(true);
    /// let first = sharing.bind("127.0.0.1:0")?;
    /// let second = sharing.bind(first.as_slice()[0].local_addr())?;
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.0.reuse_port = reuse;
        self
    }

    /// Sets `IP_FREEBIND` (ip(7)), which allows binding an address that the host does not have yet.
    /// It needs no privilege.
    ///
    /// # Platform notes
    ///
    /// Linux and Android.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use bindaddr::BindOptions;
    /// BindOptions::new().freebind(true).bind("198.51.100.1:0")?;
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn freebind(mut self, free: bool) -> Self {
        self.0.freebind = free;
        self
    }

    /// Sets whether the sockets are non-blocking from the start.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::BindOptions::new().nonblocking(true).bind("127.0.0.1:0")?;
    /// // No client has connected, and `accept` does not block.
    /// assert!(listeners.as_slice()[0].as_std().accept().is_err());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn nonblocking(mut self, nonblocking: bool) -> Self {
        self.0.nonblocking = nonblocking;
        self
    }

    /// Binds the sockets to an interface (`SO_BINDTODEVICE`, socket(7)), so that they receive only
    /// packets that arrive on it.
    ///
    /// An address whose zone is another interface is rejected, because the kernel would bind the
    /// socket to that interface instead. The socket's device is verified after bind(2), before
    /// listen(2).
    ///
    /// # Platform notes
    ///
    /// Linux and Android.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use bindaddr::BindOptions;
    /// BindOptions::new().device("lo").bind("0.0.0.0:0")?;
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.0.device = Some(name.into());
        self
    }

    /// Sets which of the addresses that a setting names are bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::plan::AddrSelection;
    /// use bindaddr::target::ResolveErrorKind;
    /// use bindaddr::{BindOptions, Cause};
    ///
    /// let err = BindOptions::new().select(AddrSelection::Single).bind("localhost:0").unwrap_err();
    /// assert!(matches!(
    ///     err.cause(),
    ///     Cause::Unresolved(ResolveErrorKind::SeveralAddresses { count: 2, .. })
    /// ));
    /// ```
    #[must_use]
    pub fn select(mut self, selection: AddrSelection) -> Self {
        self.0.selection = selection;
        self
    }

    /// Resolves names that do not match an interface, with the system's resolver.
    ///
    /// All addresses of a name are bound. Without this option, such a name is an error, because a
    /// change in DNS would silently change the listen address. Names whose last label is a number
    /// or `localhost` are never looked up. If the interfaces cannot be read, no name is.
    ///
    /// # Platform notes
    ///
    /// On Linux and Android, the name of an interface that has no address is not looked up. On
    /// other platforms it is.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// bindaddr::BindOptions::new().lookup().bind("www.example.org:80")?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn lookup(mut self) -> Self {
        self.0.resolver = Some(Resolver::system());
        self
    }

    /// Resolves names that do not match an interface with `resolver`, instead of the system's as
    /// [`lookup`](Self::lookup) does.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = bindaddr::BindOptions::new().lookup_with(|name| {
    ///     assert_eq!(name, "db.internal");
    ///     Ok(vec![[127, 0, 0, 1].into()])
    /// });
    /// assert_eq!(options.bind("db.internal:0")?.as_slice().len(), 1);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn lookup_with(
        mut self,
        resolver: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        self.0.resolver = Some(Resolver::new(resolver));
        self
    }

    /// Sets whether `*` and `[::]` open two sockets, IPv4 and IPv6, instead of one dual-stack
    /// socket.
    ///
    /// A dual-stack socket reports IPv4 clients as, for example, `::ffff:192.0.2.1`, which does not
    /// match an IPv4 allow list.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bindaddr::BindOptions;
    /// let plan = BindOptions::new().split_families(true).plan("*:8080")?;
    /// let addrs: Vec<String> = plan.sockets().iter().map(ToString::to_string).collect();
    /// assert_eq!(addrs, ["0.0.0.0:8080", "[::]:8080"]);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn split_families(mut self, split: bool) -> Self {
        self.0.splits_families = split;
        self
    }

    /// Sets whether all entries with port 0 share one kernel-assigned port. Addresses of one entry
    /// always do.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bindaddr::BindOptions;
    /// let listeners = BindOptions::new().one_port(true).bind("127.0.0.1:0, -[::1]:0")?;
    /// assert!(listeners.port().is_some());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn one_port(mut self, one: bool) -> Self {
        self.0.one_port = one;
        self
    }

    /// Sets whether a port range is tried in random order instead of ascending.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bindaddr::BindOptions;
    /// let listeners = BindOptions::new().random_ports(true).bind("127.0.0.1:20000-29999")?;
    /// assert!((20000..30000).contains(&listeners[0].local_addr().port()));
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn random_ports(mut self, random: bool) -> Self {
        self.0.random_ports = random;
        self
    }

    /// Sets whether TCP connections send small segments at once (`TCP_NODELAY`, tcp(7)). It is set
    /// on the listener, from which they inherit it.
    ///
    /// # Platform notes
    ///
    /// Linux and Android. It is ignored for UDP.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use bindaddr::BindOptions;
    /// let listeners = BindOptions::new().nodelay(true).bind("127.0.0.1:0")?;
    /// let client = std::net::TcpStream::connect(listeners[0].local_addr())?;
    /// assert!(listeners[0].as_std().accept()?.0.nodelay()?);
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn nodelay(mut self, nodelay: bool) -> Self {
        self.0.nodelay = nodelay;
        self
    }

    /// Enables TCP keepalive (`SO_KEEPALIVE`) with the given idle time (`TCP_KEEPIDLE`, tcp(7)), in
    /// whole seconds. It is set on the listener and inherited by accepted connections.
    ///
    /// # Platform notes
    ///
    /// Linux and Android. It is ignored for UDP.
    #[must_use]
    pub fn keepalive(mut self, idle: Duration) -> Self {
        self.0.keepalive = Some(idle);
        self
    }

    /// Sets whether TCP sockets accept Multipath TCP (RFC 8684, `IPPROTO_MPTCP`). Clients without
    /// it fall back to plain TCP.
    ///
    /// # Platform notes
    ///
    /// Linux 5.6 and later, unless the sysctl `net.mptcp.enabled` is 0. It is ignored for UDP.
    #[must_use]
    pub fn mptcp(mut self, mptcp: bool) -> Self {
        self.0.mptcp = mptcp;
        self
    }

    /// Sets a callback that receives each socket just before bind(2), including in
    /// [`check`](crate::check()). Use it for options this crate does not provide, for example
    /// buffer sizes, `TCP_FASTOPEN`, `IP_TOS` or `SO_MARK`.
    ///
    /// It is an error if the callback changes `IPV6_V6ONLY`, `SO_REUSEPORT` or the bound device,
    /// which decide who can connect and share the port. Use the options instead. The callback is
    /// not called for inherited sockets, which are already bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::BindOptions;
    ///
    /// let options = BindOptions::new().before_bind(|socket| {
    ///     // socket2::SockRef::from(socket) sets options on it.
    ///     println!("about to bind {}", socket.addr());
    ///     Ok(())
    /// });
    /// options.bind("127.0.0.1:0")?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn before_bind(
        mut self,
        callback: impl Fn(&UnboundSocket<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.0.before_bind = Some(BeforeBind(Arc::new(callback)));
        self
    }

    /// Sets whether binding [waits](Self::wait) for a port that is in use as well, as when an old
    /// process is about to end. The port is tried four times a second.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let old = bindaddr::bind("127.0.0.1:0")?;
    /// let addr = old[0].local_addr();
    /// std::thread::spawn(move || drop(old));
    /// let options = BindOptions::new().wait(Duration::from_secs(30)).wait_for_port(true);
    /// options.bind(addr)?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn wait_for_port(mut self, wait: bool) -> Self {
        self.0.waits_for_port = wait;
        self
    }

    /// Sets how long to retry errors that may resolve themselves.
    ///
    /// These are: an address or interface that does not exist yet, for example at boot; a tentative
    /// IPv6 address; an interface that is down or has no carrier; and connections left by a
    /// previous server. Other errors are returned immediately: a port in use (but see
    /// [`wait_for_port`](Self::wait_for_port)), a missing privilege, a syntax error. The default is
    /// not to wait.
    ///
    /// Between attempts, the calling thread sleeps for up to 50 milliseconds, or for the duration
    /// of the last attempt if that is longer. While an address or a device is missing, each attempt
    /// checks only for that. The other sockets of a list are opened and closed again on the first
    /// attempt and about once a second, in case the cause has changed. A list with a name to
    /// [look up](Self::lookup) is tried about once a second, and when a missing address appears.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let options = BindOptions::new().wait(Duration::from_secs(30));
    /// options.bind("127.0.0.1:0")?; // available immediately
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn wait(mut self, timeout: Duration) -> Self {
        self.0.wait = timeout;
        self
    }

    /// Sets a callback that is called after each attempt while binding [waits](Self::wait).
    /// [`ControlFlow::Break`] stops waiting, and the last error is returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let stopped = Arc::new(AtomicBool::new(true)); // set by a signal handler, for example
    /// let seen = stopped.clone();
    /// let options = BindOptions::new().wait(Duration::from_secs(30)).on_wait(move |_| {
    ///     match seen.load(Ordering::Relaxed) {
    ///         true => ControlFlow::Break(()),
    ///         false => ControlFlow::Continue(()),
    ///     }
    /// });
    /// assert!(options.bind("198.51.100.1:0").is_err());
    /// ```
    #[must_use]
    pub fn on_wait(
        mut self,
        callback: impl Fn(&WaitProgress<'_>) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.0.on_wait = Some(OnWait(Arc::new(callback)));
        self
    }

    /// Sets inherited sockets to use instead of binding, where they match a setting.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Activation, BindOptions};
    ///
    /// let options = BindOptions::new().activation(Activation::from_env()?);
    /// options.bind("127.0.0.1:0")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "socket-activation")]
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.0.activation = activation;
        self
    }

    /// Computes which sockets `settings` resolve to on this host, without opening any.
    ///
    /// The interfaces are read where a setting needs them. It [waits](Self::wait) for addresses
    /// that a setting selects.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every entry that cannot be
    /// planned.
    ///
    /// # Examples
    ///
    /// ```
    /// let plan = bindaddr::BindOptions::new().plan("localhost:8080")?;
    /// assert_eq!(plan.sockets().len(), 2);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn plan(&self, settings: impl ToSettings) -> Result<Plan, BindError> {
        let settings = Settings::of(&settings);
        wait::keep_trying(&self.0, || {
            let draft = self.draft(&settings);
            let entries = draft.plan.entries.clone();
            draft
                .into_plan()
                .map_err(|error| Unopened { error, entries })
        })
    }

    /// Computes which sockets `settings` resolve to on the host described by a snapshot.
    ///
    /// Does not read the system, except for DNS lookups if [`lookup`](Self::lookup) is set.
    ///
    /// # Errors
    ///
    /// The same as [`plan`](Self::plan).
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::{BindOptions, Exposure, Interfaces};
    ///
    /// let host: Interfaces = [Interface::new("eth0", 2).with_addr("203.0.113.7".parse()?, 24)]
    ///     .into_iter()
    ///     .collect();
    /// let plan = BindOptions::new().plan_on("eth0:8080", &host)?;
    /// assert_eq!(plan.sockets()[0].to_string(), "203.0.113.7:8080");
    /// assert_eq!(plan.exposure(&host), Exposure::Global);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn plan_on(&self, settings: impl ToSettings, host: &Interfaces) -> Result<Plan, BindError> {
        let settings = Settings::of(&settings);
        Draft::of(&settings, &self.0, &SnapshotCache::given(host)).into_plan()
    }

    pub(crate) fn draft(&self, settings: &Settings<'_>) -> Draft {
        Draft::of(settings, &self.0, &SnapshotCache::default())
    }

    /// Binds a TCP listener for each address that `settings` resolve to, as
    /// [`bind()`](crate::bind()) does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = bindaddr::BindOptions::new().backlog(128);
    /// let listeners = options.bind(["127.0.0.1:0", "localhost:0"])?;
    /// # assert!(listeners.len() >= 2);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn bind(&self, settings: impl ToSettings) -> Result<Listeners, BindError> {
        let settings = Settings::of(&settings);
        wait::keep_trying(&self.0, || bind_settings(&self.0, &settings, Protocol::Tcp))
    }

    /// Binds a UDP socket for each address that `settings` resolve to, as
    /// [`bind_udp`](crate::bind_udp()) does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    pub fn bind_udp(&self, settings: impl ToSettings) -> Result<Listeners<UdpSocket>, BindError> {
        let settings = Settings::of(&settings);
        wait::keep_trying(&self.0, || bind_settings(&self.0, &settings, Protocol::Udp))
    }

    /// Binds a TCP listener for each address that `settings` resolve to, as [`bind`](Self::bind)
    /// does, and [waits](Self::wait) without blocking the thread.
    ///
    /// The attempts themselves make only non-blocking system calls. A DNS [`lookup`](Self::lookup)
    /// does block.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait and is called outside a tokio runtime with the time driver enabled.
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
    #[cfg(feature = "tokio")]
    pub async fn bind_async(&self, settings: impl ToSettings) -> Result<Listeners, BindError> {
        let settings = Settings::of(&settings);
        wait::keep_trying_async(&self.0, || bind_settings(&self.0, &settings, Protocol::Tcp)).await
    }

    /// Binds a UDP socket for each address that `settings` resolve to, as
    /// [`bind_udp`](Self::bind_udp) does, and waits as [`bind_async`](Self::bind_async) does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    #[cfg(feature = "tokio")]
    pub async fn bind_udp_async(
        &self,
        settings: impl ToSettings,
    ) -> Result<Listeners<UdpSocket>, BindError> {
        let settings = Settings::of(&settings);
        wait::keep_trying_async(&self.0, || bind_settings(&self.0, &settings, Protocol::Udp)).await
    }
}
