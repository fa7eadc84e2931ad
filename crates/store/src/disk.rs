//! What the store needs from a file system: the files of one directory. It is a trait so that tests
//! can have a disk that loses, tears and reorders unsynced writes.

use std::io;

/// The files of one directory. Names have no separators.
pub trait Disk: Send + Sync {
    /// Lists the names of all files.
    ///
    /// # Errors
    ///
    /// Fails as the file system does. The same holds for all methods.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates a file for reading and writing. No file may have this name yet.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file in one step; replaces the file that has the new name, if there is one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when all creations, renames and removals so far are on the device.
    fn sync_directory(&self) -> io::Result<()>;
}

/// An open file. It stays readable after it is renamed or removed.
pub trait DiskFile: Send + Sync {
    /// Returns the file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Returns whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `buffer.len()` bytes from `offset`; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file `len` bytes long and reserves room for all of them on the device. New bytes
    /// are zero.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Returns when everything written so far is on the device. After an error it is unknown which
    /// writes reached the device, and trying again does not help.
    fn sync_data(&self) -> io::Result<()>;
}
