//! Resolves what a text names on one host: [`ListenAddr::resolve`] and [`BindTarget::parse`].

use std::cell::{OnceCell, RefCell};
use std::io;
use std::net::IpAddr;

use crate::addr::network::{
    Network, is_global, is_group_addr, loopback_networks, private_networks,
};
use crate::addr::{Family, Host, Keyword, ListenAddr, Zone};
use crate::interfaces::{Interface, InterfaceAddr, Interfaces, InterfacesError};
use crate::map::{Map, Set};
use crate::order::sort_by;
use crate::sys::{self, Link};
use crate::target::{BindTarget, Endpoint, GroupCheck, ResolveError, ResolveErrorKind, Wildcard};

impl BindTarget {
    /// Classifies a host without a port, for settings that keep host and port apart.
    ///
    /// The interfaces of this host are read only where the text needs them: not for a wildcard and
    /// not for a loopback address. A [`Foreign`](Self::Foreign) result is `Ok`, because the text is
    /// valid.
    ///
    /// # Errors
    ///
    /// A [`ResolveError`] if
    /// - the text is not a host, or has a port;
    /// - no interface has the name or the zone;
    /// - an interface, network or keyword selects no address, or several (use
    ///   `ListenAddr::resolve`);
    /// - this host's interfaces cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::target::Wildcard;
    /// use bindaddr::BindTarget;
    ///
    /// assert_eq!(BindTarget::parse("0.0.0.0")?, BindTarget::Any(Wildcard::Ipv4));
    /// assert!(BindTarget::parse("localhost")?.is_loopback());
    /// // TEST-NET-2 (RFC 5737), which no host has.
    /// assert!(BindTarget::parse("198.51.100.1")?.is_foreign());
    /// # Ok::<(), bindaddr::target::ResolveError>(())
    /// ```
    ///
    /// # Example: errors
    ///
    /// ```
    /// let err = bindaddr::BindTarget::parse("127.0.0.1:80").unwrap_err();
    /// assert_eq!(
    ///     err.to_string(),
    ///     "invalid listen address \"127.0.0.1:80\": expected a host without the port `80`; write `127.0.0.1`",
    /// );
    /// ```
    pub fn parse(text: &str) -> Result<Self, ResolveError> {
        let addr = parse_host(text)?;
        let wildcard_or_loopback = match addr.host() {
            Host::Ip { ip, .. } => {
                let ip = ip.to_canonical();
                ip.is_unspecified() || ip.is_loopback()
            }
            _ => !addr.needs_interfaces(),
        };
        let host = if wildcard_or_loopback {
            Interfaces::default()
        } else {
            let here = SnapshotCache::default();
            let host = here.snapshot_for(&addr);
            host.map_err(|kind| ResolveError::new(text, kind))?.clone()
        };
        only_target(&addr, text, &host).map_err(|err| match err.kind {
            ResolveErrorKind::NoSuchInterface { name, known } => {
                let link = sys::device(&name).ok().flatten();
                let other = link.and_then(|link| alternative_name(&name, &link));
                let kind = other.unwrap_or(ResolveErrorKind::NoSuchInterface { name, known });
                ResolveError::new(text, kind)
            }
            _ => err,
        })
    }

    /// Classifies a host without a port, against a snapshot.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse), but the system is not read.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let host: Interfaces = [Interface::new("eth0", 2).with_addr("10.0.0.1".parse()?, 8)]
    ///     .into_iter()
    ///     .collect();
    /// assert!(BindTarget::parse_with("10.0.0.1", &host)?.is_local());
    /// assert!(BindTarget::parse_with("eth0", &host)?.is_local());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse_with(text: &str, host: &Interfaces) -> Result<Self, ResolveError> {
        only_target(&parse_host(text)?, text, host)
    }
}

fn parse_host(text: &str) -> Result<ListenAddr, ResolveError> {
    ListenAddr::parse_host(text).map_err(|err| ResolveError::new(text, ResolveErrorKind::Text(err)))
}

fn only_target(
    addr: &ListenAddr,
    text: &str,
    host: &Interfaces,
) -> Result<BindTarget, ResolveError> {
    let endpoints = endpoints(addr, host).map_err(|kind| ResolveError::new(text, kind))?;
    let [endpoint] = endpoints[..] else {
        let count = endpoints.len();
        let kind = ResolveErrorKind::SeveralAddresses { count };
        return Err(ResolveError::new(text, kind));
    };
    Ok(endpoint.classify(host))
}

