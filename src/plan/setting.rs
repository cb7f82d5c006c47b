//! The types that name addresses: [`ToSettings`], and each [`Setting`].

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::addr::{
    Family, Host, ListEntry, ListenAddr, ListenAddrs, ParseError, literal, parse_entries,
    parse_hosts,
};
use crate::target::{BindTarget, Endpoint, Wildcard, socket_addr};

/// A type that names addresses to bind, as std's [`ToSocketAddrs`](std::net::ToSocketAddrs) does
/// for clients.
///
/// | type | names |
/// |---|---|
/// | `&str`, `String` | a listen address, or a list of them |
/// | [`ListenAddr`], [`ListenAddrs`](crate::ListenAddrs) | the same, parsed |
/// | [`SocketAddr`], [`SocketAddrV4`], [`SocketAddrV6`] | that address |
/// | `(host, u16)` | a host and a port: the host is a text without a port, an [`IpAddr`], [`Ipv4Addr`] or [`Ipv6Addr`], a [`BindTarget`], or a slice, an array or a `Vec` of these |
/// | [`Setting`] | any of these, with options of its own |
/// | slices, arrays, `Vec`s and references of all these | each of them |
///
/// It is sealed.
///
/// # Examples
///
/// ```
/// use std::net::Ipv4Addr;
///
/// let port = bindaddr::bind("127.0.0.1:0, 127.0.0.1:0")?[0].local_addr().port();
/// bindaddr::bind((Ipv4Addr::LOCALHOST, port))?;
/// bindaddr::bind(("localhost", port))?;
/// bindaddr::bind((["127.0.0.1", "::1"], 0)).or_else(|_| bindaddr::bind(("127.0.0.1", 0)))?;
/// # Ok::<(), bindaddr::BindError>(())
/// ```
pub trait ToSettings: sealed::ToSettings {}

impl<T: sealed::ToSettings + ?Sized> ToSettings for T {}

mod sealed {
    #![allow(unnameable_types)] // which is what seals

    use super::Setting;

    pub trait ToSettings {
        fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>));
    }

    pub trait ToHosts {
        fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>));
    }
}

/// A setting with options of its own.
///
/// # Examples
///
/// ```
/// use bindaddr::plan::Setting;
///
/// # #[cfg(target_os = "linux")] {
/// let admin = Setting::from("0.0.0.0:0").device("lo");
/// bindaddr::bind([Setting::from("127.0.0.1:0"), admin])?;
/// # }
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    source: Source<'a>,
    freebind: Option<bool>,
    device: Option<Cow<'a, str>>,
}

#[derive(Clone, Debug)]
enum Source<'a> {
    Text(Cow<'a, str>),
    /// Hosts without a port, and the port.
    Hosts(Cow<'a, str>, u16),
    Addr(Cow<'a, ListenAddr>),
    Target(Cow<'a, BindTarget>, u16),
}

impl<'a> From<Source<'a>> for Setting<'a> {
    fn from(source: Source<'a>) -> Self {
        Self {
            source,
            freebind: None,
            device: None,
        }
    }
}

impl<'a> From<&'a str> for Setting<'a> {
    fn from(text: &'a str) -> Self {
        Source::Text(text.into()).into()
    }
}

impl<'a> From<&'a String> for Setting<'a> {
    fn from(text: &'a String) -> Self {
        Source::Text(text.into()).into()
    }
}

impl From<String> for Setting<'_> {
    fn from(text: String) -> Self {
        Source::Text(text.into()).into()
    }
}

impl<'a> From<&'a ListenAddr> for Setting<'a> {
    fn from(addr: &'a ListenAddr) -> Self {
        Source::Addr(Cow::Borrowed(addr)).into()
    }
}

impl From<ListenAddr> for Setting<'_> {
    fn from(addr: ListenAddr) -> Self {
        Source::Addr(Cow::Owned(addr)).into()
    }
}

impl From<SocketAddr> for Setting<'_> {
    fn from(addr: SocketAddr) -> Self {
        ListenAddr::from(addr).into()
    }
}

impl From<SocketAddrV4> for Setting<'_> {
    fn from(addr: SocketAddrV4) -> Self {
        SocketAddr::V4(addr).into()
    }
}

