//! A device among messages in any order: right ones, retries, those of other rosters and other sessions, changed ones.
//!
//! A device's promises: one masked input and one statement per session, one kind of share per neighbour, and nothing but
//! refusals after the first refusal or the last answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use scale_secagg::client::{Answer, Event, Participant};
use scale_secagg::config::RoundConfig;
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::graph::{Members, survivor_statement};
use scale_secagg::keys::{IdentityKey, SEALED_LEN, ShareCipher};
use scale_secagg::roster::{RosterForm, Sid};
use scale_secagg::server::{Closed, Down, Receipt, Session, Stage};

use crate::common::{Cohort, event, input, round_config};

/// Neighbours that a device needs in the sessions of this file, of 11 and 12 devices.
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
    roster: Vec<u8>,
    sharers: Members,
    shares: Vec<u8>,
    /// Both shares of each neighbour's secrets that this device holds: of the self mask, of the pair masks.
    held: BTreeMap<u32, ([u8; 32], [u8; 32])>,
    /// By place in the roster.
    identities: Vec<IdentityKey>,
}

/// Everything that servers can say to one device: it stands first in several cohorts, always with the same keys.
struct Servers {
    configs: Vec<Cohort>,
    views: Vec<View>,
}

/// The device under test is the first of every cohort made from this seed.
const SEED: u64 = 77;

fn cohort(config: &RoundConfig, n: usize) -> Cohort {
    Cohort::new(config.clone(), n, SEED)
}

impl Servers {
    fn new() -> Self {
        let first = round_config(10, 12, 12);
        let second = RoundConfig { server_nonce: [8; 32], round: 8, ..first.clone() };
        let mut views = Vec::new();
        for (number, config) in [&first, &second].into_iter().enumerate() {
            for (n, absent) in [(12, None), (12, Some(5)), (12, Some(9)), (11, None)] {
                views.push(View::new(number, config, n, absent));
            }
        }
        Self { configs: vec![cohort(&first, 12), cohort(&second, 12)], views }
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
            Message::Config(config) => {
                let Event::Config { bytes, .. } = self.configs[*config].config_event() else { unreachable!() };
                (0, bytes.to_vec())
            }
            Message::Roster(view) => (1, self.views[*view].roster.clone()),
            Message::Shares(view) => (2, self.views[*view].shares.clone()),
            Message::Survivors(bytes) => (3, bytes.clone()),
            Message::Signatures { bytes, .. } => (4, bytes.clone()),
            Message::Broken(stage, bytes) => (*stage, bytes.clone()),
        }
    }
}

impl View {
    /// Plays a session up to its shares, in which the device at place `absent` shares nothing.
    fn new(number: usize, config: &RoundConfig, n: usize, absent: Option<u32>) -> Self {
        let mut cohort = cohort(config, n);
        let identity = cohort.devices[0].identity.public();
        let (mut server, _) = cohort.open_session();
        let Stage::Shares(stage) = server.stage() else { panic!("stage 1 is open") };
        let own = stage.index_of(&identity).unwrap();
        // The device's own place differs from session to session; it is never the one that is absent.
        let absent = absent.map(|absent| if absent == own { (absent + 1) % n as u32 } else { absent });
        let Some(Down::Roster(RosterForm::Complete, roster)) = server.message(own) else { panic!("a whole roster") };
        for i in 0..n as u32 {
            let down = server.message(i).unwrap();
            let message = cohort.handle(i as usize, event(1, &down)).unwrap();
            if Some(i) != absent {
                assert_eq!(server.receive(1, Some(i), &message), Ok(Receipt::New));
            }
        }
        let Ok(Closed::Sharers(sharers)) = server.close(1) else { panic!("enough sharers") };
        let Some(Down::Bytes(shares)) = server.message(own) else { panic!("the device shared") };
        let sid = sid_of(&server);
        let (_, channel) = cohort.devices[own as usize].drawn();
        let mut held = BTreeMap::new();
        let sealed = shares[sharers.as_bytes().len()..].as_chunks::<SEALED_LEN>().0;
        for (j, sealed) in sharers.iter().filter(|j| *j != own).zip(sealed) {
            let theirs = cohort.devices[j as usize].drawn().1.public();
            let cipher = ShareCipher::new(&sid, &channel.agree(&theirs).unwrap(), &theirs, &channel.public());
            let pair = cipher.open(j, own, sealed).unwrap();
            held.insert(j, (pair[..32].try_into().unwrap(), pair[32..].try_into().unwrap()));
        }
        let identities = cohort.devices.into_iter().map(|device| device.identity).collect();
        Self { config: number, sid, n: n as u32, own, roster, sharers, shares, held, identities }
    }

