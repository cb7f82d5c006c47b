//! Reports what binding would run into, before a restart: [`check`].

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::addr::shown;
use crate::bind::{
    BindOptions, Goal, OpenedSocket, Opening, Outgoing, Verdict, explain, open_beside, open_plan,
};
use crate::diagnose;
use crate::diagnosis::{
    Cause, Hint, Position, SettingError, Warning, WarningKind, without_repetition,
};
use crate::interfaces::Interfaces;
use crate::map::{Map, Set};
use crate::plan::{Draft, Plan, Settings, ToSettings};
use crate::reach::OpenSocket;
use crate::sys;
use crate::target::SnapshotCache;
use crate::target::{BindTarget, Protocol};

/// Reports what [`bind`](crate::bind()) of `settings` would run into on this host, with the default
/// [`BindOptions`].
///
/// It is for a configuration before the server is restarted with it: every error of every setting
/// is found, those that the settings make each other included. The verdict is the kernel's, because
/// `check` is `bind` without listen(2): each socket is bound for some microseconds and closed. No
/// client can connect to it, and a running server is not disturbed. A server that starts in that
/// moment is, if it does not set `SO_REUSEADDR`.
///
/// It does not find what only listen(2) or a longer life would show: a filter on listen(2) alone,
/// and a limit of open files or an ephemeral range that all sockets together exceed. Where the
/// interfaces cannot be read, nor is a conflict of two entries on one interface that they name
/// differently, such as a zone by its number and a device. UDP sockets with
/// [`reuse_port`](BindOptions::reuse_port) are not bound beside another socket, because they would
/// get its datagrams, so whether that socket shares its port is not known. Of TCP sockets with that
/// option Linux may bind several beside one that does not share its port, each of which it refuses
/// alone.
///
/// # Platform notes
///
/// The process that holds a port is found on Linux and Android. Settings that Linux would not open
/// side by side are in conflict on every platform.
///
/// # Examples
///
/// ```
/// use bindaddr::Cause;
///
/// let running = bindaddr::bind("127.0.0.1:0")?;
/// let port = running[0].local_addr().port();
///
/// let check = bindaddr::check([format!("0.0.0.0:{port}"), "127.0.0.1".to_owned()]);
/// assert!(!check.is_ok());
/// for setting in check.settings() {
///     for cause in setting.causes() {
///         println!("{}: {cause}", setting.text());
///     }
/// }
/// assert!(matches!(check.settings()[1].causes().next(), Some(Cause::InvalidText(_))));
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[must_use]
pub fn check(settings: impl ToSettings) -> Check {
    BindOptions::new().check(settings)
}

/// Reports what [`bind_udp`](crate::bind_udp()) of `settings` would run into on this host, as
/// [`check`] does for TCP.
///
/// # Examples
///
/// ```
/// assert!(bindaddr::check_udp(["127.0.0.1:0", "224.0.0.1:0"]).is_ok());
/// ```
#[must_use]
pub fn check_udp(settings: impl ToSettings) -> Check {
    BindOptions::new().check_udp(settings)
}

impl BindOptions {
    /// Reports what [`bind`](Self::bind) of `settings` would run into on this host, as
    /// [`check`](crate::check()) does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use bindaddr::{BindOptions, Cause};
    ///
    /// let check = BindOptions::new().device("no-such-device").check("0.0.0.0:0");
    /// let cause = check.settings()[0].causes().next();
    /// assert!(matches!(cause, Some(Cause::NoSuchDevice { .. })));
    /// # }
    /// ```
    #[must_use]
    pub fn check(&self, settings: impl ToSettings) -> Check {
        check_settings(self, &Settings::of(&settings), Protocol::Tcp, None)
    }

    /// Reports what [`bind_udp`](Self::bind_udp) of `settings` would run into on this host.
    #[must_use]
    pub fn check_udp(&self, settings: impl ToSettings) -> Check {
        check_settings(self, &Settings::of(&settings), Protocol::Udp, None)
    }
}

