//! What every request meets before its handler, and every failure on its way out.

use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Method, StatusCode, header};
use scale_records::domain::UserId;
use scale_rest::auth::{Assurance, Role};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

use super::world::{Client, World};

const ID: &str = "0198c2f4-5f0e-7000-8000-1f2e3d4c5b6a";

#[tokio::test]
async fn every_failure_is_a_problem() {
    let world = World::with(|config| config.max_body_kb = 1).await;
    let person = world.person();
    let long = "x".repeat(1025);
    let transactions = "/api/v1/transactions";
    let post = |path: &str, media: &str, body: &str| {
        let request = person.request(Method::POST, path).header(header::CONTENT_TYPE, media);
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let get = |path: &str| person.request(Method::GET, path).body(Body::empty()).unwrap();
    let cases = [
        (get("/api/v1/nothing"), 404, "unknown_path"),
        (get("/api/v2/transactions"), 404, "unknown_path"),
        (get(&format!("/api/v1/transactions/{ID}/")), 404, "unknown_path"),
        (get(&format!("/api/v1/transactions/{ID}")), 404, "not_found"),
        (get("/api/v1/transactions/17"), 400, "malformed_id"),
        (get("/api/v1/transactions/%ff"), 400, "malformed_id"),
        (get(&format!("/api/v1/transactions/{}", ID.replace('-', ""))), 400, "malformed_id"),
        (get("/api/v1/transactions?limit=0"), 400, "malformed_query"),
        (get("/api/v1/transactions?limit=1&limit=2"), 400, "malformed_query"),
        (get("/api/v1/transactions?color=red"), 400, "malformed_query"),
        (get("/api/v1/transactions?cursor=%27+or+1%3D1"), 400, "malformed_cursor"),
        (get("/api/v1/models/latest"), 400, "malformed_query"),
        (get("/api/v1/models/latest?task=unheard"), 404, "not_found"),
        (get("/api/v1/models/latest?task=untrained"), 404, "not_found"),
        (get("/api/v1/models/latest?task=broken"), 503, "storage_unavailable"),
        (post(transactions, "application/json", "{"), 400, "malformed_json"),
        (post("/api/v1/training/jobs", "application/json", r#"{"model_type": "x"} {}"#), 400, "malformed_json"),
        (post(transactions, "application/json", "\"\u{fffd}"), 400, "malformed_json"),
        (post(transactions, "application/json", "[]"), 422, "invalid_values"),
        (post("/api/v1/training/jobs", "application/json", r#" ["categorizer"]"#), 422, "invalid_values"),
        (post(transactions, "application/json", "{}"), 422, "invalid_values"),
        (post(transactions, "application/json", r#"{"is_admin": true}"#), 422, "invalid_values"),
        (post(transactions, "text/plain", "{}"), 415, "unsupported_media_type"),
        (post(transactions, "application/json", &long), 413, "body_too_large"),
        (post("/api/v1/training/jobs", "application/json", r#"{"model_type": "unheard"}"#), 404, "unknown_task"),
    ];
    for (request, status, code) in cases {
        let name = format!("{} {}", request.method(), request.uri());
        let answer = person.send(request).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {}", answer.text());
        let problem = answer.problem(status, code);
        assert_eq!(problem["errors"].is_array(), status == 422, "{name}: {problem}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{name}");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"), "{name}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{name}");
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503, "{name}");
    }
    // A body without a length is measured as it comes.
    let pieces = futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>("x".repeat(100))));
    let request = person.request(Method::POST, transactions).header(header::CONTENT_TYPE, "application/json");
    person.send(request.body(Body::from_stream(pieces)).unwrap()).await.problem(413, "body_too_large");
    // A field is named by its place.
    let body = json!({"transaction_date": 5, "direction": "debit"});
    let problem = person.post(transactions, &body).await.problem(422, "invalid_values");
    assert_eq!(problem["errors"][0]["field"], "transaction_date");
    let problem = person.post(transactions, &json!({"direction": "debit"})).await.problem(422, "invalid_values");
    assert_eq!(
        problem["errors"][0],
        json!({"field": "transaction_date", "problem": "missing field `transaction_date`"})
    );
}

#[tokio::test]
async fn a_wrong_method_hears_the_right_ones() {
    let world = World::new().await;
    let person = world.person();
    for (method, path, allowed) in [
        (Method::PUT, "/api/v1/transactions", "GET,HEAD,POST"),
        (Method::POST, "/api/v1/health", "GET,HEAD"),
        (Method::OPTIONS, "/api/v1/categories", "GET,HEAD,POST"),
        (Method::TRACE, "/api/v1/me", "DELETE"),
        (Method::GET, "/api/v1/transactions/import", "POST"),
        (Method::DELETE, "/api/v1/openapi.json", "GET,HEAD"),
    ] {
        let request = person.request(method.clone(), path).body(Body::empty()).unwrap();
        let answer = person.send(request).await;
        // `import` is also a place for an id, which has other methods.
        if path.ends_with("import") {
            assert_eq!(answer.status, 405, "{}", answer.text());
        }
        answer.problem(405, "method_not_allowed");
        let mut allow: Vec<_> = answer.header("allow").split(',').collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{method} {path}");
    }
}

#[tokio::test]
async fn only_good_tokens_of_persons_open_the_door() {
    let world = World::new().await;
    let user = UserId::new();
    let good = world.token(user, Role::User, Assurance::Aal1);
    let expired = world.issuer.mint(user, Role::User, Assurance::Aal1, Duration::ZERO, {
        scale_clock::Timestamp::from_millis(super::world::START - 3_600_000)
    });
    let mut tampered = good.clone();
    let place = tampered.len() - 10;
    let other = if tampered[place..].starts_with('A') { "B" } else { "A" };
    tampered.replace_range(place..=place, other);
    let operator = |assurance| world.token(user, Role::Operator, assurance);
    let cases = [
        (None, 401, "missing_token"),
        (Some("Basic dXNlcjpwYXNz".to_owned()), 401, "missing_token"),
        (Some("Bearer x".to_owned()), 401, "malformed_token"),
        (Some(format!("Bearer {expired}")), 401, "expired_token"),
        (Some(format!("Bearer {tampered}")), 401, "bad_signature"),
        (Some(format!("Bearer {}", world.token(user, Role::Service, Assurance::Aal1))), 403, "forbidden"),
        (Some(format!("Bearer {}", operator(Assurance::Aal1))), 403, "mfa_required"),
    ];
    let nobody = world.nobody();
    for (header_value, status, code) in cases {
        let mut request = nobody.request(Method::GET, "/api/v1/transactions");
        if let Some(value) = header_value {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = nobody.send(request.body(Body::empty()).unwrap()).await;
        answer.problem(status, code);
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{code}");
    }
    for token in [good, operator(Assurance::Aal2)] {
        let person = Client { world: &world, user, token: Some(token) };
        assert_eq!(person.get("/api/v1/transactions").await.status, StatusCode::OK);
    }
    // Every path of a person is behind it.
    let document = nobody.get("/api/v1/openapi.json").await.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if operation["security"] == json!([]) {
                continue;
            }
            let path = path.replace("{id}", ID).replace("{job_id}", ID);
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = nobody.request(method, &path).body(Body::empty()).unwrap();
            nobody.send(request).await.problem(401, "missing_token");
        }
    }
}

#[tokio::test]
async fn calls_are_counted_by_person_and_by_address() {
    let world = World::with(|config| {
        config.limit.user_per_minute = 2;
        config.limit.ip_per_minute = 5;
    })
    .await;
    let (one, other) = (world.person(), world.person());
    for left in ["1", "0"] {
        let answer = one.get("/api/v1/categories").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!((answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")), ("2", left));
    }
    let answer = one.get("/api/v1/categories").await;
    answer.problem(429, "rate_limited");
    assert_eq!(answer.header("ratelimit-remaining"), "0");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=120).contains(&wait), "{wait}");
    // Others have their own count, but the address has one for all.
    assert_eq!(other.get("/api/v1/categories").await.status, StatusCode::OK);
    assert_eq!(other.get("/api/v1/categories").await.status, StatusCode::OK);
    let answer = world.nobody().get("/api/v1/nothing").await;
    answer.problem(429, "rate_limited");
    assert_eq!(answer.header("ratelimit-limit"), "5");
    let elsewhere = || {
        let address: std::net::SocketAddr = "192.0.2.7:1".parse().unwrap();
        let mut request = world.nobody().request(Method::GET, "/api/v1/nothing").body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        request
    };
    world.nobody().send(elsewhere()).await.problem(404, "unknown_path");
    for _ in 0..10 {
        assert_eq!(world.nobody().get("/api/v1/health").await.status, StatusCode::OK, "probes are not counted");
    }
}

#[tokio::test]
async fn without_the_database_everything_that_needs_it_says_come_back() {
    let world = World::new().await;
    let person = world.person();
    let (job, _) = person.job().await;
    assert_eq!(person.get("/api/v1/ready").await.status, StatusCode::OK);
    world.records.close().await;
    person.get("/api/v1/ready").await.problem(503, "storage_unavailable");
    for path in ["/api/v1/transactions", "/api/v1/categories", "/api/v1/me/export", "/api/v1/uploads"] {
        let answer = person.get(path).await;
        answer.problem(503, "storage_unavailable");
        assert_eq!(answer.header("retry-after"), "5", "{path}");
    }
    let file = "date,description,amount,currency\n2026-01-02,Coffee,-3.20,EUR\n";
    person.import("", "text/csv", file).await.problem(503, "storage_unavailable");
    assert_eq!(person.get("/api/v1/health").await.status, StatusCode::OK);
    // What memory knows is answered all the same.
    assert_eq!(person.get(&format!("/api/v1/training/status/{job}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_not_waited_for() {
    let world = World::with(|config| config.body_timeout_s = 1).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let token = world.person().token.unwrap();
    let head = |path: &str, media: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: {media}\r\n\
             content-length: 100\r\n\r\n"
        )
    };
    for (head, start) in [
        (head("/api/v1/transactions", "application/json"), "{"),
        (head("/api/v1/transactions/import", "text/csv"), "date,"),
        (head("/api/v1/transactions/import", "multipart/form-data; boundary=b"), "--b\r\n"),
    ] {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket.write_all(format!("{head}{start}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = socket.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), read).await.expect("the connection is closed").unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains(r#""code":"slow_body""#), "{answer}");
    }
    server.abort();
}

#[tokio::test]
async fn the_document_and_its_page_are_served_whole() {
    let world = World::with(|config| config.https_only = true).await;
    let nobody = world.nobody();
    let document = nobody.get("/api/v1/openapi.json").await;
    assert_eq!(document.json(), scale_rest::http::openapi(world.now()));
    assert_eq!(document.json()["openapi"], "3.1.0");
    let page = nobody.get("/docs").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("script-src 'sha256-"));
    assert!(page.header("strict-transport-security").starts_with("max-age="));

    let without = World::with(|config| config.docs = false).await;
    let request = without.nobody().request(Method::GET, "/docs").body(Body::empty()).unwrap();
    let response = without.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}
