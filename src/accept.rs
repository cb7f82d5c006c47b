//! Accepts connections on all listeners of a server: [`Acceptor`], and the [`Handle`] that changes
//! them meanwhile (feature `tokio`).

// The listener for `axum::serve`.
#[cfg(feature = "axum")]
mod axum;
// Follows the addresses of the host.
#[cfg(feature = "watch")]
mod follow;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::net;
use tokio::runtime;
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep};

use crate::addr::canonical;
use crate::bind::{Listener, Listeners, is_about_one_client};
use crate::plan::Plan;
use crate::target::Protocol;
pub use crate::update::HandleError;
use crate::update::{Apply, Preparation, Unprepared, Update};

#[cfg(feature = "axum")]
pub use self::axum::Peer;

/// Accepts connections on all listeners of a server, for frameworks that take one.
///
/// [`accept`](Self::accept) returns connections of all sockets in turn, so that a busy one starves
/// no other. It never fails: a connection that its client has given up is left out, and while
/// connections cannot be accepted, for example because the process has no descriptor left, it
/// retries after a pause. As a [`Stream`] it yields the same connections, and ends once it is
/// [stopped](Handle::stop).
///
/// A [`Handle`] opens and closes sockets while the acceptor is being served, without losing a
/// connection.
///
/// Dropping the acceptor closes its sockets.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// use bindaddr::accept::Acceptor;
///
/// let mut acceptor = Acceptor::new(bindaddr::bind("localhost:0")?)?;
/// let client = tokio::net::TcpStream::connect(acceptor.local_addrs()[0]).await?;
/// let (_stream, peer) = acceptor.accept().await;
/// assert_eq!(peer, client.local_addr()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Acceptor {
    shared: Arc<Shared>,
    /// The index of the socket that is polled first.
    next: usize,
    retry: Retry,
    is_canonical: bool,
    on_error: Option<Box<OnError>>,
}

type OnError = dyn FnMut(&io::Error) + Send + Sync;

/// Changes the sockets of an [`Acceptor`], whatever serves it. It can be cloned.
///
/// It works as well while nothing polls the acceptor, as when a server has reached its limit of
/// connections.
///
/// # Examples
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// use bindaddr::BindOptions;
/// use bindaddr::accept::Acceptor;
/// use bindaddr::update::Apply;
///
/// let options = BindOptions::new();
/// let mut acceptor = Acceptor::new(options.bind("127.0.0.1:0")?)?;
/// let handle = acceptor.handle();
/// let server = tokio::spawn(async move {
///     loop {
///         let (stream, _) = acceptor.accept().await;
///         drop(stream);
///     }
/// });
///
/// // The config was read again.
/// let plan = options.plan("127.0.0.1:0, localhost:0")?;
/// let update = handle.apply(&plan, Apply::AllOrNone).await?;
/// assert_eq!(update.kept(), 1);
/// # server.abort();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// The state that the acceptor and its handles share.
struct Shared {
    state: RwLock<State>,
    inbox: Mutex<Inbox>,
    /// Whether there is anything in the inbox.
    has_ready: AtomicBool,
    /// How often sockets were changed.
    changes: AtomicUsize,
    /// Held by an update, so that a second one waits.
    turn: tokio::sync::Mutex<()>,
    /// The runtime of the sockets: an update may come from another one.
    runtime: runtime::Handle,
    /// The plan that is followed.
    followed: Mutex<Option<Plan>>,
    /// Tells the task that follows it to try again what an update could not do.
    #[cfg(feature = "watch")]
    has_failed: tokio::sync::Notify,
    /// The task that follows it.
    task: Mutex<Option<AbortHandle>>,
}

struct State {
    listeners: Listeners<net::TcpListener>,
    is_stopped: bool,
}

/// The connections that updates pass to the acceptor.
#[derive(Default)]
struct Inbox {
    /// Connections that were accepted of sockets before those were closed.
    ready: VecDeque<(net::TcpStream, SocketAddr)>,
    /// The waker of the task that waits for a connection.
    waker: Option<Waker>,
}

