//! A device among messages in any order: right ones, those of other rosters and other sessions, changed ones, the same ones
//! again; and restarts in between.
//!
//! A device's promises: one masked input and one statement per session, one kind of share per neighbor, the same bytes
//! again after every restart, and nothing more after it has left or has contributed. The model beside the device knows from
//! docs/protocol/session.md alone which message leads on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand_core::{Rng as _, SeedableRng as _};
use scale_secagg::graph::{Members, survivor_statement};
use scale_secagg::keys::{DhSecret, SEALED_LEN, Secret, ShareCipher};
use scale_secagg::roster::Sid;

use super::*;
use crate::testing::{Coordinator, Silence};

/// Signatures of neighbors that a device needs in the sessions of this file, of 11 and 12 devices.
const T: u32 = 7;

/// A message for the device under test.
#[derive(Clone)]
enum Message {
    Config(usize),
    Roster(usize),
    Shares(usize),
    Survivors(Vec<u8>),
    Signatures {
        view: usize,
        survivors: Members,
        bytes: Vec<u8>,
    },
    /// Any of the above, changed.
    Broken(u8, Vec<u8>),
}

/// What one server may show: a configuration, a roster of it, and a set of sharers.
struct View {
    config: usize,
    sid: Sid,
    n: u32,
    /// The place of the device under test.
    own: u32,
    roster: Bytes,
    sharers: Members,
    shares: Bytes,
    /// Both shares of each neighbor's secrets that this device holds: of the self mask, of the pair masks.
    held: BTreeMap<u32, ([u8; 32], [u8; 32])>,
    /// By place in the roster.
    identities: Vec<IdentityKey>,
}

/// Everything that servers can say to one device: it stands first in several cohorts, always with the same keys.
struct Servers {
    manifests: Vec<Manifest>,
    views: Vec<View>,
}

fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    (rng.next_u64() % bound as u64) as usize
}

impl Servers {
    fn new() -> Self {
        let plan = fixtures::plan();
        let first = fixtures::config(&plan);
        let second = RoundConfig { server_nonce: [8; 32], round: 4, ..first.clone() };
        let manifests: Vec<Manifest> = [first, second].iter().map(|config| fixtures::manifest(config, &plan)).collect();
        let mut views = vec![];
        for (number, manifest) in manifests.iter().enumerate() {
            for (n, absent) in [(12, None), (12, Some(5)), (12, Some(9)), (11, None)] {
                views.push(View::new(number, manifest, n, absent));
            }
        }
        Self { manifests, views }
    }

    fn any(&self, rng: &mut ChaCha20Rng) -> Message {
        let view = below(rng, self.views.len());
        match below(rng, 6) {
            0 => Message::Config(below(rng, 2)),
            1 => Message::Roster(view),
            2 => Message::Shares(view),
            3 => Message::Survivors(self.survivors(view, rng).as_bytes().to_vec()),
            4 => self.signatures(view, self.survivors(view, rng), rng),
            _ => {
                let whole = self.any(rng);
                if let Message::Broken(..) = whole {
                    // Broken twice can be whole again: a last byte of zero that was cut off and put back.
                    return whole;
                }
                let (stage, mut bytes) = self.bytes(&whole);
                match below(rng, 3) {
                    0 => drop(bytes.pop()),
                    1 => bytes.push(0),
                    _ => {
                        let at = below(rng, bytes.len().max(1));
                        bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (at % 8));
                    }
                }
                Message::Broken(stage, bytes)
            }
        }
    }

    /// Some survivors; now and then too few, or without the device.
    fn survivors(&self, view: usize, rng: &mut ChaCha20Rng) -> Members {
        let View { n, own, sharers, .. } = &self.views[view];
        let mut set = sharers.clone();
        for _ in 0..below(rng, 3) {
            let other = below(rng, *n as usize) as u32;
            if other != *own || below(rng, 8) == 0 {
                set.remove(other);
            }
        }
        set
    }

    /// What the survivors' signatures look like; now and then too few of them.
    fn signatures(&self, view: usize, survivors: Members, rng: &mut ChaCha20Rng) -> Message {
        let View { sid, own, sharers, identities, .. } = &self.views[view];
        let statement = survivor_statement(sid, sharers, &survivors);
        let count = if below(rng, 8) == 0 { T - 1 } else { T } as usize;
        let signers = survivors.iter().filter(|signer| signer != own).take(count);
        let bytes = signers
            .flat_map(|signer| [&signer.to_le_bytes()[..], &identities[signer as usize].sign(&statement)].concat());
        Message::Signatures { view, bytes: bytes.collect(), survivors }
    }

    /// Stage and payload.
    fn bytes(&self, message: &Message) -> (u8, Vec<u8>) {
        match message {
            Message::Config(config) => (0, self.manifests[*config].round_config.to_vec()),
            Message::Roster(view) => (1, self.views[*view].roster.to_vec()),
            Message::Shares(view) => (2, self.views[*view].shares.to_vec()),
            Message::Survivors(bytes) => (3, bytes.clone()),
            Message::Signatures { bytes, .. } => (4, bytes.clone()),
            Message::Broken(stage, bytes) => (*stage, bytes.clone()),
        }
    }
}