impl ListenAddr {
    /// Resolves the address against a snapshot, to at least one target.
    ///
    /// Only the wildcard spellings resolve to [`BindTarget::Any`]; a selector that matches no
    /// address is an error. Several targets come in a fixed order: IPv4 before IPv6, then by
    /// interface, then by address.
    ///
    /// # Errors
    ///
    /// A [`ResolveError`] if no interface has the name or the zone, or a selector matches no
    /// address.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::{Interfaces, ListenAddr};
    ///
    /// let host: Interfaces = [Interface::new("eth0", 2)
    ///     .with_addr("10.0.0.1".parse()?, 8)
    ///     .with_addr("fe80::77".parse()?, 64)]
    /// .into_iter()
    /// .collect();
    /// let targets = "eth0:80".parse::<ListenAddr>()?.resolve(&host)?;
    /// let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    /// assert_eq!(targets, ["10.0.0.1, an address of eth0", "fe80::77%eth0, an address of eth0"]);
    ///
    /// let err = "etho:80".parse::<ListenAddr>()?.resolve(&host).unwrap_err();
    /// assert_eq!(
    ///     err.to_string(),
    ///     "cannot resolve etho:80: no interface named `etho` has an address; available: `eth0`",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resolve(&self, host: &Interfaces) -> Result<Vec<BindTarget>, ResolveError> {
        let endpoints =
            endpoints(self, host).map_err(|kind| ResolveError::new(&self.to_string(), kind))?;
        Ok(endpoints
            .into_iter()
            .map(|endpoint| endpoint.classify(host))
            .collect())
    }

    /// Returns `true` if it selects among the addresses of the host.
    pub(crate) fn is_selector(&self) -> bool {
        matches!(
            self.host(),
            Host::Name(_) | Host::Network(_) | Host::Keyword(_)
        )
    }

    /// Returns `true` if it is resolved against the interfaces of the host.
    pub(crate) fn needs_interfaces(&self) -> bool {
        match self.host() {
            Host::Ip { zone, .. } => matches!(zone, Some(Zone::Name(_))),
            _ => self.is_selector(),
        }
    }
}

/// The snapshot that settings are resolved against: a given one, or one of this host that is read
/// when it is first needed.
#[derive(Default)]
pub(crate) struct SnapshotCache {
    is_given: bool,
    plain: OnceCell<Interfaces>,
    with_sources: OnceCell<Interfaces>,
    indexes: RefCell<Map<String, Option<u32>>>,
}

impl SnapshotCache {
    /// Creates a cache that reads nothing.
    pub(crate) fn given(host: &Interfaces) -> Self {
        Self {
            is_given: true,
            plain: host.clone().into(),
            with_sources: host.clone().into(),
            indexes: RefCell::default(),
        }
    }

    /// Returns the snapshot in which `addr` is resolved.
    fn snapshot_for(&self, addr: &ListenAddr) -> Result<&Interfaces, ResolveErrorKind> {
        let plain = self
            .snapshot()
            .map_err(ResolveErrorKind::InterfacesUnreadable)?;
        Ok(match addr.host() {
            Host::Keyword(Keyword::Default) => {
                let with_sources = || plain.clone().with_system_default_sources();
                self.with_sources.get_or_init(with_sources)
            }
            _ => plain,
        })
    }

    pub(crate) fn snapshot(&self) -> Result<&Interfaces, InterfacesError> {
        if let Some(host) = self.plain.get() {
            return Ok(host);
        }
        let host = Interfaces::system_without_routes()?;
        Ok(self.plain.get_or_init(|| host))
    }

    /// Returns the snapshot if there is one by now.
    pub(crate) fn known(&self) -> Option<&Interfaces> {
        self.with_sources.get().or(self.plain.get())
    }

    /// Returns the endpoints that `addr` resolves to, with the snapshot if one was needed.
    pub(crate) fn endpoints(
        &self,
        addr: &ListenAddr,
    ) -> Result<(Vec<Endpoint>, Option<Interfaces>), ResolveErrorKind> {
        if addr.needs_interfaces() {
            let host = self.snapshot_for(addr)?;
            Ok((endpoints(addr, host)?, Some(host.clone())))
        } else {
            Ok((endpoints(addr, &Interfaces::default())?, None))
        }
    }

