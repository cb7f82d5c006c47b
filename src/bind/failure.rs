//! What the doors say when they fail: [`BindError`].

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use crate::diagnose::{
    Cause, Diagnosis, Hint, HintKind, Step, hints_of_unresolved, without_repetition,
};
use crate::listen::{Host, ListenAddr, shown};
use crate::target::Protocol;

/// A setting whose sockets could not be opened. None of them is open.
///
/// The message is one sentence: the setting as written, and for each socket that
/// failed what is wrong and what would mend it. The system's own error is the
/// [`source`](Error::source) and is not repeated in the message.
///
/// The accessors speak of the first failure; [`failures`](Self::failures) has all.
///
/// # Examples
///
/// ```
/// use bindaddr::{Cause, Step};
///
/// let first = bindaddr::bind("127.0.0.1:0")?;
/// let port = first.as_slice()[0].local_addr().port();
///
/// let err = bindaddr::bind(format!("127.0.0.1:{port}")).unwrap_err();
/// # #[cfg(target_os = "linux")]
/// assert_eq!(
///     err.to_string(),
///     format!("cannot listen on 127.0.0.1:{port}: port {port} is in use by this process on 127.0.0.1"),
/// );
/// assert!(matches!(err.cause(), Cause::InUse { .. }));
/// assert_eq!(err.step(), Step::Bind);
/// assert_eq!(std::io::Error::from(err).kind(), std::io::ErrorKind::AddrInUse);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
pub struct BindError(Box<Details>);

struct Details {
    protocol: Protocol,
    /// The settings; none if the list was empty.
    texts: Vec<String>,
    first: BindFailure,
    others: Vec<BindFailure>,
}

impl BindError {
    /// `failures` has at least one.
    pub(super) fn new(
        protocol: Protocol,
        texts: Vec<String>,
        mut failures: Vec<BindFailure>,
    ) -> Self {
        let first = failures.remove(0);
        Self(Box::new(Details {
            protocol,
            texts,
            first,
            others: failures,
        }))
    }

    /// Returns the setting as it was written, of a list the one of the first failure; the
    /// canonical text, if it was no text.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// assert_eq!(err.text(), "198.51.100.1:0");
    /// ```
    #[must_use]
    pub fn text(&self) -> &str {
        self.text_of(&self.0.first)
    }

    /// Returns the setting that a failure is of, as it was written.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind_all(["127.0.0.1:0", "224.0.0.1:0", "nowhere"]).unwrap_err();
    /// let texts: Vec<&str> = err.failures().map(|failure| err.text_of(failure)).collect();
    /// assert_eq!(texts, ["224.0.0.1:0", "nowhere"]);
    /// ```
    #[must_use]
    pub fn text_of(&self, failure: &BindFailure) -> &str {
        self.0.texts.get(failure.entry).map_or("", String::as_str)
    }

    /// Iterates over what failed: at least one.
    ///
    /// # Examples
    ///
    /// ```
    /// let held = bindaddr::bind("localhost:0")?;
    /// let port = held.as_slice()[0].local_addr().port();
    /// let err = bindaddr::bind(format!("localhost:{port}")).unwrap_err();
    /// assert_eq!(err.failures().count(), held.as_slice().len());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn failures(&self) -> impl Iterator<Item = &BindFailure> {
        std::iter::once(&self.0.first).chain(&self.0.others)
    }

    /// Returns the address of the first socket that failed, where it came to one.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// assert_eq!(err.addr(), "198.51.100.1:0".parse().ok());
    /// ```
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.0.first.addr
    }

    /// Returns how far the first socket that failed came.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// assert_eq!(err.step(), bindaddr::Step::Bind);
    /// ```
    #[must_use]
    pub fn step(&self) -> Step {
        self.0.first.step
    }

    /// Returns why the first socket that failed did.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// assert_eq!(err.cause().name(), "not-on-this-host");
    /// ```
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.0.first.cause
    }

    /// Returns the code of the system's error, where the system was asked.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(err.raw_os_error(), Some(99)); // EADDRNOTAVAIL
    /// ```
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.first.io_error()?.raw_os_error()
    }

    /// Returns what would help, the likeliest first and none twice.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::HintKind;
    ///
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// let widening = err.hints().into_iter().find(|hint| hint.kind() == HintKind::Widen);
    /// let widening = widening.expect("the wildcard can be bound");
    /// assert_eq!(widening.replacement(), Some("0.0.0.0:0"));
    /// assert!(widening.text().starts_with(
    ///     "`0.0.0.0:0` listens on every IPv4 address of this host, which opens it to ",
    /// ));
    /// ```
    #[must_use]
    pub fn hints(&self) -> Vec<Hint> {
        without_repetition(self.failures().flat_map(BindFailure::hints))
    }

    /// Tells whether trying again may help although nobody mends anything.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// assert!(!err.is_transient());
    /// ```
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let mut causes = self.failures().flat_map(BindFailure::causes);
        causes.all(Cause::is_transient)
    }
}

