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

use bindaddr::ListenAddrs;
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

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
        keys(&self.path)
    }

    /// Returns `true` if its last keys are those of `key`, which are joined by dots.
    pub(crate) fn is_of(&self, key: &str) -> bool {
        is_of(&self.path, key)
    }

    /// Returns the path to the table that has `key`, which is its own.
    pub(crate) fn table(&self, key: &str) -> &[Step] {
        let is_index = |step: &&Step| matches!(step, Step::Index(_));
        let indices = self.path.iter().rev().take_while(is_index).count();
        let mut path = &self.path[..self.path.len() - indices];
        let mut length = 0;
        while let (Some((Step::Key(last), before)), true) = (path.split_last(), length <= key.len())
        {
            length += last.len() + usize::from(length > 0);
            path = before;
            if length >= key.len() {
                break;
            }
        }
        path
    }

    /// Returns its index in the array that it is in.
    pub(crate) fn index(&self) -> Option<usize> {
        match self.path.last() {
            Some(Step::Index(index)) => Some(*index),
            _ => None,
        }
    }

    /// Returns the path to a table that is called `key`, and that it is in.
    pub(crate) fn in_table_of(&self, key: &str) -> Option<&[Step]> {
        let ends = (1..self.path.len()).filter(|end| matches!(self.path[*end], Step::Key(_)));
        let mut tables = ends.map(|end| &self.path[..end]);
        tables.find(|path| is_of(path, key))
    }
}

fn keys(path: &[Step]) -> String {
    let keys = path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Index(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

fn is_of(path: &[Step], key: &str) -> bool {
    let keys = keys(path);
    let before = keys.strip_suffix(key);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
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
    /// The program takes it for nothing.
    Wrong(&'static str),
}

/// A listen text, with what the format says of its socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meaning {
    pub(crate) text: String,
    pub(crate) udp: bool,
    pub(crate) freebind: bool,
    pub(crate) device: Option<String>,
}

/// The content of a file.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Values, of which a key selects some, and lines that are not understood, each with its
    /// number.
    Values(Vec<Value>, Vec<(usize, String)>),
    /// Settings, by the rules of the format.
    Directives(Vec<Directive>),
}

/// An error in a file, with its line.
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
    /// Returns the format of a file by its name; `None` if that may be any.
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

    /// Returns the format of a `.conf` file, which many programs have, by its content; `None` if it
    /// is another one.
    fn of_conf(content: &str) -> Option<Self> {
        let lines: Vec<&str> = lines(content)
            .map(|(_, line)| without_comment(line).trim())
            .collect();
        let is_directive = |line: &&str| line.ends_with([';', '{', '}']) && !line.starts_with(';');
        let is_of_ini = |line: &&str| {
            ini::section_and_rest(line).is_some()
                || line.contains('=') && ini::assignment(line).is_some()
        };
        let is_address = |line: &&str| line.parse::<ListenAddrs>().is_ok();
        let mut lines = lines.iter().filter(|line| !line.is_empty());
        if lines.clone().any(is_directive) {
            Some(Self::Nginx)
        } else if lines.clone().any(is_of_ini) {
            Some(Self::Ini)
        } else {
            // Other programs have a word before its value.
            let is_empty = lines.clone().next().is_none();
            (is_empty || lines.any(is_address)).then_some(Self::List)
        }
    }
}

/// Returns `true` for the name of a file with settings.
pub(crate) fn is_name_of_settings(name: &str) -> bool {
    Format::of_name(name).is_some() || is_conf(name)
}

/// Returns `true` for the extension that the files of many programs have.
fn is_conf(name: &str) -> bool {
    Path::new(name).extension() == Some(OsStr::new("conf"))
}

/// Reads a file. `-` is the standard input, which is a list unless a format is given.
pub(crate) fn read(name: &str, format: Option<Format>) -> Result<(Format, Content), FileError> {
    let read = content_of(name).map_err(|err| match err.kind() {
        io::ErrorKind::NotFound => FileError::new("no such file"),
        _ => FileError::new(err.to_string()),
    })?;
    // Windows writes a byte order mark.
    let content = read.strip_prefix('\u{feff}').unwrap_or(&read).to_owned();
    let is_stream = name == "-" || is_open(name);
    let by_name = || match Format::of_name(name) {
        None if is_stream => Some(Format::List),
        None if is_conf(name) => Format::of_conf(&content),
        found => found,
    };
    let format = format.or_else(by_name).ok_or_else(|| {
        FileError::new("its name does not say its format; name it with `--format`")
    })?;
    let mut content = parse(format, &content)?;
    if let (Format::Systemd, Content::Directives(directives)) = (format, &mut content) {
        directives.extend(drop_ins(name));
    }
    Ok((format, content))
}

/// Returns what changes a unit (systemd.unit(5)): drop-ins beside its file and, if it is one of the
/// system, in the other directories of units.
fn drop_ins(name: &str) -> Vec<Directive> {
    const DIRECTORIES: [&str; 4] = [
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ];
    let path = Path::new(name);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let parent = path
        .parent()
        .unwrap_or(Path::new(""))
        .to_string_lossy()
        .into_owned();
    let is_of_system = DIRECTORIES.contains(&&*parent);
    let others = DIRECTORIES
        .iter()
        .filter(|other| is_of_system && **other != parent);
    let beside = [
        format!("{name}.d"),
        path.with_file_name("socket.d")
            .to_string_lossy()
            .into_owned(),
    ];
    let others =
        others.flat_map(|other| [format!("{other}/{file}.d"), format!("{other}/socket.d")]);
    let files = beside
        .into_iter()
        .chain(others)
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten());
    let paths = files.map(|file| file.path().to_string_lossy().into_owned());
    let mut paths: Vec<String> = paths.filter(|path| is_conf(path)).collect();
    paths.sort();
    let drop_ins = paths.into_iter().map(|path| Directive {
        line: 1,
        key: "",
        written: path,
        means: Err(NotChecked::Unread(
            "a drop-in of the unit, which is not read",
        )),
    });
    drop_ins.collect()
}

fn parse(format: Format, content: &str) -> Result<Content, FileError> {
    let mut values = match format {
        Format::Toml => toml::values(content)?,
        Format::Json => yaml::values_of_json(content)?,
        Format::Yaml => yaml::values(content)?,
        Format::Ini => return Ok(ini::read(content)),
        Format::List => return Ok(Content::Directives(list(content))),
        Format::Systemd => return Ok(Content::Directives(systemd::directives(content))),
        Format::Nginx => return Ok(Content::Directives(nginx::directives(content)?)),
    };
    values.sort_by_key(|value| value.line);
    Ok(Content::Values(values, Vec::new()))
}

fn list(content: &str) -> Vec<Directive> {
    let lines = lines(content).map(|(number, line)| (number, without_comment(line).trim()));
    let texts = lines.filter(|(_, line)| !line.is_empty());
    let directives = texts.map(|(line, text)| Directive {
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

/// Iterates over the lines, which may end in `\n`, `\r\n` or `\r`, each with its number.
fn lines(content: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = content.lines().zip(1..);
    lines.flat_map(|(line, number)| line.split('\r').map(move |part| (number, part)))
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
