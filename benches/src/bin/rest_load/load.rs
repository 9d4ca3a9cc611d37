//! The mix over HTTP, open loop: every call is due at its time on a fixed schedule, and its latency counts from there. A
//! call that finds its connection busy waits, and the wait counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, Method, StatusCode, header};
use scale_benches::quantiles::Quantiles;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::calls::{self, Call, Kind, Person, Remembered};
use crate::link::Link;
use crate::server::Server;
use crate::settings::Arguments;

/// Connections that open at once.
const AT_ONCE: usize = 32;
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Failures that are shown.
const SHOWN: usize = 5;

/// What the mix cost.
#[derive(Debug, Serialize)]
pub(crate) struct LoadFigures {
    /// Every call, from when it was due until the last byte of its answer.
    pub(crate) all: Quantiles,
    pub(crate) kinds: Vec<KindFigures>,
    /// Answers a second, until the last answer.
    pub(crate) answered_per_s: f64,
    /// Calls without an answer, or with an answer that is none of success.
    pub(crate) errors: usize,
    /// The first of them.
    pub(crate) failures: Vec<String>,
    /// How much later than due the generator sent: its own part of the latencies, busy connections included.
    pub(crate) sent_late: Quantiles,
    /// CPU time of the server (on Postgres: without the database) over the calls, in milliseconds.
    pub(crate) server_cpu_ms_per_call: f64,
    /// CPU time of the generator over the calls, in milliseconds.
    pub(crate) generator_cpu_ms_per_call: f64,
    /// Memory of the server at the end.
    pub(crate) server_resident_bytes: u64,
}

/// What one kind of call cost.
#[derive(Debug, Serialize)]
pub(crate) struct KindFigures {
    pub(crate) kind: &'static str,
    pub(crate) latency: Quantiles,
}

impl LoadFigures {
    pub(crate) fn of(&self, kind: Kind) -> Quantiles {
        self.kinds.iter().find(|found| found.kind == kind.name()).map_or_else(Quantiles::default, |found| found.latency)
    }
}

#[derive(Default)]
struct Measured {
    calls: Vec<(Kind, Duration)>,
    late: Vec<Duration>,
    errors: usize,
    failures: Vec<String>,
}

/// Puts the load on.
pub(crate) async fn measure(
    arguments: &Arguments,
    server: &Server,
    people: &[Arc<Person>],
    run: &str,
) -> anyhow::Result<LoadFigures> {
    let prepared = (0..arguments.connections as usize).map(|n| {
        let person = people[n % arguments.users as usize].clone();
        async move {
            let mut link = Link::open(server.address).await?;
            let known = prepare(&mut link, &person).await?;
            Ok::<_, anyhow::Error>((link, person, known))
        }
    });
    let prepared: Vec<_> = stream::iter(prepared).buffered(AT_ONCE).try_collect().await?;

    let mut by_connection: HashMap<u32, Vec<Call>> = HashMap::new();
    for call in calls::schedule(arguments, arguments.seconds) {
        by_connection.entry(call.connection).or_default().push(call);
    }
    let own_cpu = scale_benches::clock::process();
    let cpu = server.cpu();
    let start = Instant::now() + Duration::from_millis(100);
    let mut workers = JoinSet::new();
    let run: Arc<str> = run.into();
    for (n, (link, person, known)) in (0_u32..).zip(prepared) {
        let calls = by_connection.remove(&n).unwrap_or_default();
        workers.spawn(work(link, person, known, calls, start, run.clone()));
    }
    let mut sum = Measured::default();
    while let Some(measured) = workers.join_next().await {
        let measured = measured.context("a connection's task failed")?;
        sum.calls.extend(measured.calls);
        sum.late.extend(measured.late);
        sum.errors += measured.errors;
        sum.failures.extend(measured.failures);
        sum.failures.truncate(SHOWN);
    }
    let elapsed = start.elapsed();
    let answered = sum.calls.len() as f64;
    let per_call = |time: Duration| time.as_secs_f64() * 1e3 / answered.max(1.0);
    let of = |kind| sum.calls.iter().filter(|(found, _)| *found == kind).map(|(_, time)| *time).collect();
    let kinds = Kind::MIX.iter().map(|(kind, _)| KindFigures { kind: kind.name(), latency: Quantiles::of(of(*kind)) });
    Ok(LoadFigures {
        all: Quantiles::of(sum.calls.iter().map(|(_, time)| *time).collect()),
        kinds: kinds.collect(),
        answered_per_s: answered / elapsed.as_secs_f64(),
        errors: sum.errors,
        failures: sum.failures,
        sent_late: Quantiles::of(sum.late),
        server_cpu_ms_per_call: per_call(server.cpu().saturating_sub(cpu)),
        generator_cpu_ms_per_call: per_call(scale_benches::clock::process().saturating_sub(own_cpu)),
        server_resident_bytes: server.resident(),
    })
}

/// What a screen has asked before: the first page, and the categories.
async fn prepare(link: &mut Link, person: &Person) -> anyhow::Result<Remembered> {
    #[derive(Deserialize)]
    struct Page {
        next_cursor: Option<String>,
    }
    let get = |path| person.ask(Method::GET, path).body(Default::default());
    let page = link.call(get("transactions")?, StatusCode::OK).await?;
    let page: Page = serde_json::from_slice(page.body())?;
    let categories = link.call(get("categories")?, StatusCode::OK).await?;
    let tag = categories.headers().get(header::ETAG).context("categories without an etag")?;
    link.call(get(&format!("training/status/{}", person.job))?, StatusCode::OK).await?;
    let cursor = page.next_cursor.context("more than one page of transactions is needed: give more --transactions")?;
    Ok(Remembered { cursor, tag: HeaderValue::clone(tag) })
}

/// One connection's calls.
async fn work(
    mut link: Link,
    person: Arc<Person>,
    known: Remembered,
    calls: Vec<Call>,
    start: Instant,
    run: Arc<str>,
) -> Measured {
    let mut measured = Measured::default();
    for call in calls {
        let due = start + call.at;
        sleep_until(due).await;
        measured.late.push(due.elapsed());
        let answered = async {
            let request = calls::request(call, &person, &known, &run)?;
            link.call(request, call.kind.expects()).await
        };
        match timeout_at(due + PATIENCE, answered).await {
            Ok(Ok(_)) => measured.calls.push((call.kind, due.elapsed())),
            Ok(Err(error)) => measured.failed(call, &format!("{error:#}")),
            Err(_) => measured.failed(call, "no answer in time"),
        }
    }
    measured
}

impl Measured {
    fn failed(&mut self, call: Call, why: &str) {
        self.errors += 1;
        if self.failures.len() < SHOWN {
            self.failures.push(format!("{}: {why}", call.kind.name()));
        }
    }
}
