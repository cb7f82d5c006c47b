//! The sockets of a plan: [`PlannedSocket`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::addr::{Host, ListenAddr};
use crate::diagnosis::Position;
use crate::interfaces::Interfaces;
use crate::map::{Map, Set};
use crate::target::{BindTarget, Claim, DeviceIndex, Endpoint, GroupCheck, Wildcard, socket_addr};

/// One entry of the settings: what its sockets have in common.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is an option of the entry
pub(crate) struct Entry {
    /// Its number among all entries.
    pub(crate) number: usize,
    pub(crate) position: Position,
    /// As written; in canonical form, if it was not a text.
    pub(crate) text: Arc<str>,
    pub(crate) written: ListenAddr,
    pub(crate) freebind: bool,
    /// The interface that its sockets are to be bound to, by the name that was set.
    pub(crate) device: Option<String>,
    pub(crate) device_index: DeviceIndex,
    /// The option `only_v6`, by which `[::]` names IPv6 alone.
    pub(crate) only_v6: bool,
    /// The option `split_families`, by which a dual-stack wildcard is two sockets.
    pub(crate) splits_families: bool,
    /// The option `one_port`, by which entries on port 0 share the port that the kernel chooses.
    pub(crate) one_port: bool,
    /// Whether other sockets may have its ports as well (`SO_REUSEPORT`).
    pub(crate) shares_port: bool,
    /// The endpoints that it resolves to.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The snapshot in which that was found, if one was needed.
    pub(crate) host: Option<Interfaces>,
}

impl Entry {
    pub(crate) fn is_optional(&self) -> bool {
        self.written.is_optional()
    }

    /// Returns `true` if its host is the name of an interface or one in DNS.
    pub(crate) fn has_name(&self) -> bool {
        matches!(self.written.host(), Host::Name(_))
    }

    /// Returns `true` if it shares a port of the kernel's choice with all other such entries.
    pub(crate) fn shares_free_port(&self) -> bool {
        self.one_port && *self.written.ports().end() == 0
    }

    /// Returns `true` if its addresses are those of a name in DNS.
    pub(super) fn is_looked_up(&self) -> bool {
        self.has_name() && self.host.is_none() && !self.endpoints.is_empty()
    }
}

/// A socket of a [`Plan`](crate::Plan).
///
/// The [`Display`](fmt::Display) form is its address.
///
/// # Examples
///
/// ```
/// use bindaddr::{BindOptions, Interfaces};
///
/// let plan = BindOptions::new().plan_on("localhost:8080", &Interfaces::default())?;
/// let addrs: Vec<String> = plan.sockets().iter().map(ToString::to_string).collect();
/// assert_eq!(addrs, ["127.0.0.1:8080", "[::1]:8080"]);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PlannedSocket {
    pub(crate) entry: Arc<Entry>,
    /// Its place among the sockets of the entry.
    pub(crate) place: usize,
    pub(crate) addr: SocketAddr,
    ports: RangeInclusive<u16>,
    /// The value of `IPV6_V6ONLY`; an IPv4 socket ignores it.
    pub(crate) only_v6: bool,
    pub(crate) if_absent: IfAbsent,
    pub(crate) group: GroupCheck,
}

/// The action if the host lacks the address or its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfAbsent {
    Fail,
    /// Leaves it out: an IPv6 socket beside one for IPv4.
    Skip,
    /// Opens the IPv4 wildcard instead.
    UseIpv4,
}

impl PlannedSocket {
    fn new(entry: &Arc<Entry>, ip: IpAddr, scope_id: u32, group: GroupCheck) -> Self {
        Self {
            entry: entry.clone(),
            place: 0,
            addr: socket_addr(ip, scope_id, *entry.written.ports().start()),
            ports: entry.written.ports(),
            only_v6: true,
            if_absent: IfAbsent::Fail,
            group,
        }
    }

