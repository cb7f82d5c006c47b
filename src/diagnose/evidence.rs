//! Collects [`Evidence`] about the host after a failed bind.
//!
//! Everything is read without privilege, and of the calling thread's network
//! namespace: `/proc/self` would be that of the process's first thread. What
//! cannot be read is left out, and no cause rests on it.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::thread;

use super::hints;
use super::sockets::Sockets;
use super::{Attempt, Errno, System, is_contradicted};
use crate::diagnosis::Step;
use crate::interfaces::{AddrState, Interface, Interfaces, is_routed};
use crate::map::{Map, Set};
use crate::order::sort;
use crate::sys::{
    self, Capability, DEFAULT_PORT_START, Ipv6Switch, LOOPBACK_INDEX, Link, LinkKind, SocketFilter,
    SocketRow,
};
use crate::target::{BindTarget, Claim, DeviceIndex, Protocol, is_scoped};

/// Queries the kernel through sockets, which `bind` creates.
pub(crate) trait AddrProbe {
    /// Asks whether the address of `addr` can be bound to a free port of a protocol.
    fn probe(&self, protocol: Protocol, addr: SocketAddr) -> Result<(), (Step, io::Error)>;

    /// Asks whether the address of `addr` can be bound, whatever its port.
    fn probe_addr(&self, addr: SocketAddr) -> Result<(), (Step, io::Error)> {
        self.probe(PROBED, addr)
    }

    /// Returns the interface that a cgroup binds the sockets of this process to.
    fn device_of_new_sockets(&self) -> io::Result<Option<String>>;
}

/// The protocol to probe addresses with. Wine binds every address over UDP.
pub(crate) const PROBED: Protocol = match System::HERE {
    System::Windows => Protocol::Tcp,
    _ => Protocol::Udp,
};

/// The facts about the host after a failure. What could not be read, or was not needed, is missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) system: System,
    pub(crate) interfaces: Option<Interfaces>,
    /// The state of each IPv6 address, by interface.
    pub(crate) ipv6_addrs: Option<Map<(Ipv6Addr, u32), AddrState>>,
    /// Whether the kernel has IPv6.
    pub(crate) has_ipv6: Option<bool>,
    /// The switch that disables IPv6, if one does.
    pub(crate) ipv6_switch: Ipv6Switch,
    /// The interfaces that have the addresses in question, and those they are part of, by index.
    pub(crate) links: Map<u32, Link>,
    /// The addresses in question that a route makes local.
    pub(crate) local_by_route: Set<IpAddr>,
    /// The addresses of this host for which the table `local` has no local route.
    pub(crate) without_local_route: Set<IpAddr>,
    /// The verdicts of the kernel on the addresses that the failed attempt did not reach.
    pub(crate) verdicts: Map<SocketAddr, Errno>,
    /// The addresses in question that could be bound by a later probe.
    pub(crate) available_now: Set<SocketAddr>,
    /// The interfaces that sockets are to be bound to, by the names that were set.
    pub(crate) devices: Map<String, Link>,
    pub(crate) cgroup_device: CgroupDevice,
    /// The addresses to write instead that the kernel binds, with port 0.
    pub(crate) bindable: Set<SocketAddr>,
    pub(crate) tcp: Sockets,
    pub(crate) udp: Sockets,
    pub(crate) first_unprivileged_port: Option<u16>,
    pub(crate) capability: Option<Capability>,
    pub(crate) has_seccomp_filter: Option<bool>,
    /// Whether the process can gain no privilege by execve(2) (`PR_SET_NO_NEW_PRIVS`, prctl(2)).
    pub(crate) no_new_privs: Option<bool>,
    /// The security modules that are active, where that could be read.
    pub(crate) security_modules: Vec<String>,
    /// The interfaces on which IPv6 is switched off.
    pub(crate) without_ipv6: Vec<String>,
    /// Those whose MTU is too small for IPv6, which have none then.
    pub(crate) below_ipv6_mtu: Vec<(String, u32)>,
    /// The ports that outgoing connections leave out, as they are set.
    pub(crate) reserved_ports: Option<String>,
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

/// How often, and for how many addresses, what contradicts itself is read again before it is taken
/// for how the host is.
pub(super) struct Budget {
    pub(super) looks: usize,
    /// How many addresses are probed and listed in all of these looks, short of finishing the last
    /// one: some microseconds each.
    pub(super) addrs: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            looks: 64,
            addrs: 4096,
        }
    }
}

