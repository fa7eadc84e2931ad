//! SUBSCRIBE and UNSUBSCRIBE, and their acknowledgements.

use midge_conformance::connect::connect;
use midge_conformance::reason::PROTOCOL_ERROR;
use midge_conformance::{Ack, Fence, Packet, Subscribe, Unsubscribe, Version, target, topic};

use super::format::expect_malformed;
use super::subscriber;

pub(crate) fn subscribe_is_acknowledged(version: Version) {
    let mut client = connect(version).open();
    client.send(&Subscribe::new(65_535).filter(&topic(), 1));
    let suback = client.receive_suback();
    assert_eq!((suback.packet_id, suback.reasons), (65_535, vec![1]));
}

/// There is one code for each filter, in the order of the filters. The filter that fails is
/// well-formed, but has more levels than any broker should allow.
pub(crate) fn suback_has_a_reason_for_each_filter(version: Version) {
    let mut client = connect(version).open();
    let subscribe = Subscribe::new(3)
        .filter(&topic(), 2)
        .filter(&topic(), 0)
        .filter(&"/".repeat(30_000), 1)
        .filter(&topic(), 1);
    client.send(&subscribe);
    if !target::is_strict() {
        return; // a broker may also allow it
    }
    let failure = if version == Version::V3 { 0x80 } else { 0x8F };
    assert_eq!(client.receive_suback().reasons, [2, 0, failure, 1]);
}

pub(crate) fn several_filters_are_several_subscriptions(version: Version) {
    let topics = [topic(), topic(), topic()];
    let mut client = connect(version).open();
    let subscribe = Subscribe::new(3).filter(&topics[0], 0).filter(&topics[1], 1);
    client.subscribe_packet(&subscribe.filter(&topics[2], 2));
    let mut publisher = connect(version).open();
    for (qos, topic) in (0..).zip(&topics) {
        publisher.publish(topic, "payload", 2);
        let message = client.receive_message();
        assert_eq!((&message.topic, message.qos), (topic, qos));
    }
}

pub(crate) fn subscribe_without_filters_ends_the_connection(version: Version) {
    let mut client = connect(version).open();
    client.send(&Subscribe::new(1));
    client.expect_error(PROTOCOL_ERROR);
}

pub(crate) fn unsubscribe_without_filters_ends_the_connection(version: Version) {
    let mut client = connect(version).open();
    client.send(&Unsubscribe::new(1));
    client.expect_error(PROTOCOL_ERROR);
}

/// Every pair of published and granted QoS.
pub(crate) fn message_arrives_at_the_lower_qos(version: Version) {
    let mut publisher = connect(version).open();
    for granted in 0..=2 {
        let topic = topic();
        let mut client = subscriber(version, &topic, granted);
        for published in 0..=2 {
            publisher.publish(&topic, "payload", published);
            assert_eq!(client.receive_message().qos, granted.min(published));
        }
    }
}

/// If the same filter is sent again, retained messages come again; later messages come once, at the
/// new QoS.
pub(crate) fn identical_filter_replaces_the_subscription(version: Version) {
    let topic = topic();
    let mut publisher = connect(version).open();
    publisher.publish_retained(&topic, "retained", 1);
    let mut client = subscriber(version, &topic, 0);
    assert_eq!(client.receive_message().qos, 0);
    client.subscribe(&topic, 1);
    let again = client.receive_message();
    assert_eq!((again.text(), again.qos, again.retain), ("retained", 1, true));
    publisher.publish(&topic, "live", 1);
    let live = client.receive_message();
    assert_eq!((live.text(), live.qos, live.retain), ("live", 1, false));
    client.expect_silence();
    publisher.publish_retained(&topic, "", 1);
}

