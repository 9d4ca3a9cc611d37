//! Plays one round as planned and holds every answer on the way against the model.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use scale_secagg::client::Shared;
use scale_secagg::config::{self, RoundConfig, VectorSpec};
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::graph::Members;
use scale_secagg::keys::{self, SEALED_LEN, Secret, ShareCipher};
use scale_secagg::params::{Class, Profile};
use scale_secagg::roster::Sid;
use scale_secagg::server::{Accumulator, Closed, Receipt, Session, Stage, SummedUpdate, check_packed};
use zeroize::Zeroizing;

use super::model::{Expected, Fault, NEVER, Plan, Shape, expected};
use crate::common::{Cohort, Host, Message, State, input, opens, plain_sum, round_config};

/// A number below `bound`.
pub(crate) fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    (rng.next_u64() % bound as u64) as usize
}

fn one_in(rng: &mut ChaCha20Rng, times: usize) -> bool {
    below(rng, times) == 0
}

pub(crate) fn shuffled(count: usize, rng: &mut ChaCha20Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    (1..count).rev().for_each(|i| order.swap(i, below(rng, i + 1)));
    order
}

/// What rounds reached, by name.
pub(crate) type Tally = BTreeMap<&'static str, usize>;

/// Participants after stage 1, from which many rounds go on: in each of them other devices fall silent, other inputs
/// are summed and other messages are broken. Keys and sealed shares are the same in all of them.
pub(crate) struct Base {
    cohort: Cohort,
    pub(crate) shape: Shape,
    sid: Sid,
    advertised: Vec<Vec<u8>>,
    /// The roster message of each device, ShareKeys, and the device after it.
    shared: Vec<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl Base {
    /// `None` when stage 0 ended the session, as it had to.
    pub(crate) fn new(n: usize, rng: &mut ChaCha20Rng, tally: &mut Tally) -> Option<Self> {
        let config = random_config(n, rng);
        let mut cohort = Cohort::new(config, n, rng.next_u64());
        let too_few = n < cohort.config.n_lo as usize;
        let (mut server, advertised) = stage_0(&mut cohort, rng, tally);
        if too_few {
            assert_eq!(server.close(1), Err(Reason::TooFewClients.into()));
            assert_over(&mut server);
            *tally.entry(Reason::TooFewClients.code()).or_default() += 1;
            return None;
        }
        let Ok(Closed::Roster { sid, .. }) = server.close(1) else { panic!("{n} devices are enough") };
        let Stage::Shares(shares) = server.stage() else { panic!("stage 1 is open") };
        cohort.devices.sort_by_key(|device| shares.index_of(&device.identity.public()));
        let mut shared = Vec::new();
        for device in 0..n {
            let down = server.message(device as u32).unwrap();
            let message = cohort.handle(device, opens(1, &down)).unwrap();
            shared.push((message, cohort.devices[device].state.snapshot().expect("it has shared")));
        }
        let shape = Shape::new(&cohort.config, n, &sid);
        Some(Self { cohort, shape, sid, advertised, shared })
    }
}

fn random_config(n: usize, rng: &mut ChaCha20Rng) -> RoundConfig {
    let most = if one_in(rng, 30) { 400 } else { 12 };
    let vectors =
        (0..1 + below(rng, 3)).map(|i| VectorSpec { name: format!("v{i}"), len: 1 + below(rng, most) as u64 });
    let vectors: Vec<_> = vectors.collect();
    let dim: u64 = vectors.iter().map(|vector| vector.len).sum();
    let grid = (4.0 * (dim as f64).sqrt()).ceil() as u32;
    let n_hi = (n + below(rng, 3)) as u32;
    let needed = config::width_needed(n_hi, grid, 0).unwrap();
    // Now and then a bound that this cohort misses.
    let n_lo = if one_in(rng, 25) { n + 1 } else { 10 + below(rng, n - 9) };
    let u3_min = if one_in(rng, 3) { 10 + below(rng, n_lo - 9) } else { 10 };
    RoundConfig {
        vectors,
        grid,
        wire_bits: needed + below(rng, usize::from(33 - needed)) as u8,
        class: if one_in(rng, 4) { Class::Paranoid } else { Class::Default },
        profile: if n <= 128 && one_in(rng, 4) { Profile::Malicious } else { Profile::Standard },
        n_hi: n_hi.max(n_lo as u32),
        n_lo: n_lo as u32,
        u3_min: u3_min as u32,
        ..round_config(10, 10, 12)
    }
}

/// Everybody advertises, in any order, some of them badly first, some of them twice.
fn stage_0(cohort: &mut Cohort, rng: &mut ChaCha20Rng, tally: &mut Tally) -> (Session, Vec<Vec<u8>>) {
    let mut server = Session::new(cohort.config.clone(), []);
    let mut advertised = Vec::new();
    for device in shuffled(cohort.devices.len(), rng) {
        let message = cohort.advertise(device);
        if one_in(rng, 8) {
            *tally.entry("broken messages").or_default() += 1;
            for (at, reason) in [(0, Reason::BadSignature), (191, Reason::BadSignature), (96, Reason::WrongConfig)] {
                let mut broken = message.clone();
                broken[at] ^= 1;
                assert_eq!(server.receive(0, None, &broken), Err(reason.into()), "byte {at}");
            }
            assert_eq!(server.receive(0, None, &message[1..]), Err(Reason::WrongLength.into()));
            assert_eq!(server.receive(1, Some(0), &message), Err(Reason::StageOrder.into()));
        }
        assert_eq!(server.receive(0, None, &message), Ok(Receipt::New));
        if one_in(rng, 8) {
            *tally.entry("retries").or_default() += 1;
            assert_eq!(server.receive(0, None, &message), Ok(Receipt::Same));
        }
        advertised.push(message);
    }
    (server, advertised)
}

/// Losses in every stage, from none to half of the cohort; mostly one or two devices that break the rules.
pub(crate) fn random_plan(shape: &Shape, rng: &mut ChaCha20Rng) -> Plan {
    let n = shape.n;
    let mut silent_from = vec![NEVER; n];
    for stage in [4, 3, 2, 1] {
        let losses = match below(rng, 20) {
            0..10 => 0,
            10..17 => 1 + below(rng, 1 + n / 10),
            _ => below(rng, n / 2 + 1),
        };
        shuffled(n, rng).into_iter().take(losses).for_each(|i| silent_from[i] = stage);
    }
    if let Some((ring, window)) = &shape.ring
        && one_in(rng, 2)
    {
        // Losses in a row and nothing that could hide them: about as many as the devices accept among the survivors, or
        // as many as unravel the ring of the sharers.
        silent_from.fill(NEVER);
        let (stage, length) = match below(rng, 2) {
            0 => (1, shape.k / 2 - 2 + below(rng, 4)),
            _ => (2, window - 1 + below(rng, 4)),
        };
        let start = below(rng, n);
        (0..length).for_each(|d| silent_from[ring[(start + d) % n]] = stage);
    }
    let mut faults = vec![Fault::None; n];
    let faulty = match below(rng, 20) {
        0..9 => 0,
        9..17 => 1 + below(rng, 2),
        _ => below(rng, n / 4 + 1),
    };
    for i in shuffled(n, rng).into_iter().take(faulty) {
        let near = &shape.neighbours[i];
        let some = |rng: &mut ChaCha20Rng, most: usize| {
            let count = 1 + below(rng, most);
            shuffled(near.len(), rng).into_iter().take(count).map(|at| near[at]).collect()
        };
        faults[i] = match below(rng, 9) {
            0 => Fault::BadSeal(some(rng, 2)),
            1 => Fault::FalseDeal(some(rng, 3)),
            2 => Fault::FalseDeal(some(rng, near.len())),
            3 => Fault::BadCommitment,
            4 | 5 => Fault::FalseShares,
            _ => Fault::Broken { stage: 1 + below(rng, 4) as u8, recovers: one_in(rng, 2) },
        };
    }
    Plan { silent_from, faults }
}

/// What the server accepted, in order; `None` closes a stage.
type Log = Vec<Option<(u8, Option<u32>, Vec<u8>)>>;

struct Round<'a> {
    base: &'a Base,
    plan: &'a Plan,
    expected: Expected,
    server: Session,
    devices: Vec<State>,
    inputs: Vec<Vec<Vec<u32>>>,
    log: Log,
    rng: ChaCha20Rng,
    tally: &'a mut Tally,
}

