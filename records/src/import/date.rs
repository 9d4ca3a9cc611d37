//! Dates as banks write them. Which number is the day is decided once for a whole column.

use time::{Date, Month};

use super::FileError;
use super::words::plain;
use crate::domain::Invalid;

/// The order of a date's numbers. A date that begins with four digits is year, month, day in any column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOrder {
    /// 2026-12-31.
    YearMonthDay,
    /// 31.12.2026, 31/12/26.
    DayMonthYear,
    /// 12/31/2026.
    MonthDayYear,
}

impl DateOrder {
    /// From `ymd`, `dmy` or `mdy`.
    ///
    /// # Errors
    /// If it is none of the three.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "ymd" => Ok(Self::YearMonthDay),
            "dmy" => Ok(Self::DayMonthYear),
            "mdy" => Ok(Self::MonthDayYear),
            _ => Err(Invalid::new("date_format", "unknown; one of ymd, dmy, mdy")),
        }
    }

    /// For a person.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::YearMonthDay => "2026-12-31",
            Self::DayMonthYear => "31.12.2026, 31/12/2026 or 2026-12-31",
            Self::MonthDayYear => "12/31/2026 or 2026-12-31",
        }
    }
}

/// A date's three numbers as they stand, and a time of day if one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    numbers: [u16; 3],
    year_first: bool,
    dotted: bool,
    short_year: bool,
    /// Whether a time of day other than midnight follows. It is not read: the day is the bank's, whatever the zone.
    pub(super) timed: bool,
}

impl Written {
    /// `None`: this is no date of any order.
    pub(super) fn read(text: &str) -> Option<Self> {
        Self::numbered(text).or_else(|| Self::named(text))
    }

    fn numbered(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once(['T', ' ', ',']) {
            Some((date, time)) => (date, time.trim()),
            None => (text, ""),
        };
        let timed = tells_time(time)?;
        if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) {
            let numbers = [number(&date[..4])?, number(&date[4..6])?, number(&date[6..])?];
            return Some(Self { numbers, year_first: true, dotted: false, short_year: false, timed });
        }
        let mark = date.chars().find(|letter| matches!(letter, '-' | '/' | '.'))?;
        let mut parts = date.split(mark);
        let parts = [parts.next()?, parts.next()?, parts.next().filter(|_| parts.next().is_none())?];
        let lengths = parts.map(str::len);
        let (year_first, short_year) = match lengths {
            [4, 1..=2, 1..=2] => (true, false),
            [1..=2, 1..=2, 4] => (false, false),
            [1..=2, 1..=2, 2] => (false, true),
            _ => return None,
        };
        let numbers = [number(parts[0])?, number(parts[1])?, number(parts[2])?];
        Some(Self { numbers, year_first, dotted: mark == '.', short_year, timed })
    }

    /// `12 Mar 2026`, `March 12, 2026`, `12. März 2026`, `12 de marzo de 2026`: in no doubt about its order.
    fn named(text: &str) -> Option<Self> {
        if !text.contains(char::is_alphabetic) {
            return None;
        }
        let words = text.split([' ', '.', '-', '/', ',']).filter(|word| !matches!(*word, "" | "de" | "of"));
        let words: Vec<&str> = words.collect();
        let [first, second, year, time @ ..] = words.as_slice() else { return None };
        let (month, day) = month(second).map(|month| (month, first)).or_else(|| Some((month(first)?, second)))?;
        let day = ["st", "nd", "rd", "th"].iter().find_map(|end| day.strip_suffix(end)).unwrap_or(day);
        let short_year = match (year.len(), day.len()) {
            (4, 1..=2) => false,
            (2, 1..=2) => true,
            _ => return None,
        };
        let timed = tells_time(&time.join(" "))?;
        Some(Self { numbers: [number(year)?, month, number(day)?], year_first: true, dotted: false, short_year, timed })
    }

    /// The day; `None` if it is written in another order or does not exist. A year of two digits is the one that is
    /// no later than the next year.
    pub(super) fn date(self, order: DateOrder, today: Date) -> Option<Date> {
        let [first, second, third] = self.numbers;
        let (year, month, day) = match order {
            _ if self.year_first => (first, second, third),
            DateOrder::YearMonthDay => return None,
            DateOrder::DayMonthYear => (third, second, first),
            DateOrder::MonthDayYear => (third, first, second),
        };
        let year = match i32::from(year) {
            short if self.short_year && 2000 + short <= today.year() + 1 => 2000 + short,
            short if self.short_year => 1900 + short,
            year => year,
        };
        let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
        Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()
    }
}

