//! Parses settings: [`ListenAddr`], its parts, and the error of an invalid text.

// The grammar: text to ListenAddr.
mod parse;
// A short cut for the texts that most settings are.
mod literal;
// Placeholders that templates and other programs leave in the place of an address.
mod template;
// The error of an invalid text.
mod error;
// Several of them in one setting.
mod list;
// CIDR networks, and the arithmetic of prefixes.
pub(crate) mod network;
// Fields of a config that lack a port.
#[cfg(feature = "serde")]
pub mod de;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

pub(crate) use error::shown;
#[cfg(feature = "serde")]
pub(crate) use error::without_credentials;
pub use error::{ParseError, ParseErrorKind};
pub use list::{EntryError, ListenAddrs, ParseListError};
pub(crate) use list::{ListEntry, parse_entries, parse_hosts};
pub(crate) use literal::literal;
pub use network::Network;
use parse::PortRule;
pub(crate) use template::is_unset;

/// A listen address as an operator writes it in a server's setting.
///
/// It says what was written and nothing of the host it is read on: parsing makes
/// no system call and asks no DNS. What it names on a host is for
/// [`resolve`](Self::resolve), and [`bind`](crate::bind()) opens it.
///
#[doc = include_str!("../docs/grammar.md")]
///
/// Everything `SocketAddr::from_str` accepts is accepted with the same meaning,
/// except a port with leading zeros and a zone on an address that is not
/// link-local, which are refused.
///
/// The [`Display`](fmt::Display) form is canonical and parses back to the same value.
///
/// # Platform notes
///
/// An interface name has at most 15 bytes (`IFNAMSIZ`, netdevice(7)), except on Windows.
///
/// # Examples
///
/// ```
/// use bindaddr::ListenAddr;
///
/// let addr: ListenAddr = "localhost:8080".parse()?;
/// assert_eq!(addr.port(), 8080);
/// assert_eq!(addr.to_string(), "localhost:8080");
/// assert_eq!("8080".parse::<ListenAddr>()?.to_string(), "*:8080");
/// # Ok::<(), bindaddr::addr::ParseError>(())
/// ```
///
/// # Example: errors
///
/// ```
/// use bindaddr::addr::ParseErrorKind;
/// use bindaddr::ListenAddr;
///
/// let err = "::1:80".parse::<ListenAddr>().unwrap_err();
/// assert_eq!(err.kind(), ParseErrorKind::AmbiguousIpv6);
/// assert_eq!(
///     err.to_string(),
///     "invalid listen address \"::1:80\": ambiguous: the address `::1:80` without a port, \
///      or `::1` with port 80; write `[::1:80]:8080` for the address or `[::1]:80` for port 80",
/// );
/// ```
///
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddr {
    optional: bool,
    family: Option<Family>,
    host: Host,
    first_port: u16,
    last_port: u16,
}

impl ListenAddr {
    /// Parses a setting whose port may be left out.
    ///
    /// A port in the text wins over `port`.
    ///
    /// # Errors
    ///
    /// A [`ParseError`], as for [`FromStr`], except for a missing port.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::ListenAddr;
    ///
    /// let addr = ListenAddr::parse_with_default_port("::1", 8080)?;
    /// assert_eq!(addr.to_string(), "[::1]:8080");
    /// let addr = ListenAddr::parse_with_default_port("[::1]:9090", 8080)?;
    /// assert_eq!(addr.port(), 9090);
    /// # Ok::<(), bindaddr::addr::ParseError>(())
    /// ```
    pub fn parse_with_default_port(text: &str, port: u16) -> Result<Self, ParseError> {
        parse::parse(text, PortRule::Default(port))
    }

