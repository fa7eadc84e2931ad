//! How things end: a DISCONNECT, a lost Network Connection, a Will Message, a Session.

use std::sync::Arc;

use midge_codec::{Disconnect, ReasonCode};

use crate::base::drop_reason::DropReason;
use crate::base::identity::{ConnectionId, Identity, SessionId, SessionSlot};
use crate::base::message::{Attributes, Publication};
use crate::base::time::Timestamp;
use crate::base::timers::Timer;
use crate::boundary::effects::{DisconnectReason, Event};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::remains::Undelivered;
use crate::session::{NEVER_EXPIRES, Session, Will};
use crate::subscribe::subscribing::Holder;
use crate::topics::destination::Destination;

impl Core {
    /// Handles a DISCONNECT: the Client leaves in an orderly way [MQTT-3.14.4-3].
    pub(crate) fn handle_disconnect(
        &mut self,
        id: ConnectionId,
        disconnect: &Disconnect<'_>,
        turn: &mut Turn,
    ) {
        let expiry_max = self.ground.config.limits.session_expiry_seconds_max;
        let session = self.ground.clients.connection(id).and_then(Connection::session);
        if let (Some(slot), Some(asked)) = (session, disconnect.session_expiry_interval) {
            let session = self.ground.clients.session_mut(slot);
            if session.expiry_seconds() == 0 && asked != 0 {
                let detail = "Session Expiry Interval was 0 and cannot be raised [MQTT-3.14.2-2]";
                return self.violation(id, detail, turn);
            }
            let expiry_seconds = asked.min(expiry_max);
            if session.expiry_seconds() != expiry_seconds {
                session.set_expiry_seconds(expiry_seconds);
                self.ground.clients.store_record(slot);
            }
        }
        let reason = DisconnectReason::ByClient(disconnect.reason_code);
        self.close(id, None, &reason, turn);
    }

