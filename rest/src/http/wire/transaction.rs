//! Transactions as JSON.

use scale_records::domain::{
    self, CategoryChange, CategorySlug, CategorySource, Currency, Direction, Fingerprint, Money, Status,
};
use scale_records::store::{Filter, Listed, Page};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::Date;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::cursor;
use super::super::problem::Problem;
use super::{Faults, day, moment, moment_schema, text, uuid_schema, write_day};

/// A stored transaction.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Transaction<'a> {
    /// Its id.
    #[schema(schema_with = uuid_schema)]
    id: Uuid,
    /// The day it counts for.
    #[schema(format = Date, example = "2026-02-28")]
    transaction_date: String,
    /// Seen from the person's account: `credit` came in, `debit` went out.
    #[schema(pattern = "^(credit|debit)$", example = "debit")]
    direction: &'static str,
    /// The amount as a decimal number, with all decimals of the currency; never negative.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+)?$", example = "12.34")]
    amount: String,
    /// The amount in the currency's minor unit, such as cents.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_992_i64, example = 1234)]
    amount_minor: i64,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: &'static str,
    /// As the bank wrote it.
    #[schema(min_length = 1, max_length = 500, example = "COFFEE SHOP 42 BERLIN")]
    description: &'a str,
    /// The other side.
    #[schema(required, min_length = 1, max_length = 200, example = "Coffee Shop")]
    merchant_name: Option<&'a str>,
    /// What it was for: a category's slug.
    #[schema(required, pattern = "^[a-z0-9-]{1,40}$", example = "eating-out")]
    category: Option<&'a str>,
    /// Who chose the category; a person's choice is never replaced by a prediction.
    #[schema(required, pattern = "^(import|prediction|person)$", example = "person")]
    category_source: Option<&'static str>,
    /// Card, transfer and so on, as the bank calls it.
    #[schema(required, min_length = 1, max_length = 64, example = "card")]
    payment_method: Option<&'a str>,
    /// How far the bank is with it.
    #[schema(pattern = "^(pending|completed|failed|cancelled)$", example = "completed")]
    status: &'static str,
    /// What makes it the same as another one; unique among a person's.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    fingerprint: String,
    /// What came in with it, for the person's own use.
    #[schema(required, value_type = Value)]
    raw_data: Option<&'a Value>,
    /// When it was stored.
    #[schema(schema_with = moment_schema)]
    created_at: String,
    /// When its category changed last.
    #[schema(schema_with = moment_schema)]
    updated_at: String,
}

impl<'a> From<&'a domain::Transaction> for Transaction<'a> {
    fn from(row: &'a domain::Transaction) -> Self {
        let content = &row.content;
        Self {
            id: row.id.0,
            transaction_date: write_day(content.transaction_date),
            direction: content.direction.as_str(),
            amount: content.money.to_decimal_string(),
            amount_minor: content.money.minor,
            currency: content.money.currency.code(),
            description: content.description.as_str(),
            merchant_name: content.merchant_name.as_ref().map(|text| text.as_str()),
            category: content.category.as_ref().map(|(slug, _)| slug.as_str()),
            category_source: content.category.as_ref().map(|(_, source)| source.as_str()),
            payment_method: content.payment_method.as_ref().map(|text| text.as_str()),
            status: content.status.as_str(),
            fingerprint: hex::encode(content.fingerprint.0),
            raw_data: content.raw_data.as_ref(),
            created_at: moment(row.created_at),
            updated_at: moment(row.updated_at),
        }
    }
}

/// A page of transactions, newest first.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Transactions<'a> {
    /// The transactions.
    #[schema(max_items = 200)]
    items: Vec<Transaction<'a>>,
    /// Where the next page begins: give it as `cursor`. `null`: this was the last.
    #[schema(required, pattern = "^A[Q-Za-f][A-Za-z0-9_-]{26}$")]
    next_cursor: Option<String>,
}

impl<'a> From<&'a Listed> for Transactions<'a> {
    fn from(listed: &'a Listed) -> Self {
        Self {
            items: listed.transactions.iter().map(Transaction::from).collect(),
            next_cursor: listed.next.map(cursor::write),
        }
    }
}

