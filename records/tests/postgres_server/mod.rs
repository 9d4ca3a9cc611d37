//! A database of its own on the server of the tests, and a proxy that stands in for a network that fails.

use std::sync::Arc;

use scale_records::store::Location;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

/// A new database.
pub(crate) struct Server {
    base: String,
    pub(crate) name: String,
}

impl Server {
    pub(crate) async fn new() -> Self {
        let base = std::env::var("SCALE_TEST_POSTGRES").expect(
            "SCALE_TEST_POSTGRES must be the URL of a superuser on a throw-away Postgres server; \
             run `cargo xtask test`, which starts one",
        );
        let server = Self { base, name: format!("records_{}", Uuid::now_v7().simple()) };
        server.on_server(&format!("CREATE DATABASE {}", server.name)).await;
        server
    }

    /// Removes it again. (Roles stay: the server is thrown away.)
    pub(crate) async fn end(self) {
        self.on_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    async fn on_server(&self, sql: &str) {
        let mut connection = PgConnection::connect(&self.base).await.expect("SCALE_TEST_POSTGRES answers");
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The server's address with another user (`postgres`: the one of SCALE_TEST_POSTGRES) and this database.
    pub(crate) fn url(&self, user: &str) -> String {
        let (scheme, rest) = self.base.split_once("://").expect("a URL");
        let (who, place) = rest.rsplit_once('@').expect("a URL with a user");
        let host = place.split(['/', '?']).next().expect("a host");
        let who = if user == "postgres" { who.to_owned() } else { format!("{user}:secret") };
        format!("{scheme}://{who}@{host}/{}", self.name)
    }

    pub(crate) fn as_superuser(&self) -> Location {
        Location::Postgres(self.url("postgres"), 8)
    }

    /// As a new role that may log in and is a member of others.
    pub(crate) async fn as_login(&self, attributes: &str, member_of: &[&str]) -> Location {
        let user = format!("login_{}", Uuid::now_v7().simple());
        self.run(&format!("CREATE ROLE {user} LOGIN NOSUPERUSER NOBYPASSRLS {attributes} PASSWORD 'secret'")).await;
        for role in member_of {
            self.run(&format!("GRANT {role} TO {user}")).await;
        }
        Location::Postgres(self.url(&user), 8)
    }

    /// Who logs in at `location`.
    pub(crate) fn user_of(location: &Location) -> &str {
        let Location::Postgres(url, _) = location else { panic!("not Postgres") };
        url.split_once("://").and_then(|(_, rest)| rest.split_once(':')).expect("a URL with a password").0
    }

    /// A plain connection.
    pub(crate) async fn connect(location: &Location) -> PgConnection {
        let Location::Postgres(url, _) = location else { panic!("not Postgres") };
        PgConnection::connect(url).await.unwrap()
    }

    /// Runs statements as the superuser, in this database.
    pub(crate) async fn run(&self, sql: &str) {
        let mut connection = Self::connect(&self.as_superuser()).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The texts that a query finds.
    pub(crate) async fn ask(&self, sql: &'static str) -> Vec<String> {
        sqlx::query_scalar(sql).fetch_all(&mut Self::connect(&self.as_superuser()).await).await.unwrap()
    }

    /// Tables, indexes and policies, without the history of steps.
    pub(crate) async fn objects(&self) -> Vec<String> {
        self.ask(
            "SELECT relname::text AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
                 AND relname NOT LIKE 'scale_records_migrations%'
             UNION ALL SELECT tablename || '.' || policyname FROM pg_policies ORDER BY name",
        )
        .await
    }
}

/// Passes bytes on to the server, as long as it is told to.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Counts the times that all connections were cut.
    cuts: u32,
    refuse: bool,
    freeze: bool,
}

impl Proxy {
    pub(crate) async fn new(server: &Server) -> Self {
        let url = server.url("postgres");
        let target = url.rsplit_once('@').unwrap().1.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State::default()));
        tokio::spawn(accept(listener, target, state.clone()));
        Self { port, state }
    }

    /// The database's URL, through the proxy.
    pub(crate) fn url(&self, server: &Server) -> String {
        let url = server.url("postgres");
        let (who, _) = url.rsplit_once('@').unwrap();
        format!("{who}@127.0.0.1:{}/{}", self.port, server.name)
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Ends new connections at once, or no longer.
    pub(crate) fn refuse(&self, refuse: bool) {
        self.state.send_modify(|state| state.refuse = refuse);
    }

    /// Passes nothing on, and ends nothing either; what came meanwhile is lost with its connection.
    pub(crate) fn freeze(&self, freeze: bool) {
        self.state.send_modify(|state| {
            state.freeze = freeze;
            state.cuts += u32::from(!freeze);
        });
    }
}

async fn accept(listener: TcpListener, target: String, state: Arc<watch::Sender<State>>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.borrow().refuse {
            continue;
        }
        tokio::spawn(pass(client, target.clone(), state.subscribe()));
    }
}

async fn pass(client: TcpStream, target: String, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let mut cut = state.clone();
    let passing = async {
        let _ = state.wait_for(|state| !state.freeze).await;
        let server = TcpStream::connect(&target).await?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::select! {
            ended = forward(&mut from_client, &mut to_server, state.clone()) => ended,
            ended = forward(&mut from_server, &mut to_client, state.clone()) => ended,
        }
    };
    tokio::select! {
        _ended = passing => {}
        _ended = cut.wait_for(|state| state.cuts != cuts) => {}
    }
}

async fn forward(
    from: &mut (impl io::AsyncRead + Unpin),
    to: &mut (impl io::AsyncWrite + Unpin),
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    use io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let _ = state.wait_for(|state| !state.freeze).await;
        to.write_all(&buffer[..read]).await?;
    }
}
