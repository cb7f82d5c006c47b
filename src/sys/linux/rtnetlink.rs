//! The interfaces, addresses and routes of a network namespace, by rtnetlink(7).
//!
//! getifaddrs(3), which if-addrs reads, requests every interface with its counters, finds the
//! interface of each address by a scan, and has neither the state of an IPv6 address nor the
//! interface of one with a label.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::netlink::{
    AF_INET, AF_INET6, NLM_F_DUMP, Netlink, attributes, ip, message, push_attribute, text, u32_at,
};
use crate::map::Map;
use crate::sys::{AddrFlags, AddrRow, Errno, InterfaceRow, Link, LinkKind};

/// `NETLINK_ROUTE` of linux/netlink.h.
const ROUTE: i32 = 0;

// linux/rtnetlink.h, linux/if_addr.h, linux/if_link.h and linux/if.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTA_DST: u16 = 1;
const RTN_LOCAL: u8 = 2;
const RT_TABLE_LOCAL: u8 = 255;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_ALT_IFNAME: u16 = 53;
/// The length limit of the first name of a link, including its NUL (linux/if.h).
const IFNAMSIZ: usize = 16;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const IFLA_INFO_KIND: u16 = 1;
// The names of kinds of links, by their drivers.
const VRF: &str = "vrf";
const SWITCHES: [&str; 4] = ["bridge", "bond", "team", "openvswitch"];
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFF_RUNNING: u32 = 0x40;

/// A route that makes its destination local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalRoute {
    pub(crate) ip: IpAddr,
    pub(crate) prefix_len: u8,
    /// Whether the table is `local`, which every packet is looked up in.
    pub(crate) is_in_local: bool,
}

/// An address in the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addr {
    /// The index of the interface.
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    pub(super) prefix_len: u8,
    pub(super) broadcast: Option<Ipv4Addr>,
    /// The other end of a point-to-point link, or its network.
    pub(super) peer: Option<IpAddr>,
    /// `IFA_F_*` of `linux/if_addr.h`, whose first bit has another meaning in IPv4.
    pub(super) flags: u32,
}

/// Reads the interfaces that have an address.
pub(crate) fn interfaces() -> io::Result<Vec<InterfaceRow>> {
    Netlink::query(ROUTE, interfaces_by)
}

/// Reads the same, and the interfaces of [`links_with_ports`], from one dump of all.
pub(crate) fn interfaces_with_ports() -> io::Result<(Vec<InterfaceRow>, Map<u32, Link>)> {
    Netlink::query(ROUTE, |netlink| {
        let addrs = netlink.all(&addr_dump_request(), addr)?;
        let links = links_by(netlink, 0)?;
        Ok((rows_of(netlink, &addrs, &links)?, with_ports(links)))
    })
}

fn interfaces_by(netlink: &mut Netlink) -> io::Result<Vec<InterfaceRow>> {
    let addrs = netlink.all(&addr_dump_request(), addr)?;
    let mut links = links_by(netlink, AF_INET6)?;
    if addrs.iter().any(|addr| !links.contains_key(&addr.index)) {
        // IPv6 is switched off on an interface.
        links = links_by(netlink, 0)?;
    }
    rows_of(netlink, &addrs, &links)
}

fn rows_of(
    netlink: &mut Netlink,
    addrs: &[Addr],
    links: &Map<u32, Link>,
) -> io::Result<Vec<InterfaceRow>> {
    let mut interfaces: Vec<InterfaceRow> = Vec::new();
    let mut places: Map<u32, Option<usize>> = Map::new();
    for addr in addrs {
        let place = places.get_or_insert_with(addr.index, || {
            // An interface that is gone by now takes its addresses with it.
            let link = links.get(&addr.index)?;
            interfaces.push(InterfaceRow {
                name: link.name.clone(),
                index: link.index,
                up: Some(link.up),
                running: link.running,
                loopback: Some(link.kind == LinkKind::Loopback),
                addrs: Vec::new(),
            });
            Some(interfaces.len() - 1)
        });
        if let Some(place) = place {
            let interface = &mut interfaces[*place];
            let may_be_routed = interface.up == Some(true) || may_have_route(netlink, addr)?;
            interface.addrs.push(AddrRow {
                ip: addr.ip,
                prefix_len: addr.prefix_len,
                broadcast: addr.broadcast,
                peer: addr.peer,
                flags: AddrFlags(if addr.ip.is_ipv6() { addr.flags } else { 0 }),
                may_be_routed,
            });
        }
    }
    Ok(interfaces)
}

/// Returns `true` if packets to an address of an interface that is down are delivered, or may be.
///
/// IPv4 keeps the route. IPv6 removes it when the interface goes down, and an address that was
/// added since has one (`addrconf_ifdown` and `inet6_addr_add` of net/ipv6/addrconf.c); only the
/// route distinguishes the two.
fn may_have_route(netlink: &mut Netlink, addr: &Addr) -> io::Result<bool> {
    if addr.ip.is_ipv4() || local_table_by(netlink, addr.ip)?.is_some() {
        return Ok(true);
    }
    // A VRF has tables of its own.
    let link = link_by(netlink, addr.index, None)?;
    Ok(link.is_none_or(|link| link.master != 0))
}

