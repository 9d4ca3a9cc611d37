//! An issuer of our own for development: a P-256 key in a file, and tokens as Supabase would mint them.

use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use scale_clock::Timestamp;
use scale_records::domain::UserId;
use serde_json::json;
use zeroize::Zeroizing;

use super::jws::{self, Key};
use super::{Assurance, Role};

/// The claim `iss` of its tokens.
pub(super) const ISSUER: &str = "scale-development";

/// Mints tokens that [`Verifier::development`](super::Verifier::development) accepts, and nobody else.
pub struct DevIssuer {
    key: EcdsaKeyPair,
    public: [u8; 65],
    kid: String,
}

impl std::fmt::Debug for DevIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevIssuer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Why there is no development issuer.
#[derive(Debug, thiserror::Error)]
pub enum DevIssuerError {
    /// The key's file cannot be read or written.
    #[error("cannot {what} the development issuer's key {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else. It is not replaced: it may be somebody's.
    #[error(
        "{0} is not a P-256 key in PKCS #8 (DER); delete it to have a new one made; older development tokens then stop working"
    )]
    Damaged(String),
    /// The system has no randomness.
    #[error("the operating system provides no random numbers")]
    NoRandomness,
}

impl DevIssuer {
    /// The issuer whose key is in the file `path`; makes one, that its owner alone may read, when there is no such file.
    ///
    /// # Errors
    /// [`DevIssuerError`].
    pub fn load_or_create(path: &Path) -> Result<Self, DevIssuerError> {
        let failed = |what| move |source| DevIssuerError::File { what, path: path.display().to_string(), source };
        match std::fs::read(path) {
            Ok(pkcs8) => Self::from_pkcs8(&Zeroizing::new(pkcs8))
                .ok_or_else(|| DevIssuerError::Damaged(path.display().to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                    .map_err(|_| DevIssuerError::NoRandomness)?;
                let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
                write_new(path, &pkcs8).map_err(failed("write"))?;
                Self::from_pkcs8(&pkcs8).ok_or(DevIssuerError::NoRandomness)
            }
            Err(error) => Err(failed("read")(error)),
        }
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new()).ok()?;
        let public: [u8; 65] = key.public_key().as_ref().try_into().ok()?;
        let kid = hex::encode(&digest::digest(&digest::SHA256, &public).as_ref()[..8]);
        Some(Self { key, public, kid })
    }

    /// A token of `user`, good from `now` for `ttl`.
    pub fn mint(&self, user: UserId, role: Role, assurance: Assurance, ttl: Duration, now: Timestamp) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.kid});
        let seconds = |moment: Timestamp| moment.as_millis() / 1000;
        let claims = json!({
            "iss": ISSUER,
            "aud": super::AuthConfig::default().audience,
            "sub": user.to_string(),
            "iat": seconds(now),
            "exp": seconds(now.plus(ttl)),
            "role": if role == Role::Service { "service_role" } else { "authenticated" },
            "aal": match assurance { Assurance::Aal1 => "aal1", Assurance::Aal2 => "aal2" },
            "app_metadata": {"role": role.name()},
        });
        jws::sign(&self.key, &header, &claims)
    }

    pub(super) fn public_key(&self) -> (String, Key) {
        (self.kid.clone(), Key::Es256(self.public))
    }
}

/// Writes a file that was not there and that its owner alone may read. After a crash in between, what is there is
/// refused as damaged, and costs a developer one `rm`.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_kept_private_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dev_issuer.p8");
        let first = DevIssuer::load_or_create(&path).unwrap();
        let again = DevIssuer::load_or_create(&path).unwrap();
        assert_eq!(first.kid, again.kid);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(format!("{first:?}"), format!("DevIssuer {{ kid: {:?}, .. }}", first.kid));
        std::fs::write(&path, "not a key").unwrap();
        assert!(matches!(DevIssuer::load_or_create(&path), Err(DevIssuerError::Damaged(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"not a key");
        let nowhere = folder.path().join("no/such/folder");
        assert!(matches!(DevIssuer::load_or_create(&nowhere), Err(DevIssuerError::File { what: "write", .. })));
    }
}
