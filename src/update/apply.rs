//! Makes the open sockets those of a plan: [`Plan::apply`].

use std::fmt;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream, UdpSocket};

use crate::bind::{
    FailedSocket, Finished, Found, Goal, Inherited, Listener, Listeners, Matched, Matching,
    Missing, Opener, Opening, Outgoing, OwnSocket, Rest, Verdict, explain, match_sockets,
    opener_beside, outgoing,
};
use crate::diagnosis::{BindError, Diagnosis, Position, SettingError, Step};
use crate::map::Set;
use crate::plan::{Duplicate, Plan, PlannedSocket, in_opening_order};
use crate::target::Protocol;

/// What [`Plan::apply`] does if a socket cannot be opened.
///
/// # Examples
///
/// ```
/// use bindaddr::BindOptions;
/// use bindaddr::update::Apply;
///
/// let mut listeners = bindaddr::bind("127.0.0.1:0")?;
/// // TEST-NET-2 (RFC 5737), which no host has.
/// let plan = BindOptions::new().plan("127.0.0.1:0, 198.51.100.1:80")?;
/// assert!(plan.apply(&mut listeners, Apply::AllOrNone).is_err());
/// let update = plan.apply(&mut listeners, Apply::BestEffort)?;
/// assert_eq!((update.kept(), update.errors().len()), (1, 1));
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Apply {
    /// Returns an error and leaves the open sockets unchanged. It is for a config that is read
    /// again.
    AllOrNone,
    /// Opens and closes the others anyway. It is for following the addresses of the host, and may
    /// leave no socket open.
    BestEffort,
}

/// What [`Plan::apply`] has done.
///
/// The [`Display`](fmt::Display) form has a line for each socket that was opened or closed, and for
/// each of the [errors](Self::errors). It leaves out the [pending](Self::pending) sockets.
#[derive(Debug, Default)]
#[must_use = "dropping it resets the connections of closed sockets that were not accepted yet"]
pub struct Update {
    kept: usize,
    opened: Vec<SocketAddr>,
    closed: Vec<SocketAddr>,
    errors: Vec<SettingError>,
    pending: Vec<SettingError>,
    drained: Vec<(TcpStream, SocketAddr)>,
    drain_error: Option<io::Error>,
    interrupted: Vec<SocketAddr>,
    open_elsewhere: Vec<SocketAddr>,
}

impl Update {
    /// Returns how many sockets stayed open.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Returns the addresses of the sockets that were opened.
    #[must_use]
    pub fn opened(&self) -> &[SocketAddr] {
        &self.opened
    }

    /// Returns the addresses of the sockets that were closed.
    ///
    /// A socket stays open as long as anything else has a descriptor of it: another process
    /// ([`open_elsewhere`](Self::open_elsewhere)), or a clone, which is non-blocking from now on.
    #[must_use]
    pub fn closed(&self) -> &[SocketAddr] {
        &self.closed
    }

    /// Returns why sockets could not be opened. With [`Apply::AllOrNone`] that is the error of
    /// [`Plan::apply`], and there is none here.
    #[must_use]
    pub fn errors(&self) -> &[SettingError] {
        &self.errors
    }

    /// Returns why sockets that are [pending](super::ChangeKind::Pending) could not be opened yet.
    #[must_use]
    pub fn pending(&self) -> &[SettingError] {
        &self.pending
    }

    /// Takes the connections that were established on closed sockets but not accepted, each with
    /// its peer address. They block.
    ///
    /// A client whose connection is established while its socket is being closed is reset: at once,
    /// or on Linux sometimes when it sends something. One socket yields 4,096 connections at most,
    /// and a UDP socket none.
    #[must_use]
    pub fn drained(&mut self) -> Vec<(TcpStream, SocketAddr)> {
        mem::take(&mut self.drained)
    }

    /// Returns why connections of a closed socket could not be accepted, such as a lack of
    /// descriptors. They are reset.
    #[must_use]
    pub fn drain_error(&self) -> Option<&io::Error> {
        self.drain_error.as_ref()
    }

    /// Adds why a connection of a closed socket could not be handed on.
    #[cfg(feature = "tokio")]
    pub(crate) fn add_drain_error(&mut self, error: io::Error) {
        self.drain_error.get_or_insert(error);
    }