/// The sentence, so that a `main` that returns the error prints it.
impl fmt::Debug for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 10;
        let Details {
            protocol,
            texts,
            first,
            others,
        } = &*self.0;
        // These name themselves.
        if let (Cause::Text(_), [_]) | (Cause::EmptyList, _) = (&first.cause, &texts[..]) {
            return first.cause.fmt(f);
        }
        let protocol = match protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "UDP ",
        };
        if let [text] = &texts[..] {
            write!(f, "cannot listen on {protocol}{}", shown(text))?;
        } else {
            let mut failed: Vec<usize> = self.failures().map(|failure| failure.entry).collect();
            failed.dedup();
            let (failed, all) = (failed.len(), texts.len());
            if failed == all {
                write!(f, "cannot listen on any of {all} {protocol}addresses")?;
            } else {
                write!(f, "cannot listen on {failed} of {all} {protocol}addresses")?;
            }
        }
        for (n, failure) in self.failures().take(SHOWN).enumerate() {
            f.write_str(if n == 0 { ": " } else { "; " })?;
            let text = self.text_of(failure);
            if texts.len() > 1 && !matches!(failure.cause, Cause::Text(_)) {
                write!(f, "{}: ", shown(text))?;
            }
            match failure.addr {
                Some(addr) if !text.ends_with(&addr.to_string()) => write!(f, "{addr}: ")?,
                _ => {}
            }
            failure.cause.fmt(f)?;
            for also in &failure.also {
                write!(f, "; also, {also}")?;
            }
        }
        match (1 + others.len()).saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.first.io_error().map(|err| err as _)
    }
}

impl From<BindError> for io::Error {
    /// Keeps the kind of the system's error, and the whole [`BindError`] inside.
    fn from(err: BindError) -> Self {
        let first = &err.0.first;
        let kind = first
            .io_error()
            .map_or_else(|| first.cause.error_kind(), io::Error::kind);
        Self::new(kind, err)
    }
}

/// Why one of the sockets of a setting could not be opened.
///
/// # Examples
///
/// ```
/// let err = bindaddr::bind("224.0.0.1:80").unwrap_err();
/// let failures: Vec<_> = err.failures().collect();
/// assert_eq!(failures.len(), 1);
/// assert_eq!(failures[0].addr(), Some(([224, 0, 0, 1], 80).into()));
/// ```
#[derive(Debug)]
pub struct BindFailure {
    entry: usize,
    addr: Option<SocketAddr>,
    step: Step,
    cause: Cause,
    also: Vec<Cause>,
    hints: Vec<Hint>,
    error: Option<io::Error>,
}

impl BindFailure {
    /// The first of the causes is that of the error.
    pub(super) fn new(
        addr: Option<SocketAddr>,
        step: Step,
        diagnosis: Diagnosis,
        error: Option<io::Error>,
    ) -> Self {
        let mut causes = diagnosis.causes.into_iter();
        Self {
            entry: 0,
            addr,
            step,
            cause: causes.next().unwrap_or(Cause::Other { step }),
            also: causes.collect(),
            hints: diagnosis.hints,
            // An option that the platform lacks is not an error of the system.
            error: error.filter(|error| error.raw_os_error().is_some()),
        }
    }

