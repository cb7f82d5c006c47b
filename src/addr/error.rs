//! The refusal of a text: its kind, its place, and the sentence that says how to write it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::ops::Range;

mod suggestion;

use super::ListenAddr;
use super::parse::{DNS_NAME_MAX, INTERFACE_NAME_MAX, PortRule};
use super::template::{is_unset, shown_by_ip};
use crate::hint::{Hint, HintKind};

/// A text that is not a listen address.
///
/// The message is one sentence: the text, what is wrong with it, and what to write instead if that
/// can be derived, which [`hints`](Self::hints) returns as values. The user name and the password
/// of a URL are not shown.
///
/// # Examples
///
/// ```
/// use bindaddr::addr::ParseErrorKind;
/// use bindaddr::ListenAddr;
///
/// let err = "127.0.0.1:65536".parse::<ListenAddr>().unwrap_err();
/// assert_eq!(err.kind(), ParseErrorKind::PortTooLarge);
/// assert_eq!(err.text(), "127.0.0.1:65536");
/// assert_eq!(&err.text()[err.span()], "65536");
/// assert_eq!(
///     err.to_string(),
///     "invalid listen address \"127.0.0.1:65536\": the port `65536` is too large; the largest is 65535",
/// );
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid listen address \"{}\": {}", shown(.text), Sentence(self))]
pub struct ParseError {
    text: Box<str>,
    span: Range<usize>,
    kind: ParseErrorKind,
    rule: PortRule,
    /// The host that a port alone follows in a list.
    follows: Option<Box<str>>,
}

impl From<ParseError> for io::Error {
    /// Keeps the whole error inside; the kind is [`InvalidInput`](io::ErrorKind::InvalidInput).
    fn from(err: ParseError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, err)
    }
}

impl ParseError {
    pub(super) fn new(
        text: &str,
        span: Range<usize>,
        kind: ParseErrorKind,
        rule: PortRule,
    ) -> Self {
        Self {
            text: text.into(),
            span,
            kind,
            rule,
            follows: None,
        }
    }

    /// Refuses a port alone that follows an address in the same text of a list.
    pub(super) fn port_alone(text: &str, follows: Option<&ListenAddr>, rule: PortRule) -> Self {
        let host = |addr: &ListenAddr| Some(addr.to_string().rsplit_once(':')?.0.into());
        Self {
            follows: follows.and_then(host),
            ..Self::new(text, 0..text.len(), ParseErrorKind::PortAlone, rule)
        }
    }

    /// Returns the text as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text with `***` in place of what a URL has before the `@` of its host, a user
    /// name and a password: for a log, as the message has it.
    #[must_use]
    pub fn without_credentials(&self) -> Cow<'_, str> {
        without_credentials(&self.text)
    }

    /// Returns the place of the mistake, in bytes of [`text`](Self::text).
    ///
    /// It is empty where something is missing.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Returns the kind of the mistake.
    #[must_use]
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }
}

/// The mistake in a text that is not a listen address.
///
/// # Examples
///
/// ```
/// use bindaddr::addr::ParseErrorKind;
/// use bindaddr::ListenAddr;
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
    /// A port alone behind an address in the same text of a list (`127.0.0.1:80,443`), which may be
    /// meant for that address and would open every one.
    PortAlone,
    /// White space (`127.0.0.1 :80`).
    WhiteSpace,
    /// A control character, such as NUL.
    ControlCharacter,
    /// A character outside ASCII.
    NonAscii,
    /// A character that no address and no name has (`$HOST:80`).
    InvalidCharacter,
    /// A placeholder that a program should have replaced (`${HOST}:80`, `{{ host }}:80`,
    /// `%(host)s:80`).
    UnexpandedVariable,
    /// A URL in place of a port (`0.0.0.0:tcp://10.43.0.1:8000`), which is what Kubernetes sets
    /// `NAME_PORT` to.
    ServiceLink,
    /// A socket that a service manager hands over, as other programs name it (`fd://3`,
    /// `sd-listen`).
    InheritedSocket,
    /// A URL (`http://127.0.0.1:80`).
    Url,
    /// An address with a path behind it (`127.0.0.1:80/`).
    Path,
    /// The path of a Unix socket (`/run/server.sock`, `unix:/run/server.sock`, `@abstract`), or
    /// `unix` alone.
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
    /// A `-` where only a host may stand, which cannot be left out, or at the beginning of a name
    /// (`--eth0:80`).
    UnexpectedOptional,
    /// `ipv4@` or `ipv6@` where only a host may stand, which is not restricted to a family.
    UnexpectedFamily,
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
    /// A port range that starts at 0, which means any free port.
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
    /// A word in underscores that is not a [`Keyword`](crate::addr::Keyword).
    UnknownKeyword,
}

