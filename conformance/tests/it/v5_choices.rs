//! MQTT 5.0: properties of CONNECT and CONNACK, authentication, Reason Codes of DISCONNECT, and
//! where Midge promises one of several choices.

use midge_conformance::Version::V5;
use midge_conformance::connect::{expect_refused, persistent, v5};
use midge_conformance::property::{
    ASSIGNED_CLIENT_IDENTIFIER, AUTHENTICATION_DATA, AUTHENTICATION_METHOD, MAXIMUM_PACKET_SIZE,
    MAXIMUM_QOS, REASON_STRING, RECEIVE_MAXIMUM, REQUEST_PROBLEM_INFORMATION,
    REQUEST_RESPONSE_INFORMATION, RESPONSE_INFORMATION, RETAIN_AVAILABLE, SESSION_EXPIRY_INTERVAL,
    TOPIC_ALIAS_MAXIMUM, USER_PROPERTY, WILL_DELAY_INTERVAL, binary, number, text,
};
use midge_conformance::reason::{
    BAD_AUTHENTICATION_METHOD, CLIENT_IDENTIFIER_NOT_VALID, CONTINUE_AUTHENTICATION,
    MALFORMED_PACKET, NOT_AUTHORIZED, PROTOCOL_ERROR, RE_AUTHENTICATE,
    UNSUPPORTED_PROTOCOL_VERSION,
};
use midge_conformance::{
    Auth, Client, Connect, Encode, Packet, Publish, Raw, Subscribe, Unsubscribe, Will, client_id,
    target, topic,
};

