//! Lies that no roster and no set can tell: what a device downloads, what it remembers, what its host may loosen.

use bytes::Bytes;
use scale_client_core::device::{Event, Guardrails};
use scale_client_core::download::ModelFile;
use scale_proto::answer::{CheckInAnswer, StageDown};
use scale_proto::ids::{Digest, SessionId};
use scale_proto::manifest::Manifest;
use scale_secagg::config::Mechanism;
use scale_secagg::roster::RosterForm;
use scale_tests::liar::device::Device;
use scale_tests::liar::setting::{self, START_MS};
use scale_tests::liar::{Crew, Habits, Liar, Message, Victim as _};

fn word(result: Result<Option<Bytes>, scale_tests::liar::victim::Refused>) -> (String, String) {
    let refused = result.expect_err("a lie");
    (refused.check, refused.code)
}

/// The digest is compared with the bytes that are trained on, not with what some cache says they are (C02).
#[test]
fn a_file_that_carries_its_own_digest_is_not_the_signed_one() {
    let liar = Liar::new(Crew::Device, 0, 0, Habits::default());
    let mut device = Device::new(1, Habits::default());
    device
        .happen(Event::CheckedIn(CheckInAnswer::Manifest(liar.true_offer().manifest())), START_MS)
        .expect("a true manifest");
    let other = setting::model_of(0.5);
    let digest = Digest::of(&other);
    let file = ModelFile::verify(other, digest).expect("its own digest");
    assert_eq!(word(device.happen(Event::Downloaded(file), START_MS)), ("C02".into(), "model_digest".into()));
}

/// The plan is signed through its digest: other epochs, another model or another weight limit do not pass.
#[test]
fn another_plan_than_the_signed_one() {
    let liar = Liar::new(Crew::Device, 0, 0, Habits::default());
    let mut plan = setting::plan();
    plan.epochs = 100;
    let lie = Manifest { plan: plan.encode(), ..liar.true_offer().manifest() };
    let mut device = Device::new(1, Habits::default());
    let refused = device.happen(Event::CheckedIn(CheckInAnswer::Manifest(lie)), START_MS);
    assert_eq!(word(refused), (String::new(), "plan_digest".into()));
}

/// Noise is paid for at its true price, which the device works out itself (C05, C14).
#[test]
fn noise_that_costs_more_than_it_says() {
    let mut liar = Liar::new(Crew::Device, 0, 0, Habits::default());
    liar.config.mechanism = Mechanism::DistributedGaussian { local_variance: 4, n_honest: 8, rho: 1 };
    liar.config.wire_bits = 32;
    let mut device = Device::new(1, Habits::default());
    let refused = device.happen(Event::CheckedIn(CheckInAnswer::Manifest(liar.true_offer().manifest())), START_MS);
    assert_eq!(word(refused), ("C05".into(), "understated_cost".into()));
}

/// A round that has been left stays left: its number is remembered before the first key goes out (C03, C24).
#[test]
fn a_round_that_was_left_is_not_joined_again() {
    let mut liar = Liar::new(Crew::Device, 12, 0, Habits::default());
    let shown = super::rosters::begin(&mut liar);
    let offer = liar.true_offer();
    liar.all().for_each(|victim| liar.share(victim, &shown));
    // Everybody starts again, as after a crash of the app, and is offered the same round.
    liar.all().for_each(|victim| liar.offer(victim, &offer));
    let report = liar.finish();
    assert_eq!(report.refusals.len(), 12);
    assert!(report.refusals.iter().all(|refusal| refusal.why.check == "C03"), "{:?}", report.refusals);
    assert!(report.leaks.is_empty(), "{:?}", report.leaks);
}

/// A message for another session than the one that the device is in.
#[test]
fn another_sessions_message() {
    let mut liar = Liar::new(Crew::Device, 1, 9, Habits::default());
    liar.advertise();
    let shown = liar.roster();
    let mut device = Device::new(0, Habits::default());
    device.offer(&liar.true_offer(), START_MS).expect("a true offer");
    // Its twin in the liar's hands has the same keys: the roster fits both.
    let (_, roster) = shown.message(0);
    let down = |session: SessionId, stage: u8, payload: &[u8]| {
        let payload = Bytes::copy_from_slice(payload);
        let roster = (stage == 1).then_some(RosterForm::Complete);
        Event::Down(StageDown { session, stage, payload, roster })
    };
    let (first, other) = (scale_client_core::testing::session(), SessionId::from_random([66; 16]));
    device.happen(down(first, 1, &roster), START_MS).expect("the true roster");
    let refused = device.happen(down(other, 2, &[0; 722]), START_MS);
    assert_eq!(word(refused), ("C22".into(), "stage_order".into()));
}

/// The host app can only tighten: whatever it sets, the compiled limits stand.
#[test]
fn a_careless_host_loosens_nothing() {
    let careless = Guardrails {
        cohort_min: 1,
        rounds_per_day: u32::MAX,
        training: std::time::Duration::MAX,
        model_bytes: u64::MAX,
        upload_bytes: u64::MAX,
        ..Guardrails::default()
    };
    assert_eq!(careless.tightened(), Guardrails::default());
    for cohort_min in 0..=10 {
        let mut liar = Liar::new(Crew::Device, 12, 0, Habits { cohort_min, ..Habits::default() });
        (liar.config.n_lo, liar.config.u3_min) = (9, 9);
        let offer = liar.true_offer();
        liar.all().for_each(|victim| liar.offer(victim, &offer));
        let report = liar.finish();
        assert!(
            report.refusals.len() == 12 && report.refusals.iter().all(|one| one.why.check == "C04"),
            "{cohort_min}"
        );
    }
}

/// All that leaves a device in a session are the five messages of the protocol, each of the length that it has to have:
/// no weight, no count of examples and no metric travels beside the masked input.
#[test]
fn nothing_leaves_the_device_beside_the_protocol() {
    let mut liar = Liar::new(Crew::Device, 1, 9, Habits::default());
    let mut device = Device::new(0, Habits::default());
    let offer = liar.true_offer();
    liar.advertise();
    // A twin of victim 0 in this test's own hands: same keys, same messages.
    device.offer(&offer, START_MS).expect("a true offer");
    let shown = liar.roster();
    liar.share(0, &shown);
    let sharers = liar.sharers(&shown);
    let (form, roster) = shown.message(liar.place(0));
    let shares = liar.sealed_for(0, &sharers).expect("shared");
    liar.collect(0, &sharers);
    liar.agree(0, &sharers);
    let signatures = liar.signatures_for(0);
    let signatures: Vec<u8> =
        signatures.iter().flat_map(|(index, signature)| [&index.to_le_bytes()[..], signature].concat()).collect();
    for message in [
        Message::Roster { form, bytes: &roster },
        Message::Shares(&shares),
        Message::Survivors(sharers.as_bytes()),
        Message::Signatures(&signatures),
    ] {
        device.handle(message, START_MS).expect("the truth");
    }
    let k = 9;
    let sent: Vec<(u8, usize)> = device.sent().iter().map(|sent| (sent.stage, sent.payload.len())).collect();
    let masked_input = liar.config.masked_input_len() as usize;
    assert_eq!(sent, [(0, 192), (1, 80 * k + 32), (2, masked_input), (3, 64), (4, 32 * k)]);
}
