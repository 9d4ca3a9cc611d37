//! A row's cells as a transaction.

use std::borrow::Cow;

use serde_json::{Map, Value};
use time::Date;

use super::amount;
use super::cells::Cells;
use super::columns::{Amounts, Columns, Layout};
use super::equals::Equals;
use super::{RowError, date, words};
use crate::domain::{
    CategorySlug, CategorySource, Currency, Direction, Fingerprint, Invalid, Money, NewTransaction, Status, Text,
};

pub(super) fn read(
    cells: &Cells<'_>,
    columns: &Columns,
    layout: &Layout,
    equals: &mut Equals,
) -> Result<NewTransaction, RowError> {
    if let Some(refused) = &cells.refused {
        return Err(refused.clone());
    }
    Line { cells, columns, layout }.read(equals)
}

struct Line<'l> {
    cells: &'l Cells<'l>,
    columns: &'l Columns,
    layout: &'l Layout,
}

impl Line<'_> {
    fn read(&self, equals: &mut Equals) -> Result<NewTransaction, RowError> {
        let layout = self.layout;
        let (transaction_date, timed) = self.date()?;
        let (direction, money) = self.money()?;
        let merchant_name = self.text(layout.merchant, "merchant_name")?;
        let payment_method = self.text(layout.payment, "payment_method")?;
        let description = self.description()?;
        let status = self.status()?;
        let raw_data = self.raw_data()?;
        // Last, so that a row that is refused is not counted among its equals.
        let fingerprint = match self.own_fingerprint()? {
            Some(fingerprint) => fingerprint,
            None => {
                let telling = timed || layout.telling.iter().any(|place| !self.cells.text(*place).is_empty());
                let content = (transaction_date, direction, money, description.as_str());
                equals.fingerprint(content, &self.optional(layout.reference), telling, self.cells.raw())
            }
        };
        let category = CategorySlug::from_name(&self.optional(layout.category));
        Ok(NewTransaction {
            transaction_date,
            direction,
            money,
            description,
            merchant_name,
            category: category.map(|slug| (slug, CategorySource::Import)),
            payment_method,
            status,
            fingerprint,
            raw_data,
        })
    }

    /// The day, and whether a time of day stands beside it.
    fn date(&self) -> Result<(Date, bool), RowError> {
        let Layout { date: place, date_order: order, today, .. } = *self.layout;
        let text = self.required(place)?;
        let written = date::Written::read(&text);
        let read = written.and_then(|written| Some((written.date(order, today)?, written.timed)));
        let (date, timed) = read.ok_or_else(|| {
            self.error(place, format!("not a date of the calendar, or not written as {}", order.shown()))
        })?;
        NewTransaction::check_date(date, today).map_err(|invalid| self.invalid(place, invalid))?;
        Ok((date, timed))
    }

    fn money(&self) -> Result<(Direction, Money), RowError> {
        match self.layout.amounts {
            Amounts::Signed(place) => {
                let (negative, money) = self.amount(place, &self.required(place)?)?;
                let word = match self.layout.direction {
                    Some(place) => self.direction(place)?,
                    None => None,
                };
                match word {
                    Some(Direction::Credit) if negative => {
                        Err(self
                            .error(place, "negative, but the row says that the money came in; one of them is wrong"))
                    }
                    Some(direction) => Ok((direction, money)),
                    None if negative => Ok((Direction::Debit, money)),
                    None => Ok((self.layout.unsigned, money)),
                }
            }
            Amounts::Split { debit, credit } => self.split(debit, credit),
        }
    }

    /// Of two columns, one has the amount and the other nothing or zero. Some banks write debits with a minus too.
    fn split(&self, debit: Option<usize>, credit: Option<usize>) -> Result<(Direction, Money), RowError> {
        let read = |place: Option<usize>| {
            let Some(place) = place else { return Ok(None) };
            let text = self.cells.text(place);
            if text.is_empty() { Ok(None) } else { self.amount(place, &text).map(|amount| Some((place, amount))) }
        };
        match (read(debit)?, read(credit)?) {
            (_, Some((place, (true, money)))) if money.minor != 0 => {
                Err(self.error(place, "negative; write money that went out in the other column"))
            }
            (Some((_, (_, out))), Some((place, (_, came)))) if out.minor != 0 && came.minor != 0 => {
                Err(self.error(place, "both columns have an amount; leave one of them empty"))
            }
            (Some((_, (_, money))), None) => Ok((Direction::Debit, money)),
            (Some((_, (_, money))), Some((_, (_, came)))) if came.minor == 0 => Ok((Direction::Debit, money)),
            (_, Some((_, (_, money)))) => Ok((Direction::Credit, money)),
            (None, None) => {
                Err(self.error(debit.or(credit).unwrap_or_default(), "no amount; write one, such as 12.34"))
            }
        }
    }

    /// Whether it is negative, and how much it is.
    fn amount(&self, place: usize, text: &str) -> Result<(bool, Money), RowError> {
        let mark = self.layout.decimal;
        let written = amount::Written::read(text);
        let read = written.and_then(|written| Some((written, written.plain(mark)?)));
        let (written, plain) =
            read.ok_or_else(|| self.error(place, format!("not an amount; write it such as {}", mark.shown())))?;
        let currency = self.currency(place, written.currency)?;
        let money = Money::parse(&plain, currency).map_err(|invalid| self.invalid(place, invalid))?;
        Ok((written.negative, money))
    }

    /// What a cell says goes before what the column's name or the person says.
    fn currency(&self, amount: usize, beside: Option<Currency>) -> Result<Currency, RowError> {
        let code = self.optional(self.layout.currency);
        let named = match self.layout.currency {
            Some(place) if !code.is_empty() => {
                let code = if &*code == "€" { "EUR".into() } else { code.to_uppercase() };
                Some(Currency::new(&code).map_err(|invalid| self.invalid(place, invalid))?)
            }
            _ => None,
        };
        match (named, beside) {
            (Some(named), Some(beside)) if named != beside => {
                let problem = format!("in {}, but the row's currency is {}", beside.code(), named.code());
                Err(self.error(amount, problem))
            }
            (named, beside) => named.or(beside).or(self.layout.default_currency).ok_or_else(|| {
                RowError::new("currency", "no currency; write its code, such as EUR, or give `currency` for the file")
            }),
        }
    }

    fn direction(&self, place: usize) -> Result<Option<Direction>, RowError> {
        let text = self.cells.text(place);
        match words::direction(&text) {
            None if !text.is_empty() => Err(self.error(place, "unknown; write credit, debit, income or expense")),
            direction => Ok(direction),
        }
    }

    fn status(&self) -> Result<Status, RowError> {
        let Some(place) = self.layout.status else { return Ok(Status::default()) };
        let text = self.cells.text(place);
        match words::status(&text) {
            Some(status) => Ok(status),
            None if text.is_empty() => Ok(Status::default()),
            None => Err(self.error(place, "unknown; write pending, completed, failed or cancelled")),
        }
    }

    /// The description, or else the other side's name, or else the bank's word for the kind of payment.
    fn description(&self) -> Result<Text<500>, RowError> {
        let layout = self.layout;
        for place in [layout.description, layout.merchant, layout.payment] {
            if let Some(text) = self.text(place, "description")? {
                return Ok(text);
            }
        }
        let place = layout.description.or(layout.merchant).unwrap_or_default();
        Err(self.error(place, "empty; write what the transaction was"))
    }

    /// A text on one line.
    fn text<const MAX: usize>(&self, place: Option<usize>, field: &'static str) -> Result<Option<Text<MAX>>, RowError> {
        let Some(place) = place else { return Ok(None) };
        let text = self.cells.text(place);
        if text.is_empty() {
            return Ok(None);
        }
        let is_break = |letter| matches!(letter, '\r' | '\n' | '\t');
        let text: Cow<'_, str> = if text.contains(is_break) {
            text.split(is_break).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ").into()
        } else {
            text
        };
        Text::new(field, &text).map(Some).map_err(|invalid| self.invalid(place, invalid))
    }

    /// A file that was exported from here says itself what is the same.
    fn own_fingerprint(&self) -> Result<Option<Fingerprint>, RowError> {
        let Some(place) = self.layout.fingerprint else { return Ok(None) };
        let text = self.cells.text(place);
        if text.is_empty() {
            return Ok(None);
        }
        let mut fingerprint = Fingerprint([0; 32]);
        hex::decode_to_slice(&*text, &mut fingerprint.0)
            .map_err(|_| self.error(place, "not 64 hexadecimal digits; leave it out unless it comes from an export"))?;
        Ok(Some(fingerprint))
    }

    /// What no field was read from, so that nothing the bank wrote is lost.
    fn raw_data(&self) -> Result<Option<Value>, RowError> {
        if let Some(place) = self.layout.raw_data {
            let raw = self.value(place)?;
            NewTransaction::check_raw_data(&raw).map_err(|invalid| self.invalid(place, invalid))?;
            return Ok(Some(raw).filter(|raw| !raw.is_null()));
        }
        let mut raw = Map::new();
        for place in &self.layout.rest {
            let value = self.value(*place)?;
            if !value.is_null() {
                raw.insert(self.columns.name(*place).to_owned(), value);
            }
        }
        if raw.is_empty() {
            return Ok(None);
        }
        let raw = Value::Object(raw);
        NewTransaction::check_raw_data(&raw).map_err(|invalid| RowError::invalid("other columns", invalid))?;
        Ok(Some(raw))
    }

    fn value(&self, place: usize) -> Result<Value, RowError> {
        self.cells.value(place).map_err(|_| {
            self.error(place, "cannot be kept: a number is too large, or lists are too deep in each other")
        })
    }

    fn required(&self, place: usize) -> Result<Cow<'_, str>, RowError> {
        let text = self.cells.text(place);
        if text.is_empty() { Err(self.error(place, "empty; every transaction has one")) } else { Ok(text) }
    }

    fn optional(&self, place: Option<usize>) -> Cow<'_, str> {
        place.map_or(Cow::Borrowed(""), |place| self.cells.text(place))
    }

    fn error(&self, place: usize, problem: impl Into<String>) -> RowError {
        RowError::new(self.columns.name(place), problem)
    }

    fn invalid(&self, place: usize, invalid: Invalid) -> RowError {
        RowError::invalid(self.columns.name(place), invalid)
    }
}
