//! What becomes of shared subscriptions when a worker is gone. Its Sessions stay members, since the
//! store may know them, but are chosen no more; and what waits for rounds that are void goes.

use crate::base::drop_reason::DropReason;
use crate::base::identity::WorkerId;
use crate::boundary::store_records::{Owner, StoreOp};
use crate::boundary::turn::Turn;
use crate::clients::Clients;
use crate::clients::drops::Party;
use crate::ground::Ground;
use crate::shared::Shared;

impl Shared {
    /// Notes that no Client of a worker that is gone is connected.
    pub(crate) fn forget_worker(&mut self, clients: &Clients, gone: WorkerId) {
        let own = self.groups.groups.values_mut().map(|group| &mut group.members);
        let copies = self.groups.copies.values_mut().map(|(_, members)| members);
        for member in own.chain(copies).flat_map(|members| &mut members.list) {
            member.online &= clients.worker_of(member.session) != gone;
        }
    }

    /// Drops the messages that wait for rounds that are void. The store forgets those whose workers
    /// are there, and say so. About those of a worker that is gone, it knows better: their
    /// confirmation may have come that far.
    pub(crate) fn drop_void(&mut self, ground: &mut Ground, turn: &mut Turn) {
        let rounds = &mut ground.clients.rounds;
        let mut groups: Vec<_> = self.groups.groups.keys().copied().collect();
        groups.sort_unstable();
        let mut dropped = Vec::new();
        for number in groups {
            let Some(group) = self.groups.groups.get_mut(&number) else {
                continue;
            };
            for kept in group.backlog.take_void(|round| rounds.is_void(round)) {
                if let Some(sequence) = kept.sequence
                    && kept.hold.is_some_and(|round| rounds.members().contains(round.worker))
                {
                    let (owner, sequence) = (Owner::Group(number), sequence.get());
                    rounds.keep(StoreOp::Finished { owner, sequence });
                }
                dropped.push(kept);
            }
        }
        for kept in dropped {
            let (topic, reason) = (kept.message.topic(), DropReason::PeerGone);
            ground.clients.note_drop(Party::Nobody, topic, reason, turn);
        }
        // Others may have waited behind them.
        self.flush_held(ground, turn);
    }
}
