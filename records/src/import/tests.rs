//! Whole files, good and bad.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;
use time::macros::date;

use super::*;
use crate::domain::{CategorySource, Fingerprint, Money, Status};

fn defaults() -> Defaults {
    Defaults { currency: Some(Currency::new("EUR").unwrap()), ..Defaults::new(date!(2026 - 03 - 01)) }
}

fn csv(text: &str) -> Vec<Row> {
    Reader::open(text.as_bytes(), Kind::Csv, &defaults()).unwrap_or_else(|error| panic!("{error}: {text}")).collect()
}

fn json(text: &str) -> Vec<Row> {
    Reader::open(text.as_bytes(), Kind::Json, &defaults()).unwrap_or_else(|error| panic!("{error}: {text}")).collect()
}

fn refused(bytes: &[u8], kind: Kind) -> FileError {
    Reader::open(bytes, kind, &defaults()).unwrap_err()
}

/// Line, day, signed decimal amount with currency, description.
fn shown(row: &Row) -> String {
    match &row.result {
        Ok(new) => {
            let sign = if new.direction == Direction::Debit { "-" } else { "" };
            let (amount, code) = (new.money.to_decimal_string(), new.money.currency.code());
            format!("{} {} {sign}{amount} {code} {}", row.line, new.transaction_date, new.description.as_str())
        }
        Err(error) => format!("{} {error}", row.line),
    }
}

fn all_shown(rows: &[Row]) -> Vec<String> {
    rows.iter().map(shown).collect()
}

fn only(rows: Vec<Row>) -> NewTransaction {
    let [row]: [Row; 1] = rows.try_into().unwrap();
    row.result.unwrap()
}

fn fingerprints(rows: &[Row]) -> Vec<Fingerprint> {
    rows.iter().map(|row| row.result.as_ref().unwrap().fingerprint).collect()
}

#[test]
fn statements_in_many_languages_are_understood() {
    for (name, text, expected) in [
        ("plain", "date,description,amount\n2026-01-05,Coffee,-3.50\n", "2 2026-01-05 -3.50 EUR Coffee"),
        (
            "German, with an account above the header",
            "\u{feff}\"Konto\";\"DE00 0000\"\r\n\r\n\"Buchungstag\";\"Verwendungszweck\";\"Betrag (€)\"\r\n\
             \"05.01.2026\";\"Kaffee\";\"-1.003,50\"\r\n",
            "4 2026-01-05 -1003.50 EUR Kaffee",
        ),
        ("Spanish", "Fecha operación;Concepto;Cargo;Abono\n13/01/2026;Café;3,50;\n", "2 2026-01-13 -3.50 EUR Café"),
        (
            "French",
            "Date opération\tLibellé\tDébit\tCrédit\n13/01/2026\tSalaire\t\t1 234,50\n",
            "2 2026-01-13 1234.50 EUR Salaire",
        ),
        (
            "Dutch",
            "\"Datum\",\"Naam / Omschrijving\",\"Af Bij\",\"Bedrag (EUR)\"\n\"20260113\",\"Koffie\",\"Af\",\"3,50\"\n",
            "2 2026-01-13 -3.50 EUR Koffie",
        ),
        (
            "Italian",
            "Data contabile|Descrizione|Entrate|Uscite\n13/01/2026|Caffè||-3,50\n",
            "2 2026-01-13 -3.50 EUR Caffè",
        ),
        (
            "Polish",
            "Data operacji;Opis operacji;Kwota;Waluta\n13.01.2026;Kawa;-3,50 zł;PLN\n",
            "2 2026-01-13 -3.50 PLN Kawa",
        ),
        (
            "Portuguese",
            "Data mov.;Descrição;Débito;Crédito\n13-01-2026;Café;3,50;0,00\n",
            "2 2026-01-13 -3.50 EUR Café",
        ),
        (
            "American",
            "Date,Description,Amount\n01/13/2026,Coffee,\"$(1,003.50)\"\n",
            "2 Amount: not an amount; write it such as 1234.56, -1,234.56 or (12.00)",
        ),
        ("brackets", "Date,Payee,Amount\n01/13/2026,Coffee,\"($1,003.50)\"\n", "2 2026-01-13 -1003.50 EUR Coffee"),
        (
            "a currency in the name",
            "date,memo,Amount in USD\n2026-01-13,Coffee,3.5-\n",
            "2 2026-01-13 -3.50 USD Coffee",
        ),
        ("yen", "date,memo,amount,currency\n2026-01-13,Tea,-350,jpy\n", "2 2026-01-13 -350 JPY Tea"),
        ("income and expense", "date,memo,amount,type\n2026-01-13,Tea,3,expense\n", "2 2026-01-13 -3.00 EUR Tea"),
        ("a merchant alone", "date,merchant,amount\n2026-01-13,Tea House,-3\n", "2 2026-01-13 -3.00 EUR Tea House"),
    ] {
        assert_eq!(all_shown(&csv(text)), [expected], "{name}");
    }
}

