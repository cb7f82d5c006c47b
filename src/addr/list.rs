//! Several listen addresses in one setting: [`ListenAddrs`], and the error of a list with mistakes.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::str::FromStr;

use super::ListenAddr;
use super::error::{ParseError, credentials};
use super::parse::{self, PortRule};

/// The listen addresses of a setting that may have several.
///
/// In a text they are separated by commas, by white space, or by both. An entry that is empty is a
/// mistake, as where a variable between two commas was unset. So is a port alone behind an address:
/// `127.0.0.1:80,443` may mean two ports of that address, and must not open every one.
///
/// A list that was parsed has at least one address; one that a program collects may be empty, and
/// binding it is an error. It dereferences to a slice of [`ListenAddr`].
///
/// The [`Display`](fmt::Display) form is canonical and parses back to the same value, unless the
/// list is empty.
///
/// # Examples
///
/// ```
/// use bindaddr::ListenAddrs;
///
/// let addrs: ListenAddrs = "127.0.0.1:8080, [::1]:8080".parse()?;
/// assert_eq!((addrs.len(), addrs[1].port()), (2, 8080));
/// assert_eq!(addrs.to_string(), "127.0.0.1:8080, [::1]:8080");
/// assert_eq!("*:80 *:443".parse::<ListenAddrs>()?.to_string(), "*:80, *:443");
/// # Ok::<(), bindaddr::addr::ParseListError>(())
/// ```
///
/// # Example: errors
///
/// ```
/// use bindaddr::ListenAddrs;
///
/// let err = "127.0.0.1:-1,*:80,[::1]:65536".parse::<ListenAddrs>().unwrap_err();
/// assert_eq!(
///     err.to_string(),
///     "(1) entry 1 of 3: invalid listen address \"127.0.0.1:-1\": the port `-1` has a sign; \
///      (2) entry 3 of 3: invalid listen address \"[::1]:65536\": the port `65536` is too large; the largest is 65535",
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenAddrs {
    addrs: Vec<ListenAddr>,
}

impl ListenAddrs {
    /// Parses a list whose entries may leave out their ports.
    ///
    /// A port in an entry wins over `port`.
    ///
    /// # Errors
    ///
    /// A [`ParseListError`] with every invalid entry.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::ListenAddrs;
    ///
    /// let addrs = ListenAddrs::parse_with_default_port("127.0.0.1, [::1]:9090", 8080)?;
    /// assert_eq!(addrs.to_string(), "127.0.0.1:8080, [::1]:9090");
    /// # Ok::<(), bindaddr::addr::ParseListError>(())
    /// ```
    pub fn parse_with_default_port(text: &str, port: u16) -> Result<Self, ParseListError> {
        parse_all([text], PortRule::Default(port))
    }

