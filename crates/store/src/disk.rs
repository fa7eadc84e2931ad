//! What the store needs of a file system: the files of one directory. Behind a trait, so that tests
//! can have a disk that loses, tears and reorders what was not synced.

use std::io;

/// The files of one directory. Names have no separators.
pub trait Disk: Send + Sync {
    /// The names of all files.
    ///
    /// # Errors
    ///
    /// As the file system says; so with all methods.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new file for reading and writing; there must be none of this name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// An existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in one step; replaces what has that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when all creations, renames and removals so far are on the device.
    fn sync_directory(&self) -> io::Result<()>;
}

/// An open file. It stays readable after it was renamed or removed.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `buffer.len()` bytes from `offset`; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file `len` bytes long, with room for all of them on the device; new ones are zero.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Returns when everything written so far is on the device. After an error nothing is known
    /// about what was written, and trying again does not help.
    fn sync_data(&self) -> io::Result<()>;
}
