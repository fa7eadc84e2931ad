//! The files of a directory that is only looked at: nothing in it is created, written, renamed or
//! removed. While it is open, no broker can start there, except where there is no lock file because
//! no broker has ever been there. Several readers may look at the same time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::real_disk::{LOCK_NAME, RealFile, list_files, refuse_unfinished};

/// A data directory that is only read.
#[derive(Debug)]
pub struct ReadOnlyDisk {
    path: PathBuf,
    /// Closing this file releases the lock. Absent where no broker has ever been.
    _lock: Option<File>,
}

impl ReadOnlyDisk {
    /// Opens a data directory for reading.
    ///
    /// # Errors
    ///
    /// The directory does not exist, a broker has it open, its content is not complete, or the file
    /// system refuses.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let shown = path.display().to_string();
        let failed = |error| OpenError::io(&shown, error);
        let found = path.metadata().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::NotThere { directory: shown.clone() },
            _ => failed(error),
        });
        if !found?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let lock = match File::open(path.join(LOCK_NAME)) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        match lock.as_ref().map_or(Ok(()), File::try_lock_shared) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { directory: shown }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        refuse_unfinished(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

impl Disk for ReadOnlyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        list_files(&self.path)
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    /// Opens a file for reading; the system refuses to write to it.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile::new(File::open(self.path.join(name))?)))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
