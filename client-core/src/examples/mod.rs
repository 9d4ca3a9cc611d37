//! The app's examples on the device: what its models are trained on.
//!
//! An app calls an example by an id of its own, such as that of a transaction. Putting one replaces what is there under its
//! id, removing one deletes it for good. Labels are kept by name: which number a name has is up to the model, and a task
//! may change it. Names that a model does not know are counted and left out of its training.
//!
//! Everything lies in the host's store, sealed, in 64 shards; a change rewrites the shards that it touches, each of them
//! all or nothing and durably. A process that is killed in between leaves every example either as it was or as it was to
//! be. [`Examples`] holds a copy of everything in memory, so reading asks nothing of the store.
//!
//! **Limits.** Examples have a greatest number and a greatest age ([`ExampleLimits`]). What is beyond is dropped, the
//! oldest first, when the store is opened and when something is put; from the store as well.
//!
//! **Loss.** A shard that does not open, because its bytes are damaged or sealed with another key, or that is gone while
//! others know of it, is counted in [`ExampleCounts::damaged`]. The other shards are there nevertheless, and putting an
//! example into a lost shard makes it a good one. Errors of the store or the key store are no losses: nothing is opened
//! then, and the call may be made again.
//!
//! # Format
//!
//! The store's keys are `examples/00` to `examples/3f`. An example is in the shard of the ninth byte of its id's SHA-256,
//! modulo 64. Sealed under the key's name (`crate::storage`) is, with numbers in little-endian order:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of the format, 1; another one is refused |
//! | 8 | bit `i` is set if shard `i` has been written: how a shard that is gone is found out |
//! | 4 | number of examples; for each of them follow, in the order of the SHA-256 of the ids: |
//! | 1, n | bytes of the id, id |
//! | 1, n | bytes of the label, label |
//! | 8 | time, in milliseconds since the Unix epoch |
//! | 4, n | bytes of the text, text |
//!
//! Nothing follows the last example. All text is UTF-8. A shard that has lost its last example stays, empty; only
//! [`Examples::delete_all`] deletes shards.

mod change;
mod error;
mod limits;
mod shard;
mod trainer;

use std::collections::{BTreeMap, HashMap};

use scale_proto::time::Timestamp;
use zeroize::Zeroize as _;

pub use error::ExampleError;
pub use limits::{ExampleLimits, ID_BYTES, LABEL_BYTES};
pub use trainer::ExampleTrainer;

use crate::error::HostError;
use crate::host::{Clock as _, Host, Store as _};
use crate::storage;
use crate::train::{Backend, Dataset, Example, Input};
use change::Change;
use shard::{Entries, Found, SHARDS, key_of};

/// A labeled text, as an app hands it over.
#[derive(Clone, PartialEq, Eq)]
pub struct TextExample {
    /// The app's own name for it, 1 to [`ID_BYTES`] bytes. The same one always means the same example.
    pub id: String,
    /// What a model reads, at most [`ExampleLimits::text_bytes`].
    pub text: String,
    /// Name of its class, 1 to [`LABEL_BYTES`] bytes, as the models' labels are called.
    pub label: String,
    /// How old it is; `None`: as old as its last change here.
    pub time: Option<Timestamp>,
}

/// Examples are personal data: nothing of them is printed.
impl std::fmt::Debug for TextExample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextExample").finish_non_exhaustive()
    }
}

impl Drop for TextExample {
    fn drop(&mut self) {
        self.id.zeroize();
        self.text.zeroize();
        self.label.zeroize();
    }
}

/// What [`Examples::put`] did. An example that was given is in exactly one of the four; of several under one id the last
/// counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutSummary {
    /// New ones.
    pub added: u32,
    /// Ones whose text, label or time has changed.
    pub replaced: u32,
    /// Ones that were there as they were given.
    pub unchanged: u32,
    /// Ones beyond the limits, given just now or earlier: too old, or the oldest of too many. They are not kept.
    pub dropped: u32,
}

