//! Retained messages of the node. Each topic has a home worker that keeps its message. A new
//! subscription walks over the trees of all workers, in slices, as fast as its Client takes the
//! messages.

pub(crate) mod beginnings;
pub(crate) mod own_topics;
pub(crate) mod traffic;
pub(crate) mod wishes;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use midge_codec::QoS;
use slab::Slab;

use crate::base::budget::{Allowance, NodeBudget};
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identity::{SessionId, WorkerId};
use crate::base::limits::Limits;
use crate::base::message::{Attributes, Message, Publication};
use crate::base::time::Timestamp;
use crate::base::timers::{Kind, Timer, Timers};
use crate::boundary::peer_messages::{Peer, Ticket};
use crate::boundary::store_records::{Kept, StoreOp};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::clients::{Clients, Grant};
use crate::gate::Admitted;
use crate::ground::Ground;
use crate::retained::beginnings::Beginnings;
use crate::retained::own_topics::OwnTopics;
use crate::retained::traffic::Traffic;
use crate::retained::wishes::Wishes;
use crate::tree::retained_tree::{Change, RetainedTree, RetainedWalk};

/// Retained messages that a new subscription asks for.
#[derive(Clone, Debug)]
pub(crate) struct RetainedWish {
    pub(crate) filter: Box<str>,
    /// The subscription's name in its Session: if the subscription is gone, so is the wish.
    pub(crate) key: Box<str>,
    pub(crate) qos: QoS,
    pub(crate) identifier: Option<NonZeroU32>,
}

/// A wish on its way through the workers.
#[derive(Debug)]
pub(crate) struct Request {
    session: SessionId,
    wish: RetainedWish,
    parts: VecDeque<Part>,
    /// The next message, held while its data stream has no room for it.
    found: Option<Arc<Message>>,
}

/// What is left to be fetched from one worker.
#[derive(Debug)]
enum Part {
    Own(RetainedWalk),
    Of { worker: WorkerId, walk: Option<u32>, asked: bool, fetched: VecDeque<Arc<Message>> },
}

/// Another worker's request for the next matches of a walk over this worker's tree.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) from: WorkerId,
    pub(crate) ticket: Ticket,
    pub(crate) filter: Arc<str>,
    pub(crate) walk: Option<u32>,
    pub(crate) after: Box<[u64]>,
}

/// What a request can do now.
enum Progress {
    Found(Arc<Message>),
    /// Waits for another worker, or for room.
    Waits,
    OutOfBudget,
    Done,
}

/// Why a request does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    Done,
    /// It waits for another worker, or for room on its stream.
    Waits,
    /// The Session takes no more for now.
    NoRoom,
    OutOfBudget,
}

#[derive(Debug)]
pub(crate) struct Retained {
    tree: RetainedTree,
    pub(crate) wishes: Wishes<Box<Request>>,
    pub(crate) beginnings: Beginnings,
    /// Requests that await the first matches of other workers, each with the SUBSCRIBE whose SUBACK
    /// waits for them, and how many workers are still to answer.
    first: HashMap<Ticket, (Ticket, usize), FixedState>,
    /// Pulls for which this turn had no time left.
    late: VecDeque<Pull>,
    /// Nodes that may still be visited in this turn.
    visits_left: usize,
    /// Walks on behalf of other workers.
    walks: Slab<RetainedWalk>,
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
    /// Nodes that are visited for one request of another worker. There may be many in a turn.
    const VISITS_PER_PULL: usize = 1_000;
    /// The most expired messages that are removed to make room for one.
    const OVERDUE_AT_ONCE: usize = 16;
    /// Messages requested from another worker at a time.
    const CHUNK: usize = 64;
    /// How many requests of one Session are tried, one after the other, while those before them
    /// wait for other workers or for their streams.
    const LOOK_AHEAD: usize = 16;