    /// Parses the host of a setting that keeps its port apart.
    ///
    /// The text has no port, so an IPv6 address needs no brackets, whatever follows its last `:`.
    /// Everything else that can precede a port is accepted: interfaces, networks, keywords,
    /// `ipv4@eth0`, and a `-` for an address that may be absent on this host.
    ///
    /// # Errors
    ///
    /// A [`ParseError`], as for [`FromStr`], except for a missing port. A port in the text is an
    /// error of kind [`UnexpectedPort`](ParseErrorKind::UnexpectedPort).
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::addr::ParseErrorKind;
    /// use bindaddr::ListenAddr;
    ///
    /// let addr = ListenAddr::from_host("2001:db8::10:53", 8080)?;
    /// assert_eq!(addr.to_string(), "[2001:db8::10:53]:8080");
    /// let addr = ListenAddr::from_host("ipv4@eth0", 8080)?;
    /// assert_eq!(addr.to_string(), "ipv4@eth0:8080");
    /// let err = ListenAddr::from_host("127.0.0.1:80", 8080).unwrap_err();
    /// assert_eq!(err.kind(), ParseErrorKind::UnexpectedPort);
    /// # Ok::<(), bindaddr::addr::ParseError>(())
    /// ```
    pub fn from_host(text: &str, port: u16) -> Result<Self, ParseError> {
        parse::parse(text, PortRule::Given(port))
    }

    /// Parses a host that stands without a port, with port 0 in its place.
    pub(crate) fn parse_host(text: &str) -> Result<Self, ParseError> {
        parse::parse(text, PortRule::Forbidden)
    }

    /// Returns what stands where an address or a name would.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port, or the first one of a range. 0 asks for any free port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.first_port
    }

    /// Returns the address with another port, as of a flag that overrides the setting, in place of
    /// the port or the range that it has.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bindaddr::ListenAddr;
    /// let addr: ListenAddr = "-ipv4@eth0:8000-8010".parse()?;
    /// assert_eq!(addr.with_port(9090).to_string(), "-ipv4@eth0:9090");
    /// # Ok::<(), bindaddr::addr::ParseError>(())
    /// ```
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.first_port = port;
        self.last_port = port;
        self
    }

    /// Returns the ports to try in turn; a single port is a range of one.
    #[must_use]
    pub fn ports(&self) -> RangeInclusive<u16> {
        self.first_port..=self.last_port
    }

    /// Returns the address and port if the host is an IP address without a zone, and the port not a
    /// range.
    pub(crate) fn literal(&self) -> Option<(IpAddr, u16)> {
        match self.host {
            Host::Ip { ip, zone: None } if self.first_port == self.last_port => {
                Some((ip, self.first_port))
            }
            _ => None,
        }
    }

    /// Returns the family that `ipv4@` or `ipv6@` restricts the host to.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        self.family
    }

    /// Returns `true` if the host may lack the address (`-` before it).
    ///
    /// In a list such an entry is left out where the host does not have it. Alone
    /// it changes nothing, for without it there is nothing to listen on.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    /// Puts together a setting of one host and one port.
    pub(crate) fn of_host(host: Host, family: Option<Family>, port: u16) -> Self {
        Self {
            optional: false,
            family,
            host,
            first_port: port,
            last_port: port,
        }
    }

    /// Returns the setting with another host, of whatever family. The ports and the `-` stay.
    pub(crate) fn with_other_host(&self, host: Host) -> Self {
        Self {
            host,
            family: None,
            ..self.clone()
        }
    }

    /// Returns the setting with another name for what it names. The family stays as well.
    pub(crate) fn with_other_name(&self, host: Host) -> Self {
        Self {
            host,
            ..self.clone()
        }
    }

    /// Returns `true` if addresses of `family` pass the `ipv4@` or `ipv6@` filter.
    pub(crate) fn admits(&self, family: Family) -> bool {
        self.family.is_none_or(|only| only == family)
    }
}

impl FromStr for ListenAddr {
    type Err = ParseError;

    /// Parses a listen address that has a port.
    ///
    /// # Errors
    ///
    /// A [`ParseError`] with the [kind](ParseErrorKind) of the mistake, its
    /// place in the text, and how to write what was probably meant.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::parse(text, PortRule::Required)
    }
}

