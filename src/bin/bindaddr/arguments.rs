//! The arguments of the command.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bindaddr::diagnosis::WarningKind;
use bindaddr::{Exposure, Interfaces};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::files::Format;

/// Shows what listen settings mean on this host, and what is wrong with them.
///
/// The exit status is 0 if nothing is wrong, 1 if something is, and 2 if the arguments are wrong or
/// a file cannot be read. Put `--` before addresses that start with `-`.
#[derive(Parser)]
#[command(
    name = "bindaddr",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  bindaddr explain eth0:80 '[::]:443'
  bindaddr check /etc/server.toml --running server.service
  bindaddr listeners --exposed-beyond private
  bindaddr run 127.0.0.1:8000 -- gunicorn app:app"
)]
pub(crate) struct Command {
    #[command(subcommand)]
    pub(crate) task: Task,
}

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Explain listen addresses: what each means here, what would be bound, what is wrong.
    ///
    /// A listen address is HOST:PORT. HOST is an address (an IPv6 one in brackets), `*` for every
    /// address, `localhost`, an interface (`eth0`, `ipv4@eth0`), a network (`192.168.0.0/16`) or
    /// `_default_`; PORT is a number, or a range of which the first free one is taken. A port alone
    /// means every address, and `-` before an address makes it optional.
    #[command(after_help = "\
Examples:
  bindaddr explain 0.0.0.0:8080
  bindaddr explain eth0                    # without a port
  sudo bindaddr explain --user www-data 0.0.0.0:80")]
    Explain(Explain),
    /// Check the settings of a server together, before it is started or restarted.
    ///
    /// A file is read by its name: `.toml`, `.json`, `.yaml`, `.ini` and the like have keys and
    /// values, of which `--key` selects some; `.socket` is a unit of systemd, and `.conf` is
    /// nginx's if it has directives; `.list` and the standard input, `-`, list listen addresses,
    /// with `#` before comments.
    #[command(after_help = "\
