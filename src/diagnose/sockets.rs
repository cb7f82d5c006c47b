//! Which sockets have a port: the kernel's tables, and each [`Holder`] of a port.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::evidence::field;
use crate::listen::{has_zone, shown};
use crate::target::{Claim, Overlap, Protocol, socket_addr};

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
/// use bindaddr::{Cause, HolderState};
///
/// let held = bindaddr::bind("127.0.0.1:0")?;
/// let addr = held.as_slice()[0].local_addr();
/// let err = bindaddr::bind(addr).unwrap_err();
/// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
/// assert_eq!(holders[0].addr(), addr);
/// assert_eq!(holders[0].state(), HolderState::Listening);
/// assert!(holders[0].is_this_process());
/// # }
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    addr: SocketAddr,
    state: HolderState,
    overlap: Overlap,
    is_certain: bool,
    uid: Option<u32>,
    process: Option<Process>,
}

/// What a [`Holder`] does with its port.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use bindaddr::{Cause, HolderState};
///
/// let held = bindaddr::bind_udp("127.0.0.1:0")?;
/// let err = bindaddr::bind_udp(held.as_slice()[0].local_addr()).unwrap_err();
/// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
/// assert_eq!(holders[0].state(), HolderState::Bound);
/// # }
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HolderState {
    /// It takes connections.
    Listening,
    /// It is bound: a UDP socket, or a TCP socket that neither listens nor connects.
    Bound,
    /// It is one end of a connection.
    Connected,
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) is_this: bool,
    pub(crate) pid: u32,
    /// Its effective user.
    pub(crate) uid: Option<u32>,
    pub(crate) command: Option<String>,
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

    /// Returns what it does with the port.
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
    /// assert_eq!(holders[0].state(), bindaddr::HolderState::Listening);
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> HolderState {
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
        self.state != HolderState::Connected || self.who() != Who::Unknown
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
            state: HolderState::Listening,
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
            HolderState::Listening => "a listener",
            HolderState::Bound => "a bound socket",
            HolderState::Connected => "a connection",
        };
        match (self.who(), self.state) {
            (Who::Process(process), HolderState::Listening) => process.fmt(f)?,
            (Who::Process(process), _) => write!(f, "{what} of {process}")?,
            (Who::CreatedBy(uid), _) => write!(f, "{what} that uid {uid} created")?,
            (Who::Unknown, HolderState::Connected) => {
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

/// A line of the kernel's tables of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    /// Not in the tables of `/proc`.
    pub(crate) only_v6: Option<bool>,
    /// The index of the interface it is bound to, 0 for none; not in the tables of `/proc`.
    pub(crate) device: Option<u32>,
    pub(crate) uid: Option<u32>,
    /// 0 where no process has it open any more.
    pub(crate) inode: u64,
}

/// The state of a socket, as far as it matters to others on its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Listen,
    /// A UDP socket, which is in the way whatever it does.
    Udp,
    Bound,
    TimeWait,
    Connection,
}

impl State {
    /// The bit of listening sockets in a request.
    pub(crate) const LISTEN: u32 = 1 << 10;

    /// Tells whether nobody else can have the port beside it.
    fn is_for_new_clients(self) -> bool {
        matches!(self, Self::Listen | Self::Udp)
    }

    /// Reads the number of `net/tcp_states.h`.
    pub(super) fn of(number: u8) -> Self {
        match number {
            6 => Self::TimeWait,
            // Closed, and bound without doing anything.
            7 | 13 => Self::Bound,
            10 => Self::Listen,
            _ => Self::Connection,
        }
    }
}

/// Tells whether a socket is anybody's: a connection in `TIME_WAIT` is not, nor one that was closed before the
/// other side closed it, which has no inode any more and is told as user 0's.
pub(super) fn has_owner(state: State, inode: u64) -> bool {
    state != State::TimeWait && inode != 0
}

