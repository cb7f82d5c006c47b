//! Finds who has sockets open, and which of them nobody has any more.

use std::io;

use super::linux::processes_with;
use super::{Process, Protocol, Searched, SocketFilter, SocketRow, sockets};
use crate::map::{Map, Set};

/// The processes that have some sockets open.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    /// By the inode of the socket.
    pub(crate) processes: Map<u64, Process>,
    /// How far the processes were searched.
    pub(crate) searched: Searched,
    /// The sockets that were closed during the search.
    pub(crate) closed: Set<u64>,
}

impl Owners {
    /// Searches for the owners of the sockets in `rows`.
    ///
    /// The tables of sockets and the descriptors of processes are read one after the other. Only a
    /// socket that is still open after the search, and that a second one does not find either, has
    /// no process: until then it may have been closed, or passed on to a process that was already
    /// looked at.
    pub(crate) fn of(rows: &[&SocketRow]) -> Self {
        let inodes = rows.iter().map(|row| row.inode).filter(|inode| *inode != 0);
        let (processes, searched) = processes_with(&inodes.collect());
        let mut owners = Self {
            processes,
            searched,
            closed: Set::new(),
        };
        let mut ownerless = rows.to_vec();
        ownerless.retain(|row| row.inode != 0 && !owners.processes.contains_key(&row.inode));
        let Ok(open) = open_of(&ownerless) else {
            owners.searched = Searched::Some;
            return owners;
        };
        let (ownerless, closed): (Set<u64>, Set<u64>) = ownerless
            .iter()
            .map(|row| row.inode)
            .partition(|inode| open.contains(inode));
        owners.closed = closed;
        if owners.searched == Searched::Host && !ownerless.is_empty() {
            let (processes, searched) = processes_with(&ownerless);
            owners.processes.extend(processes);
            owners.searched = searched;
        }
        owners
    }
}

/// Returns the inodes of the sockets that are open now, on the ports of `rows` and maybe on others.
fn open_of(rows: &[&SocketRow]) -> io::Result<Set<u64>> {
    let mut open = Set::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for (filter, accept_clients) in [
            (SocketFilter::AcceptClients, true),
            (SocketFilter::Others, false),
        ] {
            let rows = rows
                .iter()
                .filter(|row| row.protocol == protocol && row.accepts_clients() == accept_clients);
            let ports: Set<u16> = rows.map(|row| row.port).collect();
            let port = match ports.len() {
                0 => continue,
                1 => ports.into_iter().next().unwrap_or_default(),
                _ => 0,
            };
            let rows = sockets(protocol, filter, port)?;
            open.extend(rows.iter().map(|row| row.inode));
        }
    }
    Ok(open)
}
