//! actix-web, which takes several listeners itself.

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use bindaddr_servers::{Config, announce};

fn main() -> anyhow::Result<()> {
    let config = Config::load()?;
    let listeners = config.plan()?.bind()?;
    announce(&listeners, "http")?;
    let config = Data::new(config);
    let app = move || {
        App::new()
            .app_data(config.clone())
            .route("/", web::get().to(answer))
    };
    let mut server = HttpServer::new(app).workers(1);
    for listener in listeners {
        server = server.listen(listener.into_std())?;
    }
    Ok(actix_web::rt::System::new().block_on(server.run())?)
}

async fn answer(request: HttpRequest, config: Data<Config>) -> HttpResponse {
    let sent = request.headers().get(header::AUTHORIZATION);
    if config.admits(sent.map(HeaderValue::as_bytes)) {
        HttpResponse::Ok().body("Hello\n")
    } else {
        HttpResponse::Unauthorized().finish()
    }
}
