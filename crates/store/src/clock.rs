//! The store's own time. It began as the time of day when the store was made, and goes on from one
//! start to the next by as much as is known to have passed; setting the machine's clock does not
//! move it. All moments in records are in this time. Marks in the journal say what the machine's
//! clocks showed at a moment of it.
//!
//! Time that is not known to have passed does not count, so nothing ends early because a clock was
//! set, or was not set yet. No clock is read here: readings are arguments.

use midge_core::Timestamp;

/// What the clocks of a machine show at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since the Unix epoch, according to the clock that can be set.
    pub wall_ms: u64,
    /// How long the machine has been up; absent if that is unknown.
    pub uptime: Option<Uptime>,
}

/// How long a machine has been up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uptime {
    /// Identifies this run of the machine; different after each boot.
    pub boot: u128,
    /// Milliseconds since this run began, including time in suspension.
    pub millis: u64,
}

/// What the clocks showed at a moment of the store's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) at: Timestamp,
    pub(crate) reading: Reading,
}

/// The clock counts as set, which calls for a mark, if it is off by at least this much.
const STEP_MS: u64 = 1000;
/// A mark is written with other records if the last one is older.
const MARK_INTERVAL_MS: u64 = 1000;
/// The latest moment that a store takes from a clock or, without marks, from its records: the end
/// of the year 9999.
const LATEST_MS: u64 = 253_402_300_799_999;

impl Reading {
    /// Returns the milliseconds from `earlier` to this reading, as far as they are known: what the
    /// machine has counted since or, if that does not go on from `earlier` (after a boot), by how
    /// much the time of day is later.
    fn since(&self, earlier: &Self) -> u64 {
        match (self.uptime, earlier.uptime) {
            (Some(now), Some(then)) if now.boot == then.boot && now.millis >= then.millis => {
                now.millis - then.millis
            }
            _ => self.clamped_wall_ms().saturating_sub(earlier.clamped_wall_ms()),
        }
    }

    fn clamped_wall_ms(&self) -> u64 {
        self.wall_ms.min(LATEST_MS)
    }
}

impl From<Timestamp> for Reading {
    /// Makes a reading of which only the time of day is known.
    fn from(wall: Timestamp) -> Self {
        Self { wall_ms: wall.as_millis(), uptime: None }
    }
}

impl Mark {
    /// Returns the moment at which the clocks show `reading`, or that of the mark if `reading` is
    /// earlier.
    fn moment(&self, reading: &Reading) -> Timestamp {
        self.at + reading.since(&self.reading)
    }

    /// Returns whether a new mark is due at this moment: the clock was set, the machine was booted,
    /// or other records are written and this mark is old.
    pub(crate) fn is_outdated(&self, at: Timestamp, reading: &Reading, has_others: bool) -> bool {
        let boot = |reading: &Reading| reading.uptime.map(|uptime| uptime.boot);
        let expected = self.reading.wall_ms.saturating_add(at - self.at);
        let is_set = expected.abs_diff(reading.wall_ms) >= STEP_MS;
        let is_old = at - self.at >= MARK_INTERVAL_MS;
        is_set || boot(reading) != boot(&self.reading) || has_others && is_old
    }
}

/// Returns the time of day of a moment of the store's time, as the clock was set when the mark was
/// made; without a mark, the moment itself.
#[cfg(any(test, feature = "tools"))]
pub(crate) fn wall_of(mark: Option<&Mark>, moment: Timestamp) -> Timestamp {
    let Some(mark) = mark else {
        return moment;
    };
    let earlier = mark.reading.wall_ms.saturating_sub(mark.at - moment);
    Timestamp::from_millis(earlier) + (moment - mark.at)
}