#[test]
fn every_field_of_a_row_is_kept() {
    let new = only(csv(
        "Started Date,Completed Date,Description,Merchant,Amount,Fee,Currency,State,Category,Type,IBAN\n\
         2026-01-04 08:00:00,2026-01-05 09:00:00,\"Coffee, \"\"large\"\"\nto go\",Café,-3.50,0,EUR,PENDING,Food & Drink,CARD_PAYMENT,\n",
    ));
    assert_eq!(new.transaction_date, date!(2026 - 01 - 05));
    assert_eq!(new.description.as_str(), "Coffee, \"large\" to go");
    assert_eq!(new.merchant_name.unwrap().as_str(), "Café");
    assert_eq!(new.status, Status::Pending);
    let (slug, source) = new.category.unwrap();
    assert_eq!((slug.as_str(), source), ("food-drink", CategorySource::Import));
    assert_eq!(new.payment_method.unwrap().as_str(), "CARD_PAYMENT");
    assert_eq!(new.raw_data.unwrap(), json!({"Started Date": "2026-01-04 08:00:00", "Fee": "0"}));
}

#[test]
fn rows_that_cannot_be_are_refused_by_line_and_column() {
    for (name, cells, expected) in [
        ("no such day", "2026-02-30,a,1", "2 date: not a date of the calendar"),
        ("year one", "0001-01-01,a,1", "2 date: out of range; give a day from 1900-01-01 to 2027-03-02"),
        ("far future", "2027-03-03,a,1", "2 date: out of range"),
        ("no date", ",a,1", "2 date: empty"),
        ("no amount", "2026-01-01,a,", "2 amount: empty"),
        ("NaN", "2026-01-01,a,NaN", "2 amount: not an amount"),
        ("1e400", "2026-01-01,a,1e400", "2 amount: not an amount"),
        ("half a cent", "2026-01-01,a,1.2345", "2 amount: too many decimals; EUR has 2"),
        ("above the most", "2026-01-01,a,90071992547409.93", "2 amount: too large"),
        ("a formula for an amount", "2026-01-01,a,=1+1", "2 amount: not an amount"),
        ("another currency", "2026-01-01,a,1 QQQ", "2 amount: not an amount"),
        ("no description", "2026-01-01, ,1", "2 description: empty"),
        ("a control character", "2026-01-01,a\u{0}b,1", "2 description: has a line break, a tab or another control"),
        ("a decimal comma not in quotes", "2026-01-01,a,1,50", "2 row: 4 cells under 3 column names"),
        ("too few cells", "2026-01-01,a", "2 amount: empty"),
    ] {
        let rows = csv(&format!("date,description,amount\n{cells}\n2026-01-02,fine,7\n"));
        assert!(shown(&rows[0]).starts_with(expected), "{name}: {}", shown(&rows[0]));
        assert_eq!(shown(&rows[1]), "3 2026-01-02 7.00 EUR fine", "{name}");
    }
}

