//! AUTH: one step of an enhanced authentication (5.0 only).

use crate::error::Rule;
use crate::properties::{
    Allowed, HasProperties, PropertySet, UserProperties, id, write_binary, write_reason,
    write_text, write_user_properties,
};
use crate::reason_code::ReasonCode;
use crate::reason_codes_allowed::read_reason_code;
use crate::types::{PacketType, ProtocolVersion};
use crate::wire::{Reader, Sink};

/// An AUTH packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth<'a> {
    /// `Success`, `ContinueAuthentication` or `ReAuthenticate` [MQTT-3.15.2-1].
    pub reason_code: ReasonCode,
    /// The Authentication Method, which is that of the CONNECT.
    pub authentication_method: Option<&'a str>,
    /// The data of this step.
    pub authentication_data: Option<&'a [u8]>,
    /// For people.
    pub reason_string: Option<&'a str>,
    /// Names and values.
    pub user_properties: UserProperties<'a>,
}

const AUTH: Allowed =
    Allowed::these(&[id::AUTHENTICATION_METHOD, id::AUTHENTICATION_DATA, id::REASON_STRING]);

impl<'a> Auth<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let number = if reader.is_empty() { 0 } else { reader.byte()? };
        let reason_code = read_reason_code(number, PacketType::Auth)?;
        let set = match reader.is_empty() {
            true => PropertySet::default(),
            false => PropertySet::read(&mut reader, AUTH, false)?,
        };
        reader.end()?;
        Ok(Self {
            reason_code,
            authentication_method: set.authentication_method,
            authentication_data: set.authentication_data,
            reason_string: set.reason_string,
            user_properties: set.user_properties(),
        })
    }

    pub(crate) fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        if version != ProtocolVersion::V5 {
            return;
        }
        write_reason(self.reason_code, self, sink);
    }
}

impl HasProperties for Auth<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        write_text(sink, id::AUTHENTICATION_METHOD, self.authentication_method);
        write_binary(sink, id::AUTHENTICATION_DATA, self.authentication_data);
        write_text(sink, id::REASON_STRING, self.reason_string);
        write_user_properties(sink, self.user_properties);
    }
}
