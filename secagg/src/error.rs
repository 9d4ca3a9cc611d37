//! Why a message or a value was refused. One word per cause, the same as in docs/protocol/ and the vectors.

use crate::check::Check;

/// A refusal: the cause, the client-side check that found it, and who is to blame when that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", blame.map_or_else(String::new, |index| format!(" (participant {index} is to blame)")))]
pub struct Refusal {
    /// The cause.
    pub reason: Reason,
    /// The check of the device that failed.
    pub check: Option<Check>,
    /// Roster index of the participant to blame.
    pub blame: Option<u32>,
}

impl Refusal {
    /// A refusal by client-side check `check`.
    pub const fn by(check: Check, reason: Reason) -> Self {
        Self { reason, check: Some(check), blame: None }
    }

    /// The same refusal, blaming the participant at `index` in the roster.
    #[must_use]
    pub const fn blaming(mut self, index: u32) -> Self {
        self.blame = Some(index);
        self
    }

    /// The stable word for the cause.
    pub const fn code(&self) -> &'static str {
        self.reason.code()
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, check: None, blame: None }
    }
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $sentence:literal;)*) => {
        /// Why something was refused (docs/protocol/).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[doc = $doc])+ $variant,)* }

        impl Reason {
            /// Every reason, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable word for this cause, as docs/protocol/ spells it.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }

        impl std::fmt::Display for Reason {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $sentence,)* })
            }
        }
    };
}

reasons! {
    /// A field is missing, too long, out of range or not in its one encoding.
    Malformed = "malformed", "the bytes are not a canonical encoding of what this step expects";
    /// C01.
    ConfigSignature = "config_signature", "the round configuration is not signed by the pinned task key";
    /// C02.
    ModelDigest = "model_digest", "the model's bytes are not those of the signed round configuration";
    /// C03.
    RoundNotNewer = "round_not_newer", "this round is not newer than one that was joined before";
    /// C04.
    CohortFloor = "cohort_floor", "fewer participants than the floor allows";
    /// C05.
    Policy = "policy", "the round configuration breaks the device's policy";
    /// C26.
    Plan = "plan", "vector names or lengths differ from the plan's";
    /// C13.
    Width = "width", "the wire width or the grid is too small for this cohort";
    /// C25.
    Deadline = "deadline", "the stage's signed closing time has passed";
    /// C10.
    Parameters = "parameters", "neighbours or threshold are not those of the compiled table";
    /// C06.
    OwnEntry = "own_entry", "the roster does not hold the own keys exactly once, in their place";
    /// C07.
    RosterSignature = "roster_signature", "a roster entry's signature does not verify";
    /// C07.
    CertificateMissing = "certificate_missing", "profile M asks for a certificate of every device, and there is none";
    /// C07.
    Certificate = "certificate", "a certificate is not the pinned root's word for this identity";
    /// C07.
    CertificateExpired = "certificate_expired", "a certificate ends before the session does";
    /// C08.
    DuplicateKey = "duplicate_key", "a key stands in the roster twice";
    /// C09.
    RosterRoot = "roster_root", "the roster's order or root does not verify";
    /// C11.
    Neighbours = "neighbours", "the roster shows other neighbours than the session's graph";
    /// C08.
    NonCanonicalKey = "non_canonical_key", "a public key is not in its one canonical encoding";
    /// C08.
    LowOrderKey = "low_order_key", "a public key is a point of low order";
    /// C12.
    NotListed = "not_listed", "the own index is missing from the set of sharers";
    /// C12, C17.
    TooFewNeighbours = "too_few_neighbours", "fewer neighbours are left than the threshold";
    /// C12.
    BadShare = "bad_share", "a sealed share does not open, or holds no canonical scalars";
    /// C14: the protocol's word. A device gives its ledger's own.
    Ledger = "ledger", "the privacy ledger does not allow this round";
    /// C15: the protocol's word. The states of [`crate::client`] take no second request.
    SecondInput = "second_input", "a second, different request for a masked input";
    /// C16.
    Survivors = "survivors", "the survivor set does not contain the own index, or is no subset of the sharers";
    /// C18.
    Window = "window", "too many neighbours in a row are missing from the survivors";
    /// C19: the protocol's word. The states of [`crate::client`] take no second request.
    SecondStatement = "second_statement", "a second, different survivor set to sign";
    /// C20.
    Agreement = "agreement", "too few neighbours have signed the same survivor set";
    /// C22.
    StageOrder = "stage_order", "the message does not belong to the stage that is open";
    /// The stage that the message belongs to has closed.
    Late = "late", "the stage is over";
    /// The sender is not in the set that this stage waits for.
    NotExpected = "not_expected", "the sender takes no part in this stage";
    /// The sender has sent other bytes for this stage before.
    Duplicate = "duplicate", "the sender has sent a different message for this stage before";
    /// The payload's length differs from the one that the session's parameters give.
    WrongLength = "wrong_length", "the message does not have the length that this session asks for";
    /// AdvertiseKeys for another round configuration.
    WrongConfig = "wrong_config", "the message was made for another round configuration";
    /// A signature does not verify.
    BadSignature = "bad_signature", "the signature does not verify";
    /// The identity has already advertised other keys.
    DuplicateIdentity = "duplicate_identity", "this identity has already advertised other keys";
    /// The session has as many participants as it may have.
    Full = "full", "the session is full";
    /// Unused high bits of a packed vector's last byte are set.
    PaddingBits = "padding_bits", "unused bits of a packed vector are not zero";
    /// A scalar is not below the group order.
    NonCanonicalScalar = "non_canonical_scalar", "a share is not a canonical scalar";
    /// Stage 0 ended below the floor.
    TooFewClients = "too_few_clients", "too few devices advertised keys";
    /// Stage 1 ended below the floor.
    TooFewSharers = "too_few_sharers", "too few devices shared their keys";
    /// Stage 2 ended below the floor.
    TooFewInputs = "too_few_inputs", "too few devices uploaded their masked input";
    /// A participant's neighbourhood fell under the threshold: its masks could not be removed.
    WeakNeighbourhood = "weak_neighbourhood", "a participant has fewer neighbours left than the threshold";
    /// The survivors' graph falls apart.
    Disconnected = "disconnected", "the survivors are no longer connected";
    /// Fewer shares than the threshold for some secret.
    TooFewShares = "too_few_shares", "too few shares came back to remove the masks";
    /// A rebuilt secret fails its check, whichever shares are used.
    SecretMismatch = "secret_mismatch", "the shares of a secret contradict each other";
    /// A range of mask entries beyond the generator's limit.
    PrgRange = "prg_range", "the mask generator's range is exceeded";
}
