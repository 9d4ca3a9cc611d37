//! The app's examples on the device, on which its models are trained.
//!
//! An app identifies an example by an id of its own, such as that of a transaction. Putting an example replaces the one
//! with the same id; removing one deletes it permanently. Labels are stored by name, because the numbers of labels
//! depend on the model and a task may change them. Examples whose label a model does not know are counted and left out
//! of its training.
//!
//! The examples are in the host's store, sealed, in 64 shards. A change rewrites the shards that it affects, each of
//! them atomically and durably, so a process that is killed in between leaves every example in either its old or its
//! new version. [`Examples`] has a copy of all examples in memory, so reading does not access the store.
//!
//! ***Limits.** The number and the age of examples are limited ([`ExampleLimits`]). Examples beyond the limits are
//! deleted, the oldest first, when the store is opened and when an example is put.
//!
//! ***Loss.** A shard that cannot be decrypted, because its bytes are damaged or sealed with another key, or that is
//! missing although other shards list it, is counted in [`ExampleCounts::damaged`]. The other shards remain usable, and
//! putting an example into a lost shard repairs it. An error of the store or the key store does not count as a loss:
//! opening fails then, and may be repeated.
//!
//! # Format
//!
//! The store's keys are `examples/00` to `examples/3f`. An example is in the shard of the ninth byte of its id's SHA-256,
//! modulo 64. Sealed under the key's name (`crate::storage`) is, with numbers in little-endian order:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of the format, 1; other versions are refused |
//! | 8 | bit `i` is set if shard `i` has been written, which reveals missing shards |
//! | 4 | number of examples; for each of them follow, in the order of the SHA-256 of the ids: |
//! | 1, n | bytes of the id, id |
//! | 1, n | bytes of the label, label |
//! | 8 | time, in milliseconds since the Unix epoch |
//! | 4, n | bytes of the text, text |
//!
//! Nothing follows the last example. All text is UTF-8. A shard whose last example was removed stays, empty; only
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

/// A labeled text, as an app supplies it.
#[derive(Clone, PartialEq, Eq)]
pub struct TextExample {
    /// The app's own identifier of the example, 1 to [`ID_BYTES`] bytes. The same id always means the same example.
    pub id: String,
    /// Input of the model, at most [`ExampleLimits::text_bytes`] bytes.
    pub text: String,
    /// Name of its class, 1 to [`LABEL_BYTES`] bytes, as it appears among the model's labels.
    pub label: String,
    /// Time from which its age counts; `None`: the time of its last change in this store.
    pub time: Option<Timestamp>,
}

/// Examples are personal data, so they are not printed.
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

/// The result of [`Examples::put`]. Each given example is counted in exactly one of the four fields; of several with
/// the same id, only the last counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutSummary {
    /// Number of examples with a new id.
    pub added: u32,
    /// Number of examples whose text, label or time has changed.
    pub replaced: u32,
    /// Number of examples that were already stored as given.
    pub unchanged: u32,
    /// Number of examples beyond the limits, given in this call or earlier: too old, or the oldest of too many. They
    /// are deleted.
    pub dropped: u32,
}

/// The number of stored examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExampleCounts {
    /// Total number.
    pub total: u32,
    /// Number by label name.
    pub by_label: BTreeMap<String, u32>,
    /// Number of examples whose label the model does not know; 0 if no labels of a model were given.
    pub unknown_label: u32,
    /// Number of shards, of 64, whose examples are lost: damaged, sealed with another key, or missing. Put their
    /// examples again.
    pub damaged: u32,
}

/// The open example store, with all examples in memory. Open at most one per installation at a time.
pub struct Examples {
    limits: ExampleLimits,
    /// The examples, by shard.
    shards: Vec<Entries>,
    /// A bit for each shard that has been written, according to the shards that were read.
    known: u64,
    /// A bit for each shard that is in the store.
    found: u64,
    /// A bit for each shard in the store that cannot be read.
    damaged: u64,
    /// A bit for each shard whose copy in memory may differ from the store, because a write failed or its future was
    /// dropped.
    unsettled: u64,
}

impl std::fmt::Debug for Examples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examples").field("total", &self.total()).finish_non_exhaustive()
    }
}

