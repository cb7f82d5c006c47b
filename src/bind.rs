//! Opens the sockets of a plan: [`bind()`] and [`BindOptions`].

// One engine for all that opens sockets.
mod engine;
// One socket.
mod socket;
// The options.
mod options;
// An open socket.
mod listener;
// All that are open.
mod listeners;
// Matches them with the sockets of a plan.
mod matching;
// Those of a plan that are not open.
mod missing;
// Whether they could be opened now.
mod prospects;
// Own sockets that new ones replace.
mod outgoing;
// The reach of a plan.
mod planned;
// Retries while an address is missing.
mod wait;
// Sockets that a service manager has opened.
#[cfg_attr(not(feature = "socket-activation"), path = "bind/no_activation.rs")]
mod activation;
// Sockets that threads serve.
#[cfg(feature = "watch")]
mod served;
// Sockets of tokio.
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, LazyLock};

use socket2::Socket;

use crate::addr::Host;
use crate::diagnose::AddrProbe as _;
use crate::diagnosis::{BindError, Cause, Hint, HintKind, Position, SettingError, Step};
use crate::map::{Map, Set};
use crate::order::sort_by;
use crate::plan::{
    Draft, Entry, Options, Plan, PlannedSocket, Setting, Settings, ToSettings, entry_at,
};
use crate::target::SnapshotCache;
use crate::target::{GroupCheck, Protocol};
pub(crate) use activation::Inherited;
pub(crate) use engine::{FailedSocket, OpenedSocket, Opener, Opening, explain};
use engine::{is_port_in_use, listen_all, open_plain};
use listener::OpenState;
pub(crate) use listener::OwnSocket;
#[cfg(any(feature = "tokio", feature = "watch"))]
pub(crate) use listener::is_about_one_client;
pub use listener::{Listener, StdSocket};
pub use listeners::Listeners;
pub(crate) use listeners::Rest;
pub(crate) use matching::{Found, Matched, Matching, match_sockets};
pub(crate) use missing::{Missing, opener_beside, outgoing};
pub use options::BindOptions;
pub(crate) use outgoing::{Finished, Outgoing};
pub(crate) use prospects::is_reachable;
#[cfg(feature = "watch")]
pub(crate) use served::Served;
pub(crate) use socket::Goal;
use socket::group_of;

/// Binds a TCP listener for each address that `settings` resolve to, with the default
/// [`BindOptions`].
///
/// `settings` is a string such as `"0.0.0.0:8080"` or `"eth0:80, localhost:80"`, a parsed
/// [`ListenAddr`](crate::ListenAddr), a `SocketAddr`, a host and a port, or several of these
/// ([`ToSettings`]). All sockets are opened or none is, and none listens until all are bound. The
/// sockets of an entry share a port. A wildcard conflicts with an address that it includes, and the
/// error names both. A duplicate is opened once. If `[::]` and `0.0.0.0` share a port, `[::]` is
/// IPv6-only. An [optional](crate::ListenAddr::is_optional) entry is skipped if this host lacks its
/// address or family, never because its port is in use.
///
/// For one literal address, this makes the system calls of
/// [`TcpListener::bind`](std::net::TcpListener::bind) and sets `IPV6_V6ONLY` on an IPv6 socket.
/// Port 0 adds getsockname(2); an IPv4 address that may be a broadcast address adds a query for
/// that. The interfaces are read only if a setting selects host addresses, and after a failure.
///
///
/// # Errors
///
/// Returns a [`BindError`] that names the [`Cause`] of every socket that failed, or that no entry
/// is left to listen on.
///
/// # Platform notes
///
/// - Unix: sets `SO_REUSEADDR`, so that a restart does not wait for connections in `TIME_WAIT`.
/// - Windows: leaves it unset, because there it would let another process take the port.
/// - Conflicts are decided by Linux's rules on every platform.
///
/// # Examples
///
/// ```
/// for listener in bindaddr::bind("localhost:0")? {
///     assert!(listener.local_addr().ip().is_loopback());
///     let _std: std::net::TcpListener = listener.into_std();
/// }
/// # Ok::<(), bindaddr::BindError>(())
/// ```
///
/// # Example: errors
///
/// ```
/// // TEST-NET-2 (RFC 5737), reserved for documentation.
/// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
/// assert!(matches!(err.cause(), bindaddr::Cause::NotOnThisHost(_)));
/// assert!(err.to_string().starts_with(
///     "cannot listen on 198.51.100.1:0: no interface of this host has 198.51.100.1; "
/// ));
///
/// let err = bindaddr::bind(["0.0.0.0:8080", "127.0.0.1:8080"]).unwrap_err();
/// assert_eq!(
///     err.to_string(),
///     "cannot listen on 1 of 2 addresses: 127.0.0.1:8080: conflicts with `0.0.0.0:8080` in the \
///      same list, which already includes 127.0.0.1; remove one of them",
/// );
/// ```
pub fn bind(settings: impl ToSettings) -> Result<Listeners, BindError> {
    DEFAULT.bind(settings)
}

