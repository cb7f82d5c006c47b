//! What to change so that the open sockets are those of a plan: [`Plan::diff`] and [`Plan::apply`], and `Watch`, which
//! reports when to look (feature `watch`).

// Which open sockets are those of a plan.
mod matching;
// Opens what is missing and closes what is gone.
mod apply;

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::addr::shown;
pub use crate::bind::{Bound, StdSocket};
use crate::bind::{Listener, Listeners};
use crate::diagnose::Namespace;
use crate::diagnosis::Position;
use crate::interfaces::{Interface, Interfaces};
use crate::plan::{IfAbsent, Plan, PlannedSocket};
use crate::target::{BindTarget, DeviceIndex, zone};
#[cfg(feature = "tokio")]
pub(crate) use apply::Preparation;
pub use apply::{Apply, Update};
use matching::{Found, Matched, Matching, match_sockets};

#[cfg(feature = "watch")]
pub use crate::watch::Watch;

/// The difference between a [`Plan`] and the sockets that are open, as a set.
///
/// A socket of the plan and an open one are the same if address, zone, `IPV6_V6ONLY`, device and `freebind` are. Port 0
/// and a range of ports are satisfied by the port that is open, as long as the sockets of a setting are on one port and no
/// other setting of the plan needs it. Each socket of either side is one [`Change`]; [`Plan::apply`] makes them.
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

