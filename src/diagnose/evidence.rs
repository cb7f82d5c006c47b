//! Collects [`Evidence`] about the host after a failed bind.
//!
//! Everything is read without privilege, and of the calling thread's network
//! namespace: `/proc/self` would be that of the process's first thread. What
//! cannot be read is left out, and no cause rests on it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::thread;

use super::hint;
use super::sock_diag;
use super::sockets::{Row, Sockets, State, descriptors_of, processes_with, rows_of_proc};
use super::{Attempt, Errno, Step, System};
use crate::interfaces::{Interface, Interfaces};
use crate::netlink::{self, Link, Netlink};
use crate::target::{BindTarget, Claim, Protocol, is_scoped};

/// What is asked of the kernel through sockets, which are `bind`'s to make.
pub(crate) trait Kernel {
    /// Asks whether the address of `addr` can be bound, without taking its port from anyone.
    fn try_address(&self, addr: SocketAddr) -> Result<(), (Step, io::Error)>;

    /// Returns the interface that a cgroup binds the sockets of this process to.
    fn device_of_new_sockets(&self) -> io::Result<Option<String>>;
}

/// What the host says after a failure; what could not be read, or was not
/// called for, is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) system: System,
    pub(crate) interfaces: Option<Interfaces>,
    /// The state of each IPv6 address, by interface.
    pub(crate) ipv6_addrs: Option<HashMap<(Ipv6Addr, u32), DadState>>,
    /// Whether the kernel has IPv6.
    pub(crate) has_ipv6: Option<bool>,
    /// What switches IPv6 off, where something does.
    pub(crate) ipv6_switch: Ipv6Switch,
    /// The interfaces that have the addresses in question, and those they are part of, by index.
    pub(crate) links: HashMap<u32, Link>,
    /// The addresses in question that a route makes local.
    pub(crate) local_by_route: HashSet<IpAddr>,
    /// What the kernel says of the addresses of which it did not come to speak.
    pub(crate) verdicts: HashMap<SocketAddr, Errno>,
    /// The addresses in question that can be bound by now.
    pub(crate) available_now: HashSet<SocketAddr>,
    /// The interfaces that sockets are to be bound to, by the names that were set.
    pub(crate) devices: HashMap<String, Link>,
    pub(crate) cgroup_device: CgroupDevice,
    /// The addresses to write instead that the kernel binds, with port 0.
    pub(crate) bindable: HashSet<SocketAddr>,
    pub(crate) tcp: Sockets,
    pub(crate) udp: Sockets,
    pub(crate) first_unprivileged_port: Option<u16>,
    pub(crate) capability: Option<Capability>,
    pub(crate) has_seccomp_filter: Option<bool>,
    /// Whether the process can gain no privilege by execve(2) (`PR_SET_NO_NEW_PRIVS`, prctl(2)).
    pub(crate) no_new_privs: Option<bool>,
    pub(crate) ephemeral_ports: Option<RangeInclusive<u16>>,
    /// How many descriptors the process has.
    pub(crate) open_files: Option<u64>,
}

/// The interface that a cgroup binds the sockets of this process to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CgroupDevice {
    /// It was not read, or could not be.
    #[default]
    Unknown,
    None,
    Bound(String),
}

/// How often addresses that contradict what was read are looked at again before they are taken for how the host is.
pub(super) const LOOKS: usize = 64;
/// How many addresses are probed and listed in all of these looks, short of finishing the last one: some
/// microseconds each.
pub(super) const BUDGET: usize = 4096;

/// How far duplicate address detection came with an address (RFC 4862, section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DadState {
    Usable,
    Tentative,
    Failed,
}

/// What the process's `CAP_NET_BIND_SERVICE` is worth here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    Effective,
    Missing,
    /// It has it in a user namespace that most likely does not own the network
    /// namespace; sure only where the kernel has refused a port.
    InAnotherUserNamespace,
    /// It has it in a user namespace that may own the network namespace or not.
    Uncertain,
}

/// What switches IPv6 off: the `*` of the `net.ipv6.conf.*.disable_ipv6` that is set (ip-sysctl).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ipv6Switch {
    /// Of the loopback interface.
    pub(crate) of_lo: Option<&'static str>,
    /// Of every interface there is.
    pub(crate) of_all: Option<&'static str>,
}

