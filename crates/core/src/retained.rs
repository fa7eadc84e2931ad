//! Retained messages of the node. Each topic has a home worker that keeps its message; a new
//! subscription walks over the trees of all workers, in slices, as fast as its Client takes them.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use midge_codec::{QoS, TopicFilter, TopicName};
use slab::Slab;

use crate::budget::{Allowance, NodeBudget};
use crate::clients::{Clients, Grant};
use crate::core::Core;
use crate::drops::{DropReason, Party};
use crate::effects::Effects;
use crate::gate::Admitted;
use crate::identity::{SessionId, WorkerId};
use crate::limits::Limits;
use crate::message::{Attributes, Message, Publication};
use crate::peer::{Peer, Ticket};
use crate::retained_tree::{Change, RetainedTree, RetainedWalk};
use crate::stored::{Durability, Kept, StoreOp};
use crate::time::Timestamp;
use crate::timers::{Kind, Timer, Timers};

/// Retained messages that a new subscription asks for.
#[derive(Clone, Debug)]
pub(crate) struct RetainedWish {
    pub(crate) filter: Box<str>,
    /// The subscription's name in its Session: if it is gone, so is the wish.
    pub(crate) key: Box<str>,
    pub(crate) qos: QoS,
    pub(crate) identifier: Option<NonZeroU32>,
}

/// A wish on its way through the workers.
#[derive(Debug)]
struct Request {
    ticket: Ticket,
    session: SessionId,
    wish: RetainedWish,
    parts: VecDeque<Part>,
    /// The next message, while its data stream has no room for it.
    found: Option<Arc<Message>>,
    /// The SUBSCRIBE whose SUBACK has not left yet.
    held_by: Option<Ticket>,
    /// Its subscription is gone, even if there is another one of the same name.
    is_over: bool,
    /// Topics of which a live message came while the request was on its way: what another worker
    /// has retained may be older, and must not come after it.
    seen_live: HashSet<Box<str>, FixedState>,
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

/// How many retained messages go between workers. What was published before a subscription was
/// known everywhere may still be on its way to its home when the subscriber asks there; it would
/// come neither live nor retained. So the home waits for what the others say they have sent.
#[derive(Debug)]
struct Traffic {
    /// From this worker to each.
    sent: Box<[u64]>,
    /// From each worker to this one.
    received: Box<[u64]>,
    /// What each worker has told that it sent to each.
    told: Vec<Box<[u64]>>,
    /// Pulls that wait for what they have to come after.
    early: Vec<Pull>,
}

/// What a request can do now.
enum Progress {
    Found(Arc<Message>),
    /// Waits for another worker, or for room.
    Waits,
    OutOfBudget,
    Done,
}

#[derive(Debug)]
pub(crate) struct Retained {
    tree: RetainedTree,
    requests: VecDeque<Request>,
    /// Walks on behalf of other workers.
    walks: Slab<RetainedWalk>,
    /// Whether a request may be able to go on.
    is_awake: bool,
    has_peers: bool,
    traffic: Traffic,
}

fn allowance(limits: &Limits) -> Allowance {
    let count_max = u64::from(limits.retained_messages_max);
    Allowance { count_max, bytes_max: limits.retained_bytes_max }
}

impl Retained {
    /// Nodes of the tree that are visited in one turn.
    const VISITS_PER_TURN: usize = 20_000;
    /// Nodes that are visited for one question of another worker. There may be many in a turn.
    const VISITS_PER_PULL: usize = 1_000;
    /// How many expired messages make room for one.
    const OVERDUE_AT_ONCE: usize = 16;
    /// Messages asked of another worker at a time.
    const CHUNK: usize = 64;
    /// Topics remembered per request; beyond it an older message may follow a newer one.
    const SEEN_LIVE_MAX: usize = 10_000;

    pub(crate) fn new(
        seed: u64,
        workers: usize,
        limits: &Limits,
        budget: &Arc<NodeBudget>,
    ) -> Self {
        Self {
            tree: RetainedTree::new(seed, allowance(limits), Arc::clone(budget)),
            requests: VecDeque::new(),
            walks: Slab::new(),
            is_awake: false,
            has_peers: workers > 1,
            traffic: Traffic::new(workers),
        }
    }

    pub(crate) fn set_limits(&mut self, limits: &Limits) {
        self.tree.set_allowance(allowance(limits));
    }

