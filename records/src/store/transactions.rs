//! The `transactions` table.

use async_trait::async_trait;
use scale_proto::time::Timestamp;

use super::column::{TRANSACTION, TransactionRow};
use super::engine::{Access, Engine, Statement, Value};
use super::open::Store;
use super::page::{self, PageRow};
use super::tx::Tx;
use super::{Created, Cursor, Error, Filter, Listed, Page, Transactions};
use crate::domain::{CategoryChange, CategorySource, NewTransaction, Scope, Text, Transaction, TransactionId, UserId};

#[async_trait]
impl<DB: Engine> Transactions for Store<DB> {
    async fn transactions(&self, scope: Scope, filter: &Filter, wanted: &Page) -> Result<Listed, Error> {
        let limit = wanted.limit.clamp(1, Page::MAX);
        let query = listed::<DB>(scope, filter, wanted.after, limit);
        let mut transactions: Vec<Transaction> = if DB::LISTS_IN_ONE_ROW {
            self.read::<PageRow, Vec<Transaction>>(scope, page::in_one_row(query))
                .await?
                .into_iter()
                .flatten()
                .collect()
        } else {
            self.read::<TransactionRow, _>(scope, query).await?
        };
        let more = transactions.len() > usize::from(limit);
        transactions.truncate(limit.into());
        let last = transactions.last().filter(|_| more);
        let next = last.map(|last| Cursor { date: last.content.transaction_date, id: last.id });
        Ok(Listed { transactions, next })
    }

    async fn transaction(&self, scope: Scope, id: TransactionId) -> Result<Option<Transaction>, Error> {
        Ok(self.read::<TransactionRow, _>(scope, by_id(scope, id)).await?.pop())
    }

    async fn create_transaction(
        &self,
        user: UserId,
        new: &NewTransaction,
        now: Timestamp,
    ) -> Result<Created<Transaction>, Error> {
        let mut tx = self.begin(Scope::User(user), Access::Write).await?;
        let inserted = tx.insert(user, std::slice::from_ref(new), now).await? == 1;
        let query = select().sql("WHERE user_id = ").value(user).sql(" AND fingerprint = ").value(&new.fingerprint.0);
        // Deleted by somebody else between the two statements, which is as good as deleted before.
        let found = one(&mut tx, query).await?.ok_or_else(|| Error::Unavailable("changed meanwhile".to_owned()))?;
        tx.commit().await?;
        Ok(if inserted { Created::New(found) } else { Created::Exists(found) })
    }

    async fn set_category(
        &self,
        scope: Scope,
        id: TransactionId,
        change: &CategoryChange,
        now: Timestamp,
    ) -> Result<Option<Transaction>, Error> {
        let may_replace = match change.source {
            CategorySource::Import => " AND COALESCE(category_source, 'import') = 'import'",
            CategorySource::Prediction => " AND COALESCE(category_source, 'import') <> 'person'",
            CategorySource::Person => "",
        };
        let update = Statement::new("UPDATE transactions SET category = ")
            .value(change.category.as_ref().map(|slug| slug.as_str()))
            .sql(", category_source = ")
            .value(change.source.as_str())
            .sql(", updated_at = ")
            .value(now)
            .sql(" WHERE id = ")
            .value(id.0)
            .and_scope(scope)
            .sql(may_replace);
        let mut tx = self.begin(scope, Access::Write).await?;
        tx.execute(update).await?;
        let found = one(&mut tx, by_id(scope, id)).await?;
        tx.commit().await?;
        Ok(found)
    }

    async fn delete_transaction(&self, scope: Scope, id: TransactionId) -> Result<bool, Error> {
        let mut tx = self.begin(scope, Access::Write).await?;
        let delete = Statement::new("DELETE FROM transactions WHERE id = ").value(id.0).and_scope(scope);
        let deleted = tx.execute(delete).await?;
        tx.commit().await?;
        Ok(deleted > 0)
    }
}

/// The query for a page, and one more than asked for: that tells whether there is a next page.
fn listed<DB: Engine>(scope: Scope, filter: &Filter, after: Option<Cursor>, limit: u16) -> Statement {
    let mut query = select().sql("WHERE TRUE").and_scope(scope);
    if let Some(from) = filter.from {
        query = query.sql(" AND transaction_date >= ").value(from);
    }
    if let Some(to) = filter.to {
        query = query.sql(" AND transaction_date <= ").value(to);
    }
    if let Some(category) = &filter.category {
        query = query.sql(" AND category = ").value(category.as_str());
    }
    if let Some(merchant) = &filter.merchant {
        // Not LIKE: nothing in the text means anything but itself.
        query = query.sql(" AND ").sql(DB::POSITION).sql("(lower(merchant_name), ");
        query = query.value(merchant.to_ascii_lowercase().as_str()).sql(") > 0");
    }
    if let Some(currency) = filter.currency {
        query = query.sql(" AND currency = ").value(currency.code());
    }
    if let Some(least) = filter.min_minor {
        query = query.sql(" AND amount_minor >= ").value(least);
    }
    if let Some(most) = filter.max_minor {
        query = query.sql(" AND amount_minor <= ").value(most);
    }
    if let Some(Cursor { date, id }) = after {
        query = query.sql(" AND (transaction_date, id) < (").list([date.into(), id.0.into()]).sql(")");
    }
    query.sql(" ORDER BY transaction_date DESC, id DESC LIMIT ").value(i64::from(limit) + 1)
}