impl Evidence {
    /// Reads what the attempts call for, each thing once, and nothing else; the interfaces
    /// only if `host` is not known.
    pub(super) fn read_once(attempts: &[Attempt<'_>], host: Option<&Interfaces>) -> Self {
        let mut evidence = Self {
            interfaces: host.cloned(),
            ..Self::default()
        };
        if attempts.is_empty() {
            return evidence;
        }
        evidence.read_devices(attempts);
        evidence.read_limits(attempts);
        evidence.ask_for_verdicts(attempts);
        evidence.read_addresses(attempts);
        evidence.probe_candidates(attempts);
        evidence.tcp = evidence.sockets_in_the_way(Protocol::Tcp, attempts);
        evidence.udp = evidence.sockets_in_the_way(Protocol::Udp, attempts);
        evidence
    }

    /// The name of a device that may have been set by an alternative one.
    pub(crate) fn name_of_device<'a>(&'a self, name: &'a str) -> &'a str {
        self.devices.get(name).map_or(name, |link| &link.name)
    }

    fn read_devices(&mut self, attempts: &[Attempt<'_>]) {
        let is_without = |attempt: &Attempt<'_>| attempt.device.is_none();
        if let Some(attempt) = attempts.iter().find(|attempt| is_without(attempt)) {
            self.cgroup_device = match attempt.kernel.device_of_new_sockets() {
                Ok(Some(name)) => CgroupDevice::Bound(name),
                Ok(None) => CgroupDevice::None,
                Err(_) => CgroupDevice::Unknown,
            };
        }
        let set = attempts.iter().filter_map(|attempt| attempt.device);
        let mut names: Vec<String> = set.map(str::to_owned).collect();
        if let CgroupDevice::Bound(name) = &self.cgroup_device {
            names.push(name.clone());
        }
        for name in names {
            if !self.devices.contains_key(&name) {
                let device = netlink::device(&name);
                self.devices.extend(device.map(|device| (name, device)));
            }
        }
    }

    /// Returns the interface that the socket of an attempt would be bound to: that of the option, or that of the
    /// cgroup, which a zone replaces.
    pub(crate) fn device_of<'a>(&'a self, attempt: &Attempt<'a>) -> Option<&'a str> {
        match (attempt.device, &self.cgroup_device) {
            (Some(device), _) => Some(device),
            (None, CgroupDevice::Bound(device)) if !is_scoped(attempt.addr) => Some(device),
            (None, _) => None,
        }
    }

    /// Returns `true` if the socket of an attempt is known to be bound to no interface.
    pub(crate) fn is_without_device(&self, attempt: &Attempt<'_>) -> bool {
        self.device_of(attempt).is_none() && self.cgroup_device != CgroupDevice::Unknown
    }

    /// Returns `true` if the port of an attempt needs no privilege that this process may lack.
    pub(super) fn is_port_unprivileged(&self, attempt: &Attempt<'_>) -> bool {
        let (first, _) = attempt.ports;
        let limit = self.first_unprivileged_port.unwrap_or(DEFAULT_PORT_START);
        let is_privileged = self.system == System::Linux && (1..limit).contains(&first);
        let has_privilege = match self.capability {
            Some(Capability::Effective) => true,
            // The owner of the sysctl is a user of this user namespace, so that it most likely owns the network
            // namespace as well.
            Some(Capability::Uncertain) => self.first_unprivileged_port.is_some(),
            _ => false,
        };
        !is_privileged || has_privilege
    }

    fn read_limits(&mut self, attempts: &[Attempt<'_>]) {
        let ports = || attempts.iter().map(|attempt| attempt.addr.port());
        let any = |wanted: fn(Errno) -> bool| {
            let mut errnos = attempts.iter().filter_map(Attempt::errno);
            errnos.any(|(_, errno)| wanted(errno))
        };
        if ports().any(|port| port != 0) {
            self.first_unprivileged_port = first_unprivileged_port();
        }
        // If it cannot be read, the default of Linux decides.
        let limit = self.first_unprivileged_port.unwrap_or(DEFAULT_PORT_START);
        let about_privilege = ports().any(|port| (1..limit).contains(&port));
        let about_filters = any(|errno| {
            matches!(
                errno,
                Errno::AccessDenied | Errno::NotPermitted | Errno::FamilyUnsupported
            )
        });
        if about_privilege || about_filters {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
            self.capability = about_privilege.then(|| capability(&status)).flatten();
            self.has_seccomp_filter = has_seccomp_filter(&status);
            self.no_new_privs = field(&status, "NoNewPrivs").map(|set| set != "0");
        }
        if any(|errno| errno == Errno::InUse) && ports().any(|port| port == 0) {
            self.ephemeral_ports = ephemeral_ports();
        }
        if any(|errno| errno == Errno::ProcessDescriptors) {
            self.open_files = open_files();
        }
    }

    /// Asks about the addresses of those that the kernel refused before it looked at them.
    fn ask_for_verdicts(&mut self, attempts: &[Attempt<'_>]) {
        for attempt in attempts {
            let refused = attempt.errno();
            if let Some((Step::Bind, Errno::AccessDenied | Errno::NotPermitted)) = refused {
                if let Err((Step::Bind, error)) = attempt.kernel.try_address(attempt.addr) {
                    self.verdicts.insert(attempt.addr, Errno::of(&error));
                }
            }
        }
    }

    fn read_addresses(&mut self, attempts: &[Attempt<'_>]) {
        let mut unavailable = Vec::new();
        let mut about_interfaces = false;
        let mut about_ipv6 = false;
        for attempt in attempts {
            let is_of_another_zone = matches!(attempt.errno(), Some((Step::Check, _)));
            about_interfaces |= is_of_another_zone;
            let verdict = self.verdicts.get(&attempt.addr);
            let verdict = verdict.map(|errno| (Step::Bind, *errno));
            for (step, errno) in [attempt.errno(), verdict].into_iter().flatten() {
                match errno {
                    Errno::NotAvailable => {
                        unavailable.push(attempt);
                        about_interfaces = true;
                        about_ipv6 |= attempt.addr.is_ipv6();
                    }
                    Errno::Invalid | Errno::NoDevice => about_interfaces = true,
                    errno if step == Step::Socket && errno.is_about_family() => {
                        about_ipv6 |= attempt.addr.is_ipv6();
                        // A hint about another address compares their exposure.
                        about_interfaces |= attempt.addr.is_ipv6();
                    }
                    _ => {}
                }
            }
        }
        if about_interfaces && self.interfaces.is_none() {
            self.interfaces = Interfaces::system().ok();
        }
        if about_ipv6 {
            self.ipv6_addrs = ipv6_addrs();
            self.has_ipv6 = has_ipv6(self.ipv6_addrs.is_some());
            let settings = Path::new("/proc/sys/net/ipv6/conf");
            self.ipv6_switch = ipv6_switch(settings, self.has_no_ipv6_address());
        }
        let Some(host) = self.interfaces.clone() else {
            return;
        };
        for attempt in unavailable {
            let addr = attempt.addr;
            // What was read may be of a moment later than the refusal.
            if attempt.kernel.try_address(addr).is_ok() {
                self.available_now.insert(addr);
                continue;
            }
            match BindTarget::classify_socket(addr, &host) {
                BindTarget::Local(local) => {
                    for index in local.interfaces().filter_map(Interface::index) {
                        self.read_link(index);
                        let master = self.links.get(&index).map_or(0, |link| link.master);
                        self.read_link(master);
                    }
                }
                // It may have no address, and be missing among the interfaces.
                BindTarget::Loopback(_) => self.read_link(LOOPBACK_INDEX),
                BindTarget::Foreign(foreign)
                    if foreign.scope_id().is_none()
                        && netlink::local_table(foreign.ip())
                            .is_ok_and(|table| table.is_some()) =>
                {
                    self.local_by_route.insert(foreign.ip());
                }
                _ => {}
            }
        }
    }

    /// Asks the kernel about what would be advised to write instead.
    fn probe_candidates(&mut self, attempts: &[Attempt<'_>]) {
        let Some(host) = self.interfaces.clone() else {
            return;
        };
        let mut probed = HashSet::new();
        for attempt in attempts {
            for mut candidate in hint::candidates(attempt, self.verdict_on(attempt.addr), &host) {
                candidate.set_port(0);
                if probed.insert(candidate) && attempt.kernel.try_address(candidate).is_ok() {
                    self.bindable.insert(candidate);
                }
            }
        }
    }

    /// Probes again the addresses of which one thing was read that another contradicts: each may be of another
    /// moment, where addresses come and go.
    ///
    /// All of them share one budget, and nothing sleeps, because an async caller has no thread to spare.
    pub(super) fn look_again(&mut self, mut attempts: Vec<&Attempt<'_>>) {
        let was_listed: HashSet<IpAddr> = match &self.interfaces {
            Some(host) => attempts
                .iter()
                .map(|attempt| attempt.addr.ip().to_canonical())
                .filter(|ip| host.has(*ip))
                .collect(),
            None => HashSet::new(),
        };
        let mut budget = BUDGET;
        for _ in 0..LOOKS {
            attempts.truncate(budget);
            if attempts.is_empty() {
                return;
            }
            // The process that is changing the addresses may be about to finish.
            thread::yield_now();
            let is_bound: Vec<bool> = attempts
                .iter()
                .map(|attempt| attempt.kernel.try_address(attempt.addr).is_ok())
                .collect();
            let Ok(host) = Interfaces::system() else {
                return;
            };
            let listed: usize = host.iter().map(|interface| interface.addrs().len()).sum();
            budget = budget.saturating_sub(attempts.len() + listed);
            let mut is_newer = false;
            let mut probed = is_bound.into_iter();
            attempts.retain(|attempt| {
                let ip = attempt.addr.ip().to_canonical();
                let (was_listed, is_listed) = (was_listed.contains(&ip), host.has(ip));
                if probed.next() == Some(true) || (is_listed && !was_listed) {
                    self.available_now.insert(attempt.addr);
                    return false;
                }
                if was_listed && !is_listed {
                    is_newer = true;
                    return false;
                }
                // A route that cannot be read may still be there.
                let is_unrouted = || netlink::local_table(ip).is_ok_and(|table| table.is_none());
                if !is_listed && is_unrouted() {
                    self.local_by_route.remove(&ip);
                    return false;
                }
                true
            });
            if is_newer {
                self.interfaces = Some(host);
            }
        }
    }

    fn read_link(&mut self, index: u32) {
        if index == 0 || self.links.contains_key(&index) {
            return;
        }
        let request = netlink::link_request(index, None);
        if let Ok(Some(link)) = netlink::request_one(&request, netlink::link) {
            self.links.insert(index, link);
        }
    }

    /// The sockets on the ports of the attempts.
    fn sockets_in_the_way(&self, protocol: Protocol, attempts: &[Attempt<'_>]) -> Sockets {
        // Whom the kernel does not let share a port, or who does not want to.
        let attempts = attempts.iter().filter(|attempt| {
            attempt.protocol == protocol
                && attempt.addr.port() != 0
                && (attempt.is_in_use() || !attempt.shares_port)
        });
        let mut sockets = Sockets::default();
        if attempts.clone().next().is_none() || self.system != System::Linux {
            return sockets;
        }
        let mut ranges: Vec<(u16, u16)> = attempts.clone().map(|attempt| attempt.ports).collect();
        ranges.sort_unstable();
        ranges.dedup();
        let is_in_question = |row: &Row| {
            ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&row.port))
        };
        // The kernel can leave out all but one port.
        let only_port = match ranges[..] {
            [(first, last)] if first == last => first,
            _ => 0,
        };
        // To look at those that do not listen the kernel walks all its tables.
        let (states, are_all) = match protocol {
            Protocol::Tcp => (State::LISTEN, false),
            Protocol::Udp => (u32::MAX, true),
        };
        let rows = match ask_for_rows(protocol, states, only_port) {
            Some(rows) => {
                sockets.are_all = are_all;
                rows
            }
            // Of TCP it does not have those that are bound and do nothing.
            None => match rows_of_proc(protocol) {
                Some(rows) => {
                    sockets.are_all = protocol == Protocol::Udp;
                    rows
                }
                None => return sockets,
            },
        };
        sockets.add(rows.into_iter().filter(is_in_question));

        let unexplained: HashSet<u16> = attempts
            .clone()
            .filter(|attempt| attempt.is_in_use() && !attempt.leaves_no_port_of_a_range())
            .map(|attempt| (attempt.addr.port(), self.claim(attempt)))
            .filter(|(port, claim)| sockets.in_the_way(*claim, *port).next().is_none())
            .map(|(port, _)| port)
            .collect();
        if !sockets.are_all && !unexplained.is_empty() {
            let others = |port: &u16| ask_for_rows(protocol, !State::LISTEN, *port);
            let others: Option<Vec<Vec<Row>>> = unexplained.iter().map(others).collect();
            sockets.are_all = others.is_some();
            sockets.add(others.unwrap_or_default().into_iter().flatten());
        }

        let inodes = attempts.flat_map(|attempt| {
            let (first, last) = attempt.ports;
            let (claim, sockets) = (self.claim(attempt), &sockets);
            (first..=last).flat_map(move |port| sockets.inodes(claim, port))
        });
        (sockets.processes, sockets.is_searched) = processes_with(&inodes.collect());
        sockets
    }

    pub(crate) fn verdict_on(&self, addr: SocketAddr) -> Option<Errno> {
        self.verdicts.get(&addr).copied()
    }

    /// What a socket claims of its port.
    pub(crate) fn claim(&self, attempt: &Attempt<'_>) -> Claim {
        let device = self.device_of(attempt).map(|name| self.devices.get(name));
        let device = match device {
            None => 0,
            // Of an unknown one only its likes without a device are in the way.
            Some(device) => device.map_or(u32::MAX, |device| device.index),
        };
        Claim::of_socket(attempt.addr, attempt.only_v6).on_device(device)
    }

    pub(crate) fn dad_state(&self, ip: IpAddr, index: u32) -> Option<DadState> {
        let IpAddr::V6(ip) = ip else { return None };
        self.ipv6_addrs.as_ref()?.get(&(ip, index)).copied()
    }

    pub(crate) fn has_no_ipv6_address(&self) -> bool {
        self.ipv6_addrs.as_ref().is_some_and(HashMap::is_empty)
    }

    pub(crate) fn sockets(&self, protocol: Protocol) -> &Sockets {
        match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
        }
    }

    /// The names of the interfaces that have `ip`.
    pub(crate) fn names_with(&self, ip: IpAddr) -> Option<Vec<String>> {
        let host = self.interfaces.as_ref()?;
        Some(
            host.with_ip(ip)
                .map(|interface| interface.name().to_owned())
                .collect(),
        )
    }
}

/// Asks for sockets; `None` unless all of them were told.
fn ask_for_rows(protocol: Protocol, states: u32, port: u16) -> Option<Vec<Row>> {
    let number = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let rows = Netlink::query(netlink::SOCK_DIAG, |netlink| {
        let mut rows = Vec::new();
        for ipv6 in [false, true] {
            let request = sock_diag::request(ipv6, number, states, port);
            let found = netlink.all(&request, sock_diag::socket)?;
            rows.extend(found.into_iter().map(|row| row.of(protocol)));
        }
        Ok(rows)
    });
    rows.ok()
}

/// Whether a socket belongs to the network namespace of the calling thread. Of several sockets the greatest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(all(unix, feature = "socket-activation")), allow(dead_code))] // each that is opened here is of this one
pub(crate) enum Namespace {
    This,
    /// Neither netlink nor procfs has the sockets of this one.
    Unknown,
    Other,
}

impl Namespace {
    /// Finds the namespace of a socket that listens, or of UDP, by its inode: the kernel lists the sockets of one
    /// namespace (`sock_diag(7)`, `/proc/net/tcp`).
    #[cfg(all(unix, feature = "socket-activation"))]
    pub(crate) fn of(protocol: Protocol, port: u16, inode: u64) -> Self {
        // Other systems have none.
        if System::HERE != System::Linux {
            return Self::This;
        }
        let states = match protocol {
            Protocol::Tcp => State::LISTEN,
            Protocol::Udp => u32::MAX,
        };
        match ask_for_rows(protocol, states, port).or_else(|| rows_of_proc(protocol)) {
            Some(rows) if rows.iter().any(|row| row.inode == inode) => Self::This,
            Some(_) => Self::Other,
            None => Self::Unknown,
        }
    }
}

/// `net.ipv4.ip_unprivileged_port_start`, which holds for IPv6, too (ip-sysctl).
fn first_unprivileged_port() -> Option<u16> {
    match System::HERE {
        System::Linux => {
            let text = fs::read_to_string(PORT_START).ok()?;
            text.trim().parse().ok()
        }
        // IPPORT_RESERVED of netinet/in.h.
        System::Darwin | System::Unix => Some(1024),
        System::Windows => None,
    }
}

/// The loopback interface is the first one of every network namespace
/// (`LOOPBACK_IFINDEX` of net/flow.h).
pub(super) const LOOPBACK_INDEX: u32 = 1;

const PORT_START: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
/// `PROT_SOCK` of net/sock.h.
pub(super) const DEFAULT_PORT_START: u16 = 1024;

/// `net.ipv4.ip_local_port_range`, which holds for IPv6, too (ip(7)).
fn ephemeral_ports() -> Option<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Some(first..=last),
        _ => None,
    }
}

/// Finds a field of `/proc/PID/status` (proc(5)).
pub(super) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim())
}

