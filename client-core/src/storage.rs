//! Encrypted values in the host's store. Each value is sealed (authenticated encryption) together with its key in the
//! store.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::error::HostError;
use crate::host::{Host, KeyStore as _, Randomness as _, Store as _};

/// Seals `plain` under `name` and stores it. Durable when it returns.
///
/// # Errors
/// [`HostError`] of the store, the key store or the randomness; the value stored before is then unchanged.
pub(crate) async fn put_sealed<H: Host>(host: &H, name: &str, plain: &[u8]) -> Result<(), HostError> {
    let mut nonce = [0; 12];
    host.randomness().fill(&mut nonce)?;
    let sealed = host.keys().seal(name, plain, nonce).await?;
    host.store().put(name, &sealed).await
}

/// The value that was sealed under `name`; `None` if nothing is stored there.
///
/// # Errors
/// [`HostError`] `store`, also for bytes that cannot be decrypted: treating them as absent would silently lose their
/// content.
pub(crate) async fn get_sealed<H: Host>(host: &H, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
    let Some(sealed) = host.store().get(name).await? else { return Ok(None) };
    let opened = host.keys().open(name, &sealed).await?;
    let problem = format!(
        "`{name}` cannot be decrypted with this installation's key: forget everything of this installation and enroll again"
    );
    opened.map(Some).ok_or_else(|| HostError::new("store", problem))
}

/// Stores a value as JSON with [`put_sealed`].
///
/// # Errors
/// Those of [`put_sealed`].
pub(crate) async fn put_json<H: Host>(host: &H, name: &str, value: &impl Serialize) -> Result<(), HostError> {
    let json = serde_json::to_vec(value).map(Zeroizing::new);
    let json = json.map_err(|error| HostError::new("store", error.to_string()))?;
    put_sealed(host, name, &json).await
}

/// Reads a value that [`put_json`] stored. `what`: the name of the value in error messages.
///
/// # Errors
/// Those of [`get_sealed`], and [`HostError`] `store` for a value that cannot be parsed.
pub(crate) async fn get_json<H: Host, T: DeserializeOwned>(
    host: &H,
    name: &str,
    what: &str,
) -> Result<Option<T>, HostError> {
    let Some(bytes) = get_sealed(host, name).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| {
        HostError::new("store", format!("{what} is damaged: forget everything of this installation and enroll again"))
    })
}

/// [`get_json`] of something that the device can do without: bytes that do not open or cannot be read count as nothing, and
/// the next write replaces them.
///
/// # Errors
/// [`HostError`] of the store or the key store.
pub(crate) async fn get_json_or_none<H: Host, T: DeserializeOwned>(
    host: &H,
    name: &str,
) -> Result<Option<T>, HostError> {
    let Some(sealed) = host.store().get(name).await? else { return Ok(None) };
    let opened = host.keys().open(name, &sealed).await?;
    let value = opened.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if value.is_none() {
        tracing::warn!(name, "an entry of the store cannot be read and counts as missing");
    }
    Ok(value)
}
