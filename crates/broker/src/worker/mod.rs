//! A worker: one thread that owns its connections and Sessions and drives one [`Core`].
//!
//! A worker runs in turns. A turn waits until something is ready, takes what has come (letters from
//! other threads, readable sockets, timers), hands it to the core, and at its end carries out what
//! the core decided: one write per connection, one batch per other worker. Work in a turn is
//! bounded; if some is left over, the next turn begins at once.

mod authenticating;
mod carrying_out;
mod closing;
mod connect_lines;
mod departures;
mod event_log;
mod locals;
mod log_limit;
mod moving;
mod packet_log;
mod placing;
mod reading;
mod reservations;
mod residents;
mod sockets;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use midge_core::{ConnectionId, Core, PeerMessage, Timestamp, Tracing, Turn, WorkerId};
use midge_net::{Entrance, Poller, Readiness, Scratch};

use crate::access::AccessControl;
use crate::clock::Clock;
use crate::directory::Directory;
use crate::drop_log::DropLog;
use crate::hook::GuardedHook;
use crate::inbox::{Inbox, Letter, Newcomer};
use crate::memory::unfinished::Unfinished;
use crate::memory::{MemoryGauge, Shortage};
use crate::own_topics::Bell;
use crate::passing_on::PassingOn;
use crate::placement::Placement;
use crate::program::event_hub::EventHub;
use crate::program::guard::{guarded, note_thread};
use crate::program::publish_window::PublishWindow;
use crate::spares::Spares;
use crate::storage::{OnFailure, Order, Orders};
use crate::worker::closing::Closing;
use crate::worker::connect_lines::ConnectLines;
use crate::worker::departures::Departures;
use crate::worker::locals::Locals;
use crate::worker::log_limit::LogLimit;
use crate::worker::moving::Moving;
use crate::worker::placing::Place;
use crate::worker::residents::Residents;
use crate::worker::sockets::Sockets;

/// What the workers of a node share.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) inboxes: Arc<[Arc<Inbox>]>,
    /// Who owns which Session; `None` if there is one worker only.
    pub(crate) directory: Option<Arc<Directory>>,
    pub(crate) hook: Option<Arc<GuardedHook>>,
    /// Decides who comes in, if there are users; otherwise the hook does.
    pub(crate) access: Option<Arc<AccessControl>>,
    /// The way to the store, if there is one.
    pub(crate) orders: Option<Arc<Orders>>,
    /// Rings for the thread that updates the topics below `$SYS`.
    pub(crate) bell: Bell,
    /// To be called when a worker has failed and there is no store.
    pub(crate) on_failure: OnFailure,
    /// Programs that want to know what happens to Clients.
    pub(crate) events: Arc<EventHub>,
    pub(crate) clock: Clock,
    pub(crate) memory: Arc<MemoryGauge>,
    pub(crate) unfinished: Arc<Unfinished>,
    /// What the process publishes and the workers have not answered.
    pub(crate) publish_window: Arc<PublishWindow>,
    pub(crate) ways_in: WaysIn,
}

/// How new connections come.
#[derive(Clone)]
pub(crate) struct WaysIn {
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) passing_on: Arc<PassingOn>,
}

/// What a worker is started with.
pub(crate) struct WorkerParts {
    pub(crate) id: WorkerId,
    pub(crate) core: Core,
    pub(crate) poller: Poller,
    /// The time. A new worker does not ask: [`Worker::run`] is ready for a clock that panics.
    pub(crate) now: Timestamp,
    pub(crate) node: Node,
    pub(crate) output_bytes_max: u32,
    pub(crate) trace_client: Option<Arc<str>>,
    /// Bytes after which a turn reads no further socket.
    pub(crate) turn_bytes_max: usize,
    pub(crate) placement: Placement,
}