    pub(crate) fn new(
        seed: u64,
        workers: usize,
        limits: &Limits,
        budget: &Arc<NodeBudget>,
    ) -> Self {
        Self {
            tree: RetainedTree::new(seed, allowance(limits), Arc::clone(budget)),
            wishes: Wishes::new(seed),
            beginnings: Beginnings::default(),
            first: HashMap::default(),
            late: VecDeque::new(),
            visits_left: Self::VISITS_PER_TURN,
            walks: Slab::new(),
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
        self.wishes.awake_len() > 0 || !self.late.is_empty() || self.beginnings.has_work()
    }

    /// Sets whether retained messages may take up more room. Those that exist can always be removed
    /// or replaced by smaller ones.
    pub(crate) fn set_growing(&mut self, is_growing: bool) {
        self.tree.is_growing = is_growing;
    }

    /// Notes that a newer message of this topic reaches all Sessions: none gets an older one as a
    /// retained message any more.
    pub(crate) fn note_seen(&mut self, topic: &str) {
        self.wishes.note_live_for_all(topic);
    }

    /// Keeps the message of its topic or removes it, and sets or cancels the timer of its expiry.
    fn set(&mut self, message: &Arc<Message>, timers: &mut Timers) -> Result<Change, DropReason> {
        let change = self.tree.set(Arc::clone(message)).map_err(|_| DropReason::RetainedLimit)?;
        self.note_change(message, &change, timers);
        Ok(change)
    }

    /// Like `set`, for a message that is kept whatever the limits say.
    fn put(&mut self, message: &Arc<Message>, timers: &mut Timers) -> Change {
        let change = self.tree.put(Arc::clone(message));
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
            let own = self.wishes.requests().flat_map(|request| &request.parts);
            let own = own.filter_map(|part| match part {
                Part::Own(walk) => Some(walk),
                Part::Of { .. } => None,
            });
            self.tree.prune_around(own.chain(self.walks.iter().map(|(_, walk)| walk)));
        }
    }

    /// Removes the message at this node if it has expired; returns the number that the store knows
    /// it by, or 0.
    pub(crate) fn expire(&mut self, node: u32, now: Timestamp) -> u64 {
        let number = self.tree.remove_expired(node, now);
        self.prune_if_many();
        number
    }

    /// Takes the next message of a request, or says why there is none now.
    fn next_of(&self, request: &mut Request, budget: &mut usize) -> Progress {
        match request.parts.front_mut() {
            None => Progress::Done,
            Some(Part::Own(walk)) => match self.tree.walk(walk, budget) {
                Some(message) => Progress::Found(message),
                None if walk.is_done() => Progress::Done,
                None => Progress::OutOfBudget,
            },
            Some(Part::Of { .. }) if *budget == 0 => Progress::OutOfBudget,
            Some(Part::Of { walk, asked, fetched, .. }) => match fetched.pop_front() {
                Some(message) => {
                    *budget -= 1;
                    Progress::Found(message)
                }
                None if *asked || walk.is_some() => Progress::Waits,
                None => Progress::Done,
            },
        }
    }
}

impl Retained {
    /// Keeps the message of an admitted publication with RETAIN [MQTT-3.3.1-5], at its home. If
    /// that is another worker and the publisher `asks`, that worker is asked for its verdict.
    /// Returns the ticket that the verdict comes under, or 0.
    pub(crate) fn retain(
        &mut self,
        ground: &mut Ground,
        admitted: &Admitted<'_>,
        asks: bool,
        turn: &mut Turn,
    ) -> Result<Ticket, DropReason> {
        let message = admitted.publication().share();
        let home = ground.home_of(message.topic());
        if home == ground.config.worker {
            return self.keep(ground, &message, turn).map(|()| 0);
        }
        self.traffic.sent[home.index()] += 1;
        let Attributes { qos, durability, .. } = message.attributes();
        ground.clients.rounds.note_sent(home, qos, durability, turn);
        // Removing a message is never refused.
        let asks = asks && !message.payload().is_empty();
        let ticket = if asks { ground.clients.rounds.ask(home) } else { 0 };
        turn.fx.send(home, Peer::RetainedSet { message, ticket }.into());
        Ok(ticket)
    }

