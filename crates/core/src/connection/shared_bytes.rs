//! Packets that are the same for many receivers, written down once for the length of a turn.
//!
//! Each receiver's output refers to the part that it gets; what was not written to its socket by
//! the end of the turn is copied into a buffer of that output. So all receivers of a message are
//! served from the same few bytes, which are in the processor's cache, and not from as many copies.
//! The bytes must never be taken away while an output refers to them.

use std::ops::Range;

use crate::base::identity::ConnectionId;

/// The bytes of this turn, and who has a part of them.
#[derive(Debug, Default)]
pub(crate) struct TurnBytes {
    bytes: Vec<u8>,
    holders: Vec<ConnectionId>,
}

/// A part of the bytes of this turn; empty: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    start: u32,
    length: u32,
}

impl TurnBytes {
    /// The most bytes of one turn; what would exceed it is not added.
    const BYTES_MAX: usize = 256 * 1024;

    /// Adds `head` and `payload` as one part, if there is room.
    pub(crate) fn add(&mut self, head: &[u8], payload: &[u8]) -> Option<Part> {
        let (start, length) = (self.bytes.len(), head.len() + payload.len());
        if start + length > Self::BYTES_MAX {
            return None;
        }
        self.bytes.extend_from_slice(head);
        self.bytes.extend_from_slice(payload);
        // Neither is above `BYTES_MAX`.
        Some(Part { start: start as u32, length: length as u32 })
    }

    pub(crate) fn get(&self, part: Part) -> &[u8] {
        &self.bytes[part.range()]
    }

    /// Notes that the output of this connection has a part from now on.
    #[inline]
    pub(crate) fn note_holder(&mut self, id: ConnectionId) {
        self.holders.push(id);
    }

    /// Takes the holders that were noted since the last time. All of them have to let go of their
    /// parts before [`TurnBytes::clear`].
    pub(crate) fn take_holders(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.holders)
    }

    /// Clears the bytes when nobody has a part of them any more. Keeps `holders`, now empty, for
    /// reuse.
    pub(crate) fn clear(&mut self, mut holders: Vec<ConnectionId>) {
        self.bytes.clear();
        holders.clear();
        self.holders = holders;
    }

    /// Gives back what is not in use.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.holders.shrink_to_fit();
    }

    /// The bytes of memory that this takes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.capacity() + self.holders.capacity() * size_of::<ConnectionId>()
    }
}

impl Part {
    pub(crate) fn is_empty(self) -> bool {
        self.length == 0
    }

    pub(crate) fn len(self) -> usize {
        self.length as usize
    }

    /// Grows by `next` if that comes right after it; returns whether it does.
    #[inline]
    pub(crate) fn extend(&mut self, next: Self) -> bool {
        let follows = self.start + self.length == next.start;
        if follows {
            self.length += next.length;
        }
        follows
    }

    /// Leaves out the first `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        let count = (count as u32).min(self.length);
        self.start += count;
        self.length -= count;
    }

    /// Splits the part into pieces of at most `length_max` bytes.
    pub(crate) fn pieces(self, length_max: usize) -> impl Iterator<Item = Self> {
        let end = self.start + self.length;
        (self.start..end).step_by(length_max).map(move |start| {
            let length = (end - start).min(length_max as u32);
            Self { start, length }
        })
    }

    fn range(self) -> Range<usize> {
        self.start as usize..(self.start + self.length) as usize
    }
}
