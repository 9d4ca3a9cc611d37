use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use rand_core::Rng as _;
use scale_privacy::accounting::dp_sgd::DpSgd;
use scale_proto::answer::Wait;
use scale_proto::error::{Problem, Remedy};
use scale_proto::ids::Digest;
use scale_proto::plan::{Plan, STATISTICS_LEN, VECTOR_UPDATE};
use scale_proto::time::Timestamp;
use scale_secagg::config::RoundConfig;

use super::*;
use crate::device::Condition;
use crate::device::fixtures::coordinator::{Coordinator, Line, turn};
use crate::device::fixtures::{self, ConstantTrainer, SlowStore};
use crate::device::{Phase, Progress, ProgressEvent};
use crate::error::HostError;
use crate::host::memory::{
    FixedConditions, HeldMemory, MemoryClock, MemoryHost, MemoryKeys, MemoryLedger, MemoryStore, SeededRandomness,
};
use crate::host::{DeviceConditions, HeldLog, LedgerLog, LogError, Parts, Store};
#[cfg(target_arch = "wasm32")]
use crate::single_thread as tokio;
use crate::trainer::{TrainError, Trained, Training, in_one_step};
use crate::update::Update;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use scale_secagg::keys::IdentityKey;

mod bytes_written;
mod cancelling;
mod enrolling;
mod ledger;
mod pausing;
mod stepping;
mod training;

const COHORT: usize = 12;

type Shared = Arc<Mutex<Coordinator>>;
type TestHost = Parts<Line, SlowStore, MemoryKeys, FixedConditions, MemoryClock, SeededRandomness, SlowLedger>;

/// As [`SlowStore`] for the ledger's log, whose record a kill may also cut in half.
#[derive(Clone, Debug, Default)]
struct SlowLedger(MemoryLedger);

#[derive(Debug)]
struct SlowLog(HeldMemory, MemoryLedger);

impl LedgerLog for SlowLedger {
    type Held = SlowLog;
    async fn hold(&self) -> Result<SlowLog, LogError> {
        Ok(SlowLog(self.0.hold().await?, self.0.clone()))
    }
    async fn read(&self) -> Result<Vec<u8>, HostError> {
        self.0.read().await
    }
}

impl HeldLog for SlowLog {
    async fn read(&mut self) -> Result<Vec<u8>, HostError> {
        self.0.read().await
    }
    async fn append(&mut self, at: u64, bytes: &[u8]) -> Result<(), HostError> {
        turn().await;
        let before = self.0.read().await?;
        self.0.append(at, &bytes[..bytes.len() / 2]).await?;
        turn().await;
        self.1.tamper(before);
        self.0.append(at, bytes).await?;
        turn().await;
        Ok(())
    }
    async fn replace(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        turn().await;
        self.0.replace(bytes).await?;
        turn().await;
        Ok(())
    }
    async fn remove(&mut self) -> Result<(), HostError> {
        self.0.remove().await
    }
}

fn coordinator() -> Shared {
    coordinator_with(fixtures::config)
}

fn coordinator_with(config: fn(&Plan) -> RoundConfig) -> Shared {
    let plan = fixtures::plan();
    let config = config(&plan);
    let file = fixtures::file();
    Coordinator::new(config.clone(), fixtures::manifest(&config, &plan), file, COHORT)
}

fn clock() -> MemoryClock {
    MemoryClock::at(Timestamp::from_millis(fixtures::START_MS)).hasty()
}

fn host(shared: &Shared, clock: &MemoryClock, number: usize) -> TestHost {
    let MemoryHost { transport, keys, conditions, clock, randomness, .. } =
        MemoryHost::new(Line(shared.clone()), clock.clone(), [number as u8; 32]);
    let (store, ledger) = (SlowStore::default(), SlowLedger::default());
    Parts { transport, store, keys, conditions, clock, randomness, ledger }
}

fn client(host: TestHost) -> Client<TestHost> {
    client_under(None, host)
}

