//! The queue of one owner: where each of its messages is, in order, and how much waits. The
//! youngest and the oldest references are plain. All between them are packed, except for the
//! stretch that is changing, so that a long queue costs a few bytes per message. It never reads a
//! file and never holds a message.

mod packing;
mod stretch;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::location::Location;
use crate::record::bytes::Reader;
use crate::record::{BadRecord, Body};
pub(crate) use packing::Block;
use stretch::Stretch;

/// How many young references stay plain; if there are more, some are packed.
const YOUNG_MAX: usize = 256;
/// How many references are packed at once.
const BLOCK_LEN: usize = 128;
/// A block that grew beyond this by late insertions is cut in two.
const BLOCK_LEN_MAX: usize = 4 * BLOCK_LEN;

/// One message that waits, or that is taken and not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) places: Option<Places>,
    /// [`midge_core::Message::size`].
    pub(crate) size: u32,
    pub(crate) flags: Flags,
}

/// Where the record of an entry is, and where the record is that has its message; often they are
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) record: Location,
    pub(crate) message: Location,
}

/// Properties of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    /// It comes from a shared subscription.
    pub(crate) const FROM_GROUP: Self = Self(1);
    /// PUBREC has come: the message is not needed any more.
    pub(crate) const TAKEN: Self = Self(1 << 1);
    /// It counts only once its round is confirmed.
    pub(crate) const PROVISIONAL: Self = Self(1 << 2);
    const ALL: u8 = 0b111;

    pub(crate) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(crate) fn set(&mut self, flag: Self, on: bool) {
        if on {
            self.0 |= flag.0;
        } else {
            self.0 &= !flag.0;
        }
    }

    pub(crate) fn with(mut self, flag: Self, on: bool) -> Self {
        self.set(flag, on);
        self
    }
}

/// How much waits, not counting taken messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) of_groups: u64,
}

/// The queue of one owner.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    /// The oldest entries, unpacked again because they are needed.
    old: VecDeque<Entry>,
    stretches: VecDeque<Stretch>,
    /// Which of the stretches is open.
    open: Option<usize>,
    young: VecDeque<Entry>,
    next: u64,
    waiting: Waiting,
    /// The first and the last segment in which there may be a place. They are not adjusted when
    /// entries finish.
    segments: Option<(u32, u32)>,
}

/// The part of the queue that a sequence belongs to.
enum Part {
    Old,
    Stretch(usize),
    Young,
}

impl Queue {
    /// Returns the sequence that the next message gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Raises the next sequence: those below `next` are known to have been used.
    pub(crate) fn raise_next(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Returns the first sequence that is not finished.
    pub(crate) fn first(&self) -> u64 {
        let old = self.old.front().map(|entry| entry.sequence);
        let middle = || self.stretches.front().map(Stretch::first);
        let young = || self.young.front().map(|entry| entry.sequence);
        old.or_else(middle).or_else(young).unwrap_or(self.next)
    }

    pub(crate) fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Returns how many entries are not finished.
    pub(crate) fn len(&self) -> u64 {
        let middle: usize = self.stretches.iter().map(Stretch::len).sum();
        (self.old.len() + middle + self.young.len()) as u64
    }

    /// Bytes of memory, as far as they depend on its length.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        let middle: usize = self.stretches.iter().map(Stretch::memory_bytes).sum();
        (self.old.capacity() + self.young.capacity()) * size_of::<Entry>()
            + self.stretches.capacity() * size_of::<Stretch>()
            + middle
    }

    /// Returns whether an entry may be in this segment.
    pub(crate) fn may_be_in(&self, segment: u32) -> bool {
        self.segments.is_some_and(|(first, last)| (first..=last).contains(&segment))
    }

    /// Puts a message at the end. Its sequence must be [`Queue::next`] or larger.
    pub(crate) fn push(&mut self, entry: Entry) {
        debug_assert!(entry.sequence >= self.next);
        self.next = entry.sequence.saturating_add(1);
        self.count(&entry);
        self.young.push_back(entry);
        if self.young.len() > YOUNG_MAX {
            self.pack();
        }
    }

    /// Puts a message where it belongs; replaces the entry that has its sequence and returns that.
    pub(crate) fn insert(&mut self, entry: Entry) -> Option<Entry> {
        if entry.sequence >= self.next {
            self.push(entry);
            return None;
        }
        let replaced = self.change(entry.sequence, |list, found| match found {
            Ok(index) => Some(std::mem::replace(&mut list[index], entry)),
            Err(index) => {
                list.insert(index, entry);
                None
            }
        });
        if let Some(replaced) = &replaced {
            self.uncount(replaced);
        }
        self.count(&entry);
        replaced
    }