    /// Detaches the Session from its Network Connection, which is to be closed or is closed
    /// already.
    pub(crate) fn detach(&mut self, id: ConnectionId, reason: &DisconnectReason, turn: &mut Turn) {
        let (receiver, reason_of_loss) = self.loss_of_output(id);
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return;
        };
        let phase = connection.enter(Phase::Closing { receiver, reason: reason_of_loss });
        let (slot, accepted) = match phase {
            Phase::Closing { .. } => return,
            Phase::Connected { session, .. } => (session, None),
            Phase::Accepted(accepted) => (accepted.session, Some(accepted)),
            Phase::Stream { control, session } => {
                return self.end_data_stream(id, control, session, turn);
            }
            Phase::AwaitingConnect | Phase::Authenticating(_) => {
                let (client, reason) = (None, reason.clone());
                turn.fx.events.push(Event::Disconnected { connection: id, client, reason });
                return;
            }
        };
        let is_local = connection.is_local();
        if let Some(streams) = connection.take_data_streams() {
            self.close_data_streams(&streams, turn);
        }
        // Nobody was told of a Client that did not get its CONNACK.
        let client = self.ground.clients.detach(slot, is_local);
        turn.fx.events.push(Event::Disconnected { connection: id, client, reason: reason.clone() });
        if let Some(accepted) = accepted {
            self.withdraw_will(*accepted, turn.now);
        } else if keeps_will(reason) {
            self.schedule_will(slot, turn);
        } else if self.ground.clients.session_mut(slot).take_will().is_some() {
            self.ground.clients.forget_will(slot); // [MQTT-3.14.4-3] [MQTT-3.1.2-10]
        }
        self.router.shared.tell_online(&mut self.ground, slot, turn);
        self.return_queued_of_groups(slot, turn);
        if self.ground.clients.session(slot).expiry_seconds() > 0 {
            self.ground.clients.store_detached(slot, turn.now);
        }
        match self.ground.clients.session(slot).expiry_seconds() {
            0 => self.end_session(slot, turn), // [MQTT-3.1.2-23]
            NEVER_EXPIRES => (),
            seconds => {
                let at = turn.now.plus_seconds(u64::from(seconds));
                let session = self.ground.clients.session_mut(slot);
                session.note_expiry_timer(Some(at));
                let timer = Timer::SessionExpiry(slot, session.generation());
                self.ground.timers.set(at, timer);
            }
        }
    }

    /// Gives up what a connection has to write, and counts what is lost by that.
    pub(crate) fn give_up_output(&mut self, id: ConnectionId, turn: &mut Turn) {
        let (receiver, reason) = self.loss_of_output(id);
        self.ground.clients.drop_output(id, receiver.as_ref(), reason, turn);
    }

    /// Who loses what a connection does not write any more, and why: as it was when the connection
    /// ended, or as it would be if that were now.
    pub(crate) fn loss_of_output(&self, id: ConnectionId) -> (Option<Arc<Identity>>, DropReason) {
        let clients = &self.ground.clients;
        let Some(connection) = clients.connection(id) else {
            return (None, DropReason::Offline);
        };
        let is_open = |id| clients.connection(id).is_some_and(|control| !control.is_closing());
        let lives_on = match *connection.phase() {
            Phase::Closing { ref receiver, reason } => return (receiver.clone(), reason),
            Phase::Stream { control, .. } if is_open(control) => true,
            Phase::Stream { session, .. } | Phase::Connected { session, .. } => {
                clients.session(session).expiry_seconds() > 0
            }
            _ => return (None, DropReason::Offline), // It has got nothing but answers.
        };
        let reason = match lives_on {
            _ if self.draining => DropReason::BrokerEnded,
            true => DropReason::Offline,
            false => DropReason::SessionEnded,
        };
        (clients.client_of(id).cloned(), reason)
    }

    /// Publishes the Will Message now, or when its delay has passed [MQTT-3.1.2-8]. If the Session
    /// ends before that, the Will Message is published then: see [`Core::end_session`].
    fn schedule_will(&mut self, slot: SessionSlot, turn: &mut Turn) {
        let session = self.ground.clients.session_mut(slot);
        let Some(will) = session.will() else {
            return;
        };
        if will.delay_seconds == 0 || session.expiry_seconds() == 0 {
            return self.publish_will(slot, turn);
        }
        let at = turn.now.plus_seconds(u64::from(will.delay_seconds));
        session.note_will_timer(Some(at));
        let timer = Timer::WillDelay(slot, session.generation());
        self.ground.timers.set(at, timer);
    }

    /// Publishes a Will Message whose delay has passed, unless its Session has ended meanwhile.
    pub(crate) fn handle_will_delay(
        &mut self,
        slot: SessionSlot,
        generation: u32,
        turn: &mut Turn,
    ) {
        if self.is_session(slot, generation) {
            self.ground.clients.session_mut(slot).note_will_timer(None);
            self.publish_will(slot, turn);
        }
    }

    /// Ends a Session whose expiry has come, unless it has ended meanwhile.
    pub(crate) fn handle_session_expiry(
        &mut self,
        slot: SessionSlot,
        generation: u32,
        turn: &mut Turn,
    ) {
        if self.is_session(slot, generation) {
            self.ground.clients.session_mut(slot).note_expiry_timer(None);
            self.ground.clients.counters.sessions_expired += 1;
            self.end_session(slot, turn);
        }
    }

    /// Does now what is overdue for a Session without a Network Connection, as if no timer were
    /// late: publishes its Will Message, ends the Session.
    pub(crate) fn settle_overdue(&mut self, client_id: &str, turn: &mut Turn) {
        let Some(slot) = self.ground.clients.session_by_client_id(client_id) else {
            return;
        };
        let session = self.ground.clients.session(slot);
        let generation = session.generation();
        let is_due = |at: &Timestamp| *at <= turn.now;
        let (will_due_at, expires_at) =
            (session.will_due_at().filter(is_due), session.expires_at().filter(is_due));
        if let Some(at) = will_due_at {
            self.ground.timers.cancel(at, Timer::WillDelay(slot, generation));
            self.handle_will_delay(slot, generation, turn);
        }
        if let Some(at) = expires_at {
            self.ground.timers.cancel(at, Timer::SessionExpiry(slot, generation));
            self.handle_session_expiry(slot, generation, turn);
        }
    }

    /// Cancels the timers for the end of a Session and for its Will Message, for example because
    /// its Client came back [MQTT-3.1.3-9].
    pub(crate) fn cancel_session_timers(&mut self, slot: SessionSlot) {
        let session = self.ground.clients.session_mut(slot);
        let generation = session.generation();
        if let Some(at) = session.expires_at() {
            session.note_expiry_timer(None);
            self.ground.timers.cancel(at, Timer::SessionExpiry(slot, generation));
        }
        if let Some(at) = session.will_due_at() {
            session.note_will_timer(None);
            self.ground.timers.cancel(at, Timer::WillDelay(slot, generation));
        }
    }

    /// Ends a Session without a Network Connection. Nothing of it is left but the messages that are
    /// to go to others.
    pub(crate) fn end_session(&mut self, slot: SessionSlot, turn: &mut Turn) {
        self.publish_will(slot, turn); // the Session's end is the latest moment for it
        self.cancel_session_timers(slot);
        let id = self.ground.clients.session_id(slot);
        let mut session = self.ground.clients.take_session(slot);
        self.tell_over(id, turn);
        let client = Arc::clone(session.identity());
        let subscriptions = session.take_subscriptions();
        self.remains.end_subscriptions(
            &mut self.subscriptions,
            &mut self.router,
            &mut self.ground,
            Holder { session: id, slot },
            subscriptions,
            turn,
        );
        self.pass_on_undelivered(&mut session, id, turn);
        self.remains.forget_session(&mut self.ground, session, id, turn);
        turn.fx.events.push(Event::SessionEnded { client });
    }

    /// Publishes the Will Message, once [MQTT-3.1.2-8] [MQTT-3.1.2-10]. It passes the publish gate
    /// like any other message.
    fn publish_will(&mut self, slot: SessionSlot, turn: &mut Turn) {
        let Some(will) = self.ground.clients.session_mut(slot).take_will() else {
            return;
        };
        // The present identity counts, and not the one with which the Client connected.
        let client = Arc::clone(self.ground.clients.session(slot).identity());
        self.ground.clients.forget_will(slot);
        let Will { message, expiry_seconds, .. } = *will;
        let expires_at = expiry_seconds.map(|seconds| turn.now.plus_seconds(u64::from(seconds)));
        let attributes = Attributes { expires_at, ..message.attributes() };
        let destination = Destination::of_will(message.topic());
        let publication = Publication::new(
            destination.topic(),
            message.properties(),
            message.payload(),
            attributes,
            &client,
        );
        // If it is not published, the reason is counted; there is nobody left to be told.
        if !self.ground.clients.policy.may_stay(&client) {
            let (publisher, topic) = (Party::Publisher(&client), destination.topic());
            let reason = DropReason::PublishNotAuthorized;
            return self.ground.clients.note_drop(publisher, topic, reason, turn);
        }
        let published = match destination.delay_seconds() {
            None => self.router.publish(&mut self.ground, publication, turn).is_ok(),
            Some(seconds) => {
                self.router.delay(&mut self.ground, &publication, seconds, turn).is_ok()
            }
        };
        self.ground.clients.counters.wills_published += u64::from(published);
    }

    /// Gives groups back their messages that wait for a Session whose Client is gone.
    fn return_queued_of_groups(&mut self, slot: SessionSlot, turn: &mut Turn) {
        let (session, rounds) = self.ground.clients.session_and_rounds(slot);
        if session.shared_subscriptions() == 0 || !self.ground.config.shared_backlog {
            return;
        }
        if let Some(outgoing) = session.outgoing_mut() {
            let round = rounds.open_round();
            let is_confirmed = |round| rounds.is_confirmed(round);
            let deliveries = outgoing.take_queued_of_groups(round, is_confirmed);
            let (owner, client) = (session.owner(), Arc::clone(session.identity()));
            let session = self.ground.clients.session_id(slot);
            let undelivered = Undelivered::new(client, session, owner, deliveries);
            self.remains.pass_on(&mut self.router, &mut self.ground, undelivered, turn);
        }
    }

    /// Passes what waited for a Session that has ended on to others; the rest is lost.
    fn pass_on_undelivered(&mut self, session: &mut Session, id: SessionId, turn: &mut Turn) {
        let Some(outgoing) = session.outgoing_mut() else {
            return;
        };
        let rounds = &self.ground.clients.rounds;
        let is_confirmed = |round| rounds.is_confirmed(round);
        let deliveries = outgoing.take_undelivered(rounds.open_round(), is_confirmed);
        let client = Arc::clone(session.identity());
        let undelivered = Undelivered::new(client, id, session.owner(), deliveries);
        self.remains.pass_on(&mut self.router, &mut self.ground, undelivered, turn);
    }

    pub(crate) fn is_session(&self, slot: SessionSlot, generation: u32) -> bool {
        let clients = &self.ground.clients;
        clients.is_generation(slot, generation) && !clients.is_switching(slot)
    }

    /// Begins to shut down: admits no new Clients, and tells the connected ones to go (0x8B). Their
    /// Sessions stay.
    pub fn begin_drain(&mut self, turn: &mut Turn) {
        self.draining = true;
        let code = ReasonCode::ServerShuttingDown;
        let connections = self.ground.clients.all_connections();
        // Data streams end with their control streams.
        let connections = connections.filter(|connection| !connection.is_data_stream());
        let ids: Vec<_> = connections.map(Connection::id).collect();
        for id in ids {
            self.close(id, Some(code), &DisconnectReason::ByServer(code), turn);
        }
    }

    /// Counts what is lost because the worker ends: messages that wait in memory only or to be
    /// written, and `on_the_way` more that were between the workers.
    pub fn drop_volatile(&mut self, on_the_way: u64, turn: &mut Turn) {
        self.draining = true;
        let connections = self.ground.clients.all_connections().map(Connection::id);
        for id in connections.collect::<Vec<_>>() {
            self.give_up_output(id, turn);
        }
        let reason = DropReason::BrokerEnded;
        let sessions = self.ground.clients.all_sessions();
        let waiting = sessions.filter_map(|(slot, session)| {
            let count = session.outgoing()?.volatile_messages();
            (count > 0).then_some((slot as SessionSlot, count as u64))
        });
        for (slot, count) in waiting.collect::<Vec<_>>() {
            self.ground.clients.note_drops(Party::Receiver(slot), "", reason, count, turn);
        }
        let others = self.router.put_off.receivers_left()
            + self.router.delayed.volatile_messages()
            + self.router.shared.groups.volatile_messages()
            + self.remains.messages()
            + self.ground.clients.crossings.put_by_usage().0;
        self.ground.clients.note_drops(Party::Nobody, "", reason, on_the_way + others as u64, turn);
    }

    /// Ends a Network Connection for an administrative reason, whether its Client has connected or
    /// not.
    pub fn end_connection(&mut self, id: ConnectionId, reason_code: ReasonCode, turn: &mut Turn) {
        let reason = DisconnectReason::ByServer(reason_code);
        self.close(id, Some(reason_code), &reason, turn);
    }

    /// Disconnects a Client for an administrative reason. True if it was connected here.
    pub fn disconnect_client(
        &mut self,
        client_id: &str,
        reason_code: ReasonCode,
        turn: &mut Turn,
    ) -> bool {
        let Some(slot) = self.ground.clients.session_by_client_id(client_id) else {
            return false;
        };
        let Some(id) = self.ground.clients.session(slot).attached_or_accepted() else {
            return false;
        };
        let reason = DisconnectReason::ByServer(reason_code);
        self.close(id, Some(reason_code), &reason, turn);
        true
    }
}

/// Whether the Will Message is still to be published after this end of the Network Connection:
/// after every end but a DISCONNECT with Reason Code 0x00 [MQTT-3.14.4-3].
fn keeps_will(reason: &DisconnectReason) -> bool {
    !matches!(reason, DisconnectReason::ByClient(ReasonCode::Success))
}