/// Reads what `CAP_NET_BIND_SERVICE` is worth out of `/proc/PID/status`.
pub(super) fn capability(status: &str) -> Option<Capability> {
    let effective = u64::from_str_radix(field(status, "CapEff")?, 16).ok()?;
    // CAP_NET_BIND_SERVICE of linux/capability.h
    let has_it = effective & 1 << 10 != 0;
    // It counts in the network namespaces that the process's user namespace, or
    // one below, owns (user_namespaces(7)). All are below the first, which has
    // this number (PROC_USER_INIT_INO of linux/proc_ns.h).
    let user_namespace = fs::read_link("/proc/thread-self/ns/user").ok();
    let is_first = user_namespace.is_some_and(|link| link.as_os_str() == "user:[4026531837]");
    if !is_first {
        let map = fs::read_to_string("/proc/thread-self/uid_map").unwrap_or_default();
        let unknown = fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
        let unknown = unknown.and_then(|uid| uid.trim().parse().ok());
        if owner(PORT_START).is_some_and(|uid| is_of_another(uid, &map, unknown)) {
            // Who lacks it would not be helped by it, either.
            return Some(Capability::InAnotherUserNamespace);
        }
    }
    Some(match (has_it, is_first) {
        (false, _) => Capability::Missing,
        (true, true) => Capability::Effective,
        (true, false) => Capability::Uncertain,
    })
}

