//! What is left to do when a Session has ended: its subscriptions leave the tree and their groups,
//! and the messages that waited for it go to others or are dropped. A Session may have a hundred
//! thousand of either, so this is done in slices. A Session that is here cannot be found any more:
//! a Client that connects meanwhile gets a new one. Exclusive subscriptions end first, since nobody
//! else, not even that Client, can have them until then.
//!
//! An empty [`Session`] keeps the place of the old one until its subscriptions are gone, since the
//! tree refers to that place. The empty Session must never get a message or count as a receiver.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::IntoIter;

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::hashing::hash_str;
use crate::base::identity::{Identity, SessionId, SessionSlot};
use crate::base::work::Work;
use crate::boundary::store_records::{Owner, StoreOp};
use crate::boundary::turn::Turn;
use crate::clients::Clients;
use crate::clients::drops::Party;
use crate::core::Core;
use crate::session::{Session, Subscribed, SubscriptionKind};

/// What is left of the Sessions of one worker that have ended.
#[derive(Debug)]
pub(crate) struct Remains {
    subscriptions: VecDeque<Leaving>,
    undelivered: VecDeque<Undelivered>,
    /// How many subscriptions and messages this turn has time for.
    left: usize,
}

type Subscriptions = HashMap<Box<str>, Subscribed, foldhash::fast::FixedState>;

/// The subscriptions of a Session that has ended.
#[derive(Debug)]
struct Leaving {
    slot: SessionSlot,
    /// The id that the Session had.
    session: SessionId,
    subscriptions: IntoIter<Box<str>, Subscribed>,
}

/// Messages that waited for a Session that has ended or whose Client has gone.
#[derive(Debug)]
struct Undelivered {
    client: Arc<Identity>,
    session: SessionId,
    /// The Session's number in the store.
    number: u64,
    /// With their names in the store.
    deliveries: VecDeque<(u64, Delivery)>,
    /// The size of their messages, in total.
    bytes: usize,
}

impl Default for Remains {
    fn default() -> Self {
        let (subscriptions, undelivered) = (VecDeque::new(), VecDeque::new());
        Self { subscriptions, undelivered, left: Self::PER_TURN }
    }
}

impl Remains {
    /// More than can be added in one turn: see `Slices::FILTERS_PER_TURN`.
    const PER_TURN: usize = 4_096;
    /// How much is done for one Session before it is another one's turn.
    const SLICE: usize = 256;

    pub(crate) fn has_work(&self) -> bool {
        !self.subscriptions.is_empty() || !self.undelivered.is_empty()
    }

    /// Bytes of the messages that are still to be passed on or dropped.
    pub(crate) fn bytes(&self) -> usize {
        self.undelivered.iter().map(|undelivered| undelivered.bytes).sum()
    }

    /// Subscriptions that are still to end.
    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions.iter().map(|leaving| leaving.subscriptions.len()).sum()
    }

    /// Messages that are still to be passed on or dropped.
    pub(crate) fn messages(&self) -> usize {
        self.undelivered.iter().map(|undelivered| undelivered.deliveries.len()).sum()
    }
}

impl Clients {
    /// Takes a Session out. Its place is not used again until it is vacated: the tree may refer to
    /// it.
    pub(crate) fn take_session(&mut self, slot: SessionSlot) -> Session {
        let identity = Arc::clone(&self.sessions[slot as usize].identity);
        let hash = hash_str(self.seed, &identity.client_id);
        if let Ok(entry) = self.by_client_id.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        let mut nobody = Session::new(identity, self.next_generation().get(), self.seed);
        nobody.is_over = true;
        self.over += 1;
        let session = std::mem::replace(&mut self.sessions[slot as usize], nobody);
        self.budget.sessions.give_back(u64::from(session.has_place), 0);
        session
    }

    /// Frees the place of a Session that was taken out, once nothing refers to it any more.
    pub(crate) fn vacate(&mut self, slot: SessionSlot) {
        self.sessions.remove(slot as usize);
        self.over -= 1;
    }
}

impl Core {
    /// Takes the subscriptions of a Session that has ended out of the tree and their groups.
    pub(crate) fn end_subscriptions(
        &mut self,
        slot: SessionSlot,
        session: SessionId,
        mut subscriptions: Subscriptions,
        turn: &mut Turn,
    ) {
        if subscriptions.len() > self.remains.left {
            self.end_exclusive((slot, session), &mut subscriptions, turn);
        }
        let mut leaving = Leaving { slot, session, subscriptions: subscriptions.into_iter() };
        let count = self.remains.left;
        if self.end_some(&mut leaving, count, turn) {
            self.ground.clients.vacate(slot);
        } else {
            self.remains.subscriptions.push_back(leaving);
        }
    }

