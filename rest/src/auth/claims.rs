//! What a signed payload must say for its bearer to be let in.

use std::time::Duration;

use scale_clock::Timestamp;
use scale_records::domain::UserId;
use serde::Deserialize;
use uuid::Uuid;

use super::{Assurance, AuthError, Caller, Role};

/// What is expected of every token.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) leeway: Duration,
}

/// Supabase's claims, as far as they matter. `user_metadata` is not among them: people write it themselves.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    role: Option<String>,
    aal: Option<String>,
    #[serde(default)]
    app_metadata: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Rules {
    /// Who the payload of a token, whose signature is good, speaks for.
    ///
    /// # Errors
    /// [`AuthError`].
    pub(super) fn check(&self, payload: &[u8], now: Timestamp) -> Result<Caller, AuthError> {
        let claims: Claims = serde_json::from_slice(payload)
            .map_err(|_| AuthError::MalformedToken("its claims are not those of an access token"))?;
        if claims.iss.as_deref() != Some(&self.issuer) {
            return Err(AuthError::WrongIssuer);
        }
        let meant = match &claims.aud {
            None => false,
            Some(Audience::One(audience)) => *audience == self.audience,
            Some(Audience::Many(audiences)) => audiences.contains(&self.audience),
        };
        if !meant {
            return Err(AuthError::WrongAudience);
        }
        let expires = claims.exp.filter(|exp| *exp <= LAST_SECOND).map(moment);
        let expires = expires.ok_or(AuthError::MalformedToken("it has no `exp` that is a time"))?;
        if !self.is_current(expires, now) {
            return Err(AuthError::ExpiredToken);
        }
        let begins = claims.nbf.into_iter().chain(claims.iat).map(moment);
        if begins.max().is_some_and(|begins| begins > now.plus(self.leeway)) {
            return Err(AuthError::NotYetValid);
        }
        let user = claims.sub.as_deref().and_then(subject).ok_or(AuthError::MalformedToken("`sub` is not a UUID"))?;
        let role = match claims.role.as_deref() {
            Some("service_role") => Role::Service,
            Some("authenticated") => given_role(&claims.app_metadata),
            // `anon` is the key that every copy of the app holds.
            _ => return Err(AuthError::Forbidden),
        };
        let assurance = if claims.aal.as_deref() == Some("aal2") { Assurance::Aal2 } else { Assurance::Aal1 };
        Ok(Caller { user: UserId(user), role, assurance, expires })
    }

    /// Whether a token that ends at `expires` is still good.
    pub(super) fn is_current(&self, expires: Timestamp, now: Timestamp) -> bool {
        now < expires.plus(self.leeway)
    }
}

/// The end of the year 9999: what has no date ends nowhere, and what waits for it may overflow.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// From seconds since 1970, which may have a fraction (RFC 7519, 2). Saturates on both sides.
fn moment(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1000.0) as u64)
}

