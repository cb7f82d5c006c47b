//! `IPV6_V6ONLY`.

use super::*;

#[test]
fn only_v6_refuses_mapped_addresses() {
    in_namespace(|| {
        let only_v6 = BindOptions::new().only_v6(true);
        let accepts = |addr: &str| util::netns::connects(addr.parse().unwrap());
        // The kernel refuses a mapped address on such a socket, and opens the mapped wildcard to
        // IPv4.
        for text in [
            "[::ffff:127.0.0.1]:80",
            "[::ffff:0.0.0.0]:80",
            "-[::ffff:0.0.0.0]:80",
        ] {
            let errors = [
                only_v6.bind(text).unwrap_err(),
                only_v6.bind_udp(text).unwrap_err(),
                only_v6.bind(["127.0.0.1:81", text]).unwrap_err(),
                only_v6.bind_udp([text]).unwrap_err(),
            ];
            for err in errors {
                assert!(matches!(err.cause(), Cause::MappedOnV6Only { .. }), "{err}");
                assert_eq!((err.step(), err.raw_os_error()), (Step::Validate, None));
            }
            assert!(!only_v6.check([text]).is_ok());
            assert!(!only_v6.check_udp([text]).is_ok());
            assert!(!accepts("127.0.0.1:80") && !accepts("127.0.0.1:81"));
        }
        // The option is about `[::]`.
        only_v6.bind("127.0.0.1:80").unwrap();
        for (text, ipv4, ipv6) in [
            ("[::]:443", false, true),
            ("ipv6@*:443", false, true),
            ("0.0.0.0:443", true, false),
            ("*:443", true, true),
            ("443", true, true),
        ] {
            let listeners = only_v6.bind([text]).unwrap();
            assert_eq!(accepts("127.0.0.1:443"), ipv4, "{text}");
            assert_eq!(accepts("[::1]:443"), ipv6, "{text}");
            drop(listeners);
        }
        only_v6.bind(["0.0.0.0:443", "[::]:443"]).unwrap();
    });
}

#[test]
fn only_v6_keeps_wildcard_fallback() {
    in_namespace(|| {
        sandbox::refuse_family(10, 97);
        let only_v6 = BindOptions::new().only_v6(true);
        let listeners = only_v6.bind("*:443").unwrap();
        assert!(listeners.as_slice()[0].local_addr().is_ipv4());
        assert!(only_v6.check(["*:80"]).is_ok());
        assert!(only_v6.bind("[::]:80").is_err());
    });
}

#[test]
fn v6only_ignores_sysctl_default() {
    in_namespace(|| {
        for default in ["0", "1"] {
            set("net/ipv6/bindv6only", default);
            let v4 = || bind("0.0.0.0:80");
            for text in ["*:80", "[::]:80"] {
                let dual = bind(text).unwrap();
                assert!(
                    matches!(v4().unwrap_err().cause(), Cause::InUse { .. }),
                    "{text}"
                );
                drop(dual);
            }
            for text in ["ipv6@*:80", "ipv6@[::]:80", "[::1]:80"] {
                let v6 = bind(text).unwrap();
                drop(v4().unwrap_or_else(|err| panic!("beside {text}: {err}")));
                drop(v6);
            }
        }
    });
}
