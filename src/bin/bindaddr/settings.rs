//! `explain` and `check`: settings by themselves, and together.

use std::io;
use std::net::SocketAddr;

use bindaddr::addr::ParseErrorKind;
use bindaddr::check::{Check, CheckedSetting, CheckedSocket, RunningServer};
use bindaddr::diagnosis::Warning;
use bindaddr::interfaces::InterfacesError;
use bindaddr::plan::Setting;
use bindaddr::{BindOptions, BindTarget, Cause, Exposure, Interfaces, ListenAddr};
use serde_json::{Value, json};

use crate::Verdict;
use crate::arguments::{self, Denied, How, UNREAD, UNSEEN_PROCESSES, Warnings};
use crate::input::{Found, Input, Place, Unchecked};
use crate::output::{self, Label, Output, setting, shown};

/// A setting with what it means here.
struct Explained<'a> {
    place: Option<&'a Place>,
    written: String,
    checked: Result<Checked<'a>, &'a Unchecked>,
}

struct Checked<'a> {
    host: &'a Interfaces,
    udp: bool,
    setting: &'a CheckedSetting,
    targets: Vec<BindTarget>,
    exposure: Option<Exposure>,
    warnings: Vec<&'a Warning>,
    /// Whether a port is part of it.
    has_port: bool,
}

impl Warnings {
    pub(crate) fn is_shown(&self, name: &str) -> bool {
        !self.allow.iter().any(|allowed| allowed == name)
    }

    pub(crate) fn are_denied(&self) -> bool {
        matches!(self.deny, Some(Denied::Warnings))
    }
}

impl<'a> Checked<'a> {
    fn new(
        setting: &'a CheckedSetting,
        host: &'a Host,
        udp: bool,
        has_port: bool,
        warnings: &Warnings,
    ) -> Self {
        let known = host.error.is_none().then_some(&host.interfaces);
        // Beside others, a port alone may mean nothing.
        let is_read = !setting
            .causes()
            .any(|cause| matches!(cause, Cause::InvalidText(_)));
        let addr = ListenAddr::parse_with_default_port(setting.text(), 0).ok();
        let addr = addr.filter(|_| is_read);
        let targets = addr
            .zip(known)
            .and_then(|(addr, host)| addr.resolve(host).ok());
        let mut targets = targets.unwrap_or_default();
        if let ([target], [socket]) = (&mut *targets, setting.sockets()) {
            // Beside a wildcard of IPv4 in the list it takes IPv6 alone.
            if let Some(whole) = socket.target().filter(|_| target.is_any()) {
                *target = whole.clone();
            }
        }
        // Nobody connects to what is not bound.
        let sockets = setting.sockets().iter();
        let bound = sockets.filter(|socket| socket.errors().is_empty());
        let bound = bound.filter_map(CheckedSocket::target);
        let exposure = known.and_then(|host| bound.map(|target| target.exposure(host)).max());
        let all = setting.sockets().iter().flat_map(CheckedSocket::warnings);
        Self {
            host: &host.interfaces,
            udp,
            exposure,
            warnings: all
                .filter(|warning| warnings.is_shown(warning.name()))
                .collect(),
            setting,
            targets,
            has_port,
        }
    }

    fn is_ok(&self) -> bool {
        self.setting.causes().next().is_none()
    }

    fn write(&self, output: &mut Output) -> io::Result<()> {
        // The problem of a foreign one follows below.
        let message = self
            .targets
            .iter()
            .filter(|target| self.is_ok() || !target.is_foreign());
        for target in message {
            output.line(Label::Means, target)?;
        }
        for socket in self.setting.sockets() {
            if socket.errors().is_empty() && self.has_port {
                output.line(Label::Binds, self.addr(socket.addr()))?;
            }
        }
        for addr in self.setting.duplicates() {
            let message = format!("{}, which another setting opens", self.addr(*addr));
            output.line(Label::Binds, message)?;
        }
        if let Some(exposure) = self.exposure {
            output.line(Label::OpenTo, exposure)?;
        }
        for skipped in self.setting.skipped() {
            output.line(Label::Absent, skipped.cause())?;
        }
        self.write_problems(output)?;
        for warning in &self.warnings {
            output.line(Label::Warning, named(warning))?;
        }
        Ok(())
    }

    /// Writes an address, with the protocol if it is not the usual one.
    fn addr(&self, addr: SocketAddr) -> String {
        let addr = output::addr(addr, self.host);
        if self.udp {
            format!("{addr} (UDP)")
        } else {
            addr
        }
    }

    fn write_problems(&self, output: &mut Output) -> io::Result<()> {
        let sockets = self.setting.sockets();
        let is_one = sockets.len() <= 1;
        for error in self.setting.errors() {
            // Each of several sockets has errors of its own.
            let addr = error.addr().filter(|_| !is_one);
            let subject = addr.map(|addr| format!("{}: ", self.addr(addr)));
            let subject = subject.unwrap_or_default();
            for cause in error.causes() {
                output.line(Label::Problem, format_args!("{subject}{cause}"))?;
                if let Cause::InvalidText(err) = cause {
                    mark(output, err.text(), err.span())?;
                }
            }
        }
        let problems: String = self.setting.causes().map(Cause::to_string).collect();
        output.hints(&self.setting.hints(), &problems)
    }

