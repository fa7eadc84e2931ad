//! A node without I/O: one to many [`Core`]s joined in memory, virtual time, and scripted Clients
//! that speak bytes.
//!
//! The node carries out effects as a driver does: output goes to the Client unless its socket is
//! stalled, a connection that is not to be read keeps its bytes, and batches go from worker to
//! worker in order. With a seed, workers take turns at random, and batches between different pairs
//! of workers overtake each other.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IoSlice;
use std::sync::Arc;

use midge_codec::{Connect, Decoded, Packet, ProtocolVersion, decode};
use midge_core::{
    AuthAnswer, AuthRequest, ClientInfo, Close, ConnectionId, Core, CoreConfig, Counters, DropNote,
    DropReason, Durability, DurabilityRules, Effects, Event, Fetch, Limits, LocalDelivery,
    NodeBudget, Opening, Receipt, SharedStrategy, StoreOp, Timestamp, TopicRules, Turn, WorkerId,
};

use crate::client::Socket;
use crate::rules::Rules;
use crate::wandering::Mail;

/// When every node begins.
const START: Timestamp = Timestamp::from_millis(1_000_000);

/// A Network Connection of a scripted Client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Conn(pub(crate) usize);

/// How a node is made.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) workers: usize,
    /// The seed of the random order; `None`: workers take turns, and batches arrive at once.
    pub(crate) shuffle: Option<u64>,
    /// The seed by which Sessions move between workers all the time; `None`: they stay.
    pub(crate) wanders: Option<u64>,
    /// Whether scenarios must not move Sessions: there are very many things, or the workers count.
    pub(crate) stays: bool,
    pub(crate) limits: Limits,
    pub(crate) topics: TopicRules,
    pub(crate) strategy: SharedStrategy,
    pub(crate) shared_backlog: bool,
    pub(crate) response_prefix: Option<&'static str>,
    /// Whether there is a store; see [`Node::hold_receipts`].
    pub(crate) has_store: bool,
}

pub(crate) type Authenticate = Box<dyn FnMut(&AuthRequest) -> Option<AuthAnswer>>;

pub(crate) struct Node {
    pub(crate) cores: Vec<Core>,
    /// The present turn of each worker.
    pub(crate) current: Vec<Turn>,
    /// Batches on their way, by sender and receiver.
    pub(crate) links: Vec<Vec<VecDeque<Mail>>>,
    pub(crate) now: Timestamp,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) by_id: BTreeMap<(usize, ConnectionId), usize>,
    /// The worker of each Client Identifier: the first one goes to the first worker, and so on.
    pub(crate) homes: BTreeMap<String, usize>,
    pub(crate) rules: Arc<Rules>,
    /// Decides on authentication; if it returns `None`, [`Node::answer`] answers later.
    pub(crate) authenticate: Authenticate,
    pub(crate) unanswered: Vec<(usize, AuthRequest)>,
    pub(crate) events: Vec<Event>,
    /// What the log would say about drops.
    pub(crate) drops: Vec<DropNote>,
    /// What the store was asked for; nobody answers.
    pub(crate) fetches: Vec<Fetch>,
    pub(crate) local: Vec<LocalDelivery>,
    pub(crate) local_subscribed: Vec<(ConnectionId, Vec<midge_codec::ReasonCode>)>,
    /// Data streams that ended with an error, and its Reason Code.
    pub(crate) stream_errors: Vec<midge_core::StreamError>,
    /// What the store was told, commit by commit.
    pub(crate) stored: Vec<Vec<StoreOp>>,
    /// The last commit of each worker.
    commits: Vec<u64>,
    holds_receipts: bool,
    has_store: bool,
    random: Option<Random>,
    /// Decides which Sessions move, and when.
    pub(crate) wandering: Option<Random>,
    /// How many Sessions have moved.
    pub(crate) moved: usize,
    /// A hash of all effects so far.
    pub(crate) trace: u64,
    pub(crate) turns: usize,
    /// How many messages workers have sent each other.
    pub(crate) between_workers: usize,
    /// Whether timers run only when there is nothing else to do, as if workers were too busy.
    pub(crate) has_late_timers: bool,
    /// Workers that do nothing; nobody has noticed that yet.
    frozen: BTreeSet<usize>,
}

