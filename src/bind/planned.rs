//! Who could connect to a plan, before any socket is open.

use crate::diagnose::{self, BoundBy, Namespace};
use crate::diagnosis::Warning;
use crate::interfaces::{Interface, Interfaces};
use crate::plan::{DeviceIndex, Plan, PlannedSocket};
use crate::reach::{Exposure, OpenSocket, Reach, Surroundings, warnings_of_exposure};
use crate::target::Protocol;

impl Plan {
    /// Returns from how far away clients could connect to any of the sockets, on the host of a snapshot.
    ///
    /// An optional entry whose address is planned counts, though the host may lack it: the address may come.
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
        let exposures = self.sockets.iter().map(|socket| {
            let target = socket.target(host);
            target.exposure_on_device(device_of(socket, host), host)
        });
        exposures.fold(Exposure::ThisHost, Ord::max)
    }

    /// Returns who could connect, and by which addresses, on the host of a snapshot.
    ///
    /// A port that the kernel chooses is 0, and of a range it is the first.
    #[must_use]
    pub fn reach(&self, host: &Interfaces) -> Reach {
        let reaches = self.sockets.iter().map(|socket| {
            let (port, target) = (socket.addr.port(), socket.target(host));
            target.reach_on_device(port, device_of(socket, host), host)
        });
        Reach::of_all(reaches, host)
    }

    /// Returns the warnings about the TCP sockets of the plan, as
    /// [`Listeners::warnings`](crate::Listeners::warnings) has them of open ones.
    ///
    /// Routes, sysctls and the signs of a container are read from this host.
    #[must_use]
    pub fn warnings(&self, host: &Interfaces) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut sockets = Vec::with_capacity(self.sockets.len());
        for socket in &self.sockets {
            let device = device_of(socket, host);
            let bound = BoundBy {
                freebind: socket.entry.freebind,
                device,
                only_v6: socket.only_v6,
                namespace: Namespace::This,
            };
            let target = socket.target(host);
            let kinds =
                diagnose::warnings_of_socket(socket.addr, Protocol::Tcp, &bound, Some(host));
            // Whether an address that the host lacks can be bound is for the kernel to say.
            let kinds = kinds.into_iter().filter(|_| !target.is_foreign());
            warnings.extend(kinds.map(|kind| Warning::new(socket.addr, kind)));
            sockets.push(OpenSocket {
                addr: socket.addr,
                target,
                device: device.map(str::to_owned),
            });
        }
        let around = Surroundings::read(&sockets, host);
        warnings.extend(warnings_of_exposure(&sockets, host, &around));
        warnings
    }
}

/// Returns the interface that a socket would be bound to: that of the option, or that of the cgroup.
///
/// The option may be another name of it (`ip link property add … altname`).
fn device_of<'a>(socket: &'a PlannedSocket, host: &'a Interfaces) -> Option<&'a str> {
    let of_index = match socket.entry.device_index {
        DeviceIndex::Known(index) => host.by_index(index).map(Interface::name),
        _ => None,
    };
    let of_option = of_index.or_else(|| socket.device());
    of_option.or_else(|| socket.target(host).device(host))
}
