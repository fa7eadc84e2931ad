//! Decisions that are used again. A question is known by a keyed digest, so that no Password stays
//! in memory. The time is an argument; this module must never ask a clock.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::{hmac, rand};

use super::decision::Decision;
use super::{Now, WebhookCache};
use crate::bounded_map::BoundedMap;

/// Decisions of a server.
pub(super) struct Cache {
    options: WebhookCache,
    digest_key: hmac::Key,
    entries: Mutex<BoundedMap<Key, Entry>>,
}

/// The digest of a question.
pub(super) type Key = [u8; 32];

#[derive(Debug)]
struct Entry {
    decision: Decision,
    usable_until: Instant,
}

impl Cache {
    /// Makes an empty cache with a key of its own.
    ///
    /// # Panics
    ///
    /// If the system has no random numbers.
    pub(super) fn new(options: WebhookCache) -> Self {
        let random = rand::SystemRandom::new();
        let digest_key = hmac::Key::generate(hmac::HMAC_SHA256, &random);
        let digest_key = digest_key.expect("the system has random numbers");
        let entries = Mutex::new(BoundedMap::new(options.entries_max));
        Self { options, digest_key, entries }
    }

    pub(super) fn key(&self, question: &[u8]) -> Key {
        let mut key = Key::default();
        key.copy_from_slice(hmac::sign(&self.digest_key, question).as_ref());
        key
    }

    /// Returns a decision that may be used again.
    pub(super) fn get(&self, key: &Key, now: Now) -> Option<Decision> {
        let mut entries = self.lock();
        let entry = entries.touch(key)?;
        let is_over = entry.decision.expires_at().is_some_and(|it| it <= now.unix);
        if is_over || entry.usable_until <= now.instant {
            entries.remove(key);
            return None;
        }
        Some(entry.decision.clone())
    }

    /// Keeps a decision, for as long as the server says or the options do, and never beyond its
    /// end.
    pub(super) fn insert(
        &self,
        key: Key,
        decision: &Decision,
        usable_for: Option<Duration>,
        now: Now,
    ) {
        let usable_for = usable_for.unwrap_or(self.options.time).min(self.options.time_max);
        if usable_for.is_zero() || decision.expires_at().is_some_and(|it| it <= now.unix) {
            return;
        }
        let Some(usable_until) = now.instant.checked_add(usable_for) else { return };
        self.lock().insert(key, Entry { decision: decision.clone(), usable_until });
    }

    fn lock(&self) -> MutexGuard<'_, BoundedMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows neither key nor entries.
impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cache = f.debug_struct("Cache");
        cache.field("options", &self.options).field("entries", &self.lock().len());
        cache.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use midge_core::UserFacts;

    use super::*;

    fn cache() -> Cache {
        Cache::new(WebhookCache {
            time: Duration::from_secs(10),
            time_max: Duration::from_secs(60),
            entries_max: NonZeroUsize::new(2).unwrap(),
        })
    }

    fn at(start: Instant, seconds: u64) -> Now {
        Now { instant: start + Duration::from_secs(seconds), unix: 1000 + seconds }
    }

    fn allow(expires_at: Option<u64>) -> Decision {
        Decision::allow(None, UserFacts { expires_at, ..UserFacts::default() })
    }

    /// Returns for how many seconds a decision is used again.
    fn kept_for(decision: &Decision, usable_for: Option<u64>) -> u64 {
        let start = Instant::now();
        let kept_at = |seconds| {
            let cache = cache();
            let key = cache.key(b"question");
            cache.insert(key, decision, usable_for.map(Duration::from_secs), at(start, 0));
            cache.get(&key, at(start, seconds)).is_some()
        };
        (0..100).take_while(|seconds| kept_at(*seconds)).count() as u64
    }

    #[test]
    fn decisions_are_kept_as_long_as_they_may_be() {
        assert_eq!(kept_for(&allow(None), None), 10, "the configured time");
        assert_eq!(kept_for(&allow(None), Some(30)), 30, "as the server says");
        assert_eq!(kept_for(&allow(None), Some(0)), 0, "not at all");
        assert_eq!(kept_for(&allow(None), Some(u64::MAX)), 60, "at most");
        assert_eq!(kept_for(&allow(Some(1005)), Some(30)), 5, "not beyond its end");
        assert_eq!(kept_for(&allow(Some(1000)), Some(30)), 0);
        assert_eq!(kept_for(&Decision::Deny("".into()), Some(30)), 30);
    }

    #[test]
    fn keys_are_digests_that_no_other_cache_makes() {
        let (one, other) = (cache(), cache());
        assert_eq!(one.key(b"a"), one.key(b"a"));
        assert_ne!(one.key(b"a"), one.key(b"b"));
        assert_ne!(one.key(b"a"), other.key(b"a"));
    }

    #[test]
    fn entries_are_bounded() {
        let (cache, start) = (cache(), Instant::now());
        for question in [b"a", b"b", b"c"] {
            cache.insert(cache.key(question), &allow(None), None, at(start, 0));
        }
        assert!(cache.get(&cache.key(b"a"), at(start, 0)).is_none());
        assert!(cache.get(&cache.key(b"c"), at(start, 0)).is_some());
        assert_eq!(cache.lock().len(), 2);
    }
}
