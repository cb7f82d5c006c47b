//! The sockets that a service manager has opened, as those of a plan (feature `socket-activation`).

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use socket2::Socket;

use super::engine::{FailedSocket, Failure, OpenedSocket, Opening};
use super::listener::OpenState;
use super::matching::{Found, Matching, is_on_device_of};
#[cfg(unix)]
use super::socket::Identity;
use super::socket::{Goal, StepError, at, bound_device};
use super::{Listener, Listeners};
use crate::diagnose::HandedOver;
use crate::diagnosis::{Mismatch, Position, Step};
use crate::plan::{Options, Plan, PlannedSocket};
use crate::sys::{self, Activation, InheritedSocket, Namespace, Protocol, device_of};
use crate::target::{DeviceIndex, Overlap};

impl Activation {
    /// Takes the TCP listeners that no setting has used so far, whatever the settings say: for a server that listens where
    /// its service manager does, and reads its settings only if nothing was handed over.
    ///
    /// They block. A later [`Plan::apply`](crate::Plan::apply) would close those that are not in its settings.
    ///
    /// # Errors
    ///
    /// The system's, where a descriptor cannot be duplicated. None is taken then.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::Activation;
    ///
    /// let mut listeners = Activation::from_env()?.listeners()?;
    /// if listeners.is_empty() {
    ///     listeners = bindaddr::bind("localhost:0")?;
    /// }
    /// # assert!(!listeners.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn listeners(&self) -> io::Result<Listeners> {
        listeners_of(self, Protocol::Tcp)
    }

    /// Takes the UDP sockets that no setting has used so far, as [`listeners`](Self::listeners) does for TCP.
    ///
    /// # Errors
    ///
    /// The system's, where a descriptor cannot be duplicated.
    pub fn udp_sockets(&self) -> io::Result<Listeners<UdpSocket>> {
        listeners_of(self, Protocol::Udp)
    }
}

fn listeners_of<S: From<Socket>>(
    activation: &Activation,
    protocol: Protocol,
) -> io::Result<Listeners<S>> {
    let sockets = activation.sockets().iter();
    let ready: Vec<_> = sockets
        .filter(|handed| handed.protocol() == protocol && !handed.is_used() && is_ready(handed))
        .collect();
    let mut listeners = Vec::with_capacity(ready.len());
    for (n, handed) in ready.iter().enumerate() {
        let socket = copy_of(handed, false).map_err(|(_, error)| error)?;
        let state =
            state_of(handed).ok_or_else(|| io::Error::other("its options cannot be read"))?;
        let namespace = namespace_of(handed.socket(), protocol, handed.addr().port());
        listeners.push(Listener {
            socket: socket.into(),
            state: OpenState {
                namespace,
                place: n,
                ..state
            },
        });
    }
    for handed in ready {
        handed.set_used();
    }
    Ok(listeners.into_iter().collect())
}

/// The sockets of one protocol that were handed over.
pub(crate) struct Inherited<'p> {
    options: &'p Options,
    sockets: Vec<&'p Arc<InheritedSocket>>,
    /// What is known of each.
    states: Vec<OpenState>,
}

impl<'p> Inherited<'p> {
    /// Returns those that may be sockets of a plan. One that is served already is only for the setting that names its
    /// port: another one could be of another service.
    pub(crate) fn of(plan: &'p Plan, protocol: Protocol) -> Self {
        let is_named = |port| {
            plan.sockets
                .iter()
                .any(|socket| socket.fixed_port() == Some(port))
        };
        let sockets = plan.options.activation.sockets().iter().filter(|handed| {
            let is_free = !handed.is_used() || is_named(handed.addr().port());
            handed.protocol() == protocol && is_free && is_ready(handed)
        });
        let known = sockets.filter_map(|handed| Some((handed, state_of(handed)?)));
        let (sockets, states) = known.unzip();
        Self {
            options: &plan.options,
            sockets,
            states,
        }
    }

    pub(crate) fn states(&self) -> &[OpenState] {
        &self.states
    }

    /// Takes those that are sockets of the plan.
    pub(crate) fn take(&self, matching: &Matching, goal: Goal) -> Opening {
        let mut opening = Opening::default();
        for matched in &matching.sockets {
            let Some(Found::Inherited(at)) = matched.open else {
                continue;
            };
            match self.take_one(at, &matched.planned, goal) {
                Ok(opened) => opening.opened.push(opened),
                Err((step, error)) => {
                    let failure = Failure::System(step, error);
                    let failed = FailedSocket::new(matched.planned.clone(), failure);
                    opening.failed.push(failed);
                }
            }
        }
        opening
    }