impl Evidence {
    /// Reads what the attempts call for, and nothing else: each thing once, but again what
    /// contradicts itself, and the interfaces only if `host` is not known.
    ///
    /// Sockets with the inodes of `aside` are left out.
    pub(crate) fn read(
        attempts: &[Attempt<'_>],
        host: Option<&Interfaces>,
        aside: &Set<u64>,
    ) -> Self {
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
        let mut budget = Budget::default();
        let contradicted = |evidence: &Self| -> Vec<&Attempt<'_>> {
            let attempts = attempts.iter();
            attempts
                .filter(|attempt| is_contradicted(attempt, evidence))
                .collect()
        };
        while evidence.look_again(contradicted(&evidence), &mut budget) {
            evidence.read_addresses_again(attempts);
            budget.addrs = budget.addrs.saturating_sub(attempts.len());
        }
        evidence.probe_candidates(attempts);
        evidence.tcp = evidence.sockets_in_the_way(Protocol::Tcp, attempts, aside);
        evidence.udp = evidence.sockets_in_the_way(Protocol::Udp, attempts, aside);
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
                let device = sys::device(&name).ok().flatten();
                // It may be a VRF.
                self.read_link(device.as_ref().map_or(0, |device| device.master));
                self.devices.extend(device.map(|device| (name, device)));
            }
        }
    }

    /// Returns the interface that the socket of an attempt would be bound to: that of the option,
    /// or that of the cgroup, which a zone replaces.
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
            // The owner of the sysctl is a user of this user namespace, so that it most likely owns
            // the network namespace as well.
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
            self.first_unprivileged_port = sys::first_unprivileged_port();
        }
        // If it cannot be read, the default of Linux decides.
        let limit = self.first_unprivileged_port.unwrap_or(DEFAULT_PORT_START);
        let about_privilege = ports().any(|port| (1..limit).contains(&port));
        let about_filters = any(|errno| {
            matches!(
                errno,
                Errno::AccessDenied | Errno::NotPermitted | Errno::FamilyUnsupported | Errno::InUse
            )
        });
        if about_privilege || about_filters {
            if let Ok(status) = sys::Status::of_thread() {
                self.capability = about_privilege.then(|| status.capability()).flatten();
                self.has_seccomp_filter = status.has_seccomp_filter();
                self.no_new_privs = status.no_new_privs();
            }
        }
        if any(|errno| errno == Errno::InUse) {
            self.ephemeral_ports = sys::ephemeral_ports();
            self.reserved_ports = sys::reserved_ports();
        }
        if any(|errno| errno == Errno::AccessDenied) {
            self.security_modules = sys::security_modules();
        }
        if any(|errno| errno == Errno::ProcessDescriptors) {
            self.open_files = sys::open_files();
        }
    }

    /// Asks about the addresses of those that the kernel refused before it looked at them.
    fn ask_for_verdicts(&mut self, attempts: &[Attempt<'_>]) {
        for attempt in attempts {
            let refused = attempt.errno();
            // A filter can fail with any error. The ports of the other protocol are others.
            let may_be_filtered =
                self.has_seccomp_filter != Some(false) && attempt.addr.port() == 0;
            let by = match refused {
                Some((Step::Bind, Errno::AccessDenied | Errno::NotPermitted)) => PROBED,
                Some((Step::Bind, Errno::InUse)) if may_be_filtered => match attempt.protocol {
                    Protocol::Tcp => Protocol::Udp,
                    Protocol::Udp => Protocol::Tcp,
                },
                _ => continue,
            };
            if let Err((Step::Bind, error)) = attempt.kernel.probe(by, attempt.addr) {
                self.verdicts.insert(attempt.addr, Errno::of(&error));
            }
        }
    }

    fn read_addresses(&mut self, attempts: &[Attempt<'_>]) {
        let mut unavailable = Vec::new();
        let mut about_interfaces = false;
        let mut about_ipv6 = false;
        for attempt in attempts {
            let is_of_another_zone = matches!(attempt.errno(), Some((Step::Validate, _)));
            about_interfaces |= is_of_another_zone || attempt.handed_over.is_some();
            let verdict = self.verdicts.get(&attempt.addr);
            let verdict = verdict.map(|errno| (Step::Bind, *errno));
            for (step, errno) in [attempt.errno(), verdict].into_iter().flatten() {
                match errno {
                    Errno::NotAvailable => {
                        unavailable.push(attempt);
                        about_interfaces = true;
                        about_ipv6 |= attempt.addr.is_ipv6();
                    }
                    // An interface may be free where every address is not.
                    Errno::InUse if attempt.addr.ip().is_unspecified() => about_interfaces = true,
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
            let addrs = sys::ipv6_addrs();
            self.has_ipv6 = sys::has_ipv6(&addrs);
            let state = |(addr, flags)| (addr, AddrState::of(flags));
            self.ipv6_addrs = addrs
                .ok()
                .map(|addrs| addrs.into_iter().map(state).collect());
            self.ipv6_switch = sys::ipv6_switch(self.has_no_ipv6_address());
            self.without_ipv6 = sys::interfaces_without_ipv6();
            let links = sys::links().unwrap_or_default().into_values();
            // RFC 8200, section 5; the kernel removes IPv6 from the interface.
            let small = links.filter(|link| {
                link.up && link.kind != LinkKind::Loopback && (1..1280).contains(&link.mtu)
            });
            self.below_ipv6_mtu = small.map(|link| (link.name, link.mtu)).collect();
            sort(&mut self.below_ipv6_mtu);
        }
        let Some(host) = self.interfaces.clone() else {
            return;
        };
        for attempt in unavailable {
            self.read_unavailable(attempt, &host);
        }
    }

    /// Reads what is in the way of an address that the kernel does not have.
    fn read_unavailable(&mut self, attempt: &Attempt<'_>, host: &Interfaces) {
        let addr = attempt.addr;
        // The host may have changed since the refusal.
        if attempt.kernel.probe_addr(addr).is_ok() {
            self.available_now.insert(addr);
            return;
        }
        let target = BindTarget::classify_socket(addr, host);
        // bind(2) looks IPv4 addresses up in the table `local`.
        let is_own = matches!(target, BindTarget::Local(_) | BindTarget::Loopback(_));
        if is_own && addr.is_ipv4() && is_routed(addr.ip()) == Some(false) {
            self.without_local_route.insert(addr.ip());
        }
        match target {
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
                    && sys::local_table(foreign.ip()).is_ok_and(|table| table.is_some()) =>
            {
                self.local_by_route.insert(foreign.ip());
            }
            _ => {}
        }
    }

    /// Asks the kernel about what would be advised to write instead.
    fn probe_candidates(&mut self, attempts: &[Attempt<'_>]) {
        let Some(host) = self.interfaces.clone() else {
            return;
        };
        let mut probed = Set::new();
        for attempt in attempts {
            for mut candidate in hints::candidates(attempt, self.verdict_on(attempt.addr), &host) {
                candidate.set_port(0);
                if probed.insert(candidate) && attempt.kernel.probe_addr(candidate).is_ok() {
                    self.bindable.insert(candidate);
                }
            }
        }
    }

    /// Probes again the addresses of which one thing was read that another contradicts: each may be
    /// of another moment, where addresses come and go.
    ///
    /// Returns `true` if the interfaces were read again: the other addresses may contradict them
    /// then. Nothing sleeps, because an async caller has no thread to spare.
    pub(super) fn look_again(
        &mut self,
        mut attempts: Vec<&Attempt<'_>>,
        budget: &mut Budget,
    ) -> bool {
        let was_listed: Set<IpAddr> = match &self.interfaces {
            Some(host) => attempts
                .iter()
                .map(|attempt| attempt.addr.ip().to_canonical())
                .filter(|ip| host.has(*ip))
                .collect(),
            None => Set::new(),
        };
        while budget.looks > 0 {
            budget.looks -= 1;
            attempts.truncate(budget.addrs);
            if attempts.is_empty() {
                return false;
            }
            // The process that is changing the addresses may be about to finish.
            thread::yield_now();
            let is_bound: Vec<bool> = attempts
                .iter()
                .map(|attempt| attempt.kernel.probe_addr(attempt.addr).is_ok())
                .collect();
            let Ok(host) = Interfaces::system() else {
                return false;
            };
            let listed: usize = host.iter().map(|interface| interface.addrs().len()).sum();
            budget.addrs = budget.addrs.saturating_sub(attempts.len() + listed);
            let mut is_newer = false;
            let mut unrouted = Set::new();
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
                let is_unrouted = || sys::local_table(ip).is_ok_and(|table| table.is_none());
                if !is_listed && is_unrouted() {
                    unrouted.insert(ip);
                    return false;
                }
                true
            });
            if !unrouted.is_empty() {
                self.local_by_route.retain(|ip| !unrouted.contains(ip));
            }
            if is_newer {
                self.interfaces = Some(host);
                return true;
            }
        }
        false
    }

    /// Reads the rest about the addresses again, after the interfaces.
    pub(super) fn read_addresses_again(&mut self, attempts: &[Attempt<'_>]) {
        self.local_by_route = Set::new();
        self.without_local_route = Set::new();
        self.devices = Map::new();
        self.links = Map::new();
        self.read_devices(attempts);
        self.read_addresses(attempts);
    }

    fn read_link(&mut self, index: u32) {
        if index == 0 || self.links.contains_key(&index) {
            return;
        }
        if let Ok(Some(link)) = sys::link(index) {
            self.links.insert(index, link);
        }
    }

    /// The sockets on the ports of the attempts.
    fn sockets_in_the_way(
        &self,
        protocol: Protocol,
        attempts: &[Attempt<'_>],
        aside: &Set<u64>,
    ) -> Sockets {
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
        let ranges = without_overlap(attempts.clone().map(|attempt| attempt.ports).collect());
        let is_in_question = |row: &SocketRow| {
            let at = ranges.partition_point(|(_, last)| *last < row.port);
            let is_on_port = ranges.get(at).is_some_and(|(first, _)| *first <= row.port);
            is_on_port && !aside.contains(&row.inode)
        };
        // The kernel can leave out all but one port.
        let only_port = match ranges[..] {
            [(first, last)] if first == last => first,
            _ => 0,
        };
        let Ok(rows) = sys::sockets(protocol, SocketFilter::AcceptClients, only_port) else {
            return sockets;
        };
        if protocol == Protocol::Tcp {
            let of_rows = rows.iter().filter(|row| is_in_question(row));
            let of_rows = of_rows.filter_map(|row| row.device);
            let claims = attempts.clone().map(|attempt| self.claim(attempt).device());
            let of_claims = claims.filter_map(DeviceIndex::known);
            let indices: Set<u32> = of_rows
                .chain(of_claims)
                .filter(|index| *index != 0)
                .collect();
            let is_apart = |index: u32| (index, sys::is_apart(index).ok());
            sockets.apart = indices.into_iter().map(is_apart).collect();
        }
        sockets.are_all = protocol == Protocol::Udp;
        sockets.add(rows.into_iter().filter(is_in_question));

        let claims: Set<(Claim, (u16, u16))> = attempts
            .clone()
            .map(|attempt| (self.claim(attempt), attempt.ports))
            .collect();
        let on_ports = || {
            let claims = claims.iter();
            claims.flat_map(|(claim, (first, last))| (*first..=*last).map(|port| (*claim, port)))
        };
        sockets.find_owners(on_ports());

        let unexplained: Set<u16> = attempts
            .filter(|attempt| attempt.is_in_use() && !attempt.no_port_left)
            .map(|attempt| (attempt.addr.port(), self.claim(attempt)))
            .filter(|(port, claim)| sockets.in_the_way(*claim, *port).is_empty())
            .map(|(port, _)| port)
            .collect();
        if !sockets.are_all && !unexplained.is_empty() {
            let others = |port: &u16| sys::sockets(protocol, SocketFilter::Others, *port);
            let others: io::Result<Vec<Vec<SocketRow>>> = unexplained.iter().map(others).collect();
            sockets.are_all = others.is_ok();
            let others = others.unwrap_or_default().into_iter().flatten();
            sockets.add(others.filter(|row| !aside.contains(&row.inode)));
            sockets.find_owners(on_ports());
        }

        let devices = on_ports().flat_map(|(claim, port)| sockets.devices_of(claim, port));
        let devices: Set<u32> = devices.collect();
        let names = devices.into_iter().filter_map(|index| {
            let link = sys::link(index).ok().flatten()?;
            Some((index, link.name))
        });
        sockets.devices = names.collect();
        sockets
    }

    pub(crate) fn verdict_on(&self, addr: SocketAddr) -> Option<Errno> {
        self.verdicts.get(&addr).copied()
    }

    /// Returns what the socket claims of its port.
    pub(crate) fn claim(&self, attempt: &Attempt<'_>) -> Claim {
        let device = self.device_of(attempt).map(|name| self.devices.get(name));
        let device = match device {
            None => DeviceIndex::None,
            Some(Some(device)) => DeviceIndex::Known(device.index),
            // Only sockets without a device are known to be in the way.
            Some(None) => DeviceIndex::Unknown(0),
        };
        Claim::of_socket(attempt.addr, attempt.only_v6).on_device(device)
    }

    pub(crate) fn addr_state(&self, ip: IpAddr, index: u32) -> Option<AddrState> {
        let IpAddr::V6(ip) = ip else { return None };
        self.ipv6_addrs.as_ref()?.get(&(ip, index)).copied()
    }

    pub(crate) fn has_no_ipv6_address(&self) -> bool {
        self.ipv6_addrs.as_ref().is_some_and(Map::is_empty)
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
            host.by_ip(ip)
                .map(|interface| interface.name().to_owned())
                .collect(),
        )
    }
}

/// Joins the ranges that have a port in common, in ascending order.
pub(super) fn without_overlap(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    sort(&mut ranges);
    let mut joined: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => joined.push((first, last)),
        }
    }
    joined
}
