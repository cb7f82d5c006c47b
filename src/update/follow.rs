//! The state of following a host's addresses: [`Following`] (feature `watch`).

use std::io;
use std::time::Duration;

use super::event::{Event, News};
use super::{Diff, Update};
use crate::bind::Listeners;
use crate::interfaces::Interfaces;
use crate::plan::Plan;

/// The changes that were reported so far.
pub(crate) struct Following {
    /// The sockets that were open after the last step.
    last: Diff,
    news: News,
    is_unwatched: bool,
}

impl Following {
    pub(crate) fn new<S>(plan: &Plan, open: &Listeners<S>) -> Self {
        Self {
            last: plan.diff(open),
            news: News::default(),
            is_unwatched: false,
        }
    }

    /// Plans for the host as it is now. If that fails, nothing is to be changed; there is no event
    /// if it was reported before.
    pub(crate) fn replan(&mut self, plan: &Plan) -> Result<Plan, Vec<Event>> {
        let host = Interfaces::system().map_err(|error| {
            let event = self.news.of_failure(Event::HostUnreadable(error));
            Vec::from_iter(event)
        })?;
        let plan = plan.replan(&host.with_system_default_sources());
        plan.map_err(|error| Vec::from_iter(self.news.of_failure(Event::PlanFailed(error))))
    }

    /// Returns what is new after an update: `before` is the difference that led to it, and `after`
    /// is what is left.
    pub(crate) fn events(&mut self, before: &Diff, after: Diff, update: Update) -> Vec<Event> {
        let changes = before.since(&self.last).into_iter().cloned();
        let events = self.news.of(changes, update);
        self.last = after;
        events
    }

    /// Notes that changes are reported to this process.
    pub(crate) fn set_watched(&mut self) {
        self.is_unwatched = false;
    }

    /// Returns the event that changes are not reported, unless it was the last one about that.
    pub(crate) fn unwatched(&mut self, error: io::Error) -> Option<Event> {
        let is_new = !std::mem::replace(&mut self.is_unwatched, true);
        is_new.then_some(Event::Unwatched(error))
    }
}

/// The pause before what failed is tried again, which doubles up to the longest.
pub(crate) struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);

    pub(crate) fn get(&self) -> Duration {
        self.0
    }

    pub(crate) fn grow(&mut self) {
        self.0 = (2 * self.0).min(Self::LONGEST);
    }

    pub(crate) fn reset(&mut self) {
        self.0 = Self::FIRST;
    }
}
