//! Calls and connections that end before they have to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc;
use http_body_util::{BodyExt as _, Either, Empty, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use scale_coordinator::auth::Kind;
use scale_proto::ids::TaskId;
use scale_proto::wire;
use scale_proto::wire::rounds_client::RoundsClient;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::running::{Choices, Running, bearing, check_in, signed_enrollment, task};
use crate::transport::server::Limits;

/// Devices that wait for the end of selection, by their seeds, each on a connection of its own. Aborting one closes it.
async fn on_the_line(running: &Running, seeds: std::ops::Range<u8>) -> Vec<JoinHandle<()>> {
    let mut waiting = Vec::new();
    for seed in seeds {
        let token = running.token(Kind::Enroll);
        let enrolled = running.app.services.enrollment.enroll(&signed_enrollment(seed, &token)).await.unwrap();
        let mut rounds = RoundsClient::new(running.channel().await);
        waiting.push(tokio::spawn(async move {
            let answer = rounds.check_in(bearing(&enrolled.device_token, check_in())).await;
            panic!("selection goes on, but a device is answered with {answer:?}");
        }));
    }
    waiting
}

#[tokio::test]
async fn a_check_in_that_hangs_up_is_no_longer_waited_for() {
    let day = Duration::from_secs(86_400);
    let running = Arc::new(Running::start_with(Choices { long_poll: Some(day), ..Choices::default() }).await);
    let coordinator = &running.app.services.coordinator;
    let id: TaskId = "merchants".parse().unwrap();
    coordinator.create_task(id.clone(), task("when_ready"), None).await.unwrap();
    coordinator.tick().await.unwrap();
    let cohort = async || coordinator.list_rounds(&id, 1).await.unwrap()[0].round.cohort;
    let until = async |wanted: u32| {
        let started = Instant::now();
        while cohort().await != wanted {
            assert!(started.elapsed() < Duration::from_secs(20), "{} instead of {wanted}", cohort().await);
            // A device counts while it is on the line, and for a minute after it was heard of.
            running.clock.advance(Duration::from_secs(61));
            coordinator.tick().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Nine of the ten that the round wants.
    let staying = on_the_line(&running, 1..8).await;
    let closing = on_the_line(&running, 8..9).await;
    let resetting = {
        let token = running.token(Kind::Enroll);
        running.app.services.enrollment.enroll(&signed_enrollment(9, &token)).await.unwrap().device_token
    };
    let channel = running.channel().await;
    let call = {
        let mut rounds = RoundsClient::new(channel.clone());
        tokio::spawn(async move { rounds.check_in(bearing(&resetting, check_in())).await.map(drop) })
    };
    let started = Instant::now();
    while cohort().await != 9 {
        assert!(started.elapsed() < Duration::from_secs(20), "{} devices are in", cohort().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // On the line they all stay, however long it takes.
    for _ in 0..5 {
        running.clock.advance(Duration::from_secs(61));
        coordinator.tick().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cohort().await, 9);

    // One call is reset on a connection that goes on; then a connection is closed.
    call.abort();
    until(8).await;
    let mut rounds = RoundsClient::new(channel);
    let refused = rounds.check_in(tonic::Request::new(check_in())).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated, "the connection serves on");
    closing[0].abort();
    until(7).await;
    assert!(staying.iter().all(|call| !call.is_finished()));
    for call in staying {
        call.abort();
    }
}

#[tokio::test]
async fn whoever_asks_hears_of_the_end_first_and_calls_are_served_until_then() {
    let running = Running::start().await;
    let device = running.device_token().await;
    let mut health = HealthClient::new(running.channel().await);
    let mut rounds = RoundsClient::new(running.channel().await);
    for serving in [true, false] {
        if !serving {
            running.health.stop().await;
        }
        let ready = running.get("/ready").send().await.unwrap();
        assert_eq!(ready.status(), if serving { 200 } else { 503 });
        assert_eq!(ready.text().await.unwrap().contains("\"stopping\""), !serving);
        assert_eq!(running.get("/health").send().await.unwrap().status(), 200, "the process is well");
        for service in ["", "scale.fl.v1.Rounds"] {
            let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
            let expected = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            assert_eq!(answer.status(), expected, "{service}");
        }
        rounds.check_in(bearing(&device, check_in())).await.unwrap();
    }
}

type Body = Either<Empty<Bytes>, StreamBody<mpsc::UnboundedReceiver<Result<Frame<Bytes>, std::convert::Infallible>>>>;

async fn connected(
    running: &Running,
) -> (http2::SendRequest<Body>, http2::Connection<TokioIo<TcpStream>, Body, TokioExecutor>) {
    let stream = TcpStream::connect(running.address).await.unwrap();
    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap()
}

#[tokio::test]
async fn an_old_connection_makes_way_and_its_calls_are_answered() {
    let limits = Limits { connection_age: Some(Duration::from_secs(1)), ..Limits::default() };
    let running = Running::start_with(Choices { limits, ..Choices::default() }).await;
    let started = Instant::now();
    let (mut sender, connection) = connected(&running).await;
    let connection = tokio::spawn(connection);
    let probe = || http::Request::get(format!("{}/health", running.url())).body(Either::Left(Empty::new())).unwrap();
    assert_eq!(sender.send_request(probe()).await.unwrap().status(), 200);

    // A call whose message is still on its way.
    let (message, body) = mpsc::unbounded();
    let call = http::Request::post(format!("{}/scale.fl.v1.Enrollment/Enroll", running.url()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Either::Right(StreamBody::new(body)))
        .unwrap();
    let call = tokio::spawn(sender.send_request(call));
    let refused = loop {
        match sender.send_request(probe()).await {
            Ok(response) => assert_eq!(response.status(), 200),
            Err(error) => break error,
        }
        assert!(started.elapsed() < Duration::from_secs(20), "the connection takes calls for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(started.elapsed() >= Duration::from_millis(900), "{refused} after {:?}", started.elapsed());
    assert!(!call.is_finished());

    let enroll = wire::EnrollRequest::from(signed_enrollment(1, &running.token(Kind::Enroll))).encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(enroll.len()).unwrap().to_be_bytes());
    bytes.extend(enroll);
    message.unbounded_send(Ok(Frame::data(bytes.into()))).unwrap();
    drop(message);
    let answer = call.await.unwrap().unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    let ended = tokio::time::timeout(Duration::from_secs(20), connection).await.expect("it ends");
    ended.unwrap().expect("it is asked to go, not cut");
    // Another one is welcome.
    let (mut sender, connection) = connected(&running).await;
    tokio::spawn(connection);
    assert_eq!(sender.send_request(probe()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn connections_that_began_together_do_not_end_together() {
    let limits = Limits { connection_age: Some(Duration::from_secs(2)), ..Limits::default() };
    let running = Running::start_with(Choices { limits, ..Choices::default() }).await;
    let connections: Vec<_> = futures::stream::iter(0..24).then(|_| connected(&running)).collect().await;
    let began = Instant::now();
    let ends = connections.into_iter().map(|(sender, connection)| async move {
        connection.await.expect("it is asked to go, not cut");
        drop(sender);
        began.elapsed()
    });
    let ends = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(ends)).await.unwrap();
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    // Of 24 ages that are spread evenly over 400 ms, all within 100 ms: once in 10^12.
    assert!(*last - *first > Duration::from_millis(100), "from {first:?} to {last:?}");
}
