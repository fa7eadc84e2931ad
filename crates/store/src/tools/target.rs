//! A directory that an import or a backup is filling. As long as it is not complete, a file in it
//! says so, and no broker starts on it. If the work is given up, the content is removed again; if
//! the process is killed, the next one that fills the directory removes what is left.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{error, fmt};

use crate::error::OpenError;
use crate::real_disk::{LOCK_NAME, LOST_AND_FOUND, RealDisk, UNFINISHED_NAME};

/// Why a directory cannot be filled.
#[derive(Debug)]
pub enum TargetError {
    /// The directory is not empty.
    NotEmpty {
        /// The directory.
        directory: String,
        /// One of the names in it.
        name: String,
    },
    /// The directory cannot be opened.
    Open(OpenError),
}

/// Returns whether a path, which need not exist, is the directory or in it, by whatever name.
///
/// # Errors
///
/// If the directory cannot be reached, or nobody can tell where the path leads.
pub fn is_inside(path: &Path, directory: &Path) -> io::Result<bool> {
    let directory = directory.canonicalize()?;
    let mut ancestor = std::path::absolute(path)?;
    loop {
        match ancestor.canonicalize() {
            Ok(found) => return Ok(found.starts_with(&directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if !ancestor.pop() {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEmpty { directory, name } => write!(
                f,
                "{directory} is not empty ({name} is in it): name a directory that is empty or \
                 does not exist; nothing was changed"
            ),
            Self::Open(error) => error.fmt(f),
        }
    }
}

impl error::Error for TargetError {}

/// A directory that is not complete. Dropping this value removes everything that was put into it.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    disk: Option<Arc<RealDisk>>,
    was_there: bool,
    is_complete: bool,
}

impl Target {
    /// Begins to fill a directory that is empty or does not exist.
    pub(crate) fn begin(path: &Path) -> Result<Self, TargetError> {
        let failed = |error| TargetError::Open(OpenError::io(&path.display().to_string(), error));
        let was_there = match fs::symlink_metadata(path) {
            Ok(_) => {
                // Look before anything is changed: it may be any directory.
                refuse_content(path)?;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed(error)),
        };
        let disk = Arc::new(RealDisk::open_unfinished(path).map_err(TargetError::Open)?);
        // Look again: another process may have been faster.
        refuse_content(path)?;
        let target =
            Self { path: path.to_owned(), disk: Some(disk), was_there, is_complete: false };
        target.mark().map_err(failed)?;
        target.remove_content().map_err(failed)?;
        Ok(target)
    }

    /// Returns the disk with the directory's files.
    pub(crate) fn disk(&self) -> Option<Arc<RealDisk>> {
        self.disk.clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that everything is in the directory; returns when that is on the device.
    pub(crate) fn complete(mut self) -> io::Result<()> {
        let directory = File::open(&self.path)?;
        directory.sync_all()?;
        fs::remove_file(self.path.join(UNFINISHED_NAME))?;
        self.is_complete = true;
        directory.sync_all()
    }

    fn mark(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(self.path.join(UNFINISHED_NAME))?;
        file.write_all(b"What is in this directory is not complete: no broker starts on it.\n")?;
        file.sync_all()?;
        File::open(&self.path)?.sync_all()
    }

    /// Removes all files but the lock and the mark.
    fn remove_content(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_file() && name != LOCK_NAME && name != UNFINISHED_NAME {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn give_up(&mut self) -> io::Result<()> {
        self.remove_content()?;
        fs::remove_file(self.path.join(UNFINISHED_NAME))?;
        fs::remove_file(self.path.join(LOCK_NAME))?;
        self.disk = None;
        if self.was_there { Ok(()) } else { fs::remove_dir(&self.path) }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.is_complete {
            // If this fails, the mark stays, and no broker starts on what is left.
            let _ = self.give_up();
        }
    }
}

/// Refuses a directory with something in it, unless an earlier attempt left that.
fn refuse_content(path: &Path) -> Result<(), TargetError> {
    let directory = path.display().to_string();
    let failed = |error| TargetError::Open(OpenError::io(&directory, error));
    if path.join(UNFINISHED_NAME).try_exists().map_err(failed)? {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name != LOCK_NAME && name != LOST_AND_FOUND {
            let name = name.to_string_lossy().into_owned();
            return Err(TargetError::NotEmpty { directory, name });
        }
    }
    Ok(())
}
