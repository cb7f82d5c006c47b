//! Computes who can connect, and to which addresses: [`Reach`].

// An address by which clients connect.
mod reachable_addr;
// How far an address reaches.
mod exposure;
// The lines that a server prints.
mod banner;
#[cfg(test)]
mod tests;
// Reach that an operator may not expect.
mod warnings;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::addr::Family;
use crate::addr::network::is_group_addr;
use crate::interfaces::{Interface, InterfaceAddr, Interfaces};
use crate::map::Set;
use crate::order::sort_by;
use crate::sys::Namespace;
use crate::target::{BindTarget, ForeignAddr, Protocol};
pub use banner::Banner;
pub use exposure::Exposure;
pub(crate) use exposure::Exposures;
use reachable_addr::is_of_browsers;
pub use reachable_addr::{Origin, ReachableAddr};
pub(crate) use warnings::{Environment, warnings_of_exposure};

/// The clients that can connect to a server: the addresses to dial, the best first, and how far it
/// is exposed.
///
/// A wildcard is never among the addresses: those that the host has now stand in its place, and
/// 127.0.0.1 represents all of its network, which Linux answers on. An address that no client can
/// connect to is left out: of a loopback interface that is down, and an IPv6 address that is
/// tentative, a duplicate or [unrouted](crate::interfaces::AddrState::Unrouted). So is an address
/// of many hosts, multicast or broadcast, and one of a foreign target, unless a local route brings
/// clients to it: of a listener the kernel is asked, and a snapshot has what
/// [`with_local_route`](Interfaces::with_local_route) added, or [`system`](Interfaces::system)
/// found. So is an address of a VRF, unless the socket is bound to the VRF or a port of it, or
/// `net.ipv4.tcp_l3mdev_accept` is set. An address on a port of a bridge, a bond or a team is
/// listed for this host only, because the hosts of its subnet cannot use it.
///
/// The best are those from this host; then those of the network, on interfaces that run before
/// others, the host's [default sources](Interfaces::with_system_default_sources) before others,
/// lasting addresses before temporary ones, and IPv4 before IPv6; then those of the link.
///
/// The [`Display`](fmt::Display) form has a line for each of the first ten addresses, and one for
/// how far it is exposed; `{:#}` has all addresses, with what is odd about them.
///
/// # Examples
///
/// ```
/// use bindaddr::Interfaces;
///
/// let host = Interfaces::system()?.with_system_default_sources();
/// let listeners = bindaddr::bind("0.0.0.0:0")?;
/// let reach = listeners.reach(&host);
/// print!("{}", reach.banner("http"));
/// for url in reach.urls("http") {
///     assert!(!url.contains("0.0.0.0"));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    addrs: Vec<ReachableAddr>,
    exposure: Exposure,
    /// The wildcard's addresses may be others tomorrow.
    is_any: bool,
    /// Whether a socket belongs to another network namespace.
    namespace: Namespace,
}

impl Reach {
    /// The reach of a socket of another network namespace, or of one that may be.
    pub(crate) fn elsewhere(namespace: Namespace) -> Self {
        Self {
            addrs: Vec::new(),
            exposure: Exposure::Global,
            is_any: false,
            namespace,
        }
    }

    /// Puts together what several sockets are reached by.
    pub(crate) fn of_all(reaches: impl IntoIterator<Item = Self>, host: &Interfaces) -> Self {
        let mut all = Self {
            addrs: Vec::new(),
            exposure: Exposure::ThisHost,
            is_any: false,
            namespace: Namespace::This,
        };
        for reach in reaches {
            all.addrs.extend(reach.addrs);
            all.exposure = all.exposure.max(reach.exposure);
            all.is_any |= reach.is_any;
            all.namespace = all.namespace.max(reach.namespace);
        }
        let rank = |addr: &ReachableAddr| addr.rank(host.default_sources());
        sort_by(&mut all.addrs, |a, b| rank(a).cmp(&rank(b)));
        let mut seen = Set::new();
        all.addrs.retain(|dial| seen.insert(dial.addr()));
        all
    }

    /// Returns the addresses by which clients can connect, the best first.
    #[must_use]
    pub fn addrs(&self) -> &[ReachableAddr] {
        &self.addrs
    }

