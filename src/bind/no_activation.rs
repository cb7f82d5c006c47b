//! Without the feature `socket-activation` no socket is handed over.

use super::Listeners;
use super::engine::Opening;
use super::listener::OpenState;
use super::matching::Matching;
use super::socket::Goal;
use crate::diagnose::HandedOver;
use crate::plan::{Options, Plan, PlannedSocket};
use crate::sys::Protocol;

/// The sockets that were handed over: none.
pub(crate) struct Inherited;

impl Inherited {
    pub(crate) fn of<S>(_: &Plan, _: Protocol, _: &Listeners<S>) -> Self {
        Self
    }

    #[allow(clippy::unused_self)] // as with the feature
    pub(crate) fn states(&self) -> &[OpenState] {
        &[]
    }

    #[allow(clippy::unused_self)] // as with the feature
    pub(crate) fn take(&self, _: &Matching, _: Goal) -> Opening {
        Opening::default()
    }
}

pub(super) fn in_the_way_of(_: &Options, _: Protocol, _: &PlannedSocket) -> Option<HandedOver> {
    None
}
