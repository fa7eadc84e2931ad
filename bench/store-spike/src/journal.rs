//! A segmented journal: framed records with CRC32C, one write and one `fdatasync` per commit.
//!
//! Shared by the two candidates that use a journal of our own. It knows frames and segments, not
//! what a record means. A commit never spans segments here, so it has a largest size.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

use crate::candidate::Outcome;
use crate::replay::{self, HEADER, frame_at};

/// Bytes of a segment file.
pub const SEGMENT: u64 = 16 << 20;
/// Most bytes that one commit may have.
pub const COMMIT_MAX: usize = 256 << 10;
/// Begins a commit; the body says up to where everything was synced, then `MAGIC`.
pub const BEGIN: u8 = 1;
/// Ends a commit; the body is the number of records and a checksum over their checksums.
pub const END: u8 = 2;
/// By this replay finds its way again behind damage.
pub const MAGIC: [u8; 8] = *b"\xd7MJBEGIN";

/// Segment in the upper half, offset in the lower; never 0.
pub fn location(segment: u32, offset: usize) -> u64 {
    u64::from(segment) << 32 | offset as u64
}

/// An open journal.
pub struct Journal {
    dir: PathBuf,
    zeroed: bool,
    files: BTreeMap<u32, File>,
    current: u32,
    /// Where the next write goes.
    end: usize,
    spare: Option<File>,
    buffer: Vec<u8>,
    records: u32,
    sums: u32,
    synced_to: u64,
}

impl Journal {
    /// Replays from a location and goes on in a new segment. `known_end`: where the journal ended
    /// according to something else, so that a shorter one is damage and no torn tail.
    pub fn open(
        dir: &Path,
        zeroed: bool,
        from: u64,
        known_end: u64,
        damage: &mut Vec<String>,
        visit: &mut dyn FnMut(u64, u8, &[u8]),
    ) -> Outcome<Self> {
        let (files, end) = replay::run(dir, from, known_end, damage, visit)?;
        let mut journal = Self {
            dir: dir.to_path_buf(),
            zeroed,
            current: files.keys().next_back().copied().unwrap_or(0),
            files,
            end: (end & 0xffff_ffff) as usize,
            spare: None,
            buffer: Vec::with_capacity(COMMIT_MAX),
            records: 0,
            sums: 0,
            synced_to: end,
        };
        journal.roll_over()?;
        Ok(journal)
    }

    /// Adds a record to the commit that is being built and says where it will be.
    pub fn append(&mut self, tag: u8, body: &[&[u8]]) -> Outcome<u64> {
        if self.buffer.is_empty() {
            if self.end + COMMIT_MAX > SEGMENT as usize {
                self.roll_over()?;
            }
            let synced = self.synced_to.to_le_bytes();
            self.frame(BEGIN, &[&synced, &MAGIC]);
            (self.records, self.sums) = (0, 0);
        }
        let at = location(self.current, self.end + self.buffer.len());
        let sum = self.frame(tag, body);
        self.sums = crc32c::crc32c_append(self.sums, &sum.to_le_bytes());
        self.records += 1;
        if self.buffer.len() + 64 > COMMIT_MAX {
            return Err("the commit is too large for this journal".into());
        }
        Ok(at)
    }

    /// Bytes of the commit that is being built.
    pub fn building(&self) -> usize {
        self.buffer.len()
    }

    fn frame(&mut self, tag: u8, body: &[&[u8]]) -> u32 {
        let length: usize = body.iter().map(|part| part.len()).sum();
        let length = (length as u32).to_le_bytes();
        let mut sum = crc32c::crc32c_append(self.current, &[tag]);
        sum = crc32c::crc32c_append(sum, &length);
        self.buffer.extend_from_slice(&length);
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.push(tag);
        let start = self.buffer.len();
        for part in body {
            self.buffer.extend_from_slice(part);
        }
        sum = crc32c::crc32c_append(sum, &self.buffer[start..]);
        self.buffer[start - 5..start - 1].copy_from_slice(&sum.to_le_bytes());
        sum
    }

