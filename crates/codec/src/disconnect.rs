//! DISCONNECT: the last packet of a Network Connection.

use crate::error::Rule;
use crate::properties::{
    Allowed, HasProperties, PropertySet, UserProperties, id, write_four_bytes, write_reason,
    write_text, write_user_properties,
};
use crate::reason_code::ReasonCode;
use crate::reason_codes_allowed::read_reason_code;
use crate::types::{PacketType, ProtocolVersion};
use crate::wire::{Reader, Sink};

/// A DISCONNECT packet. Before 5.0 it is empty and only a Client sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Disconnect<'a> {
    /// The reason; `Success` is a normal disconnection.
    pub reason_code: ReasonCode,
    /// From a Client only: a new Session Expiry Interval.
    pub session_expiry_interval: Option<u32>,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Names and values.
    pub user_properties: UserProperties<'a>,
    /// From a Server only: where to go instead.
    pub server_reference: Option<&'a str>,
}

const DISCONNECT: Allowed =
    Allowed::these(&[id::SESSION_EXPIRY_INTERVAL, id::REASON_STRING, id::SERVER_REFERENCE]);

impl<'a> Disconnect<'a> {
    /// Makes the bare packet with this Reason Code.
    pub fn with_reason(reason_code: ReasonCode) -> Self {
        Self {
            reason_code,
            session_expiry_interval: None,
            reason_string: None,
            user_properties: UserProperties::default(),
            server_reference: None,
        }
    }

    pub(crate) fn decode(body: &'a [u8], version: ProtocolVersion) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let mut packet = Self::with_reason(ReasonCode::Success);
        if version != ProtocolVersion::V5 || reader.is_empty() {
            reader.end()?;
            return Ok(packet);
        }
        packet.reason_code = read_reason_code(reader.byte()?, PacketType::Disconnect)?;
        if !reader.is_empty() {
            let set = PropertySet::read(&mut reader, DISCONNECT, false)?;
            packet.session_expiry_interval = set.session_expiry_interval;
            packet.reason_string = set.reason_string;
            packet.user_properties = set.user_properties();
            packet.server_reference = set.server_reference;
        }
        reader.end()?;
        Ok(packet)
    }

    pub(crate) fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        if version != ProtocolVersion::V5 {
            return;
        }
        write_reason(self.reason_code, self, sink);
    }
}

impl HasProperties for Disconnect<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        write_four_bytes(sink, id::SESSION_EXPIRY_INTERVAL, self.session_expiry_interval);
        write_text(sink, id::REASON_STRING, self.reason_string);
        write_text(sink, id::SERVER_REFERENCE, self.server_reference);
        write_user_properties(sink, self.user_properties);
    }
}
