//! Opening the sockets of several settings together: [`bind_all`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use socket2::Socket;

use super::listener::{Followed, Listener, Listeners, Merged, Skipped};
use super::setting::{Setting, Wanted};
use super::{BindError, BindFailure, BindOptions, Extent, Failed, Opened, Tried, explain};
use crate::diagnose::{self, Attempt, Cause, Diagnosis, Evidence, Step};
use crate::plan::{self, Claims, Device, Listed, PlannedSocket};
use crate::resolve::ThisHost;
use crate::target::{Claim, Overlap, Protocol};

/// Opens the TCP listeners of several settings, all of them or none, with the default
/// [`BindOptions`].
///
/// The settings are those of a list: a wildcard beside an address of its own
/// is a mistake that is told by both as they were written, before anything is opened;
/// an address that stands twice is opened once; and `[::]` beside `0.0.0.0` on one
/// port leaves IPv4 to it.
///
/// A setting that [may be absent](crate::ListenAddr::is_optional) is skipped where this host
/// lacks its address or family, never where its port is in use.
///
/// # Errors
///
/// A [`BindError`] that names the [`Cause`] of every socket that failed. It is one, too,
/// where nothing is left to listen on.
///
/// # Platform notes
///
/// As for [`bind()`](super::bind()). What excludes what is Linux's rule everywhere.
///
/// # Examples
///
/// ```
/// use bindaddr::ListenAddrs;
///
/// let addrs: ListenAddrs = "127.0.0.1:0, -[::1]:0".parse()?;
/// let listeners = bindaddr::bind_all(&addrs)?;
/// for listener in &listeners {
///     println!("listening on {}", listener.local_addr());
/// }
/// for skipped in listeners.skipped() {
///     eprintln!("not listening on {}: {}", skipped.text(), skipped.cause());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Example: errors
///
/// ```
/// let err = bindaddr::bind_all(["0.0.0.0:8080", "127.0.0.1:8080"]).unwrap_err();
/// assert_eq!(
///     err.to_string(),
///     "cannot listen on 1 of 2 addresses: 127.0.0.1:8080: it cannot stand beside `0.0.0.0:8080` \
///      of the same list, which covers every IPv4 address",
/// );
/// ```
pub fn bind_all<'a, S: Into<Setting<'a>>>(
    settings: impl IntoIterator<Item = S>,
) -> Result<Listeners, BindError> {
    BindOptions::new().bind_all(settings)
}

/// Binds the UDP sockets of several settings, all of them or none, as [`bind_all`] does of TCP.
///
/// # Errors
///
/// A [`BindError`] that names the [`Cause`] of every socket that failed.
///
/// # Examples
///
/// ```
/// let sockets = bindaddr::bind_udp_all(["127.0.0.1:0", "127.0.0.2:0"]);
/// # #[cfg(target_os = "linux")]
/// assert_eq!(sockets?.as_slice().len(), 2);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
pub fn bind_udp_all<'a, S: Into<Setting<'a>>>(
    settings: impl IntoIterator<Item = S>,
) -> Result<Listeners<UdpSocket>, BindError> {
    BindOptions::new().bind_udp_all(settings)
}

