//! What to change so that the open sockets are those of a plan: [`Plan::diff`], and `Watch`, which reports when to look
//! (feature `watch`).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::addr::shown;
pub use crate::bind::StdSocket;
use crate::bind::{Listener, Listeners};
use crate::diagnose::Namespace;
use crate::diagnosis::Position;
use crate::interfaces::{Interface, Interfaces};
use crate::plan::{DeviceIndex, IfAbsent, Plan, PlannedSocket};
use crate::target::{BindTarget, zone};

#[cfg(feature = "watch")]
pub use crate::watch::Watch;

/// The difference between a [`Plan`] and the sockets that are open, as a set.
///
/// A socket of the plan and an open one are the same if address, zone, `IPV6_V6ONLY` and device are. Port 0
/// and a range of ports are satisfied by the port that is open. Each socket of either side is one [`Change`], so that a
/// change of the host is handled by closing what is [`closed`](Self::closed) and binding what is
/// [`opened`](Self::opened), in this order.
///
/// A planned socket that is bound alone is on the first port of its range, and it does not share a port of the kernel's
/// choice with the others of its setting, unless one of them is open. Its [`position`](crate::Listener::position) is that
/// in the new call.
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
/// assert_eq!(diff.opened().count(), 1);
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
        self.opened().next().is_none() && self.closed().next().is_none()
    }

    /// Iterates over the sockets to open.
    pub fn opened(&self) -> impl Iterator<Item = &PlannedSocket> {
        let opened = self.changes.iter().filter(|change| change.is_to_open());
        opened.filter_map(|change| change.planned.as_ref())
    }

    /// Iterates over the sockets to close, by their place among the open ones.
    pub fn closed(&self) -> impl Iterator<Item = usize> {
        let closed = self.changes.iter().filter(|change| change.is_to_close());
        closed.filter_map(|change| change.open)
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

    fn identity(&self) -> (ChangeKind, Position, SocketAddr) {
        (self.kind, self.position, self.addr)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr;
        let interface = self.interface.as_deref().map(shown);
        match (self.kind, interface) {
            (ChangeKind::Kept, Some(interface)) => {
                write!(f, "clients can connect to {addr} of {interface}")
            }
            (ChangeKind::Kept, None) => write!(f, "clients can connect to {addr}"),
            (ChangeKind::Unreachable, Some(interface)) => write!(
                f,
                "no client can connect to {addr}: {interface} is down or does not use the address"
            ),
            (ChangeKind::Unreachable, None) => {
                write!(
                    f,
                    "no client can connect to {addr}: no interface has the address"
                )
            }
            (ChangeKind::Added, Some(interface)) => {
                write!(f, "{addr} of {interface} is to be opened")
            }
            (ChangeKind::Added, None) => write!(f, "{addr} is to be opened"),
            (ChangeKind::Pending, _) => write!(f, "{addr} cannot be opened yet"),
            (ChangeKind::Removed, _) => {
                write!(
                    f,
                    "the setting no longer includes {addr}, but its socket is still open"
                )
            }
            (ChangeKind::InterfaceReplaced { from, to }, interface) => write!(
                f,
                "{} was created again as interface {to}, and the socket on {addr} is bound to interface {from}",
                interface.unwrap_or_default()
            ),
        }
    }
}

