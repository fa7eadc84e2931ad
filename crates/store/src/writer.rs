//! The journal with what is needed to append to it: commits that begin with their first record, so
//! that an empty commit writes nothing.

use crate::error::StoreError;
use crate::index::Held;
use crate::journal::Journal;

/// Appends records.
pub(crate) struct Writer {
    pub(crate) journal: Journal,
    in_commit: bool,
    appended: u64,
}

impl Writer {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, in_commit: false, appended: 0 }
    }

    /// Appends a record to the current commit. `encode` appends its body to what it is given.
    #[inline]
    pub(crate) fn append(&mut self, tag: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Held {
        if !self.in_commit {
            self.journal.begin_commit();
            self.in_commit = true;
        }
        let (place, bytes) = self.journal.append(tag, encode);
        self.appended += bytes;
        Held { place, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) }
    }

    /// Ends the current commit, if there is one.
    pub(crate) fn end_commit(&mut self) {
        if self.in_commit {
            self.journal.end_commit();
            self.in_commit = false;
        }
    }

    /// Bytes that were appended since the store was opened.
    pub(crate) fn appended(&self) -> u64 {
        self.appended
    }

    /// Writes and syncs everything.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        if self.journal.has_unwritten() {
            self.journal.write()?;
        }
        if self.journal.has_unsynced() {
            self.journal.sync()?;
        }
        Ok(())
    }
}
