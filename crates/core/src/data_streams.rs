//! Data streams: additional streams of one Network Connection, as QUIC has them.
//!
//! The stream that the CONNECT came on is the control stream; it is what the rest of the core calls
//! a connection. A data stream is a [`Connection`] of its own, with its own output and topic
//! aliases, that shares the Session of its control stream. docs/quic.md describes what belongs to
//! which stream. This module must never let a message of the Session go to two streams.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use midge_codec::{Packet, PacketIdentifier, ReasonCode, SubscriptionOptions};

use crate::clients::Clients;
use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::effects::DisconnectReason;
use crate::filter_request::FilterRequest;
use crate::identity::ConnectionId;
use crate::outgoing::Waiting;
use crate::subscription_tree::{Filler, MatchScratch, SessionSlot, Subscriber, SubscriptionTree};
use crate::time::Timestamp;
use crate::turn::Turn;

/// The data streams of a control stream.
#[derive(Debug)]
pub(crate) struct DataStreams {
    /// In the order in which they were opened.
    open: Vec<ConnectionId>,
    /// Which stream gets what: the `session` of a subscriber here is the slot of a stream.
    tree: SubscriptionTree,
    scratch: MatchScratch,
    /// The filter that is matched, and the stream, by the subscription's name in the Session.
    routes: HashMap<Box<str>, (Box<str>, ConnectionId), foldhash::fast::FixedState>,
    /// How many subscriptions have the same filter and stream: `$share/g/a` and `a` are two.
    uses: HashMap<(Box<str>, SessionSlot), u32, foldhash::fast::FixedState>,
    /// Streams found to be waiting in a search of the queue; kept for the allocation.
    held_back: Vec<u32>,
}

/// An error of the peer that ends one data stream only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// The stream.
    pub stream: ConnectionId,
    /// What the peer is told.
    pub reason_code: ReasonCode,
    /// The rule, in words.
    pub detail: String,
}

impl DataStreams {
    /// Messages in flight on all streams together, at most. It is small because they are counted to
    /// find how many each stream has.
    const WINDOW: u16 = 512;

    fn new(seed: u64) -> Self {
        Self {
            open: Vec::new(),
            tree: SubscriptionTree::new(seed),
            scratch: MatchScratch::default(),
            routes: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            uses: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(!seed)),
            held_back: Vec::new(),
        }
    }

    /// Returns the stream for messages of this topic: if several match, the one that was opened
    /// last. `None`: the control stream.
    fn stream_of(&mut self, topic: &str) -> Option<ConnectionId> {
        self.tree.match_topic_name(topic, &mut self.scratch);
        let nodes = self.scratch.matched.iter();
        let slots = nodes.flat_map(|&node| self.tree.subscribers(node)).map(|it| it.session);
        let place = |slot| self.open.iter().position(|stream| stream.slot == slot);
        slots.filter_map(place).max().map(|place| self.open[place])
    }

    /// Routes the messages of this subscription to this stream from now on.
    fn note(&mut self, key: &str, filter: &str, stream: ConnectionId) {
        self.forget(key);
        let subscriber = Subscriber {
            session: stream.slot,
            identifier: None,
            options: SubscriptionOptions::default().into(),
            filler: Filler::Empty,
        };
        self.tree.insert(filter, subscriber);
        *self.uses.entry((filter.into(), stream.slot)).or_insert(0) += 1;
        self.routes.insert(key.into(), (filter.into(), stream));
    }

    /// Routes the messages of this subscription to the control stream.
    fn forget(&mut self, key: &str) {
        let Some((filter, stream)) = self.routes.remove(key) else {
            return;
        };
        let Entry::Occupied(mut uses) = self.uses.entry((filter, stream.slot)) else {
            return;
        };
        *uses.get_mut() -= 1;
        if *uses.get() == 0 {
            let ((filter, slot), _) = uses.remove_entry();
            self.tree.remove(&filter, slot);
        }
    }

    fn close(&mut self, stream: ConnectionId) {
        let keys: Vec<_> = self.routes.iter().filter(|(_, route)| route.1 == stream).collect();
        let keys: Vec<Box<str>> = keys.into_iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.forget(&key);
        }
        self.open.retain(|&other| other != stream);
    }
}

impl Clients {
    /// Returns the stream of a Network Connection that messages of this topic go on.
    #[inline]
    pub(crate) fn stream_for(&mut self, control: ConnectionId, topic: &str) -> ConnectionId {
        match &mut self.connections[control.slot()].data_streams {
            None => control,
            Some(streams) => streams.stream_of(topic).unwrap_or(control),
        }
    }

    /// Whether some messages of a Network Connection go on data streams.
    #[inline]
    pub(crate) fn has_routes(&self, control: ConnectionId) -> bool {
        let streams = self.connections[control.slot()].data_streams.as_ref();
        streams.is_some_and(|streams| !streams.routes.is_empty())
    }