impl View {
    /// Plays a session up to its shares, in which the device at place `absent` shares nothing.
    fn new(config: usize, manifest: &Manifest, n: u32, absent: Option<u32>) -> Self {
        let mut devices: Vec<Device> = (0..n).map(Device::new).collect();
        let mut coordinator = Coordinator::new(manifest.clone(), fixtures::file(), n as usize);
        for device in &mut devices {
            let keys = device.take(manifest.clone(), &fixtures::file()).expect("a good round");
            coordinator.receive(0, device.identity.public(), &keys).expect("good keys");
        }
        let Ok(Closed::Roster { sid, .. }) = coordinator.close() else { panic!("enough devices") };
        devices.sort_by_key(|device| coordinator.place(&device.identity.public()));
        let identity = Device::new(0).identity.public();
        let own = coordinator.place(&identity).expect("in the roster");
        // The device's own place differs from session to session; it is never the one that is absent.
        let absent = absent.map(|absent| if absent == own { (absent + 1) % n } else { absent });
        let roster = coordinator.down(&identity, 1).expect("the roster").payload;
        for (place, device) in (0..).zip(&mut devices) {
            let identity = device.identity.public();
            let shares = device.answer(coordinator.down(&identity, 1).expect("the roster")).expect("a good roster");
            if Some(place) != absent {
                coordinator.receive(1, identity, &shares).expect("good shares");
            }
        }
        let Ok(Closed::Sharers(sharers)) = coordinator.close() else { panic!("enough sharers") };
        let shares = coordinator.down(&identity, 2).expect("the device shared").payload;
        let channel = channel_key();
        let mut held = BTreeMap::new();
        let sealed = shares[sharers.as_bytes().len()..].as_chunks::<SEALED_LEN>().0;
        for (place, sealed) in sharers.iter().filter(|place| *place != own).zip(sealed) {
            let keys = &devices[place as usize].sent()[0].payload;
            let theirs: [u8; 32] = keys[32..64].try_into().expect("32 bytes");
            let cipher = ShareCipher::new(&sid, &channel.agree(&theirs).expect("a key"), &theirs, &channel.public());
            let pair = cipher.open(place, own, sealed).expect("sealed for this device");
            held.insert(place, (pair[..32].try_into().expect("half"), pair[32..].try_into().expect("half")));
        }
        let identities = devices.into_iter().map(|device| device.identity).collect();
        Self { config, sid, n, own, roster, sharers, shares, held, identities }
    }

    /// What a device checks in stage 3 of a session on a complete graph.
    fn accepts(&self, survivors: &Members) -> bool {
        survivors.contains(self.own)
            && survivors.is_subset(&self.sharers)
            && survivors.len() >= 10
            && survivors.len() > T
    }
}

/// The channel key of the device under test: the second secret that its stream gives.
fn channel_key() -> DhSecret {
    let mut keys = Device::new(0).keys;
    let _mask_seed = Secret::draw(&mut keys);
    DhSecret::draw(&mut keys)
}

/// How far the device has come, and with whom.
#[derive(Clone, Debug, Default, PartialEq)]
struct At {
    config: Option<usize>,
    roster: Option<usize>,
    shares: Option<usize>,
    survivors: Option<Members>,
    over: bool,
}

/// What left the device.
#[derive(Default)]
struct Sent {
    inputs: BTreeMap<[u8; 32], BTreeSet<Bytes>>,
    statements: BTreeMap<[u8; 32], BTreeSet<Bytes>>,
    /// Kinds of share per session and neighbor: true for the self mask's.
    kinds: BTreeMap<([u8; 32], u32), BTreeSet<bool>>,
    finished: bool,
}