#[test]
fn columns_that_contradict_each_other_are_refused() {
    for (text, expected) in [
        ("date,memo,amount,type\n2026-01-01,a,-1,credit\n", "2 amount: negative, but the row says"),
        ("date,memo,amount,type\n2026-01-01,a,1,debit\n2026-01-01,b,1,depit\n", "3 type: unknown; write credit"),
        ("date,memo,debit,credit\n2026-01-01,a,1,2\n", "2 credit: both columns have an amount"),
        ("date,memo,debit,credit\n2026-01-01,a,,\n", "2 debit: no amount"),
        ("date,memo,debit,credit\n2026-01-01,a,,-2\n", "2 credit: negative"),
        ("date,memo,amount,currency\n2026-01-01,a,€ 1,USD\n", "2 amount: in EUR, but the row's currency is USD"),
        ("date,memo,amount,currency\n2026-01-01,a,1,XXX\n", "2 currency: no currency of ISO 4217"),
        ("date,memo,amount,status\n2026-01-01,a,1,booked\n2026-01-01,a,1,gone\n", "3 status: unknown; write pending"),
        ("date,memo,amount,fingerprint\n2026-01-01,a,1,abc\n", "2 fingerprint: not 64 hexadecimal digits"),
    ] {
        let rows = csv(text);
        let last = shown(rows.last().unwrap());
        assert!(last.starts_with(expected), "{text}: {last}");
    }
}

#[test]
fn columns_of_unknown_words_are_not_misread() {
    // A person's place, and the bank's own kinds of payment: neither a status nor a direction.
    let new = only(csv("date,memo,amount,state,type\n2026-01-01,a,-1,Bavaria,VIS\n"));
    assert_eq!((new.status, new.payment_method.unwrap().as_str().to_owned()), (Status::Completed, "VIS".to_owned()));
    assert_eq!(new.raw_data, Some(json!({"state": "Bavaria"})));
    // One of the bank's kinds is a word that we know; the signs say which way all the same.
    let rows = csv("date,memo,amount,type\n2026-01-01,a,-1,VIS\n2026-01-01,b,2,CR\n");
    assert_eq!(all_shown(&rows), ["2 2026-01-01 -1.00 EUR a", "3 2026-01-01 2.00 EUR b"]);
}

#[test]
fn files_that_nobody_can_read_are_refused_as_a_whole() {
    let no_header = FileError::MissingColumn { missing: "date", names: String::new(), found: String::new() }.code();
    for (name, bytes, kind, code, hint) in [
        ("empty", &b""[..], Kind::Csv, "empty_file", "header"),
        ("gaps", b" \r\n \n", Kind::Csv, "empty_file", "header"),
        ("a header alone", b"date,memo,amount\n", Kind::Csv, "empty_file", "header"),
        ("Windows-1252", b"date,memo,amount\n2026-01-01,a,1\n2026-01-01,caf\xe9,1\n", Kind::Csv, "not_utf8", "line 3"),
        ("UTF-16", b"\xff\xfed\0a\0t\0e\0", Kind::Csv, "not_utf8", "UTF-8"),
        ("no header", b"2026-01-01,a,1\n", Kind::Csv, no_header, "buchungstag"),
        ("no date", b"day,memo,amount\n1,a,1\n", Kind::Csv, no_header, "the columns are: day, memo, amount"),
        ("no amount", b"date,memo,price\n2026-01-01,a,1\n", Kind::Csv, no_header, "betrag"),
        ("no text", b"date,amount\n2026-01-01,1\n", Kind::Csv, no_header, "verwendungszweck"),
        ("two dates", b"date,Date,memo,amount\n2026-01-01,,a,1\n", Kind::Csv, "duplicate_column", "rename"),
        ("day or month", b"date,memo,amount\n01/02/2026,a,1\n", Kind::Csv, "ambiguous_dates", "`date_format`: dmy"),
        ("day and month", b"date,memo,amount\n13/02/2026,a,1\n02/13/2026,a,1\n", Kind::Csv, "mixed_dates", "line 3"),
        ("thousands?", b"date,memo,amount\n2026-01-01,a,1.234\n", Kind::Csv, "ambiguous_amounts", "`decimal`: point"),
        (
            "both marks",
            b"date;memo;amount\n2026-01-01;a;1.50\n2026-01-01;a;1,50\n",
            Kind::Csv,
            "mixed_amounts",
            "line 3",
        ),
        ("a picture", b"\x89PNG\r\n\x1a\n", Kind::Csv, "not_utf8", "UTF-8"),
        ("CSV as JSON", b"date,memo\n", Kind::Json, "malformed_json", "no list of transactions"),
        ("no list", b"{\"a\": {\"transactions\": []}}", Kind::Json, "malformed_json", "no list of transactions"),
        ("an empty list", b"[]", Kind::Json, "empty_file", "one object"),
        ("cut short", b"[{\"date\": 1},\n{\"da", Kind::Json, "malformed_json", "line 2: not JSON: EOF"),
        ("a comma too many", b"[{},\n]", Kind::Json, "malformed_json", "line 2: not JSON: expected value"),
        ("no comma", b"[{}\n{}]", Kind::Json, "malformed_json", "line 2: not JSON: expected `,`"),
        ("more behind", b"[{}]\n[]", Kind::Json, "malformed_json", "line 2: more text"),
        ("nothing of use", b"[1, {\"a\": 2}]", Kind::Json, no_header, "the columns are: a"),
        ("NaN", b"[{\"date\": \"2026-01-01\", \"amount\": NaN}]", Kind::Json, "malformed_json", "line 1"),
    ] {
        let error = refused(bytes, kind);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.to_string().contains(hint), "{name}: {error}");
    }
    let no_currency =
        Reader::open(b"date,memo,amount\n2026-01-01,a,1\n", Kind::Csv, &Defaults::new(date!(2026 - 03 - 01)));
    assert_eq!(no_currency.unwrap_err().code(), "no_currency");
    let wide = format!("date,memo,amount{}\n2026-01-01,a,1\n", ",x".repeat(300));
    assert_eq!(refused(wide.as_bytes(), Kind::Csv).code(), no_header);
    let wide = (0..300).map(|n| format!("\"c{n}\": 1")).collect::<Vec<_>>().join(",");
    assert_eq!(refused(format!("[{{{wide}}}]").as_bytes(), Kind::Json), FileError::TooManyColumns);
}

