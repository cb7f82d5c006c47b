//! The listening sockets and the interfaces of a host, as the command shows them (feature `cli`).

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::addr::is_link_scoped;
use crate::interfaces::Interfaces;
use crate::map::{Map, Set};
use crate::reach::{Exposure, Exposures, OpenSocket, Reach};
use crate::sys::{self, Namespace, Owners, Process, Protocol, SocketFilter, SocketRow};
use crate::target::socket_addr;

/// A socket of this host that clients can send to: a TCP socket that listens, or a UDP socket that
/// is not connected.
///
/// # Platform notes
///
/// Read on Linux and Android.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use bindaddr::{Exposure, Interfaces, host};
///
/// let own = bindaddr::bind("127.0.0.1:0")?;
/// let interfaces = Interfaces::system()?;
/// let sockets = host::listening_sockets()?;
/// let found = sockets.iter().find(|socket| socket.addr() == own[0].local_addr());
/// let found = found.expect("it listens");
/// assert_eq!(found.exposure(&interfaces), Exposure::ThisHost);
/// assert_eq!(found.pid(), Some(std::process::id()));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ListeningSocket {
    row: SocketRow,
    process: Option<Process>,
    pids: Vec<u32>,
    unit: Option<String>,
    device: Option<String>,
    is_of_kernel: bool,
}

/// Reads the listening sockets of the calling thread's network namespace, TCP and UDP, with the
/// processes that this one may look into.
///
/// # Errors
///
/// The kernel does not report its sockets, or not all of them.
pub fn listening_sockets() -> io::Result<Vec<ListeningSocket>> {
    let mut rows = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        rows.extend(sys::sockets(protocol, SocketFilter::Listening, 0)?);
    }
    let owners = Owners::of(&rows.iter().collect::<Vec<_>>());
    rows.retain(|row| !owners.closed.contains(&row.inode));
    let inodes: Set<u64> = rows.iter().map(|row| row.inode).collect();
    let (holders, _) = sys::holders_of(&inodes);
    let units = sys::units();
    let mut names: Map<u32, String> = Map::new();
    let mut name_of = |index: u32| {
        let name = || sys::link(index).ok().flatten().map(|link| link.name);
        let name = || name().unwrap_or_else(|| index.to_string());
        names.get_or_insert_with(index, name).clone()
    };
    let sockets = rows.into_iter().map(|row| {
        let pids = holders.get(&row.inode).cloned().unwrap_or_default();
        let opener = owners.processes.get(&row.inode).cloned();
        // systemd has the sockets of its units open; the server is another process.
        let server = || pids.iter().rev().find_map(|pid| sys::process(*pid));
        let is_of_systemd = opener
            .as_ref()
            .is_some_and(|opener| opener.command.as_deref() == Some("systemd"));
        let process = if is_of_systemd { server() } else { opener };
        let of_process = process
            .as_ref()
            .and_then(|process| sys::unit_of(process.pid));
        let unit = of_process.or_else(|| units.get(&row.cgroup?).cloned());
        ListeningSocket {
            unit,
            device: row.device.filter(|index| *index != 0).map(&mut name_of),
            is_of_kernel: sys::is_of_kernel(row.inode, &owners.processes, owners.searched)
                && pids.is_empty(),
            process,
            pids,
            row,
        }
    });
    Ok(sockets.collect())
}

impl ListeningSocket {
    /// Returns its address and port, with the scope id of a link-local address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        let scope_id = match (self.row.ip, self.row.device) {
            (IpAddr::V6(ip), Some(index)) if is_link_scoped(ip) => index,
            _ => 0,
        };
        socket_addr(self.row.ip, scope_id, self.row.port)
    }

    /// Returns `true` for a UDP socket.
    #[must_use]
    pub fn is_udp(&self) -> bool {
        self.row.protocol == Protocol::Udp
    }

    /// Returns `true` if an IPv6 wildcard leaves out IPv4 (`IPV6_V6ONLY`).
    #[must_use]
    pub fn is_only_v6(&self) -> bool {
        self.row.only_v6 == Some(true)
    }

    /// Returns the interface that it is bound to, by its index if the name could not be read.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Returns the user that created it.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.row.uid
    }

    /// Returns the process that has it open; of a server that has forked, the one that its others
    /// descend from. `None` if this process may not look into that one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Returns the name of that process, at most 15 bytes of it (proc(5), `comm`).
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        self.process.as_ref()?.command.as_deref()
    }

    /// Returns the effective user of that process.
    #[must_use]
    pub fn process_uid(&self) -> Option<u32> {
        self.process.as_ref()?.uid
    }

    /// Returns all processes that have it open and that this one may look into, as workers of a
    /// server do.
    #[must_use]
    pub fn pids(&self) -> &[u32] {
        &self.pids
    }

    /// Returns `true` if all processes were searched, and none has it open, so the socket is probably
    /// the kernel's own.
    #[must_use]
    pub fn is_of_kernel(&self) -> bool {
        self.is_of_kernel
    }

    /// Returns the unit of systemd that the process belongs to, or that the socket was created in.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// Returns who can connect to it, the host being that of a snapshot.
    #[must_use]
    pub fn reach(&self, host: &Interfaces) -> Reach {
        self.open_socket().reach(host)
    }

    /// Returns from how far away clients may connect.
    #[must_use]
    pub fn exposure(&self, host: &Interfaces) -> Exposure {
        Exposures::on(host).of(&self.open_socket())
    }

    fn open_socket(&self) -> OpenSocket {
        OpenSocket {
            addr: self.addr(),
            protocol: self.row.protocol,
            // The more exposed of the two if it is unknown.
            only_v6: self.is_only_v6(),
            freebind: false,
            device: self.device.clone(),
            namespace: Namespace::This,
            is_open: true,
        }
    }
}

/// An interface of this host, with an address or without.
///
/// # Platform notes
///
/// Read on Linux and Android.
#[derive(Clone, Debug)]
pub struct Link {
    link: sys::Link,
    master: Option<String>,
}

/// Reads the interfaces of the calling thread's network namespace, by their index.
///
/// # Errors
///
/// The kernel does not report them.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// let links = bindaddr::host::links()?;
/// let lo = links.iter().find(|link| link.name() == "lo").expect("each host has one");
/// assert_eq!((lo.index(), lo.kind(), lo.master()), (1, "loopback", None));
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn links() -> io::Result<Vec<Link>> {
    let links = sys::links()?;
    let master = |link: &sys::Link| links.get(&link.master).map(|master| master.name.clone());
    let mut all: Vec<Link> = links
        .values()
        .map(|link| Link {
            master: master(link),
            link: link.clone(),
        })
        .collect();
    all.sort_by_key(Link::index);
    Ok(all)
}

impl Link {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.link.name
    }

    /// Returns the index.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.link.index
    }

    /// Returns `true` if it is switched on.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.link.up
    }

    /// Returns `true` if it is up and has a carrier.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.link.running
    }

    /// Returns its kind as ip-link(8) names it, such as `bridge` or `veth`; `loopback`, or an empty
    /// text for a network card.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self.link.kind {
            sys::LinkKind::Loopback => "loopback",
            _ => &self.link.kind_name,
        }
    }

    /// Returns the bridge, bond, team or VRF that it is a port of.
    #[must_use]
    pub fn master(&self) -> Option<&str> {
        self.master.as_deref()
    }
}
