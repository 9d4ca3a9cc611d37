//! Where the rows of a measurement are: a folder, and on Postgres a database of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use scale_proto::time::Timestamp;
use scale_records::domain::{JobId, NewJob, UploadCounts};
use scale_records::store::{self, Begun, Location, Records};
use scale_server::files;
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use crate::people;
use crate::settings::Arguments;

/// In the folder: what its rows are.
const CONTENT_FILE: &str = "rest_load.json";
/// Connections to Postgres: what the coordinator has by default.
const CONNECTIONS: u32 = 16;
/// People whose rows are stored at once.
const AT_ONCE: usize = 4;

/// What is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    users: u32,
    transactions_each: u32,
    /// The database on the Postgres server.
    database: Option<String>,
}

/// Where the rows are.
pub(crate) struct Place {
    folder: PathBuf,
    /// Removes the folder at the end.
    temporary: Option<tempfile::TempDir>,
    /// The Postgres server, and the name of the database.
    database: Option<(String, String)>,
}

impl Place {
    /// Finds the rows, or stores them. Says on stderr what takes time.
    pub(crate) async fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let (folder, temporary) = match &arguments.data {
            Some(folder) => (folder.clone(), None),
            None => {
                let folder = tempfile::tempdir()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let mut place = Self { folder, temporary, database: None };
        let known = place.content()?;
        if let Some(server) = &arguments.postgres {
            let name = match known.as_ref().and_then(|known| known.database.clone()) {
                Some(name) => name,
                None => format!("rest_load_{}", Uuid::now_v7().simple()),
            };
            if known.is_none() {
                on_server(server, &format!("CREATE DATABASE {name}")).await?;
            }
            place.database = Some((server.clone(), name));
        }
        let wanted = Content {
            users: arguments.users,
            transactions_each: arguments.each(),
            database: place.database.as_ref().map(|(_, name)| name.clone()),
        };
        match known {
            Some(known) => {
                ensure!(known == wanted, "{} has other rows ({known:?}); give another --data", place.folder.display())
            }
            None => {
                if let Err(error) = place.fill(&wanted).await {
                    place.drop_database().await?;
                    return Err(error);
                }
            }
        }
        Ok(place)
    }

    /// The coordinator's data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The database's URL; `None`: SQLite.
    pub(crate) fn database_url(&self) -> anyhow::Result<Option<String>> {
        self.database.as_ref().map(|(server, name)| with_database(server, name)).transpose()
    }

    /// Opens the rows. No coordinator may run on them then, if they are in SQLite.
    pub(crate) async fn records(&self) -> anyhow::Result<Arc<dyn Records>> {
        Ok(store::open(&self.location()?).await?)
    }

    /// Removes what is not to be kept.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        if self.temporary.is_some() { self.drop_database().await } else { Ok(()) }
    }

    async fn drop_database(&self) -> anyhow::Result<()> {
        match &self.database {
            Some((server, name)) => on_server(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await,
            None => Ok(()),
        }
    }

    fn location(&self) -> anyhow::Result<Location> {
        Ok(match self.database_url()? {
            Some(url) => Location::Postgres(url, CONNECTIONS),
            None => Location::Sqlite(self.folder.join(files::PEOPLE_DATABASE)),
        })
    }

    fn content(&self) -> anyhow::Result<Option<Content>> {
        match std::fs::read(self.folder.join(CONTENT_FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn fill(&self, content: &Content) -> anyhow::Result<()> {
        store::migrate(&self.location()?).await?;
        let records = self.records().await?;
        let (users, each) = (content.users, content.transactions_each);
        eprintln!("storing {} transactions of {users} people", u64::from(users) * u64::from(each));
        let people = stream::iter(0..users).map(|n| Ok::<_, anyhow::Error>(give(records.clone(), n, each)));
        people.try_buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        records.close().await;
        if let Some(url) = self.database_url()? {
            // As autovacuum does, a minute later.
            on_server(&url, "VACUUM ANALYZE").await?;
        }
        std::fs::write(self.folder.join(CONTENT_FILE), serde_json::to_vec(content)?)?;
        Ok(())
    }
}

/// Gives the `n`th person their transactions.
async fn give(records: Arc<dyn Records>, n: u32, each: u32) -> anyhow::Result<()> {
    let file = people::csv("stored", 0..each);
    let rows = people::rows(&file)?;
    let begun = records.begin_import(people::user(n), &people::upload(&file)?, now()).await?;
    let Begun::Open(mut import) = begun else { return Ok(()) };
    for rows in rows.chunks(2_000) {
        import.insert(rows).await?;
    }
    import.commit(UploadCounts { inserted: rows.len() as u64, ..UploadCounts::default() }).await?;
    Ok(())
}

/// The active training jobs of the first `people`, made where there are none.
pub(crate) async fn jobs(records: &Arc<dyn Records>, people: u32) -> anyhow::Result<Vec<JobId>> {
    let job = |n| async move {
        let new = NewJob { id: JobId::new(), model_type: "categorizer".to_owned(), credential_hash: [0; 32] };
        Ok::<_, anyhow::Error>(match records.create_job(people::user(n), &new, now()).await? {
            store::Created::New(job) | store::Created::Exists(job) => job.id,
        })
    };
    stream::iter(0..people).map(job).buffered(AT_ONCE).try_collect().await
}

/// The present time.
pub(crate) fn now() -> Timestamp {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

async fn on_server(url: &str, sql: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await.context("the Postgres server does not answer")?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.with_context(|| sql.to_owned())?;
    Ok(connection.close().await?)
}

/// The URL with another database.
fn with_database(url: &str, name: &str) -> anyhow::Result<String> {
    let (scheme, rest) = url.split_once("://").context("--postgres is no URL; write postgres://user@host:5432")?;
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    // A password may hold a slash only as %2F.
    let host = place.split('/').next().unwrap_or_default();
    let options = if options.is_empty() { String::new() } else { format!("?{options}") };
    Ok(format!("{scheme}://{host}/{name}{options}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gets_another_database() {
        for (url, expected) in [
            ("postgres://u@h:1", "postgres://u@h:1/x"),
            ("postgres://u:p@h/postgres", "postgres://u:p@h/x"),
            ("postgres://h/y?statement-cache-capacity=100", "postgres://h/x?statement-cache-capacity=100"),
        ] {
            assert_eq!(with_database(url, "x").unwrap(), expected);
        }
        assert!(with_database("localhost", "x").is_err());
    }

    #[tokio::test]
    async fn rows_are_stored_once_and_found_again() {
        use clap::Parser as _;
        use scale_records::domain::Scope;
        use scale_records::store::{Filter, Page};
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        let arguments = |transactions: &str| {
            Arguments::parse_from([
                "",
                "--users",
                "3",
                "--streams",
                "5",
                "--data",
                &data,
                "--transactions",
                transactions,
            ])
        };
        for _ in 0..2 {
            let place = Place::open(&arguments("30")).await.unwrap();
            let records = place.records().await.unwrap();
            let page = Page { limit: 50, after: None };
            for (n, expected) in [(0, 10), (2, 10), (3, 0)] {
                let scope = Scope::User(people::user(n));
                let listed = records.transactions(scope, &Filter::default(), &page).await.unwrap();
                assert_eq!(listed.transactions.len(), expected);
            }
            assert_eq!(jobs(&records, 5).await.unwrap(), jobs(&records, 5).await.unwrap());
            records.close().await;
            place.end().await.unwrap();
        }
        let other = Place::open(&arguments("60")).await.map(drop).unwrap_err().to_string();
        assert!(other.contains("other rows"), "{other}");
    }
}
