//! CONNECT: a Client asks for a session.

use std::num::{NonZeroU16, NonZeroU32};

use crate::error::{DecodeError, Rule};
use crate::properties::{
    Allowed, HasProperties, PropertySet, UserProperties, id, write_binary, write_block, write_flag,
    write_four_bytes, write_text, write_two_bytes, write_user_properties,
};
use crate::publish::PublishProperties;
use crate::topic::TopicName;
use crate::types::{PacketType, ProtocolVersion, QoS};
use crate::wire::{Reader, Sink, read_variable};

/// A CONNECT packet (MQTT 5.0 section 3.1, MQTT 3.1.1 section 3.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Connect<'a> {
    /// The protocol of this and all later packets of the Network Connection.
    pub version: ProtocolVersion,
    /// Set by bridges that mark themselves with bit 0x80 of the protocol level.
    pub bridge: bool,
    /// Clean Start (5.0), Clean Session (3.x).
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 turns it off.
    pub keep_alive_seconds: u16,
    /// The Client Identifier; empty asks the Server to assign one.
    pub client_id: &'a str,
    /// The Will Message, if there is one.
    pub will: Option<Will<'a>>,
    /// The User Name.
    pub user_name: Option<&'a str>,
    /// The Password.
    pub password: Option<&'a [u8]>,
    /// Always empty before 5.0.
    pub properties: ConnectProperties<'a>,
}

/// The properties of a CONNECT; all absent before 5.0.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // the names are the specification's
pub struct ConnectProperties<'a> {
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<NonZeroU16>,
    pub maximum_packet_size: Option<NonZeroU32>,
    pub topic_alias_maximum: Option<u16>,
    pub request_response_information: Option<bool>,
    pub request_problem_information: Option<bool>,
    pub authentication_method: Option<&'a str>,
    pub authentication_data: Option<&'a [u8]>,
    pub user_properties: UserProperties<'a>,
}

/// The Will Message of a CONNECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Will<'a> {
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Topic.
    pub topic: TopicName<'a>,
    /// Will Payload (3.x: Will Message).
    pub payload: &'a [u8],
    /// Will Delay Interval in seconds.
    pub delay_interval_seconds: Option<u32>,
    /// Only the properties that a Will may have: no topic alias, no subscription identifier.
    pub properties: PublishProperties<'a>,
}

mod flag {
    pub(super) const RESERVED: u8 = 0b0000_0001;
    pub(super) const CLEAN_START: u8 = 0b0000_0010;
    pub(super) const WILL: u8 = 0b0000_0100;
    pub(super) const WILL_QOS: u8 = 0b0001_1000;
    pub(super) const WILL_RETAIN: u8 = 0b0010_0000;
    pub(super) const PASSWORD: u8 = 0b0100_0000;
    pub(super) const USER_NAME: u8 = 0b1000_0000;
}

/// Marks a bridge in the protocol level, as mosquitto does.
const BRIDGE_BIT: u8 = 0x80;

const CONNECT: Allowed = Allowed::these(&[
    id::SESSION_EXPIRY_INTERVAL,
    id::RECEIVE_MAXIMUM,
    id::MAXIMUM_PACKET_SIZE,
    id::TOPIC_ALIAS_MAXIMUM,
    id::REQUEST_RESPONSE_INFORMATION,
    id::REQUEST_PROBLEM_INFORMATION,
    id::AUTHENTICATION_METHOD,
    id::AUTHENTICATION_DATA,
]);

const WILL: Allowed = Allowed::these(&[
    id::WILL_DELAY_INTERVAL,
    id::PAYLOAD_FORMAT_INDICATOR,
    id::MESSAGE_EXPIRY_INTERVAL,
    id::CONTENT_TYPE,
    id::RESPONSE_TOPIC,
    id::CORRELATION_DATA,
]);

