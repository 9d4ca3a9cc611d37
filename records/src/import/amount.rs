//! Amounts as banks write them. What stands before decimals is decided once for all columns of amounts.

use super::FileError;
use crate::domain::{Currency, Invalid};

/// What stands before decimals; the other one, a space or an apostrophe may stand between thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalMark {
    /// 1,234.56.
    Point,
    /// 1.234,56.
    Comma,
}

impl DecimalMark {
    /// From `point` or `comma`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "point" => Ok(Self::Point),
            "comma" => Ok(Self::Comma),
            _ => Err(Invalid::new("decimal", "unknown; one of point, comma")),
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Point => '.',
            Self::Comma => ',',
        }
    }

    /// For a person.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Point => "1234.56, -1,234.56 or (12.00)",
            Self::Comma => "1234,56, -1.234,56 or (12,00)",
        }
    }
}

/// An amount's parts as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written<'a> {
    /// A minus before or behind it, or brackets around it.
    pub(super) negative: bool,
    /// The currency beside it, if a code or sign there means exactly one.
    pub(super) currency: Option<Currency>,
    /// Digits, and what stands between them.
    body: &'a str,
}

impl<'a> Written<'a> {
    /// `None`: this is no amount, however its decimals are marked.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (brackets, mut rest) = match text.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => (true, inner.trim()),
            None => (false, text),
        };
        let mut sign = None;
        let mut label = "";
        while !rest.starts_with(is_inner) {
            rest = strip(rest, &mut sign, &mut label, Side::Front)?;
        }
        while !rest.ends_with(is_inner) {
            rest = strip(rest, &mut sign, &mut label, Side::Back)?;
        }
        let inner = rest.chars().all(|letter| is_inner(letter) || is_gap(letter));
        if !inner || !rest.contains(|letter: char| letter.is_ascii_digit()) || (brackets && sign.is_some()) {
            return None;
        }
        Some(Self { negative: brackets || sign == Some('-'), currency: currency_of(label)?, body: rest })
    }

    /// The number in the plain form of [`Money::parse`](crate::domain::Money::parse); `None` if it is not written with
    /// this decimal mark.
    pub(super) fn plain(&self, mark: DecimalMark) -> Option<String> {
        let (whole, decimals) = match self.body.split_once(mark.sign()) {
            Some((_, "")) => return None,
            Some((whole, decimals)) => (whole, decimals),
            None => (self.body, ""),
        };
        if !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut plain = String::with_capacity(self.body.len() + 1);
        let mut groups = whole.split(|letter: char| !letter.is_ascii_digit()).peekable();
        while let Some(group) = groups.next() {
            // Thousands, or as in India lakhs: the last group has three digits, those before it two or three.
            let fits = match (plain.is_empty(), groups.peek().is_none()) {
                (true, true) => true,
                (true, false) => (1..=3).contains(&group.len()),
                (false, true) => group.len() == 3,
                (false, false) => (2..=3).contains(&group.len()),
            };
            if !fits {
                return None;
            }
            plain.push_str(group);
        }
        if plain.is_empty() {
            plain.push('0');
        }
        if !decimals.is_empty() {
            plain.push('.');
            plain.push_str(decimals);
        }
        Some(plain)
    }
}

enum Side {
    Front,
    Back,
}

/// Takes a gap, a sign, or a currency's code or sign off one end; `None` if something else is there, or a second one.
fn strip<'a>(text: &'a str, sign: &mut Option<char>, label: &mut &'a str, side: Side) -> Option<&'a str> {
    let end = match side {
        Side::Front => text.chars().next()?,
        Side::Back => text.chars().next_back()?,
    };
    let same: fn(char) -> bool = match end {
        '-' | '+' | '\u{2212}' => {
            let normal = if end == '\u{2212}' { '-' } else { end };
            if sign.replace(normal).is_some() {
                return None;
            }
            let rest = match side {
                Side::Front => text.strip_prefix(end),
                Side::Back => text.strip_suffix(end),
            };
            return rest;
        }
        gap if is_gap(gap) => is_gap,
        _ => |letter| !is_inner(letter) && !is_gap(letter) && !matches!(letter, '-' | '+' | '\u{2212}' | '(' | ')'),
    };
    let rest = match side {
        Side::Front => text.trim_start_matches(same),
        Side::Back => text.trim_end_matches(same),
    };
    if !is_gap(end) {
        let taken = match side {
            Side::Front => &text[..text.len() - rest.len()],
            Side::Back => &text[rest.len()..],
        };
        if taken.is_empty() || !label.is_empty() {
            return None;
        }
        *label = taken;
    }
    Some(rest)
}

