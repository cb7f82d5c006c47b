//! A socket that can be opened and is probably not what was meant: [`Warning`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::Holder;
use crate::addr::{Family, shown};
use crate::target::ForeignAddr;

/// A valid setting that is probably unintended, or an address that no client can connect to.
///
/// Each kind has a [name](Self::name), so that an operator can allow it.
///
/// The [`Display`](fmt::Display) form is the address of the socket and a sentence.
///
/// # Platform notes
///
/// Only Linux and Android bind what no interface has. Containers and routed loopback addresses are
/// found on Linux.
///
/// # Examples
///
/// ```
/// use bindaddr::Interfaces;
///
/// let allowed = ["published-port", "container-loopback"];
/// let listeners = bindaddr::bind("127.0.0.1:0")?;
/// for warning in listeners.warnings(&Interfaces::system()?) {
///     if !allowed.contains(&warning.name()) {
///         eprintln!("warning: {warning} [{}]", warning.name());
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use bindaddr::diagnosis::{BindableReason, WarningKind};
/// use bindaddr::{BindOptions, Interfaces};
///
/// // TEST-NET-2 (RFC 5737), which no host has.
/// let listeners = BindOptions::new().freebind(true).bind("198.51.100.1:0")?;
/// let warnings = listeners.warnings(&Interfaces::system()?);
/// let reason = BindableReason::Freebind;
/// assert!(matches!(warnings[0].kind(), WarningKind::NotListed { why, .. } if *why == reason));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    addr: SocketAddr,
    kind: WarningKind,
}

impl Warning {
    pub(crate) fn new(addr: SocketAddr, kind: WarningKind) -> Self {
        Self { addr, kind }
    }

    /// Returns the address of the socket.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns what the warning is about.
    #[must_use]
    pub fn kind(&self) -> &WarningKind {
        &self.kind
    }

    pub(crate) fn into_kind(self) -> WarningKind {
        self.kind
    }

    /// Returns the name of the kind, by which it can be allowed, for example `global-address`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.addr, self.kind)
    }
}

/// The subject of a [`Warning`].
///
/// The [`Display`](fmt::Display) form is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WarningKind {
    /// No interface of the host has the address, or not the one of its zone.
    #[non_exhaustive]
    NotListed {
        /// The address.
        addr: ForeignAddr,
        /// Why it can be bound.
        why: BindableReason,
        /// Whether a local route brings clients to it (`ip route add local`, ip-route(8)), for
        /// example the one that makes it bindable; without one no client can connect until an
        /// interface has the address. `None` where the route cannot be read.
        is_routed: Option<bool>,
    },
    /// The loopback interface is down, so that no client can connect to the address.
    #[non_exhaustive]
    LoopbackDown {
        /// The address.
        ip: IpAddr,
    },
    /// The socket is bound to an interface ([`device`](crate::BindOptions::device)) through which
    /// no client can connect to the address: to 127.0.0.1 only this host does, through its loopback
    /// interface, unless loopback addresses are [routed](Self::RoutedLoopback), and through that
    /// interface to none of another one.
    #[non_exhaustive]
    NotThroughDevice {
        /// The address.
        ip: IpAddr,
        /// The name of the interface.
        device: String,
    },
    /// The interface is a port of a bridge, a bond or a team, which receives its packets, so that
    /// no client can connect through it: by its addresses, or to a socket that is bound to it.
    #[non_exhaustive]
    PortOfSwitch {
        /// The name of the interface.
        interface: String,
        /// The name of the bridge, the bond or the team.
        master: String,
    },
    /// No interface of the network namespace has an address of the families of the socket, so that
    /// no client can connect. Where none ever had an IPv4 address, for example before the loopback
    /// interface is up, no routing table exists yet, and every IPv4 address can be bound.
    #[non_exhaustive]
    NoAddress {
        /// The family; `None` for both, which a dual-stack socket has.
        family: Option<Family>,
    },
    /// The interface of the IPv6 address went down and took its local route along, which does not
    /// come back with the address alone, so that no client can connect.
    #[non_exhaustive]
    NoLocalRoute {
        /// The address.
        ip: IpAddr,
    },
    /// The socket was handed over and belongs to another network namespace than this process, or
    /// may: clients of that namespace connect, and the interfaces here say nothing about it.
    #[non_exhaustive]
    OtherNamespace {
        /// Whether that is known: without netlink and procfs it is not.
        is_certain: bool,
    },
    /// A UDP socket that shares its port was checked while another socket has it, and was not
    /// bound, because it would get the datagrams of that one.
    SharingUnknown,
    /// Another socket listens on the other address that `localhost` is, 127.0.0.1 or `::1`.
    OtherLoopback(Holder),
    /// Another process listens on the same address, by `SO_REUSEPORT`, and the kernel gives it some
    /// of the clients.
    SharedPort(Holder),
    /// The server listens on loopback addresses only, and runs in a container, whose loopback is
    /// its own.
    ContainerLoopback(Container),
    /// The server runs in a container, which may publish the port.
    PublishedPort(Container),
    /// The wildcard is one of a family in which this host has no address that other networks can
    /// reach, and it has one in the other family.
    #[non_exhaustive]
    OtherFamily {
        /// The family in which it has one.
        family: Family,
    },
    /// This is WSL2, which is behind the address translation of Windows unless its network is
    /// mirrored.
    Wsl,
    /// Clients of the internet may connect by the address, or by an address that the wildcard
    /// includes.
    #[non_exhaustive]
    GlobalAddress {
        /// The first address.
        ip: IpAddr,
        /// The name of its interface.
        interface: String,
        /// How many more addresses there are.
        more: usize,
    },
    /// The address is one of the loopback interface and not a loopback address: Linux accepts
    /// clients of other hosts.
    #[non_exhaustive]
    LoopbackInterface {
        /// The address.
        ip: IpAddr,
        /// The name of the interface.
        interface: String,
    },
    /// The interface of the address is down or has no carrier.
    #[non_exhaustive]
    InterfaceDown {
        /// The address.
        ip: IpAddr,
        /// The name of the interface.
        interface: String,
    },
    /// The address is temporary (RFC 8981), and is given up after hours or days.
    #[non_exhaustive]
    TemporaryAddress {
        /// The address.
        ip: IpAddr,
        /// The name of the interface.
        interface: String,
    },
    /// The kernel accepts packets to loopback addresses from other hosts (`route_localnet`,
    /// ip-sysctl).
    #[non_exhaustive]
    RoutedLoopback {
        /// The `*` of the `net.ipv4.conf.*.route_localnet` that is set.
        interface: String,
    },
    /// The address is a loopback address that `/etc/hosts` has for the name of this host, as Debian
    /// sets it up, so that a server that listens on the name of its host listens on a loopback
    /// address.
    #[non_exhaustive]
    OwnHostName {
        /// The address.
        ip: IpAddr,
        /// The name of this host.
        name: String,
    },
}

