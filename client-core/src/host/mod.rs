//! The interfaces that a platform implements. Native programs, Swift, Kotlin and the browser differ only here.
//!
//! Futures are [`MaybeSend`]: `Send` on native platforms, where runtimes move them between threads, but not in a
//! browser, where JavaScript values cannot be moved to other threads. [`memory`] contains a host for tests and
//! simulations that works on every platform.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use scale_privacy::ledger::Count;
use scale_proto::answer::{
    CheckIn, CheckInAnswer, Enroll, Enrolled, Leave, ModelManifest, ModelRequest, Progress, StageAnswer, UploadAnswer,
};
use scale_proto::ids::{RoundId, SessionId};
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::time::Timestamp;
use scale_secagg::roster::Certificate;
use zeroize::Zeroizing;

use crate::error::{CallError, HostError};

mod conditions;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod ledger;
pub mod memory;
#[cfg(all(feature = "native", not(target_arch = "wasm32")))]
pub mod native;
mod sealed;
mod vault;

#[cfg(not(target_arch = "wasm32"))]
mod maybe {
    /// `Send`, except in a browser.
    pub trait MaybeSend: Send {}
    impl<T: Send + ?Sized> MaybeSend for T {}
    /// `Sync`, except in a browser.
    pub trait MaybeSync: Sync {}
    impl<T: Sync + ?Sized> MaybeSync for T {}
}
#[cfg(target_arch = "wasm32")]
mod maybe {
    /// `Send`, except in a browser.
    pub trait MaybeSend {}
    impl<T: ?Sized> MaybeSend for T {}
    /// `Sync`, except in a browser.
    pub trait MaybeSync {}
    impl<T: ?Sized> MaybeSync for T {}
}
pub use conditions::{Conditions, DeviceConditions};
pub use ledger::{HeldLog, LedgerCount, LedgerLog, LogError};
pub use maybe::{MaybeSend, MaybeSync};
pub use vault::{Vault, VaultKeys};

/// Bearer token of an enrolled device. Wiped on drop, not printed.
#[derive(Clone)]
pub struct DeviceToken(Zeroizing<String>);

impl DeviceToken {
    /// Wraps the text of the token that the coordinator issued.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text of the token, for use in the `authorization` header only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The value of the `authorization` header.
    pub fn bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.reveal()))
    }

    /// Whether the text, which comes from the coordinator, is allowed in an HTTP header.
    pub(crate) fn fits_a_header(&self) -> bool {
        self.0.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    }
}

impl std::fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceToken(redacted)")
    }
}

/// Exchanges messages with the coordinator. Every call is idempotent: when it is sent again, the coordinator gives the
/// same answer. A transport limits the time of each call by its own timeout, and does not retry.
pub trait Transport: MaybeSend + MaybeSync {
    /// Body of a running download.
    type Body: Body;

    /// Requests a device identity. The only call without a device token.
    fn enroll(&self, request: Enroll) -> impl Future<Output = Result<Enrolled, CallError>> + MaybeSend;
    /// Asks for a round to join.
    fn check_in(
        &self,
        token: &DeviceToken,
        request: CheckIn,
    ) -> impl Future<Output = Result<CheckInAnswer, CallError>> + MaybeSend;
    /// Sends the message of stage 0 (AdvertiseKeys).
    fn advertise_keys(
        &self,
        token: &DeviceToken,
        up: StageUp<RoundId>,
    ) -> impl Future<Output = Result<StageAnswer, CallError>> + MaybeSend;
    /// Sends the message of stage 1 (ShareKeys).
    fn share_keys(
        &self,
        token: &DeviceToken,
        up: StageUp<SessionId>,
    ) -> impl Future<Output = Result<StageAnswer, CallError>> + MaybeSend;
    /// Sends one piece of the masked input of stage 2.
    fn upload(
        &self,
        token: &DeviceToken,
        piece: UploadPiece,
    ) -> impl Future<Output = Result<UploadAnswer, CallError>> + MaybeSend;
    /// Sends the message of stage 3, the signed list of survivors.
    fn confirm_survivors(
        &self,
        token: &DeviceToken,
        up: StageUp<SessionId>,
    ) -> impl Future<Output = Result<StageAnswer, CallError>> + MaybeSend;
    /// Sends the message of stage 4, the shares for unmasking.
    fn reveal_shares(
        &self,
        token: &DeviceToken,
        up: StageUp<SessionId>,
    ) -> impl Future<Output = Result<StageAnswer, CallError>> + MaybeSend;
    /// Reports the progress of training.
    fn report_progress(
        &self,
        token: &DeviceToken,
        progress: Progress,
    ) -> impl Future<Output = Result<(), CallError>> + MaybeSend;
    /// Reports that the device leaves a round, so that the coordinator does not wait for it.
    fn leave(&self, token: &DeviceToken, leave: Leave) -> impl Future<Output = Result<(), CallError>> + MaybeSend;
    /// Requests the URL, size and digest of a published model.
    fn get_model(
        &self,
        token: &DeviceToken,
        request: ModelRequest,
    ) -> impl Future<Output = Result<ModelManifest, CallError>> + MaybeSend;
    /// Starts to download a signed URL from byte `offset`. The device token is not sent, because the URL may lead to
    /// another server.
    fn download(
        &self,
        url: &str,
        offset: u64,
    ) -> impl Future<Output = Result<Download<Self::Body>, CallError>> + MaybeSend;
}

