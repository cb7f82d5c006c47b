//! Reports what an update would run into: [`Plan::check_beside`].

use std::net::UdpSocket;

use crate::bind::{Found, Goal, Listeners, Missing, OwnSocket};
use crate::check::Check;
use crate::interfaces::Interfaces;
use crate::plan::Plan;
use crate::target::Protocol;

impl Plan {
    /// Reports what [`apply`](Self::apply) with [`Apply::AllOrNone`](super::Apply::AllOrNone) would
    /// run into beside the open TCP listeners, as [`check`](Self::check) does for
    /// [`bind`](Self::bind). The listeners are in no socket's way, whether they are kept or would
    /// be closed.
    ///
    /// It is for a config that is read again: a mistake is reported before anything changes. Where
    /// a socket is to be opened beside one that overlaps with it, both have `SO_REUSEPORT` while
    /// the kernel is asked, as in `apply`; if that is not possible, the warning is
    /// [`SharingUnknown`](crate::diagnosis::WarningKind::SharingUnknown).
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::BindOptions;
    ///
    /// let options = BindOptions::new();
    /// let listeners = options.bind("127.0.0.1:0")?;
    /// let plan = options.plan(listeners[0].local_addr())?;
    /// assert!(!plan.check().is_ok(), "the port is in use");
    /// assert!(plan.check_beside(&listeners).is_ok());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn check_beside(&self, open: &Listeners) -> Check {
        check_beside(self, Protocol::Tcp, open)
    }

    /// Reports what [`apply_udp`](Self::apply_udp) with
    /// [`Apply::AllOrNone`](super::Apply::AllOrNone) would run into beside the open UDP sockets.
    #[must_use]
    pub fn check_udp_beside(&self, open: &Listeners<UdpSocket>) -> Check {
        check_beside(self, Protocol::Udp, open)
    }
}

fn check_beside<S: OwnSocket>(plan: &Plan, protocol: Protocol, open: &Listeners<S>) -> Check {
    let Missing {
        matching,
        outgoing,
        mut opening,
    } = Missing::open(plan, protocol, open, Goal::Check, true);
    let kept = matching
        .sockets
        .iter()
        .filter_map(|matched| match matched.open {
            Some(Found::Same(at)) => Some(open[at].as_checked(&matched.planned)),
            _ => None,
        });
    opening.opened.extend(kept);
    let host = Interfaces::system().ok();
    let check = Check::of(
        plan,
        Vec::new(),
        plan.texts(),
        protocol,
        host.as_ref(),
        opening,
        &outgoing,
    );
    outgoing.finish().shared.clear_marks();
    check
}
