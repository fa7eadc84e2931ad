//! Queues of Sessions that have ended while messages of shared subscriptions wait in the store:
//! they are read once more, for the other members.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;

use midge_codec::QoS;

use crate::base::drop_reason::DropReason;
use crate::base::identity::SessionId;
use crate::boundary::store_records::{Fetch, Fetched, FetchedEntry, Owner, StoreOp};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::clients::records::record_of;
use crate::ground::Ground;
use crate::remains::Remains;
use crate::route::Router;
use crate::session::Session;
use crate::session::outgoing::Outgoing;
use crate::session::sent_ahead::Sent;

/// Sessions that have ended except for messages that others get, by their numbers in the store.
#[derive(Debug, Default)]
pub(crate) struct EndingQueues {
    by_number: BTreeMap<u64, EndingQueue>,
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

impl Remains {
    /// Whether Sessions have ended except for messages that others get.
    pub(crate) fn has_queues(&self) -> bool {
        !self.queues.by_number.is_empty()
    }

    /// Removes a Session that has ended from the store. First, the messages of shared subscriptions
    /// that wait there go to other members.
    pub(crate) fn forget_session(
        &mut self,
        ground: &mut Ground,
        mut session: Session,
        id: SessionId,
        turn: &mut Turn,
    ) {
        let Some(number) = session.number().map(NonZeroU64::get) else {
            return turn.fx.disowned.push(Arc::clone(session.identity()));
        };
        self.note_unsettled_end(ground, &session, number);
        let outgoing = session.outgoing();
        if let Some(outgoing) = outgoing.filter(|outgoing| outgoing.stored_of_groups() > 0) {
            let queue = EndingQueue {
                session: id,
                last: outgoing.last_sequence(),
                sent: outgoing.sent().clone(),
                given_back: outgoing.given_back(),
                ticket: 0,
                held: None,
            };
            let (from, sent_before) = (outgoing.stored_from(), queue.sent.to_store());
            self.queues.by_number.insert(number, queue);
            // Until then it stays in the store, as a Session that does not outlive its Network
            // Connection.
            session.set_expiry_seconds(0);
            session.set_will(None);
            let op = StoreOp::Session(Box::new(record_of(&session, number, None)));
            ground.clients.rounds.keep_behind_round(op);
            let op = StoreOp::Detached { session: number, at: turn.now, sent_before };
            ground.clients.rounds.keep_behind_round(op);
            return self.fetch_ending(ground, number, from, turn);
        }
        let outgoing = session.outgoing();
        let dropped = outgoing.map_or(0, |outgoing| outgoing.stored_messages() as u64);
        let party = Party::Former(session.identity());
        ground.clients.note_drops(party, "", DropReason::SessionEnded, dropped, turn);
        ground.clients.rounds.keep_behind_round(StoreOp::Ended(Owner::Session(number)));
    }

    /// Passes on fetched messages of a Session that has ended.
    pub(crate) fn pass_on_fetched(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        number: u64,
        fetched: Fetched,
        turn: &mut Turn,
    ) {
        let rounds = &ground.clients.rounds;
        let mut waits_for = fetched.entries.iter().filter_map(|entry| entry.round);
        let is_open = |round| !rounds.is_confirmed(round) && !rounds.is_void(round);
        let must_wait = waits_for.any(is_open);
        let is_doubtful = ground.clients.is_doubtful(&fetched);
        let Some(queue) = self.queues.by_number.get_mut(&number) else {
            return;
        };
        if queue.ticket != fetched.ticket {
            return;
        }
        if must_wait {
            queue.held = Some(Box::new(fetched));
            return self.queues.held.push(number);
        }
        if let (true, Some(first)) = (is_doubtful, fetched.entries.first()) {
            return self.fetch_ending(ground, number, first.sequence, turn);
        }
        let EndingQueue { session, last, .. } = *queue;
        let (mut sent, given_back) =
            (std::mem::take(&mut queue.sent), std::mem::take(&mut queue.given_back));
        for FetchedEntry { sequence, delivery, round } in fetched.entries {
            if given_back.contains(&sequence) {
                continue;
            }
            if round.is_some_and(|round| ground.clients.rounds.is_void(round)) {
                ground.clients.note_drop(Party::Nobody, "", DropReason::PeerGone, turn);
                continue;
            }
            let delivery = delivery.map(|stored| router.delivery_of(stored));
            let may_be_sent = delivery.as_ref().is_some_and(|it| {
                let is_over = it.message.attributes().has_expired(turn.now);
                sent.visit(sequence, it.qos, is_over).may_be()
            });
            match delivery {
                // A QoS 2 message that was sent to one member goes to no other [MQTT-4.8.2-5].
                Some(delivery)
                    if delivery.group.is_some()
                        && (delivery.qos < QoS::ExactlyOnce || !may_be_sent) =>
                {
                    router.shared.return_to_group(ground, session, delivery, turn);
                }
                Some(delivery) => {
                    let topic = delivery.message.topic();
                    ground.clients.note_drop(Party::Nobody, topic, DropReason::SessionEnded, turn);
                }
                None => ground.clients.note_drop(Party::Nobody, "", DropReason::Damaged, turn),
            }
        }
        ground.clients.rounds.note_passed_on(Owner::Session(number));
        if fetched.next <= last {
            if let Some(queue) = self.queues.by_number.get_mut(&number) {
                (queue.sent, queue.given_back) = (sent, given_back);
            }
            return self.fetch_ending(ground, number, fetched.next, turn);
        }
        self.queues.by_number.remove(&number);
        ground.clients.rounds.keep_behind_round(StoreOp::Ended(Owner::Session(number)));
    }

    /// Goes on with the queues that waited for rounds that are confirmed now.
    pub(crate) fn go_on_with_endings(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        turn: &mut Turn,
    ) {
        for number in std::mem::take(&mut self.queues.held) {
            let held = self.queues.by_number.get_mut(&number).and_then(|queue| queue.held.take());
            if let Some(fetched) = held {
                self.pass_on_fetched(router, ground, number, *fetched, turn);
            }
        }
    }

    fn fetch_ending(&mut self, ground: &mut Ground, number: u64, from: u64, turn: &mut Turn) {
        let ticket = ground.clients.fetch_ticket();
        let Some(queue) = self.queues.by_number.get_mut(&number) else {
            return;
        };
        queue.ticket = ticket;
        let (messages_max, bytes_max) = Outgoing::fetch_size();
        let (owner, session) = (Owner::Session(number), queue.session);
        turn.fx.fetches.push(Fetch { owner, session, ticket, from, messages_max, bytes_max });
    }
}
