//! `wait`: until a setting can be bound.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bindaddr::{BindError, BindOptions, Cause, Listener, Listeners};
use serde_json::{json, to_value};

use crate::Verdict;
use crate::arguments::Wait;
use crate::output::{Label, Output, setting, shown};

pub(crate) fn wait(output: &mut Output, wait: &Wait) -> io::Result<Verdict> {
    let (texts, how) = (&wait.texts.texts, &wait.how);
    let options = tell_waiting(BindOptions::new().wait(wait.timeout).wait_for_port(true));
    let begun = Instant::now();
    let bound: Result<Vec<SocketAddr>, BindError> = if how.udp {
        options.bind_udp(texts).map(|sockets| addrs(&sockets))
    } else {
        options.bind(texts).map(|listeners| addrs(&listeners))
    };
    let waited = begun.elapsed();
    let verdict = if bound.is_ok() {
        Verdict::Good
    } else {
        Verdict::Bad
    };
    match bound {
        Ok(addrs) if how.json => {
            output.json(&json!({"waited": waited.as_secs_f64(), "addrs": addrs, "error": null}))?;
        }
        Err(err) if how.json => {
            let err = to_value(&err)?;
            output.json(&json!({"waited": waited.as_secs_f64(), "addrs": [], "error": err}))?;
        }
        Ok(addrs) => {
            output.heading(format_args!("after {:.1} s", waited.as_secs_f64()))?;
            for addr in addrs {
                output.line(Label::Binds, addr)?;
            }
        }
        Err(err) => {
            output.heading(format_args!("after {:.1} s", waited.as_secs_f64()))?;
            for problem in err.errors() {
                let causes = problem.causes().iter().map(ToString::to_string);
                let causes = causes.collect::<Vec<_>>().join("; also, ");
                // The message about an invalid text includes the text.
                let message = match problem.cause() {
                    Cause::InvalidText(_) => causes,
                    _ => format!("{}: {causes}", setting(problem.text())),
                };
                output.line(Label::Problem, message)?;
            }
            output.hints(&err.hints(), &err.to_string())?;
        }
    }
    Ok(verdict)
}

fn addrs<S>(listeners: &Listeners<S>) -> Vec<SocketAddr> {
    listeners.iter().map(Listener::local_addr).collect()
}

/// Says on the standard error what is waited for: on a terminal on a line that is written over, in
/// a log once.
pub(crate) fn tell_waiting(options: BindOptions) -> BindOptions {
    let is_terminal = io::stderr().is_terminal();
    let is_told = AtomicBool::new(false);
    options.on_wait(move |waiting| {
        let left = waiting.left();
        let for_what = shown(&waiting.error().to_string());
        if is_terminal {
            // Each line is written over the one before.
            let width = textwrap::termwidth().saturating_sub(1);
            let line = format!("waiting, {:.0} s left: {for_what}", left.as_secs_f64());
            let line: String = line.chars().take(width).collect();
            let end = if left.is_zero() { "\r\x1b[K" } else { "" };
            let _ = write!(io::stderr(), "\r\x1b[K{line}{end}");
        } else if !is_told.swap(true, Ordering::Relaxed) {
            let left = left.as_secs_f64();
            crate::report(&format!("waiting up to {left:.1} s: {for_what}"));
        }
        ControlFlow::Continue(())
    })
}
