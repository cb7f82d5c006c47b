//! Settings out of config files, and reports as values (feature `serde`).

use std::fmt;

use serde_core::de::{
    self, Deserialize, DeserializeSeed, Deserializer, SeqAccess, Unexpected, Visitor,
};
use serde_core::ser::{Serialize, SerializeStruct, Serializer};

use crate::addr::{Family, ListenAddr, ListenAddrs, without_credentials};
use crate::check::{Check, CheckedSetting, CheckedSocket};
use crate::diagnosis::{
    BindError, Cause, Hint, HintKind, Holder, SettingError, SocketState, Warning,
};
use crate::interfaces::{Interface, InterfaceAddr, Interfaces};
use crate::reach::{Exposure, Origin, Reach, ReachableAddr};
use crate::target::{BindTarget, ForeignReason, Wildcard};
use crate::update::{Change, ChangeKind, Diff};

impl Serialize for ListenAddr {
    /// Writes the canonical text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddr {
    /// Reads a text, or a number as the port of every address, as the text of that number is.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text(deserializer, Expected::Addr)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Serialize for ListenAddrs {
    /// Writes a sequence of canonical texts.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for ListenAddrs {
    /// Reads a sequence, or what a single one is; each text of it may be a list.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = texts(deserializer, Expected::Addr)?;
        Self::parse_each(texts).map_err(de::Error::custom)
    }
}

/// The kind of text that the error about a value of another type names.
#[derive(Clone, Copy)]
pub(crate) enum Expected {
    Addr,
    Host,
}

/// Reads a text, or a number where people write; what programs write to each other does not say
/// what follows.
pub(crate) fn text<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: Expected,
) -> Result<String, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Text(expected))
    } else {
        deserializer.deserialize_str(Text(expected))
    }
}

/// Reads a sequence of texts, or where people write a text alone.
pub(crate) fn texts<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: Expected,
) -> Result<Vec<String>, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Texts(expected))
    } else {
        deserializer.deserialize_seq(Texts(expected))
    }
}

/// Takes the text of a setting, which a number alone is, too.
struct Text(Expected);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Expected::Addr => "a listen address such as \"127.0.0.1:8080\", or a port",
            Expected::Host => "a host such as \"127.0.0.1\"",
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<String, E> {
        Ok(port.to_string())
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<String, E> {
        // As a text it would be an address that may be absent.
        let port = u64::try_from(port);
        port.map(|port| port.to_string())
            .map_err(|_| de::Error::invalid_value(Unexpected::Other("a negative number"), &self))
    }
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        text(deserializer, self.0)
    }
}

/// Takes one text or a sequence of them.
struct Texts(Expected);

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Expected::Addr => {
                "listen addresses such as \"127.0.0.1:8080\", in a sequence or in one text"
            }
            Expected::Host => "hosts such as \"127.0.0.1\", in a sequence or in one text",
        })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        Text(self.0).visit_str(text).map(|text| vec![text])
    }

    fn visit_u64<E: de::Error>(self, port: u64) -> Result<Vec<String>, E> {
        Text(self.0).visit_u64(port).map(|text| vec![text])
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<Vec<String>, E> {
        Text(self.0).visit_i64(port).map(|text| vec![text])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = seq.next_element_seed(Text(self.0))? {
            texts.push(text);
        }
        Ok(texts)
    }
}

