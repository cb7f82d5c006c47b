//! What is asked of the kernel through sockets of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, SockAddr, Socket};

use super::{BindOptions, Wanted, absence, at, name_of, type_of};
use crate::diagnose::{Attempt, DeadEnd, Errno, Kernel, Step, System};
use crate::plan::{self, Absence, Clients, PlannedSocket};
use crate::sys::{self, is_broadcast, lowest_is_broadcast};
use crate::target::Protocol;

/// Returns why Linux would bind a socket that no client can connect to.
pub(super) fn dead_end(protocol: Protocol, planned: &PlannedSocket) -> Option<DeadEnd> {
    if protocol == Protocol::Udp {
        return None;
    }
    let ip = planned.addr.ip();
    let is_broadcast = match planned.clients {
        Clients::MayCome => false,
        Clients::NeverComeToMulticast => return Some(DeadEnd::Multicast),
        Clients::NeverComeToBroadcast => true,
        Clients::TheKernelKnows => is_broadcast(ip) == Some(true),
        Clients::OldKernelsKnow => {
            lowest_is_broadcast() != Some(false) && is_broadcast(ip) == Some(true)
        }
    };
    is_broadcast.then_some(DeadEnd::Broadcast)
}

/// Finds a port that is free on every address of the host, or where there is
/// none, on `first`.
pub(super) fn free_port(protocol: Protocol, first: IpAddr) -> Result<u16, (Step, io::Error)> {
    let everywhere = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let mut found = everywhere.map(|ip| SocketAddr::new(ip, 0)).into_iter();
    if let Some(port) = found.find_map(|addr| port_given(protocol, addr).ok()) {
        return Ok(port);
    }
    port_given(protocol, SocketAddr::new(first, 0))
}

/// Asks the kernel for a free port of `addr`; the dual-stack wildcard if it is `[::]`.
fn port_given(protocol: Protocol, addr: SocketAddr) -> Result<u16, (Step, io::Error)> {
    let socket = Socket::new(Domain::for_address(addr), type_of(protocol), None)
        .map_err(at(Step::Socket))?;
    if addr.is_ipv6() {
        let dual_stack = socket.set_only_v6(false);
        dual_stack.map_err(at(Step::Option("only_v6")))?;
    }
    // Without SO_REUSEADDR, with which the kernel looks at half of the ports first.
    socket.bind(&SockAddr::from(addr)).map_err(at(Step::Bind))?;
    Ok(name_of(&socket).map_err(at(Step::Name))?.port())
}

/// A socket whose address the kernel was asked about.
pub(crate) struct Tried {
    pub(crate) socket: PlannedSocket,
    pub(crate) dead: Option<DeadEnd>,
    pub(crate) error: Option<(Step, io::Error)>,
}

impl BindOptions {
    /// Asks the kernel about the address of a socket; `None` if it may be absent and is.
    pub(crate) fn try_out(&self, protocol: Protocol, socket: PlannedSocket) -> Option<Tried> {
        let mut socket = socket;
        let mut error = self.try_address(socket.addr).err();
        let (lacks_address, lacks_family) = match &error {
            Some((step, error)) => absence(*step, error),
            None => (false, false),
        };
        match socket.absence {
            Absence::IsSkipped if lacks_address || lacks_family => return None,
            Absence::LeavesIpv4 if lacks_family => {
                socket = plan::ipv4_wildcard(socket.addr.port());
                error = self.try_address(socket.addr).err();
            }
            _ => {}
        }
        let dead = dead_end(protocol, &socket);
        Some(Tried {
            socket,
            dead,
            // All UDP ports of the address being taken is no matter here, and of a dead
            // address the kernel is not asked.
            error: error.filter(|(_, error)| dead.is_none() && Errno::of(error) != Errno::InUse),
        })
    }

    /// What came of asking.
    pub(crate) fn attempt_of<'a>(
        &'a self,
        protocol: Protocol,
        tried: &'a Tried,
        wanted: &'a Wanted,
    ) -> Attempt<'a> {
        Attempt {
            dead: tried.dead,
            refused: tried.error.as_ref().map(|(step, error)| (*step, error)),
            ..self.attempt(protocol, &tried.socket, wanted)
        }
    }
}

impl Kernel for BindOptions {
    fn try_address(&self, addr: SocketAddr) -> Result<(), (Step, io::Error)> {
        // On UDP and port 0 it is in nobody's way, as on TCP without listening, which Windows is
        // asked with, for Wine gives UDP every address; with SO_REUSEPORT it could get the port
        // of a server that set it, too.
        let protocol = match System::HERE {
            System::Windows => Protocol::Tcp,
            _ => Protocol::Udp,
        };
        let mut addr = addr;
        addr.set_port(0);
        let alone = Self {
            reuse_port: false,
            ..self.clone()
        };
        alone.bind_socket(protocol, addr, true).map(|_| ())
    }

    fn device_of_new_sockets(&self) -> io::Result<Option<String>> {
        sys::device_of_new_sockets()
    }
}
