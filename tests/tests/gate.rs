//! Real clients behind the gate, ordered as the tests of apps order it: whatever it withholds in a round, the round's sum is
//! exact, and the gate is there for the next device.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::try_join_all;
use scale_client_core::app::{App, AppConfig};
use scale_client_core::device::{Cancel, Client, Outcome, Phase, Progress, Requirements, RunOptions};
use scale_client_core::error::{CallError, Error, ModelError};
use scale_client_core::examples::TextExample;
use scale_proto::ids::{Digest, TaskId};
use scale_tests::gate::Gate;
use scale_tests::phone;
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::small_task;
use scale_tests::trainer::MovesFirst;
use scale_tests::world::{Order, World};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
const TASK: &str = "gated";

/// The phases of a round in which a device calls, and what they are called to the gate.
const PHASES: [(Phase, &str); 7] = [
    (Phase::CheckingIn, "checking_in"),
    (Phase::Downloading, "downloading"),
    (Phase::Keys, "keys"),
    (Phase::Shares, "shares"),
    (Phase::Uploading, "uploading"),
    (Phase::Agreeing, "agreeing"),
    (Phase::Unmasking, "unmasking"),
];

/// A world with a gate, a task and native devices.
struct Scene {
    world: World,
    url: String,
    task_key: [u8; 32],
    /// As the order `task` answered.
    task: Value,
}

impl Scene {
    /// `natives` devices of twelve are native ones.
    async fn set(natives: u8, task: Value) -> Self {
        let mut world = World::new(PathBuf::from(BINARY));
        let told = tell(&mut world, json!({ "do": "start", "gate": true })).await;
        let mut order = json!({ "do": "task", "name": TASK, "labels": ["dining", "fuel"], "devices": 12 });
        order.as_object_mut().unwrap().extend(task.as_object().unwrap().clone());
        let task = tell(&mut world, order).await;
        if natives > 0 {
            tell(&mut world, json!({ "do": "natives", "task": TASK, "count": natives })).await;
        }
        let task_key = hex::decode(told["task_key"].as_str().unwrap()).unwrap().try_into().unwrap();
        Self { world, url: told["url"].as_str().unwrap().to_owned(), task_key, task }
    }

    async fn tell(&mut self, order: Value) -> Value {
        tell(&mut self.world, order).await
    }

    async fn refusal(&mut self, order: Value) -> String {
        self.world.obey(Order::read(&order).unwrap()).await.unwrap_err().to_string()
    }

    async fn token(&mut self) -> String {
        self.tell(json!({ "do": "token" })).await["token"].as_str().unwrap().to_owned()
    }

    /// A device behind the gate.
    async fn device(&mut self, number: u8) -> Device {
        let (token, task) = (self.token().await, TASK.parse::<TaskId>().unwrap());
        let client = phone::enrolled(self.url.clone(), number, &token, &task, self.task_key).await.unwrap();
        let step = self.task["step"].as_f64().unwrap() as f32;
        Device { client: Arc::new(client), step, phase: Arc::default() }
    }

    /// The round has published what so many apps, which all have moved the first weight, and the native devices put in.
    async fn assert_exact_sum(&mut self, number: u64, apps: i64) {
        let weights = vec![&self.task["max_weight"]; usize::try_from(apps).unwrap()];
        let sum = json!({ "do": "sum", "task": TASK, "number": number, "apps": weights });
        let moved = apps * self.task["units"].as_i64().unwrap();
        assert_eq!(self.tell(sum).await, json!({ "survivors": 12, "beyond": [[0, moved]] }));
    }
}

async fn tell(world: &mut World, order: Value) -> Value {
    world.obey(Order::read(&order).unwrap()).await.unwrap()
}

/// Numbers that no device of a world has.
const NUMBERS: [u8; 3] = [201, 202, 203];

#[derive(Clone)]
struct Device {
    client: Arc<Client<phone::Host>>,
    step: f32,
    phase: Arc<Mutex<Option<Phase>>>,
}