    fn json(&self) -> Value {
        json!({
            "ok": self.is_ok(),
            "targets": self.targets,
            "exposure": self.exposure,
            "errors": self.setting.causes().collect::<Vec<_>>(),
            "hints": self.setting.hints(),
            "skipped": self.setting.skipped(),
            "duplicates": self.setting.duplicates(),
            "sockets": self.setting.sockets(),
            "warnings": self.warnings,
        })
    }
}

/// Writes a warning with the name by which it can be allowed.
pub(crate) fn named(warning: &Warning) -> String {
    format!("{} ({})", warning.kind(), warning.name())
}

impl Explained<'_> {
    /// Returns the verdict on it, warnings aside.
    fn is_ok(&self) -> bool {
        match &self.checked {
            Ok(checked) => checked.is_ok(),
            Err(Unchecked::Skipped(_) | Unchecked::Unread(_)) => true,
            Err(Unchecked::Wrong(_)) => false,
        }
    }

    fn warnings(&self, warnings: &Warnings) -> usize {
        match &self.checked {
            Ok(checked) => checked.warnings.len(),
            Err(Unchecked::Unread(_)) => usize::from(warnings.is_shown(UNREAD)),
            Err(_) => 0,
        }
    }

    fn heading(&self) -> String {
        let written = setting(&self.written);
        match self.place {
            None => written,
            Some(place) => {
                let key = shown(&place.key);
                let parts = [key, written].into_iter().filter(|part| !part.is_empty());
                let parts = parts.collect::<Vec<_>>().join(": ");
                format!("{}:{}: {parts}", shown(&place.file), place.line)
            }
        }
    }

    fn write(&self, output: &mut Output) -> io::Result<()> {
        output.heading(self.heading())?;
        match &self.checked {
            Ok(checked) => checked.write(output),
            Err(Unchecked::Skipped(why)) => output.line(Label::Skipped, why),
            Err(Unchecked::Unread(why)) => {
                output.line(Label::Warning, format_args!("{why} ({UNREAD})"))
            }
            Err(Unchecked::Wrong(what)) => output.line(Label::Problem, what),
        }
    }

    fn json(&self) -> Value {
        let mut value = match &self.checked {
            Ok(checked) => checked.json(),
            Err(unchecked) => {
                let (ok, key, why) = match unchecked {
                    Unchecked::Skipped(why) => (true, "skipped_because", (*why).to_owned()),
                    Unchecked::Unread(why) => (true, "unread_because", (*why).to_owned()),
                    Unchecked::Wrong(what) => (false, "problem", what.clone()),
                };
                json!({
                    "ok": ok, key: why, "targets": [], "exposure": null, "errors": [], "hints": [],
                    "skipped": [], "duplicates": [], "sockets": [], "warnings": [],
                })
            }
        };
        value["text"] = setting(&self.written).into();
        value["place"] = self.place.map_or(
            Value::Null,
            |place| json!({"file": place.file, "line": place.line, "key": place.key}),
        );
        value
    }
}

/// Shows the place of a mistake, in a text of which each byte is a column.
fn mark(output: &mut Output, text: &str, span: std::ops::Range<usize>) -> io::Result<()> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !is_plain || setting(text) != text || text.is_empty() || text.len() > 60 {
        return Ok(());
    }
    let carets = "^".repeat(span.len().max(1));
    output.plain(text)?;
    output.plain(format_args!("{:1$}{carets}", "", span.start))
}

