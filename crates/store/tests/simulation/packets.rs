//! Short ways to write the packets that Clients send.

use std::num::NonZeroU16;

use midge_codec::{
    Acknowledgement, Connect, ConnectProperties, Packet, PacketIdentifier, PacketType,
    ProtocolVersion, Publish, PublishProperties, QoS, Subscribe, Subscription, SubscriptionOptions,
    TopicName, Unsubscribe, UserProperties, Will,
};

use crate::plan::ClientPlan;

pub(crate) fn qos(number: u8) -> QoS {
    QoS::from_bits(number).expect("0, 1 or 2")
}

pub(crate) fn id(number: u16) -> PacketIdentifier {
    PacketIdentifier::new(number).expect("not 0")
}

/// The Will Message of a CONNECT.
pub(crate) struct WillPacket<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) delay_seconds: u32,
}

pub(crate) fn connect<'a>(
    plan: &'a ClientPlan,
    clean_start: bool,
    will: Option<&WillPacket<'a>>,
) -> Packet<'a> {
    let is_v5 = plan.is_v5();
    let will = will.map(|will| Will {
        qos: qos(will.qos),
        retain: false,
        topic: TopicName::new(will.topic).expect("a valid topic"),
        payload: will.payload,
        delay_interval_seconds: (is_v5 && will.delay_seconds > 0).then_some(will.delay_seconds),
        properties: PublishProperties::default(),
    });
    Packet::Connect(Box::new(Connect {
        version: plan.version,
        bridge: false,
        clean_start,
        keep_alive_seconds: 0,
        client_id: &plan.id,
        will,
        user_name: None,
        password: None,
        properties: ConnectProperties {
            session_expiry_interval: is_v5.then_some(plan.expiry_seconds),
            receive_maximum: plan.receive_maximum.filter(|_| is_v5).and_then(NonZeroU16::new),
            ..ConnectProperties::default()
        },
    }))
}

pub(crate) fn publish<'a>(
    topic: &'a str,
    payload: &'a [u8],
    level: u8,
    packet_id: u16,
    (retain, dup): (bool, bool),
    message_expiry_interval_seconds: Option<u32>,
) -> Packet<'a> {
    let properties =
        PublishProperties { message_expiry_interval_seconds, ..PublishProperties::default() };
    Packet::Publish(Publish {
        dup,
        qos: qos(level),
        retain,
        topic: TopicName::new(topic).expect("a valid topic"),
        packet_id: Some(id(packet_id)),
        properties,
        payload,
    })
}

pub(crate) fn acknowledgement(kind: PacketType, packet_id: u16) -> Packet<'static> {
    let acknowledgement = Acknowledgement::success(id(packet_id));
    match kind {
        PacketType::PubAck => Packet::PubAck(acknowledgement),
        PacketType::PubRec => Packet::PubRec(acknowledgement),
        PacketType::PubRel => Packet::PubRel(acknowledgement),
        PacketType::PubComp => Packet::PubComp(acknowledgement),
        _ => unreachable!("one of the four"),
    }
}

/// Appends a SUBSCRIBE to one filter.
pub(crate) fn put_subscribe(
    filter: &str,
    level: u8,
    packet_id: u16,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) {
    let options = SubscriptionOptions { qos: qos(level), ..SubscriptionOptions::default() };
    let entries = [Subscription { filter, options }];
    let packet = Packet::Subscribe(Subscribe {
        packet_id: id(packet_id),
        subscription_identifier: None,
        user_properties: UserProperties::default(),
        subscriptions: entries[..].into(),
    });
    packet.encode(version, out).expect("a small packet");
}

/// Appends an UNSUBSCRIBE from one filter.
pub(crate) fn put_unsubscribe(
    filter: &str,
    packet_id: u16,
    version: ProtocolVersion,
    out: &mut Vec<u8>,
) {
    let filters = [filter];
    let packet = Packet::Unsubscribe(Unsubscribe {
        packet_id: id(packet_id),
        user_properties: UserProperties::default(),
        filters: filters[..].into(),
    });
    packet.encode(version, out).expect("a small packet");
}
