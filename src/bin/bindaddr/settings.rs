//! `explain` and `check`: settings by themselves, and together.

use std::io;

use bindaddr::{
    BindOptions, BindTarget, Cause, Check, CheckedSetting, CheckedSocket, Exposure, Interfaces,
    ListenAddr,
};
use serde_json::{Value, json};

use crate::How;
use crate::paper::{Label, Paper, setting};
use crate::texts::{entries_of, entries_of_each};

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

    fn write(&self, paper: &mut Paper) -> io::Result<()> {
        paper.heading(setting(self.checked.text()))?;
        let has_problem = self.checked.causes().next().is_some();
        // What is wrong with a foreign one is told below.
        let told = self
            .targets
            .iter()
            .filter(|target| !(has_problem && target.is_foreign()));
        for target in told {
            paper.line(Label::Means, target)?;
        }
        for socket in self.checked.sockets() {
            paper.line(Label::Binds, socket.addr())?;
        }
        for addr in self.checked.duplicates() {
            paper.line(
                Label::Binds,
                format_args!("{addr}, for another setting of the list"),
            )?;
        }
        if let Some(exposure) = self.exposure {
            paper.line(Label::OpenTo, exposure)?;
        }
        for skipped in self.checked.skipped() {
            paper.line(Label::Absent, skipped.cause())?;
        }
        for cause in self.checked.causes() {
            paper.line(Label::Error, cause)?;
            if let Cause::Text(err) = cause {
                mark(paper, err.text(), err.span())?;
            }
        }
        let problems: String = self.checked.causes().map(Cause::to_string).collect();
        paper.hints(&self.checked.hints(), &problems)?;
        for warning in self.checked.sockets().iter().flat_map(CheckedSocket::warnings) {
            paper.line(Label::Warning, warning.kind())?;
        }
        Ok(())
    }
}

/// Shows the place of a mistake, in a text of which each byte is a column.
fn mark(paper: &mut Paper, text: &str, span: std::ops::Range<usize>) -> io::Result<()> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if !is_plain || setting(text) != text || text.is_empty() || text.len() > 60 {
        return Ok(());
    }
    let carets = "^".repeat(span.len().max(1));
    paper.plain(text)?;
    paper.plain(format_args!("{:1$}{carets}", "", span.start))
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
pub(crate) fn explain(paper: &mut Paper, texts: &[String], how: &How) -> io::Result<bool> {
    let texts = entries_of_each(texts)?;
    let checks = texts.into_iter().map(|text| checked(&[text], how));
    let checks: Vec<Check> = checks.collect();
    write(paper, &checks, how)
}

/// Checks all settings as those of one server.
pub(crate) fn check(
    paper: &mut Paper,
    arguments: &[String],
    key: &str,
    how: &How,
) -> io::Result<bool> {
    let mut texts = Vec::new();
    for argument in arguments {
        texts.extend(entries_of(argument, key)?);
    }
    write(paper, &[checked(&texts, how)], how)
}

fn write(paper: &mut Paper, checks: &[Check], how: &How) -> io::Result<bool> {
    let host = Interfaces::system().map(Interfaces::with_system_default_sources);
    let settings = checks.iter().flat_map(Check::settings);
    let explained: Vec<Explained<'_>> = settings
        .map(|setting| Explained::new(setting, host.as_ref().ok()))
        .collect();
    let is_ok = checks.iter().all(Check::is_ok);
    if how.json {
        let settings: Vec<Value> = explained.iter().map(Explained::json).collect();
        paper.json(&json!({"ok": is_ok, "settings": settings}))?;
        return Ok(is_ok);
    }
    if let Err(err) = &host {
        paper.line(Label::Warning, err)?;
    }
    explained
        .iter()
        .try_for_each(|setting| setting.write(paper))?;
    Ok(is_ok)
}
