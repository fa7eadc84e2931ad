//! A Client that does what the specification requires, also across the ends of its Network
//! Connections and of the broker, and records what it does and sees. What it wants is decided
//! elsewhere (`actor`). What it gets is judged elsewhere (`check`), except what concerns only
//! itself: answers to nothing, Packet Identifiers in use, a Session that is present or not.

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::{Duration, Instant};

use midge_codec::{
    Acknowledgement, Disconnect, Packet, PacketIdentifier, PacketType, ProtocolVersion, Publish,
    PublishProperties, QoS, ReasonCode, Subscribe, Subscription, SubscriptionOptions, TopicName,
    Unsubscribe,
};

use crate::common::random::Random;
use crate::common::wire;
use crate::habits::Habits;
use crate::history::{
    self, ClientId, ConnectionId, End, Message, MessageId, Micros, OutageKind, SessionId, What,
};
use crate::payload;
use crate::scene::Scene;

pub(crate) struct Device {
    pub(crate) client: ClientId,
    pub(crate) habits: Habits,
    pub(crate) scene: Arc<Scene>,
    pub(crate) random: Random,
    pub(crate) link: Option<Link>,
    pub(crate) session: Option<State>,
    /// Whether it has asked for Clean Start and was not answered.
    pub(crate) wants_clean: bool,
    /// When a CONNECT that went unanswered was given up, since the last one that was answered.
    pub(crate) unanswered_until: Option<Micros>,
    /// When it sent a DISCONNECT that ends its Session and saw the broker close the connection.
    pub(crate) left_for_good: Option<Micros>,
    /// When the last Network Connection ended: the earliest time that the broker can know of.
    pub(crate) offline: Option<Micros>,
}

/// A Network Connection.
pub(crate) struct Link {
    pub(crate) wire: wire::Connection,
    pub(crate) number: ConnectionId,
    /// PUBLISH packets of QoS 1 and 2 that have arrived and whose exchange is not complete.
    pub(crate) receiving: HashSet<u16>,
    /// Acknowledgements that it owes, in order.
    pub(crate) owed: VecDeque<(PacketType, u16, Option<MessageId>)>,
    /// Until when it withholds them.
    pub(crate) hold_until: Micros,
    pub(crate) aliases: HashMap<u16, String>,
    /// Topics for which the broker has learned an alias.
    pub(crate) known: HashMap<String, u16>,
    pub(crate) request: Option<Request>,
    last_sent: Instant,
    pub(crate) pings: u32,
}

/// A SUBSCRIBE or UNSUBSCRIBE under way.
pub(crate) struct Request {
    pub(crate) packet_id: u16,
    pub(crate) filter: String,
}

/// The Session State.
pub(crate) struct State {
    pub(crate) number: SessionId,
    pub(crate) outgoing: VecDeque<Sent>,
    /// QoS 2 Packet Identifiers that wait for PUBREL.
    pub(crate) unreleased: HashMap<u16, MessageId>,
    /// All Packet Identifiers under which a QoS 2 message has ever arrived.
    pub(crate) used: HashSet<u16>,
    /// Indexes into the history's table of subscriptions.
    pub(crate) subscriptions: HashMap<String, usize>,
    pub(crate) last_packet_id: u16,
}

/// A message on its way to the broker.
pub(crate) struct Sent {
    pub(crate) packet_id: u16,
    pub(crate) message: MessageId,
    /// The topic, with `$delayed`.
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) is_received: bool,
}

/// A message to be published.
pub(crate) struct Draft {
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) payload_bytes: usize,
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) delay_seconds: u32,
    pub(crate) uses_alias: bool,
}

impl Device {
    pub(crate) fn new(client: ClientId, habits: Habits, scene: &Arc<Scene>, seed: &Random) -> Self {
        Self {
            client,
            random: seed.fork(&habits.id),
            scene: Arc::clone(scene),
            habits,
            link: None,
            session: None,
            wants_clean: false,
            unanswered_until: None,
            left_for_good: None,
            offline: None,
        }
    }

    pub(crate) fn now(&self) -> Micros {
        self.scene.history.now()
    }

    pub(crate) fn is_v5(&self) -> bool {
        self.habits.version == ProtocolVersion::V5
    }

    pub(crate) fn note(&self, message: Option<MessageId>, packet_id: u16, what: What) {
        self.scene.history.note(self.client, message, packet_id, what);
    }

    pub(crate) fn find(&self, rule: &'static str, text: String, messages: &[MessageId]) {
        let at = self.now();
        self.scene.history.lock().find(rule, at, text, &[self.client], messages);
    }

