//! The `enrollment_tokens` table.

use async_trait::async_trait;
use scale_proto::time::Timestamp;
use sqlx::FromRow;
use uuid::Uuid;

use super::column::Moment;
use super::engine::{Access, Engine, Statement};
use super::open::Store;
use super::{Allowance, Enrollments, Error, Granted};
use crate::domain::{Scope, UserId};

#[derive(FromRow)]
struct Row {
    created_at: Moment,
}

impl TryFrom<Row> for Timestamp {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(row.created_at.0)
    }
}

#[async_trait]
impl<DB: Engine> Enrollments for Store<DB> {
    async fn grant_enrollment(&self, user: UserId, allowance: Allowance, now: Timestamp) -> Result<Granted, Error> {
        let mut tx = self.begin(Scope::User(user), Access::Write).await?;
        // Of calls at once, each counts what those before it have kept.
        tx.lock_person(user).await?;
        let within = u64::try_from(allowance.within.as_millis()).unwrap_or(u64::MAX);
        let counting = Statement::new("SELECT created_at FROM enrollment_tokens WHERE user_id = ")
            .value(user)
            .sql(" AND created_at > ")
            .value(Timestamp::from_millis(now.as_millis().saturating_sub(within)))
            .sql(" ORDER BY created_at DESC LIMIT ")
            .value(u64::from(allowance.most.max(1)));
        let counting: Vec<Timestamp> = tx.all::<Row, _>(counting).await?;
        let granted = match counting.last() {
            Some(oldest) if counting.len() as u64 >= u64::from(allowance.most) => {
                Granted::NotBefore(oldest.plus(allowance.within))
            }
            _ => {
                let insert = Statement::new("INSERT INTO enrollment_tokens (id, user_id, created_at) VALUES (")
                    .list([Uuid::now_v7().into(), user.into(), now.into()])
                    .sql(")");
                tx.execute(insert).await?;
                Granted::Now
            }
        };
        tx.commit().await?;
        Ok(granted)
    }

    async fn enrollments(&self, scope: Scope, limit: u16) -> Result<Vec<Timestamp>, Error> {
        let query = Statement::new("SELECT created_at FROM enrollment_tokens WHERE TRUE")
            .and_scope(scope)
            .sql(" ORDER BY created_at DESC LIMIT ")
            .value(i64::from(limit));
        self.read::<Row, _>(scope, query).await
    }

    async fn forget_enrollments(&self, until: Timestamp) -> Result<u64, Error> {
        let mut tx = self.begin(Scope::Service, Access::Write).await?;
        let delete = Statement::new("DELETE FROM enrollment_tokens WHERE created_at <= ").value(until);
        let forgotten = tx.execute(delete).await?;
        tx.commit().await?;
        Ok(forgotten)
    }
}
