//! What has changed for a listener, and what to do about it.

use std::fmt;
use std::net::SocketAddr;

use crate::listen::shown;

/// What changed for a listener, from [`Hold::look`](crate::Hold::look).
///
/// The [`Display`](fmt::Display) form is a sentence.
///
/// # Examples
///
/// ```
/// use bindaddr::{Action, Change};
///
/// /// The settings to bind anew.
/// fn to_rebind(changes: &[Change]) -> Vec<usize> {
///     let anew = changes.iter().filter(|change| change.action() == Action::Rebind);
///     anew.map(Change::entry).collect()
/// }
/// assert!(to_rebind(&[]).is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub(super) kind: ChangeKind,
    pub(super) entry: usize,
    pub(super) addr: SocketAddr,
    pub(super) interface: Option<String>,
    pub(super) action: Action,
}

/// What kind of [`Change`] it is.
///
/// # Examples
///
/// ```
/// use bindaddr::{Change, ChangeKind};
///
/// fn is_bad_news(change: &Change) -> bool {
///     !matches!(change.kind(), ChangeKind::Back | ChangeKind::New)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// The host has the address no longer, or the interface that takes connections to it is down: the
    /// socket listens on, and nobody can connect. An IPv4 address is reached from this host all the same while
    /// its interface is down, unless the socket is bound to that interface.
    Gone,
    /// Clients can connect again, or for the first time.
    Back,
    /// The interface that the socket is bound to, by a zone or as a
    /// [`device`](crate::BindOptions::device), was made anew and has another index: the
    /// socket is bound to the old one and hears nothing for ever.
    #[non_exhaustive]
    Recreated {
        /// The index of the interface that the socket is bound to.
        from: u32,
        /// The index of the interface of that name there is now.
        to: u32,
    },
    /// The setting stands for an address, too, that no socket is bound to. It is told when everything that the
    /// setting stands for can be bound: to bind it anew beside an IPv6 address that is tentative, or that another host
    /// has, too, would fail.
    New,
    /// The host has the address, and the setting does not stand for it any more, as where it has
    /// moved to another interface.
    Stray,
}

/// What to do about a [`Change`].
///
/// # Examples
///
/// ```
/// assert_eq!(bindaddr::Action::Rebind.to_string(), "bind the setting anew");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Nothing: the socket works.
    Nothing,
    /// Wait: the socket works again once the host has the address.
    Wait,
    /// Close the sockets of the setting, bind it anew, and tell [`Hold::rebound`](crate::Hold::rebound). An address that has just
    /// come may be tentative still, which [`wait`](crate::BindOptions::wait) is for.
    Rebind,
    /// Close the sockets of all settings, bind the whole list anew by [`bind_all`](crate::bind_all()), and hold
    /// those: the setting stands for an address that a socket of another one has, so by itself it would find that
    /// in use.
    RebindAll,
    /// Close the socket: its setting stands for nothing now, and to bind it anew would fail. It is held no
    /// longer; that the setting stands for an address again is told as [`ChangeKind::New`]. Of a zone that is
    /// written by its number, which an interface that was made anew does not have, write the name.
    Close,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing to do",
            Self::Wait => "wait until it is back",
            Self::Rebind => "bind the setting anew",
            Self::RebindAll => "bind all settings anew, which share an address",
            Self::Close => "close the socket",
        })
    }
}

impl Change {
    /// Returns what changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::Interfaces;
    ///
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// let mut hold = listeners.hold(Interfaces::system()?);
    /// // A host that has lost all its addresses.
    /// let changes = hold.look(Interfaces::default());
    /// assert_eq!(changes[0].kind(), bindaddr::ChangeKind::Gone);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        self.kind
    }

    /// Returns which of the settings it is about, from 0 on.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::Interfaces;
    ///
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// let mut hold = listeners.hold(Interfaces::system()?);
    /// // A host that has lost all its addresses.
    /// let changes = hold.look(Interfaces::default());
    /// assert_eq!(changes[0].entry(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn entry(&self) -> usize {
        self.entry
    }

    /// Returns the address of the socket; of a [`New`](ChangeKind::New) one, what would be bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::Interfaces;
    ///
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// let mut hold = listeners.hold(Interfaces::system()?);
    /// // A host that has lost all its addresses.
    /// let changes = hold.look(Interfaces::default());
    /// assert_eq!(changes[0].addr(), listeners.as_slice()[0].local_addr());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the interface that has the address or had it, or that the socket is bound to.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::Interfaces;
    ///
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// let mut hold = listeners.hold(Interfaces::system()?);
    /// // A host that has lost all its addresses.
    /// let changes = hold.look(Interfaces::default());
    /// # #[cfg(target_os = "linux")]
    /// assert_eq!(changes[0].interface(), Some("lo"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Returns what to do about it.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::Interfaces;
    ///
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// let mut hold = listeners.hold(Interfaces::system()?);
    /// // A host that has lost all its addresses.
    /// let changes = hold.look(Interfaces::default());
    /// assert_eq!(changes[0].action(), bindaddr::Action::Wait);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr;
        let interface = self.interface.as_deref().map(shown);
        match (self.kind, interface) {
            (ChangeKind::Gone, Some(interface)) => write!(
                f,
                "nobody can connect to {addr} any more: {interface} lacks the address or is down"
            ),
            (ChangeKind::Gone, None) => write!(f, "nobody can connect to {addr} any more"),
            (ChangeKind::Back, Some(interface)) => {
                write!(f, "clients can connect to {addr}: {interface} has it")
            }
            (ChangeKind::Back, None) => write!(f, "clients can connect to {addr}"),
            (ChangeKind::Recreated { from, to }, interface) => write!(
                f,
                "nobody will ever connect to {addr}: its socket is bound to interface {from}, and \
                 {} is interface {to} now",
                interface.unwrap_or_default()
            ),
            (ChangeKind::New, Some(interface)) => {
                write!(f, "the setting stands for {addr} of {interface}, too, now")
            }
            (ChangeKind::New, None) => write!(f, "the setting stands for {addr}, too, now"),
            (ChangeKind::Stray, _) => {
                write!(
                    f,
                    "the setting stands for {addr} no longer, which clients can connect to"
                )
            }
        }
    }
}
