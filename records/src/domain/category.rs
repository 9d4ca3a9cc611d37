//! Categories: a list that everybody has, and a person's own.

use super::Invalid;

/// A category's name in rows and in the API: 1 to 40 of `a-z`, `0-9` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CategorySlug(String);

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
