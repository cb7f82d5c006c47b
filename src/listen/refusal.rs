//! The refusal of a text: its kind, its place, and the sentence that says how to write it.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use super::parse::{PortRule, is_port_alone, parse};
use super::{Host, ListenAddr};
use crate::diagnose::{Hint, HintKind};
use crate::network::Network;

/// A text that is not a listen address.
///
/// The message is one sentence: the text, what is wrong with it, and what was probably meant as
/// a complete setting, which [`hints`](Self::hints) has as a value. The user name and the password of a
/// URL are not shown.
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

    /// Returns the text with `***` in place of what a URL has before the `@` of its host, a user name and a
    /// password: for a log, as the message has it.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = "redis://:s3cret@cache:6379".parse::<bindaddr::ListenAddr>().unwrap_err();
    /// assert_eq!(err.without_credentials(), "redis://***@cache:6379");
    /// assert!(!err.to_string().contains("s3cret"));
    /// ```
    #[must_use]
    pub fn without_credentials(&self) -> Cow<'_, str> {
        without_credentials(&self.text)
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

/// The sentence, so that a `main` that returns the error prints it, and no password.
impl fmt::Debug for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns `text` fit for one line of a log or a terminal: escaped, cut after 64 characters, and without the
/// user name and the password of a URL.
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

/// Returns the text with `***` in place of the user name and the password of a URL (RFC 3986, section 3.2.1), also if
/// its scheme is missing.
pub(crate) fn without_credentials(text: &str) -> Cow<'_, str> {
    match credentials(text) {
        Some(Range { start, end }) => format!("{}***{}", &text[..start], &text[end..]).into(),
        None => text.into(),
    }
}

/// Returns the place of the user name and the password: up to the last `@`, because a password that was not encoded
/// may have one itself, or a `/`.
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

/// A text to write in place of one that is refused.
struct Suggestion {
    text: String,
    /// The case that it is for, if there are several or it names more than was written.
    purpose: String,
    is_wider: bool,
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joint = if self.purpose.is_empty() { "" } else { " " };
        write!(f, "`{}`{joint}{}", shown(&self.text), self.purpose)
    }
}

impl ParseError {
    /// Returns the texts to write instead, where one can be derived: each is complete and is read in the same place.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Hint, ListenAddr};
    ///
    /// let err = "::1:80".parse::<ListenAddr>().unwrap_err();
    /// let hints = err.hints();
    /// let instead: Vec<_> = hints.iter().filter_map(Hint::replacement).collect();
    /// assert_eq!(instead, ["[::1:80]:8080", "[::1]:80"]);
    /// ```
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

    /// Returns the text if it is read where this one was refused, with a port if that is all it lacks.
    fn read(&self, text: &str) -> Option<String> {
        match parse(text, self.rule) {
            Ok(_) => Some(text.to_owned()),
            Err(error) if error.kind == ParseErrorKind::MissingPort => {
                let text = format!("{text}:8080");
                parse(&text, self.rule).is_ok().then_some(text)
            }
            Err(_) => None,
        }
    }

    /// Returns `true` if a text names every address of the host, or of a family, and this one did not.
    fn is_new_wildcard(&self, text: &str) -> bool {
        let is_of_port = matches!(
            self.kind,
            ParseErrorKind::WhiteSpace
                | ParseErrorKind::ControlCharacter
                | ParseErrorKind::LeadingZeroPort
                | ParseErrorKind::ReversedRange
                | ParseErrorKind::Path
        );
        let was_written = self.text.contains('*')
            || ["0.0.0.0", "::", "/0"]
                .iter()
                .any(|all| self.text.contains(all))
            || is_port_alone(text) && is_of_port;
        names_every_address(text) && !was_written
    }

