//! The grammar: from a text to a [`ListenAddr`], or to the mistake in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::{ParseError, ParseErrorKind};
use super::literal::literal;
use super::template::{is_inherited_socket, placeholder, service_link};
use super::{Family, Host, Keyword, ListenAddr, Zone, is_link_scoped};
use crate::addr::network::{Network, addr_bits};

/// The longest name of an interface: `ALTIFNAMSIZ` less its NUL on Linux, where `IFNAMSIZ` holds
/// for the first of its names alone (linux/if.h), and `IFNAMSIZ` elsewhere (netdevice(7)).
pub(super) const INTERFACE_NAME_MAX: usize = if cfg!(windows) {
    255
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    127
} else {
    15
};
/// The longest DNS name in text form (RFC 1035, section 2.3.4).
pub(super) const DNS_NAME_MAX: usize = 253;

/// The parts of a setting that the caller accepts, besides the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortRule {
    /// A port is in the text.
    Required,
    /// A port may be in the text.
    Default(u16),
    /// The port is this one, and not in the text.
    Given(u16),
    /// No port and no `-`.
    Forbidden,
    /// No port, no `-` and no family.
    HostAlone,
}

impl PortRule {
    /// Returns `true` if the text has no port.
    pub(super) fn is_host_only(self) -> bool {
        match self {
            Self::Required | Self::Default(_) => false,
            Self::Given(_) | Self::Forbidden | Self::HostAlone => true,
        }
    }
}

pub(super) fn parse(text: &str, rule: PortRule) -> Result<ListenAddr, ParseError> {
    match (literal(text), rule) {
        (Some((ip, port)), PortRule::Required | PortRule::Default(_)) => Ok(ListenAddr {
            optional: false,
            family: None,
            host: Host::Ip { ip, zone: None },
            first_port: port,
            last_port: port,
        }),
        _ => grammar(text, rule),
    }
}

pub(super) fn grammar(text: &str, rule: PortRule) -> Result<ListenAddr, ParseError> {
    Grammar { text, rule }.listen()
}

/// The rules of the grammar. Each takes a slice of `text`, so that a refusal
/// knows its place by where that slice lies.
struct Grammar<'t> {
    text: &'t str,
    rule: PortRule,
}

