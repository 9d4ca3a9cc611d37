//! `Rounds`: one device's way through a round.

use scale_proto::ids::{RoundId, SessionId};
use scale_proto::stage::StageUp;
use scale_proto::wire;
use tonic::{Request, Response, Status};

use super::{caller, checked, problem};
use crate::Coordinator;

pub(super) struct Service {
    pub(super) coordinator: Coordinator,
}

/// A call of a device: who, what, the coordinator's method, and its answer as a message. A device that hangs up drops the call
/// where it is: the coordinator brings to its end by itself what must not be cut off.
macro_rules! device_call {
    ($self:ident, $request:ident, $method:ident, $domain:ty) => {{
        let caller = caller(&$request)?;
        let message: $domain = checked($request.into_inner())?;
        $self.coordinator.$method(&caller, message).await.map_err(|error| problem::of_error(&error))
    }};
}

#[tonic::async_trait]
impl wire::rounds_server::Rounds for Service {
    async fn check_in(
        &self,
        request: Request<wire::CheckInRequest>,
    ) -> Result<Response<wire::CheckInResponse>, Status> {
        let answer = device_call!(self, request, check_in, scale_proto::answer::CheckIn)?;
        Ok(Response::new(answer.into()))
    }

    async fn advertise_keys(
        &self,
        request: Request<wire::StageRequest>,
    ) -> Result<Response<wire::StageResponse>, Status> {
        let answer = device_call!(self, request, advertise_keys, StageUp<RoundId>)?;
        Ok(Response::new(answer.into()))
    }

    async fn share_keys(&self, request: Request<wire::StageRequest>) -> Result<Response<wire::StageResponse>, Status> {
        let answer = device_call!(self, request, share_keys, StageUp<SessionId>)?;
        Ok(Response::new(answer.into()))
    }

    async fn upload_masked(
        &self,
        request: Request<wire::UploadRequest>,
    ) -> Result<Response<wire::UploadResponse>, Status> {
        let answer = device_call!(self, request, upload_piece, scale_proto::stage::UploadPiece)?;
        Ok(Response::new(answer.into()))
    }

    async fn confirm_survivors(
        &self,
        request: Request<wire::StageRequest>,
    ) -> Result<Response<wire::StageResponse>, Status> {
        let answer = device_call!(self, request, confirm_survivors, StageUp<SessionId>)?;
        Ok(Response::new(answer.into()))
    }

    async fn reveal_shares(
        &self,
        request: Request<wire::StageRequest>,
    ) -> Result<Response<wire::StageResponse>, Status> {
        let answer = device_call!(self, request, reveal_shares, StageUp<SessionId>)?;
        Ok(Response::new(answer.into()))
    }

    async fn report_progress(
        &self,
        request: Request<wire::ProgressRequest>,
    ) -> Result<Response<wire::ProgressResponse>, Status> {
        device_call!(self, request, report_progress, scale_proto::answer::Progress)?;
        Ok(Response::new(wire::ProgressResponse {}))
    }

    async fn leave(&self, request: Request<wire::LeaveRequest>) -> Result<Response<wire::LeaveResponse>, Status> {
        device_call!(self, request, leave, scale_proto::answer::Leave)?;
        Ok(Response::new(wire::LeaveResponse {}))
    }
}