    /// Returns the control stream of a data stream, and any other connection itself.
    pub(crate) fn control_of(&mut self, id: ConnectionId) -> ConnectionId {
        match self.connection(id).map(|connection| &connection.phase) {
            Some(&Phase::Stream { control, .. }) => control,
            _ => id,
        }
    }

    /// Returns where an answer goes: the stream that the question came by or, if that has ended,
    /// the control stream.
    pub(crate) fn stream_or_control(
        &mut self,
        (stream, control): (ConnectionId, ConnectionId),
    ) -> ConnectionId {
        let is_open = self.connection(stream).is_some_and(|stream| !stream.is_closing());
        if is_open { stream } else { control }
    }

    /// Returns all streams of a Network Connection.
    fn streams(&self, control: ConnectionId) -> impl Iterator<Item = &Connection> {
        let connection = &self.connections[control.slot()];
        let open = connection.data_streams.iter().flat_map(|streams| &streams.open);
        let data = open.filter_map(|id| self.connections.get(id.slot()));
        std::iter::once(connection).chain(data)
    }

    /// Whether the driver was told not to read some stream of a Network Connection.
    pub(crate) fn is_any_paused(&self, control: ConnectionId) -> bool {
        self.streams(control).any(|stream| stream.paused)
    }

    /// Whether `is_so` holds for any stream of a Network Connection.
    pub(crate) fn is_any_stream(
        &self,
        control: ConnectionId,
        is_so: &dyn Fn(ConnectionId) -> bool,
    ) -> bool {
        self.streams(control).any(|stream| is_so(stream.id))
    }

    /// How many bytes a Network Connection holds on all of its streams.
    pub(crate) fn connection_bytes(&self, control: ConnectionId) -> usize {
        self.streams(control).map(Connection::held_bytes).sum()
    }

    /// Whether the stream that a message of this topic goes on has room for more than this one. If
    /// not, the Session is woken as soon as it has.
    pub(crate) fn has_room_for(&mut self, slot: SessionSlot, topic: &str) -> bool {
        let control = self.session(slot).connection.filter(|&control| self.has_routes(control));
        let Some(control) = control else {
            return true;
        };
        let stream = self.stream_for(control, topic);
        let connection = &mut self.connections[stream.slot()];
        let has_room = connection.output.pending() <= self.limits.output_bytes_max as usize / 2;
        connection.waits_for_output |= !has_room;
        has_room
    }

    /// Takes the next message from a Session's queue that its stream has room for. Returns it with
    /// that stream.
    pub(crate) fn next_of_any_stream(
        &mut self,
        slot: SessionSlot,
        control: ConnectionId,
    ) -> Option<(Waiting, ConnectionId)> {
        let outgoing = self.sessions[slot as usize].outgoing.as_mut()?;
        let mut streams = self.connections[control.slot()].data_streams.take()?;
        let mut held_back = std::mem::take(&mut streams.held_back);
        let open = streams.open.clone();
        let named = |generation| open.iter().find(|id| id.generation.get() == generation);
        let stream_of = |topic: &str| streams.stream_of(topic).unwrap_or(control);
        let has_room = |generation| {
            let stream = named(generation).unwrap_or(&control);
            let connection = &mut self.connections[stream.slot()];
            let output = connection.output.pending();
            connection.waits_for_output |= output > self.limits.output_bytes_max as usize;
            output <= self.limits.output_bytes_max as usize
        };
        let may_send = |round| self.rounds.is_confirmed(round);
        let waiting = outgoing.dequeue_any(stream_of, has_room, may_send, &mut held_back);
        let stream = waiting.as_ref().and_then(|waiting| named(waiting.stream)).copied();
        streams.held_back = held_back;
        self.connections[control.slot()].data_streams = Some(streams);
        Some((waiting?, stream.unwrap_or(control)))
    }

    /// Notes on which stream a message in flight was sent again.
    pub(crate) fn note_stream(
        &mut self,
        slot: SessionSlot,
        packet_id: PacketIdentifier,
        stream: ConnectionId,
    ) {
        let outgoing = self.sessions[slot as usize].outgoing.as_mut();
        if let Some(entry) = outgoing.and_then(|outgoing| outgoing.find(packet_id)) {
            entry.stream = stream.generation.get();
        }
    }
}

impl Core {
    /// Returns the first stream of a Network Connection for which `is_so` holds: the control stream
    /// or a data stream.
    pub fn find_stream(
        &self,
        control: ConnectionId,
        is_so: &dyn Fn(ConnectionId) -> bool,
    ) -> Option<ConnectionId> {
        let connection = self.clients.connections.get(control.slot());
        connection.filter(|connection| connection.id == control)?;
        self.clients.streams(control).map(|stream| stream.id).find(|&stream| is_so(stream))
    }

