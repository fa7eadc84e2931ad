//! CONNACK: the Server's answer to a CONNECT.

use std::num::{NonZeroU16, NonZeroU32};

use crate::error::Rule;
use crate::properties::{
    Allowed, HasProperties, PropertySet, UserProperties, id, write_binary, write_block, write_flag,
    write_four_bytes, write_text, write_two_bytes, write_user_properties,
};
use crate::reason_code::ReasonCode;
use crate::reason_codes_allowed::read_reason_code;
use crate::types::{PacketType, ProtocolVersion, QoS};
use crate::wire::{Reader, Sink};

/// A CONNACK packet.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnAck<'a> {
    /// Whether the Server goes on with a Session it had.
    pub session_present: bool,
    /// For 3.x the nearest return code is sent (see [`ReasonCode::connect_return_code`]).
    pub reason_code: ReasonCode,
    /// Not sent before 5.0.
    pub properties: ConnAckProperties<'a>,
}

/// The properties of a CONNACK; never sent before 5.0.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // the names are the specification's
pub struct ConnAckProperties<'a> {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    /// `Some(AtMostOnce)` or `Some(AtLeastOnce)`; absent means QoS 2.
    pub maximum_qos: Option<QoS>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub assigned_client_identifier: Option<&'a str>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<&'a str>,
    pub user_properties: UserProperties<'a>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<&'a str>,
    pub server_reference: Option<&'a str>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
}

const CONNACK: Allowed = Allowed::these(&[
    id::SESSION_EXPIRY_INTERVAL,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_QOS,
    id::RETAIN_AVAILABLE,
    id::MAXIMUM_PACKET_SIZE,
    id::ASSIGNED_CLIENT_IDENTIFIER,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REASON_STRING,
    id::WILDCARD_SUBSCRIPTION_AVAILABLE,
    id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE,
    id::SHARED_SUBSCRIPTION_AVAILABLE,
    id::SERVER_KEEP_ALIVE,
    id::RESPONSE_INFORMATION,
    id::SERVER_REFERENCE,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
]);

impl<'a> ConnAck<'a> {
    pub(crate) fn decode(body: &'a [u8], version: ProtocolVersion) -> Result<Self, Rule> {
        let mut reader = Reader::new(body);
        let session_present = match reader.byte()? {
            // MQTT 3.1 reserves the byte and says nothing about its value.
            _ if version == ProtocolVersion::V3_1 => false,
            0 => false,
            1 => true,
            _ => return Err(Rule::ConnAckFlags), // [MQTT-3.2.2-1]
        };
        let number = reader.byte()?;
        let of_v5 = || read_reason_code(number, PacketType::ConnAck);
        let (reason_code, properties) = match version {
            // A refusal by a Server that does not speak MQTT 5 has no properties.
            ProtocolVersion::V5 if number == 0 || !reader.is_empty() => {
                (of_v5(), ConnAckProperties::read(&mut reader)?)
            }
            ProtocolVersion::V5 if number >= 0x80 => (of_v5(), Default::default()),
            _ => {
                let code = ReasonCode::from_connect_return_code(number);
                (code.ok_or(Rule::ReasonCodeNotAllowed), Default::default())
            }
        };
        reader.end()?;
        let reason_code = reason_code?;
        Ok(Self { session_present, reason_code, properties })
    }

    pub(crate) fn write(&self, version: ProtocolVersion, sink: &mut impl Sink) {
        // MQTT 3.1 reserves the byte of Session Present.
        sink.byte(u8::from(self.session_present && version != ProtocolVersion::V3_1));
        if version == ProtocolVersion::V5 {
            sink.byte(self.reason_code as u8);
            write_block(&self.properties, sink);
        } else {
            sink.byte(self.reason_code.connect_return_code());
        }
    }
}

impl<'a> ConnAckProperties<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Rule> {
        let set = PropertySet::read(reader, CONNACK, false)?;
        Ok(Self {
            session_expiry_interval: set.session_expiry_interval,
            receive_maximum: set.receive_maximum,
            maximum_qos: set.maximum_qos,
            retain_available: set.retain_available,
            maximum_packet_size: set.maximum_packet_size,
            assigned_client_identifier: set.assigned_client_identifier,
            topic_alias_maximum: set.topic_alias_maximum,
            reason_string: set.reason_string,
            user_properties: set.user_properties(),
            wildcard_subscription_available: set.wildcard_subscription_available,
            subscription_identifiers_available: set.subscription_identifiers_available,
            shared_subscription_available: set.shared_subscription_available,
            server_keep_alive: set.server_keep_alive,
            response_information: set.response_information,
            server_reference: set.server_reference,
            authentication_method: set.authentication_method,
            authentication_data: set.authentication_data,
        })
    }
}

impl HasProperties for ConnAckProperties<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        write_four_bytes(sink, id::SESSION_EXPIRY_INTERVAL, self.session_expiry_interval);
        write_two_bytes(sink, id::RECEIVE_MAXIMUM, self.receive_maximum.map(NonZeroU16::get));
        let maximum_qos = self.maximum_qos.filter(|&qos| qos != QoS::ExactlyOnce);
        write_flag(sink, id::MAXIMUM_QOS, maximum_qos.map(|qos| qos == QoS::AtLeastOnce));
        write_flag(sink, id::RETAIN_AVAILABLE, self.retain_available);
        let size = self.maximum_packet_size.map(NonZeroU32::get);
        write_four_bytes(sink, id::MAXIMUM_PACKET_SIZE, size);
        write_text(sink, id::ASSIGNED_CLIENT_IDENTIFIER, self.assigned_client_identifier);
        write_two_bytes(sink, id::TOPIC_ALIAS_MAXIMUM, self.topic_alias_maximum);
        write_text(sink, id::REASON_STRING, self.reason_string);
        let (wildcards, identifiers, shared) = (
            self.wildcard_subscription_available,
            self.subscription_identifiers_available,
            self.shared_subscription_available,
        );
        write_flag(sink, id::WILDCARD_SUBSCRIPTION_AVAILABLE, wildcards);
        write_flag(sink, id::SUBSCRIPTION_IDENTIFIERS_AVAILABLE, identifiers);
        write_flag(sink, id::SHARED_SUBSCRIPTION_AVAILABLE, shared);
        write_two_bytes(sink, id::SERVER_KEEP_ALIVE, self.server_keep_alive);
        write_text(sink, id::RESPONSE_INFORMATION, self.response_information);
        write_text(sink, id::SERVER_REFERENCE, self.server_reference);
        write_text(sink, id::AUTHENTICATION_METHOD, self.authentication_method);
        write_binary(sink, id::AUTHENTICATION_DATA, self.authentication_data);
        write_user_properties(sink, self.user_properties);
    }
}
