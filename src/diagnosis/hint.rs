//! The hints about a text that does not resolve.

use crate::addr::{Host, ListenAddr, Zone, shown};
use crate::hint::{Hint, HintKind};
use crate::interfaces::Interfaces;
use crate::sys::{self, LinkKind};
use crate::target::{BindTarget, ResolveErrorKind};

/// Returns the settings to write in place of one that names nothing on this host.
pub(crate) fn of_unresolved(
    kind: &ResolveErrorKind,
    written: &ListenAddr,
    host: Option<&Interfaces>,
) -> Vec<Hint> {
    let interface = match kind {
        ResolveErrorKind::AlternativeName { interface, .. } => interface,
        ResolveErrorKind::NoAddress { interface, .. } => {
            return Vec::from_iter(of_port(interface, written, host));
        }
        ResolveErrorKind::NoSuchInterface { name, .. } => {
            return Vec::from_iter(of_host_name(name, written));
        }
        _ => return Vec::new(),
    };
    let instead = match written.host() {
        Host::Ip { ip, .. } => Host::Ip {
            ip: *ip,
            zone: Some(Zone::Name(interface.clone())),
        },
        _ => Host::Name(interface.clone()),
    };
    let replacement = written.with_other_name(instead.clone()).to_string();
    // An interface can have a name that no setting can, and lack the address.
    let addr = replacement.parse::<ListenAddr>().ok();
    let addr = addr.filter(|addr| *addr.host() == instead);
    let targets = addr
        .zip(host)
        .and_then(|(addr, host)| addr.resolve(host).ok());
    if targets.is_none_or(|targets| targets.iter().any(BindTarget::is_foreign)) {
        return Vec::new();
    }
    let text = format!("write `{}`", shown(&replacement));
    vec![Hint::replacing(HintKind::Replace, text, replacement)]
}

/// Advises to write the bridge or the bond that an interface without an address is a port of.
fn of_port(name: &str, written: &ListenAddr, host: Option<&Interfaces>) -> Option<Hint> {
    let link = sys::device(name).ok()??;
    let master = sys::link(link.master)
        .ok()
        .flatten()
        .filter(|_| link.master != 0)?;
    let instead = Host::Name(master.name.clone());
    let setting = written.with_other_name(instead.clone()).to_string();
    // A name may read as something else, such as `*`.
    let addr = setting.parse::<ListenAddr>().ok()?;
    let addr = Some(addr).filter(|addr| *addr.host() == instead)?;
    let targets = addr.resolve(host?).ok()?;
    let is_usable = master.kind == LinkKind::Switch && !targets.iter().any(BindTarget::is_foreign);
    is_usable.then(|| {
        let text = format!(
            "{} is a port of {}, which has the addresses; write `{setting}`",
            shown(name),
            shown(&master.name)
        );
        Hint::replacing(HintKind::Replace, text, setting)
    })
}

/// Advises to write the wildcard for the name of this host itself.
fn of_host_name(name: &str, written: &ListenAddr) -> Option<Hint> {
    let own = sys::host_name()?;
    let first_label = own.split('.').next().unwrap_or(&own);
    let is_own = [&own, first_label]
        .iter()
        .any(|own| own.eq_ignore_ascii_case(name));
    is_own.then(|| {
        let setting = written.with_other_name(Host::Any).to_string();
        let text = format!(
            "`{}` is this host's own name; `{setting}` listens on every address",
            shown(name)
        );
        Hint::replacing(HintKind::Widen, text, setting)
    })
}
