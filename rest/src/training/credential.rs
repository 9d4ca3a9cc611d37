//! What a device shows to report on a job: the job's id and a secret, 48 bytes.

use ring::digest;
use scale_records::domain::JobId;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use zeroize::Zeroize as _;

const ID: usize = 16;
const SECRET: usize = 32;

/// A job's id and the secret that only its device knows. Shown once, when the job is made; the rows keep a hash.
pub struct Credential {
    id: JobId,
    secret: [u8; SECRET],
}

impl Credential {
    /// Bytes of one.
    pub const LEN: usize = ID + SECRET;

    /// A new one.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub(super) fn draw(id: JobId) -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret)?;
        Ok(Self { id, secret })
    }

    /// From its bytes; `None` for any other number of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, secret) = bytes.split_first_chunk::<ID>()?;
        Some(Self { id: JobId(Uuid::from_bytes(*id)), secret: secret.try_into().ok()? })
    }

    /// Its bytes, to be given to the device and to nobody else.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..ID].copy_from_slice(self.id.0.as_bytes());
        bytes[ID..].copy_from_slice(&self.secret);
        bytes
    }

    /// The job it is for.
    pub fn job(&self) -> JobId {
        self.id
    }

    /// What the rows keep.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        // SHA-256 has 32 bytes.
        hash.copy_from_slice(digest::digest(&digest::SHA256, &self.secret).as_ref());
        hash
    }

    /// Whether it is the one whose hash this is; takes as long whatever the answer.
    pub(super) fn opens(&self, hash: &[u8; 32]) -> bool {
        self.hash().ct_eq(hash).into()
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("id", &self.id).field("secret", &"redacted").finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_survives_its_bytes_and_opens_its_own_hash_only() {
        let credential = Credential::draw(JobId::new()).unwrap();
        let bytes = credential.to_bytes();
        let back = Credential::from_bytes(&bytes).unwrap();
        assert_eq!(back.job(), credential.job());
        assert!(back.opens(&credential.hash()));

        let mut other = bytes;
        other[Credential::LEN - 1] ^= 1;
        assert!(!Credential::from_bytes(&other).unwrap().opens(&credential.hash()));
        for wrong in [&bytes[..47], &bytes[..16], &[], &[bytes.as_slice(), &[0]].concat()] {
            assert!(Credential::from_bytes(wrong).is_none());
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let credential = Credential::draw(JobId::new()).unwrap();
        let printed = format!("{credential:?}");
        assert!(printed.contains("redacted") && !printed.contains(&format!("{:?}", credential.secret)), "{printed}");
    }
}