    /// Returns the addresses of closed sockets that did not accept connections for a moment before
    /// the new ones did.
    ///
    /// A new socket that overlaps with an old one listens beside it (see [`Plan::apply`]). Where
    /// the system does not allow that, the old one stops listening just before the new one is
    /// bound.
    #[must_use]
    pub fn interrupted(&self) -> &[SocketAddr] {
        &self.interrupted
    }

    /// Returns the addresses of closed sockets that another process has open as well: the service
    /// manager that handed them over, or a process that they were passed to. Their ports are not
    /// free.
    #[must_use]
    pub fn open_elsewhere(&self) -> &[SocketAddr] {
        &self.open_elsewhere
    }

    pub(crate) fn close<S: OwnSocket>(&mut self, listener: &Listener<S>) {
        let addr = listener.local_addr();
        self.closed.push(addr);
        // The queue of a shared socket is not lost.
        if listener.state().is_shared() {
            self.open_elsewhere.push(addr);
        } else {
            let drained = listener.accept_waiting(&mut self.drained);
            self.drain_error = self.drain_error.take().or(drained.err());
        }
    }

    /// Closes a socket that has stopped listening, and was drained before.
    fn close_stopped<S>(&mut self, listener: &Listener<S>) {
        self.closed.push(listener.local_addr());
        self.interrupted.push(listener.local_addr());
    }
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for addr in &self.opened {
            writeln!(f, "opened {addr}")?;
        }
        for addr in &self.closed {
            let note = match () {
                () if self.open_elsewhere.contains(addr) => {
                    ", which another process has open as well"
                }
                () if self.interrupted.contains(addr) => {
                    ", which stopped listening a moment before"
                }
                () => "",
            };
            writeln!(f, "closed {addr}{note}")?;
        }
        for error in &self.errors {
            writeln!(f, "cannot listen on {error}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// Makes the open TCP listeners those of the plan: opens what is missing, and closes what the
    /// plan does not have.
    ///
    /// Sockets that are both open and planned, as [`diff`](Self::diff) compares them, stay open
    /// with their accept queue. Their [position](Listener::position) and
    /// [backlog](crate::BindOptions::backlog) become those of this plan; `reuse_port` and whether
    /// they block stay as they are. New sockets listen before old ones are closed. It does not
    /// [wait](crate::BindOptions::wait).
    ///
    /// # Platform notes
    ///
    /// A new socket may overlap with one that is to be closed, as `0.0.0.0:80` does with
    /// `127.0.0.1:80`.
    ///
    /// - Linux and Android: both listen until the old one is closed, by `SO_REUSEPORT` on both, so
    ///   no client is refused. If the old one belongs to another user, as after a privilege drop,
    ///   or the kernel's table of listening sockets cannot be read, it stops listening just before
    ///   the new one is bound, and listens again if that fails ([`Update::interrupted`]); an old
    ///   one that was bound to port 0 would lose its port, so there the port is in use. It also is
    ///   if another process has the old socket as well. While both listen, another process of this
    ///   user that sets `SO_REUSEPORT` could bind the port as well; where wildcards of both
    ///   families are open, it could also do so later, because the kernel keeps a mark.
    /// - Elsewhere: with [`Apply::AllOrNone`] the port is in use, and [`Apply::BestEffort`] closes
    ///   the old socket first.
    /// - A process that this one spawns has none of the sockets (close-on-exec). After a fork(2)
    ///   without execve(2) both processes have them, which is not known here: closing one in either
    ///   does not free its port, and one that has to stop for a moment stops in both.
    ///
    /// # Errors
    ///
    /// With [`Apply::AllOrNone`] a [`BindError`] that names the [`Cause`](crate::Cause) of every
    /// socket that failed, or that nothing would be left open. What was open stays open then, and
    /// accepts clients; only of a socket that had to stop for a moment, the connections that waited
    /// in its queue are reset (those of an acceptor or a follower are not). With
    /// [`Apply::BestEffort`] none: the causes are in [`Update::errors`].
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::BindOptions;
    /// use bindaddr::update::Apply;
    ///
    /// let options = BindOptions::new();
    /// let mut listeners = options.bind("127.0.0.1:0")?;
    /// let port = listeners[0].local_addr().port();
    ///
    /// // The config was read again.
    /// let plan = options.plan(format!("127.0.0.1:{port}, localhost:0"))?;
    /// let update = plan.apply(&mut listeners, Apply::AllOrNone)?;
    /// assert_eq!(update.kept(), 1);
    /// assert_eq!(listeners.len(), 1 + update.opened().len());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn apply(&self, open: &mut Listeners, mode: Apply) -> Result<Update, BindError> {
        apply(self, Protocol::Tcp, open, mode).map_err(|failed| failed.error)
    }

    /// Makes the open UDP sockets those of the plan, as [`apply`](Self::apply) does for TCP.
    /// Datagrams that are waiting in a socket that is closed are lost.
    ///
    /// No UDP socket is opened beside an old one that overlaps with it: with `SO_REUSEPORT` Linux
    /// might let it overlap with another server as well. With [`Apply::AllOrNone`] the port is in
    /// use, and [`Apply::BestEffort`] closes the old socket first.
    ///
    /// # Errors
    ///
    /// As for [`apply`](Self::apply).
    pub fn apply_udp(
        &self,
        open: &mut Listeners<UdpSocket>,
        mode: Apply,
    ) -> Result<Update, BindError> {
        apply(self, Protocol::Udp, open, mode).map_err(|failed| failed.error)
    }
}

/// Why nothing was opened.
pub(crate) struct Unprepared {
    pub(crate) error: BindError,
    /// The connections that were accepted of sockets that had to stop for a moment.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code))]
    pub(crate) drained: Vec<(TcpStream, SocketAddr)>,
}

/// The sockets that an update opens before it closes any.
pub(crate) struct Preparation<S> {
    matching: Matching,
    opened: Vec<(PlannedSocket, Listener<S>)>,
    left_out: Vec<PlannedSocket>,
    served: Vec<Duplicate>,
    skipped: Vec<SettingError>,
    errors: Vec<SettingError>,
    pending: Vec<SettingError>,
    /// The results for the sockets to close.
    outgone: Finished,
}

pub(crate) fn apply<S: OwnSocket>(
    plan: &Plan,
    protocol: Protocol,
    listeners: &mut Listeners<S>,
    mode: Apply,
) -> Result<Update, Unprepared> {
    let mut update = Update::default();
    if mode == Apply::BestEffort {
        update.release(plan, protocol, listeners);
    }
    let prepared = Preparation::new(plan, protocol, listeners, mode)?;
    prepared.commit(plan, listeners, &mut update);
    Ok(update)
}

impl Update {
    /// Closes the sockets that are in the way of new ones, where both cannot be open at once.
    pub(crate) fn release<S: OwnSocket>(
        &mut self,
        plan: &Plan,
        protocol: Protocol,
        listeners: &mut Listeners<S>,
    ) {
        if Outgoing::is_supported(protocol) {
            return;
        }
        let inherited = Inherited::of(plan, protocol, listeners);
        let matching = match_sockets(plan, listeners, inherited.states(), &Set::new());
        let overlapping = overlapping(protocol, listeners, &matching);
        for old in listeners.extract(&overlapping) {
            self.close(&old);
        }
    }
}

impl<S: OwnSocket> Preparation<S> {
    /// Opens the sockets of a plan that are missing, beside those that are open.
    pub(crate) fn new(
        plan: &Plan,
        protocol: Protocol,
        listeners: &Listeners<S>,
        mode: Apply,
    ) -> Result<Self, Unprepared> {
        match mode {
            Apply::AllOrNone => Self::of_all(plan, protocol, listeners),
            Apply::BestEffort => Ok(Self::of_what_can_be(plan, protocol, listeners)),
        }
    }

