//! MQTT 5.0: Receive Maximum in both directions, and acknowledgements that refuse a message.

use midge_conformance::Version::V5;
use midge_conformance::connect::{persistent, v5};
use midge_conformance::property::{RECEIVE_MAXIMUM, number};
use midge_conformance::reason::{
    PACKET_IDENTIFIER_NOT_FOUND, RECEIVE_MAXIMUM_EXCEEDED, UNSPECIFIED_ERROR,
};
use midge_conformance::{Ack, Client, Packet, PingReq, Publish, client_id, target, topic};

/// Connects a subscriber that accepts two messages at a time, and publishes five messages for it.
fn limited(topic: &str, qos: u8) -> (Client, Client) {
    let mut client = v5().with(number(RECEIVE_MAXIMUM, 2)).open();
    client.subscribe(topic, qos);
    let mut publisher = v5().open();
    for index in 0..5 {
        publisher.publish(topic, &index.to_string(), qos);
    }
    (client, publisher)
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
#[test]
fn mqtt5_3_3_4_9_no_more_than_receive_maximum_at_qos_1() {
    let (mut client, _publisher) = limited(&topic(), 1);
    let mut in_flight = vec![client.receive_publish(), client.receive_publish()];
    for index in 0..5 {
        client.expect_silence();
        let oldest = in_flight.remove(0);
        assert_eq!(oldest.text(), index.to_string());
        client.acknowledge(&oldest);
        if index < 3 {
            in_flight.push(client.receive_publish());
        }
    }
    client.expect_silence();
}

/// [MQTT-3.3.4-9] [MQTT-4.9.0-2]
///
/// PUBREC alone does not return quota; PUBCOMP does.
#[test]
fn mqtt5_3_3_4_9_no_more_than_receive_maximum_at_qos_2() {
    let (mut client, _publisher) = limited(&topic(), 2);
    let first = client.receive_publish();
    client.receive_publish();
    client.send(&Ack::pubrec(first.id()));
    assert_eq!(client.receive_pubrel().packet_id, first.id());
    client.expect_silence();
    client.send(&Ack::pubcomp(first.id()));
    assert_eq!(client.receive_publish().text(), "2");
    client.expect_silence();
}

/// [MQTT-3.3.4-9] [MQTT-4.4.0-2]
#[test]
fn mqtt5_3_3_4_9_refusing_pubrec_gives_quota_back() {
    let (mut client, _publisher) = limited(&topic(), 2);
    let first = client.receive_publish();
    client.receive_publish();
    client.send(&Ack::pubrec(first.id()).reason(UNSPECIFIED_ERROR));
    assert_eq!(client.receive_publish().text(), "2");
    client.expect_silence();
}

/// [MQTT-3.3.4-10] [MQTT-4.9.0-3]
///
/// QoS 0 messages, answers to requests and acknowledgements still come.
#[test]
fn mqtt5_3_3_4_10_everything_else_is_sent_at_receive_maximum() {
    let (topic, other) = (topic(), topic());
    let (mut client, mut publisher) = limited(&topic, 1);
    client.receive_publish();
    client.receive_publish();
    client.subscribe(&other, 0);
    publisher.publish(&other, "at most once", 1);
    let publish = client.receive_publish();
    assert_eq!((publish.qos, publish.text()), (0, "at most once"));
    client.publish(&midge_conformance::topic(), "payload", 1);
    client.publish(&midge_conformance::topic(), "payload", 2);
    client.unsubscribe(&other);
    client.expect_silence();
}

/// [MQTT-3.3.4-7]
///
/// QoS 2 messages without PUBREL use up the quota; one more is too many.
#[test]
fn mqtt5_3_3_4_7_more_than_receive_maximum_is_an_error() {
    let (mut client, connack) = v5().open_with_connack();
    let maximum = connack.properties.number(RECEIVE_MAXIMUM).unwrap_or(65_535);
    let Ok(maximum @ 1..=2000) = u16::try_from(maximum) else {
        return; // never reached in a reasonable time
    };
    let topic = topic();
    for id in 1..=maximum {
        client.send(&Publish::new(&topic, "payload").qos_2(id));
    }
    for id in 1..=maximum {
        assert_eq!(client.receive_pubrec().packet_id, id);
    }
    client.expect_silence();
    client.send(&Publish::new(&topic, "too many").qos_2(maximum + 1));
    client.expect_error(RECEIVE_MAXIMUM_EXCEEDED);
}

/// [MQTT-3.3.4-7] [MQTT-4.9.0-3]
///
/// At the limit everything else is served, and a PUBREL makes room.
#[test]
fn mqtt5_3_3_4_7_exactly_receive_maximum_is_fine() {
    let (mut client, connack) = v5().open_with_connack();
    let maximum = connack.properties.number(RECEIVE_MAXIMUM).unwrap_or(65_535);
    let Ok(maximum @ 1..=2000) = u16::try_from(maximum) else {
        return;
    };
    let topic = topic();
    for id in 1..=maximum {
        client.send(&Publish::new(&topic, "payload").qos_2(id));
        assert_eq!(client.receive_pubrec().packet_id, id);
    }
    client.send(&PingReq);
    assert_eq!(client.receive(), Packet::PingResp);
    client.send(&Ack::pubrel(1));
    assert_eq!(client.receive_pubcomp().packet_id, 1);
    client.send(&Publish::new(&topic, "room again").qos_2(1));
    assert_eq!(client.receive_pubrec().packet_id, 1);
}

/// [MQTT-4.4.0-2]
#[test]
fn mqtt5_4_4_0_2_refused_messages_are_not_sent_again() {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(V5, &id).open();
    client.subscribe(&topic, 2);
    let mut publisher = v5().open();
    publisher.publish(&topic, "one", 1);
    publisher.publish(&topic, "two", 2);
    let one = client.receive_publish();
    let two = client.receive_publish();
    client.send(&Ack::puback(one.id()).reason(UNSPECIFIED_ERROR));
    client.send(&Ack::pubrec(two.id()).reason(UNSPECIFIED_ERROR));
    client.expect_silence();
    client.abandon();
    persistent(V5, &id).open().expect_silence();
}

/// [MQTT-4.3.3-9]
///
/// A QoS 2 PUBLISH that a PUBREC refuses leaves no state: no PUBREL, and the identifier is free.
#[test]
fn mqtt5_4_3_3_9_identifier_is_free_after_a_refusing_pubrec() {
    let topic = topic();
    let mut client = crate::scenario::subscriber(V5, &topic, 2);
    let mut publisher = v5().open();
    publisher.send(&Publish::new("$SYS/conformance/forged", "refused").qos_2(7));
    let pubrec = publisher.receive_pubrec();
    assert_eq!(pubrec.packet_id, 7);
    assert!(pubrec.reason >= 0x80 || !target::is_strict(), "$SYS was accepted: {pubrec:?}");
    if pubrec.reason < 0x80 {
        return;
    }
    publisher.send(&Publish::new(&topic, "accepted").qos_2(7));
    assert_eq!(publisher.receive_pubrec().reason & 0x80, 0);
    publisher.send(&Ack::pubrel(7));
    assert_eq!(publisher.receive_pubcomp().reason, 0);
    assert_eq!(client.receive_message().text(), "accepted");
}

/// [MQTT-3.4.2-1] [MQTT-3.5.2-1]
///
/// The reader panics at a Reason Code that the packet may not have. The cases are: with
/// subscribers, without subscribers, and a topic that is not open to clients.
#[test]
fn mqtt5_3_4_2_1_publish_is_answered_with_listed_reason_codes() {
    let (heard, unheard) = (topic(), topic());
    let _subscriber = crate::scenario::subscriber(V5, &heard, 0);
    let mut publisher = v5().open();
    for topic in [&heard, &unheard] {
        publisher.send(&Publish::new(topic, "payload").qos_1(1));
        assert!(publisher.receive_puback().reason < 0x80);
        publisher.send(&Publish::new(topic, "payload").qos_2(2));
        assert!(publisher.receive_pubrec().reason < 0x80);
        publisher.send(&Ack::pubrel(2));
        assert_eq!(publisher.receive_pubcomp().reason, 0);
    }
    publisher.send(&Publish::new("$SYS/conformance/forged", "payload").qos_1(1));
    let puback = publisher.receive_puback();
    assert!(puback.reason >= 0x80 || !target::is_strict(), "$SYS was accepted: {puback:?}");
}

/// [MQTT-3.7.2-1]
#[test]
fn mqtt5_3_7_2_1_pubrel_of_nothing_is_answered() {
    let mut client = v5().open();
    client.send(&Ack::pubrel(4711));
    let pubcomp = client.receive_pubcomp();
    assert_eq!(pubcomp.packet_id, 4711);
    assert!(pubcomp.reason == PACKET_IDENTIFIER_NOT_FOUND || !target::is_strict());
}

/// [MQTT-3.6.2-1]
#[test]
fn mqtt5_3_6_2_1_pubrec_of_nothing_is_answered() {
    let mut client = v5().open();
    client.send(&Ack::pubrec(4711));
    if target::is_strict() {
        let pubrel = client.receive_pubrel();
        assert_eq!((pubrel.packet_id, pubrel.reason), (4711, PACKET_IDENTIFIER_NOT_FOUND));
    } else {
        client.until_ping();
    }
}
