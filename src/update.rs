//! Computes and applies the changes that make the open sockets those of a plan: [`Plan::diff`] and
//! [`Plan::apply`]; `Watch` reports when the host has changed (feature `watch`).

// Opens what is missing and closes what is gone.
mod apply;
// The check of an update.
mod check;
// The events of following a host.
#[cfg(feature = "watch")]
mod event;
// Follows the addresses of the host.
#[cfg(feature = "watch")]
mod follow;
// Why a running server could not be changed.
#[cfg(any(feature = "tokio", feature = "watch"))]
mod handle_error;

use std::fmt;
use std::net::SocketAddr;

use crate::addr::shown;
pub use crate::bind::{Bound, StdSocket};
use crate::bind::{Found, Listener, Listeners, Matched, Matching, is_reachable, match_sockets};
use crate::diagnose::Namespace;
use crate::diagnosis::Position;
use crate::interfaces::Interfaces;
use crate::map::Set;
use crate::plan::{Plan, PlannedSocket};
use crate::target::{BindTarget, zone};
#[cfg(feature = "tokio")]
pub(crate) use apply::Preparation;
#[cfg(feature = "tokio")]
pub(crate) use apply::Unprepared;
#[cfg(feature = "watch")]
pub(crate) use apply::apply;
pub use apply::{Apply, Update};
#[cfg(feature = "watch")]
pub use event::Event;
#[cfg(feature = "watch")]
pub(crate) use follow::{Following, Pause};
#[cfg(any(feature = "tokio", feature = "watch"))]
pub use handle_error::HandleError;

#[cfg(feature = "watch")]
pub use crate::watch::Watch;

/// The difference between a [`Plan`] and the sockets that are open, as a set.
///
/// A socket of the plan and an open one are the same if address, zone, `IPV6_V6ONLY`, device and
/// `freebind` are. Port 0 and a range of ports are satisfied by the port that is open, as long as
/// the sockets of a setting are on one port and no other setting of the plan needs it. Each socket
/// of either side is one [`Change`]; [`Plan::apply`] makes them.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
/// use bindaddr::update::ChangeKind;
/// use bindaddr::{BindOptions, Interfaces};
///
/// let host = |ips: &[[u8; 4]]| -> Interfaces {
///     let lo = Interface::new("lo", 1).with_addr([127, 0, 0, 1].into(), 8);
///     let lo = ips.iter().fold(lo, |lo, ip| lo.with_addr((*ip).into(), 8));
///     [lo].into_iter().collect()
/// };
/// let plan = BindOptions::new().plan_on("_local_:0", &host(&[]))?;
/// let listeners = plan.bind()?;
/// assert!(plan.diff(&listeners).is_empty());
///
/// let plan = plan.replan(&host(&[[127, 0, 0, 5]]))?;
/// let diff = plan.diff(&listeners);
/// assert_eq!(diff.to_open().count(), 1);
/// for change in diff.changes().iter().filter(|change| change.kind() != ChangeKind::Kept) {
///     println!("{change}");
/// }
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Diff {
    changes: Vec<Change>,
}

/// One socket in a [`Diff`].
///
/// The [`Display`](fmt::Display) form is a sentence for a log.
#[derive(Clone, Debug)]
pub struct Change {
    kind: ChangeKind,
    position: Position,
    addr: SocketAddr,
    interface: Option<String>,
    planned: Option<PlannedSocket>,
    open: Option<usize>,
}

/// The kind of a [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The socket is open and planned.
    Kept,
    /// The socket is open and planned, and no client can connect to it at present: the host lacks
    /// the address, or the interface is down. It works again once the host has the address.
    Unreachable,
    /// The socket is planned and not open, and the host has the address.
    Added,
    /// The socket is planned and not open, and cannot be opened at present: the host lacks the
    /// address, or performs duplicate address detection for it.
    Pending,
    /// The socket is open and not planned any more.
    Removed,
    /// The socket is bound to an interface, by a zone or as a device, that was deleted and created
    /// again under another index: no client can connect to the open socket any more. It has to be
    /// closed, and opened on the new interface.
    #[non_exhaustive]
    InterfaceReplaced {
        /// The index of the interface that the open socket is bound to.
        from: u32,
        /// The index of the interface of that name now.
        to: u32,
    },
}