    fn of_all(
        plan: &Plan,
        protocol: Protocol,
        listeners: &Listeners<S>,
    ) -> Result<Self, Unprepared> {
        let Missing {
            matching,
            outgoing,
            mut opening,
        } = Missing::open(plan, protocol, listeners, Goal::Listen, true);
        let failed = mem::take(&mut opening.failed);
        let are_open = opening.opened.iter().all(|opened| opened.socket.is_some());
        let lost = mem::take(&mut opening.lost);
        let (opened, unconverted) = convert(&mut opening);
        let failed = failed.into_iter().chain(unconverted).collect();
        let failed = explain(plan, protocol, failed, None, &outgoing);
        let has_any = !opened.is_empty() || matching.sockets.iter().any(Matched::is_kept);
        let verdict = Verdict::of(plan, Vec::new(), failed, are_open && has_any);
        if verdict.errors.is_empty() {
            return Ok(Self {
                opened,
                left_out: opening.left_out,
                served: opening.served,
                skipped: verdict.skipped,
                errors: Vec::new(),
                pending: Vec::new(),
                outgone: outgoing.finish(),
                matching,
            });
        }
        drop(opened);
        // Those that could not be converted were bound after an old one had stopped.
        let lost = lost.into_iter().chain(outgoing.resume_all());
        let lost = lost.map(|(addr, error)| listen_error(addr, error));
        let mut errors = verdict.errors;
        errors.extend(lost);
        let outgone = outgoing.finish();
        outgone.shared.clear_marks();
        Err(Unprepared {
            error: BindError::new(protocol, plan.entries.len(), errors),
            drained: outgone.drained,
        })
    }

