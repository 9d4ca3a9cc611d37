//! How fast the rows are: fills a database, then measures pages, filters and imports. Prints one JSON object.
//!
//! ```sh
//! cargo run -p scale-records --example store_speed -- sqlite:/tmp/speed.sqlite3 1000000
//! cargo run -p scale-records --example store_speed -- postgres://postgres@localhost/speed 1000000
//! ```
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::{Duration, Instant};

use scale_clock::Timestamp;
use scale_records::domain::{
    CategorySlug, CategorySource, Currency, Direction, FileHash, Fingerprint, Money, NewTransaction, NewUpload, Scope,
    Status, Text, UploadCounts, UserId,
};
use scale_records::store::{self, Begun, Filter, Location, Page, Records};
use serde_json::{Map, Value, json};
use time::{Date, Month};

/// Rows of one person, and of one import.
const PER_PERSON: u32 = 1000;
const TIMES: u32 = 500;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let usage = "give sqlite:PATH or a Postgres URL, and how many rows";
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().ok_or(usage)?;
    let rows: u32 = arguments.next().ok_or(usage)?.parse()?;
    let location = match place.strip_prefix("sqlite:") {
        Some(path) => Location::Sqlite(path.into()),
        None => Location::Postgres(place, 8),
    };
    store::migrate(&location).await?;
    let records = store::open(&location).await?;
    let store = records.as_ref();

    let mut people = Vec::new();
    let mut imports = Vec::new();
    let start = Instant::now();
    for _ in 0..(rows / PER_PERSON).max(1) {
        let user = UserId::new();
        people.push(user);
        imports.push(import(store, user, 0..PER_PERSON, 1).await?);
    }
    let mut figures = Map::new();
    figures.insert("rows".into(), rows.into());
    figures.insert("fill_s".into(), start.elapsed().as_secs_f64().into());
    figures.insert("import_1000_ms".into(), quantiles(imports));
    // Another thousand of somebody who has some, now that the indexes are large.
    let mut again = Vec::new();
    for user in people.iter().take(20) {
        again.push(import(store, *user, PER_PERSON..2 * PER_PERSON, 2).await?);
    }
    figures.insert("import_1000_more_ms".into(), quantiles(again));
    let mut known = Vec::new();
    for user in people.iter().take(20) {
        known.push(import(store, *user, 0..PER_PERSON, 3).await?);
    }
    figures.insert("import_1000_known_ms".into(), quantiles(known));

    let merchant = |text: &str| Filter { merchant: Some(text.into()), ..Filter::default() };
    let day = |n| Date::from_calendar_date(2025, Month::January, 1).map(|first| first + time::Duration::days(n));
    for (name, filter) in [
        ("page", Filter::default()),
        ("dates", Filter { from: Some(day(100)?), to: Some(day(130)?), ..Filter::default() }),
        ("category", Filter { category: Some(CategorySlug::new("fuel")?), ..Filter::default() }),
        ("merchant", merchant("arket 7")),
        ("merchant_nobody", merchant("nobody")),
        ("amounts", Filter { min_minor: Some(500), max_minor: Some(900), ..Filter::default() }),
        ("currency", Filter { currency: Some(Currency::new("JPY")?), ..Filter::default() }),
    ] {
        let mut times = Vec::new();
        for n in 0..TIMES {
            let user = people[(n as usize * 7919) % people.len()];
            let start = Instant::now();
            store.transactions(Scope::User(user), &filter, &Page { limit: 50, after: None }).await?;
            times.push(start.elapsed());
        }
        figures.insert(format!("{name}_ms"), quantiles(times));
    }
    let mut times = Vec::new();
    for n in 0..TIMES {
        let user = people[(n as usize * 7919) % people.len()];
        let start = Instant::now();
        store.create_transaction(user, &transaction(100_000 + n), Timestamp::from_millis(1)).await?;
        times.push(start.elapsed());
    }
    figures.insert("create_ms".into(), quantiles(times));
    let large = import(store, UserId::new(), 0..100_000, 1).await?;
    figures.insert("import_100000_s".into(), large.as_secs_f64().into());
    println!("{}", Value::Object(figures));
    records.close().await;
    Ok(())
}

async fn import(
    store: &dyn Records,
    user: UserId,
    numbers: std::ops::Range<u32>,
    file: u8,
) -> Result<Duration, Box<dyn Error>> {
    let rows: Vec<_> = numbers.map(transaction).collect();
    let file =
        NewUpload { file_hash: FileHash([file; 32]), filename: Text::new("filename", "a.csv")?, upload_type: "csv" };
    let start = Instant::now();
    let Begun::Open(mut import) = store.begin_import(user, &file, Timestamp::from_millis(1)).await? else {
        return Err("imported before".into());
    };
    let mut inserted = 0;
    for batch in rows.chunks(1000) {
        inserted += import.insert(batch).await?;
    }
    import.commit(UploadCounts { inserted, ..UploadCounts::default() }).await?;
    Ok(start.elapsed())
}

fn transaction(n: u32) -> NewTransaction {
    let first = Date::from_calendar_date(2025, Month::January, 1).expect("is a day");
    let transaction_date = first + time::Duration::days((n % 365).into());
    let currency = Currency::new(if n.is_multiple_of(50) { "JPY" } else { "EUR" }).expect("is a currency");
    let money = Money::new(i64::from(n % 5000), currency).expect("is an amount");
    let description = format!("CARD PAYMENT {n} SUPERMARKET {} 1234 CITY", n % 100);
    let category = ["fuel", "groceries", "dining", "travel", "home"][n as usize % 5];
    NewTransaction {
        transaction_date,
        direction: Direction::Debit,
        money,
        fingerprint: Fingerprint::of(transaction_date, Direction::Debit, money, &description, n),
        raw_data: Some(json!({"date": transaction_date.to_string(), "amount": n.to_string(), "text": description})),
        description: Text::new("description", &description).expect("is a text"),
        merchant_name: Some(Text::new("merchant_name", &format!("Supermarket {}", n % 100)).expect("is a text")),
        category: Some((CategorySlug::new(category).expect("is a slug"), CategorySource::Import)),
        payment_method: Some(Text::new("payment_method", "card").expect("is a text")),
        status: Status::Completed,
    }
}

/// In milliseconds.
fn quantiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    json!({"p50": at(0.5), "p95": at(0.95), "max": at(1.0)})
}