/// How many examples there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExampleCounts {
    /// All of them.
    pub total: u32,
    /// By the name of the label.
    pub by_label: BTreeMap<String, u32>,
    /// Those whose label the model does not know; none where no model's labels were given.
    pub unknown_label: u32,
    /// Shards, of 64, whose examples are lost: damaged, sealed with another key, or gone. Put the examples again.
    pub damaged: u32,
}

/// The open store: an index of all examples in memory. One installation has one of them at a time.
pub struct Examples {
    limits: ExampleLimits,
    /// By shard.
    shards: Vec<Entries>,
    /// A bit for each shard that has been written, as far as the others know.
    known: u64,
    /// A bit for each shard that is in the store.
    found: u64,
    /// A bit for each of those that cannot be read.
    damaged: u64,
    /// A bit for each shard of which memory may differ from the store, because a write has failed or was not waited for.
    unsettled: u64,
}

impl std::fmt::Debug for Examples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examples").field("total", &self.total()).finish_non_exhaustive()
    }
}

impl Examples {
    /// Reads what is stored, and drops what is beyond the limits.
    ///
    /// # Errors
    /// [`HostError`] of the store, the key store or the randomness, and `store` for examples that a newer version of the
    /// app has written. Nothing is lost then.
    pub async fn open<H: Host>(host: &H, limits: ExampleLimits) -> Result<Self, HostError> {
        let shards = vec![Entries::new(); SHARDS];
        let mut examples = Self { limits, shards, known: 0, found: 0, damaged: 0, unsettled: u64::MAX };
        examples.settle(host).await?;
        let mut change = Change::of(&examples.shards);
        change.drop_beyond(&examples.limits, host.clock().now());
        examples.write(host, change).await?;
        Ok(examples)
    }

    /// Adds examples, or replaces those with the same ids. They are durable when it returns.
    ///
    /// # Errors
    /// [`ExampleError`]. If it names an example, nothing has changed; if it is [`ExampleError::Host`], some of the shards
    /// have, and putting the same examples again does the rest.
    pub async fn put<H: Host>(&mut self, host: &H, examples: Vec<TextExample>) -> Result<PutSummary, ExampleError> {
        self.limits.check(&examples)?;
        self.settle(host).await?;
        let now = host.clock().now();
        let mut change = Change::of(&self.shards);
        change.put(examples, now);
        change.drop_beyond(&self.limits, now);
        let summary = change.summary();
        self.write(host, change).await?;
        Ok(summary)
    }

    /// Deletes the examples with these ids for good. Returns how many there were.
    ///
    /// # Errors
    /// [`HostError`] of the store, the key store or the randomness. Some of the examples may be deleted; removing the same
    /// ones again does the rest.
    pub async fn remove<H: Host>(&mut self, host: &H, ids: &[String]) -> Result<u32, HostError> {
        self.settle(host).await?;
        let mut change = Change::of(&self.shards);
        let removed = change.remove(ids);
        self.write(host, change).await?;
        Ok(removed)
    }

    /// Deletes all examples for good, as [`Self::delete_all`].
    ///
    /// # Errors
    /// As there.
    pub async fn clear<H: Host>(&mut self, host: &H) -> Result<(), HostError> {
        // What is left of them in the store, if it fails or nobody waits for it, is read anew.
        (self.known, self.found, self.damaged, self.unsettled) = (0, 0, 0, u64::MAX);
        let deleted = Self::delete_all(host).await;
        let settled = self.settle(host).await;
        deleted.and(settled)
    }

    /// Deletes all examples for good, also such as [`Self::open`] refuses.
    ///
    /// # Errors
    /// [`HostError`] of the store, the key store or the randomness. Some of the examples may be deleted; another call does
    /// the rest.
    pub async fn delete_all<H: Host>(host: &H) -> Result<(), HostError> {
        // Empty shards first, which know of no other one: stopped halfway, no shard is missed that is meant to be gone. And
        // a store that writes beside the old bytes has nothing left over there.
        for index in 0..SHARDS {
            let empty = shard::encode(&Entries::new(), 1 << index);
            storage::put_sealed(host, &shard::name(index), &empty).await?;
        }
        for index in 0..SHARDS {
            host.store().delete(&shard::name(index)).await?;
        }
        Ok(())
    }