    /// Finishes a message; returns its entry, if there was one.
    pub(crate) fn finish(&mut self, sequence: u64) -> Option<Entry> {
        let finished = match self.finish_first(sequence) {
            Some(finished) => finished,
            None => self.change(sequence, |list, found| list.remove(found.ok()?))?,
        };
        self.uncount(&finished);
        Some(finished)
    }

    /// Marks a message as taken, which needs no message any more; returns the entry as it was
    /// before, if it was there and not taken.
    pub(crate) fn take(&mut self, sequence: u64) -> Option<Entry> {
        self.get(sequence).filter(|entry| !entry.flags.has(Flags::TAKEN))?;
        self.update(sequence, |entry| {
            entry.flags.set(Flags::TAKEN, true);
            entry.places = None;
        })
    }

    /// Returns the entry of a message.
    pub(crate) fn get(&self, sequence: u64) -> Option<Entry> {
        match self.part(sequence) {
            Part::Old => find(&self.old, sequence).ok().map(|index| self.old[index]),
            Part::Young => find(&self.young, sequence).ok().map(|index| self.young[index]),
            Part::Stretch(index) => self.stretches[index].get(sequence),
        }
    }

    /// Changes the entry of a message; returns the entry as it was before.
    pub(crate) fn update(
        &mut self,
        sequence: u64,
        update: impl FnOnce(&mut Entry),
    ) -> Option<Entry> {
        let (before, after) = self.change(sequence, |list, found| {
            let entry = &mut list[found.ok()?];
            let before = *entry;
            update(entry);
            entry.sequence = sequence;
            Some((before, *entry))
        })?;
        self.uncount(&before);
        self.count(&after);
        Some(before)
    }

    /// Visits the entries that are not finished, in order from this sequence on, until told to
    /// stop.
    pub(crate) fn visit_from(
        &self,
        from: u64,
        mut visit: impl FnMut(Entry) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for entry in self.old.range(start_of(&self.old, from)..) {
            visit(*entry)?;
        }
        let first = self.stretches.partition_point(|stretch| stretch.last() < from);
        for stretch in self.stretches.range(first..) {
            stretch.visit_from(from, &mut visit)?;
        }
        for entry in self.young.range(start_of(&self.young, from)..) {
            visit(*entry)?;
        }
        ControlFlow::Continue(())
    }

