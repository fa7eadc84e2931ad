//! What new subscriptions ask for: their requests walk over the retained messages of all workers,
//! in slices, as fast as their Clients take them.
//!
//! Nothing here keeps or removes a message.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use midge_codec::QoS;

use crate::base::identity::{SessionId, WorkerId};
use crate::base::message::{Message, Publication};
use crate::boundary::peer_messages::{RetainedPeer, Ticket, WalkId};
use crate::boundary::turn::Turn;
use crate::clients::drops::Party;
use crate::clients::{Clients, Grant};
use crate::ground::Ground;
use crate::retained::Retained;
use crate::retained::traffic::Traffic;
use crate::session::outgoing::Outgoing;
use crate::tree::retained_tree::RetainedWalk;

/// Retained messages that a new subscription asks for.
#[derive(Clone, Debug)]
pub(crate) struct RequestTerms {
    pub(crate) filter: Box<str>,
    /// The subscription's name in its Session: if the subscription is gone, so is the request.
    pub(crate) key: Box<str>,
    pub(crate) qos: QoS,
    pub(crate) identifier: Option<NonZeroU32>,
}

/// A request on its way through the workers.
#[derive(Debug)]
pub(crate) struct Request {
    session: SessionId,
    terms: RequestTerms,
    pub(super) parts: VecDeque<Part>,
    /// The next message, held while its data stream has no room for it.
    found: Option<Message>,
}

/// What is left to be fetched from one worker.
#[derive(Debug)]
pub(super) enum Part {
    Own(RetainedWalk),
    Of { worker: WorkerId, walk: Option<WalkId>, asked: bool, fetched: VecDeque<Message> },
}

/// Another worker asks for the next matches of a walk over this worker's tree.
#[derive(Debug)]
pub(crate) struct Pull {
    pub(crate) from: WorkerId,
    pub(crate) ticket: Ticket,
    pub(crate) filter: Arc<str>,
    pub(crate) walk: Option<WalkId>,
    pub(crate) after: Box<[u64]>,
}

/// What a request can do now.
enum Progress {
    Found(Message),
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

impl Retained {
    /// Nodes that are visited for one request of another worker. There may be many in a turn.
    const VISITS_PER_PULL: usize = 1_000;
    /// Messages requested from another worker at a time.
    const CHUNK: usize = 64;
    /// How many requests of one Session are tried, one after the other, while those before them
    /// wait for other workers or for their streams.
    const LOOK_AHEAD: usize = 16;

    /// Notes the retained messages that a new subscription asks for. Live messages are watched from
    /// now on; the walk begins when all workers know of the subscription.
    pub(crate) fn note_request(
        &mut self,
        ground: &mut Ground,
        session: SessionId,
        terms: RequestTerms,
        subscribe: Ticket,
        turn: &mut Turn,
    ) {
        let ticket = ground.pending.ticket();
        let key = terms.key.clone();
        let request = Request { session, terms, parts: VecDeque::new(), found: None };
        let old = self.requests.insert(ticket, subscribe, session, &key, Box::new(request));
        old.into_iter().for_each(|old| self.end_request(*old, turn));
    }

