//! MQTT 5.0: Subscription Options and Subscription Identifiers.

use midge_conformance::Version::V5;
use midge_conformance::connect::{persistent, v5};
use midge_conformance::property::{SUBSCRIPTION_IDENTIFIER, number};
use midge_conformance::reason::{
    MALFORMED_PACKET, NO_SUBSCRIPTION_EXISTED, PROTOCOL_ERROR, SUCCESS,
};
use midge_conformance::request::{NO_LOCAL, RETAIN_AS_PUBLISHED, RETAIN_IF_NEW, RETAIN_NEVER};
use midge_conformance::{Fence, Packet, Publish, Subscribe, Unsubscribe, client_id, target, topic};

use crate::scenario::{forget, subscriber};

/// [MQTT-3.3.1-10]
#[test]
fn mqtt5_3_3_1_10_retained_messages_for_a_new_subscription_only() {
    let topic = topic();
    v5().open().publish_retained(&topic, "retained", 1);
    let mut client = subscriber(V5, &topic, RETAIN_IF_NEW);
    assert_eq!(client.receive_publish().text(), "retained");
    client.subscribe(&topic, RETAIN_IF_NEW);
    client.expect_silence();
    client.unsubscribe(&topic);
    client.subscribe(&topic, RETAIN_IF_NEW);
    assert_eq!(client.receive_publish().text(), "retained");
    forget(V5, &topic);
}

/// [MQTT-3.3.1-10]
///
/// A subscription of a resumed Session existed before.
#[test]
fn mqtt5_3_3_1_10_resumed_subscription_is_not_new() {
    let (id, topic) = (client_id(), topic());
    v5().open().publish_retained(&topic, "retained", 1);
    let mut client = persistent(V5, &id).open();
    client.subscribe(&topic, RETAIN_IF_NEW);
    assert_eq!(client.receive_publish().text(), "retained");
    client.disconnect();
    let mut resumed = persistent(V5, &id).open();
    resumed.subscribe(&topic, RETAIN_IF_NEW);
    resumed.expect_silence();
    forget(V5, &topic);
}

/// [MQTT-3.3.1-11]
#[test]
fn mqtt5_3_3_1_11_no_retained_messages_when_not_wanted() {
    let topic = topic();
    let mut publisher = v5().open();
    publisher.publish_retained(&topic, "retained", 1);
    let mut client = subscriber(V5, &topic, RETAIN_NEVER);
    client.expect_silence();
    publisher.publish(&topic, "live", 0);
    assert_eq!(client.receive_publish().text(), "live");
    forget(V5, &topic);
}

/// [MQTT-3.3.1-13] [MQTT-3.3.1-12]
#[test]
fn mqtt5_3_3_1_13_retain_is_forwarded_as_published() {
    let topic = topic();
    let mut keeping = subscriber(V5, &topic, RETAIN_AS_PUBLISHED);
    let mut clearing = subscriber(V5, &topic, 0);
    let mut publisher = v5().open();
    publisher.publish_retained(&topic, "retained", 1);
    publisher.publish(&topic, "live", 1);
    assert_eq!([(); 2].map(|()| keeping.receive_publish().retain), [true, false]);
    assert_eq!([(); 2].map(|()| clearing.receive_publish().retain), [false, false]);
    forget(V5, &topic);
}

/// [MQTT-3.8.3-3]
#[test]
fn mqtt5_3_8_3_3_no_local_keeps_own_messages_away() {
    let topic = topic();
    let mut client = subscriber(V5, &topic, 1 | NO_LOCAL);
    let fence = Fence::for_subscriber(&mut client);
    let mut other = subscriber(V5, &topic, 1);
    for qos in 0..=2 {
        client.publish(&topic, "own", qos);
        assert_eq!(other.receive_message().text(), "own");
    }
    fence.expect_nothing(&mut other, &mut client);
    other.publish(&topic, "of another", 0);
    assert_eq!(client.receive_message().text(), "of another");
}

/// [MQTT-3.8.3-3]
///
/// The Client Identifier counts, not the connection.
#[test]
fn mqtt5_3_8_3_3_no_local_holds_across_connections() {
    let (id, topic) = (client_id(), topic());
    let mut client = persistent(V5, &id).open();
    client.subscribe(&topic, 1 | NO_LOCAL);
    client.disconnect();
    let mut resumed = persistent(V5, &id).open();
    resumed.publish(&topic, "own", 1);
    resumed.expect_silence();
}

/// [MQTT-3.8.3-4]
#[test]
fn mqtt5_3_8_3_4_no_local_on_a_shared_subscription_is_an_error() {
    let mut client = v5().open();
    client.send(&Subscribe::new(1).filter(&format!("$share/group/{}", topic()), 1 | NO_LOCAL));
    client.expect_error(PROTOCOL_ERROR);
}

/// [MQTT-4.13.1-1]
///
/// QoS 3, Retain Handling 3, and a Subscription Identifier of zero.
#[test]
fn mqtt5_4_13_1_1_invalid_subscription_options_are_an_error() {
    let subscribe = || Subscribe::new(1);
    let requests = [
        subscribe().filter(&topic(), 3),
        subscribe().filter(&topic(), 0x30),
        subscribe().filter(&topic(), 0).with(number(SUBSCRIPTION_IDENTIFIER, 0)),
    ];
    for request in requests {
        let mut client = v5().open();
        client.send(&request);
        client.expect_error_of(&[PROTOCOL_ERROR, MALFORMED_PACKET]);
    }
}

