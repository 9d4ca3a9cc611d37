//! A clip norm that follows the devices, with the devices' own pipeline, their noise, and the coordinator's arithmetic; the
//! protocol between them only adds up, and is left out.

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use scale_client_core::trainer::Trained;
use scale_client_core::update::Update;
use scale_coordinator::aggregate::{FollowingClip, Scale, Totals};
use scale_coordinator::noise;
use scale_privacy::adaptive::Split;
use scale_privacy::fit;
use scale_privacy::gaussian::DiscreteGaussian;
use scale_proto::plan::Plan;
use scale_proto::privacy::{ClipRange, Privacy};
use scale_proto::task::{Cohort, Sessions, TaskConfig};
use scale_secagg::config::RoundConfig;
use scale_tests::liar::setting;
use scale_tests::round::small_task;

const DEVICES: u32 = 300;
const RANGE: ClipRange = ClipRange { min: 0.01, max: 100.0 };
/// Of the devices' norms, which lie between a quarter of it and four times it.
const MEDIAN: f64 = 2.0;

fn task() -> TaskConfig {
    let mut task = TaskConfig::try_from(small_task(DEVICES, 1000)).unwrap();
    task.cohort = Cohort { floor: 250, ..task.cohort };
    task.secure_aggregation.sessions = Sessions::One;
    let noise = Privacy::Distributed { epsilon: 8.0, delta: 1e-6, rounds: 50 };
    TaskConfig { privacy: noise.with_clip_range(Some(RANGE)).unwrap(), ..task }
}

/// What device number `number` learns: a direction of its own, of a length that never changes.
fn learnt(number: u32, len: usize) -> Vec<f32> {
    let mut rng = ChaCha20Rng::seed_from_u64(number.into());
    let direction: Vec<f64> = (0..len).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX) - 0.5).collect();
    let norm = direction.iter().map(|entry| entry * entry).sum::<f64>().sqrt();
    let length = MEDIAN * (2.0 * (f64::from(number) + 0.5) / f64::from(DEVICES) - 1.0).exp2().powi(2);
    direction.iter().map(|entry| (entry / norm * length) as f32).collect()
}

#[test]
fn the_norm_finds_the_median_from_below_and_above_through_the_noise() {
    let noise = noise::of(&task()).unwrap();
    let plan = Plan { privacy: task().privacy, ..setting::plan() };
    let gaussian = DiscreteGaussian::new(noise.mechanism.local_variance()).unwrap();
    let len = plan.model.flat_len() as usize;
    let updates: Vec<Vec<f32>> = (0..DEVICES).map(|number| learnt(number, len)).collect();
    for (start, seed) in [(0.5, 1), (8.0, 2)] {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (mut clip, mut settled, mut left) = (start, vec![], vec![]);
        for round in 0..60 {
            let config = RoundConfig { clip, grid: noise.grid, mechanism: noise.mechanism, ..setting::config(DEVICES) };
            let split = Split::of(config.grid);
            let mut totals = Totals::new(len);
            for update in &updates {
                let trained = Trained {
                    weights: update.clone(),
                    weight: 9,
                    loss_sum: 1.0,
                    correct: 5,
                    examples: 9,
                    dp_sgd: None,
                };
                let update = Update::new(&plan, &vec![0.0; len], trained).unwrap();
                let mut vectors = update.quantize(&config, &mut rng).unwrap().into_vectors();
                vectors.iter_mut().for_each(|vector| gaussian.add_to(vector, &mut rng));
                let signed = |vector: &Vec<u32>| vector.iter().map(|&entry| i64::from(entry as i32)).collect();
                totals.add(&vectors.iter().map(signed).collect::<Vec<_>>(), 1).unwrap();
            }
            if round >= 40 {
                settled.push(clip);
                let scale = Scale { clip, grid: split.update(), max_weight: plan.max_weight, noisy: true };
                left.extend(over_the_mean(&totals.mean(&scale).unwrap().update, &updates, clip, split.update()));
            }
            clip = FollowingClip { range: RANGE, split }.next(clip, &totals);
        }
        let (low, high) = settled.iter().fold((f64::MAX, 0f64), |(low, high), &c| (low.min(c), high.max(c)));
        assert!(low > 0.8 * MEDIAN && high < 1.25 * MEDIAN, "from {start}: between {low:.2} and {high:.2}");
        // The published mean is that of the clipped updates, and noise of the promised size.
        let variance = f64::from(DEVICES) * noise.mechanism.local_variance() as f64;
        let off = fit::variance(&left, variance);
        assert!(off.abs() < 4.0, "from {start}: {off:.1} standard deviations");
    }
}

/// What is in a published mean beside the mean of the clipped updates, in grid units of the sum.
fn over_the_mean(mean: &[f32], updates: &[Vec<f32>], clip: f64, grid: u32) -> Vec<i64> {
    let mut clipped = vec![0.0; mean.len()];
    for update in updates {
        let norm = update.iter().map(|&entry| f64::from(entry).powi(2)).sum::<f64>().sqrt();
        let factor = (clip / norm).min(1.0);
        clipped.iter_mut().zip(update).for_each(|(sum, &entry)| *sum += f64::from(entry) * factor);
    }
    let devices = updates.len() as f64;
    let units = |(mean, sum): (&f32, f64)| ((f64::from(*mean) * devices - sum) * f64::from(grid) / clip).round() as i64;
    mean.iter().zip(clipped).map(units).collect()
}
