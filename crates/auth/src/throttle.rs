//! Slows down those who guess passwords.
//!
//! Failed logins count for the pair of address and user name, and with far less weight for the
//! address and for the user name alone. Only a pair can be slowed down much, so that neither
//! everybody behind one address nor the owner of a name can be locked out by others. The counts
//! decay. The time is an argument; this module must never ask a clock.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use crate::bounded_map::BoundedMap;
use crate::host_network::HostNetwork;

/// How failed logins are slowed down.
#[derive(Clone, Debug)]
pub struct ThrottleTerms {
    /// For a pair of address and user name.
    pub pair: Slowing,
    /// For all user names from one address.
    pub address: Slowing,
    /// For one user name from all addresses.
    pub user: Slowing,
    /// The most pairs, addresses and user names, each, that are remembered.
    pub entries_max: NonZeroUsize,
}

/// How one kind of count slows down.
#[derive(Clone, Debug)]
pub struct Slowing {
    /// So many failures have no effect.
    pub free: u32,
    /// The delay after the first failure that has an effect. It doubles with each further one.
    pub delay: Duration,
    /// The longest delay.
    pub delay_max: Duration,
    /// After this time, one failure is forgotten.
    pub forget_after: Duration,
}

/// The counts of failed logins.
#[derive(Debug)]
pub struct Throttle {
    terms: ThrottleTerms,
    hasher: RandomState,
    pairs: BoundedMap<(HostNetwork, UserKey), Level>,
    addresses: BoundedMap<HostNetwork, Level>,
    users: BoundedMap<UserKey, Level>,
    figures: ThrottleFigures,
}

/// What a [`Throttle`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThrottleFigures {
    /// Attempts to log in.
    pub attempts: u64,
    /// Those that were told to wait.
    pub delayed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Entries that were forgotten because a table was full.
    pub evicted: u64,
    /// Pairs that are remembered.
    pub pairs: usize,
}

/// An attempt to log in that has begun.
#[derive(Debug)]
#[must_use = "say how the attempt ended"]
pub struct Attempt {
    /// Wait for so long before the Client gets its answer.
    pub delay: Duration,
    pair: Option<(HostNetwork, UserKey)>,
    /// Whether the attempt counts as a failure already.
    is_charged: bool,
}

/// A keyed digest of a user name; absent if there was none.
type UserKey = Option<u64>;

/// A count that decays.
#[derive(Clone, Copy, Debug)]
struct Level {
    failures: f64,
    at: Instant,
}

impl Default for ThrottleTerms {
    fn default() -> Self {
        let slowing = |free, delay_max_ms, forget_after_s| Slowing {
            free,
            delay: Duration::from_millis(250),
            delay_max: Duration::from_millis(delay_max_ms),
            forget_after: Duration::from_secs(forget_after_s),
        };
        Self {
            pair: slowing(5, 30_000, 30),
            address: slowing(100, 1_000, 1),
            user: slowing(100, 500, 1),
            entries_max: NonZeroUsize::new(65_536).expect("65,536 is not 0"),
        }
    }
}

impl Throttle {
    /// Makes an empty table.
    pub fn new(terms: ThrottleTerms) -> Self {
        let max = terms.entries_max;
        Self {
            hasher: RandomState::new(),
            pairs: BoundedMap::new(max),
            addresses: BoundedMap::new(max),
            users: BoundedMap::new(max),
            figures: ThrottleFigures::default(),
            terms,
        }
    }

    /// Begins an attempt. One without an address (from a Unix socket) is not slowed down.
    ///
    /// An attempt of a pair that has failed too often counts as a failure until it has succeeded,
    /// so that nothing is gained by making many at once, or by going away early.
    pub fn begin(
        &mut self,
        address: Option<IpAddr>,
        user_name: Option<&str>,
        now: Instant,
    ) -> Attempt {
        self.figures.attempts += 1;
        let Some(address) = address else {
            return Attempt { delay: Duration::ZERO, pair: None, is_charged: false };
        };
        let (address, user) = (HostNetwork::of(address), self.user_key(user_name));
        let pair = (address, user);
        let terms = &self.terms;
        let by_pair = terms.pair.delay_at(&self.pairs, &pair, now);
        let by_address = terms.address.delay_at(&self.addresses, &address, now);
        let by_user = terms.user.delay_at(&self.users, &user, now);
        let is_charged = !by_pair.is_zero();
        if is_charged {
            self.figures.evicted += terms.pair.count(&mut self.pairs, pair, now);
        }
        let delay = by_pair.max(by_address).max(by_user);
        self.figures.delayed += u64::from(!delay.is_zero());
        Attempt { delay, pair: Some(pair), is_charged }
    }

