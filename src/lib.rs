//! Listen addresses for servers: from what an operator wrote to a bound socket, with errors that name the cause.
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
//! # The four targets
//!
//! A listen address falls into one of four classes on its host:
//!
#![doc = include_str!("../docs/targets.svg")]
//!
//! - [`Any`](BindTarget::Any): every address of the host.
//! - [`Loopback`](BindTarget::Loopback): only this host can connect.
//! - [`Local`](BindTarget::Local): an address of one of the host's interfaces; it may change.
//! - [`Foreign`](BindTarget::Foreign): the address of another host. bind(2) fails with "Cannot assign requested
//!   address", and the error explains why.
//!
//! ```
//! use bindaddr::BindTarget;
//!
//! match BindTarget::parse("0.0.0.0")? {
//!     BindTarget::Any(_) => println!("every address of this host"),
//!     BindTarget::Loopback(_) => println!("this host only"),
//!     BindTarget::Local(addr) => println!("through {} only", addr.ip()),
//!     BindTarget::Foreign(addr) => println!("not here: {}", addr.reason()),
//! }
//! # Ok::<(), bindaddr::target::ResolveError>(())
//! ```
//!
//! # How it fits together
//!
#![doc = include_str!("../docs/way.svg")]
//!
//! A text is parsed into a [`ListenAddr`], which says what was written. Against the [`Interfaces`] of a host it resolves
//! to [`BindTarget`]s. A [`Plan`] has the sockets that settings ask for on that host: the desired state. It can be
//! bound, checked, and compared with the [`Listeners`] that are open, the actual state.
//!
//! | function | does |
//! |---|---|
//! | [`bind()`], [`bind_udp`] | plans settings and opens their sockets, all or none; a [`BindError`] has a [`Cause`] for each that failed |
//! | [`check()`], [`check_udp`] | reports what `bind` would run into, and leaves nothing open |
//! | [`BindOptions`] | sets how, and computes a [`Plan`] |
//! | [`Plan::exposure`], [`Listeners::exposure`] | from how far away clients could connect: an [`Exposure`] |
//! | [`Plan::replan`], [`Plan::diff`], [`Plan::apply`] | compare with what is open, and change it, when the host or the config has changed |
//!
//! Only these functions read the system: [`Interfaces::system`], [`Interfaces::with_system_default_sources`],
//! [`BindTarget::parse`], [`BindOptions::plan`], `bind`, `check`, [`Plan::apply`], the `warnings` of a plan and of listeners,
//! what queries an open socket ([`Listener::device`], [`Listener::reach`], [`Listener::exposure`]), the resolver of
//! [`BindOptions::lookup`], the activation and the watch. Everything else is pure.
//!
//! The most used types are here; the others are in the modules. [`docs`] has the guide.
//!
//! # Crate features
//!
//! None is on by default.
//!
//! - `serde`: listen addresses in config files, reports as values.
//! - `tokio`: tokio's listeners and sockets, an acceptor over all of them, and waiting without blocking a thread.
//! - `axum`: the acceptor is what `axum::serve` takes.
//! - `socket-activation`: sockets that a service manager hands over.
//! - `restart`: sockets that this process hands over to the one that replaces it.
//! - `watch`: notifications when the host's addresses change, and listeners for threads that follow them.
//! - `cli`: the command `bindaddr`, and the module `host`, which lists the listening sockets of this host.
//!
//! # Platforms
//!
//! Linux, Android, macOS, FreeBSD and Windows. What differs between them is in the platform notes of each item, and as
//! a table in [`docs::platforms`].

#![cfg_attr(docsrs, feature(doc_cfg))]

// CONTRIBUTING.md has a drawing of their dependencies.
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
/// 1. [`guide`](docs::guide): from a setting to a server that reports where it is.
/// 2. [`texts`](docs::texts): what can be written, and what is refused.
/// 3. [`errors`](docs::errors): how to print them, and how to match on them.
/// 4. [`diagnosis`](docs::diagnosis): each cause, with what the system says.
/// 5. [`exposure`](docs::exposure): from how far away clients may connect.
/// 6. `features`: serde, tokio, socket activation; it is built with these features.
/// 7. [`command`](docs::command): the same from a shell.
/// 8. [`migrating`](docs::migrating): from what a server has by hand.
/// 9. [`threats`](docs::threats): what a mistake could expose, and why that cannot happen silently.
/// 10. [`platforms`](docs::platforms): what differs between systems, and what was tested where.
/// 11. [`performance`](docs::performance): what it costs, beside peers.
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