/// The state of a running worker.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) core: Core,
    /// The present turn: its time (see [`Worker::note_time`]), and what is to be done at its end.
    pub(crate) turn: Turn,
    pub(crate) poller: Poller,
    pub(crate) sockets: Sockets,
    pub(crate) closing: Closing,
    pub(crate) departures: Departures,
    pub(crate) locals: Locals,
    pub(crate) residents: Residents,
    pub(crate) node: Node,
    /// The buffer that every socket is read into.
    pub(crate) scratch: Box<[u8]>,
    /// Buffers that streams work with.
    pub(crate) stream_scratch: Scratch,
    /// Limits how many log lines strangers can cause.
    pub(crate) log_limit: LogLimit,
    /// Drops that are not logged yet.
    drop_log: DropLog,
    /// Whose packets the log shows at its level `trace`; `tracing` says whose it shows now.
    trace_client: Option<Arc<str>>,
    pub(crate) tracing: Tracing,
    /// Bytes read in this turn.
    pub(crate) turn_bytes: usize,
    /// Reads in this turn that may have been a step of a handshake.
    pub(crate) turn_handshakes: usize,
    /// Connections that may have something to read.
    pub(crate) readable: VecDeque<ConnectionId>,
    /// How many at the front of `readable` are to be read in this turn.
    pub(crate) to_read: usize,
    pub(crate) output_bytes_max: u32,
    pub(crate) stage: Stage,
    /// A stream of an older connection of the same Client that the CONNECT read last has to wait
    /// for.
    pub(crate) comes_behind: Option<ConnectionId>,
    /// Connections that wait for their CONNACKs, and of which something can be read: perhaps the
    /// end.
    pub(crate) maybe_gone: Vec<ConnectionId>,
    /// The room that these are read into, because the other buffer may be in use then.
    pub(crate) maybe_gone_room: Vec<u8>,
    /// CONNECTs that wait.
    pub(crate) connect_lines: ConnectLines,
    /// Listeners at which somebody waits to be accepted.
    pub(crate) callers: Vec<usize>,
    /// Connections that were accepted and are not opened yet.
    pub(crate) newcomers: Vec<Newcomer>,
    /// Connections that came with their CONNECTs from other workers, and were not handled yet.
    pub(crate) opened: Vec<ConnectionId>,
    /// Connections that are to be read again.
    pub(crate) resumed: Vec<ConnectionId>,
    letters: Vec<Letter>,
    /// The lists of the batches that were in them.
    emptied: Spares<PeerMessage>,
    /// Whether this turn has looked at the sockets once more. Doing so consumes the notification of
    /// letters that came after the turn took its own.
    has_looked: bool,
    /// Connections that wait for memory for a large packet, in order.
    pub(crate) waiting_for_room: Vec<ConnectionId>,
    /// When to look again at incomplete packets and at the connections that wait for room.
    pub(crate) unfinished_looked_at: Timestamp,
    /// Bytes after which a turn reads no further socket, because what was read has to be delivered
    /// first.
    pub(crate) turn_bytes_max: usize,
    /// When the worker last noted that it was running.
    watched: Timestamp,
    pub(crate) moving: Moving,
    placement: Placement,
    pub(crate) place: Option<Place>,
}

/// How far the worker is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Running,
    /// The worker reports when nobody is connected any more and it has nothing left to do. It goes
    /// on answering the other workers until it is stopped.
    Draining,
    Ended,
}

impl Drop for Worker {
    /// Makes sure that nobody waits for a worker that has ended, in whatever way.
    fn drop(&mut self) {
        self.locals.close_all();
        self.residents.close_all();
        let unsent = self.turn.fx.to_workers.iter().flatten();
        let unsent = unsent.filter(|message| message.is_message()).count() as u64;
        let inbox = &self.node.inboxes[self.id.index()];
        let unread = inbox.close();
        if !std::thread::panicking() {
            self.core.drop_volatile(unsent + unread, &mut self.turn);
        }
        self.drop_log.take(&mut self.turn.fx.drops, self.turn.now);
        self.drop_log.tell();
        inbox.leave_counters(self.core.counters());
        if self.stage != Stage::Ended {
            self.others().for_each(|inbox| inbox.send(Letter::PeerGone(self.id)));
            self.end_node("a worker has ended");
        }
    }
}

