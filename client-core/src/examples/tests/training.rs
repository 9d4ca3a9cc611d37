//! Training on what an app has put: labels by name, and what a plan does not know costs its examples only.

use scale_proto::model::{Family, ModelSpec};
use scale_proto::plan::Plan;
use scale_proto::privacy::Privacy;

use super::*;
use crate::train::{DatasetTrainer, build, fresh_weights};
use crate::trainer::{TrainError, Trained, Trainer, run_to_end};

fn plan(labels: &[&str]) -> Plan {
    let family = Family::TextBag { buckets: 512, dim: 4, ngram_min: 2, ngram_max: 4 };
    let model = ModelSpec { labels: ids(labels), family };
    let fingerprint = model.fingerprint();
    Plan { model, fingerprint, epochs: 40, batch_size: 16, learning_rate: 2.0, ..fixtures::plan() }
}

fn train(trainer: &mut impl Trainer, plan: &Plan) -> Result<Trained, TrainError> {
    let weights = fresh_weights(&plan.model, 1);
    run_to_end(trainer.begin(plan, &weights, &[1; 32])?, &mut || false, &mut |_| ())
}

/// 99 that a model knows, and one that only this person has.
fn hundred() -> Vec<TextExample> {
    let shop = |index: u32| match index % 3 {
        0 => example(&format!("tx-{index}"), &format!("CAFE {}", index % 7), "dining"),
        1 => example(&format!("tx-{index}"), &format!("PETROL {}", index % 5), "fuel"),
        _ => example(&format!("tx-{index}"), &format!("BOOKS {}", index % 4), "books"),
    };
    (0..99).map(shop).chain([example("tx-99", "ZOO SHOP", "pets")]).collect()
}

#[tokio::test]
async fn a_foreign_label_costs_one_example() {
    let host = host(MemoryStore::default());
    let mut examples = open(&host).await;
    examples.put(&host, hundred()).await.expect("good examples");
    let plan = plan(&["dining", "fuel", "books"]);
    let mut trainer = examples.trainer(Backend::Flex);
    assert_eq!(trainer.price(&plan), Ok(None));
    let trained = train(&mut trainer, &plan).expect("trains");
    assert_eq!((trained.weight, trained.examples), (99, 99));
    assert_eq!(examples.counts(Some(&plan.model.labels)).unknown_label, 1);

    // It is what training on those examples is.
    let (dataset, skipped) = examples.dataset(&plan.model.labels);
    assert_eq!(skipped, 1);
    assert!(train(&mut DatasetTrainer::new(dataset, Backend::Flex), &plan).expect("trains") == trained);
    // With noise, the price is that of 99 examples.
    let noisy = Plan { privacy: Privacy::Example { epsilon: 8.0, delta: 1e-5, rounds: 1, clip: 1.0 }, ..plan };
    let price = trainer.price(&noisy).expect("calibrates").expect("costs");
    assert_eq!(price.rate(), 16.0 / 99.0);
    assert_eq!(train(&mut trainer, &noisy).expect("trains").dp_sgd, Some(price));
}

/// Each name is learnt as that name, whatever number it has in a task: also by a trainer that was made before.
#[tokio::test]
async fn labels_are_those_of_the_plan() {
    let host = host(MemoryStore::default());
    let mut examples = open(&host).await;
    examples.put(&host, hundred()).await.expect("good examples");
    let mut trainer = examples.trainer(Backend::Flex);
    for labels in [["dining", "fuel", "books"], ["books", "dining", "fuel"], ["travel", "fuel", "dining"]] {
        let plan = plan(&labels);
        let trained = train(&mut trainer, &plan).expect("trains");
        let mut model = build(&plan.model, Backend::Flex).expect("a model");
        model.load(&trained.weights).expect("the length fits");
        for (text, label) in [("cafe 3", "dining"), ("petrol 2", "fuel"), ("books 1", "books")] {
            let Some(index) = labels.iter().position(|other| *other == label) else { continue };
            let probabilities = model.predict(&Input::Text(text.into())).expect("a prediction");
            assert!(probabilities[index] > 0.8, "{labels:?}: {text} is {probabilities:?}");
        }
    }
}

#[tokio::test]
async fn without_a_known_example_there_is_nothing_to_train_on() {
    let host = host(MemoryStore::default());
    let mut examples = open(&host).await;
    let plan = plan(&["dining", "fuel"]);
    let mut before = examples.trainer(Backend::Flex);
    examples.put(&host, vec![example("a", "ZOO", "pets")]).await.expect("a good example");
    for trainer in [&mut before, &mut examples.trainer(Backend::Flex)] {
        assert_eq!(trainer.price(&plan), Err(TrainError::NoExamples), "said before anything is downloaded");
        assert_eq!(train(trainer, &plan).expect_err("nothing"), TrainError::NoExamples);
    }
    // A trainer has the examples of its time.
    let mut with_one = examples.trainer(Backend::Flex);
    let pets = self::plan(&["pets", "fuel"]);
    examples.clear(&host).await.expect("clears");
    assert_eq!(train(&mut with_one, &pets).expect("trains").weight, 1);
    assert_eq!(train(&mut before, &pets).expect_err("nothing"), TrainError::NoExamples);
}
