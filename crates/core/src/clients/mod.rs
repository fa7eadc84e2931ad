//! The Sessions and Network Connections of one worker, and the only way for a message to reach a
//! Session: [`Clients::deliver`] sends it now or queues it for later.

pub(crate) mod acknowledgements;
pub(crate) mod counting;
pub(crate) mod crossings;
pub(crate) mod drops;
pub(crate) mod expiring;

pub(crate) mod records;
pub(crate) mod streams;
pub(crate) mod subscriptions;
pub(crate) mod tables;
pub(crate) mod tracing;
pub(crate) mod writing;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use hashbrown::HashTable;
use midge_codec::{Packet, PacketIdentifier, PacketType, QoS, ReasonCode};
use slab::Slab;

use crate::base::budget::NodeBudget;
use crate::base::counters::Counters;
use crate::base::delivery::Delivery;
use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::expiring::{WasSent, may_drop};
use crate::base::identifiers::Identifiers;
use crate::base::identity::{ConnectionId, GroupId, SessionId, SessionSlot, WorkerId};
use crate::base::limits::Limits;
use crate::base::message::{Attributes, Publication};
use crate::boundary::effects::LocalDelivery;
use crate::boundary::packet_lines::{PacketLine, Tracing};
use crate::boundary::store_records::{Fetch, Fetched, Owner, StoreOp};
use crate::boundary::turn::Turn;
use crate::clients::crossings::Crossings;
use crate::clients::drops::Party;
use crate::clients::expiring::Sweeps;
use crate::clients::tracing::publish_line;
use crate::clients::writing::want_flush;
use crate::config::CoreConfig;
use crate::connection::Connection;
use crate::connection::layouts::{Form, Layouts};
use crate::connection::output::BufferPool;
use crate::gate::{DeliveryGate, Policy};
use crate::session::Session;
use crate::session::outgoing::{Extent, Outgoing, Stage, Waiting, Way};
use crate::waiting::rounds::{HeldAcknowledgement, Rounds};

pub(crate) struct Clients {
    worker: WorkerId,
    sessions: Slab<Session>,
    connections: Slab<Connection>,
    by_client_id: HashTable<SessionSlot>,
    layouts: Layouts,
    pool: BufferPool,
    pub(crate) counters: Counters,
    /// Whether packets that leave are traced; `tracing` says whose.
    traces: bool,
    tracing: Tracing,
    /// Sessions with a Network Connection, and subscribers inside the process.
    attached: usize,
    /// Network Connections of this worker, whether their Clients are connected or not yet.
    network_connections: usize,
    /// Subscribers inside the process.
    locals: usize,
    /// Sessions that have ended but keep their slots, because the tree still names them.
    over: usize,
    limits: Arc<Limits>,
    pub(crate) budget: Arc<NodeBudget>,
    pub(crate) policy: Arc<dyn Policy>,
    seed: u64,
    tell_drops: bool,
    drop_qos0: bool,
    generation: NonZeroU32,
    /// Shared messages that were not sent after all: the homes of their groups are to be told.
    failed_of_groups: Vec<(SessionId, GroupId)>,
    pub(crate) rounds: Rounds,
    /// Connections that wait for an answer larger than their peers accept.
    unsendable: Vec<ConnectionId>,
    sweeps: Sweeps,
    /// The ticket of the last question to the store.
    last_fetch: u64,
    pub(crate) crossings: Crossings,
    /// What requests up to this ticket say of messages that are not confirmed may be older than
    /// what the store knows.
    doubted_fetch: u64,
}

/// The terms on which a subscription gives a publication to a Session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: &'a [NonZeroU32],
    pub(crate) group: Option<GroupId>,
}

/// A message that is to be sent, and its name in the store, if it is kept there.
struct Outbound {
    delivery: Delivery,
    sequence: Option<NonZeroU64>,
}

impl Clients {
    /// Makes the tables of a worker without Clients.
    pub(crate) fn new(config: &CoreConfig) -> Self {
        Self {
            worker: config.worker,
            sessions: Slab::new(),
            connections: Slab::new(),
            by_client_id: HashTable::new(),
            layouts: Layouts::default(),
            pool: BufferPool::default(),
            counters: Counters::default(),
            traces: false,
            tracing: Tracing::Off,
            attached: 0,
            network_connections: 0,
            locals: 0,
            over: 0,
            limits: Arc::clone(&config.limits),
            budget: Arc::clone(&config.budget),
            policy: Arc::clone(&config.policy),
            seed: config.seed,
            tell_drops: config.tell_drops,
            drop_qos0: false,
            generation: NonZeroU32::MIN,
            failed_of_groups: Vec::new(),
            unsendable: Vec::new(),
            sweeps: Sweeps::default(),
            last_fetch: 0,
            crossings: Crossings::default(),
            doubted_fetch: 0,
            rounds: Rounds::new(config.worker, config.workers, config.durability.has_store),
        }
    }

