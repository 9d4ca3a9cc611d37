//! Tokens with which a person enrolls their devices.

use std::collections::HashSet;

use axum::body::Body;
use futures::future::join_all;
use http::{Method, StatusCode};
use scale_clock::Timestamp;
use serde_json::json;

use super::world::{Answer, BROKEN_TTL_S, Client, START, World};

const PATH: &str = "/api/v1/devices/enrollment";
const DAY_MS: u64 = 86_400_000;

async fn ask(person: &Client<'_>) -> Answer {
    person.send(person.request(Method::POST, PATH).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_person_who_has_signed_in_gets_a_token_for_ten_minutes() {
    let world = World::new().await;
    let person = world.person();
    let answer = ask(&person).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let expected = json!({ "token": "scale_enroll_0.x", "expires_at": "2026-11-23T00:10:00Z" });
    assert_eq!(answer.json(), expected);
    assert_eq!(answer.header("cache-control"), "no-store");
    ask(&world.nobody()).await.problem(401, "missing_token");

    let longer = World::with(|config| config.enrollment.token_ttl_s = 3600).await;
    assert_eq!(ask(&longer.person()).await.json()["expires_at"], "2026-11-23T01:00:00Z");
}

#[tokio::test]
async fn five_a_day_and_the_answer_says_when_the_next_one_is_free() {
    let world = World::new().await;
    let (person, other) = (world.person(), world.person());
    let set = |ms: u64| world.clock.set(Timestamp::from_millis(START + ms));
    let mut tokens = HashSet::new();
    for minute in 0..5 {
        set(minute * 60_000);
        tokens.insert(ask(&person).await.json()["token"].as_str().unwrap().to_owned());
    }
    assert_eq!(tokens.len(), 5);
    set(10 * 60_000 + 500);
    let refused = ask(&person).await;
    let problem = refused.problem(429, "too_many_enrollment_tokens");
    assert!(problem["detail"].as_str().unwrap().contains("a person gets 5 in 24 hours"), "{problem}");
    // 24 hours without ten minutes and half a second, rounded up.
    assert_eq!(refused.header("retry-after"), (DAY_MS / 1000 - 600).to_string());
    assert_eq!(ask(&other).await.status, StatusCode::CREATED, "somebody else has their own");

    // Tokens of people last an hour: the same person, with one of the next day.
    let tomorrow = |ms: u64| {
        set(DAY_MS + ms);
        let token = world.token(person.user, scale_rest::auth::Role::User, scale_rest::auth::Assurance::Aal1);
        Client { world: &world, user: person.user, token: Some(token) }
    };
    let early = ask(&tomorrow(0)).await;
    assert_eq!(early.status, StatusCode::CREATED, "the first one's day is over");
    let early = ask(&tomorrow(60_000 - 1)).await;
    early.problem(429, "too_many_enrollment_tokens");
    assert_eq!(early.header("retry-after"), "1");
    assert_eq!(ask(&tomorrow(60_000)).await.status, StatusCode::CREATED, "and the second one's");
    ask(&tomorrow(60_000)).await.problem(429, "too_many_enrollment_tokens");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_calls_at_once_five_get_a_token() {
    let world = World::new().await;
    let person = world.person();
    let answers = join_all((0..20).map(|_| ask(&person))).await;
    let (given, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == StatusCode::CREATED);
    assert_eq!((given.len(), refused.len()), (5, 15));
    for answer in refused {
        answer.problem(429, "too_many_enrollment_tokens");
    }
}

#[tokio::test]
async fn an_operator_says_how_many_and_whether_at_all() {
    let world = World::with(|config| config.enrollment.per_day = 1).await;
    let person = world.person();
    assert_eq!(ask(&person).await.status, StatusCode::CREATED);
    ask(&person).await.problem(429, "too_many_enrollment_tokens");
    let off = World::with(|config| config.enrollment.per_day = 0).await;
    ask(&off.person()).await.problem(403, "enrollment_off");
}

#[tokio::test]
async fn what_is_not_given_does_not_count() {
    let world = World::with(|config| {
        config.enrollment.per_day = 1;
        config.enrollment.token_ttl_s = BROKEN_TTL_S;
    })
    .await;
    let person = world.person();
    ask(&person).await.problem(500, "internal");
    let counted = world.records.enrollments(scale_records::domain::Scope::User(person.user), 10).await.unwrap();
    assert_eq!(counted, []);

    let world = World::new().await;
    let person = world.person();
    world.records.close().await;
    ask(&person).await.problem(503, "storage_unavailable");
}

#[tokio::test]
async fn the_count_is_the_persons_to_see_and_to_delete() {
    let world = World::new().await;
    let person = world.person();
    for _ in 0..5 {
        assert_eq!(ask(&person).await.status, StatusCode::CREATED);
    }
    let export = person.get("/api/v1/me/export").await;
    assert_eq!(export.json()["enrollment_tokens"], json!(vec![json!({"created_at": "2026-11-23T00:00:00Z"}); 5]));
    assert!(!export.text().contains("scale_enroll"), "the tokens are kept nowhere");
    assert_eq!(person.delete("/api/v1/me").await.status, StatusCode::NO_CONTENT);
    assert_eq!(person.get("/api/v1/me/export").await.json()["enrollment_tokens"], json!([]));
}
