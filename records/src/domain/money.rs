//! Money as an integer number of minor units: no float ever holds an amount.

use super::Invalid;

/// A currency by its ISO 4217 code.
///
/// Every active code that has a minor unit, and those withdrawn since 2020, because statements reach back. Metals,
/// accounting units and test codes have no minor unit, so that nobody can pay with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency(u8); // place in CODES

impl Currency {
    /// By its code, in capitals.
    ///
    /// # Errors
    /// If there is no such currency.
    pub fn new(code: &str) -> Result<Self, Invalid> {
        let place = CODES.binary_search(&code).ok().and_then(|place| u8::try_from(place).ok());
        place.map(Self).ok_or_else(|| {
            Invalid::new("currency", "no currency of ISO 4217; give three capital letters, such as EUR or JPY")
        })
    }

    /// Its code: three capital letters.
    pub fn code(self) -> &'static str {
        CODES[usize::from(self.0)]
    }

    /// Decimal places of its minor unit: 2 for a cent.
    pub fn exponent(self) -> u32 {
        match self.code() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" => 0,
            "RWF" | "UGX" | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            "CLF" | "UYW" => 4,
            _ => 2,
        }
    }
}

/// An amount, never negative: which way it went is the transaction's [`Direction`](super::Direction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// In the currency's minor unit: cents of a euro, whole yen, thousandths of a Kuwaiti dinar.
    pub minor: i64,
    /// Which currency.
    pub currency: Currency,
}

impl Money {
    /// Largest amount kept, in minor units: every JSON reader holds it exactly.
    pub const MAX_MINOR: i64 = 1 << 53;

    /// From minor units.
    ///
    /// # Errors
    /// If it is negative or above [`Money::MAX_MINOR`].
    pub fn new(minor: i64, currency: Currency) -> Result<Self, Invalid> {
        match minor {
            0..=Self::MAX_MINOR => Ok(Self { minor, currency }),
            ..0 => Err(Invalid::new("amount", "negative; an amount has no sign, its direction says which way it went")),
            _ => Err(too_large(currency)),
        }
    }

