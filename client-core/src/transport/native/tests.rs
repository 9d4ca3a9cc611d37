use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use scale_proto::answer::CheckIn;

use super::*;
use crate::host::Transport as _;

/// Answers one HTTP request with `answer` and gives the request back.
fn serve_once(answer: Vec<u8>) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/models/1?signature=secret", listener.local_addr().expect("bound"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let mut request = vec![];
        let mut buffer = [0; 1024];
        while !request.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut buffer).expect("readable");
            request.extend_from_slice(&buffer[..read]);
        }
        stream.write_all(&answer).expect("writable");
        String::from_utf8(request).expect("ASCII")
    });
    (url, server)
}

fn transport() -> GrpcTransport {
    GrpcTransport::new(Connection::new("http://127.0.0.1:1")).expect("a usable URL")
}

#[tokio::test]
async fn a_certificate_authority_without_a_certificate_is_refused() {
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        for url in ["https://127.0.0.1:1", "http://127.0.0.1:1"] {
            let connection = Connection { ca_pem: Some(pem.to_owned()), ..Connection::new(url) };
            let error = GrpcTransport::new(connection).expect_err("nothing to trust");
            assert!(error.what == "transport" && error.sentence.contains("PEM"), "{error}");
        }
    }
}

async fn whole(mut body: HttpBody) -> Result<Vec<u8>, CallError> {
    let mut out = vec![];
    while let Some(bytes) = body.next().await? {
        out.extend_from_slice(&bytes);
    }
    Ok(out)
}

#[tokio::test]
async fn downloads_resume_with_a_range() {
    let answer = b"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 4-9/10\r\ncontent-length: 6\r\n\r\n456789";
    let (url, server) = serve_once(answer.to_vec());
    let download = transport().download(&url, 4).await.expect("answers");
    assert_eq!(download.from, 4);
    assert_eq!(whole(download.body).await.expect("complete"), b"456789");
    let request = server.join().expect("no panic");
    assert!(request.contains("range: bytes=4-"), "{request}");
    assert!(!request.to_ascii_lowercase().contains("authorization"), "the token stays with the coordinator");
}

#[tokio::test]
async fn a_server_without_ranges_starts_at_zero() {
    let (url, server) = serve_once(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc".to_vec());
    let download = transport().download(&url, 2).await.expect("answers");
    assert_eq!((download.from, whole(download.body).await), (0, Ok(b"abc".to_vec())));
    server.join().expect("no panic");
}

#[tokio::test]
async fn broken_and_refused_downloads_do_not_show_the_url() {
    let (url, server) = serve_once(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc".to_vec());
    let download = transport().download(&url, 0).await.expect("answers");
    let error = whole(download.body).await.expect_err("cut off");
    assert!(matches!(error, CallError::Unreachable(_)), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    server.join().expect("no panic");

    for (status, code) in [("403 Forbidden", "model_url"), ("503 Unavailable", "unreachable")] {
        let (url, server) = serve_once(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes());
        let error = transport().download(&url, 0).await.expect_err(status);
        assert_eq!(error.code(), code);
        server.join().expect("no panic");
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let error = transport().check_in(&DeviceToken::new("token".into()), CheckIn::default()).await.expect_err("nobody");
    assert_eq!(error.code(), "unreachable");
}

#[test]
fn tokens_are_not_printed() {
    let token = DeviceToken::new("very-secret".into());
    let request = request(Some(&token), Bytes::new()).expect("a header's text");
    assert!(request.metadata().get("authorization").expect("there").is_sensitive());
    assert!(!format!("{token:?} {request:?}").contains("very-secret"));
    let bad = DeviceToken::new("line\nbreak".into());
    let failure = super::request(Some(&bad), Bytes::new()).expect_err("no header's text");
    assert!(!format!("{failure:?}").contains("break"), "{failure:?}");
}

#[tokio::test]
async fn unusable_connections_are_refused_at_once() {
    let bad_url = GrpcTransport::new(Connection::new("not a url"));
    let bad_ca = GrpcTransport::new(Connection {
        ca_pem: Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
        ..Connection::new("http://127.0.0.1:1")
    });
    for refused in [bad_url, bad_ca] {
        assert_eq!(refused.expect_err("refused").what, "transport");
    }
}
