//! The files of procfs (proc(5)), except for the sysctls.
//!
//! The tables of the network are read from `/proc/thread-self`, which is the calling thread's
//! network namespace; `/proc/self` would be that of the process's first thread.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::process;

use super::sock_diag::has_owner;
use crate::map::{Map, Set};
use crate::order::sort_by;
use crate::sys::{AddrFlags, Process, Protocol, Searched, SocketRow, SocketState};

/// An IPv6 address with the index of its interface, and its flags.
pub(crate) type Ipv6AddrRow = ((Ipv6Addr, u32), AddrFlags);

/// Reads the IPv6 addresses of the network namespace (`if_inet6`).
pub(crate) fn ipv6_addrs() -> io::Result<Vec<Ipv6AddrRow>> {
    let file = File::open("/proc/thread-self/net/if_inet6")?;
    let mut addrs = Vec::new();
    // The names of interfaces in it may be in any encoding.
    for line in BufReader::new(file).split(b'\n') {
        addrs.extend(ipv6_addr(&line?));
    }
    Ok(addrs)
}

/// Reads a line of `if_inet6`: address, index, length of the prefix, scope, flags, name.
pub(super) fn ipv6_addr(line: &[u8]) -> Option<Ipv6AddrRow> {
    let fields = line
        .split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty());
    let mut fields = fields.map(|field| std::str::from_utf8(field).ok());
    let hex = fields.next()??;
    let ip = (hex.len() == 32).then(|| u128::from_str_radix(hex, 16).ok())??;
    let index = u32::from_str_radix(fields.next()??, 16).ok()?;
    let flags = u8::from_str_radix(fields.nth(2)??, 16).ok()?;
    // The name follows, unless the flags are cut short.
    fields.next()?;
    Some(((ip.into(), index), AddrFlags(flags.into())))
}

