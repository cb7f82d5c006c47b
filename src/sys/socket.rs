//! The rows of the tables of sockets: [`SocketRow`], [`SocketState`] and [`Process`].

use std::fmt;
use std::net::IpAddr;

/// The protocol that a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// The state of a socket that has a port.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use bindaddr::diagnosis::SocketState;
/// use bindaddr::Cause;
///
/// let held = bindaddr::bind_udp("127.0.0.1:0")?;
/// let err = bindaddr::bind_udp(held.as_slice()[0].local_addr()).unwrap_err();
/// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
/// assert_eq!(holders[0].state(), SocketState::Bound);
/// # }
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketState {
    /// A TCP socket that accepts connections.
    Listening,
    /// A UDP socket, or a TCP socket that neither listens nor is connected.
    Bound,
    /// One end of a TCP connection, which may be half open or half closed.
    Connected,
    /// A closed TCP connection whose port the kernel keeps for a while (RFC 9293, section 3.6).
    TimeWait,
}

impl SocketState {
    /// Reads the number of `net/tcp_states.h`, by which the kernel describes UDP sockets as well.
    pub(crate) fn of(protocol: Protocol, number: u8) -> Self {
        match (protocol, number) {
            (Protocol::Tcp, 6) => Self::TimeWait,
            // TCP_CLOSE and TCP_BOUND_INACTIVE.
            (Protocol::Udp, _) | (Protocol::Tcp, 7 | 13) => Self::Bound,
            (Protocol::Tcp, 10) => Self::Listening,
            (Protocol::Tcp, _) => Self::Connected,
        }
    }
}

/// A socket in the kernel's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketRow {
    pub(crate) protocol: Protocol,
    pub(crate) state: SocketState,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    /// `None` from procfs, which does not report it.
    pub(crate) only_v6: Option<bool>,
    /// The index of the interface that the socket is bound to, 0 for none; `None` from procfs,
    /// which does not report it.
    pub(crate) device: Option<u32>,
    /// The user that created the socket; `None` if it has no inode any more.
    pub(crate) uid: Option<u32>,
    /// 0 if no process has the socket open any more.
    pub(crate) inode: u64,
    /// The number of the cgroup that the socket was created in; `None` from procfs and from kernels
    /// before 5.8.
    pub(crate) cgroup: Option<u64>,
}

impl SocketRow {
    /// Returns `true` if the socket receives what new clients send to its port: a TCP socket that
    /// listens, and every UDP socket.
    pub(crate) fn accepts_clients(&self) -> bool {
        match self.protocol {
            Protocol::Tcp => self.state == SocketState::Listening,
            Protocol::Udp => true,
        }
    }

    /// Returns `true` if no process has the socket open any more, and no connection keeps it: close(2)
    /// has taken its inode, and not yet its port.
    pub(crate) fn is_being_closed(&self) -> bool {
        self.inode == 0 && matches!(self.state, SocketState::Listening | SocketState::Bound)
    }
}

/// Selects the sockets of a protocol to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketFilter {
    /// Those that [accept clients](SocketRow::accepts_clients), which the kernel finds quickly.
    AcceptClients,
    /// Those that listen: TCP sockets, and UDP sockets that are not connected.
    #[cfg_attr(not(feature = "cli"), allow(dead_code))]
    Listening,
    /// All but those that accept clients. The kernel walks all its tables for them.
    Others,
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) is_this: bool,
    pub(crate) pid: u32,
    /// Its effective user.
    pub(crate) uid: Option<u32>,
    pub(crate) command: Option<String>,
    /// How many of its child processes have the socket as well.
    pub(crate) children: usize,
    /// Whether systemd has the socket as well, or alone: it is that of a socket unit.
    pub(crate) is_of_unit: bool,
}

/// How far processes were searched for those that have a socket open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Searched {
    /// Some could not be looked at.
    #[default]
    Some,
    /// All of this PID namespace, and there may be others.
    Namespace,
    /// All.
    Host,
}
