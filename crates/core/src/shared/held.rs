//! Counts what the shared subscriptions of a worker hold.

use super::SharedGroups;

impl SharedGroups {
    /// How many shared subscriptions this worker is home to.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// How many messages wait for a member and are not kept by the store.
    pub(crate) fn volatile_messages(&self) -> usize {
        let kept = self.groups.values().flat_map(|group| group.backlog.iter());
        kept.filter(|kept| kept.sequence.is_none()).count()
    }
}
