//! Whether what was bound still holds on a host that has changed: [`Hold`].

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::bind::{Choice, Followed, Listeners};
use crate::interfaces::{Interface, InterfaceAddr, Interfaces};
use crate::listen::{Host, Word, shown};
use crate::target::{BindTarget, Endpoint, socket_addr};

/// What listeners are bound to, to be held against later snapshots of the host.
///
/// A server that listens on one of the host's addresses keeps its socket when the address goes, and hears
/// nothing of it: nobody can connect, and no call fails. This compares the host as it was with the
/// host as it is, and says what changed for the sockets, and what to do about it. It
/// keeps no socket, so the listeners may be with a runtime by then.
///
/// Two snapshots are compared, so what comes and goes between them is not seen. Take the first one
/// before or soon after binding.
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
    index: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reachable,
    Gone,
    /// A setting stands for it no longer.
    Stray,
    /// The interface it is bound to is gone for ever.
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
    /// The host has the address no longer: the socket listens on, and nobody can connect.
    Gone,
    /// The host has the address again, or for the first time: clients can connect.
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
    /// Close the sockets of the setting and bind it anew.
    Rebind,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing to do",
            Self::Wait => "wait until it is back",
            Self::Rebind => "bind the setting anew",
        })
    }
}

impl Change {
    /// Returns what changed.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        self.kind
    }

    /// Returns which of the settings it is about, from 0 on.
    #[must_use]
    pub fn entry(&self) -> usize {
        self.entry
    }

    /// Returns the address of the socket; of a [`New`](ChangeKind::New) one, what would be bound.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the interface that has the address or had it, or that the socket is bound to.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.addr;
        let interface = shown(self.interface.as_deref().unwrap_or("no interface"));
        match self.kind {
            ChangeKind::Gone => write!(
                f,
                "nobody can connect to {addr} any more: {interface} has the address no longer"
            ),
            ChangeKind::Back => write!(f, "clients can connect to {addr}: {interface} has it"),
            ChangeKind::Recreated { from, to } => write!(
                f,
                "nobody will ever connect to {addr}: its socket is bound to interface {from}, and \
                 {interface} is interface {to} now"
            ),
            ChangeKind::New => write!(f, "the setting stands for {addr} of {interface}, too, now"),
            ChangeKind::Stray => {
                write!(f, "the setting stands for {addr} of {interface} no longer")
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
        let sockets = self.iter().map(|listener| {
            let addr = listener.local_addr();
            let by_zone = match addr {
                SocketAddr::V6(v6) if v6.scope_id() != 0 => host.by_index(v6.scope_id()),
                _ => None,
            };
            let bound_to = listener.device().and_then(|name| host.by_name(name));
            let tie = bound_to.or(by_zone).and_then(|interface| {
                let (name, index) = (interface.name().to_owned(), interface.index()?);
                Some(Tie { name, index })
            });
            let mut held = Held {
                entry: listener.entry(),
                addr,
                tie,
                state: State::Reachable,
            };
            if !held.is_reachable(&host) {
                held.state = State::Gone;
            }
            held
        });
        let sockets: Vec<Held> = sockets.collect();
        let mut hold = Hold {
            host: Interfaces::default(),
            sockets,
            followed: self.followed().to_vec(),
            unbound: HashSet::new(),
        };
        // What they stand for already is no news.
        hold.look_at_settings(&host);
        hold.host = host;
        hold
    }
}

impl Hold {
    /// Compares the host as it is now with the host as it was when this was last called, and
    /// says what changed for the sockets, in their order.
    ///
    /// For settings with the word `_default_`, `now` needs the
    /// [default sources](Interfaces::with_system_default_sources).
    pub fn look(&mut self, now: Interfaces) -> Vec<Change> {
        let mut changes = Vec::new();
        for held in &mut self.sockets {
            changes.extend(held.look(&self.host, &now));
        }
        changes.extend(self.look_at_settings(&now));
        // A socket whose address is gone waits for it, unless its setting is bound anew.
        let named: HashSet<usize> = changes
            .iter()
            .filter(|change| change.action == Action::Rebind)
            .map(Change::entry)
            .collect();
        for change in &mut changes {
            if change.action == Action::Wait && named.contains(&change.entry) {
                change.action = Action::Rebind;
            }
        }
        changes.sort_by_key(Change::entry);
        self.host = now;
        changes
    }

