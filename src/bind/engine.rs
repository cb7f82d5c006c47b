//! Opens the sockets of a plan, for [`bind`](crate::bind()) and for [`check`](crate::check())
//! alike.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::Socket;

use super::activation;
use super::outgoing::{Outgoing, Way};
use super::socket::{
    Absent, BoundSocket, Goal, SocketSpec, StepError, absent, bound_device, free_port, group_of,
    listen, probe, set_reuse_port,
};
use crate::diagnose::{self, AddrProbe, Attempt, Errno, Evidence, HandedOver, Namespace};
use crate::diagnosis::{Diagnosis, SettingError, Step};
use crate::interfaces::Interfaces;
use crate::map::{Map, Set};
use crate::order::sort;
use crate::plan::{
    Claims, Duplicate, Entry, IfAbsent, Options, Plan, PlannedSocket, diagnosis_of_conflict,
    in_opening_order,
};
use crate::sys::{self, InheritedSocket, Link, device_of, device_of_new_sockets};
use crate::target::{DeviceIndex, GroupAddr, Overlap, Protocol, is_scoped};

/// The result of opening the sockets of a plan.
#[derive(Default)]
pub(crate) struct Opening {
    pub(crate) opened: Vec<OpenedSocket>,
    pub(crate) failed: Vec<FailedSocket>,
    /// The parts that the host lacks, and that the setting or the list does without.
    pub(crate) left_out: Vec<PlannedSocket>,
    /// The outgoing sockets that have stopped for new ones and cannot listen again.
    pub(crate) lost: Vec<(SocketAddr, io::Error)>,
    /// The addresses that a socket on another one serves.
    pub(crate) served: Vec<Duplicate>,
}

impl Opening {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.opened.append(&mut other.opened);
        self.failed.append(&mut other.failed);
        self.left_out.append(&mut other.left_out);
        self.lost.append(&mut other.lost);
        self.served.append(&mut other.served);
    }

    /// Closes what was opened, if anything has failed that is needed.
    pub(super) fn keep_all_or_none(&mut self) {
        let is_open = |opened: &OpenedSocket| opened.socket.is_some();
        if !self.failed.iter().all(FailedSocket::is_skipped) || !self.opened.iter().all(is_open) {
            self.opened
                .iter_mut()
                .for_each(|opened| opened.socket = None);
        }
    }
}

/// A socket that can be opened. It is open only if all others are, and if that is the goal.
pub(crate) struct OpenedSocket {
    /// As planned, with the address that was bound.
    pub(crate) planned: PlannedSocket,
    /// The address, with the port that it was given.
    pub(crate) local_addr: SocketAddr,
    pub(crate) namespace: Namespace,
    pub(crate) socket: Option<Socket>,
    /// In a check, the interface that the socket is bound to.
    pub(crate) device: Option<String>,
    /// The interface that is set as an option.
    pub(crate) device_index: DeviceIndex,
    /// The inherited socket that it is a copy of.
    pub(crate) inherited: Option<Arc<InheritedSocket>>,
    /// Whether one that was handed over is not to block.
    pub(crate) is_nonblocking: bool,
    pub(crate) backlog: Option<u32>,
    pub(crate) protocol: Protocol,
    /// Whether another socket has the port, and the kernel was not asked if it shares it.
    pub(crate) is_sharing_unknown: bool,
}

/// A socket that cannot be opened.
pub(crate) struct FailedSocket {
    pub(crate) planned: PlannedSocket,
    pub(crate) reason: Failure,
    /// Whether it is of a range, and every port failed in this way.
    pub(crate) no_port_left: bool,
    /// The socket on its port that was handed over and does not fit.
    handed_over: Option<Box<HandedOver>>,
}

/// Why a socket cannot be opened.
pub(crate) enum Failure {
    /// Linux would bind it, and no client can connect to it.
    Group(GroupAddr),
    System(Step, io::Error),
    /// Other sockets of the plan have every port of its range.
    Conflict(Box<PlannedSocket>, Overlap),
}

