//! What every request meets on this port, whatever it asks for: its id, CORS, its line in the log.

use std::cell::RefCell;
use std::sync::Once;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use scale_clock::{Clock as _, SharedClock};
use scale_proto::wire::rounds_client::RoundsClient;
use scale_records::domain::UserId;
use scale_rest::auth::{Assurance, DevIssuer, Role};

use super::running::{Running, bearing, check_in, http_client};
use crate::facade::{Facade, watch};
use crate::files;
use crate::transport::Cors;

/// A port with people's API on it.
struct Whole {
    running: Running,
    issuer: DevIssuer,
    facade: Facade,
    _folder: tempfile::TempDir,
}

impl Whole {
    async fn start(devices: &[&'static str], people: &[&'static str]) -> Self {
        let running = Running::start().await;
        let folder = tempfile::tempdir().unwrap();
        let services = &running.app.services;
        let clock: SharedClock = services.clock.clone();
        let (_, inbox) = watch(true);
        let hour = Duration::from_secs(3600);
        let config = scale_rest::Config::default();
        let facade =
            Facade::open(&config, folder.path(), &services.coordinator, &services.authority, hour, &clock, inbox)
                .await
                .unwrap();
        let issuer = DevIssuer::load_or_create(&folder.path().join(files::PEOPLE_ISSUER)).unwrap();
        let origins = |origins: &[&'static str]| origins.iter().map(|text| HeaderValue::from_static(text)).collect();
        let cors = Cors { devices: origins(devices), people: origins(people) };
        let running = running
            .restarted(|app| {
                app.rest = Some(facade.api.clone());
                app.cors = cors;
            })
            .await;
        Self { running, issuer, facade, _folder: folder }
    }

    fn call(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        http_client().request(method, format!("{}{path}", self.running.url()))
    }
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_request_has_one_name() {
    let whole = Whole::start(&["*"], &[]).await;
    for path in ["/api/v1/nothing", "/nothing", "/health", "/v1/blobs/x"] {
        for (given, kept) in [
            ("trace-1.a_B", true),
            ("a b", false),
            ("", false),
            ("x\u{2028}y", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
            ("\"><script>", false),
        ] {
            let value = HeaderValue::from_bytes(given.as_bytes()).unwrap();
            let answer = whole.call(Method::GET, path).header("x-request-id", value).send().await.unwrap();
            let id = header(&answer, "x-request-id").to_owned();
            if kept {
                assert_eq!(id, given, "{path}");
            } else {
                assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7, "{path}: {given}");
            }
            if path.starts_with("/api/") {
                let problem: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
                assert_eq!((&problem["code"], &problem["request_id"]), (&"unknown_path".into(), &id.into()));
            }
        }
    }
    // A gRPC call has one too.
    let mut rounds = RoundsClient::new(whole.running.channel().await);
    let mut request = bearing("x", check_in());
    request.metadata_mut().insert("x-request-id", "of-a-phone".parse().unwrap());
    let refused = rounds.check_in(request).await.unwrap_err();
    assert_eq!(refused.metadata().get("x-request-id").unwrap(), "of-a-phone");
    whole.facade.close().await;
}

#[tokio::test]
async fn pages_of_listed_origins_may_call() {
    let whole = Whole::start(&["https://train.example.com"], &["https://app.example.com"]).await;
    let mine = |path: &str| match path.starts_with("/api/") {
        true => "https://app.example.com",
        false => "https://train.example.com",
    };
    for path in ["/api/v1/transactions", "/scale.fl.v1.Rounds/CheckIn", "/v1/blobs/x"] {
        for origin in ["https://app.example.com", "https://train.example.com", "https://evil.example", "null"] {
            let allowed = origin == mine(path);
            let preflight = whole
                .call(Method::OPTIONS, path)
                .header("origin", origin)
                .header("access-control-request-method", "POST");
            let answer = preflight.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{path}: a preflight needs no token");
            assert_eq!(header(&answer, "access-control-allow-origin") == origin, allowed, "{path} {origin}");
            assert_eq!(header(&answer, "access-control-allow-methods").contains("PATCH"), allowed, "{path} {origin}");
            for name in ["authorization", "x-grpc-web", "last-event-id"] {
                let named = header(&answer, "access-control-allow-headers").contains(name);
                assert_eq!(named, allowed, "{path} {origin} {name}");
            }

            let answer = whole.call(Method::GET, path).header("origin", origin).send().await.unwrap();
            assert_eq!(header(&answer, "access-control-allow-origin") == origin, allowed, "{path} {origin}");
            for name in ["x-request-id", "grpc-status", "ratelimit-limit"] {
                let named = header(&answer, "access-control-expose-headers").contains(name);
                assert_eq!(named, allowed, "{path} {origin} {name}");
            }
            assert!(header(&answer, "vary").contains("origin"), "{path} {origin}");
        }
    }
    // What asks for no preflight is a method that is not there.
    let options = whole.call(Method::OPTIONS, "/api/v1/health").header("origin", "https://app.example.com");
    assert_eq!(options.send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    whole.facade.close().await;

    let open = Whole::start(&["*"], &[]).await;
    for (path, expected) in [("/health", "*"), ("/api/v1/health", "")] {
        let answer = open.call(Method::GET, path).header("origin", "https://any.example").send().await.unwrap();
        assert_eq!(header(&answer, "access-control-allow-origin"), expected, "{path}");
    }
    open.facade.close().await;
}

thread_local! {
    /// What has been logged on this thread, if somebody wants to know.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Writes to [`LOG`]. One subscriber for all threads: with one of its own, a thread would miss the lines whose code another
/// thread had reached first.
#[derive(Clone, Copy)]
struct OnThisThread;

impl OnThisThread {
    fn begin() {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter("scale_server=trace,scale_rest=trace,scale_coordinator=trace")
                .with_ansi(false)
                .with_writer(|| Self)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        LOG.set(Some(Vec::new()));
    }

    fn end() -> String {
        String::from_utf8(LOG.take().unwrap()).unwrap()
    }
}

impl std::io::Write for OnThisThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.as_mut().map(|log| log.extend_from_slice(bytes)));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Client and server share this thread, and with it the log.
#[tokio::test]
async fn a_request_has_one_line_without_token_query_id_or_body() {
    let whole = Whole::start(&["*"], &[]).await;
    let url = whole.running.blob("models/m/1.safetensors", b"weights").await;
    let device = whole.running.device_token().await;
    OnThisThread::begin();

    let user = UserId::new();
    let hour = Duration::from_secs(3600);
    let token = whole.issuer.mint(user, Role::User, Assurance::Aal1, hour, whole.running.clock.now());
    let body = r#"{"transaction_date": "2023-11-01", "direction": "expense", "amount": "77.77", "currency": "EUR",
        "description": "Secret Clinic", "merchant_name": "Secret GmbH"}"#;
    let created = whole
        .call(Method::POST, "/api/v1/transactions")
        .bearer_auth(&token)
        .header("content-type", "application/json")
        .body(body);
    let created: serde_json::Value =
        serde_json::from_slice(&created.send().await.unwrap().bytes().await.unwrap()).unwrap();
    let id = created["id"].as_str().unwrap_or_else(|| panic!("{created}"));
    whole.call(Method::GET, &format!("/api/v1/transactions/{id}")).bearer_auth(&token).send().await.unwrap();
    whole.call(Method::GET, "/api/v1/transactions?merchant=clinic").send().await.unwrap();
    whole.call(Method::GET, &url).send().await.unwrap();
    whole.call(Method::GET, "/somewhere/private").send().await.unwrap();
    let mut rounds = RoundsClient::new(whole.running.channel().await);
    rounds.check_in(bearing(&device, check_in())).await.unwrap();
    rounds.check_in(bearing("nonsense", check_in())).await.unwrap_err();

    let text = OnThisThread::end();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("answered")).collect();
    let user = format!("user={user}");
    let expected: [&[&str]; 7] = [
        &["INFO", "method=POST", "route=\"/api/v1/transactions\"", &user, "status=201"],
        &["INFO", "method=GET", "route=\"/api/v1/transactions/{id}\"", &user, "status=200"],
        &["INFO", "route=\"/api/v1/transactions\"", "code=\"missing_token\"", "status=401"],
        &["DEBUG", "route=\"/v1/blobs/{*path}\"", "status=200"],
        &["DEBUG", "route=\"\"", "status=404"],
        &["DEBUG", "route=\"/scale.fl.v1.Rounds/CheckIn\"", "status=200"],
        &["DEBUG", "route=\"/scale.fl.v1.Rounds/CheckIn\"", "code=\"bad_token\"", "grpc_status=\"16\""],
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, parts) in lines.iter().zip(expected) {
        for part in parts {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    let query = url.split_once("sig=").unwrap().1;
    for secret in ["Secret", "clinic", "77.77", id, &token[..20], query, "private", &device[..30], "nonsense"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    whole.facade.close().await;
}
