//! `Models`: which model is current, and where to get it.

use std::pin::Pin;

use futures::Stream;
use scale_proto::answer::ModelRequest;
use scale_proto::ids::TaskId;
use scale_proto::{check_protocol, wire};
use tonic::{Request, Response, Status};

use super::{answered, checked, problem};
use crate::Coordinator;

pub(super) struct Service {
    pub(super) coordinator: Coordinator,
}

#[tonic::async_trait]
impl wire::models_server::Models for Service {
    async fn get_manifest(
        &self,
        request: Request<wire::GetModelRequest>,
    ) -> Result<Response<wire::ModelManifest>, Status> {
        let request: ModelRequest = checked(request.into_inner())?;
        answered(self.coordinator.get_model(request).await)
    }

    type WatchModelsStream = Pin<Box<dyn Stream<Item = Result<wire::ModelManifest, Status>> + Send>>;

    async fn watch_models(
        &self,
        request: Request<wire::WatchModelsRequest>,
    ) -> Result<Response<Self::WatchModelsStream>, Status> {
        let request = request.into_inner();
        check_protocol(request.protocol).map_err(|error| problem::invalid(&error))?;
        let task: TaskId = checked(request.task)?;
        let watch = self.coordinator.watch_models(&task).await.map_err(|error| problem::of_error(&error))?;
        let models = futures::stream::unfold(watch, |mut watch| async move {
            let next = watch.next().await?;
            let next = next.map(wire::ModelManifest::from).map_err(|error| problem::of_error(&error));
            Some((next, watch))
        });
        Ok(Response::new(Box::pin(models)))
    }
}
