//! The account of a task whose devices add noise: what each version has cost, and what the noise left of each round.

use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use scale_client_core::testing::Training;
use scale_privacy::accounting::{UserLevel, zcdp::Rho};
use scale_privacy::adaptive::{DEVIATION_MAX, Split};
use scale_proto::ids::ModelVersion;
use scale_proto::privacy::{ClipRange, Privacy};
use scale_proto::task::{Cohort, Sessions, TaskConfig};
use scale_secagg::config::RoundConfig;

use super::fleet::*;
use crate::blobs::Blobs;
use crate::noise;
use crate::round::SessionStage;
use crate::spent::Cost;
use crate::{Error, ModelInfo, RoundInfo};

const DELTA: f64 = 1e-6;
pub(super) const NOISY: Privacy = Privacy::Distributed { epsilon: 8.0, delta: DELTA, rounds: 10 };

async fn site(privacy: Privacy) -> Arc<Site> {
    site_over(Site::new().await, privacy).await
}

/// A site with a task.
async fn site_over(site: Arc<Site>, privacy: Privacy) -> Arc<Site> {
    let config = fitting(TaskConfig { privacy, ..task("manual") });
    site.now().create_task(task_id(), config, None).await.expect("a good task");
    site
}

/// One round of twelve devices.
async fn round(site: &Arc<Site>, story: Story) -> Told {
    site.now().open_round(&task_id()).await.expect("none is open");
    tell(site, 12, story).await
}

async fn cost(site: &Site, version: u64) -> Cost {
    let info: ModelInfo = site.now().get_model_info(&task_id(), Some(ModelVersion(version))).await.expect("a model");
    info.cost.expect("every new version has an account")
}

/// With a weight that has room on the grid: the noise of so small a model comes with a coarse one.
pub(super) fn fitting(mut config: TaskConfig) -> TaskConfig {
    let grid = noise::of(&config).expect("a grid").grid;
    config.training.max_weight = config.training.max_weight.min(grid);
    config
}

/// What the planner's mechanism costs over so many rounds.
pub(super) fn planned(rounds: u32) -> Cost {
    let config = TaskConfig { privacy: NOISY, ..task("manual") };
    let plan = noise::of(&config).expect("a plan").plan.expect("noise");
    let epsilon = |rho: Rho<UserLevel>| rho.times(rounds).epsilon(DELTA).expect("in range");
    Cost {
        mode: "distributed",
        rounds: rounds.into(),
        epsilon_aggregate: Some(epsilon(plan.rho_aggregate)),
        epsilon_alone: Some(epsilon(plan.rho_local)),
        at_most: None,
        delta: Some(DELTA),
    }
}

/// Of one device's noise, grid units squared.
fn local_variance() -> f64 {
    let config = TaskConfig { privacy: NOISY, ..task("manual") };
    noise::of(&config).expect("a plan").mechanism.local_variance() as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_says_what_all_rounds_so_far_have_cost() {
    let site = site(NOISY).await;
    assert_eq!(cost(&site, 1).await, planned(0), "nobody's data is in the first model");
    for version in [2, 3] {
        let told = round(&site, Story::default()).await;
        assert_eq!(told.info.new_version(), Some(ModelVersion(version)), "{:?}", told.errors);
        // By hand: the sum's norm over the root of 12 devices' variance on 8 entries; the mean divides both alike.
        let sums = (0..ENTRIES).map(|entry| told.inputs.iter().map(|input| input[0][entry]).sum::<i64>() as f64);
        let expected = sums.map(|sum| sum * sum).sum::<f64>().sqrt() / (12.0 * 8.0 * local_variance()).sqrt();
        let ratio = told.info.round.summary.and_then(|summary| summary.signal_to_noise).expect("there is noise");
        assert!((ratio / expected - 1.0).abs() < 0.01, "{ratio} is not {expected}");
    }
    let two = cost(&site, 3).await;
    assert_eq!((cost(&site, 2).await, two), (planned(1), planned(2)));
    // Two of the ten rounds that epsilon 8 is for: more than their share, less than the whole.
    assert!((1.6..4.0).contains(&two.epsilon_aggregate.expect("noise")), "{two:?}");
    assert!(two.epsilon_alone > two.epsilon_aggregate);

    // A rollback to the model that cost nothing un-spends nothing, and survives a restart.
    site.restart().await;
    let back = site.now().rollback_model(&task_id(), ModelVersion(1)).await.expect("it is there");
    assert_eq!((back.version, back.cost), (ModelVersion(4), Some(planned(2))));
    assert_eq!(cost(&site, 1).await, planned(0), "rows do not change");
    round(&site, Story::default()).await;
    assert_eq!(cost(&site, 5).await, planned(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sum_that_was_seen_is_counted_also_when_nothing_was_published() {
    let site = site(NOISY).await;
    // Three are lost before stage 2, or six before the last: in both cases no mask comes off.
    for (lost, code, released, rounds) in [
        ([0, 0, 3, 0, 0], "too_few_inputs", false, 0),
        ([0, 0, 0, 0, 6], "too_few_shares", false, 0),
        ([0, 0, 3, 0, 0], "too_few_inputs", true, 1),
        ([0, 0, 0, 0, 6], "too_few_shares", false, 1),
    ] {
        let told = round(&site, Story { lost, ..Story::default() }).await;
        assert_eq!(told.info.reason().map(|(code, _)| code), Some(code));
        let session = told.info.round.sessions[0].id;
        if released {
            // As if it had failed one step later.
            let write = site.store.run_tx("released", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.set_session_sum(session, Some("sums/seen.bin")).await?) })
            });
            write.await.expect("the session is there");
        }
        let model = site.now().rollback_model(&task_id(), ModelVersion(1)).await.expect("it is there");
        assert_eq!(model.cost, Some(planned(rounds)), "{code}, {released}");
    }
}

