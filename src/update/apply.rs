//! Makes the open sockets those of a plan: [`Plan::apply`].

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream, UdpSocket};

use super::{ChangeKind, Diff};
use crate::bind::{
    FailedSocket, Finished, Goal, Listener, Listeners, Opener, Opening, Outgoing, OwnSocket, Rest,
    Verdict, explain,
};
use crate::check::Check;
use crate::diagnosis::{BindError, Diagnosis, Position, SettingError, Step};
use crate::interfaces::Interfaces;
use crate::plan::{Claims, Plan, PlannedSocket, in_opening_order};
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
    /// Returns an error and leaves the open sockets unchanged. It is for a config that is read again.
    AllOrNone,
    /// Opens and closes the others anyway. It is for following the addresses of the host, and may leave no socket open.
    BestEffort,
}

/// What [`Plan::apply`] has done.
///
/// The [`Display`](fmt::Display) form has a line for each socket that was opened or closed, and for each of the
/// [errors](Self::errors). It leaves out the [pending](Self::pending) sockets.
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

    /// Returns why sockets could not be opened. With [`Apply::AllOrNone`] that is the error of [`Plan::apply`], and there
    /// is none here.
    #[must_use]
    pub fn errors(&self) -> &[SettingError] {
        &self.errors
    }

    /// Returns why sockets that are [pending](ChangeKind::Pending) could not be opened yet.
    #[must_use]
    pub fn pending(&self) -> &[SettingError] {
        &self.pending
    }

    /// Takes the connections that were established on closed sockets but not accepted, each with its peer address. They
    /// block.
    ///
    /// A client whose connection is established while its socket is being closed is reset, and one socket yields 4,096
    /// connections at most. A UDP socket has none.
    #[must_use]
    pub fn drained(&mut self) -> Vec<(TcpStream, SocketAddr)> {
        mem::take(&mut self.drained)
    }

    /// Returns why connections of a closed socket could not be accepted, such as a lack of descriptors. They are reset.
    #[must_use]
    pub fn drain_error(&self) -> Option<&io::Error> {
        self.drain_error.as_ref()
    }

    /// Adds why a connection of a closed socket could not be handed on.
    #[cfg(feature = "tokio")]
    pub(crate) fn add_drain_error(&mut self, error: io::Error) {
        self.drain_error.get_or_insert(error);
    }

    /// Returns the addresses of closed sockets that did not accept connections for a moment before the new ones did.
    ///
    /// A new socket that overlaps with an old one listens beside it (see [`Plan::apply`]). Where the system does not
    /// allow that, the old one stops listening just before the new one is bound.
    #[must_use]
    pub fn interrupted(&self) -> &[SocketAddr] {
        &self.interrupted
    }

    /// Returns the addresses of closed sockets that another process has open as well: the service manager that handed them
    /// over, or a process that they were passed to. Their ports are not free.
    #[must_use]
    pub fn open_elsewhere(&self) -> &[SocketAddr] {
        &self.open_elsewhere
    }

    fn close<S: OwnSocket>(&mut self, listener: &Listener<S>) {
        let addr = listener.local_addr();
        self.closed.push(addr);
        // The queue of a shared socket is not lost.
        if listener.is_shared() {
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
    /// Makes the open TCP listeners those of the plan: opens what is missing, and closes what the plan does not have.
    ///
    /// Sockets that are both open and planned, as [`diff`](Self::diff) compares them, stay open with their accept queue.
    /// Their [position](Listener::position) and [backlog](crate::BindOptions::backlog) become those of this plan;
    /// `reuse_port` and whether they block stay as they are. New sockets listen before old ones are closed. It does not
    /// [wait](crate::BindOptions::wait).
    ///
    /// # Platform notes
    ///
    /// A new socket may overlap with one that is to be closed, as `0.0.0.0:80` does with `127.0.0.1:80`.
    ///
    /// - Linux and Android: both listen until the old one is closed, by `SO_REUSEPORT` on both, so no client is refused.
    ///   If the old one belongs to another user, as after a privilege drop, or the kernel's table of listening sockets
    ///   cannot be read, it stops listening just before the new one is bound, and listens again if that fails
    ///   ([`Update::interrupted`]); an old one that was bound to port 0 would lose its port, so there the port is in use. It
    ///   also is if another process has the old socket as well. While both listen, another process of this user that
    ///   sets `SO_REUSEPORT` could bind the port as well; where wildcards of both families are open, it could also do so
    ///   later, because the kernel keeps a mark.
    /// - Elsewhere: with [`Apply::AllOrNone`] the port is in use, and [`Apply::BestEffort`] closes the old socket first.
    ///
    /// # Errors
    ///
    /// With [`Apply::AllOrNone`] a [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed, or
    /// that nothing would be left open. What was open stays open then, and accepts clients; only of a socket that had to
    /// stop for a moment, the connections that waited in its queue are reset. With [`Apply::BestEffort`] none:
    /// the causes are in [`Update::errors`].
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
        apply(self, Protocol::Tcp, open, mode)
    }

    /// Makes the open UDP sockets those of the plan, as [`apply`](Self::apply) does for TCP. Datagrams that are waiting in
    /// a socket that is closed are lost.
    ///
    /// No UDP socket is opened beside an old one that overlaps with it: with `SO_REUSEPORT` Linux might let it overlap
    /// with another server as well. With [`Apply::AllOrNone`] the port is in use, and [`Apply::BestEffort`] closes the old
    /// socket first.
    ///
    /// # Errors
    ///
    /// As for [`apply`](Self::apply).
    pub fn apply_udp(
        &self,
        open: &mut Listeners<UdpSocket>,
        mode: Apply,
    ) -> Result<Update, BindError> {
        apply(self, Protocol::Udp, open, mode)
    }
}

