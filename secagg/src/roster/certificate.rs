//! Certificates of the malicious profile: an authority that the coordinator does not run says which identities are
//! devices (docs/protocol.md). They ride beside the roster's entries; no leaf and no key depends on them, because the
//! session id already binds every identity that they speak for.

use super::{ENTRY_LEN, Entry};
use crate::bytes::Reader;
use crate::error::{Reason, Refusal};
use crate::keys::{self, IdentityKey};

/// Bytes of an encoded [`Certificate`].
pub const CERTIFICATE_LEN: usize = 72;

/// A root's word that an identity belongs to one device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Last moment at which it counts, Unix milliseconds.
    pub not_after_ms: u64,
    /// The root's Ed25519 signature over `"FLSA1/cert" ‖ root_pk ‖ id_pk ‖ u64 not_after_ms`.
    pub signature: [u8; 64],
}

impl Certificate {
    /// Certifies the identity `id_pk` until `not_after_ms` (Unix milliseconds).
    pub fn issue(root: &IdentityKey, id_pk: &[u8; 32], not_after_ms: u64) -> Self {
        let signature = root.sign(&certificate_statement(&root.public(), id_pk, not_after_ms));
        Self { not_after_ms, signature }
    }

    /// Whether `root_pk` certifies `id_pk` at `at_ms` (Unix milliseconds). Sessions ask for their last closing time, a
    /// signed value: so every device and the server agree, whatever their clocks show.
    ///
    /// # Errors
    /// [`Reason::Certificate`] for another root, identity or expiry; [`Reason::CertificateExpired`].
    pub fn verify(&self, root_pk: &[u8; 32], id_pk: &[u8; 32], at_ms: u64) -> Result<(), Reason> {
        let statement = certificate_statement(root_pk, id_pk, self.not_after_ms);
        if !keys::verify(root_pk, &statement, &self.signature) {
            return Err(Reason::Certificate);
        }
        if at_ms > self.not_after_ms { Err(Reason::CertificateExpired) } else { Ok(()) }
    }

    /// The 72 bytes: expiry, then the signature.
    pub fn encode(&self) -> [u8; CERTIFICATE_LEN] {
        let mut out = [0; CERTIFICATE_LEN];
        out[..8].copy_from_slice(&self.not_after_ms.to_le_bytes());
        out[8..].copy_from_slice(&self.signature);
        out
    }

    /// Decodes 72 bytes. Whether the certificate counts is for [`Self::verify`].
    ///
    /// # Errors
    /// [`Reason::Malformed`] for any other length.
    pub fn decode(data: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(data);
        let certificate = Self { not_after_ms: reader.u64()?, signature: reader.array()? };
        reader.finish()?;
        Ok(certificate)
    }
}

/// What a root signs, 82 bytes.
pub fn certificate_statement(root_pk: &[u8; 32], id_pk: &[u8; 32], not_after_ms: u64) -> Vec<u8> {
    [b"FLSA1/cert".as_slice(), root_pk, id_pk, &not_after_ms.to_le_bytes()].concat()
}

/// The roster message of a certified session: every entry in index order, each with its certificate behind it.
pub fn encode_certified<'a>(entries: impl IntoIterator<Item = (&'a Entry, &'a Certificate)>) -> Vec<u8> {
    let pair = |(entry, certificate): (&Entry, &Certificate)| [&entry.encode()[..], &certificate.encode()].concat();
    entries.into_iter().flat_map(pair).collect()
}

/// Decodes the roster message of a certified session; nothing in it has been judged yet.
///
/// # Errors
/// [`Reason::Malformed`] unless the length is a multiple of 232.
pub fn decode_certified(data: &[u8]) -> Result<Vec<(Entry, Certificate)>, Refusal> {
    let (pairs, rest) = data.as_chunks::<{ ENTRY_LEN + CERTIFICATE_LEN }>();
    if !rest.is_empty() {
        return Err(Reason::Malformed.into());
    }
    let pair = |pair: &[u8; ENTRY_LEN + CERTIFICATE_LEN]| {
        let (entry, certificate) = pair.split_at(ENTRY_LEN);
        Ok((Entry::decode(entry)?, Certificate::decode(certificate)?))
    };
    pairs.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_speaks_for_one_root_one_identity_and_one_expiry() {
        let (root, id_pk) = (IdentityKey::from_seed(&[1; 32]), IdentityKey::from_seed(&[2; 32]).public());
        let certificate = Certificate::issue(&root, &id_pk, 1000);
        let root_pk = root.public();
        for at_ms in [0, 999, 1000] {
            assert_eq!(certificate.verify(&root_pk, &id_pk, at_ms), Ok(()), "{at_ms}");
        }
        assert_eq!(certificate.verify(&root_pk, &id_pk, 1001), Err(Reason::CertificateExpired));
        let other = IdentityKey::from_seed(&[3; 32]).public();
        assert_eq!(certificate.verify(&other, &id_pk, 0), Err(Reason::Certificate), "another root");
        assert_eq!(certificate.verify(&root_pk, &other, 0), Err(Reason::Certificate), "another identity");
        let longer = Certificate { not_after_ms: 2000, ..certificate };
        assert_eq!(longer.verify(&root_pk, &id_pk, 0), Err(Reason::Certificate), "another expiry");
    }

    #[test]
    fn certificates_and_certified_rosters_have_one_length() {
        let certificate = Certificate { not_after_ms: 0x0102, signature: [7; 64] };
        let bytes = certificate.encode();
        assert_eq!(bytes[..8], [2, 1, 0, 0, 0, 0, 0, 0], "little-endian");
        assert_eq!(Certificate::decode(&bytes), Ok(certificate));
        assert_eq!(Certificate::decode(&bytes[1..]), Err(Reason::Malformed.into()));
        assert_eq!(Certificate::decode(&[&bytes[..], &[0]].concat()), Err(Reason::Malformed.into()));

        let entry = Entry { id_pk: [1; 32], c_pk: [2; 32], s_pk: [3; 32], sig: [4; 64] };
        let roster = encode_certified([(&entry, &certificate), (&entry, &certificate)]);
        assert_eq!(roster.len(), 2 * 232);
        assert_eq!(decode_certified(&roster), Ok(vec![(entry.clone(), certificate), (entry, certificate)]));
        assert_eq!(decode_certified(&roster[1..]), Err(Reason::Malformed.into()));
    }
}
