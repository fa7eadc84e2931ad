//! What the store answers: receipts, confirmations and fetched messages; and the Clients that were
//! not answered because it is full.

use std::num::NonZeroU64;

use midge_codec::{QoS, ReasonCode};

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::identity::{ConnectionId, SessionId, SessionSlot};
use crate::boundary::effects::DisconnectReason;
use crate::boundary::store_records::{Fetched, FetchedEntry, Owner, Receipt, Round};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::core::Core;
use crate::waiting::rounds::Held;

impl Core {
    /// Clients that are disconnected in one turn because there is room again.
    const UNANSWERED_PER_TURN: usize = 1_000;

    /// Handles a receipt: the store tells how far this worker's commits have come.
    pub fn handle_receipt(&mut self, receipt: Receipt, turn: &mut Turn) {
        self.ground.clients.rounds.note_receipt(receipt);
        while let Some(released) = self.ground.clients.rounds.next_released(turn) {
            self.release(released, turn);
        }
        self.router.shared.flush_held(&mut self.ground, turn);
        self.remains.go_on_with_endings(&mut self.router, &mut self.ground, turn);
    }

    /// Without a store: releases what has waited for other workers and has their answers.
    pub(crate) fn release_answered(&mut self, turn: &mut Turn) {
        let answered = self.ground.clients.rounds.take_answered();
        self.release(answered, turn);
    }

    /// Handles the confirmation that another worker's round is durable.
    pub(crate) fn handle_confirmed(&mut self, round: Round, turn: &mut Turn) {
        let sessions = self.ground.clients.rounds.handle_confirmed(round);
        self.release(sessions.into_iter().map(Held::Send), turn);
        self.router.shared.flush_held(&mut self.ground, turn);
        self.remains.go_on_with_endings(&mut self.router, &mut self.ground, turn);
    }

    pub(crate) fn send_on(&mut self, session: SessionId, turn: &mut Turn) {
        if let Some(slot) = self.ground.clients.slot_of(session) {
            self.router.go_on(&mut self.ground, slot, turn);
        }
    }

    /// Notes that the store takes no new messages any more, or does again. In the latter case,
    /// Clients that were not answered meanwhile are disconnected: an MQTT 3 Client sends again when
    /// it has reconnected.
    pub fn set_store_full(&mut self, is_full: bool, turn: &mut Turn) {
        self.ground.clients.rounds.set_full(is_full);
        self.end_unanswered(turn);
    }

    /// Whether Clients whose PUBLISH was not acknowledged may send it again: there is room for it.
    pub(crate) fn may_end_unanswered(&self) -> bool {
        let has_room =
            !self.ground.clients.rounds.is_full() && !self.ground.strain.is_very_short_of_memory();
        !self.unanswered.is_empty() && has_room
    }

    /// Disconnects Clients whose PUBLISH was not acknowledged, a limited number in each turn.
    pub(crate) fn end_unanswered(&mut self, turn: &mut Turn) {
        let code = ReasonCode::QuotaExceeded;
        for _ in 0..Self::UNANSWERED_PER_TURN {
            if !self.may_end_unanswered() {
                return;
            }
            if let Some(id) = self.unanswered.pop_first() {
                self.ground.work.add(1);
                self.close(id, Some(code), &DisconnectReason::ByServer(code), turn);
            }
        }
    }

    /// Notes that a PUBLISH of this connection gets no acknowledgement, because there is no room
    /// for it.
    pub(crate) fn leave_unanswered(&mut self, id: ConnectionId) {
        let id = self.ground.clients.control_of(id);
        if let Some(connection) = self.ground.clients.connection_mut(id)
            && connection.leave_unanswered()
        {
            self.unanswered.insert(id);
        }
    }

    /// Handles the store's answer to a request in `Effects::fetches`.
    pub fn handle_fetched(&mut self, fetched: Fetched, turn: &mut Turn) {
        if self.take_page(&fetched, turn) {
            return;
        }
        match fetched.owner {
            Owner::Group(number) => self.restore_group_backlog(number, fetched, turn),
            Owner::Session(number) => match self.ground.clients.slot_of(fetched.session) {
                Some(slot) if self.ground.clients.session(slot).owner() == Some(fetched.owner) => {
                    self.take_fetched(slot, fetched, turn);
                }
                _ => self.remains.pass_on_fetched(
                    &mut self.router,
                    &mut self.ground,
                    number,
                    fetched,
                    turn,
                ),
            },
        }
    }

    fn take_fetched(&mut self, slot: SessionSlot, fetched: Fetched, turn: &mut Turn) {
        let is_doubtful = self.ground.clients.is_doubtful(&fetched);
        let Fetched { session, ticket, entries, next, .. } = fetched;
        let outgoing = self.ground.clients.session_mut(slot).outgoing_mut();
        let is_awaited = outgoing.is_some_and(|outgoing| outgoing.end_fetch(ticket));
        if is_awaited && !is_doubtful {
            let mut deliveries = Vec::with_capacity(entries.len());
            for FetchedEntry { sequence, delivery, round } in entries {
                let is_void = round.is_some_and(|it| self.ground.clients.rounds.is_void(it));
                if let Some(round) = round {
                    self.ground.clients.rounds.await_confirmation(round, session);
                }
                match delivery {
                    Some(stored) if is_void => {
                        let (receiver, reason) = (Party::Receiver(slot), DropReason::PeerGone);
                        let topic = stored.message.topic();
                        self.ground.clients.note_drop(receiver, topic, reason, turn);
                        self.ground.clients.forget_stored(slot, NonZeroU64::new(sequence));
                    }
                    Some(stored) => {
                        deliveries.push((sequence, self.router.delivery_of(stored), round));
                    }
                    None => {
                        self.ground.clients.note_drop(
                            Party::Receiver(slot),
                            "",
                            DropReason::Damaged,
                            turn,
                        );
                        self.ground.clients.forget_stored(slot, NonZeroU64::new(sequence));
                    }
                }
            }
            let is_exactly_once =
                |(_, delivery, _): &(_, Delivery, _)| delivery.qos == QoS::ExactlyOnce;
            let hold = deliveries.iter().any(is_exactly_once);
            let hold = hold.then(|| self.ground.clients.rounds.hold_fetched(session));
            if let Some(outgoing) = self.ground.clients.session_mut(slot).outgoing_mut() {
                outgoing.note_fetched(next, deliveries, hold, turn.now);
            }
        }
        self.router.go_on(&mut self.ground, slot, turn);
    }
}
