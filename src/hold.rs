//! Whether what was bound still holds on a host that has changed: [`Hold`].

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;

use crate::bind::{Choice, Followed, Listener, Listeners};
use crate::interfaces::{Interface, Interfaces};
use crate::listen::{Host, Word, shown};
use crate::reach::Dial;
use crate::target::BindTarget;

/// What listeners are bound to, to be held against later snapshots of the host.
///
/// A server that listens on one of the host's addresses keeps its socket when the address goes, and hears
/// nothing of it: nobody can connect, and no call fails. This compares the host as it was with the
/// host as it is, and says what changed for the sockets, and what to do about it. It
/// keeps no socket, so the listeners may be with a runtime by then.
///
/// Two snapshots are compared, so what comes and goes between them is not seen. Take the first one
/// before binding. An address that it lacks is taken for one that is bound all the same, of which
/// [`Listener::notes`](crate::Listener::notes) tells; that it comes is news, and that it is missing is none.
///
/// A snapshot has the interfaces with an address, so that an interface which a socket is bound to as a
/// [`device`](crate::BindOptions::device) and which has none counts as gone.
///
/// # Examples
///
/// ```
/// use bindaddr::{Interface, Interfaces};
///
/// let listeners = bindaddr::bind("127.0.0.1:0")?;
/// let lo = || Interface::new("lo", 1).with_addr([127, 0, 0, 1].into(), 8);
/// let mut hold = listeners.hold([lo()].into_iter().collect());
///
/// assert!(hold.look([lo()].into_iter().collect()).is_empty());
/// let changes = hold.look([lo().with_running(false)].into_iter().collect());
/// println!("{}: {}", changes[0], changes[0].action());
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Hold {
    host: Interfaces,
    sockets: Vec<Held>,
    followed: Vec<Followed>,
    /// What settings stand for by now without having a socket on it.
    unbound: HashSet<(usize, SocketAddr)>,
}

#[derive(Clone, Debug)]
struct Held {
    entry: usize,
    addr: SocketAddr,
    /// The interface that it is bound to, by a zone or as a device.
    tie: Option<Tie>,
    state: State,
}

#[derive(Clone, Debug)]
struct Tie {
    name: String,
    /// `None` until a snapshot has it.
    index: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reachable,
    Gone,
    /// A setting stands for it no longer.
    Stray,
    /// The interface it is bound to was made anew.
    Dead,
}

/// What changed for a listener, from [`Hold::look`].
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
    kind: ChangeKind,
    entry: usize,
    addr: SocketAddr,
    interface: Option<String>,
    action: Action,
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
    /// socket listens on, and nobody can connect.
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
    /// The setting stands for an address, too, that no socket of it is bound to.
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
    /// Close the sockets of the setting, bind it anew, and tell [`Hold::rebound`].
    Rebind,
    /// Close the socket: its setting stands for nothing now, and to bind it anew would fail.
    Close,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing to do",
            Self::Wait => "wait until it is back",
            Self::Rebind => "bind the setting anew",
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

impl<S> Listeners<S> {
    /// Remembers what the sockets are bound to, on the host of a snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::Interfaces;
    ///
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// let mut hold = listeners.hold(Interfaces::system()?);
    /// for change in hold.look(Interfaces::system()?) {
    ///     println!("{change}; {}", change.action());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn hold(&self, host: Interfaces) -> Hold {
        let mut hold = Hold {
            sockets: self
                .iter()
                .map(|listener| Held::new(listener, &host))
                .collect(),
            followed: self.followed().to_vec(),
            unbound: HashSet::new(),
            host,
        };
        hold.forget_names();
        hold.take_for_known();
        hold
    }
}