impl Acceptor {
    /// Creates the acceptor of some listeners, and makes them non-blocking.
    ///
    /// # Errors
    ///
    /// The system's, where the runtime cannot have a socket.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its I/O driver.
    pub fn new(listeners: Listeners) -> io::Result<Self> {
        let listeners = listeners.convert(|socket| {
            socket.set_nonblocking(true)?;
            net::TcpListener::from_std(socket)
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                state: RwLock::new(State {
                    listeners,
                    is_stopped: false,
                }),
                inbox: Mutex::default(),
                has_ready: AtomicBool::new(false),
                changes: AtomicUsize::new(0),
                turn: tokio::sync::Mutex::new(()),
                runtime: runtime::Handle::current(),
                followed: Mutex::default(),
                #[cfg(feature = "watch")]
                has_failed: tokio::sync::Notify::new(),
                task: Mutex::default(),
            }),
            next: 0,
            retry: Retry::default(),
            is_canonical: true,
            on_error: None,
        })
    }

    /// Sets whether the address of an IPv4 client that connected to a dual-stack socket is returned
    /// as IPv4, and not as the IPv4-mapped `::ffff:192.0.2.1`. It is by default, because lists of
    /// allowed addresses have IPv4 addresses.
    ///
    /// The [`peer_addr`](tokio::net::TcpStream::peer_addr) of the connection stays IPv4-mapped.
    #[must_use]
    pub fn canonical_peers(mut self, canonical: bool) -> Self {
        self.is_canonical = canonical;
        self
    }

    /// Sets a callback for the errors by which connections cannot be accepted for a while, such as
    /// a lack of descriptors. It is called once for each pause, and is for a log.
    #[must_use]
    pub fn on_error(mut self, callback: impl FnMut(&io::Error) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Box::new(callback));
        self
    }

    /// Waits for a connection, and returns it with the address of its client.
    ///
    /// After [`Handle::stop`] it returns the connections that were accepted before, and then waits
    /// forever.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection.
    pub async fn accept(&mut self) -> (net::TcpStream, SocketAddr) {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for a connection, as [`accept`](Self::accept) waits for one.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(net::TcpStream, SocketAddr)> {
        loop {
            let changes = self.shared.changes.load(Ordering::Acquire);
            let mut accepted = self.shared.pop_ready();
            if accepted.is_none() && self.retry.poll_pause(cx).is_ready() {
                accepted = self.poll_sockets(cx);
            }
            if let Some((stream, peer)) = accepted {
                let peer = if self.is_canonical {
                    canonical(peer)
                } else {
                    peer
                };
                return Poll::Ready((stream, peer));
            }
            self.shared.set_waker(cx.waker());
            // An update in between has woken no task.
            if self.shared.changes.load(Ordering::Acquire) == changes {
                return Poll::Pending;
            }
        }
    }

    /// Polls each socket, from the next one on, and returns the first connection. If there is none,
    /// the task is woken later.
    fn poll_sockets(&mut self, cx: &mut Context<'_>) -> Option<(net::TcpStream, SocketAddr)> {
        let mut failed = None;
        {
            let state = self.shared.read();
            let count = state.listeners.len();
            for offset in 0..count {
                let index = (self.next + offset) % count;
                match poll_socket(state.listeners[index].socket(), cx) {
                    Poll::Ready(Ok(accepted)) => {
                        self.next = index + 1;
                        self.retry.reset();
                        return Some(accepted);
                    }
                    Poll::Ready(Err(error)) => failed = Some(error),
                    Poll::Pending => {}
                }
            }
        }
        if let Some(error) = failed {
            if let Some(on_error) = &mut self.on_error {
                on_error(&error);
            }
            // Polled once, so that it wakes the task.
            self.retry.pause();
            let _ = self.retry.poll_pause(cx);
        }
        None
    }

    /// Returns the addresses of the sockets that are open at present.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.shared.local_addrs()
    }

    /// Returns a handle that changes the sockets while the acceptor is being served.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }
}

/// Polls a socket, and leaves out the connections that their clients have given up.
fn poll_socket(
    socket: &net::TcpListener,
    cx: &mut Context<'_>,
) -> Poll<io::Result<(net::TcpStream, SocketAddr)>> {
    loop {
        match ready!(socket.poll_accept(cx)) {
            Err(error) if is_about_one_client(&error) => {}
            result => return Poll::Ready(result),
        }
    }
}

/// The pauses while no connection can be accepted.
#[derive(Default)]
struct Retry {
    pause: Option<Pin<Box<Sleep>>>,
    last: Option<Duration>,
}

impl Retry {
    /// The first pause, which doubles up to the longest.
    const FIRST: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_secs(1);

    /// Starts a pause.
    fn pause(&mut self) {
        let next = self.last.map_or(Self::FIRST, |last| 2 * last);
        let next = next.min(Self::LONGEST);
        self.last = Some(next);
        self.pause = Some(Box::pin(sleep(next)));
    }

    /// Polls for the end of a pause; it is ready if there is none.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(())
    }

    fn reset(&mut self) {
        self.last = None;
    }
}

impl Stream for Acceptor {
    type Item = io::Result<net::TcpStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.poll_accept(cx) {
            Poll::Ready((stream, _)) => Poll::Ready(Some(Ok(stream))),
            Poll::Pending if self.shared.read().is_stopped => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.shared.end_task();
        let mut state = self.shared.write();
        state.is_stopped = true;
        state.listeners = Listeners::default();
        *self.shared.inbox() = Inbox::default();
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addrs = self.local_addrs();
        f.debug_tuple("Acceptor").field(&addrs).finish()
    }
}

