//! Listen addresses for servers: from what an operator wrote to a bound socket.

// A CIDR network, and the arithmetic of prefixes.
mod network;
// What was written: text to ListenAddr.
mod listen;
// The host's interfaces, read or made up.
mod interfaces;
// What an address is on a host: the classification.
mod target;
// What a text names on a host: ListenAddr to targets.
mod resolve;

pub use crate::{
    interfaces::{Interface, InterfaceAddr, Interfaces, InterfacesError},
    listen::{Family, Host, ListenAddr, ParseError, ParseErrorKind, Word, Zone},
    network::Network,
    resolve::{ResolveError, ResolveErrorKind},
    target::{BindTarget, ForeignAddr, ForeignReason, LocalAddr, LoopbackAddrs, Wildcard},
};