impl Row {
    /// Reads a line of `/proc/net/tcp`, `tcp6`, `udp` or `udp6` (proc(5)).
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        // sl, local address, remote address, state, queues, timers, retransmissions, uid, timeout, inode
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (ip, port) = fields.next()?.split_once(':')?;
        let state = State::of(u8::from_str_radix(fields.nth(1)?, 16).ok()?);
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        // More follows, lest the number is cut short.
        fields.next()?;
        Some(Self {
            state,
            ip: hex_ip(ip)?,
            port: u16::from_str_radix(port, 16).ok()?,
            only_v6: None,
            device: None,
            uid: has_owner(state, inode).then_some(uid),
            inode,
        })
    }

    /// The same row, of a table of `protocol`.
    pub(super) fn of(self, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => self,
            // Its states are those of TCP by number only.
            Protocol::Udp => Self {
                state: State::Udp,
                ..self
            },
        }
    }

    /// Its address, canonical; the device it is bound to is its zone.
    fn addr(&self) -> SocketAddr {
        let scope_id = match self.ip {
            IpAddr::V6(ip) if has_zone(ip) => self.device.unwrap_or(0),
            _ => 0,
        };
        socket_addr(self.ip.to_canonical(), scope_id, self.port)
    }

    /// Returns why this socket is in the way of `claim`, or may be.
    ///
    /// A wildcard counts as dual-stack where that is not known, and a socket as bound to no interface.
    fn overlap(&self, claim: Claim) -> Option<Overlap> {
        claim.overlap(Claim::new(
            self.ip,
            self.only_v6.unwrap_or(false),
            self.device.unwrap_or(0),
        ))
    }

    /// Returns `true` if what makes it overlap is known of it.
    fn is_certain(&self, claim: Claim, overlap: Overlap) -> bool {
        (overlap != Overlap::CoversAsDualStack || self.only_v6.is_some())
            && (!claim.is_on_device() || self.device.is_some())
    }
}

/// Reads an address of four or sixteen bytes in words of the host's byte order.
fn hex_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (n, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(8 * n)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    }
}

/// Reads the tables of `/proc`, for where netlink is not to be had.
///
/// The kernel walks all its tables for it, which takes milliseconds however few
/// sockets there are.
pub(crate) fn rows_of_proc(protocol: Protocol) -> Option<Vec<Row>> {
    rows_in(Path::new("/proc/thread-self/net"), protocol)
}

pub(super) fn rows_in(directory: &Path, protocol: Protocol) -> Option<Vec<Row>> {
    let [ipv4, ipv6] = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
    };
    let mut rows = rows_of(&directory.join(ipv4), protocol).ok()?;
    match rows_of(&directory.join(ipv6), protocol) {
        Ok(more) => rows.extend(more),
        // There is none where the kernel has no IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => return None,
    }
    Some(rows)
}

