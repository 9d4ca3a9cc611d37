//! Transactions, one by one.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::World;

const PATH: &str = "/api/v1/transactions";

#[tokio::test]
async fn what_is_stored_is_what_was_sent_and_only_once() {
    let world = World::new().await;
    let person = world.person();
    let body = json!({
        "transaction_date": "2026-02-28", "direction": "expense", "amount": "12.3", "currency": "EUR",
        "description": "  Robert'); DROP TABLE transactions;-- ", "merchant_name": "Café \u{1f600}",
        "category": "eating-out", "payment_method": "card", "status": "pending", "raw_data": {"line": [1, null, "=1+1"]},
    });
    let created = person.post(PATH, &body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
    let row = created.json();
    assert_eq!(created.header("location"), format!("{PATH}/{}", row["id"].as_str().unwrap()));
    for (field, expected) in [
        ("transaction_date", json!("2026-02-28")),
        ("direction", json!("debit")),
        ("amount", json!("12.30")),
        ("amount_minor", json!(1230)),
        ("currency", json!("EUR")),
        ("description", json!("Robert'); DROP TABLE transactions;--")),
        ("merchant_name", json!("Café \u{1f600}")),
        ("category", json!("eating-out")),
        ("category_source", json!("person")),
        ("payment_method", json!("card")),
        ("status", json!("pending")),
        ("raw_data", json!({"line": [1, null, "=1+1"]})),
        ("created_at", json!("2026-11-23T00:00:00Z")),
    ] {
        assert_eq!(row[field], expected, "{field}");
    }
    assert_eq!(row.as_object().unwrap().len(), 16);
    assert_eq!(person.get(created.header("location")).await.json(), row);

    let again = person.post(PATH, &body).await;
    assert_eq!((again.status, again.json()), (StatusCode::OK, row.clone()));
    let mut second = body.clone();
    second["occurrence"] = json!(1.0);
    assert_eq!(person.post(PATH, &second).await.status, StatusCode::CREATED);
    assert_eq!(person.get(PATH).await.json()["items"].as_array().unwrap().len(), 2);

    let path = created.header("location");
    let gone = person.delete(path).await;
    assert_eq!((gone.status, gone.body.len()), (StatusCode::NO_CONTENT, 0));
    person.delete(path).await.problem(404, "not_found");
    person.get(path).await.problem(404, "not_found");
}

#[tokio::test]
async fn what_cannot_be_is_refused_field_by_field() {
    let world = World::new().await;
    let person = world.person();
    let good = json!({
        "transaction_date": "2026-02-28", "direction": "debit", "amount": "1", "currency": "EUR", "description": "x",
    });
    let long = "x".repeat(501);
    for (field, value) in [
        ("transaction_date", json!("2026-02-30")),
        ("transaction_date", json!("28.02.2026")),
        ("transaction_date", json!("1899-12-31")),
        ("transaction_date", json!("2028-01-01")),
        ("direction", json!("sideways")),
        ("amount", json!(12.34)),
        ("amount", json!("1e3")),
        ("amount", json!("-1")),
        ("amount", json!("0.001")),
        ("amount", json!("99999999999999999999")),
        ("currency", json!("EURO")),
        ("currency", json!("XXX")),
        ("description", json!("")),
        ("description", json!(" \u{a0}")),
        ("description", json!("a\u{0}b")),
        ("description", json!("a\n")),
        ("description", json!(long)),
        ("category", json!("Food!")),
        ("category_source", json!("me")),
        ("status", json!("done")),
        ("occurrence", json!(-1)),
        ("occurrence", json!(0.5)),
        ("occurrence", json!(10_000)),
        ("raw_data", json!({"a": "\u{0}"})),
        ("raw_data", json!("x".repeat(9000))),
        ("user_id", json!("0198c2f4-5f0e-7000-8000-1f2e3d4c5b6a")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let answer = person.post(PATH, &body).await;
        let problem = answer.problem(422, "invalid_values");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    assert_eq!(person.get(PATH).await.json()["items"], json!([]));
    assert_eq!(person.post(PATH, &good).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_by_conditions() {
    let world = World::new().await;
    let person = world.person();
    for day in 1..=5 {
        for (amount, what) in [("1.00", "Coffee"), ("20.00", "Shoes")] {
            person.transaction(&format!("2026-03-0{day}"), amount, what).await;
        }
    }
    let mut seen: Vec<Value> = Vec::new();
    let mut path = format!("{PATH}?limit=3");
    loop {
        let page = person.get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(items.iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{PATH}?limit=3&cursor={cursor}"),
            None => break,
        }
        // What is stored meanwhile above the page moves nothing.
        person.transaction("2026-03-31", &format!("{}.00", seen.len()), "Later").await;
    }
    assert_eq!(seen.len(), 10);
    let days: Vec<_> = seen.iter().map(|row| row["transaction_date"].as_str().unwrap()).collect();
    assert!(days.is_sorted_by(|a, b| a >= b), "{days:?}");

    let count = async |query: &str| {
        let answer = person.get(&format!("{PATH}?limit=200&{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["items"].as_array().unwrap().len()
    };
    assert_eq!(count("from=2026-03-02&to=2026-03-03").await, 4);
    assert_eq!(count("to=2026-03-31&merchant=coffee").await, 5);
    assert_eq!(count("merchant=SHOES&min_amount_minor=1999&max_amount_minor=2000").await, 5);
    assert_eq!(count("from=2026-03-03&to=2026-03-02").await, 0);
    assert_eq!(count("currency=JPY").await, 0);
    assert_eq!(count("category=eating-out").await, 0);
    for wild in ["%25", "_", "%27%20OR%20%271%27%3D%271", "Coffee%27--", "*", "%5C"] {
        assert_eq!(count(&format!("merchant={wild}")).await, 0, "{wild}");
    }
}

#[tokio::test]
async fn a_persons_choice_of_category_wins() {
    let world = World::new().await;
    let person = world.person();
    let id = person.transaction("2026-02-01", "3.20", "Coffee").await["id"].as_str().unwrap().to_owned();
    let path = format!("{PATH}/{id}/category");
    for (body, category, source) in [
        (json!({"category": "groceries", "source": "prediction"}), json!("groceries"), json!("prediction")),
        (json!({"category": "eating-out", "source": "prediction"}), json!("eating-out"), json!("prediction")),
        (json!({"category": "gifts"}), json!("gifts"), json!("person")),
        (json!({"category": "groceries", "source": "prediction"}), json!("gifts"), json!("person")),
        (json!({"category": "health", "source": "person"}), json!("health"), json!("person")),
        (json!({"category": null}), json!(null), json!(null)),
    ] {
        let answer = person.with_json(Method::PATCH, &path, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let row = answer.json();
        assert_eq!((&row["category"], &row["category_source"]), (&category, &source), "{body}");
    }
    for bad in
        [json!({}), json!({"category": "No!"}), json!({"category": "a", "source": "me"}), json!({"categroy": "a"})]
    {
        person.with_json(Method::PATCH, &path, &bad).await.problem(422, "invalid_values");
    }
}