    /// Iterates over the URLs of the addresses, the best first.
    ///
    /// For a scheme of browsers, such as `http`, they leave out IPv6 link-local addresses, which no
    /// browser opens. For a socket that is bound to an interface they leave out the addresses of
    /// others ([`Origin::Device`]), as long as it has one of its own. [`ReachableAddr::url`] has
    /// the URLs of these.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let reach = BindTarget::parse("127.0.0.1")?.reach(8080, &Interfaces::system()?);
    /// assert_eq!(reach.urls("http").next().as_deref(), Some("http://127.0.0.1:8080/"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn urls(&self, scheme: &str) -> impl Iterator<Item = String> {
        let is_left_out = |dial: &&ReachableAddr| is_of_browsers(scheme) && dial.needs_zone();
        let addrs = self.to_advertise().filter(move |dial| !is_left_out(dial));
        addrs.map(move |dial| dial.url(scheme))
    }

    /// Iterates over the addresses to give to others. Through an interface, those of other
    /// interfaces need a route there.
    fn to_advertise(&self) -> impl Iterator<Item = &ReachableAddr> {
        let mut addrs = self.addrs.iter();
        let has_own = addrs.any(|dial| dial.origin() == Origin::Network);
        let is_others = move |dial: &&ReachableAddr| has_own && dial.origin() == Origin::Device;
        self.addrs.iter().filter(move |dial| !is_others(dial))
    }

    /// Returns what the list of addresses does not say.
    fn remark(&self) -> Option<&'static str> {
        match self.namespace {
            Namespace::Other => Some(
                "a socket belongs to another network namespace, whose addresses are not known here",
            ),
            Namespace::Unknown => Some(
                "a socket may belong to another network namespace, so none of its addresses is listed",
            ),
            Namespace::This => {
                let is_none = self.addrs.is_empty();
                is_none.then_some("no address of an interface is open to clients")
            }
        }
    }

    /// Returns from how far away clients may connect: of several sockets, the farthest.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        self.exposure
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = if f.alternate() { usize::MAX } else { SHOWN };
        for dial in self.addrs.iter().take(shown) {
            dial.fmt(f)?;
            f.write_str("\n")?;
        }
        write_rest(f, self.addrs.len().saturating_sub(shown))?;
        if let Some(remark) = self.remark() {
            writeln!(f, "{remark}")?;
        }
        write!(f, "exposed to {}", self.exposure)?;
        if self.is_any {
            f.write_str(" now, and on every address that this host gets later")?;
        }
        f.write_str("\n")
    }
}

/// How many addresses people read.
pub(crate) const SHOWN: usize = 10;

fn write_rest(f: &mut fmt::Formatter<'_>, rest: usize) -> fmt::Result {
    match rest {
        0 => Ok(()),
        rest => writeln!(f, "and {rest} more"),
    }
}

impl BindTarget {
    /// Returns who can connect to a server on `port` of this target, the host being that of a
    /// snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let host = Interfaces::system()?;
    /// let reach = BindTarget::parse("localhost")?.reach(8080, &host);
    /// assert_eq!(reach.addrs()[0].url("http"), "http://127.0.0.1:8080/");
    /// // Who has no interface has no address to dial.
    /// let nowhere = BindTarget::parse("localhost")?.reach(8080, &Interfaces::default());
    /// assert!(nowhere.addrs().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reach(&self, port: u16, host: &Interfaces) -> Reach {
        self.reach_on_device(port, Protocol::Tcp, self.device(host), host)
    }

    /// Returns who can send to a UDP server on `port` of this target.
    ///
    /// It differs from [`reach`](Self::reach) where the host has VRFs: `net.ipv4.udp_l3mdev_accept`
    /// decides for UDP.
    #[must_use]
    pub fn reach_udp(&self, port: u16, host: &Interfaces) -> Reach {
        self.reach_on_device(port, Protocol::Udp, self.device(host), host)
    }

    /// The same of a socket that is bound to an interface.
    pub(crate) fn reach_on_device(
        &self,
        port: u16,
        protocol: Protocol,
        device: Option<&str>,
        host: &Interfaces,
    ) -> Reach {
        let addrs: Vec<ReachableAddr> = match self {
            Self::Any(wildcard) => host
                .addrs()
                .filter(|(_, addr)| wildcard.takes(Family::of(addr.ip())))
                .filter_map(|owner| dial(owner.1.ip(), port, [owner], host))
                .chain(
                    host.routed_ips()
                        .filter(|ip| device.is_none() && wildcard.takes(Family::of(*ip)))
                        .map(|ip| ReachableAddr::routed(ip, port)),
                )
                .collect(),
            Self::Loopback(addrs) => addrs
                .ips()
                .filter_map(|ip| dial(ip, port, [], host))
                .collect(),
            Self::Local(local) => {
                let ip = local.ip();
                let owners = local.interfaces();
                let owners = owners.filter_map(|owner| Some((owner, owner.entry(ip)?)));
                dial(ip, port, owners, host).into_iter().collect()
            }
            Self::Foreign(foreign) if is_routed_to(foreign, host) => {
                vec![ReachableAddr::routed(foreign.ip(), port)]
            }
            Self::Foreign(_) => Vec::new(),
        };
        let only_here = device.is_some_and(|device| host.is_loopback(device));
        let is_port = |interface: &str| host.switch_of(interface).is_some();
        // The bridge, bond or team receives the packets that come in through its ports.
        let only_here = only_here || device.is_some_and(is_port);
        let own = device.and_then(|device| host.by_name(device));
        // Nothing comes in through an interface that is down, not even what this host sends to
        // itself.
        let is_open = own.is_none_or(Interface::is_up);
        // Clients elsewhere do not reach the addresses of a VRF; its own clients reach those of no
        // VRF as well, because the table `local` is looked up first
        // (Documentation/networking/vrf.rst of Linux).
        let own_vrf = device.and_then(|device| host.vrf_of(device));
        let vrf_of = |dial: &ReachableAddr| host.vrf_of(dial.interface()?);
        let is_in_reach = |dial: &ReachableAddr| {
            let vrf = vrf_of(dial);
            let takes_all = device.is_none() && host.accepts_from_vrfs(protocol);
            is_open && (vrf.is_none() || vrf == own_vrf || takes_all)
        };
        // The addresses of a VRF are on its ports.
        let is_vrf =
            own_vrf.is_some_and(|vrf| device.and_then(|device| host.index_of(device)) == Some(vrf));
        let addrs = addrs.into_iter().filter(is_in_reach).filter_map(|dial| {
            // Packets of a host to itself come in through the interface that has the address, as
            // Linux sees it, and nothing else comes in through the loopback interface.
            let is_of_vrf = is_vrf && vrf_of(&dial) == own_vrf;
            let is_own = device.is_none() || device == dial.interface() || is_of_vrf;
            // The hosts of its subnet get no response: the answers about their link-layer addresses
            // go to the bridge. A socket that is bound to another interface responds through that
            // one.
            let is_on_port = dial.interface().is_some_and(is_port);
            match (is_own, only_here || is_own && is_on_port) {
                (true, false) => Some(dial),
                (true, true) => Some(dial.only_from(Origin::ThisHost)),
                (false, true) => None,
                (false, false) => {
                    (dial.origin() == Origin::Network).then(|| dial.only_from(Origin::Device))
                }
            }
        });
        let reach = Reach {
            addrs: addrs.collect(),
            exposure: self.exposure_on_device(device, host),
            is_any: self.is_any() && !only_here,
            namespace: Namespace::This,
        };
        Reach::of_all([reach], host)
    }
}

