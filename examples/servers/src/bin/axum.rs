//! axum, on one acceptor over all listeners, which SIGHUP changes.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::get;
use bindaddr::accept::Acceptor;
#[cfg(unix)]
use bindaddr_servers::reload_on_hangup;
use bindaddr_servers::{Config, announce};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::load()?;
    let listeners = config.plan()?.bind()?;
    announce(&listeners, "http")?;
    let app = Router::new().route(
        "/",
        get(async move |headers: HeaderMap| {
            let sent = headers.get(header::AUTHORIZATION);
            if config.admits(sent.map(HeaderValue::as_bytes)) {
                Ok("Hello\n")
            } else {
                Err(StatusCode::UNAUTHORIZED)
            }
        }),
    );
    let acceptor = Acceptor::new(listeners)?;
    #[cfg(unix)]
    tokio::spawn(reload_on_hangup(acceptor.handle()));
    Ok(axum::serve(acceptor, app).await?)
}
