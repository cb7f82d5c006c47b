//! The same findings without keeping a socket: [`check`], for a setting before a restart.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use crate::bind::{BindFailure, BindOptions, Setting, Tried, Wanted};
use crate::diagnose::{
    self, Attempt, BoundBy, Cause, Diagnosis, Evidence, Hint, Namespace, Note, without_repetition,
};
use crate::listen::shown;
use crate::plan::{self, Claims, Listed, PlannedSocket};
use crate::resolve::ThisHost;
use crate::target::{BindTarget, Claim, Overlap, Protocol};

/// Says of a list of TCP settings what [`bind`](crate::bind()) would run into on this host,
/// with the default [`BindOptions`].
///
/// It is for a configuration before the server is restarted with it: every problem of every
/// setting is found, those that the settings make each other too, and no running server is
/// disturbed. No port is taken from anyone: an address is tried on a UDP socket with port 0,
/// which has a free port for a moment, and who has a port is read from the kernel's tables.
///
/// The settings are taken to be bound together, by [`bind_all`](crate::bind_all()).
/// What only binding would show is not found: a policy about TCP alone, such as Landlock's;
/// TCP sockets that have a port without listening on it; and with
/// [`reuse_port`](BindOptions::reuse_port) those that do not share theirs.
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
#[must_use]
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
#[must_use]
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
    /// Tells whether no problem was found, and there is something to listen on.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(bindaddr::check(["127.0.0.1:0"]).is_ok());
    /// assert!(!bindaddr::check(["198.51.100.1:0"]).is_ok());
    /// ```
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let mut problems = self.settings.iter().flat_map(CheckedSetting::problems);
        let mut sockets = self.settings.iter().flat_map(CheckedSetting::sockets);
        problems.next().is_none() && sockets.next().is_some()
    }

    /// Returns what was found of each setting, in their order.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["127.0.0.1:0", "localhost:0"]);
    /// assert_eq!(check.settings().len(), 2);
    /// ```
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
    /// The problems of the text, found before any socket is planned, and their hints.
    causes: Vec<Cause>,
    hints: Vec<Hint>,
    skipped: Vec<Cause>,
    merged: Vec<SocketAddr>,
    sockets: Vec<CheckedSocket>,
}

impl CheckedSetting {
    /// Returns the setting as it was written; the canonical text, if it was no text.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["127.0.0.1:0"]);
    /// assert_eq!(check.settings()[0].text(), "127.0.0.1:0");
    /// ```
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the sockets it stands for; none if it is not even that far.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["127.0.0.1:0"]);
    /// assert_eq!(check.settings()[0].sockets().len(), 1);
    /// ```
    #[must_use]
    pub fn sockets(&self) -> &[CheckedSocket] {
        &self.sockets
    }

    /// Returns why it is skipped, or some of its sockets are, if it
    /// [may be absent](crate::ListenAddr::is_optional). Where a list has nothing else these are
    /// [problems](Self::problems), as they are to [`bind_all`](crate::bind_all()).
    ///
    /// # Examples
    ///
    /// ```
    /// // TEST-NET-2 (RFC 5737), which no host has.
    /// let check = bindaddr::check(["127.0.0.1:0", "-198.51.100.1:0"]);
    /// assert!(check.is_ok());
    /// assert_eq!(check.settings()[1].skipped().len(), 1);
    /// ```
    #[must_use]
    pub fn skipped(&self) -> &[Cause] {
        &self.skipped
    }

    /// Returns the addresses that another setting of the list stands for, too, and which are
    /// opened for that one.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["127.0.0.1:4710", "127.0.0.1:4710"]);
    /// assert_eq!(check.settings()[1].merged(), ["127.0.0.1:4710".parse()?]);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn merged(&self) -> &[SocketAddr] {
        &self.merged
    }

    /// Iterates over what is wrong with it and its sockets.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["127.1:80"]);
    /// let problem = check.settings()[0].problems().next().expect("it is no address");
    /// assert_eq!(problem.name(), "text");
    /// ```
    pub fn problems(&self) -> impl Iterator<Item = &Cause> {
        let of_sockets = self.sockets.iter().flat_map(|socket| &socket.causes);
        self.causes.iter().chain(of_sockets)
    }

    /// Returns what would help, the likeliest first and none twice.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["[127.0.0.1]:80"]);
    /// let hints = check.settings()[0].hints();
    /// assert_eq!(hints[0].replacement(), Some("127.0.0.1:80"));
    /// ```
    #[must_use]
    pub fn hints(&self) -> Vec<Hint> {
        let of_sockets = self.sockets.iter().flat_map(|socket| &socket.hints);
        without_repetition(self.hints.iter().chain(of_sockets))
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
/// assert_eq!(socket.problems().len() + socket.notes().len(), 0);
/// ```
#[derive(Debug)]
pub struct CheckedSocket {
    addr: SocketAddr,
    target: Option<BindTarget>,
    causes: Vec<Cause>,
    hints: Vec<Hint>,
    notes: Vec<Note>,
}

impl CheckedSocket {
    /// Returns the address it would be bound to. Of a range it has the first port that nobody
    /// has, or the last one.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["127.0.0.1:0"]);
    /// let socket = &check.settings()[0].sockets()[0];
    /// assert_eq!(socket.addr(), "127.0.0.1:0".parse()?);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns what the address is on this host; `None` where the interfaces cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["127.0.0.1:0"]);
    /// let socket = &check.settings()[0].sockets()[0];
    /// assert!(socket.target().is_none_or(bindaddr::BindTarget::is_loopback));
    /// ```
    #[must_use]
    pub fn target(&self) -> Option<&BindTarget> {
        self.target.as_ref()
    }

    /// Returns what is wrong with it, what the system would refuse first in front.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["198.51.100.1:0"]);
    /// let socket = &check.settings()[0].sockets()[0];
    /// assert_eq!(socket.problems()[0].name(), "not-on-this-host");
    /// ```
    #[must_use]
    pub fn problems(&self) -> &[Cause] {
        &self.causes
    }

    /// Returns what is odd about it although it can be bound.
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["127.0.0.1:0"]);
    /// let socket = &check.settings()[0].sockets()[0];
    /// for note in socket.notes() {
    ///     println!("{}: {note}", socket.addr());
    /// }
    /// ```
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.settings.is_empty() {
            return writeln!(f, "{}", Cause::EmptyList);
        }
        self.settings.iter().try_for_each(|setting| setting.fmt(f))
    }
}

