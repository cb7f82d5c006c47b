//! The values of a file with `key = value` on its lines.

use super::{Scalar, Step, Value};

pub(super) fn values(content: &str) -> Vec<Value> {
    let mut section: Vec<Step> = Vec::new();
    let mut values = Vec::new();
    for (line, number) in content.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';', '!']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = vec![Step::Key(name.trim().to_owned())];
            continue;
        }
        let Some((key, value)) = assignment(line) else {
            continue;
        };
        let value = unquoted(without_comment(value.trim()));
        let mut path = section.clone();
        path.push(Step::Key(key.trim().to_owned()));
        values.push(Value {
            path,
            line: number,
            scalar: Scalar::Text(value.to_owned()),
        });
    }
    values
}

/// Returns the key and the value of a line.
pub(super) fn assignment(line: &str) -> Option<(&str, &str)> {
    // An address has colons, so `key: value` is one only with a space.
    let (key, value) = line.split_once('=').or_else(|| line.split_once(": "))?;
    // A URL may have a password before a `=`.
    let is_of_key = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    key.chars().all(is_of_key).then_some((key, value))
}

/// Returns a value up to a `#` or a `;` after white space.
fn without_comment(value: &str) -> &str {
    let is_comment = |(at, _): &(usize, &str)| value[..*at].ends_with(char::is_whitespace);
    let mut marks = value.match_indices(['#', ';']);
    let comment = marks.find(is_comment);
    comment.map_or(value, |(at, _)| value[..at].trim_end())
}

fn unquoted(value: &str) -> &str {
    let quoted = |mark: char| value.strip_prefix(mark)?.strip_suffix(mark);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}
