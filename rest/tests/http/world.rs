//! A facade for one test, its clock, and clients of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use scale_clock::{Clock as _, MockClock, SharedClock, Timestamp};
use scale_records::domain::UserId;
use scale_records::store::{self, Location, Records};
use scale_rest::Config;
use scale_rest::auth::{Assurance, DevIssuer, Role, Verifier};
use scale_rest::http::{Api, EnrollmentError, EnrollmentToken, LatestModel, MintEnrollment, Model, ModelError, router};
use scale_rest::limit::Limiter;
use scale_rest::training::{Hub, Options};
use serde_json::Value;
use tower::ServiceExt as _;

/// 2026-11-23, midnight.
pub(crate) const START: u64 = 1_795_392_000_000;

/// What the port calls every request of these tests.
const REQUEST_ID: &str = "0198c2f4-5f0e-7000-8000-1f2e3d4c5b6a";

/// A facade, alone in memory.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) hub: Hub,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) issuer: DevIssuer,
    pub(crate) clock: MockClock,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With other settings; nothing is limited unless they say so.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.limit.ip_per_minute = 0;
        config.limit.user_per_minute = 0;
        config.limit.import_per_minute = 0;
        change(&mut config);
        config.check().unwrap();

        let folder = tempfile::tempdir().unwrap();
        let issuer = DevIssuer::load_or_create(&folder.path().join("issuer")).unwrap();
        let records = store::open(&Location::Memory).await.unwrap();
        let clock = MockClock::at(Timestamp::from_millis(START));
        let shared: SharedClock = Arc::new(clock.clone());
        let hub = Hub::new(records.clone(), None, shared.clone(), Options::default());
        let api = Api {
            records: records.clone(),
            verifier: Verifier::development(&issuer),
            limiter: Limiter::new(&config.limit, None),
            hub: hub.clone(),
            models: Arc::new(Models),
            enrollment: Arc::new(Enrollments { clock: shared.clone(), minted: AtomicU64::new(0) }),
            clock: shared,
            config,
        };
        Self { router: router(api), hub, records, issuer, clock, _folder: folder }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn token(&self, user: UserId, role: Role, assurance: Assurance) -> String {
        self.issuer.mint(user, role, assurance, Duration::from_secs(3600), self.now())
    }

    /// Somebody new.
    pub(crate) fn person(&self) -> Client<'_> {
        let user = UserId::new();
        Client { world: self, user, token: Some(self.token(user, Role::User, Assurance::Aal1)) }
    }

    /// Somebody without a token.
    pub(crate) fn nobody(&self) -> Client<'_> {
        Client { world: self, user: UserId::new(), token: None }
    }
}

/// One caller.
pub(crate) struct Client<'a> {
    pub(crate) world: &'a World,
    pub(crate) user: UserId,
    pub(crate) token: Option<String>,
}

impl Client<'_> {
    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(path);
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends it as the port passes it on, with an id.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        request.headers_mut().insert("x-request-id", http::HeaderValue::from_static(REQUEST_ID));
        let response = self.world.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.with_json(Method::POST, path, body).await
    }

    pub(crate) async fn with_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = self.request(method, path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn import(&self, query: &str, media: &str, file: impl Into<Bytes>) -> Answer {
        let path = format!("/api/v1/transactions/import{query}");
        let request = self.request(Method::POST, &path).header(header::CONTENT_TYPE, media);
        self.send(request.body(Body::from(file.into())).unwrap()).await
    }

    /// A stored transaction.
    pub(crate) async fn transaction(&self, day: &str, amount: &str, description: &str) -> Value {
        let body = serde_json::json!({
            "transaction_date": day, "direction": "expense", "amount": amount, "currency": "EUR",
            "description": description, "merchant_name": format!("{description} GmbH"),
        });
        let answer = self.post("/api/v1/transactions", &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()
    }

    /// A new training job and its credential.
    pub(crate) async fn job(&self) -> (String, Vec<u8>) {
        use base64::Engine as _;
        let answer = self.post("/api/v1/training/jobs", &serde_json::json!({"model_type": "categorizer"})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        let created = answer.json();
        let credential = created["credential"].as_str().unwrap();
        let credential = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(credential).unwrap();
        (created["job"]["id"].as_str().unwrap().to_owned(), credential)
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The problem that it must be, whole and of this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        let problem = self.json();
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["title"], self.status.canonical_reason().unwrap());
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code, "{problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        assert_eq!(problem["request_id"], REQUEST_ID);
        problem
    }
}

/// Numbers its tokens. Those that would live for [`BROKEN_TTL_S`] cannot be minted.
struct Enrollments {
    clock: SharedClock,
    minted: AtomicU64,
}

/// Life of the tokens that the world cannot mint.
pub(crate) const BROKEN_TTL_S: u64 = 666;

impl MintEnrollment for Enrollments {
    fn mint(&self, ttl: Duration) -> Result<EnrollmentToken, EnrollmentError> {
        if ttl.as_secs() == BROKEN_TTL_S {
            return Err(EnrollmentError("there is no randomness left".to_owned()));
        }
        let number = self.minted.fetch_add(1, Ordering::SeqCst);
        Ok(EnrollmentToken { token: format!("scale_enroll_{number}.x"), expires_at: self.clock.now().plus(ttl) })
    }
}

struct Models;

#[async_trait]
impl LatestModel for Models {
    async fn tasks(&self) -> Result<Vec<String>, ModelError> {
        Ok(vec!["categorizer".to_owned(), "untrained".to_owned()])
    }

    async fn latest(&self, task: &str) -> Result<Option<Model>, ModelError> {
        if task == "broken" {
            return Err(ModelError("the disk is on fire".to_owned()));
        }
        Ok((task == "categorizer").then(|| Model {
            task: task.to_owned(),
            version: 43,
            sha256: [0xab; 32],
            url: "https://models.example/v43?sig=x".to_owned(),
            url_expires: Timestamp::from_millis(START + 3_600_000),
            size_bytes: 1_000_000,
            created_at: Timestamp::from_millis(START),
        }))
    }
}
