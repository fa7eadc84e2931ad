//! Rows of CONNACK.

use std::num::{NonZeroU16, NonZeroU32};

use midge_codec::{ConnAck, ConnAckProperties, Packet, QoS, ReasonCode, Rule};

use super::{ALL, Row, SINCE_3_1_1, V3, V3_1, V3_1_1, V5, broken, lenient, user_properties, valid};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = valid_rows();
    rows.push(with_all_properties());
    rows.extend(broken_rows());
    rows
}

fn connack(session_present: bool, reason_code: ReasonCode) -> Packet<'static> {
    let properties = ConnAckProperties::default();
    Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties }))
}

fn valid_rows() -> Vec<Row> {
    use ReasonCode as Code;
    let maximum_qos = |qos| {
        Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason_code: Code::Success,
            properties: ConnAckProperties { maximum_qos: Some(qos), ..Default::default() },
        }))
    };
    vec![
        valid("accepted", V3, b"\x20\x02\0\0", connack(false, Code::Success)),
        valid("Session Present", V3_1_1, b"\x20\x02\x01\0", connack(true, Code::Success)),
        lenient(
            "3.1 reserves the byte of Session Present",
            V3_1,
            b"\x20\x02\x01\0",
            connack(false, Code::Success),
        ),
        valid(
            "return code 1",
            V3,
            b"\x20\x02\0\x01",
            connack(false, Code::UnsupportedProtocolVersion),
        ),
        valid(
            "return code 2",
            V3,
            b"\x20\x02\0\x02",
            connack(false, Code::ClientIdentifierNotValid),
        ),
        valid("return code 3", V3, b"\x20\x02\0\x03", connack(false, Code::ServerUnavailable)),
        valid("return code 4", V3, b"\x20\x02\0\x04", connack(false, Code::BadUserNameOrPassword)),
        valid("return code 5", V3, b"\x20\x02\0\x05", connack(false, Code::NotAuthorized)),
        valid("accepted", V5, b"\x20\x03\0\0\0", connack(false, Code::Success)),
        valid("Session Present", V5, b"\x20\x03\x01\0\0", connack(true, Code::Success)),
        valid("Banned", V5, b"\x20\x03\0\x8A\0", connack(false, Code::Banned)),
        lenient(
            "refusal of a Server that does not know 5.0",
            V5,
            b"\x20\x02\0\x01",
            connack(false, Code::UnsupportedProtocolVersion),
        ),
        lenient("refusal without properties", V5, b"\x20\x02\0\x8A", connack(false, Code::Banned)),
        valid("Maximum QoS 0", V5, b"\x20\x05\0\0\x02\x24\0", maximum_qos(QoS::AtMostOnce)),
        valid("Maximum QoS 1", V5, b"\x20\x05\0\0\x02\x24\x01", maximum_qos(QoS::AtLeastOnce)),
    ]
}

fn with_all_properties() -> Row {
    let properties = ConnAckProperties {
        session_expiry_interval: Some(10),
        receive_maximum: NonZeroU16::new(20),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: NonZeroU32::new(1024),
        assigned_client_identifier: Some("c"),
        topic_alias_maximum: Some(5),
        reason_string: Some("r"),
        user_properties: user_properties(&[("k", "v")]),
        wildcard_subscription_available: Some(true),
        subscription_identifiers_available: Some(false),
        shared_subscription_available: Some(true),
        server_keep_alive: Some(30),
        response_information: Some("i"),
        server_reference: Some("s"),
        authentication_method: Some("m"),
        authentication_data: Some(b"\xFF"),
    };
    valid(
        "all properties",
        V5,
        b"\x20\x3F\0\0\x3C\x11\0\0\0\x0A\x21\0\x14\x24\x01\x25\0\x27\0\0\x04\0\x12\0\x01c\
          \x22\0\x05\x1F\0\x01r\x28\x01\x29\0\x2A\x01\x13\0\x1E\x1A\0\x01i\x1C\0\x01s\
          \x15\0\x01m\x16\0\x01\xFF\x26\0\x01k\0\x01v",
        Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason_code: ReasonCode::Success,
            properties,
        })),
    )
}

fn broken_rows() -> Vec<Row> {
    let (code, value) = (Rule::ReasonCodeNotAllowed, Rule::PropertyValue);
    vec![
        broken("flags", SINCE_3_1_1, b"\x21\x02\0\0", Rule::ReservedFlags),
        broken("reserved flags of its own", V3_1_1, b"\x20\x02\x02\0", Rule::ConnAckFlags),
        broken("reserved flags of its own", V5, b"\x20\x03\x81\0\0", Rule::ConnAckFlags),
        broken("empty CONNACK", ALL, b"\x20\0", Rule::Truncated),
        broken("no return code", ALL, b"\x20\x01\0", Rule::Truncated),
        broken("5.0 accepts with properties", V5, b"\x20\x02\0\0", Rule::Truncated),
        broken("bytes behind the return code", V3, b"\x20\x03\0\0\0", Rule::TrailingBytes),
        broken("return code 6", V3, b"\x20\x02\0\x06", code),
        broken("Reason Code of another packet", V5, b"\x20\x03\0\x8B\0", code),
        broken("Reason Code that is none", V5, b"\x20\x03\0\x05\0", code),
        broken("Maximum QoS 2", V5, b"\x20\x05\0\0\x02\x24\x02", value),
        broken(
            "property of another packet",
            V5,
            b"\x20\x06\0\0\x03\x23\0\x01",
            Rule::PropertyNotAllowed,
        ),
        broken("bytes behind the properties", V5, b"\x20\x04\0\0\0\0", Rule::TrailingBytes),
    ]
}