    pub(crate) fn publish(&mut self, draft: &Draft) {
        let (Some(session), Some(link)) = (&mut self.session, &self.link) else {
            return;
        };
        let packet_id = if draft.qos == QoS::AtMostOnce { 0 } else { session.next_packet_id(link) };
        let is_lasting = self.habits.expiry_seconds > 0;
        let message = Message {
            publisher: self.client,
            line: (is_lasting.then_some(session.number), if is_lasting { 0 } else { link.number }),
            topic: draft.topic.clone(),
            qos: draft.qos,
            retain: draft.retain,
            is_will: false,
            payload_bytes: draft.payload_bytes,
            expiry_seconds: draft.expiry_seconds,
            delay_seconds: draft.delay_seconds,
            sent: Vec::new(),
            acknowledged: None,
        };
        let message = {
            let mut tables = self.scene.history.lock();
            tables.messages.push(message);
            tables.messages.len() - 1
        };
        let topic = match draft.delay_seconds {
            0 => draft.topic.clone(),
            delay => format!("$delayed/{delay}/{}", draft.topic),
        };
        let sent = Sent { packet_id, message, topic, qos: draft.qos, is_received: false };
        self.put_publish(&sent, false, draft.uses_alias);
        if let Some(session) = self.session.as_mut().filter(|_| packet_id > 0) {
            session.outgoing.push_back(sent);
        }
    }

    pub(crate) fn put_publish(&mut self, sent: &Sent, dup: bool, uses_alias: bool) {
        let at = self.now();
        let (retain, length, expiry) = {
            let mut tables = self.scene.history.lock();
            let what = What::Publish { dup, qos: sent.qos };
            tables.note(at, self.client, Some(sent.message), sent.packet_id, what);
            let message = &mut tables.messages[sent.message];
            message.sent.push(at);
            (message.retain, message.payload_bytes, message.expiry_seconds)
        };
        let Some(link) = &mut self.link else {
            return;
        };
        let is_v5 = self.habits.version == ProtocolVersion::V5;
        let known = link.known.len() as u16;
        let (topic, alias) = match link.known.get(&sent.topic) {
            Some(alias) if uses_alias => ("", Some(*alias)),
            None if uses_alias && is_v5 && known < 8 => {
                link.known.insert(sent.topic.clone(), known + 1);
                (&*sent.topic, Some(known + 1))
            }
            _ => (&*sent.topic, None),
        };
        let payload = payload::of(sent.message, length);
        let topic_name = TopicName::new(topic).unwrap_or(TopicName::empty());
        link.put(&Packet::Publish(Publish {
            dup: dup && sent.qos != QoS::AtMostOnce,
            qos: sent.qos,
            retain,
            topic: topic_name,
            packet_id: PacketIdentifier::new(sent.packet_id),
            properties: PublishProperties {
                message_expiry_interval_seconds: expiry.filter(|_| is_v5),
                topic_alias: alias.and_then(NonZeroU16::new),
                ..PublishProperties::default()
            },
            payload: &payload,
        }));
    }

    pub(crate) fn put_acknowledgement(
        &mut self,
        owed: PacketType,
        id: u16,
        message: Option<MessageId>,
    ) {
        let (packet, what) = {
            let ack = Acknowledgement::success(PacketIdentifier::new(id).expect("not 0"));
            match owed {
                PacketType::PubAck => (Packet::PubAck(ack), What::PubAckSent),
                PacketType::PubRec => (Packet::PubRec(ack), What::PubRecSent),
                PacketType::PubRel => (Packet::PubRel(ack), What::PubRelSent),
                _ => (Packet::PubComp(ack), What::PubCompSent),
            }
        };
        self.note(message, id, what);
        if let Some(link) = &mut self.link {
            link.put(&packet);
            if matches!(owed, PacketType::PubAck | PacketType::PubComp) {
                link.receiving.remove(&id);
            }
        }
    }

    pub(crate) fn subscribe(&mut self, filter: &str, options: SubscriptionOptions) {
        let (Some(session), Some(link)) = (&mut self.session, &mut self.link) else {
            return;
        };
        let packet_id = session.next_packet_id(link);
        let asked = self.scene.history.now();
        let mut tables = self.scene.history.lock();
        tables.note(asked, self.client, None, packet_id, What::Subscribe);
        tables.subscriptions.push(history::Subscription {
            client: self.client,
            session: session.number,
            filter: filter.to_owned(),
            options,
            asked,
            granted: None,
            leaving: None,
            gone: None,
        });
        session.subscriptions.insert(filter.to_owned(), tables.subscriptions.len() - 1);
        drop(tables);
        link.put(&Packet::Subscribe(Subscribe {
            packet_id: PacketIdentifier::new(packet_id).expect("not 0"),
            subscription_identifier: NonZeroU32::new(7).filter(|_| self.habits.takes_aliases),
            user_properties: Default::default(),
            subscriptions: (&[Subscription { filter, options }][..]).into(),
        }));
        link.request = Some(Request { packet_id, filter: filter.to_owned() });
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str) {
        let (Some(session), Some(link)) = (&mut self.session, &mut self.link) else {
            return;
        };
        let packet_id = session.next_packet_id(link);
        let now = self.scene.history.now();
        let mut tables = self.scene.history.lock();
        tables.note(now, self.client, None, packet_id, What::Unsubscribe);
        let number = session.number;
        let own = tables.subscriptions.iter_mut();
        for own in own.filter(|it| it.session == number && it.filter == filter) {
            own.leaving.get_or_insert(now);
        }
        drop(tables);
        link.put(&Packet::Unsubscribe(Unsubscribe {
            packet_id: PacketIdentifier::new(packet_id).expect("not 0"),
            user_properties: Default::default(),
            filters: (&[filter][..]).into(),
        }));
        link.request = Some(Request { packet_id, filter: filter.to_owned() });
    }

