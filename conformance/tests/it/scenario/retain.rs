//! Retained messages.

use midge_conformance::connect::connect;
use midge_conformance::{Packet, Publish, Version, topic};

use super::{forget, subscriber};

/// Expects that a new subscriber gets `payload` as the only retained message of `topic`.
fn expect_retained(version: Version, topic: &str, payload: &str) {
    let mut client = subscriber(version, topic, 0);
    assert_eq!(client.receive_publish().text(), payload);
    client.expect_silence();
}

/// Expects that a new subscriber gets no retained message of `topic`.
fn expect_nothing_retained(version: Version, topic: &str) {
    subscriber(version, topic, 0).expect_silence();
}

pub(crate) fn retained_message_is_stored_with_its_qos(version: Version) {
    for qos in 0..=2 {
        let topic = topic();
        let mut publisher = connect(version).open();
        publisher.publish_retained(&topic, "stored", qos);
        publisher.expect_silence();
        let mut late = subscriber(version, &topic, 2);
        let message = late.receive_message();
        assert_eq!((message.text(), message.qos, message.retain), ("stored", qos, true));
        forget(version, &topic);
    }
}

pub(crate) fn retained_message_is_replaced(version: Version) {
    let topic = topic();
    let mut publisher = connect(version).open();
    publisher.publish_retained(&topic, "old", 1);
    publisher.publish_retained(&topic, "new", 1);
    expect_retained(version, &topic, "new");
    forget(version, &topic);
}

/// A new subscription gets one retained message for each matching topic: the last one.
pub(crate) fn new_subscription_gets_retained_messages_of_all_topics(version: Version) {
    let root = topic();
    let mut publisher = connect(version).open();
    for level in ["a", "b", "c/d"] {
        publisher.publish_retained(&format!("{root}/{level}"), level, 1);
    }
    let mut late = subscriber(version, &format!("{root}/#"), 1);
    let mut payloads: Vec<_> = (0..3).map(|_| late.receive_message()).collect();
    payloads.sort_by(|one, other| one.payload.cmp(&other.payload));
    let texts: Vec<_> = payloads.iter().map(Publish::text).collect();
    assert_eq!(texts, ["a", "b", "c/d"]);
    late.expect_silence();
    for level in ["a", "b", "c/d"] {
        forget(version, &format!("{root}/{level}"));
    }
}

/// A retained QoS 0 message replaces any message retained before.
pub(crate) fn retained_qos_0_message_discards_the_old_one(version: Version) {
    let topic = topic();
    let mut publisher = connect(version).open();
    publisher.publish_retained(&topic, "old", 1);
    publisher.publish_retained(&topic, "new", 0);
    publisher.expect_silence();
    let mut late = subscriber(version, &topic, 0);
    let messages = late.until_ping();
    let is_old = |packet: &Packet| match packet {
        Packet::Publish(publish) => publish.text() != "new",
        _ => true,
    };
    assert!(!messages.iter().any(is_old), "received {messages:?}");
    forget(version, &topic);
}

pub(crate) fn retain_is_set_for_a_new_subscription(version: Version) {
    let topic = topic();
    connect(version).open().publish_retained(&topic, "stored", 1);
    assert!(subscriber(version, &topic, 0).receive_publish().retain);
    forget(version, &topic);
}

pub(crate) fn retain_is_clear_for_an_established_subscription(version: Version) {
    let topic = topic();
    let mut established = subscriber(version, &topic, 0);
    connect(version).open().publish_retained(&topic, "live", 1);
    assert!(!established.receive_publish().retain);
    forget(version, &topic);
}

pub(crate) fn empty_retained_message_removes(version: Version) {
    let topic = topic();
    let mut publisher = connect(version).open();
    publisher.publish_retained(&topic, "stored", 1);
    publisher.publish_retained(&topic, "", 1);
    expect_nothing_retained(version, &topic);
}

pub(crate) fn empty_retained_message_is_delivered(version: Version) {
    let topic = topic();
    let mut established = subscriber(version, &topic, 0);
    connect(version).open().publish_retained(&topic, "", 1);
    let message = established.receive_publish();
    assert_eq!((message.text(), message.retain), ("", false));
}

pub(crate) fn empty_retained_message_is_not_stored(version: Version) {
    let topic = topic();
    connect(version).open().publish_retained(&topic, "", 1);
    expect_nothing_retained(version, &topic);
}

pub(crate) fn message_without_retain_changes_nothing(version: Version) {
    let (unset, set) = (topic(), topic());
    let mut publisher = connect(version).open();
    publisher.publish(&unset, "live", 1);
    expect_nothing_retained(version, &unset);
    publisher.publish_retained(&set, "stored", 1);
    publisher.publish(&set, "live", 1);
    publisher.publish(&set, "", 1);
    expect_retained(version, &set, "stored");
    forget(version, &set);
}
