//! Every rule, with a value on its wrong side: the field that is named, and words that say what would be right.
#![allow(unreachable_pub, missing_docs)]

mod bodies;
mod samples;

use std::fmt::Debug;

use bytes::Bytes;
use scale_proto::answer::{
    CheckIn, CheckInAnswer, Enroll, Enrolled, ModelManifest, StageAnswer, StageDown, UploadAnswer, Wait,
};
use scale_proto::error::{Invalid, Problem, Remedy};
use scale_proto::ids::{Digest, RoundId};
use scale_proto::manifest::Manifest;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::plan::Plan;
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::task::{MinuteOfDay, Schedule, SecureAggregation, TaskConfig};
use scale_proto::{check_protocol, limits, wire};

#[test]
fn plans_are_refused_by_field() {
    type Edit = fn(&mut wire::Plan);
    let cases: &[(&str, &str, Edit)] = &[
        ("model", "missing", |plan| plan.model = None),
        ("fingerprint", "32", |plan| plan.fingerprint = Bytes::from_static(b"short")),
        ("fingerprint", "flattens", |plan| plan.fingerprint = Digest::of(b"another model").to_bytes()),
        ("epochs", "between 1 and 100", |plan| plan.epochs = 0),
        ("epochs", "between 1 and 100", |plan| plan.epochs = 101),
        ("batch_size", "at least 1", |plan| plan.batch_size = 0),
        ("learning_rate", "above 0", |plan| plan.learning_rate = 0.0),
        ("learning_rate", "finite", |plan| plan.learning_rate = f32::INFINITY),
        ("learning_rate", "finite", |plan| plan.learning_rate = f32::NAN),
        ("proximal_mu", "0 or above", |plan| plan.proximal_mu = -0.1),
        ("proximal_mu", "finite", |plan| plan.proximal_mu = f32::NAN),
        ("time_limit_ms", "between 1 and", |plan| plan.time_limit_ms = 0),
        ("time_limit_ms", "1800000", |plan| plan.time_limit_ms = limits::TRAINING_MS + 1),
        ("max_weight", "at least 1", |plan| plan.max_weight = 0),
        ("holdout_permille", "500", |plan| plan.holdout_permille = 501),
    ];
    for (field, right, edit) in cases {
        refused::<Plan, _>(samples::plan(), edit, field, right);
    }
    let nonsense = Plan::decode(&[0xff; 8]).expect_err("no message");
    assert_eq!(nonsense.field, "plan");
}

