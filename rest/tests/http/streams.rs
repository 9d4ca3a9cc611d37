//! Server-sent events.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use http::{Method, Response, StatusCode};
use scale_rest::training::{Outcome, Report};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::world::{Client, World};

async fn open(person: &Client<'_>, job: &str, last_event_id: Option<&str>) -> Response<Body> {
    let mut request = person.request(Method::GET, &format!("/api/v1/training/stream/{job}"));
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    person.world.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// An event stream as a browser reads it.
struct Events(BodyDataStream, String);

#[derive(Debug, PartialEq)]
enum Heard {
    Event { name: String, id: u64, data: Value },
    Heartbeat,
    End,
}

impl Events {
    async fn open(person: &Client<'_>, job: &str, last_event_id: Option<&str>) -> Self {
        let response = open(person, job, last_event_id).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self(response.into_body().into_data_stream(), String::new())
    }

    async fn next(&mut self) -> Heard {
        loop {
            if let Some((block, rest)) = self.1.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = block.lines().filter_map(|line| line.strip_prefix(name));
                    lines.map(|value| value.trim_start_matches(':').trim().to_owned()).next()
                };
                let heard = match (field("event"), field("id"), field("data")) {
                    (Some(name), Some(id), Some(data)) => {
                        Heard::Event { name, id: id.parse().unwrap(), data: serde_json::from_str(&data).unwrap() }
                    }
                    _ => {
                        assert!(block.starts_with(':'), "{block}");
                        Heard::Heartbeat
                    }
                };
                self.1 = rest.to_owned();
                return heard;
            }
            match self.0.next().await {
                Some(bytes) => self.1.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap()),
                None => return Heard::End,
            }
        }
    }

    #[track_caller]
    fn check(heard: Heard, expected: (&str, u64, &str, u64)) {
        let Heard::Event { name, id, data } = heard else { panic!("{heard:?}, not {expected:?}") };
        let status = data["status"].as_str().unwrap().to_owned();
        assert_eq!((&*name, id, &*status, data["done_permille"].as_u64().unwrap()), expected, "{data}");
    }
}

