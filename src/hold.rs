//! Whether what was bound still holds on a host that has changed: [`Hold`].

// What it tells.
mod change;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::Deref;

use crate::bind::{Followed, Listener, Listeners, Merged, StdSocket};
use crate::interfaces::{Interface, Interfaces};
use crate::listen::{Host, Word};
use crate::reach::Dial;
use crate::target::BindTarget;
pub use change::{Action, Change, ChangeKind};

/// What listeners are bound to, to be held against later snapshots of the host.
///
/// A server that listens on one of the host's addresses keeps its socket when the address goes, and hears
/// nothing of it: nobody can connect, and no call fails. This compares the host as it was with the
/// host as it is, and says what changed for the sockets, and what to do about it. It
/// keeps no socket, so the listeners may be with a runtime by then.
///
/// Two snapshots are compared, so what comes and goes between them is not seen. Take the first one
/// before binding. An address that it lacks is taken for one that is bound all the same, of which
/// [`Listener::notes`](crate::Listener::notes) tells; that it comes is news, and that it is missing is none. Nor is it
/// known that a local route (`ip route add local`, ip-route(8)) brings clients to an address that is gone.
///
/// A snapshot has the interfaces with an address, so that an interface which a socket is bound to as a
/// [`device`](crate::BindOptions::device) and which has none counts as gone. So does one that is
/// written by another name than its own (`altname`, ip-link(8)), which no snapshot has.
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
    /// The settings for which a socket of another one does.
    merged: Vec<Merged>,
    /// What settings stand for by now without having a socket on it.
    unbound: HashSet<(usize, SocketAddr)>,
}