fn select() -> Statement {
    Statement::new("SELECT ").sql(TRANSACTION).sql(" FROM transactions ")
}

fn by_id(scope: Scope, id: TransactionId) -> Statement {
    select().sql("WHERE id = ").value(id.0).and_scope(scope)
}

async fn one<DB: Engine>(tx: &mut Tx<DB>, query: Statement) -> Result<Option<Transaction>, Error> {
    tx.one::<TransactionRow, _>(query).await
}

/// The values of a new row, in the order of [`TRANSACTION`], as SQLite keeps them.
pub(super) fn columns(user: UserId, new: &NewTransaction, now: Timestamp) -> [Value; 16] {
    let (category, source) = match &new.category {
        Some((slug, source)) => (Some(slug.as_str()), Some(source.as_str())),
        None => (None, None),
    };
    [
        TransactionId::new().0.into(),
        user.into(),
        new.transaction_date.into(),
        new.direction.as_str().into(),
        new.money.minor.into(),
        new.money.currency.code().into(),
        new.description.as_str().into(),
        new.merchant_name.as_ref().map(Text::as_str).into(),
        category.into(),
        source.into(),
        new.payment_method.as_ref().map(Text::as_str).into(),
        new.status.as_str().into(),
        (&new.fingerprint.0).into(),
        Value::Text(new.raw_data.as_ref().map(ToString::to_string)),
        now.into(),
        now.into(),
    ]
}

#[cfg(test)]
mod tests {
    use sqlx::{Sqlite, SqlitePool};
    use time::macros::date;

    use super::*;
    use crate::domain::{CategorySlug, Currency};
    use crate::store::{migrations, sqlite};

    #[derive(sqlx::FromRow)]
    struct Plan {
        detail: String,
    }

    async fn plan(pool: &SqlitePool, statement: Statement) -> String {
        let mut connection = pool.acquire().await.unwrap();
        let steps: Vec<Plan> = Sqlite::fetch(&mut connection, statement.explained()).await.unwrap();
        steps.into_iter().map(|step| step.detail).collect::<Vec<_>>().join("; ")
    }

    /// A page is read off an index, in its order, whatever the filter: the time does not grow with other people's rows.
    #[tokio::test]
    async fn every_page_of_a_person_comes_from_an_index() {
        let (_anchor, pool) = sqlite::connect_in_memory().await.unwrap();
        migrations::run(&pool).await.unwrap();
        let user = UserId::new();
        let none = Filter::default;
        let day = Some(date!(2026 - 02 - 28));
        for (filter, index) in [
            (none(), "idx_transactions_user_date"),
            (Filter { from: day, to: day, ..none() }, "idx_transactions_user_date"),
            (Filter { merchant: Some("a".into()), ..none() }, "idx_transactions_user_date"),
            (Filter { currency: Currency::new("EUR").ok(), ..none() }, "idx_transactions_user_date"),
            (Filter { category: CategorySlug::new("fuel").ok(), ..none() }, "idx_transactions_category"),
            (Filter { category: CategorySlug::new("fuel").ok(), from: day, ..none() }, "idx_transactions_"),
            (Filter { min_minor: Some(1), max_minor: Some(9), ..none() }, "idx_transactions_"),
        ] {
            for after in [None, day.map(|date| Cursor { date, id: TransactionId::new() })] {
                let found = plan(&pool, listed::<Sqlite>(Scope::User(user), &filter, after, 50)).await;
                assert!(found.contains(index) && found.starts_with("SEARCH"), "{filter:?}: {found}");
                let query = page::in_one_row(listed::<Sqlite>(Scope::User(user), &filter, after, 50));
                let found = plan(&pool, query).await;
                assert!(found.contains(index) && found.contains("SEARCH"), "{filter:?}: {found}");
            }
        }
        let change = by_id(Scope::User(user), TransactionId::new());
        assert!(plan(&pool, change).await.starts_with("SEARCH"));
    }
}
