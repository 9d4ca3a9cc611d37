//! 11: one transcript per refusal, of a device and of the server.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use scale_secagg::config::{Policy, RoundConfig};
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::graph::Members;
use scale_secagg::keys::IdentityKey;
use scale_secagg::roster::RosterForm;
use scale_secagg::server::{Closed, Receipt, Session};
use serde_json::Value;

use crate::common::{self, Message, State};
use crate::support::{Refused, load, parse};
use crate::transcript::{array, bytes, is_bad, list, number, policy, small, text, vectors};

struct Device {
    device: common::Device,
    policy: Policy,
    ledger_allows: bool,
}

impl Device {
    fn new(case: &Value) -> Self {
        let identity = IdentityKey::from_seed(&array(&case["client"]["id_seed"]));
        let rng = ChaCha20Rng::from_seed(array(&case["client"]["rng_seed"]));
        Self {
            device: common::Device::with(identity, rng, vectors(&case["x"])),
            policy: policy(&case["policy"]),
            ledger_allows: case["policy"]["ledger_allows"].as_bool().unwrap(),
        }
    }

    /// `None`: the states have no such step.
    fn take(&mut self, step: &Value) -> Option<Result<Vec<u8>, Refusal>> {
        let bytes = bytes(&step["in"]);
        let message = match number(&step["stage"]) {
            0 => {
                let (bytes, signature) = bytes.split_at(bytes.len() - 64);
                Message::Config { bytes, signature }
            }
            1 if step["form"] == "sparse" => Message::Roster { form: RosterForm::Sparse, bytes: &bytes },
            1 => Message::Roster { form: RosterForm::Complete, bytes: &bytes },
            2 => Message::Shares(&bytes),
            3 => Message::Survivors(&bytes),
            4 => Message::Signatures(&bytes),
            stage => panic!("stage {stage}"),
        };
        self.device.now_ms = number(&step["now"]);
        let sent = self.device.take(&self.policy, message)?;
        if !matches!(self.device.state, State::Cleared(_)) {
            return Some(sent);
        }
        if !self.ledger_allows {
            // What a device does then; the word is the protocol's.
            self.device.state = State::Over;
            return Some(Err(Refusal::by(scale_secagg::check::Check::C14, Reason::Ledger)));
        }
        Some(self.device.state.mask(self.device.input.clone()))
    }
}

/// Refusals that no state can give, because it has no such step: the device's machine keeps the order.
fn is_out_of_turn(refused: &Refused) -> bool {
    let order = [("stage_order", "C22"), ("second_input", "C15"), ("second_statement", "C19")];
    order.contains(&(&*refused.reason, refused.check.as_deref().unwrap_or_default()))
}

fn stage(step: &Value) -> u8 {
    number(&step["stage"]) as u8
}

known_answers! {
    fn devices_refuse_what_a_lying_server_sends() {
        let (mut good, mut bad, mut out_of_turn, mut again) = (0, 0, 0, 0);
        for case in list(&load("11_client_refusals")["cases"]) {
            let name = text(&case["name"]);
            let mut device = Device::new(case);
            let steps = list(&case["steps"]);
            let (last, before) = steps.split_last().unwrap();
            let mut previous = None;
            for step in steps.iter().take(if is_bad(case) { before.len() } else { steps.len() }) {
                let out = text(&step["out"]);
                match device.take(step) {
                    Some(sent) => assert_eq!(hex::encode(sent.expect(name)), out, "{name}"),
                    // The same message gets the same bytes: they are kept where the order is, with the machine.
                    None => {
                        assert_eq!(previous, Some((&step["in"], out)), "{name}");
                        again += 1;
                    }
                }
                previous = Some((&step["in"], out));
            }
            if !is_bad(case) {
                good += 1;
                continue;
            }
            let refused = parse::<Refused>(&last["refused"], name);
            match device.take(last) {
                Some(result) => {
                    assert!(!is_out_of_turn(&refused), "{name}");
                    refused.assert_is(result, name);
                    // A refusal is final: nothing is left to answer with, not even to the message before.
                    assert!(device.device.state.is_over(), "{name}");
                    assert!(steps.iter().all(|step| device.take(step).is_none()), "{name}");
                }
                None => {
                    assert!(is_out_of_turn(&refused), "{name}: {refused:?}");
                    out_of_turn += 1;
                }
            }
            bad += 1;
        }
        assert!(good >= 5 && bad >= 75, "{good} good, {bad} bad");
        assert_eq!((out_of_turn, again), (7, 3), "messages that the types have no step for");
    }

    /// A device that was stored and loaded before the last message refuses the same.
    fn restored_devices_refuse_the_same() {
        for case in list(&load("11_client_refusals")["cases"]).iter().filter(|case| is_bad(case)) {
            let name = text(&case["name"]);
            let mut device = Device::new(case);
            let (last, before) = list(&case["steps"]).split_last().unwrap();
            for step in before {
                device.take(step).expect(name).expect(name);
            }
            device.device.restart();
            if let Some(result) = device.take(last) {
                parse::<Refused>(&last["refused"], name).assert_is(result, name);
            }
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