impl From<SocketAddrV6> for Setting<'_> {
    fn from(addr: SocketAddrV6) -> Self {
        SocketAddr::V6(addr).into()
    }
}

impl From<(IpAddr, u16)> for Setting<'_> {
    fn from(addr: (IpAddr, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<(Ipv4Addr, u16)> for Setting<'_> {
    fn from(addr: (Ipv4Addr, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<(Ipv6Addr, u16)> for Setting<'_> {
    fn from(addr: (Ipv6Addr, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl<'a> From<(&'a BindTarget, u16)> for Setting<'a> {
    fn from((target, port): (&'a BindTarget, u16)) -> Self {
        Source::Target(Cow::Borrowed(target), port).into()
    }
}

impl From<(BindTarget, u16)> for Setting<'_> {
    fn from((target, port): (BindTarget, u16)) -> Self {
        Source::Target(Cow::Owned(target), port).into()
    }
}

impl<'a> From<(&'a str, u16)> for Setting<'a> {
    fn from((host, port): (&'a str, u16)) -> Self {
        Source::Hosts(host.into(), port).into()
    }
}

impl From<(String, u16)> for Setting<'_> {
    fn from((host, port): (String, u16)) -> Self {
        Source::Hosts(host.into(), port).into()
    }
}

impl Setting<'_> {
    /// Sets for this setting alone whether to bind an address that the host does not have yet, as
    /// [`BindOptions::freebind`](crate::BindOptions::freebind) does for all.
    #[must_use]
    pub fn freebind(mut self, free: bool) -> Self {
        self.freebind = Some(free);
        self
    }

    /// Sets for this setting alone the interface that its sockets are bound to, as
    /// [`BindOptions::device`](crate::BindOptions::device) does for all.
    ///
    /// If the socket cannot be bound to it, that is an error, and no socket is left open to every
    /// interface.
    #[must_use]
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.device = Some(Cow::Owned(name.into()));
        self
    }

    /// Returns its own choice of `freebind`.
    pub(super) fn own_freebind(&self) -> Option<bool> {
        self.freebind
    }

    /// Returns its own device.
    pub(super) fn own_device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Returns the address if the setting is one that needs nothing but itself to be bound: no
    /// host, no options of its own, one port, one address.
    pub(crate) fn plain_addr(&self) -> Option<SocketAddr> {
        if self.freebind.is_some() || self.device.is_some() {
            return None;
        }
        let addr = match &self.source {
            Source::Text(text) => literal(text),
            Source::Addr(addr) => addr.literal(),
            Source::Hosts(..) | Source::Target(..) => None,
        };
        let is_plain = |(ip, _): &(IpAddr, u16)| ip.to_canonical() == *ip && !ip.is_unspecified();
        addr.filter(is_plain).map(SocketAddr::from)
    }

    /// Returns its entries: several if its text is a list, at least one.
    pub(super) fn entries(&self) -> Vec<ParsedEntry<'_>> {
        let of_text = |entries: Vec<ListEntry<'_>>| -> Vec<ParsedEntry<'_>> {
            let entries = entries.into_iter();
            let entries = entries.map(|entry| ParsedEntry {
                text: entry.text.to_owned(),
                parsed: entry.addr.map(|addr| Parsed::Addr(Cow::Owned(addr))),
            });
            entries.collect()
        };
        let one = |text: String, parsed| {
            vec![ParsedEntry {
                text,
                parsed: Ok(parsed),
            }]
        };
        match &self.source {
            Source::Text(text) => of_text(parse_entries(text)),
            Source::Hosts(text, port) => of_text(parse_hosts(text, *port)),
            Source::Addr(addr) => one(addr.to_string(), Parsed::Addr(Cow::Borrowed(addr))),
            Source::Target(target, port) => {
                let text = addr_of(target, *port).to_string();
                one(text, Parsed::Target(target, *port))
            }
        }
    }
}

/// One entry of a setting.
pub(super) struct ParsedEntry<'a> {
    /// The entry as written; in canonical form, if it was not a text.
    pub(super) text: String,
    pub(super) parsed: Result<Parsed<'a>, ParseError>,
}

