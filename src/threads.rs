//! Serves on std's threads while sockets come and go: [`Follower`], and the [`Handle`] that changes
//! them (feature `watch`).
//!
//! It is for a server that has a thread for each listener. One on tokio has
//! [`accept`](crate::accept).

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::addr::canonical;
use crate::bind::{Listener, Listeners, Served, is_about_one_client};
use crate::plan::Plan;
use crate::sys::Wakeup;
use crate::target::Protocol;
pub use crate::update::HandleError;
use crate::update::{Apply, Event, Following, Pause, Update, Watch, apply};

/// Iterates over what becomes of the sockets of a server as the addresses of its host change: each
/// new listener, to be served by a thread of its own, and events for a log.
///
/// The iterator waits until something happens, and ends when the server is [stopped](Handle::stop).
/// Whenever an address or an interface has changed, the plan is [computed again](Plan::replan) and
/// applied with [`Apply::BestEffort`]. A literal address keeps its socket while the host lacks the
/// address; the socket of a selector, such as `eth0`, is closed. A snapshot that cannot be read
/// changes nothing. What fails is tried again, after 100 ms at first and half a minute at last,
/// while the other sockets go on.
///
/// Dropping the follower leaves the sockets open until they are [stopped](Handle::stop); the host
/// is no longer followed, and no update is possible, because new listeners would have no thread.
///
/// # Platform notes
///
/// - Linux: the kernel reports changes. They are those of the network namespace of the thread that
///   made the follower, also after setns(2), and the thread that iterates has to be in the same
///   one.
/// - Elsewhere it looks once a second.
///
/// # Examples
///
/// ```
/// use std::io::Write as _;
/// use std::net::TcpStream;
/// use std::thread;
///
/// use bindaddr::BindOptions;
/// use bindaddr::threads::{Follower, Step};
///
/// let plan = BindOptions::new().plan("127.0.0.1:0")?;
/// let listeners = plan.bind()?;
/// # let addr = listeners[0].local_addr();
/// let follower = Follower::new(plan, listeners)?;
/// let handle = follower.handle();
/// # let client = thread::spawn(move || {
/// #     use std::io::Read as _;
/// #     let mut text = String::new();
/// #     TcpStream::connect(addr)?.read_to_string(&mut text)?;
/// #     assert_eq!(text, "hello\n");
/// #     handle.stop();
/// #     Ok::<(), std::io::Error>(())
/// # });
/// for step in follower {
///     match step {
///         Step::Opened(connections) => {
///             thread::spawn(move || {
///                 for (mut client, _) in connections {
///                     let _ = client.write_all(b"hello\n");
///                 }
///             });
///         }
///         Step::Event(event) => eprint!("{event}"),
///         _ => {}
///     }
/// }
/// # client.join().expect("no panic")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Follower {
    shared: Arc<Shared>,
    watch: Watch,
    following: Following,
    pause: Pause,
    /// Whether there is nothing to be tried again; `None` before the first look at the host.
    is_settled: Option<bool>,
}

/// A step of a [`Follower`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// A listener is open. A thread is to serve its connections until there are no more.
    Opened(Connections),
    /// Something for a log.
    Event(Event),
}

/// The connections of one listener, for the thread that serves it.
///
/// It waits for a connection, and returns it with the address of its client, an IPv4-mapped one as
/// IPv4. It ends when the listener is closed, after those that were waiting then. An error of
/// accept(2) never ends it: a connection that its client has given up is left out, and while
/// connections cannot be accepted, for example because the process has no descriptor left, it
/// retries after a pause.
///
/// Dropping it does not close the listener: the follower has it as well.
///
/// # Platform notes
///
/// Linux and Android wake the thread when the listener is closed (shutdown(2)). Elsewhere, and if
/// another process has the socket as well, it waits for one more client, which it returns.
///
/// # Examples
///
/// See [`Follower`].
pub struct Connections(Arc<Served>);

/// Changes the sockets of a [`Follower`], from any thread. It can be cloned.
///
/// # Examples
///
/// ```
/// use bindaddr::BindOptions;
/// use bindaddr::threads::Follower;
/// use bindaddr::update::Apply;
///
/// let options = BindOptions::new();
/// let plan = options.plan("127.0.0.1:0")?;
/// let listeners = plan.bind()?;
/// let follower = Follower::new(plan, listeners)?;
///
/// // The config was read again.
/// let plan = options.plan("127.0.0.1:0, localhost:0")?;
/// let update = follower.handle().apply(&plan, Apply::AllOrNone)?;
/// assert_eq!(update.kept(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// The state that the follower shares with its handles.
struct Shared {
    state: Mutex<State>,
    wakeup: Wakeup,
}