    fn any(entry: &Arc<Entry>, wildcard: Wildcard) -> Self {
        let ip: IpAddr = match wildcard {
            Wildcard::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
            _ => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self {
            only_v6: match wildcard {
                Wildcard::Ipv6 => true,
                Wildcard::DualStack => entry.only_v6,
                Wildcard::All | Wildcard::Ipv4 => false,
            },
            if_absent: match wildcard {
                Wildcard::All => IfAbsent::UseIpv4,
                _ => IfAbsent::Fail,
            },
            ..Self::new(entry, ip, 0, GroupCheck::Host)
        }
    }

    /// Returns the IPv4 wildcard that replaces a dual-stack one on a host without IPv6.
    pub(crate) fn ipv4_instead(&self) -> Self {
        let mut other = self.clone();
        other.addr.set_ip(Ipv4Addr::UNSPECIFIED.into());
        other
    }

    /// Returns the dual-stack wildcard that serves an IPv4 one as well.
    pub(crate) fn dual_stack_instead(&self) -> Self {
        let mut other = self.clone();
        other.addr.set_ip(Ipv6Addr::UNSPECIFIED.into());
        other.only_v6 = false;
        other
    }

    /// Returns the note that a socket of an entry serves its address.
    pub(crate) fn served_by(&self, kept_by: Position) -> Duplicate {
        Duplicate {
            position: self.position(),
            kept_by,
            addr: self.addr,
        }
    }

    /// Returns `true` if it is the IPv4 wildcard that replaces a dual-stack one.
    pub(crate) fn is_ipv4_instead(&self) -> bool {
        self.addr.is_ipv4() && self.if_absent == IfAbsent::UseIpv4
    }

    /// Returns the same socket with one of its ports to try.
    pub(crate) fn on_port(&self, port: u16) -> Self {
        let mut other = self.clone();
        other.addr.set_port(port);
        other
    }

    /// Returns the same socket with no other port to try.
    pub(crate) fn fixed_to(&self, port: u16) -> Self {
        Self {
            ports: port..=port,
            ..self.on_port(port)
        }
    }

    /// Returns the same socket with the ports of its range that follow `port`; `None` if there is
    /// none.
    pub(crate) fn after_port(&self, port: u16) -> Option<Self> {
        let next = port.checked_add(1)?;
        let ports = next..=*self.ports.end();
        (!ports.is_empty()).then(|| Self {
            ports,
            ..self.on_port(next)
        })
    }

    pub(crate) fn is_range(&self) -> bool {
        self.ports.start() < self.ports.end()
    }

    /// Returns `true` if its setting names one port.
    pub(crate) fn has_written_port(&self) -> bool {
        let ports = self.entry.written.ports();
        *ports.start() != 0 && ports.start() == ports.end()
    }

    /// Returns the port, if it is neither a range nor of the kernel's choice.
    pub(crate) fn fixed_port(&self) -> Option<u16> {
        let port = *self.ports.start();
        (port != 0 && !self.is_range()).then_some(port)
    }

    /// Returns `true` if it shares a port of the kernel's choice, which is not known yet.
    pub(crate) fn is_on_shared_free_port(&self) -> bool {
        self.entry.shares_free_port() && *self.ports.end() == 0
    }

    /// Returns the port, 0 if it is one of the kernel's choice that all such entries share; `None`
    /// if other sockets of the plan may have another one.
    pub(crate) fn common_port(&self) -> Option<u16> {
        let shared = self.is_on_shared_free_port().then_some(0);
        self.fixed_port().or(shared)
    }

    /// Returns the address to bind. Its port is 0 where the kernel chooses it, and the first one of
    /// a range.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the position of its setting.
    #[must_use]
    pub fn position(&self) -> Position {
        self.entry.position
    }

    /// Returns the text of its setting, as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.entry.text
    }

    /// Returns the ports to try in turn; one port is a range of one.
    #[must_use]
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.ports.clone()
    }

    /// Returns `true` if it is an IPv6 socket that accepts no IPv4 clients (`IPV6_V6ONLY`,
    /// ipv6(7)).
    #[must_use]
    pub fn is_only_v6(&self) -> bool {
        self.addr.is_ipv6() && self.only_v6
    }

    /// Returns the interface that it is to be bound to.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.entry.device.as_deref()
    }

    /// Classifies its address on the host of a snapshot.
    #[must_use]
    pub fn target(&self, host: &Interfaces) -> BindTarget {
        BindTarget::of_socket(self.addr, self.only_v6, host)
    }

    /// Returns what it claims of its port.
    pub(crate) fn claim(&self) -> Claim {
        Claim::of_socket(self.addr, self.only_v6).on_device(self.entry.device_index)
    }

    /// Returns what it claims of its port; `None` if others may share it, or its interface does not
    /// exist.
    pub(crate) fn exclusive_claim(&self) -> Option<Claim> {
        let is_missing = matches!(self.entry.device_index, DeviceIndex::Missing(_));
        (!self.entry.shares_port && !is_missing).then(|| self.claim())
    }

    /// Returns what makes two sockets of a plan the same one.
    fn identity(&self) -> impl Eq + std::hash::Hash + use<> {
        (
            self.addr,
            self.is_only_v6(),
            self.entry.device_index,
            self.entry.freebind,
        )
    }
}

impl fmt::Display for PlannedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.addr.fmt(f)
    }
}

