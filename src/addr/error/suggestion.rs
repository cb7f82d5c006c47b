//! The texts to write in place of one that is refused. Each is complete, is read where the other
//! one was refused, and names no address that was not written, unless it says so.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::super::parse::{PortRule, is_port_alone, parse};
use super::super::template::shown_by_ip;
use super::super::{Host, ListenAddr};
use super::{ParseError, ParseErrorKind, credentials, is_scheme, shown, without_zeros};
use crate::addr::network::Network;

/// A text to write in place of one that is refused.
pub(super) struct Suggestion {
    pub(super) text: String,
    /// The case that it is for, if there are several or it names more than was written.
    purpose: String,
    pub(super) is_wider: bool,
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joint = if self.purpose.is_empty() { "" } else { " " };
        write!(f, "`{}`{joint}{}", shown(&self.text), self.purpose)
    }
}

impl ParseError {
    /// Returns the text if it is read where this one was refused, with a port if that is all it
    /// lacks.
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

    /// Returns `true` if a text names every address of the host, or of a family, and this one did
    /// not.
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
    pub(super) fn suggestions(&self) -> Vec<Suggestion> {
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
        let port = if self.rule.is_host_only() {
            ""
        } else {
            ":8080"
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
                // Quotes, spaces and marks. A letter is a part of a name, and a dash may be meant
                // for a `-`.
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
                let link = after.strip_prefix('@').unwrap_or_default();
                if !shown_by_ip(part, link) {
                    return Vec::new();
                }
                let rest = link.find(':').map_or("", |at| &link[at..]);
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
            ParseErrorKind::UnexpectedOptional => plain(&format!("{before}{after}")),
            ParseErrorKind::UnexpectedFamily => match without_family(part, after) {
                Some(same) => plain(&same),
                None => read(after, "for both families", true).into_iter().collect(),
            },
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

    /// Returns the host and the port of a URL, with the default port of its scheme if it names
    /// none; `None` if what follows the `//` is a name, as under `fd:`, or if a part of the rest
    /// may be meant.
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
        let port = if has_port(authority) || self.rule.is_host_only() {
            ""
        } else {
            port
        };
        Some(format!("{family}{authority}{port}"))
    }

    /// Returns the setting without a zone that has no effect. `ss` writes `0.0.0.0%eth0:80` for a
    /// wildcard socket on an interface, and without the zone that would be every interface.
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
        // `localhost` is never read as the name of an interface, even if one is called so.
        let is_name = |addr: ListenAddr| matches!(addr.host(), Host::Name(name) if name == zone);
        let is_interface = parse(&text, PortRule::Default(0)).is_ok_and(is_name);
        is_interface.then_some((text, "for the addresses of that interface"))
    }
}

/// Returns a host that names what `host` does behind `family`, if there is one.
fn without_family(family: &str, host: &str) -> Option<String> {
    let is_ipv4 = family == "ipv4@";
    match parse(host, PortRule::HostAlone).ok()?.host() {
        Host::Any if is_ipv4 => Some("0.0.0.0".to_owned()),
        Host::Localhost if is_ipv4 => Some("127.0.0.1".to_owned()),
        Host::Localhost => Some("::1".to_owned()),
        // It opens IPv4, too.
        Host::Ip { ip, .. } if *ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => None,
        Host::Ip { .. } | Host::Network(_) => Some(host.to_owned()),
        Host::Any | Host::Name(_) | Host::Keyword(_) => None,
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

/// The text without its path. What follows the `/` may be meant: the path of `iface/eth0` is an
/// interface, and that of `10.0.0.0/255.0.0.0` a mask.
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

/// Returns `true` if what follows a host may be a part of what is meant: the length of a network, a
/// mask, a family, or an interface beside a wildcard.
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
        Host::Localhost | Host::Name(_) | Host::Keyword(_) => false,
    })
}

/// Returns `true` if the characters between `before` and `after` are at an end of the text, or next
/// to the `:` before the port.
fn is_around_the_port(before: &str, after: &str) -> bool {
    let (before, after) = (before.trim(), after.trim());
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    before.is_empty()
        || after.is_empty()
        || (before.ends_with(':') && !before.ends_with("::") && is_port(after))
        || after.strip_prefix(':').is_some_and(is_port)
}