fn is_inner(letter: char) -> bool {
    letter.is_ascii_digit() || matches!(letter, '.' | ',')
}

fn is_gap(letter: char) -> bool {
    matches!(letter, '\'' | '\u{2019}') || letter.is_whitespace()
}

/// `None`: no currency. `Some(None)`: nothing is there, or a sign that several currencies share.
fn currency_of(label: &str) -> Option<Option<Currency>> {
    let code = match label {
        "" | "$" | "¥" | "kr" | "kr." | "Kr" | "Fr" | "Fr." | "R" => return Some(None),
        "€" => "EUR",
        "£" => "GBP",
        "₹" => "INR",
        "₽" => "RUB",
        "₺" => "TRY",
        "₴" => "UAH",
        "₩" => "KRW",
        "zł" => "PLN",
        "Kč" => "CZK",
        "Ft" => "HUF",
        "R$" => "BRL",
        "US$" => "USD",
        code => code,
    };
    Currency::new(code).ok().map(Some)
}

/// What cells say about the decimal mark: the first line of each kind.
#[derive(Clone, Debug, Default)]
pub(super) struct AmountEvidence {
    point: Option<u64>,
    comma: Option<u64>,
    /// A point that may part thousands or stand before three decimals.
    either_point: Option<u64>,
    /// The same for a comma.
    either_comma: Option<u64>,
    /// Whether any is negative.
    pub(super) negative: bool,
    /// Whether any has its currency beside it.
    pub(super) currency: bool,
}

impl AmountEvidence {
    /// `points`: a point alone stands before decimals, as in JSON, where programs write the numbers.
    pub(super) fn note(&mut self, line: u64, text: &str, points: bool) {
        let Some(written) = Written::read(text) else { return };
        self.negative |= written.negative;
        self.currency |= written.currency.is_some();
        let body = written.body;
        let marks = |mark| body.matches(mark).count();
        let seen = match (marks('.'), marks(',')) {
            (0, 0) => return,
            (1, 0) if points => &mut self.point,
            (1, 0) if may_be_thousands(body, '.') => &mut self.either_point,
            (0, 1) if may_be_thousands(body, ',') => &mut self.either_comma,
            (1, 0) => &mut self.point,
            (0, 1) => &mut self.comma,
            (_, 0) => &mut self.comma,
            (0, _) => &mut self.point,
            _ if body.rfind('.') > body.rfind(',') => &mut self.point,
            _ => &mut self.comma,
        };
        seen.get_or_insert(line);
    }

    /// What two columns say together.
    pub(super) fn and(&self, other: &Self) -> Self {
        let first = |a: Option<u64>, b: Option<u64>| [a, b].into_iter().flatten().min();
        Self {
            point: first(self.point, other.point),
            comma: first(self.comma, other.comma),
            either_point: first(self.either_point, other.either_point),
            either_comma: first(self.either_comma, other.either_comma),
            negative: self.negative || other.negative,
            currency: self.currency || other.currency,
        }
    }

    /// `whole`: the file's currency has no decimals, so that a mark before three digits parts thousands.
    pub(super) fn decide(&self, column: &str, whole: bool) -> Result<DecimalMark, FileError> {
        let ambiguous = |line| Err(FileError::AmbiguousAmounts { line, column: column.to_owned() });
        match (self.point, self.comma, self.either_point, self.either_comma) {
            (Some(point), Some(comma), _, _) => Err(FileError::MixedAmounts { point, comma }),
            (Some(_), None, _, _) => Ok(DecimalMark::Point),
            (None, Some(_), _, _) => Ok(DecimalMark::Comma),
            (None, None, None, None) => Ok(DecimalMark::Point),
            (None, None, Some(_), None) if whole => Ok(DecimalMark::Comma),
            (None, None, None, Some(_)) if whole => Ok(DecimalMark::Point),
            (None, None, Some(line), None) | (None, None, None, Some(line)) => ambiguous(line),
            (None, None, Some(point), Some(comma)) => ambiguous(point.min(comma)),
        }
    }
}