    /// Ends the exclusive subscriptions, or as many of them as a turn has time for.
    fn end_exclusive(
        &mut self,
        session: (SessionSlot, SessionId),
        subscriptions: &mut Subscriptions,
        turn: &mut Turn,
    ) {
        self.ground.work.add(subscriptions.len() / Work::SUBSCRIPTIONS);
        let exclusive = subscriptions.extract_if(|_, it| it.kind == SubscriptionKind::Exclusive);
        for (key, subscribed) in exclusive.take(Remains::PER_TURN) {
            self.end_subscription(session, &key, &subscribed, turn);
        }
    }

    /// Ends up to `count` subscriptions; true if these were all.
    fn end_some(&mut self, leaving: &mut Leaving, count: usize, turn: &mut Turn) -> bool {
        let Leaving { slot, session, subscriptions } = leaving;
        for (key, subscribed) in subscriptions.take(count) {
            self.end_subscription((*slot, *session), &key, &subscribed, turn);
        }
        subscriptions.len() == 0
    }

    fn end_subscription(
        &mut self,
        session: (SessionSlot, SessionId),
        key: &str,
        subscribed: &Subscribed,
        turn: &mut Turn,
    ) {
        self.ground.work.add(1);
        self.remains.left = self.remains.left.saturating_sub(1);
        self.router.retained.end_wish(session.1, key, turn);
        self.subscriptions.release_subscription(
            &mut self.router,
            &mut self.ground,
            session,
            key,
            &subscribed.kind,
            turn,
        );
    }

    /// Passes what waited for a Session to other members of its shared subscriptions
    /// [MQTT-4.8.2-5]; the rest is dropped with the Session, and counted. The store is told of the
    /// messages that it has in the same round.
    pub(crate) fn pass_on(
        &mut self,
        client: Arc<Identity>,
        (session, number): (SessionId, u64),
        deliveries: Vec<(u64, Delivery)>,
        turn: &mut Turn,
    ) {
        let deliveries = deliveries.into();
        let mut undelivered = Undelivered { client, session, number, deliveries, bytes: 0 };
        let count = if number > 0 { usize::MAX } else { self.remains.left };
        self.pass_on_some(&mut undelivered, count, turn);
        if !undelivered.deliveries.is_empty() {
            let sizes = undelivered.deliveries.iter().map(|(_, delivery)| delivery.message.size());
            undelivered.bytes = sizes.sum();
            self.remains.undelivered.push_back(undelivered);
        }
    }

    fn pass_on_some(&mut self, undelivered: &mut Undelivered, count: usize, turn: &mut Turn) {
        let count = count.min(undelivered.deliveries.len());
        self.remains.left = self.remains.left.saturating_sub(count);
        let owner = Owner::Session(undelivered.number);
        for (sequence, delivery) in undelivered.deliveries.drain(..count) {
            self.ground.work.add(1);
            let size = delivery.message.size();
            undelivered.bytes = undelivered.bytes.saturating_sub(size);
            if delivery.group.is_some() {
                self.router.shared.return_to_group(
                    &mut self.ground,
                    undelivered.session,
                    delivery,
                    turn,
                );
                if sequence > 0 {
                    // After the record of whoever has it now.
                    self.ground
                        .clients
                        .rounds
                        .keep_behind_round(StoreOp::Finished { owner, sequence });
                }
            } else {
                let party = Party::Former(&undelivered.client);
                let topic = delivery.message.topic();
                self.ground.clients.note_drop(party, topic, DropReason::SessionEnded, turn);
            }
        }
    }

    /// Goes on with what is left of Sessions that have ended, within this turn's share.
    pub(crate) fn run_remains(&mut self, turn: &mut Turn) {
        // Whatever was done at once in this turn, what waits makes progress.
        self.remains.left = self.remains.left.max(2 * Remains::SLICE);
        while self.remains.left > 0 && self.remains.has_work() {
            let count = self.remains.left.min(Remains::SLICE);
            if let Some(mut undelivered) = self.remains.undelivered.pop_front() {
                self.pass_on_some(&mut undelivered, count, turn);
                if !undelivered.deliveries.is_empty() {
                    self.remains.undelivered.push_back(undelivered);
                }
            }
            let count = self.remains.left.min(Remains::SLICE);
            if let Some(mut leaving) = self.remains.subscriptions.pop_front() {
                if self.end_some(&mut leaving, count, turn) {
                    self.ground.clients.vacate(leaving.slot);
                } else {
                    self.remains.subscriptions.push_back(leaving);
                }
            }
        }
        self.remains.left = Remains::PER_TURN;
    }
}