#[test]
fn what_the_person_says_settles_what_the_file_leaves_open() {
    let dates = "date,memo,amount\n01/02/2026,a,1\n13/02/2026,b,1\n02/13/2026,c,1\n";
    let said = Defaults { date_format: Some(DateOrder::MonthDayYear), ..defaults() };
    let rows: Vec<Row> = Reader::open(dates.as_bytes(), Kind::Csv, &said).unwrap().collect();
    assert_eq!(shown(&rows[0]), "2 2026-01-02 1.00 EUR a");
    assert!(shown(&rows[1]).starts_with("3 date: not a date of the calendar, or not written as 12/31/2026"));

    let amounts = "date;memo;amount\n2026-01-01;a;1.234\n2026-01-01;b;1.5\n";
    let said = Defaults { decimal: Some(DecimalMark::Comma), ..defaults() };
    let rows: Vec<Row> = Reader::open(amounts.as_bytes(), Kind::Csv, &said).unwrap().collect();
    assert_eq!(shown(&rows[0]), "2 2026-01-01 1234.00 EUR a");
    assert!(shown(&rows[1]).contains("such as 1234,56"), "{}", shown(&rows[1]));

    let said = Defaults { direction: Some(Direction::Debit), ..defaults() };
    for (text, expected) in [
        ("date,memo,amount\n2026-01-01,a,1\n", "2 2026-01-01 -1.00 EUR a"),
        ("date,memo,amount\n2026-01-01,a,1\n2026-01-01,b,-1\n", "2 2026-01-01 1.00 EUR a"),
        ("date,memo,amount,type\n2026-01-01,a,1,credit\n", "2 2026-01-01 1.00 EUR a"),
    ] {
        let mut reader = Reader::open(text.as_bytes(), Kind::Csv, &said).unwrap();
        assert_eq!(shown(&reader.next().unwrap()), expected);
    }
    assert_eq!(
        (DateOrder::parse("mdy"), DecimalMark::parse("comma")),
        (Ok(DateOrder::MonthDayYear), Ok(DecimalMark::Comma))
    );
    assert_eq!(DateOrder::parse("MDY").unwrap_err().field, "date_format");
    assert_eq!(DecimalMark::parse(",").unwrap_err().field, "decimal");
}

#[test]
fn formulas_are_text() {
    for formula in ["=1+1", "+SUM(A1)", "-2+3 cmd", "@SUM(A1)", "=HYPERLINK(\"\"http://x\"\")"] {
        let new = only(csv(&format!("date,memo,amount\n2026-01-01,\"{formula}\",1\n")));
        assert_eq!(new.description.as_str(), formula.replace("\"\"", "\""));
    }
}

