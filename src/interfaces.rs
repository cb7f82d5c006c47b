//! A snapshot of a host's interfaces, read from the system or built by hand: [`Interfaces`].

// One interface of the snapshot.
mod interface;
// Names: how alike they are, and how they are listed.
mod names;
// A hash for its keys.
mod hasher;
// The rows of the system as these types.
mod rows;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use crate::addr::Family;
use crate::addr::network::{Network, addr_bits, common_prefix_len};
use crate::map::Map;
use crate::order::sort_by;
use crate::sys::{self, InterfaceRow, Link, LinkKind, Protocol};
use hasher::{FoldMap, key};
pub use interface::{AddrState, Interface, InterfaceAddr};
use names::edit_distance;
pub(crate) use names::{Listed, Listing};

/// A snapshot of a host's interfaces and their addresses.
///
/// It is read from the system, or made up from [`Interface`]s, so that whatever
/// is decided on it can be tested without such a host. Looking up an address, a
/// name or an index does not scan. A clone shares the snapshot.
///
/// # Platform notes
///
/// Only interfaces that have an address are in a snapshot of the system.
/// Windows leaves out addresses that are deprecated or still tentative.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
/// use bindaddr::Interfaces;
///
/// let host: Interfaces = [
///     Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
///     Interface::new("eth0", 2).with_addr("192.168.71.67".parse()?, 16),
/// ]
/// .into_iter()
/// .collect();
/// assert_eq!(host.by_name("eth0").map(Interface::index), Some(Some(2)));
/// assert_eq!(host.by_ip("192.168.71.67".parse()?).count(), 1);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone)]
pub struct Interfaces {
    snapshot: Arc<Snapshot>,
}

#[derive(Clone, Default)]
struct Snapshot {
    /// By index, then by name.
    interfaces: Vec<Interface>,
    /// Every address, by [`addr_key`], then by interface.
    places: Vec<AddrIndex>,
    /// The index in `places` at which the run of an address begins.
    by_ip: FoldMap<u128, usize>,
    by_name: Map<String, usize>,
    by_index: FoldMap<u32, usize>,
    /// An address of each subnet.
    by_subnet: FoldMap<(u128, u8), AddrIndex>,
    /// The prefix lengths in `by_subnet`, longest first.
    prefix_lens: Vec<u8>,
    by_broadcast: FoldMap<u128, AddrIndex>,
    by_peer: FoldMap<u128, AddrIndex>,
    /// `None` where they were not asked about.
    default_sources: Option<Vec<IpAddr>>,
    /// The networks that local routes bring to this host, without the addresses of interfaces.
    local_routes: Vec<Network>,
    /// The networks that routes of other tables than `local` may make local, by the rules of this
    /// host.
    possible_routes: Vec<Network>,
    /// Whether there may be more of them.
    may_have_more_routes: bool,
    /// All interfaces, with an address or without, if one of them can have ports; by their index.
    links: Map<u32, Link>,
    /// Whether sockets on no interface accept the clients of VRFs, over TCP and over UDP.
    accepts_from_vrfs: [bool; 2],
    /// The interface that a cgroup binds the sockets of this process to.
    device: Option<String>,
    /// Whether the kernel takes the lowest address of an IPv4 subnet for a broadcast address.
    lowest_is_broadcast: bool,
}

/// An address as two positions: of its interface, and among that one's addresses.
#[derive(Clone, Copy)]
struct AddrIndex {
    interface: usize,
    addr: usize,
}

impl Interfaces {
    /// Reads the interfaces of this host.
    ///
    /// # Errors
    ///
    /// An [`InterfacesError`] if the system does not report them, as in a sandbox
    /// without `AF_NETLINK`. Binding a literal address works there anyway.
    ///
    /// # Platform notes
    ///
    /// - Linux: the kernel is asked over netlink, rtnetlink(7). The other systems are read
    ///   through if-addrs.
    /// - Android: an IPv4 address goes by its label, getifaddrs(3). What stands
    ///   before a `:` in it is the interface.
    /// - Windows: addresses that are deprecated or tentative are left out.
    ///
    /// # Examples
    ///
    /// ```
    /// let host = bindaddr::Interfaces::system()?;
    /// for interface in host.iter() {
    ///     println!("{} has {} addresses", interface.name(), interface.addrs().len());
    /// }
    /// # Ok::<(), bindaddr::interfaces::InterfacesError>(())
    /// ```
    pub fn system() -> Result<Self, InterfacesError> {
        let read = sys::interfaces_with_ports();
        let (rows, links) = read.map_err(|source| InterfacesError { source })?;
        Ok(Self::of_rows(rows)
            .with_system_local_routes()
            .with_links(links))
    }