impl fmt::Display for CheckedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", shown(&self.text))?;
        for cause in &self.causes {
            writeln!(f, "  problem: {cause}")?;
        }
        for cause in &self.skipped {
            writeln!(f, "  skipped: {cause}")?;
        }
        for addr in &self.merged {
            writeln!(f, "  {addr}: opened for another setting")?;
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
    #[must_use]
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
    #[must_use]
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
        let here = ThisHost::default();
        let host = here.snapshot().ok();
        let mut planned: Vec<Planned> =
            settings.map(|setting| self.plan(&setting, &here)).collect();
        let mut fixed: Vec<Listed<'_>> = planned
            .iter_mut()
            .enumerate()
            .filter(|(_, setting)| setting.has_one_port())
            .map(|(number, setting)| Listed {
                number,
                is_optional: setting.is_optional,
                device: setting.options.device_claim(),
                freebind: setting.options.is_freebind(),
                sockets: &mut setting.sockets,
            })
            .collect();
        let merged = plan::fit_together(&mut fixed);
        for (setting, _, addr) in merged {
            planned[setting].merged.push(addr);
        }
        for setting in &mut planned {
            let sockets = std::mem::take(&mut setting.sockets).into_iter();
            let tried = sockets.filter_map(|socket| setting.options.try_out(protocol, socket));
            setting.tried = tried.collect();
        }
        let claims = &claims_of(&planned);
        let attempts: Vec<Attempt<'_>> = planned
            .iter()
            .enumerate()
            .filter_map(|(n, setting)| Some((n, setting, setting.wanted.as_ref()?)))
            .flat_map(|(n, setting, wanted)| {
                let tried = setting.tried.iter();
                tried.map(move |tried| Attempt {
                    beside: Some((claims, n)),
                    ..setting.options.attempt_of(protocol, tried, wanted)
                })
            })
            .collect();
        let evidence = Evidence::read(&attempts, host);

        let mut list = List {
            evidence: &evidence,
            claims: Claims::default(),
            taken: Claims::default(),
            placed: Vec::new(),
        };
        let mut rest = &attempts[..];
        let mut of_settings = Vec::with_capacity(planned.len());
        for setting in &planned {
            let (attempts, others) = rest.split_at(setting.tried.len());
            of_settings.push(attempts);
            rest = others;
        }
        // As they are opened: who must have a port comes before who has a choice.
        let mut order: Vec<usize> = (0..planned.len()).collect();
        order.sort_by_key(|n| planned[*n].turn());
        let mut checked: Vec<Vec<CheckedSocket>> = planned.iter().map(|_| Vec::new()).collect();
        for n in order {
            let (setting, attempts) = (&planned[n], of_settings[n]);
            let found = list.place(setting, attempts);
            let sockets = found
                .into_iter()
                .zip(attempts)
                .map(|((addr, diagnosis), attempt)| {
                    let is_open = attempt.refused.is_none() && attempt.dead.is_none();
                    let device = evidence.device_of(attempt);
                    let options = BoundBy {
                        freebind: setting.options.is_freebind(),
                        device: device.map(|name| evidence.name_of_device(name)),
                        only_v6: attempt.only_v6,
                        namespace: Namespace::This,
                    };
                    CheckedSocket {
                        addr,
                        target: host
                            .map(|host| BindTarget::of_socket(attempt.addr, attempt.only_v6, host)),
                        causes: diagnosis.causes,
                        hints: diagnosis.hints,
                        notes: if is_open {
                            diagnose::notes(attempt.addr, protocol, &options, host)
                        } else {
                            Vec::new()
                        },
                    }
                });
            checked[n] = sockets.collect();
        }
        let settings = planned.into_iter().zip(checked);
        let settings = settings.map(|(setting, sockets)| setting.checked(sockets));
        let mut settings: Vec<CheckedSetting> = settings.collect();
        let has_any = |setting: &CheckedSetting| {
            setting.problems().next().is_some() || !setting.sockets.is_empty()
        };
        if !settings.iter().any(has_any) {
            // What was skipped is all there was.
            for setting in &mut settings {
                setting.causes.append(&mut setting.skipped);
            }
        }
        Check { settings }
    }

    /// Finds the sockets of a setting.
    fn plan(&self, setting: &Setting<'_>, here: &ThisHost) -> Planned<'_> {
        let options = setting.options(self);
        let mut planned = Planned {
            text: setting.text(),
            is_optional: false,
            diagnosis: options
                .refusal()
                .map_or_else(Diagnosis::default, BindFailure::into_diagnosis),
            options,
            wanted: None,
            sockets: Vec::new(),
            merged: Vec::new(),
            tried: Vec::new(),
        };
        let wanted = setting.read().and_then(|read| {
            planned.is_optional = read.is_optional();
            read.wanted(here, &planned.options)
        });
        match wanted {
            Ok(wanted) if planned.diagnosis.causes.is_empty() => {
                planned.sockets = planned.options.planned(&wanted, *wanted.ports.start());
                planned.wanted = Some(wanted);
            }
            Ok(_) => {}
            Err(failure) => {
                let mut found = failure.into_diagnosis();
                found.causes.append(&mut planned.diagnosis.causes);
                found.hints.append(&mut planned.diagnosis.hints);
                planned.diagnosis = found;
            }
        }
        planned
    }
}

