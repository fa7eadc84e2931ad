//! The one clock: Unix time when the broker started, advanced by the monotonic clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use midge_core::Timestamp;

/// Gives the core its time. Setting the machine's clock does not move it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_at_millis: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_at_millis: since_epoch.as_millis() as u64 }
    }

    pub(crate) fn now(self) -> Timestamp {
        let elapsed = self.started.elapsed().as_millis() as u64;
        Timestamp::from_millis(self.started_at_millis + elapsed)
    }
}
