//! Counters of this process, of bounded number.
//!
//! A window's counters are one map; when the window is over the map becomes the previous one and the one before that is
//! dropped whole. So nothing is ever swept, and a key costs one entry in each map at most.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use scale_clock::Timestamp;

use super::Bucket;
use super::window::{Counts, Decision, Key, WINDOW_MS};

/// Locks: many more than cores, so that two calls hardly ever want the same.
const SHARDS: usize = 32;

/// Counts in memory.
#[derive(Debug)]
pub struct Memory {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Most entries of one shard, both maps together.
    capacity: usize,
}

#[derive(Debug, Default)]
struct Shard {
    /// Number of the current window since 1970.
    window: u64,
    current: HashMap<Key, u32>,
    previous: HashMap<Key, u32>,
}

impl Memory {
    /// For at most about `keys` counters; who calls in two windows in a row has two. Beyond that the previous window is
    /// forgotten first, then somebody's count of this one: a flood of addresses gains others some calls and costs no
    /// memory.
    pub fn new(keys: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), capacity: keys.div_ceil(SHARDS).max(1) }
    }

    /// Takes one call out of `bucket`, which has `limit` a window.
    pub fn take(&self, bucket: Bucket, limit: u32, now: Timestamp) -> Decision {
        let key = Key::from(bucket);
        // The top bits: the map inside uses the others, with another seed.
        let shard = &self.shards[(self.hasher.hash_one(key) >> 48) as usize % SHARDS];
        // Nothing panics while it is held, and counts that are off by one are still counts.
        shard.lock().unwrap_or_else(PoisonError::into_inner).take(key, limit, now, self.capacity)
    }

    /// How many counters there are.
    pub fn len(&self) -> usize {
        let entries = |shard: &Mutex<Shard>| shard.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(entries).sum()
    }

    /// Whether nothing has been counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shard {
    fn take(&mut self, key: Key, limit: u32, now: Timestamp, capacity: usize) -> Decision {
        let elapsed = self.turn(now);
        let previous = self.previous.get(&key).copied().unwrap_or(0);
        let current = self.current.get(&key).copied().unwrap_or(0);
        let before = Counts { previous, current, elapsed };
        if before.used() >= u64::from(limit) {
            return before.decision(false, limit);
        }
        if current == 0 {
            self.make_room(capacity);
        }
        self.current.insert(key, current + 1);
        Counts { current: current + 1, ..before }.decision(true, limit)
    }

    /// Moves on to the window of `now`; returns how much of it has passed, ms. A clock that went back a little stands
    /// still; one that was wrong starts over, so that nobody is locked out until it is that late again.
    fn turn(&mut self, now: Timestamp) -> u64 {
        let window = now.as_millis() / WINDOW_MS;
        if window + 1 == self.window {
            return 0;
        }
        if window != self.window {
            let last = std::mem::take(&mut self.current);
            self.previous = if window == self.window + 1 { last } else { HashMap::new() };
            self.window = window;
        }
        now.as_millis() % WINDOW_MS
    }

    fn make_room(&mut self, capacity: usize) {
        if self.len() < capacity {
            return;
        }
        self.previous = HashMap::new();
        if self.len() >= capacity
            && let Some(&somebody) = self.current.keys().next()
        {
            self.current.remove(&somebody);
        }
    }

    fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const START: u64 = 1_800_000_000_000;

    fn ip(number: u32) -> Bucket {
        Bucket::Ip(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(START + ms)
    }

    #[test]
    fn the_number_of_counters_is_bounded_and_old_ones_go() {
        let memory = Memory::new(3200);
        for number in 0..20_000 {
            assert!(memory.take(ip(number), 5, at(0)).allowed);
            assert!(memory.len() <= 3200);
        }
        assert_eq!(memory.len(), 3200);
        // Everybody's previous window is dropped with the map it is in.
        for number in 0..1000 {
            memory.take(ip(number), 5, at(2 * WINDOW_MS));
        }
        for number in 0..1000 {
            memory.take(ip(number), 5, at(4 * WINDOW_MS));
        }
        assert_eq!(memory.len(), 1000);
        assert!(!memory.is_empty());
    }

    #[test]
    fn a_full_table_forgets_the_previous_window_before_this_one() {
        let mut shard = Shard::default();
        let take = |shard: &mut Shard, number, ms| shard.take(Key::from(ip(number)), 2, at(ms), 4);
        for number in 0..4 {
            take(&mut shard, number, 0);
        }
        take(&mut shard, 0, WINDOW_MS);
        assert_eq!(shard.len(), 1, "four old ones were in the way of a new one");
        for number in 1..4 {
            take(&mut shard, number, WINDOW_MS);
        }
        take(&mut shard, 9, WINDOW_MS);
        assert_eq!(shard.len(), 4);
        assert_eq!(shard.current.get(&Key::from(ip(9))), Some(&1));
    }

    #[test]
    fn many_threads_get_exactly_the_limit() {
        let memory = Memory::new(1000);
        let allowed = || (0..500).filter(|_| memory.take(ip(1), 700, at(5)).allowed).count();
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(allowed)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 700);
    }
}
