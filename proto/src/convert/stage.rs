//! The stages of secure aggregation: what goes up, and what comes down.

use scale_secagg::roster::RosterForm;

use super::{cut, owned};
use crate::answer::{Leave, Progress, StageAnswer, StageDown, UploadAnswer};
use crate::check;
use crate::error::Invalid;
use crate::ids::{Digest, RoundId, SessionId};
use crate::stage::{StageUp, UploadPiece};
use crate::{PROTOCOL, check_protocol, limits, wire};

macro_rules! stage_up {
    ($handle:ty) => {
        impl TryFrom<wire::StageRequest> for StageUp<$handle> {
            type Error = Invalid;
            fn try_from(request: wire::StageRequest) -> Result<Self, Invalid> {
                check_protocol(request.protocol)?;
                let handle = <$handle>::try_from(request.handle.as_ref()).map_err(check::rename("handle"))?;
                check::payload("payload", &request.payload)?;
                Ok(Self { handle, payload: request.payload })
            }
        }

        impl From<&StageUp<$handle>> for wire::StageRequest {
            fn from(up: &StageUp<$handle>) -> Self {
                Self { protocol: PROTOCOL, handle: up.handle.to_bytes(), payload: up.payload.clone() }
            }
        }
    };
}
stage_up!(RoundId);
stage_up!(SessionId);

impl TryFrom<wire::StageDown> for StageDown {
    type Error = Invalid;
    fn try_from(down: wire::StageDown) -> Result<Self, Invalid> {
        let session = SessionId::try_from(down.session_handle.as_ref())?;
        check::within("stage", down.stage, 1..=4)?;
        check::payload("payload", &down.payload)?;
        let roster = match (down.stage, down.sparse, down.certified) {
            (1, false, false) => Some(RosterForm::Complete),
            (1, true, false) => Some(RosterForm::Sparse),
            (1, false, true) => Some(RosterForm::Certified),
            (1, true, true) => return Err(Invalid::new("certified", "set beside sparse; a roster has one form")),
            (_, false, false) => None,
            (stage, sparse, _) => {
                let field = if sparse { "sparse" } else { "certified" };
                return Err(Invalid::new(field, format!("set in stage {stage}; only stage 1 has a roster")));
            }
        };
        // At most 4.
        let stage = down.stage as u8;
        Ok(Self { session, stage, payload: down.payload, roster })
    }
}

impl From<&StageDown> for wire::StageDown {
    fn from(down: &StageDown) -> Self {
        Self {
            session_handle: down.session.to_bytes(),
            stage: down.stage.into(),
            payload: down.payload.clone(),
            sparse: down.roster == Some(RosterForm::Sparse),
            certified: down.roster == Some(RosterForm::Certified),
        }
    }
}

impl TryFrom<wire::StageResponse> for StageAnswer {
    type Error = Invalid;
    fn try_from(response: wire::StageResponse) -> Result<Self, Invalid> {
        use wire::stage_response::Answer;
        match check::present("answer", response.answer)? {
            Answer::Down(down) => down.try_into().map(Self::Down),
            Answer::Wait(wait) => wait.try_into().map(Self::Wait),
            Answer::Accepted(wire::Accepted {}) => Ok(Self::Accepted),
        }
    }
}

impl From<&StageAnswer> for wire::StageResponse {
    fn from(answer: &StageAnswer) -> Self {
        use wire::stage_response::Answer;
        Self {
            answer: Some(match answer {
                StageAnswer::Down(down) => Answer::Down(down.into()),
                StageAnswer::Wait(wait) => Answer::Wait(wait.into()),
                StageAnswer::Accepted => Answer::Accepted(wire::Accepted {}),
            }),
        }
    }
}