/// The sockets that a running server has open, for a check of the settings that it will be started
/// with again.
///
/// # Platform notes
///
/// Linux and Android.
///
/// # Examples
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use bindaddr::BindOptions;
/// use bindaddr::check::RunningServer;
///
/// let listeners = bindaddr::bind("127.0.0.1:0")?;
/// let text = listeners[0].local_addr().to_string();
/// let running = RunningServer::of_processes([std::process::id()])?;
///
/// let options = BindOptions::new();
/// assert!(!options.check(&*text).is_ok());
/// assert!(options.check_beside(&*text, &running).is_ok());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RunningServer {
    inodes: Set<u64>,
    may_share: bool,
}

impl RunningServer {
    /// Reads the sockets that processes have open, and no others have.
    ///
    /// Child processes do not count by themselves. A socket that another process has open as well
    /// stays open when these have ended, so it is not among them.
    ///
    /// # Errors
    ///
    /// The sockets of a process cannot be read: it has exited, or belongs to another user. An
    /// incomplete set is not returned.
    pub fn of_processes(pids: impl IntoIterator<Item = u32>) -> io::Result<Self> {
        let pids: Set<u32> = pids.into_iter().collect();
        let mut inodes = Set::new();
        for pid in pids.iter() {
            inodes.extend(sys::sockets_of_process(*pid)?);
        }
        let (holders, are_all) = sys::holders_of(&inodes);
        inodes.retain(|inode| {
            let holders = holders.get(inode).into_iter().flatten();
            holders.into_iter().all(|pid| pids.contains(pid))
        });
        Ok(Self {
            inodes,
            may_share: !are_all,
        })
    }

    /// Returns `true` if not every other process could be looked into, so that one may have a
    /// socket of the server as well. Only root can be sure.
    #[must_use]
    pub fn may_share_sockets(&self) -> bool {
        self.may_share
    }
}

impl BindOptions {
    /// Reports what [`bind`](Self::bind) of `settings` would run into once a running server has
    /// ended, as [`check`](Self::check) does.
    ///
    /// A port in use is accepted if only the running server has it. If anything else has it as
    /// well, or that cannot be read, it is an error. Connections of the server may keep the port
    /// for a minute after it has ended, unless it sets `SO_REUSEADDR`, as servers on Unix do; that
    /// cannot be read of another process.
    #[must_use]
    pub fn check_beside(&self, settings: impl ToSettings, running: &RunningServer) -> Check {
        check_settings(self, &Settings::of(&settings), Protocol::Tcp, Some(running))
    }

    /// Reports what [`bind_udp`](Self::bind_udp) of `settings` would run into once a running server
    /// has ended.
    #[must_use]
    pub fn check_udp_beside(&self, settings: impl ToSettings, running: &RunningServer) -> Check {
        check_settings(self, &Settings::of(&settings), Protocol::Udp, Some(running))
    }
}

impl Plan {
    /// Reports what [`bind`](Self::bind) would run into on this host, as [`check`](crate::check())
    /// does.
    ///
    /// # Examples
    ///
    /// ```
    /// let plan = bindaddr::BindOptions::new().plan("127.0.0.1:0")?;
    /// assert!(plan.check().is_ok());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn check(&self) -> Check {
        let host = Interfaces::system().ok();
        let texts = self.texts();
        check_plan(self, Vec::new(), texts, Protocol::Tcp, host.as_ref(), None)
    }

    /// Reports what [`bind_udp`](Self::bind_udp) would run into on this host.
    #[must_use]
    pub fn check_udp(&self) -> Check {
        let host = Interfaces::system().ok();
        let texts = self.texts();
        check_plan(self, Vec::new(), texts, Protocol::Udp, host.as_ref(), None)
    }
}

fn check_settings(
    options: &BindOptions,
    settings: &Settings<'_>,
    protocol: Protocol,
    running: Option<&RunningServer>,
) -> Check {
    let cache = SnapshotCache::default();
    let host = cache.snapshot().ok().cloned();
    let host = host.map(Interfaces::with_system_routes);
    let draft = Draft::of(settings, &options.0, &cache);
    check_plan(
        &draft.plan,
        draft.errors,
        draft.texts,
        protocol,
        host.as_ref(),
        running,
    )
}

