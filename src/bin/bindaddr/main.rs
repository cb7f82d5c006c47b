//! The command `bindaddr`: what a listen setting means on this host, and what is wrong with it.

mod input;
mod interfaces;
mod output;
mod reach;
mod settings;
mod wait;

use std::io::{self, Write};
use std::process::ExitCode;

use bindaddr::{BindOptions, Exposure};
use clap::builder::PossibleValue;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use output::Output;

/// Shows what listen settings mean on this host, and what is wrong with them.
///
/// The exit status is 0 if nothing is wrong, 1 if something is, and 2 if the arguments are wrong. Put `--` before
/// addresses that start with `-`.
#[derive(Parser)]
#[command(version, max_term_width = 80)]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Explain listen addresses: what each means here, what would be bound, what is wrong.
    Explain {
        /// Listen addresses such as `0.0.0.0:8080`, `eth0:80` or `localhost:0`.
        #[arg(required = true)]
        texts: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Check the settings of a server together, before a restart.
    ///
    /// From a `.toml` or `.json` file, the values of `--key` are read; any other file lists listen addresses, with `#`
    /// for comments. `-` is the standard input.
    Check {
        /// Files, or listen addresses themselves.
        #[arg(required = true, value_name = "FILE|TEXT")]
        settings: Vec<String>,
        /// The key in config files, at whatever depth.
        #[arg(long, default_value = "listen")]
        key: String,
        #[command(flatten)]
        how: How,
    },
    /// List the interfaces of this host and their addresses.
    Interfaces {
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show who could connect, and to which addresses.
    Reach {
        /// Listen addresses.
        #[arg(required = true)]
        texts: Vec<String>,
        /// Write URLs of this scheme.
        #[arg(long, value_parser = scheme)]
        scheme: Option<String>,
        /// Fail if clients beyond WHO could connect.
        #[arg(long, value_name = "WHO")]
        at_most: Option<AtMost>,
        /// Write JSON.
        #[arg(long)]
        json: bool,
    },
    /// Wait until listen addresses can be bound, for example at boot, and close them again.
    Wait {
        /// Listen addresses.
        #[arg(required = true)]
        texts: Vec<String>,
        /// How long to wait, in seconds.
        #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = wait::seconds)]
        timeout: std::time::Duration,
        #[command(flatten)]
        how: How,
    },
    /// Write the completions of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual page.
    Man,
}

#[derive(Args)]
struct How {
    /// Bind UDP sockets rather than TCP listeners.
    #[arg(long)]
    udp: bool,
    /// Write JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy)]
struct AtMost(Exposure);

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

fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(err) => return refuse(&err),
    };
    match run(command.task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader has gone before the verdict, which a script must not take for a good one.
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(err) => {
            // The line of a file that is shown may have anything in it.
            let lines: Vec<String> = err.to_string().lines().map(output::shown).collect();
            report(&format!("error: {}", lines.join("\n")));
            ExitCode::FAILURE
        }
    }
}

/// Prints what is wrong with the arguments, or the help.
fn refuse(err: &clap::Error) -> ExitCode {
    let is_plain = |argument: String| output::shown(&argument) == argument;
    let mut arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    if arguments.all(is_plain) {
        // A terminal or pipe that takes nothing is not a reason for another status.
        let _ = err.print();
    } else {
        // It repeats an argument as it is.
        let text = err.to_string();
        let lines: Vec<String> = text.lines().map(output::shown).collect();
        report(&lines.join("\n"));
    }
    ExitCode::from(u8::try_from(err.exit_code()).unwrap_or(2))
}

/// Writes to the standard error, where that can be: the exit status says the same.
fn report(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Does what is asked for, and tells whether nothing is wrong.
fn run(task: Task) -> io::Result<bool> {
    let mut output = Output::new();
    match task {
        Task::Explain { texts, how } => settings::explain(&mut output, &texts, &how),
        Task::Check { settings, key, how } => settings::check(&mut output, &settings, &key, &how),
        Task::Interfaces { json } => interfaces::list(&mut output, json),
        Task::Reach {
            texts,
            scheme,
            at_most,
            json,
        } => {
            let at_most = at_most.map(|at_most| at_most.0);
            reach::tell(&mut output, &texts, scheme.as_deref(), at_most, json)
        }
        Task::Wait {
            texts,
            timeout,
            how,
        } => {
            let options = BindOptions::new().wait(timeout);
            wait::wait(&mut output, &texts, options, &how)
        }
        Task::Completions { shell } => {
            let mut command = Command::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "bindaddr", &mut script);
            io::stdout().write_all(&script)?;
            Ok(true)
        }
        Task::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Command::command()).render(&mut page)?;
            io::stdout().write_all(&page)?;
            Ok(true)
        }
    }
}
