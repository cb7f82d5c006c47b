//! The settings among the arguments: texts, lists of them, and files.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

/// Returns the entries of a text, which may be a list, as they are written. What stands between
/// two commas is at least one, if an empty one.
pub(crate) fn entries(text: &str) -> Vec<String> {
    let between = text.split(',');
    let entries = between.flat_map(|between| {
        let empty = between.trim_ascii().is_empty().then_some("");
        between.split_ascii_whitespace().chain(empty)
    });
    entries.map(str::to_owned).collect()
}

/// Returns the entries of an argument, which may be a file.
pub(crate) fn entries_of(argument: &str, key: &str) -> io::Result<Vec<String>> {
    let path = Path::new(argument);
    let is_path = argument == "-" || argument.starts_with("./") || argument.starts_with('/');
    if !is_path && !path.is_file() {
        return Ok(entries(argument));
    }
    let wrong =
        |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("{argument}: {what}"));
    let content = match argument {
        "-" => {
            let mut content = String::new();
            io::stdin().read_to_string(&mut content).map(|_| content)
        }
        _ => fs::read_to_string(path),
    };
    let content = content.map_err(|err| wrong(err.to_string()))?;
    let config: Value = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml::from_str(&content).map_err(|err| wrong(err.to_string()))?,
        Some("json") => serde_json::from_str(&content).map_err(|err| wrong(err.to_string()))?,
        _ => {
            let lines = content
                .lines()
                .map(|line| line.split('#').next().unwrap_or_default());
            let texts = lines.filter(|line| !line.trim().is_empty());
            return Ok(texts.flat_map(entries).collect());
        }
    };
    let mut found = Vec::new();
    if !collect(&config, key, &mut found) {
        return Err(wrong(format!(
            "a value of `{key}` is neither a text nor a port"
        )));
    }
    if found.is_empty() {
        return Err(wrong(format!("no value of the key `{key}`")));
    }
    Ok(found)
}

/// Collects the texts and ports below each `key`, and tells whether there is nothing else.
fn collect(value: &Value, key: &str, found: &mut Vec<String>) -> bool {
    match value {
        Value::Object(fields) => fields.iter().all(|(name, value)| {
            if name == key && !value.is_object() {
                collect_all(value, found)
            } else {
                collect(value, key, found)
            }
        }),
        Value::Array(values) => values.iter().all(|value| collect(value, key, found)),
        _ => true,
    }
}

fn collect_all(value: &Value, found: &mut Vec<String>) -> bool {
    match value {
        Value::String(text) => found.extend(entries(text)),
        Value::Number(port) => found.push(port.to_string()),
        Value::Array(values) => return values.iter().all(|value| collect_all(value, found)),
        _ => return false,
    }
    true
}