/// The sentence, so that a `main` that returns the error prints it, and no password.
impl fmt::Debug for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns `text` fit for one line of a log or a terminal: escaped, cut after 64 characters, and
/// without the user name and the password of a URL.
pub(crate) fn shown(text: &str) -> String {
    let text = without_credentials(text);
    let mut shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
    if text.chars().nth(64).is_some() {
        shown.push('…');
    }
    shown
}

fn is_scheme(name: &str) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Returns the text with `***` in place of the user name and the password of a URL (RFC 3986,
/// section 3.2.1), also if its scheme is missing.
pub(crate) fn without_credentials(text: &str) -> Cow<'_, str> {
    match credentials(text) {
        Some(Range { start, end }) => format!("{}***{}", &text[..start], &text[end..]).into(),
        None => text.into(),
    }
}

/// Returns the place of the user name and the password: up to the last `@`, because a password that
/// was not encoded may have one itself, or a `/`.
pub(super) fn credentials(text: &str) -> Option<Range<usize>> {
    let end = text.rfind('@')?;
    let before = &text[..end];
    let url = before.find("//").filter(|at| {
        // The entry of a list that it is in, up to the `//`.
        let scheme = before[..*at].rsplit([',', ' ', '\t', '\n']).next();
        let scheme = scheme.unwrap_or_default().trim_start_matches('-');
        scheme.is_empty() || scheme.strip_suffix(':').is_some_and(is_scheme)
    });
    match url {
        Some(at) => Some(at + "//".len()..end).filter(|range| !range.is_empty()),
        // `user:password@host:80`; a family has no `:`.
        None => before.contains(':').then_some(0..end),
    }
}

impl ParseError {
    /// Returns the texts to write instead, where one can be derived: each is complete and is read
    /// in the same place.
    #[must_use]
    pub fn hints(&self) -> Vec<Hint> {
        let suggestions = self.suggestions().into_iter();
        suggestions
            .map(|suggestion| {
                let kind = if suggestion.is_wider {
                    HintKind::Widen
                } else {
                    HintKind::Replace
                };
                Hint::replacing(kind, format!("write {suggestion}"), suggestion.text)
            })
            .collect()
    }

    /// The text before the mistake, the mistake, and the text after it.
    fn parts(&self) -> (&str, &str, &str) {
        let (start, end) = (self.span.start, self.span.end);
        (
            &self.text[..start],
            &self.text[start..end],
            &self.text[end..],
        )
    }
}

/// The part of a [`ParseError`]'s message that follows the text.
struct Sentence<'a>(&'a ParseError);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_problem(f, self.0)?;
        let suggestions = self.0.suggestions();
        for (n, suggestion) in suggestions.iter().enumerate() {
            let joint = if n == 0 { "; write" } else { " or" };
            write!(f, "{joint} {suggestion}")?;
        }
        Ok(())
    }
}

