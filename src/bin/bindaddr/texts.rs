//! The settings among the arguments: texts, lists of them, and files.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use bindaddr::{EntryError, ListenAddrs, ParseErrorKind};
use serde_json::Value;

/// Returns the entries of a text, which may be a list, as they are written. What stands between
/// two commas is at least one, if an empty one.
///
/// What is wrong with an entry is for its own line, save what it is in this list alone.
fn entries(text: &str) -> io::Result<Vec<String>> {
    if let Err(err) = text.parse::<ListenAddrs>() {
        let mut faults = err.faults().iter().map(EntryError::error);
        if let Some(err) = faults.find(|err| err.kind() == ParseErrorKind::PortAlone) {
            return Err(wrong(text, err));
        }
    }
    let between = text.split(',');
    let entries = between.flat_map(|between| {
        let empty = between.trim_ascii().is_empty().then_some("");
        between.split_ascii_whitespace().chain(empty)
    });
    Ok(entries.map(str::to_owned).collect())
}

/// Returns the entries of each text, one after another.
pub(crate) fn entries_of_each(
    texts: impl IntoIterator<Item = impl AsRef<str>>,
) -> io::Result<Vec<String>> {
    let entries = texts.into_iter().map(|text| entries(text.as_ref()));
    Ok(entries.collect::<io::Result<Vec<_>>>()?.concat())
}

fn wrong(what: &str, err: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {err}"))
}

/// Returns the entries of an argument, which may be a file.
pub(crate) fn entries_of(argument: &str, key: &str) -> io::Result<Vec<String>> {
    let path = Path::new(argument);
    let extension = path.extension().and_then(OsStr::to_str);
    let is_path = argument == "-" || argument.starts_with("./") || argument.starts_with('/');
    if !is_path && !path.is_file() {
        // A file that is not there is no address.
        if matches!(extension, Some("toml" | "json")) {
            return Err(wrong(argument, "there is no such file"));
        }
        return entries(argument);
    }
    let content = match argument {
        "-" => {
            let mut content = String::new();
            io::stdin().read_to_string(&mut content).map(|_| content)
        }
        _ => fs::read_to_string(path),
    };
    let content = content.map_err(|err| wrong(argument, err))?;
    let config: Value = match extension {
        Some("toml") => toml::from_str(&content).map_err(|err| wrong(argument, err))?,
        Some("json") => serde_json::from_str(&content).map_err(|err| wrong(argument, err))?,
        _ => {
            let lines = content
                .lines()
                .map(|line| line.split('#').next().unwrap_or_default());
            let texts = lines.filter(|line| !line.trim().is_empty());
            let found = entries_of_each(texts)?;
            if found.is_empty() {
                return Err(wrong(argument, "no listen address"));
            }
            return Ok(found);
        }
    };
    let mut found = Vec::new();
    if !collect(&config, key, &mut found) {
        let what = format!("a value of `{key}` is neither a text nor a port");
        return Err(wrong(argument, what));
    }
    if found.is_empty() {
        return Err(wrong(argument, format!("no value of the key `{key}`")));
    }
    entries_of_each(found)
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
        Value::String(text) => found.push(text.clone()),
        Value::Number(port) => found.push(port.to_string()),
        Value::Array(values) => return values.iter().all(|value| collect_all(value, found)),
        _ => return false,
    }
    true
}