/// The default options, made once rather than for each bind.
static DEFAULT: LazyLock<BindOptions> = LazyLock::new(BindOptions::new);

/// Binds a UDP socket for each address that `settings` resolve to, with the default
/// [`BindOptions`].
///
/// It does not set `SO_REUSEADDR`, with which UDP sockets silently share a port. It accepts
/// multicast and broadcast addresses.
///
/// # Errors
///
/// A [`BindError`] that names the [`Cause`] of every socket that failed.
///
/// # Examples
///
/// ```
/// let sockets = bindaddr::bind_udp("127.0.0.1:0")?;
/// assert_ne!(sockets[0].local_addr().port(), 0);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
pub fn bind_udp(settings: impl ToSettings) -> Result<Listeners<UdpSocket>, BindError> {
    DEFAULT.bind_udp(settings)
}

impl Plan {
    /// Binds a TCP listener for each socket of the plan, all of them or none.
    ///
    /// It [waits](BindOptions::wait) as the options say.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`] of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let plan = bindaddr::BindOptions::new().plan("localhost:0")?;
    /// assert_eq!(plan.bind()?[0].local_addr().ip(), std::net::Ipv4Addr::LOCALHOST);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn bind(&self) -> Result<Listeners, BindError> {
        let bind = || bind_plan(self, Protocol::Tcp);
        Ok(Listeners::of(wait::keep_trying(&self.options, bind)?))
    }

    /// Binds a UDP socket for each socket of the plan, as [`bind`](Self::bind) does for TCP.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`] of every socket that failed.
    pub fn bind_udp(&self) -> Result<Listeners<UdpSocket>, BindError> {
        let bind = || bind_plan(self, Protocol::Udp);
        Ok(Listeners::of(wait::keep_trying(&self.options, bind)?))
    }
}

impl Plan {
    /// Binds TCP sockets as [`bind`](Self::bind) does, without listen(2): for a server that binds
    /// as root, drops its privileges, and then [listens](Bound::listen). It does not
    /// [wait](BindOptions::wait).
    ///
    /// Until it listens, a socket does not reserve its port: on Unix another process that sets
    /// `SO_REUSEADDR` can bind it and listen first, and then listen(2) fails here.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`] of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let bound = bindaddr::BindOptions::new().plan("localhost:0")?.bind_without_listening()?;
    /// // The server drops its privileges here.
    /// let listeners = bound.listen()?;
    /// assert!(std::net::TcpStream::connect(listeners[0].local_addr()).is_ok());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn bind_without_listening(&self) -> Result<Bound, BindError> {
        let opening = open_plan(self, Protocol::Tcp, Goal::Listen, false);
        let entries = self.entries.len();
        let opened = opened_of(self, Vec::new(), entries, Protocol::Tcp, opening);
        Ok(Bound {
            plan: self.clone(),
            opened: opened.map_err(|unopened| unopened.error)?,
        })
    }

    /// Binds a TCP listener and a UDP socket for each socket of the plan, all or none; the sockets
    /// of an entry share a port. For protocols that use both, such as DNS.
    ///
    /// If an entry allows several ports, a port that is free for only one protocol is skipped.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`] of every socket that failed, for the first protocol
    /// that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let plan = bindaddr::BindOptions::new().plan("localhost:0")?;
    /// let (tcp, udp) = plan.bind_tcp_and_udp()?;
    /// assert_eq!(tcp.port(), udp.port());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn bind_tcp_and_udp(&self) -> Result<(Listeners, Listeners<UdpSocket>), BindError> {
        wait::keep_trying(&self.options, || bind_both(self))
    }
}

