//! One worker's brain: what it owns, and the entry points for everything that comes in.
//!
//! Nothing here performs I/O or looks at a clock. Every entry point takes the turn and adds to its
//! effects; the same inputs give the same effects, bit for bit.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::sync::Arc;

use midge_codec::{DecodeError, Disconnect, Packet, PacketType, ProtocolVersion, ReasonCode};

use crate::base::counters::Counters;
use crate::base::identity::{BROKER_CLIENT_ID, ConnectionId, Identity};
use crate::base::random::{Random, Unguessable};
use crate::base::time::Timestamp;
use crate::base::timers::Timer;
use crate::boundary::effects::{Close, DisconnectReason, StreamError};
use crate::boundary::packet_lines::Tracing;
use crate::boundary::store_records::RecoveredSession;
use crate::boundary::turn::Turn;
use crate::clients::crossings::PostponedEnd;
use crate::clients::writing::want_flush;
use crate::config::CoreConfig;
use crate::connection::output::Output;
use crate::connection::{Connection, Offer, Offers, Opening, Phase, Told};
use crate::conversation::silence::Absence;
use crate::ground::Ground;
use crate::moving::Moves;
use crate::receive::carrier::Carrier;
use crate::remains::Remains;
use crate::retained::Retained;
use crate::revoking::Revoking;
use crate::route::Router;
use crate::route::put_off::PutOff;
use crate::shared::Shared;
use crate::storage::releasing::Releases;
use crate::subscribe::{Subscriptions, Unanswerable};
use crate::waiting::rounds::Postponed;

/// The brain of one worker.
pub struct Core {
    pub(crate) ground: Ground,
    pub(crate) router: Router,
    pub(crate) subscriptions: Subscriptions,
    /// Whether more is due than a turn had time for.
    pub(crate) is_late: bool,
    /// Gives the Client Identifiers that are assigned.
    pub(crate) unguessable: Unguessable,
    /// Room in which the properties of a PUBLISH are encoded.
    pub(crate) properties: Vec<u8>,
    /// Who publishes the broker's own messages.
    pub(crate) broker: Arc<Identity>,
    /// The last period in which the process did not run.
    pub(crate) absence: Option<Absence>,
    /// Whether no new Clients are admitted, because the broker shuts down.
    pub(crate) draining: bool,
    /// Connections whose PUBLISH was not acknowledged because the store is full.
    pub(crate) unanswered: BTreeSet<ConnectionId>,
    pub(crate) releases: Releases,
    /// What is to be judged anew.
    pub(crate) revoking: Revoking,
    pub(crate) remains: Remains,
    /// Recovered Sessions whose Clients have newer ones.
    pub(crate) superseded: Vec<RecoveredSession>,
    pub(crate) offers: Offers,
    /// Sessions that are to go to other workers.
    pub(crate) moves: Moves,
}

impl Core {
    /// The most timers that take effect in one turn. [`Core::handle_silence`] has as many of its
    /// own.
    pub(crate) const TIMERS_PER_TURN: usize = 1_000;

    /// Makes a worker without Clients.
    pub fn new(config: CoreConfig) -> Self {
        let broker = Arc::new(Identity::new(BROKER_CLIENT_ID.into(), None));
        let mut unguessable = Unguessable::new(config.secret);
        // Random choices can be seen: they must not reveal anything about the seed of the tables.
        let random = Random::new(unguessable.next());
        let CoreConfig { worker, workers, seed, limits, budget, .. } = &config;
        let router = Router::new(
            Shared::new(*worker, *seed, random),
            Retained::new(*seed, *workers, limits, budget),
            PutOff::new(limits, *workers),
        );
        Self {
            subscriptions: Subscriptions::new(*seed),
            router,
            ground: Ground::new(config),
            is_late: false,
            unguessable,
            properties: Vec::new(),
            broker,
            absence: None,
            draining: false,
            unanswered: BTreeSet::new(),
            releases: Releases::default(),
            revoking: Revoking::default(),
            remains: Remains::default(),
            superseded: Vec::new(),
            offers: Offers::default(),
            moves: Moves::default(),
        }
    }