/// Opens the sockets of a plan without listening.
fn check_plan(
    plan: &Plan,
    errors: Vec<SettingError>,
    texts: Vec<(Position, std::sync::Arc<str>)>,
    protocol: Protocol,
    host: Option<&Interfaces>,
    running: Option<&RunningServer>,
) -> Check {
    let mut outgoing = Outgoing::new(protocol);
    let opening = match running {
        None => open_plan(plan, protocol, Goal::Check, true),
        Some(running) => {
            outgoing.set_closed(running.inodes.clone());
            open_beside(plan, protocol, &outgoing)
        }
    };
    Check::of(plan, errors, texts, protocol, host, opening, &outgoing)
}

/// Returns the warnings about sockets that can be opened, by their planned addresses.
fn warnings_of(
    opened: &[OpenedSocket],
    host: Option<&Interfaces>,
    outgoing: &Outgoing<'_>,
) -> Map<SocketAddr, Vec<WarningKind>> {
    let sockets: Vec<OpenSocket> = opened.iter().map(would_be_open).collect();
    let warnings = if let Some(host) = host {
        let mut warnings = diagnose::warnings_of(&sockets, host);
        warnings.extend(diagnose::warnings_about_others(
            &sockets,
            &outgoing.inodes(),
        ));
        warnings
    } else {
        let of_socket = |socket: &OpenSocket| {
            let kinds = diagnose::warnings_of_socket(socket, None).into_iter();
            let addr = socket.addr;
            kinds.map(move |kind| Warning::new(addr, kind))
        };
        sockets.iter().flat_map(of_socket).collect()
    };
    let mut by_addr: Map<SocketAddr, Vec<WarningKind>> = Map::new();
    for warning in warnings {
        let kinds = by_addr.get_or_default(warning.addr());
        let kind = warning.into_kind();
        // Several sockets can have one address and port 0. A warning about it is about each of
        // them.
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    by_addr
}

fn would_be_open(opened: &OpenedSocket) -> OpenSocket {
    let planned = &opened.planned;
    OpenSocket {
        is_open: false,
        addr: planned.addr,
        protocol: opened.protocol,
        only_v6: planned.only_v6,
        freebind: planned.entry.freebind,
        device: opened.device.clone(),
        namespace: opened.namespace,
    }
}

/// The result of a [`check`].
///
/// The [`Display`](fmt::Display) form has a line for each setting and each of its sockets, and one
/// for each error and warning below.
///
/// # Examples
///
/// ```
/// let check = bindaddr::check("127.0.0.1:0");
/// assert!(check.is_ok());
/// assert_eq!(check.to_string(), "127.0.0.1:0\n  127.0.0.1:0: this host only (127.0.0.1)\n");
/// ```
#[derive(Debug)]
pub struct Check {
    settings: Vec<CheckedSetting>,
}

impl Check {
    /// Sorts what came of opening the sockets of a plan by entry.
    pub(crate) fn of(
        plan: &Plan,
        errors: Vec<SettingError>,
        texts: Vec<(Position, std::sync::Arc<str>)>,
        protocol: Protocol,
        host: Option<&Interfaces>,
        opening: Opening,
        outgoing: &Outgoing<'_>,
    ) -> Self {
        let Opening {
            opened,
            failed,
            served,
            ..
        } = opening;
        // A socket of a range failed on another port than the planned one.
        let sockets = plan.sockets.iter();
        let sockets = sockets.chain(failed.iter().map(|failed| &failed.planned));
        let places: Map<(Position, SocketAddr), usize> = sockets
            .map(|socket| ((socket.position(), socket.addr), socket.place))
            .collect();
        let failed = explain(plan, protocol, failed, host, outgoing);
        let verdict = Verdict::of(plan, errors, failed, !opened.is_empty());
        let mut settings: Vec<CheckedSetting> = texts
            .into_iter()
            .map(|(position, text)| CheckedSetting::new(position, text.to_string()))
            .collect();
        let at = |settings: &[CheckedSetting], position: Position| {
            settings
                .binary_search_by_key(&position, |setting| setting.position)
                .ok()
        };
        let warnings = warnings_of(&opened, host, outgoing);
        for opened in &opened {
            if let Some(at) = at(&settings, opened.planned.position()) {
                let own = warnings.get(&opened.planned.addr).cloned();
                let own = own.unwrap_or_default();
                settings[at].add_opened(opened, host, own);
            }
        }
        for error in verdict.errors {
            let Some(at) = at(&settings, error.position()) else {
                continue; // The list is empty.
            };
            let place = error.addr().and_then(|addr| {
                let place = places.get(&(error.position(), addr))?;
                Some((addr, *place))
            });
            match place {
                Some((addr, place)) => settings[at].add_to_socket(error, addr, place, host),
                None => settings[at].errors.push(error),
            }
        }
        for skipped in verdict.skipped {
            if let Some(at) = at(&settings, skipped.position()) {
                settings[at].skipped.push(skipped);
            }
        }
        let served = served.iter().filter(|served| !served.is_of_one_entry());
        for duplicate in plan.duplicates.iter().chain(served) {
            if let Some(at) = at(&settings, duplicate.position()) {
                settings[at].duplicates.push(duplicate.addr());
            }
        }
        Self { settings }
    }

    /// Returns `true` if there is no error, and something to listen on: if [`bind`](crate::bind())
    /// would succeed.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let mut causes = self.settings.iter().flat_map(CheckedSetting::causes);
        let mut sockets = self.settings.iter().flat_map(CheckedSetting::sockets);
        causes.next().is_none() && sockets.next().is_some()
    }

    /// Returns the result for each entry of the settings, by position.
    #[must_use]
    pub fn settings(&self) -> &[CheckedSetting] {
        &self.settings
    }
}