    /// Looks for what the settings stand for now and did not, or did and do not.
    fn look_at_settings(&mut self, now: &Interfaces) -> Vec<Change> {
        let mut changes = Vec::new();
        for followed in &self.followed {
            let entry = followed.entry;
            let Some(named) = named(followed, now) else {
                continue;
            };
            let sockets = self.sockets.iter_mut();
            let mut own: Vec<&mut Held> = sockets.filter(|held| held.entry == entry).collect();
            let range = followed.addr.ports();
            let port = match own.first() {
                Some(held) => held.addr.port(),
                None if range.start() == range.end() => *range.start(),
                None => 0,
            };
            let named: Vec<SocketAddr> = named
                .into_iter()
                .map(|(ip, scope_id)| socket_addr(ip, scope_id, port))
                .collect();
            for held in &mut own {
                let is_named = named.contains(&held.addr);
                match held.state {
                    State::Reachable if !is_named => {
                        held.state = State::Stray;
                        changes.push(held.change(ChangeKind::Stray, now, Action::Rebind));
                    }
                    State::Stray if is_named => held.state = State::Reachable,
                    _ => {}
                }
            }
            let is_bound = |addr: &SocketAddr| {
                let mut sockets = self.sockets.iter();
                sockets.any(|held| held.addr == *addr && held.state != State::Dead)
            };
            self.unbound
                .retain(|(of, addr)| *of != entry || named.contains(addr));
            for addr in named.into_iter().filter(|addr| !is_bound(addr)) {
                if self.unbound.insert((entry, addr)) {
                    let owner = now.with_ip(addr.ip()).next();
                    changes.push(Change {
                        kind: ChangeKind::New,
                        entry,
                        addr,
                        interface: owner.map(|owner| owner.name().to_owned()),
                        action: Action::Rebind,
                    });
                }
            }
        }
        changes
    }
}

impl Held {
    fn look(&mut self, before: &Interfaces, now: &Interfaces) -> Option<Change> {
        if self.state == State::Dead {
            return None;
        }
        if let Some(Tie { name, index }) = &self.tie {
            let is_there = now.by_index(*index).is_some();
            let others = now.by_name(name).and_then(Interface::index);
            if let Some(other) = others.filter(|other| !is_there && other != index) {
                let kind = ChangeKind::Recreated {
                    from: *index,
                    to: other,
                };
                self.state = State::Dead;
                return Some(self.change(kind, now, Action::Rebind));
            }
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
        let is_tied = self
            .tie
            .as_ref()
            .is_none_or(|tie| host.by_index(tie.index).is_some());
        let target = BindTarget::classify_socket(self.addr, host);
        is_tied && (target.is_any() || !target.reach(0, host).dials().is_empty())
    }

    /// `host` is the one that knows the interface.
    fn change(&self, kind: ChangeKind, host: &Interfaces, action: Action) -> Change {
        let tied = self.tie.as_ref().map(|tie| tie.name.clone());
        let owner = || host.with_ip(self.addr.ip()).next();
        Change {
            kind,
            entry: self.entry,
            addr: self.addr,
            interface: tied.or_else(|| owner().map(|owner| owner.name().to_owned())),
            action,
        }
    }
}

/// The addresses that a setting stands for; `None` where the snapshot does not say.
fn named(followed: &Followed, host: &Interfaces) -> Option<Vec<(IpAddr, u32)>> {
    let is_default = *followed.addr.host() == Host::Word(Word::Default);
    if is_default && host.default_sources().is_empty() {
        return None;
    }
    let targets = followed.addr.resolve(host).unwrap_or_default();
    let ips = targets.iter().filter_map(|target| match target.endpoint() {
        Endpoint::Ip { ip, scope_id, .. } if !target.is_foreign() => Some((ip, scope_id)),
        _ => None,
    });
    let is_usable = |(ip, scope_id): &(IpAddr, u32)| {
        let owners = host.with_ip(*ip);
        let mut entries = owners
            .filter(|owner| *scope_id == 0 || owner.index() == Some(*scope_id))
            .filter_map(|owner| owner.entry(*ip));
        ip.is_loopback() || entries.any(InterfaceAddr::is_usable)
    };
    let mut ips: Vec<(IpAddr, u32)> = ips.filter(is_usable).collect();
    match followed.choice {
        Choice::First => ips.truncate(1),
        Choice::Only if ips.len() > 1 => return None,
        Choice::Only | Choice::Every => {}
    }
    Some(ips)
}
