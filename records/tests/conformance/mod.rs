//! What every store must do, whatever is below it: the tests of each database run all of it, cross-tenant cases first.
//!
//! Every case makes people of its own, so that cases may share a database and run at once.

use std::sync::Arc;
use std::time::Duration;

use scale_clock::Timestamp;
use scale_records::domain::{
    Category, CategorySlug, CategorySource, Currency, Direction, FileHash, Fingerprint, JobId, Money, NewJob,
    NewTransaction, NewUpload, Scope, Status, Text, TrainingJob, Transaction, Upload, UploadCounts, UserId,
};
use scale_records::store::{Allowance, Begun, Created, Filter, Granted, Import, Listed, Page, Records};
use time::{Date, Month};

mod enrollments;
mod imports;
mod jobs;
mod lists;
mod rows;
mod tenants;

type Rows = Arc<dyn Records>;

/// Everything that the API relies on.
pub(crate) async fn conforms(rows: &Rows) {
    tenants::nobody_sees_anybody_elses_rows(rows).await;
    tenants::nobody_changes_anybody_elses_rows(rows).await;
    tenants::one_persons_rows_do_not_stand_in_anothers_way(rows).await;
    tenants::a_cursor_is_no_key(rows).await;
    rows::a_transaction_is_kept_as_it_came(rows).await;
    rows::the_same_transaction_is_stored_once(rows).await;
    rows::a_person_beats_a_prediction_and_the_last_write_wins(rows).await;
    rows::a_deleted_transaction_is_gone(rows).await;
    rows::categories_are_everybodys_and_ones_own(rows).await;
    rows::a_deleted_person_leaves_nothing(rows).await;
    lists::pages_are_complete_while_rows_are_added(rows).await;
    lists::every_filter_finds_what_it_says(rows).await;
    lists::texts_mean_nothing_but_themselves(rows).await;
    imports::duplicates_are_skipped_wherever_they_are(rows).await;
    imports::a_large_batch_is_one_call(rows).await;
    imports::a_file_is_recognized(rows).await;
    imports::of_two_imports_at_once_one_inserts(rows).await;
    imports::an_import_that_ends_early_leaves_nothing(rows).await;
    imports::a_deletion_waits_for_the_import(rows).await;
    jobs::a_person_has_one_active_job(rows).await;
    jobs::of_two_jobs_at_once_one_is_made(rows).await;
    jobs::a_job_goes_forward_and_ends_once(rows).await;
    jobs::jobs_are_found_by_round_and_by_age(rows).await;
    enrollments::each_token_is_free_again_after_its_day(rows).await;
    enrollments::of_many_calls_at_once_no_more_than_allowed_are_granted(rows).await;
    enrollments::what_no_longer_counts_is_forgotten(rows).await;
    rows.ping().await.unwrap();
}

pub(crate) fn at(ms: u64) -> Timestamp {
    // Of this century, so that moments of other cases are not mistaken for stale ones.
    Timestamp::from_millis(1_767_225_600_000 + ms)
}

pub(crate) fn day(ordinal: u16) -> Date {
    Date::from_calendar_date(2026, Month::January, 1).unwrap() + time::Duration::days(ordinal.into())
}

pub(crate) fn euros(minor: i64) -> Money {
    Money::new(minor, Currency::new("EUR").unwrap()).unwrap()
}

pub(crate) fn slug(text: &str) -> CategorySlug {
    CategorySlug::new(text).unwrap()
}

/// An expense; another one for every `n`.
pub(crate) fn expense(n: u32) -> NewTransaction {
    let (transaction_date, direction, money) = (day((n % 300) as u16), Direction::Debit, euros(100 + i64::from(n)));
    let description = format!("CARD PAYMENT {n}");
    NewTransaction {
        transaction_date,
        direction,
        money,
        fingerprint: Fingerprint::of(transaction_date, direction, money, &description, 0),
        description: Text::new("description", &description).unwrap(),
        merchant_name: None,
        category: None,
        payment_method: None,
        status: Status::Completed,
        raw_data: None,
    }
}

