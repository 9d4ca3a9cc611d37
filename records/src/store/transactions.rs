//! The `transactions` table.

use async_trait::async_trait;
use scale_clock::Timestamp;
use scale_sql::{Engine, Moment, Statement, by_engine, sql};
use serde_json::{Value, json};

use super::open::Store;
use super::{Created, Cursor, Error, Filter, Listed, Page, Transactions, column, page};
use crate::domain::{CategoryChange, NewTransaction, Scope, Text, Transaction, TransactionId, UserId};

#[async_trait]
impl Transactions for Store {
    async fn transactions(&self, scope: Scope, filter: &Filter, wanted: &Page) -> Result<Listed, Error> {
        let limit = wanted.limit.clamp(1, Page::MAX);
        let query = listed(scope, filter, wanted.after, limit);
        let mut transactions = match self.engine() {
            Engine::Sqlite => {
                let pages = self.read(scope, page::in_one_row(query), page::unpack).await?;
                pages.into_iter().flatten().collect()
            }
            Engine::Postgres => self.read(scope, query, column::transaction).await?,
        };
        let more = transactions.len() > usize::from(limit);
        transactions.truncate(limit.into());
        let last = transactions.last().filter(|_| more);
        let next = last.map(|last| Cursor { date: last.content.transaction_date, id: last.id });
        Ok(Listed { transactions, next })
    }

    async fn transaction(&self, scope: Scope, id: TransactionId) -> Result<Option<Transaction>, Error> {
        Ok(self.read(scope, by_id(scope, id), column::transaction).await?.pop())
    }

    async fn create_transaction(
        &self,
        user: UserId,
        new: &NewTransaction,
        now: Timestamp,
    ) -> Result<Created<Transaction>, Error> {
        let insert = insert(user, std::slice::from_ref(new), now);
        let query = sql("SELECT * FROM transactions WHERE user_id = $1 AND fingerprint = $2");
        let query = query.bind(user).bind(new.fingerprint.0);
        self.write("create_transaction", Scope::User(user), move |tx| {
            let (insert, query) = (insert.clone(), query.clone());
            Box::pin(async move {
                let inserted = tx.execute(insert).await? == 1;
                // Deleted by somebody else between the two statements, which is as good as deleted before.
                let gone = || Error::Unavailable("changed meanwhile".to_owned());
                let found = tx.one(query, column::transaction).await?.ok_or_else(gone)?;
                Ok(if inserted { Created::New(found) } else { Created::Exists(found) })
            })
        })
        .await
    }

