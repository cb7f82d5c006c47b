//! The names of hosts in `/etc/hosts`.

use std::fs;
use std::net::IpAddr;

/// Returns the addresses that `/etc/hosts` has for a name (hosts(5)): none, if the file cannot be
/// read.
pub(crate) fn addrs_of(name: &str) -> Vec<IpAddr> {
    let text = fs::read_to_string("/etc/hosts").unwrap_or_default();
    text.lines()
        .filter_map(|line| addr_of(line, name))
        .collect()
}

/// Returns the address of a line that has a name.
fn addr_of(line: &str, name: &str) -> Option<IpAddr> {
    let line = line.split('#').next().unwrap_or_default();
    let mut fields = line.split_whitespace();
    let ip = fields.next()?.parse().ok()?;
    fields
        .any(|field| field.eq_ignore_ascii_case(name))
        .then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lookup_agrees_with_libc() {
        for (line, is_found) in [
            ("127.0.1.1 web1", true),
            ("  127.0.1.1\tweb1.example.org WEB1 # own", true),
            ("127.0.1.1 web10", false),
            ("127.0.1.1 other # web1", false),
            ("#127.0.1.1 web1", false),
            ("web1 127.0.1.1", false),
            ("", false),
        ] {
            let found = addr_of(line, "web1");
            assert_eq!(
                found,
                is_found.then(|| "127.0.1.1".parse().expect("an address")),
                "{line}"
            );
        }
    }
}
