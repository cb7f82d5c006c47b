//! Finds the processes that have sockets open, and the sockets that were closed meanwhile.

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
    /// Searches for the owners of the sockets in `rows`, which have inodes.
    ///
    /// The tables of sockets and the descriptors of processes are read one after the other. A
    /// socket that no process has may have been closed in between, or passed on to a process that
    /// had been looked at already. It has no process if it is still open after a second search.
    pub(crate) fn of(rows: &[&SocketRow]) -> Self {
        let mut owners = Self::default();
        let mut ownerless = rows.to_vec();
        for _ in 0..2 {
            let inodes = ownerless.iter().map(|row| row.inode).collect();
            let (processes, searched) = processes_with(&inodes);
            owners.processes.extend(processes);
            owners.searched = searched;
            ownerless.retain(|row| !owners.processes.contains_key(&row.inode));
            let Ok(open) = open_of(&ownerless) else {
                owners.searched = Searched::Some;
                return owners;
            };
            ownerless.retain(|row| {
                let is_open = open.contains(&row.inode);
                if !is_open {
                    owners.closed.insert(row.inode);
                }
                is_open
            });
            // A process that could not be looked at may have the others.
            if ownerless.is_empty() || searched == Searched::Some {
                break;
            }
        }
        owners
    }
}

/// Returns `true` if a socket with this inode is the kernel's own: it is open, and all processes of
/// the host were searched for it. One that no process has open any more has the inode 0.
pub(crate) fn is_of_kernel(inode: u64, processes: &Map<u64, Process>, searched: Searched) -> bool {
    inode != 0 && searched == Searched::Host && !processes.contains_key(&inode)
}

/// Returns the inodes of the sockets that are open now: those of `rows`, and maybe others.
fn open_of(rows: &[&SocketRow]) -> io::Result<Set<u64>> {
    let mut open = Set::new();
    // A socket may have begun to listen since, or may no longer listen.
    for (protocol, filter) in [
        (Protocol::Udp, SocketFilter::AcceptClients),
        (Protocol::Tcp, SocketFilter::AcceptClients),
        (Protocol::Tcp, SocketFilter::Others),
    ] {
        let missing = rows
            .iter()
            .filter(|row| row.protocol == protocol && !open.contains(&row.inode));
        let ports: Set<u16> = missing.map(|row| row.port).collect();
        let port = match ports.len() {
            0 => continue,
            1 => ports.into_iter().next().unwrap_or_default(),
            _ => 0,
        };
        let rows = sockets(protocol, filter, port)?;
        open.extend(rows.iter().map(|row| row.inode));
    }
    Ok(open)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;
    use crate::sys::SocketState;

    #[test]
    fn closed_socket_has_no_owner() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let client = TcpStream::connect(tcp.local_addr().expect("it is bound"));
        let client = client.expect("it is listened to");
        let ports = [tcp.local_addr(), udp.local_addr(), client.local_addr()];
        let [tcp_port, udp_port, client_port] = ports.map(|addr| addr.expect("it is bound").port());
        let row = |protocol, filter, port| {
            let mut rows = sockets(protocol, filter, port).expect("they can be read");
            rows.retain(|row| row.port == port && row.inode != 0);
            rows.pop().expect("it is open")
        };
        let rows = [
            row(Protocol::Tcp, SocketFilter::AcceptClients, tcp_port),
            row(Protocol::Udp, SocketFilter::AcceptClients, udp_port),
            row(Protocol::Tcp, SocketFilter::Others, client_port),
        ];
        let all = rows.each_ref();
        let owners = Owners::of(&all);
        assert!(owners.closed.is_empty());
        for row in all {
            assert!(
                owners
                    .processes
                    .get(&row.inode)
                    .is_some_and(|one| one.is_this)
            );
        }
        // It listened only after its row was read.
        let bound = SocketRow {
            state: SocketState::Bound,
            ..rows[0].clone()
        };
        assert!(open_of(&[&bound]).is_ok_and(|open| open.contains(&bound.inode)));
        drop((tcp, udp, client));
        let owners = Owners::of(&all);
        for row in all {
            assert!(owners.closed.contains(&row.inode));
            assert!(!owners.processes.contains_key(&row.inode));
        }
    }
}
