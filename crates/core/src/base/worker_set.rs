//! Which workers of a node: those that something is waited for, those that want a message, those
//! that are still there. A set takes one word and no allocation, and it changes as workers go.

use crate::base::identity::WorkerId;

/// A set of workers of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerSet(u64);

impl WorkerSet {
    /// No worker.
    pub(crate) const EMPTY: Self = Self(0);

    /// Every worker that there can be.
    pub(crate) const ANY: Self = Self(u64::MAX);

    /// The workers of a node that has `count` of them: 1 to 64.
    pub(crate) fn first(count: usize) -> Self {
        debug_assert!(count <= WorkerId::MAX_WORKERS, "{count} workers");
        Self(u64::MAX.checked_shr(u64::BITS.saturating_sub(count as u32)).unwrap_or(0))
    }

    /// Only this worker.
    pub(crate) fn one(worker: WorkerId) -> Self {
        Self(1 << worker.index())
    }

    /// The set in 31 bits, if none but the first 31 workers are in it.
    #[inline]
    pub(crate) fn packed(self) -> Option<u32> {
        u32::try_from(self.0).ok().filter(|&bits| bits < 1 << 31)
    }

    /// The set that [`WorkerSet::packed`] has put into 31 bits.
    #[inline]
    pub(crate) fn of_packed(bits: u32) -> Self {
        debug_assert!(bits < 1 << 31, "{bits:#x} is no packed set");
        Self(u64::from(bits))
    }

    /// Adds a worker. Returns true if it was not a member before.
    pub(crate) fn insert(&mut self, worker: WorkerId) -> bool {
        let before = self.0;
        self.0 |= Self::one(worker).0;
        self.0 != before
    }

    /// Takes a worker out. Returns true if it was a member.
    pub(crate) fn remove(&mut self, worker: WorkerId) -> bool {
        let before = self.0;
        self.0 &= !Self::one(worker).0;
        self.0 != before
    }

    #[inline]
    pub(crate) fn contains(self, worker: WorkerId) -> bool {
        self.intersects(Self::one(worker))
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether some worker is a member of both.
    #[inline]
    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The members of either set.
    #[inline]
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members but this one.
    pub(crate) fn without(mut self, worker: WorkerId) -> Self {
        self.remove(worker);
        self
    }
}

/// The members, in ascending order.
impl IntoIterator for WorkerSet {
    type Item = WorkerId;
    type IntoIter = Members;

    fn into_iter(self) -> Members {
        Members(self.0)
    }
}

/// Iterates over the members of a [`WorkerSet`].
#[derive(Clone, Debug)]
pub(crate) struct Members(u64);

impl Iterator for Members {
    type Item = WorkerId;

    fn next(&mut self) -> Option<WorkerId> {
        let worker = (self.0 != 0).then(|| WorkerId::new(self.0.trailing_zeros() as usize));
        self.0 &= self.0.wrapping_sub(1);
        worker
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::WorkerSet;
    use crate::base::identity::WorkerId;

    fn indices(set: WorkerSet) -> Vec<usize> {
        set.into_iter().map(WorkerId::index).collect()
    }

    #[test]
    fn the_workers_of_a_node_are_counted_from_the_first() {
        assert_eq!(indices(WorkerSet::first(3)), [0, 1, 2]);
        assert_eq!(WorkerSet::first(0), WorkerSet::EMPTY);
        assert_eq!(indices(WorkerSet::first(64)), (0..64).collect::<Vec<_>>());
        assert_eq!(WorkerSet::first(64), WorkerSet::ANY);
    }

    #[test]
    fn it_agrees_with_a_plain_set() {
        let (mut set, mut plain) = (WorkerSet::EMPTY, BTreeSet::new());
        let mut random = 1_u64;
        for step in 0..10_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            let (index, adds) = ((random >> 40) as usize % 64, random >> 63 == 0);
            let worker = WorkerId::new(index);
            match adds {
                true => assert_eq!(set.insert(worker), plain.insert(index)),
                false => assert_eq!(set.remove(worker), plain.remove(&index)),
            }
            assert_eq!(set.contains(worker), adds);
            assert_eq!((set.len(), set.is_empty()), (plain.len(), plain.is_empty()));
            assert!(indices(set).iter().eq(plain.iter()));
        }
    }

    #[test]
    fn sets_are_joined_and_cut() {
        let (low, high) = (WorkerSet::first(3), WorkerSet::one(WorkerId::new(63)));
        assert!(!low.intersects(high) && low.intersects(WorkerSet::ANY));
        assert_eq!(indices(low.union(high)), [0, 1, 2, 63]);
        assert_eq!(indices(low.without(WorkerId::new(1))), [0, 2]);
    }
}
