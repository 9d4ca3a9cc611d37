//! What an operator has chosen: a file, then environment and flags, as the parts want it.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use scale_coordinator::Settings;
use tracing_subscriber::EnvFilter;

use super::super::Failure;
use super::super::args::ServeArgs;
use crate::config::Config;
use crate::transport::Cors;

/// Defaults, then the file, then the folder that the command names.
pub(in crate::cli) fn read_configuration(file: Option<&Path>, data: Option<PathBuf>) -> Result<Config, Failure> {
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
pub(super) fn configuration(args: &ServeArgs) -> Result<Config, Failure> {
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

pub(super) fn start_log(config: &Config) -> Result<(), Failure> {
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

/// `replicas`: whether other processes may work on the same rows.
pub(super) fn settings(config: &Config, replicas: bool) -> Settings {
    let mut settings = Settings { replicas, ..Settings::default() };
    settings.lease = Duration::from_secs(config.rounds.lease_s);
    settings.long_poll = Duration::from_millis(config.rounds.long_poll_ms);
    settings.clock_slack = Duration::from_secs(config.rounds.clock_slack_s);
    if config.rounds.unmask_threads > 0 {
        settings.threads = config.rounds.unmask_threads;
    }
    settings
}

/// Web pages that may call.
pub(super) fn cors(config: &Config) -> Result<Cors, Failure> {
    let devices = origins("server.cors_origins", &config.server.cors_origins)?;
    #[cfg(feature = "facade")]
    let people = origins("rest.cors_origins", &config.rest.cors_origins)?;
    #[cfg(not(feature = "facade"))]
    let people = Vec::new();
    Ok(Cors { devices, people })
}

fn origins(setting: &str, origins: &[String]) -> Result<Vec<HeaderValue>, Failure> {
    let header = |origin: &String| {
        HeaderValue::from_str(origin)
            .map_err(|_| Failure::new("configuration", format!("setting `{setting}`: {origin:?} is not an origin")))
    };
    origins.iter().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::DataFolder;

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
}
