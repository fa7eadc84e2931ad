//! One Network Connection as the core sees it: how far its conversation has come, what its peer
//! can take, and what waits to be written.

pub(crate) mod accepted;
pub(crate) mod capabilities;
pub(crate) mod cut;
pub(crate) mod data_streams;
pub(crate) mod held_bytes;
pub(crate) mod layouts;
pub(crate) mod moving;
pub(crate) mod output;
pub(crate) mod shared_bytes;

use std::num::{NonZero, NonZeroU16, NonZeroU32, NonZeroU64};
use std::sync::Arc;

use hashbrown::HashMap;
use midge_codec::{Connect, PacketType, ProtocolVersion, QoS, TopicAliasUse};

use crate::base::drop_reason::DropReason;
use crate::base::durability::Durability;
use crate::base::identity::{ConnectionId, Identity, SessionSlot};
use crate::base::limits::Limits;
use crate::base::time::Timestamp;
use crate::connection::accepted::AcceptedConnect;
use crate::connection::capabilities::Capabilities;
use crate::connection::data_streams::DataStreams;
use crate::connection::layouts::OutgoingAliases;
use crate::connection::output::Output;

/// One stream of Control Packets. Its fields lie in this order in memory: a message for many
/// receivers touches the first fields of each connection, so these are close together.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Connection {
    output: Output,
    /// The data streams that belong to this connection.
    data_streams: Option<Box<DataStreams>>,
    outgoing_aliases: Option<Box<OutgoingAliases>>,
    id: ConnectionId,
    /// Largest packet in bytes that the peer accepts.
    packet_bytes_max: u32,
    version: ProtocolVersion,
    /// Whether the effects of this turn already name this connection as one to be written to.
    flush_wanted: bool,
    /// Whether this is a subscriber inside the process instead of a socket.
    is_local: bool,
    /// Whether messages wait in the queue for room in the output.
    waits_for_output: bool,
    phase: Phase,
    extras: Option<Box<Extras>>,
    last_packet_at: Timestamp,
    /// When the timer of this connection is due, if one is set.
    timer_at: Option<Timestamp>,
    offer: Arc<Offer>,
    /// How long the peer may be silent: 1.5 times the Keep Alive, in milliseconds.
    silence_max_ms: Option<NonZeroU32>,
    /// Acknowledgements that are held back, for the store or another worker.
    held: u32,
    /// How many of them are PUBACKs.
    held_pubacks: u32,
    /// How many QoS 1 and 2 messages the peer accepts in flight, or the limit if that is less.
    receive_maximum: u16,
    /// Whether the driver was told not to read this connection.
    is_paused: bool,
    /// Request Problem Information, `true` unless the Client said no [MQTT-3.1.2-29].
    problem_information: bool,
    /// Whether a PUBLISH got no acknowledgement because the store is full.
    is_unanswered: bool,
    /// Whether its CONNECT is to be refused because there is no room for it.
    is_turned_away: bool,
    /// Whether its Client is the program itself.
    is_of_program: bool,
    /// Whether it is a data stream of another connection.
    is_data_stream: bool,
}

/// What only few Clients have. It is kept apart, so that the others take no room for it.
#[derive(Clone, Debug, Default)]
struct Extras {
    incoming_aliases: IncomingAliases,
    authentication_method: Option<Box<str>>,
    /// Whether the Client marked itself as a bridge in its CONNECT.
    is_bridge: bool,
    /// When the credential of its user ends.
    credential_ends_at: Option<Timestamp>,
}

/// What the driver says about a new Network Connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening {
    /// The number of the listener that it came by; absent if it came by none.
    pub listener: Option<u16>,
    /// Milliseconds until a CONNECT has to be complete; absent: as the limits say.
    pub connect_deadline_ms: Option<u32>,
    /// Set if another worker had opened it, and forgotten it for this one.
    pub is_handed_over: bool,
    /// Whether there is no room for it: its CONNECT is answered with 0x89 Server busy.
    pub is_turned_away: bool,
    /// What the listener offers.
    pub capabilities: Capabilities,
    /// What an acknowledgement promises at this listener; absent: as for the whole broker.
    pub durability: Option<Durability>,
}

/// What a connection was opened with. Many connections have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The number of the listener that it came by.
    pub(crate) listener: Option<u16>,
    pub(crate) capabilities: Capabilities,
    /// What its listener promises, if it says so.
    pub(crate) durability: Option<Durability>,
    /// The limits that its Client is held to.
    pub(crate) told: Told,
}

