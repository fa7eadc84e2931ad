//! The files of a directory of this machine. Holds the directory's lock, and never reports a file
//! as synced after one of its syncs has failed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::checkpoint::number_of;
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::quarantine::original_name;
use crate::reserve::NAME as RESERVE_NAME;
use crate::segment::{NEW_SUFFIX, segment_number};

pub(crate) const LOCK_NAME: &str = "lock";
/// A file of this name says that the content of the directory is not complete: an import or a
/// backup into it is under way, or was interrupted.
pub(crate) const UNFINISHED_NAME: &str = "unfinished";
/// A directory of this name exists if a file system is mounted on the data directory.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";
/// The names of directories in which a backup holds files begin with this.
pub(crate) const HOLD_PREFIX: &str = "backup-";
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory that this process alone has open as a store.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: File,
    mode: u32,
    /// Closing this file releases the lock.
    _lock: File,
}

impl RealDisk {
    /// Opens a data directory. If it does not exist, it is created with access for its owner only;
    /// an existing one keeps its mode, see [`Self::open_to_others`].
    ///
    /// # Errors
    ///
    /// Another process has it open, it contains other files and no store, an import or a backup
    /// into it was not finished, or the file system refuses.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        refuse_foreign(path)?;
        let disk = Self::open_unfinished(path)?;
        refuse_unfinished(path)?;
        Ok(disk)
    }

    /// Opens a data directory like [`Self::open`], but whatever is in it: it may be incomplete, or
    /// contain other files and no store.
    pub(crate) fn open_unfinished(path: &Path) -> Result<Self, OpenError> {
        let shown = path.display().to_string();
        let failed = |error| OpenError::io(&shown, error);
        let (directory, mode) = open_directory(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(FILE_MODE)
            .open(path.join(LOCK_NAME))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), directory, mode, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { directory: shown }),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl RealDisk {
    /// Returns the permissions of the directory if users other than its owner have any. Such users
    /// can never open the files in it, but they may see names and sizes; those who may write to the
    /// directory can remove and replace files.
    pub fn open_to_others(&self) -> Option<u32> {
        (self.mode & 0o077 != 0).then_some(self.mode & 0o777)
    }
}

/// Refuses a directory that has other files and no store: it is hardly the one that was meant.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let directory = path.display().to_string();
    let failed = |error| OpenError::io(&directory, error);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let mut foreign = None;
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if segment_number(&name).is_some() || number_of(&name).is_some() {
            return Ok(());
        }
        if !is_of_a_store(&name) {
            foreign = Some(name);
        }
    }
    match foreign {
        Some(name) => Err(OpenError::Foreign { directory, name }),
        None => Ok(()),
    }
}

/// Returns whether a store, or the file system, may have given a file this name.
fn is_of_a_store(name: &str) -> bool {
    let original = original_name(name).unwrap_or(name);
    let original = original.strip_suffix(NEW_SUFFIX).unwrap_or(original);
    [LOCK_NAME, UNFINISHED_NAME, RESERVE_NAME, LOST_AND_FOUND].contains(&original)
        || segment_number(original).is_some()
        || number_of(original).is_some()
        || name.starts_with(HOLD_PREFIX)
}

/// Refuses a directory that may contain only a part of a store.
pub(crate) fn refuse_unfinished(path: &Path) -> Result<(), OpenError> {
    match path.join(UNFINISHED_NAME).try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::Unfinished { directory: path.display().to_string() }),
        Err(error) => Err(OpenError::io(&path.display().to_string(), error)),
    }
}

