//! Good values of every domain type, as proptest makes and shrinks them.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::{hash_set, vec};
use proptest::prelude::*;
use scale_proto::answer::{CheckIn, CheckInAnswer, StageDown, Wait};
use scale_proto::error::{Problem, Remedy};
use scale_proto::ids::{Digest, ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::limits;
use scale_proto::manifest::Manifest;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::plan::Plan;
use scale_proto::privacy::ClipRange;
use scale_proto::stage::UploadPiece;
use scale_proto::task::{
    Aggregation, Cohort, IdentityRoot, MinuteOfDay, Privacy, Quantization, Schedule, SecureAggregation, Sessions,
    TaskConfig, Timing, Training,
};
use scale_proto::time::RetryWindow;
use scale_secagg::params::{Class, Profile};
use scale_secagg::roster::RosterForm;

pub fn positive() -> impl Strategy<Value = f32> + Clone {
    prop_oneof![f32::MIN_POSITIVE..2.0, Just(f32::MIN_POSITIVE), Just(f32::MAX)]
}

pub fn family() -> impl Strategy<Value = Family> {
    let bag = (1..5000_u32, 1..64_u32, 1..=8_u32)
        .prop_flat_map(|(buckets, dim, min)| (Just((buckets, dim, min)), min..=8))
        .prop_map(|((buckets, dim, ngram_min), ngram_max)| Family::TextBag { buckets, dim, ngram_min, ngram_max });
    let mlp = (1..500_u32, vec(1..64_u32, 0..5)).prop_map(|(inputs, hidden)| Family::Mlp { inputs, hidden });
    let cnn = (1..9_u32, 1..9_u32, 1..4_u32, 1..16_u32, 1..16_u32, 1..64_u32).prop_map(
        |(height, width, channels, conv1, conv2, hidden)| Family::Cnn {
            height: 4 * height,
            width: 4 * width,
            channels,
            conv1,
            conv2,
            hidden,
        },
    );
    prop_oneof![bag, mlp, cnn]
}

/// Sizes from everywhere, edges first.
pub fn any_family() -> impl Strategy<Value = Family> {
    let size = || prop_oneof![Just(0), Just(u32::MAX), Just(u32::MAX - 3), 0..5000_u32, any::<u32>()];
    let bag = (size(), size(), 0..10_u32, 0..10_u32).prop_map(|(buckets, dim, ngram_min, ngram_max)| Family::TextBag {
        buckets,
        dim,
        ngram_min,
        ngram_max,
    });
    let mlp = (size(), vec(size(), 0..40)).prop_map(|(inputs, hidden)| Family::Mlp { inputs, hidden });
    let cnn =
        (size(), size(), size(), size(), size(), size()).prop_map(|(height, width, channels, conv1, conv2, hidden)| {
            Family::Cnn { height, width, channels, conv1, conv2, hidden }
        });
    prop_oneof![bag, mlp, cnn]
}

pub fn spec() -> impl Strategy<Value = ModelSpec> {
    (hash_set("\\PC{1,8}", 1..12), family())
        .prop_map(|(labels, family)| ModelSpec { labels: labels.into_iter().collect(), family })
}

pub fn plan() -> impl Strategy<Value = Plan> {
    let numbers = (1..=100_u32, 1..u32::MAX, positive(), 0.0..2.0_f32, 1..=limits::TRAINING_MS);
    (spec(), numbers, 1..u32::MAX, 0..=500_u32, any::<u64>(), privacy()).prop_map(
        |(
            model,
            (epochs, batch_size, learning_rate, proximal_mu, millis),
            max_weight,
            holdout_permille,
            seed,
            privacy,
        )| Plan {
            fingerprint: model.fingerprint(),
            model,
            epochs,
            batch_size,
            learning_rate,
            proximal_mu,
            time_limit: Duration::from_millis(millis),
            max_weight,
            holdout_permille,
            seed,
            privacy,
        },
    )
}

pub fn task() -> impl Strategy<Value = TaskId> {
    "[a-z][a-z0-9_-]{0,63}".prop_map(|name| TaskId::try_from(name).expect("a task's name"))
}

pub fn cohort() -> impl Strategy<Value = Cohort> {
    (10..=128_u32).prop_flat_map(|floor| {
        (floor..100_000, Just(floor), 1000..=5000_u32, floor.max(13)..=128).prop_map(
            |(goal, floor, over_selection_permille, session_max)| Cohort {
                goal,
                floor,
                over_selection_permille,
                session_max,
            },
        )
    })
}

pub fn timing() -> impl Strategy<Value = Timing> {
    proptest::array::uniform7(1..=limits::STEP_MS).prop_map(
        |[selecting_ms, training_ms, grace_ms, shares_ms, masked_input_ms, agreement_ms, unmask_ms]| Timing {
            selecting_ms,
            training_ms,
            grace_ms,
            shares_ms,
            masked_input_ms,
            agreement_ms,
            unmask_ms,
        },
    )
}

pub fn schedule() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        Just(Schedule::WhenReady),
        Just(Schedule::Manual),
        (10..u64::MAX).prop_map(Schedule::EveryS),
        hash_set(0..MinuteOfDay::PER_DAY, 1..20)
            .prop_map(|times| Schedule::Times(times.into_iter().map(MinuteOfDay).collect())),
    ]
}

