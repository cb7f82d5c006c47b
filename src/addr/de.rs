//! Reads listen addresses whose port is not in the config (feature `serde`).
//!
//! The functions are for `#[serde(deserialize_with = "...")]`, on fields of type [`ListenAddr`] or
//! [`ListenAddrs`], or an `Option` of one:
//!
//! ```ignore
//! #[derive(Deserialize)]
//! struct Config {
//!     // `listen = "localhost"` and `listen = "localhost:9090"`
//!     #[serde(deserialize_with = "bindaddr::addr::de::with_default_port::<8080, _, _>")]
//!     listen: ListenAddr,
//!     // `metrics = ["127.0.0.1", "::1"]`
//!     #[serde(deserialize_with = "bindaddr::addr::de::host_with_port::<9100, _, _>")]
//!     metrics: ListenAddrs,
//!     // May be left out of the config.
//!     #[serde(default, deserialize_with = "bindaddr::addr::de::host_with_port::<9101, _, _>")]
//!     admin: Option<ListenAddrs>,
//! }
//! ```
//!
//! If the port is another field of the config, read the hosts with port 0 and give each the port by
//! [`ListenAddr::with_port`].

use std::fmt;
use std::marker::PhantomData;

use serde_core::de::{Deserializer, Error, Visitor};

use super::{ListenAddr, ListenAddrs};
use crate::serde::{Expected, text, texts};
use sealed::{Rule, Sealed};

/// Deserializes an address or a list of addresses that may leave out the port, which is then
/// `PORT`.
///
/// A text is read as [`ListenAddr::parse_with_default_port`] reads it, and a list as
/// [`ListenAddrs::parse_each_with_default_port`] reads it. A number alone is a port.
///
/// # Errors
///
/// The error of the format, with the sentence of the [`ParseError`](crate::addr::ParseError) or the
/// [`ParseListError`](crate::addr::ParseListError).
///
/// # Examples
///
/// ```
/// use bindaddr::addr::de;
/// use bindaddr::ListenAddr;
/// use serde_core::de::IntoDeserializer;
/// use serde_core::de::value::{Error, StrDeserializer};
///
/// let value: StrDeserializer<Error> = "::1".into_deserializer();
/// let listen: ListenAddr = de::with_default_port::<8080, _, _>(value)?;
/// assert_eq!(listen.to_string(), "[::1]:8080");
/// # Ok::<(), Error>(())
/// ```
pub fn with_default_port<'de, const PORT: u16, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Field,
{
    T::read(deserializer, Rule::Default(PORT))
}

/// Deserializes a host or a list of hosts, without ports, and gives each the port `PORT`.
///
/// A text is read as [`ListenAddr::from_host`] reads it, and a list as
/// [`ListenAddrs::from_each_host`] reads it.
///
/// # Errors
///
/// The error of the format, with the sentence of the [`ParseError`](crate::addr::ParseError) or the
/// [`ParseListError`](crate::addr::ParseListError). A port is an error, also as a number alone.
///
/// # Examples
///
/// ```
/// use bindaddr::addr::de;
/// use bindaddr::ListenAddrs;
/// use serde_core::de::IntoDeserializer;
/// use serde_core::de::value::{Error, StrDeserializer};
///
/// let value: StrDeserializer<Error> = "127.0.0.1, fd00::1:2".into_deserializer();
/// let listen: ListenAddrs = de::host_with_port::<8080, _, _>(value)?;
/// assert_eq!(listen.to_string(), "127.0.0.1:8080, [fd00::1:2]:8080");
/// # Ok::<(), Error>(())
/// ```
pub fn host_with_port<'de, const PORT: u16, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Field,
{
    T::read(deserializer, Rule::Given(PORT))
}

/// The type of a field that the functions of this module deserialize.
///
/// It is implemented for [`ListenAddr`], [`ListenAddrs`] and an `Option` of either, and cannot be
/// implemented outside of this crate.
///
/// # Examples
///
/// ```
/// fn reads<T: bindaddr::addr::de::Field>() {}
/// reads::<bindaddr::ListenAddr>();
/// reads::<Option<bindaddr::ListenAddrs>>();
/// ```
pub trait Field: Sealed {}

impl<T: Sealed> Field for T {}

#[allow(unnameable_types)] // so that no other type is a `Field`
mod sealed {
    use serde_core::de::Deserializer;

    /// The port of a text that has none.
    #[derive(Clone, Copy, Debug)]
    pub enum Rule {
        Default(u16),
        Given(u16),
    }

    pub trait Sealed: Sized {
        fn read<'de, D: Deserializer<'de>>(deserializer: D, rule: Rule) -> Result<Self, D::Error>;
    }
}

impl Rule {
    fn expected(self) -> Expected {
        match self {
            Self::Default(_) => Expected::Addr,
            Self::Given(_) => Expected::Host,
        }
    }
}

impl Sealed for ListenAddr {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, rule: Rule) -> Result<Self, D::Error> {
        let text = text(deserializer, rule.expected())?;
        match rule {
            Rule::Default(port) => Self::parse_with_default_port(&text, port),
            Rule::Given(port) => Self::from_host(&text, port),
        }
        .map_err(Error::custom)
    }
}

impl Sealed for ListenAddrs {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, rule: Rule) -> Result<Self, D::Error> {
        let texts = texts(deserializer, rule.expected())?;
        match rule {
            Rule::Default(port) => Self::parse_each_with_default_port(texts, port),
            Rule::Given(port) => Self::from_each_host(texts, port),
        }
        .map_err(Error::custom)
    }
}

impl<T: Sealed> Sealed for Option<T> {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, rule: Rule) -> Result<Self, D::Error> {
        let field = PhantomData;
        deserializer.deserialize_option(Optional { rule, field })
    }
}

/// Takes a value that may be missing, such as `null`.
struct Optional<T> {
    rule: Rule,
    field: PhantomData<T>,
}

impl<'de, T: Sealed> Visitor<'de> for Optional<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an optional value")
    }

    fn visit_none<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<T>, D::Error> {
        T::read(deserializer, self.rule).map(Some)
    }
}
