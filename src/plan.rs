//! Computes which sockets a list of settings asks for on a host: [`Plan`], the desired state.

// The sockets.
mod sockets;
// The claims of sockets on their ports.
mod claims;
// The setting, and its entries.
mod setting;
// The addresses of a setting that are bound.
mod select;
// The options.
mod options;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::addr::{Host, ListenAddr};
use crate::diagnosis::{
    BindError, Cause, Diagnosis, Position, SettingError, Step, hints_of_unresolved,
};
use crate::interfaces::Interfaces;
use crate::map::{Map, Set};
use crate::order::sort_by;
use crate::target::{Claim, DeviceIndex, Endpoint, Overlap, ResolveErrorKind, SnapshotCache};
pub(crate) use claims::Claims;
pub(crate) use options::{BeforeBind, OnWait, Options};
pub use options::{UnboundSocket, WaitProgress};
pub use select::AddrSelection;
pub(crate) use select::Resolver;
use select::endpoints_of;
pub(crate) use setting::Settings;
use setting::{Parsed, addr_of};
pub use setting::{Setting, ToSettings};
pub use sockets::{Duplicate, PlannedSocket};
pub(crate) use sockets::{Entry, IfAbsent};
use sockets::{merge_sockets, sockets_of};

/// The sockets that settings ask for on a host, before any is opened.
///
/// It is an owned value, computed from settings, options and a snapshot:
/// [`BindOptions::plan`](crate::BindOptions::plan) reads the host where a setting needs it, and
/// [`plan_on`](crate::BindOptions::plan_on) takes a snapshot. What can be decided without the
/// kernel is decided here: duplicate and conflicting entries are found, and a list that the kernel
/// would refuse as a whole is an error.
///
/// # Examples
///
/// A server that refuses to start exposed, before its port is open:
///
/// ```
/// use bindaddr::{BindOptions, Exposure, Interfaces};
///
/// let plan = BindOptions::new().plan("localhost:0")?;
/// if plan.exposure(&Interfaces::system()?) > Exposure::ThisHost {
///     return Err("a token is needed".into());
/// }
/// let listeners = plan.bind()?;
/// # assert!(!listeners.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) options: Options,
    pub(crate) entries: Vec<Arc<Entry>>,
    /// In the order of their entries.
    pub(crate) sockets: Vec<PlannedSocket>,
    pub(crate) duplicates: Vec<Duplicate>,
    pub(crate) skipped: Vec<SettingError>,
    /// The snapshot that the plan was made for, if one was needed.
    pub(crate) host: Option<Interfaces>,
}

/// A plan as far as it could be made, and the errors of the entries that have no part in it.
pub(crate) struct Draft {
    pub(crate) plan: Plan,
    pub(crate) errors: Vec<SettingError>,
    /// The entries of the settings, those that are wrong included.
    pub(crate) texts: Vec<(Position, Arc<str>)>,
    /// The names of devices that have no index, each with its number.
    unread_devices: Map<String, usize>,
}

impl Plan {
    /// Returns the sockets, in the order of the settings.
    #[must_use]
    pub fn sockets(&self) -> &[PlannedSocket] {
        &self.sockets
    }

