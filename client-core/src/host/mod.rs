//! What a platform must bring. Native, Swift, Kotlin and browser differ only here.
//!
//! Futures are [`MaybeSend`]: `Send` on native, where runtimes move them between threads, and free of it in a browser,
//! where JavaScript values cannot move. [`memory`] has a host for tests and simulation that works everywhere.

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
    /// Wraps the text that the coordinator gave.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text, for the `authorization` header only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The value of the `authorization` header.
    pub fn bearer(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bearer {}", self.reveal()))
    }

    /// Whether a header can carry it: the text comes from the coordinator.
    pub(crate) fn fits_a_header(&self) -> bool {
        self.0.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    }
}

impl std::fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceToken(redacted)")
    }
}

/// Moves messages between the device and the coordinator. Every call may be sent again: the coordinator gives the same
/// answer. A transport has a timeout of its own for calls that nobody answers, and does not retry by itself.
pub trait Transport: MaybeSend + MaybeSync {
    /// A running download.
    type Body: Body;

    /// Asks for an identity. The only call without a device token.
    fn enroll(&self, request: Enroll) -> impl Future<Output = Result<Enrolled, CallError>> + MaybeSend;
    /// Asks for work.
    fn check_in(
        &self,
        token: &DeviceToken,
        request: CheckIn,
    ) -> impl Future<Output = Result<CheckInAnswer, CallError>> + MaybeSend;
    /// Stage 0.
    fn advertise_keys(
        &self,
        token: &DeviceToken,
        up: StageUp<RoundId>,
    ) -> impl Future<Output = Result<StageAnswer, CallError>> + MaybeSend;
    /// Stage 1.
    fn share_keys(
        &self,
        token: &DeviceToken,
        up: StageUp<SessionId>,
    ) -> impl Future<Output = Result<StageAnswer, CallError>> + MaybeSend;
    /// Stage 2, one piece.
    fn upload(
        &self,
        token: &DeviceToken,
        piece: UploadPiece,
    ) -> impl Future<Output = Result<UploadAnswer, CallError>> + MaybeSend;
    /// Stage 3.
    fn confirm_survivors(
        &self,
        token: &DeviceToken,
        up: StageUp<SessionId>,
    ) -> impl Future<Output = Result<StageAnswer, CallError>> + MaybeSend;
    /// Stage 4.
    fn reveal_shares(
        &self,
        token: &DeviceToken,
        up: StageUp<SessionId>,
    ) -> impl Future<Output = Result<StageAnswer, CallError>> + MaybeSend;
    /// Tells how far training has come.
    fn report_progress(
        &self,
        token: &DeviceToken,
        progress: Progress,
    ) -> impl Future<Output = Result<(), CallError>> + MaybeSend;
    /// Says that the device leaves a round, so that nobody waits for it.
    fn leave(&self, token: &DeviceToken, leave: Leave) -> impl Future<Output = Result<(), CallError>> + MaybeSend;
    /// Where a published model is.
    fn get_model(
        &self,
        token: &DeviceToken,
        request: ModelRequest,
    ) -> impl Future<Output = Result<ModelManifest, CallError>> + MaybeSend;
    /// Starts to download a signed URL at byte `offset`. The token is not sent: the URL may lead to another server.
    fn download(
        &self,
        url: &str,
        offset: u64,
    ) -> impl Future<Output = Result<Download<Self::Body>, CallError>> + MaybeSend;
}

/// A download that has begun.
#[derive(Debug)]
pub struct Download<B> {
    /// Position of the first byte that comes: the offset asked for, or 0 when the server cannot resume.
    pub from: u64,
    /// What comes.
    pub body: B,
}

/// The bytes of a download, as they come.
pub trait Body: MaybeSend {
    /// The next bytes; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, CallError>> + MaybeSend;
}

/// Durable bytes by key. Keys are short paths of `a-z`, `0-9`, `-`, `_` and `/`.
pub trait Store: MaybeSend + MaybeSync {
    /// The bytes of `key`; `None` if there are none.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, HostError>> + MaybeSend;
    /// Replaces the bytes of `key`, all or nothing. Durable when it returns: what happens next may reveal that they were
    /// written (browser: IndexedDB with durability "strict").
    fn put(&self, key: &str, bytes: &[u8]) -> impl Future<Output = Result<(), HostError>> + MaybeSend;
    /// Removes `key`, if it is there. Durable when it returns.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), HostError>> + MaybeSend;
    /// Removes every key. Durable when it returns; some may be left if it fails or the process dies: then again.
    fn clear(&self) -> impl Future<Output = Result<(), HostError>> + MaybeSend;
    /// Whether the platform may delete what is stored by itself.
    fn durability(&self) -> Durability {
        Durability::Persistent
    }
}

