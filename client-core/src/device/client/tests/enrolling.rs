//! An installation's token: which key it trusts, when it is renewed, and what a refusal of it means.

use super::*;
use crate::device::enrollment::Enrollment;
#[cfg(target_arch = "wasm32")]
use crate::single_thread as tokio;

#[tokio::test]
async fn another_task_key_is_refused_at_enrollment() {
    let (shared, clock) = (coordinator(), clock());
    let device = Client::new(host(&shared, &clock, 0), ClientConfig::new(vec![], [3; 32]));
    assert_eq!(device.enroll("token", &Cancel::new()).await, Err(Error::TaskKeyMismatch));
    assert_eq!(device.device().await, Ok(None), "nothing is kept");
}

/// A token that opens nothing any more: the round stays, and goes on once the app has enrolled again with the same key.
#[tokio::test]
async fn a_refused_token_is_renewed_and_the_round_goes_on() {
    let (shared, clock) = (coordinator(), clock());
    let device = client(host(&shared, &clock, 0));
    let id = device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let refusal =
        |code: &str| Some(Problem { code: code.into(), sentence: "enroll again".into(), remedy: Remedy::Enroll });
    for code in ["expired_token", "bad_token"] {
        shared.lock().expect("no panic").link.refusal = refusal(code);
        let outcome = participate(&device).await;
        assert_eq!(outcome, Outcome::EnrollmentNeeded { code: code.into(), sentence: "enroll again".into() });
        assert_eq!(device.is_enrolled().await, Ok(false));
        assert!(device.host().store.0.keys().contains(&"round".to_owned()), "the round is kept");
        shared.lock().expect("no panic").link.refusal = None;
        assert_eq!(device.enroll("another", &Cancel::new()).await, Ok(id), "the same key, the same device");
        assert_eq!(device.is_enrolled().await, Ok(true));
    }
    assert!(shared.lock().expect("no panic").left.is_empty(), "it has never left");
    let others: Vec<_> = (1..COHORT).map(|number| spawn(host(&shared, &clock, number), number)).collect();
    assert!(contributed(&participate(&device).await));
    for other in others {
        assert!(contributed(&other.await.expect("no panic").expect("no error")));
    }
}

/// A token near its end is renewed when the app brings an enrollment token, and not before.
#[tokio::test]
async fn a_token_is_renewed_near_its_end() {
    let day = Duration::from_secs(24 * 60 * 60);
    let now = Timestamp::from_millis(fixtures::START_MS);
    let enrollment = |expires_at: Option<Timestamp>, refused: Option<&str>| Enrollment {
        device: scale_proto::ids::DeviceId::from_random([1; 16]),
        token: "token".into(),
        expires_at,
        refused: refused.map(str::to_owned),
    };
    for (name, enrollment, renews) in [
        ("an older coordinator says no end", enrollment(None, None), false),
        ("a year", enrollment(Some(now.plus(365 * day)), None), false),
        ("31 days", enrollment(Some(now.plus(31 * day)), None), false),
        ("29 days", enrollment(Some(now.plus(29 * day)), None), true),
        ("over", enrollment(Some(Timestamp::from_millis(5)), None), true),
        ("refused", enrollment(Some(now.plus(365 * day)), Some("bad_token")), true),
    ] {
        assert_eq!(enrollment.needs_renewal(now), renews, "{name}");
    }
}

/// An answer that comes late refuses the token that it was about, and not the one that has replaced it.
#[tokio::test]
async fn a_fresh_token_is_not_marked_as_refused() {
    let (shared, clock) = (coordinator(), clock());
    let host = host(&shared, &clock, 0);
    let device = client(host.clone());
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let mut old = Enrollment::load(&host).await.expect("memory").expect("enrolled");
    old.token = "an older token".into();
    old.mark_refused(&host, "bad_token").await.expect("memory");
    assert_eq!(device.is_enrolled().await, Ok(true));
    let current = Enrollment::load(&host).await.expect("memory").expect("enrolled");
    current.mark_refused(&host, "bad_token").await.expect("memory");
    assert_eq!(device.is_enrolled().await, Ok(false));
}
