//! A real server on a free port, and what its clients need.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use scale_clock::{Clock as _, MockClock, SharedClock};
use scale_coordinator::auth::{Enrollment, Kind, Secrets};
use scale_coordinator::blobs::{Blobs, ModelUrls};
use scale_coordinator::grpc::{Health, Services, problem};
use scale_coordinator::staging::Staging;
use scale_coordinator::store::Store;
use scale_coordinator::{Coordinator, Parts, Settings};
use scale_proto::answer::Enroll;
use scale_proto::task::TaskConfig;
use scale_proto::time::Timestamp;
use scale_proto::{PROTOCOL, wire};
use scale_secagg::keys::IdentityKey;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::counting::Counting;
use crate::transport::{App, Cors, router, server};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A coordinator that listens, until it is dropped.
pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) app: App,
    pub(super) clock: MockClock,
    pub(super) touched: Arc<AtomicUsize>,
    pub(super) health: Health,
    pub(super) stop: CancellationToken,
    pub(super) served: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

/// What a test may want otherwise.
#[derive(Default)]
pub(super) struct Choices {
    /// Models in this folder.
    pub(super) folder: Option<tempfile::TempDir>,
    /// With reflection.
    pub(super) reflection: bool,
    /// What the port bears.
    pub(super) limits: server::Limits,
    /// How long a call waits for its stage.
    pub(super) long_poll: Option<Duration>,
}

impl Running {
    pub(super) async fn start() -> Self {
        Self::start_with(Choices::default()).await
    }

    pub(super) async fn start_with(choices: Choices) -> Self {
        let (blobs, touched) = match &choices.folder {
            Some(folder) => (Blobs::local(&folder.path().join("blobs")).unwrap(), Arc::default()),
            None => {
                let counting = Counting::default();
                let touched = counting.touched.clone();
                (Blobs::over(Arc::new(counting)), touched)
            }
        };
        let folder = choices.folder.unwrap_or_else(|| tempfile::tempdir().unwrap());
        let clock = MockClock::at(Timestamp::from_millis(1_700_000_000_000));
        let secrets = Secrets::random().unwrap();
        let store = Store::open_in_memory().await.unwrap();
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let signer = Arc::new(secrets.url_signer(&format!("http://{}", listener.local_addr().unwrap())));
        let authority = Arc::new(secrets.authority());
        let shared: SharedClock = Arc::new(clock.clone());
        let mut settings = Settings::default();
        // The clock of tests jumps.
        settings.standstill = 1000 * HOUR;
        settings.long_poll = choices.long_poll.unwrap_or(settings.long_poll);
        let coordinator = Coordinator::start(Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            clock: shared.clone(),
            task_key: Arc::new(secrets.task_key()),
            model_urls: ModelUrls::own(signer.clone(), shared.clone(), HOUR),
            staging: Staging::folder(folder.path().join("staging")).unwrap(),
            watch: Arc::new(()),
            settings,
        })
        .await
        .unwrap();
        let enrollment = Enrollment {
            store: store.clone(),
            authority: authority.clone(),
            clock: shared.clone(),
            task_key: secrets.task_key().public(),
            device_ttl: 24 * HOUR,
        };
        let app = App {
            services: Services { coordinator, authority, enrollment, clock: shared, reflection: choices.reflection },
            store,
            blobs,
            signer,
            cors: Cors { devices: vec![HeaderValue::from_static("*")], people: vec![] },
            #[cfg(feature = "facade")]
            rest: None,
        };
        touched.store(0, Ordering::SeqCst);
        Self::listen(app, listener, clock, touched, folder, choices.limits).await
    }

    /// Serves `app`.
    async fn listen(
        app: App,
        listener: tokio::net::TcpListener,
        clock: MockClock,
        touched: Arc<AtomicUsize>,
        folder: tempfile::TempDir,
        limits: server::Limits,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let health = Health::serving().await;
        let router = router(app.clone(), health.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let served = tokio::spawn(server::serve(listener, router, None, limits, stopped));
        Self { address, app, clock, touched, health, stop, served, _folder: folder }
    }

    /// The same coordinator at another address, with what `change` replaces: what devices meet after a start with other
    /// secrets on the same rows.
    pub(super) async fn restarted(&self, change: impl FnOnce(&mut App)) -> Self {
        let mut app = self.app.clone();
        change(&mut app);
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (clock, touched) = (self.clock.clone(), self.touched.clone());
        let folder = tempfile::tempdir().unwrap();
        Self::listen(app, listener, clock, touched, folder, server::Limits::default()).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url()).unwrap().connect().await.unwrap()
    }

    pub(super) fn token(&self, kind: Kind) -> String {
        self.app.services.authority.mint(kind, [1; 16], HOUR, self.clock.now()).token
    }

    pub(super) async fn device_token(&self) -> String {
        self.app
            .services
            .enrollment
            .enroll(&signed_enrollment(7, &self.token(Kind::Enroll)))
            .await
            .unwrap()
            .device_token
    }

    pub(super) fn get(&self, path_and_query: &str) -> reqwest::RequestBuilder {
        http_client().get(format!("{}{path_and_query}", self.url()))
    }

    pub(super) async fn blob(&self, path: &str, bytes: &'static [u8]) -> String {
        self.app.blobs.put_new(path, Bytes::from_static(bytes)).await.unwrap();
        self.touched.store(0, Ordering::SeqCst);
        let url = self.app.signer.sign_get(path, HOUR, self.clock.now()).unwrap();
        // Signed for the first address, if this is a second one.
        url[url.find("/v1/").unwrap()..].to_owned()
    }
}

pub(super) fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

pub(super) fn signed_enrollment(seed: u8, enroll_token: &str) -> Enroll {
    let key = IdentityKey::from_seed(&[seed; 32]);
    let identity_key = key.public();
    let signature = key.sign(&Enroll::signed_bytes(enroll_token, &identity_key));
    Enroll { enroll_token: enroll_token.to_owned(), identity_key, signature }
}

pub(super) fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// The stable code, from the details and from the metadata: they agree.
pub(super) fn code(status: &Status) -> String {
    let detail = scale_proto::status::read(status.details()).unwrap();
    assert_eq!(status.metadata().get(problem::ERROR_CODE).unwrap().to_str().unwrap(), detail.code, "{status:?}");
    assert!(!detail.sentence.is_empty());
    detail.code
}

pub(super) fn task(schedule: &str) -> TaskConfig {
    let json = serde_json::json!({
        "model": {"labels": ["a", "b"], "family": {"mlp": {"inputs": 3, "hidden": []}}},
        "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.1, "proximal_mu": 0.0, "time_limit_ms": 1000,
            "max_weight": 50, "holdout_permille": 0},
        "cohort": {"goal": 10, "floor": 10, "over_selection_permille": 1200, "session_max": 64},
        "timing": {"selecting_ms": 60_000, "training_ms": 60_000, "grace_ms": 60_000, "shares_ms": 60_000,
            "masked_input_ms": 60_000, "agreement_ms": 60_000, "unmask_ms": 60_000},
        "schedule": schedule, "aggregation": {"fed_avg": {"learning_rate": 1.0}},
        "quantization": {"clip": 1.0, "grid_factor": 64}, "privacy": {"mode": "none"}, "max_rounds": null
    });
    serde_json::from_value(json).unwrap()
}

pub(super) fn check_in() -> wire::CheckInRequest {
    wire::CheckInRequest { protocol: PROTOCOL, tasks: vec![], model_families: vec!["mlp".into()] }
}
