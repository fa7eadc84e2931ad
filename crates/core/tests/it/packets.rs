//! Short ways to write the packets that scripted Clients send.

use std::num::{NonZeroU16, NonZeroU32};

use midge_codec::{
    Acknowledgement, Connect, ConnectProperties, Packet, PacketIdentifier, ProtocolVersion,
    Publish, PublishProperties, QoS, RetainHandling, SubscriptionOptions, TopicName, Will,
};

pub(crate) fn qos(number: u8) -> QoS {
    QoS::from_bits(number).expect("0, 1 or 2")
}

pub(crate) fn id(number: u16) -> PacketIdentifier {
    PacketIdentifier::new(number).expect("not 0")
}

/// A CONNECT of MQTT 5: Clean Start, no Keep Alive, and the Session ends with the connection.
pub(crate) fn connect(client_id: &str) -> Connect<'_> {
    Connect {
        version: ProtocolVersion::V5,
        bridge: false,
        clean_start: true,
        keep_alive_seconds: 0,
        client_id,
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// A CONNECT of MQTT 5 that resumes a Session, which lives on for an hour.
pub(crate) fn persistent(client_id: &str) -> Connect<'_> {
    let mut packet = connect(client_id);
    packet.clean_start = false;
    packet.properties.session_expiry_interval = Some(3600);
    packet
}

/// A CONNECT of MQTT 3.1.1.
pub(crate) fn connect_v3(client_id: &str, clean_session: bool) -> Connect<'_> {
    let mut packet = connect(client_id);
    packet.version = ProtocolVersion::V3_1_1;
    packet.clean_start = clean_session;
    packet
}

pub(crate) fn will<'a>(topic: &'a str, payload: &'a str, level: u8) -> Will<'a> {
    Will {
        qos: qos(level),
        retain: false,
        topic: TopicName::new(topic).expect("a valid topic"),
        payload: payload.as_bytes(),
        delay_interval_seconds: None,
        properties: PublishProperties::default(),
    }
}

/// A PUBLISH; `packet_id` is not used at QoS 0. An empty topic is for use with an alias.
pub(crate) fn publish<'a>(
    topic: &'a str,
    payload: &'a str,
    level: u8,
    packet_id: u16,
) -> Publish<'a> {
    Publish {
        dup: false,
        qos: qos(level),
        retain: false,
        topic: if topic.is_empty() {
            TopicName::empty()
        } else {
            TopicName::new(topic).expect("a valid topic")
        },
        packet_id: (level > 0).then(|| id(packet_id)),
        properties: PublishProperties::default(),
        payload: payload.as_bytes(),
    }
}

pub(crate) fn retained<'a>(topic: &'a str, payload: &'a str) -> Publish<'a> {
    Publish { retain: true, ..publish(topic, payload, 0, 0) }
}

pub(crate) fn with_alias(mut packet: Publish<'_>, alias: u16) -> Publish<'_> {
    packet.properties.topic_alias = NonZeroU16::new(alias);
    packet
}

pub(crate) fn with_expiry(mut packet: Publish<'_>, seconds: u32) -> Publish<'_> {
    packet.properties.message_expiry_interval_seconds = Some(seconds);
    packet
}

pub(crate) fn options(level: u8) -> SubscriptionOptions {
    SubscriptionOptions { qos: qos(level), ..SubscriptionOptions::default() }
}

pub(crate) fn handling(level: u8, retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions { retain_handling, ..options(level) }
}

pub(crate) fn identifier(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

pub(crate) fn puback(number: u16) -> Packet<'static> {
    Packet::PubAck(Acknowledgement::success(id(number)))
}

pub(crate) fn pubrec(number: u16) -> Packet<'static> {
    Packet::PubRec(Acknowledgement::success(id(number)))
}

pub(crate) fn pubrel(number: u16) -> Packet<'static> {
    Packet::PubRel(Acknowledgement::success(id(number)))
}

pub(crate) fn pubcomp(number: u16) -> Packet<'static> {
    Packet::PubComp(Acknowledgement::success(id(number)))
}