/// Tells whether a network namespace, whose sysctls belong to `uid`, is owned by another user
/// namespace than that of `uid_map`. They belong to root of the owner: where this one has a root, and
/// does not know `uid`, which is then shown as `unknown`, the owner is another.
pub(super) fn is_of_another(uid: u32, uid_map: &str, unknown: Option<u32>) -> bool {
    maps(uid_map, 0) && (Some(uid) == unknown || !maps(uid_map, uid))
}

/// Tells whether a user namespace knows `uid`, by its `uid_map` (`user_namespaces(7)`).
pub(super) fn maps(uid_map: &str, uid: u32) -> bool {
    uid_map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.nth(1)) {
            (Some(Ok(first)), Some(Ok(count))) => uid.checked_sub(first).is_some_and(|n| n < count),
            _ => false,
        }
    })
}

/// Reads out of `/proc/PID/status` whether a seccomp filter is at work (seccomp(2)).
pub(super) fn has_seccomp_filter(status: &str) -> Option<bool> {
    // SECCOMP_MODE_FILTER
    Some(field(status, "Seccomp")? == "2")
}

#[cfg(unix)]
fn owner(path: &str) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;

    Some(fs::metadata(path).ok()?.uid())
}

#[cfg(not(unix))]
fn owner(_: &str) -> Option<u32> {
    None
}

