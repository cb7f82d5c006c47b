//! A text and what it means: nothing widens, nothing is lost, and std reads it as the same.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use bindaddr::addr::Host;
use bindaddr::interfaces::Interface;
use bindaddr::{BindTarget, Exposure, Interfaces, ListenAddr};
use libfuzzer_sys::fuzz_target;

fn host() -> Interfaces {
    let ip = |text: &str| text.parse().expect("an address");
    [
        Interface::new("lo", 1)
            .with_addr(ip("127.0.0.1"), 8)
            .with_addr(ip("::1"), 128),
        Interface::new("eth0", 2)
            .with_addr(ip("192.168.71.67"), 16)
            .with_addr(ip("203.0.113.7"), 24)
            .with_addr(ip("2001:db8::1"), 64)
            .with_addr(ip("fe80::77"), 64),
    ]
    .into_iter()
    .collect()
}

/// Whether the text itself says that every address is meant.
fn says_every_address(addr: &ListenAddr) -> bool {
    match addr.host() {
        Host::Any => true,
        Host::Ip { ip, .. } => ip.to_canonical().is_unspecified(),
        _ => false,
    }
}

/// A host without a port: it is read back, std reads an address as the same, and a port is never a
/// part of it.
fn host_alone(text: &str) {
    let addr = ListenAddr::from_host(text, 443);
    let host = text.parse::<Host>();
    if let Ok(host) = &host {
        assert_eq!(host.to_string().parse().as_ref(), Ok(host), "{text:?}");
        assert_eq!(addr, Ok(ListenAddr::from((host.clone(), 443))), "{text:?}");
        assert!(*host != Host::Any || text == "*", "{text:?}");
    }
    if let Ok(addr) = &addr {
        assert_eq!(addr.ports(), 443..=443, "{text:?}");
        assert_eq!(addr.to_string().parse().as_ref(), Ok(addr), "{text:?}");
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        assert_eq!(addr, Ok(SocketAddr::new(ip, 443).into()), "{text:?}");
    }
    for err in [addr.err(), host.err()].into_iter().flatten() {
        assert!(!err.to_string().contains(char::is_control), "{err:?}");
        assert!(text.get(err.span()).is_some(), "{text:?}: {:?}", err.span());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    host_alone(text);
    let std = text.parse::<SocketAddr>();
    match text.parse::<ListenAddr>() {
        Ok(addr) => {
            let canonical = addr.to_string();
            assert_eq!(
                canonical.parse::<ListenAddr>().as_ref(),
                Ok(&addr),
                "{text:?}"
            );
            assert!(!canonical.contains(char::is_control));
            if matches!(addr.host(), Host::Any) {
                let named = text.strip_prefix('-').unwrap_or(text);
                let named = named
                    .trim_start_matches("ipv4@")
                    .trim_start_matches("ipv6@");
                assert!(
                    named.starts_with('*') || named.starts_with(|c: char| c.is_ascii_digit()),
                    "{text:?}"
                );
            }
            if let Ok(std) = std {
                assert!(
                    matches!(addr.host(), Host::Ip { ip, .. } if *ip == std.ip()),
                    "{text:?}"
                );
                assert_eq!(addr.ports(), std.port()..=std.port());
            }
            let host = host();
            for target in addr.resolve(&host).into_iter().flatten() {
                assert!(
                    !target.is_any() || says_every_address(&addr),
                    "{text:?}: {target}"
                );
                // Only loopback addresses have the exposure of this host.
                let ips: Vec<IpAddr> = match &target {
                    BindTarget::Loopback(addrs) => addrs.ips().collect(),
                    _ => Vec::new(),
                };
                let is_here = !ips.is_empty() && ips.iter().all(IpAddr::is_loopback);
                assert_eq!(
                    target.exposure(&host) == Exposure::ThisHost,
                    is_here,
                    "{text:?}: {target}"
                );
                assert!(!target.to_string().contains(char::is_control), "{text:?}");
            }
        }
        Err(err) => {
            let sentence = err.to_string();
            assert!(!sentence.contains(char::is_control), "{sentence:?}");
            assert!(text.get(err.span()).is_some(), "{text:?}: {:?}", err.span());
            assert_eq!(err.text(), text);
            // What std parses is accepted, except what the grammar rejects on purpose: padded
            // ports, and zones of addresses that have none.
            if std.is_ok() {
                let is_padded = text
                    .rsplit(':')
                    .next()
                    .is_some_and(|port| port.len() > 1 && port.starts_with('0'));
                assert!(is_padded || text.contains('%'), "{text:?}: {err}");
            }
        }
    }
});
