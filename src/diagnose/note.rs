//! What is odd about a socket that was opened: [`Note`].

use std::fmt;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use super::System;
use crate::interfaces::Interfaces;
use crate::netlink;
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
    /// No interface of the host has the address.
    #[non_exhaustive]
    NotListed {
        /// The address.
        addr: ForeignAddr,
        /// Why it can be bound.
        why: WhyBound,
    },
    /// The loopback interface is down, so that nobody can connect to the address.
    #[non_exhaustive]
    LoopbackDown {
        /// The address.
        ip: IpAddr,
    },
    /// No interface of the network namespace ever had an IPv4 address, for the loopback interface
    /// has its own from when it is up: there is no IPv4 routing table yet, every IPv4 address can be
    /// bound, and nobody can connect over IPv4.
    NoIpv4Yet,
}

/// Why an address [can be bound](Note::NotListed) that no interface has.
///
/// # Examples
///
/// ```
/// use bindaddr::{Note, WhyBound};
///
/// /// Whether clients can connect although no interface has the address.
/// fn is_reachable(note: &Note) -> bool {
///     matches!(note, Note::NotListed { why: WhyBound::LocalRoute, .. })
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhyBound {
    /// A local route covers it (`ip route add local`, ip-route(8)); clients can connect.
    LocalRoute,
    /// The option [`freebind`](crate::BindOptions::freebind) was set; nobody can connect until
    /// an interface has the address.
    Freebind,
    /// `net.ipv4.ip_nonlocal_bind` or its like of IPv6 is set (ip-sysctl); nobody can connect
    /// until an interface has the address.
    NonLocalBind,
    /// Nothing tells.
    Unknown,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (addr, why) = match self {
            Self::NotListed { addr, why } => (addr.ip(), why),
            Self::LoopbackDown { ip } => {
                return write!(
                    f,
                    "the loopback interface is down, so nobody can connect to {ip}"
                );
            }
            Self::NoIpv4Yet => {
                return f.write_str(
                    "no interface of this network namespace ever had an IPv4 address, so nobody can connect",
                );
            }
        };
        write!(f, "no interface of this host has {addr}; ")?;
        let family = if addr.is_ipv4() { "ipv4" } else { "ipv6" };
        match why {
            WhyBound::LocalRoute => f.write_str("a local route makes it bindable and reachable"),
            WhyBound::Freebind => f.write_str(
                "the option `freebind` makes it bindable, and nobody can connect until one has it",
            ),
            WhyBound::NonLocalBind => write!(
                f,
                "`net.{family}.ip_nonlocal_bind` makes it bindable, and nobody can connect until one has it"
            ),
            WhyBound::Unknown => f.write_str("nothing tells why it can be bound"),
        }
    }
}

/// What the host says of an address that can be bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    pub(super) interfaces: Option<Interfaces>,
    pub(super) is_local_by_route: bool,
    pub(super) is_nonlocal_bind: bool,
    /// Whether there is no IPv4 routing table.
    pub(super) has_no_table: bool,
}

impl Surroundings {
    pub(super) fn read(ip: IpAddr, host: Option<&Interfaces>) -> Self {
        let interfaces = host.cloned().or_else(|| Interfaces::system().ok());
        // What an interface has needs no other reason.
        let is_listed = interfaces.as_ref().is_some_and(|host| host.has(ip));
        if is_listed || System::HERE != System::Linux {
            return Self {
                interfaces,
                ..Self::default()
            };
        }
        let has_no_table = ip.is_ipv4() && is_empty("/proc/thread-self/net/fib_trie");
        if ip.is_unspecified() || ip.is_loopback() {
            return Self {
                interfaces,
                has_no_table,
                ..Self::default()
            };
        }
        let question = netlink::route_question(ip);
        let is_local = netlink::ask_one(&question, netlink::is_local_route);
        let family = if ip.is_ipv4() { "ipv4" } else { "ipv6" };
        let nonlocal = fs::read_to_string(format!("/proc/sys/net/{family}/ip_nonlocal_bind"));
        Self {
            interfaces,
            is_local_by_route: is_local == Some(true),
            is_nonlocal_bind: nonlocal.is_ok_and(|text| text.trim() == "1"),
            has_no_table,
        }
    }
}

/// Tells whether a file has not a single byte.
fn is_empty(path: &str) -> bool {
    let read = |mut file: fs::File| file.read(&mut [0]);
    fs::File::open(path)
        .and_then(read)
        .is_ok_and(|len| len == 0)
}

/// Looks at the host and notes what is odd about `addr`, which can be bound.
pub(crate) fn notes(
    addr: SocketAddr,
    protocol: Protocol,
    freebind: bool,
    host: Option<&Interfaces>,
) -> Vec<Note> {
    let around = Surroundings::read(addr.ip().to_canonical(), host);
    notes_on(addr, protocol, freebind, &around)
}

pub(super) fn notes_on(
    addr: SocketAddr,
    protocol: Protocol,
    freebind: bool,
    around: &Surroundings,
) -> Vec<Note> {
    if around.has_no_table {
        return vec![Note::NoIpv4Yet];
    }
    let Some(host) = &around.interfaces else {
        return Vec::new();
    };
    match BindTarget::classify_socket(addr, host) {
        BindTarget::Any(_) | BindTarget::Local(_) => Vec::new(),
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
            let why = match around {
                _ if around.is_local_by_route => WhyBound::LocalRoute,
                _ if freebind => WhyBound::Freebind,
                _ if around.is_nonlocal_bind => WhyBound::NonLocalBind,
                _ => WhyBound::Unknown,
            };
            vec![Note::NotListed { addr: foreign, why }]
        }
    }
}