    /// Reads the interfaces of this host, as far as binding needs them.
    pub(crate) fn system_without_routes() -> Result<Self, InterfacesError> {
        let rows = sys::interfaces().map_err(|source| InterfacesError { source })?;
        Ok(Self::of_rows(rows))
    }

    fn of_rows(rows: Vec<InterfaceRow>) -> Self {
        let mut host: Self = rows.into_iter().map(Interface::from).collect();
        let snapshot = Arc::make_mut(&mut host.snapshot);
        // Without it a target counts as more exposed.
        snapshot.device = sys::device_of_new_sockets().ok().flatten();
        snapshot.lowest_is_broadcast = sys::lowest_is_broadcast().unwrap_or(false);
        host
    }

    /// Adds an address that the host would use to reach the outside.
    ///
    /// The keyword `_default_` resolves to it.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::{Interfaces, ListenAddr};
    ///
    /// let host: Interfaces = [Interface::new("eth0", 2).with_addr("10.0.0.1".parse()?, 8)]
    ///     .into_iter()
    ///     .collect();
    /// let host = host.with_default_source("10.0.0.1".parse()?);
    /// assert_eq!("_default_:80".parse::<ListenAddr>()?.resolve(&host)?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_default_source(mut self, ip: IpAddr) -> Self {
        let sources = &mut Arc::make_mut(&mut self.snapshot).default_sources;
        sources.get_or_insert_default().push(ip.to_canonical());
        self
    }

    /// Adds the default sources of this host, as its routes are now. They stay unknown if they
    /// cannot be read.
    ///
    /// [`system`](Self::system) leaves them out, because only the keyword `_default_`
    /// needs them. Nothing is sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interfaces, ListenAddr};
    ///
    /// let host = Interfaces::system()?.with_system_default_sources();
    /// match "_default_:80".parse::<ListenAddr>()?.resolve(&host) {
    ///     Ok(targets) => println!("{}", targets[0]),
    ///     Err(err) => println!("{err}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_system_default_sources(mut self) -> Self {
        let Ok(sources) = sys::default_sources() else {
            return self;
        };
        let known = &mut Arc::make_mut(&mut self.snapshot).default_sources;
        known.get_or_insert_default();
        sources.into_iter().fold(self, Self::with_default_source)
    }

    /// Adds an address that no interface has, and that a local route brings to this host
    /// (`ip route add local`, ip-route(8)), as the addresses of load balancers are on cloud
    /// machines. Clients can connect to it.
    ///
    /// It is still [`Foreign`](crate::BindTarget::Foreign).
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let ip = "203.0.113.9".parse()?;
    /// let host = Interfaces::default();
    /// let target = BindTarget::parse_with("203.0.113.9", &host)?;
    /// assert!(target.reach(80, &host).addrs().is_empty());
    /// assert_eq!(target.reach(80, &host.with_local_route(ip)).addrs().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_local_route(mut self, ip: IpAddr) -> Self {
        let routes = &mut Arc::make_mut(&mut self.snapshot).local_routes;
        let ip = ip.to_canonical();
        routes.push(Network::containing(ip, addr_bits(ip)));
        self
    }

    /// Adds an address if a local route of this host brings clients to it.
    ///
    /// [`system`](Self::system) reads 16,384 routes of each family at most. This asks the kernel
    /// about one address, which suits the address of a [`Foreign`](crate::BindTarget::Foreign)
    /// target.
    ///
    /// # Platform notes
    ///
    /// Linux and Android; elsewhere nothing is added.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// // TEST-NET-3, which no route of this host brings here.
    /// let host = Interfaces::system()?.with_system_local_route("203.0.113.9".parse()?);
    /// let target = BindTarget::parse_with("203.0.113.9", &host)?;
    /// assert!(target.reach(80, &host).addrs().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_system_local_route(self, ip: IpAddr) -> Self {
        match is_routed(ip.to_canonical()) {
            Some(true) => self.with_local_route(ip),
            Some(false) | None => self,
        }
    }

    /// Adds what decides who can connect, as it is now: the local routes of this host, its VRFs,
    /// bridges, bonds and teams.
    pub(crate) fn with_system_routes(self) -> Self {
        // If they cannot be read, more addresses are listed than clients can connect to.
        let links = sys::links_with_ports().unwrap_or_default();
        self.with_system_local_routes().with_links(links)
    }

    /// Adds the VRFs, bridges, bonds and teams of this host, with their ports.
    fn with_links(mut self, links: Map<u32, Link>) -> Self {
        if !links.is_empty() {
            let snapshot = Arc::make_mut(&mut self.snapshot);
            snapshot.links = links;
            snapshot.accepts_from_vrfs = [Protocol::Tcp, Protocol::Udp]
                .map(|one| sys::accepts_from_vrfs(one).unwrap_or(true));
        }
        self
    }

    /// Returns the VRF that an interface is, or is a port of; `None` for any other interface.
    pub(crate) fn vrf_of(&self, interface: &str) -> Option<u32> {
        self.vrf_by_index(self.index_of(interface)?)
    }

    fn vrf_by_index(&self, index: u32) -> Option<u32> {
        let link = self.snapshot.links.get(&index)?;
        let mut candidates = [link.index, link.master].into_iter();
        candidates.find(|index| self.kind(*index) == Some(LinkKind::Vrf))
    }

    /// Returns the bridge, bond or team that receives the packets of an interface, which is a port
    /// of it.
    pub(crate) fn switch_of(&self, interface: &str) -> Option<&str> {
        let links = &self.snapshot.links;
        let port = links.get(&self.index_of(interface)?)?;
        let master = links.get(&port.master)?;
        (master.kind == LinkKind::Switch).then_some(&*master.name)
    }

    fn kind(&self, index: u32) -> Option<LinkKind> {
        Some(self.snapshot.links.get(&index)?.kind)
    }

    /// Returns the index of an interface with an address, or of any interface where one can have
    /// ports.
    pub(crate) fn index_of(&self, interface: &str) -> Option<u32> {
        let mut links = self.snapshot.links.values();
        let own = self.by_name(interface).and_then(Interface::index);
        own.or_else(|| Some(links.find(|link| link.name == interface)?.index))
    }

    /// Returns `true` if a socket on no interface accepts the clients of VRFs.
    pub(crate) fn accepts_from_vrfs(&self, protocol: Protocol) -> bool {
        let [tcp, udp] = self.snapshot.accepts_from_vrfs;
        match protocol {
            Protocol::Tcp => tcp,
            Protocol::Udp => udp,
        }
    }

    /// Returns `true` if a TCP socket on an interface and one on none can have one port.
    pub(crate) fn is_apart(&self, index: u32) -> bool {
        self.vrf_by_index(index).is_some() && !self.accepts_from_vrfs(Protocol::Tcp)
    }

    /// Adds what local routes bring to this host, as they are now.
    ///
    /// At most 16,384 routes of each family are read. If there may be others, or they cannot be
    /// read, a wildcard counts as open to the internet.
    fn with_system_local_routes(mut self) -> Self {
        if !cfg!(any(target_os = "linux", target_os = "android")) {
            return self;
        }
        let (routes, are_all) = sys::local_routes().unwrap_or_default();
        let others = routes.into_iter().filter(|route| {
            let is_own = route.prefix_len == addr_bits(route.ip) && self.has(route.ip);
            !is_own && !route.ip.is_loopback()
        });
        // Which packets are looked up in another table than `local` depends on rules: the kernel
        // says it of an address.
        let (certain, possible): (Vec<_>, Vec<_>) = others.partition(|route| {
            let is_one = route.prefix_len == addr_bits(route.ip);
            route.is_in_local || is_one && is_routed(route.ip) == Some(true)
        });
        if !certain.is_empty() || !possible.is_empty() || !are_all {
            let network = |route: sys::LocalRoute| Network::containing(route.ip, route.prefix_len);
            let snapshot = Arc::make_mut(&mut self.snapshot);
            snapshot
                .local_routes
                .extend(certain.into_iter().map(network));
            snapshot.possible_routes = possible.into_iter().map(network).collect();
            snapshot.may_have_more_routes = !are_all;
        }
        self
    }

    /// Returns the networks that local routes bring to this host, or may, and no interface has;
    /// `None` if there may be others.
    pub(crate) fn local_routes(&self) -> Option<impl Iterator<Item = Network>> {
        let possible = self.snapshot.possible_routes.iter();
        let all = self.snapshot.local_routes.iter().chain(possible).copied();
        (!self.snapshot.may_have_more_routes).then_some(all)
    }

    /// Iterates over the single addresses that local routes bring to this host.
    pub(crate) fn routed_ips(&self) -> impl Iterator<Item = IpAddr> {
        let routes = self.snapshot.local_routes.iter().copied();
        let single = routes.filter(|network| network.prefix_len() == addr_bits(network.first()));
        single.map(Network::first)
    }

    /// Returns `true` if a local route brings clients to an address.
    pub(crate) fn has_local_route(&self, ip: IpAddr) -> bool {
        let mut routes = self.snapshot.local_routes.iter();
        routes.any(|network| network.contains(ip))
    }

    /// Iterates over the interfaces, ordered by index.
    pub fn iter(&self) -> std::slice::Iter<'_, Interface> {
        self.snapshot.interfaces.iter()
    }

    /// Iterates over the addresses of all interfaces, each with its interface.
    pub(crate) fn addrs(&self) -> impl Iterator<Item = (&Interface, &InterfaceAddr)> {
        self.iter()
            .flat_map(|interface| interface.addrs.iter().map(move |addr| (interface, addr)))
    }

    /// Returns `true` if the snapshot has no interface.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshot.interfaces.is_empty()
    }

    /// Finds an interface by its name.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::Interfaces;
    ///
    /// let host: Interfaces = [Interface::new("eth0", 2)].into_iter().collect();
    /// assert!(host.by_name("eth0").is_some());
    /// assert!(host.by_name("eth").is_none());
    /// ```
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Interface> {
        let at = self.snapshot.by_name.get(name)?;
        self.snapshot.interfaces.get(*at)
    }

    /// Finds an interface by its index.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::Interfaces;
    ///
    /// let host: Interfaces = [Interface::new("eth0", 2)].into_iter().collect();
    /// assert_eq!(host.by_index(2).map(Interface::name), Some("eth0"));
    /// ```
    #[must_use]
    pub fn by_index(&self, index: u32) -> Option<&Interface> {
        let at = self.snapshot.by_index.get(&index)?;
        self.snapshot.interfaces.get(*at)
    }

    /// Iterates over the interfaces that have exactly the address `ip`.
    ///
    /// An IPv4-mapped address counts as the IPv4 address. Several interfaces may
    /// have one address, and often do when it is link-local.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::Interfaces;
    ///
    /// let host: Interfaces = [
    ///     Interface::new("eth0", 2).with_addr("fe80::1".parse()?, 64),
    ///     Interface::new("eth1", 3).with_addr("fe80::1".parse()?, 64),
    /// ]
    /// .into_iter()
    /// .collect();
    /// assert_eq!(host.by_ip("fe80::1".parse()?).count(), 2);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn by_ip(&self, ip: IpAddr) -> impl Iterator<Item = &Interface> {
        let ip = ip.to_canonical();
        let places = match self.snapshot.by_ip.get(&key(ip)) {
            Some(start) => &self.snapshot.places[*start..],
            None => &[],
        };
        let owners = places.iter().map(|place| self.at(*place));
        owners
            .take_while(move |(_, addr)| addr.ip == ip)
            .map(|(interface, _)| interface)
    }

    /// Returns `true` if an interface has exactly the address `ip`.
    ///
    /// An IPv4-mapped address counts as the IPv4 address. This is one lookup in a hash map, without
    /// an allocation or a reference count, so it is fit for every request.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::Interfaces;
    ///
    /// let host: Interfaces =
    ///     [Interface::new("eth0", 2).with_addr("10.0.0.1".parse()?, 8)].into_iter().collect();
    /// assert!(host.contains("10.0.0.1".parse()?));
    /// assert!(host.contains("::ffff:10.0.0.1".parse()?));
    /// // An address of its subnet is not its own.
    /// assert!(!host.contains("10.0.0.2".parse()?));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.has(ip.to_canonical())
    }

    /// Returns `true` if an interface has exactly the address `ip`, which must not be IPv4-mapped.
    // A server may check an address for each request. Where this is a call, the address goes through
    // memory, which takes a third as long as the probe.
    #[inline]
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.snapshot.by_ip.contains_key(&key(ip))
    }

    /// Returns the addresses inside `networks`, one network after the other, each with its
    /// interface, without a scan of all.
    pub(crate) fn inside(&self, networks: &[Network]) -> Vec<(&Interface, &InterfaceAddr)> {
        let places = &self.snapshot.places;
        let key = |place: &AddrIndex| addr_key(self.at(*place).1.ip);
        let mut inside = Vec::new();
        for network in networks {
            let family = Family::of(network.first());
            for scope in Scope::ALL {
                let [first, last] = [network.first(), network.last()].map(|ip| (family, scope, ip));
                let start = places.partition_point(|place| key(place) < first);
                let from = places[start..].iter();
                let run = from.take_while(|place| key(place) <= last);
                inside.extend(run.map(|place| self.at(*place)));
            }
        }
        inside
    }

    /// Finds the address whose directed broadcast `ip` is: all ones, configured, or to an old
    /// kernel all zeros.
    pub(crate) fn broadcast_of(&self, ip: Ipv4Addr) -> Option<(&Interface, &InterfaceAddr)> {
        let is_broadcast = |subnet: Network| {
            let is_lowest = subnet.reserved_first() == Some(ip.into());
            subnet.broadcast() == Some(ip) || is_lowest && self.snapshot.lowest_is_broadcast
        };
        let mut subnets = self.subnets_of(IpAddr::V4(ip));
        let of_subnet = subnets.find(|(_, addr)| is_broadcast(addr.subnet()));
        of_subnet.or_else(|| {
            self.snapshot
                .by_broadcast
                .get(&key(ip.into()))
                .map(|at| self.at(*at))
        })
    }

    /// Finds the address to whose subnet `ip` is the network address, or in
    /// IPv6 the subnet-router anycast address.
    pub(crate) fn network_of(&self, ip: IpAddr) -> Option<(&Interface, &InterfaceAddr)> {
        self.subnets_of(ip)
            .find(|(_, addr)| addr.subnet().reserved_first() == Some(ip))
    }

    /// Finds the address whose point-to-point peer `ip` is.
    pub(crate) fn peer_of(&self, ip: IpAddr) -> Option<(&Interface, &InterfaceAddr)> {
        self.snapshot.by_peer.get(&key(ip)).map(|at| self.at(*at))
    }

    /// Iterates over one address of each subnet that `ip` lies in, the smallest subnet first.
    pub(crate) fn subnets_of(
        &self,
        ip: IpAddr,
    ) -> impl Iterator<Item = (&Interface, &InterfaceAddr)> {
        self.snapshot
            .prefix_lens
            .iter()
            .filter(move |len| **len < addr_bits(ip))
            .filter_map(move |len| {
                self.snapshot
                    .by_subnet
                    .get(&subnet_key(Network::containing(ip, *len)))
            })
            .map(|place| self.at(*place))
    }

    /// Returns up to `count` addresses of the host that share the longest prefixes with `ip`.
    ///
    /// They are of its family, and loopback or link-local only if it is, too.
    pub(crate) fn nearest(&self, ip: IpAddr, count: usize) -> Vec<IpAddr> {
        let key = |place: &AddrIndex| addr_key(self.at(*place).1.ip);
        let places = &self.snapshot.places;
        let around = places.partition_point(|place| key(place) < addr_key(ip));
        let is_near = |place: &&AddrIndex| {
            let (family, scope, _) = key(place);
            (family, scope) == (Family::of(ip), Scope::of(ip))
        };
        let mut before = places[..around].iter().rev().take_while(is_near).peekable();
        let mut after = places[around..].iter().take_while(is_near).peekable();
        let mut nearest = Vec::new();
        // In sorted order the longest common prefixes are next to the place of `ip`.
        while nearest.len() < count {
            let shared = |place: Option<&&AddrIndex>| {
                place.map(|place| common_prefix_len(self.at(**place).1.ip, ip))
            };
            let side = if shared(before.peek()) > shared(after.peek()) {
                before.next()
            } else {
                after.next()
            };
            let Some(place) = side else { break };
            let found = self.at(*place).1.ip;
            if !nearest.contains(&found) {
                nearest.push(found);
            }
        }
        nearest
    }

    /// Returns the loopback interfaces, of which Linux has one.
    pub(crate) fn loopbacks(&self) -> Vec<&Interface> {
        self.iter().filter(|one| one.is_loopback()).collect()
    }

    /// Returns `true` if `name` is that of a loopback interface.
    pub(crate) fn is_loopback(&self, name: &str) -> bool {
        self.by_name(name).is_some_and(Interface::is_loopback)
    }

    /// Returns the names of the interfaces, the one that `name` is likely a slip for first.
    pub(crate) fn names_by_likeness(&self, name: &str) -> Vec<String> {
        let distance = |known: &str| edit_distance(known.as_bytes(), name.as_bytes());
        let names = self.iter().map(Interface::name);
        let mut names: Vec<(usize, &str)> = names.map(|known| (distance(known), known)).collect();
        sort_by(&mut names, |(a, _), (b, _)| a.cmp(b));
        names
            .into_iter()
            .map(|(_, known)| known.to_owned())
            .collect()
    }

    /// Returns the interface that a cgroup binds the sockets of this process to.
    pub(crate) fn device(&self) -> Option<&str> {
        self.snapshot.device.as_deref()
    }

    /// Returns the addresses that the host would use to reach the outside.
    pub(crate) fn default_sources(&self) -> &[IpAddr] {
        self.snapshot.default_sources.as_deref().unwrap_or_default()
    }

    /// Returns `true` if the default sources were read.
    pub(crate) fn knows_default_sources(&self) -> bool {
        self.snapshot.default_sources.is_some()
    }

    fn at(&self, place: AddrIndex) -> (&Interface, &InterfaceAddr) {
        let interface = &self.snapshot.interfaces[place.interface];
        (interface, &interface.addrs[place.addr])
    }
}

