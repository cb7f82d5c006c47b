//! The output: lines as wide as the terminal, in colour if the terminal supports it.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use bindaddr::diagnosis::{Hint, HintKind};
use bindaddr::{Interfaces, ListenAddr};
use serde_json::Value;

const HEADING: Style = Style::new().bold();
/// The width of the label before the text of a line.
const INDENT: usize = 11;

/// The standard output.
pub(crate) struct Output {
    stream: AutoStream<io::Stdout>,
    /// `None` where lines are not wrapped.
    width: Option<usize>,
    users: Users,
}

/// The label at the start of a line.
#[derive(Clone, Copy)]
pub(crate) enum Label {
    Means,
    Binds,
    OpenTo,
    Absent,
    Skipped,
    Problem,
    Hint,
    Note,
    Warning,
}

impl Label {
    fn text(self) -> (&'static str, Style) {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Means => ("means", Style::new()),
            Self::Binds => ("binds", Style::new()),
            Self::OpenTo => ("open to", Style::new()),
            Self::Absent => ("absent", colour(AnsiColor::Yellow)),
            Self::Skipped => ("skipped", Style::new()),
            Self::Problem => ("problem", colour(AnsiColor::Red).bold()),
            Self::Hint => ("hint", colour(AnsiColor::Cyan)),
            Self::Note => ("note", Style::new()),
            Self::Warning => ("warning", colour(AnsiColor::Yellow)),
        }
    }
}

impl Output {
    /// Colours go to a terminal alone, and not where `NO_COLOR` is set (no-color.org).
    pub(crate) fn new() -> Self {
        Self {
            stream: AutoStream::auto(io::stdout()),
            width: width(),
            users: Users::default(),
        }
    }

    pub(crate) fn heading(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.stream, "{HEADING}{text}{HEADING:#}")
    }

    /// Writes a line behind its label, and on a terminal as many more as it takes.
    pub(crate) fn line(&mut self, label: Label, text: impl Display) -> io::Result<()> {
        let (label, style) = label.text();
        let text = self.users.named(&text.to_string());
        let mut lines = match self.width {
            Some(width) => wrapped(&text, width.saturating_sub(INDENT)),
            None => vec![text],
        }
        .into_iter();
        let first = lines.next().unwrap_or_default();
        writeln!(self.stream, "  {style}{label:<7}{style:#}  {first}")?;
        lines.try_for_each(|line| self.plain(line))
    }

    /// Writes the hints that an operator can follow, and that no problem has in its sentence.
    pub(crate) fn hints(&mut self, hints: &[Hint], problems: &str) -> io::Result<()> {
        let is_new = |hint: &&Hint| {
            let replacement = hint.replacement().map(|text| format!("`{text}`"));
            replacement.is_none_or(|text| !problems.contains(&text))
        };
        let for_operators = hints.iter().filter(|hint| hint.kind() != HintKind::Program);
        for_operators
            .filter(is_new)
            .try_for_each(|hint| self.line(Label::Hint, hint))
    }

    /// Writes a line below one with a label, as it is.
    pub(crate) fn plain(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.stream, "{:INDENT$}{text}", "")
    }

    /// Writes a line as it is.
    pub(crate) fn row(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.stream, "{}", text.trim_end())
    }

    /// Writes rows below their titles, in columns as wide as what they have.
    pub(crate) fn table<const N: usize>(
        &mut self,
        titles: [&str; N],
        rows: Vec<[String; N]>,
    ) -> io::Result<()> {
        let rows: Vec<[String; N]> = [titles.map(str::to_owned)]
            .into_iter()
            .chain(rows)
            .collect();
        let mut widths = [0; N];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &rows {
            let cells = row.iter().zip(widths);
            let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
            self.row(&cells.collect::<Vec<_>>().join("  "))?;
        }
        Ok(())
    }

    /// Writes the names of users behind their numbers.
    #[cfg(unix)]
    pub(crate) fn with_users(&mut self, text: &str) -> String {
        self.users.named(text)
    }

    /// Returns the name of a user, or the number.
    pub(crate) fn user(&mut self, uid: u32) -> String {
        self.users.name(uid).unwrap_or_else(|| uid.to_string())
    }

    pub(crate) fn json(&mut self, value: &Value) -> io::Result<()> {
        // JSON leaves those beyond ASCII as they are.
        let lines: Vec<String> = format!("{value:#}").lines().map(shown).collect();
        writeln!(self.stream, "{}", lines.join("\n"))
    }

    /// Writes a value on a line of its own, at once.
    pub(crate) fn json_line(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.stream, "{}", shown(&value.to_string()))?;
        self.stream.flush()
    }
}

/// Returns the width of lines: `COLUMNS` if it is set, else that of the terminal; `None` elsewhere,
/// so that a search finds a whole sentence.
fn width() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|columns| columns.trim().parse().ok());
    let columns = columns.filter(|columns: &usize| *columns > 0);
    columns.or_else(|| io::stdout().is_terminal().then(textwrap::termwidth))
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    // An address or a command is not cut.
    let options = textwrap::Options::new(width.max(20))
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    let lines = textwrap::wrap(text, options).into_iter();
    lines.map(std::borrow::Cow::into_owned).collect()
}

/// The names of users.
#[derive(Default)]
struct Users(HashMap<u32, Option<String>>);

impl Users {
    fn name(&mut self, uid: u32) -> Option<String> {
        self.0.entry(uid).or_insert_with(|| user_name(uid)).clone()
    }

    /// Writes names behind the numbers of users, as id(1) does: `uid 33 (www-data)`.
    fn named(&mut self, text: &str) -> String {
        let mut parts = text.split("uid ");
        let mut named = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            named.push_str("uid ");
            named.push_str(number);
            let name = number.parse().ok().and_then(|uid| self.name(uid));
            named.extend(name.map(|name| format!(" ({name})")));
            named.push_str(rest);
        }
        named
    }
}

#[cfg(unix)]
fn user_name(uid: u32) -> Option<String> {
    let user = uzers::get_user_by_uid(uid)?;
    Some(shown(&user.name().to_string_lossy()))
}

#[cfg(not(unix))]
fn user_name(_: u32) -> Option<String> {
    None
}

/// Writes an address with the name of its zone, as ip(8) does.
pub(crate) fn addr(addr: SocketAddr, host: &Interfaces) -> String {
    let SocketAddr::V6(v6) = addr else {
        return addr.to_string();
    };
    match host.by_index(v6.scope_id()) {
        Some(zone) if v6.scope_id() != 0 => {
            format!("[{}%{}]:{}", v6.ip(), shown(zone.name()), v6.port())
        }
        _ => addr.to_string(),
    }
}

/// Returns a setting as it can be shown, without the user name and the password that a URL may
/// have.
pub(crate) fn setting(text: &str) -> String {
    match text.parse::<ListenAddr>() {
        Err(err) if text.contains('@') || text.contains("//") => shown(&err.without_credentials()),
        Ok(_) | Err(_) => shown(text),
    }
}

/// Escapes, as JSON does, characters that a terminal would act on rather than show: control
/// characters and those that change the direction of the text or have no width (the categories Cc
/// and Cf of Unicode).
pub(crate) fn shown(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for c in line.chars() {
        if c == ' ' || c.is_ascii_graphic() || !c.is_ascii() && c.escape_debug().eq([c]) {
            shown.push(c);
        } else {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            shown.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    shown
}
