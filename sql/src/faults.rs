//! Faults on purpose, for tests of what stands on a database: who has the hook decides at each step of each transaction
//! whether it fails, and how. Without feature `testing` there is no hook, and asking for a fault is nothing.

use crate::Error;

/// A step of a transaction.
#[cfg_attr(not(feature = "testing"), allow(unreachable_pub, reason = "public with feature `testing`"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// Before it begins.
    Begin,
    /// Before a statement.
    Statement,
    /// Before the commit: nothing is kept.
    Commit,
    /// After the commit: everything is kept, and whoever waits for the answer does not hear it.
    Kept,
}

/// Says whether a step of the transaction of this name fails.
#[cfg(feature = "testing")]
pub type Inject = std::sync::Arc<dyn Fn(&'static str, Point) -> Option<Error> + Send + Sync>;

/// Where a database's transactions ask.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    #[cfg(feature = "testing")]
    inject: std::sync::Arc<std::sync::RwLock<Option<Inject>>>,
}

impl Faults {
    #[cfg(feature = "testing")]
    pub(crate) fn set(&self, inject: Option<Inject>) {
        *self.inject.write().unwrap_or_else(std::sync::PoisonError::into_inner) = inject;
    }

    /// The fault at this step, if there is one.
    #[cfg(feature = "testing")]
    pub(crate) fn at(&self, name: &'static str, point: Point) -> Result<(), Error> {
        let inject = self.inject.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        inject.and_then(|inject| inject(name, point)).map_or(Ok(()), Err)
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as with feature `testing`")]
    pub(crate) const fn at(&self, _: &'static str, _: Point) -> Result<(), Error> {
        Ok(())
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}
