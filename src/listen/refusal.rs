//! The refusal of a text: its kind, its place, and the sentence that says how to write it.

use std::fmt;
use std::ops::Range;

use super::ListenAddr;
use crate::network::Network;

/// A text that is not a listen address.
///
/// The message is one sentence: the text, what is wrong with it, and how to
/// write what was probably meant.
///
/// # Examples
///
/// ```
/// use bindaddr::{ListenAddr, ParseErrorKind};
///
/// let err = "127.0.0.1:65536".parse::<ListenAddr>().unwrap_err();
/// assert_eq!(err.kind(), ParseErrorKind::PortTooLarge);
/// assert_eq!(err.text(), "127.0.0.1:65536");
/// assert_eq!(&err.text()[err.span()], "65536");
/// assert_eq!(
///     err.to_string(),
///     "invalid listen address \"127.0.0.1:65536\": the port `65536` is too large; ports end at 65535",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid listen address {}: {}", Quoted(.text), Sentence(self))]
pub struct ParseError {
    text: Box<str>,
    span: Range<usize>,
    kind: ParseErrorKind,
    /// Whether a host was read that stands without a port.
    host_only: bool,
}

impl ParseError {
    pub(super) fn new(
        text: &str,
        span: Range<usize>,
        kind: ParseErrorKind,
        host_only: bool,
    ) -> Self {
        Self {
            text: text.into(),
            span,
            kind,
            host_only,
        }
    }

    /// Returns the text as it was written.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = "127.0.0.1:80a".parse::<bindaddr::ListenAddr>().unwrap_err();
    /// assert_eq!(err.text(), "127.0.0.1:80a");
    /// ```
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the place of the mistake, in bytes of [`text`](Self::text).
    ///
    /// It is empty where something is missing.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = "127.0.0.1:80a".parse::<bindaddr::ListenAddr>().unwrap_err();
    /// assert_eq!(&err.text()[err.span()], "80a");
    /// ```
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Returns the kind of the mistake.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = "127.0.0.1:80a".parse::<bindaddr::ListenAddr>().unwrap_err();
    /// assert_eq!(err.kind(), bindaddr::ParseErrorKind::InvalidPort);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }
}

