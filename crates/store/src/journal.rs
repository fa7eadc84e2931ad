//! The journal: records in numbered segment files, appended, written, synced, read and replayed.

use std::sync::Arc;

use midge_core::Timestamp;

use crate::disk::Disk;
use crate::error::{OpenError, StoreError};
use crate::location::Location;
use crate::report::{Damage, Report};

/// How large the journal's files are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalOptions {
    /// The length of a segment's file.
    pub(crate) segment_bytes: u64,
    /// The length of all files after which no spare is made any more.
    pub(crate) bytes_max: u64,
}

/// The journal.
pub(crate) struct Journal;

#[allow(unused_variables, dead_code, clippy::unimplemented, clippy::needless_pass_by_value)]
impl Journal {
    /// Replays from `from` (None: from the first segment), then continues in a new segment.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        from: Option<Location>,
        now: Timestamp,
        visit: &mut dyn FnMut(Location, u8, &[u8]),
    ) -> Result<(Self, Report), OpenError> {
        unimplemented!()
    }

    pub(crate) fn begin_commit(&mut self) {
        unimplemented!()
    }

    pub(crate) fn append(&mut self, tag: u8, body: &[u8]) -> Location {
        unimplemented!()
    }

    pub(crate) fn end_commit(&mut self) {
        unimplemented!()
    }

    pub(crate) fn has_unwritten(&self) -> bool {
        unimplemented!()
    }

    pub(crate) fn has_unsynced(&self) -> bool {
        unimplemented!()
    }

    pub(crate) fn write(&mut self) -> Result<(), StoreError> {
        unimplemented!()
    }

    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        unimplemented!()
    }

    pub(crate) fn read(&mut self, at: Location, body: &mut Vec<u8>) -> Result<u8, Damage> {
        unimplemented!()
    }

    pub(crate) fn end(&self) -> Location {
        unimplemented!()
    }

    pub(crate) fn current_segment(&self) -> u32 {
        unimplemented!()
    }

    pub(crate) fn segments(&self) -> Vec<u32> {
        unimplemented!()
    }

    pub(crate) fn remove_segment(&mut self, segment: u32) -> Result<(), StoreError> {
        unimplemented!()
    }

    pub(crate) fn quarantine_segment(
        &mut self,
        segment: u32,
        reason: &str,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        unimplemented!()
    }

    pub(crate) fn keep_spare(&mut self) -> Result<(), StoreError> {
        unimplemented!()
    }

    pub(crate) fn is_short(&self) -> bool {
        unimplemented!()
    }

    pub(crate) fn drop_spare(&mut self) {
        unimplemented!()
    }

    pub(crate) fn bytes_on_disk(&self) -> u64 {
        unimplemented!()
    }
}
