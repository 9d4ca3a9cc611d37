//! Whole files.

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::json;

use super::world::{Answer, Client, World};

const FILE: &str = "date,description,amount,currency\n\
    2026-01-02,Coffee,-3.20,EUR\n2026-01-03,Salary,2500.00,EUR\n2026-01-04,\"Shoes, \"\"red\"\"\",-59.90,EUR\n";

async fn stored(person: &Client<'_>) -> usize {
    let answer = person.get("/api/v1/transactions?limit=200").await;
    answer.json()["items"].as_array().unwrap().len()
}

#[track_caller]
fn counts(answer: &Answer, status: StatusCode, expected: [u64; 3]) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(json!([body["inserted"], body["skipped_duplicates"], body["rejected"]]), json!(expected), "{body}");
}

#[tokio::test]
async fn a_file_is_imported_once() {
    let world = World::new().await;
    let person = world.person();
    let first = person.import("?filename=2026-01.csv", "text/csv; charset=utf-8", FILE).await;
    counts(&first, StatusCode::CREATED, [3, 0, 0]);
    assert_eq!(first.json()["already_imported"], false);
    assert_eq!(first.json()["upload"]["filename"], "2026-01.csv");

    let again = person.import("", "text/csv", FILE).await;
    counts(&again, StatusCode::OK, [0, 0, 0]);
    assert_eq!((&again.json()["already_imported"], &again.json()["upload"]), (&json!(true), &first.json()["upload"]));

    // Another file with rows that are there: BOM, CRLF, semicolons, decimal commas.
    let other = "\u{feff}date;description;amount;currency\r\n02.01.2026;coffee;-3,20;EUR\r\n05.01.2026;Tea;-2,00;EUR\r\n\
        31.01.2026;=cmd|' /C calc'!A0;-1,00;EUR\r\n";
    counts(&person.import("", "text/csv", other).await, StatusCode::CREATED, [2, 1, 0]);
    assert_eq!(stored(&person).await, 5);
    let uploads = person.get("/api/v1/uploads").await.json();
    assert_eq!(uploads["items"].as_array().unwrap().len(), 2);
    assert_eq!(uploads["items"][0]["skipped_duplicates"], 1);
}

#[tokio::test]
async fn json_and_forms_are_files_too() {
    let world = World::new().await;
    let person = world.person();
    let rows = json!([{"date": "2026-01-02", "description": "Coffee", "amount": "-3.20", "currency": "EUR"}]);
    let answer = person.import("", "application/json", rows.to_string()).await;
    counts(&answer, StatusCode::CREATED, [1, 0, 0]);
    assert_eq!(answer.json()["upload"]["upload_type"], "json");

    let form = |name: &str, filename: &str, file: &str| {
        format!(
            "--b\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\n\
             content-type: text/csv\r\n\r\n{file}\r\n--b--\r\n"
        )
    };
    let media = "multipart/form-data; boundary=b";
    let answer = person.import("", media, form("file", "C:\\\\private\\\\bank.csv", FILE)).await;
    counts(&answer, StatusCode::CREATED, [2, 1, 0]);
    assert_eq!(answer.json()["upload"]["filename"], "bank.csv");
    person.import("", media, form("other", "a.csv", FILE)).await.problem(400, "malformed_form");
    person.import("", media, "--b--\r\n").await.problem(400, "malformed_form");
    person.import("", media, "--b\r\ncontent-dis").await.problem(400, "broken_body");
    person.import("", "multipart/form-data", form("file", "a.csv", FILE)).await.problem(400, "malformed_form");
}

