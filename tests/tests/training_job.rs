//! A person's training job follows their device through a round of the real binary.

use futures::future::{join_all, try_join_all};
use scale_proto::{PROTOCOL, wire};
use scale_tests::device::{Joined, RawDevice};
use scale_tests::person::Person;
use scale_tests::process::{Admin, CoordinatorProcess};
use scale_tests::round::small_task;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
const TASK: &str = "watched";

struct Site {
    coordinator: CoordinatorProcess,
    admin: Admin,
    devices: Vec<RawDevice>,
    person: Person,
}

async fn site() -> Site {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    admin.create_task(TASK, small_task(12, 1500)).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let devices = (1..=12).map(|number| RawDevice::enroll(coordinator.url(), number, &token));
    let devices = try_join_all(devices).await.unwrap();
    let person = Person::new(BINARY, &coordinator).unwrap();
    Site { coordinator, admin, devices, person }
}

/// The job's id, and what the device shows.
async fn job(person: &Person) -> (String, Vec<u8>) {
    let (status, created) = person.call("POST", "/training/jobs", Some(&json!({ "model_type": TASK }))).await.unwrap();
    assert_eq!(status, 201, "{created}");
    let credential: scale_proto::answer::JobCredential = created["credential"].as_str().unwrap().parse().unwrap();
    (created["job"]["id"].as_str().unwrap().to_owned(), credential.as_bytes().to_vec())
}

async fn report(device: &RawDevice, joined: &Joined, done_permille: u32, credential: &[u8]) {
    let request = wire::ProgressRequest {
        protocol: PROTOCOL,
        round_id: joined.manifest.round_id.clone(),
        done_permille,
        job_credential: credential.to_vec().into(),
    };
    device.rounds().report_progress(device.request(request)).await.unwrap();
}

/// The job once `wanted` holds of it.
async fn job_when(person: &Person, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..200 {
        let (status, job) = person.call("GET", &format!("/training/status/{id}"), None).await.unwrap();
        assert_eq!(status, 200, "{job}");
        if wanted(&job) {
            return job;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the job did not get there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_with_the_model_that_the_device_went_into() {
    let mut site = site().await;
    let (id, credential) = job(&site.person).await;
    let stranger = Person::new(BINARY, &site.coordinator).unwrap();
    for path in [format!("/training/status/{id}"), format!("/training/stream/{id}")] {
        assert_eq!(stranger.call("GET", &path, None).await.unwrap().0, 404);
    }
    let again = site.person.call("POST", "/training/jobs", Some(&json!({ "model_type": TASK }))).await.unwrap();
    assert_eq!((again.0, again.1["id"].as_str()), (409, Some(&*id)), "one active job a person");

    let watching = {
        let (person, path) = (site.person.clone(), format!("/training/stream/{id}"));
        tokio::spawn(async move { person.stream(&path).await.unwrap() })
    };
    let mut joined = try_join_all(site.devices.iter_mut().map(RawDevice::join)).await.unwrap();
    report(&site.devices[0], &joined[0], 250, &credential).await;
    let begun = job_when(&site.person, &id, |job| job["status"] == "processing").await;
    assert_eq!(begun["done_permille"], 250);
    // Another device's reports, and a credential that was made up, move nothing.
    report(&site.devices[1], &joined[1], 900, &[]).await;
    report(&site.devices[1], &joined[1], 900, &[7; 48]).await;
    report(&site.devices[0], &joined[0], 1000, &credential).await;
    job_when(&site.person, &id, |job| job["done_permille"] == 1000).await;

    let round = joined[0].manifest.round_id.clone();
    join_all(site.devices.iter_mut().zip(&mut joined).map(|(device, joined)| async move {
        device.advertise(joined).await.unwrap();
        device.share(joined).await.unwrap();
        device.upload(joined, usize::MAX).await.unwrap();
        device.survivors(joined).await.unwrap();
        device.confirm(joined).await.unwrap();
        device.reveal(joined).await.unwrap();
    }))
    .await;
    assert_eq!(site.admin.closed_round(&round).await.unwrap().phase, "finished");

    let done = job_when(&site.person, &id, |job| job["status"] == "completed").await;
    assert_eq!(done["model_version"], 2, "{done}");
    let accuracy = done["metrics"]["accuracy"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&accuracy), "{done}");
    let (status, model) = site.person.call("GET", &format!("/models/latest?task={TASK}"), None).await.unwrap();
    assert_eq!((status, &model["version"]), (200, &json!(2)), "{model}");
    scale_tests::process::http_get(model["url"].as_str().unwrap()).await.unwrap();

    let events = watching.await.unwrap();
    let names: Vec<&str> = events.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names.last(), Some(&"complete"), "{events}");
    assert!(names.len() >= 2 && names[..names.len() - 1].iter().all(|name| *name == "progress"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_fails_with_the_round_also_when_the_coordinator_is_killed_in_between() {
    let mut site = site().await;
    let (id, credential) = job(&site.person).await;
    let joined = try_join_all(site.devices.iter_mut().map(RawDevice::join)).await.unwrap();
    report(&site.devices[0], &joined[0], 0, &credential).await;
    job_when(&site.person, &id, |job| job["status"] == "processing").await;

    site.coordinator.kill().unwrap();
    site.coordinator.restart().await.unwrap();
    let kept = job_when(&site.person, &id, |_| true).await;
    assert_eq!(kept["status"], "processing", "{kept}");
    site.admin = site.coordinator.admin().await.unwrap();
    let request = wire::AbandonRoundRequest {
        round_id: joined[0].manifest.round_id.clone(),
        reason: "the operator wants it so".into(),
    };
    let request = site.admin.request(request);
    site.admin.client().abandon_round(request).await.unwrap();
    let failed = job_when(&site.person, &id, |job| job["status"] == "failed").await;
    assert!(failed["failure"].as_str().is_some_and(|reason| reason.contains("the operator wants it so")), "{failed}");
    // Somebody whose job is over may ask for another.
    job(&site.person).await;
}