    /// Parses the texts of a sequence, as of a flag that may be repeated, each of which may
    /// be a list itself.
    ///
    /// # Errors
    ///
    /// A [`ParseListError`] with every invalid entry. The sequence must
    /// not be empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::ListenAddrs;
    ///
    /// let addrs = ListenAddrs::parse_each(["127.0.0.1:80", "[::1]:80 *:443"])?;
    /// assert_eq!(addrs.as_slice().len(), 3);
    /// assert!(ListenAddrs::parse_each(<[&str; 0]>::default()).is_err());
    /// # Ok::<(), bindaddr::addr::ParseListError>(())
    /// ```
    pub fn parse_each<T: AsRef<str>>(
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Self, ParseListError> {
        parse_all(texts, PortRule::Required)
    }

    /// Parses the texts of a sequence whose entries may leave out their ports.
    ///
    /// A port in an entry wins over `port`.
    ///
    /// # Errors
    ///
    /// As for [`parse_each`](Self::parse_each).
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::ListenAddrs;
    ///
    /// let addrs = ListenAddrs::parse_each_with_default_port(["127.0.0.1", "[::1]:9090"], 8080)?;
    /// assert_eq!(addrs.to_string(), "127.0.0.1:8080, [::1]:9090");
    /// # Ok::<(), bindaddr::addr::ParseListError>(())
    /// ```
    pub fn parse_each_with_default_port<T: AsRef<str>>(
        texts: impl IntoIterator<Item = T>,
        port: u16,
    ) -> Result<Self, ParseListError> {
        parse_all(texts, PortRule::Default(port))
    }

    /// Parses a list of hosts, as of a setting that keeps its port apart.
    ///
    /// Each entry is what [`ListenAddr::from_host`] accepts, and gets `port`.
    ///
    /// # Errors
    ///
    /// A [`ParseListError`] with every entry that is not a host or that has a port. A number alone
    /// is a port, and therefore an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::ListenAddrs;
    ///
    /// let addrs = ListenAddrs::from_hosts("127.0.0.1, fd00::1:2", 8080)?;
    /// assert_eq!(addrs.to_string(), "127.0.0.1:8080, [fd00::1:2]:8080");
    /// assert!(ListenAddrs::from_hosts("127.0.0.1, 443", 8080).is_err());
    /// # Ok::<(), bindaddr::addr::ParseListError>(())
    /// ```
    pub fn from_hosts(text: &str, port: u16) -> Result<Self, ParseListError> {
        parse_all([text], PortRule::Given(port))
    }

    /// Parses the texts of a sequence, each of which is a host or a list of hosts.
    ///
    /// # Errors
    ///
    /// As for [`from_hosts`](Self::from_hosts). The sequence must not be empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::ListenAddrs;
    ///
    /// let addrs = ListenAddrs::from_each_host(["127.0.0.1", "::1, eth0"], 8080)?;
    /// assert_eq!(addrs.to_string(), "127.0.0.1:8080, [::1]:8080, eth0:8080");
    /// # Ok::<(), bindaddr::addr::ParseListError>(())
    /// ```
    pub fn from_each_host<T: AsRef<str>>(
        texts: impl IntoIterator<Item = T>,
        port: u16,
    ) -> Result<Self, ParseListError> {
        parse_all(texts, PortRule::Given(port))
    }

    /// Borrows the addresses.
    #[must_use]
    pub fn as_slice(&self) -> &[ListenAddr] {
        &self.addrs
    }

    /// Iterates over the addresses.
    pub fn iter(&self) -> std::slice::Iter<'_, ListenAddr> {
        self.addrs.iter()
    }
}

/// One entry of a text that is a list.
pub(crate) struct ListEntry<'t> {
    /// The position of its first byte in the list.
    offset: usize,
    /// The entry as written.
    pub(crate) text: &'t str,
    pub(crate) addr: Result<ListenAddr, ParseError>,
}

/// Parses the entries of a list: at least one.
pub(crate) fn parse_entries(text: &str) -> Vec<ListEntry<'_>> {
    entries_of(text, PortRule::Required)
}

/// Parses the entries of a list of hosts, each of which gets `port`: at least one.
pub(crate) fn parse_hosts(text: &str, port: u16) -> Vec<ListEntry<'_>> {
    entries_of(text, PortRule::Given(port))
}

fn entries_of(text: &str, rule: PortRule) -> Vec<ListEntry<'_>> {
    let mut is_behind_address = false;
    let mut follows: Option<ListenAddr> = None;
    let mut parse_one = |(offset, part)| {
        let is_port_alone = parse::is_port_alone(part);
        let addr = match parse::parse(part, rule) {
            // `127.0.0.1:80,443` must not open every address.
            Ok(_) if is_port_alone && is_behind_address => {
                Err(ParseError::port_alone(part, follows.as_ref(), rule))
            }
            addr => addr,
        };
        if !is_port_alone && !part.is_empty() {
            is_behind_address = true;
            follows = addr.as_ref().ok().cloned();
        }
        ListEntry {
            offset,
            text: part,
            addr,
        }
    };
    let mut found: Vec<ListEntry<'_>> = entries(text).map(&mut parse_one).collect();
    if found.is_empty() {
        found.push(parse_one((0, "")));
    }
    found
}