    /// What a device checks in stage 3 of a session on a complete graph.
    fn accepts(&self, survivors: &Members) -> bool {
        survivors.contains(self.own)
            && survivors.is_subset(&self.sharers)
            && survivors.len() >= 10
            && survivors.len() > T
    }
}

fn sid_of(server: &Session) -> Sid {
    let Stage::MaskedInput(stage) = server.stage() else { panic!("stage 2 is open") };
    *stage.sid()
}

fn below(rng: &mut ChaCha20Rng, bound: usize) -> usize {
    (rng.next_u64() % bound as u64) as usize
}

/// How far the device has come, and with whom.
#[derive(Clone, Debug, Default, PartialEq)]
struct Progress {
    /// Stages answered, 0 to 5; masking is a step of its own.
    config: Option<usize>,
    roster: Option<usize>,
    shares: Option<usize>,
    masked: bool,
    survivors: Option<Members>,
    over: bool,
}

/// What left the device.
#[derive(Default)]
struct Sent {
    inputs: BTreeMap<[u8; 32], BTreeSet<Vec<u8>>>,
    statements: BTreeMap<[u8; 32], BTreeSet<Vec<u8>>>,
    /// Kinds of share per session and neighbour: true for the self mask's.
    kinds: BTreeMap<([u8; 32], u32), BTreeSet<bool>>,
    finished: bool,
}

struct Subject<'a> {
    servers: &'a Servers,
    device: crate::common::Device,
    inputs: [Vec<Vec<u32>>; 3],
    at: Progress,
    last: Option<(u8, Vec<u8>, Answer)>,
    sent: Sent,
}