    /// Writes the commit and makes it durable.
    pub fn commit(&mut self) -> Outcome<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (records, sums) = (self.records.to_le_bytes(), self.sums.to_le_bytes());
        self.frame(END, &[&records, &sums]);
        let file = &self.files[&self.current];
        file.write_all_at(&self.buffer, self.end as u64)?;
        file.sync_data()?;
        self.end += self.buffer.len();
        self.synced_to = self.end();
        self.buffer.clear();
        if self.spare.is_none() {
            self.spare = Some(self.make_spare()?);
        }
        Ok(())
    }

    /// Reads one record: its tag and its body are in `bytes` from the returned place on.
    pub fn read(&self, at: u64, bytes: &mut Vec<u8>) -> Outcome<(u8, std::ops::Range<usize>)> {
        let (segment, offset) = ((at >> 32) as u32, at & 0xffff_ffff);
        let file = self.files.get(&segment).ok_or("the segment is missing")?;
        bytes.resize(256, 0);
        let got = file.read_at(bytes, offset)?;
        bytes.truncate(got);
        let length = bytes.get(..4).ok_or("behind the end of the file")?;
        let length = u32::from_le_bytes(length.try_into()?) as usize;
        if length as u64 > SEGMENT {
            return Err("impossible length".into());
        }
        if 9 + length > bytes.len() {
            bytes.resize(9 + length, 0);
            file.read_exact_at(bytes, offset)?;
        }
        let (tag, body) = frame_at(segment, bytes, 0).ok_or("checksum does not match")?;
        Ok((tag, body))
    }

    /// Where the next commit will begin.
    pub fn end(&self) -> u64 {
        location(self.current, self.end)
    }

    /// Segments in use, oldest first.
    pub fn segments(&self) -> Vec<u32> {
        self.files.keys().copied().collect()
    }

    /// Number of segments in use.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// The segment in use that is oldest.
    pub fn oldest(&self) -> u32 {
        self.files.keys().next().copied().unwrap_or(0)
    }

    /// The segment that is being written.
    pub fn current(&self) -> u32 {
        self.current
    }

    /// A handle of a segment for another thread.
    pub fn share(&self, segment: u32) -> Outcome<File> {
        Ok(self.files.get(&segment).ok_or("the segment is missing")?.try_clone()?)
    }

    /// Removes a segment that nothing needs any more.
    pub fn remove(&mut self, segment: u32) -> Outcome<()> {
        self.files.remove(&segment);
        Ok(std::fs::remove_file(segment_path(&self.dir, segment))?)
    }

    fn make_spare(&self) -> Outcome<File> {
        let path = self.dir.join("spare");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        fallocate(&file, FallocateFlags::empty(), 0, SEGMENT)?;
        if self.zeroed {
            let zeros = vec![0; 1 << 20];
            for chunk in 0..SEGMENT >> 20 {
                file.write_all_at(&zeros, chunk << 20)?;
            }
        }
        file.sync_all()?;
        Ok(file)
    }

    fn roll_over(&mut self) -> Outcome<()> {
        let file = match self.spare.take() {
            Some(file) => file,
            None => self.make_spare()?,
        };
        let next = self.current + 1;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(b"MIDGEJNL");
        header[8..12].copy_from_slice(&1u32.to_le_bytes());
        header[16..20].copy_from_slice(&next.to_le_bytes());
        header[24..32].copy_from_slice(&(self.end as u64).to_le_bytes());
        let sum = crc32c::crc32c(&header[..60]);
        header[60..].copy_from_slice(&sum.to_le_bytes());
        file.write_all_at(&header, 0)?;
        file.sync_data()?;
        std::fs::rename(self.dir.join("spare"), segment_path(&self.dir, next))?;
        File::open(&self.dir)?.sync_all()?;
        self.files.insert(next, file);
        (self.current, self.end) = (next, HEADER);
        Ok(())
    }
}

/// The file of a segment.
pub fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("journal-{segment:016x}"))
}

/// Writes a small file so that it is there as a whole or not at all: name, sum, bytes.
pub fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> Outcome<()> {
    let fresh = dir.join(format!("{name}.new"));
    let file = File::create(&fresh)?;
    file.write_all_at(&crc32c::crc32c(bytes).to_le_bytes(), 0)?;
    file.write_all_at(bytes, 4)?;
    file.sync_all()?;
    std::fs::rename(fresh, dir.join(name))?;
    Ok(File::open(dir)?.sync_all()?)
}

/// Reads what `write_whole` wrote; `Ok(None)` when there is no such file.
pub fn read_whole(dir: &Path, name: &str) -> Outcome<Option<Vec<u8>>> {
    let mut bytes = match std::fs::read(dir.join(name)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if bytes.len() < 4 {
        return Err(format!("{name} is too short").into());
    }
    let body = bytes.split_off(4);
    if crc32c::crc32c(&body).to_le_bytes() != bytes[..] {
        return Err(format!("{name}: checksum does not match").into());
    }
    Ok(Some(body))
}
