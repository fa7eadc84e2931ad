//! The old worker's part: a Session comes to rest and leaves.

use std::mem;

use crate::base::identity::{
    ConnectionId, SessionId, SessionSlot, WorkerId, is_reserved_client_id,
};
use crate::base::strain::MemoryPressure;
use crate::base::timers::Timer;
use crate::boundary::peer_messages::{ComingSession, MovePeer, WantedFilter};
use crate::boundary::turn::Turn;
use crate::clients::Clients;
use crate::clients::crossings::Taken;
use crate::connection::Connection;
use crate::core::Core;
use crate::moving::{Leaving, MoveRefusal, MovedSession, Stage};
use crate::session::{Session, SubscriptionKind};
use crate::topics::filter_request::EXCLUSIVE_PREFIX;

impl Core {
    /// The most Sessions that leave a worker at the same time.
    const LEAVING_MAX: usize = 64;
    /// The most subscriptions of a Session that leaves: they are moved in one turn.
    const LEAVING_SUBSCRIPTIONS_MAX: usize = 1_024;
    /// How long a Session may take to come to rest. Its Client is read until only the store and
    /// other workers are waited for.
    pub(super) const LEAVING_PATIENCE_MS: u64 = 5_000;

    /// Begins to give the Session of a Client to another worker, with its Network Connection if it
    /// has one. [`Core::take_evicted`] returns it when it has left; until then, a CONNECT of this
    /// Client has to wait ([`Core::is_moving`]), or the move has to be called off. The Session may
    /// also stay by itself: then nothing comes of this.
    ///
    /// # Errors
    ///
    /// Why the Session does not go.
    pub fn evict_session(
        &mut self,
        client_id: &str,
        to: WorkerId,
        turn: &mut Turn,
    ) -> Result<(), MoveRefusal> {
        let clients = &self.ground.clients;
        let slot = clients.session_by_client_id(client_id).ok_or(MoveRefusal::Unknown)?;
        let session = clients.session(slot);
        // A Session of the program has no socket, and its other end is in the worker.
        if !session.is_of_client() || is_reserved_client_id(client_id) {
            return Err(MoveRefusal::Unknown);
        }
        if session.subscriptions().len() > Self::LEAVING_SUBSCRIPTIONS_MAX {
            return Err(MoveRefusal::TooLarge);
        }
        let connection = session.attached().and_then(|id| clients.connection(id));
        let has_to_stay = connection.is_some_and(Connection::has_to_stay)
            || session.attached() != session.attached_or_accepted()
            || clients.is_crossing(slot)
            || self.is_moving(client_id)
            || self.moves.leaving.len() >= Self::LEAVING_MAX
            || to == self.ground.config.worker
            || !clients.rounds.members().contains(to)
            || self.draining
            // A Session on its way takes memory at both workers.
            || self.ground.strain.pressure > MemoryPressure::None;
        if has_to_stay {
            return Err(MoveRefusal::Unready);
        }
        self.begin_leaving(slot, to, turn);
        Ok(())
    }

    /// Lets the Session of a Client stay that was to go, if that can still be done: its Client
    /// wants something that would otherwise have to wait. Returns false if it goes.
    pub fn call_off_move(&mut self, client_id: &str, turn: &mut Turn) -> bool {
        let Some(slot) = self.ground.clients.session_by_client_id(client_id) else {
            return true;
        };
        let session = self.ground.clients.session_id(slot);
        let Some(index) = self.moves.leaving.iter().position(|it| it.session == session) else {
            return true;
        };
        if self.ground.clients.is_switching(slot) {
            return false;
        }
        let leaving = self.moves.leaving.swap_remove(index);
        self.call_off(&leaving, turn);
        true
    }

    /// Takes a Session that has left. The driver first has the commits and the batches of this turn
    /// sent; then it sends the Session, with the socket of its connection, to the other worker,
    /// which calls [`Core::adopt_session`].
    pub fn take_evicted(&mut self) -> Option<MovedSession> {
        if self.moves.evicted.is_empty() { None } else { Some(self.moves.evicted.remove(0)) }
    }