/// Bound TCP sockets that do not listen yet, returned by [`Plan::bind_without_listening`].
///
/// # Examples
///
/// ```
/// use std::net::TcpStream;
///
/// let bound = bindaddr::BindOptions::new().plan("127.0.0.1:0")?.bind_without_listening()?;
/// let addr = bound.local_addrs()[0];
/// assert!(TcpStream::connect(addr).is_err());
/// let listeners = bound.listen()?;
/// assert!(TcpStream::connect(addr).is_ok());
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[must_use = "dropping it closes the sockets"]
pub struct Bound {
    plan: Plan,
    opened: Opened,
}

impl Bound {
    /// Returns the addresses of the sockets.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let opened = self.opened.sockets.iter();
        opened.map(|opened| opened.local_addr).collect()
    }

    /// Listens on all sockets, or on none.
    ///
    /// # Errors
    ///
    /// Returns a [`BindError`], for example if another process now listens on the port.
    pub fn listen(self) -> Result<Listeners, BindError> {
        let Opened { sockets, rest } = self.opened;
        let mut opening = Opening {
            opened: sockets,
            ..Opening::default()
        };
        listen_all(&mut opening, Protocol::Tcp);
        if opening.failed.is_empty() {
            let sockets = opening.opened;
            return Ok(Listeners::of(Opened { sockets, rest }));
        }
        let errors = explain(
            &self.plan,
            Protocol::Tcp,
            opening.failed,
            None,
            &Outgoing::new(Protocol::Tcp),
        );
        Err(BindError::new(
            Protocol::Tcp,
            self.plan.entries.len(),
            errors,
        ))
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bound").field(&self.local_addrs()).finish()
    }
}

fn bind_both(plan: &Plan) -> Result<(Listeners, Listeners<UdpSocket>), Unopened> {
    let mut left = plan.clone();
    let mut tries_left = 16;
    loop {
        // First, because it has no connections that would be reset if TCP fails.
        let udp = bind_plan(&left, Protocol::Udp)?;
        let ports: Map<usize, u16> = udp
            .sockets
            .iter()
            .map(|opened| (opened.planned.entry.number, opened.local_addr.port()))
            .collect();
        let on_same_port = plan.map_sockets(|socket| match ports.get(&socket.entry.number) {
            Some(port) => socket.fixed_to(*port),
            None => socket.clone(),
        });
        let unopened = match bind_plan(&on_same_port, Protocol::Tcp) {
            Ok(tcp) => return Ok((Listeners::of(tcp), Listeners::of(udp))),
            Err(unopened) => unopened,
        };
        // The kernel chooses another port the next time, and a range goes on after the one that
        // failed.
        let failed: Set<Position> = unopened
            .error
            .errors()
            .map(SettingError::position)
            .collect();
        let mut others = Vec::with_capacity(left.sockets.len());
        for socket in &left.sockets {
            let other = match ports.get(&socket.entry.number) {
                Some(port) if failed.contains(&socket.position()) && socket.is_range() => {
                    socket.after_port(*port)
                }
                _ => Some(socket.clone()),
            };
            others.extend(other);
        }
        let may_have_another = |socket: &PlannedSocket| {
            !failed.contains(&socket.position()) || socket.fixed_port().is_none()
        };
        // A range ends by itself.
        let is_range =
            |socket: &PlannedSocket| failed.contains(&socket.position()) && socket.is_range();
        tries_left -= u32::from(!left.sockets.iter().any(is_range));
        let is_exhausted = others.len() < left.sockets.len() || tries_left == 0;
        let is_in_use = |error: &SettingError| {
            let source = error.io_error();
            source.is_some_and(|source| is_port_in_use(error.step(), source))
        };
        if is_exhausted
            || !unopened.error.errors().all(is_in_use)
            || !left.sockets.iter().all(may_have_another)
        {
            return Err(unopened);
        }
        left.sockets = others;
    }
}

