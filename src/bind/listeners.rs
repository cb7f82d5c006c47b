//! All open sockets of a server: [`Listeners`]. They are the actual state beside the desired one.

use std::fmt;
#[cfg(any(feature = "tokio", feature = "watch"))]
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;

use socket2::Socket;

use super::listener::{OpenState, StdSocket};
use super::{Listener, Opened, OpenedSocket};
use crate::addr::shown;
use crate::diagnose;
use crate::diagnosis::{Position, SettingError, Warning};
use crate::interfaces::Interfaces;
use crate::map::{Map, Set};
use crate::order::sort_by;
use crate::plan::{Duplicate, Plan, PlannedSocket};
use crate::reach::{Exposure, Exposures, OpenSocket, Reach, SHOWN};

/// The sockets that settings yield, in the order of the settings: the actual state beside the
/// desired state of a [`Plan`].
///
/// It dereferences to a slice of [`Listener`], and can be collected and extended as a `Vec` can.
/// The sockets of one setting are all on one port.
///
/// The [`Display`](fmt::Display) form has the first ten addresses; `{:#}` has a line for each
/// socket, and for what was skipped or listed twice.
///
/// # Examples
///
/// ```
/// let listeners = bindaddr::bind("localhost:0")?;
/// assert_eq!(listeners.port(), Some(listeners[0].local_addr().port()));
/// for listener in &listeners {
///     assert!(listener.local_addr().ip().is_loopback());
/// }
///
/// // TEST-NET-2 (RFC 5737), which no host has.
/// let listeners = bindaddr::bind(["127.0.0.1:0", "-198.51.100.1:0"])?;
/// assert_eq!(listeners.len(), 1);
/// assert_eq!(listeners.skipped()[0].text(), "-198.51.100.1:0");
///
/// let std: Vec<std::net::TcpListener> = listeners.into_std();
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Debug)]
pub struct Listeners<S = TcpListener> {
    listeners: Vec<Listener<S>>,
    rest: Option<Box<Rest>>,
}

/// The entries that have no socket of their own.
#[derive(Debug)]
pub(crate) struct Rest {
    skipped: Vec<SettingError>,
    duplicates: Vec<Duplicate>,
    /// The parts that the host lacks, and that the setting or the list does without.
    left_out: Vec<PlannedSocket>,
}

impl Rest {
    /// Returns the rest of a plan; `None` if there is none.
    pub(crate) fn of<'p>(
        plan: &Plan,
        mut skipped: Vec<SettingError>,
        open: impl IntoIterator<Item = &'p PlannedSocket>,
        left_out: Vec<PlannedSocket>,
        served: Vec<Duplicate>,
    ) -> Option<Box<Self>> {
        // An address that another socket serves counts as open.
        let open: Set<(Position, SocketAddr)> = open
            .into_iter()
            .map(|planned| (planned.position(), planned.addr()))
            .chain(served.iter().map(|served| (served.position, served.addr)))
            .collect();
        // A duplicate of a skipped entry is not open. It is skipped as well if it is optional, and
        // `localhost` does without it.
        let kept: Map<(Position, Option<SocketAddr>), SettingError> = skipped
            .iter()
            .map(|error| ((error.position(), error.addr()), error.clone()))
            .collect();
        let mut duplicates = plan.duplicates.clone();
        duplicates.retain(|duplicate| {
            let Some(error) = kept.get(&(duplicate.kept_by, Some(duplicate.addr))) else {
                // `*` and `localhost` do without IPv6 where the host has none.
                return open.contains(&(duplicate.kept_by, duplicate.addr));
            };
            let entry = plan.entry_at(duplicate.position);
            if let Some(entry) = entry.filter(|entry| entry.is_optional()) {
                skipped.push(error.clone().at(entry.position, entry.text.clone()));
            }
            false
        });
        duplicates.extend(
            served
                .into_iter()
                .filter(|served| !served.is_of_one_entry()),
        );
        sort_by(&mut skipped, |a, b| a.position().cmp(&b.position()));
        let has_any = !skipped.is_empty() || !duplicates.is_empty() || !left_out.is_empty();
        has_any.then(|| {
            Box::new(Self {
                skipped,
                duplicates,
                left_out,
            })
        })
    }
}

