//! Conformance tests for the platform interfaces. Every implementation runs them: memory and files in this crate,
//! IndexedDB and keychains where they are implemented. Each test takes a function that opens the implementation, and
//! may use several open instances at the same time.
//!
//! # Panics
//! If the implementation does not conform.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};

use scale_privacy::ledger::Count;

use super::{HeldLog, KeyStore, LedgerCount, LedgerLog, LogError, Store, Vault};

/// Tests of [`Store`]. The store must be empty when it is first opened.
///
/// # Panics
/// If it does not conform to the trait.
pub async fn store<S: Store>(open: impl AsyncFn() -> S) {
    let store = open().await;
    assert_eq!(store.get("a/b").await, Ok(None), "nothing is there at first");
    store.delete("a/b").await.expect("deleting nothing is fine");
    store.clear().await.expect("clearing nothing is fine");

    let large: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
    let contents: [(&str, &[u8]); 5] =
        [("a/b", b"one"), ("a", b"beside its own folder"), ("a-b_2", b""), ("round/masked", &large), ("x", &[0; 1])];
    for (key, bytes) in contents {
        store.put(key, bytes).await.expect("writes");
    }
    store.put("a/b", b"two").await.expect("replaces");
    let other = open().await;
    for (key, bytes) in contents {
        let expected = if key == "a/b" { b"two" } else { bytes };
        assert!(other.get(key).await.expect("readable").as_deref() == Some(expected), "{key} is there for all");
    }
    other.delete("a/b").await.expect("deletes");
    assert_eq!(store.get("a/b").await, Ok(None));
    assert_eq!(store.get("a").await, Ok(Some(b"beside its own folder".to_vec())), "a prefix is another key");

    store.clear().await.expect("clears");
    for (key, _) in contents {
        assert_eq!(other.get(key).await, Ok(None), "{key} is gone");
    }
    other.put("a/b", b"three").await.expect("writes afterwards");
    assert_eq!(open().await.get("a/b").await, Ok(Some(b"three".to_vec())));
    turns(&store, &other).await;
}

/// Two clients count in turns, and every count arrives.
async fn turns<S: Store>(first: &S, second: &S) {
    let count = async |store: &S| {
        for _ in 0..10 {
            let _turn = store.turn("count").await.expect("gets its turn");
            let before = store.get("count").await.expect("readable").map_or(0, |bytes| bytes[0]);
            store.put("count", &[before + 1]).await.expect("writes");
        }
    };
    join(count(first), count(second)).await;
    assert_eq!(first.get("count").await, Ok(Some(vec![20])), "no change is lost");
    let _one = first.turn("one").await.expect("free");
    drop(second.turn("two").await.expect("another name is another turn"));
}

/// Tests of [`LedgerLog`]. The log must be empty when it is first opened.
///
/// # Panics
/// If it does not conform to the trait.
pub async fn ledger<L: LedgerLog>(open: impl AsyncFn() -> L) {
    let ledger = open().await;
    assert_eq!(ledger.read().await, Ok(vec![]), "nothing is there at first");
    let mut held = ledger.hold().await.expect("free");
    assert_eq!(held.read().await, Ok(vec![]));
    held.append(0, b"x").await.expect_err("a log that is not there is not begun by appending");
    assert_eq!(held.read().await, Ok(vec![]));
    held.replace(b"one").await.expect("writes");
    held.append(3, b"two").await.expect("appends");
    for at in [0, 3, 5, 7] {
        let error = held.append(at, b"x").await.expect_err("another length");
        assert_eq!(error.what, "ledger", "{error}");
    }
    assert_eq!(held.read().await, Ok(b"onetwo".to_vec()), "and nothing is written then");

    for log in [&ledger, &open().await] {
        assert_eq!(log.hold().await.err(), Some(LogError::InUse), "one holder at a time");
        assert_eq!(log.read().await, Ok(b"onetwo".to_vec()), "anybody may read");
    }
    drop(held);

    let other = open().await;
    let mut held = other.hold().await.expect("free again");
    assert_eq!(held.read().await, Ok(b"onetwo".to_vec()));
    held.replace(b"new").await.expect("replaces");
    held.append(3, b"er").await.expect("appends");
    assert_eq!(ledger.read().await, Ok(b"newer".to_vec()));
    held.remove().await.expect("removes");
    held.remove().await.expect("removes nothing");
    assert_eq!((held.read().await, ledger.read().await), (Ok(vec![]), Ok(vec![])));
    held.append(0, b"x").await.expect_err("nothing is there again");
    held.replace(b"another").await.expect("begins again");
    drop(held);
    assert_eq!(open().await.read().await, Ok(b"another".to_vec()));
}