impl Worker {
    /// The most bytes read from one socket at a time.
    pub(crate) const SCRATCH_BYTES: usize = 256 * 1024;
    /// How many places for Sessions are looked at for one page of a list.
    const LISTED_PLACES_MAX: u32 = 4_096;
    /// How long to wait for another worker that is far behind.
    const CONGESTION_PAUSE: Duration = Duration::from_millis(1);
    /// How long to wait before looking again for memory for a large packet.
    const ROOM_PAUSE: Duration = Duration::from_millis(20);
    /// How long CONNECTs wait before the worker looks again at old connections that it could not
    /// read.
    pub(crate) const HELD_CONNECTS_PAUSE: Duration = Duration::from_millis(1);
    /// How long requests about Clients that move wait before they are looked at again.
    const FOLLOWERS_PAUSE: Duration = Duration::from_millis(2);
    /// A thread that is this late counts as stopped, since its peers cannot tell the difference.
    const ABSENCE_MS_MIN: u64 = 500;

    pub(crate) fn new(parts: WorkerParts) -> Self {
        Self {
            id: parts.id,
            core: parts.core,
            turn: Turn::new(parts.now, parts.node.inboxes.len()),
            poller: parts.poller,
            node: parts.node,
            sockets: Sockets::default(),
            closing: Closing::default(),
            departures: Departures::default(),
            locals: Locals::default(),
            residents: Residents::default(),
            scratch: vec![0; Self::SCRATCH_BYTES].into_boxed_slice(),
            stream_scratch: Scratch::new(),
            log_limit: LogLimit::default(),
            drop_log: DropLog::default(),
            trace_client: parts.trace_client,
            tracing: Tracing::Off,
            turn_bytes: 0,
            turn_handshakes: 0,
            readable: VecDeque::new(),
            to_read: 0,
            connect_lines: ConnectLines::default(),
            comes_behind: None,
            maybe_gone: Vec::new(),
            maybe_gone_room: Vec::new(),
            output_bytes_max: parts.output_bytes_max,
            stage: Stage::Running,
            callers: Vec::new(),
            newcomers: Vec::new(),
            opened: Vec::new(),
            resumed: Vec::new(),
            letters: Vec::new(),
            emptied: Spares::default(),
            has_looked: false,
            waiting_for_room: Vec::new(),
            unfinished_looked_at: Timestamp::default(),
            turn_bytes_max: parts.turn_bytes_max,
            watched: parts.now,
            moving: Moving::default(),
            placement: parts.placement,
            place: None,
        }
    }

    /// Runs until it is told to end.
    pub(crate) fn run(mut self) {
        note_thread();
        self.place = Place::of_this_thread(self.placement, self.node.inboxes.len());
        while self.stage != Stage::Ended {
            let timeout = self.timeout();
            self.note_absence(self.node.clock.now(), Duration::ZERO);
            self.note_sleep();
            if let Err(error) = self.poller.wait(timeout) {
                log::error!("worker {}: waiting for sockets failed: {error}", self.id.index());
                return;
            }
            self.note_wake();
            self.note_time();
            self.note_absence(self.turn.now, timeout.unwrap_or(Duration::MAX));
            self.turn();
        }
        // The last turn may have left something to be kept.
        self.core.end_turn(&mut self.turn);
        self.send_to_store();
    }

    /// Ends the whole node, because other workers may wait for answers of this one. If there is a
    /// store, that is the one to end it.
    fn end_node(&self, reason: &'static str) {
        if let Some(orders) = &self.node.orders {
            return orders.send([Order::Fail(reason)]);
        }
        log::error!("the broker ends: {reason}");
        self.node.inboxes.iter().for_each(|inbox| inbox.send(Letter::Stop));
        guarded("what is told of a failure", || (self.node.on_failure)(reason));
    }

    /// Sets the time of the turn to the present. Called whenever something was taken in, because a
    /// turn can take long: a delay, for example, begins no earlier than its message has come.
    pub(crate) fn note_time(&mut self) {
        self.turn.now = self.node.clock.now();
    }