    /// Returns `true` if a TCP socket on an interface and one on none can have one port, or that
    /// cannot be read.
    pub(crate) fn may_be_apart(&self, index: u32) -> bool {
        if self.is_given {
            return self.plain.get().is_some_and(|host| host.is_apart(index));
        }
        sys::is_apart(index).unwrap_or(true)
    }

    /// Finds an interface of this host by any of its names, with or without an address.
    ///
    /// `None` if there is none, or the system has no such query.
    pub(crate) fn link(&self, name: &str) -> io::Result<Option<Link>> {
        if self.is_given {
            return Ok(None);
        }
        match sys::device(name) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
            found => found,
        }
    }

    /// Returns the index of an interface that sockets are to be bound to; `None` if there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read, or a given snapshot does not have it, because that has the interfaces
    /// with an address only.
    pub(crate) fn index_of(&self, name: &str) -> io::Result<Option<u32>> {
        let not_read = || io::Error::from(io::ErrorKind::NotFound);
        if self.is_given {
            let index = self.plain.get().and_then(|host| host.index_of(name));
            return index.map(Some).ok_or_else(not_read);
        }
        if let Some(index) = self.indexes.borrow().get(name) {
            return Ok(*index);
        }
        let index = sys::device(name)?.map(|link| link.index);
        self.indexes.borrow_mut().insert(name.to_owned(), index);
        Ok(index)
    }
}

/// Returns the error for a name of `link` that is not the one by which it is listed.
pub(crate) fn alternative_name(name: &str, link: &Link) -> Option<ResolveErrorKind> {
    (link.name != name).then(|| ResolveErrorKind::AlternativeName {
        name: name.to_owned(),
        interface: link.name.clone(),
    })
}

/// Returns the endpoints that the address resolves to: at least one, none of them twice.
fn endpoints(addr: &ListenAddr, host: &Interfaces) -> Result<Vec<Endpoint>, ResolveErrorKind> {
    let endpoint = match addr.host() {
        Host::Any => Endpoint::Any(match addr.family() {
            None => Wildcard::All,
            Some(Family::Ipv4) => Wildcard::Ipv4,
            Some(Family::Ipv6) => Wildcard::Ipv6,
        }),
        Host::Localhost => match addr.family() {
            None => Endpoint::Localhost,
            Some(family) => Endpoint::loopback(family),
        },
        Host::Ip { ip, zone } => literal(addr, *ip, zone.as_ref(), host)?,
        Host::Name(name) => return of_interface(addr, named(host, name)?),
        Host::Network(network) => return select(addr, host, host.inside(&[*network])),
        Host::Keyword(Keyword::Local) => {
            return select(addr, host, host.inside(&loopback_networks()));
        }
        Host::Keyword(Keyword::Private) => {
            return select(addr, host, host.inside(&private_networks()));
        }
        Host::Keyword(Keyword::Public) => {
            let global = host.addrs().filter(|(_, addr)| is_global(addr.ip()));
            return select(addr, host, global.collect());
        }
        Host::Keyword(Keyword::Default) if !host.knows_default_sources() => {
            return Err(ResolveErrorKind::DefaultSourcesUnknown);
        }
        Host::Keyword(Keyword::Default) => {
            let sources = host.default_sources().iter();
            let sources: Vec<Network> = sources
                .map(|ip| Network::containing(*ip, u8::MAX))
                .collect();
            return select(addr, host, host.inside(&sources));
        }
    };
    Ok(vec![endpoint])
}

fn literal(
    addr: &ListenAddr,
    ip: IpAddr,
    zone: Option<&Zone>,
    host: &Interfaces,
) -> Result<Endpoint, ResolveErrorKind> {
    let scope_id = match zone {
        None => 0,
        Some(Zone::Index(index)) => *index,
        Some(Zone::Name(name)) => {
            let interface = named(host, name)?;
            interface.index().ok_or(ResolveErrorKind::NoIndex {
                interface: name.clone(),
            })?
        }
    };
    let ip = ip.to_canonical();
    Ok(match (ip.is_unspecified(), addr.family()) {
        (true, _) if ip.is_ipv4() => Endpoint::Any(Wildcard::Ipv4),
        (true, None) => Endpoint::Any(Wildcard::DualStack),
        // `ipv6@[::]`: the grammar lets no other family through.
        (true, Some(_)) => Endpoint::Any(Wildcard::Ipv6),
        (false, _) => Endpoint::literal(ip, scope_id),
    })
}