/// Plays the round to its end. Panics when anything differs from the model.
pub(crate) fn play(base: &Base, plan: &Plan, seed: u64, tally: &mut Tally) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let config = &base.cohort.config;
    let devices = base.shared.iter().map(|(_, snapshot)| State::Shared(Shared::restore(snapshot).unwrap())).collect();
    let inputs = (0..base.shape.n).map(|_| input(config, &mut rng)).collect();
    let expected = expected(&base.shape, plan);
    let server = Session::new(config.clone(), []);
    let mut round = Round { base, plan, expected, server, devices, inputs, log: Log::new(), rng, tally };
    let end = round.run();
    round.judge(&end);
    assert_over(&mut round.server);
    if one_in(&mut round.rng, 4) {
        round.note("replays");
        assert_eq!(replay(config, &round.log), end);
    }
}

impl Round<'_> {
    fn note(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn run(&mut self) -> Result<SummedUpdate, Refusal> {
        for &device in &shuffled(self.base.shape.n, &mut self.rng) {
            let message = &self.base.advertised[device];
            assert_eq!(self.server.receive(0, None, message), Ok(Receipt::New), "the order changes nothing");
            self.log.push(Some((0, None, message.clone())));
        }
        for stage in 0..5 {
            if stage > 0 {
                for i in shuffled(self.base.shape.n, &mut self.rng) {
                    self.step(stage, i);
                }
            }
            self.log.push(None);
            let threads = 1 + below(&mut self.rng, 3);
            match self.server.close(threads)? {
                Closed::Roster { sid, .. } => assert_eq!(sid, self.base.sid),
                Closed::Sharers(set) => assert_set(&set, &self.expected.sharers),
                Closed::Survivors(set) => assert_set(&set, &self.expected.survivors),
                Closed::Signers(set) => assert_set(&set, &self.expected.signers),
                Closed::Released(update) => return Ok(update),
            }
        }
        unreachable!("stage 4 releases or refuses")
    }

    /// One device in one stage: what it gets, what it says, and what the server makes of it.
    fn step(&mut self, stage: u8, i: usize) {
        let index = i as u32;
        let waited_for = match stage {
            1 => true,
            2 => self.expected.sharers[i],
            3 => self.expected.survivors[i],
            _ => self.expected.signers[i],
        };
        let Some(down) = self.server.message(index) else {
            assert!(!waited_for);
            let refused = self.server.receive(stage, Some(index), &[0; 64]);
            return assert_eq!(refused, Err(Reason::NotExpected.into()));
        };
        assert!(waited_for);
        if self.plan.silent_from[i] <= stage {
            return;
        }
        let message = if stage == 1 {
            self.shared_keys(i)
        } else {
            match self.answer(stage, i, opens(stage, &down)) {
                Ok(message) => message,
                Err(refusal) => return self.assert_refusal(stage, i, refusal),
            }
        };
        self.deliver(stage, i, message);
    }

    /// The device's answer; now and then it is stopped and restarted before.
    fn answer(&mut self, stage: u8, i: usize, message: Message<'_>) -> Result<Vec<u8>, Refusal> {
        if one_in(&mut self.rng, 6) {
            self.devices[i] = self.devices[i].restored();
            self.note("device restarts");
        }
        let identity = &self.base.cohort.devices[i].identity;
        let mut rng = ChaCha20Rng::seed_from_u64(i as u64);
        let policy = &self.base.cohort.policy;
        let mut host = Host { policy, now_ms: 0, identity, certificate: None, rng: &mut rng };
        let answer = self.devices[i].take(message, &mut host).expect("in order")?;
        if stage == 2 { self.devices[i].mask(self.inputs[i].clone()) } else { Ok(answer) }
    }

    fn assert_refusal(&mut self, stage: u8, i: usize, refusal: Refusal) {
        let right = match stage {
            2 => self.expected.blaming[i]
                .map(|j| Refusal::by(scale_secagg::check::Check::C12, Reason::BadShare).blaming(j as u32)),
            3 => self.expected.hole.then(|| Refusal::by(scale_secagg::check::Check::C18, Reason::Window)),
            _ => self.expected.unconvinced[i].then(|| Refusal::by(scale_secagg::check::Check::C20, Reason::Agreement)),
        };
        assert_eq!(Some(refusal), right, "stage {stage}");
        assert!(self.devices[i].is_over());
        self.note("devices that refused");
    }

    /// Stage 1: the recorded message, with this device's lies.
    fn shared_keys(&mut self, i: usize) -> Vec<u8> {
        let mut message = self.base.shared[i].0.clone();
        let near = &self.base.shape.neighbours[i];
        match &self.plan.faults[i] {
            Fault::BadSeal(victims) => {
                for victim in victims {
                    let at = SEALED_LEN * near.binary_search(victim).unwrap();
                    message[at + below(&mut self.rng, SEALED_LEN)] ^= 1 << below(&mut self.rng, 8);
                }
            }
            Fault::FalseDeal(victims) => {
                let sealed = message.as_chunks_mut::<SEALED_LEN>().0;
                for &victim in victims {
                    let at = near.binary_search(&victim).unwrap();
                    let (_, channel) = self.base.cohort.devices[i].drawn();
                    let (_, theirs) = self.base.cohort.devices[victim].drawn();
                    let (from, to) = (channel.public(), theirs.public());
                    let cipher = ShareCipher::new(&self.base.sid, &channel.agree(&to).unwrap(), &from, &to);
                    let right = cipher.open(i as u32, victim as u32, &sealed[at]).unwrap();
                    let wrong = [self.scalar(), self.scalar()].concat().try_into().unwrap();
                    assert_ne!(*right, wrong);
                    sealed[at] = cipher.seal(i as u32, victim as u32, &wrong);
                }
            }
            Fault::BadCommitment => *message.last_mut().unwrap() ^= 1,
            _ => {}
        }
        message
    }

    /// A random share: errors that differ, since equal ones can cancel.
    fn scalar(&mut self) -> [u8; 32] {
        *Secret::draw(&mut self.rng).to_bytes()
    }

    fn deliver(&mut self, stage: u8, i: usize, mut message: Vec<u8>) {
        let index = i as u32;
        match self.plan.faults[i] {
            Fault::Broken { stage: at, recovers } if at == stage => {
                self.note("broken messages");
                let (broken, reason) = self.broken(stage, &message);
                assert_eq!(self.server.receive(stage, Some(index), &broken), Err(reason.into()), "stage {stage}");
                if !recovers {
                    return;
                }
            }
            Fault::FalseShares if stage == 4 => {
                message = (0..message.len() / 32).flat_map(|_| self.scalar()).collect();
            }
            _ => {}
        }
        if one_in(&mut self.rng, 10) {
            self.note("messages of other stages or senders");
            assert_eq!(self.server.receive(stage - 1, Some(index), &message), Err(Reason::Late.into()));
            if stage < 4 {
                assert_eq!(self.server.receive(stage + 1, Some(index), &message), Err(Reason::StageOrder.into()));
            }
            for nobody in [None, Some(self.base.shape.n as u32)] {
                assert_eq!(self.server.receive(stage, nobody, &message), Err(Reason::NotExpected.into()));
            }
        }
        assert_eq!(self.server.receive(stage, Some(index), &message), Ok(Receipt::New), "stage {stage}");
        if one_in(&mut self.rng, 6) {
            self.note("retries");
            assert_eq!(self.server.receive(stage, Some(index), &message), Ok(Receipt::Same));
        }
        if one_in(&mut self.rng, 6) {
            self.note("second messages");
            let mut other = message.clone();
            other[below(&mut self.rng, message.len())] ^= 1;
            for other in [&other[..], &other[1..], &[]] {
                assert_eq!(self.server.receive(stage, Some(index), other), Err(Reason::Duplicate.into()));
            }
        }
        self.log.push(Some((stage, Some(index), message)));
    }

    /// A message that the server must refuse, and why.
    fn broken(&mut self, stage: u8, right: &[u8]) -> (Vec<u8>, Reason) {
        let mut broken = right.to_vec();
        let config = &self.base.cohort.config;
        let spare = config.vectors.last().map_or(0, |vector| vector.len * u64::from(config.wire_bits) % 8);
        match (stage, below(&mut self.rng, 3)) {
            (2, 0) if spare > 0 => {
                *broken.last_mut().unwrap() |= 0x80;
                (broken, Reason::PaddingBits)
            }
            (3, 0 | 1) => {
                broken[below(&mut self.rng, 64)] ^= 1;
                (broken, Reason::BadSignature)
            }
            (4, 0) => {
                let at = 32 * below(&mut self.rng, right.len() / 32);
                broken[at..at + 32].fill(0xff);
                (broken, Reason::NonCanonicalScalar)
            }
            (_, 1) => (right[1..].to_vec(), Reason::WrongLength),
            _ => {
                broken.push(0);
                (broken, Reason::WrongLength)
            }
        }
    }

    fn judge(&mut self, end: &Result<SummedUpdate, Refusal>) {
        match end {
            Ok(update) => {
                assert_eq!(self.expected.reasons, [], "released");
                assert_set(&update.survivors, &self.expected.survivors);
                assert_eq!(update.n_survivors, update.survivors.len());
                let summed = update.survivors.iter().map(|i| &self.inputs[i as usize]);
                assert_eq!(update.vectors, plain_sum(&self.base.cohort.config, summed));
                self.note("released");
                if self.expected.wrong_shares {
                    self.note("released in spite of wrong shares");
                }
            }
            Err(refusal) => {
                assert_eq!((refusal.check, refusal.blame), (None, None));
                assert!(self.expected.reasons.contains(&refusal.reason), "{refusal:?}: {:?}", self.expected.reasons);
                self.note(refusal.code());
                if self.expected.hole && refusal.reason == Reason::TooFewShares {
                    self.note("ended by holes in the ring");
                }
            }
        }
    }
}

