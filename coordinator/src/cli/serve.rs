//! `serve`: puts the parts together, says where everything is, and runs until SIGINT or SIGTERM, or until its input ends.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tracing_subscriber::EnvFilter;

use super::args::ServeArgs;
use super::folder;
use super::{Failure, Status};
use crate::auth::files::write_private;
use crate::auth::secrets::random;
use crate::auth::{Authority, Enrollment, Kind, identity};
use crate::blobs::Blobs;
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::driver::{Coordinator, Parts, Settings};
#[cfg(feature = "facade")]
use crate::facade::{self, Facade};
use crate::files;
use crate::store::{Options, Store};
use crate::transport::{self, App, grpc, server};

const DAY: Duration = Duration::from_secs(86_400);
/// Life of the token in the operator's file, and what must be left of it at a start.
const OPERATOR_TTL: (Duration, Duration) = (DAY.saturating_mul(400), DAY.saturating_mul(30));
/// Life of the enrollment token that the banner shows.
const ENROLL_TTL: Duration = DAY.saturating_mul(7);
/// Pages of the database have 4 KiB.
const PAGES_PER_MB: u32 = 256;

pub(super) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    let config = configuration(args)?;
    start_log(&config)?;
    let folder = &config.data.folder;
    if let Some(mended) = folder::open_private(folder)? {
        tracing::warn!("{mended}");
    }

    let options = Options {
        max_pages: Some(config.data.database_max_mb.saturating_mul(PAGES_PER_MB)).filter(|pages| *pages > 0),
    };
    let database = folder.join(files::DATABASE);
    let database_was_there = database.exists();
    // The store holds the folder: nothing else in it is touched before.
    let store = Store::open_with(&database, options).await?;
    let secrets = identity::open(folder, &store, database_was_there, args.new_identity).await?;
    let blobs = Blobs::local(&folder.join("blobs"))?;
    let tls = match (&config.server.tls_cert, &config.server.tls_key) {
        (Some(certificates), Some(key)) => Some(transport::acceptor(certificates, key)?),
        _ => None,
    };
    let listener = server::bind(config.server.listen)
        .map_err(|error| Failure::new("listen", format!("cannot listen on {}: {error}", config.server.listen)))?;
    let address = listener.local_addr().map_err(|error| Failure::new("listen", error.to_string()))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let local_url = format!("{scheme}://{}", reachable(address));
    let url = config.server.public_url.clone().unwrap_or_else(|| local_url.clone());

    let clock: SharedClock = Arc::new(SystemClock);
    let authority = Arc::new(secrets.authority());
    let signer = Arc::new(secrets.url_signer(&url));
    let task_key = Arc::new(secrets.task_key());
    #[cfg(feature = "facade")]
    let (watch, inbox) = facade::watch(config.rest.enabled);
    #[cfg(not(feature = "facade"))]
    let watch = Arc::new(());
    let coordinator = {
        let (signer, signing_clock) = (signer.clone(), clock.clone());
        let ttl = Duration::from_secs(config.rounds.model_url_ttl_s);
        // The registry's names are paths; one that is not gets no URL, and the download is refused.
        let model_url = Arc::new(move |path: &str| signer.sign_get(path, ttl, signing_clock.now()).unwrap_or_default());
        let parts = Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            clock: clock.clone(),
            task_key: task_key.clone(),
            model_url,
            watch,
            settings: settings(&config),
        };
        Coordinator::start(parts).await?
    };
    #[cfg(feature = "facade")]
    let facade = if config.rest.enabled {
        let ttl = Duration::from_secs(config.rounds.model_url_ttl_s);
        Some(Facade::open(&config.rest, folder, &coordinator, &authority, ttl, &clock, inbox).await?)
    } else {
        None
    };
    let enrollment = Enrollment {
        store: store.clone(),
        authority: authority.clone(),
        clock: clock.clone(),
        task_key: task_key.public(),
        device_ttl: DAY * config.tokens.device_ttl_days,
    };
    let health = grpc::Health::serving().await;
    let app = App {
        coordinator: coordinator.clone(),
        store: store.clone(),
        blobs,
        signer,
        authority: authority.clone(),
        enrollment,
        clock: clock.clone(),
        cors_origins: origins(&config)?,
        reflection: config.server.reflection,
        #[cfg(feature = "facade")]
        rest: facade.as_ref().map(|facade| facade.api.clone()),
    };

    // Whoever reads the file below may ask for the end at once.
    let asked_to_stop = asked_to_stop();
    let input_ended = input_ended(args.until_stdin_ends);
    let status = Status { url: local_url.clone(), pid: std::process::id(), task_key: hex::encode(task_key.public()) };
    let status_path = folder.join(files::STATUS);
    keep_operator_token(folder, &authority, &clock)?;
    // Last: whoever finds this file finds everything that it leads to.
    write_json(&status_path, &status)?;
    // Only a person at a terminal gets a token; what is written to a journal stays there.
    let enroll = match std::io::stdout().is_terminal() {
        true => Some(authority.mint(Kind::Enroll, random()?, ENROLL_TTL, clock.now()).token),
        false => None,
    };
    println!("{}", banner(&config, &status, &url, enroll.as_deref(), &program()));

    let stop = {
        let (coordinator, health) = (coordinator.clone(), health.clone());
        async move {
            tokio::select! {
                () = asked_to_stop => {}
                () = input_ended => {}
            }
            tracing::info!("shutting down");
            health.stop().await;
            // Waiting calls are answered now, so that the connections can drain.
            coordinator.shutdown().await;
        }
    };
    server::serve(listener, transport::router(app, health), tls, config.server.limits(), stop).await;
    #[cfg(feature = "facade")]
    if let Some(facade) = facade {
        facade.close().await;
    }
    store.close().await;
    // A file that is gone already is fine.
    let _ = std::fs::remove_file(status_path);
    tracing::info!("stopped");
    Ok(())
}

