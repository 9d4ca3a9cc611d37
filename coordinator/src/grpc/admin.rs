//! `Admin`: tasks, rounds and models for operators.

use std::sync::Arc;
use std::time::Duration;

use scale_proto::error::Invalid;
use scale_proto::ids::{ModelVersion, RoundId, TaskId};
use scale_proto::task::TaskConfig;
use scale_proto::wire;
use tonic::{Request, Response, Status};

use super::{answered, checked, problem};
use crate::auth::secrets::random;
use crate::auth::{Authority, Kind};
use crate::rows::TaskState;
use crate::spent::Cost;
use crate::{Coordinator, ModelInfo, RoundInfo, SessionInfo, TaskInfo};
use scale_clock::SharedClock;

/// Life of a token when the operator names none: a week to hand an enrollment token out, a day of administration.
const ENROLL_TTL: Duration = Duration::from_secs(7 * 86_400);
const OPERATOR_TTL: Duration = Duration::from_secs(86_400);
/// Longest life of a token.
const MAX_TTL: Duration = Duration::from_secs(400 * 86_400);
/// Rounds in a list when the operator names no number, and the most there can be.
const ROUNDS: (u32, u32) = (20, 1000);

pub(super) struct Service {
    pub(super) coordinator: Coordinator,
    pub(super) authority: Arc<Authority>,
    pub(super) clock: SharedClock,
}

#[tonic::async_trait]
impl wire::admin_server::Admin for Service {
    async fn create_task(&self, request: Request<wire::CreateTaskRequest>) -> Result<Response<wire::TaskInfo>, Status> {
        let request = request.into_inner();
        let task: TaskId = checked(request.task)?;
        let config = request.config.ok_or_else(|| problem::invalid(&Invalid::new("config", "missing")))?;
        let config: TaskConfig = checked(config)?;
        let initial = Some(request.initial_model).filter(|model| !model.is_empty());
        answered(self.coordinator.create_task(task, config, initial).await)
    }

    async fn list_tasks(
        &self,
        _request: Request<wire::ListTasksRequest>,
    ) -> Result<Response<wire::ListTasksResponse>, Status> {
        let tasks = self.coordinator.list_tasks().await.map_err(|error| problem::of_error(&error))?;
        Ok(Response::new(wire::ListTasksResponse { tasks: tasks.into_iter().map(Into::into).collect() }))
    }

    async fn set_task_state(
        &self,
        request: Request<wire::SetTaskStateRequest>,
    ) -> Result<Response<wire::TaskInfo>, Status> {
        let request = request.into_inner();
        let task: TaskId = checked(request.task)?;
        let state = match TaskState::parse(&request.state) {
            Some(state @ (TaskState::Active | TaskState::Paused)) => state,
            _ => return Err(problem::invalid(&Invalid::new("state", "must be \"active\" or \"paused\""))),
        };
        answered(self.coordinator.set_task_state(&task, state).await)
    }

    async fn open_round(&self, request: Request<wire::OpenRoundRequest>) -> Result<Response<wire::RoundInfo>, Status> {
        let task: TaskId = checked(request.into_inner().task)?;
        answered(self.coordinator.open_round(&task).await)
    }

    async fn list_rounds(
        &self,
        request: Request<wire::ListRoundsRequest>,
    ) -> Result<Response<wire::ListRoundsResponse>, Status> {
        let request = request.into_inner();
        let task: TaskId = checked(request.task)?;
        let limit = if request.limit == 0 { ROUNDS.0 } else { request.limit.min(ROUNDS.1) };
        let rounds = self.coordinator.list_rounds(&task, limit).await.map_err(|error| problem::of_error(&error))?;
        Ok(Response::new(wire::ListRoundsResponse { rounds: rounds.into_iter().map(Into::into).collect() }))
    }

    async fn get_round(&self, request: Request<wire::GetRoundRequest>) -> Result<Response<wire::RoundInfo>, Status> {
        let round = round_id(&request.into_inner().round_id)?;
        answered(self.coordinator.get_round(round).await)
    }

    async fn abandon_round(
        &self,
        request: Request<wire::AbandonRoundRequest>,
    ) -> Result<Response<wire::RoundInfo>, Status> {
        let request = request.into_inner();
        let round = round_id(&request.round_id)?;
        let reason = request.reason.trim().to_owned();
        if reason.is_empty() || reason.len() > scale_proto::limits::TEXT_BYTES {
            let problem = format!("say why, in 1 to {} bytes", scale_proto::limits::TEXT_BYTES);
            return Err(problem::invalid(&Invalid::new("reason", problem)));
        }
        answered(self.coordinator.abandon_round(round, reason).await)
    }

    async fn list_models(
        &self,
        request: Request<wire::ListModelsRequest>,
    ) -> Result<Response<wire::ListModelsResponse>, Status> {
        let task: TaskId = checked(request.into_inner().task)?;
        let models = self.coordinator.list_models(&task).await.map_err(|error| problem::of_error(&error))?;
        Ok(Response::new(wire::ListModelsResponse { models: models.into_iter().map(Into::into).collect() }))
    }

    async fn get_model(
        &self,
        request: Request<wire::GetModelInfoRequest>,
    ) -> Result<Response<wire::ModelInfo>, Status> {
        let request = request.into_inner();
        let task: TaskId = checked(request.task)?;
        let version = Some(ModelVersion(request.version)).filter(|version| version.0 > 0);
        answered(self.coordinator.get_model_info(&task, version).await)
    }