struct State {
    listeners: Listeners<Arc<Served>>,
    plan: Plan,
    steps: VecDeque<Step>,
    /// Whether an update by a handle could not do everything.
    has_failed: bool,
    is_stopped: bool,
    /// Whether the follower was dropped.
    is_unfollowed: bool,
}

impl Follower {
    /// Takes over listeners that were bound by `plan`, and makes them block. Each is one of the
    /// first steps.
    ///
    /// # Errors
    ///
    /// The system's, as in a sandbox without `AF_NETLINK`.
    pub fn new(plan: Plan, listeners: Listeners) -> io::Result<Self> {
        // It watches before the host is read, so that nothing changes unseen in between.
        let watch = Watch::new()?;
        let listeners = listeners.convert(|socket| {
            socket.set_nonblocking(false)?;
            Ok(Served::of(socket))
        })?;
        let opened = listeners.iter().map(opened);
        Ok(Self {
            following: Following::new(&plan, &listeners),
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    steps: opened.collect(),
                    listeners,
                    plan,
                    has_failed: false,
                    is_stopped: false,
                    is_unfollowed: false,
                }),
                wakeup: Wakeup::new()?,
            }),
            watch,
            pause: Pause::default(),
            is_settled: None,
        })
    }

    /// Returns a handle that changes the sockets from another thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }

    /// Makes the sockets those of the plan for the host as it is now. Returns `false` if something
    /// has to be tried again.
    fn follow(&mut self) -> bool {
        let mut state = self.shared.lock();
        state.has_failed = false;
        let plan = match self.following.replan(&state.plan) {
            Ok(plan) => plan,
            Err(events) => {
                state.steps.extend(events.into_iter().map(Step::Event));
                return false;
            }
        };
        let before = plan.diff(&state.listeners);
        let Ok(update) = state.apply(&plan, Apply::BestEffort) else {
            return true; // It has stopped.
        };
        let after = plan.diff(&state.listeners);
        let is_settled = update.errors().is_empty() && update.pending().is_empty();
        let events = self.following.events(&before, after, update);
        state.steps.extend(events.into_iter().map(Step::Event));
        is_settled
    }

    /// Waits until there is something to look at.
    fn wait(&mut self, is_settled: bool) {
        let pause = (!is_settled).then(|| self.pause.get());
        match self.watch.wait_unless(&self.shared.wakeup, pause) {
            Ok(true) => {
                self.following.set_watched();
                self.pause.reset();
            }
            Ok(false) if is_settled => {}
            Ok(false) => self.pause.grow(),
            // Without notifications it looks now and then.
            Err(error) => {
                let event = self.following.unwatched(error);
                self.shared.lock().steps.extend(event.map(Step::Event));
                self.shared.wakeup.is_used_within(self.pause.get());
                self.pause.grow();
            }
        }
    }
}

fn opened(listener: &Listener<Arc<Served>>) -> Step {
    Step::Opened(Connections(listener.socket().clone()))
}

impl Iterator for Follower {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            let (is_stopped, has_failed) = {
                let mut state = self.shared.lock();
                if let Some(step) = state.steps.pop_front() {
                    return Some(step);
                }
                (state.is_stopped, state.has_failed)
            };
            if is_stopped {
                return None;
            }
            match self.is_settled {
                None => {}
                Some(is_settled) => self.wait(is_settled && !has_failed),
            }
            self.is_settled = Some(self.follow());
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.lock().is_unfollowed = true;
    }
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addrs = self.shared.local_addrs();
        f.debug_tuple("Follower").field(&addrs).finish()
    }
}

impl Iterator for Connections {
    type Item = (TcpStream, SocketAddr);

    fn next(&mut self) -> Option<Self::Item> {
        const LONGEST: Duration = Duration::from_secs(1);
        let mut pause = Duration::from_millis(10);
        loop {
            match self.0.accept()? {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_about_one_client(&error) => {}
                // The error of a listener that was just closed.
                Err(_) if self.0.is_closed() => {}
                Err(_) => {
                    thread::sleep(pause);
                    pause = (2 * pause).min(LONGEST);
                }
            }
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let socket = self.0.socket();
        f.debug_tuple("Connections").field(socket).finish()
    }
}

impl Handle {
    /// Makes the sockets those of a plan, as [`Plan::apply`] does, and follows that plan from now
    /// on. New listeners are steps of the follower; connections that were not accepted of sockets
    /// that are closed are the last ones of those.
    ///
    /// A second update waits for the first.
    ///
    /// # Errors
    ///
    /// [`HandleError::Bind`] as for [`Plan::apply`], and [`HandleError::Stopped`] after
    /// [`stop`](Self::stop), or if the follower was dropped.
    pub fn apply(&self, plan: &Plan, mode: Apply) -> Result<Update, HandleError> {
        let update = {
            let mut state = self.0.lock();
            let update = state.apply(plan, mode)?;
            state.has_failed = !update.errors().is_empty();
            update
        };
        self.0.wakeup.wake();
        Ok(update)
    }

