//! What the doors take: [`Setting`].

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::ask::dead_end;
use super::{BindFailure, BindOptions, Followed};
use crate::diagnose::{Cause, Kernel as _, Step};
use crate::interfaces::Interfaces;
use crate::listen::{Family, Host, ListenAddr};
use crate::plan;
use crate::resolve::ThisHost;
use crate::target::{BindTarget, Endpoint, Protocol, Wildcard, socket_addr};

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
pub struct Setting<'a> {
    written: Written<'a>,
    /// What it has of its own, whatever the options of all say.
    freebind: Option<bool>,
    device: Option<String>,
}

#[derive(Clone, Debug)]
enum Written<'a> {
    Text(Cow<'a, str>),
    Addr(Cow<'a, ListenAddr>),
    Target(Cow<'a, BindTarget>, u16),
}

impl<'a> From<Written<'a>> for Setting<'a> {
    fn from(written: Written<'a>) -> Self {
        Self {
            written,
            freebind: None,
            device: None,
        }
    }
}

impl<'a> From<&'a str> for Setting<'a> {
    fn from(text: &'a str) -> Self {
        Written::Text(text.into()).into()
    }
}

impl<'a> From<&&'a str> for Setting<'a> {
    fn from(text: &&'a str) -> Self {
        Self::from(*text)
    }
}

impl<'a> From<Cow<'a, str>> for Setting<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Written::Text(text).into()
    }
}

impl<'a> From<&'a String> for Setting<'a> {
    fn from(text: &'a String) -> Self {
        Written::Text(text.into()).into()
    }
}

impl From<String> for Setting<'_> {
    fn from(text: String) -> Self {
        Written::Text(text.into()).into()
    }
}

impl<'a> From<&'a ListenAddr> for Setting<'a> {
    fn from(addr: &'a ListenAddr) -> Self {
        Written::Addr(Cow::Borrowed(addr)).into()
    }
}

impl From<ListenAddr> for Setting<'_> {
    fn from(addr: ListenAddr) -> Self {
        Written::Addr(Cow::Owned(addr)).into()
    }
}

impl From<SocketAddr> for Setting<'_> {
    fn from(addr: SocketAddr) -> Self {
        ListenAddr::from(addr).into()
    }
}

impl<'a> From<(&'a BindTarget, u16)> for Setting<'a> {
    fn from((target, port): (&'a BindTarget, u16)) -> Self {
        Written::Target(Cow::Borrowed(target), port).into()
    }
}

impl From<(BindTarget, u16)> for Setting<'_> {
    fn from((target, port): (BindTarget, u16)) -> Self {
        Written::Target(Cow::Owned(target), port).into()
    }
}

/// What a setting stands for on this host.
pub(crate) struct Wanted {
    /// Whether it may be absent on this host.
    pub(crate) is_optional: bool,
    pub(crate) endpoints: Vec<Endpoint>,
    /// The ports to try in turn.
    pub(crate) ports: RangeInclusive<u16>,
    /// The setting, for advice on what to write in its place.
    pub(crate) written: ListenAddr,
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

    /// Returns the address, if it stands for that one on every host and for no other.
    pub(super) fn plain_addr(&self) -> Option<SocketAddr> {
        let Self::Addr(addr) = self else {
            return None;
        };
        let &Host::Ip { ip, zone: None } = addr.host() else {
            return None;
        };
        let ports = addr.ports();
        let is_plain = ip.to_canonical() == ip
            && !ip.is_unspecified()
            && ports.start() == ports.end()
            && !addr.is_optional();
        is_plain.then(|| SocketAddr::new(ip, *ports.start()))
    }

    /// Returns what is to be remembered of it, if it may stand for other sockets later.
    pub(crate) fn followed(&self, entry: usize, options: &BindOptions) -> Option<Followed> {
        match self {
            Self::Addr(addr)
                if addr.is_optional() || addr.may_change() || addr.has_numeric_zone() =>
            {
                Some(Followed {
                    entry,
                    addr: addr.clone().into_owned(),
                    choice: options.choice,
                    asks_dns: options.resolver.is_some(),
                })
            }
            _ => None,
        }
    }

