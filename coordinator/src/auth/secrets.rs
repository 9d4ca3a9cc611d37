//! The secrets of one coordinator: one file in the data folder, made at the first start, readable by its owner alone.
//!
//! Whoever has this file can mint tokens and sign rounds; whoever loses it has to enroll every device again, and to update
//! every app. Which database it belongs to is checked at every start ([`super::identity`]).

use std::path::Path;

use scale_proto::ids::Digest;
use scale_secagg::keys::IdentityKey;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::files::write_private;
use super::token::Authority;
use crate::blobs::sign::{UrlKey, UrlSigner};
use crate::store::IdentityRow;

/// Name of the file in the data folder.
pub const FILE: &str = "secrets.json";
const VERSION: u32 = 1;

/// Everything that must stay secret. Wiped on drop.
pub struct Secrets(File);

/// The file's form: hexadecimal keys.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    /// HMAC key of the tokens.
    #[serde(with = "hex::serde")]
    token_key: [u8; 32],
    /// HMAC key of new signed URLs.
    url_key: NamedKey,
    /// The one before, accepted until its URLs have run out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_url_key: Option<NamedKey>,
    /// Ed25519 seed of the key that signs round configurations.
    #[serde(with = "hex::serde")]
    task_seed: [u8; 32],
}

#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct NamedKey {
    id: String,
    #[serde(with = "hex::serde")]
    key: [u8; 32],
}

impl NamedKey {
    fn live(&self) -> UrlKey {
        UrlKey::new(self.id.clone(), &self.key)
    }
}

/// Why there are no secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not one of this build.
    #[error(
        "{path} is not a secrets file of this build ({problem}); put it back from the backup. It is never replaced: \
         without its keys every enrolled device and every app that pins its task key would be locked out"
    )]
    Damaged {
        /// The file.
        path: String,
        /// Where it stops making sense. Never a part of the content.
        problem: String,
    },
    /// The system has no randomness.
    #[error("the operating system provides no random numbers: {0}")]
    NoRandomness(getrandom::Error),
}

impl Secrets {
    /// Reads the secrets of a data folder; `None` when there are none.
    ///
    /// # Errors
    /// [`SecretsError`]. A damaged file is never replaced: that would lock every device out.
    pub fn load(folder: &Path) -> Result<Option<Self>, SecretsError> {
        let path = folder.join(FILE);
        match std::fs::read(&path) {
            Ok(text) => Self::parse(&Zeroizing::new(text), &path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SecretsError::File { what: "read", path: path.display().to_string(), source }),
        }
    }

    /// Makes new secrets and keeps them in a data folder that has none.
    ///
    /// # Errors
    /// [`SecretsError`].
    pub fn create(folder: &Path) -> Result<Self, SecretsError> {
        let path = folder.join(FILE);
        let secrets = Self::random()?;
        // A plain struct of numbers and texts always has a JSON form.
        let text = Zeroizing::new(serde_json::to_vec_pretty(&secrets.0).expect("secrets have a JSON form"));
        write_private(&path, &text).map_err(|source| SecretsError::File {
            what: "write",
            path: path.display().to_string(),
            source,
        })?;
        Ok(secrets)
    }

    /// New secrets.
    ///
    /// # Errors
    /// [`SecretsError::NoRandomness`].
    pub fn random() -> Result<Self, SecretsError> {
        let url_key = NamedKey { id: hex::encode(random::<4>()?), key: random()? };
        Ok(Self(File { version: VERSION, token_key: random()?, url_key, previous_url_key: None, task_seed: random()? }))
    }

    /// Reads the text of such a file; `path` says in errors where it is.
    pub(crate) fn parse(text: &[u8], path: &Path) -> Result<Self, SecretsError> {
        let damaged = |problem: String| SecretsError::Damaged { path: path.display().to_string(), problem };
        // serde's own message may quote a value.
        let file: File = serde_json::from_slice(text)
            .map_err(|error| damaged(format!("line {}, column {}", error.line(), error.column())))?;
        if file.version != VERSION {
            return Err(damaged(format!("version {}, this build knows {VERSION}", file.version)));
        }
        Ok(Self(file))
    }

    /// What mints and checks tokens.
    pub fn authority(&self) -> Authority {
        Authority::new(&self.0.token_key)
    }

    /// What makes and checks signed URLs below `base_url`.
    pub fn url_signer(&self, base_url: &str) -> UrlSigner {
        UrlSigner::new(base_url, self.0.url_key.live(), self.0.previous_url_key.as_ref().map(NamedKey::live))
    }

    /// What a database keeps, to know these secrets again. Keys of signed URLs are no part of it: they may change at any
    /// time, and what is lost with them is a URL that was handed out within the last hour.
    pub fn identity(&self) -> IdentityRow {
        IdentityRow { task_key: self.task_key().public(), token_hash: Digest::of(&self.0.token_key).0 }
    }

    /// The key that signs round configurations.
    pub fn task_key(&self) -> IdentityKey {
        IdentityKey::from_seed(&self.0.task_seed)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(redacted)")
    }
}

/// Random bytes from the system.
///
/// # Errors
/// [`SecretsError::NoRandomness`].
pub fn random<const N: usize>() -> Result<[u8; N], SecretsError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(SecretsError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scale_proto::time::Timestamp;

    use super::*;
    use crate::auth::Kind;

    #[test]
    fn secrets_are_made_once_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Secrets::load(folder.path()).unwrap().is_none());
        let first = Secrets::create(folder.path()).unwrap();
        let again = Secrets::load(folder.path()).unwrap().unwrap();
        assert_eq!(first.identity(), again.identity());
        let now = Timestamp::from_millis(5);
        let token = first.authority().mint(Kind::Operator, [0; 16], Duration::from_secs(1), now).token;
        assert_eq!(again.authority().check_operator(&token, now), Ok(()));
        let url = first.url_signer("http://x").sign_get("a/b", Duration::from_secs(1), now).unwrap();
        let query = url.split_once('?').unwrap().1;
        assert!(again.url_signer("http://y").verify("GET", "a/b", Some(query), now).is_ok());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let other = tempfile::tempdir().unwrap();
        let other = Secrets::create(other.path()).unwrap();
        assert_ne!(first.task_key().public(), other.task_key().public());
    }

    #[test]
    fn a_damaged_file_is_refused_without_quoting_it_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        Secrets::create(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let key = text.split("\"token_key\": \"").nth(1).unwrap()[..64].to_owned();
        for broken in [text.replace(&key, &key[..62]), text.replace("\"version\": 1", "\"version\": 2"), String::new()]
        {
            std::fs::write(&path, &broken).unwrap();
            let error = Secrets::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains("not a secrets file"), "{error}");
            assert!(!error.contains(&key[..16]), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), broken);
        }
    }
}