/// Returns `true` if the kernel has IPv6, by the result of [`ipv6_addrs`]; `None` if the table is
/// hidden or denied.
pub(crate) fn has_ipv6<T>(addrs: &io::Result<T>) -> Option<bool> {
    // Another table of the same directory, in case the directory is hidden.
    let others = || fs::exists("/proc/thread-self/net/fib_trie").unwrap_or(false);
    match addrs {
        Ok(_) => Some(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound && others() => Some(false),
        Err(_) => None,
    }
}

/// Returns `true` if there is an IPv4 route. Without one no IPv4 address is local.
pub(crate) fn has_ipv4_routes() -> io::Result<bool> {
    has_content("/proc/thread-self/net/fib_trie")
}

/// Returns `true` if an interface has an IPv6 address, or a route makes one local.
pub(crate) fn has_local_ipv6() -> io::Result<bool> {
    if has_content("/proc/thread-self/net/if_inet6")? {
        return Ok(true);
    }
    let routes = fs::read_to_string("/proc/thread-self/net/ipv6_route")?;
    Ok(has_local_route(&routes))
}

/// Returns `true` if a line of `ipv6_route` is a route that makes addresses local: its ninth field
/// has `RTF_LOCAL` (`linux/ipv6_route.h`).
fn has_local_route(routes: &str) -> bool {
    const RTF_LOCAL: u32 = 0x8000_0000;
    let flags = |line: &str| u32::from_str_radix(line.split_ascii_whitespace().nth(8)?, 16).ok();
    let mut all = routes.lines().filter_map(flags);
    all.any(|flags| flags & RTF_LOCAL != 0)
}

/// Returns `true` if a file has a byte. The size of a file in procfs is 0.
fn has_content(path: &str) -> io::Result<bool> {
    Ok(File::open(path)?.read(&mut [0])? > 0)
}

/// Reads the tables of sockets (`tcp`, `tcp6`, `udp` and `udp6`), which have those that listen and
/// those that are connected, and of TCP no others.
///
/// The kernel walks all its tables for it, which takes milliseconds however few sockets there are.
pub(super) fn sockets(protocol: Protocol) -> io::Result<Vec<SocketRow>> {
    sockets_in(Path::new("/proc/thread-self/net"), protocol)
}

pub(super) fn sockets_in(directory: &Path, protocol: Protocol) -> io::Result<Vec<SocketRow>> {
    let [ipv4, ipv6] = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
    };
    let mut rows = table(&directory.join(ipv4), protocol)?;
    match table(&directory.join(ipv6), protocol) {
        Ok(more) => rows.extend(more),
        // A kernel without IPv6 does not have it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(rows)
}

fn table(path: &Path, protocol: Protocol) -> io::Result<Vec<SocketRow>> {
    let mut rows = Vec::new();
    for line in BufReader::new(File::open(path)?).lines().skip(1) {
        rows.extend(socket(protocol, &line?));
    }
    Ok(rows)
}

/// Reads a line of a table of sockets.
pub(super) fn socket(protocol: Protocol, line: &str) -> Option<SocketRow> {
    // sl, local address, remote address, state, queues, timers, retransmissions, uid, timeout,
    // inode
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    let state = SocketState::of(protocol, u8::from_str_radix(fields.nth(1)?, 16).ok()?);
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    // More follows, unless the number is cut short.
    fields.next()?;
    Some(SocketRow {
        protocol,
        state,
        ip: hex_ip(ip)?,
        port: u16::from_str_radix(port, 16).ok()?,
        only_v6: None,
        device: None,
        uid: has_owner(state, inode).then_some(uid),
        inode,
        cgroup: None,
    })
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

/// The number of descriptors up to which this process is searched before the others.
const FEW_DESCRIPTORS: u64 = 1000;

/// Searches for the processes that have the sockets with these inodes open. Returns those it found,
/// by inode, and how far it searched.
///
/// A descriptor takes microseconds, so the processes with the fewest come first. This process
/// precedes them, unless it has very many, so that a socket which it shares is reported as its own.
/// A socket that a process shares with its parent is reported as that of the parent, which opened
/// it.
pub(crate) fn processes_with(inodes: &Set<u64>) -> (Map<u64, Process>, Searched) {
    let mut found = Map::new();
    if inodes.is_empty() {
        return (found, Searched::Some);
    }
    // The number of this process in this mount of procfs.
    let Ok(this) = fs::read_link("/proc/self").map(|name| name.to_string_lossy().into_owned())
    else {
        return (found, Searched::Some);
    };
    // With `hidepid=` (proc(5)) other processes are not even listed, and the first is one of them.
    let mut is_all = fs::read_dir("/proc/1/fd").is_ok();
    let mut names = vec![this.clone()];
    // A mount of another pid namespace has other numbers.
    let others = (this == process::id().to_string()).then(all_processes);
    match others {
        Some(Ok(others)) => names.extend(others.into_iter().filter(|name| *name != this)),
        _ => is_all = false,
    }
    let counted = names.into_iter().map(|name| (descriptors_of(&name), name));
    let counted: Vec<(u64, String)> = counted.collect();
    let counts = counted.iter().any(|(count, _)| *count > 0);
    let empty = counted.iter().filter(|(count, _)| *count == 0);
    let empty: Vec<String> = empty.map(|(_, name)| name.clone()).collect();
    for name in in_order(counted, &this) {
        let wanted = inodes.iter().filter(|inode| !found.contains_key(inode));
        let sockets = match sockets_with(&name, wanted.copied().collect()) {
            Ok(sockets) => sockets,
            // It has exited.
            Err(error) if is_gone(&error) => continue,
            Err(_) => {
                is_all = false;
                continue;
            }
        };
        for inode in sockets {
            let inode = match inode {
                Ok(inode) if inodes.contains(&inode) => inode,
                Ok(_) => continue,
                Err(_) => {
                    is_all = false;
                    continue;
                }
            };
            found.get_or_insert_with(inode, || opener_of(inode, &name, &this));
            if found.len() == inodes.len() {
                return (found, searched(is_all));
            }
        }
    }
    // The descriptors of a process whose first thread has ended are those of the others.
    let is_hidden = |name: &String| has_other_threads(name) && (counts || has_no_descriptors(name));
    is_all = is_all && !empty.iter().any(is_hidden);
    (found, searched(is_all))
}

/// Returns `true` if a process lists no descriptor. Linux before 6.2 does not count them.
fn has_no_descriptors(process: &str) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"));
    descriptors.is_ok_and(|mut descriptors| descriptors.next().is_none())
}

/// Returns `true` if a process has several threads: its directory of them has a link for each, and
/// two of its own.
#[cfg(unix)]
fn has_other_threads(process: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let tasks = fs::metadata(format!("/proc/{process}/task"));
    tasks.is_ok_and(|tasks| tasks.nlink() > 3)
}

/// No other system has such directories.
#[cfg(not(unix))]
fn has_other_threads(_: &str) -> bool {
    false
}

fn searched(is_all: bool) -> Searched {
    // PROC_PID_INIT_INO of linux/proc_ns.h: the namespace that has all others below it.
    let namespace = || fs::read_link("/proc/self/ns/pid").ok();
    match is_all {
        false => Searched::Some,
        true if namespace().is_some_and(|name| name.as_os_str() == "pid:[4026531836]") => {
            Searched::Host
        }
        true => Searched::Namespace,
    }
}

/// Returns `true` for the error of a process that has exited: that of its directory, or of reading
/// one.
fn is_gone(error: &io::Error) -> bool {
    // ESRCH on every architecture (asm-generic/errno-base.h).
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3)
}

