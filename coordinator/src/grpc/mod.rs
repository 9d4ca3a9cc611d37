//! The gRPC services, and gRPC-web, on one router; whoever serves a port merges it.
//!
//! A call passes: gRPC-web translation, a time limit, [`guard`] (tokens, before a body is read), the generated decoding
//! with a size limit, and then a few lines in the service's file that convert and call.

mod admin;
mod enrollment;
mod guard;
mod models;
pub mod problem;
mod rounds;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use scale_proto::error::Invalid;
use scale_proto::{limits, wire};
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};
use tonic_web::GrpcWebLayer;

use crate::auth::{Authority, Enrollment};
use crate::{Caller, Coordinator};
use scale_clock::SharedClock;

/// Most bytes of a message to a service that needs no token.
const OPEN_MESSAGE_BYTES: usize = 16 << 10;
/// A task may come with its first model.
const ADMIN_MESSAGE_BYTES: usize = limits::MODEL_BYTES as usize + limits::MESSAGE_BYTES;

/// What the services stand on.
#[derive(Clone)]
pub struct Services {
    /// Rounds, models and tasks.
    pub coordinator: Coordinator,
    /// Checks tokens, and mints them for operators.
    pub authority: Arc<Authority>,
    /// Makes devices.
    pub enrollment: Enrollment,
    /// Time.
    pub clock: SharedClock,
    /// Whether gRPC reflection is served; nothing but tools needs it.
    pub reflection: bool,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("reflection", &self.reflection).finish_non_exhaustive()
    }
}

/// What `grpc.health.v1` says, and who else asks whether calls are welcome.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    stopping: Arc<AtomicBool>,
}

impl Health {
    /// Serving.
    pub async fn serving() -> Self {
        let health = Self { reporter: HealthReporter::new(), stopping: Arc::default() };
        health.set(ServingStatus::Serving).await;
        health
    }

    /// From now on load balancers should look elsewhere.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.set(ServingStatus::NotServing).await;
    }

    /// Whether the end has begun.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    async fn set(&self, status: ServingStatus) {
        // The empty name is the server as a whole.
        for name in ["", "scale.fl.v1.Enrollment", "scale.fl.v1.Rounds", "scale.fl.v1.Models", "scale.fl.v1.Admin"] {
            self.reporter.set_service_status(name, status).await;
        }
    }
}

/// Routes of every gRPC service, to be merged into a router that has a fallback of its own.
pub fn router(services: Services, health: Health) -> Router {
    use wire::{admin_server, enrollment_server, models_server, rounds_server};
    let guard = guard::Guard { authority: services.authority.clone(), clock: services.clock.clone() };

    let enrollment =
        enrollment_server::EnrollmentServer::new(enrollment::Service { enrollment: services.enrollment.clone() })
            .max_decoding_message_size(OPEN_MESSAGE_BYTES);
    let rounds = rounds_server::RoundsServer::new(rounds::Service { coordinator: services.coordinator.clone() })
        .max_decoding_message_size(limits::MESSAGE_BYTES);
    let models = models_server::ModelsServer::new(models::Service { coordinator: services.coordinator.clone() })
        .max_decoding_message_size(OPEN_MESSAGE_BYTES);
    let admin = admin_server::AdminServer::new(admin::Service {
        coordinator: services.coordinator.clone(),
        authority: services.authority.clone(),
        clock: services.clock.clone(),
    })
    .max_decoding_message_size(ADMIN_MESSAGE_BYTES);
    let health =
        tonic_health::pb::health_server::HealthServer::new(HealthService::from_health_reporter(health.reporter))
            .max_decoding_message_size(OPEN_MESSAGE_BYTES);
    let mut routes = tonic::service::Routes::new(enrollment)
        .add_service(rounds)
        .add_service(models)
        .add_service(admin)
        .add_service(health);
    if services.reflection {
        // The descriptor sets are compiled in; a test calls reflection.
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(scale_proto::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let v1 = reflection().build_v1().expect("compiled descriptors are whole");
        let v1alpha = reflection().build_v1alpha().expect("compiled descriptors are whole");
        routes = routes
            .add_service(v1.max_decoding_message_size(OPEN_MESSAGE_BYTES))
            .add_service(v1alpha.max_decoding_message_size(OPEN_MESSAGE_BYTES));
    }

    routes
        .into_axum_router()
        .reset_fallback()
        .layer(axum::middleware::from_fn_with_state(guard, guard::guard))
        .layer(GrpcWebLayer::new())
}

/// The device that calls: [`guard`] has put it there.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().copied();
    caller.ok_or_else(|| {
        tracing::error!("a device call arrived without its device");
        problem::internal()
    })
}

/// A wire message as its domain type.
fn checked<W, D>(message: W) -> Result<D, Status>
where
    D: TryFrom<W, Error = Invalid>,
{
    D::try_from(message).map_err(|error| problem::invalid(&error))
}

/// What the coordinator says, as a message or a status.
fn answered<T, W: From<T>>(result: Result<T, crate::Error>) -> Result<Response<W>, Status> {
    result.map(|value| Response::new(value.into())).map_err(|error| problem::of_error(&error))
}
