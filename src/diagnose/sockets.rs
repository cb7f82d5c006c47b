//! Which sockets have a port: the kernel's tables, and each [`Holder`] of a port.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::listen::{has_zone, shown};
use crate::sys::{Process, SocketRow, SocketState};
use crate::target::{Claim, Overlap, socket_addr};

/// A socket that has a port, in the way of one that was wanted.
///
/// What the system does not tell this process is `None`: without privilege, it
/// tells everybody's sockets, and only the own user's processes that hold them.
///
/// # Platform notes
///
/// Read on Linux and Android.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use bindaddr::{Cause, SocketState};
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
    addr: SocketAddr,
    state: SocketState,
    overlap: Overlap,
    is_certain: bool,
    uid: Option<u32>,
    process: Option<Process>,
}

impl Holder {
    /// Returns its address and port; never an IPv4-mapped address.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Cause;
    ///
    /// let held = bindaddr::bind("127.0.0.1:0")?;
    /// let err = bindaddr::bind(held.as_slice()[0].local_addr()).unwrap_err();
    /// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
    /// assert_eq!(holders[0].addr(), held.as_slice()[0].local_addr());
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the state of the socket.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Cause;
    ///
    /// let held = bindaddr::bind("127.0.0.1:0")?;
    /// let err = bindaddr::bind(held.as_slice()[0].local_addr()).unwrap_err();
    /// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
    /// assert_eq!(holders[0].state(), bindaddr::SocketState::Listening);
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> SocketState {
        self.state
    }

    /// Returns why it is in the way.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Cause;
    ///
    /// let held = bindaddr::bind("127.0.0.1:0")?;
    /// let err = bindaddr::bind(held.as_slice()[0].local_addr()).unwrap_err();
    /// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
    /// assert_eq!(holders[0].overlap(), bindaddr::Overlap::SameAddress);
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn overlap(&self) -> Overlap {
        self.overlap
    }

    /// Returns `true` if it surely is in the way.
    ///
    /// The tables of `/proc`, which are read where netlink is denied, do not have whether `[::]` is dual-stack, nor the
    /// interface that a socket is bound to. A socket that is in the way or not by one of these is reported only where
    /// no other explains the error.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Cause;
    ///
    /// let held = bindaddr::bind("127.0.0.1:0")?;
    /// let err = bindaddr::bind(held.as_slice()[0].local_addr()).unwrap_err();
    /// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
    /// assert!(holders[0].is_certain());
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.is_certain
    }

    /// Returns the user that created the socket, as this process's user namespace numbers users. A
    /// daemon that has dropped its privileges since runs as [another one](Self::process_uid).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Cause;
    ///
    /// let held = bindaddr::bind("127.0.0.1:0")?;
    /// let err = bindaddr::bind(held.as_slice()[0].local_addr()).unwrap_err();
    /// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
    /// assert!(holders[0].uid().is_some());
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// Returns the process that has it open; the first one, if several have.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Cause;
    ///
    /// let held = bindaddr::bind("127.0.0.1:0")?;
    /// let err = bindaddr::bind(held.as_slice()[0].local_addr()).unwrap_err();
    /// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
    /// assert_eq!(holders[0].pid(), Some(std::process::id()));
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Returns the effective user of that process (proc(5), `status`).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Cause;
    ///
    /// let held = bindaddr::bind("127.0.0.1:0")?;
    /// let err = bindaddr::bind(held.as_slice()[0].local_addr()).unwrap_err();
    /// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
    /// assert_eq!(holders[0].process_uid(), holders[0].uid());
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn process_uid(&self) -> Option<u32> {
        self.process.as_ref()?.uid
    }

    /// Returns the name of that process, at most 15 bytes of it (proc(5), `comm`).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Cause;
    ///
    /// let held = bindaddr::bind("127.0.0.1:0")?;
    /// let err = bindaddr::bind(held.as_slice()[0].local_addr()).unwrap_err();
    /// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
    /// println!("{:?} has it", holders[0].command());
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        self.process.as_ref()?.command.as_deref()
    }

    /// Tells whether this very process has it open.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Cause;
    ///
    /// let held = bindaddr::bind("127.0.0.1:0")?;
    /// let err = bindaddr::bind(held.as_slice()[0].local_addr()).unwrap_err();
    /// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
    /// assert!(holders[0].is_this_process());
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn is_this_process(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.is_this)
    }
}

