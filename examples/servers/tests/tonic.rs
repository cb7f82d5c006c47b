//! tonic on the acceptor, which is a stream of connections, with a client of its own.

use std::error::Error;

use bindaddr::BindOptions;
use bindaddr::accept::Acceptor;
use bindaddr::update::Apply;
use tonic::transport::{Endpoint, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Asks a server at an address for its health.
async fn is_serving(addr: std::net::SocketAddr) -> Result<bool, Box<dyn Error>> {
    let channel = Endpoint::from_shared(format!("http://{addr}"))?
        .connect()
        .await?;
    let request = HealthCheckRequest::default();
    let response = HealthClient::new(channel).check(request).await?;
    Ok(response.into_inner().status == 1) // SERVING
}

#[tokio::test]
async fn tonic_serves_every_listener_and_ends_when_stopped() -> Result<(), Box<dyn Error>> {
    let options = BindOptions::new();
    let acceptor = Acceptor::new(options.bind("localhost:0")?)?;
    let (handle, addrs) = (acceptor.handle(), acceptor.local_addrs());
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder()
        .add_service(health)
        .serve_with_incoming(acceptor);
    let server = tokio::spawn(server);
    for addr in &addrs {
        assert!(is_serving(*addr).await?);
    }
    let port = addrs[0].port();
    let plan = options.plan(format!("localhost:{port}, 127.0.0.1:0"))?;
    let update = handle.apply(&plan, Apply::AllOrNone).await?;
    assert_eq!(update.kept(), addrs.len());
    assert!(is_serving(update.opened()[0]).await?);
    // The stream ends, and the server with it.
    drop(handle.stop()?);
    server.await??;
    Ok(())
}
