//! What an installation keeps: bytes in the host's store, sealed under the names that they are stored by.

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::error::HostError;
use crate::host::{Host, KeyStore as _, Randomness as _, Store as _};

/// Seals `plain` under `name` and stores it, durably.
///
/// # Errors
/// [`HostError`] of the store, the key store or the randomness; what was stored before is then still there.
pub(crate) async fn put_sealed<H: Host>(host: &H, name: &str, plain: &[u8]) -> Result<(), HostError> {
    let mut nonce = [0; 12];
    host.randomness().fill(&mut nonce)?;
    let sealed = host.keys().seal(name, plain, nonce).await?;
    host.store().put(name, &sealed).await
}

/// What was sealed under `name`; `None` if nothing is stored there.
///
/// # Errors
/// [`HostError`] `store`, also for bytes that do not open: to take them for nothing would forget what they held.
pub(crate) async fn get_sealed<H: Host>(host: &H, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
    let Some(sealed) = host.store().get(name).await? else { return Ok(None) };
    let opened = host.keys().open(name, &sealed).await?;
    let problem =
        format!("`{name}` does not open with this installation's key: reset the app's storage and enroll again");
    opened.map(Some).ok_or_else(|| HostError::new("store", problem))
}

/// [`put_sealed`] of a value as JSON.
///
/// # Errors
/// As [`put_sealed`].
pub(crate) async fn put_json<H: Host>(host: &H, name: &str, value: &impl Serialize) -> Result<(), HostError> {
    let json = serde_json::to_vec(value).map(Zeroizing::new);
    let json = json.map_err(|error| HostError::new("store", error.to_string()))?;
    put_sealed(host, name, &json).await
}

/// [`get_sealed`] of a value as JSON. `what`: its name for a person.
///
/// # Errors
/// As [`get_sealed`], and for a value that cannot be read.
pub(crate) async fn get_json<H: Host, T: DeserializeOwned>(
    host: &H,
    name: &str,
    what: &str,
) -> Result<Option<T>, HostError> {
    let Some(bytes) = get_sealed(host, name).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|_| HostError::new("store", format!("{what} is damaged")))
}
