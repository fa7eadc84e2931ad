//! A slow disk for a broker process: a library in front of the C library's `fsync` and `fdatasync`.
//! The broker itself knows nothing of it.
//!
//! ```ignore
//! let disk = SlowDisk::new(&directory, Pace::each(8));   // 8 ms for each sync
//! disk.slow_down(&mut command);                          // before `command.spawn()`
//! disk.set(Pace::each(60_000));                          // whatever is not synced now is not
//! disk.set(Pace::NORMAL);                                // now it is
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::preload::preload;

/// How long a sync takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// How long each sync takes, in milliseconds, in addition to what this machine's disk takes.
    pub(crate) each_ms: u32,
    /// One in this many syncs stalls; 0: none does.
    pub(crate) stall_every: u32,
    /// How long a stalled sync takes, in milliseconds.
    pub(crate) stall_ms: u32,
}

/// The pace of the disk that some processes see. It can be changed at any time, even during a sync.
#[derive(Debug)]
pub(crate) struct SlowDisk {
    file: PathBuf,
}

impl Pace {
    /// The pace of this machine's own disk.
    pub(crate) const NORMAL: Self = Self::each(0);

    pub(crate) const fn each(each_ms: u32) -> Self {
        Self { each_ms, stall_every: 0, stall_ms: 0 }
    }

    /// Makes one in `stall_every` syncs take `stall_ms`.
    pub(crate) const fn with_stalls(self, stall_every: u32, stall_ms: u32) -> Self {
        Self { stall_every, stall_ms, ..self }
    }
}

impl SlowDisk {
    /// Keeps the pace in a file of this directory.
    pub(crate) fn new(directory: &Path, pace: Pace) -> Self {
        let disk = Self { file: directory.join("sync-pace") };
        disk.set(pace);
        disk
    }

    /// Changes the pace. The file is replaced atomically, so that nobody reads half of it.
    pub(crate) fn set(&self, Pace { each_ms, stall_every, stall_ms }: Pace) {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{each_ms} {stall_every} {stall_ms}\n")).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }

    /// Waits until a sync is under way: later data is not even written before that sync ends.
    pub(crate) fn wait_until_busy(&self) {
        let busy = self.file.with_extension("busy");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !busy.exists() {
            assert!(Instant::now() < deadline, "nothing is synced");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Makes the process that this command starts see the slow disk.
    pub(crate) fn slow_down(&self, command: &mut Command) {
        preload(command, "slow_sync");
        command.env("MIDGE_TEST_SYNC_FILE", &self.file);
    }
}