impl Examples {
    /// Reads the stored examples, and deletes those beyond the limits.
    ///
    /// # Errors
    /// [`HostError`] of the store, the key store or the randomness; [`HostError`] `store` for examples written by a
    /// newer version of the app. No example is lost then.
    pub async fn open<H: Host>(host: &H, limits: ExampleLimits) -> Result<Self, HostError> {
        let shards = vec![Entries::new(); SHARDS];
        let mut examples = Self { limits, shards, known: 0, found: 0, damaged: 0, unsettled: u64::MAX };
        examples.settle(host).await?;
        let mut change = Change::of(&examples.shards);
        change.drop_beyond(&examples.limits, host.clock().now());
        examples.write(host, change).await?;
        Ok(examples)
    }

    /// Adds examples, or replaces those with the same ids. Durable when it returns.
    ///
    /// # Errors
    /// [`ExampleError`]. If an example was refused, nothing has changed. After [`ExampleError::Host`], some of the
    /// shards may have changed; put the same examples again to complete the change.
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

    /// Deletes the examples with these ids permanently. Returns how many of them were found.
    ///
    /// # Errors
    /// [`HostError`] of the store, the key store or the randomness. Some of the examples may be deleted by then; remove
    /// the same ids again to complete the deletion.
    pub async fn remove<H: Host>(&mut self, host: &H, ids: &[String]) -> Result<u32, HostError> {
        self.settle(host).await?;
        let mut change = Change::of(&self.shards);
        let removed = change.remove(ids);
        self.write(host, change).await?;
        Ok(removed)
    }

    /// Deletes all examples permanently, like [`Self::delete_all`], also from memory.
    ///
    /// # Errors
    /// Those of [`Self::delete_all`].
    pub async fn clear<H: Host>(&mut self, host: &H) -> Result<(), HostError> {
        // If the deletion fails or its future is dropped, the shards are read again before the next change.
        (self.known, self.found, self.damaged, self.unsettled) = (0, 0, 0, u64::MAX);
        let deleted = Self::delete_all(host).await;
        let settled = self.settle(host).await;
        deleted.and(settled)
    }

    /// Deletes all examples permanently, including those that [`Self::open`] refuses to read.
    ///
    /// # Errors
    /// [`HostError`] of the store, the key store or the randomness. Some of the examples may be deleted by then; call
    /// it again to complete the deletion.
    pub async fn delete_all<H: Host>(host: &H) -> Result<(), HostError> {
        // First overwrites every shard with an empty one that lists no other shard, so that after an interruption no
        // deleted shard is reported as missing. It also overwrites the old bytes in stores that do not erase on
        // deletion.
        for index in 0..SHARDS {
            let empty = shard::encode(&Entries::new(), 1 << index);
            if let Err(error) = storage::put_sealed(host, &shard::name(index), &empty).await {
                // A full store has no space for overwriting, and deleting is what makes space.
                tracing::warn!(%error, "examples are deleted without being overwritten first");
                break;
            }
        }
        for index in 0..SHARDS {
            host.store().delete(&shard::name(index)).await?;
        }
        Ok(())
    }

    /// Counts the examples. `labels`: those of the model, if there is one.
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

    /// The examples that a model with these labels can be trained on, in an order that does not change between calls,
    /// and the number of examples left out because their label is unknown. Texts are shared, not copied.
    pub fn dataset(&self, labels: &[String]) -> (Dataset, u32) {
        dataset(self.shards.iter().flatten(), labels)
    }

    /// A trainer over the current examples. Cheap: texts are shared, not copied.
    pub fn trainer(&self, backend: Backend) -> ExampleTrainer {
        let all = self.shards.iter().flatten().map(|(digest, entry)| (*digest, entry.clone()));
        ExampleTrainer::new(all.collect(), backend)
    }

    fn total(&self) -> u32 {
        let total: usize = self.shards.iter().map(BTreeMap::len).sum();
        u32::try_from(total).unwrap_or(u32::MAX)
    }

    /// Reads the shards whose copy in memory may differ from the store.
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

    /// Writes the changed shards, and updates the copy in memory after each of them.
    async fn write<H: Host>(&mut self, host: &H, change: Change) -> Result<(), HostError> {
        for (index, entries) in change.changed(&self.shards) {
            let bit = 1 << index;
            self.unsettled |= bit;
            let bytes = shard::encode(&entries, self.known | bit);
            if let Err(error) = storage::put_sealed(host, &shard::name(index), &bytes).await {
                // A store may report an error although it has written. If reading fails as well, the shard stays
                // marked, and is read before the next change.
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
