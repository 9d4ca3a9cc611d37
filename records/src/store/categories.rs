//! The `categories` table.

use async_trait::async_trait;

use super::column::CategoryRow;
use super::engine::{Access, Engine, Statement};
use super::open::Store;
use super::{Categories, Error};
use crate::domain::{Category, CategorySlug, Scope, UserId};

#[async_trait]
impl<DB: Engine> Categories for Store<DB> {
    async fn categories(&self, user: UserId) -> Result<Vec<Category>, Error> {
        let query = Statement::new("SELECT user_id, slug, name FROM categories WHERE user_id IS NULL OR user_id = ")
            .value(user)
            .sql(" ORDER BY slug");
        self.read::<CategoryRow, _>(Scope::User(user), query).await
    }

    async fn create_category(&self, user: UserId, slug: &CategorySlug, name: &str) -> Result<bool, Error> {
        let insert = Statement::new("INSERT INTO categories (user_id, slug, name) SELECT ")
            .list([user.into(), slug.as_str().into(), name.into()])
            .sql(" WHERE NOT EXISTS (SELECT 1 FROM categories WHERE user_id IS NULL AND slug = ")
            .value(slug.as_str())
            .sql(") ON CONFLICT DO NOTHING");
        let mut tx = self.begin(Scope::User(user), Access::Write).await?;
        let inserted = tx.execute(insert).await?;
        tx.commit().await?;
        Ok(inserted > 0)
    }
}
