//! Categories: a list that everybody has, and a person's own.

use super::Invalid;

/// A category's name in rows and in the API: 1 to 40 of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CategorySlug(String);

impl CategorySlug {
    /// Longest, in characters.
    pub const MAX_LEN: usize = 40;

    /// Checks it.
    ///
    /// # Errors
    /// If it is empty, too long, or has another character.
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=Self::MAX_LEN).contains(&text.len());
        let plain = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits && plain {
            return Ok(Self(text.to_owned()));
        }
        let problem =
            format!("not a category's name; write 1 to {} of a-z, 0-9 and -, such as eating-out", Self::MAX_LEN);
        Err(Invalid::new("category", problem))
    }

    /// From a name on a screen or in a bank's file: `Food & Drink` becomes `food-drink`. `None` if nothing of the name
    /// can be written so.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut slug = String::with_capacity(name.len().min(Self::MAX_LEN));
        let mut gap = false;
        for letter in name.chars().flat_map(char::to_lowercase).filter_map(unaccented) {
            if !letter.is_ascii_alphanumeric() {
                gap = !slug.is_empty();
                continue;
            }
            if slug.len() + 1 + usize::from(gap) > Self::MAX_LEN {
                break;
            }
            if std::mem::take(&mut gap) {
                slug.push('-');
            }
            slug.push(letter);
        }
        Self::new(&slug).ok()
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The plain letter under a European letter's accent; `None` for an accent of its own.
pub(crate) fn unaccented(letter: char) -> Option<char> {
    Some(match letter {
        '\u{300}'..='\u{36f}' => return None,
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'ď' | 'đ' | 'ð' => 'd',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ğ' | 'ģ' => 'g',
        'ì'..='ï' | 'ī' | 'į' | 'ı' => 'i',
        'ķ' => 'k',
        'ļ' | 'ľ' | 'ł' => 'l',
        'ñ' | 'ń' | 'ņ' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ŕ' | 'ř' => 'r',
        'ß' | 'ś' | 'ş' | 'š' | 'ș' => 's',
        'ţ' | 'ť' | 'ț' => 't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' | 'ų' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    })
}

/// A category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Its name in rows.
    pub slug: CategorySlug,
    /// Its name on a screen.
    pub name: String,
    /// Whether the person made it; the others are everybody's.
    pub own: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_plain_short_names_are_slugs() {
        let longest = "a".repeat(40);
        for good in ["a", "eating-out", "2nd-home", &longest] {
            assert_eq!(CategorySlug::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "Food", "a b", "a_b", "é", "a\0", &"a".repeat(41)] {
            let refused = CategorySlug::new(bad).unwrap_err();
            assert_eq!(refused.field, "category");
            assert!(refused.problem.contains("eating-out"), "{bad}");
        }
    }

    #[test]
    fn names_become_slugs() {
        for (name, slug) in [
            ("Food & Drink", Some("food-drink")),
            ("  Groceries  ", Some("groceries")),
            ("Café/Restaurant", Some("cafe-restaurant")),
            ("Cafe\u{301}", Some("cafe")),
            ("Żywność", Some("zywnosc")),
            ("eating-out", Some("eating-out")),
            ("Straße", Some("strase")),
            ("食費", None),
            ("-- !", None),
            ("", None),
        ] {
            assert_eq!(CategorySlug::from_name(name).as_ref().map(CategorySlug::as_str), slug, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_of_letters_always_has_a_slug(name in "[A-Za-z][^\u{0}]{0,80}") {
            let slug = CategorySlug::from_name(&name).unwrap();
            prop_assert_eq!(CategorySlug::from_name(slug.as_str()), Some(slug));
        }
    }
}
