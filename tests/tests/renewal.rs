//! An operator's keys change under an app: a token that opens nothing any more is mended by enrolling again, another task
//! key is not.

use scale_client_core::device::{Cancel, Outcome, RunOptions};
use scale_client_core::error::Error;
use scale_proto::ids::TaskId;
use scale_tests::device::RawDevice;
use scale_tests::phone;
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::small_task;
use scale_tests::trainer::Steady;

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");

#[tokio::test(flavor = "multi_thread")]
async fn another_token_key_is_mended_by_enrolling_and_another_task_key_is_not() {
    let mut coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let task: TaskId = "renewed".parse().unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    admin.create_task(task.as_str(), small_task(13, 20_000)).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let task_key = *RawDevice::enroll(coordinator.url(), 200, &token).await.unwrap().task_key();
    let client = phone::enrolled(coordinator.url(), 1, &token, &task, task_key).await.unwrap();
    let device = client.device().await.unwrap();
    let participate =
        async || client.participate(RunOptions::default(), &mut Steady, &Cancel::new(), &mut ()).await.unwrap();

    coordinator.kill().unwrap();
    coordinator.replace_secret("token_key").unwrap();
    coordinator.restart_with(&["--new-identity"]).await.unwrap();
    let Outcome::EnrollmentNeeded { code, sentence } = participate().await else { panic!("it still knows the token") };
    assert_eq!(code, "bad_token");
    assert!(sentence.contains("enroll again"), "{sentence}");
    assert!(!client.is_enrolled().await.unwrap());
    let token = coordinator.admin().await.unwrap().enroll_token().await.unwrap();
    client.enroll(&token, &Cancel::new()).await.unwrap();
    assert_eq!(client.device().await.unwrap(), device, "the same installation");
    let outcome = participate().await;
    assert!(matches!(&outcome, Outcome::Waited { code, .. } if code == "selecting"), "{outcome:?}");

    coordinator.kill().unwrap();
    coordinator.replace_secret("task_seed").unwrap();
    coordinator.restart_with(&["--new-identity"]).await.unwrap();
    let token = coordinator.admin().await.unwrap().enroll_token().await.unwrap();
    // The token is still good: to see the other key the app would have to renew it.
    let stranger = phone::client(phone::host(coordinator.url(), 2).unwrap(), &task, task_key);
    assert_eq!(stranger.enroll(&token, &Cancel::new()).await, Err(Error::TaskKeyMismatch));
    assert_eq!(stranger.device().await, Ok(None), "nothing of it is kept");
}