impl<'a> Connect<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let packet_type = Some(PacketType::Connect);
        let mut reader = Reader::new(body);
        let (version, bridge) = read_protocol(&mut reader)
            .map_err(|(rule, version)| DecodeError { rule, packet_type, version })?;
        Self::decode_rest(&mut reader, version, bridge).map_err(|rule| DecodeError {
            rule,
            packet_type,
            version: Some(version),
        })
    }

    fn decode_rest(
        reader: &mut Reader<'a>,
        version: ProtocolVersion,
        bridge: bool,
    ) -> Result<Self, Rule> {
        let flags = reader.byte()?;
        check_flags(flags, version)?;
        let keep_alive_seconds = reader.two_bytes()?;
        let properties = match version {
            ProtocolVersion::V5 => ConnectProperties::read(reader)?,
            _ => ConnectProperties::default(),
        };
        let client_id = reader.text()?; // [MQTT-3.1.3-3] [MQTT-3.1.3-4]
        if client_id.is_empty() && version == ProtocolVersion::V3_1 {
            return Err(Rule::EmptyClientIdentifier);
        }
        let will = match flags & flag::WILL {
            0 => None,
            _ => Some(Will::read(reader, flags, version)?),
        };
        // In MQTT 3.1 the length of the packet takes precedence over these two flags.
        let may_end = version == ProtocolVersion::V3_1;
        let user_name = match flags & flag::USER_NAME {
            0 => None,
            _ if may_end && reader.is_empty() => None,
            _ => Some(reader.text()?),
        };
        let password = match flags & flag::PASSWORD {
            0 => None,
            _ if may_end && reader.is_empty() => None,
            _ => Some(reader.binary()?),
        };
        reader.end()?;
        Ok(Self {
            version,
            bridge,
            clean_start: flags & flag::CLEAN_START != 0,
            keep_alive_seconds,
            client_id,
            will,
            user_name,
            password,
            properties,
        })
    }

    /// Returns the Client Identifier of a whole CONNECT that [`decode`](crate::decode) refuses, if
    /// it can be read: what is wrong may come behind it.
    pub fn client_id_in(packet: &'a [u8]) -> Option<&'a str> {
        let (remaining, length_bytes) = read_variable(packet.get(1..)?).ok()??;
        let start = 1 + length_bytes;
        let mut reader = Reader::new(packet.get(start..start + remaining)?);
        let (version, _) = read_protocol(&mut reader).ok()?;
        let _flags = reader.byte().ok()?;
        let _keep_alive = reader.two_bytes().ok()?;
        if version == ProtocolVersion::V5 {
            ConnectProperties::read(&mut reader).ok()?;
        }
        reader.text().ok()
    }

    pub(crate) fn write(&self, sink: &mut impl Sink) {
        let (name, level) = match self.version {
            ProtocolVersion::V3_1 => ("MQIsdp", 3),
            ProtocolVersion::V3_1_1 => ("MQTT", 4),
            ProtocolVersion::V5 => ("MQTT", 5),
        };
        sink.prefixed(name.as_bytes());
        sink.byte(if self.bridge { level | BRIDGE_BIT } else { level });
        sink.byte(self.connect_flags());
        sink.two_bytes(self.keep_alive_seconds);
        if self.version == ProtocolVersion::V5 {
            write_block(&self.properties, sink);
        }
        sink.prefixed(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            if self.version == ProtocolVersion::V5 {
                write_block(will, sink);
            }
            sink.prefixed(will.topic.as_str().as_bytes());
            sink.prefixed(will.payload);
        }
        if let Some(user_name) = self.user_name {
            sink.prefixed(user_name.as_bytes());
        }
        if let Some(password) = self.password {
            sink.prefixed(password);
        }
    }

    fn connect_flags(&self) -> u8 {
        let set = |condition, flag| if condition { flag } else { 0 };
        let will = self.will.as_ref().map_or(0, |will| {
            flag::WILL | (will.qos as u8) << 3 | set(will.retain, flag::WILL_RETAIN)
        });
        will | set(self.clean_start, flag::CLEAN_START)
            | set(self.user_name.is_some(), flag::USER_NAME)
            | set(self.password.is_some(), flag::PASSWORD)
    }
}

/// Reads Protocol Name and level [MQTT-3.1.2-1] [MQTT-3.1.2-2]. The error has the version to answer
/// in, if it is known.
fn read_protocol(
    reader: &mut Reader<'_>,
) -> Result<(ProtocolVersion, bool), (Rule, Option<ProtocolVersion>)> {
    let name = reader.binary().map_err(|rule| (rule, None))?;
    let level = reader.byte().map_err(|rule| (rule, None))?;
    match (name, level & !BRIDGE_BIT, level & BRIDGE_BIT != 0) {
        (b"MQIsdp", 3, bridge) => Ok((ProtocolVersion::V3_1, bridge)),
        (b"MQTT", 4, bridge) => Ok((ProtocolVersion::V3_1_1, bridge)),
        (b"MQTT", 5, bridge) => Ok((ProtocolVersion::V5, bridge)),
        (b"MQTT", 6.., _) => Err((Rule::UnsupportedProtocolVersion, Some(ProtocolVersion::V5))),
        (b"MQTT" | b"MQIsdp", ..) => {
            Err((Rule::UnsupportedProtocolVersion, Some(ProtocolVersion::V3_1_1)))
        }
        _ => Err((Rule::WrongProtocolName, None)),
    }
}

fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), Rule> {
    let without_will = flags & (flag::WILL_QOS | flag::WILL_RETAIN) != 0;
    if flags & flag::RESERVED != 0 && version != ProtocolVersion::V3_1 {
        return Err(Rule::ReservedConnectFlag); // [MQTT-3.1.2-3]
    }
    if flags & flag::WILL == 0 && version == ProtocolVersion::V3_1 {
        // MQTT 3.1 ignores the other Will flags if there is no Will.
    } else if flags & flag::WILL == 0 && without_will {
        return Err(Rule::WillFlagsWithoutWill); // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
    } else if flags & flag::WILL_QOS == flag::WILL_QOS {
        return Err(Rule::WillQoS); // [MQTT-3.1.2-12]
    }
    let password_alone = flags & (flag::USER_NAME | flag::PASSWORD) == flag::PASSWORD;
    if password_alone && version != ProtocolVersion::V5 {
        return Err(Rule::PasswordWithoutUserName); // 3.1.1: [MQTT-3.1.2-22]
    }
    Ok(())
}

impl<'a> ConnectProperties<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Rule> {
        let set = PropertySet::read(reader, CONNECT, false)?;
        Ok(Self {
            session_expiry_interval: set.session_expiry_interval,
            receive_maximum: set.receive_maximum,
            maximum_packet_size: set.maximum_packet_size,
            topic_alias_maximum: set.topic_alias_maximum,
            request_response_information: set.request_response_information,
            request_problem_information: set.request_problem_information,
            authentication_method: set.authentication_method,
            authentication_data: set.authentication_data,
            user_properties: set.user_properties(),
        })
    }
}

impl<'a> Will<'a> {
    fn read(reader: &mut Reader<'a>, flags: u8, version: ProtocolVersion) -> Result<Self, Rule> {
        let set = match version {
            ProtocolVersion::V5 => PropertySet::read(reader, WILL, false)?,
            _ => PropertySet::default(),
        };
        let topic = TopicName::from_wire(reader.binary()?)?; // [MQTT-3.1.3-11]
        if topic.as_str().is_empty() {
            return Err(Rule::EmptyTopic);
        }
        Ok(Self {
            qos: QoS::from_bits((flags & flag::WILL_QOS) >> 3).ok_or(Rule::WillQoS)?,
            retain: flags & flag::WILL_RETAIN != 0,
            topic,
            payload: reader.binary()?,
            delay_interval_seconds: set.will_delay_interval,
            properties: PublishProperties::from_set(&set),
        })
    }
}

impl HasProperties for ConnectProperties<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        write_four_bytes(sink, id::SESSION_EXPIRY_INTERVAL, self.session_expiry_interval);
        write_two_bytes(sink, id::RECEIVE_MAXIMUM, self.receive_maximum.map(NonZeroU16::get));
        let size = self.maximum_packet_size.map(NonZeroU32::get);
        write_four_bytes(sink, id::MAXIMUM_PACKET_SIZE, size);
        write_two_bytes(sink, id::TOPIC_ALIAS_MAXIMUM, self.topic_alias_maximum);
        let response = self.request_response_information;
        write_flag(sink, id::REQUEST_RESPONSE_INFORMATION, response);
        write_flag(sink, id::REQUEST_PROBLEM_INFORMATION, self.request_problem_information);
        write_text(sink, id::AUTHENTICATION_METHOD, self.authentication_method);
        write_binary(sink, id::AUTHENTICATION_DATA, self.authentication_data);
        write_user_properties(sink, self.user_properties);
    }
}

impl HasProperties for Will<'_> {
    fn write_properties(&self, sink: &mut impl Sink) {
        write_four_bytes(sink, id::WILL_DELAY_INTERVAL, self.delay_interval_seconds);
        let expiry = self.properties.message_expiry_interval_seconds;
        write_four_bytes(sink, id::MESSAGE_EXPIRY_INTERVAL, expiry);
        self.properties.write_forwarded(sink);
    }
}