impl<S> Listeners<S> {
    /// Creates a list of one socket.
    pub(super) fn of_one(socket: S, state: OpenState) -> Self {
        Self {
            listeners: vec![Listener { socket, state }],
            rest: None,
        }
    }

    /// Borrows the sockets.
    #[must_use]
    pub fn as_slice(&self) -> &[Listener<S>] {
        &self.listeners
    }

    /// Returns the port if all sockets have the same.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let mut ports = self.iter().map(|listener| listener.local_addr().port());
        let first = ports.next()?;
        ports.all(|port| port == first).then_some(first)
    }

    /// Returns the socket if there is one only, for servers that take one.
    ///
    /// # Errors
    ///
    /// The sockets themselves, if there are several or none.
    /// [`AddrSelection::Single`](crate::plan::AddrSelection::Single) refuses an entry that resolves
    /// to several addresses before any is opened; a list of several entries is still several
    /// sockets.
    pub fn into_single(mut self) -> Result<Listener<S>, Self> {
        match (self.listeners.pop(), self.listeners.is_empty()) {
            (Some(only), true) => Ok(only),
            (last, _) => {
                self.listeners.extend(last);
                Err(self)
            }
        }
    }

    /// Returns the optional entries that this host lacks, each with its cause.
    #[must_use]
    pub fn skipped(&self) -> &[SettingError] {
        self.rest.as_ref().map_or(&[], |rest| &rest.skipped)
    }

    /// Returns the addresses that are listed twice and were opened once.
    #[must_use]
    pub fn duplicates(&self) -> &[Duplicate] {
        self.rest.as_ref().map_or(&[], |rest| &rest.duplicates)
    }

    /// Returns the sockets whose address or family the host lacked when the others were opened.
    pub(crate) fn left_out(&self) -> &[PlannedSocket] {
        self.rest.as_ref().map_or(&[], |rest| &rest.left_out)
    }

    /// Keeps the sockets for which `keep` returns `true`, and closes the others.
    pub fn retain(&mut self, keep: impl FnMut(&Listener<S>) -> bool) {
        self.listeners.retain(keep);
    }
}

impl<S> Listeners<S> {
    /// Takes the sockets out.
    pub(crate) fn take(&mut self) -> Vec<Listener<S>> {
        mem::take(&mut self.listeners)
    }

    /// Sets what is open, in the order of the settings, and what became of the other entries.
    pub(crate) fn replace(&mut self, listeners: Vec<Listener<S>>, rest: Option<Box<Rest>>) {
        self.listeners = in_order(listeners);
        self.rest = rest;
    }

    /// Converts the sockets; those that are left are closed if one cannot be.
    #[cfg(any(feature = "tokio", feature = "watch"))]
    pub(crate) fn convert<T>(
        self,
        mut convert: impl FnMut(S) -> io::Result<T>,
    ) -> io::Result<Listeners<T>> {
        let listeners = self.listeners.into_iter();
        Ok(Listeners {
            listeners: listeners
                .map(|listener| {
                    listener.state.set_settled();
                    listener.convert(&mut convert)
                })
                .collect::<io::Result<_>>()?,
            rest: self.rest,
        })
    }

    /// Takes out the sockets at some indices.
    pub(crate) fn extract(&mut self, indices: &Set<usize>) -> Vec<Listener<S>> {
        let all = mem::take(&mut self.listeners).into_iter().enumerate();
        let (out, rest): (Vec<_>, Vec<_>) = all.partition(|(index, _)| indices.contains(index));
        self.listeners = rest.into_iter().map(|(_, listener)| listener).collect();
        out.into_iter().map(|(_, listener)| listener).collect()
    }

    /// Converts the sockets of the engine, all of which are open.
    pub(super) fn of(opened: Opened) -> Self
    where
        S: From<Socket>,
    {
        let sockets = opened.sockets.into_iter();
        Self {
            listeners: in_order(sockets.filter_map(OpenedSocket::into_own).collect()),
            rest: opened.rest,
        }
    }
}