impl<'t> Grammar<'t> {
    /// `[ "-" ] [ family "@" ] endpoint`
    fn listen(&self) -> Result<ListenAddr, ParseError> {
        if self.text.is_empty() {
            return self.refuse(ParseErrorKind::Empty, self.text);
        }
        if let Some(part) = placeholder(self.text) {
            return self.refuse(ParseErrorKind::UnexpandedVariable, part);
        }
        if let Some(at) = self.text.find(',') {
            return self.refuse(ParseErrorKind::List, &self.text[at..=at]);
        }
        self.characters()?;
        let (optional, rest) = match self.text.strip_prefix('-') {
            // `-8080` is a slip for `8080`: every host has the wildcard.
            Some(port) if is_port_alone(port) => {
                return self.refuse(ParseErrorKind::SignedPort, self.text);
            }
            Some(_) if matches!(self.rule, PortRule::Forbidden | PortRule::HostAlone) => {
                return self.refuse(ParseErrorKind::UnexpectedOptional, &self.text[..1]);
            }
            Some(rest) => (true, rest),
            None => (false, self.text),
        };
        if is_inherited_socket(rest, self.rule == PortRule::Required) {
            return self.refuse(ParseErrorKind::InheritedSocket, rest);
        }
        if let Some(link) = service_link(rest) {
            return self.refuse(ParseErrorKind::ServiceLink, link);
        }
        let is_path = ["/", "./", "../", "~/", "@", "unix:", "unix/", "unix@"]
            .iter()
            .any(|prefix| rest.starts_with(prefix));
        // `//` precedes the host of a URL without its scheme.
        if rest == "unix" || is_path && !rest.starts_with("//") {
            return self.refuse(ParseErrorKind::UnixSocket, rest);
        }
        let is_url = |at: &usize| *at == 0 || rest[..*at].ends_with(':');
        if let Some(at) = rest.find("//").filter(is_url) {
            return self.refuse(ParseErrorKind::Url, &rest[..at + "//".len()]);
        }
        let (family, endpoint) = match rest.split_once('@') {
            Some(("ipv4", endpoint)) => (Some(Family::Ipv4), endpoint),
            Some(("ipv6", endpoint)) => (Some(Family::Ipv6), endpoint),
            Some((other, _)) => return self.refuse(ParseErrorKind::UnknownFamily, other),
            None => (None, rest),
        };
        let (host, port) = self.split(endpoint)?;
        let literal = match &host {
            Host::Ip { ip, .. } => Some(*ip),
            Host::Network(network) => Some(network.first()),
            _ => None,
        };
        if let (Some(ip), Some(family)) = (literal, family) {
            if Family::of(ip) != family {
                let host = &endpoint[..endpoint.len() - port.map_or(0, |port| port.len() + 1)];
                return self.refuse(ParseErrorKind::FamilyMismatch, host);
            }
        }
        let (first_port, last_port) = match (port, self.rule) {
            (Some(port), rule) if rule.is_host_only() => {
                return self.refuse(ParseErrorKind::UnexpectedPort, port);
            }
            (Some(port), _) => self.ports(port)?,
            (None, PortRule::Required) => {
                return self.refuse(ParseErrorKind::MissingPort, endpoint);
            }
            (None, PortRule::Default(port) | PortRule::Given(port)) => (port, port),
            (None, PortRule::Forbidden | PortRule::HostAlone) => (0, 0),
        };
        if family.is_some() && self.rule == PortRule::HostAlone {
            let family = &rest[..rest.len() - endpoint.len()];
            return self.refuse(ParseErrorKind::UnexpectedFamily, family);
        }
        Ok(ListenAddr {
            optional,
            family,
            host,
            first_port,
            last_port,
        })
    }

    /// No white space, no control character, nothing outside ASCII.
    fn characters(&self) -> Result<(), ParseError> {
        let odd = self
            .text
            .char_indices()
            .find(|(_, c)| !c.is_ascii_graphic());
        let Some((at, c)) = odd else { return Ok(()) };
        let kind = if c.is_whitespace() {
            ParseErrorKind::WhiteSpace
        } else if c.is_control() {
            ParseErrorKind::ControlCharacter
        } else {
            ParseErrorKind::NonAscii
        };
        self.refuse(kind, &self.text[at..at + c.len_utf8()])
    }

    /// `port | host [ ":" port ]`, the port yet to be read.
    fn split(&self, endpoint: &'t str) -> Result<(Host, Option<&'t str>), ParseError> {
        if is_port_alone(endpoint) {
            // A number too large for a port, where only a host may stand, is a host.
            let is_port = !all_digits(endpoint) || endpoint.parse::<u16>().is_ok();
            if self.rule.is_host_only() && !is_port {
                return Ok((self.host(endpoint)?, None));
            }
            return Ok((Host::Any, Some(endpoint)));
        }
        if endpoint.strip_prefix('+').is_some_and(is_port_alone) {
            return self.refuse(ParseErrorKind::SignedPort, endpoint);
        }
        if endpoint.starts_with('[') {
            return self.bracketed(endpoint);
        }
        if let Some(at) = endpoint.find(['[', ']']) {
            return self.refuse(ParseErrorKind::UnopenedBracket, &endpoint[at..=at]);
        }
        match endpoint.split_once(':') {
            Some((_, port)) if port.contains(':') => Ok((self.bare_ipv6(endpoint)?, None)),
            Some((host, port)) => Ok((self.host(host)?, Some(port))),
            None => Ok((self.host(endpoint)?, None)),
        }
    }

