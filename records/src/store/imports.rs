//! The `uploaded_files` table, and a file's way into the `transactions` table.

use async_trait::async_trait;
use scale_proto::time::Timestamp;

use super::column::{UPLOAD, UploadRow};
use super::engine::{Access, Engine, Statement};
use super::open::Store;
use super::tx::Tx;
use super::{Begun, Error, Import, Imports};
use crate::domain::{NewTransaction, NewUpload, Scope, Upload, UploadCounts, UploadId, UserId};

#[async_trait]
impl<DB: Engine> Imports for Store<DB> {
    async fn begin_import(&self, user: UserId, file: &NewUpload, now: Timestamp) -> Result<Begun, Error> {
        let mut tx = self.begin(Scope::User(user), Access::Write).await?;
        // One import of a person at a time: two whose rows overlap would wait for each other in both directions.
        tx.lock_person(user).await?;
        let seen = Statement::new("SELECT ")
            .sql(UPLOAD)
            .sql(" FROM uploaded_files WHERE user_id = ")
            .value(user)
            .sql(" AND file_hash = ")
            .value(&file.file_hash.0);
        if let Some(seen) = tx.one::<UploadRow, Upload>(seen).await? {
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
        let insert = Statement::new("INSERT INTO uploaded_files (").sql(UPLOAD).sql(") VALUES (").list([
            upload.id.0.into(),
            user.into(),
            (&upload.file_hash.0).into(),
            upload.filename.as_str().into(),
            upload.upload_type.as_str().into(),
            0_u64.into(),
            0_u64.into(),
            0_u64.into(),
            now.into(),
        ]);
        tx.execute(insert.sql(")")).await?;
        Ok(Begun::Open(Box::new(Running { tx, upload })))
    }

    async fn uploads(&self, scope: Scope, limit: u16) -> Result<Vec<Upload>, Error> {
        let query = Statement::new("SELECT ")
            .sql(UPLOAD)
            .sql(" FROM uploaded_files WHERE TRUE")
            .and_scope(scope)
            .sql(" ORDER BY created_at DESC, id DESC LIMIT ")
            .value(i64::from(limit));
        self.read::<UploadRow, _>(scope, query).await
    }
}

/// An import under way.
struct Running<DB: Engine> {
    tx: Tx<DB>,
    upload: Upload,
}

#[async_trait]
impl<DB: Engine> Import for Running<DB> {
    async fn insert(&mut self, rows: &[NewTransaction]) -> Result<u64, Error> {
        if rows.is_empty() {
            return Ok(0);
        }
        self.tx.insert(self.upload.user_id, rows, self.upload.created_at).await
    }

    async fn commit(self: Box<Self>, counts: UploadCounts) -> Result<Upload, Error> {
        let Self { mut tx, mut upload } = *self;
        let update = Statement::new("UPDATE uploaded_files SET inserted = ")
            .value(counts.inserted)
            .sql(", skipped_duplicates = ")
            .value(counts.skipped_duplicates)
            .sql(", rejected = ")
            .value(counts.rejected)
            .sql(" WHERE id = ")
            .value(upload.id.0);
        tx.execute(update).await?;
        tx.commit().await?;
        upload.counts = counts;
        Ok(upload)
    }

    async fn abandon(self: Box<Self>) {
        self.tx.undo().await;
    }
}
