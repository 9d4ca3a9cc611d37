//! Names of blobs. A name is a plain relative path of plain segments: it cannot climb, and needs no escaping anywhere.

use std::fmt;

use super::error::BlobError;

/// Longest path, in bytes.
const PATH_BYTES: usize = 512;
/// Longest segment: what common file systems take.
const SEGMENT_BYTES: usize = 255;

/// The name of a blob, such as `models/merchants/00000003-9f2c….safetensors`.
///
/// Segments between `/` hold `a-z`, `0-9`, `-`, `_` and `.`, and begin with a letter or a digit: no `..`, nothing
/// absolute, no backslash, no escapes, no hidden files, no NUL, and no two spellings of one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlobPath(String);

impl BlobPath {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BlobError::Path`] for anything that is not such a name.
    pub fn parse(text: &str) -> Result<Self, BlobError> {
        let fine = text.len() <= PATH_BYTES && text.split('/').all(is_segment);
        if fine { Ok(Self(text.to_owned())) } else { Err(BlobError::Path) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the object store takes it.
    pub(super) fn object(&self) -> object_store::path::Path {
        // Every allowed character stands for itself there.
        object_store::path::Path::from(self.0.as_str())
    }
}

impl fmt::Display for BlobPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_segment(segment: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    segment.len() <= SEGMENT_BYTES
        && segment.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && segment.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_names_are_paths() {
        for good in
            ["a", "models/merchants/00000001-9f.safetensors", "segments/6f1e-4/3.bin", "0/_".replace('_', "x").as_str()]
        {
            assert_eq!(BlobPath::parse(good).unwrap().as_str(), good);
        }
        let long = "a/".repeat(300);
        let wide = "a".repeat(256);
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "a/",
            "a//b",
            ".",
            "..",
            "a/../b",
            "../a",
            "a/..",
            "a/.hidden",
            "a\\b",
            "a\\..\\b",
            "%2e%2e/a",
            "a/%2e%2e/b",
            "a%2fb",
            "a\0b",
            "a b",
            "A",
            "ä",
            "a:b",
            "a?b",
            "a#b",
            "~a",
            "-a",
            "a\n",
            long.as_str(),
            wide.as_str(),
        ] {
            assert_eq!(BlobPath::parse(bad), Err(BlobError::Path), "{bad:?}");
        }
    }
}