/// Reads the interface called `name`, by any of its names; `None` if there is none.
pub(crate) fn device(name: &str) -> io::Result<Option<Link>> {
    Netlink::query(ROUTE, |netlink| link_by(netlink, 0, Some(name)))
}

/// Reads the interface with an index; `None` if there is none.
pub(crate) fn link(index: u32) -> io::Result<Option<Link>> {
    Netlink::query(ROUTE, |netlink| link_by(netlink, index, None))
}

/// Reads all interfaces, by their index.
pub(crate) fn links() -> io::Result<Map<u32, Link>> {
    Netlink::query(ROUTE, |netlink| links_by(netlink, 0))
}

/// Reads all interfaces, by their index, if one of them can have ports: a VRF, a bridge, a bond or
/// a team.
///
/// To let the kernel select them by `IFLA_INFO_KIND` takes longer: each kind is a dump of its own,
/// and one whose driver is not loaded selects all interfaces (`link_kind_filtered` in
/// net/core/rtnetlink.c).
pub(crate) fn links_with_ports() -> io::Result<Map<u32, Link>> {
    links().map(with_ports)
}

fn with_ports(links: Map<u32, Link>) -> Map<u32, Link> {
    let has_ports = |link: &Link| [LinkKind::Vrf, LinkKind::Switch].contains(&link.kind);
    if links.values().any(has_ports) {
        links
    } else {
        Map::new()
    }
}

/// Reads the table of the route that makes `ip` local; `None` if no route does.
pub(crate) fn local_table(ip: IpAddr) -> io::Result<Option<u8>> {
    Netlink::query(ROUTE, |netlink| local_table_by(netlink, ip))
}

/// Reads the routes of any table that make their destinations local, and whether these are all.
///
/// The kernel can leave out other routes only by an option that no safe function sets
/// (`NETLINK_GET_STRICT_CHK`, netlink(7)), so a table of very many routes is read in part.
pub(crate) fn local_routes() -> io::Result<(Vec<LocalRoute>, bool)> {
    const MOST: usize = 16_384;
    let (mut routes, mut are_all) = (Vec::new(), true);
    for family in [AF_INET, AF_INET6] {
        // One that was left off in the middle of a response has more of it to give.
        let read = |netlink: &mut Netlink| {
            let request = message(
                RTM_GETROUTE,
                NLM_F_DUMP,
                &[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            );
            netlink.first(&request, MOST, parse_local_route)
        };
        let (found, is_all) = Netlink::query(ROUTE, read)?;
        routes.extend(found);
        are_all &= is_all;
    }
    Ok((routes, are_all))
}

fn link_by(netlink: &mut Netlink, index: u32, name: Option<&str>) -> io::Result<Option<Link>> {
    match netlink.one(&link_request(index, name), parse_link)? {
        Err(error) if Errno::of(&error) == Errno::NoDevice => Ok(None),
        // A response without a link does not mean that there is none.
        Ok(None) => Err(io::ErrorKind::InvalidData.into()),
        found => found,
    }
}

/// Requests the links that have a family, by their index; all links, if it is 0.
fn links_by(netlink: &mut Netlink, family: u8) -> io::Result<Map<u32, Link>> {
    let links = netlink.all(&link_dump_request(family), parse_link)?;
    Ok(links.into_iter().map(|link| (link.index, link)).collect())
}

/// Requests the table of the route that makes `ip` local; `None` if no route does.
///
/// A refusal is the system's error for what it does with packets to the address: unreachable,
/// prohibited.
fn local_table_by(netlink: &mut Netlink, ip: IpAddr) -> io::Result<Option<u8>> {
    match netlink.one(&route_request(ip), local_route)? {
        Err(error) if is_route_error(&error) => Ok(None),
        found => found,
    }
}

/// On every architecture (asm-generic/errno-base.h).
const EACCES: i32 = 13;

/// Returns `true` for the errors by which `RTM_GETROUTE` reports that no route of type `local`
/// applies: no route (`ENETUNREACH`), and routes of the types blackhole (`EINVAL`), unreachable
/// (`EHOSTUNREACH`) and prohibit (`EACCES`).
fn is_route_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::InvalidInput
    ) || error.raw_os_error() == Some(EACCES)
}

/// Builds the request for all addresses of the network namespace.
fn addr_dump_request() -> Vec<u8> {
    message(RTM_GETADDR, NLM_F_DUMP, &[0; 8])
}

/// Builds the request for all links. For one family, the kernel reports little of each link: of its
/// kind only loopback, and not where its other end is. It leaves out the links without the family.
fn link_dump_request(family: u8) -> Vec<u8> {
    let mut ifinfomsg = vec![0; 16];
    ifinfomsg[0] = family;
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    push_attribute(&mut ifinfomsg, IFLA_EXT_MASK, &mask);
    message(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg)
}