/// Returns the moment of the store's time at which the clocks show `reading`. Without a mark it is
/// the time of day, but not before `latest`, which is past for the store.
pub(crate) fn moment_of(
    mark: Option<&Mark>,
    reading: &Reading,
    latest: Option<Timestamp>,
) -> Timestamp {
    let wall = Timestamp::from_millis(reading.clamped_wall_ms());
    let latest = latest.map(|at| at.min(Timestamp::from_millis(LATEST_MS)));
    mark.map_or_else(|| latest.map_or(wall, |at| at.max(wall)), |mark| mark.moment(reading))
}

#[cfg(test)]
mod tests {
    use midge_core::Timestamp;

    use super::{LATEST_MS, Mark, Reading, Uptime, moment_of, wall_of};

    const DAY: u64 = 86_400_000;
    const NOON: u64 = 1_800_000_000_000;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn reading(wall_ms: u64, boot: u128, millis: u64) -> Reading {
        Reading { wall_ms, uptime: Some(Uptime { boot, millis }) }
    }

    fn mark() -> Mark {
        Mark { at: at(NOON), reading: reading(NOON - DAY, 1, 5_000) }
    }

    fn moment(reading: Reading) -> u64 {
        moment_of(Some(&mark()), &reading, Some(at(NOON + 7))).as_millis()
    }

    #[test]
    fn while_the_machine_is_up_the_time_of_day_does_not_count() {
        for wall_ms in [0, NOON - 9 * DAY, NOON, NOON + 900 * DAY, u64::MAX] {
            assert_eq!(moment(reading(wall_ms, 1, 8_000)), NOON + 3_000);
        }
    }

    #[test]
    fn after_a_boot_the_time_of_day_counts_unless_it_is_an_earlier_one() {
        assert_eq!(moment(reading(NOON, 2, 1)), NOON + DAY);
        assert_eq!(moment(reading(0, 2, 9_000)), NOON, "not set yet");
        assert_eq!(moment(reading(NOON, 1, 4_999)), NOON + DAY, "a machine as it was before");
        assert_eq!(moment(at(NOON).into()), NOON + DAY);
        assert_eq!(moment(reading(u64::MAX, 2, 0)), NOON + LATEST_MS - (NOON - DAY));
    }

    #[test]
    fn without_a_mark_it_is_not_earlier_than_what_is_past() {
        let without = |wall_ms: u64, latest: Option<u64>| {
            moment_of(None, &reading(wall_ms, 1, 1), latest.map(at)).as_millis()
        };
        assert_eq!(without(NOON, None), NOON);
        assert_eq!(without(0, Some(NOON)), NOON);
        assert_eq!(without(NOON, Some(5)), NOON);
        assert_eq!(without(NOON, Some(u64::MAX)), LATEST_MS);
    }

    #[test]
    fn a_mark_is_due_when_the_clock_is_set_and_now_and_then_with_others() {
        let mark = mark();
        let is_due = |later: u64, wall_ms: u64, has_others| {
            mark.is_outdated(at(NOON + later), &reading(wall_ms, 1, 5_000 + later), has_others)
        };
        let undisturbed = |later: u64| NOON - DAY + later;
        assert!(!is_due(0, undisturbed(0), true));
        assert!(!is_due(900_000, undisturbed(900_000), false));
        assert!(is_due(1_000, undisturbed(1_000), true));
        assert!(is_due(5, undisturbed(1_005), false));
        assert!(is_due(5_000, undisturbed(4_000), false));
        assert!(mark.is_outdated(at(NOON), &reading(NOON - DAY, 2, 5_000), false));
    }

    #[test]
    fn moments_are_told_as_times_of_day() {
        let wall = |moment: u64| wall_of(Some(&mark()), at(moment)).as_millis();
        assert_eq!(wall(NOON + 5), NOON - DAY + 5);
        assert_eq!(wall(NOON - 5), NOON - DAY - 5);
        assert_eq!((wall(5), wall(u64::MAX)), (0, u64::MAX - 1 - DAY));
        assert_eq!(wall_of(None, at(5)), at(5));
    }
}