/// A client of an app that pins this root.
fn client_under(root: Option<&IdentityKey>, host: TestHost) -> Client<TestHost> {
    let config = ClientConfig {
        families: vec!["mlp".into()],
        identity_root: root.map(IdentityKey::public),
        ..ClientConfig::new(vec![fixtures::task()], fixtures::task_key().public())
    };
    Client::new(host, config)
}

fn trainer(number: usize) -> ConstantTrainer {
    ConstantTrainer { step: (number as f32 - 3.0) / 100.0, examples: 20 + 10 * number as u32 }
}

/// Enrolls and takes part in one round, on a task of its own: the future has to be `Send`.
fn spawn(host: TestHost, number: usize) -> tokio::task::JoinHandle<Result<Outcome, Error>> {
    spawn_client(client(host), number)
}

fn spawn_client(client: Client<TestHost>, number: usize) -> tokio::task::JoinHandle<Result<Outcome, Error>> {
    spawn_with(client, number, RunOptions::default())
}

fn spawn_with(
    client: Client<TestHost>,
    number: usize,
    options: RunOptions,
) -> tokio::task::JoinHandle<Result<Outcome, Error>> {
    tokio::spawn(async move {
        client.enroll("token", &Cancel::new()).await?;
        client.participate(options, &mut trainer(number), &Cancel::new(), &mut ()).await
    })
}

/// Every device is in the sum, which is right, and none has sent two different things.
async fn all_contribute(shared: &Shared, devices: Vec<tokio::task::JoinHandle<Result<Outcome, Error>>>) {
    for device in devices {
        let outcome = device.await.expect("no panic").expect("no error");
        assert!(contributed(&outcome), "{outcome:?}");
    }
    let coordinator = shared.lock().expect("no panic");
    assert_eq!(coordinator.released.as_ref().expect("released").vectors, sum(0..COHORT));
    coordinator.assert_one_message_each();
}

fn contributed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Contributed(Contribution { number: 3, version: ModelVersion(1), .. }))
}

/// What device `number` adds: its rounding stream is the second one drawn after the nonce of the enrollment.
fn expected_input(number: usize) -> Vec<Vec<u32>> {
    let mut randomness = ChaCha20Rng::from_seed([number as u8; 32]);
    let (mut nonce, mut keys, mut rounding) = ([0; 12], [0; 32], [0; 32]);
    randomness.fill_bytes(&mut nonce);
    randomness.fill_bytes(&mut keys);
    randomness.fill_bytes(&mut rounding);
    let plan = fixtures::plan();
    let update = Update::new(&plan, &fixtures::global(), trainer(number).result(&fixtures::global())).expect("finite");
    let rounding = &mut ChaCha20Rng::from_seed(rounding);
    update.quantize(&fixtures::config(&plan), rounding).expect("in bound").into_vectors()
}

fn sum(numbers: impl Iterator<Item = usize>) -> Vec<Vec<i64>> {
    let lens = [fixtures::spec().flat_len(), STATISTICS_LEN];
    let mut sums = lens.map(|len| vec![0i64; len as usize]);
    for input in numbers.map(expected_input) {
        for (sum, vector) in sums.iter_mut().zip(&input) {
            for (entry, &value) in sum.iter_mut().zip(vector) {
                *entry += i64::from(value as i32);
            }
        }
    }
    sums.to_vec()
}

#[tokio::test]
async fn twelve_devices_give_the_exact_sum() {
    let (shared, clock) = (coordinator(), clock());
    let devices: Vec<_> = (0..COHORT).map(|number| spawn(host(&shared, &clock, number), number)).collect();
    for device in devices {
        let outcome = device.await.expect("no panic").expect("no error");
        assert!(contributed(&outcome), "{outcome:?}");
    }
    let coordinator = shared.lock().expect("no panic");
    let released = coordinator.released.as_ref().expect("released");
    assert_eq!(released.n_survivors, COHORT as u32);
    assert_eq!(released.vectors, sum(0..COHORT));
    assert_eq!(fixtures::config(&fixtures::plan()).vectors[0].name, VECTOR_UPDATE);
    assert!(released.vectors[0].iter().any(|&entry| entry != 0));
    coordinator.assert_one_message_each();
}