    fn of_what_can_be(plan: &Plan, protocol: Protocol, listeners: &Listeners<S>) -> Self {
        let inherited = Inherited::of(plan, protocol, listeners);
        let matching = match_sockets(plan, listeners, inherited.states(), &Set::new());
        let (pending, missing): (Vec<&Matched>, Vec<&Matched>) = matching
            .sockets
            .iter()
            .filter(|matched| !matched.is_open())
            .partition(|matched| matched.is_pending);
        let pending: Vec<&PlannedSocket> = pending.iter().map(|matched| &matched.planned).collect();
        let outgoing = outgoing(protocol, listeners, &matching);
        let mut opener = opener_beside(plan, protocol, &matching, Goal::Listen, &outgoing);
        let mut opening = inherited.take(&matching, Goal::Listen);
        opening.served.clone_from(&matching.served);
        let new = missing.iter().map(|matched| matched.planned.clone());
        let new: Vec<PlannedSocket> = new.collect();
        for sockets in in_opening_order(&new) {
            // Those on one port that is not known yet belong together.
            let together = match sockets[0].fixed_port() {
                Some(_) => 1,
                None => sockets.len(),
            };
            for sockets in sockets.chunks(together) {
                let one = open_what_can_be(&mut opener, sockets);
                // A range avoids what has failed as well, or it would be moved off the port by each
                // update.
                let fixed = one.failed.iter().map(|failed| &failed.planned);
                for socket in fixed.filter(|socket| socket.fixed_port().is_some()) {
                    opener.add_open(socket, socket.addr.port());
                }
                opening.append(one);
            }
        }
        for socket in &pending {
            opening.append(opener.open(&[(*socket).clone()]));
        }
        let failed = mem::take(&mut opening.failed);
        let lost = mem::take(&mut opening.lost);
        let (opened, unconverted) = convert(&mut opening);
        let failed = failed.into_iter().chain(unconverted).collect();
        let failed = explain(plan, protocol, failed, None, &outgoing);
        // Whatever failed, the others are open.
        let verdict = Verdict::of(plan, Vec::new(), failed, true);
        let pending: Set<_> = pending
            .into_iter()
            .map(|socket| (socket.position(), socket.addr))
            .collect();
        let is_pending = |error: &SettingError| {
            let addr = error.addr();
            addr.is_some_and(|addr| pending.contains(&(error.position(), addr)))
        };
        let skipped = verdict.skipped;
        let (mut pending, mut errors): (Vec<_>, Vec<_>) =
            verdict.errors.into_iter().partition(is_pending);
        let of_pending = skipped.iter().filter(|error| is_pending(error));
        pending.extend(of_pending.cloned());
        errors.extend(
            lost.into_iter()
                .map(|(addr, error)| listen_error(addr, error)),
        );
        Self {
            opened,
            left_out: opening.left_out,
            served: opening.served,
            skipped,
            errors,
            pending,
            outgone: outgoing.finish(),
            matching,
        }
    }

