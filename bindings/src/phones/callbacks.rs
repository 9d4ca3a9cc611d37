//! What an app may bring. All of it is called from threads of the library, which may block, and may throw.

use crate::types::Progress;

/// Why the app's own code could not do what it was asked for.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum CallbackError {
    /// It says why itself.
    #[error("{sentence}")]
    Failed {
        /// What went wrong, without secrets: it becomes part of an error or of the log.
        sentence: String,
    },
}

/// An exception that a callback does not declare. What it says is dropped: it may hold the app's whole stack trace.
impl From<uniffi::UnexpectedUniFFICallbackError> for CallbackError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { sentence: "the app's own code has thrown an unexpected exception".to_owned() }
    }
}

/// Stores a few small secrets by name, inaccessible to other apps and to backups. Names consist of `a-z`, `0-9` and `-`. A
/// change is durable when its call returns.
#[uniffi::export(with_foreign)]
pub trait SecretVault: Send + Sync {
    /// The bytes of `name`; nothing if none are stored. Throws while the vault is locked: nothing would be taken for a new
    /// installation.
    fn get(&self, name: String) -> Result<Option<Vec<u8>>, CallbackError>;
    /// Stores `bytes` unless `name` is already stored. Returns false, and changes nothing, if it is. Of several concurrent
    /// calls, also from other processes, exactly one returns true.
    fn put_new(&self, name: String, bytes: Vec<u8>) -> Result<bool, CallbackError>;
    /// Stores `bytes` under `name`, atomically replacing an earlier value.
    fn put(&self, name: String, bytes: Vec<u8>) -> Result<(), CallbackError>;
    /// Removes `name`, if it is stored.
    fn delete(&self, name: String) -> Result<(), CallbackError>;
}

/// The conditions of the device as far as the platform knows them; nothing where it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, uniffi::Record)]
pub struct Conditions {
    /// Connected to the internet.
    #[uniffi(default = None)]
    pub online: Option<bool>,
    /// On external power.
    #[uniffi(default = None)]
    pub charging: Option<bool>,
    /// The battery is not low, or there is none.
    #[uniffi(default = None)]
    pub battery_fine: Option<bool>,
    /// On an unmetered network, one that is not billed by traffic.
    #[uniffi(default = None)]
    pub unmetered: Option<bool>,
    /// The user is not using the device.
    #[uniffi(default = None)]
    pub idle: Option<bool>,
    /// In a low-power mode or a data-saver mode.
    #[uniffi(default = None)]
    pub saving: Option<bool>,
}

/// Reports the device's conditions before it joins a round.
#[uniffi::export(with_foreign)]
pub trait ConditionSource: Send + Sync {
    /// The current conditions. If it throws, nothing is known, and the log says so.
    fn current(&self) -> Result<Conditions, CallbackError>;
}

/// Hears of the progress of a participation.
#[uniffi::export(with_foreign)]
pub trait ProgressListener: Send + Sync {
    /// Called at most four times a second, from one thread at a time, and never after the participation has ended. What comes
    /// in between is left out, but never a cost. If it throws, the log says so and the round goes on.
    fn on_progress(&self, progress: Progress) -> Result<(), CallbackError>;
}

/// The weight of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, uniffi::Enum)]
pub enum LogLevel {
    /// Something is wrong, and somebody has to act.
    Error,
    /// Something unexpected that the library deals with.
    Warn,
    /// What it does, in a few lines a round.
    Info,
    /// Everything.
    Debug,
}

/// Takes the lines of the library's log. They contain no secrets and no examples.
#[uniffi::export(with_foreign)]
pub trait LogSink: Send + Sync {
    /// One line. If it throws, the line is lost.
    fn log(&self, level: LogLevel, message: String) -> Result<(), CallbackError>;
}