impl Hold {
    /// Compares the host as it is now with the host as it was when this was last called, and
    /// says what changed for the sockets, by setting.
    ///
    /// For settings with the word `_default_`, `now` needs the
    /// [default sources](Interfaces::with_system_default_sources).
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
    /// assert!(changes[0].to_string().starts_with("nobody can connect to 127.0.0.1:"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn look(&mut self, now: Interfaces) -> Vec<Change> {
        let mut changes = Vec::new();
        for held in &mut self.sockets {
            changes.extend(held.look(&self.host, &now));
        }
        changes.extend(self.look_at_settings(&now));
        // A socket whose address is gone waits for it, unless its setting is bound anew.
        let anew: HashSet<usize> = changes
            .iter()
            .filter(|change| change.action == Action::Rebind)
            .map(Change::entry)
            .collect();
        for change in &mut changes {
            if change.action == Action::Wait && anew.contains(&change.entry) {
                change.action = Action::Rebind;
            }
        }
        changes.sort_by_key(Change::entry);
        self.host = now;
        changes
    }

    /// Takes the sockets that a setting was bound anew with, in place of those that it had; of a list of
    /// settings, `entry` is which it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Action, Interfaces};
    ///
    /// let settings = ["localhost:0", "ipv4@lo:0"];
    /// let mut hold = bindaddr::bind_all(settings)?.hold(Interfaces::system()?);
    /// for change in hold.look(Interfaces::system()?) {
    ///     if change.action() == Action::Rebind {
    ///         // After the old sockets are closed:
    ///         let anew = bindaddr::bind(settings[change.entry()])?;
    ///         hold.rebound(change.entry(), &anew);
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rebound<S>(&mut self, entry: usize, listeners: &Listeners<S>) {
        self.sockets.retain(|held| held.entry != entry);
        let of_entry = |listener| Held {
            entry,
            ..Held::new(listener, &self.host)
        };
        let anew: Vec<Held> = listeners.iter().map(of_entry).collect();
        self.sockets.extend(anew);
        self.unbound.retain(|(of, _)| *of != entry);
        self.take_for_known();
    }

    /// Leaves out the settings that stand for sockets by a name that no interface has: it was looked
    /// up in DNS.
    fn forget_names(&mut self) {
        let entries: HashSet<usize> = self.sockets.iter().map(|held| held.entry).collect();
        let host = &self.host;
        self.followed.retain(|followed| {
            let is_name = matches!(followed.addr.host(), Host::Name(_));
            !(is_name && entries.contains(&followed.entry) && followed.addr.resolve(host).is_err())
        });
    }

    /// What the settings stand for already is no news.
    fn take_for_known(&mut self) {
        let host = self.host.clone();
        self.look_at_settings(&host);
    }

    /// Looks for what the settings stand for now and did not, or did and do not.
    fn look_at_settings(&mut self, now: &Interfaces) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.followed.is_empty() {
            return changes;
        }
        let open = self.sockets.iter().filter(|held| held.state != State::Dead);
        let bound: HashSet<SocketAddr> = open.map(|held| held.addr).collect();
        let mut own: HashMap<usize, Vec<&mut Held>> = HashMap::new();
        for held in &mut self.sockets {
            own.entry(held.entry).or_default().push(held);
        }
        let mut unbound = HashSet::new();
        for followed in &self.followed {
            let entry = followed.entry;
            let mut own = own.remove(&entry).unwrap_or_default();
            let range = followed.addr.ports();
            let port = match own.first() {
                Some(held) => held.addr.port(),
                None if range.start() == range.end() => *range.start(),
                None => 0,
            };
            let Some(named) = named(followed, port, now) else {
                let kept = self.unbound.iter().filter(|(of, _)| *of == entry);
                unbound.extend(kept.copied());
                continue;
            };
            let is_named: HashSet<SocketAddr> = named.iter().copied().collect();
            for held in &mut own {
                match (held.state, is_named.contains(&held.addr)) {
                    (State::Reachable, false) => {
                        held.state = State::Stray;
                        let action = if named.is_empty() {
                            Action::Close
                        } else {
                            Action::Rebind
                        };
                        changes.push(held.change(ChangeKind::Stray, now, action));
                    }
                    (State::Stray, true) => held.state = State::Reachable,
                    _ => {}
                }
            }
            for addr in named.into_iter().filter(|addr| !bound.contains(addr)) {
                unbound.insert((entry, addr));
                if !self.unbound.contains(&(entry, addr)) {
                    changes.push(Change {
                        kind: ChangeKind::New,
                        entry,
                        addr,
                        interface: through(addr, now),
                        action: Action::Rebind,
                    });
                }
            }
        }
        self.unbound = unbound;
        changes
    }
}

