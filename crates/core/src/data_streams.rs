//! Data streams: further streams of one Network Connection, as QUIC has them.
//!
//! The stream that the CONNECT came on is the control stream; it is what the rest of the core
//! calls a connection. A data stream is a [`Connection`] of its own, with its own output and topic
//! aliases, that shares the Session of its control stream. What belongs to whom is described in
//! docs/quic.md. This module must never let a message of the Session go to two streams.

use hashbrown::HashMap;
use midge_codec::{Packet, ReasonCode, Subscribe, SubscriptionOptions, Unsubscribe};

use crate::clients::Clients;
use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::effects::Effects;
use crate::filter_request::FilterRequest;
use crate::identity::ConnectionId;
use crate::subscription_tree::{Filler, MatchScratch, SessionSlot, Subscriber, SubscriptionTree};
use crate::time::Timestamp;

/// The data streams of a control stream.
#[derive(Debug)]
pub(crate) struct DataStreams {
    /// In the order in which they were opened.
    open: Vec<ConnectionId>,
    /// Which of them gets what: the "Session" of a subscriber is the slot of a stream.
    tree: SubscriptionTree,
    scratch: MatchScratch,
    /// By the name of the subscription in the Session: what is matched, and the stream.
    routes: HashMap<Box<str>, (Box<str>, ConnectionId), foldhash::fast::FixedState>,
}