/// Tests of [`Vault`]. The vault must be empty when it is first opened.
///
/// # Panics
/// If it does not conform to the trait.
pub async fn vault<V: Vault>(open: impl AsyncFn() -> V) {
    let vault = open().await;
    assert_eq!(vault.get("keys").await, Ok(None), "nothing is there at first");
    vault.delete("keys").await.expect("deleting nothing is fine");
    assert_eq!(vault.put_new("keys", b"first").await, Ok(true));
    assert_eq!(vault.put_new("keys", b"second").await, Ok(false));
    let other = open().await;
    assert_eq!(other.put_new("keys", b"third").await, Ok(false), "another one changes nothing either");
    assert_eq!(read(&other, "keys").await.as_deref(), Some(&b"first"[..]));

    vault.put("ledger-count", b"count").await.expect("writes what was not there");
    vault.put("keys", &[0xff; 4096]).await.expect("replaces");
    assert_eq!(read(&other, "keys").await.as_deref(), Some(&[0xff; 4096][..]));
    assert_eq!(read(&other, "ledger-count").await.as_deref(), Some(&b"count"[..]));
    vault.delete("keys").await.expect("deletes");
    assert_eq!((read(&vault, "keys").await, read(&other, "keys").await), (None, None));
    assert_eq!(read(&open().await, "ledger-count").await.as_deref(), Some(&b"count"[..]), "the other name stays");

    for round in 0..10_u8 {
        let name = format!("race-{round}");
        let (a, b) = join(vault.put_new(&name, b"a"), other.put_new(&name, b"b")).await;
        let (a, b) = (a.expect("no error"), b.expect("no error"));
        assert!(a != b, "one of two is the first");
        let winner: &[u8] = if a { b"a" } else { b"b" };
        assert_eq!(read(&vault, &name).await.as_deref(), Some(winner));
    }
}

async fn read<V: Vault>(vault: &V, name: &str) -> Option<Vec<u8>> {
    vault.get(name).await.expect("readable").map(|bytes| bytes.to_vec())
}

/// Tests of [`KeyStore`]. The key store must be empty when it is first opened, and able to store the ledger's count.
///
/// # Panics
/// If it does not conform to the trait.
pub async fn keys<K: KeyStore>(open: impl AsyncFn() -> K) {
    let (first, second) = (open().await, open().await);
    assert_eq!(first.ledger_count().await, Ok(LedgerCount::Never), "nothing was counted");
    let (a, b) = join(first.identity_seed(), second.identity_seed()).await;
    let identity = a.expect("made");
    assert_eq!(b.expect("made"), identity, "made once");
    let sealing = first.sealing_key().await.expect("made");
    assert_ne!(sealing, identity);
    assert_eq!(second.sealing_key().await.as_ref(), Ok(&sealing));
    assert_eq!(second.certificate().await, Ok(None));
    assert_eq!(second.ledger_count().await, Ok(LedgerCount::Never), "keys are no record");
    for records in 1..4 {
        let count = Count { epoch: 7, records };
        first.put_ledger_count(count).await.expect("counts");
        assert_eq!(second.ledger_count().await, Ok(LedgerCount::At(count)));
    }
    let sealed = first.seal("round", b"plain", [3; 12]).await.expect("seals");
    let third = open().await;
    assert_eq!(third.identity_seed().await.as_ref(), Ok(&identity), "they stay");
    assert_eq!(third.open("round", &sealed).await.expect("opens").as_deref().map(Vec::as_slice), Some(&b"plain"[..]));
    assert_eq!(third.open("other", &sealed).await, Ok(None), "sealed under its name");
    third.delete_all().await.expect("deletes");
    third.delete_all().await.expect("deletes nothing");
    let fresh = open().await;
    assert_eq!(fresh.ledger_count().await, Ok(LedgerCount::Never));
    assert_ne!(fresh.identity_seed().await.expect("made"), identity, "a new installation");
    assert_eq!(fresh.open("round", &sealed).await, Ok(None), "what was sealed cannot be read any more");
}

/// Runs both futures concurrently.
async fn join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|context| {
        if first.is_none()
            && let Poll::Ready(done) = a.as_mut().poll(context)
        {
            first = Some(done);
        }
        if second.is_none()
            && let Poll::Ready(done) = b.as_mut().poll(context)
        {
            second = Some(done);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

/// Runs a future that needs no runtime to its end. For hosts in memory.
///
/// # Panics
/// If the future waits for anything but itself.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Again(std::sync::atomic::AtomicBool);
    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let again = Arc::new(Again(false.into()));
    let waker = again.clone().into();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        assert!(again.0.swap(false, std::sync::atomic::Ordering::SeqCst), "nothing will wake this future");
    }
}
