//! The sockets of a socket unit (systemd.socket(5)).

use super::{Directive, Meaning, NotChecked};

/// Options of the unit, which are those of each of its sockets.
#[derive(Default)]
struct Unit<'a> {
    only_v6: bool,
    freebind: bool,
    device: Option<&'a str>,
}

pub(super) fn directives(content: &str) -> Vec<Directive> {
    let lines: Vec<(usize, &str, &str)> = assignments(content).collect();
    let last = |name: &str| {
        let mut lines = lines.iter().rev();
        lines
            .find(|(_, key, _)| *key == name)
            .map(|(.., value)| *value)
    };
    let is_true = |value: &str| ["1", "yes", "true", "on"].contains(&&*value.to_ascii_lowercase());
    let unit = Unit {
        only_v6: last("BindIPv6Only") == Some("ipv6-only"),
        freebind: last("FreeBind").is_some_and(is_true),
        device: last("BindToDevice").filter(|device| !device.is_empty()),
    };
    let mut directives: Vec<Directive> = Vec::new();
    for (line, key, value) in &lines {
        let key = match *key {
            "ListenStream" => "ListenStream",
            "ListenDatagram" => "ListenDatagram",
            _ => continue,
        };
        // An empty one takes back those before it.
        if value.is_empty() {
            directives.retain(|directive| directive.key != key);
            continue;
        }
        directives.push(Directive {
            line: *line,
            key,
            written: (*value).to_owned(),
            means: meaning(value, key == "ListenDatagram", &unit),
        });
    }
    directives
}

fn meaning(value: &str, udp: bool, unit: &Unit<'_>) -> Result<Meaning, NotChecked> {
    if value.starts_with(['/', '@']) {
        return Err(NotChecked::Skipped("a Unix socket, which is not checked"));
    }
    if value.starts_with("vsock:") {
        return Err(NotChecked::Skipped(
            "a socket between virtual machines, which is not checked",
        ));
    }
    if value.contains('%') && !value.starts_with('[') {
        return Err(NotChecked::Unread(
            "a specifier of the unit, whose value is not known here",
        ));
    }
    let is_port = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let text = match value.strip_prefix("[::]:") {
        Some(port) if unit.only_v6 => format!("ipv6@*:{port}"),
        _ if is_port && unit.only_v6 => format!("ipv6@*:{value}"),
        // By itself `[::]` includes IPv4 and needs IPv6; a port alone is IPv4 where the kernel has nothing else.
        _ if is_port => format!("*:{value}"),
        _ => value.to_owned(),
    };
    Ok(Meaning {
        text,
        udp,
        freebind: unit.freebind,
        device: unit.device.map(str::to_owned),
    })
}

/// Iterates over the assignments of the section of the socket.
fn assignments(content: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let mut section = "";
    content.lines().zip(1..).filter_map(move |(line, number)| {
        let line = line.trim();
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name;
        }
        if section != "Socket" || line.starts_with(['#', ';']) {
            return None;
        }
        let (key, value) = line.split_once('=')?;
        Some((number, key.trim(), value.trim()))
    })
}
