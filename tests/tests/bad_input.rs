//! Whatever comes in wrong is refused at the edge: a stable code, a readable sentence, and nothing changed.

use bytes::Bytes;
use futures::future::try_join_all;
use scale_proto::{PROTOCOL, wire};
use scale_tests::device::{Joined, RawDevice, code};
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::{small_model, small_task};
use tonic::{Code, Status};

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");

/// A coordinator with a task, and `count` devices that hold a manifest of its open round.
async fn joined(task: &str, count: u8, selected: u32) -> (CoordinatorProcess, Vec<RawDevice>, Vec<Joined>) {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    admin.create_task(task, small_task(selected, 15_000)).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let enrolled = (0..count).map(|number| RawDevice::enroll(coordinator.url(), number + 1, &token));
    let mut devices = try_join_all(enrolled).await.unwrap();
    let joined = try_join_all(devices.iter_mut().take(selected as usize).map(RawDevice::join)).await.unwrap();
    (coordinator, devices, joined)
}

/// A refusal has a code from the list, a sentence that a person can read, and the detail in its bytes.
#[track_caller]
fn refused(status: Status, expected: &str, class: Code) {
    assert_eq!(code(&status), expected, "{status}");
    assert_eq!(status.code(), class, "{status}");
    let sentence = status.message();
    assert!(sentence.len() > 15 && sentence.contains(' '), "{sentence:?} is no sentence");
    let detail = scale_proto::status::read(status.details()).unwrap();
    assert_eq!(detail.code, expected);
}

