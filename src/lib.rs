//! Listen addresses for servers: from what an operator wrote to a bound socket.

// A CIDR network, and the arithmetic of prefixes.
mod network;
// What was written: text to ListenAddr.
mod listen;

pub use crate::{
    listen::{Family, Host, ListenAddr, ParseError, ParseErrorKind, Word, Zone},
    network::Network,
};