impl TryFrom<&str> for ListenAddr {
    type Error = ParseError;

    fn try_from(text: &str) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl TryFrom<String> for ListenAddr {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

/// Combines a host and a port, as of two fields of a config.
///
/// # Examples
///
/// ```
/// use bindaddr::addr::Host;
/// use bindaddr::ListenAddr;
///
/// let host: Host = "::1".parse()?;
/// assert_eq!(ListenAddr::from((host, 8080)).to_string(), "[::1]:8080");
/// # Ok::<(), bindaddr::addr::ParseError>(())
/// ```
impl From<(Host, u16)> for ListenAddr {
    fn from((host, port): (Host, u16)) -> Self {
        Self::of_host(host, None, port)
    }
}

impl From<SocketAddr> for ListenAddr {
    /// Converts a socket address.
    ///
    /// The scope id is kept where it means something, on link-local addresses;
    /// the flow label is dropped, for `bind` does not look at it.
    fn from(addr: SocketAddr) -> Self {
        let zone = match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 && is_link_scoped(*v6.ip()) => {
                Some(Zone::Index(v6.scope_id()))
            }
            _ => None,
        };
        Self {
            optional: false,
            family: None,
            host: Host::Ip {
                ip: addr.ip(),
                zone,
            },
            first_port: addr.port(),
            last_port: addr.port(),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.optional {
            f.write_str("-")?;
        }
        if let Some(family) = self.family {
            write!(f, "{}@", family.prefix())?;
        }
        write!(f, "{}:{}", self.host, self.first_port)?;
        if self.last_port != self.first_port {
            write!(f, "-{}", self.last_port)?;
        }
        Ok(())
    }
}

/// The part of a [`ListenAddr`] before its port.
///
/// A host that was parsed has a [`Display`](fmt::Display) form that parses back to the same value.
/// IPv6 has brackets there, as it needs before a port.
///
/// # Examples
///
/// ```
/// use bindaddr::addr::Host;
/// use bindaddr::ListenAddr;
///
/// assert_eq!("8080".parse::<ListenAddr>()?.host(), &Host::Any);
/// assert_eq!("eth0:8080".parse::<ListenAddr>()?.host().to_string(), "eth0");
/// // A host by itself, here an address that ends like a port.
/// assert_eq!("2001:db8::10:53".parse::<Host>()?.to_string(), "[2001:db8::10:53]");
/// # Ok::<(), bindaddr::addr::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Host {
    /// `*`, or a port alone: every address of the host.
    Any,
    /// `localhost`: `127.0.0.1` and `::1`.
    Localhost,
    /// A literal address, IPv4-mapped ones as they were written.
    #[non_exhaustive]
    Ip {
        /// The address.
        ip: IpAddr,
        /// The zone of a link-local address.
        zone: Option<Zone>,
    },
    /// A name: an interface's, or one that only DNS could know.
    Name(String),
    /// A network in CIDR notation (RFC 4632), which selects the host's addresses inside it.
    Network(Network),
    /// A word that selects the host's addresses of one kind.
    Keyword(Keyword),
}

impl FromStr for Host {
    type Err = ParseError;

    /// Parses a host without a port, as [`ListenAddr::from_host`] does.
    ///
    /// A `Host` has neither a `-` nor a family, so both are refused.
    ///
    /// # Errors
    ///
    /// A [`ParseError`] with the kind of the mistake, its place in the text, and what to write
    /// instead if that can be derived: [`UnexpectedPort`](ParseErrorKind::UnexpectedPort),
    /// [`UnexpectedOptional`](ParseErrorKind::UnexpectedOptional) and
    /// [`UnexpectedFamily`](ParseErrorKind::UnexpectedFamily) for what a listen address may have
    /// beside its host.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::parse(text, PortRule::HostAlone).map(|addr| addr.host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Localhost => f.write_str("localhost"),
            Self::Ip {
                ip: IpAddr::V4(ip), ..
            } => write!(f, "{ip}"),
            Self::Ip { ip, zone: None } => write!(f, "[{ip}]"),
            Self::Ip {
                ip,
                zone: Some(zone),
            } => write!(f, "[{ip}%{zone}]"),
            Self::Name(name) => f.write_str(name),
            Self::Network(network) if network.first().is_ipv6() => write!(f, "[{network}]"),
            Self::Network(network) => write!(f, "{network}"),
            Self::Keyword(word) => f.write_str(word.text()),
        }
    }
}

