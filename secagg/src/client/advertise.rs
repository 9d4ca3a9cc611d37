//! Stage 0: the device checks the configuration and advertises fresh keys (spec 3.0, 3.1).

use std::fmt;

use rand_core::CryptoRng;

use crate::config::{self, Policy, RoundConfig};
use crate::error::Refusal;
use crate::keys::{self, DhSecret, IdentityKey, Secret};
use crate::roster::{Entry, advertise_statement};

/// Stage 0 answered: fresh keys, no session yet.
pub struct Keyed {
    pub(super) config: RoundConfig,
    pub(super) cfg: [u8; 32],
    /// Fewest participants that the host accepts.
    pub(super) floor: u32,
    /// `a`: the mask key comes from it, and it is shared in stage 1.
    pub(super) seed: Secret,
    /// Opens the shares of the neighbours. Never shared.
    pub(super) channel: DhSecret,
    pub(super) entry: Entry,
}

/// Checks the configuration as [`config::check`] does and draws the session's keys. Returns the 192 bytes of
/// AdvertiseKeys: identity, channel key, mask key, cfg, signature.
///
/// `signature`: the task key's, 64 bytes. `now_ms`: Unix milliseconds.
///
/// # Errors
/// Those of [`config::check`].
pub fn advertise<R: CryptoRng>(
    bytes: &[u8],
    signature: &[u8],
    policy: &Policy,
    now_ms: u64,
    identity: &IdentityKey,
    rng: &mut R,
) -> Result<(Keyed, Vec<u8>), Refusal> {
    let config = config::check(bytes, signature, policy, now_ms)?;
    let cfg = config.cfg();
    let seed = Secret::draw(rng);
    let channel = DhSecret::draw(rng);
    let mask = keys::mask_secret(&cfg, &seed);
    let (id_pk, c_pk, s_pk) = (identity.public(), channel.public(), mask.public());
    let sig = identity.sign(&advertise_statement(&cfg, &id_pk, &c_pk, &s_pk));
    let entry = Entry { id_pk, c_pk, s_pk, sig };

    let mut message = Vec::with_capacity(192);
    for part in [&id_pk[..], &c_pk, &s_pk, &cfg, &sig] {
        message.extend_from_slice(part);
    }
    Ok((Keyed { config, cfg, floor: policy.floor(), seed, channel, entry }, message))
}

impl Keyed {
    /// Hash of the round configuration.
    pub fn cfg(&self) -> &[u8; 32] {
        &self.cfg
    }

    /// The round configuration.
    pub fn config(&self) -> &RoundConfig {
        &self.config
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("round", &self.config.round).finish_non_exhaustive()
    }
}
