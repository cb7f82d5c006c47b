//! Selects which of the addresses of a setting are bound: [`AddrSelection`], and names in DNS.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use crate::addr::{Family, Host, ListenAddr};
use crate::interfaces::Interfaces;
use crate::map::Set;
use crate::order::sort;
use crate::target::Endpoint;
use crate::target::{ResolveErrorKind, SnapshotCache, alternative_name};

/// The choice among the addresses that a setting names.
///
/// # Examples
///
/// ```
/// use bindaddr::BindOptions;
/// use bindaddr::plan::AddrSelection;
///
/// let one = BindOptions::new().select(AddrSelection::First).bind("localhost:0")?;
/// assert_eq!(one[0].local_addr().ip(), std::net::Ipv4Addr::LOCALHOST);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddrSelection {
    /// All of them.
    #[default]
    All,
    /// The only one; several are an error. It is for servers that take one socket.
    Single,
    /// The first one: IPv4 before IPv6, then by interface, then by address.
    First,
}

/// Looks up names in DNS.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<LookUp>);

type LookUp = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

impl Resolver {
    /// Returns the resolver of the system.
    pub(crate) fn system() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.map(|addr| addr.ip()).collect()))
    }

    pub(crate) fn new(
        resolver: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(resolver))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Returns the endpoints that an address resolves to, an interface's or those of a name in DNS,
/// with the snapshot if one was needed.
pub(super) fn endpoints_of(
    addr: &ListenAddr,
    resolver: Option<&Resolver>,
    host: &SnapshotCache,
) -> Result<(Vec<Endpoint>, Option<Interfaces>), ResolveErrorKind> {
    let (name, known) = match host.endpoints(addr) {
        Err(ResolveErrorKind::NoSuchInterface { name, known }) => (name, known),
        found => return found,
    };
    // A name that cannot be read may be an interface, and is not looked up in DNS.
    let Ok(link) = host.link(&name) else {
        return Err(ResolveErrorKind::NoSuchInterface { name, known });
    };
    if let Some(other) = link.as_ref().and_then(|link| alternative_name(&name, link)) {
        return Err(other);
    }
    if !matches!(addr.host(), Host::Name(_)) {
        return Err(ResolveErrorKind::NoSuchInterface { name, known });
    }
    // The snapshot has the interfaces with an address only.
    if let Some(link) = link {
        return Err(ResolveErrorKind::NoAddress {
            interface: name,
            running: link.up && link.running,
            family: addr.family(),
            known: Vec::new(),
        });
    }
    match resolver {
        Some(resolver) if !is_never_looked_up(&name) => {
            Ok((looked_up(addr, &name, known, resolver)?, None))
        }
        _ => Err(ResolveErrorKind::NoSuchInterface { name, known }),
    }
}

impl AddrSelection {
    /// Selects among the endpoints of an entry.
    pub(super) fn select(
        self,
        mut endpoints: Vec<Endpoint>,
    ) -> Result<Vec<Endpoint>, ResolveErrorKind> {
        let is_both = endpoints == [Endpoint::Localhost];
        match self {
            Self::Single if is_both || endpoints.len() > 1 => {
                let count = endpoints.len().max(2);
                return Err(ResolveErrorKind::SeveralAddresses { count });
            }
            Self::All | Self::Single => {}
            Self::First if is_both => endpoints = vec![Endpoint::loopback(Family::Ipv4)],
            Self::First => endpoints.truncate(1),
        }
        Ok(endpoints)
    }
}

/// Returns `true` if a name is not a DNS name: the last label is `localhost` (RFC 6761, section
/// 6.3), or a number in any writing, which resolvers take for an address.
fn is_never_looked_up(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    last.eq_ignore_ascii_case("localhost")
        || last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(is_hex)
}

fn looked_up(
    addr: &ListenAddr,
    name: &str,
    known: Vec<String>,
    resolver: &Resolver,
) -> Result<Vec<Endpoint>, ResolveErrorKind> {
    let found = (resolver.0)(name).map_err(|source| ResolveErrorKind::LookupFailed {
        name: name.to_owned(),
        known,
        source,
    })?;
    let mut seen = Set::new();
    let mut ips: Vec<IpAddr> = found
        .into_iter()
        .map(|ip| ip.to_canonical())
        // A name widens nothing.
        .filter(|ip| !ip.is_unspecified() && addr.admits(Family::of(*ip)) && seen.insert(*ip))
        .collect();
    // IPv4 first, and whatever the order in which a server rotates them.
    sort(&mut ips);
    if ips.is_empty() {
        return Err(ResolveErrorKind::NameWithoutAddress {
            name: name.to_owned(),
            family: addr.family(),
        });
    }
    Ok(ips.into_iter().map(|ip| Endpoint::literal(ip, 0)).collect())
}

#[cfg(test)]
mod tests {
    use super::is_never_looked_up;

    #[test]
    fn selector_reports_names_that_look_like_addresses() {
        for name in ["127.1", "eth0.100", "1", "0x7f", "a.0x7F", "a.1.", "a.0x"] {
            assert!(is_never_looked_up(name), "{name}");
        }
        for name in ["localhost", "localhost.", "LOCALHOST.", "www.LocalHost"] {
            assert!(is_never_looked_up(name), "{name}");
        }
        for name in [
            "example.org",
            "a1",
            "1.a",
            "x7f",
            "db-1.internal",
            "0x7g",
            "localhost.a",
        ] {
            assert!(!is_never_looked_up(name), "{name}");
        }
    }
}
