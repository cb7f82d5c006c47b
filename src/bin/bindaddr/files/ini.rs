//! The values of a file with `key = value` on its lines.

use super::{Scalar, Step, Value, lines};

pub(super) fn values(content: &str) -> Vec<Value> {
    let mut section: Vec<Step> = Vec::new();
    // The path of the line before, which may be continued.
    let mut last: Option<Vec<Step>> = None;
    let mut values = Vec::new();
    for (number, line) in lines(content) {
        let is_indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';', '!']) {
            continue;
        }
        if let Some(name) = section_name(line) {
            section = vec![Step::Key(name.to_owned())];
            last = None;
            continue;
        }
        let (path, value) = match (assignment(line), &last) {
            (Some((key, value)), _) => {
                let key = Step::Key(key.to_owned());
                ([&section[..], &[key]].concat(), value)
            }
            // A value may go on on the next lines.
            (None, Some(last)) if is_indented => (last.clone(), line),
            (None, _) => {
                last = None;
                continue;
            }
        };
        last = Some(path.clone());
        let value = unquoted(without_comment(value.trim()));
        if !value.is_empty() {
            values.push(Value {
                path,
                line: number,
                scalar: Scalar::Text(value.to_owned()),
            });
        }
    }
    values
}

/// Returns the name of the section that a line begins.
pub(super) fn section_name(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    // An address in brackets has its port behind them.
    (rest.is_empty() || rest.starts_with(['#', ';'])).then(|| name.trim())
}

/// Returns the key and the value of a line: what is before and behind its first `=` or `:`.
pub(super) fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(['=', ':'])?;
    // PHP and others write lists so.
    let key = key.trim();
    let key = key.strip_suffix("[]").unwrap_or(key);
    // A URL may have a password before it.
    let is_of_key = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    let is_key = key.starts_with(char::is_alphabetic) && key.chars().all(is_of_key);
    (is_key && !value.starts_with("//")).then_some((key, value))
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
