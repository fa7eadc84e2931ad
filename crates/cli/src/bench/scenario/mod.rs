//! The scenarios: what a thread does from the first CONNECT to the last DISCONNECT.

pub(crate) mod connect;
pub(crate) mod drain;
pub(crate) mod idle;
mod schedule;
mod sessions;
pub(crate) mod traffic;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::args::BenchArgs;
use super::error::BenchError;
use super::generator::progress::Progress;
use super::measure::process::Usage;

/// The counters of a thread at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) at: Option<Instant>,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// The usage of the broker and of the generator; only the first thread takes it.
    pub(crate) usage: Option<(Usage, Usage)>,
}

impl Snapshot {
    /// Takes the counters of `thread` now.
    pub(crate) fn take(
        args: &BenchArgs,
        thread: usize,
        sent: u64,
        delivered: u64,
    ) -> Result<Self, BenchError> {
        let usage = match thread {
            0 => Some((Usage::of(&args.pids)?, Usage::of(&["self"])?)),
            _ => None,
        };
        Ok(Self { at: Some(Instant::now()), sent, delivered, usage })
    }
}

/// A barrier that gives up when a thread has failed, because that thread would never arrive.
#[derive(Debug)]
pub(crate) struct Gate {
    threads: usize,
    arrived: AtomicUsize,
}

impl Gate {
    pub(crate) fn new(threads: usize) -> Self {
        Self { threads, arrived: AtomicUsize::new(0) }
    }

    /// Waits until all threads are here. It may be used again.
    pub(crate) fn pass(&self, progress: &Progress) -> Result<(), BenchError> {
        let ticket = self.arrived.fetch_add(1, Relaxed);
        let round_end = (ticket / self.threads + 1) * self.threads;
        while self.arrived.load(Relaxed) < round_end {
            if progress.has_failed() {
                return Err(BenchError::run("another thread has failed"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_opens_for_all_and_again() {
        let progress = Progress::new(2, 0, vec![]);
        let gate = Gate::new(2);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| gate.pass(&progress).and_then(|()| gate.pass(&progress)));
            gate.pass(&progress).unwrap();
            gate.pass(&progress).unwrap();
            other.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_gate_does_not_wait_for_a_thread_that_failed() {
        let progress = Progress::new(2, 0, vec![]);
        progress.fail();
        assert!(Gate::new(2).pass(&progress).is_err());
    }
}