/// A parsed entry.
pub(super) enum Parsed<'a> {
    Addr(Cow<'a, ListenAddr>),
    Target(&'a BindTarget, u16),
}

/// Returns the listen address that names a target.
pub(super) fn addr_of(target: &BindTarget, port: u16) -> ListenAddr {
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

/// The settings of a call. One, which is what most calls have, needs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Settings<'a> {
    first: Option<Setting<'a>>,
    others: Vec<Setting<'a>>,
}

impl<'a> Settings<'a> {
    pub(crate) fn of<T: ToSettings + ?Sized>(source: &'a T) -> Self {
        let mut settings = Self::default();
        source.for_each(&mut |setting| {
            if settings.first.is_none() {
                settings.first = Some(setting);
            } else {
                settings.others.push(setting);
            }
        });
        settings
    }

    /// Returns the setting if there is one only.
    pub(crate) fn only(&self) -> Option<&Setting<'a>> {
        self.first.as_ref().filter(|_| self.others.is_empty())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Setting<'a>> {
        self.first.iter().chain(&self.others)
    }
}

impl sealed::ToSettings for str {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        each(self.into());
    }
}

impl sealed::ToSettings for String {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        each(self.into());
    }
}

impl sealed::ToSettings for Cow<'_, str> {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        each((&**self).into());
    }
}

impl sealed::ToSettings for Setting<'_> {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        each(Setting {
            source: match &self.source {
                Source::Text(text) => Source::Text(Cow::Borrowed(text)),
                Source::Hosts(text, port) => Source::Hosts(Cow::Borrowed(text), *port),
                Source::Addr(addr) => Source::Addr(Cow::Borrowed(addr)),
                Source::Target(target, port) => Source::Target(Cow::Borrowed(target), *port),
            },
            freebind: self.freebind,
            device: self.device.as_deref().map(Cow::Borrowed),
        });
    }
}

impl sealed::ToSettings for ListenAddr {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        each(self.into());
    }
}

impl sealed::ToSettings for ListenAddrs {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        self.as_slice().for_each(each);
    }
}

impl sealed::ToSettings for SocketAddr {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        each((*self).into());
    }
}

impl sealed::ToSettings for SocketAddrV4 {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        each((*self).into());
    }
}

impl sealed::ToSettings for SocketAddrV6 {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        each((*self).into());
    }
}

impl<T: sealed::ToSettings + ?Sized> sealed::ToSettings for &T {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        (**self).for_each(each);
    }
}

impl<T: sealed::ToSettings> sealed::ToSettings for [T] {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        for one in self {
            one.for_each(each);
        }
    }
}

impl<T: sealed::ToSettings, const N: usize> sealed::ToSettings for [T; N] {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        self.as_slice().for_each(each);
    }
}

impl<T: sealed::ToSettings> sealed::ToSettings for Vec<T> {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        self.as_slice().for_each(each);
    }
}

impl<H: sealed::ToHosts> sealed::ToSettings for (H, u16) {
    fn for_each<'s>(&'s self, each: &mut dyn FnMut(Setting<'s>)) {
        let (hosts, port) = self;
        hosts.for_each(*port, each);
    }
}

impl sealed::ToHosts for str {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        each((self, port).into());
    }
}

impl sealed::ToHosts for String {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        each((&**self, port).into());
    }
}

impl sealed::ToHosts for IpAddr {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        each((*self, port).into());
    }
}

impl sealed::ToHosts for Ipv4Addr {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        each((*self, port).into());
    }
}

impl sealed::ToHosts for Ipv6Addr {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        each((*self, port).into());
    }
}

impl sealed::ToHosts for BindTarget {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        each((self, port).into());
    }
}

impl<H: sealed::ToHosts + ?Sized> sealed::ToHosts for &H {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        (**self).for_each(port, each);
    }
}

impl<H: sealed::ToHosts> sealed::ToHosts for [H] {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        for one in self {
            one.for_each(port, each);
        }
    }
}

impl<H: sealed::ToHosts, const N: usize> sealed::ToHosts for [H; N] {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        self.as_slice().for_each(port, each);
    }
}

impl<H: sealed::ToHosts> sealed::ToHosts for Vec<H> {
    fn for_each<'s>(&'s self, port: u16, each: &mut dyn FnMut(Setting<'s>)) {
        self.as_slice().for_each(port, each);
    }
}
