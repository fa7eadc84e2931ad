//! What a scripted Client has received: owned copies of the packets, easy to compare.

use midge_codec::{Packet, Publish, ReasonCode};

/// A PUBLISH as a Client sees it. The topic is the resolved one; `alias` is the alias on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) packet_id: u16,
    pub(crate) alias: Option<u16>,
    /// Whether the topic was left out on the wire.
    pub(crate) topic_omitted: bool,
    pub(crate) expiry: Option<u32>,
    pub(crate) identifiers: Vec<u32>,
    pub(crate) user_properties: Vec<(String, String)>,
    pub(crate) length: usize,
}

/// The parts of a CONNACK that tests look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GotConnAck {
    pub(crate) session_present: bool,
    pub(crate) code: u8,
    pub(crate) assigned: Option<String>,
    pub(crate) server_keep_alive: Option<u16>,
    pub(crate) session_expiry: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) topic_alias_maximum: Option<u16>,
    pub(crate) response_information: Option<String>,
    pub(crate) maximum_qos: Option<u8>,
    pub(crate) packet_bytes_max: Option<u32>,
    /// Whether these are available: retained messages, wildcards, shared subscriptions, and
    /// Subscription Identifiers.
    pub(crate) unavailable: [Option<bool>; 4],
    pub(crate) method: Option<String>,
    pub(crate) data: Option<Vec<u8>>,
}

/// One packet, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    ConnAck(GotConnAck),
    Publish(Got),
    PubAck(u16, ReasonCode),
    PubRec(u16, ReasonCode),
    PubRel(u16, ReasonCode),
    PubComp(u16, ReasonCode),
    SubAck(u16, Vec<ReasonCode>),
    UnsubAck(u16, Vec<ReasonCode>),
    PingResp,
    Disconnect(ReasonCode),
    Auth(ReasonCode, Option<Vec<u8>>),
}

impl Got {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("test payloads are text")
    }

    fn of(publish: &Publish<'_>, length: usize) -> Self {
        let properties = &publish.properties;
        let users = properties.user_properties.iter();
        Self {
            topic: publish.topic.as_str().to_string(),
            payload: publish.payload.to_vec(),
            qos: publish.qos as u8,
            retain: publish.retain,
            dup: publish.dup,
            packet_id: publish.packet_id.map_or(0, midge_codec::PacketIdentifier::get),
            alias: properties.topic_alias.map(std::num::NonZero::get),
            topic_omitted: publish.topic.as_str().is_empty(),
            expiry: properties.message_expiry_interval_seconds,
            identifiers: properties
                .subscription_identifiers
                .iter()
                .map(std::num::NonZero::get)
                .collect(),
            user_properties: users.map(|(name, value)| (name.into(), value.into())).collect(),
            length,
        }
    }
}

impl Received {
    pub(crate) fn of(packet: &Packet<'_>, length: usize) -> Self {
        match packet {
            Packet::ConnAck(ack) => Self::ConnAck(connack(ack)),
            Packet::Publish(publish) => Self::Publish(Got::of(publish, length)),
            Packet::PubAck(ack) => Self::PubAck(ack.packet_id.get(), ack.reason_code),
            Packet::PubRec(ack) => Self::PubRec(ack.packet_id.get(), ack.reason_code),
            Packet::PubRel(ack) => Self::PubRel(ack.packet_id.get(), ack.reason_code),
            Packet::PubComp(ack) => Self::PubComp(ack.packet_id.get(), ack.reason_code),
            Packet::SubAck(ack) => Self::SubAck(ack.packet_id.get(), ack.reason_codes.to_vec()),
            Packet::UnsubAck(ack) => Self::UnsubAck(ack.packet_id.get(), ack.reason_codes.to_vec()),
            Packet::PingResp => Self::PingResp,
            Packet::Disconnect(disconnect) => Self::Disconnect(disconnect.reason_code),
            Packet::Auth(auth) => {
                Self::Auth(auth.reason_code, auth.authentication_data.map(Into::into))
            }
            other => panic!("a Server never sends {}", other.packet_type().name()),
        }
    }
}

fn connack(ack: &midge_codec::ConnAck<'_>) -> GotConnAck {
    let properties = &ack.properties;
    GotConnAck {
        session_present: ack.session_present,
        code: ack.reason_code as u8,
        assigned: properties.assigned_client_identifier.map(Into::into),
        server_keep_alive: properties.server_keep_alive,
        session_expiry: properties.session_expiry_interval,
        receive_maximum: properties.receive_maximum.map(std::num::NonZero::get),
        topic_alias_maximum: properties.topic_alias_maximum,
        response_information: properties.response_information.map(Into::into),
        maximum_qos: properties.maximum_qos.map(|qos| qos as u8),
        packet_bytes_max: properties.maximum_packet_size.map(std::num::NonZero::get),
        unavailable: [
            properties.retain_available,
            properties.wildcard_subscription_available,
            properties.shared_subscription_available,
            properties.subscription_identifiers_available,
        ],
        method: properties.authentication_method.map(Into::into),
        data: properties.authentication_data.map(Into::into),
    }
}
