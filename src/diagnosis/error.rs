//! [`BindError`], and the [`SettingError`]s it contains.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Cause, Diagnosis, Hint, HintKind, Step, without_repetition};
use crate::addr::shown;
use crate::map::Map;
use crate::order::sort_by;
use crate::target::Protocol;

/// The position of an entry: the index of its setting, and its index within that setting's list.
///
/// # Examples
///
/// ```
/// // TEST-NET-2 (RFC 5737), reserved for documentation.
/// let err = bindaddr::bind(["127.0.0.1:0", "127.0.0.2:0, 198.51.100.1:0"]).unwrap_err();
/// let position = err.position();
/// assert_eq!((position.index(), position.entry()), (1, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    pub(crate) index: usize,
    pub(crate) entry: usize,
}

impl Position {
    /// Returns the zero-based index of the setting.
    #[must_use]
    pub fn index(self) -> usize {
        self.index
    }

    /// Returns the zero-based index within the setting's list; 0 if it is not a list.
    #[must_use]
    pub fn entry(self) -> usize {
        self.entry
    }
}

/// The error returned when sockets could not be opened. None of them is open.
///
/// The message is one line: the setting as written and the cause of each socket that failed. `{:#}`
/// prints one failure per line with its hints, and groups sockets with equal causes. The
/// [`Debug`](fmt::Debug) form is the message and the hints, for a `main` that returns the error.
/// Both leave out hints of the kind [`Program`](HintKind::Program), which an operator cannot
/// follow. The system's own error is the [`source`](Error::source) and is not repeated in the
/// message.
///
/// The accessors describe the first failure; [`errors`](Self::errors) iterates over all of them.
///
/// # Examples
///
/// ```
/// use bindaddr::diagnosis::Step;
/// use bindaddr::Cause;
///
/// let first = bindaddr::bind("127.0.0.1:0")?;
/// let port = first.as_slice()[0].local_addr().port();
///
/// let err = bindaddr::bind(format!("127.0.0.1:{port}")).unwrap_err();
/// # #[cfg(target_os = "linux")]
/// assert_eq!(
///     err.to_string(),
///     format!("cannot listen on 127.0.0.1:{port}: port {port} is in use: this process listens on 127.0.0.1"),
/// );
/// assert!(matches!(err.cause(), Cause::InUse { .. }));
/// assert_eq!(err.step(), Step::Bind);
/// assert_eq!(std::io::Error::from(err).kind(), std::io::ErrorKind::AddrInUse);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
pub struct BindError(Box<Details>);

struct Details {
    protocol: Protocol,
    /// The number of entries; 0 for an empty list.
    entries: usize,
    /// At least one, by position.
    errors: Vec<SettingError>,
}

impl BindError {
    /// `errors` must not be empty.
    pub(crate) fn new(protocol: Protocol, entries: usize, mut errors: Vec<SettingError>) -> Self {
        sort_by(&mut errors, |a, b| a.position.cmp(&b.position));
        Self(Box::new(Details {
            protocol,
            entries,
            errors,
        }))
    }

    fn first(&self) -> &SettingError {
        &self.0.errors[0]
    }

    /// Returns the setting as written, or its canonical form if it was not a string.
    #[must_use]
    pub fn text(&self) -> &str {
        self.first().text()
    }

    /// Returns the position of the first setting that failed.
    #[must_use]
    pub fn position(&self) -> Position {
        self.first().position
    }

    /// Returns an iterator over all errors, ordered by position; there is at least one.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind(["127.0.0.1:0", "224.0.0.1:0", "nowhere"]).unwrap_err();
    /// let texts: Vec<&str> = err.errors().map(|error| error.text()).collect();
    /// assert_eq!(texts, ["224.0.0.1:0", "nowhere"]);
    /// ```
    pub fn errors(&self) -> impl Iterator<Item = &SettingError> {
        self.0.errors.iter()
    }

