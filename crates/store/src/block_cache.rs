//! Reads written records through a small cache of blocks, because draining a queue reads
//! neighbouring records. Never returns a record whose crc does not check.

use std::io;

use crate::disk::{Disk, DiskFile};
use crate::location::Location;
use crate::report::{Damage, DamageKind};
use crate::segment::{CrcSeed, FRAME_BYTES, FrameHead, segment_name};

const BLOCK_BYTES: usize = 64 << 10;
const BLOCKS_MAX: usize = 32;
/// Open files are cheap, but not without limit.
const FILES_MAX: usize = 32;

/// Blocks and open files of segments.
#[derive(Default)]
pub(crate) struct BlockCache {
    blocks: Vec<Block>,
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

    /// Returns a block with at least `needed` bytes. Reads the rest of the block up to `end` along
    /// with them.
    fn block(
        &mut self,
        disk: &dyn Disk,
        segment: u32,
        index: u32,
        needed: usize,
        end: u64,
    ) -> io::Result<&[u8]> {
        self.clock += 1;
        let known = self.blocks.iter().position(|b| b.segment == segment && b.index == index);
        if let Some(place) = known
            && self.blocks[place].bytes.len() >= needed
        {
            self.blocks[place].used = self.clock;
            return Ok(&self.blocks[place].bytes);
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
        bytes.clear();
        bytes.resize((end - start).min(BLOCK_BYTES as u64) as usize, 0);
        let count = self.file(disk, segment)?.read_at(&mut bytes, start)?;
        bytes.truncate(count);
        if count < needed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.blocks.push(Block { segment, index, bytes, used: self.clock });
        Ok(self.blocks.last().map_or(&[], |block| &block.bytes))
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