/// A download that has started.
#[derive(Debug)]
pub struct Download<B> {
    /// Position of the first byte of [`Self::body`]: the requested offset, or 0 if the server cannot resume.
    pub from: u64,
    /// The bytes from that position on.
    pub body: B,
}

/// The bytes of a download, as they arrive.
pub trait Body: MaybeSend {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, CallError>> + MaybeSend;
}

/// Durable storage of bytes by key. Keys are short paths of `a-z`, `0-9`, `-`, `_` and `/`.
pub trait Store: MaybeSend + MaybeSync {
    /// See [`Self::turn`]; the turn ends when this value is dropped.
    type Turn: MaybeSend + MaybeSync;

    /// The bytes of `key`; `None` if the key is not stored.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, HostError>> + MaybeSend;
    /// Replaces the bytes of `key` atomically. Durable when it returns, because later messages depend on it (browser:
    /// IndexedDB with durability "strict").
    fn put(&self, key: &str, bytes: &[u8]) -> impl Future<Output = Result<(), HostError>> + MaybeSend;
    /// Removes `key`, if it is there. Durable when it returns.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), HostError>> + MaybeSend;
    /// Removes every key. Durable when it returns. If it fails or the process ends meanwhile, some keys may be left;
    /// call it again.
    fn clear(&self) -> impl Future<Output = Result<(), HostError>> + MaybeSend;
    /// Waits until nobody else has the turn of this name, and takes it: in no other call, client or process of the
    /// installation does anybody have it meanwhile. Whoever reads a value, changes it and writes it back takes a turn, so
    /// that no change is lost. Turns are short: nobody has one while waiting for the network. Names are single parts of
    /// keys.
    fn turn(&self, name: &str) -> impl Future<Output = Result<Self::Turn, HostError>> + MaybeSend;
    /// Whether the platform may delete stored data on its own.
    fn durability(&self) -> Durability {
        Durability::Persistent
    }
}

/// What a platform guarantees for the data that an app stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The data stays until the app or the user deletes it.
    Persistent,
    /// The platform may delete the data when space is short, or after a time without use, as browsers do.
    BestEffort,
}

/// Stores the two secrets of an installation, which must not be part of backups. Both are created on first use and
/// never change. It also stores the count of the privacy ledger's records, if the platform has a suitable place.
/// [`VaultKeys`] implements all of this over a [`Vault`] of the platform.
pub trait KeyStore: MaybeSend + MaybeSync {
    /// Ed25519 seed of the installation's identity.
    fn identity_seed(&self) -> impl Future<Output = Result<Zeroizing<[u8; 32]>, HostError>> + MaybeSend;
    /// Key that seals the values in the [`Store`].
    fn sealing_key(&self) -> impl Future<Output = Result<Zeroizing<[u8; 32]>, HostError>> + MaybeSend;

    /// The authority's certificate for this identity, which the app has obtained. `None`: there is none, so the device
    /// cannot join rounds of the malicious profile. Read at the start of every participation.
    fn certificate(&self) -> impl Future<Output = Result<Option<Certificate>, HostError>> + MaybeSend {
        async { Ok(None) }
    }

    /// Key of the privacy ledger's MACs. By default derived from the sealing key; a platform may store it in a safer
    /// place.
    fn ledger_key(&self) -> impl Future<Output = Result<Zeroizing<[u8; 32]>, HostError>> + MaybeSend {
        async { Ok(sealed::ledger_key(&*self.sealing_key().await?)) }
    }

    /// The count that [`Self::put_ledger_count`] stored last. A platform that overrides neither method cannot detect a
    /// log that was set back to an older version; its app must tell the user so.
    fn ledger_count(&self) -> impl Future<Output = Result<LedgerCount, HostError>> + MaybeSend {
        async { Ok(LedgerCount::CannotCount) }
    }

