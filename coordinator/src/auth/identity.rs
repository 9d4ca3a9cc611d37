//! Whether the secrets of a data folder are those that its database belongs to.
//!
//! A coordinator that came up with other secrets would work, and nobody could use it: every device's token would be
//! refused, and every app that pins the task key would refuse every round. So the database knows its secrets again, by the
//! public part of the task key and a hash of the token key, and a coordinator starts with others only when it is told to.
//!
//! | `secrets.json` | database | start |
//! |---|---|---|
//! | none | new | makes secrets |
//! | none | in use | refused |
//! | there | new | goes on; says that a database may have been lost |
//! | there | knows none yet (of an earlier build) | goes on, and remembers these |
//! | there | knows these | goes on |
//! | there | knows others | refused |

use std::path::Path;

use super::Secrets;
use super::secrets::{FILE, SecretsError};
use crate::store::{IdentityRow, Store, StoreError};

/// Why a coordinator does not start with the secrets that are there, or without any.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The secrets.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A database in use, and no secrets.
    #[error(
        "{folder} has no secrets.json, but its database is in use{}. With new secrets the token of every enrolled device would \
         be refused, and every app that pins the task key would refuse every round. Put secrets.json back from the backup; \
         without one, start once with --new-identity, enroll every device again and give every app the new task key",
        known.map(|key| format!(" and{}", of_key(key))).unwrap_or_default()
    )]
    Missing {
        /// The data folder.
        folder: String,
        /// The task key that the database belongs to, where it knows.
        known: Option<[u8; 32]>,
    },
    /// Secrets with another task key.
    #[error(
        "secrets.json in {folder} holds task key {}, but the database{}: they are of two coordinators. Every app that pins the \
         database's key would refuse every round, and devices would have to enroll again. Put the secrets.json back that \
         belongs to this database; without it, start once with --new-identity and give every app the new task key",
        hex::encode(found), of_key(*known)
    )]
    OtherTaskKey {
        /// The data folder.
        folder: String,
        /// The secrets' task key.
        found: [u8; 32],
        /// The database's.
        known: [u8; 32],
    },
    /// The same task key and another key of tokens.
    #[error(
        "secrets.json in {folder} holds the task key of the database, but another key for tokens: the token of every enrolled \
         device would be refused. Put the secrets.json back that belongs to this database; without it, start once with \
         --new-identity and enroll every device again"
    )]
    OtherTokenKey {
        /// The data folder.
        folder: String,
    },
}

/// The secrets of a data folder, once they fit its database; made, where both are new.
///
/// `database_was_there`: whether `store` was opened on a file that existed before. `new_identity`: the operator wants to
/// go on with whatever secrets are there, or with new ones.
///
/// # Errors
/// [`IdentityError`]; no file and no row has changed then.
pub async fn open(
    folder: &Path,
    store: &Store,
    database_was_there: bool,
    new_identity: bool,
) -> Result<Secrets, IdentityError> {
    let found = Secrets::load(folder)?;
    let (known, in_use) = store
        .read("identity", |tx| {
            Box::pin(async move { Ok::<_, StoreError>((tx.identity().await?, tx.is_in_use().await?)) })
        })
        .await?;
    let name = || folder.display().to_string();
    let secrets = match (found, known) {
        (Some(secrets), Some(known)) if secrets.identity() == known => {
            if new_identity {
                tracing::warn!("--new-identity changed nothing: secrets and database belong together; leave it out");
            }
            return Ok(secrets);
        }
        (Some(secrets), Some(known)) if !new_identity => {
            let found = secrets.identity().task_key;
            return Err(if found == known.task_key {
                IdentityError::OtherTokenKey { folder: name() }
            } else {
                IdentityError::OtherTaskKey { folder: name(), found, known: known.task_key }
            });
        }
        (None, known) if !new_identity && (known.is_some() || in_use) => {
            return Err(IdentityError::Missing { folder: name(), known: known.map(|known| known.task_key) });
        }
        (Some(secrets), known) => {
            match known {
                Some(_) => warn_of_new_identity(),
                None if database_was_there => tracing::info!("the database remembers its {FILE} from now on"),
                None => tracing::warn!(
                    "{FILE} was there, but the database is new. If this coordinator ran here before, its tasks, models \
                     and rounds are gone: stop it and put the backup of the data folder back, or create the tasks again. \
                     Devices that were enrolled go on"
                ),
            }
            secrets
        }
        (None, known) => {
            if known.is_some() || in_use {
                warn_of_new_identity();
            }
            Secrets::create(folder)?
        }
    };
    remember(store, secrets.identity()).await?;
    Ok(secrets)
}

