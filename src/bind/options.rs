//! How sockets are opened: [`BindOptions`].

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

/// How sockets are opened.
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
    /// The default is the most that the kernel allows (`somaxconn` on Linux,
    /// listen(2)), for std's 128 is short of a busy server's bursts. UDP has none.
    ///
    /// # Platform notes
    ///
    /// Every system cuts a larger number down to its own limit.
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

    /// Sets whether `[::]` accepts IPv6 clients only.
    ///
    /// It is for servers whose `[::]` means IPv6, beside a `0.0.0.0` of its own. It also refuses
    /// IPv4-mapped addresses, the wildcard `[::ffff:0.0.0.0]` included. IPv4 addresses and `*` stay what
    /// they are: `*` names both families, so it accepts both. `IPV6_V6ONLY` (ipv6(7)) is set on
    /// every IPv6 socket in any case, so that no system default decides.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bindaddr::BindOptions;
    /// let v6 = BindOptions::new().only_v6(true).bind("[::]:0")?;
    /// let port = v6.as_slice()[0].local_addr().port();
    /// // The two stand side by side.
    /// let v4 = bindaddr::bind(format!("0.0.0.0:{port}"))?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn only_v6(mut self, only: bool) -> Self {
        self.0.only_v6 = only;
        self
    }

    /// Sets whether several sockets of one user may listen on one port and share
    /// its clients (`SO_REUSEPORT`, socket(7)).
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

    /// Sets whether an address may be bound that the host does not have yet
    /// (`IP_FREEBIND`, ip(7)). It needs no privilege.
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
    /// // Nobody is there, and it does not wait.
    /// assert!(listeners.as_slice()[0].as_std().accept().is_err());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn nonblocking(mut self, nonblocking: bool) -> Self {
        self.0.nonblocking = nonblocking;
        self
    }

    /// Sets the interface that the sockets are bound to (`SO_BINDTODEVICE`,
    /// socket(7)): they take what arrives through it and nothing else.
    ///
    /// An address with the zone of another interface is refused, because the kernel would bind the socket to the zone
    /// in place of the device. The device of the socket is read
    /// after bind(2) and before listen(2).
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

    /// Looks up the names that no interface has, by the system's resolver.
    ///
    /// All addresses of a name are bound. Without this option such a name is an error, for a
    /// listen address that depends on DNS opens something else when DNS is changed. A name
    /// whose last label is a number or `localhost` is never looked up, nor is any where the
    /// interfaces cannot be read.
    ///
    /// # Platform notes
    ///
    /// On Linux and Android an interface without any address is known to be one. Elsewhere
    /// its name is looked up.
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

    /// Looks up the names that no interface has, by `resolver`, as [`lookup`](Self::lookup)
    /// does by the system's.
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

    /// Sets whether a wildcard of both families, `*` or `[::]`, is opened as two sockets, one for IPv4 and one for IPv6,
    /// and not as one dual-stack socket.
    ///
    /// A dual-stack socket reports its IPv4 clients as `::ffff:192.0.2.1`, which lists of allowed IPv4 addresses do not
    /// match.
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

    /// Sets whether all entries with port 0 share one port, which the kernel chooses, as the addresses of one entry do.
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

    /// Sets whether the ports of a range are tried in random order, and not from the first to the last.
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

    /// Sets whether TCP connections send small segments at once (`TCP_NODELAY`, tcp(7)). It is set on the listener, from
    /// which they inherit it.
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

    /// Sets after how long without data TCP connections are probed (`SO_KEEPALIVE`, `TCP_KEEPIDLE`, tcp(7)), in whole
    /// seconds. It is set on the listener, from which they inherit it.
    ///
    /// # Platform notes
    ///
    /// Linux and Android. It is ignored for UDP.
    #[must_use]
    pub fn keepalive(mut self, idle: Duration) -> Self {
        self.0.keepalive = Some(idle);
        self
    }

    /// Sets whether TCP sockets accept Multipath TCP (RFC 8684, `IPPROTO_MPTCP`). Clients without it connect by TCP.
    ///
    /// # Platform notes
    ///
    /// Linux since 5.6, unless the sysctl `net.mptcp.enabled` is 0. It is ignored for UDP.
    #[must_use]
    pub fn mptcp(mut self, mptcp: bool) -> Self {
        self.0.mptcp = mptcp;
        self
    }

    /// Sets a callback that is called with each socket right before bind(2), also in a
    /// [`check`](crate::BindOptions::check), for options that this crate does not know: buffer sizes, `TCP_FASTOPEN`,
    /// `IP_TOS`, `SO_MARK`.
    ///
    /// `IPV6_V6ONLY`, the interface and `SO_REUSEPORT` are read again afterwards, and it is an error if the callback has
    /// changed them, because they decide who can connect and who shares the port: there are options for them. An inherited socket is bound already, and the callback is not called.
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

    /// Sets whether binding [waits](Self::wait) for a port that is in use as well, as when an old process is about to
    /// end. It is tried four times a second.
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

    /// Sets how long to keep trying while what fails may come with time.
    ///
    /// That is an address or an interface that is not there yet, as at boot, an IPv6 address
    /// that is still tentative, an interface that is down or has no carrier, and connections
    /// of a server that is gone. What waiting cannot fix fails at once: a port that
    /// another server has (but see [`wait_for_port`](Self::wait_for_port)), a missing privilege, a mistake in the text.
    /// The default is not to wait.
    ///
    /// The calling thread sleeps between the tries, for 50 milliseconds at most, or as long
    /// as the last try took. While an address or a device is missing, only that is probed. The
    /// other sockets of a list are opened with the first try and then about once a second, because the cause may have
    /// changed, and closed at once. A list with a name to [look up](Self::lookup) is tried about once a second, and when a
    /// missing address is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let options = BindOptions::new().wait(Duration::from_secs(30));
    /// options.bind("127.0.0.1:0")?; // it is there at once
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn wait(mut self, timeout: Duration) -> Self {
        self.0.wait = timeout;
        self
    }

    /// Sets a callback that is called after each attempt while binding [waits](Self::wait). [`ControlFlow::Break`]
    /// stops waiting, and the last error is returned.
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
    /// let stopped = Arc::new(AtomicBool::new(true)); // by a signal, say
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

    /// Sets the sockets that are taken in place of binding, where they fit.
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

    /// Computes which sockets `settings` ask for on this host, without opening any.
    ///
    /// The interfaces are read where a setting needs them. It [waits](Self::wait) for addresses that a setting selects.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every entry that cannot be planned.
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

    /// Computes which sockets `settings` ask for on the host of a snapshot.
    ///
    /// It reads nothing but the addresses of names in DNS, if [`lookup`](Self::lookup) is set.
    ///
    /// # Errors
    ///
    /// As for [`plan`](Self::plan).
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

    /// Binds a TCP listener for each address that `settings` resolve to, as [`bind()`](crate::bind()) does.
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

    /// Binds a UDP socket for each address that `settings` resolve to, as [`bind_udp`](crate::bind_udp()) does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    pub fn bind_udp(&self, settings: impl ToSettings) -> Result<Listeners<UdpSocket>, BindError> {
        let settings = Settings::of(&settings);
        wait::keep_trying(&self.0, || bind_settings(&self.0, &settings, Protocol::Udp))
    }

    /// Binds a TCP listener for each address that `settings` resolve to, as [`bind`](Self::bind) does, and
    /// [waits](Self::wait) without blocking the thread.
    ///
    /// The attempts themselves are system calls that do not wait. A [`lookup`](Self::lookup) of DNS does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer, if it has to wait.
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

    /// Binds a UDP socket for each address that `settings` resolve to, as [`bind_udp`](Self::bind_udp) does, and waits
    /// as [`bind_async`](Self::bind_async) does.
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
