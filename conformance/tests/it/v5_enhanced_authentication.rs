//! MQTT 5.0 sections 3.15 and 4.12: enhanced authentication with a method that the broker knows.

use midge_conformance::Version::V5;
use midge_conformance::connect::{persistent, v5};
use midge_conformance::property::{
    MAXIMUM_PACKET_SIZE, REASON_STRING, REQUEST_PROBLEM_INFORMATION, number, text, user,
};
use midge_conformance::reason::{
    CONTINUE_AUTHENTICATION, NOT_AUTHORIZED, PACKET_TOO_LARGE, PROTOCOL_ERROR, RE_AUTHENTICATE,
    SESSION_TAKEN_OVER, SUCCESS,
};
use midge_conformance::toy_method::{ToyMethod, needs_toy_method};
use midge_conformance::{
    Client, Connect, Disconnect, Encode, Fence, Packet, PingReq, Publish, Will, client_id, topic,
};

use crate::scenario::subscriber;

/// Opens a connection whose CONNECT is answered with the challenge.
fn challenged(method: ToyMethod, connect: &Connect) -> Client {
    let mut client = connect.start();
    method.expect_challenge(&client.receive_auth(), CONTINUE_AUTHENTICATION);
    client
}

/// Connects a client that the method admits.
fn authenticated(method: ToyMethod, connect: &Connect) -> Client {
    let mut client = challenged(method, connect);
    client.send(&method.right_answer(CONTINUE_AUTHENTICATION));
    let connack = client.receive_connack();
    assert_eq!(connack.reason, SUCCESS);
    method.expect_welcome(&connack.properties);
    client
}

/// Expects the connection to end without a CONNACK that accepts.
fn expect_no_entry(client: &mut Client) {
    for packet in client.read_until_closed() {
        let is_refusal = matches!(&packet, Packet::ConnAck(connack) if connack.reason >= 0x80);
        assert!(is_refusal, "received {packet:?}");
    }
}

/// [MQTT-4.12.0-2] [MQTT-4.12.0-5] [MQTT-3.15.2-1]
#[test]
fn mqtt5_4_12_0_2_challenge_is_an_auth_of_the_same_method() {
    let Some(method) = needs_toy_method() else { return };
    let mut client = authenticated(method, &method.connect());
    client.expect_silence();
}

/// [MQTT-4.12.0-2] [MQTT-4.12.0-5]
///
/// The method may ask any number of times: beginning again is a step of the toy method like any
/// other.
#[test]
fn mqtt5_4_12_0_2_every_challenge_has_the_same_form() {
    let Some(method) = needs_toy_method() else { return };
    let mut client = challenged(method, &method.connect());
    for _ in 0..3 {
        client.send(&method.begin(CONTINUE_AUTHENTICATION));
        method.expect_challenge(&client.receive_auth(), CONTINUE_AUTHENTICATION);
    }
    client.send(&method.right_answer(CONTINUE_AUTHENTICATION));
    method.expect_welcome(&client.receive_connack().properties);
}

/// [MQTT-4.12.0-5]
///
/// A method that has nothing to ask ends with the CONNACK, which also repeats the method.
#[test]
fn mqtt5_4_12_0_5_connack_without_a_challenge_repeats_the_method() {
    let Some(method) = needs_toy_method() else { return };
    let (mut client, connack) = method.connect_answering().open_with_connack();
    method.expect_welcome(&connack.properties);
    client.expect_silence();
}

/// [MQTT-4.12.0-5] [MQTT-4.12.0-4]
#[test]
fn mqtt5_4_12_0_5_answer_of_another_method_is_refused() {
    let Some(method) = needs_toy_method() else { return };
    let mut client = challenged(method, &method.connect());
    client.send(&method.right_answer_of_another(CONTINUE_AUTHENTICATION));
    expect_no_entry(&mut client);
}

/// [MQTT-4.12.0-3]
#[test]
fn mqtt5_4_12_0_3_answer_with_another_reason_code_is_refused() {
    let Some(method) = needs_toy_method() else { return };
    for reason in [SUCCESS, RE_AUTHENTICATE] {
        let mut client = challenged(method, &method.connect());
        client.send(&method.right_answer(reason));
        expect_no_entry(&mut client);
    }
}

