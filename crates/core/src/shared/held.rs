//! Counts what the shared subscriptions of a worker hold.

use super::SharedGroups;
use crate::base::identity::GroupId;

impl SharedGroups {
    /// How many shared subscriptions this worker is home to.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// How many messages wait for a member and are not kept by the store.
    pub(crate) fn volatile_messages(&self) -> usize {
        let kept = self.groups.values().flat_map(|group| group.backlog.iter());
        kept.filter(|kept| kept.is_volatile()).count()
    }

    /// About how many bytes of memory the messages that wait for a member take.
    pub(crate) fn held_bytes(&self) -> usize {
        self.groups.values().map(|group| group.backlog.held_bytes()).sum()
    }

    /// The groups with messages that are in memory only, and about how many bytes those take.
    pub(crate) fn volatile_bytes(&self) -> impl Iterator<Item = (GroupId, usize)> {
        let all = self.groups.iter();
        let all = all.map(|(&number, group)| (self.id(number), group.backlog.volatile_bytes()));
        all.filter(|(_, bytes)| *bytes > 0)
    }
}
