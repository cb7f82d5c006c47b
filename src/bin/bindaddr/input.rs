//! The settings among the arguments: texts, and those of files.

use bindaddr::plan::Setting;
use bindaddr::{ListenAddr, ListenAddrs};

use crate::arguments::Keys;
use crate::files::{self, Content, Directive, FileError, Format, NotChecked, Scalar, Step, Value};

/// A setting of the arguments, or of a file.
pub(crate) struct Found {
    /// Its place in a file; `None` for an argument.
    pub(crate) place: Option<Place>,
    pub(crate) written: String,
    pub(crate) means: Result<Meaning, Unchecked>,
}

/// The settings of the library that a text resolves to.
pub(crate) struct Meaning {
    pub(crate) udp: bool,
    pub(crate) settings: Vec<Setting<'static>>,
}

/// Why the crate is given nothing.
pub(crate) enum Unchecked {
    /// It is of no concern.
    Skipped(&'static str),
    /// There may be addresses in what it names.
    Unread(&'static str),
    /// It is wrong before any address is read.
    Wrong(String),
}

/// The place of a setting in a file.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) key: String,
}

/// All that arguments name.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) found: Vec<Found>,
    /// Files that could not be read, each with what is wrong.
    pub(crate) failed: Vec<(String, FileError)>,
}

/// Returns `true` if an argument names a file. What can be read as listen addresses is never one,
/// whatever files there are: a file that is called `*:80` must not decide on what `*:80` means.
fn is_file_name(argument: &str) -> bool {
    let path = std::path::Path::new(argument);
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
    // `10.1.2.3/8:80` is a mistake in an address, unless there is such a file.
    files::is_name_of_settings(argument) || path.exists()
}

/// Reads the settings that arguments name. A bad file does not hide the others.
pub(crate) fn read(arguments: &[String], keys: &Keys) -> Input {
    let mut input = Input::default();
    for argument in arguments {
        if !is_file_name(argument) {
            input.found.push(Found::of_argument(argument, keys));
            continue;
        }
        let read = files::read(argument, keys.format);
        let name = if argument == "-" { "<stdin>" } else { argument };
        let read = read.and_then(|(format, content)| input.add(name, format, content, keys));
        if let Err(err) = read {
            input.failed.push((name.to_owned(), err));
        }
    }
    input
}

impl Input {
    fn add(
        &mut self,
        file: &str,
        format: Format,
        content: Content,
        keys: &Keys,
    ) -> Result<(), FileError> {
        let found = match content {
            Content::Directives(directives) => of_directives(file, directives, keys),
            Content::Values(values, lines) => {
                let mut found = of_lines(file, lines, keys);
                match of_values(file, &values, keys) {
                    Ok(values) => found.extend(values),
                    Err(err) if found.is_empty() => return Err(err),
                    Err(_) => {}
                }
                found.sort_by_key(|found| found.place.as_ref().map(|place| place.line));
                found
            }
        };
        if found.is_empty() {
            return Err(FileError::new(match format {
                Format::Systemd => "it has no `ListenStream=` and no `ListenDatagram=`",
                Format::Nginx => "it has no `listen` directive",
                _ => "it contains no listen address",
            }));
        }
        self.found.extend(found);
        Ok(())
    }
}

fn of_directives(file: &str, directives: Vec<Directive>, keys: &Keys) -> Vec<Found> {
    let found = directives.into_iter().map(|directive| Found {
        place: Some(Place {
            file: file.to_owned(),
            line: directive.line,
            key: directive.key.to_owned(),
        }),
        means: match directive.means {
            Err(NotChecked::Wrong(what)) => Err(Unchecked::Wrong(what.to_owned())),
            Err(NotChecked::Skipped(why)) => Err(Unchecked::Skipped(why)),
            Err(NotChecked::Unread(why)) => Err(Unchecked::Unread(why)),
            Ok(means) => {
                let with_options = |setting: Setting<'static>| {
                    let setting = if means.freebind {
                        setting.freebind(true)
                    } else {
                        setting
                    };
                    means.device.iter().fold(setting, Setting::device)
                };
                let settings = settings_of(&means.text, keys).into_iter();
                Ok(Meaning {
                    udp: means.udp,
                    settings: settings.map(with_options).collect(),
                })
            }
        },
        written: directive.written,
    });
    found.collect()
}

/// Returns the lines that are not understood and may have an address: it is one, or the key is in
/// it.
fn of_lines(file: &str, lines: Vec<(usize, String)>, keys: &Keys) -> Vec<Found> {
    let key = keys.key.rsplit('.').next().unwrap_or(&keys.key);
    let may_listen = |line: &str| line.contains(key) || line.parse::<ListenAddrs>().is_ok();
    let lines = lines.into_iter().filter(|(_, line)| may_listen(line));
    let found = lines.map(|(line, written)| Found {
        place: Some(Place {
            file: file.to_owned(),
            line,
            key: String::new(),
        }),
        written,
        means: Err(Unchecked::Unread("the line is not understood")),
    });
    found.collect()
}