/// The opened sockets, at least one.
struct Opened {
    sockets: Vec<OpenedSocket>,
    rest: Option<Box<Rest>>,
}

/// The error, and the entries whose addresses may still appear, by position.
struct Unopened {
    error: BindError,
    entries: Vec<Arc<Entry>>,
}

impl Unopened {
    fn entry_at(&self, position: Position) -> Option<&Entry> {
        entry_at(&self.entries, position)
    }
}

/// Plans the settings and opens their sockets, once.
fn bind_settings<S: From<Socket>>(
    options: &Options,
    settings: &Settings<'_>,
    protocol: Protocol,
) -> Result<Listeners<S>, Unopened> {
    // Most settings are one address, for which nothing needs to be planned.
    let plain = settings.only().and_then(Setting::plain_addr);
    let plain = plain.filter(|_| options.device.is_none() && !options.has_inherited_sockets());
    let mut tried = None;
    if let Some(addr) = plain {
        match open_plain(options, protocol, addr, GroupCheck::of_literal(addr.ip())) {
            Ok((local_addr, socket)) => {
                let is_port_bound = addr.port() != 0;
                let state = OpenState::of_addr(local_addr, protocol, is_port_bound, options);
                return Ok(Listeners::of_one(socket.into(), state));
            }
            Err(failure) => tried = Some(failure),
        }
    }
    let draft = Draft::of(settings, options, &SnapshotCache::default());
    let tried = tried.zip(draft.plan.sockets.first());
    let tried = tried.map(|(failure, planned)| FailedSocket::new(planned.clone(), failure));
    let entries = draft.texts.len();
    open_draft(&draft.plan, draft.errors, entries, protocol, tried).map(Listeners::of)
}

fn bind_plan(plan: &Plan, protocol: Protocol) -> Result<Opened, Unopened> {
    open_draft(plan, Vec::new(), plan.entries.len(), protocol, None)
}

/// Opens the sockets of a plan, all or none. If there are `errors` already, the sockets are opened
/// only to find further errors. `tried` is the result of opening the only socket, if that was
/// attempted before planning.
fn open_draft(
    plan: &Plan,
    errors: Vec<SettingError>,
    entries: usize,
    protocol: Protocol,
    tried: Option<FailedSocket>,
) -> Result<Opened, Unopened> {
    let goal = if errors.is_empty() {
        Goal::Listen
    } else {
        Goal::Check
    };
    let opening = match tried {
        None => open_plan(plan, protocol, goal, true),
        Some(tried) => Opening {
            failed: vec![tried],
            ..Opening::default()
        },
    };
    opened_of(plan, errors, entries, protocol, opening)
}

/// Opens the sockets of a plan, all or none. Inherited sockets are used where they match.
pub(crate) fn open_plan(plan: &Plan, protocol: Protocol, goal: Goal, listens: bool) -> Opening {
    if plan.options.has_inherited_sockets() {
        let none = Listeners::<TcpListener>::default();
        return Missing::open(plan, protocol, &none, goal, listens).opening;
    }
    let outgoing = Outgoing::new(protocol);
    let opener = Opener::new(&plan.options, protocol, goal, &outgoing);
    let mut opener = if listens {
        opener
    } else {
        opener.without_listening()
    };
    opener.open(&plan.sockets)
}

