//! The values: what a transaction, a file, a category and a training job are, and which ones exist at all.
//!
//! A value of these types has been checked; nothing downstream checks it again.

mod category;
mod ids;
mod job;
mod money;
mod transaction;
mod upload;

pub(crate) use category::unaccented;
pub use category::{Category, CategorySlug};
pub use ids::{JobId, Scope, TransactionId, UploadId, UserId};
pub use job::{JobChange, JobStatus, Metrics, NewJob, TrainingJob};
pub use money::{Currency, Money};
pub use transaction::{
    CategoryChange, CategorySource, Direction, Fingerprint, NewTransaction, Status, Text, Transaction,
};
pub use upload::{FileHash, NewUpload, Upload, UploadCounts};

/// A value that cannot be: which field, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field, by its name in the API.
    pub field: &'static str,
    /// What is wrong with it and what would be right; never the value of somebody's transaction.
    pub problem: String,
}

impl Invalid {
    pub(crate) fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self { field, problem: problem.into() }
    }
}

/// The value that `text` names, among all that the field can have.
fn one_of<T: Copy>(field: &'static str, text: &str, words: &[(&str, T)]) -> Result<T, Invalid> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Invalid::new(field, format!("unknown; one of {}", known.join(", ")))
    })
}

/// The 32 bytes of a SHA-256.
fn bytes_of(digest: ring::digest::Digest) -> [u8; 32] {
    // Invariant: every caller hashes with SHA-256, which is 32 bytes long.
    digest.as_ref().try_into().expect("SHA-256 is 32 bytes")
}
