//! The journal: records in numbered segment files, appended in commits, written, synced, read and
//! replayed. It does not know what the records say.
//!
//! A record gets its place when it is appended. Its bytes wait in a buffer for `write`, and they
//! count when `sync` has returned. After an error that makes it uncertain what is on the device,
//! the journal never accepts anything again.

#![allow(dead_code, reason = "the engine that uses all of it is not there yet")]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use midge_core::Timestamp;

use crate::block_cache::BlockCache;
use crate::disk::{Disk, DiskFile};
use crate::error::{OpenError, StoreError};
use crate::location::Location;
use crate::pending::Pending;
use crate::quarantine::quarantine_name;
use crate::record_reader::RecordReader;
use crate::replay::{Ended, replay};
use crate::report::{Damage, DamageKind, Report};
use crate::segment::{
    CrcSeed, Frame, HEADER_BYTES, Header, Previous, SEGMENT_BYTES_MAX, segment_name,
};
use crate::segment_files::{Spare, is_full, store_error};
use crate::survey::{Survey, read_segment};

/// Smaller segments would hold hardly more than their header.
const SEGMENT_BYTES_MIN: u64 = 256;
/// A segment made on a full device is not worth it if it is shorter than this.
const SEGMENT_BYTES_EMERGENCY: u64 = 4096;

/// How large the journal's files are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalOptions {
    /// The length of a segment's file; one with a larger record is longer.
    pub(crate) segment_bytes: u64,
    /// [`Journal::keep_spare`] makes no spare that would bring the length of all files above this.
    pub(crate) bytes_max: u64,
}

/// An open journal.
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    pending: Pending,
    current: Current,
    /// Up to here everything is on the device.
    synced: Location,
    spare: Option<Spare>,
    is_short: bool,
    /// The lengths of the files of all segments in use.
    segments: BTreeMap<u32, u64>,
    cache: BlockCache,
    fatal: Option<String>,
}

/// The segment that is written to.
struct Current {
    file: Box<dyn DiskFile>,
    /// Up to here it is written.
    end: Location,
    is_dirty: bool,
}

