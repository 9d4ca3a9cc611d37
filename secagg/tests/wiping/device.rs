//! The device in its own process. It takes care of its own copies: what is read goes where it is used, and the input is
//! read word by word.

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use rand_chacha::rand_core::{TryCryptoRng, TryRng};
use scale_secagg::client::{Answer, Event, Host, Participant};
use scale_secagg::config::RoundConfig;
use scale_secagg::error::Refusal;
use scale_secagg::keys::IdentityKey;
use scale_secagg::roster::RosterForm;

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
        participant: Some(Participant::new()),
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
    participant: Option<Participant>,
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
                self.participant = None;
                "gone".into()
            }
            b'a' => {
                self.participant.as_mut().unwrap().abort();
                "gone".into()
            }
            b'k' => {
                self.kept.push(payload);
                "kept".into()
            }
            b's' => {
                let participant = self.participant.as_mut().unwrap();
                *participant = Participant::restore(&participant.snapshot()).unwrap();
                "restored".into()
            }
            _ => match self.message(command, &payload) {
                Ok(answer) => hex::encode(answer),
                Err(refusal) => refusal.code().into(),
            },
        }
    }

    fn message(&mut self, command: u8, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
        let event = match command {
            b'0' => Event::Config { signature: &payload[..64], bytes: &payload[64..] },
            b'1' => Event::Roster { form: RosterForm::Complete, bytes: payload },
            b'3' => Event::Survivors(payload),
            b'4' => Event::Signatures(payload),
            _ => Event::Shares(payload),
        };
        let policy = crate::common::policy(&self.config);
        let mut host = Host { policy: &policy, identity: &self.identity, certificate: None, rng: &mut self.random };
        let participant = self.participant.as_mut().unwrap();
        match participant.handle(event, 0, &mut host)? {
            Answer::Send(out) => Ok(out),
            Answer::InputWanted if command == b'n' => participant.mask(None),
            Answer::InputWanted => {
                let mut lens: Vec<usize> = self.config.vectors.iter().map(|vector| vector.len as usize).collect();
                lens[1] += usize::from(command == b'w');
                let update = &mut self.update;
                participant.mask(Some(lens.iter().map(|len| words(update, *len)).collect()))
            }
        }
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
