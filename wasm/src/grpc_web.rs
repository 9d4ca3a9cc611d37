//! gRPC-web's framing of one unary call (github.com/grpc/grpc, doc/PROTOCOL-WEB.md). Pure, so that it is tested natively.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use scale_client_core::transport::RpcFailure;

/// Bytes of a frame before its content: a flag, and the length.
const HEAD: usize = 5;
/// The flag of the frame that holds the trailers.
const TRAILERS: u8 = 0x80;

/// Base64 in headers comes with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A message as a request's body.
pub fn request(message: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(HEAD + message.len());
    body.push(0);
    // A message of the core is far below 4 GiB.
    body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(message);
    body
}

/// The status of a call, from headers or from trailers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// `grpc-status`.
    pub status: Option<String>,
    /// `grpc-message`, percent-encoded.
    pub message: Option<String>,
    /// `grpc-status-details-bin`, base64.
    pub details: Option<String>,
}

/// The message of a response. `http`: its HTTP status; `headers`: the status in its headers, if the response has no body.
///
/// # Errors
/// [`RpcFailure::Status`] if the call ended with another status than OK; [`RpcFailure::Unreachable`] for what is not a
/// response of gRPC-web.
pub fn response(http: u16, headers: Ended, body: &[u8]) -> Result<Bytes, RpcFailure> {
    let broken = |problem: &str| RpcFailure::Unreachable(format!("the response is not gRPC-web: {problem}"));
    if headers.status.is_none() && http != 200 {
        return Err(failed(status_of_http(http), format!("HTTP status {http}"), Bytes::new()));
    }
    let (mut message, mut ended, mut rest) = (None, headers, body);
    while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (content, after) = after.split_at_checked(length).ok_or_else(|| broken("it ends within a frame"))?;
        match head[0] {
            0 if message.is_none() => message = Some(Bytes::copy_from_slice(content)),
            0 => return Err(broken("it has two messages")),
            TRAILERS => ended = trailers(content),
            flag => return Err(broken(&format!("a frame has the flag {flag}"))),
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(broken("it ends within a frame"));
    }
    let Ended { status, message: text, details } = ended;
    let code = status.ok_or_else(|| broken("it has no status"))?;
    let code: i32 = code.trim().parse().map_err(|_| broken("its status is not a number"))?;
    if code == 0 {
        return message.ok_or_else(|| broken("it has no message"));
    }
    let details = details.and_then(|details| BASE64.decode(details.trim()).ok()).unwrap_or_default();
    Err(failed(code, percent_decoded(text.as_deref().unwrap_or_default()), Bytes::from(details)))
}

const fn failed(code: i32, message: String, details: Bytes) -> RpcFailure {
    RpcFailure::Status { code, message, details }
}

/// github.com/grpc/grpc, doc/http-grpc-status-mapping.md.
const fn status_of_http(http: u16) -> i32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

fn trailers(content: &[u8]) -> Ended {
    let mut ended = Ended::default();
    for line in String::from_utf8_lossy(content).lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = Some(value.trim().to_owned());
        match name.trim().to_ascii_lowercase().as_str() {
            "grpc-status" => ended.status = value,
            "grpc-message" => ended.message = value,
            "grpc-status-details-bin" => ended.details = value,
            _ => {}
        }
    }
    ended
}

/// What is not a percent sign with two hex digits stays as it is.
fn percent_decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [byte, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => (*high as char).to_digit(16).zip((*low as char).to_digit(16)),
            _ => None,
        };
        (rest, _) = match escaped {
            // Two hex digits are at most 255.
            Some((high, low)) => (&after[2..], out.push((high * 16 + low) as u8)),
            None => (after, out.push(*byte)),
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(flag: u8, content: &[u8]) -> Vec<u8> {
        let mut frame = request(content);
        frame[0] = flag;
        frame
    }

    fn of(frames: &[(u8, &[u8])]) -> Result<Bytes, RpcFailure> {
        let body: Vec<u8> = frames.iter().flat_map(|(flag, content)| frame(*flag, content)).collect();
        response(200, Ended::default(), &body)
    }

    #[test]
    fn a_message_and_its_trailers() {
        assert_eq!(request(b"abc"), [0, 0, 0, 0, 3, b'a', b'b', b'c']);
        assert_eq!(of(&[(0, b"abc"), (TRAILERS, b"grpc-status:0\r\n")]), Ok(Bytes::from_static(b"abc")));
        assert_eq!(of(&[(0, b""), (TRAILERS, b"Grpc-Status: 0\r\ngrpc-message:\r\n")]), Ok(Bytes::new()));
    }

    #[test]
    fn a_refusal_in_trailers_and_in_headers() {
        let expected = RpcFailure::Status {
            code: 9,
            message: "is over: \u{e9}%2".into(),
            details: Bytes::from_static(&[1, 2, 3, 4]),
        };
        let trailers = b"grpc-status:9\r\ngrpc-message:is%20over:%20%C3%A9%2\r\ngrpc-status-details-bin:AQIDBA\r\n";
        assert_eq!(of(&[(TRAILERS, trailers)]), Err(expected.clone()));
        let headers = Ended {
            status: Some("9".into()),
            message: Some("is%20over:%20%c3%a9%2".into()),
            details: Some("AQIDBA==".into()),
        };
        assert_eq!(response(200, headers, b""), Err(expected));
    }

    #[test]
    fn the_status_of_a_proxy() {
        for (http, code) in [(401, 16), (403, 7), (404, 12), (502, 14), (503, 14), (500, 2), (418, 2)] {
            let failure = response(http, Ended::default(), b"<html>").unwrap_err();
            assert!(matches!(failure, RpcFailure::Status { code: found, .. } if found == code), "{http}: {failure:?}");
        }
    }

    #[test]
    fn anything_else_is_no_answer() {
        let whole: Vec<u8> = [frame(0, b"abc"), frame(TRAILERS, b"grpc-status:0\r\n")].concat();
        for cut in 0..whole.len() {
            let failure = response(200, Ended::default(), &whole[..cut]).unwrap_err();
            assert!(matches!(failure, RpcFailure::Unreachable(_)), "cut at {cut}: {failure:?}");
        }
        for frames in [
            &[(0, &b"a"[..]), (0, b"b"), (TRAILERS, b"grpc-status:0\r\n")][..],
            &[(1, b"compressed"), (TRAILERS, b"grpc-status:0\r\n")],
            &[(TRAILERS, b"grpc-status:0\r\n")],
            &[(0, b"a"), (TRAILERS, b"grpc-status:x\r\n")],
            &[(0, b"a")],
        ] {
            assert!(matches!(of(frames), Err(RpcFailure::Unreachable(_))), "{frames:?}");
        }
    }
}
