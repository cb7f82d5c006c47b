//! How far an address reaches: [`Exposure`].

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::OpenSocket;
use crate::addr::network::{is_group_addr, private_networks};
use crate::addr::{Family, Network};
use crate::interfaces::{Interface, Interfaces};
use crate::map::Map;
use crate::sys::Namespace;
use crate::target::{BindTarget, Wildcard};

/// From how far away clients may connect, from nearest to farthest.
///
/// It is a scale to decide on: `if exposure > Exposure::ThisHost && !auth { refuse }`. What an
/// address is comes from the IANA registries of special-purpose addresses; whatever they do not
/// call loopback, link-local, private or shared counts as [`Global`](Self::Global), for nothing but
/// a convention keeps it from being routed. An IPv4-mapped address counts as the IPv4 address.
///
/// A firewall, a router without a route and a published port of a container change who gets in,
/// and are not looked at.
///
/// Each block of the registries with its place on the scale, and what others call private, is
/// in [the page about exposure](crate::docs::exposure).
///
/// # Examples
///
/// ```
/// use bindaddr::{Exposure, Interfaces};
///
/// let (token, host) = (None::<&str>, Interfaces::system()?);
/// let listeners = bindaddr::bind("localhost:0")?;
/// if listeners.exposure(&host) > Exposure::ThisHost && token.is_none() {
///     return Err("without a token this listens on loopback only".into());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Exposure {
    /// From this host only: 127.0.0.0/8 and `::1`.
    ThisHost,
    /// From the same link: 169.254.0.0/16 (RFC 3927) and `fe80::/10` (RFC 4291), of which a target
    /// on a loopback interface is open to this host only; of multicast 224.0.0.0/24 (RFC 5771,
    /// section 4), `ff01::/16` and `ff02::/16`.
    Link,
    /// From networks of one owner: 10.0.0.0/8, 172.16.0.0/12 and 192.168.0.0/16 (RFC 1918), and
    /// `fc00::/7` (RFC 4193).
    Private,
    /// From the network of a provider, or of an overlay such as Tailscale: 100.64.0.0/10 (RFC
    /// 6598).
    Shared,
    /// From wherever the address is routed.
    Global,
}

impl Exposure {
    /// Returns how far `ip` reaches; of a wildcard, the farthest that an address does.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::Exposure;
    ///
    /// assert_eq!(Exposure::of("::ffff:127.0.0.1".parse()?), Exposure::ThisHost);
    /// assert_eq!(Exposure::of("100.100.1.2".parse()?), Exposure::Shared);
    /// assert_eq!(Exposure::of("224.0.0.251".parse()?), Exposure::Link);
    /// assert_eq!(Exposure::of("ff05::1".parse()?), Exposure::Global);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let is_link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local() || v4.octets()[..3] == [224, 0, 0],
            IpAddr::V6(v6) => is_of_zone(ip) || is_multicast_of_link(v6),
        };
        let [shared, private @ ..] = private_networks();
        if ip.is_loopback() {
            Self::ThisHost
        } else if is_link_local {
            Self::Link
        } else if private.iter().any(|network| network.contains(ip)) {
            Self::Private
        } else if shared.contains(ip) {
            Self::Shared
        } else {
            Self::Global
        }
    }

    /// How far `ip` reaches as an address of `interface`: the zone of a loopback interface has no
    /// other hosts.
    pub(super) fn through(interface: &Interface, ip: IpAddr) -> Self {
        if is_of_zone(ip) && interface.is_host_only() {
            Self::ThisHost
        } else {
            Self::of(ip)
        }
    }
}

/// Returns `true` for a multicast address of the scope of an interface or of a link (RFC 4291,
/// section 2.7).
fn is_multicast_of_link(ip: Ipv6Addr) -> bool {
    ip.is_multicast() && [1, 2].contains(&(ip.octets()[1] & 0xf))
}

/// Returns `true` if `ip` is an address of one zone: IPv6 link-local unicast (RFC 4007, section 6).
pub(super) fn is_of_zone(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThisHost => "this host only",
            Self::Link => "the link",
            Self::Private => "private networks",
            Self::Shared => "shared networks",
            Self::Global => "the internet",
        })
    }
}

