//! Matches open sockets with the sockets of a plan: [`match_sockets`].

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::listener::OpenState;
use super::prospects::Prospects;
use super::{Listener, Listeners};
use crate::diagnosis::Position;
use crate::interfaces::Interfaces;
use crate::map::{Map, Set};
use crate::order::sort_by;
use crate::plan::{Claims, Duplicate, IfAbsent, Plan, PlannedSocket};
use crate::target::{DeviceIndex, zone};

/// The sockets of a plan, each with the open socket that matches it, and the open sockets that
/// match none.
pub(crate) struct Matching {
    pub(crate) sockets: Vec<Matched>,
    /// By their place among the open ones.
    pub(crate) rest: Vec<usize>,
    /// Addresses of the plan that a socket on another one of its addresses serves.
    pub(crate) served: Vec<Duplicate>,
}

/// A socket of a plan.
pub(crate) struct Matched {
    /// On the port of the others of its entry, if they have one.
    pub(crate) planned: PlannedSocket,
    pub(crate) open: Option<Found>,
    /// Whether it is not open, and cannot be opened at present.
    pub(crate) is_pending: bool,
    /// Whether another socket of its entry serves its address.
    is_served: bool,
}

/// The socket that a planned one is.
#[derive(Clone, Copy)]
pub(crate) enum Found {
    /// By its place among the open ones.
    Same(usize),
    /// It is bound to an interface that was deleted and created again.
    Replaced { at: usize, from: u32, to: u32 },
    /// By its place among those that were handed over.
    #[cfg_attr(not(feature = "socket-activation"), allow(dead_code))]
    Inherited(usize),
}

impl Matched {
    /// Returns `true` if there is a socket for it, which stays open or was handed over.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.open, Some(Found::Same(_) | Found::Inherited(_)))
    }

    /// Returns `true` if it is open, and stays so.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.open, Some(Found::Same(_)))
    }
}

impl Matching {
    /// Iterates over the sockets to close, by their place among the open ones.
    pub(crate) fn to_close(&self) -> impl Iterator<Item = usize> {
        let replaced = self
            .sockets
            .iter()
            .filter_map(|matched| match matched.open {
                Some(Found::Replaced { at, .. }) => Some(at),
                _ => None,
            });
        replaced.chain(self.rest.iter().copied())
    }
}

/// Finds the open socket of each socket of a plan, among those of the server and those that were
/// handed over to it.
///
/// A fixed port is looked up. An entry on a port of the kernel's choice or in a range keeps one
/// open port for all of its sockets, on which nothing else of the plan is in its way: that of the
/// same entry, else that of one with the same text, else any. Of the last, the range that ends
/// first takes its lowest port, so that as many ranges as can be have one. An entry of `released`
/// keeps none.
pub(crate) fn match_sockets<S>(
    plan: &Plan,
    open: &Listeners<S>,
    inherited: &[OpenState],
    released: &Set<usize>,
) -> Matching {
    let own = open.iter().map(Listener::state);
    let states: Vec<&OpenState> = own.chain(inherited).collect();
    let (sockets, served) = without_served(plan, &states, open.len());
    let prospects = Prospects::of(plan, open.left_out());
    let mut matcher = Matcher {
        pool: Pool::new(&states, open.len()),
        prospects: &prospects,
        claims: Claims::default(),
        matched: Vec::with_capacity(sockets.len()),
        served,
        allows_dual_stack: plan.options.allows_dual_stack(),
    };
    let mut entries = Vec::new();
    let is_alike =
        |one: &PlannedSocket, other: &PlannedSocket| one.entry.number == other.entry.number;
    for sockets in sockets.chunk_by(is_alike) {
        let first = matcher.matched.len();
        let unmatched = sockets.iter().map(|socket| Matched {
            planned: socket.clone(),
            open: None,
            is_pending: false,
            is_served: false,
        });
        matcher.matched.extend(unmatched);
        match sockets[0].fixed_port() {
            Some(port) => matcher.set_port(first, sockets, port),
            None => entries.push((first, sockets)),
        }
    }
    // By the end of the range; a port of the kernel's choice may be any.
    let end = |sockets: &[PlannedSocket]| match *sockets[0].ports().end() {
        0 => u16::MAX,
        end => end,
    };
    sort_by(&mut entries, |(_, a), (_, b)| end(a).cmp(&end(b)));
    // The port of the kernel's choice that all such entries share.
    let mut shared_port = None;
    for wanted in [Wanted::SameEntry, Wanted::SameText, Wanted::Any] {
        entries.retain(|(first, sockets)| {
            if released.contains(&sockets[0].entry.number) {
                return true;
            }
            if !sockets[0].is_on_shared_free_port() {
                return matcher.keep_port(*first, sockets, wanted).is_none();
            }
            match shared_port {
                Some(port) => matcher.set_port(*first, sockets, port),
                None => shared_port = matcher.keep_port(*first, sockets, wanted),
            }
            shared_port.is_none()
        });
    }
    for (first, sockets) in entries {
        match shared_port {
            Some(port) if sockets[0].is_on_shared_free_port() => {
                matcher.set_port(first, sockets, port);
            }
            _ => {
                for matched in &mut matcher.matched[first..first + sockets.len()] {
                    matched.is_pending = prospects.is_pending(&matched.planned);
                }
            }
        }
    }
    matcher.find_replaced();
    matcher.matched.retain(|matched| !matched.is_served);
    Matching {
        rest: matcher.pool.rest(),
        sockets: matcher.matched,
        served: matcher.served,
    }
}