pub fn aggregation() -> impl Strategy<Value = Aggregation> {
    (positive(), 0.0..1.0_f32, 0.0..1.0_f32, positive(), 0..4).prop_map(|(learning_rate, beta1, beta2, tau, which)| {
        match which {
            0 => Aggregation::FedAvg { learning_rate },
            1 => Aggregation::FedAvgM { learning_rate, momentum: beta1 },
            2 => Aggregation::FedAdam { learning_rate, beta1, beta2, tau },
            _ => Aggregation::FedYogi { learning_rate, beta1, beta2, tau },
        }
    })
}

pub fn task_config() -> impl Strategy<Value = TaskConfig> {
    let training = plan().prop_map(|plan| {
        let training = Training {
            epochs: plan.epochs,
            batch_size: plan.batch_size,
            learning_rate: plan.learning_rate,
            proximal_mu: plan.proximal_mu,
            time_limit_ms: plan.time_limit.as_millis() as u64,
            max_weight: plan.max_weight,
            holdout_permille: plan.holdout_permille,
        };
        (plan.model, training)
    });
    let quantization = (1e-6..1e6, 4..=4096_u32).prop_map(|(clip, grid_factor)| Quantization { clip, grid_factor });
    let max_rounds = proptest::option::of(1..u64::MAX);
    let sums = (quantization, secure_aggregation(), privacy());
    (training, cohort(), timing(), schedule(), aggregation(), sums, max_rounds).prop_map(
        |((model, training), cohort, timing, schedule, aggregation, sums, max_rounds)| {
            let (quantization, secure_aggregation, privacy) = sums;
            TaskConfig {
                model,
                training,
                cohort,
                timing,
                schedule,
                aggregation,
                quantization,
                secure_aggregation,
                privacy,
                max_rounds,
            }
        },
    )
}

pub fn privacy() -> impl Strategy<Value = Privacy> {
    // As operators write them. Without its feature `float_roundtrip`, serde_json may read a seventeenth digit wrongly.
    let delta = proptest::sample::select(vec![0.25, 1e-3, 1e-5, 1e-6, 1e-9]);
    let target = (1..1_000_000_u32, delta, 1..u32::MAX);
    (0..5, target, 1e-3..1e3_f32).prop_map(|(mode, (epsilon, delta, rounds), clip)| {
        let epsilon = f64::from(epsilon) / 64.0;
        match mode {
            0 => Privacy::None,
            1 => Privacy::Example { epsilon, delta, rounds, clip },
            2 => Privacy::Distributed { epsilon, delta, rounds },
            // Every clip norm of this file is within.
            3 => Privacy::DistributedAdaptive { epsilon, delta, rounds, clip: ClipRange { min: 1e-6, max: 1e6 } },
            _ => Privacy::Local { epsilon, delta, rounds },
        }
    })
}

