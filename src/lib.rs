//! Listen addresses for servers: from what an operator wrote to a bound socket,
//! with errors that name the cause.
//!
//! ```
//! use bindaddr::BindTarget;
//!
//! for listener in bindaddr::bind("localhost:0")? {
//!     println!("listening on {}", listener.local_addr());
//! }
//! match BindTarget::parse("0.0.0.0")? {
//!     BindTarget::Any(_) => println!("every address of this host"),
//!     BindTarget::Loopback(_) => println!("this host only"),
//!     BindTarget::Local(addr) => println!("through {} only", addr.ip()),
//!     BindTarget::Foreign(addr) => println!("not here: {}", addr.reason()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The four targets
//!
//! What stands in a server's setting is one of four things on its host:
//!
#![doc = include_str!("../docs/targets.svg")]
//!
//! - [`Any`](BindTarget::Any): every address of the host.
//! - [`Loopback`](BindTarget::Loopback): only this host gets in.
//! - [`Local`](BindTarget::Local): an address of one of the host's interfaces; only through it.
//! - [`Foreign`](BindTarget::Foreign): somebody else's address. The system says "Cannot assign requested address", and
//!   this crate why.
//!
//! # The data's way
//!
#![doc = include_str!("../docs/way.svg")]
//!
//! A text becomes a [`ListenAddr`], which says what was written. Resolved
//! against the [`Interfaces`] of a host, it becomes [`BindTarget`]s, which say
//! what that is there. [`bind()`] opens the sockets, or says in a [`BindError`]
//! the [`Cause`] of each that failed; [`bind`] does so for a list, and
//! [`check()`] finds the same without binding. [`Reach`] says who can connect, and by which addresses, and [`Hold`] whether that still holds.
//!
//! Everything is pure but [`Interfaces::system`],
//! [`Interfaces::with_system_default_sources`] and the doors that use them:
//! [`BindTarget::parse`], [`bind()`] and [`check()`], those for UDP, [`Listener::notes`] and [`Listeners::lint`].
//!
//! # The pages
//!
//! 1. [`guide`]: from a setting to a server that says where it is.
//! 2. [`texts`]: what can be written, and what is refused.
//! 3. [`errors`]: how to print them, and how to match on them.
//! 4. [`diagnosis`]: each cause, with what the system says.
//! 5. [`exposure`]: from how far away clients may connect.
//! 6. `features`: serde, tokio, socket activation, with which that page is built.
//! 7. [`command`]: the same from a shell.
//! 8. [`migrating`]: from what a server has by hand.
//! 9. [`threats`]: what a mistake could expose, and why it cannot happen silently.
//! 10. [`platforms`]: what differs between systems, and what was tested where.
//! 11. [`performance`]: what it costs, beside peers.
//! 12. [`design`]: each decision, with what was refused.
//!
//! # Scope of this crate
//!
//! It opens sockets and stops there: accept loops and TLS are the runtime's. Names in
//! DNS are looked up only by [`BindOptions::lookup`]. Unix sockets are
//! [std's](texts#unix-sockets).
//!
//! # Platforms
//!
//! Linux, Android, macOS, FreeBSD and Windows. What differs between them is in
//! the platform notes of each item and, as a table, in [`platforms`].

#![cfg_attr(docsrs, feature(doc_cfg))]

// A CIDR network, and the arithmetic of prefixes.
mod network;
// The state of the operating system.
mod sys;
// What was written: text to ListenAddr.
mod listen;
// The host's interfaces, read or made up.
mod interfaces;
// What an address is on a host: the classification.
mod target;
// What a text names on a host: ListenAddr to targets.
mod resolve;
// Which sockets to open.
mod plan;
// Opening them.
mod bind;
// What is wrong and what helps.
mod diagnosis;
// Why opening failed.
mod diagnose;
// The same findings without binding.
mod check;
// Who can connect.
mod reach;
// What to change.
mod update;
// All of it out of config files and into reports.
#[cfg(feature = "serde")]
mod serde;
// Being told when to look.
#[cfg(feature = "watch")]
mod watch;

pub use crate::{
    bind::{BindOptions, Listener, Listeners, StdSocket, bind, bind_udp},
    check::{Check, CheckedSetting, CheckedSocket, check, check_udp},
    diagnosis::{
        BindError, BindableReason, Cause, Container, Hint, HintKind, Holder, Policy, Position,
        Privilege, RangeHolders, SettingError, SocketState, Step, Unavailable, Warning,
        WarningKind,
    },
    interfaces::{AddrState, Interface, InterfaceAddr, Interfaces, InterfacesError},
    listen::{
        EntryError, Family, Host, ListenAddr, ListenAddrs, ParseError, ParseErrorKind,
        ParseListError, Word, Zone,
    },
    network::Network,
    plan::{
        AddrSelection, Duplicate, Plan, PlannedSocket, Setting, ToHosts, ToSettings, WaitProgress,
    },
    reach::{Banner, Dial, DialFrom, Exposure, Reach},
    resolve::{ResolveError, ResolveErrorKind},
    target::{
        BindTarget, Class, ForeignAddr, ForeignReason, GroupAddr, LocalAddr, LoopbackAddrs,
        Overlap, Wildcard,
    },
    update::{Change, ChangeKind, Diff},
};

#[cfg(feature = "socket-activation")]
pub use crate::bind::Activation;
#[cfg(feature = "serde")]
pub use crate::listen::de;
#[cfg(feature = "watch")]
pub use crate::watch::Watch;

// For the fuzz targets.
#[cfg(all(fuzzing, target_os = "linux"))]
#[doc(hidden)]
pub use crate::diagnose::properties::fuzzing;

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/texts.md")]
pub mod texts {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/errors.md")]
pub mod errors {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/diagnosis.md")]
pub mod diagnosis {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/exposure.md")]
pub mod exposure {}

#[cfg(all(
    any(doc, doctest),
    feature = "serde",
    feature = "tokio",
    feature = "socket-activation"
))]
#[doc = include_str!("../docs/features.md")]
pub mod features {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/command.md")]
pub mod command {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/migrating.md")]
pub mod migrating {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/threats.md")]
pub mod threats {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/platforms.md")]
pub mod platforms {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/design.md")]
pub mod design {}

#[cfg(doctest)] // The README's examples are tests.
#[doc = include_str!("../README.md")]
struct Readme;
