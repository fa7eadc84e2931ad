//! Retained messages of the node. Each topic has a home worker that keeps its message. A new
//! subscription walks over the trees of all workers, in slices, as fast as its Client takes the
//! messages.

pub(crate) mod beginnings;
pub(crate) mod own_topics;
mod peer_gone;
pub(crate) mod peer_walks;
pub(crate) mod requests;
pub(crate) mod traffic;
pub(crate) mod walking;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::base::budget::{Allowance, NodeBudget};
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identity::WorkerId;
use crate::base::limits::Limits;
use crate::base::message::{Attributes, Message};
use crate::base::time::Timestamp;
use crate::base::timers::{Kind, Timer, Timers};
use crate::base::worker_set::WorkerSet;
use crate::boundary::peer_messages::{QuestionId, RetainedPeer, Ticket};
use crate::boundary::store_records::{Kept, StoreOp};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::gate::Admitted;
use crate::ground::Ground;
use crate::retained::beginnings::Beginnings;
use crate::retained::own_topics::OwnTopics;
use crate::retained::peer_walks::PeerWalks;
use crate::retained::requests::Requests;
use crate::retained::traffic::Traffic;
use crate::retained::walking::{Part, Pull, Request};
use crate::tree::retained_tree::{Change, RetainedTree};

#[derive(Debug)]
pub(crate) struct Retained {
    tree: RetainedTree,
    pub(crate) requests: Requests<Box<Request>>,
    pub(crate) beginnings: Beginnings,
    /// Requests that await the first matches of other workers, each with the SUBSCRIBE whose SUBACK
    /// waits for them, and the workers that are still to answer.
    first: HashMap<Ticket, (Ticket, WorkerSet), FixedState>,
    /// Pulls for which this turn had no time left.
    late: VecDeque<Pull>,
    /// Nodes that may still be visited in this turn.
    visits_left: usize,
    /// Bytes of messages that may still be delivered in this turn, and in each.
    bytes_left: usize,
    turn_bytes_max: usize,
    /// Whether nothing is delivered for now, because memory is short.
    is_paused: bool,
    walks: PeerWalks,
    traffic: Traffic,
    pub(crate) own_topics: OwnTopics,
    /// SUBSCRIBEs for which one thing that they wait for has arrived.
    arrived: VecDeque<Ticket>,
}

fn allowance(limits: &Limits) -> Allowance {
    let count_max = u64::from(limits.retained_messages_max);
    Allowance { count_max, bytes_max: limits.retained_bytes_max }
}

impl Retained {
    /// Nodes of the tree that are visited in one turn.
    const VISITS_PER_TURN: usize = 20_000;
    /// The most bytes that a turn delivers, however much memory there is.
    const TURN_BYTES_MAX: u64 = 64 << 20;
    /// The most expired messages that are removed to make room for one.
    const OVERDUE_AT_ONCE: usize = 16;

    pub(crate) fn new(
        seed: u64,
        workers: usize,
        limits: &Limits,
        budget: &Arc<NodeBudget>,
    ) -> Self {
        let turn_bytes_max = limits.turn_bytes_max(workers, Self::TURN_BYTES_MAX) as usize;
        Self {
            tree: RetainedTree::new(seed, allowance(limits), Arc::clone(budget)),
            requests: Requests::new(seed),
            beginnings: Beginnings::default(),
            first: HashMap::default(),
            late: VecDeque::new(),
            visits_left: Self::VISITS_PER_TURN,
            bytes_left: turn_bytes_max,
            turn_bytes_max,
            is_paused: false,
            walks: PeerWalks::default(),
            traffic: Traffic::new(workers),
            own_topics: OwnTopics::default(),
            arrived: VecDeque::new(),
        }
    }

    pub(crate) fn set_limits(&mut self, limits: &Limits) {
        self.tree.set_allowance(allowance(limits));
    }

    /// Takes a SUBSCRIBE for which something that it waits for has arrived.
    pub(crate) fn next_arrival(&mut self) -> Option<Ticket> {
        self.arrived.pop_front()
    }

    /// How many retained messages this worker has sent to each worker.
    pub(crate) fn sent(&self) -> Box<[u64]> {
        self.traffic.sent.clone()
    }

    /// Notes how many retained messages another worker has sent to each worker.
    pub(crate) fn note_sent(&mut self, from: WorkerId, sent: Box<[u64]>) {
        self.traffic.told[from.index()] = sent;
    }

