//! From a line of text to weighted rows of the embedding: normalization, character n-grams, hashing.
//!
//! The result is part of a model's definition: two builds that cut or hash differently would train different rows of
//! the same model. It depends only on the characters and is the same on every platform; the tests contain known
//! answers. A change here needs a new family name.
//!
//! 1. **Normalize** ([`normalize`]): lower case; accents of Latin letters dropped; apostrophes dropped; every other run
//!    of characters that are neither letters nor digits becomes one space; words without information about the merchant
//!    are dropped: those with three digits or more (store numbers, references, years) and the names of payment
//!    processors and bank forms ([`PAYMENT_WORDS`]); at most [`MAX_CHARS`] characters remain.
//! 2. **Cut**: each word gets a boundary mark on both sides (`_cafe_`); its n-grams of `ngram_min..=ngram_max` characters
//!    are features, and the whole marked word is one more where it is longer than `ngram_max`.
//! 3. **Hash**: FNV-1a (64 bits) over the n-gram's UTF-8 bytes, finished with the mixer of MurmurHash3, modulo `buckets`.
//! 4. **Weigh**: the weight of a feature is its number of characters (a whole word: that of the longest n-gram),
//!    because longer features are rarer and more informative; equal rows are added up, and the weights are scaled to
//!    Euclidean length 1.

/// Longest normalized text, in characters. The rest of a longer text is ignored.
pub const MAX_CHARS: usize = 96;

/// Words that payment processors and banks add to merchants' names.
pub const PAYMENT_WORDS: [&str; 22] = [
    "sq",
    "sumup",
    "paypal",
    "pp",
    "crv",
    "tst",
    "zettle",
    "iz",
    "stripe",
    "adyen",
    "klarna",
    "pos",
    "ec",
    "cb",
    "ref",
    "kartenzahlung",
    "lastschrift",
    "paiement",
    "pagamento",
    "betaalpas",
    "bea",
    "tarj",
];

/// Boundary mark around a word; never part of a normalized text.
const MARK: char = '_';

/// One row of a text, with its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedRow {
    /// Row of the embedding, below `buckets`.
    pub row: u32,
    /// Weight of the row in the text's sum. The squares of a text's weights add up to 1.
    pub weight: f32,
}

/// Maps texts to rows of the embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NgramHasher {
    /// Number of rows of the embedding, at least 1.
    pub buckets: u32,
    /// Shortest n-gram, in characters, at least 1.
    pub ngram_min: u32,
    /// Longest n-gram, in characters, at least `ngram_min`.
    pub ngram_max: u32,
}

impl NgramHasher {
    /// Rows of one text with their weights, ascending, each row once; empty for a text without letters and digits.
    pub fn rows(&self, text: &str) -> Vec<WeightedRow> {
        let normal = normalize(text);
        let (shortest, longest) = (self.ngram_min.max(1) as usize, self.ngram_max.max(1) as usize);
        let mut rows: Vec<WeightedRow> = Vec::new();
        // A word with its boundary marks, and the byte position at which each character ends.
        let (mut marked, mut ends) = (String::new(), Vec::new());
        for word in normal.split(' ').filter(|word| !word.is_empty()) {
            marked.clear();
            marked.push(MARK);
            marked.push_str(word);
            marked.push(MARK);
            ends.clear();
            ends.extend(marked.char_indices().map(|(at, letter)| at + letter.len_utf8()));
            let (mut begin, last) = (0, ends.len() - 1);
            for first in 0..=last {
                // Longer n-grams begin with the shorter ones, and FNV proceeds byte by byte, so one pass computes all
                // of their hashes.
                let (mut hash, mut at) = (FNV_OFFSET, begin);
                for n in 1..=longest.min(ends.len() - first) {
                    let end = ends[first + n - 1];
                    hash = fnv(hash, &marked.as_bytes()[at..end]);
                    at = end;
                    // A boundary mark alone is not a feature.
                    if n >= shortest && !(n == 1 && (first == 0 || first == last)) {
                        rows.push(WeightedRow { row: self.row(hash), weight: n as f32 });
                    }
                }
                begin = ends[first];
            }
            if ends.len() > longest {
                let row = self.row(fnv(FNV_OFFSET, marked.as_bytes()));
                rows.push(WeightedRow { row, weight: longest as f32 });
            }
        }
        rows.sort_unstable_by_key(|feature| feature.row);
        rows.dedup_by(|next, kept| {
            let same = next.row == kept.row;
            if same {
                kept.weight += next.weight;
            }
            same
        });
        let length = rows.iter().map(|feature| feature.weight * feature.weight).sum::<f32>().sqrt();
        for feature in &mut rows {
            feature.weight /= length;
        }
        rows
    }