fn parse_all<T: AsRef<str>>(
    texts: impl IntoIterator<Item = T>,
    rule: PortRule,
) -> Result<ListenAddrs, ParseListError> {
    let mut addrs = Vec::new();
    let mut errors = Vec::new();
    let mut entry = 0;
    let mut add = |found: ListEntry<'_>| {
        match found.addr {
            Ok(addr) => addrs.push(addr),
            Err(error) => errors.push(EntryError {
                index: entry,
                offset: found.offset,
                error,
            }),
        }
        entry += 1;
    };
    let mut is_empty = true;
    for text in texts {
        is_empty = false;
        entries_of(text.as_ref(), rule)
            .into_iter()
            .for_each(&mut add);
    }
    if is_empty {
        entries_of("", rule).into_iter().for_each(&mut add);
    }
    if errors.is_empty() {
        Ok(ListenAddrs { addrs })
    } else {
        Err(ParseListError {
            entries: entry,
            errors,
        })
    }
}

/// The entries of a list, each with its place in bytes. Between two commas there is at least one
/// entry, if an empty one.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let (before, url, after) = around_credentials(text);
    let all = before.into_iter().flat_map(split).chain(url);
    let all = all.chain(after.into_iter().flat_map(split));
    // Each is a part of `text`.
    all.map(move |part| (part.as_ptr() as usize - text.as_ptr() as usize, part))
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').flat_map(|between| {
        let is_empty = between.trim_ascii().is_empty();
        let empty = is_empty.then(|| between.trim_ascii_end());
        between.split_ascii_whitespace().chain(empty)
    })
}

/// Splits a list around a URL with a user name and a password, which may have a separator and whose
/// parts would be shown: the list before it, the URL, and the list after it.
fn around_credentials(text: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
    let Some(secret) = credentials(text).filter(|secret| text[..secret.start].ends_with("//"))
    else {
        return (Some(text), None, None);
    };
    let is_separator = |c: char| c == ',' || c.is_ascii_whitespace();
    let start = text[..secret.start]
        .rfind(is_separator)
        .map_or(0, |at| at + 1);
    let end = text[secret.end..].find(is_separator);
    let end = end.map_or(text.len(), |at| secret.end + at);
    let (before, after) = (
        text[..start].trim_ascii_end(),
        text[end..].trim_ascii_start(),
    );
    let before_comma = before.strip_suffix(',');
    let after_comma = after.strip_prefix(',');
    let is_some = |list: &&str| !list.is_empty();
    (
        before_comma.or(Some(before).filter(is_some)),
        Some(&text[start..end]),
        after_comma.or(Some(after).filter(is_some)),
    )
}

impl FromStr for ListenAddrs {
    type Err = ParseListError;

    /// Parses a list whose entries have ports.
    ///
    /// # Errors
    ///
    /// A [`ParseListError`] with every invalid entry.
    fn from_str(text: &str) -> Result<Self, ParseListError> {
        parse_all([text], PortRule::Required)
    }
}

impl TryFrom<&str> for ListenAddrs {
    type Error = ParseListError;

    fn try_from(text: &str) -> Result<Self, ParseListError> {
        text.parse()
    }
}

impl TryFrom<String> for ListenAddrs {
    type Error = ParseListError;

    fn try_from(text: String) -> Result<Self, ParseListError> {
        text.parse()
    }
}

impl From<ListenAddr> for ListenAddrs {
    fn from(addr: ListenAddr) -> Self {
        Self { addrs: vec![addr] }
    }
}

impl From<Vec<ListenAddr>> for ListenAddrs {
    fn from(addrs: Vec<ListenAddr>) -> Self {
        Self { addrs }
    }
}

/// Collects addresses, also none.
///
/// # Examples
///
/// ```
/// use bindaddr::{ListenAddr, ListenAddrs};
///
/// let hosts: ListenAddrs = "127.0.0.1:0, [::1]:0".parse()?;
/// let on_port: ListenAddrs = hosts.into_iter().map(|addr| addr.with_port(8080)).collect();
/// assert_eq!(on_port.to_string(), "127.0.0.1:8080, [::1]:8080");
/// # Ok::<(), bindaddr::addr::ParseListError>(())
/// ```
impl FromIterator<ListenAddr> for ListenAddrs {
    fn from_iter<T: IntoIterator<Item = ListenAddr>>(addrs: T) -> Self {
        Self {
            addrs: addrs.into_iter().collect(),
        }
    }
}

