//! Writes that fail, and calls that nobody waits for: an example is as it was or as it was to be, and memory is what is stored.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::device::fixtures::SlowStore;
use crate::host::Store;

/// How a store fails once its writes are used up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fails {
    /// Nothing is written.
    Before,
    /// It has written, and says that it has failed.
    After,
    /// Nothing is written, and nothing can be read.
    Wholly,
    /// Nothing is written, and everything can be deleted.
    Full,
}

/// Fails after some writes.
#[derive(Clone)]
struct Failing {
    inner: MemoryStore,
    writes: Arc<AtomicU32>,
    fails: Fails,
}

impl Failing {
    fn new(inner: MemoryStore, writes: u32, fails: Fails) -> Self {
        Self { inner, writes: Arc::new(AtomicU32::new(writes)), fails }
    }

    fn mend(&self) {
        self.writes.store(u32::MAX, Ordering::SeqCst);
    }

    async fn write(&self, work: impl Future<Output = Result<(), HostError>>) -> Result<(), HostError> {
        let left = self.writes.load(Ordering::SeqCst);
        if left > 0 {
            self.writes.store(left - 1, Ordering::SeqCst);
            return work.await;
        }
        if self.fails == Fails::After {
            work.await?;
        }
        Err(HostError::new("store", "the disk is full"))
    }
}

impl Store for Failing {
    type Turn = <MemoryStore as Store>::Turn;

    async fn turn(&self, name: &str) -> Result<Self::Turn, HostError> {
        self.inner.turn(name).await
    }
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, HostError> {
        if self.fails == Fails::Wholly && self.writes.load(Ordering::SeqCst) == 0 {
            return Err(HostError::new("store", "the disk is gone"));
        }
        self.inner.get(key).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), HostError> {
        self.write(self.inner.put(key, bytes)).await
    }
    async fn delete(&self, key: &str) -> Result<(), HostError> {
        if self.fails == Fails::Full {
            return self.inner.delete(key).await;
        }
        self.write(self.inner.delete(key)).await
    }
    async fn clear(&self) -> Result<(), HostError> {
        self.write(self.inner.clear()).await
    }
}

/// Some are there.
fn before() -> Vec<TextExample> {
    (0..6).map(|index| example(&format!("tx-{index}"), "before", "label")).collect()
}

/// Some of them change, and some come.
fn after() -> Vec<TextExample> {
    (3..9).map(|index| example(&format!("tx-{index}"), "after", "label")).collect()
}

fn gone() -> Vec<String> {
    (0..5).map(|index| format!("tx-{index}")).collect()
}

/// What an app does to the examples of [`before`].
#[derive(Clone, Copy, Debug)]
enum Call {
    Put,
    Remove,
    Clear,
}

impl Call {
    async fn make<H: Host>(self, examples: &mut Examples, host: &H) -> Result<(), HostError> {
        match self {
            Self::Put => match examples.put(host, after()).await {
                Ok(_) => Ok(()),
                Err(ExampleError::Host(error)) => Err(error),
                Err(other) => panic!("{other}"),
            },
            Self::Remove => examples.remove(host, &gone()).await.map(drop),
            Self::Clear => examples.clear(host).await,
        }
    }

    /// Whether each example is as it was, or as it was to be.
    fn check(self, found: &Contents, case: &str) {
        for index in 0..9 {
            let text = found.get(&format!("tx-{index}")).map(|content| &*content.0);
            let fine = match (self, index) {
                (Self::Put, 0..3) => text == Some("before"),
                (Self::Put, 3..6) => matches!(text, Some("before" | "after")),
                (Self::Put, _) => matches!(text, None | Some("after")),
                (Self::Remove, 5) => text == Some("before"),
                (Self::Remove | Self::Clear, 0..6) => matches!(text, None | Some("before")),
                (Self::Remove | Self::Clear, _) => text.is_none(),
            };
            assert!(fine, "{case}: tx-{index} is {text:?}");
        }
    }