/// Defaults, then the file, then the folder that the command names.
pub(super) fn read_configuration(file: Option<&Path>, data: Option<PathBuf>) -> Result<Config, Failure> {
    let mut config = match file {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    if let Some(folder) = data {
        config.data.folder = folder;
    }
    config.check()?;
    Ok(config)
}

/// [`read_configuration`], then environment and flags.
fn configuration(args: &ServeArgs) -> Result<Config, Failure> {
    let mut config = read_configuration(args.config.as_deref(), args.data.data.clone())?;
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    if let Some(url) = &args.public_url {
        config.server.public_url = Some(url.clone());
    }
    if args.reflection {
        config.server.reflection = true;
    }
    if args.tls_cert.is_some() {
        config.server.tls_cert.clone_from(&args.tls_cert);
        config.server.tls_key.clone_from(&args.tls_key);
    }
    if let Some(filter) = &args.log {
        config.log.filter.clone_from(filter);
    }
    config.log.json |= args.log_json;
    config.check()?;
    Ok(config)
}

fn start_log(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log.filter)
        .map_err(|error| Failure::new("configuration", format!("log filter {:?}: {error}", config.log.filter)))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Fails only when there is a subscriber already, and then that one is used.
    let _ = if config.log.json { log.json().try_init() } else { log.try_init() };
    Ok(())
}

fn settings(config: &Config) -> Settings {
    let mut settings = Settings::new(config.data.folder.join("staging"));
    settings.long_poll = Duration::from_millis(config.rounds.long_poll_ms);
    settings.clock_slack = Duration::from_secs(config.rounds.clock_slack_s);
    if config.rounds.unmask_threads > 0 {
        settings.threads = config.rounds.unmask_threads;
    }
    settings
}

fn origins(config: &Config) -> Result<Vec<HeaderValue>, Failure> {
    let header = |origin: &String| {
        HeaderValue::from_str(origin).map_err(|_| {
            Failure::new("configuration", format!("setting `server.cors_origins`: {origin:?} is not an origin"))
        })
    };
    config.server.cors_origins.iter().map(header).collect()
}

/// An address that can be called from this machine: a listener on every address is not one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}

fn write_json(path: &Path, status: &Status) -> Result<(), Failure> {
    // A plain struct of numbers and texts always has a JSON form.
    let text = serde_json::to_vec_pretty(status).expect("a status has a JSON form");
    write_private(path, &text).map_err(|error| Failure::unwritable(path, &error))
}

/// Leaves a token for administration in the data folder; one that is still good for a while stays.
fn keep_operator_token(folder: &Path, authority: &Authority, clock: &SharedClock) -> Result<(), Failure> {
    let path = folder.join(files::OPERATOR);
    let later = clock.now().plus(OPERATOR_TTL.1);
    let good = std::fs::read_to_string(&path).is_ok_and(|token| authority.check_operator(token.trim(), later).is_ok());
    if good {
        return Ok(());
    }
    let token = authority.mint(Kind::Operator, random()?, OPERATOR_TTL.0, clock.now()).token;
    write_private(&path, token.as_bytes()).map_err(|error| Failure::unwritable(&path, &error))
}

/// How this program was called: what a person can paste in the same folder.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "scale-coordinator".to_owned())
}

/// What a person needs to go on. Every command in it can be pasted.
fn banner(config: &Config, status: &Status, url: &str, enroll: Option<&str>, program: &str) -> String {
    let data = config.data.folder.display();
    let enrollment = match enroll {
        Some(token) => format!("Enroll devices for a week with\n  {token}\nMore:"),
        None => "Enroll devices with a token of".to_owned(),
    };
    let mut lines = format!(
        "SCALE FL coordinator {version}\n\
         \n  address         {url}\
         \n  data folder     {data}\
         \n  task key        {key}\
         \n                  pin it in the app: rounds that are not signed by it are refused\
         \n  operator token  {data}/{operator}\
         \n\
         \n{enrollment}\
         \n       {program} token mint --kind enroll --data {data}\
         \nNext:  {program} task create NAME --model text-bag --labels a,b,c --privacy none --data {data}\n",
        version = env!("CARGO_PKG_VERSION"),
        key = status.task_key,
        operator = files::OPERATOR,
    );
    #[cfg(feature = "facade")]
    if config.rest.enabled {
        lines += &format!("Apps:  {url}/docs\n");
        if !config.rest.auth.is_configured() {
            lines += &format!("       {program} token mint --kind person --data {data}   # development only\n");
        }
    }
    if !config.server.listen.ip().is_loopback() {
        if config.server.public_url.is_none() {
            lines += "\nNote: devices on other machines cannot download models until --public-url says how to reach\n\
                      this coordinator.\n";
        }
        if config.server.tls_cert.is_none() && !url.starts_with("https://") {
            lines += "\nNote: this port is open to the network without TLS. Give --tls-cert and --tls-key, or put a\n\
                      proxy with TLS in front of it.\n";
        }
    }
    lines
}

