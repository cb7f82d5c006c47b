//! Why a text names no address on a host: [`ResolveError`].

use std::error::Error;
use std::fmt;
use std::io;

use crate::addr::{Family, ParseError, is_unset, shown};
use crate::interfaces::{InterfacesError, Listed, Listing};

/// The error of a text that resolves to no address, or not to exactly one.
///
/// # Examples
///
/// ```
/// use bindaddr::target::ResolveErrorKind;
/// use bindaddr::{BindTarget, Interfaces};
///
/// let err = BindTarget::parse_with("example.org", &Interfaces::default()).unwrap_err();
/// assert!(matches!(err.kind(), ResolveErrorKind::NoSuchInterface { .. }));
/// assert_eq!(err.text(), "example.org");
/// ```
pub struct ResolveError {
    text: String,
    pub(super) kind: ResolveErrorKind,
}

impl ResolveError {
    pub(super) fn new(text: &str, kind: ResolveErrorKind) -> Self {
        Self {
            text: text.to_owned(),
            kind,
        }
    }

    /// Returns the text as it was written; the canonical one, if a
    /// [`ListenAddr`](crate::ListenAddr) was resolved.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn kind(&self) -> &ResolveErrorKind {
        &self.kind
    }
}

/// The sentence, so that a `main` that returns the error prints it.
impl fmt::Debug for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            // It names the text itself.
            ResolveErrorKind::Text(err) => err.fmt(f),
            kind => write!(f, "cannot resolve {}: {kind}", shown(&self.text)),
        }
    }
}

impl From<ResolveError> for io::Error {
    /// Keeps the whole error inside; the kind is that of the system's error, or
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a text that is not a host, and
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) for one that resolves to no address.
    fn from(err: ResolveError) -> Self {
        let kind = match (err.kind.io_error(), &err.kind) {
            (Some(source), _) => source.kind(),
            (None, ResolveErrorKind::Text(_)) => io::ErrorKind::InvalidInput,
            (None, _) => io::ErrorKind::AddrNotAvailable,
        };
        Self::new(kind, err)
    }
}

impl Error for ResolveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.io_error().map(|err| err as _)
    }
}

