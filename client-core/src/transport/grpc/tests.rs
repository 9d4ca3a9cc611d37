use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use prost_types::FileDescriptorSet;
use scale_proto::answer::{StageDown, Wait};
use scale_proto::error::{Problem, Remedy};
use scale_proto::ids::{DeviceId, Digest, ModelVersion};
use scale_proto::time::RetryWindow;

use super::*;
use crate::device::fixtures;
use crate::host::Body;
#[cfg(target_arch = "wasm32")]
use crate::single_thread::test;

/// Answers from a list, and remembers what it was asked.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    answers: VecDeque<Result<Bytes, RpcFailure>>,
    asked: Vec<Asked>,
}

#[derive(Clone, Debug)]
struct Asked {
    path: &'static str,
    token: Option<String>,
    body: Bytes,
}

struct NoBody;

impl Body for NoBody {
    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        Ok(None)
    }
}

impl Caller for Script {
    type Body = NoBody;

    async fn unary(&self, path: &'static str, token: Option<&DeviceToken>, body: Bytes) -> Result<Bytes, RpcFailure> {
        let mut inner = self.0.lock().expect("no panic");
        inner.asked.push(Asked { path, token: token.map(|token| token.bearer().to_string()), body });
        inner.answers.pop_front().expect("an answer for every call")
    }

    async fn download(&self, url: &str, from: u64) -> Result<Download<NoBody>, CallError> {
        assert_eq!(url, "https://models.invalid/1?signature=abc");
        Ok(Download { from, body: NoBody })
    }
}

/// No call of a [`Script`] waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let Poll::Ready(answer) = pin!(future).poll(&mut Context::from_waker(Waker::noop())) else { panic!("ready") };
    answer
}

fn token() -> DeviceToken {
    DeviceToken::new("fl1.device".into())
}

fn up<H>(handle: H) -> StageUp<H> {
    StageUp { handle, payload: Bytes::from_static(b"payload") }
}

fn round() -> RoundId {
    RoundId::from_random([9; 16])
}

fn session() -> SessionId {
    SessionId::from_random([8; 16])
}

fn progress() -> Progress {
    Progress { round: round(), done_permille: 250, job: None }
}

fn enroll() -> Enroll {
    Enroll { enroll_token: "fl1.enroll".into(), identity_key: [1; 32], signature: [2; 64] }
}

fn enrolled() -> Enrolled {
    Enrolled {
        device: DeviceId::from_random([3; 16]),
        device_token: "fl1.device".into(),
        expires_at: None,
        task_key: [4; 32],
    }
}

fn wait() -> Wait {
    Wait { retry: RetryWindow::from_millis(500), code: "no_round".into(), sentence: "no round is open".into() }
}

fn piece(data: Bytes) -> UploadPiece {
    UploadPiece { session: session(), offset: 0, total: data.len() as u64, digest: Digest::of(&data), data }
}

fn model() -> ModelManifest {
    let model = fixtures::spec();
    ModelManifest {
        task: fixtures::task(),
        version: ModelVersion(1),
        digest: Digest([5; 32]),
        bytes: 100,
        url: "https://models.invalid/1?signature=abc".into(),
        fingerprint: model.fingerprint(),
        model,
    }
}

/// Makes one call, which gets `answer`; gives it as the caller saw it, and what came of it.
fn exchange<T>(answer: impl Message, call: impl AsyncFnOnce(Grpc<Script>) -> T) -> (Asked, T) {
    exchange_raw(Ok(answer.encode_to_vec().into()), call)
}

fn exchange_raw<T>(answer: Result<Bytes, RpcFailure>, call: impl AsyncFnOnce(Grpc<Script>) -> T) -> (Asked, T) {
    let script = Script::default();
    script.0.lock().expect("no panic").answers.push_back(answer);
    let result = now(call(Grpc::over(script.clone())));
    let [asked] = &script.0.lock().expect("no panic").asked[..] else { panic!("one call") };
    (asked.clone(), result)
}

/// A call to check in that fails so.
fn refused(failure: RpcFailure) -> CallError {
    exchange_raw(Err(failure), async |to| to.check_in(&token(), CheckIn::default()).await).1.expect_err("refused")
}