#[test]
fn models_are_refused_by_field() {
    use wire::model_spec::Family as F;
    type Edit = fn(&mut wire::ModelSpec);
    let bag =
        |buckets, dim, ngram_min, ngram_max| Some(F::TextBag(wire::TextBag { buckets, dim, ngram_min, ngram_max }));
    let cnn = wire::Cnn { height: 28, width: 28, channels: 1, conv1: 8, conv2: 16, hidden: 64 };
    let mlp = |inputs, hidden: &[u32]| Some(F::Mlp(wire::Mlp { inputs, hidden: hidden.to_vec() }));
    let labels: &[(&str, Edit)] = &[
        ("between 1 and 10000", |spec| spec.labels.clear()),
        ("between 1 and 10000", |spec| spec.labels = (0..=limits::CLASSES).map(|i| i.to_string()).collect()),
        ("empty", |spec| spec.labels[1].clear()),
        ("twice", |spec| spec.labels[1] = spec.labels[0].clone()),
        ("at most 256", |spec| spec.labels[1] = "x".repeat(limits::TEXT_BYTES + 1)),
    ];
    for (right, edit) in labels {
        refused::<ModelSpec, _>(samples::text_bag(), edit, "labels", right);
    }
    for (field, right, family) in [
        ("family", "text_bag, mlp, cnn", None),
        ("text_bag.buckets", "at least 1", bag(0, 16, 2, 4)),
        ("text_bag.dim", "at least 1", bag(16, 0, 2, 4)),
        ("text_bag.ngram_min", "between 1 and 8", bag(16, 16, 0, 4)),
        ("text_bag.ngram_min", "between 1 and 8", bag(16, 16, 9, 9)),
        ("text_bag.ngram_max", "between 3 and 8", bag(16, 16, 3, 2)),
        ("text_bag.ngram_max", "between 3 and 8", bag(16, 16, 3, 9)),
        ("model", "at most 16777216", bag(u32::MAX, u32::MAX, 1, 1)),
        ("model", "at most 16777216", bag(1 << 20, 16, 1, 1)),
        ("mlp.inputs", "at least 1", mlp(0, &[4])),
        ("mlp.hidden", "at least 1", mlp(4, &[4, 0])),
        ("mlp.hidden", "between 0 and 32", mlp(4, &[1; 33])),
        ("model", "at most", mlp(u32::MAX, &[u32::MAX; 32])),
        ("cnn.height", "multiple of 4", Some(F::Cnn(wire::Cnn { height: 30, ..cnn }))),
        ("cnn.height", "multiple of 4", Some(F::Cnn(wire::Cnn { height: 0, ..cnn }))),
        ("cnn.width", "multiple of 4", Some(F::Cnn(wire::Cnn { width: 29, ..cnn }))),
        ("cnn.channels", "at least 1", Some(F::Cnn(wire::Cnn { channels: 0, ..cnn }))),
        ("cnn.conv1", "at least 1", Some(F::Cnn(wire::Cnn { conv1: 0, ..cnn }))),
        ("cnn.conv2", "at least 1", Some(F::Cnn(wire::Cnn { conv2: 0, ..cnn }))),
        ("cnn.hidden", "at least 1", Some(F::Cnn(wire::Cnn { hidden: 0, ..cnn }))),
        ("model", "at most", Some(F::Cnn(wire::Cnn { height: u32::MAX - 3, width: u32::MAX - 3, ..cnn }))),
    ] {
        refused::<ModelSpec, _>(
            samples::text_bag(),
            |spec: &mut wire::ModelSpec| spec.family = family.clone(),
            field,
            right,
        );
    }
}

/// The limit itself is still a model.
#[test]
fn the_largest_model_is_accepted() {
    let entries = limits::MODEL_ENTRIES as u32;
    let spec = |inputs| ModelSpec { labels: vec!["only".into()], family: Family::Mlp { inputs, hidden: vec![] } };
    assert_eq!(spec(entries - 1).flat_len(), limits::MODEL_ENTRIES);
    assert_eq!(spec(entries - 1).check(), Ok(()));
    assert_eq!(spec(entries).check().expect_err("one entry too many").field, "model");
}