    fn turn(&mut self) {
        self.has_looked = false;
        // Overdue timers run before anything that has come meanwhile.
        self.core.handle_timers(&mut self.turn);
        self.begin_reading();
        self.take_readiness();
        // Before letters say that CONNACKs may leave.
        self.end_those_that_have_gone();
        self.take_letters();
        self.accept_callers();
        // A letter may change whose packets are to be traced.
        self.note_log_level();
        self.put_new_behind_old();
        self.core.begin_packets(&mut self.turn);
        self.publish_waiting();
        // What the program publishes takes nothing from the Clients' share.
        self.core.begin_share();
        // For connections that are read again, the bytes that were read before come first.
        self.note_reading();
        self.resume_connections();
        self.read_sockets();
        self.judge_silence();
        self.look_at_load();
        self.core.end_turn(&mut self.turn);
        self.take_evicted();
        self.end_departing();
        self.end_overdue();
        self.look_at_unfinished();
        self.carry_out();
        self.log_sent();
        self.look_at_memory();
        self.drop_log.take(&mut self.turn.fx.drops, self.turn.now);
        self.drop_log.look(self.turn.now);
        self.node.inboxes[self.id.index()].set_congested(self.core.is_congested());
        let is_drained = self.stage == Stage::Draining
            && self.sockets.is_empty()
            && self.closing.is_done()
            && !self.locals.has_waiting()
            && !self.core.has_unfinished();
        self.node.inboxes[self.id.index()].set_drained(is_drained);
    }

    /// Judges which Clients are silent, after reading everything that has come by now: the last
    /// look may be long ago if the process stood still.
    fn judge_silence(&mut self) {
        if self.core.may_be_silent(self.turn.now) {
            self.look_again();
            let sockets = &self.sockets;
            let waits = |id| sockets.has_unread(id);
            self.core.handle_silence_heeding(&waits, &mut self.turn);
        }
    }

    fn look_again(&mut self) {
        self.look();
        self.read_sockets();
    }

    pub(crate) fn look(&mut self) {
        self.has_looked = true;
        // One look finds a bounded number of sockets, and listeners are among them.
        for _ in 0..=self.sockets.len() / Poller::EVENTS + 1 {
            if let Err(error) = self.poller.wait(Some(Duration::ZERO)) {
                log::error!("worker {}: looking at sockets failed: {error}", self.id.index());
                break;
            }
            self.take_readiness();
            if !self.poller.may_have_more() {
                break;
            }
        }
    }

    /// Tells the core if this thread did not run for a while, although it was to go on after
    /// `waited` at the latest. Nobody knows when it was stopped, so all of that time counts as
    /// absence.
    fn note_absence(&mut self, now: Timestamp, waited: Duration) {
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        if now - (self.watched + waited_ms) >= Self::ABSENCE_MS_MIN {
            self.core.note_absence(self.watched, now);
        }
        self.watched = now;
    }

    /// Returns how long the next wait may last: zero while work is left over, `None` for no limit.
    fn timeout(&self) -> Option<Duration> {
        let has_letters = self.has_looked && self.node.inboxes[self.id.index()].has_letters();
        let is_behind = self.core.has_work() || !self.departures.is_empty();
        let is_to_go_on = is_behind || !self.callers.is_empty();
        if has_letters || is_to_go_on || !self.turn.fx.is_empty() {
            return Some(Duration::ZERO);
        }
        if !self.readable.is_empty() || self.locals.has_waiting() {
            // Some of them are held back, and others wait behind those that are.
            let waits = self.is_overfull() || self.core.holds_publishers_back();
            return Some(if waits { Self::CONGESTION_PAUSE } else { Duration::ZERO });
        }
        // No notification comes when there is room elsewhere.
        let pause = self.core.waits_for_driver().then_some(Self::CONGESTION_PAUSE);
        let room = (!self.waiting_for_room.is_empty()).then_some(Self::ROOM_PAUSE);
        let held = self.connect_lines.has_held().then_some(Self::HELD_CONNECTS_PAUSE);
        let deadline = [self.core.next_deadline(), self.drop_log.next_look()];
        let deadline = deadline.into_iter().flatten().min().map(|deadline| {
            // One millisecond more: the clock has only milliseconds and may still be just before
            // the deadline.
            Duration::from_millis((deadline - self.node.clock.now()).saturating_add(1))
        });
        let closing = self.closing.next_look(self.stage);
        let load = self.until_next_look();
        let followers = self.moving.has_followers().then_some(Self::FOLLOWERS_PAUSE);
        [closing, deadline, pause, room, held, load, followers].into_iter().flatten().min()
    }

    /// Notes whether packets are to be traced: they are while the log is at its last level, which
    /// may change at any time.
    fn note_log_level(&mut self) {
        let traces = log::max_level() == log::LevelFilter::Trace;
        if traces != (self.tracing != Tracing::Off) {
            self.set_tracing(traces);
        }
    }