impl Diff {
    /// Returns all sockets, those of the plan in its order and then those to close.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Returns `true` if there is nothing to open and nothing to close.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to_open().next().is_none() && self.to_close().next().is_none()
    }

    /// Iterates over the sockets to open.
    ///
    /// Those of a setting are on the port of its open ones; if none is open and the port is of the
    /// kernel's choice, it is 0.
    pub fn to_open(&self) -> impl Iterator<Item = &PlannedSocket> {
        let to_open = self.changes.iter().filter(|change| change.is_to_open());
        to_open.filter_map(|change| change.planned.as_ref())
    }

    /// Iterates over the sockets to close, by their place among the open ones.
    pub fn to_close(&self) -> impl Iterator<Item = usize> {
        let to_close = self.changes.iter().filter(|change| change.is_to_close());
        to_close.filter_map(|change| change.open)
    }

    /// Returns the changes that an earlier difference does not have, so that each is reported once.
    ///
    /// A socket that was unreachable, or not yet open, and is [kept](ChangeKind::Kept) now is one.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::update::ChangeKind;
    /// use bindaddr::{BindOptions, Interfaces};
    ///
    /// let plan = BindOptions::new().plan("127.0.0.1:0")?;
    /// let listeners = plan.bind()?;
    /// let before = plan.replan(&Interfaces::system()?)?.diff(&listeners);
    /// // A host that has lost all its addresses.
    /// let now = plan.replan(&Interfaces::default())?.diff(&listeners);
    /// assert_eq!(now.since(&before)[0].kind(), ChangeKind::Unreachable);
    /// assert!(now.since(&now).is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn since<'d>(&'d self, before: &Self) -> Vec<&'d Change> {
        let known: Set<_> = before.changes.iter().map(Change::identity).collect();
        let changes = self.changes.iter();
        changes
            .filter(|change| !known.contains(&change.identity()))
            .collect()
    }
}

impl Change {
    /// Returns what the change is.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        self.kind
    }

    /// Returns the position of the setting.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the address of the open socket; of one that is not open, the address to bind.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the interface that has the address, or that the socket is bound to.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    fn is_to_open(&self) -> bool {
        matches!(
            self.kind,
            ChangeKind::Added | ChangeKind::InterfaceReplaced { .. }
        )
    }

    fn is_to_close(&self) -> bool {
        matches!(
            self.kind,
            ChangeKind::Removed | ChangeKind::InterfaceReplaced { .. }
        )
    }

    /// Returns what distinguishes it from other changes, whatever the position in a config that was
    /// written again.
    fn identity(&self) -> (ChangeKind, SocketAddr, Option<&str>) {
        (self.kind, self.addr, self.interface())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr;
        let interface = self.interface.as_deref().map(shown);
        match (self.kind, interface) {
            (ChangeKind::Kept, Some(interface)) => {
                write!(f, "clients can connect to {addr} on {interface}")
            }
            (ChangeKind::Kept, None) => write!(f, "clients can connect to {addr}"),
            (ChangeKind::Unreachable, Some(interface)) => write!(
                f,
                "no client can connect to {addr}: {interface} is down, or the address is not usable"
            ),
            (ChangeKind::Unreachable, None) => {
                write!(
                    f,
                    "no client can connect to {addr}: no interface has the address"
                )
            }
            (ChangeKind::Added, Some(interface)) => {
                write!(f, "{addr} on {interface} can be bound now")
            }
            (ChangeKind::Added, None) => write!(f, "{addr} can be bound now"),
            (ChangeKind::Pending, _) => write!(f, "{addr} cannot be bound yet"),
            (ChangeKind::Removed, _) => {
                write!(
                    f,
                    "the setting no longer includes {addr}, but its socket is still open"
                )
            }
            (ChangeKind::InterfaceReplaced { from, to }, interface) => write!(
                f,
                "{} was recreated with index {to}, but the socket on {addr} is still bound to index {from}",
                interface.as_deref().unwrap_or("the interface")
            ),
        }
    }
}