    #[allow(clippy::too_many_lines)] // one arm a mistake
    fn suggestions(&self) -> Vec<Suggestion> {
        let read = |text: &str, purpose: &str, is_wider: bool| {
            let text = self.read(text)?;
            let is_new = !is_wider && self.is_new_wildcard(&text);
            Some(Suggestion {
                text,
                purpose: if is_new { "for every address" } else { purpose }.to_owned(),
                is_wider: is_wider || is_new,
            })
        };
        let plain = |text: &str| read(text, "", false).into_iter().collect();
        // A password may have a `/` or an `@`, so that the host is not where it seems to be.
        if credentials(&self.text).is_some() {
            return Vec::new();
        }
        let (before, part, after) = self.parts();
        let port = match self.rule {
            PortRule::Forbidden => "",
            PortRule::Required | PortRule::Default(_) => ":8080",
        };
        match self.kind {
            ParseErrorKind::Empty => {
                let here = read(&format!("127.0.0.1{port}"), "for this host only", false);
                let every = read(&format!("*{port}"), "for every address", true);
                [here, every].into_iter().flatten().collect()
            }
            ParseErrorKind::PortAlone => {
                let same = self
                    .follows
                    .as_ref()
                    .and_then(|host| read(&format!("{host}:{part}"), "for that address", false));
                let every = read(&format!("*:{part}"), "for every address", true);
                [same, every].into_iter().flatten().collect()
            }
            ParseErrorKind::EmptyHost => {
                let both = |before: &str, after: &str| {
                    let here = format!("{before}localhost{after}");
                    let here = read(&here, "for this host only", false);
                    let every = read(&format!("{before}*{after}"), "for every address", true);
                    [here, every].into_iter().flatten().collect::<Vec<_>>()
                };
                let whole = both(before, after);
                if whole.is_empty() {
                    both("", port)
                } else {
                    whole
                }
            }
            // Two parts joined across white space would be another text.
            ParseErrorKind::WhiteSpace | ParseErrorKind::ControlCharacter
                if !is_around_the_port(before, after) =>
            {
                Vec::new()
            }
            ParseErrorKind::WhiteSpace
            | ParseErrorKind::ControlCharacter
            | ParseErrorKind::NonAscii => {
                let is_blank = |c: char| c.is_whitespace() || c.is_control();
                let (before, after) = (before.trim_matches(is_blank), after.trim_matches(is_blank));
                let is_edge = before.is_empty() || after.is_empty();
                // Quotes, spaces and marks. A letter is a part of a name, and a dash may be meant for a `-`.
                let is_mark = |c| matches!(c, '\u{2000}'..='\u{206f}' | '\u{feff}' | '«' | '»');
                let is_dash = |c| matches!(c, '\u{2010}'..='\u{2015}');
                let is_typo = part.chars().all(|c| is_mark(c) && !is_dash(c));
                if self.kind == ParseErrorKind::NonAscii && !(is_edge && is_typo) {
                    return Vec::new();
                }
                plain(&format!("{before}{after}"))
            }
            ParseErrorKind::Url => self.authority().as_deref().map_or_else(Vec::new, plain),
            ParseErrorKind::Path => without_path(before, part, after)
                .as_deref()
                .map_or_else(Vec::new, plain),
            ParseErrorKind::UnknownFamily => {
                // `ip addr` writes `eth0@if5`.
                let link = after.strip_prefix("@if").unwrap_or_default();
                let rest = link.trim_start_matches(|c: char| c.is_ascii_digit());
                let is_index =
                    rest.len() < link.len() && (rest.is_empty() || rest.starts_with(':'));
                if !is_index {
                    return Vec::new();
                }
                plain(&format!("{before}{part}{rest}"))
            }
            ParseErrorKind::FamilyMismatch => {
                let optional = if before.starts_with('-') { "-" } else { "" };
                let ip = part
                    .trim_start_matches('[')
                    .trim_end_matches(']')
                    .parse::<IpAddr>();
                // The wildcard of the other family means the wildcard of this one.
                if ip.is_ok_and(|ip| ip.is_unspecified()) {
                    return plain(&format!("{before}*{after}"));
                }
                // Another spelling of every address, such as a network of no bits.
                if names_every_address(part) {
                    return Vec::new();
                }
                plain(&format!("{optional}{part}{after}"))
            }
            ParseErrorKind::MissingPort if part.contains(':') && !part.starts_with('[') => {
                plain(&format!("{before}[{part}]"))
            }
            ParseErrorKind::MissingPort => plain(&self.text),
            ParseErrorKind::EmptyPort if before.ends_with(':') && after.is_empty() => {
                plain(&format!("{before}8080"))
            }
            ParseErrorKind::UnexpectedPort => plain(&format!(
                "{}{after}",
                before.strip_suffix(':').unwrap_or(before)
            )),
            ParseErrorKind::UnexpectedOptional => plain(after),
            ParseErrorKind::SignedPort if before.is_empty() && after.is_empty() => {
                plain(part.trim_start_matches(['+', '-']))
            }
            ParseErrorKind::SignedPort => match part.strip_prefix('+') {
                Some(port) => plain(&format!("{before}{port}{after}")),
                None => Vec::new(),
            },
            ParseErrorKind::LeadingZeroPort => {
                plain(&format!("{before}{}{after}", without_zeros(part)))
            }
            ParseErrorKind::ReversedRange => {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                plain(&format!("{before}{last}-{first}{after}"))
            }
            ParseErrorKind::AmbiguousIpv6 => {
                let (ip, port) = part.rsplit_once(':').unwrap_or((part, ""));
                let port = without_zeros(port);
                let with_port = format!("for port {port}");
                let address = read(&format!("{before}[{part}]"), "for the address", false);
                let with_port = read(&format!("{before}[{ip}]:{port}"), &with_port, false);
                [address, with_port].into_iter().flatten().collect()
            }
            ParseErrorKind::UnbracketedIpv6 => {
                let (ip, port) = part.rsplit_once(':').unwrap_or((part, ""));
                plain(&format!("{before}[{ip}]:{port}"))
            }
            ParseErrorKind::UnopenedBracket if part == "]" => {
                let (prefix, ip) = split_prefix(before);
                plain(&format!("{prefix}[{ip}]{after}"))
            }
            ParseErrorKind::AfterBracket => plain(&format!("{before}:{part}{after}")),
            ParseErrorKind::NotIpv6InBrackets => {
                let before = before.strip_suffix('[').unwrap_or(before);
                plain(&format!(
                    "{before}{part}{}",
                    after.strip_prefix(']').unwrap_or(after)
                ))
            }
            ParseErrorKind::LeadingZeroOctet => {
                let decimal = format!("{before}{}{after}", without_zeros(part));
                match parse(&decimal, self.rule) {
                    // Another octet has one, too.
                    Err(error) if error.kind == self.kind => error.suggestions(),
                    _ => read(&decimal, "if that is decimal", false)
                        .into_iter()
                        .collect(),
                }
            }
            ParseErrorKind::EncodedZone => plain(&format!(
                "{before}{}{after}",
                part.strip_prefix("25").unwrap_or(part)
            )),
            ParseErrorKind::ZoneOutsideBrackets => {
                let (address, port) = before.split_once(']').unwrap_or((before, ""));
                let inside = format!("{address}{part}]{port}{after}");
                match parse(&inside, self.rule) {
                    Err(error) if error.kind == ParseErrorKind::ZoneNotLinkLocal => {
                        error.suggestions()
                    }
                    _ => plain(&inside),
                }
            }
            ParseErrorKind::ZoneNotLinkLocal => self
                .without_zone()
                .map_or_else(Vec::new, |(text, purpose)| {
                    read(&text, purpose, false).into_iter().collect()
                }),
            ParseErrorKind::HostBitsSet => {
                let (ip, len) = part.split_once('/').unwrap_or((part, ""));
                let (Ok(addr), Ok(len)) = (ip.parse(), len.parse()) else {
                    return Vec::new();
                };
                let network = Network::containing(addr, len);
                let network = read(
                    &format!("{before}{network}{after}"),
                    "for the network",
                    true,
                );
                let address = read(&format!("{before}{ip}{after}"), "for the address", false);
                [address, network].into_iter().flatten().collect()
            }
            ParseErrorKind::UnbracketedNetwork => {
                let (prefix, network) = match part.strip_prefix('[') {
                    // `[fd00::]/8:80`
                    Some(ip) => (before, format!("{}{after}", ip.trim_end_matches(']'))),
                    None => (before, format!("{part}{after}")),
                };
                match network.rsplit_once(':') {
                    Some((network, port)) if network.contains('/') => {
                        plain(&format!("{prefix}[{network}]:{port}"))
                    }
                    _ => plain(&format!("{prefix}[{network}]")),
                }
            }
            _ => Vec::new(),
        }
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

    /// The host and the port of a URL, with the port that its scheme has where it names none. What stands in place
    /// of a host under a scheme like `fd:` may be none.
    fn authority(&self) -> Option<String> {
        let (before, part, after) = self.parts();
        let scheme = part.strip_suffix("//")?;
        let name = scheme.strip_suffix(':').unwrap_or(scheme);
        if !before.is_empty() || !is_scheme(name) {
            return None;
        }
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        let (family, port) = match name {
            "" | "tcp" | "udp" => ("", ""),
            "tcp4" | "udp4" => ("ipv4@", ""),
            "tcp6" | "udp6" => ("ipv6@", ""),
            "http" | "ws" => ("", ":80"),
            "https" | "wss" => ("", ":443"),
            // Others may mean a family, and have a port that is not known here.
            _ if has_port(authority) && !name.ends_with(['4', '6']) => ("", ""),
            _ => return None,
        };
        let host =
            parse(authority, PortRule::Required).or_else(|_| parse(authority, PortRule::Forbidden));
        let is_whole = matches!(rest, "" | "/");
        if !names_an_address(&host.ok()?) || !is_whole && is_meant(authority, rest) {
            return None;
        }
        let port = if has_port(authority) || self.rule == PortRule::Forbidden {
            ""
        } else {
            port
        };
        Some(format!("{family}{authority}{port}"))
    }

    /// The setting without a zone that means nothing. `ss` writes `0.0.0.0%eth0:80` for a wildcard socket on an
    /// interface, and without the zone that would be every interface.
    fn without_zone(&self) -> Option<(String, &'static str)> {
        let (before, zone, after) = self.parts();
        let before = before.strip_suffix('%')?;
        let (prefix, ip) = split_prefix(before);
        let bare = ip.trim_start_matches('[');
        let is_wildcard = bare == "*"
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_unspecified());
        // A port alone is every address, too.
        if is_port_alone(ip) {
            return None;
        }
        if !is_wildcard {
            let is_bare_ipv6 = ip.parse::<Ipv6Addr>().is_ok();
            let host = if is_bare_ipv6 {
                format!("[{ip}]")
            } else {
                ip.to_owned()
            };
            return Some((format!("{prefix}{host}{after}"), ""));
        }
        if !zone.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        let is_ipv4 = bare
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.to_canonical().is_ipv4());
        let family = if is_ipv4 && !prefix.ends_with('@') {
            "ipv4@"
        } else {
            ""
        };
        let after = after.strip_prefix(']').unwrap_or(after);
        let text = format!("{prefix}{family}{zone}{after}");
        // An interface may be called `localhost`, which is no name of one here.
        let is_name = |addr: ListenAddr| matches!(addr.host(), Host::Name(name) if name == zone);
        let is_interface = parse(&text, PortRule::Default(0)).is_ok_and(is_name);
        is_interface.then_some((text, "for the addresses of that interface"))
    }
}

