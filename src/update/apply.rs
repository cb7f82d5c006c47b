//! Makes the open sockets those of a plan: [`Plan::apply`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::mem;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};

use super::{ChangeKind, Diff};
use crate::addr::shown;
use crate::bind::{
    FailedSocket, Goal, Listener, Listeners, Opener, Opening, OwnSocket, Rest, Verdict, explain,
};
use crate::diagnose::Namespace;
use crate::diagnosis::{BindError, SettingError};
use crate::plan::{Claims, Plan, PlannedSocket, in_opening_order};
use crate::target::{Claim, Protocol};

/// How [`Plan::apply`] goes on when a socket cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Apply {
    /// It is an error, and what was open stays as it was: for a config that was read again.
    AllOrNone,
    /// The others are opened and closed all the same: to follow the addresses of the host.
    BestEffort,
}

/// What [`Plan::apply`] has done.
///
/// The [`Display`](fmt::Display) form has a line for each socket that was opened, closed or could not be opened.
#[derive(Debug)]
#[must_use = "it has the connections that nobody had accepted"]
pub struct Update {
    kept: usize,
    opened: Vec<SocketAddr>,
    closed: Vec<SocketAddr>,
    failed: Vec<SettingError>,
    drained: Vec<(TcpStream, SocketAddr)>,
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
    #[must_use]
    pub fn closed(&self) -> &[SocketAddr] {
        &self.closed
    }

    /// Returns why sockets could not be opened, with [`Apply::BestEffort`].
    #[must_use]
    pub fn failed(&self) -> &[SettingError] {
        &self.failed
    }

    /// Takes the connections of the sockets that were closed, which nobody had accepted, each with its peer.
    #[must_use]
    pub fn drained(&mut self) -> Vec<(TcpStream, SocketAddr)> {
        mem::take(&mut self.drained)
    }
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for addr in &self.opened {
            writeln!(f, "opened {addr}")?;
        }
        for addr in &self.closed {
            writeln!(f, "closed {addr}")?;
        }
        for failed in &self.failed {
            writeln!(
                f,
                "cannot listen on {}: {}",
                shown(failed.text()),
                failed.cause()
            )?;
        }
        Ok(())
    }
}

impl Plan {
    /// Makes the open TCP listeners those of the plan: opens what is missing, and then closes what the plan no longer
    /// has.
    ///
    /// What [`diff`](Self::diff) finds in both stays open, with the clients in its queue, and gets the
    /// [position](Listener::position) of its setting in this plan. With [`Apply::BestEffort`] an address that is
    /// [pending](ChangeKind::Pending) is left for a later plan. It does not [wait](crate::BindOptions::wait).
    ///
    /// # Errors
    ///
    /// With [`Apply::AllOrNone`] a [`BindError`] that names the [`Cause`](crate::Cause) of every socket that failed, or
    /// that nothing would be left open. What was open stays open then, and accepts clients.
    ///
    /// # Platform notes
    ///
    /// On Linux and Android a new socket may overlap with one that is closed after it, such as `0.0.0.0:80` in place of
    /// `127.0.0.1:80`: both have `SO_REUSEPORT` until the new one listens, so that no client is refused. Meanwhile a
    /// process of the same user that sets the option can open the port, too. On other systems the port is in use for
    /// [`Apply::AllOrNone`], and [`Apply::BestEffort`] closes the old socket first. A socket that a service manager handed
    /// over keeps its port in use.
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
    /// let plan = options.plan(format!("127.0.0.1:{port}, 127.0.0.2:{port}"))?;
    /// # if cfg!(target_os = "linux") {
    /// let update = plan.apply(&mut listeners, Apply::AllOrNone)?;
    /// assert_eq!((update.kept(), update.opened().len()), (1, 1));
    /// assert_eq!(listeners.len(), 2);
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn apply(&self, open: &mut Listeners, mode: Apply) -> Result<Update, BindError> {
        apply(self, Protocol::Tcp, open, mode)
    }

