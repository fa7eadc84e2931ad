//! The files of a data directory that a broker may be changing at the same time. Hard links hold
//! them in a directory of their own inside the data directory, so that files that the broker
//! removes meanwhile stay readable; where there are no hard links, the files are read in place.
//!
//! Nothing else in the data directory is touched, and the broker does not notice: it looks at files
//! only, never at directories.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process;

use crate::checkpoint;
use crate::real_disk::{HOLD_PREFIX, list_files};
use crate::segment::segment_number;

const HOLD_SUFFIX: &str = ".new";
/// The files of a store change a few times a second at most.
const TRIES_MAX: usize = 100;

/// The files, as they were at one moment.
pub(crate) struct Source {
    /// The directory that they are read from.
    directory: PathBuf,
    /// Checkpoints and segments.
    pub(crate) names: BTreeSet<String>,
    hold: Option<Hold>,
}

/// A directory with hard links, removed at the end.
struct Hold {
    path: PathBuf,
    /// As long as this file is locked, the directory is in use.
    _lock: File,
}

impl Source {
    /// Takes hold of all files that make up the store now.
    pub(crate) fn take(directory: &Path, may_link: bool) -> io::Result<Self> {
        remove_stale_holds(directory)?;
        let hold = if may_link { Hold::new(directory)? } else { None };
        for _ in 0..TRIES_MAX {
            let names = store_files(directory)?;
            let held = match &hold {
                Some(hold) => hold.fill(directory, &names),
                None => Ok(Filled::Everything),
            };
            match held? {
                Filled::Everything if store_files(directory)? == names => {
                    let at = hold.as_ref().map_or(directory, |hold| &hold.path).to_owned();
                    return Ok(Self { directory: at, names, hold });
                }
                Filled::Everything | Filled::Vanished => {}
                Filled::Impossible => return Self::take(directory, false),
            }
        }
        Err(io::Error::other("the files change faster than they can be listed; try again"))
    }

    /// Returns whether the files stay even if the broker removes them.
    pub(crate) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    pub(crate) fn open(&self, name: &str) -> io::Result<File> {
        File::open(self.directory.join(name))
    }

    /// Returns the numbers of the segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<u32> {
        self.names.iter().filter_map(|name| segment_number(name)).collect()
    }
}

enum Filled {
    Everything,
    /// A file is not there any more.
    Vanished,
    /// There are no hard links here.
    Impossible,
}

impl Hold {
    /// Makes and locks the directory; `None` where that is impossible, as in a data directory that
    /// must not be written to.
    fn new(directory: &Path) -> io::Result<Option<Self>> {
        let mut count = 0;
        loop {
            let path =
                directory.join(format!("{HOLD_PREFIX}{}-{count}{HOLD_SUFFIX}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    count += 1;
                    continue;
                }
                Err(error) if is_refusal(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            // Until it is locked, another backup may take it for a stale one and remove it.
            let lock = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let is_locked = lock.try_lock().is_ok();
            let is_same = fs::metadata(&path)
                .is_ok_and(|found| lock.metadata().is_ok_and(|opened| opened.ino() == found.ino()));
            if is_locked && is_same {
                return Ok(Some(Self { path, _lock: lock }));
            }
            if !is_locked && is_same {
                // The file system has no locks: a stale directory could not be told from one in
                // use.
                fs::remove_dir(&path)?;
                return Ok(None);
            }
        }
    }

    /// Makes links to these files. Links of an earlier try are removed: a segment that was not in
    /// use yet may have been replaced by another one of its name.
    fn fill(&self, directory: &Path, names: &BTreeSet<String>) -> io::Result<Filled> {
        for name in list_files(&self.path)? {
            fs::remove_file(self.path.join(name))?;
        }
        for name in names {
            match fs::hard_link(directory.join(name), self.path.join(name)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Filled::Vanished);
                }
                Err(error) if is_refusal(&error) => return Ok(Filled::Impossible),
                Err(error) => return Err(error),
            }
        }
        Ok(Filled::Everything)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // The next backup removes what is left.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Returns whether an error says that the file system cannot do this or does not allow it.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::TooManyLinks
            | io::ErrorKind::CrossesDevices
    )
}

fn store_files(directory: &Path) -> io::Result<BTreeSet<String>> {
    let names = list_files(directory)?.into_iter();
    let is_needed =
        |name: &String| segment_number(name).is_some() || checkpoint::number_of(name).is_some();
    Ok(names.filter(is_needed).collect())
}

/// Removes what backups left behind when their process was killed.
fn remove_stale_holds(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_hold = name
            .to_str()
            .and_then(|name| name.strip_prefix(HOLD_PREFIX)?.strip_suffix(HOLD_SUFFIX))
            .is_some();
        if !is_hold || !entry.file_type()?.is_dir() {
            continue;
        }
        let Ok(lock) = File::open(entry.path()) else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => match fs::remove_dir_all(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && !is_refusal(&error) => {
                    return Err(error);
                }
                _ => {}
            },
            // Its process is at work, or that cannot be found out.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
    Ok(())
}
