//! The broker without I/O: cores, the messages between them, and the end of a turn in the order of
//! the real driver. `world` decides what comes when.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::mem;
use std::sync::Arc;

use midge_codec::{Decoded, decode};
use midge_core::{
    AllowAll, AuthAnswer, Close, Commit, ConnectionId, Core, CoreConfig, Counters, DropReason,
    DurabilityRules, Fetch, Fetched, MovedSession, NodeBudget, Opening, PeerMessage, Receipt,
    Timestamp, TopicRules, Turn, WorkerId,
};
use midge_store::testing::Random;

use crate::client::Client;
use crate::link::Link;
use crate::plan::Plan;

/// What the store tells a worker.
pub(crate) enum Letter {
    Receipt(Receipt),
    Fetched(Box<Fetched>),
    StoreFull(bool),
}

/// What a worker tells the store.
pub(crate) enum Order {
    Commit(WorkerId, Commit),
    Fetch(WorkerId, Fetch),
}

/// What a worker sends to another.
pub(crate) enum Mail {
    Batch(Vec<PeerMessage>),
    /// A Session, with the number of its Network Connection.
    Session(Box<MovedSession>, Option<usize>),
}

/// Something that can be handed to a worker now.
#[derive(Clone, Copy)]
enum Input {
    Batch { from: usize },
    Letter,
    Closed(usize),
    Link(usize),
}

pub(crate) struct Node {
    pub(crate) cores: Vec<Core>,
    /// The present turn of each worker.
    turns: Vec<Turn>,
    /// Batches on their way, by sender and receiver.
    mail: Vec<Vec<VecDeque<Mail>>>,
    /// Sessions that have begun to move, and those that have arrived.
    pub(crate) moves: (u64, u64),
    pub(crate) letters: Vec<VecDeque<Letter>>,
    /// The ends of Network Connections that workers have not noticed yet.
    pub(crate) closed: VecDeque<usize>,
    pub(crate) orders: VecDeque<Order>,
    by_id: BTreeMap<(usize, ConnectionId), usize>,
    turn_ms_max: usize,
}

/// The seed of the cores' tables; a Client's worker and a group's home depend on it.
pub(crate) const SEED: u64 = 7;

impl Node {
    pub(crate) fn new(plan: &Plan) -> Self {
        let workers = plan.workers;
        let limits = Arc::new(plan.limits.clone());
        let budget = Arc::new(NodeBudget::default());
        let config = |worker| CoreConfig {
            worker: WorkerId::new(worker),
            workers,
            seed: SEED,
            secret: [SEED, worker as u64],
            limits: Arc::clone(&limits),
            budget: Arc::clone(&budget),
            policy: Arc::new(AllowAll),
            topics: Arc::new(TopicRules::default()),
            shared_strategy: plan.strategy,
            shared_backlog: true,
            response_prefix: None,
            tell_drops: false,
            durability: DurabilityRules {
                has_store: true,
                default: plan.durability,
                ..DurabilityRules::default()
            },
        };
        let link = || (0..workers).map(|_| VecDeque::new()).collect();
        Self {
            cores: (0..workers).map(|worker| Core::new(config(worker))).collect(),
            turns: (0..workers).map(|_| Turn::new(Timestamp::from_millis(0), workers)).collect(),
            mail: (0..workers).map(|_| link()).collect(),
            moves: (0, 0),
            letters: (0..workers).map(|_| VecDeque::new()).collect(),
            closed: VecDeque::new(),
            orders: VecDeque::new(),
            by_id: BTreeMap::new(),
            turn_ms_max: plan.turn_ms_max,
        }
    }

    /// Returns the cores with their turns at this time, for the recovery.
    pub(crate) fn parts(&mut self, now: Timestamp) -> (&mut [Core], &mut [Turn]) {
        self.turns.iter_mut().for_each(|turn| turn.now = now);
        (&mut self.cores, &mut self.turns)
    }

