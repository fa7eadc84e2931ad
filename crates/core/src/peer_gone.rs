//! The end of another worker, while this one goes on: everything that waits for it goes on, too,
//! and nothing is told as kept that only it was given (decision 0017). A round that is void because
//! of that ends here as well.
//!
//! What the worker that is gone was home to stays without a home: nothing here takes it over.

use std::collections::BTreeSet;

use crate::base::identity::{SessionId, WorkerId};
use crate::boundary::store_records::Round;
use crate::boundary::turn::Turn;
use crate::core::Core;
use crate::waiting::rounds::voids::Voided;

impl Core {
    /// Notes that the journal of another worker is not this worker's. Without that, the driver
    /// promises that one store takes the commits of both in the order in which they are made.
    pub fn note_own_journal(&mut self, peer: WorkerId) {
        self.ground.clients.rounds.note_own_journal(peer);
    }

    /// Handles the end of another worker: nothing comes from it any more, and nothing reaches it.
    /// The driver has handed in everything that came from it before.
    ///
    /// Nobody waits for it any longer:
    ///
    /// - SUBSCRIBE and UNSUBSCRIBE packets are answered without it. What only it could have granted
    ///   is refused (0x83).
    /// - A publisher whose message it was to keep is disconnected without an acknowledgement, so
    ///   that it sends the message again. QoS 2 messages that were kept together with such a
    ///   message, or on behalf of the worker itself, do not count.
    /// - A Session that was to go there stays, and one that was to come from there is lost with it.
    /// - From then on, a message that it would have to keep is refused before anybody gets it.
    pub fn handle_peer_gone(&mut self, gone: WorkerId, turn: &mut Turn) {
        let Some(waiting) = self.ground.clients.rounds.forget_worker(gone) else {
            return;
        };
        self.ground.clients.doubt_fetches();
        self.router.shared.forget_worker(&self.ground.clients, gone);
        self.router.retained.forget_worker(gone);
        self.subscriptions.forget_worker(&mut self.router, &mut self.ground, gone, turn);
        self.subscriptions.take_retained_arrivals(&mut self.router, &mut self.ground, turn);
        self.leave_void(waiting, turn);
        self.end_moves_with(gone, turn);
    }

    /// Handles that a round of another worker does not count.
    pub(crate) fn handle_void(&mut self, round: Round, turn: &mut Turn) {
        let waiting = self.ground.clients.rounds.handle_void(round);
        self.leave_void(waiting, turn);
    }

    /// Handles that rounds of this worker do not count.
    pub(crate) fn settle_voided(&mut self, turn: &mut Turn) {
        for Voided { sessions, unremembered } in self.ground.clients.rounds.take_voided() {
            self.ground.clients.forget_received(&unremembered);
            self.leave_void(sessions, turn);
        }
    }

    /// Lets go of messages that do not count, and of those that wait behind them.
    fn leave_void(&mut self, sessions: Vec<SessionId>, turn: &mut Turn) {
        let sessions: BTreeSet<_> = sessions.into_iter().collect();
        for session in sessions {
            let Some(slot) = self.ground.clients.slot_of(session) else {
                continue;
            };
            let (session, rounds) = self.ground.clients.session_and_rounds(slot);
            let outgoing = session.outgoing_mut();
            if outgoing.is_some_and(|it| it.leave_void(|round| rounds.is_void(round))) {
                self.ground.work.add(1);
                self.router.go_on(&mut self.ground, slot, turn);
            }
        }
        self.router.shared.drop_void(&mut self.ground, turn);
        self.remains.go_on_with_endings(&mut self.router, &mut self.ground, turn);
    }
}
