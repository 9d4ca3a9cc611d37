//! Stage 0: the device checks the configuration and advertises fresh keys (docs/protocol/session.md).

use std::fmt;

use rand_core::CryptoRng;

use crate::check::Check;
use crate::config::{self, Policy, RoundConfig};
use crate::error::{Reason, Refusal};
use crate::keys::{self, DhSecret, IdentityKey, Secret};
use crate::roster::{Certificate, Entry, advertise_statement};
use crate::wipe::{Held, scrubbed};

/// Stage 0 answered: fresh keys, no session yet.
pub struct Keyed {
    pub(super) config: RoundConfig,
    pub(super) cfg: [u8; 32],
    /// Fewest participants that the host accepts.
    pub(super) floor: u32,
    /// Whether every entry of the roster has to bring a certificate of the configuration's root.
    pub(super) certified: bool,
    /// `a`: the mask key comes from it, and it is shared in stage 1.
    pub(super) seed: Held<Secret>,
    /// Opens the shares of the neighbours. Never shared.
    pub(super) channel: Held<DhSecret>,
    pub(super) entry: Entry,
}

/// Checks the configuration as [`config::check`] does and draws the session's keys. Returns the 192 bytes of
/// AdvertiseKeys: identity, channel key, mask key, cfg, signature. In profile M under a pinned root the 72 bytes of the
/// own certificate follow.
///
/// `signature`: the task key's, 64 bytes. `now_ms`: Unix milliseconds. `certificate`: the root's word for `identity`;
/// only profile M looks at it.
///
/// # Errors
/// Those of [`config::check`]; C07 without a certificate that lasts for the whole session.
pub fn advertise<R: CryptoRng>(
    bytes: &[u8],
    signature: &[u8],
    policy: &Policy,
    now_ms: u64,
    identity: &IdentityKey,
    certificate: Option<&Certificate>,
    rng: &mut R,
) -> Result<(Keyed, Vec<u8>), Refusal> {
    let config = config::check(bytes, signature, policy, now_ms)?;
    let certificate = own_certificate(&config, policy, &identity.public(), certificate)?;
    let cfg = config.cfg();
    let (seed, channel, s_pk) = scrubbed(|| {
        let (seed, channel) = (Held::new(Secret::draw(rng)), Held::new(DhSecret::draw(rng)));
        let s_pk = keys::mask_secret(&cfg, &seed).public();
        (seed, channel, s_pk)
    });
    let (id_pk, c_pk) = (identity.public(), scrubbed(|| channel.public()));
    let sig = identity.sign(&advertise_statement(&cfg, &id_pk, &c_pk, &s_pk));
    let entry = Entry { id_pk, c_pk, s_pk, sig };

    let mut message = [&id_pk[..], &c_pk, &s_pk, &cfg, &sig].concat();
    message.extend(certificate.iter().flat_map(Certificate::encode));
    let certified = certificate.is_some();
    Ok((Keyed { config, cfg, floor: policy.floor(), certified, seed, channel, entry }, message))
}

/// The certificate to send, if the session asks for one.
fn own_certificate(
    config: &RoundConfig,
    policy: &Policy,
    id_pk: &[u8; 32],
    certificate: Option<&Certificate>,
) -> Result<Option<Certificate>, Refusal> {
    if !policy.demands_certificates(config) {
        return Ok(None);
    }
    let certificate = certificate.ok_or(Refusal::by(Check::C07, Reason::CertificateMissing))?;
    config.check_certificate(id_pk, certificate).map_err(|reason| Refusal::by(Check::C07, reason))?;
    Ok(Some(*certificate))
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
