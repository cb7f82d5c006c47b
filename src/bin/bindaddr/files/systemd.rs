//! The sockets of a socket unit (systemd.socket(5), systemd.syntax(7)).

use std::net::SocketAddr;

use super::{Directive, Meaning, NotChecked, lines};

/// Options of the unit, which are those of each of its sockets.
#[derive(Default)]
struct Unit {
    /// `BindIPv6Only=`; `None` leaves it to the sysctl.
    only_v6: Option<bool>,
    freebind: bool,
    device: Option<String>,
}

pub(super) fn directives(content: &str) -> Vec<Directive> {
    let mut unit = Unit::default();
    let mut sockets: Vec<(usize, &'static str, String)> = Vec::new();
    for (line, key, value) in assignments(content) {
        // systemd ignores values that are not valid.
        match &*key {
            "BindIPv6Only" => match &*value {
                "ipv6-only" => unit.only_v6 = Some(true),
                "both" => unit.only_v6 = Some(false),
                "default" => unit.only_v6 = None,
                _ => {}
            },
            "FreeBind" => unit.freebind = boolean(&value).unwrap_or(unit.freebind),
            "BindToDevice" => unit.device = Some(value).filter(|device| !device.is_empty()),
            // An empty one takes back all that were before it.
            _ if key.starts_with("Listen") && value.is_empty() => sockets.clear(),
            "ListenStream" => sockets.push((line, "ListenStream", value)),
            "ListenDatagram" => sockets.push((line, "ListenDatagram", value)),
            _ => {}
        }
    }
    let directives = sockets.into_iter().map(|(line, key, value)| Directive {
        line,
        key,
        means: meaning(&value, key == "ListenDatagram", &unit),
        written: value,
    });
    directives.collect()
}

/// Reads a port as `parse_ip_port` of systemd does, in the notations of C.
fn port_of(value: &str) -> Option<u16> {
    let other = match value.strip_prefix("0x") {
        Some(digits) => Some((digits, 16)),
        None => value.strip_prefix('0').map(|digits| (digits, 8)),
    };
    match other {
        Some((digits, radix)) if !digits.is_empty() => u16::from_str_radix(digits, radix).ok(),
        _ => value.parse().ok(),
    }
}

/// Reads a boolean as `parse_boolean` of systemd does.
fn boolean(value: &str) -> Option<bool> {
    match &*value.to_ascii_lowercase() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

fn meaning(value: &str, udp: bool, unit: &Unit) -> Result<Meaning, NotChecked> {
    let plain = value.replace("%%", "");
    if plain.contains('%') {
        return Err(NotChecked::Unread(
            "a specifier of the unit, whose value is not known here",
        ));
    }
    let value = value.replace("%%", "%");
    if value.starts_with(['/', '@']) {
        return Err(NotChecked::Skipped("a Unix socket, which is not checked"));
    }
    if value.starts_with("vsock:") {
        return Err(NotChecked::Skipped(
            "a socket between virtual machines, which is not checked",
        ));
    }
    let sysctl = || std::fs::read_to_string("/proc/sys/net/ipv6/bindv6only");
    let by_default = || sysctl().is_ok_and(|value| value.trim() == "1");
    let only_v6 = unit.only_v6.unwrap_or_else(by_default);
    let port = port_of(&value).filter(|port| *port != 0);
    // An interface may follow the port.
    let (without_zone, zone) = match value.rsplit_once('%') {
        Some((addr, zone)) if addr.starts_with('[') && addr.contains("]:") => (addr, Some(zone)),
        _ => (&*value, None),
    };
    let addr = without_zone.parse().ok();
    let addr = addr.filter(|addr: &SocketAddr| addr.port() != 0);
    let text = match (port, addr) {
        (Some(port), _) if only_v6 => format!("ipv6@*:{port}"),
        // It is IPv4 where the kernel has nothing else, and `[::]` needs IPv6.
        (Some(port), _) => format!("*:{port}"),
        (_, Some(SocketAddr::V6(addr))) if addr.ip().is_unspecified() && only_v6 => {
            format!("ipv6@*:{}", addr.port())
        }
        (_, Some(addr)) => match zone {
            Some(zone) => format!("[{}%{zone}]:{}", addr.ip(), addr.port()),
            None => addr.to_string(),
        },
        (None, None) => {
            return Err(NotChecked::Wrong(
                "systemd ignores it: it has to be a port, or an address and a port, neither of them a name",
            ));
        }
    };
    Ok(Meaning {
        text,
        udp,
        freebind: unit.freebind,
        device: unit.device.clone(),
    })
}

/// Returns the assignments of the section of the socket, each with the line on which it begins.
fn assignments(content: &str) -> Vec<(usize, String, String)> {
    let mut assignments = Vec::new();
    let mut is_of_socket = false;
    for (first, line) in joined_lines(content) {
        let name = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(name) = name {
            is_of_socket = name == "Socket";
        }
        if let Some((key, value)) = line.split_once('=').filter(|_| is_of_socket) {
            assignments.push((first, key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    assignments
}

/// Joins the lines that end in `\\` with those that follow, without the comments between them.
fn joined_lines(content: &str) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut is_continued = false;
    for (number, line) in lines(content) {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let part = line.strip_suffix('\\').unwrap_or(line);
        match joined.last_mut().filter(|_| is_continued) {
            Some((_, before)) => {
                before.push(' ');
                before.push_str(part);
            }
            None => joined.push((number, part.to_owned())),
        }
        is_continued = line.ends_with('\\');
    }
    joined
}
