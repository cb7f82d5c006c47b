//! Which open sockets are those of a plan: [`match_sockets`].

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;

use super::Prospects;
use crate::bind::{Listener, Listeners};
use crate::diagnosis::Position;
use crate::interfaces::Interfaces;
use crate::plan::{Claims, IfAbsent, Plan, PlannedSocket};
use crate::target::{DeviceIndex, zone};

/// The sockets of a plan, each with the open one that it is, and the open ones that are none of the plan's.
pub(super) struct Matching {
    pub(super) sockets: Vec<Matched>,
    pub(super) rest: Vec<usize>,
}

/// A socket of a plan.
pub(super) struct Matched {
    /// On the port of the others of its entry, if they have one.
    pub(super) planned: PlannedSocket,
    pub(super) open: Option<Found>,
    /// Whether it is not open, and cannot be opened at present.
    pub(super) is_pending: bool,
}

/// An open socket, by its place among the open ones.
#[derive(Clone, Copy)]
pub(super) enum Found {
    Same(usize),
    /// It is bound to an interface that was deleted and created again.
    Replaced {
        at: usize,
        from: u32,
        to: u32,
    },
}

/// Finds the open socket of each socket of a plan.
///
/// A fixed port is looked up. An entry on a port of the kernel's choice or in a range keeps one open port for all of its
/// sockets, on which nothing else of the plan is in its way: that of the same entry, else that of one with the same text,
/// else any. Of the last, the range that ends first takes its lowest port, so that as many ranges as can be have one.
pub(super) fn match_sockets<'o, S>(
    plan: &'o Plan,
    open: &'o Listeners<S>,
    prospects: &'o Prospects<'o>,
    released: &HashSet<usize>,
) -> Matching {
    let mut matcher = Matcher {
        pool: Pool::new(open),
        prospects,
        claims: Claims::default(),
        matched: Vec::with_capacity(plan.sockets.len()),
    };
    let mut entries = Vec::new();
    let is_alike =
        |one: &PlannedSocket, other: &PlannedSocket| one.entry.number == other.entry.number;
    for sockets in plan.sockets.chunk_by(is_alike) {
        let first = matcher.matched.len();
        let unmatched = sockets.iter().map(|socket| Matched {
            planned: socket.clone(),
            open: None,
            is_pending: false,
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
    entries.sort_by_key(|(_, sockets)| end(sockets));
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
    if let Some(port) = shared_port {
        entries.retain(|(first, sockets)| {
            let is_sharing = sockets[0].is_on_shared_free_port();
            if is_sharing {
                matcher.set_port(*first, sockets, port);
            }
            !is_sharing
        });
    }
    for (first, sockets) in entries {
        for matched in &mut matcher.matched[first..first + sockets.len()] {
            matched.is_pending = prospects.is_pending(&matched.planned);
        }
    }
    matcher.find_replaced();
    Matching {
        rest: matcher.pool.rest(),
        sockets: matcher.matched,
    }
}

/// Whose port an entry may keep.
#[derive(Clone, Copy)]
enum Wanted {
    SameEntry,
    SameText,
    Any,
}

struct Matcher<'o, S> {
    pool: Pool<'o, S>,
    prospects: &'o Prospects<'o>,
    /// Of the sockets whose port is known, by the place of the first socket of their entry.
    claims: Claims,
    matched: Vec<Matched>,
}

impl<'o, S> Matcher<'o, S> {
    /// Matches the sockets of an entry on a port. The first one is at `first`.
    fn set_port(&mut self, first: usize, sockets: &[PlannedSocket], port: u16) {
        for (at, socket) in sockets.iter().enumerate() {
            let planned = socket.fixed_to(port);
            let open = self.pool.take(&planned);
            let is_pending = open.is_none() && self.prospects.is_pending(&planned);
            let claim = planned.exclusive_claim().filter(|_| !is_pending);
            if let Some(claim) = claim {
                self.claims.add(first, claim, port);
            }
            self.matched[first + at] = Matched {
                planned,
                open: open.map(Found::Same),
                is_pending,
            };
        }
    }

    /// Keeps an open port for the sockets of an entry, the first of which is at `first`, and returns it.
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
                let mut port = self.pool.free_port_from(socket, 1);
                while let Some(tried) = port.filter(|port| !self.is_fitting(sockets, *port)) {
                    let claim = socket.exclusive_claim();
                    if claim.is_some_and(|claim| self.claims.conflict(claim, tried).is_some()) {
                        // Nor does it fit any other entry.
                        self.pool.forget_port(socket, tried);
                    }
                    port = self.pool.free_port_from(socket, tried.checked_add(1)?);
                }
                port
            }),
        };
        if let Some(port) = port {
            self.set_port(first, sockets, port);
        }
        port
    }

    /// Returns `true` if an entry has an open socket on `port`, and nothing else of the plan is in its way there.
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
        has_port && sockets.iter().any(is_open) && !sockets.iter().any(is_in_conflict)
    }

    /// Finds the open sockets of those without one that are on an interface which was created again.
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

