//! A disk in memory for tests. It can be cut off at any operation, loses, tears and reorders
//! unsynced writes, runs full, fails to sync, and lets a test change any bit. The same seed and the
//! same calls give the same faults.
//!
//! Every file has two views: what readers see (the cache of the operating system), and what is on
//! the device for sure. Between the two are the operations since the last sync. The same holds for
//! the directory.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Random;
use crate::disk::{Disk, DiskFile};

/// A disk in memory that fails when and how a test says.
#[derive(Debug)]
pub struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    random: Random,
    files: Vec<FileState>,
    /// What readers see, and what is on the device for sure; numbers are places in `files`.
    names: BTreeMap<String, usize>,
    names_synced: BTreeMap<String, usize>,
    /// What has happened to the names since the last sync, in order.
    changes: Vec<NameChange>,
    capacity: u64,
    operations: u64,
    syncs: u64,
    operations_max: Option<u64>,
    sync_fails: bool,
}

#[derive(Clone, Debug, Default)]
struct FileState {
    cached: Vec<u8>,
    synced: Vec<u8>,
    /// What has happened since the last sync, in order.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Create { name: String, file: usize },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl FaultyDisk {
    /// Makes an empty disk without limits.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed))))
    }

    /// Returns the disk as it would be found if the power failed now. This one goes on as it was.
    #[must_use]
    pub fn power_cut(&self) -> Self {
        let mut state = self.state();
        let State { random, files, names_synced, changes, capacity, .. } = &mut *state;
        let mut found = State { capacity: *capacity, ..State::new(random.next()) };
        let mut names = names_synced.clone();
        let survive = random.below(changes.len() + 1);
        for change in &changes[..survive] {
            change.apply(&mut names);
        }
        for (name, file) in names {
            let FileState { synced, changes, .. } = &files[file];
            let mut bytes = synced.clone();
            apply_some(&mut bytes, changes.clone(), random);
            found.names.insert(name, found.files.len());
            found.files.push(FileState::synced(bytes));
        }
        found.names_synced = found.names.clone();
        Self(Arc::new(Mutex::new(found)))
    }

    /// Returns a copy of the disk as it is, including everything unsynced. The two are independent
    /// from here on.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// Makes all operations fail after this many more that change something.
    pub fn cut_after(&self, operations: u64) {
        let mut state = self.state();
        state.operations_max = Some(state.operations + operations);
    }

    /// Returns how many operations have changed something so far.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Returns how many operations were syncs, of files and of the directory.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Sets how many bytes all files may have from now on.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Returns the length of all files.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Makes the next sync of a file's data fail, once. Unsynced data may then be lost or not;
    /// readers may see it although it is not on the device and no later sync puts it there.
    pub fn fail_next_sync(&self) {
        self.state().sync_fails = true;
    }

    /// Returns the names of all files.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// Returns the bytes of a file as readers see them.
    ///
    /// # Errors
    ///
    /// There is no file of this name.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.change(name, |bytes| bytes.clone())
    }

    /// Replaces all bytes of a file, also on the device; creates the file if there is none.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let file = FileState::synced(bytes.to_vec());
        if let Some(known) = state.names.get(name).copied() {
            state.files[known] = file;
        } else {
            let number = state.files.len();
            state.files.push(file);
            state.names.insert(name.to_owned(), number);
            state.names_synced.insert(name.to_owned(), number);
        }
    }

    /// Changes one bit of a file, also on the device.
    ///
    /// # Errors
    ///
    /// There is no file of this name.
    ///
    /// # Panics
    ///
    /// If the file is not that long.
    pub fn flip_bit(&self, name: &str, bit: usize) -> io::Result<()> {
        self.change(name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8))
    }

    /// Cuts a file off, also on the device.
    ///
    /// # Errors
    ///
    /// There is no file of this name.
    pub fn truncate(&self, name: &str, length: usize) -> io::Result<()> {
        self.change(name, |bytes| bytes.truncate(length))
    }

    fn change<T>(&self, name: &str, change: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        let mut state = self.state();
        let number = state.find(name)?;
        let file = &mut state.files[number];
        let before = file.cached.len();
        let copy = file.cached.clone();
        let result = change(&mut file.cached);
        if file.cached.len() != before || file.cached != copy {
            *file = FileState::synced(std::mem::take(&mut file.cached));
        }
        Ok(result)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            files: Vec::new(),
            names: BTreeMap::new(),
            names_synced: BTreeMap::new(),
            changes: Vec::new(),
            capacity: u64::MAX,
            operations: 0,
            syncs: 0,
            operations_max: None,
            sync_fails: false,
        }
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].cached.len() as u64).sum()
    }

    /// Fails if the power is cut.
    fn check(&self) -> io::Result<()> {
        match self.operations_max {
            Some(most) if self.operations >= most => Err(io::Error::other("the power is cut")),
            _ => Ok(()),
        }
    }

    /// Counts an operation that changes something; fails if the power is cut.
    fn count(&mut self) -> io::Result<()> {
        self.check()?;
        self.operations += 1;
        Ok(())
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn change_file(&mut self, file: usize, change: Change) -> io::Result<()> {
        let old = self.files[file].cached.len();
        let new = match &change {
            Change::Write { offset, bytes } => old.max(offset + bytes.len()),
            Change::Length(length) => *length,
        };
        if new > old && self.used() + (new - old) as u64 > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut self.files[file];
        change.apply(&mut file.cached);
        file.changes.push(change);
        Ok(())
    }

    fn sync_file(&mut self, file: usize) -> io::Result<()> {
        let Self { random, files, sync_fails, .. } = self;
        let file = &mut files[file];
        let changes = std::mem::take(&mut file.changes);
        if std::mem::take(sync_fails) {
            apply_some(&mut file.synced, changes, random);
            if random.one_in(2) {
                file.cached = file.synced.clone();
            }
            return Err(io::Error::from_raw_os_error(5));
        }
        for change in changes {
            change.apply(&mut file.synced);
        }
        Ok(())
    }
}

