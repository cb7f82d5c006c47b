//! What is odd about a socket that was opened: [`Note`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Namespace, System};
use crate::interfaces::{AddrState, Interface, InterfaceAddr, Interfaces};
use crate::listen::{Family, shown};
use crate::network::is_of_many;
use crate::sys;
use crate::target::{BindTarget, ForeignAddr, ForeignReason, Protocol};

/// What is odd about an address that can be bound.
///
/// The [`Display`](fmt::Display) form is a clause.
///
/// # Platform notes
///
/// Only Linux and Android bind what no interface has.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use bindaddr::{BindOptions, Note, WhyBound};
///
/// // TEST-NET-2 (RFC 5737), which no host has.
/// let listeners = BindOptions::new().freebind(true).bind("198.51.100.1:0")?;
/// let notes = listeners.as_slice()[0].notes();
/// assert!(matches!(notes[0], Note::NotListed { why: WhyBound::Freebind, .. }));
/// # }
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// No interface of the host has the address, or not the one of its zone.
    #[non_exhaustive]
    NotListed {
        /// The address.
        addr: ForeignAddr,
        /// Why it can be bound.
        why: WhyBound,
        /// Whether a local route brings clients to it (`ip route add local`, ip-route(8)), for example the
        /// one that makes it bindable; without one no client can connect until an interface has the
        /// address. `None` where the route cannot be read.
        is_routed: Option<bool>,
    },
    /// The loopback interface is down, so that nobody can connect to the address.
    #[non_exhaustive]
    LoopbackDown {
        /// The address.
        ip: IpAddr,
    },
    /// The socket is bound to an interface ([`device`](crate::BindOptions::device)) through which nobody can
    /// connect to the address: to 127.0.0.1 only this host does, through its loopback interface, unless loopback
    /// addresses are [routed](crate::Lint::RoutedLoopback), and through that interface to none of another one.
    #[non_exhaustive]
    NotThroughDevice {
        /// The address.
        ip: IpAddr,
        /// The name of the interface.
        device: String,
    },
    /// No interface of the network namespace has an address of the families of the socket, so that no client can
    /// connect. Where none ever had an IPv4 address, for example before the loopback interface is up, no routing
    /// table exists yet, and every IPv4 address can be bound.
    #[non_exhaustive]
    NoAddress {
        /// The family; `None` for both, which a dual-stack socket has.
        family: Option<Family>,
    },
    /// The interface of the IPv6 address went down and took its local route along, which does not come back with the
    /// address alone, so that no client can connect.
    #[non_exhaustive]
    NoLocalRoute {
        /// The address.
        ip: IpAddr,
    },
    /// The socket was handed over and belongs to another network namespace than this process, or may: clients of that
    /// namespace connect, and the interfaces here say nothing about it.
    #[non_exhaustive]
    OtherNamespace {
        /// Whether that is known: without netlink and procfs it is not.
        is_certain: bool,
    },
}

/// Why an address [can be bound](Note::NotListed) that no interface has.
///
/// # Examples
///
/// ```
/// use bindaddr::{Note, WhyBound};
///
/// /// Whether the address is one that may come, as with a failover.
/// fn is_for_later(note: &Note) -> bool {
///     matches!(note, Note::NotListed { why: WhyBound::Freebind, is_routed: Some(false), .. })
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhyBound {
    /// A route of the table `local` covers it, which is what Linux asks of an IPv4 address.
    LocalRoute,
    /// The option [`freebind`](crate::BindOptions::freebind) was set.
    Freebind,
    /// `net.ipv4.ip_nonlocal_bind` or its like of IPv6 is set (ip-sysctl).
    NonLocalBind,
    /// It is the broadcast address of a subnet, which Linux binds.
    Broadcast,
    /// Nothing tells.
    Unknown,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (addr, why, is_routed) = match self {
            Self::NotListed {
                addr,
                why,
                is_routed,
            } => (addr, why, is_routed),
            Self::LoopbackDown { ip } => {
                return write!(
                    f,
                    "the loopback interface is down, so no client can connect to {ip}"
                );
            }
            Self::NotThroughDevice { ip, device } => {
                return write!(
                    f,
                    "the socket is bound to `{}`, through which no client can connect to {ip}",
                    shown(device)
                );
            }
            Self::NoAddress { family } => {
                f.write_str("no interface of this network namespace has an ")?;
                return match family {
                    Some(family) => write!(
                        f,
                        "{family} address, so no client can connect over {family}"
                    ),
                    None => f.write_str("address, so no client can connect"),
                };
            }
            Self::NoLocalRoute { ip } => {
                return write!(
                    f,
                    "the interface of {ip} went down and took its local route along, so no client can connect"
                );
            }
            Self::OtherNamespace { is_certain: true } => {
                return f.write_str(
                    "the socket was handed over and belongs to another network namespace, whose clients can connect",
                );
            }
            Self::OtherNamespace { is_certain: false } => {
                return f.write_str(
                    "the socket was handed over, and whether it belongs to this network namespace cannot be read",
                );
            }
        };
        let ip = addr.ip();
        match addr.scope_id() {
            None => write!(f, "no interface of this host has {ip}; ")?,
            Some(_) => write!(f, "the interface of its zone does not have {ip}; ")?,
        }
        match why {
            WhyBound::LocalRoute => {
                return f.write_str("a local route makes it bindable and reachable");
            }
            WhyBound::Broadcast => {
                return f.write_str(
                    "it is a broadcast address, which the system binds and to which no TCP client can connect",
                );
            }
            WhyBound::Freebind => f.write_str("the option `freebind`")?,
            WhyBound::NonLocalBind => {
                let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
                write!(f, "`net.{family}.ip_nonlocal_bind`")?;
            }
            WhyBound::Unknown => f.write_str("something that does not show")?,
        }
        f.write_str(match is_routed {
            Some(true) => " makes it bindable, and a local route makes it reachable",
            Some(false) => {
                " makes it bindable, and no client can connect until an interface has it or a local route covers it"
            }
            None => " makes it bindable, and whether a local route makes it reachable cannot be read",
        })
    }
}

