//! The decision on each [`System`], with synthetic evidence.

use std::io::{self, ErrorKind};

use super::properties::{attempt, host};
use super::{Attempt, Evidence, System, causes, hints};
use crate::addr::ListenAddr;
use crate::diagnosis::{Cause, Holder, Policy, RangeHolders, Step};
use crate::sys::Process;

const ALL: [System; 4] = [System::Linux, System::Darwin, System::Unix, System::Windows];

/// Returns the cause of an error on a synthetic host with a system.
fn cause_on(system: System, addr: &str, kind: ErrorKind) -> Cause {
    let evidence = Evidence {
        system,
        interfaces: Some(host()),
        first_unprivileged_port: (system != System::Windows).then_some(1024),
        ..Evidence::default()
    };
    let error = io::Error::from(kind);
    let mut causes = causes(&attempt(addr, Step::Bind, &error), &evidence);
    causes.remove(0)
}

fn process(pid: u32) -> Process {
    Process {
        is_this: false,
        pid,
        uid: None,
        command: Some("System".to_owned()),
        children: 0,
        is_of_unit: false,
    }
}

/// The hints of a cause on a system.
fn hints_on(system: System, cause: Cause) -> Vec<String> {
    let evidence = Evidence {
        system,
        ..Evidence::default()
    };
    let written: ListenAddr = "127.0.0.1:80".parse().expect("an address");
    let error = io::Error::from(ErrorKind::Other);
    let attempt = Attempt {
        written: Some(&written),
        ..attempt("127.0.0.1:80", Step::Listen, &error)
    };
    let hints = hints::hints(&[cause], &attempt, &evidence);
    hints.iter().map(ToString::to_string).collect()
}

#[test]
fn low_port_is_unprivileged_on_macos_wildcard_only() {
    let is_privileged = |system, addr| match cause_on(system, addr, ErrorKind::PermissionDenied) {
        Cause::PrivilegedPort { limit, .. } => {
            assert_eq!(limit, Some(1024));
            true
        }
        _ => false,
    };
    assert!(is_privileged(System::Darwin, "192.168.71.67:80"));
    assert!(is_privileged(System::Darwin, "[::1]:80"));
    assert!(!is_privileged(System::Darwin, "0.0.0.0:80"));
    assert!(!is_privileged(System::Darwin, "[::]:80"));
    assert!(is_privileged(System::Unix, "0.0.0.0:80"));
    for addr in ["0.0.0.0:80", "192.168.71.67:80"] {
        assert!(!is_privileged(System::Windows, addr));
    }
    for system in ALL {
        assert!(!is_privileged(system, "192.168.71.67:1024"));
    }
    let cause = || cause_on(System::Darwin, "127.0.0.1:80", ErrorKind::PermissionDenied);
    assert_eq!(
        hints_on(System::Darwin, cause()),
        ["`0.0.0.0:80` needs no privilege, and opens the port to all networks of this host"]
    );
    assert!(hints_on(System::Unix, cause()).is_empty());
}

