//! Families that this process cannot use.

use super::*;

#[test]
fn disabled_ipv6_is_reported() {
    in_namespace(|| {
        set("net/ipv6/conf/lo/disable_ipv6", "1");
        let err = row("::1 where IPv6 is switched off on `lo`", "[::1]:80");
        let is = |err: &BindError, wanted| match err.cause() {
            Cause::FamilyUnavailable { why, .. } => *why == wanted,
            _ => false,
        };
        let by = |err: &BindError| match err.cause() {
            Cause::FamilyUnavailable {
                why: FamilyUnavailableReason::Sysctl { interface, .. },
                ..
            } => Some(*interface),
            _ => None,
        };
        assert_eq!(by(&err), Some("lo"));
        let texts = texts_of_hints(&err);
        assert_eq!(
            texts[texts.len() - 1],
            "`sysctl net.ipv6.conf.lo.disable_ipv6=0` enables IPv6 on lo"
        );
        set("net/ipv6/conf/lo/disable_ipv6", "0");
        bind("[::1]:80").expect("as the hint says");
        set("net/ipv6/conf/lo/disable_ipv6", "1");
        // Another interface may have one.
        cable();
        let err = bind("[2001:db8::1]:80").unwrap_err();
        assert!(matches!(err.cause(), Cause::NotOnThisHost(_)), "{err:?}");
        set("net/ipv6/conf/all/disable_ipv6", "1");
        for (situation, text) in [
            ("::1 where IPv6 is switched off", "[::1]:80"),
            (
                "an IPv6 address where IPv6 is switched off",
                "[2001:db8::1]:80",
            ),
        ] {
            let err = row(situation, text);
            assert_eq!(by(&err), Some("all"));
        }
        // A server that was open to this host only stays that.
        for text in [
            "[::1]:5000",
            "ipv6@localhost:5000",
            "-[::1]:5000",
            "[fe80::1%lo]:5000",
        ] {
            let err = bind(text).unwrap_err();
            follow_advice(&BindOptions::new(), &err);
            let optional = if text.starts_with('-') { "-" } else { "" };
            assert_eq!(
                replacements(&err),
                [format!("{optional}127.0.0.1:5000")],
                "{text}"
            );
            assert_eq!(err.hints()[0].kind(), HintKind::Replace);
        }
        bind("*:80").expect("IPv4 is there");
        let err = bind("[::1]:80").unwrap_err();
        let texts = texts_of_hints(&err);
        assert_eq!(
            texts[texts.len() - 1],
            "`sysctl net.ipv6.conf.all.disable_ipv6=0` enables IPv6 on every interface"
        );
        set("net/ipv6/conf/all/disable_ipv6", "0");
        bind("[::1]:80").unwrap();
        ip("link set lo down");
        let err = row("::1 while the loopback interface is down", "[::1]:80");
        assert!(is(&err, FamilyUnavailableReason::LoopbackDown));
        assert_eq!(texts_of_hints(&err), ["`ip link set lo up` brings it up"]);
        ip("link set lo up");
        bind("[::1]:80").expect("as the hint says");
    });
}

#[test]
fn sandbox_without_ipv6_is_reported() {
    in_namespace(|| {
        sandbox::refuse_family(10, 97);
        let err = row("an IPv6 socket in a sandbox without IPv6", "[::1]:80");
        assert_eq!(err.step(), Step::Socket);
        assert_eq!(replacements(&err), ["127.0.0.1:80"]);
        bind("*:80").expect("IPv4 is there");
    });
}

#[test]
fn policy_denied_ipv6_counts_as_missing_family() {
    const TEST: &str = "family::policy_denied_ipv6_counts_as_missing_family";
    // EPERM and EACCES of socket(2), as a filter, a BPF program or a security module gives them.
    let errno = match rerun::role().as_deref() {
        Some("not-permitted") => 1,
        Some("denied") => 13,
        _ => {
            return in_namespace(|| {
                rerun::run(TEST, "not-permitted", &[]);
                rerun::run(TEST, "denied", &[]);
            });
        }
    };
    sandbox::refuse_family(10, errno);
    let situation = match errno {
        1 => "an IPv6 socket denied by a seccomp filter",
        _ => "an IPv6 socket that a policy denies",
    };
    let err = row(situation, "[::1]:80");
    assert_eq!(err.step(), Step::Socket);
    assert_eq!(replacements(&err), ["127.0.0.1:80"]);
    for text in ["*:80", "localhost:80"] {
        let listeners = bind(text).expect("IPv4 is there");
        assert!(listeners.iter().all(|one| one.local_addr().is_ipv4()));
    }
    let listeners = bindaddr::bind(["127.0.0.1:80", "-[::1]:80"]).expect("it may be absent");
    assert_eq!(listeners.skipped().len(), 1);
    drop(listeners);
    assert!(bindaddr::check(["127.0.0.1:80", "-[::1]:80", "*:81"]).is_ok());
    assert!(bind("[::]:80").is_err());
    rerun::done();
}