impl Default for Interfaces {
    /// Returns the snapshot of a host without interfaces, which costs no allocation.
    fn default() -> Self {
        static NONE: LazyLock<Arc<Snapshot>> = LazyLock::new(Arc::default);
        Self {
            snapshot: NONE.clone(),
        }
    }
}

/// Compares what was read of the host: its interfaces, the interface that a cgroup binds sockets
/// to, and the default sources if they were requested.
///
/// # Examples
///
/// ```
/// use bindaddr::Interfaces;
///
/// let before = Interfaces::system()?;
/// if Interfaces::system()? != before {
///     println!("something has changed");
/// }
/// # Ok::<(), bindaddr::interfaces::InterfacesError>(())
/// ```
impl PartialEq for Interfaces {
    fn eq(&self, other: &Self) -> bool {
        let [one, two] = [&self.snapshot, &other.snapshot];
        one.interfaces == two.interfaces
            && one.default_sources == two.default_sources
            && one.device == two.device
    }
}

impl Eq for Interfaces {}

impl<'a> IntoIterator for &'a Interfaces {
    type Item = &'a Interface;
    type IntoIter = std::slice::Iter<'a, Interface>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Interface> for Interfaces {
    /// Collects a snapshot.
    ///
    /// Entries of the same index are one interface; so are entries of the same
    /// name where one of them lacks an index.
    fn from_iter<I: IntoIterator<Item = Interface>>(entries: I) -> Self {
        let mut interfaces: Vec<Interface> = Vec::new();
        let mut by_index: FoldMap<u32, usize> = FoldMap::default();
        let mut by_name: Map<String, usize> = Map::new();
        for entry in entries {
            let named = by_name
                .get(&entry.name)
                .copied()
                .filter(|at| entry.index().is_none() || interfaces[*at].index().is_none());
            let known = entry
                .index()
                .and_then(|index| by_index.get(&index).copied());
            let at = known.or(named).unwrap_or(interfaces.len());
            if let Some(index) = entry.index() {
                by_index.insert(index, at);
            }
            by_name.get_or_insert_with(entry.name.clone(), || at);
            match interfaces.get_mut(at) {
                Some(interface) => interface.join(entry),
                None => interfaces.push(entry),
            }
        }
        for interface in &mut interfaces {
            let key = |addr: &InterfaceAddr| (addr.ip, addr.prefix_len);
            sort_by(&mut interface.addrs, |a, b| key(a).cmp(&key(b)));
            interface.addrs.dedup();
        }
        sort_by(&mut interfaces, |a, b| {
            (a.index, &a.name).cmp(&(b.index, &b.name))
        });
        Self {
            snapshot: Arc::new(Snapshot::new(interfaces)),
        }
    }
}

