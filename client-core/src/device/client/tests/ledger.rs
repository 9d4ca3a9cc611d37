//! What a client does with its ledger's log, lock and count.

use scale_privacy::guardrails::{Caps, Limits};
use scale_privacy::ledger::Locked;

use super::*;
use crate::device::{Epsilon, Guardrails, PrivacyReport, WithoutNoise};
#[cfg(target_arch = "wasm32")]
use crate::single_thread as tokio;

/// Everybody takes part once; gives device 0's host.
async fn after_a_round(shared: &Shared, clock: &MemoryClock) -> TestHost {
    let hosts: Vec<_> = (0..COHORT).map(|number| host(shared, clock, number)).collect();
    let devices: Vec<_> = hosts.iter().cloned().enumerate().map(|(number, host)| spawn(host, number)).collect();
    for device in devices {
        assert!(contributed(&device.await.expect("no panic").expect("no error")));
    }
    hosts[0].clone()
}

async fn report(host: &TestHost) -> Result<PrivacyReport, Error> {
    client(host.clone()).privacy_report().await
}

#[tokio::test]
async fn a_locked_ledger_sends_nothing_until_the_user_resets_it() {
    let (shared, clock) = (coordinator_with(|plan| fixtures::noisy(plan, 1.5)), clock());
    let host = after_a_round(&shared, &clock).await;
    let spent = report(&host).await.expect("whole").lifetime.aggregate.at_most().expect("bounded");
    let log = host.ledger.0.bytes();
    let mut edited = log.clone();
    edited[10] ^= 1;
    let sent = shared.lock().expect("no panic").sent.len();
    for (tampered, code) in
        [(vec![], "ledger_missing"), (log[..log.len() - 1].to_vec(), "ledger_rolled_back"), (edited, "ledger_damaged")]
    {
        host.ledger.0.tamper(tampered);
        let error = client(host.clone())
            .participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ())
            .await
            .expect_err("locked");
        assert_eq!(error.code(), code);
        assert!(matches!(error, Error::LedgerLocked(_)) && error.to_string().contains("reset by the user"), "{error}");
        assert_eq!(report(&host).await.expect_err("locked").code(), code);
    }
    assert_eq!(shared.lock().expect("no panic").sent.len(), sent, "nothing was sent, and nobody was asked");

    host.ledger.0.tamper(log.clone());
    assert_eq!(client(host.clone()).reset_privacy_ledger().await, Ok(false), "there is no reason to");
    assert_eq!(report(&host).await.expect("whole").lifetime.aggregate, Epsilon::AtMost(spent));

    host.ledger.0.tamper(vec![]);
    assert_eq!(client(host.clone()).reset_privacy_ledger().await, Ok(true));
    let after = report(&host).await.expect("whole");
    assert!(!after.past_known && after.summary.contains("reset"), "{}", after.summary);
    assert_eq!(after.receipts, []);
    host.ledger.0.tamper(log);
    assert!(
        matches!(report(&host).await, Err(Error::LedgerLocked(Locked::RolledBack { .. }))),
        "the old log is no way back"
    );
}

#[tokio::test]
async fn one_holder_at_a_time() {
    let (shared, clock) = (coordinator(), clock());
    let host = host(&shared, &clock, 0);
    let device = client(host.clone());
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let held = host.ledger.hold().await.expect("free");
    let error =
        device.participate(RunOptions::default(), &mut trainer(0), &Cancel::new(), &mut ()).await.expect_err("held");
    assert_eq!(error, Error::LedgerInUse);
    assert!(error.to_string().contains("wait until it is done"), "{error}");
    assert!(shared.lock().expect("no panic").sent.is_empty());
    drop(held);
    assert!(device.privacy_report().await.is_ok());
}

#[tokio::test]
async fn stricter_limits_hold_for_ever_and_looser_ones_never() {
    let (shared, clock) = (coordinator(), clock());
    let host = host(&shared, &clock, 0);
    let under = |privacy: Limits| {
        let guardrails = Guardrails { privacy, without_noise: WithoutNoise::Refuse, ..Guardrails::default() };
        let config = ClientConfig { guardrails, ..ClientConfig::new(vec![], fixtures::task_key().public()) };
        Client::new(host.clone(), config)
    };
    let limit = async |privacy: Limits| under(privacy).privacy_report().await.map(|report| report.lifetime_limit);
    let lifetime = |aggregate| Limits { lifetime: Caps { aggregate, ..Limits::COMPILED.lifetime }, ..Limits::COMPILED };
    assert_eq!(limit(lifetime(50.0)).await.expect("whole").aggregate, Epsilon::AtMost(10.0));
    assert_eq!(limit(lifetime(3.0)).await.expect("whole").aggregate, Epsilon::AtMost(3.0));
    let records = host.ledger.0.bytes().len();
    assert_eq!(limit(lifetime(9.0)).await.expect("whole").aggregate, Epsilon::AtMost(3.0));
    assert_eq!(limit(lifetime(3.0)).await.expect("whole").aggregate, Epsilon::AtMost(3.0));
    assert_eq!(host.ledger.0.bytes().len(), records, "nothing new, nothing written");
    assert!(matches!(limit(lifetime(f64::NAN)).await, Err(Error::Ledger(_))));
}

#[tokio::test]
async fn a_report_says_what_a_person_needs() {
    let (shared, clock) = (coordinator_with(|plan| fixtures::noisy(plan, 1.5)), clock());
    let fresh = report(&host(&shared, &clock, 50)).await.expect("a new device");
    assert_eq!((fresh.receipts.len(), fresh.summary.as_str()), (0, "This device has taken part in no round."));
    let host = after_a_round(&shared, &clock).await;
    let report = report(&host).await.expect("whole");
    let [receipt] = &report.receipts[..] else { panic!("one round") };
    let note = receipt.participation.as_ref().expect("kept");
    assert_eq!((note.cohort, note.survivors_min, note.version), (12, 10, ModelVersion(1)));
    assert_eq!(note.model, Digest::of(&fixtures::file()).hex());
    let [aggregate, local] =
        [receipt.epsilon.aggregate, receipt.epsilon.local].map(|epsilon| epsilon.at_most().expect("bounded"));
    assert!(aggregate < 4.0 && local > 20.0, "both numbers: {aggregate} and {local}");
    assert_eq!(receipt.total.aggregate, report.lifetime.aggregate);
    for words in ["at most epsilon", "8 honest devices", "which is weak", "12 devices took part"] {
        assert!(receipt.sentence.contains(words), "{words}: {}", receipt.sentence);
    }
    assert_eq!((receipt.date.as_deref(), report.refills_date.as_str()), (Some("2027-01-15"), "2027-02-01"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
    assert_eq!(json["receipts"][0]["participation"]["model"], note.model);
    assert_eq!(json["receipts"][0]["protection"], "distributed");
    assert!(json["delta"] == 1e-6 && json["assumptions"].as_array().is_some_and(|all| all.len() == 4));
    assert_eq!(json["receipts"][0]["epsilon"]["example"], "no_bound");
}