#[test]
fn policy_hints_are_linux_only() {
    for system in ALL {
        for addr in ["127.0.0.1:0", "127.0.0.1:8080"] {
            match cause_on(system, addr, ErrorKind::PermissionDenied) {
                Cause::RefusedByPolicy(Policy::SecurityModuleOrFilter) => {
                    assert_eq!(system, System::Linux);
                }
                Cause::Denied { step: Step::Bind } => assert_ne!(system, System::Linux),
                other => panic!("{system:?}: {other:?}"),
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn filter_hints_are_linux_only() {
    // EPERM
    let error = io::Error::from_raw_os_error(1);
    for system in ALL {
        let evidence = Evidence {
            system,
            ..Evidence::default()
        };
        let causes = causes(&attempt("127.0.0.1:80", Step::Bind, &error), &evidence);
        let is_filter = matches!(
            causes[..],
            [Cause::RefusedByPolicy(Policy::Bpf | Policy::Filter)]
        );
        assert_eq!(is_filter, system == System::Linux, "{causes:?}");
    }
}

#[test]
fn denied_socket_is_a_missing_family_on_linux_only() {
    let error = io::Error::from(ErrorKind::PermissionDenied);
    for system in ALL {
        let evidence = Evidence {
            system,
            ..Evidence::default()
        };
        let causes = causes(&attempt("[::1]:8080", Step::Socket, &error), &evidence);
        let is_family = matches!(causes[..], [Cause::FamilyUnavailable { .. }]);
        assert_eq!(is_family, system == System::Linux, "{causes:?}");
    }
}

#[test]
fn ephemeral_exhaustion_differs_from_missing_address() {
    let is_exhausted = |system, addr| {
        let cause = cause_on(system, addr, ErrorKind::AddrNotAvailable);
        matches!(cause, Cause::EphemeralPortsExhausted { range: None })
    };
    for system in [System::Darwin, System::Unix] {
        for addr in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0", "192.168.71.67:0"] {
            assert!(is_exhausted(system, addr), "{system:?} {addr}");
        }
        // For a missing address the cause is the address.
        for addr in ["127.0.0.2:0", "192.168.71.68:0", "192.168.71.67:80"] {
            assert!(!is_exhausted(system, addr), "{system:?} {addr}");
        }
    }
    for system in [System::Linux, System::Windows] {
        assert!(!is_exhausted(system, "192.168.71.67:0"));
        // There the error is EADDRINUSE.
        let in_use = cause_on(system, "192.168.71.67:0", ErrorKind::AddrInUse);
        assert!(matches!(in_use, Cause::EphemeralPortsExhausted { .. }));
    }
}

#[test]
fn macos_loopback_hint_adds_lo0_alias() {
    let cause = || cause_on(System::Darwin, "127.0.0.2:80", ErrorKind::AddrNotAvailable);
    assert_eq!(
        cause().to_string(),
        "no interface of this host has 127.0.0.2; the loopback interface has only 127.0.0.1/8"
    );
    let alias = ["`ifconfig lo0 alias 127.0.0.2` adds it"];
    for system in ALL {
        let hints = hints_on(system, cause());
        match system {
            System::Darwin | System::Unix => assert_eq!(hints, alias),
            System::Linux | System::Windows => assert!(hints.is_empty(), "{hints:?}"),
        }
    }
    let cause = cause_on(System::Darwin, "[::1]:80", ErrorKind::AddrNotAvailable);
    assert!(matches!(cause, Cause::LoopbackMissing { .. }), "{cause:?}");
    assert!(hints_on(System::Darwin, cause).is_empty());
}

#[test]
fn holder_hint_uses_command_of_platform() {
    let in_use = || cause_on(System::Windows, "127.0.0.1:80", ErrorKind::AddrInUse);
    let held = Holder::synthetic(33, 80, None);
    let range = || Cause::RangeInUse {
        first: 80,
        last: 81,
        holders: RangeHolders::count([held.clone()].into_iter()),
    };
    for (system, one, all) in [
        (
            System::Linux,
            "`ss -antup 'sport = :80'`, run as root, shows which process holds the port",
            "`ss -antup`, run as root, shows which processes hold the ports",
        ),
        (
            System::Darwin,
            "`sudo lsof -nP -i :80` shows which process holds the port",
            "`sudo lsof -nP -i` shows which processes hold the ports",
        ),
        (
            System::Windows,
            "`netstat -ano` shows which process holds the port",
            "`netstat -ano` shows which processes hold the ports",
        ),
    ] {
        assert_eq!(hints_on(system, in_use()), [one]);
        assert_eq!(hints_on(system, range()), [all]);
    }
    assert!(hints_on(System::Unix, in_use()).is_empty());
    assert!(hints_on(System::Unix, range()).is_empty());
}

/// The process with the number 4 is the kernel of Windows, whose http.sys has ports for others.
#[test]
fn port_of_http_sys_has_a_hint() {
    let held_by = |pid| Cause::InUse {
        ip: [127, 0, 0, 1].into(),
        port: 80,
        holders: vec![Holder::synthetic(33, 80, Some(process(pid)))],
        more: 0,
    };
    let told = "`netsh http show servicestate` shows which program http.sys holds the port for";
    assert_eq!(hints_on(System::Windows, held_by(4)), [told]);
    assert_eq!(hints_on(System::Windows, held_by(5)), [""; 0]);
    assert_eq!(hints_on(System::Linux, held_by(4)), [""; 0]);
}

#[test]
fn windows_excluded_ports_have_a_hint() {
    let cause = cause_on(
        System::Windows,
        "0.0.0.0:50060",
        ErrorKind::PermissionDenied,
    );
    assert_eq!(
        cause.to_string(),
        "permission denied: a missing privilege or a security policy"
    );
    assert_eq!(
        hints_on(System::Windows, cause),
        [
            "`netsh int ipv4 show excludedportrange protocol=tcp` shows the ports that Windows reserves",
            "`netstat -ano` shows which process has the port; a port that is held exclusively is denied",
        ]
    );
}

#[test]
fn too_many_open_files_suggests_ulimit() {
    let hints = |system| hints_on(system, Cause::TooManyOpenFiles { open: None });
    for system in [System::Darwin, System::Unix] {
        assert_eq!(hints(system), ["raise the limit with `ulimit -n`"]);
    }
    assert_eq!(hints(System::Windows), [""; 0]);
}
