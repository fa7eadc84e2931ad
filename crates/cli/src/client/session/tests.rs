//! The session against a Server that consists only of bytes, on the test's own clock.

mod connecting;
mod receiving;
mod sending;

use std::num::{NonZeroU16, NonZeroU32};
use std::rc::Rc;

use midge_codec::{
    Acknowledgement, ConnAck, ConnAckProperties, Disconnect, Publish, PublishProperties,
    RetainHandling, SubAck, Subscribe, Subscription, SubscriptionOptions, Subscriptions, TopicName,
    UnsubAck,
};

use super::*;
use crate::client::property::{Properties, PropertySet};

/// A session, and the Server's end of its connection.
struct Pair {
    session: Session,
    version: ProtocolVersion,
    now: Instant,
}

impl Pair {
    fn new(options: ConnectOptions) -> Self {
        let version = options.version;
        let mut session = Session::new(options);
        let now = Instant::now();
        session.connect(now);
        Self { session, version, now }
    }

    /// Returns a session that the Server has accepted with these limits.
    fn accepted(options: ConnectOptions, properties: ConnAckProperties<'_>) -> Self {
        let mut pair = Self::new(options);
        pair.sent();
        pair.receive(&connack(false, properties));
        assert_eq!(pair.events(), [Event::Connected { session_present: false }]);
        pair
    }

    fn connected() -> Self {
        Self::accepted(ConnectOptions::default(), ConnAckProperties::default())
    }

    /// Returns what the Server receives, one line for each packet.
    fn sent(&mut self) -> Vec<String> {
        let mut bytes = self.session.outbound(CONTROL);
        let mut lines = Vec::new();
        while !bytes.is_empty() {
            match decode(bytes, self.version, PACKET_SIZE_MAX).unwrap() {
                Decoded::Packet { packet, length } => {
                    lines.push(describe::describe(&packet));
                    bytes = &bytes[length..];
                }
                Decoded::Incomplete { .. } => panic!("only whole packets are queued"),
            }
        }
        self.session.handle_sent(CONTROL, self.session.outbound(CONTROL).len());
        lines
    }

    fn receive(&mut self, packet: &Packet<'_>) {
        self.session.handle_bytes(CONTROL, &self.encoded(packet));
    }

    fn encoded(&self, packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).unwrap();
        bytes
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.session.poll_event(self.now).unwrap() {
            events.push(event);
        }
        events
    }

    fn fault(&mut self) -> String {
        loop {
            match self.session.poll_event(self.now) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("there is no fault"),
                Err(Fault::Protocol(text) | Fault::Silence(text)) => return text,
            }
        }
    }

    fn publish(&mut self, qos: QoS) {
        self.session.publish(&publication(qos), self.now).unwrap();
    }
}

fn publication(qos: QoS) -> Publication {
    Publication {
        topic: "t".into(),
        payload: Rc::from(&b"x"[..]),
        qos,
        retain: false,
        properties: Rc::default(),
    }
}

fn id(packet_id: u16) -> PacketIdentifier {
    PacketIdentifier::new(packet_id).unwrap()
}

fn connack(session_present: bool, properties: ConnAckProperties<'_>) -> Packet<'_> {
    let reason_code = ReasonCode::Success;
    Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties }))
}

fn publish(qos: QoS, packet_id: u16, topic: &str) -> Publish<'_> {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: if topic.is_empty() { TopicName::empty() } else { TopicName::new(topic).unwrap() },
        packet_id: PacketIdentifier::new(packet_id),
        properties: PublishProperties::default(),
        payload: b"x",
    }
}

fn content(packet_id: u16, reason_code: ReasonCode) -> Acknowledgement<'static> {
    Acknowledgement {
        packet_id: id(packet_id),
        reason_code,
        reason_string: None,
        user_properties: Default::default(),
    }
}

fn options(words: &str) -> ConnectOptions {
    let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
    let properties = Properties::parse(&words).unwrap().connect;
    ConnectOptions { properties, ..ConnectOptions::default() }
}

fn topics(events: &[Event]) -> Vec<&str> {
    let mut topics = Vec::new();
    for event in events {
        let Event::Message(message) = event else { panic!("{event:?} is not a message") };
        topics.push(message.topic.as_str());
    }
    topics
}
