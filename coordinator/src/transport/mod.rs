//! One port for everything: gRPC, gRPC-web, health, reflection, and signed downloads over plain HTTP.
//!
//! This layer authenticates, bounds, converts and calls [`crate::driver`]; no rule of a round lives here.
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

pub mod grpc;
pub mod http;
pub mod problem;
pub mod server;
mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RANGE};
use ::http::{HeaderName, HeaderValue, Method};
use axum::Router;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument as _;

use crate::auth::{Authority, Enrollment};
use crate::blobs::Blobs;
use crate::blobs::sign::UrlSigner;
use crate::clock::SharedClock;
use crate::driver::Coordinator;
use crate::store::Store;

pub use tls::{TlsError, acceptor};

/// What the port serves.
#[derive(Clone)]
pub struct App {
    /// Rounds, models and tasks.
    pub coordinator: Coordinator,
    /// For readiness.
    pub store: Store,
    /// Models.
    pub blobs: Blobs,
    /// Checks the URLs of models.
    pub signer: Arc<UrlSigner>,
    /// Checks tokens.
    pub authority: Arc<Authority>,
    /// Makes devices.
    pub enrollment: Enrollment,
    /// Time.
    pub clock: SharedClock,
    /// Origins of web pages that may call; `*` is any. Calls carry tokens and never cookies.
    pub cors_origins: Vec<HeaderValue>,
    /// Whether gRPC reflection is served; nothing but tools needs it.
    pub reflection: bool,
    /// The REST facade, if it is served.
    #[cfg(feature = "facade")]
    pub rest: Option<scale_rest::Api>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

/// Everything on one router. `health` answers for `grpc.health.v1` and for `/ready`.
pub fn router(app: App, health: grpc::Health) -> Router {
    let cors = cors(&app.cors_origins);
    #[cfg(feature = "facade")]
    let rest = app.rest.clone();
    let own = http::router(app.clone(), health.clone())
        .merge(grpc::router(app, health))
        .fallback(problem::unknown_path)
        .layer(cors)
        .layer(axum::middleware::from_fn(trace));
    // The facade brings its own layers: its origins, limits and ids are not those of devices.
    #[cfg(feature = "facade")]
    let own = match rest {
        Some(rest) => own.merge(scale_rest::router(rest)),
        None => own,
    };
    own
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One span and one line per request. The query is left out: it may hold a signature.
async fn trace(request: Request, next: Next) -> Response {
    let id = uuid::Uuid::new_v4();
    let started = std::time::Instant::now();
    let span = tracing::info_span!("request", %id, method = %request.method(), path = request.uri().path());
    async move {
        let mut response = next.run(request).await;
        tracing::debug!(
            status = response.status().as_u16(),
            grpc_status = response.headers().get("grpc-status").and_then(|status| status.to_str().ok()),
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }
    .instrument(span)
    .await
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let any = origins.iter().any(|origin| origin.as_bytes() == b"*");
    let origins = if any { AllowOrigin::any() } else { AllowOrigin::list(origins.iter().cloned()) };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            RANGE,
            IF_NONE_MATCH,
            HeaderName::from_static("x-grpc-web"),
            HeaderName::from_static("x-user-agent"),
            HeaderName::from_static("grpc-timeout"),
        ])
        .expose_headers([
            HeaderName::from_static("grpc-status"),
            HeaderName::from_static("grpc-message"),
            HeaderName::from_static("grpc-status-details-bin"),
            HeaderName::from_static(problem::ERROR_CODE),
            HeaderName::from_static(problem::RETRY_AFTER_MS),
            ::http::header::CONTENT_RANGE,
            ETAG,
            REQUEST_ID,
        ])
        .max_age(std::time::Duration::from_secs(7200))
}
