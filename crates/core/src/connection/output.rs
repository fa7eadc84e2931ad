//! What waits to be written to one Network Connection, and the pool its buffers come from.
//!
//! Small packets are copied one after the other into a pooled buffer. A large payload is shared
//! instead of copied, and so are, for one turn, bytes that are the same for many receivers (see
//! [`TurnBytes`]). An idle connection owns no buffer.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::base::message::Message;
use crate::connection::cut::Cut;
use crate::connection::shared_bytes::{Part, TurnBytes};

/// Payloads from this size on are shared with the message instead of copied. Measured: below it
/// the copy costs less than the bookkeeping of one more segment.
pub(crate) const SHARED_PAYLOAD_BYTES_MIN: usize = 2048;

/// The size of a buffer in which bytes stay because the peer does not read. All have this size, so
/// that the allocator can give one peer what another one has freed.
const CHUNK_BYTES: usize = 32 * 1024;
/// Nothing more is appended to a buffer of this length or more: few packets exceed the rest.
const CHUNK_FULL_BYTES: usize = 28 * 1024;
/// A buffer with this much in it gets the size of a chunk at once.
const CHUNK_BEGIN_BYTES: usize = 2 * 1024;

#[derive(Debug)]
enum Segment {
    Bytes(Vec<u8>),
    Payload(Message),
}

/// The bytes on their way to one peer.
#[derive(Debug, Default)]
pub struct Output {
    /// The buffer that packets are appended to; written after all segments and before `part`.
    tail: Vec<u8>,
    #[allow(clippy::box_collection)] // almost always absent: one word, not four
    segments: Option<Box<VecDeque<Segment>>>,
    /// Bytes of the first segment (or of the tail) that are written already.
    written: u32,
    /// The rest of the packet that the last of these bytes belong to.
    cut: Cut,
    /// Bytes not yet written, in total.
    pending: usize,
    /// The part of this turn's bytes that this peer gets.
    part: Part,
}

/// Empty buffers for reuse by the connections of one worker, and what they share in this turn.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    buffers: Vec<Vec<u8>>,
    /// The capacity of all these buffers.
    bytes: usize,
    pub(crate) turn: TurnBytes,
}

