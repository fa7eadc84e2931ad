//! PUBLISH: an Application Message on its way, in either direction.

use std::num::NonZeroU16;

use crate::error::Rule;
use crate::properties::{
    Allowed, HasProperties, PropertySet, SubscriptionIdentifiers, UserProperties, id, write_binary,
    write_block, write_flag, write_four_bytes, write_identifier, write_text, write_two_bytes,
    write_user_properties,
};
use crate::topic::TopicName;
use crate::types::{PacketIdentifier, ProtocolVersion, QoS};
use crate::wire::{Body, Reader, Sink};

/// A PUBLISH packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish<'a> {
    /// Set when it is sent again.
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// From a Client: keep as the topic's retained message. From a Server: it was retained.
    pub retain: bool,
    /// Empty only in 5.0, together with a topic alias.
    pub topic: TopicName<'a>,
    /// Present if and only if QoS is above 0 [MQTT-2.2.1-2] [MQTT-2.2.1-3].
    pub packet_id: Option<PacketIdentifier>,
    /// Always empty before 5.0.
    pub properties: PublishProperties<'a>,
    /// The Application Message; may be empty.
    pub payload: &'a [u8],
}

/// The properties of a PUBLISH or of a Will; all absent before 5.0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PublishProperties<'a> {
    /// `Some(true)`: the payload is UTF-8.
    pub payload_format_indicator: Option<bool>,
    /// Seconds after which the message is of no use any more.
    pub message_expiry_interval_seconds: Option<u32>,
    /// A number that stands for the topic on this Network Connection.
    pub topic_alias: Option<NonZeroU16>,
    /// Where an answer is expected.
    pub response_topic: Option<TopicName<'a>>,
    /// What an answer has to repeat.
    pub correlation_data: Option<&'a [u8]>,
    /// What the payload is.
    pub content_type: Option<&'a str>,
    /// From a Server only: the identifiers of the subscriptions that matched.
    pub subscription_identifiers: SubscriptionIdentifiers<'a>,
    /// Names and values for the application.
    pub user_properties: UserProperties<'a>,
}

const FORWARDED: [u8; 4] =
    [id::PAYLOAD_FORMAT_INDICATOR, id::RESPONSE_TOPIC, id::CORRELATION_DATA, id::CONTENT_TYPE];

const PUBLISH: Allowed = Allowed::these(&[
    id::PAYLOAD_FORMAT_INDICATOR,
    id::MESSAGE_EXPIRY_INTERVAL,
    id::TOPIC_ALIAS,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
    id::SUBSCRIPTION_IDENTIFIER,
    id::CONTENT_TYPE,
]);

impl<'a> Publish<'a> {
    #[inline]
    pub(crate) fn decode(
        flags: u8,
        body: &'a [u8],
        version: ProtocolVersion,
    ) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let (mut dup, retain) = (flags & 0b1000 != 0, flags & 1 != 0);
        let qos = QoS::from_bits(flags >> 1 & 0b11).ok_or(Rule::QoS3)?; // [MQTT-3.3.1-4]
        if dup && qos == QoS::AtMostOnce {
            if version != ProtocolVersion::V3_1 {
                return Err(Rule::DupWithQoS0); // [MQTT-3.3.1-2]
            }
            dup = false; // MQTT 3.1 does not use it there.
        }
        let topic = TopicName::from_wire(reader.binary()?)?; // [MQTT-3.3.2-1] [MQTT-3.3.2-2]
        let packet_id = match qos {
            QoS::AtMostOnce => None,
            _ => Some(reader.packet_identifier()?),
        };
        let properties = match version {
            ProtocolVersion::V5 => PublishProperties::read(&mut reader)?,
            _ => PublishProperties::default(),
        };
        if topic.as_str().is_empty() && properties.topic_alias.is_none() {
            return Err(Rule::EmptyTopic);
        }
        Ok(Self { dup, qos, retain, topic, packet_id, properties, payload: reader.rest() })
    }
}

impl<'a> PublishProperties<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Rule> {
        let mut peek = *reader;
        if peek.byte() == Ok(0) {
            *reader = peek;
            return Ok(Self::default());
        }
        Ok(Self::from_set(&PropertySet::read(reader, PUBLISH, true)?))
    }

    pub(crate) fn from_set(set: &PropertySet<'a>) -> Self {
        Self {
            payload_format_indicator: set.payload_format_indicator,
            message_expiry_interval_seconds: set.message_expiry_interval,
            topic_alias: set.topic_alias,
            response_topic: set.response_topic,
            correlation_data: set.correlation_data,
            content_type: set.content_type,
            subscription_identifiers: set.subscription_identifiers(),
            user_properties: set.user_properties(),
        }
    }

    /// Appends the wire form of the properties that travel with the message to every receiver. The
    /// expiry is not among them, as it is counted down, nor are the alias and the Subscription
    /// Identifiers, which belong to one Network Connection.
    pub fn encode_forwarded(&self, out: &mut Vec<u8>) {
        self.write_forwarded(out);
    }

    /// Reads back what [`PublishProperties::encode_forwarded`] has written.
    pub fn decode_forwarded(encoded: &'a [u8]) -> Self {
        const ALLOWED: Allowed = Allowed::these(&FORWARDED);
        let set = PropertySet::read_block(encoded, ALLOWED, false).unwrap_or_default();
        Self::from_set(&set)
    }

    pub(crate) fn write_forwarded(&self, sink: &mut impl Sink) {
        write_flag(sink, id::PAYLOAD_FORMAT_INDICATOR, self.payload_format_indicator);
        write_text(sink, id::RESPONSE_TOPIC, self.response_topic.map(TopicName::as_str));
        write_binary(sink, id::CORRELATION_DATA, self.correlation_data);
        write_text(sink, id::CONTENT_TYPE, self.content_type);
        write_user_properties(sink, self.user_properties);
    }
}

impl HasProperties for PublishProperties<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        let expiry = self.message_expiry_interval_seconds;
        write_four_bytes(sink, id::MESSAGE_EXPIRY_INTERVAL, expiry);
        write_two_bytes(sink, id::TOPIC_ALIAS, self.topic_alias.map(NonZeroU16::get));
        for identifier in self.subscription_identifiers.iter() {
            write_identifier(sink, identifier);
        }
        self.write_forwarded(sink);
    }
}

impl Body for Publish<'_> {
    fn flags(&self) -> u8 {
        u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain)
    }

    fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.prefixed(self.topic.as_str().as_bytes());
        if let Some(packet_id) = self.packet_id {
            sink.two_bytes(packet_id.get());
        }
        if version == ProtocolVersion::V5 {
            write_block(&self.properties, sink);
        }
        sink.bytes(self.payload);
    }
}
