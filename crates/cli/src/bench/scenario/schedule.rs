//! When the messages of an open-loop run are due.
//!
//! The n-th message is due at a fixed time, whatever became of those before it. A message that
//! could not be sent in time keeps its intended time, so that waiting shows as latency and cannot
//! hide (coordinated omission).

use std::time::Duration;

use super::super::args::BenchArgs;
use super::super::measure::histogram::Histogram;

/// `epoll_wait` counts in milliseconds, so the last one before a message is waited for actively.
const COARSE_NANOS: u64 = 1_500_000;

/// The messages of one thread in the order of their times.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// The pairs of this thread: `first`, `first + step`, and so on.
    first: usize,
    step: usize,
    pairs: u64,
    start: u64,
    interval_nanos: f64,
    issued: u64,
    /// How much later than intended the messages were handed out.
    pub(crate) lag: Histogram,
}

impl Schedule {
    /// Makes the schedule of `thread`, whose first message is due at `start` nanoseconds.
    pub(crate) fn new(args: &BenchArgs, thread: usize, start: u64) -> Self {
        let step = usize::from(args.threads);
        let pairs = (thread..args.clients()).step_by(step).count() as u64;
        let rate = args.rate * pairs as f64 / args.clients() as f64;
        let interval_nanos = 1e9 / rate;
        Self { first: thread, step, pairs, start, interval_nanos, issued: 0, lag: Histogram::new() }
    }

    /// Returns the next message that is due at `now`: its publisher and its intended time.
    pub(crate) fn next(&mut self, now: u64) -> Option<(usize, u64)> {
        let due = self.next_due()?;
        if due > now {
            return None;
        }
        let publisher = self.first + (self.issued % self.pairs) as usize * self.step;
        self.issued += 1;
        self.lag.record(now - due);
        Some((publisher, due))
    }

    /// Returns how long to wait for events at `now` without being late for the next message.
    pub(crate) fn wait(&self, now: u64) -> Duration {
        let due = self.next_due().unwrap_or(u64::MAX);
        let left = due.saturating_sub(now).saturating_sub(COARSE_NANOS);
        Duration::from_millis((left / 1_000_000).min(20))
    }

    fn next_due(&self) -> Option<u64> {
        let offset = self.issued as f64 * self.interval_nanos;
        (self.pairs > 0).then(|| self.start + offset as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::args::tests::parse;
    use super::*;

    fn schedule(line: &str, thread: usize) -> Schedule {
        Schedule::new(&parse(line).unwrap(), thread, 1_000)
    }

    #[test]
    fn messages_are_due_at_fixed_times_in_turn() {
        let mut schedule = schedule("latency --clients 2 --rate 1000", 0);
        assert_eq!(schedule.next(999), None);
        assert_eq!(schedule.next(1_000), Some((0, 1_000)));
        assert_eq!(schedule.next(1_000_999), None);
        assert_eq!(schedule.next(1_001_000), Some((1, 1_001_000)));
        assert_eq!(schedule.next(2_001_000), Some((0, 2_001_000)));
    }

    #[test]
    fn a_late_sender_keeps_the_intended_times() {
        let mut schedule = schedule("latency --clients 1 --rate 1000", 0);
        let late: Vec<u64> =
            std::iter::from_fn(|| schedule.next(3_501_000)).map(|(_, due)| due).collect();
        assert_eq!(late, [1_000, 1_001_000, 2_001_000, 3_001_000]);
        assert_eq!(schedule.lag.max(), 3_500_000);
    }

    #[test]
    fn threads_share_the_rate_and_the_pairs() {
        let mut schedule = schedule("latency --clients 3 --rate 3000 --threads 2", 1);
        assert_eq!(schedule.next(u64::MAX / 2), Some((1, 1_000)));
        assert_eq!(schedule.next(u64::MAX / 2), Some((1, 1_001_000)));
    }

    #[test]
    fn waiting_is_coarse_only_while_there_is_time() {
        let schedule = schedule("latency --clients 1 --rate 1", 0);
        assert_eq!(schedule.wait(0), Duration::ZERO);
        let mut later = schedule;
        later.next(1_000);
        assert_eq!(later.wait(1_000), Duration::from_millis(20));
        assert_eq!(later.wait(1_000_000_000 - 4_000_000), Duration::from_millis(2));
        assert_eq!(later.wait(1_000_000_000), Duration::ZERO);
    }
}
