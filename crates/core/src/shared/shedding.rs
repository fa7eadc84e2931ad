//! Drops what shared subscriptions have kept in memory only, when memory is short. What the store
//! keeps is never dropped here.

use crate::base::drop_reason::DropReason;
use crate::base::identity::GroupId;
use crate::base::work::Work;
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::ground::Ground;
use crate::shared::Shared;

impl Shared {
    /// Drops the oldest messages of a group that are in memory only: at most `count_max`, and only
    /// until this many bytes are free. Returns how many operations that took.
    pub(crate) fn shed(
        &mut self,
        ground: &mut Ground,
        id: GroupId,
        bytes: usize,
        count_max: usize,
        turn: &mut Turn,
    ) -> usize {
        let Some(group) = self.groups.get(id).filter(|_| count_max > 0) else {
            return 0;
        };
        let looked_at = group.backlog.len();
        let dropped = group.backlog.take_volatile(bytes, count_max);
        for kept in &dropped {
            let (topic, reason) = (kept.message.topic(), DropReason::MemoryPressure);
            ground.clients.note_drop(Party::Nobody, topic, reason, turn);
        }
        let operations = dropped.len() + looked_at / Work::KEPT;
        ground.work.add(operations);
        operations
    }
}