/// [MQTT-3.1.2-2] [MQTT-3.2.2-7]
#[test]
fn mqtt5_3_1_2_2_later_protocol_version_is_refused() {
    for level in [6, 7, 127] {
        let packet = v5().encode_with_protocol("MQTT", level);
        if target::is_strict() {
            expect_refused(V5, &packet, UNSUPPORTED_PROTOCOL_VERSION);
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
/// Requests that fail or have nothing to do: their answers would explain themselves.
#[test]
fn mqtt5_3_1_2_29_no_problem_information_when_not_wanted() {
    let mut client = v5().with(number(REQUEST_PROBLEM_INFORMATION, 0)).open();
    client.send(&Publish::new("$SYS/conformance/forged", "payload").qos_1(1));
    client.send(&Publish::new("$SYS/conformance/forged", "payload").qos_2(2));
    client.send(&midge_conformance::Ack::pubrel(4711));
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
/// The longest there can be is accepted or refused with the Reason Code for it.
#[test]
fn mqtt5_3_1_3_8_refused_client_identifier_has_its_reason_code() {
    let unique = client_id();
    let long = unique.clone() + &"x".repeat(65_535 - unique.len());
    let mut client = v5().client_id(&long).start();
    let reason = client.receive_connack().reason;
    if reason != 0 {
        assert_eq!(reason, CLIENT_IDENTIFIER_NOT_VALID);
        client.expect_closed();
    }
}

fn with_method() -> Connect {
    let method = text(AUTHENTICATION_METHOD, "no-such-method");
    v5().with(method).with(binary(AUTHENTICATION_DATA, b"data"))
}

/// [MQTT-4.12.0-1] [MQTT-4.12.0-4] [MQTT-3.1.4-2] [MQTT-3.2.2-7] [MQTT-4.13.2-1]
#[test]
fn mqtt5_4_12_0_1_unknown_authentication_method_is_refused() {
    let mut client = with_method().start();
    match client.read_until_closed().as_slice() {
        [] if !target::is_strict() => {}
        [Packet::ConnAck(connack)] => {
            let expected = [BAD_AUTHENTICATION_METHOD, NOT_AUTHORIZED];
            assert!(expected.contains(&connack.reason), "refused with {connack:?}");
        }
        other => panic!("expected a CONNACK that refuses, received {other:?}"),
    }
}

/// [MQTT-3.2.2-6]
#[test]
fn mqtt5_3_2_2_6_refusal_reports_no_session() {
    let id = client_id();
    persistent(V5, &id).open().disconnect();
    let mut client = with_method().client_id(&id).clean(false).start();
    for packet in client.read_until_closed() {
        assert!(matches!(packet, Packet::ConnAck(connack) if !connack.session_present));
    }
    // And it left the Session as it was.
    let (_, connack) = persistent(V5, &id).open_with_connack();
    assert!(connack.session_present, "a refused CONNECT disturbed the Session");
}

/// [MQTT-4.12.0-6]
#[test]
fn mqtt5_4_12_0_6_no_authentication_where_none_is_asked_for() {
    let (mut client, connack) = v5().open_with_connack();
    assert!(!connack.properties.has(AUTHENTICATION_METHOD));
    assert!(!connack.properties.has(AUTHENTICATION_DATA));
    client.expect_silence();
}

/// [MQTT-4.12.0-7] [MQTT-4.13.1-1]
#[test]
fn mqtt5_4_12_0_7_auth_without_a_method_is_an_error() {
    for reason in [CONTINUE_AUTHENTICATION, RE_AUTHENTICATE] {
        let mut client = v5().open();
        client.send(&Auth::new(reason).with(text(AUTHENTICATION_METHOD, "no-such-method")));
        client.expect_error(PROTOCOL_ERROR);
    }
}

/// [MQTT-3.15.1-1] [MQTT-2.1.3-1]
#[test]
fn mqtt5_3_15_1_1_flags_of_auth_are_fixed() {
    let packet = Auth::new(CONTINUE_AUTHENTICATION).encode(V5);
    for flags in [0b0001, 0b0010, 0b1000] {
        let mut changed = packet.clone();
        changed[0] |= flags;
        crate::scenario::format::expect_malformed(V5, &changed);
    }
}

/// [MQTT-3.1.4-1] [MQTT-3.2.2-8] [MQTT-4.13.1-1]
///
/// Values that the specification calls a Protocol Error, and properties of other packets.
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
        match client.read_until_closed().as_slice() {
            [] if !target::is_strict() => {}
            [Packet::ConnAck(connack)] => {
                let expected = [PROTOCOL_ERROR, MALFORMED_PACKET];
                assert!(expected.contains(&connack.reason), "{connect:?}: {connack:?}");
            }
            other => panic!("{connect:?} was answered by {other:?}"),
        }
    }
}

/// [MQTT-3.1.4-5] [MQTT-3.2.0-2]
///
/// Properties with every value they may have.
#[test]
fn mqtt5_3_1_4_5_valid_connect_properties_are_accepted() {
    let mut client = v5()
        .with(number(SESSION_EXPIRY_INTERVAL, 1))
        .with(number(RECEIVE_MAXIMUM, 65_535))
        .with(number(MAXIMUM_PACKET_SIZE, u32::MAX))
        .with(number(TOPIC_ALIAS_MAXIMUM, 65_535))
        .with(number(REQUEST_RESPONSE_INFORMATION, 0))
        .with(number(REQUEST_PROBLEM_INFORMATION, 1))
        .with(midge_conformance::property::user("name", "value"))
        .with(midge_conformance::property::user("name", "value"))
        .open();
    client.expect_silence();
}

/// [MQTT-3.2.2-9] [MQTT-3.2.2-10] [MQTT-3.2.2-12] [MQTT-3.2.2-13]
///
/// What is announced is what holds: here all three QoS and retained messages.
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
    assert_eq!(other.receive_connack().reason == 0, maximum == 2 && retains);
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

/// [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2]
///
/// The reader panics at another Reason Code, at a Session Expiry Interval, and the end has to
/// follow at once.
#[test]
fn mqtt5_3_14_2_1_disconnect_is_the_last_packet() {
    let topic = topic();
    let mut client = v5().with(number(SESSION_EXPIRY_INTERVAL, 60)).open();
    client.subscribe(&topic, 0);
    let mut bytes = Subscribe::new(1).encode(V5);
    bytes.extend(Publish::new(&topic, "behind the error").encode(V5));
    client.send(&Raw(bytes));
    client.expect_error(PROTOCOL_ERROR);
}

/// [MQTT-3.14.0-1]
///
/// Errors before a CONNACK are answered by a CONNACK or by nothing.
#[test]
fn mqtt5_3_14_0_1_no_disconnect_before_connack() {
    let firsts = [
        vec![0xE0, 0x00],
        vec![0xF0, 0x00],
        vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        vec![0x00, 0x00],
        v5().encode_with_flags(|flags| flags | 1),
    ];
    for first in firsts {
        let mut client = Client::dial(V5);
        client.send_bytes(&first);
        for packet in client.read_until_closed() {
            assert!(matches!(packet, Packet::ConnAck(_)), "{first:02x?} got {packet:?}");
        }
    }
}
