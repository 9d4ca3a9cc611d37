//! Which column is what, by its name; and what a whole column's cells say about how they are written.

use std::collections::HashMap;

use time::Date;

use super::amount::{AmountEvidence, DecimalMark};
use super::cells::Cells;
use super::date::{DateEvidence, DateOrder};
use super::words::{self, plain};
use super::{Defaults, FileError};
use crate::domain::{Currency, Direction};

/// Most columns of a file.
pub(super) const MAX_COLUMNS: usize = 256;

/// What a column may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Date,
    Amount,
    Debit,
    Credit,
    Direction,
    Description,
    Merchant,
    Category,
    Currency,
    Payment,
    Status,
    /// The bank's own name of the transaction.
    Reference,
    /// Differs between two transactions that are otherwise equal: a balance, a time of day, a row's number.
    Telling,
    /// As our own export writes it.
    Fingerprint,
    /// As our own export writes it.
    RawData,
}

/// Names by field, the better one first: English, German, Spanish, French, Dutch, Italian, Polish, Portuguese.
#[rustfmt::skip]
const NAMES: &[(Field, &[&str])] = &[
    (Field::Date, &[
        "transactiondate", "date", "bookingdate", "dateofbooking", "posteddate", "postingdate", "postdate",
        "completeddate", "starteddate", "valuedate",
        "buchungstag", "buchungsdatum", "buchung", "datum", "umsatzdatum", "belegdatum", "valuta", "valutadatum", "wertstellung",
        "fecha", "fechaoperacion", "fechadeoperacion", "fechacontable", "fechavalor", "fechadevalor",
        "dateoperation", "datedoperation", "datedeloperation", "datecomptable", "datedecomptabilisation", "datevaleur", "datedevaleur",
        "boekdatum", "transactiedatum", "boekingsdatum", "rentedatum",
        "data", "dataoperazione", "datacontabile", "datadicontabilizzazione", "datavaluta",
        "dataoperacji", "dataksiegowania", "datatransakcji", "datawaluty",
        "datamovimento", "datamov", "datadomovimento", "dataoperacao", "datalancamento", "datavalor",
    ]),
    (Field::Amount, &[
        "amount", "transactionamount", "value", "sum",
        "betrag", "umsatz", "buchungsbetrag", "importe", "monto", "cantidad", "montant", "bedrag", "transactiebedrag",
        "importo", "kwota", "kwotaoperacji", "kwotatransakcji", "montante", "valor", "quantia",
    ]),
    (Field::Debit, &[
        "debit", "debitamount", "paidout", "moneyout", "withdrawal", "withdrawals", "outflow", "expense",
        "soll", "belastung", "ausgabe", "ausgaben", "lastschrift", "cargo", "cargos", "debe", "gasto", "gastos",
        "montantdebit", "debiteur", "af", "afschrijving", "addebito", "addebiti", "uscite", "dare",
        "obciazenie", "obciazenia", "wydatki", "debito", "debitos", "saida", "saidas", "despesa",
    ]),
    (Field::Credit, &[
        "credit", "creditamount", "paidin", "moneyin", "deposit", "deposits", "inflow", "income",
        "haben", "gutschrift", "einnahme", "einnahmen", "abono", "abonos", "haber", "ingreso", "ingresos",
        "montantcredit", "bij", "bijschrijving", "accredito", "accrediti", "entrate", "avere",
        "uznanie", "uznania", "wplywy", "credito", "creditos", "entrada", "entradas", "receita",
    ]),
    (Field::Direction, &[
        "direction", "transactiontype", "type", "debitcredit", "creditdebit", "drcr", "crdr", "creditdebitindicator",
        "sollhaben", "umsatztyp", "typ", "art", "tipo", "tipodemovimiento", "tipooperacion", "sens", "afbij", "segno", "rodzaj",
        "tipodemovimento", "tipomovimento", "natureza",
    ]),
    (Field::Description, &[
        "description", "transactiondescription", "details", "transactiondetails", "narrative", "memo", "purpose", "text",
        "verwendungszweck", "beschreibung", "buchungsdetails", "vwz", "concepto", "descripcion", "detalle", "libelle",
        "libelleoperation", "libellesimplifie", "designation", "omschrijving", "mededelingen", "mededeling", "descrizione",
        "descrizioneoperazione", "causale", "opis", "opisoperacji", "tytul", "tytulem", "tytuloperacji", "descricao",
        "descritivo", "historico", "buchungstext", "reference", "note", "notes", "remarks", "comment",
    ]),
    (Field::Merchant, &[
        "merchantname", "merchant", "payee", "payeename", "counterparty", "counterpartyname", "vendor", "beneficiary", "name",
        "handler", "handlername", "empfanger", "zahlungsempfanger", "begunstigter", "begunstigterzahlungspflichtiger",
        "beguenstigterzahlungspflichtiger", "auftraggeberempfanger", "auftraggeberbegunstigter", "namezahlungsbeteiligter",
        "partnername", "gegenpartei", "comercio", "beneficiario", "commercant", "tiers", "beneficiaire", "tegenpartij",
        "naamtegenpartij", "naam", "naamomschrijving", "esercente", "controparte", "kontrahent", "odbiorca",
        "nadawcaodbiorca", "danekontrahenta", "comerciante", "destinatario",
    ]),
    (Field::Category, &[
        "category", "categoryname", "kategorie", "categoria", "categorie", "kategoria",
    ]),
    (Field::Currency, &[
        "currency", "currencycode", "ccy", "wahrung", "waehrung", "devise", "divisa", "moneda", "munt", "valutasoort",
        "waluta", "moeda",
    ]),
    (Field::Payment, &[
        "paymentmethod", "paymenttype", "method", "zahlungsart", "zahlungsmethode", "buchungsart", "umsatzart", "mododepago",
        "metododepago", "formadepago", "modedepaiement", "moyendepaiement", "betaalmethode", "betaalwijze", "mutatiesoort",
        "metododipagamento", "metodopagamento", "metodaplatnosci", "typtransakcji", "rodzajtransakcji", "metododepagamento",
        "formadepagamento",
    ]),
    (Field::Status, &[
        "status", "state", "transactionstatus", "estado", "statut", "stato", "stan", "situacao",
    ]),
    (Field::Reference, &[
        "transactionid", "transactionreference", "transactionnumber", "referencenumber", "bankreference", "entryreference",
        "fitid", "externalid", "transaktionsid", "transaktionsnummer", "umsatzid", "buchungsreferenz", "idtransaccion",
        "idoperacion", "numerodeoperacion", "idtransaction", "referenceoperation", "transactieid", "transactiereferentie",
        "volgnr", "volgnummer", "idtransazione", "idoperazione", "idtransakcji", "numerreferencyjny", "idtransacao",
        "numerodocumento",
    ]),
    (Field::Telling, &[
        "balance", "runningbalance", "balanceafter", "accountbalance", "time", "transactiontime", "timestamp", "datetime",
        "saldo", "kontostand", "saldonachbuchung", "uhrzeit", "zeit", "solde", "heure", "hora", "tijd", "saldonamutatie",
        "saldopooperacji", "ora", "godzina", "saldodisponivel", "saldocontabilistico",
        // Tools number rows, each file anew, so that this is no name of the bank's.
        "id", "uuid",
    ]),
    (Field::Fingerprint, &["fingerprint"]),
    (Field::RawData, &["rawdata"]),
];

