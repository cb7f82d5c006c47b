//! axum, on every listener.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::get;
use bindaddr_servers::Config;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::load()?;
    let listeners = bindaddr::bind(&config.listen)?;
    config.guard(&listeners, "http")?;
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
    let mut servers = JoinSet::new();
    for listener in listeners.into_tokio()? {
        servers.spawn(axum::serve(listener, app.clone()).into_future());
    }
    while let Some(ended) = servers.join_next().await {
        ended??;
    }
    Ok(())
}
