//! Where the records about a Session's subscriptions are. The subscriptions themselves are in the
//! journal alone.

use super::Held;

/// The records about a Session's subscriptions, in order. A record with all of them weighs as much
/// as one record for each.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubscriptionLog {
    records: Vec<Held>,
    weight: u64,
    /// How many subscriptions there were when somebody last looked.
    live: u64,
    announced: bool,
}

impl SubscriptionLog {
    pub(crate) fn records(&self) -> impl ExactSizeIterator<Item = Held> {
        self.records.iter().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn is_in(&self, segment: u32) -> bool {
        self.records.iter().any(|record| record.place.segment() == segment)
    }

    /// Adds a record. Returns whether there are so many now that somebody should look.
    pub(crate) fn push(&mut self, record: Held) -> bool {
        if self.records.is_empty() {
            self.records.reserve_exact(1);
        }
        self.records.push(record);
        self.weight += 1;
        let announce = !self.announced && self.is_long(self.live);
        self.announced |= announce;
        announce
    }

    /// Notes that somebody has looked and that `live` subscriptions are alive. Returns whether it
    /// is worth writing them as one record.
    pub(crate) fn look(&mut self, live: u64) -> bool {
        self.live = live;
        self.announced = false;
        self.is_long(live)
    }

    /// Replaces the records by one that has all `count` subscriptions; returns the old ones.
    pub(crate) fn replace(&mut self, image: Held, count: u64) -> Vec<Held> {
        self.weight = count;
        self.live = count;
        self.announced = false;
        std::mem::replace(&mut self.records, vec![image])
    }

    /// Returns what the records weigh, as a checkpoint stores it.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// Makes the log from what a checkpoint stores.
    pub(crate) fn from_parts(records: Vec<Held>, weight: u64) -> Self {
        Self { records, weight, live: weight, announced: false }
    }

    fn is_long(&self, live: u64) -> bool {
        self.weight > live.saturating_mul(2).saturating_add(16)
    }
}