    /// Adds a Network Connection that a peer has opened by way of a listener.
    pub fn open_connection(&mut self, opening: Opening, now: Timestamp) -> ConnectionId {
        let id = self.insert_connection(&opening, now);
        let deadline_ms =
            opening.connect_deadline_ms.unwrap_or(self.ground.config.limits.connect_deadline_ms);
        self.set_connection_timer(id, now + u64::from(deadline_ms));
        id
    }

    /// Adds a connection of which the program itself is the Client. It speaks MQTT like any other,
    /// and its Client Identifier begins with [`PROGRAM_CLIENT_ID_PREFIX`].
    ///
    /// [`PROGRAM_CLIENT_ID_PREFIX`]: crate::PROGRAM_CLIENT_ID_PREFIX
    pub fn open_for_program(&mut self, now: Timestamp) -> ConnectionId {
        let id = self.open_connection(Opening::default(), now);
        if let Some(connection) = self.ground.clients.connection_mut(id) {
            connection.belong_to_program();
        }
        id
    }

    /// Handles one Control Packet from a connection. Packets of a connection that is closing or
    /// gone are ignored.
    pub fn handle_packet(&mut self, id: ConnectionId, packet: &Packet<'_>, turn: &mut Turn) {
        let Some(connection) = self.ground.clients.connection_mut(id) else {
            return;
        };
        connection.hear(turn.now);
        let mut carrier = Carrier::of(connection);
        let (control, session, credential_ends_at) = match *connection.phase() {
            Phase::Connected { session, .. } => (id, session, connection.credential_ends_at()),
            Phase::Stream { control, session } => {
                let Some(heard) = self.hear_of_stream(control, turn.now) else {
                    return;
                };
                carrier.is_unanswered = heard.is_unanswered();
                (control, session, heard.credential_ends_at())
            }
            Phase::AwaitingConnect => return self.handle_first_packet(id, packet, turn),
            Phase::Authenticating(_) | Phase::Accepted(_) => {
                return self.handle_early_packet(id, packet, turn);
            }
            Phase::Closing { .. } => return,
        };
        // Its timer may be late.
        if credential_ends_at.is_some_and(|at| at <= turn.now) {
            return self.handle_credential_end(control, turn);
        }
        self.ground.clients.counters.received(packet.packet_type());
        match packet {
            Packet::Publish(publish) => self.handle_publish(carrier, session, publish, turn),
            packet if id == control => self.handle_session_packet(id, session, packet, turn),
            packet => self.handle_stream_packet(id, session, packet, turn),
        }
    }

    /// Handles the packet that a Network Connection begins with.
    fn handle_first_packet(&mut self, id: ConnectionId, packet: &Packet<'_>, turn: &mut Turn) {
        self.ground.clients.counters.received(packet.packet_type());
        match packet {
            Packet::Connect(connect) => self.handle_connect(id, connect, turn),
            _ => self.violation(id, "the first packet has to be CONNECT [MQTT-3.1.0-1]", turn),
        }
    }

    /// Handles a packet of a connected Client that is not a PUBLISH.
    pub(crate) fn handle_session_packet(
        &mut self,
        id: ConnectionId,
        session: u32,
        packet: &Packet<'_>,
        turn: &mut Turn,
    ) {
        if self.has_too_many_user_properties(packet) {
            let (code, detail) = (ReasonCode::QuotaExceeded, "too many User Properties");
            return self.violate(id, code, detail.to_string(), turn);
        }
        match packet {
            Packet::PubAck(ack) => self.handle_puback(id, session, ack, turn),
            Packet::PubRec(ack) => self.handle_pubrec(id, session, ack, turn),
            Packet::PubRel(ack) => self.handle_pubrel(id, session, ack, turn),
            Packet::PubComp(ack) => self.handle_pubcomp(id, session, ack, turn),
            Packet::Subscribe(subscribe) => {
                let answered = self.subscriptions.handle_subscribe(
                    &mut self.router,
                    &mut self.ground,
                    id,
                    session,
                    subscribe,
                    turn,
                );
                self.end_if_unanswerable(id, answered, turn);
            }
            Packet::Unsubscribe(packet) => {
                let answered = self.subscriptions.handle_unsubscribe(
                    &mut self.router,
                    &mut self.ground,
                    id,
                    session,
                    packet,
                    turn,
                );
                self.end_if_unanswerable(id, answered, turn);
            }
            // [MQTT-3.12.4-1]
            Packet::PingReq => self.ground.clients.send(id, &Packet::PingResp, turn),
            Packet::Disconnect(disconnect) => self.handle_disconnect(id, disconnect, turn),
            Packet::Auth(auth) => self.handle_auth(id, session, auth, turn),
            Packet::Connect(_) => {
                self.violation(id, "a second CONNECT [MQTT-3.1.0-2]", turn);
            }
            other => {
                let detail = format!("{} is sent by Servers only", other.packet_type().name());
                self.violation(id, &detail, turn);
            }
        }
    }

