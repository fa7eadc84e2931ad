//! A run of queue entries in few bytes: differences as varints. The same bytes stand in
//! checkpoints, so they are checked before they are trusted.

use super::{Entry, Flags, Places};
use crate::location::Location;
use crate::record::BadRecord;
use crate::record::bytes::{Reader, put_bytes, put_varint, unzigzag, zigzag};

/// There is a gap in the sequences before the entry.
const GAP: u8 = 1 << 3;
/// The entry has no places.
const NOWHERE: u8 = 1 << 4;
/// The message of the entry is in another record.
const ELSEWHERE: u8 = 1 << 5;
const UNUSED: u8 = 0b11 << 6;

/// Packed entries, at least one, in the order of their sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    first: u64,
    last: u64,
    len: u32,
    bytes: Box<[u8]>,
}

/// Walks over a block.
pub(crate) struct BlockIter<'a> {
    reader: Reader<'a>,
    state: State,
}

/// The values that differences are taken from.
struct State {
    sequence: u64,
    record: u64,
    message: u64,
}

impl Block {
    /// No block is encoded in fewer bytes.
    pub(super) const BYTES_MIN: usize = 5;

    /// Packs these entries into a block; `None` if there are none.
    pub(crate) fn pack(entries: &[Entry]) -> Option<Self> {
        let (first, last) = (entries.first()?.sequence, entries.last()?.sequence);
        let mut bytes = Vec::with_capacity(entries.len() * 8);
        let mut state = State::at(first);
        for entry in entries {
            state.put(entry, &mut bytes);
        }
        Some(Self { first, last, len: entries.len() as u32, bytes: bytes.into() })
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn iter(&self) -> BlockIter<'_> {
        BlockIter { reader: Reader::new(&self.bytes), state: State::at(self.first) }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.first);
        put_varint(out, u64::from(self.len));
        put_bytes(out, &self.bytes);
    }

    /// Reads a block, makes sure that all of its entries can be read, and visits them.
    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        mut visit: impl FnMut(&Entry),
    ) -> Result<Self, BadRecord> {
        let first = reader.varint()?;
        let len = reader.varint_u32()?;
        let bytes = reader.bytes()?;
        let mut entries = Reader::new(bytes);
        let mut state = State::at(first);
        let mut last = None;
        for _ in 0..len {
            let entry = state.take(&mut entries)?;
            let sequence = entry.sequence;
            if last.is_some_and(|last| last >= sequence) || sequence == u64::MAX {
                return Err(BadRecord("the sequences of a queue are out of order"));
            }
            last = Some(sequence);
            visit(&entry);
        }
        entries.finish()?;
        let last = last.ok_or(BadRecord("a block of a queue is empty"))?;
        Ok(Self { first, last, len, bytes: bytes.into() })
    }
}

impl Iterator for BlockIter<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        if self.reader.remaining() == 0 {
            return None;
        }
        self.state.take(&mut self.reader).ok()
    }
}

impl State {
    fn at(first: u64) -> Self {
        Self { sequence: first, record: 0, message: 0 }
    }

    fn put(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        let mut flags = entry.flags.0;
        let gap = entry.sequence.wrapping_sub(self.sequence);
        if gap != 0 {
            flags |= GAP;
        }
        match entry.places {
            None => flags |= NOWHERE,
            Some(places) if places.record != places.message => flags |= ELSEWHERE,
            Some(_) => {}
        }
        out.push(flags);
        if gap != 0 {
            put_varint(out, gap);
        }
        put_varint(out, u64::from(entry.size));
        if let Some(Places { record, message }) = entry.places {
            put_difference(out, &mut self.record, record);
            if record != message {
                put_difference(out, &mut self.message, message);
            }
        }
        self.sequence = entry.sequence.wrapping_add(1);
    }

    fn take(&mut self, reader: &mut Reader<'_>) -> Result<Entry, BadRecord> {
        let flags = reader.byte()?;
        if flags & UNUSED != 0 {
            return Err(BadRecord("a flag of a queue entry is unknown"));
        }
        if flags & GAP != 0 {
            self.sequence = self.sequence.wrapping_add(reader.varint()?);
        }
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let size = reader.varint_u32()?;
        let places = if flags & NOWHERE == 0 {
            let record = take_difference(reader, &mut self.record)?;
            let message = match flags & ELSEWHERE {
                0 => record,
                _ => take_difference(reader, &mut self.message)?,
            };
            Some(Places { record, message })
        } else {
            None
        };
        Ok(Entry { sequence, places, size, flags: Flags(flags & Flags::ALL) })
    }
}

fn put_difference(out: &mut Vec<u8>, last: &mut u64, place: Location) {
    let place = place.to_u64();
    put_varint(out, zigzag(place.wrapping_sub(*last) as i64));
    *last = place;
}

fn take_difference(reader: &mut Reader<'_>, last: &mut u64) -> Result<Location, BadRecord> {
    *last = last.wrapping_add(unzigzag(reader.varint()?) as u64);
    Location::from_u64(*last).ok_or(BadRecord("a place in the journal is 0"))
}
