//! Computes who could connect to a plan, before any socket is open.

use std::net::SocketAddr;

use crate::diagnose::{self, Namespace};
use crate::diagnosis::{Warning, WarningKind};
use crate::interfaces::{Interface, Interfaces};
use crate::map::Set;
use crate::plan::{Plan, PlannedSocket};
use crate::reach::{Exposure, Exposures, OpenSocket, Reach};
use crate::target::{DeviceIndex, Protocol, is_scoped};

impl Plan {
    /// Returns from how far away clients could connect to any of the sockets, on the host of a
    /// snapshot.
    ///
    /// An optional entry whose address is planned counts, though the host may lack it: the address
    /// may come.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::{BindOptions, Exposure, Interfaces};
    ///
    /// let eth0 = Interface::new("eth0", 2).with_addr("192.168.71.67".parse()?, 16);
    /// let host: Interfaces = [eth0].into_iter().collect();
    /// let plan = BindOptions::new().plan_on("127.0.0.1:80, eth0:80", &host)?;
    /// assert_eq!(plan.exposure(&host), Exposure::Private);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn exposure(&self, host: &Interfaces) -> Exposure {
        Exposures::on(host).of_all(self.open_sockets(host))
    }

    /// Returns who could connect, and by which addresses, on the host of a snapshot.
    ///
    /// A port that the kernel chooses is 0, and of a range it is the first.
    #[must_use]
    pub fn reach(&self, host: &Interfaces) -> Reach {
        let reaches = self.open_sockets(host);
        Reach::of_all(reaches.map(|socket| socket.reach(host)), host)
    }

    /// Returns the warnings about the TCP sockets of the plan, as
    /// [`Listeners::warnings`](crate::Listeners::warnings) has them of open ones.
    ///
    /// Routes, sysctls and the signs of a container are read from this host.
    #[must_use]
    pub fn warnings(&self, host: &Interfaces) -> Vec<Warning> {
        let sockets: Vec<OpenSocket> = self.open_sockets(host).collect();
        let mut warnings = diagnose::warnings_of(&sockets, host);
        // Whether an address that the host lacks can be bound is for the kernel to say.
        let free = self.sockets.iter().filter(|socket| socket.entry.freebind);
        let free: Set<SocketAddr> = free.map(|socket| socket.addr).collect();
        warnings.retain(|warning| {
            let is_listed = !matches!(warning.kind(), WarningKind::NotListed { .. });
            is_listed || free.contains(&warning.addr())
        });
        warnings
    }

    /// Returns the sockets as they would be open for TCP.
    fn open_sockets(&self, host: &Interfaces) -> impl Iterator<Item = OpenSocket> {
        self.sockets.iter().map(move |socket| OpenSocket {
            is_open: false,
            addr: socket.addr,
            protocol: Protocol::Tcp,
            only_v6: socket.only_v6,
            freebind: socket.entry.freebind,
            device: device_of(socket, host).map(str::to_owned),
            namespace: Namespace::This,
        })
    }
}

/// Returns the interface that a socket would be bound to: that of the option, or that of the
/// cgroup.
///
/// The option may be another name of it (`ip link property add … altname`).
fn device_of<'a>(socket: &'a PlannedSocket, host: &'a Interfaces) -> Option<&'a str> {
    let of_index = match socket.entry.device_index {
        DeviceIndex::Known(index) => host.by_index(index).map(Interface::name),
        _ => None,
    };
    let of_option = of_index.or_else(|| socket.device());
    of_option.or_else(|| host.device().filter(|_| !is_scoped(socket.addr)))
}