#[test]
fn a_cell_of_a_megabyte_is_refused_and_the_next_row_is_read() {
    let big = "x".repeat(1 << 20);
    let rows = csv(&format!("date,memo,amount\n2026-01-01,\"{big}\n{big}\",1\n2026-01-02,fine,7\n"));
    assert_eq!(shown(&rows[0]), "2 memo: a cell of 2097153 bytes; at most 8192. Is a quote missing at its end?");
    assert_eq!(shown(&rows[1]), "4 2026-01-02 7.00 EUR fine");
    // A quote that is never closed takes the rest of the file with it: the row where it begins is named.
    let rows = csv(&format!("date,memo,amount\n2026-01-01,\"a,1\n{}", "2026-01-02,b,7\n".repeat(1_000)));
    assert!(shown(&rows[0]).starts_with("2 memo: a cell of 15004 bytes"), "{}", shown(&rows[0]));
    let rows = json(&format!("[{{\"date\":\"2026-01-01\",\"memo\":\"{big}\",\"amount\":1}}]"));
    assert!(shown(&rows[0]).starts_with("1 memo: a value of 1048578 bytes"), "{}", shown(&rows[0]));
}

#[test]
fn lines_are_those_of_an_editor() {
    let text =
        "\r\nsep=;\r\n\r\ndate;memo;amount\r\n\r\n2026-01-01;\"two\r\nlines\";1\r\n\r\n;;\r\n2026-01-02;b;2\r\nbad;c;3";
    assert_eq!(csv(text).iter().map(|row| row.line).collect::<Vec<_>>(), [6, 10, 11]);
    let text = "{\n\"currency\": \"EUR\",\n\"transactions\": [\n{\"date\": \"2026-01-01\",\n\"memo\": \"a\", \"amount\": 1},\n\n {\"date\": 2}\n], \"next\": [null]}\n";
    assert_eq!(json(text).iter().map(|row| row.line).collect::<Vec<_>>(), [4, 7]);
}

/// The rule of `equals.rs`, case by case.
#[test]
fn equal_rows_are_told_apart_or_known_again() {
    let coffee = "2026-01-05,Coffee,-3.50";
    let bare = |rows: &[&str]| fingerprints(&csv(&format!("date,memo,amount\n{}\n", rows.join("\n"))));

    let two = bare(&[coffee, "2026-01-05,Tea,-2", coffee]);
    assert_ne!(two[0], two[2], "nothing says that the second coffee is not a second one");
    let overlapping = bare(&["2026-01-04,Cake,-4", coffee, coffee, "2026-01-06,Cake,-4"]);
    assert_eq!([two[0], two[2]], [overlapping[1], overlapping[2]], "the same two in another statement");
    assert_eq!(bare(&["2026-01-05, COFFEE ,-3.5"])[0], two[0], "neither case nor form counts");

    let with = |column: &str, cells: [&str; 3]| {
        let rows = cells.map(|cell| format!("{coffee},{cell}")).join("\n");
        fingerprints(&csv(&format!("date,memo,amount,{column}\n{rows}\n")))
    };
    for column in ["balance", "time", "id"] {
        let rows = with(column, ["10:01", "10:07", "10:01"]);
        assert_eq!(rows[0], rows[2], "{column}: written twice");
        assert_eq!([rows[0], rows[1]], [two[0], two[2]], "{column}: the same as in a file without it");
    }
    let empty = with("balance", ["", "", ""]);
    assert_eq!(empty[..2], [two[0], two[2]], "an empty balance tells nothing");
    let timed = fingerprints(&csv(
        "date,memo,amount\n2026-01-05 10:01,Coffee,-3.5\n2026-01-05 10:01,Coffee,-3.5\n2026-01-05 10:02,Coffee,-3.5\n",
    ));
    assert_eq!((timed[0], timed[0], timed[2]), (two[0], timed[1], two[2]), "a time beside the date");
    let midnight = "2026-01-05T00:00:00,Coffee,-3.50";
    assert_eq!(bare(&[midnight, midnight]), [two[0], two[2]], "midnight is no time");

    let named = with("transaction id", ["A", "B", "A"]);
    assert_eq!(named[0], named[2]);
    assert_ne!(named[0], named[1]);
    let elsewhere = with("transaction id", ["B", "C", "D"]);
    assert_eq!(elsewhere[0], named[1], "wherever it stands in another file");
    let unnamed = with("transaction id", ["", "", "A"]);
    assert_eq!(unnamed, [two[0], two[2], named[0]], "rows without a name are counted");

    let rejected = fingerprints(
        &csv(&format!("date,memo,amount,status\n{coffee},booked\n{coffee},gone\n{coffee},\n"))
            .into_iter()
            .filter(|row| row.result.is_ok())
            .collect::<Vec<_>>(),
    );
    assert_eq!(rejected, [two[0], two[2]], "a row that is refused is not counted");
}