impl Snapshot {
    fn new(interfaces: Vec<Interface>) -> Self {
        let mut new = Self::default();
        let count = interfaces
            .iter()
            .map(|interface| interface.addrs.len())
            .sum();
        let mut places: Vec<AddrIndex> = Vec::with_capacity(count);
        let mut has_len = [false; 129];
        for (at, interface) in interfaces.iter().enumerate() {
            if let Some(index) = interface.index() {
                new.by_index.insert(index, at);
            }
            new.by_name
                .get_or_insert_with(interface.name.clone(), || at);
            let mut last_subnet = None;
            for (n, addr) in interface.addrs.iter().enumerate() {
                let place = AddrIndex {
                    interface: at,
                    addr: n,
                };
                places.push(place);
                // Addresses in their order are mostly of the subnet of the one before.
                let subnet = addr.subnet();
                if subnet.is_subnet() && last_subnet != Some(subnet) {
                    new.by_subnet.entry(subnet_key(subnet)).or_insert(place);
                    has_len[usize::from(addr.prefix_len)] = true;
                    last_subnet = Some(subnet);
                }
                if let Some(broadcast) = addr.broadcast {
                    new.by_broadcast
                        .entry(key(broadcast.into()))
                        .or_insert(place);
                }
                if let Some(peer) = addr.peer {
                    new.by_peer.entry(key(peer)).or_insert(place);
                }
            }
        }
        let lens = (0..=128).rev().filter(|len| has_len[usize::from(*len)]);
        new.prefix_lens = lens.collect();
        // The addresses of each interface are in order, which a stable sort merges.
        let ip_at = |place: &AddrIndex| interfaces[place.interface].addrs[place.addr].ip;
        places.sort_by_key(|place| addr_key(ip_at(place)));
        // An interface may have an address twice, in subnets of different size.
        places.dedup_by_key(|place| (ip_at(place), place.interface));
        new.by_ip.reserve(places.len());
        for (at, place) in places.iter().enumerate() {
            new.by_ip.entry(key(ip_at(place))).or_insert(at);
        }
        new.places = places;
        new.interfaces = interfaces;
        new
    }
}