    fn begin_leaving(&mut self, slot: SessionSlot, to: WorkerId, turn: &mut Turn) {
        self.moves.last_ticket += 1;
        let (ticket, filters) = (self.moves.last_ticket, self.wanted_filters(slot));
        let state = self.ground.clients.session(slot);
        let (client, number) = (state.identity().clone(), state.number());
        let session = self.ground.clients.session_id(slot);
        let coming = ComingSession { session, client, number, filters: filters.clone() };
        let prepare = MovePeer::Prepare { ticket, session: Box::new(coming) };
        turn.fx.send(to, prepare.into());
        self.ground.work.add(1 + filters.len());
        let (since, stage) = (turn.now, Stage::Preparing);
        self.moves.leaving.push(Leaving { session, to, ticket, filters, since, stage });
    }

    /// What the tree has for a Session, in order.
    fn wanted_filters(&self, slot: SessionSlot) -> Vec<WantedFilter> {
        let session = self.ground.clients.session(slot);
        let filters = session.subscriptions().iter().filter_map(|(key, it)| match it.kind {
            SubscriptionKind::Plain => Some(key),
            SubscriptionKind::Exclusive => Some(key.strip_prefix(EXCLUSIVE_PREFIX).unwrap_or(key)),
            SubscriptionKind::Shared(_) => None,
        });
        let mut wanted: Vec<_> = filters
            .filter_map(|filter| {
                let subscriber = self.ground.tree.subscriber(filter, slot)?;
                let (options, identifier) = (subscriber.options, subscriber.identifier);
                Some(WantedFilter { filter: filter.into(), options, identifier })
            })
            .collect();
        wanted.sort_by(|a, b| a.filter.cmp(&b.filter));
        wanted.dedup_by(|a, b| a.filter == b.filter);
        wanted
    }

    /// Notes that the new worker of a Session is prepared.
    pub(super) fn note_prepared(&mut self, ticket: u64) {
        if let Some(leaving) = self.moves.leaving.iter_mut().find(|it| it.ticket == ticket)
            && matches!(leaving.stage, Stage::Preparing)
        {
            leaving.stage = Stage::Busy;
        }
    }

    /// Goes on with the Sessions that are to leave.
    pub(crate) fn run_moves(&mut self, turn: &mut Turn) {
        if self.moves.leaving.is_empty() {
            return;
        }
        let (mut left, all) = (Vec::new(), mem::take(&mut self.moves.leaving));
        for mut leaving in all {
            self.ground.work.add(1);
            if self.go_on_leaving(&mut leaving, turn) {
                left.push(leaving);
            }
        }
        self.moves.leaving = left;
    }

    /// Returns whether the Session is still on its way.
    fn go_on_leaving(&mut self, leaving: &mut Leaving, turn: &mut Turn) -> bool {
        let Some(slot) = self.ground.clients.slot_of(leaving.session) else {
            self.call_off(leaving, turn); // it has ended
            return false;
        };
        if let Stage::Switching { fan_outs } = leaving.stage {
            return !self.leave_if_all_have_switched(leaving, slot, fan_outs, turn);
        }
        let clients = &self.ground.clients;
        let connection = clients.connection_of(clients.session(slot));
        let has_to_stay = connection.is_some_and(Connection::has_to_stay);
        let has_to_be_called_off =
            has_to_stay || self.draining || turn.now - leaving.since >= Self::LEAVING_PATIENCE_MS;
        match leaving.stage {
            _ if has_to_stay => (),
            Stage::Preparing => (),
            Stage::Busy if self.is_busy(slot) => (),
            Stage::Busy => {
                self.quieten(leaving, slot, turn);
                return self.go_on_leaving(leaving, turn);
            }
            Stage::Quiet { connection, .. } => {
                if self.is_busy(slot) || connection != self.ground.clients.session(slot).attached()
                {
                    self.end_quiet(leaving, turn);
                    leaving.stage = Stage::Busy;
                } else if self.has_settled(leaving, slot) {
                    if self.wanted_filters(slot) != leaving.filters {
                        self.call_off(leaving, turn);
                        return false;
                    }
                    self.switch(leaving, slot, turn);
                    return true;
                }
            }
            Stage::Switching { .. } => (),
        }
        if has_to_be_called_off {
            self.call_off(leaving, turn);
        }
        !has_to_be_called_off
    }