    /// `"[" ipv6 [ "%" zone ] "]"` or `"[" ipv6 "/" n "]"`, and what follows it.
    fn bracketed(&self, endpoint: &'t str) -> Result<(Host, Option<&'t str>), ParseError> {
        let Some(close) = endpoint.find(']') else {
            return self.refuse(ParseErrorKind::UnclosedBracket, &endpoint[..1]);
        };
        let (inside, after) = (&endpoint[1..close], &endpoint[close + 1..]);
        if let Some(at) = after.find('%') {
            let zone = after[at..].split(':').next().unwrap_or_default();
            return match zone {
                "%" => self.refuse(ParseErrorKind::EmptyZone, &zone[1..]),
                _ => self.refuse(ParseErrorKind::ZoneOutsideBrackets, zone),
            };
        }
        let port = match after.as_bytes().first() {
            None => None,
            Some(b':') => Some(&after[1..]),
            Some(b'/') => {
                return self.refuse(ParseErrorKind::UnbracketedNetwork, &endpoint[..=close]);
            }
            Some(_) => return self.refuse(ParseErrorKind::AfterBracket, after),
        };
        if inside.is_empty() || inside.starts_with(['%', '/']) {
            return self.refuse(ParseErrorKind::EmptyHost, &endpoint[..=close]);
        }
        if let Some((ip, zone)) = inside.split_once('%') {
            let ip = self.ipv6(ip)?;
            return Ok((self.zoned(ip, zone)?, port));
        }
        if let Some((ip, len)) = inside.split_once('/') {
            let ip = self.ipv6(ip)?;
            return Ok((self.network(IpAddr::V6(ip), inside, len)?, port));
        }
        let ip = IpAddr::V6(self.ipv6(inside)?);
        Ok((Host::Ip { ip, zone: None }, port))
    }

    fn ipv6(&self, text: &'t str) -> Result<Ipv6Addr, ParseError> {
        text.parse().or_else(|_| {
            let kind = if text.contains(':') {
                ParseErrorKind::InvalidIpv6
            } else {
                ParseErrorKind::NotIpv6InBrackets
            };
            self.refuse(kind, text)
        })
    }