/// The interface through which clients connect to `addr`.
fn through(addr: SocketAddr, host: &Interfaces) -> Option<String> {
    let reach = BindTarget::classify_socket(addr, host).reach(0, host);
    let interface = reach.dials().first()?.interface()?;
    Some(interface.to_owned())
}

impl Held {
    fn new<S>(listener: &Listener<S>, host: &Interfaces) -> Self {
        let addr = listener.local_addr();
        let by_zone = match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => host.by_index(v6.scope_id()),
            _ => None,
        };
        let name = match listener.device() {
            Some(device) => Some(device),
            None => by_zone.map(Interface::name),
        };
        let tie = name.map(|name| Tie {
            name: name.to_owned(),
            index: host.by_name(name).and_then(Interface::index),
        });
        let mut held = Self {
            entry: listener.entry(),
            addr,
            tie,
            state: State::Reachable,
        };
        if BindTarget::classify_socket(addr, host).is_foreign() {
            held.state = State::Gone;
        }
        held
    }

    fn look(&mut self, before: &Interfaces, now: &Interfaces) -> Option<Change> {
        if let Some(tie) = &mut self.tie {
            let other = now.by_name(&tie.name).and_then(Interface::index);
            tie.index = tie.index.or(other);
            if let Some(from) = tie.index {
                // It may go by another name now, or have lost its addresses for a while.
                let is_there = now.by_index(from).is_some();
                if is_there && self.state == State::Dead {
                    self.state = State::Gone;
                }
                if let Some(to) = other.filter(|to| !is_there && *to != from) {
                    let is_news = self.state != State::Dead;
                    self.state = State::Dead;
                    let kind = ChangeKind::Recreated { from, to };
                    return is_news.then(|| self.change(kind, now, Action::Rebind));
                }
            }
        }
        if self.state == State::Dead {
            return None;
        }
        match (self.state, self.is_reachable(now)) {
            (State::Reachable | State::Stray, false) => {
                self.state = State::Gone;
                Some(self.change(ChangeKind::Gone, before, Action::Wait))
            }
            (State::Gone, true) => {
                self.state = State::Reachable;
                Some(self.change(ChangeKind::Back, now, Action::Nothing))
            }
            _ => None,
        }
    }

    /// Tells whether clients can connect, as far as the host says.
    fn is_reachable(&self, host: &Interfaces) -> bool {
        let is_there = |tie: &Tie| {
            tie.index
                .is_some_and(|index| host.by_index(index).is_some())
        };
        let target = BindTarget::classify_socket(self.addr, host);
        self.tie.as_ref().is_none_or(is_there)
            && (target.is_any() || !target.reach(0, host).dials().is_empty())
    }

    /// `host` is the one that knows the interface.
    fn change(&self, kind: ChangeKind, host: &Interfaces, action: Action) -> Change {
        let tied = self.tie.as_ref().map(|tie| tie.name.clone());
        Change {
            kind,
            entry: self.entry,
            addr: self.addr,
            interface: tied.or_else(|| through(self.addr, host)),
            action,
        }
    }
}

/// The addresses that a setting stands for and that clients can connect to, on `port`; `None`
/// where the snapshot does not say.
fn named(followed: &Followed, port: u16, host: &Interfaces) -> Option<Vec<SocketAddr>> {
    let is_default = *followed.addr.host() == Host::Word(Word::Default);
    if is_default && !host.knows_default_sources() {
        return None;
    }
    let mut named = Vec::new();
    for target in followed.addr.resolve(host).unwrap_or_default() {
        if target.is_any() {
            return None;
        }
        named.extend(target.reach(port, host).dials().iter().map(Dial::addr));
    }
    match followed.choice {
        Choice::First => named.truncate(1),
        Choice::Only if named.len() > 1 => return None,
        Choice::Only | Choice::Every => {}
    }
    Some(named)
}