/// The result of a [`check`] for one entry of the settings.
///
/// # Examples
///
/// ```
/// let check = bindaddr::check("localhost:0, [127.0.0.1]:80");
/// let setting = &check.settings()[0];
/// assert_eq!(setting.text(), "localhost:0");
/// assert!(setting.sockets().iter().all(|socket| socket.addr().ip().is_loopback()));
/// assert_eq!(setting.causes().count(), 0);
///
/// let setting = &check.settings()[1];
/// assert_eq!(setting.position().entry(), 1);
/// assert_eq!(setting.causes().next().map(|cause| cause.name()), Some("invalid-text"));
/// assert_eq!(setting.hints()[0].replacement(), Some("127.0.0.1:80"));
/// ```
#[derive(Debug)]
pub struct CheckedSetting {
    position: Position,
    text: String,
    /// The errors of the setting, found before any socket is planned.
    errors: Vec<SettingError>,
    skipped: Vec<SettingError>,
    duplicates: Vec<SocketAddr>,
    sockets: Vec<CheckedSocket>,
}

impl CheckedSetting {
    fn new(position: Position, text: String) -> Self {
        Self {
            position,
            text,
            errors: Vec::new(),
            skipped: Vec::new(),
            duplicates: Vec::new(),
            sockets: Vec::new(),
        }
    }

    /// Returns where the socket at `place` is, or belongs.
    fn find(&self, place: usize) -> Result<usize, usize> {
        let sockets = &self.sockets;
        sockets.binary_search_by_key(&place, |socket| socket.place)
    }

    fn add_opened(
        &mut self,
        opened: &OpenedSocket,
        host: Option<&Interfaces>,
        warnings: Vec<WarningKind>,
    ) {
        let (Ok(at) | Err(at)) = self.find(opened.planned.place);
        let socket = CheckedSocket::opened(opened, host, warnings);
        self.sockets.insert(at, socket);
    }

    /// Adds an error of the socket at `place`.
    fn add_to_socket(
        &mut self,
        error: SettingError,
        addr: SocketAddr,
        place: usize,
        host: Option<&Interfaces>,
    ) {
        match self.find(place) {
            // A conflict of the settings was found before the system was asked, and comes last.
            Ok(at) => self.sockets[at].errors.insert(0, error),
            Err(at) => {
                let failed = CheckedSocket {
                    place,
                    addr,
                    target: host.map(|host| BindTarget::of_socket(addr, false, host)),
                    errors: vec![error],
                    warnings: Vec::new(),
                };
                self.sockets.insert(at, failed);
            }
        }
    }

    /// Returns the position of the entry.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the entry as written; the canonical text, if it was not a text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns its sockets; none if the entry yields none.
    #[must_use]
    pub fn sockets(&self) -> &[CheckedSocket] {
        &self.sockets
    }

    /// Returns what an [optional](crate::ListenAddr::is_optional) entry is skipped for, or some of
    /// its sockets. If a list has nothing else, these are [errors](Self::errors), as they are for
    /// [`bind`](crate::bind()).
    #[must_use]
    pub fn skipped(&self) -> &[SettingError] {
        &self.skipped
    }

