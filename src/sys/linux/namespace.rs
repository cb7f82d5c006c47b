//! Namespaces: whose network namespace a socket belongs to, and what a capability is worth in it.

use super::procfs::{self, Status, maps};
use super::sysctl::PORT_START;
#[cfg(all(unix, feature = "socket-activation"))]
use crate::sys::{Protocol, SocketFilter, System, sockets};

/// Whether a socket belongs to the network namespace of the calling thread. The greatest decides
/// for several sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(all(unix, feature = "socket-activation")), allow(dead_code))] // a socket opened here belongs to it
pub(crate) enum Namespace {
    This,
    /// Neither netlink nor procfs lists the sockets of this one.
    Unknown,
    Other,
}

impl Namespace {
    /// Finds the namespace of a TCP socket that listens or of a UDP socket by its inode, because
    /// the kernel lists the sockets of one namespace only (`sock_diag(7)`, `/proc/net/tcp`).
    #[cfg(all(unix, feature = "socket-activation"))]
    pub(crate) fn of(protocol: Protocol, port: u16, inode: u64) -> Self {
        // Other systems do not have any.
        if System::HERE != System::Linux {
            return Self::This;
        }
        match sockets(protocol, SocketFilter::AcceptClients, port) {
            Ok(rows) if rows.iter().any(|row| row.inode == inode) => Self::This,
            Ok(_) => Self::Other,
            Err(_) => Self::Unknown,
        }
    }
}

/// The effect of the thread's `CAP_NET_BIND_SERVICE` in its network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    Effective,
    Missing,
    /// The thread has it in a user namespace that most likely does not own the network namespace.
    /// It is certain only if the kernel has refused a port.
    InAnotherUserNamespace,
    /// The thread has it in a user namespace that may own the network namespace or not.
    Uncertain,
}

impl Status {
    /// Returns what `CAP_NET_BIND_SERVICE` is worth to the calling thread, whose status this is.
    pub(crate) fn capability(&self) -> Option<Capability> {
        let has_it = self.has_bind_capability()?;
        // It applies in the network namespaces that the thread's user namespace, or one below, owns
        // (user_namespaces(7)). All are below the first.
        let is_first = procfs::is_in_first_user_namespace();
        if !is_first {
            let map = procfs::uid_map().unwrap_or_default();
            let unknown = procfs::overflow_uid();
            if owner(PORT_START).is_some_and(|uid| is_of_another(uid, &map, unknown)) {
                // If the capability is missing, gaining it would not help either.
                return Some(Capability::InAnotherUserNamespace);
            }
        }
        Some(match (has_it, is_first) {
            (false, _) => Capability::Missing,
            (true, true) => Capability::Effective,
            (true, false) => Capability::Uncertain,
        })
    }
}

/// Returns `true` if a network namespace, whose sysctls belong to `uid`, is owned by another user
/// namespace than that of `uid_map`. The sysctls belong to root of the owner: if this user
/// namespace has a root and does not map `uid`, which is then reported as `unknown`, the owner is
/// another.
pub(super) fn is_of_another(uid: u32, uid_map: &str, unknown: Option<u32>) -> bool {
    maps(uid_map, 0) && (Some(uid) == unknown || !maps(uid_map, uid))
}

#[cfg(unix)]
fn owner(path: &str) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;

    Some(std::fs::metadata(path).ok()?.uid())
}

#[cfg(not(unix))]
fn owner(_: &str) -> Option<u32> {
    None
}
