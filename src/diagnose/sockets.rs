//! Finds the sockets that have a port, by the kernel's tables.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::addr::is_link_scoped;
use crate::diagnosis::Holder;
use crate::map::{Map, Set};
use crate::order::sort_by;
use crate::sys::{self, Owners, Process, Protocol, Searched, SocketFilter, SocketRow, SocketState};
use crate::target::{Claim, DeviceIndex, Overlap, socket_addr};

/// Returns the canonical address of a socket. The interface it is bound to is its zone.
fn addr_of(row: &SocketRow) -> SocketAddr {
    let scope_id = match row.ip {
        IpAddr::V6(ip) if is_link_scoped(ip) => row.device.unwrap_or(0),
        _ => 0,
    };
    socket_addr(row.ip.to_canonical(), scope_id, row.port)
}

/// Returns why a socket is in the way of `claim`, or may be.
///
/// A wildcard counts as dual-stack where that is not known, and a socket as bound to no interface.
fn overlap_of(row: &SocketRow, claim: Claim) -> Option<Overlap> {
    claim.overlap(Claim::new(
        row.ip,
        row.only_v6.unwrap_or(false),
        DeviceIndex::of(row.device.unwrap_or(0)),
    ))
}

/// The sockets of one protocol that have one of the ports in question, as far as they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    rows: Map<u16, OnPort>,
    /// Whether sockets that do not listen would be among them.
    pub(crate) are_all: bool,
    /// The processes that have the sockets open, by inode.
    pub(crate) processes: Map<u64, Process>,
    /// The names of the interfaces that sockets are bound to, by index.
    pub(crate) devices: Map<u32, String>,
    /// For each interface, whether its sockets can have a port beside one on no interface; `None`
    /// where it is unknown.
    pub(crate) apart: Map<u32, Option<bool>>,
    /// How far the processes were looked through for them.
    pub(crate) searched: Searched,
}

/// The sockets on one port, by their canonical address, so that a specific one is looked up without
/// a scan.
type OnPort = Vec<SocketRow>;

/// A socket that is in the way of another, and by what.
type RowInTheWay<'a> = (&'a SocketRow, Overlap);

/// Returns the sockets on an address.
fn run_of(on_port: &OnPort, ip: IpAddr) -> &[SocketRow] {
    let start = on_port.partition_point(|row| row.ip.to_canonical() < ip);
    let from = &on_port[start..];
    &from[..from.partition_point(|row| row.ip.to_canonical() == ip)]
}

/// The sockets that have a wanted port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    By(Holders),
    /// By nothing that is seen but connections that are over.
    ByTimeWait,
    ByNobodyVisible,
    Unknown,
}

/// The first of the sockets that have a port, and how many more there are. With all of them, the
/// causes of many settings on one port would grow as the product of settings and sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holders {
    pub(crate) first: Vec<Holder>,
    pub(crate) more: usize,
}

impl Sockets {
    /// Reads the TCP sockets that listen on a port, and who has those in the way of some claims.
    pub(crate) fn listening(port: u16, claims: &[Claim], aside: &Set<u64>) -> io::Result<Self> {
        let mut new = Self::default();
        let rows = sys::sockets(Protocol::Tcp, SocketFilter::AcceptClients, port)?;
        new.add(rows.into_iter().filter(|row| !aside.contains(&row.inode)));
        new.find_owners(claims.iter().map(|claim| (*claim, port)));
        Ok(new)
    }

    /// Returns `true` if sockets with some inodes are in the way of `claim` on `port`, and no
    /// others; `None` if that cannot be read.
    ///
    /// Connections that no process has open any more do not count: they make bind(2) fail only if
    /// their server did not set `SO_REUSEADDR`.
    pub(crate) fn are_only(
        inodes: &Set<u64>,
        protocol: Protocol,
        claim: Claim,
        port: u16,
    ) -> Option<bool> {
        let mut all = Self::default();
        for filter in [SocketFilter::AcceptClients, SocketFilter::Others] {
            all.add(sys::sockets(protocol, filter, port).ok()?);
        }
        let of_processes: Vec<u64> = all.inodes(claim, port).collect();
        let are_known = of_processes.iter().all(|inode| inodes.contains(inode));
        Some(are_known && !of_processes.is_empty())
    }

