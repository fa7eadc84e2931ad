//! MQTT 5.0 sections 3.1.2.11 and 3.2.2.3: properties of CONNECT and CONNACK, assigned Client
//! Identifiers, and the limits that Midge announces.

use midge_conformance::Version::V5;
use midge_conformance::connect::{expect_refused, persistent, v5};
use midge_conformance::property::{
    ASSIGNED_CLIENT_IDENTIFIER, AUTHENTICATION_DATA, MAXIMUM_PACKET_SIZE, MAXIMUM_QOS,
    REASON_STRING, RECEIVE_MAXIMUM, REQUEST_PROBLEM_INFORMATION, REQUEST_RESPONSE_INFORMATION,
    RESPONSE_INFORMATION, RETAIN_AVAILABLE, SESSION_EXPIRY_INTERVAL, TOPIC_ALIAS_MAXIMUM,
    USER_PROPERTY, WILL_DELAY_INTERVAL, binary, number, user,
};
use midge_conformance::reason::{
    CLIENT_IDENTIFIER_NOT_VALID, MALFORMED_PACKET, PROTOCOL_ERROR, UNSUPPORTED_PROTOCOL_VERSION,
};
use midge_conformance::{
    Ack, Packet, Publish, Subscribe, Unsubscribe, Will, client_id, target, topic,
};

/// [MQTT-3.1.2-2] [MQTT-3.2.2-7]
#[test]
fn mqtt5_3_1_2_2_later_protocol_version_is_refused() {
    for level in [6, 7, 127] {
        let packet = v5().encode_with_protocol("MQTT", level);
        if target::is_strict() {
            expect_refused(V5, &packet, &[UNSUPPORTED_PROTOCOL_VERSION]);
        }
    }
}

/// [MQTT-3.1.2-28]
#[test]
fn mqtt5_3_1_2_28_response_information_only_on_request() {
    for connect in [v5(), v5().with(number(REQUEST_RESPONSE_INFORMATION, 0))] {
        let (_, connack) = connect.open_with_connack();
        assert!(!connack.properties.has(RESPONSE_INFORMATION));
    }
    v5().with(number(REQUEST_RESPONSE_INFORMATION, 1)).open();
}

/// [MQTT-3.1.2-29]
///
/// Requests that fail or have nothing to do: otherwise the answers might contain an explanation.
#[test]
fn mqtt5_3_1_2_29_no_problem_information_when_not_wanted() {
    let mut client = v5().with(number(REQUEST_PROBLEM_INFORMATION, 0)).open();
    client.send(&Publish::new("$SYS/conformance/forged", "payload").qos_1(1));
    client.send(&Publish::new("$SYS/conformance/forged", "payload").qos_2(2));
    client.send(&Ack::pubrel(4711));
    client.send(&Unsubscribe::new(3).filter(&topic()));
    client.send(&Subscribe::new(4).filter("$share/+/not/valid", 0));
    for packet in client.until_ping_or_closed() {
        let properties = match &packet {
            Packet::PubAck(it) | Packet::PubRec(it) | Packet::PubComp(it) => &it.properties,
            Packet::SubAck(it) | Packet::UnsubAck(it) => &it.properties,
            Packet::Disconnect(_) => continue,
            other => panic!("unexpected {other:?}"),
        };
        let explains = properties.has(REASON_STRING) || properties.has(USER_PROPERTY);
        assert!(!explains, "{packet:?}");
    }
}

/// [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]
#[test]
fn mqtt5_3_1_3_6_empty_client_identifiers_get_unique_ones() {
    let connect = v5().client_id("").with(number(SESSION_EXPIRY_INTERVAL, 60));
    let assigned = || {
        let (client, connack) = connect.open_with_connack();
        let identifier = connack.properties.text(ASSIGNED_CLIENT_IDENTIFIER);
        (client, identifier.expect("an assigned Client Identifier").to_owned())
    };
    let (first, identifier) = assigned();
    let (mut second, other) = assigned();
    assert_ne!(identifier, other);
    first.disconnect();
    let (_resumed, connack) = persistent(V5, &identifier).open_with_connack();
    assert!(connack.session_present, "the assigned Client Identifier names no Session");
    second.expect_silence();
}

/// [MQTT-3.1.3-7]
#[test]
fn mqtt5_3_1_3_7_no_identifier_is_assigned_to_who_has_one() {
    let (_, connack) = v5().open_with_connack();
    assert!(!connack.properties.has(ASSIGNED_CLIENT_IDENTIFIER));
}