/// Lists the names of the files of a directory.
pub(crate) fn list_files(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // The store gives no file a name that is not UTF-8.
        if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Opens the directory and returns its mode. If it is missing, it is created (with those above it),
/// with access for the owner only.
fn open_directory(path: &Path) -> io::Result<(File, u32)> {
    if !path.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        // The directory's own name has to be on the device too.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    let directory = File::open(path)?;
    let mode = directory.metadata()?.permissions().mode();
    Ok((directory, mode))
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        list_files(&self.path)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(FILE_MODE);
        Ok(Box::new(RealFile::new(options.open(self.path.join(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(RealFile::new(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

#[derive(Debug)]
pub(crate) struct RealFile {
    file: File,
    /// The kernel reports a failed sync once; the next one would succeed without the data.
    sync_has_failed: AtomicBool,
}

impl RealFile {
    pub(crate) fn new(file: File) -> Self {
        Self { file, sync_has_failed: AtomicBool::new(false) }
    }

    fn check(&self) -> io::Result<()> {
        if self.sync_has_failed.load(Ordering::Relaxed) {
            return Err(io::Error::other("an earlier sync of the file has failed"));
        }
        Ok(())
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        self.check()?;
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, mut buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check()?;
        let mut at = offset;
        while !buffer.is_empty() {
            match self.file.read_at(buffer, at) {
                Ok(0) => break,
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((at - offset) as usize)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check()?;
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check()?;
        let old = self.file.metadata()?.len();
        if len <= old {
            return self.file.set_len(len);
        }
        loop {
            match fallocate(&self.file, FallocateFlags::empty(), old, len - old) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    return write_zeros(&self.file, old, len);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data().inspect_err(|_| self.sync_has_failed.store(true, Ordering::Relaxed))
    }
}

/// Writes zeros, for file systems that cannot promise room in another way.
fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < to {
        let count = (to - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// A directory that is gone at the end of the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("midge-real-disk-{}-{count}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_can_read_what_is_stored() {
        let scratch = Scratch::new();
        let disk = RealDisk::open(&scratch.0.join("data")).unwrap();
        disk.create("a").unwrap();
        let path = scratch.0.join("data");
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("a")), 0o600);
        assert_eq!(mode(&path.join(LOCK_NAME)), 0o600);
    }

    #[test]
    fn a_directory_that_exists_keeps_its_mode_and_that_others_can_look_is_told() {
        let scratch = Scratch::new();
        fs::create_dir(&scratch.0).unwrap();
        let modes = [(0o755, Some(0o755)), (0o1777, Some(0o777)), (0o700, None)];
        for (before, told) in modes {
            fs::set_permissions(&scratch.0, fs::Permissions::from_mode(before)).unwrap();
            let disk = RealDisk::open(&scratch.0).unwrap();
            assert_eq!(disk.open_to_others(), told);
            let after = fs::metadata(&scratch.0).unwrap().permissions().mode();
            assert_eq!(after & 0o7777, before);
        }
    }

    #[test]
    fn a_directory_with_other_files_and_no_store_is_refused_and_left_as_it_is() {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.0.join(LOST_AND_FOUND)).unwrap();
        fs::write(scratch.0.join("letter.txt"), "dear").unwrap();
        let error = RealDisk::open(&scratch.0).unwrap_err();
        assert!(matches!(&error, OpenError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("letter.txt"), "{error}");
        assert!(!scratch.0.join(LOCK_NAME).exists());
        // Other files beside a store do not matter.
        fs::write(scratch.0.join(crate::segment::segment_name(1)), "").unwrap();
        RealDisk::open(&scratch.0).unwrap();
    }

    #[test]
    fn what_a_start_left_before_it_wrote_anything_is_no_foreign_file() {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.0.join(LOST_AND_FOUND)).unwrap();
        for name in [LOCK_NAME, RESERVE_NAME] {
            fs::write(scratch.0.join(name), "").unwrap();
        }
        fs::write(scratch.0.join(format!("{}.new", crate::segment::segment_name(1))), "").unwrap();
        RealDisk::open(&scratch.0).unwrap();
    }

    #[test]
    fn a_directory_has_one_user_and_the_next_one_is_told() {
        let scratch = Scratch::new();
        let disk = RealDisk::open(&scratch.0).unwrap();
        let error = RealDisk::open(&scratch.0).unwrap_err();
        assert!(matches!(&error, OpenError::Locked { .. }), "{error}");
        assert!(error.to_string().contains(scratch.0.to_str().unwrap()), "{error}");
        drop(disk);
        RealDisk::open(&scratch.0).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_complete_is_not_opened() {
        let scratch = Scratch::new();
        let disk = RealDisk::open(&scratch.0).unwrap();
        disk.create(UNFINISHED_NAME).unwrap();
        drop(disk);
        let error = RealDisk::open(&scratch.0).unwrap_err();
        assert!(matches!(&error, OpenError::Unfinished { .. }), "{error}");
    }

    #[test]
    fn files_hold_what_is_written_and_zeros() {
        let scratch = Scratch::new();
        let disk = RealDisk::open(&scratch.0).unwrap();
        let file = disk.create("a").unwrap();
        assert!(disk.create("a").is_err());
        file.allocate(100_000).unwrap();
        file.write_at(b"abc", 7).unwrap();
        file.sync_data().unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync_directory().unwrap();
        assert_eq!(disk.list().unwrap(), ["b", LOCK_NAME]);
        let file = disk.open("b").unwrap();
        let mut bytes = [1; 20];
        assert_eq!(file.len().unwrap(), 100_000);
        assert_eq!(file.read_at(&mut bytes, 99_990).unwrap(), 10);
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 20);
        assert_eq!(&bytes[..12], b"\0\0\0\0\0\0\0abc\0\0");
        disk.remove("b").unwrap();
        assert_eq!(disk.open("b").err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn zeros_are_written_where_room_cannot_be_promised() {
        let scratch = Scratch::new();
        fs::create_dir(&scratch.0).unwrap();
        let file = File::create_new(scratch.0.join("a")).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        write_zeros(&file, 3, 200_001).unwrap();
        let bytes = fs::read(scratch.0.join("a")).unwrap();
        assert_eq!(bytes.len(), 200_001);
        assert!(bytes.starts_with(b"abc") && bytes[3..].iter().all(|byte| *byte == 0));
    }
}
