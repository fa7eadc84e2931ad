//! Finds Clients that connect again and again, and bans them for a while.
//!
//! Only connections of authenticated Clients may be counted here: with others, anybody could have a
//! Client banned by using its Client Identifier. The time is an argument; this module must never
//! ask a clock.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};

use crate::ban::{Ban, BanSubject};
use crate::bounded_map::BoundedMap;

/// When a Client flaps, and what follows.
#[derive(Clone, Debug)]
pub struct FlappingTerms {
    /// A Client that connects so many times ...
    pub connects: NonZeroU32,
    /// ... within this time flaps.
    pub window: Duration,
    /// It is banned for so long.
    pub ban: Duration,
    /// The most Clients that are remembered.
    pub entries_max: NonZeroUsize,
}

/// How often Clients have connected lately.
#[derive(Debug)]
pub struct Flapping {
    terms: FlappingTerms,
    hasher: RandomState,
    /// By a keyed digest of the Client Identifier.
    windows: BoundedMap<u64, Window>,
}

/// Connections since `began`. A Client that goes on at the same rate is found at the latest in its
/// second window.
#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    connects: u32,
}

impl Flapping {
    /// Makes an empty table.
    pub fn new(terms: FlappingTerms) -> Self {
        let windows = BoundedMap::new(terms.entries_max);
        Self { terms, hasher: RandomState::new(), windows }
    }

    /// Counts that an authenticated Client has connected. Returns the ban if it flaps; `unix_now`
    /// is in seconds since 1970.
    pub fn connected(&mut self, client_id: &str, now: Instant, unix_now: u64) -> Option<Ban> {
        let key = self.hasher.hash_one(client_id);
        let terms = &self.terms;
        let is_over = |window: &Window| now.saturating_duration_since(window.began) > terms.window;
        let window = match self.windows.touch(&key) {
            Some(window) => {
                if is_over(window) {
                    *window = Window { began: now, connects: 0 };
                }
                window.connects = window.connects.saturating_add(1);
                *window
            }
            None => {
                let window = Window { began: now, connects: 1 };
                self.windows.insert(key, window);
                window
            }
        };
        if window.connects < terms.connects.get() {
            return None;
        }
        self.windows.remove(&key);
        let seconds = terms.window.as_secs();
        Some(Ban {
            subject: BanSubject::ClientId(client_id.into()),
            reason: format!("connected {} times in {seconds} s", window.connects).into(),
            until: Some(unix_now.saturating_add(terms.ban.as_secs())),
        })
    }

    /// Returns how many Clients are remembered.
    pub fn clients(&self) -> usize {
        self.windows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flapping(entries_max: usize) -> Flapping {
        Flapping::new(FlappingTerms {
            connects: NonZeroU32::new(3).unwrap(),
            window: Duration::from_secs(60),
            ban: Duration::from_secs(300),
            entries_max: NonZeroUsize::new(entries_max).unwrap(),
        })
    }

    #[test]
    fn a_client_that_connects_too_often_is_banned_once() {
        let (mut flapping, now) = (flapping(10), Instant::now());
        assert_eq!(flapping.connected("a", now, 1000), None);
        assert_eq!(flapping.connected("b", now, 1000), None);
        assert_eq!(flapping.connected("a", now, 1000), None);
        let ban = flapping.connected("a", now + Duration::from_secs(60), 1060).unwrap();
        assert_eq!(ban.subject, BanSubject::ClientId("a".into()));
        assert_eq!(ban.until, Some(1360));
        assert_eq!(&*ban.reason, "connected 3 times in 60 s");
        assert_eq!(flapping.connected("a", now, 1000), None, "it starts anew");
    }

    #[test]
    fn a_client_that_takes_its_time_is_not() {
        let (mut flapping, now) = (flapping(10), Instant::now());
        for number in 0..100 {
            let now = now + Duration::from_secs(number * 31);
            assert_eq!(flapping.connected("a", now, 1000), None, "{number}");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut flapping, now) = (flapping(10), Instant::now());
        for number in 0..100 {
            assert_eq!(flapping.connected(&number.to_string(), now, 1000), None);
        }
        assert_eq!(flapping.clients(), 10);
    }
}