impl Holder {
    /// Names the process, or else the user that created the socket, which may be another than that of the process.
    /// Returns `false` for a connection that no process has open, of which the kernel reports neither user nor inode.
    pub(super) fn may_have_a_process(&self) -> bool {
        self.state != SocketState::Connected || self.who() != Who::Unknown
    }

    pub(super) fn who(&self) -> Who<'_> {
        match (&self.process, self.uid) {
            (Some(process), _) => Who::Process(process),
            (None, Some(uid)) => Who::CreatedBy(uid),
            (None, None) => Who::Unknown,
        }
    }
}

#[cfg(test)]
impl Holder {
    /// A listener on a port of 127.0.0.1.
    pub(super) fn synthetic(uid: u32, port: u16, process: Option<Process>) -> Self {
        Self {
            addr: ([127, 0, 0, 1], port).into(),
            state: SocketState::Listening,
            overlap: Overlap::SameAddress,
            is_certain: true,
            uid: Some(uid),
            process,
        }
    }
}

/// The process that has a socket, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who<'a> {
    Process(&'a Process),
    CreatedBy(u32),
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
            Some(uid) => write!(f, ", uid {uid})"),
            None => f.write_str(")"),
        }
    }
}

impl fmt::Display for Holder {
    /// Writes who has it, and on which address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.state {
            SocketState::Listening => "a listener",
            SocketState::Bound => "a bound socket",
            SocketState::Connected | SocketState::TimeWait => "a connection",
        };
        match (self.who(), self.state) {
            (Who::Process(process), SocketState::Listening) => process.fmt(f)?,
            (Who::Process(process), _) => write!(f, "{what} of {process}")?,
            (Who::CreatedBy(uid), _) => write!(f, "{what} that uid {uid} created")?,
            (Who::Unknown, SocketState::Connected) => {
                f.write_str("a connection that no process has open")?;
            }
            (Who::Unknown, _) => f.write_str(what)?,
        }
        match self.addr {
            SocketAddr::V4(v4) => write!(f, " on {}", v4.ip()),
            SocketAddr::V6(v6) => match v6.scope_id() {
                0 => write!(f, " on [{}]", v6.ip()),
                index => write!(f, " on [{}%{index}]", v6.ip()),
            },
        }
    }
}

/// Returns the canonical address of a socket. The interface it is bound to is its zone.
fn addr_of(row: &SocketRow) -> SocketAddr {
    let scope_id = match row.ip {
        IpAddr::V6(ip) if has_zone(ip) => row.device.unwrap_or(0),
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
        row.device.unwrap_or(0),
    ))
}

/// Returns `true` if everything is known that makes a socket overlap with `claim`.
fn is_certain(row: &SocketRow, claim: Claim, overlap: Overlap) -> bool {
    (overlap != Overlap::CoversAsDualStack || row.only_v6.is_some())
        && (!claim.is_on_device() || row.device.is_some())
}

/// The sockets of one protocol that have one of the ports in question, as far as they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    rows: HashMap<u16, OnPort>,
    /// Whether sockets that do not listen would be among them.
    pub(crate) are_all: bool,
    /// The processes that have the sockets open, by inode.
    pub(crate) processes: HashMap<u64, Process>,
    /// Whether every process of this host could be looked through for them.
    pub(crate) is_searched: bool,
}

/// The sockets on one port, by their canonical address, so that a specific one is looked up without a scan.
type OnPort = BTreeMap<IpAddr, Vec<SocketRow>>;

/// The sockets that have a wanted port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    By(Holders),
    /// By nothing that is seen but connections that are over.
    ByTimeWait,
    ByNobodyVisible,
    Unknown,
}

/// The first of the sockets that have a port, and how many more there are. With all of them, the causes of many
/// settings on one port would grow as the product of settings and sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holders {
    pub(crate) first: Vec<Holder>,
    pub(crate) more: usize,
}

impl Holders {
    const SHOWN: usize = 8;