#[test]
fn json_is_read_as_programs_write_it() {
    let rows = json(
        r#"{"meta": {"data": 1}, "transactions": [
            {"transaction_date": "2026-01-05", "description": "Caf\u00e9 \"x\"", "amount": -1.234e3, "currency": "KWD"},
            {"transaction_date": "2026-01-06", "description": "b", "amount": "1.234", "currency": "KWD", "note": [1]},
            {"transaction_date": "2026-01-07", "description": "c", "amount": 5E-1, "extra": null},
            {"transaction_date": "2026-01-07", "description": "c", "amount": 1e400},
            {"transaction_date": "2026-01-07", "description": "c", "amount": {"value": 1}},
            {"transaction_date": "2026-01-07", "description": "c", "amount": null},
            {"transaction_date": "2026-01-07", "description": "\ud800", "amount": 1},
            {"transaction_date": "2026-01-07", "description": "c", "amount": 1, "amount": 2},
            {"transaction_date": "2026-01-07", "description": "c", "amount": 1, "extra": 1e999},
            "text"
        ]}"#,
    );
    let expected = [
        "2 2026-01-05 -1234.000 KWD Café \"x\"",
        "3 2026-01-06 1.234 KWD b",
        "4 2026-01-07 0.50 EUR c",
        "5 amount: not an amount",
        "6 amount: not an amount",
        "7 amount: empty",
        "8 description: has half a character",
        "9 amount: appears twice",
        "10 extra: cannot be kept: a number is too large",
        "11 row: not an object",
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(expected) {
        assert!(shown(row).starts_with(expected), "{} instead of {expected}", shown(row));
    }
}

#[test]
fn json_names_may_be_written_as_programmers_do() {
    let new = only(json(r#"[{"transactionDate": "2026-01-05", "merchantName": "M", "amount": 1, "currency": "EUR"}]"#));
    assert_eq!((new.description.as_str(), new.merchant_name.unwrap().as_str()), ("M", "M"));
    assert_eq!(refused(br#"[{"date": 1}, {"Date": 1}]"#, Kind::Json).code(), "duplicate_column");
}

#[test]
fn an_export_of_the_api_comes_back_as_it_was() {
    let fingerprint = "ab".repeat(32);
    let new = only(json(&format!(
        r#"{{"items": [{{"id": "018f", "transaction_date": "2026-01-05", "direction": "debit", "amount": "1.500",
        "amount_minor": 1500, "currency": "KWD", "description": "a", "merchant_name": "M", "category": "eating-out",
        "category_source": "person", "payment_method": "card", "status": "pending", "fingerprint": "{fingerprint}",
        "raw_data": {{"fee": 1}}, "created_at": "2026-01-05T00:00:00Z", "updated_at": "2026-01-05T00:00:00Z"}}],
        "next_cursor": null}}"#
    )));
    assert_eq!(hex::encode(new.fingerprint.0), fingerprint);
    assert_eq!(new.money, Money::new(1500, Currency::new("KWD").unwrap()).unwrap());
    assert_eq!((new.direction, new.status), (Direction::Debit, Status::Pending));
    assert_eq!(new.category.unwrap().0.as_str(), "eating-out");
    assert_eq!(new.raw_data, Some(json!({"fee": 1})));
}

