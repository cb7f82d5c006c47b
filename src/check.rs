//! The same findings without keeping a socket: [`check`], for a setting before a restart.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::bind::{BindOptions, Setting, absence, refused_without_asking};
use crate::diagnose::{self, Attempt, Cause, Errno, Evidence, Kernel, Note, Step};
use crate::interfaces::Interfaces;
use crate::listen::shown;
use crate::plan::{self, Absence, PlannedSocket};
use crate::target::{BindTarget, Claim, Overlap, Protocol};

/// Says of a list of TCP settings what [`bind`](crate::bind()) would run into on this host,
/// with the default [`BindOptions`].
///
/// It is for a configuration before the server is restarted with it: every problem of every
/// setting is found, those that the settings make each other too, and no running server is
/// disturbed. No port is taken from anyone: an address is tried on a UDP socket with port 0,
/// and who has a port is read from the kernel's tables.
///
/// What only binding would show is not found: a policy about TCP alone, such as Landlock's,
/// and sockets that have a port without listening on it.
///
/// # Platform notes
///
/// Who has a port is found on Linux and Android. Settings that Linux would not open side by
/// side are in conflict on every platform.
///
/// # Examples
///
/// ```
/// use bindaddr::Cause;
///
/// let running = bindaddr::bind("127.0.0.1:0")?;
/// let port = running.as_slice()[0].local_addr().port();
///
/// let check = bindaddr::check([format!("0.0.0.0:{port}"), "127.0.0.1".to_owned()]);
/// assert!(!check.is_ok());
/// for setting in check.settings() {
///     for cause in setting.problems() {
///         println!("{}: {cause}", setting.text());
///     }
/// }
/// assert!(matches!(check.settings()[1].problems().next(), Some(Cause::Text(_))));
/// # Ok::<(), bindaddr::BindError>(())
/// ```
pub fn check<'a, S: Into<Setting<'a>>>(settings: impl IntoIterator<Item = S>) -> Check {
    BindOptions::new().check(settings)
}

/// Says of a list of UDP settings what [`bind_udp`](crate::bind_udp()) would run into on this
/// host, as [`check`] does of TCP.
///
/// # Examples
///
/// ```
/// assert!(bindaddr::check_udp(["127.0.0.1:0", "224.0.0.1:0"]).is_ok());
/// ```
pub fn check_udp<'a, S: Into<Setting<'a>>>(settings: impl IntoIterator<Item = S>) -> Check {
    BindOptions::new().check_udp(settings)
}

/// What a [`check`] found.
///
/// The [`Display`](fmt::Display) form has a line for each setting and each of its sockets,
/// and one for each problem and note below.
///
/// # Examples
///
/// ```
/// let check = bindaddr::check(["127.0.0.1:0"]);
/// assert!(check.is_ok());
/// assert_eq!(check.to_string(), "127.0.0.1:0\n  127.0.0.1:0: this host only, by 127.0.0.1\n");
/// ```
#[derive(Debug)]
pub struct Check {
    settings: Vec<CheckedSetting>,
}

impl Check {
    /// Tells whether no problem was found.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let mut problems = self.settings.iter().flat_map(CheckedSetting::problems);
        problems.next().is_none()
    }

    /// Returns what was found of each setting, in their order.
    #[must_use]
    pub fn settings(&self) -> &[CheckedSetting] {
        &self.settings
    }
}

/// What a [`check`] found of one setting.
///
/// # Examples
///
/// ```
/// let check = bindaddr::check(["localhost:0"]);
/// let setting = &check.settings()[0];
/// assert_eq!(setting.text(), "localhost:0");
/// assert!(setting.sockets().iter().all(|socket| socket.addr().ip().is_loopback()));
/// assert_eq!(setting.problems().count(), 0);
/// ```
#[derive(Debug)]
pub struct CheckedSetting {
    text: String,
    /// What is wrong before it comes to sockets.
    causes: Vec<Cause>,
    sockets: Vec<CheckedSocket>,
}

impl CheckedSetting {
    /// Returns the setting as it was written; the canonical text, if it was no text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the sockets it stands for; none if it is not even that far.
    #[must_use]
    pub fn sockets(&self) -> &[CheckedSocket] {
        &self.sockets
    }

    /// Iterates over what is wrong with it and its sockets.
    pub fn problems(&self) -> impl Iterator<Item = &Cause> {
        let of_sockets = self.sockets.iter().flat_map(CheckedSocket::problems);
        self.causes.iter().chain(of_sockets)
    }
}

