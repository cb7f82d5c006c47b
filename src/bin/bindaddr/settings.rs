//! `explain` and `check`: settings by themselves, and together.

use std::io;

use bindaddr::check::{Check, CheckedSetting, CheckedSocket};
use bindaddr::{BindOptions, BindTarget, Cause, Exposure, Interfaces, ListenAddr};
use serde_json::{Value, json};

use crate::How;
use crate::input::{entries_of, entries_of_each};
use crate::output::{Label, Output, setting};

/// A setting with what it means here.
struct Explained<'a> {
    checked: &'a CheckedSetting,
    targets: Vec<BindTarget>,
    exposure: Option<Exposure>,
}

impl<'a> Explained<'a> {
    fn new(checked: &'a CheckedSetting, host: Option<&Interfaces>) -> Self {
        let addr = checked.text().parse::<ListenAddr>().ok();
        let targets = addr
            .zip(host)
            .and_then(|(addr, host)| addr.resolve(host).ok());
        let mut targets = targets.unwrap_or_default();
        if let ([target], [socket]) = (&mut *targets, checked.sockets()) {
            // Beside a wildcard of IPv4 in the list it takes IPv6 alone.
            if let Some(whole) = socket.target().filter(|_| target.is_any()) {
                *target = whole.clone();
            }
        }
        let exposures = host.into_iter().flat_map(|host| {
            let reached = targets.iter().filter(|target| !target.is_foreign());
            reached.map(|target| target.exposure(host))
        });
        let exposure = exposures.max();
        Self {
            checked,
            targets,
            exposure,
        }
    }

    fn json(&self) -> Value {
        json!({
            "text": setting(self.checked.text()),
            "ok": self.checked.causes().next().is_none(),
            "targets": self.targets,
            "exposure": self.exposure,
            "errors": self.checked.causes().collect::<Vec<_>>(),
            "hints": self.checked.hints(),
            "skipped": self.checked.skipped(),
            "duplicates": self.checked.duplicates(),
            "sockets": self.checked.sockets(),
        })
    }

    fn write(&self, output: &mut Output) -> io::Result<()> {
        output.heading(setting(self.checked.text()))?;
        let has_problem = self.checked.causes().next().is_some();
        // What is wrong with a foreign one is told below.
        let told = self
            .targets
            .iter()
            .filter(|target| !(has_problem && target.is_foreign()));
        for target in told {
            output.line(Label::Means, target)?;
        }
        for socket in self.checked.sockets() {
            output.line(Label::Binds, socket.addr())?;
        }
        for addr in self.checked.duplicates() {
            output.line(
                Label::Binds,
                format_args!("{addr}, for another setting of the list"),
            )?;
        }
        if let Some(exposure) = self.exposure {
            output.line(Label::OpenTo, exposure)?;
        }
        for skipped in self.checked.skipped() {
            output.line(Label::Absent, skipped.cause())?;
        }
        for cause in self.checked.causes() {
            output.line(Label::Error, cause)?;
            if let Cause::InvalidText(err) = cause {
                mark(output, err.text(), err.span())?;
            }
        }
        let problems: String = self.checked.causes().map(Cause::to_string).collect();
        output.hints(&self.checked.hints(), &problems)?;
        for warning in self
            .checked
            .sockets()
            .iter()
            .flat_map(CheckedSocket::warnings)
        {
            output.line(Label::Warning, warning.kind())?;
        }
        Ok(())
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

fn checked(texts: &[String], how: &How) -> Check {
    let options = BindOptions::new();
    if how.udp {
        options.check_udp(texts)
    } else {
        options.check(texts)
    }
}

/// Explains each text by itself.
pub(crate) fn explain(output: &mut Output, texts: &[String], how: &How) -> io::Result<bool> {
    let texts = entries_of_each(texts)?;
    let checks = texts.into_iter().map(|text| checked(&[text], how));
    let checks: Vec<Check> = checks.collect();
    write(output, &checks, how)
}

/// Checks all settings as those of one server.
pub(crate) fn check(
    output: &mut Output,
    arguments: &[String],
    key: &str,
    how: &How,
) -> io::Result<bool> {
    let mut texts = Vec::new();
    for argument in arguments {
        texts.extend(entries_of(argument, key)?);
    }
    write(output, &[checked(&texts, how)], how)
}

fn write(output: &mut Output, checks: &[Check], how: &How) -> io::Result<bool> {
    let host = Interfaces::system().map(Interfaces::with_system_default_sources);
    let settings = checks.iter().flat_map(Check::settings);
    let explained: Vec<Explained<'_>> = settings
        .map(|setting| Explained::new(setting, host.as_ref().ok()))
        .collect();
    let is_ok = checks.iter().all(Check::is_ok);
    if how.json {
        let settings: Vec<Value> = explained.iter().map(Explained::json).collect();
        output.json(&json!({"ok": is_ok, "settings": settings}))?;
        return Ok(is_ok);
    }
    if let Err(err) = &host {
        output.line(Label::Warning, err)?;
    }
    explained
        .iter()
        .try_for_each(|setting| setting.write(output))?;
    Ok(is_ok)
}
