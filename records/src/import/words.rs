//! Words in cells: which way the money went, and how far the bank is with it.

use crate::domain::{Direction, Status, unaccented};

/// Letters and digits only, in lower case and without accents: `Débit (EUR)` and `debit_eur` are the same.
pub(super) fn plain(text: &str) -> String {
    let letters = text.chars().flat_map(char::to_lowercase).filter_map(unaccented);
    letters.filter(|letter| letter.is_alphanumeric()).collect()
}

pub(super) fn direction(text: &str) -> Option<Direction> {
    let is = |words: &[&str], word: &str| words.contains(&word);
    let word = plain(text);
    if is(CREDIT, &word) {
        Some(Direction::Credit)
    } else if is(DEBIT, &word) {
        Some(Direction::Debit)
    } else {
        None
    }
}

pub(super) fn status(text: &str) -> Option<Status> {
    let word = plain(text);
    STATUS.iter().find(|(_, words)| words.contains(&word.as_str())).map(|(status, _)| *status)
}

#[rustfmt::skip]
const CREDIT: &[&str] = &[
    "credit", "cr", "c", "crdt", "income", "in", "inflow", "deposit", "moneyin", "received",
    "haben", "h", "gutschrift", "einnahme", "eingang", "abono", "haber", "ingreso", "recette", "entree",
    "bij", "bijschrijving", "avere", "accredito", "entrata", "uznanie", "wplyw", "przychod", "credito", "receita", "entrada",
];
#[rustfmt::skip]
const DEBIT: &[&str] = &[
    "debit", "dr", "d", "dbit", "expense", "out", "outflow", "withdrawal", "moneyout", "sent", "spent",
    "soll", "s", "belastung", "ausgabe", "ausgang", "cargo", "debe", "gasto", "depense", "sortie",
    "af", "afschrijving", "dare", "addebito", "uscita", "obciazenie", "wydatek", "debito", "despesa", "saida",
];
#[rustfmt::skip]
const STATUS: &[(Status, &[&str])] = &[
    (Status::Completed, &[
        "completed", "complete", "booked", "posted", "settled", "cleared", "gebucht", "abgeschlossen", "completado",
        "contabilizado", "comptabilise", "termine", "voltooid", "geboekt", "verwerkt", "contabilizzato", "completato",
        "zaksiegowana", "zrealizowana", "concluido", "concluida",
    ]),
    (Status::Pending, &[
        "pending", "authorized", "authorised", "vorgemerkt", "ausstehend", "pendiente", "enattente", "attente",
        "inbehandeling", "gereserveerd", "inattesa", "oczekujaca", "pendente",
    ]),
    (Status::Failed, &[
        "failed", "declined", "rejected", "fehlgeschlagen", "abgelehnt", "fallido", "rechazado", "echoue", "refuse",
        "mislukt", "geweigerd", "fallito", "rifiutato", "odrzucona", "falhou", "recusado",
    ]),
    (Status::Cancelled, &[
        "cancelled", "canceled", "reversed", "reverted", "storniert", "cancelado", "anulado", "annule", "geannuleerd",
        "annullato", "anulowana",
    ]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_in_their_languages() {
        for (text, expected) in [
            ("Débit", Some(Direction::Debit)),
            ("WPŁYW", Some(Direction::Credit)),
            ("Saída", Some(Direction::Debit)),
            (" money in ", Some(Direction::Credit)),
            ("card payment", None),
        ] {
            assert_eq!(direction(text), expected, "{text}");
        }
        assert_eq!(status("in behandeling"), Some(Status::Pending));
        assert_eq!(status("Comptabilisé"), Some(Status::Completed));
        assert_eq!(status("Bavaria"), None);
    }

    #[test]
    fn no_word_has_two_meanings_and_every_word_is_plain() {
        let status = STATUS.iter().flat_map(|(_, words)| *words);
        for list in [CREDIT.iter().chain(DEBIT).collect::<Vec<_>>(), status.collect()] {
            let mut words = list.clone();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), list.len());
            assert!(list.iter().all(|word| plain(word) == **word));
        }
    }
}