#[test]
fn tasks_are_refused_by_field() {
    use wire::aggregation::Optimizer;
    use wire::schedule::Kind;
    fn cohort(config: &mut wire::TaskConfig) -> &mut wire::Cohort {
        config.cohort.as_mut().expect("set")
    }
    fn training(config: &mut wire::TaskConfig) -> &mut wire::Training {
        config.training.as_mut().expect("set")
    }
    fn timing(config: &mut wire::TaskConfig) -> &mut wire::Timing {
        config.timing.as_mut().expect("set")
    }
    fn grid(config: &mut wire::TaskConfig) -> &mut wire::Quantization {
        config.quantization.as_mut().expect("set")
    }
    fn privacy(config: &mut wire::TaskConfig) -> &mut wire::Privacy {
        config.privacy.as_mut().expect("set")
    }
    fn secure(config: &mut wire::TaskConfig) -> &mut wire::SecureAggregation {
        config.secure_aggregation.as_mut().expect("set")
    }
    fn times(config: &mut wire::TaskConfig, at: &[&str]) {
        let at = at.iter().map(|&time| time.to_owned()).collect();
        config.schedule = Some(wire::Schedule { kind: Some(Kind::Times(wire::TimesOfDay { at })) });
    }
    fn optimizer(config: &mut wire::TaskConfig, optimizer: Option<Optimizer>) {
        config.aggregation = Some(wire::Aggregation { optimizer });
    }
    const WEEK: u64 = 7 * 24 * 3600 * 1000;
    const FINE: wire::FedAdaptive = wire::FedAdaptive { learning_rate: 0.1, beta1: 0.9, beta2: 0.99, tau: 0.001 };

    type Edit = fn(&mut wire::TaskConfig);
    let cases: &[(&str, &str, Edit)] = &[
        ("model", "missing", |c| c.model = None),
        ("training", "missing", |c| c.training = None),
        ("cohort", "missing", |c| c.cohort = None),
        ("timing", "missing", |c| c.timing = None),
        ("schedule", "missing", |c| c.schedule = None),
        ("aggregation", "missing", |c| c.aggregation = None),
        ("quantization", "missing", |c| c.quantization = None),
        ("labels", "between", |c| c.model.as_mut().expect("set").labels.clear()),
        ("training.epochs", "100", |c| training(c).epochs = 0),
        ("training.batch_size", "at least 1", |c| training(c).batch_size = 0),
        ("training.learning_rate", "above 0", |c| training(c).learning_rate = -1.0),
        ("training.proximal_mu", "0 or above", |c| training(c).proximal_mu = f32::NEG_INFINITY),
        ("training.time_limit_ms", "1800000", |c| training(c).time_limit_ms = WEEK),
        ("training.max_weight", "at least 1", |c| training(c).max_weight = 0),
        ("training.holdout_permille", "500", |c| training(c).holdout_permille = 1000),
        ("cohort.floor", "too much about each of them", |c| cohort(c).floor = 9),
        ("cohort.floor", "at least 10", |c| cohort(c).floor = 0),
        ("cohort.floor", "at most 128", |c| (cohort(c).floor, cohort(c).goal) = (129, 200)),
        ("cohort.goal", "at least cohort.floor, 20", |c| cohort(c).goal = 19),
        ("cohort.over_selection_permille", "1000 and 5000", |c| cohort(c).over_selection_permille = 999),
        ("cohort.over_selection_permille", "1000 and 5000", |c| cohort(c).over_selection_permille = 5001),
        ("cohort.session_max", "20 and 128", |c| cohort(c).session_max = 19),
        ("cohort.session_max", "13 and 128", |c| (cohort(c).floor, cohort(c).session_max) = (10, 12)),
        ("cohort.session_max", "20 and 128", |c| cohort(c).session_max = 129),
        ("secure_aggregation.profile", "standard, malicious", |c| secure(c).profile = "M".into()),
        ("secure_aggregation.class", "default, paranoid", |c| secure(c).class = "reckless".into()),
        ("secure_aggregation.sessions", "auto, one", |c| secure(c).sessions = "several".into()),
        ("secure_aggregation.identity_root", "it has 32", |c| secure(c).identity_root = vec![1; 31].into()),
        ("privacy", "missing", |c| c.privacy = None),
        ("privacy.mode", "one of none, example, distributed, local", |c| privacy(c).mode = String::new()),
        ("privacy.epsilon", "above 0", |c| privacy(c).epsilon = f64::NAN),
        ("privacy.delta", "below 1", |c| privacy(c).delta = 1.0),
        ("privacy.rounds", "at least 1", |c| privacy(c).rounds = 0),
        ("privacy.example_clip", "means nothing", |c| privacy(c).example_clip = 1.0),
        ("privacy.clip_min", "above 0", |c| privacy(c).clip_min = 0.0),
        ("privacy.clip_max", "at least privacy.clip_min", |c| privacy(c).clip_max = 0.125),
        ("privacy.clip_max", "fixed in mode local", |c| privacy(c).mode = "local".into()),
        ("quantization.clip", "starts between", |c| privacy(c).clip_max = 1.25),
        ("secure_aggregation.identity_root", "missing", |c| secure(c).identity_root = Bytes::new()),
        ("secure_aggregation.identity_root", "only the malicious", |c| secure(c).profile.clear()),
        ("secure_aggregation.sessions", "at most 128", |c| {
            (cohort(c).goal, secure(c).sessions) = (99, "one".into());
        }),
        ("timing.selecting_ms", "between 1 and 604800000", |c| timing(c).selecting_ms = 0),
        ("timing.training_ms", "between", |c| timing(c).training_ms = WEEK + 1),
        ("timing.grace_ms", "between", |c| timing(c).grace_ms = u64::MAX),
        ("timing.shares_ms", "between", |c| timing(c).shares_ms = 0),
        ("timing.masked_input_ms", "between", |c| timing(c).masked_input_ms = 0),
        ("timing.agreement_ms", "between", |c| timing(c).agreement_ms = 0),
        ("timing.unmask_ms", "between", |c| timing(c).unmask_ms = 0),
        ("schedule.kind", "when_ready", |c| c.schedule = Some(wire::Schedule { kind: None })),
        ("schedule.every_s", "10 seconds", |c| c.schedule = Some(wire::Schedule { kind: Some(Kind::EveryS(9)) })),
        ("schedule.times.at", "between 1", |c| times(c, &[])),
        ("schedule.times.at", "twice", |c| times(c, &["06:00", "07:00", "06:00"])),
        ("schedule.times.at", "HH:MM", |c| times(c, &["24:00"])),
        ("schedule.times.at", "HH:MM", |c| times(c, &["06:60"])),
        ("schedule.times.at", "HH:MM", |c| times(c, &["6:00"])),
        ("schedule.times.at", "HH:MM", |c| times(c, &["+6:00"])),
        ("schedule.times.at", "HH:MM", |c| times(c, &["06.00"])),
        ("schedule.times.at", "HH:MM", |c| times(c, &["é6:0"])),
        ("aggregation.optimizer", "fed_yogi", |c| optimizer(c, None)),
        ("fed_avg.learning_rate", "above 0", |c| {
            optimizer(c, Some(Optimizer::FedAvg(wire::FedAvg { learning_rate: 0.0 })));
        }),
        ("fed_avg_m.learning_rate", "above 0", |c| {
            optimizer(c, Some(Optimizer::FedAvgM(wire::FedAvgM { learning_rate: f32::NAN, momentum: 0.9 })));
        }),
        ("fed_avg_m.momentum", "below 1", |c| {
            optimizer(c, Some(Optimizer::FedAvgM(wire::FedAvgM { learning_rate: 1.0, momentum: 1.0 })));
        }),
        ("fed_adam.learning_rate", "above 0", |c| {
            optimizer(c, Some(Optimizer::FedAdam(wire::FedAdaptive { learning_rate: 0.0, ..FINE })));
        }),
        ("fed_adam.beta1", "below 1", |c| {
            optimizer(c, Some(Optimizer::FedAdam(wire::FedAdaptive { beta1: 1.5, ..FINE })));
        }),
        ("fed_adam.beta2", "0 or above", |c| {
            optimizer(c, Some(Optimizer::FedAdam(wire::FedAdaptive { beta2: -0.1, ..FINE })));
        }),
        ("fed_adam.tau", "above 0", |c| {
            optimizer(c, Some(Optimizer::FedAdam(wire::FedAdaptive { tau: 0.0, ..FINE })));
        }),
        ("fed_yogi.learning_rate", "above 0", |c| {
            optimizer(c, Some(Optimizer::FedYogi(wire::FedAdaptive { learning_rate: -1.0, ..FINE })));
        }),
        ("fed_yogi.beta1", "below 1", |c| {
            optimizer(c, Some(Optimizer::FedYogi(wire::FedAdaptive { beta1: f32::NAN, ..FINE })));
        }),
        ("fed_yogi.beta2", "below 1", |c| {
            optimizer(c, Some(Optimizer::FedYogi(wire::FedAdaptive { beta2: 1.0, ..FINE })));
        }),
        ("fed_yogi.tau", "finite", |c| {
            optimizer(c, Some(Optimizer::FedYogi(wire::FedAdaptive { tau: f32::INFINITY, ..FINE })));
        }),
        ("quantization.clip", "above 0", |c| grid(c).clip = 0.0),
        ("quantization.clip", "finite", |c| grid(c).clip = f64::NAN),
        ("quantization.grid_factor", "4 and 4096", |c| grid(c).grid_factor = 3),
        ("quantization.grid_factor", "4 and 4096", |c| grid(c).grid_factor = 4097),
    ];
    for (field, right, edit) in cases {
        refused::<TaskConfig, _>(samples::task_config(), edit, field, right);
    }

    // Values from a file meet the same rules, and one that the wire cannot carry.
    let config = TaskConfig { max_rounds: Some(0), ..samples::task_config() };
    assert_eq!(config.check().expect_err("no rounds at all").field, "max_rounds");
    let config = TaskConfig { schedule: Schedule::Times(vec![MinuteOfDay(1440)]), ..samples::task_config() };
    assert_eq!(config.check().expect_err("no time of day").field, "schedule.times.at");
    // A configuration that was written before sessions could be chosen.
    let old = wire::TaskConfig { secure_aggregation: None, ..samples::task_config().into() };
    assert_eq!(TaskConfig::try_from(old).map(|config| config.secure_aggregation), Ok(SecureAggregation::default()));
    serde_json::from_str::<MinuteOfDay>("\"24:00\"").expect_err("no time of day");
}

