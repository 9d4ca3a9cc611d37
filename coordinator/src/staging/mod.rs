//! Uploads on their way in: pieces of masked inputs, kept until the whole is part of a durable sum.
//!
//! [`Staging`] is one type over two places. A **folder** holds one file per upload, for one process on one machine. An
//! **object store** holds one object per piece, and nothing is kept in memory: any replica continues any upload, verifies
//! it and adds it up. Both answer alike; one suite says how.

mod folder;
mod objects;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use scale_proto::ids::SessionId;
use scale_secagg::config::RoundConfig;
use scale_secagg::server::Accumulator;

use self::folder::Folder;
use self::objects::Objects;
pub use self::upload::{Error, Held, Upload};
use crate::blobs::Blobs;

/// Where uploads are staged. Clones share the same place.
#[derive(Clone, Debug)]
pub struct Staging(Place);

#[derive(Clone, Debug)]
enum Place {
    Folder(Folder),
    Objects(Objects),
}

impl Staging {
    /// A folder, created if it is not there. One process at a time works on it.
    ///
    /// # Errors
    /// From the file system.
    pub fn folder(path: PathBuf) -> std::io::Result<Self> {
        Ok(Self(Place::Folder(Folder::new(path)?)))
    }

    /// Objects below `staging/`, for any number of replicas.
    pub fn objects(blobs: Blobs) -> Self {
        Self(Place::Objects(Objects::new(blobs)))
    }

    /// Takes one piece. Bytes that are held already are skipped; a piece behind a gap changes nothing. The answer says
    /// where to go on. An empty piece only asks. Pieces of another digest are another upload's.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`], nothing changed then; [`Error::TooManyPieces`]; [`Error::Io`], [`Error::Blob`].
    pub async fn append(&self, upload: &Upload, offset: u64, data: Bytes) -> Result<Held, Error> {
        match &self.0 {
            Place::Folder(folder) => folder.append(upload, offset, data).await,
            Place::Objects(objects) => objects.append(upload, offset, data).await,
        }
    }

    /// Checks a whole upload: its digest, its length and the unused bits of the session's packing.
    ///
    /// # Errors
    /// [`Error::BadDigest`], [`Error::Refused`]; what was staged is gone then. [`Error::Missing`], [`Error::Io`],
    /// [`Error::Blob`]; what is staged stays.
    pub async fn verify(&self, upload: &Upload, config: Arc<RoundConfig>) -> Result<(), Error> {
        match &self.0 {
            Place::Folder(folder) => folder.verify(upload, config).await,
            Place::Objects(objects) => objects.verify(upload, &config).await,
        }
    }

    /// The sum of staged uploads, which have been verified. Holds one vector and a few blocks, however many uploads there
    /// are.
    ///
    /// # Errors
    /// [`Error::Missing`] names an upload that is not there; [`Error::Refused`], [`Error::Io`], [`Error::Blob`].
    pub async fn add_up(&self, config: Arc<RoundConfig>, uploads: &[Upload]) -> Result<Accumulator, Error> {
        match &self.0 {
            Place::Folder(folder) => folder.add_up(config, uploads).await,
            Place::Objects(objects) => objects.add_up(&config, uploads).await,
        }
    }

    /// Forgets one upload; one that is not there is fine.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Blob`].
    pub async fn remove(&self, upload: &Upload) -> Result<(), Error> {
        match &self.0 {
            Place::Folder(folder) => folder.remove(upload).await,
            Place::Objects(objects) => objects.remove(upload).await,
        }
    }

    /// Forgets all uploads of a session.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Blob`].
    pub async fn remove_session(&self, session: SessionId) -> Result<(), Error> {
        match &self.0 {
            Place::Folder(folder) => folder.remove_session(session).await,
            Place::Objects(objects) => objects.remove_session(session).await,
        }
    }

    /// Forgets the sessions that `keep` does not name: in a folder all of them, in an object store only what is older
    /// than a day, because a session that this replica has not heard of may be another replica's.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Blob`].
    pub async fn retain(&self, keep: HashSet<SessionId>) -> Result<(), Error> {
        match &self.0 {
            Place::Folder(folder) => folder.retain(keep).await,
            Place::Objects(objects) => objects.retain(&keep, objects::a_day_ago()).await,
        }
    }
}
