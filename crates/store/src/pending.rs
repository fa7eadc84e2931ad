//! The end of the journal that is not written yet: frames in one buffer, cut into parts by the
//! segments that they belong to. Decides where each record will stand; knows nothing of files.

use std::collections::VecDeque;
use std::ops::Range;

use crate::location::Location;
use crate::segment::{
    CrcSeed, END_BYTES, FRAME_BYTES, HEADER_BYTES, SEGMENT_BYTES_MAX, TAG_BEGIN, TAG_END, add_crc,
    encode_begin, encode_end, frame_in_place,
};

/// A buffer that has grown beyond this by one large commit is given back.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

/// Records that are each larger than a segment share a segment up to this length: a file for each
/// of them would cost several syncs each.
const SHARED_BYTES_MAX: u64 = 4 << 20;

/// What is to be written to one segment.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The segment's number.
    pub(crate) number: u32,
    /// The length that its file needs.
    pub(crate) length: u64,
    /// Where the bytes begin in the file.
    pub(crate) offset: u32,
    /// Present if the segment is still to be taken into use: where the journal ends before it.
    pub(crate) previous: Option<Location>,
    /// Where the bytes begin in the buffer.
    start: usize,
}

/// Records that are not written yet.
#[derive(Debug)]
pub(crate) struct Pending {
    buffer: Vec<u8>,
    /// Never empty; the last part is that of the tail.
    parts: VecDeque<Part>,
    tail: Tail,
    segment_bytes: u64,
    commit: Option<OpenCommit>,
}

/// Where the next frame will stand.
#[derive(Debug)]
struct Tail {
    end: Location,
    length: u64,
    seed: CrcSeed,
}

/// A frame in the buffer.
struct Pushed {
    at: Location,
    bytes: u64,
    crc: u32,
}

#[derive(Debug)]
struct OpenCommit {
    records: u32,
    crc: u32,
}

impl Pending {
    /// Begins with nothing to be written, in a segment in use whose file has `length` bytes. The
    /// next record will stand at `end`.
    pub(crate) fn new(end: Location, length: u64, segment_bytes: u64) -> Self {
        let number = end.segment();
        let part = Part { number, length, offset: end.offset(), previous: None, start: 0 };
        Self {
            buffer: Vec::new(),
            parts: VecDeque::from([part]),
            tail: Tail { end, length, seed: CrcSeed::of_segment(number) },
            segment_bytes,
            commit: None,
        }
    }

    /// Appends a record, whose body `encode` appends to what it is given. Returns where the record
    /// will stand, and how long it is with its frame. Begins the commit if it is its first record.
    ///
    /// # Panics
    ///
    /// If the body does not fit into a segment of 4 GiB.
    #[inline]
    pub(crate) fn append(
        &mut self,
        tag: u8,
        encode: impl FnOnce(&mut Vec<u8>),
        synced_to: Location,
    ) -> (Location, u64) {
        if self.commit.is_none() {
            let pushed = self.push(TAG_BEGIN, |out| out.extend(encode_begin(synced_to)));
            self.commit = Some(OpenCommit { records: 0, crc: add_crc(0, pushed.crc) });
        }
        let pushed = self.push(tag, encode);
        if let Some(commit) = &mut self.commit {
            commit.records += 1;
            commit.crc = add_crc(commit.crc, pushed.crc);
        }
        (pushed.at, pushed.bytes)
    }

    /// Ends the commit. A commit without records leaves no trace.
    pub(crate) fn end_commit(&mut self) {
        if let Some(commit) = self.commit.take() {
            self.push(TAG_END, |out| out.extend(encode_end(commit.records, commit.crc)));
        }
    }