    /// Ends the Network Connection of a SUBSCRIBE or UNSUBSCRIBE that cannot be answered.
    fn end_if_unanswerable(
        &mut self,
        id: ConnectionId,
        answered: Result<(), Unanswerable>,
        turn: &mut Turn,
    ) {
        match answered {
            Ok(()) => (),
            Err(Unanswerable::Violation(code, detail)) => {
                self.violate(id, code, detail.to_string(), turn);
            }
            Err(Unanswerable::TooLarge) => self.close_for_size(id, turn),
            Err(Unanswerable::NoMemory) => self.end_for_memory(id, turn),
        }
    }

    /// Handles input from a connection that is not a valid Control Packet: `input` begins where the
    /// packet would.
    pub fn handle_malformed(
        &mut self,
        id: ConnectionId,
        error: &DecodeError,
        input: &[u8],
        turn: &mut Turn,
    ) {
        let Some(connection) = self.ground.clients.connection(id) else {
            return;
        };
        match *connection.phase() {
            Phase::Closing { .. } => (),
            Phase::AwaitingConnect => self.refuse_malformed_connect(id, error, input, turn),
            _ => self.violate(id, error.rule.reason_code(), error.to_string(), turn),
        }
    }

    /// Handles a connection whose first bytes are of another protocol, as `detail` says. `answer`
    /// is in that protocol, or empty.
    pub fn handle_foreign(
        &mut self,
        id: ConnectionId,
        detail: &str,
        answer: &[u8],
        turn: &mut Turn,
    ) {
        let Some((connection, pool)) = self.ground.clients.connection_and_pool(id) else {
            return;
        };
        if !matches!(connection.phase(), Phase::AwaitingConnect) {
            return;
        }
        connection.output_mut().append(pool, |buffer| buffer.extend_from_slice(answer));
        want_flush(connection, turn);
        self.violate(id, ReasonCode::MalformedPacket, detail.to_string(), turn);
    }

    /// Handles the end of a Network Connection: the peer closed it, it broke, or the driver closed
    /// it because the effects asked for that.
    pub fn handle_closed(&mut self, id: ConnectionId, turn: &mut Turn) {
        let reason = DisconnectReason::ConnectionLost;
        let end = PostponedEnd { reason_code: None, reason, at: turn.now, is_lost: true };
        if self.ground.clients.postpone_end(id, end) {
            return;
        }
        self.detach(id, &DisconnectReason::ConnectionLost, turn);
        self.give_up_output(id, turn);
        let Some(connection) = self.ground.clients.remove_connection(id) else {
            return;
        };
        let is_stream = connection.is_data_stream();
        if connection.is_unanswered() {
            self.unanswered.remove(&id);
        }
        self.cancel_connection_timers(&connection);
        if !is_stream {
            self.ground.clients.counters.connections_closed += 1;
            self.ground.clients.count_connection_off();
        }
    }

    /// Removes a connection that another worker goes on with: there, [`Opening::is_handed_over`]
    /// has to be set.
    pub fn forget_connection(&mut self, id: ConnectionId) {
        if let Some(connection) = self.ground.clients.remove_connection(id) {
            self.cancel_connection_timers(&connection);
            self.ground.clients.count_connection_off();
        }
    }

