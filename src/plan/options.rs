//! The options of a plan and of its sockets, as plain data: [`Options`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::select::{AddrSelection, Resolver};
use crate::diagnosis::{BindError, Cause, SettingError, Step};
#[cfg(feature = "socket-activation")]
use crate::sys::Activation;

/// What [`BindOptions`](crate::BindOptions) sets.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is an option of a socket
pub(crate) struct Options {
    pub(crate) backlog: Option<u32>,
    pub(crate) only_v6: bool,
    pub(crate) reuse_port: bool,
    pub(crate) freebind: bool,
    pub(crate) nonblocking: bool,
    pub(crate) device: Option<String>,
    pub(crate) mptcp: bool,
    pub(crate) nodelay: bool,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) before_bind: Option<BeforeBind>,
    pub(crate) splits_families: bool,
    pub(crate) one_port: bool,
    pub(crate) random_ports: bool,
    pub(crate) waits_for_port: bool,
    pub(crate) wait: Duration,
    pub(crate) on_wait: Option<OnWait>,
    pub(crate) selection: AddrSelection,
    pub(crate) resolver: Option<Resolver>,
    #[cfg(feature = "socket-activation")]
    pub(crate) activation: Activation,
}

impl Options {
    /// Returns `true` if there are sockets to take in place of binding.
    #[cfg(feature = "socket-activation")]
    pub(crate) fn has_inherited_sockets(&self) -> bool {
        !self.activation.is_empty()
    }

    #[cfg(not(feature = "socket-activation"))]
    #[allow(clippy::unused_self)] // as with the feature
    pub(crate) fn has_inherited_sockets(&self) -> bool {
        false
    }

    /// Returns `true` if a dual-stack wildcard that was handed over may serve an IPv4 one.
    #[cfg(feature = "socket-activation")]
    pub(crate) fn allows_dual_stack(&self) -> bool {
        self.activation.allows_dual_stack()
    }

    #[cfg(not(feature = "socket-activation"))]
    #[allow(clippy::unused_self)] // as with the feature
    pub(crate) fn allows_dual_stack(&self) -> bool {
        false
    }
}

/// A callback that is called with each socket before bind(2).
#[derive(Clone)]
pub(crate) struct BeforeBind(pub(crate) Arc<UnboundCallback>);

type UnboundCallback = dyn Fn(&UnboundSocket<'_>) -> io::Result<()> + Send + Sync;

impl fmt::Debug for BeforeBind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeforeBind")
    }
}

/// A socket that is not bound yet: what
/// [`BindOptions::before_bind`](crate::BindOptions::before_bind) passes to its callback. It lends
/// its descriptor (`AsFd`; on Windows `AsSocket`).
#[derive(Clone, Copy, Debug)]
pub struct UnboundSocket<'a> {
    pub(crate) socket: SocketHandle<'a>,
    pub(crate) addr: SocketAddr,
}

#[cfg(unix)]
pub(crate) type SocketHandle<'a> = std::os::fd::BorrowedFd<'a>;
#[cfg(windows)]
pub(crate) type SocketHandle<'a> = std::os::windows::io::BorrowedSocket<'a>;

impl UnboundSocket<'_> {
    /// Returns the address that it will be bound to; port 0 is of the kernel's choice.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for UnboundSocket<'_> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for UnboundSocket<'_> {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.socket
    }
}

/// A callback that is called before each pause.
#[derive(Clone)]
pub(crate) struct OnWait(pub(crate) Arc<Callback>);

type Callback = dyn Fn(&WaitProgress<'_>) -> ControlFlow<()> + Send + Sync;

impl fmt::Debug for OnWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWait")
    }
}

/// How long binding has waited, and for what: what
/// [`BindOptions::on_wait`](crate::BindOptions::on_wait) passes to its callback.
///
/// # Examples
///
/// ```
/// use std::ops::ControlFlow;
/// use std::time::Duration;
///
/// use bindaddr::BindOptions;
///
/// let options = BindOptions::new().wait(Duration::from_secs(5)).on_wait(|progress| {
///     eprintln!("{} (waited {:.1?}, {:.1?} left)", progress.error(), progress.waited(), progress.left());
///     ControlFlow::Break(()) // stops waiting
/// });
/// // TEST-NET-2 (RFC 5737), which no host has.
/// assert!(options.bind("198.51.100.1:0").is_err());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WaitProgress<'a> {
    pub(crate) error: &'a BindError,
    pub(crate) waited: Duration,
    pub(crate) timeout: Duration,
}

impl<'a> WaitProgress<'a> {
    /// Returns the error of the last attempt.
    #[must_use]
    pub fn error(&self) -> &'a BindError {
        self.error
    }

    /// Returns the time since the first attempt.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns the time that is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.waited)
    }
}

/// Returns an error for a device name that no interface can have.
pub(super) fn refused_device(device: Option<&str>) -> Option<SettingError> {
    let is_linux = cfg!(any(target_os = "linux", target_os = "android"));
    // Elsewhere there is no such option, and that is the error.
    let name = device.filter(|name| is_linux && !is_device_name(name))?;
    let cause = Cause::InvalidDevice {
        name: name.to_owned(),
    };
    Some(SettingError::of_setting(Step::Validate, cause))
}

/// Returns `true` if an interface can have this name (`dev_valid_name` of net/core/dev.c). The
/// kernel would take what precedes a NUL, or the first 15 bytes.
fn is_device_name(name: &str) -> bool {
    let odd = |b: u8| b == b'/' || b == 0 || b.is_ascii_whitespace();
    (1..=15).contains(&name.len()) && !name.bytes().any(odd)
}