fn warn_of_new_identity() {
    tracing::warn!(
        "the coordinator has another identity from now on: enroll every device again and give every app the new task key; \
         leave --new-identity out at the next start"
    );
}

async fn remember(store: &Store, identity: IdentityRow) -> Result<(), StoreError> {
    store.run_tx("put_identity", move |tx| Box::pin(async move { tx.put_identity(&identity).await })).await
}

/// Whose database it is, as a part of a sentence.
fn of_key(known: [u8; 32]) -> String {
    format!(" belongs to task key {}", hex::encode(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::example_task;

    async fn start(folder: &Path, store: &Store, new_identity: bool) -> Result<IdentityRow, IdentityError> {
        open(folder, store, true, new_identity).await.map(|secrets| secrets.identity())
    }

    /// A folder with secrets, and the database that belongs to them.
    async fn pair() -> (tempfile::TempDir, Store, IdentityRow) {
        let (folder, store) = (tempfile::tempdir().unwrap(), Store::open_in_memory().await.unwrap());
        let identity = start(folder.path(), &store, false).await.unwrap();
        (folder, store, identity)
    }

    #[tokio::test]
    async fn secrets_that_are_lost_are_not_made_again_unless_told() {
        let (folder, store, identity) = pair().await;
        assert_eq!(start(folder.path(), &store, false).await.unwrap(), identity);
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        let refused = start(folder.path(), &store, false).await.unwrap_err();
        assert!(matches!(refused, IdentityError::Missing { known: Some(key), .. } if key == identity.task_key));
        assert!(!folder.path().join(FILE).exists(), "nothing was made");
        let other = start(folder.path(), &store, true).await.unwrap();
        assert_ne!(other, identity);
        assert_eq!(start(folder.path(), &store, false).await.unwrap(), other, "told once is enough");
        assert_eq!(start(folder.path(), &store, true).await.unwrap(), other, "nothing is left to change");
    }

    #[tokio::test]
    async fn a_database_in_use_of_an_earlier_build_adopts_its_secrets_and_misses_them() {
        let (folder, store) = (tempfile::tempdir().unwrap(), Store::open_in_memory().await.unwrap());
        let row = example_task();
        store
            .run_tx("test", |tx| {
                let row = row.clone();
                Box::pin(async move { tx.insert_task(&row).await })
            })
            .await
            .unwrap();
        let refused = start(folder.path(), &store, false).await.unwrap_err();
        assert!(matches!(refused, IdentityError::Missing { known: None, .. }));
        let kept = Secrets::create(folder.path()).unwrap().identity();
        assert_eq!(start(folder.path(), &store, false).await.unwrap(), kept);
        let known = store.read("test", |tx| Box::pin(async move { tx.identity().await })).await;
        assert_eq!(known, Ok(Some(kept)));
    }

    #[tokio::test]
    async fn secrets_of_another_coordinator_are_refused_with_both_keys() {
        let ((folder, store, identity), (strange, _, found)) = (pair().await, pair().await);
        let path = folder.path().join(FILE);
        let own: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        std::fs::copy(strange.path().join(FILE), &path).unwrap();
        let sentence = start(folder.path(), &store, false).await.unwrap_err().to_string();
        for part in [hex::encode(identity.task_key), hex::encode(found.task_key), "--new-identity".into()] {
            assert!(sentence.contains(&part), "{sentence}");
        }
        let mut mixed = own.clone();
        mixed["token_key"] = "11".repeat(32).into();
        std::fs::write(&path, mixed.to_string()).unwrap();
        let refused = start(folder.path(), &store, false).await.unwrap_err();
        assert!(matches!(refused, IdentityError::OtherTokenKey { .. }), "{refused}");
        // Keys of URLs come and go.
        let mut rotated = own.clone();
        rotated["url_key"]["key"] = "22".repeat(32).into();
        std::fs::write(&path, rotated.to_string()).unwrap();
        assert_eq!(start(folder.path(), &store, false).await.unwrap(), identity);
    }
}
