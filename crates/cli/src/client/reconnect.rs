//! One Network Connection after another: when a command connects again, and after how long.
//!
//! A [`Course`] is what a command does with a connection; [`ClientError`] says which errors may be
//! over in a moment. Nothing here may know Control Packets.

use std::time::{Duration, Instant};

use clap::ValueEnum;

use super::driver::{Driver, Wake};
use super::error::ClientError;
use super::random;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// When to connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Retry {
    Never,
    Lost,
    Always,
}

/// What a command does, over as many connections as it takes.
pub(crate) trait Course {
    /// Goes on with a connection that the broker has just accepted.
    fn run(&mut self, driver: &mut Driver) -> Result<(), ClientError>;

    /// Prepares for some time without a connection.
    fn pause(&mut self) -> Result<(), ClientError>;

    /// What to say when the time of `-W` is over.
    fn timed_out(&self, driver: &mut Driver) -> ClientError;
}

/// Connects and runs `course`, again and again if `retry` says so, until it ends for another reason
/// than a lost connection.
pub(crate) fn run(
    course: &mut impl Course,
    driver: &mut Driver,
    retry: Retry,
    deadline: Option<Instant>,
) -> Result<(), ClientError> {
    let mut pauses = Pauses::default();
    let mut was_connected = false;
    loop {
        let mut connected_at = None;
        let outcome = driver.connect(deadline).and_then(|()| {
            connected_at = Some(Instant::now());
            course.run(driver)
        });
        let message = match outcome {
            Err(ClientError::Connection { message, transient: true }) => message,
            outcome => return outcome,
        };
        was_connected |= connected_at.is_some();
        let retries = match retry {
            Retry::Never => false,
            Retry::Lost => was_connected,
            Retry::Always => true,
        };
        if !retries {
            return Err(ClientError::transient(message));
        }
        course.pause()?;
        let lasted = connected_at.map_or(Duration::ZERO, |time| time.elapsed());
        let pause = pauses.next(lasted, random::fraction());
        let seconds = pause.as_secs_f64();
        driver.terminal().warning(&format!("{message}. Connecting again in {seconds:.1} s"));
        let end = Instant::now() + pause;
        let over = deadline.filter(|deadline| *deadline < end);
        while !matches!(driver.wait(Some(over.unwrap_or(end)))?, Wake::Deadline) {}
        if over.is_some() {
            return Err(course.timed_out(driver));
        }
    }
}

/// Pauses that double from one attempt to the next. Each is shortened at random, so that the
/// Clients of a broker do not all come back at the same moment.
#[derive(Debug)]
struct Pauses {
    longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { longest: PAUSE_MIN }
    }
}

impl Pauses {
    /// Returns the pause after a connection that lasted this long; `fraction`, from 0 to 1, is
    /// random. If the connection lasted longer than this pause could be, the pauses start again
    /// with the shortest.
    fn next(&mut self, lasted: Duration, fraction: f64) -> Duration {
        if lasted > self.longest {
            self.longest = PAUSE_MIN;
        }
        let pause = self.longest.mul_f64(0.5 + fraction / 2.0);
        self.longest = (self.longest * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_connection_holds() {
        let mut pauses = Pauses::default();
        let mut next =
            |lasted, fraction| pauses.next(Duration::from_secs(lasted), fraction).as_secs_f64();
        // A broker that accepts and ends connections at once is not asked every second.
        for (lasted, expected) in [(0, 1.0), (1, 2.0), (0, 4.0), (8, 8.0), (0, 16.0), (0, 30.0)] {
            assert_eq!(next(lasted, 1.0), expected);
        }
        assert_eq!(next(0, 0.0), 15.0);
        assert_eq!(next(31, 0.0), 0.5);
        assert_eq!(next(0, 0.5), 1.5);
    }
}
