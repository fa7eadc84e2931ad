//! The core's side of the store: what a Session has kept there, the functions that take in receipts
//! and fetched messages, and the end of a queue that is in the store only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use midge_codec::{QoS, ReasonCode};

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, SessionId, SessionSlot};
use crate::base::time::Timestamp;
use crate::boundary::effects::DisconnectReason;
use crate::boundary::peer_messages::Peer;
use crate::boundary::store_records::{
    Fetch, Fetched, FetchedEntry, Owner, Receipt, Round, SessionRecord, StoreOp, StoredDelivery,
    SubscriptionRecord, WillRecord,
};
use crate::boundary::turn::Turn;
use crate::clients::Clients;
use crate::clients::drops::Party;
use crate::core::Core;
use crate::session::outgoing::Outgoing;
use crate::session::sent_ahead::Sent;
use crate::session::{Session, Will};
use crate::waiting::rounds::Held;

/// Sessions that have ended except for messages that others get, by their numbers in the store.
#[derive(Debug, Default)]
pub(crate) struct EndingQueues {
    pub(crate) queues: BTreeMap<u64, EndingQueue>,
    /// Those that wait for rounds to be confirmed.
    held: Vec<u64>,
}

/// A Session that has ended while messages of shared subscriptions wait for it in the store: they
/// are read once more, for the other members.
#[derive(Debug)]
pub(crate) struct EndingQueue {
    /// The id that the Session had; it is not among the Sessions any more.
    session: SessionId,
    /// The last sequence that it has given out.
    last: u64,
    sent: Sent,
    /// Messages that went to other members before.
    given_back: BTreeSet<u64>,
    /// The ticket of the last request for it.
    ticket: u64,
    /// The answer, while some of its messages are not confirmed: they must not count by way of
    /// another queue before they count in this one.
    held: Option<Box<Fetched>>,
}

impl Core {
    /// Clients that are disconnected in one turn because there is room again.
    const UNANSWERED_PER_TURN: usize = 1_000;

    /// Handles a receipt: the store tells how far this worker's commits have come.
    pub fn handle_receipt(&mut self, receipt: Receipt, turn: &mut Turn) {
        self.ground.clients.rounds.note_receipt(receipt);
        let others = self.ground.other_workers().fold(0, |set, worker| set | worker.bit());
        while let Some(released) = self.ground.clients.rounds.next_released(others, turn) {
            self.release(released, turn);
        }
        self.router.shared.flush_held(&mut self.ground, turn);
        self.go_on_with_endings(turn);
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
        self.go_on_with_endings(turn);
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
        self.ground.clients.rounds.is_full = is_full;
        self.end_unanswered(turn);
    }