fn stage(handle: &Bytes, payload: Bytes) -> wire::StageRequest {
    wire::StageRequest { protocol: PROTOCOL, handle: handle.clone(), payload }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_protocol_versions() {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    let enroll = admin.enroll_token().await.unwrap();
    let device = RawDevice::enroll(coordinator.url(), 1, &enroll).await.unwrap();
    let check_in = wire::CheckInRequest { protocol: PROTOCOL, tasks: vec![], model_families: vec![] };

    let missing = device.rounds().check_in(check_in.clone()).await.unwrap_err();
    refused(missing, "missing_token", Code::Unauthenticated);
    let mut wrong = device.token().to_owned();
    let last = if wrong.ends_with('A') { 'B' } else { 'A' };
    wrong.replace_range(wrong.len() - 1.., &last.to_string());
    for (token, expected) in [(wrong.as_str(), "bad_token"), ("nonsense", "bad_token"), (enroll.as_str(), "wrong_kind")]
    {
        let request = scale_tests::process::with_token(check_in.clone(), token);
        let status = device.rounds().check_in(request).await.unwrap_err();
        assert!(matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied), "{status}");
        assert_eq!(code(&status), expected);
    }
    let request = device.request(wire::ListTasksRequest {});
    let status = admin.client().list_tasks(request).await.unwrap_err();
    assert_eq!(code(&status), "wrong_kind", "a device is no operator");

    let future = wire::CheckInRequest { protocol: 99, ..check_in };
    let status = device.rounds().check_in(device.request(future)).await.unwrap_err();
    assert_eq!(code(&status), "unsupported_protocol", "{status}");
    let forged = RawDevice::enroll(coordinator.url(), 2, "scale_enroll_forged.AAAA").await.err().unwrap();
    assert_eq!(code(forged.downcast_ref().unwrap()), "bad_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_models_that_cannot_be() {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    let mut under = small_task(12, 1000);
    under.cohort.as_mut().unwrap().floor = 9;
    let status = admin.create_task("under", under).await.unwrap_err();
    refused(status.clone(), "invalid_argument", Code::InvalidArgument);
    assert!(status.message().contains("10"), "the sentence names the floor: {}", status.message());

    for name in ["", "Upper", "a/b", "../up", &"x".repeat(65)] {
        let status = admin.create_task(name, small_task(12, 1000)).await.unwrap_err();
        refused(status, "invalid_argument", Code::InvalidArgument);
    }
    let file = |fingerprint: &str, value: f32| {
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = small_model()
            .tensors()
            .into_iter()
            .map(|tensor| {
                let bytes = (0..tensor.len()).flat_map(|_| value.to_le_bytes()).collect();
                (tensor.name, tensor.shape.iter().map(|&side| side as usize).collect(), bytes)
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
        });
        let metadata = [("fingerprint".to_owned(), fingerprint.to_owned())].into();
        safetensors::serialize(views, Some(metadata)).unwrap()
    };
    let own = small_model().fingerprint().hex();
    for (initial, expected) in [
        (file(&own, f32::NAN), "not_finite"),
        (file(&own, f32::INFINITY), "not_finite"),
        (file(&"ab".repeat(32), 0.5), "fingerprint_mismatch"),
        (b"no model".to_vec(), "bad_model_file"),
    ] {
        let request = wire::CreateTaskRequest {
            task: "imported".to_owned(),
            config: Some(small_task(12, 1000)),
            initial_model: initial.into(),
        };
        let request = admin.request(request);
        let status = admin.client().create_task(request).await.unwrap_err();
        refused(status, expected, Code::InvalidArgument);
    }
    let request = admin.request(wire::ListTasksRequest {});
    let tasks = admin.client().list_tasks(request).await.unwrap().into_inner().tasks;
    assert!(tasks.is_empty(), "a refused task leaves nothing behind");
    admin.create_task("once", small_task(12, 1000)).await.unwrap();
    let status = admin.create_task("once", small_task(12, 1000)).await.unwrap_err();
    assert_eq!(code(&status), "task_exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_out_of_order_and_second_messages() {
    let (coordinator, mut devices, mut joined) = joined("order", 13, 12).await;
    let stranger = devices.pop().unwrap();

    // No session yet; somebody else's round; another device's keys.
    let unknown = stage(&Bytes::from_static(&[7; 16]), Bytes::from_static(&[0; 64]));
    let status = devices[0].rounds().share_keys(devices[0].request(unknown.clone())).await.unwrap_err();
    refused(status, "unknown_session", Code::NotFound);
    let message = stage(&joined[0].manifest.round_id, joined[0].up.clone());
    let status = stranger.rounds().advertise_keys(stranger.request(message.clone())).await.unwrap_err();
    refused(status, "not_participant", Code::PermissionDenied);
    let status = devices[1].rounds().advertise_keys(devices[1].request(message)).await.unwrap_err();
    refused(status, "wrong_identity", Code::PermissionDenied);
    let mut tampered = joined[0].up.to_vec();
    tampered[40] ^= 1;
    let message = stage(&joined[0].manifest.round_id, tampered.into());
    let status = devices[0].rounds().advertise_keys(devices[0].request(message)).await.unwrap_err();
    refused(status, "bad_signature", Code::FailedPrecondition);

    let advertise = devices.iter_mut().zip(&mut joined).map(|(device, joined)| device.advertise(joined));
    try_join_all(advertise).await.unwrap();
    // A later stage's message while stage 1 is open.
    let early = stage(&joined[0].session, Bytes::from_static(&[0; 64]));
    let status = devices[0].rounds().confirm_survivors(devices[0].request(early.clone())).await.unwrap_err();
    refused(status, "stage_order", Code::FailedPrecondition);
    let status = devices[0].rounds().reveal_shares(devices[0].request(early)).await.unwrap_err();
    refused(status, "stage_order", Code::FailedPrecondition);
    let short = stage(&joined[0].session, joined[0].up.slice(..joined[0].up.len() - 1));
    let status = devices[0].rounds().share_keys(devices[0].request(short)).await.unwrap_err();
    refused(status, "wrong_length", Code::FailedPrecondition);

    let share = devices.iter_mut().zip(&mut joined).map(|(device, joined)| device.share(joined));
    try_join_all(share).await.unwrap();
    let again = stage(&joined[0].session, Bytes::from_static(&[1; 80]));
    let status = devices[0].rounds().share_keys(devices[0].request(again)).await.unwrap_err();
    assert!(["late", "duplicate"].contains(&code(&status).as_str()), "{status}");

    // Uploads: a wrong total, a piece beyond the end, a digest that does not fit, a second different one.
    let upload = |request: wire::UploadRequest| {
        let device = &devices[0];
        async move { device.rounds().upload_masked(device.request(request)).await.map(tonic::Response::into_inner) }
    };
    let whole = devices[0].piece(&joined[0], 0, joined[0].up.clone());
    let status = upload(wire::UploadRequest { total: whole.total + 1, ..whole.clone() }).await.unwrap_err();
    refused(status, "wrong_length", Code::InvalidArgument);
    let status = upload(wire::UploadRequest { offset: 1, ..whole.clone() }).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let lie = wire::UploadRequest { digest: Bytes::from_static(&[9; 32]), ..whole.clone() };
    let status = upload(lie).await.unwrap_err();
    refused(status, "bad_digest", Code::InvalidArgument);
    assert!(devices[0].upload(&joined[0], usize::MAX).await.unwrap(), "the right one is still welcome");
    let second = Bytes::from(vec![0; joined[0].up.len()]);
    let digest = Bytes::copy_from_slice(&scale_proto::ids::Digest::of(&second).0);
    let status = upload(wire::UploadRequest { digest, data: second, ..whole }).await.unwrap_err();
    refused(status, "duplicate", Code::FailedPrecondition);

    // None of this has hurt the round.
    let ups = devices.iter().zip(&joined).map(|(device, joined)| device.upload(joined, usize::MAX));
    try_join_all(ups).await.unwrap();
    let rest = devices.iter_mut().zip(&mut joined).map(|(device, joined)| async {
        device.survivors(joined).await?;
        device.confirm(joined).await?;
        device.reveal(joined).await
    });
    try_join_all(rest).await.unwrap();
    let round = coordinator.admin().await.unwrap().closed_round(&joined[0].manifest.round_id).await.unwrap();
    assert_eq!((round.phase.as_str(), round.survivors), ("finished", 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_urls_and_oversized_messages() {
    let (coordinator, devices, joined) = joined("urls", 12, 12).await;
    let url = joined[0].manifest.model_url.clone();
    let get = |url: String| async move { scale_tests::process::http_status(&url).await.unwrap() };
    assert_eq!(get(url.clone()).await.0, 200);

    let digit = |c: char| if c == '1' { '2' } else { '1' };
    let (path, query) = url.split_once('?').unwrap();
    let mut parameters: Vec<(&str, String)> = vec![];
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap();
        parameters.push((name, value.to_owned()));
    }
    for at in 0..parameters.len() {
        let mut changed = parameters.clone();
        let last = changed[at].1.pop().unwrap();
        changed[at].1.push(digit(last));
        let query: Vec<String> = changed.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (status, body) = get(format!("{path}?{}", query.join("&"))).await;
        assert_eq!(status, 403, "{}: {body}", changed[at].0);
        assert!(body.contains("\"code\""), "{body}");
    }
    for climbing in ["../coordinator.json", "%2e%2e/secret", "..%2fsecret", "models/../../lock", "/etc/passwd"] {
        let (status, body) = get(format!("{}/v1/blobs/{climbing}?{query}", coordinator.url())).await;
        assert!([400, 403, 404].contains(&status), "{climbing}: {status} {body}");
        assert!(!body.contains("task_key") && !body.contains("root:"), "{climbing}");
    }
    let (status, _) = get(path.to_owned()).await;
    assert_eq!(status, 403, "no signature at all");

    let huge = stage(&joined[0].manifest.round_id, Bytes::from(vec![0; 5 << 20]));
    let status = devices[0].rounds().advertise_keys(devices[0].request(huge)).await.unwrap_err();
    assert!(matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange), "{status}");
    let round = coordinator.admin().await.unwrap().round(&joined[0].manifest.round_id).await.unwrap();
    assert_eq!(round.phase, "training", "nothing changed");
}