impl Plan {
    /// Compares the plan with the sockets that are open.
    ///
    /// Whether clients can connect is decided on the snapshot that the plan was made for; a plan that needed none, or a
    /// socket of another network namespace, counts as reachable.
    ///
    /// A socket on a fixed port is looked up. One on port 0 or in a range is compared with all open sockets on its
    /// address, so thousands of those on one address are slow.
    #[must_use]
    pub fn diff<S: StdSocket>(&self, open: &Listeners<S>) -> Diff {
        let mut pool = Pool::new(open);
        let mut matched: Vec<Option<usize>> = vec![None; self.sockets.len()];
        // First what can be on one port only and is required, so that nothing else takes its socket. Of both, first
        // what was opened for the same setting.
        let is_bound_to_port = |socket: &PlannedSocket| {
            socket.entry.fixed_port().is_some() && socket.if_absent != IfAbsent::Skip
        };
        for (is_fixed, is_own) in [(true, true), (true, false), (false, true), (false, false)] {
            for (socket, found) in self.sockets.iter().zip(&mut matched) {
                if found.is_none() && is_bound_to_port(socket) == is_fixed {
                    *found = pool.take(socket, is_own);
                }
            }
        }
        // Sockets of an entry are on one port.
        let mut ports: HashMap<usize, u16> = HashMap::new();
        for (socket, found) in self.sockets.iter().zip(&matched) {
            if let Some(found) = found {
                ports.insert(socket.entry.number, open[*found].local_addr().port());
            }
        }
        let skipped = open.skipped().iter();
        // Of a range, whatever the port.
        let skipped: HashSet<(Position, IpAddr)> = skipped
            .filter_map(|error| Some((error.position(), error.addr()?.ip())))
            .collect();
        let mut changes: Vec<Change> = Vec::with_capacity(self.sockets.len());
        for (socket, found) in self.sockets.iter().zip(&matched) {
            if let Some(found) = *found {
                changes.push(kept(&open[found], found, socket, self.host.as_ref()));
                continue;
            }
            let port = ports.get(&socket.entry.number).copied();
            let planned = socket.on_port(port.unwrap_or(socket.addr.port()));
            let replaced = pool.take_replaced(&planned, self.host.as_ref());
            let Some((found, from, to)) = replaced else {
                let was_skipped = skipped.contains(&(planned.position(), planned.addr.ip()));
                changes.push(self.added(planned, was_skipped));
                continue;
            };
            let addr = open[found].local_addr();
            changes.push(Change {
                kind: ChangeKind::InterfaceReplaced { from, to },
                position: socket.position(),
                addr,
                interface: name_of(to, socket, self.host.as_ref()),
                planned: Some(planned.on_port(addr.port())),
                open: Some(found),
            });
        }
        for found in pool.rest() {
            let listener = &open[found];
            changes.push(Change {
                kind: ChangeKind::Removed,
                position: listener.position(),
                addr: listener.local_addr(),
                interface: self
                    .host
                    .as_ref()
                    .and_then(|host| through(listener.local_addr(), host)),
                planned: None,
                open: Some(found),
            });
        }
        Diff { changes }
    }

    /// Returns the change of a socket that is not open. `was_skipped` is what bind(2) said when the others were opened.
    fn added(&self, planned: PlannedSocket, was_skipped: bool) -> Change {
        // What was planned without a snapshot is a literal, and what is required is opened at once or is an error.
        let is_selected = planned.entry.written.is_selector();
        let may_be_absent =
            is_selected || planned.entry.is_optional() || planned.if_absent == IfAbsent::Skip;
        let device = planned.device();
        let device = device.map(|name| (name, planned.entry.device_index));
        let is_there = match &self.host {
            _ if !may_be_absent => true,
            None => !was_skipped && planned.if_absent != IfAbsent::Skip,
            Some(host) if planned.entry.freebind => {
                zone(planned.addr) == 0 || host.by_index(zone(planned.addr)).is_some()
            }
            Some(host) => {
                let lacks_ipv6 = || !host.addrs().any(|(_, addr)| addr.ip().is_ipv6());
                let needs_ipv6 = planned.if_absent == IfAbsent::Skip && planned.addr.is_ipv6();
                is_reachable(planned.addr, device, host) && !(needs_ipv6 && lacks_ipv6())
            }
        };
        let of_device = device.map(|(name, _)| name.to_owned());
        let owner = || through(planned.addr, self.host.as_ref()?);
        Change {
            kind: if is_there {
                ChangeKind::Added
            } else {
                ChangeKind::Pending
            },
            position: planned.position(),
            addr: planned.addr,
            interface: of_device.or_else(owner),
            open: None,
            planned: Some(planned),
        }
    }
}

/// Returns the change of a socket that is planned and open.
fn kept<S: StdSocket>(
    listener: &Listener<S>,
    open: usize,
    socket: &PlannedSocket,
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
        planned: Some(socket.clone()),
        open: Some(open),
    }
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

/// An address and what is set on its socket, its port and device aside.
type Place = (IpAddr, u32, bool);

/// The open sockets that are not matched with a socket of the plan yet.
struct Pool<'o, S> {
    open: &'o Listeners<S>,
    is_taken: Vec<bool>,
    by_port: HashMap<(Place, u16), Vec<usize>>,
    by_place: HashMap<Place, Vec<usize>>,
    /// Those in a zone, by what is left without it.
    in_zones: HashMap<(IpAddr, u16), Vec<usize>>,
}

impl<'o, S: StdSocket> Pool<'o, S> {
    fn new(open: &'o Listeners<S>) -> Self {
        let mut pool = Self {
            open,
            is_taken: vec![false; open.len()],
            by_port: HashMap::new(),
            by_place: HashMap::new(),
            in_zones: HashMap::new(),
        };
        for (at, listener) in open.iter().enumerate() {
            let addr = listener.local_addr();
            let has_device = listener.device_option().is_some();
            let place = place_of(addr, listener.is_only_v6(), has_device);
            pool.by_port
                .entry((place, addr.port()))
                .or_default()
                .push(at);
            pool.by_place.entry(place).or_default().push(at);
            if zone(addr) != 0 {
                let in_zones = pool.in_zones.entry((addr.ip(), addr.port()));
                in_zones.or_default().push(at);
            }
        }
        pool
    }

