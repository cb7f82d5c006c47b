//! What an operator may not expect of a server that listens: [`Lints`] and [`Finding`].

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{Exposure, OpenSocket};
use crate::interfaces::{Interface, InterfaceAddr, Interfaces};
use crate::listen::Family;
use crate::sys::{self, Link, LinkKind};
use crate::target::{BindTarget, LocalAddr};

/// Something that an operator may not expect of a server that listens.
///
/// None of it is an error; each can be [turned off](Lints::without).
///
/// # Examples
///
/// ```
/// use bindaddr::Lint;
///
/// assert_eq!(Lint::GlobalAddress.to_string(), "global-address");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Lint {
    /// All sockets are open to this host only, in a network namespace as a container has it: not even the host of the
    /// container can connect, and in a Kubernetes pod its other containers can.
    ContainerLoopback,
    /// The server is in a container, so that the ports which are published decide which clients connect:
    /// Docker opens them on every address of the host, past its firewall, unless told otherwise.
    PublishedPort,
    /// The host has an address of the kind that is routed on the internet ([`Exposure::Global`]), and the
    /// socket takes it.
    GlobalAddress,
    /// The address is on the loopback interface, which does not keep other hosts out:
    /// only 127.0.0.0/8 and `::1` are this host's alone.
    LoopbackInterface,
    /// The interface that has the address is down or has no carrier.
    InterfaceDown,
    /// The address is a temporary one (RFC 8981), which will go away.
    TemporaryAddress,
    /// The kernel lets packets to 127.0.0.0/8 in from other hosts (`route_localnet`, ip-sysctl).
    RoutedLoopback,
}

impl fmt::Display for Lint {
    /// Writes the name of the lint, as in `global-address`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContainerLoopback => "container-loopback",
            Self::PublishedPort => "published-port",
            Self::GlobalAddress => "global-address",
            Self::LoopbackInterface => "loopback-interface",
            Self::InterfaceDown => "interface-down",
            Self::TemporaryAddress => "temporary-address",
            Self::RoutedLoopback => "routed-loopback",
        })
    }
}

/// Which [`Lint`]s to look for: all, less those that are turned off.
///
/// # Platform notes
///
/// What is read besides the snapshot, for [`Lint::ContainerLoopback`], [`Lint::PublishedPort`] and
/// [`Lint::RoutedLoopback`], is read on Linux. Elsewhere these find nothing.
///
/// # Examples
///
/// ```
/// use bindaddr::{Interfaces, Lint, Lints};
///
/// let listeners = bindaddr::bind("localhost:0")?;
/// let lints = Lints::new().without(Lint::ContainerLoopback);
/// for finding in listeners.lint(&lints, &Interfaces::system()?) {
///     eprintln!("warning: {finding}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Lints {
    off: Vec<Lint>,
}

impl Lints {
    /// Returns all lints.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interfaces, Lints};
    ///
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// for finding in listeners.lint(&Lints::new(), &Interfaces::system()?) {
    ///     eprintln!("warning: {finding}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Turns a lint off.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Lint, Lints};
    ///
    /// let lints = Lints::new().without(Lint::GlobalAddress);
    /// # let _ = lints;
    /// ```
    #[must_use]
    pub fn without(mut self, lint: Lint) -> Self {
        self.off.push(lint);
        self
    }

    fn has(&self, lint: Lint) -> bool {
        !self.off.contains(&lint)
    }
}

/// What a [`Lint`] found: a socket, and the evidence.
///
/// The [`Display`](fmt::Display) form is a sentence with the evidence.
///
/// # Examples
///
/// ```
/// use bindaddr::{Interfaces, Lint, Lints};
///
/// let listeners = bindaddr::bind("127.0.0.1:0")?;
/// let findings = listeners.lint(&Lints::new(), &Interfaces::system()?);
/// assert!(findings.iter().all(|finding| finding.lint() != Lint::GlobalAddress));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    lint: Lint,
    addr: SocketAddr,
    ip: Option<IpAddr>,
    more: usize,
    interface: Option<String>,
    container: Option<Container>,
}

