//! The systems whose rules for bind(2) differ: [`System`].

/// A system with its own rules for bind(2). The diagnosis takes it as evidence, so that the rules
/// of each system can be tested on any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// Linux and Android.
    Linux,
    /// macOS and the other systems of Apple.
    Darwin,
    /// The BSDs, Solaris and illumos.
    Unix,
    Windows,
}

impl System {
    /// The system this program is built for.
    pub(crate) const HERE: Self = if cfg!(any(target_os = "linux", target_os = "android")) {
        Self::Linux
    } else if cfg!(target_vendor = "apple") {
        Self::Darwin
    } else if cfg!(unix) {
        Self::Unix
    } else {
        Self::Windows
    };
}

impl Default for System {
    fn default() -> Self {
        Self::HERE
    }
}