    async fn set_category(
        &self,
        scope: Scope,
        id: TransactionId,
        change: &CategoryChange,
        now: Timestamp,
    ) -> Result<Option<Transaction>, Error> {
        // What an import said gives way to everything, a prediction to a later one, a person's choice to a person's.
        let update = sql("UPDATE transactions SET category = $3, category_source = $4, updated_at = $5
             WHERE id = $1 AND ($2 IS NULL OR user_id = $2)
                 AND ($4 = 'person' OR COALESCE(category_source, 'import') = 'import'
                     OR ($4 = 'prediction' AND category_source = 'prediction'))")
        .bind(id.0)
        .bind(scope)
        .bind(change.category.as_ref().map(|slug| slug.as_str()))
        .bind(change.source.as_str())
        .bind(Moment(now));
        self.write("set_category", scope, move |tx| {
            let update = update.clone();
            Box::pin(async move {
                tx.execute(update).await?;
                tx.one(by_id(scope, id), column::transaction).await
            })
        })
        .await
    }

    async fn delete_transaction(&self, scope: Scope, id: TransactionId) -> Result<bool, Error> {
        let delete = sql("DELETE FROM transactions WHERE id = $1 AND ($2 IS NULL OR user_id = $2)");
        Ok(self.execute("delete_transaction", scope, delete.bind(id.0).bind(scope)).await? > 0)
    }
}

/// The query for a page, and one more than asked for: that tells whether there is a next page. The one statement that is
/// put together: its conditions are the ones of the filter.
fn listed(scope: Scope, filter: &Filter, after: Option<Cursor>, limit: u16) -> Statement {
    let mut query = sql("SELECT * FROM transactions WHERE TRUE");
    if let Scope::User(user) = scope {
        query = query.push(" AND user_id = $?").bind(user);
    }
    if let Some(from) = filter.from {
        query = query.push(" AND transaction_date >= $?").bind(from);
    }
    if let Some(to) = filter.to {
        query = query.push(" AND transaction_date <= $?").bind(to);
    }
    if let Some(category) = &filter.category {
        query = query.push(" AND category = $?").bind(category.as_str());
    }
    if let Some(merchant) = &filter.merchant {
        // Not LIKE: nothing in the text means anything but itself.
        query = query
            .push_by_engine(" AND instr(lower(merchant_name), $?) > 0", " AND strpos(lower(merchant_name), $?) > 0")
            .bind(merchant.to_ascii_lowercase());
    }
    if let Some(currency) = filter.currency {
        query = query.push(" AND currency = $?").bind(currency.code());
    }
    if let Some(least) = filter.min_minor {
        query = query.push(" AND amount_minor >= $?").bind(least);
    }
    if let Some(most) = filter.max_minor {
        query = query.push(" AND amount_minor <= $?").bind(most);
    }
    if let Some(Cursor { date, id }) = after {
        query = query.push(" AND (transaction_date, id) < ($?, $?)").bind(date).bind(id.0);
    }
    query.push(" ORDER BY transaction_date DESC, id DESC LIMIT $?").bind(i64::from(limit) + 1)
}

fn by_id(scope: Scope, id: TransactionId) -> Statement {
    sql("SELECT * FROM transactions WHERE id = $1 AND ($2 IS NULL OR user_id = $2)").bind(id.0).bind(scope)
}

/// Stores those of `rows` whose fingerprint the person does not have yet. The rows are one value, an array of JSON, so that
/// it is one statement however many they are.
pub(super) fn insert(user: UserId, rows: &[NewTransaction], now: Timestamp) -> Statement {
    by_engine(
        "INSERT INTO transactions (id, user_id, transaction_date, direction, amount_minor, currency, description,
             merchant_name, category, category_source, payment_method, status, fingerprint, raw_data, created_at,
             updated_at)
         SELECT unhex(value ->> 'id'), $1, value ->> 'transaction_date', value ->> 'direction',
             value ->> 'amount_minor', value ->> 'currency', value ->> 'description', value ->> 'merchant_name',
             value ->> 'category', value ->> 'category_source', value ->> 'payment_method', value ->> 'status',
             unhex(value ->> 'fingerprint'), value ->> 'raw_data', $2, $2
         FROM json_each($3) WHERE TRUE
         ON CONFLICT (user_id, fingerprint) DO NOTHING",
        "INSERT INTO transactions (id, user_id, transaction_date, direction, amount_minor, currency, description,
             merchant_name, category, category_source, payment_method, status, fingerprint, raw_data, created_at,
             updated_at)
         SELECT row.id, $1, row.transaction_date, row.direction, row.amount_minor, row.currency, row.description,
             row.merchant_name, row.category, row.category_source, row.payment_method, row.status,
             decode(row.fingerprint, 'hex'), row.raw_data::jsonb, $2, $2
         FROM jsonb_to_recordset($3) AS row (id uuid, transaction_date date, direction text, amount_minor bigint,
             currency text, description text, merchant_name text, category text, category_source text,
             payment_method text, status text, fingerprint text, raw_data text)
         ON CONFLICT (user_id, fingerprint) DO NOTHING",
    )
    .bind(user)
    .bind(Moment(now))
    .bind(Value::Array(rows.iter().map(packed).collect()))
}

/// A new row as JSON, by the names of its columns; what a bank said travels as the text that is kept.
fn packed(new: &NewTransaction) -> Value {
    let category = new.category.as_ref();
    json!({
        "id": TransactionId::new().0.simple().to_string(),
        "transaction_date": new.transaction_date.to_string(),
        "direction": new.direction.as_str(),
        "amount_minor": new.money.minor,
        "currency": new.money.currency.code(),
        "description": new.description.as_str(),
        "merchant_name": new.merchant_name.as_ref().map(Text::as_str),
        "category": category.map(|(slug, _)| slug.as_str()),
        "category_source": category.map(|(_, source)| source.as_str()),
        "payment_method": new.payment_method.as_ref().map(Text::as_str),
        "status": new.status.as_str(),
        "fingerprint": hex::encode(new.fingerprint.0),
        "raw_data": new.raw_data.as_ref().map(Value::to_string),
    })
}

