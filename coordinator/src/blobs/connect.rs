//! From a location to an object store. Keys come from the environment, by the names of the providers' own tools.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::prefix::PrefixStore;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::error::BlobError;
use super::location::{Provider, StoreLocation};
use super::urls::StoreSigner;

/// How long a connection may take, and how long a request without an answer. A model of 100 MB goes through a line of
/// 20 Mbit/s in that time.
const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(60);
/// Further tries, and the time after which none begins. Callers repeat what fails, so this only covers a short gap.
const RETRIES: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(20);

/// A store of which `put if absent` is real, and what signs its URLs.
pub(super) struct Connected {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) signer: StoreSigner,
}

/// Nothing is sent yet: the keys may be wrong, and the store out of reach.
///
/// `environment`: variables by name.
///
/// # Errors
/// [`BlobError::Forbidden`] when keys are missing or unreadable.
pub(super) fn connect(
    location: &StoreLocation,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Connected, BlobError> {
    // The process has chosen one already, except in tools and tests; then this changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let refused = |error: object_store::Error| BlobError::Forbidden(format!("{}: {error}", location.provider));
    match location.provider {
        Provider::S3 => s3(location, environment).build().map(|store| connected(location, store)),
        Provider::Gcs => gcs(location, environment).build().map(|store| connected(location, store)),
        Provider::Azure => azure(location, environment).build().map(|store| connected(location, store)),
    }
    .map_err(refused)
}

fn connected<S: ObjectStore + Signer>(location: &StoreLocation, store: S) -> Connected {
    let store = Arc::new(store);
    let signer = StoreSigner::new(Arc::clone(&store) as Arc<dyn Signer>, location.prefix.as_ref());
    let store: Arc<dyn ObjectStore> = match &location.prefix {
        None => store,
        Some(prefix) => Arc::new(PrefixStore::new(store, prefix.object())),
    };
    Connected { store, signer }
}

fn s3(location: &StoreLocation, environment: impl Iterator<Item = (String, String)>) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new();
    for (key, value) in known::<AmazonS3ConfigKey>("AWS_", environment) {
        builder = builder.with_config(key, value);
    }
    if let Some(endpoint) = &location.endpoint {
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    if let Some(region) = &location.region {
        builder = builder.with_region(region);
    }
    builder
        .with_bucket_name(&location.bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(options(location))
        .with_retry(retries())
}

fn gcs(location: &StoreLocation, environment: impl Iterator<Item = (String, String)>) -> GoogleCloudStorageBuilder {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in known::<GoogleConfigKey>("GOOGLE_", environment) {
        builder = builder.with_config(key, value);
    }
    builder.with_bucket_name(&location.bucket).with_client_options(options(location)).with_retry(retries())
}

fn azure(location: &StoreLocation, environment: impl Iterator<Item = (String, String)>) -> MicrosoftAzureBuilder {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in known::<AzureConfigKey>("AZURE_", environment) {
        builder = builder.with_config(key, value);
    }
    if let Some(endpoint) = &location.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    builder.with_container_name(&location.bucket).with_client_options(options(location)).with_retry(retries())
}

/// What the environment says that a builder understands.
fn known<K: std::str::FromStr>(
    prefix: &'static str,
    environment: impl Iterator<Item = (String, String)>,
) -> impl Iterator<Item = (K, String)> {
    environment.filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty()).filter_map(
        |(name, value)| {
            let key = name.to_ascii_lowercase().parse().ok()?;
            Some((key, value))
        },
    )
}

fn options(location: &StoreLocation) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(location.allow_http)
        .with_connect_timeout(CONNECT)
        .with_timeout(REQUEST)
        .with_default_content_type("application/octet-stream")
}

fn retries() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(3), base: 2. };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_FOR }
}