/// Whether a time of day other than midnight; `None` if it is neither a time nor empty.
fn tells_time(text: &str) -> Option<bool> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'+' | b'-' | b' ');
    let digit = text.starts_with(|first: char| first.is_ascii_digit());
    let is_time = digit && text.contains(':') && text.bytes().all(allowed);
    // What a spreadsheet writes beside a day that has no time, and the same with a zone behind it.
    let clock = text.split(['+', '-', 'Z', ' ']).next().unwrap_or_default();
    let midnight = match text.ends_with("AM") {
        true => matches!(clock, "12:00" | "12:00:00"),
        false => !clock.bytes().any(|byte| matches!(byte, b'1'..=b'9')),
    };
    (is_time || text.is_empty()).then_some(!midnight)
}

/// By the first letters of its name, in the languages of the columns' names.
fn month(name: &str) -> Option<u16> {
    let name = plain(name);
    let starts = |beginnings: &&[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    MONTHS.iter().zip(1..).find(|(beginnings, _)| starts(beginnings)).map(|(_, month)| month)
}

const MONTHS: [&[&str]; 12] = [
    &["jan", "ene", "gen", "sty"],
    &["feb", "fev", "lut"],
    &["mar", "mrt", "maa", "mrz"],
    &["apr", "abr", "avr", "kwi"],
    &["may", "mai", "mei", "mag", "maj"],
    &["jun", "juin", "giu", "cze"],
    &["jul", "juil", "lug", "lip"],
    &["aug", "ago", "aou", "sie"],
    &["sep", "set", "wrz"],
    &["oct", "okt", "ott", "out", "paz"],
    &["nov", "lis"],
    &["dec", "dez", "dic", "gru"],
];

fn number(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// What a column's cells say about its order: the first line of each kind.
#[derive(Clone, Debug, Default)]
pub(super) struct DateEvidence {
    day_first: Option<u64>,
    month_first: Option<u64>,
    either: Option<u64>,
}

impl DateEvidence {
    pub(super) fn note(&mut self, line: u64, text: &str) {
        let Some(written) = Written::read(text).filter(|written| !written.year_first) else { return };
        let seen = match written.numbers {
            // Nobody writes points between month and day.
            [1..=31, 1..=12, _] if written.dotted => &mut self.day_first,
            [13..=31, 1..=12, _] => &mut self.day_first,
            [1..=12, 13..=31, _] => &mut self.month_first,
            [a @ 1..=12, b @ 1..=12, _] if a != b => &mut self.either,
            _ => return,
        };
        seen.get_or_insert(line);
    }

    pub(super) fn decide(&self, column: &str) -> Result<DateOrder, FileError> {
        let column = || column.to_owned();
        match (self.day_first, self.month_first, self.either) {
            (Some(day_first), Some(month_first), _) => {
                Err(FileError::MixedDates { column: column(), day_first, month_first })
            }
            (None, Some(_), _) => Ok(DateOrder::MonthDayYear),
            (None, None, Some(line)) => Err(FileError::AmbiguousDates { line, column: column() }),
            (Some(_), None, _) | (None, None, None) => Ok(DateOrder::DayMonthYear),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    const TODAY: Date = date!(2026 - 03 - 01);

    #[test]
    fn dates_are_read_in_the_order_given() {
        use DateOrder::{DayMonthYear, MonthDayYear, YearMonthDay};
        let day = date!(2026 - 02 - 03);
        for (text, order, expected) in [
            ("2026-02-03", YearMonthDay, Some(day)),
            ("2026-02-03", DayMonthYear, Some(day)),
            ("2026/2/3", MonthDayYear, Some(day)),
            ("20260203", YearMonthDay, Some(day)),
            ("2026-02-03T10:11:12.5+01:00", YearMonthDay, Some(day)),
            ("03.02.2026 23:59", DayMonthYear, Some(day)),
            ("3.2.26", DayMonthYear, Some(day)),
            ("3/2/2026", DayMonthYear, Some(day)),
            ("2/3/2026, 1:15 PM", MonthDayYear, Some(day)),
            ("3 Feb 2026", MonthDayYear, Some(day)),
            ("February 3rd, 2026 10:15", DayMonthYear, Some(day)),
            ("3-FEB-26", YearMonthDay, Some(day)),
            ("3. fév. 2026", DayMonthYear, Some(day)),
            ("3 de febrero de 2026", DayMonthYear, Some(day)),
            ("3 lutego 2026", DayMonthYear, Some(day)),
            ("30 Feb 2026", DayMonthYear, None),
            ("3 Smarch 2026", DayMonthYear, None),
            ("Feb 2026", DayMonthYear, None),
            ("3 Feb 2026 soon", DayMonthYear, None),
            ("2/3/99", MonthDayYear, Some(date!(1999 - 02 - 03))),
            ("2/3/27", MonthDayYear, Some(date!(2027 - 02 - 03))),
            ("2026-02-30", YearMonthDay, None),
            ("2026-13-01", YearMonthDay, None),
            ("29/02/2025", DayMonthYear, None),
            ("00/00/0000", DayMonthYear, None),
            ("3/2/2026", YearMonthDay, None),
            ("13/13/2026", DayMonthYear, None),
            ("2026-02-03 soon", YearMonthDay, None),
            ("2026-02", YearMonthDay, None),
            ("2026-02-03-04", YearMonthDay, None),
            ("+026-02-03", YearMonthDay, None),
            ("٢٠٢٦-02-03", YearMonthDay, None),
            ("yesterday", YearMonthDay, None),
            ("", YearMonthDay, None),
        ] {
            let read = Written::read(text).and_then(|written| written.date(order, TODAY));
            assert_eq!(read, expected, "{text} {order:?}");
        }
    }

    #[test]
    fn midnight_is_no_time_of_day() {
        for (text, timed) in [
            ("2026-02-03", false),
            ("2026-02-03T00:00:00.000Z", false),
            ("2026-02-03T00:00:00+01:00", false),
            ("2/3/2026 12:00:00 AM", false),
            ("2/3/2026 12:00 PM", true),
            ("2/3/2026 1:00 AM", true),
            ("3 Feb 2026 00:01", true),
        ] {
            assert_eq!(Written::read(text).unwrap().timed, timed, "{text}");
        }
    }

    #[test]
    fn the_whole_column_decides_the_order() {
        let decide = |cells: &[&str]| {
            let mut evidence = DateEvidence::default();
            cells.iter().zip(2..).for_each(|(cell, line)| evidence.note(line, cell));
            evidence.decide("Date")
        };
        assert_eq!(decide(&["01/02/2026", "13/02/2026"]), Ok(DateOrder::DayMonthYear));
        assert_eq!(decide(&["01/02/2026", "02/13/2026"]), Ok(DateOrder::MonthDayYear));
        assert_eq!(decide(&["01.02.2026"]), Ok(DateOrder::DayMonthYear));
        assert_eq!(decide(&["01/01/2026", "02-02-2026"]), Ok(DateOrder::DayMonthYear), "both orders agree");
        assert!(decide(&["2026-01-02", "nonsense", "13/13/2026"]).is_ok());
        let ambiguous = decide(&["02/02/2026", "01/02/2026"]).unwrap_err();
        assert_eq!(ambiguous, FileError::AmbiguousDates { line: 3, column: "Date".into() });
        assert!(ambiguous.to_string().contains("date_format"));
        let mixed = decide(&["13/02/2026", "02/13/2026"]).unwrap_err();
        assert_eq!(mixed, FileError::MixedDates { column: "Date".into(), day_first: 2, month_first: 3 });
    }
}