/// How many descriptors the process has open. The file that has the limit cannot be read
/// without a descriptor; this can.
fn open_files() -> Option<u64> {
    Some(descriptors_of("self")).filter(|open| *open != 0)
}

/// Reads the states of the IPv6 addresses of this host (`if_inet6`, proc(5)).
fn ipv6_addrs() -> Option<HashMap<(Ipv6Addr, u32), DadState>> {
    let file = File::open("/proc/thread-self/net/if_inet6").ok()?;
    // The names of interfaces in it may be in any encoding.
    let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
    Some(lines.filter_map(|line| ipv6_addr(&line)).collect())
}

/// Reads a line of `if_inet6`: address, index, length of the prefix, scope, flags, name.
pub(super) fn ipv6_addr(line: &[u8]) -> Option<((Ipv6Addr, u32), DadState)> {
    let fields = line
        .split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty());
    let mut fields = fields.map(|field| std::str::from_utf8(field).ok());
    let hex = fields.next()??;
    let ip = (hex.len() == 32).then(|| u128::from_str_radix(hex, 16).ok())??;
    let index = u32::from_str_radix(fields.next()??, 16).ok()?;
    let flags = u8::from_str_radix(fields.nth(2)??, 16).ok()?;
    // The name follows, lest the flags are cut short.
    fields.next()?;
    // IFA_F_* of linux/if_addr.h
    let [optimistic, failed, tentative] = [0x04, 0x08, 0x40];
    let state = match flags {
        _ if flags & failed != 0 => DadState::Failed,
        _ if flags & tentative != 0 && flags & optimistic == 0 => DadState::Tentative,
        _ => DadState::Usable,
    };
    Some(((ip.into(), index), state))
}