/// The different offers that open connections have.
#[derive(Debug, Default)]
pub(crate) struct Offers(Vec<Arc<Offer>>);

impl Offers {
    /// From this many offers on, those that no connection has any more are removed.
    const MANY: usize = 16;

    pub(crate) fn share(&mut self, offer: Offer) -> Arc<Offer> {
        if let Some(known) = self.0.iter().rev().find(|known| ***known == offer) {
            return Arc::clone(known);
        }
        if self.0.len() >= Self::MANY {
            self.0.retain(|known| Arc::strong_count(known) > 1);
        }
        let offer = Arc::new(offer);
        self.0.push(Arc::clone(&offer));
        offer
    }
}

/// Limits that a Client is told, or could have been. For as long as its Network Connection lasts,
/// they stay as they were when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) receive_maximum: u16,
    pub(crate) awaiting_release_max: u16,
    pub(crate) topic_alias_maximum: u16,
}

impl Told {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            receive_maximum: limits.receive_maximum,
            awaiting_release_max: limits.awaiting_release_max,
            topic_alias_maximum: limits.topic_alias_maximum,
        }
    }
}

/// How far the conversation has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Nothing but a CONNECT may come.
    AwaitingConnect,
    /// The CONNECT waits for the answer to its authentication.
    Authenticating(Box<PendingConnect>),
    /// The CONNECT is accepted; its CONNACK waits for the store.
    Accepted(Box<AcceptedConnect>),
    /// A Session is attached; `reauthenticating` while a re-authentication is under way. A
    /// subscriber inside the process has sent no CONNECT.
    Connected { session: SessionSlot, reauthenticating: bool, connect_number: Option<NonZeroU64> },
    /// A data stream of the connection `control`, with the Session of that one.
    Stream { control: ConnectionId, session: SessionSlot },
    /// Only what is already in the output is still written. What is not is lost to `receiver`, if
    /// the connection had a Session, for this reason.
    Closing { receiver: Option<Arc<Identity>>, reason: DropReason },
}

/// What a CONNECT asked for, kept while its authentication is decided.
#[derive(Debug)]
pub(crate) struct PendingConnect {
    /// The number of this CONNECT among all that have come to the worker.
    pub(crate) number: NonZeroU64,
    pub(crate) client_id: Box<str>,
    pub(crate) assigned: bool,
    pub(crate) user_name: Option<Box<str>>,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive_seconds: u16,
    pub(crate) session_expiry_interval: u32,
    pub(crate) wants_response_information: bool,
    pub(crate) will: Option<PendingWill>,
}

/// The Will Message of a CONNECT, owned.
#[derive(Debug)]
pub(crate) struct PendingWill {
    /// As [`crate::topics::destination::Destination::of_will`] understands it.
    pub(crate) topic: Box<str>,
    pub(crate) properties: Box<[u8]>,
    pub(crate) payload: Box<[u8]>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) delay_seconds: u32,
    pub(crate) expiry_seconds: Option<u32>,
}

impl Phase {
    /// Returns the number of a CONNECT that was let in, among all that have come to the worker.
    pub(crate) fn connect_number(&self) -> Option<NonZeroU64> {
        match self {
            Self::Accepted(accepted) => Some(accepted.connect_number),
            Self::Connected { connect_number, .. } => *connect_number,
            _ => None,
        }
    }
}

/// Who a Client says it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimed<'c> {
    pub(crate) client_id: &'c str,
    pub(crate) user_name: Option<&'c str>,
}

impl PendingConnect {
    /// Returns who the Client says it is.
    pub(crate) fn who(&self) -> Claimed<'_> {
        Claimed { client_id: &self.client_id, user_name: self.user_name.as_deref() }
    }
}