impl Subject<'_> {
    /// What must become of a message that is not the last one again: accepted, or the refusal's reason (none: any).
    fn judge(&self, message: &Message) -> Result<(), Option<Reason>> {
        let at = &self.at;
        let (stage, _) = self.servers.bytes(message);
        if at.over {
            return Err(Some(Reason::StageOrder));
        }
        let open = match at {
            Progress { config: None, .. } => 0,
            Progress { roster: None, .. } => 1,
            Progress { shares: None, .. } => 2,
            Progress { masked: false, .. } => return Err(Some(second(stage, Some(2)))),
            Progress { survivors: None, .. } => 3,
            Progress { .. } => 4,
        };
        if stage != open {
            return Err(Some(second(stage, u8::checked_sub(open, 1))));
        }
        let view = |v: usize| &self.servers.views[v];
        let fits = match message {
            Message::Config(_) => true,
            Message::Roster(v) => at.config == Some(view(*v).config),
            Message::Shares(v) => at.roster.is_some_and(|r| view(r).sid == view(*v).sid),
            Message::Survivors(bytes) => {
                let view = view(at.shares.unwrap());
                Members::decode(view.n, bytes).is_ok_and(|survivors| view.accepts(&survivors))
            }
            Message::Signatures { view: v, survivors, bytes } => {
                let (mine, theirs) = (view(at.shares.unwrap()), view(*v));
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
        let (stage, bytes) = self.servers.bytes(message);
        let retry = self.last.as_ref().filter(|last| (last.0, &last.1) == (stage, &bytes)).map(|last| last.2.clone());
        let right = self.judge(message);
        let config = &self.servers.configs[match message {
            Message::Config(config) => *config,
            _ => self.at.config.unwrap_or(0),
        }];
        let event = match (stage, config.config_event()) {
            (0, Event::Config { signature, .. }) => Event::Config { bytes: &bytes, signature },
            (1, _) => Event::Roster { form: RosterForm::Complete, bytes: &bytes },
            (2, _) => Event::Shares(&bytes),
            (3, _) => Event::Survivors(&bytes),
            _ => Event::Signatures(&bytes),
        };
        let got = self.device.answer(&config.policy, event);
        if let Some(again) = retry {
            return assert_eq!(got, Ok(again), "a retry gets the same answer");
        }
        match (got, right) {
            (Ok(answer), Ok(())) => self.accepted(message, stage, bytes, answer),
            (Err(refusal), Err(reason)) => {
                assert!(reason.is_none_or(|reason| reason == refusal.reason), "{refusal:?}, not {reason:?}");
                self.over();
            }
            (got, right) => panic!("stage {stage}: {got:?}, but the model says {right:?} at {:?}", self.at),
        }
    }

    fn accepted(&mut self, message: &Message, stage: u8, bytes: Vec<u8>, answer: Answer) {
        let sid = self.at.roster.map(|view| *self.servers.views[view].sid.as_bytes());
        match message {
            Message::Config(config) => self.at.config = Some(*config),
            Message::Roster(view) => self.at.roster = Some(*view),
            Message::Shares(view) => self.at.shares = Some(*view),
            Message::Survivors(_) | Message::Broken(3, _) => {
                let n = self.servers.views[self.at.shares.unwrap()].n;
                self.at.survivors = Some(Members::decode(n, &bytes).unwrap());
                let Answer::Send(statement) = &answer else { panic!("a statement") };
                self.sent.statements.entry(sid.unwrap()).or_default().insert(statement.clone());
            }
            _ => {
                let Answer::Send(reveal) = &answer else { panic!("shares") };
                self.revealed(reveal);
                self.sent.finished = true;
                return self.over();
            }
        }
        self.last = Some((stage, bytes, answer));
    }

    /// Every share in it is one of the two that the device holds of that neighbour.
    fn revealed(&mut self, reveal: &[u8]) {
        let view = &self.servers.views[self.at.shares.unwrap()];
        assert_eq!(reveal.len(), 32 * view.held.len());
        for ((j, (of_self_mask, of_pair_masks)), share) in view.held.iter().zip(reveal.as_chunks::<32>().0) {
            assert!(share == of_self_mask || share == of_pair_masks);
            let of_self = share == of_self_mask;
            assert_eq!(of_self, self.at.survivors.as_ref().unwrap().contains(*j), "the kind that the survivors say");
            self.sent.kinds.entry((*view.sid.as_bytes(), *j)).or_default().insert(of_self);
        }
    }

    /// The host brings an input, none, or one of a wrong shape.
    fn mask(&mut self, choice: usize) {
        let input = self.inputs.get(choice).cloned();
        let wanted = self.at.shares.is_some() && !self.at.masked && !self.at.over;
        let right = match (wanted, choice) {
            (false, _) => Err(Reason::StageOrder),
            (true, 0 | 1) => Ok(()),
            (true, 2) => Err(Reason::Plan),
            (true, _) => Err(Reason::Ledger),
        };
        let got = self.device.participant.mask(input);
        assert_eq!(got.as_ref().map(drop).map_err(|refusal| refusal.reason), right);
        let Ok(upload) = got else { return self.over() };
        self.at.masked = true;
        let sid = self.servers.views[self.at.shares.unwrap()].sid;
        self.sent.inputs.entry(*sid.as_bytes()).or_default().insert(upload.clone());
        self.last = self.last.take().map(|last| (last.0, last.1, Answer::Send(upload)));
    }

    fn restart(&mut self) {
        self.device.participant = Participant::restore(&self.device.participant.snapshot()).unwrap();
    }

    fn over(&mut self) {
        self.at.over = true;
        self.last = None;
        assert!(self.device.participant.is_done());
        assert_eq!(self.device.participant.config(), None);
    }
}

/// The refusal of a message that comes at the wrong time, when stage `answered` was the last one.
fn second(stage: u8, answered: Option<u8>) -> Reason {
    match (stage, answered) {
        (2, Some(2)) => Reason::SecondInput,
        (3, Some(3)) => Reason::SecondStatement,
        _ => Reason::StageOrder,
    }
}

/// Mostly the message that leads on, so that long lives come up, else any.
fn sequence(servers: &Servers, seed: u64) -> Sent {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let config = &servers.configs[0].config;
    let device = cohort(config, 1).devices.swap_remove(0);
    let inputs = [input(config, &mut rng), input(config, &mut rng), vec![vec![0; 3]]];
    let mut subject = Subject { servers, device, inputs, at: Progress::default(), last: None, sent: Sent::default() };
    let wild = 2 + below(&mut rng, 12);
    for _ in 0..12 {
        if below(&mut rng, 5) == 0 {
            subject.restart();
        }
        let at = subject.at.clone();
        if below(&mut rng, wild) == 0 {
            match below(&mut rng, 6) {
                0 => subject.mask(below(&mut rng, 4)),
                1 if !at.over && below(&mut rng, 4) == 0 => {
                    subject.device.participant.abort();
                    subject.over();
                }
                _ => subject.take(&servers.any(&mut rng)),
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
            (_, _, Some(_), None) if !at.masked => {
                subject.mask(below(&mut rng, 2));
                continue;
            }
            (_, _, Some(view), None) => Message::Survivors(servers.survivors(*view, &mut rng).as_bytes().to_vec()),
            (_, _, Some(view), Some(survivors)) => servers.signatures(*view, survivors.clone(), &mut rng),
        };
        if below(&mut rng, 6) == 0 {
            // Twice: the second one is a retry.
            subject.take(&next);
        }
        subject.take(&next);
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
            std::io::stderr().write_all(format!("sequence {seed}\n").as_bytes()).unwrap();
            std::panic::resume_unwind(panic)
        });
        assert!(sent.inputs.values().all(|inputs| inputs.len() == 1), "sequence {seed}: two masked inputs");
        assert!(sent.statements.values().all(|statements| statements.len() == 1), "sequence {seed}: two statements");
        assert!(sent.kinds.values().all(|kinds| kinds.len() == 1), "sequence {seed}: both shares of a neighbour");
        masked += sent.inputs.len() as u64;
        stated += sent.statements.len() as u64;
        finished += u64::from(sent.finished);
    }
    assert!(masked > count / 4 && stated > count / 8 && finished > count / 16, "{masked} {stated} {finished}");
}

/// The refusals of second requests carry the check that says so.
#[test]
fn second_requests_name_their_check() {
    let servers = Servers::new();
    for (first, second, check) in [(1, 2, "C22"), (2, 2, "C15"), (3, 3, "C19")] {
        let config = &servers.configs[0];
        let mut device = cohort(&config.config, 1).devices.swap_remove(0);
        let mut send = |event: Event<'_>| device.handle(&config.policy, event);
        send(config.config_event()).unwrap();
        send(Event::Roster { form: RosterForm::Complete, bytes: &servers.views[0].roster }).unwrap();
        if first >= 2 {
            send(Event::Shares(&servers.views[0].shares)).unwrap();
        }
        if first >= 3 {
            send(Event::Survivors(servers.views[0].sharers.as_bytes())).unwrap();
        }
        let refusal: Refusal = match (first, second) {
            (1, _) => send(Event::Survivors(servers.views[0].sharers.as_bytes())),
            (2, _) => send(Event::Shares(&servers.views[1].shares)),
            _ => send(Event::Survivors(servers.views[1].sharers.as_bytes())),
        }
        .unwrap_err();
        assert_eq!(refusal.check, Some(check));
    }
}
