//! How the fan-out writes a PUBLISH: everything up to the payload, ready to be copied and patched
//! for one receiver after the other.

use std::num::{NonZeroU16, NonZeroU32};

use crate::properties::{id, write_identifier};
use crate::types::{PacketIdentifier, ProtocolVersion, QoS};
use crate::wire::{Length, Sink, variable_len};

/// A PUBLISH for one receiver or for many alike. Unlike [`crate::Publish`] it takes the forwarded
/// properties in their wire form, as `PublishProperties::encode_forwarded` makes it.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingPublish<'a> {
    /// It was sent before.
    pub dup: bool,
    /// Quality of Service of this copy.
    pub qos: QoS,
    /// RETAIN as this receiver gets it.
    pub retain: bool,
    /// The Topic Name.
    pub topic: &'a str,
    /// A topic alias and whether the receiver knows it already.
    pub topic_alias: Option<TopicAliasUse>,
    /// Present if and only if QoS is above 0.
    pub packet_id: Option<PacketIdentifier>,
    /// What is left of the Message Expiry Interval.
    pub message_expiry_interval_seconds: Option<u32>,
    /// The identifiers of all the receiver's subscriptions that matched.
    pub subscription_identifiers: &'a [NonZeroU32],
    /// Wire form of the properties that all receivers get.
    pub forwarded_properties: &'a [u8],
    /// Length in bytes of the payload that will follow.
    pub payload_len: usize,
}

/// How a topic alias is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicAliasUse {
    /// The topic and the alias are sent: from now on the receiver knows the alias.
    Assign(NonZeroU16),
    /// Only the alias is sent, with an empty topic.
    Use(NonZeroU16),
}

impl OutgoingPublish<'_> {
    /// Returns the whole packet's length in bytes, payload included.
    #[inline]
    pub fn encoded_len(&self, version: ProtocolVersion) -> usize {
        let remaining = self.remaining_len(self.properties_len(version));
        1 + variable_len(remaining) + remaining
    }

    /// Appends everything up to the payload. Returns the offset of the Packet Identifier in the
    /// packet; 0 at QoS 0.
    #[inline]
    pub fn encode_head(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        let properties = self.properties_len(version);
        let flags = u8::from(self.dup) << 3 | (self.qos as u8) << 1 | u8::from(self.retain);
        out.push(3 << 4 | flags);
        out.variable(self.remaining_len(properties));
        out.prefixed(self.sent_topic().as_bytes());
        let packet_id_offset = match self.packet_id {
            Some(packet_id) => {
                let offset = out.len() - start;
                out.two_bytes(packet_id.get());
                offset
            }
            None => 0,
        };
        if let Some(length) = properties {
            out.variable(length);
            self.write_own_properties(out);
            out.extend_from_slice(self.forwarded_properties);
        }
        packet_id_offset
    }

    fn sent_topic(&self) -> &str {
        match self.topic_alias {
            Some(TopicAliasUse::Use(_)) => "",
            _ => self.topic,
        }
    }

    /// Returns the Property Length; `None` before 5.0.
    #[inline]
    fn properties_len(&self, version: ProtocolVersion) -> Option<usize> {
        if version != ProtocolVersion::V5 {
            return None;
        }
        let mut own = Length::default();
        self.write_own_properties(&mut own);
        Some(own.bytes + self.forwarded_properties.len())
    }

    #[inline]
    fn remaining_len(&self, properties: Option<usize>) -> usize {
        let packet_id = if self.packet_id.is_some() { 2 } else { 0 };
        let properties = properties.map_or(0, |length| variable_len(length) + length);
        2 + self.sent_topic().len() + packet_id + properties + self.payload_len
    }

    #[inline]
    fn write_own_properties(&self, sink: &mut impl Sink) {
        if let Some(seconds) = self.message_expiry_interval_seconds {
            sink.byte(id::MESSAGE_EXPIRY_INTERVAL);
            sink.four_bytes(seconds);
        }
        if let Some(TopicAliasUse::Assign(alias) | TopicAliasUse::Use(alias)) = self.topic_alias {
            sink.byte(id::TOPIC_ALIAS);
            sink.two_bytes(alias.get());
        }
        for &identifier in self.subscription_identifiers {
            write_identifier(sink, identifier);
        }
    }
}
