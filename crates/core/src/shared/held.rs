//! How much the shared subscriptions of a worker hold, for those who count it.

use super::SharedGroups;

impl SharedGroups {
    /// How many this worker is home to.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Messages that wait for a member and that the store does not keep.
    pub(crate) fn volatile_messages(&self) -> usize {
        let kept = self.groups.values().flat_map(|group| group.backlog.iter());
        kept.filter(|kept| kept.sequence == 0).count()
    }
}