    /// The body is encoded behind the others, before it is known to which segment it belongs: that
    /// depends on its length.
    #[inline]
    fn push(&mut self, tag: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Pushed {
        let start = self.buffer.len();
        self.buffer.extend([0; FRAME_BYTES]);
        encode(&mut self.buffer);
        let bytes = (self.buffer.len() - start) as u64;
        if u64::from(self.tail.end.offset()) + bytes > self.tail.length && !self.lengthen(bytes) {
            self.roll(bytes, start);
        }
        let at = self.tail.end;
        let frame = &mut self.buffer[start..];
        let crc = frame_in_place(frame, self.tail.seed, at.offset(), tag);
        self.tail.end = at.plus(bytes as u32);
        Pushed { at, bytes, crc }
    }

    /// Makes room for a frame of this length by lengthening a segment whose file is still to be
    /// made. Does so only for a segment that is longer than others anyway, or for a frame that fits
    /// into no segment of the usual length, and only up to [`SHARED_BYTES_MAX`]. Returns whether it
    /// did.
    #[cold]
    fn lengthen(&mut self, bytes: u64) -> bool {
        let Some(part) = self.parts.back_mut().filter(|part| part.previous.is_some()) else {
            return false;
        };
        let needed = u64::from(self.tail.end.offset()) + with_end(bytes);
        let is_long = part.length > self.segment_bytes
            || HEADER_BYTES as u64 + with_end(bytes) > self.segment_bytes;
        let lengthens = is_long && needed <= SHARED_BYTES_MAX;
        if lengthens {
            part.length = needed;
            self.tail.length = needed;
        }
        lengthens
    }

    /// Continues in the next segment, which has room for a frame of this length. The frame begins
    /// at `start` in the buffer.
    #[cold]
    fn roll(&mut self, bytes: u64, start: usize) {
        let previous = self.tail.end;
        let needed = HEADER_BYTES as u64 + with_end(bytes);
        assert!(needed <= SEGMENT_BYTES_MAX, "a record of {bytes} bytes fits into no segment");
        let length = needed.max(self.segment_bytes);
        let end = previous.next_segment(HEADER_BYTES as u32);
        let (number, offset) = (end.segment(), end.offset());
        self.tail = Tail { end, length, seed: CrcSeed::of_segment(number) };
        self.parts.push_back(Part { number, length, offset, previous: Some(previous), start });
    }

    /// Returns where the next record will stand if it fits there.
    pub(crate) fn end(&self) -> Location {
        self.tail.end
    }

    /// Whether there is nothing to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.len() == 1 && self.parts[0].start == self.buffer.len()
    }

    /// Returns the part that is to be written first, with its bytes.
    pub(crate) fn first(&self) -> (&Part, &[u8]) {
        (&self.parts[0], &self.buffer[self.range(0)])
    }

    /// Returns the first segment that is still to be taken into use.
    pub(crate) fn first_to_come(&self) -> Option<&Part> {
        self.parts.iter().find(|part| part.previous.is_some())
    }

    /// Notes that the segment of the first part is in use now.
    pub(crate) fn first_is_in_use(&mut self) {
        self.parts[0].previous = None;
    }

    /// Notes that the first part is written.
    pub(crate) fn first_is_written(&mut self) {
        if self.parts.len() > 1 {
            self.parts.pop_front();
            return;
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.parts[0].start = 0;
        self.parts[0].offset = self.tail.end.offset();
    }

    /// Forgets everything, which will never be written.
    pub(crate) fn discard(&mut self) {
        self.parts.drain(..self.parts.len() - 1);
        self.first_is_written();
    }

    /// Returns the bytes from a record on that is not written yet; `None` if it is not here.
    pub(crate) fn find(&self, at: Location) -> Option<&[u8]> {
        let index = self.parts.iter().position(|part| part.number == at.segment())?;
        let distance = at.offset().checked_sub(self.parts[index].offset)? as usize;
        let range = self.range(index);
        (distance < range.len()).then(|| &self.buffer[range.start + distance..range.end])
    }

    fn range(&self, index: usize) -> Range<usize> {
        let end = self.parts.get(index + 1).map_or(self.buffer.len(), |next| next.start);
        self.parts[index].start..end
    }
}

/// Returns the length of a frame together with the End behind it, which should not need one more
/// segment.
fn with_end(bytes: u64) -> u64 {
    bytes + (FRAME_BYTES + END_BYTES) as u64
}