    /// Cancels the timers of a connection that was taken out.
    fn cancel_connection_timers(&mut self, connection: &Connection) {
        let id = connection.id();
        let timers = [
            (connection.timer_at(), Timer::Connection(id)),
            (connection.credential_ends_at(), Timer::CredentialEnd(id)),
        ];
        for (at, timer) in timers {
            if let Some(at) = at {
                self.ground.timers.cancel(at, timer);
            }
        }
    }

    /// Returns the protocol that a connection speaks, and whether its Client is connected, that is,
    /// whether the CONNACK has left. `None` if the connection is gone or closing.
    pub fn protocol(&self, id: ConnectionId) -> Option<(ProtocolVersion, bool)> {
        let connection = self.ground.clients.connection(id)?;
        let is_open = !connection.is_closing();
        is_open.then_some((connection.version(), connection.session().is_some()))
    }

    /// Whether a connection has not sent any packet yet, so that a CONNECT now is its first one.
    pub fn awaits_connect(&self, id: ConnectionId) -> bool {
        let connection = self.ground.clients.connection(id);
        connection.is_some_and(|it| matches!(it.phase(), Phase::AwaitingConnect))
    }

    /// Whether a CONNECT is accepted and its CONNACK has not left yet. Its Client can still go
    /// without having been there.
    pub fn awaits_connack(&self, id: ConnectionId) -> bool {
        let connection = self.ground.clients.connection(id);
        connection.is_some_and(|it| matches!(it.phase(), Phase::Accepted(_)))
    }

    /// Whether there is a Session with this Client Identifier.
    pub fn has_session(&self, client_id: &str) -> bool {
        self.ground.clients.session_by_client_id(client_id).is_some()
    }

    /// Returns the output that waits to be written to a connection; `None` if it is gone.
    pub fn output(&mut self, id: ConnectionId) -> Option<&Output> {
        self.ground.clients.connection(id).map(Connection::output)
    }

    /// Fills `slices` with what is to be written to a connection next, in order. Returns how many
    /// were filled.
    pub fn next_slices<'a>(&'a self, id: ConnectionId, slices: &mut [IoSlice<'a>]) -> usize {
        let connection = self.ground.clients.connection(id);
        let turn = &self.ground.clients.pool().turn;
        connection.map_or(0, |connection| connection.output().next_slices(turn, slices))
    }

    /// Notes that the driver has written `count` bytes of a connection's output.
    pub fn handle_written(&mut self, id: ConnectionId, count: usize, turn: &mut Turn) {
        let (slot, wakes) = {
            let Some((connection, pool)) = self.ground.clients.connection_and_pool(id) else {
                return;
            };
            connection.output_mut().advance(count, pool);
            let half = self.ground.config.limits.output_bytes_max as usize / 2;
            let wakes = connection.has_found_room(half);
            let session = connection.session();
            self.ground.clients.counters.bytes_sent += count as u64;
            (session, wakes)
        };
        if let (Some(slot), true) = (slot, wakes) {
            self.router.go_on(&mut self.ground, slot, turn);
        }
    }

    /// Notes that the driver takes the list of connections to be written to: from now on they are
    /// put on the next list.
    pub fn begin_flush(&mut self, flush: &[ConnectionId]) {
        self.ground.clients.begin_flush(flush);
    }

    /// Ends the flush: all connections on the list were written to, as far as they have room.
    /// Whatever they still need of the bytes that they share in this turn is copied for them.
    pub fn end_flush(&mut self) {
        self.ground.clients.end_flush();
    }

    /// Returns when [`Core::handle_timers`] or [`Core::handle_silence`] has to be called next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = [self.ground.timers.next_deadline(), self.moves.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Begins the part of a turn that handles packets from sockets. Put-off messages go first: as
    /// long as they wait, everything that comes has to wait behind them.
    pub fn begin_packets(&mut self, turn: &mut Turn) {
        self.router.run_routings(&mut self.ground, turn);
        self.resume_publishers(turn);
        self.begin_share();
    }

