//! The new worker's part: it makes a place for a Session, and takes it in.

use std::collections::VecDeque;

use midge_codec::ReasonCode;

use crate::base::identity::{ConnectionId, SessionId, SessionSlot, WorkerId};
use crate::base::message::Publication;
use crate::boundary::effects::DisconnectReason;
use crate::boundary::peer_messages::{ComingSession, MovePeer, Ticket, WantedFilter};
use crate::boundary::store_records::StoreOp;
use crate::boundary::turn::Turn;
use crate::clients::crossings::{PostponedEnd, PutBy};
use crate::clients::drops::Party;
use crate::clients::writing::want_flush;
use crate::clients::{Clients, grant_of};
use crate::connection::Connection;
use crate::core::Core;
use crate::moving::leaving::session_timers;
use crate::moving::{Arriving, MovedSession};
use crate::session::Session;
use crate::session::outgoing::Outgoing;
use crate::tree::subscription_tree::{Filler, Subscriber};
use crate::waiting::rounds::Held;

impl Core {
    /// Makes a place for a Session, and tells all workers which messages it wants.
    pub(super) fn prepare(
        &mut self,
        from: WorkerId,
        ticket: Ticket,
        coming: ComingSession,
        turn: &mut Turn,
    ) {
        let ComingSession { session, client, number, filters } = coming;
        let mut stub = Session::placeholder(client, 0, self.ground.config.seed);
        stub.set_number(number);
        let slot = self.ground.clients.expect_session(session, stub);
        if number.is_some() {
            self.ground.tell_storing(turn);
        }
        self.ground.work.add(1 + filters.len());
        for WantedFilter { filter, options, identifier } in &filters {
            let (options, identifier) = (*options, *identifier);
            let subscriber =
                Subscriber { session: slot, identifier, options, filler: Filler::Empty };
            if self.ground.tree.insert(filter, subscriber) {
                self.ground.announce_filter(filter, true, turn);
            }
        }
        self.moves.arriving.push(Arriving { session, from, filters });
        self.ground.pending.answer_behind_fence(from, MovePeer::Prepared { ticket });
    }

    /// Handles that a Session does not come after all. Nobody had switched. But if the Session has
    /// ended, and was made here, a worker may have sent it a message of a shared subscription as if
    /// it were here again: that goes back to its group.
    pub(super) fn handle_call_off(&mut self, session: SessionId, turn: &mut Turn) {
        for PutBy { delivery, round, .. } in self.give_up_coming(session, turn) {
            debug_assert!(delivery.group.is_some(), "nobody had switched");
            self.ground.clients.rounds.resume_origin(round);
            let (ground, barred) = (&mut self.ground, Vec::new());
            self.router.shared.handle_deliver(ground, session, delivery, barred, turn);
            self.ground.clients.rounds.end_origin();
        }
    }

    /// Gives up the place of a Session that does not come after all.
    /// Returns the messages that were put by for it.
    pub(super) fn give_up_coming(
        &mut self,
        session: SessionId,
        turn: &mut Turn,
    ) -> VecDeque<PutBy> {
        let filters = self.take_coming(session);
        let Some((slot, put_by)) = self.ground.clients.give_up_place(session) else {
            return VecDeque::new();
        };
        for WantedFilter { filter, .. } in filters {
            if self.ground.tree.remove(&filter, slot) {
                self.ground.announce_filter(&filter, false, turn);
            }
        }
        self.ground.clients.vacate(slot);
        put_by
    }

    fn take_coming(&mut self, session: SessionId) -> Vec<WantedFilter> {
        let index = self.moves.arriving.iter().position(|it| it.session == session);
        index.map_or_else(Vec::new, |index| self.moves.arriving.swap_remove(index).filters)
    }

