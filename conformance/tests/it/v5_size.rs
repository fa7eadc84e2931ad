//! MQTT 5.0: Maximum Packet Size in both directions.
//!
//! A client that announces a size fails its test at the first packet that is larger.

use midge_conformance::Version::V5;
use midge_conformance::connect::{Will, persistent, v5};
use midge_conformance::property::{
    AUTHENTICATION_METHOD, MAXIMUM_PACKET_SIZE, SUBSCRIPTION_IDENTIFIER, number, text, user,
};
use midge_conformance::reason::{PACKET_TOO_LARGE, SUCCESS};
use midge_conformance::wire::Writer;
use midge_conformance::{
    Ack, Client, Connect, Fence, Packet, Publish, Subscribe, Unsubscribe, client_id, topic,
};

/// Enough for any packet without texts, including a CONNACK with all its numbers.
const SIZE: u32 = 64;

fn limited(bytes_max: u32) -> Connect {
    v5().with(number(MAXIMUM_PACKET_SIZE, bytes_max))
}

/// Returns a message that fits in no packet of [`SIZE`].
fn large(topic: &str) -> Publish {
    Publish::new(topic, "x".repeat(SIZE as usize))
}

/// [MQTT-3.1.2-24] [MQTT-3.1.2-25]
#[test]
fn mqtt5_3_1_2_24_too_large_messages_are_discarded() {
    let topic = topic();
    let mut client = limited(SIZE).open();
    client.subscribe(&topic, 2);
    let fence = Fence::for_subscriber(&mut client);
    let mut publisher = v5().open();
    for qos in 0..=2 {
        publisher.publish_packet(large(&topic), qos);
        publisher.publish(&topic, "small", qos);
    }
    let messages = fence.pass(&mut publisher, &mut client);
    let texts: Vec<_> = messages.iter().map(Publish::text).collect();
    assert_eq!(texts, ["small"; 3]);
}

/// [MQTT-3.1.2-24]
///
/// The limit applies to the size of the whole packet, exactly to the byte.
#[test]
fn mqtt5_3_1_2_24_message_of_exactly_the_size_is_sent() {
    let topic = topic();
    let mut client = limited(SIZE).open();
    client.subscribe(&topic, 0);
    let mut publisher = v5().open();
    // Two bytes of fixed header, two of topic length, one of Property Length.
    let room = SIZE as usize - 5 - topic.len();
    publisher.publish(&topic, &"x".repeat(room + 1), 0);
    publisher.publish(&topic, &"y".repeat(room), 0);
    assert_eq!(client.receive_publish().text(), "y".repeat(room));
}

/// [MQTT-3.1.2-25]
///
/// Discarded messages use no quota and do not come back on another connection.
#[test]
fn mqtt5_3_1_2_25_discarded_messages_count_as_sent() {
    let (id, topic) = (client_id(), topic());
    let connect = persistent(V5, &id).with(number(MAXIMUM_PACKET_SIZE, SIZE));
    let mut client = connect.open();
    client.subscribe(&topic, 2);
    client.disconnect();
    let mut publisher = v5().open();
    publisher.publish_packet(large(&topic), 1);
    publisher.publish_packet(large(&topic), 2);
    publisher.publish(&topic, "small", 1);
    let mut resumed = connect.open();
    assert_eq!(resumed.receive_message().text(), "small");
    resumed.expect_silence();
    resumed.disconnect();
    persistent(V5, &id).open().expect_silence();
}

/// [MQTT-3.1.2-25] [MQTT-3.1.2-24]
#[test]
fn mqtt5_3_1_2_25_too_large_retained_message_is_discarded() {
    let topic = topic();
    v5().open().publish_packet(large(&topic).retained(), 1);
    let mut client = limited(SIZE).open();
    client.subscribe(&topic, 1);
    client.expect_silence();
    crate::scenario::forget(V5, &topic);
}

/// [MQTT-3.2.2-19] [MQTT-3.2.2-20]
#[test]
fn mqtt5_3_2_2_19_connack_stays_within_the_size() {
    limited(SIZE).open().expect_silence();
    let refused = limited(5).with(text(AUTHENTICATION_METHOD, "no-such-method"));
    for packet in refused.start().read_until_closed() {
        assert!(matches!(packet, Packet::ConnAck(_)), "received {packet:?}");
    }
}

/// [MQTT-3.1.2-24]
///
/// A CONNECT that cannot be answered with an accepting CONNACK is refused. A refused CONNECT
/// disturbs neither the Session nor its connection, and publishes no Will Message.
#[test]
fn mqtt5_3_1_2_24_connect_without_room_for_its_connack_has_no_effect() {
    let (id, topic) = (client_id(), topic());
    let mut watcher = v5().open();
    watcher.subscribe(&topic, 0);
    let mut client = persistent(V5, &id).open();
    // This size is too small even for a CONNACK without properties.
    let refused = persistent(V5, &id).with(number(MAXIMUM_PACKET_SIZE, 4));
    let refused = refused.will(Will::new(&topic, "of a refused connect"));
    assert_eq!(refused.start().read_until_closed(), []);
    client.until_ping();
    watcher.expect_silence();
}

/// Connects a client whose answers have little room for texts.
fn tight() -> Client {
    limited(SIZE).with(user("a user property of the client", "with a value")).open()
}

/// [MQTT-3.4.2-2] [MQTT-3.4.2-3]
#[test]
fn mqtt5_3_4_2_2_puback_stays_within_the_size() {
    let mut client = tight();
    for topic in [topic().as_str(), "$SYS/conformance/forged"] {
        client.send(&Publish::new(topic, "payload").qos_1(1));
        assert_eq!(client.receive_puback().packet_id, 1);
    }
}

