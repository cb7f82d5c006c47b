//! `watch`: what changes for settings, as the host's addresses come and go.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bindaddr::diagnosis::SettingError;
use bindaddr::interfaces::{AddrState, InterfaceAddr};
use bindaddr::update::Watch;
use bindaddr::{BindOptions, BindTarget, Exposure, Interfaces};
use serde_json::{Value, json};

use crate::arguments;
use crate::output::{self, Output, setting};

/// The sockets and problems of a setting at one moment.
#[derive(Default)]
struct State {
    /// The sockets, as they are shown and with their targets.
    sockets: BTreeMap<SocketAddr, (String, String)>,
    exposure: Option<Exposure>,
    problem: Option<String>,
}

/// A difference between two moments.
enum Event {
    Added(SocketAddr, String, String),
    Removed(SocketAddr, String),
    OpenTo(Exposure),
    Problem(String),
}

impl State {
    fn of(text: &str, host: &Interfaces) -> Self {
        let plan = match BindOptions::new().plan_on(text, host) {
            Ok(plan) => plan,
            Err(err) => {
                let causes: Vec<String> = err
                    .errors()
                    .flat_map(SettingError::causes)
                    .map(ToString::to_string)
                    .collect();
                return Self {
                    problem: Some(causes.join("; also, ")),
                    ..Self::default()
                };
            }
        };
        let mut new = Self::default();
        for socket in plan.sockets() {
            let target = socket.target(host);
            if let BindTarget::Foreign(foreign) = &target {
                let message = format!(
                    "no interface of this host has {}; {}",
                    foreign.ip(),
                    foreign.reason()
                );
                new.problem = Some(message);
            } else if let Some(state) = unusable(&target) {
                new.problem = Some(format!("{} is {state}", socket.addr().ip()));
            } else {
                let shown = output::addr(socket.addr(), host);
                new.sockets
                    .insert(socket.addr(), (shown, target.to_string()));
            }
        }
        new.exposure = (!new.sockets.is_empty()).then(|| plan.exposure(host));
        new
    }

    fn since(&self, before: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        for (addr, (shown, _)) in &before.sockets {
            if !self.sockets.contains_key(addr) {
                events.push(Event::Removed(*addr, shown.clone()));
            }
        }
        for (addr, socket) in &self.sockets {
            if before.sockets.get(addr) != Some(socket) {
                let (shown, target) = socket.clone();
                events.push(Event::Added(*addr, shown, target));
            }
        }
        if self.exposure != before.exposure {
            events.extend(self.exposure.map(Event::OpenTo));
        }
        if self.problem != before.problem {
            events.extend(self.problem.clone().map(Event::Problem));
        }
        events
    }
}

/// Returns the state of an address that cannot be bound as it is.
fn unusable(target: &BindTarget) -> Option<AddrState> {
    let BindTarget::Local(local) = target else {
        return None;
    };
    let states = local.interfaces().filter_map(|interface| {
        let mut addrs = interface.addrs().iter();
        addrs
            .find(|addr| addr.ip() == local.ip())
            .map(InterfaceAddr::state)
    });
    let mut states = states.peekable();
    let first = states.peek().copied();
    let is_unusable = |state| matches!(state, AddrState::Tentative | AddrState::Duplicate);
    first.filter(|_| states.all(is_unusable))
}

/// Prints the state of each text, and then each change. It does not end.
pub(crate) fn watch(output: &mut Output, arguments: &arguments::Watch) -> io::Result<Infallible> {
    let texts = &arguments.texts.texts;
    // Before the host is read, so that nothing happens unseen in between.
    let mut watch = Watch::new()?;
    let mut states: Vec<State> = texts.iter().map(|_| State::default()).collect();
    loop {
        let host = Interfaces::system().map_err(io::Error::other)?;
        let host = host.with_system_default_sources();
        for (text, state) in texts.iter().zip(&mut states) {
            let now = State::of(text, &host);
            for event in now.since(state) {
                write(output, text, &event, arguments.json)?;
            }
            *state = now;
        }
        watch.wait(None)?;
    }
}

fn write(output: &mut Output, text: &str, event: &Event, json: bool) -> io::Result<()> {
    let text = setting(text);
    if json {
        return output.json_line(&value(&text, event));
    }
    let message = match event {
        Event::Added(_, shown, target) => format!("{shown} added: {target}"),
        Event::Removed(_, shown) => format!("{shown} removed"),
        Event::OpenTo(exposure) => format!("open to {exposure}"),
        Event::Problem(problem) => format!("problem: {problem}"),
    };
    output.row(&format!("{text}: {message}"))
}

fn value(text: &str, event: &Event) -> Value {
    match event {
        Event::Added(addr, _, target) => {
            json!({"text": text, "event": "added", "addr": addr, "meaning": target})
        }
        Event::Removed(addr, _) => json!({"text": text, "event": "removed", "addr": addr}),
        Event::OpenTo(exposure) => json!({"text": text, "event": "open-to", "exposure": exposure}),
        Event::Problem(problem) => json!({"text": text, "event": "problem", "problem": problem}),
    }
}