    fn set_tracing(&mut self, traces: bool) {
        self.tracing = match &self.trace_client {
            _ if !traces => Tracing::Off,
            Some(client_id) => Tracing::Of(Arc::clone(client_id)),
            None => Tracing::All,
        };
        self.core.set_tracing(self.tracing.clone());
    }

    fn take_readiness(&mut self) {
        for readiness in self.poller.ready() {
            let Readiness { number, readable, ends, writable } = readiness;
            let Some(socket) = self.sockets.get(number) else {
                let caller = readiness.listener().filter(|it| !self.callers.contains(it));
                self.callers.extend(caller);
                continue;
            };
            if readable {
                socket.is_readable = true;
                socket.is_drained = false;
                socket.ends |= ends;
                if socket.is_choked {
                    self.core.note_sign_of_life(socket.id, self.turn.now);
                }
                if socket.is_reading && socket.goes_on_list() {
                    self.readable.push_back(socket.id);
                } else if !socket.is_reading && self.core.awaits_connack(socket.id) {
                    self.maybe_gone.push(socket.id);
                }
            }
            let has_output = self.core.output(socket.id).is_some_and(|output| !output.is_empty());
            if writable && (has_output || socket.stream.wants_write()) {
                self.turn.fx.flush.push(socket.id);
            }
        }
    }

    fn take_letters(&mut self) {
        let mut letters = std::mem::take(&mut self.letters);
        self.node.inboxes[self.id.index()].take(&mut letters, &mut self.emptied);
        self.note_time();
        for letter in self.moving.take_followers().into_iter().chain(letters.drain(..)) {
            self.handle_letter(letter);
        }
        self.letters = letters;
    }

    fn handle_letter(&mut self, letter: Letter) {
        if let Some(letter) = self.follow(letter) {
            self.handle_now(letter);
        }
    }

    fn handle_now(&mut self, letter: Letter) {
        match letter {
            Letter::Batch { from, mut messages } => {
                self.core.handle_batch(from, messages.drain(..), &mut self.turn);
                self.emptied.put(messages);
            }
            Letter::Accepted(newcomer) => self.open_accepted(newcomer),
            Letter::HandedOver { stream, terms, opened, bytes } => {
                self.open_handed_over(stream, terms, opened, bytes);
            }
            Letter::Moved { session, socket } => self.adopt(*session, socket),
            Letter::CallOffMove { client_id } => {
                self.core.call_off_move(&client_id, &mut self.turn);
            }
            Letter::Move { client_id, to, answer } => {
                answer.send(self.begin_move(&client_id, to));
            }
            Letter::Authenticated { connection, answer, kept } => {
                if let Some(socket) = self.sockets.of(connection) {
                    socket.authentication = kept.map(Box::new);
                }
                self.handle_answer(connection, answer, &[]);
            }
            Letter::Publish(message) => self.locals.note_publish(message),
            Letter::Subscribe(subscribe) => self.subscribe_local(*subscribe),
            Letter::Unsubscribe { connection } => {
                self.locals.remove(connection);
                self.core.handle_closed(connection, &mut self.turn);
            }
            Letter::OpenSession(request) => self.open_session(request),
            Letter::Session(act) => self.act_for_program(act),
            Letter::Disconnect { client_id, reason_code, answer } => {
                let turn = &mut self.turn;
                answer.send(self.core.disconnect_client(&client_id, reason_code, turn));
            }
            Letter::Clients { from, most, answer } => {
                answer.send(self.core.clients(from, most, Self::LISTED_PLACES_MAX));
            }
            Letter::Client { client_id, answer } => {
                answer.send(self.core.client(&client_id, self.turn.now));
            }
            Letter::Figures(answer) => {
                answer.send((self.core.counters().clone(), self.core.usage()));
            }
            Letter::OwnTopics(topics) => {
                let topics = topics.iter().map(|(topic, text)| (topic.as_str(), text.as_str()));
                self.core.set_own_topics(topics, &mut self.turn);
            }
            Letter::Shortage(shortage) => self.handle_shortage(shortage),
            Letter::Look => (),
            Letter::Receipt(receipt) => self.core.handle_receipt(receipt, &mut self.turn),
            Letter::Fetched(fetched) => self.core.handle_fetched(*fetched, &mut self.turn),
            Letter::StoreFull(is_full) => {
                self.core.set_store_full(is_full, &mut self.turn);
            }
            Letter::Reconfigure(settings) => {
                self.output_bytes_max = self.core.reconfigure(&settings).output_bytes_max;
            }
            Letter::Trace(client_id) => {
                self.trace_client = client_id;
                self.set_tracing(self.tracing != Tracing::Off);
            }
            Letter::EndListener(listener) => self.departures.begin(listener),
            Letter::Wake => (),
            Letter::PolicyChanged => self.core.handle_policy_changed(),
            Letter::PeerGone(worker) => self.core.handle_peer_gone(worker, &mut self.turn),
            Letter::Drain => self.begin_drain(),
            Letter::Stop => self.stage = Stage::Ended,
        }
    }

