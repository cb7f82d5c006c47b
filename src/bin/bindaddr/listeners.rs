//! `listeners`: what listens on this host, and who can connect.

use std::io;
use std::net::SocketAddr;

use bindaddr::host::{self, ListeningSocket};
use bindaddr::{Exposure, Interfaces};
use serde_json::{Value, json};

use crate::Verdict;
use crate::arguments;
use crate::output::{self, Output, shown};

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
        .filter(|(exposure, socket)| {
            let is_wanted = list.ports.is_empty() || list.ports.contains(&socket.addr().port());
            is_wanted && exposed_beyond.is_none_or(|most| *exposure > most)
        })
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
            addr(socket, &interfaces),
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
fn addr(socket: &ListeningSocket, host: &Interfaces) -> String {
    let addr = socket.addr();
    // A specific address has one family anyway.
    let only_v6 = socket.is_only_v6() && addr.ip().is_unspecified();
    // A zone is the same as the device.
    let has_zone = matches!(addr, SocketAddr::V6(v6) if v6.scope_id() != 0);
    let device = socket.device().filter(|_| !has_zone);
    let device = device.map(|device| format!(" on {}", shown(device)));
    let family = if only_v6 { " IPv6 only" } else { "" };
    format!(
        "{}{}{family}",
        output::addr(addr, host),
        device.unwrap_or_default()
    )
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
    match socket.pids().len().saturating_sub(1) {
        0 => format!("{name} ({pid})"),
        others => format!("{name} ({pid} +{others})"),
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
        "pids": socket.pids(),
        "process_uid": socket.process_uid(),
        "uid": socket.uid(),
        "unit": socket.unit(),
        "is_of_kernel": socket.is_of_kernel(),
    })
}
