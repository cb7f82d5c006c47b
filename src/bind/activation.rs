//! The sockets that a service manager has opened, as those of a plan (feature `socket-activation`).

use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use socket2::Socket;

use super::engine::{FailedSocket, Failure, OpenedSocket, Opening};
use super::listener::OpenState;
use super::matching::{Found, Matching, is_on_device_of};
#[cfg(unix)]
use super::socket::Identity;
use super::socket::{Absent, Goal, SocketSpec, StepError, absent, at as at_step, bound_device};
use super::{Listener, Listeners};
use crate::diagnose::HandedOver;
use crate::diagnosis::{Mismatch, Position, Step};
use crate::plan::{IfAbsent, Options, Plan, PlannedSocket};
use crate::sys::{self, Activation, InheritedSocket, Namespace, Protocol, device_of};
use crate::target::{DeviceIndex, Overlap};

impl Activation {
    /// Takes the TCP listeners that no setting has used so far, whatever the settings say: for a
    /// server that listens where its service manager does, and reads its settings only if nothing
    /// was handed over.
    ///
    /// They block. A later [`Plan::apply`](crate::Plan::apply) would close those that are not in
    /// its settings.
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

    /// Takes the UDP sockets that no setting has used so far, as [`listeners`](Self::listeners)
    /// does for TCP.
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
    for handed in &ready {
        let socket = handed.socket().try_clone()?;
        let state =
            state_of(handed).ok_or_else(|| io::Error::other("its options cannot be read"))?;
        let namespace = namespace_of(handed.socket(), protocol, handed.addr().port());
        listeners.push(Listener {
            socket: socket.into(),
            state: OpenState {
                namespace,
                blocks_later: true.into(),
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
    /// The properties of each.
    states: Vec<OpenState>,
}

impl<'p> Inherited<'p> {
    /// Returns those that may be sockets of a plan, but for those that `open` has already. One that
    /// is served, here or by other listeners, is only for the setting that names its port: another
    /// one could be of another service.
    pub(crate) fn of<S>(plan: &'p Plan, protocol: Protocol, open: &Listeners<S>) -> Self {
        let own = open
            .iter()
            .filter_map(|listener| listener.state().inherited.as_ref());
        let own: Vec<&Arc<InheritedSocket>> = own.collect();
        let sockets = plan.options.activation.sockets().iter().filter(|handed| {
            let is_own = own.iter().any(|own| Arc::ptr_eq(own, handed));
            handed.protocol() == protocol && !is_own && is_ready(handed)
        });
        let known = sockets.filter_map(|handed| Some((handed, state_of(handed)?)));
        let (sockets, mut states): (Vec<_>, Vec<OpenState>) = known.unzip();
        let may_be_ipv4 = |socket: &PlannedSocket| socket.if_absent == IfAbsent::UseIpv4;
        let is_ipv4 = |state: &&mut OpenState| {
            state.local_addr.is_ipv4() && state.local_addr.ip().is_unspecified()
        };
        if plan.sockets.iter().any(may_be_ipv4) {
            // As `*` is bound on a host without IPv6.
            for state in states.iter_mut().filter(is_ipv4) {
                state.is_ipv4_instead = lacks_ipv6(protocol);
            }
        }
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
        let copy = || handed.socket().try_clone().map_err(at_step(Step::Socket));
        let socket = match goal {
            Goal::Listen => Some(copy()?),
            Goal::Check => None,
        };
        let is_ipv4_instead = state.local_addr.is_ipv4() && planned.addr.is_ipv6();
        let planned = if is_ipv4_instead {
            &planned.ipv4_instead()
        } else {
            planned
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
            is_nonblocking: self.options.nonblocking,
            backlog: self.options.backlog,
            protocol: state.protocol,
            is_sharing_unknown: false,
        })
    }
}

/// Finds the socket that was handed over on the port of a planned one, is in its way and does not
/// fit.
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
            () if !is_on_device_of(&state, planned) => Mismatch::Device(state.device.clone()),
            () if !is_same => Mismatch::Addr(overlap),
            () if state.is_only_v6() && !planned.is_only_v6() => Mismatch::Ipv6Only,
            () if planned.is_only_v6() && !state.is_only_v6() => Mismatch::DualStack,
            // It fits, and something else is in the way.
            () => return None,
        };
        Some(HandedOver {
            addr: state.local_addr,
            only_v6: state.is_only_v6(),
            is_allowed: options.allows_dual_stack(),
            mismatch,
        })
    })
}

/// Returns what is known of a socket that was handed over; `None` if it cannot be read who could
/// connect to it.
fn state_of(handed: &Arc<InheritedSocket>) -> Option<OpenState> {
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
        inherited: Some(handed.clone()),
        blocks_later: false.into(),
        is_port_bound: true,
        backlog: None,
        position: Position::default(),
        place: 0,
        text: None,
    })
}

/// Returns `true` if the IPv6 wildcard cannot be bound here, because the kernel lacks the family.
fn lacks_ipv6(protocol: Protocol) -> bool {
    let addr = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let bound = SocketSpec::plain(protocol, addr, false, None).bind();
    bound.is_err_and(|(step, error)| absent(step, &error) == Some(Absent::Family))
}

/// Returns `true` if clients can connect: a manager may hand over a connection, too, or a socket
/// for the server to make listen.
fn is_ready(handed: &InheritedSocket) -> bool {
    handed.protocol() == Protocol::Udp || is_listening(handed.socket())
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn is_listening(socket: &Socket) -> bool {
    socket.is_listener().unwrap_or(false)
}

/// Elsewhere the system does not report it; a connection has a peer.
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