/// Every call once. The paths are exactly the schema's, and so are the messages.
#[test]
fn every_call_has_its_path_its_token_and_its_messages() {
    let mut paths = BTreeSet::new();
    let mut sent = |asked: Asked, with_token: bool, request: Vec<u8>| {
        assert_eq!(asked.token.as_deref(), with_token.then_some("Bearer fl1.device"), "{}", asked.path);
        assert_eq!(asked.body, request, "{}", asked.path);
        assert!(paths.insert(asked.path.to_owned()), "{} twice", asked.path);
    };
    let down = StageDown { session: session(), stage: 2, payload: Bytes::from_static(b"shares"), roster: None };
    let down = StageAnswer::Down(down);
    let stage = wire::StageResponse::from(&down);

    let (asked, answer) = exchange(wire::EnrollResponse::from(&enrolled()), async |to| to.enroll(enroll()).await);
    assert_eq!(answer, Ok(enrolled()));
    sent(asked, false, bytes(wire::EnrollRequest::from(&enroll())));

    let waiting = CheckInAnswer::Wait(wait());
    let (asked, answer) =
        exchange(wire::CheckInResponse::from(&waiting), async |to| to.check_in(&token(), CheckIn::default()).await);
    assert_eq!(answer, Ok(waiting));
    sent(asked, true, bytes(wire::CheckInRequest::from(&CheckIn::default())));

    let (asked, answer) = exchange(stage.clone(), async |to| to.advertise_keys(&token(), up(round())).await);
    assert_eq!(answer, Ok(down.clone()));
    sent(asked, true, bytes(wire::StageRequest::from(&up(round()))));
    for (asked, answer) in [
        exchange(stage.clone(), async |to| to.share_keys(&token(), up(session())).await),
        exchange(stage.clone(), async |to| to.confirm_survivors(&token(), up(session())).await),
        exchange(stage.clone(), async |to| to.reveal_shares(&token(), up(session())).await),
    ] {
        assert_eq!(answer, Ok(down.clone()));
        sent(asked, true, bytes(wire::StageRequest::from(&up(session()))));
    }

    let piece = piece(Bytes::from_static(b"masked"));
    let received = UploadAnswer::Received(6);
    let (asked, answer) =
        exchange(wire::UploadResponse::from(&received), async |to| to.upload(&token(), piece.clone()).await);
    assert_eq!(answer, Ok(received));
    sent(asked, true, bytes(wire::UploadRequest::from(&piece)));

    let (asked, answer) =
        exchange(wire::ProgressResponse::default(), async |to| to.report_progress(&token(), progress()).await);
    assert_eq!(answer, Ok(()));
    sent(asked, true, bytes(wire::ProgressRequest::from(&progress())));

    let leave = Leave { round: round(), reason: "cancelled".into() };
    let (asked, answer) = exchange(wire::LeaveResponse::default(), async |to| to.leave(&token(), leave.clone()).await);
    assert_eq!(answer, Ok(()));
    sent(asked, true, bytes(wire::LeaveRequest::from(&leave)));

    let request = ModelRequest { task: fixtures::task(), version: None };
    let (asked, answer) =
        exchange(wire::ModelManifest::from(&model()), async |to| to.get_model(&token(), request.clone()).await);
    assert_eq!(answer, Ok(model()));
    sent(asked, true, bytes(wire::GetModelRequest::from(&request)));

    assert_eq!(paths, methods_of_a_device());
}

/// The paths of everything that a device may call, from the schema itself. Left out is the one stream: devices ask.
fn methods_of_a_device() -> BTreeSet<String> {
    let schema = FileDescriptorSet::decode(scale_proto::DESCRIPTORS).expect("a descriptor set");
    let mut paths = BTreeSet::new();
    for file in &schema.file {
        for service in file.service.iter().filter(|service| service.name() != "Admin") {
            for method in service.method.iter().filter(|method| !method.server_streaming()) {
                paths.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    paths
}

#[test]
fn refusals_are_the_coordinators_words_or_say_what_may_pass() {
    let remedy = Remedy::Resend(RetryWindow::from_millis(700));
    let problem = Problem { code: "overloaded".into(), sentence: "too busy".into(), remedy };
    let details = scale_proto::status::write(8, &problem).details;
    let status = |details| RpcFailure::Status { code: 8, message: "cut short".into(), details };
    assert_eq!(refused(status(details)), CallError::Refused(problem));
    let CallError::Unreachable(words) = refused(status(Bytes::new())) else { panic!("it may pass") };
    assert!(words.contains("cut short"), "{words}");
    let unauthenticated = RpcFailure::Status { code: 16, message: "who are you".into(), details: Bytes::new() };
    let CallError::Refused(problem) = refused(unauthenticated) else { panic!("it does not pass") };
    assert_eq!((problem.code.as_str(), problem.remedy), ("unauthenticated", Remedy::Leave));
    let unreachable = RpcFailure::Unreachable("connection reset".into());
    assert_eq!(refused(unreachable), CallError::Unreachable("connection reset".into()));
}

#[test]
fn what_does_not_fit_is_refused_at_the_edge() {
    let check_in = async |to: Grpc<Script>| to.check_in(&token(), CheckIn::default()).await;
    let zeros = |len| Ok(Bytes::from(vec![0; len]));
    for (answer, code) in [
        (zeros(MESSAGE_BYTES + 1), "out_of_range"),
        (zeros(MESSAGE_BYTES), "malformed_answer"),
        (Ok(Bytes::from_static(b"\xff")), "malformed_answer"),
        // A message of the schema in which everything is missing.
        (Ok(Bytes::new()), "malformed_answer"),
    ] {
        assert_eq!(exchange_raw(answer, check_in).1.expect_err(code).code(), code);
    }

    let nobody = Grpc::over(Script::default());
    let large = piece(Bytes::from(vec![0; MESSAGE_BYTES]));
    assert_eq!(now(nobody.upload(&token(), large)).expect_err("too large").code(), "out_of_range");
    let bad = DeviceToken::new("line\nbreak".into());
    let error = now(nobody.check_in(&bad, CheckIn::default())).expect_err("no header's text");
    assert!(error.code() == "malformed_answer" && !error.to_string().contains("break"), "{error}");
    assert!(nobody.0.0.lock().expect("no panic").asked.is_empty(), "nothing was sent");
}

#[test]
fn downloads_are_the_callers() {
    let url = "https://models.invalid/1?signature=abc";
    let download = now(Grpc::over(Script::default()).download(url, 5)).expect("answers");
    assert_eq!(download.from, 5);
}
