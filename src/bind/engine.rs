//! Opens the sockets of a plan, for [`bind`](crate::bind()) and for [`check`](crate::check()) alike.

use std::io;
use std::net::SocketAddr;

use socket2::Socket;

#[cfg(feature = "socket-activation")]
use super::activation;
use super::socket::{
    Absent, BoundSocket, Goal, SocketSpec, StepError, absent, free_port, group_of, probe,
};
use crate::diagnose::{self, AddrProbe, Attempt, Errno, Evidence, Namespace};
use crate::diagnosis::{Diagnosis, SettingError, Step};
use crate::plan::{Claims, Entry, IfAbsent, Options, Plan, PlannedSocket, conflict};
use crate::sys::{device_of, device_of_new_sockets};
use crate::target::{GroupAddr, Overlap, Protocol, is_scoped};

/// What came of opening the sockets of a plan.
pub(crate) struct Opening {
    pub(crate) opened: Vec<OpenedSocket>,
    pub(crate) failed: Vec<FailedSocket>,
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
}

/// Why a socket cannot be opened.
pub(crate) enum Failure {
    /// Linux would bind it, and no client can connect to it.
    Group(GroupAddr),
    System(Step, io::Error),
    /// Other sockets of the plan have every port of its range.
    Conflict(Box<PlannedSocket>, Overlap),
}

impl FailedSocket {
    pub(super) fn new(planned: PlannedSocket, reason: Failure) -> Self {
        Self {
            planned,
            reason,
            no_port_left: false,
        }
    }

    fn is_in_use(&self) -> bool {
        match &self.reason {
            Failure::System(Step::Bind | Step::Listen, error) => Errno::of(error) == Errno::InUse,
            _ => false,
        }
    }

    fn absent(&self) -> Option<Absent> {
        match &self.reason {
            Failure::System(step, error) => absent(*step, error),
            _ => None,
        }
    }

    /// Returns `true` if the others are opened without it, unless its cause turns out to be another one.
    fn is_skipped(&self) -> bool {
        self.planned.entry.is_optional() && self.absent().is_some()
    }
}

/// Opens the sockets of a plan, all or none.
///
/// Once one fails, those that were opened are closed, and the others are opened as for a check, to find what is wrong
/// with them while no client gets in. `tried` is what came of the only socket if it was tried before it was planned.
pub(crate) fn open(
    plan: &Plan,
    protocol: Protocol,
    goal: Goal,
    tried: Option<FailedSocket>,
) -> Opening {
    let mut engine = Engine {
        options: &plan.options,
        protocol,
        goal,
        opening: Opening {
            opened: Vec::with_capacity(plan.sockets.len()),
            failed: Vec::new(),
        },
        has_ranges: plan.entries.iter().any(|entry| entry.is_range()),
        claims: Claims::default(),
    };
    if let Some(tried) = tried {
        engine.opening.failed.push(tried);
        return engine.opening;
    }
    for sockets in plan.in_opening_order() {
        engine.open_entry(sockets);
    }
    engine.opening
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
    match spec.open(Goal::Listen) {
        Ok(bound) => Ok((bound.local_addr, bound.socket)),
        Err((step, error)) => Err(Failure::System(step, error)),
    }
}

struct Engine<'p> {
    options: &'p Options,
    protocol: Protocol,
    goal: Goal,
    opening: Opening,
    has_ranges: bool,
    /// What the opened sockets claim of their ports, by their place; for ranges only.
    claims: Claims,
}

/// What came of the sockets of one entry on one port.
#[derive(Default)]
struct Tried {
    opened: Vec<OpenedSocket>,
    failed: Vec<FailedSocket>,
}

impl Tried {
    /// Returns `true` if another port may help: each socket that matters failed because its port is in use.
    fn is_in_use(&self) -> bool {
        let mut failed = self
            .failed
            .iter()
            .filter(|failed| !failed.is_skipped())
            .peekable();
        failed.peek().is_some() && failed.all(FailedSocket::is_in_use)
    }
}

