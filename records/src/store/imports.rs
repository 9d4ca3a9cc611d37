//! The `uploaded_files` table, and a file's way into the `transactions` table.

use async_trait::async_trait;
use scale_clock::Timestamp;
use scale_sql::{Access, Moment, Tx, sql};

use super::open::{Store, lock_person};
use super::{Begun, Error, Import, Imports, column, transactions};
use crate::domain::{NewTransaction, NewUpload, Scope, Upload, UploadCounts, UploadId, UserId};

#[async_trait]
impl Imports for Store {
    async fn begin_import(&self, user: UserId, file: &NewUpload, now: Timestamp) -> Result<Begun, Error> {
        let mut tx = self.begin(Scope::User(user), Access::Write).await?;
        // One import of a person at a time: two whose rows overlap would wait for each other in both directions.
        lock_person(&mut tx, user).await?;
        let seen = sql("SELECT * FROM uploaded_files WHERE user_id = $1 AND file_hash = $2");
        let seen = seen.bind(user).bind(file.file_hash.0);
        if let Some(seen) = tx.one(seen, column::upload).await? {
            tx.commit().await?;
            return Ok(Begun::Seen(seen));
        }
        let upload = Upload {
            id: UploadId::new(),
            user_id: user,
            file_hash: file.file_hash,
            filename: file.filename.as_str().to_owned(),
            upload_type: file.upload_type.to_owned(),
            counts: UploadCounts::default(),
            created_at: now,
        };
        let insert = sql(
            "INSERT INTO uploaded_files (id, user_id, file_hash, filename, upload_type, inserted, skipped_duplicates,
                 rejected, created_at)
             VALUES ($1, $2, $3, $4, $5, 0, 0, 0, $6)",
        )
        .bind(upload.id.0)
        .bind(user)
        .bind(upload.file_hash.0)
        .bind(&upload.filename)
        .bind(&upload.upload_type)
        .bind(Moment(now));
        tx.execute(insert).await?;
        Ok(Begun::Open(Box::new(Running { tx, upload })))
    }

    async fn uploads(&self, scope: Scope, limit: u16) -> Result<Vec<Upload>, Error> {
        let query = match scope {
            Scope::User(user) => {
                sql("SELECT * FROM uploaded_files WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2")
                    .bind(user)
            }
            Scope::Service => sql("SELECT * FROM uploaded_files ORDER BY created_at DESC, id DESC LIMIT $1"),
        };
        self.read(scope, query.bind(limit), column::upload).await
    }
}

/// An import under way.
struct Running {
    tx: Tx,
    upload: Upload,
}

#[async_trait]
impl Import for Running {
    async fn insert(&mut self, rows: &[NewTransaction]) -> Result<u64, Error> {
        if rows.is_empty() {
            return Ok(0);
        }
        self.tx.execute(transactions::insert(self.upload.user_id, rows, self.upload.created_at)).await
    }

    async fn commit(self: Box<Self>, counts: UploadCounts) -> Result<Upload, Error> {
        let Self { mut tx, mut upload } = *self;
        let update =
            sql("UPDATE uploaded_files SET inserted = $2, skipped_duplicates = $3, rejected = $4 WHERE id = $1")
                .bind(upload.id.0)
                .bind(counts.inserted)
                .bind(counts.skipped_duplicates)
                .bind(counts.rejected);
        tx.execute(update).await?;
        tx.commit().await?;
        upload.counts = counts;
        Ok(upload)
    }

    async fn abandon(self: Box<Self>) {
        self.tx.undo().await;
    }
}