    /// How many there are. `labels`: those of the model, if there is one.
    pub fn counts(&self, labels: Option<&[String]>) -> ExampleCounts {
        let lost = self.damaged | (self.known & !self.found);
        let mut counts = ExampleCounts { total: self.total(), damaged: lost.count_ones(), ..ExampleCounts::default() };
        let mut by_label: BTreeMap<&str, u32> = BTreeMap::new();
        for (_, entry) in self.shards.iter().flatten() {
            *by_label.entry(&entry.label).or_default() += 1;
        }
        counts.by_label = by_label.into_iter().map(|(label, count)| (label.to_owned(), count)).collect();
        if let Some(labels) = labels {
            let known = |label: &String| labels.contains(label);
            counts.unknown_label =
                counts.by_label.iter().filter(|(label, _)| !known(label)).map(|(_, count)| count).sum();
        }
        counts
    }

    /// The examples that a model with these labels can be trained on, always in the same order, and how many are left out
    /// because it does not know their label. Texts are shared, not copied.
    pub fn dataset(&self, labels: &[String]) -> (Dataset, u32) {
        dataset(self.shards.iter().flatten(), labels)
    }

    /// Trains on the examples as they are now. Cheap: texts are shared, not copied.
    pub fn trainer(&self, backend: Backend) -> ExampleTrainer {
        let all = self.shards.iter().flatten().map(|(digest, entry)| (*digest, entry.clone()));
        ExampleTrainer::new(all.collect(), backend)
    }

    fn total(&self) -> u32 {
        let total: usize = self.shards.iter().map(BTreeMap::len).sum();
        u32::try_from(total).unwrap_or(u32::MAX)
    }

    /// Reads the shards that memory is not sure of.
    async fn settle<H: Host>(&mut self, host: &H) -> Result<(), HostError> {
        for index in (0..SHARDS).filter(|index| self.unsettled & 1 << index != 0).collect::<Vec<_>>() {
            self.read(host, index).await?;
        }
        Ok(())
    }

    async fn read<H: Host>(&mut self, host: &H, index: usize) -> Result<(), HostError> {
        let bit = 1 << index;
        let found = shard::read(host, index).await?;
        let set = |bits: u64, on: bool| if on { bits | bit } else { bits & !bit };
        self.found = set(self.found, !matches!(found, Found::Nothing));
        self.damaged = set(self.damaged, matches!(found, Found::Damaged));
        self.shards[index] = match found {
            Found::Nothing | Found::Damaged => Entries::new(),
            Found::Shard { entries, written } => {
                self.known |= written;
                entries
            }
        };
        self.unsettled &= !bit;
        Ok(())
    }

    /// Writes the shards that change. Memory follows each of them.
    async fn write<H: Host>(&mut self, host: &H, change: Change) -> Result<(), HostError> {
        for (index, entries) in change.changed(&self.shards) {
            let bit = 1 << index;
            self.unsettled |= bit;
            let bytes = shard::encode(&entries, self.known | bit);
            if let Err(error) = storage::put_sealed(host, &shard::name(index), &bytes).await {
                // A store may say that it has failed after it has written. If reading fails as well, the shard stays
                // unsettled, and is read before the next change.
                let _best_effort = self.read(host, index).await;
                return Err(error);
            }
            self.shards[index] = entries;
            self.known |= bit;
            self.found |= bit;
            self.damaged &= !bit;
            self.unsettled &= !bit;
        }
        Ok(())
    }
}

/// See [`Examples::dataset`].
fn dataset<'a>(
    entries: impl Iterator<Item = (&'a shard::IdDigest, &'a std::sync::Arc<shard::Entry>)>,
    labels: &[String],
) -> (Dataset, u32) {
    let indices: HashMap<&str, u32> = labels.iter().map(String::as_str).zip(0..).collect();
    let mut skipped = 0;
    let known = entries.filter_map(|(digest, entry)| match indices.get(&*entry.label) {
        Some(&label) => Some(Example { key: key_of(digest), input: Input::Text(entry.text.clone()), label }),
        None => {
            skipped += 1;
            None
        }
    });
    (known.collect(), skipped)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