#[derive(Clone, Debug)]
struct Held {
    entry: usize,
    addr: SocketAddr,
    /// The interface that it is bound to, by a zone or as a device.
    tie: Option<Tie>,
    is_on_device: bool,
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

impl<S: StdSocket> Listeners<S> {
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
            merged: self.merged().to_vec(),
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
    #[must_use = "each change is told once"]
    pub fn look(&mut self, now: Interfaces) -> Vec<Change> {
        let mut changes = Vec::new();
        for held in &mut self.sockets {
            changes.extend(held.look(&self.host, &now));
        }
        changes.extend(self.look_at_settings(&now));
        // A socket whose address is gone waits for it, unless its setting is bound anew.
        let entries: HashSet<usize> = changes
            .iter()
            .filter(|change| change.action == Action::Rebind)
            .map(Change::entry)
            .collect();
        let anew: HashMap<usize, Action> = entries
            .into_iter()
            .map(|entry| (entry, self.rebinding(entry, &now)))
            .collect();
        for change in &mut changes {
            let is_recreated = matches!(change.kind, ChangeKind::Recreated { .. });
            if is_recreated && self.has_numeric_zone(change.entry) {
                change.action = Action::Close;
            } else if let (Action::Wait | Action::Rebind, Some(action)) =
                (change.action, anew.get(&change.entry))
            {
                change.action = *action;
            }
        }
        let closed: HashSet<(usize, SocketAddr)> = changes
            .iter()
            .filter(|change| change.action == Action::Close)
            .map(|change| (change.entry, change.addr))
            .collect();
        self.sockets
            .retain(|held| !closed.contains(&(held.entry, held.addr)));
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
    pub fn rebound<S: StdSocket>(&mut self, entry: usize, listeners: &Listeners<S>) {
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

    /// How to bind a setting anew.
    fn rebinding(&self, entry: usize, now: &Interfaces) -> Action {
        let open = self.sockets.iter().filter(|held| held.state != State::Dead);
        let (own, others): (Vec<&Held>, Vec<&Held>) = open.partition(|held| held.entry == entry);
        // Another setting has none of its own, for one of this setting does for both.
        let does_for_another = own
            .iter()
            .any(|held| is_wanted_by_another(held, &self.merged, &self.followed, now));
        let followed = setting_of(&self.followed, entry);
        let named = followed.and_then(|followed| named(followed, port_of(followed, &own), now));
        let is_of_another = named.is_some_and(|named| {
            let mut others = others.iter();
            others.any(|held| named.addrs.contains(&held.addr))
        });
        if does_for_another || is_of_another {
            Action::RebindAll
        } else {
            Action::Rebind
        }
    }

    /// Tells whether a setting is an address in a zone that is written by its number.
    fn has_numeric_zone(&self, entry: usize) -> bool {
        let followed = setting_of(&self.followed, entry);
        followed.is_some_and(|followed| followed.addr.has_numeric_zone())
    }

    /// Leaves out the settings that stand for sockets by a name that no interface has: it may have been
    /// looked up in DNS.
    fn forget_names(&mut self) {
        let entries: HashSet<usize> = self.sockets.iter().map(|held| held.entry).collect();
        let host = &self.host;
        self.followed.retain(|followed| {
            let is_name = matches!(followed.addr.host(), Host::Name(_)) && followed.asks_dns;
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
        let mut bound: HashSet<SocketAddr> = open.map(|held| held.addr).collect();
        let mut own: HashMap<usize, Vec<&mut Held>> = HashMap::new();
        for held in &mut self.sockets {
            own.entry(held.entry).or_default().push(held);
        }
        let mut unbound = HashSet::new();
        for followed in &self.followed {
            let entry = followed.entry;
            let mut own = own.remove(&entry).unwrap_or_default();
            let port = port_of(followed, &own);
            let kept = self.unbound.iter().filter(|(of, _)| *of == entry);
            let named = named(followed, port, now);
            let Some(named) = named.filter(|named| named.is_whole) else {
                unbound.extend(kept.copied());
                continue;
            };
            let is_named: HashSet<SocketAddr> = named.addrs.iter().copied().collect();
            for held in &mut own {
                match (held.state, is_named.contains(&held.addr)) {
                    (State::Reachable, false)
                        if !is_wanted_by_another(held, &self.merged, &self.followed, now) =>
                    {
                        held.state = State::Stray;
                        let action = if named.addrs.is_empty() {
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
            for addr in named.addrs {
                if bound.contains(&addr) {
                    continue;
                }
                // What is news of one setting is no news of the next, where the port is known.
                if addr.port() != 0 {
                    bound.insert(addr);
                }
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

fn setting_of(followed: &[Followed], entry: usize) -> Option<&Followed> {
    followed.iter().find(|followed| followed.entry == entry)
}

/// The port that a setting has, or would have; 0 where that is not known.
fn port_of(followed: &Followed, own: &[impl Deref<Target = Held>]) -> u16 {
    let range = followed.addr.ports();
    match own.first() {
        Some(held) => held.addr.port(),
        None if range.start() == range.end() => *range.start(),
        None => 0,
    }
}

/// Tells whether a setting that was merged into that of a socket stands for its address still.
fn is_wanted_by_another(
    held: &Held,
    merged: &[Merged],
    followed: &[Followed],
    now: &Interfaces,
) -> bool {
    let is_here =
        |merged: &&Merged| (merged.into_entry(), merged.addr()) == (held.entry, held.addr);
    // One that is not followed is an address as it is written.
    let stands_for = |merged: &Merged| {
        let followed = setting_of(followed, merged.entry());
        let named = followed.and_then(|followed| named(followed, held.addr.port(), now));
        named.is_none_or(|named| named.addrs.contains(&held.addr))
    };
    merged.iter().filter(is_here).any(stands_for)
}

/// The interface through which clients connect to `addr`.
fn through(addr: SocketAddr, host: &Interfaces) -> Option<String> {
    let reach = BindTarget::classify_socket(addr, host).reach(0, host);
    let interface = reach.dials().first()?.interface()?;
    Some(interface.to_owned())
}

impl Tie {
    /// The interface that the zone of an address is.
    fn by_zone(addr: SocketAddr, host: &Interfaces) -> Option<Self> {
        let SocketAddr::V6(v6) = addr else {
            return None;
        };
        // No interface has the index 0.
        let interface = host.by_index(v6.scope_id())?;
        Some(Self {
            name: interface.name().to_owned(),
            index: interface.index(),
        })
    }
}

impl Held {
    fn new<S: StdSocket>(listener: &Listener<S>, host: &Interfaces) -> Self {
        let addr = listener.local_addr();
        let device = listener.device();
        let is_on_device = device.is_some();
        let tie = match device {
            Some(name) => Some(Tie {
                index: host.by_name(&name).and_then(Interface::index),
                name,
            }),
            None => Tie::by_zone(addr, host),
        };
        let mut held = Self {
            entry: listener.entry(),
            addr,
            tie,
            is_on_device,
            state: State::Reachable,
        };
        let is_foreign = BindTarget::classify_socket(addr, host).is_foreign();
        if is_foreign || held.is_on_device && !held.is_reachable(host) {
            held.state = State::Gone;
        }
        held
    }

    fn look(&mut self, before: &Interfaces, now: &Interfaces) -> Option<Change> {
        if self.tie.is_none() {
            // The interface came after the snapshot that was taken before binding.
            self.tie = Tie::by_zone(self.addr, now);
        }
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
        let mut device = None;
        if let Some(tie) = &self.tie {
            // By its index, for it may go by another name now.
            let interface = tie.index.and_then(|index| host.by_index(index));
            let Some(interface) = interface else {
                return false;
            };
            device = self.is_on_device.then_some(interface);
        }
        let target = BindTarget::classify_socket(self.addr, host);
        if target.is_any() {
            return device.is_none_or(Interface::is_up);
        }
        let reach = target.reach_on_device(0, device.map(Interface::name), host);
        !reach.dials().is_empty()
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

/// What a setting stands for.
struct Named {
    /// The addresses that clients can connect to.
    addrs: Vec<SocketAddr>,
    /// Whether clients can connect to all that it stands for here: what is tentative, say, would fail to bind.
    is_whole: bool,
}

/// What a setting stands for on `port`; `None` where the snapshot does not say.
fn named(followed: &Followed, port: u16, host: &Interfaces) -> Option<Named> {
    let is_default = *followed.addr.host() == Host::Word(Word::Default);
    if is_default && !host.knows_default_sources() {
        return None;
    }
    let mut named = Named {
        addrs: Vec::new(),
        is_whole: true,
    };
    let targets = followed.addr.resolve(host).unwrap_or_default();
    if targets.iter().any(BindTarget::is_any) {
        return None;
    }
    let endpoints = targets.iter().map(BindTarget::endpoint).collect();
    for endpoint in followed.choice.of(endpoints)? {
        let target = endpoint.classify(host);
        let reach = target.reach(port, host);
        named.is_whole &= target.is_foreign() || !reach.dials().is_empty();
        named.addrs.extend(reach.dials().iter().map(Dial::addr));
    }
    Some(named)
}
