//! Failed calls in the form of google.rpc, as other people's libraries read them.

use std::time::Duration;

use prost::Message as _;
use scale_proto::error::{Problem, Remedy};
use scale_proto::time::RetryWindow;
use scale_proto::{limits, status, wire};

fn problem(remedy: Remedy) -> Problem {
    Problem { code: "unknown_round".into(), sentence: "there is no such round; check in again".into(), remedy }
}

#[test]
fn the_bytes_are_a_status_with_two_details() {
    let window = RetryWindow { after: Duration::from_millis(1_500), before: Duration::from_secs(3) };
    let failed = status::write(5, &problem(Remedy::CheckIn(window)));
    assert_eq!(failed.message, "there is no such round; check in again");
    let text = String::from_utf8_lossy(&failed.details).into_owned();
    assert_eq!(&failed.details[..2], [0x08, 5], "field 1, the code");
    assert_eq!(failed.details[2..4], [0x12, failed.message.len() as u8], "field 2, the message");
    for url in ["type.googleapis.com/scale.fl.v1.ErrorDetail", "type.googleapis.com/google.rpc.RetryInfo"] {
        assert!(text.contains(url), "{url}");
    }
    // RetryInfo { retry_delay: 1 s 500,000,000 ns }.
    let delay = [0x0a, 0x08, 0x08, 0x01, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
    let found = failed.details.windows(delay.len()).any(|bytes| bytes[2..] == delay[2..]);
    assert!(found, "{:02x?}", failed.details);
    assert_eq!(status::read(&failed.details), Some(problem(Remedy::CheckIn(window))));
}

#[test]
fn without_a_retry_there_is_one_detail() {
    for remedy in [Remedy::Leave, Remedy::Enroll] {
        let failed = status::write(3, &problem(remedy));
        assert!(!String::from_utf8_lossy(&failed.details).contains("RetryInfo"));
        assert_eq!(status::read(&failed.details), Some(problem(remedy)));
    }
}

/// For one release: what coordinators sent before.
#[test]
fn a_bare_detail_is_still_read() {
    let window = RetryWindow::from_millis(5_000);
    let bare = wire::ErrorDetail::from(&problem(Remedy::CheckIn(window))).encode_to_vec();
    assert_eq!(status::read(&bare), Some(problem(Remedy::CheckIn(window))));
}

#[test]
fn other_peoples_details_are_nobodys_problem() {
    for bytes in [&b""[..], b"\xff\xff", b"\x08\x05\x12\x01x"] {
        assert_eq!(status::read(bytes), None, "{bytes:02x?}");
    }
}

/// HTTP libraries refuse headers of more than 8 KiB in all: the longest sentence, in a script that gRPC escapes threefold,
/// leaves room.
#[test]
fn the_longest_failure_fits_in_the_headers() {
    let sentence = "\u{444}".repeat(limits::SENTENCE_BYTES);
    let code = "c".repeat(limits::CODE_BYTES);
    let remedy = Remedy::Resend(RetryWindow::from_millis(u64::MAX / 4));
    let failed = status::write(14, &Problem { code, sentence, remedy });
    let (escaped, base64) = (failed.message.len() * 3, failed.details.len().div_ceil(3) * 4);
    assert!(escaped + base64 < 7 * 1024, "{escaped} + {base64}");
}
