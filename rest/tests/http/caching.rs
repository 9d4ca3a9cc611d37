//! What may be kept, and for how long.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn answers_are_kept_as_the_table_says() {
    let world = World::new().await;
    let person = world.person();
    let id = person.transaction("2026-02-01", "3.20", "Coffee").await["id"].as_str().unwrap().to_owned();
    let (job, _) = person.job().await;
    for (path, kept) in [
        ("/api/v1/transactions".to_owned(), "private, max-age=60, stale-while-revalidate=600"),
        (format!("/api/v1/transactions/{id}"), "private, max-age=60, stale-while-revalidate=600"),
        ("/api/v1/categories".to_owned(), "private, max-age=86400"),
        ("/api/v1/openapi.json".to_owned(), "public, max-age=3600"),
        ("/docs".to_owned(), "public, max-age=3600"),
        ("/api/v1/models/latest?task=categorizer".to_owned(), "no-store"),
        ("/api/v1/training/jobs".to_owned(), "no-store"),
        (format!("/api/v1/training/status/{job}"), "no-store"),
        ("/api/v1/uploads".to_owned(), "no-store"),
        ("/api/v1/me/export".to_owned(), "no-store"),
        ("/api/v1/health".to_owned(), "no-store"),
        ("/api/v1/ready".to_owned(), "no-store"),
    ] {
        let answer = person.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), kept, "{path}");
        let personal = kept.starts_with("private");
        let varies = answer.headers.get_all("vary").iter().any(|value| value == "authorization");
        assert_eq!(varies, personal, "{path}: what is kept for one person is not shown to another");
    }
}

#[tokio::test]
async fn categories_have_a_tag_that_saves_their_bytes() {
    let world = World::new().await;
    let person = world.person();
    let first = person.get("/api/v1/categories").await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && !first.json()["items"].as_array().unwrap().is_empty());
    let again = |tag: &str| {
        let request = person.request(Method::GET, "/api/v1/categories").header("if-none-match", tag);
        person.send(request.body(Body::empty()).unwrap())
    };
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = again(&known).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{known}");
        assert!(answer.body.is_empty());
        assert_eq!((answer.header("etag"), answer.header("cache-control")), (&*tag, "private, max-age=86400"));
    }
    assert_eq!(again("\"other\"").await.status, StatusCode::OK);

    let new = json!({"slug": "model-trains", "name": "Model trains"});
    let created = person.post("/api/v1/categories", &new).await;
    assert_eq!(
        (created.status, created.json()),
        (StatusCode::CREATED, { json!({"slug": "model-trains", "name": "Model trains", "own": true}) })
    );
    person.post("/api/v1/categories", &new).await.problem(409, "category_exists");
    let changed = again(&tag).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_ne!(changed.header("etag"), tag);
    for (slug, name, field) in [("Model", "x", "slug"), ("model", " ", "name"), ("model", &*"x".repeat(81), "name")] {
        let problem = person.post("/api/v1/categories", &json!({"slug": slug, "name": name})).await;
        assert_eq!(problem.problem(422, "invalid_values")["errors"][0]["field"], field);
    }
}