/// Whether a single mark could part thousands: one to three digits before it, not a lone zero, and three behind.
fn may_be_thousands(body: &str, mark: char) -> bool {
    body.split_once(mark).is_some_and(|(whole, rest)| (1..=3).contains(&whole.len()) && whole != "0" && rest.len() == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_the_mark_given() {
        use DecimalMark::{Comma, Point};
        for (text, mark, expected) in [
            ("12.34", Point, Some("12.34")),
            ("-12.34", Point, Some("-12.34")),
            ("+12", Point, Some("12")),
            ("12.34-", Point, Some("-12.34")),
            ("(1,234.50)", Point, Some("-1234.50")),
            ("\u{2212}5", Point, Some("-5")),
            ("1,234,567.8", Point, Some("1234567.8")),
            ("1,23,456.00", Point, Some("123456.00")),
            (".50", Point, Some("0.50")),
            ("1.234.567,80", Comma, Some("1234567.80")),
            ("1 234,5", Comma, Some("1234.5")),
            ("1\u{202f}234,5 €", Comma, Some("1234.5")),
            ("1'234.50", Point, Some("1234.50")),
            ("EUR -12,00", Comma, Some("-12.00")),
            ("-€12", Point, Some("-12")),
            ("-12,00 zł", Comma, Some("-12.00")),
            ("US$ 1,000", Point, Some("1000")),
            ("12,34", Point, None),
            ("12.34", Comma, None),
            ("1.234.5", Point, None),
            ("1,2345", Point, None),
            ("1234,567.00", Point, None),
            ("12.", Point, None),
            ("--12", Point, None),
            ("-12-", Point, None),
            ("(-12)", Point, None),
            ("EUR 12 EUR", Point, None),
            ("12 apples", Point, None),
            ("12 34", Point, None),
            ("1e400", Point, None),
            ("NaN", Point, None),
            ("inf", Point, None),
            ("=1+1", Point, None),
            ("٣", Point, None),
            ("-", Point, None),
            (".", Point, None),
            ("()", Point, None),
            ("", Point, None),
        ] {
            let read = Written::read(text).and_then(|written| {
                Some(format!("{}{}", if written.negative { "-" } else { "" }, written.plain(mark)?))
            });
            assert_eq!(read.as_deref(), expected, "{text} {mark:?}");
        }
    }

    #[test]
    fn a_currency_beside_an_amount_is_known_only_if_it_is_one() {
        for (text, code) in
            [("12 USD", Some("USD")), ("€12", Some("EUR")), ("$12", None), ("12 kr", None), ("12", None)]
        {
            assert_eq!(Written::read(text).unwrap().currency.map(Currency::code), code, "{text}");
        }
    }

    #[test]
    fn all_columns_together_decide_the_mark() {
        let evidence = |cells: &[&str], points| {
            let mut evidence = AmountEvidence::default();
            cells.iter().zip(2..).for_each(|(cell, line)| evidence.note(line, cell, points));
            evidence
        };
        let decide = |cells: &[&str]| evidence(cells, false).decide("Amount", false);
        for (cells, mark) in [
            (&["1", "2"][..], DecimalMark::Point),
            (&["1.5"], DecimalMark::Point),
            (&["1,5"], DecimalMark::Comma),
            (&["1.234", "1,50"], DecimalMark::Comma),
            (&["1.234", "1.50"], DecimalMark::Point),
            (&["1.234,50"], DecimalMark::Comma),
            (&["1.234.567"], DecimalMark::Comma),
            (&["0.125"], DecimalMark::Point),
            (&["1234,567"], DecimalMark::Comma),
        ] {
            assert_eq!(decide(cells), Ok(mark), "{cells:?}");
        }
        assert_eq!(decide(&["7", "1.234"]).unwrap_err().code(), "ambiguous_amounts");
        assert_eq!(decide(&["1.234", "1,234"]).unwrap_err().line(), Some(2));
        assert_eq!(decide(&["1.50", "1,50"]), Err(FileError::MixedAmounts { point: 2, comma: 3 }));
        let yen = |cells: &[&str]| evidence(cells, false).decide("Amount", true);
        assert_eq!(yen(&["1,234"]), Ok(DecimalMark::Point));
        assert_eq!(yen(&["1.234"]), Ok(DecimalMark::Comma));
        assert!(yen(&["1.234", "1,234"]).is_err());
        assert_eq!(evidence(&["1.234"], true).decide("amount", false), Ok(DecimalMark::Point), "JSON");
        let both = evidence(&["1.234"], false).and(&evidence(&["9", "-7,50"], false));
        assert_eq!((both.decide("Debit", false), both.negative), (Ok(DecimalMark::Comma), true));
    }
}
