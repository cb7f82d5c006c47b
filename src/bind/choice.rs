//! Which of the addresses that a setting names are bound: names in DNS, and [`Choice`].

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

use super::BindOptions;
use crate::interfaces::Interfaces;
use crate::listen::{Family, Host, ListenAddr};
use crate::resolve::{ResolveErrorKind, ThisHost, alternative_name, endpoints_here};
use crate::sys;
use crate::target::Endpoint;

/// Which of the addresses that a setting names are bound.
///
/// # Examples
///
/// ```
/// use bindaddr::{BindOptions, Choice};
///
/// let one = BindOptions::new().choose(Choice::First).bind("localhost:0")?;
/// assert_eq!(one.as_slice()[0].local_addr().ip(), std::net::Ipv4Addr::LOCALHOST);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Choice {
    /// Every one of them.
    #[default]
    Every,
    /// The only one; several are an error. It is for servers that take a single socket.
    Only,
    /// The first one: IPv4 before IPv6, then by interface, then by address.
    First,
}

/// Who looks up names in DNS.
#[derive(Clone)]
pub(super) struct Resolver(Arc<LookUp>);

type LookUp = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl BindOptions {
    /// Sets which of the addresses that a setting names are bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{BindOptions, Cause, Choice, ResolveErrorKind};
    ///
    /// let err = BindOptions::new().choose(Choice::Only).bind("localhost:0").unwrap_err();
    /// assert!(matches!(
    ///     err.cause(),
    ///     Cause::Unresolved(ResolveErrorKind::SeveralAddresses { count: 2, .. })
    /// ));
    /// ```
    #[must_use]
    pub fn choose(mut self, choice: Choice) -> Self {
        self.choice = choice;
        self
    }

    /// Looks up the names that no interface has, by the system's resolver.
    ///
    /// All addresses of a name are bound. Without this option such a name is an error, for a
    /// listen address that depends on DNS opens something else when DNS is changed. A name
    /// whose last label is a number or `localhost` is never looked up, nor is any where the
    /// interfaces cannot be read.
    ///
    /// # Platform notes
    ///
    /// On Linux and Android an interface without any address is known to be one. Elsewhere
    /// its name is looked up.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// bindaddr::BindOptions::new().lookup().bind("www.example.org:80")?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn lookup(self) -> Self {
        self.lookup_with(|name| Ok((name, 0).to_socket_addrs()?.map(|addr| addr.ip()).collect()))
    }

    /// Looks up the names that no interface has, by `resolver`, as [`lookup`](Self::lookup)
    /// does by the system's.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = bindaddr::BindOptions::new().lookup_with(|name| {
    ///     assert_eq!(name, "db.internal");
    ///     Ok(vec![[127, 0, 0, 1].into()])
    /// });
    /// assert_eq!(options.bind("db.internal:0")?.as_slice().len(), 1);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn lookup_with(
        mut self,
        resolver: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Self {
        self.resolver = Some(Resolver(Arc::new(resolver)));
        self
    }

    /// What the address stands for on this host, or by its name.
    pub(super) fn endpoints_of(
        &self,
        addr: &ListenAddr,
        host: &ThisHost,
    ) -> Result<(Vec<Endpoint>, Option<Interfaces>), ResolveErrorKind> {
        let (name, known) = match endpoints_here(addr, host) {
            Err(ResolveErrorKind::NoSuchInterface { name, known }) => (name, known),
            found => return found,
        };
        let link = sys::device(&name).ok().flatten();
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
        match &self.resolver {
            Some(resolver) if !is_never_looked_up(&name) => {
                Ok((looked_up(addr, &name, known, resolver)?, None))
            }
            _ => Err(ResolveErrorKind::NoSuchInterface { name, known }),
        }
    }

    /// The endpoints that are chosen of those that a setting names.
    pub(super) fn chosen(
        &self,
        endpoints: Vec<Endpoint>,
    ) -> Result<Vec<Endpoint>, ResolveErrorKind> {
        let count = endpoints.len().max(2);
        let chosen = self.choice.of(endpoints);
        chosen.ok_or(ResolveErrorKind::SeveralAddresses { count })
    }
}

impl Choice {
    /// The endpoints that are chosen of several; `None` if one alone may be meant.
    pub(crate) fn of(self, mut endpoints: Vec<Endpoint>) -> Option<Vec<Endpoint>> {
        let is_both = endpoints == [Endpoint::Localhost];
        match self {
            Self::Only if is_both || endpoints.len() > 1 => return None,
            Self::Every | Self::Only => {}
            Self::First if is_both => endpoints = vec![Endpoint::loopback(Family::Ipv4)],
            Self::First => endpoints.truncate(1),
        }
        Some(endpoints)
    }
}

/// Tells whether a name is none of DNS: the last label is `localhost` (RFC 6761, section
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
    let mut seen = HashSet::new();
    let mut ips: Vec<IpAddr> = found
        .into_iter()
        .map(|ip| ip.to_canonical())
        // A name widens nothing.
        .filter(|ip| !ip.is_unspecified() && addr.admits(Family::of(*ip)) && seen.insert(*ip))
        .collect();
    // IPv4 first, and whatever the order in which a server rotates them.
    ips.sort();
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
    fn names_that_look_like_addresses_are_told() {
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