impl Output {
    /// Bytes that wait to be written.
    #[inline]
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Whether everything has been written.
    pub fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// Fills `slices` with what comes next, in order, and returns how many were filled.
    pub(crate) fn next_slices<'a>(
        &'a self,
        turn: &'a TurnBytes,
        slices: &mut [IoSlice<'a>],
    ) -> usize {
        let mut filled = 0;
        for (slot, bytes) in slices.iter_mut().zip(self.unwritten(turn)) {
            *slot = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    /// What waits to be written, piece by piece.
    fn unwritten<'a>(&'a self, turn: &'a TurnBytes) -> impl Iterator<Item = &'a [u8]> {
        let segments = self.segments.iter().flat_map(|segments| segments.iter());
        let own = segments.map(Segment::as_slice).chain(std::iter::once(&self.tail[..]));
        let all = own.chain(std::iter::once(turn.get(self.part))).filter(|part| !part.is_empty());
        let mut skip = self.written as usize;
        all.map(move |bytes| &bytes[std::mem::take(&mut skip)..])
    }

    /// Counts the PUBLISH packets with QoS 0 that are not written to the last byte.
    pub(crate) fn count_qos0(&self, turn: &TurnBytes) -> u64 {
        self.cut.count_qos0(self.unwritten(turn))
    }

    /// Appends through `write`, which gets the buffer to add to.
    #[inline]
    pub(crate) fn append<T>(
        &mut self,
        pool: &mut BufferPool,
        write: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> T {
        if !self.part.is_empty() {
            self.keep_part(pool);
        }
        self.prepare_tail(pool);
        let before = self.tail.len();
        let result = write(&mut self.tail);
        self.pending += self.tail.len() - before;
        result
    }

    #[inline]
    fn prepare_tail(&mut self, pool: &mut BufferPool) {
        if self.tail.capacity() == 0 {
            self.tail = pool.take();
        } else if self.tail.len() >= CHUNK_FULL_BYTES {
            self.begin_chunk(pool);
        } else if self.tail.len() >= CHUNK_BEGIN_BYTES && self.tail.capacity() < CHUNK_BYTES {
            self.tail.reserve_exact(CHUNK_BYTES - self.tail.len());
        }
    }

    /// Appends a part of this turn's bytes. Returns true if this output had none before; the caller
    /// then notes it as a holder.
    #[inline]
    pub(crate) fn append_part(&mut self, part: Part, pool: &mut BufferPool) -> bool {
        self.pending += part.len();
        if self.part.is_empty() {
            self.part = part;
            return true;
        }
        if !self.part.extend(part) {
            self.keep_part(pool);
            self.part = part;
        }
        false
    }

    /// Copies the part of this turn's bytes into a buffer of this output, because something else
    /// follows or the turn is over.
    #[cold]
    pub(crate) fn keep_part(&mut self, pool: &mut BufferPool) {
        let part = std::mem::take(&mut self.part);
        for piece in part.pieces(CHUNK_BYTES - CHUNK_FULL_BYTES) {
            self.prepare_tail(pool);
            self.tail.extend_from_slice(pool.turn.get(piece));
        }
    }

    /// Puts a full chunk behind those before it. Letting it grow instead would take twice its
    /// memory for a moment, and at the same moment for all peers that do not read.
    #[cold]
    fn begin_chunk(&mut self, pool: &mut BufferPool) {
        let mut next = pool.take();
        next.reserve_exact(CHUNK_BYTES);
        let full = std::mem::replace(&mut self.tail, next);
        self.segments.get_or_insert_default().push_back(Segment::Bytes(full));
    }

    /// The bytes of memory it takes; payloads are counted as if nobody shared them.
    pub(crate) fn held_bytes(&self) -> usize {
        let held = |segment: &Segment| match segment {
            Segment::Bytes(bytes) => bytes.capacity(),
            Segment::Payload(message) => message.payload().len(),
        };
        let segments = self.segments.iter().flat_map(|segments| segments.iter()).map(held);
        self.tail.capacity() + segments.sum::<usize>()
    }

    /// Appends the payload of `message` without copying it.
    pub(crate) fn append_payload(&mut self, message: Message, pool: &mut BufferPool) {
        self.keep_part(pool);
        self.pending += message.payload().len();
        let segments = self.segments.get_or_insert_default();
        if !self.tail.is_empty() {
            segments.push_back(Segment::Bytes(std::mem::take(&mut self.tail)));
        }
        segments.push_back(Segment::Payload(message));
    }

    /// Notes that `count` bytes were written; returns buffers that are done to the pool.
    pub(crate) fn advance(&mut self, count: usize, pool: &mut BufferPool) {
        self.cut = match count == self.pending {
            true => Cut::default(),
            false => self.cut.after(count, self.unwritten(&pool.turn)),
        };
        self.pending -= count;
        let mut written = self.written as usize + count;
        while let Some(segment) = self.segments.as_mut().and_then(|segments| segments.front()) {
            let length = segment.as_slice().len();
            if written < length {
                self.written = written as u32; // No segment is longer than a packet and a chunk.
                return;
            }
            written -= length;
            let done = self.segments.as_mut().and_then(|segments| segments.pop_front());
            if let Some(Segment::Bytes(buffer)) = done {
                pool.give_back(buffer);
            }
        }
        self.segments = None;
        if written < self.tail.len() {
            self.written = written as u32;
            return self.drop_written_half();
        }
        self.part.advance(written - self.tail.len());
        self.written = 0;
        pool.give_back(std::mem::take(&mut self.tail));
    }

    pub(crate) fn clear(&mut self, pool: &mut BufferPool) {
        self.advance(self.pending, pool);
    }

    /// Drops written bytes once they are more than half of the tail: a peer that never quite
    /// empties its buffer must not make it grow forever.
    fn drop_written_half(&mut self) {
        let written = self.written as usize;
        if written > self.tail.len() / 2 {
            self.tail.drain(..written);
            self.written = 0;
        }
    }
}

impl Segment {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Payload(message) => message.payload(),
        }
    }
}

impl BufferPool {
    const BUFFERS_MAX: usize = 1024;
    const BUFFER_BYTES_MAX: usize = 64 * 1024;
    const BYTES_MAX: usize = 4 * 1024 * 1024;

    fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Gives everything that is not in use back to the system.
    pub(crate) fn clear(&mut self) {
        (self.buffers, self.bytes) = (Vec::new(), 0);
        self.turn.shrink();
    }

    fn give_back(&mut self, mut buffer: Vec<u8>) {
        let fits = (1..=Self::BUFFER_BYTES_MAX).contains(&buffer.capacity())
            && self.bytes + buffer.capacity() <= Self::BYTES_MAX;
        if fits && self.buffers.len() < Self::BUFFERS_MAX {
            buffer.clear();
            self.bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::sync::Arc;

    use midge_codec::QoS;

    use super::{BufferPool, Output};
    use crate::base::durability::Durability;
    use crate::base::identity::Identity;
    use crate::base::message::{Attributes, Publication};

    fn drain(output: &mut Output, pool: &mut BufferPool, step: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2];
            let filled = output.next_slices(&pool.turn, &mut slices);
            let all: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect();
            let count = step.min(all.len());
            written.extend_from_slice(&all[..count]);
            output.advance(count, pool);
        }
        written
    }