/// Topic aliases that the Client has set on this connection [MQTT-3.3.2-7].
#[derive(Clone, Debug, Default)]
pub(crate) struct IncomingAliases {
    topics: HashMap<NonZeroU16, Box<str>, foldhash::fast::FixedState>,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, offer: Arc<Offer>, now: Timestamp) -> Self {
        Self {
            id,
            phase: Phase::AwaitingConnect,
            version: ProtocolVersion::V3_1_1,
            flush_wanted: false,
            is_paused: false,
            waits_for_output: false,
            problem_information: true,
            is_local: false,
            silence_max_ms: None,
            last_packet_at: now,
            timer_at: None,
            packet_bytes_max: u32::MAX,
            receive_maximum: u16::MAX,
            offer,
            held: 0,
            held_pubacks: 0,
            is_unanswered: false,
            is_turned_away: false,
            is_of_program: false,
            is_data_stream: false,
            data_streams: None,
            output: Output::default(),
            extras: None,
            outgoing_aliases: None,
        }
    }

    /// Makes a data stream of `control`: what the Client has said about itself applies to it, too.
    pub(crate) fn data_stream(
        id: ConnectionId,
        control: &Self,
        session: SessionSlot,
        now: Timestamp,
    ) -> Self {
        let aliases = control.outgoing_aliases.as_ref();
        let mut stream = Self {
            phase: Phase::Stream { control: control.id, session },
            is_data_stream: true,
            version: control.version,
            problem_information: control.problem_information,
            packet_bytes_max: control.packet_bytes_max,
            receive_maximum: control.receive_maximum,
            outgoing_aliases: aliases.map(|aliases| Box::new(aliases.anew())),
            ..Self::new(id, Arc::clone(&control.offer), now)
        };
        stream.set_bridge(control.is_bridge());
        stream
    }

    #[inline]
    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    #[inline]
    pub(crate) fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Largest packet in bytes that the peer accepts.
    #[inline]
    pub(crate) fn packet_bytes_max(&self) -> u32 {
        self.packet_bytes_max
    }

    /// How many QoS 1 and 2 messages the peer accepts in flight, or the limit if that is less.
    #[inline]
    pub(crate) fn receive_maximum(&self) -> u16 {
        self.receive_maximum
    }

    /// Whether it is a subscriber inside the process instead of a socket.
    #[inline]
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

    /// Whether it is a data stream of another connection.
    pub(crate) fn is_data_stream(&self) -> bool {
        self.is_data_stream
    }

    /// Whether its CONNECT is to be refused because there is no room for it.
    pub(crate) fn is_turned_away(&self) -> bool {
        self.is_turned_away
    }

    /// Whether a PUBLISH got no acknowledgement because the store is full.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.is_unanswered
    }

    /// Whether the driver was told not to read it.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Request Problem Information, `true` unless the Client said no [MQTT-3.1.2-29].
    pub(crate) fn wants_problem_information(&self) -> bool {
        self.problem_information
    }

    pub(crate) fn offer(&self) -> &Offer {
        &self.offer
    }

    #[inline]
    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    #[inline]
    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    #[inline]
    pub(crate) fn output_mut(&mut self) -> &mut Output {
        &mut self.output
    }

    /// The data streams that belong to it, if there were any.
    #[inline]
    pub(crate) fn data_streams(&self) -> Option<&DataStreams> {
        self.data_streams.as_deref()
    }

    #[inline]
    pub(crate) fn data_streams_mut(&mut self) -> Option<&mut DataStreams> {
        self.data_streams.as_deref_mut()
    }

    pub(crate) fn take_data_streams(&mut self) -> Option<Box<DataStreams>> {
        self.data_streams.take()
    }

    pub(crate) fn put_data_streams(&mut self, streams: Box<DataStreams>) {
        self.data_streams = Some(streams);
    }

    /// Adds a data stream. From now on, each of its streams has a smaller window.
    pub(crate) fn add_data_stream(&mut self, id: ConnectionId, seed: u64) {
        self.receive_maximum = self.receive_maximum.min(DataStreams::WINDOW);
        self.data_streams.get_or_insert_with(|| Box::new(DataStreams::new(seed))).add(id);
    }

    /// Goes on to another phase and returns the one before.
    pub(crate) fn enter(&mut self, phase: Phase) -> Phase {
        std::mem::replace(&mut self.phase, phase)
    }

    /// Makes it a subscriber inside the process, with this Session.
    pub(crate) fn become_local(&mut self, session: SessionSlot) {
        self.is_local = true;
        self.phase = Phase::Connected { session, reauthenticating: false, connect_number: None };
    }

    /// Notes that its Client is the program itself, whose Client Identifiers nobody else may have.
    pub(crate) fn belong_to_program(&mut self) {
        self.is_of_program = true;
    }

    /// Whether its Client is the program itself.
    pub(crate) fn is_of_program(&self) -> bool {
        self.is_of_program
    }

    /// Notes that there is no room for it.
    pub(crate) fn turn_away(&mut self) {
        self.is_turned_away = true;
    }

    /// Notes that a PUBLISH gets no acknowledgement. Returns whether it is the first one.
    pub(crate) fn leave_unanswered(&mut self) -> bool {
        !std::mem::replace(&mut self.is_unanswered, true)
    }

    /// Notes whether the driver is to read it. Returns whether that is new.
    pub(crate) fn set_reading(&mut self, reading: bool) -> bool {
        std::mem::replace(&mut self.is_paused, !reading) == reading
    }

    /// Notes that the effects of this turn name it as one to be written to. Returns whether that is
    /// new.
    #[inline]
    pub(crate) fn want_flush(&mut self) -> bool {
        !std::mem::replace(&mut self.flush_wanted, true)
    }

    pub(crate) fn begin_flush(&mut self) {
        self.flush_wanted = false;
    }

    /// Notes that messages wait in the queue for room in the output.
    #[inline]
    pub(crate) fn wait_for_output(&mut self) {
        self.waits_for_output = true;
    }

    /// Whether messages wait for room in the output and find it now: no more than `bytes` are in
    /// it. If so, this notes that they wait no longer.
    pub(crate) fn has_found_room(&mut self, bytes: usize) -> bool {
        let has_room = self.waits_for_output && self.output.pending() <= bytes;
        self.waits_for_output &= !has_room;
        has_room
    }

    /// Notes that its peer has said something.
    #[inline]
    pub(crate) fn hear(&mut self, now: Timestamp) {
        self.last_packet_at = now;
    }

    /// Moves the last sign of life forward by so much, but never beyond the present.
    pub(crate) fn credit(&mut self, earned_ms: u64, now: Timestamp) {
        self.last_packet_at = (self.last_packet_at + earned_ms).min(now);
    }

    /// Sets how long the peer may be silent: 1.5 times the Keep Alive, or for ever if that is 0.
    pub(crate) fn set_keep_alive(&mut self, keep_alive_seconds: u16) {
        self.silence_max_ms = NonZeroU32::new(u32::from(keep_alive_seconds) * 1500);
    }

    /// For how many milliseconds the peer may be silent, if not for ever.
    pub(crate) fn silence_max_ms(&self) -> Option<u64> {
        self.silence_max_ms.map(|it| u64::from(it.get()))
    }

    /// When it has heard from its peer last.
    pub(crate) fn last_packet_at(&self) -> Timestamp {
        self.last_packet_at
    }

    /// When its timer is due, if one is set.
    pub(crate) fn timer_at(&self) -> Option<Timestamp> {
        self.timer_at
    }

    /// Notes that its timer is set to this moment, or to none. Returns the one before.
    pub(crate) fn note_timer(&mut self, at: Option<Timestamp>) -> Option<Timestamp> {
        std::mem::replace(&mut self.timer_at, at)
    }

    /// How many acknowledgements are held back.
    #[inline]
    pub(crate) fn held(&self) -> u32 {
        self.held
    }

    /// How many PUBACKs are held back.
    #[inline]
    pub(crate) fn held_pubacks(&self) -> u32 {
        self.held_pubacks
    }

    /// Takes over the acknowledgements that are held back for a data stream that has ended.
    pub(crate) fn take_over_held(&mut self, held: u32, held_pubacks: u32) {
        self.held += held;
        self.held_pubacks += held_pubacks;
    }

    /// Answers a CONNECT in this version, though nothing else of it is known.
    pub(crate) fn answer_in(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    /// Notes that a re-authentication of its Client begins or is over.
    pub(crate) fn set_reauthenticating(&mut self, is_under_way: bool) {
        if let Phase::Connected { reauthenticating, .. } = &mut self.phase {
            *reauthenticating = is_under_way;
        }
    }

    pub(crate) fn session(&self) -> Option<SessionSlot> {
        match self.phase {
            Phase::Connected { session, .. } | Phase::Stream { session, .. } => Some(session),
            _ => None,
        }
    }

    /// Returns how to name `topic` by a topic alias, if the Client allows it.
    #[inline]
    pub(crate) fn alias(&mut self, topic: &str) -> Option<TopicAliasUse> {
        self.outgoing_aliases.as_mut()?.alias(topic)
    }

    /// Counts an acknowledgement that is held back.
    pub(crate) fn hold(&mut self, kind: PacketType) {
        self.held += 1;
        self.held_pubacks += u32::from(kind == PacketType::PubAck);
    }

    /// Counts off an acknowledgement that is no longer held back.
    pub(crate) fn let_go(&mut self, kind: PacketType) {
        self.held -= 1;
        self.held_pubacks -= u32::from(kind == PacketType::PubAck);
    }

    /// Returns the Authentication Method that its CONNECT has named.
    pub(crate) fn authentication_method(&self) -> Option<Box<str>> {
        self.extras.as_ref()?.authentication_method.clone()
    }

    /// When the credential of its user ends, if it does.
    pub(crate) fn credential_ends_at(&self) -> Option<Timestamp> {
        self.extras.as_ref()?.credential_ends_at
    }

    /// Sets when the credential of its user ends; `None`: never. Returns what was set before.
    pub(crate) fn set_credential_end(&mut self, at: Option<Timestamp>) -> Option<Timestamp> {
        match at {
            Some(_) => std::mem::replace(&mut self.extras_mut().credential_ends_at, at),
            None => self.extras.as_mut()?.credential_ends_at.take(),
        }
    }

    pub(crate) fn is_bridge(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.is_bridge)
    }

    fn set_bridge(&mut self, is_bridge: bool) {
        if is_bridge {
            self.extras_mut().is_bridge = true;
        }
    }

    pub(crate) fn incoming_aliases(&mut self) -> &mut IncomingAliases {
        &mut self.extras_mut().incoming_aliases
    }

    pub(crate) fn incoming_aliases_bytes(&self) -> usize {
        self.extras.as_ref().map_or(0, |extras| extras.incoming_aliases.bytes())
    }

    fn extras_mut(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.version == ProtocolVersion::V5
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// Takes from the CONNECT what the Client says about itself.
    pub(crate) fn learn(&mut self, connect: &Connect<'_>, limits: &Limits) {
        let properties = &connect.properties;
        self.version = connect.version;
        self.problem_information = properties.request_problem_information.unwrap_or(true);
        self.packet_bytes_max = properties.maximum_packet_size.map_or(u32::MAX, NonZero::get);
        self.receive_maximum = match connect.version {
            ProtocolVersion::V5 => properties.receive_maximum.map_or(u16::MAX, NonZero::get),
            _ => limits.inflight_messages_mqtt3_max,
        };
        // The store is told how many may be under way, and the next broker may have another limit.
        self.receive_maximum = self.receive_maximum.min(limits.inflight_messages_max);
        let aliases = properties.topic_alias_maximum.unwrap_or(0);
        let aliases = aliases.min(limits.outgoing_topic_alias_maximum);
        self.outgoing_aliases = (aliases > 0).then(|| Box::new(OutgoingAliases::new(aliases)));
        self.set_bridge(connect.bridge);
        if let Some(method) = properties.authentication_method {
            self.extras_mut().authentication_method = Some(method.into());
        }
    }
}

