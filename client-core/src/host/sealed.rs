//! Encryption of stored values, so that a copy of the storage is useless without the key store.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use crate::error::HostError;

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    // ring refuses a key only if its length is wrong.
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("a key has 32 bytes"))
}

/// The name is authenticated, so sealed bytes are not accepted under another key of the store.
fn aad(name: &str) -> Vec<u8> {
    [b"FLSA1/sealed/", name.as_bytes()].concat()
}

/// Encrypts; returns nonce ‖ ciphertext ‖ tag.
pub(super) fn seal(key: &[u8; 32], name: &str, plain: &[u8], nonce: [u8; 12]) -> Result<Vec<u8>, HostError> {
    let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + CHACHA20_POLY1305.tag_len());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plain);
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad(name)), &mut out[NONCE_LEN..])
        .map_err(|_| HostError::new("key_store", "the value is too large to be sealed"))?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Decrypts; `None` unless `sealed` was made with this key and name.
pub(super) fn open(key: &[u8; 32], name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut body = Zeroizing::new(body.to_vec());
    let len =
        cipher(key).open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad(name)), &mut body).ok()?.len();
    body.truncate(len);
    Some(body)
}

/// The key of the privacy ledger, derived from the sealing key, so that no key has two uses.
pub(super) fn ledger_key(sealing: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, sealing), b"FLSA1/ledger-key");
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(tag.as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use crate::single_thread::test;

    #[test]
    fn opens_only_under_its_name_and_key() {
        let sealed = seal(&[1; 32], "round", b"secret", [2; 12]).expect("short");
        assert_eq!(open(&[1; 32], "round", &sealed).as_deref().map(Vec::as_slice), Some(&b"secret"[..]));
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(open(&[1; 32], "other", &sealed), None);
        assert_eq!(open(&[3; 32], "round", &sealed), None);
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert_eq!(open(&[1; 32], "round", &bent), None, "byte {at}");
            assert_eq!(open(&[1; 32], "round", &sealed[..at]), None, "cut at {at}");
        }
    }
}