    /// Whether Clients whose PUBLISH was not acknowledged may send it again: there is room for it.
    pub(crate) fn may_end_unanswered(&self) -> bool {
        let has_room =
            !self.ground.clients.rounds.is_full && !self.ground.strain.is_very_short_of_memory();
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
        if let Some(connection) = self.ground.clients.connection(id)
            && !connection.is_unanswered
        {
            connection.is_unanswered = true;
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
                Some(slot) if self.ground.clients.session(slot).number == number => {
                    self.take_fetched(slot, fetched, turn);
                }
                _ => self.pass_on_fetched(number, fetched, turn),
            },
        }
    }

    fn take_fetched(&mut self, slot: SessionSlot, fetched: Fetched, turn: &mut Turn) {
        let Fetched { session, ticket, entries, next, .. } = fetched;
        let outgoing = self.ground.clients.session(slot).outgoing.as_mut();
        if outgoing.is_some_and(|outgoing| outgoing.end_fetch(ticket)) {
            let mut deliveries = Vec::with_capacity(entries.len());
            for FetchedEntry { sequence, delivery, round } in entries {
                match delivery {
                    Some(stored) => deliveries.push((sequence, self.delivery_of(stored), round)),
                    None => {
                        self.ground.clients.note_drop(
                            Party::Receiver(slot),
                            "",
                            DropReason::Damaged,
                            turn,
                        );
                        self.ground.clients.forget_stored(slot, sequence);
                    }
                }
            }
            let is_exactly_once =
                |(_, delivery, _): &(_, Delivery, _)| delivery.qos == QoS::ExactlyOnce;
            let hold = deliveries.iter().any(is_exactly_once);
            let hold = hold.then(|| self.ground.clients.rounds.hold_fetched(session));
            if let Some(outgoing) = &mut self.ground.clients.session(slot).outgoing {
                outgoing.note_fetched(next, deliveries, hold, turn.now);
            }
        }
        self.router.go_on(&mut self.ground, slot, turn);
    }

    fn delivery_of(&self, stored: StoredDelivery) -> Delivery {
        let StoredDelivery { message, qos, retain, identifiers, group } = stored;
        let group = group.and_then(|number| self.router.shared.groups.by_number(number));
        Delivery { message, qos, retain, identifiers, group }
    }

    /// Writes the Session of a Client that has connected to the store, if it outlives the Network
    /// Connection and its durability asks for that.
    pub(crate) fn store_session(
        &mut self,
        slot: SessionSlot,
        durability: Durability,
        turn: &mut Turn,
    ) {
        let session = &mut self.ground.clients.sessions[slot as usize];
        session.durability = durability;
        let begins = session.number == 0 && session.expiry_seconds > 0;
        let begins = begins && durability > Durability::Memory;
        if begins {
            session.number = self.ground.numbers.next(turn.now);
            if let Some(outgoing) = &mut session.outgoing {
                outgoing.stored.is_used = true;
            }
        }
        if begins {
            // At once: the store has to know the Session before what follows about it.
            let record = record_of(&self.ground.clients.sessions[slot as usize]);
            self.ground.clients.rounds.keep(StoreOp::Session(Box::new(record)));
            self.store_subscriptions(slot);
            self.tell_storing(turn);
        } else {
            self.store_record(slot);
        }
    }

    /// Writes the present state of a Session in the store, without subscriptions and messages.
    pub(crate) fn store_record(&mut self, slot: SessionSlot) {
        let session = &self.ground.clients.sessions[slot as usize];
        if session.number > 0 {
            // After the end of an earlier Will Message, which may wait for other workers.
            let op = StoreOp::Session(Box::new(record_of(session)));
            self.ground.clients.rounds.keep_behind_round(op);
            let session = &mut self.ground.clients.sessions[slot as usize];
            let (number, durability) = (session.number, session.durability);
            let outgoing = session.outgoing.as_mut();
            if let Some(sent_before) = outgoing.and_then(|outgoing| outgoing.tell_ahead_again()) {
                let op = StoreOp::SentAhead { session: number, sent_before };
                self.ground.clients.rounds.keep_behind_round(op);
                let held = Held::Ahead(self.ground.clients.session_id(slot), sent_before);
                self.ground.clients.rounds.hold(held, durability);
            }
        }
    }

    fn store_subscriptions(&mut self, slot: SessionSlot) {
        let Session { number, subscriptions, .. } = &self.ground.clients.sessions[slot as usize];
        for (filter, subscribed) in subscriptions {
            let subscription = SubscriptionRecord {
                filter: filter.clone(),
                options: subscribed.options,
                identifier: subscribed.identifier,
            };
            let op = StoreOp::Subscribed { session: *number, subscription };
            self.ground.clients.rounds.keep(op);
        }
    }

    pub(crate) fn tell_storing(&mut self, turn: &mut Turn) {
        let own = self.ground.config.worker;
        if !self.ground.clients.rounds.is_storing(own) {
            self.ground.clients.rounds.note_storing(own);
            for worker in self.ground.other_workers() {
                turn.fx.send(worker, Peer::Storing.into());
            }
        }
    }

    /// Tells the store that the Network Connection of a Session that lives on has ended.
    pub(crate) fn store_detached(&mut self, slot: SessionSlot, now: Timestamp) {
        let session = &mut self.ground.clients.sessions[slot as usize];
        if session.number == 0 {
            return;
        }
        let outgoing = session.outgoing.as_mut();
        let sent_before = outgoing.map_or(0, |outgoing| {
            outgoing.leave_to_store();
            outgoing.sent().to_store()
        });
        let op = StoreOp::Detached { session: session.number, at: now, sent_before };
        self.ground.clients.rounds.keep_behind_round(op);
    }

    /// Tells the store that the Will Message of a Session is published, or is not to be.
    pub(crate) fn forget_will(&mut self, slot: SessionSlot) {
        let session = self.ground.clients.sessions[slot as usize].number;
        if session > 0 {
            // After what others have kept of the Will Message: it must not be lost between the two.
            self.ground.clients.rounds.keep_behind_round(StoreOp::WillGone { session });
        }
    }

    /// Removes a Session that has ended from the store. First, the messages of shared subscriptions
    /// that wait there go to other members.
    pub(crate) fn forget_session(&mut self, mut session: Session, id: SessionId, turn: &mut Turn) {
        if session.number == 0 {
            return turn.fx.disowned.push(session.identity);
        }
        self.note_unsettled_end(&session.identity, session.durability);
        let outgoing = session.outgoing.as_ref();
        if let Some(outgoing) = outgoing.filter(|outgoing| outgoing.stored.of_groups > 0) {
            let queue = EndingQueue {
                session: id,
                last: outgoing.last_sequence(),
                sent: outgoing.sent(),
                given_back: outgoing.given_back(),
                ticket: 0,
                held: None,
            };
            let (from, sent_before) = (outgoing.stored_from(), queue.sent.to_store());
            self.endings.queues.insert(session.number, queue);
            // Until then it stays in the store, as a Session that does not outlive its Network
            // Connection.
            (session.expiry_seconds, session.will) = (0, None);
            let Session { number, .. } = session;
            let op = StoreOp::Session(Box::new(record_of(&session)));
            self.ground.clients.rounds.keep_behind_round(op);
            let op = StoreOp::Detached { session: number, at: turn.now, sent_before };
            self.ground.clients.rounds.keep_behind_round(op);
            return self.fetch_ending(number, from, turn);
        }
        let outgoing = session.outgoing.as_ref();
        let dropped = outgoing.map_or(0, |outgoing| outgoing.stored_messages() as u64);
        let party = Party::Former(&session.identity);
        self.ground.clients.note_drops(party, "", DropReason::SessionEnded, dropped, turn);
        self.ground
            .clients
            .rounds
            .keep_behind_round(StoreOp::Ended(Owner::Session(session.number)));
    }

    /// Passes on fetched messages of a Session that has ended.
    fn pass_on_fetched(&mut self, number: u64, fetched: Fetched, turn: &mut Turn) {
        let rounds = &self.ground.clients.rounds;
        let mut waits_for = fetched.entries.iter().filter_map(|entry| entry.round);
        let must_wait = waits_for.any(|round| !rounds.is_confirmed(round));
        let Some(queue) = self.endings.queues.get_mut(&number) else {
            return;
        };
        if queue.ticket != fetched.ticket {
            return;
        }
        if must_wait {
            queue.held = Some(Box::new(fetched));
            return self.endings.held.push(number);
        }
        let EndingQueue { session, last, mut sent, .. } = *queue;
        let given_back = std::mem::take(&mut queue.given_back);
        for FetchedEntry { sequence, delivery, .. } in fetched.entries {
            if given_back.contains(&sequence) {
                continue;
            }
            let delivery = delivery.map(|stored| self.delivery_of(stored));
            let may_be_sent = delivery.as_ref().is_some_and(|it| {
                sent.visit(sequence, it.qos, it.message.attributes().has_expired(turn.now))
            });
            match delivery {
                // A QoS 2 message that was sent to one member goes to no other [MQTT-4.8.2-5].
                Some(delivery)
                    if delivery.group.is_some()
                        && (delivery.qos < QoS::ExactlyOnce || !may_be_sent) =>
                {
                    self.router.shared.return_to_group(&mut self.ground, session, delivery, turn);
                }
                Some(delivery) => {
                    let topic = delivery.message.topic();
                    self.ground.clients.note_drop(
                        Party::Nobody,
                        topic,
                        DropReason::SessionEnded,
                        turn,
                    );
                }
                None => self.ground.clients.note_drop(Party::Nobody, "", DropReason::Damaged, turn),
            }
        }
        if fetched.next <= last {
            if let Some(queue) = self.endings.queues.get_mut(&number) {
                (queue.sent, queue.given_back) = (sent, given_back);
            }
            return self.fetch_ending(number, fetched.next, turn);
        }
        self.endings.queues.remove(&number);
        self.ground.clients.rounds.keep_behind_round(StoreOp::Ended(Owner::Session(number)));
    }
}

