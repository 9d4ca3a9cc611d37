//! The clients' half: every stage, one client after the other, each timed by itself.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::Context;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use scale_benches::clock;
use scale_secagg::client::{self, Agreed, Keyed, Masked, Shared};
use scale_secagg::config::{self, Policy};
use scale_secagg::keys::IdentityKey;
use scale_secagg::roster::RosterForm;

use crate::link::{Kind, Link};
use crate::server::ServerFigures;
use crate::settings::Settings;

/// The steps of a client that are timed.
pub(crate) const STEPS: [&str; 6] = ["advertise", "share", "open_shares", "mask", "agree", "unmask"];

/// Everybody who takes part.
pub(crate) struct Clients<'a> {
    settings: &'a Settings,
    all: Vec<Client>,
}

/// One client: what it measured, and what it is made of.
pub(crate) struct Client {
    identity: IdentityKey,
    rng: ChaCha20Rng,
    input_seed: [u8; 32],
    /// Sends no masked input.
    pub(crate) lost: bool,
    /// CPU time of each step.
    pub(crate) steps: [Duration; 6],
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

impl<'a> Clients<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(settings.seed);
        let mut fresh = || {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            seed
        };
        let mut all: Vec<Client> = (0..settings.clients)
            .map(|_| Client {
                identity: IdentityKey::from_seed(&fresh()),
                rng: ChaCha20Rng::from_seed(fresh()),
                input_seed: fresh(),
                lost: false,
                steps: [Duration::ZERO; 6],
                bytes_up: 0,
                bytes_down: 0,
            })
            .collect();
        let mut left = settings.lost;
        while left > 0 {
            let client = &mut all[rng.next_u32() as usize % settings.clients as usize];
            left -= u32::from(!client.lost);
            client.lost = true;
        }
        Self { settings, all }
    }

    /// The clients that stayed to the end.
    pub(crate) fn survivors(&self) -> impl Iterator<Item = &Client> {
        self.all.iter().filter(|client| !client.lost)
    }

    /// Goes through all stages. Gives the server's figures and its sum.
    pub(crate) fn run<R: Read, W: Write>(
        &mut self,
        link: &mut Link<R, W>,
    ) -> anyhow::Result<(ServerFigures, Vec<i64>)> {
        let settings = self.settings;
        let keyed = self.advertise(link)?;
        link.ask(Kind::Close, 0)?;
        let order = places(&self.all, &keyed);

        let mut shared = Vec::new();
        for (client, (keyed, &index)) in self.all.iter_mut().zip(keyed.into_iter().zip(&order)) {
            shared.push(client.share(link, keyed, index, settings)?);
        }
        link.ask(Kind::Close, 0)?;

        let mut masked = Vec::new();
        for (client, (shared, &index)) in self.all.iter_mut().zip(shared.into_iter().zip(&order)) {
            if !client.lost {
                masked.push((index, client.mask(link, shared, index, settings)?));
            }
        }
        link.ask(Kind::Close, 0)?;

        let mut agreed = Vec::new();
        for (client, (index, masked)) in self.all.iter_mut().filter(|client| !client.lost).zip(masked) {
            agreed.push((index, client.agree(link, masked, index)?));
        }
        link.ask(Kind::Close, 0)?;

        for (client, (index, agreed)) in self.all.iter_mut().filter(|client| !client.lost).zip(agreed) {
            client.unmask(link, agreed, index)?;
        }
        link.ask(Kind::Close, 0)?;
        let mut answer = Vec::new();
        link.receive(&mut answer)?;
        let figures = serde_json::from_slice(&answer)?;
        link.receive(&mut answer)?;
        let sum = answer.as_chunks::<8>().0.iter().map(|entry| i64::from_le_bytes(*entry)).collect();
        Ok((figures, sum))
    }

    fn advertise<R: Read, W: Write>(&mut self, link: &mut Link<R, W>) -> anyhow::Result<Vec<(Keyed, [u8; 32])>> {
        let config = &self.settings.config;
        let task_key = IdentityKey::from_seed(&[9; 32]);
        let policy = Policy {
            task_key: task_key.public(),
            model_digest: config.model_digest,
            vectors: config.vectors.clone(),
            last_round: 0,
            min_clients: 10,
            identity_root: None,
        };
        let (bytes, signature) = (config.encode(), config::sign(config, &task_key));
        let mut keyed = Vec::new();
        for client in &mut self.all {
            client.bytes_down += (bytes.len() + signature.len()) as u64;
            let Client { identity, rng, steps, .. } = client;
            let (state, message) =
                clock::timed(&mut steps[0], || client::advertise(&bytes, &signature, &policy, 0, identity, None, rng))?;
            client.send(link, 0, &message)?;
            // The roster is ordered by a hash of the whole entry, and later frames need the own place in it.
            keyed.push((state, leaf(&message)?));
        }
        Ok(keyed)
    }

    /// The sum of the survivors' inputs, computed without any masks.
    pub(crate) fn plain_sum(&self) -> Vec<i64> {
        let mut sum = vec![0; self.settings.len() as usize];
        for client in self.survivors() {
            for (sum, entry) in sum.iter_mut().zip(client.input(self.settings)) {
                *sum += i64::from(entry.cast_signed());
            }
        }
        sum
    }
}