/// Returns `true` if a local route brings clients to an address that no interface has.
fn is_routed_to(foreign: &ForeignAddr, host: &Interfaces) -> bool {
    let is_of_many = foreign.reason().is_group();
    host.has_local_route(foreign.ip()) && foreign.scope_id().is_none() && !is_of_many
}

/// Returns how `ip` is dialled, if a client can connect to it; `owners` have it.
fn dial<'a>(
    ip: IpAddr,
    port: u16,
    owners: impl IntoIterator<Item = (&'a Interface, &'a InterfaceAddr)>,
    host: &Interfaces,
) -> Option<ReachableAddr> {
    if is_group_addr(ip) {
        return None;
    }
    if ip.is_loopback() {
        let is_broadcast = |ip| !host.has(IpAddr::V4(ip)) && host.broadcast_of(ip).is_some();
        if matches!(ip, IpAddr::V4(ip) if is_broadcast(ip)) {
            return None;
        }
        // All of 127.0.0.0/8 is taken care of by the one entry that the interface has.
        let listed = host.by_ip(ip).filter_map(|own| Some((own, own.entry(ip)?)));
        let around = host
            .subnets_of(ip)
            .filter(|(_, addr)| addr.ip().is_loopback());
        let owner = listed.chain(around).find(|(own, _)| own.is_running())?;
        return Some(ReachableAddr::new(ip, port, owner));
    }
    let usable = owners.into_iter().filter(|(_, addr)| addr.is_usable());
    let owner = usable.min_by_key(|(interface, _)| !interface.is_running())?;
    Some(ReachableAddr::new(ip, port, owner))
}

/// A socket, open or planned, as far as it matters who can connect to it.
#[derive(Clone, Debug)]
pub(crate) struct OpenSocket {
    pub(crate) addr: SocketAddr,
    pub(crate) protocol: Protocol,
    /// Whether a wildcard leaves out IPv4.
    pub(crate) only_v6: bool,
    pub(crate) freebind: bool,
    /// The interface that it is bound to.
    pub(crate) device: Option<String>,
    pub(crate) namespace: Namespace,
    /// Whether it is open, and so on this host.
    pub(crate) is_open: bool,
}

impl OpenSocket {
    pub(crate) fn target(&self, host: &Interfaces) -> BindTarget {
        BindTarget::of_socket(self.addr, self.only_v6, host)
    }

    pub(crate) fn reach(&self, host: &Interfaces) -> Reach {
        if self.namespace != Namespace::This {
            return Reach::elsewhere(self.namespace);
        }
        let (target, device) = (self.target(host), self.device.as_deref());
        let port = self.addr.port();
        match &target {
            // The snapshot may lack the route.
            BindTarget::Foreign(foreign) if self.is_open => {
                let host = host.clone().with_system_local_route(foreign.ip());
                target.reach_on_device(port, self.protocol, device, &host)
            }
            _ => target.reach_on_device(port, self.protocol, device, host),
        }
    }
}
