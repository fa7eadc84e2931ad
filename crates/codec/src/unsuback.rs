//! UNSUBACK: in 5.0 one Reason Code for every Topic Filter of an UNSUBSCRIBE, in 3.x none.

use std::borrow::Cow;

use crate::error::Rule;
use crate::properties::{
    Allowed, HasProperties, PropertySet, UserProperties, id, write_block, write_text,
    write_user_properties,
};
use crate::reason_code::ReasonCode;
use crate::reason_codes_allowed::read_reason_code;
use crate::types::{PacketIdentifier, PacketType, ProtocolVersion};
use crate::wire::{Reader, Sink};

/// An UNSUBACK packet.
#[derive(Clone, Debug, PartialEq)]
pub struct UnsubAck<'a> {
    /// The Packet Identifier of the UNSUBSCRIBE that it answers [MQTT-3.10.4-4].
    pub packet_id: PacketIdentifier,
    /// For people; 5.0 only.
    pub reason_string: Option<&'a str>,
    /// 5.0 only.
    pub user_properties: UserProperties<'a>,
    /// In the order of the filters [MQTT-3.11.3-1]; not sent before 5.0.
    pub reason_codes: Cow<'a, [ReasonCode]>,
}

const UNSUBACK: Allowed = Allowed::these(&[id::REASON_STRING]);

impl<'a> UnsubAck<'a> {
    pub(crate) fn decode(body: &'a [u8], version: ProtocolVersion) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_identifier()?;
        if version != ProtocolVersion::V5 {
            reader.end()?;
            return Ok(Self {
                packet_id,
                reason_string: None,
                user_properties: UserProperties::default(),
                reason_codes: Cow::Borrowed(&[]),
            });
        }
        let set = PropertySet::read(&mut reader, UNSUBACK, false)?;
        let numbers = reader.rest().iter();
        let codes = numbers.map(|&number| read_reason_code(number, PacketType::UnsubAck));
        Ok(Self {
            packet_id,
            reason_string: set.reason_string,
            user_properties: set.user_properties(),
            reason_codes: codes.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.two_bytes(self.packet_id.get());
        if version == ProtocolVersion::V5 {
            write_block(self, sink);
            for &code in self.reason_codes.iter() {
                sink.byte(code as u8);
            }
        }
    }
}

impl HasProperties for UnsubAck<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        write_text(sink, id::REASON_STRING, self.reason_string);
        write_user_properties(sink, self.user_properties);
    }
}
