//! How busy the present thread is: which part of the time it has something to do.
//!
//! Linux says how long a thread has run, and how long it has waited for a processor (`schedstat`).
//! What it waits says nothing about what it has to do, so that time does not count: a thread that
//! never sleeps is busy, however little it gets, and one that seldom runs is not, however long it
//! waits. Where that cannot be read, the time counts in which it did not wait for something to do.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Measures one thread, which makes and asks it.
#[derive(Debug)]
pub(crate) struct BusyMeter {
    schedstat: Option<File>,
    /// When it was asked last, and what the thread had used by then.
    asked: Instant,
    used: Used,
    /// How long the thread was awake, until it went to sleep last.
    awake: Duration,
    woken: Instant,
}

/// How long a thread has run, and waited for a processor.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    ran: Duration,
    waited: Duration,
}

impl BusyMeter {
    const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

    /// Makes a meter of this thread.
    pub(crate) fn of_this_thread() -> Self {
        Self::reading(File::open(Self::SCHEDSTAT).ok())
    }

    fn reading(schedstat: Option<File>) -> Self {
        let now = Instant::now();
        let (awake, used) = (Duration::ZERO, Used::default());
        let mut meter = Self { schedstat, asked: now, used, awake, woken: now };
        meter.used = meter.used_until(now);
        meter
    }

    /// Notes that the thread is about to wait.
    pub(crate) fn sleep(&mut self) {
        if self.schedstat.is_none() {
            self.sleep_at(Instant::now());
        }
    }

    /// Notes that the thread goes on.
    pub(crate) fn wake(&mut self) {
        if self.schedstat.is_none() {
            self.wake_at(Instant::now());
        }
    }

    fn sleep_at(&mut self, now: Instant) {
        self.awake += now.saturating_duration_since(self.woken);
        self.woken = now;
    }

    fn wake_at(&mut self, now: Instant) {
        self.woken = now;
    }

    /// Returns which part of the time since it was asked last the thread was busy, in thousandths.
    pub(crate) fn ask(&mut self, now: Instant) -> u32 {
        let used = self.used_until(now);
        let ran = used.ran.saturating_sub(self.used.ran);
        let waited = used.waited.saturating_sub(self.used.waited);
        let period = now.saturating_duration_since(self.asked);
        let own = period.saturating_sub(waited).max(period / 10).as_micros().max(1);
        (self.asked, self.used) = (now, used);
        u32::try_from(ran.as_micros() * 1000 / own).unwrap_or(u32::MAX).min(1000)
    }

    fn used_until(&mut self, now: Instant) -> Used {
        let read = self.schedstat.as_ref().and_then(read_schedstat);
        if read.is_none() {
            self.schedstat = None; // from now on the same measure is used
        }
        let awake = self.awake + now.saturating_duration_since(self.woken);
        read.unwrap_or(Used { ran: awake, waited: Duration::ZERO })
    }
}

/// The first two numbers are the time that the thread has run and the time that it has waited for a
/// processor, in nanoseconds.
fn read_schedstat(file: &File) -> Option<Used> {
    let mut bytes = [0; 64];
    let count = file.read_at(&mut bytes, 0).ok()?;
    let text = std::str::from_utf8(&bytes[..count]).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(|it| it.parse().ok());
    let [ran, waited] = [numbers.next()??, numbers.next()??].map(Duration::from_nanos);
    (ran > Duration::ZERO).then_some(Used { ran, waited })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, Instant};

    use super::BusyMeter;

    #[test]
    fn without_schedstat_the_time_between_waits_counts() {
        for file in [None, File::open("/proc/self/comm").ok()] {
            let mut meter = BusyMeter::reading(file);
            let begun = meter.asked;
            let at = |millis| begun + Duration::from_millis(millis);
            meter.sleep_at(at(30));
            meter.wake_at(at(80));
            assert_eq!(meter.ask(at(100)), 500);
            meter.sleep_at(at(100));
            meter.wake_at(at(200));
            assert_eq!(meter.ask(at(200)), 0);
            assert_eq!(meter.ask(at(300)), 1000);
        }
    }

    #[test]
    fn a_thread_that_works_is_busy() {
        let mut meter = BusyMeter::of_this_thread();
        let begun = Instant::now();
        let mut sum = 0_u64;
        while begun.elapsed() < Duration::from_millis(50) {
            sum = sum.wrapping_add(1);
        }
        assert!(sum > 0 && meter.ask(Instant::now()) > 0);
    }
}