#[test]
fn calls_are_refused_by_field() {
    type Edit<W> = fn(&mut W);
    let cases: &[(&str, &str, Edit<wire::Manifest>)] = &[
        ("round_id", "16", |m| m.round_id = Bytes::new()),
        ("round_config", "missing", |m| m.round_config = Bytes::new()),
        ("config_signature", "64", |m| m.config_signature = Bytes::new()),
        ("plan", "missing", |m| m.plan = Bytes::new()),
        ("plan", "at most", |m| m.plan = vec![0; limits::MESSAGE_BYTES + 1].into()),
        ("model_url", "empty", |m| m.model_url.clear()),
        ("model_url", "at most", |m| m.model_url = "x".repeat(limits::URL_BYTES + 1)),
        ("model_bytes", "between 1", |m| m.model_bytes = 0),
        ("model_bytes", "between 1", |m| m.model_bytes = limits::MODEL_BYTES + 1),
        ("model_version", "between 1", |m| m.model_version = 0),
    ];
    for (field, right, edit) in cases {
        refused::<Manifest, _>(samples::manifest(), edit, field, right);
    }

    let cases: &[(&str, &str, Edit<wire::UploadRequest>)] = &[
        ("protocol", "update the app", |u| u.protocol = 0),
        ("protocol", "version 1", |u| u.protocol = 2),
        ("session_handle", "16", |u| u.session_handle = Bytes::from_static(b"short")),
        ("offset", "the whole has only", |u| u.offset += 1),
        ("offset", "the whole has only", |u| u.offset = u64::MAX),
        ("total", "between 1", |u| (u.total, u.offset, u.data) = (0, 0, Bytes::new())),
        ("total", "between 1", |u| u.total = u64::MAX),
        ("digest", "32", |u| u.digest = Bytes::new()),
        ("data", "at most 1048576", |u| u.data = vec![0; limits::UPLOAD_PIECE_BYTES + 1].into()),
    ];
    for (field, right, edit) in cases {
        refused::<UploadPiece, _>(samples::upload_piece(), edit, field, right);
    }

    let up = StageUp { handle: samples::round(), payload: Bytes::from_static(b"keys") };
    let cases: &[(&str, &str, Edit<wire::StageRequest>)] = &[
        ("protocol", "version 1", |s| s.protocol = 7),
        ("handle", "16", |s| s.handle = Bytes::from_static(&[0; 17])),
        ("payload", "at most", |s| s.payload = vec![0; limits::MESSAGE_BYTES + 1].into()),
    ];
    for (field, right, edit) in cases {
        refused::<StageUp<RoundId>, _>(up.clone(), edit, field, right);
    }

    let cases: &[(&str, &str, Edit<wire::CheckInRequest>)] = &[
        ("protocol", "version 1", |c| c.protocol = 0),
        ("tasks", "a-z", |c| c.tasks.push("../etc".into())),
        ("tasks", "between 0 and 64", |c| c.tasks = vec!["t".into(); 65]),
        ("model_families", "empty", |c| c.model_families.push(String::new())),
        ("model_families", "one word", |c| c.model_families.push("text bag".into())),
        ("model_families", "between 0 and 64", |c| c.model_families = vec!["mlp".into(); 65]),
    ];
    for (field, right, edit) in cases {
        refused::<CheckIn, _>(samples::check_in(), edit, field, right);
    }

    let cases: &[(&str, &str, Edit<wire::StageDown>)] = &[
        ("session_handle", "16", |s| s.session_handle = Bytes::new()),
        ("stage", "between 1 and 4", |s| s.stage = 0),
        ("stage", "between 1 and 4", |s| s.stage = 257),
        ("sparse", "stage 1", |s| s.stage = 2),
        ("certified", "one form", |s| s.certified = true),
        ("certified", "stage 1", |s| (s.stage, s.sparse, s.certified) = (3, false, true)),
    ];
    for (field, right, edit) in cases {
        refused::<StageDown, _>(samples::stage_down(), edit, field, right);
    }

    let cases: &[(&str, &str, Edit<wire::ErrorDetail>)] = &[
        ("code", "empty", |e| e.code.clear()),
        ("code", "one word", |e| e.code = "two words".into()),
        ("sentence", "at most", |e| e.sentence = "x".repeat(limits::SENTENCE_BYTES + 1)),
        ("retry_before_ms", "opens only after", |e| (e.retry_after_ms, e.retry_before_ms) = (2, 1)),
    ];
    for (field, right, edit) in cases {
        refused::<Problem, _>(samples::problem(), edit, field, right);
    }
    refused::<Wait, wire::Wait>(samples::wait(), |w| w.before_ms = 1, "before_ms", "opens only after");

    let cases: &[(&str, &str, Edit<wire::ModelManifest>)] = &[
        ("task", "a-z", |m| m.task = "Not a task".into()),
        ("version", "between 1", |m| m.version = 0),
        ("digest", "32", |m| m.digest = Bytes::new()),
        ("bytes", "between 1", |m| m.bytes = u64::MAX),
        ("url", "empty", |m| m.url.clear()),
        ("model", "missing", |m| m.model = None),
        ("fingerprint", "flattens", |m| m.fingerprint = Digest::of(b"other").to_bytes()),
    ];
    for (field, right, edit) in cases {
        refused::<ModelManifest, _>(samples::model_manifest(), edit, field, right);
    }

    for (response, field) in [
        (CheckInAnswer::try_from(wire::CheckInResponse { answer: None }).err(), "answer"),
        (StageAnswer::try_from(wire::StageResponse { answer: None }).err(), "answer"),
        (UploadAnswer::try_from(wire::UploadResponse { answer: None }).err(), "answer"),
    ] {
        assert_eq!(response.expect("no answer").field, field);
    }
    assert_eq!(check_protocol(1), Ok(()));
    assert_eq!(check_protocol(2).expect_err("the future").field, "protocol");
}