/// A column's name, its meaning, and what its cells say.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    /// The field, and the place among its names: a lower one wins.
    reads: Option<(Field, usize)>,
    /// From the name, as in `Amount (EUR)`.
    currency: Option<Currency>,
    evidence: Evidence,
}

#[derive(Clone, Debug)]
enum Evidence {
    None,
    Date(DateEvidence),
    Amount(AmountEvidence),
    /// Cells of a column of words.
    Words {
        known: u64,
        unknown: u64,
    },
}

/// A file's columns, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    columns: Vec<Column>,
    /// JSON names its columns in every object.
    places: HashMap<String, usize>,
}

impl Columns {
    /// From a header's cells.
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Result<Self, FileError> {
        let mut columns = Self::default();
        for name in names {
            columns.push(name)?;
        }
        Ok(columns)
    }

    /// The place of the column of this name, which is added if it is new.
    pub(super) fn place(&mut self, name: &str) -> Result<usize, FileError> {
        if let Some(place) = self.places.get(name) {
            return Ok(*place);
        }
        self.push(name)?;
        self.places.insert(name.to_owned(), self.columns.len() - 1);
        Ok(self.columns.len() - 1)
    }

    fn push(&mut self, name: &str) -> Result<(), FileError> {
        if self.columns.len() == MAX_COLUMNS {
            return Err(FileError::TooManyColumns);
        }
        let (reads, currency) = meaning(name);
        let evidence = match reads {
            Some((Field::Date, _)) => Evidence::Date(DateEvidence::default()),
            Some((Field::Amount | Field::Debit | Field::Credit, _)) => Evidence::Amount(AmountEvidence::default()),
            Some((Field::Direction | Field::Status, _)) => Evidence::Words { known: 0, unknown: 0 },
            _ => Evidence::None,
        };
        // A name is repeated in errors: a cell that only looks like one is not repeated in full.
        let name = name.trim().chars().take(64).collect();
        self.columns.push(Column { name, reads, currency, evidence });
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn name(&self, place: usize) -> &str {
        &self.columns[place].name
    }

    /// How many different fields are recognized, and whether a header could be just this.
    pub(super) fn recognized(&self) -> (usize, bool) {
        let fields: Vec<Field> = self.columns.iter().filter_map(|column| Some(column.reads?.0)).collect();
        let different = (0..fields.len()).filter(|at| !fields[..*at].contains(&fields[*at])).count();
        let amount = [Field::Amount, Field::Debit, Field::Credit].iter().any(|field| fields.contains(field));
        (different, fields.contains(&Field::Date) && amount)
    }

    /// Takes a row's cells as evidence of how their columns are written.
    pub(super) fn survey(&mut self, cells: &Cells<'_>) {
        if cells.refused.is_some() {
            return;
        }
        for (place, column) in self.columns.iter_mut().enumerate() {
            if matches!(column.evidence, Evidence::None) {
                continue;
            }
            let text = cells.text(place);
            if text.is_empty() {
                continue;
            }
            match &mut column.evidence {
                Evidence::Date(evidence) => evidence.note(cells.line, &text),
                Evidence::Amount(evidence) => evidence.note(cells.line, &text, cells.is_json()),
                Evidence::Words { known, unknown } => {
                    let status = matches!(column.reads, Some((Field::Status, _)));
                    let is_known =
                        if status { words::status(&text).is_some() } else { words::direction(&text).is_some() };
                    *(if is_known { known } else { unknown }) += 1;
                }
                Evidence::None => {}
            }
        }
    }

    /// The column that is read as this field: the one of the best name.
    fn best(&self, field: Field) -> Option<usize> {
        let ranked = self.columns.iter().enumerate().filter_map(|(place, column)| match column.reads {
            Some((reads, rank)) if reads == field => Some((rank, place)),
            _ => None,
        });
        ranked.min().map(|(_, place)| place)
    }

    /// As [`Columns::best`]; two columns of equally good names are an error.
    fn only(&self, field: Field) -> Result<Option<usize>, FileError> {
        let Some(best) = self.best(field) else { return Ok(None) };
        let twins = self.columns.iter().filter(|column| column.reads == self.columns[best].reads).count();
        if twins > 1 {
            return Err(FileError::DuplicateColumn { name: self.name(best).to_owned() });
        }
        Ok(Some(best))
    }

    fn all(&self, field: Field) -> Vec<usize> {
        let places = self.columns.iter().enumerate();
        places.filter(|(_, column)| column.reads.is_some_and(|(reads, _)| reads == field)).map(|(at, _)| at).collect()
    }

    fn missing(&self, missing: &'static str, fields: &[Field]) -> FileError {
        let names = NAMES.iter().filter(|(field, _)| fields.contains(field)).flat_map(|(_, names)| names.iter());
        let names = names.copied().collect::<Vec<_>>().join(", ");
        let found = self.columns.iter().take(20).map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        FileError::MissingColumn { missing, names, found }
    }

    fn amounts(&self, place: usize) -> AmountEvidence {
        match &self.columns[place].evidence {
            Evidence::Amount(evidence) => evidence.clone(),
            _ => AmountEvidence::default(),
        }
    }

    fn words(&self, place: usize) -> (u64, u64) {
        match self.columns[place].evidence {
            Evidence::Words { known, unknown } => (known, unknown),
            _ => (0, 0),
        }
    }
}

fn meaning(name: &str) -> (Option<(Field, usize)>, Option<Currency>) {
    let find = |name: &str| {
        NAMES.iter().find_map(|(field, names)| Some((*field, names.iter().position(|known| *known == name)?)))
    };
    // `Betrag (EUR)`, `Amount in £`: the last word is a currency.
    let signs = name.replace('€', " EUR ").replace('£', " GBP ").replace("zł", " PLN ");
    let is_part = |letter: char| !letter.is_alphanumeric();
    let mut words: Vec<&str> = signs.split(is_part).filter(|word| !word.is_empty()).collect();
    if let Some(currency) = words.pop().and_then(|word| Currency::new(&word.to_uppercase()).ok()) {
        if matches!(words.last(), Some(&("in" | "en" | "em" | "w"))) {
            words.pop();
        }
        if let Some(reads) = find(&plain(&words.concat())) {
            return (Some(reads), Some(currency));
        }
    }
    (find(&plain(name)), None)
}

/// Which column is read as what, and how.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) today: Date,
    pub(super) date: usize,
    pub(super) date_order: DateOrder,
    pub(super) amounts: Amounts,
    pub(super) decimal: DecimalMark,
    /// Of amounts without a minus.
    pub(super) unsigned: Direction,
    pub(super) direction: Option<usize>,
    pub(super) description: Option<usize>,
    pub(super) merchant: Option<usize>,
    pub(super) category: Option<usize>,
    pub(super) currency: Option<usize>,
    /// Where neither a cell nor an amount names one.
    pub(super) default_currency: Option<Currency>,
    pub(super) payment: Option<usize>,
    pub(super) status: Option<usize>,
    pub(super) reference: Option<usize>,
    pub(super) telling: Vec<usize>,
    pub(super) fingerprint: Option<usize>,
    pub(super) raw_data: Option<usize>,
    /// Columns that no field was read from.
    pub(super) rest: Vec<usize>,
}

