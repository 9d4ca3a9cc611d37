//! The mix of calls, and when each is due.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, IF_NONE_MATCH};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use scale_records::domain::{JobId, TransactionId, UserId};
use scale_records::store::Cursor;
use serde_json::json;

use crate::people::{self, CATEGORIES};
use crate::settings::Arguments;

/// Rows of an import in the mix.
const IMPORTED: u32 = 20;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    List,
    Next,
    Filtered,
    Get,
    Categories,
    Status,
    Create,
    Change,
    Import,
}

impl Kind {
    /// All, each with its share of the mix in hundredths.
    pub(crate) const MIX: [(Self, u32); 9] = [
        (Self::List, 45),
        (Self::Next, 8),
        (Self::Filtered, 7),
        (Self::Get, 10),
        (Self::Categories, 10),
        (Self::Status, 10),
        (Self::Create, 5),
        (Self::Change, 4),
        (Self::Import, 1),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::List => "list, first page",
            Self::Next => "list, next page",
            Self::Filtered => "list, filtered",
            Self::Get => "get one",
            Self::Categories => "categories, known tag",
            Self::Status => "training status",
            Self::Create => "create",
            Self::Change => "change category",
            Self::Import => "import 20 rows",
        }
    }

    /// What a call of this kind is answered with when all is well.
    pub(crate) fn expects(self) -> StatusCode {
        match self {
            Self::Categories => StatusCode::NOT_MODIFIED,
            Self::Create | Self::Import => StatusCode::CREATED,
            _ => StatusCode::OK,
        }
    }
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// When, from the start.
    pub(crate) at: Duration,
    /// On which connection.
    pub(crate) connection: u32,
    pub(crate) kind: Kind,
    /// Tells it from all others of the run.
    pub(crate) number: u32,
}

/// The calls of so many seconds, evenly spaced, each on any connection.
pub(crate) fn schedule(arguments: &Arguments, seconds: u32) -> Vec<Call> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let call = |number| {
        let mut drawn = rng.next_u32() % 100;
        let kind = Kind::MIX.iter().find(|(_, share)| {
            let found = drawn < *share;
            drawn = drawn.wrapping_sub(*share);
            found
        });
        Call {
            at: Duration::from_secs_f64(f64::from(number) / f64::from(arguments.rate)),
            connection: rng.next_u32() % arguments.connections,
            // The shares add up to 100.
            kind: kind.map_or(Kind::List, |(kind, _)| *kind),
            number,
        }
    };
    (0..arguments.rate * seconds).map(call).collect()
}

/// A person, as far as calls need to know.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) user: UserId,
    pub(crate) job: JobId,
    pub(crate) bearer: HeaderValue,
    /// Some of their transactions.
    pub(crate) transactions: Vec<TransactionId>,
    /// After those.
    pub(crate) next: Option<Cursor>,
}

impl Person {
    /// One of their transactions.
    pub(crate) fn transaction(&self, call: Call) -> Option<TransactionId> {
        self.transactions.get(call.number as usize % self.transactions.len().max(1)).copied()
    }

    /// A request of theirs; `path` is what follows `/api/v1/`.
    pub(crate) fn ask(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(format!("/api/v1/{path}"));
        request.header(HOST, "localhost").header(AUTHORIZATION, self.bearer.clone())
    }
}

/// What a connection remembers of earlier answers.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    /// Where the second page begins.
    pub(crate) cursor: String,
    /// Of the list of categories.
    pub(crate) tag: HeaderValue,
}

/// The call over HTTP. `run` tells the rows that it makes from those of other runs.
pub(crate) fn request(
    call: Call,
    person: &Person,
    known: &Remembered,
    run: &str,
) -> http::Result<Request<Full<Bytes>>> {
    let get = |path: &str| person.ask(Method::GET, path).body(Full::default());
    let id = || person.transaction(call).unwrap_or_default();
    let sent = |method, path: &str, media: &'static str, body: String| {
        person.ask(method, path).header(CONTENT_TYPE, media).body(body.into())
    };
    match call.kind {
        Kind::List => get("transactions"),
        Kind::Next => get(&format!("transactions?cursor={}", known.cursor)),
        Kind::Filtered => match call.number % 3 {
            0 => get(&format!("transactions?category={}", category(call))),
            1 => get("transactions?from=2024-03-01&to=2024-03-31"),
            _ => get(&format!("transactions?merchant=market%20{}", call.number % 100)),
        },
        Kind::Get => get(&format!("transactions/{}", id())),
        Kind::Categories => {
            person.ask(Method::GET, "categories").header(IF_NONE_MATCH, known.tag.clone()).body(Full::default())
        }
        Kind::Status => get(&format!("training/status/{}", person.job)),
        Kind::Create => {
            let body = json!({
                "transaction_date": people::day(call.number).to_string(),
                "direction": "debit",
                "amount": "12.34",
                "currency": "EUR",
                "description": people::description(run, call.number),
                "merchant_name": "Supermarket",
                "category": category(call),
            });
            sent(Method::POST, "transactions", "application/json", body.to_string())
        }
        Kind::Change => {
            let body = json!({"category": category(call)}).to_string();
            sent(Method::PATCH, &format!("transactions/{}/category", id()), "application/json", body)
        }
        Kind::Import => sent(Method::POST, "transactions/import", "text/csv", file(call, run)),
    }
}

/// A category for a call.
pub(crate) fn category(call: Call) -> &'static str {
    CATEGORIES[call.number as usize % CATEGORIES.len()]
}

/// A file for a call.
pub(crate) fn file(call: Call, run: &str) -> String {
    people::csv(&format!("{run} {}", call.number), 0..IMPORTED)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn the_schedule_is_even_and_has_the_mix() {
        assert_eq!(Kind::MIX.iter().map(|(_, share)| share).sum::<u32>(), 100);
        let arguments = Arguments::parse_from(["", "--rate", "500", "--connections", "7"]);
        let calls = schedule(&arguments, 20);
        assert_eq!(calls.len(), 10_000);
        assert_eq!(calls[501].at - calls[500].at, Duration::from_millis(2));
        for (kind, share) in Kind::MIX {
            let found = calls.iter().filter(|call| call.kind == kind).count() as f64 / 100.0;
            assert!((found - f64::from(share)).abs() < 1.0, "{kind:?}: {found}");
        }
        assert!((0..7).all(|connection| calls.iter().any(|call| call.connection == connection)));
    }
}