    /// Returns the addresses that another entry yields as well, and which are opened for that one.
    #[must_use]
    pub fn duplicates(&self) -> &[SocketAddr] {
        &self.duplicates
    }

    /// Iterates over the errors of the entry and of its sockets.
    pub fn errors(&self) -> impl Iterator<Item = &SettingError> {
        let of_sockets = self.sockets.iter().flat_map(|socket| &socket.errors);
        self.errors.iter().chain(of_sockets)
    }

    /// Iterates over the causes of the errors.
    pub fn causes(&self) -> impl Iterator<Item = &Cause> {
        self.errors().flat_map(SettingError::causes)
    }

    /// Returns the hints of all errors, the likeliest first and none twice.
    #[must_use]
    pub fn hints(&self) -> Vec<Hint> {
        // No other address cures a conflict of two settings.
        let is_conflict = |cause: &Cause| matches!(cause, Cause::Conflict { .. });
        let has_conflict = self.causes().any(is_conflict);
        let hints = self.errors().flat_map(SettingError::hints);
        without_repetition(hints.filter(|hint| !has_conflict || hint.replacement().is_none()))
    }
}

/// The result of a [`check`] for one socket of an entry.
///
/// # Examples
///
/// ```
/// let check = bindaddr::check("127.0.0.1:0");
/// let socket = &check.settings()[0].sockets()[0];
/// assert_eq!(socket.addr(), ([127, 0, 0, 1], 0).into());
/// assert!(socket.target().is_none_or(|target| target.is_loopback()));
/// assert_eq!(socket.errors().len() + socket.warnings().len(), 0);
/// ```
#[derive(Debug)]
pub struct CheckedSocket {
    /// Its place among the sockets of the entry.
    place: usize,
    addr: SocketAddr,
    target: Option<BindTarget>,
    errors: Vec<SettingError>,
    warnings: Vec<Warning>,
}

impl CheckedSocket {
    fn opened(
        opened: &OpenedSocket,
        host: Option<&Interfaces>,
        mut kinds: Vec<WarningKind>,
    ) -> Self {
        let planned = &opened.planned;
        let mut addr = planned.addr;
        if *planned.ports().start() == 0 {
            // The kernel may choose another one the next time.
            addr.set_port(0);
        }
        if opened.is_sharing_unknown {
            kinds.push(WarningKind::SharingUnknown);
        }
        Self {
            place: planned.place,
            addr,
            target: host.map(|host| planned.target(host)),
            errors: Vec::new(),
            warnings: kinds
                .into_iter()
                .map(|kind| Warning::new(addr, kind))
                .collect(),
        }
    }

    /// Returns the address that it would be bound to. For a range it has the first port that is
    /// free, or the last one if none is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the class of the address on this host; `None` if the interfaces cannot be read.
    #[must_use]
    pub fn target(&self) -> Option<&BindTarget> {
        self.target.as_ref()
    }

    /// Returns its errors.
    #[must_use]
    pub fn errors(&self) -> &[SettingError] {
        &self.errors
    }

    /// Iterates over the causes of the errors, that of the system's first.
    pub fn causes(&self) -> impl Iterator<Item = &Cause> {
        self.errors.iter().flat_map(SettingError::causes)
    }

    /// Returns the warnings about it, as [`Listeners::warnings`](crate::Listeners::warnings) has
    /// them of open ones.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
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
        for cause in self.errors.iter().flat_map(SettingError::causes) {
            writeln!(f, "  error: {cause}")?;
        }
        for skipped in &self.skipped {
            writeln!(f, "  skipped: {}", skipped.cause())?;
        }
        for addr in &self.duplicates {
            writeln!(f, "  {addr}: opened for another setting")?;
        }
        for socket in &self.sockets {
            match &socket.target {
                // An error or a warning says it.
                None | Some(BindTarget::Foreign(_)) => writeln!(f, "  {}", socket.addr)?,
                Some(target) => writeln!(f, "  {}: {target}", socket.addr)?,
            }
            for cause in socket.causes() {
                writeln!(f, "    error: {cause}")?;
            }
            for warning in &socket.warnings {
                writeln!(f, "    warning: {}", warning.kind())?;
            }
        }
        Ok(())
    }
}
