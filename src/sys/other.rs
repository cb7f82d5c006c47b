//! The systems without netlink: the interfaces from if-addrs, and a timer in place of events.

use std::io;
use std::net::IpAddr;

use if_addrs::IfAddr;

use crate::sys::{AddrFlags, AddrRow, InterfaceRow};

/// Reads the interfaces, with one row for each address.
pub(super) fn interfaces() -> io::Result<Vec<InterfaceRow>> {
    let entries = if_addrs::get_if_addrs()?;
    Ok(entries.iter().map(interface).collect())
}

/// Converts an entry of if-addrs, which is one address.
fn interface(entry: &if_addrs::Interface) -> InterfaceRow {
    let new = |ip, prefix_len| AddrRow {
        ip,
        prefix_len,
        broadcast: None,
        peer: None,
        flags: AddrFlags::default(),
        may_be_routed: true,
    };
    let addr = match &entry.addr {
        IfAddr::V6(v6) => new(v6.ip.into(), v6.prefixlen),
        // getifaddrs(3) has one field for the broadcast address and for the peer, with the address
        // itself where there is neither. A host route has a peer rather than a broadcast.
        IfAddr::V4(v4) => {
            let addr = new(v4.ip.into(), v4.prefixlen);
            match v4.broadcast.filter(|other| *other != v4.ip) {
                None => addr,
                Some(peer) if v4.prefixlen == 32 => AddrRow {
                    peer: Some(IpAddr::V4(peer)),
                    ..addr
                },
                broadcast => AddrRow { broadcast, ..addr },
            }
        }
    };
    InterfaceRow {
        name: interface_name(&entry.name).to_owned(),
        index: entry.index.unwrap_or(0),
        up: None,
        running: entry.is_oper_up(),
        loopback: None,
        addrs: vec![addr],
    }
}

/// Removes the label from the name of an entry: Linux names IPv4 addresses by their label
/// (`eth0:web`, ip-address(8)), and the name of an interface cannot contain `:`.
fn interface_name(label: &str) -> &str {
    match label.split_once(':') {
        Some((name, _)) if cfg!(any(target_os = "linux", target_os = "android")) => name,
        _ => label,
    }
}

/// A timer in place of notifications: it reports a possible change once a second.
#[cfg(all(feature = "watch", not(target_os = "linux")))]
#[derive(Debug)]
pub(crate) struct AddrEvents {
    last: std::time::Instant,
}

#[cfg(all(feature = "watch", not(target_os = "linux")))]
impl AddrEvents {
    const PERIOD: std::time::Duration = std::time::Duration::from_secs(1);

    #[allow(clippy::unnecessary_wraps)] // as on Linux
    pub(crate) fn new() -> io::Result<Self> {
        let last = std::time::Instant::now();
        Ok(Self { last })
    }

    pub(crate) fn wait(&mut self, timeout: Option<std::time::Duration>) -> io::Result<bool> {
        self.wait_unless(None, timeout)
    }

    /// Waits as [`wait`](Self::wait) does, and returns `false` as soon as `wakeup` is used.
    #[allow(clippy::unnecessary_wraps)] // as on Linux
    pub(crate) fn wait_unless(
        &mut self,
        wakeup: Option<&Wakeup>,
        timeout: Option<std::time::Duration>,
    ) -> io::Result<bool> {
        let due = Self::PERIOD.saturating_sub(self.last.elapsed());
        let is_due = timeout.is_none_or(|timeout| timeout >= due);
        let pause = timeout.map_or(due, |timeout| timeout.min(due));
        match wakeup {
            Some(wakeup) if wakeup.is_used_within(pause) => return Ok(false),
            Some(_) => {}
            None => std::thread::sleep(pause),
        }
        if is_due {
            self.last = std::time::Instant::now();
        }
        Ok(is_due)
    }
}

/// Wakes the thread that waits for events.
#[cfg(all(feature = "watch", not(target_os = "linux")))]
#[derive(Debug, Default)]
pub(crate) struct Wakeup {
    is_used: std::sync::Mutex<bool>,
    condition: std::sync::Condvar,
}

#[cfg(all(feature = "watch", not(target_os = "linux")))]
impl Wakeup {
    #[allow(clippy::unnecessary_wraps)] // as on Linux
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    pub(crate) fn wake(&self) {
        *self
            .is_used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        self.condition.notify_all();
    }

    /// Waits, and returns `true` as soon as it is used.
    pub(crate) fn is_used_within(&self, timeout: std::time::Duration) -> bool {
        let is_used = self.is_used.lock();
        let is_used = is_used.unwrap_or_else(std::sync::PoisonError::into_inner);
        let waited = self
            .condition
            .wait_timeout_while(is_used, timeout, |is_used| !*is_used);
        let (mut is_used, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *is_used)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use if_addrs::{IfOperStatus, Ifv4Addr};

    use super::*;

    #[test]
    fn getifaddrs_entry_has_broadcast_or_peer() {
        let ip = Ipv4Addr::new(10, 0, 0, 1);
        let other = Ipv4Addr::new(10, 0, 0, 9);
        let read = |prefixlen, broadcast| {
            let row = interface(&if_addrs::Interface {
                name: "eth0".into(),
                addr: IfAddr::V4(Ifv4Addr {
                    ip,
                    netmask: Ipv4Addr::UNSPECIFIED,
                    prefixlen,
                    broadcast,
                }),
                index: Some(2),
                oper_status: IfOperStatus::Up,
                is_p2p: false,
                #[cfg(windows)]
                adapter_name: String::new(),
            });
            assert_eq!((row.name.as_str(), row.index), ("eth0", 2));
            assert_eq!((row.up, row.running, row.loopback), (None, true, None));
            let [addr] = row.addrs[..] else {
                panic!("{row:?}")
            };
            assert_eq!((addr.ip, addr.prefix_len), (ip.into(), prefixlen));
            assert!(addr.may_be_routed);
            (addr.broadcast, addr.peer)
        };
        assert_eq!(read(24, None), (None, None));
        // The address itself as the peer means that it has none.
        assert_eq!(read(24, Some(ip)), (None, None));
        assert_eq!(read(24, Some(other)), (Some(other), None));
        assert_eq!(read(32, Some(other)), (None, Some(other.into())));
    }

    #[test]
    fn interface_name_strips_label() {
        let name = if cfg!(any(target_os = "linux", target_os = "android")) {
            "eth0"
        } else {
            "eth0:web"
        };
        assert_eq!(interface_name("eth0:web"), name);
        assert_eq!(interface_name("eth0"), "eth0");
    }
}