/// Returns `true` if a step failed because another socket has the port. If several are bound to it,
/// listen(2) says so, where one of them listens already.
pub(super) fn is_port_in_use(step: Step, error: &io::Error) -> bool {
    matches!(step, Step::Bind | Step::Listen) && Errno::of(error) == Errno::InUse
}

impl FailedSocket {
    pub(super) fn new(planned: PlannedSocket, reason: Failure) -> Self {
        Self {
            planned,
            reason,
            no_port_left: false,
            handed_over: None,
        }
    }

    /// Creates the failure of a socket that the server's runtime cannot have.
    pub(crate) fn unconverted(planned: PlannedSocket, error: io::Error) -> Self {
        Self::new(planned, Failure::System(Step::Register, error))
    }

    pub(crate) fn is_in_use(&self) -> bool {
        match &self.reason {
            Failure::System(step, error) => is_port_in_use(*step, error),
            _ => false,
        }
    }

    fn absent(&self) -> Option<Absent> {
        match &self.reason {
            Failure::System(step, error) => absent(*step, error),
            _ => None,
        }
    }

    /// Returns `true` if other sockets of the plan were in its way, and nothing of the host.
    fn is_conflict(&self) -> bool {
        matches!(self.reason, Failure::Conflict(..))
    }

    /// Returns the attempt, to be diagnosed beside the claims of a list.
    fn attempt<'a>(&'a self, protocol: Protocol, list: Option<&'a Claims>) -> Attempt<'a> {
        let planned = &self.planned;
        let entry = &*planned.entry;
        let ports = planned.ports();
        let (group, refused) = match &self.reason {
            Failure::Group(group) => (Some(*group), None),
            Failure::System(step, error) => (None, Some((*step, error))),
            Failure::Conflict(..) => (None, None),
        };
        Attempt {
            protocol,
            addr: planned.addr,
            only_v6: planned.only_v6,
            device: entry.device.as_deref(),
            kernel: entry,
            shares_port: entry.shares_port,
            freebind: entry.freebind,
            only_v6_option: entry.only_v6,
            written: Some(&entry.written),
            ports: (*ports.start(), *ports.end()),
            no_port_left: self.no_port_left,
            before: entry.host.as_ref(),
            group,
            handed_over: self.handed_over.as_deref(),
            refused,
            beside: list.map(|claims| (claims, entry.number)),
        }
    }

    /// Returns `true` if the others are opened without it, unless its cause turns out to be another
    /// one.
    pub(crate) fn is_skipped(&self) -> bool {
        self.planned.entry.is_optional() && self.absent().is_some()
    }
}

/// Opens sockets of a plan.
pub(crate) struct Opener<'p> {
    options: &'p Options,
    protocol: Protocol,
    goal: Goal,
    /// Whether there is one socket, which listens at once.
    is_single: bool,
    /// Whether the sockets listen once all of them are bound.
    listens: bool,
    /// The sockets that are open already.
    open: Neighbours,
    /// Those that this attempt has opened.
    opened: Neighbours,
    /// Those that are to be closed.
    outgoing: &'p Outgoing<'p>,
}

impl<'p> Opener<'p> {
    pub(crate) fn new(
        options: &'p Options,
        protocol: Protocol,
        goal: Goal,
        outgoing: &'p Outgoing<'p>,
    ) -> Self {
        Self {
            options,
            protocol,
            goal,
            is_single: false,
            listens: true,
            open: Neighbours::default(),
            opened: Neighbours::default(),
            outgoing,
        }
    }

    /// Binds the sockets only.
    pub(super) fn without_listening(self) -> Self {
        Self {
            listens: false,
            ..self
        }
    }

    /// Takes a socket into account that is open already.
    pub(crate) fn add_open(&mut self, socket: &PlannedSocket, port: u16) {
        let socket = socket.on_port(port);
        self.open.claims.set_apart(self.apart_device(&socket));
        self.open.add(socket);
    }

    /// Returns the device of a socket if a socket on none can have the same port; one of which that
    /// is unknown counts as in the way.
    fn apart_device(&self, socket: &PlannedSocket) -> Option<DeviceIndex> {
        let device = socket.entry.device_index;
        let index = device.known().filter(|_| self.protocol == Protocol::Tcp)?;
        sys::is_apart(index)
            .is_ok_and(|is_apart| is_apart)
            .then_some(device)
    }

