//! Gives messages that a shared subscription has kept while nobody could take them to the members
//! that are connected now, a limited number in each turn. What is published meanwhile queues up
//! behind them, and so does what comes back from a member that leaves in the middle: it has lost
//! its place.

use std::collections::VecDeque;

use midge_codec::QoS;

use super::{Group, Tried};
use crate::base::identity::GroupId;
use crate::base::message::Publication;
use crate::base::work::Work;
use crate::boundary::store_records::{Owner, StoreOp};
use crate::boundary::turn::Turn;
use crate::ground::Ground;
use crate::shared::Shared;
use crate::shared::backlog::BacklogEntry;

/// The groups of one worker that are to be emptied.
#[derive(Debug)]
pub(crate) struct Flushes {
    /// Groups for which a turn had no time.
    waiting: VecDeque<GroupId>,
    /// Groups whose messages are not confirmed yet.
    held: Vec<GroupId>,
    /// How many messages this turn has time for.
    left: usize,
}

impl Default for Flushes {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), held: Vec::new(), left: Self::MESSAGES_PER_TURN }
    }
}

impl Flushes {
    const MESSAGES_PER_TURN: usize = 4_096;
    /// How many messages of one group go before it is another one's turn.
    const SLICE: usize = 128;
    /// How many kept messages go for each one that comes meanwhile.
    const FOR_EACH_NEW: usize = 4;

    pub(crate) fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl Shared {
    /// Gives what a group has kept to the members that are connected now.
    pub(crate) fn flush_group(&mut self, ground: &mut Ground, id: GroupId, turn: &mut Turn) {
        let is_idle = self.groups.get(id).is_some_and(|group| !group.is_flushing);
        if is_idle && !self.flush_some(ground, id, self.flushes.left, turn) {
            self.set_flushing(id, true);
            self.flushes.waiting.push_back(id);
        }
    }

    /// Gives up to `count` messages of a group to its members; false if more may go.
    fn flush_some(
        &mut self,
        ground: &mut Ground,
        id: GroupId,
        count: usize,
        turn: &mut Turn,
    ) -> bool {
        let rounds = &ground.clients.rounds;
        let Some(group) = self.groups.get(id) else {
            return true;
        };
        let may_go = |kept: &BacklogEntry| kept.hold.is_none_or(|round| rounds.is_confirmed(round));
        let released = group.backlog.take_first(count, may_go);
        let next_may_go = group.backlog.iter().next().map(may_go);
        if next_may_go == Some(false) && !std::mem::replace(&mut group.is_held, true) {
            self.flushes.held.push(id);
        }
        self.flushes.left = self.flushes.left.saturating_sub(released.len());
        ground.work.add(released.len() * Work::GROUP);
        // The round on whose behalf things are done now has nothing to do with these messages: they
        // were confirmed before. That they are finished goes into this worker's own round, which
        // waits for those who keep them now.
        let origin = ground.clients.rounds.leave_origin();
        for BacklogEntry { message, sequence, .. } in released {
            self.give_out(ground, id, &Publication::of(&message), Tried::default(), turn);
            if let Some(sequence) = sequence {
                let (owner, sequence) = (Owner::Group(id.number), sequence.get());
                let op = StoreOp::Finished { owner, sequence };
                ground.clients.rounds.keep_behind_round(op);
            }
        }
        ground.clients.rounds.resume_origin(origin);
        next_may_go != Some(true)
    }

    /// Goes on with the groups that are to be emptied, within this turn's share.
    pub(crate) fn run_flushes(&mut self, ground: &mut Ground, turn: &mut Turn) {
        // Whatever was done at once in this turn, groups that wait make progress.
        self.flushes.left = self.flushes.left.max(Flushes::SLICE);
        while self.flushes.left > 0
            && let Some(id) = self.flushes.waiting.pop_front()
        {
            let count = self.flushes.left.min(Flushes::SLICE);
            if self.has_present_member(ground, id) && !self.flush_some(ground, id, count, turn) {
                self.flushes.waiting.push_back(id);
            } else {
                self.set_flushing(id, false);
            }
        }
        self.flushes.left = Flushes::MESSAGES_PER_TURN;
    }

    /// Whether a message has to queue up behind older ones that are on their way to the members.
    pub(super) fn joins_flush(
        &mut self,
        ground: &mut Ground,
        id: GroupId,
        publication: &Publication<'_>,
        turn: &mut Turn,
    ) -> bool {
        let is_flushing = self.groups.get(id).is_some_and(|group| group.is_flushing);
        if !is_flushing || publication.attributes.qos == QoS::AtMostOnce {
            return false;
        }
        // The kept messages become fewer, however many come. If nobody can take them, they keep
        // their order.
        if self.has_present_member(ground, id) {
            self.flush_some(ground, id, Flushes::FOR_EACH_NEW, turn);
        }
        let limits = &ground.config.limits;
        let group = self.groups.get(id);
        group.is_some_and(|group| group.backlog.can_keep(publication.size(), limits))
    }

    /// Goes on with the groups whose messages were not confirmed yet.
    pub(crate) fn flush_held(&mut self, ground: &mut Ground, turn: &mut Turn) {
        for group in std::mem::take(&mut self.flushes.held) {
            ground.work.add(1);
            if let Some(group) = self.groups.get(group) {
                group.is_held = false;
            }
            self.flush_if_online(ground, group, turn);
        }
    }

    pub(crate) fn flush_if_online(&mut self, ground: &mut Ground, id: GroupId, turn: &mut Turn) {
        if self.has_present_member(ground, id) {
            self.flush_group(ground, id, turn);
        }
    }

    fn has_present_member(&mut self, ground: &mut Ground, id: GroupId) -> bool {
        let group = self.groups.groups.get(&id.number).filter(|_| id.home == ground.config.worker);
        let Some(Group { members, .. }) = group else {
            return false;
        };
        ground.work.add(members.list.len() / Work::MEMBERS);
        members.list.iter().any(|member| self.is_present(ground, member))
    }

    fn set_flushing(&mut self, id: GroupId, is_flushing: bool) {
        if let Some(group) = self.groups.get(id) {
            group.is_flushing = is_flushing;
        }
    }
}
