//! A report of following the addresses of a host: [`Event`] (feature `watch`).

use std::fmt;
use std::io;

use super::{Change, ChangeKind, Update};
use crate::diagnosis::{BindError, SettingError};
use crate::interfaces::InterfacesError;

/// A step of a server that follows the addresses of its host, for a log.
///
/// The [`Display`](fmt::Display) form has a line for each thing that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// An open socket can or cannot be connected to any more.
    Changed(Change),
    /// Sockets were opened or closed, or could not be. A failure is reported again only when its
    /// cause has changed.
    Updated(Update),
    /// The host could not be read, and nothing was changed.
    HostUnreadable(InterfacesError),
    /// The settings exclude each other on the addresses that the host has now, and nothing was
    /// changed.
    PlanFailed(BindError),
    /// Changes of the host are not reported to this process, which looks now and then.
    Unwatched(io::Error),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed(change) => writeln!(f, "{change}"),
            Self::Updated(update) => update.fmt(f),
            Self::HostUnreadable(error) => {
                writeln!(f, "the sockets stay as they are: {error}")
            }
            Self::PlanFailed(error) => writeln!(f, "the sockets stay as they are: {error}"),
            Self::Unwatched(error) => {
                writeln!(
                    f,
                    "changes of this host's addresses are found late: {error}"
                )
            }
        }
    }
}

/// The last report, so that a failure is not reported with each attempt.
#[derive(Default)]
pub(super) struct News {
    failures: Vec<String>,
}

impl News {
    /// Returns the events of an update, without the failures that were reported before.
    pub(super) fn of(
        &mut self,
        changes: impl Iterator<Item = Change>,
        update: Update,
    ) -> Vec<Event> {
        let is_open =
            |change: &Change| matches!(change.kind(), ChangeKind::Kept | ChangeKind::Unreachable);
        let mut events: Vec<Event> = changes.filter(is_open).map(Event::Changed).collect();
        let failures: Vec<String> = update
            .errors()
            .iter()
            .map(SettingError::to_string)
            .collect();
        let has_new_failures = self.failures != failures && !failures.is_empty();
        self.failures = failures;
        let has_changed = !update.opened().is_empty() || !update.closed().is_empty();
        if has_changed || has_new_failures {
            events.push(Event::Updated(update));
        }
        events
    }

    /// Returns an event by which nothing was changed, unless it was the last one.
    pub(super) fn of_failure(&mut self, event: Event) -> Option<Event> {
        let failures = vec![event.to_string()];
        let is_new = self.failures != failures;
        self.failures = failures;
        is_new.then_some(event)
    }
}
