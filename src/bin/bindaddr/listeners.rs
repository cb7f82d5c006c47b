//! `listeners`: what listens on this host, and who can connect.

use std::io;

use bindaddr::host::{self, ListeningSocket};
use bindaddr::{Exposure, Interfaces};
use serde_json::{Value, json};

use crate::Verdict;
use crate::arguments;
use crate::output::{Output, shown};

pub(crate) fn list(output: &mut Output, list: &arguments::Listeners) -> io::Result<Verdict> {
    let exposed_beyond = list.exposed_beyond.map(|most| most.0);
    let interfaces = Interfaces::system().map_err(io::Error::other)?;
    let sockets = host::listening_sockets().map_err(|err| {
        io::Error::new(
            err.kind(),
            format!("cannot read the sockets of this host: {err}"),
        )
    })?;
    let with_exposure = sockets
        .into_iter()
        .map(|socket| (socket.exposure(&interfaces), socket));
    let mut sockets: Vec<(Exposure, ListeningSocket)> = with_exposure
        .filter(|(exposure, _)| exposed_beyond.is_none_or(|most| *exposure > most))
        .collect();
    sockets.sort_by_key(|(exposure, socket)| {
        let addr = socket.addr();
        (
            std::cmp::Reverse(*exposure),
            addr.port(),
            socket.is_udp(),
            addr,
        )
    });
    let verdict = match exposed_beyond {
        Some(_) if !sockets.is_empty() => Verdict::Bad,
        _ => Verdict::Good,
    };
    if list.json {
        let values = sockets
            .iter()
            .map(|(exposure, socket)| value(*exposure, socket, &interfaces));
        output.json(&Value::Array(values.collect()))?;
        return Ok(verdict);
    }
    if sockets.is_empty() && exposed_beyond.is_some() {
        return Ok(verdict);
    }
    let rows = sockets.iter().map(|(exposure, socket)| {
        [
            exposure.to_string(),
            protocol(socket).to_owned(),
            addr(socket),
            process(socket),
            user(output, socket),
            socket.unit().map(shown).unwrap_or_default(),
        ]
    });
    let rows: Vec<[String; 6]> = rows.collect();
    let titles = ["OPEN TO", "PROTO", "ADDRESS", "PROCESS", "USER", "UNIT"];
    output.table(titles, rows)?;
    Ok(verdict)
}

fn protocol(socket: &ListeningSocket) -> &'static str {
    if socket.is_udp() { "udp" } else { "tcp" }
}

/// Returns the address, with what limits it.
fn addr(socket: &ListeningSocket) -> String {
    let addr = socket.addr();
    // Of a specific address it says nothing.
    let only_v6 = socket.is_only_v6() && addr.ip().is_unspecified();
    let device = socket
        .device()
        .map(|device| format!(" on {}", shown(device)));
    let family = if only_v6 { " IPv6 only" } else { "" };
    format!("{addr}{}{family}", device.unwrap_or_default())
}

fn process(socket: &ListeningSocket) -> String {
    let Some(pid) = socket.pid() else {
        let unknown = if socket.is_of_kernel() {
            "the kernel"
        } else {
            "?"
        };
        return unknown.to_owned();
    };
    let name = socket.command().map_or_else(|| "?".to_owned(), shown);
    match socket.children() {
        0 => format!("{name} ({pid})"),
        children => format!("{name} ({pid} +{children})"),
    }
}

/// Returns the user of the process, or else the one that created the socket.
fn user(output: &mut Output, socket: &ListeningSocket) -> String {
    let uid = socket.process_uid().or(socket.uid());
    uid.map(|uid| output.user(uid)).unwrap_or_default()
}

fn value(exposure: Exposure, socket: &ListeningSocket, host: &Interfaces) -> Value {
    json!({
        "protocol": protocol(socket),
        "addr": socket.addr(),
        "device": socket.device(),
        "only_v6": socket.is_only_v6(),
        "exposure": exposure,
        "addrs": socket.reach(host).addrs(),
        "pid": socket.pid(),
        "command": socket.command(),
        "children": socket.children(),
        "process_uid": socket.process_uid(),
        "uid": socket.uid(),
        "unit": socket.unit(),
        "is_of_kernel": socket.is_of_kernel(),
    })
}