    /// From the plain decimal form, such as `12.34`: digits, and at most as many decimals as the currency has, not
    /// counting zeros at the end.
    ///
    /// # Errors
    /// If it has another form, or is above [`Money::MAX_MINOR`].
    pub fn parse(text: &str, currency: Currency) -> Result<Self, Invalid> {
        let (whole, decimals) = match text.split_once('.') {
            Some((whole, decimals)) if !decimals.is_empty() => (whole, decimals.trim_end_matches('0')),
            Some(_) => return Err(not_plain()),
            None => (text, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(decimals.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(not_plain());
        }
        let places = currency.exponent() as usize;
        if decimals.len() > places {
            let code = currency.code();
            return Err(Invalid::new("amount", format!("too many decimals; {code} has {places}")));
        }
        let padding = std::iter::repeat_n(b'0', places - decimals.len());
        let minor = whole.bytes().chain(decimals.bytes()).chain(padding).try_fold(0_i64, |minor, digit| {
            minor.checked_mul(10)?.checked_add(i64::from(digit - b'0')).filter(|minor| *minor <= Self::MAX_MINOR)
        });
        Self::new(minor.ok_or_else(|| too_large(currency))?, currency)
    }

    /// The plain decimal form, with all decimals that the currency has: `12.30`, or `1230` for yen.
    pub fn to_decimal_string(self) -> String {
        let places = self.currency.exponent();
        if places == 0 {
            return self.minor.to_string();
        }
        let unit = 10_i64.pow(places);
        format!("{}.{:0width$}", self.minor / unit, self.minor % unit, width = places as usize)
    }
}

fn not_plain() -> Invalid {
    Invalid::new("amount", "not a plain decimal number; write digits with a point before decimals, such as 12.34")
}

fn too_large(currency: Currency) -> Invalid {
    let most = Money { minor: Money::MAX_MINOR, currency }.to_decimal_string();
    Invalid::new("amount", format!("too large; the most is {most} {}", currency.code()))
}

/// Sorted, so that a currency's place orders as its code does.
#[rustfmt::skip]
const CODES: [&str; 171] = [
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN",
    "BAM", "BBD", "BDT", "BGN", "BHD", "BIF", "BMD", "BND", "BOB", "BOV", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD",
    "CAD", "CDF", "CHE", "CHF", "CHW", "CLF", "CLP", "CNY", "COP", "COU", "CRC", "CUC", "CUP", "CVE", "CZK",
    "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP",
    "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HRK", "HTG", "HUF",
    "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY",
    "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "LYD",
    "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MXV", "MYR", "MZN",
    "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "PYG", "QAR",
    "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SLL", "SOS", "SRD", "SSP",
    "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD", "TWD", "TZS",
    "UAH", "UGX", "USD", "USN", "UYI", "UYU", "UYW", "UZS", "VED", "VES", "VND", "VUV", "WST",
    "XAD", "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG", "ZWL",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::new(code).unwrap()
    }

    #[test]
    fn every_code_is_found_once_and_in_order() {
        for (place, code) in CODES.iter().enumerate() {
            assert_eq!(usize::from(currency(code).0), place, "{code}");
            assert_eq!(currency(code).code(), *code);
        }
        assert!(CODES.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn exponents_are_those_of_iso_4217() {
        for (code, exponent) in [("EUR", 2), ("USD", 2), ("JPY", 0), ("XOF", 0), ("KWD", 3), ("CLF", 4), ("MRU", 2)] {
            assert_eq!(currency(code).exponent(), exponent, "{code}");
        }
        // The standard's own counts: a code listed under a wrong exponent, or misspelt there, changes one of these.
        let having = |exponent| CODES.iter().filter(|code| currency(code).exponent() == exponent).count();
        assert_eq!([having(0), having(3), having(4)], [17, 7, 2]);
    }

    #[test]
    fn what_is_no_currency_is_refused() {
        for code in ["", "eur", "EU", "EURO", "XXX", "XAU", "XTS", "ZZZ", "€", "E\0R"] {
            let refused = Currency::new(code).unwrap_err();
            assert_eq!(refused.field, "currency", "{code}");
            assert!(refused.problem.contains("EUR"), "{code}");
        }
    }

    #[test]
    fn plain_decimals_become_minor_units() {
        for (text, code, minor) in [
            ("0", "EUR", 0),
            ("12.34", "EUR", 1234),
            ("12.3", "EUR", 1230),
            ("12", "EUR", 1200),
            ("0012.3400", "EUR", 1234),
            ("1200", "JPY", 1200),
            ("1200.00", "JPY", 1200),
            ("1.234", "KWD", 1234),
            ("1.2345", "CLF", 12_345),
            ("90071992547409.92", "EUR", Money::MAX_MINOR),
        ] {
            assert_eq!(Money::parse(text, currency(code)).map(|money| money.minor), Ok(minor), "{text} {code}");
        }
    }

    #[test]
    fn other_forms_of_an_amount_are_refused_with_the_right_one() {
        for (text, code, expected) in [
            ("", "EUR", "such as 12.34"),
            (".", "EUR", "such as 12.34"),
            (".5", "EUR", "such as 12.34"),
            ("5.", "EUR", "such as 12.34"),
            ("1.2.3", "EUR", "such as 12.34"),
            ("-1", "EUR", "such as 12.34"),
            ("+1", "EUR", "such as 12.34"),
            ("1e3", "EUR", "such as 12.34"),
            ("NaN", "EUR", "such as 12.34"),
            ("1,234.00", "EUR", "such as 12.34"),
            (" 1", "EUR", "such as 12.34"),
            ("١", "EUR", "such as 12.34"),
            ("12.345", "EUR", "EUR has 2"),
            ("12.5", "JPY", "JPY has 0"),
            ("90071992547409.93", "EUR", "the most is 90071992547409.92 EUR"),
            ("99999999999999999999999999999", "EUR", "the most is"),
        ] {
            let refused = Money::parse(text, currency(code)).unwrap_err();
            assert_eq!(refused.field, "amount", "{text}");
            assert!(refused.problem.contains(expected), "{text}: {refused}");
        }
        assert!(Money::new(-1, currency("EUR")).is_err());
        assert!(Money::new(Money::MAX_MINOR + 1, currency("EUR")).is_err());
    }

    proptest! {
        #[test]
        fn an_amount_survives_its_decimal_form(minor in 0..=Money::MAX_MINOR, place in 0..CODES.len()) {
            let money = Money::new(minor, currency(CODES[place])).unwrap();
            prop_assert_eq!(Money::parse(&money.to_decimal_string(), money.currency), Ok(money));
        }
    }
}
