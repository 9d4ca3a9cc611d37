use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use scale_proto::ids::ModelVersion;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::plan::Plan;
use scale_proto::time::Timestamp;

use super::*;
use crate::device::fixtures::coordinator::{Coordinator, Line};
use crate::device::fixtures::{self, model_file};
use crate::device::{Phase, Progress};
use crate::host::memory::{MemoryClock, MemoryHost};
use crate::train::fresh_weights;
use crate::update;

const COHORT: usize = 12;

type Phone = MemoryHost<Line>;

/// Lines of a bank statement, in two classes.
fn spec() -> ModelSpec {
    ModelSpec {
        labels: ["dining", "fuel"].map(String::from).to_vec(),
        family: Family::TextBag { buckets: 512, dim: 4, ngram_min: 2, ngram_max: 4 },
    }
}

fn plan(model: ModelSpec) -> Plan {
    Plan { fingerprint: model.fingerprint(), model, learning_rate: 0.5, epochs: 3, ..fixtures::plan() }
}

/// One round of that task.
fn round() -> (Arc<Mutex<Coordinator>>, MemoryClock) {
    round_of(spec())
}

fn round_of(spec: ModelSpec) -> (Arc<Mutex<Coordinator>>, MemoryClock) {
    let file = model_file(&spec, &fresh_weights(&spec, 1));
    let plan = plan(spec);
    let config = scale_secagg::config::RoundConfig {
        model_digest: scale_proto::ids::Digest::of(&file).0,
        plan_digest: scale_proto::ids::Digest::of(&plan.encode()).0,
        vectors: update::vectors(&plan),
        ..fixtures::config(&fixtures::plan())
    };
    let mut manifest = fixtures::manifest(&config, &plan);
    manifest.model_bytes = file.len() as u64;
    let shared = Coordinator::new(config, manifest, file, COHORT);
    (shared, MemoryClock::at(Timestamp::from_millis(fixtures::START_MS)).hasty())
}

fn phone(shared: &Arc<Mutex<Coordinator>>, clock: &MemoryClock, number: usize) -> Phone {
    MemoryHost::new(Line(shared.clone()), clock.clone(), [number as u8 + 1; 32])
}

fn app(phone: Phone) -> App<Phone> {
    App::new(phone, AppConfig::new(fixtures::task(), fixtures::task_key().public()))
}

fn statement(lines: usize) -> Vec<TextExample> {
    let line = |number: usize| {
        let (text, label) = match number % 2 {
            0 => (format!("CAFE ROMA {number}"), "dining"),
            _ => (format!("PETROL OSLO {number}"), "fuel"),
        };
        TextExample { id: format!("t{number}"), text, label: label.to_owned(), time: None }
    };
    (0..lines).map(line).collect()
}

/// The other eleven devices of the round.
fn others(shared: &Arc<Mutex<Coordinator>>, clock: &MemoryClock) -> Vec<tokio::task::JoinHandle<Outcome>> {
    let device = |number: usize| {
        let other = app(phone(shared, clock, number));
        tokio::spawn(async move {
            other.enroll("token", &Cancel::new()).await.expect("enrolls");
            other.put_examples(statement(20)).await.expect("fine examples");
            other.participate(RunOptions::default(), &Cancel::new(), &mut ()).await.expect("no error")
        })
    };
    (1..COHORT).map(device).collect()
}

