//! SUBACK: one Reason Code for every Topic Filter of a SUBSCRIBE.

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

/// A SUBACK packet. In 3.x every failure is sent as 0x80.
#[derive(Clone, Debug, PartialEq)]
pub struct SubAck<'a> {
    /// The Packet Identifier of the SUBSCRIBE that it answers [MQTT-3.8.4-2].
    pub packet_id: PacketIdentifier,
    /// For people; 5.0 only.
    pub reason_string: Option<&'a str>,
    /// 5.0 only.
    pub user_properties: UserProperties<'a>,
    /// In the order of the filters [MQTT-3.9.3-1].
    pub reason_codes: Cow<'a, [ReasonCode]>,
}

const SUBACK: Allowed = Allowed::these(&[id::REASON_STRING]);

impl<'a> SubAck<'a> {
    pub(crate) fn decode(body: &'a [u8], version: ProtocolVersion) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_identifier()?;
        let set = match version {
            ProtocolVersion::V5 => PropertySet::read(&mut reader, SUBACK, false)?,
            _ => PropertySet::default(),
        };
        let codes = reader.rest().iter().map(|&number| {
            let code = read_reason_code(number, PacketType::SubAck)?;
            // 3.1.1 has one failure only [MQTT-3.9.3-2].
            let is_unknown = code.is_error() && code != ReasonCode::UnspecifiedError;
            if version != ProtocolVersion::V5 && is_unknown {
                return Err(Rule::ReasonCodeNotAllowed);
            }
            Ok(code)
        });
        Ok(Self {
            packet_id,
            reason_string: set.reason_string,
            user_properties: set.user_properties(),
            reason_codes: codes.collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.two_bytes(self.packet_id.get());
        let is_v5 = version == ProtocolVersion::V5;
        if is_v5 {
            write_block(self, sink);
        }
        for &code in self.reason_codes.iter() {
            let failed = code.is_error() && !is_v5;
            sink.byte(if failed { 0x80 } else { code as u8 });
        }
    }
}

impl HasProperties for SubAck<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        write_text(sink, id::REASON_STRING, self.reason_string);
        write_user_properties(sink, self.user_properties);
    }
}
