//! The changes of one call, computed in memory before anything is written.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use scale_proto::time::Timestamp;
use zeroize::Zeroizing;

use super::shard::{Entries, Entry, IdDigest, digest, shard_of};
use super::{ExampleLimits, PutSummary, TextExample};

/// All shards as they will be after the change.
pub(super) struct Change {
    shards: Vec<Entries>,
    /// The result for each given example.
    given: BTreeMap<IdDigest, Given>,
    dropped: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Added,
    Replaced,
    Unchanged,
}

impl Change {
    /// A change that changes nothing yet. Examples are shared with `shards`.
    pub(super) fn of(shards: &[Entries]) -> Self {
        Self { shards: shards.to_vec(), given: BTreeMap::new(), dropped: 0 }
    }

    /// Adds and replaces examples, which must have been checked. Of several with the same id, the last counts.
    pub(super) fn put(&mut self, examples: Vec<TextExample>, now: Timestamp) {
        let last: BTreeMap<IdDigest, TextExample> =
            examples.into_iter().map(|example| (digest(&example.id), example)).collect();
        for (digest, mut example) in last {
            let shard = &mut self.shards[shard_of(&digest)];
            let before = shard.get(&digest);
            let same = |entry: &&Arc<Entry>| {
                *entry.text == *example.text
                    && *entry.label == *example.label
                    && example.time.is_none_or(|time| time == entry.time)
            };
            let kind = match before {
                None => Given::Added,
                Some(entry) if same(&entry) => Given::Unchanged,
                Some(_) => Given::Replaced,
            };
            self.given.insert(digest, kind);
            if kind == Given::Unchanged {
                continue;
            }
            let entry = Entry {
                id: Zeroizing::new(mem::take(&mut example.id)),
                text: mem::take(&mut example.text).into(),
                label: mem::take(&mut example.label).into(),
                // A time in the future would keep the example for ever, and push out all others.
                time: example.time.map_or(now, |time| time.min(now)),
            };
            shard.insert(digest, Arc::new(entry));
        }
    }

    /// Removes the examples with these ids. Returns how many of them were found.
    pub(super) fn remove(&mut self, ids: &[String]) -> u32 {
        let there = ids.iter().map(|id| digest(id)).filter(|digest| self.take(digest)).count();
        u32::try_from(there).unwrap_or(u32::MAX)
    }

    /// Drops examples that are too old, then the oldest beyond the largest number; among equally old ones, those with
    /// the smallest digests.
    pub(super) fn drop_beyond(&mut self, limits: &ExampleLimits, now: Timestamp) {
        let mut all: Vec<(Timestamp, IdDigest)> =
            self.shards.iter().flatten().map(|(digest, entry)| (entry.time.min(now), *digest)).collect();
        let too_old = |time: Timestamp| time.plus(limits.age) < now;
        let old = all.iter().filter(|(time, _)| too_old(*time)).count();
        let beyond = old.max(all.len().saturating_sub(limits.examples as usize));
        if beyond == 0 {
            return;
        }
        all.sort_unstable();
        for (_, digest) in &all[..beyond] {
            self.take(digest);
            self.given.remove(digest);
            self.dropped += 1;
        }
    }

    /// The result of [`Self::put`] and [`Self::drop_beyond`].
    pub(super) fn summary(&self) -> PutSummary {
        let count = |kind: Given| self.given.values().filter(|given| **given == kind).count() as u32;
        PutSummary {
            added: count(Given::Added),
            replaced: count(Given::Replaced),
            unchanged: count(Given::Unchanged),
            dropped: self.dropped,
        }
    }

    /// The shards that differ from `before`, by index.
    pub(super) fn changed(self, before: &[Entries]) -> Vec<(usize, Entries)> {
        let same = |(a, b): (&Entries, &Entries)| {
            a.len() == b.len()
                && a.iter().zip(b).all(|((a_digest, a), (b_digest, b))| a_digest == b_digest && Arc::ptr_eq(a, b))
        };
        let differs = |(index, entries): &(usize, Entries)| !same((entries, &before[*index]));
        self.shards.into_iter().enumerate().filter(differs).collect()
    }

    fn take(&mut self, digest: &IdDigest) -> bool {
        self.shards[shard_of(digest)].remove(digest).is_some()
    }
}
