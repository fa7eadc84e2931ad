//! Reads written records through a small cache of blocks, because draining a queue reads
//! neighbouring records. Never returns a record whose crc does not check.

use std::io;

use crate::disk::{Disk, DiskFile};
use crate::location::Location;
use crate::report::{Damage, DamageKind};
use crate::segment::{CrcSeed, FRAME_BYTES, Frame, FrameHead, segment_name};

const BLOCK_BYTES: usize = 64 << 10;
const BLOCKS_MAX: usize = 32;
/// Open files are cheap, but not without limit.
const FILES_MAX: usize = 32;

/// Blocks and open files of segments.
#[derive(Default)]
pub(crate) struct BlockCache {
    blocks: Vec<Block>,
    /// Where the block is that was used last, as far as it is there.
    last: usize,
    files: Vec<OpenFile>,
    clock: u64,
}

struct Block {
    segment: u32,
    index: u32,
    bytes: Vec<u8>,
    used: u64,
}

struct OpenFile {
    segment: u32,
    file: Box<dyn DiskFile>,
    used: u64,
}

impl BlockCache {
    /// Reads the record at `at` into `body`; returns its tag. The records of its segment end at
    /// `end` at the latest.
    pub(crate) fn read(
        &mut self,
        disk: &dyn Disk,
        at: Location,
        end: u64,
        body: &mut Vec<u8>,
    ) -> Result<u8, Damage> {
        body.clear();
        let damage = |kind, detail: String| Damage {
            file: segment_name(at.segment()),
            offset: u64::from(at.offset()),
            kind,
            detail,
        };
        let bad = || damage(DamageKind::BadRecord, "the record does not check".to_owned());
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                damage(DamageKind::MissingSegment, "the file is not there".to_owned())
            }
            io::ErrorKind::UnexpectedEof => bad(),
            _ => damage(DamageKind::Unreadable, error.to_string()),
        };
        let start = u64::from(at.offset());
        let body_start = start + FRAME_BYTES as u64;
        if body_start > end {
            return Err(bad());
        }
        let mut head = [0; FRAME_BYTES];
        self.copy(disk, at.segment(), start, end, &mut head).map_err(unreadable)?;
        let head = FrameHead::decode(head);
        if body_start + u64::from(head.body_bytes) > end {
            return Err(bad());
        }
        body.resize(head.body_bytes as usize, 0);
        let read = if body.len() > BLOCK_BYTES {
            self.read_directly(disk, at.segment(), body_start, body)
        } else {
            self.copy(disk, at.segment(), body_start, end, body)
        };
        read.map_err(unreadable)?;
        if head.checks(body, at.offset(), CrcSeed::of_segment(at.segment())) {
            Ok(head.tag)
        } else {
            body.clear();
            Err(bad())
        }
    }

    /// Reads a record like [`Self::read`]. The body is lent where it lies if it is in one block;
    /// otherwise it is put into `spill`. Returns tag and body.
    pub(crate) fn look_at<'a>(
        &'a mut self,
        disk: &dyn Disk,
        at: Location,
        end: u64,
        spill: &'a mut Vec<u8>,
    ) -> Result<(u8, &'a [u8]), Damage> {
        if let Some((place, frame)) = self.find_in_block(disk, at, end) {
            return Ok((frame.tag, &self.blocks[place].bytes[frame.body]));
        }
        let tag = self.read(disk, at, end, spill)?;
        Ok((tag, spill))
    }

    /// Returns the place of the block that a record is in, and its frame there. Returns `None` if
    /// not all of it is in one block, or something is wrong with it.
    fn find_in_block(&mut self, disk: &dyn Disk, at: Location, end: u64) -> Option<(usize, Frame)> {
        let (segment, start) = (at.segment(), u64::from(at.offset()));
        let (index, within) = ((start / BLOCK_BYTES as u64) as u32, start % BLOCK_BYTES as u64);
        let head_end = within + FRAME_BYTES as u64;
        if head_end > BLOCK_BYTES as u64 || start + FRAME_BYTES as u64 > end {
            return None;
        }
        let place = self.place(disk, segment, index, head_end as usize, end).ok()?;
        let (bytes, seed) = (&self.blocks[place].bytes, CrcSeed::of_segment(segment));
        Some((place, Frame::check(bytes, within as usize, at.offset(), seed)?))
    }

    /// Forgets the blocks and the open file of a segment.
    pub(crate) fn forget(&mut self, segment: u32) {
        self.blocks.retain(|block| block.segment != segment);
        self.files.retain(|file| file.segment != segment);
    }

    /// Copies bytes that stand before `end`.
    fn copy(
        &mut self,
        disk: &dyn Disk,
        segment: u32,
        start: u64,
        end: u64,
        mut into: &mut [u8],
    ) -> io::Result<()> {
        let mut at = start;
        while !into.is_empty() {
            let index = (at / BLOCK_BYTES as u64) as u32;
            let within = (at % BLOCK_BYTES as u64) as usize;
            let count = into.len().min(BLOCK_BYTES - within);
            let block = self.block(disk, segment, index, within + count, end)?;
            let (now, later) = into.split_at_mut(count);
            now.copy_from_slice(&block[within..within + count]);
            into = later;
            at += count as u64;
        }
        Ok(())
    }

    /// Returns a block with at least `needed` bytes.
    fn block(
        &mut self,
        disk: &dyn Disk,
        segment: u32,
        index: u32,
        needed: usize,
        end: u64,
    ) -> io::Result<&[u8]> {
        let place = self.place(disk, segment, index, needed, end)?;
        Ok(&self.blocks[place].bytes)
    }

    /// Returns the place of a block with at least `needed` bytes. Reads the rest of the block up to
    /// `end` along with them.
    fn place(
        &mut self,
        disk: &dyn Disk,
        segment: u32,
        index: u32,
        needed: usize,
        end: u64,
    ) -> io::Result<usize> {
        self.clock += 1;
        let is_it = |block: &Block| block.segment == segment && block.index == index;
        let last = Some(self.last).filter(|last| self.blocks.get(*last).is_some_and(is_it));
        let known = last.or_else(|| self.blocks.iter().position(is_it));
        if let Some(place) = known
            && self.blocks[place].bytes.len() >= needed
        {
            self.blocks[place].used = self.clock;
            self.last = place;
            return Ok(place);
        }
        // Either more has been written to the block since, or it is a new one, for which the block
        // used least recently goes.
        let mut bytes = match known {
            Some(place) => self.blocks.swap_remove(place).bytes,
            None if self.blocks.len() == BLOCKS_MAX => least_used(&mut self.blocks, |b| b.used)
                .map(|block| block.bytes)
                .unwrap_or_default(),
            None => Vec::new(),
        };
        let start = u64::from(index) * BLOCK_BYTES as u64;
        // The read overwrites the old bytes.
        bytes.resize((end - start).min(BLOCK_BYTES as u64) as usize, 0);
        let count = self.file(disk, segment)?.read_at(&mut bytes, start)?;
        bytes.truncate(count);
        if count < needed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.last = self.blocks.len();
        self.blocks.push(Block { segment, index, bytes, used: self.clock });
        Ok(self.last)
    }

    fn read_directly(
        &mut self,
        disk: &dyn Disk,
        segment: u32,
        start: u64,
        into: &mut [u8],
    ) -> io::Result<()> {
        self.clock += 1;
        if self.file(disk, segment)?.read_at(into, start)? < into.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn file(&mut self, disk: &dyn Disk, segment: u32) -> io::Result<&dyn DiskFile> {
        if let Some(place) = self.files.iter().position(|file| file.segment == segment) {
            self.files[place].used = self.clock;
            return Ok(&*self.files[place].file);
        }
        let name = segment_name(segment);
        let file = disk.open(&name).or_else(|_| {
            // The process may have too many open files, and those in the cache are not needed.
            self.files.clear();
            disk.open(&name)
        })?;
        if self.files.len() == FILES_MAX {
            least_used(&mut self.files, |file| file.used);
        }
        self.files.push(OpenFile { segment, file, used: self.clock });
        let place = self.files.len() - 1;
        Ok(&*self.files[place].file)
    }
}

/// Takes out the one that was used least recently.
fn least_used<T>(things: &mut Vec<T>, used: impl Fn(&T) -> u64) -> Option<T> {
    let place = (0..things.len()).min_by_key(|place| used(&things[*place]))?;
    Some(things.swap_remove(place))
}
