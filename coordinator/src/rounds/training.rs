//! The start of training: the plan, the signed configuration, and who is in which session.

use std::time::Duration;

use bytes::Bytes;
use ring::digest::{self, SHA256};
use scale_proto::ids::{DeviceId, Digest, SessionId};
use scale_proto::plan::{self, Plan};
use scale_proto::task::{IdentityRoot, SecureAggregation, TaskConfig};
use scale_secagg::config::{self, RoundConfig, VectorSpec};
use scale_secagg::params;

use crate::context::Context;
use crate::error::Error;
use crate::noise::{self, Noise};
use crate::round::{Round, Rules, SessionStage};
use crate::rows::{Gate, ModelRow, ParticipantRow, ParticipantStatus, SessionRow};

/// Everything that is fixed when training starts.
pub(super) struct Start {
    pub(super) plan: Bytes,
    pub(super) config: Bytes,
    pub(super) signature: [u8; 64],
    pub(super) sessions: Vec<SessionRow>,
    pub(super) dealt: Vec<(DeviceId, SessionId)>,
}

/// Bits of one summed entry for sessions of up to `devices`.
pub(super) fn width(devices: u32, noise: &Noise) -> Result<u8, Error> {
    let &Noise { grid, mechanism, .. } = noise;
    config::width_needed(devices, grid, mechanism.local_variance()).ok_or(Error::TooWide { devices, grid })
}

/// Whether the smallest and the largest session that a task's rounds may have can be held, and fit on the wire.
pub(crate) fn check_sessions(task: &TaskConfig) -> Result<(), Error> {
    let noise = noise::of(task)?;
    let rules = Rules::of(task, &noise.mechanism, Duration::ZERO);
    let largest = rules.largest_session().min(rules.selected);
    let SecureAggregation { profile, class, .. } = task.secure_aggregation;
    for n in [rules.floor, largest] {
        // A cohort that the compiled table has no parameters for would be refused by every device.
        params::parameters(n, profile, class)?;
    }
    width(largest, &noise).map(drop)
}

/// Makes the plan and the configuration, signs, and deals the members to the round's sessions.
pub(super) fn prepare(
    context: &Context,
    task: &TaskConfig,
    base: &ModelRow,
    round: &Round,
    members: &[ParticipantRow],
) -> Result<Start, Error> {
    let plan = Plan::of(task, round.number).encode();
    let largest = round.sessions.iter().map(|session| session.members).max().unwrap_or(0);
    let noise = noise::of(task)?;
    let mut server_nonce = [0; 32];
    getrandom::fill(&mut server_nonce).map_err(|error| Error::Bug(format!("no randomness: {error}")))?;
    let SecureAggregation { profile, class, identity_root, .. } = task.secure_aggregation;
    for n in [round.rules.floor, largest] {
        // A cohort that the compiled table has no parameters for would be refused by every device.
        params::parameters(n, profile, class)?;
    }
    let config = RoundConfig {
        task_id: round.task.to_string(),
        round: round.number,
        server_nonce,
        model_digest: base.digest.0,
        plan_digest: Digest::of(&plan).0,
        vectors: vec![
            VectorSpec { name: plan::VECTOR_UPDATE.into(), len: task.model.flat_len() },
            VectorSpec { name: plan::VECTOR_STATISTICS.into(), len: plan::STATISTICS_LEN },
        ],
        wire_bits: width(largest, &noise)?,
        clip: base.clip.unwrap_or(task.quantization.clip),
        grid: noise.grid,
        rotation_seed: None,
        mechanism: noise.mechanism,
        policy_id: context.settings.policy_id.clone(),
        profile,
        class,
        n_lo: round.rules.floor,
        n_hi: largest,
        u3_min: round.rules.floor,
        closing: round.closings.map(|closing| closing.as_millis()),
        identity_root: IdentityRoot::or_none(identity_root),
    };
    let signature = config::sign(&config, &context.task_key);
    let sessions = round.sessions.iter().zip(0..).map(|(session, ordinal)| SessionRow {
        id: session.id,
        round: round.id,
        ordinal,
        stage: SessionStage::Keys,
        gate: Gate::Open,
        sum_blob: None,
    });
    Ok(Start {
        plan,
        config: config.encode().into(),
        signature,
        sessions: sessions.collect(),
        dealt: deal(members, round, &config.cfg()),
    })
}

/// Members in the order of H(cfg ‖ identity key), dealt in turn: the coordinator does not choose who is with whom
/// (docs/protocol.md), and sizes differ by one at most.
fn deal(members: &[ParticipantRow], round: &Round, cfg: &[u8; 32]) -> Vec<(DeviceId, SessionId)> {
    let members = members.iter().filter(|member| member.status == ParticipantStatus::Admitted);
    let mut order: Vec<([u8; 32], DeviceId)> = members
        .map(|member| {
            let mut context = digest::Context::new(&SHA256);
            context.update(cfg);
            context.update(&member.identity_key);
            let mut rank = [0; 32];
            rank.copy_from_slice(context.finish().as_ref());
            (rank, member.device)
        })
        .collect();
    order.sort_unstable();
    let sessions = round.sessions.iter().cycle();
    order.into_iter().zip(sessions).map(|((_, device), session)| (device, session.id)).collect()
}