impl WarningKind {
    /// The names of all kinds, for a list of what is allowed.
    pub const NAMES: &[&str] = &[
        "not-listed",
        "loopback-down",
        "not-through-device",
        "port-of-switch",
        "no-address",
        "no-local-route",
        "other-namespace",
        "sharing-unknown",
        "other-loopback",
        "shared-port",
        "container-loopback",
        "published-port",
        "other-family",
        "wsl",
        "global-address",
        "loopback-interface",
        "interface-down",
        "temporary-address",
        "routed-loopback",
        "own-host-name",
    ];

    /// Returns the name of the kind, for logs and for lists of what is allowed.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotListed { .. } => "not-listed",
            Self::LoopbackDown { .. } => "loopback-down",
            Self::NotThroughDevice { .. } => "not-through-device",
            Self::PortOfSwitch { .. } => "port-of-switch",
            Self::NoAddress { .. } => "no-address",
            Self::NoLocalRoute { .. } => "no-local-route",
            Self::OtherNamespace { .. } => "other-namespace",
            Self::SharingUnknown => "sharing-unknown",
            Self::OtherLoopback(_) => "other-loopback",
            Self::SharedPort(_) => "shared-port",
            Self::ContainerLoopback(_) => "container-loopback",
            Self::PublishedPort(_) => "published-port",
            Self::OtherFamily { .. } => "other-family",
            Self::Wsl => "wsl",
            Self::GlobalAddress { .. } => "global-address",
            Self::LoopbackInterface { .. } => "loopback-interface",
            Self::InterfaceDown { .. } => "interface-down",
            Self::TemporaryAddress { .. } => "temporary-address",
            Self::RoutedLoopback { .. } => "routed-loopback",
            Self::OwnHostName { .. } => "own-host-name",
        }
    }
}

/// Why an address [can be bound](WarningKind::NotListed) that no interface has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BindableReason {
    /// A route of the table `local` covers it, which is all that Linux requires of an IPv4 address.
    LocalRoute,
    /// The option [`freebind`](crate::BindOptions::freebind) was set.
    Freebind,
    /// `net.ipv4.ip_nonlocal_bind` or `net.ipv6.ip_nonlocal_bind` is set (ip-sysctl).
    NonLocalBind,
    /// It is the broadcast address of a subnet, which Linux binds.
    Broadcast,
    /// The reason could not be found.
    Unknown,
}