fn of_values(file: &str, values: &[Value], keys: &Keys) -> Result<Vec<Found>, FileError> {
    let key = &*keys.key;
    if let Some(port_key) = &keys.port_key {
        if !values.iter().any(|value| value.is_of(port_key)) {
            let text = format!("the key `{port_key}` of `--port-key` is not in the file");
            return Err(FileError::new(text));
        }
    }
    let mut tables: Vec<&[Step]> = Vec::new();
    let mut found = Vec::new();
    for value in values {
        let (written, means) = if value.is_of(key) {
            match &value.scalar {
                Scalar::Other => {
                    let what = "it must be a text, a port number, or an array of these";
                    (String::new(), Err(Unchecked::Wrong(what.to_owned())))
                }
                Scalar::Text(text) | Scalar::Number(text) => {
                    let settings = match &keys.port_key {
                        None => Ok(settings_of(text, keys)),
                        Some(port_key) => with_port_of(value, text, values, key, port_key),
                    };
                    let means = settings.map(|settings| Meaning {
                        udp: false,
                        settings,
                    });
                    (text.clone(), means.map_err(Unchecked::Wrong))
                }
            }
        } else if let Some(table) = value.in_table_of(key) {
            if tables.contains(&table) {
                continue;
            }
            tables.push(table);
            let mut own = values.iter().filter(|own| own.is_of(key));
            let unchecked = if own.any(|own| own.path.starts_with(table)) {
                let why = "a table with the name of the key, whose other values are not read";
                Unchecked::Unread(why)
            } else {
                Unchecked::Wrong(format!(
                    "`{key}` is a table here; `--key` names a value, such as `{}`",
                    value.keys()
                ))
            };
            (String::new(), Err(unchecked))
        } else if let Some(port) = port_without_host(value, values, keys) {
            let why = "no host is beside this port, so its address is not known";
            (port.to_owned(), Err(Unchecked::Unread(why)))
        } else {
            continue;
        };
        found.push(Found {
            place: Some(Place {
                file: file.to_owned(),
                line: value.line,
                key: value.to_string(),
            }),
            written,
            means,
        });
    }
    if found.is_empty() {
        return Err(FileError::new(format!(
            "the key `{key}` is not in the file; {}",
            of_known(values)
        )));
    }
    Ok(found)
}

/// Names the keys that a file has.
fn of_known(values: &[Value]) -> String {
    const MOST: usize = 10;
    let mut keys: Vec<String> = Vec::new();
    for value in values {
        let key = format!("`{}`", value.keys());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    match keys.len() {
        0 => "it has no keys".to_owned(),
        count if count > MOST => {
            format!(
                "`--key` names another: {} and {} more",
                keys[..MOST].join(", "),
                count - MOST
            )
        }
        _ => format!("`--key` names another: {}", keys.join(", ")),
    }
}

/// Returns a port that is the port of no host.
fn port_without_host<'v>(value: &'v Value, values: &[Value], keys: &Keys) -> Option<&'v str> {
    let port_key = keys.port_key.as_deref().filter(|key| value.is_of(key))?;
    let hosts = values.iter().filter(|host| host.is_of(&keys.key));
    let mut ports = hosts.filter_map(|host| port_of(host, values, &keys.key, port_key).ok());
    if ports.any(|port| port.path == value.path && port.line == value.line) {
        return None;
    }
    match &value.scalar {
        Scalar::Text(port) | Scalar::Number(port) => Some(port),
        Scalar::Other => None,
    }
}

/// Returns the setting of a host whose port is the value of another key.
fn with_port_of(
    host: &Value,
    text: &str,
    values: &[Value],
    key: &str,
    port_key: &str,
) -> Result<Vec<Setting<'static>>, String> {
    let own = port_of(host, values, key, port_key)?;
    let port = match &own.scalar {
        Scalar::Text(port) | Scalar::Number(port) => port.trim().parse::<u16>().ok(),
        Scalar::Other => None,
    };
    let port = port.ok_or_else(|| {
        format!(
            "`{own}` on line {} is not a port (a number from 0 to 65535)",
            own.line
        )
    })?;
    Ok(vec![Setting::from((text.to_owned(), port))])
}

/// Returns the port of a host, in the same table or in one around it.
fn port_of<'v>(
    host: &Value,
    values: &'v [Value],
    key: &str,
    port_key: &str,
) -> Result<&'v Value, String> {
    let table = host.table(key);
    let ports = values.iter().filter(|value| value.is_of(port_key));
    let around = ports.filter(|port| table.starts_with(port.table(port_key)));
    let around: Vec<&Value> = around.collect();
    let nearest = around.iter().map(|port| port.table(port_key).len()).max();
    let nearest = around
        .into_iter()
        .filter(|port| Some(port.table(port_key).len()) == nearest);
    let nearest: Vec<&Value> = nearest.collect();
    match (&nearest[..], host.index()) {
        ([], _) => Err(format!("no `{port_key}` is beside it")),
        ([one], _) => Ok(one),
        // Two arrays are paired.
        (several, Some(index)) => several
            .iter()
            .find(|port| port.index() == Some(index))
            .copied()
            .ok_or_else(|| format!("`{port_key}` has another number of values")),
        (several, None) => Err(format!(
            "`{port_key}` has {} values for one host",
            several.len()
        )),
    }
}

/// Returns what the crate is given for a text.
fn settings_of(text: &str, keys: &Keys) -> Vec<Setting<'static>> {
    if let Some(port) = keys.port {
        return vec![Setting::from((text.to_owned(), port))];
    }
    let with_default = keys
        .default_port
        .and_then(|port| ListenAddrs::parse_with_default_port(text, port).ok());
    match with_default {
        Some(addrs) => addrs.iter().cloned().map(ListenAddr::into).collect(),
        None => vec![Setting::from(text.to_owned())],
    }
}

impl Found {
    pub(crate) fn of_argument(text: &str, keys: &Keys) -> Self {
        Self {
            place: None,
            written: text.to_owned(),
            means: Ok(Meaning {
                udp: false,
                settings: settings_of(text, keys),
            }),
        }
    }
}
