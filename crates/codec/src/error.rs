//! The rules of the specification that bytes can break, and the error that names one.

use std::fmt;

use crate::reason_code::ReasonCode;
use crate::types::{PacketType, ProtocolVersion};

/// Why bytes are not a valid Control Packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The rule that was broken.
    pub rule: Rule,
    /// The type of the packet in which it was broken; absent if the type is not valid.
    pub packet_type: Option<PacketType>,
    /// For a CONNECT whose protocol level was read before the error: the protocol in which the
    /// Client expects its answer.
    pub version: Option<ProtocolVersion>,
}

/// Why a packet cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A string or binary field of more than 65,535 bytes, or a Subscription Identifier or a
    /// Property Length of more than 268,435,455.
    FieldTooLong,
    /// A Remaining Length of more than 268,435,455.
    PacketTooLong,
}

macro_rules! rules {
    ($($name:ident: $reason:ident, $v5:literal, $v3:literal, $text:literal;)+) => {
        /// A rule about the bytes of Control Packets.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $text] $name,)+
        }

        impl Rule {
            /// All rules.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The Reason Code that MQTT 5.0 has for breaking it.
            pub fn reason_code(self) -> ReasonCode {
                match self {
                    $(Self::$name => ReasonCode::$reason,)+
                }
            }

            /// The normative statement; empty where the specification has none with a number.
            pub fn statement(self, version: ProtocolVersion) -> &'static str {
                let (v5, v3) = match self {
                    $(Self::$name => ($v5, $v3),)+
                };
                if version == ProtocolVersion::V5 { v5 } else { v3 }
            }

            /// What was wrong, in words.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

rules! {
    ReservedPacketType: MalformedPacket, "", "", "the packet type is reserved";
    ReservedFlags: MalformedPacket, "MQTT-2.1.3-1", "MQTT-2.2.2-2",
        "the fixed header has flags that this packet must not have";
    MalformedLength: MalformedPacket, "MQTT-1.5.5-1", "",
        "a Variable Byte Integer has more than four bytes";
    NonMinimalLength: MalformedPacket, "MQTT-1.5.5-1", "",
        "a Variable Byte Integer has more bytes than it needs";
    PacketTooLarge: PacketTooLarge, "MQTT-3.2.2-15", "",
        "the packet is larger than this server accepts";
    Truncated: MalformedPacket, "", "", "the packet ends inside a field";
    TrailingBytes: MalformedPacket, "", "", "there are bytes behind the packet's last field";
    IllFormedUtf8: MalformedPacket, "MQTT-1.5.4-1", "MQTT-1.5.3-1", "a string is not valid UTF-8";
    NullCharacter: MalformedPacket, "MQTT-1.5.4-2", "MQTT-1.5.3-2", "a string holds U+0000";
    WrongProtocolName: UnsupportedProtocolVersion, "MQTT-3.1.2-1", "MQTT-3.1.2-1",
        "the Protocol Name is not that of MQTT";
    UnsupportedProtocolVersion: UnsupportedProtocolVersion, "MQTT-3.1.2-2", "MQTT-3.1.2-2",
        "the Protocol Version is not supported";
    ReservedConnectFlag: MalformedPacket, "MQTT-3.1.2-3", "MQTT-3.1.2-3",
        "the reserved Connect Flag is set";
    WillFlagsWithoutWill: MalformedPacket, "MQTT-3.1.2-11", "MQTT-3.1.2-13",
        "Will QoS or Will Retain is set without Will Flag";
    WillQoS: MalformedPacket, "MQTT-3.1.2-12", "MQTT-3.1.2-14", "the Will QoS is 3";
    PasswordWithoutUserName: MalformedPacket, "", "MQTT-3.1.2-22",
        "there is a Password without a User Name";
    EmptyClientIdentifier: ClientIdentifierNotValid, "", "",
        "the Client Identifier is empty, which MQTT 3.1 does not allow";
    PacketIdentifierZero: ProtocolError, "MQTT-2.2.1-3", "MQTT-2.3.1-1",
        "the Packet Identifier is 0";
    PropertyNotAllowed: MalformedPacket, "", "", "a property is unknown or not allowed here";
    DuplicateProperty: ProtocolError, "", "", "a property that may occur once occurs twice";
    PropertyValue: ProtocolError, "", "", "a property has a value that it must not have";
    TopicAliasZero: TopicAliasInvalid, "MQTT-3.3.2-8", "", "the Topic Alias is 0";
    TopicWildcard: TopicNameInvalid, "MQTT-3.3.2-2", "MQTT-3.3.2-2",
        "the Topic Name holds a wildcard";
    EmptyTopic: ProtocolError, "MQTT-4.7.3-1", "MQTT-4.7.3-1", "the Topic Name is empty";
    ResponseTopic: ProtocolError, "MQTT-3.3.2-14", "",
        "the Response Topic is empty or holds a wildcard";
    DupWithQoS0: MalformedPacket, "MQTT-3.3.1-2", "MQTT-3.3.1-2", "DUP is set at QoS 0";
    QoS3: MalformedPacket, "MQTT-3.3.1-4", "MQTT-3.3.1-4", "the QoS is 3";
    SubscriptionOptions: MalformedPacket, "MQTT-3.8.3-5", "MQTT-3.8.3-4",
        "reserved bits of the Subscription Options are set";
    NoLocalShared: ProtocolError, "MQTT-3.8.3-4", "",
        "No Local is set for a shared subscription";
    EmptySubscribe: ProtocolError, "MQTT-3.8.3-2", "MQTT-3.8.3-3", "there is no Topic Filter";
    EmptyUnsubscribe: ProtocolError, "MQTT-3.10.3-2", "MQTT-3.10.3-2", "there is no Topic Filter";
    ReasonCodeNotAllowed: ProtocolError, "", "", "the Reason Code is not one for this packet";
    AuthenticationDataAlone: ProtocolError, "", "",
        "there is Authentication Data without Authentication Method";
    ConnAckFlags: MalformedPacket, "MQTT-3.2.2-1", "", "reserved CONNACK flags are set";
    EmptyFilter: MalformedPacket, "MQTT-4.7.3-1", "MQTT-4.7.3-1", "the Topic Filter is empty";
    MultiLevelWildcard: MalformedPacket, "MQTT-4.7.1-1", "MQTT-4.7.1-2",
        "'#' has to be the last level of a Topic Filter, and all of it";
    SingleLevelWildcard: MalformedPacket, "MQTT-4.7.1-2", "MQTT-4.7.1-3",
        "'+' has to be all of its level";
    ShareName: MalformedPacket, "MQTT-4.8.2-1", "",
        "a shared subscription is $share/NAME/FILTER, with a name without wildcards";
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(packet_type) = self.packet_type {
            write!(f, "{}: ", packet_type.name())?;
        }
        self.rule.fmt(f)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())?;
        match self.statement(ProtocolVersion::V5) {
            "" => Ok(()),
            statement => write!(f, " [{statement}]"),
        }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FieldTooLong => "a field is longer than its length can say",
            Self::PacketTooLong => "the packet is longer than 268,435,455 bytes",
        })
    }
}

impl std::error::Error for DecodeError {}
impl std::error::Error for Rule {}
impl std::error::Error for EncodeError {}
