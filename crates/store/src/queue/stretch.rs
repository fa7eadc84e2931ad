//! A stretch of a queue between its oldest and its youngest entries. It is packed, or open while
//! its entries change one after the other, as they do when a Client takes QoS 2 messages over: to
//! unpack and pack a block for each of them costs far more than the change.
//!
//! A stretch is never empty. The queue sees to it that at most one is open.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::packing::Block;
use super::{Entry, find, start_of};

/// Entries in the order of their sequences, at least one.
#[derive(Clone, Debug)]
pub(super) enum Stretch {
    Packed(Block),
    Open(VecDeque<Entry>),
}

impl Stretch {
    pub(super) fn first(&self) -> u64 {
        match self {
            Self::Packed(block) => block.first(),
            Self::Open(entries) => entries.front().map_or(0, |entry| entry.sequence),
        }
    }

    pub(super) fn last(&self) -> u64 {
        match self {
            Self::Packed(block) => block.last(),
            Self::Open(entries) => entries.back().map_or(0, |entry| entry.sequence),
        }
    }

    pub(super) fn get(&self, sequence: u64) -> Option<Entry> {
        match self {
            Self::Packed(block) => block.iter().find(|entry| entry.sequence == sequence),
            Self::Open(entries) => find(entries, sequence).ok().map(|index| entries[index]),
        }
    }

    /// Visits the entries from this sequence on, until told to stop.
    pub(super) fn visit_from(
        &self,
        from: u64,
        visit: &mut impl FnMut(Entry) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Packed(block) => {
                block.iter().filter(|entry| entry.sequence >= from).try_for_each(visit)
            }
            Self::Open(entries) => {
                entries.range(start_of(entries, from)..).copied().try_for_each(visit)
            }
        }
    }

    /// Takes the entries out.
    pub(super) fn into_entries(self) -> VecDeque<Entry> {
        match self {
            Self::Packed(block) => block.iter().collect(),
            Self::Open(entries) => entries,
        }
    }

    /// Opens it, if it is packed, and returns its entries.
    pub(super) fn open(&mut self) -> &mut VecDeque<Entry> {
        loop {
            match self {
                Self::Open(entries) => return entries,
                Self::Packed(block) => *self = Self::Open(block.iter().collect()),
            }
        }
    }

    /// Packs it, if it is open.
    pub(super) fn close(&mut self) {
        if let Some(block) = self.packed() {
            *self = Self::Packed(block);
        }
    }

    /// Returns it as a block.
    pub(super) fn to_block(&self) -> Option<Block> {
        match self {
            Self::Packed(block) => Some(block.clone()),
            Self::Open(_) => self.packed(),
        }
    }

    /// Returns the block that an open stretch is packed into.
    fn packed(&self) -> Option<Block> {
        let Self::Open(entries) = self else {
            return None;
        };
        let entries: Vec<Entry> = entries.iter().copied().collect();
        Block::pack(&entries)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Packed(block) => block.len(),
            Self::Open(entries) => entries.len(),
        }
    }

    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Packed(block) => block.memory_bytes(),
            Self::Open(entries) => entries.capacity() * size_of::<Entry>(),
        }
    }
}