    /// Opens sockets, all or none.
    ///
    /// All of them are bound before the first one listens, so that no client gets in if one fails.
    /// Once one fails, the others are opened as for a check, to find what is wrong with them.
    pub(crate) fn open(&mut self, sockets: &[PlannedSocket]) -> Opening {
        let mut opening = Opening::default();
        let mut goal = self.goal;
        let has_ranges = sockets.iter().any(PlannedSocket::is_range);
        self.is_single = self.listens && sockets.len() == 1;
        self.opened = Neighbours::default();
        if has_ranges {
            let apart: Set<DeviceIndex> = sockets
                .iter()
                .filter_map(|socket| self.apart_device(socket))
                .collect();
            self.open.claims.set_apart(apart.iter().copied());
            self.opened.claims.set_apart(apart);
        }
        let order = in_opening_order(sockets);
        // An open socket stops once all that can be opened beside it are.
        let (stopping, beside): (Vec<_>, Vec<_>) = order.into_iter().partition(|sockets| {
            let mut sockets = sockets.iter();
            sockets.any(|socket| self.outgoing.way_for(socket) == Way::Stop)
        });
        for sockets in beside.into_iter().chain(stopping) {
            let mut tried = self.try_entry(&sockets, goal);
            let has_failed = !tried.failed.iter().all(FailedSocket::is_skipped);
            if has_failed && goal == Goal::Listen {
                goal = Goal::Check;
                let opened = opening.opened.iter_mut().chain(&mut tried.opened);
                opened.for_each(|opened| opened.socket = None);
            }
            if has_ranges {
                for opened in &tried.opened {
                    let port = opened.local_addr.port();
                    self.opened.add(opened.planned.on_port(port));
                }
            }
            opening.append(tried);
        }
        if goal == Goal::Listen {
            read_device_indexes(&mut opening.opened);
            if self.listens && !self.is_single {
                listen_all(&mut opening, self.protocol);
            }
        }
        let are_open = opening.opened.iter().all(|opened| opened.socket.is_some());
        if are_open && !opening.opened.is_empty() {
            self.outgoing.set_replaced();
        } else {
            opening.lost = self.outgoing.resume();
        }
        self.end_sharing(&opening);
        opening
    }

    /// Ends the sharing of ports with outgoing sockets, so that nothing can join them any more.
    fn end_sharing(&self, opening: &Opening) {
        if !self.outgoing.is_sharing() {
            return;
        }
        let opened = opening.opened.iter();
        for socket in opened.filter_map(|opened| opened.socket.as_ref()) {
            let _ = set_reuse_port(socket, self.options.reuse_port);
        }
        self.outgoing.end_sharing();
    }
}

/// Makes sockets that are bound listen, all of them or none.
pub(super) fn listen_all(opening: &mut Opening, protocol: Protocol) {
    let failed = opening.opened.iter().find_map(|opened| {
        // A service manager hands over what listens already.
        let socket = opened
            .socket
            .as_ref()
            .filter(|_| opened.inherited.is_none())?;
        let (step, error) = listen(socket, protocol, opened.backlog).err()?;
        let planned = opened.planned.on_port(opened.local_addr.port());
        Some(FailedSocket::new(planned, Failure::System(step, error)))
    });
    if let Some(failed) = failed {
        let opened = opening.opened.iter_mut();
        opened.for_each(|opened| opened.socket = None);
        opening.failed.push(failed);
    }
}

/// The sockets that are open, or would be, whose ports a range has to avoid: those of the plan that
/// do not listen would not make bind(2) fail.
#[derive(Default)]
struct Neighbours {
    sockets: Vec<PlannedSocket>,
    /// By the index of the socket.
    claims: Claims,
}

impl Neighbours {
    fn add(&mut self, socket: PlannedSocket) {
        if let Some(claim) = socket.exclusive_claim() {
            self.claims
                .add(self.sockets.len(), claim, socket.addr.port());
            self.sockets.push(socket);
        }
    }