/// What an update opens, before it closes anything.
pub(crate) struct Preparation<S> {
    diff: Diff,
    opened: Vec<(PlannedSocket, Listener<S>)>,
    left_out: Vec<PlannedSocket>,
    skipped: Vec<SettingError>,
    errors: Vec<SettingError>,
    pending: Vec<SettingError>,
    /// What became of the sockets to close.
    outgone: Finished,
}

fn apply<S: OwnSocket>(
    plan: &Plan,
    protocol: Protocol,
    listeners: &mut Listeners<S>,
    mode: Apply,
) -> Result<Update, BindError> {
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
        let overlapping = overlapping(protocol, listeners, &plan.diff(listeners));
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
    ) -> Result<Self, BindError> {
        match mode {
            Apply::AllOrNone => Self::of_all(plan, protocol, listeners),
            Apply::BestEffort => Ok(Self::of_what_can_be(plan, protocol, listeners)),
        }
    }

    fn of_all(
        plan: &Plan,
        protocol: Protocol,
        listeners: &Listeners<S>,
    ) -> Result<Self, BindError> {
        let Missing {
            diff,
            outgoing,
            mut opening,
        } = Missing::open(plan, protocol, listeners, Goal::Listen);
        let failed = mem::take(&mut opening.failed);
        let are_open = opening.opened.iter().all(|opened| opened.socket.is_some());
        let lost = mem::take(&mut opening.lost);
        let (opened, unconverted) = convert(&mut opening);
        let failed = failed.into_iter().chain(unconverted).collect();
        let failed = explain(plan, protocol, failed, None);
        let has_any = !opened.is_empty() || diff.kept().next().is_some();
        let verdict = Verdict::of(plan, Vec::new(), failed, are_open && has_any);
        if verdict.errors.is_empty() {
            return Ok(Self {
                opened,
                left_out: opening.left_out,
                skipped: verdict.skipped,
                errors: Vec::new(),
                pending: Vec::new(),
                outgone: outgoing.finish(),
                diff,
            });
        }
        drop(opened);
        // Those that could not be converted were bound after an old one had stopped.
        let lost = lost.into_iter().chain(outgoing.resume_all());
        let lost = lost.map(|(addr, error)| listen_error(addr, error));
        let mut errors = verdict.errors;
        errors.extend(lost);
        outgoing.finish().shared.clear_marks();
        Err(BindError::new(protocol, plan.entries.len(), errors))
    }

    fn of_what_can_be(plan: &Plan, protocol: Protocol, listeners: &Listeners<S>) -> Self {
        let diff = plan.diff(listeners);
        let changes = diff.changes.iter();
        let pending = changes.filter(|change| change.kind() == ChangeKind::Pending);
        let pending: Vec<&PlannedSocket> = pending
            .filter_map(|change| change.planned.as_ref())
            .collect();
        let outgoing = outgoing(protocol, listeners, &diff);
        let mut opener = opener_beside(plan, protocol, &diff, Goal::Listen, &outgoing);
        let mut opening = Opening::default();
        let new: Vec<PlannedSocket> = diff.to_open().cloned().collect();
        for sockets in in_opening_order(&new) {
            // Those on one port that is not known yet belong together.
            let together = match sockets[0].fixed_port() {
                Some(_) => 1,
                None => sockets.len(),
            };
            for sockets in sockets.chunks(together) {
                let one = open_what_can_be(&mut opener, sockets);
                // A range avoids what has failed as well, or it would be moved off the port by each update.
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
        let failed = explain(plan, protocol, failed, None);
        // Whatever failed, the others are open.
        let verdict = Verdict::of(plan, Vec::new(), failed, true);
        let pending: HashSet<_> = pending
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
            skipped,
            errors,
            pending,
            outgone: outgoing.finish(),
            diff,
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
        for change in &self.diff.changes {
            let index = change.open;
            let Some((index, mut listener)) = index.and_then(|at| Some((at, old[at].take()?)))
            else {
                continue;
            };
            match &change.planned {
                Some(socket) if !change.is_to_close() => {
                    listener.set_planned(socket);
                    planned.push(socket.clone());
                    let set = listener.set_backlog(plan.options.backlog);
                    let error = set.map_err(|error| listen_error(listener.local_addr(), error));
                    update.errors.extend(error.err());
                    open.push(listener);
                    update.kept += 1;
                }
                _ if self.outgone.stopped.contains(&index) => update.close_stopped(&listener),
                _ => update.close(&listener),
            }
        }
        for (socket, listener) in self.opened {
            update.opened.push(listener.local_addr());
            planned.push(socket);
            open.push(listener);
        }
        let rest = Rest::of(plan, self.skipped, &planned, self.left_out);
        listeners.replace(open, rest);
        self.outgone.shared.clear_marks();
    }
}

/// What came of opening all sockets of a plan that are missing.
struct Missing<'l> {
    diff: Diff,
    outgoing: Outgoing<'l>,
    opening: Opening,
}

