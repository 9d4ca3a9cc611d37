//! From a merchant's name to lines of a bank statement, the way banks and card processors print them.
//!
//! Nothing in a line's form depends on the merchant's category: a model that learns from these lines learns from names.

use scale_client_core::train::text::without_accents;

use crate::random::Random;

/// Prefixes of payment processors.
const PROCESSORS: [&str; 10] =
    ["SQ *", "PAYPAL *", "SUMUP *", "CRV*", "TST* ", "ZETTLE_*", "SP ", "PP*", "STRIPE* ", "ADYEN *"];

/// Words of banks before the merchant, by language.
const BANK_WORDS: [(&str, [&str; 3]); 6] = [
    ("en", ["CARD PAYMENT TO ", "POS ", "VISA PURCHASE "]),
    ("de", ["KARTENZAHLUNG ", "EC ", "LASTSCHRIFT "]),
    ("fr", ["CB ", "PAIEMENT CB ", "CARTE "]),
    ("es", ["COMPRA TARJ ", "PAGO EN ", "COMPRA "]),
    ("it", ["PAGAMENTO POS ", "POS ", "CARTA "]),
    ("nl", ["BEA ", "BETAALPAS ", "PIN "]),
];

/// Cities by country; others get those of the last entry.
const CITIES: [(&str, &[&str]); 31] = [
    ("us", &["NEW YORK NY", "AUSTIN TX", "SEATTLE WA", "CHICAGO IL", "MIAMI FL", "DENVER CO", "BOSTON MA"]),
    ("ca", &["TORONTO ON", "VANCOUVER BC", "MONTREAL QC", "CALGARY AB"]),
    ("gb", &["LONDON", "LEEDS", "BRISTOL", "GLASGOW", "CARDIFF"]),
    ("ie", &["DUBLIN", "CORK", "GALWAY"]),
    ("au", &["SYDNEY", "MELBOURNE", "PERTH", "BRISBANE"]),
    ("nz", &["AUCKLAND", "WELLINGTON", "DUNEDIN"]),
    ("za", &["CAPE TOWN", "DURBAN", "SANDTON"]),
    ("de", &["BERLIN", "HAMBURG", "MUENCHEN", "KOELN", "LEIPZIG"]),
    ("at", &["WIEN", "GRAZ", "LINZ"]),
    ("ch", &["ZUERICH", "BASEL", "BERN"]),
    ("fx", &["PARIS", "LYON", "NANTES", "LILLE"]),
    ("fr", &["PARIS", "MARSEILLE", "TOULOUSE"]),
    ("be", &["BRUXELLES", "GENT", "LIEGE"]),
    ("nl", &["AMSTERDAM", "UTRECHT", "ROTTERDAM"]),
    ("es", &["MADRID", "SEVILLA", "VALENCIA"]),
    ("pt", &["LISBOA", "PORTO"]),
    ("it", &["MILANO", "ROMA", "TORINO", "NAPOLI"]),
    ("pl", &["WARSZAWA", "KRAKOW", "GDANSK"]),
    ("cz", &["PRAHA", "BRNO"]),
    ("sk", &["BRATISLAVA", "KOSICE"]),
    ("se", &["STOCKHOLM", "MALMO"]),
    ("no", &["OSLO", "BERGEN"]),
    ("dk", &["KOBENHAVN", "AARHUS"]),
    ("jp", &["TOKYO", "OSAKA", "NAGOYA"]),
    ("cn", &["SHANGHAI", "BEIJING", "SHENZHEN"]),
    ("in", &["MUMBAI", "BENGALURU", "DELHI"]),
    ("br", &["SAO PAULO", "CURITIBA"]),
    ("mx", &["MEXICO DF", "MONTERREY"]),
    ("ru", &["MOSKVA", "KAZAN"]),
    ("tr", &["ISTANBUL", "ANKARA"]),
    ("", &["ONLINE", "CENTRAL", "AIRPORT", "INTL"]),
];

/// One line for one purchase at `name` by somebody in `country`.
pub fn line(name: &str, country: &str, random: &mut Random) -> String {
    // Banks that clean names up, and terminals that print nothing else.
    if random.chance(0.4) {
        return if random.chance(0.5) { name.to_owned() } else { without_accents(name).to_uppercase() };
    }
    let mut text = without_accents(name).to_uppercase();
    if random.chance(0.3) {
        text = text.replace(['\'', '’', '.', '-', '&'], "");
    }
    if random.chance(0.35) {
        text.push_str(&match random.below(3) {
            0 => format!(" {:04}", random.below(10_000)),
            1 => format!(" #{}", 100 + random.below(9_900)),
            _ => format!(" STORE {}", 100 + random.below(900)),
        });
    }
    if random.chance(0.25) {
        text.insert_str(0, random.pick::<&str>(&PROCESSORS));
    }
    if random.chance(0.5) {
        text.push(' ');
        text.push_str(random.pick::<&str>(cities(country)));
    }
    // The merchant field of card networks is 22 to 25 characters wide.
    text = cut(&text, 22 + random.below(4));
    if random.chance(0.3) {
        text.insert_str(0, random.pick::<&str>(bank_words(country)));
    }
    match random.below(5) {
        0 => text.push_str(&format!(" {:02}/{:02}", 1 + random.below(28), 1 + random.below(12))),
        1 => text.push_str(&format!(" REF {:08X}", random.bits() as u32)),
        _ => {}
    }
    text
}

fn cities(country: &str) -> &'static [&'static str] {
    let own = CITIES.iter().find(|(code, _)| *code == country);
    own.or(CITIES.last()).map_or(&[], |(_, cities)| cities)
}

fn bank_words(country: &str) -> &'static [&'static str; 3] {
    let language = match country {
        "de" | "at" | "ch" => "de",
        "fx" | "fr" | "be" => "fr",
        "es" | "mx" => "es",
        "it" => "it",
        "nl" => "nl",
        _ => "en",
    };
    let own = BANK_WORDS.iter().find(|(code, _)| *code == language);
    own.map_or(&BANK_WORDS[0].1, |(_, words)| words)
}

fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_statements() {
        let mut random = Random::new(1, "test");
        let lines: Vec<String> = (0..500).map(|_| line("Café Müller", "de", &mut random)).collect();
        let has = |part: &str| lines.iter().any(|line| line.contains(part));
        for part in ["CAFE MULLER", "Café Müller", "SQ *CAFE", "BERLIN", "KARTENZAHLUNG ", " REF ", "STORE ", "/"] {
            assert!(has(part), "no line has `{part}`: {:?}", &lines[..20]);
        }
        let distinct: std::collections::HashSet<&String> = lines.iter().collect();
        assert!(distinct.len() > 200);
    }

    #[test]
    fn card_field_is_cut() {
        let mut random = Random::new(2, "test");
        let name = "A Very Long Name of a Shop with Everything";
        let cut =
            (0..200).map(|_| line(name, "us", &mut random)).filter(|line| !line.to_uppercase().contains("EVERYTHING"));
        assert!(cut.count() > 80);
    }
}