impl Client {
    /// Small numbers of both signs.
    fn input(&self, settings: &Settings) -> Vec<u32> {
        let mut rng = ChaCha20Rng::from_seed(self.input_seed);
        (0..settings.len()).map(|_| (rng.next_u32() % 15).wrapping_sub(7)).collect()
    }

    fn send<R: Read, W: Write>(&mut self, link: &mut Link<R, W>, index: u32, bytes: &[u8]) -> anyhow::Result<()> {
        self.bytes_up += bytes.len() as u64;
        link.send(Kind::Message, index, bytes)
    }

    fn fetch<R: Read, W: Write>(&mut self, link: &mut Link<R, W>, index: u32) -> anyhow::Result<Vec<u8>> {
        let bytes = link.ask(Kind::Down, index)?;
        self.bytes_down += bytes.len() as u64;
        Ok(bytes)
    }

    fn share<R: Read, W: Write>(
        &mut self,
        link: &mut Link<R, W>,
        (keyed, _): (Keyed, [u8; 32]),
        index: u32,
        settings: &Settings,
    ) -> anyhow::Result<Shared> {
        let down = self.fetch(link, index)?;
        let (form, roster) = down.split_first().context("an empty roster")?;
        let form = if *form == 1 { RosterForm::Sparse } else { RosterForm::Complete };
        let rng = &mut self.rng;
        let (shared, message) =
            clock::timed(&mut self.steps[1], || keyed.on_roster_with(form, roster, 0, rng, settings.parameters))?;
        self.send(link, index, &message)?;
        Ok(shared)
    }

    fn mask<R: Read, W: Write>(
        &mut self,
        link: &mut Link<R, W>,
        shared: Shared,
        index: u32,
        settings: &Settings,
    ) -> anyhow::Result<Masked> {
        let down = self.fetch(link, index)?;
        let cleared = clock::timed(&mut self.steps[2], || shared.on_shares(&down, 0))?;
        let input = vec![self.input(settings)];
        let (masked, upload) = clock::timed(&mut self.steps[3], || cleared.mask(input))?;
        self.send(link, index, &upload)?;
        Ok(masked)
    }

    fn agree<R: Read, W: Write>(
        &mut self,
        link: &mut Link<R, W>,
        masked: Masked,
        index: u32,
    ) -> anyhow::Result<Agreed> {
        let down = self.fetch(link, index)?;
        let identity = &self.identity;
        let (agreed, signature) = clock::timed(&mut self.steps[4], || masked.on_survivors(&down, 0, identity))?;
        self.send(link, index, &signature)?;
        Ok(agreed)
    }

    fn unmask<R: Read, W: Write>(&mut self, link: &mut Link<R, W>, agreed: Agreed, index: u32) -> anyhow::Result<()> {
        let down = self.fetch(link, index)?;
        let reveal = clock::timed(&mut self.steps[5], || agreed.on_signatures(&down, 0))?;
        self.send(link, index, &reveal)
    }
}

/// The leaf of the roster's tree that an AdvertiseKeys becomes.
fn leaf(message: &[u8]) -> anyhow::Result<[u8; 32]> {
    // Three keys, then the hash of the configuration, which is not part of the entry, then the signature.
    let entry = [&message[..96], &message[128..192]].concat();
    Ok(scale_secagg::roster::Entry::decode(&entry)?.leaf())
}

/// Roster index of every client: the rank of its leaf.
fn places(clients: &[Client], keyed: &[(Keyed, [u8; 32])]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..clients.len()).collect();
    order.sort_unstable_by_key(|&client| keyed[client].1);
    let mut places = vec![0; clients.len()];
    for (place, client) in (0..).zip(order) {
        places[client] = place;
    }
    places
}