    /// Whether something is to be done for a Session that may take its Client's help, or that only
    /// this worker can do.
    fn is_busy(&self, slot: SessionSlot) -> bool {
        let ground = &self.ground;
        let (session, id) = (ground.clients.session(slot), ground.clients.session_id(slot));
        let connection = ground.clients.connection_of(session);
        let unanswered = SubscriptionKind::Shared(None);
        session.attached() != session.attached_or_accepted()
            || connection.is_some_and(|it| !it.is_settled())
            || ground.pending.concerns(id)
            || self.router.retained.requests.is_of(id)
            || self.router.shared.presences.concern(id)
            || self.subscriptions.slices.concern(id)
            || self.remains.concern(id)
            || self.remains.unsettled.durability(&session.identity().client_id).is_some()
            || session.shared_subscriptions() > 0
                && session.subscriptions().iter().any(|(_, it)| it.kind == unanswered)
    }

    /// Stops reading from the Client of a Session that is to leave.
    fn quieten(&mut self, leaving: &mut Leaving, slot: SessionSlot, turn: &mut Turn) {
        let connection = self.ground.clients.session(slot).attached();
        if let Some(id) = connection {
            self.ground.clients.crossings.set_quiet(id, true);
            self.ground.clients.set_reading(id, false, turn);
        }
        leaving.stage = Stage::Quiet { connection, behind: None };
    }

    pub(super) fn end_quiet(&mut self, leaving: &Leaving, turn: &mut Turn) {
        if let Stage::Quiet { connection: Some(id), .. } = leaving.stage {
            self.read_again(id, turn);
        }
    }

    pub(super) fn read_again(&mut self, id: ConnectionId, turn: &mut Turn) {
        self.ground.clients.crossings.set_quiet(id, false);
        self.ground.clients.set_reading(id, true, turn);
    }

    /// Whether nothing is held back for a Session any more, and everything that is to be kept of it
    /// is on its way to the store.
    fn has_settled(&self, leaving: &mut Leaving, slot: SessionSlot) -> bool {
        let clients = &self.ground.clients;
        let session = clients.session(slot);
        let connection = clients.connection_of(session);
        let Stage::Quiet { behind, .. } = &mut leaving.stage else {
            return false;
        };
        connection.is_none_or(|it| it.held() == 0)
            && clients.rounds.has_left(*behind.get_or_insert(clients.rounds.open_round()))
            // A Will Message may have been published since then.
            && !session.number().is_some_and(|it| clients.rounds.has_put_behind(it.get()))
    }

    /// Lets the Session stay.
    fn call_off(&mut self, leaving: &Leaving, turn: &mut Turn) {
        self.end_quiet(leaving, turn);
        let session = leaving.session;
        turn.fx.send(leaving.to, MovePeer::CallOff { session }.into());
    }

    /// From this moment on, what this worker publishes goes to the Session's new worker.
    fn switch(&mut self, leaving: &mut Leaving, slot: SessionSlot, turn: &mut Turn) {
        let Leaving { session, to, .. } = *leaving;
        let online = self.ground.clients.session(slot).attached().is_some();
        let crossings = &mut self.ground.clients.crossings;
        crossings.begin_switching(slot, session, self.ground.config.worker);
        crossings.note_whereabouts(session, to);
        for worker in self.ground.other_workers() {
            turn.fx.send(worker, MovePeer::Switch { session, to, online }.into());
        }
        leaving.stage = Stage::Switching { fan_outs: None };
    }

