//! What a trainer of data sets promises, on a toy model.
#![allow(clippy::print_stdout, reason = "measured times are printed")]

use std::time::{Duration, Instant};

use scale_proto::model::Family;

use super::*;
use crate::train::stepwise::PIECE;
use crate::train::{StepConfig, fresh_weights, is_held_out};
use crate::trainer::{Progressed, Trained, run_to_end};

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
    run_with(trainer, plan, weights, 1)
}

/// With a secret of its own.
fn run_with(trainer: &mut DatasetTrainer, plan: &Plan, weights: &[f32], secret: u8) -> Result<Trained, TrainError> {
    run_to_end(trainer.begin(plan, weights, &[secret; 32])?, &mut || false, &mut |_| ())
}

/// Ends after this number of training steps.
fn run_steps(trainer: &mut DatasetTrainer, plan: &Plan, weights: &[f32], steps: u32) -> Result<Trained, TrainError> {
    let mut training = trainer.begin(plan, weights, &[1; 32])?;
    while steps > 0 && training.step()?.done < steps {}
    training.finish()
}

#[test]
fn learns_and_measures_the_incoming_model() {
    let plan = plan();
    let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
    let mut weights = fresh_weights(&plan.model, 1);
    let mut reports: Vec<Progressed> = Vec::new();
    let training = trainer.begin(&plan, &weights, &[1; 32]).expect("begins");
    let first = run_to_end(training, &mut || false, &mut |progressed| reports.push(progressed)).expect("trains");
    // A fresh model knows nothing: the bias is zero, and so is the table.
    assert!((first.loss_sum - 10.0 * 2f64.ln()).abs() < 1e-4);
    assert_eq!((first.weight, first.examples, first.correct), (10, 10, 5));
    // Prepared, measured, then nine steps, each with a loss.
    let done: Vec<u32> = reports.iter().map(|report| report.done).collect();
    assert_eq!(done, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(reports.iter().all(|report| report.of == 9 && report.loss.is_some() == (report.done > 0)), "{reports:?}");
    assert!((reports[2].loss.expect("a loss") - 2f32.ln()).abs() < 1e-4, "{reports:?}");
    assert!(reports[..10].iter().all(|report| !report.over) && reports[10].over, "{reports:?}");
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
    let train = |plan: &Plan| run(&mut DatasetTrainer::new(shops(), Backend::Flex), plan, &weights).expect("trains");
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
    let until = |steps| run_steps(&mut DatasetTrainer::new(shops(), Backend::Flex), &plan, &weights, steps);
    assert_eq!(until(0).expect_err("nothing was learnt"), TrainError::OutOfTime);
    let early = until(2).expect("two batches are a contribution");
    assert_eq!(early.weight, 8, "two batches of four were seen");
    assert!(early.weights != weights);
    assert_eq!(until(4).expect("more than one pass").weight, 10);
    let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
    let never = run_to_end(trainer.begin(&plan, &weights, &[1; 32]).expect("begins"), &mut || true, &mut |_| ());
    assert_eq!(never.expect_err("stopped at once"), TrainError::OutOfTime);
}

#[test]
fn held_out_examples_measure_and_do_not_train() {
    let plan = Plan { holdout_permille: 200, epochs: 1, batch_size: 1, ..plan() };
    let weights = fresh_weights(&plan.model, 1);
    let mut steps = 0;
    let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
    let training = trainer.begin(&plan, &weights, &[1; 32]).expect("begins");
    let trained = run_to_end(training, &mut || false, &mut |progressed| steps = progressed.done).expect("trains");
    assert_eq!((trained.examples, trained.weight, steps), (2, 8, 8));
    let mut one = Dataset::default();
    one.push_text("cafe", 0);
    assert!(is_held_out(one.examples[0].key, 300), "by its key alone it would be held out");
    let plan = Plan { holdout_permille: 300, ..plan };
    let alone = run(&mut DatasetTrainer::new(one, Backend::Flex), &plan, &weights).expect("trains");
    assert_eq!((alone.examples, alone.weight), (1, 1), "a single example trains, and measures the incoming model");
}

#[test]
fn says_why_there_is_nothing() {
    let plan = plan();
    let weights = fresh_weights(&plan.model, 1);
    let mut empty = DatasetTrainer::new(Dataset::default(), Backend::Flex);
    assert_eq!(run(&mut empty, &plan, &weights).expect_err("no examples"), TrainError::NoExamples);
    assert_eq!(empty.price(&plan), Err(TrainError::NoExamples), "before anything is downloaded");
    let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
    assert!(matches!(run(&mut trainer, &plan, &weights[1..]), Err(TrainError::Unsupported(_))));
    let wild = Plan { learning_rate: 1e30, ..plan.clone() };
    assert_eq!(run(&mut trainer, &wild, &weights).expect_err("diverges"), TrainError::Diverged);
    let mut foreign = shops();
    foreign.push_text("bank", 2);
    let refused = run(&mut DatasetTrainer::new(foreign, Backend::Flex), &plan, &weights);
    assert!(matches!(refused, Err(TrainError::Unsupported(_))));
}

fn protected(noise_multiplier: f32) -> DatasetTrainer {
    let mut trainer = DatasetTrainer::new(shops(), Backend::Flex);
    trainer.protect(ExamplePrivacy::new(1.0, noise_multiplier).expect("in range"));
    trainer
}

#[test]
fn dp_sgd_says_what_it_cost() {
    let plan = plan();
    let weights = fresh_weights(&plan.model, 1);
    let plain = run(&mut DatasetTrainer::new(shops(), Backend::Flex), &plan, &weights).expect("trains");
    assert_eq!(plain.dp_sgd, None);
    let trained = run(&mut protected(1.5), &plan, &weights).expect("trains");
    // Three epochs of three steps, 4 of 10 examples in each on average.
    let cost = trained.dp_sgd.expect("there is a cost");
    assert_eq!((cost.noise_multiplier(), cost.rate(), cost.steps()), (1.5, 0.4, 9));
    assert_eq!(protected(1.5).price(&plan), Ok(Some(cost)), "as was said before");
    assert_eq!(DatasetTrainer::new(shops(), Backend::Flex).price(&plan), Ok(None));
    assert_eq!((trained.weight, trained.examples, trained.loss_sum), (10, 10, plain.loss_sum));
    assert!(trained.weights.iter().zip(&weights).all(|(after, before)| after != before), "noise is everywhere");

    let early = run_steps(&mut protected(1.5), &plan, &weights, 2).expect("two steps");
    assert_eq!((early.dp_sgd.expect("a cost").steps(), early.weight), (2, 8), "what was done is what is paid");
    let never = run_steps(&mut protected(1.5), &plan, &weights, 0);
    assert_eq!(never.expect_err("no step"), TrainError::OutOfTime);

    // Losses carry no noise, so none is reported.
    let mut reports = Vec::new();
    let mut trainer = protected(1.5);
    let training = trainer.begin(&plan, &weights, &[1; 32]).expect("begins");
    run_to_end(training, &mut || false, &mut |progressed| reports.push(progressed)).expect("trains");
    assert!(reports.len() == 11 && reports.iter().all(|report| report.loss.is_none()), "{reports:?}");
}

#[test]
fn dp_sgd_keeps_the_plans_epsilon() {
    let privacy = Privacy::Example { epsilon: 3.0, delta: 1e-5, rounds: 4, clip: 0.5 };
    let plan = Plan { privacy, ..plan() };
    let weights = fresh_weights(&plan.model, 1);
    let trainer = || DatasetTrainer::new(shops(), Backend::Flex);
    let cost = run(&mut trainer(), &plan, &weights).expect("trains").dp_sgd.expect("a cost");
    let rounds = |rounds: u32| {
        let all = DpSgd::new(cost.noise_multiplier(), cost.rate(), cost.steps() * rounds).expect("in range");
        all.epsilon(1e-5).expect("there is noise")
    };
    assert_eq!(trainer().price(&plan), Ok(Some(cost)), "known before anything is trained");
    let less = Plan { holdout_permille: 300, ..plan.clone() };
    let trained = run(&mut trainer(), &less, &weights).expect("trains").dp_sgd;
    assert!(trained.is_some_and(|less| less != cost), "fewer examples");
    assert_eq!(trainer().price(&less), Ok(trained), "what is held out costs nothing");
    assert!(rounds(4) <= 3.0 && rounds(4) > 2.999 && rounds(5) > 3.0, "{}", rounds(4));
}

#[test]
fn dp_sgd_never_repeats_its_noise() {
    let plan = plan();
    let weights = fresh_weights(&plan.model, 1);
    let one = run_with(&mut protected(1.0), &plan, &weights, 1).expect("trains");
    assert!(one == run_with(&mut protected(1.0), &plan, &weights, 1).expect("trains"), "the secret decides");
    // The same plan and weights with another secret: noise and batches are new.
    let two = run_with(&mut protected(1.0), &plan, &weights, 2).expect("trains");
    let same = one.weights.iter().zip(&two.weights).filter(|(a, b)| a == b).count();
    assert!(same < weights.len() / 1000, "{same} weights moved alike");
}

/// More examples than one piece of work prepares, measures and trains on: each is seen once, no training step is skipped,
/// and what a step learns is what a learner that takes all of them at once learns.
#[test]
fn large_batches_are_trained_on_piece_by_piece() {
    let count = 2 * PIECE + 37;
    let mut many = Dataset::default();
    for index in 0..count {
        many.push_text(format!("SHOP {} {}", index % 13, index % 7), (index % 2) as u32);
    }
    for (noise, proximal_mu) in [(None, 0.0), (None, 0.4), (Some(0.0), 0.0)] {
        let plan = Plan { batch_size: 10_000, epochs: 2, learning_rate: 2.0, proximal_mu, ..plan() };
        let weights = fresh_weights(&plan.model, 1);
        let mut trainer = DatasetTrainer::new(many.clone(), Backend::Flex);
        noise.into_iter().for_each(|noise| trainer.protect(ExamplePrivacy::new(1e3, noise).expect("in range")));
        let mut reports = Vec::new();
        let training = trainer.begin(&plan, &weights, &[1; 32]).expect("begins");
        let trained = run_to_end(training, &mut || false, &mut |progressed| reports.push(progressed)).expect("trains");
        assert_eq!((trained.weight, trained.examples), (count as u32, count as u64));
        let training: Vec<u32> = reports.iter().map(|report| report.done).skip_while(|done| *done == 0).collect();
        assert_eq!(training, [1, 1, 1, 2], "{reports:?}");

        // The same order and the same letters left out, in whole batches.
        let batches = in_whole_batches(&plan, &many, noise.is_some());
        let mut learner = build(&plan.model, Backend::Flex).expect("a model");
        learner.load(&weights).expect("the length fits");
        for batch in &batches {
            let step = StepConfig { learning_rate: plan.learning_rate, proximal_mu };
            learner.train_step(&batch.iter().collect::<Vec<_>>(), step).expect("a step");
        }
        let expected = learner.flatten().expect("read back");
        let furthest = trained.weights.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let moved = weights.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-5 && moved > 1e-2, "{noise:?} {proximal_mu}: {furthest} of {moved}");
    }
}

