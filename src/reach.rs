//! Who can connect, and by which addresses: [`Dial`].

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::interfaces::{Interface, Interfaces};
use crate::listen::Family;
use crate::target::{BindTarget, socket_addr};

/// An address by which a client can connect to a server.
///
/// # Examples
///
/// ```
/// use bindaddr::{BindTarget, Interface, Interfaces};
///
/// let host: Interfaces = [
///     Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
///     Interface::new("eth0", 2).with_addr("192.168.71.67".parse()?, 16),
/// ]
/// .into_iter()
/// .collect();
/// let dials = BindTarget::parse_with("0.0.0.0", &host)?.dial(5000, &host);
/// let lines: Vec<String> =
///     dials.iter().map(|dial| format!("{} from {}", dial.url("http"), dial.from())).collect();
/// assert_eq!(
///     lines,
///     [
///         "http://127.0.0.1:5000/ from this host",
///         "http://192.168.71.67:5000/ from the network",
///     ],
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dial {
    addr: SocketAddr,
    from: DialFrom,
    interface: Option<String>,
}

/// From where an address to dial works.
///
/// # Examples
///
/// ```
/// use bindaddr::{BindTarget, DialFrom, Interfaces};
///
/// let dials = BindTarget::parse("127.0.0.1")?.dial(80, &Interfaces::default());
/// assert_eq!(dials[0].from(), DialFrom::ThisHost);
/// # Ok::<(), bindaddr::ResolveError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DialFrom {
    /// From the host itself: a loopback address.
    ThisHost,
    /// From the hosts on the same link: a link-local address.
    Link,
    /// From wherever the network carries a packet to the address.
    Network,
}

impl fmt::Display for DialFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThisHost => "this host",
            Self::Link => "the link",
            Self::Network => "the network",
        })
    }
}

impl Dial {
    fn new(ip: IpAddr, port: u16, interface: Option<&Interface>) -> Self {
        let (from, scope_id) = match ip {
            _ if ip.is_loopback() => (DialFrom::ThisHost, 0),
            IpAddr::V4(v4) if v4.is_link_local() => (DialFrom::Link, 0),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                let index = interface.and_then(Interface::index);
                (DialFrom::Link, index.unwrap_or(0))
            }
            _ => (DialFrom::Network, 0),
        };
        Self {
            addr: socket_addr(ip, scope_id, port),
            from,
            interface: interface.map(|interface| interface.name().to_owned()),
        }
    }

    /// Returns the address and the port. The scope id of a link-local address
    /// is this host's; a client has to name an interface of its own.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns from where the address works.
    #[must_use]
    pub fn from(&self) -> DialFrom {
        self.from
    }

    /// Returns the name of the interface that has the address, where one has.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Returns a URL of the address, as in `http://192.168.71.67:5000/`.
    ///
    /// An IPv6 address stands in brackets. A link-local one has its zone, by the
    /// name of this host's interface, behind `%25` (RFC 6874): curl opens it, and
    /// browsers do not.
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        let port = self.addr.port();
        match (self.addr, &self.interface) {
            (SocketAddr::V4(v4), _) => format!("{scheme}://{v4}/"),
            (SocketAddr::V6(v6), Some(zone)) if self.from == DialFrom::Link => {
                format!("{scheme}://[{}%25{}]:{port}/", v6.ip(), encoded(zone))
            }
            (SocketAddr::V6(v6), _) => format!("{scheme}://[{}]:{port}/", v6.ip()),
        }
    }
}

/// Writes a zone as RFC 6874 has it: unreserved characters, and `%` before the bytes of others.
fn encoded(zone: &str) -> String {
    zone.bytes()
        .map(|byte| match char::from(byte) {
            c if c.is_ascii_alphanumeric() || "-._~".contains(c) => c.to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

impl BindTarget {
    /// Returns the addresses by which clients can connect to a server on `port`
    /// of this target: loopback first and link-local last, IPv4 before IPv6.
    ///
    /// A wildcard is never among them: each address of the host stands in its
    /// place. A foreign address has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let dials = BindTarget::parse("localhost")?.dial(8080, &Interfaces::default());
    /// assert_eq!(dials[0].url("http"), "http://127.0.0.1:8080/");
    /// assert_eq!(dials[1].url("http"), "http://[::1]:8080/");
    /// # Ok::<(), bindaddr::ResolveError>(())
    /// ```
    #[must_use]
    pub fn dial(&self, port: u16, host: &Interfaces) -> Vec<Dial> {
        let mut dials: Vec<Dial> = match self {
            Self::Any(wildcard) => host
                .iter()
                .flat_map(|interface| interface.addrs().iter().map(move |addr| (interface, addr)))
                .filter(|(_, addr)| wildcard.takes(Family::of(addr.ip())))
                .map(|(interface, addr)| Dial::new(addr.ip(), port, Some(interface)))
                .collect(),
            Self::Loopback(addrs) => addrs
                .ips()
                .map(|ip| Dial::new(ip, port, host.with_ip(ip).next()))
                .collect(),
            Self::Local(local) => {
                vec![Dial::new(local.ip(), port, local.interfaces().next())]
            }
            Self::Foreign(_) => Vec::new(),
        };
        dials.sort_by_key(|dial| {
            let rank = match dial.from {
                DialFrom::ThisHost => 0,
                DialFrom::Network => 1,
                // Last, for it takes a zone of the client's own.
                DialFrom::Link => 2,
            };
            (rank, dial.addr.is_ipv6())
        });
        let mut seen = HashSet::new();
        dials.retain(|dial| seen.insert(dial.addr));
        dials
    }
}
