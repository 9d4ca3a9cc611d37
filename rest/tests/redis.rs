//! The link, the limiter and the messages with a real Redis, which for some of them is stopped in the middle.

mod limit_cases;

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use proptest::collection::vec;
use proptest::prelude::*;
use scale_clock::Timestamp;
use scale_records::domain::UserId;
use scale_rest::limit::{Bucket, LimitConfig, Limiter, Memory, Shared, WINDOW};
use scale_rest::redis::{Event, Link, LinkError, LinkOptions, Script, Subscription};

const LONG: Duration = Duration::from_secs(20);

/// The server that the test command has started.
fn shared_server() -> String {
    std::env::var("SCALE_TEST_REDIS")
        .expect("SCALE_TEST_REDIS is not set: run `cargo xtask test`, which starts a Redis")
}

/// As in production, with more patience: the machine that tests may be busy.
fn options() -> LinkOptions {
    LinkOptions {
        deadline: Duration::from_secs(2),
        first_probe: Duration::from_millis(50),
        longest_probe: Duration::from_millis(200),
        heartbeat: Duration::from_millis(200),
        ..LinkOptions::default()
    }
}

fn link() -> Link {
    Link::open_with(&shared_server(), options()).unwrap()
}

/// A name that no other test has.
fn unique(what: &str) -> String {
    format!("test:{what}:{}", UserId::new())
}

/// A Redis of one test, which the test stops and starts. With a password, so that the logs can be searched for it.
struct Server {
    port: u16,
    process: Option<Child>,
    folder: tempfile::TempDir,
}

const PASSWORD: &str = "correct-horse-battery";

impl Server {
    fn new() -> Self {
        // Free a moment ago: nobody else asks for it by number.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { port, process: None, folder: tempfile::tempdir().unwrap() }
    }

    fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    async fn start(&mut self) {
        let port = self.port.to_string();
        let process = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--requirepass", PASSWORD, "--dir"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is not in PATH: run `cargo xtask test`, which installs it");
        self.process = Some(process);
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(started.elapsed() < LONG, "redis-server does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stops or continues answering, with the connections open.
    fn signal(&self, signal: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is().await {
        assert!(started.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The gauge `scale_redis_up`, as the exporter would see it.
#[derive(Clone, Default)]
struct UpGauge(Arc<AtomicU64>);

impl UpGauge {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::SeqCst))
    }
}

impl Recorder for UpGauge {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        assert_eq!(key.name(), "scale_redis_up");
        Gauge::from_arc(self.0.clone())
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Everything that is logged, down to the last detail of this crate and of the client's.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn count(&self, level: &str) -> usize {
        self.text().lines().filter(|line| line.split_whitespace().nth(1) == Some(level)).count()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn values_are_kept_for_their_time_and_forgotten() {
    let link = link();
    let key = unique("value");
    assert_eq!(link.get(&key).await, Ok(None));
    link.set_ex(&key, b"\x00\xff{}", Duration::from_secs(60)).await.unwrap();
    assert_eq!(link.get(&key).await, Ok(Some(b"\x00\xff{}".to_vec())));
    link.del(&key).await.unwrap();
    assert_eq!(link.get(&key).await, Ok(None));
    link.set_ex(&key, b"short", Duration::ZERO).await.unwrap();
    until("a value outlives its time", async || link.get(&key).await == Ok(None)).await;
    link.set_ex(&key, b"long", Duration::MAX).await.unwrap_err();
    assert!(link.is_up(), "a call that Redis refuses is not an outage");
    link.set_ex(&key, b"text", LONG).await.unwrap();
    let wrong = link.script::<i64>(&Script::new("return redis.call('LLEN', KEYS[1])"), &key, &[]).await.unwrap_err();
    assert_eq!(wrong.code(), "redis_refused");
    assert!(wrong.to_string().contains("WRONGTYPE"), "{wrong}");
    assert!(link.is_up());
    link.del(&key).await.unwrap();
}

#[tokio::test]
async fn redis_answers_as_memory_does() {
    let shared = Shared::new(link());
    let take = async |bucket, limit, now| shared.take(bucket, limit, Some(now)).await.unwrap();
    limit_cases::check(take).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any calls at any times: a window's border and the weighted sum are the same in Lua's doubles and in our integers.
    #[test]
    fn redis_and_memory_agree(limit in 1_u32..60, steps in vec((0_u64..70_000, 1_u32..20), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (shared, memory) = (Shared::new(link()), Memory::new(1000));
            let bucket = Bucket::Import(UserId::new());
            let mut now = limit_cases::START;
            for (step, calls) in steps {
                now += step;
                for _ in 0..calls {
                    let at = Timestamp::from_millis(now);
                    prop_assert_eq!(shared.take(bucket, limit, Some(at)).await.unwrap(), memory.take(bucket, limit, at));
                }
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn replicas_get_the_limit_together() {
    let config = LimitConfig { user_per_minute: 50, ..LimitConfig::default() };
    let bucket = Bucket::User(UserId::new());
    let replicas = [Limiter::new(&config, Some(link())), Limiter::new(&config, Some(link()))];
    // Their own clocks differ by an hour, and that does not matter.
    let now = |replica: usize| Timestamp::from_millis(limit_cases::START + replica as u64 * 3_600_000);
    let calls: Vec<_> = (0..200)
        .map(|call| {
            let limiter = replicas[call % 2].clone();
            tokio::spawn(async move { limiter.take(bucket, now(call % 2)).await })
        })
        .collect();
    let mut allowed = 0;
    for call in calls {
        let decision = call.await.unwrap();
        allowed += u32::from(decision.allowed);
        assert!(decision.reset <= 2 * WINDOW);
    }
    assert_eq!(allowed, 50);
}

/// The whole life of an outage: nothing waits, limits go on in memory, one line of log and one gauge say so.
#[tokio::test]
async fn a_redis_that_dies_and_comes_back_is_noticed_and_costs_no_time() {
    let (log, gauge) = (Log::default(), UpGauge::default());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let _log = tracing::subscriber::set_default(subscriber.finish());
    let _gauge = metrics::set_default_local_recorder(&gauge);

    let mut server = Server::new();
    server.start().await;
    let link = Link::open_with(&server.url(), options()).unwrap();
    let config = LimitConfig { user_per_minute: 5, ..LimitConfig::default() };
    let limiter = Limiter::new(&config, Some(link.clone()));
    let bucket = Bucket::User(UserId::new());
    let now = Timestamp::from_millis(limit_cases::START);
    for remaining in [4, 3, 2] {
        assert_eq!(limiter.take(bucket, now).await.remaining, remaining);
    }
    assert!(link.is_up());
    assert_eq!((gauge.get(), log.count("INFO"), log.count("WARN")), (1.0, 1, 0));

    server.stop();
    until("a dead Redis is not noticed", async || {
        let _ = link.get("x").await;
        !link.is_up()
    })
    .await;
    assert_eq!((gauge.get(), log.count("INFO"), log.count("WARN")), (0.0, 1, 1));
    let started = Instant::now();
    for _ in 0..1000 {
        assert_eq!(link.get("x").await, Err(LinkError::Down));
    }
    let spent = started.elapsed();
    assert!(spent < Duration::from_millis(50), "1,000 calls to a dead Redis took {spent:?}");
    let memory: Vec<_> = [(); 7].iter().map(|()| limiter.take(bucket, now)).collect();
    let mut allowed = 0;
    for call in memory {
        allowed += u32::from(call.await.allowed);
    }
    assert_eq!(allowed, 5, "memory has the same limit");

    // Probes fail meanwhile, silently.
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.start().await;
    until("a living Redis is not noticed", async || link.is_up()).await;
    assert_eq!((gauge.get(), log.count("INFO"), log.count("WARN")), (1.0, 2, 1));
    assert_eq!(limiter.take(bucket, now).await.remaining, 4, "a new Redis knows neither the script nor the counts");

    // Alive, and deaf: every call costs its deadline until the breaker opens.
    let deadline = Duration::from_millis(50);
    let impatient = Link::open_with(&server.url(), LinkOptions { deadline, ..options() }).unwrap();
    until("a living Redis takes no value", async || impatient.set_ex("x", b"1", LONG).await.is_ok()).await;
    server.signal("-STOP");
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(impatient.get("x").await, Err(LinkError::Down));
    }
    let spent = started.elapsed();
    assert!(spent >= 3 * deadline && spent < 20 * deadline, "3 of 100 calls may wait {deadline:?}: {spent:?}");
    assert!(!impatient.is_up());
    server.signal("-CONT");
    until("a Redis that was deaf is not noticed", async || impatient.is_up()).await;
    until("a value is lost", async || impatient.get("x").await == Ok(Some(b"1".to_vec()))).await;

    let text = log.text();
    assert!(text.contains("redis is down") && text.contains(&format!("127.0.0.1:{}", server.port)), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
}

#[tokio::test]
async fn a_wrong_password_is_an_outage_and_no_secret() {
    let mut server = Server::new();
    server.start().await;
    let url = server.url().replace(PASSWORD, "hunter2");
    let link = Link::open_with(&url, options()).unwrap();
    for _ in 0..5 {
        let error = link.get("x").await.unwrap_err();
        assert_eq!(error, LinkError::Down);
    }
    assert!(!link.is_up());
    assert!(!format!("{link:?}").contains("hunter2"));
    // Without any password the connection comes up, and calls are refused.
    let open = Link::open_with(&format!("redis://127.0.0.1:{}", server.port), options()).unwrap();
    for _ in 0..5 {
        open.get("x").await.unwrap_err();
    }
    assert!(!open.is_up());
}

async fn next(subscription: &mut Subscription) -> Event {
    tokio::time::timeout(LONG, subscription.next()).await.expect("an event in time").expect("it never ends")
}

fn message(channel: &str, payload: &'static [u8]) -> Event {
    Event::Message { channel: channel.to_owned(), payload: payload.into() }
}

#[tokio::test]
async fn messages_reach_those_who_listen() {
    let link = link();
    let (channel, other) = (unique("channel"), unique("other"));
    let mut exact = link.subscribe(&channel);
    let mut several = link.subscribe_pattern(&format!("{channel}*"));
    // From the first gap on nothing is missed.
    assert_eq!(next(&mut exact).await, Event::Gap);
    assert_eq!(next(&mut several).await, Event::Gap);
    let longer = format!("{channel}:more");
    assert_eq!(link.publish(&other, b"0").await, Ok(0));
    assert_eq!(link.publish(&longer, b"1").await, Ok(1));
    // Longer than a heartbeat without a message is not a lost connection.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(link.publish(&channel, b"2").await, Ok(2));
    assert_eq!(next(&mut exact).await, message(&channel, b"2"));
    assert_eq!(next(&mut several).await, message(&longer, b"1"));
    assert_eq!(next(&mut several).await, message(&channel, b"2"));
    drop(several);
    until("a dropped subscription stays", async || link.publish(&longer, b"3").await == Ok(0)).await;
}

#[tokio::test]
async fn a_subscription_outlives_its_redis_and_says_what_it_may_have_missed() {
    let mut server = Server::new();
    let link = Link::open_with(&server.url(), options()).unwrap();
    let mut subscription = link.subscribe("c");
    // Nobody is there yet; it waits.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for round in 0..2 {
        server.start().await;
        assert_eq!(next(&mut subscription).await, Event::Gap, "round {round}");
        until("the link is not up", async || link.publish("c", b"hello").await == Ok(1)).await;
        assert_eq!(next(&mut subscription).await, message("c", b"hello"));
        server.stop();
    }
    // A connection that is open and dead.
    server.start().await;
    assert_eq!(next(&mut subscription).await, Event::Gap);
    server.signal("-STOP");
    tokio::time::sleep(Duration::from_millis(200) + LinkOptions::default().connect + Duration::from_millis(500)).await;
    server.signal("-CONT");
    assert_eq!(next(&mut subscription).await, Event::Gap);
    until("the link is not up", async || link.publish("c", b"again").await == Ok(1)).await;
    assert_eq!(next(&mut subscription).await, message("c", b"again"));
}
