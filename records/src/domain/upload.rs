//! Files that were imported, so that the same one is recognized.

use scale_clock::Timestamp;

use super::{Text, UploadId, UserId};

/// SHA-256 of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileHash(pub [u8; 32]);

impl FileHash {
    /// Of a whole file.
    pub fn of(bytes: &[u8]) -> Self {
        Self(super::bytes_of(ring::digest::digest(&ring::digest::SHA256, bytes)))
    }
}

/// A file about to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewUpload {
    /// Of its bytes.
    pub file_hash: FileHash,
    /// As the person's machine calls it, without folders.
    pub filename: Text<255>,
    /// `csv` or `json`.
    pub upload_type: &'static str,
}

/// What became of a file's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UploadCounts {
    /// Rows that are transactions now.
    pub inserted: u64,
    /// Rows that were there already, in the store or further up in the file.
    pub skipped_duplicates: u64,
    /// Rows that could not be read as transactions.
    pub rejected: u64,
}

/// A file that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its name.
    pub id: UploadId,
    /// Whose.
    pub user_id: UserId,
    /// Of its bytes.
    pub file_hash: FileHash,
    /// As the person's machine calls it.
    pub filename: String,
    /// `csv` or `json`.
    pub upload_type: String,
    /// What became of its rows.
    pub counts: UploadCounts,
    /// When.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(FileHash::of(b"abc").0), expected);
    }
}