    /// Opens a Network Connection for a Client and returns its number.
    pub(crate) fn open(
        &mut self,
        worker: usize,
        client: &Client,
        links: &mut Vec<Link>,
        now: Timestamp,
    ) -> usize {
        let id = self.cores[worker].open_connection(Opening::default(), now);
        self.by_id.insert((worker, id), links.len());
        links.push(Link::new(client, worker, id));
        links.len() - 1
    }

    /// Runs one turn of a worker: handles some of what waits for it, then does what the driver does
    /// at the end. Returns the time at the end: taking something in may take time.
    pub(crate) fn turn(
        &mut self,
        worker: usize,
        inputs_max: usize,
        links: &mut [Link],
        random: &mut Random,
        began: Timestamp,
    ) -> Timestamp {
        let mut now = began;
        self.turns[worker].now = now;
        self.cores[worker].handle_timers(&mut self.turns[worker]);
        self.cores[worker].begin_packets(&mut self.turns[worker]);
        for _ in 0..inputs_max {
            let inputs = self.inputs(worker, links);
            if inputs.is_empty() {
                break;
            }
            if self.turn_ms_max > 0 && random.one_in(4) {
                now = now + 1 + random.below(self.turn_ms_max) as u64;
                self.turns[worker].now = now;
            }
            match inputs[random.below(inputs.len())] {
                Input::Batch { from } => self.take_mail(from, worker, links),
                Input::Letter => self.take_letter(worker),
                Input::Closed(place) => {
                    let link = self.closed.remove(place).expect("it is there");
                    self.notice_end(&mut links[link], now);
                }
                Input::Link(link) => {
                    let packets = 1 + random.below(4);
                    self.read(&mut links[link], packets);
                }
            }
        }
        self.cores[worker].handle_silence(&mut self.turns[worker]);
        self.cores[worker].end_turn(&mut self.turns[worker]);
        self.carry_out(worker, links, began);
        now
    }

    fn inputs(&self, worker: usize, links: &[Link]) -> Vec<Input> {
        let mut inputs = Vec::new();
        for from in 0..self.cores.len() {
            if !self.mail[from][worker].is_empty() {
                inputs.push(Input::Batch { from });
            }
        }
        if !self.letters[worker].is_empty() {
            inputs.push(Input::Letter);
        }
        let is_of = |link: &usize| links[*link].worker == worker && !links[*link].is_moving;
        if let Some(place) = self.closed.iter().position(is_of) {
            inputs.push(Input::Closed(place));
        }
        for ((owner, _), &link) in &self.by_id {
            if *owner == worker && links[link].is_read && !links[link].to_broker.is_empty() {
                inputs.push(Input::Link(link));
            }
        }
        inputs
    }

    /// Returns whether something waits for this worker, or it has deferred something.
    pub(crate) fn has_work(&self, worker: usize, links: &[Link]) -> bool {
        self.cores[worker].has_work()
            || !self.turns[worker].fx.is_empty()
            || !self.inputs(worker, links).is_empty()
    }

    fn take_mail(&mut self, from: usize, worker: usize, links: &mut [Link]) {
        let turn = &mut self.turns[worker];
        match self.mail[from][worker].pop_front().expect("not empty") {
            Mail::Batch(batch) => {
                self.cores[worker].handle_batch(WorkerId::new(from), batch, turn);
            }
            Mail::Session(moved, link) => {
                let id = self.cores[worker].adopt_session(*moved, turn);
                self.moves.1 += 1;
                let Some(link) = link else {
                    return;
                };
                links[link].is_moving = false;
                // The worker has to be told of an end that came while nobody had the Session.
                let id = id.expect("the Network Connection was there when the Session left");
                (links[link].worker, links[link].id, links[link].is_read) = (worker, id, true);
                self.by_id.insert((worker, id), link);
            }
        }
    }

