//! Advice about a problem: [`Hint`].

use std::fmt;

use crate::map::Set;

/// Advice about a problem, from [`BindError::hints`](crate::BindError::hints) and
/// [`CheckedSetting::hints`](crate::check::CheckedSetting::hints).
///
/// The [`Display`](fmt::Display) form is a complete clause. If another setting would work, it is
/// the [`replacement`](Self::replacement). For an address that the kernel refused, the kernel was
/// asked whether it binds the other one. The clause says so if it opens the server to more clients
/// than the setting that it replaces.
///
/// # Examples
///
/// ```
/// use bindaddr::diagnosis::HintKind;
///
/// // TEST-NET-2 (RFC 5737), which no host has.
/// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
/// for hint in err.hints() {
///     if hint.kind() != HintKind::Program {
///         eprintln!("hint: {hint}");
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hint {
    kind: HintKind,
    text: String,
    replacement: Option<String>,
}

/// The kind of a [`Hint`]: the action it asks for, and the reader it is for.
///
/// # Examples
///
/// ```
/// use bindaddr::diagnosis::{Hint, HintKind};
///
/// /// The setting to offer for a click, if there is one that opens no more than the one that failed.
/// fn to_offer(hints: &[Hint]) -> Option<&str> {
///     let same = hints.iter().filter(|hint| hint.kind() == HintKind::Replace);
///     same.filter_map(Hint::replacement).next()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HintKind {
    /// An operator can write the [replacement](Hint::replacement).
    Replace,
    /// The same, and it opens the server to more clients than the setting that it replaces.
    Widen,
    /// An operator can run a command that shows more.
    Inspect,
    /// An administrator can change the host, the unit or the container.
    Configure,
    /// Only the author of the program can do it, with a method of
    /// [`BindOptions`](crate::BindOptions).
    Program,
}

impl Hint {
    pub(crate) fn new(kind: HintKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            replacement: None,
        }
    }

    pub(crate) fn replacing(kind: HintKind, text: String, replacement: String) -> Self {
        Self {
            kind,
            text,
            replacement: Some(replacement),
        }
    }

    /// Returns what it asks for, and of whom.
    #[must_use]
    pub fn kind(&self) -> HintKind {
        self.kind
    }

    /// Returns the clause.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the complete setting to write in place of the one that failed.
    #[must_use]
    pub fn replacement(&self) -> Option<&str> {
        self.replacement.as_deref()
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Leaves out the hints that are among those before them.
pub(crate) fn without_repetition<'a>(hints: impl IntoIterator<Item = &'a Hint>) -> Vec<Hint> {
    let mut seen = Set::new();
    let hints = hints.into_iter();
    hints.filter(|hint| seen.insert(*hint)).cloned().collect()
}
