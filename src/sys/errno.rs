//! The errors of the system that the crate distinguishes: [`Errno`].

use std::io;

/// The errors of the system that have different causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    /// `EADDRNOTAVAIL`
    NotAvailable,
    /// `EADDRINUSE`
    InUse,
    /// `EACCES`
    AccessDenied,
    /// `EPERM`
    NotPermitted,
    /// `EINVAL`
    Invalid,
    /// `ENODEV`
    NoDevice,
    /// `EAFNOSUPPORT`
    FamilyUnsupported,
    /// `EMFILE`
    ProcessDescriptors,
    /// `ENFILE`
    SystemDescriptors,
    /// `ENOBUFS`, `ENOMEM`
    NoMemory,
    /// No error of the system: the platform lacks the call.
    Unsupported,
    Unknown,
}

impl Errno {
    /// Returns `true` for the errors by which socket(2) reports that a family is not available: the
    /// kernel lacks it, or denies it to this process. An internet socket needs no privilege.
    pub(crate) fn is_about_family(self) -> bool {
        matches!(
            self,
            Self::FamilyUnsupported | Self::AccessDenied | Self::NotPermitted
        )
    }
}

/// EPERM; EACCES and the Winsock codes are larger.
const NOT_PERMITTED: i32 = 1;

impl Errno {
    pub(crate) fn of(error: &io::Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::AddrNotAvailable, _) => Self::NotAvailable,
            (io::ErrorKind::AddrInUse, _) => Self::InUse,
            (io::ErrorKind::PermissionDenied, Some(NOT_PERMITTED)) => Self::NotPermitted,
            (io::ErrorKind::PermissionDenied, _) => Self::AccessDenied,
            (io::ErrorKind::InvalidInput, _) => Self::Invalid,
            (io::ErrorKind::OutOfMemory, _) => Self::NoMemory,
            (io::ErrorKind::Unsupported, None) => Self::Unsupported,
            (_, Some(code)) => Self::of_code(code),
            _ => Self::Unknown,
        }
    }

    /// std has no kind for these (errno(3); Winsock error codes).
    fn of_code(code: i32) -> Self {
        let odd_linux = cfg!(any(
            target_arch = "mips",
            target_arch = "mips32r6",
            target_arch = "mips64",
            target_arch = "mips64r6"
        ));
        let linux = cfg!(any(target_os = "linux", target_os = "android"));
        let system_v = cfg!(any(target_os = "solaris", target_os = "illumos"));
        let [no_device, family_unsupported, process, system, no_buffers] = if cfg!(windows) {
            [-1, 10047, 10024, -1, 10055]
        } else if system_v || (linux && odd_linux) {
            [19, 124, 24, 23, 132]
        } else if linux {
            [19, 97, 24, 23, 105]
        } else {
            [19, 47, 24, 23, 55]
        };
        match code {
            _ if code == no_device => Self::NoDevice,
            _ if code == family_unsupported => Self::FamilyUnsupported,
            // EPROTONOSUPPORT, which a jail without the family gives (`socreate` of FreeBSD).
            43 if cfg!(target_os = "freebsd") => Self::FamilyUnsupported,
            _ if code == process => Self::ProcessDescriptors,
            _ if code == system => Self::SystemDescriptors,
            _ if code == no_buffers => Self::NoMemory,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of errno(3), and those of "Windows Sockets Error Codes".
    #[test]
    fn errno_numbers_are_distinct() {
        let numbers: &[(i32, Errno)] = if cfg!(windows) {
            &[
                (10013, Errno::AccessDenied),
                (10022, Errno::Invalid),
                (10024, Errno::ProcessDescriptors),
                (10047, Errno::FamilyUnsupported),
                (10048, Errno::InUse),
                (10049, Errno::NotAvailable),
                (10055, Errno::NoMemory),
                // WSAENETDOWN
                (10050, Errno::Unknown),
            ]
        } else if cfg!(target_os = "linux") {
            &[
                (1, Errno::NotPermitted),
                (12, Errno::NoMemory),
                (13, Errno::AccessDenied),
                (19, Errno::NoDevice),
                (22, Errno::Invalid),
                (23, Errno::SystemDescriptors),
                (24, Errno::ProcessDescriptors),
                (97, Errno::FamilyUnsupported),
                (98, Errno::InUse),
                (99, Errno::NotAvailable),
                (105, Errno::NoMemory),
                // ENETDOWN
                (100, Errno::Unknown),
            ]
        } else {
            &[]
        };
        for (number, errno) in numbers {
            let error = io::Error::from_raw_os_error(*number);
            assert_eq!(Errno::of(&error), *errno, "{number}");
        }
        let lacking = io::Error::from(io::ErrorKind::Unsupported);
        assert_eq!(Errno::of(&lacking), Errno::Unsupported);
        assert_eq!(Errno::of(&io::Error::other("odd")), Errno::Unknown);
    }
}