    /// Returns the addresses that are listed twice and opened once.
    #[must_use]
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }

    /// Returns the entries that yield no socket on this host: optional ones, and after a
    /// [`replan`](Self::replan) any that selects no address at present.
    #[must_use]
    pub fn skipped(&self) -> &[SettingError] {
        &self.skipped
    }

    /// Computes the plan for a newer snapshot of the host: what the same settings ask for there.
    ///
    /// A setting that selects addresses of the host yields those of the snapshot; if there are
    /// none, it is [skipped](Self::skipped), because on a running server that is a state of the
    /// host and not an error of the setting. Literal addresses stay as they are. What the snapshot
    /// does not show stays as well: names in DNS, which are not looked up again, and `_default_` in
    /// a snapshot without [default sources](Interfaces::with_system_default_sources). A device
    /// without an address is not in a snapshot either, so only a new
    /// [`plan`](crate::BindOptions::plan) notices that it was created again.
    ///
    /// # Errors
    ///
    /// A [`BindError`] if the addresses of the snapshot make entries conflict, or if one address is
    /// [wanted](AddrSelection::Single) and there are several.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::{BindOptions, Interfaces};
    ///
    /// let host = |ip: [u8; 4]| -> Interfaces {
    ///     [Interface::new("eth0", 2).with_addr(ip.into(), 24)].into_iter().collect()
    /// };
    /// let plan = BindOptions::new().plan_on("eth0:80", &host([10, 0, 0, 1]))?;
    /// let plan = plan.replan(&host([10, 0, 0, 2]))?;
    /// assert_eq!(plan.sockets()[0].to_string(), "10.0.0.2:80");
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn replan(&self, host: &Interfaces) -> Result<Self, BindError> {
        let cache = SnapshotCache::given(host);
        let mut draft = Draft::new(self.options.clone());
        draft.texts = self.texts();
        for entry in &self.entries {
            // Both are in the order of the positions.
            let skipped = self
                .skipped
                .binary_search_by_key(&entry.position, SettingError::position);
            let skipped = skipped.ok().map(|at| &self.skipped[at]);
            draft.add_again(entry, skipped, &cache);
        }
        draft.fit_together(&cache);
        draft.plan.host = Some(host.clone());
        draft.into_plan()
    }

    /// Returns the same plan with other ports to try.
    pub(crate) fn map_sockets(&self, map: impl Fn(&PlannedSocket) -> PlannedSocket) -> Self {
        Self {
            sockets: self.sockets.iter().map(map).collect(),
            ..self.clone()
        }
    }

    /// Returns the texts of the entries.
    pub(crate) fn texts(&self) -> Vec<(Position, Arc<str>)> {
        let entries = self.entries.iter();
        entries
            .map(|entry| (entry.position, entry.text.clone()))
            .collect()
    }

    /// Returns the entry that an error is of.
    pub(crate) fn entry_of(&self, error: &SettingError) -> Option<&Entry> {
        self.entry_at(error.position())
    }

    pub(crate) fn entry_at(&self, position: Position) -> Option<&Entry> {
        entry_at(&self.entries, position)
    }

    /// Returns what the entries with a fixed port claim of it, by the numbers of the entries.
    pub(crate) fn claims(&self) -> Claims {
        let mut claims = Claims::default();
        for socket in &self.sockets {
            if let Some((claim, port)) = socket.exclusive_claim().zip(socket.fixed_port()) {
                claims.add(socket.entry.number, claim, port);
            }
        }
        claims
    }
}

/// Finds an entry of a plan, whose positions ascend.
pub(crate) fn entry_at(entries: &[Arc<Entry>], position: Position) -> Option<&Entry> {
    let found = entries.binary_search_by_key(&position, |entry| entry.position);
    found.ok().map(|at| &*entries[at])
}

/// Returns the sockets of each entry, those first that need a certain port, then those of ranges,
/// which can go around it, then those that take any free port. Those of all entries that share that
/// port are together.
pub(crate) fn in_opening_order(sockets: &[PlannedSocket]) -> Vec<Cow<'_, [PlannedSocket]>> {
    let is_alike = |one: &PlannedSocket, other: &PlannedSocket| {
        one.entry.number == other.entry.number && one.ports() == other.ports()
    };
    let (sharing, mut order): (Vec<&[PlannedSocket]>, Vec<&[PlannedSocket]>) = sockets
        .chunk_by(is_alike)
        .partition(|sockets| sockets[0].is_on_shared_free_port());
    let key =
        |sockets: &[PlannedSocket]| (sockets[0].fixed_port().is_none(), !sockets[0].is_range());
    sort_by(&mut order, |a, b| key(a).cmp(&key(b)));
    let order = order.into_iter().map(Cow::Borrowed);
    let sharing = (!sharing.is_empty()).then(|| Cow::Owned(sharing.concat()));
    order.chain(sharing).collect()
}

impl Draft {
    fn new(options: Options) -> Self {
        Self {
            plan: Plan {
                options,
                entries: Vec::new(),
                sockets: Vec::new(),
                duplicates: Vec::new(),
                skipped: Vec::new(),
                host: None,
            },
            errors: Vec::new(),
            texts: Vec::new(),
            unread_devices: Map::new(),
        }
    }

    /// Plans as much of the settings as can be.
    pub(crate) fn of(settings: &Settings<'_>, options: &Options, cache: &SnapshotCache) -> Self {
        let mut draft = Self::new(options.clone());
        for (index, setting) in settings.iter().enumerate() {
            for (entry, parsed) in setting.entries().into_iter().enumerate() {
                let position = Position { index, entry };
                draft.add(setting, position, parsed, cache);
            }
        }
        if draft.texts.is_empty() {
            let error = SettingError::of_setting(Step::Validate, Cause::EmptyList);
            draft.errors.push(error);
        }
        draft.fit_together(cache);
        draft.plan.host = cache.known().cloned();
        draft
    }