    /// Finds the first of `sockets` that cannot be opened on `port` beside them, and why.
    fn conflict<'s>(
        &self,
        sockets: &'s [PlannedSocket],
        port: u16,
    ) -> Option<(&'s PlannedSocket, Failure)> {
        sockets.iter().find_map(|socket| {
            let (other, overlap) = self.claims.conflict(socket.exclusive_claim()?, port)?;
            let other = Box::new(self.sockets[other].clone());
            Some((socket, Failure::Conflict(other, overlap)))
        })
    }
}

/// Reads the index of each device again, because the interface may have been created again since
/// the sockets were planned.
fn read_device_indexes(opened: &mut [OpenedSocket]) {
    let mut links: Map<String, Option<Link>> = Map::new();
    for opened in opened {
        let (Some(name), Some(socket)) = (&opened.planned.entry.device, &opened.socket) else {
            continue;
        };
        let link = links.get_or_insert_with(name.clone(), || sys::device(name).ok().flatten());
        let Some(link) = link
            .as_ref()
            .filter(|link| opened.device_index != DeviceIndex::Known(link.index))
        else {
            continue;
        };
        // The system has no name for the interface of the socket if that was deleted, and another
        // one if it was renamed.
        if device_of(socket).ok().flatten().as_deref() == Some(&*link.name) {
            opened.device_index = DeviceIndex::Known(link.index);
        }
    }
}

/// Opens the socket of a literal address with the options of all.
pub(super) fn open_plain(
    options: &Options,
    protocol: Protocol,
    addr: SocketAddr,
    group: crate::target::GroupCheck,
) -> Result<(SocketAddr, Socket), Failure> {
    if let Some(group) = group_of(protocol, addr.ip(), group) {
        return Err(Failure::Group(group));
    }
    let spec = SocketSpec::of_addr(protocol, addr, true, options);
    let open = || {
        let socket = spec.bind()?;
        listen(&socket, protocol, options.backlog)?;
        spec.read_address(socket)
    };
    match open() {
        Ok(bound) => Ok((bound.local_addr, bound.socket)),
        Err((step, error)) => Err(Failure::System(step, error)),
    }
}

impl Opening {
    /// Returns `true` if another port may help: each socket that matters failed because its port is
    /// in use.
    fn is_in_use(&self) -> bool {
        let mut failed = self
            .failed
            .iter()
            .filter(|failed| !failed.is_skipped())
            .peekable();
        failed.peek().is_some() && failed.all(FailedSocket::is_in_use)
    }
}

