//! Tokens that open nothing any more, over the wire: what a device is told, and what mends it.

use std::sync::Arc;

use scale_clock::Clock as _;
use scale_coordinator::Caller;
use scale_coordinator::auth::{Authority, Kind};
use scale_coordinator::grpc::problem;
use scale_proto::error::Remedy;
use scale_proto::ids::DeviceId;
use scale_proto::time::Timestamp;
use scale_proto::wire;
use scale_proto::wire::EnrollResponse;
use scale_proto::wire::enrollment_client::EnrollmentClient;
use scale_proto::wire::rounds_client::RoundsClient;
use scale_secagg::keys::IdentityKey;
use tonic::{Code, Request, Status};

use super::running::{HOUR, Running, bearing, check_in, code, signed_enrollment};

/// The key of the one installation here.
const SEED: u8 = 1;

async fn enroll(running: &Running, token: &str) -> Result<EnrollResponse, Status> {
    let request = wire::EnrollRequest::from(signed_enrollment(SEED, token));
    EnrollmentClient::new(running.channel().await).enroll(request).await.map(tonic::Response::into_inner)
}

/// Checks in; without an error, the coordinator has said that there is nothing to do.
async fn checks_in(running: &Running, token: Option<&str>) -> Result<(), Status> {
    let request = token.map_or_else(|| Request::new(check_in()), |token| bearing(token, check_in()));
    let answer = RoundsClient::new(running.channel().await).check_in(request).await?.into_inner();
    assert!(matches!(answer.answer, Some(wire::check_in_response::Answer::Wait(_))), "there is no task");
    Ok(())
}

/// The refusal has this code, and its remedy is to enroll, in the numbers of the wire too.
#[track_caller]
fn is_mended_by_enrolling(refused: &Status, expected: &str) {
    assert_eq!((refused.code(), code(refused).as_str()), (Code::Unauthenticated, expected));
    assert_eq!(scale_proto::status::read(refused.details()).unwrap().remedy, Remedy::Enroll);
    // Field 5 of ErrorDetail, the number 4.
    assert!(refused.details().windows(2).any(|bytes| bytes == [0x28, 4]), "{:02x?}", refused.details());
    assert!(!refused.metadata().contains_key(problem::RETRY_AFTER_MS));
}

#[tokio::test]
async fn an_expired_token_is_replaced_by_enrolling_again() {
    let running = Running::start().await;
    let first = enroll(&running, &running.token(Kind::Enroll)).await.unwrap();
    let end = first.expires_at_ms;
    assert_eq!(end, running.clock.now().plus(running.app.services.enrollment.device_ttl).as_millis());

    running.clock.set(Timestamp::from_millis(end - 1));
    checks_in(&running, Some(&first.device_token)).await.expect("the token is good until the end that was named");
    running.clock.set(Timestamp::from_millis(end));
    let refused = checks_in(&running, Some(&first.device_token)).await.unwrap_err();
    is_mended_by_enrolling(&refused, "expired_token");

    let again = enroll(&running, &running.token(Kind::Enroll)).await.unwrap();
    assert_eq!((&again.device_id, &again.task_key), (&first.device_id, &first.task_key), "the same device");
    assert!(again.expires_at_ms > end);
    checks_in(&running, Some(&again.device_token)).await.unwrap();
}

#[tokio::test]
async fn after_a_change_of_the_token_key_the_same_device_enrolls_again() {
    let before = Running::start().await;
    let enroll_token = before.token(Kind::Enroll);
    let first = enroll(&before, &enroll_token).await.unwrap();
    checks_in(&before, Some(&first.device_token)).await.unwrap();

    let after = before
        .restarted(|app| {
            app.services.authority = Arc::new(Authority::new(&[77; 32]));
            app.services.enrollment.authority = app.services.authority.clone();
        })
        .await;
    let refused = checks_in(&after, Some(&first.device_token)).await.unwrap_err();
    is_mended_by_enrolling(&refused, "bad_token");
    // Enrollment tokens of before are refused as well: the app needs one that was minted since.
    is_mended_by_enrolling(&enroll(&after, &enroll_token).await.unwrap_err(), "bad_token");

    let again = enroll(&after, &after.token(Kind::Enroll)).await.unwrap();
    assert_eq!((&again.device_id, &again.task_key), (&first.device_id, &first.task_key), "the same device");
    checks_in(&after, Some(&again.device_token)).await.unwrap();
}

#[tokio::test]
async fn without_a_token_the_remedy_is_to_enroll() {
    let running = Running::start().await;
    is_mended_by_enrolling(&checks_in(&running, None).await.unwrap_err(), "missing_token");
    // A token of another kind is the app's mistake, and no further token mends that.
    let refused = checks_in(&running, Some(&running.token(Kind::Enroll))).await.unwrap_err();
    assert_eq!(code(&refused), "wrong_kind");
    assert_eq!(scale_proto::status::read(refused.details()).unwrap().remedy, Remedy::Leave);
}

/// Enrolling goes through, and says which key it is now: only the device, which has the pinned one, can refuse it.
#[tokio::test]
async fn a_changed_task_key_is_in_the_answer_and_is_no_refusal() {
    let before = Running::start().await;
    let first = enroll(&before, &before.token(Kind::Enroll)).await.unwrap();
    let after = before.restarted(|app| app.services.enrollment.task_key = [9; 32]).await;
    checks_in(&after, Some(&first.device_token)).await.expect("its token is good");
    let again = enroll(&after, &after.token(Kind::Enroll)).await.unwrap();
    assert_eq!(again.device_id, first.device_id);
    assert_ne!(again.task_key, first.task_key);
}

/// Tokens hold all that a call needs: a coordinator that has lost its rows and still has its secrets serves the device. When
/// it enrolls again, its key gets another id.
#[tokio::test]
async fn a_device_without_a_row_is_served_and_enrolls_under_another_id() {
    let running = Running::start().await;
    let lost =
        Caller { device: DeviceId::from_random([5; 16]), identity_key: IdentityKey::from_seed(&[SEED; 32]).public() };
    let token = running.app.services.authority.mint_device(lost, HOUR, running.clock.now()).token;
    checks_in(&running, Some(&token)).await.unwrap();
    let again = enroll(&running, &running.token(Kind::Enroll)).await.unwrap();
    assert_ne!(*again.device_id, *lost.device.as_bytes());
    checks_in(&running, Some(&again.device_token)).await.unwrap();
}
