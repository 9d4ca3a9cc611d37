//! How a task's updates are summed: what the coordinator is trusted with, and how a cohort divides into sessions.

use scale_secagg::params::{self, Class, Profile};
use serde::{Deserialize, Serialize};

use crate::error::Invalid;
use crate::task::Cohort;

/// What an operator chooses about secure aggregation. The default is the standard profile, the default class and
/// sessions by rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecureAggregation {
    /// What the coordinator is trusted with (docs/threat-model.md).
    #[serde(with = "profile")]
    pub profile: Profile,
    /// Corrupt and lost devices that a session stands (docs/protocol/graph.md).
    #[serde(with = "class")]
    pub class: Class,
    /// The authority that certifies devices, which the coordinator does not run: for the malicious profile, and only
    /// there. Apps pin the same key.
    pub identity_root: Option<IdentityRoot>,
    /// How a large cohort divides.
    #[serde(with = "sessions")]
    pub sessions: Sessions,
}

impl Default for SecureAggregation {
    fn default() -> Self {
        Self { profile: Profile::Standard, class: Class::Default, identity_root: None, sessions: Sessions::Auto }
    }
}

/// How a cohort of more than [`params::COMPLETE_UP_TO`] devices divides into sessions (docs/protocol.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// One when devices add the noise, because every session's sum carries noise of its own; else several.
    Auto,
    /// One, on a sparse graph: the coordinator sees one sum, and a failure costs the whole round.
    One,
}

/// Ed25519 public key of an authority that certifies devices. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdentityRoot(pub [u8; 32]);

impl SecureAggregation {
    /// Whether rounds with this cohort can run.
    pub(crate) fn check(&self, cohort: &Cohort) -> Result<(), Invalid> {
        const ROOT: &str = "secure_aggregation.identity_root";
        match (self.profile, self.identity_root) {
            (Profile::Malicious, None) => {
                let why = "the malicious profile needs the key of the authority that certifies devices";
                return Err(Invalid::new(ROOT, format!("missing; {why}")));
            }
            (Profile::Standard, Some(_)) => {
                return Err(Invalid::new(ROOT, "set; only the malicious profile asks for certificates"));
            }
            (Profile::Malicious, Some(_)) | (Profile::Standard, None) => {}
        }
        let most = match self.profile {
            Profile::Standard => params::N_MAX,
            Profile::Malicious => params::COMPLETE_UP_TO,
        };
        if self.sessions == Sessions::One && cohort.selected() > most {
            let profile = profile::word(self.profile);
            let problem = format!("one; a session of the {profile} profile has at most {most} devices, and the cohort");
            let problem = format!("{problem} selects {}", cohort.selected());
            return Err(Invalid::new("secure_aggregation.sessions", problem));
        }
        Ok(())
    }
}

impl IdentityRoot {
    /// The configuration's field: all zero without an authority.
    pub fn or_none(root: Option<Self>) -> [u8; 32] {
        root.map_or([0; 32], |root| root.0)
    }
}

impl std::fmt::Display for IdentityRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for IdentityRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdentityRoot({self})")
    }
}

impl std::str::FromStr for IdentityRoot {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        let root = bytes.filter(|_| rest.is_empty()).and_then(|bytes| bytes.try_into().ok());
        root.map(Self).ok_or_else(|| {
            let problem = format!("{} characters; a public key is 64 hexadecimal digits", text.chars().count());
            Invalid::new("secure_aggregation.identity_root", problem)
        })
    }
}

impl TryFrom<String> for IdentityRoot {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<IdentityRoot> for String {
    fn from(root: IdentityRoot) -> Self {
        root.to_string()
    }
}

/// The words of a choice, in files, on the wire and on the command line.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $module:ident, $field:literal: $choice:ident { $($variant:ident = $word:literal),+ }) => {
        $(#[doc = $doc])+
        pub mod $module {
            use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

            use super::$choice;
            use crate::error::Invalid;

            /// Every word.
            pub const ALL: &[&str] = &[$($word),+];

            /// The word.
            pub const fn word(choice: $choice) -> &'static str {
                match choice { $($choice::$variant => $word),+ }
            }

            /// Reads [`word`].
            ///
            /// # Errors
            /// [`Invalid`] for anything else.
            pub fn parse(text: &str) -> Result<$choice, Invalid> {
                match text {
                    $($word => Ok($choice::$variant),)+
                    other => {
                        let start: String = other.chars().take(16).collect();
                        Err(Invalid::new($field, format!("{start:?}; one of {}", ALL.join(", "))))
                    }
                }
            }

            pub(super) fn serialize<S: Serializer>(choice: &$choice, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(word(*choice))
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$choice, D::Error> {
                parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}
words! {
    /// Words of [`Profile`].
    profile, "secure_aggregation.profile": Profile { Standard = "standard", Malicious = "malicious" }
}
words! {
    /// Words of [`Class`].
    class, "secure_aggregation.class": Class { Default = "default", Paranoid = "paranoid" }
}
words! {
    /// Words of [`Sessions`].
    sessions, "secure_aggregation.sessions": Sessions { Auto = "auto", One = "one" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_64_hexadecimal_digits() {
        let text = "00ff1a".to_owned() + &"5b".repeat(29);
        let root: IdentityRoot = text.parse().expect("a key");
        assert_eq!((root.0[..4].to_vec(), root.to_string()), (vec![0, 0xff, 0x1a, 0x5b], text.clone()));
        assert_eq!(text.to_uppercase().parse(), Ok(root));
        for bad in ["", "00", &text[1..], &format!("{text}00"), &text.replace('f', "g"), &"é".repeat(32)] {
            assert!(bad.parse::<IdentityRoot>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_word_is_read_back() {
        for choice in [Profile::Standard, Profile::Malicious] {
            assert_eq!(profile::parse(profile::word(choice)), Ok(choice));
        }
        for choice in [Class::Default, Class::Paranoid] {
            assert_eq!(class::parse(class::word(choice)), Ok(choice));
        }
        for choice in [Sessions::Auto, Sessions::One] {
            assert_eq!(sessions::parse(sessions::word(choice)), Ok(choice));
        }
        assert!(sessions::parse("two").is_err());
    }
}
