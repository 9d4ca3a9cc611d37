//! A host whose every durable step is a point at which the process can be stopped.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use scale_client_core::error::HostError;
use scale_client_core::host::native::{FileKeys, FileLedger, FolderStore, HeldFile};
use scale_client_core::host::{HeldLog, KeyStore, LedgerCount, LedgerLog, LogError, Store};
use scale_privacy::ledger::Count;
use scale_secagg::roster::Certificate;
use zeroize::Zeroizing;

/// Counts points, and stops at one of them for good. Clones count together.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    passed: Arc<AtomicU32>,
    stop_at: u32,
}

impl Watch {
    /// `stop_at`: the point, from 1; 0 for none.
    pub(super) fn new(stop_at: u32) -> Self {
        Self { passed: Arc::default(), stop_at }
    }

    /// Points so far.
    pub(super) fn passed(&self) -> u32 {
        self.passed.load(Ordering::SeqCst)
    }

    fn is_next(&self) -> bool {
        self.passed() + 1 == self.stop_at
    }

    /// Here somebody may kill the process. It says so, and waits for it; or for the end of the test, and of its input.
    pub(super) fn point(&self, name: &str) {
        if self.passed.fetch_add(1, Ordering::SeqCst) + 1 != self.stop_at {
            return;
        }
        let mut out = std::io::stdout();
        // Nobody reads: then nobody kills either, and the test runs into its limit of time.
        let _ = writeln!(out, "stopped {name}").and_then(|()| out.flush());
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(1);
    }
}

/// A part of the host, watched.
#[derive(Clone, Debug)]
pub(super) struct Watched<T>(pub(super) T, pub(super) Watch);

impl Store for Watched<FolderStore> {
    type Turn = <FolderStore as Store>::Turn;

    async fn turn(&self, name: &str) -> Result<Self::Turn, HostError> {
        self.0.turn(name).await
    }
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, HostError> {
        self.0.get(key).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.1.point(&format!("before {key} is stored"));
        self.0.put(key, bytes).await?;
        self.1.point(&format!("after {key} is stored"));
        Ok(())
    }
    async fn delete(&self, key: &str) -> Result<(), HostError> {
        self.1.point(&format!("before {key} is deleted"));
        self.0.delete(key).await
    }
    async fn clear(&self) -> Result<(), HostError> {
        self.0.clear().await
    }
}

impl KeyStore for Watched<FileKeys> {
    async fn identity_seed(&self) -> Result<Zeroizing<[u8; 32]>, HostError> {
        self.0.identity_seed().await
    }
    async fn sealing_key(&self) -> Result<Zeroizing<[u8; 32]>, HostError> {
        self.0.sealing_key().await
    }
    async fn certificate(&self) -> Result<Option<Certificate>, HostError> {
        self.0.certificate().await
    }
    async fn ledger_count(&self) -> Result<LedgerCount, HostError> {
        self.0.ledger_count().await
    }
    async fn put_ledger_count(&self, count: Count) -> Result<(), HostError> {
        self.1.point("before the count");
        self.0.put_ledger_count(count).await?;
        self.1.point("after the count");
        Ok(())
    }
    async fn delete_all(&self) -> Result<(), HostError> {
        self.0.delete_all().await
    }
}

impl LedgerLog for Watched<FileLedger> {
    type Held = WatchedLog;
    async fn hold(&self) -> Result<WatchedLog, LogError> {
        Ok(WatchedLog { held: self.0.hold().await?, watch: self.1.clone() })
    }
    async fn read(&self) -> Result<Vec<u8>, HostError> {
        self.0.read().await
    }
}

/// A log that can also stop with half a record on the disk.
#[derive(Debug)]
pub(super) struct WatchedLog {
    held: HeldFile,
    watch: Watch,
}

impl HeldLog for WatchedLog {
    async fn read(&mut self) -> Result<Vec<u8>, HostError> {
        self.held.read().await
    }
    async fn append(&mut self, at: u64, bytes: &[u8]) -> Result<(), HostError> {
        self.watch.point("before the record");
        if self.watch.is_next() {
            self.held.append(at, &bytes[..bytes.len() / 2]).await?;
        }
        self.watch.point("in the middle of the record");
        self.held.append(at, bytes).await?;
        self.watch.point("after the record");
        Ok(())
    }
    async fn replace(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        self.watch.point("before the first record");
        self.held.replace(bytes).await?;
        self.watch.point("after the first record");
        Ok(())
    }
    async fn remove(&mut self) -> Result<(), HostError> {
        self.held.remove().await
    }
}