/// With everything that may be missing.
pub(crate) fn full(n: u32) -> NewTransaction {
    NewTransaction {
        merchant_name: Some(Text::new("merchant_name", "Café O'Hara").unwrap()),
        category: Some((slug("dining"), CategorySource::Import)),
        payment_method: Some(Text::new("payment_method", "card").unwrap()),
        status: Status::Pending,
        direction: Direction::Credit,
        raw_data: Some(serde_json::json!({"Buchung": "1,00", "nested": [1, true, null, "ü\"'\\"], "n": -2.5})),
        ..expense(n)
    }
}

pub(crate) fn file(n: u8) -> NewUpload {
    NewUpload {
        file_hash: FileHash([n; 32]),
        filename: Text::new("filename", "umsätze.csv").unwrap(),
        upload_type: "csv",
    }
}

pub(crate) fn new_job() -> NewJob {
    NewJob { id: JobId::new(), model_type: "categorizer".to_owned(), credential_hash: [7; 32] }
}

pub(crate) async fn create(rows: &Rows, user: UserId, new: &NewTransaction) -> Transaction {
    match rows.create_transaction(user, new, at(1)).await.unwrap() {
        Created::New(stored) => stored,
        Created::Exists(there) => panic!("there is one already: {there:?}"),
    }
}

pub(crate) async fn open_import(rows: &Rows, user: UserId, file: &NewUpload) -> Box<dyn Import> {
    match rows.begin_import(user, file, at(2)).await.unwrap() {
        Begun::Open(import) => import,
        Begun::Seen(upload) => panic!("seen before: {upload:?}"),
    }
}

pub(crate) async fn import(rows: &Rows, user: UserId, file: &NewUpload, new: &[NewTransaction]) -> Upload {
    let mut import = open_import(rows, user, file).await;
    let inserted = import.insert(new).await.unwrap();
    let skipped_duplicates = new.len() as u64 - inserted;
    import.commit(UploadCounts { inserted, skipped_duplicates, rejected: 0 }).await.unwrap()
}

pub(crate) async fn list(rows: &Rows, user: UserId, filter: &Filter) -> Vec<Transaction> {
    let page = Page { limit: Page::MAX, after: None };
    let Listed { transactions, next } = rows.transactions(Scope::User(user), filter, &page).await.unwrap();
    assert_eq!(next, None);
    transactions
}

/// All that a person's screens show.
#[derive(Debug, PartialEq)]
pub(crate) struct Everything {
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) uploads: Vec<Upload>,
    pub(crate) categories: Vec<Category>,
    pub(crate) jobs: Vec<TrainingJob>,
    pub(crate) enrollments: Vec<Timestamp>,
}

pub(crate) async fn everything(rows: &Rows, user: UserId) -> Everything {
    Everything {
        transactions: list(rows, user, &Filter::default()).await,
        uploads: rows.uploads(Scope::User(user), 100).await.unwrap(),
        categories: rows.categories(user).await.unwrap(),
        jobs: rows.jobs(Scope::User(user), 100).await.unwrap(),
        enrollments: rows.enrollments(Scope::User(user), 100).await.unwrap(),
    }
}

/// Somebody who has two transactions, a file, a category, an active job and an enrollment token.
pub(crate) async fn somebody(rows: &Rows) -> UserId {
    let user = UserId::new();
    create(rows, user, &full(1)).await;
    import(rows, user, &file(1), &[expense(2)]).await;
    assert!(rows.create_category(user, &slug("own"), "Own").await.unwrap());
    assert!(matches!(rows.create_job(user, &new_job(), at(3)).await.unwrap(), Created::New(_)));
    let once = Allowance { most: 1, within: Duration::from_secs(1) };
    assert_eq!(rows.grant_enrollment(user, once, at(4)).await.unwrap(), Granted::Now);
    user
}