/// Splits the `-` and the family off.
fn split_prefix(text: &str) -> (&str, &str) {
    let start = match text.rfind('@') {
        Some(at) => at + 1,
        None => usize::from(text.starts_with('-')),
    };
    text.split_at(start)
}

/// The text without its path. What follows the `/` may be meant: the path of `iface/eth0` is an interface, and that of
/// `10.0.0.0/255.0.0.0` a mask.
fn without_path(before: &str, part: &str, after: &str) -> Option<String> {
    // Go writes the network before the address.
    let path = part.strip_prefix('/').unwrap_or(part);
    let family = match before {
        "tcp" | "udp" => Some(""),
        "tcp4" | "udp4" => Some("ipv4@"),
        "tcp6" | "udp6" => Some("ipv6@"),
        _ => None,
    };
    if let Some(family) = family {
        return Some(format!("{family}{path}{after}"));
    }
    let is_known = matches!(path, "" | "tcp" | "udp");
    let addr = parse(before, PortRule::Required).or_else(|_| parse(before, PortRule::Forbidden));
    let is_plain = addr.is_ok_and(|addr| names_an_address(&addr) || has_port(before));
    let is_rest = is_known || is_plain && !is_meant(before, part);
    (after.is_empty() && is_rest).then(|| before.to_owned())
}