    pub(crate) fn add(&mut self, rows: impl IntoIterator<Item = SocketRow>) {
        for row in rows {
            self.rows.get_or_default(row.port).push(row);
        }
        for on_port in self.rows.values_mut() {
            sort_by(on_port, |a, b| {
                a.ip.to_canonical().cmp(&b.ip.to_canonical())
            });
        }
    }

    /// Finds the processes that have the sockets in the way of claims on ports, and removes the
    /// sockets that are closed by now.
    pub(crate) fn find_owners(&mut self, wanted: impl Iterator<Item = (Claim, u16)>) {
        // No socket has the inode 0.
        let mut seen: Set<u64> = [0].into();
        let rows = wanted.flat_map(|(claim, port)| self.in_the_way(claim, port));
        let rows: Vec<&SocketRow> = rows
            .map(|(row, _)| row)
            .filter(|row| seen.insert(row.inode))
            .collect();
        let Owners {
            processes,
            searched,
            closed,
        } = Owners::of(&rows);
        for on_port in self.rows.values_mut() {
            on_port.retain_mut(|row| {
                let is_closed = closed.contains(&row.inode);
                if is_closed && row.state == SocketState::Connected {
                    // The connection may keep the port for a while.
                    (row.inode, row.uid) = (0, None);
                }
                row.inode == 0 || !is_closed
            });
        }
        self.processes = processes;
        self.searched = searched;
    }

    /// Returns what has `port` against `claim`, which the kernel has refused.
    pub(crate) fn held(&self, claim: Claim, port: u16) -> Held {
        let in_the_way = self.in_the_way(claim, port).into_iter();
        let (accepting, others): (Vec<_>, Vec<_>) =
            in_the_way.partition(|(row, _)| row.accepts_clients());
        let is_certain = |(row, overlap): &RowInTheWay<'_>| self.is_certain(row, claim, *overlap);
        let (certain, possible): (Vec<_>, Vec<_>) = accepting.into_iter().partition(is_certain);
        if !certain.is_empty() {
            return Held::By(self.holders(claim, certain));
        }
        let has_others = !others.is_empty();
        // Without all of them, one that is not in the way may be taken for one that is: connections
        // of a socket with SO_REUSEADDR do not conflict.
        if self.are_all {
            let mut holding = others;
            holding.retain(|found| found.0.state != SocketState::TimeWait && is_certain(found));
            if !holding.is_empty() {
                return Held::By(self.holders(claim, holding));
            }
        }
        match () {
            () if !possible.is_empty() => Held::By(self.holders(claim, possible)),
            () if !self.are_all => Held::Unknown,
            () if has_others => Held::ByTimeWait,
            () => Held::ByNobodyVisible,
        }
    }

    /// Returns the first of some sockets.
    ///
    /// More is decided on these than they are: whether only connections have the port, which end,
    /// and whether a process is known. So what keeps the port comes before connections, and what
    /// has a known process before the rest.
    fn holders(&self, claim: Claim, mut rows: Vec<RowInTheWay<'_>>) -> Holders {
        const SHOWN: usize = 8;
        let rank = |row: &SocketRow| {
            let is_connection = row.state == SocketState::Connected;
            (is_connection, !self.processes.contains_key(&row.inode))
        };
        sort_by(&mut rows, |(a, _), (b, _)| rank(a).cmp(&rank(b)));
        let more = rows.len().saturating_sub(SHOWN);
        rows.truncate(SHOWN);
        let first = rows.into_iter();
        let first = first.map(|(row, overlap)| self.holder(row, claim, overlap));
        Holders {
            first: first.collect(),
            more,
        }
    }

    /// Returns what will be in the way of `claim` on `port`, of which the kernel has said nothing:
    /// the sockets that surely are.
    pub(crate) fn foreseen(&self, claim: Claim, port: u16) -> Holders {
        self.holders(claim, self.foreseen_rows(claim, port))
    }