    /// A failure before it comes to a socket; `written` is the setting, if it could be read.
    pub(super) fn of_setting(step: Step, cause: Cause, written: Option<&ListenAddr>) -> Self {
        let hints = match (&cause, written) {
            (Cause::Text(error), _) => error.hints(),
            (Cause::Unresolved(kind), Some(written)) => hints_of_unresolved(kind, written),
            _ => Vec::new(),
        };
        let causes = vec![cause];
        Self::new(None, step, Diagnosis { causes, hints }, None)
    }

    pub(super) fn of_entry(self, entry: usize) -> Self {
        Self { entry, ..self }
    }

    /// Creates the failure of an IPv4-mapped address under `only_v6`; the IPv4 address is advised if it can be bound.
    pub(super) fn of_mapped(ip: Ipv4Addr, written: &ListenAddr, is_bindable: bool) -> Self {
        let host = Host::Ip {
            ip: ip.into(),
            zone: None,
        };
        let setting = written.with_other_host(host).to_string();
        let text = format!("`{setting}` is the IPv4 address");
        let diagnosis = Diagnosis {
            causes: vec![Cause::MappedOnV6Only { ip }],
            hints: is_bindable
                .then(|| Hint::replacing(HintKind::Replace, text, setting))
                .into_iter()
                .collect(),
        };
        Self::new(None, Step::Check, diagnosis, None)
    }

    /// Returns which of the settings of a list it is of, from 0 on.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind_all(["127.0.0.1:0", "198.51.100.1:0"]).unwrap_err();
    /// let failure = err.failures().next().expect("one at least");
    /// assert_eq!(failure.entry(), 1);
    /// ```
    #[must_use]
    pub fn entry(&self) -> usize {
        self.entry
    }

    /// Returns the address of the socket; `None` if the setting did not come to one.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// let failure = err.failures().next().expect("one at least");
    /// assert_eq!(failure.addr(), "198.51.100.1:0".parse().ok());
    /// ```
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Returns how far it came.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// let failure = err.failures().next().expect("one at least");
    /// assert_eq!(failure.step().to_string(), "binding the socket");
    /// ```
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// Returns why it failed: the cause of the system's error.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// let failure = err.failures().next().expect("one at least");
    /// assert!(matches!(failure.cause(), bindaddr::Cause::NotOnThisHost(_)));
    /// ```
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// Iterates over all that is wrong: the cause of the system's error first, then what
    /// the system would have refused next.
    ///
    /// # Examples
    ///
    /// A system refuses a foreign address before it looks at the port.
    ///
    /// ```
    /// let held = bindaddr::bind("0.0.0.0:0")?;
    /// let port = held.as_slice()[0].local_addr().port();
    /// let err = bindaddr::bind(format!("198.51.100.1:{port}")).unwrap_err();
    /// let failure = err.failures().next().expect("one at least");
    /// for cause in failure.causes() {
    ///     println!("{cause}");
    /// }
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(failure.causes().count(), 2);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn causes(&self) -> impl Iterator<Item = &Cause> {
        std::iter::once(&self.cause).chain(&self.also)
    }

    /// Returns what would help, the likeliest first.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("127.1:80").unwrap_err();
    /// let failure = err.failures().next().expect("one at least");
    /// assert!(failure.hints().is_empty());
    /// ```
    #[must_use]
    pub fn hints(&self) -> &[Hint] {
        &self.hints
    }

    /// Takes out all that is wrong, and what would help.
    pub(crate) fn into_diagnosis(self) -> Diagnosis {
        Diagnosis {
            causes: std::iter::once(self.cause).chain(self.also).collect(),
            hints: self.hints,
        }
    }

    /// Returns the system's error, where the system was asked.
    ///
    /// # Examples
    ///
    /// ```
    /// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
    /// let failure = err.failures().next().expect("one at least");
    /// let kind = failure.io_error().map(std::io::Error::kind);
    /// assert_eq!(kind, Some(std::io::ErrorKind::AddrNotAvailable));
    /// ```
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Unresolved(kind) => kind.io_error(),
            _ => self.error.as_ref(),
        }
    }
}
