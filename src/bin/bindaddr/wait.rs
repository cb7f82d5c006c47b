//! `wait`: until the host has what a setting stands for.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bindaddr::{BindError, BindOptions, Listener, Listeners};
use serde_json::{json, to_value};

use crate::How;
use crate::input::entries_of_each;
use crate::output::{Label, Output};

/// Reads a number of seconds, which may have a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse().ok();
    let seconds = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    seconds.ok_or_else(|| "expected a number of seconds from 0, such as 30 or 0.5".to_owned())
}

pub(crate) fn wait(
    output: &mut Output,
    texts: &[String],
    options: BindOptions,
    how: &How,
) -> io::Result<bool> {
    let options = if io::stderr().is_terminal() {
        options.on_wait(|waiting| {
            // The line is written over, and what ends is written on another.
            let _ = write!(io::stderr(), "\rwaiting, {:.0?} left ", waiting.left());
            ControlFlow::Continue(())
        })
    } else {
        options
    };
    let texts: Vec<String> = entries_of_each(texts)?;
    let begun = Instant::now();
    let bound: Result<Vec<SocketAddr>, BindError> = if how.udp {
        options.bind_udp(&texts).map(|sockets| addrs(&sockets))
    } else {
        options.bind(&texts).map(|listeners| addrs(&listeners))
    };
    let waited = begun.elapsed();
    if io::stderr().is_terminal() {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let is_ok = bound.is_ok();
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
            output.line(Label::Error, &err)?;
            output.hints(&err.hints(), &err.to_string())?;
        }
    }
    Ok(is_ok)
}

fn addrs<S>(listeners: &Listeners<S>) -> Vec<SocketAddr> {
    listeners.iter().map(Listener::local_addr).collect()
}