impl Plan {
    /// Compares the plan with the sockets that are open. Nothing is read and nothing is changed.
    ///
    /// Whether clients can connect is decided on the snapshot that the plan was made for; a plan
    /// that needed none, or a socket of another network namespace, counts as reachable.
    #[must_use]
    pub fn diff<S>(&self, open: &Listeners<S>) -> Diff {
        let matching = match_sockets(self, open, &[], &Set::new());
        Diff::of(&matching, open, self.host.as_ref())
    }
}

impl Diff {
    /// Returns the difference that was found, on a host.
    fn of<S>(matching: &Matching, open: &Listeners<S>, host: Option<&Interfaces>) -> Self {
        let planned = matching.sockets.iter().map(|matched| {
            let Matched {
                planned,
                open: found,
                is_pending,
                ..
            } = matched;
            let planned = planned.clone();
            match found {
                Some(Found::Same(at)) => kept(&open[*at], *at, planned, host),
                Some(Found::Replaced { at, from, to }) => Change {
                    kind: ChangeKind::InterfaceReplaced {
                        from: *from,
                        to: *to,
                    },
                    position: planned.position(),
                    addr: open[*at].local_addr(),
                    interface: name_of(*to, &planned, host),
                    planned: Some(planned),
                    open: Some(*at),
                },
                Some(Found::Inherited(_)) | None => missing(planned, *is_pending, host),
            }
        });
        let removed = matching.rest.iter().map(|&at| {
            let addr = open[at].local_addr();
            Change {
                kind: ChangeKind::Removed,
                position: open[at].position(),
                addr,
                interface: host.and_then(|host| through(addr, host)),
                planned: None,
                open: Some(at),
            }
        });
        Diff {
            changes: planned.chain(removed).collect(),
        }
    }
}

/// Returns the change of a socket that is not open.
fn missing(planned: PlannedSocket, is_pending: bool, host: Option<&Interfaces>) -> Change {
    let of_device = planned.device().map(str::to_owned);
    let owner = || through(planned.addr, host?);
    Change {
        kind: if is_pending {
            ChangeKind::Pending
        } else {
            ChangeKind::Added
        },
        position: planned.position(),
        addr: planned.addr,
        interface: of_device.or_else(owner),
        open: None,
        planned: Some(planned),
    }
}

/// Returns the change of a socket that is planned and open.
fn kept<S>(
    listener: &Listener<S>,
    open: usize,
    socket: PlannedSocket,
    host: Option<&Interfaces>,
) -> Change {
    let addr = listener.local_addr();
    let is_here = listener.state().namespace == Namespace::This;
    let host = host.filter(|_| is_here);
    let device = match (socket.device(), listener.state().device_index) {
        (None, _) => None,
        (Some(name), index) => Some((name, index)),
    };
    let is_reachable = host.is_none_or(|host| is_reachable(addr, device, host));
    let of_device = device.map(|(name, _)| name.to_owned());
    let owner = |host: &Interfaces| {
        let owner = host
            .by_index(zone(addr))
            .or_else(|| host.by_ip(addr.ip()).next())?;
        Some(owner.name().to_owned())
    };
    let interface = || host.and_then(|host| through(addr, host).or_else(|| owner(host)));
    Change {
        kind: if is_reachable {
            ChangeKind::Kept
        } else {
            ChangeKind::Unreachable
        },
        position: socket.position(),
        addr,
        interface: of_device.or_else(interface),
        planned: Some(socket),
        open: Some(open),
    }
}

/// Returns the interface through which clients connect to `addr`; a wildcard is on all of them.
fn through(addr: SocketAddr, host: &Interfaces) -> Option<String> {
    if addr.ip().is_unspecified() {
        return None;
    }
    let reach = BindTarget::classify_socket(addr, host).reach(0, host);
    let interface = reach.addrs().first()?.interface()?;
    Some(interface.to_owned())
}

fn name_of(index: u32, socket: &PlannedSocket, host: Option<&Interfaces>) -> Option<String> {
    let of_index = host.and_then(|host| host.by_index(index));
    let name = of_index.map(|interface| interface.name().to_owned());
    name.or_else(|| socket.device().map(str::to_owned))
}