/// What is wrong with a text that is not a listen address.
///
/// # Examples
///
/// ```
/// use bindaddr::{ListenAddr, ParseErrorKind};
///
/// let err = ":8080".parse::<ListenAddr>().unwrap_err();
/// assert_eq!(err.kind(), ParseErrorKind::EmptyHost);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The text is empty.
    Empty,
    /// A list where one address may stand (`127.0.0.1:80,[::1]:80`);
    /// [`ListenAddrs`](crate::ListenAddrs) reads those.
    List,
    /// A port alone behind an address in the same text of a list (`127.0.0.1:80,443`), which may be meant for
    /// that address and would open every one.
    PortAlone,
    /// White space (`127.0.0.1 :80`).
    WhiteSpace,
    /// A control character, such as NUL.
    ControlCharacter,
    /// A character outside ASCII.
    NonAscii,
    /// A character that no address and no name has (`$HOST:80`).
    InvalidCharacter,
    /// A URL (`http://127.0.0.1:80`).
    Url,
    /// An address with a path behind it (`127.0.0.1:80/`).
    Path,
    /// The path of a Unix socket (`/run/server.sock`, `unix:/run/server.sock`, `@abstract`), or `unix` alone.
    UnixSocket,
    /// No host before the port (`:8080`). It must not widen to every address, for
    /// that is what `${HOST}:8080` becomes when the variable is unset.
    EmptyHost,
    /// Something other than `ipv4` or `ipv6` before an `@`.
    UnknownFamily,
    /// An address of the other family behind `ipv4@` or `ipv6@`.
    FamilyMismatch,
    /// No port, and the caller gave no default.
    MissingPort,
    /// Nothing behind the `:` (`127.0.0.1:`).
    EmptyPort,
    /// A port where only a host may stand.
    UnexpectedPort,
    /// A `-` where only a host may stand, which cannot be left out.
    UnexpectedOptional,
    /// Something other than digits in place of a port.
    InvalidPort,
    /// A port with a sign (`+80`, `-1`).
    SignedPort,
    /// A port with leading zeros (`080`).
    LeadingZeroPort,
    /// A port over 65535.
    PortTooLarge,
    /// A port range that ends before it starts (`90-80`).
    ReversedRange,
    /// A port range that starts at 0, which stands for any free port.
    RangeFromZero,
    /// An unbracketed IPv6 text that may end in a port (`::1:80`).
    AmbiguousIpv6,
    /// An IPv6 address with a port and without brackets (`:::80`).
    UnbracketedIpv6,
    /// A `[` without its `]`.
    UnclosedBracket,
    /// A bracket where none may stand (`::1]:80`).
    UnopenedBracket,
    /// Something other than a port behind the `]` (`[::1]80`).
    AfterBracket,
    /// Brackets around something other than IPv6 (`[127.0.0.1]:80`).
    NotIpv6InBrackets,
    /// Not an IPv6 address (`[fe80:::1]:80`).
    InvalidIpv6,
    /// Not an IPv4 address (`256.0.0.1:80`).
    InvalidIpv4,
    /// A spelling of IPv4 that only `getaddrinfo` reads (`127.1`, `0x7f.1`, `0:80`).
    LegacyIpv4,
    /// An IPv4 address with a leading zero (`010.0.0.1`), decimal to some
    /// programs and octal to others (RFC 6943, section 3.1.1).
    LeadingZeroOctet,
    /// More than one `:` and no IPv6 address (`eth0:8080:ipv4`).
    TooManyColons,
    /// Nothing behind the `%` (`[fe80::1%]:80`).
    EmptyZone,
    /// `%25`, which is how a URL writes `%` (`[fe80::1%25eth0]:80`).
    EncodedZone,
    /// A zone behind the brackets (`[fe80::1]:53%eth0`, as systemd writes it).
    ZoneOutsideBrackets,
    /// A zone on an address that is not link-local, where the kernel drops it.
    ZoneNotLinkLocal,
    /// A numeric zone over 4294967295.
    ZoneTooLarge,
    /// A name longer than one in DNS or, as a zone, than one of an interface can be.
    NameTooLong,
    /// A prefix length over 32, or over 128 for IPv6.
    InvalidPrefixLength,
    /// A network with bits set behind its prefix (`10.1.2.3/8`).
    HostBitsSet,
    /// An IPv4-mapped network (`[::ffff:10.0.0.0/104]:80`).
    MappedNetwork,
    /// An IPv6 network whose brackets do not hold the prefix length (`[fd00::]/8:80`).
    UnbracketedNetwork,
    /// A word in underscores that is none of [`Word`](crate::Word)'s.
    UnknownWord,
}

/// A text in quotes, escaped, and cut in the middle where it is long.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", shown(self.0))
    }
}

/// Returns `text` fit for one line: escaped, and cut after 64 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    if text.chars().nth(64).is_some() {
        shown.push('…');
    }
    shown
}

/// What a [`ParseError`] says after the text.
struct Sentence<'a>(&'a ParseError);