    /// Gives the packets that follow a share of the turn to themselves, whatever came before them.
    pub fn begin_share(&mut self) {
        self.router.put_off.begin_share();
        self.ground.work.begin_share();
    }

    /// Does what is due, except for the work of [`Core::handle_silence`]. Called at the beginning
    /// of a turn, so that what is overdue takes effect before what has come meanwhile.
    pub fn handle_timers(&mut self, turn: &mut Turn) {
        self.is_late = false;
        for _ in 0..Self::TIMERS_PER_TURN {
            // Due messages may have many receivers, and cannot be refused.
            if self.router.put_off.is_full() || self.ground.work.is_enough() {
                break;
            }
            let Some(timer) = self.ground.timers.pop_due(turn.now) else {
                return;
            };
            // The next start sets such a timer again.
            if !(self.draining && self.is_of_the_store(&timer)) {
                self.handle_timer(timer, turn);
            }
        }
        self.is_late = true;
    }

    /// Returns whether a timer is for something that the store keeps beyond the end of the broker.
    /// While the broker ends, nothing of that begins: the worker that it would reach may have ended
    /// already, and the store would not learn that it is done.
    fn is_of_the_store(&self, timer: &Timer) -> bool {
        match *timer {
            Timer::SessionExpiry(slot, generation) | Timer::WillDelay(slot, generation) => {
                self.is_session(slot, generation) && self.ground.clients.session(slot).is_stored()
            }
            Timer::Delayed(number) => self.router.delayed.is_stored(number),
            Timer::Connection(_) | Timer::CredentialEnd(_) | Timer::RetainedExpiry(_) => false,
        }
    }

    pub(crate) fn handle_timer(&mut self, timer: Timer, turn: &mut Turn) {
        self.ground.work.add(1);
        match timer {
            Timer::Connection(id) => self.check_silence(id, &|_| false, turn),
            Timer::CredentialEnd(id) => self.handle_credential_end(id, turn),
            Timer::SessionExpiry(slot, generation) => {
                self.handle_session_expiry(slot, generation, turn);
            }
            Timer::WillDelay(slot, generation) => {
                self.handle_will_delay(slot, generation, turn);
            }
            Timer::Delayed(number) => self.router.publish_delayed(&mut self.ground, number, turn),
            Timer::RetainedExpiry(node) => {
                self.router.retained.expire_at(&mut self.ground, node, turn.now);
            }
        }
    }

    /// Whether there is put-off work. If so, the driver must not wait before its next turn.
    pub fn has_work(&self) -> bool {
        !self.router.put_off.is_empty()
            || self.router.retained.has_work()
            || self.subscriptions.slices.has_work()
            || self.router.shared.presences.has_work()
            || self.router.shared.flushes.has_work()
            || self.remains.has_work()
            || self.revoking.has_work()
            || self.releases.has_work()
            || self.may_end_unanswered()
            || self.is_late
            || self.ground.pending.has_work()
            || self.ground.clients.rounds.has_work(self.postponed().1)
            || self.ground.clients.has_unsendable()
            || self.moves.has_work(&self.ground, &self.router)
    }

    /// Whether this worker has anything unfinished: put-off work, or what waits for other workers
    /// before the store can have it.
    pub fn has_unfinished(&self) -> bool {
        self.has_work()
            || self.ground.clients.rounds.is_gathering()
            || self.remains.has_queues()
            || self.is_any_moving()
    }