impl BindTarget {
    /// Returns from how far away clients may connect to a server on this target.
    ///
    /// A wildcard is as exposed as the most exposed address that the host has now in its families,
    /// and at least to the link, because it includes every address that the host is given later,
    /// too. A foreign address is as exposed as it would be on this host. If a cgroup binds the
    /// sockets of this process to an interface (`ip vrf exec`), a snapshot of the system has it,
    /// and it limits the exposure.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::{BindTarget, Exposure, Interfaces};
    ///
    /// let host: Interfaces = [
    ///     Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
    ///     Interface::new("eth0", 2).with_addr("192.168.71.67".parse()?, 16),
    /// ]
    /// .into_iter()
    /// .collect();
    /// let exposure = |text| BindTarget::parse_with(text, &host).map(|target| target.exposure(&host));
    /// assert_eq!(exposure("0.0.0.0")?, Exposure::Private);
    /// assert_eq!(exposure("ipv6@*")?, Exposure::Link);
    /// assert_eq!(exposure("localhost")?, Exposure::ThisHost);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn exposure(&self, host: &Interfaces) -> Exposure {
        self.exposure_on_device(self.device(host), host)
    }

    /// Returns the interface that a cgroup binds a socket of this target to, which a zone replaces.
    pub(crate) fn device<'h>(&self, host: &'h Interfaces) -> Option<&'h str> {
        let is_link_scoped = match self {
            Self::Local(local) => local.scope_id().is_some(),
            Self::Foreign(foreign) => foreign.scope_id().is_some(),
            Self::Any(_) | Self::Loopback(_) => false,
        };
        host.device().filter(|_| !is_link_scoped)
    }

    /// The same of a socket that is bound to an interface.
    pub(crate) fn exposure_on_device(&self, device: Option<&str>, host: &Interfaces) -> Exposure {
        Exposures::on(host).of_target(self, device)
    }
}

/// The exposure of sockets on one host, which looks through the addresses once for each wildcard.
pub(crate) struct Exposures<'h> {
    host: &'h Interfaces,
    of_wildcards: Map<Wildcard, Exposure>,
}

impl<'h> Exposures<'h> {
    pub(crate) fn on(host: &'h Interfaces) -> Self {
        Self {
            host,
            of_wildcards: Map::new(),
        }
    }

    /// Returns that of a socket; one that may be of another network namespace has addresses that
    /// are not known.
    pub(crate) fn of(&mut self, socket: &OpenSocket) -> Exposure {
        if socket.namespace != Namespace::This {
            return Exposure::Global;
        }
        self.of_target(&socket.target(self.host), socket.device.as_deref())
    }

    /// Returns the farthest of all sockets.
    pub(crate) fn of_all(mut self, sockets: impl Iterator<Item = OpenSocket>) -> Exposure {
        let exposures = sockets.map(|socket| self.of(&socket));
        exposures.fold(Exposure::ThisHost, Ord::max)
    }

    fn of_target(&mut self, target: &BindTarget, device: Option<&str>) -> Exposure {
        let host = self.host;
        if device.is_some_and(|device| host.is_loopback(device)) {
            return Exposure::ThisHost;
        }
        match target {
            BindTarget::Any(wildcard) => {
                let known = &mut self.of_wildcards;
                *known.get_or_insert_with(*wildcard, || of_wildcard(*wildcard, host))
            }
            BindTarget::Loopback(_) => Exposure::ThisHost,
            BindTarget::Local(local) => {
                let through = |interface| Exposure::through(interface, local.ip());
                let farthest = local.interfaces().map(through).max();
                farthest.unwrap_or_else(|| Exposure::of(local.ip()))
            }
            BindTarget::Foreign(foreign) => Exposure::of(foreign.ip()),
        }
    }
}

fn of_wildcard(wildcard: Wildcard, host: &Interfaces) -> Exposure {
    let ips = host.addrs().map(|(_, addr)| addr.ip());
    let taken = ips.filter(|ip| wildcard.takes(Family::of(*ip)) && !is_group_addr(*ip));
    let by_addrs = taken.map(Exposure::of).fold(Exposure::Link, Ord::max);
    // Routes that are not known may lead to any address.
    let Some(routes) = host.local_routes() else {
        return Exposure::Global;
    };
    let taken = routes.filter(|network| wildcard.takes(Family::of(network.first())));
    taken.map(of_network).fold(by_addrs, Ord::max)
}

/// Returns how far the addresses of a network reach at most. One that is larger than any block of
/// private addresses begins or ends with a global one.
pub(super) fn of_network(network: Network) -> Exposure {
    let [first, last] = [network.first(), network.last()].map(Exposure::of);
    first.max(last)
}