/// A subnet as a key: its first address and the length of its prefix, which two families do not
/// share.
fn subnet_key(subnet: Network) -> (u128, u8) {
    (key(subnet.first()), subnet.prefix_len())
}

impl fmt::Debug for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// How far an address is valid. An address of one scope does not replace one of another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Network,
    LinkLocal,
    Loopback,
}

impl Scope {
    const ALL: [Self; 3] = [Self::Network, Self::LinkLocal, Self::Loopback];

    fn of(ip: IpAddr) -> Self {
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        match ip {
            _ if ip.is_loopback() => Self::Loopback,
            _ if is_link_local => Self::LinkLocal,
            _ => Self::Network,
        }
    }
}

/// The place of an address in the sorted list of a snapshot: by family and scope, then by value.
type AddrKey = (Family, Scope, IpAddr);

fn addr_key(ip: IpAddr) -> AddrKey {
    (Family::of(ip), Scope::of(ip), ip)
}

/// The interfaces of this host could not be read.
///
/// The system's own error is the [`source`](std::error::Error::source). Nothing
/// is called foreign for it.
///
/// # Examples
///
/// ```
/// use bindaddr::{BindTarget, Interfaces};
///
/// match Interfaces::system() {
///     Ok(host) => println!("{}", BindTarget::parse_with("10.0.0.1", &host)?),
///     Err(err) => println!("{err}; binding works anyway"),
/// }
/// # Ok::<(), bindaddr::target::ResolveError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[error("cannot read the interfaces of this host")]
pub struct InterfacesError {
    source: io::Error,
}

impl From<InterfacesError> for io::Error {
    /// Keeps the kind of the system's error, and the whole error inside.
    fn from(err: InterfacesError) -> Self {
        Self::new(err.source.kind(), err)
    }
}

impl InterfacesError {
    pub(crate) fn io_error(&self) -> &io::Error {
        &self.source
    }
}

/// Returns `true` if a local route brings clients to `ip`; `None` where that cannot be read.
pub(crate) fn is_routed(ip: IpAddr) -> Option<bool> {
    let table = sys::local_table(ip).ok()?;
    Some(match ip {
        // By a route of another table than `local` a packet is taken in, and the response is
        // refused, because IPv4 sends from an address of that table only, as it binds
        // (`inet_addr_type_table`). 127.0.0.1 shows which one that is: it is one with `main` until
        // there is a rule (`fib_unmerge`).
        IpAddr::V4(_) => {
            table.is_some() && table == sys::local_table(Ipv4Addr::LOCALHOST.into()).ok()?
        }
        IpAddr::V6(_) => table.is_some(),
    })
}