struct Subject<'a> {
    servers: &'a Servers,
    device: Device,
    at: At,
    last: Bytes,
    sent: Sent,
}

impl Subject<'_> {
    /// What must become of a message: an answer, or the word that the device leaves with (none: any).
    fn judge(&self, message: &Message) -> Result<(), Option<&'static str>> {
        let at = &self.at;
        let (stage, _) = self.servers.bytes(message);
        let open = match at {
            At { config: None, .. } => 0,
            At { roster: None, .. } => 1,
            At { shares: None, .. } => 2,
            At { survivors: None, .. } => 3,
            At { .. } => 4,
        };
        if stage != open {
            return Err(Some(match (stage, open) {
                (2, 3) => "second_input",
                (3, 4) => "second_statement",
                _ => "stage_order",
            }));
        }
        let view = |v: usize| &self.servers.views[v];
        let fits = match message {
            Message::Config(_) => true,
            Message::Roster(v) => at.config == Some(view(*v).config),
            Message::Shares(v) => at.roster.is_some_and(|r| view(r).sid == view(*v).sid),
            Message::Survivors(bytes) => {
                let view = view(at.shares.expect("masked"));
                Members::decode(view.n, bytes).is_ok_and(|survivors| view.accepts(&survivors))
            }
            Message::Signatures { view: v, survivors, bytes } => {
                let (mine, theirs) = (view(at.shares.expect("masked")), view(*v));
                mine.sid == theirs.sid
                    && mine.sharers == theirs.sharers
                    && at.survivors.as_ref() == Some(survivors)
                    && bytes.len() == 68 * T as usize
            }
            // A changed bitmap can be another valid one.
            Message::Broken(3, bytes) => return self.judge(&Message::Survivors(bytes.clone())),
            Message::Broken(..) => false,
        };
        if fits { Ok(()) } else { Err(None) }
    }

    fn take(&mut self, message: &Message) {
        if self.at.over {
            let got = self.device.happen(down(4, "whatever"));
            return assert_eq!(got, Err(Silence::Over), "nothing leads out of an end");
        }
        let right = self.judge(message);
        let (stage, bytes) = self.servers.bytes(message);
        let got = match (stage, &self.at.config) {
            (0, config) => {
                let number = if let Message::Config(number) = message { *number } else { config.unwrap_or(0) };
                let manifest =
                    Manifest { round_config: bytes.clone().into(), ..self.servers.manifests[number].clone() };
                match config {
                    None => self.device.take(manifest, &fixtures::file()),
                    // A second round while one is on.
                    Some(_) => {
                        let answer = CheckInAnswer::Manifest(manifest);
                        self.device.happen(Event::CheckedIn(answer)).map(Option::unwrap_or_default)
                    }
                }
            }
            _ => {
                let roster = (stage == 1).then_some(RosterForm::Complete);
                let payload = Bytes::from(bytes.clone());
                self.device
                    .happen(Event::Down(StageDown { session: testing::session(), stage, payload, roster }))
                    .map(Option::unwrap_or_default)
            }
        };
        match (got, right) {
            (Ok(answer), Ok(())) => self.accepted(message, &bytes, answer),
            (Err(Silence::Left(cause)), Err(word)) => {
                assert!(word.is_none_or(|word| word == cause.code()), "{cause:?}, not {word:?}");
                self.over();
            }
            (got, right) => panic!("stage {stage}: {got:?}, but the model says {right:?} at {:?}", self.at),
        }
    }

    fn accepted(&mut self, message: &Message, bytes: &[u8], answer: Bytes) {
        let sid = self.at.roster.map(|view| *self.servers.views[view].sid.as_bytes());
        match message {
            Message::Config(config) => self.at.config = Some(*config),
            Message::Roster(view) => self.at.roster = Some(*view),
            Message::Shares(view) => {
                self.at.shares = Some(*view);
                self.sent.inputs.entry(sid.expect("a session")).or_default().insert(answer.clone());
            }
            Message::Survivors(_) | Message::Broken(3, _) => {
                let n = self.servers.views[self.at.shares.expect("masked")].n;
                self.at.survivors = Some(Members::decode(n, bytes).expect("accepted"));
                self.sent.statements.entry(sid.expect("a session")).or_default().insert(answer.clone());
            }
            _ => {
                self.revealed(&answer);
                self.last = answer;
                self.sent.finished = true;
                self.again();
                self.device.accepted().expect("it waits for that");
                return self.over();
            }
        }
        self.last = answer;
    }

    /// Every share in it is one of the two that the device holds of that neighbor.
    fn revealed(&mut self, reveal: &[u8]) {
        let view = &self.servers.views[self.at.shares.expect("masked")];
        assert_eq!(reveal.len(), 32 * view.held.len());
        for ((place, (of_self_mask, of_pair_masks)), share) in view.held.iter().zip(reveal.as_chunks::<32>().0) {
            assert!(share == of_self_mask || share == of_pair_masks);
            let of_self = share == of_self_mask;
            let survived = self.at.survivors.as_ref().expect("agreed").contains(*place);
            assert_eq!(of_self, survived, "the kind that the survivors say");
            self.sent.kinds.entry((*view.sid.as_bytes(), *place)).or_default().insert(of_self);
        }
    }

    /// The device asks again, or comes back after its memory was lost: the same bytes.
    fn again(&mut self) {
        if self.at.over || self.at.config.is_none() {
            return;
        }
        assert_eq!(self.device.wake().as_ref(), Ok(&self.last), "asked again at {:?}", self.at);
        assert_eq!(self.device.restart().as_ref(), Ok(&self.last), "restarted at {:?}", self.at);
    }

    fn over(&mut self) {
        self.at.over = true;
        assert!(self.device.state().is_over() && self.device.stored().is_none(), "nothing is kept");
    }
}

