//! A database of its own on the Postgres server of the tests, and a proxy that stands in for a network that fails. For tests
//! only: what goes wrong here panics.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

/// A new database on the server that `SCALE_TEST_POSTGRES` names.
#[derive(Debug)]
pub struct Server {
    base: String,
    name: String,
}

impl Server {
    /// Makes a database; `prefix` says in its name whose it is.
    ///
    /// # Panics
    /// Without a server.
    pub async fn new(prefix: &str) -> Self {
        let base = std::env::var("SCALE_TEST_POSTGRES").expect(
            "SCALE_TEST_POSTGRES must be the URL of a superuser on a throw-away Postgres server; \
             run `cargo xtask test`, which starts one",
        );
        let server = Self { base, name: format!("{prefix}_{}", Uuid::now_v7().simple()) };
        run(&server.base, &format!("CREATE DATABASE {}", server.name)).await;
        server
    }

    /// Removes it again. (Roles stay: the server is thrown away.)
    pub async fn end(self) {
        run(&self.base, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The database's URL, as the superuser.
    ///
    /// # Panics
    /// If `SCALE_TEST_POSTGRES` is no URL with a user.
    pub fn superuser(&self) -> String {
        let (before, place) = self.base.rsplit_once('@').expect("a URL with a user");
        let host = place.split(['/', '?']).next().expect("a host");
        format!("{before}@{host}/{}", self.name)
    }

    /// The database's URL, as a new role that may log in and is a member of others.
    ///
    /// # Panics
    /// If the server does not make it.
    pub async fn login(&self, attributes: &str, member_of: &[&str]) -> String {
        let user = format!("login_{}", Uuid::now_v7().simple());
        self.run(&format!("CREATE ROLE {user} LOGIN NOSUPERUSER NOBYPASSRLS {attributes} PASSWORD 'secret'")).await;
        for role in member_of {
            self.run(&format!("GRANT {role} TO {user}")).await;
        }
        let superuser = self.superuser();
        let (scheme, rest) = superuser.split_once("://").expect("a URL");
        let place = rest.rsplit_once('@').expect("a URL with a user").1;
        format!("{scheme}://{user}:secret@{place}")
    }

    /// Who logs in at `url`.
    ///
    /// # Panics
    /// If it names no user.
    pub fn user_of(url: &str) -> &str {
        url.split_once("://").and_then(|(_, rest)| rest.split_once(':')).expect("a URL with a password").0
    }

    /// Runs statements as the superuser, beside what is tested.
    pub async fn run(&self, sql: &str) {
        run(&self.superuser(), sql).await;
    }

    /// The texts that a query finds.
    ///
    /// # Panics
    /// If it fails.
    pub async fn ask(&self, sql: &str) -> Vec<String> {
        let mut connection = PgConnection::connect(&self.superuser()).await.expect("the server answers");
        let found = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await;
        connection.close().await.expect("the server answers");
        found.expect("a query of texts")
    }

    /// Ends every connection to the database but this one.
    pub async fn end_connections(&self) {
        self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    }
}

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.expect("SCALE_TEST_POSTGRES answers");
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("statements that work");
    connection.close().await.expect("the server answers");
}

/// Passes bytes on to the server, as long as it is told to.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Counts the times that all connections were cut.
    cuts: u32,
    refuse: bool,
    freeze: bool,
}

impl Proxy {
    /// Listens on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn new(server: &Server) -> Self {
        let url = server.superuser();
        let target = url.rsplit_once('@').and_then(|(_, place)| place.split('/').next()).expect("a host").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a port").port();
        let state = Arc::new(watch::Sender::new(State::default()));
        tokio::spawn(accept(listener, target, state.clone()));
        Self { port, state }
    }

    /// The database's URL, through the proxy.
    ///
    /// # Panics
    /// As [`Server::superuser`].
    pub fn url(&self, server: &Server) -> String {
        let url = server.superuser();
        let (who, _) = url.rsplit_once('@').expect("a URL with a user");
        format!("{who}@127.0.0.1:{}/{}", self.port, server.name)
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Ends new connections at once, or no longer.
    pub fn refuse(&self, refuse: bool) {
        self.state.send_modify(|state| state.refuse = refuse);
    }

    /// Passes nothing on, and ends nothing either; what came meanwhile is lost with its connection.
    pub fn freeze(&self, freeze: bool) {
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