/// What a setting stands for.
struct Planned<'o> {
    text: String,
    is_optional: bool,
    options: Cow<'o, BindOptions>,
    diagnosis: Diagnosis,
    wanted: Option<Wanted>,
    sockets: Vec<PlannedSocket>,
    /// The sockets that other settings stand for, too, and have.
    merged: Vec<SocketAddr>,
    /// The sockets whose addresses the kernel was asked about.
    tried: Vec<Tried>,
}

impl Planned<'_> {
    /// Tells whether there is one port that it must have.
    fn has_one_port(&self) -> bool {
        let ports = self.wanted.as_ref().map(|wanted| &wanted.ports);
        ports.is_some_and(|ports| ports.start() == ports.end() && *ports.start() != 0)
    }

    /// Tells whether it is left out for a cause.
    fn skips(&self, cause: &Cause) -> bool {
        self.is_optional && cause.is_absence()
    }

    /// Its place in the order of opening.
    fn turn(&self) -> (bool, bool) {
        let is_range = |wanted: &Wanted| wanted.ports.start() < wanted.ports.end();
        (
            !self.has_one_port(),
            !self.wanted.as_ref().is_some_and(is_range),
        )
    }

    /// Leaves out of an optional setting what this host does not have.
    fn checked(mut self, sockets: Vec<CheckedSocket>) -> CheckedSetting {
        let Diagnosis { causes, hints } = std::mem::take(&mut self.diagnosis);
        let causes = causes.into_iter();
        let (mut skipped, causes): (Vec<Cause>, Vec<Cause>) =
            causes.partition(|cause| self.skips(cause));
        // A conflict is one whether the address is there or not.
        let is_conflict = |cause: &Cause| matches!(cause, Cause::Conflict { .. });
        let (absent, sockets): (Vec<_>, Vec<_>) = sockets.into_iter().partition(|socket| {
            let first = socket.causes.first();
            first.is_some_and(|cause| self.skips(cause)) && !socket.causes.iter().any(is_conflict)
        });
        skipped.extend(
            absent
                .into_iter()
                .filter_map(|socket| socket.causes.into_iter().next()),
        );
        CheckedSetting {
            text: self.text,
            causes,
            hints,
            skipped,
            merged: self.merged,
            sockets,
        }
    }
}