/// Describes who has opened a socket that the process `name` has: the first of its ancestors that
/// has it, systemd aside.
fn opener_of(inode: u64, name: &str, this: &str) -> Process {
    // Deeper than any server forks.
    const DEEPEST: usize = 16;
    let has_it = |name: &str| {
        let sockets = sockets_with(name, vec![inode]).ok();
        let mut sockets = sockets.into_iter().flatten().flatten();
        sockets.any(|own| own == inode)
    };
    let is_systemd = |name: &str| command_of(name).as_deref() == Some("systemd");
    let mut opener = name.to_owned();
    let mut is_of_unit = is_systemd(name);
    for _ in 0..DEEPEST {
        let Some(parent) = parent_of(&opener).filter(|parent| has_it(parent)) else {
            break;
        };
        if is_systemd(&parent) {
            is_of_unit = true;
        }
        if opener == this || is_of_unit {
            break;
        }
        opener = parent;
    }
    let children = children_of(&opener).into_iter();
    let is_this = opener == this;
    Process {
        is_this,
        pid: opener
            .parse()
            .ok()
            .filter(|_| !is_this)
            .unwrap_or_else(process::id),
        uid: user_of(&opener),
        command: command_of(&opener),
        children: children.filter(|child| has_it(child)).count(),
        is_of_unit,
    }
}

/// Describes a process by its number; `None` if it has exited.
#[cfg(feature = "cli")]
pub(crate) fn process(pid: u32) -> Option<Process> {
    let name = pid.to_string();
    Some(Process {
        is_this: pid == process::id(),
        pid,
        uid: user_of(&name),
        command: Some(command_of(&name)?),
        children: 0,
        is_of_unit: false,
    })
}

