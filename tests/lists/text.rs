//! The text of a list.

use super::*;

fn list(text: &str) -> Vec<String> {
    let addrs: ListenAddrs = text.parse().unwrap_or_else(|err| panic!("{text:?}: {err}"));
    addrs.iter().map(ToString::to_string).collect()
}

#[test]
fn list_separators_are_commas_and_white_space() {
    for text in [
        "*:80,localhost:443",
        "*:80, localhost:443",
        "*:80 ,localhost:443",
        "*:80 localhost:443",
        "  *:80\tlocalhost:443\n",
        "80\r\n\tlocalhost:443",
    ] {
        assert_eq!(list(text), ["*:80", "localhost:443"], "{text:?}");
    }
    assert_eq!(list("-[::1]:80"), ["-[::1]:80"]);
    assert_eq!(list(" 80 "), ["*:80"]);
    let with_default = ListenAddrs::parse_with_default_port("127.0.0.1 [::1]:9090 eth0", 8080);
    assert_eq!(
        with_default.unwrap().to_string(),
        "127.0.0.1:8080, [::1]:9090, eth0:8080"
    );
    let each = ListenAddrs::parse_each(["80,443", "localhost:8080"]).unwrap();
    assert_eq!(each.to_string(), "*:80, *:443, localhost:8080");
}

#[test]
fn single_entry_error_equals_address_error() {
    let err = "127.1:80".parse::<ListenAddrs>().unwrap_err();
    let of_one = "127.1:80".parse::<ListenAddr>().unwrap_err();
    assert_eq!(err.to_string(), of_one.to_string());
    let addrs: ListenAddrs = "*:80, localhost:443".parse().unwrap();
    assert_eq!(addrs.as_slice().len(), 2);
    assert_eq!(addrs.as_slice()[1], "localhost:443".parse().unwrap());
}

#[test]
fn each_invalid_entry_is_reported_with_position() {
    for (text, faults) in [
        ("", vec![(0, 0, ParseErrorKind::Empty)]),
        (" \t ", vec![(0, 0, ParseErrorKind::Empty)]),
        ("80,", vec![(1, 3, ParseErrorKind::Empty)]),
        (",80", vec![(0, 0, ParseErrorKind::Empty)]),
        ("80,,443", vec![(1, 3, ParseErrorKind::Empty)]),
        ("80, ,443", vec![(1, 3, ParseErrorKind::Empty)]),
        (
            "80 localhost [::1]:70000 443 :80",
            vec![
                (1, 3, ParseErrorKind::MissingPort),
                (2, 13, ParseErrorKind::PortTooLarge),
                (3, 25, ParseErrorKind::PortAlone),
                (4, 29, ParseErrorKind::EmptyHost),
            ],
        ),
        // Another port of that address, or every address?
        ("127.0.0.1:80,443", vec![(1, 13, ParseErrorKind::PortAlone)]),
        (
            "80, [::1]:80 81\n82-83",
            vec![
                (2, 13, ParseErrorKind::PortAlone),
                (3, 16, ParseErrorKind::PortAlone),
            ],
        ),
        ("80;443", vec![(0, 0, ParseErrorKind::InvalidCharacter)]),
    ] {
        let err = text.parse::<ListenAddrs>().expect_err(text);
        let found: Vec<_> = err
            .errors()
            .iter()
            .map(|fault| (fault.index(), fault.offset(), fault.error().kind()))
            .collect();
        assert_eq!(found, faults, "{text:?}: {err}");
        for fault in err.errors() {
            let written = &text[fault.offset()..];
            assert!(written.starts_with(fault.error().text()), "{text:?}");
        }
    }
    let err = "80 70000".parse::<ListenAddrs>().unwrap_err();
    assert_eq!(
        err.to_string(),
        "entry 2 of 2: invalid listen address \"70000\": the port `70000` is too large; the largest is 65535"
    );
    let err = ListenAddrs::parse_with_default_port("::1 8080", 80).unwrap_err();
    assert_eq!(
        err.to_string(),
        "entry 2 of 2: invalid listen address \"8080\": ambiguous: a port alone means every address, or belongs to \
         the entry before it; write `[::1]:8080` for that address or `*:8080` for every address"
    );
    // Each argument is a separate list.
    assert!(ListenAddrs::parse_each(["127.0.0.1:80", "443"]).is_ok());
    // Ten thousand of them make no long message.
    let many = "70000 ".repeat(10_000);
    let err = many.parse::<ListenAddrs>().unwrap_err();
    assert_eq!(err.errors().len(), 10_000);
    let message = err.to_string();
    assert!(
        message.len() < 2000 && message.ends_with("; and 9992 more entries are wrong"),
        "{message}"
    );
    assert_eq!(list(&"80 ".repeat(10_000)).len(), 10_000);
}
