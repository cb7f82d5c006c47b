//! The hints about a text that does not resolve.

use crate::addr::{Host, ListenAddr, Zone, shown};
use crate::hint::{Hint, HintKind};
use crate::interfaces::Interfaces;
use crate::sys;
use crate::target::{BindTarget, ResolveErrorKind};

/// Returns the settings to write in place of one that names nothing on this host.
pub(crate) fn of_unresolved(
    kind: &ResolveErrorKind,
    written: &ListenAddr,
    host: Option<&Interfaces>,
) -> Vec<Hint> {
    let interface = match kind {
        ResolveErrorKind::AlternativeName { interface, .. } => interface,
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
    let replacement = written.with_other_host(instead).to_string();
    // An interface can have a name that no setting can, and lack the address.
    let addr = replacement.parse::<ListenAddr>().ok();
    let targets = addr
        .zip(host)
        .and_then(|(addr, host)| addr.resolve(host).ok());
    if targets.is_none_or(|targets| targets.iter().any(BindTarget::is_foreign)) {
        return Vec::new();
    }
    let text = format!("write `{}`", shown(&replacement));
    vec![Hint::replacing(HintKind::Replace, text, replacement)]
}

/// Advises to write the wildcard for the name of this host itself.
fn of_host_name(name: &str, written: &ListenAddr) -> Option<Hint> {
    let own = sys::host_name()?;
    let first_label = own.split('.').next().unwrap_or(&own);
    let is_own = [&own, first_label]
        .iter()
        .any(|own| own.eq_ignore_ascii_case(name));
    is_own.then(|| {
        let setting = written.with_other_host(Host::Any).to_string();
        let text = format!(
            "`{}` is this host's own name; `{setting}` listens on every address",
            shown(name)
        );
        Hint::replacing(HintKind::Widen, text, setting)
    })
}
