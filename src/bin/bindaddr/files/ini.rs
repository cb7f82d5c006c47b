//! The values of a file with `key = value` on its lines.

use super::{Content, Scalar, Step, Value, lines};

pub(super) fn read(content: &str) -> Content {
    let mut section: Vec<Step> = Vec::new();
    // The path and the indentation of the last key, whose value may be continued.
    let mut last: Option<(Vec<Step>, usize)> = None;
    let mut values: Vec<Value> = Vec::new();
    let mut unread = Vec::new();
    for (number, line) in lines(content) {
        let indentation = line.len() - line.trim_start().len();
        let mut line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';', '!']) {
            continue;
        }
        let continued = last.as_ref().filter(|(_, of_key)| indentation > *of_key);
        let (path, written) = if let Some((path, _)) = continued {
            // The first continued line of an empty value is the whole value.
            if values
                .last()
                .is_some_and(|value| value.path == *path && is_empty(&value.scalar))
            {
                values.pop();
            }
            (path.clone(), line)
        } else {
            if let Some((name, rest)) = section_and_rest(line) {
                section = vec![Step::Key(name.to_owned())];
                last = None;
                line = rest;
                if line.is_empty() {
                    continue;
                }
            }
            let Some((key, written)) = assignment(line) else {
                last = None;
                unread.push((number, line.to_owned()));
                continue;
            };
            let path = [&section[..], &[Step::Key(key.to_owned())]].concat();
            last = Some((path.clone(), indentation));
            (path, written)
        };
        let text = unquoted(without_comment(written.trim())).trim_end_matches(',');
        values.push(Value {
            path,
            line: number,
            scalar: Scalar::Text(text.to_owned()),
        });
    }
    Content::Values(values, unread)
}

fn is_empty(scalar: &Scalar) -> bool {
    matches!(scalar, Scalar::Text(text) if text.is_empty())
}

/// Returns the name of the section that a line begins, and what follows on the line.
pub(super) fn section_and_rest(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    let rest = if rest.starts_with(['#', ';']) {
        ""
    } else {
        rest
    };
    // An address in brackets has its port behind them.
    let is_section = !rest.starts_with(':') && !name.contains(':');
    is_section.then(|| (name.trim(), rest))
}

/// Returns the key and the value of a line: what is before and behind its first `=` or `:`.
pub(super) fn assignment(line: &str) -> Option<(&str, &str)> {
    let at = line.find(['=', ':'])?;
    let (key, value) = (line[..at].trim(), &line[at + 1..]);
    let key = unquoted(key);
    // PHP and Java write lists so.
    let key = match key.split_once('[') {
        Some((name, index)) if index.ends_with(']') => name,
        _ => key,
    };
    // A URL may have a password before it, and with a `:` a word before an address is not part of a
    // key.
    let is_of_key = |c: char| {
        c.is_alphanumeric() || "-_.".contains(c) || c == ' ' && line[at..].starts_with('=')
    };
    let is_key = key.starts_with(char::is_alphabetic) && key.chars().all(is_of_key);
    (is_key && !value.starts_with("//")).then_some((key, value))
}

/// Returns a value up to a `#` or a `;` after white space.
fn without_comment(value: &str) -> &str {
    let is_comment =
        |(at, _): &(usize, &str)| *at == 0 || value[..*at].ends_with(char::is_whitespace);
    let mut marks = value.match_indices(['#', ';']);
    let comment = marks.find(is_comment);
    comment.map_or(value, |(at, _)| value[..at].trim_end())
}

fn unquoted(value: &str) -> &str {
    let quoted = |mark: char| value.strip_prefix(mark)?.strip_suffix(mark);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}
