use std::time::Duration;

use scale_proto::model::Family;

use super::*;

use crate::train::fresh_weights;

fn plan() -> Plan {
    let model = ModelSpec {
        labels: ["dining", "fuel"].map(String::from).to_vec(),
        family: Family::TextBag { buckets: 512, dim: 4, ngram_min: 2, ngram_max: 4 },
    };
    Plan {
        fingerprint: model.fingerprint(),
        model,
        epochs: 3,
        batch_size: 4,
        learning_rate: 0.5,
        proximal_mu: 0.0,
        time_limit: Duration::from_secs(30),
        max_weight: 100,
        holdout_permille: 0,
        seed: 5,
        privacy: Privacy::None,
    }
}

fn shops() -> Dataset {
    let mut out = Dataset::default();
    for place in ["Rome", "Oslo", "Bern", "Cork", "Lima"] {
        out.push_text(format!("CAFE {place}"), 0);
        out.push_text(format!("PETROL {place}"), 1);
    }
    out
}

fn run(trainer: &mut DatasetTrainer, plan: &Plan, weights: &[f32]) -> Result<Trained, TrainError> {
    trainer.train(plan, weights, &mut || false, &mut |_| ())
}

#[test]
fn learns_and_measures_the_incoming_model() {
    let plan = plan();
    let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
    let mut weights = fresh_weights(&plan.model, 1);
    let mut told = Vec::new();
    let first = trainer.train(&plan, &weights, &mut || false, &mut |part| told.push(part)).expect("trains");
    // A fresh model knows nothing: the bias is zero, and so is the table.
    assert!((first.loss_sum - 10.0 * 2f64.ln()).abs() < 1e-4);
    assert_eq!((first.weight, first.examples, first.correct), (10, 10, 5));
    assert!(told.is_sorted() && told.len() == 9 && told.last() == Some(&1000), "{told:?}");
    for _ in 0..6 {
        weights = run(&mut trainer, &plan, &weights).expect("trains").weights;
    }
    let last = run(&mut trainer, &plan, &weights).expect("trains");
    assert!(last.correct == 10 && last.loss_sum < first.loss_sum / 2.0, "{} nats", last.loss_sum);
}

#[test]
fn a_seed_decides_everything() {
    let plan = plan();
    let weights = fresh_weights(&plan.model, 1);
    let train =
        |plan: &Plan| run(&mut DatasetTrainer::new(shops(), Backend::Flex), plan, &weights).expect("trains");
    assert!(train(&plan) == train(&plan));
    assert!(train(&plan).weights != train(&Plan { seed: 6, ..plan.clone() }).weights);
    // A trainer that is used again does what a new one does.
    let mut used = DatasetTrainer::new(shops(), Backend::Flex);
    run(&mut used, &Plan { epochs: 1, ..plan.clone() }, &weights).expect("trains");
    assert!(run(&mut used, &plan, &weights).expect("trains") == train(&plan));
}

#[test]
fn out_of_time_contributes_what_it_has() {
    let plan = plan();
    let weights = fresh_weights(&plan.model, 1);
    let until = |steps: usize| {
        let mut asked = 0;
        let mut stop = || {
            asked += 1;
            asked > steps
        };
        DatasetTrainer::new(shops(), Backend::Flex).train(&plan, &weights, &mut stop, &mut |_| ())
    };
    assert_eq!(until(0).expect_err("nothing was learnt"), TrainError::OutOfTime);
    let early = until(2).expect("two batches are a contribution");
    assert_eq!(early.weight, 8, "two batches of four were seen");
    assert!(early.weights != weights);
    assert_eq!(until(4).expect("more than one pass").weight, 10);
}

#[test]
fn held_out_examples_measure_and_do_not_train() {
    let plan = Plan { holdout_permille: 200, epochs: 1, batch_size: 1, ..plan() };
    let weights = fresh_weights(&plan.model, 1);
    let mut steps = 0;
    let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
    let trained = trainer.train(&plan, &weights, &mut || false, &mut |_| steps += 1).expect("trains");
    assert_eq!((trained.examples, trained.weight, steps), (2, 8, 8));
    let mut one = Dataset::default();
    one.push_text("cafe", 0);
    let alone = run(&mut DatasetTrainer::new(one, Backend::Flex), &plan, &weights).expect("trains");
    assert_eq!((alone.examples, alone.weight), (1, 1), "a single example trains, and measures the incoming model");
}

#[test]
fn says_why_there_is_nothing() {
    let plan = plan();
    let weights = fresh_weights(&plan.model, 1);
    let mut empty = DatasetTrainer::new(Dataset::default(), Backend::Flex);
    assert_eq!(run(&mut empty, &plan, &weights).expect_err("no examples"), TrainError::NoExamples);
    let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
    assert!(matches!(run(&mut trainer, &plan, &weights[1..]), Err(TrainError::Unsupported(_))));
    let wild = Plan { learning_rate: 1e30, ..plan.clone() };
    assert_eq!(run(&mut trainer, &wild, &weights).expect_err("diverges"), TrainError::Diverged);
    let mut foreign = shops();
    foreign.push_text("bank", 2);
    let refused = run(&mut DatasetTrainer::new(foreign, Backend::Flex), &plan, &weights);
    assert!(matches!(refused, Err(TrainError::Unsupported(_))));
}