/// Checks settings of one protocol.
fn checked(
    options: &BindOptions,
    settings: &[Setting<'static>],
    udp: bool,
    running: Option<&RunningServer>,
) -> Check {
    match (udp, running) {
        (false, None) => options.check(settings),
        (true, None) => options.check_udp(settings),
        (false, Some(running)) => options.check_beside(settings, running),
        (true, Some(running)) => options.check_udp_beside(settings, running),
    }
}

/// Explains each text by itself. One without a port is explained as a host.
pub(crate) fn explain(output: &mut Output, explain: &arguments::Explain) -> io::Result<Verdict> {
    let options = BindOptions::new();
    let texts = explain.texts.texts.iter();
    let checks: Vec<(Option<&String>, Check)> = texts
        .map(|text| {
            let host = host_alone(text);
            let written = host.is_some().then_some(text);
            let setting = host.map_or_else(|| Setting::from(text.clone()), Setting::from);
            (
                written,
                checked(&options, &[setting], explain.how.udp, None),
            )
        })
        .collect();
    let host = Host::read();
    let explained = checks.iter().flat_map(|(written, check)| {
        let settings = check.settings().iter();
        settings.map(|setting| Explained {
            place: None,
            written: written.map_or(setting.text(), |text| text).to_owned(),
            checked: Ok(Checked::new(
                setting,
                &host,
                explain.how.udp,
                written.is_none(),
                &explain.warnings,
            )),
        })
    });
    write(
        output,
        &Input::default(),
        &explained.collect::<Vec<_>>(),
        &host,
        None,
        &explain.how,
        &explain.warnings,
    )
}

/// Returns a text without a port as an address of port 0.
fn host_alone(text: &str) -> Option<ListenAddr> {
    let err = text.parse::<ListenAddr>().err()?;
    let is_host = err.kind() == ParseErrorKind::MissingPort;
    is_host.then(|| ListenAddr::parse_with_default_port(text, 0).ok())?
}

/// Checks all settings as those of one server.
pub(crate) fn check(
    output: &mut Output,
    check: &arguments::Check,
    input: &Input,
    running: Option<&RunningServer>,
) -> io::Result<Verdict> {
    let options = BindOptions::new();
    let is_udp = |found: &Found| matches!(&found.means, Ok(means) if means.udp || check.how.udp);
    let checks = [false, true].map(|udp| {
        let settings = input.found.iter().filter(|found| is_udp(found) == udp);
        let settings = settings.filter_map(|found| found.means.as_ref().ok());
        let settings: Vec<Setting<'static>> =
            settings.flat_map(|means| means.settings.clone()).collect();
        // A list of nothing is an error of its own.
        (!settings.is_empty()).then(|| checked(&options, &settings, udp, running))
    });
    let host = Host::read();
    // The settings of both protocols come in the order in which they were found.
    let mut next = [0, 0];
    let mut explained = Vec::new();
    for found in &input.found {
        let means = match &found.means {
            Ok(means) => means,
            Err(unchecked) => {
                explained.push(Explained {
                    place: found.place.as_ref(),
                    written: found.written.clone(),
                    checked: Err(unchecked),
                });
                continue;
            }
        };
        let protocol = usize::from(is_udp(found));
        let first = next[protocol];
        next[protocol] += means.settings.len();
        let indices = first..next[protocol];
        let all = checks[protocol].iter().flat_map(Check::settings);
        let own: Vec<&CheckedSetting> = all
            .filter(|setting| indices.contains(&setting.position().index()))
            .collect();
        let is_one = own.len() == 1;
        explained.extend(own.into_iter().map(|setting| Explained {
            place: found.place.as_ref(),
            written: if is_one {
                found.written.clone()
            } else {
                setting.text().to_owned()
            },
            checked: Ok(Checked::new(
                setting,
                &host,
                protocol == 1,
                true,
                &check.warnings,
            )),
        }));
    }
    write(
        output,
        input,
        &explained,
        &host,
        running,
        &check.how,
        &check.warnings,
    )
}

/// The interfaces of this host; none, if they cannot be read.
struct Host {
    interfaces: Interfaces,
    error: Option<InterfacesError>,
}

impl Host {
    fn read() -> Self {
        match Interfaces::system() {
            Ok(interfaces) => Self {
                interfaces: interfaces.with_system_default_sources(),
                error: None,
            },
            Err(error) => Self {
                interfaces: Interfaces::default(),
                error: Some(error),
            },
        }
    }
}

fn write(
    output: &mut Output,
    input: &Input,
    explained: &[Explained<'_>],
    host: &Host,
    running: Option<&RunningServer>,
    how: &How,
    warnings: &Warnings,
) -> io::Result<Verdict> {
    let counts = explained.iter().map(|setting| setting.warnings(warnings));
    let count: usize = counts.sum();
    let is_unseen = running.is_some_and(RunningServer::may_share_sockets);
    let is_unseen = is_unseen && warnings.is_shown(UNSEEN_PROCESSES);
    let has_denied = warnings.are_denied() && (count > 0 || is_unseen);
    let verdict = if !input.failed.is_empty() {
        Verdict::Unusable
    } else if has_denied || !explained.iter().all(Explained::is_ok) {
        Verdict::Bad
    } else {
        Verdict::Good
    };
    if how.json {
        let settings: Vec<Value> = explained.iter().map(Explained::json).collect();
        let failed = input
            .failed
            .iter()
            .map(|(file, err)| json!({"file": file, "line": err.line, "error": err.text}));
        output.json(&json!({
            "ok": verdict == Verdict::Good,
            "settings": settings,
            "failed_files": failed.collect::<Vec<_>>(),
            "unseen_processes": is_unseen,
        }))?;
    } else {
        if let Some(err) = &host.error {
            output.line(Label::Warning, err)?;
        }
        explained
            .iter()
            .try_for_each(|setting| setting.write(output))?;
        if is_unseen {
            let message = "not every process could be looked into, so another one may have a socket of the server as well";
            output.line(
                Label::Warning,
                format_args!("{message} ({UNSEEN_PROCESSES})"),
            )?;
        }
    }
    for (file, err) in &input.failed {
        let line = err.line.map(|line| format!(":{line}")).unwrap_or_default();
        crate::report(&format!(
            "error: {}{line}: {}",
            shown(&setting(file)),
            shown(&err.text)
        ));
    }
    Ok(verdict)
}