impl fmt::Display for Sentence<'_> {
    #[allow(clippy::too_many_lines)] // one arm a sentence
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use ParseErrorKind as Kind;

        let ParseError {
            text,
            span,
            kind,
            host_only,
        } = self.0;
        let (before, part, after) = (&text[..span.start], &text[span.clone()], &text[span.end..]);
        let (shown_part, at) = (shown(part), span.start);
        let before_colon = || part.rsplit_once(':').unwrap_or((part, ""));
        // What stands for any port in an example, where a port may stand.
        let a_port = if *host_only { "" } else { ":8080" };
        match kind {
            Kind::Empty => write!(
                f,
                "it is empty; write `*{a_port}` for every address or `127.0.0.1{a_port}` for this host only"
            ),
            Kind::List => write!(
                f,
                "one address may stand here, and the `,` at byte {at} begins another"
            ),
            Kind::PortAlone => write!(
                f,
                "a port alone stands for every address, and behind another address it may be meant for that one: \
                 write that address with it, or `*:{part}` if every address is meant"
            ),
            // What is joined across it would be another text.
            Kind::WhiteSpace if is_between_words(before, after) => write!(
                f,
                "white space stands at byte {at}, and one address has none"
            ),
            Kind::WhiteSpace => write!(f, "white space stands at byte {at}; leave it off"),
            Kind::ControlCharacter => {
                write!(f, "the control character `{shown_part}` stands at byte {at}; leave it off")
            }
            Kind::NonAscii if before.contains('%') => write!(
                f,
                "`{shown_part}` at byte {at} is not ASCII; write the index of the zone"
            ),
            Kind::NonAscii => write!(
                f,
                "`{shown_part}` at byte {at} is not ASCII; leave it off, or write it in ASCII"
            ),
            Kind::InvalidCharacter => write!(
                f,
                "`{shown_part}` at byte {at} belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"
            ),
            Kind::Url => write!(
                f,
                "it is a URL; leave off `{shown_part}` and what follows the port"
            ),
            Kind::Path => write!(f, "it has a path; leave off `{shown_part}`"),
            Kind::UnixSocket => {
                f.write_str("it is a Unix socket; only internet addresses are read here")
            }
            Kind::EmptyHost => {
                let port = match format!("*{after}").parse::<ListenAddr>() {
                    Ok(_) if !host_only => after,
                    _ => a_port,
                };
                write!(
                    f,
                    "the host is empty, as when a variable is unset; write `{before}*{port}` if every address is meant"
                )
            }
            Kind::UnknownFamily => write!(
                f,
                "`{shown_part}@` is no address family; the families are `ipv4@` and `ipv6@`"
            ),
            Kind::FamilyMismatch => write!(
                f,
                "`{shown_part}` is not of the family before the `@`; leave off `{}`",
                before.trim_start_matches('-')
            ),
            Kind::MissingPort if part.contains(':') && !part.starts_with('[') => {
                write!(f, "the port is missing; write `{before}[{part}]:8080`")
            }
            Kind::MissingPort => {
                write!(f, "the port is missing; write `{before}{part}:8080`")
            }
            Kind::EmptyPort => f.write_str("the port is empty; write a number from 0 to 65535"),
            Kind::UnexpectedPort if part.is_empty() => {
                f.write_str("only a host may stand here; leave off the `:`")
            }
            Kind::UnexpectedPort => write!(
                f,
                "only a host may stand here; leave off the port `{shown_part}`"
            ),
            Kind::UnexpectedOptional => {
                f.write_str("only a host may stand here, and it is not optional; leave off the `-`")
            }
            Kind::InvalidPort => write!(
                f,
                "`{shown_part}` is no port; write a number from 0 to 65535"
            ),
            Kind::SignedPort => write!(
                f,
                "the port `{shown_part}` has a sign; write digits only"
            ),
            Kind::LeadingZeroPort => write!(
                f,
                "the port `{shown_part}` has leading zeros; write `{}`",
                shown(without_zeros(part))
            ),
            Kind::PortTooLarge => {
                write!(f, "the port `{shown_part}` is too large; ports end at 65535")
            }
            Kind::ReversedRange => {
                write!(f, "the port range `{shown_part}` ends before it starts; write the lower port first")
            }
            Kind::RangeFromZero => write!(
                f,
                "the port range `{shown_part}` starts at 0, which is any free port; start at 1, or write `0`"
            ),
            Kind::AmbiguousIpv6 => {
                let (ip, port) = before_colon();
                let port = without_zeros(port);
                write!(
                    f,
                    "it reads as the address `{part}` without a port and as `{ip}` with port {port}; \
                     write `{}` or `{}`",
                    behind(before, &format!("[{part}]:8080")),
                    behind(before, &format!("[{ip}]:{port}"))
                )
            }
            Kind::UnbracketedIpv6 => {
                let (ip, port) = before_colon();
                write!(
                    f,
                    "an IPv6 address with a port stands in brackets; write `{}`",
                    behind(before, &format!("[{ip}]:{port}"))
                )
            }
            Kind::UnclosedBracket => f.write_str("the `[` is never closed; an IPv6 address stands between `[` and `]`"),
            Kind::UnopenedBracket => write!(
                f,
                "the `{part}` at byte {at} is out of place; brackets stand around an IPv6 address, as in `[::1]:8080`"
            ),
            Kind::AfterBracket => write!(
                f,
                "only a `:` and a port may follow the `]`, not `{shown_part}`"
            ),
            Kind::NotIpv6InBrackets => write!(
                f,
                "brackets are for IPv6 addresses, and `{shown_part}` is none; leave them off"
            ),
            Kind::InvalidIpv6 => write!(f, "`{shown_part}` is not an IPv6 address, which has up to eight groups as in `2001:db8::1`"),
            Kind::InvalidIpv4 => write!(f, "`{shown_part}` is not an IPv4 address, which has four numbers up to 255 as in `127.0.0.1`"),
            Kind::LegacyIpv4 => write!(
                f,
                "`{shown_part}` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"
            ),
            Kind::LeadingZeroOctet => write!(
                f,
                "`{shown_part}` has a leading zero, which some programs read as octal; write `{}`",
                shown(without_zeros(part))
            ),
            Kind::TooManyColons => {
                f.write_str("only IPv6 addresses have more than one `:`; between host and port there is one")
            }
            Kind::EmptyZone => f.write_str("no zone follows the `%`; name an interface, as in `%eth0`"),
            Kind::EncodedZone => write!(
                f,
                "`%25` is how a URL writes `%`; write `%{}`",
                shown(&part["25".len()..])
            ),
            Kind::ZoneOutsideBrackets => {
                let (address, port) = before.split_once(']').unwrap_or((before, ""));
                let mend = format!("{address}{part}]{port}{after}");
                write!(f, "the zone stands inside the brackets, behind the address")?;
                if is_read(&mend) {
                    write!(f, "; write `{mend}`")
                } else {
                    write!(f, ", as in `[fe80::1{shown_part}]`")
                }
            }
            Kind::ZoneNotLinkLocal
                if before.ends_with("*%") && part.starts_with(char::is_alphabetic) && is_read(part) =>
            {
                write!(
                    f,
                    "only link-local addresses have a zone; write `{part}` for the addresses of that interface"
                )
            }
            Kind::ZoneNotLinkLocal => write!(
                f,
                "only link-local addresses have a zone; leave off `%{shown_part}`"
            ),
            Kind::ZoneTooLarge => write!(f, "`{shown_part}` is too large for an interface index; name the interface, as in `%eth0`"),
            Kind::NameTooLong => write!(
                f,
                "`{shown_part}` has {} bytes, more than {} can have; shorten it, or write an address",
                part.len(),
                if before.ends_with('%') { "the name of an interface" } else { "a name" }
            ),
            Kind::InvalidPrefixLength => write!(
                f,
                "`{shown_part}` is no prefix length; they end at 32 for IPv4 and at 128 for IPv6"
            ),
            Kind::HostBitsSet => {
                let (ip, len) = part.split_once('/').unwrap_or((part, ""));
                let network = match (ip.parse(), len.parse()) {
                    (Ok(ip), Ok(len)) => Network::containing(ip, len).to_string(),
                    _ => part.to_owned(),
                };
                let (open, close) = if ip.contains(':') { ("[", "]") } else { ("", "") };
                write!(
                    f,
                    "`{part}` has bits set behind its prefix; write `{open}{network}{close}` for the network or `{open}{ip}{close}` for the address"
                )
            }
            Kind::MappedNetwork => {
                f.write_str("IPv4-mapped networks hold no address of a host; write the IPv4 network")
            }
            Kind::UnbracketedNetwork => f.write_str(
                "an IPv6 network stands in brackets with its prefix length, as in `[fd00::/8]:8080`",
            ),
            Kind::UnknownWord => write!(
                f,
                "`{shown_part}` is no word; the words are `_local_`, `_private_`, `_public_` and `_default_`"
            ),
        }
    }
}

fn is_read(mend: &str) -> bool {
    ListenAddr::parse_with_default_port(mend, 0).is_ok()
}

/// Returns an address with the `-` and the family that stood before it, if they fit.
fn behind(before: &str, address: &str) -> String {
    let whole = format!("{before}{address}");
    if is_read(&whole) {
        whole
    } else {
        address.to_owned()
    }
}

/// Tells whether both sides of white space are more than parts of one address, as in `::1 8080`.
fn is_between_words(before: &str, after: &str) -> bool {
    let after = after.trim_start();
    !before.is_empty() && !after.is_empty() && !before.ends_with(':') && !after.starts_with(':')
}

fn without_zeros(digits: &str) -> &str {
    match digits.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    }
}