/// [MQTT-3.1.3-8]
///
/// The longest possible Client Identifier is accepted, or refused with its own Reason Code.
#[test]
fn mqtt5_3_1_3_8_refused_client_identifier_has_its_reason_code() {
    let unique = client_id();
    let long = unique.clone() + &"x".repeat(8_000 - unique.len());
    let mut client = v5().client_id(&long).start();
    let reason = client.receive_connack().reason;
    if reason != 0 {
        assert_eq!(reason, CLIENT_IDENTIFIER_NOT_VALID);
        client.expect_closed();
    }
}

/// [MQTT-3.1.4-1] [MQTT-3.2.2-8] [MQTT-4.13.1-1]
///
/// Values that the specification calls a Protocol Error, and properties that belong to other
/// packets.
#[test]
fn mqtt5_3_1_4_1_invalid_connect_properties_are_refused() {
    let connects = [
        v5().with(number(RECEIVE_MAXIMUM, 0)),
        v5().with(number(MAXIMUM_PACKET_SIZE, 0)),
        v5().with(number(REQUEST_PROBLEM_INFORMATION, 2)),
        v5().with(number(REQUEST_RESPONSE_INFORMATION, 2)),
        v5().with(number(RECEIVE_MAXIMUM, 5)).with(number(RECEIVE_MAXIMUM, 5)),
        v5().with(binary(AUTHENTICATION_DATA, b"without a method")),
        v5().with(number(MAXIMUM_QOS, 1)),
        v5().with(number(WILL_DELAY_INTERVAL, 1)),
        v5().will(Will::new("a", "b").with(number(SESSION_EXPIRY_INTERVAL, 1))),
    ];
    for connect in connects {
        let mut client = connect.start();
        match client.until_ping_or_closed().as_slice() {
            [] if !target::is_strict() => {}
            [Packet::ConnAck(connack)] => {
                let expected = [PROTOCOL_ERROR, MALFORMED_PACKET];
                assert!(expected.contains(&connack.reason), "{connect:?}: {connack:?}");
                client.expect_closed();
            }
            other => panic!("{connect:?} was answered by {other:?}"),
        }
    }
}

/// [MQTT-3.1.4-5] [MQTT-3.2.0-2]
///
/// Properties with all kinds of permitted values.
#[test]
fn mqtt5_3_1_4_5_valid_connect_properties_are_accepted() {
    let mut client = v5()
        .with(number(SESSION_EXPIRY_INTERVAL, 1))
        .with(number(RECEIVE_MAXIMUM, 65_535))
        .with(number(MAXIMUM_PACKET_SIZE, u32::MAX))
        .with(number(TOPIC_ALIAS_MAXIMUM, 65_535))
        .with(number(REQUEST_RESPONSE_INFORMATION, 0))
        .with(number(REQUEST_PROBLEM_INFORMATION, 1))
        .with(user("name", "value"))
        .with(user("name", "value"))
        .open();
    client.expect_silence();
}

/// [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-12] [MQTT-3.2.2-13]
///
/// What is announced holds: here all three levels of QoS and retained messages.
#[test]
fn mqtt5_3_2_2_9_announced_capabilities_hold() {
    let (mut client, connack) = v5().open_with_connack();
    for qos in 0..=2 {
        client.send(&Subscribe::new(1).filter(&topic(), qos));
        assert!(client.receive_suback().reasons[0] <= qos);
    }
    let maximum = connack.properties.number(MAXIMUM_QOS).unwrap_or(2);
    client.publish(&topic(), "payload", u8::try_from(maximum).expect("a QoS"));
    let retains = connack.properties.number(RETAIN_AVAILABLE).unwrap_or(1) == 1;
    let will = Will::new(&topic(), "will").qos(2).retained();
    let mut other = v5().will(will).start();
    let is_accepted = other.receive_connack().reason == 0;
    assert_eq!(is_accepted, maximum == 2 && retains);
    if is_accepted {
        other.disconnect();
    }
}

/// [MQTT-3.2.2-9] [MQTT-4.9.0-1]
///
/// Midge's own limits.
#[test]
fn mqtt5_3_2_2_9_connack_announces_midges_limits() {
    if !target::is_strict() {
        return;
    }
    let (_, connack) = v5().open_with_connack();
    assert_eq!(connack.properties.number(RECEIVE_MAXIMUM), Some(64));
    assert_eq!(connack.properties.number(TOPIC_ALIAS_MAXIMUM), Some(16));
    assert_eq!(connack.properties.number(MAXIMUM_PACKET_SIZE), Some(1 << 20));
    assert_eq!(connack.properties.number(MAXIMUM_QOS), None);
}
