//! The host of a native program: folders for state, keys and ledger, the system's clock and randomness.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use ring::rand::{SecureRandom as _, SystemRandom};
use scale_proto::time::Timestamp;

use super::memory::FixedConditions;
use super::{Clock, DeviceConditions, Parts, Randomness};
use crate::error::HostError;
use crate::transport::native::{Connection, GrpcTransport};

mod files;
mod ledger;
mod lock;
mod store;
mod vault;

pub use files::private_folder;
pub use ledger::{FileLedger, HeldFile};
pub use store::FolderStore;
pub use vault::{FileKeys, FileVault};

/// A host that stores everything in one folder. Its conditions always allow a round.
pub type NativeHost =
    Parts<GrpcTransport, FolderStore, FileKeys, FixedConditions, SystemClock, SystemRandomness, FileLedger>;

impl NativeHost {
    /// Opens the folder (created if missing) and prepares the connection; nothing is sent yet. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`HostError`] `store`, `key_store` or `ledger` if the folder cannot be used; `transport` for an invalid URL or
    /// certificate.
    pub fn open(folder: &Path, connection: Connection) -> Result<Self, HostError> {
        let store = FolderStore::open(&folder.join("state"))?;
        Ok(Self {
            transport: GrpcTransport::new(connection)?,
            keys: FileKeys::open(&folder.join("keys"))?,
            store,
            conditions: FixedConditions(DeviceConditions::FINE),
            clock: SystemClock,
            randomness: SystemRandomness,
            ledger: FileLedger::open(&folder.join("ledger"))?,
        })
    }
}

/// The system's clock, and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().plus(since)
    }
    /// By the system's monotonic clock, since the first call of this process.
    fn steady(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
    async fn breathe(&self) {
        tokio::task::yield_now().await;
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, out: &mut [u8]) -> Result<(), HostError> {
        let failed = |_| HostError::new("randomness", "the operating system supplies no random bytes");
        SystemRandom::new().fill(out).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The folder holds the device's keys and what its ledger says of a person.
    #[cfg(unix)]
    #[tokio::test]
    async fn nobody_else_can_read_what_a_device_keeps() {
        use std::fs;
        use std::os::unix::fs::PermissionsExt as _;
        use std::path::PathBuf;

        use scale_privacy::ledger::Count;
        use scale_secagg::roster::Certificate;

        use crate::host::{HeldLog as _, KeyStore as _, LedgerLog as _, Store as _};

        fn walk(path: &Path, seen: &mut Vec<(PathBuf, u32)>) {
            let found = fs::metadata(path).expect("there");
            seen.push((path.to_owned(), found.permissions().mode() & 0o077));
            if found.is_dir() {
                fs::read_dir(path).expect("readable").for_each(|entry| walk(&entry.expect("there").path(), seen));
            }
        }
        let outer = tempfile::tempdir().expect("a temporary folder");
        let device = outer.path().join("app/device");
        let store = FolderStore::open(&device.join("state")).expect("opens");
        store.put("a/b", b"one").await.expect("writes");
        let keys = FileKeys::open(&device.join("keys")).expect("makes keys");
        keys.put_ledger_count(Count { epoch: 1, records: 2 }).await.expect("writes");
        keys.put_certificate(&Certificate { not_after_ms: 5, signature: [7; 64] }).await.expect("writes");
        let mut log = FileLedger::open(&device.join("ledger")).expect("opens").hold().await.expect("free");
        log.replace(b"record").await.expect("writes");
        let mut seen = vec![];
        walk(&outer.path().join("app"), &mut seen);
        assert!(seen.len() >= 12, "{seen:?}");
        let open: Vec<_> = seen.iter().filter(|(_, others)| *others != 0).collect();
        assert!(open.is_empty(), "others can read {open:?}");
    }
}