impl Finding {
    /// Returns what was found.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interface, Interfaces, Lint, Lints};
    ///
    /// let host: Interfaces = [Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
    ///     Interface::new("eth0", 2).with_addr("8.8.8.8".parse()?, 24)].into_iter().collect();
    /// let listeners = bindaddr::bind("0.0.0.0:0")?;
    /// let findings = listeners.lint(&Lints::new(), &host);
    /// let finding = findings.iter().find(|finding| finding.lint() == Lint::GlobalAddress);
    /// let finding = finding.expect("8.8.8.8 is such an address");
    /// assert_eq!(finding.lint().to_string(), "global-address");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn lint(&self) -> Lint {
        self.lint
    }

    /// Returns the address of the socket.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interface, Interfaces, Lint, Lints};
    ///
    /// let host: Interfaces = [Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
    ///     Interface::new("eth0", 2).with_addr("8.8.8.8".parse()?, 24)].into_iter().collect();
    /// let listeners = bindaddr::bind("0.0.0.0:0")?;
    /// let findings = listeners.lint(&Lints::new(), &host);
    /// let finding = findings.iter().find(|finding| finding.lint() == Lint::GlobalAddress);
    /// let finding = finding.expect("8.8.8.8 is such an address");
    /// assert_eq!(finding.addr(), listeners.as_slice()[0].local_addr());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address of the host that it is about; of several, the first.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interface, Interfaces, Lint, Lints};
    ///
    /// let host: Interfaces = [Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
    ///     Interface::new("eth0", 2).with_addr("8.8.8.8".parse()?, 24)].into_iter().collect();
    /// let listeners = bindaddr::bind("0.0.0.0:0")?;
    /// let findings = listeners.lint(&Lints::new(), &host);
    /// let finding = findings.iter().find(|finding| finding.lint() == Lint::GlobalAddress);
    /// let finding = finding.expect("8.8.8.8 is such an address");
    /// assert_eq!(finding.ip(), Some("8.8.8.8".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Returns the interface that it is about.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interface, Interfaces, Lint, Lints};
    ///
    /// let host: Interfaces = [Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
    ///     Interface::new("eth0", 2).with_addr("8.8.8.8".parse()?, 24)].into_iter().collect();
    /// let listeners = bindaddr::bind("0.0.0.0:0")?;
    /// let findings = listeners.lint(&Lints::new(), &host);
    /// let finding = findings.iter().find(|finding| finding.lint() == Lint::GlobalAddress);
    /// let finding = finding.expect("8.8.8.8 is such an address");
    /// assert_eq!(finding.interface(), Some("eth0"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Returns what tells that this is a container.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interface, Interfaces, Lint, Lints};
    ///
    /// let host: Interfaces = [Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
    ///     Interface::new("eth0", 2).with_addr("8.8.8.8".parse()?, 24)].into_iter().collect();
    /// let listeners = bindaddr::bind("0.0.0.0:0")?;
    /// let findings = listeners.lint(&Lints::new(), &host);
    /// let finding = findings.iter().find(|finding| finding.lint() == Lint::GlobalAddress);
    /// let finding = finding.expect("8.8.8.8 is such an address");
    /// assert!(finding.container().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn container(&self) -> Option<&Container> {
        self.container.as_ref()
    }
}

/// What tells that a process is in a container.
///
/// # Examples
///
/// ```
/// use bindaddr::Finding;
///
/// fn is_docker(finding: &Finding) -> bool {
///     finding.container().and_then(|container| container.marker()) == Some("/.dockerenv")
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub(super) ends_elsewhere: bool,
    pub(super) marker: Option<&'static str>,
    pub(super) pod: bool,
}

impl Container {
    /// Returns `true` if it is one of a Kubernetes pod, whose containers share their network namespace.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Container, Finding};
    ///
    /// fn is_in_pod(finding: &Finding) -> bool {
    ///     finding.container().is_some_and(Container::is_pod)
    /// }
    /// ```
    #[must_use]
    pub fn is_pod(&self) -> bool {
        self.pod
    }

    /// Tells whether every interface to the outside is one end of a link whose other end is in
    /// another network namespace, as that of a container is.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interfaces, Lints};
    ///
    /// let listeners = bindaddr::bind("localhost:0")?;
    /// for finding in listeners.lint(&Lints::new(), &Interfaces::system()?) {
    ///     if let Some(container) = finding.container() {
    ///         println!("{}", container.ends_elsewhere());
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn ends_elsewhere(&self) -> bool {
        self.ends_elsewhere
    }

