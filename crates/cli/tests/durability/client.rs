//! A Client with the Session State that the specification requires of a Client: messages under way,
//! which it sends again, and QoS 2 Packet Identifiers that it has seen and not yet released. It
//! does not decide what is published or what has to arrive.

use std::collections::{HashSet, VecDeque};
use std::num::NonZeroU16;
use std::thread;
use std::time::Instant;

use midge_codec::{
    Acknowledgement, Connect, ConnectProperties, Disconnect, Packet, PacketIdentifier,
    ProtocolVersion, Publish, PublishProperties, QoS, ReasonCode, Subscribe, Subscription,
    SubscriptionOptions, TopicName, Unsubscribe, Will,
};

use crate::common::random::Random;
use crate::common::wire::{Connection, Gone, Incoming, Received};
use crate::message::Key;
use crate::round::{Fault, PATIENCE, Round};
use crate::trace::{Event, Trace};

/// How long a Session of MQTT 5.0 lives on without its Client.
const SESSION_EXPIRY_SECONDS: u32 = 3600;

/// A Client and its Session State.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) version: ProtocolVersion,
    /// Its own Receive Maximum (MQTT 5.0).
    pub(crate) receive_maximum: Option<NonZeroU16>,
    pub(crate) will: Option<WillMessage>,
    /// Whether its Session begins and ends with the Network Connection.
    pub(crate) is_clean: bool,
    /// If set, it waits before each acknowledgement.
    pub(crate) slowness: Option<Random>,
    /// Whether the broker has promised to keep the Session.
    pub(crate) is_promised: bool,
    pub(crate) trace: Trace,
    connection: Option<Connection>,
    unfinished: VecDeque<Sent>,
    unreleased: HashSet<u16>,
    last_packet_id: u16,
}

/// A Will Message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WillMessage {
    pub(crate) key: Key,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// A message on its way to the broker.
#[derive(Clone, Debug)]
struct Sent {
    packet_id: u16,
    message: Outgoing,
    /// Whether the PUBREC has arrived, so that the PUBREL is sent again.
    is_received: bool,
}

/// A message to be published.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) key: Key,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// The payload; if empty, the message removes the retained message of its topic.
    pub(crate) payload: Vec<u8>,
}

/// An event that concerns the user of a Client.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A message that this Client has not seen before; at QoS 2, reported exactly once.
    Message(Key, Received),
    /// The broker has accepted a message, by PUBACK or PUBREC.
    Acknowledged(Key),
    Subscribed(u16, Vec<ReasonCode>),
    Unsubscribed,
    Answered,
    /// A packet of an exchange that continues.
    Something,
    /// The deadline has passed.
    Nothing,
}

impl Client {
    pub(crate) fn new(id: &str, version: ProtocolVersion) -> Self {
        Self {
            id: id.to_owned(),
            version,
            receive_maximum: None,
            will: None,
            is_clean: false,
            slowness: None,
            is_promised: false,
            trace: Trace::default(),
            connection: None,
            unfinished: VecDeque::new(),
            unreleased: HashSet::new(),
            last_packet_id: 0,
        }
    }

    /// Returns how many messages are on their way to the broker.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    /// Connects and continues the Session.
    pub(crate) fn connect(&mut self, round: &Round) -> Result<(), Gone> {
        let mut connection = Connection::open(round.port, self.version)?;
        round.enter(&connection)?;
        self.put_connect(&mut connection);
        let answer = connection.receive(Instant::now() + PATIENCE)?;
        let session_present = match answer {
            Some(Incoming::ConnAck { session_present, code: ReasonCode::Success }) => {
                session_present
            }
            Some(other) => return Err(Gone::Broken(format!("answers CONNECT with {other:?}"))),
            None => return Err(Gone::Broken("does not answer CONNECT".into())),
        };
        round.note_answer();
        self.connection = Some(connection);
        let event = if session_present { Event::Connected } else { Event::ConnectedAnew };
        self.trace.note(round.now(), event, 0, None);
        if !session_present {
            if self.is_promised {
                let text = format!("{} finds no session where it had one", self.id);
                round.find(Fault::SessionLost, &text);
            }
            self.unfinished.clear();
            self.unreleased.clear();
        }
        self.send_again(round);
        Ok(())
    }