    /// Stores the count of the log's records. Durable when it returns.
    fn put_ledger_count(&self, _: Count) -> impl Future<Output = Result<(), HostError>> + MaybeSend {
        async { Ok(()) }
    }

    /// Removes all secrets: sealed values cannot be read any more, and the next use starts as a new installation.
    /// Durable when it returns. If it fails or the process ends meanwhile, some may be left; call it again.
    fn delete_all(&self) -> impl Future<Output = Result<(), HostError>> + MaybeSend;

    /// Encrypts `plain` for storage under `name`: ChaCha20-Poly1305 with `nonce`, which must be fresh and random. A
    /// platform with its own encryption overrides this and [`Self::open`] together.
    fn seal(
        &self,
        name: &str,
        plain: &[u8],
        nonce: [u8; 12],
    ) -> impl Future<Output = Result<Vec<u8>, HostError>> + MaybeSend {
        async move { sealed::seal(&*self.sealing_key().await?, name, plain, nonce) }
    }

    /// Decrypts what [`Self::seal`] made for the same name; `None` for any other bytes.
    fn open(
        &self,
        name: &str,
        sealed: &[u8],
    ) -> impl Future<Output = Result<Option<Zeroizing<Vec<u8>>>, HostError>> + MaybeSend {
        async move { Ok(sealed::open(&*self.sealing_key().await?, name, sealed)) }
    }
}

/// The only source of time in this crate.
pub trait Clock: MaybeSend + MaybeSync {
    /// Wall-clock time, in milliseconds since the Unix epoch.
    fn now(&self) -> Timestamp;
    /// Time since some moment that stays the same while the process runs. Unlike [`Self::now`] it does not change when the
    /// person or the network sets the clock. The default follows [`Self::now`]: override it.
    fn steady(&self) -> Duration {
        Duration::from_millis(self.now().as_millis())
    }
    /// Waits for this long.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + MaybeSend;
    /// Yields to the platform's event loop, between the steps of long work. On a platform with one thread, such as a
    /// browser, nothing else can run meanwhile.
    fn breathe(&self) -> impl Future<Output = ()> + MaybeSend {
        async {}
    }
}

/// The operating system's randomness.
pub trait Randomness: MaybeSend + MaybeSync {
    /// Fills `out` with cryptographically secure random bytes.
    ///
    /// # Errors
    /// [`HostError`] `randomness`; the call that needed them fails.
    fn fill(&self, out: &mut [u8]) -> Result<(), HostError>;
}

/// Everything that a platform implements.
pub trait Host: MaybeSend + MaybeSync {
    /// See [`Transport`].
    type Transport: Transport;
    /// See [`Store`].
    type Store: Store;
    /// See [`KeyStore`].
    type Keys: KeyStore;
    /// See [`Conditions`].
    type Conditions: Conditions;
    /// See [`Clock`].
    type Clock: Clock;
    /// See [`Randomness`].
    type Randomness: Randomness;
    /// See [`LedgerLog`].
    type Ledger: LedgerLog;

    /// The transport to the coordinator.
    fn transport(&self) -> &Self::Transport;
    /// Durable storage.
    fn store(&self) -> &Self::Store;
    /// The key store of the installation.
    fn keys(&self) -> &Self::Keys;
    /// The conditions of the device, such as power and network.
    fn conditions(&self) -> &Self::Conditions;
    /// The clock.
    fn clock(&self) -> &Self::Clock;
    /// The source of randomness.
    fn randomness(&self) -> &Self::Randomness;
    /// The privacy ledger's log.
    fn ledger(&self) -> &Self::Ledger;
}

/// A [`Host`] composed of its parts.
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct Parts<T, S, K, D, C, R, L> {
    pub transport: T,
    pub store: S,
    pub keys: K,
    pub conditions: D,
    pub clock: C,
    pub randomness: R,
    pub ledger: L,
}

impl<T, S, K, D, C, R, L> Host for Parts<T, S, K, D, C, R, L>
where
    T: Transport,
    S: Store,
    K: KeyStore,
    D: Conditions,
    C: Clock,
    R: Randomness,
    L: LedgerLog,
{
    type Transport = T;
    type Store = S;
    type Keys = K;
    type Conditions = D;
    type Clock = C;
    type Randomness = R;
    type Ledger = L;

    fn transport(&self) -> &T {
        &self.transport
    }
    fn store(&self) -> &S {
        &self.store
    }
    fn keys(&self) -> &K {
        &self.keys
    }
    fn conditions(&self) -> &D {
        &self.conditions
    }
    fn clock(&self) -> &C {
        &self.clock
    }
    fn randomness(&self) -> &R {
        &self.randomness
    }
    fn ledger(&self) -> &L {
        &self.ledger
    }
}