/// Returns the number of the parent of a process: the second field behind its name, which may have
/// any character (`proc_pid_stat(5)`).
fn parent_of(process: &str) -> Option<String> {
    let stat = read_lossy(&format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let parent = fields.split_ascii_whitespace().nth(1)?;
    (parent != "0").then(|| parent.to_owned())
}

/// Returns the numbers of the first child processes of a process (`proc_pid_task(5)`); a kernel may
/// not have them.
fn children_of(process: &str) -> Vec<String> {
    const MOST: usize = 128;
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_ascii_whitespace().take(MOST);
    children.map(str::to_owned).collect()
}

/// Puts processes, each with its number of open descriptors, in the order in which to search them.
pub(super) fn in_order(
    mut processes: Vec<(u64, String)>,
    this: &str,
) -> impl Iterator<Item = String> {
    // If the kernel counts descriptors, zombies have none.
    let counts = processes.iter().any(|(count, _)| *count > 0);
    processes.retain(|(count, _)| *count > 0 || !counts);
    let key = |(count, name): &(u64, String)| match *count {
        0..=FEW_DESCRIPTORS if *name == this => 0,
        count => count,
    };
    sort_by(&mut processes, |a, b| key(a).cmp(&key(b)));
    processes.into_iter().map(|(_, name)| name)
}

/// Returns the number of open descriptors of this process; `None` if it could not be read. The file
/// with the limit cannot be read without a free descriptor; the number can.
pub(crate) fn open_files() -> Option<u64> {
    Some(descriptors_of("self")).filter(|open| *open != 0)
}

/// Returns the number of open descriptors of a process, which Linux reports since 6.2, and 0
/// before.
fn descriptors_of(process: &str) -> u64 {
    fs::metadata(format!("/proc/{process}/fd")).map_or(0, |fd| fd.len())
}

/// Returns the numbers of all processes, as procfs writes them.
fn all_processes() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name().into_string();
        names.extend(name.ok().filter(|name| name.parse::<u32>().is_ok()));
    }
    Ok(names)
}

/// Returns the inodes of the sockets that a process has open, with an error for each descriptor
/// that cannot be read: without `CAP_SYS_PTRACE`, root can list the descriptors of another user's
/// process, but not read them.
fn sockets_of(process: &str) -> io::Result<impl Iterator<Item = io::Result<u64>>> {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"))?;
    Ok(
        descriptors.filter_map(|one| match one.and_then(|one| fs::read_link(one.path())) {
            Ok(link) => socket_inode(link.to_str()?).map(Ok),
            // It has been closed.
            Err(error) if is_gone(&error) => None,
            Err(error) => Some(Err(error)),
        }),
    )
}

/// Returns the sockets of a process like [`sockets_of`], and before them, so that they come twice,
/// those of `wanted` that are found without reading all descriptors.
fn sockets_with(
    process: &str,
    wanted: Vec<u64>,
) -> io::Result<impl Iterator<Item = io::Result<u64>>> {
    let sockets = sockets_of(process)?;
    let found = found_in_order(descriptors_of(process), wanted, |number| {
        let link = fs::read_link(format!("/proc/{process}/fd/{number}")).ok()?;
        socket_inode(link.to_str()?)
    });
    Ok(found.into_iter().map(Ok).chain(sockets))
}

/// Searches for sockets as if the inodes of `count` descriptors were sorted, which those of sockets
/// that a process opened one after the other usually are. `inode_of` reads that of a descriptor, if
/// it is of a socket.
pub(super) fn found_in_order(
    count: u64,
    mut wanted: Vec<u64>,
    inode_of: impl Fn(u64) -> Option<u64>,
) -> Vec<u64> {
    // Reading all of fewer takes less than a millisecond.
    const MANY: u64 = 128;
    // How many files between the sockets are passed over.
    const FEW: usize = 8;
    // A search without a result costs a quarter of the scan that follows.
    let left = Cell::new(if count < MANY { 0 } else { count / 4 });
    let socket = |number| {
        left.set(left.get().checked_sub(1)?);
        Some((number, inode_of(number)?))
    };
    let is_found = |inode: &u64| {
        let mut range = 0..count;
        while !range.is_empty() && left.get() > 0 {
            let middle = range.start.midpoint(range.end);
            match (range.start..=middle).rev().take(FEW).find_map(socket) {
                Some((_, found)) if found == *inode => return true,
                Some((number, found)) if found > *inode => range.end = number,
                _ => range.start = middle + 1,
            }
        }
        false
    };
    wanted.retain(is_found);
    wanted
}

/// Reads the inodes of the sockets that a process has open, all of them or none.
pub(crate) fn sockets_of_process(pid: u32) -> io::Result<Vec<u64>> {
    sockets_of(&pid.to_string())?.collect()
}

