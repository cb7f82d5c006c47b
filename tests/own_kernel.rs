//! Situations of a whole kernel, which no namespace contains: `ci/debian/kernel` boots one for them.
//! Elsewhere they are skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // what fails in a helper fails its test

mod util;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

use bindaddr::BindError;
use bindaddr::diagnosis::Hint;
use util::rerun;

const DOCS: &str = include_str!("../docs/diagnosis.md");

/// Binds `setting`, which fails for std and for this crate as the row of the docs says, with the
/// same hints.
#[track_caller]
fn row(situation: &str, setting: &str, sentence: &str, hints: &[&str]) -> BindError {
    let addr: SocketAddr = setting.parse().unwrap();
    let std = TcpListener::bind(addr).unwrap_err();
    let err = bindaddr::bind(setting).unwrap_err();
    assert_eq!(err.to_string(), sentence);
    let found = err.hints();
    assert_eq!(found.iter().map(Hint::text).collect::<Vec<_>>(), hints);
    let cause = format!("{:?}", err.cause());
    let cause = cause.split(|c: char| !c.is_alphanumeric()).next().unwrap();
    let row = format!("| {cause} | {situation} | {std} | `` {sentence} `` |");
    assert!(DOCS.contains(&row), "docs/diagnosis.md lacks\n{row}");
    err
}

/// Returns `true` if this kernel runs nothing but tests.
fn has_own_kernel(test: &str) -> bool {
    let is_own = std::env::var("BINDADDR_OWN_KERNEL").as_deref() == Ok("1");
    if !is_own {
        rerun::skip(test, "it takes a kernel of its own", "BINDADDR_OWN_KERNEL");
    }
    is_own
}

/// Refuses bind(2) to the processes of a cgroup, as systemd does for `SocketBindDeny=any`: a
/// program that returns 0.
const REFUSE_BIND: &str = r#"
    my ($bpf, $cgroup) = @ARGV;
    my $code = pack("CCsl CCsl", 0xb7, 0, 0, 0, 0x95, 0, 0, 0);
    my $license = "GPL\0";
    my $at = sub { unpack("J", pack("P", $_[0])) };
    open(my $directory, "<", $cgroup) or die "$cgroup: $!";
    # BPF_CGROUP_INET4_BIND and BPF_CGROUP_INET6_BIND of linux/bpf.h
    for my $attach (8, 9) {
        my $load = pack("L L Q Q L L Q L L x16 L L", 18, 2, $at->($code), $at->($license), 0, 0, 0, 0, 0, 0, $attach);
        my $program = syscall($bpf, 5, $load, length $load);
        $program >= 0 or die "load: $!";
        my $to = pack("L L L L", fileno($directory), $program, $attach, 0);
        syscall($bpf, 8, $to, length $to) == 0 or die "attach: $!";
    }
"#;

#[test]
fn cgroup_bpf_denial_is_reported() {
    const TEST: &str = "cgroup_bpf_denial_is_reported";
    if !has_own_kernel(TEST) {
        return;
    }
    if rerun::role().is_none() {
        rerun::run(TEST, "alone", &[]);
        return;
    }
    let root = std::env::temp_dir().join("bindaddr-cgroup2");
    fs::create_dir_all(&root).unwrap();
    let mut mount = Command::new("mount");
    let mounted = mount.args(["-t", "cgroup2", "none"]).arg(&root).status();
    assert!(mounted.unwrap().success());
    let cgroup = root.join("refused");
    fs::create_dir(&cgroup).unwrap();
    let mut perl = Command::new("perl");
    perl.args(["-e", REFUSE_BIND, &libc::SYS_bpf.to_string()]);
    assert!(perl.arg(&cgroup).status().unwrap().success());
    fs::write(cgroup.join("cgroup.procs"), "0").unwrap();
    let situations = [
        (
            "a cgroup BPF program (`SocketBindDeny=`), IPv4",
            "127.0.0.1:8080",
        ),
        (
            "a cgroup BPF program (`SocketBindDeny=`), IPv6",
            "[::1]:8080",
        ),
    ];
    for (situation, setting) in situations {
        row(
            situation,
            setting,
            &format!(
                "cannot listen on {setting}: denied by a BPF program (cgroup or LSM); \
                 running as root does not help"
            ),
            &["check `SocketBindDeny=` in the systemd unit"],
        );
    }
    rerun::done();
}