    /// Takes in a Session that another worker has evicted for this one, and goes on with it.
    /// Returns the name of its connection here, if it has one: the driver gives it the socket.
    pub fn adopt_session(&mut self, moved: MovedSession, turn: &mut Turn) -> Option<ConnectionId> {
        let MovedSession { session, state, connection, ended, edition, .. } = moved;
        self.take_coming(session);
        let installed = self.ground.clients.install_session(session, state);
        debug_assert!(installed.is_some(), "a place was prepared");
        let (slot, put_by) = installed?;
        let id = connection.map(|connection| self.adopt_connection(slot, connection));
        for (at, timer) in session_timers(self.ground.clients.session(slot), slot) {
            self.ground.timers.set(at, timer);
        }
        self.wait_anew(slot);
        self.deliver_put_by(session, slot, put_by, turn);
        match edition > self.router.retained.own_topics.edition() {
            true => self.ground.clients.note_edition(slot, edition),
            false => self.router.catch_up(&mut self.ground, slot, edition, turn),
        }
        let members = self.ground.clients.rounds.members();
        self.ground.clients.crossings.end_complete(members);
        // The policy may have changed while the Session was nowhere.
        self.revoking.add(session);
        self.router.go_on(&mut self.ground, slot, turn);
        let id = id?;
        if let Some(connection) = self.ground.clients.connection_mut(id)
            && !connection.output().is_empty()
        {
            want_flush(connection, turn);
        }
        // Its Will and its expiry count from when it ended.
        let now = turn.now;
        turn.now = ended.as_ref().map_or(now, |ended| ended.at.min(now));
        let id = self.end_as_postponed(id, ended, turn);
        turn.now = now;
        id
    }

    fn adopt_connection(&mut self, slot: SessionSlot, mut connection: Connection) -> ConnectionId {
        let id = self.ground.clients.next_connection_id();
        let offer = self.offers.share(*connection.offer());
        connection.take_place(id, offer, slot);
        if connection.is_unanswered() {
            self.unanswered.insert(id);
        }
        for (at, timer) in Clients::connection_timers(&connection) {
            self.ground.timers.set(at, timer);
        }
        self.ground.clients.install_connection(slot, connection)
    }

    /// Has this worker tell the Session what the old one would have told it: rounds that are
    /// confirmed, and how far ahead of sending the store knows.
    fn wait_anew(&mut self, slot: SessionSlot) {
        let clients = &mut self.ground.clients;
        let (name, session) = (clients.session_id(slot), clients.session(slot));
        let holds: Vec<_> = session.outgoing().into_iter().flat_map(Outgoing::holds).collect();
        let (number, durability) = (session.number(), session.durability());
        let told = session.outgoing().and_then(Outgoing::told_ahead);
        let told = told.filter(|_| session.attached().is_some());
        for &round in &holds {
            clients.rounds.await_confirmation(round, name);
        }
        if let (Some(sent_before), Some(number)) = (told, number) {
            clients.rounds.keep(StoreOp::SentAhead { session: number.get(), sent_before });
            clients.rounds.hold(Held::Ahead(name, sent_before), durability);
        }
        if holds.into_iter().any(|round| clients.rounds.is_void(round)) {
            let (session, rounds) = clients.session_and_rounds(slot);
            session.outgoing_mut().map(|it| it.leave_void(|round| rounds.is_void(round)));
        }
    }

    /// Delivers what has come for a Session before the Session itself.
    fn deliver_put_by(
        &mut self,
        session: SessionId,
        slot: SessionSlot,
        put_by: VecDeque<PutBy>,
        turn: &mut Turn,
    ) {
        for PutBy { delivery, round, .. } in put_by {
            self.ground.work.add(1);
            self.ground.clients.rounds.resume_origin(round);
            if delivery.group.is_some() {
                let (ground, barred) = (&mut self.ground, Vec::new());
                self.router.shared.handle_deliver(ground, session, delivery, barred, turn);
            } else {
                let (publication, grant) =
                    (Publication::of(&delivery.message), grant_of(&delivery));
                let clients = &mut self.ground.clients;
                if let Err(reason) = clients.deliver_single(slot, &publication, &grant, turn) {
                    clients.note_drop(Party::Receiver(slot), publication.topic, reason, turn);
                }
            }
            self.ground.clients.rounds.end_origin();
        }
    }

    /// Ends the Network Connection of a Session that has come, if it was to be ended meanwhile.
    /// Returns its name if the driver has to know it.
    pub(super) fn end_as_postponed(
        &mut self,
        id: ConnectionId,
        ended: Option<PostponedEnd>,
        turn: &mut Turn,
    ) -> Option<ConnectionId> {
        match ended {
            Some(PostponedEnd { reason, is_lost: true, .. }) => {
                self.detach(id, &reason, turn);
                self.handle_closed(id, turn);
                return None;
            }
            Some(PostponedEnd { reason_code, reason, .. }) => {
                self.close(id, reason_code, &reason, turn);
            }
            None if self.draining => {
                let code = ReasonCode::ServerShuttingDown;
                self.close(id, Some(code), &DisconnectReason::ByServer(code), turn);
            }
            None => (),
        }
        Some(id)
    }
}
