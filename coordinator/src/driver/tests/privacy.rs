//! The account of a task whose devices add noise: what each version has cost, and what the noise left of each round.

use scale_privacy::accounting::{UserLevel, zcdp::Rho};
use scale_proto::ids::ModelVersion;
use scale_proto::privacy::Privacy;

use super::fleet::*;
use crate::driver::{Error, ModelInfo};
use crate::noise;
use crate::spent::Cost;

const DELTA: f64 = 1e-6;
const NOISY: Privacy = Privacy::Distributed { epsilon: 8.0, delta: DELTA, rounds: 10 };

async fn site(privacy: Privacy) -> std::sync::Arc<Site> {
    let site = Site::new().await;
    let config = scale_proto::task::TaskConfig { privacy, ..task("manual") };
    site.now().create_task(task_id(), config, None).await.expect("a good task");
    site
}

/// One round of twelve devices.
async fn round(site: &std::sync::Arc<Site>, story: Story) -> Told {
    site.now().open_round(&task_id()).await.expect("none is open");
    tell(site, 12, story).await
}

async fn cost(site: &Site, version: u64) -> Cost {
    let info: ModelInfo = site.now().get_model_info(&task_id(), Some(ModelVersion(version))).await.expect("a model");
    info.cost.expect("every new version has an account")
}

/// What the planner's mechanism costs over so many rounds.
fn planned(rounds: u32) -> Cost {
    let config = scale_proto::task::TaskConfig { privacy: NOISY, ..task("manual") };
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_says_what_all_rounds_so_far_have_cost() {
    let site = site(NOISY).await;
    assert_eq!(cost(&site, 1).await, planned(0), "nobody's data is in the first model");
    for version in [2, 3] {
        let told = round(&site, Story::default()).await;
        assert_eq!(told.info.new_version(), Some(ModelVersion(version)), "{:?}", told.errors);
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
    for (released, rounds) in [(false, 0), (true, 1), (false, 1)] {
        let told = round(&site, Story { lost: [0, 0, 3, 0, 0], ..Story::default() }).await;
        assert_eq!(told.info.reason().map(|(code, _)| code), Some("too_few_inputs"));
        let session = told.info.round.sessions[0].id;
        if released {
            // As if it had failed one step later.
            let write = site.store.run_tx("released", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.set_session_sum(session, Some("sums/seen.bin")).await?) })
            });
            write.await.expect("the session is there");
        }
        let model = site.now().rollback_model(&task_id(), ModelVersion(1)).await.expect("it is there");
        assert_eq!(model.cost, Some(planned(rounds)), "{released}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_gradients_is_counted_in_rounds_and_none_is_not_counted() {
    let example = Privacy::Example { epsilon: 8.0, delta: DELTA, rounds: 5, clip: 1.0 };
    for (privacy, rounds, at_most, delta) in [(example, 1, Some((8.0, 5)), Some(DELTA)), (Privacy::None, 0, None, None)]
    {
        let site = site(privacy).await;
        round(&site, Story::default()).await;
        let expected =
            Cost { mode: privacy.mode(), rounds, epsilon_aggregate: None, epsilon_alone: None, at_most, delta };
        assert_eq!(cost(&site, 2).await, expected);
    }
}
