//! Tokens from the outside in: another library's, and keys that come, go and cannot be had.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scale_clock::Timestamp;
use scale_records::domain::UserId;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::auth::jws::Key;

const HOUR: Duration = Duration::from_secs(3600);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis((1_800_000_000 + seconds) * 1000)
}

/// Tokens and keys made by PyJWT.
#[derive(Deserialize)]
struct KnownAnswers {
    now_s: u64,
    issuer: String,
    secret: String,
    hs256_kid: String,
    user: String,
    jwks: serde_json::Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    token: String,
    code: Option<String>,
}

fn known_answers() -> KnownAnswers {
    serde_json::from_str(include_str!("known_answers.json")).unwrap()
}

/// Publishes what it is told to, counts, and can be made to wait.
#[derive(Default)]
struct Publisher {
    body: Mutex<Option<String>>,
    max_age: Option<Duration>,
    fetches: AtomicUsize,
    gate: Option<Notify>,
}

impl Publisher {
    fn of(keys: &[&DevIssuer]) -> Self {
        Self { body: Mutex::new(Some(key_set(keys))), ..Self::default() }
    }

    fn publish(&self, keys: Option<&[&DevIssuer]>) {
        *self.body.lock().unwrap() = keys.map(key_set);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeySource for Publisher {
    async fn fetch(&self) -> Result<Fetched, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            gate.notified().await;
        }
        let body = self.body.lock().unwrap().clone().ok_or_else(|| FetchError::new("it is away".to_owned()))?;
        Ok(Fetched { body: body.into_bytes(), max_age: self.max_age })
    }
}

fn key_set(keys: &[&DevIssuer]) -> String {
    let jwk = |issuer: &&DevIssuer| {
        let (kid, Key::Es256(point)) = issuer.public_key() else { panic!("a P-256 key") };
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": part(&point[1..33]), "y": part(&point[33..])})
    };
    json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }).to_string()
}

/// Issuers with keys of their own.
fn issuers<const N: usize>() -> [DevIssuer; N] {
    let folder = tempfile::tempdir().unwrap();
    std::array::from_fn(|index| DevIssuer::load_or_create(&folder.path().join(index.to_string())).unwrap())
}

fn token(issuer: &DevIssuer) -> String {
    issuer.mint(UserId::new(), Role::User, Assurance::Aal1, 100 * 24 * HOUR, at(0))
}

fn verifier(publisher: &Arc<Publisher>) -> Verifier {
    let config = AuthConfig { issuer: Some(dev::ISSUER.to_owned()), ..AuthConfig::default() };
    Verifier::with_source(&config, Some(publisher.clone())).unwrap()
}

async fn code(verifier: &Verifier, token: &str, now: Timestamp) -> &'static str {
    verifier.verify(token, now).await.map_or_else(|error| error.code(), |_| "ok")
}

fn secret_file(folder: &Path, content: &[u8]) -> AuthConfig {
    let file = folder.join("secret");
    std::fs::write(&file, content).unwrap();
    let issuer = Some("https://project.supabase.co/auth/v1".to_owned());
    AuthConfig { issuer, hs256_secret_file: Some(file), ..AuthConfig::default() }
}

#[tokio::test]
async fn tokens_of_another_library_are_let_in_or_refused_by_their_code() {
    let known = known_answers();
    let folder = tempfile::tempdir().unwrap();
    let config = AuthConfig {
        issuer: Some(known.issuer),
        hs256_kid: Some(known.hs256_kid),
        ..secret_file(folder.path(), format!("{}\n", known.secret).as_bytes())
    };
    let publisher = Publisher { body: Mutex::new(Some(known.jwks.to_string())), ..Publisher::default() };
    let verifier = Verifier::with_source(&config, Some(Arc::new(publisher))).unwrap();
    let now = Timestamp::from_millis(known.now_s * 1000);
    // Twice: the second time the good ones come from the cache, and the bad ones must not.
    for _ in 0..2 {
        for case in &known.cases {
            let result = verifier.verify(&case.token, now).await;
            assert_eq!(result.err().map(|error| error.code()), case.code.as_deref(), "{}", case.name);
            if let Ok(caller) = result {
                let operator = case.name.contains("operator");
                assert_eq!(caller.user.to_string(), known.user);
                assert_eq!(caller.role, if operator { Role::Operator } else { Role::User }, "{}", case.name);
                assert_eq!(caller.assurance, if operator { Assurance::Aal2 } else { Assurance::Aal1 });
                assert_eq!(caller.expires, now.plus(Duration::from_secs(3590)));
            }
        }
    }
    // A token that was good, and is in the cache, ends when it ends.
    let good = &known.cases[0].token;
    assert_eq!(code(&verifier, good, now.plus(Duration::from_secs(3619))).await, "ok");
    assert_eq!(code(&verifier, good, now.plus(Duration::from_secs(3620))).await, "expired_token");
}