fn assert_set(got: &Members, right: &[bool]) {
    let right = (0..).zip(right).filter(|(_, is_in)| **is_in).map(|(i, _)| i);
    assert_eq!(got.iter().collect::<Vec<u32>>(), right.collect::<Vec<u32>>());
}

/// Nothing moves a session that is over.
fn assert_over(server: &mut Session) {
    assert_eq!(server.stage_number(), None);
    assert_eq!(server.message(0), None);
    assert_eq!(server.receive(4, Some(0), &[]), Err(Reason::Late.into()));
    assert_eq!(server.close(1), Err(Reason::Late.into()));
}

/// The same messages again, uploads summed elsewhere in two parts and in small pieces: the same end.
fn replay(config: &RoundConfig, log: &Log) -> Result<SummedUpdate, Refusal> {
    let mut server = Session::new(config.clone(), []);
    let mut sums = [Accumulator::new(config), Accumulator::new(config)];
    let mut end = Err(Reason::Late.into());
    for record in log {
        match record {
            Some((2, Some(sender), upload)) => {
                check_packed::<Refusal>(config, upload.len() as u64, |at| Ok(upload[at as usize]))?;
                let mut ingest = sums[*sender as usize % 2].ingest();
                for piece in upload.chunks(1 + *sender as usize % 5) {
                    ingest.push(piece)?;
                }
                ingest.finish()?;
                assert_eq!(server.commit(*sender, keys::hash(&[upload])), Ok(Receipt::New));
            }
            Some((stage, sender, message)) => {
                assert_eq!(server.receive(*stage, *sender, message), Ok(Receipt::New));
            }
            None => {
                if server.stage_number() == Some(2) {
                    for sum in &sums {
                        server.add_sum(Accumulator::from_bytes(config, &sum.to_bytes())?)?;
                    }
                }
                match server.close(1)? {
                    Closed::Released(update) => end = Ok(update),
                    _ => continue,
                }
            }
        }
    }
    end
}