    /// Returns the file or the environment variable that the container's engine has left.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interfaces, Lints};
    ///
    /// let listeners = bindaddr::bind("localhost:0")?;
    /// for finding in listeners.lint(&Lints::new(), &Interfaces::system()?) {
    ///     if let Some(container) = finding.container() {
    ///         println!("{:?} says that it is one", container.marker());
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn marker(&self) -> Option<&'static str> {
        self.marker
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ends_elsewhere, self.marker) {
            (true, None) => f.write_str("the other ends of its interfaces are elsewhere"),
            (true, Some(marker)) => write!(
                f,
                "the other ends of its interfaces are elsewhere, and there is `{marker}`"
            ),
            (false, marker) => write!(
                f,
                "a process is behind its interfaces, and there is `{}`",
                marker.unwrap_or_default()
            ),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.addr)?;
        let interface = self.interface.as_deref().unwrap_or_default().escape_debug();
        let is_pod = self.container.as_ref().is_some_and(Container::is_pod);
        let container = self.container.as_ref();
        let container = container.map_or_else(String::new, ToString::to_string);
        match self.lint {
            Lint::ContainerLoopback if is_pod => write!(
                f,
                "only the containers of this pod can connect ({container}); probes and Services connect to an \
                 address of the pod; `*` accepts them, and opens the port to the pod network"
            ),
            Lint::ContainerLoopback => write!(
                f,
                "only processes in this container's network namespace can connect, its host cannot ({container}); \
                 listen on `*` and publish the port to 127.0.0.1 of the host"
            ),
            Lint::PublishedPort => write!(
                f,
                "this is a container ({container}): a port that it publishes is open on every \
                 address of the host, past its firewall, unless it is published to 127.0.0.1"
            ),
            Lint::GlobalAddress => {
                if let Some(ip) = self.ip {
                    write!(f, "{ip} of {interface} is exposed to the internet")?;
                }
                match self.more {
                    0 => Ok(()),
                    1 => f.write_str(", and so is 1 more"),
                    more => write!(f, ", and so are {more} more"),
                }
            }
            Lint::LoopbackInterface => write!(
                f,
                "it is an address of {interface}, and other hosts get in all the same; only \
                 127.0.0.0/8 and ::1 keep them out"
            ),
            Lint::InterfaceDown => write!(
                f,
                "{interface} is down or has no carrier; who does not reach this host by another \
                 interface cannot connect"
            ),
            Lint::TemporaryAddress => write!(
                f,
                "it is a temporary address of {interface}, which is given up after hours or days"
            ),
            Lint::RoutedLoopback => write!(
                f,
                "`net.ipv4.conf.{interface}.route_localnet` is set, so other hosts can get in"
            ),
        }
    }
}

/// What is read besides the snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(super) container: Option<Container>,
    /// The `*` of a `net.ipv4.conf.*.route_localnet` that is set.
    pub(super) routed_loopback: Option<String>,
}

impl Surroundings {
    /// Reads what the lints call for.
    pub(crate) fn read(lints: &Lints, sockets: &[OpenSocket], host: &Interfaces) -> Self {
        if !cfg!(target_os = "linux") {
            return Self::default();
        }
        let about_container = lints.has(Lint::ContainerLoopback) || lints.has(Lint::PublishedPort);
        let about_loopback =
            lints.has(Lint::RoutedLoopback) && sockets.iter().any(OpenSocket::is_ipv4_loopback);
        Self {
            container: about_container
                .then(|| {
                    let links = sys::links().ok()?;
                    container(host, &links, sys::container_marker(), sys::is_pod())
                })
                .flatten(),
            routed_loopback: about_loopback.then(|| routed_loopback(host)).flatten(),
        }
    }
}

impl OpenSocket {
    fn is_ipv4_loopback(&self) -> bool {
        self.target.is_loopback() && self.addr.is_ipv4()
    }

    fn exposure(&self, host: &Interfaces) -> Exposure {
        self.target.exposure_on_device(self.device.as_deref(), host)
    }
}

/// Returns the `*` of a `net.ipv4.conf.*.route_localnet` that is known to be set.
fn routed_loopback(host: &Interfaces) -> Option<String> {
    sys::routed_loopback(|name| host.is_loopback(name)).ok()?
}