    /// Closes what the plan does not have, and puts what was opened beside what is kept.
    pub(crate) fn commit(self, plan: &Plan, listeners: &mut Listeners<S>, update: &mut Update) {
        let mut old: Vec<Option<Listener<S>>> = listeners.take().into_iter().map(Some).collect();
        let mut open = Vec::with_capacity(old.len() + self.opened.len());
        let mut planned = Vec::with_capacity(open.capacity());
        update.drained.extend(self.outgone.drained);
        update.errors.extend(self.errors);
        update.pending.extend(self.pending);
        for matched in &self.matching.sockets {
            let Some(Found::Same(at)) = matched.open else {
                continue;
            };
            if let Some(mut listener) = old[at].take() {
                listener.set_planned(&matched.planned);
                planned.push(matched.planned.clone());
                let set = listener.set_backlog(plan.options.backlog);
                let error = set.map_err(|error| listen_error(listener.local_addr(), error));
                update.errors.extend(error.err());
                open.push(listener);
                update.kept += 1;
            }
        }
        for at in self.matching.to_close() {
            match old[at].take() {
                Some(listener) if self.outgone.stopped.contains(&at) => {
                    update.close_stopped(&listener);
                }
                Some(listener) => update.close(&listener),
                None => {}
            }
        }
        for (socket, listener) in self.opened {
            update.opened.push(listener.local_addr());
            planned.push(socket);
            open.push(listener);
        }
        let rest = Rest::of(plan, self.skipped, &planned, self.left_out, self.served);
        listeners.replace(open, rest);
        self.outgone.shared.clear_marks();
    }
}

/// Converts the sockets that are open, each with what was planned. Returns those that could not be
/// as well.
fn convert<S: OwnSocket>(
    opening: &mut Opening,
) -> (Vec<(PlannedSocket, Listener<S>)>, Vec<FailedSocket>) {
    let (mut converted, mut failed) = (Vec::new(), Vec::new());
    for opened in mem::take(&mut opening.opened) {
        let planned = opened.planned.clone();
        match opened.into_listener() {
            None => {}
            Some(Ok(listener)) => converted.push((planned, listener)),
            Some(Err(error)) => failed.push(FailedSocket::unconverted(planned, error)),
        }
    }
    (converted, failed)
}

/// Returns the error of an open socket that cannot listen again.
fn listen_error(addr: SocketAddr, error: io::Error) -> SettingError {
    let lost = SettingError::new(Some(addr), Step::Listen, Diagnosis::default(), Some(error));
    lost.at(Position::default(), addr.to_string().into())
}

/// Opens sockets that are on one port, without those that fail for another reason than the port.
fn open_what_can_be(opener: &mut Opener<'_>, sockets: &[PlannedSocket]) -> Opening {
    let mut sockets = sockets.to_vec();
    let mut failed = Vec::new();
    loop {
        let mut opening = opener.open(&sockets);
        let are_open = opening.opened.iter().all(|opened| opened.socket.is_some());
        let places = opening.failed.iter().filter(|failed| !failed.is_in_use());
        let places: Set<usize> = places.map(|failed| failed.planned.place).collect();
        if are_open || places.is_empty() {
            opening.opened.retain(|opened| opened.socket.is_some());
            opening.failed.append(&mut failed);
            return opening;
        }
        failed.append(&mut opening.failed);
        sockets.retain(|socket| !places.contains(&socket.place));
    }
}

/// Returns the sockets to close that are in the way of new ones, by index.
fn overlapping<S: OwnSocket>(
    protocol: Protocol,
    listeners: &Listeners<S>,
    matching: &Matching,
) -> Set<usize> {
    let outgoing = outgoing(protocol, listeners, matching);
    // A range can take another port. What a socket that is kept or pending overlaps with is closed
    // in any case.
    let fixed = matching
        .sockets
        .iter()
        .filter(|matched| matched.planned.fixed_port().is_some());
    fixed
        .flat_map(|matched| outgoing.in_the_way_of(&matched.planned))
        .collect()
}
