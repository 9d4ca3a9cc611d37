//! The accept loop: HTTP/1.1 and HTTP/2 on one port, with or without TLS, and an end that lets calls finish.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections that wait in the kernel for [`serve`] to take them.
const BACKLOG: u32 = 4096;
/// Longest TLS handshake, and longest wait for a request's headers.
const GREETING: Duration = Duration::from_secs(15);
/// Most bytes of one request's headers.
const HEADER_BYTES: u32 = 32 << 10;
/// Bytes in flight towards us: one stream, one connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// First and longest pause after the system refused a connection, for lack of sockets for example.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What one port bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections; more wait in the kernel.
    pub connections: usize,
    /// Calls at once on one connection. A proxy may put many devices on one.
    pub streams_per_connection: u32,
    /// Pings on idle connections, so that dead peers are noticed.
    pub keepalive_interval: Duration,
    /// How long a ping may take.
    pub keepalive_timeout: Duration,
    /// After this time, a tenth more or less, a connection is asked to make way for a new one, so that load balancers
    /// spread again.
    pub connection_age: Option<Duration>,
    /// How long calls may take to finish at the end.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            streams_per_connection: 1024,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            connection_age: None,
            drain: Duration::from_secs(20),
        }
    }
}

/// Binds the port; port 0 takes a free one.
///
/// # Errors
/// What the system says: mostly that the port is taken.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, then takes nothing new and waits for the calls that run, at most [`Limits::drain`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let stopping = CancellationToken::new();
    let connections = TaskTracker::new();
    let free = Arc::new(Semaphore::new(limits.connections));
    let mut pause = PAUSE.0;
    tokio::pin!(stop);
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let permit = free.clone().acquire_owned().await.expect("the semaphore stays open");
            listener.accept().await.map(|(stream, peer)| (stream, peer, permit))
        };
        let (stream, peer, permit) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections at the moment");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                    continue;
                }
            },
        };
        pause = PAUSE.0;
        let (router, tls, stopping) = (router.clone(), tls.clone(), stopping.clone());
        connections.spawn(async move {
            let _permit = permit;
            connection(stream, peer, router, tls, limits, stopping).await;
        });
    }
    drop(listener);
    stopping.cancel();
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are still open after the time to drain");
    }
}

/// `age`, a tenth more or less: connections that began together, after a restart for one, do not end together.
fn spread(age: Duration) -> Duration {
    // Without randomness they do.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    age.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}

/// The client went away before it was accepted; the next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    stopping: CancellationToken,
) {
    // Small messages must not wait for each other. A failure shows at the first read.
    let _ = stream.set_nodelay(true);
    match tls {
        None => requests(stream, peer, router, limits, stopping).await,
        Some(tls) => match tokio::time::timeout(GREETING, tls.accept(stream)).await {
            Ok(Ok(stream)) => requests(stream, peer, router, limits, stopping).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        },
    }
}

async fn requests<S>(stream: S, peer: SocketAddr, router: Router, limits: Limits, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(GREETING).max_buf_size(HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_BYTES);
    // Who calls is known here and nowhere behind.
    let router = tower::util::MapRequest::new(router, move |request: http::Request<_>| {
        let mut request: Request<_> = request;
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let aged = async {
        match limits.connection_age {
            Some(age) => tokio::time::sleep(spread(age)).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopping.cancelled() => None,
        () = aged => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_over_a_fifth() {
        let ages: Vec<Duration> = (0..1000).map(|_| spread(Duration::from_secs(100))).collect();
        let (least, most) = (ages.iter().min().unwrap().as_secs_f64(), ages.iter().max().unwrap().as_secs_f64());
        // That none of a thousand is in one of the outer quarters of the range happens once in 10^124.
        assert!((90.0..95.0).contains(&least) && (105.0..=110.0).contains(&most), "{least} to {most}");
    }
}
