//! Whom the liar talks to: the protocol's own client, the whole device, or somebody who checks nothing.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use scale_client_core::update;
use scale_proto::ids::Digest;
use scale_proto::plan::Plan;
use scale_secagg::client::{Answer, Event, Host, Participant};
use scale_secagg::config::{Policy, RoundConfig};
use scale_secagg::error::Refusal;
use scale_secagg::keys::IdentityKey;
use scale_secagg::params;
use scale_secagg::roster::Certificate;

use super::setting::{self, GRID, Offer};

/// Why a victim did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The client-side check, "C01" to "C26"; empty where a refusal has none.
    pub check: String,
    /// The stable word.
    pub code: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { check: refusal.check.unwrap_or_default().into(), code: refusal.code().into() }
    }
}

/// A device in the hands of the liar. The liar gets what the two calls return, and nothing else.
pub trait Victim {
    /// The identity that it enrolled with.
    fn identity(&self) -> [u8; 32];

    /// Stage 0: takes a round, trains, and answers with AdvertiseKeys.
    ///
    /// # Errors
    /// The check that failed.
    fn offer(&mut self, offer: &Offer, now_ms: u64) -> Result<Vec<u8>, Refused>;

    /// A later stage, or a message out of turn: answers with the bytes that it sends.
    ///
    /// # Errors
    /// The check that failed.
    fn handle(&mut self, event: Event<'_>, now_ms: u64) -> Result<Vec<u8>, Refused>;

    /// For the judge alone: what the last masked input hides.
    fn input(&self) -> Vec<Vec<u32>>;

    /// For the judge alone: SHA-256 of the model bytes that were trained on last.
    fn trained_on(&self) -> [u8; 32];

    /// Whether it holds no secret of a session any more.
    fn is_over(&self) -> bool;

    /// The device is killed, and comes back with what it had stored. Who stores nothing stays as it is.
    fn restart(&mut self) {}
}

/// What a victim's host does beyond the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Fewest participants that the host app asks for.
    pub cohort_min: u32,
    /// Whether the privacy ledger lets the device go on.
    pub ledger: bool,
    /// Seed of the authority whose root the host pins and who has certified the device.
    pub authority: Option<[u8; 32]>,
}

impl Habits {
    /// The root that the host pins.
    pub fn identity_root(&self) -> Option<[u8; 32]> {
        Some(IdentityKey::from_seed(&self.authority?).public())
    }

    /// The authority's word for `identity`.
    pub fn certificate(&self, identity: &[u8; 32]) -> Option<Certificate> {
        Some(Certificate::issue(&IdentityKey::from_seed(&self.authority?), identity, u64::MAX))
    }
}

impl Default for Habits {
    fn default() -> Self {
        Self { cohort_min: params::FLOOR, ledger: true, authority: None }
    }
}

/// Small signed numbers in the shape of a configuration's vectors, as residues modulo 2^32.
pub(super) fn draw_input(rng: &mut ChaCha20Rng) -> Vec<Vec<u32>> {
    let entry = |rng: &mut ChaCha20Rng| (rng.next_u32() % (2 * GRID)).wrapping_sub(GRID);
    update::vectors(&setting::plan()).iter().map(|spec| (0..spec.len).map(|_| entry(rng)).collect()).collect()
}

/// The protocol's client with the least of a host around it.
pub struct Client {
    identity: IdentityKey,
    habits: Habits,
    policy: Policy,
    certificate: Option<Certificate>,
    participant: Participant,
    rng: ChaCha20Rng,
    input: Vec<Vec<u32>>,
}

impl Client {
    /// Client number `number`.
    pub fn new(number: u32, habits: Habits) -> Self {
        let identity = identity(number);
        let policy = Policy {
            task_key: setting::task_key().public(),
            model_digest: [0; 32],
            vectors: update::vectors(&setting::plan()),
            last_round: 0,
            min_clients: habits.cohort_min,
            identity_root: habits.identity_root(),
        };
        let rng = ChaCha20Rng::seed_from_u64(u64::from(number) + 1000);
        let certificate = habits.certificate(&identity.public());
        Self { certificate, identity, habits, policy, participant: Participant::new(), rng, input: vec![] }
    }
}

/// The key that victim `number` enrolled with.
pub fn identity(number: u32) -> IdentityKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    IdentityKey::from_seed(&seed)
}

impl Victim for Client {
    fn identity(&self) -> [u8; 32] {
        self.identity.public()
    }

    fn offer(&mut self, offer: &Offer, now_ms: u64) -> Result<Vec<u8>, Refused> {
        self.policy.model_digest = Digest::of(&offer.model).0;
        if let Ok(plan) = Plan::decode(&offer.plan) {
            self.policy.vectors = update::vectors(&plan);
        }
        self.participant = Participant::new();
        let keys = self.handle(Event::Config { bytes: &offer.config, signature: &offer.signature }, now_ms)?;
        // As the device does: joined once its keys are made, and the number is durable before they go out.
        let joined = RoundConfig::decode(&offer.config).map_or(0, |config| config.round);
        self.policy.last_round = self.policy.last_round.max(joined);
        Ok(keys)
    }

    fn handle(&mut self, event: Event<'_>, now_ms: u64) -> Result<Vec<u8>, Refused> {
        let mut host = Host {
            policy: &self.policy,
            identity: &self.identity,
            certificate: self.certificate.as_ref(),
            rng: &mut self.rng,
        };
        match self.participant.handle(event, now_ms, &mut host)? {
            Answer::Send(bytes) => Ok(bytes),
            Answer::InputWanted => {
                self.input = draw_input(&mut self.rng);
                let input = self.habits.ledger.then(|| self.input.clone());
                Ok(self.participant.mask(input)?)
            }
        }
    }

    fn input(&self) -> Vec<Vec<u32>> {
        self.input.clone()
    }

    fn trained_on(&self) -> [u8; 32] {
        self.policy.model_digest
    }

    fn is_over(&self) -> bool {
        // Version, kind and state, and not a byte of anything else.
        self.participant.is_done() && self.participant.snapshot().len() == 3
    }

    fn restart(&mut self) {
        self.participant = Participant::restore(&self.participant.snapshot()).expect("its own snapshot");
    }
}
