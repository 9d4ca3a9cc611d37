//! 10: whole sessions, every byte in both directions; 12: what survivors sign.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use scale_secagg::config::Policy;
use scale_secagg::graph::{Members, survivor_statement};
use scale_secagg::keys::{self, IdentityKey, Secret};
use scale_secagg::roster::RosterForm;
use scale_secagg::server::{Closed, Down, Receipt, Session, Stage};
use serde_json::Value;

use crate::common::{self, Message, State, opens};
use crate::support::{Refused, load, parse};
use crate::transcript::{array, bytes, is_bad, list, number, policy, small, text, vectors};

/// One device of a transcript.
struct Device {
    device: common::Device,
    policy: Policy,
    /// Whether the device is stored and loaded before and after every step.
    restarts: bool,
}

impl Device {
    fn new(client: &Value, policy: Policy, restarts: bool) -> Self {
        let identity = IdentityKey::from_seed(&array(&client["id_seed"]));
        let rng = ChaCha20Rng::from_seed(array(&client["rng_seed"]));
        Self { device: common::Device::with(identity, rng, vectors(&client["x"])), policy, restarts }
    }

    fn handle(&mut self, message: Message<'_>) -> Vec<u8> {
        self.restart();
        let sent = self.device.take(&self.policy, message).expect("in order").unwrap();
        self.restart();
        if !matches!(self.device.state, State::Cleared(_)) {
            return sent;
        }
        let masked = self.device.state.mask(self.device.input.clone()).unwrap();
        self.restart();
        masked
    }

    fn restart(&mut self) {
        if self.restarts {
            self.device.restart();
        }
    }
}

/// The message must have the recorded length, hash and, where it is printed, bytes.
#[track_caller]
fn assert_message(what: &str, got: &[u8], recorded: &Value) {
    assert_eq!(got.len() as u64, number(&recorded["len"]), "{what}");
    if !recorded["hex"].is_null() {
        assert_eq!(hex::encode(got), text(&recorded["hex"]), "{what}");
    }
    assert_eq!(keys::hash(&[got]), array(&recorded["sha256"]), "{what}");
}

fn set(n: u32, value: &Value) -> Members {
    Members::of(n, list(value).iter().map(small))
}

const DOWN: [&str; 5] = ["", "roster", "shares", "survivors", "signatures"];
const UP: [&str; 5] = ["advertise_keys", "share_keys", "masked_input", "statement", "reveal"];

