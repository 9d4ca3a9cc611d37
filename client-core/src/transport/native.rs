//! gRPC over h2c or TLS, and model downloads over HTTP.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::{Caller, Grpc, MESSAGE_BYTES, RpcFailure, download_start};
use crate::error::{CallError, HostError};
use crate::host::{Body, DeviceToken, Download};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time without bytes within a download.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The address of the coordinator, and the certificate authorities to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `https://host[:port]`, or `http://host[:port]` for h2c without TLS.
    pub url: String,
    /// A certificate authority to trust in addition to the public ones, as PEM, such as an operator's own.
    pub ca_pem: Option<String>,
    /// Longest time for one call; must be longer than the coordinator holds a call open. The default is 60 s, and the
    /// coordinator holds calls for at most half of that.
    pub call_timeout: Duration,
}

impl Connection {
    /// A connection that trusts the public certificate authorities, with 60 s for each call.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ca_pem: None, call_timeout: Duration::from_secs(60) }
    }
}

/// The transport of a native program.
pub type GrpcTransport = Grpc<NativeCaller>;

impl GrpcTransport {
    /// Prepares the connection; nothing is sent yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`HostError`] `transport` for an invalid URL or certificate.
    pub fn new(connection: Connection) -> Result<Self, HostError> {
        NativeCaller::new(connection).map(Self::over)
    }
}

/// One HTTP/2 connection to a coordinator, opened on first use and reopened after it breaks. Clones share it.
#[derive(Clone, Debug)]
pub struct NativeCaller {
    channel: Channel,
    http: reqwest::Client,
}

impl NativeCaller {
    /// Prepares the connection; nothing is sent yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`HostError`] `transport` for an invalid URL or certificate.
    pub fn new(connection: Connection) -> Result<Self, HostError> {
        let unusable =
            |what: &str, error: &dyn std::fmt::Display| HostError::new("transport", format!("{what}: {error}"));
        let Connection { url, ca_pem, call_timeout } = connection;
        let mut endpoint = Endpoint::from_shared(url.clone())
            .map_err(|error| unusable(&url, &error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(call_timeout)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .tcp_nodelay(true);
        if url.starts_with("https:") {
            let mut tls = ClientTlsConfig::new().with_webpki_roots();
            if let Some(pem) = &ca_pem {
                tls = tls.ca_certificate(Certificate::from_pem(pem));
            }
            endpoint = endpoint.tls_config(tls).map_err(|error| unusable("TLS", &error))?;
        }
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config(ca_pem.as_deref())?)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(|error| unusable("HTTP client", &error))?;
        Ok(Self { channel: endpoint.connect_lazy(), http })
    }
}

/// The same trusted authorities for downloads as for calls: public roots (compiled in, not the system's) and the given
/// CA.
fn tls_config(ca_pem: Option<&str>) -> Result<rustls::ClientConfig, HostError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    let bad = |error: &dyn std::fmt::Display| {
        HostError::new("transport", format!("the given certificate authority cannot be used, give it as PEM: {error}"))
    };
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let public = roots.len();
    for certificate in ca_pem.into_iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes())) {
        let certificate = certificate.map_err(|error| bad(&error))?;
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    if ca_pem.is_some() && roots.len() == public {
        return Err(bad(&"there is no certificate in it"));
    }
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl Caller for NativeCaller {
    type Body = HttpBody;

    async fn unary(&self, path: &'static str, token: Option<&DeviceToken>, body: Bytes) -> Result<Bytes, RpcFailure> {
        let mut client = Client::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        let connected = client.ready().await;
        connected.map_err(|error| RpcFailure::Unreachable(format!("the connection failed: {error}")))?;
        let answer = client.unary(request(token, body)?, PathAndQuery::from_static(path), Raw).await;
        answer.map(tonic::Response::into_inner).map_err(failed)
    }

    async fn download(&self, url: &str, from: u64) -> Result<Download<HttpBody>, CallError> {
        let mut request = self.http.get(url);
        if from > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={from}-"));
        }
        let response = request.send().await.map_err(broken)?;
        let range = response.headers().get(reqwest::header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let from = download_start(response.status().as_u16(), range, from)?;
        Ok(Download { from, body: HttpBody(response) })
    }
}

/// Builds a request. The header with `token` is marked as sensitive, so it is not printed with the request.
fn request(token: Option<&DeviceToken>, body: Bytes) -> Result<Request<Bytes>, RpcFailure> {
    let mut request = Request::new(body);
    if let Some(token) = token {
        let refused = |_| failed(Status::new(Code::InvalidArgument, "the device token is not the text of a header"));
        let mut value: MetadataValue<Ascii> = token.bearer().parse().map_err(refused)?;
        value.set_sensitive(true);
        request.metadata_mut().insert("authorization", value);
    }
    Ok(request)
}

fn failed(status: Status) -> RpcFailure {
    RpcFailure::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Bytes::copy_from_slice(status.details()),
    }
}

/// Converts an error without its URL, which is signed and grants access like a token.
fn broken(error: reqwest::Error) -> CallError {
    CallError::Unreachable(error.without_url().to_string())
}

/// A codec for messages that are already encoded.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

/// The body of a response that is being read.
#[derive(Debug)]
pub struct HttpBody(reqwest::Response);

impl Body for HttpBody {
    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        self.0.chunk().await.map_err(broken)
    }
}

#[cfg(test)]
mod tests;