fn protected(noise_multiplier: f32, seed: u8) -> DatasetTrainer {
    let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
    trainer.protect(ExamplePrivacy::new(1.0, noise_multiplier).expect("in range"), [seed; 32]);
    trainer
}

#[test]
fn dp_sgd_says_what_it_cost() {
    let plan = plan();
    let weights = fresh_weights(&plan.model, 1);
    let plain = run(&mut DatasetTrainer::new(shops(), Backend::Flex), &plan, &weights).expect("trains");
    assert_eq!(plain.dp_sgd, None);
    let trained = run(&mut protected(1.5, 1), &plan, &weights).expect("trains");
    // Three epochs of three steps, 4 of 10 examples in each on average.
    let cost = trained.dp_sgd.expect("there is a cost");
    assert_eq!((cost.noise_multiplier(), cost.rate(), cost.steps()), (1.5, 0.4, 9));
    assert_eq!(protected(1.5, 1).price(&plan), Ok(Some(cost)), "as was said before");
    assert_eq!(DatasetTrainer::new(shops(), Backend::Flex).price(&plan), Ok(None));
    assert_eq!((trained.weight, trained.examples, trained.loss_sum), (10, 10, plain.loss_sum));
    assert!(trained.weights.iter().zip(&weights).all(|(after, before)| after != before), "noise is everywhere");

    let mut asked = 0;
    let mut stop = || {
        asked += 1;
        asked > 2
    };
    let early = protected(1.5, 1).train(&plan, &weights, &mut stop, &mut |_| ()).expect("two steps");
    assert_eq!((early.dp_sgd.expect("a cost").steps(), early.weight), (2, 8), "what was done is what is paid");
    let never = protected(1.5, 1).train(&plan, &weights, &mut || true, &mut |_| ());
    assert_eq!(never.expect_err("no step"), TrainError::OutOfTime);
}

#[test]
fn dp_sgd_keeps_the_plans_epsilon() {
    let privacy = Privacy::Example { epsilon: 3.0, delta: 1e-5, rounds: 4, clip: 0.5 };
    let plan = Plan { privacy, ..plan() };
    let weights = fresh_weights(&plan.model, 1);
    let trainer = || DatasetTrainer::new(shops(), Backend::Flex);
    let refused = run(&mut trainer(), &plan, &weights).expect_err("there is no secret");
    assert!(matches!(refused, TrainError::Unsupported(_)), "{refused}");
    let cost = run(&mut trainer().with_secret([1; 32]), &plan, &weights).expect("trains").dp_sgd.expect("a cost");
    let rounds = |rounds: u32| {
        let all = DpSgd::new(cost.noise_multiplier(), cost.rate(), cost.steps() * rounds).expect("in range");
        all.epsilon(1e-5).expect("there is noise")
    };
    assert_eq!(trainer().price(&plan), Ok(Some(cost)), "known before anything is trained");
    let less = Plan { holdout_permille: 300, ..plan.clone() };
    let trained = run(&mut trainer().with_secret([1; 32]), &less, &weights).expect("trains").dp_sgd;
    assert!(trained.is_some_and(|less| less != cost), "fewer examples");
    assert_eq!(trainer().price(&less), Ok(trained), "what is held out costs nothing");
    assert!(rounds(4) <= 3.0 && rounds(4) > 2.999 && rounds(5) > 3.0, "{}", rounds(4));
}

#[test]
fn dp_sgd_never_repeats_its_noise() {
    let plan = plan();
    let weights = fresh_weights(&plan.model, 1);
    let mut trainer = protected(1.0, 1);
    let [one, two] = [(); 2].map(|()| run(&mut trainer, &plan, &weights).expect("trains"));
    assert!(one == run(&mut protected(1.0, 1), &plan, &weights).expect("trains"), "the seed decides");
    assert!(one != run(&mut protected(1.0, 2), &plan, &weights).expect("trains"));
    // The same plan and weights again: noise and batches are new.
    let same = one.weights.iter().zip(&two.weights).filter(|(a, b)| a == b).count();
    assert!(same < weights.len() / 1000, "{same} weights moved alike");
}

#[test]
fn dp_sgd_learns() {
    let plan = Plan { epochs: 40, ..plan() };
    let mut weights = fresh_weights(&plan.model, 1);
    let mut trainer = protected(0.05, 1);
    for _ in 0..2 {
        weights = run(&mut trainer, &plan, &weights).expect("trains").weights;
    }
    let last = run(&mut trainer, &plan, &weights).expect("trains");
    assert!(last.correct == 10 && last.loss_sum < 4.0, "{} nats", last.loss_sum);
}
