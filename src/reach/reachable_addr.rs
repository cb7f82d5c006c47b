//! An address by which clients connect: [`ReachableAddr`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::Exposure;
use super::exposure::is_of_zone;
use crate::interfaces::{AddrState, Interface, InterfaceAddr};
use crate::target::socket_addr;

/// An address by which a client can connect to a server.
///
/// The [`Display`](fmt::Display) form is a clause; `{:#}` adds what is odd about the address.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
/// use bindaddr::{BindTarget, Interfaces};
///
/// let host: Interfaces = [
///     Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
///     Interface::new("eth0", 2).with_addr("192.168.71.67".parse()?, 16),
/// ]
/// .into_iter()
/// .collect();
/// let reach = BindTarget::parse_with("0.0.0.0", &host)?.reach(5000, &host);
/// let lines: Vec<String> = reach.addrs().iter().map(ToString::to_string).collect();
/// assert_eq!(
///     lines,
///     [
///         "127.0.0.1:5000 from this host, through lo",
///         "192.168.71.67:5000 from the network, through eth0",
///     ],
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReachableAddr {
    addr: SocketAddr,
    origin: Origin,
    interface: Option<String>,
    running: bool,
    temporary: bool,
    deprecated: bool,
}

/// From where an address to dial works.
///
/// # Examples
///
/// ```
/// use bindaddr::reach::Origin;
/// use bindaddr::{BindTarget, Interfaces};
///
/// let reach = BindTarget::parse("127.0.0.1")?.reach(80, &Interfaces::system()?);
/// assert!(reach.addrs().iter().all(|dial| dial.origin() == Origin::ThisHost));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// From the host itself: a loopback address, a link-local IPv6 address of the loopback
    /// interface, or a socket bound to it.
    ThisHost,
    /// From wherever the network carries a packet to the address, this host included while its
    /// loopback interface is up and has the family (`net.ipv6.conf.lo.disable_ipv6`, ip-sysctl).
    Network,
    /// From what comes in through the interface that the socket is bound to
    /// ([`device`](crate::BindOptions::device)), which is not the one that has the address; not
    /// from this host.
    Device,
    /// From the hosts on the same link, and this one: a link-local address. Routers have to keep it
    /// there; Linux does so for IPv6, and carries on an IPv4 one where it has a route to it.
    Link,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThisHost => "this host",
            Self::Network => "the network",
            Self::Device => "behind the socket's interface",
            Self::Link => "the link",
        })
    }
}

impl ReachableAddr {
    /// `owner` is the interface that has the address, with its entry.
    pub(super) fn new(ip: IpAddr, port: u16, owner: (&Interface, &InterfaceAddr)) -> Self {
        let (interface, entry) = owner;
        let origin = match Exposure::through(interface, ip) {
            Exposure::ThisHost => Origin::ThisHost,
            Exposure::Link => Origin::Link,
            _ => Origin::Network,
        };
        let scope_id = match interface.index() {
            Some(index) if is_of_zone(ip) => index,
            _ => 0,
        };
        Self {
            addr: socket_addr(ip, scope_id, port),
            origin,
            interface: Some(interface.name().to_owned()),
            running: interface.is_running(),
            temporary: entry.is_temporary(),
            deprecated: entry.state() == AddrState::Deprecated,
        }
    }

    /// An address that no interface has, and a local route brings here.
    pub(super) fn routed(ip: IpAddr, port: u16) -> Self {
        Self {
            addr: SocketAddr::new(ip, port),
            origin: Origin::Network,
            interface: None,
            running: true,
            temporary: false,
            deprecated: false,
        }
    }

