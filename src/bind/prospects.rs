//! Whether sockets can be opened on the host of a snapshot: [`Prospects`], [`is_reachable`].

use std::net::{IpAddr, SocketAddr};

use crate::interfaces::{Interface, Interfaces};
use crate::map::Set;
use crate::plan::{IfAbsent, Plan, PlannedSocket};
use crate::target::{BindTarget, DeviceIndex, Protocol, zone};

/// Whether sockets that are not open could be opened now.
pub(super) struct Prospects<'a> {
    pub(super) host: Option<&'a Interfaces>,
    lacks_ipv6: bool,
    /// The sockets that were left out when the others were opened.
    left_out: Set<AskedFor<'a>>,
}

/// A request of a setting, without the port: its text, the device, and one of its addresses.
type AskedFor<'a> = (&'a str, Option<&'a str>, IpAddr);

fn asked_for(socket: &PlannedSocket) -> AskedFor<'_> {
    (socket.text(), socket.device(), socket.addr.ip())
}

impl<'a> Prospects<'a> {
    pub(super) fn of(plan: &'a Plan, left_out: &'a [PlannedSocket]) -> Self {
        let host = plan.host.as_ref();
        Self {
            host,
            lacks_ipv6: host.is_some_and(|host| !host.addrs().any(|(_, addr)| addr.ip().is_ipv6())),
            left_out: left_out.iter().map(asked_for).collect(),
        }
    }

    /// Returns `true` if a socket cannot be opened at present.
    pub(super) fn is_pending(&self, planned: &PlannedSocket) -> bool {
        let is_selected = planned.entry.written.is_selector();
        // An IPv6 socket beside one for IPv4.
        let can_be_skipped = planned.if_absent == IfAbsent::Skip;
        // A required entry is opened at once, or is an error.
        if !is_selected && !planned.entry.is_optional() && !can_be_skipped {
            return false;
        }
        match self.host {
            // bind(2) has said so when the others were opened.
            None => self.left_out.contains(&asked_for(planned)),
            Some(host) if planned.entry.freebind => {
                zone(planned.addr) != 0 && host.by_index(zone(planned.addr)).is_none()
            }
            Some(host) => !is_bindable(planned, host) || can_be_skipped && self.lacks_ipv6,
        }
    }
}

/// Returns `true` if bind(2) would take the address, as far as the snapshot shows.
fn is_bindable(planned: &PlannedSocket, host: &Interfaces) -> bool {
    let ip = planned.addr.ip();
    // It takes an address of another interface than the device, but for IPv6 addresses of the host
    // or of a link (`__ipv6_chk_addr_and_flags` of net/ipv6/addrconf.c).
    let is_strict = matches!(ip, IpAddr::V6(ip) if ip.is_loopback() || ip.is_unicast_link_local());
    let is_on_device = match planned.entry.device_index {
        DeviceIndex::Missing(_) => false,
        DeviceIndex::Known(index) if is_strict => host
            .by_ip(ip)
            .any(|interface| interface.index() == Some(index)),
        _ => true,
    };
    is_on_device && is_reachable(planned.addr, None, host)
}

/// Returns `true` if clients can connect to a socket, as far as the snapshot shows.
pub(crate) fn is_reachable(
    addr: SocketAddr,
    device: Option<(&str, DeviceIndex)>,
    host: &Interfaces,
) -> bool {
    let interface = match device {
        None => None,
        Some((name, index)) => {
            // By its index, because it may have another name now.
            let found = match index {
                DeviceIndex::Known(index) => host.by_index(index),
                _ => host.by_name(name),
            };
            let Some(interface) = found else {
                return false;
            };
            Some(interface)
        }
    };
    let target = BindTarget::classify_socket(addr, host);
    if target.is_any() {
        return interface.is_none_or(Interface::is_up);
    }
    let reach = target.reach_on_device(0, Protocol::Tcp, interface.map(Interface::name), host);
    !reach.addrs().is_empty()
}