    /// Disconnects, with or without the Will Message.
    pub(crate) fn disconnect(&mut self, code: ReasonCode) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        self.note(None, 0, What::DisconnectSent(code));
        let is_goodbye = code == ReasonCode::Success;
        self.lose(link.number, if is_goodbye { End::Goodbye } else { End::Left });
        link.put(&Packet::Disconnect(Disconnect::with_reason(code)));
        link.wire.flush();
        if is_goodbye {
            self.scene.offer();
        }
    }

    /// Disconnects and thereby ends the Session.
    pub(crate) fn leave_for_good(&mut self) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        let left = self.now();
        self.note(None, 0, What::LeavesForGood);
        self.lose(link.number, End::Goodbye);
        self.end_session(left);
        let mut packet = Disconnect::with_reason(ReasonCode::Success);
        packet.session_expiry_interval = Some(0);
        link.put(&Packet::Disconnect(packet));
        let deadline = Instant::now() + Duration::from_secs(2);
        while let Ok(Some(_)) = link.wire.receive(deadline) {}
        match link.wire.receive(deadline) {
            Err(_) => self.left_for_good = Some(left),
            Ok(_) => self.wants_clean = true,
        }
        self.scene.offer();
    }

    /// Closes the socket, in the middle of a packet or between two.
    pub(crate) fn cut(&mut self, is_inside: bool) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        self.note(None, 0, if is_inside { What::CutInsideAPacket } else { What::Cut });
        self.lose(link.number, End::Left);
        if is_inside {
            let length = 20 + self.random.below(200) as usize;
            let kept = 1 + self.random.below(length as u64 - 1) as usize;
            link.wire.put_beginning(
                &Packet::Publish(Publish {
                    dup: false,
                    qos: QoS::AtLeastOnce,
                    retain: false,
                    topic: TopicName::new("t/cut").unwrap(),
                    packet_id: PacketIdentifier::new(u16::MAX),
                    properties: PublishProperties::default(),
                    payload: &vec![b'x'; length],
                }),
                kept,
            );
            link.wire.flush();
        }
    }

    /// Notes that the Network Connection is over: since now or, if the broker ended it, since the
    /// broker began to end.
    pub(crate) fn lose(&mut self, number: ConnectionId, end: End) {
        let now = self.now();
        let earliest = {
            let mut tables = self.scene.history.lock();
            tables.connections[number].end = Some((end, now));
            let since = tables.connections[number].asked;
            let outages = tables.outages.iter().rev();
            let mut ends = outages.filter(|it| {
                matches!(it.kind, OutageKind::Kill | OutageKind::Term) && it.from >= since
            });
            let began = ends.next().map_or(now, |outage| outage.from.min(now));
            if end == End::ByBroker { began } else { now }
        };
        self.offline = Some(earliest);
        if self.habits.expiry_seconds == 0 {
            self.end_session(earliest);
        }
    }

    /// Sends a PINGREQ if that is due to keep the Network Connection alive.
    pub(crate) fn ping_if_due(&mut self) {
        let period = Duration::from_secs(u64::from(self.habits.keep_alive_seconds)) / 3;
        let is_due = |link: &Link| !period.is_zero() && link.last_sent.elapsed() >= period;
        if self.link.as_ref().is_some_and(is_due) {
            self.ping();
        }
    }

    pub(crate) fn ping(&mut self) {
        if let Some(link) = &mut self.link {
            link.put(&Packet::PingReq);
            link.pings += 1;
        }
    }
}

impl Link {
    pub(crate) fn new(wire: wire::Connection, number: ConnectionId) -> Self {
        Self {
            wire,
            number,
            receiving: HashSet::new(),
            owed: VecDeque::new(),
            hold_until: 0,
            aliases: HashMap::new(),
            known: HashMap::new(),
            request: None,
            last_sent: Instant::now(),
            pings: 0,
        }
    }

    fn put(&mut self, packet: &Packet<'_>) {
        self.wire.put(packet);
        self.last_sent = Instant::now();
    }
}

impl State {
    pub(crate) fn new(number: SessionId) -> Self {
        Self {
            number,
            outgoing: VecDeque::new(),
            unreleased: HashMap::new(),
            used: HashSet::new(),
            subscriptions: HashMap::new(),
            last_packet_id: 0,
        }
    }

    /// Returns a low Packet Identifier, so that each is reused soon.
    fn next_packet_id(&mut self, link: &Link) -> u16 {
        let is_used = |id: u16| {
            self.outgoing.iter().any(|sent| sent.packet_id == id)
                || link.request.as_ref().is_some_and(|it| it.packet_id == id)
        };
        let id = (1..=u16::MAX).find(|id| !is_used(*id)).expect("few are in use");
        self.last_packet_id = id;
        id
    }
}