    /// Ends the request of a subscription that is gone.
    pub(crate) fn drop_request(&mut self, session: SessionId, key: &str, turn: &mut Turn) {
        if let Some(request) = self.requests.remove_key(session, key) {
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
        let Self { requests, tree, traffic, first, .. } = self;
        let Some((_, request)) = requests.get_mut(ticket) else {
            return 0;
        };
        let filter: Arc<str> = (&*request.terms.filter).into();
        request.parts.push_back(Part::Own(tree.begin_walk(&filter)));
        for worker in others {
            let (filter, after) = (Arc::clone(&filter), traffic.sent_to(worker));
            turn.fx.send(worker, RetainedPeer::Pull { ticket, filter, walk: None, after }.into());
            let fetched = VecDeque::new();
            request.parts.push_back(Part::Of { worker, walk: None, asked: true, fetched });
        }
        let fetched = self.own_topics.matching(&filter);
        if !fetched.is_empty() {
            let worker = ground.config.worker;
            request.parts.push_back(Part::Of { worker, walk: None, asked: false, fetched });
        }
        if !others.is_empty() {
            first.insert(ticket, (subscribe, others));
        }
        others.len()
    }

    /// Goes on with all requests, within this turn's share of visits and deliveries.
    pub(crate) fn run(&mut self, ground: &mut Ground, turn: &mut Turn) {
        (self.visits_left, self.bytes_left) = (Self::VISITS_PER_TURN, self.turn_bytes_max);
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
        for _ in 0..self.requests.awake_len() {
            if self.is_paused || self.bytes_left == 0 {
                break;
            }
            let Some(session) = self.requests.next_awake() else {
                break;
            };
            self.run_requests(ground, session, &mut budget, turn);
        }
        ground.work.add(Self::VISITS_PER_TURN - budget);
        self.visits_left = budget;
    }

    /// Goes on with the requests of one Session, in their order.
    fn run_requests(
        &mut self,
        ground: &mut Ground,
        session: SessionId,
        budget: &mut usize,
        turn: &mut Turn,
    ) {
        let mut index = 0;
        while index < Self::LOOK_AHEAD {
            let Some(ticket) = self.requests.at(session, index) else {
                return;
            };
            if *budget == 0 {
                return self.requests.wake(session);
            }
            *budget -= 1;
            let Some(mut request) = self.requests.lend(ticket) else {
                return;
            };
            let progress = self.run_request(ground, ticket, &mut request, budget, turn);
            if matches!(progress, Pause::Done) {
                self.requests.remove(ticket);
                self.end_request(*request, turn);
                continue;
            }
            self.requests.give_back(ticket, request);
            match progress {
                Pause::OutOfBudget => return self.requests.wake(session),
                Pause::NoRoom => return,
                Pause::Waits | Pause::Done => index += 1,
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
            if !session.subscriptions().contains(&request.terms.key) {
                return Pause::Done;
            }
            if !takes_more(&mut ground.clients, slot) {
                return Pause::NoRoom;
            }
            if self.bytes_left == 0 {
                return Pause::OutOfBudget;
            }
            ask_peer(&self.traffic, ticket, request, turn);
            let found = request.found.take().map(Progress::Found);
            match found.unwrap_or_else(|| self.next_of(request, budget)) {
                Progress::Found(message) => {
                    if !ground.clients.has_output_for(slot, message.topic()) {
                        request.found = Some(message);
                        return Pause::Waits;
                    }
                    if !self.requests.is_outdated(ticket, message.topic()) {
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
        message: &Message,
        turn: &mut Turn,
    ) {
        let publication = Publication::of(message);
        self.bytes_left = self.bytes_left.saturating_sub(message.held_bytes());
        let grant = Grant {
            qos: request.terms.qos,
            retain: true, // [MQTT-3.3.1-8]
            identifiers: request.terms.identifier.as_slice(),
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
        let id = walk.unwrap_or_else(|| self.walks.begin(from, self.tree.begin_walk(&filter)));
        let Some(walk) = self.walks.get_mut(from, id) else {
            return;
        };
        let mut messages = Vec::with_capacity(Self::CHUNK);
        let most = Self::VISITS_PER_PULL.min(self.visits_left);
        let mut budget = most;
        while messages.len() < Self::CHUNK {
            match self.tree.walk(walk, &mut budget) {
                Some(message) => messages.push(message),
                None => break,
            }
        }
        // A request costs something even if it finds nothing.
        self.visits_left -= (most - budget).max(1);
        let is_done = walk.is_done();
        if is_done {
            self.handle_stop(from, id);
        }
        let walk = (!is_done).then_some(id);
        turn.fx.send(from, RetainedPeer::Chunk { ticket, messages, walk }.into());
    }

    /// Takes in another worker's matches and wakes the request.
    pub(crate) fn handle_chunk(
        &mut self,
        from: WorkerId,
        ticket: Ticket,
        messages: Vec<Message>,
        next_walk: Option<WalkId>,
        turn: &mut Turn,
    ) {
        let first = self.note_first(from, ticket);
        match self.requests.get_mut(ticket) {
            Some((session, request)) => {
                request.take_chunk(from, messages, next_walk);
                self.requests.wake(session);
            }
            None => {
                if let Some(walk) = next_walk {
                    turn.fx.send(from, RetainedPeer::Stop { walk }.into());
                }
            }
        }
        if let Some(subscribe) = first {
            self.arrived.push_back(subscribe);
        }
    }

    /// Notes that a worker has answered a request for the first time, or never will. Returns the
    /// SUBSCRIBE that has waited for that.
    pub(super) fn note_first(&mut self, from: WorkerId, ticket: Ticket) -> Option<Ticket> {
        let (subscribe, awaited) = self.first.get_mut(&ticket)?;
        let subscribe = Some(*subscribe).filter(|_| awaited.remove(from));
        if awaited.is_empty() {
            self.first.remove(&ticket);
        }
        subscribe
    }

    pub(crate) fn handle_stop(&mut self, from: WorkerId, walk: WalkId) {
        if let Some(walk) = self.walks.end(from, walk) {
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
                turn.fx.send(worker, RetainedPeer::Stop { walk }.into());
            }
            Part::Of { .. } => (),
        }
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

/// Asks the worker whose turn it is for its next matches.
fn ask_peer(traffic: &Traffic, ticket: Ticket, request: &mut Request, turn: &mut Turn) {
    let Some(Part::Of { worker, walk, asked, fetched }) = request.parts.front_mut() else {
        return;
    };
    if !*asked && walk.is_some() && fetched.is_empty() {
        *asked = true;
        let pull = RetainedPeer::Pull {
            ticket,
            filter: (&*request.terms.filter).into(),
            walk: *walk,
            after: traffic.sent_to(*worker),
        };
        turn.fx.send(*worker, pull.into());
    }
}

impl Request {
    /// Takes in a worker's matches.
    fn take_chunk(&mut self, from: WorkerId, messages: Vec<Message>, next_walk: Option<WalkId>) {
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
fn takes_more(clients: &mut Clients, slot: u32) -> bool {
    let session = clients.session(slot);
    let queued = session.outgoing().map_or((0, 0), Outgoing::queued);
    // With several streams, only the output of the one that the message goes on counts.
    let only_stream = session.attached().filter(|&id| !clients.has_routes(id));
    let output_bytes_max = clients.limits().output_bytes_max as usize;
    if let Some(connection) = only_stream.and_then(|id| clients.connection_mut(id))
        && connection.output().pending() > output_bytes_max / 2
    {
        connection.wait_for_output();
        return false;
    }
    let limits = clients.limits();
    queued.0 <= limits.queue_messages_max as usize / 2
        && queued.1 <= limits.queue_bytes_max as usize / 2
}