/// Searches for all processes that have the sockets with these inodes open. Returns their numbers,
/// by inode, and whether every process could be looked into.
pub(crate) fn holders_of(inodes: &Set<u64>) -> (Map<u64, Vec<u32>>, bool) {
    let mut holders: Map<u64, Vec<u32>> = Map::new();
    let Ok(names) = all_processes() else {
        return (holders, false);
    };
    let mut are_all = true;
    for name in names {
        let Ok(pid) = name.parse() else { continue };
        match sockets_of(&name) {
            // The descriptors of a process whose first thread has ended are those of the others.
            Ok(_) if has_no_descriptors(&name) && has_other_threads(&name) => are_all = false,
            Ok(sockets) => {
                for inode in sockets {
                    match inode {
                        Ok(inode) if inodes.contains(&inode) => {
                            let pids = holders.get_or_default(inode);
                            // It may have several descriptors of it.
                            if pids.last() != Some(&pid) {
                                pids.push(pid);
                            }
                        }
                        Ok(_) => {}
                        Err(_) => are_all = false,
                    }
                }
            }
            Err(error) => are_all &= is_gone(&error),
        }
    }
    (holders, are_all)
}

/// Returns the effective user of a process: the second of the four that follow `Uid:`.
fn user_of(process: &str) -> Option<u32> {
    let status = read_lossy(&format!("/proc/{process}/status")).ok()?;
    let users = field(&status, "Uid")?;
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Reads a file that has the name of a process, which may be in any encoding.
fn read_lossy(path: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

/// Returns the name of a process.
fn command_of(process: &str) -> Option<String> {
    let comm = fs::read(format!("/proc/{process}/comm")).ok()?;
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    Some(String::from_utf8_lossy(comm).into_owned())
}

/// Reads `socket:[4711]`, the target of a link in `/proc/PID/fd` to a socket.
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// The file `status` of a thread.
#[derive(Clone, Debug)]
pub(crate) struct Status(pub(super) String);

impl Status {
    /// Reads it for the calling thread.
    pub(crate) fn of_thread() -> io::Result<Self> {
        read_lossy("/proc/thread-self/status").map(Self)
    }

    /// Returns `true` if a seccomp filter is active (seccomp(2)).
    pub(crate) fn has_seccomp_filter(&self) -> Option<bool> {
        // SECCOMP_MODE_FILTER
        Some(field(&self.0, "Seccomp")? == "2")
    }

    /// Returns `true` if the thread can gain no privilege by execve(2) (`PR_SET_NO_NEW_PRIVS`,
    /// prctl(2)).
    pub(crate) fn no_new_privs(&self) -> Option<bool> {
        Some(field(&self.0, "NoNewPrivs")? != "0")
    }

    /// Returns `true` if `CAP_NET_BIND_SERVICE` is among the effective capabilities.
    pub(super) fn has_bind_capability(&self) -> Option<bool> {
        let effective = u64::from_str_radix(field(&self.0, "CapEff")?, 16).ok()?;
        // CAP_NET_BIND_SERVICE of linux/capability.h
        Some(effective & 1 << 10 != 0)
    }
}

/// Returns a field of the file `status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim())
}

/// Reads which users the user namespace of the calling thread maps (`user_namespaces(7)`).
pub(super) fn uid_map() -> io::Result<String> {
    fs::read_to_string("/proc/thread-self/uid_map")
}

/// Returns `true` if a user namespace maps `uid`, by its `uid_map`.
pub(super) fn maps(uid_map: &str, uid: u32) -> bool {
    uid_map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => uid.checked_sub(first).is_some_and(|n| n < count),
            _ => false,
        }
    })
}

/// Returns the number that stands in for users which a user namespace does not map.
pub(super) fn overflow_uid() -> Option<u32> {
    let uid = fs::read_to_string("/proc/sys/kernel/overflowuid").ok()?;
    uid.trim().parse().ok()
}

/// Returns `true` if the calling thread is in the first user namespace, which has the number
/// `PROC_USER_INIT_INO` of `linux/proc_ns.h`.
pub(super) fn is_in_first_user_namespace() -> bool {
    let link = fs::read_link("/proc/thread-self/ns/user");
    link.is_ok_and(|link| link.as_os_str() == "user:[4026531837]")
}
