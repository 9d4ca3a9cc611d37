//! What an app configures.

use scale_client_core::app::AppConfig;
use scale_client_core::transport::native::Connection;
use serde::Deserialize;

use crate::types::{ErrorKind, ExampleLimits, Failure, Installation, OwnGuardrails, Requirements};

/// The configuration of an installation. What is left out has the core's default.
#[derive(Clone, Debug, PartialEq, Deserialize, uniffi::Record)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// The coordinator's address: `https://host[:port]`, or `http://host[:port]` without encryption.
    pub coordinator: String,
    /// Folder of this installation, which only this app can read and no backup copies. It is created if it is missing.
    pub folder: String,
    /// The task to take part in.
    pub task: String,
    /// Ed25519 public key that signs round configurations, as 64 hex digits. It is part of the app and never taken from the
    /// coordinator.
    pub task_key: String,
    /// Ed25519 public key of the authority that certifies devices, as 64 hex digits.
    #[uniffi(default = None)]
    #[serde(default)]
    pub identity_root: Option<String>,
    /// Conditions that must hold before the device joins a round.
    #[uniffi(default = None)]
    #[serde(default)]
    pub requirements: Option<Requirements>,
    /// The app's own limits. A limit that is looser than the compiled one has no effect.
    #[uniffi(default = None)]
    #[serde(default)]
    pub guardrails: Option<OwnGuardrails>,
    /// Limits on the stored examples.
    #[uniffi(default = None)]
    #[serde(default)]
    pub examples: Option<ExampleLimits>,
    /// A certificate authority to trust in addition to the public ones, as PEM, such as an operator's own.
    #[uniffi(default = None)]
    #[serde(default)]
    pub certificate_authority: Option<String>,
}

impl Configuration {
    /// As the core takes it: how to connect, and the rest.
    ///
    /// # Errors
    /// [`Failure`] of kind `configuration`.
    pub(super) fn into_core(self) -> Result<(Connection, AppConfig), Failure> {
        let Self {
            coordinator,
            folder,
            task,
            task_key,
            identity_root,
            requirements,
            guardrails,
            examples,
            certificate_authority,
        } = self;
        if !["https://", "http://"].iter().any(|scheme| coordinator.starts_with(scheme)) {
            return Err(bad("coordinator", "is not an address: give https://host[:port], or http:// in development"));
        }
        if folder.is_empty() {
            return Err(bad("folder", "is empty: give a folder of the app's own"));
        }
        let installation = Installation { task, task_key, identity_root, requirements, guardrails, examples };
        let connection = Connection { ca_pem: certificate_authority, ..Connection::new(coordinator) };
        Ok((connection, installation.into_config()?))
    }
}

/// An option that cannot be used.
pub(super) fn bad(name: &str, problem: &str) -> Failure {
    Failure::invalid(ErrorKind::Configuration, "bad_option", format!("the option `{name}` {problem}"))
}