/// Where all Clients are.
pub(crate) const ADDRESS: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));

/// SplitMix64: the tests' own source of choices.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            workers: 1,
            shuffle: None,
            wanders: None,
            stays: false,
            limits: Limits::default(),
            topics: TopicRules::default(),
            strategy: SharedStrategy::default(),
            shared_backlog: true,
            response_prefix: None,
            has_store: false,
        }
    }
}

/// Runs a scenario with one worker, with three, and with three in several random orders, also while
/// Sessions move.
pub(crate) fn scenario(run: impl Fn(&mut Node)) {
    scenario_with(Setup::default(), run);
}

/// As [`scenario`], with this setup.
#[allow(clippy::needless_pass_by_value)] // reads better where it is called
pub(crate) fn scenario_with(setup: Setup, run: impl Fn(&mut Node)) {
    let orders = [(1, None), (3, None), (3, Some(1)), (3, Some(2)), (3, Some(3)), (3, Some(4))];
    for (workers, shuffle) in orders {
        let told = TellOnPanic(format!("workers {workers}, order seed {shuffle:?}"));
        run(&mut Node::new(&Setup { workers, shuffle, ..setup.clone() }));
        told.well();
    }
    let seeds = 1..=if setup.stays { 0 } else { 4 };
    for seed in seeds {
        let told = TellOnPanic(format!("Sessions that move, seed {seed}"));
        let (shuffle, wanders) = (Some(seed), Some(seed));
        run(&mut Node::new(&Setup { workers: 3, shuffle, wanders, ..setup.clone() }));
        told.well();
    }
}

/// Tells which run it was if a test panics before [`TellOnPanic::well`].
pub(crate) struct TellOnPanic(pub(crate) String);

impl TellOnPanic {
    /// Ends a run that went well: there is nothing to tell.
    pub(crate) fn well(mut self) {
        self.0.clear();
    }
}

impl Drop for TellOnPanic {
    #[allow(clippy::print_stderr)] // the message belongs to the test's output
    fn drop(&mut self) {
        if !self.0.is_empty() {
            eprintln!("failed with {}", self.0);
        }
    }
}

impl Node {
    pub(crate) fn new(setup: &Setup) -> Self {
        let rules = Arc::new(Rules::default());
        let budget = Arc::new(NodeBudget::default());
        let config = |worker| CoreConfig {
            worker: WorkerId::new(worker),
            workers: setup.workers,
            seed: 7,
            secret: [7, worker as u64],
            limits: Arc::new(setup.limits.clone()),
            budget: Arc::clone(&budget),
            policy: Arc::clone(&rules) as _,
            topics: Arc::new(setup.topics.clone()),
            shared_strategy: setup.strategy,
            shared_backlog: setup.shared_backlog,
            response_prefix: setup.response_prefix.map(Into::into),
            tell_drops: true,
            durability: DurabilityRules {
                has_store: setup.has_store,
                default: Durability::Fsync,
                ..DurabilityRules::default()
            },
        };
        let link = || (0..setup.workers).map(|_| VecDeque::new()).collect();
        Self {
            cores: (0..setup.workers).map(|worker| Core::new(config(worker))).collect(),
            current: (0..setup.workers).map(|_| Turn::new(START, setup.workers)).collect(),
            links: (0..setup.workers).map(|_| link()).collect(),
            now: START,
            sockets: Vec::new(),
            by_id: BTreeMap::new(),
            homes: BTreeMap::new(),
            rules: Arc::clone(&rules),
            authenticate: Box::new(|request| {
                let user_name = request.user_name.clone();
                Some(AuthAnswer::allow(user_name))
            }),
            unanswered: Vec::new(),
            events: Vec::new(),
            drops: Vec::new(),
            fetches: Vec::new(),
            local: Vec::new(),
            local_subscribed: Vec::new(),
            stream_errors: Vec::new(),
            stored: Vec::new(),
            commits: vec![0; setup.workers],
            holds_receipts: false,
            has_store: setup.has_store,
            random: setup.shuffle.map(Random),
            wandering: setup.wanders.map(Random),
            moved: 0,
            trace: 0,
            turns: 0,
            between_workers: 0,
            has_late_timers: false,
            frozen: BTreeSet::new(),
        }
    }