    /// Visits all entries that are not finished, in order.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(Entry)) {
        let _ = self.visit_from(0, |entry| {
            visit(entry);
            ControlFlow::Continue(())
        });
    }

    /// Packs all entries, for a checkpoint.
    pub(crate) fn to_blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::with_capacity(self.stretches.len() + 4);
        let pack_all = |list: &VecDeque<Entry>, blocks: &mut Vec<Block>| {
            let mut list: Vec<Entry> = list.iter().copied().collect();
            while !list.is_empty() {
                let rest = list.split_off(list.len().min(BLOCK_LEN));
                blocks.extend(Block::pack(&list));
                list = rest;
            }
        };
        pack_all(&self.old, &mut blocks);
        blocks.extend(self.stretches.iter().filter_map(Stretch::to_block));
        pack_all(&self.young, &mut blocks);
        blocks
    }

    /// Reads a queue of `count` blocks, which must follow each other, and visits its entries.
    pub(crate) fn decode(
        next: u64,
        count: u64,
        reader: &mut Reader<'_>,
        mut visit: impl FnMut(&Entry),
    ) -> Result<Self, BadRecord> {
        let mut queue = Self { next, ..Self::default() };
        // No more than there can be.
        queue.stretches.reserve_exact((count as usize).min(reader.remaining() / Block::BYTES_MIN));
        let mut least = 0;
        for _ in 0..count {
            let block = Block::decode(reader, |entry| {
                queue.count(entry);
                visit(entry);
            })?;
            if block.first() < least || block.last() >= next {
                return Err(BadRecord("the sequences of a queue are out of order"));
            }
            least = block.last() + 1;
            queue.stretches.push_back(Stretch::Packed(block));
        }
        Ok(queue)
    }

    /// Narrows the bounds of [`Queue::may_be_in`] to the segments that entries are really in.
    pub(crate) fn tighten_segments(&mut self) {
        let mut bounds = None;
        self.for_each(|entry| widen(&mut bounds, &entry));
        self.segments = bounds;
    }

    /// Finishes a message if it is the oldest, which is the usual case.
    fn finish_first(&mut self, sequence: u64) -> Option<Entry> {
        if self.old.is_empty()
            && let Some(stretch) = self.stretches.pop_front()
        {
            self.open = self.open.and_then(|index| index.checked_sub(1));
            self.old = stretch.into_entries();
        }
        let oldest = if self.old.is_empty() { &mut self.young } else { &mut self.old };
        if oldest.front()?.sequence != sequence {
            return None;
        }
        let finished = oldest.pop_front();
        if oldest.is_empty() {
            *oldest = VecDeque::new();
        }
        finished
    }

    fn part(&self, sequence: u64) -> Part {
        if self.old.back().is_some_and(|last| sequence <= last.sequence) {
            return Part::Old;
        }
        // The open one is usually the next that is asked for, too.
        if let Some(index) = self.open
            && (self.stretches[index].first()..=self.stretches[index].last()).contains(&sequence)
        {
            return Part::Stretch(index);
        }
        match self.stretches.partition_point(|stretch| stretch.last() < sequence) {
            index if index < self.stretches.len() => Part::Stretch(index),
            _ => Part::Young,
        }
    }

    /// Calls `change` with the part of the queue where this sequence is or would be, and with its
    /// place there as [`slice::binary_search`] returns it.
    fn change<R>(
        &mut self,
        sequence: u64,
        change: impl FnOnce(&mut VecDeque<Entry>, Result<usize, usize>) -> R,
    ) -> R {
        match self.part(sequence) {
            Part::Old => {
                let found = find(&self.old, sequence);
                change(&mut self.old, found)
            }
            Part::Young => {
                let found = find(&self.young, sequence);
                change(&mut self.young, found)
            }
            Part::Stretch(index) => {
                let list = self.open_stretch(index);
                let found = find(list, sequence);
                let result = change(list, found);
                self.mend_stretch(index);
                result
            }
        }
    }

    /// Opens a stretch, and closes the one that is open.
    fn open_stretch(&mut self, index: usize) -> &mut VecDeque<Entry> {
        if let Some(other) = self.open.replace(index)
            && other != index
        {
            self.stretches[other].close();
        }
        self.stretches[index].open()
    }

    /// Removes the open stretch if it has become empty, and cuts it in two if it is too long.
    fn mend_stretch(&mut self, index: usize) {
        let list = self.stretches[index].open();
        if list.is_empty() {
            self.stretches.remove(index);
            self.open = None;
        } else if list.len() > BLOCK_LEN_MAX {
            let second = list.split_off(BLOCK_LEN);
            self.stretches.insert(index + 1, Stretch::Open(second));
            self.stretches[index + 1].close();
        }
    }

    /// Packs the oldest of the young entries.
    fn pack(&mut self) {
        let mut list = [const { None }; BLOCK_LEN];
        for slot in &mut list {
            *slot = self.young.pop_front();
        }
        let list: Vec<Entry> = list.into_iter().flatten().collect();
        self.stretches.extend(Block::pack(&list).map(Stretch::Packed));
    }

    fn count(&mut self, entry: &Entry) {
        widen(&mut self.segments, entry);
        if !entry.flags.has(Flags::TAKEN) {
            self.waiting.messages += 1;
            self.waiting.bytes += u64::from(entry.size);
            self.waiting.of_groups += u64::from(entry.flags.has(Flags::FROM_GROUP));
        }
    }

    fn uncount(&mut self, entry: &Entry) {
        if !entry.flags.has(Flags::TAKEN) {
            self.waiting.messages -= 1;
            self.waiting.bytes -= u64::from(entry.size);
            self.waiting.of_groups -= u64::from(entry.flags.has(Flags::FROM_GROUP));
        }
    }
}

fn widen(bounds: &mut Option<(u32, u32)>, entry: &Entry) {
    let Some(Places { record, message }) = entry.places else {
        return;
    };
    let (low, high) = bounds.unwrap_or((u32::MAX, 0));
    let (record, message) = (record.segment(), message.segment());
    *bounds = Some((low.min(record).min(message), high.max(record).max(message)));
}

fn find(list: &VecDeque<Entry>, sequence: u64) -> Result<usize, usize> {
    // Usually no sequence is missing.
    if let Some(first) = list.front()
        && let Some(index) = sequence.checked_sub(first.sequence)
        && let Ok(index) = usize::try_from(index)
        && list.get(index).is_some_and(|entry| entry.sequence == sequence)
    {
        return Ok(index);
    }
    list.binary_search_by_key(&sequence, |entry| entry.sequence)
}

fn start_of(list: &VecDeque<Entry>, from: u64) -> usize {
    find(list, from).unwrap_or_else(|index| index)
}

impl Places {
    /// Returns the places of a record that has its message itself.
    pub(crate) fn inline(at: Location) -> Self {
        Self { record: at, message: at }
    }

    /// Checks that the record has its message where these places say.
    pub(crate) fn check(self, body: &Body<'_>) -> Result<(), BadRecord> {
        let message = match body {
            Body::Inline(_) => self.record,
            Body::At { message, .. } => *message,
        };
        let is_here = message == self.message;
        if is_here { Ok(()) } else { Err(BadRecord("its message is not where it was known to be")) }
    }
}