#[tokio::test]
async fn an_app_from_the_first_example_to_predictions_without_a_network() {
    let (shared, clock) = round();
    let phone = phone(&shared, &clock, 0);
    let app = app(phone.clone());
    let fresh = app.status().await.expect("answers");
    assert_eq!((fresh.enrolled, fresh.model.clone(), fresh.last.clone(), fresh.next), (false, None, None, None));
    assert_eq!(app.predict(&["CAFE".into()], 1).await, Err(Error::NoModel));
    let needed = app.participate(RunOptions::default(), &Cancel::new(), &mut ()).await.expect("no error");
    assert!(matches!(needed, Outcome::EnrollmentNeeded { .. }), "{needed:?}");

    app.enroll("token", &Cancel::new()).await.expect("enrolls");
    let mut examples = statement(100);
    examples[7].label = "pets".to_owned();
    let put = app.put_examples(examples).await.expect("fine examples");
    assert_eq!((put.added, put.replaced), (100, 0));
    assert_eq!(app.remove_examples(&["t99".into(), "nothing".into()]).await, Ok(1));

    let others = others(&shared, &clock);
    let mut phases = vec![];
    let mut watching = |progress: Progress| phases.push(progress.phase);
    let outcome = app.participate(RunOptions::default(), &Cancel::new(), &mut watching).await.expect("no error");
    let Outcome::Contributed(contribution) = &outcome else { panic!("{outcome:?}") };
    assert_eq!((&contribution.task, contribution.version), (&fixtures::task(), ModelVersion(1)));
    assert!(
        phases.contains(&Phase::Training),
        "one label that the model does not know costs one example, not the round"
    );
    for other in others {
        assert!(matches!(other.await.expect("no panic"), Outcome::Contributed(_)));
    }

    // Another process, and nobody on the line.
    shared.lock().expect("no panic").link.lose_every = 1;
    let again = self::app(phone.clone());
    let status = again.status().await.expect("answers");
    assert_eq!(status.model.as_ref().map(|model| model.version), Some(ModelVersion(1)));
    assert_eq!((status.examples.total, status.examples.unknown_label), (99, 1));
    assert_eq!(status.last.as_ref().map(|last| last.outcome.as_str()), Some("contributed"));
    assert!(status.enrolled && status.phase.is_none() && status.missing.is_empty());
    let lines = ["CAFE ROMA".to_owned(), "PETROL OSLO".to_owned()];
    let predictions = again.predict(&lines, 2).await.expect("the round has left its model");
    assert_eq!(predictions.len(), 2);
    for prediction in &predictions {
        let [first, second] = &prediction.top[..] else { panic!("{prediction:?}") };
        assert!(first.probability >= second.probability && first.label != second.label);
        assert!((first.probability + second.probability - 1.0).abs() < 1e-5);
    }
    assert_eq!(again.privacy_report().await.expect("whole").receipts.len(), 1);
    again.close().await;
}

#[tokio::test]
async fn forgetting_leaves_nothing_and_a_running_round_forbids_it() {
    let (shared, clock) = round();
    let phone = phone(&shared, &clock, 0);
    let app = app(phone.clone());
    let first = app.enroll("token", &Cancel::new()).await.expect("enrolls");
    app.put_examples(statement(40)).await.expect("fine examples");
    app.refresh_model(&Cancel::new()).await.expect("loads").expect("a model");
    app.privacy_report().await.expect("a ledger");
    app.forget(Forget::Examples).await.expect("deletes");
    assert_eq!(app.status().await.expect("answers").examples.total, 0);
    assert!(!phone.store.keys().iter().any(|key| key.starts_with("examples")), "{:?}", phone.store.keys());
    assert!(app.predict(&["CAFE".into()], 1).await.is_ok(), "the model stays");

    let (cancel, mut watching) = (Cancel::new(), ());
    let running = app.participate(RunOptions::default(), &cancel, &mut watching);
    let forgetting = async {
        while app.client().phase().is_none() {
            tokio::task::yield_now().await;
        }
        let refused = app.forget(Forget::Everything).await;
        cancel.cancel();
        refused
    };
    let (_, refused) = tokio::join!(running, forgetting);
    assert_eq!(refused, Err(Error::AlreadyRunning));
    assert_eq!(app.client().device().await, Ok(Some(first)), "nothing was deleted");

    app.forget(Forget::Everything).await.expect("deletes");
    assert_eq!(phone.store.keys(), Vec::<String>::new());
    assert_eq!(phone.ledger.bytes(), Vec::<u8>::new());
    assert_eq!(app.client().device().await, Ok(None));
    assert_eq!(app.predict(&["CAFE".into()], 1).await, Err(Error::NoModel));
    let second = app.enroll("token", &Cancel::new()).await.expect("enrolls again");
    assert_ne!(first, second, "the next person's device is another one");
    assert!(app.privacy_report().await.expect("a new ledger").receipts.is_empty());
}

#[tokio::test]
async fn everything_else_answers_while_a_round_runs() {
    let (shared, clock) = round();
    let app = app(phone(&shared, &clock, 0));
    app.enroll("token", &Cancel::new()).await.expect("enrolls");
    app.put_examples(statement(40)).await.expect("fine examples");
    app.refresh_model(&Cancel::new()).await.expect("loads").expect("a model");
    let others = others(&shared, &clock);
    let beside = {
        let app = app.clone();
        tokio::spawn(async move {
            let mut answered = 0_u32;
            while app.client().phase().is_none() {
                tokio::task::yield_now().await;
            }
            while app.client().phase().is_some() {
                app.put_examples(statement(3)).await.expect("fine examples");
                app.predict(&["CAFE".into()], 1).await.expect("a model");
                app.status().await.expect("answers");
                app.privacy_report().await.expect("readable");
                assert_eq!(app.refresh_model(&Cancel::new()).await, Ok(None));
                answered += 1;
                tokio::task::yield_now().await;
            }
            answered
        })
    };
    let outcome = app.participate(RunOptions::default(), &Cancel::new(), &mut ()).await.expect("no error");
    assert!(matches!(outcome, Outcome::Contributed(_)), "{outcome:?}");
    assert!(beside.await.expect("no panic") > 0);
    for other in others {
        assert!(matches!(other.await.expect("no panic"), Outcome::Contributed(_)));
    }
}

