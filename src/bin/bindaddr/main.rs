//! The command `bindaddr`: what a listen setting means on this host, and what is wrong with it.

mod arguments;
mod files;
mod input;
mod interfaces;
mod listeners;
mod man;
#[cfg(target_os = "linux")]
mod netns;
mod output;
mod reach;
#[cfg(unix)]
mod run;
mod running;
mod settings;
#[cfg(target_os = "linux")]
mod user;
mod wait;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

use arguments::{Command, Task};
use clap::{CommandFactory as _, Parser as _};
use output::Output;
use serde_json::json;

/// The result of a task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Something is wrong.
    Bad,
    /// A file could not be read.
    Unusable,
}

const FAILURE: ExitCode = ExitCode::FAILURE;
/// For a mistake in the arguments, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::try_parse() {
        Ok(command) => command,
        Err(err) => return refuse(&err),
    };
    match run(command.task) {
        Ok(code) => code,
        // The reader has gone before the verdict, which a script must not take for a good one.
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => FAILURE,
        Err(err) => {
            report_error(&output::shown(&err.to_string()));
            FAILURE
        }
    }
}

/// Reports an error in one sentence, and as an object if JSON is wanted. The arguments may be
/// invalid, so they are searched.
fn report_error(sentence: &str) {
    report(&format!("error: {sentence}"));
    let mut arguments = std::env::args_os()
        .skip(1)
        .take_while(|argument| argument != "--");
    if arguments.any(|argument| argument == "--json") {
        let _ = Output::new().json(&json!({"error": sentence}));
    }
}

/// Reports what is wrong with the arguments in one sentence, or writes the help.
fn refuse(err: &clap::Error) -> ExitCode {
    if !err.use_stderr() {
        // A terminal or pipe that takes nothing is a failure like any other.
        return match err.print().and_then(|()| io::stdout().flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => FAILURE,
        };
    }
    let text = err.to_string();
    // Behind an empty line is the usage. A list of what is missing has a line for each.
    let sentence = text.split("\n\n").next().unwrap_or_default();
    let sentence = sentence.strip_prefix("error: ").unwrap_or(sentence);
    let words: Vec<&str> = sentence.split_ascii_whitespace().collect();
    let mut sentence = words.join(" ");
    if sentence.ends_with("provided: <COMMAND>...") {
        sentence += "; put `--` before it";
    }
    refuse_with(&sentence)
}

/// Reports a mistake in the arguments.
fn refuse_with(sentence: &str) -> ExitCode {
    report_error(&output::shown(sentence));
    ExitCode::from(USAGE)
}

/// Writes to the standard error, where that can be: the exit status says the same.
fn report(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Good => Self::SUCCESS,
            Verdict::Bad => FAILURE,
            Verdict::Unusable => Self::from(USAGE),
        }
    }
}

/// Does what is asked for.
fn run(task: Task) -> io::Result<ExitCode> {
    let mut output = Output::new();
    let verdict = match task {
        Task::Explain(explain) => {
            if let Err(sentence) = become_user(&explain.user) {
                return Ok(refuse_with(&sentence));
            }
            settings::explain(&mut output, &explain)?
        }
        Task::Check(check) => {
            // As this user, who may read them.
            let input = input::read(&check.settings, &check.keys);
            let running = running::servers(&check.running);
            let running = match running.and_then(|running| {
                become_user(&check.user)?;
                Ok(running)
            }) {
                Ok(running) => running,
                Err(sentence) => return Ok(refuse_with(&sentence)),
            };
            settings::check(&mut output, &check, &input, running.as_ref())?
        }
        Task::Interfaces { json } => {
            interfaces::list(&mut output, json)?;
            Verdict::Good
        }
        Task::Listeners(list) => {
            if let Some(Err(sentence)) = list.netns.as_deref().map(enter) {
                return Ok(refuse_with(&sentence));
            }
            listeners::list(&mut output, &list)?
        }
        Task::Reach(question) => reach::tell(&mut output, &question)?,
        #[cfg(unix)]
        Task::Run(run) => return Ok(run::run(&run)),
        #[cfg(not(unix))]
        Task::Run(_) => {
            return Ok(refuse_with(
                "this system passes no descriptors to a command",
            ));
        }
        Task::Watch(watch) => match watch::watch(&mut output, &watch)? {},
        Task::Wait(wait) => wait::wait(&mut output, &wait)?,
        Task::Completions { shell } => {
            let mut command = Command::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "bindaddr", &mut script);
            io::stdout().write_all(&script)?;
            Verdict::Good
        }
        Task::Man { dir: None } => {
            io::stdout().write_all(&man::page(&Command::command())?)?;
            Verdict::Good
        }
        Task::Man { dir: Some(dir) } => {
            man::write_all(Command::command(), &dir)?;
            Verdict::Good
        }
    };
    io::stdout().flush()?;
    Ok(verdict.into())
}

#[cfg(target_os = "linux")]
use netns::enter;
#[cfg(target_os = "linux")]
use user::become_user;

#[cfg(not(target_os = "linux"))]
fn become_user(user: &arguments::User) -> Result<(), String> {
    let unsupported = || Err("`--user` is for Linux".to_owned());
    user.user.as_ref().map_or(Ok(()), |_| unsupported())
}

#[cfg(not(target_os = "linux"))]
fn enter(_: &str) -> Result<(), String> {
    Err("`--netns` is for Linux".to_owned())
}
