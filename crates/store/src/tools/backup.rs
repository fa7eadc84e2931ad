//! Copies a store while a broker works on it, without the broker's help. Everything that was on the
//! device before the backup began is in the copy.
//!
//! The copy is consistent because of the order in which the broker works. The broker removes a
//! segment only when no checkpoint needs it any more, takes a segment into use only when everything
//! before is on the device, and gives a checkpoint its name only when everything that the
//! checkpoint comes from is on the device.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::{error, fmt, fs};

use super::check::{Checked, check};
use super::part::{is_active, read_header, read_records};
use super::progress::{Counter, Progress};
use super::read_only::ReadOnlyDisk;
use super::source::Source;
use super::target::{Target, TargetError, is_inside};
use crate::error::OpenError;
use crate::segment::{Header, segment_name, segment_number};

/// How often a backup is begun anew because files were removed while they were copied.
const TRIES_MAX: usize = 20;

/// How a backup is made.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions {
    /// Whether hard links may be made in the data directory.
    pub may_link: bool,
}

impl Default for BackupOptions {
    fn default() -> Self {
        Self { may_link: true }
    }
}

/// Why there is no backup.
#[derive(Debug)]
pub enum BackupError {
    /// The data directory cannot be read.
    Source {
        /// The directory or file.
        file: String,
        /// What the file system says.
        error: io::Error,
    },
    /// The target cannot be filled.
    Target(TargetError),
    /// A file cannot be copied to the target.
    Copy {
        /// The file.
        file: String,
        /// What the file system says.
        error: io::Error,
    },
    /// The copy is there, but it cannot be opened.
    Check(OpenError),
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // If the directory is there and holds no store, the error says so itself.
            Self::Source { file, error }
                if error.kind() == io::ErrorKind::NotFound && error.raw_os_error().is_some() =>
            {
                write!(
                    f,
                    "{file} does not exist: name the data directory of a broker with --data; \
                     there is no backup"
                )
            }
            Self::Source { file, error } => {
                write!(f, "cannot read {file}: {error}; there is no backup")
            }
            Self::Target(error) => error.fmt(f),
            Self::Copy { file, error } => {
                write!(f, "cannot copy {file}: {error}; there is no backup")
            }
            Self::Check(error) => write!(f, "the backup cannot be used: {error}"),
        }
    }
}

impl error::Error for BackupError {}

/// Copies the store of `directory` to `target`, which must be empty or not exist; then checks the
/// copy.
///
/// # Errors
///
/// There is no backup then, unless only the check could not be made.
pub fn backup(
    directory: &Path,
    target: &Path,
    options: BackupOptions,
    tell: &mut dyn FnMut(Progress),
) -> Result<Checked, BackupError> {
    let source_error = |error| BackupError::Source { file: directory.display().to_string(), error };
    let names = Source::take(directory, false).map_err(source_error)?.names;
    if names.is_empty() {
        let error = io::Error::new(io::ErrorKind::NotFound, "there is no store in it");
        return Err(source_error(error));
    }
    let inside = is_inside(target, directory).map_err(source_error)?;
    if inside {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "the backup would be in it");
        return Err(source_error(error));
    }
    let target = Target::begin(target).map_err(BackupError::Target)?;
    let mut tries = 1;
    loop {
        let source = Source::take(directory, options.may_link).map_err(source_error)?;
        match copy_all(&source, target.path(), tell) {
            Ok(()) => break,
            Err(BackupError::Source { error, .. })
                if error.kind() == io::ErrorKind::NotFound
                    && !source.is_held()
                    && tries < TRIES_MAX =>
            {
                tries += 1;
                remove_copies(&source, target.path()).map_err(source_error)?;
            }
            Err(error) => return Err(error),
        }
    }
    let path = target.path().to_owned();
    let file = path.display().to_string();
    target.complete().map_err(|error| BackupError::Copy { file, error })?;
    let disk = ReadOnlyDisk::open(&path).map_err(BackupError::Check)?;
    check(Arc::new(disk), tell).map_err(BackupError::Check)
}

fn remove_copies(source: &Source, target: &Path) -> io::Result<()> {
    for name in &source.names {
        match fs::remove_file(target.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// What is known of the segments before the first of them is copied.
struct Segments {
    /// The newest one in use, to which the broker may be writing.
    current: Option<Header>,
    /// Those that were not in use yet: nothing that counts is in them.
    unused: Vec<u32>,
    bytes: u64,
}

fn copy_all(
    source: &Source,
    target: &Path,
    tell: &mut dyn FnMut(Progress),
) -> Result<(), BackupError> {
    let Segments { current, unused, bytes } = look_at_segments(source)?;
    let mut counter = Counter::new(tell, "copying", Some(bytes), 8 << 20);
    let mut buffer = Vec::new();
    for name in &source.names {
        let number = segment_number(name);
        if number.is_some_and(|number| unused.contains(&number)) {
            continue;
        }
        let mut file = open(source, name)?;
        let written = match current.filter(|header| Some(header.number) == number) {
            None => copy_whole(&mut file, &target.join(name)),
            Some(header) => {
                let read = read_records(&mut file, &header, &mut buffer);
                read.map_err(|error| BackupError::Source { file: name.clone(), error })?;
                copy_part(&buffer, header.length, &target.join(name))
            }
        };
        let written = written.map_err(|error| BackupError::Copy { file: name.clone(), error })?;
        counter.add(written);
    }
    Ok(())
}

/// Looks at the segments, newest first: a segment is in use before the one behind it.
fn look_at_segments(source: &Source) -> Result<Segments, BackupError> {
    let mut segments = Segments { current: None, unused: Vec::new(), bytes: 0 };
    let mut is_damaged = false;
    for number in source.segments().into_iter().rev() {
        let name = segment_name(number);
        let mut file = open(source, &name)?;
        let read = read_header(&mut file, number);
        let (length, header) = read.map_err(|error| BackupError::Source { file: name, error })?;
        segments.bytes += length;
        match header {
            Some(header) if is_active(&header) => {
                if segments.current.is_none() && !is_damaged {
                    segments.current = Some(header);
                }
            }
            Some(_) => segments.unused.push(number),
            // It is unknown whether the segment is in use, so it is copied as it is.
            None => is_damaged = true,
        }
    }
    Ok(segments)
}

fn open(source: &Source, name: &str) -> Result<File, BackupError> {
    let opened = source.open(name);
    opened.map_err(|error| BackupError::Source { file: name.to_owned(), error })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn copy_whole(file: &mut File, target: &Path) -> io::Result<u64> {
    let mut copy = create(target)?;
    let written = io::copy(file, &mut copy)?;
    copy.sync_all()?;
    Ok(written)
}

/// Writes these bytes, and zeros up to the length.
fn copy_part(bytes: &[u8], length: u64, target: &Path) -> io::Result<u64> {
    let mut copy = create(target)?;
    copy.write_all(bytes)?;
    copy.set_len(length)?;
    copy.sync_all()?;
    Ok(length)
}
