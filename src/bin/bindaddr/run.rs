//! `run`: a command that is given open sockets.

use std::fmt::Display;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use bindaddr::restart::Handover;
use bindaddr::update::StdSocket;
use bindaddr::{BindError, BindOptions, Exposure, Interfaces, Listeners};

use crate::arguments::{AtMost, Run};
use crate::output::{Output, addr, shown};
use crate::wait::tell_waiting;
use crate::{FAILURE, report};

/// The first descriptor behind the standard streams.
const FIRST: usize = 3;

/// Opens the sockets and executes the command. It returns only if that fails.
pub(crate) fn run(run: &Run) -> ExitCode {
    let options = match run.wait {
        Some(timeout) => tell_waiting(BindOptions::new().wait(timeout).wait_for_port(true)),
        None => BindOptions::new(),
    };
    if let Err(message) = refuse_exposed(run, &options) {
        return failed(message);
    }
    let executed = if run.udp {
        options
            .bind_udp(&run.texts.texts)
            .map(|sockets| execute(run, &sockets))
    } else {
        options
            .bind(&run.texts.texts)
            .map(|listeners| execute(run, &listeners))
    };
    executed.unwrap_or_else(|err| failed_to_bind(&err))
}

/// Fails if others than wanted could connect, before a socket is open.
fn refuse_exposed(run: &Run, options: &BindOptions) -> Result<(), String> {
    let Some(AtMost(most)) = run.at_most else {
        return Ok(());
    };
    let host = Interfaces::system().map_err(|err| err.to_string())?;
    let host = host.with_system_default_sources();
    // A text that has no address yet is checked when it is open.
    let Ok(plan) = options.plan_on(&run.texts.texts, &host) else {
        return Ok(());
    };
    refuse(plan.exposure(&host), most)
}

fn refuse(exposure: Exposure, most: Exposure) -> Result<(), String> {
    if exposure <= most {
        return Ok(());
    }
    Err(format!(
        "it would be open to {exposure}, and `--at-most` allows {most}"
    ))
}

fn execute<S: StdSocket + AsFd>(run: &Run, listeners: &Listeners<S>) -> ExitCode {
    let host = Interfaces::system();
    // Without the interfaces it is unknown who can connect.
    let exposure = host.as_ref().map(|host| listeners.exposure(host));
    let exposure = exposure.map_err(ToString::to_string);
    if let Some(AtMost(most)) = run.at_most {
        let allowed = exposure.clone().and_then(|exposure| refuse(exposure, most));
        if let Err(reason) = allowed {
            return failed(reason);
        }
    }
    let host = host.unwrap_or_default();
    for (listener, descriptor) in listeners.iter().zip(FIRST..) {
        let addr = addr(listener.local_addr(), &host);
        report(&format!("listening on {addr} (descriptor {descriptor})"));
    }
    match exposure {
        Ok(exposure) => report(&format!("open to {exposure}")),
        Err(reason) => report(&format!("warning: it is unknown who can connect: {reason}")),
    }
    if run.fd_env.is_some() && listeners.len() > 1 {
        report("warning: the variable of `--fd-env` has the first descriptor only");
    }
    let Some((program, arguments)) = run.command.split_first() else {
        return failed("the command is missing");
    };
    let mut command = Command::new(program);
    command.args(arguments);
    command.envs(run.fd_env.iter().map(|name| (name, FIRST.to_string())));
    let mut handover = Handover::new();
    let added = match &run.name {
        Some(name) => handover.add_named(name, listeners),
        None => handover.add(listeners),
    };
    let passed = added.and_then(|()| handover.pass_to(&mut command));
    if let Err(err) = passed {
        return failed(err);
    }
    // It stays this process.
    command.env("LISTEN_PID", std::process::id().to_string());
    let err = command.exec();
    let name = shown(&program.to_string_lossy());
    report(&format!("error: cannot run `{name}`: {err}"));
    // As env(1) and shells have it.
    ExitCode::from(match err.kind() {
        io::ErrorKind::NotFound => 127,
        _ => 126,
    })
}

fn failed(reason: impl Display) -> ExitCode {
    report(&format!("error: {reason}"));
    FAILURE
}

fn failed_to_bind(err: &BindError) -> ExitCode {
    let text = Output::new().with_users(&format!("{err:#}"));
    let lines: Vec<String> = text.lines().map(shown).collect();
    failed(lines.join("\n"))
}