    /// Returns the address of the socket, or `None` if the setting yields no socket.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.first().addr
    }

    /// Returns the step that failed.
    #[must_use]
    pub fn step(&self) -> Step {
        self.first().step
    }

    /// Returns the cause of the failure.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        self.first().cause()
    }

    /// Returns the kind of the system's error, or the closest kind if there is none.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        let first = self.first();
        let of_cause = || first.cause().error_kind();
        first.io_error().map_or_else(of_cause, io::Error::kind)
    }

    /// Returns the OS error code, or `None` if the error did not come from the system.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.first().io_error()?.raw_os_error()
    }

    /// Converts into the system's error, for code that matches on
    /// [`raw_os_error`](io::Error::raw_os_error), or returns `None` if the error did not come from
    /// the system.
    ///
    /// An [`io::Error`] holds either a code or a [`BindError`]: [`From`] keeps the explanation,
    /// this method keeps the code.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// let os_error = err.into_os_error().expect("bind(2) failed");
    /// assert_eq!(os_error.kind(), std::io::ErrorKind::AddrNotAvailable);
    /// assert!(os_error.raw_os_error().is_some());
    /// ```
    #[must_use]
    pub fn into_os_error(self) -> Option<io::Error> {
        self.raw_os_error().map(io::Error::from_raw_os_error)
    }

    /// Returns the hints of all errors without duplicates, likeliest first.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::diagnosis::HintKind;
    ///
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// let widening = err.hints().into_iter().find(|hint| hint.kind() == HintKind::Widen);
    /// let widening = widening.expect("the wildcard can be bound");
    /// assert_eq!(widening.replacement(), Some("0.0.0.0:0"));
    /// assert!(widening.text().starts_with(
    ///     "`0.0.0.0:0` listens on every IPv4 address of this host, reachable from ",
    /// ));
    /// ```
    #[must_use]
    pub fn hints(&self) -> Vec<Hint> {
        without_repetition(self.errors().flat_map(SettingError::hints))
    }

    /// Returns `true` if a retry may succeed without intervention.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// assert!(!err.is_transient());
    /// ```
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let mut causes = self.errors().flat_map(SettingError::causes);
        causes.all(Cause::is_transient)
    }

    /// Writes the start of the message: the setting, or how many settings failed.
    fn write_lead_in(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.0.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "UDP ",
        };
        if self.0.entries == 1 {
            return write!(f, "cannot listen on {protocol}{}", shown(self.text()));
        }
        let mut failed: Vec<Position> = self.errors().map(SettingError::position).collect();
        failed.dedup();
        let (failed, all) = (failed.len(), self.0.entries);
        if failed == all {
            write!(f, "cannot listen on any of {all} {protocol}addresses")
        } else {
            write!(f, "cannot listen on {failed} of {all} {protocol}addresses")
        }
    }

    /// Returns the setting or socket that failed; empty if the cause already names it.
    fn subject(&self, error: &SettingError) -> String {
        let mut subject = String::new();
        if self.0.entries > 1 && !matches!(error.cause(), Cause::InvalidText(_)) {
            subject = format!("{}: ", shown(error.text()));
        }
        match error.addr {
            Some(addr) if !error.text().ends_with(&addr.to_string()) => {
                subject = format!("{subject}{addr}: ");
            }
            _ => {}
        }
        subject
    }

    /// Writes a line for each cause, followed by its hints.
    fn write_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: Vec<(String, Vec<String>, Vec<&SettingError>)> = Vec::new();
        let mut places: Map<String, usize> = Map::new();
        for error in self.errors() {
            let causes = error.sentence();
            let subject = self.subject(error);
            let subject = subject.trim_end_matches(": ").to_owned();
            let place = *places.get_or_insert_with(causes.clone(), || groups.len());
            match groups.get_mut(place) {
                Some((_, subjects, errors)) => {
                    subjects.push(subject);
                    errors.push(error);
                }
                None => groups.push((causes, vec![subject], vec![error])),
            }
        }
        self.write_lead_in(f)?;
        for (causes, mut subjects, errors) in groups {
            // The causes of an invalid text name it.
            subjects.retain(|subject| !subject.is_empty());
            let (first, more) = subjects.split_at(subjects.len().min(SHOWN));
            write!(f, "\n  {}", first.join(", "))?;
            if !more.is_empty() {
                write!(f, " and {} more", more.len())?;
            }
            let joint = if first.is_empty() { "" } else { ": " };
            write!(f, "{joint}{causes}")?;
            let hints = without_repetition(errors.into_iter().flat_map(SettingError::hints));
            for hint in for_operators(hints).take(SHOWN) {
                write!(f, "\n    hint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// How many errors a message names.
const SHOWN: usize = 10;

/// Leaves out the hints that only the author of the program can follow.
fn for_operators(hints: Vec<Hint>) -> impl Iterator<Item = Hint> {
    let hints = hints.into_iter();
    hints.filter(|hint| hint.kind() != HintKind::Program)
}

/// Formats the message and one line per hint, for a `main` that returns the error.
impl fmt::Debug for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut hints = for_operators(self.hints()).take(SHOWN);
        hints.try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // These name themselves.
        if let (Cause::InvalidText(_), 1) | (Cause::EmptyList, _) = (self.cause(), self.0.entries) {
            self.cause().fmt(f)?;
            if f.alternate() {
                let mut hints = for_operators(self.hints());
                hints.try_for_each(|hint| write!(f, "\n    hint: {hint}"))?;
            }
            return Ok(());
        }
        if f.alternate() {
            return self.write_lines(f);
        }
        self.write_lead_in(f)?;
        let is_one = self.0.errors.len() == 1;
        for (n, error) in self.errors().take(SHOWN).enumerate() {
            // The sentences have clauses, so a semicolon does not separate them.
            let joint = match n {
                0 if is_one => ": ".to_owned(),
                0 => ": (1) ".to_owned(),
                n => format!("; ({}) ", n + 1),
            };
            write!(f, "{joint}{}{}", self.subject(error), error.sentence())?;
        }
        match self.0.errors.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.first().io_error().map(|err| err as _)
    }
}

impl From<BindError> for io::Error {
    /// Converts to an `io::Error` of the same kind that wraps the whole [`BindError`].
    fn from(err: BindError) -> Self {
        Self::new(err.kind(), err)
    }
}

/// The error of one setting, or of one of its sockets.
///
/// [`Listeners::skipped`](crate::Listeners::skipped) returns the errors of optional entries that
/// were skipped.
///
/// # Examples
///
/// ```
/// use bindaddr::diagnosis::Step;
///
/// let err = bindaddr::bind("224.0.0.1:80").unwrap_err();
/// let errors: Vec<_> = err.errors().collect();
/// assert_eq!(errors.len(), 1);
/// assert_eq!(errors[0].addr(), Some(([224, 0, 0, 1], 80).into()));
/// assert_eq!(errors[0].step(), Step::Validate);
/// ```
#[derive(Clone, Debug)]
pub struct SettingError {
    position: Position,
    text: Arc<str>,
    addr: Option<SocketAddr>,
    step: Step,
    /// Never empty; the first is the cause of `error`.
    causes: Arc<[Cause]>,
    hints: Arc<[Hint]>,
    error: Option<Arc<io::Error>>,
}

impl SettingError {
    pub(crate) fn new(
        addr: Option<SocketAddr>,
        step: Step,
        diagnosis: Diagnosis,
        error: Option<io::Error>,
    ) -> Self {
        let mut causes = diagnosis.causes;
        if causes.is_empty() {
            causes.push(Cause::Other { step });
        }
        Self {
            position: Position::default(),
            text: "".into(),
            addr,
            step,
            causes: causes.into(),
            hints: diagnosis.hints.into(),
            // An option that the platform lacks is not an error of the system; one of the program's
            // own callback is.
            error: error
                .filter(|error| error.raw_os_error().is_some() || error.get_ref().is_some())
                .map(Arc::new),
        }
    }

    /// Creates the error of a setting that yields no socket.
    pub(crate) fn of_setting(step: Step, cause: Cause) -> Self {
        let hints = match &cause {
            Cause::InvalidText(error) => error.hints(),
            _ => Vec::new(),
        };
        let causes = vec![cause];
        Self::new(None, step, Diagnosis { causes, hints }, None)
    }

    pub(crate) fn at(self, position: Position, text: Arc<str>) -> Self {
        Self {
            position,
            text,
            ..self
        }
    }

    pub(crate) fn with_hints(self, hints: Vec<Hint>) -> Self {
        Self {
            hints: hints.into(),
            ..self
        }
    }

    /// Returns the position of the setting.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the setting as written, or its canonical form if it was not a string.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the address of the socket, or `None` if the setting yields no socket.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Returns the step that failed.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// Returns the cause of the failure.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.causes[0]
    }

    /// Returns all causes: that of the system's error first, then further problems that would have
    /// followed.
    ///
    /// # Examples
    ///
    /// The kernel rejects a foreign IPv4 address before it checks the port.
    ///
    /// ```
    /// let held = bindaddr::bind("0.0.0.0:0")?;
    /// let port = held[0].local_addr().port();
    /// let err = bindaddr::bind(format!("198.51.100.1:{port}")).unwrap_err();
    /// let error = err.errors().next().expect("at least one");
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(error.causes().len(), 2);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }

    /// Returns the hints, the likeliest first.
    #[must_use]
    pub fn hints(&self) -> &[Hint] {
        &self.hints
    }

    /// Returns the system's error, or `None` if the error did not come from the system.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match self.cause() {
            Cause::Unresolved(kind) => kind.io_error(),
            _ => self.error.as_deref(),
        }
    }

    /// Returns the causes as one sentence. The system's error is appended only if no cause explains
    /// it.
    fn sentence(&self) -> String {
        let of_cause = |cause: &Cause| match (cause, &self.error) {
            (Cause::Other { .. }, Some(error)) => format!("{cause}: {error}"),
            _ => cause.to_string(),
        };
        let causes: Vec<String> = self.causes.iter().map(of_cause).collect();
        causes.join("; also, ")
    }
}

/// Formats the setting and its causes, as in [`BindError`]'s message.
impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !matches!(self.cause(), Cause::InvalidText(_)) {
            write!(f, "{}: ", shown(&self.text))?;
        }
        f.write_str(&self.sentence())
    }
}
