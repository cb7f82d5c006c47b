//! Passes sockets to the process that replaces this one: [`Handover`] (feature `restart`).

use std::io::{self, Read as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

use crate::bind::{Listener, Listeners};
use crate::sys::READY;

/// Sockets for another process, in systemd's protocol (`sd_listen_fds(3)`).
///
/// The other process takes them by [`Activation::from_env`](crate::Activation::from_env), or is any
/// server that systemd can activate. Both processes have the same sockets, so no client is refused
/// while one replaces the other: connections wait in the queues that both accept from.
///
/// Once sockets were added, they count as shared: an update neither stops them nor opens a socket
/// that overlaps with them, and reports that closing them frees no port.
///
/// # Examples
///
/// ```no_run
/// use std::process::Command;
/// use std::time::Duration;
///
/// use bindaddr::restart::Handover;
///
/// let listeners = bindaddr::bind("localhost:8080")?;
/// // On a signal: the new version of this program takes over.
/// let mut handover = Handover::new();
/// handover.add(&listeners)?;
/// let mut successor = handover.spawn(Command::new(std::env::current_exe()?))?;
/// successor.wait_until_ready(Duration::from_secs(30))?;
/// drop(listeners); // and finish the requests that are left
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Handover {
    sockets: Vec<OwnedFd>,
    names: Vec<String>,
}

/// A process that replaces this one.
///
/// # Examples
///
/// See [`Handover`].
#[derive(Debug)]
pub struct Successor {
    child: Child,
    ready: UnixStream,
}

/// Why a [`Successor`] has not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuccessorError {
    /// It has ended, or closed its sockets, before it was ready.
    #[error("the new process ended before it was ready")]
    Ended,
    /// It was not ready in time.
    #[error("the new process was not ready in time")]
    TimedOut,
    /// The system does not let this process wait.
    #[error("cannot wait for the new process")]
    Io(#[source] io::Error),
}

impl Handover {
    /// Returns a handover of no socket.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds listeners, TCP or UDP, under the names `listen-0`, `listen-1` and so on. They stay open
    /// here.
    ///
    /// # Errors
    ///
    /// The system's, where a descriptor cannot be duplicated.
    pub fn add<S: AsFd>(&mut self, listeners: &Listeners<S>) -> io::Result<()> {
        for listener in listeners {
            self.add_listener(listener, listener.socket())?;
        }
        Ok(())
    }

    /// Adds listeners, all under one name, as those of a socket unit have (`FileDescriptorName=`,
    /// systemd.socket(5)). It is for a process that finds them by name, such as that of the
    /// setting: a name has no colon, so no address is one.
    ///
    /// # Errors
    ///
    /// As for [`add_socket`](Self::add_socket).
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::restart::Handover;
    ///
    /// let mut handover = Handover::new();
    /// handover.add_named("http", &bindaddr::bind("localhost:0")?)?;
    /// handover.add_named("metrics", &bindaddr::bind("127.0.0.1:0")?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_named<S: AsFd>(&mut self, name: &str, listeners: &Listeners<S>) -> io::Result<()> {
        for listener in listeners {
            self.add_socket(name, listener.socket())?;
            listener.set_shared();
        }
        Ok(())
    }

    /// Adds the socket of a listener.
    pub(crate) fn add_listener<S>(
        &mut self,
        listener: &Listener<S>,
        socket: impl AsFd,
    ) -> io::Result<()> {
        self.add_socket(&format!("listen-{}", self.sockets.len()), socket)?;
        listener.set_shared();
        Ok(())
    }

    /// Adds any other descriptor under a name, such as a Unix socket.
    ///
    /// # Errors
    ///
    /// A name that `LISTEN_FDNAMES` cannot have: it is empty, longer than 255 bytes, or has a colon
    /// or a control character. The system's, where the descriptor cannot be duplicated.
    pub fn add_socket(&mut self, name: &str, socket: impl AsFd) -> io::Result<()> {
        let is_odd = |c: char| c == ':' || c.is_control();
        if name.is_empty() || name.len() > 255 || name.contains(is_odd) {
            let text = format!("a descriptor cannot be called {name:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.sockets.push(socket.as_fd().try_clone_to_owned()?);
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Passes the sockets to a command that is spawned, as the descriptors from 3 on.
    ///
    /// It sets `LISTEN_FDS` and `LISTEN_FDNAMES`, and removes `LISTEN_PID`, because the number of
    /// the process is not known before there is one. A server that insists on it, as gunicorn does,
    /// is started by a shell: `sh -c 'LISTEN_PID=$$ exec "$0" "$@"' gunicorn app`.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn pass_to(self, command: &mut Command) -> io::Result<()> {
        set_variables(command, &self.names);
        command
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS_FIRST_FD");
        let mappings = self.sockets.into_iter().zip(3..);
        let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping {
            parent_fd,
            child_fd,
        });
        let mapped = command.fd_mappings(mappings.collect()).map(drop);
        mapped.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    /// Spawns the process that replaces this one, with the sockets and with what it reports that it
    /// is ready by ([`Activation::notify_ready`](crate::Activation::notify_ready)).
    ///
    /// # Errors
    ///
    /// The system's. This process goes on then.
    pub fn spawn(mut self, mut command: Command) -> io::Result<Successor> {
        let (ready, other) = UnixStream::pair()?;
        self.add_socket(READY, other)?;
        self.pass_to(&mut command)?;
        let child = command.spawn()?;
        // The command has the other end as well, so it is dropped: else the end of the child would
        // not be seen.
        Ok(Successor { child, ready })
    }

    /// Replaces the image of this process (execve(2)), and passes the sockets on. It returns only
    /// if that fails.
    ///
    /// Requests that are being answered end with this image, so stop accepting and finish them
    /// before. The sockets are copied to a free block of descriptors, whose first is in
    /// `LISTEN_FDS_FIRST_FD`: the lower ones may be those of the runtime. The copies are closed if
    /// execve(2) fails, and this process goes on.
    #[must_use]
    pub fn exec(self, command: &mut Command) -> io::Error {
        let copies = match self.copies_in_a_block() {
            Ok(copies) => copies,
            Err(error) => return error,
        };
        set_variables(command, &self.names);
        let first = copies.first().map_or(3, AsRawFd::as_raw_fd);
        command
            .env("LISTEN_PID", std::process::id().to_string())
            .env("LISTEN_FDS_FIRST_FD", first.to_string());
        command.exec()
    }

    /// Duplicates the sockets to descriptors that follow each other and stay open over execve(2).
    fn copies_in_a_block(&self) -> io::Result<Vec<OwnedFd>> {
        // 0 to 2 are the standard streams.
        let mut first = 3;
        'block: loop {
            let mut copies: Vec<OwnedFd> = Vec::with_capacity(self.sockets.len());
            for (socket, wanted) in self.sockets.iter().zip(first..) {
                let copy = fcntl_dupfd_cloexec(socket, wanted)?;
                let found = copy.as_raw_fd();
                copies.push(copy);
                if found != wanted {
                    // This one is taken, so the block begins behind it.
                    first = if copies.len() == 1 { found } else { wanted + 1 };
                    continue 'block;
                }
            }
            for copy in &copies {
                fcntl_setfd(copy, FdFlags::empty())?;
            }
            return Ok(copies);
        }
    }
}

fn set_variables(command: &mut Command, names: &[String]) {
    command
        .env("LISTEN_FDS", names.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"));
}

impl Successor {
    /// Waits until the process reports that it accepts connections.
    ///
    /// # Errors
    ///
    /// A [`SuccessorError`]: it has ended, or is not ready in time. The sockets of this process are
    /// as they were then.
    pub fn wait_until_ready(&mut self, timeout: Duration) -> Result<(), SuccessorError> {
        // std rejects a timeout of zero.
        let timeout = timeout.max(Duration::from_millis(1));
        self.ready
            .set_read_timeout(Some(timeout))
            .map_err(SuccessorError::Io)?;
        // It goes on after a signal.
        match self.ready.read_exact(&mut [0]) {
            Ok(()) => Ok(()),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::UnexpectedEof => SuccessorError::Ended,
                io::ErrorKind::WouldBlock => SuccessorError::TimedOut,
                _ => SuccessorError::Io(error),
            }),
        }
    }

    /// Returns the process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}
