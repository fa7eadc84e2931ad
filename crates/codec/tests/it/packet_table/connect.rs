//! Rows of a valid CONNECT.

use std::num::{NonZeroU16, NonZeroU32};

use midge_codec::{
    Connect, ConnectProperties, Packet, ProtocolVersion, PublishProperties, QoS, Will,
};

use super::{ALL, Row, lenient, topic, user_properties, valid};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = valid_3();
    rows.extend(lenient_3_1());
    rows.extend(valid_5());
    rows
}

/// A CONNECT of the Client "a" with Clean Start; a CONNECT names its own version, so each row is
/// tried whatever the version of the Network Connection.
fn connect(version: ProtocolVersion) -> Connect<'static> {
    Connect {
        version,
        bridge: false,
        clean_start: true,
        keep_alive_seconds: 60,
        client_id: "a",
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn packet(connect: Connect<'static>) -> Packet<'static> {
    Packet::Connect(Box::new(connect))
}

fn will(payload: &'static [u8]) -> Will<'static> {
    Will {
        qos: QoS::AtMostOnce,
        retain: false,
        topic: topic("w"),
        payload,
        delay_interval_seconds: None,
        properties: PublishProperties::default(),
    }
}

fn valid_3() -> Vec<Row> {
    let v3_1 = connect(ProtocolVersion::V3_1);
    let v3_1_1 = connect(ProtocolVersion::V3_1_1);
    let v3_1_1_empty = Connect { client_id: "", ..v3_1_1.clone() };
    let kept = Connect { clean_start: false, keep_alive_seconds: 0, ..v3_1_1.clone() };
    let will = Will { qos: QoS::ExactlyOnce, retain: true, ..will(b"gone") };
    let full = Connect {
        will: Some(will),
        user_name: Some("u"),
        password: Some(b"\x00\xFF"),
        ..v3_1_1.clone()
    };
    vec![
        valid("3.1", ALL, b"\x10\x0F\0\x06MQIsdp\x03\x02\0\x3C\0\x01a", packet(v3_1.clone())),
        valid(
            "3.1 from a bridge",
            ALL,
            b"\x10\x0F\0\x06MQIsdp\x83\x02\0\x3C\0\x01a",
            packet(Connect { bridge: true, ..v3_1 }),
        ),
        valid("3.1.1", ALL, b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a", packet(v3_1_1.clone())),
        valid(
            "3.1.1 from a bridge",
            ALL,
            b"\x10\x0D\0\x04MQTT\x84\x02\0\x3C\0\x01a",
            packet(Connect { bridge: true, ..v3_1_1 }),
        ),
        valid(
            "3.1.1 without Client Identifier",
            ALL,
            b"\x10\x0C\0\x04MQTT\x04\x02\0\x3C\0\0",
            packet(v3_1_1_empty),
        ),
        valid(
            "3.1.1 without Clean Session and Keep Alive",
            ALL,
            b"\x10\x0D\0\x04MQTT\x04\0\0\0\0\x01a",
            packet(kept),
        ),
        valid(
            "3.1.1 with Will, User Name and Password",
            ALL,
            b"\x10\x1D\0\x04MQTT\x04\xF6\0\x3C\0\x01a\0\x01w\0\x04gone\0\x01u\0\x02\x00\xFF",
            packet(full),
        ),
    ]
}

/// What MQTT 3.1 does not look at.
fn lenient_3_1() -> Vec<Row> {
    let v3_1 = connect(ProtocolVersion::V3_1);
    vec![
        lenient(
            "3.1 knows no reserved Connect Flag",
            ALL,
            b"\x10\x0F\0\x06MQIsdp\x03\x03\0\x3C\0\x01a",
            packet(v3_1.clone()),
        ),
        lenient(
            "3.1 does not use the flags of CONNECT",
            ALL,
            b"\x1B\x0F\0\x06MQIsdp\x03\x02\0\x3C\0\x01a",
            packet(v3_1.clone()),
        ),
        lenient(
            "3.1 disregards a Will that is none",
            ALL,
            b"\x10\x0F\0\x06MQIsdp\x03\x3A\0\x3C\0\x01a",
            packet(v3_1.clone()),
        ),
        lenient(
            "3.1 may leave out what is behind the Client Identifier",
            ALL,
            b"\x10\x0F\0\x06MQIsdp\x03\xC2\0\x3C\0\x01a",
            packet(v3_1.clone()),
        ),
    ]
}

fn valid_5() -> Vec<Row> {
    let v5 = connect(ProtocolVersion::V5);
    let password = Connect { password: Some(b"p"), ..v5.clone() };
    let with_will = Connect { will: Some(will(b"")), ..v5.clone() };
    let with_all = Connect { properties: all_properties(), ..v5.clone() };
    let full_will = Will {
        delay_interval_seconds: Some(5),
        properties: PublishProperties {
            payload_format_indicator: Some(true),
            message_expiry_interval_seconds: Some(7),
            response_topic: Some(topic("r")),
            correlation_data: Some(b"\x00"),
            content_type: Some("t"),
            user_properties: user_properties(&[("k", "v")]),
            ..PublishProperties::default()
        },
        ..will(b"x")
    };
    vec![
        valid("5.0", ALL, b"\x10\x0E\0\x04MQTT\x05\x02\0\x3C\0\0\x01a", packet(v5.clone())),
        valid(
            "5.0 from a bridge",
            ALL,
            b"\x10\x0E\0\x04MQTT\x85\x02\0\x3C\0\0\x01a",
            packet(Connect { bridge: true, ..v5.clone() }),
        ),
        valid(
            "5.0 with Password alone",
            ALL,
            b"\x10\x11\0\x04MQTT\x05\x42\0\x3C\0\0\x01a\0\x01p",
            packet(password),
        ),
        valid(
            "5.0 with an empty Will Payload",
            ALL,
            b"\x10\x14\0\x04MQTT\x05\x06\0\x3C\0\0\x01a\0\0\x01w\0\0",
            packet(with_will),
        ),
        valid(
            "5.0 with all properties",
            ALL,
            b"\x10\x38\0\x04MQTT\x05\x02\0\x3C\x2A\x11\0\0\0\x0A\x21\0\x14\x27\0\0\x04\0\
              \x22\0\x05\x19\x01\x17\0\x15\0\x01m\x16\0\x02\x00\xFF\x26\0\x01k\0\x01v\
              \x26\0\x01k\0\0\0\x01a",
            packet(with_all),
        ),
        valid(
            "5.0 with all Will properties",
            ALL,
            b"\x10\x34\0\x04MQTT\x05\x06\0\x3C\0\0\x01a\x1F\x18\0\0\0\x05\x02\0\0\0\x07\
              \x01\x01\x08\0\x01r\x09\0\x01\0\x03\0\x01t\x26\0\x01k\0\x01v\0\x01w\0\x01x",
            packet(Connect { will: Some(full_will), ..v5 }),
        ),
    ]
}

fn all_properties() -> ConnectProperties<'static> {
    ConnectProperties {
        session_expiry_interval: Some(10),
        receive_maximum: NonZeroU16::new(20),
        maximum_packet_size: NonZeroU32::new(1024),
        topic_alias_maximum: Some(5),
        request_response_information: Some(true),
        request_problem_information: Some(false),
        authentication_method: Some("m"),
        authentication_data: Some(b"\x00\xFF"),
        user_properties: user_properties(&[("k", "v"), ("k", "")]),
    }
}