impl Journal {
    /// Opens the journal. Visits the records of all complete commits from `from` on (`None`: from
    /// the first segment), and what can be read of damaged ones; then continues in a new segment.
    ///
    /// # Errors
    ///
    /// A file has a newer format (nothing was changed then), or the file system refuses.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: JournalOptions,
        from: Option<Location>,
        now: Timestamp,
        visit: &mut dyn FnMut(Location, u8, &[u8]),
    ) -> Result<(Self, Report), OpenError> {
        let segment_bytes = options.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let options = JournalOptions { segment_bytes, ..options };
        let mut survey = Survey::of(&*disk, from)?;
        let mut report = std::mem::take(&mut survey.report);
        let ended = replay(&*disk, &survey.chain, from, &mut report, visit)?;
        report.quarantined = set_aside(&*disk, &survey.untrusted, now)?;
        remove_all(&*disk, &survey.stale)?;
        let mut segments = std::mem::take(&mut survey.older);
        let mut void = Vec::new();
        for link in &survey.chain {
            if ended.end.is_none_or(|end| link.number <= end.segment()) {
                segments.insert(link.number, link.length);
            } else {
                void.push(segment_name(link.number));
            }
        }
        make_durable(&*disk, &ended, &segments)?;
        let (spare, is_short) = continue_in(&*disk, survey.highest, segment_bytes, ended.end)?;
        // Not before: only the header of the new segment makes these void.
        remove_all(&*disk, &void)?;
        segments.insert(spare.number, spare.length);
        let end = location(spare.number, HEADER_BYTES as u32)?;
        let journal = Self {
            disk,
            options,
            pending: Pending::new(end, spare.length, segment_bytes),
            current: Current { file: spare.file, end, is_dirty: false },
            synced: end,
            spare: None,
            is_short,
            segments,
            cache: BlockCache::default(),
            fatal: None,
        };
        Ok((journal, report))
    }

    /// Begins a commit: the records appended from here to [`Self::end_commit`] count as a whole or
    /// not at all.
    pub(crate) fn begin_commit(&mut self) {
        if self.fatal.is_some() {
            self.pending.discard();
        }
    }

    /// Appends a record, whose body `encode` appends to what it is given: nothing else of that may
    /// change. Returns where the record will stand, and how long it is with its frame.
    ///
    /// # Panics
    ///
    /// If the body does not fit into a segment of 4 GiB.
    #[inline]
    pub(crate) fn append(&mut self, tag: u8, encode: impl FnOnce(&mut Vec<u8>)) -> (Location, u64) {
        self.pending.append(tag, encode, self.synced)
    }

    /// Ends the commit. A commit without records leaves no trace.
    pub(crate) fn end_commit(&mut self) {
        self.pending.end_commit();
    }

    /// Whether [`Self::write`] has something to do.
    pub(crate) fn has_unwritten(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether [`Self::sync`] has something to do.
    pub(crate) fn has_unsynced(&self) -> bool {
        self.current.is_dirty
    }

    /// Writes everything that was appended.
    ///
    /// # Errors
    ///
    /// `Full`: nothing that is not written yet is lost; try again when there is room. `Fatal`: the
    /// journal never accepts anything again.
    pub(crate) fn write(&mut self) -> Result<(), StoreError> {
        self.check()?;
        while !self.pending.is_empty() {
            if let Some(previous) = self.pending.first().0.previous {
                self.sync()?;
                self.take_next_into_use(previous)?;
                self.pending.first_is_in_use();
            }
            let (part, bytes) = self.pending.first();
            if !bytes.is_empty() {
                let at = u64::from(part.offset);
                self.current.is_dirty = true;
                if let Err(error) = self.current.file.write_at(bytes, at) {
                    let name = segment_name(part.number);
                    return Err(self.fail(store_error(&name, &error)));
                }
                self.current.end = self.current.end.plus(bytes.len() as u32);
            }
            self.pending.first_is_written();
        }
        Ok(())
    }

    /// Returns when everything written is on the device.
    ///
    /// # Errors
    ///
    /// `Fatal`: the journal never accepts anything again.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if self.current.is_dirty {
            if let Err(error) = self.current.file.sync_data() {
                let name = segment_name(self.current.end.segment());
                // Even if the device is only full, what was written may be gone.
                return Err(self.fail(StoreError::Fatal(format!("{name}: {error}"))));
            }
            self.current.is_dirty = false;
        }
        self.synced = self.current.end;
        Ok(())
    }

    /// Reads a record into `body`, whether it is written yet or not; returns its tag.
    ///
    /// # Errors
    ///
    /// The record is not there, or it is not what was written.
    pub(crate) fn read(&mut self, at: Location, body: &mut Vec<u8>) -> Result<u8, Damage> {
        if let Some((tag, found)) = self.find_unwritten(at) {
            body.clear();
            body.extend_from_slice(found);
            return Ok(tag);
        }
        let end = self.readable_end(at)?;
        self.cache.read(&*self.disk, at, end, body)
    }

    /// Reads a record like [`Self::read`]. The body is lent where it lies if possible; otherwise it
    /// is put into `spill`. Returns tag and body.
    ///
    /// # Errors
    ///
    /// As with [`Self::read`].
    pub(crate) fn look_at<'a>(
        &'a mut self,
        at: Location,
        spill: &'a mut Vec<u8>,
    ) -> Result<(u8, &'a [u8]), Damage> {
        if self.find_unwritten(at).is_some() {
            let tag = self.read(at, spill)?;
            return Ok((tag, spill));
        }
        let end = self.readable_end(at)?;
        self.cache.look_at(&*self.disk, at, end, spill)
    }

    /// Returns tag and body of a record that is not written yet; `None` if it is not here.
    fn find_unwritten(&self, at: Location) -> Option<(u8, &[u8])> {
        let bytes = self.pending.find(at)?;
        let seed = CrcSeed::of_segment(at.segment());
        let frame = Frame::check(bytes, 0, at.offset(), seed)?;
        Some((frame.tag, &bytes[frame.body]))
    }

    /// Returns where the records of a segment end at the latest.
    fn readable_end(&self, at: Location) -> Result<u64, Damage> {
        if at.segment() == self.current.end.segment() {
            Ok(u64::from(self.current.end.offset()))
        } else if let Some(length) = self.segments.get(&at.segment()) {
            Ok(*length)
        } else {
            Err(Damage {
                file: segment_name(at.segment()),
                offset: u64::from(at.offset()),
                kind: DamageKind::MissingSegment,
                detail: "the segment of the record is gone".to_owned(),
            })
        }
    }

    /// Returns a reader of the records that were found at opening.
    pub(crate) fn reader(&self) -> RecordReader<'_> {
        RecordReader::new(&*self.disk, &self.segments)
    }

    /// Returns where the next commit will begin. Once everything is synced, a replay may start
    /// here.
    pub(crate) fn end(&self) -> Location {
        self.pending.end()
    }

    /// The segment in which the next record will stand if it fits.
    pub(crate) fn current_segment(&self) -> u32 {
        self.pending.end().segment()
    }

    /// The segments in use, oldest first, without the spare.
    pub(crate) fn segments(&self) -> Vec<u32> {
        self.segments.keys().copied().collect()
    }

    /// Returns the length of all segment files, including the spare.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        self.segments.values().sum::<u64>() + self.spare.as_ref().map_or(0, |spare| spare.length)
    }

    /// Removes a segment that nothing needs any more. A power cut may bring it back.
    ///
    /// # Errors
    ///
    /// Fails as the file system does.
    ///
    /// # Panics
    ///
    /// If it is the segment that is written to.
    pub(crate) fn remove_segment(&mut self, segment: u32) -> Result<(), StoreError> {
        self.check()?;
        assert_ne!(segment, self.current.end.segment(), "the current segment is in use");
        if self.segments.contains_key(&segment) {
            self.cache.forget(segment);
            let name = segment_name(segment);
            match self.disk.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.fail(store_error(&name, &error)));
                }
                _ => self.segments.remove(&segment),
            };
        }
        Ok(())
    }

    /// Sets aside a segment that is damaged and not needed any more; returns the new name of its
    /// file.
    ///
    /// # Errors
    ///
    /// Fails as the file system does.
    ///
    /// # Panics
    ///
    /// If it is the segment that is written to.
    pub(crate) fn quarantine_segment(
        &mut self,
        segment: u32,
        reason: &str,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        self.check()?;
        assert_ne!(segment, self.current.end.segment(), "the current segment is in use");
        self.cache.forget(segment);
        let name = segment_name(segment);
        let aside = quarantine_name(&name, reason, now);
        let renamed = self.disk.rename(&name, &aside).and_then(|()| self.disk.sync_directory());
        renamed.map_err(|error| self.fail(store_error(&name, &error)))?;
        self.segments.remove(&segment);
        Ok(aside)
    }

    /// Makes the next segment as a spare, unless it is there already or there is no room for it;
    /// see [`Self::is_short`].
    ///
    /// # Errors
    ///
    /// `Fatal` only.
    pub(crate) fn keep_spare(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if self.spare.is_none() {
            let length = self.next_length();
            if self.bytes_on_disk() + length > self.options.bytes_max {
                self.is_short = true;
                return Ok(());
            }
            match self.make_spare(length) {
                Ok(()) | Err(StoreError::Full) => {}
                Err(error) => return Err(error),
            }
        }
        self.is_short = self.spare.is_none();
        Ok(())
    }

    /// Returns whether there was no room when a spare was last wanted.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Removes the spare, to make room.
    pub(crate) fn drop_spare(&mut self) {
        if let Some(spare) = self.spare.take() {
            // If this fails, the next file of this name replaces it.
            let _ = self.disk.remove(&segment_name(spare.number));
        }
    }

    fn next_number(&self) -> u32 {
        self.current.end.segment().saturating_add(1)
    }

    /// The length that the next segment needs.
    fn next_length(&self) -> u64 {
        self.pending.first_to_come().map_or(self.options.segment_bytes, |part| part.length)
    }

    fn make_spare(&mut self, length: u64) -> Result<(), StoreError> {
        let number = self.next_number();
        match Spare::create(&*self.disk, number, length) {
            Ok(spare) => {
                self.spare = Some(spare);
                self.is_short = false;
                Ok(())
            }
            Err(error) => {
                self.is_short = true;
                Err(self.fail(store_error(&segment_name(number), &error)))
            }
        }
    }

    /// Continues in the next segment. Everything before it must be synced.
    fn take_next_into_use(&mut self, previous: Location) -> Result<(), StoreError> {
        let length = self.next_length();
        if self.spare.as_ref().is_some_and(|spare| spare.length < length) {
            self.drop_spare();
        }
        if self.spare.is_none() {
            self.make_spare(length)?;
        }
        let Some(spare) = self.spare.take() else {
            return Err(StoreError::Full);
        };
        if let Err(error) = spare.activate(Previous::End(previous)) {
            let error = store_error(&segment_name(spare.number), &error);
            self.spare = Some(spare);
            return Err(self.fail(error));
        }
        self.segments.insert(spare.number, spare.length);
        let end = previous.next_segment(HEADER_BYTES as u32);
        self.current = Current { file: spare.file, end, is_dirty: true };
        Ok(())
    }

    fn check(&self) -> Result<(), StoreError> {
        match &self.fatal {
            Some(what) => Err(StoreError::Fatal(what.clone())),
            None => Ok(()),
        }
    }

    /// Remembers a fatal error, which stays for good.
    fn fail(&mut self, error: StoreError) -> StoreError {
        if let StoreError::Fatal(what) = &error {
            self.fatal = Some(what.clone());
        }
        error
    }
}

