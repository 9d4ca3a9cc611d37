//! The rows' part of the mix: the same calls at the same rate, made directly on the store in this process, without HTTP.
//! Each time is from the call to its answer, the wait for a free connection and the decoding of rows included.

use std::sync::Arc;
use std::time::Duration;

use scale_benches::quantiles::Quantiles;
use scale_records::domain::{CategoryChange, CategorySlug, CategorySource, Scope, UploadCounts};
use scale_records::store::{Begun, Filter, Page, Records};
use serde::Serialize;
use time::{Date, Month};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::calls::{self, Call, Kind, Person};
use crate::people;
use crate::place::now;
use crate::settings::Arguments;

/// Seconds of this part at most.
const SECONDS: u32 = 10;
/// Rows of a page, as the API gives them when nothing else is asked for.
const PAGE: u16 = 50;

/// What the rows cost.
#[derive(Debug, Serialize)]
pub(crate) struct DatabaseFigures {
    /// What only reads.
    pub(crate) reads: Quantiles,
    /// What changes rows.
    pub(crate) writes: Quantiles,
    /// Both.
    pub(crate) all: Quantiles,
}

/// Makes the calls; those that the API answers from memory are left out.
pub(crate) async fn measure(
    arguments: &Arguments,
    records: &Arc<dyn Records>,
    people: &[Arc<Person>],
    run: &str,
) -> anyhow::Result<DatabaseFigures> {
    let run: Arc<str> = format!("{run}-direct").into();
    let mut running = JoinSet::new();
    let start = Instant::now() + Duration::from_millis(100);
    for call in calls::schedule(arguments, arguments.seconds.min(SECONDS)) {
        if call.kind == Kind::Status {
            continue;
        }
        sleep_until(start + call.at).await;
        let person = people[call.connection as usize % arguments.users as usize].clone();
        let (records, run) = (records.clone(), run.clone());
        running.spawn(async move {
            let work = Work::prepare(call, &person, &run)?;
            let begun = Instant::now();
            work.perform(records.as_ref(), &person).await?;
            Ok::<_, anyhow::Error>((call.kind, begun.elapsed()))
        });
    }
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    while let Some(done) = running.join_next().await {
        let (kind, time) = done??;
        match kind {
            Kind::Create | Kind::Change | Kind::Import => writes.push(time),
            _ => reads.push(time),
        }
    }
    let all = Quantiles::of(reads.iter().chain(&writes).copied().collect());
    Ok(DatabaseFigures { reads: Quantiles::of(reads), writes: Quantiles::of(writes), all })
}

/// A call that has been read and checked, as the API hands it to the store.
enum Work {
    List(Filter, Page),
    Get(Call),
    Categories,
    Create(Box<scale_records::domain::NewTransaction>),
    Change(Call, CategoryChange),
    Import(scale_records::domain::NewUpload, Vec<scale_records::domain::NewTransaction>),
}

impl Work {
    fn prepare(call: Call, person: &Person, run: &str) -> anyhow::Result<Self> {
        let first = Page { limit: PAGE, after: None };
        let slug = || CategorySlug::new(calls::category(call));
        Ok(match call.kind {
            Kind::List | Kind::Status => Self::List(Filter::default(), first),
            Kind::Next => Self::List(Filter::default(), Page { after: person.next, ..first }),
            Kind::Filtered => Self::List(filter(call)?, first),
            Kind::Get => Self::Get(call),
            Kind::Categories => Self::Categories,
            Kind::Create => {
                let mut rows = people::rows(&people::csv(run, call.number..call.number + 1))?;
                Self::Create(Box::new(rows.swap_remove(0)))
            }
            Kind::Change => {
                Self::Change(call, CategoryChange { category: Some(slug()?), source: CategorySource::Person })
            }
            Kind::Import => {
                let file = calls::file(call, run);
                Self::Import(people::upload(&file)?, people::rows(&file)?)
            }
        })
    }

    async fn perform(self, records: &dyn Records, person: &Person) -> anyhow::Result<()> {
        let scope = Scope::User(person.user);
        match self {
            Self::List(filter, page) => drop(records.transactions(scope, &filter, &page).await?),
            Self::Get(call) => {
                if let Some(id) = person.transaction(call) {
                    records.transaction(scope, id).await?;
                }
            }
            Self::Categories => drop(records.categories(person.user).await?),
            Self::Create(new) => drop(records.create_transaction(person.user, &new, now()).await?),
            Self::Change(call, change) => {
                if let Some(id) = person.transaction(call) {
                    records.set_category(scope, id, &change, now()).await?;
                }
            }
            Self::Import(upload, rows) => {
                if let Begun::Open(mut import) = records.begin_import(person.user, &upload, now()).await? {
                    let inserted = import.insert(&rows).await?;
                    import.commit(UploadCounts { inserted, ..UploadCounts::default() }).await?;
                }
            }
        }
        Ok(())
    }
}

/// The same as in [`calls::request`].
fn filter(call: Call) -> anyhow::Result<Filter> {
    let none = Filter::default();
    Ok(match call.number % 3 {
        0 => Filter { category: Some(CategorySlug::new(calls::category(call))?), ..none },
        1 => {
            let march = |day| Date::from_calendar_date(2024, Month::March, day);
            Filter { from: Some(march(1)?), to: Some(march(31)?), ..none }
        }
        _ => Filter { merchant: Some(format!("market {}", call.number % 100)), ..none },
    })
}
