//! A page of transactions as one row of JSON.
//!
//! SQLite works on a thread of its own, and the driver hands every row over by itself, each value a copy: for a page of 50
//! that costs more than finding them. So SQLite writes the whole page into one value.

use scale_clock::Timestamp;
use scale_sql::{Row, Statement};
use time::Date;
use time::format_description::well_known::Iso8601;
use uuid::Uuid;

use super::Error;
use super::column::TransactionRow;
use crate::domain::Transaction;

/// The columns of `transactions`, of a query that follows.
const PACKED: &str = "SELECT json_group_array(json_array(hex(id), hex(user_id), transaction_date, direction, amount_minor, currency, description, \
     merchant_name, category, category_source, payment_method, status, hex(fingerprint), json(raw_data), created_at, \
     updated_at)) AS page FROM (";

/// One transaction of [`PACKED`].
type Packed = (
    Uuid,
    Uuid,
    String,
    String,
    i64,
    String,
    String,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    String,
    String,
    Option<serde_json::Value>,
    u64,
    u64,
);

/// What a query for transactions finds, in one row. SQLite only.
pub(super) fn in_one_row(query: Statement) -> Statement {
    query.inside(PACKED, ")")
}

/// The transactions of the one row, in the order of the list, newest first: an aggregate keeps none by contract.
pub(super) fn unpack(row: &Row) -> Result<Vec<Transaction>, Error> {
    let packed: Vec<Packed> = serde_json::from_str(row.text("page")?).map_err(|error| Error::corrupt("page", error))?;
    let mut page = packed.into_iter().map(unpacked).collect::<Result<Vec<_>, Error>>()?;
    page.sort_by_key(|found| std::cmp::Reverse((found.content.transaction_date, found.id)));
    Ok(page)
}

fn unpacked(packed: Packed) -> Result<Transaction, Error> {
    let day = Date::parse(&packed.2, &Iso8601::DATE).map_err(|error| Error::corrupt("transaction_date", error))?;
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(packed.12, &mut fingerprint).map_err(|error| Error::corrupt("fingerprint", error))?;
    Transaction::try_from(TransactionRow {
        id: packed.0,
        user_id: packed.1,
        transaction_date: day,
        direction: packed.3,
        amount_minor: packed.4,
        currency: packed.5,
        description: packed.6,
        merchant_name: packed.7,
        category: packed.8,
        category_source: packed.9,
        payment_method: packed.10,
        status: packed.11,
        fingerprint,
        raw_data: packed.13,
        created_at: Timestamp::from_millis(packed.14),
        updated_at: Timestamp::from_millis(packed.15),
    })
}
