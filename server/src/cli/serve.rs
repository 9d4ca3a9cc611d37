//! `serve`: puts the parts together, says where everything is, and runs until SIGINT or SIGTERM, or until its input ends.

mod banner;
mod settings;
mod stop;
pub(super) mod storage;

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use scale_clock::{SharedClock, SystemClock};
use scale_coordinator::auth::files::write_private;
use scale_coordinator::auth::secrets::random;
use scale_coordinator::auth::{Authority, Enrollment, Kind, identity};
use scale_coordinator::grpc::{Health, Services};
use scale_coordinator::{Coordinator, Parts};

use super::args::ServeArgs;
use super::folder;
use super::{Failure, Status};
#[cfg(feature = "facade")]
use crate::facade::{self, Facade};
use crate::files;
use crate::transport::{self, App, server};

use self::storage::Storage;

pub(super) use settings::read_configuration;

const DAY: Duration = Duration::from_secs(86_400);
/// Life of the token in the operator's file, and what must be left of it at a start.
const OPERATOR_TTL: (Duration, Duration) = (DAY.saturating_mul(400), DAY.saturating_mul(30));
/// Life of the enrollment token that the banner shows.
const ENROLL_TTL: Duration = DAY.saturating_mul(7);

pub(super) async fn run(args: &ServeArgs) -> Result<(), Failure> {
    let config = settings::configuration(args)?;
    settings::start_log(&config)?;
    let folder = &config.data.folder;
    if let Some(mended) = folder::open_private(folder)? {
        tracing::warn!("{mended}");
    }

    let Storage { store, blobs, staging, is_new, _lock } = storage::open(&config).await?;
    let secrets = identity::open(folder, &store, !is_new, args.new_identity).await?;
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
    let url_ttl = Duration::from_secs(config.rounds.model_url_ttl_s);
    let coordinator = Coordinator::start(Parts {
        store: store.clone(),
        blobs: blobs.clone(),
        staging,
        clock: clock.clone(),
        task_key: task_key.clone(),
        model_urls: storage::model_urls(&config, &blobs, &signer, &clock, url_ttl)?,
        watch,
        settings: settings::settings(&config, store.is_shared()),
    })
    .await?;
    #[cfg(feature = "facade")]
    let facade = if config.rest.enabled {
        Some(Facade::open(&config.rest, folder, &coordinator, &authority, url_ttl, &clock, inbox).await?)
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
    let health = Health::serving().await;
    let app = App {
        services: Services {
            coordinator: coordinator.clone(),
            authority: authority.clone(),
            enrollment,
            clock: clock.clone(),
            reflection: config.server.reflection,
        },
        store: store.clone(),
        blobs,
        signer,
        cors: settings::cors(&config)?,
        #[cfg(feature = "facade")]
        rest: facade.as_ref().map(|facade| facade.api.clone()),
    };

    // Whoever reads the file below may ask for the end at once.
    let (signal, input_ended) = (stop::asked_to_stop(), stop::input_ended(args.until_stdin_ends));
    let asked = async {
        tokio::select! {
            () = signal => {}
            () = input_ended => {}
        }
    };
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
    println!("{}", banner::banner(&config, &status, &url, enroll.as_deref(), &banner::program()));

    let notice = Duration::from_secs(config.server.drain_notice_s);
    let stop = stop::in_order(asked, health.clone(), notice, coordinator);
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

/// An address that can be called from this machine: a listener on every address is not one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
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

#[cfg(test)]
mod tests {
    use scale_clock::MockClock;
    use scale_proto::time::Timestamp;

    use super::*;

    #[test]
    fn a_good_operator_token_stays_and_a_dying_one_is_replaced() {
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