/// What a platform promises about what an app stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// It stays until the app or the person deletes it.
    Persistent,
    /// The platform may delete it when it needs room, or after a while without use, as browsers do.
    BestEffort,
}

/// Keeps the two secrets of an installation, out of backups. Both are made on first use and never change. And it counts
/// the records of the privacy ledger, where the platform has a place for that. [`VaultKeys`] is one that does everything,
/// over a [`Vault`] of the platform.
pub trait KeyStore: MaybeSend + MaybeSync {
    /// Ed25519 seed of the installation's identity.
    fn identity_seed(&self) -> impl Future<Output = Result<Zeroizing<[u8; 32]>, HostError>> + MaybeSend;
    /// Key that seals what goes into the [`Store`].
    fn sealing_key(&self) -> impl Future<Output = Result<Zeroizing<[u8; 32]>, HostError>> + MaybeSend;

    /// The authority's certificate for this identity, which the app has fetched; `None`: there is none, and the device
    /// joins no round of the malicious profile. Asked for at the start of every participation.
    fn certificate(&self) -> impl Future<Output = Result<Option<Certificate>, HostError>> + MaybeSend {
        async { Ok(None) }
    }

    /// Key of the privacy ledger's MACs: derived from the sealing key, unless the platform has a better place for it.
    fn ledger_key(&self) -> impl Future<Output = Result<Zeroizing<[u8; 32]>, HostError>> + MaybeSend {
        async { Ok(sealed::ledger_key(&*self.sealing_key().await?)) }
    }

    /// How far the privacy ledger's log has come, as [`Self::put_ledger_count`] was told last. A platform that overrides
    /// neither finds no log that was set back: its app has to say so.
    fn ledger_count(&self) -> impl Future<Output = Result<LedgerCount, HostError>> + MaybeSend {
        async { Ok(LedgerCount::CannotCount) }
    }

    /// Remembers how far the log has come. Durable when it returns.
    fn put_ledger_count(&self, _: Count) -> impl Future<Output = Result<(), HostError>> + MaybeSend {
        async { Ok(()) }
    }

    /// Removes all of it: what was sealed cannot be read any more, and the next use is that of a new installation. Durable
    /// when it returns; some may be left if it fails or the process dies: then again.
    fn delete_all(&self) -> impl Future<Output = Result<(), HostError>> + MaybeSend;

    /// Encrypts `plain` under the name it is stored by: ChaCha20-Poly1305 with `nonce`, which must be fresh and random.
    /// A platform with a better vault overrides this and [`Self::open`] together.
    fn seal(
        &self,
        name: &str,
        plain: &[u8],
        nonce: [u8; 12],
    ) -> impl Future<Output = Result<Vec<u8>, HostError>> + MaybeSend {
        async move { sealed::seal(&*self.sealing_key().await?, name, plain, nonce) }
    }

    /// Decrypts what [`Self::seal`] made under the same name; `None` if it is anything else.
    fn open(
        &self,
        name: &str,
        sealed: &[u8],
    ) -> impl Future<Output = Result<Option<Zeroizing<Vec<u8>>>, HostError>> + MaybeSend {
        async move { Ok(sealed::open(&*self.sealing_key().await?, name, sealed)) }
    }
}

/// Time enters here and nowhere else.
pub trait Clock: MaybeSend + MaybeSync {
    /// Wall-clock time.
    fn now(&self) -> Timestamp;
    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + MaybeSend;
    /// Lets the platform do what has come up meanwhile: between the steps of work that takes long. On a platform with one
    /// thread, such as a browser, that is everything else.
    fn breathe(&self) -> impl Future<Output = ()> + MaybeSend {
        async {}
    }
}

/// The operating system's randomness.
pub trait Randomness: MaybeSend + MaybeSync {
    /// Fills `out` with bytes that nobody can predict.
    ///
    /// # Errors
    /// [`HostError`] `randomness`; the device then does nothing.
    fn fill(&self, out: &mut [u8]) -> Result<(), HostError>;
}

/// Everything that a platform brings.
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

    /// The way to the coordinator.
    fn transport(&self) -> &Self::Transport;
    /// Durable bytes.
    fn store(&self) -> &Self::Store;
    /// The installation's secrets.
    fn keys(&self) -> &Self::Keys;
    /// The device's state.
    fn conditions(&self) -> &Self::Conditions;
    /// Time.
    fn clock(&self) -> &Self::Clock;
    /// Randomness.
    fn randomness(&self) -> &Self::Randomness;
    /// The privacy ledger's log.
    fn ledger(&self) -> &Self::Ledger;
}

/// A [`Host`] put together from its parts.
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
