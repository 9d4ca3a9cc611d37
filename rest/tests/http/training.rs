//! Training jobs over HTTP; their streams are in `streams`.

use http::StatusCode;
use scale_rest::training::{Outcome, Report};
use serde_json::json;
use uuid::Uuid;

use super::world::World;

#[tokio::test]
async fn a_person_has_one_active_job() {
    let world = World::new().await;
    let person = world.person();
    let (job, credential) = person.job().await;
    assert_eq!(credential.len(), 48);
    let second = person.post("/api/v1/training/jobs", &json!({"model_type": "categorizer"})).await;
    assert_eq!((second.status, &second.json()["id"]), (StatusCode::CONFLICT, &json!(job)));
    assert!(!second.text().contains("credential"));

    let round = Uuid::new_v4();
    let report = |done_permille| Report { done_permille, round_id: Some(round) };
    world.hub.report(&credential, report(420)).await.unwrap();
    let status = person.get(&format!("/api/v1/training/status/{job}")).await.json();
    assert_eq!((&status["status"], &status["done_permille"]), (&json!("processing"), &json!(420)));
    assert_eq!(status["round_id"], round.to_string());

    let outcome = Outcome::Committed { version: 43, metrics: [("accuracy".to_owned(), 0.94)].into() };
    assert_eq!(world.hub.round_ended(round, &outcome).await.unwrap(), 1);
    let done = person.get(&format!("/api/v1/training/status/{job}")).await.json();
    assert_eq!((&done["status"], &done["model_version"]), (&json!("completed"), &json!(43)));
    assert_eq!(done["metrics"], json!({"accuracy": 0.94}));

    let (next, _) = person.job().await;
    let listed = person.get("/api/v1/training/jobs").await.json();
    let ids: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
    assert_eq!(ids, [json!(next), json!(job)]);
}

#[tokio::test]
async fn a_job_can_be_cancelled_and_then_begun_anew() {
    let world = World::new().await;
    let person = world.person();
    let (job, credential) = person.job().await;
    let path = format!("/api/v1/training/jobs/{job}");
    let cancelled = person.delete(&path).await.json();
    assert_eq!((&cancelled["status"], &cancelled["failure"]), (&json!("failed"), &json!("cancelled by the person")));
    let report = Report { done_permille: 10, round_id: None };
    assert_eq!(world.hub.report(&credential, report).await.unwrap_err().code(), "job_ended");
    assert_eq!(person.delete(&path).await.json(), cancelled, "a job that has ended stays what it is");
    person.job().await;
}

#[tokio::test]
async fn the_newest_model_is_named_with_its_digest() {
    let world = World::new().await;
    let person = world.person();
    let model = person.get("/api/v1/models/latest?task=categorizer").await;
    assert_eq!(
        model.json(),
        json!({
            "task": "categorizer", "version": 43, "sha256": "ab".repeat(32), "url": "https://models.example/v43?sig=x",
            "url_expires": "2026-11-23T01:00:00Z", "size_bytes": 1_000_000, "created_at": "2026-11-23T00:00:00Z",
        })
    );
}
