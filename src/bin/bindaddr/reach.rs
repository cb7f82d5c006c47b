//! `reach`: who could connect.

use std::io;

use bindaddr::diagnosis::Warning;
use bindaddr::reach::{Reach, ReachableAddr};
use bindaddr::{BindOptions, BindTarget, Exposure, Interfaces, ListenAddr, ListenAddrs};
use serde_json::{Value, json};

use crate::Verdict;
use crate::arguments::{self, BROWSER_PORT};
use crate::output::{Label, Output, setting};
use crate::settings::named;

/// The reach of the targets of a text.
#[derive(Default)]
struct Reached {
    reaches: Vec<Reach>,
    warnings: Vec<Warning>,
}

impl Reached {
    fn exposure(&self) -> Option<Exposure> {
        self.reaches.iter().map(Reach::exposure).max()
    }

    fn addrs(&self) -> impl Iterator<Item = &ReachableAddr> {
        self.reaches.iter().flat_map(Reach::addrs)
    }
}

pub(crate) fn tell(output: &mut Output, question: &arguments::Reach) -> io::Result<Verdict> {
    let host = Interfaces::system().map_err(io::Error::other)?;
    let host = host.with_system_default_sources();
    let mut verdict = Verdict::Good;
    let mut values = Vec::new();
    for (text, problem) in entries(&question.texts.texts) {
        let found = problem.map_or_else(|| reached(&text, &host, question), Err);
        let too_much = found
            .as_ref()
            .ok()
            .and_then(|found| too_exposed(found, question));
        let has_warnings = found.as_ref().is_ok_and(|found| {
            !found.warnings.is_empty() || port_for_no_browser(found, question).is_some()
        });
        let is_denied = has_warnings && question.warnings.are_denied();
        if found.is_err() || too_much.is_some() || is_denied {
            verdict = Verdict::Bad;
        }
        if question.how.json {
            values.push(value(&text, found.as_ref(), too_much));
        } else {
            write(output, &text, &found, too_much, question)?;
        }
    }
    if question.how.json {
        output.json(&Value::Array(values))?;
    }
    Ok(verdict)
}

/// Returns the entries of texts that are lists, each as it is written, with what is wrong with it
/// in its list.
fn entries(texts: &[String]) -> Vec<(String, Option<String>)> {
    let of_text = |text: &String| {
        let errors = match text.parse::<ListenAddrs>() {
            Ok(_) => Vec::new(),
            Err(err) => err.errors().to_vec(),
        };
        let parts = parts(text).into_iter().enumerate();
        let parts = parts.map(|(index, part)| {
            let error = errors.iter().find(|error| error.index() == index);
            (part, error.map(|error| error.error().to_string()))
        });
        parts.collect::<Vec<_>>()
    };
    texts.iter().flat_map(of_text).collect()
}

/// Splits a list. Between two commas is at least one entry, if an empty one.
fn parts(text: &str) -> Vec<String> {
    // A `,` in the password of a URL would take it apart.
    if text.contains('@') && text.parse::<ListenAddrs>().is_err() {
        return vec![text.to_owned()];
    }
    let between = text.split(',');
    let parts = between.flat_map(|between| {
        let empty = between.trim_ascii().is_empty().then_some("");
        between.split_ascii_whitespace().chain(empty)
    });
    parts.map(str::to_owned).collect()
}

/// Returns what is beyond the limit: an address, if one is the reason, and how far it reaches.
fn too_exposed<'a>(
    found: &'a Reached,
    question: &arguments::Reach,
) -> Option<(Option<&'a ReachableAddr>, Exposure)> {
    let most = question.at_most?.0;
    // It is unknown who can connect to a text without an address.
    let exposure = found.exposure()?;
    let farthest = found.addrs().find(|addr| addr.exposure() == exposure);
    (exposure > most).then_some((farthest, exposure))
}