    pub(crate) fn set_limits(&mut self, limits: Arc<Limits>) {
        self.limits = limits;
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets whether messages of QoS 0 are dropped, because memory is short.
    pub(crate) fn set_drop_qos0(&mut self, drop_qos0: bool) {
        self.drop_qos0 = drop_qos0;
    }

    /// Begins a publication that goes to so many receivers.
    #[inline]
    pub(crate) fn begin_publication(&mut self, receivers: usize) {
        self.layouts.begin(receivers);
    }

    pub(crate) fn has_unsendable(&self) -> bool {
        !self.unsendable.is_empty()
    }

    /// Takes the connections that wait for an answer larger than their peers accept.
    pub(crate) fn take_unsendable(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.unsendable)
    }

    /// Takes the shared messages that were not sent after all.
    pub(crate) fn take_failed_of_groups(&mut self) -> Vec<(SessionId, GroupId)> {
        std::mem::take(&mut self.failed_of_groups)
    }

    /// Sends a Control Packet that is not a PUBLISH. If it is larger than the peer accepts
    /// [MQTT-3.1.2-24], it goes without its Reason String. If it is still too large, the connection
    /// is to be ended: a peer that waits for an answer must not wait for ever. That is the last
    /// resort; a caller whose request has effects checks first whether its answer fits.
    pub(crate) fn send(&mut self, to: ConnectionId, packet: &Packet<'_>, turn: &mut Turn) {
        let Some(connection) = self.connections.get_mut(to.slot()) else {
            return;
        };
        if connection.is_local() || connection.is_closing() {
            return;
        }
        let (version, bytes_max) = (connection.version(), connection.packet_bytes_max());
        let shorter;
        let packet = if packet.fits(version, bytes_max) {
            packet
        } else {
            shorter = packet.without_reason_string();
            if !shorter.fits(version, bytes_max) {
                return self.unsendable.push(to);
            }
            &shorter
        };
        let encoded =
            connection.output_mut().append(&mut self.pool, |buffer| packet.encode(version, buffer));
        debug_assert!(encoded.is_ok(), "it was looked at: {packet:?}");
        self.counters.sent(packet.packet_type());
        want_flush(connection, turn);
        if self.traces {
            self.trace(to, PacketLine::of(packet, packet.encoded_len(version)), turn);
        }
    }

    /// Whether the peer accepts a packet of this size.
    pub(crate) fn accepts(&mut self, to: ConnectionId, packet: &Packet<'_>) -> bool {
        let connection = self.connection(to);
        connection.is_none_or(|peer| packet.fits(peer.version(), peer.packet_bytes_max()))
    }

    /// Returns how much may be in flight to a Client with this Receive Maximum.
    #[inline]
    pub(crate) fn extent(&self, receive_maximum: u16) -> Extent {
        let messages = self.limits.inflight_messages_max.min(receive_maximum);
        Extent { messages, bytes: self.limits.inflight_bytes_max }
    }

    /// Delivers a publication to a single Session; calls `layouts.begin` itself.
    pub(crate) fn deliver_single(
        &mut self,
        slot: SessionSlot,
        publication: &Publication<'_>,
        grant: &Grant<'_>,
        turn: &mut Turn,
    ) -> Result<(), DropReason> {
        self.layouts.begin(1);
        self.deliver(slot, publication, grant, turn)
    }