/// A UUID in its usual form alone: the same person has one name.
fn subject(text: &str) -> Option<Uuid> {
    (text.len() == uuid::fmt::Hyphenated::LENGTH).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// The highest role that an administrator has written into `role` or `roles`. What is no role gives none.
fn given_role(app_metadata: &serde_json::Value) -> Role {
    let several = app_metadata["roles"].as_array().into_iter().flatten();
    let words = several.chain([&app_metadata["role"]]).filter_map(serde_json::Value::as_str);
    words.filter_map(|word| word.parse().ok()).max().unwrap_or(Role::User)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW_S: u64 = 1_800_000_000;
    const SUB: &str = "018f3c1e-7d2a-7bbb-8ccc-0123456789ab";

    fn check(change: Value) -> Result<Caller, &'static str> {
        let rules = Rules {
            issuer: "https://p.supabase.co/auth/v1".to_owned(),
            audience: "authenticated".to_owned(),
            leeway: Duration::from_secs(30),
        };
        let mut claims = json!({
            "iss": "https://p.supabase.co/auth/v1", "aud": "authenticated", "sub": SUB, "exp": NOW_S + 3600,
            "iat": NOW_S, "role": "authenticated", "aal": "aal1", "email": "a@example.com", "session_id": "s",
            "app_metadata": {"provider": "google", "providers": ["google"]}, "user_metadata": {},
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        rules.check(claims.to_string().as_bytes(), Timestamp::from_millis(NOW_S * 1000)).map_err(|error| error.code())
    }

    #[test]
    fn every_claim_that_matters_is_checked() {
        let caller = Caller {
            user: SUB.parse().unwrap(),
            role: Role::User,
            assurance: Assurance::Aal1,
            expires: Timestamp::from_millis((NOW_S + 3600) * 1000),
        };
        assert_eq!(check(json!({})), Ok(caller));
        for (name, change, expected) in [
            ("several audiences", json!({"aud": ["other", "authenticated"]}), None),
            ("other audiences", json!({"aud": ["other"]}), Some("wrong_audience")),
            ("another audience", json!({"aud": "authenticated2"}), Some("wrong_audience")),
            ("no audience", json!({"aud": null}), Some("wrong_audience")),
            ("an empty list", json!({"aud": []}), Some("wrong_audience")),
            ("an audience that is a number", json!({"aud": 1}), Some("malformed_token")),
            ("another issuer", json!({"iss": "https://q.supabase.co/auth/v1"}), Some("wrong_issuer")),
            ("an issuer with more behind it", json!({"iss": "https://p.supabase.co/auth/v1/"}), Some("wrong_issuer")),
            ("no issuer", json!({"iss": null}), Some("wrong_issuer")),
            ("just expired, within the leeway", json!({"exp": NOW_S - 29}), None),
            ("expired", json!({"exp": NOW_S - 30}), Some("expired_token")),
            ("expired long ago", json!({"exp": 0}), Some("expired_token")),
            ("expired before 1970", json!({"exp": -5}), Some("expired_token")),
            ("a fraction of a second", json!({"exp": NOW_S as f64 + 0.5}), None),
            ("expires in the year 9999", json!({"exp": 253_402_300_799_u64}), None),
            ("expires in no year", json!({"exp": 253_402_300_800_u64}), Some("malformed_token")),
            ("never expires", json!({"exp": 1e300}), Some("malformed_token")),
            ("no expiry", json!({"exp": null}), Some("malformed_token")),
            ("an expiry that is a text", json!({"exp": "2030-01-01"}), Some("malformed_token")),
            ("begins within the leeway", json!({"nbf": NOW_S + 30}), None),
            ("begins later", json!({"nbf": NOW_S + 31}), Some("not_yet_valid")),
            ("issued in the future", json!({"iat": NOW_S + 31}), Some("not_yet_valid")),
            ("a number as subject", json!({"sub": 7}), Some("malformed_token")),
            ("no subject", json!({"sub": null}), Some("malformed_token")),
            ("a subject that is no UUID", json!({"sub": "admin"}), Some("malformed_token")),
            ("a UUID in braces", json!({"sub": format!("{{{SUB}}}")}), Some("malformed_token")),
            ("a UUID without hyphens", json!({"sub": SUB.replace('-', "")}), Some("malformed_token")),
            ("a subject with SQL", json!({"sub": format!("{SUB}'; --")}), Some("malformed_token")),
            ("the app's own key", json!({"role": "anon"}), Some("forbidden")),
            ("a role of the database", json!({"role": "postgres"}), Some("forbidden")),
            ("no role", json!({"role": null}), Some("forbidden")),
        ] {
            assert_eq!(check(change).err(), expected, "{name}");
        }
    }

    #[test]
    fn a_role_comes_from_an_administrator_alone() {
        for (name, change, expected) in [
            ("role", json!({"app_metadata": {"role": "operator"}}), Role::Operator),
            ("roles", json!({"app_metadata": {"roles": ["user", "operator"]}}), Role::Operator),
            ("both, the highest", json!({"app_metadata": {"role": "user", "roles": ["operator"]}}), Role::Operator),
            ("a service account", json!({"app_metadata": {"role": "service"}}), Role::Service),
            ("the service key", json!({"role": "service_role"}), Role::Service),
            ("written by the person", json!({"user_metadata": {"role": "operator"}}), Role::User),
            ("claimed outside", json!({"roles": ["operator"], "user_role": "operator"}), Role::User),
            ("a word in other letters", json!({"app_metadata": {"role": "Operator"}}), Role::User),
            ("a word we do not know", json!({"app_metadata": {"role": "root"}}), Role::User),
            ("a list where a word belongs", json!({"app_metadata": {"role": ["operator"]}}), Role::User),
            ("a word where a list belongs", json!({"app_metadata": {"roles": "operator"}}), Role::User),
            ("numbers", json!({"app_metadata": {"roles": [1, null, {}]}}), Role::User),
            ("no object", json!({"app_metadata": "operator"}), Role::User),
            ("nothing", json!({"app_metadata": null}), Role::User),
        ] {
            assert_eq!(check(change).map(|caller| caller.role), Ok(expected), "{name}");
        }
        for (aal, expected) in
            [(json!("aal2"), Assurance::Aal2), (json!("AAL2"), Assurance::Aal1), (json!(null), Assurance::Aal1)]
        {
            assert_eq!(check(json!({ "aal": aal })).map(|caller| caller.assurance), Ok(expected));
        }
    }
}