#[cfg(test)]
mod tests {
    use scale_sql::{Access, Database};
    use time::macros::date;

    use super::*;
    use crate::domain::{CategorySlug, Currency, Direction, FileHash, Fingerprint, Money, Status};
    use crate::store::open::MIGRATIONS;
    use crate::store::{Begun, Imports as _, NewUpload, UploadCounts};

    async fn plan(database: &Database, statement: Statement) -> String {
        let mut tx = database.begin(Access::ReadOne, None).await.unwrap();
        let explain = statement.inside("EXPLAIN QUERY PLAN ", "");
        let steps: Vec<String> = tx.all(explain, |row| row.get("detail")).await.unwrap();
        steps.join("; ")
    }

    /// A page is read off an index, in its order, whatever the filter: the time does not grow with other people's rows.
    #[tokio::test]
    async fn every_page_of_a_person_comes_from_an_index() {
        let database = Database::memory().await.unwrap();
        MIGRATIONS.run(&database).await.unwrap();
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
                let found = plan(&database, listed(Scope::User(user), &filter, after, 50)).await;
                assert!(found.contains(index) && found.starts_with("SEARCH"), "{filter:?}: {found}");
                let query = page::in_one_row(listed(Scope::User(user), &filter, after, 50));
                let found = plan(&database, query).await;
                assert!(found.contains(index) && found.contains("SEARCH"), "{filter:?}: {found}");
            }
        }
        let change = by_id(Scope::User(user), TransactionId::new());
        assert!(plan(&database, change).await.starts_with("SEARCH"));
    }

    fn expense(n: u8) -> NewTransaction {
        NewTransaction {
            transaction_date: date!(2026 - 02 - 28),
            direction: Direction::Debit,
            money: Money::new(100, Currency::new("EUR").unwrap()).unwrap(),
            description: Text::new("description", "card payment").unwrap(),
            merchant_name: None,
            category: None,
            payment_method: None,
            status: Status::Completed,
            fingerprint: Fingerprint([n; 32]),
            raw_data: Some("x".repeat(8000).into()),
        }
    }

    /// A full disk, as SQLite reports it: the file may not grow any more.
    #[tokio::test]
    async fn a_full_disk_changes_nothing_and_passes() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::sqlite(&folder.path().join("db"), crate::store::open::FILE).await.unwrap();
        MIGRATIONS.run(&database).await.unwrap();
        let limit = async |pages: &'static str| {
            let limited = database.run_tx("limit", |tx| Box::pin(tx.execute(sql(pages)))).await;
            limited.map_err(|error: Error| error).unwrap()
        };
        let store = Store::new(database.clone());
        let user = UserId::new();
        let now = Timestamp::from_millis(1);
        store.create_transaction(user, &expense(0), now).await.unwrap();
        limit("PRAGMA max_page_count = 60").await;
        let file = NewUpload {
            file_hash: FileHash([1; 32]),
            filename: Text::new("filename", "a.csv").unwrap(),
            upload_type: "csv",
        };
        for _ in 0..2 {
            let Begun::Open(mut import) = store.begin_import(user, &file, now).await.unwrap() else { panic!("seen") };
            let many: Vec<_> = (1..100).map(expense).collect();
            let full = import.insert(&many).await.unwrap_err();
            assert_eq!(full.code(), "storage_full", "{full}");
            assert!(import.insert(&many[..1]).await.is_err());
            assert!(import.commit(UploadCounts::default()).await.is_err());
            assert_eq!(store.uploads(Scope::User(user), 10).await.unwrap(), vec![]);
        }
        let page = Page { limit: 10, after: None };
        let list = store.transactions(Scope::User(user), &Filter::default(), &page).await.unwrap();
        assert_eq!(list.transactions.len(), 1);
        limit("PRAGMA max_page_count = 100000").await;
        store.create_transaction(user, &expense(1), now).await.unwrap();
    }
}