/// Which transactions; every condition that is given must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ListQuery {
    /// How many at most; 50 if not given.
    #[param(minimum = 1, maximum = 200, example = 50)]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^A[Q-Za-f][A-Za-z0-9_-]{26}$")]
    cursor: Option<String>,
    /// On this day or later.
    #[param(format = Date, example = "2026-01-01")]
    from: Option<String>,
    /// On this day or earlier.
    #[param(format = Date, example = "2026-12-31")]
    to: Option<String>,
    /// With this category.
    #[param(pattern = "^[a-z0-9-]{1,40}$", example = "eating-out")]
    category: Option<String>,
    /// The merchant's name holds this text; the case of ASCII letters does not matter.
    #[param(min_length = 1, max_length = 200, example = "coffee")]
    merchant: Option<String>,
    /// In this currency.
    #[param(pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: Option<String>,
    /// At least this much, in minor units.
    #[param(minimum = 0, maximum = 9_007_199_254_740_992_i64)]
    min_amount_minor: Option<i64>,
    /// At most this much, in minor units.
    #[param(minimum = 0, maximum = 9_007_199_254_740_992_i64)]
    max_amount_minor: Option<i64>,
}

impl ListQuery {
    const LIMIT: u16 = 50;

    pub(in crate::http) fn read(self) -> Result<(Filter, Page), Problem> {
        let wrong = |name: &str, right: &str| Problem::malformed("malformed_query", format!("{name}: {right}"));
        let date = |name: &str, given: Option<String>| match given {
            None => Ok(None),
            Some(text) => day(&text).map(Some).ok_or_else(|| wrong(name, "not a date; write YYYY-MM-DD")),
        };
        let amount = |name: &str, given: Option<i64>| match given {
            Some(minor) if !(0..=Money::MAX_MINOR).contains(&minor) => {
                Err(wrong(name, "out of range; give 0 to 9007199254740992"))
            }
            in_range => Ok(in_range),
        };
        let limit = self.limit.unwrap_or(Self::LIMIT);
        if !(1..=Page::MAX).contains(&limit) {
            return Err(wrong("limit", "out of range; give 1 to 200"));
        }
        let after = match self.cursor {
            None => None,
            Some(word) => Some(cursor::read(&word).ok_or_else(|| {
                Problem::malformed(
                    "malformed_cursor",
                    "cursor: not one that this API gave; give next_cursor of the page before",
                )
            })?),
        };
        let invalid = |invalid: domain::Invalid| wrong(invalid.field, &invalid.problem);
        let filter = Filter {
            from: date("from", self.from)?,
            to: date("to", self.to)?,
            category: self.category.map(|slug| CategorySlug::new(&slug)).transpose().map_err(invalid)?,
            merchant: self
                .merchant
                .map(|name| text::<200>("merchant", &name).map(|text| text.as_str().to_owned()))
                .transpose()
                .map_err(invalid)?,
            currency: self.currency.map(|code| Currency::new(&code)).transpose().map_err(invalid)?,
            min_minor: amount("min_amount_minor", self.min_amount_minor)?,
            max_minor: amount("max_amount_minor", self.max_amount_minor)?,
        };
        Ok((filter, Page { limit, after }))
    }
}

/// A transaction to be stored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewTransaction {
    /// The day it counts for, `YYYY-MM-DD`, from 1900 on.
    #[schema(example = "2026-02-28")]
    transaction_date: String,
    /// `credit` came in, `debit` went out; `income` and `expense` mean the same.
    #[schema(pattern = "^(credit|debit|income|expense)$", example = "debit")]
    direction: String,
    /// The amount as a decimal number without a sign, with at most as many decimals as the currency has.
    #[schema(example = "12.34")]
    amount: String,
    /// ISO 4217.
    #[schema(example = "EUR")]
    currency: String,
    /// As the bank wrote it.
    #[schema(min_length = 1, max_length = 500, example = "COFFEE SHOP 42 BERLIN")]
    description: String,
    /// The other side.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200, example = "Coffee Shop")]
    merchant_name: Option<String>,
    /// What it was for: a category's slug.
    #[serde(default)]
    #[schema(pattern = "^[a-z0-9-]{1,40}$", example = "eating-out")]
    category: Option<String>,
    /// Who chose the category; the person, if not given.
    #[serde(default)]
    #[schema(pattern = "^(import|prediction|person)$", example = "person")]
    category_source: Option<String>,
    /// Card, transfer and so on.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64, example = "card")]
    payment_method: Option<String>,
    /// How far the bank is with it; `completed`, if not given.
    #[serde(default)]
    #[schema(pattern = "^(pending|completed|failed|cancelled)$", example = "completed")]
    status: Option<String>,
    /// Which one of several equal ones of one day, counted from 0: two equal coffees are two transactions.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 0, maximum = 9999, example = 0)]
    occurrence: Option<u32>,
    /// Anything that belongs to it, for the person's own use; at most 8 KB.
    #[serde(default)]
    #[schema(value_type = Value, required = false)]
    raw_data: Option<Value>,
}

