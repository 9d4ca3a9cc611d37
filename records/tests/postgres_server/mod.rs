//! A database of its own on the server of the tests, as records are opened there.

use scale_records::store::Location;
pub(crate) use scale_sql::testing::{Proxy, Server};
use sqlx::{Connection as _, PgConnection};

pub(crate) fn superuser(server: &Server) -> Location {
    Location::Postgres(server.superuser(), 8)
}

/// As a new role that may log in and is a member of others.
pub(crate) async fn login(server: &Server, attributes: &str, member_of: &[&str]) -> Location {
    Location::Postgres(server.login(attributes, member_of).await, 8)
}

fn url(location: &Location) -> &str {
    let Location::Postgres(url, _) = location else { panic!("not Postgres") };
    url
}

/// Who logs in at `location`.
pub(crate) fn user_of(location: &Location) -> &str {
    Server::user_of(url(location))
}

/// A plain connection.
pub(crate) async fn connect(location: &Location) -> PgConnection {
    PgConnection::connect(url(location)).await.unwrap()
}

/// Tables, indexes and policies, without the history of steps.
pub(crate) async fn objects(server: &Server) -> Vec<String> {
    server
        .ask(
            "SELECT relname::text AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
                 AND relname NOT LIKE 'scale_records_migrations%'
             UNION ALL SELECT tablename || '.' || policyname FROM pg_policies ORDER BY name",
        )
        .await
}