#[tokio::test]
async fn a_damaged_model_is_loaded_again_and_never_used() {
    let (shared, clock) = round();
    let phone = phone(&shared, &clock, 0);
    let app = app(phone.clone());
    app.enroll("token", &Cancel::new()).await.expect("enrolls");
    app.refresh_model(&Cancel::new()).await.expect("loads").expect("a model");
    let piece = phone.store.keys().into_iter().find(|key| key.starts_with("model/")).expect("stored");
    let mut bytes = phone.store.get(&piece).await.expect("memory").expect("there");
    bytes[100] ^= 1;
    phone.store.put(&piece, &bytes).await.expect("memory");
    assert_eq!(app.predict(&["CAFE".into()], 1).await, Err(Error::NoModel));
    // The version is the same, and yet it is loaded again.
    assert!(app.refresh_model(&Cancel::new()).await.expect("loads").is_some());
    assert!(app.predict(&["CAFE".into()], 1).await.is_ok());
}

/// With the model of the demo: 1,179,990 parameters.
#[tokio::test]
async fn a_thousand_lines_take_milliseconds_after_the_first_call() {
    let spec = ModelSpec {
        labels: (0..30).map(|class| format!("class {class}")).collect(),
        family: Family::TextBag { buckets: 36_000, dim: 32, ngram_min: 2, ngram_max: 5 },
    };
    let parameters = spec.flat_len();
    let (shared, clock) = round_of(spec);
    let phone = phone(&shared, &clock, 0);
    let before = app(phone.clone());
    before.enroll("token", &Cancel::new()).await.expect("enrolls");
    before.refresh_model(&Cancel::new()).await.expect("loads").expect("a model");
    // A new process, without a network.
    shared.lock().expect("no panic").link.lose_every = 1;
    let app = app(phone);
    let lines: Vec<String> = (0..1000).map(|number| format!("VISA PURCHASE CAFE {number} ROMA 12/03")).collect();
    let time = Instant::now();
    app.predict(&lines[..1], 1).await.expect("a model");
    let first = time.elapsed();
    let time = Instant::now();
    let predictions = app.predict(&lines, 1).await.expect("a model");
    let then = time.elapsed();
    #[allow(clippy::print_stdout)]
    {
        println!("first prediction {first:?}, then 1,000 lines {then:?}, {parameters} parameters");
    }
    assert_eq!(predictions.len(), 1000);
    // Figures of an optimized build are in the note of the change; nothing optimizes this one.
    assert!(first < Duration::from_secs(5) && then < Duration::from_secs(2), "{first:?}, {then:?}");
}

/// What a device can do without is replaced, and what it cannot is said with the way out.
#[tokio::test]
async fn one_damaged_entry_does_not_stop_an_app() {
    for key in ["pace", "last-run", "participations", "enrollment"] {
        let (shared, clock) = round();
        let phone = phone(&shared, &clock, 0);
        let app = app(phone.clone());
        let first = app.enroll("token", &Cancel::new()).await.expect("enrolls");
        app.put_examples(statement(20)).await.expect("fine examples");
        phone.store.put(key, b"damaged").await.expect("memory");
        assert!(app.status().await.is_ok(), "{key}");
        assert!(app.privacy_report().await.is_ok(), "{key}");
        assert_eq!(app.enroll("token", &Cancel::new()).await, Ok(first), "{key}: the same device");
        let others = others(&shared, &clock);
        let outcome = app.participate(RunOptions::default(), &Cancel::new(), &mut ()).await.expect("no error");
        assert!(matches!(outcome, Outcome::Contributed(_)), "{key}: {outcome:?}");
        for other in others {
            assert!(matches!(other.await.expect("no panic"), Outcome::Contributed(_)), "{key}");
        }
    }
}

