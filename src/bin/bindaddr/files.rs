//! Config files: what their values are, and where each stands.

mod ini;
mod nginx;
mod systemd;
mod toml;
mod yaml;

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use clap::ValueEnum;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Toml,
    Json,
    Yaml,
    /// `key = value`, with `[sections]`.
    Ini,
    /// A socket unit.
    Systemd,
    /// The `listen` directives of nginx.
    Nginx,
    /// Listen addresses, with `#` before comments.
    List,
}

/// A value of a file.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    /// The keys and indices that lead to it.
    pub(crate) path: Vec<Step>,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) scalar: Scalar,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    Text(String),
    Number(String),
    /// A boolean, a date, nothing at all.
    Other,
}

impl Value {
    /// Returns its keys, joined by dots.
    pub(crate) fn keys(&self) -> String {
        let keys = self.path.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        keys.collect::<Vec<_>>().join(".")
    }

    /// Returns `true` if its last keys are those of `key`, which are joined by dots.
    pub(crate) fn is_of(&self, key: &str) -> bool {
        let keys = self.keys();
        let before = keys.strip_suffix(key);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }

    /// Returns how many of the first steps are also those of another value.
    pub(crate) fn shared_with(&self, other: &Self) -> usize {
        let pairs = self.path.iter().zip(&other.path);
        pairs.take_while(|(own, other)| own == other).count()
    }
}

/// Writes the path, as in `server[0].listen[1]`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.path.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A setting that a format has by its own rules.
#[derive(Clone, Debug)]
pub(crate) struct Directive {
    pub(crate) line: usize,
    /// The name of the directive.
    pub(crate) key: &'static str,
    pub(crate) written: String,
    pub(crate) means: Result<Meaning, NotChecked>,
}

/// Why a directive is not checked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NotChecked {
    /// It is of no concern.
    Skipped(&'static str),
    /// There may be addresses in what it names.
    Unread(&'static str),
}

/// A listen text, with what the format says of its socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meaning {
    pub(crate) text: String,
    pub(crate) udp: bool,
    pub(crate) freebind: bool,
    pub(crate) device: Option<String>,
}

/// What a file has.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Values, of which a key selects some.
    Values(Vec<Value>),
    /// Settings, by the rules of the format.
    Directives(Vec<Directive>),
}

/// What is wrong with a file, and on which line.
#[derive(Clone, Debug)]
pub(crate) struct FileError {
    pub(crate) line: Option<usize>,
    pub(crate) text: String,
}

impl FileError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            line: None,
            text: text.into(),
        }
    }

    pub(crate) fn at(line: usize, text: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            text: text.into(),
        }
    }
}

impl Format {
    /// Returns the format of a file by its name; `None` if the name does not tell.
    fn of_name(name: &str) -> Option<Self> {
        let extension = Path::new(name).extension().and_then(OsStr::to_str);
        Some(match extension? {
            "toml" => Self::Toml,
            "json" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "ini" | "cfg" | "properties" => Self::Ini,
            "socket" => Self::Systemd,
            "txt" | "list" => Self::List,
            _ => return None,
        })
    }

    /// Returns the format of a `.conf` file, which many programs have, by its content.
    fn of_conf(content: &str) -> Self {
        let mut lines = content.lines().map(|line| without_comment(line).trim());
        let has_assignment = lines.clone().any(|line| ini::assignment(line).is_some());
        let is_directive = |line: &str| line.ends_with([';', '{', '}']);
        if lines.any(is_directive) {
            Self::Nginx
        } else if has_assignment {
            Self::Ini
        } else {
            Self::List
        }
    }
}

/// Returns `true` if a name tells that it is that of a file with settings.
pub(crate) fn is_name_of_settings(name: &str) -> bool {
    Format::of_name(name).is_some() || is_conf(name)
}

/// Returns `true` for the extension that the files of many programs have.
fn is_conf(name: &str) -> bool {
    Path::new(name).extension() == Some(OsStr::new("conf"))
}

/// Reads a file. `-` is the standard input, which is a list unless a format is given.
pub(crate) fn read(name: &str, format: Option<Format>) -> Result<(Format, Content), FileError> {
    let content = content_of(name).map_err(|err| match err.kind() {
        io::ErrorKind::NotFound => FileError::new("no such file"),
        _ => FileError::new(err.to_string()),
    })?;
    let is_stream = name == "-" || is_open(name);
    let by_name = || match Format::of_name(name) {
        None if is_stream => Some(Format::List),
        None if is_conf(name) => Some(Format::of_conf(&content)),
        found => found,
    };
    let format = format.or_else(by_name).ok_or_else(|| {
        FileError::new("its name does not tell its format; name it with `--format`")
    })?;
    Ok((format, parse(format, &content)?))
}

fn parse(format: Format, content: &str) -> Result<Content, FileError> {
    let mut values = match format {
        Format::Toml => toml::values(content)?,
        Format::Json => yaml::values_of_json(content)?,
        Format::Yaml => yaml::values(content)?,
        Format::Ini => ini::values(content),
        Format::List => return Ok(Content::Directives(list(content))),
        Format::Systemd => return Ok(Content::Directives(systemd::directives(content))),
        Format::Nginx => return Ok(Content::Directives(nginx::directives(content)?)),
    };
    values.sort_by_key(|value| value.line);
    Ok(Content::Values(values))
}

fn list(content: &str) -> Vec<Directive> {
    let lines = content.lines().map(|line| without_comment(line).trim());
    let texts = lines.zip(1..).filter(|(line, _)| !line.is_empty());
    let directives = texts.map(|(text, line)| Directive {
        line,
        key: "",
        written: text.to_owned(),
        means: Ok(Meaning {
            text: text.to_owned(),
            ..Meaning::default()
        }),
    });
    directives.collect()
}

/// Returns a line up to a `#` at its start or after white space.
fn without_comment(line: &str) -> &str {
    let starts = |(at, _): &(usize, &str)| *at == 0 || line[..*at].ends_with(char::is_whitespace);
    let comment = line.match_indices('#').find(starts);
    comment.map_or(line, |(at, _)| &line[..at])
}

/// A config file is far smaller, and one that never ends takes all memory.
const MOST: u64 = 1 << 24;

/// Returns `true` for what a shell has opened: `bindaddr check <(generate)`.
fn is_open(name: &str) -> bool {
    let fd = ["/dev/fd/", "/proc/self/fd/"]
        .iter()
        .find_map(|start| name.strip_prefix(start));
    name == "/dev/stdin" || fd.is_some_and(|fd| fd.parse::<u32>().is_ok())
}

/// Returns what a file has. One that is not a regular file might never end, or never begin.
fn content_of(name: &str) -> io::Result<String> {
    if name == "-" {
        return read_most(io::stdin());
    }
    if !fs::metadata(name)?.is_file() && !is_open(name) {
        return Err(io::Error::other("not a regular file"));
    }
    read_most(fs::File::open(name)?)
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