    fn add(&mut self, holder: impl FnOnce() -> Holder) {
        if self.first.len() < Self::SHOWN {
            self.first.push(holder());
        } else {
            self.more += 1;
        }
    }
}

impl Sockets {
    pub(crate) fn add(&mut self, rows: impl IntoIterator<Item = SocketRow>) {
        for row in rows {
            let on_port = self.rows.entry(row.port).or_default();
            on_port.entry(row.ip.to_canonical()).or_default().push(row);
        }
    }

    /// Returns what has `port` against `claim`, which the kernel has refused.
    pub(crate) fn held(&self, claim: Claim, port: u16) -> Held {
        let (mut holders, mut may_hold) = (Holders::default(), Holders::default());
        for (row, overlap) in self.in_the_way(claim, port) {
            if row.accepts_clients() {
                let found = if is_certain(row, claim, overlap) {
                    &mut holders
                } else {
                    &mut may_hold
                };
                found.add(self.holder(row, claim, overlap));
            }
        }
        if !holders.first.is_empty() {
            return Held::By(holders);
        }
        // Without all of them, one that is not in the way may be taken for one that is: connections of a socket with
        // SO_REUSEADDR do not conflict.
        if self.are_all {
            for (row, overlap) in self.in_the_way(claim, port) {
                let is_other = !row.accepts_clients() && row.state != SocketState::TimeWait;
                if is_other && is_certain(row, claim, overlap) {
                    holders.add(self.holder(row, claim, overlap));
                }
            }
            if !holders.first.is_empty() {
                return Held::By(holders);
            }
        }
        match self.in_the_way(claim, port).next() {
            _ if !may_hold.first.is_empty() => Held::By(may_hold),
            _ if !self.are_all => Held::Unknown,
            Some(_) => Held::ByTimeWait,
            None => Held::ByNobodyVisible,
        }
    }

    /// Returns what will be in the way of `claim` on `port`, of which the kernel has said nothing:
    /// the sockets that surely are.
    pub(crate) fn foreseen(&self, claim: Claim, port: u16) -> Holders {
        let mut holders = Holders::default();
        for (row, overlap) in self.in_the_way(claim, port) {
            // Others may have set SO_REUSEADDR, as the one that is wanted does.
            if row.accepts_clients() && is_certain(row, claim, overlap) {
                holders.add(self.holder(row, claim, overlap));
            }
        }
        holders
    }

    /// Returns `true` if a socket is in the way of a claim on `port`, or may be.
    pub(crate) fn may_hold(&self, claim: Claim, port: u16) -> bool {
        let mut rows = self.in_the_way(claim, port);
        rows.any(|(row, _)| row.accepts_clients())
    }

    fn holder(&self, row: &SocketRow, claim: Claim, overlap: Overlap) -> impl FnOnce() -> Holder {
        move || Holder {
            addr: addr_of(row),
            state: row.state,
            overlap,
            is_certain: is_certain(row, claim, overlap),
            uid: row.uid,
            process: self.processes.get(&row.inode).cloned(),
        }
    }

    /// Returns the sockets that are in the way of a claim, or may be. For a specific address these are on the same
    /// address or on a wildcard.
    pub(super) fn in_the_way(
        &self,
        claim: Claim,
        port: u16,
    ) -> impl Iterator<Item = (&SocketRow, Overlap)> {
        let wildcards = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let on_port = self.rows.get(&port).into_iter().flat_map(move |on_port| {
            let is_wildcard = claim.ip().is_unspecified();
            let all = is_wildcard.then(|| on_port.values()).into_iter().flatten();
            let keys = (!is_wildcard).then_some([claim.ip(), wildcards[0], wildcards[1]]);
            let some = keys.into_iter().flatten().filter_map(|ip| on_port.get(&ip));
            all.chain(some).flatten()
        });
        on_port.filter_map(move |row| Some((row, overlap_of(row, claim)?)))
    }

    /// Returns the inodes of the sockets that are in the way of `claim` on `port`.
    pub(crate) fn inodes(&self, claim: Claim, port: u16) -> impl Iterator<Item = u64> {
        self.in_the_way(claim, port)
            .map(|(row, _)| row.inode)
            .filter(|inode| *inode != 0)
    }
}
