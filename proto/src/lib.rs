//! What travels between devices and the coordinator: the schema, ids, time, limits and checked conversions.
//!
//! [`wire`] holds the generated messages, in which every field may be missing or absurd. A message becomes a domain type
//! of this crate exactly once, through `TryFrom`, and nothing behind that checks again:
//!
//! | wire | domain type |
//! |---|---|
//! | `bytes` ids | [`ids::RoundId`], [`ids::DeviceId`], [`ids::SessionId`] |
//! | [`wire::Plan`], [`wire::ModelSpec`] | [`plan::Plan`], [`model::ModelSpec`] |
//! | [`wire::Manifest`] | [`manifest::Manifest`] |
//! | [`wire::TaskConfig`] | [`task::TaskConfig`] |
//! | [`wire::StageRequest`], [`wire::UploadRequest`] | [`stage::StageUp`], [`stage::UploadPiece`] |
//! | answers, [`wire::CheckInRequest`] and other small calls | [`answer`] |
//! | failed calls | [`error::Problem`], through [`status`] |

#![forbid(unsafe_code)]

pub mod answer;
mod check;
pub mod codes;
mod convert;
pub mod error;
pub mod ids;
pub mod limits;
pub mod manifest;
pub mod model;
pub mod model_file;
pub mod plan;
pub mod privacy;
pub mod secure_aggregation;
pub mod stage;
pub mod status;
pub mod task;
pub mod time;

/// Generated from `proto/scale/fl/v1/fl.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/scale.fl.v1.rs"));
}

/// Descriptor set of the schema, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Version of the protocol that this crate speaks.
pub const PROTOCOL: u32 = 1;

/// Whether this crate speaks the version of the protocol that a request names.
///
/// # Errors
/// [`error::Invalid`] with field `protocol` for every version but [`PROTOCOL`].
pub fn check_protocol(protocol: u32) -> Result<(), error::Invalid> {
    if protocol == PROTOCOL {
        return Ok(());
    }
    let help = if protocol > PROTOCOL { "; the device is newer than the coordinator" } else { "; update the app" };
    Err(error::Invalid::new("protocol", format!("version {protocol}; this side speaks version {PROTOCOL}{help}")))
}