/// One column of amounts, or one for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amounts {
    Signed(usize),
    Split { debit: Option<usize>, credit: Option<usize> },
}

impl Layout {
    pub(super) fn decide(columns: &Columns, defaults: &Defaults) -> Result<Self, FileError> {
        let date = columns.only(Field::Date)?.ok_or_else(|| columns.missing("date", &[Field::Date]))?;
        let date_order = match (defaults.date_format, &columns.columns[date].evidence) {
            (Some(order), _) => order,
            (None, Evidence::Date(evidence)) => evidence.decide(columns.name(date))?,
            (None, _) => DateOrder::YearMonthDay,
        };
        let amounts = match columns.only(Field::Amount)? {
            Some(place) => Amounts::Signed(place),
            None => match (columns.only(Field::Debit)?, columns.only(Field::Credit)?) {
                (None, None) => {
                    return Err(columns.missing("amount", &[Field::Amount, Field::Debit, Field::Credit]));
                }
                (debit, credit) => Amounts::Split { debit, credit },
            },
        };
        let (first, second) = match amounts {
            Amounts::Signed(place) => (place, None),
            // Invariant: at least one is there.
            Amounts::Split { debit, credit } => (debit.or(credit).unwrap_or_default(), debit.and(credit)),
        };
        let evidence = second.iter().fold(columns.amounts(first), |sum, place| sum.and(&columns.amounts(*place)));

        let currency = columns.best(Field::Currency);
        let default_currency = columns.columns[first].currency.or(defaults.currency);
        if currency.is_none() && default_currency.is_none() && !evidence.currency {
            return Err(FileError::NoCurrency);
        }
        let whole = currency.is_none() && default_currency.is_some_and(|currency| currency.exponent() == 0);
        let decimal = match defaults.decimal {
            Some(mark) => mark,
            None => evidence.decide(columns.name(first), whole)?,
        };

        // A type column is the direction if its words say so. If signs or columns say it already, it must do so in
        // every row; else it is the bank's word for how it was paid.
        let signed = evidence.negative || matches!(amounts, Amounts::Split { .. });
        let mut direction = columns.best(Field::Direction);
        let mut payment = columns.best(Field::Payment);
        if let Some(place) = direction {
            let (known, unknown) = columns.words(place);
            if known == 0 || (unknown > 0 && signed) {
                direction = None;
                payment = payment.or(Some(place));
            }
        }
        let unsigned = match defaults.direction {
            Some(direction) if !evidence.negative => direction,
            _ => Direction::Credit,
        };
        let status = columns.best(Field::Status).filter(|place| columns.words(*place).0 > 0);

        let description = columns.best(Field::Description);
        let merchant = columns.best(Field::Merchant);
        if description.is_none() && merchant.is_none() {
            return Err(columns.missing("description", &[Field::Description, Field::Merchant]));
        }
        let mut layout = Self {
            today: defaults.today,
            date,
            date_order,
            amounts,
            decimal,
            unsigned,
            direction,
            description,
            merchant,
            category: columns.best(Field::Category),
            currency,
            default_currency,
            payment,
            status,
            reference: columns.best(Field::Reference),
            telling: columns.all(Field::Telling),
            fingerprint: columns.best(Field::Fingerprint),
            raw_data: columns.best(Field::RawData),
            rest: Vec::new(),
        };
        // Our own export has nothing else that is true in another place.
        if layout.fingerprint.is_none() {
            layout.rest = (0..columns.len()).filter(|place| !layout.reads(*place)).collect();
        }
        Ok(layout)
    }

