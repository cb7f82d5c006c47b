//! What the doors take: [`Setting`].

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::BindFailure;
use crate::diagnose::{Cause, Step};
use crate::interfaces::Interfaces;
use crate::listen::{Host, ListenAddr};
use crate::resolve::{ThisHost, endpoints_here};
use crate::target::{BindTarget, Endpoint, Wildcard, socket_addr};

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
pub struct Setting<'a>(Written<'a>);

#[derive(Clone, Debug)]
enum Written<'a> {
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

/// What a setting stands for on this host.
pub(crate) struct Wanted {
    pub(crate) endpoints: Vec<Endpoint>,
    /// The ports to try in turn.
    pub(crate) ports: RangeInclusive<u16>,
    /// The address as it was written, if it was an IPv4-mapped one.
    pub(crate) mapped: Option<Ipv6Addr>,
    /// The snapshot in which the endpoints were found, if one was needed.
    pub(crate) host: Option<Interfaces>,
}

/// A setting that has been read.
pub(crate) enum Read<'a> {
    Addr(Cow<'a, ListenAddr>),
    Target(&'a BindTarget, u16),
}

impl Read<'_> {
    /// Tells whether it may be absent on this host.
    pub(crate) fn is_optional(&self) -> bool {
        match self {
            Self::Addr(addr) => addr.is_optional(),
            Self::Target(..) => false,
        }
    }

    /// Finds out what is wanted on this host, whose interfaces are read only where they
    /// must be.
    pub(crate) fn wanted(&self, host: &ThisHost) -> Result<Wanted, Box<BindFailure>> {
        match self {
            Self::Addr(addr) => wanted_by(addr, host),
            Self::Target(target, port) => Ok(Wanted {
                endpoints: vec![target.endpoint()],
                ports: *port..=*port,
                mapped: None,
                host: target.host().cloned(),
            }),
        }
    }
}

impl Setting<'_> {
    pub(crate) fn read(&self) -> Result<Read<'_>, Box<BindFailure>> {
        Ok(match &self.0 {
            Written::Text(text) => Read::Addr(Cow::Owned(
                text.parse()
                    .map_err(|err| refused(Step::Parse, Cause::Text(err)))?,
            )),
            Written::Addr(addr) => Read::Addr(Cow::Borrowed(addr)),
            Written::Target(target, port) => Read::Target(target, *port),
        })
    }

    /// Returns the setting as it was written, in canonical words if it was no text.
    pub(crate) fn text(&self) -> String {
        match &self.0 {
            Written::Text(text) => text.to_string(),
            Written::Addr(addr) => addr.to_string(),
            Written::Target(target, port) => match target.endpoint() {
                Endpoint::Any(Wildcard::All) => format!("*:{port}"),
                Endpoint::Any(Wildcard::DualStack) => format!("[::]:{port}"),
                Endpoint::Any(Wildcard::Ipv4) => format!("0.0.0.0:{port}"),
                Endpoint::Any(Wildcard::Ipv6) => format!("ipv6@*:{port}"),
                Endpoint::Localhost => format!("localhost:{port}"),
                Endpoint::Ip { ip, scope_id, .. } => socket_addr(ip, scope_id, *port).to_string(),
            },
        }
    }
}

fn refused(step: Step, cause: Cause) -> Box<BindFailure> {
    Box::new(BindFailure::new(None, step, vec![cause], None))
}

fn wanted_by(addr: &ListenAddr, host: &ThisHost) -> Result<Wanted, Box<BindFailure>> {
    let (endpoints, host) = endpoints_here(addr, host)
        .map_err(|kind| refused(Step::Resolve, Cause::Unresolved(kind)))?;
    let mapped = match addr.host() {
        Host::Ip {
            ip: IpAddr::V6(ip), ..
        } => ip.to_ipv4_mapped().is_some().then_some(*ip),
        _ => None,
    };
    Ok(Wanted {
        endpoints,
        ports: addr.ports(),
        mapped,
        host,
    })
}