/// What the host says of an address that can be bound.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is read from a place of its own
pub(super) struct Surroundings {
    pub(super) interfaces: Option<Interfaces>,
    /// Whether a route brings clients to it; `None` where that cannot be read.
    pub(super) is_routed: Option<bool>,
    pub(super) is_nonlocal_bind: bool,
    /// Whether the kernel accepts packets to loopback addresses from other hosts, or may.
    pub(super) may_route_loopback: bool,
    /// Whether the IPv4 routing tables are empty, without which no IPv4 address is local.
    pub(super) has_no_ipv4: bool,
    /// Whether no interface has an IPv6 address, and no route makes one local.
    pub(super) has_no_ipv6: bool,
}

impl Surroundings {
    pub(super) fn read(addr: SocketAddr, device: Option<&str>, host: Option<&Interfaces>) -> Self {
        let mut new = Self {
            interfaces: host.cloned().or_else(|| Interfaces::system().ok()),
            ..Self::default()
        };
        let host = new.interfaces.as_ref();
        let target = host.map(|host| BindTarget::classify_socket(addr, host));
        // What an interface has needs no other reason, and has its route.
        if matches!(target, Some(BindTarget::Local(_))) || System::HERE != System::Linux {
            return new;
        }
        let ip = addr.ip().to_canonical();
        if device.is_some() && matches!(target, Some(BindTarget::Loopback(_))) {
            let is_loopback = |name: &str| host.is_some_and(|host| host.is_loopback(name));
            let routed = sys::routed_loopback(is_loopback);
            new.may_route_loopback = !matches!(routed, Ok(None));
        }
        new.has_no_ipv4 = sys::has_ipv4_routes().is_ok_and(|has_routes| !has_routes);
        new.has_no_ipv6 = ip.is_ipv6() && sys::has_local_ipv6().is_ok_and(|has_local| !has_local);
        if let Some(BindTarget::Foreign(foreign)) = target {
            new.is_routed = match foreign.scope_id() {
                Some(_) => Some(false),
                None => is_routed(ip),
            };
            let nonlocal_bind = sys::allows_nonlocal_bind(ip.is_ipv6());
            new.is_nonlocal_bind = nonlocal_bind.is_ok_and(|is_set| is_set);
        }
        new
    }
}

/// Returns `true` if a local route brings clients to `ip`; `None` where that cannot be read.
fn is_routed(ip: IpAddr) -> Option<bool> {
    let table = sys::local_table(ip).ok()?;
    Some(match ip {
        // By a route of another table than `local` a packet is taken in, and the response is refused, because IPv4
        // sends from an address of that table only, as it binds (`inet_addr_type_table`). 127.0.0.1 shows
        // which one that is: it is one with `main` until there is a rule (`fib_unmerge`).
        IpAddr::V4(_) => {
            table.is_some() && table == sys::local_table(Ipv4Addr::LOCALHOST.into()).ok()?
        }
        IpAddr::V6(_) => table.is_some(),
    })
}