/// What the training steps of a plan with one batch an epoch see.
fn in_whole_batches(plan: &Plan, dataset: &Dataset, sampled: bool) -> Vec<Vec<Prepared>> {
    use rand_core::{Rng as _, SeedableRng as _};
    let learner = build(&plan.model, Backend::Flex).expect("a model");
    let all: Vec<Prepared> = dataset.examples.iter().map(|example| learner.prepare(example).expect("fits")).collect();
    let mut order: Vec<usize> = (0..all.len()).collect();
    let mut shuffling = rand_chacha::ChaCha8Rng::seed_from_u64(plan.seed);
    let mut secret = rand_chacha::ChaCha20Rng::from_seed([1; 32]);
    secret.fill_bytes(&mut [0; 32]);
    let epochs = (0..plan.epochs).map(|_| {
        if sampled {
            // Everyone joins a batch that all fit in; the draw still takes its numbers.
            all.iter().for_each(|_| secret.fill_bytes(&mut [0; 8]));
            return all.iter().map(|example| example.thinned(&mut secret).into_owned()).collect();
        }
        crate::train::stepwise::shuffle(&mut order, &mut shuffling);
        order.iter().map(|&index| all[index].thinned(&mut shuffling).into_owned()).collect()
    });
    epochs.collect()
}