    /// Finds out what is wanted on this host, whose interfaces are read only where they
    /// must be.
    pub(crate) fn wanted(
        &self,
        host: &ThisHost,
        options: &BindOptions,
    ) -> Result<Wanted, Box<BindFailure>> {
        let addr = match self {
            Self::Addr(addr) => addr,
            Self::Target(target, port) => {
                let endpoints = options.chosen(vec![target.endpoint()]);
                return Ok(Wanted {
                    is_optional: false,
                    endpoints: endpoints.map_err(|kind| {
                        let cause = Cause::Unresolved(kind);
                        Box::new(BindFailure::of_setting(Step::Resolve, cause, None))
                    })?,
                    ports: *port..=*port,
                    written: written_of(target, *port),
                    host: target.host().cloned(),
                });
            }
        };
        if let (true, Some(ip)) = (options.only_v6, mapped(addr.host())) {
            // The kernel refuses it for an address (EINVAL), and opens the IPv4 wildcard.
            let instead = plan::plain_address(SocketAddr::new(ip.into(), 0));
            let is_dead = dead_end(Protocol::Tcp, &instead).is_some();
            let is_bindable = !is_dead && options.try_address(instead.addr).is_ok();
            return Err(Box::new(BindFailure::of_mapped(ip, addr, is_bindable)));
        }
        let (endpoints, host) = options
            .endpoints_of(addr, host)
            .and_then(|(endpoints, host)| Ok((options.chosen(endpoints)?, host)))
            .map_err(|kind| {
                let cause = Cause::Unresolved(kind);
                Box::new(BindFailure::of_setting(Step::Resolve, cause, Some(addr)))
            })?;
        Ok(Wanted {
            is_optional: addr.is_optional(),
            endpoints,
            ports: addr.ports(),
            written: addr.clone().into_owned(),
            host,
        })
    }
}

impl Setting<'_> {
    /// Sets for this setting alone whether an address may be bound that the host does not
    /// have yet, as [`BindOptions::freebind`] does for all.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Setting;
    ///
    /// let later = Setting::from("198.51.100.1:0").freebind(true);
    /// bindaddr::bind_all([Setting::from("127.0.0.1:0"), later])?;
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn freebind(mut self, free: bool) -> Self {
        self.freebind = Some(free);
        self
    }

    /// Sets for this setting alone the interface that its sockets are bound to, as
    /// [`BindOptions::device`] does for all.
    ///
    /// Where that fails it is an error, and no socket is left open to every interface.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::Setting;
    ///
    /// bindaddr::bind(Setting::from("0.0.0.0:0").device("lo"))?;
    /// assert!(bindaddr::bind(Setting::from("0.0.0.0:0").device("no-such-one")).is_err());
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.device = Some(name.into());
        self
    }

    /// Tells whether its host is a name, of an interface or one to look up.
    pub(crate) fn has_name(&self) -> bool {
        matches!(self.read(), Ok(Read::Addr(addr)) if matches!(addr.host(), Host::Name(_)))
    }

    fn has_own_options(&self) -> bool {
        self.freebind.is_some() || self.device.is_some()
    }

    /// Returns the options with what the setting has of its own.
    pub(crate) fn options<'o>(&self, of_all: &'o BindOptions) -> Cow<'o, BindOptions> {
        if !self.has_own_options() {
            return Cow::Borrowed(of_all);
        }
        let mut options = of_all.clone();
        options.freebind = self.freebind.unwrap_or(options.freebind);
        options.device = self.device.clone().or(options.device);
        Cow::Owned(options)
    }

    pub(crate) fn read(&self) -> Result<Read<'_>, Box<BindFailure>> {
        Ok(match &self.written {
            Written::Text(text) => {
                let addr = text.parse().map_err(|err| {
                    Box::new(BindFailure::of_setting(Step::Parse, Cause::Text(err), None))
                });
                Read::Addr(Cow::Owned(addr?))
            }
            Written::Addr(addr) => Read::Addr(Cow::Borrowed(addr)),
            Written::Target(target, port) => Read::Target(target, *port),
        })
    }

    /// Returns the setting as it was written, in canonical words if it was no text.
    pub(crate) fn text(&self) -> String {
        match &self.written {
            Written::Text(text) => text.to_string(),
            Written::Addr(addr) => addr.to_string(),
            Written::Target(target, port) => written_of(target, *port).to_string(),
        }
    }
}

/// Returns the setting that names a target.
fn written_of(target: &BindTarget, port: u16) -> ListenAddr {
    match target.endpoint() {
        Endpoint::Any(Wildcard::All) => ListenAddr::of_host(Host::Any, None, port),
        Endpoint::Any(Wildcard::DualStack) => {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into()
        }
        Endpoint::Any(Wildcard::Ipv4) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into(),
        Endpoint::Any(Wildcard::Ipv6) => ListenAddr::of_host(Host::Any, Some(Family::Ipv6), port),
        Endpoint::Localhost => ListenAddr::of_host(Host::Localhost, None, port),
        Endpoint::Ip { ip, scope_id, .. } => socket_addr(ip, scope_id, port).into(),
    }
}

/// Returns the IPv4 address that an IPv4-mapped one was written for.
fn mapped(host: &Host) -> Option<Ipv4Addr> {
    match host {
        Host::Ip {
            ip: IpAddr::V6(ip), ..
        } => ip.to_ipv4_mapped(),
        _ => None,
    }
}