/// Returns the sockets of a plan as they can be beside those that another process has as well,
/// whose ports cannot be bound again: a dual-stack wildcard serves `0.0.0.0` and `[::]` of two
/// entries as one socket. Returns the addresses that have no socket of their own then.
fn without_served<'p>(
    plan: &'p Plan,
    states: &[&OpenState],
    own: usize,
) -> (Cow<'p, [PlannedSocket]>, Vec<Duplicate>) {
    let mut sockets = Cow::Borrowed(&plan.sockets[..]);
    let mut served = Vec::new();
    let mut seen = Set::new();
    // The sockets of an entry that has both families itself are on one port that may be another.
    let mut families: Map<usize, usize> = Map::new();
    for socket in plan
        .sockets
        .iter()
        .filter(|socket| socket.addr.ip().is_unspecified())
    {
        *families.get_or_default(socket.entry.number) += 1;
    }
    for (at, state) in states.iter().enumerate() {
        let port = state.local_addr.port();
        if !is_shared_dual_stack(state) || !seen.insert((port, state.device_index)) {
            continue;
        }
        let is_free = !is_named_only(at, own, state);
        let is_on_port = |socket: &PlannedSocket, is_shared_port: bool| {
            let has_port = if is_shared_port {
                is_free && socket.is_on_shared_free_port()
            } else {
                socket.fixed_port() == Some(port)
            };
            let is_alone = families.get(&socket.entry.number) == Some(&1);
            let is_wildcard = socket.addr.ip().is_unspecified();
            has_port && is_alone && is_wildcard && is_on_device_of(state, socket)
        };
        // A socket that was handed over for exactly this address needs no other.
        let is_exact = |socket: &PlannedSocket| {
            let mut states = states.iter();
            states.any(|own| {
                own.local_addr.ip() == socket.addr.ip()
                    && own.local_addr.port() == port
                    && own.is_only_v6() == socket.is_only_v6()
                    && is_on_device_of(own, socket)
            })
        };
        let place = |is_wanted: fn(&PlannedSocket) -> bool, is_shared_port| {
            let is_it = |socket: &PlannedSocket| {
                is_wanted(socket) && is_on_port(socket, is_shared_port) && !is_exact(socket)
            };
            sockets.iter().position(is_it)
        };
        // Both on the port that is written, or both on the one that all share.
        let pair = |is_shared_port| {
            let ipv4 = place(|socket| socket.addr.is_ipv4(), is_shared_port)?;
            Some((ipv4, place(PlannedSocket::is_only_v6, is_shared_port)?))
        };
        if let Some((ipv4, ipv6)) = pair(false).or_else(|| pair(true)) {
            let sockets = sockets.to_mut();
            sockets[ipv6].only_v6 = false;
            let kept_by = sockets[ipv6].position();
            served.push(sockets.remove(ipv4).served_by(kept_by));
        }
    }
    (sockets, served)
}