/// Opens the sockets of a plan for a check, ignoring those of a process that is about to exit.
pub(crate) fn open_beside(plan: &Plan, protocol: Protocol, outgoing: &Outgoing<'_>) -> Opening {
    Opener::new(&plan.options, protocol, Goal::Check, outgoing).open(&plan.sockets)
}

/// Decides whether the opened sockets satisfy the plan.
fn opened_of(
    plan: &Plan,
    errors: Vec<SettingError>,
    entries: usize,
    protocol: Protocol,
    opening: Opening,
) -> Result<Opened, Unopened> {
    let Opening {
        opened,
        mut failed,
        left_out,
        lost: _,
        served,
    } = opening;
    let are_open = !opened.is_empty() && opened.iter().all(|opened| opened.socket.is_some());
    // An entry that is wrong by itself has its error already.
    let wrong: Set<Position> = errors.iter().map(SettingError::position).collect();
    failed.retain(|failed| !wrong.contains(&failed.planned.position()));
    let verdict = Verdict::of(
        plan,
        errors,
        explain(plan, protocol, failed, None, &Outgoing::new(protocol)),
        are_open,
    );
    if verdict.errors.is_empty() {
        return Ok(Opened {
            rest: Rest::of(
                plan,
                verdict.skipped,
                opened.iter().map(|opened| &opened.planned),
                left_out,
                served,
            ),
            sockets: opened,
        });
    }
    Err(Unopened {
        error: BindError::new(protocol, entries, verdict.errors),
        entries: plan.entries.clone(),
    })
}

/// The errors of a plan, and its skipped entries.
pub(crate) struct Verdict {
    pub(crate) errors: Vec<SettingError>,
    pub(crate) skipped: Vec<SettingError>,
}

impl Verdict {
    /// Decides which failures are errors. A failed optional entry is skipped, provided that the
    /// other entries opened.
    pub(crate) fn of(
        plan: &Plan,
        mut errors: Vec<SettingError>,
        failed: Vec<SettingError>,
        are_open: bool,
    ) -> Self {
        let is_optional =
            |error: &SettingError| plan.entry_of(error).is_some_and(Entry::is_optional);
        let mut skipped = plan.skipped.clone();
        for error in failed {
            if error.cause().is_absence() && is_optional(&error) {
                skipped.push(error);
            } else {
                errors.push(error);
            }
        }
        if errors.is_empty() && !are_open {
            errors.append(&mut skipped);
        }
        if errors.is_empty() && !are_open {
            errors.push(SettingError::of_setting(Step::Validate, Cause::EmptyList));
        }
        sort_by(&mut skipped, |a, b| a.position().cmp(&b.position()));
        let errors = errors
            .into_iter()
            .map(|error| with_probed_hints(plan, error));
        Self {
            errors: errors.collect(),
            skipped,
        }
    }
}

/// Adds the hint that needs the kernel: the IPv4 address of an IPv4-mapped one, if it can be bound.
fn with_probed_hints(plan: &Plan, error: SettingError) -> SettingError {
    let (Cause::MappedOnV6Only { ip }, Some(entry)) = (error.cause(), plan.entry_of(&error)) else {
        return error;
    };
    let ip = IpAddr::V4(*ip);
    let group = group_of(Protocol::Tcp, ip, GroupCheck::of_literal(ip));
    if group.is_some() || entry.probe_addr(SocketAddr::new(ip, 0)).is_err() {
        return error;
    }
    let setting = entry
        .written
        .with_other_host(Host::Ip { ip, zone: None })
        .to_string();
    let text = format!("`{setting}` is the IPv4 address");
    error.with_hints(vec![Hint::replacing(HintKind::Replace, text, setting)])
}
