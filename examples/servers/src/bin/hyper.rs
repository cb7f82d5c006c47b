//! hyper, on one acceptor over all listeners, which SIGHUP changes.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use bindaddr::accept::Acceptor;
#[cfg(unix)]
use bindaddr_servers::reload_on_hangup;
use bindaddr_servers::{Config, announce};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Arc::new(Config::load()?);
    let listeners = config.plan()?.bind()?;
    announce(&listeners, "http")?;
    let mut acceptor = Acceptor::new(listeners)?;
    #[cfg(unix)]
    tokio::spawn(reload_on_hangup(acceptor.handle()));
    loop {
        let (client, _) = acceptor.accept().await;
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
