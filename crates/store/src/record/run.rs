//! 38: messages of one owner that follow each other are finished. 39: the Client has taken QoS 2
//! messages over that follow each other. One record stands for as many of 25 and 24: Clients
//! acknowledge messages in the order in which they come, and many at a time.

use midge_core::Owner;

use super::bytes::{BadRecord, Reader, put_varint};
use super::owner;

/// Never to be changed: files contain it.
pub(crate) const TAG_FINISHED: u8 = 38;
/// Never to be changed: files contain it.
pub(crate) const TAG_TAKEN: u8 = 39;

/// Messages of one owner that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) owner: Owner,
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Run {
    /// A record has no more messages than this, so that it can be applied one by one.
    pub(crate) const COUNT_MAX: u64 = 65_536;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        owner::encode(self.owner, out);
        put_varint(out, self.first);
        put_varint(out, self.count);
    }

    pub(crate) fn decode(body: &[u8]) -> Result<Self, BadRecord> {
        let mut reader = Reader::new(body);
        let owner = owner::decode(&mut reader)?;
        let (first, count) = (reader.varint()?, reader.varint()?);
        reader.finish()?;
        let run = Self { owner, first, count };
        if !(1..=Self::COUNT_MAX).contains(&count) || first.checked_add(count).is_none() {
            return Err(BadRecord("the number of messages is impossible"));
        }
        Ok(run)
    }

    /// Returns the sequences of the messages.
    pub(crate) fn sequences(&self) -> std::ops::Range<u64> {
        self.first..self.first.saturating_add(self.count)
    }
}