    /// Ends a turn, once everything that has come is handed in: does a bounded part of the work
    /// that was put off, and then closes the turn's round, so that what it keeps goes to the store.
    pub fn end_turn(&mut self, turn: &mut Turn) {
        // What was put off first goes first: messages that come later wait behind a fan-out.
        self.router.run_routings(&mut self.ground, turn);
        self.resume_publishers(turn);
        // Then whatever changes who gets something: subscriptions, members, ended Sessions.
        self.subscriptions.run_slices(&mut self.router, &mut self.ground, turn);
        self.router.shared.run_presences(&mut self.ground, turn);
        self.remains.run_remains(&mut self.subscriptions, &mut self.router, &mut self.ground, turn);
        self.run_releases(turn);
        self.run_revoking(turn);
        self.end_unanswered(turn);
        // What was kept, and what is retained, goes to those who are left.
        self.router.shared.run_flushes(&mut self.ground, turn);
        self.router.retained.run(&mut self.ground, turn);
        self.subscriptions.take_retained_arrivals(&mut self.router, &mut self.ground, turn);
        // All of the above may have failed to send something.
        self.router.shared.settle_failed(&mut self.ground, turn);
        self.close_unsendable(turn);
        // Sessions leave with everything that was done for them, and before it is committed.
        self.run_moves(turn);
        // A fence covers whatever this turn has told the other workers, so it comes behind all of
        // that; and the round covers whatever this turn keeps, so nothing is kept after its end.
        self.subscriptions.raise_fence(&mut self.router, &mut self.ground, turn);
        let (pushed, done) = self.postponed();
        self.ground.clients.rounds.close_turn(pushed, done, turn);
        self.settle_voided(turn);
        // Without a store, nothing else has to come for what is answered now.
        self.release_answered(turn);
        // What is done from here on belongs to the next turn, which has its whole share again.
        self.router.put_off.begin_turn();
        self.router.retained.renew_beginnings();
        self.ground.work.begin_turn();
    }

    /// What was put off so far, and what of that is done.
    pub(crate) fn postponed(&self) -> (Postponed, Postponed) {
        let put_off = &self.router.put_off;
        let (put_by, arrived) = self.ground.clients.crossings.progress();
        let pushed = Postponed { fan_outs: put_off.pushed(), arrivals: put_by };
        (pushed, Postponed { fan_outs: put_off.done(), arrivals: arrived })
    }

    /// Whether this turn has done enough. If so, the driver must not hand in another packet before
    /// the next call of [`Core::end_turn`].
    pub fn is_turn_over(&self) -> bool {
        self.ground.work.is_enough() || self.router.put_off.has_put_off_enough()
    }

    /// Returns how many operations this worker has done so far.
    pub fn operations(&self) -> u64 {
        self.ground.work.total()
    }

    /// Returns the counters of this worker.
    pub fn counters(&self) -> &Counters {
        &self.ground.clients.counters
    }

    /// Counts bytes that the driver has read from sockets.
    pub fn count_bytes_received(&mut self, bytes: u64) {
        self.ground.clients.counters.bytes_received += bytes;
    }

    /// Sets whose packets `Effects::traced` reports from now on as they leave.
    pub fn set_tracing(&mut self, tracing: Tracing) {
        self.ground.clients.set_tracing(tracing);
    }

    /// Returns the Client that is connected by this connection.
    pub fn client_of(&self, id: ConnectionId) -> Option<&Arc<Identity>> {
        self.ground.clients.client_of(id)
    }

    pub(crate) fn insert_connection(&mut self, opening: &Opening, now: Timestamp) -> ConnectionId {
        let id = self.ground.clients.next_connection_id();
        let &Opening { listener, capabilities, durability, is_turned_away, .. } = opening;
        let is_new = !opening.is_handed_over;
        let told = Told::new(&self.ground.config.limits);
        let offer = self.offers.share(Offer { listener, capabilities, durability, told });
        let mut connection = Connection::new(id, offer, now);
        if is_turned_away {
            connection.turn_away();
        }
        self.ground.clients.add_connection(connection);
        self.ground.clients.count_connection_in();
        self.ground.clients.counters.connections_opened += u64::from(is_new);
        id
    }

    pub(crate) fn set_connection_timer(&mut self, id: ConnectionId, at: Timestamp) {
        if let Some(connection) = self.ground.clients.connection_mut(id) {
            if let Some(previous) = connection.note_timer(Some(at)) {
                self.ground.timers.cancel(previous, Timer::Connection(id));
            }
            self.ground.timers.set(at, Timer::Connection(id));
        }
    }

