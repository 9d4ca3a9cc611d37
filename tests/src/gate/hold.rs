//! Calls that are withheld.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::future::select_all;
use tokio::sync::watch;

/// A kind of call, by the word that tests have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(&'static str);

impl Call {
    /// Every kind with the part of its paths that tells it. The phases of a round come first, in their order; tests in a
    /// browser have the same table (wasm/tests/support/proxy.mjs).
    const PATHS: [(&'static str, &'static str); 9] = [
        ("checking_in", "/CheckIn"),
        ("downloading", ".safetensors"),
        ("keys", "/AdvertiseKeys"),
        ("shares", "/ShareKeys"),
        ("uploading", "/UploadMasked"),
        ("agreeing", "/ConfirmSurvivors"),
        ("unmasking", "/RevealShares"),
        ("enroll", "/Enroll"),
        ("model", "/GetManifest"),
    ];

    /// The kind with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let found = Self::PATHS.iter().find(|(known, _)| *known == name);
        let names = || Self::PATHS.map(|(name, _)| name).join(", ");
        found.map(|(name, _)| Self(name)).with_context(|| format!("no call is named {name:?}; there are {}", names()))
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.0
    }

    fn is_at(self, path: &str) -> bool {
        Self::PATHS.iter().any(|(name, part)| *name == self.0 && path.contains(part))
    }
}

/// When a call is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The coordinator has not heard of it.
    Asked,
    /// The coordinator has answered it, and the app does not know.
    Answered,
}

/// All kinds that are held.
#[derive(Default)]
pub(super) struct Holds(Mutex<Vec<Arc<Hold>>>);

/// One kind that is held.
pub(super) struct Hold {
    call: Call,
    pub(super) moment: Moment,
    reached: watch::Sender<bool>,
    released: watch::Sender<bool>,
}

impl Holds {
    pub(super) fn add(&self, call: Call, moment: Moment) -> anyhow::Result<()> {
        let holds = &mut self.lock();
        ensure!(holds.iter().all(|hold| hold.call != call), "{} is held already: release it first", call.0);
        let (reached, released) = (watch::Sender::new(false), watch::Sender::new(false));
        holds.push(Arc::new(Hold { call, moment, reached, released }));
        Ok(())
    }

    /// The hold that a call to this path runs into.
    pub(super) fn on(&self, path: &str) -> Option<Arc<Hold>> {
        self.lock().iter().find(|hold| hold.call.is_at(path)).cloned()
    }

    pub(super) async fn reached(&self, call: Option<Call>, patience: Duration) -> anyhow::Result<Call> {
        let holds = self.of(call)?;
        let reached = holds.iter().map(|hold| Box::pin(hold.is_reached()));
        let Ok((call, ..)) = tokio::time::timeout(patience, select_all(reached)).await else {
            let names: Vec<_> = holds.iter().map(|hold| hold.call.0).collect();
            bail!("no call of the kind {} has come within {patience:?}", names.join(" or "));
        };
        Ok(call)
    }

    pub(super) fn release(&self, call: Option<Call>) -> anyhow::Result<()> {
        for released in self.of(call)? {
            self.lock().retain(|hold| hold.call != released.call);
            released.released.send_replace(true);
        }
        Ok(())
    }

    fn of(&self, call: Option<Call>) -> anyhow::Result<Vec<Arc<Hold>>> {
        let holds = self.lock();
        let these: Vec<_> = holds.iter().filter(|hold| call.is_none_or(|call| call == hold.call)).cloned().collect();
        if these.is_empty() {
            bail!(call.map_or("nothing is held".into(), |call| format!("{} is not held: hold it first", call.0)));
        }
        Ok(these)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Hold>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Waits until the call may go on.
    pub(super) async fn withhold(&self) {
        self.reached.send_replace(true);
        let mut released = self.released.subscribe();
        // The sender is this hold: it lives.
        let _ = pin!(released.wait_for(|&released| released)).await;
    }

    async fn is_reached(&self) -> Call {
        let _ = self.reached.subscribe().wait_for(|&reached| reached).await;
        self.call
    }
}
