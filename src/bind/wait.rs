//! Retries while an address is missing: [`BindOptions::wait`](super::BindOptions::wait).

use std::thread;
use std::time::{Duration, Instant};

use super::Unopened;
use crate::diagnose::{AddrProbe as _, Errno};
use crate::diagnosis::{BindError, Cause, SettingError, Step};
use crate::plan::{Options, WaitProgress};

/// The pause after the first attempt, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// The pause while a port is in use.
const PORT_PAUSE: Duration = Duration::from_millis(250);
/// How long only the missing addresses are probed.
const WHOLE_ATTEMPT: Duration = Duration::from_secs(1);

/// Attempts until one succeeds, waiting does not help, or the time is up.
pub(super) fn keep_trying<T>(
    options: &Options,
    mut attempt: impl FnMut() -> Result<T, Unopened>,
) -> Result<T, BindError> {
    if options.wait.is_zero() {
        // The clock takes as long as some system calls.
        return attempt().map_err(|unopened| unopened.error);
    }
    let mut attempts = Attempts::new(options);
    loop {
        match attempts.advance(&mut attempt) {
            Advance::Done(result) => return result,
            Advance::Pause(pause) => thread::sleep(pause),
        }
    }
}

/// Does the same, asleep on the timer of the runtime.
#[cfg(feature = "tokio")]
pub(super) async fn keep_trying_async<T>(
    options: &Options,
    mut attempt: impl FnMut() -> Result<T, Unopened>,
) -> Result<T, BindError> {
    let mut attempts = Attempts::new(options);
    loop {
        match attempts.advance(&mut attempt) {
            Advance::Done(result) => return result,
            Advance::Pause(pause) => ::tokio::time::sleep(pause).await,
        }
    }
}

/// The next step.
enum Advance<T> {
    Done(Result<T, BindError>),
    Pause(Duration),
}

/// The attempts of one call: when the next is due, and how long to pause until then.
struct Attempts<'a> {
    options: &'a Options,
    begun: Instant,
    /// When the last attempt began.
    tried: Instant,
    /// The result.
    unopened: Option<Unopened>,
    /// Not yet, right after an attempt.
    has_paused: bool,
    pause: Duration,
}

impl<'a> Attempts<'a> {
    fn new(options: &'a Options) -> Self {
        let now = Instant::now();
        Self {
            options,
            begun: now,
            tried: now,
            unopened: None,
            has_paused: false,
            pause: FIRST_PAUSE,
        }
    }

    /// Makes an attempt if one is due, and decides whether another one follows after a pause.
    fn advance<T>(&mut self, attempt: &mut impl FnMut() -> Result<T, Unopened>) -> Advance<T> {
        let waiting = self
            .unopened
            .take()
            .filter(|unopened| !self.is_due(unopened));
        let unopened = if let Some(unopened) = waiting {
            unopened
        } else {
            self.tried = Instant::now();
            self.has_paused = false;
            match attempt() {
                Err(unopened) if may_resolve_itself(&unopened.error, self.options) => unopened,
                result => return Advance::Done(result.map_err(|unopened| unopened.error)),
            }
        };
        match self.pause(&unopened.error) {
            Some(pause) => {
                self.unopened = Some(unopened);
                Advance::Pause(pause)
            }
            None => Advance::Done(Err(unopened.error)),
        }
    }

    fn progress<'e>(&self, error: &'e BindError) -> WaitProgress<'e> {
        WaitProgress {
            error,
            waited: self.begun.elapsed(),
            timeout: self.options.wait,
        }
    }

    /// Returns how long to pause; `None` to give up.
    fn pause(&mut self, error: &BindError) -> Option<Duration> {
        let progress = self.progress(error);
        let left = progress.left();
        let on_wait = self.options.on_wait.as_ref();
        if left.is_zero() || on_wait.is_some_and(|on_wait| (on_wait.0)(&progress).is_break()) {
            return None;
        }
        // An attempt is slow on a host with many addresses, so back off for at least as long.
        let pause = if self.has_paused {
            self.pause
        } else {
            self.pause.max(self.tried.elapsed())
        };
        // Its holder is looked for with each attempt, among all processes.
        let mut causes = error.errors().flat_map(SettingError::causes);
        let pause = if causes.any(is_in_use) {
            pause.max(PORT_PAUSE)
        } else {
            pause
        };
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        self.has_paused = true;
        Some(pause.min(left))
    }

    /// Returns `true` if it is time for the next attempt, after a pause.
    ///
    /// To open the rest of a list and close it again would accept clients and drop them, so only
    /// missing addresses are probed in between. The whole is attempted now and then, because the
    /// cause may be another one by now.
    fn is_due(&self, unopened: &Unopened) -> bool {
        let may_look_up = || {
            let mut entries = unopened.entries.iter();
            self.options.resolver.is_some() && entries.any(|entry| entry.has_name())
        };
        self.tried.elapsed() > WHOLE_ATTEMPT
            || self.progress(&unopened.error).left() < self.pause
            // A name server should not be queried at every pause.
            || !lacks_an_address(unopened).unwrap_or_else(may_look_up)
    }
}

/// Probes whether an address or a device is still missing; `None` if none was.
fn lacks_an_address(unopened: &Unopened) -> Option<bool> {
    let mut missing = None;
    for error in unopened.error.errors().filter(|error| is_missing(error)) {
        let entry = unopened.entry_at(error.position());
        let (Some(entry), Some(addr)) = (entry, error.addr()) else {
            continue;
        };
        if entry.probe_addr(addr).is_err() {
            return Some(true);
        }
        missing = Some(false);
    }
    missing
}

/// Returns `true` if an address or a device was missing.
fn is_missing(error: &SettingError) -> bool {
    let errno = error.io_error().map(Errno::of);
    matches!(
        (error.step(), errno),
        (Step::Bind, Some(Errno::NotAvailable)) | (Step::Option("device"), Some(Errno::NoDevice))
    )
}

fn may_resolve_itself(error: &BindError, options: &Options) -> bool {
    let mut causes = error.errors().flat_map(SettingError::causes);
    causes.all(|cause| cause.may_resolve_itself() || options.waits_for_port && is_in_use(cause))
}

fn is_in_use(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::InUse { .. } | Cause::InUseByUnknown { .. } | Cause::RangeInUse { .. }
    )
}
