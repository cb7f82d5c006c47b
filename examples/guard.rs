//! Refuses to listen where others get in, unless a token is set:
//! `TOKEN=secret cargo run --example guard -- 0.0.0.0:5000`.
//!
//! It plans, decides, binds, prints who can connect and what is probably not meant, and ends.

use std::error::Error;
use std::process::ExitCode;

use bindaddr::{BindOptions, Exposure, Interfaces};

fn main() -> ExitCode {
    let setting = std::env::args().nth(1);
    let token = std::env::var("TOKEN")
        .ok()
        .filter(|token| !token.is_empty());
    match listen(
        setting.as_deref().unwrap_or("localhost:0"),
        token.as_deref(),
    ) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("error: {err}");
            ExitCode::FAILURE
        }
    }
}

fn listen(setting: &str, token: Option<&str>) -> Result<(), Box<dyn Error>> {
    let plan = BindOptions::new().plan(setting)?;
    // If the interfaces cannot be read, who could connect is not known, and this ends.
    let host = Interfaces::system()?.with_system_default_sources();
    let exposure = plan.exposure(&host);
    if exposure > Exposure::ThisHost && token.is_none() {
        return Err(
            format!("{setting} is open to {exposure}; set TOKEN, or listen on localhost").into(),
        );
    }
    // The port is opened only now.
    let listeners = plan.bind()?;
    print!("{}", listeners.reach(&host).banner("http"));
    for warning in listeners.warnings(&host) {
        eprintln!("warning: {warning}");
    }
    Ok(())
}