fn rows_of(table: &Path, protocol: Protocol) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for line in BufReader::new(File::open(table)?).lines().skip(1) {
        rows.extend(Row::from_line(&line?).map(|row| row.of(protocol)));
    }
    Ok(rows)
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
type OnPort = BTreeMap<IpAddr, Vec<Row>>;

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
    pub(crate) fn add(&mut self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            let on_port = self.rows.entry(row.port).or_default();
            on_port.entry(row.ip.to_canonical()).or_default().push(row);
        }
    }

    /// Returns what has `port` against `claim`, which the kernel has refused.
    pub(crate) fn held(&self, claim: Claim, port: u16) -> Held {
        let (mut holders, mut may_hold) = (Holders::default(), Holders::default());
        for (row, overlap) in self.in_the_way(claim, port) {
            if row.state.is_for_new_clients() {
                let found = if row.is_certain(claim, overlap) {
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
                let is_other = !row.state.is_for_new_clients() && row.state != State::TimeWait;
                if is_other && row.is_certain(claim, overlap) {
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
            if row.state.is_for_new_clients() && row.is_certain(claim, overlap) {
                holders.add(self.holder(row, claim, overlap));
            }
        }
        holders
    }

    /// Returns `true` if a socket is in the way of a claim on `port`, or may be.
    pub(crate) fn may_hold(&self, claim: Claim, port: u16) -> bool {
        let mut rows = self.in_the_way(claim, port);
        rows.any(|(row, _)| row.state.is_for_new_clients())
    }

    fn holder(&self, row: &Row, claim: Claim, overlap: Overlap) -> impl FnOnce() -> Holder {
        move || Holder {
            addr: row.addr(),
            state: match row.state {
                State::Listen => HolderState::Listening,
                State::Udp | State::Bound => HolderState::Bound,
                State::TimeWait | State::Connection => HolderState::Connected,
            },
            overlap,
            is_certain: row.is_certain(claim, overlap),
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
    ) -> impl Iterator<Item = (&Row, Overlap)> {
        let wildcards = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let on_port = self.rows.get(&port).into_iter().flat_map(move |on_port| {
            let is_wildcard = claim.ip().is_unspecified();
            let all = is_wildcard.then(|| on_port.values()).into_iter().flatten();
            let keys = (!is_wildcard).then_some([claim.ip(), wildcards[0], wildcards[1]]);
            let some = keys.into_iter().flatten().filter_map(|ip| on_port.get(&ip));
            all.chain(some).flatten()
        });
        on_port.filter_map(move |row| Some((row, row.overlap(claim)?)))
    }

    /// Returns the inodes of the sockets that are in the way of `claim` on `port`.
    pub(crate) fn inodes(&self, claim: Claim, port: u16) -> impl Iterator<Item = u64> {
        self.in_the_way(claim, port)
            .map(|(row, _)| row.inode)
            .filter(|inode| *inode != 0)
    }
}

/// How many descriptors of this process are looked through before those of any other.
const FEW_DESCRIPTORS: u64 = 1000;

/// Finds the processes that have the sockets with these inodes open, as far as this process may
/// look, and whether it could look at every process there is.
///
/// To look at a descriptor takes microseconds, so the processes with the fewest come first; but
/// this one before them all, so that a socket which it shares is called its own, unless it has very
/// many.
pub(crate) fn processes_with(inodes: &HashSet<u64>) -> (HashMap<u64, Process>, bool) {
    let mut found = HashMap::new();
    if inodes.is_empty() {
        return (found, false);
    }
    // What this process is called in this mount of `/proc`.
    let Ok(this) = fs::read_link("/proc/self").map(|name| name.to_string_lossy().into_owned())
    else {
        return (found, false);
    };
    // With `hidepid=` (proc(5)) the others are not even listed, and the first is one of them.
    let mut is_all = fs::read_dir("/proc/1/fd").is_ok();
    let mut names = vec![this.clone()];
    // In a mount of another pid namespace the numbers are others.
    if this == std::process::id().to_string() {
        let entries = fs::read_dir("/proc").into_iter().flatten();
        let all = entries.map_while(|entry| entry.ok()?.file_name().into_string().ok());
        names.extend(all.filter(|name| *name != this && name.parse::<u32>().is_ok()));
    } else {
        is_all = false;
    }
    let counted = names.into_iter().map(|name| (descriptors_of(&name), name));
    for name in in_order(counted.collect(), &this) {
        let is_this = name == this;
        let sockets = match sockets_of(&name) {
            Ok(sockets) => sockets,
            // It has ended since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => {
                is_all = false;
                continue;
            }
        };
        for inode in sockets.filter(|inode| inodes.contains(inode)) {
            found.entry(inode).or_insert_with(|| Process {
                is_this,
                pid: name
                    .parse()
                    .ok()
                    .filter(|_| !is_this)
                    .unwrap_or_else(std::process::id),
                uid: user_of(&name),
                command: command_of(&name),
            });
            if found.len() == inodes.len() {
                return (found, is_all);
            }
        }
    }
    (found, is_all)
}

/// Puts processes, each with how many descriptors it has open, in the order in which to look through
/// them.
pub(super) fn in_order(
    mut processes: Vec<(u64, String)>,
    this: &str,
) -> impl Iterator<Item = String> {
    // Where the kernel counts, zombies have none.
    let counts = processes.iter().any(|(count, _)| *count > 0);
    processes.retain(|(count, _)| *count > 0 || !counts);
    processes.sort_by_key(|(count, name)| match *count {
        0..=FEW_DESCRIPTORS if *name == this => 0,
        count => count,
    });
    processes.into_iter().map(|(_, name)| name)
}

/// Returns how many descriptors a process has open, which Linux tells since 6.2, and 0 before.
pub(super) fn descriptors_of(process: &str) -> u64 {
    fs::metadata(format!("/proc/{process}/fd")).map_or(0, |fd| fd.len())
}

/// Returns the inodes of the sockets that a process has open.
fn sockets_of(process: &str) -> io::Result<impl Iterator<Item = u64>> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?;
    let descriptors = descriptors.map_while(Result::ok);
    Ok(descriptors.filter_map(|one| socket_inode(fs::read_link(one.path()).ok()?.to_str()?)))
}

/// Returns the effective user of a process: the second of the four behind `Uid:` (proc(5)).
fn user_of(process: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let users = field(&status, "Uid")?;
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Returns the name of a process.
fn command_of(process: &str) -> Option<String> {
    let comm = fs::read(format!("/proc/{process}/comm")).ok()?;
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    Some(String::from_utf8_lossy(comm).into_owned())
}

/// Reads `socket:[4711]`, what a link in `/proc/PID/fd` to a socket says (proc(5)).
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}