    /// Returns every one of them, not the first only.
    pub(super) fn all_foreseen(&self, claim: Claim, port: u16) -> impl Iterator<Item = Holder> {
        let rows = self.foreseen_rows(claim, port).into_iter();
        rows.map(move |(row, overlap)| self.holder(row, claim, overlap))
    }

    pub(super) fn foreseen_rows(&self, claim: Claim, port: u16) -> Vec<RowInTheWay<'_>> {
        let mut rows = self.in_the_way(claim, port);
        // Others may have set SO_REUSEADDR, as the one that is wanted does.
        rows.retain(|(row, overlap)| {
            row.accepts_clients() && self.is_certain(row, claim, *overlap)
        });
        rows
    }

    /// Returns `true` if a socket is in the way of a claim on `port`, or may be.
    pub(crate) fn may_hold(&self, claim: Claim, port: u16) -> bool {
        let mut rows = self.in_the_way(claim, port).into_iter();
        rows.any(|(row, _)| row.accepts_clients())
    }

    fn holder(&self, row: &SocketRow, claim: Claim, overlap: Overlap) -> Holder {
        Holder {
            addr: addr_of(row),
            state: row.state,
            overlap,
            is_certain: self.is_certain(row, claim, overlap),
            uid: row.uid,
            process: self.processes.get(&row.inode).cloned(),
            device: row.device.filter(|index| *index != 0).map(|index| {
                let name = self.devices.get(&index).cloned();
                name.unwrap_or_else(|| index.to_string())
            }),
            is_of_kernel: sys::is_of_kernel(row.inode, &self.processes, self.searched),
        }
    }

    /// Returns the sockets that are in the way of a claim, or may be. For a specific address these
    /// are on the same address or on a wildcard.
    pub(super) fn in_the_way(&self, claim: Claim, port: u16) -> Vec<RowInTheWay<'_>> {
        let Some(on_port) = self.rows.get(&port) else {
            return Vec::new();
        };
        let ips = [
            claim.ip(),
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv6Addr::UNSPECIFIED.into(),
        ];
        let runs = if claim.ip().is_unspecified() {
            [&on_port[..], &[], &[]]
        } else {
            ips.map(|ip| run_of(on_port, ip))
        };
        let mut found = Vec::new();
        for row in runs.into_iter().flatten() {
            if self.is_apart(row, claim) != Some(true) {
                found.extend(overlap_of(row, claim).map(|overlap| (row, overlap)));
            }
        }
        found
    }

    /// Returns `true` if a socket and one with `claim` are apart, one of them on an interface and
    /// the other on none; `None` if that is unknown.
    fn is_apart(&self, row: &SocketRow, claim: Claim) -> Option<bool> {
        match (claim.device(), row.device) {
            (DeviceIndex::None, Some(index)) | (DeviceIndex::Known(index), Some(0)) => {
                self.apart.get(&index).copied().unwrap_or(Some(false))
            }
            _ => Some(false),
        }
    }

    /// Returns `true` if everything is known that makes a socket overlap with `claim`.
    fn is_certain(&self, row: &SocketRow, claim: Claim, overlap: Overlap) -> bool {
        (overlap != Overlap::CoversAsDualStack || row.only_v6.is_some())
            && (claim.device() == DeviceIndex::None || row.device.is_some())
            && self.is_apart(row, claim).is_some()
    }

    /// Returns the interfaces that sockets in the way of `claim` on `port` are bound to.
    pub(crate) fn devices_of(&self, claim: Claim, port: u16) -> impl Iterator<Item = u32> {
        let rows = self.in_the_way(claim, port).into_iter();
        let devices = rows.filter_map(|(row, _)| row.device);
        devices.filter(|index| *index != 0)
    }

    /// Returns the inodes of the sockets that are in the way of `claim` on `port`.
    pub(crate) fn inodes(&self, claim: Claim, port: u16) -> impl Iterator<Item = u64> {
        let rows = self.in_the_way(claim, port).into_iter();
        rows.map(|(row, _)| row.inode).filter(|inode| *inode != 0)
    }
}