/// An error of a peer that ends one data stream, and only it.
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
    fn new(seed: u64) -> Self {
        Self {
            open: Vec::new(),
            tree: SubscriptionTree::new(seed),
            scratch: MatchScratch::default(),
            routes: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
        }
    }

    /// The stream for messages of this topic; of several, the one that was opened last. `None`:
    /// the control stream.
    fn stream_of(&mut self, topic: &str) -> Option<ConnectionId> {
        self.tree.match_topic_name(topic, &mut self.scratch);
        let nodes = self.scratch.matched.iter();
        let slots = nodes.flat_map(|&node| self.tree.subscribers(node)).map(|it| it.session);
        let place = |slot| self.open.iter().position(|stream| stream.slot == slot);
        slots.filter_map(place).max().map(|place| self.open[place])
    }

    /// Messages of this subscription go on this stream from now on.
    fn note(&mut self, key: &str, filter: &str, stream: ConnectionId) {
        self.forget(key);
        let subscriber = Subscriber {
            session: stream.slot,
            identifier: None,
            options: SubscriptionOptions::default().into(),
            filler: Filler::Empty,
        };
        self.tree.insert(filter, subscriber);
        self.routes.insert(key.into(), (filter.into(), stream));
    }

    /// Messages of this subscription go on the control stream.
    fn forget(&mut self, key: &str) {
        let Some((filter, stream)) = self.routes.remove(key) else {
            return;
        };
        // `$share/g/a` and `a` are two subscriptions with one filter.
        let is_same = |other: &(Box<str>, ConnectionId)| other.0 == filter && other.1 == stream;
        if !self.routes.values().any(is_same) {
            self.tree.remove(&filter, stream.slot);
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
    /// The stream of a Network Connection that messages of this topic go on.
    #[inline]
    pub(crate) fn stream_for(&mut self, control: ConnectionId, topic: &str) -> ConnectionId {
        match &mut self.connections[control.slot()].data_streams {
            None => control,
            Some(streams) => streams.stream_of(topic).unwrap_or(control),
        }
    }
}

impl Core {
    /// A Client has opened a data stream; `None` if its control stream has no Session (any more).
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
        let stream = Connection::data_stream(id, connection, session, now);
        let streams =
            connection.data_streams.get_or_insert_with(|| Box::new(DataStreams::new(seed)));
        streams.open.push(id);
        self.clients.connections.insert(stream);
        Some(id)
    }

    /// One Control Packet has come by a data stream.
    pub(crate) fn handle_stream_packet(
        &mut self,
        (id, control): (ConnectionId, ConnectionId),
        session: SessionSlot,
        packet: &Packet<'_>,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        if let Some(connection) = self.clients.connection(control) {
            connection.last_packet_at = now; // Keep Alive is the Network Connection's
        }
        self.clients.counters.received(packet.packet_type());
        match packet {
            Packet::Publish(publish) => self.handle_publish(id, session, publish, now, fx),
            Packet::Connect(_) | Packet::PingReq | Packet::Disconnect(_) | Packet::Auth(_) => {
                let name = packet.packet_type().name();
                let detail = format!("{name} belongs on the control stream");
                self.violate(id, ReasonCode::ProtocolError, detail, now, fx);
            }
            packet => self.handle_session_packet(id, session, packet, now, fx),
        }
    }

    /// The subscriptions of a SUBSCRIBE that took effect belong to the stream that it came on.
    pub(crate) fn note_streams(
        &mut self,
        id: ConnectionId,
        slot: SessionSlot,
        packet: &Subscribe<'_>,
    ) {
        let Some(control) = self.control_with_streams(slot) else {
            return;
        };
        let levels_max = self.config.limits.topic_levels_max;
        for entry in packet.subscriptions.iter() {
            let request = FilterRequest::parse(entry.filter, &self.config.topics, levels_max);
            let Ok(FilterRequest { filter, key, .. }) = request else {
                continue;
            };
            let is_in_effect = self.clients.session(slot).subscriptions.contains_key(&*key);
            let connection = &mut self.clients.connections[control.slot()];
            let Some(streams) = connection.data_streams.as_mut().filter(|_| is_in_effect) else {
                continue;
            };
            match id == control {
                true => streams.forget(&key),
                false => streams.note(&key, &filter, id),
            }
        }
    }

    /// Subscriptions that ended belong to no stream.
    pub(crate) fn forget_streams(&mut self, slot: SessionSlot, packet: &Unsubscribe<'_>) {
        let Some(control) = self.control_with_streams(slot) else {
            return;
        };
        let levels_max = self.config.limits.topic_levels_max;
        for filter in packet.filters.iter() {
            if let Ok(request) = FilterRequest::parse(filter, &self.config.topics, levels_max)
                && let Some(streams) = &mut self.clients.connections[control.slot()].data_streams
            {
                streams.forget(&request.key);
            }
        }
    }

    /// The control stream of a Session, if it has data streams beside it.
    fn control_with_streams(&mut self, slot: SessionSlot) -> Option<ConnectionId> {
        let control = self.clients.session(slot).connection?;
        self.clients.connections[control.slot()].data_streams.is_some().then_some(control)
    }

    /// A data stream is over, in whatever way: what was on its way by it is sent again on the
    /// control stream, and what follows goes there, too.
    pub(crate) fn end_data_stream(
        &mut self,
        (id, control): (ConnectionId, ConnectionId),
        slot: SessionSlot,
        now: Timestamp,
        fx: &mut Effects,
    ) {
        let clients = &mut self.clients;
        let Some(connection) = clients.connections.get_mut(control.slot()) else {
            return;
        };
        let Some(mut streams) = connection.data_streams.take() else {
            return;
        };
        if let Some(outgoing) = &mut clients.sessions[slot as usize].outgoing {
            let mut was_sent_by_it = |topic: &str| streams.stream_of(topic) == Some(id);
            outgoing.send_again(|delivery| was_sent_by_it(delivery.message.topic()));
        }
        streams.close(id);
        // It stays, even if it is empty now: the next stream may come at once.
        clients.connections[control.slot()].data_streams = Some(streams);
        self.clients.pump(slot, now, fx);
        self.retained.wake();
    }

    /// The control stream has ended: its data streams end with it.
    pub(crate) fn close_data_streams(&mut self, streams: &DataStreams, fx: &mut Effects) {
        for &id in &streams.open {
            if let Some(stream) = self.clients.connection(id) {
                stream.phase = Phase::Closing;
                fx.close.push(id);
            }
        }
    }
}