fn is_shared_dual_stack(state: &OpenState) -> bool {
    let ip = state.local_addr.ip();
    state.is_shared() && ip.is_ipv6() && ip.is_unspecified() && !state.only_v6
}

/// Returns `true` if an open socket is bound to the interface of a planned one, or like it to none.
pub(super) fn is_on_device_of(state: &OpenState, socket: &PlannedSocket) -> bool {
    match (state.device_index, socket.entry.device_index) {
        (DeviceIndex::Known(own), DeviceIndex::Known(wanted)) => own == wanted,
        _ => state.device.as_deref() == socket.device(),
    }
}

/// Whose port an entry may keep.
#[derive(Clone, Copy)]
enum Wanted {
    SameEntry,
    SameText,
    Any,
}

struct Matcher<'o> {
    pool: Pool<'o>,
    prospects: &'o Prospects<'o>,
    /// The sockets whose port is known, by the place of the first socket of their entry.
    claims: Claims,
    matched: Vec<Matched>,
    served: Vec<Duplicate>,
    allows_dual_stack: bool,
}

/// The sockets of an entry, by their place, that one dual-stack wildcard serves.
#[derive(Clone, Copy)]
struct Wide {
    ipv4: usize,
    /// `None` if the entry has IPv4 alone, and IPv6 clients are allowed.
    ipv6: Option<usize>,
}

impl<'o> Matcher<'o> {
    /// Returns which sockets of an entry a dual-stack wildcard on `port` serves that another
    /// process has as well.
    fn wide(&self, sockets: &[PlannedSocket], port: u16) -> Option<Wide> {
        let place = |is_wanted: fn(&PlannedSocket) -> bool| {
            let is_wildcard = |socket: &PlannedSocket| socket.addr.ip().is_unspecified();
            let mut sockets = sockets.iter();
            sockets.position(|socket| is_wildcard(socket) && is_wanted(socket))
        };
        let ipv4 = place(|socket| socket.addr.is_ipv4() && !socket.is_ipv4_instead())?;
        let ipv6 = place(|socket| socket.addr.is_ipv6());
        let is_allowed = match ipv6 {
            Some(ipv6) => sockets[ipv6].only_v6,
            None => self.allows_dual_stack,
        };
        let is_exact = |at: usize| self.pool.find_exact(&sockets[at].fixed_to(port)).is_some();
        if !is_allowed || is_exact(ipv4) || ipv6.is_some_and(is_exact) {
            return None;
        }
        let dual_stack = sockets[ipv4].fixed_to(port).dual_stack_instead();
        let found = self.pool.find_exact(&dual_stack)?;
        is_shared_dual_stack(self.pool.open[found]).then_some(Wide { ipv4, ipv6 })
    }

    /// Matches the sockets of an entry on a port. The first one is at `first`.
    fn set_port(&mut self, first: usize, sockets: &[PlannedSocket], port: u16) {
        let wide = self.wide(sockets, port);
        for (at, socket) in sockets.iter().enumerate() {
            let mut planned = socket.fixed_to(port);
            match wide {
                Some(Wide { ipv4, ipv6 }) if ipv4 == at => {
                    self.served.push(planned.served_by(socket.position()));
                    planned = planned.dual_stack_instead();
                    if ipv6.is_some() {
                        self.matched[first + at].is_served = true;
                        continue;
                    }
                }
                Some(Wide { ipv6, .. }) if ipv6 == Some(at) => planned.only_v6 = false,
                _ => {}
            }
            let open = self.pool.take(&planned);
            let is_pending = open.is_none() && self.prospects.is_pending(&planned);
            let claim = planned.exclusive_claim().filter(|_| !is_pending);
            if let Some(claim) = claim {
                self.claims.add(first, claim, port);
            }
            self.matched[first + at] = Matched {
                planned,
                open: open.map(|at| self.pool.found(at)),
                is_pending,
                is_served: false,
            };
        }
    }

