//! A clock that a test sets for a broker process, and boots that did not happen: a library in front
//! of the C library's `clock_gettime` and `open`. The broker itself knows nothing of it. What it
//! counts as uptime is the machine's own.
//!
//! ```ignore
//! let clock = SetClock::new(&directory);     // as the machine's
//! clock.apply(&mut command);                 // before `command.spawn()`
//! clock.put_forward(900 * DAY_MS);           // the process sees it at once
//! clock.boot();                              // the next process sees a machine that was started
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::preload::preload;

/// The time of day as some processes see it.
#[derive(Debug)]
pub(crate) struct SetClock {
    /// The file with the milliseconds by which the clock is ahead of the machine's.
    file: PathBuf,
    ahead_ms: i64,
    boots: u32,
}

impl SetClock {
    /// Keeps the time in files of this directory.
    pub(crate) fn new(directory: &Path) -> Self {
        let clock = Self { file: directory.join("clock"), ahead_ms: 0, boots: 0 };
        clock.write("", &clock.ahead_ms.to_string());
        clock
    }

    /// Moves the clock forward by this many milliseconds, or back if negative.
    pub(crate) fn put_forward(&mut self, millis: i64) {
        self.ahead_ms += millis;
        self.write("", &self.ahead_ms.to_string());
    }

    /// Sets the clock to what a machine without a battery shows when it starts.
    pub(crate) fn forget(&mut self) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.put_forward(-self.ahead_ms - i64::try_from(since_epoch.as_millis()).unwrap());
    }

    /// Makes processes that are started from now on see a restarted machine.
    pub(crate) fn boot(&mut self) {
        self.boots += 1;
        self.write("boot_id", &format!("00000000-0000-4000-8000-{:012x}", self.boots));
    }

    /// Makes the process that this command starts see this clock.
    pub(crate) fn apply(&self, command: &mut Command) {
        preload(command, "set_clock");
        command.env("MIDGE_TEST_CLOCK_FILE", &self.file);
    }

    /// Replaces a file atomically, so that nobody reads half of it.
    fn write(&self, extension: &str, text: &str) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{text}\n")).unwrap();
        fs::rename(&new, self.file.with_extension(extension)).unwrap();
    }
}