    /// Notes that the Client is who it says. Its pair starts anew.
    #[allow(clippy::needless_pass_by_value)] // an attempt ends once
    pub fn succeeded(&mut self, attempt: Attempt) {
        if let Some(pair) = attempt.pair {
            self.pairs.remove(&pair);
        }
    }

    /// Notes that the Client is not who it says, also if it has gone away meanwhile.
    #[allow(clippy::needless_pass_by_value)] // an attempt ends once
    pub fn failed(&mut self, attempt: Attempt, now: Instant) {
        self.figures.failed += 1;
        let Some(pair) = attempt.pair else { return };
        let terms = &self.terms;
        let mut evicted = 0;
        if !attempt.is_charged {
            evicted += terms.pair.count(&mut self.pairs, pair, now);
        }
        evicted += terms.address.count(&mut self.addresses, pair.0, now);
        evicted += terms.user.count(&mut self.users, pair.1, now);
        self.figures.evicted += evicted;
    }

    /// Notes that nobody could decide. That is not the Client's fault.
    #[allow(clippy::needless_pass_by_value)] // an attempt ends once
    pub fn undecided(&mut self, attempt: Attempt) {
        if let (true, Some(pair)) = (attempt.is_charged, attempt.pair)
            && let Some(level) = self.pairs.touch(&pair)
        {
            level.failures = (level.failures - 1.0).max(0.0);
        }
    }

    /// Returns what has been counted.
    pub fn figures(&self) -> ThrottleFigures {
        ThrottleFigures { pairs: self.pairs.len(), ..self.figures }
    }

    fn user_key(&self, user_name: Option<&str>) -> UserKey {
        user_name.map(|name| self.hasher.hash_one(name))
    }
}

impl Slowing {
    /// Counts a failure. Returns how many keys were forgotten for that.
    fn count<K: Clone + Eq + std::hash::Hash>(
        &self,
        levels: &mut BoundedMap<K, Level>,
        key: K,
        now: Instant,
    ) -> u64 {
        let failures = levels.get(&key).map_or(0.0, |level| self.failures(*level, now));
        // Beyond the longest delay, more failures would only take longer to be forgotten.
        let failures = (failures + 1.0).min(self.failures_max());
        u64::from(levels.insert(key, Level { failures, at: now }))
    }

    /// Returns how many failures are not yet forgotten.
    fn failures(&self, level: Level, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(level.at).as_secs_f64();
        let forgotten = elapsed / self.forget_after.as_secs_f64().max(0.001);
        (level.failures - forgotten).max(0.0)
    }

    fn failures_max(&self) -> f64 {
        let doublings = self.delay_max.as_secs_f64() / self.delay.as_secs_f64().max(0.001);
        f64::from(self.free) + doublings.max(1.0).log2() + 2.0
    }

