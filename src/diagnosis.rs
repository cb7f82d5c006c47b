//! The causes of failures and what helps: [`Cause`], [`Hint`] and [`Warning`], and the errors that
//! carry them.
//!
//! A [`BindError`] has one [`SettingError`] for each setting or socket that failed, each with its
//! causes and hints. A warning is about a socket that can be opened and is probably not what was
//! meant.

// The causes.
mod cause;
// Their sentences.
mod messages;
// The hints.
mod hint;
// A socket that has a port.
mod holder;
// The error of binding.
mod error;
// Valid settings that are probably not intended.
mod warning;

use std::fmt;
use std::net::IpAddr;

pub(crate) use crate::hint::without_repetition;
pub use crate::hint::{Hint, HintKind};
use crate::interfaces::InterfaceAddr;
pub use crate::sys::SocketState;
pub use cause::{Cause, FamilyUnavailableReason, Mismatch, Policy, Privilege, RangeHolders};
pub use error::{BindError, Position, SettingError};
pub(crate) use hint::of_unresolved as hints_of_unresolved;
pub use holder::Holder;
pub use warning::{BindableReason, Container, Warning, WarningKind};

/// How far the opening of a socket came.
///
/// # Examples
///
/// ```
/// use bindaddr::diagnosis::Step;
///
/// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
/// assert_eq!(err.step(), Step::Bind);
/// assert_eq!(err.step().to_string(), "bind(2)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Reading the text.
    Parse,
    /// Finding what the text names on this host.
    Resolve,
    /// Checking the address and the options for what the kernel would take for something else.
    Validate,
    /// Making the socket, socket(2).
    Socket,
    /// Setting an option, setsockopt(2); its name is that of the method of
    /// [`BindOptions`](crate::BindOptions), or of the option where there is none.
    Option(&'static str),
    /// Giving the socket its address, bind(2).
    Bind,
    /// Starting to take connections, listen(2).
    Listen,
    /// Asking for the port that was given, getsockname(2).
    GetSockName,
    /// Handing the socket to the runtime that waits for its connections.
    Register,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parse => "reading the text",
            Self::Resolve => "resolving the text",
            Self::Validate => "checking the address",
            Self::Socket => "socket(2)",
            Self::Option(option) => return write!(f, "setting the option `{option}`"),
            Self::Bind => "bind(2)",
            Self::Listen => "listen(2)",
            Self::GetSockName => "getsockname(2)",
            Self::Register => "registering the socket with the runtime",
        })
    }
}

/// The causes of a failed attempt, and the hints about them.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    pub(crate) causes: Vec<Cause>,
    pub(crate) hints: Vec<Hint>,
}

/// Returns `true` if an interface has a loopback address that cannot be bound, because its route is
/// missing.
pub(crate) fn is_listed(ip: IpAddr, has: &[InterfaceAddr]) -> bool {
    has.iter().any(|addr| addr.ip() == ip)
}
