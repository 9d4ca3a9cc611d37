//! The liar's side of the protocol: one call per message, to one victim or to all, true by default.

use std::collections::BTreeMap;
use std::rc::Rc;

use scale_proto::plan::Plan;
use scale_secagg::config::RoundConfig;
use scale_secagg::graph::Members;
use scale_secagg::keys::{IdentityKey, SEALED_LEN};
use scale_secagg::params::Profile;
use scale_secagg::roster::{Certificate, Entry, RosterForm};

use super::device::Device;
use super::gullible::Gullible;
use super::knowledge::{Kind, Knowledge, Truth};
use super::leak::{self, Leak, Learned};
use super::puppet::Puppet;
use super::setting::{self, Offer};
use super::shown::{Rule, Shown};
use super::victim::{Habits, Message, Refused, Victim};

/// Who the victims are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crew {
    /// The device that ships.
    Device,
    /// The same, killed and brought back before everything that it is told.
    Restarted,
    /// Clients that check nothing, and believe a threshold if they are told one.
    Gullible(Option<u32>),
}

impl Crew {
    fn rule(self) -> Rule {
        match self {
            Self::Device | Self::Restarted => Rule::Protocol,
            Self::Gullible(threshold) => Rule::Told(threshold),
        }
    }
}

/// A victim's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who.
    pub victim: usize,
    /// Stage of the message that was refused.
    pub stage: u8,
    /// Why.
    pub why: Refused,
}

/// How a lie ended.
#[derive(Debug)]
pub struct Report {
    /// In the order in which they came.
    pub refusals: Vec<Refusal>,
    /// What the liar has learned, leak or not.
    pub learned: Vec<Learned>,
    /// What it must not learn.
    pub leaks: Vec<Leak>,
}

/// What one victim has been shown last.
#[derive(Clone, Default)]
struct View {
    shown: Option<Rc<Shown>>,
    index: u32,
    /// Its neighbours, as the roster message has it.
    neighbours: Vec<u32>,
    sharers: Option<Members>,
    survivors: Option<Members>,
    signature: Option<[u8; 64]>,
}

/// The lying coordinator.
pub struct Liar {
    /// Signs configurations: the pinned key, unless the lie is that it is not.
    pub task_key: IdentityKey,
    /// What the next offer says.
    pub config: RoundConfig,
    /// The plan that comes with it.
    pub plan: Plan,
    /// The model that comes with it.
    pub model: Vec<u8>,
    /// The present, Unix milliseconds.
    pub now_ms: u64,
    /// The liar's own devices.
    pub puppets: Vec<Puppet>,
    /// Certificates that it has got hold of, by identity: those that victims sent, and what a test adds.
    pub certificates: BTreeMap<[u8; 32], Certificate>,
    /// The authority, where it lets the liar's own devices in.
    pub lets_puppets_in: Option<IdentityKey>,
    /// The victims, by number.
    pub victims: Vec<Box<dyn Victim>>,
    crew: Crew,
    entries: Vec<Option<Entry>>,
    views: Vec<View>,
    knowledge: Knowledge,
    refusals: Vec<Refusal>,
}

impl Liar {
    /// A liar among `victims` devices of a crew and `puppets` of its own, with a configuration that has room for all.
    pub fn new(crew: Crew, victims: usize, puppets: usize, habits: Habits) -> Self {
        let victim = |number: u32| -> Box<dyn Victim> {
            match crew {
                Crew::Device => Box::new(Device::new(number, habits)),
                Crew::Restarted => Box::new(Device::restarting(number, habits)),
                Crew::Gullible(_) => Box::new(Gullible::new(number, crew.rule())),
            }
        };
        let config = setting::config((victims + puppets).max(20) as u32);
        let mut liar = Self {
            task_key: setting::task_key(),
            plan: setting::plan(),
            model: setting::model_of(0.25),
            now_ms: setting::START_MS,
            puppets: vec![],
            certificates: BTreeMap::new(),
            lets_puppets_in: None,
            victims: (0..victims as u32).map(victim).collect(),
            crew,
            entries: vec![None; victims],
            views: vec![View::default(); victims],
            knowledge: Knowledge::default(),
            refusals: vec![],
            config,
        };
        liar.make_up(puppets);
        liar
    }