impl BindOptions {
    /// Opens the TCP listeners of several settings, as [`bind_all`] does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`] of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = bindaddr::BindOptions::new().backlog(128);
    /// let listeners = options.bind_all(["127.0.0.1:0", "localhost:0"])?;
    /// # assert!(listeners.as_slice().len() >= 2);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn bind_all<'a, S: Into<Setting<'a>>>(
        &self,
        settings: impl IntoIterator<Item = S>,
    ) -> Result<Listeners, BindError> {
        let settings: Vec<Setting<'a>> = settings.into_iter().map(Into::into).collect();
        self.keep_trying(&settings, || self.open_list(Protocol::Tcp, &settings))
    }

    /// Binds the UDP sockets of several settings, as [`bind_udp_all`] does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`] of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let options = bindaddr::BindOptions::new().nonblocking(true);
    /// let sockets = options.bind_udp_all(["127.0.0.1:0"])?;
    /// # assert_eq!(sockets.as_slice().len(), 1);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn bind_udp_all<'a, S: Into<Setting<'a>>>(
        &self,
        settings: impl IntoIterator<Item = S>,
    ) -> Result<Listeners<UdpSocket>, BindError> {
        let settings: Vec<Setting<'a>> = settings.into_iter().map(Into::into).collect();
        self.keep_trying(&settings, || self.open_list(Protocol::Udp, &settings))
    }

    pub(super) fn open_list<S: From<Socket>>(
        &self,
        protocol: Protocol,
        settings: &[Setting<'_>],
    ) -> Result<Listeners<S>, BindError> {
        let texts: Vec<String> = settings.iter().map(Setting::text).collect();
        let refused = |failures| BindError::new(protocol, texts.clone(), failures);
        if settings.is_empty() {
            let failure = BindFailure::of_setting(Step::Check, Cause::EmptyList, None);
            return Err(refused(vec![failure]));
        }

        let mut list = List::default();
        let host = ThisHost::default();
        for (number, setting) in settings.iter().enumerate() {
            self.read_entry(number, setting, &host, &mut list);
        }
        list.plan(&texts);
        if !list.failures.is_empty() {
            // It fails, so nothing is opened; the others are looked at.
            list.look_ahead(protocol);
            list.failures.sort_by_key(BindFailure::entry);
            return Err(refused(list.failures));
        }

        let mut opened: Vec<Listener<S>> = Vec::new();
        let mut failed: Vec<(usize, Failed)> = Vec::new();
        let mut extent = Extent::Listen;
        for at in list.order() {
            let entry = &list.entries[at];
            let Opened {
                listeners,
                failures,
            } = entry.open(protocol, extent);
            let is_skipped =
                |failed: &Failed| entry.is_optional() && failed.absence() != (false, false);
            if !failures.iter().all(is_skipped) {
                // The list is not opened. What is left is tried for what is wrong with it, and no
                // client gets in while the causes are found.
                extent = Extent::Bind;
                opened.clear();
            }
            if extent == Extent::Listen {
                opened.extend(listeners.into_iter().map(|one| one.of_entry(entry.number)));
            }
            failed.extend(failures.into_iter().map(|failed| (at, failed)));
        }
        let claims = list.claims();
        for (at, failure) in explain(protocol, failed, Some(&claims), |at| {
            let entry = &list.entries[at];
            (entry.number, &entry.wanted, &*entry.options)
        }) {
            let is_skipped = list.entries[at].is_optional() && failure.cause().is_absence();
            list.take(is_skipped, failure);
        }
        list.failures.sort_by_key(BindFailure::entry);
        list.skipped.sort_by_key(BindFailure::entry);
        if !list.failures.is_empty() {
            return Err(refused(list.failures));
        }
        if opened.is_empty() {
            // What was skipped is all there was.
            return Err(refused(list.skipped));
        }
        opened.sort_by_key(Listener::entry);
        Ok(list.into_listeners(&texts, opened))
    }

    /// Finds out what a setting of a list stands for.
    fn read_entry<'o>(
        &'o self,
        number: usize,
        setting: &Setting<'_>,
        host: &ThisHost,
        list: &mut List<'o>,
    ) {
        let options = setting.options(self);
        let mut is_optional = false;
        let wanted = setting.read().and_then(|read| {
            is_optional = read.is_optional();
            list.followed.extend(read.followed(number, &options));
            read.wanted(host, &options)
        });
        let refusal = options.refusal();
        match (wanted, &refusal) {
            (Ok(wanted), None) => {
                let planned = options.planned(&wanted, *wanted.ports.start());
                list.entries.push(Entry {
                    number,
                    device: options.device_claim(),
                    options,
                    wanted,
                    planned,
                });
            }
            (Ok(_), Some(_)) => {}
            (Err(failure), _) => {
                let is_skipped = is_optional && failure.cause().is_absence();
                list.take(is_skipped, failure.of_entry(number));
            }
        }
        if let Some(failure) = refusal {
            list.take(false, failure.of_entry(number));
        }
    }
}