#[allow(clippy::too_many_lines)] // one arm a problem
fn write_problem(f: &mut fmt::Formatter<'_>, error: &ParseError) -> fmt::Result {
    use ParseErrorKind as Kind;

    let (before, part, after) = error.parts();
    let at = error.span.start;
    // No part of the credentials.
    let shown_part = match credentials(&error.text) {
        Some(secret) if error.span.start < secret.end && secret.start < error.span.end => {
            "***".to_owned()
        }
        _ => shown(part),
    };
    match error.kind {
        Kind::Empty => f.write_str("it is empty"),
        Kind::List => write!(
            f,
            "expected one address, and the `,` at byte {at} begins another"
        ),
        Kind::PortAlone => f.write_str(
            "ambiguous: a port alone means every address, or belongs to the entry before it",
        ),
        Kind::WhiteSpace => write!(f, "unexpected white space at byte {at}"),
        Kind::ControlCharacter => write!(
            f,
            "unexpected control character `{shown_part}` at byte {at}"
        ),
        Kind::NonAscii if before.contains('%') => write!(
            f,
            "`{shown_part}` at byte {at} is not ASCII; write the index of the zone"
        ),
        Kind::NonAscii => write!(f, "`{shown_part}` at byte {at} is not ASCII"),
        Kind::InvalidCharacter if ["$", "{", "}", "<"].contains(&part) => write!(
            f,
            "unexpected `{part}` at byte {at} (a variable that was not expanded?)"
        ),
        Kind::InvalidCharacter => write!(
            f,
            "unexpected `{shown_part}` at byte {at}; a name has letters, digits, `.`, `_` and `-`"
        ),
        Kind::UnexpandedVariable => write!(f, "the variable `{shown_part}` was not expanded"),
        Kind::ServiceLink => write!(
            f,
            "`{shown_part}` is not a port; Kubernetes sets a variable to such a text for each Service \
             (`enableServiceLinks: false` in the pod stops that)"
        ),
        Kind::InheritedSocket => f.write_str(
            "a socket of the service manager has no name here; write the address of its unit (`ListenStream=`), and \
             a server with socket activation takes the socket",
        ),
        Kind::Url => f.write_str("expected an address, not a URL"),
        Kind::Path => write!(f, "unexpected path `{shown_part}`"),
        Kind::UnixSocket => {
            f.write_str("Unix sockets are not supported here; write an IP address and a port")
        }
        Kind::EmptyHost => f.write_str("the host is empty (an unset environment variable?)"),
        Kind::UnknownFamily if shown_by_ip(part, after.strip_prefix('@').unwrap_or_default()) => {
            let other = after.split(':').next().unwrap_or_default();
            write!(
                f,
                "`{shown_part}{}` is how `ip` shows an interface and its link; the interface is `{shown_part}`",
                shown(other)
            )
        }
        Kind::UnknownFamily if part.contains(':') => {
            f.write_str("unknown address family before `@`; expected `ipv4@` or `ipv6@`")
        }
        Kind::UnknownFamily => write!(
            f,
            "unknown address family `{shown_part}@`; expected `ipv4@` or `ipv6@`"
        ),
        Kind::FamilyMismatch => {
            write!(f, "`{shown_part}` is not of the family before the `@`")
        }
        Kind::MissingPort => f.write_str("the port is missing"),
        Kind::EmptyPort if before.ends_with('-') => f.write_str("the port range has no end"),
        Kind::EmptyPort if !before.ends_with(':') => f.write_str("the port range has no start"),
        Kind::EmptyPort => f.write_str("the port is empty"),
        Kind::UnexpectedPort if part.is_empty() => f.write_str("expected a host without a port"),
        Kind::UnexpectedPort => write!(f, "expected a host without the port `{shown_part}`"),
        Kind::UnexpectedOptional if before.ends_with(['-', '@']) => {
            f.write_str("a name cannot begin with `-`")
        }
        Kind::UnexpectedOptional => {
            f.write_str("unexpected leading `-`; a host cannot be optional here")
        }
        Kind::UnexpectedFamily => write!(f, "expected a host without the family `{shown_part}`"),
        Kind::InvalidPort if is_unset(part) => write!(
            f,
            "`{shown_part}` is not a port (an unset variable?)"
        ),
        Kind::InvalidPort => write!(f, "`{shown_part}` is not a port (a number from 0 to 65535)"),
        Kind::SignedPort => write!(f, "the port `{shown_part}` has a sign"),
        Kind::LeadingZeroPort => write!(f, "the port `{shown_part}` has leading zeros"),
        Kind::PortTooLarge => write!(
            f,
            "the port `{shown_part}` is too large; the largest is 65535"
        ),
        Kind::ReversedRange => write!(f, "the port range `{shown_part}` ends before it starts"),
        Kind::RangeFromZero => write!(
            f,
            "the port range `{shown_part}` starts at 0; start at 1, or write port `0` alone for any free port"
        ),
        Kind::AmbiguousIpv6 => {
            let (ip, port) = part.rsplit_once(':').unwrap_or((part, ""));
            let port = without_zeros(port);
            write!(
                f,
                "ambiguous: the address `{part}` without a port, or `{ip}` with port {port}"
            )
        }
        Kind::UnbracketedIpv6 => f.write_str("an IPv6 address with a port needs brackets"),
        Kind::UnclosedBracket => {
            f.write_str("the `[` is never closed; an IPv6 address is written `[::1]:8080`")
        }
        Kind::UnopenedBracket => write!(
            f,
            "unexpected `{part}` at byte {at}; brackets are written around an IPv6 address, as in `[::1]:8080`"
        ),
        Kind::AfterBracket => write!(
            f,
            "expected a `:` and a port after the `]`, not `{shown_part}`"
        ),
        Kind::NotIpv6InBrackets => {
            write!(
                f,
                "brackets are for IPv6 addresses, and `{shown_part}` is not one"
            )
        }
        Kind::InvalidIpv6 => write!(
            f,
            "`{shown_part}` is not an IPv6 address (eight groups, or fewer with one `::`, as in `2001:db8::1`)"
        ),
        Kind::InvalidIpv4 => write!(
            f,
            "`{shown_part}` is not an IPv4 address (four numbers up to 255, as in `127.0.0.1`)"
        ),
        Kind::LegacyIpv4 => write!(
            f,
            "`{shown_part}` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"
        ),
        Kind::LeadingZeroOctet => write!(
            f,
            "`{shown_part}` has a leading zero, which some programs read as octal"
        ),
        Kind::TooManyColons => f.write_str("only IPv6 addresses have more than one `:`"),
        Kind::EmptyZone => {
            f.write_str("the zone after `%` is empty; name an interface, as in `%eth0`")
        }
        Kind::EncodedZone => f.write_str("`%25` is URL encoding for `%`"),
        Kind::ZoneOutsideBrackets => {
            f.write_str("the zone belongs inside the brackets, after the address")
        }
        Kind::ZoneNotLinkLocal => f.write_str("only link-local addresses have a zone"),
        Kind::ZoneTooLarge => write!(
            f,
            "`{shown_part}` is too large for an interface index; name the interface, as in `%eth0`"
        ),
        Kind::NameTooLong => {
            let (what, longest) = if before.contains('%') {
                ("the name of an interface", INTERFACE_NAME_MAX)
            } else {
                ("a name", DNS_NAME_MAX)
            };
            let len = part.len();
            write!(
                f,
                "`{shown_part}` is too long ({len} bytes); {what} has at most {longest}"
            )
        }
        Kind::InvalidPrefixLength => write!(
            f,
            "`{shown_part}` is not a prefix length; the longest is 32 for IPv4 and 128 for IPv6"
        ),
        Kind::HostBitsSet => write!(f, "`{shown_part}` has host bits set"),
        Kind::MappedNetwork => {
            f.write_str("no host has an address in an IPv4-mapped network; write the IPv4 network")
        }
        Kind::UnbracketedNetwork => {
            f.write_str("an IPv6 network is written in brackets, with its prefix length")
        }
        Kind::UnknownKeyword => write!(
            f,
            "unknown keyword `{shown_part}`; expected one of `_local_`, `_private_`, `_public_`, `_default_`"
        ),
    }
}

fn without_zeros(digits: &str) -> &str {
    match digits.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    }
}
