// Which column is what, by its name: those that banks use most, in the languages of the REST import.

export type Field = "date" | "amount" | "description" | "merchant" | "category" | "currency";

const NAMES: Record<Field, readonly string[]> = {
  date: [
    "transactiondate", "date", "bookingdate", "posteddate", "postingdate", "completeddate", "valuedate",
    "buchungstag", "buchungsdatum", "buchung", "datum", "valuta", "fecha", "fechaoperacion", "dateoperation",
    "boekdatum", "transactiedatum", "data", "dataoperazione", "dataoperacji",
  ],
  amount: [
    "amount", "transactionamount", "value", "betrag", "umsatz", "importe", "monto", "montant", "bedrag", "importo", "kwota",
    "valor",
  ],
  description: [
    "description", "transactiondescription", "details", "narrative", "memo", "purpose", "text", "verwendungszweck",
    "beschreibung", "concepto", "descripcion", "libelle", "omschrijving", "descrizione", "causale", "opis", "tytul",
    "descricao", "buchungstext", "reference", "note",
  ],
  merchant: [
    "merchantname", "merchant", "payee", "counterparty", "vendor", "beneficiary", "name", "empfanger", "zahlungsempfanger",
    "comercio", "commercant", "tegenpartij", "naam", "esercente", "controparte", "kontrahent",
  ],
  category: ["category", "categoryname", "kategorie", "categoria", "categorie", "kategoria"],
  currency: ["currency", "currencycode", "ccy", "wahrung", "waehrung", "devise", "divisa", "moneda", "munt", "waluta", "moeda"],
};

export type Columns = Partial<Record<Field, number>>;

/** Letters and digits only, in lower case and without accents. */
export function plain(text: string): string {
  return text.normalize("NFKD").toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
}

/** The places of the columns that are known; of two for one field, the one with the better name. */
export function columnsOf(header: readonly string[]): Columns {
  const columns: Columns = {};
  for (const field of Object.keys(NAMES) as Field[]) {
    // `Betrag (EUR)` is `Betrag`.
    const ranks = header.map((name) => NAMES[field].indexOf(plain(name.replace(/\(?\b[A-Z]{3}\)?\s*$|\(€\)/, ""))));
    const known = ranks.filter((rank) => rank >= 0);
    if (known.length > 0) columns[field] = ranks.indexOf(Math.min(...known));
  }
  return columns;
}

export function namesOf(field: Field): string {
  return NAMES[field].join(", ");
}

/** The currency in a column's name, such as `Betrag (EUR)`. */
export function currencyIn(name: string): string | null {
  return name.includes("€") ? "EUR" : (/\b([A-Z]{3})\)?\s*$/.exec(name)?.[1] ?? null);
}