impl Opener<'_> {
    fn try_entry(&self, sockets: &[PlannedSocket], goal: Goal) -> Opening {
        if sockets[0].is_range() {
            self.try_range(sockets, goal)
        } else if sockets.len() > 1 && sockets[0].addr.port() == 0 {
            self.try_one_free_port(sockets, goal)
        } else {
            self.try_each(sockets, goal)
        }
    }

    /// Tries the ports of a range in turn.
    fn try_range(&self, sockets: &[PlannedSocket], goal: Goal) -> Opening {
        let mut in_use = None;
        let mut in_plan = None;
        let mut ports: Vec<u16> = sockets[0].ports().collect();
        if self.options.random_ports {
            // Its keys are random.
            let state = RandomState::new();
            let mut hashed: Vec<(u64, u16)> = ports
                .into_iter()
                .map(|port| (state.hash_one(port), port))
                .collect();
            sort(&mut hashed);
            ports = hashed.into_iter().map(|(_, port)| port).collect();
        }
        for port in ports {
            let conflict = |neighbours: &Neighbours| neighbours.conflict(sockets, port);
            let conflict = conflict(&self.open).or_else(|| conflict(&self.opened));
            if let Some((socket, reason)) = conflict {
                in_plan.get_or_insert_with(|| FailedSocket::new(socket.on_port(port), reason));
                continue;
            }
            let on_port: Vec<PlannedSocket> =
                sockets.iter().map(|socket| socket.on_port(port)).collect();
            let tried = self.try_each(&on_port, goal);
            if !tried.is_in_use() {
                return tried;
            }
            in_use = Some(tried);
        }
        let mut tried = in_use.unwrap_or_default();
        for failed in &mut tried.failed {
            failed.no_port_left = true;
        }
        if tried.failed.is_empty() {
            tried.failed.extend(in_plan);
        }
        tried
    }

    /// Opens several sockets on one port of the kernel's choice.
    ///
    /// To take the port of one of them for the others fails permanently on a crowded host, where
    /// the kernel gives out the ports that are free on one address only. What is free on the
    /// dual-stack wildcard is free on every address; if nothing is, the first address has the
    /// choice.
    fn try_one_free_port(&self, sockets: &[PlannedSocket], goal: Goal) -> Opening {
        let mut tries_left = 16;
        loop {
            let port = match free_port(self.protocol, sockets[0].addr.ip()) {
                Ok(port) => port,
                Err((step, error)) => {
                    let failure = Failure::System(step, error);
                    return Opening {
                        failed: vec![FailedSocket::new(sockets[0].clone(), failure)],
                        ..Opening::default()
                    };
                }
            };
            let on_port: Vec<PlannedSocket> =
                sockets.iter().map(|socket| socket.on_port(port)).collect();
            tries_left -= 1;
            let tried = self.try_each(&on_port, goal);
            // Another process may have taken it in between.
            if tries_left == 0 || !tried.is_in_use() {
                return tried;
            }
        }
    }

    /// Opens each of the sockets on its port.
    fn try_each(&self, sockets: &[PlannedSocket], mut goal: Goal) -> Opening {
        let mut tried = Opening::default();
        for socket in sockets {
            let mut socket = socket.clone();
            let mut result = self.open_one(&socket, goal);
            if let (IfAbsent::UseIpv4, Err(failed)) = (socket.if_absent, &result) {
                if failed.absent() == Some(Absent::Family) {
                    socket = socket.ipv4_instead();
                    result = self.open_one(&socket, goal);
                }
            }
            match result {
                Ok(opened) => tried.opened.push(opened),
                Err(failed) if socket.if_absent.skips(failed.absent()) => {
                    tried.left_out.push(failed.planned);
                }
                Err(failed) => {
                    if failed.is_skipped() {
                        tried.left_out.push(failed.planned.clone());
                    } else {
                        goal = Goal::Check;
                        let opened = tried.opened.iter_mut();
                        opened.for_each(|opened| opened.socket = None);
                    }
                    tried.failed.push(failed);
                }
            }
        }
        tried
    }

    fn open_one(&self, planned: &PlannedSocket, goal: Goal) -> Result<OpenedSocket, FailedSocket> {
        let failed = |reason| FailedSocket::new(planned.clone(), reason);
        let system = |(step, error): StepError| failed(Failure::System(step, error));
        let opened = |local_addr, namespace, socket| OpenedSocket {
            planned: planned.clone(),
            local_addr,
            namespace,
            socket,
            device: None,
            device_index: planned.entry.device_index,
            inherited: None,
            is_nonblocking: false,
            backlog: self.options.backlog,
            protocol: self.protocol,
            is_sharing_unknown: false,
        };
        // For a check the address is held for no longer than this.
        let checked = |bound: BoundSocket| OpenedSocket {
            device: bound_device(|| device_of(&bound.socket), planned.addr, planned.device()),
            ..opened(bound.local_addr, bound.namespace, None)
        };
        if let Some(group) = group_of(self.protocol, planned.addr.ip(), planned.group) {
            return Err(failed(Failure::Group(group)));
        }
        if planned.entry.device.is_some() && is_scoped(planned.addr) {
            // Before the port is bound, so that a zone on another device is reported even if the
            // port is in use.
            if let Err((Step::Validate, error)) = planned.entry.probe_addr(planned.addr) {
                return Err(system((Step::Validate, error)));
            }
        }
        let mut spec = SocketSpec::of(self.protocol, planned, self.options);
        match self.outgoing.way_for(planned) {
            Way::Free | Way::InUse => {}
            Way::Share => {
                self.outgoing.share(planned);
                spec.reuse_port = true;
            }
            // Nothing stops for a check, so the kernel cannot be asked.
            Way::Stop if goal == Goal::Check => {
                return Ok(OpenedSocket {
                    is_sharing_unknown: true,
                    ..opened(planned.addr, Namespace::This, None)
                });
            }
            Way::Stop => self.outgoing.stop(planned),
        }
        if goal == Goal::Check && spec.reuse_port {
            // Of UDP it would join the group of a running server at once, and get its datagrams. Of
            // TCP it would leave a mark on the port, by which the kernel lets the next such socket
            // in beside any other (`tb->fastreuseport` of net/ipv4/inet_connection_sock.c). So the
            // option is tried only where it matters.
            spec.reuse_port = false;
            match spec.open() {
                Err((Step::Bind, error)) if Errno::of(&error) == Errno::InUse => {
                    if self.protocol == Protocol::Udp {
                        return Ok(OpenedSocket {
                            is_sharing_unknown: true,
                            ..opened(planned.addr, Namespace::This, None)
                        });
                    }
                }
                Ok(bound) => return Ok(checked(bound)),
                Err(error) => return Err(system(error)),
            }
            spec.reuse_port = true;
        }
        let open = || {
            if goal == Goal::Check || !self.is_single {
                return spec.open();
            }
            let socket = spec.bind()?;
            listen(&socket, self.protocol, self.options.backlog)?;
            spec.read_address(socket)
        };
        match open() {
            Ok(bound) if goal == Goal::Listen => Ok(opened(
                bound.local_addr,
                bound.namespace,
                Some(bound.socket),
            )),
            Ok(bound) => Ok(checked(bound)),
            // A check beside a running server: bind(2) looks at other sockets last, so nothing else
            // is wrong.
            Err((Step::Bind, error))
                if Errno::of(&error) == Errno::InUse && self.outgoing.are_of_others(planned) =>
            {
                let device = planned.device().map(str::to_owned);
                Ok(OpenedSocket {
                    device,
                    ..opened(planned.addr, Namespace::This, None)
                })
            }
            Err(error) => Err(system(error)),
        }
    }
}