impl Serialize for BindTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = match self {
            Self::Any(_) | Self::Loopback(_) => 3,
            Self::Local(_) => 5,
            Self::Foreign(_) => 6,
        };
        let mut out = serializer.serialize_struct("BindTarget", fields)?;
        match self {
            Self::Any(wildcard) => {
                out.serialize_field("class", "any")?;
                out.serialize_field("families", &families(*wildcard))?;
            }
            Self::Loopback(addrs) => {
                out.serialize_field("class", "loopback")?;
                out.serialize_field("ips", &addrs.ips().collect::<Vec<_>>())?;
            }
            Self::Local(addr) => {
                let interfaces: Vec<&str> = addr.interfaces().map(Interface::name).collect();
                out.serialize_field("class", "local")?;
                out.serialize_field("ip", &addr.ip())?;
                out.serialize_field("scope_id", &addr.scope_id())?;
                out.serialize_field("interfaces", &interfaces)?;
            }
            Self::Foreign(addr) => {
                out.serialize_field("class", "foreign")?;
                out.serialize_field("ip", &addr.ip())?;
                out.serialize_field("scope_id", &addr.scope_id())?;
                out.serialize_field("reason", reason(addr.reason()))?;
                out.serialize_field("nearest", &addr.nearest())?;
            }
        }
        out.serialize_field("meaning", &self.to_string())?;
        out.end()
    }
}

fn families(wildcard: Wildcard) -> Vec<&'static str> {
    [(Family::Ipv4, "ipv4"), (Family::Ipv6, "ipv6")]
        .into_iter()
        .filter_map(|(family, name)| wildcard.takes(family).then_some(name))
        .collect()
}

fn reason(reason: ForeignReason<'_>) -> &'static str {
    match reason {
        ForeignReason::LimitedBroadcast => "limited-broadcast",
        ForeignReason::Multicast => "multicast",
        ForeignReason::ThisNetwork => "this-network",
        ForeignReason::OtherZone { .. } => "other-zone",
        ForeignReason::Peer { .. } => "peer",
        ForeignReason::DirectedBroadcast { .. } => "directed-broadcast",
        ForeignReason::NetworkAddress { .. } => "network-address",
        ForeignReason::SameSubnet { .. } => "same-subnet",
        ForeignReason::Unrelated => "unrelated",
    }
}

impl Serialize for Interfaces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl Serialize for Interface {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Interface", 5)?;
        out.serialize_field("name", self.name())?;
        out.serialize_field("index", &self.index())?;
        out.serialize_field("running", &self.is_running())?;
        out.serialize_field("loopback", &self.is_loopback())?;
        out.serialize_field("addrs", self.addrs())?;
        out.end()
    }
}

impl Serialize for InterfaceAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("InterfaceAddr", 5)?;
        out.serialize_field("ip", &self.ip())?;
        out.serialize_field("prefix_len", &self.prefix_len())?;
        out.serialize_field("peer", &self.peer())?;
        out.serialize_field("state", &self.state().to_string())?;
        out.serialize_field("temporary", &self.is_temporary())?;
        out.end()
    }
}

impl Serialize for Exposure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::ThisHost => "this-host",
            Self::Link => "link",
            Self::Private => "private",
            Self::Shared => "shared",
            Self::Global => "global",
        })
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::ThisHost => "this-host",
            Self::Network => "network",
            Self::Device => "device",
            Self::Link => "link",
        })
    }
}

impl Serialize for ReachableAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("ReachableAddr", 6)?;
        out.serialize_field("addr", &self.addr())?;
        out.serialize_field("origin", &self.origin())?;
        out.serialize_field("exposure", &self.exposure())?;
        out.serialize_field("interface", &self.interface())?;
        out.serialize_field("running", &self.is_running())?;
        out.serialize_field("browsers", &self.is_for_browsers())?;
        out.end()
    }
}

impl Serialize for Reach {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Reach", 2)?;
        out.serialize_field("exposure", &self.exposure())?;
        out.serialize_field("addrs", self.addrs())?;
        out.end()
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (holders, more) = match self {
            Self::InUse { holders, more, .. } => (holders.iter().collect(), *more),
            Self::RangeInUse { holders, .. } => (holders.first(), holders.more()),
            _ => (Vec::new(), 0),
        };
        let mut out = serializer.serialize_struct("Cause", 4)?;
        out.serialize_field("name", self.name())?;
        out.serialize_field("message", &self.to_string())?;
        out.serialize_field("holders", &holders)?;
        out.serialize_field("more_holders", &more)?;
        out.end()
    }
}

