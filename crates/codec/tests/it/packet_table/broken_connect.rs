//! Rows of a CONNECT that breaks a rule.

use midge_codec::Rule;

use super::{ALL, Row, broken};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = broken_protocol();
    rows.extend(broken_flags());
    rows.extend(broken_payload());
    rows.extend(broken_properties());
    rows
}

fn broken_protocol() -> Vec<Row> {
    let (name, level) = (Rule::WrongProtocolName, Rule::UnsupportedProtocolVersion);
    vec![
        broken("flags", ALL, b"\x11\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a", Rule::ReservedFlags),
        broken(
            "flags of 5.0",
            ALL,
            b"\x18\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01a",
            Rule::ReservedFlags,
        ),
        broken("flags of who knows", ALL, b"\x16\x03\x01\0\0", Rule::ReservedFlags),
        broken("another protocol", ALL, b"\x10\x0D\0\x04AMQP\x04\x02\0\x3C\0\x01a", name),
        broken("lower-case name", ALL, b"\x10\x0D\0\x04mqtt\x04\x02\0\x3C\0\x01a", name),
        broken("name that is no UTF-8", ALL, b"\x10\x0D\0\x04MQT\xFF\x04\x02\0\x3C\0\x01a", name),
        broken("level 0", ALL, b"\x10\x0D\0\x04MQTT\0\x02\0\x3C\0\x01a", level),
        broken("level 3 of MQTT", ALL, b"\x10\x0D\0\x04MQTT\x03\x02\0\x3C\0\x01a", level),
        broken("level 4 of MQIsdp", ALL, b"\x10\x0F\0\x06MQIsdp\x04\x02\0\x3C\0\x01a", level),
        broken("level 6", ALL, b"\x10\x0E\0\x04MQTT\x06\x02\0\x3C\0\0\x01a", level),
        broken("bridge of level 6", ALL, b"\x10\x0E\0\x04MQTT\x86\x02\0\x3C\0\0\x01a", level),
        broken("empty CONNECT", ALL, b"\x10\0", Rule::Truncated),
        broken("end behind the name", ALL, b"\x10\x06\0\x04MQTT", Rule::Truncated),
        broken("end behind the level", ALL, b"\x10\x07\0\x04MQTT\x05", Rule::Truncated),
    ]
}

fn broken_flags() -> Vec<Row> {
    let without_will = Rule::WillFlagsWithoutWill;
    vec![
        broken(
            "reserved Connect Flag in 3.1.1",
            ALL,
            b"\x10\x0D\0\x04MQTT\x04\x03\0\x3C\0\x01a",
            Rule::ReservedConnectFlag,
        ),
        broken(
            "reserved Connect Flag in 5.0",
            ALL,
            b"\x10\x0E\0\x04MQTT\x05\x03\0\x3C\0\0\x01a",
            Rule::ReservedConnectFlag,
        ),
        broken("Will QoS alone", ALL, b"\x10\x0D\0\x04MQTT\x04\x0A\0\x3C\0\x01a", without_will),
        broken("Will Retain alone", ALL, b"\x10\x0D\0\x04MQTT\x04\x22\0\x3C\0\x01a", without_will),
        broken(
            "Will QoS 3",
            ALL,
            b"\x10\x13\0\x04MQTT\x04\x1E\0\x3C\0\x01a\0\x01w\0\x01x",
            Rule::WillQoS,
        ),
        broken(
            "Password alone in 3.1.1",
            ALL,
            b"\x10\x10\0\x04MQTT\x04\x42\0\x3C\0\x01a\0\x01p",
            Rule::PasswordWithoutUserName,
        ),
    ]
}