/// Sorts sockets by the setting that they are of.
fn in_order<S>(mut listeners: Vec<Listener<S>>) -> Vec<Listener<S>> {
    let key = |listener: &Listener<S>| (listener.state.position, listener.state.place);
    sort_by(&mut listeners, |a, b| key(a).cmp(&key(b)));
    listeners
}

/// No socket.
impl<S> Default for Listeners<S> {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            rest: None,
        }
    }
}

impl<S> Deref for Listeners<S> {
    type Target = [Listener<S>];

    fn deref(&self) -> &[Listener<S>] {
        &self.listeners
    }
}

impl<S> FromIterator<Listener<S>> for Listeners<S> {
    fn from_iter<I: IntoIterator<Item = Listener<S>>>(listeners: I) -> Self {
        Self {
            listeners: listeners.into_iter().collect(),
            rest: None,
        }
    }
}

impl<S> Extend<Listener<S>> for Listeners<S> {
    fn extend<I: IntoIterator<Item = Listener<S>>>(&mut self, listeners: I) {
        self.listeners.extend(listeners);
    }
}

impl<S: StdSocket> Listeners<S> {
    /// Converts into the std sockets, which block unless
    /// [`nonblocking`](crate::BindOptions::nonblocking) was set.
    #[must_use]
    pub fn into_std(self) -> Vec<S> {
        self.into_iter().map(Listener::into_std).collect()
    }

    /// Returns who can connect to any of the sockets, the host being that of a snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind("localhost:0")?;
    /// let reach = listeners.reach(&bindaddr::Interfaces::system()?);
    /// print!("{}", reach.banner("http"));
    /// assert_eq!(reach.addrs().len(), listeners.as_slice().len());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reach(&self, host: &Interfaces) -> Reach {
        Reach::of_all(self.iter().map(|listener| listener.reach(host)), host)
    }

    /// Returns from how far away clients may connect to any of the sockets.
    ///
    /// It is for a guard against serving the world without authentication; see [`Exposure`].
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Exposure, Interfaces};
    ///
    /// let listeners = bindaddr::bind(["127.0.0.1:0", "*:0"])?;
    /// assert!(listeners.exposure(&Interfaces::system()?) > Exposure::ThisHost);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn exposure(&self, host: &Interfaces) -> Exposure {
        Exposures::on(host).of_all(self.iter().map(Listener::open_socket))
    }

    /// Returns the warnings about each socket and about all of them together, on the host of a
    /// snapshot.
    ///
    /// Routes, sysctls, the signs of a container and who listens on the same ports are read, each
    /// time it is called. What cannot be read is not warned about.
    #[must_use]
    pub fn warnings(&self, host: &Interfaces) -> Vec<Warning> {
        let sockets: Vec<OpenSocket> = self.iter().map(Listener::open_socket).collect();
        let mut warnings = diagnose::warnings_of(&sockets, host);
        warnings.extend(diagnose::warnings_about_others(&sockets, &Set::new()));
        warnings
    }
}

impl<S: StdSocket> fmt::Display for Listeners<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            for (n, listener) in self.iter().take(SHOWN).enumerate() {
                write!(f, "{}{listener}", if n == 0 { "" } else { ", " })?;
            }
            return match self.listeners.len().saturating_sub(SHOWN) {
                0 => Ok(()),
                more => write!(f, " and {more} more"),
            };
        }
        for listener in self {
            writeln!(f, "{listener:#}")?;
        }
        for skipped in self.skipped() {
            writeln!(f, "skipped {}: {}", shown(skipped.text()), skipped.cause())?;
        }
        for duplicate in self.duplicates() {
            writeln!(f, "{duplicate}")?;
        }
        Ok(())
    }
}

impl<S> IntoIterator for Listeners<S> {
    type Item = Listener<S>;
    type IntoIter = std::vec::IntoIter<Listener<S>>;

    fn into_iter(self) -> Self::IntoIter {
        self.listeners.into_iter()
    }
}

impl<'a, S> IntoIterator for &'a Listeners<S> {
    type Item = &'a Listener<S>;
    type IntoIter = std::slice::Iter<'a, Listener<S>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
