//! What the servers have in common: a config file, and who may be let in.

use anyhow::{Context, bail};
use bindaddr::update::StdSocket;
use bindaddr::{Exposure, Interfaces, ListenAddrs, Listeners};
use serde::Deserialize;

/// The config file of a server.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Where to listen: a text, a port, or a sequence of them.
    pub listen: ListenAddrs,
    /// What clients have to know, without which only this host gets in.
    pub token: Option<String>,
}

impl Config {
    /// Reads the file that the first argument names.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, with its line.
    pub fn load() -> anyhow::Result<Self> {
        let path = std::env::args()
            .nth(1)
            .context("the path of a config file is missing")?;
        Ok(toml::from_str(&std::fs::read_to_string(path)?)?)
    }

    /// Prints who can connect, and refuses to go on where others can and no token is set.
    ///
    /// # Errors
    ///
    /// That refusal, and that the interfaces cannot be read.
    pub fn guard<S: StdSocket>(
        &self,
        listeners: &Listeners<S>,
        scheme: &str,
    ) -> anyhow::Result<()> {
        let host = Interfaces::system()?.with_system_default_sources();
        let exposure = listeners.exposure(&host);
        if exposure > Exposure::ThisHost && self.token.is_none() {
            bail!("set a token: {} is open to {exposure}", self.listen);
        }
        print!("{}", listeners.reach(&host).banner(scheme));
        Ok(())
    }

    /// Tells whether a client is let in that sends `authorization`.
    #[must_use]
    pub fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        authorization.and_then(|sent| sent.strip_prefix(b"Bearer ")) == Some(token.as_bytes())
    }
}
