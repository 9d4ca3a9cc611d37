//! Talking to a running coordinator.

use std::time::Duration;

use scale_proto::wire::admin_client::AdminClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use super::args::Remote;
use super::{Failure, read_status};
use crate::files;

/// Where a coordinator is when nothing says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:7400";
/// Longest call: a model may be sent over a slow line.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The administration service, with the operator's token on every call.
pub(super) type Admin = AdminClient<InterceptedService<Channel, Bearer>>;

/// Puts the token on a call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Connects to the coordinator that is meant.
pub(super) async fn channel(remote: &Remote) -> Result<Channel, Failure> {
    let url = remote
        .server
        .clone()
        .or_else(|| read_status(&remote.folder()).map(|status| status.url))
        .unwrap_or_else(|| DEFAULT_URL.to_owned());
    let wrong =
        |error: &dyn std::fmt::Display| Failure::new("url", format!("{url:?} is not a URL to connect to: {error}"));
    let mut endpoint = Endpoint::from_shared(url.clone())
        .map_err(|error| wrong(&error))?
        .connect_timeout(Duration::from_secs(5))
        .timeout(TIMEOUT);
    if url.starts_with("https://") {
        let tls = match &remote.ca_cert {
            None => ClientTlsConfig::new().with_webpki_roots(),
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| Failure::unreadable(path, &error))?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
        };
        endpoint = endpoint.tls_config(tls).map_err(|error| wrong(&error))?;
    }
    endpoint.connect().await.map_err(|error| {
        let why = innermost(&error);
        let start = "start one with `scale-coordinator serve`, or name it with --server";
        Failure::new("unreachable", format!("no coordinator answers at {url} ({why}); {start}"))
    })
}

/// The administration service of the coordinator that is meant.
pub(super) async fn admin(remote: &Remote) -> Result<Admin, Failure> {
    let token = match &remote.token {
        Some(token) => token.clone(),
        None => {
            let path = remote.folder().join(files::OPERATOR);
            std::fs::read_to_string(&path).map_err(|error| {
                let path = path.display();
                let sentence = format!(
                    "there is no operator token: {path} cannot be read ({error}); give --token, or --data with the \
                     coordinator's data folder"
                );
                Failure::new("no_token", sentence)
            })?
        }
    };
    let bearer = format!("Bearer {}", token.trim())
        .parse()
        .map_err(|_| Failure::new("bad_token", "the operator token has characters that no token has"))?;
    let channel = channel(remote).await?;
    let limit = usize::try_from(scale_proto::limits::MODEL_BYTES).unwrap_or(usize::MAX);
    Ok(AdminClient::with_interceptor(channel, Bearer(bearer)).max_encoding_message_size(limit.saturating_mul(2)))
}

/// What a failed call says.
pub(super) fn explain(status: &Status) -> Failure {
    match scale_proto::status::read(status.details()) {
        Some(problem) => problem.into(),
        None => Failure::new("call_failed", format!("{} ({:?})", status.message(), status.code())),
    }
}

/// What lies at the bottom of an error: the rest is layers of libraries.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