    /// Returns the worker to which all connections of this Client Identifier go.
    pub(crate) fn home(&mut self, client_id: &str) -> usize {
        let next = self.homes.len() % self.cores.len();
        *self.homes.entry(client_id.to_string()).or_insert(next)
    }

    /// Opens a Network Connection to a worker and sends nothing.
    pub(crate) fn open(&mut self, worker: usize) -> Conn {
        self.open_with(worker, Opening::default())
    }

    /// Opens a Network Connection about which the driver has something to say.
    pub(crate) fn open_with(&mut self, worker: usize, opening: Opening) -> Conn {
        let id = self.cores[worker].open_connection(opening, self.now);
        let index = self.sockets.len();
        self.by_id.insert((worker, id), index);
        self.sockets.push(Socket::new(worker, id));
        Conn(index)
    }

    /// Opens a data stream beside a connection.
    pub(crate) fn open_data_stream(&mut self, control: Conn) -> Conn {
        let Socket { worker, id, .. } = self.sockets[control.0];
        let id = self.cores[worker].open_data_stream(id, self.now).expect("it is connected");
        let index = self.sockets.len();
        self.by_id.insert((worker, id), index);
        let mut socket = Socket::new(worker, id);
        socket.next_packet_id = index as u16 * 1000;
        self.sockets.push(socket);
        Conn(index)
    }

    /// Opens a Network Connection and queues a CONNECT, which the node has not seen yet.
    pub(crate) fn begin_connect(&mut self, packet: &Connect<'_>) -> Conn {
        self.wait_for_move(packet.client_id);
        let worker = self.home(packet.client_id);
        let conn = self.open(worker);
        self.queue(conn, &Packet::Connect(Box::new(packet.clone())));
        conn
    }

    /// Queues a packet; [`Node::settle`] lets the node read it.
    pub(crate) fn queue(&mut self, conn: Conn, packet: &Packet<'_>) {
        let socket = &mut self.sockets[conn.0];
        if let Packet::Connect(connect) = packet {
            socket.version = connect.version;
        }
        packet.encode(socket.version, &mut socket.to_broker).expect("tests send valid packets");
    }

    /// Queues bytes.
    pub(crate) fn queue_bytes(&mut self, conn: Conn, bytes: &[u8]) {
        self.sockets[conn.0].to_broker.extend_from_slice(bytes);
    }

    /// Breaks the Network Connection without a DISCONNECT. What the node had not read is lost.
    pub(crate) fn break_connection(&mut self, conn: Conn) {
        let socket = &mut self.sockets[conn.0];
        if std::mem::replace(&mut socket.is_closed, true) {
            return;
        }
        let (worker, id) = (socket.worker, socket.id);
        if socket.is_moving {
            return; // its next worker finds that
        }
        let turn = &mut self.current[worker];
        self.cores[worker].handle_closed(id, turn);
        self.by_id.remove(&(worker, id));
    }

    /// Answers a pending authentication.
    pub(crate) fn answer(&mut self, (worker, request): &(usize, AuthRequest), answer: AuthAnswer) {
        let turn = &mut self.current[*worker];
        self.cores[*worker].handle_auth_answer(request.connection, answer, ADDRESS, turn);
        self.settle();
    }

    /// Calls a core directly, as an embedding program or the API does.
    pub(crate) fn call<T>(
        &mut self,
        worker: usize,
        call: impl FnOnce(&mut Core, &mut Turn) -> T,
    ) -> T {
        let result = call(&mut self.cores[worker], &mut self.current[worker]);
        self.settle();
        result
    }