    /// The row of an n-gram with this FNV hash.
    fn row(&self, mut hash: u64) -> u32 {
        // FNV's low bits, which the modulus depends on, are weak for short inputs.
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 33;
        // The remainder is below a u32, so it fits into one.
        (hash % u64::from(self.buckets.max(1))) as u32
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Continues an FNV-1a hash with further bytes.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The text that n-grams are cut from: words in lower case, separated by single spaces.
pub fn normalize(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars().flat_map(char::to_lowercase) {
        match letter {
            '\'' | '’' | '‘' | '`' | '´' | 'ʼ' => {}
            _ if is_combining_accent(letter) => {}
            // Full-width forms of ASCII.
            '\u{ff01}'..='\u{ff5e}' => {
                let narrow = char::from_u32(letter as u32 - 0xfee0).unwrap_or(' ').to_ascii_lowercase();
                folded.push(if narrow.is_ascii_alphanumeric() { narrow } else { ' ' });
            }
            _ if letter.is_ascii_alphanumeric() => folded.push(letter),
            _ if letter.is_alphanumeric() => fold_accent(letter, &mut folded),
            // Vowel signs of Indic scripts, Thai and Arabic marks are neither letters nor separators.
            '\u{5b0}'..='\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{900}'..='\u{fff}' => {
                folded.push(letter);
            }
            _ => folded.push(' '),
        }
    }
    let mut out = String::with_capacity(folded.len());
    let words =
        folded.split(' ').filter(|word| !word.is_empty() && !is_reference(word) && !PAYMENT_WORDS.contains(word));
    for word in words {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    match out.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => out[..end].trim_end().to_owned(),
        None => out,
    }
}

/// The text with the accents of its Latin letters dropped (`é` to `e`, `ß` to `ss`), capitals kept.
pub fn without_accents(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars().filter(|letter| !is_combining_accent(*letter)) {
        if letter.is_uppercase() && !letter.is_ascii() {
            let mut small = String::new();
            letter.to_lowercase().for_each(|letter| fold_accent(letter, &mut small));
            out.push_str(&small.to_uppercase());
        } else {
            fold_accent(letter, &mut out);
        }
    }
    out
}

/// Whether the character is a combining accent, as in decomposed text.
fn is_combining_accent(letter: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&letter)
}

/// Whether a word is a store number, date or reference: a word with three digits or more does not describe the
/// merchant.
fn is_reference(word: &str) -> bool {
    word.bytes().filter(u8::is_ascii_digit).count() >= 3
}

/// Writes a lower-case letter without its accent. Letters of other scripts stay as they are.
fn fold_accent(letter: char, out: &mut String) {
    let plain = match letter {
        'à'..='å' | 'ā' | 'ă' | 'ą' | 'ǎ' | 'ả' | 'ạ' | 'ấ' | 'ầ' | 'ẩ' | 'ậ' | 'ắ' | 'ằ' => "a",
        'æ' => "ae",
        'ç' | 'ć' | 'ĉ' | 'ċ' | 'č' => "c",
        'ð' | 'ď' | 'đ' => "d",
        'è'..='ë' | 'ē' | 'ĕ' | 'ė' | 'ę' | 'ě' | 'ə' | 'ẻ' | 'ẽ' | 'ẹ' | 'ế' | 'ề' | 'ể' | 'ễ' | 'ệ' => {
            "e"
        }
        'ĝ' | 'ğ' | 'ġ' | 'ģ' => "g",
        'ĥ' | 'ħ' => "h",
        'ì'..='ï' | 'ĩ' | 'ī' | 'ĭ' | 'į' | 'ı' | 'ỉ' | 'ị' => "i",
        'ĵ' => "j",
        'ķ' => "k",
        'ĺ' | 'ļ' | 'ľ' | 'ŀ' | 'ł' => "l",
        'ñ' | 'ń' | 'ņ' | 'ň' => "n",
        'ò'..='ö' | 'ø' | 'ō' | 'ŏ' | 'ő' | 'ơ' | 'ỏ' | 'ọ' | 'ố' | 'ồ' | 'ổ' | 'ộ' | 'ớ' | 'ờ' | 'ở' => {
            "o"
        }
        'œ' => "oe",
        'ŕ' | 'ŗ' | 'ř' => "r",
        'ś' | 'ŝ' | 'ş' | 'š' | 'ș' => "s",
        'ß' => "ss",
        'ţ' | 'ť' | 'ŧ' | 'ț' => "t",
        'þ' => "th",
        'ù'..='ü' | 'ũ' | 'ū' | 'ŭ' | 'ů' | 'ű' | 'ų' | 'ư' | 'ủ' | 'ụ' | 'ứ' | 'ừ' | 'ữ' | 'ự' => {
            "u"
        }
        'ŵ' => "w",
        'ý' | 'ÿ' | 'ŷ' | 'ỳ' | 'ỷ' | 'ỹ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        other => {
            out.push(other);
            return;
        }
    };
    out.push_str(plain);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_what_banks_print() {
        for (line, expected) in [
            ("", ""),
            ("  --  ", ""),
            ("McDonald's", "mcdonalds"),
            ("SQ *JOE’S CAFÉ 0123", "joes cafe"),
            ("H&M", "h m"),
            ("7-ELEVEN 24123", "7 eleven"),
            ("Cafe\u{301} Zürich", "cafe zurich"),
            ("STRAẞE Ærø Łódź İstanbul", "strasse aero lodz istanbul"),
            ("ＡＢＣマート　渋谷", "abcマート 渋谷"),
            ("Пятёрочка №5", "пятёрочка 5"),
            ("POS 12/03 REF 0A1B2C3D shop_9", "12 03 shop 9"),
            ("ร้าน กาแฟ", "ร้าน กาแฟ"),
        ] {
            assert_eq!(normalize(line), expected, "{line}");
        }
        let long = normalize(&"été ".repeat(200));
        assert!(long.chars().count() <= MAX_CHARS && long.ends_with("ete"));
        assert_eq!(without_accents("Café ÉTÉ Straße ÆØ 東"), "Cafe ETE Strasse AEO 東");
    }

