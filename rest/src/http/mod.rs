//! What is served under `/api/v1`, and `/docs`.
//!
//! A request is followed by opening files in this order:
//!
//! | step | where | type afterwards |
//! | --- | --- | --- |
//! | limits, token | [`life`] | a request with a [`Caller`](crate::auth::Caller) |
//! | read its parts | [`extract`] | wire types |
//! | check the values | [`wire`] | [`scale_records::domain`] |
//! | do it | [`routes`] | rows |
//! | write the answer | [`wire`], [`problem`], [`caching`] | JSON |
//!
//! [`openapi`] is generated from the routes and their types, and [`docs`] shows it to a person.

mod caching;
mod cursor;
mod docs;
mod extract;
mod life;
mod openapi;
mod problem;
mod routes;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::middleware::from_fn_with_state;
use bytes::Bytes;
use scale_clock::{SharedClock, Timestamp};
use scale_records::store::Records;
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes as collect;

use crate::auth::Verifier;
use crate::config::Config;
use crate::limit::Limiter;
use crate::training::Hub;

/// What the facade stands on.
#[derive(Clone)]
pub struct Api {
    /// People's rows.
    pub records: Arc<dyn Records>,
    /// Whose tokens are believed.
    pub verifier: Verifier,
    /// How often one may ask.
    pub limiter: Limiter,
    /// Training jobs.
    pub hub: Hub,
    /// Models that rounds have made.
    pub models: Arc<dyn LatestModel>,
    /// Tokens that enroll people's devices.
    pub enrollment: Arc<dyn MintEnrollment>,
    /// What time it is.
    pub clock: SharedClock,
    /// Settings, [checked](Config::check).
    pub config: Config,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Models that rounds have made; the coordinator has them.
#[async_trait]
pub trait LatestModel: Send + Sync {
    /// The names of all tasks.
    async fn tasks(&self) -> Result<Vec<String>, ModelError>;
    /// A task's newest model, with a URL from which it can be downloaded for a while. `None`: no such task, or it has no
    /// model yet.
    async fn latest(&self, task: &str) -> Result<Option<Model>, ModelError>;
}

/// A model that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The task.
    pub task: String,
    /// Its number.
    pub version: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Where the file is.
    pub url: String,
    /// Until when the URL is good.
    pub url_expires: Timestamp,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// When the model was made.
    pub created_at: Timestamp,
}

/// The models cannot be read at the moment. The text is for logs only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the models cannot be read: {0}")]
pub struct ModelError(pub String);

/// Mints tokens with which devices enroll; the coordinator does.
pub trait MintEnrollment: Send + Sync {
    /// A token that enrolls one installation within `ttl`, and says nothing about who asked for it. Nothing is kept of it
    /// until it is used.
    ///
    /// # Errors
    /// [`EnrollmentError`] when the system has no randomness.
    fn mint(&self, ttl: Duration) -> Result<EnrollmentToken, EnrollmentError>;
}

/// A token that enrolls one installation. Not printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrollmentToken {
    /// The token.
    pub token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for EnrollmentToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrollmentToken")
            .field("token", &"redacted")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// No enrollment token can be minted at the moment. The text is for logs only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no enrollment token can be minted: {0}")]
pub struct EnrollmentError(pub String);

/// What every request sees.
struct Shared {
    api: Api,
    /// Imports that may begin now.
    imports: Arc<Semaphore>,
    /// Event streams that may open now.
    streams: Arc<Semaphore>,
    openapi: Bytes,
    docs: docs::Page,
}

/// Everything under `/api` and `/docs`, to be merged into a router that has a fallback of its own, and layers around it: one
/// gives every request its id, in the header `x-request-id` of request and answer, another opens answers to the web pages of
/// [`Config::cors_origins`]. The peer's address comes as `ConnectInfo<SocketAddr>` in the request's extensions.
pub fn router(api: Api) -> Router {
    let config = &api.config;
    let (quick, quick_description) = quick().split_for_parts();
    let (long, long_description) = long().split_for_parts();
    let (probes, probes_description) = probes().split_for_parts();
    let description = openapi::describe([probes_description, quick_description, long_description], api.clock.now());

    let request_timeout = config.request_timeout();
    let import_timeout = Duration::from_secs(config.import_timeout_s);
    let with_docs = config.docs;
    let shared = Arc::new(Shared {
        imports: Arc::new(Semaphore::new(config.imports_at_once as usize)),
        streams: Arc::new(Semaphore::new(config.max_streams as usize)),
        openapi: openapi::to_bytes(&description).into(),
        docs: docs::Page::new(),
        api,
    });

    // Before the layers: a wrong method passes the same limits as a right one.
    let persons = quick
        .method_not_allowed_fallback(routes::no_such_method)
        .layer(from_fn_with_state(request_timeout, life::in_time))
        .merge(
            long.method_not_allowed_fallback(routes::no_such_method)
                .layer(from_fn_with_state(import_timeout, life::in_time)),
        )
        .route_layer(from_fn_with_state(shared.clone(), life::by_person));
    let mut public = Router::new()
        .route("/api/v1/openapi.json", axum::routing::get(routes::description))
        .route("/api/{*path}", axum::routing::any(routes::nothing));
    if with_docs {
        public = public.route("/docs", axum::routing::get(routes::docs));
    }
    persons
        .merge(public.method_not_allowed_fallback(routes::no_such_method))
        .layer(from_fn_with_state(shared.clone(), life::by_address))
        .merge(probes.method_not_allowed_fallback(routes::no_such_method))
        .layer(from_fn_with_state(shared.clone(), life::finish))
        .with_state(shared)
}

/// The API's description (OpenAPI 3.1) as it stands at this time, for tools that have no server at hand.
pub fn openapi(now: Timestamp) -> serde_json::Value {
    openapi::describe([probes(), quick(), long()].map(OpenApiRouter::into_openapi), now)
}

type Routes = OpenApiRouter<Arc<Shared>>;

fn probes() -> Routes {
    OpenApiRouter::new().routes(collect!(routes::probe::health)).routes(collect!(routes::probe::ready))
}

/// What is answered within the request's time.
fn quick() -> Routes {
    use routes::{category, device, model, person, training, transaction, upload};
    OpenApiRouter::new()
        .routes(collect!(transaction::list, transaction::create))
        .routes(collect!(transaction::get, transaction::delete))
        .routes(collect!(transaction::change_category))
        .routes(collect!(upload::list))
        .routes(collect!(category::list, category::create))
        .routes(collect!(training::create, training::list))
        .routes(collect!(training::cancel))
        .routes(collect!(training::status))
        .routes(collect!(training::stream))
        .routes(collect!(model::latest))
        .routes(collect!(device::enroll))
        .routes(collect!(person::export))
        .routes(collect!(person::delete))
}

/// What may take as long as an import.
fn long() -> Routes {
    OpenApiRouter::new().routes(collect!(routes::upload::import))
}