/// A person watches one of the devices: its reports, and nobody else's, say which job they belong to.
#[tokio::test]
async fn reports_show_the_job_that_the_app_has_set() {
    let (shared, clock) = (coordinator(), clock());
    let job: JobCredential = [9; JobCredential::LEN].as_slice().try_into().expect("its length");
    let devices = (0..COHORT).map(|number| {
        let options = RunOptions { job: (number == 0).then(|| job.clone()), ..RunOptions::default() };
        spawn_with(client(host(&shared, &clock, number)), number, options)
    });
    let devices: Vec<_> = devices.collect();
    all_contribute(&shared, devices).await;
    let reports = &shared.lock().expect("no panic").reports;
    let of_job: Vec<u32> =
        reports.iter().filter(|report| report.job.as_ref() == Some(&job)).map(|report| report.done_permille).collect();
    assert_eq!(of_job, [0, 1000], "when it begins, and when it has trained");
    let others: Vec<u32> =
        reports.iter().filter(|report| report.job.is_none()).map(|report| report.done_permille).collect();
    assert_eq!(others, [1000; COHORT - 1]);
}

/// The malicious profile: every device shows its certificate and sees everybody's; one without is not even in.
#[tokio::test]
async fn twelve_certified_devices_give_the_exact_sum() {
    let (shared, clock) = (coordinator_with(fixtures::malicious), clock());
    let root = fixtures::root();
    let without = client_under(Some(&root), host(&shared, &clock, COHORT));
    let Outcome::Left { cause, .. } = spawn_client(without, COHORT).await.expect("no panic").expect("no error") else {
        panic!("it joined without a certificate")
    };
    assert_eq!(cause.code(), "certificate_missing");
    let end = fixtures::malicious(&fixtures::plan()).closing[4];
    let devices = (0..COHORT).map(|number| {
        let mut host = host(&shared, &clock, number);
        host.keys = host.keys.certified(&root, end);
        spawn_client(client_under(Some(&root), host), number)
    });
    let devices: Vec<_> = devices.collect();
    all_contribute(&shared, devices).await;
}

#[tokio::test]
async fn lost_answers_change_nothing() {
    // Not divisors of the cohort: else the same devices would lose every answer.
    for lose_every in [5, 7, 11] {
        let (shared, clock) = (coordinator(), clock());
        let mut hosts = vec![];
        for number in 0..COHORT {
            let host = host(&shared, &clock, number);
            client(host.clone()).enroll("token", &Cancel::new()).await.expect("enrolls");
            hosts.push(host);
        }
        shared.lock().expect("no panic").link.lose_every = lose_every;
        let devices: Vec<_> = hosts.into_iter().enumerate().map(|(number, host)| spawn(host, number)).collect();
        all_contribute(&shared, devices).await;
    }
}

/// Runs both to their ends, in turns.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_done, mut b_done) = (None, None);
    std::future::poll_fn(|context| {
        if a_done.is_none()
            && let Poll::Ready(done) = a.as_mut().poll(context)
        {
            a_done = Some(done);
        }
        if b_done.is_none()
            && let Poll::Ready(done) = b.as_mut().poll(context)
        {
            b_done = Some(done);
        }
        if a_done.is_some() && b_done.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    a_done.zip(b_done).expect("both are done")
}

/// Polls `work` at most `polls` times, then drops it where it stands.
async fn killed_after<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    struct Limited<'a, F> {
        work: Pin<&'a mut F>,
        left: usize,
    }
    impl<F: Future> Future for Limited<'_, F> {
        type Output = Option<F::Output>;
        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            self.work.as_mut().poll(context).map(Some)
        }
    }
    Limited { work: pin!(work), left: polls }.await
}

#[tokio::test]
async fn a_device_killed_anywhere_goes_on_with_the_same_bytes() {
    killed_anywhere(fixtures::config, |released, paid_in_vain| {
        let expected = sum(usize::from(paid_in_vain)..COHORT);
        assert_eq!(released[1], expected[1]);
    })
    .await;
}

/// With noise nobody can say what the sum must be, but it is there once, and paid for.
#[tokio::test]
async fn a_device_with_noise_killed_anywhere_never_draws_it_twice() {
    killed_anywhere(|plan| fixtures::noisy(plan, 1.5), |_, _| ()).await;
}