/// Ends with the program's input: whoever holds the other end of the pipe is gone then, or wants this program to go.
/// Without `wanted` it never ends, and nothing is read.
fn input_ended(wanted: bool) -> impl Future<Output = ()> {
    let (gone, ended) = tokio::sync::oneshot::channel();
    if wanted {
        // A thread of its own: the runtime would wait at its end for a read that nothing can interrupt.
        std::thread::spawn(move || {
            // What is written there means nothing; an input that cannot be read has ended too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            let _ = gone.send(());
        });
    }
    async move {
        if !wanted || ended.await.is_err() {
            std::future::pending().await
        }
    }
}

/// Ends with SIGINT or SIGTERM that come after this call.
#[cfg(unix)]
fn asked_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    // Without a handler the process just ends at the signal.
    let handlers = [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok());
    async move {
        let [interrupted, terminated] = handlers.map(|handler| async {
            match handler {
                Some(mut handler) => drop(handler.recv().await),
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            () = interrupted => {}
            () = terminated => {}
        }
    }
}

/// Ends with Ctrl-C.
#[cfg(not(unix))]
async fn asked_to_stop() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{self, ClientCommand, DataFolder, Reaching, TaskCommand};

    /// Whoever pastes a line of the banner gets what it promises.
    #[test]
    fn every_command_of_the_banner_is_understood() {
        let config = Config::default();
        let status = Status { url: "http://x:1".into(), pid: 1, task_key: "ab".into() };
        for enroll in [Some("a.token"), None] {
            let banner = banner(&config, &status, &status.url, enroll, "scale-coordinator");
            assert_eq!(banner.contains("a.token"), enroll.is_some(), "{banner}");
            let commands: Vec<_> =
                banner.lines().filter_map(|line| line.find("scale-coordinator ").map(|at| &line[at..])).collect();
            assert_eq!(commands.len(), 3, "{banner}");
            for line in commands {
                let words = line.split(" #").next().unwrap_or_default().split_whitespace();
                let words = words.map(|word| if word == "NAME" { "categorizer" } else { word });
                let cli = super::super::Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
                if let args::Command::Client(ClientCommand::Task(Reaching {
                    command: TaskCommand::Create(task), ..
                })) = cli.command
                {
                    task.config().unwrap_or_else(|error| panic!("{line}: {error}"));
                }
            }
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\ndrain_s = 3\n[data]\nfolder = \"there\"").unwrap();
        let args = ServeArgs {
            config: Some(file),
            listen: Some("127.0.0.1:2".parse().unwrap()),
            log_json: true,
            ..ServeArgs::default()
        };
        let args = ServeArgs { data: DataFolder { data: Some("here".into()) }, ..args };
        let config = configuration(&args).unwrap();
        assert_eq!((config.server.listen.port(), config.server.drain_s), (2, 3));
        assert_eq!(config.data.folder, Path::new("here"));
        assert!(config.log.json);
        let config = configuration(&ServeArgs { listen: None, data: DataFolder::default(), ..args }).unwrap();
        assert_eq!((config.server.listen.port(), config.data.folder), (1, "there".into()));
    }

    #[test]
    fn a_good_operator_token_stays_and_a_dying_one_is_replaced() {
        use crate::clock::MockClock;
        use scale_proto::time::Timestamp;
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(&[1; 32]);
        let mock = MockClock::at(Timestamp::from_millis(1_000));
        let clock: SharedClock = Arc::new(mock.clone());
        let read = || std::fs::read_to_string(folder.path().join(files::OPERATOR)).unwrap();
        keep_operator_token(folder.path(), &authority, &clock).unwrap();
        let first = read();
        mock.advance(DAY * 300);
        keep_operator_token(folder.path(), &authority, &clock).unwrap();
        assert_eq!(read(), first);
        mock.advance(DAY * 80);
        keep_operator_token(folder.path(), &authority, &clock).unwrap();
        assert_ne!(read(), first);
        assert_eq!(authority.check_operator(&read(), clock.now()), Ok(()));
    }

    #[test]
    fn an_open_port_is_called_on_this_machine() {
        assert_eq!(reachable("0.0.0.0:7".parse().unwrap()), "127.0.0.1:7".parse().unwrap());
        assert_eq!(reachable("[::]:7".parse().unwrap()), "[::1]:7".parse().unwrap());
        assert_eq!(reachable("10.0.0.1:7".parse().unwrap()), "10.0.0.1:7".parse().unwrap());
    }
}
