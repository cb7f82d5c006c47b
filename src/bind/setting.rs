//! What the doors take: [`Setting`].

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::listen::ListenAddr;
use crate::plan;
use crate::target::{BindTarget, Endpoint, Wildcard};

/// What to bind: a text, a [`ListenAddr`], or a [`BindTarget`] and a port.
///
/// The doors take whatever converts into it.
///
/// # Examples
///
/// ```
/// use bindaddr::{BindTarget, ListenAddr};
///
/// bindaddr::bind("127.0.0.1:0")?;
/// bindaddr::bind("127.0.0.1:0".parse::<ListenAddr>()?)?;
/// bindaddr::bind((BindTarget::parse("127.0.0.1")?, 0))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Setting<'a>(pub(super) Written<'a>);

#[derive(Clone, Debug)]
pub(super) enum Written<'a> {
    Text(Cow<'a, str>),
    Addr(Cow<'a, ListenAddr>),
    Target(Cow<'a, BindTarget>, u16),
}

impl<'a> From<&'a str> for Setting<'a> {
    fn from(text: &'a str) -> Self {
        Self(Written::Text(text.into()))
    }
}

impl<'a> From<&'a String> for Setting<'a> {
    fn from(text: &'a String) -> Self {
        Self(Written::Text(text.into()))
    }
}

impl From<String> for Setting<'_> {
    fn from(text: String) -> Self {
        Self(Written::Text(text.into()))
    }
}

impl<'a> From<&'a ListenAddr> for Setting<'a> {
    fn from(addr: &'a ListenAddr) -> Self {
        Self(Written::Addr(Cow::Borrowed(addr)))
    }
}

impl From<ListenAddr> for Setting<'_> {
    fn from(addr: ListenAddr) -> Self {
        Self(Written::Addr(Cow::Owned(addr)))
    }
}

impl From<SocketAddr> for Setting<'_> {
    fn from(addr: SocketAddr) -> Self {
        ListenAddr::from(addr).into()
    }
}

impl<'a> From<(&'a BindTarget, u16)> for Setting<'a> {
    fn from((target, port): (&'a BindTarget, u16)) -> Self {
        Self(Written::Target(Cow::Borrowed(target), port))
    }
}

impl From<(BindTarget, u16)> for Setting<'_> {
    fn from((target, port): (BindTarget, u16)) -> Self {
        Self(Written::Target(Cow::Owned(target), port))
    }
}

/// Says a target and its port in the words of a setting.
pub(super) fn text_of(target: &BindTarget, port: u16) -> String {
    match target.endpoint() {
        Endpoint::Any(Wildcard::All) => format!("*:{port}"),
        Endpoint::Any(Wildcard::DualStack) => format!("[::]:{port}"),
        Endpoint::Any(Wildcard::Ipv4) => format!("0.0.0.0:{port}"),
        Endpoint::Any(Wildcard::Ipv6) => format!("ipv6@*:{port}"),
        Endpoint::Localhost => format!("localhost:{port}"),
        endpoint @ Endpoint::Ip { .. } => match &plan::sockets(&[endpoint], port, false)[..] {
            [socket] => ListenAddr::from(socket.addr).to_string(),
            _ => unreachable!("an address is one socket"),
        },
    }
}
