//! What is written: lines of 80 columns, in colour where a terminal wants it.

use std::fmt::Display;
use std::io::{self, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use bindaddr::ListenAddr;
use bindaddr::diagnosis::{Hint, HintKind};
use serde_json::Value;

const WIDTH: usize = 80;
const HEADING: Style = Style::new().bold();

/// The standard output.
pub(crate) struct Output(AutoStream<io::Stdout>);

/// What stands in front of a line.
#[derive(Clone, Copy)]
pub(crate) enum Label {
    Means,
    Binds,
    OpenTo,
    Absent,
    Error,
    Hint,
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
            Self::Error => ("error", colour(AnsiColor::Red).bold()),
            Self::Hint => ("hint", colour(AnsiColor::Cyan)),
            Self::Warning => ("warning", colour(AnsiColor::Yellow)),
        }
    }
}

impl Output {
    /// Colours go to a terminal alone, and not where `NO_COLOR` is set (no-color.org).
    pub(crate) fn new() -> Self {
        Self(AutoStream::auto(io::stdout()))
    }

    pub(crate) fn heading(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.0, "{HEADING}{text}{HEADING:#}")
    }

    /// Writes a line behind its label, and as many more as it takes.
    pub(crate) fn line(&mut self, label: Label, text: impl Display) -> io::Result<()> {
        let (label, style) = label.text();
        let text = text.to_string();
        // An address or a command is not cut.
        let options = textwrap::Options::new(WIDTH - 11)
            .break_words(false)
            .word_separator(textwrap::WordSeparator::AsciiSpace)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        let mut lines = textwrap::wrap(&text, options).into_iter();
        let first = lines.next().unwrap_or_default();
        writeln!(self.0, "  {style}{label:<7}{style:#}  {first}")?;
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
        writeln!(self.0, "           {text}")
    }

    /// Writes a line as it is.
    pub(crate) fn row(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.0, "{}", text.trim_end())
    }

    pub(crate) fn json(&mut self, value: &Value) -> io::Result<()> {
        // JSON leaves those beyond ASCII as they are.
        let lines: Vec<String> = format!("{value:#}").lines().map(shown).collect();
        writeln!(self.0, "{}", lines.join("\n"))
    }
}

/// Returns a setting as it can be shown, without the user name and the password that a URL may have.
pub(crate) fn setting(text: &str) -> String {
    match text.parse::<ListenAddr>() {
        Ok(_) => shown(text),
        Err(err) => shown(&err.without_credentials()),
    }
}

/// Escapes, as JSON does, characters that a terminal would act on rather than show: control characters and those that
/// change the direction of the text or have no width (the categories Cc and Cf of Unicode).
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