    fn take_one(
        &self,
        at: usize,
        planned: &PlannedSocket,
        goal: Goal,
    ) -> Result<OpenedSocket, StepError> {
        let (handed, state) = (self.sockets[at], &self.states[at]);
        let socket = match goal {
            Goal::Listen => Some(copy_of(handed, self.options.nonblocking)?),
            Goal::Check => None,
        };
        let device = || device_of(handed.socket());
        Ok(OpenedSocket {
            planned: planned.clone(),
            local_addr: state.local_addr,
            namespace: namespace_of(handed.socket(), handed.protocol(), handed.addr().port()),
            socket,
            device: bound_device(device, state.local_addr, planned.device()),
            device_index: planned.entry.device_index,
            inherited: Some(handed.clone()),
            backlog: self.options.backlog,
            protocol: state.protocol,
            is_sharing_unknown: false,
        })
    }
}

/// Finds the socket that was handed over on the port of a planned one, is in its way and does not fit.
pub(super) fn in_the_way_of(
    options: &Options,
    protocol: Protocol,
    planned: &PlannedSocket,
) -> Option<HandedOver> {
    let sockets = options.activation.sockets().iter();
    let mut on_port = sockets.filter(|handed| {
        handed.protocol() == protocol && handed.addr().port() == planned.addr.port()
    });
    on_port.find_map(|handed| {
        let state = state_of(handed)?;
        let overlap = planned.claim().overlap(state.claim())?;
        let namespace = namespace_of(handed.socket(), protocol, state.local_addr.port());
        let is_same = overlap == Overlap::SameAddress;
        let mismatch = match () {
            () if namespace != Namespace::This || !is_ready(handed) => return None,
            () if !is_same => Mismatch::Addr(overlap),
            () if !is_on_device_of(&state, planned) => Mismatch::Device(state.device.clone()),
            () if state.is_only_v6() && !planned.is_only_v6() => Mismatch::Ipv6Only,
            () if planned.is_only_v6() && !state.is_only_v6() => Mismatch::DualStack,
            // It fits, and something else is in the way.
            () => return None,
        };
        Some(HandedOver {
            addr: state.local_addr,
            only_v6: state.is_only_v6(),
            mismatch,
        })
    })
}

/// Returns what is known of a socket that was handed over; `None` if it cannot be read who could connect to it.
fn state_of(handed: &InheritedSocket) -> Option<OpenState> {
    let addr = handed.addr();
    let is_wildcard = addr.ip().is_unspecified() && addr.is_ipv6();
    let device = device_of(handed.socket()).ok()?;
    let index_of = |name| match sys::device(name) {
        Ok(Some(link)) => DeviceIndex::Known(link.index),
        _ => DeviceIndex::Unknown(usize::MAX),
    };
    Some(OpenState {
        local_addr: addr,
        namespace: Namespace::This,
        // On any other address it does not matter.
        only_v6: !is_wildcard || handed.socket().only_v6().ok()?,
        protocol: handed.protocol(),
        freebind: None,
        device_index: device.as_deref().map_or(DeviceIndex::None, index_of),
        device,
        is_ipv4_instead: false,
        is_shared: true.into(),
        is_port_bound: true,
        backlog: None,
        position: Position::default(),
        place: 0,
        text: None,
    })
}

/// Duplicates the socket, so that one is left if the rest of a list fails and is tried again.
fn copy_of(handed: &InheritedSocket, nonblocking: bool) -> Result<Socket, StepError> {
    let socket = handed.socket().try_clone().map_err(at(Step::Socket))?;
    // Whoever serves on it waits in no call.
    if nonblocking || !handed.is_used() {
        let set = socket.set_nonblocking(nonblocking);
        set.map_err(at(Step::Option("nonblocking")))?;
    }
    Ok(socket)
}

/// Returns `true` if clients can connect: a manager may hand over a connection, too, or a socket for the server to make
/// listen.
fn is_ready(handed: &InheritedSocket) -> bool {
    handed.protocol() == Protocol::Udp || is_listening(handed.socket())
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn is_listening(socket: &Socket) -> bool {
    socket.is_listener().unwrap_or(false)
}

/// Elsewhere the system does not tell; a connection has a peer.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn is_listening(socket: &Socket) -> bool {
    socket.peer_addr().is_err()
}

/// Finds out whether a socket is of this network namespace.
#[cfg(unix)]
fn namespace_of(socket: &Socket, protocol: Protocol, port: u16) -> Namespace {
    match Identity::of(socket) {
        Some(identity) => Namespace::of(protocol, port, identity.inode),
        None => Namespace::Unknown,
    }
}

#[cfg(not(unix))]
fn namespace_of(_: &Socket, _: Protocol, _: u16) -> Namespace {
    Namespace::This
}
