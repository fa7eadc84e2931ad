//! What becomes of Sessions on their way when a worker is gone.
//!
//! One that was to go there stays, however far it had come: whoever sends to it is told so. One
//! that was to come from there is lost with its worker; what was put by for it is not kept.

use crate::base::drop_reason::DropReason;
use crate::base::identity::{SessionId, WorkerId};
use crate::boundary::peer_messages::MovePeer;
use crate::boundary::turn::Turn;
use crate::clients::Clients;
use crate::clients::drops::Party;
use crate::core::Core;
use crate::moving::leaving::session_timers;
use crate::moving::{Leaving, Stage};

impl Core {
    /// Takes a worker that is gone out of all moves.
    pub(crate) fn end_moves_with(&mut self, gone: WorkerId, turn: &mut Turn) {
        let coming = self.moves.arriving.iter().filter(|it| it.from == gone);
        let lost: Vec<_> = coming.map(|it| it.session).collect();
        for session in lost {
            self.lose_coming(session, turn);
        }
        let members = self.ground.clients.rounds.members();
        self.ground.clients.crossings.end_complete(members);
        let leaving = self.moves.leaving.extract_if(.., |it| it.to == gone);
        for leaving in leaving.collect::<Vec<_>>() {
            match leaving.stage {
                Stage::Switching { .. } => self.take_back(&leaving, turn),
                _ => self.end_quiet(&leaving, turn),
            }
        }
    }

    /// Gives up a Session that was lost on its way here, with whatever was put by for it.
    fn lose_coming(&mut self, session: SessionId, turn: &mut Turn) {
        let clients = &self.ground.clients;
        let is_stored =
            clients.slot_of_receiver(session).is_some_and(|slot| clients.session(slot).is_stored());
        for put_by in self.give_up_coming(session, turn) {
            let topic = put_by.delivery.message.topic();
            self.ground.clients.note_drop(Party::Nobody, topic, DropReason::PeerGone, turn);
            if let Some(round) = put_by.round.filter(|_| is_stored) {
                self.ground.clients.rounds.break_round(round);
            }
        }
        self.ground.clients.crossings.forget_whereabouts(session);
        for worker in self.ground.other_workers() {
            turn.fx.send(worker, MovePeer::Over { session }.into());
        }
    }

    /// Lets a Session stay although workers have begun to send to the one that is gone. What they
    /// have sent there is lost with that worker, and nobody is told that it is kept.
    fn take_back(&mut self, leaving: &Leaving, turn: &mut Turn) {
        let (session, own) = (leaving.session, self.ground.config.worker);
        let Some(slot) = self.ground.clients.slot_of(session) else {
            return;
        };
        let ended = self.ground.clients.crossings.stay(slot);
        self.ground.clients.crossings.note_whereabouts(session, own);
        let state = self.ground.clients.session(slot);
        let id = state.attached();
        let connection = self.ground.clients.connection_of(state);
        // Timers that became due meanwhile were left to the other worker.
        let of_connection = connection.into_iter().flat_map(Clients::connection_timers);
        for (at, timer) in session_timers(state, slot).chain(of_connection) {
            self.ground.timers.set(at, timer);
        }
        for worker in self.ground.other_workers() {
            let online = id.is_some();
            turn.fx.send(worker, MovePeer::Switch { session, to: own, online }.into());
        }
        self.router.shared.tell_online(&mut self.ground, slot, turn);
        self.revoking.add(session);
        self.router.go_on(&mut self.ground, slot, turn);
        if let Some(id) = id {
            self.read_again(id, turn);
            self.end_as_postponed(id, ended, turn);
        }
    }
}