    /// Sets the clock of all workers, without handling what becomes due.
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = now;
        self.current.iter_mut().for_each(|turn| turn.now = now);
    }

    /// Lets time pass, and handles everything that becomes due meanwhile.
    pub(crate) fn advance(&mut self, millis: u64) {
        let end = self.now + millis;
        self.settle();
        loop {
            let due = self.cores.iter().filter_map(Core::next_deadline).min();
            self.set_now(due.map_or(end, |at| at.min(end).max(self.now)));
            self.settle();
            if self.now == end && !self.is_timer_due() {
                return;
            }
        }
    }

    /// Runs turns until there is nothing left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200_000 {
            let worker_count = self.cores.len();
            let mut did_something = false;
            for index in 0..worker_count {
                let worker = match &mut self.random {
                    Some(random) => random.below(worker_count),
                    None => index,
                };
                did_something |= self.turn(worker);
            }
            let quiet = !did_something && !self.has_work();
            if quiet {
                return;
            }
        }
        panic!("the node does not come to rest");
    }

    /// Stops a worker: it takes nothing any more and says nothing.
    pub(crate) fn freeze(&mut self, worker: usize) {
        self.frozen.insert(worker);
    }

    /// Tells the others that a worker that does nothing any more is gone, once they have all that
    /// it has sent.
    pub(crate) fn end_worker(&mut self, gone: usize) {
        assert!(self.frozen.contains(&gone), "it goes on");
        self.settle();
        let others = (0..self.cores.len()).filter(|worker| !self.frozen.contains(worker));
        for worker in others.collect::<Vec<_>>() {
            let (core, turn) = (&mut self.cores[worker], &mut self.current[worker]);
            core.handle_peer_gone(WorkerId::new(gone), turn);
        }
        self.settle();
    }

    /// Loses what a worker that does nothing any more was about to send to another one.
    pub(crate) fn lose_unsent(&mut self, frozen: usize, to: usize) {
        assert!(self.frozen.contains(&frozen), "it goes on");
        self.links[frozen][to].clear();
    }

    fn works(&self) -> impl Iterator<Item = usize> {
        (0..self.cores.len()).filter(|worker| !self.frozen.contains(worker))
    }

    /// Runs one turn of one worker; returns false if nothing happened.
    pub(crate) fn turn(&mut self, worker: usize) -> bool {
        if self.frozen.contains(&worker) {
            return false;
        }
        self.turns += 1;
        let mut happened = false;
        if !self.has_late_timers {
            happened = self.is_timer_due();
            self.cores[worker].handle_timers(&mut self.current[worker]);
        }
        for from in 0..self.cores.len() {
            while !self.links[from][worker].is_empty() && self.is_delivered_now() {
                self.take_mail(from, worker);
                happened = true;
            }
        }
        self.cores[worker].begin_packets(&mut self.current[worker]);
        for index in 0..self.sockets.len() {
            if self.sockets[index].worker == worker {
                happened |= self.read(index);
            }
        }
        self.cores[worker].handle_silence(&mut self.current[worker]);
        self.wander(worker);
        self.cores[worker].end_turn(&mut self.current[worker]);
        let left = self.take_left(worker);
        happened |= self.carry_out(worker);
        happened |= self.send_left(worker, left);
        if self.has_late_timers && !happened {
            happened = self.is_timer_due();
            self.cores[worker].handle_timers(&mut self.current[worker]);
            happened |= self.carry_out(worker);
        }
        happened
    }

    fn is_delivered_now(&mut self) -> bool {
        self.random.as_mut().is_none_or(|random| random.below(3) > 0)
    }

    fn is_timer_due(&self) -> bool {
        let deadlines = self.works().filter_map(|worker| self.cores[worker].next_deadline());
        deadlines.min().is_some_and(|at| at <= self.now)
    }

    fn has_work(&self) -> bool {
        let arrives = |to: usize| self.links.iter().any(|links| !links[to].is_empty());
        let mut works = self.works();
        let is_read = |socket: &Socket| !self.frozen.contains(&socket.worker);
        works.any(|worker| {
            arrives(worker) || self.cores[worker].has_work() || !self.current[worker].fx.is_empty()
        }) || self.sockets.iter().any(|socket| is_read(socket) && socket.has_complete_input())
            || self.is_timer_due()
    }

    /// Decodes and hands in what a Client has sent, while the connection is to be read.
    fn read(&mut self, index: usize) -> bool {
        let socket = &mut self.sockets[index];
        let waits = socket.is_closed || socket.is_moving;
        if !socket.is_read || waits || socket.to_broker.is_empty() {
            return false;
        }
        let (worker, id, version) = (socket.worker, socket.id, socket.version);
        let bytes = std::mem::take(&mut socket.to_broker);
        let mut at = 0;
        let is_over = |core: &Core| core.is_turn_over();
        while self.sockets[index].is_read && at < bytes.len() && !is_over(&self.cores[worker]) {
            let turn = &mut self.current[worker];
            at += match decode(&bytes[at..], version, 1 << 20) {
                Ok(Decoded::Packet { packet: Packet::Publish(publish), .. })
                    if !self.cores[worker].takes_publish(id, Some(&publish), turn) =>
                {
                    0
                }
                Ok(Decoded::Packet { packet, length }) => {
                    self.cores[worker].handle_packet(id, &packet, turn);
                    length
                }
                Ok(Decoded::Incomplete { .. }) => break,
                Err(error) => {
                    self.cores[worker].handle_malformed(id, &error, &bytes[at..], turn);
                    bytes.len() - at
                }
            };
            self.heed_reading(worker);
            if self.current[worker].fx.close.iter().any(|close| close.connection == id) {
                at = bytes.len();
            }
        }
        self.sockets[index].to_broker = bytes[at..].to_vec();
        at > 0
    }

    /// Heeds a stop of reading at once, as a driver does: it may have the next packet already.
    fn heed_reading(&mut self, worker: usize) {
        for (id, reading) in self.current[worker].fx.reading.drain(..) {
            if let Some(&index) = self.by_id.get(&(worker, id)) {
                self.sockets[index].is_read = reading;
            }
        }
    }

    /// Carries out the effects of a turn; returns false if there were none.
    fn carry_out(&mut self, worker: usize) -> bool {
        let workers = self.cores.len();
        self.heed_reading(worker);
        let mut fx = std::mem::replace(&mut self.current[worker].fx, Effects::new(workers));
        self.drops.append(&mut fx.drops);
        if fx.is_empty() {
            return false;
        }
        self.note_trace(worker, &fx);
        // Nobody waits for what only has to be in memory, and so the store says nothing.
        let is_awaited = fx.commits.iter().any(|commit| commit.durability > Durability::Memory);
        for commit in fx.commits {
            self.commits[worker] = commit.number;
            self.stored.push(commit.ops);
        }
        if !self.holds_receipts && is_awaited {
            self.give_receipt(worker);
        }
        self.cores[worker].begin_flush(&fx.flush);
        for id in fx.flush {
            self.write(worker, id);
        }
        self.cores[worker].end_flush();
        for Close { connection: id, .. } in fx.close {
            if let Some(index) = self.by_id.remove(&(worker, id)) {
                self.sockets[index].is_closed = true;
                let turn = &mut self.current[worker];
                self.cores[worker].handle_closed(id, turn);
            }
        }
        for (to, batch) in fx.to_workers.iter_mut().enumerate() {
            assert!(batch.is_empty() || to != worker, "a worker sends nothing to itself");
            if !batch.is_empty() {
                self.between_workers += batch.len();
                self.links[worker][to].push_back(Mail::Batch(std::mem::take(batch)));
            }
        }
        for request in fx.authenticate {
            match (self.authenticate)(&request) {
                Some(answer) => {
                    let turn = &mut self.current[worker];
                    let id = request.connection;
                    self.cores[worker].handle_auth_answer(id, answer, ADDRESS, turn);
                }
                None => self.unanswered.push((worker, request)),
            }
        }
        self.fetches.append(&mut fx.fetches);
        self.local.append(&mut fx.local);
        self.local_subscribed.append(&mut fx.local_subscribed);
        self.events.append(&mut fx.events);
        self.stream_errors.append(&mut fx.stream_errors);
        true
    }

    fn note_trace(&mut self, worker: usize, fx: &Effects) {
        let mut text = String::new();
        write!(text, "{worker} {fx:?}").expect("strings take everything");
        let mut hasher = DefaultHasher::new();
        (self.trace, text).hash(&mut hasher);
        self.trace = hasher.finish();
    }

    /// Sets whether the store withholds its receipts. It never answers a fetch.
    pub(crate) fn hold_receipts(&mut self, holds: bool) {
        self.holds_receipts = holds;
        if !holds {
            (0..self.cores.len()).for_each(|worker| self.give_receipt(worker));
            self.settle();
        }
    }

    /// Has the store say to one worker that it has everything of it.
    pub(crate) fn give_receipt_to(&mut self, worker: usize) {
        self.give_receipt(worker);
        self.settle();
    }

    fn give_receipt(&mut self, worker: usize) {
        let number = self.commits[worker];
        let receipt = Receipt { written: number, synced: number };
        self.cores[worker].handle_receipt(receipt, &mut self.current[worker]);
    }

    /// Writes as much to the Client as its socket takes.
    fn write(&mut self, worker: usize, id: ConnectionId) {
        let Some(&index) = self.by_id.get(&(worker, id)) else {
            return;
        };
        let core = &mut self.cores[worker];
        while core.output(id).is_some_and(|output| !output.is_empty()) {
            let socket = &mut self.sockets[index];
            let step = self.random.as_mut().map_or(usize::MAX, |random| 1 + random.below(5000));
            let room = socket.room.min(step);
            if socket.room == 0 {
                break;
            }
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = core.next_slices(id, &mut slices);
            let mut count = 0;
            for slice in &slices[..filled] {
                let taken = slice.len().min(room - count);
                socket.from_broker.extend_from_slice(&slice[..taken]);
                count += taken;
            }
            socket.room -= if socket.room == usize::MAX { 0 } else { count };
            core.handle_written(id, count, &mut self.current[worker]);
        }
        self.sockets[index].receive();
    }

    /// Sets how many more bytes a Client's socket takes; `usize::MAX`: any number.
    pub(crate) fn set_room(&mut self, conn: Conn, bytes: usize) {
        let socket = &mut self.sockets[conn.0];
        socket.room = bytes;
        let (worker, id) = (socket.worker, socket.id);
        self.write(worker, id);
        self.settle();
    }

    /// Returns how many bytes wait in the broker to be written to a Client.
    pub(crate) fn output_bytes(&mut self, conn: Conn) -> usize {
        let (worker, id) = (self.sockets[conn.0].worker, self.sockets[conn.0].id);
        self.cores[worker].output(id).map_or(0, midge_core::Output::pending)
    }

    /// Returns whether there is a store.
    pub(crate) fn has_store(&self) -> bool {
        self.has_store
    }

    /// Returns the sum of the counters of all workers.
    /// All Sessions of all workers.
    pub(crate) fn clients(&self) -> Vec<ClientInfo> {
        (0..self.cores.len()).flat_map(|worker| self.clients_of(worker)).collect()
    }

    /// All Sessions of one worker.
    pub(crate) fn clients_of(&self, worker: usize) -> Vec<ClientInfo> {
        self.cores[worker].clients(0, usize::MAX, u32::MAX).clients
    }

    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.cores.iter().for_each(|core| sum.add(core.counters()));
        sum
    }

    /// Returns how many messages were dropped for this reason, on all workers.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.counters().dropped_for(reason)
    }

    /// Returns all drop reasons that occurred, with their counts, for assertion messages.
    pub(crate) fn all_dropped(&self) -> Vec<(&'static str, u64)> {
        let counters = self.counters();
        let counts = DropReason::ALL.map(|reason| (reason.name(), counters.dropped_for(reason)));
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Returns the number of Sessions, connected or not, on all workers.
    pub(crate) fn sessions(&self) -> usize {
        self.cores.iter().map(|core| core.usage().sessions).sum()
    }

    /// Returns the protocol version of a Client's connection.
    pub(crate) fn version(&self, conn: Conn) -> ProtocolVersion {
        self.sockets[conn.0].version
    }
}
