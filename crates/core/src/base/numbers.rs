//! Numbers that are never used twice, not even after a restart of the broker. The store identifies
//! Sessions, shared subscriptions and kept messages by them.

use std::num::NonZeroU64;

use crate::base::identity::WorkerId;
use crate::base::time::Timestamp;

/// Gives out the numbers of one worker: each is larger than the one before, and no other worker has
/// it.
#[derive(Debug)]
pub(crate) struct Numbers {
    worker: WorkerId,
    last: u64,
}

impl Numbers {
    /// Numbers of one worker are this far apart.
    const STEP: u64 = WorkerId::MAX_WORKERS as u64;
    /// Numbers that a worker has for each millisecond before it borrows from the next.
    const PER_MILLISECOND: u64 = 64;

    /// A time beyond this counts as this one, so that it does not use up all numbers.
    const MILLIS_MAX: u64 = u64::MAX / 2 / (Self::PER_MILLISECOND * Self::STEP);

    pub(crate) fn new(worker: WorkerId) -> Self {
        Self { worker, last: 0 }
    }

    /// Begins above the numbers that the store has seen, all of which are below `next`.
    pub(crate) fn begin_at(&mut self, next: u64) {
        self.last = self.last.max(next.next_multiple_of(Self::STEP) + self.worker.index() as u64);
    }

    pub(crate) fn next(&mut self, now: Timestamp) -> NonZeroU64 {
        let of_now = now.as_millis().min(Self::MILLIS_MAX) * Self::PER_MILLISECOND * Self::STEP;
        let of_now = of_now + self.worker.index() as u64;
        self.last = of_now.max(self.last + Self::STEP);
        NonZeroU64::MIN.saturating_add(self.last - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;
    use crate::base::identity::WorkerId;
    use crate::base::time::Timestamp;

    #[test]
    fn no_number_comes_twice_and_later_ones_are_larger() {
        let mut workers = [0, 1, 63].map(|worker| Numbers::new(WorkerId::new(worker)));
        let mut seen = Vec::new();
        for millis in [5, 5, 6, 900] {
            for numbers in &mut workers {
                for _ in 0..70 {
                    seen.push(numbers.next(Timestamp::from_millis(millis)));
                }
            }
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn there_are_numbers_at_the_end_of_time() {
        let mut numbers = Numbers::new(WorkerId::new(3));
        let first = numbers.next(Timestamp::from_millis(u64::MAX));
        assert!(numbers.next(Timestamp::from_millis(u64::MAX)) > first);
    }

    #[test]
    fn a_clock_that_was_set_back_gives_no_number_again() {
        let mut numbers = Numbers::new(WorkerId::new(3));
        let first = numbers.next(Timestamp::from_millis(1_000_000));
        let mut restarted = Numbers::new(WorkerId::new(3));
        restarted.begin_at(first.get() + 1);
        assert!(restarted.next(Timestamp::from_millis(1)) > first);
    }
}