fn write(
    output: &mut Output,
    text: &str,
    found: &Result<Reached, String>,
    too_much: Option<(Option<&ReachableAddr>, Exposure)>,
    question: &arguments::Reach,
) -> io::Result<()> {
    output.heading(setting(text))?;
    let found = match found {
        Ok(found) if found.reaches.is_empty() => {
            return output.line(Label::Absent, "it is left out here");
        }
        Ok(found) => found,
        Err(problem) => return output.line(Label::Problem, problem),
    };
    let scheme = question.scheme.as_deref();
    for dial in dials(found, scheme) {
        let interface = dial.interface().filter(|_| scheme.is_some());
        let interface = interface.map(|name| format!("  ({})", name.escape_debug()));
        let shown = scheme.map_or_else(|| format!("{dial:#}"), |scheme| dial.url(scheme));
        output.row(&format!("  {shown}{}", interface.unwrap_or_default()))?;
    }
    if let Some(exposure) = found.exposure() {
        output.line(Label::OpenTo, exposure)?;
    }
    if let (Some((addr, exposure)), Some(most)) = (too_much, question.at_most.map(|most| most.0)) {
        let what = addr.map_or_else(
            || {
                format!(
                    "{} includes addresses that this host gets later, so it",
                    setting(text)
                )
            },
            |addr| addr.addr().to_string(),
        );
        let message = format!("{what} is open to {exposure}, and `--at-most` allows {most}");
        output.line(Label::Problem, message)?;
    }
    if let Some(port) = port_for_no_browser(found, question) {
        let message = format!("browsers refuse port {port} ({BROWSER_PORT})");
        output.line(Label::Warning, message)?;
    }
    if let Some(note) = of_port(text) {
        output.line(Label::Note, note)?;
    }
    found
        .warnings
        .iter()
        .try_for_each(|warning| output.line(Label::Warning, named(warning)))
}

/// Returns the reach of each target of a text, or the problem with the text.
fn reached(text: &str, host: &Interfaces, question: &arguments::Reach) -> Result<Reached, String> {
    // Without a port it is that of whatever is opened.
    let addr = text.parse::<ListenAddr>();
    let addr = addr.map_err(|err| err.to_string())?;
    let targets = match addr.resolve(host) {
        Ok(targets) => targets,
        // It is not bound where this host lacks it.
        Err(_) if addr.is_optional() => return Ok(Reached::default()),
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
        Some(_) if addr.is_optional() && is_skipped(text, question.how.udp) => {
            Ok(Reached::default())
        }
        Some(foreign) if !addr.is_optional() => Err(foreign.to_string()),
        _ => {
            let plan = BindOptions::new().plan_on(&addr, host);
            let mut warnings = plan.map(|plan| plan.warnings(host)).unwrap_or_default();
            warnings.retain(|warning| question.warnings.is_shown(warning.name()));
            let reach = |target: &BindTarget| {
                if question.how.udp {
                    target.reach_udp(addr.port(), host)
                } else {
                    target.reach(addr.port(), host)
                }
            };
            Ok(Reached {
                reaches: targets.iter().map(reach).collect(),
                warnings,
            })
        }
    }
}

/// Iterates over the addresses to write: of a scheme for browsers not those that need a zone.
fn dials<'a>(found: &'a Reached, scheme: Option<&str>) -> impl Iterator<Item = &'a ReachableAddr> {
    let is_for_browsers = scheme.is_some_and(is_of_browsers);
    let dials = found.addrs();
    dials.filter(move |dial| !(is_for_browsers && needs_zone(dial)))
}

/// Returns the port, if URLs for browsers are wanted and browsers refuse it.
fn port_for_no_browser(found: &Reached, question: &arguments::Reach) -> Option<u16> {
    let scheme = question
        .scheme
        .as_deref()
        .filter(|scheme| is_of_browsers(scheme))?;
    if !question.warnings.is_shown(BROWSER_PORT) {
        return None;
    }
    let refused = dials(found, Some(scheme)).find(|dial| !dial.is_for_browsers());
    let port = refused.map(|dial| dial.addr().port());
    // Port 0 is not chosen yet.
    port.filter(|port| *port != 0)
}

/// Returns `true` if URLs of a scheme are for browsers.
fn is_of_browsers(scheme: &str) -> bool {
    ["http", "https", "ws", "wss"].contains(&scheme)
}

/// Returns `true` if no browser opens the address, because it has a zone.
fn needs_zone(dial: &ReachableAddr) -> bool {
    dial.addr().is_ipv6() && dial.exposure() == Exposure::Link
}

/// Returns a remark if the port is chosen when the server starts.
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

/// Returns `true` if `text` is optional and would be left out beside others on this host.
fn is_skipped(text: &str, udp: bool) -> bool {
    let both = [text, "localhost:0"];
    let check = if udp {
        bindaddr::check_udp(both)
    } else {
        bindaddr::check(both)
    };
    !check.settings()[0].skipped().is_empty()
}

fn value(
    text: &str,
    found: Result<&Reached, &String>,
    too_much: Option<(Option<&ReachableAddr>, Exposure)>,
) -> Value {
    let exposure = found.ok().and_then(Reached::exposure);
    let warnings = found.map(|found| &*found.warnings).unwrap_or_default();
    let dials: Vec<_> = found.into_iter().flat_map(Reached::addrs).collect();
    json!({
        "text": setting(text),
        "exposure": exposure,
        "addrs": dials,
        "problem": found.err(),
        "is_too_exposed": too_much.is_some(),
        "warnings": warnings,
    })
}
