//! Trying again until an address has come: [`BindOptions::wait`].

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{BindError, BindFailure, BindOptions, Setting};
use crate::diagnose::{Cause, Errno, Kernel, Step};

/// What [`BindOptions::on_wait`] is told: what is waited for, and how long.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use std::time::Duration;
///
/// use bindaddr::BindOptions;
///
/// let options = BindOptions::new().wait(Duration::from_secs(5)).on_wait(|waiting| {
///     eprintln!("{} ({:.1?} left)", waiting.error(), waiting.left());
///     ControlFlow::Break(()) // enough of it
/// });
/// // TEST-NET-2 (RFC 5737), which no host has.
/// assert!(options.bind("198.51.100.1:0").is_err());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    error: &'a BindError,
    waited: Duration,
    timeout: Duration,
}

impl<'a> Waiting<'a> {
    /// Returns why the last try failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let options = BindOptions::new().wait(Duration::from_secs(30)).on_wait(|waiting| {
    ///     eprintln!("{}", waiting.error());
    ///     assert_eq!(waiting.error().text(), "198.51.100.1:0");
    ///     ControlFlow::Break(())
    /// });
    /// assert!(options.bind("198.51.100.1:0").is_err());
    /// ```
    #[must_use]
    pub fn error(&self) -> &'a BindError {
        self.error
    }

    /// Returns how long it has been tried.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let options = BindOptions::new().wait(Duration::from_secs(30)).on_wait(|waiting| {
    ///     assert!(waiting.waited() < Duration::from_secs(30));
    ///     ControlFlow::Break(())
    /// });
    /// assert!(options.bind("198.51.100.1:0").is_err());
    /// ```
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns how long it will be tried on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let options = BindOptions::new().wait(Duration::from_secs(30)).on_wait(|waiting| {
    ///     assert!(waiting.left() > Duration::ZERO);
    ///     ControlFlow::Break(())
    /// });
    /// assert!(options.bind("198.51.100.1:0").is_err());
    /// ```
    #[must_use]
    pub fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.waited)
    }
}

/// Whom to tell of the waiting.
#[derive(Clone)]
pub(super) struct Watch(Arc<Tell>);