impl<'l> Missing<'l> {
    /// Opens them beside those that are kept, all or none.
    fn open<S: OwnSocket>(
        plan: &Plan,
        protocol: Protocol,
        listeners: &'l Listeners<S>,
        goal: Goal,
    ) -> Self {
        let mut released = HashSet::new();
        let mut rounds = 0;
        loop {
            let diff = plan.diff_without(listeners, &released);
            // What is pending is tried as well: the kernel has the last word, as for `bind`.
            let missing = diff.changes.iter().filter(|change| change.open.is_none());
            let missing = missing.filter_map(|change| change.planned.as_ref());
            let mut new: Vec<PlannedSocket> = diff.to_open().chain(missing).cloned().collect();
            new.sort_by_key(|socket| (socket.entry.number, socket.place));
            new.dedup_by_key(|socket| (socket.entry.number, socket.place));
            let outgoing = outgoing(protocol, listeners, &diff);
            let opening = opener_beside(plan, protocol, &diff, goal, &outgoing).open(&new);
            let in_the_way = entries_to_release(&opening.failed, &diff);
            if in_the_way.is_empty() || !opening.lost.is_empty() {
                return Self {
                    diff,
                    outgoing,
                    opening,
                };
            }
            // Retry without keeping those ports; after some rounds, without keeping any that may be another one.
            outgoing.finish().shared.clear_marks();
            rounds += 1;
            let is_shared = |socket: &&PlannedSocket| socket.entry.shares_free_port();
            let shared = flexible(&diff).filter(is_shared);
            let shared: HashSet<usize> = shared.map(|socket| socket.entry.number).collect();
            // Entries that share a port give it up together.
            if in_the_way.iter().any(|number| shared.contains(number)) {
                released.extend(shared);
            }
            released.extend(in_the_way);
            if rounds > FEW_ROUNDS {
                released.extend(flexible(&diff).map(|socket| socket.entry.number));
            }
        }
    }
}

impl Plan {
    /// Reports what [`apply`](Self::apply) with [`Apply::AllOrNone`] would run into beside the open TCP listeners, as
    /// [`check`](Self::check) does for [`bind`](Self::bind). The listeners are in no socket's way, whether they are kept or
    /// would be closed.
    ///
    /// It is for a config that is read again: a mistake is reported before anything changes. Where a socket is to be opened
    /// beside one that overlaps with it, both have `SO_REUSEPORT` while the kernel is asked, as in `apply`; if that is not
    /// possible, the warning is [`SharingUnknown`](crate::diagnosis::WarningKind::SharingUnknown).
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

    /// Reports what [`apply_udp`](Self::apply_udp) with [`Apply::AllOrNone`] would run into beside the open UDP sockets.
    #[must_use]
    pub fn check_udp_beside(&self, open: &Listeners<UdpSocket>) -> Check {
        check_beside(self, Protocol::Udp, open)
    }
}

