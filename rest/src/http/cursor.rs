//! Where a page of transactions ends, as one opaque word: 28 characters of base64url.
//!
//! A version, the days since 1970-01-01 and the id. Every word of the right form is a place in the list, so that a word
//! is refused for its form alone: `^A[Q-Za-f][A-Za-z0-9_-]{26}$` in the API's description.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scale_records::domain::TransactionId;
use scale_records::store::Cursor;
use time::{Date, Duration};
use uuid::Uuid;

const VERSION: u8 = 1;
const EPOCH: Date = time::macros::date!(1970 - 01 - 01);

pub(super) fn write(cursor: Cursor) -> String {
    // All dates of `time` are within some four million days of 1970.
    let days = i32::try_from((cursor.date - EPOCH).whole_days()).unwrap_or(i32::MAX);
    let mut bytes = [0; 21];
    bytes[0] = VERSION;
    bytes[1..5].copy_from_slice(&days.to_be_bytes());
    bytes[5..].copy_from_slice(cursor.id.0.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `None`: a word that [`write`] never wrote.
pub(super) fn read(word: &str) -> Option<Cursor> {
    let bytes: [u8; 21] = URL_SAFE_NO_PAD.decode(word).ok()?.try_into().ok()?;
    let [VERSION, a, b, c, d, id @ ..] = bytes else { return None };
    let days = Duration::days(i64::from(i32::from_be_bytes([a, b, c, d])));
    Some(Cursor { date: clamp(EPOCH.saturating_add(days)), id: TransactionId(Uuid::from_bytes(id)) })
}

/// Both databases hold the years 1 to 9999.
fn clamp(date: Date) -> Date {
    date.clamp(time::macros::date!(0001 - 01 - 01), Date::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_words_are_refused() {
        let good = write(Cursor { date: EPOCH, id: TransactionId(Uuid::nil()) });
        assert_eq!(good, "AQAAAAAAAAAAAAAAAAAAAAAAAAAA");
        for bad in
            ["", "A", "AgAAAAAAAAAAAAAAAAAAAAAAAAAA", "AQAAAAAAAAAAAAAAAAAAAAAAAAA", "' or 1=1 --", "AQAA====", &{
                good.clone() + "A"
            }]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        // No day, but a place: before everything.
        let low = read("AYAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        assert_eq!(low.date, time::macros::date!(0001 - 01 - 01));
        assert_eq!(read("AX_______________________w").map(|cursor| cursor.date), None);
        assert_eq!(read("AX__________________________").unwrap().date, Date::MAX);
    }

    proptest! {
        #[test]
        fn a_place_survives_its_word(days in 0_i64..80_000, id in any::<u128>()) {
            let cursor = Cursor { date: EPOCH + Duration::days(days), id: TransactionId(Uuid::from_u128(id)) };
            let word = write(cursor);
            prop_assert!(word.starts_with('A') && ('Q'..='f').contains(&word.chars().nth(1).unwrap()));
            prop_assert_eq!(read(&word), Some(cursor));
        }
    }
}