Examples:
  bindaddr check /etc/server.toml
  bindaddr check --key http.bind --running 4711 /etc/server.yaml
  bindaddr check --key host --port-key port /etc/server.ini
  bindaddr check /etc/nginx/sites-enabled/* --format nginx --running nginx")]
    Check(Check),
    /// List the interfaces of this host and their addresses.
    #[command(after_help = "\
Examples:
  bindaddr interfaces
  bindaddr interfaces --json")]
    Interfaces {
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the listening sockets of this host, and who can connect to each, the most exposed
    /// first.
    ///
    /// TCP and UDP sockets, as `ss -tulpn` lists them. Root sees the processes of all users, others
    /// their own. The process is the one that the others descend from, and `+2` says that two
    /// others have the socket as well.
    #[command(after_help = "\
Examples:
  sudo bindaddr listeners
  sudo bindaddr listeners 80 443
  sudo bindaddr listeners --exposed-beyond private
  sudo bindaddr listeners --netns 4711     # in the container of that process")]
    Listeners(Listeners),
    /// Show who could connect, and to which addresses.
    #[command(after_help = "\
Examples:
  bindaddr reach 0.0.0.0:8080
  bindaddr reach --scheme http '*:8080'
  bindaddr reach --at-most private eth0:80   # fails where more can connect")]
    Reach(Reach),
    /// Open sockets and pass them to a command, by systemd's socket activation
    /// (`sd_listen_fds(3)`).
    ///
    /// The descriptors begin at 3. If a socket cannot be opened, the command is not run, and the
    /// exit status is 1; it is 127 if there is no such command.
    #[command(after_help = "\
Examples:
  bindaddr run 127.0.0.1:8000 -- gunicorn app:app
  bindaddr run eth0:8000 --wait 30 -- uvicorn --fd 3 app:app
  bindaddr run localhost:3000 --at-most this-host -- node server.js   # listen({fd: 3})
  bindaddr run 0.0.0.0:5000 --fd-env WERKZEUG_SERVER_FD -- env WERKZEUG_RUN_MAIN=true flask run")]
    Run(Run),
    /// Print what changes for listen addresses, as the host's addresses come and go.
    #[command(after_help = "\
Examples:
  bindaddr watch eth0:80
  bindaddr watch --json '*:80' | jq .")]
    Watch(Watch),
    /// Wait until listen addresses can be bound, for example at boot, and release them.
    ///
    /// An address may be missing, and a port may be in use.
    #[command(after_help = "\
Examples:
  bindaddr wait eth0:80 --timeout 60
  bindaddr wait '[2001:db8::10]:443'")]
    Wait(Wait),
    /// Write the completions of a shell.
    #[command(after_help = "\
Examples:
  bindaddr completions bash > ~/.local/share/bash-completion/completions/bindaddr
  bindaddr completions fish > ~/.config/fish/completions/bindaddr.fish")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual page, or all pages into a directory.
    #[command(after_help = "\
Examples:
  bindaddr man | man -l -
  bindaddr man --dir /usr/local/share/man/man1")]
    Man {
        /// Write a page for each command into DIR.
        #[arg(long, value_hint = clap::ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

#[derive(Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) texts: Texts,
    #[command(flatten)]
    pub(crate) how: How,
    #[command(flatten)]
    pub(crate) warnings: Warnings,
    #[command(flatten)]
    pub(crate) user: User,
}

#[derive(Args)]
pub(crate) struct Check {
    /// Files, or listen addresses themselves.
    #[arg(required = true, value_name = "FILE|TEXT", value_hint = clap::ValueHint::FilePath)]
    pub(crate) settings: Vec<String>,
    #[command(flatten)]
    pub(crate) keys: Keys,
    /// Accept ports that this running server has: by process id, unit or process name.
    ///
    /// Child processes count as well.
    #[arg(long, value_name = "PID|UNIT|NAME")]
    pub(crate) running: Vec<String>,
    #[command(flatten)]
    pub(crate) how: How,
    #[command(flatten)]
    pub(crate) warnings: Warnings,
    #[command(flatten)]
    pub(crate) user: User,
}

#[derive(Args)]
pub(crate) struct Listeners {
    /// List only the sockets on these ports.
    #[arg(value_name = "PORT", value_parser = port)]
    pub(crate) ports: Vec<u16>,
    /// List only those that clients beyond WHO can connect to, and fail if there are any.
    #[arg(long, value_name = "WHO")]
    pub(crate) exposed_beyond: Option<AtMost>,
    /// Look into another network namespace: that of a process, or one of `ip netns`.
    #[arg(long, value_name = "PID|NAME")]
    pub(crate) netns: Option<String>,
    /// Write JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Reach {
    #[command(flatten)]
    pub(crate) texts: Texts,
    /// Write URLs of this scheme.
    #[arg(long, value_parser = scheme)]
    pub(crate) scheme: Option<String>,
    /// Fail if clients beyond WHO could connect.
    #[arg(long, value_name = "WHO")]
    pub(crate) at_most: Option<AtMost>,
    #[command(flatten)]
    pub(crate) how: How,
    #[command(flatten)]
    pub(crate) warnings: Warnings,
}

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) texts: Texts,
    /// Wait for addresses that the host does not have yet, and for ports in use.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) wait: Option<Duration>,
    /// Run nothing if clients beyond WHO could connect.
    #[arg(long, value_name = "WHO")]
    pub(crate) at_most: Option<AtMost>,
    /// Set the variable NAME to the number of the first descriptor.
    #[arg(long, value_name = "NAME", value_parser = variable)]
    pub(crate) fd_env: Option<String>,
    /// Call the descriptors NAME in `LISTEN_FDNAMES`, as `FileDescriptorName=` does.
    #[arg(long, value_name = "NAME", value_parser = descriptor_name)]
    pub(crate) name: Option<String>,
    /// Open UDP sockets rather than TCP listeners.
    #[arg(long)]
    pub(crate) udp: bool,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_hint = clap::ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) texts: Texts,
    /// Write a JSON object on each line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) texts: Texts,
    /// How long to wait, in seconds.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) how: How,
}

#[derive(Args)]
pub(crate) struct Texts {
    /// Listen addresses such as `0.0.0.0:8080`, `eth0:80` or `localhost:0`.
    #[arg(
        required = true,
        value_name = "TEXT",
        value_parser = Text,
        hide_possible_values = true
    )]
    pub(crate) texts: Vec<String>,
}

#[derive(Args)]
pub(crate) struct How {
    /// Bind UDP sockets rather than TCP listeners.
    #[arg(long)]
    pub(crate) udp: bool,
    /// Write JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Default)]
pub(crate) struct Warnings {
    /// Leave out warnings of this name.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(warning_names()))]
    pub(crate) allow: Vec<String>,
    /// Fail if there are warnings.
    #[arg(long, value_name = "WHAT")]
    pub(crate) deny: Option<Denied>,
}

/// The warning about a port that browsers refuse.
pub(crate) const BROWSER_PORT: &str = "browser-port";
/// The warning about what may have addresses and was not read.
pub(crate) const UNREAD: &str = "unread";
/// The warning about processes that could not be looked into.
pub(crate) const UNSEEN_PROCESSES: &str = "unseen-processes";

fn warning_names() -> impl Iterator<Item = &'static str> {
    let own = [BROWSER_PORT, UNREAD, UNSEEN_PROCESSES];
    WarningKind::NAMES.iter().copied().chain(own)
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Denied {
    /// All that are not allowed.
    Warnings,
}

#[derive(Args)]
pub(crate) struct User {
    /// Check with the privileges of this user, by name or number (needs root).
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Assume that this user has `CAP_NET_BIND_SERVICE`, as by `AmbientCapabilities=` of a unit.
    #[arg(long, requires = "user")]
    pub(crate) cap_net_bind_service: bool,
}

/// Selects the values of a file that are settings.
#[derive(Args)]
pub(crate) struct Keys {
    /// The key of settings, at whatever depth; `a.b` is the key `b` in `a`.
    #[arg(long, default_value = "listen")]
    pub(crate) key: String,
    /// The key of ports, where the settings are hosts without one.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["port", "default_port"])]
    pub(crate) port_key: Option<String>,
    /// The port of all settings, which are hosts without one.
    #[arg(long, conflicts_with = "default_port")]
    pub(crate) port: Option<u16>,
    /// The port of settings that have none.
    #[arg(long, value_name = "PORT")]
    pub(crate) default_port: Option<u16>,
    /// The format of files, whatever their names.
    #[arg(long)]
    pub(crate) format: Option<Format>,
}

#[derive(Clone, Copy)]
pub(crate) struct AtMost(pub(crate) Exposure);

impl ValueEnum for AtMost {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self(Exposure::ThisHost),
            Self(Exposure::Link),
            Self(Exposure::Private),
            Self(Exposure::Shared),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, clients) = match self.0 {
            Exposure::ThisHost => ("this-host", "processes on this host"),
            Exposure::Link => ("link", "hosts on the same link"),
            Exposure::Private => ("private", "hosts in private networks"),
            _ => (
                "shared",
                "hosts behind the same carrier-grade NAT (100.64.0.0/10)",
            ),
        };
        Some(PossibleValue::new(name).help(clients))
    }
}

/// Accepts any text. Completions offer the keywords and the interfaces of this host.
#[derive(Clone)]
struct Text;

impl TypedValueParser for Text {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        clap::builder::StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let host = Interfaces::system().unwrap_or_default();
        let names = host.iter().map(|interface| interface.name().to_owned());
        // A name with other characters would have to be quoted as each shell wants it.
        let is_plain = |name: &String| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let names: Vec<String> = names.filter(is_plain).collect();
        let words = ["0.0.0.0", "localhost", "_default_"].map(str::to_owned);
        let all = words.into_iter().chain(names).map(PossibleValue::new);
        Some(Box::new(all))
    }
}

/// Reads a number of seconds, which may have a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok();
    let seconds = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    seconds.ok_or_else(|| "expected a number of seconds from 0, such as 30 or 0.5".to_owned())
}

/// Reads a port, which may have a `:` before it.
fn port(text: &str) -> Result<u16, &'static str> {
    let number = text.strip_prefix(':').unwrap_or(text);
    number
        .parse()
        .map_err(|_| "not a port (a number from 0 to 65535)")
}

/// Reads the name of an environment variable.
fn variable(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.contains(['=', '\0']) {
        Err("not the name of a variable")
    } else if text.starts_with("LISTEN_") {
        Err("a variable of the protocol")
    } else {
        Ok(text.to_owned())
    }
}

/// Reads the name of a descriptor (`FileDescriptorName=`, systemd.socket(5)).
fn descriptor_name(text: &str) -> Result<String, &'static str> {
    let is_odd = |c: char| c == ':' || c.is_control();
    if text.is_empty() || text.len() > 255 || text.contains(is_odd) {
        return Err("a name has 1 to 255 bytes, and no `:` and no control character");
    }
    Ok(text.to_owned())
}

/// Reads the scheme of a URL (RFC 3986, section 3.1).
fn scheme(text: &str) -> Result<String, &'static str> {
    let is_scheme = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if is_scheme {
        Ok(text.to_owned())
    } else {
        Err("a scheme has letters, digits, `+`, `-` and `.`")
    }
}
