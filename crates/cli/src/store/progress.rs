//! How far a long task has come: one line on standard error that is overwritten, if that is a
//! terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use midge_store::tools::Progress;

/// Work shorter than this shows no progress.
const PATIENCE: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(100);

/// The line.
pub(super) struct ProgressLine {
    is_terminal: bool,
    due_at: Instant,
    is_shown: bool,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            due_at: Instant::now() + PATIENCE,
            is_shown: false,
        }
    }

    pub(super) fn tell(&mut self, progress: Progress) {
        let now = Instant::now();
        if !self.is_terminal || now < self.due_at {
            return;
        }
        self.due_at = now + INTERVAL;
        self.is_shown = true;
        let Progress { what, done, total } = progress;
        let so_far = match total {
            None => done.to_string(),
            Some(0) => "100 %".to_string(),
            Some(total) => format!("{} %", u128::from(done.min(total)) * 100 / u128::from(total)),
        };
        let _ = write!(io::stderr().lock(), "\r\x1b[K{what}: {so_far}");
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