    /// Delivers a publication to one Session: at once, or into its queue. The caller has called
    /// `layouts.begin` before the first receiver of this publication.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        slot: SessionSlot,
        publication: &Publication<'_>,
        grant: &Grant<'_>,
        turn: &mut Turn,
    ) -> Result<(), DropReason> {
        if self.is_arriving(slot) {
            return self.put_by(slot, publication, grant);
        }
        debug_assert!(!self.sessions[slot as usize].is_over(), "it is nobody's any more");
        let connected = self.sessions[slot as usize].attached();
        let qos = publication.attributes.qos.min(grant.qos);
        if qos == QoS::AtMostOnce {
            let Some(id) = connected else {
                return Err(DropReason::Offline);
            };
            let stream = self.stream_for(id, publication.topic);
            let output = self.connections[stream.slot()].output().pending();
            if output > self.limits.output_bytes_max as usize {
                return Err(DropReason::SlowConsumer);
            }
            if self.drop_qos0 {
                return Err(DropReason::MemoryPressure);
            }
            return self.write(slot, stream, publication, grant, None, turn);
        }
        let mut way = None;
        let mut extent = self.extent(u16::MAX);
        if let Some(id) = connected {
            let stream = self.stream_for(id, publication.topic);
            let has_others = self.has_routes(id);
            let connection = &mut self.connections[stream.slot()];
            extent.messages = extent.messages.min(connection.receive_maximum());
            let has_output = connection.output().pending() <= self.limits.output_bytes_max as usize;
            if !has_output {
                connection.wait_for_output();
            }
            self.sessions[slot as usize].make_outgoing(extent);
            way = Some(Way { stream, has_others, has_output });
        }
        let session = &mut self.sessions[slot as usize];
        if let Some(owner) = session.owner()
            && publication.attributes.durability > Durability::Memory
        {
            return self.deliver_stored(slot, owner, publication, grant, way, turn);
        }
        let is_connected = session.attached().is_some();
        let outgoing = session.make_outgoing(extent);
        if let Some(way) = way.filter(|&way| outgoing.may_send_at_once(None, way)) {
            let outbound =
                Outbound { delivery: delivery_of(publication, grant, qos), sequence: None };
            return self.transmit(slot, way.stream, publication, grant, outbound, turn);
        }
        if outgoing.check_room(publication.size(), &self.limits).is_err() {
            self.make_room(slot, publication.size(), turn)?;
        }
        let outgoing = self.sessions[slot as usize].make_outgoing(extent);
        let delivery = delivery_of(publication, grant, qos);
        let stream = way.map(|way| way.stream.generation);
        let waiting =
            Waiting { delivery, sequence: None, was_sent: WasSent::No, hold: None, stream };
        outgoing.enqueue(waiting, is_connected);
        Ok(())
    }

    /// Delivers a QoS 1 or 2 publication to a Session that is in the store: keeps it there, and
    /// sends it at once if possible.
    fn deliver_stored(
        &mut self,
        slot: SessionSlot,
        owner: Owner,
        publication: &Publication<'_>,
        grant: &Grant<'_>,
        way: Option<Way>,
        turn: &mut Turn,
    ) -> Result<(), DropReason> {
        let id = self.session_id(slot);
        let extent = self.extent(u16::MAX);
        let session = &mut self.sessions[slot as usize];
        let is_connected = session.attached().is_some();
        if session.make_outgoing(extent).check_room(publication.size(), &self.limits).is_err() {
            self.make_room(slot, publication.size(), turn)?;
        }
        let outgoing = self.sessions[slot as usize].make_outgoing(extent);
        let Attributes { qos, durability, .. } = publication.attributes;
        let qos = qos.min(grant.qos);
        let sequence = outgoing.next_sequence();
        let delivery = delivery_of(publication, grant, qos);
        self.rounds.keep_message(owner, sequence.get(), &delivery);
        let exactly_once = qos == QoS::ExactlyOnce;
        let hold = exactly_once.then(|| self.rounds.hold_back(id, durability));
        let mut sent = Ok(());
        match way.filter(|&way| !exactly_once && outgoing.may_send_at_once(Some(sequence), way)) {
            Some(Way { stream, .. }) => {
                let outbound = Outbound { delivery, sequence: Some(sequence) };
                sent = self.transmit(slot, stream, publication, grant, outbound, turn);
                if sent.is_err() {
                    let sequence = sequence.get();
                    self.rounds.keep(StoreOp::Finished { owner, sequence });
                }
            }
            None => {
                let stream = way.map(|way| way.stream.generation);
                let (sequence, was_sent) = (Some(sequence), WasSent::No);
                let waiting = Waiting { delivery, sequence, was_sent, hold, stream };
                outgoing.enqueue(waiting, is_connected);
            }
        }
        self.look_ahead(slot);
        sent
    }

    /// Sends a Session what its window and its connection's output have room for: first what has to
    /// be sent again, then messages from its queue.
    pub(crate) fn pump(&mut self, slot: SessionSlot, turn: &mut Turn) {
        if self.is_switching(slot) {
            return; // Its next worker goes on.
        }
        if let Some(id) = self.sessions[slot as usize].attached() {
            self.retransmit(slot, id, turn);
        }
        while let Some((waiting, stream)) = self.next_from_queue(slot) {
            self.send_waiting(slot, stream, waiting, turn);
        }
        self.look_ahead(slot);
        self.fetch_more(slot, turn);
    }

    fn send_waiting(
        &mut self,
        slot: SessionSlot,
        id: ConnectionId,
        waiting: Waiting,
        turn: &mut Turn,
    ) {
        let Waiting { delivery, sequence, was_sent, .. } = waiting;
        let copy = delivery.clone();
        let (publication, grant) = (Publication::of(&copy.message), grant_of(&copy));
        self.layouts.begin(1);
        let sent = if was_sent.may_be() && !self.connections[id.slot()].is_local() {
            let outgoing = self.sessions[slot as usize].outgoing_mut();
            let packet_id = outgoing.map(|outgoing| outgoing.begin(delivery, sequence, id));
            let form = packet_id.map(|packet_id| (packet_id, was_sent));
            let sent = self.write(slot, id, &publication, &grant, form, turn);
            if let (Err(reason), Some(packet_id), QoS::ExactlyOnce) = (sent, packet_id, copy.qos) {
                // The Client may already know the message: its Packet Identifier is released.
                self.note_drop(Party::Receiver(slot), publication.topic, reason, turn);
                self.note_failure(slot, grant.group);
                return self.give_up(slot, id, packet_id, Stage::PubRec, turn);
            }
            if let (Err(_), Some(packet_id)) = (sent, packet_id) {
                self.abandon(slot, packet_id);
            }
            sent
        } else {
            let outbound = Outbound { delivery, sequence };
            self.transmit(slot, id, &publication, &grant, outbound, turn)
        };
        if let Err(reason) = sent {
            self.note_drop(Party::Receiver(slot), publication.topic, reason, turn);
            self.note_failure(slot, grant.group);
            self.forget_stored(slot, sequence);
        }
    }

    /// Lets the store forget a message that has come to its end.
    pub(crate) fn forget_stored(&mut self, slot: SessionSlot, sequence: Option<NonZeroU64>) {
        if let Some(owner) = self.sessions[slot as usize].owner()
            && let Some(sequence) = sequence
        {
            self.rounds.keep(StoreOp::Finished { owner, sequence: sequence.get() });
        }
    }

    /// Notes that a message in the store was taken over by its Client, or is given up. Returns what
    /// its PUBREL, which follows, depends on.
    fn note_taken(
        &mut self,
        slot: SessionSlot,
        sequence: Option<NonZeroU64>,
    ) -> Option<Durability> {
        let (owner, sequence) = (self.sessions[slot as usize].owner()?, sequence?.get());
        self.rounds.keep(StoreOp::Taken { owner, sequence });
        Some(Durability::Fsync)
    }

    pub(crate) fn fetch_ticket(&mut self) -> u64 {
        self.last_fetch += 1;
        self.last_fetch
    }

    /// Doubts what the answers to all requests so far will say of rounds: a worker is gone, and
    /// what it gave to the store last may come behind them.
    pub(crate) fn doubt_fetches(&mut self) {
        self.doubted_fetch = self.last_fetch;
    }

    /// Whether the store has to be asked again before the messages of rounds that are void in its
    /// answer may be given up.
    pub(crate) fn is_doubtful(&self, fetched: &Fetched) -> bool {
        let mut rounds = fetched.entries.iter().filter_map(|entry| entry.round);
        fetched.ticket <= self.doubted_fetch && rounds.any(|round| self.rounds.is_void(round))
    }

    /// Asks the store for the messages that wait there, if there is room for them in memory.
    pub(crate) fn fetch_more(&mut self, slot: SessionSlot, turn: &mut Turn) {
        let session_id = self.session_id(slot);
        let session = &mut self.sessions[slot as usize];
        let (Some(owner), Some(_)) = (session.owner(), session.attached()) else {
            return;
        };
        let ticket = self.last_fetch + 1;
        let outgoing = session.outgoing_mut();
        if let Some(from) = outgoing.and_then(|outgoing| outgoing.begin_fetch(ticket)) {
            self.last_fetch = ticket;
            let (messages_max, bytes_max) = Outgoing::fetch_size();
            let session = session_id;
            turn.fx.fetches.push(Fetch { owner, session, ticket, from, messages_max, bytes_max });
        }
    }

    /// Sends again what was in flight when the last Network Connection ended, in order
    /// [MQTT-4.4.0-1] [MQTT-4.6.0-1], as far as the window of the new one has room.
    fn retransmit(&mut self, slot: SessionSlot, id: ConnectionId, turn: &mut Turn) {
        loop {
            let outgoing = self.sessions[slot as usize].outgoing_mut();
            let Some(entry) = outgoing.and_then(|outgoing| outgoing.next_unsent()) else {
                return;
            };
            let (packet_id, stage, delivery) =
                (entry.packet_id, entry.stage, entry.delivery.clone());
            let entry_sequence = entry.sequence;
            let Some(delivery) = delivery else {
                // It may not be durable yet that the Client has taken the message over.
                let depends = entry_sequence.map(|_| Durability::Fsync);
                self.note_stream(slot, packet_id, id);
                self.hold_pubrel(id, packet_id, depends, turn);
                continue;
            };
            let publication = Publication::of(&delivery.message);
            let under_way = Some((packet_id, WasSent::Yes));
            self.layouts.begin(1);
            let stream = self.stream_for(id, publication.topic);
            self.note_stream(slot, packet_id, stream);
            let sent =
                self.write(slot, stream, &publication, &grant_of(&delivery), under_way, turn);
            if let Err(reason) = sent {
                self.note_drop(Party::Receiver(slot), publication.topic, reason, turn);
                self.note_failure(slot, delivery.group);
                self.give_up(slot, id, packet_id, stage, turn);
            }
        }
    }

    /// Ends a message that may not be sent again. The Client may already know a QoS 2 message: its
    /// Packet Identifier is released, so that the next message with it is not lost.
    fn give_up(
        &mut self,
        slot: SessionSlot,
        id: ConnectionId,
        packet_id: PacketIdentifier,
        stage: Stage,
        turn: &mut Turn,
    ) {
        let Some(outgoing) = self.sessions[slot as usize].outgoing_mut() else {
            return;
        };
        if stage == Stage::PubAck {
            let sequence = outgoing.finish(packet_id, stage).and_then(|entry| entry.sequence);
            self.forget_stored(slot, sequence);
        } else if let Some(entry) = outgoing.find(packet_id) {
            entry.stage = Stage::PubComp;
            entry.delivery = None;
            let sequence = entry.sequence;
            let depends = self.note_taken(slot, sequence);
            self.hold_pubrel(id, packet_id, depends, turn);
        }
    }

    /// Holds a PUBREL back until what it depends on is so.
    fn hold_pubrel(
        &mut self,
        id: ConnectionId,
        packet_id: PacketIdentifier,
        depends: Option<Durability>,
        turn: &mut Turn,
    ) {
        let held = HeldAcknowledgement {
            to: id,
            kind: PacketType::PubRel,
            packet_id,
            reason_code: ReasonCode::Success,
            explanation: None,
        };
        self.acknowledge(held, depends, turn);
    }

    /// Notes that a message ended without the Client, if it is one of a shared subscription.
    pub(crate) fn note_failure(&mut self, slot: SessionSlot, group: Option<GroupId>) {
        if let Some(group) = group {
            self.failed_of_groups.push((self.session_id(slot), group));
        }
    }

    /// Asks the driver to read a connection, or to stop reading it.
    pub(crate) fn set_reading(&mut self, id: ConnectionId, reading: bool, turn: &mut Turn) {
        if reading && self.crossings.is_quiet(id) {
            return;
        }
        if let Some(connection) = self.connection_mut(id)
            && connection.set_reading(reading)
        {
            turn.fx.reading.push((id, reading));
        }
    }

    /// Takes the next message from the Session's queue; returns it with the stream that it goes on.
    fn next_from_queue(&mut self, slot: SessionSlot) -> Option<(Waiting, ConnectionId)> {
        let id = self.sessions[slot as usize].attached()?;
        if self.has_routes(id) {
            return self.next_of_any_stream(slot, id);
        }
        let session = &mut self.sessions[slot as usize];
        let connection = &mut self.connections[id.slot()];
        let outgoing = session.outgoing_mut()?;
        if connection.output().pending() > self.limits.output_bytes_max as usize {
            if outgoing.queued().0 > 0 {
                connection.wait_for_output();
            }
            return None;
        }
        let rounds = &self.rounds;
        let waiting = outgoing.dequeue(|round| rounds.is_confirmed(round))?;
        Some((waiting, id))
    }

    /// Sends the PUBLISH of a delivery for the first time. The message is in flight until it is
    /// acknowledged; `sequence` is its name in the store, if it is kept there.
    #[inline]
    fn transmit(
        &mut self,
        slot: SessionSlot,
        id: ConnectionId,
        publication: &Publication<'_>,
        grant: &Grant<'_>,
        outbound: Outbound,
        turn: &mut Turn,
    ) -> Result<(), DropReason> {
        let Outbound { delivery, sequence } = outbound;
        let form = if self.connections[id.slot()].is_local() {
            None
        } else {
            let outgoing = self.sessions[slot as usize].outgoing_mut();
            outgoing.map(|outgoing| (outgoing.begin(delivery, sequence, id), WasSent::No))
        };
        let written = self.write(slot, id, publication, grant, form, turn);
        if let (Err(_), Some((packet_id, _))) = (&written, form) {
            self.abandon(slot, packet_id);
        }
        written
    }

    /// Removes a message from those in flight, because it could not be sent after all.
    fn abandon(&mut self, slot: SessionSlot, packet_id: PacketIdentifier) {
        if let Some(outgoing) = self.sessions[slot as usize].outgoing_mut() {
            for stage in [Stage::PubAck, Stage::PubRec] {
                outgoing.finish(packet_id, stage);
            }
        }
    }

    /// Passes the delivery gate and writes the PUBLISH to the connection's output.
    #[inline]
    fn write(
        &mut self,
        slot: SessionSlot,
        id: ConnectionId,
        publication: &Publication<'_>,
        grant: &Grant<'_>,
        under_way: Option<(PacketIdentifier, WasSent)>,
        turn: &mut Turn,
    ) -> Result<(), DropReason> {
        let session = &self.sessions[slot as usize];
        let connection = &mut self.connections[id.slot()];
        let qos = publication.attributes.qos.min(grant.qos);
        let was_sent = under_way.map_or(WasSent::No, |(_, was_sent)| was_sent);
        let gate = DeliveryGate(&*self.policy);
        let passed = match may_drop(qos, was_sent) {
            true => gate.pass(session.identity(), publication, turn.now)?,
            false => gate.pass_again(session.identity(), publication, turn.now)?,
        };
        if connection.is_local() {
            let (message, retain) = (publication.share(), grant.retain);
            turn.fx.local.push(LocalDelivery { connection: id, message, qos, retain });
            self.counters.delivered(publication.payload.len());
            return Ok(());
        }
        let mut form = Form {
            version: connection.version(),
            dup: was_sent.may_be(), // [MQTT-3.3.1-1]
            qos,
            retain: grant.retain,
            packet_id: under_way.map(|(packet_id, _)| packet_id),
            identifiers: grant.identifiers,
            alias: None,
        };
        let bytes_max = connection.packet_bytes_max();
        if bytes_max != u32::MAX {
            // [MQTT-3.1.2-24]; four bytes more if a topic alias is given out
            let longest = form.encoded_len(&passed) + 4;
            if longest - 4 > bytes_max as usize {
                return Err(DropReason::PacketTooLarge);
            }
            if longest <= bytes_max as usize {
                form.alias = connection.alias(publication.topic);
            }
        } else {
            form.alias = connection.alias(publication.topic);
        }
        if self.layouts.write(&passed, &form, connection.output_mut(), &mut self.pool) {
            self.pool.turn.note_holder(id);
        }
        self.counters.packets_sent[PacketType::Publish as usize] += 1;
        self.counters.delivered(publication.payload.len());
        want_flush(connection, turn);
        if self.traces {
            let packet_id = form.packet_id.map(PacketIdentifier::get);
            let bytes = form.encoded_len(&passed);
            let line = publish_line(publication, qos, grant.retain, packet_id, bytes);
            self.trace(id, line, turn);
        }
        Ok(())
    }
}

pub(crate) fn grant_of(delivery: &Delivery) -> Grant<'_> {
    Grant {
        qos: delivery.qos,
        retain: delivery.retain,
        identifiers: delivery.identifiers.as_slice(),
        group: delivery.group,
    }
}

fn delivery_of(publication: &Publication<'_>, grant: &Grant<'_>, qos: QoS) -> Delivery {
    Delivery {
        message: publication.share(),
        qos,
        retain: grant.retain,
        identifiers: Identifiers::from(grant.identifiers),
        group: grant.group,
    }
}
