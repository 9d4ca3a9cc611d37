//! What goes wrong with blobs, sorted by what helps.

use std::error::Error as StdError;
use std::io::ErrorKind;

/// A failed operation on a blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The name is not one.
    #[error("a blob's name is a relative path of segments of a-z, 0-9, '-', '_' and '.'")]
    Path,
    /// The disk, or a quota, is full; nothing was written.
    #[error("the blob store is full ({0}); free some space")]
    Full(String),
    /// It cannot be read or written now.
    #[error("the blob store cannot be used at the moment: {0}")]
    Unavailable(String),
    /// The store is there and says no: the keys, the rights, the bucket or the region are not right. Waiting does not help.
    #[error(
        "the blob store refuses this coordinator: {0}; correct [blobs] in the configuration, or the keys and their rights"
    )]
    Forbidden(String),
}

impl BlobError {
    /// One stable word per cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Path => "blob_path",
            Self::Full(_) => "storage_full",
            Self::Unavailable(_) => "storage_unavailable",
            Self::Forbidden(_) => "storage_forbidden",
        }
    }

    /// Whether the same call may succeed later. Rights are given and keys replaced while a coordinator runs.
    pub const fn retry_helps(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Unavailable(_) | Self::Forbidden(_))
    }
}

/// Whether there is no blob of this name, in a bucket that is there.
pub(super) fn is_absent(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) && !says(&error.to_string(), &CONFIGURATION)
}

/// Sorts an object store's error by what helps.
pub(super) fn classify(error: &object_store::Error) -> BlobError {
    let text = error.to_string();
    let mut forbidden = says(&text, &CONFIGURATION)
        || matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. });
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            return BlobError::Full(text);
        }
        forbidden |= kind == Some(ErrorKind::PermissionDenied);
        cause = error.source();
    }
    if says(&text, &FULL) {
        return BlobError::Full(text);
    }
    if forbidden { BlobError::Forbidden(text) } else { BlobError::Unavailable(text) }
}

/// Words by which stores say that the name of the bucket, its region or the keys are wrong. The library passes an answer
/// on as text, and no name of a blob has an upper case letter or a blank.
const CONFIGURATION: [&str; 14] = [
    "status code: 301",
    "status code: 401",
    "status code: 403",
    "NoSuchBucket",
    "ContainerNotFound",
    "The specified bucket does not exist",
    "InvalidBucketName",
    "PermanentRedirect",
    // An S3 bucket of another region.
    "redirect without LOCATION",
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AuthenticationFailed",
    "ExpiredToken",
];
/// Words by which stores say that there is no room.
const FULL: [&str; 4] = ["QuotaExceeded", "StorageFull", "InsufficientStorage", "status code: 507"];

fn says(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn errors_are_sorted_by_what_helps() {
        let io = |kind: ErrorKind| object_store::Error::Generic {
            store: "Local",
            source: Box::new(std::io::Error::from(kind)),
        };
        let denied = object_store::Error::PermissionDenied {
            path: "models/x".into(),
            source: "403 Forbidden: AccessDenied".into(),
        };
        let status = "Server returned non-2xx status code:";
        for (error, code) in [
            (io(ErrorKind::StorageFull), "storage_full"),
            (io(ErrorKind::QuotaExceeded), "storage_full"),
            (io(ErrorKind::PermissionDenied), "storage_forbidden"),
            (io(ErrorKind::TimedOut), BlobError::Unavailable(String::new()).code()),
            (generic(&format!("{status} 507 Insufficient Storage: ")), "storage_full"),
            (generic(&format!("{status} 403: <Code>QuotaExceeded</Code>")), "storage_full"),
            (
                generic(&format!("{status} 503 Service Unavailable: SlowDown")),
                BlobError::Unavailable(String::new()).code(),
            ),
            (generic(&format!("{status} 403 Forbidden: AuthorizationFailure")), "storage_forbidden"),
            (generic("Received redirect without LOCATION, this normally indicates"), "storage_forbidden"),
            (generic(&format!("{status} 404 Not Found: <Code>NoSuchBucket</Code>")), "storage_forbidden"),
            (denied, "storage_forbidden"),
        ] {
            assert_eq!(classify(&error).code(), code, "{error}");
        }
        let absent = |text: &str| object_store::Error::NotFound { path: "models/x".into(), source: text.into() };
        assert!(is_absent(&absent("<Code>NoSuchKey</Code>")));
        assert!(!is_absent(&absent("<Code>NoSuchBucket</Code>")), "a wrong bucket is not an empty one");
    }
}
