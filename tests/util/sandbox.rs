//! Sandboxes that a test puts its own thread in, for good.

use landlock::{AccessNet, Ruleset, RulesetAttr as _, RulesetCreated, RulesetStatus};
// The architectures of seccompiler; elsewhere the tests that need it are left out by their names.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod seccomp {
    use std::env::consts::ARCH;

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, apply_filter,
    };

    /// Refuses a system call with the error `errno`, if its first argument is `first`.
    pub(super) fn refuse(call: libc::c_long, first: Option<u64>, errno: u32) {
        let rules = first.map(|first| {
            let condition =
                SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, first)
                    .expect("it is one");
            SeccompRule::new(vec![condition]).expect("it has a condition")
        });
        let arch = ARCH.try_into().expect("seccompiler knows it");
        let filter = SeccompFilter::new(
            [(call, rules.into_iter().collect())].into(),
            SeccompAction::Allow,
            SeccompAction::Errno(errno),
            arch,
        );
        let program: BpfProgram = filter.and_then(TryInto::try_into).expect("it is a filter");
        apply_filter(&program).expect("the kernel has seccomp");
    }
}
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
)))]
mod seccomp {
    pub(super) fn refuse(_: libc::c_long, _: Option<u64>, _: u32) {
        panic!("seccompiler does not know this machine");
    }
}

/// Refuses sockets of a family with the error `errno`, as `RestrictAddressFamilies=` does.
pub(crate) fn refuse_family(family: u64, errno: u32) {
    seccomp::refuse(libc::SYS_socket, Some(family), errno);
}

/// Refuses bind(2) with the error `errno`, as `SystemCallFilter=` does.
pub(crate) fn refuse_bind(errno: u32) {
    seccomp::refuse(libc::SYS_bind, None, errno);
}

/// Refuses `epoll_ctl(2)` with `ENOSPC`, as the kernel does where the user has registered too many
/// descriptors (`fs.epoll.max_user_watches`).
pub(crate) fn refuse_epoll() {
    seccomp::refuse(libc::SYS_epoll_ctl, None, libc::ENOSPC.unsigned_abs());
}

/// Refuses TCP ports to bind by Landlock; `false` where the kernel cannot.
pub(crate) fn refuse_tcp_ports() -> bool {
    let ruleset = Ruleset::default()
        .handle_access(AccessNet::BindTcp)
        .and_then(Ruleset::create)
        .and_then(RulesetCreated::restrict_self);
    ruleset.is_ok_and(|status| status.ruleset == RulesetStatus::FullyEnforced)
}

/// Sets how many descriptors this process may have.
pub(crate) fn limit_descriptors(count: u32) {
    let mut prlimit = std::process::Command::new("prlimit");
    let pid = std::process::id().to_string();
    let status = prlimit
        .args(["--pid", &pid, &format!("--nofile={count}:4096")])
        .status();
    assert!(status.expect("util-linux is there").success());
}
