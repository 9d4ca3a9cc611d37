//! The round in the device's store: a small state that is replaced in every step, and large parts that are written
//! once.
//!
//! | key | what | written |
//! |---|---|---|
//! | `round` | [`Snapshot::state`] | in every step |
//! | `round/update` | [`Snapshot::update`] | after training |
//! | `round/masked` | [`Snapshot::masked`] | when it is masked |

use bytes::Bytes;
use scale_proto::ids::Digest;

use super::{Part, Rules, Snapshot, State};
use crate::error::HostError;
use crate::host::{Host, KeyStore as _, Store as _};
use crate::storage;

/// Keys in the store; the values are sealed under these names.
const ROUND: &str = "round";
const PARTS: [&str; 2] = ["round/update", "round/masked"];

/// What is stored of the round: digests of the update and of the masked input.
#[derive(Debug, Default)]
pub(super) struct StoredRound {
    parts: [Option<Digest>; 2],
}

impl StoredRound {
    /// The round of an earlier process, if it can be continued. Otherwise it is deleted, but its number stays in the
    /// history. Parts that no stored state refers to, because the process was killed in between, are deleted too.
    pub(super) async fn open<H: Host>(host: &H, rules: &Rules) -> Result<(Self, Option<State>), HostError> {
        let mut this = Self::default();
        let Some(sealed) = host.store().get(ROUND).await? else {
            this.delete(host).await?;
            return Ok((this, None));
        };
        let restored = match host.keys().open(ROUND, &sealed).await? {
            Some(state) => {
                let [update, masked] = [stored_part(host, PARTS[0]).await?, stored_part(host, PARTS[1]).await?];
                let snapshot = Snapshot { state, update, masked };
                State::restore(&snapshot, rules).map_err(|error| error.to_string())
            }
            None => Err("the stored round does not open".to_owned()),
        };
        match restored {
            Ok(state) => {
                let named = state.snapshot().map(|snapshot| [snapshot.update, snapshot.masked]).unwrap_or_default();
                this.parts = named.map(|part| part.map(|part| part.digest()));
                this.delete_unnamed(host).await?;
                Ok((this, Some(state)))
            }
            Err(problem) => {
                tracing::warn!(%problem, "a stored round is given up");
                this.delete(host).await?;
                Ok((this, None))
            }
        }
    }

    /// Stores the parts that are not stored yet, then the state that refers to them, and last deletes the parts of
    /// earlier states. Whenever the process is killed, the stored state has its parts.
    pub(super) async fn put<H: Host>(&mut self, host: &H, snapshot: &Snapshot) -> Result<(), HostError> {
        let wanted = [&snapshot.update, &snapshot.masked];
        for ((name, part), stored) in PARTS.into_iter().zip(wanted).zip(&mut self.parts) {
            if let Some(part) = part.as_ref().filter(|part| *stored != Some(part.digest())) {
                storage::put_sealed(host, name, part.bytes()).await?;
                *stored = Some(part.digest());
            }
        }
        storage::put_sealed(host, ROUND, &snapshot.state).await?;
        for ((name, part), stored) in PARTS.into_iter().zip(wanted).zip(&mut self.parts) {
            if part.is_none() && stored.take().is_some() {
                host.store().delete(name).await?;
            }
        }
        Ok(())
    }

    /// Deletes the stored state, then its parts.
    pub(super) async fn delete<H: Host>(&mut self, host: &H) -> Result<(), HostError> {
        host.store().delete(ROUND).await?;
        self.parts = Default::default();
        self.delete_unnamed(host).await
    }

    async fn delete_unnamed<H: Host>(&self, host: &H) -> Result<(), HostError> {
        for (name, kept) in PARTS.into_iter().zip(self.parts) {
            if kept.is_none() {
                host.store().delete(name).await?;
            }
        }
        Ok(())
    }
}

/// `None` if it is not stored or cannot be decrypted; the caller compares with the state that refers to it.
async fn stored_part<H: Host>(host: &H, name: &str) -> Result<Option<Part>, HostError> {
    let Some(sealed) = host.store().get(name).await? else { return Ok(None) };
    let opened = host.keys().open(name, &sealed).await?;
    Ok(opened.map(|bytes| Part::new(Bytes::from_owner(bytes))))
}