    /// Makes the open UDP sockets those of the plan, as [`apply`](Self::apply) does for TCP.
    ///
    /// A new socket does not overlap with one that is to be closed: for [`Apply::AllOrNone`] its port is in use, and
    /// [`Apply::BestEffort`] closes the old socket first. Datagrams that are waiting in a socket that is closed are lost.
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

fn apply<S: OwnSocket>(
    plan: &Plan,
    protocol: Protocol,
    listeners: &mut Listeners<S>,
    mode: Apply,
) -> Result<Update, BindError> {
    let mut released = HashSet::new();
    loop {
        match try_apply(plan, protocol, listeners, mode, &released) {
            Ok(update) => return Ok(update),
            Err(Unapplied::Error(error)) => return Err(error),
            // It begins anew without their ports.
            Err(Unapplied::PortsTaken(entries)) => released.extend(entries),
        }
    }
}

/// Why nothing was changed.
enum Unapplied {
    Error(BindError),
    /// These entries have kept a port on which something cannot be opened, and may have another one.
    PortsTaken(HashSet<usize>),
}

fn try_apply<S: OwnSocket>(
    plan: &Plan,
    protocol: Protocol,
    listeners: &mut Listeners<S>,
    mode: Apply,
    released: &HashSet<usize>,
) -> Result<Update, Unapplied> {
    let diff = plan.diff_without(listeners, released);
    let Wanted {
        mut new,
        mut skipped,
        mut left_out,
    } = Wanted::of(listeners, &diff, mode);
    let to_close: HashSet<usize> = diff.to_close().collect();
    let mut update = Update {
        kept: listeners.len() - to_close.len(),
        opened: Vec::new(),
        closed: Vec::with_capacity(to_close.len()),
        failed: Vec::new(),
        drained: Vec::new(),
    };
    // Of UDP the kernel looks at the first socket alone that shares its port, and may so overlook another one that does
    // not (`udp_lib_lport_inuse` of net/ipv4/udp.c).
    let can_share =
        cfg!(any(target_os = "linux", target_os = "android")) && protocol == Protocol::Tcp;
    let overlapping = overlapping(listeners, &diff, &mut new, can_share);
    let mut old: Vec<Option<Listener<S>>> = listeners.take().into_iter().map(Some).collect();
    let mut sharing = Vec::new();
    for at in overlapping {
        if can_share {
            sharing.extend(
                old[at]
                    .as_ref()
                    .is_some_and(Listener::share_port)
                    .then_some(at),
            );
        } else if mode == Apply::BestEffort {
            update.close(old[at].take());
        }
    }
    let kept: Vec<PlannedSocket> = diff.kept().cloned().collect();
    let mut opener = Opener::new(&plan.options, protocol, Goal::Listen).beside(kept.iter());
    let opening = match mode {
        Apply::AllOrNone => opener.open(&new),
        Apply::BestEffort => open_what_can_be(&mut opener, &new),
    };
    for listener in sharing.into_iter().filter_map(|at| old[at].as_ref()) {
        listener.stop_sharing();
    }
    let (opening, verdict) = match verdict_on(plan, protocol, mode, &diff, opening) {
        Ok(result) => result,
        Err(unapplied) => {
            listeners.put_back(old.into_iter().flatten().collect());
            return Err(unapplied);
        }
    };
    let Opening { opened, .. } = opening;
    update.failed = verdict.errors;
    skipped.extend(verdict.skipped);
    left_out.extend(opening.left_out);
    let mut open = Vec::with_capacity(update.kept + opened.len());
    let mut planned = Vec::with_capacity(update.kept + opened.len());
    for change in diff.changes() {
        let Some(at) = change.open else { continue };
        match (&change.planned, old[at].take()) {
            (Some(socket), Some(mut listener)) if !to_close.contains(&at) => {
                listener.set_planned(socket);
                planned.push(socket.clone());
                open.push(listener);
            }
            (_, listener) => update.close(listener),
        }
    }
    for opened in opened {
        update.opened.push(opened.local_addr);
        planned.push(opened.planned.clone());
        open.extend(Listener::of(opened));
    }
    listeners.replace(open, Rest::of(plan, skipped, &planned, left_out));
    Ok(update)
}

impl Update {
    fn close<S: OwnSocket>(&mut self, listener: Option<Listener<S>>) {
        let Some(listener) = listener else { return };
        self.closed.push(listener.local_addr());
        // The queue of one that a service manager has as well is not lost.
        if !listener.is_inherited() {
            self.drained.append(&mut listener.accept_waiting());
        }
    }
}

/// What is to be opened, and what is not tried again.
struct Wanted {
    new: Vec<PlannedSocket>,
    skipped: Vec<SettingError>,
    left_out: Vec<PlannedSocket>,
}

impl Wanted {
    fn of<S>(listeners: &Listeners<S>, diff: &Diff, mode: Apply) -> Self {
        let mut wanted = Self {
            new: diff.to_open().cloned().collect(),
            skipped: Vec::new(),
            left_out: Vec::new(),
        };
        let changes = diff.changes().iter();
        let pending = changes.filter(|change| change.kind() == ChangeKind::Pending);
        let pending = pending.filter_map(|change| change.planned.as_ref());
        if mode == Apply::AllOrNone {
            // As bind does: the kernel has the last word.
            wanted.new.extend(pending.cloned());
            let order = |socket: &PlannedSocket| (socket.entry.number, socket.place);
            wanted.new.sort_by_key(order);
            return wanted;
        }
        let skipped = listeners.skipped().iter();
        let known: HashMap<(&str, IpAddr), &SettingError> = skipped
            .filter_map(|error| Some(((error.text(), error.addr()?.ip()), error)))
            .collect();
        for socket in pending {
            wanted.left_out.push(socket.clone());
            if let Some(error) = known.get(&(socket.text(), socket.addr.ip())) {
                let (position, text) = (socket.entry.position, socket.entry.text.clone());
                wanted.skipped.push((*error).clone().at(position, text));
            }
        }
        wanted
    }
}

/// Returns the sockets to close that overlap with new ones, and marks those if they can share a port.
fn overlapping<S>(
    listeners: &Listeners<S>,
    diff: &Diff,
    new: &mut [PlannedSocket],
    can_share: bool,
) -> Vec<usize> {
    let mut claims = Claims::default();
    let mut by_port: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for at in diff.to_close() {
        let old = &listeners[at];
        // Closing one that a service manager has as well frees no port.
        if old.namespace() == Namespace::This && !old.is_inherited() {
            let port = old.local_addr().port();
            claims.add(at, old.claim(), port);
            by_port.entry(port).or_default().push(at);
        }
    }
    let mut overlapping = Vec::new();
    for socket in new {
        let claim = Claim::of_socket(socket.addr, socket.only_v6);
        let claim = claim.on_device(socket.entry.device_index);
        let olds = by_port.range_mut(socket.ports());
        for (_, olds) in olds.filter(|(port, _)| claims.conflict(claim, **port).is_some()) {
            socket.is_beside_old = can_share;
            overlapping.append(olds);
        }
    }
    overlapping
}

/// Opens each socket that can be opened.
fn open_what_can_be(opener: &mut Opener<'_>, new: &[PlannedSocket]) -> Opening {
    let mut all = Opening::default();
    for sockets in in_opening_order(new) {
        // Those on one port that is not known yet belong together.
        let together = match sockets[0].fixed_port() {
            Some(_) => 1,
            None => sockets.len(),
        };
        for sockets in sockets.chunks(together) {
            all.append(opener.open(sockets));
        }
    }
    // Of those that belong together some may be closed again.
    all.opened.retain(|opened| opened.socket.is_some());
    all
}

/// Decides whether what was opened is used, and what is wrong otherwise.
fn verdict_on(
    plan: &Plan,
    protocol: Protocol,
    mode: Apply,
    diff: &Diff,
    mut opening: Opening,
) -> Result<(Opening, Verdict), Unapplied> {
    let failed = mem::take(&mut opening.failed);
    let is_best_effort = mode == Apply::BestEffort;
    if !is_best_effort {
        let entries = entries_to_release(&failed, diff);
        if !entries.is_empty() {
            return Err(Unapplied::PortsTaken(entries));
        }
    }
    let failed = explain(plan, protocol, failed, None);
    let opened = &opening.opened;
    let has_any = !opened.is_empty() || diff.kept().next().is_some();
    let are_open = has_any && opened.iter().all(|opened| opened.socket.is_some());
    let verdict = Verdict::of(plan, Vec::new(), failed, are_open || is_best_effort);
    if verdict.errors.is_empty() || is_best_effort {
        Ok((opening, verdict))
    } else {
        let error = BindError::new(protocol, plan.entries.len(), verdict.errors);
        Err(Unapplied::Error(error))
    }
}

/// Returns the entries that have kept a port and may have another: of the sockets whose port is in use; if a range has no
/// port, of those that have one of its ports; and else all, because they may be in the way of those.
fn entries_to_release(failed: &[FailedSocket], diff: &Diff) -> HashSet<usize> {
    let failed = || failed.iter().filter(|failed| !failed.is_skipped());
    let in_use = failed().filter(|failed| failed.is_in_use());
    let in_use: HashSet<usize> = in_use.map(|failed| failed.planned.entry.number).collect();
    let ranges = failed().map(|failed| failed.planned.ports());
    let ranges: Vec<_> = ranges.filter(|ports| ports.start() < ports.end()).collect();
    let planned = diff
        .changes
        .iter()
        .filter_map(|change| change.planned.as_ref());
    let flexible = planned.filter(|socket| socket.ports() != socket.entry.written.ports());
    let flexible: Vec<&PlannedSocket> = flexible.collect();
    let entries = |is_released: &dyn Fn(&PlannedSocket) -> bool| -> HashSet<usize> {
        let released = flexible.iter().filter(|socket| is_released(socket));
        released.map(|socket| socket.entry.number).collect()
    };
    let released = entries(&|socket| {
        let port = socket.addr.port();
        in_use.contains(&socket.entry.number) || ranges.iter().any(|ports| ports.contains(&port))
    });
    if released.is_empty() && !ranges.is_empty() {
        return entries(&|_| true);
    }
    released
}
