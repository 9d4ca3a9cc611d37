//! gRPC over h2c or TLS, and model downloads over HTTP. One call is one attempt: the runner retries.

use std::time::Duration;

use bytes::Bytes;
use scale_proto::answer::{
    CheckIn, CheckInAnswer, Enroll, Enrolled, Leave, ModelManifest, ModelRequest, Progress, StageAnswer, UploadAnswer,
};
use scale_proto::error::{Invalid, Problem, Remedy};
use scale_proto::ids::{RoundId, SessionId};
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::time::RetryWindow;
use scale_proto::wire::enrollment_client::EnrollmentClient;
use scale_proto::wire::models_client::ModelsClient;
use scale_proto::wire::rounds_client::RoundsClient;
use scale_proto::{limits, wire};
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::error::{CallError, HostError};
use crate::host::{Body, DeviceToken, Download, Transport};

/// A message carries its payload and a little around it.
const MESSAGE_BYTES: usize = limits::MESSAGE_BYTES + (64 << 10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest silence within a download.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the coordinator is, and whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `https://host[:port]`, or `http://host[:port]` for h2c without TLS.
    pub url: String,
    /// A CA to trust beside the public ones, as PEM: an operator's own.
    pub ca_pem: Option<String>,
    /// Longest time for one call; longer than the coordinator holds a call open (60 s by default here: it holds at most
    /// half of that).
    pub call_timeout: Duration,
}

impl Connection {
    /// Public certificate authorities, 60 s a call.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ca_pem: None, call_timeout: Duration::from_secs(60) }
    }
}

/// One HTTP/2 connection to a coordinator, opened when it is needed and again when it breaks. Clones share it.
#[derive(Clone, Debug)]
pub struct GrpcTransport {
    channel: Channel,
    http: reqwest::Client,
}

impl GrpcTransport {
    /// Prepares the connection; nothing is sent yet. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`HostError`] `transport` for a URL or a certificate that cannot be used.
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

    fn rounds(&self) -> RoundsClient<Channel> {
        RoundsClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES)
    }
}

