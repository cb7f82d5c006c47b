//! Own sockets that are to be closed, beside which new ones are opened: [`Outgoing`].

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::mem;
use std::net::{Shutdown, SocketAddr};

use socket2::{Domain, SockRef, Socket, Type};

use super::Listener;
use super::listener::{Accepted, KeepAccepted, OwnSocket, accept_waiting};
use super::socket::{Identity, SocketSpec, has_reuse_port, listen, set_reuse_port};
use crate::diagnose::Sockets;
use crate::map::{Map, Set};
use crate::plan::{Claims, PlannedSocket};
use crate::sys::{self, SocketFilter, SocketRow};
use crate::target::{Claim, DeviceIndex, Protocol};

/// Own TCP sockets that are to be closed, on whose ports new ones may listen before that.
///
/// Linux lets a socket listen beside a listening one that overlaps with it if both have
/// `SO_REUSEPORT` and the same owner (`inet_bind_conflict` of `net/ipv4/inet_connection_sock.c`).
/// So the old one accepts connections until the new one does. The option is set for as long as
/// sockets are being opened. By it the new socket could also listen beside one of another process
/// that has the option, so the kernel's table is read first. If there is one, the option is not
/// set, and bind(2) reports the port as in use. If that cannot be read, or if the owners differ, as
/// after a privilege drop, the old socket stops listening just before the new one is bound, and
/// listens again if that fails.
pub(crate) struct Outgoing<'l> {
    protocol: Protocol,
    sockets: Vec<OutgoingSocket<'l>>,
    /// By the index in `sockets`.
    claims: Claims,
    by_port: Map<u16, Vec<usize>>,
    /// The owner of new sockets; `None` if it cannot be read.
    new_owner: OnceCell<Option<u32>>,
    /// The sockets of another process that will have ended.
    of_others: Set<u64>,
    /// The listeners on a port; `None` if they cannot be read.
    listening: RefCell<Map<u16, Option<Vec<SocketRow>>>>,
    /// The accepted connections of sockets that listen again and could not keep them.
    drained: RefCell<Accepted>,
    /// The ports that were shared, each with the device of the new socket.
    shared: RefCell<Set<(u16, Option<String>)>>,
}

struct OutgoingSocket<'l> {
    /// Its index among the open sockets.
    index: usize,
    socket: SockRef<'l>,
    local_addr: SocketAddr,
    claim: Claim,
    backlog: Option<u32>,
    /// Whether the port stays bound when it stops listening.
    is_port_bound: bool,
    /// Read when it is in the way of another; `None` if it cannot be read.
    identity: OnceCell<Option<Identity>>,
    /// The value of `SO_REUSEPORT` before it was set.
    reuse_port_before: Cell<Option<bool>>,
    is_stopped: Cell<bool>,
    /// The connections that were accepted before it stopped.
    accepted: RefCell<Accepted>,
    /// The listener that gets them if it listens again.
    keeper: &'l dyn KeepAccepted,
    /// Whether it has stopped for a new one, or shared its port: it was not in its way.
    has_made_way: Cell<bool>,
    /// Whether it blocked before it was drained.
    was_blocking: Cell<bool>,
    /// Whether the sockets are open that it has stopped for.
    is_replaced: Cell<bool>,
}

impl OutgoingSocket<'_> {
    fn identity(&self) -> Option<&Identity> {
        let identity = self.identity.get_or_init(|| Identity::of(&self.socket));
        identity.as_ref()
    }
}

/// How a new socket can be opened beside the outgoing ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// None is in its way.
    Free,
    /// With `SO_REUSEPORT`.
    Share,
    /// Those in its way have to stop first.
    Stop,
    /// A socket that is not outgoing is in its way.
    InUse,
}

