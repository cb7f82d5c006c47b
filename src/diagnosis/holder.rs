//! A socket that has a port: [`Holder`].

use std::fmt;
use std::net::SocketAddr;

use crate::addr::shown;
use crate::sys::{Process, SocketState};
use crate::target::{Overlap, is_scoped};

/// A socket that has a port, in the way of one that was wanted.
///
/// A value that this process may not read is `None`. Without privilege, the sockets of all users
/// are listed, but only processes of the same user.
///
/// # Platform notes
///
/// Read on Linux and Android.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use bindaddr::diagnosis::SocketState;
/// use bindaddr::Cause;
///
/// let held = bindaddr::bind("127.0.0.1:0")?;
/// let addr = held.as_slice()[0].local_addr();
/// let err = bindaddr::bind(addr).unwrap_err();
/// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
/// assert_eq!(holders[0].addr(), addr);
/// assert_eq!(holders[0].state(), SocketState::Listening);
/// assert!(holders[0].is_this_process());
/// # }
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub(crate) addr: SocketAddr,
    pub(crate) state: SocketState,
    pub(crate) overlap: Overlap,
    pub(crate) is_certain: bool,
    pub(crate) uid: Option<u32>,
    pub(crate) process: Option<Process>,
    /// The interface that it is bound to, by its name if that could be read.
    pub(crate) device: Option<String>,
    /// Whether all processes were looked at, and none has it.
    pub(crate) is_of_kernel: bool,
}

impl Holder {
    /// Returns its address and port; never an IPv4-mapped address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the state of the socket.
    #[must_use]
    pub fn state(&self) -> SocketState {
        self.state
    }

    /// Returns why it is in the way.
    #[must_use]
    pub fn overlap(&self) -> Overlap {
        self.overlap
    }

    /// Returns `true` if it surely is in the way.
    ///
    /// The tables of `/proc`, which are read where netlink is denied, do not have whether `[::]` is
    /// dual-stack, nor the interface that a socket is bound to. A socket that is in the way or not
    /// by one of these is reported only where no other explains the error.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// Returns the user that created the socket, as this process's user namespace numbers users. A
    /// daemon that has dropped its privileges since runs as [another one](Self::process_uid).
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// Returns the process that has it open; of a server that has forked, the one that its others
    /// descend from.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Returns the effective user of that process (proc(5), `status`).
    #[must_use]
    pub fn process_uid(&self) -> Option<u32> {
        self.process.as_ref()?.uid
    }

    /// Returns the name of that process, at most 15 bytes of it (proc(5), `comm`).
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        self.process.as_ref()?.command.as_deref()
    }

    /// Returns the interface that it is bound to (`SO_BINDTODEVICE`, socket(7)), by its index if
    /// the name could not be read. A socket on another interface is not in its way.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Returns `true` if systemd has it open as well, or alone: it is that of a socket unit.
    pub(crate) fn is_of_unit(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| process.is_of_unit)
    }

    /// Returns `true` if this process has it open.
    #[must_use]
    pub fn is_this_process(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.is_this)
    }
}

impl Holder {
    /// Names the process, or else the user that created the socket, which may be another than that
    /// of the process. Returns `false` for a connection that no process has open, of which the
    /// kernel reports neither user nor inode.
    pub(crate) fn may_have_a_process(&self) -> bool {
        match self.who() {
            Who::Kernel => false,
            Who::Unknown => self.state != SocketState::Connected,
            Who::Process(_) | Who::CreatedBy(_) => true,
        }
    }

    pub(crate) fn who(&self) -> Who<'_> {
        match (&self.process, self.uid) {
            (Some(process), _) => Who::Process(process),
            (None, _) if self.is_of_kernel => Who::Kernel,
            (None, Some(uid)) => Who::CreatedBy(uid),
            (None, None) => Who::Unknown,
        }
    }
}

#[cfg(test)]
impl Holder {
    /// A listener on a port of 127.0.0.1.
    pub(crate) fn synthetic(uid: u32, port: u16, process: Option<Process>) -> Self {
        Self {
            addr: ([127, 0, 0, 1], port).into(),
            state: SocketState::Listening,
            overlap: Overlap::SameAddress,
            is_certain: true,
            uid: Some(uid),
            process,
            device: None,
            is_of_kernel: false,
        }
    }
}

/// The process that has a socket, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who<'a> {
    Process(&'a Process),
    CreatedBy(u32),
    /// No process has it.
    Kernel,
    Unknown,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_this {
            return f.write_str("this process");
        }
        match &self.command {
            Some(command) => write!(f, "`{}` (pid {}", shown(command), self.pid)?,
            None => write!(f, "a process (pid {}", self.pid)?,
        }
        match self.uid {
            Some(uid) => write!(f, ", uid {uid})")?,
            None => f.write_str(")")?,
        }
        match self.children {
            0 => Ok(()),
            1 => f.write_str(" with 1 child process"),
            more => write!(f, " with {more} child processes"),
        }
    }
}

impl fmt::Display for Holder {
    /// Writes a clause: who listens on which address, or has it otherwise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, does) = match self.state {
            SocketState::Listening => ("a socket", "listens on"),
            SocketState::Bound => ("a socket", "is bound to"),
            SocketState::Connected | SocketState::TimeWait => ("a connection", "uses"),
        };
        match (self.who(), self.state) {
            (Who::Process(process), SocketState::Listening) => write!(f, "{process} {does}")?,
            (Who::Process(process), _) => write!(f, "{what} of {process} {does}")?,
            (Who::Kernel, _) => write!(
                f,
                "{what} that no process has open (probably the kernel's own, as for WireGuard, VXLAN or NFS) {does}"
            )?,
            (Who::CreatedBy(uid), _) => write!(f, "{what} created by uid {uid} {does}")?,
            (Who::Unknown, SocketState::Connected) => {
                write!(
                    f,
                    "an orphaned connection (its process has closed it) {does}"
                )?;
            }
            (Who::Unknown, _) => write!(f, "{what} {does}")?,
        }
        match self.addr {
            SocketAddr::V4(v4) => write!(f, " {}", v4.ip())?,
            SocketAddr::V6(v6) => match v6.scope_id() {
                0 => write!(f, " [{}]", v6.ip())?,
                index => write!(f, " [{}%{index}]", v6.ip())?,
            },
        }
        match &self.device {
            Some(device) if !is_scoped(self.addr) => write!(f, " on {} only", shown(device)),
            _ => Ok(()),
        }
    }
}
