//! What all rooms above it stand on: the Clients of the worker, the subscription tree, timers, and
//! what the worker was made with. A room is given the ground for as long as it works on it.
//!
//! It must never know of any room that stands on it.

use std::sync::Arc;

use midge_codec::{PacketIdentifier, PacketType};

use crate::base::durability::Durability;
use crate::base::hashing::hash_str;
use crate::base::identity::{ConnectionId, SessionSlot, WorkerId};
use crate::base::message::Attributes;
use crate::base::numbers::Numbers;
use crate::base::strain::Strain;
use crate::base::timers::Timers;
use crate::base::work::Work;
use crate::base::worker_set::WorkerSet;
use crate::boundary::peer_messages::{Peer, Ticket};
use crate::boundary::store_records::StoreOp;
use crate::boundary::turn::Turn;
use crate::clients::Clients;
use crate::clients::records::record_of;
use crate::config::CoreConfig;
use crate::tree::subscription_tree::SubscriptionTree;
use crate::waiting::pending::{Pending, PendingSubscribe, RemoteStep};
use crate::waiting::rounds::Held;

/// What the rooms of one worker share.
pub(crate) struct Ground {
    pub(crate) config: CoreConfig,
    pub(crate) clients: Clients,
    pub(crate) tree: SubscriptionTree,
    pub(crate) timers: Timers,
    pub(crate) work: Work,
    pub(crate) numbers: Numbers,
    pub(crate) strain: Strain,
    /// SUBSCRIBE and UNSUBSCRIBE packets whose answers wait.
    pub(crate) pending: Pending,
    /// Whether the worker is taking over what a store has kept.
    pub(crate) is_restoring: bool,
}

impl Ground {
    pub(crate) fn new(config: CoreConfig) -> Self {
        Self {
            clients: Clients::new(&config),
            tree: SubscriptionTree::new(config.seed),
            timers: Timers::default(),
            work: Work::default(),
            numbers: Numbers::new(config.worker),
            strain: Strain::default(),
            pending: Pending::default(),
            is_restoring: false,
            config,
        }
    }

    /// Returns all workers of the node that are there, but this one.
    pub(crate) fn other_workers(&self) -> WorkerSet {
        self.clients.rounds.members().without(self.config.worker)
    }

    /// Whether this worker is there: only those that are there answer anything.
    pub(crate) fn is_member(&self, worker: WorkerId) -> bool {
        self.clients.rounds.members().contains(worker)
    }

    /// The worker that decides about something of this name, for the whole node.
    pub(crate) fn home_of(&self, name: &str) -> WorkerId {
        let workers = self.config.workers;
        let hash = if workers == 1 { 0 } else { hash_str(self.config.seed, name) };
        WorkerId::new((hash % workers as u64) as usize)
    }

    /// Writes the Session of a Client that has connected to the store, if it outlives the Network
    /// Connection and its durability asks for that. Returns whether the store learns of it now.
    pub(crate) fn store_session(
        &mut self,
        slot: SessionSlot,
        durability: Durability,
        turn: &mut Turn,
    ) -> bool {
        self.clients.session_mut(slot).promise(durability);
        let outlives = self.clients.session(slot).expiry_seconds() > 0;
        if outlives && self.config.durability.has_store {
            // A Session that stays in memory may enter the store at its next CONNECT. Its
            // subscriptions come after this, and their fences: whoever sends it anything knows.
            self.tell_storing(turn);
        }
        // While the store is full, such a CONNECT is refused (`check_identity`).
        let begins = outlives && self.enters_store(slot, durability);
        if begins {
            let number = self.numbers.next(turn.now);
            self.clients.session_mut(slot).set_number(Some(number));
            let number = number.get();
            // At once: the store has to know the Session before what follows about it.
            let receive_maximum = self.clients.receive_maximum_of(slot);
            let record = record_of(self.clients.session(slot), number, receive_maximum);
            self.clients.rounds.keep(StoreOp::Session(Box::new(record)));
            let subscriptions = self.clients.store_subscriptions(slot, number);
            let gathered = self.clients.store_gathered(slot, number);
            self.work.add(subscriptions + gathered);
        } else {
            self.clients.store_record(slot);
        }
        begins
    }

    /// Whether a Session that is not in the store comes into it with a promise of this durability,
    /// if it outlives its Network Connection.
    pub(crate) fn enters_store(&self, slot: SessionSlot, durability: Durability) -> bool {
        durability > Durability::Memory && !self.clients.session(slot).is_stored()
    }

    /// Notes that a message leaves for another worker, unless none of the `keepers` has Sessions in
    /// the store: one of them may have to keep it. Call this before the message is sent.
    pub(crate) fn note_sent(
        &mut self,
        to: WorkerId,
        keepers: WorkerSet,
        attributes: Attributes,
        turn: &mut Turn,
    ) {
        let Attributes { qos, durability, .. } = attributes;
        if self.clients.rounds.any_stores(keepers) {
            self.clients.rounds.note_sent(to, qos, durability, turn);
        }
    }

    /// Tells the other workers, once, that this one has Sessions in the store, or may have some
    /// soon: what they send it may have to be kept.
    pub(crate) fn tell_storing(&mut self, turn: &mut Turn) {
        let own = self.config.worker;
        if !self.clients.rounds.is_storing(own) {
            self.clients.rounds.note_storing(own);
            for worker in self.other_workers() {
                turn.fx.send(worker, Peer::Storing.into());
            }
        }
    }

    /// Tells the other workers that this one has subscribers to a filter, or has none any more. A
    /// fence, later, says that all of them know.
    pub(crate) fn announce_filter(&mut self, filter: &str, wanted: bool, turn: &mut Turn) {
        if self.config.workers == 1 {
            return;
        }
        let filter: Arc<str> = filter.into();
        for worker in self.other_workers() {
            turn.fx.send(worker, Peer::Filter { filter: Arc::clone(&filter), wanted }.into());
        }
    }

    /// Begins to gather the answer to a SUBSCRIBE or UNSUBSCRIBE; returns its ticket.
    pub(crate) fn begin_answer(
        &mut self,
        answer: PacketType,
        id: ConnectionId,
        slot: SessionSlot,
        packet_id: Option<PacketIdentifier>,
    ) -> Ticket {
        let ticket = self.pending.ticket();
        let (streams, session) = ((id, self.clients.control_of(id)), self.clients.session_id(slot));
        let gathering = PendingSubscribe::new(answer, streams, session, packet_id);
        self.pending.insert(ticket, gathering);
        ticket
    }

    /// Makes an answer wait until the store has what it says of a Session. Returns false if the
    /// store does not have to know anything.
    pub(crate) fn wait_for_store(&mut self, ticket: Ticket, slot: Option<SessionSlot>) -> bool {
        let session = slot.map(|slot| self.clients.session(slot));
        let Some(session) = session.filter(|session| session.is_stored()) else {
            return false;
        };
        let durability = session.durability();
        self.clients.rounds.hold(Held::Subscribed(ticket), durability);
        true
    }

    /// Takes out the step that another worker has answered. Returns it with its Session, if that
    /// still lives.
    pub(crate) fn resume_step(
        &mut self,
        ticket: Ticket,
    ) -> Option<(RemoteStep, Option<SessionSlot>)> {
        let step = self.pending.take_step(ticket)?;
        let session = self.pending.subscribe(step.subscribe)?.session();
        Some((step, self.clients.slot_of(session)))
    }
}