/// What a [`check`] found of one of the sockets of a setting.
///
/// # Examples
///
/// ```
/// let check = bindaddr::check(["127.0.0.1:0"]);
/// let socket = &check.settings()[0].sockets()[0];
/// assert_eq!(socket.addr(), ([127, 0, 0, 1], 0).into());
/// assert!(socket.target().is_none_or(|target| target.is_loopback()));
/// assert_eq!(socket.problems().count() + socket.notes().len(), 0);
/// ```
#[derive(Debug)]
pub struct CheckedSocket {
    addr: SocketAddr,
    target: Option<BindTarget>,
    causes: Vec<Cause>,
    notes: Vec<Note>,
}

impl CheckedSocket {
    /// Returns the address it would be bound to. Of a range it has the first port that nobody
    /// has, or the last one.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns what the address is on this host; `None` where the interfaces cannot be read.
    #[must_use]
    pub fn target(&self) -> Option<&BindTarget> {
        self.target.as_ref()
    }

    /// Iterates over what is wrong with it, what the system would refuse first in front.
    pub fn problems(&self) -> impl Iterator<Item = &Cause> {
        self.causes.iter()
    }

    /// Returns what is odd about it although it can be bound.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.iter().try_for_each(|setting| setting.fmt(f))
    }
}

impl fmt::Display for CheckedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", shown(&self.text))?;
        for cause in &self.causes {
            writeln!(f, "  problem: {cause}")?;
        }
        for socket in &self.sockets {
            match &socket.target {
                // A problem or a note says it.
                None | Some(BindTarget::Foreign(_)) => writeln!(f, "  {}", socket.addr)?,
                Some(target) => writeln!(f, "  {}: {target}", socket.addr)?,
            }
            for cause in &socket.causes {
                writeln!(f, "    problem: {cause}")?;
            }
            for note in &socket.notes {
                writeln!(f, "    note: {note}")?;
            }
        }
        Ok(())
    }
}

impl BindOptions {
    /// Says of a list of TCP settings what [`bind`](Self::bind) with these options would run
    /// into on this host, as [`check`](crate::check()) does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::{BindOptions, Cause};
    ///
    /// let check = BindOptions::new().device("no-such-device").check(["0.0.0.0:0"]);
    /// let problem = check.settings()[0].problems().next();
    /// assert!(matches!(problem, Some(Cause::NoSuchDevice { .. })));
    /// # }
    /// ```
    pub fn check<'a, S: Into<Setting<'a>>>(&self, settings: impl IntoIterator<Item = S>) -> Check {
        self.check_all(Protocol::Tcp, settings.into_iter().map(Into::into))
    }

    /// Says of a list of UDP settings what [`bind_udp`](Self::bind_udp) with these options
    /// would run into on this host.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(bindaddr::BindOptions::new().check_udp(["127.0.0.1:0"]).is_ok());
    /// ```
    pub fn check_udp<'a, S: Into<Setting<'a>>>(
        &self,
        settings: impl IntoIterator<Item = S>,
    ) -> Check {
        self.check_all(Protocol::Udp, settings.into_iter().map(Into::into))
    }

