//! What stands between an app and the coordinator: an HTTP proxy that passes everything on, and withholds calls for as long
//! as a test wants. So a test decides where in its round a device is when something happens to it.
//!
//! It takes HTTP/2 without TLS (gRPC) and HTTP/1.1 (downloads), and is itself on HTTP/2 with the coordinator. Bodies and
//! trailers stream through. If the coordinator goes away, the app's connection breaks, as it would without a gate.

mod hold;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use hold::Holds;
pub use hold::{Call, Moment};

/// How long [`Gate::reached`] waits for a call.
const PATIENCE: Duration = Duration::from_secs(60);

/// The proxy. Connections break when it is dropped.
pub struct Gate {
    url: String,
    holds: Arc<Holds>,
    accepting: JoinHandle<()>,
}

impl Gate {
    /// Opens one in front of `coordinator`, an `http://HOST:PORT`.
    ///
    /// # Errors
    /// The address is not one, or there is no free port.
    pub async fn before(coordinator: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("the gate has no port")?;
        let url = format!("http://{}", listener.local_addr()?);
        let holds = Arc::<Holds>::default();
        let way = Way::new(coordinator, holds.clone())?;
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, way.clone()));
                // Those that are over need no place any more.
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { url, holds, accepting })
    }

    /// `http://127.0.0.1:PORT`: what an app takes for the coordinator's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Withholds all calls of this kind from now on, until they are released. Other kinds that are held stay so.
    ///
    /// # Errors
    /// They are held already.
    pub fn hold(&self, call: Call, moment: Moment) -> anyhow::Result<()> {
        self.holds.add(call, moment)
    }

    /// Waits until a call of this kind is withheld, or of any kind that is held; says which.
    ///
    /// # Errors
    /// Nothing such is held, or there has been no such call for a minute.
    pub async fn reached(&self, call: Option<Call>) -> anyhow::Result<Call> {
        self.holds.reached(call, PATIENCE).await
    }

    /// Lets the calls of this kind go on, or those of all kinds, and holds none of them any more.
    ///
    /// # Errors
    /// Nothing such is held.
    pub fn release(&self, call: Option<Call>) -> anyhow::Result<()> {
        self.holds.release(call)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The way to the coordinator.
#[derive(Clone)]
struct Way {
    client: Client<HttpConnector, Incoming>,
    coordinator: Uri,
    holds: Arc<Holds>,
}

impl Way {
    fn new(coordinator: &str, holds: Arc<Holds>) -> anyhow::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
        let coordinator = coordinator.parse().with_context(|| format!("{coordinator} is no address"))?;
        Ok(Self { client, coordinator, holds })
    }

    async fn pass(&self, mut request: Request<Incoming>) -> anyhow::Result<Response<Incoming>> {
        let hold = self.holds.on(request.uri().path());
        if let Some(hold) = hold.as_ref().filter(|hold| hold.moment == Moment::Asked) {
            hold.withhold().await;
        }
        let mut parts = self.coordinator.clone().into_parts();
        parts.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(parts)?;
        let answer = self.client.request(request).await?;
        if let Some(hold) = hold.filter(|hold| hold.moment == Moment::Answered) {
            hold.withhold().await;
        }
        Ok(answer)
    }
}

/// Serves one connection of an app, until either side is gone.
async fn serve(stream: TcpStream, way: Way) {
    // Calls are small and many: none of them waits for the next one.
    let _ = stream.set_nodelay(true);
    let broken = Arc::new(Notify::new());
    let passing = service_fn(|request| {
        let (way, broken) = (way.clone(), broken.clone());
        async move {
            match way.pass(request).await {
                Ok(answer) => Ok::<_, Infallible>(answer),
                Err(_) => {
                    // An answer of the gate's own would be one that no coordinator gives.
                    broken.notify_one();
                    std::future::pending().await
                }
            }
        }
    });
    let protocols = auto::Builder::new(TokioExecutor::new());
    tokio::select! {
        _ = protocols.serve_connection(TokioIo::new(stream), passing) => {}
        () = broken.notified() => {}
    }
}