/// What a [`Change`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The socket is open and planned.
    Kept,
    /// The socket is open and planned, and no client can connect to it at present: the host lacks the address, or the
    /// interface is down. It works again once the host has the address.
    Unreachable,
    /// The socket is planned and not open, and the host has the address.
    Added,
    /// The socket is planned and not open, and cannot be opened at present: the host lacks the address, or performs
    /// duplicate address detection for it.
    Pending,
    /// The socket is open and not planned any more.
    Removed,
    /// The socket is bound to an interface, by a zone or as a device, that was deleted and created again under another
    /// index: no client can connect to the open socket any more. It has to be closed, and opened on the new interface.
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
    /// Those of a setting are on the port of its open ones; if none is open and the port is of the kernel's choice, it is
    /// 0.
    pub fn to_open(&self) -> impl Iterator<Item = &PlannedSocket> {
        let to_open = self.changes.iter().filter(|change| change.is_to_open());
        to_open.filter_map(|change| change.planned.as_ref())
    }

    /// Iterates over the sockets that stay open.
    fn kept(&self) -> impl Iterator<Item = &PlannedSocket> {
        let stays = |change: &&Change| change.open.is_some() && !change.is_to_close();
        let kept = self.changes.iter().filter(stays);
        kept.filter_map(|change| change.planned.as_ref())
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
        let known: HashSet<_> = before.changes.iter().map(Change::identity).collect();
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

    /// Returns what tells it from other changes, whatever the position in a config that was written again.
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
    /// Whether clients can connect is decided on the snapshot that the plan was made for; a plan that needed none, or a
    /// socket of another network namespace, counts as reachable.
    #[must_use]
    pub fn diff<S>(&self, open: &Listeners<S>) -> Diff {
        self.diff_without(open, &HashSet::new())
    }

    /// Compares the plan with the sockets that are open, and keeps no port for `released` entries that may have another.
    fn diff_without<S>(&self, open: &Listeners<S>, released: &HashSet<usize>) -> Diff {
        let host = self.host.as_ref();
        let prospects = Prospects::of(self, open);
        let Matching { sockets, rest } = match_sockets(self, open, &prospects, released);
        let planned = sockets.into_iter().map(|matched| {
            let Matched {
                planned,
                open: found,
                is_pending,
            } = matched;
            match found {
                Some(Found::Same(at)) => kept(&open[at], at, planned, host),
                Some(Found::Replaced { at, from, to }) => Change {
                    kind: ChangeKind::InterfaceReplaced { from, to },
                    position: planned.position(),
                    addr: open[at].local_addr(),
                    interface: name_of(to, &planned, host),
                    planned: Some(planned),
                    open: Some(at),
                },
                None => missing(planned, is_pending, host),
            }
        });
        let removed = rest.into_iter().map(|at| {
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

/// Whether sockets that are not open could be opened now.
struct Prospects<'a> {
    host: Option<&'a Interfaces>,
    lacks_ipv6: bool,
    /// What was left out when the others were opened.
    left_out: HashSet<AskedFor<'a>>,
}

/// What a setting asks for, whatever the port: its text, the device, and one of its addresses.
type AskedFor<'a> = (&'a str, Option<&'a str>, IpAddr);

fn asked_for(socket: &PlannedSocket) -> AskedFor<'_> {
    (socket.text(), socket.device(), socket.addr.ip())
}

impl<'a> Prospects<'a> {
    fn of<S>(plan: &'a Plan, open: &'a Listeners<S>) -> Self {
        let host = plan.host.as_ref();
        Self {
            host,
            lacks_ipv6: host.is_some_and(|host| !host.addrs().any(|(_, addr)| addr.ip().is_ipv6())),
            left_out: open.left_out().iter().map(asked_for).collect(),
        }
    }

    /// Returns `true` if a socket cannot be opened at present.
    fn is_pending(&self, planned: &PlannedSocket) -> bool {
        let is_selected = planned.entry.written.is_selector();
        let can_be_skipped = planned.if_absent == IfAbsent::Skip;
        // What is required is opened at once, or is an error.
        if !is_selected && !planned.entry.is_optional() && !can_be_skipped {
            return false;
        }
        match self.host {
            // bind(2) has said so when the others were opened.
            None => self.left_out.contains(&asked_for(planned)),
            Some(host) if planned.entry.freebind => {
                zone(planned.addr) != 0 && host.by_index(zone(planned.addr)).is_none()
            }
            Some(host) => {
                let needs_ipv6 = can_be_skipped && planned.addr.is_ipv6();
                !is_bindable(planned, host) || needs_ipv6 && self.lacks_ipv6
            }
        }
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
    let is_here = listener.namespace() == Namespace::This;
    let host = host.filter(|_| is_here);
    let device = match (socket.device(), listener.device_index()) {
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

/// Returns `true` if bind(2) would take the address, as far as the snapshot shows.
fn is_bindable(planned: &PlannedSocket, host: &Interfaces) -> bool {
    let ip = planned.addr.ip();
    // It takes an address of another interface than the device, but for IPv6 addresses of the host or of a link
    // (`__ipv6_chk_addr_and_flags` of net/ipv6/addrconf.c).
    let is_strict = matches!(ip, IpAddr::V6(ip) if ip.is_loopback() || ip.is_unicast_link_local());
    let is_on_device = match planned.entry.device_index {
        DeviceIndex::Missing(_) => false,
        DeviceIndex::Known(index) if is_strict => host
            .by_ip(ip)
            .any(|interface| interface.index() == Some(index)),
        _ => true,
    };
    is_on_device && is_reachable(planned.addr, None, host)
}

/// Returns `true` if clients can connect to a socket, as far as the snapshot shows.
fn is_reachable(addr: SocketAddr, device: Option<(&str, DeviceIndex)>, host: &Interfaces) -> bool {
    let interface = match device {
        None => None,
        Some((name, index)) => {
            // By its index, because it may have another name now.
            let found = match index {
                DeviceIndex::Known(index) => host.by_index(index),
                _ => host.by_name(name),
            };
            let Some(interface) = found else {
                return false;
            };
            Some(interface)
        }
    };
    let target = BindTarget::classify_socket(addr, host);
    if target.is_any() {
        return interface.is_none_or(Interface::is_up);
    }
    let reach = target.reach_on_device(0, interface.map(Interface::name), host);
    !reach.addrs().is_empty()
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
