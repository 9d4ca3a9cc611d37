//! The device in its own process. It takes care of its own copies: what is read goes where it is used, and the input is
//! read word by word.

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use rand_chacha::rand_core::{TryCryptoRng, TryRng};
use scale_secagg::config::RoundConfig;
use scale_secagg::error::Refusal;
use scale_secagg::keys::IdentityKey;
use scale_secagg::roster::RosterForm;

use crate::common::{Host, Message, State};

/// The randomness of a device's system, which hands it out straight into the buffer that asks.
struct System(File);

impl TryRng for System {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.try_fill_bytes(&mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.try_fill_bytes(&mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.read_exact(out).expect("enough randomness");
        Ok(())
    }
}

impl TryCryptoRng for System {}

/// Not a test of its own: the process that [`super::Process`] starts. Without its variable it does nothing.
#[test]
fn run() {
    let Ok(folder) = std::env::var(super::CHILD) else { return };
    let open = |name: &str| File::open(format!("{folder}/{name}")).unwrap();
    let mut device = Device {
        state: State::Idle,
        identity: IdentityKey::from_seed(&super::secrets::IDENTITY),
        config: super::config(),
        random: System(open("random")),
        update: open("update"),
        kept: Vec::new(),
    };
    // Standard input without the library's buffer.
    let mut commands = File::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    say("ready");
    loop {
        let mut head = [0; 5];
        if commands.read_exact(&mut head).is_err() {
            return;
        }
        let mut payload = vec![0; u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize];
        commands.read_exact(&mut payload).unwrap();
        say(&device.obey(head[0], payload));
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "> {line}").and_then(|()| out.flush()).unwrap();
}

struct Device {
    state: State,
    identity: IdentityKey,
    config: RoundConfig,
    random: System,
    update: File,
    kept: Vec<Vec<u8>>,
}

impl Device {
    fn obey(&mut self, command: u8, payload: Vec<u8>) -> String {
        match command {
            b'd' => {
                self.state = State::Over;
                "gone".into()
            }
            b'k' => {
                self.kept.push(payload);
                "kept".into()
            }
            b's' => {
                self.state = self.state.restored();
                "restored".into()
            }
            b'n' => {
                // As a device does whose privacy ledger does not allow the round.
                self.take(command, &payload).expect("good shares");
                self.state = State::Over;
                "gone".into()
            }
            _ => match self.message(command, &payload) {
                Ok(answer) => hex::encode(answer),
                Err(refusal) => refusal.code().into(),
            },
        }
    }

    fn take(&mut self, command: u8, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
        let message = match command {
            b'0' => Message::Config { signature: &payload[..64], bytes: &payload[64..] },
            b'1' => Message::Roster { form: RosterForm::Complete, bytes: payload },
            b'3' => Message::Survivors(payload),
            b'4' => Message::Signatures(payload),
            _ => Message::Shares(payload),
        };
        let policy = crate::common::policy(&self.config);
        let rng = &mut self.random;
        let mut host = Host { policy: &policy, now_ms: 0, identity: &self.identity, certificate: None, rng };
        self.state.take(message, &mut host).expect("in order")
    }

    fn message(&mut self, command: u8, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
        let answer = self.take(command, payload)?;
        if !matches!(self.state, State::Cleared(_)) {
            return Ok(answer);
        }
        let mut lens: Vec<usize> = self.config.vectors.iter().map(|vector| vector.len as usize).collect();
        lens[1] += usize::from(command == b'w');
        let update = &mut self.update;
        self.state.mask(lens.iter().map(|len| words(update, *len)).collect())
    }
}

fn words(file: &mut File, count: usize) -> Vec<u32> {
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        let mut word = [0; 4];
        file.read_exact(&mut word).unwrap();
        out.push(u32::from_le_bytes(word));
    }
    out
}