    /// How many retained messages this worker has sent to each.
    pub(crate) fn sent(&self) -> Box<[u64]> {
        self.traffic.sent.clone()
    }

    /// Another worker has told how many it has sent to each.
    pub(crate) fn note_sent(&mut self, from: WorkerId, sent: Box<[u64]>) {
        self.traffic.told[from.index()] = sent;
    }

    pub(crate) fn usage(&self) -> (u64, u64) {
        self.tree.usage()
    }

    pub(crate) fn has_work(&self) -> bool {
        self.is_awake && !self.requests.is_empty()
    }

    /// Whether retained messages may become more: those that are there can always be replaced by
    /// smaller ones, and removed.
    pub(crate) fn set_growing(&mut self, is_growing: bool) {
        self.tree.is_growing = is_growing;
    }

    /// Some request may have room again.
    pub(crate) fn wake(&mut self) {
        self.is_awake = true;
    }

    /// Subscriptions of a Session are gone, and what they had asked for is not wanted any more.
    pub(crate) fn end_requests_of(&mut self, session: SessionId, is_gone: impl Fn(&str) -> bool) {
        for request in &mut self.requests {
            if request.session == session && is_gone(&request.wish.key) {
                request.is_over = true;
            }
        }
        self.wake();
    }

    /// A retained message has reached this worker's subscribers as a live one.
    #[inline]
    pub(crate) fn note_live(&mut self, topic: &str) {
        if self.has_peers {
            self.note_seen(topic);
        }
    }

    /// Whoever asks for it gets no older message of this topic any more.
    pub(crate) fn note_seen(&mut self, topic: &str) {
        let Ok(name) = TopicName::new(topic) else {
            return;
        };
        for request in &mut self.requests {
            let filter = TopicFilter::parse(&request.wish.filter);
            let is_match = filter.is_ok_and(|filter| filter.matches(name));
            if is_match && request.seen_live.len() < Self::SEEN_LIVE_MAX {
                request.seen_live.insert(topic.into());
            }
        }
    }

    /// Keeps or removes the message of its topic, with the timer of its expiry.
    fn set(&mut self, message: &Arc<Message>, timers: &mut Timers) -> Result<Change, DropReason> {
        let change = self.tree.set(Arc::clone(message)).map_err(|_| DropReason::RetainedLimit)?;
        self.note_change(message, &change, timers);
        Ok(change)
    }

    /// The same for a message that counts whatever the limits say.
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
            let own = self.requests.iter().flat_map(|request| &request.parts);
            let own = own.filter_map(|part| match part {
                Part::Own(walk) => Some(walk),
                Part::Of { .. } => None,
            });
            self.tree.prune_around(own.chain(self.walks.iter().map(|(_, walk)| walk)));
        }
    }

    /// The expiry of the message at this node is due; gives the number that the store knows it by.
    pub(crate) fn expire(&mut self, node: u32, now: Timestamp) -> u64 {
        let number = self.tree.remove_expired(node, now);
        self.prune_if_many();
        number
    }

    /// The next message of a request.
    fn next_of(&self, request: &mut Request, budget: &mut usize) -> Progress {
        match request.parts.front_mut() {
            None => Progress::Done,
            Some(Part::Own(walk)) => match self.tree.walk(walk, budget) {
                Some(message) => Progress::Found(message),
                None if walk.is_done() => Progress::Done,
                None => Progress::OutOfBudget,
            },
            Some(Part::Of { walk, asked, fetched, .. }) => match fetched.pop_front() {
                Some(message) => Progress::Found(message),
                None if *asked || walk.is_some() => Progress::Waits,
                None => Progress::Done,
            },
        }
    }
}

