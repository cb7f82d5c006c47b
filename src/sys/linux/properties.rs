//! The property of the parsers, for the property tests and for the fuzz targets.

use super::procfs::{Status, ipv6_addr, socket};
use super::{netlink, rtnetlink, sock_diag};
use crate::sys::Protocol;

/// Parses any bytes as responses of netlink and as files of procfs, which must not panic.
pub(crate) fn parsers_accept_any_bytes(bytes: &[u8]) {
    let parse = |kind, body: &[u8]| {
        let _ = (
            rtnetlink::parse_link(kind, body),
            rtnetlink::local_route(kind, body),
            rtnetlink::addr(kind, body),
            sock_diag::socket(Protocol::Tcp, kind, body),
        );
    };
    for (message, _) in netlink::messages(bytes) {
        if let netlink::Message::Payload(kind, body) = message {
            parse(kind, body);
        }
    }
    for kind in [16, 20, 24] {
        parse(kind, bytes);
    }
    let _ = ipv6_addr(bytes);
    let text = String::from_utf8_lossy(bytes);
    let _ = socket(Protocol::Tcp, &text);
    let status = Status(text.into_owned());
    let _ = (status.capability(), status.has_seccomp_filter());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parsers_accept_any_bytes;

    proptest! {
        #[test]
        fn readers_accept_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parsers_accept_any_bytes(&bytes);
        }
    }
}
