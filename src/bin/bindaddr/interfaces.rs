//! `interfaces`: a table of them.

use std::io;

use bindaddr::Interfaces;
use bindaddr::host::{self, Link};
use bindaddr::interfaces::{AddrState, Interface, InterfaceAddr};
use serde_json::{Value, json};

use crate::output::{Output, shown};

pub(crate) fn list(output: &mut Output, json: bool) -> io::Result<()> {
    let snapshot = Interfaces::system().map_err(io::Error::other)?;
    // Elsewhere than on Linux only those with an address are known.
    let links = host::links().unwrap_or_default();
    let all: Vec<(Option<&Link>, Option<&Interface>)> = if links.is_empty() {
        snapshot
            .iter()
            .map(|interface| (None, Some(interface)))
            .collect()
    } else {
        let with_addrs = |link| (Some(link), snapshot.by_name(Link::name(link)));
        links.iter().map(with_addrs).collect()
    };
    if json {
        let values = all.iter().map(|(link, interface)| value(*link, *interface));
        return output.json(&Value::Array(values.collect()));
    }
    let rows = all.iter().flat_map(|(link, interface)| {
        let name = link.map(Link::name).or(interface.map(Interface::name));
        let index = link
            .map(Link::index)
            .or(interface.and_then(Interface::index));
        let first = [
            shown(name.unwrap_or_default()),
            index.map(|index| index.to_string()).unwrap_or_default(),
            state(*link, *interface).to_owned(),
            link.map(Link::kind).unwrap_or_default().to_owned(),
            link.and_then(Link::master).map(shown).unwrap_or_default(),
        ];
        let addrs = interface.map(Interface::addrs).unwrap_or_default();
        // An interface without an address has a row as well.
        let rows = addrs.len().max(1);
        (0..rows).map(move |row| {
            let [name, index, state, kind, master] = match row {
                0 => first.clone(),
                _ => Default::default(),
            };
            let addr = addrs.get(row);
            let text = addr.map(InterfaceAddr::to_string).unwrap_or_default();
            let remarks = addr.map(remarks).unwrap_or_default();
            [name, index, state, kind, master, text, remarks]
        })
    });
    let titles = ["NAME", "INDEX", "STATE", "KIND", "MASTER", "ADDRESS", ""];
    output.table(titles, rows.collect())
}

fn state(link: Option<&Link>, interface: Option<&Interface>) -> &'static str {
    let is_up = link.map(Link::is_up).or(interface.map(Interface::is_up));
    let is_running = link.map(Link::is_running);
    let is_running = is_running.or(interface.map(Interface::is_running));
    match (is_up, is_running) {
        (Some(false), _) => "down",
        (_, Some(false)) => "no carrier",
        _ => "up",
    }
}

fn value(link: Option<&Link>, interface: Option<&Interface>) -> Value {
    let kind = link.map(Link::kind).filter(|kind| !kind.is_empty());
    let mut value = match interface {
        Some(interface) => json!(interface),
        None => json!({
            "name": link.map(Link::name),
            "index": link.map(Link::index),
            "running": link.map(Link::is_running),
            "loopback": kind == Some("loopback"),
            "addrs": [],
        }),
    };
    value["state"] = state(link, interface).into();
    value["kind"] = kind.into();
    value["master"] = link.and_then(Link::master).into();
    value
}

/// Returns the peer, the state and the flags of an address.
fn remarks(addr: &InterfaceAddr) -> String {
    let remarks = [
        addr.peer().map(|peer| format!("peer {peer}")),
        (addr.state() != AddrState::Preferred).then(|| addr.state().to_string()),
        addr.is_temporary().then(|| "temporary".to_owned()),
    ];
    remarks.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
