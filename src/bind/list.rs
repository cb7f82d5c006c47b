//! Opening the sockets of several settings together: [`bind_all`].

use std::borrow::Cow;
use std::net::{SocketAddr, UdpSocket};

use socket2::Socket;

use super::listener::{Listener, Listeners, Merged, Skipped};
use super::setting::{Setting, Wanted};
use super::{BindError, BindFailure, BindOptions, Failed, Opened, explain};
use crate::diagnose::{Cause, Step};
use crate::plan::{self, Claims, Listed, PlannedSocket};
use crate::resolve::ThisHost;
use crate::target::{Claim, Protocol};

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
    pub fn bind_all<'a, S: Into<Setting<'a>>>(
        &self,
        settings: impl IntoIterator<Item = S>,
    ) -> Result<Listeners, BindError> {
        let settings: Vec<Setting<'a>> = settings.into_iter().map(Into::into).collect();
        self.keep_trying(|| self.open_list(Protocol::Tcp, &settings))
    }

    /// Binds the UDP sockets of several settings, as [`bind_udp_all`] does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`] of every socket that failed.
    pub fn bind_udp_all<'a, S: Into<Setting<'a>>>(
        &self,
        settings: impl IntoIterator<Item = S>,
    ) -> Result<Listeners<UdpSocket>, BindError> {
        let settings: Vec<Setting<'a>> = settings.into_iter().map(Into::into).collect();
        self.keep_trying(|| self.open_list(Protocol::Udp, &settings))
    }

    fn open_list<S: From<Socket>>(
        &self,
        protocol: Protocol,
        settings: &[Setting<'_>],
    ) -> Result<Listeners<S>, BindError> {
        let texts: Vec<String> = settings.iter().map(Setting::text).collect();
        let refused = |failures| BindError::new(protocol, texts.clone(), failures);
        let of_all = |cause| refused(vec![BindFailure::new(None, Step::Check, vec![cause], None)]);
        if settings.is_empty() {
            return Err(of_all(Cause::EmptyList));
        }

        let mut list = List::default();
        let host = ThisHost::default();
        for (number, setting) in settings.iter().enumerate() {
            self.read_entry(number, setting, &host, &mut list);
        }
        list.plan(&texts);
        if !list.failures.is_empty() {
            return Err(refused(list.failures));
        }

        let mut opened: Vec<Listener<S>> = Vec::new();
        let mut failed: Vec<(usize, Failed)> = Vec::new();
        for at in list.order() {
            let entry = &list.entries[at];
            let Opened {
                listeners,
                failures,
            } = entry.open(protocol);
            opened.extend(listeners.into_iter().map(|one| one.of_entry(entry.number)));
            failed.extend(failures.into_iter().map(|failed| (at, failed)));
        }
        let (absent, failures): (Vec<_>, Vec<_>) = explain(protocol, failed, |at| {
            let entry = &list.entries[at];
            (entry.number, &entry.wanted, &*entry.options)
        })
        .into_iter()
        .partition(|(at, failure)| list.entries[*at].is_optional && failure.cause().is_absence());
        list.skipped
            .extend(absent.into_iter().map(|(_, failure)| failure));
        if !failures.is_empty() {
            return Err(refused(
                failures.into_iter().map(|(_, failure)| failure).collect(),
            ));
        }
        if opened.is_empty() {
            // What was skipped is all there was.
            return Err(refused(list.skipped));
        }
        opened.sort_by_key(Listener::entry);
        let skipped = list.skipped.into_iter();
        let skipped = skipped.map(|failure| Skipped::new(texts[failure.entry()].clone(), failure));
        Ok(Listeners::of_list(opened, skipped.collect(), list.merged))
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
            read.wanted(host, &options)
        });
        match (wanted, options.refusal()) {
            (Ok(wanted), None) => {
                let planned = options.planned(&wanted, *wanted.ports.start());
                list.entries.push(Entry {
                    number,
                    is_optional,
                    device: options.device_claim(),
                    options,
                    wanted,
                    planned,
                });
            }
            (Ok(_), Some(cause)) => {
                let failure = BindFailure::new(None, Step::Check, vec![cause], None);
                list.failures.push(failure.of_entry(number));
            }
            (Err(failure), _) => {
                let is_skipped = is_optional && failure.cause().is_absence();
                let to = if is_skipped {
                    &mut list.skipped
                } else {
                    &mut list.failures
                };
                to.push(failure.of_entry(number));
            }
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
}

/// A setting of a list that stands for sockets.
struct Entry<'o> {
    /// Which of the settings it is.
    number: usize,
    is_optional: bool,
    options: Cow<'o, BindOptions>,
    /// The index of the interface that its sockets are bound to, 0 for none; `None` if that
    /// is not known.
    device: Option<u32>,
    wanted: Wanted,
    /// Its sockets, on the first of its ports.
    planned: Vec<PlannedSocket>,
}

impl Entry<'_> {
    /// Opens what can be of it.
    fn open<S: From<Socket>>(&self, protocol: Protocol) -> Opened<S> {
        if self.is_range() {
            self.options.open_wanted(protocol, &self.wanted)
        } else {
            self.options
                .open_on_one_port(protocol, self.planned.clone())
        }
    }

    fn is_range(&self) -> bool {
        self.wanted.ports.start() < self.wanted.ports.end()
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
                is_optional: entry.is_optional,
                device: entry.device,
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
        for Listed {
            number,
            device,
            sockets,
            ..
        } in fixed
        {
            // The kernel will say what is wrong with an unknown device.
            let Some(device) = device else { continue };
            for socket in sockets {
                let addr = socket.addr;
                let claim = Claim::of_socket(addr, socket.only_v6).on_device(device);
                if let Some((other, overlap)) = claims.conflict(claim, addr.port()) {
                    let (other, other_entry) = claimed[other];
                    let cause = Cause::Conflict {
                        ip: addr.ip(),
                        other,
                        text: texts[other_entry].clone(),
                        overlap,
                    };
                    let failure = BindFailure::new(Some(addr), Step::Check, vec![cause], None);
                    self.failures.push(failure.of_entry(number));
                }
                claims.add(claimed.len(), claim, addr.port());
                claimed.push((addr, number));
            }
        }
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