/// What is said to people may be long where it is made; it is cut, between two characters, where it is sent.
#[test]
fn long_sentences_are_cut_when_they_are_sent() {
    let sentence = "ä".repeat(limits::SENTENCE_BYTES);
    let problem = Problem { code: "long".into(), sentence: format!("x{sentence}"), remedy: Remedy::Leave };
    let sent = wire::ErrorDetail::from(&problem);
    assert_eq!(sent.sentence.len(), limits::SENTENCE_BYTES - 1);
    assert!(Problem::try_from(sent).is_ok());
}

#[test]
fn tokens_are_not_printed() {
    let enroll = Enroll { enroll_token: "open sesame".into(), identity_key: [1; 32], signature: [2; 64] };
    let enrolled = Enrolled { device_token: "open sesame".into(), ..samples::enrolled() };
    assert!(!format!("{enroll:?} {enrolled:?}").contains("sesame"));
}

/// `good`, put on the wire and edited, is refused at `field` with a problem that says `right`.
#[track_caller]
fn refused<D, W>(good: D, edit: impl Fn(&mut W), field: &str, right: &str)
where
    W: From<D>,
    D: TryFrom<W, Error = Invalid> + Debug,
{
    let mut message = W::from(good);
    edit(&mut message);
    let refused = D::try_from(message).expect_err(field);
    assert_eq!(refused.field, field, "{refused}");
    assert!(refused.problem.contains(right), "{refused}");
    bodies::names_a_field(&refused);
}