impl IncomingAliases {
    pub(crate) fn set(&mut self, alias: NonZeroU16, topic: &str) {
        self.topics.insert(alias, topic.into());
    }

    pub(crate) fn get(&self, alias: NonZeroU16) -> Option<&str> {
        self.topics.get(&alias).map(|topic| &**topic)
    }

    /// How many bytes the topics take.
    pub(crate) fn bytes(&self) -> usize {
        self.topics.values().map(|topic| topic.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Connection, Offer, Offers, Phase, Told};
    use crate::base::limits::Limits;
    use crate::connection::capabilities::Capabilities;

    /// There are as many of them as open connections: whatever grows here grows for all.
    #[test]
    fn an_idle_connection_stays_small() {
        assert_eq!(size_of::<Connection>(), 160);
        assert_eq!(size_of::<Phase>(), 16);
    }

    #[test]
    fn an_offer_is_there_once_and_goes_with_the_last_who_has_it() {
        let offer = |listener| Offer {
            listener,
            capabilities: Capabilities::default(),
            durability: None,
            told: Told::new(&Limits::default()),
        };
        let mut offers = Offers::default();
        let first = offers.share(offer(Some(0)));
        assert!(Arc::ptr_eq(&first, &offers.share(offer(Some(0)))));
        for listener in (1..1000).map(Some) {
            assert_eq!(offers.share(offer(listener)).listener, listener);
            assert!(offers.0.len() <= Offers::MANY + 1);
        }
        assert!(Arc::ptr_eq(&first, &offers.share(offer(Some(0)))), "somebody has it still");
    }
}
