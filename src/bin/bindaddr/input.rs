//! The settings among the arguments: texts, lists of them, and files.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use bindaddr::addr::{EntryError, ParseErrorKind};
use bindaddr::{ListenAddr, ListenAddrs};
use serde_json::Value;

/// Returns the entries of a text, which may be a list, as they are written. What stands between
/// two commas is at least one, if an empty one.
///
/// What is wrong with an entry is reported on its own line, except what is wrong only in this list.
fn entries(text: &str) -> io::Result<Vec<String>> {
    let text = &*without_credentials(text);
    if let Err(err) = text.parse::<ListenAddrs>() {
        let mut faults = err.errors().iter().map(EntryError::error);
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

/// Returns a text that has a URL without its user name and password, which a `,` in them would otherwise take apart.
fn without_credentials(text: &str) -> Cow<'_, str> {
    match text.parse::<ListenAddr>() {
        Err(err) if text.contains("//") => err.without_credentials().into_owned().into(),
        _ => text.into(),
    }
}

/// Returns the entries of each text, one after another.
pub(crate) fn entries_of_each(
    texts: impl IntoIterator<Item = impl AsRef<str>>,
) -> io::Result<Vec<String>> {
    let entries = texts.into_iter().map(|text| entries(text.as_ref()));
    Ok(entries.collect::<io::Result<Vec<_>>>()?.concat())
}

fn wrong(what: &str, err: impl Display) -> io::Error {
    let what = without_credentials(what);
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {err}"))
}

/// The extensions of files that have settings.
const EXTENSIONS: [&str; 7] = ["toml", "json", "conf", "cfg", "ini", "txt", "list"];

/// Returns `true` if an argument names a file. What can be read as listen addresses is never one, whatever files
/// there are: a file that is called `*:80` must not decide on what `*:80` means.
fn is_file_name(argument: &str) -> bool {
    let path = Path::new(argument);
    let is_path = ["/", "./", "../"]
        .iter()
        .any(|start| argument.starts_with(start));
    let is_url = argument.starts_with("//") || argument.contains("://");
    if argument.parse::<ListenAddrs>().is_ok() || is_url && !path.exists() {
        return false;
    }
    if argument == "-" || is_path {
        return true;
    }
    let extension = path.extension().and_then(OsStr::to_str);
    // `10.1.2.3/8:80` is a mistake in an address, unless there is such a file.
    extension.is_some_and(|one| EXTENSIONS.contains(&one))
        || argument.contains('/') && path.exists()
}

/// A config file is far smaller, and one that never ends takes all memory.
const MOST: u64 = 1 << 24;

/// Returns what a file has. One that is not a regular file might never end, or never begin.
fn content_of(argument: &str) -> io::Result<String> {
    if argument == "-" {
        return read_most(io::stdin());
    }
    // Opened by a shell: `bindaddr check <(generate)`.
    let fd = ["/dev/fd/", "/proc/self/fd/"]
        .iter()
        .find_map(|start| argument.strip_prefix(start));
    let is_open = argument == "/dev/stdin" || fd.is_some_and(|fd| fd.parse::<u32>().is_ok());
    if !fs::metadata(argument)?.is_file() && !is_open {
        return Err(io::Error::other("not a regular file"));
    }
    read_most(fs::File::open(argument)?)
}

fn read_most(from: impl Read) -> io::Result<String> {
    let mut content = String::new();
    let read = from.take(MOST + 1).read_to_string(&mut content)?;
    if u64::try_from(read).is_ok_and(|read| read <= MOST) {
        Ok(content)
    } else {
        Err(io::Error::other(format!("larger than {} MiB", MOST >> 20)))
    }
}

/// Returns the entries of an argument, which may be a file.
pub(crate) fn entries_of(argument: &str, key: &str) -> io::Result<Vec<String>> {
    if !is_file_name(argument) {
        return entries(argument);
    }
    let extension = Path::new(argument).extension().and_then(OsStr::to_str);
    let content = content_of(argument).map_err(|err| match err.kind() {
        io::ErrorKind::NotFound => wrong(argument, "no such file"),
        _ => wrong(argument, err),
    })?;
    let config: Value = match extension {
        Some("toml") => {
            toml::from_str(&content).map_err(|err| wrong(argument, at_line(&content, &err)))?
        }
        Some("json") => serde_json::from_str(&content).map_err(|err| wrong(argument, err))?,
        _ => {
            let lines = content.lines().map(without_remark);
            let texts = lines.filter(|line| !line.trim().is_empty());
            let found = entries_of_each(texts)?;
            if found.is_empty() {
                return Err(wrong(argument, "it contains no listen address"));
            }
            return Ok(found);
        }
    };
    let mut found = Vec::new();
    if !collect(&config, key, &mut found) {
        let what = format!("`{key}` must be a string, a port number, or an array of these");
        return Err(wrong(argument, what));
    }
    if found.is_empty() {
        return Err(wrong(
            argument,
            format!("the key `{key}` is not in the file; name another with `--key`"),
        ));
    }
    entries_of_each(found)
}

/// Returns a line up to a `#` at its start or after white space.
fn without_remark(line: &str) -> &str {
    let starts = |(at, _): &(usize, &str)| *at == 0 || line[..*at].ends_with(char::is_whitespace);
    let remark = line.match_indices('#').find(starts);
    remark.map_or(line, |(at, _)| &line[..at])
}

/// Writes an error with its line, which is not shown itself, because it may have a password.
fn at_line(content: &str, err: &toml::de::Error) -> String {
    let start = err.span().map_or(0, |span| span.start);
    let before = content.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    format!("line {line}: {}", err.message())
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
