//! `ListenAddr`: every spelling, every misspelling, and the laws of the grammar.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use bindaddr::{Family, Host, ListenAddr, ParseErrorKind, Word, Zone};
use proptest::prelude::*;

#[track_caller]
fn addr(text: &str) -> ListenAddr {
    text.parse().unwrap_or_else(|err| panic!("{err}"))
}

#[test]
fn every_spelling_is_read() {
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
fn what_was_written_can_be_asked_for() {
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
    assert_eq!(addr("_site_:80").host(), &Host::Word(Word::Private));
    let Host::Network(network) = addr("10.0.0.0/8:80").host().clone() else {
        panic!("a network")
    };
    assert_eq!(
        (network.first().to_string().as_str(), network.prefix_len()),
        ("10.0.0.0", 8)
    );
}

#[test]
fn a_default_port_stands_in_for_a_missing_one() {
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

/// Written, kind, the place of the mistake, what the message says after the text.
#[rustfmt::skip] // one row a misspelling
#[allow(clippy::too_many_lines)]
fn misspellings() -> Vec<(&'static str, ParseErrorKind, &'static str, &'static str)> {
    #[allow(clippy::enum_glob_use)]
    use ParseErrorKind::*;

    vec![
        ("", Empty, "", "it is empty; write `*:8080` for every address or `127.0.0.1:8080` for this host only"),
        (" 127.0.0.1:80", WhiteSpace, " ", "white space stands at byte 0; leave it off"),
        ("127.0.0.1 :80", WhiteSpace, " ", "white space stands at byte 9; leave it off"),
        ("127.0.0.1:80\n", WhiteSpace, "\n", "white space stands at byte 12; leave it off"),
        ("127.0.0.1\t:80", WhiteSpace, "\t", "white space stands at byte 9; leave it off"),
        ("127.0.0.1\0:80", ControlCharacter, "\0", "the control character `\\0` stands at byte 9; leave it off"),
        ("\u{7f}:80", ControlCharacter, "\u{7f}", "the control character `\\u{7f}` stands at byte 0; leave it off"),
        ("café0:80", NonAscii, "é", "`é` at byte 3 is not ASCII; leave it off, or write it in ASCII"),
        ("１:80", NonAscii, "１", "`１` at byte 0 is not ASCII; leave it off, or write it in ASCII"),
        ("$HOST:80", InvalidCharacter, "$", "`$` at byte 0 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("${HOST}:80", InvalidCharacter, "$", "`$` at byte 0 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("eth0!:80", InvalidCharacter, "!", "`!` at byte 4 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("eth0@if5:80", UnknownFamily, "eth0", "`eth0@` is no address family; the families are `ipv4@` and `ipv6@`"),
        ("http://127.0.0.1:80", Url, "http://", "it is a URL; leave off `http://` and what follows the port"),
        ("http://h:80/", Url, "http://", "it is a URL; leave off `http://` and what follows the port"),
        ("tcp://h:p", Url, "tcp://", "it is a URL; leave off `tcp://` and what follows the port"),
        ("127.0.0.1:80/", Path, "/", "it has a path; leave off `/`"),
        ("127.0.0.1:80/index", Path, "/index", "it has a path; leave off `/index`"),
        ("localhost:80?x", Path, "?x", "it has a path; leave off `?x`"),
        ("127.0.0.1/", Path, "/", "it has a path; leave off `/`"),
        ("localhost/x", Path, "/x", "it has a path; leave off `/x`"),
        ("/run/server.sock", UnixSocket, "/run/server.sock", "it is a Unix socket; only internet addresses are read here"),
        ("./p", UnixSocket, "./p", "it is a Unix socket; only internet addresses are read here"),
        ("unix:/p", UnixSocket, "unix:/p", "it is a Unix socket; only internet addresses are read here"),
        ("unix:///p", UnixSocket, "unix:///p", "it is a Unix socket; only internet addresses are read here"),
        ("unix", UnixSocket, "unix", "it is a Unix socket; only internet addresses are read here"),
        ("../p", UnixSocket, "../p", "it is a Unix socket; only internet addresses are read here"),
        ("~/p", UnixSocket, "~/p", "it is a Unix socket; only internet addresses are read here"),
        ("//127.0.0.1:80", Url, "//", "it is a URL; leave off `//` and what follows the port"),
        ("127.0.0.1:80,[::1]:80", List, ",", "one address may stand here, and the `,` at byte 12 begins another"),
        ("127.0.0.1:80, [::1]:80", List, ",", "one address may stand here, and the `,` at byte 12 begins another"),
        ("*:80,*:81", List, ",", "one address may stand here, and the `,` at byte 4 begins another"),
        ("127.0.0.1:80 [::1]:80", WhiteSpace, " ", "white space stands at byte 12, and one address has none"),
        ("127.0.0.1:8080 ssl", WhiteSpace, " ", "white space stands at byte 14, and one address has none"),
        ("127.0.0.1: 80", WhiteSpace, " ", "white space stands at byte 10; leave it off"),
        ("[fe80::1%Ökonet]:80", NonAscii, "Ö", "`Ö` at byte 9 is not ASCII; write the index of the zone"),
        ("10/8:80", LegacyIpv4, "10", "`10` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("10.1/x:80", LegacyIpv4, "10.1", "`10.1` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("8080/tcp", Path, "/tcp", "it has a path; leave off `/tcp`"),
        ("8080/", Path, "/", "it has a path; leave off `/`"),
        ("*:80/tcp", Path, "/tcp", "it has a path; leave off `/tcp`"),
        ("*%lo:53", ZoneNotLinkLocal, "lo", "only link-local addresses have a zone; write `lo` for the addresses of that interface"),
        ("*%2:53", ZoneNotLinkLocal, "2", "only link-local addresses have a zone; leave off `%2`"),
        ("-::1:80", AmbiguousIpv6, "::1:80", "it reads as the address `::1:80` without a port and as `::1` with port 80; write `-[::1:80]:8080` or `-[::1]:80`"),
        ("-ipv6@::1:80", AmbiguousIpv6, "::1:80", "it reads as the address `::1:80` without a port and as `::1` with port 80; write `-ipv6@[::1:80]:8080` or `-ipv6@[::1]:80`"),
        ("ipv4@::1:80", AmbiguousIpv6, "::1:80", "it reads as the address `::1:80` without a port and as `::1` with port 80; write `[::1:80]:8080` or `[::1]:80`"),
        ("ipv4@:::80", UnbracketedIpv6, ":::80", "an IPv6 address with a port stands in brackets; write `[::]:80`"),
        ("-[fe80::2]%eth1:80", ZoneOutsideBrackets, "%eth1", "the zone stands inside the brackets, behind the address; write `-[fe80::2%eth1]:80`"),
        ("[fe80::1]80%eth0", ZoneOutsideBrackets, "%eth0", "the zone stands inside the brackets, behind the address, as in `[fe80::1%eth0]`"),
        ("unix//p|0222", UnixSocket, "unix//p|0222", "it is a Unix socket; only internet addresses are read here"),
        ("unix@p", UnixSocket, "unix@p", "it is a Unix socket; only internet addresses are read here"),
        ("@abs", UnixSocket, "@abs", "it is a Unix socket; only internet addresses are read here"),
        ("-/run/x", UnixSocket, "/run/x", "it is a Unix socket; only internet addresses are read here"),
        (":8080", EmptyHost, "", "the host is empty, as when a variable is unset; write `*:8080` if every address is meant"),
        ("[]:80", EmptyHost, "[]", "the host is empty, as when a variable is unset; write `*:80` if every address is meant"),
        ("ipv4@", EmptyHost, "", "the host is empty, as when a variable is unset; write `ipv4@*:8080` if every address is meant"),
        ("ipv4@:80", EmptyHost, "", "the host is empty, as when a variable is unset; write `ipv4@*:80` if every address is meant"),
        ("-", EmptyHost, "", "the host is empty, as when a variable is unset; write `-*:8080` if every address is meant"),
        ("-:80", EmptyHost, "", "the host is empty, as when a variable is unset; write `-*:80` if every address is meant"),
        ("tcp4@127.0.0.1:80", UnknownFamily, "tcp4", "`tcp4@` is no address family; the families are `ipv4@` and `ipv6@`"),
        ("ipv4@ipv6@*:80", InvalidCharacter, "@", "`@` at byte 9 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("ipv6@127.0.0.1:80", FamilyMismatch, "127.0.0.1", "`127.0.0.1` is not of the family before the `@`; leave off `ipv6@`"),
        ("ipv4@[::1]:80", FamilyMismatch, "[::1]", "`[::1]` is not of the family before the `@`; leave off `ipv4@`"),
        ("ipv6@[::ffff:1.2.3.4]:80", FamilyMismatch, "[::ffff:1.2.3.4]", "`[::ffff:1.2.3.4]` is not of the family before the `@`; leave off `ipv6@`"),
        ("ipv4@[::]:80", FamilyMismatch, "[::]", "`[::]` is not of the family before the `@`; leave off `ipv4@`"),
        ("ipv4@[fd00::/8]:80", FamilyMismatch, "[fd00::/8]", "`[fd00::/8]` is not of the family before the `@`; leave off `ipv4@`"),
        ("127.0.0.1", MissingPort, "127.0.0.1", "the port is missing; write `127.0.0.1:8080`"),
        ("::1", MissingPort, "::1", "the port is missing; write `[::1]:8080`"),
        ("::", MissingPort, "::", "the port is missing; write `[::]:8080`"),
        ("[::]", MissingPort, "[::]", "the port is missing; write `[::]:8080`"),
        ("[::1]", MissingPort, "[::1]", "the port is missing; write `[::1]:8080`"),
        ("localhost", MissingPort, "localhost", "the port is missing; write `localhost:8080`"),
        ("*", MissingPort, "*", "the port is missing; write `*:8080`"),
        ("eth0", MissingPort, "eth0", "the port is missing; write `eth0:8080`"),
        ("fe80::1%eth0", MissingPort, "fe80::1%eth0", "the port is missing; write `[fe80::1%eth0]:8080`"),
        ("127.0.0.1:", EmptyPort, "", "the port is empty; write a number from 0 to 65535"),
        ("localhost:80-", EmptyPort, "", "the port is empty; write a number from 0 to 65535"),
        ("127.0.0.1:http", InvalidPort, "http", "`http` is no port; write a number from 0 to 65535"),
        ("0x50:0x50", LegacyIpv4, "0x50", "`0x50` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("127.0.0.1:0x50", InvalidPort, "0x50", "`0x50` is no port; write a number from 0 to 65535"),
        ("127.0.0.1:80a", InvalidPort, "80a", "`80a` is no port; write a number from 0 to 65535"),
        ("127.0.0.1:1.5", InvalidPort, "1.5", "`1.5` is no port; write a number from 0 to 65535"),
        ("+80", SignedPort, "+80", "the port `+80` has a sign; write digits only"),
        ("-1", SignedPort, "-1", "the port `-1` has a sign; write digits only"),
        ("-8080", SignedPort, "-8080", "the port `-8080` has a sign; write digits only"),
        ("127.0.0.1:+80", SignedPort, "+80", "the port `+80` has a sign; write digits only"),
        ("127.0.0.1:-1", SignedPort, "-1", "the port `-1` has a sign; write digits only"),
        ("080", LeadingZeroPort, "080", "the port `080` has leading zeros; write `80`"),
        ("127.0.0.1:080", LeadingZeroPort, "080", "the port `080` has leading zeros; write `80`"),
        ("127.0.0.1:00", LeadingZeroPort, "00", "the port `00` has leading zeros; write `0`"),
        ("65536", PortTooLarge, "65536", "the port `65536` is too large; ports end at 65535"),
        ("127.0.0.1:65536", PortTooLarge, "65536", "the port `65536` is too large; ports end at 65535"),
        ("127.0.0.1:99999999999999999999", PortTooLarge, "99999999999999999999", "the port `99999999999999999999` is too large; ports end at 65535"),
        ("localhost:2-1", ReversedRange, "2-1", "the port range `2-1` ends before it starts; write the lower port first"),
        ("localhost:1-999999999999", PortTooLarge, "999999999999", "the port `999999999999` is too large; ports end at 65535"),
        ("localhost:0-10", RangeFromZero, "0-10", "the port range `0-10` starts at 0, which is any free port; start at 1, or write `0`"),
        ("localhost:1-2-3", InvalidPort, "2-3", "`2-3` is no port; write a number from 0 to 65535"),
        ("::1:80", AmbiguousIpv6, "::1:80", "it reads as the address `::1:80` without a port and as `::1` with port 80; write `[::1:80]:8080` or `[::1]:80`"),
        ("fe80::1:2", AmbiguousIpv6, "fe80::1:2", "it reads as the address `fe80::1:2` without a port and as `fe80::1` with port 2; write `[fe80::1:2]:8080` or `[fe80::1]:2`"),
        ("2001:db8::1:8080", AmbiguousIpv6, "2001:db8::1:8080", "it reads as the address `2001:db8::1:8080` without a port and as `2001:db8::1` with port 8080; write `[2001:db8::1:8080]:8080` or `[2001:db8::1]:8080`"),
        (":::80", UnbracketedIpv6, ":::80", "an IPv6 address with a port stands in brackets; write `[::]:80`"),
        (":::9750", UnbracketedIpv6, ":::9750", "an IPv6 address with a port stands in brackets; write `[::]:9750`"),
        ("1:2:3:4:5:6:7:8:80", UnbracketedIpv6, "1:2:3:4:5:6:7:8:80", "an IPv6 address with a port stands in brackets; write `[1:2:3:4:5:6:7:8]:80`"),
        ("fe80::1%eth0:80", UnbracketedIpv6, "fe80::1%eth0:80", "an IPv6 address with a port stands in brackets; write `[fe80::1%eth0]:80`"),
        ("::ffff:1.2.3.4:80", UnbracketedIpv6, "::ffff:1.2.3.4:80", "an IPv6 address with a port stands in brackets; write `[::ffff:1.2.3.4]:80`"),
        ("::1:65536", PortTooLarge, "65536", "the port `65536` is too large; ports end at 65535"),
        ("[::1", UnclosedBracket, "[", "the `[` is never closed; an IPv6 address stands between `[` and `]`"),
        ("[::1:80", UnclosedBracket, "[", "the `[` is never closed; an IPv6 address stands between `[` and `]`"),
        ("::1]:80", UnopenedBracket, "]", "the `]` at byte 3 is out of place; brackets stand around an IPv6 address, as in `[::1]:8080`"),
        ("127.0.0.1]:80", UnopenedBracket, "]", "the `]` at byte 9 is out of place; brackets stand around an IPv6 address, as in `[::1]:8080`"),
        ("[::1]80", AfterBracket, "80", "only a `:` and a port may follow the `]`, not `80`"),
        ("[::1]]:80", AfterBracket, "]:80", "only a `:` and a port may follow the `]`, not `]:80`"),
        ("[127.0.0.1]:80", NotIpv6InBrackets, "127.0.0.1", "brackets are for IPv6 addresses, and `127.0.0.1` is none; leave them off"),
        ("[*]:80", NotIpv6InBrackets, "*", "brackets are for IPv6 addresses, and `*` is none; leave them off"),
        ("[eth0]:80", NotIpv6InBrackets, "eth0", "brackets are for IPv6 addresses, and `eth0` is none; leave them off"),
        ("[fe80:::1]:80", InvalidIpv6, "fe80:::1", "`fe80:::1` is not an IPv6 address, which has up to eight groups as in `2001:db8::1`"),
        ("[::g]:80", InvalidIpv6, "::g", "`::g` is not an IPv6 address, which has up to eight groups as in `2001:db8::1`"),
        ("1:2:3:80", InvalidIpv6, "1:2:3:80", "`1:2:3:80` is not an IPv6 address, which has up to eight groups as in `2001:db8::1`"),
        ("256.0.0.1:80", InvalidIpv4, "256.0.0.1", "`256.0.0.1` is not an IPv4 address, which has four numbers up to 255 as in `127.0.0.1`"),
        ("1.2.3.4.5:80", InvalidIpv4, "1.2.3.4.5", "`1.2.3.4.5` is not an IPv4 address, which has four numbers up to 255 as in `127.0.0.1`"),
        ("127.0.0.1.:80", InvalidIpv4, "127.0.0.1.", "`127.0.0.1.` is not an IPv4 address, which has four numbers up to 255 as in `127.0.0.1`"),
        ("1..2.3:80", InvalidIpv4, "1..2.3", "`1..2.3` is not an IPv4 address, which has four numbers up to 255 as in `127.0.0.1`"),
        ("127.1", LegacyIpv4, "127.1", "`127.1` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("127.1:80", LegacyIpv4, "127.1", "`127.1` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("127.1:0", LegacyIpv4, "127.1", "`127.1` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("0x7f.1:80", LegacyIpv4, "0x7f.1", "`0x7f.1` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("0x7f.0.0.1:80", LegacyIpv4, "0x7f.0.0.1", "`0x7f.0.0.1` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("2130706433:80", LegacyIpv4, "2130706433", "`2130706433` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("0:80", LegacyIpv4, "0", "`0` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("010.0.0.1:80", LeadingZeroOctet, "010", "`010` has a leading zero, which some programs read as octal; write `10`"),
        ("127.0.0.01:80", LeadingZeroOctet, "01", "`01` has a leading zero, which some programs read as octal; write `1`"),
        ("eth0:8080:ipv4", TooManyColons, "eth0:8080:ipv4", "only IPv6 addresses have more than one `:`; between host and port there is one"),
        ("vsock:42:80", TooManyColons, "vsock:42:80", "only IPv6 addresses have more than one `:`; between host and port there is one"),
        ("[fe80::1%]:80", EmptyZone, "", "no zone follows the `%`; name an interface, as in `%eth0`"),
        ("[fe80::1%25eth0]:80", EncodedZone, "25eth0", "`%25` is how a URL writes `%`; write `%eth0`"),
        ("[fe80::1]:53%eth0", ZoneOutsideBrackets, "%eth0", "the zone stands inside the brackets, behind the address; write `[fe80::1%eth0]:53`"),
        ("[fe80::1]%eth0:53", ZoneOutsideBrackets, "%eth0", "the zone stands inside the brackets, behind the address; write `[fe80::1%eth0]:53`"),
        ("[::1%lo]:80", ZoneNotLinkLocal, "lo", "only link-local addresses have a zone; leave off `%lo`"),
        ("[2001:db8::1%eth0]:80", ZoneNotLinkLocal, "eth0", "only link-local addresses have a zone; leave off `%eth0`"),
        ("[::ffff:127.0.0.1%1]:80", ZoneNotLinkLocal, "1", "only link-local addresses have a zone; leave off `%1`"),
        ("1.2.3.4%eno1:67", ZoneNotLinkLocal, "eno1", "only link-local addresses have a zone; leave off `%eno1`"),
        ("[fe80::1%99999999999]:80", ZoneTooLarge, "99999999999", "`99999999999` is too large for an interface index; name the interface, as in `%eth0`"),
        ("[fe80::1%et/0]:80", InvalidCharacter, "/", "`/` at byte 11 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("[fe80::1%e]th0]:80", AfterBracket, "th0]:80", "only a `:` and a port may follow the `]`, not `th0]:80`"),
        ("..:80", InvalidCharacter, "..", "`..` at byte 0 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("et/h0:80", Path, "/h0", "it has a path; leave off `/h0`"),
        ("10.1/8:80", LegacyIpv4, "10.1", "`10.1` is a number; write an IPv4 address as four decimal numbers, as in `127.0.0.1`"),
        ("10.0.0.0/33:80", InvalidPrefixLength, "33", "`33` is no prefix length; they end at 32 for IPv4 and at 128 for IPv6"),
        ("10.0.0.0/08:80", InvalidPrefixLength, "08", "`08` is no prefix length; they end at 32 for IPv4 and at 128 for IPv6"),
        ("[fd00::/129]:80", InvalidPrefixLength, "129", "`129` is no prefix length; they end at 32 for IPv4 and at 128 for IPv6"),
        ("10.1.2.3/8:80", HostBitsSet, "10.1.2.3/8", "`10.1.2.3/8` has bits set behind its prefix; write `10.0.0.0/8` for the network or `10.1.2.3` for the address"),
        ("[fd00::1/8]:80", HostBitsSet, "fd00::1/8", "`fd00::1/8` has bits set behind its prefix; write `[fd00::/8]` for the network or `[fd00::1]` for the address"),
        ("[::ffff:10.0.0.0/104]:80", MappedNetwork, "::ffff:10.0.0.0/104", "IPv4-mapped networks hold no address of a host; write the IPv4 network"),
        ("[fd00::]/8:80", UnbracketedNetwork, "[fd00::]", "an IPv6 network stands in brackets with its prefix length, as in `[fd00::/8]:8080`"),
        ("fd00::/8:80", UnbracketedNetwork, "fd00::/8:80", "an IPv6 network stands in brackets with its prefix length, as in `[fd00::/8]:8080`"),
        ("::/0", UnbracketedNetwork, "::/0", "an IPv6 network stands in brackets with its prefix length, as in `[fd00::/8]:8080`"),
        ("_eth0_:80", UnknownWord, "_eth0_", "`_eth0_` is no word; the words are `_local_`, `_private_`, `_public_` and `_default_`"),
        ("_eth0:ipv4_", InvalidPort, "ipv4_", "`ipv4_` is no port; write a number from 0 to 65535"),
        ("_x_:80", UnknownWord, "_x_", "`_x_` is no word; the words are `_local_`, `_private_`, `_public_` and `_default_`"),
        ("{{GetInterfaceIP}}:80", InvalidCharacter, "{", "`{` at byte 0 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("127.0.0.1,::1", List, ",", "one address may stand here, and the `,` at byte 9 begins another"),
        ("iface/eth0", Path, "/eth0", "it has a path; leave off `/eth0`"),
        ("eth0:8080:firstipv4", TooManyColons, "eth0:8080:firstipv4", "only IPv6 addresses have more than one `:`; between host and port there is one"),
        ("%eno1", InvalidCharacter, "%", "`%` at byte 0 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("fd@3", UnknownFamily, "fd", "`fd@` is no address family; the families are `ipv4@` and `ipv6@`"),
        ("fd/3", Path, "/3", "it has a path; leave off `/3`"),
        ("sd-listen:web", InvalidPort, "web", "`web` is no port; write a number from 0 to 65535"),
        ("systemd#2", InvalidCharacter, "#", "`#` at byte 7 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("eth0@53", UnknownFamily, "eth0", "`eth0@` is no address family; the families are `ipv4@` and `ipv6@`"),
        ("tcp6/foo:1-2", Path, "/foo", "it has a path; leave off `/foo`"),
        ("udp/:53", Path, "/", "it has a path; leave off `/`"),
        ("abns@x", UnknownFamily, "abns", "`abns@` is no address family; the families are `ipv4@` and `ipv6@`"),
        ("fd://3", Url, "fd://", "it is a URL; leave off `fd://` and what follows the port"),
        ("fd://name", Url, "fd://", "it is a URL; leave off `fd://` and what follows the port"),
        ("_site_", MissingPort, "_site_", "the port is missing; write `_site_:8080`"),
        ("{{ GetInterfaceIP \"eth0\" }}:80", WhiteSpace, " ", "white space stands at byte 2, and one address has none"),
        ("-::1", MissingPort, "::1", "the port is missing; write `-[::1]:8080`"),
        ("-::*", InvalidCharacter, "*", "`*` at byte 3 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("127.0.0.1 -::1", WhiteSpace, " ", "white space stands at byte 9, and one address has none"),
        ("127.0.0.01", LeadingZeroOctet, "01", "`01` has a leading zero, which some programs read as octal; write `1`"),
        ("::1]", UnopenedBracket, "]", "the `]` at byte 3 is out of place; brackets stand around an IPv6 address, as in `[::1]:8080`"),
        (":", EmptyHost, "", "the host is empty, as when a variable is unset; write `*:8080` if every address is meant"),
        ("foo", MissingPort, "foo", "the port is missing; write `foo:8080`"),
        ("localhost:1-", EmptyPort, "", "the port is empty; write a number from 0 to 65535"),
        (":80-90", EmptyHost, "", "the host is empty, as when a variable is unset; write `*:80-90` if every address is meant"),
        ("[fe80::1]:80%eth0", ZoneOutsideBrackets, "%eth0", "the zone stands inside the brackets, behind the address; write `[fe80::1%eth0]:80`"),
        ("::1:+80", InvalidCharacter, "+", "`+` at byte 4 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("::1:080", AmbiguousIpv6, "::1:080", "it reads as the address `::1:080` without a port and as `::1` with port 80; write `[::1:080]:8080` or `[::1]:80`"),
        (":::080", LeadingZeroPort, "080", "the port `080` has leading zeros; write `80`"),
        ("::1%lo:80", ZoneNotLinkLocal, "lo", "only link-local addresses have a zone; leave off `%lo`"),
        ("0000065536", PortTooLarge, "0000065536", "the port `0000065536` is too large; ports end at 65535"),
        ("[%eth0]:80", EmptyHost, "[%eth0]", "the host is empty, as when a variable is unset; write `*:80` if every address is meant"),
        ("[/8]:80", EmptyHost, "[/8]", "the host is empty, as when a variable is unset; write `*:80` if every address is meant"),
        ("[::1]:80%", EmptyZone, "", "no zone follows the `%`; name an interface, as in `%eth0`"),
        ("ipv4@:8080", EmptyHost, "", "the host is empty, as when a variable is unset; write `ipv4@*:8080` if every address is meant"),
        ("2001:db8::1:65536", PortTooLarge, "65536", "the port `65536` is too large; ports end at 65535"),
        ("127.0.0.1::80", TooManyColons, "127.0.0.1::80", "only IPv6 addresses have more than one `:`; between host and port there is one"),
        ("1.2.3.4:5:6", TooManyColons, "1.2.3.4:5:6", "only IPv6 addresses have more than one `:`; between host and port there is one"),
        ("[a$b]:80", NotIpv6InBrackets, "a$b", "brackets are for IPv6 addresses, and `a$b` is none; leave them off"),
        ("[fe80::1%25a$b]:80", InvalidCharacter, "$", "`$` at byte 12 belongs to no address and no name; a name has letters, digits, `.`, `_` and `-`"),
        ("0999.0.0.1:80", InvalidIpv4, "0999.0.0.1", "`0999.0.0.1` is not an IPv4 address, which has four numbers up to 255 as in `127.0.0.1`"),
        ("-ipv6@1.2.3.4:80", FamilyMismatch, "1.2.3.4", "`1.2.3.4` is not of the family before the `@`; leave off `ipv6@`"),
        ("1.2.3.4", MissingPort, "1.2.3.4", "the port is missing; write `1.2.3.4:8080`"),
    ]
}

#[test]
fn every_misspelling_has_its_own_sentence() {
    for (written, kind, place, sentence) in misspellings() {
        let err = written.parse::<ListenAddr>().expect_err(written);
        assert_eq!(err.kind(), kind, "{written:?}: {err}");
        assert_eq!(err.text(), written);
        assert_eq!(&written[err.span()], place, "{written:?}: {err}");
        assert_eq!(
            err.to_string(),
            format!(
                "invalid listen address \"{}\": {sentence}",
                written.escape_debug()
            ),
        );
    }
}

/// What a message says to write: the words in backticks behind its last "write".
fn mends(message: &str) -> Vec<&str> {
    match message.rsplit_once("write ") {
        Some((_, mends)) => mends.split('`').skip(1).step_by(2).collect(),
        None => Vec::new(),
    }
}

#[track_caller]
fn assert_mends_are_read(message: &str) {
    for mend in mends(message) {
        // The one that is a part of an address.
        if !mend.starts_with('%') {
            let read = ListenAddr::parse_with_default_port(mend, 443);
            assert!(read.is_ok(), "{message}: {read:?}");
        }
    }
}

#[test]
fn what_a_message_says_to_write_is_read() {
    for (written, ..) in misspellings() {
        assert_mends_are_read(
            &written
                .parse::<ListenAddr>()
                .expect_err(written)
                .to_string(),
        );
    }
    assert_eq!(mends("…; write `a` or `b`"), ["a", "b"]);
}

#[test]
fn every_kind_of_mistake_is_in_the_table() {
    let seen: HashSet<String> = misspellings()
        .iter()
        .map(|(_, kind, ..)| format!("{kind:?}"))
        .collect();
    // Those that only a host without a port is refused for are in resolve.rs, that of a list in
    // lists.rs, and that of a name below.
    let elsewhere = [
        "UnexpectedPort",
        "UnexpectedOptional",
        "PortAlone",
        "NameTooLong",
    ];
    let source = include_str!("../src/listen/refusal.rs");
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
fn a_name_is_as_long_as_dns_has_and_a_zone_as_an_interface() {
    // The host name of a pod, which is no interface's.
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
            "has {} bytes, more than {what} can have; shorten it, or write an address",
            longest + 1
        );
        assert!(err.to_string().ends_with(&end), "{err}");
    }
}

#[test]
fn a_long_text_is_refused_in_a_short_sentence() {
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
fn a_socket_address_converts() {
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
            .prop_map(|(ip, len)| bindaddr::Network::containing(ip.into(), len).to_string()),
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
    fn no_text_panics(text in prop_oneof![any::<String>(), near_texts()]) {
        for result in [text.parse::<ListenAddr>(), ListenAddr::parse_with_default_port(&text, 80)] {
            if let Err(err) = result {
                prop_assert_eq!(err.text(), &text);
                prop_assert!(text.get(err.span()).is_some());
                prop_assert!(!err.to_string().chars().any(char::is_control));
                prop_assert!(err.to_string().len() < 1500, "{}", err);
                assert_mends_are_read(&err.to_string());
            }
        }
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
    fn texts_of_the_grammar_are_read(text in valid_texts()) {
        let read = text.parse::<ListenAddr>();
        prop_assert!(read.is_ok(), "{:?}", read);
    }

    // Whatever std reads is read with the same meaning.
    #[test]
    fn std_is_agreed_with(text in prop_oneof![
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
