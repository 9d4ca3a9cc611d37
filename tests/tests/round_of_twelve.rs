//! A round of twelve with losses at each stage publishes exactly the integer sum of the survivors, or nothing.

use std::collections::BTreeSet;

use futures::future::{join_all, try_join_all};
use scale_tests::device::{Joined, RawDevice};
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::{plain_sum, recovered_sum, small_model, small_task, weights};

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");

/// Which of the twelve fall silent before they answer stages 1, 2, 3 and 4.
type Losses = [&'static [usize]; 4];

struct Ran {
    phase: String,
    reason_code: String,
    survivors: u32,
    /// Published minus expected integers; `None` without a new model.
    difference: Option<Vec<i64>>,
    models: usize,
}

async fn fleet(coordinator: &CoordinatorProcess, count: u8) -> Vec<RawDevice> {
    let token = coordinator.admin().await.unwrap().enroll_token().await.unwrap();
    let devices = (0..count).map(|number| RawDevice::enroll(coordinator.url(), number + 1, &token));
    try_join_all(devices).await.unwrap()
}

/// `stage_ms`: how long a stage may wait; losses that a session stands cost a second.
async fn run(losses: Losses, stage_ms: u64) -> Ran {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    admin.create_task("twelve", small_task(12, stage_ms)).await.unwrap();
    let mut devices = fleet(&coordinator, 12).await;
    let base = weights(&admin.models("twelve").await.unwrap()[0], &small_model()).await.unwrap();

    let mut joined: Vec<Joined> = try_join_all(devices.iter_mut().map(RawDevice::join)).await.unwrap();
    let round_id = joined[0].manifest.round_id.clone();
    let mut alive: BTreeSet<usize> = (0..12).collect();
    let mut survivors = BTreeSet::new();
    // Whoever is alive answers the stage; a refusal (the session may be abandoned) silences a device like a loss.
    for stage in 0..5 {
        if stage > 0 {
            alive.retain(|device| !losses[stage - 1].contains(device));
        }
        let answers = devices.iter_mut().zip(&mut joined).enumerate().filter(|(i, _)| alive.contains(i)).map(
            |(i, (device, joined))| async move {
                let done = match stage {
                    0 => device.advertise(joined).await,
                    1 => device.share(joined).await,
                    2 => match device.upload(joined, usize::MAX).await {
                        Ok(committed) => return (i, Some(committed)),
                        Err(error) => Err(error),
                    },
                    3 => match device.survivors(joined).await {
                        Ok(()) => device.confirm(joined).await,
                        Err(error) => Err(error),
                    },
                    _ => device.reveal(joined).await,
                };
                (i, done.is_ok().then_some(false))
            },
        );
        for (i, answer) in join_all(answers).await {
            match answer {
                Some(committed) => survivors.extend(committed.then_some(i)),
                None => alive.retain(|device| *device != i),
            }
        }
    }
    let round = admin.closed_round(&round_id).await.unwrap();
    let mut models = admin.models("twelve").await.unwrap();
    models.sort_by_key(|model| model.version);
    let difference = if round.new_version > 0 {
        let new = weights(models.last().unwrap(), &small_model()).await.unwrap();
        let (sum, weight) = plain_sum(survivors.iter().map(|&i| &joined[i]));
        let published = recovered_sum(&base, &new, &joined[0].config, joined[0].plan.max_weight, weight);
        Some(published.iter().zip(&sum).map(|(a, b)| a - b).collect())
    } else {
        None
    };
    Ran {
        phase: round.phase,
        reason_code: round.reason_code,
        survivors: round.survivors,
        difference,
        models: models.len(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn losses_at_each_stage_leave_the_exact_sum_of_the_survivors() {
    for (name, losses, survivors) in [
        ("nobody", [&[][..], &[], &[], &[]], 12),
        ("before the shares", [&[3][..], &[], &[], &[]], 11),
        ("before the upload", [&[][..], &[0, 7], &[], &[]], 10),
        ("after the upload", [&[][..], &[], &[1, 2], &[]], 12),
        ("before the last shares", [&[][..], &[], &[], &[4, 5, 6]], 12),
        ("one at every stage", [&[11][..], &[0], &[5], &[8]], 10),
    ] {
        let ran = run(losses, 60_000).await;
        assert_eq!(ran.phase, "finished", "{name}: {}", ran.reason_code);
        assert_eq!(ran.survivors, survivors, "{name}");
        let difference = ran.difference.expect(name);
        assert!(difference.iter().all(|&entry| entry == 0), "{name}: {difference:?}");
        assert_eq!(ran.models, 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_losses_abandon_the_round_and_reveal_nothing() {
    for (name, losses, code) in [
        ("nine share keys", [&[0, 1, 2][..], &[], &[], &[]], "too_few_sharers"),
        ("nine upload", [&[][..], &[0, 1, 2], &[], &[]], "too_few_inputs"),
        ("six sign", [&[][..], &[], &[0, 1, 2, 3, 4, 5], &[]], "too_few_shares"),
        ("six reveal", [&[][..], &[], &[], &[0, 1, 2, 3, 4, 5]], "too_few_shares"),
    ] {
        // Too few to go on without the others: the whole window is waited for them.
        let ran = run(losses, 8_000).await;
        assert_eq!(ran.phase, "abandoned", "{name}");
        assert_eq!(ran.reason_code, code, "{name}");
        assert!(ran.difference.is_none(), "{name}");
        assert_eq!(ran.models, 1, "{name}");
    }
}