    fn delay_at<K: Clone + Eq + std::hash::Hash>(
        &self,
        levels: &BoundedMap<K, Level>,
        key: &K,
        now: Instant,
    ) -> Duration {
        let Some(level) = levels.get(key) else { return Duration::ZERO };
        let beyond = self.failures(*level, now) - f64::from(self.free);
        if beyond <= 0.0 {
            return Duration::ZERO;
        }
        let seconds = self.delay.as_secs_f64() * (beyond.ceil() - 1.0).min(64.0).exp2();
        // A delay that no duration holds is longer than the longest one.
        let delay = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        delay.min(self.delay_max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: &str = "192.0.2.1";

    struct Setup {
        throttle: Throttle,
        now: Instant,
    }

    impl Setup {
        fn new() -> Self {
            Self { throttle: Throttle::new(ThrottleTerms::default()), now: Instant::now() }
        }

        fn begin(&mut self, address: &str, user_name: &str) -> Attempt {
            self.throttle.begin(Some(address.parse().unwrap()), Some(user_name), self.now)
        }

        fn fail(&mut self, address: &str, user_name: &str) -> Duration {
            let attempt = self.begin(address, user_name);
            let delay = attempt.delay;
            self.throttle.failed(attempt, self.now);
            delay
        }

        fn delay(&mut self, address: &str, user_name: &str) -> Duration {
            let attempt = self.begin(address, user_name);
            let delay = attempt.delay;
            self.throttle.undecided(attempt);
            delay
        }
    }

    #[test]
    fn a_pair_waits_longer_with_each_failure_up_to_a_bound() {
        let mut setup = Setup::new();
        let delays: Vec<_> = (0..16).map(|_| setup.fail(ADDRESS, "alice").as_millis()).collect();
        let expected = [0, 0, 0, 0, 0, 0, 250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000];
        assert_eq!(delays[..15], expected);
        assert_eq!(setup.throttle.figures().failed, 16);
        assert_eq!(setup.throttle.figures().delayed, 10);
    }

    #[test]
    fn others_behind_the_address_and_the_owner_of_the_name_hardly_notice() {
        let mut setup = Setup::new();
        for _ in 0..10_000 {
            setup.fail(ADDRESS, "alice");
        }
        assert_eq!(setup.delay(ADDRESS, "alice"), Duration::from_secs(30));
        assert_eq!(setup.delay(ADDRESS, "bob"), Duration::from_secs(1));
        assert_eq!(setup.delay("198.51.100.7", "alice"), Duration::from_millis(500));
        assert_eq!(setup.delay("198.51.100.7", "bob"), Duration::ZERO);
    }

    #[test]
    fn failures_are_forgotten() {
        let mut setup = Setup::new();
        for _ in 0..8 {
            setup.fail(ADDRESS, "alice");
        }
        assert_eq!(setup.delay(ADDRESS, "alice"), Duration::from_secs(1));
        setup.now += Duration::from_secs(60);
        assert_eq!(setup.delay(ADDRESS, "alice"), Duration::from_millis(250));
        setup.now += Duration::from_secs(30);
        assert_eq!(setup.delay(ADDRESS, "alice"), Duration::ZERO);
        for _ in 0..10_000 {
            setup.fail(ADDRESS, "alice");
        }
        setup.now += Duration::from_secs(30 * 14);
        assert_eq!(setup.delay(ADDRESS, "alice"), Duration::ZERO, "however many there were");
    }

    #[test]
    fn success_starts_a_pair_anew_but_not_its_address() {
        let mut setup = Setup::new();
        for _ in 0..200 {
            setup.fail(ADDRESS, "alice");
        }
        let attempt = setup.begin(ADDRESS, "alice");
        setup.throttle.succeeded(attempt);
        assert_eq!(setup.delay(ADDRESS, "alice"), Duration::from_secs(1), "as its address");
    }

    #[test]
    fn many_attempts_at_once_wait_as_if_one_after_the_other() {
        let mut setup = Setup::new();
        for _ in 0..6 {
            setup.fail(ADDRESS, "alice");
        }
        let attempts: Vec<_> = (0..4).map(|_| setup.begin(ADDRESS, "alice")).collect();
        let delays: Vec<_> = attempts.iter().map(|attempt| attempt.delay.as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000]);
        for attempt in attempts {
            setup.throttle.undecided(attempt);
        }
        assert_eq!(setup.delay(ADDRESS, "alice").as_millis(), 250, "nobody could decide");
    }

    #[test]
    fn the_tables_are_bounded() {
        let terms =
            ThrottleTerms { entries_max: NonZeroUsize::new(10).unwrap(), ..Default::default() };
        let mut setup = Setup { throttle: Throttle::new(terms), now: Instant::now() };
        for number in 0..100 {
            setup.fail(ADDRESS, &format!("user {number}"));
        }
        let figures = setup.throttle.figures();
        assert_eq!((figures.pairs, figures.evicted), (10, 180), "pairs and user names");
    }

    #[test]
    fn a_unix_socket_is_not_slowed_down() {
        let mut setup = Setup::new();
        for _ in 0..100 {
            let attempt = setup.throttle.begin(None, Some("alice"), setup.now);
            assert_eq!(attempt.delay, Duration::ZERO);
            setup.throttle.failed(attempt, setup.now);
        }
    }

    fn durations() -> impl Strategy<Value = Duration> {
        let milliseconds = (0..100_000_u64).prop_map(Duration::from_millis);
        prop_oneof![milliseconds, any::<u64>().prop_map(Duration::from_secs), Just(Duration::MAX)]
    }

    proptest! {
        /// Whatever the terms and the clock, delays have their bounds, and nothing panics.
        #[test]
        fn delays_have_their_bounds(
            free in 0..4_u32,
            [delay, delay_max, forget_after] in [durations(), durations(), durations()],
            steps in prop::collection::vec((0..4_u8, any::<u32>()), 0..50),
        ) {
            let slowing = Slowing { free, delay, delay_max, forget_after };
            let entries_max = NonZeroUsize::new(2).unwrap();
            let (pair, address, user) = (slowing.clone(), slowing.clone(), slowing);
            let terms = ThrottleTerms { pair, address, user, entries_max };
            let start = Instant::now();
            let mut setup = Setup { throttle: Throttle::new(terms), now: start };
            for (user, after) in steps {
                setup.now = start + Duration::from_millis(after.into());
                prop_assert!(setup.fail(ADDRESS, &user.to_string()) <= delay_max);
            }
        }
    }
}
