//! The journal with what is needed to append to it: one buffer for the body of every record, and
//! commits that begin with their first record, so that an empty commit writes nothing.

use crate::error::StoreError;
use crate::index::Held;
use crate::journal::Journal;

/// What a record takes in the journal besides its body.
pub(crate) const FRAME_BYTES: u64 = 9;

/// Appends records.
pub(crate) struct Writer {
    pub(crate) journal: Journal,
    body: Vec<u8>,
    in_commit: bool,
    appended: u64,
}

impl Writer {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, body: Vec::new(), in_commit: false, appended: 0 }
    }

    /// Appends a record to the current commit.
    #[inline]
    pub(crate) fn append(&mut self, tag: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Held {
        if !self.in_commit {
            self.journal.begin_commit();
            self.in_commit = true;
        }
        self.body.clear();
        encode(&mut self.body);
        let place = self.journal.append(tag, &self.body);
        let bytes = FRAME_BYTES + self.body.len() as u64;
        self.appended += bytes;
        Held { place, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) }
    }

    /// Ends the current commit, if there is one.
    pub(crate) fn end_commit(&mut self) {
        if self.in_commit {
            self.journal.end_commit();
            self.in_commit = false;
        }
        if self.body.capacity() > 1 << 20 {
            self.body = Vec::new();
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
