//! JSON Web Key Sets (RFC 7517), as far as this service can use their keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::RsaPublicKeyComponents;
use serde::Deserialize;

use super::FetchError;
use super::jws::Key;

/// Keys by their `kid`.
pub(super) type Keys = HashMap<String, Arc<Key>>;

/// Keys of one set; an issuer has two or three.
const MAX_KEYS: usize = 32;
/// Shortest RSA modulus, bits.
const MIN_RSA_BITS: usize = 2048;
/// Longest, which bounds what one signature costs to check.
const MAX_RSA_BITS: usize = 4096;

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

/// A public key as it is published. Of no use with private members, which no published key has.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

/// The usable keys of a set. Others are left out with a warning, so that an issuer can publish keys for others' use.
///
/// # Errors
/// [`FetchError`] when it is not a set, or no key of it is usable: what we had is then the better set.
pub(super) fn parse(body: &[u8]) -> Result<Keys, FetchError> {
    let set: Set = serde_json::from_slice(body)
        .map_err(|error| FetchError::new(format!("line {}, column {}: not a key set", error.line(), error.column())))?;
    if set.keys.len() > MAX_KEYS {
        return Err(FetchError::new(format!("{} keys; at most {MAX_KEYS} are looked at", set.keys.len())));
    }
    let mut keys = Keys::new();
    for (index, value) in set.keys.into_iter().enumerate() {
        let usable = serde_json::from_value(value).map_err(|_| "is not a key").and_then(|jwk: Jwk| jwk.usable());
        match usable.map(|(kid, key)| (keys.entry(kid), key)) {
            Ok((Entry::Vacant(place), key)) => {
                place.insert(Arc::new(key));
            }
            Ok((Entry::Occupied(_), _)) => tracing::warn!(index, "a published key has the `kid` of another: left out"),
            Err(problem) => tracing::warn!(index, problem, "a published key is of no use here: left out"),
        }
    }
    if keys.is_empty() {
        return Err(FetchError::new("it holds no P-256 key and no RSA key of 2048 to 4096 bits".to_owned()));
    }
    Ok(keys)
}

impl Jwk {
    fn usable(self) -> Result<(String, Key), &'static str> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig")
            || self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
        {
            return Err("is not for signatures");
        }
        let key = match self.kty.as_str() {
            "EC" if self.crv.as_deref() == Some("P-256") => self.p256().ok_or("has wrong coordinates")?,
            "RSA" => self.rsa()?,
            _ => return Err("is neither of P-256 nor RSA"),
        };
        if self.alg.is_some_and(|alg| alg != key.algorithm().name()) {
            return Err("is for another algorithm");
        }
        let kid = self.kid.filter(|kid| !kid.is_empty()).ok_or("has no `kid`")?;
        Ok((kid, key))
    }

    fn p256(&self) -> Option<Key> {
        let mut point = [4; 65];
        point[1..33].copy_from_slice(&decode(self.x.as_ref())?.try_into().ok().map(|x: [u8; 32]| x)?);
        point[33..].copy_from_slice(&decode(self.y.as_ref())?.try_into().ok().map(|y: [u8; 32]| y)?);
        Some(Key::Es256(point))
    }

    fn rsa(&self) -> Result<Key, &'static str> {
        let number = |text| {
            let bytes = decode(text)?;
            // Some issuers write a leading zero, which ring refuses.
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            Some(bytes[zeros..].to_vec())
        };
        let wrong = "has a wrong modulus or exponent";
        let n = number(self.n.as_ref()).ok_or(wrong)?;
        let e = number(self.e.as_ref()).filter(|e| !e.is_empty()).ok_or(wrong)?;
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err("is an RSA key of less than 2048 or more than 4096 bits");
        }
        Ok(Key::Rs256(RsaPublicKeyComponents { n, e }))
    }
}

fn decode(text: Option<&String>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_keys_that_can_check_signatures_are_kept() {
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let ec = json!({"kty": "EC", "kid": "k", "crv": "P-256", "x": number(&[1; 32]), "y": number(&[2; 32])});
        let rsa = |bytes: usize| json!({"kty": "RSA", "kid": "k", "n": number(&vec![0xc1; bytes]), "e": "AQAB"});
        let with = |base: &serde_json::Value, name: &str, value: serde_json::Value| {
            let mut jwk = base.clone();
            jwk[name] = value;
            jwk
        };
        let zero_first = number(&[&[0][..], &[0xc1; 256]].concat());
        for (name, jwk, usable) in [
            ("P-256", ec.clone(), true),
            ("P-256 with all its members", with(&with(&ec, "alg", json!("ES256")), "use", json!("sig")), true),
            ("for verifying", with(&ec, "key_ops", json!(["verify"])), true),
            ("for encryption", with(&ec, "use", json!("enc")), false),
            ("for signing", with(&ec, "key_ops", json!(["sign"])), false),
            ("without kid", with(&ec, "kid", json!(null)), false),
            ("with an empty kid", with(&ec, "kid", json!("")), false),
            ("another curve", with(&ec, "crv", json!("P-384")), false),
            ("an algorithm of another key", with(&ec, "alg", json!("RS256")), false),
            ("HMAC with a public key", with(&ec, "alg", json!("HS256")), false),
            ("a short coordinate", with(&ec, "x", json!(number(&[1; 31]))), false),
            ("a coordinate in another base64", with(&ec, "x", json!("+/==")), false),
            ("no y", with(&ec, "y", json!(null)), false),
            ("a number as x", with(&ec, "x", json!(7)), false),
            ("RSA 2048", rsa(256), true),
            ("RSA 4096", rsa(512), true),
            ("RSA 1024", rsa(128), false),
            ("RSA 2040", rsa(255), false),
            ("RSA 8192", rsa(1024), false),
            ("RSA with a leading zero", with(&rsa(256), "n", json!(zero_first)), true),
            ("RSA with all zeros", with(&rsa(256), "n", json!(number(&[0; 256]))), false),
            ("RSA without exponent", with(&rsa(256), "e", json!("")), false),
            ("RSA-PSS", with(&rsa(256), "alg", json!("PS256")), false),
            ("a shared secret", json!({"kty": "oct", "kid": "k", "k": number(&[1; 32])}), false),
            ("Ed25519", json!({"kty": "OKP", "kid": "k", "crv": "Ed25519", "x": number(&[1; 32])}), false),
            ("not a key", json!("k"), false),
        ] {
            let set = json!({"keys": [jwk]}).to_string();
            assert_eq!(parse(set.as_bytes()).is_ok(), usable, "{name}");
            // Beside a good one a useless one does no harm.
            let set = json!({"keys": [jwk, with(&ec, "kid", json!("good"))]}).to_string();
            assert_eq!(parse(set.as_bytes()).unwrap().len(), 1 + usize::from(usable), "{name}");
        }
    }

    #[test]
    fn a_set_is_a_set() {
        let ec = json!({"kty": "EC", "kid": "k", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43)});
        for wrong in [
            String::new(),
            "<html>".to_owned(),
            json!({}).to_string(),
            json!({"keys": []}).to_string(),
            json!({"keys": {}}).to_string(),
            json!({ "keys": vec![ec.clone(); MAX_KEYS + 1] }).to_string(),
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert_eq!(parse(json!({"keys": [ec, ec]}).to_string().as_bytes()).unwrap().len(), 1);
    }
}
