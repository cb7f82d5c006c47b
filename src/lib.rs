//! Parses a server's listen setting and binds it, with errors that name the cause.
//!
//! ```
//! fn main() -> Result<(), bindaddr::BindError> {
//!     for listener in bindaddr::bind("localhost:0")? {
//!         println!("listening on {}", listener.local_addr());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! If binding fails, the error names the cause. For `192.168.158.94:5000`, an address of another
//! host, this program prints:
//!
//! ```text
//! Error: cannot listen on 192.168.158.94:5000: no interface of this host has 192.168.158.94; it is in
//! eth0's subnet (192.168.71.67/16) but not assigned to this host; closest local address: 192.168.71.67
//! hint: `192.168.71.67:5000` is the closest local address
//! hint: `0.0.0.0:5000` listens on every IPv4 address of this host, reachable from private networks
//! ```
//!
//! # The four targets
//!
//! On a given host, a listen address falls into one of four classes:
//!
#![doc = include_str!("../docs/targets.svg")]
//!
//! - [`Any`](BindTarget::Any): every address of the host.
//! - [`Loopback`](BindTarget::Loopback): only this host can connect.
//! - [`Local`](BindTarget::Local): one of the host's own addresses, which may change.
//! - [`Foreign`](BindTarget::Foreign): an address not assigned to this host. bind(2) usually
//!   fails with "Cannot assign requested address", and the error explains why.
//!
//! ```
//! use bindaddr::BindTarget;
//!
//! match BindTarget::parse("0.0.0.0")? {
//!     BindTarget::Any(_) => println!("every address of this host"),
//!     BindTarget::Loopback(_) => println!("this host only"),
//!     BindTarget::Local(addr) => println!("listens on {} only", addr.ip()),
//!     BindTarget::Foreign(addr) => println!("not here: {}", addr.reason()),
//! }
//! # Ok::<(), bindaddr::target::ResolveError>(())
//! ```
//!
//! # How it fits together
//!
#![doc = include_str!("../docs/way.svg")]
//!
//! A setting is parsed into a [`ListenAddr`], which represents it as written. Given a host's
//! [`Interfaces`], it resolves to [`BindTarget`]s. A [`Plan`] lists the sockets that the settings
//! need on that host. It can be bound, checked, and compared with the open [`Listeners`].
//!
//! | function | does |
//! |---|---|
//! | [`bind()`], [`bind_udp`] | plans the settings and opens all their sockets or none; a [`BindError`] holds a [`Cause`] for each failed socket |
//! | [`check()`], [`check_udp`] | reports the errors `bind` would return, and leaves nothing open |
//! | [`BindOptions`] | sets the options, and computes a [`Plan`] |
//! | [`Plan::exposure`], [`Listeners::exposure`] | returns an [`Exposure`]: how far away clients can be |
//! | [`Plan::replan`], [`Plan::diff`], [`Plan::apply`] | recompute the plan, diff it with the open sockets, and apply the difference |
//!
//! These read the system: [`Interfaces::system`], `with_system_*`, [`BindTarget::parse`],
//! [`BindOptions::plan`], the functions that bind, check or apply, the `warnings` methods, the
//! accessors of open sockets (such as [`Listener::reach`]), `Activation`, `Watch` and the module
//! `host`. Parsing, and everything that takes a snapshot, is pure.
//!
//! The most used types are here; the others are in the modules. [`docs`] has the guide.
//!
//! # Crate features
//!
//! No feature is on by default.
//!
//! - `serde`: deserializes listen addresses and serializes reports.
//! - `tokio`: tokio listeners and sockets, an acceptor for all listeners, and waiting without
//!   blocking a thread.
//! - `axum`: the acceptor implements `axum::serve::Listener`.
//! - `socket-activation`: uses sockets that a service manager passes.
//! - `restart`: passes sockets to the process that replaces this one.
//! - `watch`: notifies when the host's addresses change, and updates listeners served by threads.
//! - `cli`: the command `bindaddr`, and the module `host`, which lists the listening sockets of
//!   this host.
//!
//! # Platforms
//!
//! Linux, Android, macOS, FreeBSD and Windows. Differences are in each item's platform notes and in
//! the table of [`docs::platforms`].