/// Kills device 0 at every point where it gives others a turn: before, in the middle of and after every durable step.
async fn killed_anywhere(config: fn(&Plan) -> RoundConfig, check: fn(&[Vec<i64>], bool)) {
    let mut survived = false;
    let (mut in_vain, mut damaged) = (0, 0);
    for polls in 1.. {
        let (shared, clock) = (coordinator_with(config), clock());
        let others: Vec<_> = (1..COHORT).map(|number| spawn(host(&shared, &clock, number), number)).collect();
        let victim = host(&shared, &clock, 0);
        client(victim.clone()).enroll("token", &Cancel::new()).await.expect("enrolls");
        let first = killed_after(
            polls,
            client(victim.clone()).participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ()),
        )
        .await;
        survived = first.is_some();
        let mut paid_in_vain = false;
        if !survived {
            // A new process: only the store, the key store and the operating system's randomness are left.
            let outcome = client(victim.clone())
                .participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ())
                .await
                .expect("no error");
            // Killed between the reservation and the stored payload: the noise may have been drawn, so it is lost.
            paid_in_vain = matches!(&outcome, Outcome::Left { cause, .. } if cause.code() == "already_reserved");
            in_vain += u32::from(paid_in_vain);
            let after_the_end = matches!(&outcome, Outcome::Left { cause, .. } if cause.code() == "round_not_newer");
            // Killed when everything was sent and deleted: the coordinator offers the old round, the device refuses it.
            assert!(contributed(&outcome) || after_the_end || paid_in_vain, "killed at {polls}: {outcome:?}");
        }
        for other in others {
            let outcome = other.await.expect("no panic").expect("no error");
            assert!(contributed(&outcome), "killed at {polls}: {outcome:?}");
        }
        let identity = IdentityKey::from_seed(&victim.keys.identity_seed().await.expect("memory")).public();
        let digests = {
            let coordinator = shared.lock().expect("no panic");
            coordinator.assert_one_message_each();
            let released = coordinator.released.as_ref().expect("released");
            assert_eq!(released.n_survivors as usize, COHORT - usize::from(paid_in_vain), "killed at {polls}");
            check(&released.vectors, paid_in_vain);
            let sent = coordinator.sent.iter().filter(|sent| (sent.stage, sent.from) == (2, identity));
            sent.map(|sent| Digest::of(&sent.payload).hex()).collect::<Vec<_>>()
        };
        let report = client(victim.clone()).privacy_report().await.expect("whole");
        let paid: Vec<_> = report.receipts.iter().filter(|receipt| receipt.number == Some(3)).collect();
        assert_eq!(paid.len(), 1, "killed at {polls}: paid once, by name");
        assert_eq!(paid[0].sent, digests.first().cloned(), "killed at {polls}: what was sent is what was released");
        damaged += report.receipts.len() - paid.len();
        if survived {
            assert!(polls > 40, "only {polls} points were tried");
            break;
        }
    }
    assert!(survived);
    assert!(in_vain > 0 && damaged > 0, "{in_vain} payments in vain, {damaged} torn records");
}

#[tokio::test]
async fn a_finished_round_is_not_joined_again() {
    let (shared, clock) = (coordinator(), clock());
    let hosts: Vec<_> = (0..COHORT).map(|number| host(&shared, &clock, number)).collect();
    let devices: Vec<_> = hosts.iter().cloned().enumerate().map(|(number, host)| spawn(host, number)).collect();
    for device in devices {
        device.await.expect("no panic").expect("no error");
    }
    let sent = shared.lock().expect("no panic").sent.len();
    let outcome = client(hosts[0].clone())
        .participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ())
        .await
        .expect("no error");
    let Outcome::Left { round: Some(_), cause, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(cause.code(), "round_not_newer");
    let coordinator = shared.lock().expect("no panic");
    assert_eq!(coordinator.sent.len(), sent, "no message of any stage was sent");
    assert_eq!(coordinator.left.len(), 1);
    assert!(!hosts[0].store.0.keys().contains(&"round".to_owned()), "nothing of the round is kept");
}