    /// Begins to move the Session of a Client to another worker. Returns whether it may go.
    pub(crate) fn begin_move(&mut self, client_id: &str, from: usize, to: usize) -> bool {
        let turn = &mut self.turns[from];
        let begins = self.cores[from].evict_session(client_id, WorkerId::new(to), turn).is_ok();
        self.moves.0 += u64::from(begins);
        begins
    }

    /// Sends the Sessions that leave, behind the batches.
    fn send_sessions(&mut self, worker: usize, links: &mut [Link]) {
        while let Some(moved) = self.cores[worker].take_evicted() {
            let link = moved.connection().and_then(|id| self.by_id.remove(&(worker, id)));
            let to = moved.to().index();
            if let Some(link) = link {
                links[link].is_moving = true;
                links[link].worker = to;
            }
            self.mail[worker][to].push_back(Mail::Session(Box::new(moved), link));
        }
    }

    /// Lets the Session of a Client stay that wants to connect. Returns whether that cannot be done
    /// any more.
    pub(crate) fn is_on_its_way(&mut self, client_id: &str) -> bool {
        for (core, turn) in self.cores.iter_mut().zip(&mut self.turns) {
            core.call_off_move(client_id, turn);
        }
        let in_mail = |mail: &Mail| match mail {
            Mail::Session(moved, _) => moved.client_id() == client_id,
            Mail::Batch(_) => false,
        };
        self.cores.iter().any(|core| core.is_moving(client_id))
            || self.mail.iter().flatten().flatten().any(in_mail)
    }

    /// Returns the worker that owns a Client, if one does.
    pub(crate) fn owner_of(&self, client_id: &str) -> Option<usize> {
        self.cores.iter().position(|core| core.owns(client_id))
    }

    /// Tells a worker that the broker ends.
    pub(crate) fn begin_drain(&mut self, worker: usize, links: &mut [Link], now: Timestamp) {
        self.turns[worker].now = now;
        self.cores[worker].begin_drain(&mut self.turns[worker]);
        self.carry_out(worker, links, now);
    }

    /// Returns whether a worker that was told so has nothing left to do.
    pub(crate) fn is_drained(&self, worker: usize, links: &[Link]) -> bool {
        !self.cores[worker].has_unfinished() && !self.has_work(worker, links)
    }

    /// Ends a worker: what it has decided last still goes to the store.
    pub(crate) fn stop(&mut self, worker: usize) {
        self.cores[worker].end_turn(&mut self.turns[worker]);
        self.send_to_store(worker);
    }

    fn take_letter(&mut self, worker: usize) {
        let (core, turn) = (&mut self.cores[worker], &mut self.turns[worker]);
        match self.letters[worker].pop_front() {
            Some(Letter::Receipt(receipt)) => core.handle_receipt(receipt, turn),
            Some(Letter::Fetched(fetched)) => core.handle_fetched(*fetched, turn),
            Some(Letter::StoreFull(is_full)) => core.set_store_full(is_full, turn),
            None => (),
        }
    }

    /// Lets a worker notice that a Network Connection is gone.
    pub(crate) fn notice_end(&mut self, link: &mut Link, now: Timestamp) {
        let (worker, id) = (link.worker, link.id);
        assert!(!link.is_moving, "the worker that gets it notices that");
        if mem::replace(&mut link.is_closed, true) {
            return;
        }
        link.heard_at = Some(now);
        self.turns[worker].now = now;
        self.by_id.remove(&(worker, id));
        self.cores[worker].handle_closed(id, &mut self.turns[worker]);
    }

