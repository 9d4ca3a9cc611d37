//! Everything of one person.

use http::StatusCode;
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn an_export_holds_everything_however_much() {
    let world = World::new().await;
    let person = world.person();
    let mut file = String::from("date,description,amount,currency\n");
    for row in 0..450 {
        file.push_str(&format!("2026-02-{:02},Row {row},-{}.00,EUR\n", row % 28 + 1, row + 1));
    }
    assert_eq!(person.import("", "text/csv", file).await.status, StatusCode::CREATED);
    person.post("/api/v1/categories", &json!({"slug": "own", "name": "Own"})).await;
    let (job, credential) = person.job().await;

    let answer = person.get("/api/v1/me/export").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"scale-export.json\"");
    let export = answer.json();
    assert_eq!(export["user_id"], person.user.to_string());
    let rows = export["transactions"].as_array().unwrap();
    assert_eq!(rows.len(), 450);
    let mut ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 450);
    assert_eq!(export["uploads"][0]["inserted"], 450);
    assert_eq!(export["training_jobs"][0]["id"], job);
    assert_eq!(export["categories"], json!([{"slug": "own", "name": "Own", "own": true}]));
    // A secret's hash is of no use to the person.
    assert!(!answer.text().contains("credential") && !answer.text().contains(&hex::encode(&credential[16..])));
    let empty = world.person().get("/api/v1/me/export").await.json();
    assert_eq!(empty["transactions"], json!([]));
}

#[tokio::test]
async fn deletion_leaves_nothing_of_one_and_all_of_the_others() {
    let world = World::new().await;
    let (leaver, other) = (world.person(), world.person());
    let file = "date,description,amount,currency\n2026-01-02,Coffee,-3.20,EUR\n";
    let mut jobs = Vec::new();
    for person in [&leaver, &other] {
        person.transaction("2026-02-01", "3.20", "Coffee").await;
        assert_eq!(person.import("", "text/csv", file).await.status, StatusCode::CREATED);
        jobs.push(person.job().await);
    }
    let gone = leaver.delete("/api/v1/me").await;
    assert_eq!((gone.status, gone.body.len()), (StatusCode::NO_CONTENT, 0));
    for path in ["/api/v1/transactions", "/api/v1/uploads", "/api/v1/training/jobs"] {
        assert_eq!(leaver.get(path).await.json()["items"], json!([]), "{path}");
        assert!(!other.get(path).await.json()["items"].as_array().unwrap().is_empty(), "{path}");
    }
    leaver.get(&format!("/api/v1/training/status/{}", jobs[0].0)).await.problem(404, "not_found");
    let late = scale_rest::training::Report { done_permille: 1, round_id: None };
    assert!(world.hub.report(&jobs[0].1, late).await.is_err());
    // The file is new again.
    assert_eq!(leaver.import("", "text/csv", file).await.status, StatusCode::CREATED);
    assert_eq!(leaver.delete("/api/v1/me").await.status, StatusCode::NO_CONTENT);
    assert_eq!(leaver.delete("/api/v1/me").await.status, StatusCode::NO_CONTENT);
}
