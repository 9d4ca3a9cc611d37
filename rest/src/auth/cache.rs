//! Tokens that were good a moment ago.
//!
//! The same token comes with every call of an hour, and checking an ES256 signature costs some 100 µs of processor time:
//! a tenth of a core at 1,000 calls a second. A hit costs a SHA-256 of the token, a tenth of that. Failures are never
//! kept, so that nobody can fill this with rubbish, and an entry is good for as long as the token, and only with the very
//! key it was checked with: a key that is no longer published takes its tokens along.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest;

use super::Caller;
use super::jws::Key;

/// Entries of one generation, of which there are two; some 150 bytes each.
const GENERATION: usize = 8 * 1024;

/// A token's name here: tokens themselves are not kept.
pub(super) type Digest = [u8; digest::SHA256_OUTPUT_LEN];

#[derive(Default)]
pub(super) struct Cache(Mutex<Generations>);

/// When the young are many they become the old, and what was old is gone: whoever came back meanwhile is young again.
#[derive(Default)]
struct Generations {
    young: HashMap<Digest, Entry>,
    old: HashMap<Digest, Entry>,
}

struct Entry {
    caller: Caller,
    key: Arc<Key>,
}

impl Cache {
    pub(super) fn digest(token: &str) -> Digest {
        // SHA-256 has as many bytes as `Digest`.
        digest::digest(&digest::SHA256, token.as_bytes()).as_ref().try_into().expect("32 bytes")
    }

    /// The caller of a token that was good when `key` checked it. Whether it has expired since is for the caller to say.
    pub(super) fn get(&self, token: &Digest, key: &Arc<Key>) -> Option<Caller> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let young = generations.young.get(token);
        if let Some(entry) = young {
            return entry.caller_for(key);
        }
        let entry = generations.old.remove(token)?;
        let caller = entry.caller_for(key)?;
        generations.insert(*token, entry);
        Some(caller)
    }

    pub(super) fn insert(&self, token: Digest, caller: Caller, key: Arc<Key>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token, Entry { caller, key });
    }
}

impl Generations {
    fn insert(&mut self, token: Digest, entry: Entry) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, entry);
    }
}

impl Entry {
    fn caller_for(&self, key: &Arc<Key>) -> Option<Caller> {
        Arc::ptr_eq(&self.key, key).then_some(self.caller)
    }
}

#[cfg(test)]
mod tests {
    use scale_clock::Timestamp;
    use scale_records::domain::UserId;

    use super::*;
    use crate::auth::{Assurance, Role};

    #[test]
    fn it_is_bounded_keeps_who_comes_back_and_belongs_to_a_key() {
        let cache = Cache::default();
        let key = || Arc::new(Key::Es256([4; 65]));
        let (key, other) = (key(), key());
        let caller = Caller {
            user: UserId::new(),
            role: Role::User,
            assurance: Assurance::Aal1,
            expires: Timestamp::from_millis(1),
        };
        let name = |number: usize| Cache::digest(&number.to_string());
        for number in 0..5 * GENERATION {
            cache.insert(name(number), caller, key.clone());
            assert_eq!(cache.get(&name(0), &key), Some(caller), "asked for all the time");
        }
        let entries = cache.0.lock().unwrap();
        assert!(entries.young.len() + entries.old.len() <= 2 * GENERATION);
        drop(entries);
        assert_eq!(cache.get(&name(1), &key), None, "forgotten");
        assert_eq!(cache.get(&name(0), &other), None, "another key");
    }
}