/// Builds the request for a link, by its index or its name.
fn link_request(index: u32, name: Option<&str>) -> Vec<u8> {
    let mut ifinfomsg = vec![0; 16];
    ifinfomsg[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(name) = name {
        // The kernel refuses a name that is too long for the first attribute.
        let attribute = if name.len() < IFNAMSIZ {
            IFLA_IFNAME
        } else {
            IFLA_ALT_IFNAME
        };
        let name = [name.as_bytes(), &[0]].concat();
        push_attribute(&mut ifinfomsg, attribute, &name);
    }
    message(RTM_GETLINK, 0, &ifinfomsg)
}

/// Builds the request for the route to `ip`.
fn route_request(ip: IpAddr) -> Vec<u8> {
    let (family, bits, dst) = match ip {
        IpAddr::V4(ip) => (AF_INET, 32, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, 128, ip.octets().to_vec()),
    };
    let mut rtmsg = vec![family, bits, 0, 0, 0, 0, 0, 0];
    // Without the second flag the kernel looks for a source address as well, among all
    // addresses of the interface.
    rtmsg.extend((RTM_F_LOOKUP_TABLE | RTM_F_FIB_MATCH).to_ne_bytes());
    push_attribute(&mut rtmsg, RTA_DST, &dst);
    message(RTM_GETROUTE, 0, &rtmsg)
}

/// Reads a link from a message of a response.
pub(super) fn parse_link(kind: u16, body: &[u8]) -> Option<Link> {
    if kind != RTM_NEWLINK {
        return None;
    }
    let flags = u32_at(body, 8)?;
    let mut link = Link {
        index: u32_at(body, 4)?,
        up: flags & IFF_UP != 0,
        running: flags & IFF_RUNNING != 0,
        ..Link::default()
    };
    if flags & IFF_LOOPBACK != 0 {
        link.kind = LinkKind::Loopback;
    }
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            // The first one, in case a list of names is longer than its length field can hold.
            IFLA_IFNAME if link.name.is_empty() => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0).unwrap_or(0),
            IFLA_LINK_NETNSID => link.ends_elsewhere = true,
            IFLA_MASTER => link.master = u32_at(value, 0).unwrap_or(0),
            IFLA_LINKINFO => {
                let kind = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind_name = kind.map(|(_, kind)| text(kind)).unwrap_or_default();
                link.kind = match &*link.kind_name {
                    "tun" => LinkKind::Tun,
                    VRF => LinkKind::Vrf,
                    kind if SWITCHES.contains(&kind) => LinkKind::Switch,
                    _ => LinkKind::Other,
                };
            }
            _ => {}
        }
    }
    Some(link)
}

/// Reads an address from a message of a response.
pub(super) fn addr(kind: u16, body: &[u8]) -> Option<Addr> {
    if kind != RTM_NEWADDR {
        return None;
    }
    let [family, prefix_len, flags, _scope] = *body.first_chunk()?;
    let (mut addr, mut local, mut broadcast) = (None, None, None);
    let mut flags = u32::from(flags);
    for (kind, value) in attributes(body.get(8..)?) {
        match kind {
            IFA_ADDRESS => addr = ip(family, value),
            IFA_LOCAL => local = ip(family, value),
            IFA_BROADCAST => broadcast = ip(family, value),
            IFA_FLAGS => flags = u32_at(value, 0).unwrap_or(flags),
            _ => {}
        }
    }
    // If there is a peer, `addr` is the peer's.
    let ip = local.or(addr)?;
    Some(Addr {
        index: u32_at(body, 4)?,
        ip,
        prefix_len,
        broadcast: match broadcast {
            Some(IpAddr::V4(broadcast)) => Some(broadcast),
            _ => None,
        },
        peer: addr.filter(|peer| *peer != ip),
        flags,
    })
}

/// Reads the table of a route that makes its destination local from a message of a response; `None`
/// for any other route.
pub(super) fn local_route(kind: u16, body: &[u8]) -> Option<u8> {
    let [_, _, _, _, table, _, _, route] = *body.first_chunk()?;
    (kind == RTM_NEWROUTE && route == RTN_LOCAL).then_some(table)
}

/// Reads a route that makes its destination local from a message of a response; `None` for any
/// other route.
pub(super) fn parse_local_route(kind: u16, body: &[u8]) -> Option<LocalRoute> {
    let [family, prefix_len, ..] = *body.first_chunk::<12>()?;
    let table = local_route(kind, body)?;
    let mut attributes = attributes(body.get(12..)?);
    let dst = attributes.find(|(kind, _)| *kind == RTA_DST);
    let ip = match dst {
        Some((_, value)) => ip(family, value)?,
        // The default route has none.
        None if family == AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        None => Ipv6Addr::UNSPECIFIED.into(),
    };
    Some(LocalRoute {
        ip,
        prefix_len,
        is_in_local: table == RT_TABLE_LOCAL,
    })
}