/// The settings of a list, as far as they have been gone through.
#[derive(Default)]
struct List<'o> {
    entries: Vec<Entry<'o>>,
    skipped: Vec<BindFailure>,
    failures: Vec<BindFailure>,
    merged: Vec<Merged>,
    followed: Vec<Followed>,
}

/// A setting of a list that stands for sockets.
struct Entry<'o> {
    /// Which of the settings it is.
    number: usize,
    options: Cow<'o, BindOptions>,
    device: Device,
    wanted: Wanted,
    /// Its sockets, on the first of its ports.
    planned: Vec<PlannedSocket>,
}

impl Entry<'_> {
    /// Opens what can be of it.
    fn open<S: From<Socket>>(&self, protocol: Protocol, extent: Extent) -> Opened<S> {
        if self.is_range() {
            self.options.open_wanted(protocol, &self.wanted, extent)
        } else {
            let planned = self.planned.clone();
            self.options
                .open_on_one_port(protocol, planned, self.is_optional(), extent)
        }
    }

    fn is_optional(&self) -> bool {
        self.wanted.is_optional
    }

    fn is_range(&self) -> bool {
        self.wanted.ports.start() < self.wanted.ports.end()
    }

    /// What a socket of it claims of its port; `None` if it shares it, or that is not known.
    fn claim(&self, socket: &PlannedSocket) -> Option<Claim> {
        if self.options.shares_port() {
            return None;
        }
        let device = self.device.index()?;
        Some(Claim::of_socket(socket.addr, socket.only_v6).on_device(device))
    }

    /// The port that it must have and no other; 0 for none.
    fn port(&self) -> u16 {
        if self.is_range() {
            0
        } else {
            *self.wanted.ports.start()
        }
    }
}

