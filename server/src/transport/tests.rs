//! A real server on a free port, and real clients.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message as _;
use scale_clock::Clock as _;
use scale_coordinator::auth::{Enrolls, Kind};
use scale_proto::{PROTOCOL, limits, wire};
use tonic::{Code, Request, Status};

use running::{Choices, HOUR, Running, bearing, check_in, code, http_client, signed_enrollment, task};

mod counting;
mod endings;
#[cfg(feature = "facade")]
mod requests;
mod running;
mod tokens;

#[tokio::test]
async fn a_device_enrolls_and_checks_in_and_tokens_guard_every_door() {
    let running = Running::start().await;
    let channel = running.channel().await;
    let mut enrollment = wire::enrollment_client::EnrollmentClient::new(channel.clone());
    let enroll_token = running.token(Kind::Enroll);
    let enrolled =
        enrollment.enroll(wire::EnrollRequest::from(signed_enrollment(1, &enroll_token))).await.unwrap().into_inner();
    assert_eq!(enrolled.task_key.len(), 32);

    let mut rounds = wire::rounds_client::RoundsClient::new(channel.clone());
    let answer = rounds.check_in(bearing(&enrolled.device_token, check_in())).await.unwrap().into_inner();
    assert!(matches!(answer.answer, Some(wire::check_in_response::Answer::Wait(_))), "there is no task yet");

    let operator = running.token(Kind::Operator);
    let mut damaged = enrolled.device_token.clone();
    damaged.pop();
    for (token, grpc, expected) in [
        (None, Code::Unauthenticated, "missing_token"),
        (Some(damaged.as_str()), Code::Unauthenticated, "bad_token"),
        (Some(operator.as_str()), Code::PermissionDenied, "wrong_kind"),
        (Some(enroll_token.as_str()), Code::PermissionDenied, "wrong_kind"),
    ] {
        let request = token.map_or_else(|| Request::new(check_in()), |token| bearing(token, check_in()));
        let refused = rounds.check_in(request).await.unwrap_err();
        assert_eq!((refused.code(), code(&refused).as_str()), (grpc, expected));
    }
    let mut admin = wire::admin_client::AdminClient::new(channel.clone());
    let refused = admin.list_tasks(bearing(&enrolled.device_token, wire::ListTasksRequest {})).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::PermissionDenied, "wrong_kind"));
    assert!(
        admin.list_tasks(bearing(&operator, wire::ListTasksRequest {})).await.unwrap().into_inner().tasks.is_empty()
    );

    running.clock.advance(25 * HOUR);
    let late = rounds.check_in(bearing(&enrolled.device_token, check_in())).await.unwrap_err();
    assert_eq!(code(&late), "expired_token");
    let late = enrollment.enroll(wire::EnrollRequest::from(signed_enrollment(2, &enroll_token))).await.unwrap_err();
    assert_eq!(code(&late), "expired_token");
}

#[tokio::test]
async fn another_protocol_and_absurd_messages_are_refused_with_their_codes() {
    let running = Running::start().await;
    let token = running.device_token().await;
    let mut rounds = wire::rounds_client::RoundsClient::new(running.channel().await);

    let newer = wire::CheckInRequest { protocol: PROTOCOL + 1, ..check_in() };
    let refused = rounds.check_in(bearing(&token, newer)).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::FailedPrecondition, "unsupported_protocol"));

    let nameless =
        wire::StageRequest { protocol: PROTOCOL, handle: Bytes::from_static(b"short"), payload: Bytes::new() };
    let refused = rounds.share_keys(bearing(&token, nameless)).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::InvalidArgument, "invalid_argument"));
    assert!(refused.message().contains("handle"), "{}", refused.message());

    let huge = wire::StageRequest {
        protocol: PROTOCOL,
        handle: Bytes::from(vec![1; 16]),
        payload: Bytes::from(vec![0; limits::MESSAGE_BYTES + 1]),
    };
    let refused = rounds.share_keys(bearing(&token, huge)).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::ResourceExhausted, "message_too_large"));

    let mut enrollment = wire::enrollment_client::EnrollmentClient::new(running.channel().await);
    let long = wire::EnrollRequest { enroll_token: "x".repeat(100_000), ..wire::EnrollRequest::default() };
    let refused = enrollment.enroll(long).await.unwrap_err();
    assert_eq!(code(&refused), "message_too_large", "strangers may not send much");
}