/// The reason why a text does not resolve.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
/// use bindaddr::target::ResolveErrorKind;
/// use bindaddr::{Interfaces, ListenAddr};
///
/// let host: Interfaces = [Interface::new("eth0", 2)].into_iter().collect();
/// let err = "etho:80".parse::<ListenAddr>()?.resolve(&host).unwrap_err();
/// match err.kind() {
///     ResolveErrorKind::NoSuchInterface { known, .. } => assert_eq!(known, &["eth0"]),
///     kind => unreachable!("{kind}"),
/// }
/// # Ok::<(), bindaddr::addr::ParseError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveErrorKind {
    /// The text is not a listen address, or not a host.
    #[error(transparent)]
    Text(ParseError),
    /// No interface with an address has this name.
    #[error(
        "no interface named `{}` has an address{}; {}",
        shown(name),
        NotAnInterface(name),
        Listing(known)
    )]
    #[non_exhaustive]
    NoSuchInterface {
        /// The name, or the zone, as written.
        name: String,
        /// The names there are, the likeliest one first.
        known: Vec<String>,
    },
    /// The name is an alternative name of an interface (`altname`, ip-link(8)).
    #[error(
        "`{}` is an alternative name of the interface `{interface}`; write `{interface}`",
        shown(name),
        interface = shown(interface)
    )]
    #[non_exhaustive]
    AlternativeName {
        /// The name, or the zone, as written.
        name: String,
        /// The name of the interface.
        interface: String,
    },
    /// The interface has no address, or none of the family that `ipv4@` or `ipv6@` asks for.
    #[error(
        "the interface `{}`{} has no {}address{}{}",
        shown(interface),
        if *running { "" } else { " (not running)" },
        FamilyPrefix(*family),
        // Those that it has are of many hosts.
        if family.is_none() && !known.is_empty() { " to listen on" } else { "" },
        Others(known)
    )]
    #[non_exhaustive]
    NoAddress {
        /// The name of the interface.
        interface: String,
        /// Whether it is up and has a carrier.
        running: bool,
        /// The family asked for.
        family: Option<Family>,
        /// The addresses that it has: of the other family, or of many hosts (multicast).
        known: Vec<String>,
    },
    /// No address of the host is of that network or kind.
    #[error(
        "no {}address of this host is in `{selector}`; {}{}",
        FamilyPrefix(*family),
        Listing(known),
        More(*more)
    )]
    #[non_exhaustive]
    NothingSelected {
        /// The network or the word.
        selector: String,
        /// The family asked for.
        family: Option<Family>,
        /// Up to eight addresses that there are of that family, the nearest to a network first.
        known: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// No address is known that the host would use to reach the outside (`_default_`).
    #[error("this host has no {}source address for a default route", FamilyPrefix(*family))]
    #[non_exhaustive]
    NoDefaultSource {
        /// The family asked for.
        family: Option<Family>,
    },
    /// The snapshot does not have the addresses that the host would use to reach the outside
    /// (`_default_`): they could not be read, or
    /// [`with_system_default_sources`](crate::Interfaces::with_system_default_sources) was not
    /// called.
    #[error("the source addresses of this host's default routes are unknown")]
    DefaultSourcesUnknown,
    /// The text names several addresses where one is wanted.
    #[error("it selects {count} addresses, but one is expected; use one of them")]
    #[non_exhaustive]
    SeveralAddresses {
        /// How many.
        count: usize,
    },
    /// The system does not report the index of the interface, which is its zone.
    #[error(
        "the system does not report the index of the interface `{}`",
        shown(interface)
    )]
    #[non_exhaustive]
    NoIndex {
        /// The name of the interface.
        interface: String,
    },
    /// No interface has the name, and looking it up failed ([`BindOptions::lookup`]).
    ///
    /// [`BindOptions::lookup`]: crate::BindOptions::lookup
    #[error(
        "no interface is named `{}`, and the DNS lookup failed; {}",
        shown(name),
        Listing(known)
    )]
    #[non_exhaustive]
    LookupFailed {
        /// The name.
        name: String,
        /// The names of the interfaces there are, the likeliest one first.
        known: Vec<String>,
        /// The resolver's error.
        source: std::io::Error,
    },
    /// No interface has the name, and it was looked up and has no address, or none of the
    /// family asked for.
    #[error("the name `{}` resolves to no {}address", shown(name), FamilyPrefix(*family))]
    #[non_exhaustive]
    NameWithoutAddress {
        /// The name.
        name: String,
        /// The family asked for.
        family: Option<Family>,
    },
    /// The interfaces of this host could not be read.
    #[error("the interfaces of this host cannot be read")]
    InterfacesUnreadable(#[source] InterfacesError),
}

impl ResolveErrorKind {
    /// Returns `true` if this host lacks what is named, `false` if the text is wrong.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::NoSuchInterface { .. }
                | Self::NoAddress { .. }
                | Self::NothingSelected { .. }
                | Self::NoDefaultSource { .. }
                | Self::LookupFailed { .. }
                | Self::NameWithoutAddress { .. }
        )
    }

    /// The system's error, where there is one; the kind's own sentence covers the rest.
    pub(crate) fn io_error(&self) -> Option<&std::io::Error> {
        match self {
            Self::InterfacesUnreadable(err) => Some(err.io_error()),
            Self::LookupFailed { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Displays what a name that no interface has seems to be.
struct NotAnInterface<'a>(&'a str);

impl fmt::Display for NotAnInterface<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A VLAN is called `eth0.100`.
        let last = self.0.rsplit_once('.').map(|(_, last)| last);
        match last {
            _ if is_unset(self.0) => f.write_str(" (an unset variable?)"),
            Some(last) if last.contains(|c: char| c.is_ascii_alphabetic()) => {
                f.write_str(", and host names are not looked up")
            }
            _ => Ok(()),
        }
    }
}

/// How many more there are, where there are any.
struct More(usize);

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A clause that lists what there is instead, if there is anything.
struct Others<'a>(&'a [String]);

impl fmt::Display for Others<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            others => write!(f, "; it has {}", Listed(others)),
        }
    }
}

/// The family asked for, where one was.
struct FamilyPrefix(Option<Family>);

impl fmt::Display for FamilyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(family) => write!(f, "{family} "),
            None => Ok(()),
        }
    }
}