impl<'l> Outgoing<'l> {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            sockets: Vec::new(),
            claims: Claims::default(),
            by_port: Map::new(),
            new_owner: OnceCell::new(),
            of_others: Set::new(),
            listening: RefCell::default(),
            drained: RefCell::default(),
            shared: RefCell::default(),
        }
    }

    /// Takes the sockets of another process, by their inodes, for closed.
    pub(crate) fn set_closed(&mut self, inodes: Set<u64>) {
        self.of_others = inodes;
    }

    /// Returns `true` if nothing but sockets of that process has the port of a new one.
    pub(super) fn are_of_others(&self, planned: &PlannedSocket) -> bool {
        let (claim, port) = (planned.claim(), planned.addr.port());
        !self.of_others.is_empty()
            && Sockets::are_only(&self.of_others, self.protocol, claim, port) == Some(true)
    }

    /// Returns `true` if sockets of a protocol can be opened beside outgoing ones on this system.
    ///
    /// Of UDP sockets with `SO_REUSEPORT` Linux compares a new one with the first only
    /// (`udp_lib_lport_inuse` of `net/ipv4/udp.c`), so it might take the address of another
    /// process.
    pub(crate) fn is_supported(protocol: Protocol) -> bool {
        cfg!(any(target_os = "linux", target_os = "android")) && protocol == Protocol::Tcp
    }

    /// Adds an open socket, unless something else has it as well: closing it would not free its
    /// port, and stopping it would stop it there.
    pub(crate) fn add<S: OwnSocket>(&mut self, index: usize, listener: &'l Listener<S>) {
        if listener.state().is_shared() {
            return;
        }
        let claim = comparable(listener.state().claim());
        let port = listener.local_addr().port();
        let at = self.sockets.len();
        self.claims.add(at, claim, port);
        self.by_port.get_or_default(port).push(at);
        self.sockets.push(OutgoingSocket {
            index,
            identity: OnceCell::new(),
            socket: listener.sock_ref(),
            local_addr: listener.local_addr(),
            claim,
            backlog: listener.state().backlog,
            is_port_bound: listener.state().is_port_bound,
            reuse_port_before: Cell::new(None),
            is_stopped: Cell::new(false),
            has_made_way: Cell::new(false),
            accepted: RefCell::default(),
            keeper: listener.socket(),
            was_blocking: Cell::new(false),
            is_replaced: Cell::new(false),
        });
    }

    /// Returns the sockets that are in the way of a planned one.
    fn in_the_way(&self, planned: &PlannedSocket) -> Vec<&OutgoingSocket<'l>> {
        let claim = comparable(planned.claim());
        let port = planned.addr.port();
        if self.claims.conflict(claim, port).is_none() {
            return Vec::new();
        }
        let on_port = self.by_port.get(&port).into_iter().flatten();
        let on_port = on_port.map(|at| &self.sockets[*at]);
        on_port
            .filter(|old| claim.overlap(old.claim).is_some())
            .collect()
    }

    /// Returns the sockets that are in the way of a planned one, by their index among the open
    /// ones.
    pub(crate) fn in_the_way_of(&self, planned: &PlannedSocket) -> Vec<usize> {
        let in_the_way = self.in_the_way(planned).into_iter();
        in_the_way.map(|old| old.index).collect()
    }

    /// Decides how the planned socket can be opened.
    pub(super) fn way_for(&self, planned: &PlannedSocket) -> Way {
        let in_the_way = self.in_the_way(planned);
        if in_the_way.is_empty() {
            return Way::Free;
        }
        if !Self::is_supported(self.protocol) {
            return Way::InUse;
        }
        let owner = self.owner_of_new_sockets();
        let may_share = in_the_way.iter().all(|old| {
            let old = old.identity();
            old.map(|old| old.owner)
                .zip(owner)
                .is_some_and(|(old, new)| old == new)
        });
        match self.is_only_outgoing(planned) {
            Some(false) => Way::InUse,
            Some(true) if may_share => Way::Share,
            Some(true) | None => Way::Stop,
        }
    }

    /// Returns `true` if nothing else listens where the planned socket would; `None` if that cannot
    /// be read.
    fn is_only_outgoing(&self, planned: &PlannedSocket) -> Option<bool> {
        let port = planned.addr.port();
        let mut listening = self.listening.borrow_mut();
        let rows = listening.get_or_insert_with(port, || {
            let filter = SocketFilter::AcceptClients;
            sys::sockets(Protocol::Tcp, filter, port).ok()
        });
        let own = self.by_port.get(&port).into_iter().flatten();
        let own: Option<Set<u64>> = own
            .map(|at| Some(self.sockets[*at].identity()?.inode))
            .collect();
        let own = own?;
        let claim = comparable(planned.claim());
        let is_other = |row: &SocketRow| {
            let device = DeviceIndex::of(row.device.unwrap_or(0));
            let other = Claim::new(row.ip, row.only_v6.unwrap_or(false), device);
            !own.contains(&row.inode) && claim.overlap(other).is_some()
        };
        Some(!rows.as_ref()?.iter().any(is_other))
    }

    /// Lets new sockets share the port of those that are in the way of the planned one.
    pub(super) fn share(&self, planned: &PlannedSocket) {
        for old in self.in_the_way(planned) {
            if old.reuse_port_before.get().is_none() {
                let before = has_reuse_port(&old.socket);
                // If it fails the port is in use, and bind(2) says so.
                if set_reuse_port(&old.socket, true).is_ok() {
                    old.has_made_way.set(true);
                    old.reuse_port_before.set(Some(before));
                }
            }
        }
        let place = (planned.addr.port(), planned.device().map(str::to_owned));
        self.shared.borrow_mut().insert(place);
    }

    /// Stops those that are in the way of the planned socket. What waits in their queues is
    /// accepted before.
    pub(super) fn stop(&self, planned: &PlannedSocket) {
        for old in self.in_the_way(planned) {
            // Without its port it could not listen again.
            if old.is_stopped.get() || !old.is_port_bound {
                continue;
            }
            old.was_blocking.set(is_blocking(&old.socket));
            let _ = accept_waiting(&old.socket, &mut old.accepted.borrow_mut());
            let has_stopped = old.socket.shutdown(Shutdown::Read).is_ok();
            old.is_stopped.set(has_stopped);
            old.has_made_way.set(has_stopped);
        }
    }

    /// Notes that the sockets are open that those have stopped for.
    pub(super) fn set_replaced(&self) {
        for old in self.sockets.iter().filter(|old| old.is_stopped.get()) {
            old.is_replaced.set(true);
        }
    }

    /// Makes those listen again that have stopped for sockets which could not be opened. Returns
    /// why one cannot.
    pub(super) fn resume(&self) -> Vec<(SocketAddr, io::Error)> {
        self.resume_if(|old| !old.is_replaced.get())
    }

    /// Makes all those listen again that have stopped, because the new sockets are closed. Returns
    /// why one cannot.
    pub(crate) fn resume_all(&self) -> Vec<(SocketAddr, io::Error)> {
        self.resume_if(|_| true)
    }

    fn resume_if(
        &self,
        is_wanted: fn(&OutgoingSocket<'_>) -> bool,
    ) -> Vec<(SocketAddr, io::Error)> {
        let stopped = self.sockets.iter().filter(|old| is_wanted(old));
        let stopped = stopped.filter(|old| old.is_stopped.take());
        let failed = stopped.filter_map(|old| {
            if old.was_blocking.get() {
                let _ = old.socket.set_nonblocking(false);
            }
            // Before it listens: a thread that waits for the next client would not see them.
            let left = old.keeper.keep(old.accepted.take());
            self.drained.borrow_mut().extend(left);
            let (_, error) = listen(&old.socket, Protocol::Tcp, old.backlog).err()?;
            Some((old.local_addr, error))
        });
        failed.collect()
    }

    pub(super) fn is_sharing(&self) -> bool {
        !self.shared.borrow().is_empty()
    }

    /// Takes the option from outgoing sockets, once all new ones listen.
    pub(super) fn end_sharing(&self) {
        for old in &self.sockets {
            if let Some(before) = old.reuse_port_before.take() {
                let _ = set_reuse_port(&old.socket, before);
            }
        }
        // The new ones listen as well now.
        self.listening.replace(Map::new());
    }

    /// Returns the inodes of the sockets that were in no new one's way.
    pub(crate) fn inodes(&self) -> Set<u64> {
        let aside = self.sockets.iter().filter(|old| old.has_made_way.get());
        let identities = aside.filter_map(OutgoingSocket::identity);
        let own = identities.map(|identity| identity.inode);
        own.chain(self.of_others.iter().copied()).collect()
    }

    /// Ends the opening of new sockets.
    pub(crate) fn finish(mut self) -> Finished {
        let stopped = self.sockets.iter().filter(|old| old.is_stopped.get());
        let stopped = stopped.map(|old| old.index).collect();
        let mut drained = mem::take(self.drained.get_mut());
        drained.extend(self.sockets.iter().flat_map(|old| old.accepted.take()));
        Finished {
            stopped,
            drained,
            shared: SharedPorts(mem::take(self.shared.get_mut())),
        }
    }

    fn owner_of_new_sockets(&self) -> Option<u32> {
        *self.new_owner.get_or_init(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
            Identity::of(&socket).map(|identity| identity.owner)
        })
    }
}

