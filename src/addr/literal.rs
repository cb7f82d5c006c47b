//! The two texts that most settings are, `ip:port` and `[ip]:port`, read in one pass.
//!
//! Whatever is not plainly one of them is `None` and left to the grammar, which knows the mistakes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads an address and a port, both as the grammar reads them.
pub(crate) fn literal(text: &str) -> Option<(IpAddr, u16)> {
    let text = text.as_bytes();
    let (ip, rest) = if let Some(inside) = text.strip_prefix(b"[") {
        let (ip, rest) = ipv6(inside)?;
        (IpAddr::V6(ip), rest.strip_prefix(b"]:")?)
    } else {
        let (ip, rest) = ipv4(text)?;
        (IpAddr::V4(ip), rest.strip_prefix(b":")?)
    };
    let (port, rest) = decimal(rest, 5)?;
    let port = u16::try_from(port).ok()?;
    rest.is_empty().then_some((ip, port))
}

fn ipv4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let (mut ip, mut rest) = (0, text);
    for n in 0..4 {
        if n > 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let (octet, after) = decimal(rest, 3)?;
        if octet > 255 {
            return None;
        }
        ip = 256 * ip + octet;
        rest = after;
    }
    Some((Ipv4Addr::from_bits(ip), rest))
}

/// Up to `longest` digits, without leading zeros.
fn decimal(text: &[u8], longest: usize) -> Option<(u32, &[u8])> {
    let (mut number, mut len) = (0, 0);
    while let Some(digit @ b'0'..=b'9') = text.get(len) {
        if len == longest {
            return None;
        }
        number = 10 * number + u32::from(digit - b'0');
        len += 1;
    }
    let is_plain = match text {
        [b'0', ..] => len == 1,
        _ => len > 0,
    };
    is_plain.then(|| (number, &text[len..]))
}

/// Groups of hexadecimal digits apart by `:`, with one `::` for zeros (RFC 4291, section 2.2).
fn ipv6(text: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let mut groups = [0; 8];
    let (mut len, mut gap, mut rest) = (0, None, text);
    if let Some(after) = rest.strip_prefix(b"::") {
        (gap, rest) = (Some(0), after);
    }
    loop {
        match hexadecimal(rest) {
            Some((group, after)) => {
                *groups.get_mut(len)? = group;
                (len, rest) = (len + 1, after);
            }
            // Nothing has to follow `::`.
            None if gap == Some(len) => break,
            None => return None,
        }
        match (rest, gap) {
            ([b':', b':', after @ ..], None) => (gap, rest) = (Some(len), after),
            ([b':', after @ ..], _) => rest = after,
            _ => break,
        }
    }
    match gap {
        // It replaces one group at least.
        Some(gap) if len < 8 => {
            groups.copy_within(gap..len, 8 - (len - gap));
            groups[gap..8 - (len - gap)].fill(0);
        }
        None if len == 8 => {}
        _ => return None,
    }
    Some((Ipv6Addr::from(groups), rest))
}

/// One to four digits.
fn hexadecimal(text: &[u8]) -> Option<(u16, &[u8])> {
    let (mut number, mut len) = (0, 0);
    while len < 4 {
        let Some(digit) = text
            .get(len)
            .and_then(|byte| char::from(*byte).to_digit(16))
        else {
            break;
        };
        number = 16 * number + digit;
        len += 1;
    }
    let number = u16::try_from(number).ok()?;
    (len > 0).then(|| (number, &text[len..]))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::parse::{PortRule, grammar};
    use super::*;
    use crate::addr::ListenAddr;

    /// A generator of numbers, xorshift64 of Marsaglia.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }

        /// An address and a port, some of them with a few bytes changed.
        fn text(&mut self) -> String {
            let port = u16::try_from(self.below(65_536)).expect("it is below");
            let ip: IpAddr = if self.below(2) == 0 {
                Ipv4Addr::from_bits(u32::try_from(self.below(1 << 32)).expect("below")).into()
            } else {
                // Groups of zeros, which `::` replaces, and short ones.
                let mut group = || match self.below(3) {
                    0 => 0,
                    1 => u16::try_from(self.below(256)).expect("it is below"),
                    _ => u16::try_from(self.below(65_536)).expect("it is below"),
                };
                Ipv6Addr::from(std::array::from_fn::<u16, 8, _>(|_| group())).into()
            };
            let mut text = SocketAddr::new(ip, port).to_string().into_bytes();
            for _ in 0..self.below(3) {
                let at = usize::try_from(self.below(text.len() as u64)).expect("below");
                let bytes = b"0019afAF:.[]%-/x";
                let byte = bytes[usize::try_from(self.below(16)).expect("it is below")];
                match self.below(3) {
                    0 => text[at] = byte,
                    1 => text.insert(at, byte),
                    _ => drop(text.remove(at)),
                }
            }
            String::from_utf8(text).expect("it is ASCII")
        }
    }

    #[test]
    fn const_parser_agrees_with_grammar_and_std() {
        // `BINDADDR_PARSE_TEXTS` sets how many texts are tried.
        let count = std::env::var("BINDADDR_PARSE_TEXTS").ok();
        let count = count.map_or(100_000, |count| count.parse().expect("a number"));
        let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
        let mut read = 0;
        for _ in 0..count {
            let text = numbers.text();
            let by_grammar = grammar(&text, PortRule::Required);
            let by_std = text.parse::<SocketAddr>();
            let Some((ip, port)) = literal(&text) else {
                // It may leave a text to the grammar, but not one that std writes.
                let canonical = by_std.is_ok_and(|addr| addr.to_string() == text);
                // With a zone, or an IPv4 address within.
                let is_special = text.contains('%') || text.rfind('.') > text.find(':');
                assert!(!canonical || is_special, "{text}");
                continue;
            };
            read += 1;
            let addr = SocketAddr::new(ip, port);
            assert_eq!(by_grammar, Ok(ListenAddr::from(addr)), "{text}");
            assert_eq!(by_std, Ok(addr), "{text}");
        }
        assert!(read > count / 3, "{read}");
    }
}
