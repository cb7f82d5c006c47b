//! Opens the sockets of a plan that are not open: [`Missing`].

use super::Listeners;
use super::activation::Inherited;
use super::engine::{FailedSocket, Opener, Opening};
use super::listener::OwnSocket;
use super::matching::{Matching, match_sockets};
use super::outgoing::Outgoing;
use super::socket::Goal;
use crate::map::Set;
use crate::plan::{Claims, Plan, PlannedSocket};
use crate::target::Protocol;

/// The result of opening the sockets of a plan that are missing.
pub(crate) struct Missing<'l> {
    pub(crate) matching: Matching,
    pub(crate) outgoing: Outgoing<'l>,
    pub(crate) opening: Opening,
}

impl<'l> Missing<'l> {
    /// Opens them beside those that are kept, all or none. A socket that was handed over is taken
    /// in place of one.
    pub(crate) fn open<S: OwnSocket>(
        plan: &Plan,
        protocol: Protocol,
        listeners: &'l Listeners<S>,
        goal: Goal,
        listens: bool,
    ) -> Self {
        let inherited = Inherited::of(plan, protocol, listeners);
        let mut released = Set::new();
        let mut rounds = 0;
        loop {
            let matching = match_sockets(plan, listeners, inherited.states(), &released);
            let outgoing = outgoing(protocol, listeners, &matching);
            let taken = inherited.take(&matching, goal);
            // A socket that cannot be taken fails all.
            let goal_of_new = if taken.failed.is_empty() {
                goal
            } else {
                Goal::Check
            };
            let mut opener = opener_beside(plan, protocol, &matching, goal_of_new, &outgoing);
            if !listens {
                opener = opener.without_listening();
            }
            let mut opening = opener.open(&to_open(&matching));
            opening.append(taken);
            opening.served.clone_from(&matching.served);
            opening.keep_all_or_none();
            let in_the_way = entries_to_release(&opening.failed, &matching);
            if in_the_way.is_empty() || !opening.lost.is_empty() {
                return Self {
                    matching,
                    outgoing,
                    opening,
                };
            }
            // Retry without keeping those ports; after some rounds, without keeping any that may be
            // another one.
            outgoing.finish().shared.clear_marks();
            rounds += 1;
            let is_shared = |socket: &&PlannedSocket| socket.entry.shares_free_port();
            let shared = flexible(&matching).filter(is_shared);
            let shared: Set<usize> = shared.map(|socket| socket.entry.number).collect();
            // Entries that share a port give it up together.
            if in_the_way.iter().any(|number| shared.contains(number)) {
                released.extend(shared);
            }
            released.extend(in_the_way);
            if rounds > FEW_ROUNDS {
                released.extend(flexible(&matching).map(|socket| socket.entry.number));
            }
        }
    }
}

/// How often a port is given up that was found to be in the way.
const FEW_ROUNDS: usize = 3;

/// Returns the sockets that are to be opened. What is pending is tried as well: the kernel has the
/// last word.
fn to_open(matching: &Matching) -> Vec<PlannedSocket> {
    let sockets = matching.sockets.iter();
    let missing = sockets.filter(|matched| !matched.is_open());
    missing.map(|matched| matched.planned.clone()).collect()
}

/// Returns what opens sockets beside those that are kept, and beside those that are to be closed.
pub(crate) fn opener_beside<'p>(
    plan: &'p Plan,
    protocol: Protocol,
    matching: &Matching,
    goal: Goal,
    outgoing: &'p Outgoing<'p>,
) -> Opener<'p> {
    let mut opener = Opener::new(&plan.options, protocol, goal, outgoing);
    for matched in matching.sockets.iter().filter(|matched| matched.is_open()) {
        opener.add_open(&matched.planned, matched.planned.addr.port());
    }
    opener
}

/// Returns the sockets that are to be closed.
pub(crate) fn outgoing<'l, S: OwnSocket>(
    protocol: Protocol,
    listeners: &'l Listeners<S>,
    matching: &Matching,
) -> Outgoing<'l> {
    let mut outgoing = Outgoing::new(protocol);
    for index in matching.to_close() {
        outgoing.add(index, &listeners[index]);
    }
    outgoing
}

/// Returns the entries that kept a port although they may use another one, and whose port is in the
/// way of a socket that failed; if a range failed and none is, all that kept one, because they may
/// be in the way of those.
fn entries_to_release(failed: &[FailedSocket], matching: &Matching) -> Set<usize> {
    let flexible: Vec<&PlannedSocket> = flexible(matching).collect();
    let mut claims = Claims::default();
    for socket in &flexible {
        if let Some(claim) = socket.exclusive_claim() {
            claims.add(socket.entry.number, claim, socket.addr.port());
        }
    }
    let kept: Set<usize> = flexible.iter().map(|socket| socket.entry.number).collect();
    let failed = failed.iter().filter(|failed| !failed.is_skipped());
    let mut released = Set::new();
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

/// Iterates over the sockets of a plan on a port that their entry has kept, or would keep, and may
/// have another.
fn flexible(matching: &Matching) -> impl Iterator<Item = &PlannedSocket> {
    let planned = matching.sockets.iter().map(|matched| &matched.planned);
    planned.filter(|socket| socket.ports() != socket.entry.written.ports())
}