/// Mostly the message that leads on, so that long lives come up, else any.
fn sequence(servers: &Servers, seed: u64) -> Sent {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut subject =
        Subject { servers, device: Device::new(0), at: At::default(), last: Bytes::new(), sent: Sent::default() };
    let wild = 2 + below(&mut rng, 12);
    for _ in 0..12 {
        if below(&mut rng, 5) == 0 {
            subject.again();
        }
        let at = subject.at.clone();
        if below(&mut rng, wild) == 0 {
            if !at.over && below(&mut rng, 24) == 0 {
                subject.device.happen(Event::Cancel).expect_err("it leaves");
                subject.over();
            } else {
                subject.take(&servers.any(&mut rng));
            }
            continue;
        }
        let any_view = below(&mut rng, servers.views.len());
        let next = match (&at.config, &at.roster, &at.shares, &at.survivors) {
            (None, ..) => Message::Config(below(&mut rng, 2)),
            (Some(config), None, ..) => {
                let fitting: Vec<usize> =
                    (0..servers.views.len()).filter(|v| servers.views[*v].config == *config).collect();
                Message::Roster(fitting[any_view % fitting.len()])
            }
            (_, Some(roster), None, _) => {
                let sid = servers.views[*roster].sid;
                let fitting: Vec<usize> = (0..servers.views.len()).filter(|v| servers.views[*v].sid == sid).collect();
                Message::Shares(fitting[any_view % fitting.len()])
            }
            (_, _, Some(view), None) => Message::Survivors(servers.survivors(*view, &mut rng).as_bytes().to_vec()),
            (_, _, Some(view), Some(survivors)) => servers.signatures(*view, survivors.clone(), &mut rng),
        };
        subject.take(&next);
        if below(&mut rng, 24) == 0 {
            // The same once more is another message of a stage that has passed.
            subject.take(&next);
        }
    }
    subject.sent
}

#[test]
fn no_sequence_of_messages_makes_a_device_say_two_things() {
    let servers = Servers::new();
    let count: u64 =
        std::env::var("SCALE_ROUNDS").map_or(400, |count| count.parse().expect("SCALE_ROUNDS is a number"));
    let (mut finished, mut stated, mut masked) = (0, 0, 0);
    for seed in 0..count {
        let sent = catch_unwind(AssertUnwindSafe(|| sequence(&servers, seed))).unwrap_or_else(|panic| {
            std::io::stderr().write_all(format!("sequence {seed}\n").as_bytes()).expect("standard error");
            std::panic::resume_unwind(panic)
        });
        assert!(sent.inputs.values().all(|inputs| inputs.len() == 1), "sequence {seed}: two masked inputs");
        assert!(sent.statements.values().all(|statements| statements.len() == 1), "sequence {seed}: two statements");
        assert!(sent.kinds.values().all(|kinds| kinds.len() == 1), "sequence {seed}: both shares of a neighbor");
        masked += sent.inputs.len() as u64;
        stated += sent.statements.len() as u64;
        finished += u64::from(sent.finished);
    }
    assert!(masked > count / 4 && stated > count / 8 && finished > count / 16, "{masked} {stated} {finished}");
}
