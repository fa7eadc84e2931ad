//! Where the records about a Session's subscriptions are. The subscriptions themselves are in the
//! journal alone.

use super::Held;

/// Records about subscriptions, in order: a record with all of them counts for as many.
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

    /// Returns whether there are so many now that somebody should look.
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

    /// Somebody has looked: so many subscriptions are alive. Returns whether it is worth to write
    /// them as one record.
    pub(crate) fn look(&mut self, live: u64) -> bool {
        self.live = live;
        self.announced = false;
        self.is_long(live)
    }

    /// One record has it all now; returns those before.
    pub(crate) fn replace(&mut self, image: Held, count: u64) -> Vec<Held> {
        self.weight = count;
        self.live = count;
        self.announced = false;
        std::mem::replace(&mut self.records, vec![image])
    }

    /// What a checkpoint has of it: the records, and for how many they count.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// The log that a checkpoint has.
    pub(crate) fn from_parts(records: Vec<Held>, weight: u64) -> Self {
        Self { records, weight, live: weight, announced: false }
    }

    fn is_long(&self, live: u64) -> bool {
        self.weight > live.saturating_mul(2).saturating_add(16)
    }
}
