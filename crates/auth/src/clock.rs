//! The time, as members of the chain see it: an argument, so that tests need not wait.

use std::time::{Duration, Instant, SystemTime};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time since the beginning of 1970, as the machine has it set.
    fn since_1970(&self) -> Duration;

    /// The time since some moment in the past. It never goes back, and nobody sets it.
    fn monotonic(&self) -> Duration;
}

/// The clocks of the machine.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
}

impl SystemClock {
    /// The clocks of the machine; [`Clock::monotonic`] begins now.
    pub fn new() -> Self {
        Self { began: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn since_1970(&self) -> Duration {
        // A clock that is set to a time before 1970 is not set at all.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}