    /// Adds a data stream that a Client has opened. `None` if its control stream has no Session
    /// (any more).
    pub fn open_data_stream(
        &mut self,
        control: ConnectionId,
        now: Timestamp,
    ) -> Option<ConnectionId> {
        let connection = self.clients.connection(control)?;
        let Phase::Connected { session, .. } = connection.phase else {
            return None;
        };
        let id = self.next_connection_id();
        let seed = self.clients.seed;
        let connection = self.clients.connection(control)?;
        connection.receive_maximum = connection.receive_maximum.min(DataStreams::WINDOW);
        let stream = Connection::data_stream(id, connection, session, now);
        let streams =
            connection.data_streams.get_or_insert_with(|| Box::new(DataStreams::new(seed)));
        streams.open.push(id);
        let extent = self.clients.extent(DataStreams::WINDOW);
        if let Some(outgoing) = &mut self.clients.session(session).outgoing {
            outgoing.narrow(extent);
        }
        self.clients.connections.insert(stream);
        Some(id)
    }

    /// Handles one Control Packet from a data stream.
    pub(crate) fn handle_stream_packet(
        &mut self,
        (id, control): (ConnectionId, ConnectionId),
        session: SessionSlot,
        packet: &Packet<'_>,
        turn: &mut Turn,
    ) {
        if let Some(connection) = self.clients.connection(control) {
            connection.last_packet_at = turn.now; // the Keep Alive is for the whole Network Connection
        }
        self.clients.counters.received(packet.packet_type());
        match packet {
            Packet::Publish(publish) => self.handle_publish(id, session, publish, turn),
            Packet::Connect(_) | Packet::PingReq | Packet::Disconnect(_) | Packet::Auth(_) => {
                let name = packet.packet_type().name();
                let detail = format!("{name} belongs on the control stream");
                self.violate(id, ReasonCode::ProtocolError, detail, turn);
            }
            packet => self.handle_session_packet(id, session, packet, turn),
        }
    }

    /// Notes that a subscription belongs to the stream that its SUBSCRIBE came on.
    pub(crate) fn note_stream(&mut self, id: ConnectionId, slot: SessionSlot, filter: &str) {
        let Some(control) = self.control_with_streams(slot) else {
            return;
        };
        let levels_max = self.config.limits.topic_levels_max;
        let request = FilterRequest::parse(filter, &self.config.topics, levels_max);
        let connection = &mut self.clients.connections[control.slot()];
        let (Ok(FilterRequest { filter, key, .. }), Some(streams)) =
            (request, &mut connection.data_streams)
        else {
            return;
        };
        match streams.open.contains(&id) {
            true => streams.note(&key, &filter, id),
            false => streams.forget(&key),
        }
    }

    /// Forgets the stream of a subscription that has ended.
    pub(crate) fn forget_stream(&mut self, slot: SessionSlot, key: &str) {
        if let Some(control) = self.control_with_streams(slot)
            && let Some(streams) = &mut self.clients.connections[control.slot()].data_streams
        {
            streams.forget(key);
        }
    }

    /// Moves waiting messages to other streams, as their subscriptions may have moved there.
    pub(crate) fn go_on_with_streams(&mut self, slot: SessionSlot, turn: &mut Turn) {
        if self.control_with_streams(slot).is_none() {
            return;
        }
        if let Some(outgoing) = &mut self.clients.session(slot).outgoing {
            outgoing.forget_streams();
        }
        self.go_on(slot, turn);
    }

    /// Handles a data stream whose peer sends nothing more: what is still to be sent on it leaves,
    /// then it is closed.
    pub fn finish_data_stream(&mut self, id: ConnectionId, turn: &mut Turn) {
        self.close(id, None, &DisconnectReason::ConnectionLost, turn);
    }

    /// Returns the control stream of a Session, if it has data streams beside it.
    fn control_with_streams(&mut self, slot: SessionSlot) -> Option<ConnectionId> {
        let control = self.clients.session(slot).connection?;
        self.clients.connections[control.slot()].data_streams.is_some().then_some(control)
    }

    /// Handles the end of a data stream, whatever the cause: what was in flight on it is sent again
    /// on the control stream, and later messages go there, too.
    pub(crate) fn end_data_stream(
        &mut self,
        (id, control): (ConnectionId, ConnectionId),
        slot: SessionSlot,
        turn: &mut Turn,
    ) {
        let stream = self.clients.connection(id);
        let (held, held_pubacks) = stream.map_or((0, 0), |it| (it.held, it.held_pubacks));
        self.clients.rounds.redirect(id, control, held);
        let Some(connection) = self.clients.connection(control) else {
            return;
        };
        connection.held += held;
        connection.held_pubacks += held_pubacks;
        if let Some(streams) = &mut connection.data_streams {
            streams.close(id);
        }
        if let Some(outgoing) = &mut self.clients.session(slot).outgoing {
            outgoing.send_again(id);
        }
        self.go_on_with_streams(slot, turn);
    }

    /// Ends the data streams of a control stream that has ended.
    pub(crate) fn close_data_streams(&mut self, streams: &DataStreams, turn: &mut Turn) {
        for &id in &streams.open {
            if let Some(stream) = self.clients.connection(id) {
                stream.phase = Phase::Closing;
                turn.fx.close.push(id);
            }
        }
    }
}