fn identified(filter: &str, identifier: u32) -> Subscribe {
    Subscribe::new(1).filter(filter, 1).with(number(SUBSCRIPTION_IDENTIFIER, identifier))
}

/// [MQTT-3.3.4-3]
#[test]
fn mqtt5_3_3_4_3_subscription_identifier_is_sent() {
    for identifier in [1, 127, 128, 268_435_455] {
        let topic = topic();
        let mut client = v5().open();
        client.subscribe_packet(&identified(&topic, identifier));
        v5().open().publish(&topic, "payload", 1);
        let identifiers = client.receive_message().properties.numbers(SUBSCRIPTION_IDENTIFIER);
        assert_eq!(identifiers, [identifier]);
    }
}

/// [MQTT-3.3.4-4] [MQTT-3.3.4-5] [MQTT-3.3.4-3] [MQTT-3.3.4-2]
///
/// However many copies are sent, together they name each matching subscription once. A copy for a
/// subscription without an identifier names none.
#[test]
fn mqtt5_3_3_4_4_identifiers_of_all_matching_subscriptions_are_sent() {
    let root = topic();
    let mut client = v5().open();
    client.subscribe_packet(&identified(&format!("{root}/a"), 10));
    client.subscribe_packet(&identified(&format!("{root}/+"), 20));
    client.subscribe_packet(&identified(&format!("{root}/#"), 20));
    client.subscribe_packet(&identified(&format!("{root}/b"), 30));
    client.subscribe(&format!("{root}/a/#"), 1);
    let fence = Fence::for_subscriber(&mut client);
    let mut publisher = v5().open();
    publisher.publish(&format!("{root}/a"), "payload", 1);
    let copies = fence.pass(&mut publisher, &mut client);
    assert!(copies.len() == 1 || !target::is_strict(), "more than one copy: {copies:?}");
    let identifiers = copies.iter().flat_map(|it| it.properties.numbers(SUBSCRIPTION_IDENTIFIER));
    let mut identifiers: Vec<_> = identifiers.collect();
    identifiers.sort_unstable();
    // Two subscriptions share an identifier, so naming it once or twice is right.
    identifiers.dedup();
    assert_eq!(identifiers, [10, 20]);
}

/// [MQTT-3.3.4-3] [MQTT-3.8.4-3]
#[test]
fn mqtt5_3_3_4_3_replacing_a_subscription_replaces_its_identifier() {
    let topic = topic();
    let mut client = v5().open();
    let mut publisher = v5().open();
    client.subscribe_packet(&identified(&topic, 1));
    client.subscribe_packet(&identified(&topic, 2));
    publisher.publish(&topic, "payload", 1);
    let identifiers = |publish: Publish| publish.properties.numbers(SUBSCRIPTION_IDENTIFIER);
    assert_eq!(identifiers(client.receive_message()), [2]);
    client.subscribe(&topic, 1);
    publisher.publish(&topic, "payload", 1);
    assert_eq!(identifiers(client.receive_message()), [0; 0]);
}

/// [MQTT-3.3.4-3]
///
/// The identifier also comes with retained messages and with messages that waited for the Session.
#[test]
fn mqtt5_3_3_4_3_identifier_comes_with_retained_and_stored_messages() {
    let (id, topic) = (client_id(), topic());
    let mut publisher = v5().open();
    publisher.publish_retained(&topic, "retained", 1);
    let mut client = persistent(V5, &id).open();
    client.subscribe_packet(&identified(&topic, 5));
    let identifiers = |publish: Publish| publish.properties.numbers(SUBSCRIPTION_IDENTIFIER);
    assert_eq!(identifiers(client.receive_message()), [5]);
    client.expect_silence();
    client.disconnect();
    publisher.publish(&topic, "stored", 1);
    assert_eq!(identifiers(persistent(V5, &id).open().receive_message()), [5]);
    forget(V5, &topic);
}

/// [MQTT-3.3.4-6]
#[test]
fn mqtt5_3_3_4_6_subscription_identifier_from_a_client_is_an_error() {
    let mut client = v5().open();
    client.send(&Publish::new(&topic(), "payload").with(number(SUBSCRIPTION_IDENTIFIER, 1)));
    client.expect_error_of(&[PROTOCOL_ERROR, MALFORMED_PACKET]);
}

/// [MQTT-3.11.3-1] [MQTT-3.11.3-2]
#[test]
fn mqtt5_3_11_3_1_unsuback_has_a_reason_code_for_each_filter() {
    let (first, second) = (topic(), topic());
    let mut client = subscriber(V5, &first, 1);
    client.subscribe(&second, 1);
    let unsubscribe = Unsubscribe::new(9).filter(&topic()).filter(&first);
    client.send(&unsubscribe.filter(&topic()).filter(&second));
    let expected = [NO_SUBSCRIPTION_EXISTED, SUCCESS, NO_SUBSCRIPTION_EXISTED, SUCCESS];
    assert_eq!(client.receive_unsuback().reasons, expected);
}

/// [MQTT-3.8.4-4]
///
/// A replacement whose Retain Handling excludes retained messages sends none; one that includes
/// them sends them again.
#[test]
fn mqtt5_3_8_4_4_replacement_resends_retained_messages_by_its_own_handling() {
    let topic = topic();
    v5().open().publish_retained(&topic, "retained", 1);
    let mut client = subscriber(V5, &topic, 0);
    assert_eq!(client.receive_publish().text(), "retained");
    client.subscribe(&topic, RETAIN_NEVER);
    client.expect_silence();
    client.subscribe(&topic, 0);
    assert!(matches!(client.receive(), Packet::Publish(publish) if publish.retain));
    forget(V5, &topic);
}