    pub(crate) fn usage(&self) -> (u64, u64) {
        self.tree.usage()
    }

    pub(crate) fn has_work(&self) -> bool {
        let delivers = self.requests.awake_len() > 0 && !self.is_paused;
        delivers || !self.late.is_empty() || self.beginnings.has_work()
    }

    /// Sets whether new subscriptions wait for what is retained, because memory is short.
    pub(crate) fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Sets whether retained messages may take up more room. Those that exist can always be removed
    /// or replaced by smaller ones.
    pub(crate) fn set_growing(&mut self, is_growing: bool) {
        self.tree.set_growing(is_growing);
    }

    /// Gives back the room of what is gone.
    pub(crate) fn give_back(&mut self) {
        self.tree.give_back();
        self.requests.shrink();
        self.first.shrink_to(self.first.len() * 2);
        self.late.shrink_to(self.late.len() * 2);
        self.arrived.shrink_to(self.arrived.len() * 2);
    }

    /// Notes that a newer message of this topic reaches all Sessions: none gets an older one as a
    /// retained message any more.
    pub(crate) fn note_seen(&mut self, topic: &str) {
        self.requests.note_live_for_all(topic);
    }

    /// Keeps the message of its topic or removes it, and sets or cancels the timer of its expiry.
    fn set(&mut self, message: &Message, timers: &mut Timers) -> Result<Change, DropReason> {
        let change = self.tree.set(message.clone()).map_err(|_| DropReason::RetainedLimit)?;
        self.note_change(message, &change, timers);
        Ok(change)
    }

    /// Like `set`, for a message that is kept whatever the limits say.
    fn put(&mut self, message: &Message, timers: &mut Timers) -> Change {
        let change = self.tree.put(message.clone());
        self.note_change(message, &change, timers);
        change
    }

    fn note_change(&mut self, message: &Message, change: &Change, timers: &mut Timers) {
        if let Some(at) = change.replaced.as_ref().and_then(|old| old.attributes().expires_at) {
            timers.cancel(at, Timer::RetainedExpiry(change.node));
        }
        if let (Some(at), true) = (message.attributes().expires_at, change.is_kept) {
            timers.set(at, Timer::RetainedExpiry(change.node));
        }
        self.prune_if_many();
    }

    fn prune_if_many(&mut self) {
        if self.tree.has_many_emptied() {
            let own = self.requests.iter().flat_map(|request| &request.parts);
            let own = own.filter_map(|part| match part {
                Part::Own(walk) => Some(walk),
                Part::Of { .. } => None,
            });
            self.tree.prune_around(own.chain(self.walks.iter()));
        }
    }

    /// Removes the message at this node if it has expired; returns the number that the store knows
    /// it by, if it does.
    pub(crate) fn expire(&mut self, node: u32, now: Timestamp) -> Option<NonZeroU64> {
        let number = self.tree.remove_expired(node, now);
        self.prune_if_many();
        number
    }

    /// Keeps the message of an admitted publication with RETAIN [MQTT-3.3.1-5], at its home. If
    /// that is another worker and the publisher `asks`, that worker is asked for its verdict.
    /// Returns the ticket that the verdict comes under, if one comes.
    pub(crate) fn retain(
        &mut self,
        ground: &mut Ground,
        admitted: &Admitted<'_>,
        asks: bool,
        turn: &mut Turn,
    ) -> Result<Option<QuestionId>, DropReason> {
        let message = admitted.publication().share();
        let home = ground.home_of(message.topic());
        if home == ground.config.worker {
            return self.keep(ground, &message, turn).map(|()| None);
        }
        if !ground.is_member(home) {
            let publisher = Party::Publisher(message.publisher());
            ground.clients.note_drop(publisher, message.topic(), DropReason::PeerGone, turn);
            return Err(DropReason::PeerGone);
        }
        self.traffic.sent[home.index()] += 1;
        let Attributes { qos, durability, .. } = message.attributes();
        ground.clients.rounds.note_sent(home, qos, durability, turn);
        // Removing a message is never refused.
        let asks = asks && !message.payload().is_empty();
        let ticket = asks.then(|| ground.clients.rounds.ask(home));
        turn.fx.send(home, RetainedPeer::Set { message, ticket }.into());
        Ok(ticket)
    }

