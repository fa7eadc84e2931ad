//! The files of checkpoints: their names, and which of them can be used.

use std::io;
use std::num::NonZeroUsize;

use super::decoding::{Loaded, NotUsable, decode};
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;

const PREFIX: &str = "checkpoint-";
const NEW: &str = ".new";
/// The largest number that is accepted: above it there are enough numbers for any life of a store.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// The checkpoints that were found. Nothing was changed to find them.
#[derive(Default)]
pub(crate) struct Found {
    /// The newest one that is sound: its number, its length in bytes, its content.
    pub(crate) newest: Option<(u64, u64, Box<Loaded>)>,
    /// The numbers of older ones and their lengths in bytes; these files have not been read.
    pub(crate) older: Vec<(u64, u64)>,
    /// The numbers of those that are damaged, with what is wrong.
    pub(crate) damaged: Vec<(u64, &'static str)>,
    /// Files that were never finished.
    pub(crate) unfinished: Vec<String>,
    pub(crate) next_number: u64,
}

/// Returns the name of a checkpoint's file.
pub(crate) fn name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// Returns the name of a checkpoint's file while it is being written.
pub(super) fn new_name(number: u64) -> String {
    name(number) + NEW
}

pub(super) fn create(disk: &dyn Disk, new_name: &str) -> io::Result<Box<dyn DiskFile>> {
    match disk.create(new_name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(new_name)?;
            disk.create(new_name)
        }
        other => other,
    }
}

/// Looks for the newest checkpoint that can be used, with this many threads that read.
pub(crate) fn find(disk: &dyn Disk, readers: NonZeroUsize) -> Result<Found, OpenError> {
    let mut found = Found { next_number: 1, ..Found::default() };
    let mut numbers = Vec::new();
    for file in disk.list().map_err(|error| OpenError::io(".", error))? {
        let Some(rest) = file.strip_prefix(PREFIX) else {
            continue;
        };
        if let Some(number) = rest.get(..16).and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            found.next_number = found.next_number.max(number.saturating_add(1));
            if file == name(number) {
                numbers.push(number);
            }
        }
        if rest.ends_with(NEW) {
            found.unfinished.push(file);
        }
    }
    if found.next_number > NUMBER_MAX {
        let error = io::Error::other("the numbers of checkpoints are used up");
        return Err(OpenError::io("data directory", error));
    }
    numbers.sort_unstable();
    while let Some(number) = numbers.pop() {
        let bytes = read_all(disk, &name(number))?;
        match decode(number, &bytes, readers) {
            Ok(loaded) => {
                found.newest = Some((number, bytes.len() as u64, Box::new(loaded)));
                break;
            }
            Err(NotUsable::Newer(version)) => {
                return Err(OpenError::NewerFormat { file: name(number), version });
            }
            Err(NotUsable::Damaged(what)) => found.damaged.push((number, what)),
        }
    }
    for number in numbers {
        let file = disk.open(&name(number)).and_then(|file| file.len());
        found.older.push((number, file.map_err(|error| OpenError::io(&name(number), error))?));
    }
    Ok(found)
}

/// Returns the number of the checkpoint whose file has this name.
pub(crate) fn number_of(file: &str) -> Option<u64> {
    let number = u64::from_str_radix(file.strip_prefix(PREFIX)?, 16).ok()?;
    (file == name(number)).then_some(number)
}

/// Returns what is wrong with a checkpoint; `None` if it can be used.
#[cfg(any(test, feature = "tools"))]
pub(crate) fn damage_of(disk: &dyn Disk, number: u64) -> Result<Option<&'static str>, OpenError> {
    let bytes = read_all(disk, &name(number))?;
    match decode(number, &bytes, NonZeroUsize::MIN) {
        Ok(_) => Ok(None),
        Err(NotUsable::Damaged(what)) => Ok(Some(what)),
        Err(NotUsable::Newer(version)) => {
            Err(OpenError::NewerFormat { file: name(number), version })
        }
    }
}

fn read_all(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, OpenError> {
    let read = || {
        let file = disk.open(name)?;
        let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    };
    read().map_err(|error| OpenError::io(name, error))
}
