//! 11: one transcript per refusal, of a device and of the server.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use scale_secagg::client::{Answer, Event, Host, Participant};
use scale_secagg::config::{Policy, RoundConfig};
use scale_secagg::error::Refusal;
use scale_secagg::graph::Members;
use scale_secagg::keys::IdentityKey;
use scale_secagg::roster::RosterForm;
use scale_secagg::server::{Closed, Receipt, Session};
use serde_json::Value;

use crate::support::{Refused, load, parse};
use crate::transcript::{array, bytes, is_bad, list, number, policy, small, text, vectors};

struct Device {
    participant: Participant,
    identity: IdentityKey,
    policy: Policy,
    ledger_allows: bool,
    rng: ChaCha20Rng,
    input: Vec<Vec<u32>>,
}

impl Device {
    fn new(case: &Value) -> Self {
        Self {
            participant: Participant::new(),
            identity: IdentityKey::from_seed(&array(&case["client"]["id_seed"])),
            policy: policy(&case["policy"]),
            ledger_allows: case["policy"]["ledger_allows"].as_bool().unwrap(),
            rng: ChaCha20Rng::from_seed(array(&case["client"]["rng_seed"])),
            input: vectors(&case["x"]),
        }
    }

    fn take(&mut self, step: &Value) -> Result<Vec<u8>, Refusal> {
        let message = bytes(&step["in"]);
        let event = match number(&step["stage"]) {
            0 => {
                let (bytes, signature) = message.split_at(message.len() - 64);
                Event::Config { bytes, signature }
            }
            1 if step["form"] == "sparse" => Event::Roster { form: RosterForm::Sparse, bytes: &message },
            1 => Event::Roster { form: RosterForm::Complete, bytes: &message },
            2 => Event::Shares(&message),
            3 => Event::Survivors(&message),
            4 => Event::Signatures(&message),
            stage => panic!("stage {stage}"),
        };
        let mut host = Host { policy: &self.policy, identity: &self.identity, certificate: None, rng: &mut self.rng };
        match self.participant.handle(event, number(&step["now"]), &mut host)? {
            Answer::Send(out) => Ok(out),
            Answer::InputWanted => self.participant.mask(self.ledger_allows.then(|| self.input.clone())),
        }
    }
}

fn stage(step: &Value) -> u8 {
    number(&step["stage"]) as u8
}

known_answers! {
    fn devices_refuse_what_a_lying_server_sends() {
        let (mut good, mut bad) = (0, 0);
        for case in list(&load("11_client_refusals")["cases"]) {
            let name = text(&case["name"]);
            let mut device = Device::new(case);
            let (last, before) = list(&case["steps"]).split_last().unwrap();
            for step in before {
                assert_eq!(hex::encode(device.take(step).expect(name)), text(&step["out"]), "{name}");
            }
            let result = device.take(last);
            if !is_bad(case) {
                assert_eq!(hex::encode(result.expect(name)), text(&last["out"]), "{name}");
                good += 1;
                continue;
            }
            parse::<Refused>(&last["refused"], name).assert_is(result, name);
            // A refusal is final: nothing is left to answer with, not even to the message before.
            assert!(device.participant.is_done(), "{name}");
            for step in list(&case["steps"]) {
                let refusal = device.take(step).expect_err(name);
                assert_eq!((refusal.code(), refusal.check), ("stage_order", Some("C22")), "{name}");
            }
            bad += 1;
        }
        assert!(good >= 5 && bad >= 75, "{good} good, {bad} bad");
    }

    /// A device that was stored and loaded before the last message refuses the same.
    fn restored_devices_refuse_the_same() {
        for case in list(&load("11_client_refusals")["cases"]).iter().filter(|case| is_bad(case)) {
            let name = text(&case["name"]);
            let mut device = Device::new(case);
            let (last, before) = list(&case["steps"]).split_last().unwrap();
            for step in before {
                device.take(step).expect(name);
            }
            device.participant = Participant::restore(&device.participant.snapshot()).expect(name);
            parse::<Refused>(&last["refused"], name).assert_is(device.take(last), name);
        }
    }

    fn servers_refuse_bad_messages_and_abandon_lost_sessions() {
        let (mut refused, mut abandoned, mut released) = (0, 0, 0);
        for case in list(&load("11_server_refusals")["cases"]) {
            let name = text(&case["name"]);
            let config = RoundConfig::decode(&bytes(&case["config"])).expect(name);
            let bits = config.wire_bits;
            let mut server = Session::new(config, []);
            let mut n = 0;
            for (position, step) in list(&case["steps"]).iter().enumerate() {
                let what = format!("{name}, step {position}");
                let word = step["refused"].as_str();
                if step["do"] == "receive" {
                    let result = server.receive(stage(step), step["from"].as_u64().map(|i| i as u32), &bytes(&step["in"]));
                    assert_eq!(result.map_err(|refusal| refusal.code()).err(), word, "{what}");
                    assert!(result.is_ok() || result.unwrap_err().check.is_none(), "{what}: check ids are the device's");
                    refused += u32::from(result.is_err());
                    continue;
                }
                match server.close(2) {
                    Err(refusal) => {
                        assert_eq!(Some(refusal.code()), word, "{what}");
                        assert_eq!(server.receive(0, None, &[]).map_err(|refusal| refusal.code()), Err("late"), "{what}");
                        abandoned += 1;
                    }
                    Ok(Closed::Roster { n: count, root, sid }) => {
                        n = count;
                        assert_eq!((u64::from(n), root), (number(&step["n"]), array(&step["root"])), "{what}");
                        assert_eq!(sid, array::<32>(&step["sid"]).into(), "{what}");
                    }
                    Ok(Closed::Sharers(set) | Closed::Survivors(set) | Closed::Signers(set)) => {
                        assert_eq!(set, Members::of(n, list(&step["set"]).iter().map(small)), "{what}");
                    }
                    Ok(Closed::Released(update)) => {
                        for (got, expected) in update.vectors.iter().zip(vectors(&step["sum"])) {
                            let residue = |value: &i64| (value & ((1 << bits) - 1)) as u32;
                            assert!(got.iter().map(residue).eq(expected), "{what}");
                        }
                        released += 1;
                    }
                }
            }
        }
        assert!(refused >= 30 && abandoned >= 8 && released >= 4, "{refused} {abandoned} {released}");
    }

    /// Every accepted message once more, at once: the same answer, and the session ends the same.
    fn repeated_messages_change_nothing() {
        for case in list(&load("11_server_refusals")["cases"]) {
            let name = text(&case["name"]);
            let mut server = Session::new(RoundConfig::decode(&bytes(&case["config"])).expect(name), []);
            for step in list(&case["steps"]) {
                if step["do"] == "close" {
                    assert_eq!(server.close(1).map_err(|refusal| refusal.code()).err(), step["refused"].as_str(), "{name}");
                } else if step["refused"].is_null() {
                    let (from, message) = (step["from"].as_u64().map(|i| i as u32), bytes(&step["in"]));
                    let first = server.receive(stage(step), from, &message).expect(name);
                    assert_eq!(server.receive(stage(step), from, &message), Ok(Receipt::Same), "{name}: after {first:?}");
                }
            }
        }
    }
}