#[tokio::test]
async fn with_a_secret_alone_any_kid_is_its() {
    let known = known_answers();
    let folder = tempfile::tempdir().unwrap();
    let config = secret_file(folder.path(), known.secret.as_bytes());
    let verifier = Verifier::with_source(&config, None).unwrap();
    let now = Timestamp::from_millis(known.now_s * 1000);
    let by_name: HashMap<_, _> = known.cases.iter().map(|case| (case.name.as_str(), case.token.as_str())).collect();
    for (name, expected) in [
        ("hs256", "ok"),
        ("hs256_without_kid", "ok"),
        ("es256", "wrong_algorithm"),
        ("rs256", "wrong_algorithm"),
        ("bad_alg_none", "wrong_algorithm"),
        ("bad_hs256_tampered", "bad_signature"),
        ("bad_hs256_with_the_ec_public_key_point", "bad_signature"),
    ] {
        assert_eq!(code(&verifier, by_name[name], now).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_and_an_old_one_ends_with_its_set() {
    let [old, new, stranger] = issuers();
    let publisher = Arc::new(Publisher::of(&[&old]));
    let verifier = verifier(&publisher);
    let (with_old, with_new, strange) = (token(&old), token(&new), token(&stranger));
    for (name, seconds, token, expected, fetches) in [
        ("the first token fetches", 0, &with_old, "ok", 1),
        ("the second does not", 1, &with_old, "ok", 1),
        ("an unknown key so soon does not", 29, &with_new, "unknown_key", 1),
        ("half a minute later it does", 30, &with_new, "unknown_key", 2),
        ("and not again", 59, &strange, "unknown_key", 2),
    ] {
        assert_eq!((code(&verifier, token, at(seconds)).await, publisher.fetches()), (expected, fetches), "{name}");
    }
    publisher.publish(Some(&[&old, &new]));
    for (name, seconds, token, expected, fetches) in [
        ("the new key is there", 60, &with_new, "ok", 3),
        ("beside the old", 60, &with_old, "ok", 3),
        ("good for ten minutes", 659, &with_old, "ok", 3),
    ] {
        assert_eq!((code(&verifier, token, at(seconds)).await, publisher.fetches()), (expected, fetches), "{name}");
    }
    publisher.publish(Some(&[&new]));
    for (name, seconds, token, expected, fetches) in [
        ("then the old key is gone, cached tokens too", 660, &with_old, "unknown_key", 4),
        ("and the new one stays", 661, &with_new, "ok", 4),
    ] {
        assert_eq!((code(&verifier, token, at(seconds)).await, publisher.fetches()), (expected, fetches), "{name}");
    }
}

#[tokio::test]
async fn a_set_that_cannot_be_fetched_leaves_the_old_one() {
    let [issuer, other] = issuers();
    let publisher = Arc::new(Publisher::default());
    let verifier = verifier(&publisher);
    let (good, unknown) = (token(&issuer), token(&other));
    for (name, seconds, published, token, expected, fetches) in [
        ("away from the start", 0, None, &good, "keys_unavailable", 1),
        ("asked again soon", 1, None, &good, "keys_unavailable", 1),
        ("but not too soon", 2, None, &good, "keys_unavailable", 2),
        ("there it is", 4, Some(&[&issuer][..]), &good, "ok", 3),
        ("good while it is fresh", 603, None, &good, "ok", 3),
        ("old, and the new one is away", 604, None, &good, "ok", 4),
        ("every half minute", 633, None, &good, "ok", 4),
        ("it is tried again", 634, None, &good, "ok", 5),
        ("an unknown key is unknown, not unavailable", 664, None, &unknown, "unknown_key", 6),
        ("a set without usable keys is no set", 694, Some(&[]), &good, "ok", 7),
        ("back", 724, Some(&[&issuer]), &good, "ok", 8),
        ("a try in the future is from before the clock was set back", 30, Some(&[&issuer, &other]), &unknown, "ok", 9),
    ] {
        publisher.publish(published);
        assert_eq!((code(&verifier, token, at(seconds)).await, publisher.fetches()), (expected, fetches), "{name}");
    }
}

#[tokio::test]
async fn an_age_is_believed_within_reason() {
    for (max_age, good, due) in
        [(None, 599, 600), (Some(5), 59, 60), (Some(120), 119, 120), (Some(1 << 40), 86_399, 86_400)]
    {
        let [issuer] = issuers();
        let publisher = Publisher { max_age: max_age.map(Duration::from_secs), ..Publisher::of(&[&issuer]) };
        let publisher = Arc::new(publisher);
        let verifier = verifier(&publisher);
        let token = token(&issuer);
        for (seconds, fetches) in [(0, 1), (good, 1), (due, 2)] {
            assert_eq!(code(&verifier, &token, at(seconds)).await, "ok");
            assert_eq!(publisher.fetches(), fetches, "{max_age:?} {seconds}");
        }
    }
}

/// A hundred calls at once fetch once; one that hangs up takes no fetch along; those with an old set do not wait.
#[tokio::test]
async fn one_fetch_serves_all_who_wait() {
    let [old, new] = issuers();
    let publisher = Publisher { gate: Some(Notify::new()), ..Publisher::of(&[&old]) };
    let publisher = Arc::new(publisher);
    let gate = publisher.gate.as_ref().unwrap();
    let verifier = verifier(&publisher);
    let (with_old, with_new) = (token(&old), token(&new));
    let ask = |token: &String, seconds| {
        let (verifier, token) = (verifier.clone(), token.clone());
        tokio::spawn(async move { code(&verifier, &token, at(seconds)).await })
    };
    let until_waiting = async || {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    };

    let gone = ask(&with_old, 0);
    until_waiting().await;
    gone.abort();
    let waiting: Vec<_> = (0..100).map(|_| ask(&with_old, 0)).collect();
    until_waiting().await;
    assert_eq!(publisher.fetches(), 1);
    gate.notify_one();
    for call in waiting {
        assert_eq!(call.await.unwrap(), "ok");
    }
    assert_eq!(publisher.fetches(), 1);

    publisher.publish(Some(&[&old, &new]));
    let waiting: Vec<_> = (0..100).map(|_| ask(&with_new, 700)).collect();
    until_waiting().await;
    assert_eq!(code(&verifier, &with_old, at(700)).await, "ok", "while the fetch hangs");
    gate.notify_one();
    for call in waiting {
        assert_eq!(call.await.unwrap(), "ok");
    }
    assert_eq!(publisher.fetches(), 2);
}

#[tokio::test]
async fn the_development_issuer_is_let_in_and_only_it() {
    let [issuer, other] = issuers();
    let verifier = Verifier::development(&issuer);
    let user = UserId::new();
    for (role, assurance, operator) in [
        (Role::User, Assurance::Aal2, Err(AuthError::Forbidden)),
        (Role::Operator, Assurance::Aal1, Err(AuthError::MfaRequired)),
        (Role::Operator, Assurance::Aal2, Ok(())),
        (Role::Service, Assurance::Aal1, Ok(())),
    ] {
        let token = issuer.mint(user, role, assurance, HOUR, at(0));
        let caller = verifier.verify(&token, at(1)).await.unwrap();
        assert_eq!(caller, Caller { user, role, assurance, expires: at(3600) });
        assert_eq!(verifier.check_operator(&caller), operator, "{role:?} {assurance:?}");
    }
    assert_eq!(code(&verifier, &token(&other), at(1)).await, "unknown_key");
    let lenient = AuthConfig { operator_needs_mfa: false, issuer: Some("i".to_owned()), ..AuthConfig::default() };
    let lenient = Verifier::with_source(&lenient, Some(Arc::new(Publisher::default()))).unwrap();
    let caller = Caller { user, role: Role::Operator, assurance: Assurance::Aal1, expires: at(1) };
    assert_eq!(lenient.check_operator(&caller), Ok(()));
}

#[test]
fn a_configuration_that_lets_in_too_many_is_refused_without_quoting_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "hunter2-hunter2-hunter2-hunter2-";
    let good = secret_file(folder.path(), secret.as_bytes());
    let verifier = Verifier::new(&good).unwrap();
    assert!(!format!("{verifier:?} {good:?}").contains("hunter2"));
    let short = tempfile::tempdir().unwrap();
    for (config, expected) in [
        (AuthConfig::default(), "needs `jwks_url` or"),
        (AuthConfig { issuer: None, ..good.clone() }, "needs `issuer`"),
        (AuthConfig { issuer: Some(String::new()), ..good.clone() }, "needs `issuer`"),
        (AuthConfig { audience: String::new(), ..good.clone() }, "audience is empty"),
        (AuthConfig { leeway_s: 301, ..good.clone() }, "leeway_s is 301"),
        (AuthConfig { hs256_secret_file: Some("/nowhere".into()), ..good.clone() }, "cannot read"),
        (secret_file(short.path(), format!("{}  \r\n\n", &secret[1..]).as_bytes()), "holds 31 bytes"),
        (AuthConfig { jwks_url: Some("http://project.supabase.co/jwks".to_owned()), ..good.clone() }, "https://"),
        (AuthConfig { jwks_url: Some("ftp://localhost/jwks".to_owned()), ..good.clone() }, "https://"),
        (AuthConfig { jwks_url: Some("jwks".to_owned()), ..good.clone() }, "https://"),
    ] {
        let error = Verifier::new(&config).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let unknown = serde_json::from_value::<AuthConfig>(json!({"audiance": "authenticated"}));
    assert!(unknown.unwrap_err().to_string().contains("audiance"));
    assert_eq!(serde_json::from_value::<AuthConfig>(json!({})).unwrap(), AuthConfig::default());
}