impl Core {
    /// Keeps the message of an admitted publication with RETAIN [MQTT-3.3.1-5], at its home. If
    /// that is another worker, it is asked for its verdict when somebody `asks`: gives the ticket
    /// that it comes under, or 0.
    pub(crate) fn retain(
        &mut self,
        admitted: &Admitted<'_>,
        asks: bool,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Result<Ticket, DropReason> {
        let message = admitted.publication().share();
        let home = self.home_of(message.topic());
        if home == self.config.worker {
            return self.keep_retained(&message, now, fx).map(|()| 0);
        }
        self.retained.traffic.sent[home.index()] += 1;
        let Attributes { qos, durability, .. } = message.attributes();
        self.clients.rounds.note_sent(home, qos, durability, fx);
        // To remove one is never refused.
        let asks = asks && !message.payload().is_empty();
        let ticket = if asks { self.clients.rounds.ask(home) } else { 0 };
        fx.send(home, Peer::RetainedSet { message, ticket }.into());
        Ok(ticket)
    }

    /// Another worker's publisher has sent a retained message of which this worker is the home.
    pub(crate) fn handle_retained_set(
        &mut self,
        from: WorkerId,
        (message, ticket): (&Arc<Message>, Ticket),
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let kept = self.keep_retained(message, now, fx);
        if kept.is_err() && ticket > 0 {
            // Before the answer to the round, which lets the acknowledgement go.
            fx.send(from, Peer::RetainedRefused { ticket }.into());
        }
        let traffic = &mut self.retained.traffic;
        traffic.received[from.index()] += 1;
        if !traffic.early.is_empty() {
            for pull in std::mem::take(&mut traffic.early) {
                self.handle_retained_pull(pull, fx);
            }
        }
    }

    /// The home of a topic has no room for a retained message of this worker's publisher, whose
    /// acknowledgement will say so.
    pub(crate) fn handle_retained_refused(&mut self, ticket: Ticket) {
        if let Some((session, packet_id)) = self.clients.rounds.refuse(ticket)
            && let Some(slot) = self.clients.slot_of(session)
        {
            // A PUBREC that refuses ends the handshake.
            self.clients.session(slot).release(packet_id);
        }
    }

    pub(crate) fn keep_retained(
        &mut self,
        message: &Arc<Message>,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Result<(), DropReason> {
        let mut set = self.retained.set(message, &mut self.timers);
        // What has expired takes no place, though its timer is late.
        let mut tries = 0..Retained::OVERDUE_AT_ONCE;
        while set.is_err()
            && tries.next().is_some()
            && let Some(timer) = self.timers.pop_due_of(Kind::Retained, now)
        {
            self.handle_timer(timer, now, fx);
            set = self.retained.set(message, &mut self.timers);
        }
        match set {
            Ok(change) => {
                self.store_retained(message, &change, now);
                Ok(())
            }
            Err(reason) => {
                self.clients.counters.limits_exceeded += 1;
                let party = Party::Publisher(message.publisher());
                self.clients.note_drop(party, message.topic(), reason, fx);
                Err(reason)
            }
        }
    }

    /// What has become of a topic's retained message becomes so in the store.
    fn store_retained(&mut self, message: &Arc<Message>, change: &Change, now: Timestamp) {
        let rounds = &mut self.clients.rounds;
        let durability = message.attributes().durability;
        let is_stored = rounds.is_enabled && change.is_kept && durability > Durability::Memory;
        if is_stored {
            let number = if change.number > 0 { change.number } else { self.numbers.next(now) };
            let message = Arc::clone(message);
            rounds.keep(StoreOp::Keep { number, what: Kept::Retained, message });
            self.retained.tree.set_number(change.node, number);
        } else if change.number > 0 {
            rounds.keep(StoreOp::Unkeep { number: change.number });
            if change.is_kept {
                self.retained.tree.set_number(change.node, 0);
            }
        }
    }

    /// The expiry of a retained message is due.
    pub(crate) fn expire_retained(&mut self, node: u32, now: Timestamp) {
        let number = self.retained.expire(node, now);
        if number > 0 {
            self.clients.rounds.keep(StoreOp::Unkeep { number });
        }
    }

    /// A retained message that the store has kept, at its home.
    pub(crate) fn restore_retained(&mut self, number: u64, message: &Arc<Message>) {
        // It was promised when it came, whatever the limits are now.
        let change = self.retained.put(message, &mut self.timers);
        match change.is_kept {
            true => self.retained.tree.set_number(change.node, number),
            false => self.clients.rounds.keep(StoreOp::Unkeep { number }),
        }
    }

    /// Notes the retained messages that a new subscription asks for. From now on the live ones are
    /// watched; the walk begins when all workers know of the subscription.
    pub(crate) fn note_wish(&mut self, session: SessionId, wish: RetainedWish, subscribe: Ticket) {
        let ticket = self.pending.ticket();
        self.retained.requests.push_back(Request {
            ticket,
            session,
            wish,
            parts: VecDeque::new(),
            found: None,
            held_by: Some(subscribe),
            is_over: false,
            seen_live: HashSet::with_hasher(FixedState::with_seed(self.config.seed)),
        });
    }

    /// Begins the walks that a SUBSCRIBE asks for, with the first matches of all other workers.
    /// Says how many answers will come; each is an arrival for the pending SUBSCRIBE.
    pub(crate) fn fetch_retained(&mut self, subscribe: Ticket, fx: &mut Effects) -> usize {
        let others: Vec<_> = self.other_workers().collect();
        let mut asked = 0;
        for request in &mut self.retained.requests {
            if request.held_by != Some(subscribe) {
                continue;
            }
            let filter: Arc<str> = (&*request.wish.filter).into();
            request.parts.push_back(Part::Own(self.retained.tree.begin_walk(&filter)));
            for &worker in &others {
                let (ticket, filter) = (request.ticket, Arc::clone(&filter));
                let after = self.retained.traffic.sent_to(worker);
                let pull = Peer::RetainedPull { ticket, filter, walk: None, after };
                fx.send(worker, pull.into());
                let fetched = VecDeque::new();
                request.parts.push_back(Part::Of { worker, walk: None, asked: true, fetched });
                asked += 1;
            }
            let fetched = self.own_topics.matching(&filter);
            if !fetched.is_empty() {
                let worker = self.config.worker;
                request.parts.push_back(Part::Of { worker, walk: None, asked: false, fetched });
            }
        }
        asked
    }

    /// The SUBACK has left: what it held back may follow.
    pub(crate) fn release_retained(&mut self, subscribe: Ticket) {
        for request in &mut self.retained.requests {
            if request.held_by == Some(subscribe) {
                request.held_by = None;
            }
        }
        self.retained.wake();
    }

    /// Goes on with all requests, within this turn's share of visits and deliveries.
    pub(crate) fn run_retained(&mut self, now: Timestamp, fx: &mut Effects) {
        if !self.retained.has_work() {
            return;
        }
        let mut budget = Retained::VISITS_PER_TURN;
        self.retained.is_awake = false;
        for _ in 0..self.retained.requests.len() {
            let Some(mut request) = self.retained.requests.pop_front() else {
                break;
            };
            let is_held = request.held_by.is_some();
            if !is_held && self.run_request(&mut request, &mut budget, now, fx) {
                self.end_request(request, fx);
            } else {
                self.retained.requests.push_back(request);
            }
        }
        self.retained.is_awake |= budget == 0;
    }

    /// True if the request is at its end.
    fn run_request(
        &mut self,
        request: &mut Request,
        budget: &mut usize,
        now: Timestamp,
        fx: &mut Effects,
    ) -> bool {
        loop {
            let Some(slot) = self.clients.slot_of(request.session) else {
                return true;
            };
            let session = self.clients.session(slot);
            if request.is_over || !session.subscriptions.contains_key(&*request.wish.key) {
                return true;
            }
            if !has_room(&mut self.clients, slot) {
                return false;
            }
            ask_peer(&self.retained.traffic, request, fx);
            let found = request.found.take().map(Progress::Found);
            match found.unwrap_or_else(|| self.retained.next_of(request, budget)) {
                Progress::Found(message) => {
                    if !self.clients.has_room_for(slot, message.topic()) {
                        request.found = Some(message);
                        return false;
                    }
                    self.deliver_retained(slot, request, &message, now, fx);
                }
                Progress::Waits | Progress::OutOfBudget => return false,
                Progress::Done => {
                    let Some(part) = request.parts.pop_front() else {
                        return true;
                    };
                    self.end_part(part, fx);
                }
            }
        }
    }

    fn deliver_retained(
        &mut self,
        slot: u32,
        request: &Request,
        message: &Arc<Message>,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        if request.seen_live.contains(message.topic()) {
            return;
        }
        let publication = Publication::of(message);
        let grant = Grant {
            qos: request.wish.qos,
            retain: true, // [MQTT-3.3.1-8]
            identifiers: request.wish.identifier.as_slice(),
            group: None,
        };
        if let Err(reason) = self.clients.deliver_single(slot, &publication, &grant, now, fx) {
            self.clients.note_drop(Party::Receiver(slot), publication.topic, reason, fx);
        }
    }

    /// Another worker asks for the next matches of a walk over this worker's tree.
    pub(crate) fn handle_retained_pull(&mut self, pull: Pull, fx: &mut Effects) {
        if pull.after.iter().zip(&self.retained.traffic.received).any(|(after, got)| got < after) {
            return self.retained.traffic.early.push(pull);
        }
        let Pull { from, ticket, filter, walk, .. } = pull;
        let number = match walk {
            Some(number) => number as usize,
            None => self.retained.walks.insert(self.retained.tree.begin_walk(&filter)),
        };
        let Some(walk) = self.retained.walks.get_mut(number) else {
            return;
        };
        let mut messages = Vec::with_capacity(Retained::CHUNK);
        let mut budget = Retained::VISITS_PER_PULL;
        while messages.len() < Retained::CHUNK {
            match self.retained.tree.walk(walk, &mut budget) {
                Some(message) => messages.push(message),
                None => break,
            }
        }
        let is_done = walk.is_done();
        if is_done {
            let walk = self.retained.walks.remove(number);
            self.retained.tree.end_walk(walk);
        }
        let walk = (!is_done).then_some(number as u32);
        fx.send(from, Peer::RetainedChunk { ticket, messages, walk }.into());
    }

    /// Another worker's matches have come.
    pub(crate) fn handle_retained_chunk(
        &mut self,
        from: WorkerId,
        ticket: Ticket,
        messages: Vec<Arc<Message>>,
        next_walk: Option<u32>,
        fx: &mut Effects,
    ) {
        let requests = &mut self.retained.requests;
        let Some(request) = requests.iter_mut().find(|request| request.ticket == ticket) else {
            if let Some(walk) = next_walk {
                fx.send(from, Peer::RetainedStop { walk }.into());
            }
            return;
        };
        let held_by = request.held_by;
        for part in &mut request.parts {
            if let Part::Of { worker, walk, asked, fetched } = part
                && *worker == from
            {
                (*asked, *walk) = (false, next_walk);
                *fetched = messages.into();
                break;
            }
        }
        match held_by {
            None => self.retained.wake(),
            Some(subscribe) => self.arrive(subscribe, fx),
        }
    }

    pub(crate) fn handle_retained_stop(&mut self, walk: u32) {
        if let Some(walk) = self.retained.walks.try_remove(walk as usize) {
            self.retained.tree.end_walk(walk);
        }
    }

    fn end_request(&mut self, request: Request, fx: &mut Effects) {
        for part in request.parts {
            self.end_part(part, fx);
        }
    }

    fn end_part(&mut self, part: Part, fx: &mut Effects) {
        match part {
            Part::Own(walk) => self.retained.tree.end_walk(walk),
            Part::Of { worker, walk: Some(walk), asked: false, .. } => {
                fx.send(worker, Peer::RetainedStop { walk }.into());
            }
            Part::Of { .. } => (),
        }
    }
}

/// Asks the worker whose turn it is for its next matches.
fn ask_peer(traffic: &Traffic, request: &mut Request, fx: &mut Effects) {
    let Some(Part::Of { worker, walk, asked, fetched }) = request.parts.front_mut() else {
        return;
    };
    if !*asked && walk.is_some() && fetched.is_empty() {
        *asked = true;
        let pull = Peer::RetainedPull {
            ticket: request.ticket,
            filter: (&*request.wish.filter).into(),
            walk: *walk,
            after: traffic.sent_to(*worker),
        };
        fx.send(*worker, pull.into());
    }
}

impl Traffic {
    fn new(workers: usize) -> Self {
        let none = || vec![0; workers].into_boxed_slice();
        let told = (0..workers).map(|_| none()).collect();
        Self { sent: none(), received: none(), told, early: Vec::new() }
    }

    /// How many retained messages each worker is known to have sent to `worker`.
    fn sent_to(&self, worker: WorkerId) -> Box<[u64]> {
        self.told.iter().map(|sent| sent[worker.index()]).collect()
    }
}

/// Whether the Session takes more without its queue or its output running full. If it does not,
/// its acknowledgements or its socket will wake the requests.
fn has_room(clients: &mut Clients, slot: u32) -> bool {
    let session = &clients.sessions[slot as usize];
    let limits = &clients.limits;
    // Of several streams, the one counts that the message goes on.
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
