//! What is left to do when a Session has ended: its subscriptions leave the tree and their groups,
//! and the messages that waited for it go to others or are dropped. A Session may have a hundred
//! thousand of either, so this is done in slices. A Session that is here cannot be found any more:
//! a Client that connects meanwhile gets a new one. Exclusive subscriptions end first, since nobody
//! else, not even that Client, can have them until then.
//!
//! An empty [`Session`] keeps the slot of the old one until its subscriptions are gone, since the
//! tree refers to that slot. The empty Session must never get a message or count as a receiver.

pub(crate) mod queues;
pub(crate) mod unsettled;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::identity::{Identity, SessionId};
use crate::base::work::Work;
use crate::boundary::store_records::{Owner, StoreOp};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::ground::Ground;
use crate::remains::queues::EndingQueues;
use crate::remains::unsettled::UnsettledEnds;
use crate::route::Router;
use crate::session::Subscribed;
use crate::session::own_filters::{IntoOwnFilters, OwnFilters};
use crate::subscribe::Subscriptions;
use crate::subscribe::subscribing::Holder;

/// What is left of the Sessions of one worker that have ended.
#[derive(Debug)]
pub(crate) struct Remains {
    leaving: VecDeque<Leaving>,
    undelivered: VecDeque<Undelivered>,
    /// How many subscriptions and messages this turn has time for.
    left: usize,
    pub(crate) queues: EndingQueues,
    pub(crate) unsettled: UnsettledEnds,
}

/// The subscriptions of a Session that has ended.
#[derive(Debug)]
struct Leaving {
    /// The Session, whose slot is kept until nothing refers to it any more.
    holder: Holder,
    subscriptions: IntoOwnFilters,
}

/// Messages that waited for a Session that has ended or whose Client has gone.
#[derive(Debug)]
pub(crate) struct Undelivered {
    client: Arc<Identity>,
    session: SessionId,
    /// The name under which the store keeps them, if it keeps the Session.
    owner: Option<Owner>,
    /// With their names in the store.
    deliveries: VecDeque<(Option<NonZeroU64>, Delivery)>,
    /// The size of their messages, in total.
    bytes: usize,
}

impl Undelivered {
    pub(crate) fn new(
        client: Arc<Identity>,
        session: SessionId,
        owner: Option<Owner>,
        deliveries: Vec<(Option<NonZeroU64>, Delivery)>,
    ) -> Self {
        Self { client, session, owner, deliveries: deliveries.into(), bytes: 0 }
    }
}

impl Default for Remains {
    fn default() -> Self {
        Self {
            leaving: VecDeque::new(),
            undelivered: VecDeque::new(),
            left: Self::PER_TURN,
            queues: EndingQueues::default(),
            unsettled: UnsettledEnds::default(),
        }
    }
}

impl Remains {
    /// More than can be added in one turn: see `Slices::FILTERS_PER_TURN`.
    const PER_TURN: usize = 4_096;
    /// How much is done for one Session before it is another one's turn.
    const SLICE: usize = 256;

    pub(crate) fn has_work(&self) -> bool {
        !self.leaving.is_empty() || !self.undelivered.is_empty()
    }

    /// Whether messages of this Session are still to be passed on.
    pub(crate) fn concern(&self, session: SessionId) -> bool {
        self.undelivered.iter().any(|undelivered| undelivered.session == session)
    }

    /// Bytes of the messages that are still to be passed on or dropped.
    pub(crate) fn bytes(&self) -> usize {
        self.undelivered.iter().map(|undelivered| undelivered.bytes).sum()
    }

    /// Subscriptions that are still to end.
    pub(crate) fn subscriptions(&self) -> usize {
        self.leaving.iter().map(|leaving| leaving.subscriptions.len()).sum()
    }

    /// Messages that are still to be passed on or dropped.
    pub(crate) fn messages(&self) -> usize {
        self.undelivered.iter().map(|undelivered| undelivered.deliveries.len()).sum()
    }

    /// Takes the subscriptions of a Session that has ended out of the tree and their groups.
    pub(crate) fn end_subscriptions(
        &mut self,
        subscriptions: &mut Subscriptions,
        router: &mut Router,
        ground: &mut Ground,
        holder: Holder,
        mut taken: OwnFilters,
        turn: &mut Turn,
    ) {
        if taken.len() > self.left {
            self.end_exclusive(subscriptions, router, ground, holder, &mut taken, turn);
        }
        let mut leaving = Leaving { holder, subscriptions: taken.into_iter() };
        let count = self.left;
        if self.end_some(subscriptions, router, ground, &mut leaving, count, turn) {
            ground.clients.vacate(holder.slot);
        } else {
            self.leaving.push_back(leaving);
        }
    }