/// A whole number, however JSON writes it: `2.0` is 2.
fn whole<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(from)? else { return Ok(None) };
    let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    // Checked just now.
    is_whole.then_some(Some(number as u32)).ok_or_else(|| serde::de::Error::custom("not a whole number from 0 to 9999"))
}

/// Digits before the point, at most: whatever the decimals, fewer than 2^53 minor units.
fn whole_digits(exponent: u32) -> u32 {
    15 - exponent
}

/// Zeros after the decimals that a currency has, at most.
const SPARE_ZEROS: u32 = 4;

/// What an amount looks like for each number of decimals, and the currencies that have so many. The API's description
/// says with it which amounts go with which currency.
pub(in crate::http) fn new_transaction_cases() -> Vec<(String, Vec<&'static str>)> {
    let letters = || b'A'..=b'Z';
    let mut cases: Vec<(u32, Vec<&'static str>)> = Vec::new();
    for (a, b, c) in letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| (a, b, c)))) {
        let code = [a, b, c];
        let currency = std::str::from_utf8(&code).ok().and_then(|code| Currency::new(code).ok());
        let Some(currency) = currency else { continue };
        match cases.iter_mut().find(|(exponent, _)| *exponent == currency.exponent()) {
            Some((_, codes)) => codes.push(currency.code()),
            None => cases.push((currency.exponent(), vec![currency.code()])),
        }
    }
    let pattern = |exponent: u32| {
        let whole = whole_digits(exponent);
        match exponent {
            0 => format!(r"^[0-9]{{1,{whole}}}(\.0{{1,{SPARE_ZEROS}}})?$"),
            _ => format!(r"^[0-9]{{1,{whole}}}(\.[0-9]{{1,{exponent}}}0{{0,{SPARE_ZEROS}}})?$"),
        }
    };
    cases.into_iter().map(|(exponent, codes)| (pattern(exponent), codes)).collect()
}

impl NewTransaction {
    pub(in crate::http) fn check(self, today: Date) -> Result<domain::NewTransaction, Problem> {
        let mut faults = Faults::default();
        let date = match day(&self.transaction_date) {
            Some(date) => faults.take(domain::NewTransaction::check_date(date, today).map(|()| date)),
            None => {
                faults.add("transaction_date", "not a date of the calendar; write YYYY-MM-DD");
                None
            }
        };
        let direction = faults.take(Direction::parse(&self.direction));
        let money =
            faults.take(Currency::new(&self.currency)).and_then(|currency| faults.take(amount(&self.amount, currency)));
        let description = faults.take(text::<500>("description", &self.description));
        let merchant_name = self.merchant_name.map(|name| faults.take(text::<200>("merchant_name", &name)));
        let payment_method = self.payment_method.map(|name| faults.take(text::<64>("payment_method", &name)));
        let slug = self.category.map(|slug| faults.take(CategorySlug::new(&slug)));
        let source = match self.category_source {
            Some(source) => faults.take(CategorySource::parse(&source)),
            None => Some(CategorySource::Person),
        };
        let status = match self.status {
            Some(status) => faults.take(Status::parse(&status)),
            None => Some(Status::default()),
        };
        let ordinal = self.occurrence.unwrap_or(0);
        if ordinal > 9_999 {
            faults.add("occurrence", "out of range; give 0 to 9999");
        }
        if let Some(raw) = &self.raw_data {
            faults.take(domain::NewTransaction::check_raw_data(raw));
        }
        // The optional ones are `Some(None)` when they were refused, and then there are faults.
        match (date, direction, money, description, source, status) {
            (Some(date), Some(direction), Some(money), Some(description), Some(source), Some(status))
                if faults.0.is_empty() =>
            {
                Ok(domain::NewTransaction {
                    transaction_date: date,
                    direction,
                    money,
                    fingerprint: Fingerprint::of(date, direction, money, description.as_str(), ordinal),
                    description,
                    merchant_name: merchant_name.flatten(),
                    category: slug.flatten().map(|slug| (slug, source)),
                    payment_method: payment_method.flatten(),
                    status,
                    raw_data: self.raw_data,
                })
            }
            _ => Err(faults.into_problem()),
        }
    }
}