fn check_beside<S: OwnSocket>(plan: &Plan, protocol: Protocol, open: &Listeners<S>) -> Check {
    let Missing {
        diff,
        outgoing,
        mut opening,
    } = Missing::open(plan, protocol, open, Goal::Check);
    outgoing.finish().shared.clear_marks();
    let kept = diff.changes.iter().filter(|change| !change.is_to_close());
    let kept = kept.filter_map(|change| Some((change.planned.as_ref()?, &open[change.open?])));
    opening
        .opened
        .extend(kept.map(|(planned, listener)| listener.as_checked(planned)));
    let host = Interfaces::system().ok();
    Check::of(
        plan,
        Vec::new(),
        plan.texts(),
        protocol,
        host.as_ref(),
        opening,
    )
}

/// How often a port is given up that was found to be in the way.
const FEW_ROUNDS: usize = 3;

/// Converts the sockets that are open, each with what was planned. Returns those that could not be as well.
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
        let places: HashSet<usize> = places.map(|failed| failed.planned.place).collect();
        if are_open || places.is_empty() {
            opening.opened.retain(|opened| opened.socket.is_some());
            opening.failed.append(&mut failed);
            return opening;
        }
        failed.append(&mut opening.failed);
        sockets.retain(|socket| !places.contains(&socket.place));
    }
}

/// Returns what opens sockets beside those that are kept, and beside those that are to be closed.
fn opener_beside<'p>(
    plan: &'p Plan,
    protocol: Protocol,
    diff: &Diff,
    goal: Goal,
    outgoing: &'p Outgoing<'p>,
) -> Opener<'p> {
    let mut opener = Opener::new(&plan.options, protocol, goal, outgoing);
    for socket in diff.kept() {
        opener.add_open(socket, socket.addr.port());
    }
    opener
}

/// Returns the sockets that are to be closed.
fn outgoing<'l, S: OwnSocket>(
    protocol: Protocol,
    listeners: &'l Listeners<S>,
    diff: &Diff,
) -> Outgoing<'l> {
    let mut outgoing = Outgoing::new(protocol);
    for index in diff.to_close() {
        outgoing.add(index, &listeners[index]);
    }
    outgoing
}

/// Returns the sockets to close that are in the way of new ones, by index.
fn overlapping<S: OwnSocket>(
    protocol: Protocol,
    listeners: &Listeners<S>,
    diff: &Diff,
) -> HashSet<usize> {
    let outgoing = outgoing(protocol, listeners, diff);
    // A range can take another port.
    let fixed = diff
        .to_open()
        .filter(|socket| socket.fixed_port().is_some());
    fixed
        .flat_map(|socket| outgoing.in_the_way_of(socket))
        .collect()
}

/// Returns the entries that kept a port although they may use another one, and whose port is in the way of a socket that
/// failed; if a range failed and none is, all that kept one, because they may be in the way of those.
fn entries_to_release(failed: &[FailedSocket], diff: &Diff) -> HashSet<usize> {
    let flexible: Vec<&PlannedSocket> = flexible(diff).collect();
    let mut claims = Claims::default();
    for socket in &flexible {
        if let Some(claim) = socket.exclusive_claim() {
            claims.add(socket.entry.number, claim, socket.addr.port());
        }
    }
    let kept: HashSet<usize> = flexible.iter().map(|socket| socket.entry.number).collect();
    let failed = failed.iter().filter(|failed| !failed.is_skipped());
    let mut released = HashSet::new();
    let mut has_range = false;
    for failed in failed {
        let socket = &failed.planned;
        has_range |= socket.is_range();
        if failed.is_in_use() && kept.contains(&socket.entry.number) {
            released.insert(socket.entry.number);
        }
        let is_about_port = failed.is_in_use() || socket.is_range();
        let Some(claim) = socket.exclusive_claim().filter(|_| is_about_port) else {
            continue;
        };
        let in_the_way = socket
            .ports()
            .filter_map(|port| claims.conflict(claim, port));
        released.extend(in_the_way.map(|(number, _)| number));
    }
    if released.is_empty() && has_range {
        return kept;
    }
    released
}

/// Iterates over the sockets of a plan on a port that their entry has kept, or would keep, and may have another.
fn flexible(diff: &Diff) -> impl Iterator<Item = &PlannedSocket> {
    let planned = diff.changes.iter();
    let planned = planned.filter_map(|change| change.planned.as_ref());
    planned.filter(|socket| socket.ports() != socket.entry.written.ports())
}