    /// An IPv6 address that stands without brackets, hence without a port.
    fn bare_ipv6(&self, endpoint: &'t str) -> Result<Host, ParseError> {
        if let Some((ip, zone)) = endpoint.split_once('%') {
            if let (Ok(ip), false) = (ip.parse(), zone.contains(':')) {
                return self.zoned(ip, zone);
            }
        }
        let (head, tail) = endpoint.rsplit_once(':').unwrap_or((endpoint, ""));
        let (head_ip, zone) = match head.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone)),
            None => (head, None),
        };
        // The address before the last `:`, if what follows can be meant for a port.
        let before_port = head_ip.parse::<Ipv6Addr>().ok();
        let before_port = before_port.filter(|_| all_digits(tail));
        let host_only = self.rule.is_host_only();
        match (endpoint.parse::<Ipv6Addr>(), before_port) {
            // Without a port there is only one reading.
            (Ok(_), Some(_)) if !host_only => self.refuse(ParseErrorKind::AmbiguousIpv6, endpoint),
            (Ok(ip), _) => Ok(Host::Ip {
                ip: IpAddr::V6(ip),
                zone: None,
            }),
            (Err(_), Some(_)) if host_only => self.refuse(ParseErrorKind::UnexpectedPort, tail),
            (Err(_), Some(ip)) => {
                if let Some(zone) = zone {
                    self.zoned(ip, zone)?;
                }
                self.port(tail)?;
                self.refuse(ParseErrorKind::UnbracketedIpv6, endpoint)
            }
            (Err(_), None) => self.no_bare_ipv6(endpoint),
        }
    }

    /// Returns what is wrong with a text that has several `:` and is not an IPv6 address.
    fn no_bare_ipv6(&self, endpoint: &'t str) -> Result<Host, ParseError> {
        let network = endpoint.split_once('/').map(|(ip, _)| ip);
        if network.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()) {
            return self.refuse(ParseErrorKind::UnbracketedNetwork, endpoint);
        }
        self.name_characters(endpoint, b":%/")?;
        let digits = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
        let first = endpoint.split(':').next().unwrap_or_default();
        if endpoint.bytes().all(digits) && !first.contains('.') {
            self.refuse(ParseErrorKind::InvalidIpv6, endpoint)
        } else {
            self.refuse(ParseErrorKind::TooManyColons, endpoint)
        }
    }

    /// An IPv6 address and what follows its `%`: an index, or the name of an interface.
    fn zoned(&self, ip: Ipv6Addr, zone: &'t str) -> Result<Host, ParseError> {
        if zone.is_empty() {
            return self.refuse(ParseErrorKind::EmptyZone, zone);
        }
        if !is_link_scoped(ip) {
            return self.refuse(ParseErrorKind::ZoneNotLinkLocal, zone);
        }
        let parsed = if all_digits(zone) {
            match zone.parse() {
                // The scope id 0 is that of an address without a zone, to std as well.
                Ok(0) => None,
                Ok(index) => Some(Zone::Index(index)),
                Err(_) => return self.refuse(ParseErrorKind::ZoneTooLarge, zone),
            }
        } else {
            self.name(zone.strip_prefix("25").unwrap_or(zone), INTERFACE_NAME_MAX)?;
            if zone.starts_with("25") {
                return self.refuse(ParseErrorKind::EncodedZone, zone);
            }
            Some(Zone::Name(zone.to_owned()))
        };
        Ok(Host::Ip {
            ip: IpAddr::V6(ip),
            zone: parsed,
        })
    }

    /// A host without `:` and brackets.
    fn host(&self, text: &'t str) -> Result<Host, ParseError> {
        if text.is_empty() {
            return self.refuse(ParseErrorKind::EmptyHost, text);
        }
        if text == "*" {
            return Ok(Host::Any);
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Host::Ip {
                ip: IpAddr::V4(ip),
                zone: None,
            });
        }
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(Host::Localhost);
        }
        if let Some((ip, len)) = text.split_once('/') {
            return match ip.parse::<Ipv4Addr>() {
                Ok(ip) => self.network(IpAddr::V4(ip), text, len),
                Err(_) if is_port_alone(ip) && !all_digits(len) => {
                    self.refuse(ParseErrorKind::Path, &text[ip.len()..])
                }
                Err(_) if looks_numeric(ip) => self.numeric(ip),
                Err(_) => self.refuse(ParseErrorKind::Path, &text[ip.len()..]),
            };
        }
        if let Some((ip, zone)) = text.split_once('%') {
            if looks_numeric(ip) || ip == "*" {
                return self.refuse(ParseErrorKind::ZoneNotLinkLocal, zone);
            }
        }
        if text.len() > 1 && text.starts_with('_') && text.ends_with('_') {
            return match text {
                "_local_" => Ok(Host::Keyword(Keyword::Local)),
                "_private_" | "_site_" => Ok(Host::Keyword(Keyword::Private)),
                "_public_" | "_global_" => Ok(Host::Keyword(Keyword::Public)),
                "_default_" => Ok(Host::Keyword(Keyword::Default)),
                _ => self.refuse(ParseErrorKind::UnknownKeyword, text),
            };
        }
        if looks_numeric(text) {
            return self.numeric(text);
        }
        // By itself, each of these names would be something else.
        if is_port_alone(text) {
            return self.refuse(ParseErrorKind::InvalidIpv4, text);
        }
        if text.starts_with('-') {
            return self.refuse(ParseErrorKind::UnexpectedOptional, &text[..1]);
        }
        if text == "unix" {
            return self.refuse(ParseErrorKind::UnixSocket, text);
        }
        self.name(text, DNS_NAME_MAX)?;
        Ok(Host::Name(text.to_owned()))
    }

    /// Returns what is wrong with digits and dots that are not an IPv4 address.
    fn numeric(&self, text: &'t str) -> Result<Host, ParseError> {
        let parts = || text.split('.');
        if parts().all(all_digits) && parts().count() == 4 {
            let leading_zero = parts().find(|part| has_leading_zero(part));
            if let Some(octet) = leading_zero.filter(|octet| octet.parse::<u8>().is_ok()) {
                return self.refuse(ParseErrorKind::LeadingZeroOctet, octet);
            }
        } else if parts().count() <= 4 && parts().all(|part| !part.is_empty()) {
            return self.refuse(ParseErrorKind::LegacyIpv4, text);
        }
        self.refuse(ParseErrorKind::InvalidIpv4, text)
    }

    fn network(&self, ip: IpAddr, whole: &'t str, len: &'t str) -> Result<Host, ParseError> {
        let prefix_len = match len.parse::<u8>() {
            Ok(n) if n <= addr_bits(ip) && all_digits(len) && !has_leading_zero(len) => n,
            _ if !all_digits(len) => {
                return self.refuse(ParseErrorKind::Path, &whole[whole.len() - len.len() - 1..]);
            }
            _ => return self.refuse(ParseErrorKind::InvalidPrefixLength, len),
        };
        if ip.to_canonical() != ip {
            return self.refuse(ParseErrorKind::MappedNetwork, whole);
        }
        let network = Network::containing(ip, prefix_len);
        if network.first() != ip {
            return self.refuse(ParseErrorKind::HostBitsSet, whole);
        }
        Ok(Host::Network(network))
    }

    fn name(&self, text: &'t str, longest: usize) -> Result<(), ParseError> {
        self.name_characters(text, b"")?;
        if text.len() > longest {
            return self.refuse(ParseErrorKind::NameTooLong, text);
        }
        if text.bytes().all(|b| b == b'.') {
            return self.refuse(ParseErrorKind::InvalidCharacter, text);
        }
        Ok(())
    }

    fn name_characters(&self, text: &'t str, others: &[u8]) -> Result<(), ParseError> {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b) || others.contains(&b);
        match text.bytes().position(|b| !known(b)) {
            Some(at) => self.refuse(ParseErrorKind::InvalidCharacter, &text[at..=at]),
            None => Ok(()),
        }
    }

    /// `port | port "-" port`
    fn ports(&self, text: &'t str) -> Result<(u16, u16), ParseError> {
        if text.starts_with(['-', '+']) {
            return self.refuse(ParseErrorKind::SignedPort, text);
        }
        let Some((first, last)) = text.split_once('-') else {
            let port = self.port(text)?;
            return Ok((port, port));
        };
        match (self.port(first)?, self.port(last)?) {
            (first, last) if last < first => self.refuse(ParseErrorKind::ReversedRange, text),
            (0, _) => self.refuse(ParseErrorKind::RangeFromZero, text),
            range => Ok(range),
        }
    }

    fn port(&self, text: &'t str) -> Result<u16, ParseError> {
        if text.is_empty() {
            return self.refuse(ParseErrorKind::EmptyPort, text);
        }
        if let Some(at) = text.find(['/', '?', '#']) {
            return self.refuse(ParseErrorKind::Path, &text[at..]);
        }
        if !all_digits(text) {
            return self.refuse(ParseErrorKind::InvalidPort, text);
        }
        match text.parse() {
            Ok(_) if has_leading_zero(text) => self.refuse(ParseErrorKind::LeadingZeroPort, text),
            Ok(port) => Ok(port),
            Err(_) => self.refuse(ParseErrorKind::PortTooLarge, text),
        }
    }

    /// Refuses the text for `part`, a slice of it.
    fn refuse<T>(&self, kind: ParseErrorKind, part: &'t str) -> Result<T, ParseError> {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        let span = start..start + part.len();
        Err(ParseError::new(self.text, span, kind, self.rule))
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn has_leading_zero(digits: &str) -> bool {
    digits.len() > 1 && digits.starts_with('0')
}

/// Digits that start the text and nothing but digits and `-` after them.
pub(super) fn is_port_alone(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

/// Returns `true` if `getaddrinfo` might read a number here, in any of the bases of
/// `inet_aton(3)`. VLAN names such as `eth0.100` have a part that is none.
fn looks_numeric(text: &str) -> bool {
    let parts_are = text.split('.').all(|part| {
        let hex = part.strip_prefix("0x").or(part.strip_prefix("0X"));
        match hex {
            Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
            None => part.bytes().all(|b| b.is_ascii_digit()),
        }
    });
    parts_are && text.bytes().any(|b| b.is_ascii_digit())
}
