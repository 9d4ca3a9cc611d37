//! The way past a gate, for devices that a test has beside the app that it is about: what holds the app's calls must not
//! hold theirs. Their calls go where they are told to; a coordinator behind a gate names the gate in the URLs of models.

use anyhow::Context as _;
use bytes::Bytes;
use scale_client_core::error::CallError;
use scale_client_core::host::{DeviceToken, Download};
use scale_client_core::transport::native::{Connection, HttpBody, NativeCaller};
use scale_client_core::transport::{Caller, Grpc, RpcFailure};

/// What a URL names, at the coordinator's own address: `coordinator` is an `http://HOST:PORT`.
///
/// # Errors
/// It is no such URL.
pub fn direct(coordinator: &str, url: &str) -> anyhow::Result<String> {
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    let (_, path) = path.with_context(|| format!("{url} is not a URL of a model"))?;
    Ok(format!("{coordinator}/{path}"))
}

/// A transport whose downloads come from where its calls go.
pub type DirectTransport = Grpc<DirectCaller>;

/// See [`DirectTransport`].
pub struct DirectCaller {
    caller: NativeCaller,
    coordinator: String,
}

impl DirectCaller {
    /// A transport to the coordinator at this address. Nothing is sent yet.
    ///
    /// # Errors
    /// An unusable URL.
    pub fn transport(coordinator: String) -> anyhow::Result<DirectTransport> {
        let caller = NativeCaller::new(Connection::new(coordinator.clone()))?;
        Ok(Grpc::over(Self { caller, coordinator }))
    }
}

impl Caller for DirectCaller {
    type Body = HttpBody;

    async fn unary(&self, path: &'static str, token: Option<&DeviceToken>, body: Bytes) -> Result<Bytes, RpcFailure> {
        self.caller.unary(path, token, body).await
    }

    async fn download(&self, url: &str, from: u64) -> Result<Download<HttpBody>, CallError> {
        let url = direct(&self.coordinator, url).map_err(|error| CallError::Unreachable(error.to_string()))?;
        self.caller.download(&url, from).await
    }
}