type Tell = dyn Fn(&Waiting<'_>) -> ControlFlow<()> + Send + Sync;

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// The pause after the first try, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How long nothing but the missing addresses is asked about.
const WHOLE_TRY: Duration = Duration::from_secs(1);

impl BindOptions {
    /// Sets how long to keep trying while what fails may come with time.
    ///
    /// That is an address or an interface that is not there yet, as at boot, an IPv6 address
    /// that is still tentative, an interface that is down or has no carrier, and connections
    /// of a server that is gone. Whatever waiting does not mend fails at once: a port that
    /// another server has, a missing privilege, a mistake in the text. The default is not to
    /// wait.
    ///
    /// The calling thread sleeps between the tries, for 50 milliseconds at most, or as long
    /// as the last try took. While an address or a device is missing, that is what is asked about; the
    /// other sockets of a list are opened with the first try and about once a second from then on, for the cause may be
    /// another, and closed at once. A list with a name to [look up](Self::lookup) is tried about once a second, and when a
    /// missing address is there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let options = BindOptions::new().wait(Duration::from_secs(30));
    /// options.bind("127.0.0.1:0")?; // it is there at once
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn wait(mut self, timeout: Duration) -> Self {
        self.wait = timeout;
        self
    }

    /// Sets whom to tell, after each try, of what is [waited](Self::wait) for; by
    /// [`ControlFlow::Break`] it ends the waiting, and the last error is returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    ///
    /// use bindaddr::BindOptions;
    ///
    /// let stopped = Arc::new(AtomicBool::new(true)); // by a signal, say
    /// let seen = stopped.clone();
    /// let options = BindOptions::new().wait(Duration::from_secs(30)).on_wait(move |_| {
    ///     match seen.load(Ordering::Relaxed) {
    ///         true => ControlFlow::Break(()),
    ///         false => ControlFlow::Continue(()),
    ///     }
    /// });
    /// assert!(options.bind("198.51.100.1:0").is_err());
    /// ```
    #[must_use]
    pub fn on_wait(
        mut self,
        watch: impl Fn(&Waiting<'_>) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.watch = Some(Watch(Arc::new(watch)));
        self
    }

    /// Tries until it works, what is wrong does not mend itself, or time is up.
    ///
    /// `settings` are those that are tried.
    pub(super) fn keep_trying<T>(
        &self,
        settings: &[Setting<'_>],
        mut attempt: impl FnMut() -> Result<T, BindError>,
    ) -> Result<T, BindError> {
        if self.wait.is_zero() {
            return attempt();
        }
        let mut tries = Tries::new(self, settings);
        loop {
            let error = match tries.run(&mut attempt) {
                Err(error) if comes_with_time(&error) => error,
                result => return result,
            };
            while !tries.is_due(&error) {
                match tries.rest(&error) {
                    Some(rest) => thread::sleep(rest),
                    None => return Err(error),
                }
            }
        }
    }

    /// Asks whether an address or a device of those that failed is missing still; `None` if none was.
    fn lacks_an_address(&self, settings: &[Setting<'_>], error: &BindError) -> Option<bool> {
        let missing = error.failures().filter_map(|failure| {
            let errno = failure.io_error().map(Errno::of)?;
            let is_missing = matches!(
                (failure.step(), errno),
                (Step::Bind, Errno::NotAvailable) | (Step::Option("device"), Errno::NoDevice)
            );
            let setting = settings.get(failure.entry())?;
            Some((
                setting.options(self),
                failure.addr().filter(|_| is_missing)?,
            ))
        });
        let mut missing = missing
            .map(|(options, addr)| options.try_address(addr))
            .peekable();
        missing.peek()?;
        Some(missing.any(|asked| asked.is_err()))
    }
}

/// The tries of one call: when the next is due, and how long to rest until then.
pub(super) struct Tries<'a> {
    options: &'a BindOptions,
    settings: &'a [Setting<'a>],
    /// Whether a try looks up names.
    asks_dns: bool,
    begun: Instant,
    tried: Instant,
    /// Not yet, right after a try.
    has_rested: bool,
    pause: Duration,
}

impl<'a> Tries<'a> {
    pub(super) fn new(options: &'a BindOptions, settings: &'a [Setting<'a>]) -> Self {
        let now = Instant::now();
        Self {
            options,
            settings,
            asks_dns: options.resolver.is_some() && settings.iter().any(Setting::has_name),
            begun: now,
            tried: now,
            has_rested: false,
            pause: FIRST_PAUSE,
        }
    }

    pub(super) fn run<T>(
        &mut self,
        attempt: &mut impl FnMut() -> Result<T, BindError>,
    ) -> Result<T, BindError> {
        self.tried = Instant::now();
        self.has_rested = false;
        attempt()
    }

    fn waiting<'e>(&self, error: &'e BindError) -> Waiting<'e> {
        Waiting {
            error,
            waited: self.begun.elapsed(),
            timeout: self.options.wait,
        }
    }

    /// Returns how long to rest; `None` if it is to be given up.
    pub(super) fn rest(&mut self, error: &BindError) -> Option<Duration> {
        let waiting = self.waiting(error);
        let left = waiting.left();
        let watch = self.options.watch.as_ref();
        if left.is_zero() || watch.is_some_and(|watch| (watch.0)(&waiting).is_break()) {
            return None;
        }
        // On a large host a try is dear, and the host has other things to do.
        let rest = if self.has_rested {
            self.pause
        } else {
            self.pause.max(self.tried.elapsed())
        };
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        self.has_rested = true;
        Some(rest.min(left))
    }

    /// Tells whether to try again, after a rest.
    ///
    /// To open the rest of a list and close it again would take in clients and drop them.
    /// The whole is tried now and then, for the cause may be another.
    pub(super) fn is_due(&self, error: &BindError) -> bool {
        let lacks_an_address = || self.options.lacks_an_address(self.settings, error);
        self.has_rested
            && (self.tried.elapsed() > WHOLE_TRY
                || self.waiting(error).left() < self.pause
                // Who serves names has others to serve.
                || !lacks_an_address().unwrap_or(self.asks_dns))
    }
}

pub(super) fn comes_with_time(error: &BindError) -> bool {
    let mut causes = error.failures().flat_map(BindFailure::causes);
    causes.all(Cause::comes_with_time)
}