impl FileState {
    fn synced(bytes: Vec<u8>) -> Self {
        Self { cached: bytes.clone(), synced: bytes, changes: Vec::new() }
    }
}

/// Applies some of the changes, in any order, whole or in part.
fn apply_some(bytes: &mut Vec<u8>, mut changes: Vec<Change>, random: &mut Random) {
    random.shuffle(&mut changes);
    for change in changes {
        match random.below(3) {
            0 => {}
            1 => change.apply(bytes),
            _ => change.torn(bytes.len(), random).apply(bytes),
        }
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => to.resize(*length, 0),
        }
    }

    /// Returns a part of the change: the beginning, the end or something in the middle of a write,
    /// or less than the whole change of a length.
    fn torn(self, length_before: usize, random: &mut Random) -> Self {
        match self {
            Self::Write { offset, bytes } => {
                let part = part_of(bytes.len(), random);
                Self::Write { offset: offset + part.start, bytes: bytes[part].to_vec() }
            }
            Self::Length(length) => {
                let (low, high) = (length.min(length_before), length.max(length_before));
                Self::Length(random.within(low..high + 1))
            }
        }
    }
}

fn part_of(length: usize, random: &mut Random) -> Range<usize> {
    let (a, b) = (random.below(length + 1), random.below(length + 1));
    match random.below(3) {
        0 => 0..a,
        1 => a..length,
        _ => a.min(b)..a.max(b),
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.check()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.count()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = state.files.len();
        state.files.push(FileState::default());
        state.change_name(NameChange::Create { name: name.to_owned(), file: number });
        Ok(Box::new(FaultyFile { disk: Arc::clone(&self.0), number }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.state();
        state.check()?;
        let number = state.find(name)?;
        Ok(Box::new(FaultyFile { disk: Arc::clone(&self.0), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.count()?;
        state.find(from)?;
        state.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.count()?;
        state.find(name)?;
        state.change_name(NameChange::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.count()?;
        state.syncs += 1;
        state.changes.clear();
        state.names_synced = state.names.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: Arc<Mutex<State>>,
    number: usize,
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        let state = lock(&self.disk);
        state.check()?;
        Ok(state.files[self.number].cached.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = lock(&self.disk);
        state.check()?;
        let bytes = state.files[self.number].cached.get(offset as usize..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.disk);
        state.count()?;
        let change = Change::Write { offset: offset as usize, bytes: bytes.to_vec() };
        state.change_file(self.number, change)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.disk);
        state.count()?;
        state.change_file(self.number, Change::Length(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.disk);
        state.count()?;
        state.syncs += 1;
        state.sync_file(self.number)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(seed_count: u64, mut check: impl FnMut(&FaultyDisk) -> usize) -> Vec<usize> {
        let mut seen: Vec<usize> =
            (0..seed_count).map(|seed| check(&FaultyDisk::new(seed))).collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    }

    #[test]
    fn what_was_synced_survives_a_power_cut() {
        for seed in 0..50 {
            let disk = FaultyDisk::new(seed);
            let file = disk.create("a").unwrap();
            file.allocate(10).unwrap();
            file.write_at(b"abc", 2).unwrap();
            file.sync_data().unwrap();
            disk.sync_directory().unwrap();
            assert_eq!(disk.power_cut().read("a").unwrap(), b"\0\0abc\0\0\0\0\0", "seed {seed}");
        }
    }

    #[test]
    fn what_was_not_synced_may_be_there_or_missing_or_torn() {
        let lengths = seeds(200, |disk| {
            let file = disk.create("a").unwrap();
            disk.sync_directory().unwrap();
            file.write_at(b"abc", 0).unwrap();
            let found = disk.power_cut().read("a").unwrap();
            found.iter().filter(|byte| **byte != 0).count()
        });
        assert_eq!(lengths, [0, 1, 2, 3]);
    }

    #[test]
    fn names_survive_in_the_order_in_which_they_came() {
        let counts = seeds(50, |disk| {
            for name in ["a", "b", "c"] {
                disk.create(name).unwrap();
            }
            let names = disk.power_cut().names();
            assert_eq!(names, ["a", "b", "c"][..names.len()]);
            names.len()
        });
        assert_eq!(counts, [0, 1, 2, 3]);
    }

    #[test]
    fn a_failed_sync_leaves_on_the_device_what_it_likes() {
        let lengths = seeds(100, |disk| {
            let file = disk.create("a").unwrap();
            disk.sync_directory().unwrap();
            file.write_at(b"a", 0).unwrap();
            disk.fail_next_sync();
            assert!(file.sync_data().is_err());
            file.sync_data().unwrap();
            disk.power_cut().read("a").unwrap().len()
        });
        assert_eq!(lengths, [0, 1]);
    }

    #[test]
    fn a_full_disk_takes_nothing_more_until_there_is_room() {
        let disk = FaultyDisk::new(0);
        disk.set_capacity(10);
        let file = disk.create("a").unwrap();
        assert_eq!(file.allocate(11).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.allocate(10).unwrap();
        file.write_at(b"abc", 7).unwrap();
        assert!(file.write_at(b"abc", 8).is_err());
        disk.remove("a").unwrap();
        disk.create("b").unwrap().write_at(b"abc", 0).unwrap();
        assert_eq!(disk.used(), 3);
    }

    #[test]
    fn everything_fails_once_the_power_is_cut() {
        let disk = FaultyDisk::new(0);
        disk.cut_after(2);
        let file = disk.create("a").unwrap();
        file.write_at(b"abc", 0).unwrap();
        assert!(file.sync_data().is_err());
        assert!(disk.list().is_err());
        assert!(disk.power_cut().list().is_ok());
    }
}
