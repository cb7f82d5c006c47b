//! The parts that all servers share: the config file and the access check.

use std::net::UdpSocket;

use anyhow::{Context, bail};
#[cfg(unix)]
use bindaddr::accept::Handle;
#[cfg(unix)]
use bindaddr::threads;
use bindaddr::update::{Apply, StdSocket, Update};
use bindaddr::{BindOptions, Exposure, Interfaces, ListenAddrs, Listeners, Plan};
use serde::Deserialize;
#[cfg(unix)]
use signal_hook::{consts::SIGHUP, iterator::Signals};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The config file of a server.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Addresses to listen on: a string, a port, or a sequence of them.
    pub listen: ListenAddrs,
    /// The token that clients must send; without one, only this host may connect.
    pub token: Option<String>,
}

impl Config {
    /// Reads the file that the first argument names.
    ///
    /// # Errors
    ///
    /// The error in the file, with its line.
    pub fn load() -> anyhow::Result<Self> {
        let path = std::env::args()
            .nth(1)
            .context("the path of a config file is missing")?;
        Ok(toml::from_str(&std::fs::read_to_string(path)?)?)
    }

    /// Plans the sockets. Refuses if others than this host could connect and no token is set,
    /// before a port is open.
    ///
    /// # Errors
    ///
    /// Returns an error for that refusal, an invalid setting, or unreadable interfaces.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let plan = BindOptions::new().plan(&self.listen)?;
        let exposure = plan.exposure(&Interfaces::system()?);
        if exposure > Exposure::ThisHost && self.token.is_none() {
            bail!("set a token: {} is open to {exposure}", self.listen);
        }
        Ok(plan)
    }

    /// Returns `true` if a client is let in that sends `authorization`.
    #[must_use]
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        authorization.and_then(|sent| sent.strip_prefix(b"Bearer ")) == Some(token.as_bytes())
    }
}

/// Prints who can connect.
///
/// # Errors
///
/// The interfaces cannot be read.
pub fn announce<S: StdSocket>(listeners: &Listeners<S>, scheme: &str) -> anyhow::Result<()> {
    let host = Interfaces::system()?.with_system_default_sources();
    print!("{}", listeners.reach(&host).banner(scheme));
    Ok(())
}

/// Reads the config again on each SIGHUP, and opens and closes sockets as it says. A mistake leaves
/// them as they are.
///
/// # Errors
///
/// The system's, if the signal cannot be received.
#[cfg(unix)]
pub async fn reload_on_hangup(handle: Handle) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        match reload(&handle).await {
            Ok(update) => print!("{update}"),
            Err(error) => eprintln!("Error: {error:#}"),
        }
    }
    Ok(())
}

#[cfg(unix)]
async fn reload(handle: &Handle) -> anyhow::Result<Update> {
    let plan = Config::load()?.plan()?;
    Ok(handle.apply(&plan, Apply::AllOrNone).await?)
}

/// The SIGHUPs that come, after which the config is read again.
#[derive(Debug)]
pub struct Hangups(#[cfg(unix)] Signal);

impl Hangups {
    /// Waits for no signal yet, but takes none from now on for a wish to end.
    ///
    /// # Errors
    ///
    /// The system's, if the signal cannot be received.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(
            #[cfg(unix)]
            signal(SignalKind::hangup())?,
        ))
    }

    /// Waits for the next one, and opens and closes UDP sockets as the config says. A mistake
    /// leaves them as they are.
    pub async fn update(&mut self, sockets: &mut Listeners<UdpSocket>) -> Update {
        loop {
            #[cfg(unix)]
            self.0.recv().await;
            #[cfg(not(unix))]
            std::future::pending::<()>().await;
            let update = Config::load()
                .and_then(|config| config.plan())
                .and_then(|plan| Ok(plan.apply_udp(sockets, Apply::AllOrNone)?));
            match update {
                Ok(update) => return update,
                Err(error) => eprintln!("Error: {error:#}"),
            }
        }
    }
}

/// Does as [`reload_on_hangup`], on a thread of its own.
///
/// # Errors
///
/// The system's, if the signal cannot be received.
#[cfg(unix)]
pub fn reload_on_thread(handle: threads::Handle) -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGHUP])?;
    let reload = move || -> anyhow::Result<Update> {
        let plan = Config::load()?.plan()?;
        Ok(handle.apply(&plan, Apply::AllOrNone)?)
    };
    std::thread::spawn(move || {
        for _ in signals.forever() {
            match reload() {
                Ok(update) => print!("{update}"),
                Err(error) => eprintln!("Error: {error:#}"),
            }
        }
    });
    Ok(())
}