    /// The numbers of all victims.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.victims.len()
    }

    /// Goes over to profile M under the authority of `seed`, which certifies the liar's own devices too.
    pub fn malicious(&mut self, seed: &[u8; 32]) {
        let authority = IdentityKey::from_seed(seed);
        self.config.profile = Profile::Malicious;
        self.config.identity_root = authority.public();
        self.lets_puppets_in = Some(authority);
    }

    /// Makes up that many devices for the configuration as it is now; earlier ones are gone.
    pub fn make_up(&mut self, count: usize) {
        let cfg = self.config.cfg();
        self.puppets = (0..count as u32).map(|number| Puppet::new(number, &cfg)).collect();
        for puppet in &self.puppets {
            self.knowledge.own_key(&puppet.channel);
            self.knowledge.own_key(&puppet.mask);
        }
    }

    /// Keys of a puppet made by hand become the liar's.
    pub fn adopt(&mut self, puppet: Puppet) -> Entry {
        self.knowledge.own_key(&puppet.channel);
        self.knowledge.own_key(&puppet.mask);
        let entry = puppet.entry.clone();
        self.puppets.push(puppet);
        entry
    }

    /// The offer that the fields describe, signed.
    pub fn true_offer(&self) -> Offer {
        Offer::signed(&self.config, &self.task_key, &self.plan, &self.model)
    }

    /// Stage 0 to one victim.
    pub fn offer(&mut self, victim: usize, offer: &Offer) {
        match self.victims[victim].offer(offer, self.now_ms) {
            Ok(message) => {
                let field = |at: usize| message[at..at + 32].try_into().expect("32 bytes");
                let sig = message[128..192].try_into().expect("64 bytes");
                let entry = Entry { id_pk: field(0), c_pk: field(32), s_pk: field(64), sig };
                if let Ok(certificate) = Certificate::decode(&message[192..]) {
                    self.certificates.insert(entry.id_pk, certificate);
                }
                self.knowledge.advertised(victim, &entry);
                self.entries[victim] = Some(entry);
                self.views[victim] = View::default();
            }
            Err(why) => self.refused(victim, 0, why),
        }
    }

    /// Stage 0 to everybody. Puppets advertise for the same configuration.
    pub fn advertise(&mut self) {
        self.make_up(self.puppets.len());
        let offer = self.true_offer();
        self.all().for_each(|victim| self.offer(victim, &offer));
    }

    /// The entry that a victim has advertised last.
    pub fn entry(&self, victim: usize) -> Option<&Entry> {
        self.entries[victim].as_ref()
    }

    /// The true roster: whoever advertised, and all puppets.
    pub fn roster(&self) -> Rc<Shown> {
        self.roster_of(&self.config, self.all())
    }

    /// A roster of some victims and all puppets, for a configuration.
    pub fn roster_of(&self, config: &RoundConfig, victims: impl IntoIterator<Item = usize>) -> Rc<Shown> {
        let victims = victims.into_iter().filter_map(|victim| self.entries[victim].clone());
        let entries = victims.chain(self.puppets.iter().map(|puppet| puppet.entry.clone()));
        let mut shown = Shown::new(config, entries.collect(), self.crew.rule());
        shown.certificates.clone_from(&self.certificates);
        if let Some(root) = &self.lets_puppets_in {
            for id_pk in self.puppets.iter().map(|puppet| puppet.entry.id_pk) {
                shown.certificates.insert(id_pk, Certificate::issue(root, &id_pk, u64::MAX));
            }
        }
        Rc::new(shown)
    }

    /// Stage 1 to one victim: this roster, in its right form.
    pub fn share(&mut self, victim: usize, shown: &Rc<Shown>) {
        let Some(own) = shown.place(&self.victims[victim].identity()) else {
            let (form, bytes) = shown.message(0);
            self.tell(victim, Message::Roster { form, bytes: &bytes });
            return;
        };
        let (form, bytes) = shown.message(own);
        self.share_as(victim, shown, own, shown.graph.neighbours(own), form, &bytes);
    }

    /// Stage 1 to one victim in the liar's own words, which show `neighbours`.
    pub fn share_as(
        &mut self,
        victim: usize,
        shown: &Rc<Shown>,
        index: u32,
        neighbours: Vec<u32>,
        form: RosterForm,
        bytes: &[u8],
    ) {
        let Some(message) = self.tell(victim, Message::Roster { form, bytes }) else { return };
        let shown = Rc::clone(shown);
        self.knowledge.shared(victim, &shown, index, neighbours.clone(), &message);
        self.views[victim] = View { shown: Some(shown), index, neighbours, ..View::default() };
    }

    /// Everybody who could be in U2 of this session: victims that shared, and puppets.
    pub fn sharers(&self, shown: &Shown) -> Members {
        let shared = |entry: &Entry| self.knowledge.has(&entry.s_pk) || self.knowledge.has_shared(shown, entry);
        Members::of(shown.n(), (0..shown.n()).filter(|index| shared(shown.entry(*index))))
    }

    /// Everybody who could be in U3 of this session: victims that uploaded, and puppets.
    pub fn survivors(&self, shown: &Shown) -> Members {
        let sent = |entry: &Entry| self.knowledge.has(&entry.s_pk) || self.knowledge.has_uploaded(shown, entry);
        Members::of(shown.n(), (0..shown.n()).filter(|index| sent(shown.entry(*index))))
    }

    /// The roster that a victim has answered.
    pub fn shown_to(&self, victim: usize) -> Option<Rc<Shown>> {
        self.views[victim].shown.clone()
    }

    /// A victim's place in the roster that it has answered.
    pub fn place(&self, victim: usize) -> u32 {
        self.views[victim].index
    }

    /// Stage 2 to one victim: these sharers, with the ciphertexts that there are.
    pub fn collect(&mut self, victim: usize, sharers: &Members) {
        let Some(bytes) = self.sealed_for(victim, sharers) else { return };
        self.collect_as(victim, sharers, &bytes);
    }

    /// The message of stage 2 for a victim.
    pub fn sealed_for(&self, victim: usize, sharers: &Members) -> Option<Vec<u8>> {
        let view = &self.views[victim];
        let shown = view.shown.as_ref()?;
        let mut bytes = sharers.as_bytes().to_vec();
        for peer in view.neighbours.iter().filter(|peer| sharers.contains(**peer)) {
            let entry = shown.entry(*peer);
            let puppet = self.puppets.iter().find(|puppet| puppet.entry.s_pk == entry.s_pk);
            let sealed = puppet.and_then(|puppet| puppet.sealed_for(shown, *peer, view.index));
            let sealed = sealed.as_ref().map(|sealed| &sealed[..]);
            let sealed = sealed.or_else(|| self.knowledge.sealed(shown, entry, view.index));
            bytes.extend_from_slice(sealed.unwrap_or(&[0; SEALED_LEN]));
        }
        Some(bytes)
    }

    /// Stage 2 to one victim in the liar's own words, which show `sharers`.
    pub fn collect_as(&mut self, victim: usize, sharers: &Members, bytes: &[u8]) {
        let Some(upload) = self.tell(victim, Message::Shares(bytes)) else { return };
        let one = &self.victims[victim];
        let truth = Truth { input: one.input(), model: one.trained_on() };
        let view = &mut self.views[victim];
        view.sharers = Some(sharers.clone());
        let Some(shown) = &view.shown else { return };
        let peers: Vec<u32> = view.neighbours.iter().copied().filter(|peer| sharers.contains(*peer)).collect();
        if upload.len() as u64 == shown.config.masked_input_len() {
            self.knowledge.uploaded(victim, shown, view.index, &peers, &upload, truth);
        }
    }

    /// Stage 3 to one victim: these survivors.
    pub fn agree(&mut self, victim: usize, survivors: &Members) {
        let Some(message) = self.tell(victim, Message::Survivors(survivors.as_bytes())) else { return };
        let view = &mut self.views[victim];
        let Some(shown) = &view.shown else { return };
        view.survivors = Some(survivors.clone());
        view.signature = message.as_slice().try_into().ok();
        self.knowledge.stated(victim, shown, &message);
    }

    /// The message of stage 4 for a victim: every signature that its neighbours have given, and the puppets' over
    /// whatever this victim wants to hear.
    pub fn signatures_for(&self, victim: usize) -> Vec<(u32, [u8; 64])> {
        let view = &self.views[victim];
        let (Some(shown), Some(sharers), Some(survivors)) = (&view.shown, &view.sharers, &view.survivors) else {
            return vec![];
        };
        let sign = |peer: u32| {
            let entry = shown.entry(peer);
            if let Some(puppet) = self.puppets.iter().find(|puppet| puppet.entry.s_pk == entry.s_pk) {
                return Some((peer, puppet.sign(shown, sharers, survivors)));
            }
            let peers_view = self.views.iter().zip(&self.entries).find(|(_, other)| other.as_ref() == Some(entry));
            Some((peer, peers_view?.0.signature?))
        };
        view.neighbours.iter().filter(|peer| survivors.contains(**peer)).filter_map(|peer| sign(*peer)).collect()
    }

    /// Stage 4 to one victim: the signatures that there are.
    pub fn unmask(&mut self, victim: usize) {
        let signatures = self.signatures_for(victim);
        self.unmask_as(victim, &signatures);
    }

    /// Stage 4 to one victim with these signatures.
    pub fn unmask_as(&mut self, victim: usize, signatures: &[(u32, [u8; 64])]) {
        let bytes: Vec<u8> =
            signatures.iter().flat_map(|(index, signature)| [&index.to_le_bytes()[..], signature].concat()).collect();
        let Some(message) = self.tell(victim, Message::Signatures(&bytes)) else { return };
        let view = &self.views[victim];
        let (Some(shown), Some(sharers), Some(survivors)) = (&view.shown, &view.sharers, &view.survivors) else {
            return;
        };
        let listed = view.neighbours.iter().filter(|peer| sharers.contains(**peer));
        for (peer, share) in listed.zip(message.chunks(32)) {
            let kind = if survivors.contains(*peer) { Kind::SelfMask } else { Kind::PairMasks };
            self.knowledge.revealed(shown, shown.entry(*peer), view.index, kind, share);
        }
    }

    /// Everybody is killed and comes back with what was stored: what each of them sends then.
    pub fn restart_all(&mut self) -> Vec<Option<Vec<u8>>> {
        self.victims.iter_mut().map(|victim| victim.restart()).collect()
    }

    /// Any message to one victim; the bytes that it answers with.
    pub fn tell(&mut self, victim: usize, message: Message<'_>) -> Option<Vec<u8>> {
        let stage = message.stage();
        match self.victims[victim].handle(message, self.now_ms) {
            Ok(bytes) => Some(bytes),
            Err(why) => {
                self.refused(victim, stage, why);
                None
            }
        }
    }

    fn refused(&mut self, victim: usize, stage: u8, why: Refused) {
        self.refusals.push(Refusal { victim, stage, why });
    }

    /// Stages 1 to 4 of a session over this roster, for these victims, with nothing but the truth.
    pub fn play_on(&mut self, shown: &Rc<Shown>, victims: &[usize]) {
        victims.iter().for_each(|victim| self.share(*victim, shown));
        self.play_from_shares(shown, victims);
    }

    /// Stages 2 to 4, likewise.
    pub fn play_from_shares(&mut self, shown: &Rc<Shown>, victims: &[usize]) {
        let sharers = self.sharers(shown);
        victims.iter().for_each(|victim| self.collect(*victim, &sharers));
        self.play_from_inputs(shown, victims);
    }

    /// Stages 3 and 4, likewise.
    pub fn play_from_inputs(&mut self, shown: &Rc<Shown>, victims: &[usize]) {
        let survivors = self.survivors(shown);
        victims.iter().for_each(|victim| self.agree(*victim, &survivors));
        victims.iter().for_each(|victim| self.unmask(*victim));
    }

    /// A whole session with everybody.
    pub fn play(&mut self) {
        self.advertise();
        let everybody: Vec<usize> = self.all().collect();
        let shown = self.roster();
        self.play_on(&shown, &everybody);
    }

    /// Attacks, and gives the count.
    pub fn finish(self) -> Report {
        let (learned, mut leaks) = self.knowledge.attack();
        leaks.extend(leak::judge(&learned));
        Report { refusals: self.refusals, learned, leaks }
    }
}