    /// Lets the Session leave if everything that is for this worker has come and is delivered.
    fn leave_if_all_have_switched(
        &mut self,
        leaving: &mut Leaving,
        slot: SessionSlot,
        fan_outs: Option<u64>,
        turn: &mut Turn,
    ) -> bool {
        let clients = &self.ground.clients;
        if !clients.crossings.have_all_switched(leaving.session, clients.rounds.members()) {
            return false;
        }
        let put_off = &self.router.put_off;
        let fan_outs = fan_outs.unwrap_or(put_off.pushed());
        if put_off.done() < fan_outs {
            leaving.stage = Stage::Switching { fan_outs: Some(fan_outs) };
            return false;
        }
        self.leave(leaving, slot, turn);
        true
    }

    fn leave(&mut self, leaving: &Leaving, slot: SessionSlot, turn: &mut Turn) {
        self.cancel_timers_of(slot);
        let left = self.ground.clients.session(slot).attached();
        if let Some(id) = left
            && self.ground.clients.connection(id).is_some_and(Connection::is_unanswered)
        {
            self.unanswered.remove(&id);
        }
        let edition = self.ground.clients.crossings.edition_of(slot);
        let Taken { session: state, connection, ended } = self.ground.clients.take_leaving(slot);
        for WantedFilter { filter, .. } in &leaving.filters {
            if self.ground.tree.remove(filter, slot) {
                self.ground.announce_filter(filter, false, turn);
            }
        }
        self.ground.clients.vacate(slot);
        self.ground.work.add(leaving.filters.len());
        if state.is_stored() {
            self.ground.clients.rounds.confirm_to_all();
        }
        let Leaving { session, to, .. } = *leaving;
        // One that is ahead of this worker, too, stays so: it has come from further ahead.
        let edition = edition.max(self.router.retained.own_topics.edition());
        let moved = MovedSession { session, to, state, connection, ended, left, edition };
        self.moves.evicted.push(moved);
    }

    /// Cancels the timers of a Session and its connection. Both remember the moments.
    fn cancel_timers_of(&mut self, slot: SessionSlot) {
        let session = self.ground.clients.session(slot);
        let connection = self.ground.clients.connection_of(session);
        let of_connection = connection.into_iter().flat_map(Clients::connection_timers);
        let timers: Vec<_> = session_timers(session, slot).chain(of_connection).collect();
        timers.into_iter().for_each(|(at, timer)| self.ground.timers.cancel(at, timer));
    }

    /// Sends what is for this Session to its new worker from now on, and tells both workers.
    pub(super) fn switch_for(
        &mut self,
        from: WorkerId,
        session: SessionId,
        to: WorkerId,
        online: bool,
        turn: &mut Turn,
    ) {
        let own = self.ground.config.worker;
        self.ground.clients.crossings.note_whereabouts(session, to);
        if to == from {
            return; // it stays where it was
        }
        turn.fx.send(from, MovePeer::Switched { session }.into());
        if to != own {
            return turn.fx.send(to, MovePeer::Switched { session }.into());
        }
        let crossings = &mut self.ground.clients.crossings;
        crossings.note_online(session, online);
        // The old worker has switched before it said so.
        crossings.note_switched(session, from);
        crossings.note_switched(session, own);
    }
}

/// The timers that a Session has.
pub(super) fn session_timers(
    session: &Session,
    slot: SessionSlot,
) -> impl Iterator<Item = (crate::base::time::Timestamp, Timer)> + use<> {
    let generation = session.generation();
    let timers = [
        (session.expires_at(), Timer::SessionExpiry(slot, generation)),
        (session.will_due_at(), Timer::WillDelay(slot, generation)),
    ];
    timers.into_iter().filter_map(|(at, timer)| Some((at?, timer)))
}