/// Returns `true` if what follows a host may be a part of what is meant: the length of a network, a mask, a family, or
/// an interface beside a wildcard.
fn is_meant(host: &str, path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.starts_with(|c: char| c.is_ascii_digit())
        || path.ends_with(['4', '6'])
        || names_every_address(host)
}

fn has_port(text: &str) -> bool {
    text.contains(':') && parse(text, PortRule::Required).is_ok()
}

/// Returns `true` for a host that is more than a name.
fn names_an_address(addr: &ListenAddr) -> bool {
    !matches!(addr.host(), Host::Name(_))
}

/// Returns `true` if a text names every address of a host, or of a family.
fn names_every_address(text: &str) -> bool {
    let addr = parse(text, PortRule::Default(0)).or_else(|_| parse(text, PortRule::Forbidden));
    addr.is_ok_and(|addr| match addr.host() {
        Host::Any => true,
        Host::Ip { ip, .. } => ip.to_canonical().is_unspecified(),
        Host::Network(network) => network.prefix_len() == 0,
        Host::Localhost | Host::Name(_) | Host::Word(_) => false,
    })
}

/// Returns `true` if the characters between `before` and `after` are at an end of the text, or next to the `:`
/// before the port.
fn is_around_the_port(before: &str, after: &str) -> bool {
    let (before, after) = (before.trim(), after.trim());
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    before.is_empty()
        || after.is_empty()
        || (before.ends_with(':') && !before.ends_with("::") && is_port(after))
        || after.strip_prefix(':').is_some_and(is_port)
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

    let (before, part, _) = error.parts();
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
        Kind::List => write!(f, "expected one address, and the `,` at byte {at} begins another"),
        Kind::PortAlone => f.write_str(
            "a port alone names every address, and after another address it may be meant for that one",
        ),
        Kind::WhiteSpace => write!(f, "unexpected white space at byte {at}"),
        Kind::ControlCharacter => write!(f, "unexpected control character `{shown_part}` at byte {at}"),
        Kind::NonAscii if before.contains('%') => write!(
            f,
            "`{shown_part}` at byte {at} is not ASCII; write the index of the zone"
        ),
        Kind::NonAscii => write!(f, "`{shown_part}` at byte {at} is not ASCII"),
        Kind::InvalidCharacter if part == "$" => write!(
            f,
            "unexpected `$` at byte {at} (an environment variable that was not expanded?)"
        ),
        Kind::InvalidCharacter => write!(
            f,
            "unexpected `{shown_part}` at byte {at}; a name has letters, digits, `.`, `_` and `-`"
        ),
        Kind::Url => f.write_str("expected an address, not a URL"),
        Kind::Path => write!(f, "unexpected path `{shown_part}`"),
        Kind::UnixSocket => f.write_str("it is a Unix socket; only internet addresses are read here"),
        Kind::EmptyHost => f.write_str("the host is empty, as when a variable is unset"),
        Kind::UnknownFamily if part.contains(':') => f.write_str(
            "`@` is preceded by something other than an address family; the families are `ipv4@` and `ipv6@`",
        ),
        Kind::UnknownFamily => write!(
            f,
            "`{shown_part}@` is not an address family; the families are `ipv4@` and `ipv6@`"
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
        Kind::UnexpectedOptional => f.write_str("expected a host, which cannot be optional (`-`)"),
        Kind::InvalidPort => write!(f, "`{shown_part}` is not a port, which is a number from 0 to 65535"),
        Kind::SignedPort => write!(f, "the port `{shown_part}` has a sign"),
        Kind::LeadingZeroPort => write!(f, "the port `{shown_part}` has leading zeros"),
        Kind::PortTooLarge => write!(f, "the port `{shown_part}` is too large; the largest is 65535"),
        Kind::ReversedRange => write!(f, "the port range `{shown_part}` ends before it starts"),
        Kind::RangeFromZero => write!(
            f,
            "the port range `{shown_part}` starts at 0, which asks for any free port"
        ),
        Kind::AmbiguousIpv6 => {
            let (ip, port) = part.rsplit_once(':').unwrap_or((part, ""));
            let port = without_zeros(port);
            write!(f, "it reads as the address `{part}` without a port and as `{ip}` with port {port}")
        }
        Kind::UnbracketedIpv6 => f.write_str("an IPv6 address with a port needs brackets"),
        Kind::UnclosedBracket => f.write_str("the `[` is never closed; an IPv6 address is written `[::1]:8080`"),
        Kind::UnopenedBracket => write!(
            f,
            "unexpected `{part}` at byte {at}; brackets are written around an IPv6 address, as in `[::1]:8080`"
        ),
        Kind::AfterBracket => write!(f, "expected a `:` and a port after the `]`, not `{shown_part}`"),
        Kind::NotIpv6InBrackets => {
            write!(f, "brackets are for IPv6 addresses, and `{shown_part}` is not one")
        }
        Kind::InvalidIpv6 => write!(
            f,
            "`{shown_part}` is not an IPv6 address, which has up to eight groups as in `2001:db8::1`"
        ),
        Kind::InvalidIpv4 => write!(
            f,
            "`{shown_part}` is not an IPv4 address, which has four numbers up to 255 as in `127.0.0.1`"
        ),
        Kind::LegacyIpv4 => write!(
            f,
            "`{shown_part}` is a number; an IPv4 address has four decimal numbers, as in `127.0.0.1`"
        ),
        Kind::LeadingZeroOctet => write!(
            f,
            "`{shown_part}` has a leading zero, which some programs read as octal"
        ),
        Kind::TooManyColons => f.write_str("only IPv6 addresses have more than one `:`"),
        Kind::EmptyZone => f.write_str("the zone after `%` is empty; name an interface, as in `%eth0`"),
        Kind::EncodedZone => f.write_str("`%25` is the spelling of `%` in a URL"),
        Kind::ZoneOutsideBrackets => f.write_str("the zone belongs inside the brackets, after the address"),
        Kind::ZoneNotLinkLocal => f.write_str("only link-local addresses have a zone"),
        Kind::ZoneTooLarge => write!(
            f,
            "`{shown_part}` is too large for an interface index; name the interface, as in `%eth0`"
        ),
        Kind::NameTooLong => write!(
            f,
            "`{shown_part}` has {} bytes, more than {} can have",
            part.len(),
            if before.ends_with('%') { "the name of an interface" } else { "a name" }
        ),
        Kind::InvalidPrefixLength => write!(
            f,
            "`{shown_part}` is not a prefix length; the longest is 32 for IPv4 and 128 for IPv6"
        ),
        Kind::HostBitsSet => write!(f, "`{shown_part}` has bits set after its prefix"),
        Kind::MappedNetwork => {
            f.write_str("no host has an address in an IPv4-mapped network; write the IPv4 network")
        }
        Kind::UnbracketedNetwork => f.write_str("an IPv6 network is written in brackets, with its prefix length"),
        Kind::UnknownWord => write!(
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