#[cfg(unix)]
fn is_blocking(socket: &Socket) -> bool {
    !socket.nonblocking().unwrap_or(true)
}

/// No socket stops there.
#[cfg(not(unix))]
fn is_blocking(_: &Socket) -> bool {
    false
}

/// The state of outgoing sockets after new ones were opened.
pub(crate) struct Finished {
    /// Those that have stopped listening, by their index among the open sockets.
    pub(crate) stopped: Set<usize>,
    /// The connections accepted from them.
    pub(crate) drained: Accepted,
    pub(crate) shared: SharedPorts,
}

/// The ports that were shared, each with the device of the new socket.
pub(crate) struct SharedPorts(Set<(u16, Option<String>)>);

impl SharedPorts {
    /// Clears the kernel's mark that sockets share a port, once those are closed that were to be.
    /// By the mark another socket of this user with `SO_REUSEPORT` could still join it, although no
    /// socket on it has the option any more.
    ///
    /// bind(2) of a socket without the option clears it (`inet_csk_update_fastreuse` of
    /// `net/ipv4/inet_connection_sock.c`), on an address beside which the others are open. Those of
    /// documentation (RFC 5737, RFC 3849) overlap with wildcards alone; where wildcards of both
    /// families are open, the mark stays.
    pub(crate) fn clear_marks(&self) {
        for (port, device) in self.0.iter() {
            let is_cleared = |ip: &str| {
                let addr = SocketAddr::new(ip.parse().expect("an address"), *port);
                let spec = SocketSpec::plain(Protocol::Tcp, addr, true, device.as_deref());
                spec.bind().is_ok()
            };
            let _ = ["192.0.2.1", "2001:db8::1"].into_iter().any(is_cleared);
        }
    }
}

/// Returns a claim that can be compared: two interfaces whose indices cannot be may be one.
fn comparable(claim: Claim) -> Claim {
    match claim.device() {
        DeviceIndex::None | DeviceIndex::Known(_) => claim,
        DeviceIndex::Missing(_) | DeviceIndex::Unknown(_) => claim.without_device(),
    }
}
