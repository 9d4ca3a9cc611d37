//! The round in the device's store: a small state that every step replaces, and large parts that are written once.
//!
//! | key | what | written |
//! |---|---|---|
//! | `round` | [`Snapshot::state`] | in every step |
//! | `round/update` | [`Snapshot::update`] | after training |
//! | `round/masked` | [`Snapshot::masked`] | when it is masked |

use bytes::Bytes;
use scale_proto::ids::Digest;

use super::{Client, Part, Snapshot, State};
use crate::error::{Error, HostError};
use crate::host::{Host, KeyStore as _, Store as _};
use crate::storage;

/// Keys of the store. Their contents are sealed under these names.
const ROUND: &str = "round";
const PARTS: [&str; 2] = ["round/update", "round/masked"];

/// The parts that are stored, by digest: update and masked input.
pub(super) type Parts = [Option<Digest>; 2];

impl<H: Host> Client<H> {
    /// The round of a killed process, if it can go on. One that cannot is deleted; its number stays remembered. Parts
    /// that no stored state names, because the process was killed in between, are deleted too.
    pub(super) async fn stored_state(&self, parts: &mut Parts) -> Result<Option<State>, Error> {
        let Some(sealed) = self.host.store().get(ROUND).await? else {
            self.forget_state().await?;
            return Ok(None);
        };
        let restored = match self.host.keys().open(ROUND, &sealed).await? {
            Some(state) => {
                let [update, masked] = [self.stored_part(PARTS[0]).await?, self.stored_part(PARTS[1]).await?];
                let snapshot = Snapshot { state, update, masked };
                State::restore(&snapshot, &self.rules).map_err(|error| error.to_string())
            }
            None => Err("the stored round does not open".to_owned()),
        };
        match restored {
            Ok(state) => {
                let named = state.snapshot().map(|snapshot| [snapshot.update, snapshot.masked]).unwrap_or_default();
                *parts = named.map(|part| part.map(|part| part.digest()));
                self.forget_parts(*parts).await?;
                Ok(Some(state))
            }
            Err(problem) => {
                tracing::warn!(%problem, "a stored round is given up");
                self.forget_state().await?;
                Ok(None)
            }
        }
    }

    /// `None`: there is none, or it does not open; the state that names it says what that means.
    async fn stored_part(&self, name: &str) -> Result<Option<Part>, Error> {
        let Some(sealed) = self.host.store().get(name).await? else { return Ok(None) };
        let opened = self.host.keys().open(name, &sealed).await?;
        Ok(opened.map(|bytes| Part::new(Bytes::from_owner(bytes))))
    }

    /// Stores the parts that are not stored yet, then the state that names them, and last deletes the parts of earlier
    /// states: whenever the process is killed, the stored state has its parts.
    pub(super) async fn store_state(&self, snapshot: &Snapshot, parts: &mut Parts) -> Result<(), Error> {
        let wanted = [&snapshot.update, &snapshot.masked];
        for ((name, part), stored) in PARTS.into_iter().zip(wanted).zip(&mut *parts) {
            if let Some(part) = part.as_ref().filter(|part| *stored != Some(part.digest())) {
                storage::put_sealed(&self.host, name, part.bytes()).await?;
                *stored = Some(part.digest());
            }
        }
        storage::put_sealed(&self.host, ROUND, &snapshot.state).await?;
        for ((name, part), stored) in PARTS.into_iter().zip(wanted).zip(parts) {
            if part.is_none() && stored.take().is_some() {
                self.host.store().delete(name).await?;
            }
        }
        Ok(())
    }

    /// Deletes the stored state, then its parts.
    pub(super) async fn forget_state(&self) -> Result<(), HostError> {
        self.host.store().delete(ROUND).await?;
        self.forget_parts(Parts::default()).await
    }

    async fn forget_parts(&self, except: Parts) -> Result<(), HostError> {
        for (name, kept) in PARTS.into_iter().zip(except) {
            if kept.is_none() {
                self.host.store().delete(name).await?;
            }
        }
        Ok(())
    }
}