    /// Answers a protocol error with 0x82 and the end of the Network Connection [MQTT-4.13.1-1].
    pub(crate) fn violation(&mut self, id: ConnectionId, detail: &str, turn: &mut Turn) {
        self.violate(id, ReasonCode::ProtocolError, detail.to_string(), turn);
    }

    /// Ends a Network Connection whose peer broke a rule.
    pub(crate) fn violate(
        &mut self,
        id: ConnectionId,
        reason_code: ReasonCode,
        detail: String,
        turn: &mut Turn,
    ) {
        self.ground.clients.counters.protocol_violations += 1;
        let reason = DisconnectReason::ProtocolViolation { reason_code, detail };
        self.close(id, Some(reason_code), &reason, turn);
    }

    /// Ends a Network Connection from this side. The Client is told why if its protocol has a way
    /// (a DISCONNECT of MQTT 5, after CONNACK). The Session ends or lives on, as its expiry says.
    pub(crate) fn close(
        &mut self,
        id: ConnectionId,
        reason_code: Option<ReasonCode>,
        reason: &DisconnectReason,
        turn: &mut Turn,
    ) {
        let Some(connection) = self.ground.clients.connection(id) else {
            return;
        };
        if connection.is_closing() {
            return;
        }
        let reason_kept = reason.clone();
        let end = PostponedEnd { reason_code, reason: reason_kept, at: turn.now, is_lost: false };
        if self.ground.clients.postpone_end(id, end) {
            return;
        }
        let Some(connection) = self.ground.clients.connection(id) else {
            return;
        };
        let is_stream = matches!(connection.phase(), Phase::Stream { .. });
        if let (true, DisconnectReason::ProtocolViolation { reason_code, detail }) =
            (is_stream, reason)
        {
            let (reason_code, detail) = (*reason_code, detail.clone());
            turn.fx.stream_errors.push(StreamError { stream: id, reason_code, detail });
        }
        let told = connection.is_v5() && connection.session().is_some() && !is_stream;
        let explain = connection.wants_problem_information();
        if let (Some(reason_code), true) = (reason_code, told) {
            let text = reason.reason_string().filter(|_| explain);
            let text = text.map(|text| text.chars().take(200).collect::<String>());
            let packet = Disconnect {
                reason_code,
                session_expiry_interval: None,
                reason_string: text.as_deref(),
                user_properties: Default::default(),
                server_reference: None,
            };
            self.ground.clients.send(id, &Packet::Disconnect(packet), turn); // [MQTT-3.14.0-1]
        }
        self.detach(id, reason, turn);
        let has_left = matches!(reason, DisconnectReason::ByClient(_));
        turn.fx.close.push(Close { connection: id, has_left });
    }

    /// Ends the connections whose peers do not accept a packet as large as the answer they wait
    /// for.
    fn close_unsendable(&mut self, turn: &mut Turn) {
        for id in self.ground.clients.take_unsendable() {
            self.close_for_size(id, turn);
        }
    }

    /// Ends a Network Connection because the next packet is too large for its peer.
    fn close_for_size(&mut self, id: ConnectionId, turn: &mut Turn) {
        let (id, code) = (self.ground.clients.control_of(id), ReasonCode::PacketTooLarge);
        self.close(id, Some(code), &DisconnectReason::ByServer(code), turn);
    }

    /// Handles a packet that comes before the answer to its CONNECT. The specification allows a
    /// Client to send it, so the driver is told not to read on. What gets here nevertheless, apart
    /// from the steps of an enhanced authentication, ends the connection.
    fn handle_early_packet(&mut self, id: ConnectionId, packet: &Packet<'_>, turn: &mut Turn) {
        match packet {
            Packet::Auth(auth) => self.handle_connect_auth(id, auth, turn),
            Packet::Disconnect(_) => {
                let reason = DisconnectReason::ByClient(ReasonCode::Success);
                self.close(id, None, &reason, turn);
            }
            other if other.packet_type() == PacketType::Connect => {
                self.violation(id, "a second CONNECT [MQTT-3.1.0-2]", turn);
            }
            _ => self.violation(id, "a packet between CONNECT and CONNACK", turn),
        }
    }
}