fn location(number: u32, offset: u32) -> Result<Location, OpenError> {
    Location::new(number, offset).ok_or_else(|| {
        OpenError::io("data directory", io::Error::other("the numbers of segments are used up"))
    })
}

/// Renames the files of segments in which nothing can be trusted; returns their new names.
fn set_aside(disk: &dyn Disk, segments: &[u32], now: Timestamp) -> Result<Vec<String>, OpenError> {
    let mut names = Vec::new();
    for number in segments {
        let name = segment_name(*number);
        let aside = quarantine_name(&name, "header", now);
        disk.rename(&name, &aside).map_err(|error| OpenError::io(&name, error))?;
        names.push(aside);
    }
    if !names.is_empty() {
        disk.sync_directory().map_err(|error| OpenError::io("data directory", error))?;
    }
    Ok(names)
}

/// Removes the files in the given order.
fn remove_all(disk: &dyn Disk, names: &[String]) -> Result<(), OpenError> {
    for name in names {
        disk.remove(name).map_err(|error| OpenError::io(name, error))?;
    }
    if names.is_empty() {
        return Ok(());
    }
    disk.sync_directory().map_err(|error| OpenError::io("data directory", error))
}

/// Makes sure that everything found up to the end is on the device, by writing it again. An earlier
/// process may have been killed before it synced, and after a failed sync the file system may
/// believe that data is on the device that is not.
fn make_durable(
    disk: &dyn Disk,
    ended: &Ended,
    segments: &BTreeMap<u32, u64>,
) -> Result<(), OpenError> {
    let Some((end, length)) =
        ended.end.and_then(|end| segments.get(&end.segment()).map(|length| (end, *length)))
    else {
        return Ok(());
    };
    let name = segment_name(end.segment());
    let mut bytes = Vec::new();
    read_segment(disk, end.segment(), Some(end.offset()), &mut bytes)?;
    let known = ended.synced.filter(|synced| synced.segment() == end.segment());
    let from = known.map_or(HEADER_BYTES, |synced| synced.offset() as usize).min(bytes.len());
    let write = || {
        let file = disk.open(&name)?;
        if let Some(previous) = ended.previous {
            let header = Header { number: end.segment(), length, previous };
            file.write_at(&header.encode(), 0)?;
        }
        file.write_at(&bytes[from..], from as u64)?;
        file.sync_data()
    };
    write().map_err(|error| OpenError::io(&name, error))
}

/// Makes the segment in which the journal continues, behind all others. If the device is full, a
/// smaller one has to do; the second value says whether it is smaller.
fn continue_in(
    disk: &dyn Disk,
    highest: u32,
    segment_bytes: u64,
    end: Option<Location>,
) -> Result<(Spare, bool), OpenError> {
    let number = location(highest.wrapping_add(1), 0)?.segment();
    let name = segment_name(number);
    let previous = end.map_or(Previous::First, Previous::End);
    let mut length = segment_bytes;
    let spare = loop {
        // Never made as a spare: the segment before a spare always exists.
        match Spare::create_as(disk, Header { number, length, previous }) {
            Err(error) if is_full(&error) && length / 4 >= SEGMENT_BYTES_EMERGENCY => length /= 4,
            created => break created.map_err(|error| OpenError::io(&name, error))?,
        }
    };
    Ok((spare, length < segment_bytes))
}

#[cfg(test)]
mod tests;
