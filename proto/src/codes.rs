//! Every code that a device can be told, and what it means for the device: the one table for both sides.
//!
//! The coordinator takes the remedy of a failed call from here and sends it along; a device that hears a code from an
//! older coordinator looks it up here. `docs/protocol/codes.md` prints the same table (held by `proto/tests/codes.rs`).

use crate::error::Remedy;
use crate::time::RetryWindow;

/// What a device does about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Send the same bytes again.
    Resend,
    /// Forget the round and check in again.
    CheckIn,
    /// Leave the round and tell the app.
    Leave,
    /// Bring an enrollment token and enroll again with the same key: the device's token does not open the coordinator any
    /// more.
    Enroll,
}

impl Advice {
    /// The remedy within a window; to leave or to enroll needs none.
    pub const fn within(self, window: RetryWindow) -> Remedy {
        match self {
            Self::Resend => Remedy::Resend(window),
            Self::CheckIn => Remedy::CheckIn(window),
            Self::Leave => Remedy::Leave,
            Self::Enroll => Remedy::Enroll,
        }
    }

    /// As the documentation writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resend => "resend",
            Self::CheckIn => "check in",
            Self::Leave => "leave",
            Self::Enroll => "enroll",
        }
    }
}

/// Where a code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A `Wait`, in an answer that is no failure.
    Wait,
    /// A refused call.
    Refusal,
    /// The end of a round or session, told to whoever still calls for it.
    End,
}

impl Origin {
    /// As the documentation writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Refusal => "refusal",
            Self::End => "end of the round",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// The stable word.
    pub name: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// What a device does about it.
    pub advice: Advice,
    /// What happened, in a few words.
    pub meaning: &'static str,
}

/// The row of a code.
pub fn find(name: &str) -> Option<&'static Code> {
    CODES.iter().find(|code| code.name == name)
}

macro_rules! codes {
    ($($origin:ident, $advice:ident { $($name:literal $meaning:literal)+ })+) => {
        /// The table, grouped by origin and advice.
        pub const CODES: &[Code] = &[$($(Code {
            name: $name,
            origin: Origin::$origin,
            advice: Advice::$advice,
            meaning: $meaning,
        },)+)+];
    };
}

codes! {
    Wait, Resend {
        "stage_open" "the stage still waits for other devices"
    }
    Wait, CheckIn {
        "selecting" "this device is in; the round waits for others"
        "no_round" "no round of the task is open"
        "no_task" "there is no task for this device"
        "task_paused" "the operator has paused the task"
        "task_finished" "the task has run all its rounds"
        "family_unsupported" "this build cannot train the task's model; an update of the app may"
        "round_full" "the open round has all its devices"
        "round_running" "the open round has begun without this device, or no longer takes its keys"
        "round_over" "the round that was open has just ended"
        "has_left" "this device has left the round that is open"
    }
    Refusal, Resend {
        "stopping" "the coordinator is shutting down"
        "storage_unavailable" "the coordinator's storage does not answer"
        "storage_full" "the coordinator's storage is full"
        "conflict" "another call changed the same row"
        "storage_corrupt" "the coordinator has damaged data"
        "storage_forbidden" "the coordinator's storage refuses the coordinator"
        "internal" "a fault inside the coordinator"
        "timeout" "the coordinator took too long"
        "bad_digest" "the bytes of a finished upload are not the announced ones; they are sent again from the start"
    }
    Refusal, CheckIn {
        "unknown_task" "the coordinator has no such task, or not yet; half an hour at least"
        "unknown_round" "there is no such round, or nothing of it is kept"
        "unknown_session" "there is no such session, or nothing of it is kept"
        "not_participant" "this device takes no part in that round"
        "not_training" "the round is still selecting: its manifest comes with a check-in"
        "late" "the stage is over; the session goes on without this device"
        "not_expected" "the session has gone on without this device"
        "full" "the session has all its devices"
        "model_url" "the model's URL was refused: it may have expired (the device's own code)"
    }
    Refusal, Enroll {
        "missing_token" "no token came with the call"
        "bad_token" "the token is not one of this coordinator: it is damaged, or the coordinator's token key was replaced"
        "expired_token" "the token has expired"
        "used_token" "the enrollment token enrolls one installation, and has enrolled another one; a new one helps"
    }
    Refusal, Leave {
        "wrong_kind" "the token is of a kind that this call does not take"
        "wrong_identity" "the keys are those of another identity than the token's"
        "unsupported_protocol" "the coordinator speaks another version of the protocol"
        "invalid_argument" "a field of the message is not what it should be"
        "unknown_method" "the coordinator has no such method"
        "message_too_large" "the message is longer than the call takes"
        "unknown_model" "the task has no such model version"
        "stage_order" "the message does not belong to the stage that is open"
        "duplicate" "this device has sent other bytes for this stage before"
        "duplicate_identity" "this identity has advertised other keys before"
        "duplicate_key" "the key was used before, or stands in the roster twice"
        "wrong_length" "the message does not have the length that the session asks for"
        "wrong_config" "the message was made for another round configuration"
        "bad_signature" "a signature does not verify"
        "certificate_missing" "profile M asks for a certificate"
        "certificate" "the certificate is not the root's word for this identity"
        "certificate_expired" "the certificate ends before the session does"
        "malformed" "the payload is not a canonical encoding"
        "non_canonical_key" "a public key is not in its one encoding"
        "low_order_key" "a public key is a point of low order"
        "non_canonical_scalar" "a share is not in its one encoding"
        "padding_bits" "unused bits of a packed vector are not zero"
    }
    End, CheckIn {
        "too_few_devices" "too few devices checked in"
        "too_few_clients" "too few devices advertised keys"
        "too_few_sharers" "too few devices shared their keys"
        "too_few_inputs" "too few devices uploaded their masked input"
        "too_few_shares" "too few shares came back to remove the masks"
        "weak_neighbourhood" "a participant had fewer neighbours left than the threshold"
        "disconnected" "the survivors were no longer connected"
        "secret_mismatch" "the shares of a secret contradicted each other"
        "cohort_floor" "fewer participants than the floor allows"
        "parameters" "there are no parameters for a session of this size"
        "no_weight" "nobody in the sum had examples"
        "implausible_sum" "the sum is one that honest devices cannot make"
        "sum_not_finite" "the sum made a model with values that are not finite"
        "sum_shape" "the sum does not have the model's shape"
        "optimizer_state" "the server optimizer's state does not fit the model"
        "operator" "the operator abandoned the round, or went back to an earlier model"
        "round_abandoned" "the round was abandoned while the session went on"
        "session_over" "the session is over; nothing else is kept of it"
    }
}
