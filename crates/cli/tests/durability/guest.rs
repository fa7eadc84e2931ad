//! A Client that does one thing after another, for tests in which the order matters.

use std::time::{Duration, Instant};

use midge_codec::{
    Connect, ConnectProperties, Disconnect, Packet, PacketIdentifier, ProtocolVersion, Publish,
    PublishProperties, QoS, ReasonCode, Subscribe, Subscription, SubscriptionOptions, TopicName,
    Unsubscribe,
};

use crate::common::broker::Home;
use crate::common::wire::{Connection, Incoming};

const PATIENCE: Duration = Duration::from_secs(30);
/// The Packet Identifier of every PUBLISH that it sends.
pub(crate) const UNRELEASED: u16 = 7;

/// A Client of MQTT 5.0 that does one thing after another.
pub(crate) struct Guest(pub(crate) Connection);

impl Guest {
    /// Connects; also returns whether there was a Session.
    pub(crate) fn connect(
        home: &Home,
        client_id: &str,
        clean_start: bool,
        expiry: u32,
    ) -> (Self, bool) {
        let connection = Connection::open(home.port(), ProtocolVersion::V5).unwrap();
        let mut client = Self(connection);
        client.0.put(&Packet::Connect(Box::new(Connect {
            version: ProtocolVersion::V5,
            bridge: false,
            clean_start,
            keep_alive_seconds: 0,
            client_id,
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties {
                session_expiry_interval: Some(expiry),
                ..ConnectProperties::default()
            },
        })));
        match client.next() {
            Incoming::ConnAck { session_present, code: ReasonCode::Success } => {
                (client, session_present)
            }
            other => panic!("the CONNECT of {client_id} was answered with {other:?}"),
        }
    }

    pub(crate) fn next(&mut self) -> Incoming {
        let incoming = self.0.receive(Instant::now() + PATIENCE);
        incoming.expect("the connection lives").expect("something comes")
    }

    pub(crate) fn subscribe(&mut self, filter: &str) {
        let options = SubscriptionOptions { qos: QoS::AtMostOnce, ..<_>::default() };
        self.0.put(&Packet::Subscribe(Subscribe {
            packet_id: id(1),
            subscription_identifier: None,
            user_properties: Default::default(),
            subscriptions: (&[Subscription { filter, options }][..]).into(),
        }));
        assert!(matches!(self.next(), Incoming::SubAck(1, _)));
    }

    pub(crate) fn unsubscribe(&mut self, filter: &str) {
        self.0.put(&Packet::Unsubscribe(Unsubscribe {
            packet_id: id(1),
            user_properties: Default::default(),
            filters: (&[filter][..]).into(),
        }));
        assert!(matches!(self.next(), Incoming::UnsubAck(1)));
    }

    /// Sends a PUBLISH without waiting.
    pub(crate) fn put(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) {
        self.put_with(topic, payload, qos, retain, PublishProperties::default());
    }

    fn put_with(
        &mut self,
        topic: &str,
        payload: &str,
        qos: QoS,
        retain: bool,
        properties: PublishProperties<'_>,
    ) {
        self.0.put(&Packet::Publish(Publish {
            dup: false,
            qos,
            retain,
            topic: TopicName::new(topic).unwrap(),
            packet_id: (qos > QoS::AtMostOnce).then_some(id(UNRELEASED)),
            payload: payload.as_bytes(),
            properties,
        }));
        self.0.flush();
    }

    /// Sets a retained message that expires, and waits for the PUBACK.
    pub(crate) fn retain(&mut self, topic: &str, expiry_seconds: u32) {
        let message_expiry_interval_seconds = Some(expiry_seconds);
        let properties = PublishProperties { message_expiry_interval_seconds, ..<_>::default() };
        self.put_with(topic, topic, QoS::AtLeastOnce, true, properties);
        self.expect_acknowledged(QoS::AtLeastOnce);
    }

    /// Returns the topics that have a retained message now, sorted.
    pub(crate) fn retained(&mut self) -> Vec<String> {
        const END: &str = "that is all";
        self.subscribe("#");
        self.put(END, END, QoS::AtMostOnce, false);
        let mut topics = Vec::new();
        loop {
            match self.next() {
                Incoming::Publish(received) if received.topic == END => break,
                Incoming::Publish(received) => topics.push(received.topic),
                other => panic!("not a message came, but {other:?}"),
            }
        }
        topics.sort_unstable();
        topics
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: QoS, retain: bool) {
        self.put(topic, payload, qos, retain);
        self.expect_acknowledged(qos);
    }

    fn expect_acknowledged(&mut self, qos: QoS) {
        match (qos, self.next()) {
            (QoS::AtLeastOnce, Incoming::PubAck(UNRELEASED, _))
            | (QoS::ExactlyOnce, Incoming::PubRec(UNRELEASED, _)) => (),
            (qos, other) => panic!("a PUBLISH of {qos:?} was answered with {other:?}"),
        }
    }

    pub(crate) fn disconnect(mut self, expiry: Option<u32>) {
        let mut packet = Disconnect::with_reason(ReasonCode::Success);
        packet.session_expiry_interval = expiry;
        self.0.put(&Packet::Disconnect(packet));
        self.0.flush();
        assert!(self.0.receive(Instant::now() + PATIENCE).is_err(), "the broker closes");
    }

    /// Returns the payload of the next message.
    pub(crate) fn message(&mut self) -> String {
        match self.next() {
            Incoming::Publish(received) => String::from_utf8(received.payload).unwrap(),
            other => panic!("not a message came, but {other:?}"),
        }
    }
}

pub(crate) fn id(number: u16) -> PacketIdentifier {
    PacketIdentifier::new(number).unwrap()
}