    /// Adds the listeners to a handover, for the process that replaces this one. They go on until
    /// they are [stopped](Self::stop).
    ///
    /// # Errors
    ///
    /// [`HandleError::Stopped`] after [`stop`](Self::stop), and [`HandleError::Io`] where a
    /// descriptor cannot be duplicated.
    #[cfg(all(unix, feature = "restart"))]
    pub fn hand_over(&self, handover: &mut crate::restart::Handover) -> Result<(), HandleError> {
        let state = self.0.lock();
        if state.is_stopped {
            return Err(HandleError::Stopped);
        }
        for listener in &state.listeners {
            handover
                .add_listener(listener, listener.socket().socket())
                .map_err(HandleError::Io)?;
        }
        Ok(())
    }

    /// Closes the listeners, and ends the follower. Connections that wait are served before the
    /// threads end.
    pub fn stop(&self) {
        {
            let mut state = self.0.lock();
            state.is_stopped = true;
            let before = state.served();
            let mut update = Update::default();
            for listener in state.listeners.take() {
                update.close(&listener);
            }
            state.end(&before, &mut update);
        }
        self.0.wakeup.wake();
    }

    /// Returns the addresses of the sockets that are open at present.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.local_addrs()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addrs = self.local_addrs();
        f.debug_tuple("Handle").field(&addrs).finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while it had the lock has left the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn local_addrs(&self) -> Vec<SocketAddr> {
        let state = self.lock();
        state.listeners.iter().map(Listener::local_addr).collect()
    }
}

impl State {
    fn apply(&mut self, plan: &Plan, mode: Apply) -> Result<Update, HandleError> {
        if self.is_stopped || self.is_unfollowed {
            return Err(HandleError::Stopped);
        }
        let before = self.served();
        // Connections that waited at a listener that had to stop stay with it.
        let applied = apply(plan, Protocol::Tcp, &mut self.listeners, mode);
        let mut update = applied.map_err(|failed| failed.error)?;
        let was_open = |listener: &&Listener<Arc<Served>>| {
            before
                .iter()
                .any(|(served, _)| Arc::ptr_eq(served, listener.socket()))
        };
        let new = self.listeners.iter().filter(|listener| !was_open(listener));
        self.steps.extend(new.map(opened));
        self.end(&before, &mut update);
        self.plan.clone_from(plan);
        Ok(update)
    }

    /// Returns the listeners that threads serve, each with whether another process has it as well.
    fn served(&self) -> Vec<(Arc<Served>, bool)> {
        let served = self.listeners.iter();
        served
            .map(|listener| (listener.socket().clone(), listener.state().is_shared()))
            .collect()
    }

    /// Ends the connections of those that are not open any more, after the ones that were waiting.
    fn end(&self, before: &[(Arc<Served>, bool)], update: &mut Update) {
        let is_open = |served: &Arc<Served>| {
            let mut open = self.listeners.iter();
            open.any(|listener| Arc::ptr_eq(served, listener.socket()))
        };
        let closed: Vec<_> = before
            .iter()
            .filter(|(served, _)| !is_open(served))
            .collect();
        leave(update.drained(), closed.iter().copied());
        for (served, is_shared) in closed {
            served.close(*is_shared);
        }
    }
}

/// Leaves connections that were accepted of listeners to the threads that serve those.
fn leave<'s>(
    connections: Vec<(TcpStream, SocketAddr)>,
    served: impl IntoIterator<Item = &'s (Arc<Served>, bool)>,
) {
    // Those that another process has as well are not drained, and their threads may end late.
    let served = served.into_iter().filter(|(_, is_shared)| !is_shared);
    let served: Vec<&Served> = served.map(|(served, _)| &**served).collect();
    for (client, peer) in connections {
        let Ok(local) = client.local_addr() else {
            continue;
        };
        let is_own = |served: &&&Served| {
            let addr = served.socket().local_addr();
            addr.is_ok_and(|addr| addr.port() == local.port())
        };
        if let Some(served) = served.iter().find(is_own) {
            served.leave([(client, canonical(peer))]);
        }
    }
}