#[test]
fn dp_sgd_learns() {
    let plan = Plan { epochs: 40, ..plan() };
    let mut weights = fresh_weights(&plan.model, 1);
    let mut trainer = protected(0.05);
    for _ in 0..2 {
        weights = run(&mut trainer, &plan, &weights).expect("trains").weights;
    }
    let last = run(&mut trainer, &plan, &weights).expect("trains");
    assert!(last.correct == 10 && last.loss_sum < 4.0, "{} nats", last.loss_sum);
}

/// The demo's model in its default mode, where one training step takes all examples of the device.
#[test]
fn no_piece_of_work_is_long() {
    let model = ModelSpec {
        labels: (0..18).map(|class| format!("class {class}")).collect(),
        family: Family::TextBag { buckets: 65_536, dim: 18, ngram_min: 2, ngram_max: 5 },
    };
    let privacy = Privacy::Example { epsilon: 8.0, delta: 1e-5, rounds: 10, clip: 1.0 };
    let fingerprint = model.fingerprint();
    let plan = Plan { model, fingerprint, epochs: 1, batch_size: 100_000, privacy, ..plan() };
    let mut many = Dataset::default();
    for index in 0..3000u32 {
        many.push_text(format!("SQ *SHOP {} OF {} BUENOS AIRES", index % 611, index % 17), index % 18);
    }
    let weights = fresh_weights(&plan.model, 1);
    let mut trainer = DatasetTrainer::new(many, Backend::Flex);
    let begin = Instant::now();
    let mut training = trainer.begin(&plan, &weights, &[1; 32]).expect("begins");
    let mut took = vec![begin.elapsed()];
    loop {
        let begin = Instant::now();
        let progressed = training.step().expect("a step");
        took.push(begin.elapsed());
        if progressed.over {
            break;
        }
    }
    // To begin; 24 pieces of preparing, 12 of measuring, 12 of training.
    assert_eq!(took.len(), 1 + 24 + 12 + 12);
    let longest = took.iter().max().expect("some");
    println!("longest of {} pieces of work: {longest:?}", took.len());
    // Without optimization, beside everything else that runs on this machine.
    assert!(*longest < Duration::from_secs(1), "{took:?}");
}
