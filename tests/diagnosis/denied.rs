//! Privileges, policies and limits.

use super::*;

#[test]
fn privileged_port_names_capability() {
    const TEST: &str = "denied::privileged_port_names_capability";
    if rerun::role().as_deref() == Some("unprivileged") {
        let err = row("a port below 1024 without the capability", "127.0.0.1:80");
        assert!(matches!(
            err.cause(),
            Cause::PrivilegedPort {
                port: 80,
                limit: Some(1024),
                privilege: Privilege::Missing,
                ..
            }
        ));
        // All that is wrong, the system's own error first: IPv4 looks at the
        // address first, IPv6 at the privilege.
        let err = row(
            "a foreign IPv4 address and a port below 1024, both at once",
            "198.51.100.1:80",
        );
        let causes: Vec<&Cause> = err.errors().flat_map(SettingError::causes).collect();
        assert!(matches!(
            causes[..],
            [Cause::NotOnThisHost(_), Cause::PrivilegedPort { .. }]
        ));
        let err = row(
            "a foreign IPv6 address and a port below 1024, both at once",
            "[2001:db8::1]:80",
        );
        assert_eq!(err.errors().flat_map(SettingError::causes).count(), 2);
        return rerun::done();
    }
    if rerun::role().as_deref() == Some("beside-a-server") {
        let err = row(
            "a foreign address, a port below 1024 and a port in use, all at once",
            "198.51.100.1:80",
        );
        assert_eq!(err.errors().flat_map(SettingError::causes).count(), 3);
        return rerun::done();
    }
    in_namespace(|| {
        rerun::run(TEST, "unprivileged", &WITHOUT_CAPABILITIES);
        let held = bind("0.0.0.0:80").expect("root may");
        rerun::run(TEST, "beside-a-server", &WITHOUT_CAPABILITIES);
        drop(held);
    });
}

#[test]
fn privilege_in_user_namespace_is_explained() {
    const TEST: &str = "denied::privilege_in_user_namespace_is_explained";
    if rerun::role().as_deref() == Some("rootless") {
        let err = row(
            "a port below 1024 with the capability only in its own user namespace, as in a rootless container",
            "127.0.0.1:80",
        );
        assert!(matches!(
            err.cause(),
            Cause::PrivilegedPort {
                privilege: Privilege::InAnotherUserNamespace,
                ..
            }
        ));
        assert_eq!(
            texts_of_hints(&err),
            [
                "`sysctl net.ipv4.ip_unprivileged_port_start=80` in this process's network namespace lets every process bind the ports from 80 up"
            ]
        );
        assert!(!bindaddr::check(["127.0.0.1:80"]).is_ok());
        return rerun::done();
    }
    if rerun::role().as_deref() == Some("rootless-of-root") {
        // Here both namespaces have the same root, so that they cannot be distinguished
        // from a policy.
        let err = bind("127.0.0.1:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::Denied { .. }), "{err:?}");
        return rerun::done();
    }
    in_namespace(|| {
        let rootless = ["unshare", "--user", "--map-root-user", "--"];
        rerun::run(TEST, "rootless-of-root", &rootless);
        // The test is to be run by another user, who may not look into this folder.
        let dir = std::env::temp_dir().join(format!("bindaddr-rootless-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        let exe = dir.join("diagnosis");
        std::fs::copy(std::env::current_exe().unwrap(), &exe).unwrap();
        let as_other = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--",
        ];
        let can = Command::new(as_other[0])
            .args(&as_other[1..])
            .arg("true")
            .status();
        if can.is_ok_and(|status| status.success()) {
            let rootless = [&as_other[..], &rootless].concat();
            rerun::run_exe(&exe, TEST, "rootless", &rootless);
            // The capability would have no effect there.
            let without = [&rootless[..], &WITHOUT_CAPABILITIES].concat();
            rerun::run_exe(&exe, TEST, "rootless", &without);
        } else {
            rerun::skip(
                TEST,
                "this machine has no second user",
                "BINDADDR_REQUIRE_USERS",
            );
        }
        std::fs::remove_dir_all(dir).unwrap();
    });
}

#[test]
fn policy_denial_is_reported() {
    const TEST: &str = "denied::policy_denial_is_reported";
    if rerun::role().as_deref() == Some("landlock") {
        if !sandbox::refuse_tcp_ports() {
            rerun::skip(
                TEST,
                "this kernel has no Landlock for ports",
                "BINDADDR_REQUIRE_LANDLOCK",
            );
            return rerun::done();
        }
        let err = row("a TCP port that Landlock does not allow", "127.0.0.1:8080");
        assert!(matches!(
            err.cause(),
            Cause::RefusedByPolicy(Policy::SecurityModule)
        ));
        let namespace = std::fs::read_link("/proc/self/ns/user").unwrap();
        if namespace.as_os_str() == "user:[4026531837]" {
            row(
                "a port below 1024 that Landlock does not allow, even with the capability",
                "127.0.0.1:80",
            );
        } else {
            // The capability may count here or not.
            let err = bind("127.0.0.1:80").unwrap_err();
            assert!(matches!(err.cause(), Cause::Denied { .. }), "{err:?}");
        }
        // It is refused before the address is checked, and the address is reported too.
        row(
            "a foreign address and Landlock, both at once",
            "198.51.100.1:8080",
        );
        return rerun::done();
    }
    in_namespace(|| {
        rerun::run(TEST, "landlock", &[]);
        sandbox::refuse_bind(1);
        let err = row("a seccomp filter on bind(2)", "127.0.0.1:8080");
        assert!(matches!(
            err.cause(),
            Cause::RefusedByPolicy(Policy::Filter)
        ));
    });
}

#[test]
fn missing_descriptors_are_reported() {
    const TEST: &str = "denied::missing_descriptors_are_reported";
    if rerun::role().as_deref() == Some("limited") {
        let mut files = Vec::new();
        while let Ok(file) = std::fs::File::open("/dev/null") {
            files.push(file);
        }
        let situation = "a process with 64 descriptors, all of them open";
        let err = if features::counts_descriptors() {
            row(situation, "127.0.0.1:80")
        } else {
            fails(&BindOptions::new(), situation, "127.0.0.1:80")
        };
        let Cause::TooManyOpenFiles { open, .. } = err.cause() else {
            panic!("{err:?}")
        };
        // 64, and those above the limit that were inherited.
        assert_eq!(open.is_some(), features::counts_descriptors());
        assert!(open.is_none_or(|open| (64..=70).contains(&open)));
        assert!(err.is_transient());
        return rerun::done();
    }
    in_namespace(|| {
        rerun::run(TEST, "limited", &["prlimit", "--nofile=64:64", "--"]);
    });
}
