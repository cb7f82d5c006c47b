//! `reach`: who could connect.

use std::io;

use bindaddr::reach::{Reach, ReachableAddr};
use bindaddr::{BindTarget, Exposure, Interfaces, ListenAddr};
use serde_json::{Value, json};

use crate::input::entries_of_each;
use crate::output::{Label, Output, setting};

pub(crate) fn tell(
    output: &mut Output,
    texts: &[String],
    scheme: Option<&str>,
    at_most: Option<Exposure>,
    json: bool,
) -> io::Result<bool> {
    let host = Interfaces::system().map_err(io::Error::other)?;
    let host = host.with_system_default_sources();
    let mut is_ok = true;
    let mut values = Vec::new();
    for text in entries_of_each(texts)? {
        let found = reaches(&text, &host);
        let exposure = found.iter().flatten().map(Reach::exposure).max();
        // Nobody knows who gets in by a text that stands for nothing.
        let is_absent = found.as_ref().is_ok_and(Vec::is_empty);
        let is_too_much =
            at_most.is_some_and(|most| !is_absent && exposure.is_none_or(|found| found > most));
        is_ok &= found.is_ok() && !is_too_much;
        if json {
            values.push(value(&text, found.as_ref(), exposure));
            continue;
        }
        output.heading(setting(&text))?;
        match found {
            Ok(_) if is_absent => output.line(Label::Absent, "it is left out here")?,
            Ok(reaches) => {
                let is_for_browsers = scheme.is_some_and(is_of_browsers);
                let dials = reaches.iter().flat_map(Reach::addrs);
                let dials = dials.filter(|dial| !(is_for_browsers && needs_zone(dial)));
                let dials: Vec<&ReachableAddr> = dials.collect();
                for dial in &dials {
                    let interface = dial.interface().filter(|_| scheme.is_some());
                    let interface = interface.map(|name| format!("  ({})", name.escape_debug()));
                    let shown =
                        scheme.map_or_else(|| format!("{dial:#}"), |scheme| dial.url(scheme));
                    output.row(&format!("  {shown}{}", interface.unwrap_or_default()))?;
                }
                let refused = dials.iter().find(|dial| !dial.is_for_browsers());
                let refused = refused.map_or(0, |dial| dial.addr().port());
                if is_for_browsers && refused != 0 {
                    output.line(Label::Warning, format!("browsers refuse port {refused}"))?;
                }
                if let Some(note) = of_port(&text) {
                    output.line(Label::Warning, note)?;
                }
                if let Some(exposure) = exposure {
                    output.line(Label::OpenTo, exposure)?;
                }
                if is_too_much {
                    output.line(Label::Error, "reachable from more than `--at-most` allows")?;
                }
            }
            Err(problem) => output.line(Label::Error, problem)?,
        }
    }
    if json {
        output.json(&Value::Array(values))?;
    }
    Ok(is_ok)
}

/// Who could connect to each target of a text, or what is wrong with it.
fn reaches(text: &str, host: &Interfaces) -> Result<Vec<Reach>, String> {
    let addr = text.parse::<ListenAddr>().map_err(|err| err.to_string())?;
    let targets = match addr.resolve(host) {
        Ok(targets) => targets,
        // It is not bound where this host lacks it.
        Err(_) if addr.is_optional() => return Ok(Vec::new()),
        Err(err) => return Err(err.to_string()),
    };
    // A local route may bring clients to it, which the snapshot lacks if there are very many.
    let foreign = targets.iter().filter_map(|target| match target {
        BindTarget::Foreign(foreign) => Some(foreign.ip()),
        _ => None,
    });
    let host = &foreign.fold(host.clone(), Interfaces::with_system_local_route);
    let is_out_of_reach = |target: &&BindTarget| {
        target.is_foreign() && target.reach(addr.port(), host).addrs().is_empty()
    };
    let foreign = targets.iter().find(is_out_of_reach);
    match foreign {
        // The kernel decides whether it is bound, as by a local route.
        Some(_) if addr.is_optional() && is_skipped(text) => Ok(Vec::new()),
        Some(foreign) if !addr.is_optional() => Err(foreign.to_string()),
        _ => Ok(targets
            .iter()
            .map(|target| target.reach(addr.port(), host))
            .collect()),
    }
}

/// Returns `true` if URLs of a scheme are for browsers.
fn is_of_browsers(scheme: &str) -> bool {
    ["http", "https", "ws", "wss"].contains(&scheme)
}

/// Returns `true` if no browser opens the address, because it has a zone.
fn needs_zone(dial: &ReachableAddr) -> bool {
    dial.addr().is_ipv6() && dial.exposure() == Exposure::Link
}

/// What the port of the addresses to dial is not.
fn of_port(text: &str) -> Option<String> {
    let ports = text.parse::<ListenAddr>().ok()?.ports();
    match (*ports.start(), *ports.end()) {
        (0, _) => Some("port 0: the kernel chooses the port when the server starts".to_owned()),
        (first, last) if first < last => Some(format!(
            "the port will be the first free one in {first}-{last}"
        )),
        _ => None,
    }
}

/// Tells whether an optional text is left out here, as beside others.
fn is_skipped(text: &str) -> bool {
    let check = bindaddr::check([text, "localhost:0"]);
    !check.settings()[0].skipped().is_empty()
}

fn value(text: &str, found: Result<&Vec<Reach>, &String>, exposure: Option<Exposure>) -> Value {
    let dials: Vec<_> = found.into_iter().flatten().flat_map(Reach::addrs).collect();
    json!({"text": setting(text), "exposure": exposure, "addrs": dials, "problem": found.err()})
}
