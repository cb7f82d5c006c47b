//! Why the sockets of a running server could not be changed: [`HandleError`] (feature `tokio` or
//! `watch`).

use std::io;

use crate::diagnosis::BindError;

/// Why a handle could not change the sockets of its server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The sockets of the plan cannot be opened; the server has those that it had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The server was dropped or stopped, and has no sockets any more.
    #[error("the server has stopped")]
    Stopped,
    /// The system or the runtime does not hand a socket out.
    #[error("cannot hand out the sockets")]
    Io(#[source] io::Error),
}
