//! How much of each segment is needed: a segment in which nothing is held can go, one in which
//! little is held is worth to be emptied.

use hashbrown::HashSet;

use super::Map;
use crate::location::Location;
use crate::queue::{Entry, Places};

/// About what a record of a queue entry has besides the message.
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
    /// References to records in it.
    pub(crate) live: u64,
    /// About how many bytes they need. A message that several owners wait for counts for each.
    pub(crate) live_bytes: u64,
    /// Bytes of all records in it.
    pub(crate) written: u64,
    /// A record in it turned out to be damaged: the file is kept for a human.
    pub(crate) damaged: bool,
    /// It is being emptied, or about to go: nothing may refer to it that does not yet.
    pub(crate) leaving: bool,
}

/// All segments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings {
    segments: Map<u32, SegmentUse>,
    live_bytes: u64,
    /// What was not held any more when the last checkpoint was taken.
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

    /// About how many bytes are needed in all segments.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// A record was appended or found.
    pub(crate) fn wrote(&mut self, place: Location, bytes: u64) {
        self.get_mut(place.segment()).written += bytes;
    }

    /// Whether a new record may refer to the message at this place.
    pub(crate) fn may_refer_to(&self, place: Location) -> bool {
        self.segments.get(&place.segment()).is_some_and(|held| !held.leaving && !held.damaged)
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.add(held.place, u64::from(held.bytes));
    }

    pub(crate) fn release(&mut self, held: Held) {
        self.remove(held.place, u64::from(held.bytes));
    }

    pub(crate) fn hold_message(&mut self, places: Places, size: u32) {
        if places.record == places.message {
            self.add(places.record, ENTRY_BYTES + u64::from(size));
        } else {
            self.add(places.record, ENTRY_BYTES);
            self.add(places.message, ENTRY_BYTES + u64::from(size));
        }
    }

    pub(crate) fn release_message(&mut self, places: Places, size: u32) {
        if places.record == places.message {
            self.remove(places.record, ENTRY_BYTES + u64::from(size));
        } else {
            self.remove(places.record, ENTRY_BYTES);
            self.remove(places.message, ENTRY_BYTES + u64::from(size));
        }
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

    fn add(&mut self, place: Location, bytes: u64) {
        let held = self.get_mut(place.segment());
        held.live += 1;
        held.live_bytes += bytes;
        self.live_bytes += bytes;
    }

    fn remove(&mut self, place: Location, bytes: u64) {
        let Some(held) = self.segments.get_mut(&place.segment()) else {
            debug_assert!(false, "nothing was held in segment {}", place.segment());
            return;
        };
        debug_assert!(held.live > 0 && held.live_bytes >= bytes);
        held.live = held.live.saturating_sub(1);
        held.live_bytes = held.live_bytes.saturating_sub(bytes);
        self.live_bytes = self.live_bytes.saturating_sub(bytes);
    }
}