    fn put_connect(&self, connection: &mut Connection) {
        let expires = self.version == ProtocolVersion::V5 && !self.is_clean;
        let will = self.will.map(|will| (will, will.key.topic(), will.key.payload()));
        let connect = Connect {
            version: self.version,
            bridge: false,
            clean_start: self.is_clean,
            keep_alive_seconds: 0,
            client_id: &self.id,
            will: will.as_ref().map(|(will, topic, payload)| Will {
                qos: will.qos,
                retain: will.retain,
                topic: TopicName::new(topic).unwrap(),
                payload,
                delay_interval_seconds: None,
                properties: PublishProperties::default(),
            }),
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval: expires.then_some(SESSION_EXPIRY_SECONDS),
                receive_maximum: self.receive_maximum,
                ..ConnectProperties::default()
            },
        };
        connection.put(&Packet::Connect(Box::new(connect)));
    }

    /// Sends everything that is under way again, in order [MQTT-4.4.0-1] [MQTT-4.6.0-1].
    fn send_again(&mut self, round: &Round) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        for sent in &self.unfinished {
            let event = if sent.is_received {
                connection.put(&Packet::PubRel(success(sent.packet_id)));
                Event::PubRelSent
            } else {
                put_publish(connection, &sent.message, sent.packet_id, true);
                Event::PublishSentAgain
            };
            self.trace.note(round.now(), event, sent.packet_id, Some(sent.message.key));
        }
    }

    /// Queues a PUBLISH; it leaves with the next wait.
    pub(crate) fn publish(&mut self, message: Outgoing, round: &Round) {
        let packet_id = self.next_packet_id();
        if let Some(connection) = &mut self.connection {
            put_publish(connection, &message, packet_id, false);
        }
        self.trace.note(round.now(), Event::PublishSent, packet_id, Some(message.key));
        self.unfinished.push_back(Sent { packet_id, message, is_received: false });
    }

    /// Queues a SUBSCRIBE and returns its Packet Identifier.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: QoS) -> u16 {
        let packet_id = self.next_packet_id();
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        self.put(&Packet::Subscribe(Subscribe {
            packet_id: identifier(packet_id),
            subscription_identifier: None,
            user_properties: Default::default(),
            subscriptions: (&[Subscription { filter, options }][..]).into(),
        }));
        packet_id
    }

    /// Queues an UNSUBSCRIBE and returns its Packet Identifier.
    pub(crate) fn unsubscribe(&mut self, filter: &str) -> u16 {
        let packet_id = self.next_packet_id();
        self.put(&Packet::Unsubscribe(Unsubscribe {
            packet_id: identifier(packet_id),
            user_properties: Default::default(),
            filters: (&[filter][..]).into(),
        }));
        packet_id
    }

    /// Subscribes and waits until the broker grants it.
    pub(crate) fn subscribe_and_wait(
        &mut self,
        filter: &str,
        qos: QoS,
        round: &Round,
    ) -> Result<(), Gone> {
        let request = self.subscribe(filter, qos);
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline, round)? {
                Happened::Subscribed(id, codes) if id == request => {
                    if codes.iter().any(|code| code.is_error()) {
                        return Err(Gone::Broken(format!("refuses {filter}: {codes:?}")));
                    }
                    self.is_promised = true;
                    return Ok(());
                }
                Happened::Nothing => return Err(Gone::Broken("does not answer SUBSCRIBE".into())),
                // Other events do not matter here: a client that takes its first subscription
                // misses nothing.
                _ => (),
            }
        }
    }

    pub(crate) fn ping(&mut self) {
        self.put(&Packet::PingReq);
    }

    /// Disconnects in an orderly way. The Session stays.
    pub(crate) fn disconnect(&mut self) {
        self.put(&Packet::Disconnect(Disconnect::with_reason(ReasonCode::Success)));
        if let Some(mut connection) = self.connection.take() {
            connection.flush();
        }
    }

    /// Waits for the next packet and does what the protocol requires.
    pub(crate) fn next(&mut self, deadline: Instant, round: &Round) -> Result<Happened, Gone> {
        let Some(connection) = &mut self.connection else {
            return Err(Gone::Ended);
        };
        match connection.receive(deadline) {
            Ok(None) => Ok(Happened::Nothing),
            Ok(Some(incoming)) => self.handle(incoming, round),
            Err(gone) => {
                self.connection = None;
                self.trace.note(round.now(), Event::Gone, 0, None);
                Err(gone)
            }
        }
    }

    fn handle(&mut self, incoming: Incoming, round: &Round) -> Result<Happened, Gone> {
        match incoming {
            Incoming::Publish(received) => return self.take_message(received, round),
            Incoming::PubAck(id, code) => {
                return self.take_acknowledgement(id, code, QoS::AtLeastOnce, round);
            }
            Incoming::PubRec(id, code) => {
                return self.take_acknowledgement(id, code, QoS::ExactlyOnce, round);
            }
            Incoming::PubRel(id) => {
                self.trace.note(round.now(), Event::PubRelReceived, id, None);
                self.unreleased.remove(&id);
                self.answer(Event::PubCompSent, id, None, round);
            }
            Incoming::PubComp(id) => {
                self.trace.note(round.now(), Event::PubCompReceived, id, None);
                self.unfinished.retain(|sent| sent.packet_id != id || !sent.is_received);
            }
            Incoming::SubAck(id, codes) => return Ok(Happened::Subscribed(id, codes)),
            Incoming::UnsubAck(_) => return Ok(Happened::Unsubscribed),
            Incoming::PingResp => return Ok(Happened::Answered),
            Incoming::Disconnect(code) => {
                return Err(Gone::Broken(format!("disconnects: {code:?}")));
            }
            Incoming::ConnAck { .. } => return Err(Gone::Broken("sends a second CONNACK".into())),
        }
        Ok(Happened::Something)
    }

    fn take_message(&mut self, received: Received, round: &Round) -> Result<Happened, Gone> {
        let id = received.packet_id;
        let Some(key) = Key::of(&received.topic, &received.payload) else {
            let text = format!("{} gets what nobody has sent: {received:?}", self.id);
            round.find(Fault::Altered, &text);
            return Err(Gone::Broken("alters a message".into()));
        };
        let is_known = received.qos == QoS::ExactlyOnce && !self.unreleased.insert(id);
        let event = match (is_known, received.dup) {
            (true, _) => Event::PublishOfUnreleasedReceived,
            (_, true) => Event::PublishReceivedWithDup,
            _ => Event::PublishReceived,
        };
        self.trace.note(round.now(), event, id, Some(key));
        match received.qos {
            QoS::AtMostOnce => (),
            QoS::AtLeastOnce => self.answer(Event::PubAckSent, id, Some(key), round),
            QoS::ExactlyOnce => self.answer(Event::PubRecSent, id, Some(key), round),
        }
        Ok(if is_known { Happened::Something } else { Happened::Message(key, received) })
    }

    fn answer(&mut self, event: Event, packet_id: u16, key: Option<Key>, round: &Round) {
        if let Some(slowness) = &mut self.slowness {
            thread::sleep(slowness.micros(0, 2_000));
        }
        let ack = success(packet_id);
        self.put(&match event {
            Event::PubAckSent => Packet::PubAck(ack),
            Event::PubRecSent => Packet::PubRec(ack),
            _ => Packet::PubComp(ack),
        });
        self.trace.note(round.now(), event, packet_id, key);
    }

    /// Handles a PUBACK or PUBREC. One that answers nothing belongs to an exchange that an earlier
    /// one ended.
    fn take_acknowledgement(
        &mut self,
        id: u16,
        code: ReasonCode,
        qos: QoS,
        round: &Round,
    ) -> Result<Happened, Gone> {
        let is_it = |sent: &Sent| sent.packet_id == id && sent.message.qos == qos;
        let place = self.unfinished.iter().position(is_it);
        let key = place.map(|place| self.unfinished[place].message.key);
        let is_exactly_once = qos == QoS::ExactlyOnce;
        let event = if is_exactly_once { Event::PubRecReceived } else { Event::PubAckReceived };
        self.trace.note(round.now(), event, id, key);
        if code.is_error() {
            return Err(Gone::Broken(format!("refuses packet {id} ({key:?}): {code:?}")));
        }
        if is_exactly_once {
            self.put(&Packet::PubRel(success(id)));
            self.trace.note(round.now(), Event::PubRelSent, id, key);
        }
        let (Some(place), Some(key)) = (place, key) else {
            return Ok(Happened::Something);
        };
        let is_first = if is_exactly_once {
            !std::mem::replace(&mut self.unfinished[place].is_received, true)
        } else {
            self.unfinished.remove(place).is_some()
        };
        Ok(if is_first { Happened::Acknowledged(key) } else { Happened::Something })
    }

    fn put(&mut self, packet: &Packet<'_>) {
        if let Some(connection) = &mut self.connection {
            connection.put(packet);
        }
    }

    fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            let id = self.last_packet_id;
            if !self.unfinished.iter().any(|sent| sent.packet_id == id) {
                return id;
            }
        }
    }
}

fn put_publish(connection: &mut Connection, message: &Outgoing, packet_id: u16, dup: bool) {
    connection.put(&Packet::Publish(Publish {
        dup,
        qos: message.qos,
        retain: message.retain,
        topic: TopicName::new(&message.key.topic()).unwrap(),
        packet_id: Some(identifier(packet_id)),
        properties: PublishProperties::default(),
        payload: &message.payload,
    }));
}

fn identifier(packet_id: u16) -> PacketIdentifier {
    PacketIdentifier::new(packet_id).expect("no Packet Identifier is 0")
}

fn success(packet_id: u16) -> Acknowledgement<'static> {
    Acknowledgement::success(identifier(packet_id))
}