    #[test]
    fn no_buffer_grows_beyond_a_chunk() {
        for step in [1_000, 40_000, 1_000_000] {
            let (mut output, mut pool) = (Output::default(), BufferPool::default());
            let mut expected = Vec::new();
            for number in 0..100_u8 {
                let bytes = vec![number; 3_000];
                output.append(&mut pool, |buffer| buffer.extend_from_slice(&bytes));
                expected.extend(bytes);
            }
            assert!(output.held_bytes() < 2 * expected.len());
            assert!(drain(&mut output, &mut pool, step) == expected);
            assert_eq!(output.held_bytes(), 0, "an idle output owns no buffer");
        }
    }

    #[test]
    fn a_part_that_is_kept_is_in_buffers_like_all_others() {
        let (mut output, mut pool) = (Output::default(), BufferPool::default());
        let mut expected = Vec::new();
        for number in 0..60_u8 {
            let payload = vec![number; 3_000];
            let part = pool.turn.add(b"head", &payload).expect("there is room");
            assert_eq!(output.append_part(part, &mut pool), number == 0, "it is a holder");
            expected.extend_from_slice(b"head");
            expected.extend(payload);
        }
        assert_eq!((output.pending(), output.held_bytes()), (expected.len(), 0));
        output.advance(1_000, &mut pool);
        output.keep_part(&mut pool);
        pool.turn.clear(Vec::new());
        output.append(&mut pool, |buffer| buffer.extend_from_slice(b"more"));
        expected.extend_from_slice(b"more");
        assert!(output.held_bytes() < 2 * expected.len());
        let segments = output.segments.iter().flat_map(|segments| segments.iter());
        let longest = segments.map(|segment| segment.as_slice().len()).max();
        assert!(longest.is_some_and(|longest| longest < 2 * super::CHUNK_BYTES));
        assert!(drain(&mut output, &mut pool, 70_000) == expected[1_000..]);
    }

    fn publication(publisher: &Arc<Identity>) -> Publication<'_> {
        let attributes = Attributes {
            qos: QoS::AtMostOnce,
            retain: false,
            expires_at: None,
            publisher_session: None,
            durability: Durability::Memory,
        };
        Publication::new("t", &[], b"PAYLOAD", attributes, publisher)
    }

    #[test]
    fn any_partial_write_keeps_the_order() {
        let publisher = Arc::new(Identity::new("p".into(), None));
        let publication = publication(&publisher);
        for step in 1..30 {
            let (mut output, mut pool) = (Output::default(), BufferPool::default());
            output.append(&mut pool, |buffer| buffer.extend_from_slice(b"one "));
            output.append_payload(publication.share(), &mut pool);
            output.append(&mut pool, |buffer| buffer.extend_from_slice(b" two "));
            output.append_payload(publication.share(), &mut pool);
            output.append(&mut pool, |buffer| buffer.extend_from_slice(b" three"));
            assert_eq!(output.pending(), 29);
            let written = drain(&mut output, &mut pool, step);
            assert_eq!(written, b"one PAYLOAD two PAYLOAD three");
            assert_eq!(output.tail.capacity(), 0, "an idle output owns no buffer");
            assert!(output.segments.is_none());
        }
    }

    #[test]
    fn what_is_not_written_is_counted_after_writes_of_any_size() {
        let publisher = Arc::new(Identity::new("p".into(), None));
        let publication = publication(&publisher);
        let (head, acknowledged) = (b"\x30\x0A\0\x01t", b"\x32\x07\0\x01t\0\x010x");
        for step in 1..120 {
            let (mut output, mut pool) = (Output::default(), BufferPool::default());
            let mut ends = Vec::new();
            for round in 0..4 {
                output.append(&mut pool, |buffer| buffer.extend_from_slice(acknowledged));
                output.append(&mut pool, |buffer| buffer.extend_from_slice(head));
                output.append_payload(publication.share(), &mut pool);
                ends.push(output.pending());
                let part = pool.turn.add(head, b"PAYLOAD").expect("there is room");
                output.append_part(part, &mut pool);
                ends.push(output.pending());
                if round % 2 == 0 {
                    output.keep_part(&mut pool);
                }
            }
            let (all, mut done) = (output.pending(), 0);
            while !output.is_empty() {
                let count = step.min(all - done);
                output.advance(count, &mut pool);
                done += count;
                let left = ends.iter().filter(|end| **end > done).count() as u64;
                assert_eq!(output.count_qos0(&pool.turn), left, "{done} in steps of {step}");
            }
        }
    }
}
