//! Makes segment files: allocated and with a header. A file gets its own name only when both are on
//! the device.

use std::io;

use rustix::io::Errno;

use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::segment::{Header, NEW_SUFFIX, Previous, segment_name};

/// A segment that is ready to be taken into use.
pub(crate) struct Spare {
    pub(crate) number: u32,
    pub(crate) length: u64,
    pub(crate) file: Box<dyn DiskFile>,
}

impl Spare {
    /// Makes a spare; replaces a file of the same name. Leaves nothing behind if the device is
    /// full.
    pub(crate) fn create(disk: &dyn Disk, number: u32, length: u64) -> io::Result<Self> {
        Self::create_as(disk, Header { number, length, previous: Previous::Spare })
    }

    /// Makes a segment with this header, which may say that it is in use from the beginning.
    pub(crate) fn create_as(disk: &dyn Disk, header: Header) -> io::Result<Self> {
        let Header { number, length, .. } = header;
        let name = segment_name(number);
        let unfinished = format!("{name}{NEW_SUFFIX}");
        let file = match disk.create(&unfinished) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                disk.remove(&unfinished)?;
                disk.create(&unfinished)?
            }
            created => created?,
        };
        let made = file
            .allocate(length)
            .and_then(|()| file.write_at(&header.encode(), 0))
            .and_then(|()| file.sync_data())
            .and_then(|()| disk.rename(&unfinished, &name));
        if let Err(error) = made {
            // If this fails too, the next opening removes the file.
            let _ = disk.remove(&unfinished);
            return Err(error);
        }
        disk.sync_directory()?;
        Ok(Self { number, length, file })
    }

    /// Writes into the header that the segment is in use from here on; the next sync of the file
    /// makes that durable.
    pub(crate) fn activate(&self, previous: Previous) -> io::Result<()> {
        let header = Header { number: self.number, length: self.length, previous };
        self.file.write_at(&header.encode(), 0)
    }
}

/// Returns whether an error says that there is no room, or that no more files can be open. Both may
/// pass.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let too_many_files = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || too_many_files.contains(&error.raw_os_error())
}

/// Returns what an error on a file means for the journal.
pub(crate) fn store_error(file: &str, error: &io::Error) -> StoreError {
    if is_full(error) { StoreError::Full } else { StoreError::Fatal(format!("{file}: {error}")) }
}
