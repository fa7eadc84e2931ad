//! How much of each segment is needed. A segment in which nothing is held can go; one in which
//! little is held is worth emptying.

use hashbrown::HashSet;

use super::Map;
use crate::location::Location;
use crate::queue::{Entry, Places};

/// About how many bytes a record of a queue entry has besides the message.
const ENTRY_BYTES: u64 = 48;

/// A record that is needed, with its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) place: Location,
    pub(crate) bytes: u32,
}

/// What is known of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentUse {
    /// How many references there are to records in it.
    pub(crate) live: u64,
    /// What these references weigh: see [`SegmentUse::bytes_alive`].
    pub(crate) live_weight: u64,
    /// Bytes of all records in it that were needed when they were written.
    pub(crate) held_bytes: u64,
    /// What those records weighed when they were written.
    pub(crate) held_weight: u64,
    /// A record in it turned out to be damaged: the file is kept for a human.
    pub(crate) damaged: bool,
    /// It is being emptied, or about to go: no new reference to it may be made.
    pub(crate) leaving: bool,
}

impl SegmentUse {
    /// Returns about how many bytes of the segment are needed. A reference knows the size of its
    /// message and not that of the record; the two are taken to differ by the same factor
    /// everywhere. A message that several owners wait for counts for each of them.
    pub(crate) fn bytes_alive(&self) -> u64 {
        let weight = u128::from(self.held_weight.max(1));
        let bytes = u128::from(self.live_weight) * u128::from(self.held_bytes) / weight;
        u64::try_from(bytes).unwrap_or(u64::MAX).min(self.held_bytes)
    }
}

/// All segments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings {
    segments: Map<u32, SegmentUse>,
    /// The segments in which nothing was held any more when the last checkpoint was taken.
    pub(crate) dead_before: HashSet<u32, foldhash::fast::FixedState>,
}

impl Holdings {
    pub(crate) fn get(&self, segment: u32) -> SegmentUse {
        self.segments.get(&segment).copied().unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, SegmentUse)> {
        self.segments.iter().map(|(segment, held)| (*segment, *held))
    }

    pub(crate) fn get_mut(&mut self, segment: u32) -> &mut SegmentUse {
        self.segments.entry(segment).or_default()
    }

    pub(crate) fn forget(&mut self, segment: u32) {
        self.segments.remove(&segment);
        self.dead_before.remove(&segment);
    }

    /// Returns about how many bytes are needed in all segments.
    pub(crate) fn bytes_alive(&self) -> u64 {
        self.segments.values().map(SegmentUse::bytes_alive).sum()
    }

    /// Returns whether a new record may refer to the message at this place.
    pub(crate) fn may_refer_to(&self, place: Location) -> bool {
        self.segments.get(&place.segment()).is_some_and(|held| !held.leaving && !held.damaged)
    }

    /// Holds all that another one holds, too.
    pub(crate) fn hold_all(&mut self, other: &Self) {
        for (segment, held) in other.iter() {
            let own = self.get_mut(segment);
            own.live += held.live;
            own.live_weight += held.live_weight;
        }
    }

    /// Holds a record that was just appended or found.
    pub(crate) fn hold_new(&mut self, held: Held) {
        self.hold(held);
        let segment = self.get_mut(held.place.segment());
        segment.held_bytes += u64::from(held.bytes);
        segment.held_weight += u64::from(held.bytes);
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.add(held.place, u64::from(held.bytes));
    }

    pub(crate) fn release(&mut self, held: Held) {
        self.remove(held.place, u64::from(held.bytes));
    }

    /// Holds a record with a message, or with the place of one, that was just appended or found;
    /// `bytes` is its size in the journal.
    pub(crate) fn hold_new_message(&mut self, places: Places, size: u32, bytes: u32) {
        self.hold_message(places, size);
        let is_inline = places.record == places.message;
        let segment = self.get_mut(places.record.segment());
        segment.held_bytes += u64::from(bytes);
        segment.held_weight += if is_inline { weight(size) } else { ENTRY_BYTES };
    }

    pub(crate) fn hold_message(&mut self, places: Places, size: u32) {
        if places.record != places.message {
            self.add(places.record, ENTRY_BYTES);
        }
        self.add(places.message, weight(size));
    }

    pub(crate) fn release_message(&mut self, places: Places, size: u32) {
        if places.record != places.message {
            self.remove(places.record, ENTRY_BYTES);
        }
        self.remove(places.message, weight(size));
    }

    pub(crate) fn hold_entry(&mut self, entry: &Entry) {
        if let Some(places) = entry.places {
            self.hold_message(places, entry.size);
        }
    }

    pub(crate) fn release_entry(&mut self, entry: &Entry) {
        if let Some(places) = entry.places {
            self.release_message(places, entry.size);
        }
    }

    fn add(&mut self, place: Location, weight: u64) {
        let held = self.get_mut(place.segment());
        held.live += 1;
        held.live_weight += weight;
    }

    fn remove(&mut self, place: Location, weight: u64) {
        let Some(held) = self.segments.get_mut(&place.segment()) else {
            debug_assert!(false, "nothing was held in segment {}", place.segment());
            return;
        };
        debug_assert!(held.live > 0 && held.live_weight >= weight);
        held.live = held.live.saturating_sub(1);
        held.live_weight = held.live_weight.saturating_sub(weight);
    }
}

fn weight(size: u32) -> u64 {
    ENTRY_BYTES + u64::from(size)
}