    /// Takes the open socket that is a planned one, or what replaces it on a host without IPv6.
    ///
    /// `is_own` asks for one that was opened for the same setting.
    fn take(&mut self, socket: &PlannedSocket, is_own: bool) -> Option<usize> {
        let found = self.find(socket, is_own).or_else(|| {
            let may_be_ipv4 = socket.if_absent == IfAbsent::UseIpv4;
            let found = may_be_ipv4.then(|| self.find(&socket.ipv4_instead(), is_own))??;
            self.open[found].is_ipv4_instead().then_some(found)
        })?;
        self.is_taken[found] = true;
        Some(found)
    }

    fn find(&mut self, socket: &PlannedSocket, is_own: bool) -> Option<usize> {
        let may_be = |listener: &Listener<S>| !is_own || listener.position() == socket.position();
        let has_device = socket.device().is_some();
        let place = place_of(socket.addr, socket.is_only_v6(), has_device);
        if let Some(port) = socket.entry.fixed_port() {
            let candidates = self.by_port.get(&(place, port))?;
            return candidates
                .iter()
                .copied()
                .find(|at| may_be(&self.open[*at]) && self.is_free(*at, socket));
        }
        // A matched socket need not be looked at again.
        let is_taken = &self.is_taken;
        let candidates = self.by_place.get_mut(&place)?;
        candidates.retain(|at| !is_taken[*at]);
        let ports = socket.ports();
        let fits = |at: &usize| {
            let listener = &self.open[*at];
            let has_port = *ports.start() == 0 || ports.contains(&listener.local_addr().port());
            has_port && may_be(listener) && self.is_free(*at, socket)
        };
        let candidates = self.by_place.get(&place)?;
        candidates.iter().copied().find(fits)
    }

    /// Returns `true` if an open socket is not matched yet, and is bound to the device of a planned one.
    fn is_free(&self, at: usize, socket: &PlannedSocket) -> bool {
        let listener = &self.open[at];
        let is_on_device = match (listener.device_index(), socket.entry.device_index) {
            (DeviceIndex::Known(open), DeviceIndex::Known(planned)) => open == planned,
            // An interface without an address is not in the snapshot.
            _ => listener.device_option() == socket.device(),
        };
        // A zone that is not the device's is not open anywhere.
        let of_plan = zone(socket.addr);
        let is_in_zone = of_plan == 0 || of_plan == zone(listener.local_addr());
        !self.is_taken[at] && is_on_device && is_in_zone
    }

    /// Takes the open socket that is a planned one but for the index of its interface, with both indices.
    fn take_replaced(
        &mut self,
        socket: &PlannedSocket,
        host: Option<&Interfaces>,
    ) -> Option<(usize, u32, u32)> {
        let to = match socket.entry.device_index {
            DeviceIndex::Known(index) => index,
            _ => zone(socket.addr),
        };
        let addr = socket.addr;
        let candidates = if socket.device().is_some() {
            let place = place_of(addr, socket.is_only_v6(), true);
            self.by_port.get(&(place, addr.port()))
        } else {
            self.in_zones.get(&(addr.ip(), addr.port()))
        };
        let found = candidates?.iter().copied().find_map(|at| {
            let listener = &self.open[at];
            let from = match listener.device_index() {
                DeviceIndex::Known(index) => index,
                _ => zone(listener.local_addr()),
            };
            let is_alike = !self.is_taken[at] && listener.device_option() == socket.device();
            // An address that moved to another interface leaves that of the socket in place; the name of a device may
            // be another interface's now.
            let is_gone = host.is_none_or(|host| host.by_index(from).is_none());
            let is_replaced = is_gone || socket.device().is_some();
            let is_replaced = is_alike && is_replaced && from != 0 && to != 0 && from != to;
            is_replaced.then_some((at, from, to))
        })?;
        self.is_taken[found.0] = true;
        Some(found)
    }

    fn rest(self) -> impl Iterator<Item = usize> {
        let taken = self.is_taken.into_iter().enumerate();
        taken.filter_map(|(at, is_taken)| (!is_taken).then_some(at))
    }
}

/// The zone of a socket with a device is that of the device.
fn place_of(addr: SocketAddr, is_only_v6: bool, has_device: bool) -> Place {
    let zone = if has_device { 0 } else { zone(addr) };
    (addr.ip(), zone, is_only_v6)
}