    pub(super) fn only_from(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Orders addresses, the best to show to a person first.
    pub(super) fn rank(&self, default_sources: &[IpAddr]) -> impl Ord + use<> {
        (
            // A link-local one comes last, because a client needs a zone of its own.
            self.origin,
            !self.running,
            self.deprecated,
            !default_sources.contains(&self.addr.ip()),
            self.temporary,
            self.addr.is_ipv6(),
        )
    }

    /// Returns the address and the port. The scope id of a link-local address
    /// is this host's; a client has to name an interface of its own.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns from where the address works.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Returns how far the address reaches: by its kind, and not beyond this host if it works
    /// [origin](Self::origin) there only.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        match self.origin {
            Origin::ThisHost => Exposure::ThisHost,
            _ => Exposure::of(self.addr.ip()),
        }
    }

    /// Returns the name of the interface that has the address, where one has.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Returns `true` if that interface is up and has a carrier. If it is not, this host and
    /// those that reach it through another interface can connect.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Returns `true` if browsers open the [`url`](Self::url). They know no zones, so they open no
    /// IPv6 link-local address, and they refuse some ports of other protocols (the list of bad
    /// ports of the Fetch standard).
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let host = Interfaces::system()?;
    /// let target = BindTarget::parse("127.0.0.1")?;
    /// assert!(target.reach(8080, &host).addrs()[0].is_for_browsers());
    /// assert!(!target.reach(6000, &host).addrs()[0].is_for_browsers());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_for_browsers(&self) -> bool {
        !self.needs_zone() && !self.has_bad_port()
    }

    /// Returns `true` for an IPv6 link-local address, which a client names with a zone of its own.
    pub(super) fn needs_zone(&self) -> bool {
        self.addr.is_ipv6() && self.is_link_local()
    }

    fn has_bad_port(&self) -> bool {
        BAD_PORTS.binary_search(&self.addr.port()).is_ok()
    }

    fn is_link_local(&self) -> bool {
        Exposure::of(self.addr.ip()) == Exposure::Link
    }

    /// Returns a URL of the address, as in `http://192.168.71.67:5000/`.
    ///
    /// An IPv6 address stands in brackets. A link-local one has its zone, by the
    /// name of this host's interface, behind `%25` (RFC 6874): curl opens it, and
    /// browsers do not.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let host: Interfaces =
    ///     [Interface::new("eth0", 2).with_addr("fe80::77".parse()?, 64)].into_iter().collect();
    /// let reach = BindTarget::parse_with("eth0", &host)?.reach(80, &host);
    /// let dial = &reach.addrs()[0];
    /// assert_eq!(dial.url("http"), "http://[fe80::77%25eth0]:80/");
    /// assert!(!dial.is_for_browsers());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        let port = self.addr.port();
        match (self.addr, &self.interface) {
            (SocketAddr::V4(v4), _) => format!("{scheme}://{v4}/"),
            (SocketAddr::V6(v6), Some(zone)) if self.is_link_local() => {
                format!("{scheme}://[{}%25{}]:{port}/", v6.ip(), encoded(zone))
            }
            (SocketAddr::V6(v6), _) => format!("{scheme}://[{}]:{port}/", v6.ip()),
        }
    }

    /// Returns what a person may want to know of the address, as a URL of `scheme` if there is one.
    pub(super) fn oddities(
        &self,
        scheme: Option<&str>,
    ) -> impl Iterator<Item = &'static str> + use<> {
        let is_for_browsers = scheme.is_some_and(is_of_browsers);
        let oddities = [
            (!self.running, "its interface is not running"),
            (self.temporary, "temporary"),
            (self.deprecated, "deprecated"),
            (self.needs_zone(), "browsers do not open it"),
            (
                is_for_browsers && self.has_bad_port(),
                "browsers refuse this port",
            ),
        ];
        oddities
            .into_iter()
            .filter_map(|(is, what)| is.then_some(what))
    }
}

/// Returns `true` for the schemes that browsers open pages and connections of.
pub(super) fn is_of_browsers(scheme: &str) -> bool {
    ["http", "https", "ws", "wss"]
        .iter()
        .any(|own| scheme.eq_ignore_ascii_case(own))
}

/// The bad ports of the Fetch standard, section 2.9.
const BAD_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080,
];

impl fmt::Display for ReachableAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.addr, &self.interface) {
            (SocketAddr::V6(v6), Some(zone)) if self.is_link_local() => {
                write!(f, "[{}%{}]:{}", v6.ip(), zone.escape_debug(), v6.port())?;
            }
            (addr, _) => addr.fmt(f)?,
        }
        write!(f, " from {}", self.origin)?;
        match &self.interface {
            Some(interface) => write!(f, ", through {}", interface.escape_debug())?,
            None => f.write_str(", by a local route")?,
        }
        if f.alternate() {
            for (n, oddity) in self.oddities(None).enumerate() {
                write!(f, "{} {oddity}", if n == 0 { ";" } else { "," })?;
            }
        }
        Ok(())
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