/// [MQTT-3.5.2-2] [MQTT-3.5.2-3]
#[test]
fn mqtt5_3_5_2_2_pubrec_stays_within_the_size() {
    let mut client = tight();
    for topic in ["$SYS/conformance/forged", topic().as_str()] {
        client.send(&Publish::new(topic, "payload").qos_2(1));
        assert_eq!(client.receive_pubrec().packet_id, 1);
    }
}

/// [MQTT-3.6.2-2] [MQTT-3.6.2-3]
#[test]
fn mqtt5_3_6_2_2_pubrel_stays_within_the_size() {
    let topic = topic();
    let mut client = tight();
    client.subscribe(&topic, 2);
    v5().open().publish(&topic, "small", 2);
    let publish = client.receive_publish();
    client.send(&Ack::pubrec(publish.id()).with(user("name", "value")));
    assert_eq!(client.receive_pubrel().packet_id, publish.id());
    client.send(&Ack::pubrec(4711));
    client.until_ping();
}

/// [MQTT-3.7.2-2] [MQTT-3.7.2-3]
#[test]
fn mqtt5_3_7_2_2_pubcomp_stays_within_the_size() {
    let mut client = tight();
    client.send(&Ack::pubrel(4711));
    assert_eq!(client.receive_pubcomp().packet_id, 4711);
}

/// [MQTT-3.9.2-1] [MQTT-3.9.2-2]
#[test]
fn mqtt5_3_9_2_1_suback_stays_within_the_size() {
    let mut client = tight();
    client.send(&Subscribe::new(1).filter(&topic(), 1).with(user("name", "value")));
    assert_eq!(client.receive_suback().reasons, [1]);
    client.send(&Subscribe::new(2).filter("not/#/valid", 1));
    client.until_ping_or_closed();
}

/// [MQTT-3.11.2-1] [MQTT-3.11.2-2]
#[test]
fn mqtt5_3_11_2_1_unsuback_stays_within_the_size() {
    let mut client = tight();
    client.send(&Unsubscribe::new(1).filter(&topic()).with(user("name", "value")));
    assert_eq!(client.receive_unsuback().packet_id, 1);
}

/// [MQTT-3.8.4-1] [MQTT-3.1.2-24]
///
/// A SUBSCRIBE whose SUBACK would be too large cannot be answered: the connection ends with 0x95,
/// and nothing is subscribed.
#[test]
fn mqtt5_3_8_4_1_subscribe_without_room_for_its_suback_ends_the_connection() {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(V5, &id).with(number(MAXIMUM_PACKET_SIZE, SIZE)).open();
    let many = (0..SIZE)
        .fold(Subscribe::new(1), |packet, index| packet.filter(&format!("{topic}/{index}"), 1));
    client.send(&many);
    client.expect_error(PACKET_TOO_LARGE);
    v5().open().publish(&format!("{topic}/1"), "for nobody", 1);
    persistent(V5, &id).open().expect_silence();
}

/// [MQTT-3.10.4-4] [MQTT-3.1.2-24]
///
/// The same holds for an UNSUBSCRIBE; the subscriptions remain.
#[test]
fn mqtt5_3_10_4_4_unsubscribe_without_room_for_its_unsuback_ends_the_connection() {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(V5, &id).with(number(MAXIMUM_PACKET_SIZE, SIZE)).open();
    client.subscribe(&topic, 1);
    let many = (0..SIZE).fold(Unsubscribe::new(1).filter(&topic), |packet, index| {
        packet.filter(&format!("{topic}/{index}"))
    });
    client.send(&many);
    client.expect_error(PACKET_TOO_LARGE);
    v5().open().publish(&topic, "still subscribed", 1);
    assert_eq!(persistent(V5, &id).open().receive_publish().text(), "still subscribed");
}

/// [MQTT-3.14.2-3] [MQTT-3.14.2-4]
#[test]
fn mqtt5_3_14_2_3_disconnect_stays_within_the_size() {
    let mut client = tight();
    client.send(&Subscribe::new(1));
    client.read_until_closed();
}

/// [MQTT-3.1.2-24]
///
/// Subscription Identifiers count as well.
#[test]
fn mqtt5_3_1_2_24_subscription_identifiers_count() {
    let root = topic();
    let mut client = limited(SIZE).open();
    for (index, filter) in (268_435_000..).zip(["/a/b", "/+/b", "/a/+", "/#", "/a/#"]) {
        let identifier = number(SUBSCRIPTION_IDENTIFIER, index);
        let subscribe = Subscribe::new(1).filter(&format!("{root}{filter}"), 0);
        client.subscribe_packet(&subscribe.with(identifier));
    }
    // Five identifiers of five bytes do not fit beside this payload; without any it would fit.
    let payload = "x".repeat(SIZE as usize - 10 - root.len());
    v5().open().publish(&format!("{root}/a/b"), &payload, 0);
    client.until_ping();
}

/// [MQTT-3.2.2-15]
///
/// The length in the fixed header suffices: the rest is never sent.
#[test]
fn mqtt5_3_2_2_15_packet_above_the_brokers_size_is_an_error() {
    let (mut client, connack) = v5().open_with_connack();
    assert_eq!(connack.reason, SUCCESS);
    let Some(maximum) = connack.properties.number(MAXIMUM_PACKET_SIZE) else {
        return; // no limit but that of the protocol
    };
    let header = Writer::new().u8(0x30).variable(maximum as usize).string("a");
    client.send_bytes(&header.into_bytes());
    client.expect_error(PACKET_TOO_LARGE);
}
