//! Texts that a template, a container engine or a service manager left where an address belongs.

/// Finds what a program was to replace by a value: `$HOST`, `${HOST}`, `$(HOST)`, `{{ host }}`, `{host}`, `#{host}`,
/// `<host>`, `%(host)s`, `%HOST%`, `@HOST@` and `__HOST__`. None of them is part of an address.
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

/// Returns `true` if a text names a socket that a service manager hands over, as other programs write it: `fd://3`,
/// `fd@3`, `sd-listen`, `systemd:name`.
pub(super) fn is_inherited_socket(text: &str) -> bool {
    let (name, rest) = match text.find([':', '@', '#', '/']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let is_port = rest
        .strip_prefix(':')
        .is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    match name {
        "sd-listen" | "sd-listen-unix" | "systemd" | "launchd" => !is_port,
        "fd" | "inherit" | "inherited" => ["://", "@", "#"]
            .iter()
            .any(|joint| rest.starts_with(joint)),
        _ => false,
    }
}

/// Returns the interface of a text that `ip` shows: `eth0@if5`, `vlan10@eth0`, `sit0@NONE`.
pub(super) fn shown_by_ip(before: &str, after: &str) -> bool {
    let other = after.split(':').next().unwrap_or_default();
    let (kind, number) = other.split_at(
        other
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(other.len()),
    );
    let is_number = !number.is_empty()
        && number
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.');
    let is_link = [
        "if", "eth", "en", "enp", "ens", "eno", "wlan", "wlp", "bond", "br", "team", "veth",
        "dummy",
    ];
    other == "NONE"
        || is_number && is_link.contains(&kind)
        || before
            .strip_prefix(other)
            .is_some_and(|rest| rest.starts_with('.'))
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
}
