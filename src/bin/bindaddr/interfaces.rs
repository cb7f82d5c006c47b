//! `interfaces`: a table of them.

use std::io;

use bindaddr::Interfaces;
use bindaddr::interfaces::{AddrState, InterfaceAddr};
use serde_json::to_value;

use crate::output::Output;

pub(crate) fn list(output: &mut Output, json: bool) -> io::Result<bool> {
    let host = Interfaces::system().map_err(io::Error::other)?;
    if json {
        output.json(&to_value(&host)?)?;
        return Ok(true);
    }
    let rows = host.iter().flat_map(|interface| {
        let name = interface.name().escape_debug().to_string();
        let index = interface.index().map(|index| index.to_string());
        let running = if interface.is_running() { "yes" } else { "no" };
        let of_interface = [name, index.unwrap_or_default(), running.to_owned()];
        let blank = ["", "", ""].map(str::to_owned);
        let firsts = std::iter::once(of_interface).chain(std::iter::repeat(blank));
        let addrs = interface.addrs().iter();
        addrs.zip(firsts).map(|(addr, [name, index, running])| {
            [name, index, running, addr.to_string(), remarks(addr)]
        })
    });
    let titles = ["NAME", "INDEX", "RUNNING", "ADDRESS", ""].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(titles).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let [w0, w1, w2, w3] = [0, 1, 2, 3].map(|column| width(column).unwrap_or(0));
    for [name, index, running, addr, remarks] in &rows {
        output.row(&format!(
            "{name:<w0$}  {index:>w1$}  {running:<w2$}  {addr:<w3$}  {remarks}"
        ))?;
    }
    Ok(true)
}

/// What is odd about an address.
fn remarks(addr: &InterfaceAddr) -> String {
    let remarks = [
        addr.peer().map(|peer| format!("peer {peer}")),
        (addr.state() != AddrState::Preferred).then(|| addr.state().to_string()),
        addr.is_temporary().then(|| "temporary".to_owned()),
    ];
    remarks.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
