//! The coordinator's calls over any [`Caller`]: method paths, encoding, size limits, and the conversion of refusals.

use bytes::Bytes;
use prost::Message;
use scale_proto::answer::{
    CheckIn, CheckInAnswer, Enroll, Enrolled, Leave, ModelManifest, ModelRequest, Progress, StageAnswer, UploadAnswer,
};
use scale_proto::error::Invalid;
use scale_proto::ids::{RoundId, SessionId};
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::{limits, wire};

use super::caller::{Caller, OUT_OF_RANGE, RpcFailure};
use crate::error::CallError;
use crate::host::{DeviceToken, Download, Transport};

/// Largest message in bytes, in either direction: the largest payload and 64 KiB for the other fields.
pub const MESSAGE_BYTES: usize = limits::MESSAGE_BYTES + (64 << 10);

/// Paths of the methods that a device calls. A test compares them with the schema.
mod path {
    pub(super) const ENROLL: &str = "/scale.fl.v1.Enrollment/Enroll";
    pub(super) const CHECK_IN: &str = "/scale.fl.v1.Rounds/CheckIn";
    pub(super) const ADVERTISE_KEYS: &str = "/scale.fl.v1.Rounds/AdvertiseKeys";
    pub(super) const SHARE_KEYS: &str = "/scale.fl.v1.Rounds/ShareKeys";
    pub(super) const UPLOAD_MASKED: &str = "/scale.fl.v1.Rounds/UploadMasked";
    pub(super) const CONFIRM_SURVIVORS: &str = "/scale.fl.v1.Rounds/ConfirmSurvivors";
    pub(super) const REVEAL_SHARES: &str = "/scale.fl.v1.Rounds/RevealShares";
    pub(super) const REPORT_PROGRESS: &str = "/scale.fl.v1.Rounds/ReportProgress";
    pub(super) const LEAVE: &str = "/scale.fl.v1.Rounds/Leave";
    pub(super) const GET_MANIFEST: &str = "/scale.fl.v1.Models/GetManifest";
}

/// A transport that makes its calls through `C`. Clones share what clones of `C` share.
#[derive(Clone, Debug)]
pub struct Grpc<C>(C);

impl<C: Caller> Grpc<C> {
    /// A transport over this caller. Nothing is sent yet.
    pub const fn over(caller: C) -> Self {
        Self(caller)
    }

    /// Makes one call of an enrolled device, and converts the answer to its domain type.
    async fn ask<W, D>(&self, path: &'static str, token: &DeviceToken, request: Vec<u8>) -> Result<D, CallError>
    where
        W: Message + Default,
        D: TryFrom<W, Error = Invalid>,
    {
        let answer: W = self.call(path, Some(token), request).await?;
        D::try_from(answer).map_err(CallError::Malformed)
    }

    async fn call<W: Message + Default>(
        &self,
        path: &'static str,
        token: Option<&DeviceToken>,
        request: Vec<u8>,
    ) -> Result<W, CallError> {
        if token.is_some_and(|token| !token.fits_a_header()) {
            return Err(Invalid::new("device_token", "is not the text of a header: enroll again").into());
        }
        within_limit("request", request.len())?;
        let answer = self.0.unary(path, token, Bytes::from(request)).await?;
        within_limit("answer", answer.len())?;
        W::decode(answer)
            .map_err(|error| Invalid::new("answer", format!("not a message of the schema: {error}")).into())
    }
}

fn within_limit(what: &str, bytes: usize) -> Result<(), CallError> {
    if bytes <= MESSAGE_BYTES {
        return Ok(());
    }
    let message = format!("the {what} has {bytes} bytes, more than the {MESSAGE_BYTES} that a message may have");
    Err(RpcFailure::Status { code: OUT_OF_RANGE, message, details: Bytes::new() }.into())
}

fn bytes<W: Message>(message: W) -> Vec<u8> {
    message.encode_to_vec()
}

impl<C: Caller> Transport for Grpc<C> {
    type Body = C::Body;

    async fn enroll(&self, request: Enroll) -> Result<Enrolled, CallError> {
        let request = bytes(wire::EnrollRequest::from(&request));
        let answer: wire::EnrollResponse = self.call(path::ENROLL, None, request).await?;
        Enrolled::try_from(answer).map_err(CallError::Malformed)
    }

    async fn check_in(&self, token: &DeviceToken, request: CheckIn) -> Result<CheckInAnswer, CallError> {
        let request = bytes(wire::CheckInRequest::from(&request));
        self.ask::<wire::CheckInResponse, _>(path::CHECK_IN, token, request).await
    }

    async fn advertise_keys(&self, token: &DeviceToken, up: StageUp<RoundId>) -> Result<StageAnswer, CallError> {
        let request = bytes(wire::StageRequest::from(&up));
        self.ask::<wire::StageResponse, _>(path::ADVERTISE_KEYS, token, request).await
    }

    async fn share_keys(&self, token: &DeviceToken, up: StageUp<SessionId>) -> Result<StageAnswer, CallError> {
        let request = bytes(wire::StageRequest::from(&up));
        self.ask::<wire::StageResponse, _>(path::SHARE_KEYS, token, request).await
    }

    async fn upload(&self, token: &DeviceToken, piece: UploadPiece) -> Result<UploadAnswer, CallError> {
        let request = bytes(wire::UploadRequest::from(&piece));
        self.ask::<wire::UploadResponse, _>(path::UPLOAD_MASKED, token, request).await
    }

    async fn confirm_survivors(&self, token: &DeviceToken, up: StageUp<SessionId>) -> Result<StageAnswer, CallError> {
        let request = bytes(wire::StageRequest::from(&up));
        self.ask::<wire::StageResponse, _>(path::CONFIRM_SURVIVORS, token, request).await
    }

    async fn reveal_shares(&self, token: &DeviceToken, up: StageUp<SessionId>) -> Result<StageAnswer, CallError> {
        let request = bytes(wire::StageRequest::from(&up));
        self.ask::<wire::StageResponse, _>(path::REVEAL_SHARES, token, request).await
    }

    async fn report_progress(&self, token: &DeviceToken, progress: Progress) -> Result<(), CallError> {
        let request = bytes(wire::ProgressRequest::from(&progress));
        self.call::<wire::ProgressResponse>(path::REPORT_PROGRESS, Some(token), request).await.map(drop)
    }

    async fn leave(&self, token: &DeviceToken, leave: Leave) -> Result<(), CallError> {
        let request = bytes(wire::LeaveRequest::from(&leave));
        self.call::<wire::LeaveResponse>(path::LEAVE, Some(token), request).await.map(drop)
    }

    async fn get_model(&self, token: &DeviceToken, request: ModelRequest) -> Result<ModelManifest, CallError> {
        let request = bytes(wire::GetModelRequest::from(&request));
        self.ask::<wire::ModelManifest, _>(path::GET_MANIFEST, token, request).await
    }

    async fn download(&self, url: &str, offset: u64) -> Result<Download<C::Body>, CallError> {
        self.0.download(url, offset).await
    }
}

#[cfg(test)]
mod tests;
