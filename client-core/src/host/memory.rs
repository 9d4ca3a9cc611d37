//! A host in memory, for tests and simulations that run the production code.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use scale_proto::time::Timestamp;
use scale_secagg::keys::IdentityKey;
use scale_secagg::roster::Certificate;
use zeroize::Zeroizing;

use super::{
    Clock, Conditions, DeviceConditions, HeldLog, KeyStore as _, LedgerLog, LogError, MaybeSend, Parts, Randomness,
    Store, Vault, VaultKeys,
};
use crate::error::HostError;

/// A host in memory with the transport `T`.
pub type MemoryHost<T> =
    Parts<T, MemoryStore, MemoryKeys, FixedConditions, MemoryClock, SeededRandomness, MemoryLedger>;

impl<T> MemoryHost<T> {
    /// A host whose identity and randomness are derived from `seed`. Clones share store and clock: keep one to restart
    /// the device.
    pub fn new(transport: T, clock: MemoryClock, seed: [u8; 32]) -> Self {
        Self {
            transport,
            store: MemoryStore::default(),
            keys: MemoryKeys::new(seed),
            conditions: FixedConditions(DeviceConditions::FINE),
            clock,
            randomness: SeededRandomness::new(seed),
            ledger: MemoryLedger::default(),
        }
    }
}

/// Locks a mutex. A poisoned lock is harmless: a panic elsewhere leaves these maps consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A [`Store`] in memory. Clones share its content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    values: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    turns: Arc<Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

impl MemoryStore {
    /// A copy of the current content: what a device finds after it is killed now.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { values: Arc::new(Mutex::new(lock(&self.values).clone())), turns: Arc::default() }
    }

    /// The keys in use.
    pub fn keys(&self) -> Vec<String> {
        lock(&self.values).keys().cloned().collect()
    }
}

impl Store for MemoryStore {
    type Turn = tokio::sync::OwnedMutexGuard<()>;

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, HostError> {
        Ok(lock(&self.values).get(key).cloned())
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), HostError> {
        lock(&self.values).insert(key.to_owned(), bytes.to_vec());
        Ok(())
    }
    async fn delete(&self, key: &str) -> Result<(), HostError> {
        lock(&self.values).remove(key);
        Ok(())
    }
    async fn clear(&self) -> Result<(), HostError> {
        lock(&self.values).clear();
        Ok(())
    }
    async fn turn(&self, name: &str) -> Result<Self::Turn, HostError> {
        let turn = lock(&self.turns).entry(name.to_owned()).or_default().clone();
        Ok(turn.lock_owned().await)
    }
}

/// A [`Vault`] in memory. Clones share its content.
#[derive(Clone, Default)]
pub struct MemoryVault(Arc<Mutex<BTreeMap<String, Zeroizing<Vec<u8>>>>>);

impl std::fmt::Debug for MemoryVault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryVault(redacted)")
    }
}

impl Vault for MemoryVault {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, HostError> {
        Ok(lock(&self.0).get(name).cloned())
    }
    async fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, HostError> {
        let mut entries = lock(&self.0);
        let is_new = !entries.contains_key(name);
        if is_new {
            entries.insert(name.to_owned(), Zeroizing::new(bytes.to_vec()));
        }
        Ok(is_new)
    }
    async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), HostError> {
        lock(&self.0).insert(name.to_owned(), Zeroizing::new(bytes.to_vec()));
        Ok(())
    }
    async fn delete(&self, name: &str) -> Result<(), HostError> {
        lock(&self.0).remove(name);
        Ok(())
    }
}

/// A key store in memory.
pub type MemoryKeys = VaultKeys<MemoryVault>;

impl MemoryKeys {
    /// A key store whose two secrets are derived from `seed`, in its own vault.
    pub fn new(seed: [u8; 32]) -> Self {
        let mut rng = ChaCha20Rng::from_seed(seed);
        // A different stream from that of `SeededRandomness`, which may have the same seed.
        rng.set_stream(u64::MAX);
        Self::over(MemoryVault::default(), SeededRandomness(Arc::new(Mutex::new(rng))))
    }

    /// This key store, with a certificate for its identity by `root` that is valid until `not_after_ms` (Unix
    /// milliseconds).
    ///
    /// # Panics
    /// Never, because storage in memory neither fails nor waits.
    #[must_use]
    pub fn certified(self, root: &IdentityKey, not_after_ms: u64) -> Self {
        at_once(async {
            let identity = IdentityKey::from_seed(&*self.identity_seed().await?).public();
            self.put_certificate(&Certificate::issue(root, &identity, not_after_ms)).await
        });
        self
    }
}

/// Runs a future that completes at its first poll.
fn at_once(future: impl Future<Output = Result<(), HostError>>) {
    let polled = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(Ok(())), "nothing in memory fails or waits");
}

/// The privacy ledger's log in memory. Clones share it, and only one of them can lock it at a time.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger {
    log: Arc<Mutex<Vec<u8>>>,
    held: Arc<AtomicBool>,
}

impl MemoryLedger {
    /// A copy of the current log.
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.log).clone()
    }

    /// Replaces the bytes of the log, like an attacker with access to the device's storage.
    pub fn tamper(&self, bytes: Vec<u8>) {
        *lock(&self.log) = bytes;
    }
}

/// A locked [`MemoryLedger`].
#[derive(Debug)]
pub struct HeldMemory(MemoryLedger);

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.0.held.store(false, Ordering::SeqCst);
    }
}