/// Runs devices and server together and compares every message, set and sum on the way.
fn run(name: &str, threads: usize, restarts: bool) {
    let file = load(name);
    let clients = list(&file["clients"]);
    let n = small(&file["n"]);
    let (config, signature) = (bytes(&file["config"]), bytes(&file["config_signature"]));
    let policy = policy(&file["policy"]);
    let mut devices: Vec<Device> = clients.iter().map(|client| Device::new(client, policy.clone(), restarts)).collect();
    let mut server = Session::new(scale_secagg::config::RoundConfig::decode(&config).unwrap(), []);

    let mut advertised = Vec::new();
    for (client, device) in clients.iter().zip(&mut devices) {
        let out = device.handle(Message::Config { bytes: &config, signature: &signature });
        assert_message(&format!("{name}, {}", client["index"]), &out, &client["messages"][UP[0]]);
        advertised.push(out);
    }
    for identity in list(&file["arrivals"]) {
        let position = clients.iter().position(|client| client["id_pk"] == *identity).unwrap();
        assert_eq!(server.receive(0, None, &advertised[position]), Ok(Receipt::New));
    }
    let (root, sid) = (array(&file["root"]), array::<32>(&file["sid"]).into());
    assert_eq!(server.close(threads), Ok(Closed::Roster { n, root, sid }));
    let Stage::Shares(shares) = server.stage() else { panic!("stage 1 is open") };
    assert_eq!(u64::from(shares.parameters().k), number(&file["k"]));
    assert_eq!(u64::from(shares.parameters().t), number(&file["t"]));

    for stage in 1..5 {
        for (client, device) in clients.iter().zip(&mut devices) {
            let (index, messages) = (small(&client["index"]), &client["messages"]);
            let what = format!("{name}, client {index}, stage {stage}");
            let down = server.message(index);
            let recorded = &messages[DOWN[stage]];
            let Some(down) = down else {
                assert!(recorded.is_null(), "{what}: nothing goes down");
                continue;
            };
            if !recorded.is_null() {
                let (Down::Roster(_, bytes) | Down::Bytes(bytes)) = &down;
                assert_message(&what, bytes, recorded);
            }
            let recorded = &messages[UP[stage]];
            if recorded.is_null() {
                continue;
            }
            let out = device.handle(opens(stage as u8, &down));
            assert_message(&what, &out, recorded);
            assert_eq!(server.receive(stage as u8, Some(index), &out), Ok(Receipt::New), "{what}");
            assert_eq!(server.receive(stage as u8, Some(index), &out), Ok(Receipt::Same), "{what}");
        }
        match server.close(threads).unwrap() {
            Closed::Sharers(sharers) => {
                assert_eq!(sharers, set(n, &file["u2"]));
                assert_eq!(sharers.as_bytes(), bytes(&file["bitmap_u2"]));
            }
            Closed::Survivors(survivors) => {
                assert_eq!(survivors, set(n, &file["u3"]));
                assert_eq!(survivors.as_bytes(), bytes(&file["bitmap_u3"]));
                let statement = survivor_statement(&sid, &set(n, &file["u2"]), &survivors);
                assert_eq!(statement[..], bytes(&file["statement"]));
                let bits = number(&file["config_fields"]["wire_bits"]);
                for (sum, recorded) in server.sum().unwrap().sums().iter().zip(vectors(&file["running_sum"])) {
                    let low = |word: &u32| u64::from(*word) & ((1 << bits) - 1);
                    assert!(sum.iter().map(low).eq(recorded.iter().map(low)), "{name}: running sum");
                }
            }
            Closed::Signers(signers) => assert_eq!(signers, set(n, &file["u4"])),
            Closed::Released(update) => check_sum(&file, &update.vectors),
            Closed::Roster { .. } => panic!("the roster was closed before"),
        }
    }
}

fn check_sum(file: &Value, vectors_out: &[Vec<i64>]) {
    let bits = number(&file["config_fields"]["wire_bits"]);
    let expected = vectors(&file["sum"]);
    assert_eq!(vectors_out.len(), expected.len());
    for (got, expected) in vectors_out.iter().zip(&expected) {
        let half = 1_i64 << (bits - 1);
        assert!(got.iter().all(|value| (-half..half).contains(value)));
        let residues: Vec<u32> = got.iter().map(|value| (value & ((1 << bits) - 1)) as u32).collect();
        assert_eq!(&residues, expected);
    }
    if let Some(signed) = file["sum_signed"].as_array() {
        for (got, signed) in vectors_out.iter().zip(signed) {
            assert!(got.iter().copied().eq(list(signed).iter().map(|value| value.as_i64().unwrap())));
        }
    }
}