/// Decides whether this network namespace is like that of a container.
pub(super) fn container(
    host: &Interfaces,
    links: &HashMap<u32, Link>,
    marker: Option<&'static str>,
    pod: bool,
) -> Option<Container> {
    let is_outward = |interface: &&Interface| {
        let mut ips = interface.addrs().iter().map(InterfaceAddr::ip);
        !interface.is_loopback() && ips.any(|ip| Exposure::of(ip) > Exposure::Link)
    };
    let outward: Option<Vec<&Link>> = host
        .iter()
        .filter(is_outward)
        .map(|interface| links.get(&interface.index()?))
        .collect();
    let outward = outward.filter(|links| !links.is_empty())?;
    let ends_elsewhere = outward.iter().all(|link| link.ends_elsewhere);
    // An engine without privilege has a process behind it. A container may have the host's own
    // network, too, where loopback is that of the host.
    let is_tun = outward.iter().all(|link| link.kind == LinkKind::Tun);
    (ends_elsewhere || (is_tun && marker.is_some())).then_some(Container {
        ends_elsewhere,
        marker,
        pod,
    })
}

/// Looks for the lints in what the sockets of a server are open to.
pub(crate) fn find(
    lints: &Lints,
    sockets: &[OpenSocket],
    host: &Interfaces,
    around: &Surroundings,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |finding: Finding| {
        if lints.has(finding.lint) {
            findings.push(finding);
        }
    };
    let is_only_here = |socket: &OpenSocket| socket.exposure(host) == Exposure::ThisHost;
    let are_only_here = sockets.iter().all(is_only_here);
    let mut container = around.container.as_ref();
    for socket in sockets {
        let found = |lint| Finding {
            lint,
            addr: socket.addr,
            ip: None,
            more: 0,
            interface: None,
            container: None,
        };
        let lint = match (are_only_here, is_only_here(socket)) {
            (true, _) => Some(Lint::ContainerLoopback),
            (false, true) => None,
            // A pod publishes by Services, which other rules hold for.
            (false, false) if container.is_some_and(Container::is_pod) => None,
            (false, false) => Some(Lint::PublishedPort),
        };
        // It is the same for all sockets.
        if let Some((lint, container)) = lint.and_then(|lint| Some((lint, container.take()?))) {
            add(Finding {
                container: Some(container.clone()),
                ..found(lint)
            });
        }
        // Through the loopback interface no other host gets in.
        let device = socket.device.as_deref();
        if device.is_some_and(|device| host.is_loopback(device)) {
            continue;
        }
        match &socket.target {
            BindTarget::Any(wildcard) if socket.exposure(host) == Exposure::Global => {
                let mut global = host.addrs().filter(|(_, addr)| {
                    wildcard.takes(Family::of(addr.ip()))
                        && Exposure::of(addr.ip()) == Exposure::Global
                });
                if let Some((interface, addr)) = global.next() {
                    add(Finding {
                        ip: Some(addr.ip()),
                        more: global.count(),
                        interface: Some(interface.name().to_owned()),
                        ..found(Lint::GlobalAddress)
                    });
                }
            }
            BindTarget::Local(local) => {
                for (lint, interface) in of_local(local) {
                    add(Finding {
                        ip: Some(local.ip()),
                        interface: Some(interface.name().to_owned()),
                        ..found(lint)
                    });
                }
            }
            BindTarget::Loopback(_) if socket.addr.is_ipv4() => {
                if let Some(name) = &around.routed_loopback {
                    add(Finding {
                        interface: Some(name.clone()),
                        ..found(Lint::RoutedLoopback)
                    });
                }
            }
            BindTarget::Any(_) | BindTarget::Loopback(_) | BindTarget::Foreign(_) => {}
        }
    }
    findings
}

/// Looks for lints of one address.
fn of_local(local: &LocalAddr) -> impl Iterator<Item = (Lint, &Interface)> {
    let owner = move || local.interfaces().next();
    let global = (Exposure::of(local.ip()) == Exposure::Global).then(owner);
    let on_loopback = local
        .interfaces()
        .find(|one| one.is_loopback() && Exposure::through(one, local.ip()) > Exposure::ThisHost);
    let is_down = !local.interfaces().any(Interface::is_running);
    let temporary = local.interfaces().find(|interface| {
        let entry = interface.entry(local.ip());
        entry.is_some_and(InterfaceAddr::is_temporary)
    });
    [
        (Lint::GlobalAddress, global.flatten()),
        (Lint::LoopbackInterface, on_loopback),
        (Lint::InterfaceDown, is_down.then(owner).flatten()),
        (Lint::TemporaryAddress, temporary),
    ]
    .into_iter()
    .filter_map(|(lint, interface)| Some((lint, interface?)))
}
