//! The kernel's switches and limits in `/proc/sys` (ip-sysctl).

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::order::sort;
use crate::sys::{Protocol, System};

/// The path of the sysctl that [`first_unprivileged_port`] reads.
pub(super) const PORT_START: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// The default of [`first_unprivileged_port`] on Linux: `PROT_SOCK` of net/sock.h.
pub(crate) const DEFAULT_PORT_START: u16 = 1024;

/// The setting that disables IPv6: the `*` of the `net.ipv6.conf.*.disable_ipv6` that is set.
/// `None` if none is known to be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ipv6Switch {
    /// For the loopback interface.
    pub(crate) of_lo: Option<&'static str>,
    /// For every interface there is.
    pub(crate) of_all: Option<&'static str>,
}

/// Returns the first port that needs no privilege: `net.ipv4.ip_unprivileged_port_start`, which
/// applies to IPv6 as well. `None` where it could not be read, and on Windows, which has no such
/// limit.
pub(crate) fn first_unprivileged_port() -> Option<u16> {
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

/// Returns the ports that the kernel chooses from: `net.ipv4.ip_local_port_range`, which applies to
/// IPv6 as well (ip(7)). `None` where it could not be read.
pub(crate) fn ephemeral_ports() -> Option<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Some(first..=last),
        _ => None,
    }
}

/// Returns the name of this host; `None` where it could not be read.
pub(crate) fn host_name() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Returns the ports that the kernel does not choose from, as they are set:
/// `net.ipv4.ip_local_reserved_ports`. `None` where it could not be read.
pub(crate) fn reserved_ports() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").ok()?;
    Some(text.trim().to_owned())
}

/// Returns `true` if any address of a family can be bound: `net.ipv4.ip_nonlocal_bind`, or its
/// counterpart of IPv6.
pub(crate) fn allows_nonlocal_bind(ipv6: bool) -> io::Result<bool> {
    let family = if ipv6 { "ipv6" } else { "ipv4" };
    let path = format!("/proc/sys/net/{family}/ip_nonlocal_bind");
    is_set(Path::new(&path))
}

/// Returns `true` if a socket on no interface accepts the clients of every VRF:
/// `net.ipv4.tcp_l3mdev_accept`, or its counterpart of UDP (Documentation/networking/vrf.rst of
/// Linux). A kernel without the sysctl has no VRFs.
pub(crate) fn accepts_from_vrfs(protocol: Protocol) -> io::Result<bool> {
    let protocol = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    is_set(Path::new(&format!(
        "/proc/sys/net/ipv4/{protocol}_l3mdev_accept"
    )))
}

/// Returns an interface through which packets to loopback addresses are accepted from other hosts,
/// as the `*` of a `net.ipv4.conf.*.route_localnet` that is set; `None` if there is none. Packets
/// that arrive through a loopback interface, which `is_loopback` recognises, are of this host.
pub(crate) fn routed_loopback(is_loopback: impl Fn(&str) -> bool) -> io::Result<Option<String>> {
    routed_loopback_in(Path::new("/proc/sys/net/ipv4/conf"), is_loopback)
}

pub(super) fn routed_loopback_in(
    directory: &Path,
    is_loopback: impl Fn(&str) -> bool,
) -> io::Result<Option<String>> {
    let is_set = |name: &OsStr| is_set(&directory.join(name).join("route_localnet"));
    if is_set(OsStr::new("all"))? {
        return Ok(Some("all".to_owned()));
    }
    for entry in fs::read_dir(directory)? {
        let file_name = entry?.file_name();
        let name = file_name.to_string_lossy();
        // "default" is not an interface.
        if name == "default" || is_loopback(&name) {
            continue;
        }
        match is_set(&file_name) {
            Ok(true) => return Ok(Some(name.into_owned())),
            Ok(false) => {}
            // The interface is gone by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Reads what switches IPv6 off; for every interface only if `is_off`, because that takes a file
/// for each.
pub(crate) fn ipv6_switch(is_off: bool) -> Ipv6Switch {
    ipv6_switch_in(Path::new("/proc/sys/net/ipv6/conf"), is_off)
}

pub(super) fn ipv6_switch_in(directory: &Path, is_off: bool) -> Ipv6Switch {
    // A switch that cannot be read is not named as what switches IPv6 off.
    let is_set = |interface: &OsStr| {
        is_set(&directory.join(interface).join("disable_ipv6")).is_ok_and(|is_set| is_set)
    };
    // The first two are not interfaces.
    let [all, default, lo] = ["all", "default", "lo"].map(OsStr::new);
    let is_of_all = || {
        let mut interfaces = fs::read_dir(directory).ok()?;
        Some(interfaces.all(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name();
                name == all || name == default || is_set(&name)
            })
        }))
    };
    let by_all = is_set(all).then_some("all");
    let is_of_lo = is_set(lo);
    let is_of_all = is_off && is_of_all().unwrap_or(false);
    Ipv6Switch {
        of_lo: is_of_lo.then(|| by_all.unwrap_or("lo")),
        of_all: is_of_all.then(|| by_all.unwrap_or(if is_set(default) { "default" } else { "*" })),
    }
}

/// Returns the security modules that are active (Documentation/admin-guide/LSM of Linux); empty
/// where that could not be read.
pub(crate) fn security_modules() -> Vec<String> {
    security_modules_in(Path::new("/sys"))
}

pub(super) fn security_modules_in(directory: &Path) -> Vec<String> {
    let read = |path: &str| fs::read_to_string(directory.join(path));
    let text = read("kernel/security/lsm").unwrap_or_default();
    let mut modules: Vec<String> = text.trim().split(',').map(str::to_owned).collect();
    // Without securityfs, these paths show the modules.
    let signs = [
        ("selinux", "fs/selinux/enforce"),
        ("apparmor", "module/apparmor/parameters/enabled"),
    ];
    for (module, sign) in signs {
        let is_on = read(sign).is_ok_and(|text| text.trim() != "N");
        if is_on && !modules.iter().any(|own| own == module) {
            modules.push(module.to_owned());
        }
    }
    modules.retain(|module| !module.is_empty());
    modules
}

/// Returns the interfaces on which IPv6 is switched off, lo aside; one that cannot be read is left
/// out.
pub(crate) fn interfaces_without_ipv6() -> Vec<String> {
    let directory = Path::new("/proc/sys/net/ipv6/conf");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_off = |name: &String| {
        let is_interface = !["all", "default", "lo"].contains(&&**name);
        is_interface && is_set(&directory.join(name).join("disable_ipv6")).unwrap_or(false)
    };
    let mut off: Vec<String> = names.filter(is_off).collect();
    sort(&mut off);
    off
}

/// Returns `true` if a switch is on: the kernel takes any number except 0 for that.
fn is_set(file: &Path) -> io::Result<bool> {
    let text = fs::read_to_string(file)?;
    let number: Result<i32, _> = text.trim().parse();
    let number = number.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(number != 0)
}