fn named<'h>(host: &'h Interfaces, name: &str) -> Result<&'h Interface, ResolveErrorKind> {
    host.by_name(name)
        .ok_or_else(|| ResolveErrorKind::NoSuchInterface {
            name: name.to_owned(),
            known: host.names_by_likeness(name),
        })
}

fn of_interface(
    addr: &ListenAddr,
    interface: &Interface,
) -> Result<Vec<Endpoint>, ResolveErrorKind> {
    let entries = interface.addrs().iter().map(|entry| (interface, entry));
    let endpoints = selected(addr, entries.collect());
    if endpoints.is_empty() {
        let addrs = interface.addrs().iter();
        return Err(ResolveErrorKind::NoAddress {
            interface: interface.name().to_owned(),
            running: interface.is_running(),
            family: addr.family(),
            known: addrs.map(|addr| addr.ip().to_string()).collect(),
        });
    }
    Ok(endpoints)
}

fn select<'h>(
    addr: &ListenAddr,
    host: &'h Interfaces,
    entries: Vec<(&'h Interface, &'h InterfaceAddr)>,
) -> Result<Vec<Endpoint>, ResolveErrorKind> {
    let endpoints = selected(addr, entries);
    if endpoints.is_empty() {
        return Err(match addr.host() {
            Host::Keyword(Keyword::Default) => ResolveErrorKind::NoDefaultSource {
                family: addr.family(),
            },
            selector => {
                let (known, more) = what_there_is(addr, host);
                ResolveErrorKind::NothingSelected {
                    selector: selector.to_string(),
                    family: addr.family(),
                    known,
                    more,
                }
            }
        });
    }
    Ok(endpoints)
}

/// Up to eight addresses of the host of the family that was asked for, those next to a
/// network first, and how many more there are.
fn what_there_is(addr: &ListenAddr, host: &Interfaces) -> (Vec<String>, usize) {
    let network = match addr.host() {
        Host::Network(network) => Some(network.first()),
        _ => None,
    };
    let admits = |ip: &IpAddr| match network {
        Some(first) => ip.is_ipv4() == first.is_ipv4(),
        None => addr.admits(Family::of(*ip)),
    };
    let all = || {
        let entries = host.iter().flat_map(Interface::addrs);
        entries.map(InterfaceAddr::ip).filter(admits)
    };
    let mut known = network.map_or_else(Vec::new, |first| host.nearest(first, 8));
    for ip in all() {
        if known.len() == 8 {
            break;
        }
        if !known.contains(&ip) {
            known.push(ip);
        }
    }
    let more = all().count().saturating_sub(known.len());
    (known.iter().map(ToString::to_string).collect(), more)
}

/// The addresses that are of the family asked for: IPv4 first, then by interface, then by
/// address.
fn selected<'h>(
    addr: &ListenAddr,
    entries: Vec<(&'h Interface, &'h InterfaceAddr)>,
) -> Vec<Endpoint> {
    let mut found: Vec<(&Interface, IpAddr)> = entries
        .into_iter()
        .map(|(interface, entry)| (interface, entry.ip()))
        .filter(|(_, ip)| addr.admits(Family::of(*ip)) && !is_group_addr(*ip))
        .collect();
    sort_by(&mut found, |(a, a_ip), (b, b_ip)| {
        let a = (a_ip.is_ipv6(), a.index(), a.name(), a_ip);
        a.cmp(&(b_ip.is_ipv6(), b.index(), b.name(), b_ip))
    });
    let mut endpoints: Vec<Endpoint> = found
        .into_iter()
        .map(|(interface, ip)| on_interface(ip, interface))
        .collect();
    // An address that two interfaces have is one address, except where a zone distinguishes them.
    let mut seen = Set::new();
    endpoints.retain(|endpoint| match endpoint {
        Endpoint::Ip { ip, scope_id, .. } => seen.insert((*ip, *scope_id)),
        _ => true,
    });
    endpoints
}

fn on_interface(ip: IpAddr, interface: &Interface) -> Endpoint {
    let scope_id = match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => interface.index().unwrap_or(0),
        _ => 0,
    };
    Endpoint::Ip {
        ip,
        scope_id,
        group: GroupCheck::of_listed(ip),
    }
}