/// The zone of a link-local address (RFC 4007): the interface it is valid on.
///
/// # Examples
///
/// ```
/// use bindaddr::addr::{Host, Zone};
/// use bindaddr::ListenAddr;
///
/// let addr: ListenAddr = "[fe80::1%eth0]:80".parse()?;
/// let Host::Ip { zone, .. } = addr.host() else { unreachable!() };
/// assert_eq!(zone, &Some(Zone::Name("eth0".into())));
/// # Ok::<(), bindaddr::addr::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Zone {
    /// The interface's index, which is the scope id of `sockaddr_in6`; never 0.
    Index(u32),
    /// The interface's name.
    Name(String),
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// An address family.
///
/// # Examples
///
/// ```
/// use bindaddr::addr::Family;
/// use bindaddr::ListenAddr;
///
/// let addr: ListenAddr = "ipv6@eth0:80".parse()?;
/// assert_eq!(addr.family().map(|family| family.to_string()).as_deref(), Some("IPv6"));
/// # Ok::<(), bindaddr::addr::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 (`AF_INET`).
    Ipv4,
    /// IPv6 (`AF_INET6`).
    Ipv6,
}

impl Family {
    /// Returns the family of an address, IPv4 for an IPv4-mapped one.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::addr::Family;
    ///
    /// assert_eq!(Family::of("::1".parse()?), Family::Ipv6);
    /// assert_eq!(Family::of("::ffff:127.0.0.1".parse()?), Family::Ipv4);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        if ip.to_canonical().is_ipv4() {
            Self::Ipv4
        } else {
            Self::Ipv6
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A word that selects addresses of the host by their kind.
///
/// # Examples
///
/// ```
/// use bindaddr::addr::{Host, Keyword};
/// use bindaddr::ListenAddr;
///
/// assert_eq!("_site_:80".parse::<ListenAddr>()?.host(), &Host::Keyword(Keyword::Private));
/// # Ok::<(), bindaddr::addr::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Keyword {
    /// `_local_`: the loopback addresses.
    Local,
    /// `_private_`, in Elasticsearch `_site_`: the addresses in 10/8, 172.16/12
    /// and 192.168/16 (RFC 1918), 100.64/10 (RFC 6598) and `fc00::/7` (RFC 4193).
    Private,
    /// `_public_`, in Elasticsearch `_global_`: the globally reachable addresses,
    /// as the IANA special-purpose registries have them.
    Public,
    /// `_default_`: the addresses the host would use to reach the outside.
    Default,
}

impl Keyword {
    fn text(self) -> &'static str {
        match self {
            Self::Local => "_local_",
            Self::Private => "_private_",
            Self::Public => "_public_",
            Self::Default => "_default_",
        }
    }
}

/// Returns `true` if `ip` can have a zone: on link-local unicast, and on
/// multicast of interface-local or link-local scope (RFC 4007, section 5).
pub(crate) fn is_link_scoped(ip: Ipv6Addr) -> bool {
    ip.is_unicast_link_local() || matches!(ip.segments()[0] & 0xff0f, 0xff01 | 0xff02)
}

/// Returns an IPv4-mapped address as IPv4.
#[cfg(any(feature = "tokio", feature = "watch"))]
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(ip.into(), addr.port()),
            None => addr,
        },
        SocketAddr::V4(_) => addr,
    }
}