    /// Handles a retained message that a publisher of another worker has sent; this worker is the
    /// home of its topic.
    pub(crate) fn handle_set(
        &mut self,
        ground: &mut Ground,
        from: WorkerId,
        (message, ticket): (&Arc<Message>, Ticket),
        turn: &mut Turn,
    ) {
        let kept = self.keep(ground, message, turn);
        if kept.is_err() && ticket > 0 {
            // This comes before the answer to the round, which lets the acknowledgement go.
            turn.fx.send(from, Peer::RetainedRefused { ticket }.into());
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
    pub(crate) fn handle_refused(&mut self, ground: &mut Ground, ticket: Ticket) {
        if let Some((session, packet_id)) = ground.clients.rounds.refuse(ticket)
            && let Some(slot) = ground.clients.slot_of(session)
        {
            // A PUBREC that refuses ends the handshake.
            ground.clients.session(slot).release(packet_id);
        }
    }

    pub(crate) fn keep(
        &mut self,
        ground: &mut Ground,
        message: &Arc<Message>,
        turn: &mut Turn,
    ) -> Result<(), DropReason> {
        let mut set = self.set(message, &mut ground.timers);
        // Expired messages take up no room, even if their timers are late.
        let mut tries = 0..Retained::OVERDUE_AT_ONCE;
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
    fn store(
        &mut self,
        ground: &mut Ground,
        message: &Arc<Message>,
        change: &Change,
        now: Timestamp,
    ) {
        let rounds = &mut ground.clients.rounds;
        let durability = message.attributes().durability;
        let is_stored = rounds.is_enabled && change.is_kept && durability > Durability::Memory;
        if is_stored {
            let number = if change.number > 0 { change.number } else { ground.numbers.next(now) };
            let message = Arc::clone(message);
            rounds.keep(StoreOp::Keep { number, what: Kept::Retained, message });
            self.tree.set_number(change.node, number);
        } else if change.number > 0 {
            rounds.keep(StoreOp::Unkeep { number: change.number });
            if change.is_kept {
                self.tree.set_number(change.node, 0);
            }
        }
    }

    /// Handles the expiry of a retained message when it is due.
    pub(crate) fn expire_at(&mut self, ground: &mut Ground, node: u32, now: Timestamp) {
        let number = self.expire(node, now);
        if number > 0 {
            ground.clients.rounds.keep(StoreOp::Unkeep { number });
        }
    }

    /// Restores a retained message that the store has kept, at its home.
    pub(crate) fn restore(&mut self, ground: &mut Ground, number: u64, message: &Arc<Message>) {
        // Keeping it was promised when it came, whatever the limits are now.
        let change = self.put(message, &mut ground.timers);
        match change.is_kept {
            true => self.tree.set_number(change.node, number),
            false => ground.clients.rounds.keep(StoreOp::Unkeep { number }),
        }
    }

    /// Notes the retained messages that a new subscription asks for. Live messages are watched from
    /// now on; the walk begins when all workers know of the subscription.
    pub(crate) fn note_wish(
        &mut self,
        ground: &mut Ground,
        session: SessionId,
        wish: RetainedWish,
        subscribe: Ticket,
        turn: &mut Turn,
    ) {
        let ticket = ground.pending.ticket();
        let key = wish.key.clone();
        let request = Request { session, wish, parts: VecDeque::new(), found: None };
        let tickets = (ticket, subscribe);
        let old = self.wishes.insert(tickets, session, &key, Box::new(request));
        old.into_iter().for_each(|old| self.end_request(*old, turn));
    }

    /// Ends the request of a subscription that is gone.
    pub(crate) fn end_wish(&mut self, session: SessionId, key: &str, turn: &mut Turn) {
        if let Some(request) = self.wishes.remove_key(session, key) {
            self.end_request(*request, turn);
        }
    }

    /// Begins the walk of a request and asks all other workers for their first matches. Returns how
    /// many answers will come; each is an arrival for the pending SUBSCRIBE.
    pub(crate) fn begin_walk(
        &mut self,
        ground: &mut Ground,
        ticket: Ticket,
        subscribe: Ticket,
        turn: &mut Turn,
    ) -> usize {
        let others = ground.other_workers();
        let Self { wishes, tree, traffic, first, .. } = self;
        let Some((_, request)) = wishes.get_mut(ticket) else {
            return 0;
        };
        let filter: Arc<str> = (&*request.wish.filter).into();
        request.parts.push_back(Part::Own(tree.begin_walk(&filter)));
        let mut asked = 0;
        for worker in others {
            let (filter, after) = (Arc::clone(&filter), traffic.sent_to(worker));
            turn.fx.send(worker, Peer::RetainedPull { ticket, filter, walk: None, after }.into());
            let fetched = VecDeque::new();
            request.parts.push_back(Part::Of { worker, walk: None, asked: true, fetched });
            asked += 1;
        }
        let fetched = self.own_topics.matching(&filter);
        if !fetched.is_empty() {
            let worker = ground.config.worker;
            request.parts.push_back(Part::Of { worker, walk: None, asked: false, fetched });
        }
        if asked > 0 {
            first.insert(ticket, (subscribe, asked));
        }
        asked
    }

    /// Goes on with all requests, within this turn's share of visits and deliveries.
    pub(crate) fn run(&mut self, ground: &mut Ground, turn: &mut Turn) {
        self.visits_left = Retained::VISITS_PER_TURN;
        if !self.has_work() {
            return;
        }
        self.run_beginnings(ground, turn);
        for _ in 0..self.late.len() {
            if self.visits_left == 0 {
                break;
            }
            if let Some(pull) = self.late.pop_front() {
                self.handle_pull(pull, turn);
            }
        }
        let mut budget = self.visits_left;
        for _ in 0..self.wishes.awake_len() {
            let Some(session) = self.wishes.next_awake() else {
                break;
            };
            self.run_wishes(ground, session, &mut budget, turn);
        }
        ground.work.add(Retained::VISITS_PER_TURN - budget);
        self.visits_left = budget;
    }

    /// Goes on with the requests of one Session, in their order.
    fn run_wishes(
        &mut self,
        ground: &mut Ground,
        session: SessionId,
        budget: &mut usize,
        turn: &mut Turn,
    ) {
        let mut place = 0;
        while place < Retained::LOOK_AHEAD {
            let Some(ticket) = self.wishes.at(session, place) else {
                return;
            };
            if *budget == 0 {
                return self.wishes.wake(session);
            }
            *budget -= 1;
            let Some(mut request) = self.wishes.lend(ticket) else {
                return;
            };
            let progress = self.run_request(ground, ticket, &mut request, budget, turn);
            if matches!(progress, Pause::Done) {
                self.wishes.remove(ticket);
                self.end_request(*request, turn);
                continue;
            }
            self.wishes.give_back(ticket, request);
            match progress {
                Pause::OutOfBudget => return self.wishes.wake(session),
                Pause::NoRoom => return,
                Pause::Waits | Pause::Done => place += 1,
            }
        }
    }

    /// Goes on with one request until it has to pause.
    fn run_request(
        &mut self,
        ground: &mut Ground,
        ticket: Ticket,
        request: &mut Request,
        budget: &mut usize,
        turn: &mut Turn,
    ) -> Pause {
        loop {
            let Some(slot) = ground.clients.slot_of(request.session) else {
                return Pause::Done;
            };
            let session = ground.clients.session(slot);
            if !session.subscriptions.contains_key(&*request.wish.key) {
                return Pause::Done;
            }
            if !has_room(&mut ground.clients, slot) {
                return Pause::NoRoom;
            }
            ask_peer(&self.traffic, ticket, request, turn);
            let found = request.found.take().map(Progress::Found);
            match found.unwrap_or_else(|| self.next_of(request, budget)) {
                Progress::Found(message) => {
                    if !ground.clients.has_room_for(slot, message.topic()) {
                        request.found = Some(message);
                        return Pause::Waits;
                    }
                    if !self.wishes.is_outdated(ticket, message.topic()) {
                        self.deliver(ground, slot, request, &message, turn);
                    }
                }
                Progress::Waits => return Pause::Waits,
                Progress::OutOfBudget => return Pause::OutOfBudget,
                Progress::Done => {
                    let Some(part) = request.parts.pop_front() else {
                        return Pause::Done;
                    };
                    self.end_part(part, turn);
                }
            }
        }
    }

    fn deliver(
        &mut self,
        ground: &mut Ground,
        slot: u32,
        request: &Request,
        message: &Arc<Message>,
        turn: &mut Turn,
    ) {
        let publication = Publication::of(message);
        let grant = Grant {
            qos: request.wish.qos,
            retain: true, // [MQTT-3.3.1-8]
            identifiers: request.wish.identifier.as_slice(),
            group: None,
        };
        if let Err(reason) = ground.clients.deliver_single(slot, &publication, &grant, turn) {
            ground.clients.note_drop(Party::Receiver(slot), publication.topic, reason, turn);
        }
    }

    /// Handles another worker's request for the next matches of a walk over this worker's tree.
    pub(crate) fn handle_pull(&mut self, pull: Pull, turn: &mut Turn) {
        if pull.after.iter().zip(&self.traffic.received).any(|(after, got)| got < after) {
            return self.traffic.early.push(pull);
        }
        if self.visits_left == 0 {
            return self.late.push_back(pull);
        }
        let Pull { from, ticket, filter, walk, .. } = pull;
        let number = match walk {
            Some(number) => number as usize,
            None => self.walks.insert(self.tree.begin_walk(&filter)),
        };
        let Some(walk) = self.walks.get_mut(number) else {
            return;
        };
        let mut messages = Vec::with_capacity(Retained::CHUNK);
        let most = Retained::VISITS_PER_PULL.min(self.visits_left);
        let mut budget = most;
        while messages.len() < Retained::CHUNK {
            match self.tree.walk(walk, &mut budget) {
                Some(message) => messages.push(message),
                None => break,
            }
        }
        // A request costs something even if it finds nothing.
        self.visits_left -= (most - budget).max(1);
        let is_done = walk.is_done();
        if is_done {
            let walk = self.walks.remove(number);
            self.tree.end_walk(walk);
        }
        let walk = (!is_done).then_some(number as u32);
        turn.fx.send(from, Peer::RetainedChunk { ticket, messages, walk }.into());
    }

    /// Takes in another worker's matches and wakes the request.
    pub(crate) fn handle_chunk(
        &mut self,
        from: WorkerId,
        ticket: Ticket,
        messages: Vec<Arc<Message>>,
        next_walk: Option<u32>,
        turn: &mut Turn,
    ) {
        let first = self.first.get_mut(&ticket).map(|(subscribe, workers)| {
            *workers -= 1;
            (*subscribe, *workers)
        });
        if first.is_some_and(|(_, workers)| workers == 0) {
            self.first.remove(&ticket);
        }
        match self.wishes.get_mut(ticket) {
            Some((session, request)) => {
                request.take_chunk(from, messages, next_walk);
                self.wishes.wake(session);
            }
            None => {
                if let Some(walk) = next_walk {
                    turn.fx.send(from, Peer::RetainedStop { walk }.into());
                }
            }
        }
        if let Some((subscribe, _)) = first {
            self.arrived.push_back(subscribe);
        }
    }

    pub(crate) fn handle_stop(&mut self, walk: u32) {
        if let Some(walk) = self.walks.try_remove(walk as usize) {
            self.tree.end_walk(walk);
        }
    }

    fn end_request(&mut self, request: Request, turn: &mut Turn) {
        for part in request.parts {
            self.end_part(part, turn);
        }
    }

    fn end_part(&mut self, part: Part, turn: &mut Turn) {
        match part {
            Part::Own(walk) => self.tree.end_walk(walk),
            Part::Of { worker, walk: Some(walk), asked: false, .. } => {
                turn.fx.send(worker, Peer::RetainedStop { walk }.into());
            }
            Part::Of { .. } => (),
        }
    }
}

/// Asks the worker whose turn it is for its next matches.
fn ask_peer(traffic: &Traffic, ticket: Ticket, request: &mut Request, turn: &mut Turn) {
    let Some(Part::Of { worker, walk, asked, fetched }) = request.parts.front_mut() else {
        return;
    };
    if !*asked && walk.is_some() && fetched.is_empty() {
        *asked = true;
        let pull = Peer::RetainedPull {
            ticket,
            filter: (&*request.wish.filter).into(),
            walk: *walk,
            after: traffic.sent_to(*worker),
        };
        turn.fx.send(*worker, pull.into());
    }
}

impl Request {
    /// Takes in a worker's matches.
    fn take_chunk(&mut self, from: WorkerId, messages: Vec<Arc<Message>>, next_walk: Option<u32>) {
        for part in &mut self.parts {
            if let Part::Of { worker, walk, asked, fetched } = part
                && *worker == from
            {
                (*asked, *walk, *fetched) = (false, next_walk, messages.into());
                return;
            }
        }
    }
}

/// Whether the Session can take more without filling up its queue or its output. If not, its
/// acknowledgements or its socket will wake the requests.
fn has_room(clients: &mut Clients, slot: u32) -> bool {
    let session = &clients.sessions[slot as usize];
    let limits = &clients.limits;
    // With several streams, only the output of the one that the message goes on counts.
    if let Some(id) = session.connection.filter(|&id| !clients.has_routes(id)) {
        let connection = &mut clients.connections[id.slot()];
        if connection.output.pending() > limits.output_bytes_max as usize / 2 {
            connection.waits_for_output = true;
            return false;
        }
    }
    let queued = session.outgoing.as_ref().map_or((0, 0), |outgoing| outgoing.queued());
    queued.0 <= limits.queue_messages_max as usize / 2
        && queued.1 <= limits.queue_bytes_max as usize / 2
}