/// The same trust for downloads as for calls: public roots (from the binary, not the system) and the pinned CA.
fn tls_config(ca_pem: Option<&str>) -> Result<rustls::ClientConfig, HostError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    let bad = |error: &dyn std::fmt::Display| HostError::new("transport", format!("the pinned CA: {error}"));
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in ca_pem.into_iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem.as_bytes())) {
        let certificate = certificate.map_err(|error| bad(&error))?;
        roots.add(certificate).map_err(|error| bad(&error))?;
    }
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A request of an enrolled device.
fn of_device<T>(token: &DeviceToken, message: T) -> Result<Request<T>, CallError> {
    let mut request = Request::new(message);
    let value = format!("Bearer {}", token.reveal());
    let mut value: MetadataValue<_> = value.parse().map_err(|_| Invalid::new("device_token", "not a header's text"))?;
    value.set_sensitive(true);
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

/// The domain type of an answer.
fn read<W, D: TryFrom<W, Error = Invalid>>(answer: Result<Response<W>, Status>) -> Result<D, CallError> {
    let message = answer.map_err(|status| failed(&status))?.into_inner();
    D::try_from(message).map_err(CallError::Malformed)
}

/// What a failed call means: the coordinator's own words where it gave them.
fn failed(status: &Status) -> CallError {
    if let Some(problem) = scale_proto::status::read(status.details()) {
        return problem.into();
    }
    let refused = |code: &str| {
        CallError::from(Problem { code: code.into(), sentence: status.message().to_owned(), remedy: Remedy::Leave })
    };
    match status.code() {
        Code::Unauthenticated => refused("unauthenticated"),
        Code::PermissionDenied => refused("permission_denied"),
        Code::InvalidArgument => refused("invalid_argument"),
        Code::NotFound => refused("not_found"),
        Code::FailedPrecondition => refused("failed_precondition"),
        Code::OutOfRange => refused("out_of_range"),
        Code::AlreadyExists => refused("already_exists"),
        Code::Unimplemented => refused("unimplemented"),
        // Proxies and broken connections answer in these; the same call may be sent again.
        code => CallError::Unreachable(format!("{code:?}: {}", status.message())),
    }
}

impl Transport for GrpcTransport {
    type Body = HttpBody;

    async fn enroll(&self, request: Enroll) -> Result<Enrolled, CallError> {
        let mut client = EnrollmentClient::new(self.channel.clone());
        read(client.enroll(wire::EnrollRequest::from(&request)).await)
    }

    async fn check_in(&self, token: &DeviceToken, request: CheckIn) -> Result<CheckInAnswer, CallError> {
        read(self.rounds().check_in(of_device(token, wire::CheckInRequest::from(&request))?).await)
    }

    async fn advertise_keys(&self, token: &DeviceToken, up: StageUp<RoundId>) -> Result<StageAnswer, CallError> {
        read(self.rounds().advertise_keys(of_device(token, wire::StageRequest::from(&up))?).await)
    }

    async fn share_keys(&self, token: &DeviceToken, up: StageUp<SessionId>) -> Result<StageAnswer, CallError> {
        read(self.rounds().share_keys(of_device(token, wire::StageRequest::from(&up))?).await)
    }

    async fn upload(&self, token: &DeviceToken, piece: UploadPiece) -> Result<UploadAnswer, CallError> {
        read(self.rounds().upload_masked(of_device(token, wire::UploadRequest::from(&piece))?).await)
    }

    async fn confirm_survivors(&self, token: &DeviceToken, up: StageUp<SessionId>) -> Result<StageAnswer, CallError> {
        read(self.rounds().confirm_survivors(of_device(token, wire::StageRequest::from(&up))?).await)
    }

    async fn reveal_shares(&self, token: &DeviceToken, up: StageUp<SessionId>) -> Result<StageAnswer, CallError> {
        read(self.rounds().reveal_shares(of_device(token, wire::StageRequest::from(&up))?).await)
    }

    async fn report_progress(&self, token: &DeviceToken, progress: Progress) -> Result<(), CallError> {
        let request = of_device(token, wire::ProgressRequest::from(&progress))?;
        self.rounds().report_progress(request).await.map(drop).map_err(|status| failed(&status))
    }

    async fn leave(&self, token: &DeviceToken, leave: Leave) -> Result<(), CallError> {
        let request = of_device(token, wire::LeaveRequest::from(&leave))?;
        self.rounds().leave(request).await.map(drop).map_err(|status| failed(&status))
    }

    async fn get_model(&self, token: &DeviceToken, request: ModelRequest) -> Result<ModelManifest, CallError> {
        let mut client = ModelsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
        read(client.get_manifest(of_device(token, wire::GetModelRequest::from(&request))?).await)
    }

    async fn download(&self, url: &str, offset: u64) -> Result<Download<HttpBody>, CallError> {
        let mut request = self.http.get(url);
        if offset > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={offset}-"));
        }
        let response = request.send().await.map_err(broken)?;
        match response.status().as_u16() {
            200 => Ok(Download { from: 0, body: HttpBody(response) }),
            206 => Ok(Download { from: range_start(&response).unwrap_or(offset), body: HttpBody(response) }),
            status @ (408 | 429 | 500..) => Err(CallError::Unreachable(format!("HTTP {status}"))),
            status => {
                let sentence = format!("the model's URL was refused with HTTP {status}: it may have expired");
                // A check-in brings a fresh one, also to a device that is in the round.
                let remedy = Remedy::CheckIn(RetryWindow::from_millis(30_000));
                Err(Problem { code: "model_url".into(), sentence, remedy }.into())
            }
        }
    }
}

/// First byte of a partial answer, from `content-range: bytes 100-199/200`.
fn range_start(response: &reqwest::Response) -> Option<u64> {
    let range = response.headers().get(reqwest::header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Without the URL: it is signed, so it is as good as a token.
fn broken(error: reqwest::Error) -> CallError {
    CallError::Unreachable(error.without_url().to_string())
}

/// A response that is being read.
#[derive(Debug)]
pub struct HttpBody(reqwest::Response);

impl Body for HttpBody {
    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        self.0.chunk().await.map_err(broken)
    }
}

#[cfg(test)]
mod tests;