impl Deref for ListenAddrs {
    type Target = [ListenAddr];

    fn deref(&self) -> &[ListenAddr] {
        &self.addrs
    }
}

/// Adds addresses behind those of the list, as those of flags behind those of a file.
///
/// # Examples
///
/// ```
/// use bindaddr::{ListenAddr, ListenAddrs};
///
/// let mut addrs: ListenAddrs = "127.0.0.1:80".parse()?;
/// addrs.extend("[::1]:80, *:443".parse::<ListenAddrs>()?);
/// assert_eq!(addrs.to_string(), "127.0.0.1:80, [::1]:80, *:443");
/// # Ok::<(), bindaddr::addr::ParseListError>(())
/// ```
impl Extend<ListenAddr> for ListenAddrs {
    fn extend<T: IntoIterator<Item = ListenAddr>>(&mut self, addrs: T) {
        self.addrs.extend(addrs);
    }
}

impl fmt::Display for ListenAddrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, addr) in self.addrs.iter().enumerate() {
            let joint = if n == 0 { "" } else { ", " };
            write!(f, "{joint}{addr}")?;
        }
        Ok(())
    }
}

impl IntoIterator for ListenAddrs {
    type Item = ListenAddr;
    type IntoIter = std::vec::IntoIter<ListenAddr>;

    fn into_iter(self) -> Self::IntoIter {
        self.addrs.into_iter()
    }
}

impl<'a> IntoIterator for &'a ListenAddrs {
    type Item = &'a ListenAddr;
    type IntoIter = std::slice::Iter<'a, ListenAddr>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A list with invalid entries, all of which it has.
///
/// # Examples
///
/// ```
/// use bindaddr::ListenAddrs;
///
/// let err = "127.0.0.1:80, localhost".parse::<ListenAddrs>().unwrap_err();
/// let entry = &err.errors()[0];
/// assert_eq!((entry.index(), entry.offset()), (1, 14));
/// assert_eq!(entry.error().text(), "localhost");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseListError {
    entries: usize,
    errors: Vec<EntryError>,
}

impl ParseListError {
    /// Returns what is wrong, in the order of the list: at least one entry.
    #[must_use]
    pub fn errors(&self) -> &[EntryError] {
        &self.errors
    }
}

impl fmt::Display for ParseListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (n, error) in self.errors.iter().take(SHOWN).enumerate() {
            // A sentence may have a semicolon of its own, so the sentences are numbered.
            match (n, self.errors.len()) {
                (_, 1) => {}
                (0, _) => f.write_str("(1) ")?,
                (n, _) => write!(f, "; ({}) ", n + 1)?,
            }
            if self.entries > 1 {
                write!(f, "entry {} of {}: ", error.index + 1, self.entries)?;
            }
            write!(f, "{}", error.error)?;
        }
        match self.errors.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more entries are wrong"),
        }
    }
}

impl From<ParseListError> for io::Error {
    /// Keeps the whole error inside; the kind is [`InvalidInput`](io::ErrorKind::InvalidInput).
    fn from(err: ParseListError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, err)
    }
}

impl Error for ParseListError {}

/// An invalid entry of a list.
///
/// # Examples
///
/// ```
/// use bindaddr::addr::ParseErrorKind;
/// use bindaddr::ListenAddrs;
///
/// let err = ",*:80".parse::<ListenAddrs>().unwrap_err();
/// assert_eq!(err.errors()[0].error().kind(), ParseErrorKind::Empty);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryError {
    index: usize,
    offset: usize,
    error: ParseError,
}

impl EntryError {
    /// Returns which entry it is, from 0 on.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns where the entry begins, in bytes of the text that it came in.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Returns what is wrong with it.
    #[must_use]
    pub fn error(&self) -> &ParseError {
        &self.error
    }
}