known_answers! {
    fn sessions_on_complete_graphs() {
        for name in ["10_session_n10", "10_session_n12", "10_session_n13", "10_session_n50"] {
            run(name, 1, false);
        }
    }

    fn sessions_on_sparse_graphs() {
        for name in ["10_session_n140", "10_session_n300"] {
            run(name, 2, false);
        }
    }

    fn devices_that_restart_after_every_step_say_the_same() {
        for name in ["10_session_n12", "10_session_n13", "10_session_n140"] {
            run(name, 3, true);
        }
    }

    /// Each printed device alone, fed what was recorded.
    fn devices_alone_answer_recorded_messages() {
        let mut answered = 0;
        for name in ["10_session_n10", "10_session_n12", "10_session_n50", "10_session_n140", "10_session_n300"] {
            let file = load(name);
            let (config, signature) = (bytes(&file["config"]), bytes(&file["config_signature"]));
            let form = if file["graph"] == "sparse" { RosterForm::Sparse } else { RosterForm::Complete };
            for client in list(&file["clients"]).iter().filter(|client| client["shown"] == true) {
                let messages = &client["messages"];
                let mut device = Device::new(client, policy(&file["policy"]), false);
                let out = device.handle(Message::Config { bytes: &config, signature: &signature });
                assert_message(name, &out, &messages[UP[0]]);
                for stage in 1..5 {
                    let mut down = &messages[DOWN[stage]];
                    if stage == 1 && form == RosterForm::Complete {
                        // Printed for client 0 only: it is the same for all.
                        down = &file["clients"][0]["messages"]["roster"];
                    }
                    if down["hex"].is_null() || messages[UP[stage]].is_null() {
                        break;
                    }
                    let down = match stage {
                        1 => Down::Roster(form, bytes(&down["hex"])),
                        _ => Down::Bytes(bytes(&down["hex"])),
                    };
                    let out = device.handle(opens(stage as u8, &down));
                    assert_message(&format!("{name}, client {}, stage {stage}", client["index"]), &out, &messages[UP[stage]]);
                    answered += 1;
                }
            }
        }
        assert!(answered > 80, "{answered} messages answered");
    }

    fn bitmaps_decode_strictly() {
        for case in list(&load("12_statements")["bitmaps"]) {
            let (name, n, bitmap) = (text(&case["name"]), small(&case["n"]), bytes(&case["bitmap"]));
            let decoded = Members::decode(n, &bitmap);
            if is_bad(case) {
                parse::<Refused>(&case["refused"], name).assert_is(decoded, name);
                continue;
            }
            let decoded = decoded.unwrap();
            let absent: Vec<u32> = case["absent"].as_array().unwrap().iter().map(small).collect();
            assert!(decoded.iter().eq((0..n).filter(|i| !absent.contains(i))), "{name}");
            assert_eq!(Members::of(n, decoded.iter()).as_bytes(), bitmap, "{name}");
            assert_eq!(decoded.digest(), array(&case["sha256"]), "{name}");
        }
    }

    fn statements_and_their_signatures() {
        let mut refused = 0;
        for case in list(&load("12_statements")["cases"]) {
            let name = text(&case["name"]);
            let bitmap = |key: &str| bytes(&case[key]);
            // Sizes are in the name: n10, bad_n13_zero.
            let n = name.split('_').find_map(|part| part.strip_prefix('n')?.parse().ok()).unwrap();
            let u2 = Members::decode(n, &bitmap("bitmap_u2")).unwrap();
            let u3 = Members::decode(n, &bitmap("bitmap_u3")).unwrap();
            let statement = survivor_statement(&array::<32>(&case["sid"]).into(), &u2, &u3);
            let valid = keys::verify(&array(&case["id_pk"]), &statement, &bitmap("signature"));
            assert_eq!(valid, !is_bad(case), "{name}");
            if is_bad(case) {
                refused += 1;
                continue;
            }
            assert_eq!(statement[..], bitmap("statement"), "{name}");
            let identity = IdentityKey::from_seed(&array(&case["id_seed"]));
            assert_eq!(identity.sign(&statement)[..], bitmap("signature"), "{name}");
        }
        assert!(refused >= 20, "{refused} bad signatures");
    }

    fn ed25519_and_commitments() {
        let file = load("12_statements");
        for case in list(&file["rfc8032"]) {
            let identity = IdentityKey::from_seed(&array(&case["seed"]));
            assert_eq!(identity.public(), array(&case["pk"]));
            assert_eq!(identity.sign(&bytes(&case["message"])), array(&case["signature"]));
        }
        for case in list(&file["commitments"]) {
            let b = Secret::from_canonical(&bytes(&case["b"])).unwrap();
            let com = keys::commitment(&array::<32>(&case["sid"]).into(), &array(&case["id_pk"]), &b);
            assert_eq!(com, array(&case["com"]));
        }
    }
}
