//! Sandboxes that a test puts its own thread in, for good.

use std::env::consts::ARCH;

use landlock::{AccessNet, Ruleset, RulesetAttr as _, RulesetCreated, RulesetStatus};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Refuses sockets of a family with the error `errno`, as `RestrictAddressFamilies=` does.
pub(crate) fn refuse_family(family: u64, errno: u32) {
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, family)
        .expect("it is one");
    let rule = SeccompRule::new(vec![condition]).expect("it has a condition");
    filter(libc::SYS_socket, vec![rule], errno);
}

/// Refuses bind(2) with the error `errno`, as `SystemCallFilter=` does.
pub(crate) fn refuse_bind(errno: u32) {
    filter(libc::SYS_bind, Vec::new(), errno);
}

fn filter(call: libc::c_long, rules: Vec<SeccompRule>, errno: u32) {
    let arch = ARCH.try_into().expect("seccompiler knows it");
    #[allow(clippy::useless_conversion)] // the number is an i32 on 32-bit systems
    let filter = SeccompFilter::new(
        [(call.into(), rules)].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        arch,
    );
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("it is a filter");
    apply_filter(&program).expect("the kernel has seccomp");
}

/// Refuses TCP ports to bind by Landlock; `false` where the kernel cannot.
pub(crate) fn refuse_tcp_ports() -> bool {
    let ruleset = Ruleset::default()
        .handle_access(AccessNet::BindTcp)
        .and_then(Ruleset::create)
        .and_then(RulesetCreated::restrict_self);
    ruleset.is_ok_and(|status| status.ruleset == RulesetStatus::FullyEnforced)
}