/// Tells whether the kernel has IPv6, whose table of addresses `is_there` or not.
pub(super) fn has_ipv6(is_there: bool) -> Option<bool> {
    // Another table of the same directory, lest it is hidden as a whole.
    let others = || fs::exists("/proc/thread-self/net/fib_trie").unwrap_or(false);
    if is_there || others() {
        Some(is_there)
    } else {
        None
    }
}

/// Tells whether a switch of ip-sysctl is on, as which the kernel takes any number but 0.
pub(super) fn is_set(file: &Path) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.trim().parse().is_ok_and(|number: i32| number != 0)
}

/// Finds an interface through which packets to loopback addresses get in from other hosts.
pub(crate) fn routed_loopback(host: &Interfaces) -> Option<String> {
    let directory = Path::new("/proc/sys/net/ipv4/conf");
    let is_set = |name: &str| is_set(&directory.join(name).join("route_localnet"));
    if is_set("all") {
        return Some("all".to_owned());
    }
    let names = fs::read_dir(directory).ok()?.map_while(Result::ok);
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    // "default" is no interface, and what comes through a loopback interface is of this host.
    names.find(|name| name != "default" && !host.is_loopback(name) && is_set(name))
}

/// Finds out what switches IPv6 off; of every interface only if it `is_off`, for it takes
/// a file for each.
pub(super) fn ipv6_switch(directory: &Path, is_off: bool) -> Ipv6Switch {
    let is_set = |interface: &OsStr| is_set(&directory.join(interface).join("disable_ipv6"));
    // These two are no interfaces.
    let [all, default, lo] = ["all", "default", "lo"].map(OsStr::new);
    let is_of_all = || {
        let interfaces = fs::read_dir(directory).ok()?.map_while(Result::ok);
        let mut names = interfaces.map(|entry| entry.file_name());
        Some(names.all(|name| name == all || name == default || is_set(&name)))
    };
    let by_all = is_set(all).then_some("all");
    let is_of_lo = is_set(lo);
    let is_of_all = is_off && is_of_all().unwrap_or(false);
    Ipv6Switch {
        of_lo: is_of_lo.then(|| by_all.unwrap_or("lo")),
        of_all: is_of_all.then(|| by_all.unwrap_or(if is_set(default) { "default" } else { "*" })),
    }
}
