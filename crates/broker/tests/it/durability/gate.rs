//! A disk that stands still at a moment that the test chooses, as if the process were killed: what
//! the broker has done by then is done, and nothing follows.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use midge_broker::{Disk, DiskFile};
use midge_store::testing::FaultyDisk;

/// A gate between a broker and its [`FaultyDisk`].
#[derive(Clone)]
pub(crate) struct GatedDisk(Arc<Gate>);

/// How long syncs take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// How long each sync takes, in milliseconds.
    pub(crate) sync_ms: u64,
    /// One in this many syncs stalls; 0: none does.
    pub(crate) stall_every: u64,
    /// How long a stalled sync takes, in milliseconds.
    pub(crate) stall_ms: u64,
}

/// The disk stands still until this is dropped.
#[must_use]
pub(crate) struct Stall(GatedDisk);

struct Gate {
    disk: FaultyDisk,
    state: Mutex<State>,
    opened: Condvar,
    pace: Mutex<Pace>,
    syncs: AtomicU64,
}

#[derive(Default)]
struct State {
    stage: Stage,
    files: u64,
    /// For each open file, when its first unsynced write was made.
    unsynced: HashMap<u64, Instant>,
    /// The oldest unsynced write when a sync failed: those writes will never reach the device.
    failed_since: Option<Instant>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// Every operation waits.
    Shut,
    /// Every operation fails.
    Gone,
}

impl Pace {
    pub(crate) const fn each(sync_ms: u64) -> Self {
        Self { sync_ms, stall_every: 0, stall_ms: 0 }
    }

    /// Makes one in `stall_every` syncs take `stall_ms`.
    pub(crate) const fn with_stalls(self, stall_every: u64, stall_ms: u64) -> Self {
        Self { stall_every, stall_ms, ..self }
    }
}

impl GatedDisk {
    pub(crate) fn new(disk: FaultyDisk) -> Self {
        let (state, opened, pace) = (Mutex::default(), Condvar::new(), Mutex::default());
        Self(Arc::new(Gate { disk, state, opened, pace, syncs: AtomicU64::new(0) }))
    }

    pub(crate) fn faults(&self) -> &FaultyDisk {
        &self.0.disk
    }

    /// Slows syncs down from now on. The disk may be shut meanwhile.
    pub(crate) fn slow_down(&self, pace: Pace) {
        *self.0.pace.lock().unwrap() = pace;
    }

    /// Lets nothing reach the disk from now on.
    pub(crate) fn shut(&self) {
        self.0.state().stage = Stage::Shut;
    }

    /// As [`GatedDisk::shut`], until the return value is dropped; then everything continues as if
    /// nothing had happened. So a test that fails meanwhile does not wait forever for its broker to
    /// end.
    pub(crate) fn stall(&self) -> Stall {
        self.shut();
        Stall(Self(Arc::clone(&self.0)))
    }

    /// Lets the waiting operations go on, with an error.
    pub(crate) fn break_off(&self) {
        self.0.state().stage = Stage::Gone;
        self.0.opened.notify_all();
    }

    /// Returns when the oldest write was made that may not be on the device.
    pub(crate) fn unsynced_since(&self) -> Option<Instant> {
        let state = self.0.state();
        state.failed_since.or_else(|| state.unsynced.values().min().copied())
    }

    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let mut state = self.0.state();
        state.files += 1;
        Box::new(GatedFile { gate: Arc::clone(&self.0), file, number: state.files })
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        let gate = &self.0.0;
        gate.state().stage = Stage::Open;
        gate.opened.notify_all();
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn take_time(&self) {
        let number = self.syncs.fetch_add(1, Ordering::Relaxed) + 1;
        let Pace { sync_ms, stall_every, stall_ms } = *self.pace.lock().unwrap();
        let stalls = stall_every > 0 && number.is_multiple_of(stall_every);
        thread::sleep(Duration::from_millis(if stalls { stall_ms } else { sync_ms }));
    }

    /// Runs one operation at a time, so that the gate is shut between two of them.
    fn pass<T>(&self, run: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let state = self.state();
        let waited = self.opened.wait_while(state, |state| state.stage == Stage::Shut);
        let mut state = waited.unwrap();
        match state.stage {
            Stage::Gone => Err(io::Error::other("the process has ended")),
            _ => run(&mut state),
        }
    }
}

impl Disk for GatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.pass(|_| self.0.disk.list())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let created = self.0.pass(|_| self.0.disk.create(name));
        created.map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let opened = self.0.pass(|_| self.0.disk.open(name));
        opened.map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.pass(|_| self.0.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.pass(|_| self.0.disk.remove(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.take_time();
        self.0.pass(|_| self.0.disk.sync_directory())
    }
}

struct GatedFile {
    gate: Arc<Gate>,
    file: Box<dyn DiskFile>,
    number: u64,
}

impl DiskFile for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.gate.pass(|_| self.file.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.gate.pass(|_| self.file.read_at(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.gate.pass(|state| {
            state.unsynced.entry(self.number).or_insert_with(Instant::now);
            self.file.write_at(bytes, offset)
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.gate.pass(|_| self.file.allocate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.take_time();
        self.gate.pass(|state| {
            let synced = self.file.sync_data();
            match synced {
                Ok(()) => drop(state.unsynced.remove(&self.number)),
                Err(_) => state.failed_since = state.unsynced.values().min().copied(),
            }
            synced
        })
    }
}

impl Drop for GatedFile {
    fn drop(&mut self) {
        self.gate.state().unsynced.remove(&self.number);
    }
}