impl AddrProbe for Entry {
    fn probe(&self, protocol: Protocol, addr: SocketAddr) -> Result<(), StepError> {
        probe(self, protocol, addr)
    }

    fn device_of_new_sockets(&self) -> io::Result<Option<String>> {
        device_of_new_sockets()
    }
}

/// Reads the host once, and finds the causes of what failed and the hints about them. Those that
/// are outgoing are in nothing's way.
pub(crate) fn explain(
    plan: &Plan,
    protocol: Protocol,
    mut failed: Vec<FailedSocket>,
    host: Option<&Interfaces>,
    outgoing: &Outgoing<'_>,
) -> Vec<SettingError> {
    if failed.is_empty() {
        return Vec::new();
    }
    for failed in failed.iter_mut().filter(|failed| failed.is_in_use()) {
        let handed = activation::in_the_way_of(&plan.options, protocol, &failed.planned);
        failed.handed_over = handed.map(Box::new);
    }
    let claims = plan.claims();
    let is_list = plan.entries.len() > 1;
    let beside = is_list.then_some(&claims);
    let of_host = failed.iter().filter(|failed| !failed.is_conflict());
    let attempts: Vec<Attempt<'_>> = of_host
        .map(|failed| failed.attempt(protocol, beside))
        .collect();
    let evidence = Evidence::read(&attempts, host, &outgoing.inodes());
    let diagnose = |failed: &FailedSocket| match &failed.reason {
        Failure::Conflict(other, overlap) => {
            diagnosis_of_conflict(&failed.planned, other, *overlap)
        }
        _ => diagnose::diagnose(&failed.attempt(protocol, beside), &evidence),
    };
    let diagnoses: Vec<Diagnosis> = failed.iter().map(diagnose).collect();
    let explained = failed.into_iter().zip(diagnoses);
    let explained = explained.map(|(failed, diagnosis)| {
        let (step, error) = match failed.reason {
            Failure::Group(_) | Failure::Conflict(..) => (Step::Validate, None),
            Failure::System(step, error) => (step, Some(error)),
        };
        let planned = &failed.planned;
        let error = SettingError::new(Some(planned.addr), step, diagnosis, error);
        error.at(planned.entry.position, planned.entry.text.clone())
    });
    explained.collect()
}
