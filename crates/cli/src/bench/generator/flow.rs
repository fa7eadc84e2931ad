//! What a thread knows about the flow of messages: what arrived, and which publishers may go on.

use std::sync::Arc;
use std::time::Instant;

use super::super::error::BenchError;
use super::super::measure::histogram::Histogram;
use super::progress::{Completion, Progress};

/// What is timed in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timed {
    /// Whether messages carry the time at which they were to be sent.
    pub(crate) deliveries: bool,
    /// Whether the broker acknowledges messages.
    pub(crate) acknowledgements: bool,
}

/// The counters and to-do lists of one thread.
#[derive(Debug)]
pub(crate) struct Flow {
    thread: usize,
    threads: usize,
    pub(crate) progress: Arc<Progress>,
    pub(crate) completion: Completion,
    /// Messages that arrived.
    pub(crate) delivered: u64,
    /// QoS 2 messages that arrived again, which must not happen.
    pub(crate) duplicates: u64,
    /// From the intended time of sending to the arrival.
    pub(crate) latency: Histogram,
    /// From writing a message above QoS 0 to its PUBACK or PUBREC.
    pub(crate) acknowledgement: Histogram,
    /// The time of the current read, if anything is timed; nanoseconds since `base`.
    pub(crate) now: u64,
    pub(crate) timed: Timed,
    base: Instant,
    /// Publishers of this thread whose window may have opened.
    due: Vec<usize>,
    is_due: Vec<bool>,
    /// Threads with a publisher whose window may have opened.
    waiting_threads: Vec<bool>,
}

impl Flow {
    /// Makes a flow. `base` is the zero of all time stamps of the run.
    pub(crate) fn new(
        thread: usize,
        threads: usize,
        progress: Arc<Progress>,
        base: Instant,
        timed: Timed,
    ) -> Self {
        let publishers = progress.publishers();
        Self {
            thread,
            threads,
            progress,
            completion: Completion::default(),
            delivered: 0,
            duplicates: 0,
            latency: Histogram::new(),
            acknowledgement: Histogram::new(),
            now: 0,
            timed,
            base,
            due: Vec::with_capacity(publishers),
            is_due: vec![false; publishers],
            waiting_threads: vec![false; threads],
        }
    }

    /// Reads the clock if anything is timed.
    #[inline]
    pub(crate) fn note_time(&mut self) {
        if self.timed.deliveries || self.timed.acknowledgements {
            self.now = self.elapsed_nanos();
        }
    }

    /// Records that the current read acknowledges a message that was written at this time.
    #[inline]
    pub(crate) fn acknowledge(&mut self, written_at: u64) {
        self.acknowledgement.record(self.now.saturating_sub(written_at));
    }

    /// Forgets the times that were measured so far.
    pub(crate) fn reset_times(&mut self) {
        self.latency = Histogram::new();
        self.acknowledgement = Histogram::new();
    }

    /// Returns the time on the clock of the stamps.
    pub(crate) fn elapsed_nanos(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    /// Notes that the publisher `index` may have something to send. Publishers are dealt to the
    /// threads in turn; a publisher of another thread is left to that thread.
    #[inline]
    pub(crate) fn mark_due(&mut self, index: usize) {
        let owner = index % self.threads;
        if owner != self.thread {
            self.waiting_threads[owner] = true;
        } else if !self.is_due[index] {
            self.is_due[index] = true;
            self.due.push(index);
        }
    }

    /// Marks all publishers of this thread.
    pub(crate) fn mark_all_due(&mut self) {
        for index in (self.thread..self.is_due.len()).step_by(self.threads) {
            self.mark_due(index);
        }
    }

    /// Takes the next publisher off the list.
    #[inline]
    pub(crate) fn next_due(&mut self) -> Option<usize> {
        let index = self.due.pop()?;
        self.is_due[index] = false;
        Some(index)
    }

    /// Returns the next thread that has to be woken.
    pub(crate) fn next_waiting_thread(&mut self) -> Option<usize> {
        let thread = self.waiting_threads.iter().position(|&waits| waits)?;
        self.waiting_threads[thread] = false;
        Some(thread)
    }

    /// Notes that `count` messages of `publisher` have arrived.
    #[inline]
    pub(crate) fn credit(&mut self, publisher: usize, count: u64) {
        if count > 0 {
            self.progress.credit(self.thread, publisher, count);
            self.mark_due(publisher);
        }
    }

    /// Notes that a message with this mark has arrived.
    #[inline]
    pub(crate) fn credit_marked(&mut self, mark: usize) -> Result<(), BenchError> {
        if mark >= self.is_due.len() {
            return Err(BenchError::run("a message is marked with a publisher that there is not"));
        }
        self.credit(mark, 1);
        Ok(())
    }

    /// Notes that a subscriber of a broadcast has received its `nth` message.
    #[inline]
    pub(crate) fn reach(&mut self, nth: u64) {
        let completed = self.completion.advance(nth);
        self.credit(0, completed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(thread: usize) -> Flow {
        let progress = Arc::new(Progress::new(2, 4, vec![]));
        Flow::new(thread, 2, progress, Instant::now(), Timed::default())
    }

    #[test]
    fn a_publisher_is_due_once_until_it_is_taken() {
        let mut flow = flow(0);
        flow.credit(2, 3);
        flow.credit(2, 1);
        assert_eq!((flow.next_due(), flow.next_due()), (Some(2), None));
        assert_eq!(flow.progress.done(2), 4);
        flow.credit(2, 0);
        assert_eq!(flow.next_due(), None);
    }

    #[test]
    fn publishers_of_another_thread_are_left_to_it() {
        let mut flow = flow(0);
        flow.credit_marked(3).unwrap();
        assert_eq!(flow.next_due(), None);
        assert_eq!((flow.next_waiting_thread(), flow.next_waiting_thread()), (Some(1), None));
    }

    #[test]
    fn each_thread_marks_its_own() {
        let mut flow = flow(1);
        flow.mark_all_due();
        assert_eq!([flow.next_due(), flow.next_due(), flow.next_due()], [Some(3), Some(1), None]);
        assert_eq!(flow.next_waiting_thread(), None);
    }

    #[test]
    fn acknowledgements_are_timed_by_the_read_that_brought_them() {
        let mut flow = flow(0);
        flow.now = 100;
        flow.acknowledge(40);
        flow.acknowledge(90);
        assert_eq!((flow.acknowledgement.len(), flow.acknowledgement.max()), (2, 60));
        flow.reset_times();
        assert_eq!(flow.acknowledgement.len(), 0);
    }

    #[test]
    fn a_foreign_mark_is_an_error() {
        assert!(flow(0).credit_marked(4).is_err());
    }
}
