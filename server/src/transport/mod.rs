//! One port for everything: gRPC, gRPC-web, health, reflection, and signed downloads over plain HTTP.
//!
//! This layer authenticates, bounds, converts and calls [`scale_coordinator::Coordinator`]; no rule of a round lives here.
//!
//! | path | what | who |
//! |---|---|---|
//! | `/scale.fl.v1.Enrollment/…` | enrollment | an enrollment token, in the message |
//! | `/scale.fl.v1.Rounds/…`, `/scale.fl.v1.Models/…` | devices | a device token |
//! | `/scale.fl.v1.Admin/…` | operators | an operator token |
//! | `/grpc.health.v1.Health/…` | health | anybody |
//! | `/grpc.reflection.…`, only if asked for | the schema | anybody |
//! | `/v1/blobs/{path}?exp=…&kid=…&sig=…` | models | whoever has the URL |
//! | `/health`, `/ready` | probes | anybody |
//! | `/api/v1/…`, `/docs` | people's apps: `scale_rest` | a person's token |

mod cors;
pub mod http;
mod problem;
mod request;
pub mod server;
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use scale_coordinator::blobs::Blobs;
use scale_coordinator::blobs::sign::UrlSigner;
use scale_coordinator::grpc::{self, Health, Services};
use scale_coordinator::store::Store;

pub use cors::Cors;
pub use tls::{TlsError, acceptor};

/// What the port serves.
#[derive(Clone)]
pub struct App {
    /// What devices and operators call.
    pub services: Services,
    /// For readiness.
    pub store: Store,
    /// Models.
    pub blobs: Blobs,
    /// Checks the URLs of models.
    pub signer: Arc<UrlSigner>,
    /// Web pages that may call.
    pub cors: Cors,
    /// The REST facade, if it is served.
    #[cfg(feature = "facade")]
    pub rest: Option<scale_rest::Api>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("services", &self.services).finish_non_exhaustive()
    }
}

/// Everything on one router. `health` answers for `grpc.health.v1` and for `/ready`.
pub fn router(app: App, health: Health) -> Router {
    let cors = Arc::new(app.cors.clone());
    let routes = grpc::router(app.services.clone(), health.clone());
    #[cfg(feature = "facade")]
    let routes = match app.rest.clone() {
        Some(rest) => routes.merge(scale_rest::router(rest)),
        None => routes,
    };
    routes
        .merge(http::router(app, health))
        .fallback(problem::unknown_path)
        .layer(from_fn_with_state(cors, request::one_request))
}