    /// What there is once the call was made.
    fn done(self) -> Vec<(String, String)> {
        let some = |range: std::ops::Range<u32>, text: &str| -> Vec<(String, String)> {
            range.map(|index| (format!("tx-{index}"), text.to_owned())).collect()
        };
        match self {
            Self::Put => [some(0..3, "before"), some(3..9, "after")].concat(),
            Self::Remove => some(5..6, "before"),
            Self::Clear => vec![],
        }
    }
}

fn texts(contents: &Contents) -> Vec<(String, String)> {
    contents.iter().map(|(id, (text, ..))| (id.clone(), text.clone())).collect()
}

/// A store with the examples of [`before`].
async fn base() -> MemoryStore {
    let host = host(MemoryStore::default());
    open(&host).await.put(&host, before()).await.expect("good examples");
    host.store
}

#[tokio::test]
async fn a_failed_write_leaves_memory_as_the_store_is() {
    let base = base().await;
    for call in [Call::Put, Call::Remove, Call::Clear] {
        for fails in [Fails::Before, Fails::After, Fails::Wholly] {
            let mut failed = 0;
            for writes in 0.. {
                let host = host(Failing::new(base.fork(), u32::MAX, fails));
                let mut examples = open(&host).await;
                host.store.writes.store(writes, Ordering::SeqCst);
                let case = format!("{call:?} {fails:?} after {writes} writes");
                let result = call.make(&mut examples, &host).await;
                // As another process finds it.
                let there = self::host(host.store.inner.clone());
                call.check(&stored(&there).await, &case);
                host.store.mend();
                if result.is_ok() {
                    assert_eq!(texts(&contents(&examples)), call.done(), "{case}");
                    break;
                }
                failed += 1;
                if fails != Fails::Wholly {
                    assert_eq!(contents(&examples), stored(&there).await, "{case}");
                }
                assert_eq!(open(&there).await.counts(None).damaged, 0, "{case}");
                // Another change is made on what is stored; the same call does the rest.
                examples.put(&host, vec![dateless("other")]).await.expect("a good example");
                assert_eq!(contents(&examples), stored(&there).await, "{case}");
                call.make(&mut examples, &host).await.expect("mended");
                examples.remove(&host, &ids(&["other"])).await.expect("mended");
                assert_eq!(texts(&contents(&examples)), call.done(), "{case}");
                assert_eq!(stored(&there).await, contents(&examples), "{case}");
            }
            assert!(failed >= 4, "{call:?} {fails:?} has failed at {failed} writes only");
        }
    }
}

/// A call that is dropped halfway (a cancelled task) leaves memory behind the store at most until the next call.
#[tokio::test]
async fn a_call_that_nobody_waits_for_leaves_no_confusion() {
    let base = base().await;
    for call in [Call::Put, Call::Remove, Call::Clear] {
        for turns in 0.. {
            let host = host(SlowStore(base.fork()));
            let mut examples = open(&host).await;
            let ended = {
                let mut work = pin!(call.make(&mut examples, &host));
                let mut context = Context::from_waker(Waker::noop());
                (0..=turns).any(|_| matches!(work.as_mut().poll(&mut context), Poll::Ready(Ok(()))))
            };
            let case = format!("{call:?} dropped after {turns} turns");
            call.check(&stored(&host).await, &case);
            examples.put(&host, vec![dateless("other")]).await.expect("a good example");
            assert_eq!(contents(&examples), stored(&host).await, "{case}");
            assert_eq!(open(&host).await.counts(None).damaged, 0, "{case}");
            if ended {
                assert!(turns >= 8, "{call:?} ended after {turns} turns");
                break;
            }
        }
    }
}

/// Deleting is what makes space: it must not need any.
#[tokio::test]
async fn examples_can_be_deleted_from_a_full_store() {
    for writes in [0, 1, SHARDS as u32 - 1] {
        let store = Failing::new(base().await, writes, Fails::Full);
        let host = host(store.clone());
        Examples::delete_all(&host).await.expect("deletes");
        store.mend();
        let examples = Examples::open(&host, ExampleLimits::default()).await.expect("opens");
        assert_eq!(examples.counts(None), ExampleCounts::default(), "after {writes} writes");
        assert_eq!(store.inner.keys(), Vec::<String>::new());
    }
}