/// The properties of a socket that decide, besides its address, which clients reach it.
#[derive(Clone, Debug)]
pub(crate) struct BoundBy<'a> {
    pub(crate) freebind: bool,
    pub(crate) device: Option<&'a str>,
    /// Whether a wildcard leaves out IPv4.
    pub(crate) only_v6: bool,
    pub(crate) namespace: Namespace,
}

/// Looks at the host and notes what is odd about `addr`, which can be bound.
pub(crate) fn notes(
    addr: SocketAddr,
    protocol: Protocol,
    options: &BoundBy<'_>,
    host: Option<&Interfaces>,
) -> Vec<Note> {
    if options.namespace != Namespace::This {
        let is_certain = options.namespace == Namespace::Other;
        return vec![Note::OtherNamespace { is_certain }];
    }
    let around = Surroundings::read(addr, options.device, host);
    notes_on(addr, protocol, options, &around)
}

pub(super) fn notes_on(
    addr: SocketAddr,
    protocol: Protocol,
    options: &BoundBy<'_>,
    around: &Surroundings,
) -> Vec<Note> {
    let ip = addr.ip().to_canonical();
    // UDP sockets receive there what was sent to many, as DHCP clients do.
    let receives_for_many = protocol == Protocol::Udp && (ip.is_unspecified() || is_of_many(ip));
    let has_no_address = match ip {
        IpAddr::V4(_) => around.has_no_ipv4.then_some(Some(Family::Ipv4)),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            let is_dead = around.has_no_ipv6 && (options.only_v6 || around.has_no_ipv4);
            is_dead.then_some(options.only_v6.then_some(Family::Ipv6))
        }
        IpAddr::V6(_) => None,
    };
    if let Some(family) = has_no_address.filter(|_| !receives_for_many) {
        return vec![Note::NoAddress { family }];
    }
    let Some(host) = &around.interfaces else {
        return Vec::new();
    };
    let target = BindTarget::classify_socket(addr, host);
    let device = options
        .device
        .filter(|device| !around.may_route_loopback && !leads_to(device, &target, host));
    if let Some(device) = device {
        return vec![Note::NotThroughDevice {
            ip,
            device: device.to_owned(),
        }];
    }
    match target {
        BindTarget::Any(_) => Vec::new(),
        BindTarget::Local(local) => {
            let state = |interface: &Interface| interface.entry(ip).map(InterfaceAddr::state);
            let mut states = local.interfaces().map(state);
            if states.all(|state| state == Some(AddrState::Unrouted)) {
                vec![Note::NoLocalRoute { ip }]
            } else {
                Vec::new()
            }
        }
        BindTarget::Loopback(_) => {
            let lo = host.loopbacks();
            if lo.is_empty() || lo.iter().any(|lo| lo.is_running()) {
                Vec::new()
            } else {
                vec![Note::LoopbackDown { ip: addr.ip() }]
            }
        }
        BindTarget::Foreign(foreign) => {
            let is_for_many = matches!(
                foreign.reason(),
                ForeignReason::Multicast
                    | ForeignReason::LimitedBroadcast
                    | ForeignReason::DirectedBroadcast { .. }
            );
            // UDP sockets receive on those.
            if is_for_many && protocol == Protocol::Udp {
                return Vec::new();
            }
            // IPv4 binds what a route brings, and IPv6 what an interface has.
            let why = match around {
                // Of those that were not refused (`plan::Clients`).
                _ if is_for_many && ip.is_ipv4() => WhyBound::Broadcast,
                _ if around.is_routed == Some(true) && ip.is_ipv4() => WhyBound::LocalRoute,
                _ if options.freebind => WhyBound::Freebind,
                _ if around.is_nonlocal_bind => WhyBound::NonLocalBind,
                _ => WhyBound::Unknown,
            };
            vec![Note::NotListed {
                addr: foreign,
                why,
                is_routed: around.is_routed,
            }]
        }
    }
}

/// Tells whether anybody can connect to an address through an interface.
fn leads_to(device: &str, target: &BindTarget, host: &Interfaces) -> bool {
    match target {
        // A VRF may have an address of 127.0.0.0/8 of its own (Documentation/networking/vrf.rst of Linux).
        BindTarget::Loopback(_) => {
            let own = host.by_name(device);
            let has_one = own.is_some_and(|own| {
                let mut ips = own.addrs().iter().map(InterfaceAddr::ip);
                own.is_loopback() || ips.any(|ip| ip.is_loopback())
            });
            // What goes by a name that is not listed may be the loopback interface.
            has_one || own.is_none()
        }
        BindTarget::Local(local) => {
            !host.is_loopback(device) || local.interfaces().any(|own| own.name() == device)
        }
        BindTarget::Any(_) | BindTarget::Foreign(_) => true,
    }
}
