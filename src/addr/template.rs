//! Texts that a template, a container engine or a service manager left where an address belongs.

use super::parse::is_port_alone;

/// Finds what a program was to replace by a value: `$HOST`, `${HOST}`, `$(HOST)`, `{{ host }}`,
/// `{host}`, `#{host}`, `<host>`, `%(host)s`, `%HOST%`, `@HOST@` and `__HOST__`. None of them is
/// part of an address.
pub(super) fn placeholder(text: &str) -> Option<&str> {
    let mut found = text.char_indices().filter_map(|(at, c)| {
        // These begin a host or a port; a zone may have them behind it.
        let before = &text[..at];
        let is_at_start = before.is_empty() || before == "-" || before.ends_with(':');
        let rest = &text[at..];
        let end = match c {
            '$' => variable(rest),
            '#' if rest.starts_with("#{") => closed(rest, "}"),
            '{' if rest.starts_with("{{") => closed(rest, "}}"),
            '{' => enclosed(rest, "}"),
            '<' => enclosed(rest, ">"),
            '%' if rest.starts_with("%(") => closed(rest, ")").map(|end| {
                let has_type = rest[end..].starts_with(['s', 'd']);
                end + usize::from(has_type)
            }),
            '%' | '@' if is_at_start => enclosed(rest, &rest[..1]),
            '_' if is_at_start && rest.starts_with("__") => {
                let end = rest.find(':').unwrap_or(rest.len());
                (end > 4 && rest[..end].ends_with("__")).then_some(end)
            }
            _ => None,
        };
        Some(&rest[..end?])
    });
    found.next()
}

/// Returns the end of a variable of a shell, of make, or of Kubernetes.
fn variable(text: &str) -> Option<usize> {
    let rest = &text[1..];
    match rest.chars().next()? {
        '{' => Some(closed(text, "}").unwrap_or(text.len())),
        '(' => Some(closed(text, ")").unwrap_or(text.len())),
        _ => Some(1 + name_len(rest)?),
    }
}

/// Returns the end of a text that ends with `close`.
fn closed(text: &str, close: &str) -> Option<usize> {
    Some(text.find(close)? + close.len())
}

/// Returns the end of a name between one character and `close`.
fn enclosed(text: &str, close: &str) -> Option<usize> {
    let name = text.get(1..)?;
    let end = 1 + name_len(name)?;
    text[end..].starts_with(close).then_some(end + close.len())
}

/// Returns the length of the name of a variable.
fn name_len(text: &str) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let len = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (len > 0 && begins).then_some(len)
}

/// Finds a URL in place of a port, as Kubernetes sets `NAME_PORT` for a Service called `name`.
pub(super) fn service_link(text: &str) -> Option<&str> {
    let schemes = ["tcp://", "udp://", "sctp://"];
    let found = schemes.iter().filter_map(|scheme| text.find(scheme));
    let at = found.min().filter(|at| *at > 0)?;
    text[..at].ends_with(':').then(|| &text[at..])
}

/// Returns `true` if a text names a socket that a service manager hands over, as other programs
/// write it: `fd://3`, `fd@3`, `systemd:name`; and `sd-listen` alone, where a port has to follow a
/// name.
pub(super) fn is_inherited_socket(text: &str, needs_port: bool) -> bool {
    let (name, rest) = match text.find([':', '@', '#', '/']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    match name {
        "sd-listen" | "sd-listen-unix" | "systemd" | "launchd" => match rest.strip_prefix(':') {
            Some(port) => !is_port_alone(port),
            None => !rest.is_empty() || needs_port,
        },
        "fd" | "inherit" | "inherited" => ["://", "@", "#"]
            .iter()
            .any(|joint| rest.starts_with(joint)),
        _ => false,
    }
}

/// Returns `true` if `ip` shows an interface so, with what it is linked to: `eth0@if5`,
/// `vlan10@eth0`, `sit0@NONE`. What may be meant for a family is none.
pub(super) fn shown_by_ip(before: &str, after: &str) -> bool {
    let other = after.split(':').next().unwrap_or_default();
    if other == "NONE" {
        return true;
    }
    let families = ["ip", "ipv", "inet", "v", "tcp", "udp", "http"];
    let kind = before
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .to_ascii_lowercase();
    let is_name = before.len() > kind.len() && !kind.is_empty() && !families.contains(&&*kind);
    let is_vlan = before
        .strip_prefix(other)
        .is_some_and(|rest| rest.starts_with('.'));
    let link = other.trim_end_matches(|c: char| c.is_ascii_digit());
    let links = ["eth", "en", "wl", "bond", "br", "team", "veth", "dummy"];
    let is_link = link == "if" || links.iter().any(|known| link.starts_with(known));
    let is_link = is_link && other.len() > link.len();
    is_vlan || is_name && is_link
}

/// Returns `true` for the words that a program writes for a value that is not set.
pub(crate) fn is_unset(word: &str) -> bool {
    let words = [
        "undefined",
        "null",
        "none",
        "nil",
        "nan",
        "false",
        "true",
        "unset",
    ];
    words.iter().any(|unset| word.eq_ignore_ascii_case(unset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found_whole() {
        for (text, found) in [
            ("$HOST:80", Some("$HOST")),
            ("0.0.0.0:${PORT:-80}", Some("${PORT:-80}")),
            ("${HOST", Some("${HOST")),
            ("$(POD_IP):80", Some("$(POD_IP)")),
            ("{{ .Values.host }}:80", Some("{{ .Values.host }}")),
            ("{host}:80", Some("{host}")),
            ("#{host}:80", Some("#{host}")),
            ("<HOST>:80", Some("<HOST>")),
            ("%(host)s:80", Some("%(host)s")),
            ("127.0.0.1:%PORT%", Some("%PORT%")),
            ("@HOST@:80", Some("@HOST@")),
            ("__HOST__:80", Some("__HOST__")),
            ("127.0.0.1:__PORT__", Some("__PORT__")),
            ("$:80", None),
            ("[fe80::1%eth0]:80", None),
            ("fe80::1%eth0%:80", None),
            ("@abstract", None),
            ("_private_:80", None),
            ("user@host:80", None),
        ] {
            assert_eq!(placeholder(text), found, "{text}");
        }
    }

    #[test]
    fn shown_interface_differs_from_a_family() {
        for (text, is_shown) in [
            ("eth0@if5", true),
            ("vlan10@eth0", true),
            ("eth0.100@eth0", true),
            ("sit0@NONE", true),
            ("veth1@enp3s0", true),
            ("IPv4@eth0", false),
            ("inet6@eth0", false),
            ("v6@eth0", false),
            ("ip6@eth0", false),
            ("tcp4@eth0", false),
            ("tcp@eth0", false),
            ("admin@eth0", false),
            ("root@server1", false),
        ] {
            let (before, after) = text.split_once('@').expect("an `@`");
            assert_eq!(shown_by_ip(before, after), is_shown, "{text}");
        }
    }

    #[test]
    fn inherited_socket_differs_from_an_interface() {
        for (text, needs_port, is_inherited) in [
            ("fd://3", true, true),
            ("fd@3", true, true),
            ("sd-listen", true, true),
            ("sd-listen", false, false),
            ("systemd:web", true, true),
            ("systemd:80", true, false),
            ("systemd:8000-8010", true, false),
            ("systemd#2", false, true),
            ("launchd", false, false),
            ("fd:80", true, false),
        ] {
            assert_eq!(
                is_inherited_socket(text, needs_port),
                is_inherited,
                "{text}"
            );
        }
    }
}