    /// Adds an entry and its sockets.
    fn add(
        &mut self,
        setting: &Setting<'_>,
        position: Position,
        parsed: setting::ParsedEntry<'_>,
        cache: &SnapshotCache,
    ) {
        let text: Arc<str> = parsed.text.into();
        self.texts.push((position, text.clone()));
        let options = &self.plan.options;
        let device = setting.own_device().or(options.device.as_deref());
        let refused_device = options::refused_device(device);
        let (written, target) = match parsed.parsed {
            Ok(Parsed::Addr(addr)) => (addr.into_owned(), None),
            Ok(Parsed::Target(target, port)) => (addr_of(target, port), Some(target)),
            Err(err) => {
                let error = SettingError::of_setting(Step::Parse, Cause::InvalidText(err));
                let errors = [Some(error), refused_device].into_iter().flatten();
                self.errors
                    .extend(errors.map(|error| error.at(position, text.clone())));
                return;
            }
        };
        let resolved = match (mapped(&written), target) {
            (Some(ip), _) if options.only_v6 => Err(Unresolved::Mapped(ip)),
            (_, Some(target)) => Ok((vec![target.endpoint()], target.host().cloned())),
            (_, None) => {
                endpoints_of(&written, options.resolver.as_ref(), cache).map_err(Unresolved::Kind)
            }
        };
        let entry = Entry {
            number: self.plan.entries.len(),
            position,
            text,
            freebind: setting.own_freebind().unwrap_or(options.freebind),
            device: device.map(str::to_owned),
            device_index: DeviceIndex::None,
            only_v6: options.only_v6,
            splits_families: options.splits_families,
            one_port: options.one_port,
            shares_port: options.reuse_port,
            endpoints: Vec::new(),
            host: None,
            written,
        };
        if let Some(refused) = refused_device {
            // The kernel would take the name for another one, so no socket is planned.
            let unresolved = resolved
                .err()
                .map(|kind| kind.into_error(&entry.written, cache));
            let errors = unresolved.into_iter().chain([refused]);
            self.errors
                .extend(errors.map(|error| error.at(position, entry.text.clone())));
            return;
        }
        let may_be_absent = entry.is_optional();
        self.add_resolved(entry, resolved, may_be_absent, cache);
    }

    /// Adds an entry of an older plan, with the sockets that it has on another host. `skipped` is
    /// why it had none.
    fn add_again(&mut self, entry: &Entry, skipped: Option<&SettingError>, cache: &SnapshotCache) {
        let had_any = !entry.endpoints.is_empty();
        let resolved = match cache.endpoints(&entry.written) {
            // Sources that the snapshot does not show stay as they were.
            Err(ResolveErrorKind::DefaultSourcesUnknown) => None,
            // Names in DNS are not looked up again. An interface without an address is not in the
            // snapshot, and that of a zone may exist.
            Err(ResolveErrorKind::NoSuchInterface { .. })
                if had_any && (entry.is_looked_up() || !entry.written.is_selector()) =>
            {
                None
            }
            resolved => Some(resolved),
        };
        if let (None, false, Some(skipped)) = (&resolved, had_any, skipped) {
            self.plan.skipped.push(skipped.clone());
            self.plan.entries.push(Arc::new(entry.clone()));
            return;
        }
        let as_before = || Ok((entry.endpoints.clone(), entry.host.clone()));
        let resolved = resolved.unwrap_or_else(as_before);
        self.add_resolved(
            entry.clone(),
            resolved.map_err(Unresolved::Kind),
            true,
            cache,
        );
    }

    /// Adds an entry with the sockets of its endpoints, or the reason why it has none.
    fn add_resolved(
        &mut self,
        mut entry: Entry,
        resolved: Result<(Vec<Endpoint>, Option<Interfaces>), Unresolved>,
        may_be_absent: bool,
        cache: &SnapshotCache,
    ) {
        let selection = self.plan.options.selection;
        let selected = resolved.and_then(|(endpoints, host)| {
            let selected = selection.select(endpoints).map_err(Unresolved::Kind)?;
            Ok((selected, host))
        });
        if let Some(name) = &entry.device {
            let number = self.unread_devices.len();
            let mut number = || {
                let number = self
                    .unread_devices
                    .get_or_insert_with(name.clone(), || number);
                *number
            };
            entry.device_index = match (cache.index_of(name), entry.device_index) {
                (Ok(Some(index)), _) => DeviceIndex::Known(index),
                // A snapshot has the interfaces with an address, so the index may be the one that
                // it was.
                (Err(_), DeviceIndex::Known(before)) => DeviceIndex::Known(before),
                (Ok(None), _) | (Err(_), DeviceIndex::Missing(_)) => DeviceIndex::Missing(number()),
                (Err(_), DeviceIndex::None | DeviceIndex::Unknown(_)) => {
                    DeviceIndex::Unknown(number())
                }
            };
        }
        let error = match selected {
            Ok((endpoints, host)) => {
                entry.endpoints = endpoints;
                entry.host = host;
                None
            }
            Err(unresolved) => {
                entry.endpoints = Vec::new();
                let error = unresolved.into_error(&entry.written, cache);
                Some(error.at(entry.position, entry.text.clone()))
            }
        };
        match error {
            Some(error) if may_be_absent && error.cause().is_absence() => {
                self.plan.skipped.push(error);
            }
            error => self.errors.extend(error),
        }
        let entry = Arc::new(entry);
        self.plan.sockets.extend(sockets_of(&entry));
        self.plan.entries.push(entry);
    }