fn broken_payload() -> Vec<Row> {
    let (truncated, utf8, null) = (Rule::Truncated, Rule::IllFormedUtf8, Rule::NullCharacter);
    vec![
        broken(
            "3.1 without Client Identifier",
            ALL,
            b"\x10\x0E\0\x06MQIsdp\x03\x02\0\x3C\0\0",
            Rule::EmptyClientIdentifier,
        ),
        broken(
            "end in the Client Identifier",
            ALL,
            b"\x10\x0C\0\x04MQTT\x04\x02\0\x3C\0\x01",
            truncated,
        ),
        broken("surrogate", ALL, b"\x10\x0F\0\x04MQTT\x04\x02\0\x3C\0\x03\xED\xA0\x80", utf8),
        broken("overlong form", ALL, b"\x10\x0E\0\x04MQTT\x04\x02\0\x3C\0\x02\xC1\x81", utf8),
        broken("U+0000", ALL, b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01\0", null),
        broken("no Will", ALL, b"\x10\x0D\0\x04MQTT\x04\x06\0\x3C\0\x01a", truncated),
        broken(
            "empty Will Topic",
            ALL,
            b"\x10\x12\0\x04MQTT\x04\x06\0\x3C\0\x01a\0\0\0\x01x",
            Rule::EmptyTopic,
        ),
        broken(
            "empty Response Topic of the Will",
            ALL,
            b"\x10\x18\0\x04MQTT\x05\x06\0\x3C\0\0\x01a\x03\x08\0\0\0\x01w\0\x01x",
            Rule::ResponseTopic,
        ),
        broken(
            "wildcard in the Will Topic",
            ALL,
            b"\x10\x13\0\x04MQTT\x04\x06\0\x3C\0\x01a\0\x01#\0\x01x",
            Rule::TopicWildcard,
        ),
        broken("no User Name", ALL, b"\x10\x0D\0\x04MQTT\x04\x82\0\x3C\0\x01a", truncated),
        broken("no Password", ALL, b"\x10\x10\0\x04MQTT\x04\xC2\0\x3C\0\x01a\0\x01u", truncated),
        broken(
            "User Name that is no UTF-8",
            ALL,
            b"\x10\x10\0\x04MQTT\x04\x82\0\x3C\0\x01a\0\x01\xFF",
            utf8,
        ),
        broken(
            "bytes behind the payload",
            ALL,
            b"\x10\x0E\0\x04MQTT\x04\x02\0\x3C\0\x01a\0",
            Rule::TrailingBytes,
        ),
    ]
}

fn broken_properties() -> Vec<Row> {
    let (value, not_allowed) = (Rule::PropertyValue, Rule::PropertyNotAllowed);
    let block = |name, bytes, rule| broken(name, ALL, bytes, rule);
    vec![
        block("Receive Maximum 0", b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\x03\x21\0\0\0\x01a", value),
        block(
            "Maximum Packet Size 0",
            b"\x10\x13\0\x04MQTT\x05\x02\0\x3C\x05\x27\0\0\0\0\0\x01a",
            value,
        ),
        block("flag of 2", b"\x10\x10\0\x04MQTT\x05\x02\0\x3C\x02\x17\x02\0\x01a", value),
        block(
            "unknown property",
            b"\x10\x10\0\x04MQTT\x05\x02\0\x3C\x02\x7F\0\0\x01a",
            not_allowed,
        ),
        block(
            "property number of two bytes",
            b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\x03\x80\x02\0\0\x01a",
            not_allowed,
        ),
        block(
            "Will Delay Interval among those of CONNECT",
            b"\x10\x13\0\x04MQTT\x05\x02\0\x3C\x05\x18\0\0\0\0\0\x01a",
            not_allowed,
        ),
        block(
            "Session Expiry Interval among those of the Will",
            b"\x10\x1A\0\x04MQTT\x05\x06\0\x3C\0\0\x01a\x05\x11\0\0\0\0\0\x01w\0\x01x",
            not_allowed,
        ),
        block(
            "Authentication Data alone",
            b"\x10\x12\0\x04MQTT\x05\x02\0\x3C\x04\x16\0\x01x\0\x01a",
            Rule::AuthenticationDataAlone,
        ),
        block(
            "property twice",
            b"\x10\x14\0\x04MQTT\x05\x02\0\x3C\x06\x22\0\x05\x22\0\x05\0\x01a",
            Rule::DuplicateProperty,
        ),
        block(
            "Property Length that ends inside a property",
            b"\x10\x10\0\x04MQTT\x05\x02\0\x3C\x02\x21\0\0\x01a",
            Rule::Truncated,
        ),
        block(
            "Property Length of too many bytes",
            b"\x10\x0F\0\x04MQTT\x05\x02\0\x3C\x80\0\0\x01a",
            Rule::NonMinimalLength,
        ),
        block(
            "Property Length without end",
            b"\x10\x11\0\x04MQTT\x05\x02\0\x3C\xFF\xFF\xFF\xFF\0\x01a",
            Rule::MalformedLength,
        ),
    ]
}
