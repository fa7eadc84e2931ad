//! MQTT 5.0 section 4.8.2: Shared Subscriptions.

use std::collections::BTreeSet;

use midge_conformance::Version::V5;
use midge_conformance::connect::{persistent, v5};
use midge_conformance::reason::UNSPECIFIED_ERROR;
use midge_conformance::{Ack, Client, Fence, Publish, client_id, topic};

use crate::scenario::subscriber;
use crate::scenario::topics::expect_filter_refused;

fn share(topic: &str) -> String {
    format!("$share/group/{topic}")
}

/// [MQTT-4.8.2-1]
#[test]
fn mqtt5_4_8_2_1_share_name_must_not_be_empty() {
    for filter in ["$share//a", "$share/"] {
        expect_filter_refused(V5, filter);
    }
}

/// [MQTT-4.8.2-2]
#[test]
fn mqtt5_4_8_2_2_share_name_has_no_wildcards_and_a_filter() {
    for filter in ["$share/gr+up/a", "$share/#/a", "$share/+/a", "$share/group", "$share/group/"] {
        expect_filter_refused(V5, filter);
    }
}

/// [MQTT-4.8.2-1] [MQTT-4.8.2-2]
#[test]
fn mqtt5_4_8_2_1_each_message_goes_to_one_member() {
    let topic = topic();
    let mut members = [subscriber(V5, &share(&topic), 1), subscriber(V5, &share(&topic), 1)];
    let fences = members.each_mut().map(Fence::for_subscriber);
    let mut publisher = v5().open();
    for index in 0..20 {
        publisher.publish(&topic, &index.to_string(), 1);
    }
    let mut seen = Vec::new();
    for (member, fence) in members.iter_mut().zip(&fences) {
        let messages = fence.pass(&mut publisher, member);
        seen.extend(messages.iter().map(|message| message.text().to_owned()));
    }
    assert_eq!(seen.len(), 20, "each message once: {seen:?}");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 20, "each message once: {seen:?}");
}

/// [MQTT-4.8.2-1]
///
/// Groups with different names, and subscriptions that are not shared, are independent.
#[test]
fn mqtt5_4_8_2_1_groups_are_independent() {
    let topic = topic();
    let mut first = subscriber(V5, &format!("$share/one/{topic}"), 1);
    let mut second = subscriber(V5, &format!("$share/two/{topic}"), 1);
    let mut plain = subscriber(V5, &topic, 1);
    v5().open().publish(&topic, "for each", 1);
    for client in [&mut first, &mut second, &mut plain] {
        assert_eq!(client.receive_message().text(), "for each");
    }
}

/// [MQTT-4.8.2-1] [MQTT-3.10.4-1]
#[test]
fn mqtt5_4_8_2_1_shared_subscription_can_be_given_up() {
    let topic = topic();
    let mut client = subscriber(V5, &share(&topic), 1);
    let fence = Fence::for_subscriber(&mut client);
    // The filter without its share prefix names another subscription.
    client.unsubscribe(&topic);
    let mut publisher = v5().open();
    publisher.publish(&topic, "still shared", 1);
    assert_eq!(client.receive_message().text(), "still shared");
    client.unsubscribe(&share(&topic));
    publisher.publish(&topic, "gone", 1);
    fence.expect_nothing(&mut publisher, &mut client);
}

/// [MQTT-4.8.2-3]
#[test]
fn mqtt5_4_8_2_3_granted_qos_is_respected() {
    let mut publisher = v5().open();
    for granted in 0..=2 {
        let topic = topic();
        let mut client = subscriber(V5, &share(&topic), granted);
        for published in 0..=2 {
            publisher.publish(&topic, "payload", published);
            assert_eq!(client.receive_message().qos, granted.min(published));
        }
    }
}

/// Starts a delivery: the first member has a message whose handshake it has not finished when the
/// second member joins.
fn started_delivery(first: &mut Client, topic: &str, qos: u8) -> (Publish, Client, Client) {
    first.subscribe(&share(topic), qos);
    let mut publisher = v5().open();
    publisher.publish(topic, "for the first", qos);
    let publish = first.receive_publish();
    (publish, subscriber(V5, &share(topic), qos), publisher)
}

/// [MQTT-4.8.2-4]
#[test]
fn mqtt5_4_8_2_4_started_qos_2_delivery_is_completed_after_reconnecting() {
    let (id, topic) = (client_id(), topic());
    let mut first = persistent(V5, &id).open();
    let (publish, mut second, mut publisher) = started_delivery(&mut first, &topic, 2);
    let fence = Fence::for_subscriber(&mut second);
    first.abandon();
    fence.expect_nothing(&mut publisher, &mut second);
    let mut resumed = persistent(V5, &id).open();
    let again = resumed.receive_publish();
    assert_eq!((again.packet_id, again.dup), (publish.packet_id, true));
    resumed.acknowledge(&again);
    resumed.abandon();
    fence.expect_nothing(&mut publisher, &mut second);
}

/// [MQTT-4.8.2-4]
#[test]
fn mqtt5_4_8_2_4_released_qos_2_delivery_is_completed_after_reconnecting() {
    let (id, topic) = (client_id(), topic());
    let mut first = persistent(V5, &id).open();
    let (publish, mut second, mut publisher) = started_delivery(&mut first, &topic, 2);
    let fence = Fence::for_subscriber(&mut second);
    first.send(&Ack::pubrec(publish.id()));
    assert_eq!(first.receive_pubrel().packet_id, publish.id());
    first.abandon();
    let mut resumed = persistent(V5, &id).open();
    assert_eq!(resumed.receive_pubrel().packet_id, publish.id());
    resumed.send(&Ack::pubcomp(publish.id()));
    resumed.expect_silence();
    fence.expect_nothing(&mut publisher, &mut second);
}

/// [MQTT-4.8.2-5]
#[test]
fn mqtt5_4_8_2_5_started_qos_2_delivery_ends_with_its_session() {
    let topic = topic();
    let mut first = v5().open();
    let (_, mut second, mut publisher) = started_delivery(&mut first, &topic, 2);
    let fence = Fence::for_subscriber(&mut second);
    first.abandon();
    fence.expect_nothing(&mut publisher, &mut second);
}

/// [MQTT-4.8.2-6]
#[test]
fn mqtt5_4_8_2_6_refused_message_goes_to_no_other_member() {
    for qos in 1..=2 {
        let topic = topic();
        let mut first = v5().open();
        let (publish, mut second, mut publisher) = started_delivery(&mut first, &topic, qos);
        let fence = Fence::for_subscriber(&mut second);
        let refusal = match qos {
            1 => Ack::puback(publish.id()),
            _ => Ack::pubrec(publish.id()),
        };
        first.send(&refusal.reason(UNSPECIFIED_ERROR));
        first.expect_silence();
        fence.expect_nothing(&mut publisher, &mut second);
    }
}
