//! Tells in which calls of a process this machine's own disk took long: a test that judges times
//! must not take a slow disk for a slow broker. The broker itself knows nothing of it.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::Command;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::common::preload::preload;

/// As in `disk_calls.c`: the number of calls, since when each thread is in one, and the calls.
const THREADS_MAX: u64 = 64;
const CALLS_MAX: u64 = 4096;
const CALLS_AT: u64 = 8 * (1 + THREADS_MAX);
const CALL_BYTES: u64 = 16;

/// The calls of one process after the other. They are in a file that has no name and needs no disk.
#[derive(Debug)]
pub(crate) struct DiskCalls {
    file: File,
}

/// A call that took long, in microseconds of the machine's monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskCall {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

impl DiskCalls {
    /// From which duration on a call is written down; as in `disk_calls.c`.
    pub(crate) const LONG_MICROS: u64 = 250_000;

    pub(crate) fn new() -> Self {
        let file: OwnedFd = memfd_create(c"disk-calls", MFdFlags::MFD_CLOEXEC).unwrap();
        let file = File::from(file);
        file.set_len(CALLS_AT + CALLS_MAX * CALL_BYTES).unwrap();
        Self { file }
    }

    /// Makes the process that this command starts write its calls down. The delays of a library
    /// that is preloaded earlier count as delays of the disk; those of a later one do not.
    pub(crate) fn watch(&self, command: &mut Command) {
        preload(command, "disk_calls");
        let path = format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd());
        command.env("MIDGE_TEST_DISK_CALLS", path);
    }

    /// Returns the calls that took long and are over, except the first `known` of them. A call that
    /// the end of its process cut off lasts until the next process starts.
    ///
    /// # Panics
    ///
    /// There were so many that some were not written down.
    pub(crate) fn took_long(&self, known: usize) -> Vec<DiskCall> {
        let number = self.read(0);
        assert!(number <= CALLS_MAX, "{number} calls of the disk took long");
        let call = |place| {
            let at = CALLS_AT + place * CALL_BYTES;
            DiskCall { from: self.read(at), until: self.read(at + 8) }
        };
        let calls = (known as u64..number).map(call);
        // The number comes first: the last ones may not be written yet.
        calls.take_while(|it| it.until > 0).collect()
    }

    fn read(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_ne_bytes(bytes)
    }
}