/// Plans the sockets of an entry, on the first of its ports.
///
/// `only_v6` makes `[::]` an IPv6-only wildcard; `*` keeps naming both families.
pub(super) fn sockets_of(entry: &Arc<Entry>) -> Vec<PlannedSocket> {
    let mut planned = Vec::with_capacity(entry.endpoints.len());
    for endpoint in &entry.endpoints {
        match *endpoint {
            Endpoint::Any(wildcard) if is_split(entry, wildcard) => {
                planned.push(PlannedSocket::any(entry, Wildcard::Ipv4));
                let ipv6 = PlannedSocket::any(entry, Wildcard::Ipv6);
                planned.push(match wildcard {
                    Wildcard::All => PlannedSocket {
                        if_absent: IfAbsent::Skip,
                        ..ipv6
                    },
                    _ => ipv6,
                });
            }
            Endpoint::Any(wildcard) => planned.push(PlannedSocket::any(entry, wildcard)),
            Endpoint::Localhost => {
                let [ipv4, ipv6] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
                    .map(|ip| PlannedSocket::new(entry, ip, 0, GroupCheck::Host));
                planned.push(ipv4);
                planned.push(PlannedSocket {
                    if_absent: IfAbsent::Skip,
                    ..ipv6
                });
            }
            Endpoint::Ip {
                ip,
                scope_id,
                group,
            } => planned.push(PlannedSocket::new(entry, ip, scope_id, group)),
        }
    }
    for (place, socket) in planned.iter_mut().enumerate() {
        socket.place = place;
    }
    planned
}

/// Returns `true` if a wildcard of both families is opened as two sockets.
fn is_split(entry: &Entry, wildcard: Wildcard) -> bool {
    let is_both = match wildcard {
        Wildcard::All => true,
        Wildcard::DualStack => !entry.only_v6,
        Wildcard::Ipv4 | Wildcard::Ipv6 => false,
    };
    is_both && entry.splits_families
}

/// An address that two entries yield, and which is opened once.
///
/// # Examples
///
/// ```
/// use bindaddr::{BindOptions, Interfaces};
///
/// let plan = BindOptions::new().plan_on(["*:80", "*:80"], &Interfaces::default())?;
/// let duplicate = plan.duplicates()[0];
/// assert_eq!((duplicate.position().index(), duplicate.kept_by().index()), (1, 0));
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Duplicate {
    pub(crate) position: Position,
    pub(crate) kept_by: Position,
    pub(crate) addr: SocketAddr,
}

impl Duplicate {
    /// Returns the position of the entry that has no socket of its own on the address.
    #[must_use]
    pub fn position(self) -> Position {
        self.position
    }

    /// Returns the position of the entry that has the socket.
    #[must_use]
    pub fn kept_by(self) -> Position {
        self.kept_by
    }

    /// Returns the address.
    #[must_use]
    pub fn addr(self) -> SocketAddr {
        self.addr
    }

    /// Returns `true` if the entry has the socket itself, on an address that includes this one.
    pub(crate) fn is_of_one_entry(self) -> bool {
        self.position == self.kept_by
    }
}

impl fmt::Display for Duplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is listed twice and is open once", self.addr)
    }
}

/// Makes the sockets of a list fit together: dual-stack wildcards leave IPv4 to IPv4 wildcards, and
/// each socket is kept by one entry, the first or the first that needs it.
pub(super) fn merge_sockets(sockets: &mut Vec<PlannedSocket>) -> Vec<Duplicate> {
    leave_ipv4_to_ipv4_wildcards(sockets);
    let mut owners = Map::new();
    for socket in sockets
        .iter()
        .filter(|socket| socket.common_port().is_some())
    {
        // Among entries that can do without it, one that opens IPv4 instead comes first, and one
        // that reports its absence before one that does not.
        let need = match (socket.if_absent, socket.entry.is_optional()) {
            (IfAbsent::Fail, false) => 0,
            (IfAbsent::UseIpv4, false) => 1,
            (IfAbsent::UseIpv4, true) => 2,
            (IfAbsent::Fail, true) => 3,
            (IfAbsent::Skip, _) => 4,
        };
        let rank = (need, socket.entry.number, socket.entry.position);
        let owner = owners.get_or_insert_with(socket.identity(), || rank);
        *owner = rank.min(*owner);
    }
    let mut duplicates = Vec::new();
    sockets.retain(|socket| {
        let Some((_, number, kept_by)) = owners.get(&socket.identity()).copied() else {
            return true;
        };
        let is_kept = number == socket.entry.number || socket.common_port().is_none();
        if !is_kept {
            duplicates.push(Duplicate {
                position: socket.entry.position,
                kept_by,
                addr: socket.addr,
            });
        }
        is_kept
    });
    duplicates
}

/// Makes dual-stack wildcards IPv6-only beside an IPv4 wildcard on the same port and device, so
/// that both can be opened.
fn leave_ipv4_to_ipv4_wildcards(sockets: &mut [PlannedSocket]) {
    let place = |socket: &PlannedSocket| {
        let port = socket.common_port()?;
        let is_wildcard = socket.addr.ip().is_unspecified();
        is_wildcard.then_some((port, socket.entry.device_index))
    };
    let ipv4 = sockets.iter().filter(|socket| socket.addr.is_ipv4());
    let taken: Set<_> = ipv4.filter_map(place).collect();
    for socket in sockets.iter_mut().filter(|socket| socket.addr.is_ipv6()) {
        if place(socket).is_some_and(|place| taken.contains(&place)) {
            socket.only_v6 = true;
            // The IPv4 wildcard is there already.
            if socket.if_absent == IfAbsent::UseIpv4 {
                socket.if_absent = IfAbsent::Skip;
            }
        }
    }
}