/// [MQTT-4.12.0-4] [MQTT-3.2.2-7] [MQTT-4.13.2-1]
#[test]
fn mqtt5_4_12_0_4_wrong_answer_is_refused() {
    let Some(method) = needs_toy_method() else { return };
    let mut answered = challenged(method, &method.connect());
    answered.send(&method.wrong_answer(CONTINUE_AUTHENTICATION));
    let at_once = method.connect_wrongly().start();
    for mut client in [answered, at_once] {
        assert_eq!(client.receive_connack().reason, NOT_AUTHORIZED);
        client.expect_closed();
    }
}

/// [MQTT-4.12.0-4] [MQTT-3.1.4-2] [MQTT-3.1.4-3]
///
/// Only an admitted Client takes a Session over.
#[test]
fn mqtt5_4_12_0_4_refused_client_disturbs_no_session() {
    let Some(method) = needs_toy_method() else { return };
    let id = client_id();
    let mut existing = persistent(V5, &id).open();
    let connect = method.connect().client_id(&id).clean(false);
    let mut refused = challenged(method, &connect);
    existing.expect_silence();
    refused.send(&method.wrong_answer(CONTINUE_AUTHENTICATION));
    expect_no_entry(&mut refused);
    existing.expect_silence();
    let mut entering = challenged(method, &connect);
    entering.send(&method.right_answer(CONTINUE_AUTHENTICATION));
    let connack = entering.receive_connack();
    assert!(connack.session_present, "the Session was lost");
    method.expect_welcome(&connack.properties);
    existing.expect_error(SESSION_TAKEN_OVER);
}

/// [MQTT-4.12.0-4] [MQTT-3.1.2-8]
///
/// A Will Message is stored only with the CONNACK that accepts.
#[test]
fn mqtt5_4_12_0_4_refused_client_has_no_will() {
    let Some(method) = needs_toy_method() else { return };
    let topic = topic();
    let mut observer = subscriber(V5, &topic, 1);
    let fence = Fence::for_subscriber(&mut observer);
    let connect = method.connect().will(Will::new(&topic, "gone"));
    let mut refused = challenged(method, &connect);
    refused.send(&method.wrong_answer(CONTINUE_AUTHENTICATION));
    expect_no_entry(&mut refused);
    challenged(method, &connect).abandon();
    fence.expect_nothing(&mut v5().open(), &mut observer);
}

/// [MQTT-3.1.2-30]
///
/// DISCONNECT ends the connection; anything else but AUTH is refused and not processed.
#[test]
fn mqtt5_3_1_2_30_only_auth_and_disconnect_come_before_connack() {
    let Some(method) = needs_toy_method() else { return };
    let topic = topic();
    let early = Publish::new(&topic, "early").retained();
    for packet in [early.encode(V5), PingReq.encode(V5), v5().encode(V5)] {
        let mut client = challenged(method, &method.connect());
        client.send_bytes(&packet);
        client.send(&method.right_answer(CONTINUE_AUTHENTICATION));
        expect_no_entry(&mut client);
    }
    subscriber(V5, &topic, 0).expect_silence();
    let last = challenged(method, &method.connect()).disconnect_with(&Disconnect::new());
    assert_eq!(last, [], "an answer to DISCONNECT");
}

/// [MQTT-4.12.0-7] [MQTT-4.12.0-6]
///
/// It does not help a Client that the broker knows the method if CONNECT did not name it.
#[test]
fn mqtt5_4_12_0_7_known_method_has_to_begin_with_connect() {
    let Some(method) = needs_toy_method() else { return };
    for reason in [CONTINUE_AUTHENTICATION, RE_AUTHENTICATE] {
        let mut client = v5().open();
        client.send(&method.begin(reason));
        client.expect_error(PROTOCOL_ERROR);
    }
}

/// [MQTT-4.12.1-1] [MQTT-4.12.0-5] [MQTT-3.15.2-1]
///
/// The conversation continues meanwhile, and the Client can authenticate again afterwards.
#[test]
fn mqtt5_4_12_1_1_connected_client_authenticates_anew() {
    let Some(method) = needs_toy_method() else { return };
    let topic = topic();
    let mut client = authenticated(method, &method.connect());
    client.subscribe(&topic, 1);
    for payload in ["one", "two"] {
        client.send(&method.begin(RE_AUTHENTICATE));
        method.expect_challenge(&client.receive_auth(), CONTINUE_AUTHENTICATION);
        client.publish(&topic, payload, 1);
        assert_eq!(client.receive_message().text(), payload);
        client.send(&method.right_answer(CONTINUE_AUTHENTICATION));
        let auth = client.receive_auth();
        assert_eq!(auth.reason, SUCCESS);
        method.expect_welcome(&auth.properties);
        client.expect_silence();
    }
}