/// The unit of a socket is that of its process, or the one in which it was created.
#[cfg(feature = "cli")]
#[test]
fn unit_of_listener_is_named() {
    const TEST: &str = "unit_of_listener_is_named";
    if !has_own_kernel(TEST) {
        return;
    }
    if rerun::role().is_none() {
        rerun::run(TEST, "alone", &[]);
        return;
    }
    let root = Path::new("/sys/fs/cgroup");
    if !root.join("cgroup.procs").exists() {
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "cgroup2", "none"]).arg(root).status();
        assert!(mounted.unwrap().success());
    }
    let unit = root.join("system.slice/own.service");
    fs::create_dir_all(unit.join("worker")).unwrap();
    let unit_of = |listeners: &bindaddr::Listeners| {
        let sockets = bindaddr::host::listening_sockets().unwrap();
        let addr = listeners[0].local_addr();
        let own = sockets.iter().find(|socket| socket.addr() == addr).unwrap();
        own.unit().map(str::to_owned)
    };
    let outside = bindaddr::bind("127.0.0.1:0").unwrap();
    assert_eq!(unit_of(&outside), None);
    fs::write(unit.join("worker/cgroup.procs"), "0").unwrap();
    let inside = bindaddr::bind("127.0.0.1:0").unwrap();
    let own = Some("own.service".to_owned());
    assert_eq!(
        (unit_of(&outside), unit_of(&inside)),
        (own.clone(), own.clone())
    );
    // It can be named by its unit.
    let text = inside[0].local_addr().to_string();
    let check = |args: &[&str]| util::command::run(&[&["check", &text], args].concat()).2;
    assert_eq!(check(&[]), Some(1));
    assert_eq!(check(&["--running", "own.service"]), Some(0));
    assert_eq!(check(&["--running", "system.slice"]), Some(0));
    // Elsewhere, the kernel has the cgroup of the socket; since 5.8 it says so.
    fs::write(root.join("cgroup.procs"), "0").unwrap();
    assert_eq!((unit_of(&outside), unit_of(&inside)), (None, own));
    rerun::done();
}

#[test]
fn system_file_limit_is_reported() {
    const TEST: &str = "system_file_limit_is_reported";
    const MAX: &str = "/proc/sys/fs/file-max";
    if !has_own_kernel(TEST) {
        return;
    }
    if rerun::role().is_some() {
        // Those that are open are counted for each processor, and the limit is checked by that
        // rough count first.
        let mut open = Vec::new();
        while let Ok(file) = fs::File::open("/dev/null") {
            open.push(file);
        }
        row(
            "a system at its limit on open files",
            "127.0.0.1:8080",
            "cannot listen on 127.0.0.1:8080: the system-wide limit on open files is reached",
            &[],
        );
        drop(open);
        return rerun::done();
    }
    let before = fs::read_to_string(MAX).unwrap();
    let used = fs::read_to_string("/proc/sys/fs/file-nr").unwrap();
    let used: u64 = used.split('\t').next().unwrap().parse().unwrap();
    fs::write(MAX, (used + 500).to_string()).unwrap();
    // It does not limit a process with CAP_SYS_ADMIN.
    let without = [
        "setpriv",
        "--bounding-set=-sys_admin",
        "--inh-caps=-sys_admin",
        "--",
    ];
    let run = std::panic::catch_unwind(|| rerun::run(TEST, "limited", &without));
    fs::write(MAX, before).unwrap();
    run.unwrap();
}