impl Engine<'_> {
    fn open_entry(&mut self, sockets: &[PlannedSocket]) {
        let entry = &sockets[0].entry;
        let mut tried = if entry.is_range() {
            self.try_range(sockets)
        } else if sockets.len() > 1 && *entry.ports().start() == 0 {
            self.try_one_free_port(sockets)
        } else {
            self.try_each(sockets)
        };
        if !tried.failed.iter().all(FailedSocket::is_skipped) {
            self.goal = Goal::Check;
        }
        if self.goal == Goal::Check {
            let opened = self.opening.opened.iter_mut().chain(&mut tried.opened);
            opened.for_each(|opened| opened.socket = None);
        }
        if self.has_ranges {
            for (n, opened) in tried.opened.iter().enumerate() {
                let number = self.opening.opened.len() + n;
                if let Some(claim) = opened.planned.exclusive_claim() {
                    self.claims.add(number, claim, opened.local_addr.port());
                }
            }
        }
        self.opening.opened.append(&mut tried.opened);
        self.opening.failed.append(&mut tried.failed);
    }

    /// Tries the ports of a range in turn. Those that other sockets of the plan have are passed over, because a socket
    /// that does not listen would not show the kernel the conflict.
    fn try_range(&self, sockets: &[PlannedSocket]) -> Tried {
        let mut in_use = None;
        let mut in_plan = None;
        for port in sockets[0].entry.ports() {
            let on_port: Vec<PlannedSocket> =
                sockets.iter().map(|socket| socket.on_port(port)).collect();
            if let Some(found) = self.conflict_in_plan(&on_port) {
                in_plan.get_or_insert(found);
                continue;
            }
            let tried = self.try_each(&on_port);
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

    fn conflict_in_plan(&self, sockets: &[PlannedSocket]) -> Option<FailedSocket> {
        sockets.iter().find_map(|socket| {
            let claim = socket.exclusive_claim()?;
            let (other, overlap) = self.claims.conflict(claim, socket.addr.port())?;
            let other = &self.opening.opened[other];
            let other = other.planned.on_port(other.local_addr.port());
            let reason = Failure::Conflict(Box::new(other), overlap);
            Some(FailedSocket::new(socket.clone(), reason))
        })
    }

    /// Opens several sockets on one port of the kernel's choice.
    ///
    /// To take the port of one of them for the others fails permanently on a crowded host, where the kernel gives out
    /// the ports that are free on one address only. What is free on the dual-stack wildcard is free on every address;
    /// if nothing is, the first address has the choice.
    fn try_one_free_port(&self, sockets: &[PlannedSocket]) -> Tried {
        let mut tries_left = 16;
        loop {
            let port = match free_port(self.protocol, sockets[0].addr.ip()) {
                Ok(port) => port,
                Err((step, error)) => {
                    let failure = Failure::System(step, error);
                    return Tried {
                        opened: Vec::new(),
                        failed: vec![FailedSocket::new(sockets[0].clone(), failure)],
                    };
                }
            };
            let on_port: Vec<PlannedSocket> =
                sockets.iter().map(|socket| socket.on_port(port)).collect();
            tries_left -= 1;
            let tried = self.try_each(&on_port);
            // Another process may have taken it in between.
            if tries_left == 0 || !tried.is_in_use() {
                return tried;
            }
        }
    }

    /// Opens each of the sockets on its port.
    fn try_each(&self, sockets: &[PlannedSocket]) -> Tried {
        let mut tried = Tried::default();
        let mut goal = self.goal;
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
                Err(failed) if socket.if_absent.skips(failed.absent()) => {}
                Err(failed) => {
                    if !failed.is_skipped() {
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
            protocol: self.protocol,
            is_sharing_unknown: false,
        };
        // For a check the address is held for no longer than this.
        let checked = |bound: BoundSocket| OpenedSocket {
            device: device_of_bound(&bound.socket, planned),
            ..opened(bound.local_addr, bound.namespace, None)
        };
        if let Some(group) = group_of(self.protocol, planned.addr.ip(), planned.group) {
            return Err(failed(Failure::Group(group)));
        }
        if planned.entry.device.is_some() && is_scoped(planned.addr) {
            // Before the port is bound, so that a zone on another device is reported even if the port is in use.
            if let Err((Step::Validate, error)) = probe(&planned.entry, planned.addr) {
                return Err(system((Step::Validate, error)));
            }
        }
        let mut spec = SocketSpec::of(self.protocol, planned, self.options);
        #[cfg(feature = "socket-activation")]
        match activation::find(&self.options.activation, &spec) {
            Some(handed) if goal == Goal::Check => {
                return Ok(opened(handed.addr(), Namespace::This, None));
            }
            Some(handed) => {
                let bound = activation::take(handed, spec.nonblocking).map_err(system)?;
                return Ok(opened(
                    bound.local_addr,
                    bound.namespace,
                    Some(bound.socket),
                ));
            }
            None => {}
        }
        if goal == Goal::Check && spec.reuse_port {
            // Of UDP it would join the group of a running server at once, and get its datagrams. Of TCP it would leave
            // a mark on the port, by which the kernel lets the next such socket in beside any other
            // (`tb->fastreuseport` of net/ipv4/inet_connection_sock.c). So the option is tried only where it matters.
            spec.reuse_port = false;
            match spec.open(goal) {
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
        match spec.open(goal) {
            Ok(bound) if goal == Goal::Listen => Ok(opened(
                bound.local_addr,
                bound.namespace,
                Some(bound.socket),
            )),
            Ok(bound) => Ok(checked(bound)),
            Err(error) => Err(system(error)),
        }
    }
}

/// Returns the interface that a bound socket accepts connections through; the zone of an address is not a device.
fn device_of_bound(socket: &Socket, planned: &PlannedSocket) -> Option<String> {
    if planned.entry.device.is_none() && is_scoped(planned.addr) {
        return None;
    }
    device_of(socket).ok().flatten()
}

impl AddrProbe for Entry {
    fn probe_addr(&self, addr: SocketAddr) -> Result<(), StepError> {
        probe(self, addr)
    }

    fn device_of_new_sockets(&self) -> io::Result<Option<String>> {
        device_of_new_sockets()
    }
}

/// Returns the attempt to open a planned socket, to be diagnosed.
pub(crate) fn attempt(protocol: Protocol, planned: &PlannedSocket) -> Attempt<'_> {
    let entry = &*planned.entry;
    let ports = entry.ports();
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
        no_port_left: false,
        before: entry.host.as_ref(),
        group: None,
        refused: None,
        beside: None,
    }
}

/// Reads the host once, and finds the causes of what failed and the hints about them.
pub(crate) fn explain(
    plan: &Plan,
    protocol: Protocol,
    failed: Vec<FailedSocket>,
    host: Option<&crate::interfaces::Interfaces>,
) -> Vec<SettingError> {
    if failed.is_empty() {
        return Vec::new();
    }
    let claims = plan.claims();
    let is_list = plan.entries.len() > 1;
    let attempts: Vec<Attempt<'_>> = failed
        .iter()
        .map(|failed| {
            let attempt = Attempt {
                beside: is_list.then_some((&claims, failed.planned.entry.number)),
                no_port_left: failed.no_port_left,
                ..attempt(protocol, &failed.planned)
            };
            match &failed.reason {
                Failure::Group(group) => Attempt {
                    group: Some(*group),
                    ..attempt
                },
                Failure::System(step, error) => Attempt {
                    refused: Some((*step, error)),
                    ..attempt
                },
                Failure::Conflict(..) => attempt,
            }
        })
        .collect();
    let evidence = Evidence::read(&attempts, host);
    let diagnoses: Vec<Diagnosis> = attempts
        .iter()
        .map(|attempt| diagnose::diagnose(attempt, &evidence))
        .collect();
    let failed = failed.into_iter().zip(diagnoses);
    failed
        .map(
            |(
                FailedSocket {
                    planned, reason, ..
                },
                diagnosis,
            )| {
                let (step, error) = match reason {
                    Failure::Group(_) => (Step::Validate, None),
                    Failure::System(step, error) => (step, Some(error)),
                    Failure::Conflict(other, overlap) => {
                        return conflict(&planned, &other, overlap);
                    }
                };
                let error = SettingError::new(Some(planned.addr), step, diagnosis, error);
                error.at(planned.entry.position, planned.entry.text.clone())
            },
        )
        .collect()
}
