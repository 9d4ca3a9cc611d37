//! Many open event streams: what they cost the server, that each one lives, and that an event arrives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use scale_benches::quantiles::Quantiles;
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::calls::Person;
use crate::link::Link;
use crate::server::Server;

/// Streams that open at once.
const AT_ONCE: usize = 64;
/// How long all streams stay open: longer than the server's time between signs of life (15 s).
const HELD: Duration = Duration::from_secs(18);
/// Jobs that are cancelled, so that their streams get an event.
const CANCELLED: usize = 100;
/// How long an event may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What streams cost.
#[derive(Debug, Serialize)]
pub(crate) struct StreamFigures {
    /// Streams that were open at once.
    pub(crate) open: usize,
    /// Until all were open, each having had its first event: tokens are checked here for the first time.
    pub(crate) opened_s: f64,
    /// Streams that had a sign of life while all were open.
    pub(crate) heartbeats: usize,
    /// Streams that ended by themselves, and why the first of them did.
    pub(crate) lost: usize,
    pub(crate) first_loss: Option<String>,
    /// Memory of the server before the first stream, with all open, and the most of all the time.
    pub(crate) resident_before_bytes: u64,
    pub(crate) resident_open_bytes: u64,
    pub(crate) resident_peak_bytes: u64,
    /// Jobs that were cancelled.
    pub(crate) cancelled: usize,
    /// From the call that cancels a job to the event on its stream.
    pub(crate) event: Quantiles,
    /// CPU time of the server while the streams were held, as a share of one core.
    pub(crate) held_cpu_share: f64,
}

/// What a stream saw.
#[derive(Debug)]
enum Seen {
    Open,
    Heartbeat,
    Failed(Instant),
    Ended(String),
}

/// Opens a stream for each of `people`, holds them, and cancels some of the jobs.
pub(crate) async fn measure(server: &Server, people: &[Arc<Person>]) -> anyhow::Result<StreamFigures> {
    let resident_before_bytes = server.resident();
    server.forget_peak()?;
    let begun = Instant::now();
    let free = Arc::new(Semaphore::new(AT_ONCE));
    let (sender, mut seen) = mpsc::unbounded_channel();
    // Aborted when dropped.
    let mut streams = JoinSet::new();
    for (n, person) in people.iter().cloned().enumerate() {
        let (sender, free, address) = (sender.clone(), free.clone(), server.address);
        streams.spawn(async move {
            let tell = |what| drop(sender.send((n, what)));
            let ended = match follow(address, &person, &free, &tell).await {
                Ok(()) => "it ended".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            tell(Seen::Ended(ended));
        });
    }
    drop(sender);
    let mut open = 0;
    while open < people.len() {
        match seen.recv().await.context("all streams ended")? {
            (_, Seen::Open) => open += 1,
            (_, Seen::Heartbeat) => {}
            (n, other) => anyhow::bail!("stream {n} did not open: {other:?}"),
        }
    }
    let opened_s = begun.elapsed().as_secs_f64();

    let cpu = server.cpu();
    let until = Instant::now() + HELD;
    let mut alive = vec![false; people.len()];
    let mut losses = Vec::new();
    while let Ok(Some((n, what))) = timeout_at(until, seen.recv()).await {
        match what {
            Seen::Heartbeat => alive[n] = true,
            Seen::Ended(why) => losses.push(why),
            Seen::Open | Seen::Failed(_) => {}
        }
    }
    sleep_until(until).await;
    let held_cpu_share = (server.cpu().saturating_sub(cpu)).as_secs_f64() / HELD.as_secs_f64();
    let resident_open_bytes = server.resident();

    let mut link = Link::open(server.address).await?;
    let mut sent = HashMap::new();
    for n in (0..people.len()).step_by(people.len().div_ceil(CANCELLED)) {
        let request = people[n].ask(Method::DELETE, &format!("training/jobs/{}", people[n].job));
        sent.insert(n, Instant::now());
        link.call(request.body(Default::default())?, StatusCode::OK).await?;
    }
    let cancelled = sent.len();
    let mut events = Vec::new();
    let until = Instant::now() + PATIENCE;
    while events.len() < cancelled {
        let Ok(Some((n, what))) = timeout_at(until, seen.recv()).await else { break };
        match (what, sent.get(&n)) {
            (Seen::Failed(at), Some(sent)) => events.push(at - *sent),
            (Seen::Ended(why), None) => losses.push(why),
            _ => {}
        }
    }
    Ok(StreamFigures {
        open,
        opened_s,
        heartbeats: alive.iter().filter(|alive| **alive).count(),
        lost: losses.len(),
        first_loss: losses.into_iter().next(),
        resident_before_bytes,
        resident_open_bytes,
        resident_peak_bytes: server.peak(),
        cancelled,
        event: Quantiles::of(events),
        held_cpu_share,
    })
}

/// Reads one stream to its end.
async fn follow(
    address: std::net::SocketAddr,
    person: &Person,
    free: &Semaphore,
    tell: &impl Fn(Seen),
) -> anyhow::Result<()> {
    let permit = free.acquire().await?;
    let mut link = Link::open(address).await?;
    let request = person.ask(Method::GET, &format!("training/stream/{}", person.job)).body(Default::default())?;
    let response = link.send(request).await?;
    ensure!(response.status() == StatusCode::OK, "answered with {}", response.status());
    let mut body = response.into_body();
    let mut opening = Some(permit);
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        text.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| &data[..]));
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = text.drain(..end + 2).collect();
            let has = |line: &[u8]| event.split(|byte| *byte == b'\n').any(|found| found == line);
            if event.starts_with(b":") {
                tell(Seen::Heartbeat);
            } else if has(b"event: failed") {
                tell(Seen::Failed(Instant::now()));
            } else if opening.take().is_some() {
                tell(Seen::Open);
            }
        }
    }
    Ok(())
}
