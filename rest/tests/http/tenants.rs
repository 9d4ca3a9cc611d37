//! What belongs to somebody else does not exist.

use axum::body::Body;
use http::{Method, StatusCode, header};
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn ids_of_others_are_not_found() {
    let world = World::new().await;
    let (owner, other) = (world.person(), world.person());
    let id = owner.transaction("2026-02-01", "3.20", "Coffee").await["id"].as_str().unwrap().to_owned();
    let (job, _) = owner.job().await;
    for (method, path, body) in [
        (Method::GET, format!("/api/v1/transactions/{id}"), None),
        (Method::DELETE, format!("/api/v1/transactions/{id}"), None),
        (Method::PATCH, format!("/api/v1/transactions/{id}/category"), Some(json!({"category": "theirs"}))),
        (Method::GET, format!("/api/v1/training/status/{job}"), None),
        (Method::GET, format!("/api/v1/training/stream/{job}"), None),
        (Method::DELETE, format!("/api/v1/training/jobs/{job}"), None),
    ] {
        let mut request = other.request(method.clone(), &path);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let theirs = other.send(request.body(body).unwrap()).await.problem(404, "not_found");
        // An id that nobody has sounds the same.
        let nowhere = path.replace(&id, "0198c2f4-5f0e-7000-8000-1f2e3d4c5b6a");
        let nowhere = nowhere.replace(&job, "0198c2f4-5f0e-7000-8000-1f2e3d4c5b6a");
        if method != Method::PATCH {
            let request = other.request(method, &nowhere).body(Body::empty()).unwrap();
            assert_eq!(other.send(request).await.problem(404, "not_found")["detail"], theirs["detail"]);
        }
    }
    // Nothing of all that has changed anything, and the owner sees it.
    let mine = owner.get(&format!("/api/v1/transactions/{id}")).await;
    assert_eq!((mine.status, &mine.json()["category"]), (StatusCode::OK, &json!(null)));
    assert_eq!(owner.get(&format!("/api/v1/training/status/{job}")).await.json()["status"], "pending");
}

#[tokio::test]
async fn lists_and_exports_hold_ones_own_rows_only() {
    let world = World::new().await;
    let (owner, other) = (world.person(), world.person());
    owner.transaction("2026-02-01", "3.20", "Coffee").await;
    owner.job().await;
    assert_eq!(owner.post("/api/v1/devices/enrollment", &json!({})).await.status, StatusCode::CREATED);
    owner.post("/api/v1/categories", &json!({"slug": "own", "name": "Own"})).await;
    let file = "date,description,amount,currency\n2026-01-02,Tea,-3.20,EUR\n";
    assert_eq!(owner.import("", "text/csv", file).await.status, StatusCode::CREATED);
    for path in ["/api/v1/transactions", "/api/v1/uploads", "/api/v1/training/jobs"] {
        assert_eq!(other.get(path).await.json()["items"], json!([]), "{path}");
        assert!(!owner.get(path).await.json()["items"].as_array().unwrap().is_empty(), "{path}");
    }
    let own = |list: serde_json::Value| list["items"].as_array().unwrap().iter().any(|item| item["own"] == true);
    assert!(own(owner.get("/api/v1/categories").await.json()));
    assert!(!own(other.get("/api/v1/categories").await.json()));
    let export = other.get("/api/v1/me/export").await.json();
    for list in ["transactions", "uploads", "training_jobs", "categories", "enrollment_tokens"] {
        assert_eq!(export[list], json!([]), "{list}");
    }
    // The same file is new for somebody else, and so is the same transaction.
    assert_eq!(other.import("", "text/csv", file).await.status, StatusCode::CREATED);
    other.transaction("2026-02-01", "3.20", "Coffee").await;
}