/// AppArmor refuses sockets by `network`, and low ports by `capability`.
#[test]
fn apparmor_denial_is_reported() {
    const TEST: &str = "apparmor_denial_is_reported";
    if !has_own_kernel(TEST) {
        return;
    }
    let Ok(root) = std::env::var("BINDADDR_APPARMOR") else {
        rerun::skip(
            TEST,
            "AppArmor's tools are not here",
            "BINDADDR_REQUIRE_APPARMOR",
        );
        return;
    };
    let audit = "AppArmor is active: `journalctl -k -g apparmor` shows what it has denied, and `aa-status` its profiles";
    let module = |hints: &[Hint]| {
        let texts: Vec<&str> = hints.iter().map(Hint::text).collect();
        assert!(texts.contains(&audit), "{texts:?}");
        assert!(
            !texts.iter().any(|text| text.contains("SELinux")),
            "{texts:?}"
        );
    };
    match rerun::role().as_deref() {
        None => {
            for (role, rule) in [
                ("sockets", "deny network inet6,"),
                ("capability", "deny capability net_bind_service,"),
            ] {
                let profile = format!(
                    "abi <abi/3.0>,\nprofile {role} {{\nfile,\nnetwork,\ncapability,\nsignal,\n{rule}\n}}\n"
                );
                let file = std::env::temp_dir().join(role);
                fs::write(&file, profile).unwrap();
                let base = format!("{root}/etc/apparmor.d");
                let mut parser = Command::new(format!("{root}/sbin/apparmor_parser"));
                let parser = parser
                    .args(["--base", &base, "--skip-cache", "--replace"])
                    .arg(file);
                assert!(parser.status().unwrap().success());
                let exec = format!("{root}/usr/bin/aa-exec");
                rerun::run(TEST, role, &[&exec, "-p", role, "--"]);
            }
            return;
        }
        Some("sockets") => {
            let error = bindaddr::bind("[::1]:8080").unwrap_err();
            assert_eq!(
                error.to_string(),
                "cannot listen on [::1]:8080: a security module (SELinux or AppArmor) denies IPv6 sockets to this process"
            );
            module(&error.hints());
        }
        _ => {
            let error = bindaddr::bind("127.0.0.1:80").unwrap_err();
            assert_eq!(
                error.to_string(),
                "cannot listen on 127.0.0.1:80: denied by a security module (Landlock, SELinux or AppArmor); running as root \
                 does not help"
            );
            module(&error.hints());
        }
    }
    rerun::done();
}

#[test]
fn kernel_without_ipv6_is_reported() {
    const TEST: &str = "kernel_without_ipv6_is_reported";
    if Path::new("/proc/net/if_inet6").exists() {
        rerun::skip(TEST, "this kernel has IPv6", "BINDADDR_REQUIRE_NO_IPV6");
        return;
    }
    row(
        "a kernel that was built or started without IPv6",
        "[::1]:8080",
        "cannot listen on [::1]:8080: the kernel does not support IPv6",
        &["`127.0.0.1:8080` listens on loopback, for this host only"],
    );
    bindaddr::bind("127.0.0.1:8080").unwrap();
    let error = bindaddr::bind("[::]:8080").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot listen on [::]:8080: the kernel does not support IPv6"
    );
    // An entry that also has IPv4 is opened with IPv4.
    for setting in ["*:0", "localhost:0", "0.0.0.0:0"] {
        let listeners = bindaddr::bind(setting).unwrap();
        let addrs: Vec<SocketAddr> = listeners
            .iter()
            .map(bindaddr::Listener::local_addr)
            .collect();
        assert!(
            addrs.len() == 1 && addrs[0].is_ipv4(),
            "{setting}: {addrs:?}"
        );
        let check = bindaddr::check(setting);
        assert!(check.is_ok(), "{check}");
    }
}