#[tokio::test]
async fn a_device_that_cancels_leaves_and_the_others_finish() {
    let (shared, clock) = (coordinator(), clock());
    let others: Vec<_> = (1..COHORT).map(|number| spawn(host(&shared, &clock, number), number)).collect();
    let canceller = client(host(&shared, &clock, 0));
    canceller.enroll("token", &Cancel::new()).await.expect("enrolls");
    let cancel = Cancel::new();
    let mut observer = |progress: Progress| {
        if progress.phase == Phase::Uploading {
            cancel.cancel();
        }
    };
    let outcome =
        canceller.participate(RunOptions::default(), &mut trainer(0), &cancel, &mut observer).await.expect("no error");
    let Outcome::Left { cause, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(cause.code(), "cancelled");
    assert!(!canceller.host().store.0.keys().contains(&"round".to_owned()));
    for other in others {
        assert!(contributed(&other.await.expect("no panic").expect("no error")));
    }
    let coordinator = shared.lock().expect("no panic");
    assert_eq!(coordinator.left[0].1, "cancelled");
    assert_eq!(coordinator.released.as_ref().expect("released").vectors, sum(1..COHORT));
}

#[tokio::test]
async fn outcomes_without_a_round() {
    let (shared, clock) = (coordinator(), clock());
    let device = client(host(&shared, &clock, 0));
    let outcome = participate(&device).await;
    assert!(matches!(&outcome, Outcome::EnrollmentNeeded { code, .. } if code == "not_enrolled"), "{outcome:?}");
    let id = device.enroll("token", &Cancel::new()).await.expect("enrolls");
    assert_eq!(device.enroll("another", &Cancel::new()).await, Ok(id), "an identity stays");
    assert_eq!(device.device().await, Ok(Some(id)));

    let retry = RetryWindow::from_millis(1000);
    let wait = Wait { retry, code: "no_round".into(), sentence: "no round is open".into() };
    shared.lock().expect("no panic").link.busy = Some(wait);
    let now = clock.now();
    let waited = participate(&device).await;
    let Outcome::Waited { until, code, sentence } = &waited else { panic!("{waited:?}") };
    assert_eq!((code.as_str(), sentence.as_str()), ("no_round", "no round is open"));
    assert!((1000..=2000).contains(&now.until(*until).as_millis()), "{until:?}");
    let asked = shared.lock().expect("no panic").calls();
    assert_eq!(participate(&device).await, waited, "nobody is asked before the time, and the answer is the same");
    assert_eq!(participate(&client(device.host().clone())).await, waited, "also after a restart");
    assert_eq!(shared.lock().expect("no panic").calls(), asked);

    clock.advance(Duration::from_secs(10));
    shared.lock().expect("no panic").link.lose_every = 1;
    let Outcome::Waited { code, until, .. } = participate(&device).await else { panic!("waits") };
    assert_eq!(code, "unreachable");

    clock.advance(clock.now().until(until));
    let busy = FixedConditions(DeviceConditions { unmetered: Some(false), ..DeviceConditions::FINE });
    let device = client(Parts { conditions: busy, ..device.host().clone() });
    let Outcome::Waited { code, sentence, .. } = participate(&device).await else { panic!("waits") };
    assert_eq!((code.as_str(), sentence.as_str()), ("conditions", Condition::Unmetered.sentence()));
    let asked_for = RunOptions { ignore_conditions: true, ..RunOptions::default() };
    let outcome = device.participate(asked_for, &mut trainer(0), &Cancel::new(), &mut ()).await.expect("no error");
    assert!(matches!(&outcome, Outcome::Waited { code, .. } if code == "unreachable"), "{outcome:?}");
}

/// One participation without options, of device 0.
async fn participate(device: &Client<TestHost>) -> Outcome {
    device.participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ()).await.expect("no error")
}