/// The signs that a process runs in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub(crate) ends_elsewhere: bool,
    pub(crate) marker: Option<&'static str>,
    pub(crate) pod: bool,
    pub(crate) system: bool,
}

impl Container {
    /// Returns `true` if it is one of a Kubernetes pod, whose containers share their network
    /// namespace.
    #[must_use]
    pub fn is_pod(&self) -> bool {
        self.pod
    }

    /// Returns `true` if it is like a host of its own, as those of LXC and systemd-nspawn, whose
    /// ports are not published.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.system
    }

    /// Returns `true` if every interface to the outside is one end of a link whose other end is in
    /// another network namespace, as that of a container is.
    #[must_use]
    pub fn ends_elsewhere(&self) -> bool {
        self.ends_elsewhere
    }

    /// Returns the file or the environment variable that the container's engine has left.
    #[must_use]
    pub fn marker(&self) -> Option<&'static str> {
        self.marker
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ends_elsewhere {
            "its interfaces lead to another network namespace"
        } else {
            "its interfaces are tun devices"
        })?;
        match self.marker {
            Some(marker) => write!(f, ", and `{marker}` is set"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for WarningKind {
    #[allow(clippy::too_many_lines)] // one arm a kind
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListed {
                addr,
                why,
                is_routed,
            } => write_not_listed(f, addr, *why, *is_routed),
            Self::LoopbackDown { ip } => write!(
                f,
                "the loopback interface is down, so no client can connect to {ip}"
            ),
            Self::NotThroughDevice { ip, device } => write!(
                f,
                "the socket is bound to `{}`, through which no client can connect to {ip}",
                shown(device)
            ),
            Self::PortOfSwitch { interface, master } => write!(
                f,
                "{interface} is a port of {master}, which receives its packets, so no client can connect through \
                 {interface}; listen on {master}",
                interface = shown(interface),
                master = shown(master)
            ),
            Self::NoAddress { family: None } => f.write_str(
                "no interface of this network namespace has an address, so no client can connect",
            ),
            Self::NoAddress {
                family: Some(family),
            } => write!(
                f,
                "no interface of this network namespace has an {family} address, so no client can connect over {family}"
            ),
            Self::NoLocalRoute { ip } => write!(
                f,
                "{ip} has no local route, so no client can connect; remove the address and add it again"
            ),
            Self::OtherNamespace { is_certain: true } => f.write_str(
                "the inherited socket is in another network namespace, so only clients that reach that namespace can connect",
            ),
            Self::OtherNamespace { is_certain: false } => f.write_str(
                "whether the inherited socket belongs to this network namespace is unknown",
            ),
            Self::SharingUnknown => f.write_str(
                "another socket has the port; whether it shares the port (SO_REUSEPORT) is unknown, so binding may fail",
            ),
            Self::OtherLoopback(holder) => write!(
                f,
                "{holder}, so clients that connect to `localhost` may reach it instead of this server"
            ),
            Self::SharedPort(holder) => write!(
                f,
                "{holder} as well, by SO_REUSEPORT, and gets some of the clients"
            ),
            Self::ContainerLoopback(container) if container.is_pod() => write!(
                f,
                "only containers of this pod can connect ({container}); listen on `*` to let probes and Services \
                 connect, which opens the port to the pod network"
            ),
            Self::ContainerLoopback(container) if container.is_system() => write!(
                f,
                "only this container can connect, not its host ({container}); listen on `*`, or on one of its addresses, \
                 to let others connect"
            ),
            Self::ContainerLoopback(container) => write!(
                f,
                "only this container can connect, not its host ({container}); listen on `*` and publish the port to \
                 127.0.0.1 on the host"
            ),
            Self::PublishedPort(container) => write!(
                f,
                "running in a container ({container}); if this port is published, it may be open on every address of \
                 the host and bypass its firewall; publish it to 127.0.0.1 to keep it local"
            ),
            Self::OtherFamily { family } => {
                let own = match family {
                    Family::Ipv4 => Family::Ipv6,
                    Family::Ipv6 => Family::Ipv4,
                };
                write!(
                    f,
                    "no interface has an {own} address that other networks can reach, and this host has {family} ones; \
                     listen on `*` to let other hosts connect"
                )
            }
            Self::Wsl => f.write_str(
                "this is WSL2, where other hosts reach Windows and not this address, unless `networkingMode=mirrored` is set",
            ),
            Self::GlobalAddress {
                ip,
                interface,
                more,
            } => {
                let others = match more {
                    0 => String::new(),
                    1 => ", as is 1 other".to_owned(),
                    more => format!(", as are {more} others"),
                };
                write!(
                    f,
                    "{ip} on {} is a global address{others}, so clients on the internet can connect unless a firewall \
                     blocks them",
                    shown(interface)
                )
            }
            Self::LoopbackInterface { ip, interface } => write!(
                f,
                "other hosts can connect to {ip}, although it is on the loopback interface {}; only 127.0.0.0/8 and ::1 \
                 are limited to this host",
                shown(interface)
            ),
            Self::InterfaceDown { interface, .. } => write!(
                f,
                "{} is down or has no carrier, so only clients that reach this host through another interface can \
                 connect",
                shown(interface)
            ),
            Self::TemporaryAddress { ip, interface } => write!(
                f,
                "{ip} is a temporary address of {}, which expires after hours or days",
                shown(interface)
            ),
            Self::OwnHostName { ip, name } => write!(
                f,
                "/etc/hosts maps `{}`, the name of this host, to the loopback address {ip}",
                shown(name)
            ),
            Self::RoutedLoopback { interface } => write!(
                f,
                "`net.ipv4.conf.{}.route_localnet` is set, so other hosts may reach loopback addresses; set it to 0, or block \
                 127.0.0.0/8 from outside",
                shown(interface)
            ),
        }
    }
}