/// Returns what the settings that have one port claim of it, by their numbers.
fn claims_of(planned: &[Planned<'_>]) -> Claims {
    let mut claims = Claims::default();
    for (n, setting) in planned.iter().enumerate() {
        for tried in setting.tried.iter().filter(|_| setting.has_one_port()) {
            let addr = tried.socket.addr;
            claims.add(n, Claim::of_socket(addr, tried.socket.only_v6), addr.port());
        }
    }
    claims
}

/// The sockets of a list, as far as they have been gone through.
struct List<'a> {
    evidence: &'a Evidence,
    /// Those of all that have one port, for what two settings write is a conflict whether the addresses are there or
    /// not.
    claims: Claims,
    /// Those of the ones that would be opened, which a range goes around.
    taken: Claims,
    /// Each claim's address, and the setting it is of.
    placed: Vec<(SocketAddr, &'a str)>,
}

impl<'a> List<'a> {
    /// Finds for the sockets of a setting the port that they would have and what is wrong.
    fn place(
        &mut self,
        setting: &'a Planned<'_>,
        attempts: &[Attempt<'_>],
    ) -> Vec<(SocketAddr, Diagnosis)> {
        let Some((first, last)) = attempts.first().map(|attempt| attempt.ports) else {
            return Vec::new();
        };
        let is_range = first < last;
        // One port for all of them.
        let free = |port: &u16| attempts.iter().all(|attempt| self.is_free(attempt, *port));
        let found = (first..=last).find(free);
        let port = found.unwrap_or(last);
        let mut placed: Vec<(SocketAddr, Diagnosis)> = attempts
            .iter()
            .map(|attempt| {
                let mut addr = attempt.addr;
                addr.set_port(port);
                let mut diagnosis = diagnose::diagnose(attempt, self.evidence);
                let conflict = self.conflict(attempt, port, &self.claims);
                if let Some(conflict) = conflict.filter(|_| !is_range) {
                    diagnosis.add(conflict);
                }
                (addr, diagnosis)
            })
            .collect();
        let no_port = if is_range {
            let own: Vec<Option<Claim>> = attempts.iter().map(|one| self.claim(one)).collect();
            self.claims.conflict_of_range(&own, first..=last)
        } else {
            None
        };
        if let Some((socket, other, overlap)) = no_port {
            let conflict = self.conflict_with(other, overlap, &attempts[socket]);
            placed[socket].1.add(conflict);
        } else if is_range && found.is_none() {
            let is_told = |cause: &Cause| matches!(cause, Cause::RangeInUse { .. });
            let mut causes = placed.iter().flat_map(|(_, diagnosis)| &diagnosis.causes);
            if !causes.any(is_told) {
                let told = diagnose::range_in_use(&attempts[0], self.evidence);
                placed[0].1.add(told);
            }
        }
        for (attempt, (addr, diagnosis)) in attempts.iter().zip(&placed) {
            // A free port leaves room for others.
            let Some(claim) = self.claim(attempt).filter(|_| port != 0) else {
                continue;
            };
            if !is_range {
                self.claims.add(self.placed.len(), claim, port);
            }
            let first = diagnosis.causes.first();
            if !first.is_some_and(|cause| setting.skips(cause)) {
                self.taken.add(self.placed.len(), claim, port);
            }
            self.placed.push((*addr, &setting.text));
        }
        placed
    }

    /// What it claims of its port; `None` if it is not known to leave no room for others.
    fn claim(&self, attempt: &Attempt<'_>) -> Option<Claim> {
        let is_known = |name| self.evidence.devices.contains_key(name);
        let has_claim = !attempt.shares_port && attempt.device.is_none_or(is_known);
        has_claim.then(|| self.evidence.claim(attempt))
    }

    fn is_free(&self, attempt: &Attempt<'_>, port: u16) -> bool {
        !diagnose::is_held(attempt, port, self.evidence)
            && self.conflict(attempt, port, &self.taken).is_none()
    }

    /// The setting before it that leaves no room for a socket on `port`.
    fn conflict(&self, attempt: &Attempt<'_>, port: u16, claims: &Claims) -> Option<Cause> {
        let (other, overlap) = claims.conflict(self.claim(attempt)?, port)?;
        Some(self.conflict_with(other, overlap, attempt))
    }

    fn conflict_with(&self, other: usize, overlap: Overlap, attempt: &Attempt<'_>) -> Cause {
        let (other, text) = self.placed[other];
        Cause::Conflict {
            ip: attempt.addr.ip(),
            other,
            text: text.to_owned(),
            overlap,
        }
    }
}