impl TryFrom<wire::UploadRequest> for UploadPiece {
    type Error = Invalid;
    fn try_from(request: wire::UploadRequest) -> Result<Self, Invalid> {
        check_protocol(request.protocol)?;
        let session = SessionId::try_from(request.session_handle.as_ref())?;
        let digest = Digest::try_from(request.digest.as_ref())?;
        let wire::UploadRequest { offset, total, data, .. } = request;
        check::within("total", total, 1..=limits::UPLOAD_BYTES)?;
        check::at_most_bytes("data", data.len(), limits::UPLOAD_PIECE_BYTES)?;
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > total) {
            let problem = format!("{offset}, with {} bytes of data; the whole has only {total}", data.len());
            return Err(Invalid::new("offset", problem));
        }
        Ok(Self { session, offset, total, digest, data })
    }
}

impl From<&UploadPiece> for wire::UploadRequest {
    fn from(piece: &UploadPiece) -> Self {
        Self {
            protocol: PROTOCOL,
            session_handle: piece.session.to_bytes(),
            offset: piece.offset,
            total: piece.total,
            digest: piece.digest.to_bytes(),
            data: piece.data.clone(),
        }
    }
}

impl TryFrom<wire::UploadResponse> for UploadAnswer {
    type Error = Invalid;
    fn try_from(response: wire::UploadResponse) -> Result<Self, Invalid> {
        use wire::upload_response::Answer;
        match check::present("answer", response.answer)? {
            Answer::Received(bytes) => {
                check::within("received", bytes, 0..=limits::UPLOAD_BYTES)?;
                Ok(Self::Received(bytes))
            }
            Answer::Committed(wire::Committed {}) => Ok(Self::Committed),
            Answer::Down(down) => down.try_into().map(Self::Down),
            Answer::Wait(wait) => wait.try_into().map(Self::Wait),
        }
    }
}

impl From<&UploadAnswer> for wire::UploadResponse {
    fn from(answer: &UploadAnswer) -> Self {
        use wire::upload_response::Answer;
        Self {
            answer: Some(match answer {
                UploadAnswer::Received(bytes) => Answer::Received(*bytes),
                UploadAnswer::Committed => Answer::Committed(wire::Committed {}),
                UploadAnswer::Down(down) => Answer::Down(down.into()),
                UploadAnswer::Wait(wait) => Answer::Wait(wait.into()),
            }),
        }
    }
}

impl TryFrom<wire::ProgressRequest> for Progress {
    type Error = Invalid;
    fn try_from(request: wire::ProgressRequest) -> Result<Self, Invalid> {
        check_protocol(request.protocol)?;
        check::within("done_permille", request.done_permille, 0..=1000)?;
        let job = (!request.job_credential.is_empty()).then(|| request.job_credential.as_ref().try_into());
        Ok(Self {
            round: RoundId::try_from(request.round_id.as_ref())?,
            done_permille: request.done_permille,
            job: job.transpose()?,
        })
    }
}

impl From<&Progress> for wire::ProgressRequest {
    fn from(progress: &Progress) -> Self {
        let Progress { round, done_permille, job } = progress;
        Self {
            protocol: PROTOCOL,
            round_id: round.to_bytes(),
            done_permille: *done_permille,
            job_credential: job.as_ref().map(|job| job.as_bytes().to_vec().into()).unwrap_or_default(),
        }
    }
}

impl TryFrom<wire::LeaveRequest> for Leave {
    type Error = Invalid;
    fn try_from(request: wire::LeaveRequest) -> Result<Self, Invalid> {
        check_protocol(request.protocol)?;
        check::text("reason", &request.reason, limits::TEXT_BYTES)?;
        Ok(Self { round: RoundId::try_from(request.round_id.as_ref())?, reason: request.reason })
    }
}

impl From<&Leave> for wire::LeaveRequest {
    fn from(leave: &Leave) -> Self {
        let reason = cut(&leave.reason, limits::TEXT_BYTES);
        Self { protocol: PROTOCOL, round_id: leave.round.to_bytes(), reason }
    }
}

owned! {
    StageUp<RoundId> => wire::StageRequest,
    StageUp<SessionId> => wire::StageRequest,
    StageDown => wire::StageDown,
    StageAnswer => wire::StageResponse,
    UploadPiece => wire::UploadRequest,
    UploadAnswer => wire::UploadResponse,
    Progress => wire::ProgressRequest,
    Leave => wire::LeaveRequest,
}