    /// Ends the exclusive subscriptions, or as many of them as a turn has time for.
    fn end_exclusive(
        &mut self,
        subscriptions: &mut Subscriptions,
        router: &mut Router,
        ground: &mut Ground,
        holder: Holder,
        taken: &mut OwnFilters,
        turn: &mut Turn,
    ) {
        ground.work.add(taken.len() / Work::SUBSCRIPTIONS);
        for ended in taken.take_exclusive().take(Self::PER_TURN) {
            self.end_subscription(subscriptions, router, ground, holder, &ended, turn);
        }
    }

    /// Ends up to `count` subscriptions; true if these were all.
    fn end_some(
        &mut self,
        subscriptions: &mut Subscriptions,
        router: &mut Router,
        ground: &mut Ground,
        leaving: &mut Leaving,
        count: usize,
        turn: &mut Turn,
    ) -> bool {
        let Leaving { holder, subscriptions: left } = leaving;
        let holder = *holder;
        for ended in left.take(count) {
            self.end_subscription(subscriptions, router, ground, holder, &ended, turn);
        }
        left.len() == 0
    }

    fn end_subscription(
        &mut self,
        subscriptions: &mut Subscriptions,
        router: &mut Router,
        ground: &mut Ground,
        holder: Holder,
        (key, subscribed): &(Box<str>, Subscribed),
        turn: &mut Turn,
    ) {
        ground.work.add(1);
        self.left = self.left.saturating_sub(1);
        router.retained.drop_request(holder.session, key, turn);
        subscriptions.free_subscription(router, ground, holder, key, &subscribed.kind, turn);
    }

    /// Passes what waited for a Session to other members of its shared subscriptions
    /// [MQTT-4.8.2-5]; the rest is dropped with the Session, and counted. The store is told of the
    /// messages that it has in the same round.
    pub(crate) fn pass_on(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        mut undelivered: Undelivered,
        turn: &mut Turn,
    ) {
        let count = if undelivered.owner.is_some() { usize::MAX } else { self.left };
        self.pass_on_some(router, ground, &mut undelivered, count, turn);
        if !undelivered.deliveries.is_empty() {
            let sizes = undelivered.deliveries.iter().map(|(_, delivery)| delivery.message.size());
            undelivered.bytes = sizes.sum();
            self.undelivered.push_back(undelivered);
        }
    }

    fn pass_on_some(
        &mut self,
        router: &mut Router,
        ground: &mut Ground,
        undelivered: &mut Undelivered,
        count: usize,
        turn: &mut Turn,
    ) {
        let count = count.min(undelivered.deliveries.len());
        self.left = self.left.saturating_sub(count);
        for (sequence, delivery) in undelivered.deliveries.drain(..count) {
            ground.work.add(1);
            let size = delivery.message.size();
            undelivered.bytes = undelivered.bytes.saturating_sub(size);
            if delivery.group.is_some() {
                router.shared.return_to_group(ground, undelivered.session, delivery, turn);
                if let (Some(owner), Some(sequence)) = (undelivered.owner, sequence) {
                    let sequence = sequence.get();
                    // After the record of whoever has it now.
                    ground.clients.rounds.keep_behind_round(StoreOp::Finished { owner, sequence });
                }
            } else {
                let party = Party::Former(&undelivered.client);
                let topic = delivery.message.topic();
                ground.clients.note_drop(party, topic, DropReason::SessionEnded, turn);
            }
        }
    }

    /// Goes on with what is left of Sessions that have ended, within this turn's share.
    pub(crate) fn run_remains(
        &mut self,
        subscriptions: &mut Subscriptions,
        router: &mut Router,
        ground: &mut Ground,
        turn: &mut Turn,
    ) {
        // Whatever was done at once in this turn, what waits makes progress.
        self.left = self.left.max(2 * Self::SLICE);
        while self.left > 0 && self.has_work() {
            let count = self.left.min(Self::SLICE);
            if let Some(mut undelivered) = self.undelivered.pop_front() {
                self.pass_on_some(router, ground, &mut undelivered, count, turn);
                if !undelivered.deliveries.is_empty() {
                    self.undelivered.push_back(undelivered);
                }
            }
            let count = self.left.min(Self::SLICE);
            if let Some(mut leaving) = self.leaving.pop_front() {
                if self.end_some(subscriptions, router, ground, &mut leaving, count, turn) {
                    ground.clients.vacate(leaving.holder.slot);
                } else {
                    self.leaving.push_back(leaving);
                }
            }
        }
        self.left = Self::PER_TURN;
    }
}