#[test]
fn time_grows_with_the_rows_and_no_faster() {
    let mut text = String::from("date,description,amount,currency,merchant,balance\n");
    for n in 0..20_000 {
        let (day, cents) = (n % 28 + 1, n % 10_000);
        text.push_str(&format!(
            "2026-01-{day:02},Card payment {n},-{}.{:02},EUR,Shop {},{n}.00\n",
            cents / 100,
            cents % 100,
            n % 50
        ));
    }
    let started = Instant::now();
    let mut rows = 0;
    for row in Reader::open(text.as_bytes(), Kind::Csv, &defaults()).unwrap() {
        row.result.unwrap();
        rows += 1;
    }
    assert_eq!(rows, 20_000);
    let took = started.elapsed();
    // An unoptimized build on a busy machine; a quadratic step would take minutes.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[;,\t|]",
        Just("\"".to_owned()),
        Just("\"\"".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\u{feff}".to_owned()),
        "(date|Buchungstag|amount|Betrag|debit|credit|memo|type|currency|balance|transaction id|fecha)",
        "[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4}",
        "[-+(]?[€$]?[0-9]{1,3}([.,' ][0-9]{1,3}){0,3}[-)]?",
        "(EUR|USD|KWD|debit|credit|NaN|1e400|=1\\+1|\u{0}|null|\\{|\\}|\\[|\\]|:|\\\\ud800)",
        "\\PC{0,8}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read_to_the_end(&bytes);
    }

    #[test]
    fn any_pieces_are_read_or_refused(
        header in prop_oneof![Just(""), Just("date,memo,amount\n"), Just("datum;betrag;text;saldo\n"), Just("[{\"date\":")],
        pieces in proptest::collection::vec(piece(), 0..120),
    ) {
        read_to_the_end((header.to_owned() + &pieces.concat()).as_bytes());
    }

    /// Whatever a well-formed row says, in whichever form it is written, comes out as it went in.
    #[test]
    fn rows_come_out_as_they_went_in(
        rows in proptest::collection::vec((0_i64..40_000, any::<bool>(), 0_i64..1 << 40, "[a-z\"';,|\n=@é]{0,30}x"), 1..20),
        comma in any::<bool>(),
        delimiter in proptest::sample::select(vec![',', ';', '\t', '|']),
    ) {
        let euro = Currency::new("EUR").unwrap();
        let mut text = format!("date{delimiter}memo{delimiter}amount\r\n");
        for (days, debit, minor, memo) in &rows {
            let day = date!(1926 - 01 - 01) + time::Duration::days((*days).min(36_000));
            let amount = Money::new(*minor, euro).unwrap().to_decimal_string();
            let amount = if comma { amount.replace('.', ",") } else { amount };
            let sign = if *debit { "-" } else { "" };
            text += &format!("{day}{delimiter}\"{}\"{delimiter}\"{sign}{amount}\"\r\n", memo.replace('"', "\"\""));
        }
        let read = csv(&text);
        prop_assert_eq!(read.len(), rows.len());
        for (row, (days, debit, minor, memo)) in read.iter().zip(&rows) {
            let new = row.result.as_ref().unwrap();
            prop_assert_eq!(new.transaction_date, date!(1926 - 01 - 01) + time::Duration::days((*days).min(36_000)));
            prop_assert_eq!(new.money.minor, *minor);
            prop_assert_eq!(new.direction == Direction::Debit, *debit);
            let parts = |text: &str| text.split(['\n', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(parts(new.description.as_str()), parts(memo.as_str()));
        }
        let mut different = fingerprints(&read);
        different.sort_unstable();
        different.dedup();
        prop_assert_eq!(different.len(), rows.len(), "no two of one file are the same");
    }
}

/// Neither panics nor takes long, and two readings agree.
fn read_to_the_end(bytes: &[u8]) {
    for kind in [Kind::Csv, Kind::Json] {
        let Ok(reader) = Reader::open(bytes, kind, &defaults()) else { continue };
        let rows: Vec<Row> = reader.collect();
        let again: Vec<Row> = Reader::open(bytes, kind, &defaults()).unwrap().collect();
        assert!(!rows.is_empty());
        assert_eq!(rows, again);
        assert!(rows.is_sorted_by(|a, b| a.line <= b.line));
    }
}
