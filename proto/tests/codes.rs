//! One table of codes for both sides, and the page that prints it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use scale_proto::codes::{self, Advice, CODES, Origin};
use scale_proto::error::{Problem, Remedy};
use scale_proto::time::RetryWindow;
use scale_proto::wire;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol/codes.md");

#[test]
fn every_code_has_one_row() {
    let names: BTreeSet<_> = CODES.iter().map(|code| code.name).collect();
    assert_eq!(names.len(), CODES.len(), "a code stands in the table twice");
    for code in CODES.iter().filter(|code| code.origin == Origin::End) {
        assert_eq!(code.advice, Advice::CheckIn, "{}: the round is over, a new one helps", code.name);
    }
    assert_eq!(codes::find("late").map(|code| code.advice), Some(Advice::CheckIn));
    assert_eq!(codes::find("no such code"), None);
}

/// `SCALE_BLESS=1` writes the table of the page anew.
#[test]
fn the_page_prints_the_table() {
    let mut table = String::from("| code | from | a device does | what happened |\n| --- | --- | --- | --- |\n");
    for code in CODES {
        let (origin, advice) = (code.origin.name(), code.advice.name());
        writeln!(table, "| `{}` | {origin} | {advice} | {} |", code.name, code.meaning).expect("a string");
    }
    let page = std::fs::read_to_string(PAGE).expect("the page is there");
    let (before, rest) = page.split_once("<!-- codes -->\n").expect("the table's beginning");
    let (found, after) = rest.split_once("<!-- /codes -->").expect("the table's end");
    if std::env::var_os("SCALE_BLESS").is_some() {
        let page = format!("{before}<!-- codes -->\n{table}<!-- /codes -->{after}");
        std::fs::write(PAGE, page).expect("the page is written");
    } else {
        assert_eq!(found, table, "docs/protocol/codes.md is not the table of scale_proto::codes");
    }
}

/// A coordinator of an older version sends no remedy, a newer one may send one that this version does not know: the code
/// decides. A code that is in no table means the same call again within the window, and without a window to leave: that is
/// how a device that is older than `REMEDY_ENROLL` reads it.
#[test]
fn without_a_remedy_the_code_decides() {
    let window = RetryWindow { after: Duration::from_millis(5), before: Duration::from_millis(10) };
    let read = |code: &str, retry_after_ms, retry_before_ms, remedy| {
        let sentence = String::new();
        let detail = wire::ErrorDetail { code: code.into(), sentence, retry_after_ms, retry_before_ms, remedy };
        Problem::try_from(detail).expect("a good detail").remedy
    };
    for remedy in [0, 77] {
        assert_eq!(read("too_few_inputs", 5, 10, remedy), Remedy::CheckIn(window));
        assert_eq!(read("storage_unavailable", 5, 10, remedy), Remedy::Resend(window));
        assert_eq!(read("of_tomorrow", 5, 10, remedy), Remedy::Resend(window));
        assert_eq!(read("bad_signature", 5, 10, remedy), Remedy::Leave);
        assert_eq!(read("storage_unavailable", 0, 0, remedy), Remedy::Leave);
        assert_eq!(read("of_tomorrow", 0, 0, remedy), Remedy::Leave);
    }
    assert_eq!(
        read("storage_unavailable", 5, 10, wire::Remedy::CheckIn.into()),
        Remedy::CheckIn(window),
        "what is said counts"
    );
}

/// Whatever a coordinator of today or of before says with these three codes, the device is told to enroll.
#[test]
fn a_token_that_opens_nothing_any_more_is_mended_by_enrolling() {
    let read = |code: &str, window: u64, remedy: i32| {
        let (code, sentence) = (code.into(), String::new());
        let detail = wire::ErrorDetail { code, sentence, retry_after_ms: window, retry_before_ms: 2 * window, remedy };
        Problem::try_from(detail).expect("a good detail").remedy
    };
    for code in ["missing_token", "bad_token", "expired_token"] {
        for remedy in [wire::Remedy::Enroll, wire::Remedy::Leave, wire::Remedy::Unspecified] {
            assert_eq!(read(code, 0, remedy.into()), Remedy::Enroll, "{code} with {remedy:?}");
        }
    }
    assert_eq!(read("of_tomorrow", 0, wire::Remedy::Enroll.into()), Remedy::Enroll, "what is said counts");
    assert_eq!(
        read("bad_token", 5, wire::Remedy::Resend.into()),
        read("storage_unavailable", 5, 0),
        "what is said counts"
    );
    assert_eq!(read("wrong_kind", 0, wire::Remedy::Leave.into()), Remedy::Leave);
    assert_eq!(Remedy::Enroll.window(), None);
}