/// The masks come off while an operator takes the model back: the round ends, but its sum has been seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sum_that_is_ready_after_its_round_has_ended_is_counted_and_not_kept() {
    let store = Arc::new(ThrottledStore::new(InMemory::new(), ThrottleConfig::default()));
    let site = site_over(Site::over(Blobs::over(store.clone())).await, NOISY).await;
    site.now().open_round(&task_id()).await.expect("none is open");
    let mut phones = gather(&site, 12).await;
    let (last, earlier) = SessionStage::OPEN.split_last().expect("five stages");
    let act = |stage| move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
    for stage in earlier {
        let (alive, errors) = together(phones, act(*stage)).await;
        assert!(errors.is_empty(), "{errors:?}");
        phones = alive;
    }
    store.config_mut(|config| config.wait_put_per_call = Duration::from_secs(1));
    let reveal = tokio::spawn(together(phones, act(*last)));
    let unmasking = |info: &RoundInfo| info.round.sessions.iter().any(|s| s.stage == *last && s.closing);
    let info = site.until("the end of stage 4", unmasking).await;
    // From then on the sum counts as seen.
    let session = info.round.sessions[0].id;
    site.until_row("the sum is paid for", move |tx| {
        Box::pin(async move { Ok(tx.session(session).await?.is_some_and(|row| row.sum_blob.is_some())) })
    })
    .await;
    let back = site.now().rollback_model(&task_id(), ModelVersion(1)).await.expect("it is there");
    store.config_mut(|config| config.wait_put_per_call = Duration::ZERO);
    reveal.await.expect("no panic");

    let ended = site.round().await;
    assert_eq!(ended.round.phase.name(), "abandoned");
    assert_eq!(ended.round.sessions[0].stage, SessionStage::Abandoned, "the rollback came before the sum");
    assert_eq!(back.cost, Some(planned(1)));
    round(&site, Story::default()).await;
    assert_eq!(cost(&site, 3).await, planned(2));
    site.now().shutdown().await;
    let left = site.blobs.list("sums").await.expect("no error");
    assert_eq!(left, Vec::<String>::new(), "the sum of a round that ended without a model is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_gradients_is_counted_in_rounds_and_none_is_not_counted() {
    let example = Privacy::Example { epsilon: 8.0, delta: DELTA, rounds: 5, clip: 1.0 };
    for (privacy, rounds, at_most, delta) in [(example, 1, Some((8.0, 5)), Some(DELTA)), (Privacy::None, 0, None, None)]
    {
        let site = site(privacy).await;
        let told = round(&site, Story::default()).await;
        assert_eq!(told.info.round.summary.expect("finished").signal_to_noise, None);
        let expected =
            Cost { mode: privacy.mode(), rounds, epsilon_aggregate: None, epsilon_alone: None, at_most, delta };
        assert_eq!(cost(&site, 2).await, expected);
    }
}

/// The devices' bits move the clip norm of the next round, and a rollback takes it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clip_norm_follows_from_round_to_round() {
    const DEVICES: u8 = 250;
    let clip = ClipRange { min: 0.1, max: 10.0 };
    let mut config = task("manual");
    config.privacy = Privacy::DistributedAdaptive { epsilon: 8.0, delta: DELTA, rounds: 10, clip };
    config.secure_aggregation.sessions = Sessions::One;
    (config.cohort.goal, config.cohort.over_selection_permille) = (DEVICES.into(), 1000);
    let site = Site::new().await;
    let few = TaskConfig { cohort: Cohort { floor: 249, ..config.cohort.clone() }, ..config.clone() };
    let refused = site.now().create_task(task_id(), few, None).await.expect_err("too few survivors");
    assert!(refused.to_string().contains("249 survivors"), "{refused}");
    config.cohort.floor = DEVICES.into();
    site.now().create_task(task_id(), fitting(config), None).await.expect("a good task");

    let mut expected = 1.0;
    // All updates are shorter than the clip norm, then all are longer.
    for (step, share) in [(1e-4, 1.0), (100.0, 0.0)] {
        site.now().open_round(&task_id()).await.expect("none is open");
        let mut phones = gather(&site, DEVICES).await;
        let manifest = phones[0].manifest.clone().expect("checked in");
        let signed = RoundConfig::decode(&manifest.round_config).expect("a configuration");
        assert!((signed.clip / expected - 1.0f64).abs() < 1e-12, "{} is not {expected}", signed.clip);
        for phone in &mut phones {
            phone.device.training = Training::even(step, 20);
        }
        let told = go_on(&site, phones, Story::default()).await;
        assert_eq!(told.info.round.phase.name(), "finished", "{:?}", told.info);
        let bits = told.inputs.iter().map(|input| input[1][0]).sum::<i64>();
        let seen = Split::of(signed.grid).share(bits, DEVICES.into());
        assert!((seen - share).abs() < 4.0 * DEVIATION_MAX, "{seen} is not {share}");
        expected *= (-0.2 * (seen - 0.5)).exp();
        let model = site.now().get_model_info(&task_id(), None).await.expect("a model");
        assert!((model.clip.expect("it follows") / expected - 1.0f64).abs() < 1e-12, "{model:?}");
    }
    let back = site.now().rollback_model(&task_id(), ModelVersion(2)).await.expect("it is there");
    let second = site.now().get_model_info(&task_id(), Some(ModelVersion(2))).await.expect("a model");
    assert!(back.clip.is_some() && back.clip == second.clip && back.clip < Some(0.91), "{back:?}");
}