impl List<'_> {
    /// Merges what stands twice and finds what excludes each other.
    fn plan(&mut self, texts: &[String]) {
        let fixed = self.entries.iter_mut().filter(|entry| entry.port() != 0);
        let mut fixed: Vec<Listed<'_>> = fixed
            .map(|entry| Listed {
                number: entry.number,
                is_optional: entry.wanted.is_optional,
                device: entry.device.clone(),
                freebind: entry.options.is_freebind(),
                sockets: &mut entry.planned,
            })
            .collect();
        let merged = plan::fit_together(&mut fixed).into_iter();
        self.merged = merged
            .map(|(entry, into, addr)| Merged::new(entry, into, addr))
            .collect();
        let mut claims = Claims::default();
        let mut claimed: Vec<(SocketAddr, usize)> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.port() != 0) {
            for socket in &entry.planned {
                let Some(claim) = entry.claim(socket) else {
                    continue;
                };
                let addr = socket.addr;
                if let Some((other, overlap)) = claims.conflict(claim, addr.port()) {
                    let (other, other_entry) = claimed[other];
                    let failure = conflict(addr, other, &texts[other_entry], overlap);
                    self.failures.push(failure.of_entry(entry.number));
                }
                claims.add(claimed.len(), claim, addr.port());
                claimed.push((addr, entry.number));
            }
        }
        // A range that the list itself leaves no port.
        for entry in self.entries.iter().filter(|entry| entry.is_range()) {
            let own = entry.planned.iter().map(|socket| entry.claim(socket));
            let own: Vec<Option<Claim>> = own.collect();
            let ports = entry.wanted.ports.clone();
            let no_port = claims.conflict_of_range(&own, ports.clone());
            self.failures
                .extend(no_port.map(|(socket, other, overlap)| {
                    let mut addr = entry.planned[socket].addr;
                    addr.set_port(*ports.start());
                    let (other, other_entry) = claimed[other];
                    conflict(addr, other, &texts[other_entry], overlap).of_entry(entry.number)
                }));
        }
    }

    /// Returns what the entries that have one port claim of it, by their numbers.
    fn claims(&self) -> Claims {
        let mut claims = Claims::default();
        for entry in self.entries.iter().filter(|entry| !entry.is_range()) {
            for socket in &entry.planned {
                let claim = Claim::of_socket(socket.addr, socket.only_v6);
                claims.add(entry.number, claim, socket.addr.port());
            }
        }
        claims
    }

    /// Finds what else is wrong, without opening anything.
    fn look_ahead(&mut self, protocol: Protocol) {
        let claims = self.claims();
        let failed: HashSet<usize> = self.failures.iter().map(BindFailure::entry).collect();
        let others = self
            .entries
            .iter()
            .filter(|entry| !failed.contains(&entry.number));
        let tried: Vec<(&Entry<'_>, Tried)> = others
            .flat_map(|entry| {
                let sockets = entry.planned.iter().cloned();
                // What was handed over is open.
                let sockets =
                    sockets.filter(move |socket| !entry.options.is_handed_over(protocol, socket));
                sockets.filter_map(move |socket| {
                    Some((entry, entry.options.try_out(protocol, socket)?))
                })
            })
            .collect();
        let attempts: Vec<Attempt<'_>> = tried
            .iter()
            .map(|(entry, tried)| Attempt {
                beside: Some((&claims, entry.number)),
                ..entry.options.attempt_of(protocol, tried, &entry.wanted)
            })
            .collect();
        let evidence = Evidence::read(&attempts, None);
        let diagnoses: Vec<Diagnosis> = attempts
            .iter()
            .map(|attempt| diagnose::diagnose(attempt, &evidence))
            .collect();
        let mut found = Vec::new();
        for ((entry, tried), diagnosis) in tried.into_iter().zip(diagnoses) {
            let Some(first) = diagnosis.causes.first() else {
                continue;
            };
            if !(entry.is_optional() && first.is_absence()) {
                let (step, error) = match tried.error {
                    Some((step, error)) => (step, Some(error)),
                    None => (Step::Check, None),
                };
                let addr = Some(tried.socket.addr);
                let failure = BindFailure::new(addr, step, diagnosis, error);
                found.push(failure.of_entry(entry.number));
            }
        }
        self.failures.extend(found);
    }

    fn take(&mut self, is_skipped: bool, failure: BindFailure) {
        if is_skipped {
            self.skipped.push(failure);
        } else {
            self.failures.push(failure);
        }
    }

    fn into_listeners<S>(self, texts: &[String], opened: Vec<Listener<S>>) -> Listeners<S> {
        let skipped = self.skipped.into_iter().map(Arc::new);
        let mut skipped: Vec<Skipped> = skipped
            .map(|failure| {
                let entry = failure.entry();
                Skipped::new(entry, texts[entry].clone(), failure)
            })
            .collect();
        // What was merged into a setting that is skipped is not open; of an optional one it is
        // skipped as well, and `localhost` does without.
        let entries = self.entries.iter();
        let optional = entries.filter(|entry| entry.is_optional());
        let optional: HashSet<usize> = optional.map(|entry| entry.number).collect();
        let mut merged = self.merged;
        merged.retain(|one| {
            let into = skipped.iter().find(|skipped| {
                (skipped.entry(), skipped.addr()) == (one.into_entry(), Some(one.addr()))
            });
            let is_open = into.is_none();
            let into = into.filter(|_| optional.contains(&one.entry()));
            let also = into.map(|into| into.of_entry(one.entry(), texts[one.entry()].clone()));
            skipped.extend(also);
            is_open
        });
        skipped.sort_by_key(Skipped::entry);
        Listeners::of_list(opened, skipped, merged, self.followed)
    }

    /// The places of the entries in the order in which they are opened: who must have a
    /// port comes before who has a choice.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|at| {
            let entry = &self.entries[*at];
            (entry.port() == 0, !entry.is_range())
        });
        order
    }
}

fn conflict(addr: SocketAddr, other: SocketAddr, text: &str, overlap: Overlap) -> BindFailure {
    let cause = Cause::Conflict {
        ip: addr.ip(),
        other,
        text: text.to_owned(),
        overlap,
    };
    let diagnosis = Diagnosis {
        causes: vec![cause],
        hints: Vec::new(),
    };
    BindFailure::new(Some(addr), Step::Check, diagnosis, None)
}
