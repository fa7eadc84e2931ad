//! From an accepted CONNECT to its CONNACK and what follows. Some CONNACKs say something about a
//! Session in the store: that an earlier one is gone, or that it goes on with another Will Message
//! and another expiry. Such a CONNACK is an acknowledgement and waits until what it says is
//! durable.
//!
//! A Client that waits for its CONNACK counts as absent: nothing is sent to it, and nothing that it
//! sends is read. This module must never let anything overtake the CONNACK [MQTT-3.2.0-1].
//!
//! Only the CONNACK completes the acceptance. If the Network Connection ends before it leaves, its
//! Will Message is never published [MQTT-3.1.2-7], and an earlier Will Message that the CONNECT had
//! cancelled is due again.

use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, SessionSlot};
use crate::base::time::Timestamp;
use crate::base::timers::Timer;
use crate::boundary::turn::Turn;
use crate::connection::Phase;
use crate::connection::accepted::{AcceptedConnect, EarlierWill};
use crate::core::Core;
use crate::waiting::rounds::Held;

impl Core {
    /// Answers an accepted CONNECT whose Session is set up: the CONNACK leaves now, or waits for
    /// the store.
    pub(crate) fn answer_connect(
        &mut self,
        id: ConnectionId,
        accepted: AcceptedConnect,
        turn: &mut Turn,
    ) {
        let depends = self.connack_depends(&accepted);
        if let Some(connection) = self.ground.clients.connection_mut(id) {
            connection.enter(Phase::Accepted(Box::new(accepted)));
        }
        match depends {
            Some(durability) => self.ground.clients.rounds.hold(Held::Connected(id), durability),
            None => self.complete_connect(id, turn),
        }
    }

    /// Cancels the expiry and the Will Message of a Session whose Client is back. Returns the Will
    /// Message if it was waiting for its delay.
    pub(crate) fn call_off_will(&mut self, slot: SessionSlot) -> Option<EarlierWill> {
        let due_at = self.ground.clients.session(slot).will_due_at();
        self.cancel_session_timers(slot);
        let will = self.ground.clients.session_mut(slot).take_will()?;
        Some(EarlierWill { will, due_at: due_at? })
    }

    /// Withdraws the Will Message of a Network Connection that has ended before its CONNACK, and
    /// restores the earlier one that the CONNECT had cancelled, and what was known of its Client.
    pub(crate) fn withdraw_will(&mut self, accepted: AcceptedConnect, now: Timestamp) {
        let AcceptedConnect { session: slot, former, earlier, .. } = accepted;
        let session = self.ground.clients.session_mut(slot);
        if let Some(former) = former {
            session.set_identity(former);
        }
        let withdrawn = session.take_will();
        match earlier {
            Some(EarlierWill { mut will, due_at }) => {
                // The store counts the delay from the end of the last Network Connection, and that
                // is now.
                will.delay_seconds = (due_at - now).div_ceil(1000).try_into().unwrap_or(u32::MAX);
                session.set_will(Some(will));
                session.note_will_timer(Some(due_at));
                let timer = Timer::WillDelay(slot, session.generation());
                self.ground.timers.set(due_at, timer);
                self.ground.clients.store_record(slot);
            }
            None if withdrawn.is_some() => self.ground.clients.forget_will(slot),
            None => (),
        }
    }

    /// Returns the durability that the CONNACK promises. `None` if it says nothing about a Session
    /// in the store.
    fn connack_depends(&self, accepted: &AcceptedConnect) -> Option<Durability> {
        let session = self.ground.clients.session(accepted.session);
        let is_known = accepted.session_present && session.is_stored();
        let resumed = is_known.then_some(session.durability());
        resumed.max(self.remains.unsettled.durability(&session.identity().client_id))
    }

    /// Sends the CONNACK and begins the conversation. Does nothing if the connection is gone or
    /// closing.
    pub(crate) fn complete_connect(&mut self, id: ConnectionId, turn: &mut Turn) {
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return;
        };
        let Phase::Accepted(accepted) = connection.phase() else {
            return;
        };
        let (slot, connect_number) = (accepted.session, Some(accepted.connect_number));
        let phase = Phase::Connected { session: slot, reauthenticating: false, connect_number };
        let Phase::Accepted(accepted) = connection.enter(phase) else {
            return;
        };
        let AcceptedConnect { keep_alive, connack, connected, former, .. } = *accepted;
        connection.set_keep_alive(keep_alive);
        // The connection was not read meanwhile: whatever it has sent is yet to come.
        connection.hear(turn.now);
        let receive_maximum = connection.receive_maximum();
        let extent = self.ground.clients.extent(receive_maximum);
        self.ground.clients.attach(slot, id);
        let session = self.ground.clients.session_mut(slot);
        if let Some(outgoing) = session.outgoing_mut() {
            outgoing.resume(extent);
        }
        self.ground.clients.send_connack(id, &connack, turn);
        turn.fx.events.push(connected);
        if let Some(former) = former {
            self.judge_if_new(slot, &former);
        }
        self.begin_conversation(id, slot, keep_alive, turn);
    }

    /// Whether this worker alone may answer a CONNECT with this Client Identifier: it has the
    /// Session, or had one whose end the store does not know of yet.
    pub fn owns(&self, client_id: &str) -> bool {
        self.has_session(client_id) || self.remains.unsettled.durability(client_id).is_some()
    }
}
