//! hyper, on every listener.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bindaddr_servers::Config;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Arc::new(Config::load()?);
    let listeners = bindaddr::bind(&config.listen)?;
    config.guard(&listeners, "http")?;
    let accepting: JoinSet<()> = listeners
        .into_tokio()?
        .into_iter()
        .map(|listener| accept(listener, config.clone()))
        .collect();
    accepting.join_all().await;
    Ok(())
}

async fn accept(listener: TcpListener, config: Arc<Config>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Where descriptors are short, others need time to close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let config = config.clone();
        let answering =
            service_fn(move |request| ready(Ok::<_, Infallible>(answer(&request, &config))));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(client), answering));
    }
}

fn answer(request: &Request<Incoming>, config: &Config) -> Response<Full<Bytes>> {
    let sent = request.headers().get(header::AUTHORIZATION);
    if config.admits(sent.map(HeaderValue::as_bytes)) {
        return Response::new(Full::from("Hello\n"));
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}