#[tokio::test]
async fn one_bad_row_refuses_the_file_unless_told_otherwise() {
    let world = World::new().await;
    let person = world.person();
    let file = "date,description,amount,currency\n2026-01-02,Coffee,-3.20,EUR\n2026-02-30,Never,-1.00,EUR\n\
        2026-01-04,Odd,twelve,EUR\n2026-01-05,Tea,-2.00,EUR\n";
    let problem = person.import("", "text/csv", file).await.problem(422, "rejected_rows");
    assert_eq!(problem["errors_total"], 2);
    let lines: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["line"]).collect();
    assert_eq!(lines, [3, 4]);
    assert_eq!(stored(&person).await, 0);
    assert_eq!(person.get("/api/v1/uploads").await.json()["items"], json!([]));

    let answer = person.import("?partial=true", "text/csv", file).await;
    counts(&answer, StatusCode::CREATED, [2, 0, 2]);
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 2);
    assert_eq!(stored(&person).await, 2);

    // Late in a file of several batches; all bad ones are counted and 100 are listed.
    let mut long = String::from("date,description,amount,currency\n");
    for row in 0..5_000 {
        let day = if row % 40 == 39 { "2026-02-30" } else { "2026-02-03" };
        long.push_str(&format!("{day},Row {row},-{}.00,EUR\n", row + 1));
    }
    let problem = person.import("", "text/csv", long.clone()).await.problem(422, "rejected_rows");
    assert_eq!(problem["errors_total"], 125);
    assert_eq!(problem["errors"].as_array().unwrap().len(), 100);
    assert_eq!(stored(&person).await, 2);
    counts(&person.import("?partial=true", "text/csv", long).await, StatusCode::CREATED, [4_875, 0, 125]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_says_why() {
    let world = World::with(|config| config.import_max_mb = 1).await;
    let person = world.person();
    let wide = format!("date,description,amount,currency\n2026-01-02,{},-1,EUR\n", "x".repeat(1 << 20));
    let cases: [(&str, &[u8], u16, &str); 9] = [
        ("text/csv", b"", 422, "empty_file"),
        ("text/csv", b"date,description,amount,currency\n", 422, "empty_file"),
        ("text/csv", b"date,description,currency\n2026-01-02,Coffee,EUR\n", 422, "missing_column"),
        ("text/csv", b"date,description,amount\n2026-01-02,Coffee,-1\n", 422, "no_currency"),
        ("text/csv", b"date,description,amount,currency\n2026-01-02,\xff\xfe,-1,EUR\n", 422, "not_utf8"),
        ("application/json", b"[{\"date\":", 422, "malformed_json"),
        ("application/pdf", b"%PDF", 415, "unsupported_media_type"),
        ("text/csv", wide.as_bytes(), 413, "body_too_large"),
        ("multipart/form-data; boundary=b", wide.as_bytes(), 400, "broken_body"),
    ];
    for (media, file, status, code) in cases {
        let answer = person.import("", media, file.to_vec()).await;
        answer.problem(status, code);
    }
    let short = format!("date,description,amount,currency\n2026-01-02,{},-1,EUR\n", "x".repeat(900 << 10));
    person.import("", "text/csv", short).await.problem(422, "rejected_rows");
    for query in ["?partial=yes", "?currency=EURO", "?date_format=x", "?decimal=dot", "?direction=up", "?mode=fast"] {
        person.import(query, "text/csv", FILE).await.problem(400, "malformed_query");
    }
    let request = person.request(Method::POST, "/api/v1/transactions/import");
    person.send(request.body(Body::from(FILE)).unwrap()).await.problem(415, "unsupported_media_type");
    assert_eq!(stored(&person).await, 0);
    let without = "date,description,amount\n2026-01-02,Coffee,-1\n";
    counts(&person.import("?currency=EUR", "text/csv", without).await, StatusCode::CREATED, [1, 0, 0]);
}

#[tokio::test]
async fn of_two_imports_of_one_file_at_once_one_inserts() {
    let world = World::new().await;
    let person = world.person();
    let mut file = String::from("date,description,amount,currency\n");
    for row in 0..3_000 {
        file.push_str(&format!("2026-02-03,Row {row},-{}.00,EUR\n", row + 1));
    }
    let (one, other) =
        tokio::join!(person.import("", "text/csv", file.clone()), person.import("", "text/csv", file.clone()));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201], "{} {}", one.text(), other.text());
    let inserted = one.json()["inserted"].as_u64().unwrap() + other.json()["inserted"].as_u64().unwrap();
    assert_eq!(inserted, 3_000);
}

#[tokio::test]
async fn imports_are_counted_on_their_own() {
    let world = World::with(|config| config.limit.import_per_minute = 1).await;
    let person = world.person();
    assert_eq!(person.import("", "text/csv", FILE).await.status, StatusCode::CREATED);
    let answer = person.import("", "text/csv", FILE).await;
    answer.problem(429, "rate_limited");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=120).contains(&wait), "{wait}");
    assert_eq!(person.get("/api/v1/uploads").await.status, StatusCode::OK);
}