    async fn rollback_model(
        &self,
        request: Request<wire::RollbackModelRequest>,
    ) -> Result<Response<wire::ModelInfo>, Status> {
        let request = request.into_inner();
        let task: TaskId = checked(request.task)?;
        if request.version == 0 {
            return Err(problem::invalid(&Invalid::new("version", "versions begin with 1")));
        }
        answered(self.coordinator.rollback_model(&task, ModelVersion(request.version)).await)
    }

    async fn mint_token(
        &self,
        request: Request<wire::MintTokenRequest>,
    ) -> Result<Response<wire::MintTokenResponse>, Status> {
        let request = request.into_inner();
        let (kind, usual) = match Kind::parse(&request.kind) {
            Some(kind @ Kind::Enroll) => (kind, ENROLL_TTL),
            Some(kind @ Kind::Operator) => (kind, OPERATOR_TTL),
            _ => return Err(problem::invalid(&Invalid::new("kind", "must be \"enroll\" or \"operator\""))),
        };
        let ttl = if request.ttl_s == 0 { usual } else { Duration::from_secs(request.ttl_s) };
        if ttl > MAX_TTL {
            return Err(problem::invalid(&Invalid::new("ttl_s", format!("at most {}", MAX_TTL.as_secs()))));
        }
        let id = random().map_err(|error| {
            tracing::error!(%error, "no random bytes for a token");
            problem::internal()
        })?;
        let minted = self.authority.mint(kind, id, ttl, self.clock.now());
        Ok(Response::new(wire::MintTokenResponse { token: minted.token, expires_at_ms: minted.expires_at.as_millis() }))
    }
}

fn round_id(bytes: &[u8]) -> Result<RoundId, Status> {
    RoundId::try_from(bytes).map_err(|error| problem::invalid(&error))
}

impl From<TaskInfo> for wire::TaskInfo {
    fn from(info: TaskInfo) -> Self {
        Self {
            task: info.task.into(),
            state: info.state.as_str().to_owned(),
            config: Some(info.config.into()),
            created_at_ms: info.created_at.as_millis(),
            rounds: info.rounds,
            model_version: info.model_version.0,
        }
    }
}

impl From<RoundInfo> for wire::RoundInfo {
    fn from(info: RoundInfo) -> Self {
        let (reason_code, reason) =
            info.reason().map(|(code, sentence)| (code.to_owned(), sentence.to_owned())).unwrap_or_default();
        let summary = info.round.summary.unwrap_or_default();
        Self {
            round_id: info.round.id.to_bytes(),
            number: info.round.number,
            phase: info.round.phase.name().to_owned(),
            reason_code,
            reason,
            cohort: info.round.cohort,
            survivors: info.survivors(),
            base_version: info.round.base_version.0,
            new_version: info.new_version().map_or(0, |version| version.0),
            opened_at_ms: info.round.opened_at.as_millis(),
            closed_at_ms: info.closed_at.map_or(0, |at| at.as_millis()),
            loss: summary.loss,
            accuracy: summary.accuracy,
            examples: summary.examples,
            bytes_up_per_device: summary.bytes_up_per_device,
            signal_to_noise: summary.signal_to_noise,
            sessions: info.round.sessions.iter().map(Into::into).collect(),
            task: info.round.task.into(),
        }
    }
}

impl From<&SessionInfo> for wire::SessionInfo {
    fn from(session: &SessionInfo) -> Self {
        let [advertised, shared, committed, confirmed, revealed] = session.answered;
        let failure = session.failure.clone();
        Self {
            session_handle: session.id.to_bytes(),
            stage: session.stage.name().to_owned(),
            advertised,
            shared,
            committed,
            confirmed,
            revealed,
            reason_code: failure.as_ref().map(|failure| failure.code.clone()).unwrap_or_default(),
            reason: failure.map(|failure| failure.sentence).unwrap_or_default(),
        }
    }
}

impl From<ModelInfo> for wire::ModelInfo {
    fn from(info: ModelInfo) -> Self {
        Self {
            task: info.task.into(),
            version: info.version.0,
            parent: info.parent.map_or(0, |version| version.0),
            round_id: info.round.map(RoundId::to_bytes).unwrap_or_default(),
            cohort: info.cohort,
            digest: bytes::Bytes::copy_from_slice(&info.digest.0),
            bytes: info.bytes,
            created_at_ms: info.created_at.as_millis(),
            origin: info.origin.as_str().to_owned(),
            url: info.url,
            current: info.current,
            privacy: info.cost.as_ref().map(Into::into),
            clip: info.clip,
        }
    }
}

impl From<&Cost> for wire::PrivacyCost {
    fn from(cost: &Cost) -> Self {
        Self {
            mode: cost.mode.to_owned(),
            rounds: cost.rounds,
            epsilon_aggregate: cost.epsilon_aggregate,
            epsilon_alone: cost.epsilon_alone,
            epsilon_at_most: cost.at_most.map(|(epsilon, _)| epsilon),
            rounds_at_most: cost.at_most.map_or(0, |(_, rounds)| rounds),
            delta: cost.delta.unwrap_or(0.0),
        }
    }
}
