//! Follows the addresses of the host: [`Acceptor::follow`] (features `tokio` and `watch`).

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::{Acceptor, HandleError, Shared};
use crate::plan::Plan;
use crate::update::{Apply, Event, Following, Pause, Watch};

impl Acceptor {
    /// Opens and closes sockets as the addresses of the host change: those of `plan`, which the
    /// listeners were bound by, or of the last one that a [`Handle`](super::Handle) has applied.
    ///
    /// When an address or an interface has changed, the plan is [computed again](Plan::replan) and
    /// applied with [`Apply::BestEffort`]. A literal address keeps its socket while the host lacks
    /// the address; the socket of a selector, such as `eth0`, is closed. A snapshot that cannot be
    /// read changes nothing. What fails is tried again, after 100 ms at first and half a minute at
    /// last, while the other sockets go on.
    ///
    /// `on_event` is called with each step, for a log. A task of the runtime does the work until
    /// the acceptor is dropped or [stopped](super::Handle::stop), whether it is polled or not.
    ///
    /// # Errors
    ///
    /// The system's, as in a sandbox without `AF_NETLINK`. The acceptor is dropped then.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its timer.
    ///
    /// # Platform notes
    ///
    /// - Linux: the kernel wakes the task. It is about the network namespace of the calling thread,
    ///   and so should be the threads of the runtime.
    /// - Elsewhere: the task looks once a second.
    ///
    /// # Examples
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// use bindaddr::BindOptions;
    /// use bindaddr::accept::Acceptor;
    ///
    /// let plan = BindOptions::new().plan("localhost:0")?;
    /// let acceptor = Acceptor::new(plan.bind()?)?.follow(plan, |event| eprint!("{event}"))?;
    /// # let _ = acceptor;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow(
        self,
        plan: Plan,
        on_event: impl FnMut(&Event) + Send + 'static,
    ) -> io::Result<Self> {
        // It watches before the host is read, so that nothing changes unseen in between.
        let changes = Changes::new(Watch::new()?)?;
        let following = Following::new(&plan, &self.shared.read().listeners);
        *self.shared.followed() = Some(plan);
        let follower = Follower {
            shared: self.shared.clone(),
            following,
            on_event,
        };
        let task = self.shared.runtime.spawn(follower.run(changes));
        let before = self.shared.task().replace(task.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
        Ok(self)
    }
}

struct Follower<F> {
    shared: Arc<Shared>,
    following: Following,
    on_event: F,
}

impl<F: FnMut(&Event)> Follower<F> {
    async fn run(mut self, mut changes: Changes) {
        let mut pause = Pause::default();
        loop {
            let is_settled = match self.step().await {
                Ok(is_settled) => is_settled,
                // The acceptor is gone.
                Err(HandleError::Stopped) => return,
                Err(_) => false,
            };
            let waited = async {
                if is_settled {
                    Some(self.shared.next_change(&mut changes).await)
                } else {
                    let next = changes.next();
                    tokio::time::timeout(pause.get(), next).await.ok()
                }
            };
            match waited.await {
                Some(Ok(())) => {
                    self.following.set_watched();
                    pause.reset();
                }
                None => pause.grow(),
                // Without notifications it looks now and then.
                Some(Err(error)) => {
                    let event = self.following.unwatched(error);
                    self.tell(event);
                    tokio::time::sleep(pause.get()).await;
                    pause.grow();
                }
            }
        }
    }

    /// Makes the sockets those of the plan for the host as it is now. Returns `false` if something
    /// has to be tried again.
    async fn step(&mut self) -> Result<bool, HandleError> {
        let shared = self.shared.clone();
        let _turn = shared.turn.lock().await;
        let Some(plan) = shared.followed().clone() else {
            return Ok(true);
        };
        let plan = match self.following.replan(&plan) {
            Ok(plan) => plan,
            Err(events) => {
                self.tell(events);
                return Ok(false);
            }
        };
        let before = plan.diff(&shared.read().listeners);
        let update = shared.apply(&plan, Apply::BestEffort)?;
        let after = plan.diff(&shared.read().listeners);
        *shared.followed() = Some(plan);
        let is_settled = update.errors().is_empty() && update.pending().is_empty();
        let events = self.following.events(&before, after, update);
        self.tell(events);
        Ok(is_settled)
    }

    fn tell(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            (self.on_event)(&event);
        }
    }
}

impl Shared {
    /// Waits until the host has changed, or an update could not do everything.
    async fn next_change(&self, changes: &mut Changes) -> io::Result<()> {
        let mut next = pin!(changes.next());
        let mut has_failed = pin!(self.has_failed.notified());
        poll_fn(|cx| match has_failed.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => next.as_mut().poll(cx),
        })
        .await
    }
}

/// Waits for changes of the host.
#[cfg(target_os = "linux")]
struct Changes {
    watch: Watch,
    /// A copy of its descriptor that the runtime waits for. It is a socket of another family; tokio
    /// takes other descriptors only by an unsafe function.
    copy: tokio::net::UnixDatagram,
}

#[cfg(target_os = "linux")]
impl Changes {
    fn new(watch: Watch) -> io::Result<Self> {
        let copy = std::os::fd::AsFd::as_fd(&watch).try_clone_to_owned()?;
        let copy = tokio::net::UnixDatagram::from_std(copy.into())?;
        Ok(Self { watch, copy })
    }

    async fn next(&mut self) -> io::Result<()> {
        let readable = tokio::io::Interest::READABLE;
        loop {
            self.copy.readable().await?;
            let watch = &mut self.watch;
            let taken = self.copy.try_io(readable, || {
                let is_changed = watch.wait(Some(Duration::ZERO))?;
                is_changed
                    .then_some(())
                    .ok_or(io::ErrorKind::WouldBlock.into())
            });
            match taken {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => return taken,
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Changes;

#[cfg(not(target_os = "linux"))]
impl Changes {
    #[allow(clippy::unnecessary_wraps)] // as on Linux
    fn new(_: Watch) -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> io::Result<()> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }
}
