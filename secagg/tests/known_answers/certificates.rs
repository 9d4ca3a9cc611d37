//! 14: certificates of profile M, alone and in the first stages of a session; then such a session to its sum.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use scale_secagg::config::{Policy, RoundConfig};
use scale_secagg::error::{Reason, Refusal};
use scale_secagg::keys::IdentityKey;
use scale_secagg::roster::{Certificate, RosterForm, certificate_statement};
use scale_secagg::server::{Closed, Down, Receipt, Session};
use serde_json::Value;

use crate::common::{self, Message, State, opens};
use crate::support::{Refused, load, parse};
use crate::transcript::{array, bytes, is_bad, list, number, policy, small, text};

/// One device of the session.
struct Device {
    device: common::Device,
    index: u32,
    policy: Policy,
}

impl Device {
    /// The input is the own index in every entry.
    fn new(session: &Value, client: &Value) -> Self {
        let identity = IdentityKey::from_seed(&array(&client["id_seed"]));
        let rng = ChaCha20Rng::from_seed(array(&client["rng_seed"]));
        let index = small(&client["index"]);
        let mut device = common::Device::with(identity, rng, vec![vec![index; 7]]);
        device.certificate = Some(Certificate::decode(&bytes(&client["certificate"])).unwrap());
        device.now_ms = number(&session["now"]);
        Self { device, index, policy: policy(&session["policy"]) }
    }

    /// Stored and loaded before every step.
    fn handle(&mut self, message: Message<'_>) -> Result<Vec<u8>, Refusal> {
        self.device.restart();
        self.device.handle(&self.policy, message)
    }

    fn advertise(&mut self, session: &Value) -> Result<Vec<u8>, Refusal> {
        let (config, signature) = (bytes(&session["config"]), bytes(&session["config_signature"]));
        self.handle(Message::Config { bytes: &config, signature: &signature })
    }
}

fn devices(session: &Value) -> Vec<Device> {
    list(&session["clients"]).iter().map(|client| Device::new(session, client)).collect()
}

fn config(session: &Value) -> RoundConfig {
    RoundConfig::decode(&bytes(&session["config"])).unwrap()
}

fn form(case: &Value) -> RosterForm {
    match text(&case["form"]) {
        "complete" => RosterForm::Complete,
        "certified" => RosterForm::Certified,
        form => panic!("{form}"),
    }
}

