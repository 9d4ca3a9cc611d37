//! The `enrollment_tokens` table.

use async_trait::async_trait;
use scale_clock::Timestamp;
use scale_sql::{Moment, sql};
use uuid::Uuid;

use super::column::moment;
use super::open::{Store, lock_person};
use super::{Allowance, Enrollments, Error, Granted};
use crate::domain::{Scope, UserId};

#[async_trait]
impl Enrollments for Store {
    async fn grant_enrollment(&self, user: UserId, allowance: Allowance, now: Timestamp) -> Result<Granted, Error> {
        let within = u64::try_from(allowance.within.as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp::from_millis(now.as_millis().saturating_sub(within));
        self.write("grant_enrollment", Scope::User(user), move |tx| {
            Box::pin(async move {
                // Of calls at once, each counts what those before it have kept.
                lock_person(tx, user).await?;
                let counting = sql("SELECT created_at FROM enrollment_tokens WHERE user_id = $1 AND created_at > $2
                     ORDER BY created_at DESC LIMIT $3")
                .bind(user)
                .bind(Moment(since))
                .bind(allowance.most.max(1));
                let counting = tx.all(counting, |row| moment(row, "created_at")).await?;
                if let Some(oldest) = counting.last()
                    && counting.len() as u64 >= u64::from(allowance.most)
                {
                    return Ok(Granted::NotBefore(oldest.plus(allowance.within)));
                }
                let insert = sql("INSERT INTO enrollment_tokens (id, user_id, created_at) VALUES ($1, $2, $3)")
                    .bind(Uuid::now_v7())
                    .bind(user)
                    .bind(Moment(now));
                tx.execute(insert).await?;
                Ok(Granted::Now)
            })
        })
        .await
    }

    async fn enrollments(&self, scope: Scope, limit: u16) -> Result<Vec<Timestamp>, Error> {
        let query = match scope {
            Scope::User(user) => {
                sql("SELECT created_at FROM enrollment_tokens WHERE user_id = $1 ORDER BY created_at DESC LIMIT $2")
                    .bind(user)
            }
            Scope::Service => sql("SELECT created_at FROM enrollment_tokens ORDER BY created_at DESC LIMIT $1"),
        };
        self.read(scope, query.bind(limit), |row| moment(row, "created_at")).await
    }

    async fn forget_enrollments(&self, until: Timestamp) -> Result<u64, Error> {
        let delete = sql("DELETE FROM enrollment_tokens WHERE created_at <= $1").bind(Moment(until));
        self.execute("forget_enrollments", Scope::Service, delete).await
    }
}