    /// Handles a retained message that a publisher of another worker has sent; this worker is the
    /// home of its topic.
    pub(crate) fn handle_set(
        &mut self,
        ground: &mut Ground,
        from: WorkerId,
        message: &Message,
        ticket: Option<QuestionId>,
        turn: &mut Turn,
    ) {
        let kept = self.keep(ground, message, turn);
        if let (Err(_), Some(ticket)) = (kept, ticket) {
            // This comes before the answer to the round, which lets the acknowledgement go.
            turn.fx.send(from, RetainedPeer::Refused { ticket }.into());
        }
        let traffic = &mut self.traffic;
        traffic.received[from.index()] += 1;
        if !traffic.early.is_empty() {
            for pull in std::mem::take(&mut traffic.early) {
                self.handle_pull(pull, turn);
            }
        }
    }

    /// Notes that the home of a topic has no room for a retained message of this worker's
    /// publisher, whose acknowledgement will say so.
    pub(crate) fn handle_refused(&mut self, ground: &mut Ground, ticket: QuestionId) {
        if let Some((session, packet_id)) = ground.clients.rounds.refuse(ticket)
            && let Some(slot) = ground.clients.slot_of(session)
        {
            // A PUBREC that refuses ends the handshake.
            let session = ground.clients.session_mut(slot);
            let promised = session.note_pubrel(packet_id);
            if let Some(number) = session.number()
                && promised > Some(Durability::Memory)
            {
                // The Session may have come into the store meanwhile, with this identifier.
                let op = StoreOp::Released { session: number.get(), packet_id };
                ground.clients.rounds.keep_behind_round(op);
            }
        }
    }

    pub(crate) fn keep(
        &mut self,
        ground: &mut Ground,
        message: &Message,
        turn: &mut Turn,
    ) -> Result<(), DropReason> {
        let mut set = self.set(message, &mut ground.timers);
        // Expired messages take up no room, even if their timers are late.
        let mut tries = 0..Self::OVERDUE_AT_ONCE;
        while set.is_err()
            && tries.next().is_some()
            && let Some(timer) = ground.timers.pop_due_of(Kind::Retained, turn.now)
        {
            ground.work.add(1);
            if let Timer::RetainedExpiry(node) = timer {
                self.expire_at(ground, node, turn.now);
            }
            set = self.set(message, &mut ground.timers);
        }
        match set {
            Ok(change) => {
                self.store(ground, message, &change, turn.now);
                Ok(())
            }
            Err(reason) => {
                ground.clients.counters.limits_exceeded += 1;
                let party = Party::Publisher(message.publisher());
                ground.clients.note_drop(party, message.topic(), reason, turn);
                Err(reason)
            }
        }
    }

    /// Makes the change to a topic's retained message in the store, too.
    fn store(&mut self, ground: &mut Ground, message: &Message, change: &Change, now: Timestamp) {
        let rounds = &mut ground.clients.rounds;
        let durability = message.attributes().durability;
        let is_stored = rounds.has_store() && change.is_kept && durability > Durability::Memory;
        if is_stored {
            let number = change.number.unwrap_or_else(|| ground.numbers.next(now));
            let (what, message) = (Kept::Retained, message.clone());
            rounds.keep(StoreOp::Keep { number: number.get(), what, message });
            self.tree.set_number(change.node, Some(number));
        } else if let Some(number) = change.number {
            rounds.keep(StoreOp::Unkeep { number: number.get() });
            if change.is_kept {
                self.tree.set_number(change.node, None);
            }
        }
    }

    /// Handles the expiry of a retained message when it is due.
    pub(crate) fn expire_at(&mut self, ground: &mut Ground, node: u32, now: Timestamp) {
        if let Some(number) = self.expire(node, now) {
            ground.clients.rounds.keep(StoreOp::Unkeep { number: number.get() });
        }
    }

    /// Makes room for this many messages that the store has kept.
    pub(crate) fn reserve(&mut self, messages: usize) {
        self.tree.reserve(messages);
    }

    /// Restores a retained message that the store has kept, at its home.
    pub(crate) fn restore(&mut self, ground: &mut Ground, number: u64, message: &Message) {
        // Keeping it was promised when it came, whatever the limits are now.
        let change = self.put(message, &mut ground.timers);
        match change.is_kept {
            true => self.tree.set_number(change.node, NonZeroU64::new(number)),
            false => ground.clients.rounds.keep(StoreOp::Unkeep { number }),
        }
    }
}