/// Sessions by rule: any cohort may have them.
pub fn secure_aggregation() -> impl Strategy<Value = SecureAggregation> {
    (any::<bool>(), proptest::option::of(any::<[u8; 32]>())).prop_map(|(paranoid, root)| SecureAggregation {
        profile: if root.is_some() { Profile::Malicious } else { Profile::Standard },
        class: if paranoid { Class::Paranoid } else { Class::Default },
        identity_root: root.map(IdentityRoot),
        sessions: Sessions::Auto,
    })
}

pub fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

pub fn window() -> impl Strategy<Value = RetryWindow> {
    (any::<u32>(), 1..u32::MAX).prop_map(|(after, more)| RetryWindow {
        after: Duration::from_millis(after.into()),
        before: Duration::from_millis(u64::from(after) + u64::from(more)),
    })
}

pub fn wait() -> impl Strategy<Value = Wait> {
    (window(), "[a-z_]{1,64}", "\\PC{0,100}").prop_map(|(retry, code, sentence)| Wait { retry, code, sentence })
}

pub fn problem() -> impl Strategy<Value = Problem> {
    let remedy = (window(), 0..4_u8).prop_map(|(window, kind)| match kind {
        0 => Remedy::Resend(window),
        1 => Remedy::CheckIn(window),
        2 => Remedy::Leave,
        _ => Remedy::Enroll,
    });
    (remedy, "[a-z_]{1,64}", "\\PC{0,100}").prop_map(|(remedy, code, sentence)| Problem { code, sentence, remedy })
}

pub fn check_in() -> impl Strategy<Value = CheckIn> {
    (vec(task(), 0..5), vec("[a-z_]{1,20}", 0..5)).prop_map(|(tasks, families)| CheckIn { tasks, families })
}

pub fn check_in_answer() -> impl Strategy<Value = CheckInAnswer> {
    let bytes = || vec(any::<u8>(), 1..100).prop_map(Bytes::from);
    let manifest =
        (any::<[u8; 16]>(), bytes(), bytes(), any::<u8>(), 1..=limits::MODEL_BYTES, 1..u64::MAX, "[a-z:/.]{1,80}")
            .prop_map(|(round, round_config, plan, signature, model_bytes, version, model_url)| Manifest {
                round: RoundId::from_random(round),
                round_config,
                config_signature: [signature; 64],
                plan,
                model_url,
                model_bytes,
                model_version: ModelVersion(version),
            });
    prop_oneof![manifest.prop_map(CheckInAnswer::Manifest), wait().prop_map(CheckInAnswer::Wait)]
}

pub fn stage_down() -> impl Strategy<Value = StageDown> {
    let form = prop_oneof![Just(RosterForm::Complete), Just(RosterForm::Certified), Just(RosterForm::Sparse)];
    (any::<[u8; 16]>(), 1..=4_u8, payload(), form).prop_map(|(session, stage, payload, form)| StageDown {
        session: SessionId::from_random(session),
        stage,
        payload,
        roster: (stage == 1).then_some(form),
    })
}

pub fn upload_piece() -> impl Strategy<Value = UploadPiece> {
    (any::<[u8; 16]>(), 0..limits::UPLOAD_BYTES / 2, 1..1000_u64, any::<[u8; 32]>(), payload()).prop_map(
        |(session, offset, more, digest, data)| UploadPiece {
            session: SessionId::from_random(session),
            offset,
            total: offset + data.len() as u64 + more,
            digest: Digest(digest),
            data,
        },
    )
}
