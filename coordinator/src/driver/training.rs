//! The start of training: the plan, the signed configuration, and who is in which session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use scale_proto::ids::{DeviceId, Digest, SessionId};
use scale_proto::plan::{self, Plan};
use scale_proto::task::TaskConfig;
use scale_secagg::config::{self, Mechanism, RoundConfig, VectorSpec};

use super::Error;
use super::live::{Inner, State};
use crate::round::{Round, SessionStage};
use crate::rows::SessionRow;

/// Everything that is fixed when training starts.
pub(super) struct Start {
    pub(super) plan: Bytes,
    pub(super) config: Arc<RoundConfig>,
    pub(super) config_bytes: Bytes,
    pub(super) signature: [u8; 64],
    pub(super) sessions: Vec<SessionRow>,
    pub(super) dealt: Vec<(DeviceId, SessionId)>,
}

/// The integer grid of a task: the clip norm in grid units.
pub(super) fn grid(task: &TaskConfig) -> Result<u32, Error> {
    let entries = dim(task) as f64;
    let grid = (f64::from(task.quantisation.grid_factor) * entries.sqrt()).ceil();
    if grid >= 1.0 && grid < f64::from(1_u32 << 31) {
        // Checked to fit.
        Ok(grid as u32)
    } else {
        Err(Error::TooWide { devices: 1, grid: u32::MAX })
    }
}

/// Bits of one summed entry for sessions of up to `devices`.
pub(super) fn width(devices: u32, grid: u32) -> Result<u8, Error> {
    config::width_needed(devices, grid, 0).ok_or(Error::TooWide { devices, grid })
}

fn dim(task: &TaskConfig) -> u64 {
    task.model.flat_len() + plan::STATISTICS_LEN
}

/// Makes the plan and the configuration, signs, and deals the members to the round's sessions.
pub(super) fn prepare(inner: &Inner, state: &State, round: &Round) -> Result<Start, Error> {
    let task = &state.task;
    let plan = Plan {
        model: task.model.clone(),
        fingerprint: task.model.fingerprint(),
        epochs: task.training.epochs,
        batch_size: task.training.batch_size,
        learning_rate: task.training.learning_rate,
        proximal_mu: task.training.proximal_mu,
        time_limit: Duration::from_millis(task.training.time_limit_ms),
        max_weight: task.training.max_weight,
        holdout_permille: task.training.holdout_permille,
        seed: round.number,
    }
    .encode();
    let largest = round.sessions.iter().map(|session| session.members).max().unwrap_or(0);
    let grid = grid(task)?;
    let mut server_nonce = [0; 32];
    getrandom::fill(&mut server_nonce).map_err(|error| Error::Bug(format!("no randomness: {error}")))?;
    let settings = &inner.settings;
    let config = RoundConfig {
        task_id: round.task.to_string(),
        round: round.number,
        server_nonce,
        model_digest: state.base.digest.0,
        plan_digest: Digest::of(&plan).0,
        vectors: vec![
            VectorSpec { name: plan::VECTOR_UPDATE.into(), len: task.model.flat_len() },
            VectorSpec { name: plan::VECTOR_STATISTICS.into(), len: plan::STATISTICS_LEN },
        ],
        wire_bits: width(largest, grid)?,
        clip: task.quantisation.clip,
        grid,
        rotation_seed: None,
        mechanism: Mechanism::None,
        policy_id: settings.policy_id.clone(),
        profile: settings.profile,
        class: settings.class,
        n_lo: round.rules.floor,
        n_hi: largest,
        u3_min: round.rules.floor,
        closing: round.closings.map(|closing| closing.as_millis()),
        identity_root: settings.identity_root,
    };
    let signature = config::sign(&config, &inner.task_key);
    let sessions = round.sessions.iter().zip(0..).map(|(session, ordinal)| SessionRow {
        id: session.id,
        round: round.id,
        ordinal,
        stage: SessionStage::Keys,
        sum_blob: None,
    });
    Ok(Start {
        plan,
        config_bytes: config.encode().into(),
        signature,
        sessions: sessions.collect(),
        dealt: deal(state, round, &config.cfg()),
        config: Arc::new(config),
    })
}

/// Members in the order of H(cfg ‖ identity key), dealt in turn: the coordinator does not choose who is with whom
/// (secagg.md 13), and sizes differ by one at most.
fn deal(state: &State, round: &Round, cfg: &[u8; 32]) -> Vec<(DeviceId, SessionId)> {
    let members = state.members.iter().filter(|(_, member)| !member.left);
    let mut order: Vec<([u8; 32], DeviceId)> = members
        .map(|(&device, member)| {
            let mut context = Context::new(&SHA256);
            context.update(cfg);
            context.update(&member.identity_key);
            let mut rank = [0; 32];
            rank.copy_from_slice(context.finish().as_ref());
            (rank, device)
        })
        .collect();
    order.sort_unstable();
    let sessions = round.sessions.iter().cycle();
    order.into_iter().zip(sessions).map(|((_, device), session)| (device, session.id)).collect()
}
