//! `explain` and `check`: settings by themselves, and together.

use std::io;

use bindaddr::addr::ParseErrorKind;
use bindaddr::check::{Check, CheckedSetting, CheckedSocket, RunningServer};
use bindaddr::diagnosis::Warning;
use bindaddr::plan::Setting;
use bindaddr::{BindOptions, BindTarget, Cause, Exposure, Interfaces, ListenAddr};
use serde_json::{Value, json};

use crate::Verdict;
use crate::arguments::{self, Denied, How, Warnings};
use crate::files::NotChecked;
use crate::input::{Found, Input, Place, Unchecked};
use crate::output::{Label, Output, setting, shown};

/// A setting with what it means here.
struct Explained<'a> {
    place: Option<&'a Place>,
    written: String,
    checked: Result<Checked<'a>, &'a Unchecked>,
}

struct Checked<'a> {
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
        host: Option<&Interfaces>,
        has_port: bool,
        warnings: &Warnings,
    ) -> Self {
        // Beside others, a port alone may mean nothing.
        let is_read = !setting
            .causes()
            .any(|cause| matches!(cause, Cause::InvalidText(_)));
        let addr = ListenAddr::parse_with_default_port(setting.text(), 0).ok();
        let addr = addr.filter(|_| is_read);
        let targets = addr
            .zip(host)
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
        let exposure = host.and_then(|host| bound.map(|target| target.exposure(host)).max());
        let all = setting.sockets().iter().flat_map(CheckedSocket::warnings);
        Self {
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
        // What is wrong with a foreign one is told below.
        let told = self
            .targets
            .iter()
            .filter(|target| self.is_ok() || !target.is_foreign());
        for target in told {
            output.line(Label::Means, target)?;
        }
        for socket in self.setting.sockets() {
            if socket.errors().is_empty() && self.has_port {
                output.line(Label::Binds, socket.addr())?;
            }
        }
        for addr in self.setting.duplicates() {
            output.line(
                Label::Binds,
                format_args!("{addr}, for another setting of the list"),
            )?;
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

    fn write_problems(&self, output: &mut Output) -> io::Result<()> {
        let sockets = self.setting.sockets();
        let is_one = sockets.len() <= 1;
        for error in self.setting.errors() {
            // Of several sockets each has its own.
            let addr = error.addr().filter(|_| !is_one);
            let subject = addr.map(|addr| format!("{addr}: ")).unwrap_or_default();
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

/// The name of the warning about what may have addresses and was not read.
const UNREAD: &str = "unread";

/// Writes a warning with the name by which it can be allowed.
pub(crate) fn named(warning: &Warning) -> String {
    format!("{} ({})", warning.kind(), warning.name())
}

impl Explained<'_> {
    /// Returns the verdict on it, warnings aside.
    fn is_ok(&self) -> bool {
        match &self.checked {
            Ok(checked) => checked.is_ok(),
            Err(Unchecked::ByFormat(_)) => true,
            Err(Unchecked::Wrong(_)) => false,
        }
    }

    fn warnings(&self, warnings: &Warnings) -> usize {
        match &self.checked {
            Ok(checked) => checked.warnings.len(),
            Err(Unchecked::ByFormat(NotChecked::Unread(_))) => {
                usize::from(warnings.is_shown(UNREAD))
            }
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
            Err(Unchecked::ByFormat(NotChecked::Skipped(why))) => output.line(Label::Skipped, why),
            Err(Unchecked::ByFormat(NotChecked::Unread(why))) => {
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
                    Unchecked::ByFormat(NotChecked::Skipped(why)) => {
                        (true, "skipped_because", (*why).to_owned())
                    }
                    Unchecked::ByFormat(NotChecked::Unread(why)) => {
                        (true, "unread_because", (*why).to_owned())
                    }
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
    let host = host();
    let known = host.as_ref().ok();
    let explained = checks.iter().flat_map(|(written, check)| {
        let settings = check.settings().iter();
        settings.map(|setting| Explained {
            place: None,
            written: written.map_or(setting.text(), |text| text).to_owned(),
            checked: Ok(Checked::new(
                setting,
                known,
                written.is_none(),
                &explain.warnings,
            )),
        })
    });
    write(
        output,
        &Input::default(),
        &explained.collect::<Vec<_>>(),
        host.as_ref().err(),
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
    let options = if input.has_lookup {
        BindOptions::new().lookup()
    } else {
        BindOptions::new()
    };
    let is_udp = |found: &Found| matches!(&found.means, Ok(means) if means.udp || check.how.udp);
    let checks = [false, true].map(|udp| {
        let settings = input.found.iter().filter(|found| is_udp(found) == udp);
        let settings = settings.filter_map(|found| found.means.as_ref().ok());
        let settings: Vec<Setting<'static>> =
            settings.flat_map(|means| means.settings.clone()).collect();
        // A list of nothing is an error of its own.
        (!settings.is_empty()).then(|| checked(&options, &settings, udp, running))
    });
    let host = host();
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
                host.as_ref().ok(),
                true,
                &check.warnings,
            )),
        }));
    }
    write(
        output,
        input,
        &explained,
        host.as_ref().err(),
        &check.how,
        &check.warnings,
    )
}

fn host() -> Result<Interfaces, bindaddr::interfaces::InterfacesError> {
    Interfaces::system().map(Interfaces::with_system_default_sources)
}

fn write(
    output: &mut Output,
    input: &Input,
    explained: &[Explained<'_>],
    unknown_host: Option<&bindaddr::interfaces::InterfacesError>,
    how: &How,
    warnings: &Warnings,
) -> io::Result<Verdict> {
    let counts = explained.iter().map(|setting| setting.warnings(warnings));
    let count: usize = counts.sum();
    let has_denied = warnings.are_denied() && count > 0;
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
        }))?;
    } else {
        if let Some(err) = unknown_host {
            output.line(Label::Warning, err)?;
        }
        explained
            .iter()
            .try_for_each(|setting| setting.write(output))?;
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
