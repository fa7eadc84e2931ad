//! Time as the core sees it: a number that the driver hands in with every event.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::{Add, Sub};

/// Milliseconds since an epoch of the driver's choice. It never goes back, and nobody sets it: it
/// advances as time does, also while the machine is suspended. (A broker with a store goes on from
/// the time of the store, which began as Unix time; see the decision about clocks.)
///
/// Stored as one more than its value, so that an `Option` of it takes no more room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(NonZeroU64);

impl Timestamp {
    /// The moment `millis` milliseconds after the epoch; the end of time is `u64::MAX - 1`.
    pub const fn from_millis(millis: u64) -> Self {
        Self(NonZeroU64::MIN.saturating_add(millis))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0.get() - 1
    }

    /// The moment `millis` milliseconds earlier, but none before the epoch.
    pub const fn minus_millis(self, millis: u64) -> Self {
        Self::from_millis(self.as_millis().saturating_sub(millis))
    }

    /// The moment `seconds` later.
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Seconds from `self` until `later`, rounded to the nearest but at least 1; 0 if `later` has
    /// passed. They are not rounded up, because another worker's turn may have begun a moment
    /// before the one that set `later`: its answer would be a second more than what was set.
    pub const fn seconds_until(self, later: Self) -> u64 {
        let millis = later.0.get().saturating_sub(self.0.get());
        if millis > 0 && millis < 1000 { 1 } else { millis.saturating_add(500) / 1000 }
    }
}

impl Add<u64> for Timestamp {
    type Output = Self;

    fn add(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

impl Sub for Timestamp {
    type Output = u64;

    /// Milliseconds between two moments; 0 if `earlier` is the later one.
    fn sub(self, earlier: Self) -> u64 {
        self.0.get().saturating_sub(earlier.0.get())
    }
}

impl Default for Timestamp {
    /// The epoch.
    fn default() -> Self {
        Self::from_millis(0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.as_millis()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn an_absent_one_takes_no_room() {
        assert_eq!(size_of::<Option<Timestamp>>(), size_of::<u64>());
        assert_eq!(Timestamp::default().as_millis(), 0);
        assert_eq!(format!("{:?}", Timestamp::from_millis(7)), "Timestamp(7)");
    }

    #[test]
    fn the_end_of_time_is_not_passed() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!((end + 1, end.plus_seconds(u64::MAX)), (end, end));
        assert_eq!(Timestamp::from_millis(3) - end, 0);
        assert_eq!(end.as_millis(), u64::MAX - 1);
        assert_eq!(Timestamp::from_millis(0).seconds_until(end), u64::MAX / 1000);
    }

    #[test]
    fn remaining_seconds_are_rounded_to_what_was_said() {
        let now = Timestamp::from_millis(10_000);
        let until = |millis| now.seconds_until(Timestamp::from_millis(millis));
        assert_eq!([until(9_000), until(10_000)], [0, 0]);
        assert_eq!([until(10_001), until(10_400), until(11_400)], [1, 1, 1]);
        // Two seconds, set on a worker whose turn began 3 ms before and 3 ms after this one.
        assert_eq!([until(11_997), until(12_003)], [2, 2]);
    }
}