/// A background task beside the open app: one after the other, neither loses what the other has done.
#[tokio::test]
async fn two_apps_on_one_store_see_each_others_examples() {
    let (shared, clock) = round();
    let phone = phone(&shared, &clock, 0);
    let (one, two) = (app(phone.clone()), app(phone.clone()));
    one.put_examples(statement(200)).await.expect("fine examples");
    let more = statement(300).split_off(200);
    assert_eq!(two.put_examples(more).await.expect("fine examples").added, 100);
    assert_eq!(one.status().await.expect("answers").examples.total, 300);
    let removed: Vec<String> = (0..150).map(|number| format!("t{number}")).collect();
    assert_eq!(one.remove_examples(&removed).await, Ok(150));
    two.put_examples(statement(1)).await.expect("fine examples");
    assert_eq!(two.status().await.expect("answers").examples.total, 151, "what was removed stays removed");
    one.forget(Forget::Examples).await.expect("deletes");
    assert_eq!(two.put_examples(statement(5)).await.expect("fine examples").added, 5);
    let counts = app(phone).status().await.expect("answers").examples;
    assert_eq!((counts.total, counts.damaged), (5, 0));
}

#[tokio::test]
async fn two_reports_and_a_report_beside_forgetting_wait_for_each_other() {
    let (shared, clock) = round();
    let app = app(phone(&shared, &clock, 0));
    app.enroll("token", &Cancel::new()).await.expect("enrolls");
    let (one, two) = tokio::join!(app.privacy_report(), app.privacy_report());
    assert!(one.is_ok() && two.is_ok(), "{one:?}, {two:?}");
    let (report, forgotten) = tokio::join!(app.privacy_report(), app.forget(Forget::Everything));
    assert!(report.is_ok() && forgotten.is_ok(), "{report:?}, {forgotten:?}");
}

/// A manifest once named another size: the right one is believed as soon as its file has been verified.
#[tokio::test]
async fn a_wrong_size_that_was_announced_once_spoils_nothing() {
    let (shared, clock) = round();
    let phone = phone(&shared, &clock, 0);
    let app = app(phone.clone());
    app.enroll("token", &Cancel::new()).await.expect("enrolls");
    let file = model_file_of(&shared);
    let wanted = crate::download::Wanted {
        url: "https://models.invalid/1".into(),
        bytes: file.len() as u64 - 1,
        digest: scale_proto::ids::Digest::of(&file),
    };
    crate::download::fetch(&phone, &wanted, |_| ()).await.expect_err("more bytes than were announced");
    app.refresh_model(&Cancel::new()).await.expect("loads").expect("a model");
    assert!(app.predict(&["CAFE".into()], 1).await.is_ok());
    assert!(app.status().await.expect("answers").model.is_some());
}

fn model_file_of(shared: &Arc<Mutex<Coordinator>>) -> Vec<u8> {
    shared.lock().expect("no panic").file.clone()
}

#[tokio::test]
async fn closing_waits_for_what_still_runs() {
    let (shared, clock) = round();
    let app = app(phone(&shared, &clock, 0));
    app.enroll("token", &Cancel::new()).await.expect("enrolls");
    app.put_examples(statement(20)).await.expect("fine examples");
    let cancel = Cancel::new();
    // Nobody else is in the round: it waits for the others' keys.
    let running = {
        let (app, cancel) = (app.clone(), cancel.clone());
        tokio::spawn(async move { app.participate(RunOptions::default(), &cancel, &mut ()).await })
    };
    while app.client().phase() != Some(Phase::Keys) {
        tokio::task::yield_now().await;
    }
    let closing = tokio::spawn(app.clone().close());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!closing.is_finished(), "the participation still holds the ledger");
    cancel.cancel();
    running.await.expect("no panic").expect("no error");
    closing.await.expect("no panic");
}

#[tokio::test]
async fn examples_of_a_newer_version_can_be_deleted_and_those_of_the_future_age() {
    let (shared, clock) = round();
    let phone = phone(&shared, &clock, 0);
    let old = app(phone.clone());
    crate::storage::put_sealed(&phone, "examples/00", &[99]).await.expect("memory");
    let refused = old.status().await.expect_err("a newer version's");
    assert!(refused.to_string().contains("update the app"), "{refused}");
    old.forget(Forget::Examples).await.expect("deletes");
    assert_eq!(old.status().await.expect("answers").examples.total, 0);

    let mut future = statement(2);
    future[0].time = Some(Timestamp::from_millis(u64::MAX - 1));
    old.put_examples(future).await.expect("fine examples");
    clock.advance(Duration::from_secs(401 * 24 * 60 * 60));
    old.put_examples(vec![statement(3).pop().expect("three")]).await.expect("fine examples");
    assert_eq!(old.status().await.expect("answers").examples.total, 1, "both are older than 400 days by now");
}