impl Device {
    /// Takes part until it has contributed; the round's number.
    fn participate(&self) -> JoinHandle<u64> {
        let Self { client, step, phase } = self.clone();
        tokio::spawn(async move {
            let mut seen = |progress: Progress| *phase.lock().unwrap() = Some(progress.phase);
            let options = RunOptions { budget: Some(Duration::from_secs(60)), ..RunOptions::default() };
            loop {
                let mut trainer = MovesFirst(step);
                match client.participate(options.clone(), &mut trainer, &Cancel::new(), &mut seen).await.unwrap() {
                    Outcome::Contributed(contribution) => break contribution.number,
                    Outcome::Waited { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
                    other => panic!("{other:?}"),
                }
            }
        })
    }

    /// Takes part once.
    async fn call(&self) -> Outcome {
        self.client
            .participate(RunOptions::default(), &mut MovesFirst(self.step), &Cancel::new(), &mut ())
            .await
            .unwrap()
    }

    fn phase(&self) -> Option<Phase> {
        *self.phase.lock().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_is_withheld_in_every_phase_publishes_the_exact_sum() {
    let mut scene = Scene::set(11, json!({})).await;
    let device = scene.device(NUMBERS[0]).await;
    for (_, call) in PHASES {
        scene.tell(json!({ "do": "hold", "call": call })).await;
    }
    scene.tell(json!({ "do": "play", "task": TASK, "rounds": 1 })).await;
    let participation = device.participate();
    for (phase, call) in PHASES {
        assert_eq!(scene.tell(json!({ "do": "reached", "call": call })).await, json!({ "call": call }));
        assert_eq!(device.phase(), Some(phase));
        // Nothing goes on behind the gate's back.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(device.phase(), Some(phase));
        let rounds = scene.tell(json!({ "do": "rounds", "task": TASK })).await;
        assert_ne!(rounds["rounds"][0]["phase"], "finished", "{call}");
        scene.tell(json!({ "do": "release", "call": call })).await;
    }
    let number = participation.await.unwrap();
    scene.assert_exact_sum(number, 1).await;
}

/// Three apps beside nine native devices, as a round of several kinds of apps has them.
#[tokio::test(flavor = "multi_thread")]
async fn the_sum_is_that_of_several_apps() {
    let mut scene = Scene::set(9, json!({})).await;
    let mut devices = vec![];
    for number in NUMBERS {
        devices.push(scene.device(number).await);
    }
    scene.tell(json!({ "do": "play", "task": TASK, "rounds": 2 })).await;
    for _ in 0..2 {
        let participations = try_join_all(devices.iter().map(Device::participate)).await.unwrap();
        let number = participations[0];
        assert_eq!(participations, [number; 3], "all of them are in one round");
        scene.assert_exact_sum(number, 3).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_goes_away_while_it_is_held_leaves_the_gate_to_the_next() {
    let mut scene = Scene::set(11, json!({})).await;
    let device = scene.device(NUMBERS[0]).await;
    scene.tell(json!({ "do": "play", "task": TASK, "rounds": 1 })).await;
    // A process that is killed in each phase, and comes back; every second time, before it has heard what the coordinator
    // knows already.
    for (number, (phase, call)) in PHASES.into_iter().enumerate() {
        scene.tell(json!({ "do": "hold", "call": call, "answered": number % 2 == 1 })).await;
        let participation = device.participate();
        assert_eq!(scene.tell(json!({ "do": "reached" })).await, json!({ "call": call }));
        assert_eq!(device.phase(), Some(phase));
        participation.abort();
        assert!(participation.await.unwrap_err().is_cancelled());
        scene.tell(json!({ "do": "release" })).await;
    }
    let number = device.participate().await.unwrap();
    scene.assert_exact_sum(number, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_can_be_withheld_that_the_coordinator_has_given() {
    let mut scene = Scene::set(11, json!({})).await;
    let device = scene.device(NUMBERS[0]).await;
    scene.tell(json!({ "do": "hold", "call": "unmasking", "answered": true })).await;
    scene.tell(json!({ "do": "play", "task": TASK, "rounds": 1 })).await;
    let participation = device.participate();
    scene.tell(json!({ "do": "reached", "call": "unmasking" })).await;
    let number = scene.tell(json!({ "do": "rounds", "task": TASK })).await["rounds"][0]["number"].as_u64().unwrap();
    scene.assert_exact_sum(number, 1).await;
    assert!(!participation.is_finished(), "the device cannot know that the round is over");
    scene.tell(json!({ "do": "release" })).await;
    assert_eq!(participation.await.unwrap(), number);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_away_is_away_behind_the_gate_too() {
    let mut scene = Scene::set(0, json!({})).await;
    let (device, token) = (scene.device(NUMBERS[0]).await, scene.token().await);
    let newcomer = phone::host(scene.url.clone(), NUMBERS[1]).unwrap();
    let newcomer = phone::client(newcomer, &TASK.parse().unwrap(), scene.task_key);
    scene.tell(json!({ "do": "kill" })).await;
    let away = newcomer.enroll(&token, &Cancel::new()).await;
    assert!(matches!(away, Err(Error::Call(CallError::Unreachable(_)))), "{away:?}");
    scene.tell(json!({ "do": "restart" })).await;
    newcomer.enroll(&token, &Cancel::new()).await.unwrap();

    scene.tell(json!({ "do": "revoke" })).await;
    let outcome = device.call().await;
    assert!(matches!(&outcome, Outcome::EnrollmentNeeded { code, .. } if code == "bad_token"), "{outcome:?}");
    let token = scene.token().await;
    device.client.enroll(&token, &Cancel::new()).await.unwrap();
    let outcome = device.call().await;
    assert!(matches!(&outcome, Outcome::Waited { code, .. } if code == "selecting"), "{outcome:?}");
}

/// What apps must be able to meet: a budget that is used up, and a model that somebody has changed.
#[tokio::test(flavor = "multi_thread")]
async fn an_app_behind_the_gate_meets_an_empty_budget_and_another_model() {
    let mut scene = Scene::set(0, json!({ "privacy": "example", "grace_ms": 2_000 })).await;
    let mut config = AppConfig::new(TASK.parse().unwrap(), scene.task_key);
    config.requirements = Requirements::NONE;
    config.guardrails.privacy.lifetime.example = 1e-3;
    let app = App::new(phone::host(scene.url.clone(), NUMBERS[0]).unwrap(), config);
    app.enroll(&scene.token().await, &Cancel::new()).await.unwrap();
    let example = |number: usize| TextExample {
        id: number.to_string(),
        text: format!("CAFE ROMA {number}"),
        label: "dining".to_owned(),
        time: None,
    };
    app.put_examples((0..40).map(example).collect()).await.unwrap();
    // One of them only asks for a key: a round needs the app to begin.
    scene.tell(json!({ "do": "crowd", "task": TASK, "count": 12 })).await;
    let outcome = loop {
        match app.participate(RunOptions::default(), &Cancel::new(), &mut ()).await.unwrap() {
            Outcome::Waited { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
            outcome => break outcome,
        }
    };
    let Outcome::Left { cause, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(cause.code(), "budget_exhausted");

    assert!(scene.tell(json!({ "do": "tamper" })).await["changed"].as_u64() > Some(0));
    let model = app.refresh_model(&Cancel::new()).await;
    assert_eq!(model.unwrap_err(), Error::Model(ModelError::DigestMismatch));
}

/// A download as a phone's own HTTP client makes it, over both versions of HTTP.
#[tokio::test(flavor = "multi_thread")]
async fn downloads_pass_in_parts_over_http_1_and_2() {
    let mut coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let gate = Gate::before(&coordinator.url()).await.unwrap();
    coordinator.kill().unwrap();
    coordinator.restart_with(&["--public-url", gate.url()]).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    admin.create_task(TASK, small_task(12, 60_000)).await.unwrap();
    let model = admin.models(TASK).await.unwrap().remove(0);
    assert!(model.url.starts_with(gate.url()), "{}", model.url);

    let http_2 = reqwest::Client::builder().http2_prior_knowledge();
    for (client, version) in [(reqwest::Client::builder(), "HTTP/1.1"), (http_2, "HTTP/2.0")] {
        let client = client.build().unwrap();
        let part = async |range: &str| {
            let answer = client.get(&model.url).header("range", range).send().await.unwrap();
            assert_eq!((format!("{:?}", answer.version()), answer.status().as_u16()), (version.to_owned(), 206));
            assert!(answer.headers().contains_key("content-range"), "{version}: {:?}", answer.headers());
            answer.bytes().await.unwrap()
        };
        let file = [part("bytes=0-99").await, part("bytes=100-").await].concat();
        assert_eq!(Digest::of(&file).0[..], model.digest[..], "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_make_no_sense_say_why() {
    let mut scene = Scene::set(0, json!({})).await;
    let keys = json!({ "do": "hold", "call": "keys" });
    scene.tell(keys.clone()).await;
    for (order, sentence) in [
        (keys, "keys is held already: release it first"),
        (json!({ "do": "reached", "call": "shares" }), "shares is not held: hold it first"),
        (json!({ "do": "release", "call": "shares" }), "shares is not held: hold it first"),
    ] {
        assert_eq!(scene.refusal(order).await, sentence);
    }
    scene.tell(json!({ "do": "release" })).await;
    assert_eq!(scene.refusal(json!({ "do": "release" })).await, "nothing is held");
}