fn write_not_listed(
    f: &mut fmt::Formatter<'_>,
    addr: &ForeignAddr,
    why: BindableReason,
    is_routed: Option<bool>,
) -> fmt::Result {
    let ip = addr.ip();
    match addr.scope_id() {
        None => write!(f, "no interface of this host has {ip}; ")?,
        Some(_) => write!(f, "the interface of its zone does not have {ip}; ")?,
    }
    match why {
        BindableReason::LocalRoute => {
            return f.write_str("a local route makes it bindable and reachable");
        }
        BindableReason::Broadcast => {
            return f.write_str("it is a broadcast address, to which no TCP client can connect");
        }
        BindableReason::Freebind => f.write_str("it was bound with IP_FREEBIND")?,
        BindableReason::NonLocalBind => {
            let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
            write!(f, "`net.{family}.ip_nonlocal_bind` makes it bindable")?;
        }
        BindableReason::Unknown => f.write_str("it can be bound for an unknown reason")?,
    }
    f.write_str(match is_routed {
        Some(true) => ", and a local route makes it reachable",
        Some(false) => {
            ", and no client can connect until an interface has it or a local route covers it"
        }
        None => ", and whether a local route makes it reachable is unknown",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::Interfaces;
    use crate::target::BindTarget;

    #[test]
    fn warning_names_cover_all_kinds() {
        let (_, of_kinds) = include_str!("warning.rs")
            .split_once("pub fn name(&self) -> &'static str {\n        match self")
            .expect("it matches");
        let (of_kinds, _) = of_kinds.split_once("\n        }\n").expect("it ends");
        let names = of_kinds.split('"').skip(1).step_by(2);
        assert_eq!(names.collect::<Vec<_>>(), WarningKind::NAMES);
    }

    #[test]
    fn rare_warnings_have_sentences() {
        let ip: IpAddr = [10, 9, 9, 9].into();
        let BindTarget::Foreign(foreign) = BindTarget::classify(ip, &Interfaces::default()) else {
            panic!("no interface has it");
        };
        let not_listed = |why, is_routed| WarningKind::NotListed {
            addr: foreign.clone(),
            why,
            is_routed,
        };
        for (kind, sentence) in [
            (
                not_listed(BindableReason::Unknown, None),
                "no interface of this host has 10.9.9.9; it can be bound for an unknown reason, and whether a local route makes it reachable is unknown",
            ),
            (
                not_listed(BindableReason::Freebind, Some(true)),
                "no interface of this host has 10.9.9.9; it was bound with IP_FREEBIND, and a local route makes it reachable",
            ),
            (
                not_listed(BindableReason::NonLocalBind, Some(false)),
                "no interface of this host has 10.9.9.9; `net.ipv4.ip_nonlocal_bind` makes it bindable, and no client can connect until an interface has it or a local route covers it",
            ),
            (
                WarningKind::OtherNamespace { is_certain: true },
                "the inherited socket is in another network namespace, so only clients that reach that namespace can connect",
            ),
            (
                WarningKind::OtherNamespace { is_certain: false },
                "whether the inherited socket belongs to this network namespace is unknown",
            ),
            (
                WarningKind::SharingUnknown,
                "another socket has the port; whether it shares the port (SO_REUSEPORT) is unknown, so binding may fail",
            ),
        ] {
            assert_eq!(kind.to_string(), sentence);
        }
    }
}