/// Messages published while a subscription is replaced all arrive, once each.
pub(crate) fn no_message_is_lost_by_a_replacement(version: Version) {
    let topic = topic();
    let mut client = subscriber(version, &topic, 1);
    let mut publisher = connect(version).open();
    for round in 0..10 {
        publisher.publish(&topic, &format!("{round}"), 1);
        let id = client.next_packet_id();
        client.send(&Subscribe::new(id).filter(&topic, 1));
        let mut texts = Vec::new();
        let mut is_acknowledged = false;
        while texts.is_empty() || !is_acknowledged {
            match client.receive() {
                Packet::SubAck(_) => is_acknowledged = true,
                Packet::Publish(publish) => {
                    client.acknowledge(&publish);
                    texts.push(publish.text().to_owned());
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(texts, [round.to_string()]);
    }
}

/// One copy arrives, at the highest QoS of all that match; other brokers may send more copies.
pub(crate) fn overlapping_subscriptions_deliver_at_the_highest_qos(version: Version) {
    let root = topic();
    let mut client = connect(version).open();
    client.subscribe(&format!("{root}/+"), 0);
    client.subscribe(&format!("{root}/#"), 2);
    client.subscribe(&format!("{root}/leaf"), 1);
    let fence = Fence::for_subscriber(&mut client);
    let mut publisher = connect(version).open();
    publisher.publish(&format!("{root}/leaf"), "payload", 2);
    let copies = fence.pass(&mut publisher, &mut client);
    let highest = copies.iter().map(|copy| copy.qos).max();
    assert_eq!(highest, Some(2), "copies: {copies:?}");
    assert!(copies.len() == 1 || !target::is_strict(), "more than one copy: {copies:?}");
}

pub(crate) fn unsubscribe_stops_new_messages(version: Version) {
    let topic = topic();
    let mut client = subscriber(version, &topic, 1);
    let fence = Fence::for_subscriber(&mut client);
    let mut publisher = connect(version).open();
    publisher.publish(&topic, "before", 1);
    assert_eq!(client.receive_message().text(), "before");
    client.unsubscribe(&topic);
    publisher.publish(&topic, "after", 1);
    fence.expect_nothing(&mut publisher, &mut client);
}

/// `a/+` is not `a/b`: only identical characters name the same subscription.
pub(crate) fn unsubscribe_compares_character_by_character(version: Version) {
    let root = topic();
    let filter = format!("{root}/+");
    let mut client = subscriber(version, &filter, 1);
    for other in [format!("{root}/a"), format!("{root}/#"), format!("{root}/+/"), root.clone()] {
        client.unsubscribe(&other);
    }
    client.unsubscribe(&filter.to_uppercase());
    let mut publisher = connect(version).open();
    publisher.publish(&format!("{root}/a"), "still", 1);
    assert_eq!(client.receive_message().text(), "still");
    client.unsubscribe(&filter);
    let fence = Fence::for_subscriber(&mut client);
    publisher.publish(&format!("{root}/a"), "after", 1);
    fence.expect_nothing(&mut publisher, &mut client);
}

/// A delivery that has started continues after UNSUBACK.
pub(crate) fn started_delivery_is_completed_after_unsubscribe(version: Version) {
    let topic = topic();
    let mut client = subscriber(version, &topic, 2);
    let mut publisher = connect(version).open();
    publisher.publish(&topic, "one", 1);
    publisher.publish(&topic, "two", 2);
    let one = client.receive_publish();
    let two = client.receive_publish();
    client.unsubscribe(&topic);
    client.send(&Ack::puback(one.id()));
    client.send(&Ack::pubrec(two.id()));
    assert_eq!(client.receive_pubrel().packet_id, two.id());
    client.send(&Ack::pubcomp(two.id()));
    client.expect_silence();
}

pub(crate) fn unsubscribe_is_acknowledged(version: Version) {
    let topic = topic();
    let mut client = subscriber(version, &topic, 1);
    client.send(&Unsubscribe::new(4711).filter(&topic));
    assert_eq!(client.receive_unsuback().packet_id, 4711);
}

pub(crate) fn unsubscribe_of_nothing_is_acknowledged(version: Version) {
    let mut client = connect(version).open();
    client.send(&Unsubscribe::new(4712).filter(&topic()));
    assert_eq!(client.receive_unsuback().packet_id, 4712);
}

pub(crate) fn unsubscribe_of_several_filters_is_one_request(version: Version) {
    let topics = [topic(), topic()];
    let mut client = connect(version).open();
    client.subscribe_packet(&Subscribe::new(1).filter(&topics[0], 1).filter(&topics[1], 1));
    let fence = Fence::for_subscriber(&mut client);
    client.send(&Unsubscribe::new(9).filter(&topics[0]).filter(&topic()).filter(&topics[1]));
    assert_eq!(client.receive_unsuback().packet_id, 9);
    client.expect_silence();
    let mut publisher = connect(version).open();
    publisher.publish(&topics[0], "payload", 1);
    publisher.publish(&topics[1], "payload", 1);
    fence.expect_nothing(&mut publisher, &mut client);
}

/// Reserved bits of the options of a subscription.
pub(crate) fn reserved_option_bits_end_the_connection(version: Version, bits: &[u8]) {
    use midge_conformance::Encode;
    for bit in bits {
        expect_malformed(version, &Subscribe::new(1).filter(&topic(), *bit).encode(version));
    }
}