/// [MQTT-4.12.1-1] [MQTT-4.13.1-1]
#[test]
fn mqtt5_4_12_1_1_authenticating_anew_has_its_own_reason_code() {
    let Some(method) = needs_toy_method() else { return };
    for reason in [SUCCESS, CONTINUE_AUTHENTICATION] {
        let mut client = authenticated(method, &method.connect());
        client.send(&method.begin(reason));
        client.expect_error(PROTOCOL_ERROR);
    }
}

/// [MQTT-4.12.1-1] [MQTT-4.12.0-5]
#[test]
fn mqtt5_4_12_1_1_authenticating_anew_keeps_the_method() {
    let Some(method) = needs_toy_method() else { return };
    let mut at_once = authenticated(method, &method.connect());
    at_once.send(&method.right_answer_of_another(RE_AUTHENTICATE));
    let mut answering = authenticated(method, &method.connect());
    answering.send(&method.begin(RE_AUTHENTICATE));
    answering.receive_auth();
    answering.send(&method.right_answer_of_another(CONTINUE_AUTHENTICATION));
    for mut client in [at_once, answering] {
        client.expect_error(PROTOCOL_ERROR);
    }
}

/// [MQTT-4.12.1-2] [MQTT-3.1.2-8]
///
/// Such an end of the connection publishes the Will Message.
#[test]
fn mqtt5_4_12_1_2_failing_to_authenticate_anew_ends_the_connection() {
    let Some(method) = needs_toy_method() else { return };
    let topic = topic();
    let mut observer = subscriber(V5, &topic, 0);
    let connect = method.connect().will(Will::new(&topic, "gone"));
    let mut at_once = authenticated(method, &connect);
    at_once.send(&method.wrong_answer(RE_AUTHENTICATE));
    let mut answering = authenticated(method, &connect);
    answering.send(&method.begin(RE_AUTHENTICATE));
    method.expect_challenge(&answering.receive_auth(), CONTINUE_AUTHENTICATION);
    answering.send(&method.wrong_answer(CONTINUE_AUTHENTICATION));
    for mut client in [at_once, answering] {
        client.expect_error(NOT_AUTHORIZED);
        assert_eq!(observer.receive_publish().text(), "gone");
    }
}

/// [MQTT-3.15.2-2] [MQTT-3.15.2-3] [MQTT-3.1.2-24]
///
/// There is room for the method and the data, but not for a text beside them.
#[test]
fn mqtt5_3_15_2_2_auth_stays_within_the_size() {
    let Some(method) = needs_toy_method() else { return };
    let connect = method.connect().with(number(MAXIMUM_PACKET_SIZE, 50));
    let mut client = authenticated(method, &connect);
    let text = text(REASON_STRING, "what a client has to say about it");
    client.send(&method.begin(RE_AUTHENTICATE).with(text).with(user("name", "value")));
    method.expect_challenge(&client.receive_auth(), CONTINUE_AUTHENTICATION);
    client.send(&method.right_answer(CONTINUE_AUTHENTICATION).with(user("name", "value")));
    method.expect_welcome(&client.receive_auth().properties);
}

/// [MQTT-3.1.2-24] [MQTT-4.12.0-4]
///
/// A Client to which the challenge cannot be sent cannot be admitted, and is not kept waiting.
#[test]
fn mqtt5_3_1_2_24_challenge_that_is_too_large_refuses_the_client() {
    let Some(method) = needs_toy_method() else { return };
    for bytes_max in [5, 25] {
        let connect = method.connect().with(number(MAXIMUM_PACKET_SIZE, bytes_max));
        let mut client = connect.start();
        assert_eq!(client.receive_connack().reason, PACKET_TOO_LARGE);
        client.expect_closed();
    }
}

/// [MQTT-3.1.2-29] [MQTT-3.15.2-2]
#[test]
fn mqtt5_3_1_2_29_auth_without_problem_information() {
    let Some(method) = needs_toy_method() else { return };
    let connect = method.connect().with(number(REQUEST_PROBLEM_INFORMATION, 0));
    let mut client = connect.start();
    let auth = client.receive_auth();
    method.expect_challenge(&auth, CONTINUE_AUTHENTICATION);
    assert_eq!((auth.properties.text(REASON_STRING), auth.properties.user()), (None, vec![]));
}