impl LedgerLog for MemoryLedger {
    type Held = HeldMemory;
    async fn hold(&self) -> Result<HeldMemory, LogError> {
        let held = self.held.swap(true, Ordering::SeqCst);
        if held { Err(LogError::InUse) } else { Ok(HeldMemory(self.clone())) }
    }
    async fn read(&self) -> Result<Vec<u8>, HostError> {
        Ok(self.bytes())
    }
}

impl HeldLog for HeldMemory {
    async fn read(&mut self) -> Result<Vec<u8>, HostError> {
        Ok(lock(&self.0.log).clone())
    }
    async fn append(&mut self, at: u64, bytes: &[u8]) -> Result<(), HostError> {
        let mut log = lock(&self.0.log);
        if log.len() as u64 != at || at == 0 {
            return Err(HostError::new("ledger", format!("the log has {} bytes: nothing goes to {at}", log.len())));
        }
        log.extend_from_slice(bytes);
        Ok(())
    }
    async fn replace(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        *lock(&self.0.log) = bytes.to_vec();
        Ok(())
    }
    async fn remove(&mut self) -> Result<(), HostError> {
        lock(&self.0.log).clear();
        Ok(())
    }
}

/// Conditions that never change.
#[derive(Clone, Copy, Debug)]
pub struct FixedConditions(pub DeviceConditions);

impl Conditions for FixedConditions {
    async fn current(&self) -> DeviceConditions {
        self.0
    }
}

/// A ChaCha20 stream from a seed; clones share one stream.
#[derive(Clone)]
pub struct SeededRandomness(Arc<Mutex<ChaCha20Rng>>);

impl SeededRandomness {
    /// The stream of `seed`.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(Arc::new(Mutex::new(ChaCha20Rng::from_seed(seed))))
    }
}

impl std::fmt::Debug for SeededRandomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SeededRandomness(redacted)")
    }
}

impl Randomness for SeededRandomness {
    fn fill(&self, out: &mut [u8]) -> Result<(), HostError> {
        lock(&self.0).fill_bytes(out);
        Ok(())
    }
}

/// A clock that a test advances. Clones share the time; a sleeping future wakes when the clock is advanced far enough.
#[derive(Clone, Debug, Default)]
pub struct MemoryClock {
    now: Arc<AtomicU64>,
    sleepers: Arc<Mutex<Vec<Waker>>>,
    /// Whether sleeping on this clone advances the clock, so that a single device never waits.
    hasty: bool,
}

impl MemoryClock {
    /// A clock that shows `start` until [`Self::advance`].
    pub fn at(start: Timestamp) -> Self {
        let clock = Self::default();
        clock.now.store(start.as_millis(), Ordering::SeqCst);
        clock
    }

    /// The same clock, except that sleeping on this clone takes no time and advances the clock instead.
    #[must_use]
    pub fn hasty(mut self) -> Self {
        self.hasty = true;
        self
    }

    /// Advances the clock and wakes every sleeping future whose time has come.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        for sleeper in lock(&self.sleepers).drain(..) {
            sleeper.wake();
        }
    }
}

impl Clock for MemoryClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + MaybeSend {
        Sleep { clock: self.clone(), until: self.now().plus(time), time }
    }

    /// Yields once, so that other tasks of a test can run.
    fn breathe(&self) -> impl Future<Output = ()> + MaybeSend {
        let mut done = false;
        poll_fn(move |context| {
            if std::mem::replace(&mut done, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }
}

struct Sleep {
    clock: MemoryClock,
    until: Timestamp,
    time: Duration,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.hasty && !self.time.is_zero() {
            // Other tasks may run before this future continues, as they would during a real sleep.
            let time = std::mem::take(&mut self.time);
            self.clock.advance(time);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.clock.now() >= self.until {
            return Poll::Ready(());
        }
        lock(&self.clock.sleepers).push(context.waker().clone());
        // The clock may have been advanced before the waker was registered.
        if self.clock.now() >= self.until { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::conformance::{self, block_on};
    #[cfg(target_arch = "wasm32")]
    use crate::single_thread::test;

    /// A clock of this crate gives way exactly once; a platform that needs nothing of the kind writes nothing.
    #[test]
    fn breathing_gives_way_once() {
        struct Plain;
        impl Clock for Plain {
            fn now(&self) -> Timestamp {
                Timestamp::default()
            }
            async fn sleep(&self, _: Duration) {}
        }
        let mut context = Context::from_waker(Waker::noop());
        let clock = MemoryClock::default();
        let mut breath = pin!(clock.breathe());
        assert!(breath.as_mut().poll(&mut context).is_pending());
        assert!(breath.as_mut().poll(&mut context).is_ready());
        assert!(pin!(Plain.breathe()).poll(&mut context).is_ready());
    }

    #[test]
    fn memory_does_what_every_platform_has_to() {
        let (store, ledger, vault) = (MemoryStore::default(), MemoryLedger::default(), MemoryVault::default());
        block_on(conformance::store(async || store.clone()));
        block_on(conformance::ledger(async || ledger.clone()));
        block_on(conformance::vault(async || vault.clone()));
        let vault = MemoryVault::default();
        let randomness = SeededRandomness::new([1; 32]);
        block_on(conformance::keys(async || VaultKeys::over(vault.clone(), randomness.clone())));
    }

    /// Tests of the whole device rest on these.
    #[test]
    fn a_seed_gives_the_same_secrets_as_ever() {
        let keys = MemoryKeys::new([7; 32]);
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        rng.set_stream(u64::MAX);
        let mut expected = [0; 32];
        rng.fill_bytes(&mut expected);
        assert_eq!(*block_on(keys.identity_seed()).expect("memory"), expected);
        rng.fill_bytes(&mut expected);
        assert_eq!(*block_on(keys.sealing_key()).expect("memory"), expected);
    }
}