    /// Keeps an open port for the sockets of an entry, the first of which is at `first`, and
    /// returns it.
    fn keep_port(
        &mut self,
        first: usize,
        sockets: &'o [PlannedSocket],
        wanted: Wanted,
    ) -> Option<u16> {
        let socket = &sockets[0];
        let port = match wanted {
            Wanted::SameEntry => {
                let port = self.pool.port_of_entry(socket);
                port.filter(|port| self.is_fitting(sockets, *port))
            }
            Wanted::SameText => loop {
                match self.pool.next_port_of_text(socket.text()) {
                    Some(port) if !self.is_fitting(sockets, port) => {}
                    port => break port,
                }
            },
            Wanted::Any => sockets.iter().find_map(|socket| {
                let keys = [Some(key_on_device(socket)), instead_key(socket)];
                keys.into_iter().flatten().find_map(|key| {
                    let mut port = self.pool.free_port_from(&key, socket, 1);
                    while let Some(tried) = port.filter(|port| !self.is_fitting(sockets, *port)) {
                        let claim = socket.exclusive_claim();
                        if claim.is_some_and(|claim| self.claims.conflict(claim, tried).is_some()) {
                            // Nor does it fit any other entry.
                            self.pool.forget_port(&key, tried);
                        }
                        port = self
                            .pool
                            .free_port_from(&key, socket, tried.checked_add(1)?);
                    }
                    port
                })
            }),
        };
        if let Some(port) = port {
            self.set_port(first, sockets, port);
        }
        port
    }

    /// Returns `true` if an entry has an open socket on `port`, and nothing else of the plan is in
    /// its way there.
    fn is_fitting(&self, sockets: &[PlannedSocket], port: u16) -> bool {
        let ports = sockets[0].ports();
        let has_port = *ports.start() == 0 || ports.contains(&port);
        let is_open = |socket: &PlannedSocket| {
            let planned = socket.fixed_to(port);
            self.pool.find(&planned).is_some()
                || self
                    .pool
                    .find_replaced(&planned, self.prospects.host)
                    .is_some()
        };
        let is_in_conflict = |socket: &PlannedSocket| {
            let claim = socket.exclusive_claim();
            claim.is_some_and(|claim| self.claims.conflict(claim, port).is_some())
                && (is_open(socket) || !self.prospects.is_pending(socket))
        };
        let has_any = sockets.iter().any(is_open) || self.wide(sockets, port).is_some();
        has_port && has_any && !sockets.iter().any(is_in_conflict)
    }

    /// Finds the open sockets of those without one that are on an interface which was created
    /// again.
    fn find_replaced(&mut self) {
        for matched in self
            .matched
            .iter_mut()
            .filter(|matched| matched.open.is_none())
        {
            let host = self.prospects.host;
            if let Some((at, from, to)) = self.pool.find_replaced(&matched.planned, host) {
                self.pool.set_taken(at);
                matched.open = Some(Found::Replaced { at, from, to });
            }
        }
    }
}

/// The properties that distinguish open sockets on one port.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key<'a> {
    ip: IpAddr,
    zone: u32,
    only_v6: bool,
    freebind: bool,
    device: Device<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Device<'a> {
    None,
    Index(u32),
    Name(&'a str),
}