impl Serialize for Hint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self.kind() {
            HintKind::Replace => "replace",
            HintKind::Widen => "widen",
            HintKind::Inspect => "inspect",
            HintKind::Configure => "configure",
            HintKind::Program => "program",
        };
        let mut out = serializer.serialize_struct("Hint", 3)?;
        out.serialize_field("kind", kind)?;
        out.serialize_field("text", self.text())?;
        out.serialize_field("replacement", &self.replacement())?;
        out.end()
    }
}

impl Serialize for Holder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = match self.state() {
            SocketState::Listening => "listening",
            SocketState::Bound => "bound",
            SocketState::Connected => "connected",
            SocketState::TimeWait => "time-wait",
        };
        let mut out = serializer.serialize_struct("Holder", 7)?;
        out.serialize_field("addr", &self.addr())?;
        out.serialize_field("state", state)?;
        out.serialize_field("certain", &self.is_certain())?;
        out.serialize_field("uid", &self.uid())?;
        out.serialize_field("pid", &self.pid())?;
        out.serialize_field("process_uid", &self.process_uid())?;
        out.serialize_field("command", &self.command())?;
        out.end()
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Warning", 3)?;
        out.serialize_field("name", self.name())?;
        out.serialize_field("addr", &self.addr())?;
        out.serialize_field("message", &self.kind().to_string())?;
        out.end()
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Check", 2)?;
        out.serialize_field("ok", &self.is_ok())?;
        out.serialize_field("settings", self.settings())?;
        out.end()
    }
}

impl Serialize for CheckedSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("CheckedSetting", 7)?;
        out.serialize_field("index", &self.position().index())?;
        out.serialize_field("entry", &self.position().entry())?;
        out.serialize_field("text", &*without_credentials(self.text()))?;
        out.serialize_field("errors", &self.causes().collect::<Vec<_>>())?;
        out.serialize_field("skipped", self.skipped())?;
        out.serialize_field("duplicates", self.duplicates())?;
        out.serialize_field("sockets", self.sockets())?;
        out.end()
    }
}

impl Serialize for CheckedSocket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("CheckedSocket", 4)?;
        out.serialize_field("addr", &self.addr())?;
        out.serialize_field("target", &self.target())?;
        out.serialize_field("errors", &self.causes().collect::<Vec<_>>())?;
        out.serialize_field("warnings", self.warnings())?;
        out.end()
    }
}

impl Serialize for BindError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("BindError", 4)?;
        out.serialize_field("message", &self.to_string())?;
        out.serialize_field("errors", &self.errors().collect::<Vec<_>>())?;
        out.serialize_field("hints", &self.hints())?;
        out.serialize_field("transient", &self.is_transient())?;
        out.end()
    }
}

impl Serialize for SettingError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let os_error = self.io_error().and_then(std::io::Error::raw_os_error);
        let mut out = serializer.serialize_struct("SettingError", 7)?;
        out.serialize_field("index", &self.position().index())?;
        out.serialize_field("entry", &self.position().entry())?;
        out.serialize_field("text", &*without_credentials(self.text()))?;
        out.serialize_field("addr", &self.addr())?;
        out.serialize_field("step", &self.step().to_string())?;
        out.serialize_field("causes", self.causes())?;
        out.serialize_field("os_error", &os_error)?;
        out.end()
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self.kind() {
            ChangeKind::Kept => "kept",
            ChangeKind::Unreachable => "unreachable",
            ChangeKind::Added => "added",
            ChangeKind::Pending => "pending",
            ChangeKind::Removed => "removed",
            ChangeKind::InterfaceReplaced { .. } => "interface-replaced",
        };
        let mut out = serializer.serialize_struct("Change", 6)?;
        out.serialize_field("kind", kind)?;
        out.serialize_field("index", &self.position().index())?;
        out.serialize_field("entry", &self.position().entry())?;
        out.serialize_field("addr", &self.addr())?;
        out.serialize_field("interface", &self.interface())?;
        out.serialize_field("message", &self.to_string())?;
        out.end()
    }
}

impl Serialize for Diff {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.changes())
    }
}