    /// Whether a stored field holds what the column says.
    fn reads(&self, place: usize) -> bool {
        let (amount, second) = match self.amounts {
            Amounts::Signed(place) => (Some(place), None),
            Amounts::Split { debit, credit } => (debit, credit),
        };
        let single = [amount, second, self.direction, self.description, self.merchant, self.category, self.currency];
        let others = [self.payment, self.status, self.fingerprint, self.raw_data, Some(self.date)];
        single.into_iter().chain(others).any(|read| read == Some(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_plain_and_means_one_thing() {
        let mut names: Vec<&str> = NAMES.iter().flat_map(|(_, names)| *names).copied().collect();
        for name in &names {
            assert_eq!(plain(name), *name);
        }
        names.sort_unstable();
        let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn names_are_understood_however_they_are_written() {
        for (name, field, currency) in [
            ("Transaction Date", Some(Field::Date), None),
            ("transaction_date", Some(Field::Date), None),
            ("transactionDate", Some(Field::Date), None),
            ("Wa\u{308}hrung", Some(Field::Currency), None),
            ("Betrag (EUR)", Some(Field::Amount), Some("EUR")),
            ("Betrag (€)", Some(Field::Amount), Some("EUR")),
            ("Betrag in €", Some(Field::Amount), Some("EUR")),
            ("Amount £", Some(Field::Amount), Some("GBP")),
            ("Kwota w PLN", Some(Field::Amount), Some("PLN")),
            ("Top", None, None),
            ("Amount of sleep", None, None),
            ("", None, None),
        ] {
            let (reads, found) = meaning(name);
            assert_eq!((reads.map(|(field, _)| field), found.map(Currency::code)), (field, currency), "{name}");
        }
    }
}
