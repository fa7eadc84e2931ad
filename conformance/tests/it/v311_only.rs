//! MQTT 3.1.1: return codes and rules that 5.0 does not share.

use midge_conformance::Version::V3;
use midge_conformance::connect::{persistent, v3};
use midge_conformance::reason::{RETURN_IDENTIFIER_REJECTED, RETURN_UNACCEPTABLE_PROTOCOL_VERSION};
use midge_conformance::{
    Ack, Client, Packet, PingReq, Publish, Raw, Subscribe, client_id, target, topic,
};

use crate::scenario::format::expect_malformed;
use crate::scenario::subscriber;

/// [MQTT-3.1.2-2] [MQTT-3.2.2-4] [MQTT-3.2.2-5]
///
/// A level above 5 may belong to a later version and be answered in the form of 5.0; that has its
/// own test.
#[test]
fn mqtt311_3_1_2_2_unsupported_protocol_level_is_refused() {
    for level in [0, 1, 2] {
        let mut client = Client::dial(V3);
        client.send(&Raw(v3().encode_with_protocol("MQTT", level)));
        let connack = client.receive_connack();
        assert_eq!(connack.reason, RETURN_UNACCEPTABLE_PROTOCOL_VERSION, "level {level}");
        assert!(!connack.session_present);
        client.expect_closed();
    }
}

/// [MQTT-3.1.2-22] [MQTT-3.1.4-1]
#[test]
fn mqtt311_3_1_2_22_password_without_user_name_is_refused() {
    let mut client = v3().password("secret").start();
    client.expect_closed();
}

/// [MQTT-3.1.3-6]
#[test]
fn mqtt311_3_1_3_6_empty_client_identifiers_get_unique_ones() {
    let mut first = v3().client_id("").open();
    let mut second = v3().client_id("").open();
    first.expect_silence();
    second.expect_silence();
}

/// [MQTT-3.1.3-7] [MQTT-3.1.3-8] [MQTT-3.1.3-9] [MQTT-3.2.2-4] [MQTT-3.2.2-5]
#[test]
fn mqtt311_3_1_3_7_empty_client_identifier_needs_a_clean_session() {
    let mut client = v3().client_id("").clean(false).start();
    let connack = client.receive_connack();
    assert_eq!(connack.reason, RETURN_IDENTIFIER_REJECTED);
    assert!(!connack.session_present);
    client.expect_closed();
}

/// [MQTT-3.3.5-2]
///
/// A topic that the Server reserves for itself: the message is acknowledged as usual or closes the
/// connection, and is never delivered.
#[test]
fn mqtt311_3_3_5_2_unauthorized_publish_is_acknowledged_or_closes() {
    let mut observer = v3().open();
    observer.subscribe("$SYS/conformance/#", 1);
    let mut publisher = v3().open();
    publisher.send(&Publish::new("$SYS/conformance/forged", "forged").qos_1(5));
    match publisher.until_ping_or_closed().as_slice() {
        [] => {}
        [Packet::PubAck(puback)] => assert_eq!(puback.packet_id, 5),
        other => panic!("expected PUBACK or the end, received {other:?}"),
    }
    if target::is_strict() {
        observer.expect_silence();
    }
}

/// [MQTT-3.9.3-2] [MQTT-3.8.4-5]
///
/// The reader panics at any other return code; this test obtains one of each.
#[test]
fn mqtt311_3_9_3_2_suback_has_only_the_listed_return_codes() {
    let mut client = v3().open();
    for options in 0..=2 {
        client.send(&Subscribe::new(1).filter(&topic(), options));
        assert_eq!(client.receive_suback().reasons, [options]);
    }
}

/// [MQTT-4.8.0-1]
#[test]
fn mqtt311_4_8_0_1_packet_types_without_meaning_end_the_connection() {
    expect_malformed(V3, &[0xF0, 0x00]);
    let mut client = v3().open();
    client.send(&PingReq);
    assert_eq!(client.receive(), Packet::PingResp);
}

/// How many QoS 2 messages of one 3.1.1 Session may wait for their PUBREL: Midge's default of
/// `limits.awaiting_release_max`.
const AWAITING_RELEASE_MAX: u16 = 100;

/// [MQTT-4.8.0-2]
///
/// One Packet Identifier more than the broker has room for: the message is not left for another
/// attempt but ends the connection, and only that one; what was acknowledged before still holds.
#[test]
fn mqtt311_4_8_0_2_exhausted_resources_end_the_connection() {
    let (id, topic) = (client_id(), topic());
    let mut observer = subscriber(V3, &topic, 0);
    let mut publisher = persistent(V3, &id).open();
    let identifiers = 1..=AWAITING_RELEASE_MAX + 1;
    for id in identifiers.clone() {
        publisher.send(&Publish::new(&topic, id.to_string()).qos_2(id));
    }
    let answers = match target::is_strict() {
        true => publisher.read_until_closed(),
        false => publisher.until_ping_or_closed(),
    };
    let received: Vec<_> = answers.iter().map(pubrec_id).collect();
    let expected: Vec<_> = identifiers.take(received.len()).collect();
    assert_eq!(received, expected);
    if !target::is_strict() {
        // The broker may have more room, or hold back the remaining PUBREC packets; other
        // connections go on.
        observer.until_ping();
        return;
    }
    // Acknowledgements that still waited for the disk are lost with the connection: the messages
    // are sent again, and recognized.
    let mut resumed = persistent(V3, &id).open();
    let accepted = 1..=AWAITING_RELEASE_MAX;
    for id in accepted.clone().skip(received.len()) {
        resumed.send(&Publish::new(&topic, id.to_string()).qos_2(id).duplicate());
        assert_eq!(resumed.receive_pubrec().packet_id, id);
    }
    for id in accepted.clone() {
        resumed.send(&Ack::pubrel(id));
        assert_eq!(resumed.receive_pubcomp().packet_id, id);
    }
    resumed.publish(&topic, "room again", 2);
    for id in accepted {
        assert_eq!(observer.receive_publish().text(), id.to_string());
    }
    assert_eq!(observer.receive_publish().text(), "room again");
    v3().client_id(&id).open().disconnect();
}

fn pubrec_id(packet: &Packet) -> u16 {
    match packet {
        Packet::PubRec(pubrec) => pubrec.packet_id,
        other => panic!("expected PUBREC, received {other:?}"),
    }
}
