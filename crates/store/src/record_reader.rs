//! Reads many written records in about the order of their places, as a start does, without copying
//! them. Never returns a record whose crc does not check.

use std::collections::BTreeMap;
use std::io;

use crate::disk::{Disk, DiskFile};
use crate::location::Location;
use crate::report::{Damage, DamageKind};
use crate::segment::{CrcSeed, FRAME_BYTES, Frame, segment_name};

/// How much is read at once.
const WINDOW_BYTES: usize = 128 << 10;

/// Reads records of a journal. Several can do that at the same time.
pub(crate) struct RecordReader<'a> {
    disk: &'a dyn Disk,
    /// The lengths of the files of all segments.
    segments: &'a BTreeMap<u32, u64>,
    file: Option<OpenSegment>,
    /// Where the window begins in the file.
    start: u64,
    window: Vec<u8>,
}

struct OpenSegment {
    number: u32,
    length: u64,
    seed: CrcSeed,
    file: Box<dyn DiskFile>,
}

impl<'a> RecordReader<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, segments: &'a BTreeMap<u32, u64>) -> Self {
        Self { disk, segments, file: None, start: 0, window: Vec::new() }
    }

    /// Returns whether the record at this place begins in the part of the file that was read last.
    pub(crate) fn is_near(&self, at: Location) -> bool {
        let is_open = self.file.as_ref().is_some_and(|file| file.number == at.segment());
        let within = u64::from(at.offset()).checked_sub(self.start);
        is_open && within.is_some_and(|within| within < self.window.len() as u64)
    }

    /// Returns the tag and the body of the record at this place.
    pub(crate) fn read(&mut self, at: Location) -> Result<(u8, &[u8]), Damage> {
        let frame = self.frame(at).map_err(|(kind, detail)| Damage {
            file: segment_name(at.segment()),
            offset: u64::from(at.offset()),
            kind,
            detail,
        })?;
        Ok((frame.tag, &self.window[frame.body]))
    }

    fn frame(&mut self, at: Location) -> Result<Frame, Fault> {
        let seed = self.open(at.segment())?;
        self.fill(at.offset(), FRAME_BYTES)?;
        if let Some(body_bytes) = self.body_bytes(at.offset()) {
            self.fill(at.offset(), FRAME_BYTES + body_bytes)?;
        }
        let place = (u64::from(at.offset()) - self.start) as usize;
        let frame = Frame::check(&self.window, place, at.offset(), seed);
        frame.ok_or((DamageKind::BadRecord, "the record does not check".to_owned()))
    }

    /// Opens the file of a segment, if it is another one than the last.
    fn open(&mut self, number: u32) -> Result<CrcSeed, Fault> {
        if let Some(file) = &self.file
            && file.number == number
        {
            return Ok(file.seed);
        }
        let missing = |detail: &str| (DamageKind::MissingSegment, detail.to_owned());
        self.file = None;
        self.window.clear();
        let length = self.segments.get(&number).copied();
        let length = length.ok_or_else(|| missing("the segment of the record is gone"))?;
        let file = self.disk.open(&segment_name(number)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => missing("the file is not there"),
            _ => (DamageKind::Unreadable, error.to_string()),
        })?;
        let seed = CrcSeed::of_segment(number);
        self.file = Some(OpenSegment { number, length, seed, file });
        Ok(seed)
    }

    /// Makes sure that the window has this many bytes from this offset on, or none if the file has
    /// not as many.
    fn fill(&mut self, offset: u32, count: usize) -> Result<(), Fault> {
        let (offset, Some(file)) = (u64::from(offset), &self.file) else {
            return Ok(());
        };
        let end = self.start + self.window.len() as u64;
        if offset >= self.start && offset + count as u64 <= end {
            return Ok(());
        }
        let left = file.length.saturating_sub(offset);
        let wanted = if left < count as u64 { 0 } else { left.min(count.max(WINDOW_BYTES) as u64) };
        self.start = offset;
        self.window.resize(wanted as usize, 0);
        let read = file.file.read_at(&mut self.window, offset);
        self.window.truncate(*read.as_ref().unwrap_or(&0));
        read.map(|_| ()).map_err(|error| (DamageKind::Unreadable, error.to_string()))
    }

    /// The length of the body of the record at this offset, which its head says.
    fn body_bytes(&self, offset: u32) -> Option<usize> {
        let head = self.window.get((u64::from(offset) - self.start) as usize..)?;
        Some(u32::from_le_bytes(*head.first_chunk()?) as usize)
    }
}

/// What is wrong with a record.
type Fault = (DamageKind, String);
