//! Session State: what survives a connection, and what does not.

use midge_conformance::connect::{connect, persistent};
use midge_conformance::{Fence, Version, client_id, topic};

use super::{forget, subscriber};

pub(crate) fn session_keeps_subscriptions(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(version, &id).open();
    client.subscribe(&topic, 1);
    client.disconnect();
    let (mut resumed, connack) = persistent(version, &id).open_with_connack();
    assert!(connack.session_present, "the Session is gone");
    connect(version).open().publish(&topic, "after", 1);
    assert_eq!(resumed.receive_message().text(), "after");
}

pub(crate) fn session_stores_messages_while_offline(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(version, &id).open();
    client.subscribe(&topic, 2);
    client.disconnect();
    let mut publisher = connect(version).open();
    publisher.publish(&topic, "one", 1);
    publisher.publish(&topic, "two", 2);
    let mut resumed = persistent(version, &id).open();
    let one = resumed.receive_message();
    assert_eq!((one.text(), one.qos, one.dup), ("one", 1, false));
    let two = resumed.receive_message();
    assert_eq!((two.text(), two.qos, two.dup), ("two", 2, false));
}

/// A message reaches every Client with a matching subscription, connected or not.
pub(crate) fn message_is_added_to_every_matching_session(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut offline = persistent(version, &id).open();
    offline.subscribe(&topic, 1);
    offline.disconnect();
    let mut first = subscriber(version, &topic, 1);
    let mut second = subscriber(version, &format!("{topic}/#"), 1);
    connect(version).open().publish(&topic, "for all", 1);
    assert_eq!(first.receive_message().text(), "for all");
    assert_eq!(second.receive_message().text(), "for all");
    assert_eq!(persistent(version, &id).open().receive_message().text(), "for all");
}

pub(crate) fn clean_start_discards_the_session(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(version, &id).open();
    client.subscribe(&topic, 1);
    client.disconnect();
    let mut publisher = connect(version).open();
    publisher.publish(&topic, "stored", 1);
    let (mut cleaned, connack) = connect(version).client_id(&id).open_with_connack();
    assert!(!connack.session_present, "the Session was not discarded");
    let fence = Fence::for_subscriber(&mut cleaned);
    publisher.publish(&topic, "unsubscribed", 1);
    fence.expect_nothing(&mut publisher, &mut cleaned);
}

/// A Session with Clean Start (in 5.0: without Session Expiry Interval) ends with its connection.
pub(crate) fn clean_session_ends_with_its_connection(version: Version) {
    let id = client_id();
    let mut client = connect(version).client_id(&id).open();
    client.subscribe(&topic(), 1);
    client.disconnect();
    let (_, connack) = persistent(version, &id).open_with_connack();
    assert!(!connack.session_present, "a clean session was resumed");
}

pub(crate) fn retained_messages_outlive_the_session(version: Version) {
    let topic = topic();
    let mut publisher = connect(version).open();
    publisher.publish_retained(&topic, "kept", 1);
    publisher.disconnect();
    let mut client = subscriber(version, &topic, 1);
    assert_eq!(client.receive_message().text(), "kept");
    forget(version, &topic);
}

/// The Session exists as long as its connection: subscriptions, QoS 2 state, Session Present.
pub(crate) fn session_lasts_as_long_as_its_connection(version: Version) {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(version, &id).open();
    client.subscribe(&topic, 1);
    client.expect_silence();
    connect(version).open().publish(&topic, "still subscribed", 1);
    assert_eq!(client.receive_message().text(), "still subscribed");
    client.expect_silence(); // its acknowledgement has arrived
    // Taking over the open Session resumes it.
    let (mut second, connack) = persistent(version, &id).open_with_connack();
    assert!(connack.session_present, "an open connection without Session State");
    connect(version).open().publish(&topic, "taken over", 1);
    assert_eq!(second.receive_message().text(), "taken over");
}
