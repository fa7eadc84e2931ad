//! MQTT 5.0 sections 3.15 and 4.12: enhanced authentication, as far as it needs no method.

use midge_conformance::Version::V5;
use midge_conformance::connect::{persistent, v5};
use midge_conformance::property::{AUTHENTICATION_DATA, AUTHENTICATION_METHOD, binary, text};
use midge_conformance::reason::{
    BAD_AUTHENTICATION_METHOD, CONTINUE_AUTHENTICATION, NOT_AUTHORIZED, PROTOCOL_ERROR,
    RE_AUTHENTICATE,
};
use midge_conformance::{Auth, Connect, Encode, Packet, client_id, target};

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
            let is_allowed = connack.reason == NOT_AUTHORIZED && !target::is_strict();
            let is_named = connack.reason == BAD_AUTHENTICATION_METHOD;
            assert!(is_named || is_allowed, "refused with {connack:?}");
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
    // The refusal also left the Session as it was.
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