#[tokio::test]
async fn a_final_refusal_ends_the_round_and_a_passing_one_does_not() {
    let (shared, clock) = (coordinator(), clock());
    let problem = Problem { code: "round_over".into(), sentence: "the round is over".into(), remedy: Remedy::Leave };
    shared.lock().expect("no panic").link.refusal = Some(problem);
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let Outcome::Left { cause, .. } =
        device.participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ()).await.expect("no error")
    else {
        panic!("leaves");
    };
    assert_eq!(cause.code(), "round_over");

    // A refusal that may pass is tried again until the signed deadline, on a fresh device.
    let remedy = Remedy::Resend(RetryWindow::from_millis(60_000));
    let problem = Problem { code: "overloaded".into(), sentence: "too busy".into(), remedy };
    shared.lock().expect("no panic").link.refusal = Some(problem);
    let device = client(host(&shared, &clock, 1));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let Outcome::Left { cause, .. } =
        device.participate(RunOptions::default(), &mut trainer(1), &Cancel::new(), &mut ()).await.expect("no error")
    else {
        panic!("leaves");
    };
    assert_eq!(cause.code(), "deadline");
    assert!(shared.lock().expect("no panic").sent.len() > 10, "it was tried again and again");
}

#[tokio::test]
async fn a_damaged_store_is_an_error_or_a_lost_round_but_never_a_second_one() {
    let (shared, clock) = (coordinator(), clock());
    let host = host(&shared, &clock, 0);
    let device = client(host.clone());
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    host.store.put("round", b"damaged").await.expect("memory");
    host.store.put("history", b"damaged").await.expect("memory");
    let error = device
        .participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ())
        .await
        .expect_err("the history is gone");
    assert_eq!(error.code(), "store");
    assert!(shared.lock().expect("no panic").sent.is_empty());

    host.store.delete("history").await.expect("memory");
    shared.lock().expect("no panic").link.busy =
        Some(Wait { retry: RetryWindow::from_millis(1), code: "no_round".into(), sentence: "none".into() });
    let outcome = device
        .participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ())
        .await
        .expect("the round is given up");
    assert!(matches!(outcome, Outcome::Waited { .. }), "{outcome:?}");
    assert!(!host.store.0.keys().contains(&"round".to_owned()));
}

#[tokio::test]
async fn progress_never_falls() {
    let (shared, clock) = (coordinator(), clock());
    let others: Vec<_> = (1..COHORT).map(|number| spawn(host(&shared, &clock, number), number)).collect();
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let mut seen = vec![];
    let mut watching = |progress: Progress| seen.push(progress);
    device.participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut watching).await.expect("no error");
    for other in others {
        other.await.expect("no panic").expect("no error");
    }
    assert!(seen.windows(2).all(|pair| pair[0].permille() <= pair[1].permille()), "{seen:?}");
    assert_eq!(seen.first().map(|progress| progress.phase), Some(Phase::CheckingIn));
    assert_eq!(seen.last().map(Progress::permille), Some(1000));
    assert!(seen.iter().all(|progress| !progress.sentence().is_empty()));
    let has = |wanted: fn(&ProgressEvent) -> bool| seen.iter().any(|progress| wanted(&progress.event));
    assert!(has(|event| matches!(event, ProgressEvent::Downloaded { bytes, of } if bytes == of)));
    assert!(has(|event| matches!(event, ProgressEvent::Step { step: 1, of: 1, .. })));
    assert!(has(|event| matches!(event, ProgressEvent::Paid { .. })));
    assert!(has(|event| matches!(event, ProgressEvent::Uploaded { bytes, of } if bytes == of)));
}

#[tokio::test]
async fn a_store_holds_nothing_in_clear() {
    let (shared, clock) = (coordinator(), clock());
    let host = host(&shared, &clock, 0);
    let device = client(host.clone());
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    // Killed while it waits for the others' keys.
    let killed =
        killed_after(200, device.participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ())).await;
    assert!(killed.is_none());
    let token = Digest(IdentityKey::from_seed(&host.keys.identity_seed().await.expect("memory")).public()).hex();
    for key in host.store.0.keys().iter().filter(|key| !key.starts_with("model")) {
        let bytes = host.store.get(key).await.expect("memory").expect("there");
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(!holds(token.as_bytes()) && !holds(fixtures::task().as_str().as_bytes()), "{key}");
    }
    assert!(host.store.0.keys().contains(&"history".to_owned()), "the number is remembered by now");
}
