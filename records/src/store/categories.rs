//! The `categories` table.

use async_trait::async_trait;
use scale_sql::sql;

use super::open::Store;
use super::{Categories, Error, column};
use crate::domain::{Category, CategorySlug, Scope, UserId};

#[async_trait]
impl Categories for Store {
    async fn categories(&self, user: UserId) -> Result<Vec<Category>, Error> {
        let query = sql("SELECT * FROM categories WHERE user_id IS NULL OR user_id = $1 ORDER BY slug").bind(user);
        self.read(Scope::User(user), query, column::category).await
    }

    async fn create_category(&self, user: UserId, slug: &CategorySlug, name: &str) -> Result<bool, Error> {
        let insert = sql("INSERT INTO categories (user_id, slug, name)
             SELECT $1, $2, $3
             WHERE NOT EXISTS (SELECT 1 FROM categories WHERE user_id IS NULL AND slug = $2)
             ON CONFLICT DO NOTHING")
        .bind(user)
        .bind(slug.as_str())
        .bind(name);
        Ok(self.execute("create_category", Scope::User(user), insert).await? > 0)
    }
}