#[tokio::test]
async fn a_stream_tells_of_progress_and_the_end() {
    let world = World::new().await;
    let person = world.person();
    let (job, credential) = person.job().await;
    let round = Uuid::new_v4();
    let report = |done_permille| Report { done_permille, round_id: Some(round) };
    let mut events = Events::open(&person, &job, None).await;
    Events::check(events.next().await, ("progress", 0, "pending", 0));
    world.hub.report(&credential, report(0)).await.unwrap();
    Events::check(events.next().await, ("progress", 1, "processing", 0));
    world.hub.report(&credential, report(420)).await.unwrap();
    Events::check(events.next().await, ("progress", 421, "processing", 420));
    // What is not further is no event.
    world.hub.report(&credential, report(400)).await.unwrap();
    world.hub.report(&credential, report(430)).await.unwrap();
    Events::check(events.next().await, ("progress", 431, "processing", 430));

    // Somebody who comes back hears what is newer, or the present state.
    let mut late = Events::open(&person, &job, Some("421")).await;
    Events::check(late.next().await, ("progress", 431, "processing", 430));
    let mut fresh = Events::open(&person, &job, Some("431")).await;
    let mut bogus = Events::open(&person, &job, Some("99999999999999999999")).await;

    let outcome = Outcome::Committed { version: 43, metrics: [("accuracy".to_owned(), 0.94)].into() };
    world.hub.round_ended(round, &outcome).await.unwrap();
    for events in [&mut events, &mut late, &mut fresh, &mut bogus] {
        let Heard::Event { name, id, data } = events.next().await else { panic!("no event") };
        assert_eq!((&*name, id), ("complete", 1002));
        assert_eq!((&data["metrics"], &data["model_version"]), (&json!({"accuracy": 0.94}), &json!(43)));
        assert_eq!(events.next().await, Heard::End);
    }
    // Nothing will follow: a browser stops coming back.
    assert_eq!(open(&person, &job, Some("1002")).await.status(), StatusCode::NO_CONTENT);
    let mut again = Events::open(&person, &job, Some("431")).await;
    assert!(matches!(again.next().await, Heard::Event { id: 1002, .. }));
    for bad in ["x", "-1", "", "1.5"] {
        assert_eq!(open(&person, &job, Some(bad)).await.status(), StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn a_failure_is_the_last_event() {
    let world = World::new().await;
    let person = world.person();
    let (job, credential) = person.job().await;
    let round = Uuid::new_v4();
    world.hub.report(&credential, Report { done_permille: 900, round_id: Some(round) }).await.unwrap();
    let mut events = Events::open(&person, &job, None).await;
    Events::check(events.next().await, ("progress", 901, "processing", 900));
    let reason = "too few devices took part".to_owned();
    world.hub.round_ended(round, &Outcome::Abandoned { reason: reason.clone() }).await.unwrap();
    let Heard::Event { name, data, .. } = events.next().await else { panic!("no event") };
    assert_eq!((&*name, &data["failure"]), ("failed", &json!(reason)));
    assert_eq!(events.next().await, Heard::End);
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_state_only() {
    let world = World::new().await;
    let person = world.person();
    let (job, credential) = person.job().await;
    let mut events = Events::open(&person, &job, None).await;
    Events::check(events.next().await, ("progress", 0, "pending", 0));
    for done_permille in 1..=1000 {
        world.hub.report(&credential, Report { done_permille, round_id: None }).await.unwrap();
    }
    Events::check(events.next().await, ("progress", 1001, "processing", 1000));
    world.hub.forget(person.user).await;
    assert_eq!(events.next().await, Heard::End, "a person who has gone has no streams");
}

#[tokio::test]
async fn a_quiet_stream_beats_and_then_ends() {
    let world = World::with(|config| config.stream_idle_s = 300).await;
    let person = world.person();
    let (job, credential) = person.job().await;
    world.hub.report(&credential, Report { done_permille: 1, round_id: None }).await.unwrap();
    let mut events = Events::open(&person, &job, None).await;
    Events::check(events.next().await, ("progress", 2, "processing", 1));
    // From here on nothing asks the database, and time goes as fast as nothing happens.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let quarter = Duration::from_secs(15);
    for beat in 1..=19 {
        assert_eq!(events.next().await, Heard::Heartbeat);
        let late = started.elapsed() - quarter * beat;
        assert!(late < Duration::from_millis(500), "{beat}: {late:?}");
    }
    // An event begins the idle time anew.
    world.hub.report(&credential, Report { done_permille: 2, round_id: None }).await.unwrap();
    Events::check(events.next().await, ("progress", 3, "processing", 2));
    let started = tokio::time::Instant::now();
    loop {
        match events.next().await {
            Heard::Heartbeat => {}
            Heard::End => break,
            other => panic!("{other:?}"),
        }
    }
    let lasted = started.elapsed();
    assert!((299..=301).contains(&lasted.as_secs()), "{lasted:?}");
}

#[tokio::test]
async fn a_stream_does_not_outlive_its_token() {
    let world = World::with(|config| config.stream_idle_s = 86_400).await;
    let person = world.person();
    let (job, _) = person.job().await;
    let mut events = Events::open(&person, &job, None).await;
    Events::check(events.next().await, ("progress", 0, "pending", 0));
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    while events.next().await != Heard::End {}
    assert_eq!(started.elapsed().as_secs() / 60, 60);
}

#[tokio::test]
async fn streams_are_counted() {
    let world = World::with(|config| config.max_streams = 2).await;
    let person = world.person();
    let (job, _) = person.job().await;
    let _first = Events::open(&person, &job, None).await;
    let second = Events::open(&person, &job, None).await;
    person.get(&format!("/api/v1/training/stream/{job}")).await.problem(503, "too_many_streams");
    drop(second);
    Events::open(&person, &job, None).await;
}
