//! What all threads of a run know about each other: how many messages of each publisher have
//! reached their receivers.
//!
//! Each thread writes only its own counters, so that counting costs no locked instruction. A
//! publisher sums them over the threads or, if each message goes to everybody, takes the slowest.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counters that are shared between threads.
#[derive(Debug)]
pub(crate) struct Progress {
    /// By thread, then by publisher.
    done: Vec<Vec<AtomicU64>>,
    /// Threads whose subscribers all have to get each message; empty if one receiver is enough.
    broadcast_to: Vec<usize>,
    /// By publisher: how many messages it has sent in all, once it has finished.
    sent: Vec<AtomicU64>,
    finished: AtomicUsize,
    delivered: Vec<AtomicU64>,
    failed: AtomicBool,
}

impl Progress {
    /// Makes counters for `threads` threads and `publishers` publishers.
    pub(crate) fn new(threads: usize, publishers: usize, broadcast_to: Vec<usize>) -> Self {
        let zeroes = |count| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
        Self {
            done: (0..threads).map(|_| zeroes(publishers)).collect(),
            broadcast_to,
            sent: zeroes(publishers),
            finished: AtomicUsize::new(0),
            delivered: zeroes(threads),
            failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn publishers(&self) -> usize {
        self.sent.len()
    }

    /// Counts `count` more messages of `publisher` that were received in `thread`, the caller's
    /// own.
    #[inline]
    pub(crate) fn credit(&self, thread: usize, publisher: usize, count: u64) {
        let done = &self.done[thread][publisher];
        done.store(done.load(Relaxed) + count, Relaxed);
    }

    /// Returns how many messages of `publisher` have reached all of their receivers.
    #[inline]
    pub(crate) fn done(&self, publisher: usize) -> u64 {
        let of = |thread: usize| self.done[thread][publisher].load(Relaxed);
        match self.broadcast_to.as_slice() {
            [] => (0..self.done.len()).map(of).sum(),
            threads => threads.iter().map(|&thread| of(thread)).min().unwrap_or(0),
        }
    }

    /// Notes that `publisher` has sent all that it will send.
    pub(crate) fn finish(&self, publisher: usize, sent: u64) {
        self.sent[publisher].store(sent, Relaxed);
        self.finished.fetch_add(1, Relaxed);
    }

    /// Whether all publishers have finished and all of their messages have arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.finished.load(Relaxed) == self.sent.len()
            && (0..self.sent.len()).all(|index| self.done(index) >= self.sent[index].load(Relaxed))
    }

    /// Notes, for the progress line, that `thread` has seen this many deliveries.
    pub(crate) fn report_delivered(&self, thread: usize, delivered: u64) {
        self.delivered[thread].store(delivered, Relaxed);
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Notes that a thread has failed, so that the others need not go on. Returns `true` if another
    /// one had failed before.
    pub(crate) fn fail(&self) -> bool {
        self.failed.swap(true, Relaxed)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }
}

/// Finds out when all members of a broadcast have a message, from the number that each of them has.
#[derive(Debug, Default)]
pub(crate) struct Completion {
    members: u64,
    complete: u64,
    /// For each message after the complete ones: how many members have it.
    reached: VecDeque<u64>,
}

impl Completion {
    pub(crate) fn add_member(&mut self) {
        self.members += 1;
    }

    /// Notes that a member has received its `nth` message (from 1). Returns how many messages
    /// became complete by that.
    #[inline]
    pub(crate) fn advance(&mut self, nth: u64) -> u64 {
        let index = (nth - self.complete - 1) as usize;
        if index >= self.reached.len() {
            self.reached.resize(index + 1, 0);
        }
        self.reached[index] += 1;
        let mut completed = 0;
        while self.reached.front() == Some(&self.members) {
            self.reached.pop_front();
            completed += 1;
        }
        self.complete += completed;
        completed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_of_all_threads_add_up() {
        let progress = Progress::new(2, 3, vec![]);
        progress.credit(0, 1, 5);
        progress.credit(1, 1, 2);
        progress.credit(1, 1, 1);
        assert_eq!((progress.done(0), progress.done(1)), (0, 8));
    }

    #[test]
    fn a_broadcast_is_as_far_as_its_slowest_thread() {
        let progress = Progress::new(3, 1, vec![0, 2]);
        progress.credit(0, 0, 9);
        assert_eq!(progress.done(0), 0);
        progress.credit(2, 0, 4);
        assert_eq!(progress.done(0), 4);
    }

    #[test]
    fn a_run_is_complete_when_all_have_finished_and_all_has_arrived() {
        let progress = Progress::new(1, 2, vec![]);
        progress.finish(0, 0);
        assert!(!progress.is_complete());
        progress.finish(1, 3);
        progress.credit(0, 1, 2);
        assert!(!progress.is_complete());
        progress.credit(0, 1, 1);
        assert!(progress.is_complete());
    }

    #[test]
    fn a_message_is_complete_when_the_last_member_has_it() {
        let mut completion = Completion::default();
        (0..3).for_each(|_| completion.add_member());
        assert_eq!(completion.advance(1), 0);
        assert_eq!(completion.advance(2), 0);
        assert_eq!(completion.advance(1), 0);
        assert_eq!(completion.advance(2), 0);
        assert_eq!(completion.advance(1), 1);
        assert_eq!(completion.advance(2), 1);
        assert_eq!(completion.advance(3), 0);
    }
}