#[tokio::test]
async fn tasks_are_administered_over_the_wire() {
    let running = Running::start().await;
    let operator = running.token(Kind::Operator);
    let mut admin = wire::admin_client::AdminClient::new(running.channel().await);
    let config = Some(task("manual").into());
    let create = wire::CreateTaskRequest { task: "merchants".into(), config, initial_model: Bytes::new() };
    let task = admin.create_task(bearing(&operator, create.clone())).await.unwrap().into_inner();
    assert_eq!((task.state.as_str(), task.model_version), ("active", 1));
    let again = admin.create_task(bearing(&operator, create.clone())).await.unwrap_err();
    assert_eq!(code(&again), "task_exists");
    let nameless = wire::CreateTaskRequest { task: "Not A Name".into(), ..create };
    assert_eq!(code(&admin.create_task(bearing(&operator, nameless)).await.unwrap_err()), "invalid_argument");

    let listed = admin.list_models(bearing(&operator, wire::ListModelsRequest { task: "merchants".into() })).await;
    let [model] = &listed.unwrap().into_inner().models[..] else { panic!("one model") };
    assert!(model.current && model.origin == "initial");
    let file = http_client().get(&model.url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(scale_proto::ids::Digest::of(&file).0, *model.digest);

    let device = running.device_token().await;
    let mut models = wire::models_client::ModelsClient::new(running.channel().await);
    let watch = wire::WatchModelsRequest { protocol: PROTOCOL, task: "merchants".into() };
    let mut watched = models.watch_models(bearing(&device, watch)).await.unwrap().into_inner();
    assert_eq!(watched.message().await.unwrap().unwrap().version, 1);
    let rollback = wire::RollbackModelRequest { task: "merchants".into(), version: 1 };
    assert_eq!(admin.rollback_model(bearing(&operator, rollback)).await.unwrap().into_inner().version, 2);
    let next = tokio::time::timeout(Duration::from_secs(10), watched.message()).await.unwrap();
    assert_eq!(next.unwrap().unwrap().version, 2, "a watcher hears of a new version");

    let minted =
        admin.mint_token(bearing(&operator, wire::MintTokenRequest { kind: "enroll".into(), ttl_s: 60 })).await;
    let minted = minted.unwrap().into_inner().token;
    assert_eq!(running.app.services.authority.check_enroll(&minted, running.clock.now()), Ok(Enrolls::Many));
    for (kind, ttl_s) in [("device", 60), ("enroll", u64::MAX), ("", 0)] {
        let request = wire::MintTokenRequest { kind: kind.into(), ttl_s };
        assert_eq!(code(&admin.mint_token(bearing(&operator, request)).await.unwrap_err()), "invalid_argument");
    }
}

#[tokio::test]
async fn signed_urls_are_checked_before_the_disk_is_touched() {
    let running = Running::start().await;
    let url = running.blob("models/m/1.safetensors", b"weights").await;
    let (path, query) = url.split_once('?').unwrap();
    let expired = {
        let signed = running.app.signer.sign_get("models/m/1.safetensors", Duration::from_secs(1), running.clock.now());
        signed.unwrap().strip_prefix(&running.url()).unwrap().to_owned()
    };
    running.clock.advance(Duration::from_secs(2));
    let forged_kid = query.replace("kid=", "kid=x");
    let mut refused = 0;
    for (bad, expected) in [
        (path.to_owned(), "url_unsigned"),
        (format!("{path}?{}", query.replace("sig=", "sig=AAAA")), "url_forged"),
        (format!("{path}?{forged_kid}"), "url_forged"),
        (format!("/v1/blobs/models/m/2.safetensors?{query}"), "url_forged"),
        (format!("/v1/blobs/..%2fsecrets.json?{query}"), "url_path"),
        (format!("/v1/blobs//etc/passwd?{query}"), "url_path"),
        (format!("/v1/blobs/models%5c..%5cx?{query}"), "url_path"),
        (format!("/v1/blobs/models/?{query}"), "url_path"),
        (expired, "url_expired"),
    ] {
        let response = running.get(&bad).send().await.unwrap();
        assert_eq!(response.status(), 403, "{bad}");
        let body: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert_eq!(body["code"], expected, "{bad}");
        assert!(body["sentence"].as_str().unwrap().len() > 10);
        refused += 1;
    }
    // Raw paths that a polite client would tidy up.
    for raw in [
        "/v1/blobs/../secrets.json",
        "/v1/blobs/%2e%2e/secrets.json",
        "/v1/blobs/models/m/../../x",
        "/v1/blobs/models/./x",
    ] {
        let answer =
            raw_request(&running, &format!("GET {raw}?{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{raw}: {answer}");
        refused += 1;
    }
    let post = http_client().post(format!("{}{url}", running.url())).send().await.unwrap();
    assert_eq!(post.status(), 403, "leave to read is not leave to write");
    assert_eq!((refused, running.touched.load(Ordering::SeqCst)), (13, 0));

    let whole = running.get(&url).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.bytes().await.unwrap(), "weights");
    assert!(running.touched.load(Ordering::SeqCst) > 0);
}

async fn raw_request(running: &Running, text: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// From memory and from a folder alike.
#[tokio::test]
async fn downloads_go_on_where_they_stopped() {
    let folder = Some(tempfile::tempdir().unwrap());
    let in_folder = Running::start_with(Choices { folder, ..Choices::default() }).await;
    for running in [in_folder, Running::start().await] {
        let url = running.blob("models/m/1.safetensors", b"0123456789").await;
        let get = |range: &str| running.get(&url).header("range", range).send();
        let field = |response: &reqwest::Response, name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };

        let part = get("bytes=3-5").await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(field(&part, "content-range").unwrap(), "bytes 3-5/10");
        assert_eq!(part.text().await.unwrap(), "345");
        assert_eq!(get("bytes=7-").await.unwrap().text().await.unwrap(), "789");
        assert_eq!(get("bytes=-2").await.unwrap().text().await.unwrap(), "89");
        let beyond = get("bytes=10-").await.unwrap();
        assert_eq!((beyond.status().as_u16(), field(&beyond, "content-range").unwrap()), (416, "bytes */10".into()));
        assert_eq!(get("bytes=0-1,4-5").await.unwrap().text().await.unwrap(), "0123456789");

        let head = http_client().head(format!("{}{url}", running.url())).send().await.unwrap();
        assert_eq!((head.status().as_u16(), field(&head, "content-length").unwrap()), (200, "10".into()));
        let tag = field(&head, "etag").unwrap();
        assert!(field(&head, "cache-control").unwrap().contains("immutable"));
        let known = running.get(&url).header("if-none-match", &tag).send().await.unwrap();
        assert_eq!(known.status(), 304);
        let stale =
            running.get(&url).header("range", "bytes=3-5").header("if-range", "\"other\"").send().await.unwrap();
        assert_eq!(stale.status(), 200);

        let gone = running.app.signer.sign_get("models/m/9.safetensors", HOUR, running.clock.now()).unwrap();
        let gone = running.get(gone.strip_prefix(&running.url()).unwrap()).send().await.unwrap();
        assert_eq!(gone.status(), 404);
        assert_eq!(running.get("/v1/blobs/").send().await.unwrap().status(), 404, "no listing");
        running.stop.cancel();
    }
}

#[tokio::test]
async fn browsers_speak_grpc_web_over_http_1() {
    let running = Running::start().await;
    let token = running.device_token().await;
    let message = check_in().encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    let call = |token: Option<String>| {
        let request = http_client()
            .post(format!("{}/scale.fl.v1.Rounds/CheckIn", running.url()))
            .version(reqwest::Version::HTTP_11)
            .header("content-type", "application/grpc-web+proto")
            .header("origin", "https://app.example.org")
            .body(body.clone());
        token.map_or(request.try_clone().unwrap(), |token| request.bearer_auth(token)).send()
    };
    let answer = call(Some(token)).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc-web+proto");
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    assert!(exposed.contains("grpc-status") && exposed.contains("scale-error-code"), "{exposed}");
    let bytes = answer.bytes().await.unwrap();
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
    wire::CheckInResponse::decode(&bytes[5..5 + length]).unwrap();
    let trailers = String::from_utf8_lossy(&bytes[5 + length + 5..]).into_owned();
    assert!(trailers.contains("grpc-status:0"), "{trailers}");

    let refused = call(None).await.unwrap();
    assert_eq!(refused.status(), 200);
    let word = refused.headers().get("scale-error-code").map(|word| word.to_str().unwrap().to_owned());
    assert_eq!(word.as_deref(), Some("missing_token"));
    assert_eq!(refused.headers()["grpc-status"], "16");
}

#[tokio::test]
async fn health_reflection_and_probes_answer() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let running = Running::start_with(Choices { reflection: true, ..Choices::default() }).await;
    let mut health = HealthClient::new(running.channel().await);
    for service in ["", "scale.fl.v1.Rounds", "scale.fl.v1.Admin"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{service}");
    }
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut reflection = ServerReflectionClient::new(running.channel().await);
    let mut answers = reflection.server_reflection_info(futures::stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    for expected in ["Enrollment", "Rounds", "Models", "Admin"] {
        assert!(names.contains(&format!("scale.fl.v1.{expected}")), "{names:?}");
    }
    for probe in ["/health", "/ready"] {
        assert_eq!(running.get(probe).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn reflection_is_off_unless_asked_for() {
    let running = Running::start().await;
    let refused = reflect(&running, futures::stream::pending().boxed()).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::Unimplemented, "unknown_method"));
}

#[tokio::test]
async fn reflection_takes_short_messages_for_ten_seconds() {
    let running = Running::start_with(Choices { reflection: true, ..Choices::default() }).await;
    let long = futures::stream::iter([question(17 << 10)]).chain(futures::stream::pending());
    let answered = async { reflect(&running, long.boxed()).await?.message().await };
    // The service ends its stream without a word.
    assert!(!matches!(answered.await, Ok(Some(_))), "17 KiB in one message");

    // Somebody who never ends the stream and goes on asking.
    let started = std::time::Instant::now();
    let pouring = futures::stream::unfold((), |()| async {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        Some((question(8 << 10), ()))
    });
    let mut answers = reflect(&running, pouring.boxed()).await.unwrap();
    let mut count = 0;
    while let Ok(Some(_)) = answers.message().await {
        count += 1;
        assert!(started.elapsed().as_secs() < 20, "{count} answers and no end");
    }
    assert!(count > 0 && started.elapsed().as_secs() >= 9, "{count} answers in {:?}", started.elapsed());
}

fn question(bytes: usize) -> tonic_reflection::pb::v1::ServerReflectionRequest {
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};
    // Its text means nothing, and every answer repeats it. A symbol that is not there would end the stream.
    let message_request = Some(MessageRequest::ListServices("x".repeat(bytes)));
    ServerReflectionRequest { host: String::new(), message_request }
}

async fn reflect(
    running: &Running,
    questions: futures::stream::BoxStream<'static, tonic_reflection::pb::v1::ServerReflectionRequest>,
) -> Result<tonic::Streaming<tonic_reflection::pb::v1::ServerReflectionResponse>, Status> {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let mut client = ServerReflectionClient::new(running.channel().await);
    client.server_reflection_info(questions).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn unknown_paths_are_answered_in_the_callers_language() {
    let running = Running::start().await;
    let mut client = tonic::client::Grpc::new(running.channel().await);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<wire::WhenReady, wire::WhenReady>::default();
    let path = http::uri::PathAndQuery::from_static("/somebody.Else/Call");
    let refused = client.unary(Request::new(wire::WhenReady {}), path, codec).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::Unimplemented, "unknown_method"));

    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<wire::WhenReady, wire::WhenReady>::default();
    let path = http::uri::PathAndQuery::from_static("/scale.fl.v1.Enrollment/Nothing");
    let refused = client.unary(Request::new(wire::WhenReady {}), path, codec).await.unwrap_err();
    assert_eq!((refused.code(), code(&refused).as_str()), (Code::Unimplemented, "unknown_method"));

    let plain = running.get("/nothing/here").send().await.unwrap();
    assert_eq!(plain.status(), 404);
    assert_eq!(plain.headers()["content-type"], "application/problem+json");
    assert!(plain.text().await.unwrap().contains("not_found"));
}

#[tokio::test]
async fn stopping_answers_what_runs_and_takes_nothing_new() {
    let running = Running::start().await;
    let _idle = running.channel().await;
    let device = running.device_token().await;
    let mut rounds = wire::rounds_client::RoundsClient::new(running.channel().await);
    rounds.check_in(bearing(&device, check_in())).await.unwrap();
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), running.served).await.expect("idle connections close").unwrap();
    assert!(tokio::net::TcpStream::connect(running.address).await.is_err());
}