known_answers! {
    fn certificates_are_issued_as_written_down() {
        for case in list(&load("14_certificates")["issued"]) {
            let root = IdentityKey::from_seed(&array(&case["root_seed"]));
            let (id_pk, not_after) = (array(&case["id_pk"]), number(&case["not_after"]));
            assert_eq!(certificate_statement(&root.public(), &id_pk, not_after), bytes(&case["statement"]));
            assert_eq!(Certificate::issue(&root, &id_pk, not_after).encode()[..], bytes(&case["certificate"]));
        }
    }

    fn certificates_are_judged() {
        let (mut good, mut bad) = (0, 0);
        for case in list(&load("14_certificates")["judged"]) {
            let name = text(&case["name"]);
            let judged = Certificate::decode(&bytes(&case["certificate"])).and_then(|certificate| {
                Ok(certificate.verify(&array(&case["root_pk"]), &array(&case["id_pk"]), number(&case["at"]))?)
            });
            if is_bad(case) {
                parse::<Refused>(&case["refused"], name).assert_is(judged, name);
                bad += 1;
            } else {
                assert_eq!(judged, Ok(()), "{name}");
                good += 1;
            }
        }
        assert!(good >= 2 && bad >= 10, "{good} good, {bad} bad");
    }

    /// Stages 0 and 1 byte for byte, then on to the exact sum; a replay of the messages comes to the same session.
    fn a_certified_session_sums_up() {
        let session = &load("14_certificates")["session"];
        let mut devices = devices(session);
        let mut server = Session::certified(config(session), []);
        let mut log = Vec::new();
        for (device, client) in devices.iter_mut().zip(list(&session["clients"])) {
            let message = device.advertise(session).unwrap();
            assert_eq!(hex::encode(&message), text(&client["advertise_keys"]));
            assert_eq!(server.receive(0, None, &message), Ok(Receipt::New));
            assert_eq!(server.receive(0, None, &message), Ok(Receipt::Same));
            log.push((0, None, message));
        }
        let n = small(&session["n"]);
        let fixed = Closed::Roster { n, root: array(&session["root"]), sid: array::<32>(&session["sid"]).into() };
        assert_eq!(server.close(1).as_ref(), Ok(&fixed));
        assert_eq!(server.message(0), Some(Down::Roster(RosterForm::Certified, bytes(&session["roster"]))));
        for stage in 1..=4 {
            for device in &mut devices {
                let down = server.message(device.index).unwrap();
                let answer = device.handle(opens(stage, &down));
                let message = answer.unwrap();
                assert_eq!(server.receive(stage, Some(device.index), &message), Ok(Receipt::New));
                log.push((stage, Some(device.index), message));
            }
            if stage < 4 {
                server.close(1).unwrap();
            }
        }
        let mut replayed = Session::certified(config(session), []);
        for (stage, sender, message) in &log {
            if replayed.stage_number() != Some(*stage) {
                replayed.close(1).unwrap();
            }
            assert_eq!(replayed.receive(*stage, *sender, message), Ok(Receipt::New));
        }
        for mut server in [server, replayed] {
            let Ok(Closed::Released(update)) = server.close(1) else { panic!("no sum") };
            assert_eq!(update.vectors, [vec![i64::from(n * (n - 1) / 2); 7]]);
        }
    }

    fn a_device_without_a_good_certificate_sends_nothing() {
        let session = &load("14_certificates")["session"];
        for case in list(&session["carriers"]) {
            let name = text(&case["name"]);
            let mut device = Device::new(session, &session["clients"][0]);
            device.policy.identity_root = Some(array(&case["identity_root"]));
            let encoded = case["certificate"].as_str().map(|hex| hex::decode(hex).unwrap());
            device.device.certificate = encoded.map(|bytes| Certificate::decode(&bytes).unwrap());
            parse::<Refused>(&case["refused"], name).assert_is(device.advertise(session), name);
            assert!(device.device.state.is_over(), "{name}");
        }
    }

    fn the_server_refuses_messages_without_a_good_certificate() {
        let session = &load("14_certificates")["session"];
        let mut server = Session::certified(config(session), []);
        for case in list(&session["messages"]) {
            let name = text(&case["name"]);
            parse::<Refused>(&case["refused"], name).assert_is(server.receive(0, None, &bytes(&case["in"])), name);
        }
        // None of them has taken the place of the device that they came from.
        let good = bytes(&session["clients"][0]["advertise_keys"]);
        assert_eq!(server.receive(0, None, &good), Ok(Receipt::New));
        let mut uncertified = Session::new(config(session), []);
        assert_eq!(uncertified.receive(0, None, &good), Err(Reason::WrongLength.into()), "not asked for");
        assert_eq!(uncertified.receive(0, None, &good[..192]), Ok(Receipt::New), "without one");
    }

    /// A renewed certificate is another message: the device has advertised already.
    fn an_identity_advertises_under_one_certificate() {
        let session = &load("14_certificates")["session"];
        let mut server = Session::certified(config(session), []);
        let good = bytes(&session["clients"][0]["advertise_keys"]);
        assert_eq!(server.receive(0, None, &good), Ok(Receipt::New));
        let root = IdentityKey::from_seed(&array(&load("14_certificates")["issued"][0]["root_seed"]));
        let renewed = Certificate::issue(&root, good.first_chunk().unwrap(), 1_000_000);
        let again = [&good[..192], &renewed.encode()].concat();
        assert_eq!(server.receive(0, None, &again), Err(Reason::DuplicateIdentity.into()));
    }

    fn devices_refuse_rosters_without_good_certificates() {
        let session = &load("14_certificates")["session"];
        let receiver = || {
            let mut device = devices(session).into_iter().find(|device| device.index == small(&session["receiver"]));
            device.as_mut().unwrap().advertise(session).unwrap();
            device.unwrap()
        };
        let good = bytes(&session["roster"]);
        receiver().handle(Message::Roster { form: RosterForm::Certified, bytes: &good }).unwrap();
        for case in list(&session["rosters"]) {
            let (name, mut device) = (text(&case["name"]), receiver());
            let message = Message::Roster { form: form(case), bytes: &bytes(&case["roster"]) };
            parse::<Refused>(&case["refused"], name).assert_is(device.handle(message), name);
            assert!(device.device.state.is_over(), "{name}");
        }
        // Without a pinned root nobody asked for certificates, and a roster with them is none of this session.
        let mut device = receiver();
        device.device.state = State::Idle;
        device.policy.identity_root = None;
        assert_eq!(device.advertise(session).unwrap().len(), 192);
        let refused = device.handle(Message::Roster { form: RosterForm::Certified, bytes: &good });
        assert_eq!(refused, Err(Refusal::by(scale_secagg::check::Check::C10, Reason::Parameters)));
    }
}
