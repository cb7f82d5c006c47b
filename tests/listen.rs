//! `ListenAddr`: every spelling, every misspelling, and the laws of the grammar.

mod util;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bindaddr::addr::{Family, Host, Keyword, ParseError, ParseErrorKind, Zone};
use bindaddr::diagnosis::HintKind;
use bindaddr::{ListenAddr, ListenAddrs};
use proptest::prelude::*;

#[track_caller]
fn addr(text: &str) -> ListenAddr {
    text.parse().unwrap_or_else(|err| panic!("{err}"))
}

#[test]
fn parse_accepts_each_spelling() {
    // Written, canonical.
    for (written, canonical) in [
        ("8080", "*:8080"),
        ("0", "*:0"),
        ("8000-8010", "*:8000-8010"),
        ("80-80", "*:80"),
        ("*:8080", "*:8080"),
        ("ipv4@8080", "ipv4@*:8080"),
        ("ipv6@*:8080", "ipv6@*:8080"),
        ("0.0.0.0:8080", "0.0.0.0:8080"),
        ("ipv4@0.0.0.0:8080", "ipv4@0.0.0.0:8080"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("192.168.71.67:65535", "192.168.71.67:65535"),
        ("224.0.0.1:80", "224.0.0.1:80"),
        ("255.255.255.255:80", "255.255.255.255:80"),
        ("10.0.0.255:80", "10.0.0.255:80"),
        ("10.0.0.1:80-90", "10.0.0.1:80-90"),
        ("[::]:80", "[::]:80"),
        ("ipv6@[::]:80", "ipv6@[::]:80"),
        ("[::1]:80", "[::1]:80"),
        ("[0:0:0:0:0:0:0:1]:80", "[::1]:80"),
        ("[2001:DB8::A]:80", "[2001:db8::a]:80"),
        ("[::ffff:192.168.71.67]:80", "[::ffff:192.168.71.67]:80"),
        (
            "ipv4@[::ffff:192.168.71.67]:80",
            "ipv4@[::ffff:192.168.71.67]:80",
        ),
        ("[::ffff:0.0.0.0]:80", "[::ffff:0.0.0.0]:80"),
        ("[fe80::1%eth0]:80", "[fe80::1%eth0]:80"),
        ("[fe80::1%eth0.100]:80", "[fe80::1%eth0.100]:80"),
        ("[fe80::1%br-lan]:80", "[fe80::1%br-lan]:80"),
        ("[fe80::1%3]:80", "[fe80::1%3]:80"),
        ("[fe80::1%03]:80", "[fe80::1%3]:80"),
        // The index 25, as std reads it, and not an encoded percent sign.
        ("[fe80::1%25]:80", "[fe80::1%25]:80"),
        ("[fe80::1%0]:80", "[fe80::1]:80"),
        ("[ff02::1%eth0]:80", "[ff02::1%eth0]:80"),
        ("localhost:8080", "localhost:8080"),
        ("LocalHost:8080", "localhost:8080"),
        ("ipv4@localhost:80", "ipv4@localhost:80"),
        ("ipv6@localhost:80", "ipv6@localhost:80"),
        ("eth0:8080", "eth0:8080"),
        ("eth0.100:8080", "eth0.100:8080"),
        ("br-3f2a:8080", "br-3f2a:8080"),
        ("any:80", "any:80"),
        ("ipv4@eth0:8080", "ipv4@eth0:8080"),
        ("eth0:8000-8010", "eth0:8000-8010"),
        ("foo:1234-5678", "foo:1234-5678"),
        ("example.org:80", "example.org:80"),
        ("10.0.0.0/8:8080", "10.0.0.0/8:8080"),
        ("10.0.0.1/32:8080", "10.0.0.1/32:8080"),
        ("0.0.0.0/0:8080", "0.0.0.0/0:8080"),
        ("[fd00::/8]:8080", "[fd00::/8]:8080"),
        ("ipv6@[fd00::/8]:8080", "ipv6@[fd00::/8]:8080"),
        ("_:80", "_:80"),
        ("_local_:80", "_local_:80"),
        ("_private_:80", "_private_:80"),
        ("_public_:80", "_public_:80"),
        ("_default_:80", "_default_:80"),
        ("_site_:80", "_private_:80"),
        ("_global_:80", "_public_:80"),
        ("-[::1]:80", "-[::1]:80"),
        ("-127.0.0.1:80", "-127.0.0.1:80"),
        ("-ipv4@eth0:80", "-ipv4@eth0:80"),
        ("-*:80", "-*:80"),
    ] {
        let read = addr(written);
        assert_eq!(read.to_string(), canonical, "{written:?}");
        assert_eq!(addr(canonical), read, "{written:?}");
        assert_eq!(ListenAddr::try_from(written).as_ref(), Ok(&read));
        assert_eq!(ListenAddr::try_from(written.to_owned()), Ok(read));
    }
}

#[test]
fn listen_addr_keeps_text_as_written() {
    let read = addr("-ipv6@[fe80::1%eth0]:8000-8010");
    assert!(read.is_optional());
    assert_eq!(read.family(), Some(Family::Ipv6));
    assert_eq!(read.ports(), 8000..=8010);
    assert_eq!(read.port(), 8000);
    assert!(!addr("[::1]:80").is_optional());
    let Host::Ip { ip, zone, .. } = read.host() else {
        panic!("{read:?}")
    };
    assert_eq!(*ip, "fe80::1".parse::<IpAddr>().unwrap());
    assert_eq!(*zone, Some(Zone::Name("eth0".into())));

    assert_eq!(addr("80").host(), &Host::Any);
    assert_eq!(addr("localhost:80").host(), &Host::Localhost);
    assert_eq!(addr("_site_:80").host(), &Host::Keyword(Keyword::Private));
    let Host::Network(network) = addr("10.0.0.0/8:80").host().clone() else {
        panic!("a network")
    };
    assert_eq!(
        (network.first().to_string().as_str(), network.prefix_len()),
        ("10.0.0.0", 8)
    );
}

#[test]
fn default_port_replaces_missing_port() {
    for (written, canonical) in [
        ("127.0.0.1", "127.0.0.1:443"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("*", "*:443"),
        ("80", "*:80"),
        ("localhost", "localhost:443"),
        ("eth0", "eth0:443"),
        ("ipv4@eth0", "ipv4@eth0:443"),
        ("::", "[::]:443"),
        ("::1", "[::1]:443"),
        ("2001:db8::1", "[2001:db8::1]:443"),
        ("1:2:3:4:5:6:7:8", "[1:2:3:4:5:6:7:8]:443"),
        ("::ffff:1.2.3.4", "[::ffff:1.2.3.4]:443"),
        ("fe80::1%eth0", "[fe80::1%eth0]:443"),
        ("[::1]", "[::1]:443"),
        ("-[::1]", "-[::1]:443"),
        ("10.0.0.0/8", "10.0.0.0/8:443"),
        ("[fd00::/8]", "[fd00::/8]:443"),
        ("_private_", "_private_:443"),
    ] {
        let read = ListenAddr::parse_with_default_port(written, 443);
        assert_eq!(
            read.map(|read| read.to_string()).as_deref(),
            Ok(canonical),
            "{written:?}"
        );
    }
    for (written, kind) in [
        ("", ParseErrorKind::Empty),
        ("127.0.0.1:", ParseErrorKind::EmptyPort),
        (":80", ParseErrorKind::EmptyHost),
        // Two readings with a default port, too.
        ("::1:80", ParseErrorKind::AmbiguousIpv6),
    ] {
        let err = ListenAddr::parse_with_default_port(written, 443).unwrap_err();
        assert_eq!(err.kind(), kind, "{err}");
    }
}

#[test]
fn from_host_accepts_each_host() {
    for (written, canonical) in [
        (
            "fe80::f4e5:98ff:fe22:7461",
            "[fe80::f4e5:98ff:fe22:7461]:443",
        ),
        ("2001:db8::10:53", "[2001:db8::10:53]:443"),
        ("fd00::1:2", "[fd00::1:2]:443"),
        ("::1:80", "[::1:80]:443"),
        ("::1:080", "[::1:80]:443"),
        ("[::1]", "[::1]:443"),
        ("::", "[::]:443"),
        ("::ffff:10.0.0.1", "[::ffff:10.0.0.1]:443"),
        ("fe80::1%eth0", "[fe80::1%eth0]:443"),
        ("[fe80::1%2]", "[fe80::1%2]:443"),
        ("127.0.0.1", "127.0.0.1:443"),
        ("*", "*:443"),
        ("LocalHost", "localhost:443"),
        ("eth0", "eth0:443"),
        ("web-7d4b9c6f5d-abcde", "web-7d4b9c6f5d-abcde:443"),
        ("10.0.0.0/8", "10.0.0.0/8:443"),
        ("[fd00::/8]", "[fd00::/8]:443"),
        ("_site_", "_private_:443"),
        ("ipv4@eth0", "ipv4@eth0:443"),
        ("ipv6@*", "ipv6@*:443"),
        ("-::1", "-[::1]:443"),
        ("-ipv6@eth0", "-ipv6@eth0:443"),
    ] {
        let read = ListenAddr::from_host(written, 443).unwrap_or_else(|err| panic!("{err}"));
        assert_eq!(read.to_string(), canonical);
        match written.parse::<Host>() {
            Ok(host) => {
                assert_eq!(ListenAddr::from((host.clone(), 443)), read);
                assert_eq!(host.to_string().parse(), Ok(host));
            }
            Err(_) => assert!(
                written.starts_with('-') || written.contains('@'),
                "{written}"
            ),
        }
    }
}

#[test]
fn from_hosts_accepts_lists() {
    let addrs = ListenAddrs::from_hosts("127.0.0.1,::1:80 -eth0\tipv4@_local_", 443);
    let canonical = "127.0.0.1:443, [::1:80]:443, -eth0:443, ipv4@_local_:443";
    assert_eq!(addrs.unwrap().to_string(), canonical);
    let addrs = ListenAddrs::from_each_host(["127.0.0.1, eth0", "fd00::1:2"], 0);
    let canonical = "127.0.0.1:0, eth0:0, [fd00::1:2]:0";
    assert_eq!(addrs.unwrap().to_string(), canonical);

    let err = ListenAddrs::from_hosts("127.0.0.1,443, [::1]:80,", 8080).unwrap_err();
    assert_eq!(
        err.to_string(),
        "(1) entry 2 of 4: invalid listen address \"443\": expected a host without the port `443`; (2) entry 3 of 4: invalid listen address \"[::1]:80\": expected a host without the port `80`; write `[::1]`; (3) entry 4 of 4: invalid listen address \"\": it is empty; write `127.0.0.1` for this host only or `*` for every \
         address"
    );
    assert_eq!(err.errors()[1].offset(), 15);
    let err = ListenAddrs::from_each_host(["127.0.0.1", "443"], 8080).unwrap_err();
    assert_eq!(
        err.errors()[0].error().kind(),
        ParseErrorKind::UnexpectedPort
    );
    assert!(ListenAddrs::from_each_host([""; 0], 8080).is_err());
    assert!(ListenAddrs::from_hosts("", 8080).is_err());
}

#[test]
fn listen_addrs_dereferences_to_a_slice() {
    let addrs: ListenAddrs = "*:80, -[::1]:443".parse().unwrap();
    assert_eq!(addrs.len(), 2);
    assert_eq!(addrs.first(), Some(&addr("*:80")));
    assert!(addrs[1].is_optional() && !addrs.is_empty());
    assert_eq!(ListenAddrs::from(addrs.to_vec()), addrs);
    assert_eq!(addrs.iter().cloned().collect::<ListenAddrs>(), addrs);
    assert_eq!(ListenAddrs::from(Vec::new()), ListenAddrs::default());
    // Nothing to bind, which is an error and never a wildcard.
    let err = bindaddr::bind(ListenAddrs::default()).unwrap_err();
    assert!(matches!(err.cause(), bindaddr::Cause::EmptyList), "{err}");
}

/// Text of a `Host`, kind, the place of the mistake, what the message says after the text, and
/// `true` if `ListenAddr::from_host` returns the same error.
#[rustfmt::skip] // one row a misspelling
fn host_misspellings() -> Vec<(&'static str, ParseErrorKind, &'static str, &'static str, bool)> {
    #[allow(clippy::enum_glob_use)]
    use ParseErrorKind::*;

    vec![
        ("", Empty, "", "it is empty; write `127.0.0.1` for this host only or `*` for every address", true),
        ("127.0.0.1:80", UnexpectedPort, "80", "expected a host without the port `80`; write `127.0.0.1`", true),
        ("127.0.0.1:0", UnexpectedPort, "0", "expected a host without the port `0`; write `127.0.0.1`", true),
        ("127.0.0.1:", UnexpectedPort, "", "expected a host without a port; write `127.0.0.1`", true),
        ("[::1]:80", UnexpectedPort, "80", "expected a host without the port `80`; write `[::1]`", true),
        ("eth0:8000-8010", UnexpectedPort, "8000-8010", "expected a host without the port `8000-8010`; write `eth0`", true),
        ("*:80", UnexpectedPort, "80", "expected a host without the port `80`; write `*`", true),
        ("localhost:80", UnexpectedPort, "80", "expected a host without the port `80`; write `localhost`", true),
        (":::80", UnexpectedPort, "80", "expected a host without the port `80`; write `::`", true),
        ("fe80::1%eth0:80", UnexpectedPort, "80", "expected a host without the port `80`; write `fe80::1%eth0`", true),
        ("1:2:3:4:5:6:7:8:80", UnexpectedPort, "80", "expected a host without the port `80`; write `1:2:3:4:5:6:7:8`", true),
        // Every address, or the port of an address that is missing?
        ("8080", UnexpectedPort, "8080", "expected a host without the port `8080`", true),
        ("8000-8010", UnexpectedPort, "8000-8010", "expected a host without the port `8000-8010`", true),
        ("70000", LegacyIpv4, "70000", "`70000` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`", true),
        (":80", EmptyHost, "", "the host is empty (an unset environment variable?); write `localhost` for this host only or `*` for every address", true),
        ("-8080", SignedPort, "-8080", "the port `-8080` has a sign", true),
        ("-[::1]", UnexpectedOptional, "-", "unexpected leading `-`; a host cannot be optional here; write `[::1]`", false),
        ("-eth0", UnexpectedOptional, "-", "unexpected leading `-`; a host cannot be optional here; write `eth0`", false),
        ("-ipv4@eth0", UnexpectedOptional, "-", "unexpected leading `-`; a host cannot be optional here", false),
        ("ipv4@*", UnexpectedFamily, "ipv4@", "expected a host without the family `ipv4@`; write `0.0.0.0`", false),
        ("ipv6@*", UnexpectedFamily, "ipv6@", "expected a host without the family `ipv6@`; write `*` for both families", false),
        ("ipv6@::", UnexpectedFamily, "ipv6@", "expected a host without the family `ipv6@`; write `::` for both families", false),
        ("ipv4@0.0.0.0", UnexpectedFamily, "ipv4@", "expected a host without the family `ipv4@`; write `0.0.0.0`", false),
        ("ipv4@localhost", UnexpectedFamily, "ipv4@", "expected a host without the family `ipv4@`; write `127.0.0.1`", false),
        ("ipv6@localhost", UnexpectedFamily, "ipv6@", "expected a host without the family `ipv6@`; write `::1`", false),
        ("ipv4@eth0", UnexpectedFamily, "ipv4@", "expected a host without the family `ipv4@`; write `eth0` for both families", false),
        ("ipv6@_private_", UnexpectedFamily, "ipv6@", "expected a host without the family `ipv6@`; write `_private_` for both families", false),
        ("ipv6@fd00::1:2", UnexpectedFamily, "ipv6@", "expected a host without the family `ipv6@`; write `fd00::1:2`", false),
        ("ipv4@10.0.0.0/8", UnexpectedFamily, "ipv4@", "expected a host without the family `ipv4@`; write `10.0.0.0/8`", false),
        ("ipv4@eth0:80", UnexpectedPort, "80", "expected a host without the port `80`", false),
        ("ipv4@::1", FamilyMismatch, "::1", "`::1` is not of the family before the `@`; write `::1`", true),
        ("fd00::/8", UnbracketedNetwork, "fd00::/8", "an IPv6 network is written in brackets, with its prefix length; write `[fd00::/8]`", true),
        ("127.1", LegacyIpv4, "127.1", "`127.1` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`", true),
        ("127.0.0.1,::1", List, ",", "expected one address, and the `,` at byte 9 begins another", true),
        ("unix", UnixSocket, "unix", "Unix sockets are not supported here; write an IP address and a port", true),
        ("http://127.0.0.1:80", Url, "http://", "expected an address, not a URL", true),
        ("$HOST", UnexpandedVariable, "$HOST", "the variable `$HOST` was not expanded", true),
    ]
}

#[test]
fn invalid_hosts_have_specific_errors() {
    for (written, kind, place, sentence, both) in host_misspellings() {
        let err = written.parse::<Host>().expect_err(written);
        assert_eq!(err.kind(), kind, "{written:?}: {err}");
        assert_eq!(&written[err.span()], place, "{written:?}: {err}");
        let message = format!("invalid listen address \"{written}\": {sentence}");
        assert_eq!(err.to_string(), message);
        let addr = ListenAddr::from_host(written, 443);
        match addr {
            Err(err) if both => assert_eq!(err.to_string(), message),
            addr => assert!(
                !both && (addr.is_ok() || written.contains(":80")),
                "{addr:?}"
            ),
        }
    }
}

/// Written, kind, the place of the mistake, what the message says after the text.
#[rustfmt::skip] // one row a misspelling
#[allow(clippy::too_many_lines)]
fn misspellings() -> Vec<(&'static str, ParseErrorKind, &'static str, &'static str)> {
    #[allow(clippy::enum_glob_use)]
    use ParseErrorKind::*;

    vec![
        ("", Empty, "", "it is empty; write `127.0.0.1:8080` for this host only or `*:8080` for every address"),
        (" 127.0.0.1:80", WhiteSpace, " ", "unexpected white space at byte 0; write `127.0.0.1:80`"),
        ("127.0.0.1 :80", WhiteSpace, " ", "unexpected white space at byte 9; write `127.0.0.1:80`"),
        ("127.0.0.1:80\n", WhiteSpace, "\n", "unexpected white space at byte 12; write `127.0.0.1:80`"),
        ("127.0.0.1\t:80", WhiteSpace, "\t", "unexpected white space at byte 9; write `127.0.0.1:80`"),
        ("127.0.0.1\0:80", ControlCharacter, "\0", "unexpected control character `\\0` at byte 9; write `127.0.0.1:80`"),
        ("\u{7f}:80", ControlCharacter, "\u{7f}", "unexpected control character `\\u{7f}` at byte 0"),
        ("café0:80", NonAscii, "é", "`é` at byte 3 is not ASCII"),
        ("１:80", NonAscii, "１", "`１` at byte 0 is not ASCII"),
        ("$HOST:80", UnexpandedVariable, "$HOST", "the variable `$HOST` was not expanded"),
        ("${HOST}:80", UnexpandedVariable, "${HOST}", "the variable `${HOST}` was not expanded"),
        ("eth0!:80", InvalidCharacter, "!", "unexpected `!` at byte 4; a name has letters, digits, `.`, `_` and `-`"),
        ("0.0.0.0:$PORT", UnexpandedVariable, "$PORT", "the variable `$PORT` was not expanded"),
        ("$(POD_IP):8080", UnexpandedVariable, "$(POD_IP)", "the variable `$(POD_IP)` was not expanded"),
        ("127.0.0.1:%(port)s", UnexpandedVariable, "%(port)s", "the variable `%(port)s` was not expanded"),
        ("<HOST>:80", UnexpandedVariable, "<HOST>", "the variable `<HOST>` was not expanded"),
        ("@HOST@:80", UnexpandedVariable, "@HOST@", "the variable `@HOST@` was not expanded"),
        ("$:80", InvalidCharacter, "$", "unexpected `$` at byte 0 (a variable that was not expanded?)"),
        ("127.0.0.1:undefined", InvalidPort, "undefined", "`undefined` is not a port (an unset variable?)"),
        ("127.0.0.1:None", InvalidPort, "None", "`None` is not a port (an unset variable?)"),
        ("vlan10@eth0:80", UnknownFamily, "vlan10", "`vlan10@eth0` is how `ip` shows an interface and its link; the interface is `vlan10`; write `vlan10:80`"),
        ("sit0@NONE:80", UnknownFamily, "sit0", "`sit0@NONE` is how `ip` shows an interface and its link; the interface is `sit0`; write `sit0:80`"),
        ("user@host:80", UnknownFamily, "user", "unknown address family `user@`; expected `ipv4@` or `ipv6@`"),
        ("sd-listen", InheritedSocket, "sd-listen", "a socket of the service manager has no name here; write the address of its unit (`ListenStream=`), and a server with socket activation takes the socket"),
        ("eth0@if5:80", UnknownFamily, "eth0", "`eth0@if5` is how `ip` shows an interface and its link; the interface is `eth0`; write `eth0:80`"),
        ("http://127.0.0.1:80", Url, "http://", "expected an address, not a URL; write `127.0.0.1:80`"),
        ("http://h:80/", Url, "http://", "expected an address, not a URL"),
        ("tcp://h:p", Url, "tcp://", "expected an address, not a URL"),
        ("127.0.0.1:80/", Path, "/", "unexpected path `/`; write `127.0.0.1:80`"),
        ("127.0.0.1:80/index", Path, "/index", "unexpected path `/index`; write `127.0.0.1:80`"),
        ("localhost:80?x", Path, "?x", "unexpected path `?x`; write `localhost:80`"),
        ("127.0.0.1/", Path, "/", "unexpected path `/`; write `127.0.0.1:8080`"),
        ("localhost/x", Path, "/x", "unexpected path `/x`; write `localhost:8080`"),
        ("/run/server.sock", UnixSocket, "/run/server.sock", "Unix sockets are not supported here; write an IP address and a port"),
        ("./p", UnixSocket, "./p", "Unix sockets are not supported here; write an IP address and a port"),
        ("unix:/p", UnixSocket, "unix:/p", "Unix sockets are not supported here; write an IP address and a port"),
        ("unix:///p", UnixSocket, "unix:///p", "Unix sockets are not supported here; write an IP address and a port"),
        ("unix", UnixSocket, "unix", "Unix sockets are not supported here; write an IP address and a port"),
        ("../p", UnixSocket, "../p", "Unix sockets are not supported here; write an IP address and a port"),
        ("~/p", UnixSocket, "~/p", "Unix sockets are not supported here; write an IP address and a port"),
        ("//127.0.0.1:80", Url, "//", "expected an address, not a URL; write `127.0.0.1:80`"),
        ("127.0.0.1:80,[::1]:80", List, ",", "expected one address, and the `,` at byte 12 begins another"),
        ("127.0.0.1:80, [::1]:80", List, ",", "expected one address, and the `,` at byte 12 begins another"),
        ("*:80,*:81", List, ",", "expected one address, and the `,` at byte 4 begins another"),
        ("127.0.0.1:80 [::1]:80", WhiteSpace, " ", "unexpected white space at byte 12"),
        ("127.0.0.1:8080 ssl", WhiteSpace, " ", "unexpected white space at byte 14"),
        ("127.0.0.1: 80", WhiteSpace, " ", "unexpected white space at byte 10; write `127.0.0.1:80`"),
        ("[fe80::1%Ökonet]:80", NonAscii, "Ö", "`Ö` at byte 9 is not ASCII; write the index of the zone"),
        ("10/8:80", LegacyIpv4, "10", "`10` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("10.1/x:80", LegacyIpv4, "10.1", "`10.1` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("8080/tcp", Path, "/tcp", "unexpected path `/tcp`; write `8080`"),
        ("8080/", Path, "/", "unexpected path `/`; write `8080`"),
        ("*:80/tcp", Path, "/tcp", "unexpected path `/tcp`; write `*:80`"),
        ("*%lo:53", ZoneNotLinkLocal, "lo", "only link-local addresses have a zone; write `lo:53` for the addresses of that interface"),
        ("*%2:53", ZoneNotLinkLocal, "2", "only link-local addresses have a zone"),
        ("-::1:80", AmbiguousIpv6, "::1:80", "ambiguous: the address `::1:80` without a port, or `::1` with port 80; write `-[::1:80]:8080` for the address or `-[::1]:80` for port 80"),
        ("-ipv6@::1:80", AmbiguousIpv6, "::1:80", "ambiguous: the address `::1:80` without a port, or `::1` with port 80; write `-ipv6@[::1:80]:8080` for the address or `-ipv6@[::1]:80` for port 80"),
        ("ipv4@::1:80", AmbiguousIpv6, "::1:80", "ambiguous: the address `::1:80` without a port, or `::1` with port 80"),
        ("ipv4@:::80", UnbracketedIpv6, ":::80", "an IPv6 address with a port needs brackets"),
        ("-[fe80::2]%eth1:80", ZoneOutsideBrackets, "%eth1", "the zone belongs inside the brackets, after the address; write `-[fe80::2%eth1]:80`"),
        ("[fe80::1]80%eth0", ZoneOutsideBrackets, "%eth0", "the zone belongs inside the brackets, after the address"),
        ("unix//p|0222", UnixSocket, "unix//p|0222", "Unix sockets are not supported here; write an IP address and a port"),
        ("unix@p", UnixSocket, "unix@p", "Unix sockets are not supported here; write an IP address and a port"),
        ("@abs", UnixSocket, "@abs", "Unix sockets are not supported here; write an IP address and a port"),
        ("-/run/x", UnixSocket, "/run/x", "Unix sockets are not supported here; write an IP address and a port"),
        (":8080", EmptyHost, "", "the host is empty (an unset environment variable?); write `localhost:8080` for this host only or `*:8080` for every address"),
        ("[]:80", EmptyHost, "[]", "the host is empty (an unset environment variable?); write `localhost:80` for this host only or `*:80` for every address"),
        ("ipv4@", EmptyHost, "", "the host is empty (an unset environment variable?); write `ipv4@localhost:8080` for this host only or `ipv4@*:8080` for every address"),
        ("ipv4@:80", EmptyHost, "", "the host is empty (an unset environment variable?); write `ipv4@localhost:80` for this host only or `ipv4@*:80` for every address"),
        ("-", EmptyHost, "", "the host is empty (an unset environment variable?); write `-localhost:8080` for this host only or `-*:8080` for every address"),
        ("-:80", EmptyHost, "", "the host is empty (an unset environment variable?); write `-localhost:80` for this host only or `-*:80` for every address"),
        ("tcp4@127.0.0.1:80", UnknownFamily, "tcp4", "unknown address family `tcp4@`; expected `ipv4@` or `ipv6@`"),
        ("ipv4@ipv6@*:80", InvalidCharacter, "@", "unexpected `@` at byte 9; a name has letters, digits, `.`, `_` and `-`"),
        ("ipv6@127.0.0.1:80", FamilyMismatch, "127.0.0.1", "`127.0.0.1` is not of the family before the `@`; write `127.0.0.1:80`"),
        ("ipv4@[::1]:80", FamilyMismatch, "[::1]", "`[::1]` is not of the family before the `@`; write `[::1]:80`"),
        ("ipv6@[::ffff:1.2.3.4]:80", FamilyMismatch, "[::ffff:1.2.3.4]", "`[::ffff:1.2.3.4]` is not of the family before the `@`; write `[::ffff:1.2.3.4]:80`"),
        ("ipv4@[::]:80", FamilyMismatch, "[::]", "`[::]` is not of the family before the `@`; write `ipv4@*:80`"),
        ("ipv4@[fd00::/8]:80", FamilyMismatch, "[fd00::/8]", "`[fd00::/8]` is not of the family before the `@`; write `[fd00::/8]:80`"),
        ("127.0.0.1", MissingPort, "127.0.0.1", "the port is missing; write `127.0.0.1:8080`"),
        ("::1", MissingPort, "::1", "the port is missing; write `[::1]:8080`"),
        ("::", MissingPort, "::", "the port is missing; write `[::]:8080`"),
        ("[::]", MissingPort, "[::]", "the port is missing; write `[::]:8080`"),
        ("[::1]", MissingPort, "[::1]", "the port is missing; write `[::1]:8080`"),
        ("localhost", MissingPort, "localhost", "the port is missing; write `localhost:8080`"),
        ("*", MissingPort, "*", "the port is missing; write `*:8080`"),
        ("eth0", MissingPort, "eth0", "the port is missing; write `eth0:8080`"),
        ("fe80::1%eth0", MissingPort, "fe80::1%eth0", "the port is missing; write `[fe80::1%eth0]:8080`"),
        ("127.0.0.1:", EmptyPort, "", "the port is empty; write `127.0.0.1:8080`"),
        ("localhost:80-", EmptyPort, "", "the port range has no end"),
        ("127.0.0.1:http", InvalidPort, "http", "`http` is not a port (a number from 0 to 65535)"),
        ("0x50:0x50", LegacyIpv4, "0x50", "`0x50` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("127.0.0.1:0x50", InvalidPort, "0x50", "`0x50` is not a port (a number from 0 to 65535)"),
        ("127.0.0.1:80a", InvalidPort, "80a", "`80a` is not a port (a number from 0 to 65535)"),
        ("127.0.0.1:1.5", InvalidPort, "1.5", "`1.5` is not a port (a number from 0 to 65535)"),
        ("+80", SignedPort, "+80", "the port `+80` has a sign; write `80` for every address"),
        ("-1", SignedPort, "-1", "the port `-1` has a sign; write `1` for every address"),
        ("-8080", SignedPort, "-8080", "the port `-8080` has a sign; write `8080` for every address"),
        ("127.0.0.1:+80", SignedPort, "+80", "the port `+80` has a sign; write `127.0.0.1:80`"),
        ("127.0.0.1:-1", SignedPort, "-1", "the port `-1` has a sign"),
        ("080", LeadingZeroPort, "080", "the port `080` has leading zeros; write `80`"),
        ("127.0.0.1:080", LeadingZeroPort, "080", "the port `080` has leading zeros; write `127.0.0.1:80`"),
        ("127.0.0.1:00", LeadingZeroPort, "00", "the port `00` has leading zeros; write `127.0.0.1:0`"),
        ("65536", PortTooLarge, "65536", "the port `65536` is too large; the largest is 65535"),
        ("127.0.0.1:65536", PortTooLarge, "65536", "the port `65536` is too large; the largest is 65535"),
        ("127.0.0.1:99999999999999999999", PortTooLarge, "99999999999999999999", "the port `99999999999999999999` is too large; the largest is 65535"),
        ("localhost:2-1", ReversedRange, "2-1", "the port range `2-1` ends before it starts; write `localhost:1-2`"),
        ("localhost:1-999999999999", PortTooLarge, "999999999999", "the port `999999999999` is too large; the largest is 65535"),
        ("localhost:0-10", RangeFromZero, "0-10", "the port range `0-10` starts at 0; start at 1, or write port `0` alone for any free port"),
        ("localhost:1-2-3", InvalidPort, "2-3", "`2-3` is not a port (a number from 0 to 65535)"),
        ("::1:80", AmbiguousIpv6, "::1:80", "ambiguous: the address `::1:80` without a port, or `::1` with port 80; write `[::1:80]:8080` for the address or `[::1]:80` for port 80"),
        ("fe80::1:2", AmbiguousIpv6, "fe80::1:2", "ambiguous: the address `fe80::1:2` without a port, or `fe80::1` with port 2; write `[fe80::1:2]:8080` for the address or `[fe80::1]:2` for port 2"),
        ("2001:db8::1:8080", AmbiguousIpv6, "2001:db8::1:8080", "ambiguous: the address `2001:db8::1:8080` without a port, or `2001:db8::1` with port 8080; write `[2001:db8::1:8080]:8080` for the address or `[2001:db8::1]:8080` for port 8080"),
        (":::80", UnbracketedIpv6, ":::80", "an IPv6 address with a port needs brackets; write `[::]:80`"),
        (":::9750", UnbracketedIpv6, ":::9750", "an IPv6 address with a port needs brackets; write `[::]:9750`"),
        ("1:2:3:4:5:6:7:8:80", UnbracketedIpv6, "1:2:3:4:5:6:7:8:80", "an IPv6 address with a port needs brackets; write `[1:2:3:4:5:6:7:8]:80`"),
        ("fe80::1%eth0:80", UnbracketedIpv6, "fe80::1%eth0:80", "an IPv6 address with a port needs brackets; write `[fe80::1%eth0]:80`"),
        ("::ffff:1.2.3.4:80", UnbracketedIpv6, "::ffff:1.2.3.4:80", "an IPv6 address with a port needs brackets; write `[::ffff:1.2.3.4]:80`"),
        ("::1:65536", PortTooLarge, "65536", "the port `65536` is too large; the largest is 65535"),
        ("[::1", UnclosedBracket, "[", "the `[` is never closed; an IPv6 address is written `[::1]:8080`"),
        ("[::1:80", UnclosedBracket, "[", "the `[` is never closed; an IPv6 address is written `[::1]:8080`"),
        ("::1]:80", UnopenedBracket, "]", "unexpected `]` at byte 3; brackets are written around an IPv6 address, as in `[::1]:8080`; write `[::1]:80`"),
        ("127.0.0.1]:80", UnopenedBracket, "]", "unexpected `]` at byte 9; brackets are written around an IPv6 address, as in `[::1]:8080`"),
        ("[::1]80", AfterBracket, "80", "expected a `:` and a port after the `]`, not `80`; write `[::1]:80`"),
        ("[::1]]:80", AfterBracket, "]:80", "expected a `:` and a port after the `]`, not `]:80`"),
        ("[127.0.0.1]:80", NotIpv6InBrackets, "127.0.0.1", "brackets are for IPv6 addresses, and `127.0.0.1` is not one; write `127.0.0.1:80`"),
        ("[*]:80", NotIpv6InBrackets, "*", "brackets are for IPv6 addresses, and `*` is not one; write `*:80`"),
        ("[eth0]:80", NotIpv6InBrackets, "eth0", "brackets are for IPv6 addresses, and `eth0` is not one; write `eth0:80`"),
        ("[fe80:::1]:80", InvalidIpv6, "fe80:::1", "`fe80:::1` is not an IPv6 address (eight groups, or fewer with one `::`, as in `2001:db8::1`)"),
        ("[::g]:80", InvalidIpv6, "::g", "`::g` is not an IPv6 address (eight groups, or fewer with one `::`, as in `2001:db8::1`)"),
        ("1:2:3:80", InvalidIpv6, "1:2:3:80", "`1:2:3:80` is not an IPv6 address (eight groups, or fewer with one `::`, as in `2001:db8::1`)"),
        ("256.0.0.1:80", InvalidIpv4, "256.0.0.1", "`256.0.0.1` is not an IPv4 address (four numbers up to 255, as in `127.0.0.1`)"),
        ("1.2.3.4.5:80", InvalidIpv4, "1.2.3.4.5", "`1.2.3.4.5` is not an IPv4 address (four numbers up to 255, as in `127.0.0.1`)"),
        ("127.0.0.1.:80", InvalidIpv4, "127.0.0.1.", "`127.0.0.1.` is not an IPv4 address (four numbers up to 255, as in `127.0.0.1`)"),
        ("1..2.3:80", InvalidIpv4, "1..2.3", "`1..2.3` is not an IPv4 address (four numbers up to 255, as in `127.0.0.1`)"),
        ("127.1", LegacyIpv4, "127.1", "`127.1` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("127.1:80", LegacyIpv4, "127.1", "`127.1` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("127.1:0", LegacyIpv4, "127.1", "`127.1` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("0x7f.1:80", LegacyIpv4, "0x7f.1", "`0x7f.1` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("0x7f.0.0.1:80", LegacyIpv4, "0x7f.0.0.1", "`0x7f.0.0.1` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("2130706433:80", LegacyIpv4, "2130706433", "`2130706433` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("0:80", LegacyIpv4, "0", "`0` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("010.0.0.1:80", LeadingZeroOctet, "010", "`010` has a leading zero, which some programs read as octal; write `10.0.0.1:80` if that is decimal"),
        ("127.0.0.01:80", LeadingZeroOctet, "01", "`01` has a leading zero, which some programs read as octal; write `127.0.0.1:80` if that is decimal"),
        ("eth0:8080:ipv4", TooManyColons, "eth0:8080:ipv4", "only IPv6 addresses have more than one `:`"),
        ("vsock:42:80", TooManyColons, "vsock:42:80", "only IPv6 addresses have more than one `:`"),
        ("[fe80::1%]:80", EmptyZone, "", "the zone after `%` is empty; name an interface, as in `%eth0`"),
        ("[fe80::1%25eth0]:80", EncodedZone, "25eth0", "`%25` is URL encoding for `%`; write `[fe80::1%eth0]:80`"),
        ("[fe80::1]:53%eth0", ZoneOutsideBrackets, "%eth0", "the zone belongs inside the brackets, after the address; write `[fe80::1%eth0]:53`"),
        ("[fe80::1]%eth0:53", ZoneOutsideBrackets, "%eth0", "the zone belongs inside the brackets, after the address; write `[fe80::1%eth0]:53`"),
        ("[::1%lo]:80", ZoneNotLinkLocal, "lo", "only link-local addresses have a zone; write `[::1]:80`"),
        ("[2001:db8::1%eth0]:80", ZoneNotLinkLocal, "eth0", "only link-local addresses have a zone; write `[2001:db8::1]:80`"),
        ("[::ffff:127.0.0.1%1]:80", ZoneNotLinkLocal, "1", "only link-local addresses have a zone; write `[::ffff:127.0.0.1]:80`"),
        ("1.2.3.4%eno1:67", ZoneNotLinkLocal, "eno1", "only link-local addresses have a zone; write `1.2.3.4:67`"),
        ("[fe80::1%99999999999]:80", ZoneTooLarge, "99999999999", "`99999999999` is too large for an interface index; name the interface, as in `%eth0`"),
        ("[fe80::1%et/0]:80", InvalidCharacter, "/", "unexpected `/` at byte 11; a name has letters, digits, `.`, `_` and `-`"),
        ("[fe80::1%e]th0]:80", AfterBracket, "th0]:80", "expected a `:` and a port after the `]`, not `th0]:80`"),
        ("..:80", InvalidCharacter, "..", "unexpected `..` at byte 0; a name has letters, digits, `.`, `_` and `-`"),
        ("et/h0:80", Path, "/h0", "unexpected path `/h0`"),
        ("10.1/8:80", LegacyIpv4, "10.1", "`10.1` is not a complete IPv4 address; write all four numbers in decimal, as in `127.0.0.1`"),
        ("10.0.0.0/33:80", InvalidPrefixLength, "33", "`33` is not a prefix length; the longest is 32 for IPv4 and 128 for IPv6"),
        ("10.0.0.0/08:80", InvalidPrefixLength, "08", "`08` is not a prefix length; the longest is 32 for IPv4 and 128 for IPv6"),
        ("[fd00::/129]:80", InvalidPrefixLength, "129", "`129` is not a prefix length; the longest is 32 for IPv4 and 128 for IPv6"),
        ("10.1.2.3/8:80", HostBitsSet, "10.1.2.3/8", "`10.1.2.3/8` has host bits set; write `10.1.2.3:80` for the address or `10.0.0.0/8:80` for the network"),
        ("[fd00::1/8]:80", HostBitsSet, "fd00::1/8", "`fd00::1/8` has host bits set; write `[fd00::1]:80` for the address or `[fd00::/8]:80` for the network"),
        ("[::ffff:10.0.0.0/104]:80", MappedNetwork, "::ffff:10.0.0.0/104", "no host has an address in an IPv4-mapped network; write the IPv4 network"),
        ("[fd00::]/8:80", UnbracketedNetwork, "[fd00::]", "an IPv6 network is written in brackets, with its prefix length; write `[fd00::/8]:80`"),
        ("fd00::/8:80", UnbracketedNetwork, "fd00::/8:80", "an IPv6 network is written in brackets, with its prefix length; write `[fd00::/8]:80`"),
        ("::/0", UnbracketedNetwork, "::/0", "an IPv6 network is written in brackets, with its prefix length; write `[::/0]:8080`"),
        ("_eth0_:80", UnknownKeyword, "_eth0_", "unknown keyword `_eth0_`; expected one of `_local_`, `_private_`, `_public_`, `_default_`"),
        ("_eth0:ipv4_", InvalidPort, "ipv4_", "`ipv4_` is not a port (a number from 0 to 65535)"),
        ("_x_:80", UnknownKeyword, "_x_", "unknown keyword `_x_`; expected one of `_local_`, `_private_`, `_public_`, `_default_`"),
        ("{{GetInterfaceIP}}:80", UnexpandedVariable, "{{GetInterfaceIP}}", "the variable `{{GetInterfaceIP}}` was not expanded"),
        ("127.0.0.1,::1", List, ",", "expected one address, and the `,` at byte 9 begins another"),
        ("iface/eth0", Path, "/eth0", "unexpected path `/eth0`"),
        ("eth0:8080:firstipv4", TooManyColons, "eth0:8080:firstipv4", "only IPv6 addresses have more than one `:`"),
        ("%eno1", InvalidCharacter, "%", "unexpected `%` at byte 0; a name has letters, digits, `.`, `_` and `-`"),
        ("fd@3", InheritedSocket, "fd@3", "a socket of the service manager has no name here; write the address of its unit (`ListenStream=`), and a server with socket activation takes the socket"),
        ("fd/3", Path, "/3", "unexpected path `/3`"),
        ("sd-listen:web", InheritedSocket, "sd-listen:web", "a socket of the service manager has no name here; write the address of its unit (`ListenStream=`), and a server with socket activation takes the socket"),
        ("systemd#2", InheritedSocket, "systemd#2", "a socket of the service manager has no name here; write the address of its unit (`ListenStream=`), and a server with socket activation takes the socket"),
        ("eth0@53", UnknownFamily, "eth0", "unknown address family `eth0@`; expected `ipv4@` or `ipv6@`"),
        ("tcp6/foo:1-2", Path, "/foo", "unexpected path `/foo`; write `ipv6@foo:1-2`"),
        ("udp/:53", Path, "/", "unexpected path `/`"),
        ("abns@x", UnknownFamily, "abns", "unknown address family `abns@`; expected `ipv4@` or `ipv6@`"),
        ("fd://3", InheritedSocket, "fd://3", "a socket of the service manager has no name here; write the address of its unit (`ListenStream=`), and a server with socket activation takes the socket"),
        ("fd://name", InheritedSocket, "fd://name", "a socket of the service manager has no name here; write the address of its unit (`ListenStream=`), and a server with socket activation takes the socket"),
        ("_site_", MissingPort, "_site_", "the port is missing; write `_site_:8080`"),
        ("{{ GetInterfaceIP \"eth0\" }}:80", UnexpandedVariable, "{{ GetInterfaceIP \"eth0\" }}", "the variable `{{ GetInterfaceIP \\\"eth0\\\" }}` was not expanded"),
        ("-::1", MissingPort, "::1", "the port is missing; write `-[::1]:8080`"),
        ("-::*", InvalidCharacter, "*", "unexpected `*` at byte 3; a name has letters, digits, `.`, `_` and `-`"),
        ("127.0.0.1 -::1", WhiteSpace, " ", "unexpected white space at byte 9"),
        ("127.0.0.01", LeadingZeroOctet, "01", "`01` has a leading zero, which some programs read as octal; write `127.0.0.1:8080` if that is decimal"),
        ("::1]", UnopenedBracket, "]", "unexpected `]` at byte 3; brackets are written around an IPv6 address, as in `[::1]:8080`; write `[::1]:8080`"),
        (":", EmptyHost, "", "the host is empty (an unset environment variable?); write `localhost:8080` for this host only or `*:8080` for every address"),
        ("foo", MissingPort, "foo", "the port is missing; write `foo:8080`"),
        ("localhost:1-", EmptyPort, "", "the port range has no end"),
        (":80-90", EmptyHost, "", "the host is empty (an unset environment variable?); write `localhost:80-90` for this host only or `*:80-90` for every address"),
        ("[fe80::1]:80%eth0", ZoneOutsideBrackets, "%eth0", "the zone belongs inside the brackets, after the address; write `[fe80::1%eth0]:80`"),
        ("::1:+80", InvalidCharacter, "+", "unexpected `+` at byte 4; a name has letters, digits, `.`, `_` and `-`"),
        ("::1:080", AmbiguousIpv6, "::1:080", "ambiguous: the address `::1:080` without a port, or `::1` with port 80; write `[::1:080]:8080` for the address or `[::1]:80` for port 80"),
        (":::080", LeadingZeroPort, "080", "the port `080` has leading zeros"),
        ("::1%lo:80", ZoneNotLinkLocal, "lo", "only link-local addresses have a zone; write `[::1]:80`"),
        ("0000065536", PortTooLarge, "0000065536", "the port `0000065536` is too large; the largest is 65535"),
        ("[%eth0]:80", EmptyHost, "[%eth0]", "the host is empty (an unset environment variable?); write `localhost:80` for this host only or `*:80` for every address"),
        ("[/8]:80", EmptyHost, "[/8]", "the host is empty (an unset environment variable?); write `localhost:80` for this host only or `*:80` for every address"),
        ("[::1]:80%", EmptyZone, "", "the zone after `%` is empty; name an interface, as in `%eth0`"),
        ("ipv4@:8080", EmptyHost, "", "the host is empty (an unset environment variable?); write `ipv4@localhost:8080` for this host only or `ipv4@*:8080` for every address"),
        ("2001:db8::1:65536", PortTooLarge, "65536", "the port `65536` is too large; the largest is 65535"),
        ("127.0.0.1::80", TooManyColons, "127.0.0.1::80", "only IPv6 addresses have more than one `:`"),
        ("1.2.3.4:5:6", TooManyColons, "1.2.3.4:5:6", "only IPv6 addresses have more than one `:`"),
        ("[a$b]:80", UnexpandedVariable, "$b", "the variable `$b` was not expanded"),
        ("[fe80::1%25a$b]:80", UnexpandedVariable, "$b", "the variable `$b` was not expanded"),
        ("0999.0.0.1:80", InvalidIpv4, "0999.0.0.1", "`0999.0.0.1` is not an IPv4 address (four numbers up to 255, as in `127.0.0.1`)"),
        ("-ipv6@1.2.3.4:80", FamilyMismatch, "1.2.3.4", "`1.2.3.4` is not of the family before the `@`; write `-1.2.3.4:80`"),
        ("1.2.3.4", MissingPort, "1.2.3.4", "the port is missing; write `1.2.3.4:8080`"),
        ("0.0.0.0%eth0:80", ZoneNotLinkLocal, "eth0", "only link-local addresses have a zone; write `ipv4@eth0:80` for the addresses of that interface"),
        ("[::%eth0]:80", ZoneNotLinkLocal, "eth0", "only link-local addresses have a zone; write `eth0:80` for the addresses of that interface"),
        ("[::]%eth0:80", ZoneOutsideBrackets, "%eth0", "the zone belongs inside the brackets, after the address; write `eth0:80` for the addresses of that interface"),
        ("ipv6@*%eth0:80", ZoneNotLinkLocal, "eth0", "only link-local addresses have a zone; write `ipv6@eth0:80` for the addresses of that interface"),
        ("127.0.0.53%lo:53", ZoneNotLinkLocal, "lo", "only link-local addresses have a zone; write `127.0.0.53:53`"),
        ("127.0.0.1 ::1", WhiteSpace, " ", "unexpected white space at byte 9"),
        ("[fe80::1]:80%lo%lo", ZoneOutsideBrackets, "%lo%lo", "the zone belongs inside the brackets, after the address"),
        ("tcp4/localhost:1234", Path, "/localhost", "unexpected path `/localhost`; write `ipv4@localhost:1234`"),
        ("udp6/[::1]:53", UnopenedBracket, "[", "unexpected `[` at byte 5; brackets are written around an IPv6 address, as in `[::1]:8080`"),
        ("localhost/x:80", Path, "/x", "unexpected path `/x`"),
        ("https://example.org/", Url, "https://", "expected an address, not a URL"),
        ("http://[::1]/", Url, "http://", "expected an address, not a URL; write `[::1]:80`"),
        ("redis://:s3cret@host", Url, "redis://", "expected an address, not a URL"),
        ("postgres://u:p@10.0.0.1/db", Url, "postgres://", "expected an address, not a URL"),
        ("tcp://eth0:80", Url, "tcp://", "expected an address, not a URL"),
        ("8080%eth0", ZoneNotLinkLocal, "eth0", "only link-local addresses have a zone"),
        ("0%eth0", ZoneNotLinkLocal, "eth0", "only link-local addresses have a zone"),
        ("10.0.0.1%eth0:80", ZoneNotLinkLocal, "eth0", "only link-local addresses have a zone; write `10.0.0.1:80`"),
        ("0.0.0.0/lo:80", Path, "/lo", "unexpected path `/lo`"),
        ("*/lo:80", Path, "/lo", "unexpected path `/lo`"),
        ("8080/lo", Path, "/lo", "unexpected path `/lo`"),
        ("443/eth0", Path, "/eth0", "unexpected path `/eth0`"),
        ("8080/127.0.0.1", Path, "/127.0.0.1", "unexpected path `/127.0.0.1`"),
        ("10.0.0.0/255.0.0.0:80", Path, "/255.0.0.0", "unexpected path `/255.0.0.0`"),
        ("ipv4@[::0]:80", FamilyMismatch, "[::0]", "`[::0]` is not of the family before the `@`; write `ipv4@*:80`"),
        ("ipv4@[::/0]:80", FamilyMismatch, "[::/0]", "`[::/0]` is not of the family before the `@`"),
        ("ipv6@0.0.0.0/0:80", FamilyMismatch, "0.0.0.0/0", "`0.0.0.0/0` is not of the family before the `@`"),
        ("ipv6@[::ffff:0.0.0.0]:80", FamilyMismatch, "[::ffff:0.0.0.0]", "`[::ffff:0.0.0.0]` is not of the family before the `@`"),
        ("ipv4@+80", SignedPort, "+80", "the port `+80` has a sign; write `ipv4@80` for every address"),
        ("http://ipv6@*:80/", Url, "http://", "expected an address, not a URL"),
        ("ü80", NonAscii, "ü", "`ü` at byte 0 is not ASCII"),
        ("–8080", NonAscii, "–", "`–` at byte 0 is not ASCII"),
        ("éth0:80", NonAscii, "é", "`é` at byte 0 is not ASCII"),
        ("eth0@ifb0:80", UnknownFamily, "eth0", "unknown address family `eth0@`; expected `ipv4@` or `ipv6@`"),
        ("http://127.0.0.1/x@0.0.0.0:80", Url, "http://", "expected an address, not a URL"),
        ("postgres://admin:1234/secret@db:5432", Url, "postgres://", "expected an address, not a URL"),
        ("admin:s3cret//x@db:5432", UnknownFamily, "admin:s3cret//x", "unknown address family before `@`; expected `ipv4@` or `ipv6@`"),
        ("ipv4@user:s3cret@host", InvalidPort, "s3cret@host", "`***` is not a port (a number from 0 to 65535)"),
        ("user:a://b@h", Url, "user:a://", "expected an address, not a URL"),
        ("tcp4://*:80", Url, "tcp4://", "expected an address, not a URL; write `ipv4@*:80`"),
        ("tcp6://[::]:80", Url, "tcp6://", "expected an address, not a URL; write `ipv6@[::]:80`"),
        ("tcp4://[::]:80", Url, "tcp4://", "expected an address, not a URL"),
        ("tcp6://0.0.0.0:80", Url, "tcp6://", "expected an address, not a URL"),
        ("udp4://localhost:80", Url, "udp4://", "expected an address, not a URL; write `ipv4@localhost:80`"),
        ("ipv4://*:80", Url, "ipv4://", "expected an address, not a URL"),
        ("http://0.0.0.0/8", Url, "http://", "expected an address, not a URL"),
        ("//0.0.0.0/8:80", Url, "//", "expected an address, not a URL"),
        ("http://0.0.0.0/", Url, "http://", "expected an address, not a URL; write `0.0.0.0:80`"),
        ("http://10.0.0.0/8:80", Url, "http://", "expected an address, not a URL"),
        ("http://10.0.0.1/index?x", Url, "http://", "expected an address, not a URL; write `10.0.0.1:80`"),
        ("tcp://*:80/lo", Url, "tcp://", "expected an address, not a URL"),
        ("mysql://127.0.0.1:3306/db", Url, "mysql://", "expected an address, not a URL; write `127.0.0.1:3306`"),
        ("mysql://127.0.0.1/db", Url, "mysql://", "expected an address, not a URL"),
        ("eth0:80/tcp4", Path, "/tcp4", "unexpected path `/tcp4`"),
        ("eth0:80/x", Path, "/x", "unexpected path `/x`; write `eth0:80`"),
        ("*%localhost:80", ZoneNotLinkLocal, "localhost", "only link-local addresses have a zone"),
        ("“127.0.0.1:80", NonAscii, "“", "`“` at byte 0 is not ASCII; write `127.0.0.1:80`"),
        ("0.0.0.0:tcp://10.96.0.1:80", ServiceLink, "tcp://10.96.0.1:80", "`tcp://10.96.0.1:80` is not a port; Kubernetes sets a variable to such a text for each Service (`enableServiceLinks: false` in the pod stops that)"),
        // Names that by themselves would be a range of ports, an optional address, and a Unix
        // socket.
        ("80-90:80", InvalidIpv4, "80-90", "`80-90` is not an IPv4 address (four numbers up to 255, as in `127.0.0.1`)"),
        ("--eth0:80", UnexpectedOptional, "-", "a name cannot begin with `-`; write `-eth0:80`"),
        ("--127.0.0.1:80", UnexpectedOptional, "-", "a name cannot begin with `-`; write `-127.0.0.1:80`"),
        ("ipv4@-eth0:80", UnexpectedOptional, "-", "a name cannot begin with `-`; write `ipv4@eth0:80`"),
        ("ipv4@unix:80", UnixSocket, "unix", "Unix sockets are not supported here; write an IP address and a port"),
    ]
}

#[test]
fn invalid_texts_have_specific_errors() {
    let rows = misspellings()
        .into_iter()
        .map(|(written, kind, place, sentence)| {
            let err = written.parse::<ListenAddr>().expect_err(written);
            assert_eq!(err.text(), written);
            let text = err.without_credentials();
            let expected = format!(
                "invalid listen address \"{}\": {sentence}",
                text.escape_debug()
            );
            let found = (err.kind(), written[err.span()].to_owned(), err.to_string());
            (
                written.to_owned(),
                found,
                (kind, place.to_owned(), expected),
            )
        });
    util::assert_rows(rows);
}

/// Reads a text in each place where one is read: with a port, with a default port, and without, for
/// one target, for the addresses of a setting, and as a host.
fn read_everywhere(text: &str) -> [Result<(), ParseError>; 5] {
    let host_only = match bindaddr::BindTarget::parse_with(text, &bindaddr::Interfaces::default()) {
        Ok(_) => Ok(()),
        Err(err) => {
            let source = std::error::Error::source(&err);
            match source.and_then(|err| err.downcast_ref::<ParseError>()) {
                Some(err) => Err(err.clone()),
                // It is read, and what it names is not on a host without interfaces.
                None => Ok(()),
            }
        }
    };
    [
        text.parse::<ListenAddr>().map(drop),
        ListenAddr::parse_with_default_port(text, 443).map(drop),
        host_only,
        ListenAddr::from_host(text, 443).map(drop),
        text.parse::<Host>().map(drop),
    ]
}

/// Whether a text names every address of a host, of a family or of both.
fn is_wildcard(text: &str) -> bool {
    let addr = ListenAddr::parse_with_default_port(text, 443);
    let addr = addr.or_else(|_| ListenAddr::from_host(text, 443));
    match addr.expect("it is read").host() {
        Host::Any => true,
        Host::Ip { ip, .. } => ip.to_canonical().is_unspecified(),
        Host::Network(network) => network.prefix_len() == 0,
        _ => false,
    }
}

/// Each replacement is a whole setting that is read where the text was refused, the sentence ends
/// with it, and it does not name every address where the text did not, unless it says so.
#[track_caller]
fn assert_hints_are_true(written: &str) {
    let port = written.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_port_alone =
        !written.starts_with('-') && written.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    for (place, result) in read_everywhere(written).into_iter().enumerate() {
        let Err(err) = result else { continue };
        let hints = err.hints();
        let mut end = String::new();
        // The narrower ones come first.
        let kinds = hints.iter().map(bindaddr::diagnosis::Hint::kind);
        assert!(
            kinds.is_sorted_by_key(|kind| kind == HintKind::Widen),
            "{err}"
        );
        for (n, hint) in hints.iter().enumerate() {
            let advice = hint.to_string();
            let instead = hint.replacement().expect("one is written in its place");
            assert_eq!(read_everywhere(instead)[place], Ok(()), "{err}");
            let is_new = is_wildcard(instead)
                && !["*", "0.0.0.0", "::", "/0"].iter().any(|text| written.contains(text))
                // A port alone, with something beside it.
                && !is_port_alone
                && !port.starts_with(instead)
                && !port.trim_start_matches('0').starts_with(instead);
            let is_wider = hint.kind() == HintKind::Widen;
            let is_wide = ["every address", "the network", "both families"];
            let says_so = is_wide
                .iter()
                .any(|wide| advice.ends_with(&format!(" for {wide}")));
            assert_eq!(is_wider, says_so, "{err}");
            assert!(is_wider || !is_new, "{err}");
            end += if n == 0 { "; " } else { " or " };
            end += if n == 0 {
                &advice
            } else {
                advice.strip_prefix("write ").expect("what to write")
            };
        }
        assert!(err.to_string().ends_with(&end), "{err}: {end}");
        assert!(
            !hints.is_empty() || !err.to_string().contains("; write `"),
            "{err}"
        );
    }
}

#[test]
fn suggestions_in_errors_parse() {
    for (written, ..) in misspellings() {
        assert_hints_are_true(written);
    }
    for (written, ..) in host_misspellings() {
        assert_hints_are_true(written);
    }
}

#[test]
fn each_error_kind_is_in_the_table() {
    let of_hosts = host_misspellings().into_iter().map(|(_, kind, ..)| kind);
    let seen: HashSet<String> = misspellings()
        .into_iter()
        .map(|(_, kind, ..)| kind)
        .chain(of_hosts)
        .map(|kind| format!("{kind:?}"))
        .collect();
    // The list's is in lists.rs, and the name's below.
    let elsewhere = ["PortAlone", "NameTooLong"];
    let source = include_str!("../src/addr/error.rs");
    let (_, kinds) = source.split_once("pub enum ParseErrorKind {").unwrap();
    let (kinds, _) = kinds.split_once("\n}").unwrap();
    let kinds = kinds
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"));
    for kind in kinds.filter_map(|line| line.strip_suffix(',')) {
        assert!(seen.contains(kind) || elsewhere.contains(&kind), "{kind}");
    }
}

#[test]
fn names_and_zones_have_system_limits() {
    // The host name of a pod, which is not an interface.
    assert!("web-7d4b9c6f5d-abcde:80".parse::<ListenAddr>().is_ok());
    let longest_zone = match std::env::consts::OS {
        "linux" | "android" => 127,
        "windows" => 255,
        _ => 15,
    };
    for (before, longest, after, what) in [
        ("", 253, ":80", "a name"),
        (
            "[fe80::1%",
            longest_zone,
            "]:80",
            "the name of an interface",
        ),
    ] {
        let text = |len: usize| format!("{before}{}{after}", "a".repeat(len));
        assert!(text(longest).parse::<ListenAddr>().is_ok());
        let err = text(longest + 1).parse::<ListenAddr>().unwrap_err();
        assert_eq!(err.kind(), ParseErrorKind::NameTooLong);
        let end = format!(
            " is too long ({} bytes); {what} has at most {longest}",
            longest + 1
        );
        assert!(err.to_string().ends_with(&end), "{err}");
    }
    // Behind a `%` that is URL-encoded it is a zone, too.
    let encoded = format!("[fe80::1%25{}]:80", "a".repeat(longest_zone + 1));
    let err = encoded.parse::<ListenAddr>().unwrap_err().to_string();
    assert!(
        err.ends_with(&format!("has at most {longest_zone}")),
        "{err}"
    );
}

#[test]
fn long_text_has_short_error() {
    let long_port = format!("::1:{}80", "0".repeat(100_000));
    assert!(
        long_port
            .parse::<ListenAddr>()
            .expect_err("too long")
            .to_string()
            .len()
            < 1500
    );
    for filler in [
        "a", ":", "1", "[", "%", "/", "-", "@", ".", "é", "\0", "1.", "::", "0x", "http://",
    ] {
        let text = filler.repeat(100_000 / filler.len());
        let err = text.parse::<ListenAddr>().expect_err(filler);
        assert_eq!(err.text(), text);
        assert!(
            err.to_string().len() < 1500,
            "{filler:?}: {}",
            err.to_string().len()
        );
        assert!(
            ListenAddr::parse_with_default_port(&text, 80).is_err(),
            "{filler:?}"
        );
    }
}

#[test]
fn socket_addr_converts_to_listen_addr() {
    for (written, canonical) in [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("[fe80::1%3]:80", "[fe80::1%3]:80"),
        // The kernel drops a scope id there, and so does the conversion.
        ("[2001:db8::1%3]:80", "[2001:db8::1]:80"),
    ] {
        let std: SocketAddr = written.parse().unwrap();
        assert_eq!(ListenAddr::from(std).to_string(), canonical);
    }
}

/// Texts that come near the grammar.
fn near_texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("-".to_owned()),
        Just("ipv4@".to_owned()),
        Just("ipv6@".to_owned()),
        Just("*".to_owned()),
        Just("localhost".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(":".to_owned()),
        Just("%".to_owned()),
        Just("/".to_owned()),
        Just("_private_".to_owned()),
        any::<IpAddr>().prop_map(|ip| ip.to_string()),
        any::<SocketAddr>().prop_map(|addr| addr.to_string()),
        any::<u16>().prop_map(|n| n.to_string()),
        any::<u32>().prop_map(|n| n.to_string()),
        "[a-z0-9._-]{1,16}",
        ".",
    ];
    prop::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat())
}

/// Texts of the grammar.
fn valid_texts() -> impl Strategy<Value = String> {
    let zone = prop_oneof![
        Just(String::new()),
        "%[a-z][a-z0-9._-]{0,13}[a-z0-9]",
        any::<u32>().prop_map(|n| format!("%{n}")),
    ];
    let link_local = (any::<u64>(), zone).prop_map(|(bits, zone)| {
        format!(
            "[{}{zone}]",
            Ipv6Addr::from_bits((0xfe80 << 112) | u128::from(bits))
        )
    });
    let host = prop_oneof![
        Just("*".to_owned()),
        Just("localhost".to_owned()),
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
        link_local,
        "[a-z][a-z0-9._-]{0,13}[a-z0-9]",
        (any::<std::net::Ipv4Addr>(), 0..=32u8)
            .prop_map(|(ip, len)| bindaddr::addr::Network::containing(ip.into(), len).to_string()),
        Just("_default_".to_owned()),
    ];
    let port = prop_oneof![
        any::<u16>().prop_map(|port| port.to_string()),
        (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
    ];
    (any::<bool>(), host, port).prop_map(|(optional, host, port)| {
        format!("{}{host}:{port}", if optional { "-" } else { "" })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    // Law 1: no text panics, and an error has its place in the text.
    #[test]
    fn parse_never_panics(text in prop_oneof![any::<String>(), near_texts()]) {
        let results = [
            text.parse::<ListenAddr>().map(drop),
            ListenAddr::parse_with_default_port(&text, 80).map(drop),
            ListenAddr::from_host(&text, 80).map(drop),
            text.parse::<Host>().map(drop),
        ];
        for result in results {
            if let Err(err) = result {
                prop_assert_eq!(err.text(), &text);
                prop_assert!(text.get(err.span()).is_some());
                prop_assert!(!err.to_string().chars().any(char::is_control));
                prop_assert!(err.to_string().len() < 1500, "{}", err);
            }
        }
        assert_hints_are_true(&text);
        drop(bindaddr::BindTarget::parse_with(&text, &bindaddr::Interfaces::default()));
    }

    // Law 2: the canonical text parses back to the same value.
    #[test]
    fn canonical_text_parses_back(text in prop_oneof![valid_texts(), near_texts()]) {
        if let Ok(read) = text.parse::<ListenAddr>() {
            let canonical = read.to_string();
            let again = canonical.parse::<ListenAddr>();
            prop_assert_eq!(again.as_ref(), Ok(&read), "{}", canonical);
            prop_assert_eq!(read.to_string(), canonical);
        }
    }

    #[test]
    fn from_host_accepts_each_address(
        ip in prop_oneof![
            any::<Ipv4Addr>().prop_map(IpAddr::V4),
            any::<Ipv6Addr>().prop_map(IpAddr::V6),
            // Most of them end like an address with a port does.
            prop::collection::vec(prop_oneof![Just(0), 0..0x9999u16], 8).prop_map(|groups| {
                let groups: [u16; 8] = groups.try_into().expect("eight");
                IpAddr::from(groups)
            }),
        ],
        port in any::<u16>(),
    ) {
        let expected = ListenAddr::from(SocketAddr::new(ip, port));
        prop_assert_eq!(ListenAddr::from_host(&ip.to_string(), port), Ok(expected.clone()));
        let host = ip.to_string().parse::<Host>();
        prop_assert_eq!(host.as_ref(), Ok(expected.host()));
        prop_assert_eq!(ListenAddr::from((host.expect("it is read"), port)), expected.clone());
        let list = ListenAddrs::from_hosts(&format!("{ip},{ip}"), port);
        prop_assert_eq!(list, Ok(vec![expected.clone(), expected.clone()].into()));
        if ip.is_ipv6() {
            prop_assert_eq!(ListenAddr::from_host(&format!("[{ip}]"), port), Ok(expected));
        }
    }

    // A host is read as the same beside a port and by itself.
    #[test]
    fn host_display_parses_back(text in prop_oneof![valid_texts(), near_texts()]) {
        let addr = text.parse::<ListenAddr>();
        let from_host = ListenAddr::from_host(&text, 80);
        let hosts = [
            addr.map(|addr| addr.host().clone()),
            from_host.map(|addr| addr.host().clone()),
            text.parse::<Host>(),
        ];
        for host in hosts.into_iter().flatten() {
            prop_assert_eq!(host.to_string().parse(), Ok(host.clone()));
            let addr = ListenAddr::from((host.clone(), 80));
            prop_assert_eq!(addr.to_string().parse(), Ok(addr));
        }
    }

    #[test]
    fn parse_accepts_texts_of_the_grammar(text in valid_texts()) {
        let read = text.parse::<ListenAddr>();
        prop_assert!(read.is_ok(), "{:?}", read);
    }

    // Whatever std reads is read with the same meaning.
    #[test]
    fn parse_agrees_with_std(text in prop_oneof![
        any::<SocketAddr>().prop_map(|addr| addr.to_string()),
        (any::<Ipv6Addr>(), any::<u32>(), any::<u16>())
            .prop_map(|(ip, scope, port)| format!("[{ip}%{scope}]:{port}")),
        (any::<u64>(), any::<u32>(), any::<u16>()).prop_map(|(bits, scope, port)| {
            format!("[{}%{scope}]:{port}", Ipv6Addr::from_bits((0xfe80 << 112) | u128::from(bits)))
        }),
        near_texts(),
    ]) {
        let ours = text.parse::<ListenAddr>();
        let Ok(std) = text.parse::<SocketAddr>() else { return Ok(()) };
        match ours {
            Ok(ours) => prop_assert_eq!(ours, ListenAddr::from(std)),
            // The two exceptions.
            Err(err) => prop_assert!(
                matches!(err.kind(), ParseErrorKind::LeadingZeroPort | ParseErrorKind::ZoneNotLinkLocal),
                "{}", err,
            ),
        }
    }
}