/// The open sockets, and which of them are matched.
struct Pool<'o> {
    open: &'o [&'o OpenState],
    /// How many of them are the server's; the others were handed over.
    own: usize,
    is_taken: Vec<bool>,
    by_port: Map<(Key<'o>, u16), Vec<usize>>,
    ports: Map<Key<'o>, BTreeSet<u16>>,
    /// Those in a zone or on a device, by what does not change with the interface.
    on_interfaces: Map<(IpAddr, u16, Option<&'o str>), Vec<usize>>,
    by_entry: Map<(Position, &'o str), u16>,
    by_text: Map<&'o str, VecDeque<u16>>,
}

impl<'o> Pool<'o> {
    fn new(open: &'o [&'o OpenState], own: usize) -> Self {
        let mut pool = Self {
            open,
            own,
            is_taken: vec![false; open.len()],
            by_port: Map::new(),
            ports: Map::new(),
            on_interfaces: Map::new(),
            by_entry: Map::new(),
            by_text: Map::new(),
        };
        for (at, state) in open.iter().enumerate() {
            let addr = state.local_addr;
            let (ip, port, device) = (addr.ip(), addr.port(), state.device.as_deref());
            for key in keys_of(state) {
                pool.by_port.get_or_default((key, port)).push(at);
                // One that is served is only for the setting that names its port.
                if !is_named_only(at, own, state) {
                    pool.ports.get_or_default(key).insert(port);
                }
            }
            if at < own && (device.is_some() || zone(addr) != 0) {
                let alike = pool.on_interfaces.get_or_default((ip, port, device));
                alike.push(at);
            }
            if let Some(text) = state.text.as_deref() {
                pool.by_entry
                    .get_or_insert_with((state.position, text), || port);
                pool.by_text.get_or_default(text).push_back(port);
            }
        }
        pool
    }

    fn found(&self, at: usize) -> Found {
        match at.checked_sub(self.own) {
            None => Found::Same(at),
            Some(at) => Found::Inherited(at),
        }
    }

    /// Takes the open socket that is a planned one.
    fn take(&mut self, planned: &PlannedSocket) -> Option<usize> {
        let found = self.find(planned)?;
        self.set_taken(found);
        Some(found)
    }

    fn set_taken(&mut self, at: usize) {
        self.is_taken[at] = true;
        let state = self.open[at];
        let port = state.local_addr.port();
        for key in keys_of(state) {
            let alike = self.by_port.get_or_default((key, port));
            alike.retain(|other| *other != at);
            if alike.is_empty() {
                self.ports.get_or_default(key).remove(&port);
            }
        }
    }

    /// Finds the open socket, not matched yet, that is a planned one on a fixed port, or what
    /// replaces it on a host without IPv6.
    fn find(&self, planned: &PlannedSocket) -> Option<usize> {
        self.find_exact(planned).or_else(|| {
            let may_be_ipv4 = planned.if_absent == IfAbsent::UseIpv4;
            let found = may_be_ipv4.then(|| self.find_exact(&planned.ipv4_instead()))??;
            self.open[found].is_ipv4_instead.then_some(found)
        })
    }

    fn find_exact(&self, planned: &PlannedSocket) -> Option<usize> {
        let wanted_zone = zone(planned.addr);
        let find = |device, is_fitting: fn(&OpenState) -> bool| {
            let key = key_of(planned, device);
            let alike = self.by_port.get(&(key, planned.addr.port()))?.iter();
            alike.copied().find(|at| {
                let state = self.open[*at];
                // A zone that is not the device's is not open anywhere.
                let is_in_zone = wanted_zone == 0 || wanted_zone == zone(state.local_addr);
                let may_be = planned.has_written_port() || !is_named_only(*at, self.own, state);
                is_in_zone && may_be && is_fitting(state)
            })
        };
        match (planned.device(), planned.entry.device_index) {
            (None, _) => find(Device::None, |_| true),
            (Some(name), DeviceIndex::Known(index)) => find(Device::Index(index), |_| true)
                .or_else(|| {
                    let has_no_index =
                        |state: &OpenState| !matches!(state.device_index, DeviceIndex::Known(_));
                    find(Device::Name(name), has_no_index)
                }),
            (Some(_), DeviceIndex::Missing(_)) => None,
            // An interface without an address is not in the snapshot.
            (Some(name), _) => find(Device::Name(name), |_| true),
        }
    }

    /// Finds the open socket that is a planned one but for the index of its interface, with both
    /// indices.
    fn find_replaced(
        &self,
        planned: &PlannedSocket,
        host: Option<&Interfaces>,
    ) -> Option<(usize, u32, u32)> {
        let addr = planned.addr;
        let to = match planned.entry.device_index {
            DeviceIndex::Known(index) => index,
            _ => zone(addr),
        };
        let alike = self
            .on_interfaces
            .get(&(addr.ip(), addr.port(), planned.device()));
        alike?.iter().copied().find_map(|at| {
            let state = self.open[at];
            let from = match state.device_index {
                DeviceIndex::Known(index) => index,
                _ => zone(state.local_addr),
            };
            let is_alike = !self.is_taken[at]
                && state.is_only_v6() == planned.is_only_v6()
                && state.freebind == Some(planned.entry.freebind);
            // An address that moved to another interface leaves that of the socket in place; the
            // name of a device may be another interface's now.
            let is_gone = || host.is_some_and(|host| host.by_index(from).is_none());
            let is_other = from != 0 && to != 0 && from != to;
            let is_replaced = is_alike && is_other && (planned.device().is_some() || is_gone());
            is_replaced.then_some((at, from, to))
        })
    }

    /// Returns the port of the sockets that were opened for an entry.
    fn port_of_entry(&self, planned: &PlannedSocket) -> Option<u16> {
        self.by_entry
            .get(&(planned.position(), planned.text()))
            .copied()
    }

    /// Returns each port once that sockets of an entry with this text have.
    fn next_port_of_text(&mut self, text: &str) -> Option<u16> {
        self.by_text.get_mut(text)?.pop_front()
    }

    /// Leaves out a port that no planned socket like this one can have.
    fn forget_port(&mut self, key: &Key<'o>, port: u16) {
        if let Some(ports) = self.ports.get_mut(key) {
            ports.remove(&port);
        }
    }

    /// Returns the first port, of those from `from` on that a planned socket may have, on which one
    /// like it is open and not matched.
    fn free_port_from(&self, key: &Key<'o>, planned: &PlannedSocket, from: u16) -> Option<u16> {
        let ports = self.ports.get(key)?;
        let (first, last) = match planned.ports().into_inner() {
            (0, _) => (from, u16::MAX),
            (first, last) => (first.max(from), last),
        };
        let port = ports.range(first..).next().copied();
        port.filter(|port| *port <= last)
    }

    fn rest(self) -> Vec<usize> {
        let taken = self.is_taken.into_iter().enumerate().take(self.own);
        let rest = taken.filter_map(|(at, is_taken)| (!is_taken).then_some(at));
        rest.collect()
    }
}

/// Returns `true` if a socket that was handed over is served already.
fn is_named_only(at: usize, own: usize, state: &OpenState) -> bool {
    at >= own
        && state
            .inherited
            .as_ref()
            .is_some_and(|handed| handed.is_used())
}

fn keys_of(state: &OpenState) -> impl Iterator<Item = Key<'_>> {
    let addr = state.local_addr;
    let index = match state.device_index {
        DeviceIndex::Known(index) => Some(Device::Index(index)),
        _ => None,
    };
    // The zone of a socket with a device is that of the device; one that was handed over in a zone
    // may have been bound by either.
    let by_zone = (zone(addr), Device::None);
    let by_name = state.device.as_deref().map(|name| (0, Device::Name(name)));
    let by_index = index.filter(|_| by_name.is_some());
    let is_by_zone = by_name.is_none() || state.freebind.is_none() && zone(addr) != 0;
    let places = [
        is_by_zone.then_some(by_zone),
        by_name,
        by_index.map(|index| (0, index)),
    ];
    let places = places.into_iter().flatten();
    places.flat_map(move |(zone, device)| {
        let freebind = [false, true].into_iter();
        let freebind = freebind.filter(|free| state.freebind.is_none_or(|own| own == *free));
        freebind.map(move |freebind| Key {
            ip: addr.ip(),
            zone,
            only_v6: state.is_only_v6(),
            freebind,
            device,
        })
    })
}

fn key_on_device(planned: &PlannedSocket) -> Key<'_> {
    let device = match (planned.device(), planned.entry.device_index) {
        (None, _) => Device::None,
        (Some(_), DeviceIndex::Known(index)) => Device::Index(index),
        (Some(name), _) => Device::Name(name),
    };
    key_of(planned, device)
}

/// Returns the key of the wildcard that may be open in place of a planned one: dual-stack for IPv4,
/// and IPv4 for `*`.
fn instead_key(planned: &PlannedSocket) -> Option<Key<'_>> {
    let ip: IpAddr = match planned.if_absent {
        IfAbsent::UseIpv4 => Ipv4Addr::UNSPECIFIED.into(),
        _ if planned.addr.is_ipv4() => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut key = key_on_device(planned);
    key.ip = ip;
    planned.addr.ip().is_unspecified().then_some(key)
}

fn key_of<'a>(planned: &PlannedSocket, device: Device<'a>) -> Key<'a> {
    let zone = match device {
        Device::None => zone(planned.addr),
        _ => 0,
    };
    Key {
        ip: planned.addr.ip(),
        zone,
        only_v6: planned.is_only_v6(),
        freebind: planned.entry.freebind,
        device,
    }
}