    /// Computed with an independent implementation of the description above (Python).
    #[test]
    fn known_answers() {
        let rows = |text: &str, buckets, ngram_min, ngram_max| -> Vec<(u32, f32)> {
            let rows = NgramHasher { buckets, ngram_min, ngram_max }.rows(text);
            rows.into_iter().map(|feature| (feature.row, feature.weight)).collect()
        };
        let near = |found: Vec<(u32, f32)>, expected: &[(u32, f32)]| {
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-6, "{found:?}, {expected:?}");
            }
        };
        near(
            rows("AB", 65_536, 2, 5),
            &[
                (4162, 0.294884),
                (14652, 0.442326),
                (24038, 0.589768),
                (39089, 0.442326),
                (48612, 0.294884),
                (50090, 0.294884),
            ],
        );
        near(
            rows("東急 GO 12345", 65_536, 2, 3),
            &[
                (2171, 0.339683),
                (2580, 0.226455),
                (20162, 0.226455),
                (27992, 0.339683),
                (36453, 0.226455),
                (37522, 0.226455),
                (40693, 0.339683),
                (45708, 0.339683),
                (46098, 0.226455),
                (54395, 0.339683),
                (58183, 0.339683),
                (64506, 0.226455),
            ],
        );
        let cafes = rows("Cafés", 1000, 1, 3);
        assert_eq!(cafes.len(), 17);
        near(vec![cafes[0], cafes[1], cafes[16]], &[(43, 0.219529), (108, 0.329293), (982, 0.219529)]);
    }

    #[test]
    fn nothing_to_read_is_an_empty_bag() {
        let hasher = NgramHasher { buckets: 10, ngram_min: 2, ngram_max: 3 };
        for text in ["", " ", "***", "12345"] {
            assert!(hasher.rows(text).is_empty(), "{text}");
        }
    }
}
