//! Categories as JSON.

use scale_records::domain::{self, CategorySlug};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::problem::Problem;
use super::{Faults, text};

/// A category.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Category<'a> {
    /// Its name in transactions.
    #[schema(pattern = "^[a-z0-9-]{1,40}$", example = "eating-out")]
    slug: &'a str,
    /// Its name on a screen.
    #[schema(min_length = 1, example = "Eating out")]
    name: &'a str,
    /// Whether the person made it; the others are everybody's.
    own: bool,
}

impl<'a> From<&'a domain::Category> for Category<'a> {
    fn from(category: &'a domain::Category) -> Self {
        Self { slug: category.slug.as_str(), name: &category.name, own: category.own }
    }
}

/// Everybody's categories and the person's own, by slug.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Categories<'a> {
    /// The categories.
    pub(in crate::http) items: Vec<Category<'a>>,
}

/// A category of one's own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewCategory {
    /// Its name in transactions.
    #[schema(pattern = "^[a-z0-9-]{1,40}$", example = "model-trains")]
    slug: String,
    /// Its name on a screen.
    #[schema(min_length = 1, max_length = 80, example = "Model trains")]
    name: String,
}

impl NewCategory {
    pub(in crate::http) fn check(self) -> Result<domain::Category, Problem> {
        let mut faults = Faults::default();
        let slug = faults.take(CategorySlug::new(&self.slug).map_err(|mut invalid| {
            invalid.field = "slug";
            invalid
        }));
        let name = faults.take(text::<80>("name", &self.name));
        match (slug, name) {
            (Some(slug), Some(name)) => Ok(domain::Category { slug, name: name.as_str().to_owned(), own: true }),
            _ => Err(faults.into_problem()),
        }
    }
}