fn amount(text: &str, currency: Currency) -> Result<Money, domain::Invalid> {
    let money = Money::parse(text, currency)?;
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let exponent = currency.exponent();
    if whole.len() > whole_digits(exponent) as usize || decimals.len() > (exponent + SPARE_ZEROS) as usize {
        let problem = format!("too many digits; at most {} before the point", whole_digits(exponent));
        return Err(domain::Invalid { field: "amount", problem });
    }
    Ok(money)
}

/// Another category for a transaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ChangeCategory {
    /// The category's slug; `null` takes the category away.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required, pattern = "^[a-z0-9-]{1,40}$", example = "groceries")]
    category: Option<String>,
    /// Who says so; the person, if not given. A prediction does not replace a person's choice.
    #[serde(default)]
    #[schema(pattern = "^(import|prediction|person)$", example = "person")]
    source: Option<String>,
}

impl ChangeCategory {
    pub(in crate::http) fn check(self) -> Result<CategoryChange, Problem> {
        let mut faults = Faults::default();
        let category = self.category.map(|slug| faults.take(CategorySlug::new(&slug)));
        let source = match self.source {
            Some(source) => faults.take(CategorySource::parse(&source)),
            None => Some(CategorySource::Person),
        };
        match source {
            Some(source) if faults.0.is_empty() => Ok(CategoryChange { category: category.flatten(), source }),
            _ => Err(faults.into_problem()),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn amounts_go_with_their_currency_as_the_schema_says() {
        let cases = new_transaction_cases();
        assert_eq!(cases.iter().map(|(_, codes)| codes.len()).sum::<usize>(), 171);
        for (text, code, good) in [
            ("12.34", "EUR", true),
            ("9999999999999.99", "EUR", true),
            ("10000000000000", "EUR", false),
            ("12.340000", "EUR", true),
            ("12.3400000", "EUR", false),
            ("12.345", "EUR", false),
            ("12", "JPY", true),
            ("12.0000", "JPY", true),
            ("12.00000", "JPY", false),
            ("12.5", "JPY", false),
            ("999999999999999", "JPY", true),
            ("1.234", "KWD", true),
            ("1.2345", "CLF", true),
            ("99999999999.9999", "CLF", true),
        ] {
            assert_eq!(amount(text, Currency::new(code).unwrap()).is_ok(), good, "{text} {code}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let body = serde_json::json!({
            "transaction_date": "2026-02-30", "direction": "sideways", "amount": "-1", "currency": "EUR",
            "description": " ", "merchant_name": "a\nb", "category": "Food", "category_source": "me",
            "payment_method": "x".repeat(65), "status": "done", "occurrence": 10_000, "raw_data": "a\u{0}",
        });
        let new: NewTransaction = serde_json::from_value(body).unwrap();
        let problem = new.check(date!(2026 - 03 - 01)).unwrap_err();
        let rendered: Value = serde_json::from_slice(&problem.render("r")).unwrap();
        let fields: Vec<_> = rendered["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
        assert_eq!(fields.len(), 11, "{rendered}");
    }

    #[test]
    fn words_for_a_list_are_read_or_refused() {
        let read = |query: &str| {
            let query = axum::extract::Query::<ListQuery>::try_from_uri(&format!("/?{query}").parse().unwrap());
            query
                .map_err(|error| error.body_text())
                .and_then(|query| query.0.read().map_err(|problem| String::from_utf8(problem.render("r")).unwrap()))
        };
        let (filter, page) = read("from=2026-01-01&min_amount_minor=5&limit=200&merchant=caf%C3%A9").unwrap();
        assert_eq!(filter.from, Some(date!(2026 - 01 - 01)));
        assert_eq!((filter.min_minor, page.limit, filter.merchant.as_deref()), (Some(5), 200, Some("café")));
        for bad in [
            "limit=0",
            "limit=201",
            "limit=x",
            "limit=1&limit=2",
            "from=2026-02-30",
            "from=26-1-1",
            "from=0000-01-01",
            "cursor=x",
            "cursor=",
            "category=Food",
            "merchant=",
            "merchant=%00",
            "currency=eur",
            "min_amount_minor=-1",
            "max_amount_minor=9007199254740993",
            "color=red",
            "from=%2B026-01-01",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
