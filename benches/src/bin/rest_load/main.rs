//! The REST facade under load.
//!
//! ```text
//! cargo run --release -p scale-benches --bin rest_load
//! cargo run --release -p scale-benches --bin rest_load -- --postgres postgres://postgres@127.0.0.1:5432
//! ```
//!
//! The server is a child of this process: the coordinator as it is, with limits on how often one may call switched off.
//! Both share the machine. Latencies are wall time, from when a call was due; whatever else the machine does shows in
//! them. Where a measurement begins is [`measure`]; what follows is one file per part.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod calls;
mod database;
mod imports;
mod link;
mod load;
mod people;
mod place;
mod report;
mod server;
mod settings;
mod streams;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use http::HeaderValue;
use scale_records::domain::{JobId, Scope, UserId};
use scale_records::store::{Filter, Page, Records};
use scale_rest::auth::{Assurance, DevIssuer, Role};
use scale_server::files::PEOPLE_ISSUER;

use calls::Person;
use place::{Place, now};
use report::Report;
use server::Server;
use settings::{Arguments, Part};

/// How long tokens are good.
const TOKEN: Duration = Duration::from_secs(24 * 3600);

fn main() -> ExitCode {
    scale_benches::coordinator::main_or(|| run(&Arguments::parse()))
}

/// Whether the figures are as they should be, if that was asked.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    settings::allow_sockets(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(async {
        let place = Place::open(arguments).await?;
        let report = measure(arguments, &place).await;
        place.end().await?;
        report
    })?;
    if let Some(file) = &arguments.json {
        let text = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    println!("{report}");
    Ok(report.is_good() || !arguments.check)
}

async fn measure(arguments: &Arguments, place: &Place) -> anyhow::Result<Report> {
    let mut report = Report::new(arguments);
    let issuer = DevIssuer::load_or_create(&place.folder().join(PEOPLE_ISSUER))?;
    // Rows of this run are told from those of earlier ones on the same place.
    let run = format!("{:x}", now().as_millis());

    let records = place.records().await?;
    let people = meet(arguments, &issuer, &records).await?;
    if arguments.wants(Part::Database) {
        eprintln!("measuring the rows alone");
        report.database_time = Some(database::measure(arguments, &records, &people, &run).await?);
    }
    records.close().await;
    drop(records);
    if ![Part::Load, Part::Imports, Part::Streams].into_iter().any(|part| arguments.wants(part)) {
        report.judge();
        return Ok(report);
    }

    let server = Server::start(arguments, place).await?;
    if arguments.wants(Part::Load) {
        eprintln!("{} calls a second for {} s", arguments.rate, arguments.seconds);
        report.load = Some(load::measure(arguments, &server, &people, &run).await?);
    }
    if arguments.wants(Part::Imports) {
        eprintln!("importing files");
        let newcomer = person(&issuer, UserId::new(), JobId::new())?;
        report.imports = Some(imports::measure(&server, &people, &newcomer, &run).await?);
    }
    if arguments.wants(Part::Streams) {
        eprintln!("opening {} event streams", arguments.streams);
        let followers = &people[..arguments.streams as usize];
        report.streams = Some(streams::measure(&server, followers).await?);
    }
    server.stop().await?;
    report.judge();
    Ok(report)
}

/// Everybody who calls: those with transactions first.
async fn meet(
    arguments: &Arguments,
    issuer: &DevIssuer,
    records: &Arc<dyn Records>,
) -> anyhow::Result<Vec<Arc<Person>>> {
    let mut people = Vec::new();
    for (n, job) in (0..).zip(place::jobs(records, arguments.people()).await?) {
        let mut person = person(issuer, people::user(n), job)?;
        if n < arguments.users {
            let page = Page { limit: Page::MAX, after: None };
            let listed = records.transactions(Scope::User(person.user), &Filter::default(), &page).await?;
            person.transactions = listed.transactions.iter().map(|row| row.id).collect();
            person.next = listed.next;
        }
        people.push(Arc::new(person));
    }
    Ok(people)
}

fn person(issuer: &DevIssuer, user: UserId, job: JobId) -> anyhow::Result<Person> {
    let token = issuer.mint(user, Role::User, Assurance::Aal1, TOKEN, now());
    let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))?;
    bearer.set_sensitive(true);
    Ok(Person { user, job, bearer, transactions: Vec::new(), next: None })
}