    /// Merges duplicates and finds conflicts.
    fn fit_together(&mut self, cache: &SnapshotCache) {
        self.plan.duplicates = merge_sockets(&mut self.plan.sockets);
        let mut found = conflicts(&self.plan.sockets, Set::new());
        if !found.is_empty() {
            let claims = self
                .plan
                .sockets
                .iter()
                .filter_map(PlannedSocket::exclusive_claim);
            let devices: Set<DeviceIndex> = claims.map(Claim::device).collect();
            let is_apart = |device: &DeviceIndex| {
                device
                    .known()
                    .is_some_and(|index| cache.may_be_apart(index))
            };
            let apart: Set<DeviceIndex> = devices.into_iter().filter(is_apart).collect();
            if !apart.is_empty() {
                found = conflicts(&self.plan.sockets, apart);
            }
        }
        self.errors.extend(found);
    }

    /// Returns the plan if all entries have a part in it.
    pub(crate) fn into_plan(self) -> Result<Plan, BindError> {
        if self.errors.is_empty() {
            return Ok(self.plan);
        }
        // For both protocols.
        let protocol = crate::target::Protocol::Tcp;
        Err(BindError::new(protocol, self.texts.len(), self.errors))
    }
}

/// Finds the sockets that cannot be open beside others of the plan. Those on a device that is
/// `apart` can be beside those on none; of UDP the kernel refuses them.
fn conflicts(sockets: &[PlannedSocket], apart: Set<DeviceIndex>) -> Vec<SettingError> {
    let mut errors = Vec::new();
    let mut claims = Claims::default();
    claims.set_apart(apart);
    let mut claimed: Vec<&PlannedSocket> = Vec::new();
    let common = |socket: &&PlannedSocket| socket.common_port().is_some();
    for socket in sockets.iter().filter(common) {
        let Some(claim) = socket.exclusive_claim() else {
            continue;
        };
        let port = socket.addr.port();
        if let Some((other, overlap)) = claims.conflict(claim, port) {
            errors.push(conflict(socket, claimed[other], overlap));
        }
        claims.add(claimed.len(), claim, port);
        claimed.push(socket);
    }
    for sockets in in_opening_order(sockets) {
        if !sockets[0].is_range() {
            continue;
        }
        let own: Vec<Option<Claim>> = sockets.iter().map(PlannedSocket::exclusive_claim).collect();
        let ports = sockets[0].ports();
        if let Some((socket, other, overlap)) = claims.conflict_of_range(&own, ports) {
            errors.push(conflict(&sockets[socket], claimed[other], overlap));
        }
    }
    errors
}

/// Why an entry yields no socket.
enum Unresolved {
    Kind(ResolveErrorKind),
    /// It is an IPv4-mapped address, and `only_v6` is set.
    Mapped(Ipv4Addr),
}

impl Unresolved {
    fn into_error(self, written: &ListenAddr, cache: &SnapshotCache) -> SettingError {
        match self {
            Self::Kind(kind) => {
                let hints = hints_of_unresolved(&kind, written, cache.known());
                let cause = Cause::Unresolved(kind);
                SettingError::of_setting(Step::Resolve, cause).with_hints(hints)
            }
            Self::Mapped(ip) => {
                SettingError::of_setting(Step::Validate, Cause::MappedOnV6Only { ip })
            }
        }
    }
}

/// Returns the IPv4 address of an IPv4-mapped one.
fn mapped(addr: &ListenAddr) -> Option<Ipv4Addr> {
    match addr.host() {
        Host::Ip {
            ip: IpAddr::V6(ip), ..
        } => ip.to_ipv4_mapped(),
        _ => None,
    }
}

/// Returns the error of a socket that cannot be opened beside another one of the list.
fn conflict(socket: &PlannedSocket, other: &PlannedSocket, overlap: Overlap) -> SettingError {
    let diagnosis = diagnosis_of_conflict(socket, other, overlap);
    let error = SettingError::new(Some(socket.addr), Step::Validate, diagnosis, None);
    error.at(socket.entry.position, socket.entry.text.clone())
}

/// Returns what is wrong with a socket that cannot be opened beside another one of the list.
pub(crate) fn diagnosis_of_conflict(
    socket: &PlannedSocket,
    other: &PlannedSocket,
    overlap: Overlap,
) -> Diagnosis {
    let cause = Cause::Conflict {
        ip: socket.addr.ip(),
        other: other.addr,
        text: other.entry.text.to_string(),
        overlap,
    };
    Diagnosis {
        causes: vec![cause],
        hints: Vec::new(),
    }
}