    fn read(&mut self, link: &mut Link, packets: usize) {
        let (worker, version) = (link.worker, link.version);
        let bytes = mem::take(&mut link.to_broker);
        let mut at = 0;
        for _ in 0..packets {
            if !link.is_read || at == bytes.len() {
                break;
            }
            let turn = &mut self.turns[worker];
            match decode(&bytes[at..], version, 1 << 20) {
                Ok(Decoded::Packet { packet, length }) => {
                    at += length;
                    self.cores[worker].handle_packet(link.id, &packet, turn);
                }
                other => panic!("Clients send whole and valid packets: {other:?}"),
            }
            // A driver heeds this at once: the next packet may be in its buffer already.
            for (id, is_read) in &turn.fx.reading {
                if *id == link.id {
                    link.is_read = *is_read;
                }
            }
        }
        link.to_broker = bytes[at..].to_vec();
    }

    /// Does what the core has asked for in a turn. Whether a message has expired was decided before
    /// it is written, but not before the turn began.
    fn carry_out(&mut self, worker: usize, links: &mut [Link], began: Timestamp) {
        for _ in 0..16 {
            for request in mem::take(&mut self.turns[worker].fx.authenticate) {
                let answer = AuthAnswer::allow(None);
                let turn = &mut self.turns[worker];
                self.cores[worker].handle_auth_answer(request.connection, answer, None, turn);
            }
            for (id, is_read) in mem::take(&mut self.turns[worker].fx.reading) {
                if let Some(&link) = self.by_id.get(&(worker, id)) {
                    links[link].is_read = is_read;
                }
            }
            self.turns[worker].fx.events.clear();
            self.turns[worker].fx.disowned.clear();
            self.send_to_store(worker);
            for to in 0..self.cores.len() {
                let batch = mem::take(&mut self.turns[worker].fx.to_workers[to]);
                if !batch.is_empty() {
                    self.mail[worker][to].push_back(Mail::Batch(batch));
                }
            }
            self.send_sessions(worker, links);
            let flush = mem::take(&mut self.turns[worker].fx.flush);
            self.cores[worker].begin_flush(&flush);
            for id in flush {
                self.write(worker, id, links, began);
            }
            self.cores[worker].end_flush();
            for Close { connection: id, .. } in mem::take(&mut self.turns[worker].fx.close) {
                if let Some(link) = self.by_id.get(&(worker, id)).copied() {
                    let now = self.turns[worker].now;
                    self.notice_end(&mut links[link], now);
                }
            }
            if self.turns[worker].fx.is_empty() {
                return;
            }
        }
    }

    fn send_to_store(&mut self, worker: usize) {
        let (fx, id) = (&mut self.turns[worker].fx, WorkerId::new(worker));
        self.orders.extend(fx.commits.drain(..).map(|commit| Order::Commit(id, commit)));
        self.orders.extend(fx.fetches.drain(..).map(|fetch| Order::Fetch(id, fetch)));
    }

    fn write(&mut self, worker: usize, id: ConnectionId, links: &mut [Link], at: Timestamp) {
        let Some(&link) = self.by_id.get(&(worker, id)) else {
            return;
        };
        let core = &mut self.cores[worker];
        while core.output(id).is_some_and(|output| !output.is_empty()) {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = core.next_slices(id, &mut slices);
            let mut count = 0;
            for slice in &slices[..filled] {
                links[link].put_from_broker(slice, at);
                count += slice.len();
            }
            core.handle_written(id, count, &mut self.turns[worker]);
        }
    }

    /// Returns the drops whose reasons must not occur in a run, with their counts.
    pub(crate) fn unexpected_drops(&self) -> Vec<(&'static str, u64)> {
        let counters = self.counters();
        let expected = [
            DropReason::NoSubscriber,
            DropReason::SessionEnded,
            DropReason::StoreFull,
            DropReason::Offline,
            // The checks at the end show whether it was time to expire.
            DropReason::Expired,
        ];
        let reasons = DropReason::ALL.into_iter().filter(|reason| !expected.contains(reason));
        let counts = reasons.map(|reason| (reason.name(), counters.dropped_for(reason)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.cores.iter().for_each(|core| sum.add(core.counters()));
        sum
    }
}
