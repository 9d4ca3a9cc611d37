//! The connections that the devices share, and the bytes that pass over them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use scale_proto::wire;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint, Uri};

/// Longer than any call may stay open.
const CALL: Duration = Duration::from_secs(150);
/// Room for answers that have not been read: a stage's end answers everybody at once.
const WINDOW: u32 = 8 << 20;

/// Bytes over all connections, as the sockets take and give them: messages, their headers and frames.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes sent and received so far.
    pub(crate) fn now(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// All connections.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    channels: Vec<Channel>,
    pub(crate) traffic: Arc<Traffic>,
}

impl Wire {
    /// Prepares this many connections; each opens with its first call.
    pub(crate) fn new(url: &str, connections: u32) -> anyhow::Result<Self> {
        let traffic = Arc::new(Traffic::default());
        let channels = (0..connections).map(|_| {
            let endpoint = Endpoint::from_shared(url.to_owned())?
                .timeout(CALL)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .buffer_size(4096);
            let traffic = traffic.clone();
            Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |to: Uri| connect(to, traffic.clone()))))
        });
        Ok(Self { channels: channels.collect::<anyhow::Result<_>>()?, traffic })
    }

    /// The connection of device number `number`.
    pub(crate) fn of(&self, number: usize) -> Channel {
        self.channels[number % self.channels.len()].clone()
    }

    /// The client of device number `number`.
    pub(crate) fn rounds(&self, number: usize) -> wire::rounds_client::RoundsClient<Channel> {
        wire::rounds_client::RoundsClient::new(self.of(number))
    }
}

/// A request with a bearer token.
pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    if let Ok(value) = format!("Bearer {token}").parse() {
        request.metadata_mut().insert("authorization", value);
    }
    request
}

async fn connect(to: Uri, traffic: Arc<Traffic>) -> std::io::Result<TokioIo<Counted>> {
    let place = to.authority().map(ToString::to_string).unwrap_or_default();
    let stream = TcpStream::connect(place).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(Counted { stream, traffic }))
}

struct Counted {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.traffic.received.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &polled {
            self.traffic.sent.fetch_add(*written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(written)) = &polled {
            self.traffic.sent.fetch_add(*written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
