//! PUBACK, PUBREC, PUBREL and PUBCOMP: four Control Packets of one shape.

use crate::error::Rule;
use crate::properties::{
    Allowed, HasProperties, PropertySet, UserProperties, id, write_reason, write_text,
    write_user_properties,
};
use crate::reason_code::ReasonCode;
use crate::reason_codes_allowed::read_reason_code;
use crate::types::{PacketIdentifier, PacketType, ProtocolVersion};
use crate::wire::{Reader, Sink};

/// The content of a PUBACK, PUBREC, PUBREL or PUBCOMP; [`crate::Packet`] tells which.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledgement<'a> {
    /// The Packet Identifier of the PUBLISH that it belongs to.
    pub packet_id: PacketIdentifier,
    /// `Success` before 5.0.
    pub reason_code: ReasonCode,
    /// For people; 5.0 only.
    pub reason_string: Option<&'a str>,
    /// 5.0 only.
    pub user_properties: UserProperties<'a>,
}

const REASON_ONLY: Allowed = Allowed::these(&[id::REASON_STRING]);

impl<'a> Acknowledgement<'a> {
    /// Makes the bare acknowledgement of a success.
    pub fn success(packet_id: PacketIdentifier) -> Self {
        let reason_code = ReasonCode::Success;
        Self { packet_id, reason_code, reason_string: None, user_properties: Default::default() }
    }

    /// Returns the whole packet of a success, which is the same in all versions: it takes less to
    /// copy these bytes than to encode a packet. `packet_type` is one of the four.
    #[inline]
    pub fn success_bytes(packet_type: PacketType, packet_id: PacketIdentifier) -> [u8; 4] {
        debug_assert!((PacketType::PubAck..=PacketType::PubComp).contains(&packet_type));
        let flags = if packet_type == PacketType::PubRel { 0b0010 } else { 0 };
        let [high, low] = packet_id.get().to_be_bytes();
        [(packet_type as u8) << 4 | flags, 2, high, low]
    }

    #[inline]
    pub(crate) fn decode(
        packet_type: PacketType,
        body: &'a [u8],
        version: ProtocolVersion,
    ) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let mut packet = Self::success(reader.packet_identifier()?);
        if reader.is_empty() {
            return Ok(packet);
        }
        if version != ProtocolVersion::V5 {
            return Err(Rule::TrailingBytes);
        }
        packet.reason_code = read_reason_code(reader.byte()?, packet_type)?;
        if !reader.is_empty() {
            let set = PropertySet::read(&mut reader, REASON_ONLY, false)?;
            packet.reason_string = set.reason_string;
            packet.user_properties = set.user_properties();
        }
        reader.end()?;
        Ok(packet)
    }

    #[inline]
    pub(crate) fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        sink.two_bytes(self.packet_id.get());
        if version != ProtocolVersion::V5 {
            return;
        }
        write_reason(self.reason_code, self, sink);
    }
}

impl HasProperties for Acknowledgement<'_> {
    #[inline]
    fn write_properties(&self, sink: &mut impl Sink) {
        write_text(sink, id::REASON_STRING, self.reason_string);
        write_user_properties(sink, self.user_properties);
    }
}