impl Handle {
    /// Makes the sockets of the acceptor those of a plan, as [`Plan::apply`] does. Connections that
    /// were not accepted of sockets that are closed are returned by the acceptor.
    ///
    /// A second update waits for the first. The sockets are opened on the thread of the caller, by
    /// system calls that do not wait; the causes of a failure are read there as well.
    ///
    /// # Errors
    ///
    /// [`HandleError::Bind`] as for [`Plan::apply`], and [`HandleError::Stopped`] if the acceptor
    /// was dropped or stopped.
    ///
    /// # Cancel safety
    ///
    /// An update that has begun is completed in one step.
    pub async fn apply(&self, plan: &Plan, mode: Apply) -> Result<Update, HandleError> {
        let _turn = self.0.turn.lock().await;
        let update = self.0.apply(plan, mode)?;
        if let Some(followed) = &mut *self.0.followed() {
            followed.clone_from(plan);
        }
        #[cfg(feature = "watch")]
        if !update.errors().is_empty() {
            self.0.has_failed.notify_one();
        }
        Ok(update)
    }

    /// Adds the listeners to a handover, for the process that replaces this one. The acceptor goes
    /// on; it may be [stopped](Self::stop) or dropped once the other process is ready.
    ///
    /// # Errors
    ///
    /// [`HandleError::Stopped`] if the acceptor was dropped or stopped, and [`HandleError::Io`]
    /// where a descriptor cannot be duplicated.
    #[cfg(all(unix, feature = "restart"))]
    pub fn hand_over(&self, handover: &mut crate::restart::Handover) -> Result<(), HandleError> {
        let state = self.0.read();
        if state.is_stopped {
            return Err(HandleError::Stopped);
        }
        handover.add(&state.listeners).map_err(HandleError::Io)
    }

    /// Stops the acceptor, and returns its listeners with what waits in their queues, for a
    /// restart. They are non-blocking.
    ///
    /// The acceptor still returns the connections that it has accepted.
    ///
    /// # Errors
    ///
    /// [`HandleError::Stopped`] if the acceptor was dropped or stopped before.
    pub fn stop(&self) -> Result<Listeners, HandleError> {
        let listeners = {
            let mut state = self.0.write();
            if state.is_stopped {
                return Err(HandleError::Stopped);
            }
            state.is_stopped = true;
            std::mem::take(&mut state.listeners)
        };
        self.0.end_task();
        self.0.wake();
        let listeners = listeners.convert(net::TcpListener::into_std);
        listeners.map_err(HandleError::Io)
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
    // A thread that panicked while it had a lock has left the state whole: what may panic is not
    // done under one.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn followed(&self) -> MutexGuard<'_, Option<Plan>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the task that follows the host.
    fn end_task(&self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }

    /// Opens what is missing while the acceptor goes on, and then replaces the sockets in one step.
    fn apply(&self, plan: &Plan, mode: Apply) -> Result<Update, HandleError> {
        let _runtime = self.runtime.enter();
        let mut update = Update::default();
        if mode == Apply::BestEffort {
            let mut state = self.write();
            update.release(plan, Protocol::Tcp, &mut state.listeners);
        }
        let prepared = {
            let state = self.read();
            if state.is_stopped {
                return Err(HandleError::Stopped);
            }
            Preparation::new(plan, Protocol::Tcp, &state.listeners, mode)
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(Unprepared { error, drained }) => {
                let drained = drained
                    .into_iter()
                    .filter_map(|(stream, peer)| Some((registered(stream).ok()?, peer)));
                self.inbox().ready.extend(drained);
                self.wake();
                return Err(error.into());
            }
        };
        {
            let mut state = self.write();
            // Its sockets may be those of another process by now.
            if state.is_stopped {
                return Err(HandleError::Stopped);
            }
            prepared.commit(plan, &mut state.listeners, &mut update);
            for (stream, peer) in update.drained() {
                match registered(stream) {
                    Ok(stream) => self.inbox().ready.push_back((stream, peer)),
                    Err(error) => update.add_drain_error(error),
                }
            }
        }
        self.wake();
        Ok(update)
    }

    /// Wakes the task of the acceptor after a change.
    fn wake(&self) {
        let mut inbox = self.inbox();
        self.has_ready
            .store(!inbox.ready.is_empty(), Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn pop_ready(&self) -> Option<(net::TcpStream, SocketAddr)> {
        if !self.has_ready.load(Ordering::Acquire) {
            return None;
        }
        let mut inbox = self.inbox();
        let ready = inbox.ready.pop_front();
        self.has_ready
            .store(!inbox.ready.is_empty(), Ordering::Release);
        ready
    }

    fn set_waker(&self, waker: &Waker) {
        let mut inbox = self.inbox();
        match &mut inbox.waker {
            Some(own) if own.will_wake(waker) => {}
            own => *own = Some(waker.clone()),
        }
    }

    fn local_addrs(&self) -> Vec<SocketAddr> {
        let state = self.read();
        state.listeners.iter().map(Listener::local_addr).collect()
    }
}

/// Hands a connection to the runtime.
fn registered(stream: TcpStream) -> io::Result<net::TcpStream> {
    stream.set_nonblocking(true)?;
    net::TcpStream::from_std(stream)
}