impl Core {
    /// Goes on with the queues that waited for rounds that are confirmed now.
    fn go_on_with_endings(&mut self, turn: &mut Turn) {
        for number in std::mem::take(&mut self.endings.held) {
            let held = self.endings.queues.get_mut(&number).and_then(|queue| queue.held.take());
            if let Some(fetched) = held {
                self.pass_on_fetched(number, *fetched, turn);
            }
        }
    }

    fn fetch_ending(&mut self, number: u64, from: u64, turn: &mut Turn) {
        let ticket = self.ground.clients.fetch_ticket();
        let Some(queue) = self.endings.queues.get_mut(&number) else {
            return;
        };
        queue.ticket = ticket;
        let (messages_max, bytes_max) = Outgoing::fetch_size();
        let (owner, session) = (Owner::Session(number), queue.session);
        turn.fx.fetches.push(Fetch { owner, session, ticket, from, messages_max, bytes_max });
    }
}

impl Clients {
    /// Tells the store what may be sent soon, if it is time.
    #[inline]
    pub(crate) fn look_ahead(&mut self, slot: SessionSlot) {
        let session = &mut self.sessions[slot as usize];
        if session.number == 0 || session.connection.is_none() {
            return;
        }
        let outgoing = session.outgoing.as_mut();
        if let Some(sent_before) = outgoing.and_then(|outgoing| outgoing.tell_ahead()) {
            let (number, durability) = (session.number, session.durability);
            self.rounds.keep(StoreOp::SentAhead { session: number, sent_before });
            let held = Held::Ahead(self.session_id(slot), sent_before);
            self.rounds.hold(held, durability);
        }
    }

    /// Notes that the store knows that messages below `sent_before` may be sent.
    pub(crate) fn note_ahead(&mut self, session: SessionId, sent_before: u64) {
        if let Some(slot) = self.slot_of(session)
            && let Some(outgoing) = &mut self.sessions[slot as usize].outgoing
        {
            outgoing.note_ahead(sent_before);
        }
    }
}

fn record_of(session: &Session) -> SessionRecord {
    SessionRecord {
        number: session.number,
        client_id: session.identity.client_id.clone(),
        user_name: session.identity.user_name.clone(),
        expiry_seconds: session.expiry_seconds,
        will: session.will.as_deref().map(|will: &Will| WillRecord {
            message: Arc::clone(&will.message),
            delay_seconds: will.delay_seconds,
            expiry_seconds: will.expiry_seconds,
        }),
    }
}
