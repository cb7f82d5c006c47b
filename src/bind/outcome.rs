//! What came of opening sockets: [`Opened`], and each that [`Failed`] explained.

use std::io;

use super::{BindFailure, BindOptions, Listener, Wanted};
use crate::diagnose::{self, Attempt, DeadEnd, Diagnosis, Errno, Evidence, Step};
use crate::plan::{Claims, PlannedSocket};
use crate::target::Protocol;

/// What came of opening sockets.
pub(super) struct Opened<S> {
    pub(super) listeners: Vec<Listener<S>>,
    pub(super) failures: Vec<Failed>,
}

impl<S> Opened<S> {
    /// Tells whether others have the port, and nothing else is wrong save what an optional
    /// setting may lack.
    pub(super) fn is_in_use(&self, is_optional: bool) -> bool {
        let matters =
            |failed: &&Failed| !(is_optional && matches!(failed.absence(), (true, _) | (_, true)));
        let mut failures = self.failures.iter().filter(matters).peekable();
        failures.peek().is_some() && failures.all(Failed::is_in_use)
    }

    /// Remembers, if others have the port, that it was the last one of the setting.
    pub(super) fn on_last_port(mut self, is_optional: bool) -> Self {
        if self.is_in_use(is_optional) {
            self.failures.iter_mut().for_each(Failed::leaves_no_port);
        }
        self
    }
}

/// Why a socket was not opened, its cause yet to be found.
pub(super) enum Failed {
    /// The system was not asked.
    Dead {
        planned: PlannedSocket,
        dead: DeadEnd,
    },
    /// The system refused a step.
    System {
        planned: PlannedSocket,
        step: Step,
        error: io::Error,
        /// Whether it refused all ports of the setting so, this one being the last.
        no_port_left: bool,
    },
}

impl Failed {
    pub(super) fn system(planned: &PlannedSocket, step: Step, error: io::Error) -> Self {
        Self::System {
            planned: planned.clone(),
            step,
            error,
            no_port_left: false,
        }
    }

    fn planned(&self) -> &PlannedSocket {
        match self {
            Self::Dead { planned, .. } | Self::System { planned, .. } => planned,
        }
    }

    fn leaves_no_port(&mut self) {
        if let Self::System { no_port_left, .. } = self {
            *no_port_left = true;
        }
    }

    fn is_in_use(&self) -> bool {
        match self {
            Self::Dead { .. } => false,
            Self::System { step, error, .. } => {
                matches!(step, Step::Bind | Step::Listen) && Errno::of(error) == Errno::InUse
            }
        }
    }

    pub(super) fn absence(&self) -> (bool, bool) {
        match self {
            Self::Dead { .. } => (false, false),
            Self::System { step, error, .. } => absence(*step, error),
        }
    }
}

/// Returns whether the host lacks the address, and whether it lacks the family.
pub(super) fn absence(step: Step, error: &io::Error) -> (bool, bool) {
    let errno = Errno::of(error);
    (
        (step, errno) == (Step::Bind, Errno::NotAvailable),
        step == Step::Socket && errno.is_about_family(),
    )
}

/// Looks at the host again, and names what is wrong with each socket, each of which comes
/// with the key to the setting that it is of.
pub(super) fn explain<'w, K: Copy>(
    protocol: Protocol,
    failed: Vec<(K, Failed)>,
    list: Option<&Claims>,
    setting_of: impl Fn(K) -> (usize, &'w Wanted, &'w BindOptions),
) -> Vec<(K, BindFailure)> {
    if failed.is_empty() {
        return Vec::new();
    }
    let attempts: Vec<Attempt<'_>> = failed
        .iter()
        .map(|(key, failed)| {
            let (number, wanted, options) = setting_of(*key);
            let attempt = Attempt {
                beside: list.map(|list| (list, number)),
                ..options.attempt(protocol, failed.planned(), wanted)
            };
            match failed {
                Failed::Dead { dead, .. } => Attempt {
                    dead: Some(*dead),
                    ..attempt
                },
                Failed::System {
                    step,
                    error,
                    no_port_left,
                    ..
                } => Attempt {
                    refused: Some((*step, error)),
                    no_port_left: *no_port_left,
                    ..attempt
                },
            }
        })
        .collect();
    let evidence = Evidence::read(&attempts, None);
    let diagnoses: Vec<Diagnosis> = attempts
        .iter()
        .map(|attempt| diagnose::diagnose(attempt, &evidence))
        .collect();
    let failed = failed.into_iter().zip(diagnoses);
    failed
        .map(|((key, failed), diagnosis)| {
            let (addr, step, error) = match failed {
                Failed::Dead { planned, .. } => (planned.addr, Step::Check, None),
                Failed::System {
                    planned,
                    step,
                    error,
                    ..
                } => (planned.addr, step, Some(error)),
            };
            let failure = BindFailure::new(Some(addr), step, diagnosis, error);
            (key, failure.of_entry(setting_of(key).0))
        })
        .collect()
}