    fn begin_drain(&mut self) {
        self.core.begin_drain(&mut self.turn);
        self.stage = Stage::Draining;
    }

    /// Looks at the memory of the process, if it is time, and tells all workers of a shortage.
    fn look_at_memory(&self) {
        if let Some(shortage) = self.node.memory.look() {
            self.node.inboxes.iter().for_each(|inbox| inbox.send(Letter::Shortage(shortage)));
        }
    }

    /// Does what a shortage asks for, and then notes how much this worker holds.
    fn handle_shortage(&mut self, shortage: Shortage) {
        let Shortage { pressure, shed_bytes, round } = shortage;
        self.core.set_memory_pressure(pressure, &mut self.turn);
        if shed_bytes > 0 {
            let share = self.node.memory.share_of(shed_bytes, self.held_bytes());
            let (sockets, now) = (&self.sockets, self.turn.now);
            let unfinished = |id| sockets.offence(id, now);
            let share = usize::try_from(share).unwrap_or(usize::MAX);
            self.core.shed(share, &unfinished, &mut self.turn);
        }
        self.node.memory.note_held(self.id, self.held_bytes(), round);
        self.node.memory.give_back();
    }

    /// Returns about how many bytes this worker holds, including what waits for it. The first
    /// worker also counts what waits for the store, and what the process publishes.
    fn held_bytes(&self) -> u64 {
        let inbox = self.node.inboxes[self.id.index()].pending_bytes();
        let orders = self.node.orders.as_ref().filter(|_| self.id.index() == 0);
        let orders = orders.map_or(0, |orders| orders.pending_bytes());
        let published = if self.id.index() == 0 { self.node.publish_window.bytes() } else { 0 };
        let all = [inbox, orders, published].into_iter();
        let all = all.fold(self.core.held_bytes(), usize::saturating_add);
        u64::try_from(all).unwrap_or(u64::MAX).saturating_add(self.unfinished_bytes())
    }

    /// Returns whether publishers must not be read, because their messages could not be passed on.
    pub(crate) fn is_congested(&self) -> bool {
        let store_is_behind = self.node.orders.as_ref().is_some_and(|orders| orders.is_full());
        store_is_behind || self.others().any(Inbox::is_full)
    }

    /// Returns whether no connection may be read, because Clients that publish nothing have brought
    /// too much, too.
    pub(crate) fn is_overfull(&self) -> bool {
        let store_is_behind = self.node.orders.as_ref().is_some_and(|orders| orders.is_overfull());
        store_is_behind || self.others().any(Inbox::is_overfull)
    }

    fn others(&self) -> impl Iterator<Item = &Inbox> {
        let others = self.node.inboxes.iter().enumerate();
        let own = self.id.index();
        others.filter(move |(index, _)| *index != own).map(|(_, inbox)| &**inbox)
    }

    /// Counts a connection as ended.
    pub(crate) fn count_closed(&self, is_turned_away: bool) {
        let inbox = &self.node.inboxes[self.id.index()];
        inbox.connections.fetch_sub(1, Ordering::Relaxed);
        let count = if is_turned_away { &inbox.turned_away } else { &*inbox.let_in };
        count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a connection as handed over to another worker. For the node as a whole nothing
    /// changes.
    pub(crate) fn count_handed_over(&self, to: WorkerId) {
        // Before the connection is sent: the new worker may have closed it by the time this code
        // goes on.
        self.node.inboxes[to.index()].connections.fetch_add(1, Ordering::Relaxed);
        self.node.inboxes[self.id.index()].connections.fetch_sub(1, Ordering::Relaxed);
    }
}
