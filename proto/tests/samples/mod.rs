//! One representative message of every kind, all fields set. Used for golden bytes and as seeds for mangled input.
#![allow(dead_code)] // each test binary uses its part

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use scale_proto::answer::{
    CheckIn, CheckInAnswer, Enroll, Enrolled, JobCredential, Leave, ModelManifest, ModelRequest, Progress, StageAnswer,
    StageDown, UploadAnswer, Wait,
};
use scale_proto::error::{Problem, Remedy};
use scale_proto::ids::{DeviceId, Digest, ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::manifest::Manifest;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::plan::Plan;
use scale_proto::privacy::ClipRange;
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::task::{
    Aggregation, Cohort, IdentityRoot, MinuteOfDay, Privacy, Quantization, Schedule, SecureAggregation, Sessions,
    TaskConfig, Timing, Training,
};
use scale_proto::time::{RetryWindow, Timestamp};
use scale_proto::{PROTOCOL, wire};
use scale_secagg::params::{Class, Profile};
use scale_secagg::roster::RosterForm;

pub fn task() -> TaskId {
    "categories".parse().expect("a task's name")
}

fn job() -> JobCredential {
    [7; JobCredential::LEN].as_slice().try_into().expect("its length")
}

pub fn round() -> RoundId {
    RoundId::from_random([0x11; 16])
}

pub fn session() -> SessionId {
    SessionId::from_random([0x22; 16])
}

pub fn text_bag() -> ModelSpec {
    ModelSpec {
        labels: vec!["groceries".into(), "rent".into(), "Überweisung".into()],
        family: Family::TextBag { buckets: 4096, dim: 16, ngram_min: 2, ngram_max: 4 },
    }
}

pub fn mlp() -> ModelSpec {
    ModelSpec { labels: vec!["no".into(), "yes".into()], family: Family::Mlp { inputs: 10, hidden: vec![32, 16] } }
}

pub fn cnn() -> ModelSpec {
    let family = Family::Cnn { height: 28, width: 28, channels: 1, conv1: 8, conv2: 16, hidden: 64 };
    ModelSpec { labels: (0..10).map(|digit| digit.to_string()).collect(), family }
}

pub fn plan() -> Plan {
    Plan {
        fingerprint: text_bag().fingerprint(),
        model: text_bag(),
        epochs: 2,
        batch_size: 32,
        learning_rate: 0.125,
        proximal_mu: 0.5,
        time_limit: Duration::from_secs(30),
        max_weight: 500,
        holdout_permille: 100,
        seed: u64::MAX,
        privacy: Privacy::Example { epsilon: 8.0, delta: 1e-5, rounds: 12, clip: 0.5 },
    }
}

pub fn manifest() -> Manifest {
    Manifest {
        round: round(),
        round_config: Bytes::from_static(b"a round configuration"),
        config_signature: [0x33; 64],
        plan: plan().encode(),
        model_url: "https://models.example/categories/7?signature=abc".into(),
        model_bytes: 262_500,
        model_version: ModelVersion(7),
    }
}

pub fn wait() -> Wait {
    let sentence = "Not enough devices are waiting for a round. Come back later.".into();
    Wait { retry: RetryWindow::from_millis(30_000), code: "too_few_devices".into(), sentence }
}

pub fn stage_down() -> StageDown {
    StageDown {
        session: session(),
        stage: 1,
        payload: Bytes::from_static(b"a roster"),
        roster: Some(RosterForm::Sparse),
    }
}

pub fn upload_piece() -> UploadPiece {
    let data = Bytes::from_static(b"masked");
    UploadPiece { session: session(), offset: 1 << 20, total: (1 << 20) + 6, digest: Digest::of(b"masked"), data }
}

pub fn check_in() -> CheckIn {
    CheckIn { tasks: vec![task()], families: vec!["text_bag".into(), "mlp".into()] }
}

pub fn problem() -> Problem {
    Problem {
        code: "round_closed".into(),
        sentence: "The round is over. Check in again for the next one.".into(),
        remedy: Remedy::CheckIn(RetryWindow::from_millis(5_000)),
    }
}

pub fn model_manifest() -> ModelManifest {
    ModelManifest {
        task: task(),
        version: ModelVersion(7),
        digest: Digest::of(b"a model"),
        bytes: 262_500,
        url: "https://models.example/categories/7?signature=abc".into(),
        fingerprint: text_bag().fingerprint(),
        model: text_bag(),
    }
}

pub fn task_config() -> TaskConfig {
    TaskConfig {
        model: text_bag(),
        training: Training {
            epochs: 2,
            batch_size: 32,
            learning_rate: 0.125,
            proximal_mu: 0.5,
            time_limit_ms: 30_000,
            max_weight: 500,
            holdout_permille: 100,
        },
        cohort: Cohort { goal: 40, floor: 20, over_selection_permille: 1300, session_max: 64 },
        timing: Timing {
            selecting_ms: 600_000,
            training_ms: 300_000,
            grace_ms: 10_000,
            shares_ms: 60_000,
            masked_input_ms: 120_000,
            agreement_ms: 50_000,
            unmask_ms: 40_000,
        },
        schedule: Schedule::Times(vec![MinuteOfDay(6 * 60 + 5), MinuteOfDay(23 * 60 + 59)]),
        aggregation: Aggregation::FedAdam { learning_rate: 0.01, beta1: 0.9, beta2: 0.99, tau: 0.001 },
        quantization: Quantization { clip: 1.5, grid_factor: 64 },
        secure_aggregation: SecureAggregation {
            profile: Profile::Malicious,
            class: Class::Paranoid,
            identity_root: Some(IdentityRoot([0x88; 32])),
            sessions: Sessions::Auto,
        },
        privacy: Privacy::DistributedAdaptive {
            epsilon: 2.0,
            delta: 1e-6,
            rounds: 100,
            clip: ClipRange { min: 0.25, max: 6.0 },
        },
        max_rounds: Some(1000),
    }
}

pub fn enroll() -> Enroll {
    Enroll { enroll_token: "token".into(), identity_key: [0x44; 32], signature: [0x55; 64] }
}

pub fn enrolled() -> Enrolled {
    let device = DeviceId::from_random([0x66; 16]);
    Enrolled {
        device,
        device_token: "device token".into(),
        expires_at: Some(Timestamp::from_millis(1_766_000_000_000)),
        task_key: [0x77; 32],
    }
}

fn round_info() -> wire::RoundInfo {
    wire::RoundInfo {
        round_id: round().to_bytes(),
        task: "categories".into(),
        number: 12,
        phase: "abandoned".into(),
        reason_code: "too_few_devices".into(),
        reason: "7 devices came, 10 are needed".into(),
        cohort: 52,
        survivors: 7,
        base_version: 6,
        new_version: 7,
        opened_at_ms: 1_700_000_000_000,
        closed_at_ms: 1_700_000_600_000,
        loss: 0.75,
        accuracy: 0.5,
        examples: 12_000,
        bytes_up_per_device: 131_072,
        sessions: vec![session_info()],
        signal_to_noise: Some(3.5),
    }
}

fn session_info() -> wire::SessionInfo {
    wire::SessionInfo {
        session_handle: session().to_bytes(),
        stage: "unmask".into(),
        advertised: 52,
        shared: 51,
        committed: 50,
        confirmed: 49,
        revealed: 48,
        reason_code: "code".into(),
        reason: "sentence".into(),
    }
}

fn model_info() -> wire::ModelInfo {
    wire::ModelInfo {
        task: "categories".into(),
        version: 7,
        parent: 6,
        round_id: round().to_bytes(),
        cohort: 50,
        digest: Digest::of(b"a model").to_bytes(),
        bytes: 262_500,
        created_at_ms: 1_700_000_000_000,
        origin: "round".into(),
        url: "https://models.example/categories/7".into(),
        current: true,
        privacy: Some(privacy_cost()),
        clip: Some(1.25),
    }
}

fn privacy_cost() -> wire::PrivacyCost {
    wire::PrivacyCost {
        mode: "distributed".into(),
        rounds: 12,
        epsilon_aggregate: Some(0.75),
        epsilon_alone: Some(48.5),
        epsilon_at_most: Some(2.0),
        rounds_at_most: 100,
        delta: 1e-6,
    }
}

fn task_info() -> wire::TaskInfo {
    wire::TaskInfo {
        task: "categories".into(),
        state: "active".into(),
        config: Some(task_config().into()),
        created_at_ms: 1_700_000_000_000,
        rounds: 12,
        model_version: 7,
    }
}

/// A sample's file name, and its bytes.
pub type Sample = (String, Vec<u8>);

/// The name of a message's type, without the path to it.
fn name<M: Message>(_: &M) -> String {
    let path = std::any::type_name::<M>();
    path.rsplit("::").next().unwrap_or(path).to_owned()
}

/// At least one message of every type of the schema. A suffix after `-` tells several of one type apart.
#[allow(clippy::vec_init_then_push)]
pub fn all() -> Vec<Sample> {
    let mut out: Vec<Sample> = Vec::new();
    macro_rules! sample {
        ($($message:expr),+ $(,)?) => {$({
            let message = $message;
            out.push((name(&message), message.encode_to_vec()));
        })+};
    }
    macro_rules! variant {
        ($($suffix:literal => $message:expr),+ $(,)?) => {$({
            let message = $message;
            out.push((format!("{}-{}", name(&message), $suffix), message.encode_to_vec()));
        })+};
    }
    let task = || "categories".to_owned();
    let round_id = || round().to_bytes();

    sample![wire::EnrollRequest::from(enroll()), wire::EnrollResponse::from(enrolled())];
    variant!["older" => wire::EnrollResponse::from(Enrolled { expires_at: None, ..enrolled() })];
    sample![wire::CheckInRequest::from(check_in()), wire::Wait::from(wait()), wire::Manifest::from(manifest())];
    variant! {
        "manifest" => wire::CheckInResponse::from(CheckInAnswer::Manifest(manifest())),
        "wait" => wire::CheckInResponse::from(CheckInAnswer::Wait(wait())),
    }
    sample![wire::Plan::from(plan())];
    variant! {
        "text_bag" => wire::ModelSpec::from(text_bag()),
        "mlp" => wire::ModelSpec::from(mlp()),
        "cnn" => wire::ModelSpec::from(cnn()),
    }
    sample! {
        wire::TextBag { buckets: 4096, dim: 16, ngram_min: 2, ngram_max: 4 },
        wire::Mlp { inputs: 10, hidden: vec![32, 16] },
        wire::Cnn { height: 28, width: 28, channels: 1, conv1: 8, conv2: 16, hidden: 64 },
    }
    variant! {
        "round" => wire::StageRequest::from(StageUp { handle: round(), payload: Bytes::from_static(b"keys") }),
        "session" => wire::StageRequest::from(StageUp { handle: session(), payload: Bytes::from_static(b"shares") }),
        "down" => wire::StageResponse::from(StageAnswer::Down(stage_down())),
        "wait" => wire::StageResponse::from(StageAnswer::Wait(wait())),
        "accepted" => wire::StageResponse::from(StageAnswer::Accepted),
    }
    sample![wire::StageDown::from(stage_down()), wire::Accepted {}, wire::UploadRequest::from(upload_piece())];
    variant! {
        "received" => wire::UploadResponse::from(UploadAnswer::Received(1 << 20)),
        "committed" => wire::UploadResponse::from(UploadAnswer::Committed),
        "down" => wire::UploadResponse::from(UploadAnswer::Down(stage_down())),
        "wait" => wire::UploadResponse::from(UploadAnswer::Wait(wait())),
    }
    sample! {
        wire::Committed {},
        wire::ProgressRequest::from(Progress { round: round(), done_permille: 250, job: Some(job()) }),
        wire::ProgressResponse {},
        wire::LeaveRequest::from(Leave { round: round(), reason: "battery_low".into() }),
        wire::LeaveResponse {},
        wire::GetModelRequest::from(ModelRequest { task: self::task(), version: Some(ModelVersion(7)) }),
        wire::WatchModelsRequest { protocol: PROTOCOL, task: task() },
        wire::ModelManifest::from(model_manifest()),
    }

    let config = wire::TaskConfig::from(task_config());
    sample! {
        wire::CreateTaskRequest {
            task: task(),
            config: Some(config.clone()),
            initial_model: Bytes::from_static(b"a safetensors file"),
        },
        config.clone(),
        config.training.expect("set"),
        config.cohort.expect("set"),
        config.timing.expect("set"),
        config.quantization.expect("set"),
        config.privacy.expect("set"),
        config.secure_aggregation.expect("set"),
    }
    variant! {
        "when_ready" => wire::Schedule::from(&Schedule::WhenReady),
        "every_s" => wire::Schedule::from(&Schedule::EveryS(3600)),
        "times" => wire::Schedule::from(&task_config().schedule),
        "manual" => wire::Schedule::from(&Schedule::Manual),
    }
    sample![wire::WhenReady {}, wire::Manual {}, wire::TimesOfDay { at: vec!["06:05".into()] }];
    let (learning_rate, beta1, beta2, tau) = (0.01, 0.9, 0.99, 0.001);
    variant! {
        "fed_avg" => wire::Aggregation::from(&Aggregation::FedAvg { learning_rate }),
        "fed_avg_m" => wire::Aggregation::from(&Aggregation::FedAvgM { learning_rate, momentum: 0.9 }),
        "fed_adam" => wire::Aggregation::from(&Aggregation::FedAdam { learning_rate, beta1, beta2, tau }),
        "fed_yogi" => wire::Aggregation::from(&Aggregation::FedYogi { learning_rate, beta1, beta2, tau }),
    }
    sample! {
        wire::FedAvg { learning_rate },
        wire::FedAvgM { learning_rate, momentum: 0.9 },
        wire::FedAdaptive { learning_rate, beta1, beta2, tau },
    }

    sample! {
        task_info(),
        wire::ListTasksRequest {},
        wire::ListTasksResponse { tasks: vec![task_info()] },
        wire::SetTaskStateRequest { task: task(), state: "paused".into() },
        wire::OpenRoundRequest { task: task() },
        wire::ListRoundsRequest { task: task(), limit: 20 },
        wire::ListRoundsResponse { rounds: vec![round_info()] },
        wire::GetRoundRequest { round_id: round_id() },
        wire::AbandonRoundRequest { round_id: round_id(), reason: "a wrong learning rate".into() },
        round_info(),
        session_info(),
        wire::ListModelsRequest { task: task() },
        wire::ListModelsResponse { models: vec![model_info()] },
        wire::GetModelInfoRequest { task: task(), version: 7 },
        wire::RollbackModelRequest { task: task(), version: 6 },
        model_info(),
        privacy_cost(),
        wire::MintTokenRequest { kind: "enroll".into(), ttl_s: 86_400 },
        wire::MintTokenResponse { token: "token".into(), expires_at_ms: 1_700_000_000_000 },
        wire::ErrorDetail::from(problem()),
    }
    out
}
