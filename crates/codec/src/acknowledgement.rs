//! PUBACK, PUBREC, PUBREL and PUBCOMP: four Control Packets of one shape.

use crate::error::Rule;
use crate::packet::PacketType;
use crate::properties::{
    Allowed, HasProperties, PropertySet, UserProperties, has_none, id, write_block, write_text,
    write_user_properties,
};
use crate::reason_code::ReasonCode;
use crate::types::{PacketIdentifier, ProtocolVersion};
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

    #[inline]
    pub(crate) fn decode(
        packet_type: PacketType,
        body: &'a [u8],
        version: ProtocolVersion,
    ) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let mut packet = Self::success(PacketIdentifier::read(&mut reader)?);
        if reader.is_empty() {
            return Ok(packet);
        }
        if version != ProtocolVersion::V5 {
            return Err(Rule::TrailingBytes);
        }
        let code = ReasonCode::from_u8(reader.byte()?);
        let code = code.filter(|&code| may_carry(packet_type, code));
        packet.reason_code = code.ok_or(Rule::ReasonCodeNotAllowed)?;
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
        let bare = has_none(self);
        if self.reason_code != ReasonCode::Success || !bare {
            sink.byte(self.reason_code as u8);
        }
        if !bare {
            write_block(self, sink);
        }
    }
}

/// [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]
fn may_carry(packet_type: PacketType, code: ReasonCode) -> bool {
    use ReasonCode as Code;
    match packet_type {
        PacketType::PubAck | PacketType::PubRec => matches!(
            code,
            Code::Success
                | Code::NoMatchingSubscribers
                | Code::UnspecifiedError
                | Code::ImplementationSpecificError
                | Code::NotAuthorized
                | Code::TopicNameInvalid
                | Code::PacketIdentifierInUse
                | Code::QuotaExceeded
                | Code::PayloadFormatInvalid
        ),
        _ => matches!(code, Code::Success | Code::PacketIdentifierNotFound),
    }
}

impl HasProperties for Acknowledgement<'_> {
    #[inline]
    fn write_properties(&self, sink: &mut impl Sink) {
        write_text(sink, id::REASON_STRING, self.reason_string);
        write_user_properties(sink, self.user_properties);
    }
}