#![cfg_attr(docsrs, feature(doc_cfg))]

// CONTRIBUTING.md shows how these modules depend on each other.
#[cfg(feature = "tokio")]
pub mod accept;
pub mod addr;
mod bind;
pub mod check;
mod diagnose;
pub mod diagnosis;
mod hint;
#[cfg(feature = "cli")]
pub mod host;
pub mod interfaces;
mod map;
mod order;
pub mod plan;
pub mod reach;
#[cfg(all(feature = "restart", unix))]
pub mod restart;
#[cfg(feature = "serde")]
mod serde;
mod sys;
pub mod target;
#[cfg(feature = "watch")]
pub mod threads;
pub mod update;
#[cfg(feature = "watch")]
mod watch;

pub use crate::{
    addr::{ListenAddr, ListenAddrs},
    bind::{BindOptions, Listener, Listeners, bind, bind_udp},
    check::{check, check_udp},
    diagnosis::{BindError, Cause},
    interfaces::Interfaces,
    plan::Plan,
    reach::Exposure,
    target::BindTarget,
};
#[cfg(feature = "socket-activation")]
pub use sys::Activation;

// For the fuzz targets.
#[cfg(all(fuzzing, target_os = "linux"))]
#[doc(hidden)]
pub use crate::diagnose::properties::fuzzing;

/// The guide and its pages.
///
/// 1. [`guide`](docs::guide): from a setting to a server that prints its addresses.
/// 2. [`texts`](docs::texts): what can be written, and what is refused.
/// 3. [`errors`](docs::errors): how to print them, and how to match on them.
/// 4. [`diagnosis`](docs::diagnosis): causes, with the system's error for each.
/// 5. [`exposure`](docs::exposure): from how far away clients may connect.
/// 6. `features`: serde, tokio, socket activation; this page needs these features.
/// 7. [`command`](docs::command): the `bindaddr` command.
/// 8. [`migrating`](docs::migrating): replacing hand-written bind code.
/// 9. [`threats`](docs::threats): what a mistake could expose, and why that cannot happen silently.
/// 10. [`platforms`](docs::platforms): what differs between systems, and what was tested where.
/// 11. [`performance`](docs::performance): benchmarks against similar crates.
/// 12. [`design`](docs::design): each decision, with the alternatives.
#[cfg(any(doc, doctest))]
pub mod docs {
    #[doc = include_str!("../docs/guide.md")]
    pub mod guide {}

    #[doc = include_str!("../docs/texts.md")]
    pub mod texts {}

    #[doc = include_str!("../docs/errors.md")]
    pub mod errors {}

    #[doc = include_str!("../docs/diagnosis.md")]
    pub mod diagnosis {}

    #[doc = include_str!("../docs/exposure.md")]
    pub mod exposure {}

    #[doc = include_str!("../docs/command.md")]
    pub mod command {}

    #[doc = include_str!("../docs/migrating.md")]
    pub mod migrating {}

    #[doc = include_str!("../docs/threats.md")]
    pub mod threats {}

    #[doc = include_str!("../docs/platforms.md")]
    pub mod platforms {}

    #[doc = include_str!("../docs/performance.md")]
    pub mod performance {}

    #[doc = include_str!("../docs/design.md")]
    pub mod design {}

    #[cfg(all(feature = "serde", feature = "tokio", feature = "socket-activation"))]
    #[doc = include_str!("../docs/features.md")]
    pub mod features {}
}

#[cfg(doctest)] // The README's examples are tests.
#[doc = include_str!("../README.md")]
struct Readme;