/// What tells open sockets on one port apart.
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
struct Pool<'o, S> {
    open: &'o Listeners<S>,
    is_taken: Vec<bool>,
    by_port: HashMap<(Key<'o>, u16), Vec<usize>>,
    ports: HashMap<Key<'o>, BTreeSet<u16>>,
    /// Those in a zone or on a device, by what does not change with the interface.
    on_interfaces: HashMap<(IpAddr, u16, Option<&'o str>), Vec<usize>>,
    by_entry: HashMap<(Position, &'o str), u16>,
    by_text: HashMap<&'o str, VecDeque<u16>>,
}

impl<'o, S> Pool<'o, S> {
    fn new(open: &'o Listeners<S>) -> Self {
        let mut pool = Self {
            open,
            is_taken: vec![false; open.len()],
            by_port: HashMap::new(),
            ports: HashMap::new(),
            on_interfaces: HashMap::new(),
            by_entry: HashMap::new(),
            by_text: HashMap::new(),
        };
        for (at, listener) in open.iter().enumerate() {
            let addr = listener.local_addr();
            let (ip, port, device) = (addr.ip(), addr.port(), listener.device_option());
            for key in keys_of(listener) {
                pool.by_port.entry((key, port)).or_default().push(at);
                pool.ports.entry(key).or_default().insert(port);
            }
            if device.is_some() || zone(addr) != 0 {
                let alike = pool.on_interfaces.entry((ip, port, device));
                alike.or_default().push(at);
            }
            if let Some(text) = listener.text() {
                pool.by_entry
                    .entry((listener.position(), text))
                    .or_insert(port);
                pool.by_text.entry(text).or_default().push_back(port);
            }
        }
        pool
    }

    /// Takes the open socket that is a planned one.
    fn take(&mut self, planned: &PlannedSocket) -> Option<usize> {
        let found = self.find(planned)?;
        self.set_taken(found);
        Some(found)
    }

    fn set_taken(&mut self, at: usize) {
        self.is_taken[at] = true;
        let listener = &self.open[at];
        let port = listener.local_addr().port();
        for key in keys_of(listener) {
            let alike = self.by_port.entry((key, port)).or_default();
            alike.retain(|other| *other != at);
            if alike.is_empty() {
                self.ports.entry(key).or_default().remove(&port);
            }
        }
    }

    /// Finds the open socket, not matched yet, that is a planned one on a fixed port, or what replaces it on a host without IPv6.
    fn find(&self, planned: &PlannedSocket) -> Option<usize> {
        self.find_exact(planned).or_else(|| {
            let may_be_ipv4 = planned.if_absent == IfAbsent::UseIpv4;
            let found = may_be_ipv4.then(|| self.find_exact(&planned.ipv4_instead()))??;
            self.open[found].is_ipv4_instead().then_some(found)
        })
    }

    fn find_exact(&self, planned: &PlannedSocket) -> Option<usize> {
        let wanted_zone = zone(planned.addr);
        let find = |device, is_fitting: fn(&Listener<S>) -> bool| {
            let key = key_of(planned, device);
            let alike = self.by_port.get(&(key, planned.addr.port()))?.iter();
            alike.copied().find(|at| {
                let listener = &self.open[*at];
                // A zone that is not the device's is not open anywhere.
                let is_in_zone = wanted_zone == 0 || wanted_zone == zone(listener.local_addr());
                is_in_zone && is_fitting(listener)
            })
        };
        match (planned.device(), planned.entry.device_index) {
            (None, _) => find(Device::None, |_| true),
            (Some(name), DeviceIndex::Known(index)) => find(Device::Index(index), |_| true)
                .or_else(|| {
                    let has_no_index = |listener: &Listener<S>| {
                        !matches!(listener.device_index(), DeviceIndex::Known(_))
                    };
                    find(Device::Name(name), has_no_index)
                }),
            (Some(_), DeviceIndex::Missing(_)) => None,
            // An interface without an address is not in the snapshot.
            (Some(name), _) => find(Device::Name(name), |_| true),
        }
    }

    /// Finds the open socket that is a planned one but for the index of its interface, with both indices.
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
            let listener = &self.open[at];
            let from = match listener.device_index() {
                DeviceIndex::Known(index) => index,
                _ => zone(listener.local_addr()),
            };
            let is_alike = !self.is_taken[at]
                && listener.is_only_v6() == planned.is_only_v6()
                && listener.is_freebind() == planned.entry.freebind;
            // An address that moved to another interface leaves that of the socket in place; the name of a device may
            // be another interface's now.
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
    fn forget_port(&mut self, planned: &'o PlannedSocket, port: u16) {
        if let Some(ports) = self.ports.get_mut(&key_on_device(planned)) {
            ports.remove(&port);
        }
    }

    /// Returns the first port, of those from `from` on that a planned socket may have, on which one like it is open and
    /// not matched.
    fn free_port_from(&self, planned: &PlannedSocket, from: u16) -> Option<u16> {
        let ports = self.ports.get(&key_on_device(planned))?;
        let (first, last) = match planned.ports().into_inner() {
            (0, _) => (from, u16::MAX),
            (first, last) => (first.max(from), last),
        };
        let port = ports.range(first..).next().copied();
        port.filter(|port| *port <= last)
    }

    fn rest(self) -> Vec<usize> {
        let taken = self.is_taken.into_iter().enumerate();
        let rest = taken.filter_map(|(at, is_taken)| (!is_taken).then_some(at));
        rest.collect()
    }
}

fn keys_of<S>(listener: &Listener<S>) -> impl Iterator<Item = Key<'_>> {
    let addr = listener.local_addr();
    let key = move |zone, device| Key {
        ip: addr.ip(),
        zone,
        only_v6: listener.is_only_v6(),
        freebind: listener.is_freebind(),
        device,
    };
    let index = match listener.device_index() {
        DeviceIndex::Known(index) => Some(Device::Index(index)),
        _ => None,
    };
    let keys = match listener.device_option() {
        None => [Some(key(zone(addr), Device::None)), None],
        // The zone of a socket with a device is that of the device.
        Some(name) => [
            Some(key(0, Device::Name(name))),
            index.map(|index| key(0, index)),
        ],
    };
    keys.into_iter().flatten()
}

fn key_on_device(planned: &PlannedSocket) -> Key<'_> {
    let device = match (planned.device(), planned.entry.device_index) {
        (None, _) => Device::None,
        (Some(_), DeviceIndex::Known(index)) => Device::Index(index),
        (Some(name), _) => Device::Name(name),
    };
    key_of(planned, device)
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