    fn check_all<'a>(
        &self,
        protocol: Protocol,
        settings: impl Iterator<Item = Setting<'a>>,
    ) -> Check {
        let host = Interfaces::system().ok();
        let host = host.as_ref();
        let mut planned: Vec<Planned> = settings.map(|one| self.plan(&one, host)).collect();
        plan::make_room(planned.iter_mut().flat_map(|one| &mut one.sockets));
        let tried: Vec<Tried> = planned
            .iter()
            .enumerate()
            .flat_map(|(n, one)| self.try_sockets(protocol, n, one))
            .collect();

        let attempts: Vec<Attempt<'_>> = tried
            .iter()
            .map(|one| Attempt {
                tried: (*one.ports.start(), *one.ports.end()),
                refused: one.error.as_ref().map(|(step, error)| (*step, error)),
                ..self.attempt(protocol, &one.socket)
            })
            .collect();
        let evidence = Evidence::read(&attempts, host, self);
        let mut found: Vec<CheckedSocket> = attempts
            .iter()
            .map(|attempt| {
                let notes = match attempt.refused {
                    None => diagnose::notes(attempt.addr, protocol, self.is_freebind(), host, self),
                    Some(_) => Vec::new(),
                };
                CheckedSocket {
                    addr: diagnose::with_free_port(attempt, &evidence),
                    target: host
                        .map(|host| BindTarget::of_socket(attempt.addr, attempt.only_v6, host)),
                    causes: diagnose::causes(attempt, &evidence),
                    notes,
                }
            })
            .collect();
        for (n, before, overlap) in conflicts(&attempts, &evidence) {
            found[n].causes.push(Cause::Conflict {
                ip: attempts[n].addr.ip(),
                other: attempts[before].addr,
                text: planned[tried[before].setting].text.clone(),
                overlap,
            });
        }

        let mut settings: Vec<CheckedSetting> = planned
            .into_iter()
            .map(|one| CheckedSetting {
                text: one.text,
                causes: one.causes,
                sockets: Vec::new(),
            })
            .collect();
        for (one, mut socket) in tried.into_iter().zip(found) {
            // It is not for the kernel to say what is wrong.
            if let Some(cause) = one.refused {
                (socket.causes, socket.notes) = (vec![cause], Vec::new());
            }
            settings[one.setting].sockets.push(socket);
        }
        Check { settings }
    }

    fn plan(&self, setting: &Setting<'_>, host: Option<&Interfaces>) -> Planned {
        let text = setting.text();
        match (setting.wanted(host), self.refusal()) {
            (Ok(wanted), None) => Planned {
                text,
                causes: Vec::new(),
                sockets: self.planned(&wanted, *wanted.ports.start()),
                ports: wanted.ports,
            },
            (wanted, refusal) => Planned {
                text,
                causes: wanted
                    .map_or_else(|failure| failure.into_causes(), |_| Vec::new())
                    .into_iter()
                    .chain(refusal)
                    .collect(),
                sockets: Vec::new(),
                ports: 0..=0,
            },
        }
    }

    /// Asks the kernel about the addresses of a setting; those that may be absent and are
    /// have no part in it.
    fn try_sockets(&self, protocol: Protocol, n: usize, setting: &Planned) -> Vec<Tried> {
        let mut tried = Vec::new();
        for socket in &setting.sockets {
            let mut socket = socket.clone();
            let mut error = self.try_address(socket.addr).err();
            let (lacks_address, lacks_family) = match &error {
                Some((step, error)) => absence(*step, error),
                None => (false, false),
            };
            match socket.absence {
                Absence::IsSkipped if lacks_address || lacks_family => continue,
                Absence::LeavesIpv4 if lacks_family => {
                    socket = plan::ipv4_wildcard(socket.addr.port());
                    error = self.try_address(socket.addr).err();
                }
                _ => {}
            }
            tried.push(Tried {
                setting: n,
                ports: setting.ports.clone(),
                refused: refused_without_asking(protocol, &socket),
                socket,
                // Every UDP port of the address being taken is no matter here.
                error: error.filter(|(_, error)| Errno::of(error) != Errno::InUse),
            });
        }
        tried
    }
}

/// Finds the sockets that others before them in the list exclude, with those others.
fn conflicts(attempts: &[Attempt<'_>], evidence: &Evidence) -> Vec<(usize, usize, Overlap)> {
    // A free port, one of a range, and a shared one leave room for others.
    let claims_its_port = |attempt: &Attempt<'_>| {
        let (first, last) = attempt.tried;
        first == last && first != 0 && !attempt.shares_port
    };
    let (places, claims): (Vec<usize>, Vec<(Claim, u16)>) = attempts
        .iter()
        .enumerate()
        .filter(|(_, attempt)| claims_its_port(attempt))
        .map(|(n, attempt)| (n, (attempt.claim(evidence.device), attempt.addr.port())))
        .unzip();
    let in_places = |(n, conflict): (usize, Option<(usize, Overlap)>)| {
        let (before, overlap) = conflict?;
        Some((places[n], places[before], overlap))
    };
    let conflicts = plan::conflicts(&claims).into_iter().enumerate();
    conflicts.filter_map(in_places).collect()
}

/// What a setting stands for.
struct Planned {
    text: String,
    causes: Vec<Cause>,
    sockets: Vec<PlannedSocket>,
    ports: RangeInclusive<u16>,
}

/// A socket whose address the kernel was asked about.
struct Tried {
    /// Which of the settings it belongs to.
    setting: usize,
    socket: PlannedSocket,
    ports: RangeInclusive<u16>,
    refused: Option<Cause>,
    error: Option<(Step, io::Error)>,
}
